# SPDX-License-Identifier: Apache-2.0
"""Order-intake contract: accounts, passwords and tokens (register, login, refresh)."""
import json
import threading
import time

import pytest

import wire
from intake import (ACCESS_S, LOGIN, NOT_AUTHENTICATED, NOT_VALID, ORDERS, PASSWORD, REFRESH, REFRESH_S, REGISTER,
    UUID8, Trader, access_claims, bearer, claims_of, complaints, encode, expect, new_account, new_name, new_order,
    secret_of, sign_token)

PAIR = ["access_token", "refresh_token", "token_type"]
REFUSED = '{"detail":"Incorrect email or password"}'
SECRET_INPUT = "**********"


def register(server, **members):
    return wire.ask(server.port, "POST", REGISTER, None, new_account(**members))


def login(server, email, password=PASSWORD):
    return wire.ask(server.port, "POST", LOGIN, None, {"email": email, "password": password})


def refresh(server, token):
    return wire.ask(server.port, "POST", REFRESH, None, {"refresh_token": token})


def list_with(server, headers):
    return wire.ask(server.port, "GET", ORDERS, headers)


def metric(server, name):
    for line in wire.ask(server.port, "GET", "/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


@pytest.fixture
def trader(server):
    trader = Trader(server)
    yield trader
    trader.close()


# --- register ---

def test_registration_is_exact(server):
    """The reply to a registration has other members, another order, or tokens that are not what they should be."""
    account = new_account()
    began = time.time()
    reply = expect(wire.ask(server.port, "POST", REGISTER, None, account), 201)
    body = reply.json()
    assert list(body) == PAIR + ["user"] and body["token_type"] == "bearer"
    assert list(body["user"]) == ["id", "username", "email"]
    assert UUID8.fullmatch(body["user"]["id"])
    assert (body["user"]["username"], body["user"]["email"]) == (account["username"], account["email"])
    assert reply.header("cache-control") == "no-store"
    secret = secret_of(server.store)
    for name, kind, lifetime in (("access_token", "access", ACCESS_S), ("refresh_token", "refresh", REFRESH_S)):
        claims = claims_of(body[name], secret)
        assert claims["typ"] == kind and claims["exp"] - claims["iat"] == lifetime, claims
        assert abs(claims["iat"] - began) < 120, claims


def test_registered_account_is_stored_with_a_hash(server):
    """An account is not in the store as it was sent, or its password can be read there."""
    account = new_account(full_name="Anna Ångström", username=new_name("Änna"))
    expect(wire.ask(server.port, "POST", REGISTER, None, account), 201)
    row = server.store.rows("SELECT username, email, full_name, password_hash FROM accounts WHERE email_key = ?",
        account["email"])[0]
    assert row[:3] == (account["username"], account["email"], account["full_name"])
    assert row[3].startswith("$argon2id$v=19$m=65536,t=2,p=1$") and PASSWORD not in row[3]


@pytest.mark.parametrize("full_name", [None, "", "x" * 400])
def test_full_name_may_be_anything_or_missing(server, full_name):
    """A registration without a full name, or with a long one, is refused."""
    assert register(server, full_name=full_name).status == 201


def test_full_name_may_be_null(server):
    """A full name that is null is refused."""
    expect(wire.ask(server.port, "POST", REGISTER, None, {**new_account(), "full_name": None}), 201)


def test_names_and_addresses_are_taken_once(server):
    """A username or an address is given to two accounts, also when only capitals differ."""
    account = new_account()
    expect(wire.ask(server.port, "POST", REGISTER, None, account), 201)
    for members in ({"email": account["email"]}, {"email": account["email"].upper()},
            {"username": account["username"]}, {"username": account["username"].upper()},
            {"username": f"  {account['username']} "}):
        reply = expect(register(server, **members), 409)
        assert list(reply.json()) == ["detail"] and "taken" in reply.json()["detail"], reply


def test_one_of_many_identical_registrations_succeeds(server):
    """Of many that register the same at once none, or more than one, gets the account."""
    account = new_account()
    connections = [wire.Connection(server.port, limit=90) for _ in range(12)]
    for connection in connections:
        connection.send(wire.build("POST", REGISTER, None, account))
    statuses = sorted(connection.read_reply().status for connection in connections)
    for connection in connections:
        connection.close()
    assert statuses == [201] + [409] * 11
    assert server.store.rows("SELECT count(*) FROM accounts WHERE email_key = ?", account["email"]) == [(1,)]


def test_username_is_trimmed_and_kept(server):
    """A username loses more than the blanks around it, or keeps those."""
    name = new_name('Zoë "the" <b>')
    reply = expect(register(server, username=f" {name}\t"), 201)
    assert reply.json()["user"]["username"] == name


@pytest.mark.parametrize("members, expected", [
    ({"username": None}, [("missing", "body.username", None)]),
    ({"username": 5}, [("string_type", "body.username", 5)]),
    ({"username": "  "}, [("string_too_short", "body.username", "  ")]),
    ({"username": "x" * 129}, [("string_too_long", "body.username", "x" * 129)]),
    ({"username": "a\0b"}, [("value_error", "body.username", "a\0b")]),
    ({"email": None}, [("missing", "body.email", None)]),
    ({"email": ["a@b.c"]}, [("string_type", "body.email", ["a@b.c"])]),
    ({"email": "anna"}, [("value_error", "body.email", "anna")]),
    ({"email": "anna@"}, [("value_error", "body.email", "anna@")]),
    ({"email": "a b@example.com"}, [("value_error", "body.email", "a b@example.com")]),
    ({"email": "anna@example.com\r\nBcc: x"}, [("value_error", "body.email", "anna@example.com\r\nBcc: x")]),
    ({"email": "a" * 250 + "@b.cd"}, [("string_too_long", "body.email", "a" * 250 + "@b.cd")]),
    ({"password": None}, [("missing", "body.password", None)]),
    ({"password": "1234567"}, [("string_too_short", "body.password", SECRET_INPUT)]),
    ({"password": "äöüßäöü"}, [("string_too_short", "body.password", SECRET_INPUT)]),
    ({"password": "x" * 1025}, [("string_too_long", "body.password", SECRET_INPUT)]),
    ({"password": 12345678}, [("string_type", "body.password", SECRET_INPUT)]),
    ({"full_name": 1}, [("string_type", "body.full_name", 1)]),
    ({"full_name": "x" * 401}, [("string_too_long", "body.full_name", "x" * 401)]),
    ({"username": None, "email": 1, "password": "x"}, [("missing", "body.username", None),
        ("string_type", "body.email", 1), ("string_too_short", "body.password", SECRET_INPUT)]),
])
def test_bad_registration_is_refused_with_all_that_is_wrong(server, members, expected):
    """A bad registration makes an account, or the client does not hear of all that is wrong with it."""
    before = server.store.rows("SELECT count(*) FROM accounts")
    assert complaints(register(server, **members)) == expected
    assert server.store.rows("SELECT count(*) FROM accounts") == before


@pytest.mark.parametrize("body, kind, place", [
    (b"", "missing", "body"),
    (b"[1]", "model_attributes_type", "body"),
    (b'"text"', "model_attributes_type", "body"),
    (b"{", "json_invalid", "body.1"),
    (b'{"a":1}}', "json_invalid", None),
    (b'{"a":\xff}', "json_invalid", None),
    (b'{"a":1e999}', "json_invalid", None),
])
@pytest.mark.parametrize("path", [REGISTER, LOGIN, REFRESH])
def test_body_that_is_no_object_is_refused(server, path, body, kind, place):
    """A body that is no JSON object is no 422, or not told as such."""
    reply = wire.ask(server.port, "POST", path, {"Content-Type": "application/json"}, body)
    found = complaints(reply)
    assert len(found) == 1 and found[0][0] == kind, reply
    assert place is None or found[0][1] == place, reply


def test_body_of_another_type_is_refused(server):
    """What is not sent as JSON is read as JSON; or what says nothing, and is, is refused."""
    account = json.dumps(new_account()).encode()
    form = wire.ask(server.port, "POST", REGISTER, {"Content-Type": "application/x-www-form-urlencoded"}, account)
    assert [each[0] for each in complaints(form)] == ["model_attributes_type"]
    assert wire.ask(server.port, "POST", REGISTER, None, account).status == 201
    again = json.dumps(new_account()).encode()
    kind = {"Content-Type": "application/vnd.api+json; charset=utf-8"}
    assert wire.ask(server.port, "POST", REGISTER, kind, again).status == 201


def test_passwords_are_never_repeated(server):
    """A refusal repeats the password, or the log does."""
    secret = f"secret-{new_name()}"
    for body in ({"password": secret}, {"email": 5, "username": "u", "password": secret + "x" * 1024}):
        assert secret not in wire.ask(server.port, "POST", REGISTER, None, body).text
        assert secret not in wire.ask(server.port, "POST", LOGIN, None, body).text
    assert secret not in server.err.text()


def test_body_with_a_public_key_is_the_marketplaces(server):
    """Who registers with a wallet's key and no password is told what is wrong in a form that he does not know."""
    body = {"email": "a@example.com", "name": "A", "public_key": "00" * 32}
    reply = wire.ask(server.port, "POST", REGISTER, None, body)
    assert reply.status == 400 and reply.json()["error"]["code"] == "VALIDATION_ERROR", reply
    reply = wire.ask(server.port, "POST", REGISTER, None, {**body, "password": "a long password"})
    assert [each[:2] for each in complaints(reply)] == [("missing", "body.username")]


# --- login ---

def test_login_gives_a_new_pair(server, trader):
    """Who knows the password does not get tokens, or they are not good."""
    for email in (trader.account["email"], trader.account["email"].upper(), f" {trader.account['email']} "):
        reply = expect(login(server, email), 200)
        assert list(reply.json()) == PAIR and reply.json()["token_type"] == "bearer"
        assert list_with(server, bearer(reply.json()["access_token"])).status == 200
        assert claims_of(reply.json()["refresh_token"], secret_of(server.store))["sub"] == \
            claims_of(trader.access, secret_of(server.store))["sub"]
        assert reply.header("cache-control") == "no-store"


@pytest.mark.parametrize("password", ["correct horse ", "Correct horse", "", "x" * 1024, "correct horse\0"])
def test_wrong_password_is_refused(server, trader, password):
    """A password that is only nearly right is taken."""
    expect(login(server, trader.account["email"], password), 401, REFUSED)


def test_password_may_be_any_text(server):
    """A password with other letters, NULs or blanks around it is changed on its way."""
    for password in (" leading", "naïve\0 пароль", "x" * 1024):
        account = new_account(password=password)
        expect(wire.ask(server.port, "POST", REGISTER, None, account), 201)
        expect(login(server, account["email"], password), 200)
        expect(login(server, account["email"], password.strip() + "?" if len(password) < 1024 else "x" * 1023), 401)


def test_unknown_address_looks_like_a_wrong_password(server, trader):
    """The answer, or the work that is done for it, tells who has an account."""
    wrong = expect(login(server, trader.account["email"], "wrong password"), 401, REFUSED)
    before = metric(server, "doorbuster_passwords_done_total")
    unknown = expect(login(server, f"{new_name()}@example.com", "wrong password"), 401, REFUSED)
    wire.wait_for(lambda: metric(server, "doorbuster_passwords_done_total") > before, "a password was checked")
    assert [name for name, _ in unknown.headers] == [name for name, _ in wrong.headers]


@pytest.mark.parametrize("body, expected", [
    ({}, [("missing", "body.email", None), ("missing", "body.password", None)]),
    ({"email": None, "password": None}, [("string_type", "body.email", None),
        ("string_type", "body.password", SECRET_INPUT)]),
    ({"email": "nobody", "password": "x"}, [("value_error", "body.email", "nobody")]),
    ({"email": "a@example.com", "password": "x" * 1025}, [("string_too_long", "body.password", SECRET_INPUT)]),
])
def test_bad_login_is_refused(server, body, expected):
    """A login that is not well formed is not refused as such."""
    assert complaints(wire.ask(server.port, "POST", LOGIN, None, body)) == expected


# --- refresh ---

def test_refresh_gives_a_new_pair(server, trader):
    """A refresh token does not give a pair that works, again and again."""
    token = trader.refresh
    for _ in range(3):
        reply = expect(refresh(server, token), 200)
        assert list(reply.json()) == PAIR and reply.json()["token_type"] == "bearer"
        assert reply.json()["refresh_token"] != token
        assert list_with(server, bearer(reply.json()["access_token"])).status == 200
        token = reply.json()["refresh_token"]


def test_tokens_are_good_for_one_thing(server, trader):
    """An access token refreshes, or a refresh token opens orders."""
    expect(refresh(server, trader.access), 401, NOT_VALID)
    expect(list_with(server, bearer(trader.refresh)), 401, NOT_VALID)


def test_refresh_of_an_account_that_is_gone(server, trader):
    """A token for an account that is not there, or was made later than the token, is renewed."""
    secret = secret_of(server.store)
    mine = claims_of(trader.refresh, secret)
    assert refresh(server, sign_token(secret, **mine)).status == 200
    for claims in ({**mine, "sub": str(10**15)}, {**mine, "iat": mine["iat"] - 60, "exp": mine["exp"] - 60}):
        expect(refresh(server, sign_token(secret, **claims)), 401, NOT_VALID)


def test_expired_refresh_token(server, trader):
    """A refresh token is good after its time."""
    secret = secret_of(server.store)
    mine = claims_of(trader.refresh, secret)
    old = {**mine, "iat": mine["iat"] - REFRESH_S - 60, "exp": mine["exp"] - REFRESH_S - 60}
    reply = expect(refresh(server, sign_token(secret, **old)), 401)
    assert "expired" in reply.json()["detail"]


@pytest.mark.parametrize("body, expected", [
    ({}, [("missing", "body.refresh_token", None)]),
    ({"refresh_token": 5}, [("string_type", "body.refresh_token", SECRET_INPUT)]),
])
def test_bad_refresh_is_refused(server, body, expected):
    """A request for a new pair that is not well formed is not refused as such."""
    assert complaints(wire.ask(server.port, "POST", REFRESH, None, body)) == expected


# --- bearer tokens ---

@pytest.mark.parametrize("method, target", [("POST", ORDERS), ("GET", ORDERS), ("GET", ORDERS + "/x"),
    ("DELETE", ORDERS + "/x")])
def test_orders_need_a_token(server, method, target):
    """A route of orders serves somebody without a token, or looks at the body before."""
    expect(wire.ask(server.port, method, target, None, b"{" if method == "POST" else None), 401, NOT_AUTHENTICATED)


def test_other_schemes_are_no_token(server, trader):
    """Another scheme than Bearer, or none, is taken; or Bearer is not, because of its case."""
    for value in ("", trader.access, f"Basic {trader.access}", f"Bearer{trader.access}", "Bearer", "Bearer "):
        expect(list_with(server, {"Authorization": value}), 401, NOT_AUTHENTICATED)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert list_with(server, {"Authorization": f"{scheme} {trader.access}"}).status == 200


def test_tampered_tokens_are_refused(server, trader):
    """A token is good although a byte of it was changed, added or taken away."""
    token = trader.access
    for at in range(0, len(token), 3):
        for other in ("A", "B", "."):
            if token[at] != other:
                reply = trader.ask("GET", ORDERS, bearer(token[:at] + other + token[at + 1:]))
                expect(reply, 401, NOT_VALID)
    for changed in (token[:-1], token + "A", token + "=", "." + token, token.rsplit(".", 1)[0], token * 3):
        expect(trader.ask("GET", ORDERS, bearer(changed)), 401, NOT_VALID)
    assert trader.send("GET").status == 200


def test_forged_tokens_are_refused(server, trader):
    """A token is good although it says who signed it, or says so with another key."""
    now = int(time.time())
    secret = secret_of(server.store)
    claims = access_claims(claims_of(trader.access, secret)["sub"], now, now + 600)
    assert list_with(server, bearer(sign_token(secret, **claims))).status == 200
    payload = sign_token(secret, **claims).split(".")[1]
    unsigned = encode(b'{"alg":"none","typ":"JWT"}') + "." + payload + "."
    for forged in (unsigned, unsigned + "AAAA", sign_token(bytes(32), **claims), sign_token(secret[::-1], **claims),
            sign_token(secret, head=b'{"alg":"HS512","typ":"JWT"}', **claims),
            sign_token(secret, **{**claims, "typ": "admin"}), sign_token(secret, **{**claims, "sub": "0"}),
            sign_token(secret, **{**claims, "sub": "-1"}), sign_token(secret, sub=claims["sub"])):
        expect(list_with(server, bearer(forged)), 401, NOT_VALID)


def test_expired_access_token(server, trader):
    """An access token is good after its fifteen minutes, or is not while they last."""
    secret = secret_of(server.store)
    sub = claims_of(trader.access, secret)["sub"]
    now = int(time.time())
    assert list_with(server, bearer(sign_token(secret, **access_claims(sub, now - 600, now + 300)))).status == 200
    reply = expect(list_with(server, bearer(sign_token(secret, **access_claims(sub, now - 1200, now - 300)))), 401)
    assert "expired" in reply.json()["detail"]


def test_accounts_and_tokens_survive_a_restart(start_server):
    """After a restart a token or a password is not good any more."""
    server = start_server()
    trader = Trader(server)
    order = trader.place()
    trader.close()
    server.stop()
    again = start_server(on=server.store)
    reply = list_with(again, bearer(trader.access))
    assert reply.status == 200 and [each["id"] for each in reply.json()] == [order["id"]]
    assert refresh(again, trader.refresh).status == 200
    assert login(again, trader.account["email"]).status == 200
    expect(register(again, email=trader.account["email"]), 409)


@pytest.mark.embedded
def test_stores_have_secrets_of_their_own(start_server):
    """A token of one store is good at another."""
    one, other = start_server(), start_server()
    trader = Trader(one)
    expect(list_with(other, bearer(trader.access)), 401, NOT_VALID)
    trader.close()


def test_token_of_an_account_that_is_gone_harms_nobody(server, trader):
    """A token of an account that a restored backup does not have makes the orders of others fail."""
    now = int(time.time())
    stranger = bearer(sign_token(secret_of(server.store), **access_claims(10**12, now, now + 600)))
    connections = [wire.Connection(server.port) for _ in range(10)]
    for index, connection in enumerate(connections):
        connection.send(wire.build("POST", ORDERS, bearer(trader.access) if index % 2 else stranger, new_order()))
    statuses = [connection.read_reply().status for connection in connections]
    for connection in connections:
        connection.close()
    assert statuses[1::2] == [201] * 5 and set(statuses[::2]) <= {201, 401}


# --- overload ---

def test_crowd_of_logins_is_refused_and_delays_no_order(start_server):
    """So many logins at once take all memory, keep orders waiting, or nobody is told when to come again."""
    server = start_server("--password-threads", "1")
    trader = Trader(server)
    connections = [wire.Connection(server.port, limit=110) for _ in range(80)]
    for connection in connections:
        connection.send(wire.build("POST", LOGIN, None, {"email": "nobody@example.com", "password": "x"}))
    wire.wait_for(lambda: metric(server, "doorbuster_passwords_refused_total") >= 1, "a login is refused")
    refused = wire.ask(server.port, "POST", LOGIN, None, {"email": "nobody@example.com", "password": "x"})
    if metric(server, "doorbuster_passwords_waiting") > 0:  # answered before its turn could have come
        trader.place()
    replies = [connection.read_reply() for connection in connections] + [refused]
    for connection in connections:
        connection.close()
    assert {reply.status for reply in replies} == {401, 503}
    for reply in replies:
        if reply.status == 503:
            expect(reply, 503)
            assert 1 <= int(reply.header("retry-after")) <= 120, reply
    assert login(server, trader.account["email"]).status == 200
    trader.close()


def test_server_stops_with_passwords_under_way(start_server):
    """A server that is told to stop while passwords are hashed crashes, hangs, or forgets to answer."""
    server = start_server()
    connections = [wire.Connection(server.port, limit=110) for _ in range(4)]
    for connection in connections:
        connection.send(wire.build("POST", REGISTER, None, new_account()))
    statuses = []
    reader = threading.Thread(target=lambda: statuses.extend(each.read_reply().status for each in connections))
    reader.start()
    server.stop()
    reader.join(110)
    assert len(statuses) == 4 and set(statuses) <= {201, 503}, statuses
    rows = server.store.rows("SELECT count(*) FROM accounts")[0][0]
    assert rows == statuses.count(201)
    for connection in connections:
        connection.close()


def test_server_killed_by_a_second_signal_with_passwords_under_way(start_server):
    """A server that must stop at once crashes because passwords are being hashed."""
    server = start_server()
    connections = [wire.Connection(server.port) for _ in range(4)]
    for connection in connections:
        connection.send(wire.build("POST", REGISTER, None, new_account()))
    wire.wait_for(lambda: metric(server, "doorbuster_passwords_waiting") > 0 or
        metric(server, "doorbuster_accounts_registered_total") > 0, "passwords are under way")
    server.signal()
    server.wait_log(lambda entry: "SIGTERM" in entry["message"], "the first signal")
    server.signal()
    assert server.wait_exit() == 0
    for connection in connections:
        connection.close()


# --- routes ---

@pytest.mark.parametrize("path", [REGISTER, LOGIN, REFRESH])
def test_accounts_are_posted_only(server, path):
    """Another method on a route of accounts is taken for an unknown path."""
    reply = expect(wire.ask(server.port, "GET", path), 405, '{"detail":"Method Not Allowed"}')
    assert reply.header("allow") == "POST"


def test_metrics_count_accounts(server, trader):
    """The metrics do not tell registrations, logins, refusals and orders."""
    names = ("doorbuster_accounts_registered_total", "doorbuster_logins_total", "doorbuster_logins_refused_total",
        "doorbuster_tokens_refreshed_total", "doorbuster_tokens_refused_total", "doorbuster_intake_placed_total",
        "doorbuster_intake_invalid_total", "doorbuster_intake_cancelled_total")
    before = {name: metric(server, name) for name in names}
    other = Trader(server)
    assert login(server, trader.account["email"]).status == 200
    assert login(server, trader.account["email"], "wrong password").status == 401
    assert refresh(server, trader.refresh).status == 200
    assert list_with(server, {}).status == 401
    order = trader.place()
    assert trader.send("POST", body=new_order(quantity=0)).status == 422
    assert trader.cancel(order["id"]).status == 200
    other.close()
    assert {name: metric(server, name) - before[name] for name in names} == dict.fromkeys(names, 1)
