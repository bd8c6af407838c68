# SPDX-License-Identifier: Apache-2.0
"""
`doorbuster verify` and vending machines: whatever users and operators do at once leaves a store in which no machine had
two holders, nobody was overtaken and no unit is lost; and the journal of a rush is held against it.
"""
import json
import random
import threading

import pytest

import wire
from machines import GOODS, MACHINES, START_WORK, Pool, new_name
from shop import new_user
from test_verify import HOLDS, VIOLATED, failed, run, verify

CHOOSE = "/api/orchestrator/choose-product"
QUEUE = "/api/orchestrator/queue"
ACTORS, STEPS = 6, 120
INVARIANTS = {"machines", "leases", "one-holder", "usage-count", "machine-sales", "tickets", "served-tickets",
    "nobody-overtaken", "line-moves"}


class Actor(threading.Thread):
    """A user and an operator in one, who does anything at any time; what is refused is refused."""

    def __init__(self, server, number):
        super().__init__()
        self.pool = Pool(server)
        self.random = random.Random(number)
        self.products = []
        self.tickets = []
        self.statuses = {}
        self.failure = None

    def send(self, method, target, body=None, **headers):
        reply = self.pool.send(method, target, body, **headers)
        self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
        assert reply.status < 500, reply
        return reply

    def machine(self):
        return self.random.randrange(1, 12)

    def product(self):
        return self.random.choice(self.products)["id"]

    def choose(self, machine, **more):
        units = self.random.choice((1, 1, 2, 3))
        self.send("POST", CHOOSE, {"machine_id": machine, "product_id": self.product(), "count": units, "coins": units,
            **more})

    def work(self):
        reply = self.send("POST", START_WORK, **self.random.choice(({}, {"Prefer": "wait=1"})))
        if reply.status == 200 and self.random.random() < 0.8:
            answer = reply.json()
            self.choose(answer["machine"]["id"], **self.random.choice(({}, {"lease": answer["lease"]})))

    def queue(self):
        reply = self.send("POST", QUEUE)
        if reply.status == 202:
            self.tickets.append(reply.header("location"))

    def ask(self):
        if self.tickets:
            self.send(self.random.choice(("GET", "GET", "DELETE")), self.random.choice(self.tickets))

    def operate(self):
        number = self.machine()
        self.random.choice((
            lambda: self.send("POST", f"{MACHINES}/{number}/reset"),
            lambda: self.send("PATCH", f"{MACHINES}/{number}", {"draining": self.random.random() < 0.5}),
            lambda: self.send("DELETE", f"{MACHINES}/{number}"),
            lambda: self.send("POST", MACHINES, {"name": new_name()}),
            lambda: self.send("PATCH", f"{GOODS}/{self.product()}/stock", {"stock": self.random.randrange(20)}),
        ))()

    def sell(self):
        """The same product by the flash sale: bought, or made anew, or gone."""
        product = self.random.choice(self.products)
        chance = self.random.random()
        if chance < 0.8:
            self.pool.buy(product["sku"], new_user())
        elif chance < 0.9:
            self.pool.create(self.pool.body(product["sku"], 9))
        else:
            self.pool.delete(product["sku"])

    def run(self):
        try:
            for _ in range(3):
                product = self.pool.add(self.random.randrange(30))
                self.products.append({**product, "sku": self.pool.sku_of(product["name"])})
            for _ in range(STEPS):
                self.random.choices((self.work, self.queue, self.ask, self.operate, self.sell), (8, 2, 2, 3, 1))[0]()
        except Exception as failure:  # told by the test
            self.failure = failure
        finally:
            self.pool.close()


@pytest.mark.seconds(240)
def test_whatever_users_and_operators_do_passes(start_server, tmp_path):
    """The rules break a promise, or the auditor cries wolf: beside a server at work, after a stop and after a kill."""
    settings = ["--net-threads", "2", "--dispense-time", "3ms", "--choose-timeout", "50ms", "--purchase-interval", "0s",
        "--ticket-timeout", "1s"]
    server = start_server(*settings)
    pool = Pool(server)
    for _ in range(3):
        pool.make()
    actors = [Actor(server, number) for number in range(ACTORS)]
    for actor in actors:
        actor.start()
    while any(actor.is_alive() for actor in actors):
        verify(server.store)
        actors[0].join(0.2)
    assert [actor.failure for actor in actors] == [None] * ACTORS
    report = tmp_path / "report.json"
    verify(server.store, "--report", report)
    data = json.loads(report.read_text())
    assert INVARIANTS <= {finding["invariant"] for finding in data["findings"]}
    assert data["leases"] > ACTORS and data["purchases"] > 0
    server.kill9()
    verify(server.store)
    again = start_server(*settings, on=server.store)
    verify(again.store)
    again.stop()
    verify(again.store)


def test_a_ladder_and_its_journal_agree_with_the_store(start_server, tmp_path):
    """What the crowd at machines was told and what is in the store differ, or the two sides read the journal
    differently."""
    server = start_server("--net-threads", "2", "--dispense-time", "10ms")
    journal = tmp_path / "rush.journal"
    rush = run("rush", "ladder", "--url", f"http://127.0.0.1:{server.port}", "--admin-key", "dev-admin-key-12345678",
        "--levels", "20,60", "--journal", journal)
    assert rush.returncode == HOLDS, rush.stdout + rush.stderr
    report = tmp_path / "report.json"
    verify(server.store, "--journal", journal, "--journal-complete", "--report", report)
    data = json.loads(report.read_text())
    names = {finding["invariant"] for finding in data["findings"]}
    assert INVARIANTS | {"leases-acknowledged", "choices-acknowledged", "vending-complete"} <= names
    assert data["verdict"] == "PASS" and data["answers"] >= 80 and data["acknowledged"] > 0
    server.stop()
    lease = next(line["lease"] for line in map(json.loads, journal.read_text().splitlines()[1:])
        if line["outcome"] == "acknowledged")
    server.store.spoil(f"DELETE FROM leases WHERE id = {lease}")
    result = verify(server.store, "--journal", journal, expect=VIOLATED)
    assert {"leases", "leases-acknowledged"} <= set(failed(result)), result.stdout
    assert f"lease {lease} of machine" in result.stdout and "is not in the store" in result.stdout


def test_no_client_can_pass_for_a_machine(start_server):
    """A client buys under the name of a machine, and with it as many units as it likes."""
    server = start_server("--net-threads", "2", "--purchase-interval", "0s")
    pool = Pool(server)
    sku = pool.sku_of(pool.add(5)["name"])
    user = new_user()
    replies = [wire.ask(server.port, "POST", "/api/v1/purchases", {"Content-Type": "application/json",
        "X-User-Id": name}, {"sku": sku}) for name in (" machine 1", "\t machine 1", f"  {user}")]
    assert all(reply.status in (200, 400, 409) for reply in replies), replies
    assert server.store.rows("SELECT count(*) FROM purchase_log WHERE user_id LIKE ' %'")[0][0] == 0
    verify(server.store)
    pool.close()
