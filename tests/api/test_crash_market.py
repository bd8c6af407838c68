# SPDX-License-Identifier: Apache-2.0
"""
kill -9 again and again while owners of wallets spend and transfer, the admin issues coins, and newcomers register. Who
was not answered sends the same intent until he is. After each kill and each restart balances, receipts, orders and
stock follow from what was told; at the end they are exactly that, and what is sent again gives the first receipt.

    DOORBUSTER_CRASH_ROUNDS  how many kills on the embedded store (20), and two fifths of that with two nodes on
                             PostgreSQL; script/crash-test --wallets N sets it
    DOORBUSTER_SEED          repeats a run's choices (the printed number); the races stay the machine's
"""
import os
import random
import time
from collections import Counter

import pytest

import wire
from market import CATALOGUE, KEYS
from market_books import MarketBooks
from market_crowd import AGE_MAX_S, MarketCrowd
from nodes import the_seed
from server import Server
from stores import PostgresStore
from test_crash import run_verify

ROUNDS = int(os.environ.get("DOORBUSTER_CRASH_ROUNDS", "20"))
SHARED_ROUNDS = max(2, ROUNDS * 2 // 5)
SERIOUS_ROUNDS = 8  # with so many kills somebody's answer must have been lost
MOMENT_SECONDS = 3.0
QUIET_SECONDS = 120.0


class Bazaar:
    """Servers on one store that are killed, and everybody who deals with them."""

    def __init__(self, place, seed, count):
        self.place, self.seed, self.dice = place, seed, random.Random(seed)
        self.turn, self.kept = 0, set()
        self.all = []
        self.doors = [self.open_door() for _ in range(count)]
        self.receipt_key = self.key_of(self.doors[0])
        self.crowd = MarketCrowd(self.doors, seed).start()
        self.crowd.spent.wait_more(5, 60)
        self.crowd.check_alive()

    def open_door(self):
        self.all.append(Server(self.place, ("--net-threads", "2")))
        return self.all[-1].start()

    def key_of(self, door):
        return wire.ask(door.port, "GET", KEYS).json()["data"]["public_key"]

    def books(self, place, when):
        books = MarketBooks(place, self.crowd, self.receipt_key, f"kill {self.turn}, {when}, seed {self.seed}")
        books.check()
        return books

    def kill(self):
        """One of the servers, in the middle of something; another one takes its place."""
        self.turn += 1
        counter, most = self.dice.choice(((self.crowd.done, 60), (self.crowd.spent, 20), (self.crowd.moved, 20)))
        counter.wait_more(self.dice.randrange(1, most), MOMENT_SECONDS)
        time.sleep(self.dice.choice((0.0, self.dice.uniform(0, 0.03))))  # pause: the moment of the kill
        index = self.dice.randrange(len(self.doors))
        self.doors.pop(index).kill9()
        is_shared = self.place.kind == "postgres"
        before = self.books(self.place if is_shared else self.place.frozen(self.place.directory / f"after-{self.turn}"),
            "before the restart")
        self.kept |= before.kept()
        self.doors.insert(index, self.open_door())
        assert self.key_of(self.doors[index]) == self.receipt_key
        self.books(self.place, "after the restart").check_follows(before)
        told = self.crowd.done.count
        self.crowd.done.wait_more(1, QUIET_SECONDS)
        self.crowd.check_alive()
        assert self.crowd.done.count > told, f"kill {self.turn}, seed {self.seed}: nothing is done any more"

    def settle(self):
        """Everybody knows what has become of everything; that, and nothing else, is in the books."""
        self.crowd.finish(QUIET_SECONDS)
        books = self.books(self.place, "at the end")
        assert all(deed.is_known for deed in self.crowd.journal)
        done = {(deed.kind, None if deed.kind == "credit" else deed.key, deed.nonce) for deed in books.done
            if deed.kind != "register"}
        assert set(books.named) == done, f"seed {self.seed}"
        assert set(books.accounts) == {deed.key for deed in self.crowd.journal if deed.kind == "register"}
        self.check_wire(books)
        doubtful = Counter(deed.kind for deed in self.crowd.journal if deed.is_in_doubt)
        assert self.turn < SERIOUS_ROUNDS or doubtful, "no kill has hit anything"
        print(f"{self.turn} kills: done {dict(Counter(deed.kind for deed in books.done))}; refused"
            f" {dict(self.crowd.refused)}; without an answer at first {dict(doubtful)}, of which {len(self.kept)} had"
            " been done")

    def check_wire(self, books):
        """The same through each server's own eyes, and the first receipts again."""
        stocks = {str(row.id): row.stock for row in books.products.values()}
        for door in self.doors:
            for owner in self.crowd.owners[:30]:
                assert self.crowd.balance_of(door, owner) == books.wallets[books.accounts[owner.key]].balance_minor
            wire.wait_for(lambda: {row["id"]: row["stock"]
                for row in wire.ask(door.port, "GET", f"{CATALOGUE}?limit=1000").json()["data"]} == stocks,
                "it knows the stock")
        self.check_again(self.doors)
        assert self.place.rows("SELECT count(*) FROM transfers") == [(len(books.transfers),)]

    def check_again(self, doors):
        young = [deed for deed in self.crowd.journal if deed.kind in ("spend", "transfer") and deed.body is not None
            and time.monotonic() - deed.began < AGE_MAX_S]
        assert young, "nothing was done of late"
        for index, deed in enumerate(young[-200:]):
            with wire.Connection(doors[index % len(doors)].port) as connection:
                connection.send(deed.request)
                reply = connection.read_reply()
            assert (reply.status, reply.body) == (200, deed.body), (str(deed), reply)

    def close(self):
        """After one more restart, by the book, everything is answered as before."""
        for door in self.doors:
            door.stop()
        door = self.open_door()
        self.check_again([door])
        door.stop()
        run_verify(self.place)
        self.place.check_left()

    def discard(self):
        for door in self.all:
            door.discard()


@pytest.fixture
def open_bazaar():
    """open_bazaar(place, seed, count); its servers are gone at the end."""
    bazaars = []

    def make(*arguments):
        bazaars.append(Bazaar(*arguments))
        return bazaars[-1]

    yield make
    for bazaar in bazaars:
        bazaar.discard()


@pytest.fixture
def shared_store(shared_postgres, tmp_path):
    place = PostgresStore(tmp_path, shared_postgres)
    yield place
    place.discard()


@pytest.mark.embedded
@pytest.mark.seconds(300 + 15 * ROUNDS)
def test_killed_servers_lose_and_double_no_coins(store, open_bazaar):
    """After kill -9 coins are gone or there twice, an order is there without its payment, or the same intent gives
    another receipt. Repeat with DOORBUSTER_SEED=<the printed number>."""
    bazaar = open_bazaar(store(), the_seed(f"{ROUNDS} kills"), 1)
    for _ in range(ROUNDS):
        bazaar.kill()
    bazaar.settle()
    bazaar.close()


@pytest.mark.needs("postgres")
@pytest.mark.seconds(300 + 15 * SHARED_ROUNDS)
def test_killed_nodes_lose_and_double_no_coins(shared_store, open_bazaar):
    """The same with two nodes, one of which is killed each time: the other one does again, or contradicts, what the
    killed one had done."""
    bazaar = open_bazaar(shared_store, the_seed(f"{SHARED_ROUNDS} kills of one of two nodes"), 2)
    for _ in range(SHARED_ROUNDS):
        bazaar.kill()
    bazaar.settle()
    bazaar.close()
