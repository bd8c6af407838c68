# SPDX-License-Identifier: Apache-2.0
"""
A client of the marketplace face: keys, signatures, and what each reply has to be. Names and keys are new in each call,
so that tests can share one server. Keys and signatures are made and checked here with another library than the
program's, from RFC 8032 and RFC 8785, and points of the curve by the arithmetic itself.

    Signer      a key pair
    Wallet      an account with its key and its token, on one keep-alive connection
    Market      somebody who has the admin key: products, credits, lists
    Scene       what a refusal must not change
"""
import hashlib
import hmac
import itertools
import json
import os
import re
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import wire
from intake import bearer, secret_of
from machines import Pool
from shop import JSON_TYPE, PURCHASE_NO, Shop

SERIAL = itertools.count(1)
REGISTER = "/api/auth/register"
CHALLENGE = "/api/auth/challenge"
VERIFY = "/api/auth/verify"
BALANCE = "/api/wallet/balance"
TRANSACTIONS = "/api/wallet/transactions"
TRANSACT = "/api/wallet/transact"
KEYS = "/api/keys"
CREDITS = "/api/admin/credits"
FEATURED = "/api/products/featured"
CATALOGUE = "/api/products/catalogue"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
HEX64 = re.compile(r"[0-9a-f]{64}")
ORDER_ID = re.compile(PURCHASE_NO)
AMOUNT_MINOR_MAX = 10**15 - 1
WINDOW_S = 300
LINES = ["id", "type", "direction", "amount", "balance", "currency", "timestamp"]

# --- Ed25519, as far as the test needs it itself (RFC 8032, section 5.1) ---

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def square_root(value):
    """A root modulo P, or None."""
    root = pow(value, (P + 3) // 8, P)
    for candidate in (root, root * pow(2, (P - 1) // 4, P) % P):
        if candidate * candidate % P == value % P:
            return candidate
    return None


def x_of(y):
    """One of the x that have this y, None when it is on no point of the curve."""
    return square_root((y * y - 1) * pow(D * y * y + 1, -1, P))


def point_text(y, sign=0):
    return (y | sign << 255).to_bytes(32, "little").hex()


def order_8_y():
    """y of the points of order 8: y^2 = (1 +- sqrt(1 + D)) / -D, where x^2 = y^2."""
    roots = []
    half = square_root(1 + D)
    for numerator in (1 + half, 1 - half):
        y = square_root(numerator * pow(-D, -1, P) % P)
        if y is not None and (x := x_of(y)) is not None and x * x % P == -y * y % P:
            roots += [y, P - y]
    return roots


def small_order_keys():
    """Every text of 32 bytes that stands for one of the eight points of small order: canonical or not."""
    ys = {0, 1, P - 1, *order_8_y()}
    texts = {point_text(y + more, sign) for y in ys for more in (0, P) if y + more < 2**255 for sign in (0, 1)}
    return sorted(texts)


SMALL_ORDER = small_order_keys()
# Points of large order whose y is written as one of P and above.
NOT_CANONICAL = [point_text(P + y, sign) for y in range(2, 19) if x_of(y) is not None for sign in (0, 1)]
OFF_CURVE = [point_text(y, sign) for y in itertools.islice((y for y in range(2, 100) if x_of(y) is None), 4)
    for sign in (0, 1)]


class Signer:
    def __init__(self, seed=None):
        self.private = Ed25519PrivateKey.from_private_bytes(seed or os.urandom(32))
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def sign(self, data):
        return self.private.sign(data).hex()


def is_signed(public, data, signature):
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), data)
        return True
    except InvalidSignature:
        return False


def jcs(value):
    """RFC 8785, of members with names of ASCII whose values are strings and amounts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def derived(store, label):
    """What the store's secret gives for this purpose."""
    return hmac.new(secret_of(store), label.encode(), hashlib.sha256).digest()


# --- replies ---

def expect(reply, status):
    """A success: exact envelope and type; its data, whose members stand at the root again."""
    assert reply.status == status, reply
    assert reply.header("content-type") == JSON_TYPE, reply
    value = reply.json()
    if isinstance(value.get("data"), list):
        assert set(value) <= {"success", "data", "next_cursor"} and value["success"] is True, reply
        return value["data"]
    assert value == {"success": True, "data": value["data"], **value["data"]}, reply
    return value["data"]


def expect_error(reply, status, code):
    """A failure: exact envelope, type and code, and a message that says something."""
    value = reply.json()
    assert (reply.status, value.get("error", {}).get("code")) == (status, code), reply
    assert list(value) == ["success", "error"] and value["success"] is False, reply
    assert list(value["error"]) == ["code", "message"] and len(value["error"]["message"]) > 10, reply
    assert reply.header("content-type") == JSON_TYPE, reply
    if code == "UNAUTHORIZED":
        assert reply.header("www-authenticate") == "Bearer", reply
    if status == 503:
        assert re.fullmatch(r"[1-9][0-9]*", reply.header("retry-after")), reply
    return reply


def expect_private(reply, status):
    assert reply.header("cache-control") == "no-store", reply
    return expect(reply, status)


def minor(amount):
    """Hundredths of an amount as it stands in a reply; it has no more digits."""
    cents = round(amount * 100)
    assert type(amount) in (int, float) and abs(amount * 100 - cents) < 1e-6, amount
    return cents


# --- clients ---

def new_email(word="buyer"):
    return f"{word}-{next(SERIAL)}-{os.urandom(4).hex()}@example.com"


def new_nonce():
    return f"n-{next(SERIAL)}-{os.urandom(4).hex()}"


def now_s():
    return int(time.time())


def new_account(**members):
    """What to register with; its key is nobody's."""
    body = {"email": new_email(), "name": "Anna", "public_key": Signer().public, **members}
    return {key: value for key, value in body.items() if value is not None}


def new_spend(product, amount, **members):
    return {"action": "spend", "amount": amount, "product_id": str(product), "timestamp": now_s(),
        "nonce": new_nonce(), **members}


def new_transfer(to, amount, **members):
    return {"action": "transfer", "amount": amount, "to": to, "timestamp": now_s(), "nonce": new_nonce(), **members}


def without(value, *names):
    return {key: each for key, each in value.items() if key not in names}


def raw_transact(intent_text, public, signature, **headers):
    """The bytes of a request whose intent is this very text."""
    body = f'{{"intent":{intent_text},"public_key":"{public}","signature":"{signature}"}}'
    return wire.build("POST", TRANSACT, {"Content-Type": "application/json", **headers}, body)


class Wallet(Shop):
    """`name`, `email` and `signer` are its own; registered when it is made."""

    def __init__(self, server, signer=None, **members):
        super().__init__(server)
        self.signer = signer or Signer()
        self.key = self.signer.public
        self.account = new_account(public_key=self.key, **members)
        self.told = expect_private(self.ask("POST", REGISTER, None, self.account), 201)
        self.token = self.told["token"]

    # --- reading ---

    def read(self, target, **headers):
        return self.ask("GET", target, {**bearer(self.token), **headers})

    def balance(self):
        data = expect_private(self.read(BALANCE), 200)
        assert set(data) == {"balance", "currency"} and data["currency"] == "MC", data
        return data["balance"]

    def page(self, query=""):
        """(lines, next_cursor)"""
        reply = self.read(TRANSACTIONS + query)
        lines = expect_private(reply, 200)
        assert list(reply.json()) == ["success", "data", "next_cursor"], reply
        return lines, reply.json()["next_cursor"]

    def lines(self, limit=1000):
        """All of them, newest first."""
        found, cursor = self.page(f"?limit={limit}")
        while cursor is not None:
            more, cursor = self.page(f"?limit={limit}&cursor={cursor}")
            found += more
        return found

    # --- proving the key ---

    def challenge(self):
        return expect_private(self.ask("GET", f"{CHALLENGE}?public_key={self.key}"), 200)

    def answer(self, challenge, **changes):
        """What to send to be verified."""
        return {"public_key": self.key, **without(challenge, "expires_at"),
            "signature": self.signer.sign(challenge["challenge"].encode()), **changes}

    def verify(self, body):
        return self.ask("POST", VERIFY, None, body)

    # --- paying ---

    def signed(self, intent, **changes):
        return {"intent": intent, "public_key": self.key, "signature": self.signer.sign(jcs(intent)), **changes}

    def transact(self, intent, **changes):
        return self.ask("POST", TRANSACT, None, self.signed(intent, **changes))

    def transact_text(self, text, signature=None, **headers):
        """The intent is sent as it stands in this text; signed is its RFC 8785 form unless told otherwise."""
        signature = signature or self.signer.sign(jcs(json.loads(text)))
        with wire.Connection(self.server.port) as connection:
            connection.send(raw_transact(text, self.key, signature, **headers))
            return connection.read_reply()

    def pay(self, intent):
        """An intent that must be accepted: its data."""
        return expect_private(self.transact(intent), 200)

    def spend(self, product, amount, **members):
        return self.pay(new_spend(product, amount, **members))

    def send(self, to, amount, **members):
        return self.pay(new_transfer(to, amount, **members))


class Market(Pool):
    """Products are sold from now on, for 10 MC unless said otherwise."""

    def product(self, price=10, stock=10, **members):
        """Its id, as a text."""
        return str(self.add(stock=stock, price=price, **members)["id"])

    def upcoming_product(self, price=10, stock=10):
        """The id of a product whose sale is not open yet."""
        sku = self.upcoming(stock=stock)
        self.price(sku, price)
        return self.id_of(sku)

    def id_of(self, sku):
        return str(self.server.store.rows("SELECT id FROM products WHERE sku = ?", sku)[0][0])

    def sku(self, product):
        return self.server.store.rows("SELECT sku FROM products WHERE id = ?", int(product))[0][0]

    def price(self, sku, price):
        assert self.patch(sku, {"price": minor(price)}).status == 200

    def left(self, product):
        return self.server.store.rows("SELECT stock FROM products WHERE id = ?", int(product))[0][0]

    def buyers_of(self, product):
        """Users who have bought it, in order."""
        return [user for _, user, _ in self.server.store.purchases(self.sku(product))]

    def credit(self, key, amount, reference=None):
        return self.ask("POST", CREDITS, self.admin, {"public_key": key, "amount": amount,
            "reference": reference or new_nonce()})

    def credit_well(self, key, amount, reference=None):
        return expect_private(self.credit(key, amount, reference), 200)

    def receipt_key(self):
        data = expect(self.ask("GET", KEYS), 200)
        assert data == {"public_key": data["public_key"], "algorithm": "Ed25519", "use": "receipts"}, data
        assert HEX64.fullmatch(data["public_key"]), data
        return data["public_key"]

    def check_receipt(self, receipt):
        """It is signed by the server."""
        assert re.fullmatch(r"[0-9a-f]{128}", receipt["signature"]), receipt
        assert is_signed(self.receipt_key(), jcs(without(receipt, "signature")), receipt["signature"]), receipt
        return receipt

    def catalogue(self, query=""):
        """(rows, next_cursor)"""
        reply = self.ask("GET", CATALOGUE + query)
        rows = expect(reply, 200)
        assert list(reply.json()) == ["success", "data", "next_cursor"], reply
        return rows, reply.json()["next_cursor"]

    def whole_catalogue(self, limit=1000):
        found, cursor = self.catalogue(f"?limit={limit}")
        while cursor is not None:
            more, cursor = self.catalogue(f"?limit={limit}&cursor={cursor}")
            found += more
        return found

    def featured(self):
        reply = self.ask("GET", FEATURED)
        assert list(reply.json()) == ["success", "data"], reply
        return expect(reply, 200)

    def row(self, product):
        """How the catalogue shows it."""
        found, = [row for row in self.whole_catalogue() if row["id"] == str(product)]
        return found

    def figure(self, name):
        return int(re.search(rf"^{name} (\d+)$", self.ask("GET", "/metrics").text, re.MULTILINE)[1])


class Scene:
    """What must not change when an intent is refused: balances, transactions and stock, seen again by check()."""

    def __init__(self, market, wallets, products=()):
        self.market, self.wallets, self.products = market, wallets, products
        self.before = self.look()

    def look(self):
        return ([wallet.balance() for wallet in self.wallets], [wallet.page("?limit=5") for wallet in self.wallets],
            [(self.market.left(product), self.market.buyers_of(product)) for product in self.products])

    def check(self):
        assert self.look() == self.before


# --- fixtures, imported by the modules that use them ---

@pytest.fixture
def market(server):
    market = Market(server)
    yield market
    market.close()


@pytest.fixture
def wallet_of():
    """wallet_of(server, ...): a new wallet there; closed at the end."""
    wallets = []

    def make(server, *arguments, **members):
        wallets.append(Wallet(server, *arguments, **members))
        return wallets[-1]

    yield make
    for wallet in wallets:
        wallet.close()


@pytest.fixture
def wallet(server, wallet_of):
    return wallet_of(server)


@pytest.fixture
def payee(server, wallet_of):
    return wallet_of(server)
