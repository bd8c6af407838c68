# SPDX-License-Identifier: Apache-2.0
"""
What tests of notifications and payments share: a shop's receiver of webhooks that checks them by its own reading of
Standard Webhooks, a provider that honours idempotency keys as real ones do, and servers whose store is audited when
the test is over. The fixture is imported by the modules that use it.
"""
import base64
import hashlib
import hmac
import re
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import wire  # noqa: E402 (the path comes first)
from nodes import verb  # noqa: E402
from ordering import Orders  # noqa: E402
from services.receiver import Receiver  # noqa: E402
from shop import ISO, ms_of  # noqa: E402

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PRIVATE = "--allow-private-targets"
QUICK = ("--payment-time", "20ms")
FIRST_RETRY_SECONDS = 5
CLOCK_SECONDS = 300  # how far off a receiver lets a timestamp be, by the specification


def audit(store):
    """`doorbuster verify` finds nothing wrong, beside a running server or after it."""
    status, out, err = verb("verify", "--store", store.argument)
    assert status == 0, out + err


@pytest.fixture
def start_paying(start_server):
    """start_paying(*arguments, on=): a server whose payments are quick, unless told otherwise. The stores of all are
    audited after the test."""
    places = []

    def start(*arguments, on=None, **how):
        server = start_server(*QUICK, *arguments, on=on, **how)
        if server.store not in places:
            places.append(server.store)
        return server

    yield start
    for place in places:
        audit(place)


@pytest.fixture
def start_receiver():
    """start_receiver(receiver) starts a Receiver; it is gone at the end."""
    started = []

    def start(receiver):
        started.append(receiver)
        return receiver.start()

    yield start
    for receiver in started:
        receiver.stop()


# --- webhooks ---

def signature(post, secret=SECRET):
    """What the sender must have written, by the specification."""
    key = base64.b64decode(secret[len("whsec_"):], validate=True)
    signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def check_webhook(post, secret=SECRET):
    """A receiver that knows the secret would trust this; returns the event."""
    assert post.headers["content-type"] == "application/json"
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", post.headers["webhook-id"]), post.headers
    assert re.fullmatch(r"[1-9][0-9]{9}", post.headers["webhook-timestamp"]), post.headers
    assert abs(int(post.headers["webhook-timestamp"]) - time.time()) < CLOCK_SECONDS
    assert hmac.compare_digest(post.headers["webhook-signature"], signature(post, secret)), post.headers
    event = post.json()
    assert list(event) == ["type", "timestamp", "data"] and re.fullmatch(ISO, event["timestamp"]), event
    assert abs(ms_of(event["timestamp"]) / 1000 - time.time()) < CLOCK_SECONDS
    reason = ["reason"] * (event["type"] == "order.failed")
    assert list(event["data"]) == ["order_id", "customer_id", "status", "amount", "attempts"] + reason, event
    assert event["data"].get("reason") in (None, "declined", "abandoned"), event
    assert event["type"] == "order." + event["data"]["status"], event
    return event


def order_of(post):
    return post.json()["data"]["order_id"]


class Hook(Receiver):
    """A shop's receiver. `answers` is what posts about an order get, one after the other, the last one for ever; who
    is not named gets 200."""

    def __init__(self):
        super().__init__(self.answer_in_turn)
        self.answers = {}
        self.given = {}
        self.lock = threading.Lock()

    def flags(self, secret=SECRET):
        return ("--webhook", self.url, "--webhook-secret", secret, PRIVATE)

    def answer_in_turn(self, post):
        order_id = order_of(post)
        with self.lock:
            turn = self.given.get(order_id, 0)
            self.given[order_id] = turn + 1
            answers = self.answers.get(order_id, [200])
        answer = answers[min(turn, len(answers) - 1)]
        return answer() if callable(answer) else answer

    def about(self, order_id):
        return self.received(lambda post: order_of(post) == order_id)

    def wait_about(self, order_id, count=1, seconds=60.0):
        """The posts about this order, once there are so many; all are signed well and are one message."""
        posts = self.wait_posts(count, f"webhooks about {order_id}", lambda post: order_of(post) == order_id, seconds)
        events = [check_webhook(post) for post in posts]
        assert len({post.headers["webhook-id"] for post in posts}) == 1, [str(post.headers) for post in posts]
        assert all(event == events[0] for event in events), events
        return posts


def delivered(store, order_id, channel="webhook"):
    """How many notifications of the order the store calls delivered, and how many it has."""
    return store.rows("SELECT count(delivered_at), count(*) FROM notifications JOIN orders ON orders.id ="
        " notifications.order_id WHERE orders.order_id = ? AND channel = ?", order_id, channel)[0]


def wait_delivered(store, order_id, channel="webhook", seconds=60.0):
    wire.wait_for(lambda: tuple(delivered(store, order_id, channel)) == (1, 1), f"{order_id} is delivered", seconds,
        pause=0.05)


def wait_settled(store, seconds=90.0):
    """Every order has its end, and everybody who is to hear of it has."""
    wire.wait_for(lambda: store.rows("SELECT count(*) FROM work WHERE kind IN ('payment', 'webhook', 'email')") in
        ([(0,)], [[0]]), "all work is done", seconds, pause=0.1)


def dead_letters(server, query=""):
    client = Orders(server)
    try:
        reply = client.admin("GET", f"/admin/dead-letters{query}")
    finally:
        client.close()
    assert reply.status == 200 and reply.header("cache-control") == "no-store", reply
    return reply.json()


def wait_dead(server, count, seconds=60.0):
    return wire.wait_for(lambda: len(letters := dead_letters(server)["dead_letters"]) >= count and letters,
        f"{count} dead letters", seconds, pause=0.05)


def figure(server, name):
    """The value of one series of /metrics; 0 as long as it is not there."""
    text = wire.ask(server.port, "GET", "/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found[1]) if found else 0.0


# --- the provider ---

class Bank(Receiver):
    """A payment provider. `decide(post)` says what a call comes to: 200 charges and 402 declines, and both are the
    answer to this key for ever; anything else (Receiver.answer) is no outcome. `after(post)` may hold the answer back
    when the outcome stands."""

    def __init__(self, decide=lambda post: 200, after=lambda post: None):
        super().__init__(self.pay, path="/pay")
        self.decide, self.after = decide, after
        self.lock = threading.Lock()
        self.outcomes = {}  # by key

    def flags(self, timeout="30s", attempts="1000"):
        return ("--payment", self.url, "--payment-timeout", timeout, "--payment-attempts", attempts, PRIVATE)

    def pay(self, post):
        if post.key not in self.outcomes:
            status = self.decide(post)
            if not isinstance(status, int) or not (200 <= status <= 299 or status == 402):
                return status
            with self.lock:
                self.outcomes.setdefault(post.key, status)
        self.after(post)
        return self.outcomes[post.key]

    def calls(self, order_id):
        """Those for this order; its key is its id."""
        found = self.received(lambda post: post.json()["order_id"] == order_id)
        assert {post.key for post in found} <= {order_id}, [post.key for post in found]
        return found

    def charged(self):
        with self.lock:
            return {key for key, status in self.outcomes.items() if status != 402}
