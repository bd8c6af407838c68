# SPDX-License-Identifier: Apache-2.0
"""
Several nodes on one PostgreSQL on a bad day: nodes are killed, the server restarts or is lost, connections break at
COMMIT. Whatever happens, what was acknowledged is there under the number that was told, nobody buys twice, who does
not know asks again with his key and hears the truth, and everything comes back by itself.

    DOORBUSTER_CRASH_ROUNDS  how often nodes are killed (20); script/crash-test --nodes N ROUNDS sets it
    DOORBUSTER_CRASH_NODES   how many nodes there are then (2)
    DOORBUSTER_SEED          repeats a run's choices (the printed number); the races stay the machine's
"""
import os
import random
import re
import signal
import time
from urllib.parse import urlsplit

import pytest

import services
import wire
from nodes import (ANSWER_SECONDS, Customers, NodeDatabase, RECOVERY_SECONDS, buy, check_acknowledged, check_books,
    expect_away, is_ready, new_sale, number_in, postgres, start_haproxy, start_nodes, start_proxy, start_standby,
    status, the_seed, wait_state)  # noqa: F401 (fixtures)
from server import ADMIN_KEY, ROOT
from shop import MINUTE_MS, Shop, new_sku, new_user, now_ms

pytestmark = pytest.mark.needs("postgres")

ROUNDS = int(os.environ.get("DOORBUSTER_CRASH_ROUNDS", "20"))
NODES = int(os.environ.get("DOORBUSTER_CRASH_NODES", "2"))
# Longer variants of the others, for script/crash-test.
TIMES = max(1, ROUNDS // 20)
LANES = 100
SECOND_ATTEMPT_SECONDS = 1.0  # after so much a node begins nothing again
FRESH_SECONDS = 8.0  # a few hundredths when the machine is idle
PAUSE_SECONDS = 2.0  # less than the three after which the server itself ends a silent transaction


def expect_short(pauses):
    """How long the others stood still after each death. One in ten, and the first, may have waited for this machine."""
    pauses = sorted(pauses)
    assert pauses[-1 - (len(pauses) + 9) // 10] <= PAUSE_SECONDS and pauses[-1] <= ANSWER_SECONDS, \
        f"the others stood still for {pauses} s"


@pytest.fixture
def database(postgres, tmp_path):
    return NodeDatabase(postgres, tmp_path)


# --- nodes die ---

@pytest.mark.seconds(120 + 10 * ROUNDS)
def test_killed_node_loses_nothing_and_holds_nothing(database, start_nodes):
    """kill -9 of a node under load: an acknowledged purchase is gone, somebody has two, or its locks keep the others
    from selling."""
    seed = the_seed(f"{ROUNDS} rounds, {NODES} nodes")
    dice, doors, numbers, pauses = random.Random(seed), start_nodes(database, NODES), [], []
    for turn in range(1, ROUNDS + 1):
        where = f"round {turn}, seed {seed}"
        buyers = 4 * LANES
        stock = dice.choice((2 * buyers, buyers, buyers - 1, buyers // 2, buyers // 10))
        sku = new_sale(doors[0], stock, "KILL", doors)
        customers = Customers(doors, sku, f"k{turn}", LANES, 4, dice.random()).start()
        customers.wait_told(dice.randrange(1, min(stock, buyers) * 4 // 5))
        victim = doors.pop(dice.randrange(len(doors)))
        victim.kill9()
        died = time.monotonic()
        check_acknowledged(database, sku, customers.acknowledged(), where)
        doors += start_nodes(database, 1)
        customers.finish()
        sold = check_books(database, customers, stock, where)
        for door in doors:
            wire.wait_for(lambda: status(door, sku)["stock"] == stock - sold, f"{where}: shown at {door.port}",
                RECOVERY_SECONDS)
        pauses.append(min((when - died for when, *_ in customers.told if when > died), default=0.0))
        numbers += customers.acknowledged().values()
        print(f"round {turn}: {sold} of {stock}; the next purchase {pauses[-1]:.3f} s after the kill; {customers}")
    expect_short(pauses)
    assert len(set(numbers)) == len(numbers), "a number was given out twice"
    database.verify()


@pytest.mark.needs("haproxy")
@pytest.mark.seconds(120 + 30 * TIMES)
def test_killed_node_behind_the_balancer(database, start_nodes, start_haproxy):
    """Behind the balancer the death of a node makes a purchase twice, or loses one, or keeps buyers out for long."""
    seed = the_seed("killed behind the balancer")
    dice, pauses = random.Random(seed), []
    for turn in range(3 * TIMES):
        where = f"round {turn}, seed {seed}"
        nodes = start_nodes(database, 3)
        balancer = start_haproxy(nodes)
        stock = dice.choice((1000, 800, 799, 300))
        sku = new_sale(balancer, stock, "BALANCE", nodes)
        customers = Customers([balancer], sku, f"b{turn}", LANES, 8, dice.random()).start()
        customers.wait_told(dice.randrange(1, stock * 2 // 3))
        dice.choice(nodes).kill9()
        died = time.monotonic()
        customers.finish()
        sold = check_books(database, customers, stock, where)
        pauses.append(min((when - died for when, *_ in customers.told if when > died), default=0.0))
        print(f"{where}: {sold} of {stock}; {customers}")
        for node in nodes:
            node.discard()
    expect_short(pauses)
    database.verify()


@pytest.mark.seconds(120 + 60 * TIMES)
def test_node_that_stands_still_and_goes_on(database, start_nodes):
    """A node is stopped in the middle of a batch and goes on seconds later, when others have sold on: it commits what
    it had decided long ago, refuses from what it knew then, or its locks keep the others from selling."""
    seed = the_seed("paused nodes")
    dice, doors = random.Random(seed), start_nodes(database, 2)
    for turn, seconds in enumerate((1.0, 4.5) * TIMES):
        where = f"pause {turn} of {seconds} s, seed {seed}"
        paused, other = dice.sample(doors, 2)
        stock = dice.choice((800, 799, 400))
        sku = new_sale(paused, stock, "PAUSE", doors)
        customers = Customers(doors, sku, f"p{turn}", LANES, 8, dice.random()).start()
        customers.wait_told(dice.randrange(1, 200))
        paused.signal(signal.SIGSTOP)
        began = time.monotonic()
        time.sleep(seconds)  # pause: how long the node stands still is what this is about
        paused.signal(signal.SIGCONT)
        customers.finish()
        sold = check_books(database, customers, stock, where)
        after = [when for when, port, *_ in customers.told if when > began and port == other.port]
        wait_state(paused, sku, "ENDED" if sold == stock else "ACTIVE", FRESH_SECONDS)
        wire.wait_for(lambda: is_ready(paused), "ready again", RECOVERY_SECONDS)
        print(f"{where}: {sold} of {stock}, {len(after)} of them at the other node since; {customers}")
        # 1.5 s until a row that is held is given up, 3 s until the server ends the silent transaction.
        assert not after or after[0] - began < 10.0, where
    database.verify()


# --- the server of the database restarts ---

def expect_away_in_time(door, sku):
    """While the database is away: sent away within the deadline; whoever only looks is served."""
    reply, seconds = buy(door, sku, new_user("away"), new_sku("away-key"))
    expect_away(reply)
    assert seconds < ANSWER_SECONDS, seconds
    assert status(door, sku)["sku"] == sku
    wire.wait_for(lambda: not is_ready(door), "says that it is not ready")
    health = wire.ask(door.port, "GET", "/health")
    assert health.status == 503 and health.json()["data"]["status"] == "degraded", health
    return seconds


def wait_back(door, sku, since):
    """Sells again by itself within RECOVERY_SECONDS; after how many."""
    user = new_user("back")
    wire.wait_for(lambda: number_in(buy(door, sku, user, user)[0]), f"{door.port} sells again",
        RECOVERY_SECONDS - (time.monotonic() - since))
    assert is_ready(door)
    return time.monotonic() - since


@pytest.mark.seconds(120 + 60 * TIMES)
def test_restarted_database_loses_nothing(database, postgres, start_nodes):
    """PostgreSQL restarts, or dies, under load: requests hang, an acknowledged purchase is gone, somebody buys twice,
    or the nodes need a hand afterwards."""
    seed = the_seed("restarts")
    dice, doors = random.Random(seed), start_nodes(database, 2)
    spare = new_sale(doors[0], 10_000, "SPARE", doors)
    for turn, mode in enumerate(["fast", "immediate", "kill -9", "fast", "kill -9"] * TIMES):
        where = f"restart {turn} ({mode}), seed {seed}"
        stock = dice.choice((3000, 2000, 1999, 700))
        sku = new_sale(doors[0], stock, "RESTART", doors)
        customers = Customers(doors, sku, f"r{turn}", LANES, 20, dice.random(), 60).start()
        customers.wait_told(dice.randrange(1, 500))
        postgres.kill9() if mode == "kill -9" else postgres.stop(mode)
        waits = [expect_away_in_time(door, spare) for door in doors]
        postgres.start()
        since = time.monotonic()
        check_acknowledged(database, sku, customers.acknowledged(), where)
        backs = [wait_back(door, spare, since) for door in doors]
        customers.finish()
        sold = check_books(database, customers, stock, where)
        print(f"{where}: {sold} of {stock}; sent away within {max(waits):.2f} s, back {max(backs):.2f} s after the "
            f"server; {customers}")
    database.verify()


# --- connections break at COMMIT ---

def statement_name(word):
    """The bytes by which a prepared statement is named when it is run; see enum postgres_statement."""
    text = (ROOT / "src/store/postgres_priv.h").read_text()
    text = text[text.index("enum postgres_statement {"):]
    names = re.findall(r"\bSTATEMENT_\w+", text[:text.index("}")])
    return b"\0s%d\0" % names.index("STATEMENT_" + word)


def rows_of(database, sku, user):
    return [number for number, who, _ in database.purchases(sku) if who == user]


@pytest.mark.seconds(120 + 60 * TIMES)
def test_commit_whose_answer_is_lost_is_told_as_unknown(database, postgres, start_nodes, start_proxy):
    """The connection breaks around COMMIT: the client is told a guess, or a repetition buys a second time or hears of
    another purchase than the one that is there."""
    seed = the_seed("cut at COMMIT")
    dice, proxy = random.Random(seed), start_proxy(postgres.port, is_watching=True)
    node, = start_nodes(database.through(proxy))
    other, = start_nodes(database)
    sku = new_sale(node, 10_000, "CUT", [other])
    assert number_in(buy(node, sku, "first")[0])
    plan = [(when, "cut") for when in ("before", "sent", "answered")] * 6 * TIMES
    plan += [(when, "hang") for when in ("before", "sent", "answered")]
    dice.shuffle(plan)
    kept = {}
    for turn, (when, then) in enumerate(plan):
        where = f"turn {turn} ({then} {when}), seed {seed}"
        user = f"cut-{turn}"
        wire.wait_for(lambda: is_ready(node), f"{where}: ready", RECOVERY_SECONDS)
        trap = proxy.cut_at(statement_name("COMMIT"), when, then)
        reply, seconds = buy(node, sku, user, user)
        trap.wait(30)
        expect_away(reply, ("OUTCOME_UNKNOWN",))
        assert seconds < ANSWER_SECONDS, where
        before = rows_of(database, sku, user)
        assert len(before) == 1 if when == "answered" else before == [] if when == "before" else True, where
        doors = [node, other] if dice.random() < 0.5 else [other, node]
        doors *= 2
        numbers = [wire.wait_for(lambda: number_in(buy(door, sku, user, user)[0]), f"{where}: the truth", 30)
            for door in doors]
        assert rows_of(database, sku, user) == numbers[:1] == sorted(set(numbers)), (where, numbers)
        assert before in ([], numbers[:1]) or when == "sent", where
        kept[(when, then)] = kept.get((when, then), 0) + len(before)
    print(f"there before the repetition: {kept}")
    database.verify()


def test_load_that_breaks_is_begun_again_or_refused(database, postgres, start_nodes, start_proxy):
    """A connection that breaks before COMMIT costs a purchase, or leaves it unknown though nothing can have
    happened."""
    proxy = start_proxy(postgres.port, is_watching=True)
    node, = start_nodes(database.through(proxy))
    other, = start_nodes(database)
    sku = new_sale(node, 1000, "LOAD", [other])
    assert number_in(buy(node, sku, "first")[0])
    for turn, word in enumerate(("BEGIN", "LOCK_PRODUCTS", "FIND_BUYERS", "FIND_KEYS")):
        for when in ("before", "sent", "answered"):
            for attempt in range(5):
                user = f"load-{turn}-{when}-{attempt}"
                trap = proxy.cut_at(statement_name(word), when)
                reply, seconds = buy(node, sku, user, user)
                trap.wait(30)
                if number_in(reply) or seconds < SECOND_ATTEMPT_SECONDS:
                    break
                expect_away(reply, ("SERVICE_UNAVAILABLE",))  # too slow here for a second attempt in time
                assert rows_of(database, sku, user) == []
                wire.wait_for(lambda: is_ready(node), "ready", RECOVERY_SECONDS)
            assert number_in(reply), (word, when, reply)
            assert rows_of(database, sku, user) == [number_in(reply)]
    trap = proxy.cut_at(statement_name("LOCK_PRODUCTS"), "answered", "hang")
    reply, seconds = buy(node, sku, "hangs", "hangs")
    trap.wait(30)
    expect_away(reply, ("SERVICE_UNAVAILABLE",))
    assert seconds < ANSWER_SECONDS
    assert rows_of(database, sku, "hangs") == []
    # The server ends the transaction of the silent node, so that its lock does not stay.
    wire.wait_for(lambda: number_in(buy(other, sku, "hangs", "hangs")[0]), "the lock is gone", 30)
    proxy.refuse()
    reply, _ = buy(node, sku, "refused", "refused")
    expect_away(reply, ("SERVICE_UNAVAILABLE",))
    assert rows_of(database, sku, "refused") == []
    proxy.heal()
    wait_back(node, sku, time.monotonic())
    database.verify()


@pytest.mark.seconds(120 + 60 * TIMES)
def test_crowd_whose_connections_break_at_commit(database, postgres, start_nodes, start_proxy):
    """A batch of many purchases whose COMMIT is lost: one of them is there twice, or not though it was acknowledged."""
    seed = the_seed("crowd, cut at COMMIT")
    dice, proxy = random.Random(seed), start_proxy(postgres.port, is_watching=True)
    doors = start_nodes(database.through(proxy), 2)
    for turn in range(6 * TIMES):
        where = f"crowd {turn}, seed {seed}"
        stock = dice.choice((1000, 400, 399, 100))
        sku = new_sale(doors[0], stock, "CROWD", doors)
        traps = [proxy.cut_at(statement_name("COMMIT"), dice.choice(("before", "sent", "answered")),
            skip=dice.randrange(4)) for _ in range(3)]
        customers = Customers(doors, sku, f"c{turn}", LANES, 4, dice.random()).start().finish()
        sold = check_books(database, customers, stock, where)
        print(f"{where}: {sold} of {stock}; {sum(trap.has_sprung for trap in traps)} commits cut; {customers}")
        proxy.heal()
        for door in doors:
            wire.wait_for(lambda: is_ready(door), "ready", RECOVERY_SECONDS)
    database.verify()


# --- the network stands still ---

@pytest.mark.seconds(120 + 60 * TIMES)
def test_network_that_stands_still_for_a_while(database, postgres, start_nodes, start_proxy):
    """What a node has sent arrives seconds later, when it has long given up and its clients have asked elsewhere: it is
    done a second time."""
    seed = the_seed("stalls")
    dice, proxy = random.Random(seed), start_proxy(postgres.port)
    doors = start_nodes(database.through(proxy)) + start_nodes(database)
    for turn, seconds in enumerate((0.3, 1.2, 2.5, 4.2) * TIMES):
        where = f"stall {turn} of {seconds} s, seed {seed}"
        stock = dice.choice((800, 799, 400))
        sku = new_sale(doors[0], stock, "STALL", doors)
        customers = Customers(doors, sku, f"s{turn}", LANES, 8, dice.random()).start()
        customers.wait_told(dice.randrange(1, 200))
        proxy.stall(*dice.choice((("to_server",), ("to_client",), ())))
        time.sleep(seconds)  # pause: how long the network stands still is what this is about
        proxy.heal()
        since = time.monotonic()
        customers.finish()
        check_acknowledged(database, sku, customers.acknowledged(), where)
        wire.wait_for(lambda: is_ready(doors[0]), "ready again", RECOVERY_SECONDS)
        print(f"{where}: {check_books(database, customers, stock, where)} of {stock}; ready "
            f"{time.monotonic() - since:.2f} s after; {customers}")
    database.verify()


def test_connection_that_falls_silent_while_it_is_made(database, postgres, start_nodes, start_proxy):
    """The network is lost between two steps of a new connection, and the node waits for its answer for ever."""
    proxy = start_proxy(postgres.port, is_watching=True)
    node, = start_nodes(database.through(proxy))
    other, = start_nodes(database)
    for needle in (b"LISTEN doorbuster", b"FROM doorbuster_schema", b"set_config"):
        sku = new_sale(other, 2, "SILENT", [node])
        trap = proxy.cut_at(needle, "before", "hang")
        proxy.cut()
        waits = []

        def is_sold(user=new_user()):
            reply, seconds = buy(node, sku, user, user)
            waits.append(seconds)
            return number_in(reply)

        # The first to come may find it out; then the node tries by itself.
        wire.wait_for(is_sold, f"back after {needle}", ANSWER_SECONDS + RECOVERY_SECONDS)
        trap.wait(30)
        assert max(waits) < ANSWER_SECONDS, (needle, waits)
        assert number_in(buy(other, sku, new_user())[0])
        wait_state(node, sku, "ENDED", ANSWER_SECONDS)  # it hears of others again
        wire.wait_for(lambda: is_ready(node), "ready", RECOVERY_SECONDS)
        print(f"{needle}: slowest answer {max(waits):.2f} s")
        proxy.heal()


def test_node_without_its_database_reads_and_stops_in_time(database, postgres, start_nodes, start_proxy):
    """While the database does not answer, a look at a purchase hangs, or the node cannot be stopped."""
    proxy = start_proxy(postgres.port)
    node, = start_nodes(database.through(proxy))
    sku = new_sale(node, 10, "STOP")
    assert number_in(buy(node, sku, "reader")[0])
    proxy.blackhole()
    began = time.monotonic()
    reply = wire.ask(node.port, "GET", f"/api/v1/purchases?sku={sku}", {"X-User-Id": "reader"})
    print(f"a look: {reply.status} after {time.monotonic() - began:.2f} s")
    expect_away(reply)
    assert time.monotonic() - began < ANSWER_SECONDS
    began = time.monotonic()
    node.stop(ANSWER_SECONDS + 10)
    print(f"stopped in {time.monotonic() - began:.2f} s")
    assert time.monotonic() - began < 20


def test_sales_that_were_due_while_the_database_was_away(database, postgres, start_nodes):
    """A sale whose start, or end, nobody could write is forgotten."""
    nodes = start_nodes(database, 2)
    shop = Shop(nodes[0])
    begins, due = new_sku("BEGINS"), []

    def known_everywhere(ends):
        due[:] = [int(status(nodes[0], ends)["endTime"])]
        for node in nodes:
            state = wire.wait_for(lambda: (state := status(node, ends)["state"]) != "UPCOMING" and state, ends)
            assert state == "ACTIVE"

    ends = shop.short_sale(known_everywhere, end=3000)
    assert shop.create(shop.body(begins, 5, start=1000, end=MINUTE_MS)).status == 201
    due.append(int(shop.status(begins).data["startTime"]))
    shop.close()
    postgres.stop("immediate")
    wire.wait_for(lambda: now_ms() > max(due), "both are due")
    for node in nodes:
        assert number_in(buy(node, ends, new_user())[0]) is None
    postgres.start()
    since = time.monotonic()
    for node in nodes:
        wait_state(node, begins, "ACTIVE", RECOVERY_SECONDS)
        wait_state(node, ends, "ENDED", RECOVERY_SECONDS)
    print(f"all caught up {time.monotonic() - since:.2f} s after the server")
    assert time.monotonic() - since < 2 * RECOVERY_SECONDS
    database.verify()


# --- the primary is lost ---

def both(database, primary, standby):
    """The URL that names both hosts: whoever takes writes is it."""
    parts = urlsplit(database.argument)
    who = parts.netloc.rsplit("@", 1)[0]
    return database.by(f"postgres://{who}@{primary.address},{standby.address}{parts.path}"
        "?target_session_attrs=read-write")


def test_promoted_standby_has_all_that_was_acknowledged(start_postgres, start_standby, start_nodes, tmp_path):
    """The primary is lost under load: an acknowledged purchase is not on the synchronous standby, somebody buys twice,
    or the nodes do not find the new primary by themselves."""
    seed = the_seed("failover")
    primary = start_postgres()
    database = NodeDatabase(primary, tmp_path)
    standby = start_standby(primary)
    doors = start_nodes(both(database, primary, standby), 2)
    spare = new_sale(doors[0], 1000, "SPARE", doors)
    sku = new_sale(doors[0], 3000, "LOST", doors)
    customers = Customers(doors, sku, "lost", LANES, 30, seed, 50).start()
    customers.wait_told(1000)
    primary.kill9()
    told = customers.acknowledged()
    database.postgres = standby
    check_acknowledged(database, sku, told, "on the standby, before it is promoted")
    for door in doors:
        expect_away_in_time(door, spare)
    standby.promote()
    since = time.monotonic()
    backs = [wait_back(door, spare, since) for door in doors]
    customers.finish()
    sold = check_books(database, customers, 3000)
    print(f"{len(told)} told before, {sold} sold; back {max(backs):.2f} s after the promotion; {customers}")
    database.verify()


def test_without_its_standby_nothing_is_acknowledged(start_postgres, start_standby, start_nodes, tmp_path):
    """The synchronous standby is gone: purchases that only the primary has are confirmed, by any node, or requests
    hang."""
    primary = start_postgres()
    database = NodeDatabase(primary, tmp_path)
    standby = start_standby(primary)
    doors = start_nodes(both(database, primary, standby), 2)
    sku = new_sale(doors[0], 100, "ALONE", doors)
    assert number_in(buy(doors[1], sku, "before", "before")[0])
    standby.kill9()
    began, waits = time.monotonic(), []
    while time.monotonic() - began < 8:
        for door in doors:
            for user in ("alone", f"alone-{door.port}"):
                reply, seconds = buy(door, sku, user, user)
                expect_away(reply)
                waits.append(seconds)
        time.sleep(0.02)  # pause: a patient client
    assert max(waits) < ANSWER_SECONDS, waits
    assert not is_ready(doors[0]) or not is_ready(doors[1])
    standby.start()
    since = time.monotonic()
    backs = [wait_back(door, sku, since) for door in doors]
    numbers = {user: number_in(buy(doors[0], sku, user, user)[0])
        for user in ("before", "alone", *(f"alone-{door.port}" for door in doors))}
    for user, number in numbers.items():
        assert number is not None and rows_of(database, sku, user) == [number]
        assert number_in(buy(doors[1], sku, user, user)[0]) == number
    check_acknowledged(database, sku, numbers)
    print(f"{len(waits)} sent away within {max(waits):.2f} s; back {max(backs):.2f} s after the standby")
    database.verify()


def test_ids_that_a_crash_has_forgotten_are_given_to_one_node_only(start_nodes, tmp_path):
    """A node goes on with ids it had reserved before the database crashed, though the crash has forgotten that they
    were reserved: two nodes tell two buyers the same number."""
    with services.Postgres(wal_writer_delay="10s") as server:
        database = NodeDatabase(server, tmp_path)
        one, = start_nodes(database)
        # Reserves ids for purchases, in a transaction that nothing flushes, and then changes nothing.
        assert wire.ask(one.port, "DELETE", "/api/v1/products/NONE-1", {"X-Admin-Key": ADMIN_KEY}).status == 200
        server.kill9()
        server.start()
        two, = start_nodes(database)
        wire.wait_for(lambda: is_ready(one) and is_ready(two), "both nodes are ready")
        sku = new_sale(two, 100, "IDS", (one, two))
        told = [number_in(buy(door, sku, f"{door.port}-{number}")[0]) for number in range(5) for door in (one, two)]
        assert len(set(told)) == len(told) == 10 and None not in told, told
        assert sorted(told) == sorted(row[0] for row in database.purchases(sku))
