# SPDX-License-Identifier: Apache-2.0
"""Vending contract: machines are made, told, listed, changed, removed and reset."""
import threading

import pytest

import wire
from machines import (ALREADY_IDLE, MACHINE_MEMBERS, MACHINES, NOT_ADMIN, PAGE_ROWS, RESET, START_WORK, Pool, compact,
    expect, expect_gone, is_recent, ms_of, new_name, no_method, no_model, refused)
from server import frugal_environment
from shop import now_ms

MACHINES_MAX = 100_000
REQUIRED = ("name", "The name field is required.")
NO_STRING = ("name", "The name field must be a string.")
TOO_LONG = ("name", "The name field must not be greater than 255 characters.")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def pool(server):
    pool = Pool(server)
    yield pool
    pool.close()


@pytest.fixture
def own_pool(start_server):
    """A pool of a test's own, with no machines but those that it makes."""
    pool = Pool(start_server("--net-threads", "2"))
    yield pool
    pool.close()


# --- POST ---

def test_machine_is_made_and_told_exactly(server, pool):
    """A new machine has other members, another order of them or other values than the contract's."""
    began = now_ms()
    name = new_name()
    reply = expect(pool.send("POST", MACHINES, {"name": name}), 201)
    machine = reply.json()
    assert list(machine) == MACHINE_MEMBERS and reply.text == compact(machine)
    assert type(machine["id"]) is int and machine["id"] >= 1
    assert (machine["name"], machine["status"], machine["usage_count"]) == (name, "idle", 0)
    assert is_recent(machine["created_at"], began, server.store) and machine["updated_at"] == machine["created_at"]
    assert expect(pool.ask("GET", f"{MACHINES}/{machine['id']}"), 200).text == reply.text
    assert machine in pool.machines()


def test_machines_are_numbered_from_1_and_never_again(own_pool):
    """Machines are not numbered 1, 2, 3, or a number comes again after its machine was removed."""
    assert expect(own_pool.ask("GET", MACHINES), 200, "[]")
    assert [own_pool.make()["id"] for _ in range(3)] == [1, 2, 3]
    for number in (3, 2, 1):
        own_pool.remove(number)
    assert own_pool.machines() == []
    assert [own_pool.make()["id"] for _ in range(2)] == [4, 5]


def test_numbers_of_machines_survive_a_restart(start_server):
    """A machine, or the number of one that was removed, is forgotten when the server starts again."""
    store = start_server.new_store()
    server = start_server(on=store)
    pool = Pool(server)
    kept, gone = pool.make(), pool.make()
    pool.remove(gone["id"])
    pool.close()
    server.stop()
    pool = Pool(start_server(on=store))
    assert pool.machines() == [kept]
    assert pool.make()["id"] == gone["id"] + 1
    pool.close()


def test_names_of_machines_need_not_differ(pool):
    """Two machines cannot have one name."""
    name = new_name()
    first, second = pool.make(name), pool.make(name)
    assert first["id"] != second["id"] and first["name"] == second["name"] == name


@pytest.mark.parametrize("sent, kept", [("  a name \t\r\n", "a name"), ("Ünïcødé 株 😀", "Ünïcødé 株 😀"),
    ('q"\\/\b\t<b>', 'q"\\/\b\t<b>'), ("x" * 255, "x" * 255), ("ä" * 255, "ä" * 255), ("😀" * 255, "😀" * 255),
    (" " + "x" * 255 + " ", "x" * 255), ("0", "0"), ("null", "null")])
def test_name_of_a_machine_may_be_any_text(server, pool, sent, kept):
    """A name is not trimmed, is changed on its way, or refused although it has no more than 255 characters."""
    machine = pool.make(sent)
    assert machine["name"] == kept == pool.machine(machine["id"])["name"]
    assert server.store.rows("SELECT name FROM machines WHERE id = ?", machine["id"]) == [(kept,)]
    assert pool.change(machine["id"], name=sent)["name"] == kept


@pytest.mark.parametrize("body, complaint", [({}, REQUIRED), ({"name": ""}, REQUIRED), ({"name": " \t\n "}, REQUIRED),
    ({"name": None}, REQUIRED), ({"name": []}, REQUIRED), ({"Name": "x"}, REQUIRED), ([], REQUIRED),
    ({"name": 5}, NO_STRING), ({"name": True}, NO_STRING), ({"name": ["x"]}, NO_STRING),
    ({"name": {"x": 1}}, NO_STRING), ({"name": "x" * 256}, TOO_LONG), ({"name": "ä" * 256}, TOO_LONG),
    ({"name": "😀" * 50_000}, TOO_LONG),
    ({"name": "a\0b"}, ("name", "The name field format is invalid."))])
def test_bad_name_of_a_machine_is_refused(pool, body, complaint):
    """A machine gets a name that is none, or its client hears of it in other words than the contract's."""
    before = pool.machines()
    expect(pool.send("POST", MACHINES, body), 422, refused(complaint))
    assert pool.machines() == before


def test_machine_may_be_made_by_a_form(pool):
    """A form is not taken as the original takes it."""
    reply = expect(pool.send("POST", MACHINES, b"name=+Caf%C3%A9+%26+more+&x=1", **FORM), 201)
    assert reply.json()["name"] == "Café & more"
    expect(pool.send("POST", MACHINES, b"name=+", **FORM), 422, refused(REQUIRED))


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "0"}, {"Content-Length": "0", **JSON},
    {"Content-Length": "0", "Content-Type": "application/octet-stream"}])
def test_no_body_is_an_object_without_members(pool, headers):
    """A request without a body, of whatever type, is not told which members are missing."""
    expect(pool.send("POST", MACHINES, **headers), 422, refused(REQUIRED))


@pytest.mark.parametrize("body", [b"{", b'{"name":"x"', b"{'name':'x'}", b'{"name":"x",}', b'{"name":"\xff"}',
    b'{"name":"\\ud800"}', b'{"name":"x"}y', b'"name"', b"7", b'["name"]', b"[" * 100_000, b'{"name":1e999}',
    b'{"name":"x"}\0'])
def test_body_that_is_no_json_object_is_refused_with_400(pool, body):
    """A body that is no JSON object makes a machine, or its client is not told what was expected."""
    before = pool.machines()
    message = expect(pool.send("POST", MACHINES, body, **JSON), 400).json()
    assert list(message) == ["message"] and "Send a JSON object" in message["message"]
    assert pool.machines() == before


@pytest.mark.parametrize("body", [b"name=%zz", b"name=%ff", b"name=%", b"x=1&" * 40 + b"name=y"])
def test_form_that_does_not_decode_is_refused(pool, body):
    """A form with broken escapes or without end makes a machine."""
    assert list(expect(pool.send("POST", MACHINES, body, **FORM), 400).json()) == ["message"]


def test_body_of_an_unknown_type_is_refused(pool):
    """A body that says that it is something else is taken for JSON; one that says nothing is not."""
    text = compact({"name": new_name()}).encode()
    assert list(expect(pool.send("POST", MACHINES, text, **{"Content-Type": "text/plain"}), 415).json()) == ["message"]
    expect(pool.send("POST", MACHINES, text), 201)
    expect(pool.send("POST", MACHINES, text, **{"Content-Type": "Application/JSON; charset=utf-8"}), 201)


# --- GET ---

def test_long_list_of_machines_has_each_once(own_pool):
    """A list that is longer than a page of the store leaves machines out, repeats them, or is not in order."""
    count = 2 * PAGE_ROWS + 3
    request = wire.build("POST", MACHINES, own_pool.admin, {"name": "m" * 40})
    with wire.Connection(own_pool.server.port) as connection:
        for start in range(0, count, 50):
            part = min(50, count - start)
            connection.send(request * part)
            assert [connection.read_reply().status for _ in range(part)] == [201] * part
    reply = expect(own_pool.ask("GET", MACHINES), 200)
    assert [each["id"] for each in reply.json()] == list(range(1, count + 1))
    assert reply.header("transfer-encoding") == "chunked"
    assert own_pool.ask("HEAD", MACHINES).status == 200
    for number in range(1, 5):
        own_pool.remove(number)
    assert [each["id"] for each in own_pool.machines()] == list(range(5, count + 1))
    leave_while_it_lasts(own_pool, request, count)
    assert own_pool.machine(5)["name"] == "m" * 40


def leave_while_it_lasts(pool, request, count):
    """Clients that ask for the long list many times over and go without reading."""
    for _ in range(3):
        with wire.Connection(pool.server.port) as connection:
            connection.send(wire.build("GET", MACHINES) * 20)
            connection.read_reply()


@pytest.mark.parametrize("rows", [PAGE_ROWS - 1, PAGE_ROWS])
def test_list_of_exactly_one_page_ends(start_server, rows):
    """A list that fills a page to the last row does not end, or not as an array."""
    pool = Pool(start_server())
    request = wire.build("POST", MACHINES, pool.admin, {"name": "m"})
    with wire.Connection(pool.server.port) as connection:
        for start in range(0, rows, 50):
            part = min(50, rows - start)
            connection.send(request * part)
            assert [connection.read_reply().status for _ in range(part)] == [201] * part
    assert [each["id"] for each in pool.machines()] == list(range(1, rows + 1))
    pool.close()


@pytest.fixture
def full_pool(start_server):
    """A pool with as many machines as there can be, put into the store behind the server's back."""
    store = start_server.new_store()
    start_server(on=store).stop()
    store.spoil(f"""WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < {MACHINES_MAX})
        INSERT INTO machines (id, name, status, is_draining, usage_count, created_at, updated_at)
        SELECT id, 'Machine ' || id, 'idle', 0, 0, 1767225600000, 1767225600000 FROM ids;
        UPDATE pool SET next_machine_id = {MACHINES_MAX + 1};""")
    pool = Pool(start_server("--net-threads", "1", on=store, environment=frugal_environment()))
    yield pool
    pool.close()


@pytest.mark.embedded
def test_full_pool_takes_no_more_machines(full_pool):
    """There are more machines than one pool can have, or the list does not have them all."""
    full = compact({"message": "There are as many machines as one pool can have."})
    expect(full_pool.send("POST", MACHINES, {"name": "one more"}), 422, full)
    assert [each["id"] for each in full_pool.machines()] == list(range(1, MACHINES_MAX + 1))
    full_pool.remove(7)
    assert full_pool.make()["id"] == MACHINES_MAX + 1
    expect(full_pool.send("POST", MACHINES, {"name": "one more"}), 422, full)


@pytest.mark.embedded
def test_long_lists_that_nobody_reads_take_little_memory(full_pool):
    """Clients that ask for the whole list and do not read it fill the server's memory with it."""
    length = len(expect(full_pool.ask("GET", MACHINES), 200).body)
    before = full_pool.server.rss_bytes()
    clients = [wire.Connection(full_pool.server.port) for _ in range(40)]
    for client in clients:
        client.send(wire.build("GET", MACHINES))
    for client in clients:
        client.take_until(b"[")  # its answer has begun
    assert full_pool.machine(1)["name"] == "Machine 1"
    grown = full_pool.server.rss_bytes() - before
    for client in clients:
        client.close()
    assert grown < len(clients) * length / 4, f"{grown} bytes more for {len(clients)} lists of {length}"


@pytest.mark.embedded
def test_list_that_breaks_off_is_no_list(start_server, full_pool):
    """A list that cannot be read to its end is taken for the whole, or the server does not go on."""
    store = full_pool.server.store
    full_pool.close()
    full_pool.server.stop()
    pool = Pool(start_server("--fault", "read:5:io", on=store))
    with pytest.raises(ValueError):
        expect(pool.ask("GET", MACHINES), 200).json()
    assert len(pool.machines()) == MACHINES_MAX
    pool.close()


def test_failing_reads_of_machines_are_told(start_server):
    """A list that cannot be read is an empty one, a machine that cannot be read is not there, or nothing goes on."""
    pool = Pool(start_server("--fault", "read:1+:io"))
    machine = pool.make()
    for method, target in [("GET", MACHINES), ("GET", f"{MACHINES}/{machine['id']}"), ("GET", "/api/products"),
            ("PATCH", f"{MACHINES}/{machine['id']}"), ("DELETE", "/api/products/99")]:
        reply = expect(pool.send(method, target), 503)
        assert list(reply.json()) == ["error"] and int(reply.header("retry-after")) >= 1, reply
    pool.remove(machine["id"])
    pool.close()


@pytest.mark.parametrize("number", ["0", "-1", "999999999", "x", "1x", "1.0", "9223372036854775808", "%20", "caf%C3%A9",
    "%22%5C%01", "1%00"])
def test_unknown_machine_is_404(pool, number):
    """An id that no machine has is answered with something else than the contract's 404."""
    shown = {"%20": " ", "caf%C3%A9": "café", "%22%5C%01": '"\\\x01', "1%00": "1\0"}.get(number, number)
    body = no_model("VendingMachine", shown)
    expect(pool.ask("GET", f"{MACHINES}/{number}"), 404, body)
    expect(pool.send("PATCH", f"{MACHINES}/{number}", {"name": "x"}), 404, body)
    expect(pool.send("PUT", f"{MACHINES}/{number}", {"name": "x"}), 404, body)
    expect(pool.send("DELETE", f"{MACHINES}/{number}"), 404, body)
    expect(pool.reset(number), 404, body)


def test_long_id_is_not_repeated_as_a_whole(pool):
    """A 404 grows with the id, or is not of this face's form."""
    expect(pool.ask("GET", f"{MACHINES}/{'x' * 5000}"), 404, no_model("VendingMachine", "x" * 64))
    expect(pool.ask("GET", f"{MACHINES}/{'%C3%A4' * 100}"), 404, no_model("VendingMachine", "ä" * 32))


def test_reads_of_machines_need_no_key(server, pool):
    """A list or a machine is not told to somebody without the key."""
    machine = pool.make()
    assert machine in expect(wire.ask(server.port, "GET", MACHINES), 200).json()
    assert expect(wire.ask(server.port, "GET", f"{MACHINES}/{machine['id']}"), 200).json() == machine


@pytest.mark.parametrize("accept", ["text/html", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "image/png", ""])
def test_answers_are_json_whatever_is_accepted(pool, accept):
    """An answer is no JSON because the client says that it would rather have something else."""
    for method, target, status in [("GET", MACHINES, 200), ("POST", MACHINES, 422), ("GET", f"{MACHINES}/x", 404),
            ("DELETE", MACHINES, 405)]:
        expect(pool.send(method, target, Accept=accept), status).json()


# --- PUT, PATCH ---

@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_machine_gets_another_name(pool, method):
    """A change of the name is not told, not kept, or changes something else."""
    machine = pool.make()
    name = new_name("renamed")
    changed = expect(pool.send(method, f"{MACHINES}/{machine['id']}", {"name": f" {name} ", "id": 7,
        "usage_count": 9}), 200).json()
    assert changed == {**machine, "name": name, "updated_at": changed["updated_at"]}
    assert list(changed) == MACHINE_MEMBERS and ms_of(changed["updated_at"]) >= ms_of(machine["updated_at"])
    assert pool.machine(machine["id"]) == changed and changed in pool.machines()


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_change_of_nothing_changes_nothing(pool, method):
    """A change without members is refused, or changes something."""
    machine = pool.make()
    for body in ({}, None, [], {"draining": None}, {"color": "red"}):
        assert expect(pool.send(method, f"{MACHINES}/{machine['id']}", body), 200).json() == machine


@pytest.mark.parametrize("members, complaint", [({"name": ""}, REQUIRED), ({"name": "  "}, REQUIRED),
    ({"name": None}, REQUIRED), ({"name": []}, REQUIRED), ({"name": 1}, NO_STRING), ({"name": "x" * 256}, TOO_LONG),
    ({"draining": "yes"}, ("draining", "The draining field must be true or false.")),
    ({"draining": 2}, ("draining", "The draining field must be true or false."))])
def test_bad_change_of_a_machine_is_refused(pool, members, complaint):
    """A machine takes a change that is none, or a part of a bad one."""
    machine = pool.make()
    whole = {"name": new_name(), "draining": True, **members}
    expect(pool.send("PUT", f"{MACHINES}/{machine['id']}", whole), 422, refused(complaint))
    assert pool.machine(machine["id"]) == machine


def test_all_that_is_wrong_with_a_machine_is_told(pool):
    """A client hears of one mistake only."""
    machine = pool.make()
    expect(pool.send("PATCH", f"{MACHINES}/{machine['id']}", {"draining": "?", "name": ""}), 422,
        refused(REQUIRED, ("draining", "The draining field must be true or false.")))


def test_draining_machine_takes_no_more_users(own_pool):
    """A machine that drains is given to somebody, loses its present user, or cannot be taken into use again."""
    machine = own_pool.make()
    held = own_pool.start_work()["machine"]
    drained = own_pool.change(held["id"], draining=True)
    assert list(drained) == [*MACHINE_MEMBERS, "draining"]
    assert (drained["id"], drained["status"], drained["draining"]) == (machine["id"], "choose_product", True)
    assert expect(own_pool.reset(held["id"]), 200).json()["machine"]["status"] == "idle"
    expect(own_pool.ask("POST", START_WORK), 409)
    assert own_pool.machine(held["id"])["draining"] is True
    back = own_pool.change(held["id"], draining=False)
    assert list(back) == MACHINE_MEMBERS
    assert own_pool.start_work()["machine"]["id"] == held["id"]


# --- DELETE ---

def test_machine_is_removed(pool):
    """A machine that was removed is still told of, or its removal is told twice."""
    machine = pool.make()
    target = f"{MACHINES}/{machine['id']}"
    expect_gone(pool.send("DELETE", target))
    expect(pool.ask("GET", target), 404, no_model("VendingMachine", machine["id"]))
    expect(pool.send("DELETE", target), 404, no_model("VendingMachine", machine["id"]))
    assert machine["id"] not in [each["id"] for each in pool.machines()]


def test_machine_in_use_is_removed(own_pool):
    """A machine cannot be removed while somebody uses it, or is given out again."""
    own_pool.make()
    held = own_pool.start_work()["machine"]
    own_pool.remove(held["id"])
    assert own_pool.machines() == []
    expect(own_pool.reset(held["id"]), 404, no_model("VendingMachine", held["id"]))
    expect(own_pool.ask("POST", START_WORK), 409)


def test_of_many_removals_at_once_one_counts(server, pool):
    """A machine is removed twice."""
    machine = pool.make()
    statuses = at_once(8, lambda: wire.ask(server.port, "DELETE", f"{MACHINES}/{machine['id']}", pool.admin).status)
    assert sorted(statuses) == [204] + [404] * 7


def at_once(count, ask):
    """What `count` threads that ask at the same moment get."""
    barrier = threading.Barrier(count)
    found = []

    def run():
        barrier.wait(30)
        found.append(ask())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == count
    return found


# --- reset ---

def test_reset_sets_a_machine_idle(own_pool):
    """A reset leaves a machine in use, counts as a use, or is told otherwise than the contract has it."""
    own_pool.make()
    held = own_pool.start_work()["machine"]
    assert held["status"] == "choose_product"
    reply = expect(own_pool.reset(held["id"]), 200)
    value = reply.json()
    assert list(value) == ["message", "machine"] and value["message"] == RESET and reply.text == compact(value)
    assert value["machine"] == {**held, "status": "idle", "updated_at": value["machine"]["updated_at"]}
    assert own_pool.machine(held["id"]) == value["machine"]
    expect(own_pool.reset(held["id"]), 409, ALREADY_IDLE)


def test_reset_of_an_idle_machine_is_409(pool):
    """A reset of an idle machine is told as a success, or changes the machine."""
    machine = pool.make()
    expect(pool.reset(machine["id"]), 409, ALREADY_IDLE)
    assert pool.machine(machine["id"])["updated_at"] == machine["updated_at"]


@pytest.mark.parametrize("body, headers", [(None, {"Content-Length": "0", "Content-Type": "application/octet-stream"}),
    (b"{", JSON), (b"\xff\0", {"Content-Type": "image/png"}), (b"lease=1", FORM)])
def test_body_of_a_reset_is_ignored(own_pool, body, headers):
    """A reset is refused because of a body that nobody reads."""
    machine = own_pool.make()
    own_pool.start_work()
    reply = own_pool.send("POST", f"{MACHINES}/{machine['id']}/reset", body, **headers)
    assert expect(reply, 200).json()["machine"]["status"] == "idle"


def test_reset_with_a_stale_lease_changes_nothing(own_pool):
    """Who comes late resets a machine that somebody else has by now."""
    machine = own_pool.make()
    first = own_pool.start_work()["lease"]
    expect(own_pool.reset(machine["id"], f"?lease={first}"), 200)
    second = own_pool.start_work()["lease"]
    assert second > first
    expect(own_pool.reset(machine["id"], f"?lease={first}"), 409, ALREADY_IDLE)
    assert own_pool.machine(machine["id"])["status"] == "choose_product"
    expect(own_pool.reset(machine["id"], f"?x=1&lease=+{second}+&"), 200)


@pytest.mark.parametrize("query, text", [("?lease=x", "must be an integer."), ("?lease=1.5", "must be an integer."),
    ("?lease=%zz", "must be an integer."), ("?lease=0", "must be at least 1."), ("?lease=-4", "must be at least 1.")])
def test_bad_lease_of_a_reset_is_refused(own_pool, query, text):
    """A reset with a lease that is no number resets whatever lease there is."""
    machine = own_pool.make()
    own_pool.start_work()
    expect(own_pool.reset(machine["id"], query), 422, refused(("lease", f"The lease field {text}")))
    expect(own_pool.reset(99, query), 404, no_model("VendingMachine", 99))
    assert own_pool.machine(machine["id"])["status"] == "choose_product"


# --- who may, and how ---

def test_changes_of_machines_need_the_key(server, pool):
    """Somebody without the key makes, changes, removes or resets a machine, or is told more than that he may not."""
    machine = pool.make()
    for headers in ({}, {"X-Admin-Key": "wrong"}, {"X-Admin-Key": pool.admin["X-Admin-Key"] + " x"}):
        for method, target in [("POST", MACHINES), ("PUT", f"{MACHINES}/{machine['id']}"), ("PATCH", f"{MACHINES}/x"),
                ("DELETE", f"{MACHINES}/{machine['id']}"), ("POST", f"{MACHINES}/{machine['id']}/reset"),
                ("POST", f"{MACHINES}/x/reset?lease=y")]:
            expect(wire.ask(server.port, method, target, {**headers, **JSON}, b"{"), 401, NOT_ADMIN)
    assert pool.machine(machine["id"]) == machine


def test_changes_of_machines_need_no_key_on_a_trusted_machine(start_server):
    """The original's client, which knows no keys, is refused by a server that trusts its own machine."""
    server = start_server("--trust-loopback")
    number = expect(wire.ask(server.port, "POST", MACHINES, None, {"name": "x"}), 201).json()["id"]
    expect(wire.ask(server.port, "POST", f"{MACHINES}/{number}/reset"), 409, ALREADY_IDLE)
    expect_gone(wire.ask(server.port, "DELETE", f"{MACHINES}/{number}"))


def test_unknown_machine_comes_before_bad_members(pool):
    """A client with two mistakes hears of the members of a machine that is not there."""
    expect(pool.send("PATCH", f"{MACHINES}/999999999", {"name": ""}), 404, no_model("VendingMachine", 999999999))
    expect(pool.send("PATCH", f"{MACHINES}/999999999", b"{", **JSON), 404, no_model("VendingMachine", 999999999))


@pytest.mark.parametrize("target, pattern, allow", [(MACHINES, MACHINES, "GET, HEAD, POST"),
    (f"{MACHINES}/1", f"{MACHINES}/:id", "GET, HEAD, PUT, PATCH, DELETE"),
    (f"{MACHINES}/x/reset", f"{MACHINES}/:id/reset", "POST")])
def test_other_methods_on_machines_are_405(pool, target, pattern, allow):
    """A method that a path does not have is no 405, or the client is not told which ones it has."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
        if method not in allow:
            reply = expect(pool.send(method, target), 405, no_method(method, pattern[1:], allow))
            assert reply.header("allow") == allow
