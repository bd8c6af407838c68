# SPDX-License-Identifier: Apache-2.0
"""Orders contract: /stats, /health, readiness, metrics, and the admin's dead letters."""
import json
import re

import pytest

import wire
from ordering import FINAL, SYNC, check_later, check_problem, held, new_order_id, order, with_provider
from shop import UNAUTHORIZED, clock_doubt_ms, ms_of, now_ms
from test_orders_waiting import SLOW

ORIGINALS = ["payments_failed", "payments_processed", "status_breakdown", "throughput_limit", "total_orders"]
BREAKDOWN = ["completed", "failed", "pending", "processing"]
OURS = {"orders_cancelled", "queue_depth", "oldest_pending_seconds", "workers", "payments_in_flight",
    "payment_seconds", "breaker"}
LETTERS = "/admin/dead-letters"
# Nobody listens there (RFC 863), so nothing is delivered.
NOBODY = "http://127.0.0.1:9/hook"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


# --- GET /stats ---

def test_stats_have_the_originals_members(start_server, orders_of):
    """/stats has other members than the original's, in another order or of other types."""
    orders = orders_of(start_server())
    reply = orders.ask("GET", "/stats")
    assert reply.status == 200 and reply.header("content-type") == "application/json", reply
    stats = reply.json()
    assert list(stats)[:5] == ORIGINALS and set(stats) == {*ORIGINALS, *OURS}
    assert list(stats["status_breakdown"]) == BREAKDOWN
    assert isinstance(stats["throughput_limit"], str) and stats["throughput_limit"]
    assert stats["total_orders"] == stats["payments_processed"] == stats["payments_failed"] == 0
    assert stats["breaker"] == "closed" and stats["workers"] == 16 and stats["payment_seconds"] == 3


def test_stats_count_every_order(start_server, orders_of):
    """/stats does not count what the store has."""
    orders = orders_of(start_server("--payment-time", "20ms", "--payment-decline-rate", "0.5"))
    ids = [orders.queue_well() for _ in range(40)]
    replies = [orders.sync(order()) for _ in range(5)]
    for order_id in ids:
        orders.wait_status(order_id, *FINAL)
    rows = dict(orders.server.store.rows("SELECT status, count(*) FROM orders GROUP BY status"))
    assert sum(rows.values()) == 45 and set(rows) == {"completed", "failed"}, rows
    assert sum(reply.status == 200 for reply in replies) <= rows["completed"]
    stats = wire.wait_for(
        lambda: (stats := orders.stats())["payments_processed"] == rows["completed"] and stats, "all are told")
    assert stats["payments_failed"] == rows["failed"] and stats["total_orders"] == 45
    assert stats["status_breakdown"] == {"pending": 0, "processing": 0, **rows}


def test_stats_tell_what_waits(start_server, orders_of):
    """/stats does not tell how many orders wait, since when, and how many are being paid."""
    orders = orders_of(start_server(*SLOW))
    first = orders.queue_well()
    orders.wait_status(first, "processing")
    began = now_ms()
    for _ in range(4):
        orders.queue_well()
    stats = wire.wait_for(lambda: (stats := orders.stats())["queue_depth"] == 4 and stats, "four wait")
    assert stats["status_breakdown"] == {"completed": 0, "failed": 0, "pending": 4, "processing": 1}
    assert stats["workers"] == 1 == stats["payments_in_flight"]
    assert stats["throughput_limit"].startswith("0.03 orders/second"), stats
    age = wire.wait_for(lambda: (age := orders.stats()["oldest_pending_seconds"]) >= 0.3 and age, "they grow old")
    assert age <= (now_ms() - began + clock_doubt_ms(orders.server.store)) / 1000 + 0.05


def test_many_ask_for_stats_at_once(start_server, orders_of):
    """Of many who ask for /stats at the same time, one gets no answer."""
    server = start_server("--net-threads", "2")
    orders_of(server).queue_well()
    connections = [wire.Connection(server.port) for _ in range(20)]
    for _ in range(5):
        for connection in connections:
            connection.send(wire.build("GET", "/stats"))
        replies = [connection.read_reply() for connection in connections]
        assert [reply.status for reply in replies] == [200] * 20
        assert all(reply.json()["total_orders"] <= 1 for reply in replies)
    for connection in connections:
        connection.close()


def test_stats_survive_a_restart(start_server, orders_of):
    """After a restart /stats begins anew, or orders that were queued are forgotten."""
    first = start_server("--payment-slots-max", "1", "--payment-time", "2s")
    orders = orders_of(first)
    ids = [orders.queue_well() for _ in range(3)]
    orders.close()
    first.kill9()
    orders = orders_of(start_server("--payment-time", "20ms", on=first.store))
    for order_id in ids:
        orders.wait_status(order_id, "completed", seconds=40)
    assert wire.wait_for(lambda: orders.stats()["payments_processed"] == 3, "all are counted")
    assert [orders.payments(order_id) for order_id in ids] == [["paid"]] * 3


# --- /health and /readyz ---

def test_health_serves_all_contracts(start_server, orders_of):
    """/health lacks a member that the clients of one contract look at."""
    orders = orders_of(start_server("--payment-slots-min", "5"))
    reply = orders.ask("GET", "/health")
    body = reply.json()
    assert reply.status == 200 and body["status"] == "healthy" and body["mode"] == "async-enabled"
    assert body["num_workers"] == 5 and re.fullmatch(r"\d+\.\d+\.\d+", body["version"])
    assert body["success"] is True and body["data"]["status"] == "healthy"


def test_long_line_is_not_ready(start_server, orders_of):
    """The server says that it is ready while an order that comes now would wait for minutes."""
    orders = orders_of(start_server(*SLOW))
    assert orders.ask("GET", "/readyz").status == 200
    for _ in range(6):
        orders.queue_well()
    reply = wire.wait_for(lambda: (reply := orders.ask("GET", "/readyz")).status == 503 and reply, "it says so",
        seconds=40)
    assert reply.json()["status"] == "not ready" and reply.json()["reason"], reply
    assert reply.header("retry-after")
    assert orders.ask("GET", "/readyz?exclude=payments").status == 200
    assert orders.ask("GET", "/readyz?verbose&exclude=payments").json()["status"] == "ready"
    assert orders.ask("GET", "/readyz?exclude=other").status == 503
    assert orders.ask("GET", "/health").json()["status"] == "healthy"


# --- metrics ---

def figure(orders, series):
    found = re.search(rf"^{re.escape(series)} (\S+)$", orders.ask("GET", "/metrics").text, re.M)
    assert found, f"no series {series}"
    return float(found[1])


def test_orders_are_counted_in_metrics(start_server, orders_of, start_provider):
    """The metrics do not tell what became of orders."""
    provider, answer = held(start_provider)
    orders = orders_of(start_server(*with_provider(provider, "--payment-slots-max", "1")))
    body = order(order_id=new_order_id())
    orders.queue(body)
    orders.queue(body)
    orders.queue(order(priority=10))
    orders.queue({})
    orders.wait_status(body["order_id"], "processing")
    waiting = orders.place(order())
    wire.wait_for(lambda: figure(orders, "doorbuster_orders_waiting") == 1, "it waits")
    check_later(orders.sync(order(), {"Prefer": "wait=0"}))
    answer.set()
    assert waiting.read_reply().status == 200
    waiting.close()
    wire.wait_for(lambda: figure(orders, "doorbuster_orders_waiting") == 0, "it waits no more")
    assert figure(orders, 'doorbuster_orders_placed_total{mode="async"}') == 1
    assert figure(orders, 'doorbuster_orders_placed_total{mode="sync"}') == 1
    assert figure(orders, "doorbuster_orders_replayed_total") == 1
    assert figure(orders, 'doorbuster_orders_refused_total{reason="invalid"}') == 2
    assert figure(orders, 'doorbuster_orders_refused_total{reason="late"}') == 1
    if orders.server.store.kind == "sqlite":
        assert figure(orders, 'doorbuster_orders{status="completed"}') == 2
    labels = 'method="POST",route="/orders/sync",status_code='
    assert figure(orders, 'doorbuster_answers_total{%s"200"}' % labels) == 1
    assert figure(orders, 'doorbuster_answers_total{%s"503"}' % labels) == 1


# --- dead letters ---

def test_dead_letters_need_the_key(orders):
    """A stranger sees whom the shop writes to, or has it tried again."""
    for method, path in (("GET", LETTERS), ("POST", LETTERS + "/1/replay")):
        for headers in ({}, {"X-Admin-Key": "dev-admin-key-12345679"}):
            reply = orders.ask(method, path, headers)
            assert (reply.status, reply.text) == (401, UNAUTHORIZED), reply


def test_no_dead_letters(orders):
    """Without dead letters there are some, or one that is none is tried again."""
    assert orders.admin("GET", LETTERS).json() == {"dead_letters": [], "next": None}
    for number in ("1", "999999999"):
        check_problem(orders.admin("POST", f"{LETTERS}/{number}/replay"), 409)
    for number in ("0", "-1", "x", "99999999999999999999", "%20"):
        check_problem(orders.admin("POST", f"{LETTERS}/{number}/replay"), 404)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "after=-1", "after=x",
    "limit=99999999999999999999", "limit=%zz"])
def test_bad_query_for_dead_letters(orders, query):
    """A query that makes no sense is answered with something."""
    check_problem(orders.admin("GET", f"{LETTERS}?{query}"), 422)


def test_dead_letters_are_listed_and_tried_again(start_server, orders_of):
    """A notification that is not tried any more is not listed, or can not be tried again."""
    arguments = ("--payment-time", "20ms", "--webhook", NOBODY, "--webhook-secret", SECRET, "--allow-private-targets")
    first = start_server(*arguments)
    orders = orders_of(first)
    ids = [orders.queue_well(customer_email="anna@example.com") for _ in range(5)]
    for order_id in ids:
        orders.wait_status(order_id, "completed")
    orders.close()
    first.stop()
    # Its last retry would be days from now: here it has been.
    never = "253402300799000" if first.store.kind == "sqlite" else "'9999-12-31 23:59:59+00'"
    first.store.spoil(f"UPDATE work SET due_at = {never} WHERE kind = 'webhook'")
    orders = orders_of(start_server(*arguments, on=first.store))
    page = orders.admin("GET", LETTERS).json()
    assert page["next"] is None and {letter["order_id"] for letter in page["dead_letters"]} == set(ids)
    assert len(page["dead_letters"]) == len(ids)
    letter = page["dead_letters"][0]
    assert set(letter) == {"id", "order_id", "channel", "target", "attempts", "created_at"}
    assert letter["channel"] == "webhook" and letter["target"] is None and ms_of(letter["created_at"])
    two = orders.admin("GET", f"{LETTERS}?limit=2").json()
    assert two["dead_letters"] == page["dead_letters"][:2] and two["next"] == two["dead_letters"][1]["id"]
    rest = orders.admin("GET", f"{LETTERS}?limit=1000&after={two['next']}").json()
    assert rest == {"dead_letters": page["dead_letters"][2:], "next": None}
    reply = orders.admin("POST", f"{LETTERS}/{letter['id']}/replay")
    assert reply.status == 202 and reply.json()["id"] == letter["id"], reply
    left = orders.admin("GET", LETTERS).json()["dead_letters"]
    assert left == page["dead_letters"][1:]
    check_problem(orders.admin("POST", f"{LETTERS}/{letter['id']}/replay"), 409)


# --- the store fails ---

@pytest.mark.embedded
def test_order_that_cannot_be_stored_is_refused(start_server, orders_of):
    """An order is acknowledged though it could not be stored, or kept for later."""
    server = start_server("--fault", "commit:1-3:full", "--payment-time", "20ms")
    orders = orders_of(server)
    refused = order(order_id=new_order_id())
    reply = orders.queue(refused)
    check_later(reply)
    assert orders.get(refused["order_id"]).status == 404
    reply = wire.wait_for(lambda: (reply := orders.ask("POST", SYNC, body=refused)).status == 200 and reply,
        "the disk has room again", seconds=30)
    assert reply.json()["status"] == "completed"
    assert json.loads(orders.get(refused["order_id"]).text)["attempts"] == 1
