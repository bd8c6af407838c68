# SPDX-License-Identifier: Apache-2.0
"""
A server with the wire of orders with slow payment and of the intake (orders and order-intake contracts) and nothing
behind it, and servers that break one promise each. With them the load generator is shown to run against any server
with that wire, to count right, and to notice every broken promise.

    python3 fake_orders.py MODE [SECONDS [SLOTS]]     prints its port, serves on 127.0.0.1 until it is killed

A payment takes SECONDS (0.05), SLOTS (1000) of them at a time.

    honest      keeps every promise
    choosy      keeps every promise; refuses synchronous orders that would wait for a slot, with Retry-After 2
    declining   declines every tenth payment
    full        refuses every tenth asynchronous order with Retry-After 7
    blunt       refuses every tenth order without Retry-After
    dated       refuses every tenth order with a Retry-After that is a date
    gateway     504 for every tenth order
    hang        never answers every tenth order
    mute        never answers an order
    closing     closes the connection instead of answering every tenth order
    error500    500 for every tenth order
    invalid     400 for every tenth order
    another     every tenth answer is of another order
    unpaid      every tenth 200 says that the order is pending, every tenth 202 that it is completed
    loses       acknowledges every tenth order and forgets it
    twice       stores every tenth order twice
    stuck       never pays asynchronous orders
    silent      has no /stats
    slow        thinks for 0.2 s about each order of the intake
    repeats     gives every tenth order of the intake the number of the one before
    swaps       answers every tenth order of the intake with the other side
    expired     401 for every tenth order of the intake
    taken       refuses to register anybody
    spaced      spells the intake's JSON with blanks and id last
"""
import asyncio
import json
import sys
import uuid
from collections import Counter

REASONS = {200: "OK", 201: "Created", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized",
           402: "Payment Required", 404: "Not Found", 409: "Conflict", 422: "Unprocessable Content",
           500: "Internal Server Error", 503: "Service Unavailable", 504: "Gateway Timeout"}


class Shop:
    def __init__(self, mode, seconds, slots):
        self.mode = mode
        self.seconds = seconds
        self.slots = asyncio.Semaphore(slots)
        self.states = Counter()
        self.counts = Counter()
        self.orders = {}
        self.customers = set()
        self.users = {}
        self.last_number = ""
        self.tasks = set()

    def is_tenth(self, what):
        self.counts[what] += 1
        return self.counts[what] % 10 == 0

    def move(self, before, after):
        self.states[before] -= 1
        self.states[after] += 1

    # ---- orders with slow payment ----

    def odd(self):
        """What a broken server answers to every tenth order instead; None: it is not broken that way."""
        odd = {"blunt": (503, {"status": 503}, {}), "gateway": (504, {"error": "late"}, {}), "hang": "hang",
               "dated": (503, {"status": 503}, {"Retry-After": "Fri, 20 Nov 2026 23:48:01 GMT"}),
               "closing": "close", "error500": (500, {"error": "oops"}, {}),
               "invalid": (400, "Invalid request body", {})}
        if self.mode == "mute":
            return "hang"
        return odd[self.mode] if self.mode in odd and self.is_tenth("odd") else None

    def store(self, order):
        if self.mode == "loses" and self.is_tenth("loses"):
            return
        times = 2 if self.mode == "twice" and self.is_tenth("twice") else 1
        assert order["order_id"] not in self.orders, "the crowd uses a number twice"
        assert 1 <= len(order["items"]) <= 3 and isinstance(order["customer_id"], int)
        self.orders[order["order_id"]] = order
        self.customers.add(order["customer_id"])
        self.states["pending"] += times

    async def pay(self, order):
        async with self.slots:
            self.move("pending", "processing")
            await asyncio.sleep(self.seconds)  # pause: how long the payment takes
            is_declined = self.mode == "declining" and self.is_tenth("payment")
            self.move("processing", "failed" if is_declined else "completed")
        return not is_declined

    def number_of(self, order):
        return "somebody-else" if self.mode == "another" and self.is_tenth("another") else order["order_id"]

    async def order_sync(self, body):
        order = json.loads(body)
        if self.mode == "choosy" and self.slots.locked():
            return 503, {"status": 503, "title": "no payment in time"}, {"Retry-After": "2"}
        odd = self.odd()
        if odd is not None:
            return odd
        self.store(order)
        number = self.number_of(order)
        if not await self.pay(order):
            return 402, {"duration": 0.1, "error": f"payment declined for order {number}", "order_id": number,
                         "status": "failed"}, {}
        status = "pending" if self.mode == "unpaid" and self.is_tenth("unpaid") else "completed"
        return 200, {"duration": 0.1, "message": "Order processed successfully", "order_id": number,
                     "status": status}, {}

    async def order_async(self, body):
        order = json.loads(body)
        if self.mode == "full" and self.is_tenth("full"):
            return 503, {"status": 503, "title": "the queue is full"}, {"Retry-After": "7"}
        odd = self.odd()
        if odd is not None:
            return odd
        self.store(order)
        if self.mode not in ("stuck", "loses"):
            task = asyncio.ensure_future(self.pay(order))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif self.mode == "loses" and order["order_id"] in self.orders:
            self.move("pending", "completed")
        number = self.number_of(order)
        status = "completed" if self.mode == "unpaid" and self.is_tenth("unpaid") else "pending"
        return 202, {"order_id": number, "status": status, "message": "Order received and queued for processing",
                     "duration": 0.001}, {"Location": f"/orders/{number}"}

    def stats(self):
        if self.mode == "silent":
            return 404, {"error": "not found"}, {}
        states = {name: self.states[name] for name in ("completed", "failed", "pending", "processing")}
        return 200, {"payments_failed": states["failed"], "payments_processed": states["completed"],
                     "status_breakdown": states, "throughput_limit": "none",
                     "total_orders": sum(states.values())}, {}

    # ---- intake ----

    def register(self, body):
        wanted = json.loads(body)
        if self.mode == "taken" or wanted["username"] in self.users or len(wanted["password"]) < 8:
            return 409, {"detail": "taken"}, {}
        token = f"token.{uuid.uuid4().hex}"
        self.users[wanted["username"]] = token
        return 201, {"access_token": token, "refresh_token": "r", "token_type": "bearer",
                     "user": {"id": str(uuid.uuid4()), "username": wanted["username"], "email": wanted["email"]}}, {}

    async def take_in(self, body, headers):
        wanted = json.loads(body)
        token = headers.get("authorization", "").removeprefix("Bearer ")
        assert (wanted["symbol"], wanted["quantity"], wanted["price"]) == ("AAPL", 100.0, 150.0)
        assert wanted["side"] != self.orders.get(token, "SELL"), "the client alternates, beginning with BUY"
        self.orders[token] = wanted["side"]
        if token not in self.users.values() or (self.mode == "expired" and self.is_tenth("expired")):
            return 401, {"detail": "no"}, {}
        if self.mode == "slow":
            await asyncio.sleep(0.2)  # pause: how long it thinks
        number = str(uuid.uuid4())
        if self.mode == "repeats" and self.is_tenth("repeats"):
            number = self.last_number
        self.last_number = number
        if self.mode == "swaps" and self.is_tenth("swaps"):
            wanted["side"] = "BUY" if wanted["side"] == "SELL" else "SELL"
        answer = {"id": number, "user_id": str(uuid.uuid4()), **wanted, "status": "QUEUED"}
        if self.mode == "spaced":
            answer["id"] = answer.pop("id")
        return 201, answer, {}

    async def answer(self, method, path, headers, body):
        if (method, path) == ("POST", "/orders/sync"):
            return await self.order_sync(body)
        if (method, path) == ("POST", "/orders/async"):
            return await self.order_async(body)
        if (method, path) == ("GET", "/stats"):
            return self.stats()
        if (method, path) == ("POST", "/api/auth/register"):
            return self.register(body)
        if (method, path) == ("POST", "/api/orders"):
            return await self.take_in(body, headers)
        return 404, {"error": "not found"}, {}


async def read_request(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return method, path, headers, body


def write_answer(writer, mode, answer):
    status, body, more = answer
    is_compact = mode != "spaced"
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":") if is_compact else None)
    head = [f"HTTP/1.1 {status} {REASONS[status]}", "Content-Type: application/json",
            f"Content-Length: {len(text.encode())}", *(f"{name}: {value}" for name, value in more.items())]
    writer.write(("\r\n".join(head) + "\r\n\r\n" + text).encode())


async def serve_connection(shop, reader, writer):
    try:
        while True:
            answer = await shop.answer(*await read_request(reader))
            if answer == "close":
                break
            if answer == "hang":
                await reader.read()  # until the client gives up
                break
            write_answer(writer, shop.mode, answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(mode, seconds="0.05", slots="1000"):
    shop = Shop(mode, float(seconds), int(slots))
    server = await asyncio.start_server(lambda reader, writer: serve_connection(shop, reader, writer), "127.0.0.1", 0,
                                        backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
