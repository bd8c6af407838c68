# SPDX-License-Identifier: Apache-2.0
"""
Owners of wallets for crash tests, who go on spending and transferring whatever becomes of the servers; who was not
answered asks again with the same intent until he is. Each thing that one of them asks for is a Deed in the journal,
from before it is sent; the journal is the witness against the server (market_books.py).

    Deed         a registration, a credit or a signed intent, and what it came to
    MarketCrowd  owners, an admin who issues coins and puts rare things on sale, and newcomers; in a thread of its own
"""
import asyncio
import json
import random
import threading
import time
from collections import Counter as Tally

import wire
from intake import bearer
from market import (BALANCE, CHALLENGE, CREDITS, REGISTER, TRANSACT, VERIFY, Signer, jcs, new_account, new_nonce,
    new_spend, new_transfer)
from order_crowd import ANSWER_SECONDS, BROKEN, Counter, close
from server import ADMIN_KEY

ADMIN = {"X-Admin-Key": ADMIN_KEY}
PRODUCTS = "/api/products"
# What an intent can be refused for by somebody who has signed it well and in time.
REFUSALS = {(402, "INSUFFICIENT_FUNDS"), (409, "SOLD_OUT")}
AGE_MAX_S = 200  # an intent older than this is not sent again on purpose: it is good for 300 s only


class Deed:
    """`body` is the answer of a success, to the byte. Until it is there or `code`, a refusal, is, nobody knows."""

    def __init__(self, kind, key, nonce, asked, target, headers=None):
        self.kind, self.key, self.nonce, self.asked = kind, key, nonce, asked
        self.request = wire.build("POST", target, headers, asked)
        self.began = time.monotonic()
        self.body = self.code = None
        self.is_in_doubt = False  # an answer is missing

    @property
    def is_known(self):
        return self.body is not None or self.code is not None

    @property
    def data(self):
        return json.loads(self.body)["data"]

    def hear(self, reply):
        """Takes an answer; False when it must be asked again."""
        if reply is None or reply.status == 503:
            assert reply is None or reply.code in ("SERVICE_UNAVAILABLE", "OUTCOME_UNKNOWN"), reply
            self.is_in_doubt = self.is_in_doubt or reply is None or reply.code == "OUTCOME_UNKNOWN"
            return False
        if reply.status in (200, 201):
            assert self.body in (None, reply.body), f"{self}: first {self.body}, then {reply}"
            self.body = reply.body
            return True
        if self.kind == "register" and self.is_in_doubt and reply.code == "PUBLIC_KEY_TAKEN":
            self.body = reply.body  # it was made, and what it was told is lost
            return True
        assert (reply.status, reply.code) in REFUSALS and self.kind in ("spend", "transfer"), (str(self), reply)
        assert self.body is None, f"{self}: first {self.body}, then {reply}"
        self.code = reply.code
        return True

    def __str__(self):
        return f"{self.kind} {self.nonce} of {self.key}: {self.asked}"


class Owner:
    def __init__(self):
        self.signer = Signer()
        self.key, self.account = self.signer.public, None
        self.deeds = []  # his intents that were done

    def intend(self, intent):
        body = {"intent": intent, "public_key": self.key, "signature": self.signer.sign(jcs(intent))}
        return Deed(intent["action"], self.key, intent["nonce"], body, TRANSACT)


class Cut(Exception):
    """Nobody answers any more."""


class MarketCrowd:
    """`doors` is a list of servers that the test may change at any time, and that may be empty for a while."""

    def __init__(self, doors, seed, lanes=12):
        self.doors, self.dice, self.lanes = doors, random.Random(seed), lanes
        self.journal = []   # Deeds, as they were begun
        self.owners = []    # whose registration is known
        self.products = {}  # id: price in hundredths
        self.done, self.moved, self.spent = Counter(), Counter(), Counter()
        self.refused = Tally()
        self.is_closing = self.is_cut = False
        self.problem = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def finish(self, seconds=120.0):
        """Nothing new is begun; returns when everybody knows."""
        self.is_closing = True
        self.thread.join(seconds)
        is_late = self.thread.is_alive()
        self.is_cut = True
        self.thread.join(ANSWER_SECONDS + 20)
        self.check_alive()
        assert not is_late, f"after {seconds} s some still do not know"
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
        for name, price, stock in (("tea", 125, 10**6), ("gum", 1, 10**6), ("car", 10**9, 10**6)):
            await self.add_product(name, price, stock)
        for _ in range(self.lanes):
            await self.join()
        await asyncio.gather(self.admin(), self.newcomers(), *(self.live(owner) for owner in list(self.owners)))

    async def think(self, most):
        await asyncio.sleep(self.dice.uniform(0, most))  # pause: a person thinks

    # --- asking ---

    async def exchange(self, request):
        """The reply, None when it did not come."""
        streams = None
        try:
            doors = list(self.doors)
            if not doors:
                return None
            streams = await asyncio.open_connection("127.0.0.1", self.dice.choice(doors).port)
            reader, writer = streams
            writer.write(request)
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = wire.parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
                reply.body = await reader.readexactly(int(reply.header("content-length")))
            return reply
        except TimeoutError:
            raise AssertionError(f"no answer in {ANSWER_SECONDS} s to {request[:400]!r}") from None
        except BROKEN:
            return None
        finally:
            close(streams)

    async def settle(self, deed, at_once=1):
        """Until it is known what a deed has come to; sent so many times at the same moment."""
        self.journal.append(deed)
        while not deed.is_known:
            if self.is_cut:
                raise Cut
            replies = await asyncio.gather(*(self.exchange(deed.request) for _ in range(at_once)))
            # What one of them was refused for may have been over before the other one came.
            good = [reply for reply in replies if reply is not None and reply.status in (200, 201)]
            for reply in good or replies:
                deed.hear(reply)
            if not deed.is_known:
                await asyncio.sleep(self.dice.uniform(0.02, 0.06))  # pause: a patient client
        if deed.body is not None:
            self.done.add()
        else:
            self.refused[deed.code] += 1
        return deed.body is not None

    # --- owners ---

    async def join(self):
        owner = Owner()
        account = new_account(public_key=owner.key)
        await self.settle(Deed("register", owner.key, None, account, REGISTER))
        self.owners.append(owner)
        return owner

    async def live(self, owner):
        while not self.is_closing:
            fate = self.dice.random()
            if fate < 0.1 and owner.deeds:
                await self.repeat(self.dice.choice(owner.deeds[-20:]))
            elif fate < 0.6:
                await self.spend(owner)
            else:
                await self.send(owner)
            await self.think(0.05)

    async def spend(self, owner):
        product, price = self.dice.choice(list(self.products.items())[:3] + list(self.products.items())[-3:])
        amount = price // 100 if price % 100 == 0 else f"{price // 100}.{price % 100:02d}"
        deed = owner.intend(new_spend(product, amount))
        if await self.settle(deed, self.dice.choice((1, 1, 1, 2))):
            owner.deeds.append(deed)
            self.spent.add()

    async def send(self, owner):
        payee = self.dice.choice(self.owners)
        if payee is owner:
            return
        cents = self.dice.choice((1, 99, 350, 3000, 9000))
        deed = owner.intend(new_transfer(payee.key, f"{cents // 100}.{cents % 100:02d}"))
        if await self.settle(deed, self.dice.choice((1, 1, 1, 2))):
            owner.deeds.append(deed)
            self.moved.add()

    async def repeat(self, deed):
        """What is sent again is answered as it was, or not at all."""
        if time.monotonic() - deed.began < AGE_MAX_S:
            reply = await self.exchange(deed.request)
            is_same = reply is None or reply.status == 503 or (reply.status, reply.body) == (200, deed.body)
            assert is_same, (str(deed), reply)

    async def newcomers(self):
        while not self.is_closing:
            owner = await self.join()
            await self.send(owner)
            await self.spend(owner)
            await self.think(0.6)

    # --- the admin ---

    async def admin(self):
        serial = 0
        while not self.is_closing:
            serial += 1
            if serial % 5 == 0:
                await self.add_product(f"rare {serial}", 200, 3, is_patient=False)
            else:
                await self.credit(self.dice.choice(self.owners))
            await self.think(0.1)

    async def credit(self, owner):
        body = {"public_key": owner.key, "amount": self.dice.choice((1, 20, "0.05")), "reference": new_nonce()}
        await self.settle(Deed("credit", owner.key, body["reference"], body, CREDITS, ADMIN))

    async def add_product(self, name, price, stock, is_patient=True):
        """One of which nobody knows whether it is there is nobody's to buy."""
        while not self.is_cut:
            body = {"name": f"{name} {new_nonce()}", "stock": stock, "price": price / 100}
            reply = await self.exchange(wire.build("POST", PRODUCTS, ADMIN, body))
            if reply is not None and reply.status == 201:
                self.products[str(reply.json()["id"])] = price
                return
            assert reply is None or reply.status == 503, reply
            if not is_patient:
                return
            await self.think(0.1)

    # --- the end ---

    def log_in(self, door, owner):
        """His token, by a challenge."""
        challenge = wire.ask(door.port, "GET", f"{CHALLENGE}?public_key={owner.key}").json()["data"]
        body = {"public_key": owner.key, **challenge, "signature": owner.signer.sign(challenge["challenge"].encode())}
        reply = wire.ask(door.port, "POST", VERIFY, None, body)
        assert reply.status == 200, reply
        return reply.json()["data"]["token"]

    def balance_of(self, door, owner):
        reply = wire.ask(door.port, "GET", BALANCE, bearer(self.log_in(door, owner)))
        assert reply.status == 200, reply
        return round(reply.json()["data"]["balance"] * 100)
