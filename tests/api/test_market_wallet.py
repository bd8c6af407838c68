# SPDX-License-Identifier: Apache-2.0
"""Marketplace contract: balances, histories, the key of receipts, and the credits of the admin."""
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import wire
from intake import bearer
from market import (BALANCE, CREDITS, KEYS, LINES, OFF_CURVE, REGISTER, TRANSACTIONS, Market, Signer, Wallet, derived,
    expect, expect_error, expect_private, market, new_account, new_nonce, now_s, payee, wallet, wallet_of,
    without)  # noqa: F401 (fixtures)
from waiting import at_once

FAR = 2**63 - 1


def refused(reply, status, code):
    return expect_error(reply, status, code)


# --- balance ---

def test_balance_follows_every_transfer(market, wallet, payee):
    """A balance is not told, or is one of before."""
    product = market.product(price="0.1")
    assert wallet.balance() == 100
    for step in range(1, 6):
        data = wallet.spend(product, "0.1")
        assert data["new_balance"] == wallet.balance() == round(100 - step / 10, 2)
    wallet.send(payee.key, "99.5")
    assert (wallet.balance(), payee.balance()) == (0, 199.5)
    assert type(wallet.balance()) is int


def test_many_read_their_balances_at_once(server):
    """Of many who read at once somebody hears another's balance."""
    told = []
    for _ in range(0, 40):
        told.append(expect(wire.ask(server.port, "POST", REGISTER, None, new_account()), 201))
    market = Market(server)
    for index, data in enumerate(told):
        market.credit_well(data["public_key"], index + 1)
    market.close()
    connections = [wire.Connection(server.port) for _ in told]
    for _ in range(3):
        for connection, data in zip(connections, told):
            connection.send(wire.build("GET", BALANCE, bearer(data["token"])))
        for index, connection in enumerate(connections):
            assert expect(connection.read_reply(), 200)["balance"] == 101 + index
    for connection in connections:
        connection.close()


# --- transactions ---

def test_history_is_exact(market, wallet, payee):
    """A line of a history has other members or values, or tells more than its reader should know."""
    began = now_s()
    product = market.product(price="12.50")
    reference, nonce = new_nonce(), new_nonce()
    market.credit_well(wallet.key, "0.5", reference)
    order = wallet.spend(product, "12.5", nonce=nonce)
    sent = wallet.send(payee.key, 8, nonce=nonce + "-2")
    back = payee.send(wallet.key, "1.01")
    lines, cursor = wallet.page()
    assert cursor is None and [line["type"] for line in lines] == ["transfer", "transfer", "spend", "credit", "opening"]
    assert [int(line["id"]) for line in lines] == sorted((int(line["id"]) for line in lines), reverse=True)
    for line in lines:
        assert line["currency"] == "MC" and began - 1 <= line["timestamp"] <= now_s() + 1, line
        assert [name for name in line if name in LINES] == LINES
    bare = [without(line, "id", "currency", "timestamp") for line in lines]
    assert bare == [
        {"type": "transfer", "direction": "credit", "amount": 1.01, "balance": 81.01, "public_key": payee.key},
        {"type": "transfer", "direction": "debit", "amount": 8, "balance": 80, "public_key": payee.key,
            "nonce": nonce + "-2"},
        {"type": "spend", "direction": "debit", "amount": 12.5, "balance": 88, "product_id": product,
            "order_id": order["order_id"], "nonce": nonce},
        {"type": "credit", "direction": "credit", "amount": 0.5, "balance": 100.5, "reference": reference},
        {"type": "opening", "direction": "credit", "amount": 100, "balance": 100}]
    assert [lines[index]["id"] for index in (0, 1, 2)] == [each["receipt"]["id"] for each in (back, sent, order)]
    assert [lines[index]["timestamp"] for index in (1, 2)] == [each["receipt"]["timestamp"] for each in (sent, order)]
    theirs, _ = payee.page()
    assert [without(line, "currency", "timestamp") for line in theirs[:2]] == [
        {"id": back["receipt"]["id"], "type": "transfer", "direction": "debit", "amount": 1.01, "balance": 106.99,
            "public_key": wallet.key, "nonce": back["receipt"]["nonce"]},
        {"id": sent["receipt"]["id"], "type": "transfer", "direction": "credit", "amount": 8, "balance": 108,
            "public_key": wallet.key}]


def test_history_adds_up(market, wallet, payee):
    """What a history says does not come to the balance, step by step."""
    product = market.product(price=3, stock=100)
    for index in range(12):
        (wallet.spend(product, 3), payee.send(wallet.key, "1.25"), wallet.send(payee.key, "0.01"))[index % 3]
    for each in (wallet, payee):
        lines = each.lines()
        balance = 0
        for line in reversed(lines):
            balance += round(line["amount"] * 100) * (1 if line["direction"] == "credit" else -1)
            assert round(line["balance"] * 100) == balance, line
        assert balance == round(each.balance() * 100)


def test_history_comes_in_pages(wallet, payee):
    """A history that is read page by page has gaps, or lines twice, or another order; or 50 are not a page."""
    for _ in range(61):
        wallet.send(payee.key, 1)
    whole, cursor = wallet.page("?limit=1000")
    assert cursor is None and len(whole) == 62
    first, cursor = wallet.page()
    assert len(first) == 50 and first == whole[:50] and cursor is not None
    rest, end = wallet.page(f"?cursor={cursor}")
    assert rest == whole[50:] and end is None
    for limit in (1, 7, 31, 62, 61, 63):
        assert wallet.lines(limit) == whole, limit
    exactly, cursor = wallet.page("?limit=62")
    assert exactly == whole
    assert cursor is None or wallet.page(f"?limit=62&cursor={cursor}") == ([], None)


def test_pages_stay_while_more_comes(wallet, payee):
    """What comes while somebody reads page by page moves the pages that he has not read."""
    for _ in range(6):
        wallet.send(payee.key, 1)
    whole = wallet.lines()
    found, cursor = wallet.page("?limit=2")
    while cursor is not None:
        payee.send(wallet.key, "0.01")
        wallet.send(payee.key, "0.01")
        more, cursor = wallet.page(f"?limit=2&cursor={cursor}")
        found += more
    assert found == whole


def test_cursor_of_somebody_elses_history_tells_nothing(market, wallet, payee, wallet_of):
    """With the cursor of another's history one reads his, or breaks one's own."""
    third = wallet_of(wallet.server)
    for _ in range(4):
        payee.send(third.key, 1)
        wallet.send(third.key, 2)
    _, cursor = payee.page("?limit=2")
    mine = wallet.lines()
    strange = payee.page("?limit=1")[0][0]["id"]
    for other in (cursor, strange, str(int(mine[0]["id"]) + 1000), "1"):
        assert wallet.page(f"?limit=3&cursor={other}") == ([], None)
    assert wallet.page(f"?cursor={FAR}") == (mine, None)  # before everything: from the beginning
    assert wallet.lines() == mine


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=1001", "limit=x", "limit=", "limit", "limit=1.0",
    "limit=1e2", "limit=%201", "limit=99999999999999999999", "cursor=", "cursor", "cursor=x",
    "cursor=-1", "cursor=0", "cursor=1.5", "cursor=9223372036854775808", "cursor=%00", "cursor=%zz",
    "cursor=" + "9" * 300])
def test_bad_page_of_a_history_is_refused(wallet, query):
    """A page that is none is made up."""
    reply = wallet.read(f"{TRANSACTIONS}?{query}")
    assert reply.status == 400 and reply.json()["success"] is False, reply


def test_head_of_what_a_wallet_is(wallet):
    """HEAD does not work on what can be read."""
    for target in (BALANCE, TRANSACTIONS):
        reply = wallet.ask("HEAD", target, bearer(wallet.token))
        assert reply.status == 200 and int(reply.header("content-length")) > 20, reply


# --- keys ---

def test_key_of_receipts_is_the_stores(market, wallet):
    """Receipts are signed by another key than the one that is told, than the store's secret gives, or by one of each
    process."""
    seed = derived(market.server.store, "doorbuster receipts")
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    assert market.receipt_key() == public
    assert market.ask("GET", KEYS).all("cache-control") != ["no-store"]


def test_receipts_outlive_their_server(start_server):
    """After a restart another key signs, the same intent is done again, or its answer is another."""
    server = start_server()
    market, wallet, payee = Market(server), Wallet(server), Wallet(server)
    product = market.product(price=10)
    intent = {"action": "spend", "amount": 10, "product_id": product, "timestamp": now_s(), "nonce": "again"}
    transfer = {"action": "transfer", "amount": "2.5", "to": payee.key, "timestamp": now_s(), "nonce": "and again"}
    first, second, key = wallet.transact(intent), wallet.transact(transfer), market.receipt_key()
    credit = market.credit(wallet.key, 3, "a reference")
    lines = wallet.lines()
    for each in (market, wallet, payee):
        each.close()
    server.stop()
    again = start_server(on=server.store)
    market.server = wallet.server = payee.server = again
    assert market.receipt_key() == key
    assert (wallet.transact(intent).body, wallet.transact(transfer).body) == (first.body, second.body)
    assert market.credit(wallet.key, 3, "a reference").body == credit.body
    market.check_receipt(first.json()["receipt"])
    expect_error(wallet.transact({**intent, "amount": 11}), 409, "NONCE_REUSED")
    assert wallet.lines() == lines and (wallet.balance(), payee.balance()) == (90.5, 102.5)
    assert market.left(product) == 9
    for each in (market, wallet, payee):
        each.close()


# --- credits ---

def test_credit_is_exact(market, wallet):
    """Who issues coins hears something else than what was issued, or it is not issued."""
    reference = new_nonce()
    data = market.credit_well(wallet.key.upper(), "25.5", reference)
    assert without(data, "id") == {"public_key": wallet.key, "amount": 25.5, "reference": reference,
        "new_balance": 125.5}
    line = wallet.page()[0][0]
    assert (line["id"], line["type"], line["reference"]) == (data["id"], "credit", reference)
    assert wallet.balance() == 125.5


def test_credit_is_issued_once(market, wallet, payee):
    """The same credit again is issued again, or its reference stands for two of them."""
    reference = new_nonce()
    first = market.credit(wallet.key, 10, reference)
    expect_private(first, 200)
    wallet.send(payee.key, 50)
    for amount in (10, "10", "10.00"):
        again = market.credit(wallet.key, amount, reference)
        assert (again.status, again.body) == (200, first.body), again
    expect_error(market.credit(wallet.key, 11, reference), 409, "REFERENCE_REUSED")
    expect_error(market.credit(payee.key, 10, reference), 409, "REFERENCE_REUSED")
    assert (wallet.balance(), payee.balance()) == (60, 150)


def test_same_credit_at_once_is_issued_once(market, wallet):
    """A credit that comes on several connections at the same moment is issued twice."""
    body = {"public_key": wallet.key, "amount": 10, "reference": new_nonce()}
    replies = at_once([lambda: wire.ask(market.server.port, "POST", CREDITS, market.admin, body)] * 12)
    assert {(reply.status, reply.body) for reply in replies} == {(200, replies[0].body)}, replies
    assert wallet.balance() == 110


def test_credits_need_the_key(market, wallet):
    """Everybody may issue coins."""
    body = {"public_key": wallet.key, "amount": 10, "reference": new_nonce()}
    for headers in ({}, {"X-Admin-Key": ""}, {"X-Admin-Key": "wrong-admin-key-12345"}, bearer(wallet.token),
            {"X-Admin-Key": market.admin["X-Admin-Key"] + "x"}):
        reply = wire.ask(market.server.port, "POST", CREDITS, headers, body)
        assert reply.status == 401 and reply.json()["error"]["code"] == "UNAUTHORIZED", reply
    assert wallet.balance() == 100


@pytest.mark.embedded
def test_credits_need_no_key_on_a_trusted_machine(start_server, wallet_of):
    """--trust-loopback does not open the admin's route of coins."""
    server = start_server("--trust-loopback")
    wallet = wallet_of(server)
    body = {"public_key": wallet.key, "amount": 10, "reference": "r"}
    assert expect(wire.ask(server.port, "POST", CREDITS, None, body), 200)["new_balance"] == 110


@pytest.mark.parametrize("members", [{"public_key": value} for value in (None, "", 5, "0" * 63, "g" * 64)]
    + [{"amount": value} for value in (None, "", 0, "0", "0.00", -1, "-1", 0.5, "0.001", "1e2", True, [], "x", " 1",
        "+1", "01", 10**13, 2**63, 2**64, "10000000000000", "9" * 40)]
    + [{"reference": value} for value in (None, "", 5, [], "x" * 65, "é" * 65, "a\0b")],
    ids=lambda value: ascii(value)[:40])
def test_credit_that_is_none_is_refused(market, wallet, members):
    """Coins are issued by a credit that is none."""
    body = {"public_key": wallet.key, "amount": 10, "reference": new_nonce(), **members}
    refused(market.ask("POST", CREDITS, market.admin, body), 400, "VALIDATION_ERROR")
    if None in members.values():
        refused(market.ask("POST", CREDITS, market.admin, without(body, *members)), 400, "VALIDATION_ERROR")
    assert wallet.balance() == 100 and len(wallet.lines()) == 1


def test_reference_of_a_credit_may_be_any_text(market, wallet):
    """A reference of 64 characters, of any letters, is refused or is another one afterwards."""
    for reference in ("x" * 64 + "", "é" * 64, "😀" * 60 + new_nonce()[:4], 'invoice "7" \\ \n'):
        reference = reference[:60] + new_nonce()[-4:]
        data = market.credit_well(wallet.key, "0.01", reference)
        assert data["reference"] == reference == wallet.page()[0][0]["reference"]


def test_credit_for_nobody_is_refused(market):
    """Coins are issued to a key that nobody has."""
    for key in (Signer().public, OFF_CURVE[0], "0" * 64):
        reply = market.credit(key, 10)
        assert (reply.status, reply.json()["error"]["code"]) in ((404, "NOT_FOUND"), (400, "VALIDATION_ERROR")), reply
    refused(market.credit(Signer().public, 10), 404, "NOT_FOUND")


def test_wallet_holds_no_more_than_can_be_told(market, wallet):
    """A credit makes a balance that is beyond 15 digits, or is issued by half."""
    data = market.credit_well(wallet.key, "9999999999899.98")
    assert data["new_balance"] == 9999999999999.98
    for amount in ("0.02", "9999999999999.99"):
        refused(market.credit(wallet.key, amount), 422, "BALANCE_TOO_LARGE")
    assert market.credit_well(wallet.key, "0.01")["new_balance"] == 9999999999999.99
    refused(market.credit(wallet.key, "0.01"), 422, "BALANCE_TOO_LARGE")
    assert '"balance":9999999999999.99' in wallet.read(BALANCE).text


def test_issued_coins_are_all_there(start_server, wallet_of):
    """The sum of all balances and of what was spent is not what was issued."""
    server = start_server("--opening-balance", "50.5")
    market = Market(server)
    wallets = [wallet_of(server) for _ in range(5)]
    product = market.product(price="3.3", stock=100)
    for index, each in enumerate(wallets):
        market.credit_well(each.key, f"{index + 1}.07")
        each.spend(product, "3.3")
        each.send(wallets[index - 1].key, "7.77")
    rows = dict(server.store.rows("SELECT kind, sum(amount_minor) FROM transfers GROUP BY kind"))
    balances = [round(each.balance() * 100) for each in wallets]
    assert int(rows["opening"]) == 5 * 5050 and int(rows["credit"]) == 1535 and int(rows["spend"]) == 5 * 330
    assert sum(balances) == 5 * 5050 + 1535 - 5 * 330
    assert server.store.rows("SELECT sum(balance_minor) FROM wallets") == [(sum(balances),)]
    market.close()
