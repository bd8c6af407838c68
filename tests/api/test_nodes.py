# SPDX-License-Identifier: Apache-2.0
"""
Several nodes that share a PostgreSQL and nothing else, on a good day: together they sell exactly what there is, they
hear of each other, and a sold-out crowd stays away from the database.
"""
import concurrent.futures
import os
import select
import shutil
import signal
import statistics
import subprocess
import threading
import time

import pytest

import wire
from nodes import (ANSWER_SECONDS, Customers, NodeDatabase, RECOVERY_SECONDS, buy, check_books, expect_away, is_ready,
    new_sale, number_in, postgres, start_haproxy, start_nodes, start_proxy, status, the_seed,
    wait_state)  # noqa: F401 (fixtures)
from shop import ALREADY, MINUTE_MS, NOT_ACTIVE, PURCHASES, Shop, iso, new_sku, new_user, now_ms
from test_flash_sale_sse import Events

pytestmark = pytest.mark.needs("postgres")

HOT_STOCK = 300
HOT_BUYERS = 1000
REFUSED = 10_000
FRESH_SECONDS = 8.0  # a few hundredths when the machine is idle
STALENESS_MS = 1500
SALE_MS = 6000
LATE_MS = 5000  # a tenth of a second when the machine is idle
EARLY_MS = 250  # a node knows the clock of the database to half a round trip, which is long on a busy machine


@pytest.fixture
def database(postgres, tmp_path):
    return NodeDatabase(postgres, tmp_path)


def each_door(doors, work):
    """What work(door) returns, all at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(doors)) as pool:
        return list(pool.map(work, doors))


# --- one sale, many doors ---

def sell_hot(database, doors, tag):
    """1,000 customers with keys; then all ask once more, at any door, with the key and without."""
    seed = the_seed(f"hot sale, {tag}")
    sku = new_sale(doors[0], HOT_STOCK, "HOT", doors)
    customers = Customers(doors, sku, tag, 100, HOT_BUYERS // 100, seed).start().finish()
    assert check_books(database, customers, HOT_STOCK) == HOT_STOCK
    again = Customers(doors, sku, tag, 100, HOT_BUYERS // 100, seed + 1).start().finish()
    assert again.acknowledged() == customers.acknowledged(), "a repeated request got another answer"
    assert again.refused() == customers.refused()
    for index, customer in enumerate(customers.all[::20]):
        reply, _ = buy(doors[index % len(doors)], sku, customer.user)
        assert reply.status == 200 and reply.text in (ALREADY, NOT_ACTIVE), reply
    assert check_books(database, customers, HOT_STOCK) == HOT_STOCK
    shop_counts = [wait_state(door, sku, "ENDED") for door in doors]
    assert {(data["stock"], data["initialStock"]) for data in shop_counts} == {(0, HOT_STOCK)}
    for door in doors:
        shop = Shop(door)
        data = shop.product(sku).data
        shop.close()
        assert (data["currentStock"], data["totalPurchases"], data["state"]) == (0, HOT_STOCK, "ENDED"), data
    print(customers)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_hot_sale_through_nodes(database, start_nodes, count):
    """Nodes on one database sell a unit twice, or not at all, or to somebody who has one."""
    sell_hot(database, start_nodes(database, count), f"n{count}")
    database.verify()


@pytest.mark.needs("haproxy")
def test_hot_sale_behind_the_balancer(database, start_nodes, start_haproxy):
    """The balancer sends a purchase twice, or to a node that sells what another has sold."""
    balancer = start_haproxy(start_nodes(database, 3))
    sell_hot(database, [balancer], "proxy")
    assert all(node["stot"] > 0 for node in balancer.stats().values())
    database.verify()


# --- a sold-out crowd ---

def refuse_many(node, sku, tag):
    """REFUSED purchases without a key, many on the wire at a time; each must be refused."""
    with wire.Connection(node.port) as connection:
        for first in range(0, REFUSED, 200):
            connection.send(b"".join(wire.build("POST", PURCHASES, {"X-User-Id": f"{tag}-{first + i}"}, {"sku": sku})
                for i in range(200)))
            for _ in range(200):
                reply = connection.read_reply()
                assert reply.status == 200 and reply.text == NOT_ACTIVE, reply


def clock_questions(database):
    return sum(calls for text, calls in database.postgres.statements(database.name).items()
        if "clock_timestamp()" in text)


def of_the_clock(text):
    """Statements that a node runs by the clock, whether or not anybody comes."""
    looks = ("clock_timestamp()", "SKIP LOCKED", "FROM orders WHERE status = ", "FROM pool ", "FROM machines ",
        "FROM tickets ")
    return any(look in text for look in looks) or text.split()[0] in ("BEGIN", "ROLLBACK", "DISCARD")


def wait_quiet(database):
    """Until what the end of a sale gives the nodes to do is done."""
    def is_quiet():
        """For five seconds of two nodes that ask twice a second, in which they look around more than twice."""
        database.postgres.forget_statements()
        wire.wait_for(lambda: clock_questions(database) >= 20, "the listeners ask for the time", 60)
        return all(map(of_the_clock, database.postgres.statements(database.name)))

    wire.wait_for(is_quiet, "only the clock runs", 60)


def commits_of(database):
    return database.postgres.super_sql("SELECT xact_commit FROM pg_stat_database WHERE datname = %s",
        database.name)[0][0]


@pytest.mark.seconds(240)
def test_refused_purchases_never_reach_the_database(database, start_nodes):
    """Who comes after the last unit costs the database a query, so that a sold-out crowd can take it down."""
    nodes = start_nodes(database, 2)
    sku = new_sale(nodes[0], 3, "GONE", nodes)
    for index in range(3):
        assert number_in(buy(nodes[index % 2], sku, f"early-{index}")[0])
    for node in nodes:
        wait_state(node, sku, "ENDED")
    wait_quiet(database)
    database.postgres.forget_statements()
    commits, began = commits_of(database), time.monotonic()
    each_door(nodes, lambda node: refuse_many(node, sku, f"late-{node.port}"))
    refused_s = time.monotonic() - began
    wire.wait_for(lambda: clock_questions(database) >= 4, "the listeners ask for the time")
    statements, seconds = database.postgres.statements(database.name), time.monotonic() - began
    print(f"{2 * REFUSED} refused in {refused_s:.1f} s; in {seconds:.1f} s {statements}")
    strange = {text: calls for text, calls in statements.items() if not of_the_clock(text)}
    assert not strange, strange
    # Two questions of the time and two of waiting orders a second and node, a look for each kind of work three times a
    # second (up to three statements), and one at the machines every other second (three), however many were refused.
    assert sum(statements.values()) <= 2 * (20 + 26 * seconds), (statements, seconds)
    # The server counts a transaction up to a second late.
    asked = clock_questions(database)
    wire.wait_for(lambda: clock_questions(database) >= asked + 6, "the clock goes on")
    assert commits_of(database) - commits <= 60 + 32 * (time.monotonic() - began)


# --- hearing of each other ---

def test_overwritten_sale_is_sold_by_the_other_node(database, start_nodes):
    """A node refuses from an old picture what another node has put on sale again."""
    a, b = start_nodes(database, 2)
    shop = Shop(a)
    sku = new_sale(a, 1, "AGAIN", [b])
    for turn in range(5):
        assert number_in(buy(b, sku, f"first-{turn}")[0])
        wait_state(b, sku, "ENDED")
        assert buy(b, sku, new_user())[0].text == NOT_ACTIVE
        body = shop.body(sku, stock=1)
        if turn % 2:
            assert shop.delete(sku).status == 200
        assert shop.create(body).status == 201
        began = time.monotonic()
        wire.wait_for(lambda: number_in(buy(b, sku, "second")[0]), "the other node sells it", FRESH_SECONDS)
        print(f"turn {turn}: sold by the other node after {time.monotonic() - began:.3f} s")
        assert shop.create(shop.body(sku, stock=1)).status == 201
        wait_state(b, sku, "ACTIVE", FRESH_SECONDS)
    shop.close()


def test_product_is_removed_right_after_the_other_node_has_changed_it(database, start_nodes):
    """A node that loads a change of another node's and removes the product in the same batch does not survive it."""
    a, b = start_nodes(database, 2)
    shop, other = Shop(a), Shop(b)
    for turn in range(100):
        sku = new_sku("LATEST")
        assert shop.create(shop.body(sku, stock=2)).status == 201
        reply = other.buy(sku, "latest")
        assert reply.status == 200, reply
        assert shop.delete(sku).status == 200
    shop.close(), other.close()
    assert database.rows("SELECT count(*) FROM purchase_log") == [(0,)]


def test_listeners_hear_of_purchases_at_another_node(database, start_nodes):
    """Who watches a sale at one node does not see what is bought at another, or never sees its end."""
    a, b = start_nodes(database, 2)
    sku = new_sale(a, 20, "HEAR", [b])
    with Events(b, f"?sku={sku}") as events:
        assert events.event()["data"]["state"] == "ACTIVE"
        assert number_in(buy(a, sku, "hear-0")[0])
        assert events.event() == {"type": "stock-update", "data": {"sku": sku, "stock": 19}}
        for index in range(1, 20):
            assert number_in(buy(a, sku, f"hear-{index}")[0])
        seen, last = [], None
        while last is None or last["type"] != "state-change":
            last = events.event()
            seen.append(last)
        assert last["data"] == {"sku": sku, "state": "ENDED", "reason": "SOLD_OUT"}, seen
        stocks = [event["data"]["stock"] for event in seen if event["type"] == "stock-update"]
        assert stocks == sorted(stocks, reverse=True) and stocks[-1:] == [0], seen


def test_start_and_end_that_a_node_slept_through_are_told(database, start_nodes):
    """Who watches a sale at a node that finds it begun and ended at once hears of an end without a start."""
    a, b = start_nodes(database, 2)
    shop, sku = Shop(a), new_sku("SLEPT")
    assert shop.create(shop.body(sku, start=MINUTE_MS)).status == 201
    wire.wait_for(lambda: status(b, sku)["stock"] == 10, "the other node knows it")
    with Events(b, f"?sku={sku}") as events:
        assert events.event()["data"]["state"] == "UPCOMING"
        b.signal(signal.SIGSTOP)
        try:
            assert shop.create(shop.body(sku, start=-2 * MINUTE_MS, end=-MINUTE_MS)).status == 201
            shop.wait_state(sku, "ENDED")
        finally:
            b.signal(signal.SIGCONT)
        assert events.event()["data"] == {"sku": sku, "state": "ACTIVE"}
        assert events.event()["data"] == {"sku": sku, "state": "ENDED", "reason": "TIME_EXPIRED"}
    shop.close()


def test_node_that_hears_nothing_stops_refusing_by_itself(database, start_nodes, start_proxy):
    """A node without its database goes on telling people that everything is sold, though it cannot know; or it does
    not come back."""
    proxy = start_proxy(database.postgres.port)
    a, = start_nodes(database)
    b, = start_nodes(database.through(proxy), 1, "--staleness-max", f"{STALENESS_MS}ms")
    sku = new_sale(a, 1, "DEAF", [b])
    assert number_in(buy(a, sku, "only")[0])
    wait_state(b, sku, "ENDED")
    assert buy(b, sku, new_user())[0].text == NOT_ACTIVE
    proxy.blackhole()
    began, answers = time.monotonic(), []

    def has_stopped():
        when = time.monotonic() - began
        reply, seconds = buy(b, sku, new_user())
        answers.append((when, seconds, reply.status))
        return reply.status == 503 and reply

    expect_away(wire.wait_for(has_stopped, "no refusals without knowledge"))
    refusals = [when for when, _, code in answers if code == 200]
    print(f"last refusal begun after {max(refusals, default=0.0):.2f} s; 503 asked for after {answers[-1][0]:.2f} s, "
        f"which took {answers[-1][1]:.2f} s")
    assert max(refusals, default=0.0) <= STALENESS_MS / 1000 + 2, answers
    assert answers[-1][1] <= ANSWER_SECONDS, answers
    assert not is_ready(b) and is_ready(a)
    waits = []
    for _ in range(5):
        reply, seconds = buy(b, sku, new_user())
        expect_away(reply)
        waits.append(seconds)
    assert statistics.median(waits) < 3.0, "a node that knows that it is cut off lets people wait"
    shop = Shop(a)
    assert shop.create(shop.body(sku, stock=1)).status == 201
    shop.close()
    proxy.heal()
    began = time.monotonic()
    wire.wait_for(lambda: number_in(buy(b, sku, "late")[0]), "the node is back", RECOVERY_SECONDS)
    print(f"back {time.monotonic() - began:.2f} s after the network")
    assert is_ready(b)


# --- the sale clock ---

class Notifications:
    """Counts what the nodes tell each other, {sku: how often}."""

    def __init__(self, database):
        self.counts = {}
        self.connection = database.postgres.connect(database.name)
        with self.connection.cursor() as cursor:
            cursor.execute("LISTEN doorbuster")

    def take(self):
        """What came since the last call."""
        self.listen()
        counts, self.counts = self.counts, {}
        return counts

    def listen(self):
        while select.select([self.connection], [], [], 0)[0]:
            self.connection.poll()
            while self.connection.notifies:
                name = self.connection.notifies.pop(0).payload
                self.counts[name] = self.counts.get(name, 0) + 1

    def expect_once(self, skus):
        """Each of them is told, and none a second time."""
        def are_all_there():
            self.listen()
            return set(self.counts) >= set(skus)

        wire.wait_for(are_all_there, "the nodes tell each other")
        counts = self.take()
        assert counts == {sku: 1 for sku in skus}, {sku: count for sku, count in counts.items() if count != 1}


def create_all(node, skus, start, end):
    shop = Shop(node)
    for sku in skus:
        reply = shop.create({"sku": sku, "productName": "Clock", "initialStock": 5, "startTime": iso(start),
            "endTime": iso(end)})
        assert reply.status == 201, reply
    shop.close()


def wait_all(nodes, skus, state, database):
    """When each node showed the last of them in that state, in ms since 1970."""
    def last(node):
        with wire.Connection(node.port) as connection:
            for sku in skus:
                wire.wait_for(lambda: connection.ask("GET", f"/api/v1/sales?sku={sku}").data["state"] == state,
                    f"{sku} {state} at {node.port}", 30)
        return now_ms()

    seen = each_door(nodes, last)
    states = database.rows("SELECT DISTINCT state FROM products WHERE sku = ANY (%s)", list(skus))
    assert states == [(state,)], states
    return seen


def updates(database, skus):
    return dict(database.rows("SELECT sku, updated_at FROM products WHERE sku = ANY (%s)", list(skus)))


@pytest.mark.parametrize("is_killed", [False, True], ids=["all-live", "one-killed"])
def test_each_sale_turns_once(database, start_nodes, is_killed):
    """With several nodes a sale starts twice, late, or not at all when the node that was about to do it dies."""
    nodes = start_nodes(database, 3)
    notifications = Notifications(database)
    skus = [new_sku("CLOCK") for _ in range(50)]
    start = (now_ms() // 1000 + 8) * 1000
    end = start + SALE_MS
    create_all(nodes[0], skus, start, end)
    assert now_ms() < start - 300, "too slow here to make 50 products in time"
    notifications.expect_once(skus)
    if is_killed:
        wire.wait_for(lambda: now_ms() >= start - 30, "the sales are about to start", pause=0.002)
        nodes.pop(0).kill9()
    for state, edge in (("ACTIVE", start), ("ENDED", end)):
        seen = wait_all(nodes, skus, state, database)
        print(f"{state} on {len(nodes)} nodes {[when - edge for when in seen]} ms after the edge")
        assert all(edge - EARLY_MS <= when <= edge + LATE_MS for when in seen), seen
        notifications.expect_once(skus)
    # Nodes look again for what is due, every few seconds: nothing is done a second time.
    before = updates(database, skus)
    so_far = looks(database)
    wire.wait_for(lambda: looks(database) > so_far + len(nodes), "the nodes have looked again", 60)
    assert updates(database, skus) == before and notifications.take() == {}


def looks(database):
    """How often nodes have looked for what is due."""
    return sum(calls for text, calls in database.postgres.statements(database.name).items()
        if "FOR NO KEY UPDATE SKIP LOCKED" in text)


# --- wrong clocks ---

SHIM = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += atol(getenv("WRONG_CLOCK_S"));
    return status;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){.tv_sec = precise.tv_sec, .tv_usec = precise.tv_nsec / 1000};
    return 0;
}
"""


@pytest.fixture
def wrong_clock(tmp_path):
    """wrong_clock(seconds): the environment of a process whose clock is so much ahead."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make a wrong clock with")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return lambda seconds: {"LD_PRELOAD": str(library), "WRONG_CLOCK_S": str(seconds),
        "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}


@pytest.mark.parametrize("wrong_s", [-600, 420], ids=["late", "early"])
def test_node_with_a_wrong_clock_sells_by_the_clock_of_the_database(database, start_nodes, wrong_clock, wrong_s):
    """A node whose clock is minutes off starts or ends sales at its own time, or writes times that never were."""
    good, = start_nodes(database)
    wrong, = start_nodes(database, environment=wrong_clock(wrong_s))
    wrong.wait_log(lambda entry: entry["context"] == "store" and "clock" in entry["message"], "its clock is off")
    notifications = Notifications(database)
    start = (now_ms() // 1000 + 6) * 1000
    end = start + SALE_MS
    skus = [new_sku("TIME") for _ in range(4)]
    create_all(wrong, skus, start, end)
    notifications.expect_once(skus)
    assert [status(wrong, sku)["state"] for sku in skus] == ["UPCOMING"] * 4
    assert buy(wrong, skus[0], "too-early")[0].text == NOT_ACTIVE
    seen = wait_all([wrong, good], skus, "ACTIVE", database)
    assert all(start - EARLY_MS <= when <= start + LATE_MS for when in seen), (start, seen)
    reply, _ = buy(wrong, skus[0], "in-time")
    assert number_in(reply), reply
    (_, _, bought), = database.purchases(skus[0])
    assert start <= bought <= now_ms() + EARLY_MS, bought
    seen = wait_all([wrong, good], skus, "ENDED", database)
    assert all(end - EARLY_MS <= when <= end + LATE_MS for when in seen), (end, seen)
    assert buy(wrong, skus[0], "too-late")[0].text == NOT_ACTIVE
    wrong.kill9()
    database.verify()


# --- keys ---

def test_key_is_answered_the_same_at_every_node(database, start_nodes):
    """A request that is repeated at another node is done again, or answered otherwise."""
    a, b = start_nodes(database, 2)
    sku, other = new_sale(a, 5, "KEY", [b]), new_sale(b, 5, "KEY", [a])
    first, _ = buy(a, sku, "key-user", "key-1")
    assert number_in(first)
    for door in (b, a, b):
        assert buy(door, sku, "key-user", "key-1")[0].body == first.body
    mismatch, _ = buy(b, other, "key-user", "key-1")
    assert (mismatch.status, mismatch.code) == (422, "IDEMPOTENCY_KEY_MISMATCH"), mismatch
    refused, _ = buy(b, sku, "key-user", "key-2")
    assert refused.text == ALREADY
    assert buy(a, sku, "key-user", "key-2")[0].body == refused.body
    assert number_in(buy(b, sku, "another-user", "key-1")[0]) not in (None, number_in(first))
    shop_a, shop_b, body = Shop(a), Shop(b), Shop(a).body(new_sku("KEY"))
    made = shop_a.create(body, {"Idempotency-Key": '"admin-1"'})
    assert made.status == 201
    again = shop_b.create(body, {"Idempotency-Key": '"admin-1"'})
    assert (again.status, again.body) == (201, made.body)
    shop_a.close(), shop_b.close()
    assert database.rows("SELECT count(*) FROM purchase_log") == [(2,)]


def test_key_at_two_nodes_at_once_is_one_purchase(database, start_nodes):
    """The same request at two nodes at the same moment is two purchases, or its two answers differ."""
    nodes = start_nodes(database, 2)
    sku = new_sale(nodes[0], 1000, "BOTH", nodes)
    for turn in range(60):
        key = {"X-User-Id": f"both-{turn}", "Idempotency-Key": f'"both-{turn}"'}
        start = threading.Barrier(4)

        def ask(door):
            with wire.Connection(door.port) as connection:
                start.wait(60)
                while (reply := connection.ask("POST", PURCHASES, key, {"sku": sku})).status == 409:
                    pass
                return reply

        replies = each_door(nodes * 2, ask)
        assert all(number_in(reply) for reply in replies), replies
        assert len({reply.body for reply in replies}) == 1, replies
    rows = database.purchases(sku)
    assert len(rows) == 60 and len({user for _, user, _ in rows}) == 60
    database.verify()


def test_node_that_starts_with_a_wrong_clock_ends_nobodys_sale(database, start_nodes, wrong_clock):
    """A node that starts goes by its own clock until it has asked for the database's: it ends what still goes on."""
    good, = start_nodes(database)
    sku = new_sku("START")
    create_all(good, [sku], now_ms() - 60_000, now_ms() + 1_800_000)
    wait_state(good, sku, "ACTIVE")
    wrong, = start_nodes(database, environment=wrong_clock(3600))
    wrong.wait_log(lambda entry: entry["context"] == "store" and "clock" in entry["message"], "its clock is off")
    assert buy(wrong, sku, "ann")[0].status == 200
    assert database.rows("SELECT state FROM products WHERE sku = %s", sku) == [("ACTIVE",)]
