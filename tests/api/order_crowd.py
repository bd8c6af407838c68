# SPDX-License-Identifier: Apache-2.0
"""
Customers of the orders face and of the intake face for crash tests, who go on ordering whatever becomes of the servers,
and those whom servers call meanwhile. Each remembers what it was told or asked to do: the witnesses against the server.

    Counter     counts what happens, so that a test can kill at a moment of its choice
    OrderCrowd  places orders at several doors all the time, in a thread of its own; who was not told asks again
    Till        a payment provider that charges once a key, sometimes declines, and sometimes loses its answer
    Listener    a receiver of webhooks that remembers them
"""
import asyncio
import hashlib
import json
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import wire
from intake import ORDERS, bearer, new_order
from ordering import ASYNC, SYNC, Provider, item, order

BROKEN = (OSError, asyncio.IncompleteReadError)
ANSWER_SECONDS = 60.0  # a synchronous order waits for up to 10 s; the rest is for a busy machine


def forgive(server):
    """A server that was killed while it called has not done anything that would have to be printed."""
    complain = server.handle_error

    def handle_error(*connection):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            complain(*connection)

    server.handle_error = handle_error


class Counter:
    def __init__(self):
        self.count = 0
        self.changed = threading.Condition()

    def add(self):
        with self.changed:
            self.count += 1
            self.changed.notify_all()

    def wait_more(self, more, seconds):
        """Until so many more have come, or time is up."""
        with self.changed:
            wanted = self.count + more
            self.changed.wait_for(lambda: self.count >= wanted, seconds)


def digit(order_id):
    """0 to 9, always the same for an order."""
    return hashlib.sha256(order_id.encode()).digest()[0] % 10


class Till(Provider):
    """One order in ten is declined; of another one in ten the first answer is lost after the charge."""

    def __init__(self):
        super().__init__(self.charge)
        forgive(self.server)
        self.begun = Counter()
        self.lock = threading.Lock()
        self.outcomes = {}  # order: what its key came to

    def charge(self, body):
        order_id = body["order_id"]
        with self.lock:
            is_first = order_id not in self.outcomes
            self.outcomes.setdefault(order_id, 402 if digit(order_id) == 0 else 200)
        self.begun.add()
        time.sleep(0.02 + digit(order_id) / 100)  # pause: a payment takes its time
        return 500 if is_first and digit(order_id) == 1 else self.outcomes[order_id]

    def keys(self):
        """{order: the different (key, amount in cents) that it was charged by}"""
        found = {}
        for key, body in list(self.calls):
            found.setdefault(body["order_id"], set()).add((unquote(key), round(body["amount"] * 100)))
        return found


class Listener:
    """Takes every webhook, a moment after it came."""

    def __init__(self):
        self.came = Counter()
        self.events = []  # (webhook id, type, order)
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                value = json.loads(self.rfile.read(int(self.headers["content-length"])))
                listener.events.append((self.headers["webhook-id"], value["type"], value["data"]["order_id"]))
                listener.came.add()
                time.sleep(0.03)  # pause: a receiver has something to do
                try:
                    self.send_response(204)
                    self.end_headers()
                except OSError:
                    self.close_connection = True

            def log_message(self, *unused):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        forgive(self.server)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def told(self):
        """{order: {(webhook id, type), ...}}"""
        found = {}
        for webhook_id, kind, order_id in list(self.events):
            found.setdefault(order_id, set()).add((webhook_id, kind))
        return found


class Customer:
    """One order and what was said about it."""

    def __init__(self, order_id, is_sync, serial):
        self.order_id, self.is_sync = order_id, is_sync
        self.request = wire.build("POST", SYNC if is_sync else ASYNC, None,
            order(order_id=order_id, customer=serial, items=[item(quantity=1 + serial % 3, price=9.99)]))
        self.told = None         # pending, completed, failed, cancelled, or "under way" after 504
        self.is_refused = False  # told that it was not taken
        self.in_doubt = False    # at least one answer is missing

    def hear(self, reply):
        """Takes an answer; False when it must ask again."""
        if reply.status in (200, 202, 402):
            said = reply.json()
            assert said["order_id"] == self.order_id, reply
            self.told = said["status"] if reply.status != 202 else "pending"
        elif reply.status == 504:
            self.told = "under way"
        elif reply.status == 503 and "new order_id" in reply.text:
            self.told = "cancelled"
        elif reply.status == 503 and "not known" not in reply.text and not self.in_doubt:
            self.is_refused = True
        else:
            assert reply.status == 503, (self.order_id, reply)
            self.in_doubt = True
            return False
        return True


class OrderCrowd:
    """`doors` is a list of servers that the test may change at any time. `token`: of an account that places trading
    orders too, which are not repeated: what is not acknowledged may be there or not."""

    def __init__(self, doors, tag, seed, lanes=8, token=None):
        self.doors, self.tag, self.dice = doors, tag, random.Random(seed)
        self.lanes, self.token = lanes, token
        self.answers = Counter()
        self.lock = threading.Lock()
        self.all = []     # Customers, as they came
        self.trades = []  # ids of trading orders, as they were acknowledged
        self.is_closing = self.is_cut = False
        self.problem = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def close(self):
        """Nobody new comes."""
        self.is_closing = True

    def finish(self, seconds=90.0):
        """Closes it, and returns when everybody knows."""
        self.close()
        self.thread.join(seconds)
        self.is_cut = True
        self.thread.join(ANSWER_SECONDS + 20)
        assert not self.thread.is_alive(), "customers still wait"
        if self.problem is not None:
            raise self.problem
        return self

    def check_alive(self):
        if self.problem is not None:
            raise self.problem

    def acknowledged(self):
        """{order: what was told of it} up to now."""
        with self.lock:
            return {each.order_id: each.told for each in self.all if each.told is not None}

    def refused(self):
        with self.lock:
            return {each.order_id for each in self.all if each.is_refused}

    # --- the thread ---

    def run(self):
        try:
            asyncio.run(self.everybody())
        except BaseException as problem:
            self.problem = problem

    async def everybody(self):
        walks = [self.walk(lane, random.Random(self.dice.random())) for lane in range(self.lanes)]
        if self.token is not None:
            walks.append(self.trade(random.Random(self.dice.random())))
        await asyncio.gather(*walks)

    async def walk(self, lane, dice):
        """One connection at a time, one order after the other; every fourth lane waits for the payment."""
        streams, serial = None, 0
        while not self.is_closing:
            serial += 1
            customer = Customer(f"{self.tag}-{lane}-{serial}", lane % 4 == 0, serial)
            with self.lock:
                self.all.append(customer)
            while not self.is_cut:
                streams, reply = await self.ask(streams, customer.request, dice)
                if reply is None:
                    customer.in_doubt = True
                elif customer.hear(reply):
                    self.answers.add()
                    break
                await asyncio.sleep(dice.uniform(0.02, 0.06))  # pause: a patient client
            await asyncio.sleep(dice.uniform(0.05, 0.2))  # pause: a customer thinks
        close(streams)

    async def trade(self, dice):
        request = wire.build("POST", ORDERS, bearer(self.token), new_order())
        streams = None
        while not self.is_closing:
            streams, reply = await self.ask(streams, request, dice)
            assert reply is None or reply.status in (201, 503), reply
            if reply is not None and reply.status == 201:
                with self.lock:
                    self.trades.append(reply.json()["id"])
            await asyncio.sleep(dice.uniform(0.02, 0.06))  # pause: between two orders
        close(streams)

    async def ask(self, streams, request, dice):
        """(the connection to go on with, the reply); None instead of a reply that did not come."""
        try:
            if streams is None:
                streams = await asyncio.open_connection("127.0.0.1", dice.choice(list(self.doors)).port)
            reader, writer = streams
            writer.write(request)
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = wire.parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
                while reply.status == 102:
                    reply = wire.parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
                reply.body = await reader.readexactly(int(reply.header("content-length")))
            return streams, reply
        except TimeoutError:
            raise AssertionError(f"no answer in {ANSWER_SECONDS} s to {request[:300]!r}") from None
        except BROKEN:
            close(streams)
            return None, None


def close(streams):
    if streams is not None:
        streams[1].close()
