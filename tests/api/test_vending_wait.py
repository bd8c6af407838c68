# SPDX-License-Identifier: Apache-2.0
"""Vending contract: `Prefer: wait=N` on start-work. Who waits is served in turn, or told that time is up."""
import json
import resource
import socket
import subprocess
import time
from pathlib import Path

import pytest

import wire
from machines import START_WORK, expect
from nodes import start_nodes  # noqa: F401 (a fixture)
from server import ROOT, release_binary
from stores import PostgresStore
from waiting import LONG, NO_MACHINE, QUEUE, STILL, Line, expect_later

USERS, BYTES_MAX = 5000, 64 << 20


# --- being served ---

def test_who_finds_a_machine_idle_does_not_wait(line):
    """Who would wait is not served at once when a machine is idle."""
    line.make()
    reply = expect(line.ask("POST", START_WORK, LONG), 200)
    assert reply.header("preference-applied") is None, reply  # it was not needed


def test_waiting_user_is_served_when_a_machine_is_free(line):
    """Who waits is not served with the machine that becomes free, or is told something else than who need not wait."""
    user, = line.take_all(1)
    waiter = line.waiter()
    assert waiter.is_silent()
    line.free(user)
    reply = expect(waiter.reply(), 200)
    value = reply.json()
    assert list(value) == ["message", "machine", "lease"]
    assert value["machine"] == line.machine(user["machine"]["id"]) and value["lease"] > user["lease"]
    assert reply.header("preference-applied") == "wait=60"  # --wait-max
    assert line.waiting() == 0


@pytest.mark.seconds(180)
def test_line_is_first_come_first_served(line_of):
    """Somebody in the line is overtaken, or somebody without a ticket is served while others wait."""
    line = line_of("--dispense-time", "20ms", "--choose-timeout", "1h", "--wait-max", "10m")
    product = line.add(stock=1000)["id"]
    users = line.take_all(3)
    waiters = [line.waiter() for _ in range(30)]
    expect(line.ask("POST", START_WORK), 409, NO_MACHINE)
    for user in users:
        expect(line.choose(user["machine"]["id"], product, lease=user["lease"]), 200)
    leases = []
    for waiter in waiters:
        user = waiter.served()
        leases.append(user["lease"])
        expect(line.choose(user["machine"]["id"], product, lease=user["lease"]), 200)
    assert leases == list(range(4, 34)), leases  # in the order of the line, and nobody in between
    wire.wait_for(lambda: sum(each["usage_count"] for each in line.machines()) == 33, "all have been dispensed")
    assert line.good(product)["stock"] == 967


def test_machine_that_is_added_serves_the_line_at_once(line):
    """A machine that is made, or drained no more, does not serve who waits; or one that is drained does."""
    first, second = line.waiter(), line.waiter()
    machine = line.make()
    assert first.served()["machine"]["id"] == machine["id"]
    line.change(machine["id"], draining=True)
    line.reset(machine["id"])
    assert line.machine(machine["id"])["status"] == "idle" and second.is_silent() and line.waiting() == 1
    line.change(machine["id"], draining=False)
    assert second.served()["machine"]["id"] == machine["id"]


def test_machine_that_is_removed_leaves_the_line_waiting(line):
    """Who waits is told off, or served with nothing, when a machine is removed."""
    users = line.take_all(2)
    waiter = line.waiter()
    line.remove(users[0]["machine"]["id"])
    assert waiter.is_silent() and line.waiting() == 1
    line.free(users[1])
    assert waiter.served()["machine"]["id"] == users[1]["machine"]["id"]


# --- time ---

def test_time_that_is_up_is_409(line):
    """Who has waited for N seconds is not told 409 and when to come again, or too early, or stays in the line."""
    line.take_all(1)
    began = time.monotonic()
    waiters = [line.come(f"wait={seconds}") for seconds in (1, 2, 1)]
    for waiter, seconds in zip(waiters, (1, 2, 1)):
        reply = expect_later(waiter.reply(), 409, NO_MACHINE)
        assert reply.header("preference-applied") == f"wait={seconds}", reply
    assert time.monotonic() - began >= 1.7  # the clock of the store may be some ms ahead
    line.wait_waiting(0)


def test_wait_is_at_most_wait_max(line_of):
    """Who asks for more waits for longer than --wait-max, or not at all."""
    line = line_of("--wait-max", "1s")
    line.take_all(1)
    for waiter in [line.come(f"wait={seconds}") for seconds in ("1000", "99999999999999999999")]:
        assert expect(waiter.reply(), 409, NO_MACHINE).header("preference-applied") == "wait=1"


def test_preference_that_is_none_does_not_wait(line):
    """Who does not ask to wait, or in words that are none, is kept waiting or refused otherwise."""
    line.take_all(1)
    for prefer in ("wait=0", "wait=-1", "wait", "wait=x", "wait=1.5", "respond-async", "", "waits=9", 'x="a, wait=9"',
            "wait=0, wait=9"):
        reply = expect(line.ask("POST", START_WORK, {"Prefer": prefer}), 409, NO_MACHINE)
        assert reply.header("preference-applied") is None, prefer


def test_preference_is_understood_in_every_spelling(line):
    """A preference is not heeded because of its spelling (RFC 7240)."""
    line.take_all(1)
    for waiter in [line.come(*prefer) for prefer in (["WAIT = 1"], ['wait="1"'],
            ["respond-async; foo=bar, wait=1; x=y, wait=50"], ['x="\\", "', "wait=1"])]:
        assert expect(waiter.reply(), 409, NO_MACHINE).header("preference-applied") == "wait=1"


def test_wait_max_of_nothing_lets_nobody_wait(line_of):
    """With --wait-max 0 somebody waits."""
    line = line_of("--wait-max", "0s")
    assert expect(line.ask("POST", START_WORK, LONG), 409, NO_MACHINE).header("preference-applied") is None


def test_choice_time_out_serves_the_line(line_of):
    """A machine whose user does not choose is not handed on."""
    line = line_of("--choose-timeout", "1s")
    user, = line.take_all(1)
    machine = expect(line.ask("POST", START_WORK, LONG), 200).json()["machine"]
    assert (machine["id"], machine["usage_count"]) == (user["machine"]["id"], 0)


# --- the end of the line ---

def test_full_line_takes_nobody(line_of):
    """Who finds the line full is let in, or not told when to come again."""
    line = line_of("--line-max", "2", *STILL)
    user, = line.take_all(1)
    waiters = [line.waiter(), line.waiter()]
    for target in (START_WORK, QUEUE):
        expect_later(line.ask("POST", target, LONG), 503, '{"error":"The waiting line is full. Come back later."}')
    expect(line.ask("POST", START_WORK), 409, NO_MACHINE)  # who would not have waited
    assert line.waiting() == 2 and line.figure("doorbuster_vending_line_full_total") == 2
    line.free(user)
    waiters[0].served()
    line.waiter()


# --- who has gone ---

def test_user_who_leaves_loses_his_place_and_not_the_machine(line):
    """Somebody whose client has gone stays in the line, or is given a machine that the next one waits for."""
    count = line.figure("doorbuster_vending_gone_total")
    user, = line.take_all(1)
    closed, broken, last = line.waiter(), line.waiter(), line.waiter()
    closed.close()
    broken.break_off()
    line.wait_waiting(1)
    line.free(user)
    assert last.served()["lease"] == user["lease"] + 1
    assert line.figure("doorbuster_vending_gone_total") == count + 2


def test_machine_of_a_user_who_has_just_left_goes_to_the_next(line):
    """A machine that comes to somebody who has just gone is his until his time to choose is over."""
    user, = line.take_all(1)
    for _ in range(5):
        gone, next_one = line.waiter(), line.waiter()
        gone.close()
        line.free(user)  # before or after the server has learnt that he has gone
        user = next_one.served()
    line.wait_waiting(0)


def test_client_that_has_closed_its_half_is_served(line):
    """Who has closed his half of the connection, and waits, is taken for gone."""
    user, = line.take_all(1)
    waiter = line.waiter()
    waiter.connection.send_end()
    assert waiter.connection.read_head().status == 102
    line.free(user)
    while (reply := waiter.connection.read_head()).status == 102:
        pass  # he is asked once a second
    assert reply.status == 200
    body = json.loads(waiter.connection.take(int(reply.header("content-length"))))
    assert body["machine"]["id"] == user["machine"]["id"]


def test_request_behind_one_that_waits_has_its_turn(line):
    """What a client sends behind a request that waits is lost, or answered before it; or the waiting one forgets its
    correlation id."""
    user, = line.take_all(1)
    waiter = line.waiter({**LONG, "x-correlation-id": "what-i-asked"})
    line.make()
    waiter.served()
    waiter = line.waiter({**LONG, "x-correlation-id": "what-i-asked-" + "x" * 1000})
    for _ in range(3):
        waiter.connection.send(wire.build("GET", f"/api/vending-machines/{user['machine']['id']}", body=b"x" * 3000))
    assert waiter.is_silent()
    line.free(user)
    reply = expect(waiter.reply(), 200)
    assert reply.header("x-correlation-id") == "what-i-asked-" + "x" * 1000
    for _ in range(3):
        assert expect(waiter.reply(), 200).json()["id"] == user["machine"]["id"]


# --- stopping ---

def test_who_waits_is_told_that_the_server_stops(line_of):
    """A server that stops leaves who waits without an answer, waits for them, or leaves them in the line."""
    line = line_of()
    line.take_all(1)
    waiters = [line.waiter() for _ in range(5)]
    line.server.signal()
    for waiter in waiters:
        expect_later(waiter.reply(), 503, '{"error":"The server is stopping. Try again."}')
    assert line.server.wait_exit() == 0
    line.server.check_silence()
    assert line.rows("SELECT state FROM tickets") == [("left",)] * 5


# --- several nodes ---

@pytest.fixture
def common_store(shared_postgres, tmp_path):
    store = PostgresStore(tmp_path, shared_postgres)
    yield store
    store.discard()


@pytest.fixture
def two_doors(common_store, start_nodes):  # noqa: F811
    """Two nodes on one store."""
    doors = [Line(node) for node in start_nodes(common_store, 2, *STILL)]
    yield doors
    for door in doors:
        door.close()


@pytest.mark.needs("postgres")
def test_two_nodes_have_one_line(two_doors):
    """Who waits at one node is overtaken by who waits at another, or not served with a machine that becomes free
    there."""
    one, other = two_doors
    user, = one.take_all(1)
    waiters = []
    for count, door in enumerate((one, other, other, one), 1):
        waiters.append(door.waiter())
        for each in two_doors:
            each.wait_waiting(count)  # the next one comes after this one on all clocks
    ticket = other.join()
    one.wait_position(ticket, 5)
    leases = [user["lease"]]
    for waiter, door in zip(waiters, (other, one, other, one)):
        door.free(user)
        user = waiter.served()
        leases.append(user["lease"])
    other.free(user)
    leases.append(one.wait_status(ticket, "served")["lease"])
    assert leases == list(range(leases[0], leases[0] + 6)), leases


# --- what it costs ---

@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = USERS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the hard limit of open files is {hard}, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def cpu_seconds(server):
    fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.embedded
@pytest.mark.seconds(240)  # builds when needed
def test_5000_users_who_wait_cost_less_than_64_mib_and_no_cpu(start_server, many_files):
    """Users who wait hold their buffers, or the server works while nothing happens."""
    if not release_binary().exists():
        subprocess.run([ROOT / "script" / "build"], check=True)
    line = Line(start_server("--wait-max", "300s", program=release_binary()))
    line.take_all(5)
    before = line.server.rss_bytes()
    request = wire.build("POST", START_WORK, {"Prefer": "wait=300"})
    connections = []
    try:
        for _ in range(USERS):
            connections.append(socket.create_connection(("127.0.0.1", line.server.port), 20))
            connections[-1].sendall(request)
        line.wait_waiting(USERS)
        held = line.server.rss_bytes() - before
        used = cpu_seconds(line.server)
        time.sleep(5)  # pause: in which nothing happens
        used = cpu_seconds(line.server) - used
        print(f"{USERS} users who wait hold {held / 1024:.0f} KiB, {held // USERS} bytes each; {used:.2f} s CPU in 5 s")
        assert held < BYTES_MAX, f"{held >> 20} MiB"
        assert used < 0.5, used
    finally:
        for connection in connections:
            connection.close()
    line.wait_waiting(0)
    line.close()
