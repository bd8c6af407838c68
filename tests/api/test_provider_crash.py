# SPDX-License-Identifier: Apache-2.0
"""
kill -9 at random moments while orders are pending, in payment and being told of, again and again on one store: one
server on an embedded store; two on a shared one, of which one lives on. Everybody who was told that his order was
taken finds it, every order comes to its end and is charged once at most, and everybody hears of it as one message.

    DOORBUSTER_CRASH_ROUNDS  how many rounds (20); script/crash-test N sets it
    DOORBUSTER_SEED          repeats a run's choices (the printed number); the races stay the machine's
"""
import os
import random
import threading
import time

import pytest

import wire
from ordering import ASYNC, SYNC, new_order_id, order
from outbox import Bank, Hook, audit, check_webhook, order_of, start_paying, start_receiver, wait_settled
from test_http_hostile import seed

__all__ = ["start_paying", "start_receiver"]  # fixtures

ROUNDS = int(os.environ.get("DOORBUSTER_CRASH_ROUNDS", "20"))
FINAL = ("completed", "failed", "cancelled")


def chance(word, key):
    """A number from 0 to 1 that is always the same for this word and key."""
    return random.Random(f"{word} {key}").random()


def decide(failed):
    """A bank that declines some, and fails once for some others."""
    lock = threading.Lock()

    def answer(post):
        if chance("decline", post.key) < 0.1:
            return 402
        with lock:
            is_first = post.key not in failed
            failed.add(post.key)
        return 503 if is_first and chance("fail", post.key) < 0.1 else 200

    return answer


class Crowd:
    """Customers of one server until it is gone. `told` is what they know: order id and what was said of it."""

    def __init__(self, server, told):
        self.port, self.told = server.port, told
        self.count = 0
        self.problems = []
        self.threads = [threading.Thread(target=self.run, args=(path,), daemon=True) for path in (ASYNC, ASYNC, SYNC)]
        for thread in self.threads:
            thread.start()

    def run(self, path):
        try:
            with wire.Connection(self.port) as connection:
                while True:
                    self.ask(connection, path)
        except (OSError, wire.Closed):
            pass  # the server was killed
        except Exception as problem:
            self.problems.append(problem)

    def ask(self, connection, path):
        order_id = new_order_id("kill")
        reply = connection.ask("POST", path, body=order(order_id=order_id))
        assert reply.status in (202, 200, 402, 503, 504), reply
        if reply.status == 503 and "not known" in reply.text:
            return  # and so we know nothing
        status = {202: "taken", 504: "taken", 200: "completed", 402: "failed", 503: "refused"}[reply.status]
        self.told[order_id] = status
        self.count += status != "refused"
        time.sleep(0.005)  # pause: a customer who comes again after a moment

    def join(self):
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a customer of a killed server hangs"
        assert self.problems == []


def check_told(store, told, is_over=False):
    """The store has what customers were told; when it is over, with an end."""
    known = list(told.copy().items())  # before the store is looked at: another server goes on
    stored = dict(store.rows("SELECT order_id, status FROM orders"))
    for order_id, said in known:
        if said == "refused":
            assert stored.get(order_id) in (None, "cancelled"), (order_id, stored[order_id])
        elif said == "taken":
            assert order_id in stored and stored[order_id] != "cancelled", (order_id, stored.get(order_id))
            assert not is_over or stored[order_id] in FINAL, (order_id, stored[order_id])
        else:
            assert stored.get(order_id) == said, (order_id, said, stored.get(order_id))
    return stored


def check_heard(hook, stored):
    """The shop was told of every end as it is, in one message for each."""
    ids = {}
    for post in hook.received():
        order_id, event = order_of(post), check_webhook(post)
        assert event["data"]["status"] == stored[order_id], event
        ids.setdefault(order_id, set()).add(post.headers["webhook-id"])
    told_of = {order_id for order_id, status in stored.items() if status in ("completed", "failed")}
    assert set(ids) == told_of
    assert all(len(messages) == 1 for messages in ids.values())
    assert len(set().union(*ids.values())) == len(ids)
    return len(hook.received()) - len(ids)


@pytest.mark.seconds(180 + 15 * ROUNDS)
def test_kill_at_any_moment_loses_and_doubles_nothing(start_paying, start_receiver, store_kind):
    """After kill -9 an order that was taken is lost or never ends, somebody is charged twice or for nothing, or an
    end is not told. Repeat with DOORBUSTER_SEED=<the printed number>."""
    number = seed()
    dice = random.Random(number)
    print(f"DOORBUSTER_SEED={number}, {ROUNDS} rounds")
    slow = threading.Event()  # never set
    bank = start_receiver(Bank(decide=decide(set()), after=lambda post: slow.wait(0.1 * chance("bank", post.key))))
    hook = Hook()
    hook.answer = lambda post: 200 if slow.wait(0.2 * chance("hook", order_of(post)) ** 3) else 200
    start_receiver(hook)
    flags = (*bank.flags(timeout="2s"), *hook.flags()[:-1], "--sync-deadline", "4s")
    first = start_paying(*flags)
    store, told = first.store, {}
    servers = [first] + ([start_paying(*flags, on=store)] if store.kind == "postgres" else [])
    crowds = [Crowd(server, told) for server in servers]
    for turn in range(1, ROUNDS + 1):
        victim = dice.randrange(len(servers))
        wanted = crowds[victim].count + dice.randrange(1, 60)
        wire.wait_for(lambda: crowds[victim].count >= wanted, f"round {turn}: orders come", 60, pause=0.001)
        slow.wait(dice.uniform(0, 0.05))
        servers[victim].kill9()
        crowds[victim].join()
        audit(store)
        statuses = list(check_told(store, told).values())
        print(f"round {turn}: killed with {statuses.count('pending')} pending, {statuses.count('processing')} in"
            f" payment, {store.rows('SELECT count(*) FROM notifications WHERE delivered_at IS NULL')[0][0]} to tell")
        servers[victim] = start_paying(*flags, on=store)
        crowds[victim] = Crowd(servers[victim], told)
    wire.wait_for(lambda: crowds[0].count >= 20, "the last ones are served too", 60)
    for server in servers[1:] + servers[:1]:
        server.kill9()  # the customers go with it
    for crowd in crowds:
        crowd.join()
    start_paying(*flags, on=store)
    wait_settled(store, 120)
    stored = check_told(store, told, is_over=True)
    assert set(stored.values()) <= set(FINAL), stored
    charged = {order_id for order_id, status in stored.items() if status == "completed"}
    assert charged == bank.charged()
    for post in bank.received():
        assert post.key == post.json()["order_id"] and stored[post.key] != "cancelled", post.key
    again = check_heard(hook, stored)
    print(f"{len(stored)} orders, {len(charged)} charged, {len(bank.received()) - len(bank.outcomes)} calls and"
        f" {again} webhooks repeated")
