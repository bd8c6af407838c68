# SPDX-License-Identifier: Apache-2.0
"""Marketplace contract: the lists of what can be bought for coins."""
import pytest

import wire
from market import (CATALOGUE, FEATURED, Market, expect, expect_error, market, new_spend, wallet,
    wallet_of)  # noqa: F401 (fixtures)
from shop import new_sku

MEMBERS = ["id", "sku", "name", "price", "currency", "category", "stock", "featured"]


@pytest.fixture
def empty(start_server):
    """A market that sells nothing yet."""
    market = Market(start_server("--net-threads", "2"))
    yield market
    market.close()


def ids(rows):
    return [row["id"] for row in rows]


def test_catalogue_is_exact(market):
    """A product is listed with other members or values than it has."""
    sku = new_sku("MC")
    product = market.product(price="99.5", stock=7, sku=sku, name=f"Zoë's \"tea\" {sku}", category="Getränke",
        featured=True)
    plain = market.product(price=100, stock=3)
    row = market.row(product)
    assert sorted(row) == sorted(MEMBERS)
    assert row == {"id": product, "sku": sku, "name": f"Zoë's \"tea\" {sku}", "price": 99.5, "currency": "MC",
        "category": "Getränke", "stock": 7, "featured": True}
    row = market.row(plain)
    assert (row["category"], row["featured"], row["price"], row["stock"]) == ("", False, 100, 3)
    assert type(row["price"]) is int


def test_catalogue_comes_in_pages_by_id(empty):
    """Products are listed in another order than by their ids, or a page leaves some out or repeats them."""
    assert empty.catalogue() == ([], None)
    made = [empty.product(name=f"P {number}", stock=1) for number in range(105)]
    first, cursor = empty.catalogue()
    assert ids(first) == made[:100] and cursor is not None
    rest, end = empty.catalogue(f"?cursor={cursor}")
    assert ids(rest) == made[100:] and end is None
    for limit in (1, 10, 104, 105, 106, 1000):
        assert ids(empty.whole_catalogue(limit)) == made, limit
    assert empty.delete(empty.sku(made[50])).status == 200
    assert ids(empty.whole_catalogue(7)) == made[:50] + made[51:]


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=1001", "limit=x", "limit=", "limit=1.0",
    "limit=99999999999999999999", "cursor=", "cursor=x", "cursor=-1", "cursor=9223372036854775808", "cursor=%zz"])
def test_bad_page_of_the_catalogue_is_refused(market, query):
    """A page that is none is made up."""
    reply = market.ask("GET", f"{CATALOGUE}?{query}")
    assert reply.status == 400 and reply.json()["success"] is False, reply


def test_listed_stock_is_what_can_be_bought(market, wallet):
    """A list shows a stock of before, one that nobody can buy, or not what the flash sale has left."""
    product = market.product(price=1, stock=3, featured=True)
    sku = market.sku(product)

    def shown():
        featured = [row["stock"] for row in market.featured() if row["id"] == product]
        assert featured in ([market.row(product)["stock"]], [])
        return market.row(product)["stock"]

    assert shown() == 3
    wallet.spend(product, 1)
    assert shown() == 2
    market.buy_well(sku)
    assert shown() == 1
    wallet.spend(product, 1)
    assert shown() == 0
    expect_error(wallet.transact(new_spend(product, 1)), 409, "SOLD_OUT")
    assert market.set_stock(int(product), 5).status == 200
    assert shown() == 5 and wallet.spend(product, 1)["new_balance"] == 97 and shown() == 4


def test_price_and_labels_are_the_present_ones(market):
    """A list shows a price of before."""
    product = market.product(price=10)
    market.price(market.sku(product), 12.34)
    assert market.row(product)["price"] == 12.34


def test_product_whose_sale_is_not_open_has_no_stock(market):
    """A list says that something can be bought that cannot be bought yet, or no more."""
    upcoming = market.upcoming_product(price=5)
    over = market.short_sale()
    market.wait_state(over, "ENDED")
    assert market.row(upcoming)["stock"] == 0 and market.row(market.id_of(over))["stock"] == 0
    assert market.left(upcoming) == 10


def test_featured_products_are_those_that_are_marked(empty):
    """What is featured is something else, has another order than by id, or is more than a hundred."""
    made = [empty.product(name=f"P {number}", featured=number % 2 == 0, category=f"c{number % 3}")
        for number in range(10)]
    rows = empty.featured()
    assert ids(rows) == made[::2]
    assert [row["category"] for row in rows] == [f"c{number % 3}" for number in range(0, 10, 2)]
    assert all(sorted(row) == sorted(MEMBERS) and row["featured"] is True for row in rows)
    more = [empty.product(name=f"Q {number}", featured=True) for number in range(100)]
    assert ids(empty.featured()) == (made[::2] + more)[:100]


def test_without_marks_what_is_on_sale_is_featured(empty):
    """When nothing is marked nothing is shown, or what cannot be bought is."""
    assert empty.featured() == []
    upcoming = empty.upcoming_product()
    free = empty.product(name="for no coins", price=0)
    made = [empty.product(name=f"P {number}") for number in range(103)]
    assert ids(empty.featured()) == made[:100] and not {upcoming, free} & set(ids(empty.featured()))
    empty.price(empty.sku(free), 1)
    assert ids(empty.featured())[0] == free
    empty.price(empty.sku(free), 0)
    assert ids(empty.featured()) == made[:100]
    marked = empty.product(name="marked", featured=True)
    assert ids(empty.featured()) == [marked]


def test_lists_need_no_token(market, wallet):
    """Somebody has to say who he is to see what there is; or a token that is not good closes the shop."""
    for target in (FEATURED, CATALOGUE):
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {wallet.token}"}):
            reply = market.ask("GET", target, headers)
            expect(reply, 200)
            assert reply.header("cache-control") != "public", reply
        assert market.ask("HEAD", target).status == 200


def test_products_by_id_are_still_the_vending_faces(market):
    """The marketplace's lists have taken the paths of machines' products."""
    product = market.product()
    assert market.ask("GET", f"/api/products/{product}").status == 405
    assert any(each["id"] == int(product) for each in market.goods())
    for target in (FEATURED, CATALOGUE):
        reply = wire.ask(market.server.port, "POST", target, market.admin, {"name": "x", "stock": 1})
        assert reply.status == 405 and reply.header("allow"), reply


def test_lists_survive_a_restart(start_server):
    """After a restart a label, a price or a stock is another."""
    server = start_server()
    market = Market(server)
    for number in range(5):
        market.product(name=f"P {number}", price=number + 0.5, stock=number, featured=number == 2,
            category=f"c{number}")
    before = (market.featured(), market.catalogue())
    market.close()
    server.stop()
    market = Market(start_server(on=server.store))
    assert (market.featured(), market.catalogue()) == before
    market.close()
