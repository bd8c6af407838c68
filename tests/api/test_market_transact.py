# SPDX-License-Identifier: Apache-2.0
"""Marketplace contract: signed intents to spend and to transfer; what is accepted, and the order of what is not."""
import itertools
import json
import time

import pytest

import wire
from market import (L, ORDER_ID, SMALL_ORDER, TRANSACT, WINDOW_S, Scene, Signer, expect, expect_error, expect_private,
    jcs, market, new_nonce, new_spend, new_transfer, now_s, payee, wallet, wallet_of, without)  # noqa: F401 (fixtures)
from shop import new_sku
from waiting import at_once

MAX = "9999999999999.99"
SPEND_MEMBERS = ["action", "amount", "id", "nonce", "order_id", "product_id", "public_key", "timestamp", "signature"]
TRANSFER_MEMBERS = ["action", "amount", "id", "nonce", "public_key", "timestamp", "to", "signature"]
REFUSED = {"shape": (400, "VALIDATION_ERROR"), "key": (404, "NOT_FOUND"), "signature": (401, "INVALID_SIGNATURE"),
    "time": (401, "TIMESTAMP_OUT_OF_RANGE"), "nonce": (409, "NONCE_REUSED"), "product": (404, "NOT_FOUND"),
    "payee": (404, "NOT_FOUND"), "price": (422, "PRICE_MISMATCH"), "funds": (402, "INSUFFICIENT_FUNDS"),
    "room": (422, "BALANCE_TOO_LARGE"), "stock": (409, "SOLD_OUT")}
SPEND_ORDER = ("shape", "key", "signature", "time", "nonce", "product", "price", "funds", "stock")
TRANSFER_ORDER = ("shape", "key", "signature", "time", "nonce", "payee", "funds", "room")


def refused(reply, fault):
    return expect_error(reply, *REFUSED[fault])


# --- what is accepted ---

def test_spending_is_exact(market, wallet):
    """Who buys hears something else than what was decided, gets no receipt that anybody can check, or the coins, the
    unit and the order are not all moved."""
    product = market.product(price="12.50", stock=3)
    began = now_s()
    intent = new_spend(product, "12.50")
    reply = wallet.transact(intent)
    data = expect_private(reply, 200)
    assert list(data) == ["receipt", "new_balance", "order_id"]
    assert data["new_balance"] == 87.5 == wallet.balance()
    receipt = market.check_receipt(data["receipt"])
    assert sorted(receipt) == sorted(SPEND_MEMBERS)
    assert without(receipt, "signature", "id", "timestamp") == {"action": "spend", "amount": 12.5,
        "nonce": intent["nonce"], "order_id": data["order_id"], "product_id": product, "public_key": wallet.key}
    assert began - 1 <= receipt["timestamp"] <= now_s() + 1 and int(receipt["id"]) >= 1
    assert ORDER_ID.fullmatch(data["order_id"])
    assert market.left(product) == 2 and market.buyers_of(product) == [f" key {wallet.key}"]
    number = wallet.server.store.purchases(market.sku(product))[0][0]
    assert number == data["order_id"]
    line = wallet.page()[0][0]
    assert (line["id"], line["order_id"], line["balance"]) == (receipt["id"], data["order_id"], 87.5)


def test_product_may_be_named_by_sku(market, wallet):
    """A product is not found by its SKU, or the receipt names it by what the intent did."""
    sku = new_sku("MC")
    product = market.product(price=10, sku=sku)
    data = wallet.spend(sku, 10)
    assert market.check_receipt(data["receipt"])["product_id"] == product
    assert wallet.spend(product, 10)["receipt"]["product_id"] == product and market.left(product) == 8


def test_id_of_a_product_comes_before_anothers_sku(market, wallet):
    """Somebody who names his product with the id of another gets its customers."""
    product = market.product(price=10)
    market.add(sku=product, price=99, stock=5)
    assert wallet.spend(product, 10)["receipt"]["product_id"] == product


def test_transfer_is_exact(market, wallet, payee):
    """A transfer hears something else than what was decided, or coins are lost or made on their way."""
    began = now_s()
    intent = new_transfer(payee.key, "0.01")
    data = expect_private(wallet.transact(intent), 200)
    assert list(data) == ["receipt", "new_balance", "order_id"]
    assert (data["new_balance"], data["order_id"]) == (99.99, None)
    receipt = market.check_receipt(data["receipt"])
    assert sorted(receipt) == sorted(TRANSFER_MEMBERS)
    assert without(receipt, "signature", "id", "timestamp") == {"action": "transfer", "amount": 0.01,
        "nonce": intent["nonce"], "public_key": wallet.key, "to": payee.key}
    assert began - 1 <= receipt["timestamp"] <= now_s() + 1
    assert (wallet.balance(), payee.balance()) == (99.99, 100.01)
    payee.send(wallet.key.upper(), 100)
    assert (wallet.balance(), payee.balance()) == (199.99, 0.01)
    wallet.send(payee.key, "199.99")
    assert (wallet.balance(), payee.balance()) == (0, 200)


def test_who_pays_may_buy_again(market, wallet):
    """How many one may have of a sale binds who pays, too."""
    product = market.product(price=1, stock=10)
    orders = [wallet.spend(product, 1)["order_id"] for _ in range(3)]
    assert len(set(orders)) == 3 and market.left(product) == 7
    assert wallet.balance() == 97


def test_coins_and_flash_sale_sell_one_stock(market, wallet):
    """A unit is sold for coins that the flash sale has sold, or the other way round; or a buyer of the flash sale can
    pass for a wallet."""
    product = market.product(price=1, stock=3)
    sku = market.sku(product)
    wallet.spend(product, 1)
    number = market.buy_well(sku, f" key {wallet.key}")[0]
    assert market.stock(sku) == 1
    order = wallet.spend(sku, 1)["order_id"]
    assert number != order
    assert market.buyers_of(product) == [f" key {wallet.key}", f"key {wallet.key}", f" key {wallet.key}"]
    refused(wallet.transact(new_spend(product, 1)), "stock")
    assert market.status(sku).data["state"] == "ENDED"
    assert wallet.balance() == 98


def test_product_for_nothing_cannot_be_paid_for(market, wallet):
    """A product without a price is sold for coins."""
    product = market.product(price=0)
    refused(wallet.transact(new_spend(product, 1)), "price")
    refused(wallet.transact(new_spend(product, 0)), "shape")
    assert wallet.balance() == 100 and market.left(product) == 10


@pytest.mark.parametrize("price, amount", [(7, 7), (7, "7"), (7, "7.0"), (7, "7.00"), (99.5, "99.5"), (99.5, "99.50"),
    (0.07, "0.07"), (0.7, "0.7"), (100, "100")])
def test_amounts_that_are_right(market, wallet, price, amount):
    """An amount in one of its spellings is refused, or another one is charged."""
    product = market.product(price=price)
    data = wallet.spend(product, amount)
    assert market.check_receipt(data["receipt"])["amount"] == price
    assert data["new_balance"] == round(100 - price, 2) == wallet.balance()


def test_largest_amount(market, wallet, payee):
    """The largest amount is refused as such, is cut, or a balance holds more than it can tell."""
    refused(wallet.transact(new_transfer(payee.key, MAX)), "funds")
    refused(wallet.transact(new_spend(market.product(price=10), MAX)), "price")
    data = market.credit_well(wallet.key, "9999999999899.99")
    assert data["new_balance"] == wallet.balance() == float(MAX)
    refused(payee.transact(new_transfer(wallet.key, "0.01")), "room")
    assert payee.balance() == 100
    refused(wallet.transact(new_transfer(payee.key, MAX)), "room")
    wallet.send(payee.key, "9999999999899.99")
    assert (wallet.balance(), payee.balance()) == (100, float(MAX))


# --- spelling: the signature is over the RFC 8785 form, whatever came ---

def spellings(intent):
    """The same intent as texts."""
    backwards = dict(reversed(intent.items()))
    escaped = json.dumps(intent).replace("nonce", "\\u006eonce").replace("-", "\\u002d").replace("spend", "s\\u0070end")
    return [jcs(intent).decode(), json.dumps(intent), json.dumps(backwards), json.dumps(intent, indent=8),
        json.dumps(backwards, indent="\t", separators=(" ,\r\n", "\r\n: ")), escaped]


def test_intent_may_be_spelled_in_any_way(market, wallet):
    """An intent is refused because its members came in another order, with blanks, or with escapes."""
    product = market.product(price=1, stock=100)
    count = len(spellings(new_spend(product, 1)))
    for index in range(count):
        text = spellings(new_spend(product, 1))[index]
        data = expect(wallet.transact_text(text), 200)
        assert data["receipt"]["nonce"] == json.loads(text)["nonce"]
    assert wallet.balance() == 100 - count


def test_same_intent_is_answered_again(market, wallet, payee):
    """An intent that is sent again is charged again, or is answered otherwise than the first time, in whatever
    spelling it comes."""
    product = market.product(price=10)
    for intent in (new_spend(product, 10), new_transfer(payee.key, 10)):
        first = wallet.transact(intent)
        assert first.status == 200
        scene = Scene(market, [wallet, payee], [product])
        for text in spellings(intent):
            again = wallet.transact_text(text)
            assert (again.status, again.body) == (200, first.body), again
        again = wallet.transact(intent, public_key=wallet.key.upper())
        assert (again.status, again.body) == (200, first.body), again
        scene.check()


def test_intent_is_answered_again_whatever_has_become(market, wallet, payee):
    """The first answer changes when the price, the stock or the balance has changed, or the product is gone."""
    product = market.product(price=60, stock=1)
    spend, transfer = new_spend(product, 60), new_transfer(payee.key, 40)
    first, second = wallet.transact(spend), wallet.transact(transfer)
    assert (first.status, second.status, wallet.balance()) == (200, 200, 0)
    market.price(market.sku(product), 70)
    assert wallet.transact(spend).body == first.body
    assert market.delete(market.sku(product)).status == 200
    assert wallet.transact(spend).body == first.body
    assert wallet.transact(transfer).body == second.body
    market.check_receipt(first.json()["receipt"])
    assert wallet.balance() == 0 and payee.balance() == 140


def test_nonce_stands_for_one_intent(market, wallet, payee):
    """A nonce that stands for an intent is taken for another one, which is charged or answered with the first."""
    product, other = market.product(price=10), market.product(price=10)
    intent = new_spend(product, 10)
    wallet.pay(intent)
    scene = Scene(market, [wallet, payee], [product, other])
    nonce = intent["nonce"]
    for another in ({**intent, "timestamp": intent["timestamp"] + 1}, {**intent, "product_id": other},
            {**intent, "product_id": market.sku(other)}, {**intent, "amount": 11},
            {**intent, "product_id": "none-such"}, new_transfer(payee.key, 10, nonce=nonce),
            new_transfer(payee.key, 10, timestamp=intent["timestamp"], nonce=nonce)):
        refused(wallet.transact(another), "nonce")
    scene.check()
    transfer = new_transfer(payee.key, 1)
    wallet.pay(transfer)
    for another in ({**transfer, "amount": 2}, {**transfer, "to": Signer().public},
            {**transfer, "timestamp": transfer["timestamp"] - 1}, new_spend(product, 10, nonce=transfer["nonce"])):
        refused(wallet.transact(another), "nonce")
    assert (wallet.balance(), payee.balance(), market.left(product)) == (89, 101, 9)


def test_other_spelling_of_an_amount_is_never_charged_again(market, wallet):
    """The same nonce with the same amount in other digits is charged a second time."""
    product = market.product(price=10)
    intent = new_spend(product, 10)
    first = wallet.transact(intent)
    for amount in ("10", "10.0", "10.00"):
        again = wallet.transact({**intent, "amount": amount})
        assert again.body == first.body or refused(again, "nonce")
    assert wallet.balance() == 90 and market.left(product) == 9


def test_nonce_is_the_payers_own(market, wallet, payee, wallet_of):
    """Two payers cannot use the same nonce, or one is answered with the other's receipt; or a credit's reference is
    taken for a nonce."""
    nonce = new_nonce()
    product = market.product(price=10)
    market.credit_well(wallet.key, 5, nonce)
    receipts = [each.spend(product, 10, nonce=nonce)["receipt"] for each in (wallet, payee)]
    assert [receipt["public_key"] for receipt in receipts] == [wallet.key, payee.key]
    assert receipts[0]["id"] != receipts[1]["id"] and market.left(product) == 8


def test_refused_intent_may_be_sent_again(market, wallet, payee):
    """A refusal uses the nonce up: who was short of coins cannot send the same intent when he has them."""
    product = market.product(price=150)
    intent = new_spend(product, 150)
    refused(wallet.transact(intent), "funds")
    payee.send(wallet.key, 60)
    assert wallet.pay(intent)["new_balance"] == 10
    late = market.upcoming_product(price=5)
    intent = new_spend(late, 5)
    refused(wallet.transact(intent), "stock")
    other = {**intent, "product_id": market.product(price=5)}
    assert wallet.pay(other)["new_balance"] == 5


NONCES = ["x", "x" * 64, "é" * 64, "😀" * 64, "\x01\x02\x1f \x7f\x80\b\t\n\f\r\"\\/'<>&\u2028\u2029\ufeff", " ",
    "null", "é", "e\u0301", "\U0010ffff\ue000", "\u00ad\u200b"]


@pytest.mark.parametrize("nonce", NONCES, ids=ascii)
def test_nonces_may_be_any_text(market, wallet, payee, nonce):
    """A nonce with letters of any kind is refused, is not escaped as RFC 8785 has it, or comes back as another."""
    intent = new_transfer(payee.key, 1, nonce=nonce)
    first = wallet.transact(intent)
    data = expect(first, 200)
    assert market.check_receipt(data["receipt"])["nonce"] == nonce
    again = wallet.transact_text(json.dumps(intent))
    assert (again.status, again.body) == (200, first.body), again
    assert wallet.page()[0][0]["nonce"] == nonce and wallet.balance() == 99


def test_nonces_that_look_alike_are_different(market, wallet, payee):
    """Two nonces are taken for one, because of capitals, blanks or the composition of a letter."""
    for count, nonce in enumerate(("é", "e\u0301", "N", "n", "n ", " n", "ß", "ss", "ı", "i"), 1):
        assert wallet.send(payee.key, 1, nonce=nonce)["new_balance"] == 100 - count


# --- shape: 400 ---

def sorted_compact(members):
    """The text of an intent whose values are texts of JSON already."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in members) + "}"


def texts_of(intent):
    return [(name, json.dumps(intent[name])) for name in sorted(intent)]


# Texts, and what their number would be in RFC 8785 if it were taken.
BAD_AMOUNTS = [("0", 0), ("-0", 0), ("-1", -1), ("0.5", 0.5), ("99.50", 99.5), ("1e2", 100), ("1E2", 100),
    ("1e+2", 100), ("100.0", 100), ("100.00", 100), ("0.1e3", 100), ("1000e-1", 100), ("true", True), ("false", False),
    ("null", None), ("[]", []), ("[100]", [100]), ("{}", {}), ("1e400", 1), ("9" * 400, 1)]
BAD_AMOUNTS += [(str(number), number) for number in (10**13, 10**14, 10**15, 2**31 * 10**6, 2**53, 2**63 - 1, 2**63,
    2**64, 2**64 + 100, -2**63)]
BAD_AMOUNTS += [(json.dumps(text), text) for text in ("", "0", "0.00", "-1", "0.001", "100.000", "1e2", " 1", "1 ",
    "100 ", "+1", "+100", "01", "0100", "00.5", ".5", "100.", "1,5", "1_00", "0x64", "１００", "100\0", "\n100", "NaN",
    "Infinity", "10000000000000", "10000000000000.00", "99999999999999.9", "999999999999999", "9999999999999999",
    str(2**63), str(2**64), "9" * 30, "100 MC", "--100", "1.2.3", "9999999999999.999")]


@pytest.mark.parametrize("text, value", BAD_AMOUNTS, ids=[ascii(text)[:30] for text, _ in BAD_AMOUNTS])
def test_amounts_that_are_none_are_refused(market, wallet, text, value):
    """An amount that is none, or can be read in two ways, is charged."""
    price = value if isinstance(value, float) else 100
    product = market.product(price=price)
    scene = Scene(market, [wallet], [product])
    intent = new_spend(product, 100)
    body = sorted_compact([("amount", text), *texts_of(without(intent, "amount"))])
    for signed in (body.encode(), jcs({**intent, "amount": value})):
        refused(wallet.transact_text(body, wallet.signer.sign(signed)), "shape")
    scene.check()


BAD_MEMBERS = [("action", value) for value in ('"Spend"', '""', '"refund"', "null", "5", "[]", '["spend"]', '"spend "',
    '"SPEND"', '"credit"', '"opening"', '"transfer"', '"spend\\u0000"')]
BAD_MEMBERS += [("product_id", value) for value in ("null", "5", "[]", "{}", "true", "1.5")]
BAD_MEMBERS += [("nonce", value) for value in ('""', f'"{"x" * 65}"', f'"{"é" * 65}"', f'"{"😀" * 65}"', "null", "5",
    "[]", '["n"]', "{}", "true", '"\\ud800"', '"\\udc00x"', '"\\ud800\\ud800"')]
BAD_MEMBERS += [("timestamp", value) for value in ("null", '"{now}"', '""', "true", "[]", "{{}}", "{now}.0", "{now}.5",
    "{now}e0", str(2**63), str(2**64), "1e400", "17e8", "-0.5")]


@pytest.mark.parametrize("name, text", BAD_MEMBERS, ids=[f"{name}={ascii(text)[:24]}" for name, text in BAD_MEMBERS])
def test_members_of_an_intent_that_cannot_be_are_refused(market, wallet, name, text):
    """A member that is no action, product, time or nonce is taken for one."""
    product = market.product(price=10)
    scene = Scene(market, [wallet], [product])
    intent = new_spend(product, 10)
    text = text.format(now=now_s()) if name == "timestamp" else text
    body = sorted_compact(sorted([(name, text), *texts_of(without(intent, name))]))
    refused_any(wallet, body, intent)
    scene.check()


def refused_any(wallet, body, intent):
    """Refused for its shape whatever is signed."""
    for signed in (body.encode("utf-8", "surrogatepass"), jcs(intent)):
        reply = wallet.transact_text(body, wallet.signer.sign(signed))
        assert reply.status == 400 and reply.json()["success"] is False, reply


BAD_PAYEES = ["null", "5", "[]", "{}", '""', '"x"', f'"{"g" * 64}"', f'"{"0" * 63}"', f'"{"0" * 65}"', '"{key} "',
    '"0x{key}"', '["{key}"]']


@pytest.mark.parametrize("text", BAD_PAYEES)
def test_payees_that_are_none_are_refused(market, wallet, payee, text):
    """Coins are sent to something that is no key."""
    scene = Scene(market, [wallet, payee])
    intent = new_transfer(payee.key, 10)
    text = text.replace("{key}", payee.key)
    refused_any(wallet, sorted_compact(sorted([("to", text), *texts_of(without(intent, "to"))])), intent)
    scene.check()


def test_transfer_to_oneself_is_refused(market, wallet):
    """Somebody sends himself coins, and has more or fewer afterwards."""
    scene = Scene(market, [wallet])
    for key in (wallet.key, wallet.key.upper()):
        for amount in (1, 100, 1000):
            refused(wallet.transact(new_transfer(key, amount)), "shape")
    scene.check()


def test_intent_has_exactly_its_members(market, wallet, payee):
    """An intent without a member is filled up, or one that has more is read by half."""
    product = market.product(price=10)
    scene = Scene(market, [wallet, payee], [product])
    for intent in (new_spend(product, 10), new_transfer(payee.key, 10)):
        for name in intent:
            refused(wallet.transact(without(intent, name)), "shape")
        more = {"extra": 1, "Amount": 10, "": "", "currency": "MC", "signature": "0" * 128, "public_key": wallet.key,
            "to": payee.key, "product_id": product, "é": 1, "amount\0": 10, "__proto__": {}}
        for name, value in more.items():
            if name not in intent:
                refused(wallet.transact({**intent, name: value}), "shape")
    scene.check()


def test_member_that_comes_twice_is_refused(market, wallet, payee):
    """Of a member that comes twice one is signed and the other one done."""
    product, dear = market.product(price=10), market.product(price=20)
    scene = Scene(market, [wallet, payee], [product, dear])
    spend, transfer = new_spend(product, 10), new_transfer(payee.key, 10)
    others = {"action": "transfer", "amount": 20, "product_id": dear, "to": Signer().public, "timestamp": now_s() - 1,
        "nonce": new_nonce()}
    for intent, name in itertools.chain(((spend, name) for name in spend), ((transfer, name) for name in transfer)):
        for value in (intent[name], others[name]):
            extra = (name, json.dumps(value))
            for members in ([extra, *texts_of(intent)], [*texts_of(intent), extra]):
                body = sorted_compact(members)
                refused_any(wallet, body, intent)
                refused_any(wallet, body, {**intent, name: value})
        escaped = "\\u%04x" % ord(name[0]) + name[1:]
        refused_any(wallet, sorted_compact([*texts_of(intent), (escaped, json.dumps(others[name]))]), intent)
    scene.check()


def test_request_that_comes_twice_in_one_body_is_refused(market, wallet, payee):
    """Of two intents, keys or signatures in one body one is checked and the other one done."""
    good, other = new_transfer(payee.key, 1), new_transfer(payee.key, 2)
    parts = {name: json.dumps(value) for name, value in wallet.signed(good).items()}
    for extra in (("intent", json.dumps(other)), ("public_key", json.dumps(payee.key)),
            ("signature", json.dumps(wallet.signer.sign(jcs(other))))):
        for members in ([*parts.items(), extra], [extra, *parts.items()]):
            reply = wallet.ask("POST", TRANSACT, {"Content-Type": "application/json"}, sorted_compact(members))
            refused(reply, "shape")
    assert (wallet.balance(), payee.balance()) == (100, 100)


@pytest.mark.parametrize("change", [{"intent": None}, {"intent": []}, {"intent": "x"}, {"intent": 5}, {"intent": {}},
    {"public_key": None}, {"public_key": ""}, {"public_key": 5}, {"public_key": "0" * 63}, {"public_key": "0" * 65},
    {"public_key": "g" * 64}, {"public_key": []}, {"signature": None}, {"signature": ""}, {"signature": 5},
    {"signature": "0" * 127}, {"signature": "0" * 129}, {"signature": "0" * 64}, {"signature": "g" * 128},
    {"signature": []}, {"signature": " " + "0" * 127}], ids=str)
def test_request_to_pay_has_an_intent_a_key_and_a_signature(market, wallet, payee, change):
    """A request without one of them, or with something else in its place, is taken."""
    scene = Scene(market, [wallet, payee])
    good = wallet.signed(new_transfer(payee.key, 1))
    refused(wallet.ask("POST", TRANSACT, None, {**good, **change}), "shape")
    if None in change.values():
        refused(wallet.ask("POST", TRANSACT, None, without(good, *change)), "shape")
    intent_text = json.dumps(jcs(good["intent"]).decode())
    refused(wallet.transact_text(intent_text, good["signature"]), "shape")
    scene.check()


def test_request_to_pay_that_cannot_be_read_is_refused(market, wallet, payee):
    """A body that is no JSON, or no object, moves coins or breaks something."""
    scene = Scene(market, [wallet, payee])
    good = json.dumps(wallet.signed(new_transfer(payee.key, 1)))
    for body in ("", "{", good[:-1], good + "}", good + good, "[" + good + "]", "null", "5", '"x"',
            good.encode("utf-16"), good.encode()[:-2] + b'\xff"}', good.replace("{", "{,", 1), "\ufeff" + good,
            good.replace('"', "'"), '{"intent":' + "[" * 200 + "]" * 200 + "}"):
        reply = wallet.ask("POST", TRANSACT, {"Content-Type": "application/json"}, body)
        assert reply.status == 400 and reply.json()["success"] is False, (body, reply)
    scene.check()


@pytest.mark.parametrize("product", ["", " ", "0", "-1", "00", "+1", "1.0", "1e0", "9223372036854775807",
    "9223372036854775808", "18446744073709551617", "none-such", "a b", "é", "x" * 64, "x" * 65, "x" * 5000, "1\0",
    "' OR 1=1", "１"])
def test_products_that_are_none_are_not_sold(market, wallet, product):
    """Something is sold to who names a product that is none."""
    refused(wallet.transact(new_spend(product, 10)), "product" if 1 <= len(product) <= 64 else "shape")
    assert wallet.balance() == 100


def test_product_that_is_none_harms_nobody(market, wallet, payee):
    """An intent that names something no store can hold makes the intents of others fail that come at the same time."""
    server = market.server
    bodies = [each.signed(intent) for _ in range(20) for each, intent in ((wallet, new_transfer(payee.key, 1)),
        (wallet, new_spend("1\0", 1)), (payee, new_transfer(wallet.key, 1)), (payee, new_spend("\0", 1)))]
    replies = ask_at_once(server, bodies)
    assert [reply.status for reply in replies[::2]] == [200] * 40
    for reply in replies[1::2]:
        refused(reply, "product")
    assert (wallet.balance(), payee.balance()) == (100, 100)


def test_spellings_of_an_id_are_not_the_id(market, wallet):
    """A product is sold to who spells its id with zeros, blanks or a sign."""
    product = market.product(price=10)
    for text in ("0" + product, product + " ", " " + product, "+" + product, product + ".0", product + "\0"):
        refused(wallet.transact(new_spend(text, 10)), "product")
    assert wallet.balance() == 100 and market.left(product) == 10


# --- signatures ---

def test_every_bit_of_a_signature_counts(market, wallet, payee):
    """A signature with one bit changed is taken."""
    intent = new_transfer(payee.key, 1)
    signature = int(wallet.signed(intent)["signature"], 16)
    scene = Scene(market, [wallet, payee])
    for bit in range(512):
        refused(wallet.transact(intent, signature=f"{signature ^ 1 << bit:0128x}"), "signature")
    scene.check()
    assert wallet.pay(intent)["new_balance"] == 99


@pytest.mark.seconds(240)
def test_every_bit_of_an_intent_counts(market, wallet, payee):
    """An intent is done that differs by one bit from what was signed."""
    product = market.product(price=1)
    scene = Scene(market, [wallet, payee], [product])
    for intent in (new_spend(market.sku(product), "1.0"), new_transfer(payee.key, "1.0")):
        text = jcs(intent)
        signature = wallet.signer.sign(text)
        for bit in range(8 * len(text)):
            changed = bytearray(text)
            changed[bit // 8] ^= 1 << bit % 8
            body = b'{"intent":%s,"public_key":"%s","signature":"%s"}' % (bytes(changed), wallet.key.encode(),
                signature.encode())
            reply = wallet.ask("POST", TRANSACT, {"Content-Type": "application/json"}, body)
            assert reply.status in (400, 401), (bytes(changed), reply)
            assert reply.status == 400 or reply.code == "INVALID_SIGNATURE", (bytes(changed), reply)
    scene.check()


def test_forged_and_foreign_signatures_are_refused(market, wallet, payee):
    """Coins are moved by somebody who has not signed, who has signed something else, or who is somebody else."""
    scene = Scene(market, [wallet, payee])
    intent = new_transfer(payee.key, 10)
    right = wallet.signed(intent)["signature"]
    sign = wallet.signer.sign
    text = jcs(intent)
    for signature in ("0" * 128, "f" * 128, right[64:] + right[:64], right[:64] + "0" * 64, "0" * 64 + right[64:],
            payee.signer.sign(text), Signer().sign(text), sign(b""), sign(text + b"\n"), sign(b" " + text),
            sign(text[:-1]), sign(text.hex().encode()), sign(jcs({**intent, "amount": 9})),
            sign(jcs({**intent, "amount": "10"})), sign(jcs({**intent, "to": payee.key.upper()})),
            sign(jcs({"intent": intent})), sign(jcs(wallet.signed(intent)["intent"]) + wallet.key.encode())):
        refused(wallet.transact(intent, signature=signature), "signature")
    refused(payee.transact(intent, public_key=wallet.key), "signature")
    refused(wallet.transact(new_transfer(Signer().public, 10), public_key=payee.key), "signature")
    scene.check()


def test_only_the_canonical_form_is_signed(market, wallet, payee):
    """A signature over the text as it happened to be written is taken, so that one intent has several."""
    scene = Scene(market, [wallet, payee])
    intent = new_transfer(payee.key, 10, nonce=new_nonce() + "é")
    for text in (json.dumps(intent), json.dumps(intent, indent=2), json.dumps(dict(reversed(intent.items()))),
            json.dumps(intent, sort_keys=True), json.dumps(intent, separators=(",", ":"), ensure_ascii=False),
            json.dumps(intent, sort_keys=True, separators=(",", ":"))):
        assert text.encode() != jcs(intent)
        refused(wallet.transact_text(text, wallet.signer.sign(text.encode())), "signature")
        refused(wallet.transact_text(jcs(intent).decode(), wallet.signer.sign(text.encode())), "signature")
    scene.check()


def test_signature_has_one_form(market, wallet, payee):
    """S + L, which an equation modulo L cannot tell from S, is another good signature (RFC 8032, section 5.1.7)."""
    scene = Scene(market, [wallet, payee])
    intent = new_transfer(payee.key, 10)
    right = bytes.fromhex(wallet.signed(intent)["signature"])
    scalar = int.from_bytes(right[32:], "little")
    for more in range(1, 15):
        changed = (right[:32] + (scalar + more * L).to_bytes(32, "little")).hex()
        refused(wallet.transact(intent, signature=changed), "signature")
    refused(wallet.transact(intent, signature=(right[:32] + (L - scalar).to_bytes(32, "little")).hex()), "signature")
    scene.check()
    upper = wallet.transact(intent, signature=right.hex().upper())  # the same bytes
    assert upper.status == 200 and wallet.balance() == 90


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_keys_of_small_order_pay_nothing(market, wallet, key):
    """A signature that everybody can make, for a key of small order, moves coins."""
    scene = Scene(market, [wallet])
    intent = new_transfer(wallet.key, 1)
    zero = "0" * 64
    for point in (key, *SMALL_ORDER[:4]):
        refused(wallet.transact(intent, public_key=key, signature=point + zero), "key")
        refused(wallet.transact(new_transfer(key, 1), signature=point + zero), "signature")
    reply = wallet.transact(new_transfer(key, 1))
    assert (reply.status, reply.code) in ((400, "VALIDATION_ERROR"), (404, "NOT_FOUND")), reply
    scene.check()


# --- time ---

def within_one_second(ask):
    """The answer to what this function asks at the beginning of a second, and in the same second; told which."""
    for _ in range(200):
        now = time.time()
        time.sleep(max(0.0, 1.02 - now % 1))  # pause: until the next second
        second = now_s()
        reply = ask(second)
        if now_s() == second:
            return reply
    raise AssertionError("this machine never answers within a second")


@pytest.mark.parametrize("offset, is_good", [(-WINDOW_S + 1, True), (WINDOW_S - 1, True), (-WINDOW_S - 2, False),
    (WINDOW_S + 2, False)])
def test_time_of_an_intent_is_within_five_minutes(market, wallet, payee, offset, is_good):
    """An intent is good for longer than five minutes, or for less, before or after its time."""
    reply = within_one_second(lambda now: wallet.transact(new_transfer(payee.key, "0.01", timestamp=now + offset)))
    if is_good:
        expect(reply, 200)
    else:
        refused(reply, "time")
        assert wallet.balance() == 100


@pytest.mark.parametrize("timestamp", [0, 1, -1, -2**63, 2**63 - 1, 2**62, 10**12, 2**31, 2**53])
def test_times_far_off_are_refused(market, wallet, payee, timestamp):
    """A time far away, with which sums may overflow, is taken for one of now."""
    refused(wallet.transact(new_transfer(payee.key, 1, timestamp=timestamp)), "time")
    refused(wallet.transact(new_transfer(payee.key, 1, timestamp=now_s() * 1000)), "time")
    assert wallet.balance() == 100


# --- the order of the checks ---

class Fault:
    """An intent with these things wrong, of a wallet that has used a nonce already."""

    def __init__(self, market, wallet, used, faults):
        self.faults = faults
        self.signer = Signer() if "key" in faults else wallet.signer
        self.intent = self.build(market)
        if "time" in faults:
            self.intent["timestamp"] -= WINDOW_S + 100
        if "nonce" in faults:
            self.intent["nonce"] = used
        if "shape" in faults:
            self.intent["more"] = 1
        signed = b"something else" if "signature" in faults else jcs(self.intent)
        self.body = {"intent": self.intent, "public_key": self.signer.public, "signature": self.signer.sign(signed)}


class BadSpend(Fault):
    def build(self, market):
        price = 500 if "funds" in self.faults else 10
        self.product = market.product(price=price, stock=0 if "stock" in self.faults else 5)
        return new_spend("999999999999" if "product" in self.faults else self.product,
            price - 1 if "price" in self.faults else price)


class BadTransfer(Fault):
    def __init__(self, empty, full, *arguments):
        self.empty, self.full = empty, full  # keys of wallets; the second one can hold no more
        super().__init__(*arguments)

    def build(self, market):
        faults = self.faults
        to = Signer().public if "payee" in faults else self.full if "room" in faults else self.empty
        return new_transfer(to, 500 if "funds" in self.faults else 10)


def sets_of(order):
    """Each fault by itself, each pair of them, and all from each one on."""
    return [(each,) for each in order] + list(itertools.combinations(order, 2)) + [order[index:]
        for index in range(len(order) - 2)]


@pytest.mark.parametrize("faults", sets_of(SPEND_ORDER), ids="+".join)
def test_checks_of_a_purchase_come_in_order(market, wallet, faults):
    """Of several things that are wrong with a purchase, another one than the contract's first is told; or something
    changes."""
    used = new_nonce()
    wallet.spend(market.product(price=1), 1, nonce=used)
    bad = BadSpend(market, wallet, used, faults)
    scene = Scene(market, [wallet], [bad.product])
    refused(wallet.ask("POST", TRANSACT, None, bad.body), faults[0])
    scene.check()


@pytest.mark.parametrize("faults", sets_of(TRANSFER_ORDER), ids="+".join)
def test_checks_of_a_transfer_come_in_order(market, wallet, payee, wallet_of, faults):
    """Of several things that are wrong with a transfer, another one than the contract's first is told; or something
    changes."""
    used = new_nonce()
    wallet.send(payee.key, 1, nonce=used)
    full = wallet_of(wallet.server)
    market.credit_well(full.key, "9999999999899.99")
    bad = BadTransfer(payee.key, full.key, market, wallet, used, faults)
    scene = Scene(market, [wallet, payee, full])
    refused(wallet.ask("POST", TRANSACT, None, bad.body), faults[0])
    scene.check()


def test_repetition_comes_before_what_has_changed(market, wallet):
    """A repetition with a wrong signature is answered; or one is refused for what it would be refused for now."""
    product = market.product(price=100, stock=1)
    intent = new_spend(product, 100)
    first = wallet.transact(intent)
    refused(wallet.transact(intent, signature="0" * 128), "signature")
    refused(wallet.transact({**intent, "more": 1}), "shape")
    assert wallet.transact(intent).body == first.body and first.status == 200
    refused(wallet.transact(new_spend(product, 100)), "funds")
    refused(wallet.transact(new_spend(product, 1)), "price")


def test_sale_that_is_not_open_sells_nothing(market, wallet):
    """A product is sold for coins before its sale begins or after it has ended."""
    upcoming = market.upcoming_product(price=5)
    over = market.short_sale()
    market.price(over, 5)
    market.wait_state(over, "ENDED")
    for product in (upcoming, over):
        refused(wallet.transact(new_spend(product, 5)), "stock")
    assert wallet.balance() == 100 and market.left(upcoming) == 10


def test_last_coins_and_last_units(market, wallet, payee):
    """The last coin or the last unit cannot be spent, or one more can."""
    last = market.product(price=100, stock=1)
    assert wallet.spend(last, 100)["new_balance"] == 0
    refused(payee.transact(new_spend(last, 100)), "stock")
    refused(wallet.transact(new_transfer(payee.key, "0.01")), "funds")
    assert payee.send(wallet.key, "0.01")["new_balance"] == 99.99
    refused(payee.transact(new_spend(market.product(price=100), 100)), "funds")
    assert (wallet.balance(), payee.balance()) == (0.01, 99.99)


# --- at once ---

def ask_at_once(server, bodies):
    """The replies to these bodies, each on a connection of its own, all sent before one is read."""
    connections = [wire.Connection(server.port, limit=90) for _ in bodies]
    requests = [wire.build("POST", TRANSACT, None, body) for body in bodies]
    for connection, request in zip(connections, requests):
        connection.send(request)
    replies = [connection.read_reply() for connection in connections]
    for connection in connections:
        connection.close()
    return replies


def test_same_intent_at_once_is_done_once(market, wallet, payee):
    """An intent that comes on several connections at the same moment is done twice, or answered in two ways."""
    product = market.product(price=10)
    for intent in (new_spend(product, 10), new_transfer(payee.key, 10)):
        replies = ask_at_once(wallet.server, [wallet.signed(intent)] * 40)
        assert {(reply.status, reply.body) for reply in replies} == {(200, replies[0].body)}, replies
    assert (wallet.balance(), payee.balance(), market.left(product)) == (80, 110, 9)
    assert len(wallet.lines()) == 3


def test_one_of_several_intents_with_a_nonce_is_done(market, wallet, payee):
    """Of different intents with one nonce that race, more than one is done, or none."""
    for _ in range(10):
        before = wallet.balance()
        nonce = new_nonce()
        bodies = [wallet.signed(new_transfer(payee.key, f"0.0{index}", nonce=nonce)) for index in range(1, 9)]
        replies = at_once([lambda body=body: wire.ask(wallet.server.port, "POST", TRANSACT, None, body)
            for body in bodies])
        winners = [(index, reply) for index, reply in enumerate(replies, 1) if reply.status == 200]
        assert len(winners) == 1, replies
        for reply in replies:
            assert reply.status == 200 or refused(reply, "nonce")
        index, reply = winners[0]
        assert round((before - wallet.balance()) * 100) == index
        assert expect(reply, 200)["receipt"]["amount"] == index / 100
    assert wallet.balance() + payee.balance() == 200


def test_last_coins_are_spent_once(market, wallet):
    """Of 200 who spend the last coins of a wallet at once more succeed than there are coins for, or fewer."""
    product = market.product(price=7, stock=1000)
    replies = ask_at_once(wallet.server, [wallet.signed(new_spend(product, 7)) for _ in range(200)])
    good = [expect(reply, 200) for reply in replies if reply.status == 200]
    assert len(good) == 14
    for reply in replies:
        assert reply.status == 200 or refused(reply, "funds")
    assert sorted(data["new_balance"] for data in good) == list(range(2, 100, 7))
    assert len({data["order_id"] for data in good}) == len({data["receipt"]["id"] for data in good}) == 14
    for data in good:
        market.check_receipt(data["receipt"])
    assert wallet.balance() == 2 and market.left(product) == 986
    assert len(market.buyers_of(product)) == 14


def test_last_units_are_paid_for_once(market, wallet_of):
    """Of many wallets that buy the last units at once more are charged than there are units, or fewer."""
    product = market.product(price=30, stock=5)
    wallets = [wallet_of(market.server) for _ in range(20)]
    replies = ask_at_once(market.server, [each.signed(new_spend(product, 30)) for each in wallets])
    for reply in replies:
        assert reply.status == 200 or refused(reply, "stock")
    assert sorted(reply.status for reply in replies) == [200] * 5 + [409] * 15
    for each, reply in zip(wallets, replies):
        assert each.balance() == (70 if reply.status == 200 else 100)
    assert market.left(product) == 0


def test_coins_that_go_round_stay_as_many(market, wallet_of):
    """Transfers between wallets at once lose coins, make some, or let a balance go below nothing."""
    wallets = [wallet_of(market.server) for _ in range(6)]
    bodies, amounts = [], [[0] * 6 for _ in range(6)]
    for index in range(240):
        payer, to = index % 6, (index + 1 + index // 6 % 5) % 6
        amount = 1 + index * 37 % 61
        bodies.append((payer, to, amount, wallets[payer].signed(new_transfer(wallets[to].key, amount))))
    replies = ask_at_once(market.server, [body for *_, body in bodies])
    for (payer, to, amount, _), reply in zip(bodies, replies):
        if reply.status == 200:
            amounts[payer][to] += amount
        else:
            refused(reply, "funds")
    balances = [each.balance() for each in wallets]
    assert balances == [100 + sum(row[index] for row in amounts) - sum(amounts[index]) for index in range(6)]
    assert sum(balances) == 600 and min(balances) >= 0


def test_pipelined_intents_are_answered_in_order(market, wallet, payee):
    """Intents that are sent one behind the other on one connection get each other's answers."""
    intents = [new_transfer(payee.key, 1) for _ in range(50)]
    with wire.Connection(wallet.server.port) as connection:
        connection.send(b"".join(wire.build("POST", TRANSACT, None, wallet.signed(intent)) for intent in intents))
        for count, intent in enumerate(intents, 1):
            data = expect(connection.read_reply(), 200)
            assert (data["receipt"]["nonce"], data["new_balance"]) == (intent["nonce"], 100 - count)
