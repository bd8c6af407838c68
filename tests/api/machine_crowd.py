# SPDX-License-Identifier: Apache-2.0
"""
Users of vending machines, and who looks after the machines, for crash tests: they go on whatever becomes of the
servers. Each thing that one of them asks for is an Act in the journal, from before it is sent; the journal is the
witness against the server (machine_books.py).

    Journal       what was asked for, and what it came to
    MachineCrowd  users with and without Prefer: wait, users with tickets, and one who adds, drains, resets and removes
                  machines and refills products; in a thread of its own
"""
import asyncio
import random
import threading
from dataclasses import dataclass

import wire
from order_crowd import BROKEN, Counter, close
from server import ADMIN_KEY

START, CHOOSE, QUEUE = "/api/orchestrator/start-work", "/api/orchestrator/choose-product", "/api/orchestrator/queue"
MACHINES, PRODUCTS = "/api/vending-machines", "/api/products"
ADMIN = {"X-Admin-Key": ADMIN_KEY}
ANSWER_SECONDS = 60.0
WAIT_SECONDS = 6
MACHINES_FIRST, MACHINES_MOST, OPEN_LEAST = 7, 9, 3


@dataclass(eq=False)
class Act:
    """Done: True; refused, and then nothing has changed: False; not known, perhaps for ever: None. What it was
    answered is filled in before it is done, and never changes after."""
    kind: str
    machine: int = 0
    lease: int = 0  # 0: whichever
    product: int = 0
    units: int = 0
    ticket: int = 0
    value: object = None
    is_done: bool | None = None


class Journal:
    """Acts in the order in which they were begun. One thread writes; anybody reads."""

    def __init__(self):
        self.acts = []

    def begin(self, kind, **asked):
        self.acts.append(Act(kind, **asked))
        return self.acts[-1]

    def done(self):
        return [act for act in list(self.acts) if act.is_done]

    def possible(self):
        return [act for act in list(self.acts) if act.is_done is not False]


class Cut(Exception):
    """Nobody answers any more."""


class MachineCrowd:
    """`doors` is a list of servers that the test may change at any time, and that may be empty for a while."""

    def __init__(self, doors, seed, users=4, waiters=5, holders=7):
        self.doors, self.dice = doors, random.Random(seed)
        self.counts = {"user": users, "waiter": waiters, "holder": holders}
        self.journal = Journal()
        self.holders = {}   # lease: whom it was told to
        self.machines = {}  # id: is it draining? Those that were not removed
        self.products, self.spare = [], 0
        self.told, self.chosen, self.joined = Counter(), Counter(), Counter()
        self.is_closing = self.is_cut = False
        self.problem = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def finish(self, seconds=120.0):
        """Nobody new comes; returns when all have gone."""
        self.is_closing = True
        self.thread.join(seconds)
        is_late = self.thread.is_alive()
        self.is_cut = True
        self.thread.join(ANSWER_SECONDS + 20)
        self.check_alive()
        assert not is_late, f"after {seconds} s some still wait for a machine"
        return self

    def check_alive(self):
        if self.problem is not None:
            raise self.problem

    # --- the thread ---

    def run(self):
        try:
            asyncio.run(self.everybody())
        except Cut:
            pass
        except BaseException as problem:
            self.problem = problem

    async def everybody(self):
        for _ in range(MACHINES_FIRST):
            await self.add_machine()
        for name, stock in (("cola", 40), ("chips", 500), ("gum", 10**6), ("spare", 1)):
            await self.add_product(name, stock)
        self.spare = self.products.pop()
        lanes = [getattr(self, kind)(f"{kind} {lane}") for kind, count in self.counts.items() for lane in range(count)]
        await asyncio.gather(self.caretaker(), *lanes)

    async def think(self, most):
        await asyncio.sleep(self.dice.uniform(0, most))  # pause: a person thinks

    # --- asking ---

    async def open(self):
        while not self.is_cut:
            doors = list(self.doors)
            try:
                if doors:
                    return await asyncio.open_connection("127.0.0.1", self.dice.choice(doors).port)
            except OSError:
                pass
            await asyncio.sleep(0.02)  # pause: until a server is there again
        raise Cut

    async def exchange(self, act, request):
        """The reply, None when it did not come. `act` is in the journal before anything is sent."""
        streams = await self.open()
        try:
            reader, writer = streams
            writer.write(request)
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await read_head(reader)
                while reply.status == 102:
                    reply = await read_head(reader)
                reply.body = b""
                if reply.status != 204:
                    reply.body = await reader.readexactly(int(reply.header("content-length")))
            return reply
        except TimeoutError:
            raise AssertionError(f"no answer in {ANSWER_SECONDS} s to {act}") from None
        except BROKEN:
            return None
        finally:
            close(streams)

    async def ask(self, act, method, target, body=None, headers=None):
        """The reply of a success, which the caller notes; else None: the act was refused, or it is not known."""
        reply = await self.exchange(act, wire.build(method, target, headers, body))
        if reply is None or reply.status == 503:
            return None
        if reply.status in (404, 409, 422):
            act.is_done = False
            return None
        assert reply.status in (200, 201, 202, 204), (act, reply)
        return reply

    def hold(self, who, machine, lease, ticket=0):
        """A lease was told to somebody; to him alone."""
        known = self.holders.setdefault(lease, who)
        assert known == who, f"lease {lease} of machine {machine['id']} was told to {known}, and to {who}"
        act = Act("hold", machine=machine["id"], lease=lease, ticket=ticket, is_done=True)
        self.journal.acts.append(act)
        self.told.add()
        return act

    # --- users ---

    async def take(self, who, headers=None, seconds=None):
        """Somebody comes, and goes again when that many seconds are over; the lease, or None."""
        act = self.journal.begin("take")
        try:
            async with asyncio.timeout(seconds):
                reply = await self.ask(act, "POST", START, headers=headers)
        except TimeoutError:
            return None
        if reply is None:
            return None
        said = reply.json()
        lease = self.hold(who, said["machine"], said["lease"])
        act.is_done = True
        return lease

    async def user(self, who):
        serial = 0
        while not self.is_closing:
            serial += 1
            lease = await self.take(f"{who}, {serial}")
            if lease is not None:
                await self.use(lease)
            await self.think(0.15)

    async def waiter(self, who):
        serial = 0
        while not self.is_closing:
            serial += 1
            vanishes = self.dice.random() < 0.15
            lease = await self.take(f"{who}, {serial}", {"Prefer": f"wait={WAIT_SECONDS}"},
                self.dice.uniform(0, 0.6) if vanishes else None)
            if lease is not None:
                await self.use(lease)
            await self.think(0.1)

    async def holder(self, who):
        """With a ticket, which he asks for until he has a machine; now and then he leaves, also with the machine."""
        serial = 0
        while not self.is_closing:
            serial += 1
            act = self.journal.begin("queue")
            reply = await self.ask(act, "POST", QUEUE)
            if reply is not None:
                name = reply.json()["ticket"]
                act.ticket, act.is_done = int(name.split("-")[0]), True
                self.joined.add()
                await self.stay(f"{who}, {serial}", act.ticket, f"{QUEUE}/{name}")
            await self.think(0.1)

    async def stay(self, who, ticket, place):
        has_left = False
        while not has_left:
            reply = await self.exchange("a ticket", wire.build("GET", place))
            assert reply is None or reply.status in (200, 503), f"ticket {ticket}: {reply}"
            said = reply.json() if reply is not None and reply.status == 200 else {"status": None}
            if said["status"] == "served" and said["machine"] is not None:
                lease = self.hold(who, said["machine"], said["lease"], ticket)
                if self.dice.random() < 0.1:
                    await self.leave(ticket, place)
                else:
                    await self.use(lease)
            if said["status"] not in (None, "waiting"):
                return
            if said["status"] == "waiting" and self.dice.random() < 0.02:
                has_left = await self.leave(ticket, place)
            await asyncio.sleep(self.dice.uniform(0.03, 0.12))  # pause: between two polls

    async def leave(self, ticket, place):
        act = self.journal.begin("leave", ticket=ticket)
        if await self.ask(act, "DELETE", place) is not None:
            act.is_done = True
        return act.is_done

    async def use(self, lease):
        """What one does with a machine."""
        await self.think(0.15)
        fate = self.dice.random()
        if fate < 0.76:
            await self.choose(lease, has_lease=self.dice.random() < 0.85)
        elif fate < 0.84:
            twice = await asyncio.gather(self.choose(lease), self.choose(lease))
            assert twice != [True, True], f"{lease} was chosen with twice"
        elif fate < 0.94:
            await self.reset(lease.machine, lease.lease if self.dice.random() < 0.6 else 0)
        if fate < 0.2:  # somebody who does not know that he is done
            await self.think(1.0)
            await (self.reset(lease.machine, lease.lease) if fate < 0.1 else self.choose(lease))

    async def choose(self, lease, has_lease=True):
        act = self.journal.begin("choose", machine=lease.machine, lease=lease.lease if has_lease else 0,
            product=self.dice.choice(self.products), units=self.dice.choice((1, 1, 1, 2, 3, 7)))
        body = {"machine_id": act.machine, "product_id": act.product, "count": act.units, "coins": act.units}
        if has_lease:
            body["lease"] = act.lease
        reply = await self.ask(act, "POST", CHOOSE, body)
        if reply is not None:
            act.is_done = True
            self.chosen.add()
        return act.is_done

    # --- who looks after the machines ---

    async def caretaker(self):
        duties = (self.add_machine, self.remove_machine, self.drain, self.drain, self.refill, self.refill,
            self.set_spare, self.set_spare, self.reset_any)
        while not self.is_closing:
            await self.dice.choice(duties)()
            await self.think(0.15)

    async def add_machine(self):
        if len(self.machines) >= MACHINES_MOST:
            return
        act = self.journal.begin("add")
        reply = await self.ask(act, "POST", MACHINES, {"name": "in the hall"}, ADMIN)
        if reply is not None:
            act.machine, act.is_done = reply.json()["id"], True
            self.machines[act.machine] = False

    async def add_product(self, name, stock):
        reply = await self.ask(self.journal.begin("product"), "POST", PRODUCTS, {"name": name, "stock": stock}, ADMIN)
        self.products.append(reply.json()["id"])

    def open_machines(self):
        return [machine for machine, is_draining in self.machines.items() if not is_draining]

    async def remove_machine(self):
        machine = self.dice.choice(list(self.machines))
        if len(set(self.open_machines()) - {machine}) < OPEN_LEAST:
            return
        del self.machines[machine]
        act = self.journal.begin("remove", machine=machine)
        if await self.ask(act, "DELETE", f"{MACHINES}/{machine}", headers=ADMIN) is not None:
            act.is_done = True

    async def drain(self):
        is_draining = len(self.open_machines()) > OPEN_LEAST and self.dice.random() < 0.4
        machine = self.dice.choice(self.open_machines() if is_draining else list(self.machines))
        act = self.journal.begin("drain", machine=machine, value=int(is_draining))
        self.machines[machine] = True  # unless it is known: so there are always some that take somebody
        if await self.ask(act, "PATCH", f"{MACHINES}/{machine}", {"draining": is_draining}, ADMIN) is not None:
            self.machines[machine], act.is_done = is_draining, True

    async def set_stock(self, kind, product, stock):
        act = self.journal.begin(kind, product=product, value=stock)
        reply = await self.ask(act, "PATCH", f"{PRODUCTS}/{product}/stock", {"stock": stock}, ADMIN)
        if reply is not None:
            assert reply.json()["stock"] == stock, (act, reply)
            act.is_done = True

    async def refill(self):
        await self.set_stock("refill", self.products[0], self.dice.choice((0, 3, 40)))

    async def set_spare(self):
        await self.set_stock("spare", self.spare, len(self.journal.acts))

    async def reset_any(self):
        await self.reset(self.dice.choice(list(self.machines)), 0)

    async def reset(self, machine, lease):
        act = self.journal.begin("reset", machine=machine, lease=lease)
        query = f"?lease={lease}" if lease else ""
        if await self.ask(act, "POST", f"{MACHINES}/{machine}/reset{query}", headers=ADMIN) is not None:
            act.is_done = True


async def read_head(reader):
    return wire.parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
