# SPDX-License-Identifier: Apache-2.0
"""Order-intake contract: trading orders are taken, told, listed and cancelled."""
import json
import threading

import pytest

import wire
from intake import (LOGIN, MEMBERS, NOT_AUTHENTICATED, NOT_FOUND, ORDERS, PASSWORD, REFRESH, REGISTER, UUID8, Trader,
    bearer, complaints, expect, new_account, new_name, new_order)
from shop import clock_doubt_ms, ms_of, now_ms

TYPES = ["MARKET", "LIMIT", "STOP", "TRAILING_STOP", "ICEBERG"]
NUMBERS = ["price", "stop_price", "trailing_stop_pct", "iceberg_qty"]
LARGEST = "9223372036854.775807"


@pytest.fixture
def trader(server):
    trader = Trader(server)
    yield trader
    trader.close()


@pytest.fixture
def other(server):
    other = Trader(server)
    yield other
    other.close()


def post(trader, text, **headers):
    """An order as bytes."""
    data = text if isinstance(text, bytes) else text.encode("utf-8")
    return trader.send("POST", ORDERS, data, **{"Content-Type": "application/json", **headers})


def row_of(store, order_id, trader):
    """(symbol, side, order_type, quantity, price, ..., time_in_force) of the trader's only order, in millionths."""
    return store.rows("SELECT symbol, side, order_type, quantity, price, stop_price, trailing_stop_pct, iceberg_qty,"
        " time_in_force FROM intake_orders JOIN accounts ON accounts.id = account_id WHERE email_key = ?"
        " ORDER BY intake_orders.id DESC LIMIT 1", trader.account["email"])[0]


def stored_count(store):
    return store.rows("SELECT count(*), count(DISTINCT id) FROM intake_orders")[0]


# --- POST ---

def test_order_is_taken_and_told_exactly(server, trader):
    """The reply to an order has other members, another order or other values than were sent."""
    began = now_ms()
    doubt = clock_doubt_ms(server.store) + 1
    reply = expect(trader.send("POST", body=new_order()), 201)
    order = reply.json()
    assert list(order) == MEMBERS
    assert UUID8.fullmatch(order["id"]) and order["user_id"] == trader.user_id
    assert began - doubt <= ms_of(order["created_at"]) <= now_ms() + doubt
    assert order["updated_at"] == order["created_at"]
    assert reply.text == json.dumps({"id": order["id"], "user_id": trader.user_id, "symbol": "AAPL", "side": "BUY",
        "order_type": "LIMIT", "quantity": 100, "price": 150, "stop_price": None, "trailing_stop_pct": None,
        "iceberg_qty": None, "time_in_force": "GTC", "status": "QUEUED", "created_at": order["created_at"],
        "updated_at": order["created_at"]}, separators=(",", ":"))
    assert row_of(server.store, order["id"], trader) == ("AAPL", "BUY", "LIMIT", 100_000_000, 150_000_000, None, None,
        None, "GTC")


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("order_type", TYPES)
def test_every_kind_of_order_is_taken(server, trader, side, order_type):
    """A side or a type of order is not taken, or another is stored."""
    members = {"price": 1.5, "stop_price": 2.25, "trailing_stop_pct": 0.125, "iceberg_qty": 10, "time_in_force": "IOC"}
    order = trader.place(side=side, order_type=order_type, quantity=3, **members)
    assert (order["side"], order["order_type"], order["quantity"]) == (side, order_type, 3)
    assert {name: order[name] for name in members} == members
    assert row_of(server.store, order["id"], trader) == ("AAPL", side, order_type, 3_000_000, 1_500_000, 2_250_000,
        125_000, 10_000_000, "IOC")
    assert trader.order(order["id"]) == order


@pytest.mark.parametrize("sent, told, micro", [
    ("0.1", "0.1", 100_000),
    ("100.0", "100", 100_000_000),
    ("1e2", "100", 100_000_000),
    ("12.5E-1", "1.25", 1_250_000),
    ("0.000001", "0.000001", 1),
    ("0.1000000000000", "0.1", 100_000),
    ("9007199254740.993", "9007199254740.993", 9_007_199_254_740_993_000),
    (LARGEST, LARGEST, 2**63 - 1),
    ('"150.25"', "150.25", 150_250_000),
    ('" 7 "', "7", 7_000_000),
])
def test_numbers_are_kept_exactly(server, trader, sent, told, micro):
    """A number is changed on its way, as one that passes through floating point is."""
    reply = expect(post(trader, '{"symbol":"S","side":"BUY","order_type":"LIMIT","quantity":%s,"price":%s}' % (sent,
        sent)), 201)
    assert f'"quantity":{told},"price":{told},' in reply.text, reply
    assert row_of(server.store, reply.json()["id"], trader)[3:5] == (micro, micro)
    again = trader.send("GET", f"{ORDERS}/{reply.json()['id']}")
    assert f'"quantity":{told},"price":{told},' in again.text, again


@pytest.mark.parametrize("text", [
    '{"symbol": "AAPL", "side": "BUY", "order_type": "LIMIT", "quantity": 100.0, "price": 150.0}',
    '{"price":150.0,"quantity":100.0,"order_type":"LIMIT","side":"BUY","symbol":"AAPL"}',
    ' \r\n{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":100,"price":150}\n',
    '{\n\t"symbol": "AAPL",\n\t"side": "BUY",\n\t"order_type": "LIMIT",\n\t"quantity": 1e2,\n\t"price": 150\n}',
    r'{"symb\u006fl":"AAPL","side":"B\u0055Y","order_type":"LIMIT","quantity":100,"price":150}',
    '{"symbol":"X","side":"SELL","order_type":"LIMIT","quantity":1,"price":150,"quantity":100,"side":"BUY","symbol":'
        '"AAPL"}',
    '{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":100,"price":150,"note":{"symbol":[1,{"a":"}"}]}}',
    '{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":"100.00","price":"150"}',
    '{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":100,"price":150,"stop_price":null,'
        '"trailing_stop_pct":null,"iceberg_qty":null,"time_in_force":null,"status":"EXECUTED","id":"x"}',
    '{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":100,"price":150,"time_in_force":"GTC"}',
])
def test_every_spelling_is_the_same_order(server, trader, text):
    """An order is read as another one because of how its JSON is spelled."""
    order = expect(post(trader, text), 201).json()
    assert row_of(server.store, order["id"], trader) == ("AAPL", "BUY", "LIMIT", 100_000_000, 150_000_000, None, None,
        None, "GTC")
    assert (order["symbol"], order["side"], order["quantity"], order["status"]) == ("AAPL", "BUY", 100, "QUEUED")


@pytest.mark.parametrize("symbol", ["A", "x" * 64, "BRK.B", 'q"\\/\b\t', "Ünïcødé 株", "<script>", " AAPL "])
def test_symbol_may_be_any_text(server, trader, symbol):
    """A symbol is changed on its way, or breaks the JSON that it stands in."""
    order = trader.place(symbol=symbol)
    assert order["symbol"] == symbol == row_of(server.store, order["id"], trader)[0]
    assert trader.order(order["id"]) == order and trader.orders() == [order]


def test_market_order_needs_no_price(server, trader):
    """An order is refused because it has none of the members that may be left out."""
    order = expect(trader.send("POST", body={"symbol": "A", "side": "SELL", "order_type": "MARKET", "quantity": 1}),
        201).json()
    assert [order[name] for name in NUMBERS] == [None] * 4 and order["time_in_force"] == "GTC"


@pytest.mark.parametrize("members, expected", [
    ({"symbol": ""}, [("string_too_short", "body.symbol", "")]),
    ({"symbol": "x" * 65}, [("string_too_long", "body.symbol", "x" * 65)]),
    ({"symbol": "ä" * 33}, [("string_too_long", "body.symbol", "ä" * 33)]),
    ({"symbol": 5}, [("string_type", "body.symbol", 5)]),
    ({"symbol": None}, [("string_type", "body.symbol", None)]),
    ({"symbol": "A\0"}, [("value_error", "body.symbol", "A\0")]),
    ({"side": "buy"}, [("enum", "body.side", "buy")]),
    ({"side": 1}, [("enum", "body.side", 1)]),
    ({"order_type": "LIMITED"}, [("enum", "body.order_type", "LIMITED")]),
    ({"order_type": None}, [("enum", "body.order_type", None)]),
    ({"quantity": 0}, [("greater_than", "body.quantity", 0)]),
    ({"quantity": -0.0}, [("greater_than", "body.quantity", 0)]),
    ({"quantity": -1}, [("greater_than", "body.quantity", -1)]),
    ({"quantity": None}, [("decimal_type", "body.quantity", None)]),
    ({"quantity": True}, [("decimal_type", "body.quantity", True)]),
    ({"quantity": [1]}, [("decimal_type", "body.quantity", [1])]),
    ({"quantity": "many"}, [("decimal_parsing", "body.quantity", "many")]),
    ({"quantity": ""}, [("decimal_parsing", "body.quantity", "")]),
    ({"quantity": "NaN"}, [("decimal_parsing", "body.quantity", "NaN")]),
    ({"quantity": 0.0000001}, [("decimal_max_places", "body.quantity", 1e-07)]),
    ({"quantity": 10**13}, [("less_than_equal", "body.quantity", 10**13)]),
    ({"quantity": 10**30}, [("less_than_equal", "body.quantity", 10**30)]),
    ({"quantity": -10**30}, [("greater_than", "body.quantity", -10**30)]),
    ({"time_in_force": ""}, [("string_too_short", "body.time_in_force", "")]),
    ({"time_in_force": "x" * 17}, [("string_too_long", "body.time_in_force", "x" * 17)]),
    ({"time_in_force": 1}, [("string_type", "body.time_in_force", 1)]),
    ({"symbol": "", "side": "x", "order_type": "y", "quantity": 0, "price": 0, "stop_price": -1, "trailing_stop_pct":
        "z", "iceberg_qty": {}, "time_in_force": []}, [("string_too_short", "body.symbol", ""),
        ("enum", "body.side", "x"), ("enum", "body.order_type", "y"), ("greater_than", "body.quantity", 0),
        ("greater_than", "body.price", 0), ("greater_than", "body.stop_price", -1),
        ("decimal_parsing", "body.trailing_stop_pct", "z"), ("decimal_type", "body.iceberg_qty", {}),
        ("string_type", "body.time_in_force", [])]),
])
def test_bad_order_is_refused_with_all_that_is_wrong(server, trader, members, expected):
    """A bad order is taken, or its client does not hear of all that is wrong with it."""
    assert complaints(trader.send("POST", body=new_order(**members))) == expected
    assert trader.orders() == []


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value, kind", [("0", "greater_than"), ("-5", "greater_than"), ("1.0000001",
    "decimal_max_places"), ("1e13", "less_than_equal"), ("true", "decimal_type"), ('"x"', "decimal_parsing")])
def test_bad_numbers_are_refused(server, trader, name, value, kind):
    """A price or another number is taken although it is zero, negative, too exact, too large or no number."""
    members = {"symbol": "A", "side": "BUY", "order_type": "STOP", "quantity": 1}
    reply = post(trader, json.dumps(members)[:-1] + f',"{name}":{value}}}')
    assert [each[:2] for each in complaints(reply)] == [(kind, f"body.{name}")]


def test_missing_members_are_told_with_the_body(server, trader):
    """A client is not told which members are missing."""
    assert complaints(trader.send("POST", body={"x": 1})) == [("missing", f"body.{name}", {"x": 1})
        for name in ("symbol", "side", "order_type", "quantity")]


def test_long_input_is_not_repeated(server, trader):
    """A refusal grows with what was sent, as often as there is something wrong."""
    reply = trader.send("POST", body={"x": "y" * 500_000, "symbol": "z" * 500_000})
    assert [each[2] for each in complaints(reply)] == [None] * 4 and len(reply.body) < 2000


@pytest.mark.parametrize("text, kind", [(b"", "missing"), (b"null", "model_attributes_type"),
    (b"[]", "model_attributes_type"), (b"{", "json_invalid"), (b'{"symbol":"AAPL"', "json_invalid"),
    (b'{"symbol":"AAPL",}', "json_invalid"), (b"{'symbol':'AAPL'}", "json_invalid"),
    (b'{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":01}', "json_invalid"),
    (b'{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":1.}', "json_invalid"),
    (b'{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":+1}', "json_invalid"),
    (b'{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":NaN}', "json_invalid"),
    (b'{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":1}x', "json_invalid"),
    (b'{"symbol":"AAPL" "side":"BUY","order_type":"LIMIT","quantity":1}', "json_invalid"),
    (b'{"symbol":"A\x01","side":"BUY","order_type":"LIMIT","quantity":1}', "json_invalid"),
    (b'{"symbol":"\xff","side":"BUY","order_type":"LIMIT","quantity":1}', "json_invalid"),
    (b'{"symbol":"AAPL","side":"BUY","order_type":"LIMIT","quantity":1e999}', "json_invalid"),
    (b"[" * 100_000, "json_invalid")])
def test_order_that_is_no_json_object_is_refused(server, trader, text, kind):
    """A body that is no JSON object is taken for an order, or is no 422."""
    found = complaints(post(trader, text))
    assert len(found) == 1 and found[0][0] == kind, found
    assert trader.orders() == []


def test_order_without_a_type_is_json_and_another_type_is_not(server, trader):
    """An order is refused because it does not say that it is JSON, or taken although it says that it is not."""
    text = json.dumps(new_order()).encode()
    assert trader.send("POST", ORDERS, text).status == 201
    assert post(trader, text, **{"Content-Type": "Application/JSON; charset=utf-8"}).status == 201
    assert [each[0] for each in complaints(post(trader, text, **{"Content-Type": "text/plain"}))] == \
        ["model_attributes_type"]


# --- GET ---

def test_list_is_newest_first_and_ones_own(server, trader, other):
    """A list shows orders of somebody else, leaves some out, or has another order."""
    assert trader.orders() == []
    mine = []
    for _ in range(3):
        mine += trader.place_many(2)
        other.place()
    assert trader.orders() == mine[::-1]
    assert len(other.orders()) == 3 and not {each["id"] for each in other.orders()} & {each["id"] for each in mine}
    assert {each["user_id"] for each in trader.orders()} == {trader.user_id}


def test_list_goes_on_page_by_page(server, trader):
    """Pages overlap, leave orders out, or do not end; also when orders come meanwhile."""
    mine = trader.place_many(7)
    found, query = [], "?limit=3"
    while True:
        reply = expect(trader.send("GET", ORDERS + query), 200)
        found += reply.json()
        cursor = reply.header("x-next-cursor")
        if cursor is None:
            break
        assert len(reply.json()) == 3
        trader.place()
        query = f"?limit=3&cursor={cursor}"
    assert found == mine[::-1]


def test_list_has_a_hundred_unless_asked_for_more(server, trader):
    """A list without a limit is as long as it likes, or one with a limit is not that long."""
    trader.place_many(105)
    assert len(trader.orders()) == 100
    assert len(trader.orders("?limit=1000")) == len(trader.orders("?limit=105")) == 105
    assert len(trader.orders("?limit=1")) == 1
    assert expect(trader.send("GET", ORDERS + "?limit=1000"), 200).header("x-next-cursor") is None


def test_list_can_be_of_one_status(server, trader):
    """A list of one status shows others, or not all."""
    mine = [each["id"] for each in trader.place_many(4)]
    for at in (1, 3):
        assert trader.cancel(mine[at]).status == 200
    ids = {status: [each["id"] for each in trader.orders(f"?status={status}")] for status in ("QUEUED", "CANCELLED",
        "EXECUTED")}
    assert ids == {"QUEUED": [mine[2], mine[0]], "CANCELLED": [mine[3], mine[1]], "EXECUTED": []}
    assert [each["id"] for each in trader.orders("?status=CANCELLED&limit=1")] == [mine[3]]


@pytest.mark.parametrize("query, expected", [
    ("?limit=0", [("greater_than_equal", "query.limit", "0")]),
    ("?limit=-1", [("greater_than_equal", "query.limit", "-1")]),
    ("?limit=1001", [("less_than_equal", "query.limit", "1001")]),
    ("?limit=ten", [("int_parsing", "query.limit", "ten")]),
    ("?limit=", [("int_parsing", "query.limit", "")]),
    ("?limit=99999999999999999999", [("int_parsing", "query.limit", "99999999999999999999")]),
    ("?status=DONE", [("enum", "query.status", "DONE")]),
    ("?status=queued", [("enum", "query.status", "queued")]),
    ("?cursor=5", [("value_error", "query.cursor", "5")]),
    ("?cursor=00000000-0000-8000-8000-000000000000", [("value_error", "query.cursor",
        "00000000-0000-8000-8000-000000000000")]),
    ("?limit=x&status=%22y%22&cursor=z", [("int_parsing", "query.limit", "x"), ("enum", "query.status", '"y"'),
        ("value_error", "query.cursor", "z")]),
    ("?status=%zz", [("value_error", "query", None)]),
])
def test_bad_list_is_refused(server, trader, query, expected):
    """A query that makes no sense is answered with a list, or the client is not told what is wrong."""
    assert complaints(trader.send("GET", ORDERS + query)) == expected


def test_unknown_parameters_are_ignored(server, trader):
    """A list is refused because of a parameter that nobody knows."""
    order = trader.place()
    assert trader.orders("?page=2&limit=10") == [order]


def test_order_is_told_to_its_account_only(server, trader, other):
    """An order is told to somebody else, or not to its own account."""
    order = trader.place()
    assert trader.order(order["id"]) == order == trader.order(order["id"].upper())
    for method in ("GET", "DELETE"):
        expect(other.send(method, f"{ORDERS}/{order['id']}"), 404, NOT_FOUND)
        expect(wire.ask(server.port, method, f"{ORDERS}/{order['id']}"), 401, NOT_AUTHENTICATED)
    assert trader.order(order["id"]) == order


@pytest.mark.parametrize("order_id", ["1", "x", "00000000-0000-0000-0000-000000000000", "f" * 36, "a" * 1000,
    "%00", "..%2f", "9f9a2e6a-d784-8f47-8034-8b90beaf6d2b"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_unknown_order_is_not_found(server, trader, method, order_id):
    """An id that nobody has been given is anything but not found."""
    expect(trader.send(method, f"{ORDERS}/{order_id}"), 404, NOT_FOUND)


def test_ids_of_other_things_are_no_orders(server, trader):
    """The id of an account opens an order."""
    trader.place()
    expect(trader.send("GET", f"{ORDERS}/{trader.user_id}"), 404, NOT_FOUND)


def test_head_of_orders(server, trader):
    """HEAD is not what GET is, without the body."""
    order = trader.place()
    for target in (ORDERS, f"{ORDERS}/{order['id']}"):
        whole = trader.send("GET", target)
        reply = trader.send("HEAD", target)
        assert (reply.status, reply.header("content-length")) == (200, whole.header("content-length"))


@pytest.mark.parametrize("target, allow", [(ORDERS, "GET, HEAD, POST"), (ORDERS + "/x", "GET, HEAD, DELETE")])
def test_other_methods_on_orders(server, trader, target, allow):
    """Another method on a route of orders is taken for an unknown path."""
    reply = expect(trader.send("PUT", target, {}), 405, '{"detail":"Method Not Allowed"}')
    assert reply.header("allow") == allow


# --- DELETE ---

def test_order_is_cancelled_once(server, trader):
    """An order that is cancelled is not told as such, or cancelling it again changes something."""
    order = trader.place()
    reply = expect(trader.cancel(order["id"]), 200)
    cancelled = reply.json()
    assert list(cancelled) == MEMBERS
    assert {**cancelled, "status": "QUEUED", "updated_at": order["updated_at"]} == order
    assert cancelled["status"] == "CANCELLED" and ms_of(cancelled["updated_at"]) >= ms_of(order["created_at"])
    assert trader.order(order["id"]) == cancelled and trader.orders() == [cancelled]
    for _ in range(2):
        expect(trader.cancel(order["id"]), 200, reply.text)


def test_simultaneous_cancellations_hear_the_same(server, trader):
    """Two that cancel an order at the same moment are told different things."""
    order = trader.place()
    connections = [wire.Connection(server.port) for _ in range(8)]
    for connection in connections:
        connection.send(wire.build("DELETE", f"{ORDERS}/{order['id']}", bearer(trader.access)))
    replies = [connection.read_reply() for connection in connections]
    for connection in connections:
        connection.close()
    assert {reply.status for reply in replies} == {200} and len({reply.text for reply in replies}) == 1
    assert replies[0].json()["status"] == "CANCELLED"


# --- many at once, crashes, bad days ---

class Placer(threading.Thread):
    """Places orders one after the other until told to stop or the server is gone; keeps what it was told."""

    def __init__(self, port, trader, count):
        super().__init__(daemon=True)
        self.port, self.trader, self.count = port, trader, count
        self.taken, self.unknown, self.problem = [], 0, None
        self.symbol = new_name("S")

    def run(self):
        try:
            with wire.Connection(self.port) as connection:
                for index in range(self.count):
                    body = new_order("SELL" if index % 2 else "BUY", symbol=self.symbol, quantity=index + 1)
                    self.unknown = 1
                    reply = connection.ask("POST", ORDERS, bearer(self.trader.access), body)
                    self.unknown = 0
                    assert reply.status == 201, reply
                    self.taken.append(reply.json())
        except (OSError, wire.Closed):
            pass
        except AssertionError as problem:
            self.problem = problem


def place_at_once(server, traders, clients, count):
    placers = [Placer(server.port, traders[index % len(traders)], count) for index in range(clients)]
    for placer in placers:
        placer.start()
    return placers


def check_placed(store, placers):
    """What was acknowledged is stored exactly once, as it was sent, and nothing else but what nobody knows of."""
    for placer in placers:
        assert placer.problem is None, placer.problem
        rows = store.rows("SELECT quantity, side FROM intake_orders WHERE symbol = ? ORDER BY id", placer.symbol)
        told = [(round(each["quantity"] * 10**6), each["side"]) for each in placer.taken]
        assert rows[:len(told)] == told and len(rows) <= len(told) + placer.unknown
    ids = [each["id"] for placer in placers for each in placer.taken]
    assert len(set(ids)) == len(ids)
    total, distinct = stored_count(store)
    assert total == distinct and len(ids) <= total <= len(ids) + sum(placer.unknown for placer in placers)
    return ids


def test_forty_clients_at_once(start_server):
    """Of orders from many clients at once one is lost, stored twice, has another's id, or is not its account's."""
    server = start_server("--net-threads", "2")
    traders = [Trader(server) for _ in range(4)]
    placers = place_at_once(server, traders, 40, 25)
    for placer in placers:
        placer.join(110)
    assert [len(placer.taken) for placer in placers] == [25] * 40
    check_placed(server.store, placers)
    for trader in traders:
        told = {each["id"]: each for placer in placers if placer.trader is trader for each in placer.taken}
        assert {each["id"]: each for each in trader.orders("?limit=1000")} == told
        trader.close()


@pytest.mark.parametrize("taken", [1, 40, 200])
def test_killed_server_keeps_what_it_has_acknowledged(start_server, tmp_path, taken):
    """An order that was acknowledged is gone after a crash, or is told otherwise."""
    server = start_server()
    trader = Trader(server)
    placers = place_at_once(server, [trader], 8, 100_000)
    wire.wait_for(lambda: sum(len(placer.taken) for placer in placers) >= taken, "orders are taken")
    server.kill9()
    for placer in placers:
        placer.join(60)
    check_placed(server.store.frozen(tmp_path / "frozen"), placers)
    trader.close()
    again = start_server(on=server.store)
    check_placed(again.store, placers)
    trader.server = again
    told = {each["id"]: each for placer in placers for each in placer.taken}
    for order_id in list(told)[::max(1, len(told) // 20)]:
        assert trader.order(order_id) == told[order_id]
    assert trader.place()["id"] not in told
    trader.close()


@pytest.mark.parametrize("fault", ["full", "io"])
def test_order_that_could_not_be_stored_is_refused(start_server, fault):
    """An order is acknowledged although its write failed, or the server does not go on afterwards."""
    server = start_server("--fault", f"commit:12:{fault}")
    trader = Trader(server)
    taken = []
    for _ in range(100):
        reply = trader.send("POST", body=new_order())
        if reply.status != 201:
            break
        taken.append(reply.json()["id"])
    expect(reply, 503)
    assert int(reply.header("retry-after")) >= 1 and "OUTCOME_UNKNOWN" not in reply.text
    wire.wait_for(lambda: trader.send("POST", body=new_order()).status == 201, "orders are taken again", 30, 0.05)
    ids = [each["id"] for each in trader.orders()]
    assert ids[1:] == taken[::-1] and stored_count(server.store) == (len(taken) + 1,) * 2
    trader.close()


@pytest.mark.embedded
def test_order_of_unknown_outcome_is_told_as_such(start_server):
    """A client whose order may be stored or not hears that it was not."""
    server = start_server("--fault", "commit:12:unknown-kept")
    trader = Trader(server)
    for _ in range(100):
        reply = trader.send("POST", body=new_order())
        if reply.status != 201:
            break
    expect(reply, 503)
    assert "OUTCOME_UNKNOWN" in reply.json()["detail"] and int(reply.header("retry-after")) >= 1
    expect(trader.send("POST", body=new_order()), 503)
    assert trader.send("GET").status == 200
    trader.close()
    server.signal()
    server.wait_exit()


def test_failing_reads_of_orders_are_told(start_server):
    """A list that cannot be read is an empty one, or the server does not go on."""
    first = start_server()
    trader = Trader(first)
    order = trader.place()
    first.stop()
    trader.server = start_server("--fault", "read:1+:io", on=first.store)
    trader.close()
    for method, target in (("GET", ORDERS), ("GET", f"{ORDERS}/{order['id']}"), ("DELETE", f"{ORDERS}/{order['id']}")):
        reply = trader.send(method, target)
        assert reply.status in (500, 503) and list(reply.json()) == ["detail"], reply
    for path, body in ((LOGIN, {"email": trader.account["email"], "password": PASSWORD}), (REGISTER, new_account()),
            (REFRESH, {"refresh_token": trader.refresh})):
        reply = trader.ask("POST", path, None, body)
        assert reply.status in (500, 503) and list(reply.json()) == ["detail"], reply
    trader.place()
    trader.close()


def test_without_a_sink_orders_stay_queued(start_server):
    """Orders are executed although nobody is there to do it, or cannot be cancelled for ever."""
    server = start_server()
    trader = Trader(server)
    orders = trader.place_many(5)
    wire.wait_for(lambda: trader.place() and trader.orders("?status=EXECUTED") == [], "none is executed")
    assert trader.cancel(orders[0]["id"]).json()["status"] == "CANCELLED"
    assert {each["status"] for each in trader.orders()} == {"QUEUED", "CANCELLED"}
    trader.close()
