# SPDX-License-Identifier: Apache-2.0
"""Marketplace contract: accounts with a key: register, challenge, verify, and the tokens that come of it."""
import hashlib
import hmac
import itertools
import json
import statistics
import time

import pytest

import wire
from intake import (LOGIN, UUID8, Trader, access_claims, bearer, claims_of, complaints, new_account as new_trader,
    secret_of, sign_token)
from market import (BALANCE, CHALLENGE, HEX64, NOT_CANONICAL, OFF_CURVE, REGISTER, SMALL_ORDER, TRANSACTIONS, UUID,
    VERIFY, WINDOW_S, Signer, Wallet, derived, expect, expect_error, expect_private, jcs, new_account, new_email, now_s,
    without)
from nodes import verb

MEMBERS = ["user_id", "email", "name", "public_key", "balance", "currency", "token", "expires_at"]
KEY = Signer(bytes(range(32))).public


def register(server, **members):
    return wire.ask(server.port, "POST", REGISTER, None, new_account(**members))


def register_at_once(server, bodies):
    """The replies to all of these, sent before one is read."""
    connections = [wire.Connection(server.port, limit=90) for _ in bodies]
    for connection, body in zip(connections, bodies):
        connection.send(wire.build("POST", REGISTER, None, body))
    replies = [connection.read_reply() for connection in connections]
    for connection in connections:
        connection.close()
    return replies


def rows_of(server, key):
    """How many accounts, wallets and coins there are for it."""
    return server.store.rows("SELECT count(*), coalesce(sum(balance_minor), 0) FROM wallets JOIN accounts"
        " ON accounts.id = account_id WHERE public_key = ?", bytes.fromhex(key))[0]


def count_accounts(server):
    return server.store.rows("SELECT count(*) FROM accounts")[0][0]


@pytest.fixture
def wallet(server):
    wallet = Wallet(server)
    yield wallet
    wallet.close()


# --- register ---

def test_wallet_registration_is_exact(server):
    """The reply to a registration has other members or values, or a token that is not good."""
    account = new_account(name="Zoë \"the\" <b>")
    began = now_s()
    data = expect_private(wire.ask(server.port, "POST", REGISTER, None, account), 201)
    assert list(data) == MEMBERS
    assert without(data, "user_id", "token", "expires_at") == {**account, "balance": 100, "currency": "MC"}
    assert UUID.fullmatch(data["user_id"])
    claims = claims_of(data["token"], secret_of(server.store))
    assert (claims["typ"], claims["exp"]) == ("access", data["expires_at"]), claims
    assert began - 60 < claims["iat"] < claims["exp"], claims
    balance = wire.ask(server.port, "GET", BALANCE, bearer(data["token"]))
    assert expect_private(balance, 200) == {"balance": 100, "currency": "MC"}
    assert rows_of(server, account["public_key"]) == (1, 10000)


def test_registered_wallet_is_stored_without_a_password(server, wallet):
    """An account is not in the store as it was sent, or has a password that somebody could know."""
    row = server.store.rows("SELECT username, email, full_name, password_hash FROM accounts WHERE email_key = ?",
        wallet.account["email"])[0]
    assert row == (f" key {wallet.key}", wallet.account["email"], "Anna", "")


@pytest.mark.parametrize("members", [{"public_key": value} for value in (None, "", 5, True, [], {}, KEY[1:], KEY + "0",
    KEY[2:], KEY + "00", KEY * 2, " " + KEY, KEY + "\n", "0x" + KEY, "0x" + KEY[2:], "g" + KEY[1:], "é" + KEY[1:],
    KEY[:-1] + "\0", "-" + KEY[1:], "０" * 64)] + [{"email": value} for value in (None, "", " ", 5, True, [KEY],
    "anna", "anna@", "@example.com", "a b@example.com", "anna@example.com\r\nBcc: x", "a" * 250 + "@b.cd", "a\0@b.cd")]
    + [{"name": value} for value in (None, "", "  ", 5, False, {}, "x" * 401, "a\0b")],
    ids=lambda value: ascii(value)[:50])
def test_malformed_registration_of_a_wallet_is_refused(server, members):
    """A registration without a key, an address or a name that can be one is accepted, or changes something."""
    body = {**new_account(), **members}
    before = count_accounts(server)
    expect_error(wire.ask(server.port, "POST", REGISTER, None, body), 400, "VALIDATION_ERROR")
    for name, value in members.items():
        if value is None and name != "public_key":
            expect_error(wire.ask(server.port, "POST", REGISTER, None, without(body, name)), 400, "VALIDATION_ERROR")
    assert count_accounts(server) == before


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_keys_of_small_order_are_refused(server, key):
    """A key for which signatures can be made without knowing anything gets a wallet."""
    for text in (key, key.upper()):
        expect_error(register(server, public_key=text), 400, "VALIDATION_ERROR")
    assert rows_of(server, key) == (0, 0)


@pytest.mark.parametrize("key", NOT_CANONICAL)
def test_keys_that_are_not_canonical_are_refused(server, key):
    """A key that is another spelling of another key gets a wallet."""
    expect_error(register(server, public_key=key), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("key", OFF_CURVE)
def test_keys_off_the_curve_are_refused(server, key):
    """Bytes that are no key get a wallet that nobody can ever use."""
    expect_error(register(server, public_key=key), 400, "VALIDATION_ERROR")


def test_key_may_be_in_upper_case(server):
    """A key in upper case is refused, is another one, or is not told in lower case."""
    signer = Signer()
    data = expect(register(server, public_key=signer.public.upper()), 201)
    assert data["public_key"] == signer.public and rows_of(server, signer.public) == (1, 10000)
    mixed = "".join(digit.upper() if index % 2 else digit for index, digit in enumerate(signer.public))
    expect_error(register(server, public_key=mixed), 409, "PUBLIC_KEY_TAKEN")


def test_key_is_taken_once(server, wallet):
    """Two accounts have one key, or it is not looked at before the address."""
    expect_error(register(server, public_key=wallet.key), 409, "PUBLIC_KEY_TAKEN")
    expect_error(wire.ask(server.port, "POST", REGISTER, None, wallet.account), 409, "PUBLIC_KEY_TAKEN")
    assert rows_of(server, wallet.key) == (1, 10000) and wallet.balance() == 100


def test_address_is_taken_once(server, wallet):
    """Two accounts have one address, also when only capitals differ; or who was refused has a wallet."""
    for email in (wallet.account["email"], wallet.account["email"].upper(), wallet.account["email"].title()):
        signer = Signer()
        expect_error(register(server, email=email, public_key=signer.public), 409, "EMAIL_TAKEN")
        assert rows_of(server, signer.public) == (0, 0)
    other = Wallet(server, signer)  # a refusal has not taken the key
    other.close()


def test_addresses_of_both_kinds_of_accounts_are_the_same(server, wallet):
    """Somebody with a password and somebody with a key have one address."""
    reply = wire.ask(server.port, "POST", REGISTER, None, new_trader(email=wallet.account["email"].upper()))
    assert reply.status == 409 and "taken" in reply.json()["detail"], reply
    trader = Trader(server)
    expect_error(register(server, email=trader.account["email"].upper()), 409, "EMAIL_TAKEN")
    trader.close()


@pytest.mark.parametrize("same, code", [(("email", "name", "public_key"), "PUBLIC_KEY_TAKEN"),
    (("public_key",), "PUBLIC_KEY_TAKEN"), (("email",), "EMAIL_TAKEN")])
def test_one_of_many_registrations_at_once_succeeds(server, same, code):
    """Of 50 that register the same key or address at once none, or more than one, gets a wallet; or coins are issued
    to those who do not."""
    first = new_account()
    bodies = [{**new_account(), **{name: first[name] for name in same}} for _ in range(50)]
    issued = "SELECT coalesce(sum(amount_minor), 0) FROM transfers WHERE kind = 'opening'"
    before = server.store.rows(issued)[0][0]
    replies = register_at_once(server, bodies)
    assert sorted(reply.status for reply in replies) == [201] + [409] * 49
    for reply in replies:
        if reply.status == 409:
            expect_error(reply, 409, code)
    winner = next(body for body, reply in zip(bodies, replies) if reply.status == 201)
    assert rows_of(server, winner["public_key"]) == (1, 10000)
    assert server.store.rows(issued)[0][0] == before + 10000
    assert sum(rows_of(server, key)[0] for key in {body["public_key"] for body in bodies}) == 1


def test_many_wallets_at_once_are_all_different(server):
    """Registrations at once mix accounts up: an id, a token or a key is another's, or a balance is not 100."""
    signers = [Signer() for _ in range(200)]
    told = [expect(reply, 201) for reply in register_at_once(server,
        [new_account(public_key=signer.public, name=f"N {index}") for index, signer in enumerate(signers)])]
    assert [(data["public_key"], data["name"]) for data in told] == [(signer.public, f"N {index}")
        for index, signer in enumerate(signers)]
    assert len({data["user_id"] for data in told}) == len({data["token"] for data in told}) == 200
    with wire.Connection(server.port) as connection:
        for data in told:
            assert expect(connection.ask("GET", BALANCE, bearer(data["token"])), 200)["balance"] == 100


def test_body_with_a_password_is_the_intakes(server):
    """A body with a key and a password is taken for the marketplace's, or one with neither is."""
    key = Signer().public
    reply = wire.ask(server.port, "POST", REGISTER, None, {**new_trader(), "public_key": key})
    assert reply.status == 201 and UUID8.fullmatch(reply.json()["user"]["id"]), reply
    assert rows_of(server, key) == (0, 0)
    assert complaints(wire.ask(server.port, "POST", REGISTER, None, {"public_key": key, "password": "x" * 8}))
    assert complaints(wire.ask(server.port, "POST", REGISTER, None, {"email": "a@example.com", "username": "A"}))
    expect_error(wire.ask(server.port, "POST", REGISTER, None, {"email": "a@example.com", "name": "A"}), 400,
        "VALIDATION_ERROR")


def test_registration_that_is_not_json_is_refused(server):
    """A registration that cannot be read is accepted, or breaks something."""
    before = count_accounts(server)
    body = json.dumps(new_account())
    for broken in (body[:-1], body + "}", body.replace(":", "=", 1), body[:-1] + ',"x":"\\ud800"}',
            body.encode()[:-2] + b'\xff"}'):
        reply = wire.ask(server.port, "POST", REGISTER, {"Content-Type": "application/json"}, broken)
        assert reply.status == 422, reply  # it names no face: the intake's answer
    assert count_accounts(server) == before


# --- no password ---

def login(server, email, password):
    return wire.ask(server.port, "POST", LOGIN, None, {"email": email, "password": password})


def test_wallet_cannot_log_in_by_password(server, wallet):
    """An account that has no password lets somebody in with some password, or is told from no account."""
    unknown = login(server, new_email(), "some password")
    for password in ("some password", " ", "\0", wallet.key, f" key {wallet.key}"):
        reply = login(server, wallet.account["email"], password)
        assert (reply.status, reply.text) == (401, unknown.text), reply
        assert [name for name, _ in reply.headers] == [name for name, _ in unknown.headers]
    reply = login(server, wallet.account["email"], "")
    assert (reply.status, reply.text) == (lambda other: (other.status, other.text))(login(server, new_email(), ""))


@pytest.mark.embedded
def test_wallets_login_takes_as_long_as_nobodys(server, wallet):
    """How long the refusal takes tells that there is an account."""
    took = {True: [], False: []}
    for index in range(14):
        email = wallet.account["email"] if index % 2 else new_email()
        began = time.monotonic()
        assert login(server, email, "some password").status == 401
        took[index % 2 == 1].append(time.monotonic() - began)
    known, unknown = statistics.median(took[True]), statistics.median(took[False])
    assert 1 / 4 < known / unknown < 4, took


# --- challenge ---

def test_challenge_is_exact(server, wallet):
    """The reply to who asks for a challenge is another, or the same again; or nobody can get one before he has
    registered."""
    began = now_s()
    seen = []
    for key in (wallet.key, wallet.key.upper(), Signer().public):
        data = expect_private(wire.ask(server.port, "GET", f"{CHALLENGE}?public_key={key}"), 200)
        assert list(data) == ["challenge", "timestamp", "expires_at", "mac"]
        assert HEX64.fullmatch(data["challenge"]) and HEX64.fullmatch(data["mac"]), data
        assert type(data["timestamp"]) is int and began - 1 <= data["timestamp"] <= now_s() + 1, data
        assert data["expires_at"] == data["timestamp"] + WINDOW_S, data
        seen += [data["challenge"], data["mac"]]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("query", ["", "?", "?public_key", "?public_key=", f"?public_key={KEY[1:]}",
    f"?public_key={KEY}0", f"?public_key=x{KEY[1:]}", f"?public_key=%20{KEY}", f"?Public_key={KEY}", f"?key={KEY}",
    "?public_key=%zz"])
def test_challenge_needs_a_key(server, query):
    """Who says no key gets a challenge."""
    reply = wire.ask(server.port, "GET", CHALLENGE + query)
    assert reply.status == 400 and reply.json()["success"] is False, reply


# --- verify ---

def test_verified_key_gets_a_token(server, wallet):
    """Who proves his key does not get a token that works, or hears another account's data; or a challenge is good for
    the text only and not for the bytes that it spells."""
    for signed in (str.encode, bytes.fromhex):
        challenge = wallet.challenge()
        body = wallet.answer(challenge, signature=wallet.signer.sign(signed(challenge["challenge"])))
        data = expect_private(wallet.verify(body), 200)
        assert list(data) == ["token", "expires_at", "user"]
        assert data["user"] == {"user_id": wallet.told["user_id"], "email": wallet.account["email"], "name": "Anna",
            "public_key": wallet.key, "balance": 100}
        claims = claims_of(data["token"], secret_of(server.store))
        assert (claims["typ"], claims["exp"]) == ("access", data["expires_at"])
        assert claims["sub"] == claims_of(wallet.token, secret_of(server.store))["sub"]
        wallet.token = data["token"]
        assert wallet.balance() == 100


def test_digits_may_be_in_upper_case(wallet):
    """What is proved in upper case is not proved."""
    body = wallet.answer(wallet.challenge())
    upper = {**body, "public_key": wallet.key.upper(), "mac": body["mac"].upper(),
        "signature": body["signature"].upper()}
    expect(wallet.verify(upper), 200)


def test_challenge_outlives_its_server(start_server):
    """A challenge is known only to the process that gave it."""
    server = start_server()
    wallet = Wallet(server)
    body = wallet.answer(wallet.challenge())
    expect(wallet.verify(body), 200)
    wallet.close()
    server.stop()
    wallet.server = start_server(on=server.store)
    assert expect(wallet.verify(body), 200)["user"]["public_key"] == wallet.key
    assert wallet.balance() == 100
    wallet.close()


def flip(digits, at=0):
    """The same with one bit changed."""
    return digits[:at] + "%x" % (int(digits[at], 16) ^ 1) + digits[at + 1:]


def test_altered_challenges_are_refused(server, wallet):
    """A challenge is good with a mac, a text, a time or a key that was not given out together."""
    other = Wallet(server)
    challenge = wallet.challenge()
    good = wallet.answer(challenge)
    altered = {**challenge, "challenge": flip(challenge["challenge"], 7)}
    for body in (*(wallet.answer(challenge, mac=flip(challenge["mac"], at)) for at in range(64)),
            wallet.answer(altered), wallet.answer({**challenge, "challenge": challenge["mac"]}),
            *(wallet.answer(challenge, timestamp=challenge["timestamp"] + delta) for delta in (-1, 1, 300, 10**9)),
            wallet.answer({**challenge, "timestamp": 0}), wallet.answer({**challenge, "timestamp": 2**63 - 1}),
            wallet.answer(challenge, mac=wallet.challenge()["mac"]), wallet.answer(challenge, mac="0" * 64),
            other.answer(challenge), wallet.answer(other.challenge()), {**good, "public_key": other.key}):
        expect_error(wallet.verify(body), 401, "INVALID_MAC")
    expect(wallet.verify(good), 200)
    other.close()


def test_wrong_signatures_of_a_challenge_are_refused(server, wallet):
    """Somebody proves a key that he does not have."""
    other = Wallet(server)
    challenge = wallet.challenge()
    text = challenge["challenge"].encode()
    right = wallet.signer.sign(text)
    for signature in (other.signer.sign(text), *(flip(right, at) for at in range(0, 128, 5)), "0" * 128,
            right[64:] + right[:64], wallet.signer.sign(text.upper() + b"\n"), wallet.signer.sign(b""),
            wallet.signer.sign(jcs(challenge)), wallet.signer.sign(hashlib.sha256(text).digest()),
            wallet.signer.sign(b'"' + text + b'"'), wallet.signer.sign(wallet.challenge()["challenge"].encode())):
        expect_error(wallet.verify(wallet.answer(challenge, signature=signature)), 401, "INVALID_SIGNATURE")
    expect(wallet.verify(wallet.answer(challenge)), 200)
    other.close()


def test_unknown_key_is_told_when_it_is_proved(server, wallet):
    """Who has proved a key without an account gets a token; or who has not proved it hears whether there is one."""
    signer = Signer()
    challenge = expect(wire.ask(server.port, "GET", f"{CHALLENGE}?public_key={signer.public}"), 200)
    body = {"public_key": signer.public, **without(challenge, "expires_at"),
        "signature": signer.sign(challenge["challenge"].encode())}
    expect_error(wallet.verify(body), 404, "NOT_FOUND")
    expect_error(wallet.verify({**body, "signature": wallet.signer.sign(challenge["challenge"].encode())}), 401,
        "INVALID_SIGNATURE")


@pytest.mark.parametrize("members", [{name: value} for name in ("public_key", "challenge", "mac", "signature")
    for value in (None, "", 5, [], "0" * 63, "0" * 65, "0" * 127, "0" * 129, "g" * 64, "g" * 128)]
    + [{"timestamp": value} for value in (None, "1700000000", 1.5, True, [], 2**63, 10**400)],
    ids=lambda value: ascii(value)[:40])
def test_malformed_proof_is_refused(wallet, members):
    """A proof with a member that cannot be one is taken for a wrong one, or breaks something."""
    body = {**wallet.answer(wallet.challenge()), **members}
    expect_error(wallet.verify(body), 400, "VALIDATION_ERROR")
    if None in members.values():
        expect_error(wallet.verify(without(body, *members)), 400, "VALIDATION_ERROR")


def macs(store, challenge, key, timestamp):
    """HMAC-SHA256(secret, challenge || key || timestamp) in every way of writing that."""
    texts = [(value.encode(), bytes.fromhex(value)) for value in (challenge, key)]
    times = (str(timestamp).encode(), timestamp.to_bytes(8, "big"), timestamp.to_bytes(8, "little"))
    return [hmac.new(derived(store, "doorbuster challenges"), b"".join(parts), hashlib.sha256).hexdigest()
        for parts in itertools.product(*texts, times)]


def aged(wallet, seconds):
    """A challenge as it would have been given out so long ago."""
    challenge = wallet.challenge()
    way = macs(wallet.server.store, challenge["challenge"], wallet.key, challenge["timestamp"]).index(challenge["mac"])
    timestamp = challenge["timestamp"] - seconds
    mac = macs(wallet.server.store, challenge["challenge"], wallet.key, timestamp)[way]
    return {**challenge, "timestamp": timestamp, "mac": mac}


def test_challenge_expires_after_five_minutes(wallet):
    """A challenge is good for ever, or not for its five minutes."""
    expect(wallet.verify(wallet.answer(aged(wallet, WINDOW_S - 60))), 200)
    for seconds in (WINDOW_S + 2, WINDOW_S + 60, 10**6):
        expect_error(wallet.verify(wallet.answer(aged(wallet, seconds))), 401, "CHALLENGE_EXPIRED")


def test_checks_of_a_proof_come_in_order(server, wallet):
    """Of two things that are wrong with a proof, the later one is told."""
    old = aged(wallet, WINDOW_S + 60)
    wrong = wallet.signer.sign(b"something else")
    nobody = Signer()
    challenge = wallet.challenge()
    for body, status, code in (
            (wallet.answer(challenge, mac="0" * 63, signature="0"), 400, "VALIDATION_ERROR"),
            (wallet.answer({**old, "mac": "0" * 64}), 401, "INVALID_MAC"),
            (wallet.answer(challenge, mac="0" * 64, signature=wrong), 401, "INVALID_MAC"),
            (wallet.answer(challenge, public_key=nobody.public), 401, "INVALID_MAC"),
            (wallet.answer(old, signature=wrong), 401, "CHALLENGE_EXPIRED")):
        expect_error(wallet.verify(body), status, code)


# --- tokens ---

@pytest.mark.parametrize("target", [BALANCE, TRANSACTIONS])
def test_wallet_is_read_with_a_token_only(server, wallet, target):
    """A balance or a history is told to somebody without a token, or whose token is not ours, has ended or was
    altered."""
    secret = secret_of(server.store)
    mine = claims_of(wallet.token, secret)
    head, payload, signature = wallet.token.split(".")
    trader = Trader(server)
    old = access_claims(mine["sub"], now_s() - 7200, now_s() - 3600)
    bad = ["", "x", "a.b.c", wallet.token[:-1], wallet.token + "A", f"{head}.{payload}.", f"{head}.{payload}",
        trader.refresh, sign_token(b"x" * 32, **mine), sign_token(secret, **old),
        sign_token(secret, **{**mine, "typ": "refresh"}), f"{head}.{payload}.{signature[::-1]}",
        sign_token(secret, head=b'{"alg":"none","typ":"JWT"}', **mine)]
    bad += [wallet.token[:at] + ("A" if wallet.token[at] != "A" else "B") + wallet.token[at + 1:]
        for at in range(0, len(wallet.token) - 1, 9)]
    with wire.Connection(server.port) as connection:
        expect_error(connection.ask("GET", target), 401, "UNAUTHORIZED")
        for token in bad:
            expect_error(connection.ask("GET", target, bearer(token)), 401, "UNAUTHORIZED")
        for value in ("", "Bearer", wallet.token, f"Basic {wallet.token}"):
            expect_error(connection.ask("GET", target, {"Authorization": value}), 401, "UNAUTHORIZED")
        assert connection.ask("GET", target, bearer(wallet.token)).status == 200
        assert connection.ask("GET", target, bearer(sign_token(secret, **mine))).status == 200
    trader.close()


def test_account_without_a_wallet_has_no_balance(server):
    """Who has an account with a password hears of a balance; or a token for an account that is not there does."""
    trader = Trader(server)
    now = now_s()
    stranger = sign_token(secret_of(server.store), **access_claims(10**12, now, now + 600))
    for token in (trader.access, stranger):
        expect_error(wire.ask(server.port, "GET", BALANCE, bearer(token)), 404, "NOT_FOUND")
        assert expect(wire.ask(server.port, "GET", TRANSACTIONS, bearer(token)), 200) == []
    trader.close()


# --- routes and settings ---

@pytest.mark.parametrize("method, path", [("GET", REGISTER), ("POST", CHALLENGE), ("GET", VERIFY), ("POST", BALANCE),
    ("DELETE", TRANSACTIONS), ("GET", "/api/wallet/transact"), ("POST", "/api/keys"), ("GET", "/api/admin/credits")])
def test_other_methods_of_the_marketplace_are_405(server, method, path):
    """A known path of the marketplace is told as unknown for another method, or without Allow."""
    reply = wire.ask(server.port, method, path)
    assert reply.status == 405 and reply.header("allow"), reply


@pytest.mark.embedded
@pytest.mark.parametrize("sent, told", [("0", 0), ("0.01", 0.01), ("12.5", 12.5), ("250", 250),
    ("9999999999999.99", 9999999999999.99)])
def test_opening_balance_can_be_set(start_server, sent, told):
    """--opening-balance is not what a new wallet holds, or stands in its history as something else."""
    wallet = Wallet(start_server("--opening-balance", sent))
    assert (wallet.told["balance"], wallet.balance()) == (told, told)
    lines, cursor = wallet.page()
    assert [(line["type"], line["amount"]) for line in lines] == ([("opening", told)] if told else [])
    assert cursor is None
    wallet.close()


@pytest.mark.parametrize("value", ["", "x", "-1", "0.001", "10000000000000", "1 ", "+1", "9" * 30,
    "1e3", "1E2", "1.5e1", "1.2.3", ".5", "1."])
def test_opening_balance_that_is_none_is_refused(value):
    """serve starts with an opening balance that no wallet can hold."""
    status, _, said = verb("serve", "--store", "unused.db", "--opening-balance", value)
    assert status == 2 and "opening-balance" in said, (status, said)
