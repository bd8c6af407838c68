# SPDX-License-Identifier: Apache-2.0
"""Flash-sale contract, sections 1, 3 and 9: what holds for every route."""
import json

import pytest

import wire
from shop import (BAD_JSON, BAD_REQUEST, EMPTY_JSON, EVENTS, JSON_TYPE, NOT_ACTIVE, NO_USER, PRODUCTS, PURCHASES, SALES,
    TOO_LARGE, UNAUTHORIZED, UUID4, cannot, expect, new_sku, new_user)

BODY_MAX = 1_048_576

# One request for every kind of reply that the face can give.
EVERY_KIND = {
    "purchase": ("POST", PURCHASES, {"X-User-Id": "u-%d"}, {"sku": "A"}),
    "purchase without user": ("POST", PURCHASES, {}, {"sku": "A"}),
    "status": ("GET", SALES + "?sku=A", {}, None),
    "status refused": ("GET", SALES, {}, None),
    "my purchase": ("GET", PURCHASES + "?sku=A", {"X-User-Id": "u-%d"}, None),
    "product unknown": ("GET", PRODUCTS + "/NO-SUCH", {"X-Admin-Key": "dev-admin-key-12345678"}, None),
    "product delete": ("DELETE", PRODUCTS + "/NO-SUCH", {"X-Admin-Key": "dev-admin-key-12345678"}, None),
    "no key": ("GET", PRODUCTS + "/A", {}, None),
    "bad JSON": ("POST", PURCHASES, {"Content-Type": "application/json"}, "{"),
    "media type": ("POST", PURCHASES, {"Content-Type": "text/html"}, "x"),
    "unknown route": ("GET", "/nothing/here", {}, None),
    "unknown method": ("OPTIONS", SALES, {}, None),
    "health": ("GET", "/health", {}, None),
    "metrics": ("GET", "/metrics", {}, None),
    "live": ("GET", "/livez", {}, None),
    "ready": ("GET", "/readyz", {}, None),
}


def ask_kind(server, kind, extra):
    method, target, headers, body = EVERY_KIND[kind]
    headers = {name: value.replace("%d", new_user()) for name, value in headers.items()}
    return wire.ask(server.port, method, target, {**headers, **extra}, body)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_correlation_id_is_echoed(server, kind):
    """A caller cannot find its own request again: X-Correlation-Id is not sent back as it came."""
    reply = ask_kind(server, kind, {"X-Correlation-Id": "abc-123 /x"})
    assert reply.header("x-correlation-id") == "abc-123 /x"


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_correlation_id_is_made_when_missing(server, kind):
    """Replies without a correlation id, or with one that is no fresh UUID version 4."""
    first = ask_kind(server, kind, {}).header("x-correlation-id")
    second = ask_kind(server, kind, {}).header("x-correlation-id")
    assert UUID4.fullmatch(first) and UUID4.fullmatch(second) and first != second


def test_correlation_id_empty_counts_as_missing(server):
    """An empty X-Correlation-Id is echoed instead of being replaced by a fresh one."""
    reply = wire.ask(server.port, "GET", SALES + "?sku=A", {"X-Correlation-Id": ""})
    assert UUID4.fullmatch(reply.header("x-correlation-id"))


def test_correlation_id_on_event_streams(server):
    """Event streams are the one kind of reply without a correlation id."""
    with wire.Connection(server.port) as connection:
        connection.send(wire.build("GET", EVENTS + "?sku=A", {"X-Correlation-Id": "stream-1"}))
        assert connection.read_head().header("x-correlation-id") == "stream-1"


def test_connection_is_kept(server):
    """Each request costs a new connection: keep-alive does not work."""
    with wire.Connection(server.port) as connection:
        for _ in range(5):
            reply = connection.ask("GET", SALES + "?sku=A")
            assert reply.status == 200 and reply.header("connection") in (None, "keep-alive")
        assert connection.ask("GET", "/nothing").status == 404
        assert connection.ask("POST", PURCHASES, {}, {"sku": "A"}).status == 400
        assert connection.ask("GET", SALES + "?sku=A").status == 200


def test_connection_close_is_obeyed(server):
    """A client that asks for it does not get its connection closed."""
    with wire.Connection(server.port) as connection:
        assert connection.ask("GET", SALES + "?sku=A", {"Connection": "close"}).status == 200
        assert connection.is_closed()


def test_http_1_0_gets_an_answer_and_a_close(server):
    """An HTTP/1.0 client waits for an end of the reply that never comes."""
    with wire.Connection(server.port) as connection:
        connection.send(b"GET /api/v1/sales?sku=A HTTP/1.0\r\n\r\n")
        assert connection.read_reply().status == 200
        assert connection.is_closed()


def test_pipelined_requests_are_answered_in_order(server):
    """Replies to pipelined requests come mixed up, or some not at all."""
    with wire.Connection(server.port) as connection:
        connection.send(b"".join(wire.build("GET", f"{SALES}?sku=P-{i}") for i in range(50)))
        assert [connection.read_reply().data["sku"] for _ in range(50)] == [f"P-{i}" for i in range(50)]


@pytest.mark.parametrize("target", [SALES + "?sku=A", SALES, PURCHASES + "?sku=A", EVENTS + "?sku=A", PRODUCTS + "/A",
    "/health", "/metrics", "/livez", "/readyz"])
def test_head_works_on_get_routes(server, target):
    """HEAD is an unknown route, or carries a body, or differs from GET in its head."""
    headers = {"X-Admin-Key": "dev-admin-key-12345678", "X-User-Id": new_user()}
    with wire.Connection(server.port) as connection:
        head = connection.ask("HEAD", target, headers)
        after = connection.ask("GET", SALES + "?sku=A")  # a body after the head would be read as this reply
        assert after.status == 200
    with wire.Connection(server.port) as connection:
        connection.send(wire.build("GET", target, headers))
        get = connection.read_head()
    assert head.status == get.status
    names = ("content-type", "cache-control")
    assert [head.header(name) for name in names] == [get.header(name) for name in names]


def test_head_tells_the_length_of_the_get(server):
    """HEAD announces another length than GET sends."""
    lengths = [wire.ask(server.port, method, SALES + "?sku=A").header("content-length") for method in ("HEAD", "GET")]
    assert lengths[0] == lengths[1]


@pytest.mark.parametrize("method, target", [
    ("GET", "/"), ("GET", "/api"), ("GET", "/api/v1"), ("GET", "/nothing/here"), ("GET", "/api/v1/sale"),
    ("GET", "/api/v1/sales/?sku=A"), ("GET", "/api/v1/sales/events/?sku=A"), ("GET", "/health/"), ("GET", "/metrics/"),
    ("GET", "/API/v1/sales?sku=A"), ("GET", "/api/v1/Sales?sku=A"), ("GET", "/Health"), ("GET", "/api/v1//sales?sku=A"),
    ("GET", "/api/v1/products/"), ("GET", "/api/v1/products"), ("GET", "/api/v1/products/A/B"),
    ("POST", "/api/v1/sales?sku=A"), ("POST", "/api/v1/purchases/"), ("PUT", "/api/v1/purchases"),
    ("PATCH", "/api/v1/purchases"), ("DELETE", "/api/v1/purchases?sku=A"), ("PUT", "/api/v1/products"),
    ("POST", "/api/v1/products/A"), ("POST", "/health"), ("DELETE", "/metrics"),
    ("OPTIONS", "/api/v1/sales?sku=A"), ("OPTIONS", "/api/v1/purchases"), ("OPTIONS", "/api/v1/products/A"),
    ("GET", "/x?a=%20&b=c%2Fd"), ("GET", "/W%2D1?q=%41"), ("GET", "/?"),
])
def test_unknown_routes_are_404_with_the_raw_target(server, method, target):
    """An unknown route, method or trailing slash is not the contract's 404 that names method, raw path and query."""
    expect(wire.ask(server.port, method, target), 404, cannot(method, target))


@pytest.mark.parametrize("method", ["HEAD", "TRACE", "PROPFIND"])
def test_unknown_methods_are_no_405(server, method):
    """Rare methods on unknown or known routes get something else than 404."""
    reply = wire.ask(server.port, method, PURCHASES if method != "HEAD" else "/nothing/here")
    assert reply.status == 404
    if method != "HEAD":
        assert reply.text == cannot(method, PURCHASES)


def test_404_escapes_what_it_repeats(server):
    """A path with a quote or a backslash makes the 404 body invalid JSON."""
    target = '/say"it\\now?x="y"'
    with wire.Connection(server.port) as connection:
        connection.send(wire.build("GET", target))
        reply = connection.read_reply()
    if reply.status == 404:
        assert reply.json()["error"]["message"] == "Cannot GET " + target
    else:
        assert reply.status == 400 and reply.json()["success"] is False


def test_404_for_a_post_with_a_body(server):
    """The body of a request to nowhere is taken for the next request."""
    with wire.Connection(server.port) as connection:
        expect(connection.ask("POST", "/nowhere", {}, {"a": 1}), 404, cannot("POST", "/nowhere"))
        assert connection.ask("GET", SALES + "?sku=A").status == 200


def test_percent_encoding_is_decoded_before_validation(server, shop):
    """W%2D1 is not the SKU W-1, in the query, in the path or in the name of the parameter."""
    sku = shop.sale(stock=3)
    coded = sku.replace("-", "%2d").replace("T", "%54", 1)
    assert shop.status(coded).data["sku"] == sku
    assert shop.ask("GET", f"{SALES}?s%6Bu={coded}").data["stock"] == 3
    assert shop.product(coded).data["sku"] == sku
    assert shop.ask("GET", f"/api/v1/%73ales?sku={coded}").data["sku"] == sku


@pytest.mark.parametrize("target", [SALES + "?sku=%zz", SALES + "?sku=%4", SALES + "?sku=A%", SALES + "?sku=%C3%28"])
def test_query_that_does_not_decode_is_refused(server, target):
    """An undecodable query is let through, crashes the server or is answered with something else than 400."""
    expect(wire.ask(server.port, "GET", target), 400, BAD_REQUEST)


@pytest.mark.parametrize("target", [PRODUCTS + "/%zz", PRODUCTS + "/A%4", PRODUCTS + "/%", "/api/v1/%zz"])
def test_path_that_does_not_decode_is_refused(server, target):
    """An undecodable path is let through, crashes the server or is answered with something else than a 4xx."""
    reply = wire.ask(server.port, "GET", target, {"X-Admin-Key": "dev-admin-key-12345678"})
    assert reply.status in (400, 404) and reply.json()["success"] is False


def test_json_replies_say_what_they_are(server, shop):
    """A JSON reply without the exact type, or without its length."""
    for reply in (shop.status("A"), shop.ask("GET", "/nothing"), shop.ask("GET", "/health"), shop.product("NO-SUCH"),
            shop.ask("GET", SALES)):
        assert reply.header("content-type") == JSON_TYPE
        assert reply.header("content-length") == str(len(reply.body))


def test_no_rate_limit_headers_on_other_replies(server, shop):
    """Clients see Retry-After or RateLimit headers on replies that are not refused for their rate."""
    sku = shop.sale()
    for reply in (shop.buy(sku), shop.status(sku), shop.buy("NO-SUCH"), shop.product(sku)):
        for name, _ in reply.headers:
            assert name != "retry-after" and not name.startswith(("ratelimit", "x-ratelimit"))


# --- bodies (section 9) ---

def padded(size, user_sku):
    text = json.dumps({"sku": user_sku}).encode()
    return text + b" " * (size - len(text))


def test_body_of_exactly_1_mib_is_accepted(server):
    """A body of the largest allowed size is refused."""
    reply = wire.ask(server.port, "POST", PURCHASES, {"X-User-Id": new_user(), "Content-Type": "application/json"},
        padded(BODY_MAX, "NO-SUCH"))
    expect(reply, 200, NOT_ACTIVE)


def test_body_over_1_mib_is_413(server):
    """A body one byte too long is read, or refused with another reply than the contract's 413."""
    with wire.Connection(server.port) as connection:
        connection.send(wire.build("POST", PURCHASES, {"X-User-Id": new_user(), "Content-Type": "application/json",
            "Content-Length": str(BODY_MAX + 1)}))  # the head alone is enough to refuse it
        expect(connection.read_reply(), 413, TOO_LARGE)


def test_chunked_body_of_exactly_1_mib_is_accepted(server):
    """The limit for chunked bodies counts the framing too."""
    body = padded(BODY_MAX, "NO-SUCH")
    pieces = [body[i:i + 50_000] for i in range(0, len(body), 50_000)]
    reply = wire.ask(server.port, "POST", PURCHASES, {"X-User-Id": new_user(), "Content-Type": "application/json",
        "Transfer-Encoding": "chunked"}, wire.chunked(*pieces))
    expect(reply, 200, NOT_ACTIVE)


def test_chunked_body_over_1_mib_is_413(server):
    """A chunked body has no limit, or another one."""
    with wire.Connection(server.port) as connection:
        connection.send(wire.build("POST", PURCHASES, {"X-User-Id": new_user(), "Content-Type": "application/json",
            "Transfer-Encoding": "chunked"}))
        try:
            for _ in range(17):
                connection.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before we were done
        expect(connection.read_reply(), 413, TOO_LARGE)


@pytest.mark.parametrize("body", ["{", "{]", '{"sku":}', "nonsense", '{"sku":"A"} x', "{'sku':'A'}", '{"sku":"A",}',
    '{"sku":"\x01"}', '{"__proto__":{"a":1}}', '{"sku":"A","__proto__":null}', " ", "\n"],
    ids=lambda body: repr(body))
@pytest.mark.parametrize("route", ["purchases", "products", "put"])
def test_malformed_json_is_refused_and_the_connection_closed(server, route, body):
    """Text that is no JSON (or that names __proto__) gets another reply, or the connection stays open."""
    method, target = {"purchases": ("POST", PURCHASES), "products": ("POST", PRODUCTS),
        "put": ("PUT", PRODUCTS + "/A")}[route]
    headers = {"Content-Type": "application/json", "X-User-Id": new_user(), "X-Admin-Key": "dev-admin-key-12345678"}
    with wire.Connection(server.port) as connection:
        reply = expect(connection.ask(method, target, headers, body), 400, BAD_JSON)
        assert reply.header("connection").lower() == "close"
        assert connection.is_closed()


def test_body_that_is_not_utf8_is_refused(server):
    """Bytes that are no UTF-8 get into a name or a SKU."""
    for body in (b'{"sku":"\xff"}', b'{"sku":"A\xc3"}', b'{"sku":"\xed\xa0\x80"}', b'{"sku":"\xc0\xaf"}'):
        reply = wire.ask(server.port, "POST", PURCHASES, {"Content-Type": "application/json",
            "X-User-Id": new_user()}, body)
        assert reply.status == 400 and reply.text in (BAD_JSON, BAD_REQUEST), body


@pytest.mark.parametrize("method, target", [("POST", PURCHASES), ("POST", PRODUCTS), ("PUT", PRODUCTS + "/A"),
    ("DELETE", PRODUCTS + "/A")])
def test_empty_json_body_is_refused_and_the_connection_closed(server, method, target):
    """A JSON content type with an empty body gets another reply, or the connection stays open."""
    headers = {"Content-Type": "application/json", "Content-Length": "0", "X-User-Id": new_user(),
        "X-Admin-Key": "dev-admin-key-12345678"}
    with wire.Connection(server.port) as connection:
        reply = expect(connection.ask(method, target, headers), 400, EMPTY_JSON)
        assert reply.header("connection").lower() == "close"
        assert connection.is_closed()


@pytest.mark.parametrize("kind", ["text/html", "application/xml", "application/jsonx", "image/png",
    "multipart/form-data", "application/octet-stream"])
def test_other_media_types_are_415(server, kind):
    """A body of a type that the server does not read gets another reply than 415 with the type in it."""
    reply = wire.ask(server.port, "POST", PURCHASES, {"Content-Type": kind, "X-User-Id": new_user()}, '{"sku":"A"}')
    expect(reply, 415, '{"success":false,"error":{"code":"HTTP_ERROR","message":"Unsupported Media Type: %s"}}' % kind)


def test_body_without_a_type_is_415(server):
    """A body without a content type is taken for JSON."""
    reply = wire.ask(server.port, "POST", PURCHASES, {"X-User-Id": new_user()}, '{"sku":"A"}')
    expect(reply, 415,
        '{"success":false,"error":{"code":"HTTP_ERROR","message":"Unsupported Media Type: undefined"}}')


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8",
    "application/json;charset=UTF-8", "Application/JSON"])
def test_json_types_are_read(server, kind):
    """JSON with a charset, or in other letters, is not taken for JSON."""
    reply = wire.ask(server.port, "POST", PURCHASES, {"Content-Type": kind, "X-User-Id": new_user()}, '{"sku":"A"}')
    expect(reply, 200, NOT_ACTIVE)


def test_text_plain_is_a_bad_request(server):
    """JSON under text/plain is accepted, or refused as a media type rather than as a body."""
    reply = wire.ask(server.port, "POST", PURCHASES, {"Content-Type": "text/plain", "X-User-Id": new_user()},
        '{"sku":"A"}')
    expect(reply, 400, BAD_REQUEST)


# --- admin key (section 3) ---

ADMIN_ROUTES = [("POST", PRODUCTS), ("GET", PRODUCTS + "/A"), ("PUT", PRODUCTS + "/A"), ("DELETE", PRODUCTS + "/A"),
    ("PATCH", PRODUCTS + "/A"), ("HEAD", PRODUCTS + "/A")]


@pytest.mark.parametrize("headers", [{}, {"X-Admin-Key": ""}, {"X-Admin-Key": "wrong-admin-key-12345678"},
    {"X-Admin-Key": "dev-admin-key-1234567"}, {"X-Admin-Key": "dev-admin-key-123456789"},
    {"X-Admin-Key": "DEV-ADMIN-KEY-12345678"}, {"X-Admin-Api-Key": "dev-admin-key-12345678"},
    {"Authorization": "Bearer dev-admin-key-12345678"}], ids=str)
@pytest.mark.parametrize("method, target", ADMIN_ROUTES)
def test_admin_routes_need_the_exact_key(server, method, target, headers):
    """An admin route opens without the key, or with something like it."""
    body = {"nonsense": 1} if method in ("POST", "PUT", "PATCH") else None
    reply = wire.ask(server.port, method, target, headers, body)
    if method == "HEAD":
        assert reply.status == 401
    else:
        expect(reply, 401, UNAUTHORIZED)


def test_body_is_parsed_before_the_key_is_checked(server):
    """Bad JSON without a key is 401 instead of 400."""
    expect(wire.ask(server.port, "POST", PRODUCTS, {"Content-Type": "application/json"}, "{"), 400, BAD_JSON)
    reply = wire.ask(server.port, "POST", PRODUCTS, {"Content-Type": "text/html"}, "{")
    assert reply.status == 415


def test_key_is_checked_before_the_body_and_the_sku(server):
    """A stranger learns from 400 or INVALID_SKU what an admin may send."""
    expect(wire.ask(server.port, "POST", PRODUCTS, {}, {"sku": 1}), 401, UNAUTHORIZED)
    expect(wire.ask(server.port, "GET", PRODUCTS + "/bad_sku"), 401, UNAUTHORIZED)


def test_public_routes_need_no_key(server):
    """Buyers are asked for the admin key."""
    assert wire.ask(server.port, "GET", SALES + "?sku=" + new_sku()).status == 200
    expect(wire.ask(server.port, "GET", PURCHASES + "?sku=A"), 400, NO_USER)
