# SPDX-License-Identifier: Apache-2.0
"""Orders contract, "Payment" and "Notifications", on several nodes: each order is paid and told once, by whom does not
matter, and what a killed node had under way is done by another."""
import threading

import pytest

import wire
from nodes import start_nodes
from ordering import new_order_id
from outbox import QUICK, Bank, Hook, audit, check_webhook, figure, order_of, start_receiver, wait_settled
from stores import PostgresStore
from traffic import IMPATIENT, Traffic, check_outage, check_refused

pytestmark = pytest.mark.needs("postgres")
__all__ = ["start_nodes", "start_receiver"]  # fixtures

PAID = 'doorbuster_payment_outcomes_total{outcome="paid"}'
TWO_SLOTS = ("--payment-slots-min", "2", "--payment-slots-max", "2")


@pytest.fixture
def place(shared_postgres, tmp_path):
    """A database of its own, audited after the test."""
    store = PostgresStore(tmp_path, shared_postgres)
    yield store
    try:
        audit(store)
    finally:
        store.discard()


def test_orders_are_paid_by_either_node(place, start_nodes, start_receiver, orders_of):
    """Only the node that took an order pays and tells it, or both do."""
    held = threading.Event()
    bank, hook = start_receiver(Bank(after=lambda post: held.wait(60))), start_receiver(Hook())
    nodes = start_nodes(place, 2, *QUICK, *bank.flags(), *hook.flags()[:-1], *TWO_SLOTS)
    orders = orders_of(nodes[0])
    order_ids = [orders.queue_well() for _ in range(40)]
    bank.wait_posts(4, "both nodes use both of their slots")
    held.set()
    wait_settled(place)
    assert all(orders.status(order_id) == "completed" for order_id in order_ids)
    assert sorted(post.key for post in bank.received()) == sorted(order_ids), "an order was asked for twice"
    assert sorted(map(order_of, hook.received())) == sorted(order_ids), "an order was told twice"
    for post in hook.received():
        check_webhook(post)
    paid = [figure(node, PAID) for node in nodes]
    assert sum(paid) == len(order_ids) and min(paid) > 0, paid


@pytest.mark.seconds(180)
def test_killed_nodes_payments_are_taken_over(place, start_nodes, start_receiver, orders_of):
    """What a killed node was paying or telling is lost, or is charged again."""
    held, never = threading.Event(), threading.Event()
    bank, hook = start_receiver(Bank(after=lambda post: held.wait(60))), start_receiver(Hook())
    flags = (*QUICK, *bank.flags(timeout="1s"), *hook.flags()[:-1], *TWO_SLOTS)
    first, = start_nodes(place, 1, *flags)
    orders = orders_of(first)
    told = new_order_id("told")
    hook.answers[told] = [lambda: 200 if never.wait(60) else None, 200]
    held.set()
    orders.queue_well(order_id=told)
    hook.wait_about(told)
    held.clear()
    order_ids = [orders.queue_well() for _ in range(6)]
    bank.wait_posts(3, "payments are under way")
    second, = start_nodes(place, 1, *flags)
    orders.close()
    first.kill9()
    held.set()
    wait_settled(place)
    orders = orders_of(second)
    for order_id in order_ids:
        assert orders.status(order_id) == "completed" and orders.payments(order_id) == ["paid"]
        hook.wait_about(order_id)
    assert len(hook.wait_about(told, 2)) == 2
    assert bank.charged() == {told, *order_ids}


@pytest.mark.seconds(240)
def test_provider_is_away_for_two_nodes(place, start_nodes, start_receiver, orders_of):
    """While the provider is away one of two nodes fails orders, or lets customers in who cannot be paid."""
    bank = start_receiver(Bank())
    nodes = start_nodes(place, 2, *QUICK, *bank.flags(), *IMPATIENT)
    traffic = [Traffic(orders_of, node) for node in nodes]
    wire.wait_for(lambda: len(bank.charged()) >= 20, "customers are charged")
    bank.stop()
    for node in nodes:
        node.wait_log(lambda entry: "the provider fails" in entry["message"], "the breaker opens", 90)
        wire.wait_for(lambda: figure(node, 'doorbuster_orders_refused_total{reason="breaker"}') >= 10,
            "customers are refused", 60, pause=0.1)
    for node in nodes:
        check_refused(node)
    bank.start()
    for node in nodes:
        node.wait_log(lambda entry: "the provider works again" in entry["message"], "the breaker closes", 90)
    for each in traffic:
        each.stop()
    wait_settled(place, 120)
    for each in traffic:
        check_outage(bank, place, each)
