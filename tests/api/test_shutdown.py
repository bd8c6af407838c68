# SPDX-License-Identifier: Apache-2.0
"""Stopping and not starting: SIGTERM drains, the second signal stops at once, and a bad store or port is told."""
import hashlib
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

import wire
from server import log_entry
from shop import EVENTS, PURCHASED, PURCHASES, new_user
from test_ops import run_serve

KEY = ["--admin-key", "dev-admin-key-12345678"]


# --- SIGTERM ---

class Buyer(threading.Thread):
    """Buys with a new name each time until the server closes the connection; keeps what it was told."""

    def __init__(self, server, sku):
        super().__init__(daemon=True)
        self.server, self.sku, self.told, self.problem = server, sku, [], None
        self.start()

    def run(self):
        try:
            with wire.Connection(self.server.port) as connection:
                while True:
                    user = new_user("drain")
                    reply = connection.ask("POST", PURCHASES, {"X-User-Id": user}, {"sku": self.sku})
                    match = PURCHASED.fullmatch(reply.text)
                    if match:
                        self.told.append((match[1], user))
                    elif reply.status != 503:
                        self.problem = reply
                        return
                    if reply.header("connection") == "close":
                        return
        except (wire.Closed, OSError) as closed:
            if getattr(closed, "partial", b""):
                self.problem = closed  # half a reply
        except Exception as problem:
            self.problem = problem


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_accepted_request_is_answered(start_server, shop_of, number):
    """SIGTERM under load loses an accepted purchase: it is in the store and its buyer never heard of it, or the
    other way round."""
    server = start_server("--drain-timeout", "10s")
    sku = shop_of(server).sale(stock=1_000_000)
    buyers = [Buyer(server, sku) for _ in range(30)]
    wire.wait_for(lambda: sum(len(buyer.told) for buyer in buyers) > 200, "the load is on", 30)
    began = time.monotonic()
    server.signal(number)
    assert server.wait_exit() == 0
    assert time.monotonic() - began < 15
    server.check_silence()
    for buyer in buyers:
        buyer.join(20)
        assert not buyer.is_alive() and buyer.problem is None, buyer.problem
    told = sorted(pair for buyer in buyers for pair in buyer.told)
    kept = sorted((no, user) for no, user, _ in server.store.purchases(sku))
    assert told == kept


@pytest.mark.parametrize("has_spoken", [False, True])
def test_request_that_nobody_has_read_is_answered(start_server, shop_of, has_spoken):
    """SIGTERM resets requests that wait in the accept queue, or on connections that had answers before."""
    server = start_server("--drain-delay", "0ms", "--drain-timeout", "20s")
    sku = shop_of(server).sale(stock=100)
    connections = []
    if has_spoken:
        connections = [wire.Connection(server.port) for _ in range(20)]
        for connection in connections:
            assert connection.ask("GET", "/livez").status == 200
    server.signal(signal.SIGSTOP)
    _, status = os.waitpid(server.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    users = [new_user("unread") for _ in range(20)]
    connections = connections or [wire.Connection(server.port) for _ in users]
    for connection, user in zip(connections, users):
        connection.send(wire.build("POST", PURCHASES, {"X-User-Id": user}, {"sku": sku}))
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGCONT)
    told = []
    for connection, user in zip(connections, users):
        reply = connection.read_reply()
        match = PURCHASED.fullmatch(reply.text)
        assert reply.status == 200 and match, reply
        told.append((match[1], user))
        connection.close()
    assert server.wait_exit() == 0
    server.check_silence()
    assert sorted(told) == sorted((no, user) for no, user, _ in server.store.purchases(sku))


def half_request(server, target="/readyz"):
    """A request of which the server has everything but the last bytes."""
    connection = wire.Connection(server.port)
    request = wire.build("POST", PURCHASES, {"X-User-Id": new_user()}, {"sku": "A"}) if target == PURCHASES \
        else wire.build("GET", target)
    connection.send(request[:-2])
    for _ in range(8):  # some round trips later every thread of the server has read what came before
        assert wire.ask(server.port, "GET", "/livez").status == 200
    connection.rest = request[-2:]
    return connection


def test_request_that_is_arriving_is_answered(start_server):
    """A request that was half there when the signal came is cut off."""
    server = start_server("--drain-timeout", "20s", "--drain-delay", "0")
    connection = half_request(server, PURCHASES)
    server.signal()
    wire.wait_for(lambda: not is_listening(server), "the door is closed")
    connection.send(connection.rest)
    reply = connection.read_reply()
    assert reply.status in (200, 503), reply
    assert reply.header("connection") == "close"
    assert server.wait_exit() == 0
    server.check_silence()


def is_listening(server):
    try:
        wire.Connection(server.port).close()
        return True
    except ConnectionRefusedError:
        return False


def test_ready_fails_first(start_server, shop_of):
    """A load balancer still hears ready while the server already drains, or requests fail before it could hear."""
    assert any(fails_first_within(seconds, start_server, shop_of) for seconds in (1.5, 5, 15)), \
        "this machine is too slow for each of the delays"


def fails_first_within(seconds, start_server, shop_of):
    """False when the machine was too slow for that drain delay."""
    server = start_server("--drain-delay", f"{int(seconds * 1000)}ms", "--drain-timeout", "20s")
    shop = shop_of(server)
    sku = shop.sale()
    asked = half_request(server)
    began = time.monotonic()
    server.signal()
    server.wait_log(lambda entry: "stopping" in entry["message"], "stopping")
    try:
        asked.send(asked.rest)
        for reply in (asked.read_reply(), wire.ask(server.port, "GET", "/readyz"), wire.ask(server.port, "GET",
                "/readyz?verbose")):
            assert reply.status == 503 and reply.json()["status"] != "ready", reply
        shop.buy_well(sku)
        wire.ask(server.port, "GET", "/livez")
    except (AssertionError, OSError, wire.Closed):
        if time.monotonic() - began < seconds:
            raise
        return False
    assert server.wait_exit() == 0
    server.check_silence()
    return True


def test_readiness_never_comes_back(start_server):
    """While the server drains a probe hears ready once more."""
    server = start_server("--drain-delay", "300ms")
    server.signal()
    server.wait_log(lambda entry: "stopping" in entry["message"], "stopping")
    while server.is_running():
        try:
            assert wire.ask(server.port, "GET", "/readyz").status == 503
        except (OSError, wire.Closed):
            pass  # no longer listening is as good
    assert server.wait_exit() == 0


def test_idle_connections_do_not_delay_the_end(start_server):
    """Idle keep-alive connections and event streams keep the server from ending."""
    server = start_server("--drain-timeout", "20s", "--idle-timeout", "60s")
    idle = [wire.Connection(server.port) for _ in range(20)]
    for connection in idle:
        assert connection.ask("GET", "/livez").status == 200
    silent = [wire.Connection(server.port) for _ in range(5)]
    streams = [wire.Connection(server.port) for _ in range(5)]
    for stream in streams:
        stream.send(wire.build("GET", EVENTS + "?sku=A"))
        assert stream.read_head().status == 200
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 15
    for connection in idle + silent:
        assert connection.is_closed()
    for stream in streams:
        while stream.read_chunk():
            pass
        assert stream.is_closed()


def test_drain_ends_in_bounded_time(start_server):
    """A client that never finishes its request keeps the server alive beyond --drain-timeout."""
    server = start_server("--drain-timeout", "700ms", "--body-timeout", "60s", "--head-timeout", "60s")
    hold = half_request(server, PURCHASES)
    began = time.monotonic()
    server.signal()
    assert server.wait_exit() == 0
    assert 0.5 < time.monotonic() - began < 30
    server.check_silence()
    hold.close()


def test_second_signal_stops_at_once(start_server):
    """A second signal waits for the drain too."""
    server = start_server("--drain-timeout", "60s", "--body-timeout", "60s", "--head-timeout", "60s")
    hold = half_request(server, PURCHASES)
    server.signal()
    server.wait_log(lambda entry: "stopping" in entry["message"], "stopping")
    began = time.monotonic()
    server.signal()
    server.wait_exit()
    assert time.monotonic() - began < 30
    hold.close()


def test_stopped_store_is_whole(start_server, shop_of):
    """After a stop the store is not sound, or the server is still connected to it."""
    server = start_server()
    shop = shop_of(server)
    sku = shop.sale(stock=20)
    for _ in range(20):
        shop.buy_well(sku)
    server.stop()
    server.store.check_left()
    assert len(server.store.purchases(sku)) == 20


# --- systemd ---

@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_notified(start_server, store, tmp_path, kind):
    """systemd does not hear READY=1 when the server is ready, or STOPPING=1 when it stops."""
    name = str(tmp_path / "notify") if kind == "path" else f"@doorbuster-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(60)
        server = start_server.launch(environment={"NOTIFY_SOCKET": name})

        def until(word):
            while True:
                lines = manager.recv(4096).decode().splitlines()
                if word in lines:
                    return

        until("READY=1")
        line = server.err.find(lambda line: "listening on" in line, 30)
        server.port = int(log_entry(line)["message"].split()[2].rsplit(":", 1)[1])
        assert wire.ask(server.port, "GET", "/readyz").status == 200
        server.signal()
        until("STOPPING=1")
        assert server.wait_exit() == 0
        server.check_silence()


def test_dead_notify_socket_is_harmless(start_server, tmp_path):
    """A NOTIFY_SOCKET that nobody listens on keeps the server from starting."""
    start_server(environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")}).stop()


# --- what keeps it from starting: exit status 3 and a word that helps ---

def expect_world_failed(result, *words):
    assert result.returncode == 3, result
    text = result.stderr.lower()
    assert any(word in text for word in words), result.stderr


def test_port_taken(store):
    """A taken port is not told, or the exit status is not 3."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        result = run_serve(store(), "--listen", address, *KEY)
    expect_world_failed(result, "in use", "taken")
    assert address.rsplit(":", 1)[1] in result.stderr


def test_two_servers_on_one_port(start_server, store):
    """A second server steals connections of the first (SO_REUSEPORT)."""
    server = start_server()
    result = run_serve(store(), "--listen", f"127.0.0.1:{server.port}", *KEY)
    expect_world_failed(result, "in use", "taken")


@pytest.mark.embedded
def test_store_in_use(start_server):
    """Two servers sell from one store."""
    server = start_server()
    result = run_serve(server.store, "--listen", "127.0.0.1:0", *KEY)
    expect_world_failed(result, "another", "locked", "in use")
    assert server.store.argument in result.stderr


def fingerprint(store):
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in store.files()
        if not path.name.endswith(("-shm", "-wal", "-lock", ".lock")) or path.stat().st_size]


@pytest.fixture
def sold_store(start_server, shop_of):
    """A stopped store with some sales in it."""
    server = start_server()
    shop = shop_of(server)
    sku = shop.sale(stock=50)
    for _ in range(40):
        shop.buy_well(sku, new_user("n" * 150))
    server.stop()
    return server.store


def refuse_and_leave(store, *words):
    before = fingerprint(store)
    expect_world_failed(run_serve(store, "--listen", "127.0.0.1:0", *KEY), *words)
    assert fingerprint(store) == before


@pytest.mark.embedded
def test_newer_store_is_refused(sold_store):
    """A store of a newer program is opened, or changed."""
    database = sqlite3.connect(sold_store.path)
    database.execute("PRAGMA user_version = 9999")
    database.close()
    refuse_and_leave(sold_store, "newer")


@pytest.mark.embedded
def test_damaged_head_is_refused(sold_store):
    """A store whose first bytes are gone is opened, or overwritten."""
    with open(sold_store.path, "r+b") as file:
        file.write(b"\xff" * 64)
    refuse_and_leave(sold_store, "damaged", "not a", "no doorbuster", "corrupt")


@pytest.mark.embedded
def test_damaged_middle_is_refused(sold_store):
    """A store with damaged pages is opened and sold from."""
    size = sold_store.path.stat().st_size
    with open(sold_store.path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    refuse_and_leave(sold_store, "damaged", "corrupt", "malformed")


@pytest.mark.embedded
def test_truncated_store_is_refused(sold_store):
    """A store that lost its end is opened and sold from."""
    with open(sold_store.path, "r+b") as file:
        file.truncate(sold_store.path.stat().st_size // 2 // 4096 * 4096)
    refuse_and_leave(sold_store, "damaged", "corrupt", "malformed")


@pytest.mark.embedded
def test_foreign_files_are_refused(store):
    """A file that is something else is taken for a store, or overwritten."""
    text = store()
    text.path.write_text("dear diary\n" * 1000)
    refuse_and_leave(text, "not a", "no doorbuster", "damaged")
    other = store()
    database = sqlite3.connect(other.path)
    database.executescript("CREATE TABLE products (x); CREATE TABLE mine (y); INSERT INTO mine VALUES (1);")
    database.close()
    refuse_and_leave(other, "not a", "no doorbuster", "damaged")


@pytest.mark.embedded
@pytest.mark.parametrize("kind", ["no directory", "a directory", "a device"])
def test_impossible_places_are_refused(store, kind):
    """A place where no store can be is not told, or hangs."""
    place = store()
    if kind == "no directory":
        place.argument = str(place.directory / "no" / "such" / "shop.db")
    elif kind == "a directory":
        place.path.mkdir()
    else:
        place.argument = "/dev/full"
    result = run_serve(place, "--listen", "127.0.0.1:0", *KEY)
    assert result.returncode == 3 and place.argument in result.stderr, result


@pytest.mark.embedded
def test_read_only_store_is_refused(sold_store):
    """A store that cannot be written is opened, and the first purchase fails."""
    if os.geteuid() == 0:
        result = subprocess.run(["chattr", "+i", str(sold_store.path)], capture_output=True, text=True)
        if result.returncode != 0:
            pytest.skip(f"root may write anything here, and chattr does not work: {result.stderr.strip()}")
        undo = ["chattr", "-i", str(sold_store.path)]
    else:
        os.chmod(sold_store.path, 0o444)
        undo = ["chmod", "644", str(sold_store.path)]
    try:
        result = run_serve(sold_store, "--listen", "127.0.0.1:0", *KEY)
        assert result.returncode == 3 and sold_store.argument in result.stderr, result
    finally:
        subprocess.run(undo, check=True)


@pytest.mark.embedded
def test_killed_server_leaves_no_lock(start_server):
    """After kill -9 the store stays locked."""
    server = start_server()
    server.kill9()
    start_server(on=server.store).stop()
