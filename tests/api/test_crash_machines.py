# SPDX-License-Identifier: Apache-2.0
"""
kill -9 again and again while users take machines, choose, wait in the line and leave it, and machines are added,
drained, reset and removed. After each kill the tables follow from what was acknowledged, and after each restart from
what they were before: a machine is done at the time that was set before the kill, tickets keep their places, and those
of users whose connection went with the server are gone.

    DOORBUSTER_CRASH_ROUNDS  how many kills on the embedded store (20), and two fifths of that with two nodes on
                             PostgreSQL; script/crash-test --machines N sets it
    DOORBUSTER_SEED          repeats a run's choices (the printed number); the races stay the machine's
"""
import os
import random
import time
from collections import Counter

import pytest

import wire
from machine_books import Books, CLOCK_DOUBT_MS
from machine_crowd import ADMIN, CHOOSE, MACHINES, PRODUCTS, QUEUE, START, MachineCrowd
from nodes import start_nodes, the_seed  # noqa: F401 (a fixture)
from server import Server
from stores import PostgresStore
from test_crash import run_verify

ROUNDS = int(os.environ.get("DOORBUSTER_CRASH_ROUNDS", "20"))
SHARED_ROUNDS = max(2, ROUNDS * 2 // 5)
SERIOUS_ROUNDS = 8  # with so many kills each kind of moment must have been hit
MOMENT_SECONDS = 3.0
KEPT_MS = 15000  # for so long a shared store keeps the place of a connection whose node is silent
CHOOSE_TIMEOUT_MS = 2000
DISPENSE_TIMES = ("0s", "200ms", "800ms", "2500ms")
# What a shared store keeps of a killed node, and the longest that a machine needs; the rest is for a busy machine.
QUIET_SECONDS = 120.0


class Hall:
    """Servers on one store that are killed, and everybody who deals with them."""

    def __init__(self, place, seed, count):
        self.place, self.seed, self.dice = place, seed, random.Random(seed)
        self.turn, self.hits, self.attached = 0, Counter(), set()
        self.all = []
        self.doors = [self.open_door() for _ in range(count)]
        self.crowd = MachineCrowd(self.doors, seed).start()
        self.moments = ((self.crowd.told, 20), (self.crowd.chosen, 15), (self.crowd.joined, 10))
        self.crowd.chosen.wait_more(3, 60)

    def open_door(self):
        """Each server lets machines dispense for another time than the one before."""
        dispense_time = DISPENSE_TIMES[len(self.all) % len(DISPENSE_TIMES)]
        self.all.append(Server(self.place, ("--dispense-time", dispense_time, "--choose-timeout",
            f"{CHOOSE_TIMEOUT_MS}ms")))
        return self.all[-1].start()

    def books(self, place, when):
        books = Books(place, self.crowd.journal, f"kill {self.turn}, {when}, seed {self.seed}", CHOOSE_TIMEOUT_MS)
        books.check()
        return books

    def kill(self):
        """One of the servers, in the middle of something; another one takes its place."""
        self.turn += 1
        counter, most = self.moments[self.turn % len(self.moments)]
        counter.wait_more(self.dice.randrange(1, most), MOMENT_SECONDS)
        time.sleep(self.dice.choice((0.0, self.dice.uniform(0, 0.03))))  # pause: the moment of the kill
        index = self.dice.randrange(len(self.doors))
        self.doors.pop(index).kill9()
        is_shared = self.place.kind == "postgres"
        before = self.books(self.place if is_shared else self.place.frozen(self.place.directory / f"after-{self.turn}"),
            "before the restart")
        self.hits += before.hits()
        self.doors.insert(index, self.open_door())
        self.crowd.check_alive()
        if is_shared:
            self.attached.update(before.attached())
        else:
            self.check_gone(before.attached())
        after = self.books(self.place, "after the restart")
        after.check_follows(before)
        self.check_goes_on()

    def check_gone(self, attached):
        """With a store of its own, who waited at the killed server is out of the line before anybody is served."""
        wire.wait_for(lambda: not self.waiting(attached), "who waited at the killed server is not in the line")
        found = dict(self.place.rows("SELECT id, state FROM tickets"))
        assert {found[ticket] for ticket in attached} <= {"expired"}, {each: found[each] for each in attached}

    def waiting(self, attached):
        rows = self.place.rows("SELECT id FROM tickets WHERE state = 'waiting'")
        return {ticket for ticket, in rows} & set(attached)

    def check_goes_on(self):
        """Machines are handed out again."""
        before = self.crowd.told.count
        self.crowd.told.wait_more(1, QUIET_SECONDS)
        self.crowd.check_alive()
        assert self.crowd.told.count > before, f"kill {self.turn}, seed {self.seed}: nobody gets a machine any more"

    def settle(self):
        """Nobody comes any more, everybody in the line is served, and every machine is done."""
        self.crowd.finish(QUIET_SECONDS)
        wire.wait_for(lambda: self.place.rows("SELECT count(*) FROM machines WHERE status <> 'idle'") == [(0,)]
            and not self.place.rows("SELECT id FROM tickets WHERE state = 'waiting'"), "all machines are idle"
            f" (seed {self.seed})", QUIET_SECONDS, 0.05)
        assert not self.waiting(self.attached)
        books = self.books(self.place, "at the end")
        self.check_wire(books)
        if self.turn >= SERIOUS_ROUNDS:
            assert all(self.hits[kind] > 0 for kind in ("choosing", "chosen", "tickets", "attached")), self.hits
        outcomes = Counter(lease.outcome for lease in books.all_leases)
        print(f"{self.turn} kills: {len(books.all_leases)} leases, {dict(outcomes)}; {len(books.tickets)} tickets,"
            f" {dict(Counter(ticket.state for ticket in books.tickets.values()))}; {len(books.purchases)} units sold;"
            f" hit {dict(self.hits)}")

    def check_wire(self, books):
        """The same through each server's own eyes."""
        machines = sorted((row.id, "idle", row.usage_count) for row in books.machines.values())
        stocks = sorted((row.id, row.stock) for row in books.products.values())
        for door in self.doors:
            wire.wait_for(lambda: [(each["id"], each["status"], each["usage_count"])
                for each in wire.ask(door.port, "GET", MACHINES).json()] == machines, "it knows the machines")
            wire.wait_for(lambda: sorted((each["id"], each["stock"])
                for each in wire.ask(door.port, "GET", PRODUCTS).json()) == stocks, "it knows the stock")

    def close(self):
        for door in self.doors:
            door.stop()
        run_verify(self.place)
        self.place.check_left()

    def discard(self):
        for door in self.all:
            door.discard()


@pytest.fixture
def open_hall():
    """open_hall(place, seed, count); its servers are gone at the end."""
    halls = []

    def make(*arguments):
        halls.append(Hall(*arguments))
        return halls[-1]

    yield make
    for hall in halls:
        hall.discard()


@pytest.fixture
def shared_store(shared_postgres, tmp_path):
    place = PostgresStore(tmp_path, shared_postgres)
    yield place
    place.discard()


@pytest.mark.embedded
@pytest.mark.seconds(300 + 15 * ROUNDS)
def test_killed_servers_forget_nothing_of_machines_and_line(store, open_hall):
    """After kill -9 somebody's machine is somebody else's, a choice is forgotten or made twice, a machine dispenses for
    ever, or the line is another one. Repeat with DOORBUSTER_SEED=<the printed number>."""
    hall = open_hall(store(), the_seed(f"{ROUNDS} kills"), 1)
    for _ in range(ROUNDS):
        hall.kill()
    hall.settle()
    hall.close()


@pytest.mark.needs("postgres")
@pytest.mark.seconds(300 + 15 * SHARED_ROUNDS)
def test_killed_nodes_forget_nothing_of_machines_and_line(shared_store, open_hall):
    """The same with two nodes, one of which is killed each time: the other one forgets what the killed one had begun,
    or lets those wait for ever who waited there."""
    hall = open_hall(shared_store, the_seed(f"{SHARED_ROUNDS} kills of one of two nodes"), 2)
    for _ in range(SHARED_ROUNDS):
        hall.kill()
    hall.settle()
    hall.close()


# --- one machine after the other ---

def ask(door, method, target, body=None, headers=ADMIN):
    reply = wire.ask(door.port, method, target, headers, body)
    assert reply.status in (200, 201, 202), reply
    return reply.json()


def choose(door, taken, product):
    return wire.ask(door.port, "POST", CHOOSE, None, {"machine_id": taken["machine"]["id"], "product_id": product,
        "count": 2, "coins": 2, "lease": taken["lease"]})


class Scene:
    """Three machines, all taken; in the line a ticket, somebody with a connection, and another ticket. Last of all a
    product is chosen at the first machine."""

    def __init__(self, door, place, dispense_ms):
        self.place = place
        for number in range(3):
            ask(door, "POST", MACHINES, {"name": f"machine {number + 1}"})
        self.product = ask(door, "POST", PRODUCTS, {"name": "tea", "stock": 9})["id"]
        self.taken = [ask(door, "POST", START) for _ in range(3)]
        self.first = self.join(door)
        self.connection = wire.Connection(door.port)
        self.connection.send(wire.build("POST", START, {"Prefer": "wait=50"}))
        wire.wait_for(lambda: len(self.book().attached()) == 1, "somebody waits with a connection")
        self.last = self.join(door)
        assert [self.look(door, ticket)["position"] for ticket in (self.first, self.last)] == [1, 3]
        assert choose(door, self.taken[0], self.product).status == 200
        self.due_at = self.book().leases[1].chosen_at + dispense_ms

    def check_due(self):
        """It is due when it was, unless this machine is so busy that it is done by now."""
        book = self.book()
        assert book.machines[1].due_at == self.due_at or book.leases[1].outcome == "completed", book.machines[1]

    def book(self):
        return Books(self.place, MachineCrowd([], 0).journal, "a scene", CHOOSE_TIMEOUT_MS)

    def join(self, door):
        return ask(door, "POST", QUEUE)["ticket"]

    def look(self, door, ticket):
        return ask(door, "GET", f"{QUEUE}/{ticket}")

    def wait_served(self, door, ticket):
        """What the holder of the ticket is told."""
        return wire.wait_for(lambda: (said := self.look(door, ticket))["status"] == "served" and said,
            f"ticket {ticket} is served", 60.0)

    def check_remaining_time(self, door):
        """The first machine is done when it was due, and belongs to the first in the line from that moment on."""
        self.check_due()
        served = self.wait_served(door, self.first)
        assert (served["machine"]["id"], served["machine"]["usage_count"]) == (1, 1), served
        leases = self.book().leases
        assert leases[1].outcome == "completed" and leases[1].ended_at >= self.due_at, leases[1]
        assert leases[served["lease"]].started_at == leases[1].ended_at, leases
        assert choose(door, self.taken[0], self.product).status == 422, "its first user had gone"


@pytest.mark.embedded
@pytest.mark.seconds(240)
def test_machine_finishes_its_remaining_time_and_serves_the_line(store, start_server):
    """After a restart a machine dispenses for its whole time again, or for ever, or somebody who has one may not choose
    any more, or the line has lost its order. The restarted servers dispense for an hour: who does not go by what was
    set before the kill is not done within this test."""
    place = store()
    door = start_server("--dispense-time", "3s", "--choose-timeout", "1h", on=place)
    scene = Scene(door, place, 3000)
    door.kill9()
    scene.connection.close()
    scene.check_due()
    door = start_server("--dispense-time", "1h", "--choose-timeout", "1h", on=place)
    wire.wait_for(lambda: scene.book().attached() == [], "who waited with a connection has gone")
    scene.check_remaining_time(door)
    assert choose(door, scene.taken[1], scene.product).json()["machine"]["status"] == "processing"
    assert choose(door, scene.taken[1], scene.product).status == 422
    ask(door, "POST", f"{MACHINES}/2/reset?lease={scene.taken[1]['lease']}")
    served = scene.wait_served(door, scene.last)
    book = scene.book()
    assert served["machine"]["id"] == 2 and book.leases[served["lease"]].started_at >= book.leases[2].ended_at
    assert (book.machines[3].status, book.machines[3].lease_id) == ("choose_product", scene.taken[2]["lease"])
    assert (book.products[scene.product].stock, len(book.purchases)) == (5, 4)
    door.stop()
    run_verify(place)


@pytest.mark.seconds(240)
def test_machine_that_was_due_while_no_server_ran_is_done_at_once(store, start_server):
    """What was due while nobody was there is forgotten, or begins again."""
    place = store()
    door = start_server("--dispense-time", "1s", "--choose-timeout", "1h", on=place)
    scene = Scene(door, place, 1000)
    door.kill9()
    scene.connection.close()
    wire.wait_for(lambda: time.time() * 1000 > scene.due_at + CLOCK_DOUBT_MS, "its time is over")
    door = start_server("--dispense-time", "1h", "--choose-timeout", "1h", on=place)
    scene.check_remaining_time(door)
    door.stop()
    run_verify(place)


@pytest.mark.needs("postgres")
@pytest.mark.seconds(240)
def test_other_node_finishes_what_a_killed_one_has_begun(shared_store, start_nodes):  # noqa: F811
    """A machine that was chosen at a node that dies dispenses until that node is back, or who waited there with a
    connection stands in the way of the others for ever. He is not kept for more than 15 s."""
    door, = start_nodes(shared_store, 1, "--dispense-time", "3s", "--choose-timeout", "1h")
    other, = start_nodes(shared_store, 1, "--dispense-time", "1h", "--choose-timeout", "1h")
    scene = Scene(door, shared_store, 3000)
    door.kill9()
    scene.connection.close()
    left_ms = shared_store.rows("SELECT (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint"
        " FROM tickets WHERE is_attached")[0][0]
    assert left_ms <= KEPT_MS + CLOCK_DOUBT_MS
    scene.check_remaining_time(other)
    wire.wait_for(lambda: scene.book().attached() == [], "who waited at the killed node has gone", 60.0)
    assert choose(other, scene.taken[1], scene.product).status == 200
    ask(other, "POST", f"{MACHINES}/3/reset?lease={scene.taken[2]['lease']}")
    assert scene.wait_served(other, scene.last)["machine"]["id"] == 3
    other.stop()
    run_verify(shared_store)
