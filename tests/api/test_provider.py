# SPDX-License-Identifier: Apache-2.0
"""
Orders contract, "Payment" and "Circuit breaker": a provider over HTTP that declines, fails, is late, and goes away.
Whatever it does, an order is charged once at most, and no order fails because the provider was away.
"""
import threading
import time

import pytest

import wire
from ordering import check_later, item, new_order_id, order
from outbox import Bank, Hook, audit, check_webhook, figure, start_paying, start_receiver, wait_settled
from traffic import IMPATIENT, Traffic, check_outage, check_refused

__all__ = ["start_paying", "start_receiver"]  # fixtures

ONE_SLOT = ("--payment-slots-min", "1", "--payment-slots-max", "1")


@pytest.fixture
def start_bank(start_receiver):
    """start_bank(decide=, after=): a Bank, gone at the end."""
    return lambda **how: start_receiver(Bank(**how))


def by_word(**answers):
    """How a bank decides by the first word of an order's id; who is not named pays."""
    return lambda post: answers.get(post.key.split("-")[0], 200)


def in_turn(answers):
    """How a bank decides that gives each order these answers one after the other, the last one for ever."""
    given = {}
    lock = threading.Lock()

    def decide(post):
        with lock:
            turn = given[post.key] = given.get(post.key, 0) + 1
        answer = answers[min(turn, len(answers)) - 1]
        return answer() if callable(answer) else answer

    return decide


def check_paid_once(bank, orders, order_id):
    """One key, one charge, one success in the store."""
    orders.wait_status(order_id, "completed", seconds=90)
    assert bank.calls(order_id) and order_id in bank.charged()
    assert orders.payments(order_id) == ["paid"]


# --- what it is asked and says ---

def test_provider_is_asked_as_documented(start_paying, orders_of, start_bank):
    """The provider is asked with other members, another amount or another key; 2xx is not paid, or 402 not declined."""
    bank = start_bank(decide=by_word(created=201, nothing=204, no=402))
    server = start_paying(*bank.flags(), "--currency", "EUR")
    orders = orders_of(server)
    for word, code in (("paid", 200), ("created", 200), ("nothing", 200), ("no", 402)):
        body = order(customer=77, order_id=new_order_id(f'{word}- "%41" ü\r\n'), items=[item(price=1.05, quantity=3)])
        reply = orders.sync(body)
        assert reply.status == code, reply
        post, = bank.calls(body["order_id"])
        assert post.path == "/pay" and post.headers["content-type"] == "application/json"
        assert post.json() == {"order_id": body["order_id"], "amount": 3.15, "currency": "EUR", "customer_id": 77}
        assert b'"amount":3.15,' in post.body
        assert orders.payments(body["order_id"]) == ["paid" if code == 200 else "declined"]
    assert len(bank.received()) == 4


@pytest.mark.embedded
def test_private_provider_is_not_asked(start_paying, orders_of, start_bank):
    """A provider at a private address is asked though nobody has allowed it, or orders fail because of that."""
    bank = start_bank()
    server = start_paying(*[flag for flag in bank.flags() if flag != "--allow-private-targets"])
    orders = orders_of(server)
    order_ids = [orders.queue_well() for _ in range(12)]
    entry = server.wait_log(lambda entry: "the provider fails" in entry["message"], "the breaker has opened")
    assert "private address" in entry["message"], entry
    assert {orders.status(order_id) for order_id in order_ids} <= {"pending", "processing"}
    assert bank.received() == []


def test_errors_are_tried_again_with_the_same_key(start_paying, orders_of, start_bank):
    """A call that failed is not repeated, at once, before the provider wants it, or with another key."""
    bank = start_bank(decide=lambda post: decisions[post.key.split("-")[0]](post))
    decisions = {"error": in_turn([500, 503, 200]), "odd": in_turn([301, 404, 402]), "full": in_turn([
        (429, {"Retry-After": "3"}), 200])}
    server = start_paying(*bank.flags())
    orders = orders_of(server)
    cases = {word: orders.queue_well(order_id=new_order_id(word)) for word in decisions}
    for word, order_id in cases.items():
        orders.wait_status(order_id, "failed" if word == "odd" else "completed", seconds=60)
    assert [len(bank.calls(cases[word])) for word in ("error", "odd", "full")] == [3, 3, 2]
    assert [orders.payments(cases[word]) for word in ("error", "odd", "full")] == [["paid"], ["declined"], ["paid"]]
    for word, waits in (("error", (0.5, 1)), ("odd", (0.5, 1)), ("full", (3,))):
        times = [post.at for post in bank.calls(cases[word])]
        for before, after, seconds in zip(times, times[1:], waits):
            assert after - before > seconds * 0.8, (word, times)
        assert orders.get(cases[word]).json()["attempts"] == len(times)


def test_provider_is_asked_only_so_often(start_paying, orders_of, start_bank, start_receiver):
    """An order is asked for more often than --payment-attempts, or does not fail then, or nobody hears of that."""
    bank, hook = start_bank(decide=by_word(bad=500)), start_receiver(Hook())
    server = start_paying(*bank.flags(attempts="3"), *hook.flags()[:-1])
    orders = orders_of(server)
    bad, good = orders.queue_well(order_id=new_order_id("bad")), orders.queue_well(order_id=new_order_id("good"))
    event = check_webhook(hook.wait_about(bad)[0])
    assert event["type"] == "order.failed"
    check_paid_once(bank, orders, good)
    assert orders.status(bad) == "failed" and orders.payments(bad) == ["abandoned"]
    assert len(bank.calls(bad)) == 3 and bad not in bank.charged()
    server.wait_log(lambda entry: "as often as allowed; at last answered 500" in entry["message"], "why it has failed")


def test_provider_that_answers_too_late_charges_once(start_paying, orders_of, start_bank):
    """A provider that charges and answers after the time-out is asked with another key, or two successes are stored."""
    late = {}

    def after(post):
        if late.setdefault(post.key, post) is post:  # the first call for this key: charged, and answered too late
            orders_of_late.wait(60)

    orders_of_late = threading.Event()
    bank = start_bank(after=after, decide=by_word(no=402))
    server = start_paying(*bank.flags(timeout="400ms"))
    orders = orders_of(server)
    paid, declined = [orders.queue_well(order_id=new_order_id(word)) for word in ("yes", "no")]
    bank.wait_posts(2, "the first calls")
    orders.wait_status(declined, "failed", seconds=60)
    check_paid_once(bank, orders, paid)
    orders_of_late.set()  # now the late answers come
    assert orders.payments(declined) == ["declined"]
    for order_id in (paid, declined):
        assert len(bank.calls(order_id)) >= 2, "the time-out did not pass"
        calls = len(bank.calls(order_id))
        assert orders.get(order_id).json()["attempts"] == calls
    assert bank.charged() == {paid}
    assert orders.sync(order(order_id=new_order_id("after"))).status == 200


# --- customers who have gone ---

def test_customer_who_has_gone_is_never_charged(start_paying, orders_of, start_bank):
    """An order that was cancelled because its customer had gone is charged, now or after a restart."""
    held = threading.Event()
    bank = start_bank(after=lambda post: held.wait(60))
    flags = (*bank.flags(timeout="60s"), *ONE_SLOT, "--sync-deadline", "2m")
    server = start_paying(*flags)
    orders = orders_of(server)
    first = orders.queue_well()
    bank.wait_posts(1, "the first payment is under way")
    gone = [new_order_id("gone") for _ in range(5)]
    connections = [orders.place(order(order_id=order_id)) for order_id in gone]
    for order_id in gone:
        wire.wait_for(lambda: orders.get(order_id).status == 200, f"{order_id} waits")
    stays = order(order_id=new_order_id("stays"))
    staying = orders.place(stays)
    for connection in connections:
        connection.close()
    for order_id in gone:
        orders.wait_status(order_id, "cancelled")
    held.set()
    assert staying.read_reply().status == 200
    staying.close()
    last = orders.queue_well()
    for order_id in (first, last):
        check_paid_once(bank, orders, order_id)
    orders.close()
    server.kill9()
    again = orders_of(start_paying(*flags, on=server.store))
    check_paid_once(bank, again, again.queue_well())
    for order_id in gone:
        assert bank.calls(order_id) == [] and again.payments(order_id) == [] and again.status(order_id) == "cancelled"


# --- a provider that is away ---

def outage(start_paying, orders_of, start_bank, seconds):
    """The provider goes away for so long while customers come, and comes back."""
    bank = start_bank()
    server = start_paying(*bank.flags(), *IMPATIENT)
    orders = orders_of(server)
    traffic = Traffic(orders_of, server)
    wire.wait_for(lambda: len(traffic.acknowledged) >= 20 and len(traffic.replies) >= 5, "customers have come")
    wire.wait_for(lambda: len(bank.charged()) >= 20, "they are charged")
    assert orders.stats()["breaker"] == "closed"
    bank.stop()
    gone_at = time.monotonic()
    server.wait_log(lambda entry: "the provider fails" in entry["message"], "the breaker opens", 60)
    wire.wait_for(lambda: figure(server, 'doorbuster_orders_refused_total{reason="breaker"}') >= 20,
        "customers are refused", 60, pause=0.1)
    wire.wait_for(lambda: orders.ask("GET", "/readyz").status == 503, "it is not ready")
    assert orders.ask("GET", "/health").status == 200
    time.sleep(max(0.0, gone_at + seconds - time.monotonic()))  # pause: so long it is away
    away = orders.stats()
    refused = check_refused(server)
    bank.start()
    server.wait_log(lambda entry: "the provider works again" in entry["message"], "the breaker closes", 90)
    traffic.stop()
    wait_settled(server.store, 120)
    check_outage(bank, server.store, traffic)
    print(f"away for {seconds} s: {len(traffic.acknowledged)} asynchronous orders, all completed;"
        f" {refused}; then {away}")
    assert away["status_breakdown"]["failed"] == 0 and away["breaker"] != "closed", away
    return traffic


@pytest.mark.seconds(240)
def test_provider_is_away_for_some_seconds(start_paying, orders_of, start_bank):
    """While the provider is away orders fail or are lost, customers are let in who cannot be paid, or nothing goes on
    when it is back."""
    outage(start_paying, orders_of, start_bank, 3)


@pytest.mark.embedded
@pytest.mark.seconds(300)
def test_provider_is_away_for_half_a_minute(start_paying, orders_of, start_bank):
    """As above, for as long as the probes of the breaker fail several times."""
    traffic = outage(start_paying, orders_of, start_bank, 30)
    assert len(traffic.acknowledged) >= 100, len(traffic.acknowledged)


@pytest.mark.seconds(180)
def test_provider_that_hangs_opens_the_breaker(start_paying, orders_of, start_bank):
    """A provider that takes calls and says nothing keeps customers waiting, or makes orders fail."""
    awake = threading.Event()
    bank = start_bank(decide=lambda post: 200 if awake.wait(60) else None)
    server = start_paying(*bank.flags(timeout="1s", attempts="5"))
    orders = orders_of(server)
    order_ids = [orders.queue_well() for _ in range(30)]
    server.wait_log(lambda entry: "the provider fails" in entry["message"], "the breaker opens", 60)
    assert orders.sync(order(), {"Prefer": "wait=2"}).status in (503, 504)  # the latter when it was a probe
    wire.wait_for(lambda: orders.stats()["breaker"] == "half-open", "somebody may try", 60)
    wire.wait_for(lambda: orders.stats()["breaker"] == "open", "nobody was let through", 60)
    assert orders.stats()["status_breakdown"]["failed"] == 0
    awake.set()
    for order_id in order_ids:
        check_paid_once(bank, orders, order_id)
    assert bank.charged() == set(order_ids)


# --- crashes ---

def test_payment_under_way_at_a_crash_is_asked_again(start_paying, orders_of, start_bank):
    """What was being paid when the server was killed is lost, is charged again with another key, or is stored twice."""
    held = threading.Event()
    bank = start_bank(after=lambda post: held.wait(60), decide=by_word(no=402))
    flags = (*bank.flags(timeout="1s"), "--payment-slots-min", "4", "--payment-slots-max", "4")
    server = start_paying(*flags)
    orders = orders_of(server)
    order_ids = [orders.queue_well(order_id=new_order_id("no" if i % 4 == 0 else "yes")) for i in range(8)]
    bank.wait_posts(4, "payments are under way")
    orders.close()
    server.kill9()
    held.set()
    again = orders_of(start_paying(*flags, on=server.store))
    for i, order_id in enumerate(order_ids):
        again.wait_status(order_id, "failed" if i % 4 == 0 else "completed", seconds=60)
        assert again.payments(order_id) == ["declined" if i % 4 == 0 else "paid"]
    assert bank.charged() == {order_id for i, order_id in enumerate(order_ids) if i % 4}
    assert sum(len(bank.calls(order_id)) > 1 for order_id in order_ids) >= 4


def test_shutdown_gives_payments_under_way_back(start_paying, orders_of, start_bank):
    """A server that is told to stop waits for a provider that hangs, or the next start has forgotten the payment."""
    held = threading.Event()
    bank = start_bank(after=lambda post: held.wait(60))
    server = start_paying(*bank.flags(timeout="60s"), "--drain-timeout", "1s")
    orders = orders_of(server)
    order_id = orders.queue_well()
    bank.wait_posts(1, "it is being paid")
    orders.close()
    server.stop()
    audit(server.store)
    held.set()
    again = orders_of(start_paying(*bank.flags(), on=server.store))
    check_paid_once(bank, again, order_id)
    assert len(bank.calls(order_id)) == 2


def test_declined_after_a_crash_stays_declined(start_paying, orders_of, start_bank):
    """A payment that was declined is asked for again after a restart, with a chance to be charged."""
    bank = start_bank(decide=lambda post: 402)
    server = start_paying(*bank.flags())
    order_id = orders_of(server).queue_well()
    orders_of(server).wait_status(order_id, "failed")
    server.kill9()
    bank.decide = lambda post: 200
    again = orders_of(start_paying(*bank.flags(), on=server.store))
    check_paid_once(bank, again, again.queue_well())
    assert again.status(order_id) == "failed" and len(bank.calls(order_id)) == 1
