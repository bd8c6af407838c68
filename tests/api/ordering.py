# SPDX-License-Identifier: Apache-2.0
"""
A client of the orders face that speaks in orders, a listener of their events, and a payment provider that does what a
test tells it. Ids of orders are new in each call, so that tests can share one server.
"""
import contextlib
import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import wire
from server import ADMIN_KEY
from shop import now_ms

SERIAL = itertools.count(1)
SYNC = "/orders/sync"
ASYNC = "/orders/async"
FINAL = ("completed", "failed", "cancelled")
FIGURE = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
PROBLEM_TYPE = "application/problem+json"


def new_order_id(word="order"):
    return f"{word}-{next(SERIAL)}-{now_ms() % 100_000_000}"


def item(product="P-1", quantity=1, price=10.5, **more):
    return {"product_id": product, "quantity": quantity, "price": price, **more}


def order(customer=7, items=None, **more):
    return {"customer_id": customer, "items": [item()] if items is None else items, **more}


def check_problem(reply, status):
    """The reply is a problem (RFC 9457) with this status; returns what it says."""
    assert reply.status == status and reply.header("content-type") == PROBLEM_TYPE, reply
    problem = reply.json()
    assert set(problem) == {"type", "title", "status", "detail"} and problem["status"] == status, reply
    assert problem["type"] == "about:blank" and problem["title"], reply
    assert re.fullmatch(r"\S.*\.", problem["detail"]), reply
    return problem["detail"]


def check_later(reply):
    """The reply is a 503 that says when to come again; returns the seconds."""
    check_problem(reply, 503)
    seconds = reply.header("retry-after")
    assert re.fullmatch(r"[1-9][0-9]*", seconds), reply
    return int(seconds)


class Orders:
    """One keep-alive connection to a server; place() opens one of its own for who waits."""

    def __init__(self, server):
        self.server = server
        self.connection = None
        self.lock = threading.Lock()

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def ask(self, method, target, headers=None, body=None):
        with self.lock:
            if self.connection is None:
                self.connection = wire.Connection(self.server.port)
            try:
                reply = self.connection.ask(method, target, headers, body)
            except BaseException:
                self.close()
                raise
            if (reply.header("connection") or "").lower() == "close":
                self.close()
            return reply

    def admin(self, method, target):
        return self.ask(method, target, {"X-Admin-Key": ADMIN_KEY})

    def sync(self, body, headers=None):
        return self.ask("POST", SYNC, headers, body)

    def queue(self, body, headers=None):
        return self.ask("POST", ASYNC, headers, body)

    def queue_well(self, **how):
        """A new asynchronous order; returns its id."""
        reply = self.queue(order(**how))
        assert reply.status == 202, reply
        return reply.json()["order_id"]

    def place(self, body, headers=None):
        """A synchronous order on a connection of its own, which is returned before the answer."""
        connection = wire.Connection(self.server.port, limit=40.0)
        connection.send(wire.build("POST", SYNC, headers, body))
        return connection

    def get(self, order_id):
        return self.ask("GET", f"/orders/{order_id}")

    def status(self, order_id):
        reply = self.get(order_id)
        assert reply.status == 200, reply
        return reply.json()["status"]

    def wait_status(self, order_id, *wanted, seconds=20.0):
        return wire.wait_for(lambda: (status := self.status(order_id)) in wanted and status,
            f"order {order_id} is one of {wanted}", seconds)

    def stats(self):
        reply = self.ask("GET", "/stats")
        assert reply.status == 200, reply
        return reply.json()

    def rows(self, columns, order_id):
        return self.server.store.rows(f"SELECT {columns} FROM orders WHERE order_id = ?", order_id)

    def amount(self, order_id):
        return self.rows("amount_minor", order_id)[0][0]

    def payments(self, order_id):
        """The outcomes of its payment that the store has: at most one."""
        return [outcome for (outcome,) in self.server.store.rows("SELECT outcome FROM payments JOIN orders"
            " ON orders.id = payments.id WHERE order_id = ?", order_id)]

    def stored(self):
        """How many orders the store has."""
        return self.server.store.rows("SELECT count(*) FROM orders")[0][0]


class OrderEvents:
    """A listener of one order. Reads the stream chunk by chunk."""

    target = "/orders/{}/events"

    def __init__(self, server, order_id, headers=None):
        self.connection = wire.Connection(server.port)
        self.connection.send(wire.build("GET", self.target.format(order_id), headers))
        self.head = self.connection.read_head()
        self.text = ""
        self.is_over = False
        self.heartbeat_count = 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.connection.close()

    def more(self):
        data = self.connection.read_chunk()
        self.text += data.decode("utf-8")
        self.is_over = data == b""

    def event(self):
        """The next message as (id, data); None at the end of the stream."""
        while True:
            while "\n\n" not in self.text and not self.is_over:
                self.more()
            if "\n\n" not in self.text:
                assert self.text == "", self.text
                return None
            block, self.text = self.text.split("\n\n", 1)
            if block == ":":
                self.heartbeat_count += 1
                continue
            match = re.fullmatch(r"id: (\S+)\ndata: (\{.*\})", block)
            assert match, block
            return match[1], json.loads(match[2])

    def statuses(self):
        """All that comes, to the end of the stream."""
        return [data["status"] for _, data in iter(self.event, None)]


class Provider:
    """A payment provider on a port of the kernel's choice. `answer(order)` says what status a call gets, and may wait
    before; `calls` is what came, as (key, body)."""

    def __init__(self, answer=lambda order: 200):
        self.calls = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider.calls.append((self.headers["Idempotency-Key"], body))
                status = provider.answer(body)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"{}")

            def log_message(self, *unused):
                pass

        self.answer = answer
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/pay"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def called(self, order_id):
        """The bodies of the calls for this order, whose key is its id, percent-encoded."""
        return [body for key, body in list(self.calls) if unquote(key) == order_id == body["order_id"]]


def held(start_provider):
    """A provider that answers nothing until it is told to: (provider, event)."""
    answer = threading.Event()
    return start_provider(lambda order: 200 if answer.wait(40) else 500), answer


def with_provider(provider, *arguments):
    """How to start a server that is paid by it, and believes that a payment takes 100 ms."""
    return ("--payment", provider.url, "--payment-time", "100ms", "--payment-timeout", "45s",
        "--allow-private-targets", *arguments)
