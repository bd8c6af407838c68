# SPDX-License-Identifier: Apache-2.0
"""
A server with the wire of the vending machines (vending contract) and nothing behind it, and servers that break one
promise each. With them the load generator is shown to run against any server with that wire, to count right, and to
notice every broken promise. It is a strict host: a second request on a connection, or a start-work that looks otherwise
than the original client's, is answered 400.

    python3 fake_vending.py MODE [SECONDS]     prints its port, serves on 127.0.0.1 until it is killed

A machine dispenses for SECONDS (5).

    honest      keeps every promise; with Prefer: wait=N users stay in the line
    lease       tells the number of the lease besides
    crowded     lets nobody into the line: 503 with Retry-After
    keyed       wants the admin key "a-key-of-the-test" for all but the orchestrator
    invents     acknowledges sales and takes no stock
    takes       takes two units for each sale
    hang        never answers every tenth start-work
    closing     closes the connection instead of answering every tenth start-work
    error500    500 for every tenth start-work
    lost        404 for every tenth start-work
    nonsense    gives a machine without an id
    another     sells from another machine than the one that was asked
    sold_out    refuses every choice
    stuck       500 for every reset
    dumb        does not tell the stock once something was sold
    slow        thinks for 0.4 s about every start-work
    unfair      who came last to the line is served first
    early       machines dispense in half the time

With "kept-" before its name a server is no strict host: connections may be kept, and leases are told.
"""
import asyncio
import json
import sys

REASONS = {200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
           409: "Conflict", 422: "Unprocessable Content", 500: "Internal Server Error", 503: "Service Unavailable"}
BARE = {"content-length": "0", "content-type": "application/octet-stream"}
RETRY = {"Retry-After": "5"}
KEY = "a-key-of-the-test"
KEPT = "kept-"


class Hall:
    def __init__(self, mode, seconds):
        self.is_kept = mode.startswith(KEPT)
        self.mode = mode.removeprefix(KEPT)
        self.seconds = seconds / 2 if self.mode == "early" else seconds
        self.machines = {}
        self.products = {}
        self.next_id = 1
        self.leases = 0
        self.started = 0
        self.sold = 0
        self.line = []

    # ---- machines and products ----

    def make(self, items, item):
        number = self.next_id
        self.next_id += 1
        items[number] = {"id": number, **item}
        return 201, items[number], {}

    def make_product(self, wanted):
        if any(each["name"] == wanted["name"] for each in self.products.values()):
            return 400, {"message": "A product with this name already exists."}, {}
        return self.make(self.products, wanted)

    def list_products(self):
        if self.mode == "dumb" and self.sold > 0:
            return 500, {"error": "out of order"}, {}
        return 200, list(self.products.values()), {}

    def reset(self, number):
        machine = self.machines[number]
        if self.mode == "stuck":
            return 500, {"error": "out of order"}, {}
        if machine["status"] == "idle":
            return 409, {"error": "Machine is already idle."}, {}
        self.free(machine)
        return 200, {"message": "Machine has been reset to idle state.", "machine": machine}, {}

    # ---- the orchestrator ----

    def free(self, machine):
        machine["status"] = "idle"
        machine["turn"] += 1
        while self.line and machine["status"] == "idle":
            waiter = self.line.pop(-1 if self.mode == "unfair" else 0)
            if not waiter.done():
                waiter.set_result(self.give(machine))

    def complete(self, machine, turn):
        if self.machines.get(machine["id"]) is machine and machine["turn"] == turn:
            self.free(machine)

    def give(self, machine):
        machine["status"] = "choose_product"
        self.leases += 1
        told = {"message": "Machine selected and moved to choose_product state.", "machine": dict(machine)}
        if self.mode == "lease" or self.is_kept:
            told["lease"] = self.leases
        if self.mode == "nonsense":
            del told["machine"]["id"]
        return 200, told, {}

    async def start_work(self, headers):
        self.started += 1
        if self.started % 10 == 0:
            match self.mode:
                case "hang" | "closing":
                    return self.mode
                case "error500":
                    return 500, {"error": "out of order"}, {}
                case "lost":
                    return 404, {"error": "out of order"}, {}
        if self.mode == "slow":
            await asyncio.sleep(0.4)  # pause: how long it thinks
        idle = [each for each in self.machines.values() if each["status"] == "idle"]
        if idle:
            return self.give(idle[0])
        if "prefer" in headers:
            return await self.wait_in_line(float(headers["prefer"].removeprefix("wait=")))
        return 409, {"error": "No idle vending machine available."}, {}

    async def wait_in_line(self, seconds):
        if self.mode == "crowded":
            return 503, {"error": "As many wait as may."}, RETRY
        waiter = asyncio.get_running_loop().create_future()
        self.line.append(waiter)
        try:
            return await asyncio.wait_for(waiter, seconds)
        except asyncio.TimeoutError:
            return 409, {"error": "No idle vending machine available."}, RETRY

    def choose(self, wanted):
        machine = self.machines[wanted["machine_id"]]
        product = self.products[wanted["product_id"]]
        if (wanted["count"], wanted["coins"]) != (1, 1) or machine["status"] != "choose_product":
            return 422, {"error": "Machine is not in choose_product state."}, {}
        if self.mode == "sold_out" or product["stock"] == 0:
            return 422, {"error": "Insufficient stock. Available count: 0"}, {}
        product["stock"] -= {"invents": 0, "takes": 2}.get(self.mode, 1)
        self.sold += 1
        machine["status"] = "processing"
        asyncio.get_running_loop().call_later(self.seconds, self.complete, machine, machine["turn"])
        told = dict(machine, id=machine["id"] + (self.mode == "another"))
        return 200, {"message": "Product selected. Machine is now processing.", "machine": told,
                     "product": product}, {}

    async def answer(self, method, path, headers, body):
        wanted = json.loads(body) if body else None
        _, _, kind, *rest = path.split("/")
        if kind != "orchestrator" and self.mode == "keyed" and headers.get("x-admin-key") != KEY:
            return 401, {"error": "The key is wrong."}, {}
        match method, kind, rest:
            case "GET", "vending-machines", []:
                return 200, list(self.machines.values()), {}
            case "POST", "vending-machines", []:
                return self.make(self.machines, {"name": wanted["name"], "status": "idle", "turn": 0})
            case "POST", "vending-machines", [number, "reset"]:
                return self.reset(int(number))
            case "GET", "products", []:
                return self.list_products()
            case "POST", "products", []:
                return self.make_product(wanted)
            case "DELETE", _, [number]:
                (self.products if kind == "products" else self.machines).pop(int(number))
                return 204, None, {}
            case "POST", "orchestrator", ["start-work"]:
                if {name: headers.get(name) for name in BARE} != BARE or "connection" in headers or body:
                    return 400, {"error": f"not as the original client asks: {headers}"}, {}
                return await self.start_work(headers)
            case "POST", "orchestrator", ["choose-product"]:
                return self.choose(wanted)
        return 404, {"error": "not found"}, {}


async def read_request(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return method, path, headers, body


def write_answer(writer, status, body, more):
    text = b"" if body is None else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} {REASONS[status]}", *(f"{name}: {value}" for name, value in more.items())]
    if status != 204:
        head += ["Content-Type: application/json", f"Content-Length: {len(text)}"]
    writer.write(("\r\n".join(head) + "\r\n\r\n").encode() + text)


async def serve_connection(hall, reader, writer):
    try:
        answer = await hall.answer(*await read_request(reader))
        if answer == "hang":
            await reader.read()  # until the client gives up
        elif answer != "closing":
            write_answer(writer, *answer)
            await writer.drain()
            while hall.is_kept:
                write_answer(writer, *await hall.answer(*await read_request(reader)))
                await writer.drain()
            if await reader.read(1):
                write_answer(writer, 400, {"error": "a second request on a connection"}, {})
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(mode, seconds="5"):
    hall = Hall(mode, float(seconds))
    server = await asyncio.start_server(lambda reader, writer: serve_connection(hall, reader, writer), "127.0.0.1", 0,
                                        backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
