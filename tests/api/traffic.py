# SPDX-License-Identifier: Apache-2.0
"""
Customers of the orders face who come steadily while something goes wrong behind it, and what must be true of them when
it is over: nobody is lost, nobody fails for it, and everybody is charged once who is to be.
"""
import threading

from ordering import SYNC, check_later, new_order_id, order
from outbox import figure

AT_ONCE_SECONDS = "0.05"
# For a provider that is away: no call of that time counts as an attempt, so one that did would fail its order.
IMPATIENT = ("--payment-attempts", "1", "--payment-slots-max", "50", "--sync-deadline", "5s")


class Traffic:
    """Customers of both kinds, from its making until stop(). Asynchronous ones are all taken; `acknowledged` is who
    they are. `replies` is what the others were told, as (order id, status)."""

    def __init__(self, orders_of, server):
        self.acknowledged, self.replies, self.problems = [], [], []
        self.over = threading.Event()
        queue, sync = orders_of(server), orders_of(server)
        self.threads = [threading.Thread(target=self.run, args=(step, pause), daemon=True)
            for step, pause in ((lambda: self.queue(queue), 0.02), (lambda: self.ask(sync), 0.05))]
        for thread in self.threads:
            thread.start()

    def run(self, step, pause):
        try:
            while not self.over.wait(pause):
                step()
        except Exception as problem:
            self.problems.append(problem)

    def queue(self, client):
        self.acknowledged.append(client.queue_well(order_id=new_order_id("async")))

    def ask(self, client):
        body = order(order_id=new_order_id("sync"))
        reply = client.sync(body)
        self.replies.append((body["order_id"], reply.status))
        if reply.status == 503:
            check_later(reply)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a customer hangs"
        assert self.problems == []


def refused_quickly(server):
    """(how many POST /orders/sync were answered 503, how many of them within 50 ms), by the server's own clock."""
    name = f'http_request_duration_seconds_%s{{method="POST",route="{SYNC}",status_code="503"'
    quick = f',le="{AT_ONCE_SECONDS}"}}'
    return figure(server, name % "count" + "}"), figure(server, name % "bucket" + quick)


def check_refused(server):
    """Who was refused was refused at once, by the server's own clock. On a machine that is busy with other things not
    everybody is, but what waits by design is never quick."""
    refused, quick = refused_quickly(server)
    assert refused >= 10 and quick > 0, (refused, quick)
    return f"{refused:.0f} customers refused, {quick:.0f} of them within {AT_ONCE_SECONDS} s"


def check_outage(bank, store, traffic):
    """Nothing was lost, nothing has failed, and everybody was charged once who was to be."""
    stored = dict(store.rows("SELECT order_id, status FROM orders"))
    assert {stored.get(order_id) for order_id in traffic.acknowledged} == {"completed"}
    assert set(stored.values()) <= {"completed", "cancelled"}, stored
    completed = {order_id for order_id, status in stored.items() if status == "completed"}
    assert completed == bank.charged()
    told = {status for _, status in traffic.replies}
    assert told <= {200, 503, 504}, told
    for order_id, status in traffic.replies:
        if status == 200:
            assert stored[order_id] == "completed"
        elif status == 503:
            assert stored.get(order_id) in (None, "cancelled"), (order_id, stored[order_id])
        else:
            assert stored[order_id] == "completed", "it was told that its payment is under way"
