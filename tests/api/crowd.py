# SPDX-License-Identifier: Apache-2.0
"""
A crowd of buyers for crash tests: each has one Idempotency-Key and one purchase to make, and keeps in a journal what
it was told. Whoever does not know what became of its request asks again, with the same key, until it knows. Nothing
is shared with `doorbuster rush`: the journal is the witness against the server.
"""
import asyncio
import random

import wire
from shop import LIMITED, NOT_ACTIVE, PURCHASED, PURCHASES

BROKEN = (OSError, asyncio.IncompleteReadError)


class Buyer:
    def __init__(self, user, sku):
        self.user = user
        self.request = wire.build("POST", PURCHASES,
            {"X-User-Id": user, "Idempotency-Key": f'"key-{user}-{sku}"'}, {"sku": sku})
        self.number = None      # acknowledged
        self.is_refused = False # told that it gets nothing
        self.unknown = 0        # attempts without an answer
        self.is_limited = False # the last answer: that it asks too often

    @property
    def knows(self):
        return self.number is not None or self.is_refused

    def hear(self, status, body):
        """Takes an answer; false when it must ask again."""
        text = body.decode("utf-8")
        self.is_limited = status == 429
        match = PURCHASED.fullmatch(text)
        if status == 200 and match:
            self.number = match[1]
        elif status == 200 and text == NOT_ACTIVE:
            self.is_refused = True
        elif (status == 429 and text == LIMITED) or status in (409, 503):
            return False
        else:
            raise AssertionError(f"{self.user} was told {status} {text}")
        return True

    async def ask(self, reader, writer):
        """One attempt on that connection; true when it now knows. Raises when the answer does not come."""
        writer.write(self.request)
        head = await reader.readuntil(b"\r\n\r\n")
        reply = wire.parse_head(head[:-4])
        return self.hear(reply.status, await reader.readexactly(int(reply.header("content-length"))))

    async def ask_once(self, port):
        """One attempt on a connection of its own."""
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            return await self.ask(reader, writer)
        except BROKEN:
            self.unknown += 1
            return False
        finally:
            if writer is not None:
                writer.close()


class Crowd:
    """Many buyers of one product; those of one lane share a connection, one after the other."""

    def __init__(self, sku, tag, lanes, buyers_per_lane):
        self.sku = sku
        self.lanes = [[Buyer(f"{tag}-{lane}-{index}", sku) for index in range(buyers_per_lane)]
            for lane in range(lanes)]
        self.buyers = [buyer for lane in self.lanes for buyer in lane]

    def rush(self, port, kill, answers, delay):
        """Everybody asks. After that many answers and `delay` seconds more, or when all have been served, `kill` is
        called. Returns when nobody waits any more."""
        left = answers
        reached = asyncio.Event()

        async def walk(lane, reader, writer):
            nonlocal left
            for buyer in lane:
                try:
                    await buyer.ask(reader, writer)
                except BROKEN:
                    buyer.unknown += 1
                    return
                left -= 1
                if left <= 0:
                    reached.set()

        async def run():
            pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in self.lanes]
            tasks = [asyncio.create_task(walk(lane, *pair)) for lane, pair in zip(self.lanes, pairs)]
            await asyncio.wait([asyncio.create_task(reached.wait()), asyncio.gather(*tasks)],
                return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(delay)  # pause: the random moment of the kill
            await asyncio.get_running_loop().run_in_executor(None, kill)
            await asyncio.gather(*tasks)
            for _, writer in pairs:
                writer.close()

        asyncio.run(run())

    def settle(self, port, seconds=30.0):
        """Who does not know asks again until he knows."""
        async def one(buyer):
            while not buyer.knows:
                if not await buyer.ask_once(port):
                    # pause: a patient client; who goes on asking too often is never let in
                    await asyncio.sleep(1.02 if buyer.is_limited else random.uniform(0.01, 0.05))

        async def walk(lane):
            for buyer in lane:
                await one(buyer)

        async def run():
            await asyncio.wait_for(asyncio.gather(*map(walk, self.lanes)), seconds)

        asyncio.run(run())

    def acknowledged(self):
        return {buyer.user: buyer.number for buyer in self.buyers if buyer.number is not None}
