# SPDX-License-Identifier: Apache-2.0
"""
A client of the intake face: an account with its tokens, and the orders that it places. Names are new in each call, so
that tests can share one server. Tokens and signatures are made and checked here by themselves, from the standards that
they follow (RFC 7519, Standard Webhooks), not by the program.

    Trader          an account on one keep-alive connection
    sign_token      any token, signed with the store's own secret or another
    Sink            an execution engine: receives signed batches, and fails when it is told to
"""
import base64
import hashlib
import hmac
import http.server
import itertools
import json
import re
import threading
import time

from shop import Shop

SERIAL = itertools.count(1)
REGISTER = "/api/auth/register"
LOGIN = "/api/auth/login"
REFRESH = "/api/auth/refresh"
ORDERS = "/api/orders"
PASSWORD = "correct horse"
UUID8 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NOT_AUTHENTICATED = '{"detail":"Not authenticated"}'
NOT_VALID = '{"detail":"Could not validate credentials"}'
NOT_FOUND = '{"detail":"Order not found"}'
MEMBERS = ["id", "user_id", "symbol", "side", "order_type", "quantity", "price", "stop_price", "trailing_stop_pct",
    "iceberg_qty", "time_in_force", "status", "created_at", "updated_at"]
ACCESS_S = 900
REFRESH_S = 30 * 24 * 3600


def expect(reply, status, body=None):
    """Status, type and, when it is given, the body to the byte."""
    assert reply.status == status, reply
    assert reply.header("content-type") == "application/json", reply
    assert reply.header("content-length") == str(len(reply.body)), reply
    assert body is None or reply.text == body, reply
    if status == 401:
        assert reply.header("www-authenticate") == "Bearer", reply
    return reply


def complaints(reply):
    """[(type, place, input)] of a 422; each has exactly the contract's members."""
    expect(reply, 422)
    value = reply.json()
    assert list(value) == ["detail"] and value["detail"], reply
    for each in value["detail"]:
        assert list(each) == ["type", "loc", "msg", "input"] and each["msg"], reply
    return [(each["type"], ".".join(map(str, each["loc"])), each["input"]) for each in value["detail"]]


def new_name(word="trader"):
    return f"{word}-{next(SERIAL)}-{time.time_ns() % 10**12}"


def new_account(**members):
    """What to send to register; None leaves a member out."""
    name = new_name()
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **members}
    return {key: value for key, value in body.items() if value is not None}


def new_order(side="BUY", **members):
    return {"symbol": "AAPL", "side": side, "order_type": "LIMIT", "quantity": 100.0, "price": 150.0, **members}


# --- tokens ---

def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def secret_of(store):
    return bytes(store.rows("SELECT value FROM secrets WHERE name = 'tokens'")[0][0])


def claims_of(token, secret):
    """What a token says, when its signature is right."""
    head, payload, signature = token.split(".")
    expected = hmac.new(secret, f"{head}.{payload}".encode(), hashlib.sha256).digest()
    assert hmac.compare_digest(decode(signature), expected), token
    assert json.loads(decode(head)) == {"alg": "HS256", "typ": "JWT"}
    return json.loads(decode(payload))


def sign_token(secret, head=b'{"alg":"HS256","typ":"JWT"}', **claims):
    signed = encode(head) + "." + encode(json.dumps(claims, separators=(",", ":")).encode())
    return signed + "." + encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


def access_claims(sub, iat, exp):
    return {"sub": str(sub), "typ": "access", "iat": iat, "exp": exp}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


# --- traders ---

class Trader(Shop):
    """An account of its own, on one connection."""

    def __init__(self, server, **members):
        super().__init__(server)
        self.account = new_account(**members)
        reply = expect(self.ask("POST", REGISTER, None, self.account), 201)
        self.user_id = reply.json()["user"]["id"]
        self.set_tokens(reply)

    def set_tokens(self, reply):
        self.access, self.refresh = reply.json()["access_token"], reply.json()["refresh_token"]

    def send(self, method, target=ORDERS, body=None, **headers):
        return self.ask(method, target, {**bearer(self.access), **headers}, body)

    def place(self, **members):
        """An order that must be taken; its body."""
        return expect(self.send("POST", body=new_order(**members)), 201).json()

    def place_many(self, count):
        return [self.place(side="SELL" if index % 2 else "BUY") for index in range(count)]

    def order(self, order_id):
        return expect(self.send("GET", f"{ORDERS}/{order_id}"), 200).json()

    def orders(self, query=""):
        return expect(self.send("GET", ORDERS + query), 200).json()

    def cancel(self, order_id):
        return self.send("DELETE", f"{ORDERS}/{order_id}")


# --- the sink ---

class Delivery:
    """One request that the sink got, its signature checked as Standard Webhooks has it."""

    def __init__(self, headers, body, key):
        self.id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        signed = f"{self.id}.{timestamp}.".encode() + body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        self.is_signed = f"v1,{expected}" in headers["webhook-signature"].split(" ")
        self.is_json = headers["content-type"] == "application/json"
        self.age_s = time.time() - int(timestamp)
        self.value = json.loads(body)

    @property
    def orders(self):
        return self.value["data"]["orders"]


class Sink:
    """`answer(number of the delivery, from 0)` says the status of each; 200 for all unless told otherwise. With None
    it hangs up without an answer."""
    KEY = bytes(range(32))
    SECRET = "whsec_" + base64.b64encode(KEY).decode()

    def __init__(self, answer=lambda number: 200):
        self.answer = answer
        self.deliveries = []
        self.acknowledged = {}  # ids of orders, in order; how often each
        self.lock = threading.Lock()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                sink.receive(self)

            def log_message(self, *unused):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def arguments(self):
        """For `doorbuster serve`."""
        return ("--intake-sink", f"http://127.0.0.1:{self.server.server_address[1]}/orders", "--webhook-secret",
            self.SECRET, "--allow-private-targets")

    def receive(self, handler):
        body = handler.rfile.read(int(handler.headers["content-length"]))
        delivery = Delivery(handler.headers, body, self.KEY)
        with self.lock:
            status = self.answer(len(self.deliveries))
            delivery.is_taken = status is not None and 200 <= status < 300
            self.deliveries.append(delivery)
            for order in delivery.orders if delivery.is_taken else ():
                self.acknowledged[order["id"]] = self.acknowledged.get(order["id"], 0) + 1
        handler.close_connection = status is None
        if status is not None:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def seen(self):
        with self.lock:
            return list(self.deliveries)

    def taken(self):
        """The ids of the orders that it has acknowledged, in the order in which each came first."""
        with self.lock:
            return list(self.acknowledged)

    def has_taken(self, ids):
        with self.lock:
            return all(order_id in self.acknowledged for order_id in ids)

    def check(self):
        """Every request was signed, fresh and well formed."""
        for each in self.seen():
            assert each.is_signed and each.is_json and abs(each.age_s) < 300, each.value
            assert list(each.value) == ["type", "timestamp", "data"] and each.value["type"] == "orders.accepted"
            assert each.orders and all(list(order) == MEMBERS for order in each.orders)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)



def first_of_each(ids):
    """Without what came before already."""
    return list(dict.fromkeys(ids))
