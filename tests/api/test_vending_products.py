# SPDX-License-Identifier: Apache-2.0
"""Vending contract: products are made, listed, stocked and removed, and are the ones that the flash sale sells."""
import re

import pytest

import wire
from machines import (GOODS, MACHINES, NAME_TAKEN, NOT_ADMIN, PAGE_ROWS, PRODUCT_MEMBERS, Pool, compact, expect,
    expect_gone, is_recent, ms_of, new_name, no_method, no_model, refused)
from shop import NOT_ACTIVE, PURCHASED, new_sku, new_user, now_ms, product_missing

NO_NAME = ("name", "The name field is required.")
NO_STOCK = ("stock", "The stock field is required.")
NO_INTEGER = ("stock", "The stock field must be an integer.")
TOO_FEW = ("stock", "The stock field must be at least 0.")
STOCK_MAX = 2**53 - 1
TOO_MANY = ("stock", f"The stock field must not be greater than {STOCK_MAX}.")
PRICE_MAX = "90071992547409.91"
JSON = {"Content-Type": "application/json"}
SKU = re.compile(r"[A-Za-z0-9-]{1,64}")


@pytest.fixture
def pool(server):
    pool = Pool(server)
    yield pool
    pool.close()


def row_of(pool, name, columns="sku, price_minor, category, is_featured"):
    return pool.server.store.rows(f"SELECT {columns} FROM products WHERE product_name = ?", name)[0]


# --- POST ---

def test_product_is_made_and_told_exactly(server, pool):
    """A new product has other members, another order of them or other values than the contract's."""
    began = now_ms()
    name = new_name("product")
    reply = expect(pool.send("POST", GOODS, {"name": name, "stock": 200}), 201)
    product = reply.json()
    assert list(product) == PRODUCT_MEMBERS and reply.text == compact(product)
    assert type(product["id"]) is int and product["id"] >= 1
    assert (product["name"], product["stock"]) == (name, 200)
    assert is_recent(product["created_at"], began, server.store) and product["updated_at"] == product["created_at"]
    assert pool.good(product["id"]) == product


def test_products_are_numbered_from_1_and_never_again(start_server):
    """Products are not numbered 1, 2, 3, or a number or a sold unit comes again after its product was removed."""
    store = start_server.new_store()
    server = start_server(on=store)
    pool = Pool(server)
    assert expect(pool.ask("GET", GOODS), 200, "[]")
    assert [pool.add(name=f"P {number}")["id"] for number in (1, 2, 3)] == [1, 2, 3]
    expect_gone(pool.send("DELETE", f"{GOODS}/3"))
    expect_gone(pool.send("DELETE", f"{GOODS}/1"))
    again = pool.add(name="P 3")
    assert again["id"] == 4 and [each["id"] for each in pool.goods()] == [2, 4]
    expect_gone(pool.send("DELETE", f"{GOODS}/4"))
    pool.close()
    server.stop()
    pool = Pool(start_server(on=store))
    assert pool.add(name="P 3")["id"] > 4  # a node of a shared store takes numbers in advance
    pool.close()


@pytest.mark.parametrize("sent, kept", [(0, 0), (200, 200), ("7", 7), (" +7 ", 7), ("0", 0), (5.0, 5), ("-0", 0),
    (STOCK_MAX, STOCK_MAX), (str(STOCK_MAX), STOCK_MAX)])
def test_stocks_that_a_product_may_have(pool, sent, kept):
    """A stock, sent as a number or as a text, is refused or becomes another."""
    product = pool.add(stock=sent)
    assert product["stock"] == kept == pool.good(product["id"])["stock"]
    other = pool.add(stock=1)
    assert expect(pool.set_stock(other["id"], sent), 200).json()["stock"] == kept


@pytest.mark.parametrize("sent, complaint", [(None, NO_STOCK), ("", NO_STOCK), ("  ", NO_STOCK), ([], NO_STOCK),
    (5.5, NO_INTEGER), ("5.0", NO_INTEGER), ("05", NO_INTEGER), ("five", NO_INTEGER), ("0x10", NO_INTEGER),
    ("1e3", NO_INTEGER), (True, NO_INTEGER), (False, NO_INTEGER), ([5], NO_INTEGER), ({"x": 5}, NO_INTEGER),
    (2**63, NO_INTEGER), (10**30, NO_INTEGER), (-1, TOO_FEW), ("-1", TOO_FEW), (-2**63, TOO_FEW),
    (STOCK_MAX + 1, TOO_MANY), (2**63 - 1, TOO_MANY)])
def test_stocks_that_no_product_may_have(pool, sent, complaint):
    """A stock that is none, is negative or cannot be told is taken, or its client hears of it in other words."""
    name = new_name("product")
    expect(pool.send("POST", GOODS, {"name": name, "stock": sent}), 422, refused(complaint))
    assert name not in [each["name"] for each in pool.goods()]
    product = pool.add(stock=3)
    expect(pool.set_stock(product["id"], sent), 422, refused(complaint))
    assert pool.good(product["id"]) == product


@pytest.mark.parametrize("body, complaint", [({"stock": 1}, NO_NAME), ({"name": " ", "stock": 1}, NO_NAME),
    ({"name": 5, "stock": 1}, ("name", "The name field must be a string.")),
    ({"name": "x" * 256, "stock": 1}, ("name", "The name field must not be greater than 255 characters.")),
    ({"name": "ä" * 256, "stock": 1}, ("name", "The name field must not be greater than 255 characters.")),
    ({"name": "a\0", "stock": 1}, ("name", "The name field format is invalid."))])
def test_bad_name_of_a_product_is_refused(pool, body, complaint):
    """A product gets a name that is none."""
    before = len(pool.goods())
    expect(pool.send("POST", GOODS, body), 422, refused(complaint))
    assert len(pool.goods()) == before


@pytest.mark.parametrize("character", ["x", "ä", "株", "😀"])
def test_name_of_a_product_has_up_to_255_characters(pool, character):
    """A name of 255 characters is refused, cut, or does not become the same product's again."""
    name = (new_name() + character * 255)[:255]
    product = pool.add(name=f" {name} ")
    assert product["name"] == name == pool.good(product["id"])["name"]
    expect(pool.send("POST", GOODS, {"name": name, "stock": 1}), 400, NAME_TAKEN)


def test_all_that_is_wrong_with_a_product_is_told(pool):
    """A client hears of one mistake only, or of several in another order than that of the members."""
    expect(pool.send("POST", GOODS, {}), 422, refused(NO_NAME, NO_STOCK))
    expect(pool.send("POST", GOODS, {"featured": "x", "category": 5, "price": "x", "sku": "a b", "stock": -1,
        "name": []}), 422, refused(NO_NAME, TOO_FEW, ("sku", "The sku field format is invalid."),
        ("price", "The price field must be a number."), ("category", "The category field must be a string."),
        ("featured", "The featured field must be true or false.")))


def test_name_of_a_product_is_given_once(pool):
    """Two products of this face have one name, or the second is refused in other words than the contract's."""
    product = pool.add(stock=5)
    expect(pool.send("POST", GOODS, {"name": f" {product['name']} ", "stock": 6}), 400, NAME_TAKEN)
    expect(pool.send("POST", GOODS, {"name": product["name"], "stock": 6, "sku": new_sku()}), 400, NAME_TAKEN)
    assert pool.good(product["id"]) == product
    expect_gone(pool.send("DELETE", f"{GOODS}/{product['id']}"))
    assert pool.add(name=product["name"])["id"] > product["id"]


def test_names_of_products_differ_by_case(pool):
    """A name is taken because another one looks like it."""
    name = new_name("Product")
    assert pool.add(name=name)["id"] != pool.add(name=name.lower())["id"]


# --- sku, price, category, featured ---

@pytest.mark.parametrize("name, head", [("Diet Cola", "Diet-Cola"), ("  a -- b!?c ", "a-b-c"), ("株式", ""), ("--?", ""),
    ("x" * 200, "x" * 55), ("Ünïcødé", "n-c-d")])
def test_sku_is_made_from_the_name(start_server, name, head):
    """A product without a sku gets none that the flash sale could use, or one that does not tell its name."""
    pool = Pool(start_server())
    skus = []
    for tail in ("", ".", "..", " !"):
        pool.add(name=name + tail)
        sku = pool.sku_of((name + tail).strip())
        assert SKU.fullmatch(sku), sku
        assert re.fullmatch(re.escape(head + "-" if head else "") + "[0-9a-f]{8}", sku), sku
        skus.append(sku)
    assert len(set(skus)) == len(skus)
    pool.close()


def test_name_that_is_a_sku_is_the_sku(pool):
    """A name that could be a sku is not used for one, or a product cannot be made because somebody else uses it."""
    name = new_name("Cola")
    pool.add(name=name)
    assert pool.sku_of(name) == name
    other = new_name("Cola")
    pool.add(name="Another Cola " + other, sku=other)
    pool.add(name=other)
    assert re.fullmatch(re.escape(other) + "-[0-9a-f]{8}", pool.sku_of(other))


def test_product_has_the_sku_that_it_is_given(pool):
    """A sku is not kept, is given twice, or a bad one is taken."""
    sku, name = new_sku(), new_name("With sku ")
    product = pool.add(name=name, sku=f" {sku} ")
    assert pool.sku_of(name) == sku
    taken = ("sku", "The sku has already been taken.")
    expect(pool.send("POST", GOODS, {"name": new_name(), "stock": 1, "sku": sku}), 422, refused(taken))
    expect(pool.send("POST", GOODS, {"name": new_name(), "stock": 1, "sku": "x" * 65}), 422,
        refused(("sku", "The sku field must not be greater than 64 characters.")))
    for bad in ("a b", "a_b", "ä", "a/b"):
        expect(pool.send("POST", GOODS, {"name": new_name(), "stock": 1, "sku": bad}), 422,
            refused(("sku", "The sku field format is invalid.")))
    assert pool.good(product["id"]) == product
    assert pool.sku_of(pool.add(sku="  ")["name"]) != ""


@pytest.mark.parametrize("price, minor", [(100, 10000), (99.5, 9950), ("12.50", 1250), (" 0.07 ", 7), (0.29, 29),
    (0, 0), ("0", 0), (None, 0), ("", 0), (PRICE_MAX, 2**53 - 1)])
def test_price_is_kept_to_the_hundredth(pool, price, minor):
    """A price is rounded, or a product without one costs something."""
    product = pool.add(price=price)
    assert row_of(pool, product["name"])[1] == minor and list(product) == PRODUCT_MEMBERS


@pytest.mark.parametrize("price, text", [("x", "must be a number."), (True, "must be a number."),
    ([1], "must be a number."), ("1,5", "must be a number."), (0.001, "must have 0-2 decimal places."),
    ("1.999", "must have 0-2 decimal places."), (-1, "must be at least 0."), ("-0.01", "must be at least 0."),
    (10**30, f"must not be greater than {PRICE_MAX}."),
    ("90071992547409.92", f"must not be greater than {PRICE_MAX}.")])
def test_bad_price_is_refused(pool, price, text):
    """A price that is none, or that cannot be kept exactly, is taken."""
    expect(pool.send("POST", GOODS, {"name": new_name(), "stock": 1, "price": price}), 422,
        refused(("price", f"The price field {text}")))


def test_category_and_featured_are_kept(pool):
    """What a product is listed under is forgotten, or a bad one is taken."""
    product = pool.add(category=" Getränke ", featured=True)
    assert [*row_of(pool, product["name"])[2:]] == ["Getränke", True]
    plain = pool.add()
    assert [*row_of(pool, plain["name"])[2:]] == ["", False]
    assert row_of(pool, pool.add(category="ä" * 64, featured="0")["name"])[2] == "ä" * 64
    expect(pool.send("POST", GOODS, {"name": new_name(), "stock": 1, "category": "ä" * 65}), 422,
        refused(("category", "The category field must not be greater than 64 characters.")))


# --- GET ---

def test_long_list_of_products_has_each_once(start_server):
    """A list that is longer than a page of the store leaves products out, repeats them, or is not in order."""
    pool = Pool(start_server())
    count = PAGE_ROWS + 7
    with wire.Connection(pool.server.port) as connection:
        for start in range(0, count, 50):
            numbers = range(start, min(start + 50, count))
            connection.send(b"".join(wire.build("POST", GOODS, pool.admin, {"name": f"P {number}", "stock": number})
                for number in numbers))
            assert {connection.read_reply().status for _ in numbers} == {201}
    found = pool.goods()
    assert [(each["id"], each["name"], each["stock"]) for each in found] == [
        (number + 1, f"P {number}", number) for number in range(count)]
    pool.close()


def test_list_of_products_needs_no_key(server, pool):
    """The list is not told to somebody without the key."""
    product = pool.add()
    assert product in expect(wire.ask(server.port, "GET", GOODS), 200).json()


# --- stock ---

def test_stock_is_set(pool):
    """A stock that is set is not told, not kept, or something else changes with it."""
    product = pool.add(stock=5)
    reply = expect(pool.set_stock(product["id"], 8), 200)
    changed = reply.json()
    assert list(changed) == PRODUCT_MEMBERS and reply.text == compact(changed)
    assert changed == {**product, "stock": 8, "updated_at": changed["updated_at"]}
    assert ms_of(changed["updated_at"]) >= ms_of(product["updated_at"])
    assert pool.good(product["id"]) == changed
    expect(pool.send("PATCH", f"{GOODS}/{product['id']}/stock", b"stock=+9+&name=x",
        **{"Content-Type": "application/x-www-form-urlencoded"}), 200)
    assert pool.good(product["id"])["stock"] == 9 and pool.good(product["id"])["name"] == product["name"]


def test_stock_without_a_body_is_required(pool):
    """A stock is set from nothing."""
    product = pool.add(stock=5)
    expect(pool.send("PATCH", f"{GOODS}/{product['id']}/stock"), 422, refused(NO_STOCK))
    expect(pool.send("PATCH", f"{GOODS}/{product['id']}/stock", b"[1]", **JSON), 400)
    assert pool.good(product["id"])["stock"] == 5


@pytest.mark.parametrize("number", ["0", "-1", "999999999", "x", "1.0", "9223372036854775808", "caf%C3%A9"])
def test_unknown_product_is_404(pool, number):
    """An id that no product has is answered with something else than the contract's 404, or members come first."""
    body = no_model("Product", number.replace("%C3%A9", "é"))
    expect(pool.set_stock(number, 5), 404, body)
    expect(pool.set_stock(number, -5), 404, body)
    expect(pool.send("DELETE", f"{GOODS}/{number}"), 404, body)


# --- DELETE ---

def test_product_of_the_list_is_removed(pool):
    """A product that was removed is still told of or sold, or its removal is told twice."""
    product = pool.add()
    sku = pool.sku_of(product["name"])
    expect_gone(pool.send("DELETE", f"{GOODS}/{product['id']}"))
    assert pool.good(product["id"]) is None
    missing = no_model("Product", product["id"])
    expect(pool.send("DELETE", f"{GOODS}/{product['id']}"), 404, missing)
    expect(pool.set_stock(product["id"], 5), 404, missing)
    assert pool.product(sku).text == product_missing(sku)
    assert pool.buy(sku).text == NOT_ACTIVE


# --- one product on both faces ---

def test_product_of_this_face_is_sold_by_the_flash_sale(pool):
    """A product that is made here is not on sale there, or what is sold there is not missing here."""
    product = pool.add(stock=3)
    sku = pool.sku_of(product["name"])
    data = pool.product(sku).data
    assert (data["productName"], data["currentStock"], data["state"]) == (product["name"], 3, "ACTIVE")
    user = new_user()
    assert PURCHASED.fullmatch(pool.buy(sku, user).text)
    assert pool.good(product["id"])["stock"] == 2
    assert pool.purchase(sku, user).status == 200


def test_product_of_the_flash_sale_is_listed_here(pool):
    """A product of the flash sale is not in the list, or cannot be stocked or removed by its id."""
    name = new_name("Flash ")
    sku = pool.sale(stock=4, name=name)
    product = next(each for each in pool.goods() if each["name"] == name)
    assert list(product) == PRODUCT_MEMBERS and product["stock"] == 4
    pool.buy_well(sku)
    assert pool.good(product["id"])["stock"] == 3
    assert expect(pool.set_stock(product["id"], 1), 200).json()["stock"] == 1
    data = pool.product(sku).data
    assert (data["currentStock"], data["totalPurchases"], data["initialStock"]) == (1, 1, 2)
    expect_gone(pool.send("DELETE", f"{GOODS}/{product['id']}"))
    assert pool.product(sku).text == product_missing(sku)


def test_stock_of_nothing_ends_a_sale_and_more_opens_it_again(pool):
    """A product without stock is sold, or one that has stock again is not."""
    product = pool.add(stock=2)
    sku = pool.sku_of(product["name"])
    pool.buy_well(sku)
    assert expect(pool.set_stock(product["id"], 0), 200).json()["stock"] == 0
    assert pool.buy(sku).text == NOT_ACTIVE
    assert (pool.product(sku).data["state"], pool.product(sku).data["totalPurchases"]) == ("ENDED", 1)
    assert expect(pool.set_stock(product["id"], 1), 200).json()["stock"] == 1
    pool.buy_well(sku)
    assert pool.buy(sku).text == NOT_ACTIVE
    data = pool.product(sku).data
    assert (data["initialStock"], data["currentStock"], data["totalPurchases"]) == (2, 0, 2)


def test_product_made_without_stock_sells_once_it_has_some(pool):
    """A product that begins with nothing can never be sold."""
    product = pool.add(stock=0)
    sku = pool.sku_of(product["name"])
    assert pool.buy(sku).text == NOT_ACTIVE
    expect(pool.set_stock(product["id"], 1), 200)
    pool.buy_well(sku)


def test_number_of_a_removed_product_is_nobody_elses(pool):
    """A change by the id of a removed product changes the one that has its sku now."""
    name, sku = new_name(), new_sku()
    gone = pool.add(name=name, sku=sku)
    expect_gone(pool.send("DELETE", f"{GOODS}/{gone['id']}"))
    now = pool.add(name=name, sku=sku, stock=7)
    expect(pool.set_stock(gone["id"], 0), 404, no_model("Product", gone["id"]))
    expect(pool.send("DELETE", f"{GOODS}/{gone['id']}"), 404, no_model("Product", gone["id"]))
    assert pool.good(now["id"]) == now


# --- who may, and how ---

def test_changes_of_products_need_the_key(server, pool):
    """Somebody without the key makes, stocks or removes a product, or is told more than that he may not."""
    product = pool.add(stock=5)
    for headers in ({}, {"X-Admin-Key": "wrong"}):
        for method, target in [("POST", GOODS), ("PATCH", f"{GOODS}/{product['id']}/stock"), ("PATCH",
                f"{GOODS}/x/stock"), ("DELETE", f"{GOODS}/{product['id']}"), ("DELETE", f"{GOODS}/x")]:
            expect(wire.ask(server.port, method, target, {**headers, **JSON}, b"{"), 401, NOT_ADMIN)
    assert pool.good(product["id"]) == product


@pytest.mark.parametrize("target, pattern, allow", [(GOODS, GOODS, "GET, HEAD, POST"),
    (f"{GOODS}/1", f"{GOODS}/:id", "DELETE"), (f"{GOODS}/x/stock", f"{GOODS}/:id/stock", "PATCH")])
def test_other_methods_on_products_are_405(pool, target, pattern, allow):
    """A method that a path does not have, like GET of one product, is no 405 with the ones that it has."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        if method not in allow:
            reply = expect(pool.send(method, target), 405, no_method(method, pattern[1:], allow))
            assert reply.header("allow") == allow
    assert allow != "DELETE" or pool.ask("HEAD", target).status == 405


# --- bad days ---

CHANGES = [lambda pool: pool.send("POST", MACHINES, {"name": "m"}), lambda pool: pool.send("PUT", f"{MACHINES}/1",
    {"name": new_name()}), lambda pool: pool.send("POST", GOODS, {"name": new_name("product"), "stock": 1}),
    lambda pool: pool.set_stock(1, 5)]


def until_503(pool, change):
    """Repeats the change until it is answered so; that reply."""
    for _ in range(100):
        reply = change(pool)
        if reply.status not in (200, 201):
            return expect(reply, 503)
    raise AssertionError("no trouble in 100 changes")


@pytest.mark.parametrize("change", CHANGES)
def test_change_that_could_not_be_stored_is_refused(start_server, change):
    """A change is acknowledged although its write failed, or the server does not go on afterwards."""
    pool = Pool(start_server("--fault", "commit:12:full"))
    pool.make(), pool.add()
    reply = until_503(pool, change)
    assert reply.text == compact({"error": "Service temporarily unavailable. Please try again."})
    assert int(reply.header("retry-after")) >= 1
    wire.wait_for(lambda: change(pool).status in (200, 201), "changes are taken again", 30, 0.05)
    pool.close()


@pytest.mark.embedded
@pytest.mark.parametrize("change", CHANGES)
def test_change_of_unknown_outcome_is_told_as_such(start_server, change):
    """A client whose change may be stored or not hears that it was not, or reads are refused from then on."""
    server = start_server("--fault", "commit:12:unknown-kept")
    pool = Pool(server)
    pool.make(), pool.add()
    reply = until_503(pool, change)
    assert reply.json()["error"].startswith("It is not known whether this was stored. "), reply
    assert int(reply.header("retry-after")) >= 1
    expect(change(pool), 503)
    assert pool.machine(1)["id"] == 1 and pool.good(1)["id"] == 1
    pool.close()
    server.signal()
    server.wait_exit()


# --- a client's way through it ---

def test_original_client_finds_its_way(start_server):
    """The sequence of the original's client, with a connection for each request and without a key, does not work."""
    server = start_server("--trust-loopback", "--dispense-time", "0s")
    bare = {"Content-Length": "0", "Content-Type": "application/octet-stream"}

    def ask(method, target, body=None):
        return wire.ask(server.port, method, "/api" + target, bare if body is None and method == "POST" else None, body)

    for turn in range(2):
        for each in expect(ask("GET", "/products"), 200).json():
            expect_gone(ask("DELETE", f"/products/{each['id']}"))
        for each in expect(ask("GET", "/vending-machines"), 200).json():
            expect_gone(ask("DELETE", f"/vending-machines/{each['id']}"))
        machines = [expect(ask("POST", "/vending-machines", {"name": f"Machine {i}"}), 201).json() for i in range(5)]
        products = [expect(ask("POST", "/products", {"name": f"Product {i}", "stock": 200}), 201).json()
            for i in range(10)]
        assert len({each["id"] for each in machines}) == 5 and len({each["id"] for each in products}) == 10
        for each in machines:
            expect(ask("POST", f"/vending-machines/{each['id']}/reset"), 409)
        assert sum(each["stock"] for each in expect(ask("GET", "/products"), 200).json()) == 2000
