# SPDX-License-Identifier: Apache-2.0
"""Orders contract: GET /orders/{id}/events, the status of one order as it changes."""
import re
import threading
import time

import pytest

import wire
from ordering import OrderEvents, held, new_order_id, order, with_provider
from shop import clock_doubt_ms, ms_of, now_ms
from test_orders_waiting import SLOW


def test_every_change_of_status_is_told(start_server, orders_of, start_provider):
    """A change of status is not told, told twice, or the stream does not end after the last one."""
    gates = {new_order_id(): threading.Event() for _ in range(2)}
    before, order_id = gates
    provider = start_provider(lambda order: 200 if gates[order["order_id"]].wait(40) else 500)
    server = start_server(*with_provider(provider, "--payment-slots-max", "1"))
    orders = orders_of(server)
    orders.queue(order(order_id=before))
    orders.wait_status(before, "processing")
    orders.queue(order(order_id=order_id))
    with OrderEvents(server, order_id) as events:
        assert events.head.status == 200
        assert events.head.header("content-type") == "text/event-stream"
        assert events.head.header("cache-control") == "no-store"
        first = events.event()[1]
        assert first["status"] == "pending" and first["attempts"] == 0
        gates[before].set()
        assert events.event()[1]["status"] == "processing"
        gates[order_id].set()
        assert events.statuses() == ["completed"]


def test_event_is_exact(start_server, orders_of):
    """An event has other members, or an id that does not tell it from others."""
    server = start_server(*SLOW)
    orders = orders_of(server)
    order_id = new_order_id('"ü"')
    before = now_ms() - clock_doubt_ms(server.store)
    location = orders.queue(order(order_id=order_id)).header("location")
    orders.wait_status(location[len("/orders/"):], "processing")
    with OrderEvents(server, location[len("/orders/"):]) as events:
        number, data = events.event()
    at = ms_of(data.pop("updated_at"))
    assert before <= at <= now_ms() + clock_doubt_ms(server.store)
    assert number == f"{at}-processing"
    assert data == {"order_id": order_id, "status": "processing", "attempts": 1}


@pytest.mark.parametrize("rate, last", [("0", "completed"), ("1", "failed")])
def test_final_order_is_told_at_once(start_server, orders_of, rate, last):
    """The stream of an order that is final tells something else than that, or stays open."""
    server = start_server("--payment-time", "20ms", "--payment-decline-rate", rate)
    orders = orders_of(server)
    order_id = new_order_id()
    orders.sync(order(order_id=order_id))
    with OrderEvents(server, order_id) as events:
        assert events.statuses() == [last]


def test_cancelled_order_is_told(start_server, orders_of):
    """The cancellation of an order is not told."""
    server = start_server(*SLOW, "--sync-deadline", "10m")
    orders = orders_of(server)
    orders.wait_status(orders.queue_well(), "processing")
    order_id = new_order_id()
    customer = orders.place(order(order_id=order_id))
    wire.wait_for(lambda: orders.get(order_id).status == 200, "it is there")
    with OrderEvents(server, order_id) as events:
        assert events.event()[1]["status"] == "pending"
        customer.close()
        assert events.statuses() == ["cancelled"]


def test_resumed_stream_does_not_repeat(start_server, orders_of, start_provider):
    """Who comes back with Last-Event-ID hears again what it knows, or nothing of what it does not know."""
    provider, answer = held(start_provider)
    server = start_server(*with_provider(provider))
    orders = orders_of(server)
    order_id = orders.queue_well()
    orders.wait_status(order_id, "processing")
    with OrderEvents(server, order_id) as events:
        number, _ = events.event()
    with OrderEvents(server, order_id, {"Last-Event-ID": number}) as events:
        answer.set()
        last, data = events.event()
        assert data["status"] == "completed" and events.event() is None
    with OrderEvents(server, order_id, {"Last-Event-ID": number}) as events:
        assert events.statuses() == ["completed"]
    assert orders.ask("GET", f"/orders/{order_id}/events", {"Last-Event-ID": last}).status == 204
    for strange in ("", "0", "x" * 300, last + "0", "-completed"):
        with OrderEvents(server, order_id, {"Last-Event-ID": strange}) as events:
            assert events.statuses() == ["completed"]


def test_events_of_an_unknown_order_are_404(orders):
    """The stream of an order that does not exist is opened."""
    for order_id in ("nothing", "x" * 256, "%00"):
        reply = orders.ask("GET", f"/orders/{order_id}/events")
        assert (reply.status, reply.text) == (404, "Order not found"), reply


def test_silent_stream_has_heartbeats(start_server, orders_of):
    """A stream on which nothing happens looks dead to a proxy."""
    server = start_server("--payment-time", "2s", "--sse-heartbeat", "200ms")
    orders = orders_of(server)
    with OrderEvents(server, orders.queue_well()) as events:
        assert events.statuses()[-1] == "completed"
        assert events.heartbeat_count >= 2


def test_attempts_are_no_change_of_status(start_server, orders_of, start_provider):
    """Each attempt to pay is told as a change."""
    provider = start_provider(lambda order: 500 if len(provider.calls) < 3 else 200)
    server = start_server(*with_provider(provider, "--payment-attempts", "10"))
    orders = orders_of(server)
    order_id = orders.queue_well()
    with OrderEvents(server, order_id) as events:
        told = [data for _, data in iter(events.event, None)]
    assert [data["status"] for data in told] in (["pending", "processing", "completed"], ["processing", "completed"])
    assert told[-1]["attempts"] == orders.get(order_id).json()["attempts"] > 1


def test_many_listeners_hear_of_one_order(start_server, orders_of, start_provider):
    """Of many who listen to the same order, one misses a change."""
    provider, answer = held(start_provider)
    server = start_server(*with_provider(provider, "--net-threads", "3"))
    orders = orders_of(server)
    order_id = orders.queue_well()
    orders.wait_status(order_id, "processing")
    listeners = [OrderEvents(server, order_id) for _ in range(30)]
    assert [listener.event()[1]["status"] for listener in listeners] == ["processing"] * 30
    answer.set()
    assert [listener.statuses() for listener in listeners] == [["completed"]] * 30
    for listener in listeners:
        listener.connection.close()


def test_gone_listeners_of_orders_are_forgotten(start_server, orders_of):
    """Listeners that have gone are kept."""
    server = start_server(*SLOW)
    orders = orders_of(server)
    order_id = orders.queue_well()
    listeners = [OrderEvents(server, order_id) for _ in range(5)]

    def listening():
        return int(re.search(r"\ndoorbuster_orders_listening (\d+)\n", orders.ask("GET", "/metrics").text)[1])

    assert listening() == 5
    for listener in listeners:
        listener.connection.close()
    wire.wait_for(lambda: listening() == 0, "all are forgotten")


def test_shutdown_ends_the_streams_of_orders(start_server, orders_of):
    """A stream that is open keeps a server from ending."""
    server = start_server(*SLOW, "--drain-timeout", "5s")
    orders = orders_of(server)
    with OrderEvents(server, orders.queue_well()) as events:
        events.event()
        orders.close()
        server.signal()
        assert set(events.statuses()) <= {"processing"}
    assert server.wait_exit() == 0
    server.check_silence()


@pytest.mark.needs("postgres")
def test_listener_hears_what_another_node_does(start_server, orders_of):
    """A listener at one node does not hear of what another node has paid."""
    first = start_server("--payment-time", "300ms", "--payment-slots-max", "1")
    if first.store.kind != "postgres":
        return  # another node can only be there on a shared store: the other round of this test
    second = start_server("--payment-time", "300ms", "--payment-slots-max", "1", on=first.store)
    doors = [orders_of(first), orders_of(second)]
    ids = [doors[0].queue_well() for _ in range(8)]
    began = time.monotonic()
    listeners = [OrderEvents(second, order_id) for order_id in ids]
    told = [listener.statuses() for listener in listeners]
    for listener in listeners:
        listener.connection.close()
    whole = ["pending", "processing", "completed"]
    assert all(statuses == whole[-len(statuses):] for statuses in told), told
    assert max(map(len, told)) >= 2, f"all was over in {time.monotonic() - began} s: {told}"
