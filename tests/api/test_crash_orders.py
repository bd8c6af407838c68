# SPDX-License-Identifier: Apache-2.0
"""
kill -9 again and again while orders are placed, paid and told of, on one store. At the end every order that was
acknowledged is there and final, what was promised has come true, no order was charged under two keys, none that was
cancelled was charged at all, and each final one was told to the shop. A crashed server's payments and messages are
taken up again when their leases have run out, which is waited for once, at the end.

    DOORBUSTER_CRASH_ROUNDS  how many kills on the embedded store (20), half of them with a provider of payments and a
                             receiver of webhooks, half with simulated payments; script/crash-test --orders N sets it
    DOORBUSTER_SEED          repeats a run's choices (the printed number); the races stay the machine's
"""
import os
import random
import time

import pytest

import wire
from intake import Sink, Trader, first_of_each
from nodes import the_seed
from order_crowd import Listener, OrderCrowd, Till, forgive
from ordering import FINAL
from server import Server
from stores import PostgresStore
from test_crash import run_verify

ROUNDS = int(os.environ.get("DOORBUSTER_CRASH_ROUNDS", "20"))
SERIOUS_ROUNDS = 8  # with so many kills each kind of moment must have been hit
SHARED_ROUNDS = max(3, ROUNDS // 5)
MOMENT_SECONDS = 5.0
# Leases of payments last 6 s here, longer than customers wait, so that what is taken up again is late; those of
# messages 30 s. The rest is for a busy machine.
FINAL_SECONDS = 180.0
# What was told of an order: what it may be in the end.
KEPT = {"completed": {"completed"}, "failed": {"failed"}, "cancelled": {"cancelled"},
    "pending": {"completed", "failed"}, "under way": {"completed", "failed", "cancelled"}}


def slots(count):
    """So few that orders wait for them."""
    return "--payment-slots-min", str(count), "--payment-slots-max", str(count)


class Shop:
    """Servers on one store that are killed, and everybody who deals with them."""

    def __init__(self, place, seed, *arguments):
        self.place, self.arguments, self.dice, self.seed = place, arguments, random.Random(seed), seed
        self.doors, self.moments = [], []
        self.hits = {"pending": 0, "processing": 0, "messages": 0}
        self.crowd, self.turn = None, 0

    def open(self, tag, count=1, has_traders=False):
        self.doors += [Server(self.place, self.arguments) for _ in range(count)]
        for door in self.doors:
            door.start()
        token = None
        if has_traders:
            trader = Trader(self.doors[0])
            token = trader.access
            trader.close()
        self.crowd = OrderCrowd(self.doors, f"{tag}-{self.seed}", self.seed, token=token).start()
        self.moments.append((self.crowd.answers, 20))
        return self

    def add_door(self):
        self.doors.append(Server(self.place, self.arguments).start())

    def statuses(self, place=None):
        return dict((place or self.place).rows("SELECT order_id, status FROM orders"))

    def kill(self, frozen=None):
        """One of the servers, in the middle of something; another one takes its place."""
        self.turn += 1
        counter, most = self.moments[self.turn % len(self.moments)]
        counter.wait_more(self.dice.randrange(1, most), MOMENT_SECONDS)
        time.sleep(self.dice.choice((0.0, self.dice.uniform(0, 0.03))))  # pause: the moment of the kill
        index = self.dice.randrange(len(self.doors))
        self.doors[index].kill9()
        told = self.crowd.acknowledged()
        self.look(frozen(self.place, self.turn) if frozen else self.place, told)
        self.doors[index] = Server(self.place, self.arguments).start()
        self.crowd.check_alive()

    def look(self, place, told):
        """What was acknowledged before the kill is on disk before the restart; counts what the kill has hit."""
        rows = self.statuses(place)
        missing = [order_id for order_id in told if order_id not in rows]
        assert not missing, f"kill {self.turn}, seed {self.seed}: acknowledged and not in the store: {missing}"
        for status in ("pending", "processing"):
            self.hits[status] += sum(each == status for each in rows.values())
        self.hits["messages"] += place.rows("SELECT count(*) FROM notifications WHERE delivered_at IS NULL")[0][0]

    def discard(self):
        for door in self.doors:
            door.discard()

    # --- the end ---

    def settle(self):
        """Nobody orders any more, and all orders become final."""
        self.crowd.finish()
        wire.wait_for(lambda: self.place.rows("SELECT count(*) FROM orders WHERE status IN ('pending', 'processing')")
            == [(0,)], f"all orders are final (seed {self.seed})", FINAL_SECONDS, 0.05)

    def check_orders(self):
        """Everything came true that was said."""
        rows = self.statuses()
        assert set(rows.values()) <= set(FINAL), rows
        for order_id, told in self.crowd.acknowledged().items():
            assert rows.get(order_id) in KEPT[told], f"{order_id} was told {told}, is {rows.get(order_id)}"
        for order_id in self.crowd.refused():
            assert order_id not in rows, f"{order_id} was told that it was not taken, is {rows[order_id]}"
        ours = {each.order_id for each in self.crowd.all}
        assert set(rows) <= ours, f"nobody has placed {set(rows) - ours}"
        return rows

    def check_till(self, till, rows):
        """One key an order, which bears the amount of the order; charged exactly if completed."""
        keys = till.keys()
        amounts = dict(self.place.rows("SELECT order_id, amount_minor FROM orders"))
        for order_id, status in rows.items():
            if status == "cancelled":
                assert order_id not in keys, f"{order_id} was cancelled, and charged by {keys[order_id]}"
                continue
            assert keys.get(order_id) == {(order_id, amounts[order_id])}, (order_id, status, keys.get(order_id))
            assert till.outcomes[order_id] == (200 if status == "completed" else 402), (order_id, status)
        assert set(keys) <= set(rows), "somebody was charged whose order is not there"

    def check_told(self, listener, rows):
        """Each final order was told to the shop, under one id, as what it is."""
        due = {order_id: status for order_id, status in rows.items() if status != "cancelled"}
        wire.wait_for(lambda: set(due) <= set(listener.told()), f"all {len(due)} are told (seed {self.seed})",
            FINAL_SECONDS, 0.05)
        for order_id, events in listener.told().items():
            assert len(events) == 1 and {kind for _, kind in events} == {f"order.{due[order_id]}"}, (order_id, events)

    def check_trades(self, sink):
        """Each trading order that was acknowledged was handed over, in order."""
        trades = list(self.crowd.trades)
        assert trades and len(set(trades)) == len(trades)
        wire.wait_for(lambda: set(trades) <= set(sink.taken()), f"all are handed over (seed {self.seed})",
            FINAL_SECONDS, 0.05)
        first = {order_id: place for place, order_id in enumerate(first_of_each(sink.taken()))}
        assert [first[each] for each in trades] == sorted(first[each] for each in trades)
        sink.check()

    def check_hits(self, *kinds):
        """The kills were in the middle of what they should be in the middle of."""
        if self.turn >= SERIOUS_ROUNDS:
            assert all(self.hits[kind] > 0 for kind in kinds), self.hits

    def close(self):
        for door in self.doors:
            door.stop()
        run_verify(self.place)
        self.place.check_left()


def frozen(place, turn):
    return place.frozen(place.directory / f"after-{turn}")


class Partners:
    """Whom servers call: a till, a listener and a sink, on ports of their own."""

    def __init__(self):
        self.till, self.listener, self.sink = Till(), Listener(), Sink()
        forgive(self.sink.server)
        self.arguments = ("--payment", self.till.url, "--payment-time", "100ms", "--payment-timeout", "2s",
            "--payment-attempts", "1000", "--sync-deadline", "4s", "--webhook", self.listener.url,
            *self.sink.arguments, *slots(2))

    def moments(self):
        return [(self.till.begun, 12), (self.listener.came, 12)]

    def close(self):
        for each in (self.till, self.listener, self.sink):
            each.close()


@pytest.fixture
def partners():
    partners = Partners()
    yield partners
    partners.close()


@pytest.fixture
def shared_store(shared_postgres, tmp_path):
    place = PostgresStore(tmp_path, shared_postgres)
    yield place
    place.discard()


@pytest.fixture
def open_shop():
    """open_shop(place, seed, *arguments); its servers are gone at the end."""
    shops = []

    def make(*arguments):
        shops.append(Shop(*arguments))
        return shops[-1]

    yield make
    for shop in shops:
        shop.discard()


def check_all(shop, partners):
    rows = shop.check_orders()
    shop.check_till(partners.till, rows)
    shop.check_told(partners.listener, rows)
    shop.check_trades(partners.sink)
    print(f"{shop.turn} kills: {len(rows)} orders, {len(shop.crowd.acknowledged())} acknowledged,"
        f" {len(partners.till.calls)} calls of the provider, {len(partners.listener.events)} webhooks,"
        f" {len(shop.crowd.trades)} trading orders; hit {shop.hits}")


@pytest.mark.embedded
@pytest.mark.seconds(420 + 15 * ROUNDS)
def test_killed_servers_lose_no_order_and_charge_none_twice(store, open_shop, partners):
    """After kill -9 an acknowledged order is gone or never ends, somebody is charged under two keys or for an order
    that was cancelled, or the shop never hears of one. Repeat with DOORBUSTER_SEED=<the printed number>."""
    seed = the_seed(f"{ROUNDS} kills")
    shop = open_shop(store(), seed, *partners.arguments).open("paid", has_traders=True)
    shop.moments += partners.moments()
    for _ in range(ROUNDS - ROUNDS // 2):
        shop.kill(frozen)
    shop.crowd.close()
    other = open_shop(store(), seed, "--payment-time", "200ms", *slots(4)).open("simulated")
    for _ in range(ROUNDS // 2):  # meanwhile leases of the others run out
        other.kill(frozen)
    other.crowd.close()
    for each in (shop, other):
        each.settle()
    check_all(shop, partners)
    rows = other.check_orders()
    print(f"{other.turn} kills: {len(rows)} orders with simulated payments; hit {other.hits}")
    shop.check_hits("pending", "processing", "messages")
    other.check_hits("pending", "processing")
    shop.close()
    other.close()


@pytest.mark.needs("postgres")
@pytest.mark.seconds(420 + 10 * SHARED_ROUNDS)
def test_killed_nodes_lose_no_order_and_charge_none_twice(shared_store, open_shop, partners):
    """The same on PostgreSQL, with one node and then with two: another node charges again what a killed one has
    charged, or a node alone forgets what it had begun."""
    seed = the_seed(f"{SHARED_ROUNDS} kills of one node, and as many of two")
    shop = open_shop(shared_store, seed, *partners.arguments).open("shared", has_traders=True)
    shop.moments += partners.moments()
    for turn in range(2 * SHARED_ROUNDS):
        if turn == SHARED_ROUNDS:
            shop.add_door()
        shop.kill()
    shop.settle()
    check_all(shop, partners)
    shop.check_hits("pending", "processing", "messages")
    shop.close()
