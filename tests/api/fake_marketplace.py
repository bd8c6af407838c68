# SPDX-License-Identifier: Apache-2.0
"""
A server with the wire of the marketplace (marketplace contract) and nothing behind it, and servers that break one
promise each. With them the load generator is shown to run against any server with that wire, to sign right, to count
right, and to notice every broken promise. It checks every signature, with another library than the generator's.

    python3 fake_marketplace.py MODE     prints its port, serves on 127.0.0.1 until it is killed

    honest      keeps every promise
    stale       the same, but the catalogue shows what was so when it was asked for the time before
    spaced      the same with blanks, lines and members in another order
    keyed       wants the admin key "a-key-of-the-test" for products and credits
    closing     does what every third transact asks and closes the connection instead of answering it
    busy        503 for every third transact
    unsure      does what every third transact asks and answers 503 OUTCOME_UNKNOWN
    oversells   lets wallets spend 10 MC more than they have
    miser       answers 402 though one more spend could be paid
    twice       takes two units from the wallet for each spend
    again       takes the coins again when an intent is repeated
    another     gives a repeated intent a receipt of its own
    reuses      carries out another intent under the same nonce, too
    forged      signs receipts with a key that is not its own
    altered     signs receipts, then changes one member
    cheaper     gives receipts over another amount
    numbered    gives all receipts one number
    invents     acknowledges sales and takes no stock
    loses       transfers do not arrive
    creates     transfers are not taken from who pays
    doubles     registers a key a second time
    rounds      every tenth wallet has 99 MC
    bare        registers without a token
    picky       503 for every third registration
    denies      refuses every login
    hides       leaves the product out of the featured ones
    stuck       500 for every tenth list of products
    slow        thinks for 0.1 s about every login
    dumb        has no catalogue
"""
import asyncio
import hashlib
import itertools
import json
import os
import secrets
import sys
import time
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required",
           404: "Not Found", 409: "Conflict", 422: "Unprocessable Content", 500: "Internal Server Error",
           503: "Service Unavailable"}
KEY = "a-key-of-the-test"
OPENING = 10000
WINDOW_S = 300


def public_of(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def is_signed(public, data, signature):
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), data)
        return True
    except (InvalidSignature, ValueError):
        return False


def minor_of(amount):
    """Hundredths of an integer, or of a text with at most two decimals."""
    whole, _, part = str(amount).partition(".")
    return int(whole) * 100 + int((part + "00")[:2])


def coins_of(minor):
    return minor // 100 if minor % 100 == 0 else minor / 100


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


class Close(Exception):
    """The connection is closed without an answer."""


class Wallet:
    def __init__(self, key, email, balance):
        self.key, self.email, self.balance = key, email, balance
        self.token = secrets.token_hex(16)
        self.history = []
        self.done = {}  # nonce: (intent, answer)


class Shop:
    def __init__(self, mode):
        self.mode = mode
        self.key = Ed25519PrivateKey.from_private_bytes(os.urandom(32))
        self.false_key = Ed25519PrivateKey.from_private_bytes(os.urandom(32))
        self.secret = secrets.token_hex(16)
        self.wallets = {}
        self.tokens = {}
        self.emails = set()
        self.products = {}
        self.references = set()
        self.numbers = itertools.count(1)
        self.transacts = itertools.count(1)
        self.lists = itertools.count(1)
        self.picture = []
        self.registrations = itertools.count(1)

    # ---- accounts ----

    def register(self, wanted):
        key, email = wanted["public_key"], wanted["email"]
        if set(wanted) != {"email", "name", "public_key"} or len(bytes.fromhex(key)) != 32 or "@" not in email:
            raise Refused(400, "VALIDATION_ERROR")
        if key in self.wallets and self.mode != "doubles":
            raise Refused(409, "PUBLIC_KEY_TAKEN")
        if email in self.emails and self.mode != "doubles":
            raise Refused(409, "EMAIL_TAKEN")
        if self.mode == "picky" and next(self.registrations) % 3 == 0:
            raise Refused(503, "SERVICE_UNAVAILABLE")
        is_short = self.mode == "rounds" and len(self.wallets) % 10 == 9
        wallet = self.wallets[key] = Wallet(key, email, OPENING - 100 * is_short)
        self.tokens[wallet.token] = wallet
        self.emails.add(email)
        data = {"user_id": secrets.token_hex(16), "email": email, "name": wanted["name"], "public_key": key,
                "balance": coins_of(OPENING), "currency": "MC", "token": wallet.token, "expires_at": 1}
        if self.mode == "bare":
            del data["token"]
        return 201, data

    def mac(self, key, challenge, timestamp):
        return hashlib.sha256(f"{self.secret}{key}{challenge}{timestamp}".encode()).hexdigest()

    def challenge(self, key):
        text, now = secrets.token_hex(32), int(time.time())
        return 200, {"challenge": text, "timestamp": now, "expires_at": now + WINDOW_S, "mac": self.mac(key, text, now)}

    async def verify(self, wanted):
        if self.mode == "slow":
            await asyncio.sleep(0.1)  # pause: how long it thinks
        key, text, timestamp = wanted["public_key"], wanted["challenge"], wanted["timestamp"]
        if wanted["mac"] != self.mac(key, text, timestamp):
            raise Refused(401, "INVALID_MAC")
        if not is_signed(key, text.encode(), wanted["signature"]) or self.mode == "denies":
            raise Refused(401, "INVALID_SIGNATURE")
        wallet = self.wallets[key]
        wallet.token = secrets.token_hex(16)
        self.tokens[wallet.token] = wallet
        return 200, {"token": wallet.token, "expires_at": 1, "user": {"user_id": "u", "email": wallet.email,
            "name": "n", "public_key": key, "balance": coins_of(wallet.balance)}}

    def owner(self, headers):
        wallet = self.tokens.get(headers.get("authorization", "").removeprefix("Bearer "))
        if wallet is None:
            raise Refused(401, "UNAUTHORIZED")
        return wallet

    # ---- products ----

    def add_product(self, wanted):
        number = next(self.numbers)
        self.products[str(number)] = {"id": str(number), "sku": f"s{number}", "name": wanted["name"],
            "price": coins_of(minor_of(wanted["price"])), "currency": "MC", "category": wanted["category"],
            "stock": wanted["stock"], "featured": wanted["featured"]}
        return 201, {"id": number, "name": wanted["name"], "stock": wanted["stock"]}

    def featured(self):
        if self.mode == "stuck" and next(self.lists) % 10 == 0:
            raise Refused(500, "INTERNAL_ERROR")
        return 200, [each for each in self.products.values() if each["featured"] and self.mode != "hides"]

    def credit(self, wanted):
        self.wallets[wanted["public_key"]].balance += minor_of(wanted["amount"])
        return 200, {"id": "1"}

    # ---- coins ----

    def check(self, wanted):
        intent, key = wanted["intent"], wanted["public_key"]
        target = {"spend": "product_id", "transfer": "to"}[intent["action"]]
        if set(intent) != {"action", "amount", target, "timestamp", "nonce"}:
            raise Refused(400, "VALIDATION_ERROR")
        if key not in self.wallets:
            raise Refused(404, "NOT_FOUND")
        if not is_signed(key, canonical(intent), wanted["signature"]):
            raise Refused(401, "INVALID_SIGNATURE")
        if abs(intent["timestamp"] - time.time()) > WINDOW_S:
            raise Refused(401, "TIMESTAMP_OUT_OF_RANGE")
        return intent, self.wallets[key]

    def receipt(self, intent, wallet, target):
        number = next(self.numbers) if self.mode != "numbered" else 7
        receipt = {"action": intent["action"], "amount": coins_of(minor_of(intent["amount"])), "id": str(number),
                   "nonce": intent["nonce"], "public_key": wallet.key, "timestamp": int(time.time()),
                   target: intent[target]}
        if target == "product_id":
            receipt["order_id"] = f"PUR-20260101-{number:04}"
        if self.mode == "cheaper":
            receipt["amount"] += 1
        receipt = json.loads(canonical(receipt))
        signer = self.false_key if self.mode == "forged" else self.key
        receipt["signature"] = signer.sign(canonical(receipt)).hex()
        if self.mode == "altered":
            receipt["timestamp"] += 1
        return receipt

    def answer_of(self, intent, wallet, target):
        receipt = self.receipt(intent, wallet, target)
        return {"receipt": receipt, "new_balance": coins_of(wallet.balance), "order_id": receipt.get("order_id")}

    def pay(self, intent, wallet):
        amount = minor_of(intent["amount"])
        product = self.products[intent["product_id"]] if intent["action"] == "spend" else None
        limit = wallet.balance + {"oversells": 1000, "miser": -amount}.get(self.mode, 0)
        if product is not None and amount != minor_of(product["price"]):
            raise Refused(422, "PRICE_MISMATCH")
        if amount > limit:
            raise Refused(402, "INSUFFICIENT_FUNDS")
        if product is not None and product["stock"] == 0:
            raise Refused(409, "SOLD_OUT")
        if product is not None:
            product["stock"] -= self.mode != "invents"
            wallet.balance -= amount * (2 if self.mode == "twice" else 1)
        else:
            payee = self.wallets[intent["to"]]
            wallet.balance -= amount * (self.mode != "creates")
            payee.balance += amount * (self.mode != "loses")
        wallet.history.append({"id": "1"})
        return self.answer_of(intent, wallet, "product_id" if product is not None else "to")

    def transact(self, wanted):
        intent, wallet = self.check(wanted)
        count = next(self.transacts)
        if self.mode == "busy" and count % 3 == 0:
            raise Refused(503, "SERVICE_UNAVAILABLE")
        first, told = wallet.done.get(intent["nonce"], (None, None))
        if first is not None and first != intent and self.mode != "reuses":
            raise Refused(409, "NONCE_REUSED")
        if told is None or first != intent:
            told = self.pay(intent, wallet)
            wallet.done[intent["nonce"]] = (intent, told)
        elif self.mode == "again":
            wallet.balance -= minor_of(intent["amount"])
        elif self.mode == "another":
            told = self.answer_of(intent, wallet, "product_id" if "product_id" in intent else "to")
        if self.mode == "closing" and count % 3 == 0:
            raise Close
        if self.mode == "unsure" and count % 3 == 0:
            raise Refused(503, "OUTCOME_UNKNOWN")
        return 200, told

    async def answer(self, method, path, headers, body):
        wanted = json.loads(body) if body else None
        url = urlsplit(path)
        needs_key = (method, url.path) in (("POST", "/api/products"), ("POST", "/api/admin/credits"))
        if needs_key and self.mode == "keyed" and headers.get("x-admin-key") != KEY:
            raise Refused(401, "UNAUTHORIZED")
        match method, url.path:
            case "GET", "/api/keys":
                return 200, {"public_key": public_of(self.key), "algorithm": "Ed25519", "use": "receipts"}
            case "POST", "/api/products":
                return self.add_product(wanted)
            case "POST", "/api/admin/credits":
                return self.credit(wanted)
            case "POST", "/api/auth/register":
                return self.register(wanted)
            case "GET", "/api/auth/challenge":
                return self.challenge(parse_qs(url.query)["public_key"][0])
            case "POST", "/api/auth/verify":
                return await self.verify(wanted)
            case "GET", "/api/products/featured":
                return self.featured()
            case "GET", "/api/products/catalogue" if self.mode != "dumb":
                return 200, self.catalogue()
            case "GET", "/api/wallet/balance":
                return 200, {"balance": coins_of(self.owner(headers).balance), "currency": "MC"}
            case "GET", "/api/wallet/transactions":
                return 200, self.owner(headers).history
            case "POST", "/api/wallet/transact":
                return self.transact(wanted)
        raise Refused(404, "NOT_FOUND")

    def catalogue(self):
        shown, self.picture = self.picture, [dict(product) for product in self.products.values()]
        return shown if self.mode == "stale" else self.picture

    def envelope(self, path, status, data):
        """Lists have no members to repeat; what makes products answers in a way of its own."""
        if path == "/api/products":
            value = data
        elif isinstance(data, list):
            value = {"success": True, "data": data, "next_cursor": None}
        else:
            value = {"success": True, "data": data, **data}
        if self.mode == "spaced":
            return status, json.dumps(dict(reversed(value.items())), indent=2).encode()
        return status, json.dumps(value, separators=(",", ":")).encode()

    async def reply(self, method, path, headers, body):
        """Status and body."""
        try:
            return self.envelope(path, *await self.answer(method, path, headers, body))
        except Refused as refused:
            error = {"success": False, "error": {"code": refused.code, "message": "no"}}
            return refused.status, json.dumps(error).encode()


async def read_request(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return method, path, headers, body


async def serve_connection(shop, reader, writer):
    try:
        while True:
            status, text = await shop.reply(*await read_request(reader))
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, Close):
        pass
    finally:
        writer.close()


async def main(mode):
    shop = Shop(mode)
    server = await asyncio.start_server(lambda reader, writer: serve_connection(shop, reader, writer), "127.0.0.1", 0,
                                        backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
