# SPDX-License-Identifier: Apache-2.0
"""Vending contract: tickets, a place in the line that needs no open connection, and their events."""
import time

import pytest

import wire
from machines import START_WORK, expect, expect_gone, no_method, no_model
from waiting import NOT_CHOOSING, QUEUE, STILL

NOT_WAITING = '{"error":"This ticket does not wait any more."}'


def served_with(line, ticket):
    """The machine that this ticket was served with."""
    value = line.wait_status(ticket, "served")
    assert list(value) == ["ticket", "status", "position", "estimated_wait_seconds", "machine", "lease"], value
    assert value["position"] == value["estimated_wait_seconds"] == 0
    assert value["machine"]["status"] == "choose_product"
    return value


# --- a ticket ---

@pytest.mark.parametrize("headers, body", [({"Content-Type": "application/octet-stream", "Content-Length": "0"}, None),
    ({"Content-Type": "application/json"}, "{"), ({"Content-Type": "image/png"}, b"\xff")])
def test_ticket_is_exact(line, headers, body):
    """A ticket is told with other members or values than the contract's, or refused because of a body that nobody
    reads."""
    line.take_all(1)
    tickets = [line.queue(headers, body) for _ in range(3)]
    assert [each["position"] for each in tickets] == [1, 2, 3]
    for each in tickets:
        value = line.wait_position(each["ticket"], each["position"])
        assert list(value) == ["ticket", "status", "position", "estimated_wait_seconds"]
        assert value == {**each, "status": "waiting"}


def test_wait_follows_from_the_place_in_the_line(line_of):
    """A wait is estimated where nobody can tell, or does not grow with the number of those before, or is the same
    however many machines there are."""
    line = line_of()
    lonely = line.queue()
    assert (lonely["position"], lonely["estimated_wait_seconds"]) == (1, None)
    assert line.ticket(lonely["ticket"])["estimated_wait_seconds"] is None
    expect_gone(line.leave(lonely["ticket"]))
    line.take_all(2)
    waits = [line.queue()["estimated_wait_seconds"] for _ in range(5)]
    assert 1 <= waits[0] == waits[1] < waits[2] == waits[3] < waits[4], waits  # two machines


def test_ticket_is_served_at_once_when_a_machine_is_idle(line):
    """Who takes a ticket while a machine is idle has to wait, or is told another machine than his."""
    machine = line.make()
    ticket = line.queue()
    assert ticket["position"] == ticket["estimated_wait_seconds"] == 0
    assert served_with(line, ticket["ticket"])["machine"] == line.machine(machine["id"])


def test_tickets_are_served_in_order_with_those_who_wait_otherwise(line):
    """Somebody with a ticket overtakes somebody who waits on his connection, or is overtaken; or the positions do not
    tell the truth."""
    user, = line.take_all(1)
    lease = user["lease"]
    first = line.join()
    waiter = line.waiter()
    second = line.join()
    line.wait_position(first, 1)
    line.wait_position(second, 3)
    line.free(user)
    user = served_with(line, first)
    line.wait_position(second, 2)
    line.free(user)
    user = waiter.served()
    line.wait_position(second, 1)
    expect(line.ask("POST", START_WORK), 409)
    line.free(user)
    assert served_with(line, second)["lease"] == lease + 3


def test_machine_of_a_ticket_is_used_as_any_other(line):
    """Who has come by a machine with a ticket can not choose; or chooses, and is told that it is his, when he has it no
    more."""
    product = line.add()["id"]
    line.make()
    first, second = line.join(), line.join()
    lost = served_with(line, first)
    line.free(lost)
    user = served_with(line, second)
    expect(line.choose(lost["machine"]["id"], product, lease=lost["lease"]), 422, NOT_CHOOSING)
    assert line.ticket(first) == {"ticket": first, "status": "served", "position": 0, "estimated_wait_seconds": 0,
        "machine": None}
    expect(line.choose(user["machine"]["id"], product, lease=user["lease"]), 200)
    assert line.ticket(second)["machine"]["status"] == "processing"


# --- names ---

def test_ticket_of_somebody_else_is_not_guessed(line):
    """A ticket is known by its number, or by a name that nobody was given."""
    name = line.join()
    number, tag = name.split("-")
    other = "0" if tag[0] != "0" else "1"
    for wrong in (number, f"{number}-", f"{number}-{tag[:-1]}", f"{number}-{other}{tag[1:]}",
            f"{int(number) + 1}-{tag}", f"0{name}", f"+{name}", name.upper() if name.upper() != name else "x",
            f"{name}0", "-1-" + tag, f"0-{tag}", f"9223372036854775808-{tag}", "x" * 60, "7-0"):
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
            expect(line.ask(method, f"{QUEUE}/{wrong}{path}"), 404, no_model("Ticket", wrong))
    assert line.ticket(name)["status"] == "waiting"


def test_ticket_is_known_after_a_restart(line_of):
    """A server that stops waits for who listens to a ticket; or a ticket loses its name or its place when the server is
    started anew."""
    line = line_of()
    user, = line.take_all(1)
    names = [line.join() for _ in range(3)]
    events = line.events(names[0])
    assert events.event()[0] == "1"
    line.server.stop()
    assert events.event() is None
    again = line_of(on=line.server.store)
    for position, name in enumerate(names, 1):
        again.wait_position(name, position)
    again.free(user)
    assert served_with(again, names[0])["machine"]["id"] == user["machine"]["id"]


# --- leaving ---

def test_who_leaves_with_his_ticket_loses_his_place(line):
    """A ticket that has left is served, stands in the way of others, or leaves twice."""
    user, = line.take_all(1)
    first, second = (line.join() for _ in range(2))
    expect_gone(line.leave(first))
    assert line.ticket(first) == {"ticket": first, "status": "left", "position": 0, "estimated_wait_seconds": 0,
        "machine": None}
    expect(line.leave(first), 409, NOT_WAITING)
    line.wait_position(second, 1)
    line.free(user)
    served_with(line, second)


def test_who_leaves_after_he_was_served_gives_the_machine_back(line):
    """Who leaves with a ticket that was served, and has not chosen, keeps the machine from the next."""
    line.make()
    first, second = (line.join() for _ in range(2))
    user = served_with(line, first)
    expect_gone(line.leave(first))
    assert served_with(line, second)["lease"] > user["lease"]
    expect(line.leave(first), 409, NOT_WAITING)


def test_machine_that_dispenses_is_not_given_back(line):
    """Who leaves while his machine dispenses ends that."""
    product = line.add()["id"]
    line.make()
    user = served_with(line, line.join())
    expect(line.choose(user["machine"]["id"], product, lease=user["lease"]), 200)
    expect(line.leave(user["ticket"]), 409, NOT_WAITING)
    assert line.machine(user["machine"]["id"])["status"] == "processing"


# --- being kept ---

def test_ticket_that_nobody_asks_for_expires(line_of):
    """A ticket whose user has gone stands in the line for ever, or ends before --ticket-timeout; or who comes back is
    not told."""
    line = line_of("--ticket-timeout", "1s", "--dispense-time", "1h", "--choose-timeout", "1h")
    user, = line.take_all(1)
    began = time.monotonic()
    name = line.join()
    line.wait_waiting(0)
    assert time.monotonic() - began >= 0.7  # the clock of the store may be some ms ahead
    line.free(user)
    assert line.machine(user["machine"]["id"])["status"] == "idle"
    ended = line.ticket(name)
    assert (ended["status"], ended["position"], ended["machine"]) == ("expired", 0, None)
    expect(line.leave(name), 409, NOT_WAITING)
    events = line.events(name)
    assert events.event() == ("expired", ended) and events.event() is None


def expires_at(line, name):
    return line.rows("SELECT expires_at FROM tickets WHERE id = ?", int(name.partition("-")[0]))[0][0]


def test_ticket_that_is_asked_for_is_kept(line_of):
    """A ticket expires though its user asks for it."""
    line = line_of("--ticket-timeout", "9s")
    line.take_all(1)
    name = line.join()
    before = expires_at(line, name)
    wire.wait_for(lambda: line.ticket(name)["status"] == "waiting" and expires_at(line, name) > before,
        "the ticket is kept", 60.0, 0.1)


def test_ticket_is_written_now_and_then_only_when_it_is_asked_for(line):
    """Each question for a ticket is a write."""
    line.take_all(1)
    name = line.join()
    before = line.figure("doorbuster_commands_total")
    for _ in range(100):
        line.ticket(name)
    assert line.figure("doorbuster_commands_total") - before < 50  # other work may have been looked for meanwhile


# --- events ---

def test_every_place_is_told(line):
    """A change of place, or the machine, is not told to who listens; or the stream does not end with it."""
    user, = line.take_all(1)
    others = [line.join() for _ in range(2)]
    name = line.join()
    events = line.events(name)
    assert events.head.status == 200 and events.head.header("content-type") == "text/event-stream"
    assert events.head.header("cache-control") == "no-store"
    number, data = events.event()
    assert number == "3" and data == line.ticket(name)
    for position, other in zip((2, 1), others):
        expect_gone(line.leave(other))
        number, data = events.event()
        assert number == str(position) and data["position"] == position and data["status"] == "waiting"
    line.free(user)
    number, data = events.event()
    assert number == "served" and data == served_with(line, name)
    assert events.event() is None


def test_end_of_a_ticket_is_told(line):
    """The end of a ticket that was not served is not told to who listens, or to one of several."""
    line.take_all(1)
    name = line.join()
    listeners = [line.events(name) for _ in range(3)]
    for events in listeners:
        assert events.event()[1]["status"] == "waiting"
    expect_gone(line.leave(name))
    for events in listeners:
        number, data = events.event()
        assert number == "left" and data == line.ticket(name) and events.event() is None


def test_listening_keeps_a_ticket_and_going_does_not_end_it_at_once(line):
    """A ticket expires while somebody listens to it; or its place is lost as soon as the connection breaks."""
    user, = line.take_all(1)
    name = line.join()
    before = expires_at(line, name)
    events = line.events(name)
    wire.wait_for(lambda: expires_at(line, name) > before, "the ticket is kept", 60.0)
    events.connection.close()
    wire.wait_for(lambda: line.figure("doorbuster_tickets_listening") == 0, "nobody listens")
    assert line.waiting() == 1
    events = line.events(name)
    assert events.event()[0] == "1"
    line.free(user)
    assert events.event()[0] == "served"


def test_silent_stream_of_a_ticket_has_heartbeats(line_of):
    """A proxy takes the stream of a ticket that stays in its place for dead."""
    line = line_of("--sse-heartbeat", "200ms", *STILL)
    line.take_all(1)
    events = line.events(line.join())
    assert events.event()[0] == "1"
    while ":\n\n:\n\n" not in events.text:
        events.more()
    assert events.text.replace(":\n\n", "") == ""


def test_resumed_events_do_not_repeat(line):
    """Who comes back with Last-Event-ID hears again what it knows, or not what it does not know."""
    user, = line.take_all(1)
    name = line.join()
    events = line.events(name, {"Last-Event-ID": "1"})
    assert events.head.status == 200
    line.free(user)
    assert events.event()[0] == "served" and events.event() is None
    assert line.events(name, {"Last-Event-ID": "1"}).event()[0] == "served"
    reply = line.ask("GET", f"{QUEUE}/{name}/events", {"Last-Event-ID": "served"})
    assert reply.status == 204, reply


def test_many_listeners_hear_the_latest_place(line):
    """When places change faster than they are told, some listeners stay with an old one."""
    user, = line.take_all(1)
    before = [line.join() for _ in range(60)]
    names = [line.join() for _ in range(40)]
    listeners = [line.events(name) for name in names]
    wire.wait_for(lambda: line.figure("doorbuster_tickets_listening") == 40, "all listen")
    for name in before:
        expect_gone(line.leave(name))
    for place, events in enumerate(listeners, 1):
        positions = []
        while not positions or positions[-1] != place:
            positions.append(events.event()[1]["position"])
        assert positions == sorted(positions, reverse=True) and len(positions) <= 61, positions
    line.free(user)
    assert [data["status"] for _, data in iter(listeners[0].event, None)] == ["served"]


def test_head_of_a_ticket(line):
    """HEAD of a ticket or its events has a body, or opens a stream."""
    name = line.join()
    assert line.ask("HEAD", f"{QUEUE}/{name}").status == 200
    assert line.ask("HEAD", f"{QUEUE}/{name}/events").status == 200
    assert line.figure("doorbuster_tickets_listening") == 0


def test_other_methods_on_tickets_are_405(line):
    """A path of tickets takes another method, or does not say which ones it takes."""
    name = line.join()
    for path, allow in (("", "GET, HEAD, DELETE"), ("/events", "GET, HEAD")):
        reply = expect(line.ask("PUT", f"{QUEUE}/{name}{path}"), 405,
            no_method("PUT", f"api/orchestrator/queue/:ticket{path}", allow))
        assert reply.header("allow") == allow
