# SPDX-License-Identifier: Apache-2.0
"""Marketplace contract: a store that fails, servers that stop, secrets in logs, several nodes, and figures."""
import json
import re

import pytest

import wire
from intake import Trader, bearer
from market import (BALANCE, CATALOGUE, CHALLENGE, CREDITS, REGISTER, TRANSACT, TRANSACTIONS, Market, Signer, Wallet,
    expect, expect_error, jcs, market, new_account, new_nonce, new_spend, new_transfer, payee, wallet,
    wallet_of)  # noqa: F401 (fixtures)
from nodes import start_nodes  # noqa: F401 (a fixture)
from server import ADMIN_KEY
from stores import PostgresStore
from test_crash import run_verify
from waiting import at_once


def ask_until(ask, status):
    """The first answer with this status; every one before says that nothing was changed, and when to come again."""
    refusals = []

    def answer():
        reply = ask()
        if reply.status == 503:
            if reply.json().get("success") is False:  # another face has another form
                refusals.append(expect_error(reply, 503, "SERVICE_UNAVAILABLE"))
            return None
        return reply

    reply = wire.wait_for(answer, "it is taken", 60, 0.05)
    assert reply.status == status, reply
    return reply, refusals


def register_body(signer):
    return new_account(public_key=signer.public)


def coins_of(store):
    """[(key, balance)] of all wallets, and what was issued and spent."""
    rows = store.rows("SELECT public_key, balance_minor FROM wallets ORDER BY account_id")
    moved = store.rows("SELECT kind, count(*), sum(amount_minor) FROM transfers GROUP BY kind ORDER BY kind")
    return [(bytes(key).hex(), balance) for key, balance in rows], [tuple(map(str, row)) for row in moved]


class Errand:
    """Two accounts, a credit, a purchase and a transfer: each thing asked for until it is done."""

    def __init__(self, server):
        self.server = server
        self.one, self.other = Signer(), Signer()
        self.bodies = [register_body(self.one), register_body(self.other)]
        self.reference = new_nonce()
        self.market = Market(server)
        self.refused = 0

    def post(self, target, body, status, headers=None):
        reply, refusals = ask_until(lambda: wire.ask(self.server.port, "POST", target, headers, body), status)
        self.refused += len(refusals)
        return reply

    def signed(self, intent):
        return {"intent": intent, "public_key": self.one.public, "signature": self.one.sign(jcs(intent))}

    def run(self):
        for body in self.bodies:
            self.post(REGISTER, body, 201)
        product = {"name": "tea", "stock": 5, "price": 12.5}
        self.product = str(self.post("/api/products", product, 201, self.market.admin).json()["id"])
        self.post(CREDITS, {"public_key": self.one.public, "amount": 50, "reference": self.reference}, 200,
            self.market.admin)
        self.spend, self.transfer = new_spend(self.product, "12.5"), new_transfer(self.other.public, 30)
        self.replies = [self.post(TRANSACT, self.signed(intent), 200) for intent in (self.spend, self.transfer)]

    def check(self):
        assert coins_of(self.server.store) == ([(self.one.public, 10750), (self.other.public, 13000)],
            [("credit", "1", "5000"), ("opening", "2", "20000"), ("spend", "1", "1250"), ("transfer", "1", "3000")])
        for reply in self.replies:
            self.market.check_receipt(reply.json()["receipt"])
        assert self.market.left(self.product) == 4 and len(self.market.buyers_of(self.product)) == 1

    def check_again(self):
        """Everything again is answered again."""
        for intent, reply in zip((self.spend, self.transfer), self.replies):
            again = wire.ask(self.server.port, "POST", TRANSACT, None, self.signed(intent))
            assert (again.status, again.body) == (200, reply.body), again
        for body in self.bodies:
            expect_error(wire.ask(self.server.port, "POST", REGISTER, None, body), 409, "PUBLIC_KEY_TAKEN")
        self.check()


# --- a store that fails on request ---

@pytest.mark.embedded
@pytest.mark.parametrize("fault", ["full", "io"])
def test_every_commit_of_the_marketplace_may_fail(start_server, fault):
    """There is a commit (of an account, a credit, a purchase, a transfer) whose failure is not told, or does half."""
    refused = 0
    for n in range(1, 8):
        errand = Errand(start_server("--fault", f"commit:{n}:{fault}", "--net-threads", "2"))
        wire.wait_for(lambda: wire.ask(errand.server.port, "GET", "/readyz").status == 200, "it is ready", 60, 0.05)
        errand.run()
        errand.check_again()
        errand.market.close()
        errand.server.stop()
        refused += errand.refused
        run_verify(errand.server.store)
    assert refused >= 4, f"of the commits that failed only {refused} were these"


@pytest.mark.embedded
@pytest.mark.parametrize("fault", ["unknown-lost", "unknown-kept"])
@pytest.mark.parametrize("what", ["spend", "transfer", "credit"])
def test_unknown_outcome_is_told_and_found_out(start_server, fault, what):
    """When it is not known whether coins were moved somebody hears that they were, or were not; or the same intent
    again, after a restart, moves them twice."""
    def prepare(*arguments):
        """With its commits: two accounts, a product."""
        server = start_server(*arguments)
        return Market(server), Wallet(server), Wallet(server)

    market, wallet, payee = prepare("--fault", f"commit:4:{fault}")
    product = market.product(price=10)
    intent = new_spend(product, 10) if what == "spend" else new_transfer(payee.key, 10)
    reference = new_nonce()

    def ask():
        return market.credit(wallet.key, 10, reference) if what == "credit" else wallet.transact(intent)

    reply = ask()
    expect_error(reply, 503, "OUTCOME_UNKNOWN")
    again = ask()
    assert again.status == 503, again
    for each in (market, wallet, payee):
        each.close()
    market.server.signal()
    market.server.wait_exit()
    market.server = wallet.server = payee.server = start_server(on=market.server.store)
    kept = fault == "unknown-kept"
    moved = 10 if what == "credit" else -10
    assert wallet.balance() == 100 + (moved if kept else 0)
    first = ask()
    assert first.status == 200 and ask().body == first.body
    assert wallet.balance() == 100 + moved and payee.balance() == (110 if what == "transfer" else 100)
    assert market.left(product) == (9 if what == "spend" else 10)
    for each in (market, wallet, payee):
        each.close()


@pytest.mark.embedded
@pytest.mark.parametrize("fault", ["crash-before", "crash-after"])
def test_crash_around_the_commit_of_an_intent(start_server, fault):
    """A crash just before or after the commit loses coins, moves them twice, or leaves them without their order."""
    server = start_server("--fault", f"commit:3:{fault}")
    market, wallet = Market(server), Wallet(server)
    product = market.product(price=10)
    intent = new_spend(product, 10)
    with pytest.raises((wire.Closed, OSError)):
        wallet.transact(intent)
    assert server.wait_exit() == 9
    market.close()
    market.server = wallet.server = start_server(on=server.store)
    is_there = fault == "crash-after"
    assert (wallet.balance(), market.left(product)) == ((90, 9) if is_there else (100, 10))
    assert len(market.buyers_of(product)) == len(wallet.lines()) - 1 == is_there
    data = wallet.pay(intent)
    market.check_receipt(data["receipt"])
    assert (wallet.balance(), market.left(product), len(wallet.lines())) == (90, 9, 2)
    wallet.close()
    market.close()


@pytest.mark.embedded
def test_failing_reads_of_wallets_are_told(start_server):
    """What cannot be read is told as empty or as unknown, or nothing goes on."""
    server = start_server("--fault", "read:1+:io")
    wallet = Wallet(server)
    expect_error(wallet.read(TRANSACTIONS), 500, "INTERNAL_ERROR")
    expect_error(wallet.verify(wallet.answer(wallet.challenge())), 500, "INTERNAL_ERROR")
    other = Signer()
    unsigned = wallet.transact(new_transfer(other.public, 1), signature="0" * 128)
    expect_error(unsigned, 500, "INTERNAL_ERROR")  # whether there is such a key is not known
    expect_error(wallet.transact(new_transfer(other.public, 1)), 404, "NOT_FOUND")
    assert wallet.balance() == 100  # not read from the store
    assert wire.ask(server.port, "GET", CATALOGUE).status == 200
    wallet.close()


@pytest.mark.needs("postgres")
def test_marketplace_whose_database_is_away(start_postgres, start_nodes, tmp_path):  # noqa: F811
    """While the database is away coins are moved, or refused for ever; or nobody hears when to come again; or an
    intent that was sent again and again is done more than once."""
    postgres = start_postgres()
    place = PostgresStore(tmp_path, postgres)
    node, = start_nodes(place)
    market, wallet, payee = Market(node), Wallet(node), Wallet(node)
    product = market.product(price=10)
    wallet.spend(product, 10)
    postgres.kill9()
    spend, transfer = new_spend(product, 10), new_transfer(payee.key, 10)
    for intent in (spend, transfer, spend):
        reply = wallet.transact(intent)
        assert reply.status == 503 and reply.code in ("SERVICE_UNAVAILABLE", "OUTCOME_UNKNOWN"), reply
        expect_error(reply, 503, reply.code)
    for ask in (lambda: wallet.read(BALANCE), lambda: wallet.read(TRANSACTIONS),
            lambda: wallet.verify(wallet.answer(wallet.challenge())), lambda: market.credit(wallet.key, 1),
            lambda: wire.ask(node.port, "POST", REGISTER, None, new_account())):
        reply = ask()
        assert reply.status == 503 and reply.code in ("SERVICE_UNAVAILABLE", "OUTCOME_UNKNOWN"), reply
        expect_error(reply, 503, reply.code)
    assert wire.ask(node.port, "GET", CHALLENGE + "?public_key=" + wallet.key).status == 200
    postgres.start()

    def is_done(intent):
        reply = wallet.transact(intent)
        assert reply.status == 200 or reply.status == 503, reply
        return reply.status == 200 and reply

    for intent in (spend, transfer):
        first = wire.wait_for(lambda: is_done(intent), "it is done", 60, 0.1)
        assert wallet.transact(intent).body == first.body
    assert (wallet.balance(), payee.balance(), market.left(product)) == (70, 110, 8)
    for each in (market, wallet, payee):
        each.close()
    node.stop()
    run_verify(place)


# --- stopping ---

def test_intents_under_way_at_a_stop_are_answered(start_server):
    """A server that stops forgets to answer an intent that it has done, or does one that it has refused."""
    server = start_server()
    market, wallet = Market(server), Wallet(server)
    product = market.product(price=1, stock=1000)
    market.credit_well(wallet.key, 1000)
    intents = [new_spend(product, 1) for _ in range(100)]
    connections = [wire.Connection(server.port, limit=60) for _ in intents]
    for connection, intent in zip(connections, intents):
        connection.send(wire.build("POST", TRANSACT, None, wallet.signed(intent)))
    server.signal()
    replies = []
    for connection in connections:
        try:
            replies.append(connection.read_reply())
        except (wire.Closed, OSError):
            replies.append(None)
        connection.close()
    assert server.wait_exit() == 0
    done = {nonce for nonce, in server.store.rows("SELECT nonce FROM transfers WHERE kind = 'spend'")}
    for intent, reply in zip(intents, replies):
        assert reply is None or reply.status in (200, 503), reply
        if reply is not None:
            assert (intent["nonce"] in done) == (reply.status == 200), reply
    wallet.close()
    market.close()
    again = start_server(on=server.store)
    wallet.server = market.server = again
    for intent, reply in zip(intents, replies):
        now = wallet.transact(intent)
        assert now.status == 200 and (reply is None or reply.status != 200 or now.body == reply.body), now
    assert wallet.balance() == 1000 and market.left(product) == 900
    wallet.close()
    market.close()


# --- secrets ---

def test_secrets_of_the_marketplace_are_not_told(start_server):
    """A token, a mac, a signature or the admin key stands in a log or in a refusal."""
    server = start_server("--log-level", "debug")
    market, wallet, payee, trader = Market(server), Wallet(server), Wallet(server), Trader(server)
    product = market.product(price=10)
    challenge = wallet.challenge()
    proof = wallet.answer(challenge)
    verified = expect(wallet.verify(proof), 200)
    intent = new_spend(product, 10, nonce="secret-nonce-" + new_nonce())
    signed = wallet.signed(intent)
    receipt = wallet.pay(intent)["receipt"]
    secrets = [ADMIN_KEY, wallet.token, verified["token"], payee.token, trader.access, challenge["mac"],
        challenge["challenge"], proof["signature"], signed["signature"], intent["nonce"], wallet.account["email"]]
    half = wallet.token.split(".")[2]
    refusals = [
        wallet.verify({**proof, "mac": challenge["mac"][:-1] + "g"}), wallet.verify({**proof, "timestamp": 5}),
        wallet.verify({**proof, "signature": signed["signature"]}), wallet.verify({**proof, "public_key": payee.key}),
        wallet.transact({**intent, "amount": 11}), wallet.transact({**intent, "more": wallet.token}),
        wallet.transact(intent, signature=proof["signature"]),
        wallet.transact(intent, signature=signed["signature"] + "x"),
        wallet.ask("POST", TRANSACT, {"Content-Type": "application/json"}, json.dumps(signed)[:-1]),
        wallet.ask("POST", TRANSACT, {"Content-Type": "text/" + half}, json.dumps(signed)),
        wallet.read(BALANCE, Authorization=f"Bearer {wallet.token}x"), wallet.read(TRANSACTIONS + f"?limit={half}"),
        wallet.ask("POST", REGISTER, None, {**wallet.account, "public_key": payee.key}),
        wallet.ask("POST", REGISTER, None, {**wallet.account, "email": f"{half}@", "public_key": Signer().public}),
        wire.ask(server.port, "POST", CREDITS, {"X-Admin-Key": ADMIN_KEY + "x"}, {}),
        market.ask("POST", CREDITS, market.admin, {"public_key": wallet.token, "amount": 5, "reference": ADMIN_KEY}),
        wallet.ask("GET", f"{CHALLENGE}?public_key={wallet.token}"),
        market.ask("DELETE", BALANCE, bearer(wallet.token))]
    for each in (market, wallet, payee, trader):
        each.close()
    server.stop()
    texts = [server.err.text() + server.out.text()] + [reply.text for reply in refusals]
    for reply in refusals:
        assert 400 <= reply.status < 500, reply
    for text in texts:
        for secret in (*secrets, half, receipt["signature"]):
            assert secret not in text, (secret, text[-2000:])


# --- two nodes ---

@pytest.fixture
def shared_store(shared_postgres, tmp_path):
    place = PostgresStore(tmp_path, shared_postgres)
    yield place
    place.discard()


@pytest.fixture
def two(shared_store, start_nodes):  # noqa: F811
    return start_nodes(shared_store, 2, "--net-threads", "2")


@pytest.mark.needs("postgres")
def test_two_nodes_have_the_same_wallets(two, wallet_of):
    """What was done at one node is not known at the other: accounts, challenges, tokens, coins, receipts, lists."""
    one, other = two
    market, there = Market(one), Market(other)
    wallet, payee = wallet_of(one), wallet_of(other)
    assert market.receipt_key() == there.receipt_key()
    product = market.product(price=10, featured=True)
    wire.wait_for(lambda: product in [row["id"] for row in there.featured()], "the other node lists the product")
    body = wallet.answer(wallet.challenge())
    spend = new_spend(product, 10)
    first = wallet.transact(spend)
    wallet.close()
    wallet.server = other
    assert expect(wallet.verify(body), 200)["user"]["balance"] == 90 == wallet.balance()
    assert wallet.transact(spend).body == first.body and first.status == 200
    there.check_receipt(first.json()["receipt"])
    expect_error(wallet.transact({**spend, "amount": 11}), 409, "NONCE_REUSED")
    assert wallet.spend(product, 10)["new_balance"] == 80
    assert wallet.send(payee.key, 30)["new_balance"] == 50
    payee.close()
    payee.server = one
    assert payee.balance() == 130 and payee.lines()[0]["public_key"] == wallet.key
    credit = market.credit(wallet.key, 7, "reference")
    assert there.credit(wallet.key, 7, "reference").body == credit.body and wallet.balance() == 57
    fresh = there.product(price=5)  # not in the first node's pictures perhaps
    wallet.close()
    wallet.server = one
    assert wallet.spend(fresh, 5)["new_balance"] == 52
    expect_error(wire.ask(one.port, "POST", REGISTER, None, payee.account), 409, "PUBLIC_KEY_TAKEN")
    for each in (market, there):
        each.close()


@pytest.mark.needs("postgres")
def test_history_of_two_nodes_is_one(two, wallet_of):
    """What was done at two nodes, which number it as they like, is told in another order than it was done in, or pages
    of it leave some out."""
    wallet, payee = (wallet_of(door) for door in two)
    for _ in range(12):
        for door in two:
            wallet.close()
            wallet.server = door
            wallet.send(payee.key, 2)
        payee.send(wallet.key, "0.5")
    for door in two:
        for each in (wallet, payee):
            each.close()
            each.server = door
            whole = each.lines()
            assert len(whole) == 37 and len({line["id"] for line in whole}) == 37
            balance = round(each.balance() * 100)
            for line in whole:
                assert round(line["balance"] * 100) == balance, line
                balance += round(line["amount"] * 100) * (-1 if line["direction"] == "credit" else 1)
            assert balance == 0 and whole[-1]["type"] == "opening"
            for limit in (1, 5, 36, 37, 38):
                assert each.lines(limit) == whole, limit


@pytest.mark.needs("postgres")
def test_two_nodes_move_coins_once(two, shared_store, wallet_of):
    """The same intent, key or reference at two nodes at the same moment is done twice, coins are spent twice, or the
    nodes wait for each other."""
    market = Market(two[0])
    wallets = [wallet_of(door) for door in (*two, *two)]
    product = market.product(price=7, stock=1000)
    wallet = wallets[0]

    def transact(door, body):
        return wire.ask(door.port, "POST", TRANSACT, None, body)

    for _ in range(5):
        body = wallet.signed(new_spend(product, 7))
        replies = at_once([lambda door=door: transact(door, body) for door in two * 4])
        assert {(reply.status, reply.body) for reply in replies} == {(200, replies[0].body)}, replies
    assert wallet.balance() == 65
    nonce = new_nonce()
    bodies = [wallet.signed(new_transfer(wallets[1].key, amount, nonce=nonce)) for amount in range(1, 9)]
    replies = at_once([lambda index=index: transact(two[index % 2], bodies[index]) for index in range(8)])
    assert sorted(reply.status for reply in replies) == [200] + [409] * 7
    left = wallet.balance()
    bodies = [wallet.signed(new_spend(product, 7)) for _ in range(60)]
    replies = at_once([lambda index=index: transact(two[index % 2], bodies[index]) for index in range(60)])
    assert sum(reply.status == 200 for reply in replies) == left // 7
    assert {reply.status for reply in replies} == {200, 402} and wallet.balance() == left % 7
    signer = Signer()
    account = new_account(public_key=signer.public)
    replies = at_once([lambda door=door: wire.ask(door.port, "POST", REGISTER, None, account) for door in two * 5])
    assert sorted(reply.status for reply in replies) == [201] + [409] * 9
    total = sum(each.balance() for each in wallets)
    bodies = [wallets[index % 3 + 1].signed(new_transfer(wallets[(index + 1 + index // 3 % 2) % 3 + 1].key, 1))
        for index in range(90)]
    replies = at_once([lambda index=index: transact(two[index % 2], bodies[index]) for index in range(90)])
    assert {reply.status for reply in replies} == {200}
    assert sum(each.balance() for each in wallets) == total
    market.close()
    for node in two:
        node.stop()
    run_verify(shared_store)


# --- figures ---

def test_metrics_count_wallets(market, wallet, payee, wallet_of):
    """Figures of wallets are missing or wrong."""
    names = ("wallets_opened", "challenges_verified", "challenges_refused", "wallets_spent", "wallets_transferred",
        "wallets_credited", "intents_repeated", "intents_refused", "intents_unsigned")

    def figures():
        return [market.figure(f"doorbuster_{name}_total") for name in names]

    before = figures()
    wallet_of(market.server)
    expect(wallet.verify(wallet.answer(wallet.challenge())), 200)
    expect_error(wallet.verify(wallet.answer(wallet.challenge(), mac="0" * 64)), 401, "INVALID_MAC")
    product = market.product(price=10)
    intent = new_spend(product, 10)
    wallet.pay(intent)
    wallet.pay(intent)
    wallet.send(payee.key, 1)
    market.credit_well(wallet.key, 1)
    expect_error(wallet.transact(new_spend(product, 11)), 422, "PRICE_MISMATCH")
    expect_error(wallet.transact(intent, signature="0" * 128), 401, "INVALID_SIGNATURE")
    assert [now - then for now, then in zip(figures(), before)] == [1] * 9
    text = market.ask("GET", "/metrics").text
    assert re.search(r'route="/api/wallet/transact"', text), "requests of this route are not counted"
