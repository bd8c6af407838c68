# SPDX-License-Identifier: Apache-2.0
"""Flash-sale contract, sections 2.5 to 2.8 and 17: what an admin does with products."""
import json
import re

import pytest

import wire
from shop import (ALREADY, BAD_REQUEST, EMPTY_JSON, ISO, MINUTE_MS, NOT_ACTIVE, NO_PURCHASE, PRODUCTS, TIME_RANGE,
    cannot, clock_doubt_ms, expect, invalid_sku, iso, ms_of, new_sku, new_user, now_ms, product_missing)


def changed(body, **members):
    """The body with members replaced; a member given as `...` is left out."""
    return {key: value for key, value in {**body, **members}.items() if value is not ...}


# --- POST (2.5) ---

def test_create_echoes_what_was_sent(server, shop):
    """The reply to a new product has other members, another order, or does not repeat the times as sent."""
    sku, before = new_sku("W"), now_ms()
    body = {"sku": sku, "productName": "Widget", "initialStock": 3, "startTime": "2026-11-20T23:47:01+02:00",
        "endTime": "2099-12-31"}
    reply = shop.create(body)
    created = ms_of(reply.data["createdAt"])
    expect(reply, 201, '{"success":true,"data":{"sku":"%s","productName":"Widget","initialStock":3,'
        '"startTime":"2026-11-20T23:47:01+02:00","endTime":"2099-12-31","state":"UPCOMING","createdAt":"%s"}}'
        % (sku, iso(created)))
    doubt = clock_doubt_ms(server.store)
    assert before - doubt <= created <= now_ms() + doubt


def test_create_always_says_upcoming(server, shop):
    """The reply to a product whose sale has begun says another state than UPCOMING."""
    for start, end in ((-MINUTE_MS, MINUTE_MS), (-2 * MINUTE_MS, -MINUTE_MS), (MINUTE_MS, 2 * MINUTE_MS)):
        assert shop.create(shop.body(new_sku(), start=start, end=end)).data["state"] == "UPCOMING"


@pytest.mark.parametrize("name", ["x", " ", "  a  ", "n" * 255, "é" * 255, "名" * 255, "\U0001f600" * 255,
    'say "\\now/', "tab\tnew\nline", "<b>&amp;"], ids=lambda name: f"{len(name)}-{name[:6]!r}")
def test_names_are_kept_as_they_are(server, shop, name):
    """An allowed name of 1 to 255 characters is refused, or comes back changed."""
    sku = new_sku()
    reply = shop.create(shop.body(sku, name=name))
    assert reply.status == 201 and reply.data["productName"] == name
    assert shop.product(sku).data["productName"] == name
    assert shop.status(sku).data["productName"] == name


@pytest.mark.parametrize("stock, kept", [("0", 0), ("1", 1), ("3.0", 3), ("2e2", 200), ("2147483647", 2147483647)])
def test_stocks_that_are_accepted(server, shop, stock, kept):
    """A whole number of units is refused or becomes another number."""
    sku = new_sku()
    text = json.dumps(shop.body(sku)).replace('"initialStock": 10', '"initialStock": ' + stock)
    reply = shop.create(text, {"Content-Type": "application/json"})
    assert reply.status == 201, reply
    data = shop.product(sku).data
    assert [type(data[name]) for name in ("initialStock", "currentStock", "totalPurchases")] == [int] * 3
    assert (data["initialStock"], data["currentStock"], data["totalPurchases"]) == (kept, kept, 0)


def test_stock_beyond_31_bits_is_whole_or_refused(server, shop):
    """A stock over 2^31 is a 500, or leaves something half-done (the contract's defect 16.3)."""
    sku = new_sku()
    reply = shop.create(shop.body(sku, stock=2**31))
    if reply.status == 201:
        shop.wait_state(sku, "ACTIVE")
        shop.buy_well(sku)
        assert shop.product(sku).data["currentStock"] == 2**31 - 1
    else:
        expect(reply, 400, BAD_REQUEST)
        expect(shop.product(sku), 404, product_missing(sku))


@pytest.mark.parametrize("stock", ["-1", "0.5", "3.0000001", "1e400", "9223372036854775808", "1e19",
    "-9223372036854775809", '"3"', '""', "null", "true", "[3]", "{}", "123456789012345678901234567890"])
def test_stocks_that_are_refused(server, shop, stock):
    """Something that is no whole number of units, or overflows, is taken as a stock."""
    sku = new_sku()
    text = json.dumps(shop.body(sku)).replace('"initialStock": 10', '"initialStock": ' + stock)
    reply = shop.create(text, {"Content-Type": "application/json"})
    expect(reply, 400, reply.text)
    assert reply.code == "HTTP_ERROR"
    if stock not in ("1e400", "123456789012345678901234567890", "9223372036854775808", "-9223372036854775809"):
        assert reply.text == BAD_REQUEST
    expect(shop.product(sku), 404, product_missing(sku))


@pytest.mark.parametrize("members", [{"sku": ...}, {"productName": ...}, {"initialStock": ...}, {"startTime": ...},
    {"endTime": ...}, {"sku": None}, {"sku": 1}, {"sku": ""}, {"sku": "a_b"}, {"sku": "A" * 65}, {"sku": "A\n"},
    {"productName": None}, {"productName": ""}, {"productName": 1}, {"productName": "n" * 256},
    {"productName": "\U0001f600" * 256}, {"productName": ["x"]}, {"startTime": None}, {"endTime": None},
    {"perUserLimit": 1}, {"price": 1}, {"state": "ACTIVE"}, {"extra": None}], ids=lambda members: str(members)[:40])
def test_create_refuses_bad_members(server, shop, members):
    """A missing, ill-typed, ill-formed or unknown member is let through or gets another text."""
    body = changed(shop.body(new_sku()), **members)
    expect(shop.create(body), 400, BAD_REQUEST)
    if isinstance(body.get("sku"), str) and re.fullmatch("[A-Za-z0-9-]{1,64}", body["sku"]):
        assert shop.product(body["sku"]).status == 404


@pytest.mark.parametrize("body", ["[]", "null", '"x"', "1", "{}"])
def test_create_refuses_other_json(server, shop, body):
    """JSON that is no product makes one."""
    expect(shop.create(body, {"Content-Type": "application/json"}), 400, BAD_REQUEST)


def test_create_without_body_is_a_bad_request(server, shop):
    """A POST without a body gets another text."""
    expect(shop.ask("POST", PRODUCTS, shop.admin), 400, BAD_REQUEST)


TIMES = [  # as sent, what it means in UTC; the server runs in Asia/Kolkata, +05:30
    ("2026-11-20", "2026-11-20T00:00:00.000Z"),
    ("2026-11-20T10:20:30Z", "2026-11-20T10:20:30.000Z"),
    ("2026-11-20T10:20:30.5Z", "2026-11-20T10:20:30.500Z"),
    ("2026-11-20T10:20:30.123Z", "2026-11-20T10:20:30.123Z"),
    ("2026-11-20T10:20:30.123456789Z", "2026-11-20T10:20:30.123Z"),
    ("2026-11-20T10:20Z", "2026-11-20T10:20:00.000Z"),
    ("2026-11-20 10:20:30Z", "2026-11-20T10:20:30.000Z"),
    ("2026-11-20t10:20:30Z", "2026-11-20T10:20:30.000Z"),
    ("2026-11-20T10:20:30+02:00", "2026-11-20T08:20:30.000Z"),
    ("2026-11-20T10:20:30-03:30", "2026-11-20T13:50:30.000Z"),
    ("2026-11-20T10:20:30+0200", "2026-11-20T08:20:30.000Z"),
    ("2026-11-20T10:20:30+02", "2026-11-20T08:20:30.000Z"),
    ("2026-11-20T00:30:00+05:30", "2026-11-19T19:00:00.000Z"),
    ("2026-11-20T10:20:30", "2026-11-20T04:50:30.000Z"),
    ("2026-11-20 10:20", "2026-11-20T04:50:00.000Z"),
    ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00.000Z"),
    ("1999-12-31T23:59:59.999Z", "1999-12-31T23:59:59.999Z"),
]


def test_times_are_read_and_normalised(start_server, shop_of):
    """A time in one of the accepted forms is refused, or means another moment."""
    shop = shop_of(start_server(environment={"TZ": "Asia/Kolkata"}))
    sku = new_sku()
    for sent, utc in TIMES:
        body = changed(shop.body(sku), startTime=sent, endTime="2099-01-01T00:00:00Z")
        reply = shop.create(body)
        assert (reply.status, reply.data["startTime"]) == (201, sent)
        data = shop.product(sku).data
        assert (data["startTime"], data["endTime"]) == (utc, "2099-01-01T00:00:00.000Z"), sent
        assert shop.status(sku).data["startTime"] == str(ms_of(utc))


@pytest.mark.parametrize("time", ["", " ", "tomorrow", "now", "0", "1795218421000", "2026-13-01", "2026-00-10",
    "2026-02-30", "2026-11-31", "2027-02-29", "2026-11-20T", "2026-11-20T24:30:00Z", "2026-11-20T10",
    "2026-11-20T10:60Z", "2026-11-20T10:20:61Z", "2026-11-20T10:20:30+25:00", "2026-11-20T10:20:30 ",
    " 2026-11-20T10:20:30Z",
    "2026-11-20T10:20:30ZZ", "20261120T102030Z", "20261120", "2026-W47-5", "2026-324", "11/20/2026",
    "Fri, 20 Nov 2026 10:20:30 GMT", "2026-11-20T10:20:30.Z", "2026-11-20\u0000", "２０２６-11-20",
    1795218421000, 0, True, [], {}], ids=repr)
def test_other_times_are_refused(server, shop, time):
    """Something that is no ISO time makes a sale, or a 500 (the contract's defect 16.4)."""
    for member in ("startTime", "endTime"):
        sku = new_sku()
        expect(shop.create(changed(shop.body(sku), **{member: time})), 400, BAD_REQUEST)
        expect(shop.product(sku), 404, product_missing(sku))


@pytest.mark.parametrize("start, end", [(0, 0), (MINUTE_MS, 0), (1, 0)])
def test_end_must_be_after_start(server, shop, start, end):
    """A sale that ends before or when it starts is accepted or is no 200 INVALID_TIME_RANGE."""
    sku, now = new_sku(), now_ms()
    body = changed(shop.body(sku), startTime=iso(now + start), endTime=iso(now + end))
    expect(shop.create(body), 200, TIME_RANGE)
    expect(shop.product(sku), 404, product_missing(sku))


def test_one_millisecond_is_a_sale(server, shop):
    """The shortest sale is refused."""
    now = now_ms() + MINUTE_MS
    assert shop.create(changed(shop.body(new_sku()), startTime=iso(now), endTime=iso(now + 1))).status == 201


def test_create_overwrites(start_server, shop_of):
    """Creating a SKU again is a conflict, or keeps stock, buyers, state or end of the old sale."""
    server = start_server("--purchase-interval", "0")
    shop = shop_of(server)
    sku, user = shop.sale(stock=2), new_user()
    created = shop.product(sku).data["createdAt"]
    shop.buy_well(sku, user)
    expect(shop.buy(sku, user), 200, ALREADY)
    shop.buy_well(sku)
    assert shop.status(sku).data["state"] == "ENDED"
    wire.wait_for(lambda: now_ms() > ms_of(created) + 5, "another millisecond")
    reply = shop.create(shop.body(sku, stock=4, name="Second"))
    assert (reply.status, reply.data["state"], reply.data["createdAt"]) == (201, "UPCOMING", created)
    shop.wait_state(sku, "ACTIVE")
    data = shop.product(sku).data
    assert (data["productName"], data["initialStock"], data["currentStock"], data["totalPurchases"],
        data["createdAt"]) == ("Second", 4, 4, 0, created)
    expect(shop.purchase(sku, user), 404, NO_PURCHASE)
    shop.buy_well(sku, user)
    assert [row[1] for row in server.store.purchases(sku)] == [user]


def test_overwriting_an_active_sale_starts_anew(server, shop):
    """Creating the SKU of a running sale for later leaves it running."""
    sku = shop.sale(stock=5)
    shop.buy_well(sku)
    assert shop.create(shop.body(sku, stock=5, start=MINUTE_MS)).status == 201
    assert shop.status(sku).data["state"] == "UPCOMING"
    assert shop.status(sku).data["stock"] == 5
    expect(shop.buy(sku), 200, NOT_ACTIVE)


# --- GET (2.6) ---

def test_product_is_exact(server, shop):
    """The admin's view has other members, another order or other types than the contract's."""
    body = shop.body(new_sku("W"), stock=3)
    created = shop.create(body).data["createdAt"]
    shop.wait_state(body["sku"], "ACTIVE")
    shop.buy_well(body["sku"])
    expect(shop.product(body["sku"]), 200, '{"success":true,"data":{"sku":"%s","productName":"Widget",'
        '"initialStock":3,"startTime":"%s","endTime":"%s","state":"ACTIVE","createdAt":"%s","currentStock":2,'
        '"totalPurchases":1}}' % (body["sku"], body["startTime"], body["endTime"], created))


def test_product_of_unknown_sku_is_404(server, shop):
    """An unknown product is not the contract's 404 with its name."""
    for sku in ("NO-SUCH", "x", "Z" * 64):
        expect(shop.product(sku), 404, product_missing(sku))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("sent, meant", [("bad_sku", "bad_sku"), ("a.b", "a.b"), ("A" * 65, "A" * 65),
    ("A" * 100, "A" * 100), ("a%20b", "a b"), ("%C3%A9", "é"), ("a%22b%5Cc", 'a"b\\c'), ("a%2Fb", "a/b"),
    ("a+b", "a+b"), ("A%0A", "A\n"),
    ("~", "~")])
def test_ill_formed_sku_in_the_path(server, shop, method, sent, meant):
    """A SKU that breaks the grammar is not a 200 INVALID_SKU that repeats it decoded."""
    expect(shop.ask(method, f"{PRODUCTS}/{sent}", shop.admin), 200, invalid_sku(meant))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_segment_over_100_characters_is_no_route(server, shop, method):
    """A path segment of more than 100 characters is something else than an unknown route."""
    target = f"{PRODUCTS}/" + "A" * 101
    expect(shop.ask(method, target, shop.admin), 404, cannot(method, target))


# --- PUT (2.7) ---

def expect_updated(reply, sku, body, created, state="UPCOMING"):
    return expect(reply, 200, '{"success":true,"data":{"sku":"%s","productName":%s,"initialStock":%d,"startTime":"%s",'
        '"endTime":"%s","state":"%s","createdAt":"%s"}}' % (sku, json.dumps(body["productName"]), body["initialStock"],
        body["startTime"], body["endTime"], state, created))


@pytest.mark.parametrize("member, value", [("productName", "Gadget"), ("initialStock", 77),
    ("startTime", "2098-01-01T00:00:00.000Z"), ("endTime", "2099-01-01T00:00:00.000Z")])
def test_update_changes_what_is_named(server, shop, member, value):
    """An update changes another member, or replies with something else than the product in normalised times."""
    body = shop.body(new_sku(), start=MINUTE_MS)
    if member == "startTime":
        body["endTime"] = "2099-01-01T00:00:00.000Z"
    created = shop.create(body).data["createdAt"]
    expected = {**body, member: value}
    expect_updated(shop.put(body["sku"], {member: value}), body["sku"], expected, created)
    data = shop.product(body["sku"]).data
    assert {name: data[name] for name in expected} == expected
    assert data["currentStock"] == expected["initialStock"]


def test_update_normalises_times(server, shop):
    """The times in the reply to an update are repeated as sent rather than in UTC."""
    sku = shop.upcoming()
    data = shop.put(sku, {"startTime": "2098-01-01T02:00:00+02:00", "endTime": "2098-01-02"}).data
    assert (data["startTime"], data["endTime"]) == ("2098-01-01T00:00:00.000Z", "2098-01-02T00:00:00.000Z")


@pytest.mark.parametrize("body", [None, {}, {"productName": None}, {"productName": None, "initialStock": None,
    "startTime": None, "endTime": None}], ids=repr)
def test_update_of_nothing_changes_nothing(server, shop, body):
    """An empty update, or one of nulls, is refused or changes something."""
    sent = shop.body(new_sku(), start=MINUTE_MS)
    created = shop.create(sent).data["createdAt"]
    before = shop.product(sent["sku"]).text
    expect_updated(shop.put(sent["sku"], body), sent["sku"], sent, created)
    assert shop.product(sent["sku"]).text == before


@pytest.mark.parametrize("body", [{"sku": "A"}, {"perUserLimit": 2}, {"price": 1}, {"x": None}, {"productName": ""},
    {"productName": 1}, {"productName": "n" * 256}, {"initialStock": -1}, {"initialStock": "3"}, {"initialStock": 1.5},
    {"startTime": "soon"}, {"endTime": 5}, [], "x", 1], ids=repr)
def test_update_refuses_bad_members(server, shop, body):
    """A wrong or unknown member is let through or gets another text."""
    sku = shop.upcoming()
    before = shop.product(sku).text
    headers = {**shop.admin, "Content-Type": "application/json"}
    expect(shop.ask("PUT", f"{PRODUCTS}/{sku}", headers, json.dumps(body)), 400, BAD_REQUEST)
    assert shop.product(sku).text == before


def test_update_starts_the_sale_anew(server, shop):
    """An update of the stock leaves the old stock."""
    sku = shop.upcoming(stock=10)
    shop.put(sku, {"initialStock": 4})
    data = shop.product(sku).data
    assert (data["initialStock"], data["currentStock"], data["totalPurchases"]) == (4, 4, 0)
    shop.put(sku, {"productName": "New"})
    assert shop.product(sku).data["currentStock"] == 4


@pytest.mark.parametrize("state", ["ACTIVE", "ENDED"])
def test_update_only_while_upcoming(server, shop, state):
    """A running or ended sale can be changed, or the refusal is not the contract's."""
    sku = shop.sale(stock=1)
    if state == "ENDED":
        shop.buy_well(sku)
    before = shop.product(sku).text
    expect(shop.put(sku, {"productName": "New"}), 400, '{"success":false,"error":{"code":"VALIDATION_ERROR","message":'
        '"Sale %s cannot be modified in %s state","fields":{"state":"Sale must be in UPCOMING state, currently %s"}}}'
        % (sku, state, state))
    assert shop.product(sku).text == before


def test_update_keeps_the_time_range(server, shop):
    """An update that makes the end come before the start is let through."""
    sku = shop.upcoming()
    before = shop.product(sku).text
    expect(shop.put(sku, {"endTime": "2020-01-01T00:00:00Z"}), 200, TIME_RANGE)
    expect(shop.put(sku, {"startTime": "2099-01-01T00:00:00Z"}), 200, TIME_RANGE)
    expect(shop.put(sku, {"startTime": "2050-01-01", "endTime": "2050-01-01"}), 200, TIME_RANGE)
    assert shop.product(sku).text == before


def test_update_of_an_unknown_sku_creates_it(server, shop):
    """A full update of an unknown SKU does not make the product."""
    body = shop.body(new_sku(), start=MINUTE_MS)
    sku = body.pop("sku")
    reply = shop.put(sku, body)
    assert reply.status == 200
    expect_updated(reply, sku, body, reply.data["createdAt"])
    assert shop.product(sku).data["currentStock"] == 10
    assert shop.status(sku).data["state"] == "UPCOMING"


@pytest.mark.parametrize("body", [None, {}, {"initialStock": 3}, {"productName": "x", "initialStock": 1,
    "startTime": "2098-01-01"}], ids=repr)
def test_partial_update_of_an_unknown_sku_leaves_nothing(server, shop, body):
    """A partial update of an unknown SKU is a 500 or leaves junk (the contract's defect 16.4)."""
    sku = new_sku()
    reply = shop.put(sku, body)
    assert reply.status in (400, 404) and reply.json()["success"] is False, reply
    expect(shop.product(sku), 404, product_missing(sku))
    assert shop.status(sku).data["initialStock"] == 0


def test_update_to_a_past_start_activates(server, shop):
    """A sale whose start is moved into the past does not begin."""
    sku = shop.upcoming(stock=3)
    assert shop.put(sku, {"startTime": "2020-01-01T00:00:00Z"}).status == 200
    shop.wait_state(sku, "ACTIVE")
    shop.buy_well(sku)


# --- DELETE (2.8) ---

def expect_deleted(reply, sku):
    expect(reply, 200,
        '{"success":true,"data":{"message":"Product %s and all associated sale data have been reset."}}' % sku)


def test_delete_removes_the_product(server, shop):
    """A deleted product is still there, or can be bought."""
    sku = shop.sale()
    expect_deleted(shop.delete(sku), sku)
    expect(shop.product(sku), 404, product_missing(sku))
    data = shop.status(sku).data
    assert (data["state"], data["stock"], data["initialStock"], data["productName"]) == ("UPCOMING", 0, 0, "")
    expect(shop.buy(sku), 200, NOT_ACTIVE)


def test_delete_of_nothing_is_fine(server, shop):
    """Deleting a product that is not there is an error."""
    sku = new_sku()
    for _ in range(2):
        expect_deleted(shop.delete(sku), sku)


def test_delete_removes_the_purchases(server, shop):
    """A product with purchases cannot be deleted, or its purchases stay (the contract's defect 16.1)."""
    sku, user = shop.sale(stock=3), new_user()
    number, _ = shop.buy_well(sku, user)
    shop.buy_well(sku)
    expect_deleted(shop.delete(sku), sku)
    expect(shop.purchase(sku, user), 404, NO_PURCHASE)
    assert server.store.purchases(sku) == []
    assert server.store.rows("SELECT count(*) FROM purchases WHERE purchase_no = ?", number) == [(0,)]
    created = shop.create(shop.body(sku, stock=3)).data["createdAt"]
    assert now_ms() - ms_of(created) < MINUTE_MS
    shop.wait_state(sku, "ACTIVE")
    assert shop.stock(sku) == 3
    expect(shop.purchase(sku, user), 404, NO_PURCHASE)


def test_who_bought_a_deleted_product_may_buy_it_anew(start_server, shop_of):
    """The buyers of a deleted product are remembered."""
    shop = shop_of(start_server("--purchase-interval", "0"))
    sku, user = new_sku(), new_user()
    numbers = set()
    for _ in range(5):
        shop.delete(sku)
        shop.sale(stock=2, sku=sku)
        numbers.add(shop.buy_well(sku, user)[0])
    assert len(numbers) == 5


def test_delete_with_an_empty_json_body_is_refused(server, shop):
    """DELETE with a JSON type and nothing in it deletes."""
    sku = shop.sale()
    headers = {**shop.admin, "Content-Type": "application/json", "Content-Length": "0"}
    expect(shop.ask("DELETE", f"{PRODUCTS}/{sku}", headers), 400, EMPTY_JSON)
    assert shop.product(sku).status == 200


def test_what_the_original_auditor_asks_holds(server, shop):
    """The independent auditor of existing set-ups finds other tables, columns or sums (section 12)."""
    sku, users = shop.sale(stock=5), [new_user() for _ in range(3)]
    for user in users:
        shop.buy_well(sku, user)
    rows = server.store.rows
    where = "FROM purchases WHERE product_id = (SELECT id FROM products WHERE sku = ?)"
    assert rows(f"SELECT count(*) {where}", sku) == [(3,)]
    assert rows("SELECT initial_stock FROM products WHERE sku = ?", sku) == [(5,)]
    assert rows(f"SELECT count(DISTINCT user_id) {where}", sku) == [(3,)]
    assert rows(f"SELECT user_id {where} GROUP BY user_id HAVING count(*) > 1", sku) == []
    assert server.store.stock(sku) == (5, 2)


# --- PATCH (17) ---

def test_patch_sets_price_and_limit(server, shop):
    """PATCH does not answer with the product, price and perUserLimit, or GET shows members the contract has not."""
    sku = shop.sale(stock=5)
    before = shop.product(sku)
    reply = shop.patch(sku, {"perUserLimit": 3, "price": 1999})
    data = reply.data
    assert reply.status == 200 and {**before.data, "perUserLimit": 3, "price": 1999} == data
    assert list(data)[:9] == list(before.data)
    assert shop.product(sku).text == before.text
    data = shop.patch(sku, {"price": 5}).data
    assert (data["perUserLimit"], data["price"]) == (3, 5)
    data = shop.patch(sku, {"perUserLimit": 1}).data
    assert (data["perUserLimit"], data["price"]) == (1, 5)


def test_per_user_limit_is_one_by_default(server, shop):
    """A new product lets a buyer have more than one unit, or costs something."""
    data = shop.patch(shop.sale(), {"price": 1}).data
    assert data["perUserLimit"] == 1


def test_per_user_limit_lets_buy_more(start_server, shop_of):
    """A buyer gets more or fewer units than perUserLimit allows."""
    server = start_server("--purchase-interval", "0")
    shop = shop_of(server)
    sku, user = shop.sale(stock=10), new_user()
    assert shop.patch(sku, {"perUserLimit": 3}).status == 200
    numbers = [shop.buy_well(sku, user)[0] for _ in range(3)]
    assert len(set(numbers)) == 3
    expect(shop.buy(sku, user), 200, ALREADY)
    assert shop.purchase(sku, user).data["purchaseNo"] == numbers[-1]
    assert shop.stock(sku) == 7
    shop.patch(sku, {"perUserLimit": 2})
    expect(shop.buy(sku, user), 200, ALREADY)
    server.stop()
    shop = shop_of(start_server("--purchase-interval", "0", on=server.store))
    expect(shop.buy(sku, user), 200, ALREADY)
    shop.patch(sku, {"perUserLimit": 4})
    shop.buy_well(sku, user)
    expect(shop.buy(sku, user), 200, ALREADY)


@pytest.mark.parametrize("body", [{"perUserLimit": 0}, {"perUserLimit": -1}, {"perUserLimit": 1.5},
    {"perUserLimit": "2"}, {"perUserLimit": True}, {"price": -1}, {"price": "1"}, {"price": 0.5},
    {"price": 2**63}, {"perUserLimit": 2**63},
    {"productName": "x"}, {"sku": "A"}, {"price": 1, "x": 1}, [], "x"], ids=repr)
def test_patch_refuses_bad_members(server, shop, body):
    """A wrong price or limit, or another member, is let through."""
    sku = shop.sale()
    headers = {**shop.admin, "Content-Type": "application/json"}
    reply = shop.ask("PATCH", f"{PRODUCTS}/{sku}", headers, json.dumps(body))
    assert reply.status == 400 and reply.code == "HTTP_ERROR", reply
    data = shop.patch(sku, {"price": 7}).data
    assert data["perUserLimit"] == 1


def test_patch_of_an_unknown_or_ill_formed_sku(server, shop):
    """PATCH makes a product, or treats its path in another way than the other admin routes."""
    sku = new_sku()
    expect(shop.patch(sku, {"price": 1}), 404, product_missing(sku))
    expect(shop.product(sku), 404, product_missing(sku))
    expect(shop.patch("bad_sku", {"price": 1}), 200, invalid_sku("bad_sku"))


def test_generated_times_have_three_decimals(server, shop):
    """Times in replies are not in the one form 2026-11-20T23:48:01.620Z."""
    sku = shop.sale()
    data = shop.product(sku).data
    for name in ("startTime", "endTime", "createdAt"):
        assert re.fullmatch(ISO, data[name]), data
