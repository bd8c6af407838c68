# SPDX-License-Identifier: Apache-2.0
"""Flash-sale contract, section 17: Idempotency-Key and traceparent."""
import json

import pytest

import wire
from shop import (ALREADY, NOT_ACTIVE, PRODUCTS, PURCHASED, PURCHASES, SOLD_OUT, expect, in_time, new_sku,
    new_user)
from test_flash_sale_status import rush


@pytest.fixture
def unlimited(start_server):
    """A server without the limiter, which stands before the keys and would refuse the quick repetitions."""
    return start_server("--purchase-interval", "0")


def key(value=None):
    return {"Idempotency-Key": value or f'"{new_sku("key")}"'}


def test_same_key_gives_the_stored_reply(unlimited, shop_of):
    """A repeated request buys again, is refused, or gets other bytes than the first time."""
    shop = shop_of(unlimited)
    sku, user, headers = shop.sale(stock=5), new_user(), key()
    first = shop.buy(sku, user, headers)
    assert PURCHASED.fullmatch(first.text), first
    for _ in range(3):
        expect(shop.buy(sku, user, headers), first.status, first.text)
    assert shop.stock(sku) == 4
    expect(shop.buy(sku, user), 200, ALREADY)
    expect(shop.buy(sku, user, key()), 200, ALREADY)


@pytest.mark.parametrize("stop", ["kill", "stop"])
def test_stored_reply_survives_a_restart(start_server, shop_of, stop):
    """After a crash or a restart a repeated request is decided anew."""
    server = start_server("--purchase-interval", "0")
    shop = shop_of(server)
    sku, user, headers = shop.sale(stock=5), new_user(), key()
    first = shop.buy(sku, user, headers)
    assert PURCHASED.fullmatch(first.text), first
    server.kill9() if stop == "kill" else server.stop()
    shop = shop_of(start_server("--purchase-interval", "0", on=server.store))
    expect(shop.buy(sku, user, headers), 200, first.text)
    assert shop.stock(sku) == 4
    reply = shop.buy(shop.sale(), user, headers)
    assert reply.status == 422


def test_key_may_have_any_bytes_that_a_header_may_have(unlimited, shop_of):
    """A key that is not UTF-8 makes a store that takes only UTF-8 refuse the whole batch."""
    shop = shop_of(unlimited)
    sku, user, headers = shop.sale(stock=5), new_user(), {"Idempotency-Key": "caf\xe9-" + new_sku("key")}
    first = shop.buy(sku, user, headers)
    assert PURCHASED.fullmatch(first.text), first
    expect(shop.buy(sku, user, headers), 200, first.text)


def test_refusals_are_stored_too(unlimited, shop_of):
    """A refusal is decided anew when it is asked for again with its key."""
    shop = shop_of(unlimited)
    sku, user, headers = shop.upcoming(), new_user(), key()
    expect(shop.buy(sku, user, headers), 200, NOT_ACTIVE)
    shop.put(sku, {"startTime": "2020-01-01T00:00:00Z"})
    shop.wait_state(sku, "ACTIVE")
    expect(shop.buy(sku, user, headers), 200, NOT_ACTIVE)
    shop.buy_well(sku, user, key())
    empty, headers = shop.sale(stock=0), key()
    expect(shop.buy(empty, user, headers), 200, SOLD_OUT)
    expect(shop.buy(empty, user, headers), 200, SOLD_OUT)


def test_stored_reply_outlives_the_sale(unlimited, shop_of):
    """The buyer of the last unit hears that the sale is over when he asks again with his key."""
    shop = shop_of(unlimited)
    sku, user, headers = shop.sale(stock=1), new_user(), key()
    first = shop.buy(sku, user, headers)
    assert PURCHASED.fullmatch(first.text)
    expect(shop.buy(sku, user, headers), 200, first.text)
    expect(shop.buy(sku, user), 200, NOT_ACTIVE)


@pytest.mark.parametrize("body", [{"sku": "OTHER"}, {"sku": "NO-SUCH", "qty": 1}])
def test_same_key_with_another_body_is_refused(unlimited, shop_of, body):
    """A key that was used for one request is taken for another."""
    shop = shop_of(unlimited)
    sku, user, headers = shop.sale(), new_user(), key()
    shop.buy_well(sku, user, headers)
    if "qty" not in body:
        reply = shop.ask("POST", PURCHASES, {"X-User-Id": user, **headers}, body)
        assert reply.status == 422 and reply.json()["success"] is False, reply
        assert list(reply.json()["error"]) == ["code", "message"]
        other = shop.sale()
        assert shop.buy(other, user, headers).status == 422
        assert shop.stock(other) == 10
    else:  # a body that breaks the rules never becomes a request that a key could mean
        assert shop.ask("POST", PURCHASES, {"X-User-Id": user, **headers}, body).status == 400
    assert shop.stock(sku) == 9


def test_keys_belong_to_a_user(unlimited, shop_of):
    """Two users with the same key get each other's reply."""
    shop = shop_of(unlimited)
    sku, headers = shop.sale(stock=5), key('"same"')
    users = [new_user() for _ in range(3)]
    replies = [shop.buy(sku, user, headers) for user in users]
    assert len({PURCHASED.fullmatch(reply.text)[1] for reply in replies}) == 3
    assert [shop.buy(sku, user, headers).text for user in users] == [reply.text for reply in replies]
    assert shop.stock(sku) == 2


def test_key_may_be_quoted_or_bare(unlimited, shop_of):
    """A key without quotes is refused, or is another one than the same with quotes."""
    shop = shop_of(unlimited)
    sku, user, word = shop.sale(), new_user(), new_sku("key")
    first = shop.buy(sku, user, key(word))
    assert PURCHASED.fullmatch(first.text), first
    expect(shop.buy(sku, user, key(word)), 200, first.text)
    expect(shop.buy(sku, user, key(f'"{word}"')), 200, first.text)


@pytest.mark.parametrize("length, status", [(1, 200), (255, 200), (256, 400), (2000, 400)])
@pytest.mark.parametrize("quote", ['', '"'], ids=["bare", "quoted"])
def test_key_has_at_most_255_characters(unlimited, shop_of, length, status, quote):
    """A key of 255 characters is refused, or a longer one accepted."""
    shop = shop_of(unlimited)
    sku = shop.sale()
    reply = shop.buy(sku, None, key(quote + "k" * length + quote))
    assert reply.status == status, reply
    assert shop.stock(sku) == (9 if status == 200 else 10)
    if status == 400:
        assert reply.json()["success"] is False


def test_simultaneous_requests_with_one_key_buy_once(unlimited, shop_of):
    """Two requests with one key at the same moment buy twice, or get different confirmations."""
    shop = shop_of(unlimited)
    sku, user = shop.sale(stock=50), new_user()
    request = wire.build("POST", PURCHASES, {"X-User-Id": user, **key()}, {"sku": sku})
    connections = [wire.Connection(unlimited.port) for _ in range(20)]
    for connection in connections:
        connection.send(request[:-1])
    for connection in connections:
        connection.send(request[-1:])
    replies = [connection.read_reply() for connection in connections]
    for connection in connections:
        connection.close()
    good = {reply.text for reply in replies if reply.status == 200}
    assert len(good) == 1 and PURCHASED.fullmatch(good.pop()), replies
    assert {reply.status for reply in replies} <= {200, 409}
    assert shop.stock(sku) == 49


def test_key_and_limiter_live_together(server, shop):
    """A repetition with its key inside the limiter's second is neither limited nor the stored reply."""
    sku, user, headers = shop.sale(), new_user(), key()
    first = shop.buy(sku, user, headers)
    again = shop.buy(sku, user, headers)
    assert again.status == 429 or again.text == first.text
    assert shop.stock(sku) == 9


def test_admin_requests_may_have_keys(unlimited, shop_of):
    """A repeated POST of a product with its key starts the sale anew."""
    shop = shop_of(unlimited)
    sku, headers = new_sku(), key()
    body = json.dumps(shop.body(sku, stock=5))
    types = {"Content-Type": "application/json"}
    first = shop.create(body, {**headers, **types})
    shop.wait_state(sku, "ACTIVE")
    shop.buy_well(sku)
    expect(shop.create(body, {**headers, **types}), 201, first.text)
    assert shop.stock(sku) == 4
    assert shop.create(body.replace("Widget", "Gadget"), {**headers, **types}).status == 422
    assert shop.product(sku).data["productName"] == "Widget"
    reply = shop.ask("DELETE", f"{PRODUCTS}/{sku}", {**shop.admin, **key()})
    assert reply.status == 200


@in_time(1.0)
def test_keys_expire(start_server, shop_of):
    """A key is kept longer than it is told, so that the store grows for ever."""
    server = start_server("--purchase-interval", "0", "--idempotency-ttl", "1s")
    shop = shop_of(server)
    sku, user, headers = shop.sale(), new_user(), key()
    first = shop.buy(sku, user, headers)
    expect(shop.buy(sku, user, headers), 200, first.text)
    wire.wait_for(lambda: shop.buy(sku, user, headers).text == ALREADY, "the key has expired", 30, 0.1)


def test_key_without_effect_on_a_crowd(unlimited, shop_of):
    """Keys of their own make buyers in a crowd lose or double their units."""
    shop = shop_of(unlimited)
    sku = shop.sale(stock=40)
    users = [new_user() for _ in range(60)]
    replies = rush(unlimited, sku, users)
    assert sum(PURCHASED.fullmatch(reply.text) is not None for reply in replies) == 40


@pytest.mark.parametrize("value", ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "nonsense", "",
    "00-0-0-0", "00-" + "0" * 32 + "-" + "0" * 16 + "-00", "x" * 500])
def test_traceparent_is_accepted(server, shop, value):
    """A traceparent, good or bad, keeps a request from being served."""
    shop.buy_well(shop.sale(), None, {"traceparent": value})


def test_strangers_cannot_fill_the_store_with_keys(start_server, shop_of):
    """--idempotency-max does not bound what is kept, or a reply that was just given is forgotten first."""
    server = start_server("--purchase-interval", "0", "--idempotency-max", "20")
    shop = shop_of(server)
    sku, count = shop.sale(stock=100), 60
    for _ in range(count):
        shop.buy_well(sku, new_user(), key())
    user, headers = new_user(), key()
    last = shop.buy(sku, user, headers)
    wire.wait_for(lambda: server.store.rows("SELECT count(*) FROM idempotency_keys")[0][0] <= 20, "few are kept", 30)
    expect(shop.buy(sku, user, headers), 200, last.text)
