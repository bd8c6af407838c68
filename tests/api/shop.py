# SPDX-License-Identifier: Apache-2.0
"""
A client of the flash-sale face that speaks in sales and purchases. Names of products and buyers are new in each
call, so that tests can share one server.
"""
import functools
import itertools
import json
import re
import time
from datetime import datetime, timezone

import wire
from server import ADMIN_KEY

SERIAL = itertools.count(1)
MINUTE_MS = 60_000

PURCHASES = "/api/v1/purchases"
SALES = "/api/v1/sales"
EVENTS = "/api/v1/sales/events"
PRODUCTS = "/api/v1/products"

ISO = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z"
PURCHASE_NO = r"PUR-\d{8}-\d{4,}"
PURCHASED = re.compile(r'\{"success":true,"data":\{"purchaseNo":"(' + PURCHASE_NO + r')",'
    r'"purchasedAt":"(' + ISO + r')"\}\}')
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
JSON_TYPE = "application/json; charset=utf-8"

BAD_REQUEST = '{"success":false,"error":{"code":"HTTP_ERROR","message":"Bad Request Exception"}}'
BAD_JSON = ('{"success":false,"error":{"code":"HTTP_ERROR","message":'
    '"Body is not valid JSON but content-type is set to \'application/json\'"}}')
EMPTY_JSON = ('{"success":false,"error":{"code":"HTTP_ERROR","message":'
    '"Body cannot be empty when content-type is set to \'application/json\'"}}')
TOO_LARGE = '{"success":false,"error":{"code":"HTTP_ERROR","message":"Request body is too large"}}'
NOT_ACTIVE = '{"success":false,"error":{"code":"SALE_NOT_ACTIVE","message":"Sale is not currently active."}}'
SOLD_OUT = '{"success":false,"error":{"code":"SOLD_OUT","message":"Sorry, all items have been sold."}}'
ALREADY = '{"success":false,"error":{"code":"ALREADY_PURCHASED","message":"You have already purchased this item."}}'
LIMITED = ('{"success":false,"error":{"code":"RATE_LIMIT_EXCEEDED","message":'
    '"Too many requests. Please try again later.","retryAfter":1}}')
USER_FIELDS = '"fields":{"X-User-Id":"Must be a non-empty string (max 255 characters)"}}}'
NO_USER = ('{"success":false,"error":{"code":"VALIDATION_ERROR","message":'
    '"X-User-Id header is required and must be a non-empty string.",' + USER_FIELDS)
LONG_USER = ('{"success":false,"error":{"code":"VALIDATION_ERROR","message":'
    '"X-User-Id must not exceed 255 characters.",' + USER_FIELDS)
UNAUTHORIZED = '{"success":false,"error":{"code":"UNAUTHORIZED","message":"Missing or invalid X-Admin-Key header."}}'
TIME_RANGE = '{"success":false,"error":{"code":"INVALID_TIME_RANGE","message":"End time must be after start time"}}'
NO_PURCHASE = '{"success":false,"error":{"code":"NOT_FOUND","message":"No purchase found for this user."}}'
UNAVAILABLE = ('{"success":false,"error":{"code":"SERVICE_UNAVAILABLE","message":'
    '"Service temporarily unavailable. Please try again."}}')


def now_ms():
    return time.time_ns() // 1_000_000


def iso(ms):
    moment = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def ms_of(text):
    """Milliseconds of a time as the server writes it."""
    assert re.fullmatch(ISO, text), text
    return round(datetime.fromisoformat(text[:-1] + "+00:00").timestamp() * 1000)


def clock_doubt_ms(store):
    """By how much a time of this store may differ from this machine's: a shared one goes by its own clock."""
    return 0 if store.kind == "sqlite" else 250


def in_time(seconds, tries=6):
    """For a test that means something only on a machine that does it within so many seconds: when it fails and has
    taken longer, it is made once more. It makes names of its own each time."""
    def decorate(test):
        @functools.wraps(test)
        def run(*arguments, **how):
            for left in reversed(range(tries)):
                began = time.monotonic()
                try:
                    return test(*arguments, **how)
                except AssertionError:
                    took = time.monotonic() - began
                    if took < seconds or left == 0:
                        raise
                    print(f"{test.__name__} is made again: it took {took:.2f} s")
        return run
    return decorate


def product_missing(sku):
    return '{"success":false,"error":{"code":"NOT_FOUND","message":"Product with SKU \'%s\' not found"}}' % sku


def invalid_sku(text):
    message = f'Invalid SKU: "{text}". Must be 1-64 alphanumeric characters or hyphens.'
    return '{"success":false,"error":{"code":"INVALID_SKU","message":%s}}' % json.dumps(message, ensure_ascii=False)


def cannot(method, target):
    message = json.dumps(f"Cannot {method} {target}", ensure_ascii=False)
    return '{"success":false,"error":{"code":"HTTP_ERROR","message":%s}}' % message


def new_sku(word="T"):
    return f"{word}-{next(SERIAL)}-{now_ms() % 100_000_000}"


def new_user(word="user"):
    return f"{word}-{next(SERIAL)}-{now_ms() % 100_000_000}"


def expect(reply, status, body):
    """The reply is exactly this: status, body to the byte, type and length."""
    assert (reply.status, reply.text) == (status, body), reply
    assert reply.header("content-type") == JSON_TYPE, reply
    assert reply.header("content-length") == str(len(reply.body)), reply
    return reply


class Shop:
    """One keep-alive connection to a server, opened again when the server has closed it."""

    def __init__(self, server, key=ADMIN_KEY):
        self.server = server
        self.admin = {"X-Admin-Key": key}
        self.connection = None

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def ask(self, method, target, headers=None, body=None):
        if self.connection is not None and self.connection.is_over():
            self.close()
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

    # --- admin ---

    def body(self, sku, stock=10, start=-MINUTE_MS, end=30 * MINUTE_MS, name="Widget"):
        """What to send for a product; start and end are relative to now, in ms."""
        now = now_ms()
        return {"sku": sku, "productName": name, "initialStock": stock, "startTime": iso(now + start),
            "endTime": iso(now + end)}

    def create(self, body, headers=None):
        return self.ask("POST", PRODUCTS, {**self.admin, **(headers or {})}, body)

    def sale(self, stock=10, **how):
        """A new product whose sale is on; returns its SKU."""
        sku = how.pop("sku", None) or new_sku()
        reply = self.create(self.body(sku, stock, **how))
        assert reply.status == 201, reply
        self.wait_state(sku, "ACTIVE")
        return sku

    def short_sale(self, meanwhile=lambda sku: None, end=800, stock=10, word="SHORT"):
        """A new sale that ends by the clock; its SKU. `meanwhile(sku)` is done while it is on, for which a slow
        machine gets more time."""
        while True:
            sku = new_sku(word)
            body = self.body(sku, stock, end=end)
            assert self.create(body).status == 201
            try:
                state = wire.wait_for(lambda: (state := self.status(sku).data["state"]) != "UPCOMING" and state, sku)
                assert state == "ACTIVE", state
                meanwhile(sku)
                return sku
            except AssertionError:
                if now_ms() < ms_of(body["endTime"]) or end > MINUTE_MS:
                    raise
            self.delete(sku)
            end *= 3

    def upcoming(self, stock=10, start=20 * MINUTE_MS, **how):
        sku = new_sku()
        reply = self.create(self.body(sku, stock, start=start, **how))
        assert reply.status == 201, reply
        return sku

    def product(self, sku):
        return self.ask("GET", f"{PRODUCTS}/{sku}", self.admin)

    def put(self, sku, body=None):
        return self.ask("PUT", f"{PRODUCTS}/{sku}", self.admin, body)

    def patch(self, sku, body=None):
        return self.ask("PATCH", f"{PRODUCTS}/{sku}", self.admin, body)

    def delete(self, sku):
        return self.ask("DELETE", f"{PRODUCTS}/{sku}", self.admin)

    # --- public ---

    def status(self, sku):
        return self.ask("GET", f"{SALES}?sku={sku}")

    def wait_state(self, sku, state, seconds=30.0):
        return wire.wait_for(lambda: (data := self.status(sku).data)["state"] == state and data,
            f"sale {sku} {state}", seconds)

    def stock(self, sku):
        return self.status(sku).data["stock"]

    # --- buyers ---

    def buy(self, sku, user=None, headers=None):
        return self.ask("POST", PURCHASES, {"X-User-Id": user or new_user(), **(headers or {})}, {"sku": sku})

    def purchase(self, sku, user):
        return self.ask("GET", f"{PURCHASES}?sku={sku}", {"X-User-Id": user})

    def buy_well(self, sku, user=None, headers=None):
        """A purchase that must succeed; (number, time)."""
        reply = self.buy(sku, user, headers)
        match = PURCHASED.fullmatch(reply.text)
        assert reply.status == 200 and match is not None, reply
        return match[1], match[2]


def still_sells(server):
    """The server sells exactly right: two units to two buyers, not a third."""
    shop = Shop(server)
    try:
        sku = shop.sale(stock=2)
        buyers = [new_user(), new_user()]
        numbers = [shop.buy_well(sku, buyer)[0] for buyer in buyers]
        expect(shop.buy(sku), 200, NOT_ACTIVE)
        data = shop.product(sku).data
        assert (data["currentStock"], data["totalPurchases"], data["state"]) == (0, 2, "ENDED"), data
        assert [shop.purchase(sku, buyer).data["purchaseNo"] for buyer in buyers] == numbers
    finally:
        shop.close()
