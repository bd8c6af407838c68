# SPDX-License-Identifier: Apache-2.0
"""Flash-sale contract, sections 2.1 and 2.3: buying, and asking for one's purchase."""
import re

import pytest

import wire
from shop import (ALREADY, BAD_JSON, BAD_REQUEST, LIMITED, LONG_USER, MINUTE_MS, NOT_ACTIVE, NO_PURCHASE, NO_USER,
    PURCHASED, PURCHASES, SOLD_OUT, clock_doubt_ms, expect, in_time, ms_of, new_sku, new_user, now_ms)

BAD_BODIES = ['{}', '{"sku":1}', '{"sku":null}', '{"sku":true}', '{"sku":["A"]}', '{"sku":{"a":"A"}}', '{"sku":""}',
    '{"sku":"a_b"}', '{"sku":"a.b"}', '{"sku":"a b"}', '{"sku":" A"}', '{"sku":"A\\n"}', '{"sku":"A\\u0000"}',
    '{"sku":"é"}', '{"sku":"%s"}' % ("A" * 65), '{"SKU":"A"}', '{"sku":"A","qty":1}', '{"sku":"A","x":null}', '[]',
    '[{"sku":"A"}]', 'null', '"A"', '7', 'true']


def post(server, body, user=None, **headers):
    pairs = {"Content-Type": "application/json", **({"X-User-Id": user} if user is not None else {}), **headers}
    return wire.ask(server.port, "POST", PURCHASES, pairs, body)


# --- the good case ---

def test_purchase_is_confirmed_with_number_and_time(server, shop):
    """A purchase does not come back as exactly purchaseNo and purchasedAt."""
    sku = shop.sale(stock=3)
    before = now_ms()
    reply = shop.buy(sku)
    after = now_ms()
    match = PURCHASED.fullmatch(reply.text)
    assert match is not None, reply
    expect(reply, 200, match[0])
    doubt = clock_doubt_ms(server.store)
    assert before - doubt <= ms_of(match[2]) <= after + doubt
    assert match[1][4:12] == match[2][:10].replace("-", "")
    assert shop.stock(sku) == 2


def test_purchase_numbers_are_unique(server, shop):
    """Two purchases have one number."""
    skus = [shop.sale(stock=20) for _ in range(3)]
    numbers = [shop.buy_well(sku)[0] for _ in range(20) for sku in skus]
    assert len(set(numbers)) == 60


@pytest.mark.parametrize("sku", ["A", "z", "0", "-", "a-Z-9", "X" * 64])
def test_sku_grammar_accepts(server, shop, sku):
    """A SKU of letters, digits and hyphens is refused by the purchase."""
    expect(shop.buy(sku if sku != "A" else new_sku()), 200, NOT_ACTIVE)
    assert shop.status(sku).status == 200


# --- refusals of business ---

def test_unknown_sku_is_not_active(server, shop):
    """An unknown SKU is a 404 or another rejection instead of SALE_NOT_ACTIVE."""
    expect(shop.buy(new_sku()), 200, NOT_ACTIVE)


def test_upcoming_sale_is_not_active(server, shop):
    """A unit is sold before the sale has begun."""
    sku = shop.upcoming()
    expect(shop.buy(sku), 200, NOT_ACTIVE)
    assert shop.stock(sku) == 10


def test_second_purchase_is_already_purchased(start_server, shop_of):
    """Somebody buys twice, or is not told why that does not work."""
    shop = shop_of(start_server("--purchase-interval", "0"))
    sku, user = shop.sale(stock=5), new_user()
    shop.buy_well(sku, user)
    for _ in range(3):
        expect(shop.buy(sku, user), 200, ALREADY)
    assert shop.stock(sku) == 4


def test_another_product_may_be_bought_too(start_server, shop_of):
    """Having bought one product keeps somebody from buying another."""
    shop = shop_of(start_server("--purchase-interval", "0"))
    user = new_user()
    assert len({shop.buy_well(shop.sale(), user)[0] for _ in range(3)}) == 3


def test_sold_out_sale_is_not_active_for_everybody(start_server, shop_of):
    """After the last unit buyers, old and new, hear something else than SALE_NOT_ACTIVE."""
    shop = shop_of(start_server("--purchase-interval", "0"))
    sku, buyers = shop.sale(stock=2), [new_user(), new_user()]
    for buyer in buyers:
        shop.buy_well(sku, buyer)
    for user in [*buyers, new_user()]:
        expect(shop.buy(sku, user), 200, NOT_ACTIVE)
    assert shop.status(sku).data["state"] == "ENDED"


def test_sale_without_stock_is_sold_out(server, shop):
    """An active sale that never had a unit answers something else than SOLD_OUT, or ends."""
    sku = shop.sale(stock=0)
    for _ in range(2):
        expect(shop.buy(sku), 200, SOLD_OUT)
    data = shop.product(sku).data
    assert (data["state"], data["currentStock"], data["totalPurchases"]) == ("ACTIVE", 0, 0)


def test_sold_out_reply_can_be_chosen(start_server, shop_of):
    """--sold-out-reply sold_out changes nothing, or too much."""
    shop = shop_of(start_server("--sold-out-reply", "sold_out"))
    sku, buyer = shop.sale(stock=1), new_user()
    shop.buy_well(sku, buyer)
    for _ in range(3):
        expect(shop.buy(sku), 200, SOLD_OUT)
    assert shop.status(sku).data["state"] == "ENDED"
    expect(shop.buy(new_sku()), 200, NOT_ACTIVE)
    expect(shop.buy(shop.upcoming()), 200, NOT_ACTIVE)
    past = new_sku()
    assert shop.create(shop.body(past, start=-2 * MINUTE_MS, end=-MINUTE_MS)).status == 201
    shop.wait_state(past, "ENDED")
    expect(shop.buy(past), 200, NOT_ACTIVE)


# --- who buys ---

@pytest.mark.parametrize("headers", [{}, {"X-User-Id": ""}, {"X-User-Id": "   "}, {"X-User-Id": " \t "}], ids=str)
def test_missing_user_is_refused(server, headers):
    """A purchase without a buyer is not refused with the contract's text."""
    for _ in range(3):  # and never reaches the limiter
        expect(wire.ask(server.port, "POST", PURCHASES, headers, {"sku": "A"}), 400, NO_USER)


def test_user_of_255_characters_is_accepted(server, shop):
    """The longest allowed name is refused."""
    sku = shop.sale()
    user = new_user().ljust(255, "x")
    shop.buy_well(sku, user)
    assert shop.purchase(sku, user).status == 200


def test_user_of_256_characters_is_refused(server, shop):
    """A name that is too long buys, or is refused with another text."""
    sku = shop.sale()
    expect(shop.buy(sku, new_user().ljust(256, "x")), 400, LONG_USER)
    assert shop.stock(sku) == 10


def test_user_is_trimmed(start_server, shop_of):
    """Blanks around the name make another buyer of it, or count for its length."""
    shop = shop_of(start_server("--purchase-interval", "0"))
    sku, user = shop.sale(), new_user().ljust(255, "y")
    shop.buy_well(sku, user)
    expect(shop.buy(sku, f"  {user} \t"), 200, ALREADY)
    assert shop.purchase(sku, f" {user} ").status == 200


@pytest.mark.parametrize("name", [b"bob@example.com", b"a b  c", b"!#$%&'*+-.^_`|~\"\\/<>{}()[],;:=?", b"J\xfcrgen",
    b"\xe5\x90\x8d\xe5\x89\x8d", b"\x80\xff"])
def test_user_may_have_any_characters(server, shop, name):
    """A name with signs or with letters beyond ASCII cannot buy, or is another one when asked for."""
    sku = shop.sale()
    user = name + new_user().encode()
    headers = {"X-User-Id": user}
    reply = shop.ask("POST", PURCHASES, headers, {"sku": sku})
    number = PURCHASED.fullmatch(reply.text)
    assert number is not None, reply
    assert shop.ask("GET", f"{PURCHASES}?sku={sku}", headers).data["purchaseNo"] == number[1]
    assert shop.ask("GET", f"{PURCHASES}?sku={sku}", {"X-User-Id": user + b"x"}).status == 404


def test_user_of_255_characters_beyond_ascii(server, shop):
    """Characters are counted as bytes of UTF-8: 255 letters beyond ASCII are refused, or 256 accepted."""
    sku = shop.sale()
    user = new_user().encode().ljust(255, b"\xe9")
    assert shop.ask("POST", PURCHASES, {"X-User-Id": user}, {"sku": sku}).code is None
    expect(shop.ask("POST", PURCHASES, {"X-User-Id": user + b"\xe9"}, {"sku": sku}), 400, LONG_USER)


def test_users_differ_by_case(server, shop):
    """Alice and alice are one buyer."""
    sku, user = shop.sale(), new_user("Alice")
    assert len({shop.buy_well(sku, user)[0], shop.buy_well(sku, user.lower())[0]}) == 2


# --- bad bodies, and what is checked first ---

@pytest.mark.parametrize("body", BAD_BODIES)
def test_bad_body_is_a_bad_request(server, body):
    """A body that breaks the rules buys, or gets another reply than the one constant text."""
    reply = expect(post(server, body, new_user()), 400, BAD_REQUEST)
    assert reply.header("connection") in (None, "keep-alive")


def test_no_body_is_a_bad_request(server):
    """A purchase without any body gets another reply than the one constant text."""
    expect(wire.ask(server.port, "POST", PURCHASES, {"X-User-Id": new_user()}), 400, BAD_REQUEST)
    expect(wire.ask(server.port, "POST", PURCHASES, {"X-User-Id": new_user(), "Content-Length": "0"}), 400, BAD_REQUEST)


def test_form_body_is_accepted(server, shop):
    """A purchase sent as a form does not work, or its percent-encoding is not decoded."""
    sku = shop.sale()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for text in (f"sku={sku}", "sku=" + sku.replace("-", "%2D")):
        reply = shop.ask("POST", PURCHASES, {**form, "X-User-Id": new_user()}, text)
        assert PURCHASED.fullmatch(reply.text), reply
    assert shop.stock(sku) == 8


@pytest.mark.parametrize("text", ["", "sku=", "sku=a_b", "sku=A&qty=1", "sku=A&sku=A", "SKU=A", "sku=%zz", "sku=A%00",
    "A", '{"sku":"A"}'])
def test_bad_form_is_a_bad_request(server, text):
    """A form that breaks the rules buys, or gets another reply than the one constant text."""
    expect(post(server, text, new_user(), **{"Content-Type": "application/x-www-form-urlencoded"}), 400, BAD_REQUEST)


def test_unparsable_body_does_not_use_the_rate_slot(server, shop):
    """Malformed JSON, a bad media type or a body that is too long keeps the buyer from buying for a second."""
    sku, user = shop.sale(), new_user()
    expect(post(server, "{", user), 400, BAD_JSON)
    assert post(server, "x", user, **{"Content-Type": "text/html"}).status == 415
    assert wire.ask(server.port, "POST", PURCHASES, {"X-User-Id": user, "Content-Type": "application/json",
        "Content-Length": "1048577"}).status == 413
    shop.buy_well(sku, user)


@pytest.mark.parametrize("body", ['{}', '{"sku":"a_b"}', '{"sku":"A","qty":1}', 'null'])
@in_time(1.0)
def test_invalid_body_uses_the_rate_slot(server, shop, body):
    """A well-formed but wrong body is not counted by the limiter."""
    user = new_user()
    expect(post(server, body, user), 400, BAD_REQUEST)
    expect(shop.buy("A", user), 429, LIMITED)


@in_time(1.0)
def test_limiter_comes_before_body_validation(server):
    """A limited user with a wrong body hears about the body first."""
    user = new_user()
    expect(post(server, '{"sku":"A"}', user), 200, NOT_ACTIVE)
    expect(post(server, '{"sku":"a_b"}', user), 429, LIMITED)
    expect(post(server, '{', user), 400, BAD_JSON)


@in_time(1.0)
def test_limiter_comes_before_the_length_of_the_name(server):
    """A name that is too long is never limited."""
    user = new_user().ljust(300, "z")
    expect(post(server, '{"sku":"A"}', user), 400, LONG_USER)
    expect(post(server, '{"sku":"A"}', user), 429, LIMITED)


@pytest.mark.parametrize("body", ['{}', 'null', '{"sku":"A","qty":1}'])
def test_missing_user_wins_over_bad_body(server, body):
    """A request without buyer and with a wrong body hears about the body."""
    expect(post(server, body), 400, NO_USER)


def test_unparsable_body_wins_over_missing_user(server):
    """A request without buyer and with malformed JSON hears about the buyer."""
    expect(post(server, "{"), 400, BAD_JSON)
    assert wire.ask(server.port, "POST", PURCHASES, {"Content-Type": "text/html"}, "x").status == 415


# --- GET /api/v1/purchases ---

def test_purchase_is_found_at_once_with_its_number(server, shop):
    """Right after the 200 the purchase is not there, or has another number or time than the reply said."""
    sku = shop.sale(stock=30)
    for _ in range(20):
        user = new_user()
        number, time = shop.buy_well(sku, user)
        expect(shop.purchase(sku, user), 200,
            '{"success":true,"data":{"purchaseNo":"%s","purchasedAt":"%s"}}' % (number, time))


def test_purchase_of_nobody_is_not_found(server, shop):
    """Who has not bought gets something else than the contract's 404."""
    sku = shop.sale()
    shop.buy_well(sku)
    expect(shop.purchase(sku, new_user()), 404, NO_PURCHASE)
    expect(shop.purchase(new_sku(), new_user()), 404, NO_PURCHASE)


@pytest.mark.parametrize("headers, text", [({}, NO_USER), ({"X-User-Id": " "}, NO_USER),
    ({"X-User-Id": "u" * 256}, LONG_USER)], ids=["missing", "blank", "long"])
def test_asking_without_user_is_refused(server, headers, text):
    """The checks of the buyer's name differ between buying and asking, or come after those of the query."""
    for query in ("?sku=A", "", "?sku=a_b", "?x=1"):
        expect(wire.ask(server.port, "GET", PURCHASES + query, headers), 400, text)


@pytest.mark.parametrize("query", ["", "?", "?sku=", "?sku=a_b", "?sku=A&x=1", "?sku=A&sku=B", "?sku=" + "A" * 65])
def test_asking_with_a_bad_query_is_refused(server, query):
    """A wrong query is let through or gets another text."""
    expect(wire.ask(server.port, "GET", PURCHASES + query, {"X-User-Id": "u"}), 400, BAD_REQUEST)


def test_asking_is_not_rate_limited(server, shop):
    """Buyers who look often are locked out, or looking uses up the slot for buying."""
    sku, user = shop.sale(), new_user()
    for _ in range(5):
        expect(shop.purchase(sku, user), 404, NO_PURCHASE)
    shop.buy_well(sku, user)
    for _ in range(5):
        assert shop.purchase(sku, user).status == 200


def test_purchase_number_has_at_least_four_digits(server, shop):
    """The number is not PUR-, the day in UTC, and at least four digits."""
    number, _ = shop.buy_well(shop.sale())
    assert re.fullmatch(r"PUR-20\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])-(\d{4}|[1-9]\d{4,})", number)


def test_purchase_numbers_stay_unique_over_restarts(start_server, shop_of):
    """After a restart, or after the purchases were deleted, old numbers are given out again."""
    first = start_server()
    shop = shop_of(first)
    sku, user = shop.sale(stock=50), new_user()
    number, time = shop.buy_well(sku, user)
    numbers = [number] + [shop.buy_well(sku)[0] for _ in range(5)]
    first.stop()
    second = start_server(on=first.store)
    shop = shop_of(second)
    assert shop.purchase(sku, user).data == {"purchaseNo": number, "purchasedAt": time}
    numbers += [shop.buy_well(sku)[0] for _ in range(5)]
    assert shop.delete(sku).status == 200
    second.kill9()
    third = start_server(on=first.store)
    shop = shop_of(third)
    sku = shop.sale(stock=50)
    numbers += [shop.buy_well(sku)[0] for _ in range(5)]
    assert len(set(numbers)) == len(numbers)
    order = [int(number.rsplit("-", 1)[1]) for number in numbers]
    assert order == sorted(order)


def test_sales_survive_a_restart(start_server, shop_of):
    """Stock, buyers, states or times are others after a restart."""
    first = start_server("--purchase-interval", "0")
    shop = shop_of(first)
    active, upcoming, ended, empty = shop.sale(stock=5), shop.upcoming(), shop.sale(stock=1), shop.sale(stock=0)
    buyer = new_user()
    shop.buy_well(active, buyer)
    shop.buy_well(ended, buyer)
    skus = (active, upcoming, ended, empty)
    before = [shop.product(sku).text for sku in skus]
    first.stop()
    shop = shop_of(start_server("--purchase-interval", "0", on=first.store))
    assert [shop.product(sku).text for sku in skus] == before
    expect(shop.buy(active, buyer), 200, ALREADY)
    expect(shop.buy(ended, buyer), 200, NOT_ACTIVE)
    expect(shop.buy(upcoming), 200, NOT_ACTIVE)
    expect(shop.buy(empty), 200, SOLD_OUT)
    shop.buy_well(active)
