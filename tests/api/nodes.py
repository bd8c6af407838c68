# SPDX-License-Identifier: Apache-2.0
"""
Several nodes on one PostgreSQL, for tests in which things break.

    NodeDatabase    a database of doorbuster's, as a store that Server can be started on
    Customer        one purchase to make, one Idempotency-Key; remembers what it was told
    Customers       many of them at several doors (nodes, proxies) at once, in a thread of their own, so that a test
                    can break things meanwhile; whoever was not told asks again at another door
    check_books     the tables say what the customers were told

Its fixtures are imported by the modules that use them, which are marked as in need of postgres.
"""
import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import services  # noqa: E402 (the path comes first)
import wire  # noqa: E402
from server import Server, binary, clean_environment  # noqa: E402
from shop import LIMITED, NOT_ACTIVE, PURCHASED, PURCHASES, Shop, new_sku  # noqa: E402

# A node answers within --answer-deadline (5 s), but for a batch that the database keeps waiting: 4 s more. The rest is
# for a busy machine.
ANSWER_SECONDS = 12.0
RECOVERY_SECONDS = 8.0  # a second or two when the machine is idle
BROKEN = (OSError, asyncio.IncompleteReadError)
UNLIMITED = ("--purchase-interval", "0")


def verb(*words, **environment):
    """What a verb of the program says: (status, standard output, standard error)."""
    done = subprocess.run([str(binary()), *words], capture_output=True, text=True, timeout=60,
        env=clean_environment(environment))
    return done.returncode, done.stdout, done.stderr


class NodeDatabase:
    """A new database with the tables of doorbuster. `argument` is what a node is told; `postgres` who answers now."""
    kind = "postgres"

    def __init__(self, postgres, directory, is_migrated=True, **settings):
        self.postgres, self.directory = postgres, directory
        self.name = postgres.create_database("nodes")
        for name, value in settings.items():
            postgres.super_sql(f"ALTER DATABASE {self.name} SET {name} = '{value}'")
        self.argument = postgres.url(self.name)
        if is_migrated:
            status, _, said = verb("migrate", "--store", self.argument)
            assert status == 0, said

    def through(self, proxy, query=""):
        """The same database by another way; the argument of nodes that take it."""
        return Way(self, self.postgres.url(self.name, port=proxy.port, query=query))

    def by(self, url):
        return Way(self, url)

    def rows(self, statement, *values):
        return self.postgres.sql(statement, *values, database=self.name)

    def purchases(self, sku):
        """[(purchase number, user, time in ms)] in the order of their numbers."""
        return self.rows("SELECT purchase_no, user_id, (extract(epoch FROM purchased_at) * 1000)::bigint FROM purchases"
            " JOIN products ON products.id = product_id WHERE sku = %s ORDER BY purchases.id", sku)

    def stock(self, sku):
        """(initial stock, stock)"""
        return self.rows("SELECT initial_stock, stock FROM products WHERE sku = %s", sku)[0]

    def verify(self):
        status, out, err = verb("verify", "--store", self.postgres.url(self.name))
        assert status == 0, out + err


class Way:
    """A database as a node finds it: `argument` and `directory` are what Server asks for."""

    def __init__(self, database, argument):
        self.database, self.argument, self.directory = database, argument, database.directory


@pytest.fixture(scope="module")
def postgres():
    """A server of the tests of a module, who leave it as it was."""
    with services.Postgres() as server:
        yield server


@pytest.fixture
def start_standby():
    """start_standby(primary): a synchronous standby of it, gone at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda primary: stack.enter_context(services.Standby(primary))


@pytest.fixture
def start_haproxy():
    """start_haproxy(nodes): the balancer as it is deployed, once it has looked at all of them; gone at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda nodes: stack.enter_context(services.Haproxy([node.port for node in nodes]))


@pytest.fixture
def start_nodes():
    """start_nodes(place, count, *arguments, **how) starts nodes on a database, ready to serve. All are checked and
    gone at the end; what a node still does then does not matter, its store does."""
    started = []

    def start(place, count=1, *arguments, **how):
        nodes = [Server(place, (*UNLIMITED, *arguments), **how) for _ in range(count)]
        started.extend(nodes)
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait_ready()
        return nodes

    yield start
    for node in started:
        if node.is_running():
            node.signal(signal.SIGKILL)
        ended = node.wait_exit()
        node.check_silence()
        assert ended in (0, -signal.SIGKILL), f"a node has ended by itself with {ended}\n{node.err.text()[-4000:]}"


@pytest.fixture
def start_proxy():
    """start_proxy(port, ...): a TcpProxy, closed at the end."""
    proxies = []

    def start(port, **how):
        proxies.append(services.TcpProxy(port, **how))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.close()


def new_sale(node, stock, word="NODE", doors=(), **how):
    """A product whose sale is on, at all those doors; its SKU."""
    shop = Shop(node)
    try:
        sku = shop.sale(stock=stock, sku=new_sku(word), **how)
    finally:
        shop.close()
    for door in doors:
        wait_state(door, sku, "ACTIVE")
    return sku


def status(door, sku):
    return wire.ask(door.port, "GET", f"/api/v1/sales?sku={sku}").data


def wait_state(door, sku, state, seconds=30.0):
    return wire.wait_for(lambda: (data := status(door, sku))["state"] == state and data, f"{sku} {state}", seconds)


def buy(door, sku, user, key=None):
    """One purchase on a connection of its own; (reply, seconds)."""
    headers = {"X-User-Id": user, **({"Idempotency-Key": f'"{key}"'} if key else {})}
    began = time.monotonic()
    reply = wire.ask(door.port, "POST", PURCHASES, headers, {"sku": sku})
    return reply, time.monotonic() - began


def number_in(reply):
    """The purchase number of a confirmation, None of any other answer."""
    match = PURCHASED.fullmatch(reply.text)
    return match[1] if reply.status == 200 and match else None


def expect_away(reply, codes=("SERVICE_UNAVAILABLE", "OUTCOME_UNKNOWN")):
    """A 503, or what a balancer says for a node that is gone, that tells when to come again."""
    assert reply.status == 503 or (reply.status in (502, 504) and reply.code == "OUTCOME_UNKNOWN"), reply
    assert reply.code in codes, reply
    assert int(reply.header("retry-after")) >= 1, reply


def is_ready(door):
    return wire.ask(door.port, "GET", "/readyz").status == 200


class Customer:
    def __init__(self, user, sku):
        self.user = user
        self.request = wire.build("POST", PURCHASES,
            {"X-User-Id": user, "Idempotency-Key": f'"key-{user}-{sku}"'}, {"sku": sku})
        self.number = None       # acknowledged
        self.is_refused = False  # told that there is nothing for it

    @property
    def knows(self):
        return self.number is not None or self.is_refused

    def hear(self, reply):
        """Takes an answer; False when it must ask again."""
        self.number = number_in(reply)
        if self.number is not None:
            return True
        self.is_refused = reply.status == 200 and reply.text == NOT_ACTIVE
        if not self.is_refused and reply.status >= 500:
            expect_away(reply)
        elif not self.is_refused:
            assert reply.status == 409 or (reply.status == 429 and reply.text == LIMITED), (self.user, reply)
        return self.is_refused


class Customers:
    """`doors` is looked at for each connection, so that a test can change it. seconds: after so many all must know."""

    def __init__(self, doors, sku, tag, lanes, per_lane, seed, seconds=60.0):
        self.doors, self.sku, self.dice, self.seconds = doors, sku, random.Random(seed), seconds
        self.lanes = [[Customer(f"{tag}-{lane}-{index}", sku) for index in range(per_lane)] for lane in range(lanes)]
        self.all = [customer for lane in self.lanes for customer in lane]
        self.heard = threading.Condition()
        self.told = []       # (when, port, user, number), as it was acknowledged
        self.slowest = 0.0   # seconds until an answer
        self.codes = {}      # of answers that sent somebody away: how many
        self.broken = 0      # connections without an answer
        self.problem = None
        self.is_over = False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def finish(self):
        """Returns when everybody knows."""
        self.thread.join(self.seconds + 20)
        assert not self.thread.is_alive(), "customers still wait"
        if self.problem is not None:
            raise self.problem
        return self

    def wait_told(self, count):
        """Until so many have been told that they have bought, or all know."""
        with self.heard:
            done = self.heard.wait_for(lambda: len(self.told) >= count or self.is_over, self.seconds)
            assert done, f"only {len(self.told)} of {count} purchases: {self}"

    def wait_any_told(self, port, since, seconds):
        """When the first purchase after `since` was confirmed at that door."""
        def first():
            return next((when for when, door, *_ in self.told if when > since and door == port), None)

        with self.heard:
            assert self.heard.wait_for(lambda: first() is not None or self.is_over, seconds), \
                f"nobody bought at {port} within {seconds} s: {self}"
            return first()

    def acknowledged(self):
        """{user: number} up to now."""
        with self.heard:
            return {user: number for _, _, user, number in self.told}

    def refused(self):
        return {customer.user for customer in self.all if customer.is_refused}

    def __str__(self):
        return (f"{len(self.told)} bought of {len(self.all)}, slowest answer {self.slowest:.1f} s, sent away "
            f"{self.codes}, {self.broken} without an answer")

    # --- the thread ---

    def run(self):
        try:
            asyncio.run(self.everybody())
        except BaseException as problem:
            self.problem = problem
        with self.heard:
            self.is_over = True
            self.heard.notify_all()

    async def everybody(self):
        tasks = [asyncio.create_task(self.walk(lane, random.Random(self.dice.random()))) for lane in self.lanes]
        done, waiting = await asyncio.wait(tasks, timeout=self.seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in waiting:
            task.cancel()
        for task in done:
            task.result()
        assert not waiting, f"after {self.seconds} s some still do not know: {self}"

    async def walk(self, lane, dice):
        """One connection at a time, one customer after the other."""
        streams, door = None, None
        for customer in lane:
            while not customer.knows:
                if streams is None:
                    streams, door = await self.enter(dice, door)
                if streams is None or not await self.ask(customer, streams, door):
                    close(streams)
                    streams = None
                    await asyncio.sleep(dice.uniform(0.02, 0.06))  # pause: a patient client
        close(streams)

    async def enter(self, dice, avoid):
        """A connection to some door, rather not the one that sent us away."""
        doors = list(self.doors)
        door = dice.choice([door for door in doors if door is not avoid] or doors)
        try:
            return await asyncio.open_connection("127.0.0.1", door.port), door
        except OSError:
            return None, door

    async def ask(self, customer, streams, door):
        """False: it has to ask again, elsewhere."""
        reader, writer = streams
        port, began = door.port, time.monotonic()
        try:
            writer.write(customer.request)
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = wire.parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
                reply.body = await reader.readexactly(int(reply.header("content-length")))
        except TimeoutError:
            raise AssertionError(f"{customer.user} had no answer from {port} in {ANSWER_SECONDS} s: {self}") from None
        except BROKEN:
            self.broken += 1
            return False
        self.slowest = max(self.slowest, time.monotonic() - began)
        if not customer.hear(reply):
            self.codes[reply.code] = self.codes.get(reply.code, 0) + 1
            return False
        if customer.number is not None:
            with self.heard:
                self.told.append((time.monotonic(), port, customer.user, customer.number))
                self.heard.notify_all()
        return True


def close(streams):
    if streams is not None:
        streams[1].close()


def check_acknowledged(database, sku, acknowledged, where=""):
    """Everything that was confirmed is there, under the number that was told."""
    numbers = {user: number for number, user, _ in database.purchases(sku)}
    for user, number in acknowledged.items():
        assert numbers.get(user) == number, f"{where}: {user} was told {number}, the table has {numbers.get(user)}"


def check_books(database, customers, stock, where=""):
    """The tables say what the customers, who all know by now, were told, and nothing else; how many were sold."""
    rows = database.purchases(customers.sku)
    acknowledged = customers.acknowledged()
    assert len({user for _, user, _ in rows}) == len(rows), f"{where}: somebody bought twice"
    assert len({number for number, _, _ in rows}) == len(rows), f"{where}: a number twice"
    assert len(rows) <= stock, f"{where}: {len(rows)} sold of {stock}"
    assert {user: number for number, user, _ in rows} == acknowledged, where
    assert not customers.refused() & set(acknowledged), where
    assert database.stock(customers.sku) == (stock, stock - len(rows)), where
    assert len(rows) == min(stock, len(customers.all)), f"{where}: {len(rows)} of {stock}, {customers}"
    return len(rows)


def the_seed(name):
    """Printed, so that a failure can be repeated with DOORBUSTER_SEED."""
    number = int(os.environ.get("DOORBUSTER_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"{name}: DOORBUSTER_SEED={number}")
    return number
