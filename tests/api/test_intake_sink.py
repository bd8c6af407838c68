# SPDX-License-Identifier: Apache-2.0
"""
Order-intake contract: orders are handed to the sink in order of acceptance, each at least once, and are EXECUTED when
it has acknowledged them. What the sink has acknowledged is compared with what clients were told and with the store.
"""
import threading

import pytest

import wire
from intake import Sink, Trader, expect
from nodes import NodeDatabase, postgres, start_nodes  # noqa: F401 (fixtures)
from shop import ms_of
from test_intake_orders import place_at_once

DELIVERED_SECONDS = 90.0
EXECUTED_409 = "The order has been handed to execution and cannot be cancelled any more."


@pytest.fixture
def sink_of():
    """sink_of(answer): a sink; closed at the end, when all that it got has been checked."""
    sinks = []

    def make(*answer):
        sinks.append(Sink(*answer))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()
        sink.check()


@pytest.fixture
def trader_of():
    traders = []

    def make(server):
        traders.append(Trader(server))
        return traders[-1]

    yield make
    for trader in traders:
        trader.close()


def wait_taken(sink, ids, seconds=DELIVERED_SECONDS):
    """Until the sink has acknowledged all of them; all that it has acknowledged, in the order in which it came."""
    wire.wait_for(lambda: sink.has_taken(ids), f"{len(ids)} orders are delivered", seconds, 0.05)
    return sink.taken()


def wait_executed(trader, ids):
    """Until they are told as executed; their rows by id."""
    def rows():
        found = {each["id"]: each for each in trader.orders("?limit=1000&status=EXECUTED")}
        return set(ids) <= set(found) and found
    return wire.wait_for(rows, "the orders are executed", DELIVERED_SECONDS, 0.05)


def test_orders_are_delivered_in_order_and_executed(start_server, sink_of, trader_of):
    """The sink gets orders in another order, not as they are, or they are not executed afterwards."""
    sink = sink_of()
    server = start_server(*sink.arguments)
    trader, other = trader_of(server), trader_of(server)
    placed = [(trader if index % 3 else other).place(quantity=index + 1, price=None) for index in range(40)]
    ids = [each["id"] for each in placed]
    assert wait_taken(sink, ids) == ids
    assert [order for each in sink.seen() if each.is_taken for order in each.orders] == placed
    executed = {**wait_executed(trader, [each["id"] for each in placed if each["user_id"] == trader.user_id]),
        **wait_executed(other, [each["id"] for each in placed if each["user_id"] == other.user_id])}
    for order in placed:
        now = executed[order["id"]]
        assert {**now, "status": "QUEUED", "updated_at": order["updated_at"]} == order
        assert now["status"] == "EXECUTED" and ms_of(now["updated_at"]) >= ms_of(now["created_at"])
    assert trader.orders("?status=QUEUED") == [] == trader.orders("?status=CANCELLED")


def test_executed_orders_cannot_be_cancelled(start_server, sink_of, trader_of):
    """An order that was executed is cancelled afterwards."""
    sink = sink_of()
    trader = trader_of(start_server(*sink.arguments))
    order = trader.place()
    wait_executed(trader, [order["id"]])
    reply = expect(trader.cancel(order["id"]), 409)
    assert reply.json() == {"detail": EXECUTED_409}
    assert trader.order(order["id"])["status"] == "EXECUTED"


def test_cancelled_orders_are_never_delivered(start_server, sink_of, trader_of):
    """The sink gets an order whose client was told that it is cancelled, or not one of the others."""
    is_open = threading.Event()
    sink = sink_of(lambda number: 200 if is_open.is_set() else 503)
    trader = trader_of(start_server(*sink.arguments))
    first = trader.place()
    wire.wait_for(lambda: sink.seen(), "the first try")
    placed = trader.place_many(20)
    replies = {each["id"]: trader.cancel(each["id"]) for each in placed[::2]}
    assert {reply.status for reply in replies.values()} <= {200, 409}
    cancelled = {order_id for order_id, reply in replies.items() if reply.status == 200}
    expect(trader.cancel(first["id"]), 409)  # the sink may have it
    is_open.set()
    expected = [each["id"] for each in [first, *placed] if each["id"] not in cancelled]
    assert wait_taken(sink, expected) == expected
    told = {order["id"] for each in sink.seen() for order in each.orders}
    assert cancelled and not told & cancelled
    wait_executed(trader, expected)
    assert {each["id"] for each in trader.orders("?status=CANCELLED")} == cancelled


def test_range_of_cancelled_orders_is_passed_over(start_server, sink_of, trader_of):
    """Orders that come after many cancelled ones are never delivered."""
    store = start_server.new_store()
    first = start_server(on=store)
    trader = trader_of(first)
    cancelled = trader.place_many(8)
    for order in cancelled:
        assert trader.cancel(order["id"]).status == 200
    first.stop()
    sink = sink_of()
    trader.server = start_server(*sink.arguments, on=store)
    trader.close()
    order = trader.place()
    assert wait_taken(sink, [order["id"]]) == [order["id"]]
    wait_executed(trader, [order["id"]])
    assert [each["status"] for each in trader.orders()] == ["EXECUTED"] + ["CANCELLED"] * 8


@pytest.mark.parametrize("failure", [500, 404, 302, None])
def test_sink_that_fails_and_comes_back(start_server, sink_of, trader_of, failure):
    """What the sink has not acknowledged is lost, overtaken, or counts as executed."""
    fails = 2
    sink = sink_of(lambda number: failure if number < fails else 200)
    server = start_server(*sink.arguments)
    trader = trader_of(server)
    ids = [each["id"] for each in trader.place_many(3)]
    wire.wait_for(lambda: len(sink.seen()) >= 1, "the first try")
    ids += [each["id"] for each in trader.place_many(3)]
    assert wait_taken(sink, ids) == ids
    seen = sink.seen()
    assert len({each.id for each in seen[:fails + 1]}) == 1, "the same range comes again under the same webhook-id"
    assert len({tuple(order["id"] for order in each.orders) for each in seen[:fails + 1]}) == 1
    wait_executed(trader, ids)
    server.wait_log(lambda entry: entry["context"] == "intake" and "has not taken" in entry["message"], "the failure")


def test_sink_that_is_not_there(start_server, sink_of, trader_of):
    """While the sink is away orders are not taken, or are lost when it comes."""
    store = start_server.new_store()
    gone = sink_of()
    gone.close()
    server = start_server(*gone.arguments, on=store)
    trader = trader_of(server)
    ids = [each["id"] for each in trader.place_many(30)]
    assert {each["status"] for each in trader.orders()} == {"QUEUED"}
    server.stop()
    sink = sink_of()
    trader.server = start_server(*sink.arguments, on=store)
    trader.close()
    assert wait_taken(sink, ids) == ids
    wait_executed(trader, ids)


def test_private_sink_needs_leave(start_server, sink_of, trader_of):
    """Orders are posted to a private address although nobody has allowed it."""
    sink = sink_of()
    server = start_server(*[each for each in sink.arguments if each != "--allow-private-targets"])
    trader = trader_of(server)
    order = trader.place()
    server.wait_log(lambda entry: entry["context"] == "intake" and "has not taken" in entry["message"], "the refusal")
    assert sink.seen() == [] and trader.order(order["id"])["status"] == "QUEUED"


@pytest.mark.seconds(240)
def test_killed_server_delivers_everything_in_order(start_server, sink_of, trader_of):
    """After crashes in the middle of deliveries an order is never executed, or overtaken by a later one."""
    sink = sink_of(lambda number: 200 if number % 4 else 500)
    store = start_server.new_store()
    told = []
    for _ in range(3):  # the work of the one that was killed is free after ten seconds
        server = start_server(*sink.arguments, on=store)
        trader = trader_of(server)
        placers = place_at_once(server, [trader], 4, 200)
        before = len(sink.seen())
        wire.wait_for(lambda: len(sink.seen()) > before and sum(len(each.taken) for each in placers) > 50,
            "orders are taken and delivered", DELIVERED_SECONDS)
        server.kill9()
        for placer in placers:
            placer.join(60)
            assert placer.problem is None, placer.problem
            told.append([each["id"] for each in placer.taken])
    server = start_server(*sink.arguments, on=store)
    trader = trader_of(server)
    last = trader.place()
    delivered = wait_taken(sink, [last["id"], *(order_id for each in told for order_id in each)])
    place_of = {order_id: at for at, order_id in enumerate(delivered)}
    for each in told:
        places = [place_of[order_id] for order_id in each]
        assert places == sorted(places), "each client's orders come in the order in which they were acknowledged"
    count = store.rows("SELECT count(*) FROM intake_orders")[0][0]
    assert len(delivered) == count and delivered[-1] == last["id"]
    wait_executed(trader, [last["id"]])
    ranges = store.rows("SELECT first_id, last_id FROM intake_deliveries ORDER BY last_id")
    assert [first for first, _ in ranges] == [1, *(last_id + 1 for _, last_id in ranges[:-1])]
    assert ranges[-1][1] == count


def test_sink_without_a_key_is_refused(start_server, sink_of):
    """A server starts that would hand orders to a sink unsigned."""
    sink = sink_of()
    arguments = sink.arguments[:2]
    server = start_server.launch(*arguments)
    assert server.wait_exit() == 2
    assert "--webhook-secret" in server.err.text()


@pytest.mark.needs("postgres")
def test_two_nodes_and_one_sink(postgres, start_nodes, sink_of, trader_of, tmp_path):
    """Two nodes on one store deliver out of order, leave orders out, or stop when one of them dies."""
    sink = sink_of()
    one, two = start_nodes(NodeDatabase(postgres, tmp_path), 2, *sink.arguments)
    traders = [trader_of(one), trader_of(two)]
    placed = [traders[index % 2].place()["id"] for index in range(30)]
    assert wait_taken(sink, placed) == placed
    one.kill9()
    placed += [traders[1].place()["id"] for _ in range(10)]
    assert wait_taken(sink, placed) == placed
    wait_executed(traders[1], placed[-10:])
