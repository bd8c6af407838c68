# SPDX-License-Identifier: Apache-2.0
"""Orders contract: placing orders, synchronous and asynchronous, what is refused, and looking them up."""
import json
import re
import time
from urllib.parse import quote

import pytest

import wire
from ordering import ASYNC, FIGURE, FINAL, SYNC, check_later, check_problem, held, item, new_order_id, order, \
    with_provider
from shop import ISO, JSON_TYPE, UUID4, cannot, clock_doubt_ms, ms_of, now_ms
from test_orders_waiting import SLOW

BOTH = pytest.mark.parametrize("path", [SYNC, ASYNC])
TEXT_TYPE = "text/plain; charset=utf-8"
INT64_MAX = 2 ** 63 - 1


# --- POST /orders/sync ---

def test_sync_order_is_paid_before_the_answer(orders):
    """The answer to a synchronous order has other members, another order or other texts than the original's."""
    order_id = new_order_id()
    reply = orders.sync(order(order_id=order_id))
    match = re.fullmatch(r'\{"duration":(' + FIGURE + r'),"message":"Order processed successfully","order_id":"'
        + order_id + r'","status":"completed"\}', reply.text)
    assert reply.status == 200 and match, reply
    assert reply.header("content-type") == "application/json"
    assert orders.rows("status", order_id) == [("completed",)]
    assert orders.payments(order_id) == ["paid"]


def test_duration_counts_from_the_arrival(start_server, orders_of):
    """The duration of a synchronous order is not the time that its payment took."""
    orders = orders_of(start_server("--payment-time", "400ms"))
    began = time.monotonic()
    duration = orders.sync(order()).json()["duration"]
    assert 0.4 <= duration <= time.monotonic() - began


def test_declined_order_is_402(start_server, orders_of):
    """A declined payment is not answered as the original did."""
    orders = orders_of(start_server("--payment-time", "20ms", "--payment-decline-rate", "1"))
    order_id = new_order_id('de"clined')
    reply = orders.sync(order(order_id=order_id))
    shown = json.dumps(order_id)[1:-1]
    match = re.fullmatch(r'\{"duration":(' + FIGURE + r'),"error":"payment declined for order (.*)","order_id":"(.*)",'
        r'"status":"failed"\}', reply.text)
    assert reply.status == 402 and match and match[2] == match[3] == shown, reply
    assert reply.header("content-type") == "application/json"
    assert orders.payments(order_id) == ["declined"]
    assert orders.status(order_id) == "failed"


# --- POST /orders/async ---

def test_async_order_is_queued(orders):
    """The answer to an asynchronous order has other members or no Location."""
    order_id = new_order_id()
    reply = orders.queue(order(order_id=order_id))
    assert reply.status == 202 and reply.header("content-type") == "application/json", reply
    assert reply.header("location") == f"/orders/{order_id}"
    body = reply.json()
    assert isinstance(body.pop("duration"), float)
    assert body == {"order_id": order_id, "status": "pending",
        "message": "Order received and queued for processing"}
    orders.wait_status(order_id, "completed")
    assert orders.payments(order_id) == ["paid"]


def test_async_order_is_stored_before_the_answer(orders):
    """A 202 comes before the order is in the store."""
    for _ in range(5):
        order_id = orders.queue_well()
        assert orders.rows("order_id", order_id) == [(order_id,)]


def test_location_leads_to_the_order(orders):
    """The Location of an order with an odd id leads elsewhere."""
    for word in ("ünïcödé", "a/b?c#d%20e", "..", "two words", '"quoted"', "\x7f\x01"):
        order_id = new_order_id(word)
        location = orders.queue(order(order_id=order_id)).header("location")
        assert re.fullmatch(r"/orders/[A-Za-z0-9._~%-]+", location), location
        reply = orders.ask("GET", location)
        assert reply.status == 200 and reply.json()["order_id"] == order_id


# --- ids ---

@BOTH
def test_order_id_is_kept(orders, path):
    """The client's order_id is replaced."""
    for order_id in (new_order_id(), "é" * 100 + new_order_id(), new_order_id().ljust(255, "x")):
        reply = orders.ask("POST", path, body=order(order_id=order_id))
        assert reply.status in (200, 202) and reply.json()["order_id"] == order_id, reply


@BOTH
@pytest.mark.parametrize("how", [{}, {"order_id": ""}, {"order_id": None}], ids=["missing", "empty", "null"])
def test_order_without_id_gets_a_uuid(orders, path, how):
    """An order without an order_id gets none, or one that is no UUID version 4, or one that was given before."""
    ids = [orders.ask("POST", path, body=order(**how)).json()["order_id"] for _ in range(3)]
    assert all(UUID4.fullmatch(order_id) for order_id in ids), ids
    assert len(set(ids)) == 3


# --- what is ignored ---

@BOTH
def test_unknown_members_are_ignored(orders, path):
    """Members that the contract does not know are refused, or shown."""
    body = order(items=[item(item_id="I-1", name="Widget", nested={"a": [1, None]})], coupon="X", total=[1, 2])
    reply = orders.ask("POST", path, body=body)
    assert reply.status in (200, 202), reply
    shown = orders.get(reply.json()["order_id"]).json()
    assert shown["items"] == [item()] and "coupon" not in shown


@BOTH
def test_status_and_time_are_overwritten(orders, path):
    """A client can say what status its order has, or when it was made."""
    reply = orders.ask("POST", path, body=order(status="completed", created_at="1999-01-01T00:00:00Z"))
    assert reply.status in (200, 202), reply
    shown = orders.get(reply.json()["order_id"]).json()
    assert abs(ms_of(shown["created_at"]) - now_ms()) < 60_000
    if path == ASYNC:
        assert reply.json()["status"] == "pending"


def test_content_type_does_not_matter(orders):
    """An order is refused because of its media type, which the original never looked at."""
    text = json.dumps(order())
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8", ""):
        assert orders.queue(text, {"Content-Type": content_type}).status == 202
    assert orders.queue(text).status == 202


# --- 400 ---

MALFORMED = {
    "nothing": "",
    "no JSON": "{",
    "two values": json.dumps(order()) + "{}",
    "no UTF-8": b'{"customer_id":1,"items":[{"product_id":"\xff","quantity":1,"price":1}]}',
    "null": "null",
    "array": [order()],
    "text": '"order"',
    "empty object": {},
    "no items": {"customer_id": 1},
    "items null": {"customer_id": 1, "items": None},
    "items object": {"customer_id": 1, "items": {"0": item()}},
    "no customer": {"items": [item()]},
    "customer null": order(customer=None),
    "customer text": order(customer="7"),
    "customer fraction": order(customer=7.5),
    "customer too large": order(customer=2 ** 63),
    "order_id number": order(order_id=5),
    "order_id object": order(order_id={}),
    "item no object": order(items=[1]),
    "item null": order(items=[None]),
    "no product": order(items=[{"quantity": 1, "price": 1}]),
    "no quantity": order(items=[{"product_id": "P", "price": 1}]),
    "no price": order(items=[{"product_id": "P", "quantity": 1}]),
    "product number": order(items=[item(product=5)]),
    "quantity text": order(items=[item(quantity="1")]),
    "quantity fraction": order(items=[item(quantity=1.5)]),
    "quantity null": order(items=[item(quantity=None)]),
    "quantity true": order(items=[item(quantity=True)]),
    "quantity too large": order(items=[item(quantity=2 ** 63)]),
    "price text": order(items=[item(price="1.50")]),
    "price null": order(items=[item(price=None)]),
    "price beyond all": '{"customer_id":1,"items":[{"product_id":"P","quantity":1,"price":1e400}]}',
    "second item": order(items=[item(quantity=-1), item(price="x")]),
    "status number": order(status=1),
    "created_at number": order(created_at=1),
    "priority text": order(priority="high"),
    "priority fraction": order(priority=1.5),
    "email number": order(customer_email=5),
}


@BOTH
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_malformed_order_is_400(orders, path, body):
    """A body that is not JSON, or with a member missing or of the wrong type, is not answered as the original did, or
    leaves something."""
    before = orders.stats()["total_orders"]
    reply = orders.ask("POST", path, body=body)
    assert (reply.status, reply.text, reply.header("content-type")) == (400, "Invalid request body", TEXT_TYPE), reply
    assert nothing_came(orders, before)


# --- 422 ---

REFUSED = {
    "no item": (order(items=[]), "items"),
    "1,001 items": (order(items=[item()] * 1001), "items"),
    "10,000 items": (order(items=[item()] * 10_000), "items"),
    "quantity zero": (order(items=[item(), item(quantity=0)]), r"items\[1\]\.quantity"),
    "quantity negative": (order(items=[item(quantity=-1)]), r"items\[0\]\.quantity"),
    "quantity least": (order(items=[item(quantity=-2 ** 63)]), r"items\[0\]\.quantity"),
    "price negative": (order(items=[item(price=-0.01)]), r"items\[0\]\.price"),
    "price a little negative": (order(items=[item(price=-0.0000005)]), r"items\[0\]\.price"),
    "price too large": (order(items=[item(price=1e300)]), r"items\[0\]\.price"),
    "price too fine": ('{"customer_id":1,"items":[{"product_id":"P","quantity":1,"price":1e-9}]}',
        r"items\[0\]\.price"),
    "total by price": ('{"customer_id":1,"items":[{"product_id":"P","quantity":1,"price":92233720368547758.08}]}',
        "price|total"),
    "total by quantity": (order(items=[item(quantity=2 ** 63 - 1, price=0.02)]), "total"),
    "total by items": (order(items=[item(price=9e16)] * 2), "total"),
    "total of many": (order(items=[item(quantity=2 ** 62, price=1e10)] * 1000), "total"),
    "order_id of 256 bytes": (order(order_id="x" * 256), "order_id"),
    "order_id of 256 bytes of UTF-8": (order(order_id="é" * 128), "order_id"),
    "order_id with NUL": (order(order_id="a\0b"), "order_id"),
    "order_id of one dot": (order(order_id="."), "order_id"),
    "order_id of two dots": (order(order_id=".."), "order_id"),
    "product_id of 256 bytes": (order(items=[item(product="x" * 256)]), r"items\[0\]\.product_id"),
    "product_id with NUL": (order(items=[item(product="a\0b")]), r"items\[0\]\.product_id"),
    "priority below": (order(priority=-1), "priority"),
    "priority above": (order(priority=10), "priority"),
    "priority far above": (order(priority=2 ** 63 - 1), "priority"),
    "email without host": (order(customer_email="anna"), "customer_email"),
    "email with a line end": (order(customer_email="anna@example.com\r\nBcc: x@example.com"), "customer_email"),
    "two addresses": (order(customer_email="anna@example.com,bert@example.com"), "customer_email"),
    "email with a name": (order(customer_email="Anna <anna@example.com>"), "customer_email"),
    "email with two dots": (order(customer_email="anna..b@example.com"), "customer_email"),
    "email beyond ASCII": (order(customer_email="ännä@example.com"), "customer_email"),
    "email of 255 bytes": (order(customer_email="a@" + "b." * 126 + "c"), "customer_email"),
}


@BOTH
@pytest.mark.parametrize("body, named", REFUSED.values(), ids=REFUSED)
def test_impossible_order_is_422(orders, path, body, named):
    """An order that cannot be is accepted, refused without saying what is wrong, or leaves something."""
    before = orders.stats()["total_orders"]
    detail = check_problem(orders.ask("POST", path, body=body), 422)
    assert re.search(named, detail), detail
    assert nothing_came(orders, before)


def nothing_came(orders, before):
    """Neither the figures nor the store know of more orders than before."""
    return wire.wait_for(lambda: orders.stats()["total_orders"] == before == orders.stored(), "no order has come")


def test_largest_body_with_1000_items(orders):
    """An order of exactly 1,000 items, with names as long as they may be, is refused or cut."""
    items = [item(product="\x01" * 100 + "x" * 155, quantity=index + 1, price=0.01) for index in range(1000)]
    order_id = orders.queue_well(items=items)
    assert orders.get(order_id).json()["items"] == items
    assert orders.amount(order_id) == sum(range(1, 1001))


# --- amounts ---

AMOUNTS = {
    "0.1 three times": ('[{"q":3,"p":0.1}]', 30),
    "cents": ('[{"q":1,"p":19.99},{"q":2,"p":5}]', 2999),
    "free": ('[{"q":5,"p":0},{"q":1,"p":-0.0}]', 0),
    "half a cent up": ('[{"q":1,"p":0.005}]', 1),
    "less than half": ('[{"q":1,"p":0.004999}]', 0),
    "rounded once": ('[{"q":1,"p":0.004},{"q":1,"p":0.004}]', 1),
    "millionths": ('[{"q":1000000,"p":0.000001}]', 100),
    "exponent": ('[{"q":1,"p":1.5e2},{"q":1,"p":25E-1}]', 15250),
    "floating point": ('[{"q":1,"p":21.989000000000004}]', 2199),
    "floating point up": ('[{"q":1000000,"p":0.0000015}]', 200),
    "beyond a double": ('[{"q":1,"p":90071992547409.93}]', 9007199254740993),
    "largest": ('[{"q":1,"p":92233720368547758.07}]', INT64_MAX),
    "largest by quantity": (f'[{{"q":{INT64_MAX},"p":0.01}}]', INT64_MAX),
    "largest, half a cent less": ('[{"q":1,"p":92233720368547758.07},{"q":1,"p":0.004999}]', INT64_MAX),
}


@pytest.mark.parametrize("items, cents", AMOUNTS.values(), ids=AMOUNTS)
def test_total_is_exact(orders, items, cents):
    """The amount of an order passes through floating point, or is rounded more than once."""
    items = items.replace('"q"', '"product_id":"P","quantity"').replace('"p"', '"price"')
    reply = orders.queue('{"customer_id":1,"items":%s}' % items)
    assert reply.status == 202, reply
    assert orders.amount(reply.json()["order_id"]) == cents


def test_half_a_cent_too_much(orders):
    """A total that rounds to more cents than an int64 has is accepted."""
    items = [item(price=1), item(price=0.005)]
    text = json.dumps(order(items=items)).replace('"price": 1}', '"price": 92233720368547758.07}')
    check_problem(orders.queue(text), 422)


def test_prices_are_shown_as_they_were_sent(orders):
    """A price looks otherwise when the order is shown."""
    text = '[19.99,5,0.1,0.000001,92233720368547758.07]'
    items = [f'{{"product_id":"P","quantity":1,"price":{price}}}' for price in text[1:-1].split(",")[:-1]]
    order_id = orders.queue('{"customer_id":1,"items":[%s]}' % ",".join(items)).json()["order_id"]
    shown = re.findall(r'"price":([^}]*)\}', orders.get(order_id).text)
    assert shown == ["19.99", "5", "0.1", "0.000001"]


# --- the same order again ---

@BOTH
def test_order_sent_again_is_the_same(orders, path):
    """An order that is sent again is paid twice, or told otherwise."""
    body = order(order_id=new_order_id(), items=[item(), item("P-2", 3, 1.25)])
    first = orders.sync(body).json()
    again = orders.ask("POST", path, body=body)
    assert again.status == (200 if path == SYNC else 202), again
    assert again.json()["order_id"] == body["order_id"] and again.json()["status"] == first["status"] == "completed"
    if path != SYNC:
        assert again.json()["message"] == "Order was already processed"
    assert orders.payments(body["order_id"]) == ["paid"]
    assert orders.rows("attempts", body["order_id"]) == [(1,)]


def test_declined_order_sent_again_stays_declined(start_server, orders_of):
    """A declined order is tried anew when it is sent again."""
    orders = orders_of(start_server("--payment-time", "20ms", "--payment-decline-rate", "1"))
    body = order(order_id=new_order_id())
    assert [orders.sync(body).status for _ in range(3)] == [402] * 3
    again = orders.queue(body)
    assert again.status == 202 and again.json()["status"] == "failed", again
    assert again.json()["message"] == "Order was already processed"
    assert orders.payments(body["order_id"]) == ["declined"]


@BOTH
def test_spelling_does_not_make_another_order(orders, path):
    """Blanks, the order of members, or members that are ignored make another order."""
    order_id = new_order_id()
    assert orders.queue(order(order_id=order_id, customer=5, items=[item(price=1.5)])).status == 202
    text = ('{ "items" : [{"name":"W","price":1.50,"quantity":1,"product_id":"P-1"}],"created_at":"%s",'
        '"customer_id":5,"priority":5,"order_id":"%s"}' % (now_ms(), order_id))
    assert orders.ask("POST", path, body=text).status in (200, 202)


OTHERS = {
    "customer": {"customer": 8},
    "product": {"items": [item("P-2")]},
    "quantity": {"items": [item(quantity=2)]},
    "price": {"items": [item(price=10.51)]},
    "more items": {"items": [item(), item()]},
    "priority": {"priority": 6},
    "email": {"customer_email": "bert@example.com"},
}


@BOTH
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_id_of_another_order_is_409(orders, path, other):
    """The order_id of another order is accepted, or changes that order."""
    order_id = new_order_id()
    assert orders.queue(order(order_id=order_id, customer_email="anna@example.com")).status == 202
    orders.wait_status(order_id, "completed")
    shown = orders.get(order_id).text
    body = order(order_id=order_id, **{"customer_email": "anna@example.com", **other})
    assert "order_id" in check_problem(orders.ask("POST", path, body=body), 409)
    assert orders.get(order_id).text == shown
    assert len(orders.rows("id", order_id)) == 1


def test_same_order_at_once_is_paid_once(start_server, orders_of):
    """Of many who send the same order at once, some hear another outcome, or it is paid twice."""
    server = start_server("--payment-time", "300ms", "--net-threads", "3")
    orders = orders_of(server)
    body = order(order_id=new_order_id())
    waiting = [orders.place(body) for _ in range(8)]
    replies = [connection.read_reply() for connection in waiting]
    for connection in waiting:
        connection.close()
    assert [(reply.status, reply.json()["status"]) for reply in replies] == [(200, "completed")] * 8
    assert orders.payments(body["order_id"]) == ["paid"]
    assert orders.rows("attempts", body["order_id"]) == [(1,)]
    assert orders.stats()["total_orders"] == 1


def test_orders_sent_again_survive_a_restart(start_server, orders_of):
    """After a restart an order that is sent again is placed again."""
    first = start_server("--payment-time", "20ms")
    body = order(order_id=new_order_id())
    assert orders_of(first).sync(body).status == 200
    first.stop()
    orders = orders_of(start_server("--payment-time", "20ms", on=first.store))
    assert orders.sync(body).status == 200
    assert orders.sync({**body, "customer_id": 8}).status == 409
    assert orders.stats()["total_orders"] == 1


# --- GET /orders/{id} ---

def test_completed_order_is_shown(orders):
    """A completed order is shown with other members than the contract's."""
    before = now_ms()
    items = [item("P-é\"", 2, 19.99), item("", 1, 0)]
    body = order(order_id=new_order_id(), customer=-5, items=items, priority=7)
    assert orders.sync(body).status == 200
    reply = orders.get(body["order_id"])
    assert reply.status == 200 and reply.header("content-type") == "application/json", reply
    shown = reply.json()
    doubt = clock_doubt_ms(orders.server.store)
    assert before - doubt <= ms_of(shown.pop("created_at")) <= ms_of(shown.pop("paid_at")) <= now_ms() + doubt
    assert shown == {"order_id": body["order_id"], "customer_id": -5, "status": "completed", "items": items,
        "priority": 7, "attempts": 1}


def test_pending_order_is_shown_with_its_place(start_server, orders_of):
    """A pending order has no place in the line, or a wrong one, or is said to be paid."""
    orders = orders_of(start_server(*SLOW))
    being_paid = orders.queue_well()
    orders.wait_status(being_paid, "processing")
    ids = [orders.queue_well() for _ in range(3)]
    shown = [orders.get(order_id).json() for order_id in ids]
    assert [entry["status"] for entry in shown] == ["pending"] * 3
    assert set(shown[0]) == {"order_id", "customer_id", "status", "items", "created_at", "priority", "position",
        "estimated_wait_seconds", "paid_at", "attempts"}
    assert [entry["position"] for entry in shown] == [1, 2, 3]
    waits = [entry["estimated_wait_seconds"] for entry in shown]
    assert waits == sorted(waits) and 30 <= waits[0] and waits[0] + 30 <= waits[2], waits
    assert all(entry["paid_at"] is None and entry["attempts"] == 0 for entry in shown)
    paying = orders.get(being_paid).json()
    assert set(paying) == set(shown[0]) - {"position", "estimated_wait_seconds"}
    assert paying["paid_at"] is None and paying["attempts"] == 1


@pytest.mark.parametrize("order_id", ["nothing", "x" * 255, "x" * 256, "x" * 3000, quote("ü" * 200), "%00", "a%00b",
    "a%2Fb", "%25"])
def test_unknown_order_is_404(orders, order_id):
    """An order that does not exist is not answered as the original did."""
    reply = orders.get(order_id)
    assert (reply.status, reply.text, reply.header("content-type")) == (404, "Order not found", TEXT_TYPE), reply


def test_refused_order_is_unknown(orders):
    """An order that was refused can be looked up."""
    order_id = new_order_id()
    check_problem(orders.queue(order(order_id=order_id, priority=10)), 422)
    assert orders.get(order_id).status == 404


def test_times_of_orders_are_rfc_3339(orders):
    """The times of an order are not as they should be."""
    order_id = orders.queue_well()
    orders.wait_status(order_id, *FINAL)
    shown = orders.get(order_id).json()
    assert re.fullmatch(ISO, shown["created_at"]) and re.fullmatch(ISO, shown["paid_at"])


# --- routes ---

ROUTES = [(SYNC, "POST"), (ASYNC, "POST"), ("/orders/A", "GET, HEAD"), ("/orders/A/events", "GET, HEAD"),
    ("/stats", "GET, HEAD"), ("/admin/dead-letters", "GET, HEAD"), ("/admin/dead-letters/1/replay", "POST")]


@pytest.mark.parametrize("path, allowed", ROUTES)
def test_other_methods_are_405(orders, path, allowed):
    """A known path with another method is not a 405 that says which ones there are."""
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} - set(allowed.split(", ")):
        reply = orders.ask(method, path)
        assert reply.status == 405 and reply.header("allow") == allowed, (method, reply)
        if method != "HEAD":
            check_problem(reply, 405)


@pytest.mark.parametrize("path", ["/orders", "/orders/", "/Orders/sync", "/orders/sync/", "/orders/A/events/1",
    "/stats/", "/admin/dead-letters/", "/admin"])
def test_unknown_paths_of_orders_are_404(orders, path):
    """A path that is none is found."""
    for method in ("GET", "POST"):
        reply = orders.ask(method, path)
        assert (reply.status, reply.text) == (404, cannot(method, path)), reply
        assert reply.header("content-type") == JSON_TYPE


def test_head_of_an_order(orders):
    """HEAD does not tell the head of the GET."""
    order_id = orders.queue_well()
    orders.wait_status(order_id, *FINAL)
    shown = orders.get(order_id)
    head = orders.ask("HEAD", f"/orders/{order_id}")
    assert (head.status, head.header("content-length")) == (200, shown.header("content-length"))
    assert orders.ask("HEAD", "/orders/nothing").status == 404
    assert orders.ask("HEAD", f"/orders/{order_id}/events").status == 200
    assert orders.ask("HEAD", "/stats").status == 200


# --- a full line ---

def test_full_queue_refuses_orders(start_server, orders_of):
    """With --queue-max orders waiting, more are taken, or what is there already is refused too."""
    orders = orders_of(start_server(*SLOW, "--queue-max", "3"))
    orders.wait_status(orders.queue_well(), "processing")
    bodies = [order(order_id=new_order_id()) for _ in range(3)]
    for body in bodies:  # a shared store is asked twice a second how many wait; until then it may look like more
        wire.wait_for(lambda: orders.queue(body).status == 202, "there is room in the line")
    refused = order(order_id=new_order_id())
    check_later(orders.queue(refused))
    check_later(orders.sync(order()))
    assert orders.get(refused["order_id"]).status == 404
    again = orders.queue(bodies[0])
    assert again.status == 202 and again.json()["status"] == "pending", again
    check_problem(orders.queue({**bodies[0], "customer_id": 8}), 409)
    assert orders.stats()["total_orders"] == 4 == orders.stored()


# --- priorities ---

def test_higher_priority_is_paid_first(start_server, orders_of, start_provider):
    """Of orders that wait, a lower one, or one that came later, is paid first."""
    provider, answer = held(start_provider)
    orders = orders_of(start_server(*with_provider(provider, "--payment-slots-max", "1")))
    first = orders.queue_well()
    orders.wait_status(first, "processing")
    priorities = [5, 0, 9, 5, 9]
    ids = [orders.queue_well(priority=priority) for priority in priorities]
    assert [orders.get(order_id).json()["position"] for order_id in ids] == [3, 5, 1, 4, 2]
    answer.set()
    for order_id in ids:
        orders.wait_status(order_id, "completed")
    assert [key for key, _ in provider.calls] == [first, ids[2], ids[4], ids[0], ids[3], ids[1]]


def test_priority_is_5_by_default(orders):
    """An order without a priority has not the default one."""
    for how, priority in (({}, 5), ({"priority": None}, 5), ({"priority": 0}, 0), ({"priority": 9}, 9)):
        assert orders.get(orders.queue_well(**how)).json()["priority"] == priority
