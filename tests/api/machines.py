# SPDX-License-Identifier: Apache-2.0
"""
A client of the vending face: machines and products by id, and what each reply has to be to the byte. Names are new in
each call, so that tests can share one server.
"""
import json
import re
from datetime import datetime

from shop import Shop, clock_doubt_ms, new_sku, now_ms

MACHINES = "/api/vending-machines"
GOODS = "/api/products"
START_WORK = "/api/orchestrator/start-work"
MICROS = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}000Z")
MACHINE_MEMBERS = ["id", "name", "status", "usage_count", "created_at", "updated_at"]
PRODUCT_MEMBERS = ["id", "name", "stock", "created_at", "updated_at"]
RESET = "Machine has been reset to idle state."
NOT_ADMIN = ('{"message":"Missing or invalid X-Admin-Key header. Send the key that the server was started with."}')
ALREADY_IDLE = '{"error":"Machine is already idle."}'
NAME_TAKEN = ('{"message":"A product with this name already exists.",'
    '"errors":{"name":["A product with this name already exists."]}}')
PAGE_ROWS = 1000  # a list of less is one page of the store


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def no_model(model, number):
    """The 404 of an unknown machine or product."""
    return compact({"message": f"No query results for model [App\\Models\\{model}] {number}"})


def no_method(method, route, allow):
    return compact({"message": f"The {method} method is not supported for route {route}. Supported methods: {allow}."})


def refused(*complaints):
    """The 422 with these (field, text), of one complaint a field."""
    more = len(complaints) - 1
    tail = f" (and {more} more error{'s' if more > 1 else ''})" if more else ""
    return compact({"message": complaints[0][1] + tail, "errors": {field: [text] for field, text in complaints}})


def expect(reply, status, body=None):
    """Status, type and, when it is given, the body to the byte."""
    assert reply.status == status, reply
    assert reply.header("content-type") == "application/json", reply
    assert body is None or reply.text == body, reply
    return reply


def expect_gone(reply):
    """204 without a body."""
    assert (reply.status, reply.body, reply.header("content-type")) == (204, None, None), reply


def new_name(word="machine"):
    return new_sku(word)


def ms_of(text):
    """Milliseconds of a time as this face writes it."""
    assert MICROS.fullmatch(text), text
    return round(datetime.fromisoformat(text[:-1] + "+00:00").timestamp() * 1000)


def is_recent(text, began_ms, store):
    doubt = clock_doubt_ms(store) + 1
    return began_ms - doubt <= ms_of(text) <= now_ms() + doubt


class Pool(Shop):
    """One keep-alive connection of somebody who has the key."""

    def send(self, method, target, body=None, **headers):
        return self.ask(method, target, {**self.admin, **headers}, body)

    # --- machines ---

    def make(self, name=None):
        """A new machine, as it is told."""
        return expect(self.send("POST", MACHINES, {"name": name or new_name()}), 201).json()

    def machine(self, number):
        return expect(self.ask("GET", f"{MACHINES}/{number}"), 200).json()

    def machines(self):
        return expect(self.ask("GET", MACHINES), 200).json()

    def change(self, number, **members):
        return expect(self.send("PATCH", f"{MACHINES}/{number}", members), 200).json()

    def remove(self, number):
        expect_gone(self.send("DELETE", f"{MACHINES}/{number}"))

    def reset(self, number, query="", **headers):
        return self.send("POST", f"{MACHINES}/{number}/reset{query}", **headers)

    def start_work(self):
        """Takes a machine, which must be there: the reply's members."""
        return expect(self.ask("POST", START_WORK), 200).json()

    # --- products ---

    def add(self, stock=10, name=None, **members):
        """A new product, as it is told."""
        body = {"name": name or new_name("product"), "stock": stock, **members}
        return expect(self.send("POST", GOODS, body), 201).json()

    def goods(self):
        return expect(self.ask("GET", GOODS), 200).json()

    def good(self, number):
        """One of the list, or None."""
        return next((each for each in self.goods() if each["id"] == number), None)

    def set_stock(self, number, stock):
        return self.send("PATCH", f"{GOODS}/{number}/stock", {"stock": stock})

    def sku_of(self, name):
        """Under which the flash sale sells it."""
        return self.server.store.rows("SELECT sku FROM products WHERE product_name = ?", name)[0][0]
