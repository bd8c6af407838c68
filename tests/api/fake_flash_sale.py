# SPDX-License-Identifier: Apache-2.0
"""
A server with the wire of the flash sale (flash-sale contract, sections 1 to 5) and nothing behind it, and servers
that break one promise each. With them the load generator is shown to run against any server with that wire, and
to notice every broken promise.

    python3 fake_flash_sale.py MODE     prints its port, serves on 127.0.0.1 until it is killed

    honest      keeps every promise, spelled by json.dumps
    compact     the same, spelled without blanks and with chunked replies
    oversell    sells five units more than there are, and admits it
    denied      sells five units more than there are, and denies it in its sums
    twice       lets the first buyers of each name through twice
    misser      loses the last unit: nobody gets it
    rude        answers 429 without a body
    code        refuses with a code that nobody knows
    nonsense    200 with a body that is no JSON for every tenth purchase
    error500    500 for every tenth purchase
    busy        503 for every tenth purchase
    hang        never answers every tenth purchase
    closing     closes the connection instead of answering every tenth purchase
    garbage     answers every tenth purchase with something that is not HTTP
    deaf        the product cannot be read afterwards
    lying       acknowledges every tenth refused purchase
    polls500    500 for every tenth poll
    oddpolls    more stock than there ever was in every tenth poll
    stall       stands still for half a second every second
    asleep      the sale never becomes active
    locked      refuses the admin key
    conflict    409 for the first POST of a product
    closes      closes every connection after one reply, without saying so beforehand
"""
import asyncio
import json
import sys
import time
from collections import defaultdict
from urllib.parse import parse_qs, urlsplit

ADMIN_KEY = "dev-admin-key-12345678"
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 409: "Conflict",
           429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}


class Sale:
    def __init__(self, sku, stock):
        self.sku = sku
        self.initial = stock
        self.stock = stock
        self.buyers = defaultdict(int)

    def state(self):
        return "ACTIVE" if self.stock > 0 else "ENDED"


class Shop:
    def __init__(self, mode):
        self.mode = mode
        self.sales = {}
        self.attempts = {}
        self.counts = defaultdict(int)
        self.purchase_number = 0

    def is_tenth(self, what):
        self.counts[what] += 1
        return self.counts[what] % 10 == 0

    @staticmethod
    def failure(code, message="No."):
        return {"success": False, "error": {"code": code, "message": message}}

    def success_of_purchase(self):
        self.purchase_number += 1
        return 200, {"success": True, "data": {"purchaseNo": f"PUR-20261120-{self.purchase_number:04}",
                                               "purchasedAt": "2026-11-20T23:48:01.620Z"}}

    def is_too_often(self, user):
        now = time.monotonic()
        last, self.attempts[user] = self.attempts.get(user), now
        return last is not None and now - last < 1.0

    def buy(self, sku, user):
        """(status, body), or a word for what is not HTTP: hang, close, garbage."""
        mode = self.mode
        odd = {"nonsense": (200, "so what"), "error500": (500, self.failure("INTERNAL_ERROR")),
               "busy": (503, self.failure("SERVICE_UNAVAILABLE")), "hang": "hang", "closing": "close",
               "garbage": "garbage"}
        if mode in odd and self.is_tenth("purchase"):
            return odd[mode]
        if self.is_too_often(user) and not (mode == "twice" and self.sales[sku].buyers[user] == 1):
            return (429, "") if mode == "rude" else (429, self.failure("RATE_LIMIT_EXCEEDED"))
        sale = self.sales.get(sku)
        extra = 5 if mode in ("oversell", "denied") else 0
        if sale is None or sale.stock + extra <= 0 or (mode == "misser" and sale.stock == 1):
            if mode == "lying" and self.is_tenth("refusal"):
                return self.success_of_purchase()
            return 200, self.failure("WHO_KNOWS" if mode == "code" else "SALE_NOT_ACTIVE")
        if sale.buyers[user] and not (mode == "twice" and sale.buyers[user] == 1):
            return 200, self.failure("ALREADY_PURCHASED")
        sale.buyers[user] += 1
        sale.stock -= 1
        return self.success_of_purchase()

    def look(self, sku):
        sale = self.sales.get(sku)
        if self.mode == "polls500" and sale and self.is_tenth("poll"):
            return 500, self.failure("INTERNAL_ERROR")
        if sale is None or self.mode == "asleep":
            return 200, {"success": True, "data": {"sku": sku, "state": "UPCOMING", "stock": 0, "initialStock": 0,
                                                   "productName": "", "startTime": "", "endTime": ""}}
        stock = max(sale.stock, 0)
        if self.mode == "oddpolls" and self.is_tenth("poll"):
            stock = sale.initial + 1
        return 200, {"success": True, "data": {"sku": sku, "state": sale.state(), "stock": stock,
                                               "initialStock": sale.initial, "productName": "Rush",
                                               "startTime": "1795218421000", "endTime": "1795220281000"}}

    def product(self, sku):
        sale = self.sales.get(sku)
        if sale is None or self.mode == "deaf":
            return 404, self.failure("NOT_FOUND")
        stock = max(sale.stock, 0) if self.mode == "denied" else sale.stock
        return 200, {"success": True, "data": {"sku": sku, "initialStock": sale.initial, "currentStock": stock,
                                               "totalPurchases": sale.initial - stock}}

    def make(self, body):
        if self.mode == "conflict" and self.is_first("make"):
            return 409, self.failure("CONFLICT")
        wanted = json.loads(body)
        self.sales[wanted["sku"]] = Sale(wanted["sku"], wanted["initialStock"])
        self.attempts.clear()
        return 201, {"success": True, "data": wanted}

    def is_first(self, what):
        self.counts[what] += 1
        return self.counts[what] == 1

    def answer(self, method, target, headers, body):
        url = urlsplit(target)
        if url.path.startswith("/api/v1/products") and (
                self.mode == "locked" or headers.get("x-admin-key") != ADMIN_KEY):
            return 401, self.failure("UNAUTHORIZED")
        if (method, url.path) == ("POST", "/api/v1/purchases"):
            return self.buy(json.loads(body)["sku"], headers["x-user-id"])
        if (method, url.path) == ("GET", "/api/v1/sales"):
            return self.look(parse_qs(url.query)["sku"][0])
        if (method, url.path) == ("POST", "/api/v1/products"):
            return self.make(body)
        sku = url.path.rsplit("/", 1)[1]
        if method == "DELETE":
            self.sales.pop(sku, None)
            return 200, {"success": True, "data": {"message": "gone"}}
        return self.product(sku)


class Connection(asyncio.Protocol):
    def __init__(self, shop):
        self.shop = shop
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        while self.take_request():
            pass

    def take_request(self):
        head, gap, rest = self.received.partition(b"\r\n\r\n")
        if not gap:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return False
        self.received = rest[length:]
        method, target, _ = first.split(" ")
        self.reply(self.shop.answer(method, target, headers, rest[:length]))
        return True

    def reply(self, answer):
        if answer == "hang":
            return
        if answer == "close":
            self.transport.close()
            return
        if answer == "garbage":
            self.transport.write(b"220 smtp.example.org ESMTP\r\n\r\n")
            return
        status, body = answer
        is_compact = self.shop.mode == "compact"
        text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":") if is_compact else None)
        data = text.encode()
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json; charset=utf-8\r\n"
        if is_compact:
            half = len(data) // 2
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:half], data[half:]) if part)
            self.transport.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        else:
            self.transport.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        if self.shop.mode == "closes":
            self.transport.close()


async def stand_still():
    """Half of every second, after the set-up has had time to happen."""
    while True:
        await asyncio.sleep(0.5)  # pause: how long it moves
        time.sleep(0.5)  # pause: how long it stands still


async def main(mode):
    shop = Shop(mode)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(shop), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    if mode == "stall":
        await stand_still()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
