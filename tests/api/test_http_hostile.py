# SPDX-License-Identifier: Apache-2.0
"""
What strangers send: malformed HTTP, bodies that lie about their length, slow clients. Each gets a 4xx or a clean
close; nothing of it may buy, crash, leak, or keep others waiting.
"""
import json
import os
import random
import socket
import time

import pytest

import wire
from server import frugal_environment
from shop import (BAD_JSON, BAD_REQUEST, PRODUCTS, PURCHASED, PURCHASES, SALES, Shop, new_sku, new_user, still_sells)

CLOSE_SECONDS = 8.0  # less than the server waits for the rest of a request

# Nothing of it reaches the store.
pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def target_sku(shared_server):
    """A sale that no hostile request may touch."""
    shop = Shop(shared_server.get())
    sku = shop.sale(stock=1000)
    shop.close()
    return sku


def replies_to(port, data, is_ended=False):
    """Everything the server says to these bytes until it closes or waits: [Reply], whether it closed."""
    found, is_closed = [], False
    with wire.Connection(port) as connection:
        try:
            connection.send(data)
            if is_ended:
                connection.send_end()
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it had read all
        connection.socket.settimeout(CLOSE_SECONDS)
        try:
            while True:
                found.append(connection.read_reply())
        except wire.Closed as closed:
            assert closed.partial == b"", f"half a reply: {closed.partial!r}"
            is_closed = True
        except socket.timeout:
            pass
    return found, is_closed


def post(sku, extra=b"", body=None, line=b"POST /api/v1/purchases HTTP/1.1", length=True, user=None):
    """A purchase that would be good but for what `extra`, `line` or `body` spoil."""
    body = json.dumps({"sku": sku}).encode() if body is None else body
    head = line + b"\r\nHost: x\r\nX-User-Id: " + (user or new_user("evil")).encode() + \
        b"\r\nContent-Type: application/json\r\n"
    if length:
        head += b"Content-Length: %d\r\n" % len(body)
    return head + extra + b"\r\n" + body


def envelope_is_right(reply):
    if reply.body and (reply.header("content-type") or "").startswith("application/json"):
        value = reply.json()
        assert value["success"] is False and isinstance(value["error"]["message"], str), reply


CHUNKED = b"Transfer-Encoding: chunked\r\n"

# Each: what it is, the bytes for a SKU, the statuses that are allowed (a clean close without a reply always is).
MALFORMED = {
    # heads
    "bare LF everywhere": lambda sku: post(sku).replace(b"\r\n", b"\n"),
    "bare LF after a header": lambda sku: post(sku, b"X-A: b\n"),
    "bare CR in a header": lambda sku: post(sku, b"X-A: b\rc\r\n"),
    "blank before the colon": lambda sku: post(sku, b"X-A : b\r\n"),
    "blank before the colon of a length": lambda sku: post(sku, b"Content-Length : 3\r\n", length=False),
    "tab before the colon": lambda sku: post(sku, b"X-A\t: b\r\n"),
    "obsolete folding": lambda sku: post(sku, b"X-A: b\r\n c\r\n"),
    "folded first header": lambda sku: post(sku, line=b"POST /api/v1/purchases HTTP/1.1\r\n X-A: b"),
    "header without a colon": lambda sku: post(sku, b"nonsense\r\n"),
    "header without a name": lambda sku: post(sku, b": b\r\n"),
    "blank in a header name": lambda sku: post(sku, b"X A: b\r\n"),
    "NUL in a header name": lambda sku: post(sku, b"X\0A: b\r\n"),
    "NUL in a header value": lambda sku: post(sku, b"X-A: b\0c\r\n"),
    "NUL in the user": lambda sku: post(sku, user="evil\0"),
    "control sign in a header value": lambda sku: post(sku, b"X-A: b\x01c\r\n"),
    "DEL in a header value": lambda sku: post(sku, b"X-A: b\x7fc\r\n"),
    "beyond ASCII in a header name": lambda sku: post(sku, "X-Ä: b\r\n".encode()),
    "NUL in the target": lambda sku: post(sku, line=b"POST /api/v1/purchases\0 HTTP/1.1"),
    "blank in the target": lambda sku: post(sku, line=b"POST /api/v1/purchases x HTTP/1.1"),
    "no version": lambda sku: post(sku, line=b"POST /api/v1/purchases"),
    "version 0.9": lambda sku: post(sku, line=b"POST /api/v1/purchases HTTP/0.9"),
    "version 2.0": lambda sku: post(sku, line=b"POST /api/v1/purchases HTTP/2.0"),
    "version 1.12": lambda sku: post(sku, line=b"POST /api/v1/purchases HTTP/1.12"),
    "version in small letters": lambda sku: post(sku, line=b"POST /api/v1/purchases http/1.1"),
    "another protocol": lambda sku: post(sku, line=b"POST /api/v1/purchases ICAP/1.0"),
    "no target": lambda sku: post(sku, line=b"POST  HTTP/1.1"),
    "target without a slash": lambda sku: post(sku, line=b"POST api/v1/purchases HTTP/1.1"),
    "tab after the method": lambda sku: post(sku, line=b"POST\t/api/v1/purchases HTTP/1.1"),
    "two blanks after the method": lambda sku: post(sku, line=b"POST  /api/v1/purchases HTTP/1.1"),
    "small method": lambda sku: post(sku, line=b"post /api/v1/purchases HTTP/1.1"),
    "unknown method": lambda sku: post(sku, line=b"SELL /api/v1/purchases HTTP/1.1"),
    "method of signs": lambda sku: post(sku, line=b"{}() /api/v1/purchases HTTP/1.1"),
    "endless method": lambda sku: b"A" * 100_000,
    "CONNECT": lambda sku: post(sku, line=b"CONNECT x:443 HTTP/1.1"),
    "HTTP/2 preface": lambda sku: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0",
    "TLS hello": lambda sku: bytes.fromhex("16030100a1010000 9d0303") + os.urandom(150),
    "random bytes": lambda sku: random.Random(7).randbytes(4000),
    "only NULs": lambda sku: b"\0" * 5000,
    "no host": lambda sku: post(sku).replace(b"Host: x\r\n", b""),
    "two hosts": lambda sku: post(sku, b"Host: y\r\n"),
    # heads that are too big
    "header of 1 MiB": lambda sku: post(sku, b"X-A: " + b"a" * (1 << 20) + b"\r\n"),
    "header name of 64 KiB": lambda sku: post(sku, b"X" * 65536 + b": b\r\n"),
    "target of 64 KiB": lambda sku: post(sku, line=b"POST /api/v1/purchases?" + b"a" * 65536 + b" HTTP/1.1"),
    "10000 headers": lambda sku: post(sku, b"".join(b"X-%d: a\r\n" % i for i in range(10_000))),
    "200 headers": lambda sku: post(sku, b"".join(b"X-%d: a\r\n" % i for i in range(200))),
    # lengths
    "two different lengths": lambda sku: post(sku, b"Content-Length: 3\r\n"),
    "two equal lengths": lambda sku: post(sku, b"Content-Length: %d\r\n" % len(json.dumps({"sku": sku}))),
    "list of lengths": lambda sku: post(sku, b"Content-Length: 3, 3\r\n", length=False),
    "negative length": lambda sku: post(sku, b"Content-Length: -1\r\n", length=False),
    "length with a plus": lambda sku: post(sku, b"Content-Length: +20\r\n", length=False),
    "length in hex": lambda sku: post(sku, b"Content-Length: 0x14\r\n", length=False),
    "length beyond 64 bits": lambda sku: post(sku, b"Content-Length: 18446744073709551634\r\n", length=False),
    "length of 2^63": lambda sku: post(sku, b"Content-Length: 9223372036854775808\r\n", length=False),
    "length of letters": lambda sku: post(sku, b"Content-Length: many\r\n", length=False),
    "empty length": lambda sku: post(sku, b"Content-Length: \r\n", length=False),
    "length with a blank inside": lambda sku: post(sku, b"Content-Length: 2 0\r\n", length=False),
    "length and chunked": lambda sku: post(sku, CHUNKED, wire.chunked(json.dumps({"sku": sku}).encode())),
    "chunked and length": lambda sku: post(sku, CHUNKED + b"Content-Length: 5\r\n",
        wire.chunked(json.dumps({"sku": sku}).encode()), length=False),
    # transfer codings
    "unknown coding": lambda sku: post(sku, b"Transfer-Encoding: gzip\r\n", length=False),
    "chunked not last": lambda sku: post(sku, b"Transfer-Encoding: chunked, gzip\r\n",
        wire.chunked(json.dumps({"sku": sku}).encode()), length=False),
    "chunked twice": lambda sku: post(sku, CHUNKED + CHUNKED, wire.chunked(json.dumps({"sku": sku}).encode()),
        length=False),
    "coding like chunked": lambda sku: post(sku, b"Transfer-Encoding: xchunked\r\n",
        wire.chunked(json.dumps({"sku": sku}).encode()), length=False),
    "quoted chunked": lambda sku: post(sku, b'Transfer-Encoding: "chunked"\r\n',
        wire.chunked(json.dumps({"sku": sku}).encode()), length=False),
    "chunked with vertical tab": lambda sku: post(sku, b"Transfer-Encoding: \x0bchunked\r\n",
        wire.chunked(json.dumps({"sku": sku}).encode()), length=False),
    # chunks
    "chunk size of letters": lambda sku: post(sku, CHUNKED, b"xyz\r\nabc\r\n0\r\n\r\n", length=False),
    "chunk size empty": lambda sku: post(sku, CHUNKED, b"\r\nabc\r\n0\r\n\r\n", length=False),
    "chunk size negative": lambda sku: post(sku, CHUNKED, b"-1\r\nabc\r\n0\r\n\r\n", length=False),
    "chunk size with 0x": lambda sku: post(sku, CHUNKED, b"0x3\r\nabc\r\n0\r\n\r\n", length=False),
    "chunk size beyond 64 bits": lambda sku: post(sku, CHUNKED, b"10000000000000003\r\nabc\r\n0\r\n\r\n", length=False),
    "chunk size of 2^64-1": lambda sku: post(sku, CHUNKED, b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n", length=False),
    "chunk longer than it says": lambda sku: post(sku, CHUNKED, b"2\r\nabc\r\n0\r\n\r\n", length=False),
    "chunk ended by bare LF": lambda sku: post(sku, CHUNKED, b"3\nabc\n0\n\n", length=False),
    "chunk size of endless zeros": lambda sku: post(sku, CHUNKED, b"0" * 100_000, length=False),
    "endless chunk extension": lambda sku: post(sku, CHUNKED, b"3;" + b"a" * 2_000_000, length=False),
    "endless trailer": lambda sku: post(sku, CHUNKED, b"0\r\n" + b"X-A: b\r\n" * 100_000, length=False),
    "chunk extension with NUL": lambda sku: post(sku, CHUNKED, b"3;a=\0\r\nabc\r\n0\r\n\r\n", length=False),
    # bodies
    "body that is cut": lambda sku: post(sku)[:-3],
    "truncated JSON": lambda sku: post(sku, body=b'{"sku":"' + sku.encode()),
    "JSON with NUL": lambda sku: post(sku, body=json.dumps({"sku": sku}).encode() + b"\0"),
    "JSON with NUL in the SKU": lambda sku: post(sku, body=b'{"sku":"' + sku.encode() + b'\0"}'),
    "escaped NUL in the SKU": lambda sku: post(sku, body=b'{"sku":"' + sku.encode() + b'\\u0000"}'),
    "lone surrogate": lambda sku: post(sku, body=b'{"sku":"' + sku.encode() + b'\\ud800"}'),
    "invalid UTF-8": lambda sku: post(sku, body=b'{"sku":"' + sku.encode() + b'\xff"}'),
    "UTF-16": lambda sku: post(sku, body=json.dumps({"sku": sku}).encode("utf-16")),
    "byte order mark before nothing": lambda sku: post(sku, body=b"\xef\xbb\xbf"),
    "100000 brackets": lambda sku: post(sku, body=b"[" * 100_000),
    "100000 objects": lambda sku: post(sku, body=b'{"sku":' * 100_000 + b'"A"' + b"}" * 100_000),
    "number of 100000 digits": lambda sku: post(sku, body=b'{"sku":' + b"9" * 100_000 + b"}"),
    "huge exponent": lambda sku: post(sku, body=b'{"sku":1e999999999}'),
    "beyond 64 bits": lambda sku: post(sku, body=b'{"sku":18446744073709551616}'),
    "100000 members": lambda sku: post(sku, body=json.dumps({**{f"m{i}": 1 for i in range(50_000)}, "sku": sku})
        .encode()[:900_000]),
    "comment in JSON": lambda sku: post(sku, body=b'{"sku":"' + sku.encode() + b'"/**/}'),
    "NaN": lambda sku: post(sku, body=b'{"sku":NaN}'),
}

# Bytes that RFC 9112 lets a server take: what they would buy is allowed, a second purchase from them is not.
TOLERABLE = {"no host", "two hosts", "200 headers", "two equal lengths", "chunked twice", "target without a slash",
    "two blanks after the method"}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_request_is_refused(server, target_sku, name):
    """A malformed request buys, kills the server, gets a 2xx or 5xx, or is left hanging."""
    shop = Shop(server)
    before = shop.product(target_sku).data
    data = MALFORMED[name](target_sku)
    replies, is_closed = replies_to(server.port, data, is_ended=True)
    assert is_closed, f"not closed within {CLOSE_SECONDS} s: {replies}"
    for reply in replies:
        if name not in TOLERABLE:
            envelope_is_right(reply)
            assert 400 <= reply.status < 500 or reply.status in (501, 505), reply
    after = shop.product(target_sku).data
    sold = after["totalPurchases"] - before["totalPurchases"]
    assert sold == 0 or (name in TOLERABLE and sold == 1 and len(replies) == 1), (replies, sold)
    shop.buy_well(target_sku)
    shop.close()


def test_refusals_of_bodies_are_the_contracts(server):
    """Bad bodies get another text than the contract's."""
    for body, texts in ((b'{"sku":', (BAD_JSON,)), (b'{"sku":"\xff"}', (BAD_JSON, BAD_REQUEST)),
            (b'{"sku":"A\\u0000"}', (BAD_REQUEST, BAD_JSON)),
            (b'{"sku":18446744073709551616}', (BAD_REQUEST, BAD_JSON)),
            (b'{"sku":1e400}', (BAD_REQUEST, BAD_JSON)), (b"[" * 1000, (BAD_JSON,))):
        replies, _ = replies_to(server.port, post("", b"Connection: close\r\n", body))
        assert len(replies) == 1 and replies[0].status == 400 and replies[0].text in texts, (body, replies)


@pytest.mark.parametrize("value", ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e19",
    "1e308", "1e400", "0.1", "-0.5", "NaN", "Infinity", "0x10", "1_000", "01"])
def test_numbers_that_do_not_fit_are_refused(server, value):
    """A number beyond 64 bits, or no number, wraps around into a stock or a price."""
    shop = Shop(server)
    sku = new_sku()
    body = json.dumps(shop.body(sku)).replace('"initialStock": 10', f'"initialStock": {value}')
    reply = shop.create(body, {"Content-Type": "application/json"})
    assert reply.status == 400 and reply.code == "HTTP_ERROR", reply
    assert shop.product(sku).status == 404
    sku = shop.sale()
    reply = shop.ask("PATCH", f"{PRODUCTS}/{sku}", {**shop.admin, "Content-Type": "application/json"},
        '{"price":%s}' % value)
    assert reply.status == 400, reply
    shop.close()


def test_garbage_after_a_good_request(server, target_sku):
    """Garbage behind a good request spoils its reply, or is taken for a purchase."""
    for garbage in (b"\x00\xff nonsense \r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"GET /\r\n\r\n", os.urandom(500),
            b" POST /api/v1/purchases HTTP/1.1\r\n\r\n"):
        replies, is_closed = replies_to(server.port, post(target_sku) + garbage, is_ended=True)
        assert PURCHASED.fullmatch(replies[0].text), replies
        assert is_closed and all(400 <= reply.status < 500 or reply.status == 505 for reply in replies[1:]), replies
    still_sells(server)


SMUGGLERS = {  # a head that is unclear about its length, with a purchase hidden in what follows
    "length and chunked": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n",
    "two lengths": b"Content-Length: %d\r\nContent-Length: 5\r\n",
    "length behind a blank": b"Content-Length : %d\r\n",
    "coding behind a blank": b"Content-Length: %d\r\nTransfer-Encoding : chunked\r\n",
    "folded coding": b"Content-Length: %d\r\nTransfer-Encoding:\r\n chunked\r\n",
    "coding with a control sign": b"Content-Length: %d\r\nTransfer-Encoding: \x0bchunked\r\n",
    "coding in a list": b"Content-Length: %d\r\nTransfer-Encoding: identity, chunked\r\n",
    "bare LF before the coding": b"Content-Length: %d\nTransfer-Encoding: chunked\r\n",
    "bare CR before the coding": b"Content-Length: %d\rTransfer-Encoding: chunked\r\n",
}


@pytest.mark.parametrize("name", SMUGGLERS)
def test_hidden_request_is_never_served(server, target_sku, name):
    """A purchase hidden behind an unclear length is made."""
    hidden = post(target_sku, user=(user := new_user("hidden")))
    head = b"POST /api/v1/purchases HTTP/1.1\r\nHost: x\r\nX-User-Id: %s\r\nContent-Type: application/json\r\n" \
        % new_user().encode()
    body = b"0\r\n\r\n" + hidden
    length = SMUGGLERS[name] % len(body)
    replies, is_closed = replies_to(server.port, head + length + b"\r\n" + body, is_ended=True)
    assert is_closed and len(replies) <= 1 and all(400 <= reply.status < 500 for reply in replies), replies
    assert Shop(server).purchase(target_sku, user).status == 404


def test_good_chunked_bodies_are_read(server, target_sku):
    """Chunks in odd but allowed sizes, with extensions and trailers, are refused."""
    text = json.dumps({"sku": target_sku}).encode()
    for body in (wire.chunked(text), wire.chunked(*(bytes([byte]) for byte in text)),
            b"%X;name=value\r\n%s\r\n0\r\nX-Trailer: a\r\n\r\n" % (len(text), text),
            b"%04x\r\n%s\r\n000\r\n\r\n" % (len(text), text)):
        replies, _ = replies_to(server.port, post(target_sku, CHUNKED + b"Connection: close\r\n", body, length=False))
        assert len(replies) == 1 and PURCHASED.fullmatch(replies[0].text), (body, replies)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_any_split_is_the_same_request(server, target_sku, size):
    """A request in small pieces is another than in one."""
    data = post(target_sku, CHUNKED, wire.chunked(json.dumps({"sku": target_sku}).encode()), length=False)
    with wire.Connection(server.port) as connection:
        for at in range(0, len(data), size):
            connection.send(data[at:at + size])
        assert PURCHASED.fullmatch(connection.read_reply().text)


def test_expect_100_continue(server, target_sku):
    """A client that waits for 100 Continue before it sends its body waits for ever."""
    data = post(target_sku, b"Expect: 100-continue\r\n")
    head, body = data.split(b"\r\n\r\n", 1)
    with wire.Connection(server.port, limit=5) as connection:
        connection.send(head + b"\r\n\r\n")
        assert connection.read_head().status == 100
        connection.send(body)
        assert PURCHASED.fullmatch(connection.read_reply().text)


def test_client_that_leaves_gets_no_wrong_sale(server, shop):
    """Clients that close without waiting for the reply make the stock go wrong."""
    sku = shop.sale(stock=100)
    for _ in range(50):
        with wire.Connection(server.port) as connection:
            connection.send(post(sku))
    for _ in range(20):
        with wire.Connection(server.port) as connection:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST
            connection.send(post(sku))
    data = shop.product(sku).data
    rows = wire.wait_for(lambda: len(server.store.purchases(sku)) == 100 - shop.stock(sku) and
        server.store.purchases(sku), "store and published stock agree")
    assert len({user for _, user, _ in rows}) == len(rows) <= 70
    assert data["currentStock"] + data["totalPurchases"] == 100


# --- slow and deaf clients ---

@pytest.fixture
def impatient(start_server):
    return start_server("--head-timeout", "800ms", "--body-timeout", "800ms", "--idle-timeout", "800ms",
        "--write-timeout", "800ms", "--purchase-interval", "0", environment=frugal_environment())


def trickle(port, data, pause=0.1, seconds=40.0):
    """Sends a byte at a time; how long until the server cut it, and what it said."""
    began = time.monotonic()
    with wire.Connection(port) as connection:
        connection.socket.settimeout(pause)
        for byte in data:
            try:
                connection.send(bytes([byte]))
                if not connection.fill():
                    return time.monotonic() - began, bytes(connection.buffer)
            except socket.timeout:
                pass
            except (BrokenPipeError, ConnectionResetError):
                return time.monotonic() - began, bytes(connection.buffer)
            if time.monotonic() - began > seconds:
                break
    return None, b""


def expect_408_or_nothing(text):
    assert text == b"" or text.startswith(b"HTTP/1.1 408 "), text


def test_slow_head_is_cut(impatient):
    """A byte every tenth of a second in the head holds a connection for ever."""
    seconds, text = trickle(impatient.port, post("A") * 10)
    assert seconds is not None and 0.5 < seconds < 30, seconds
    expect_408_or_nothing(text)
    still_sells(impatient)


def test_slow_body_is_cut(impatient):
    """A byte every tenth of a second in the body holds a connection for ever."""
    head, body = post("A", body=b'{"sku":"A"' + b" " * 1000 + b"}").split(b"\r\n\r\n", 1)
    began = time.monotonic()
    with wire.Connection(impatient.port) as connection:
        connection.send(head + b"\r\n\r\n")
        connection.socket.settimeout(0.1)
        is_cut = False
        for byte in body[:400]:
            try:
                connection.send(bytes([byte]))
                is_cut = not connection.fill()
            except socket.timeout:
                pass
            except (BrokenPipeError, ConnectionResetError):
                is_cut = True
            if is_cut:
                break
        assert is_cut and 0.5 < time.monotonic() - began < 30
        expect_408_or_nothing(bytes(connection.buffer))
    still_sells(impatient)


@pytest.mark.parametrize("data", [b"", b"POST /api/v1/purchases HTTP/1.1\r\n", b"\r\n",
    b"POST /api/v1/purchases HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n",
    b"POST /api/v1/purchases HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + CHUNKED + b"\r\n5\r\nab",
    b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["nothing", "half a head", "empty line", "no body", "half a chunk",
    "idle after a reply"])
def test_silent_client_is_cut(impatient, data):
    """A client that says nothing more holds a connection for ever."""
    began = time.monotonic()
    with wire.Connection(impatient.port) as connection:
        connection.send(data)
        text = connection.read_to_end()  # a timeout here is the failure
        assert time.monotonic() - began > 0.5
        assert text == b"" or text.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 200 ")), text


def test_many_slow_clients_do_not_keep_others_waiting(start_server, shop_of):
    """Hundreds of half requests keep a good client from buying."""
    server = start_server("--head-timeout", "20s", "--body-timeout", "20s")
    slow = [wire.Connection(server.port) for _ in range(400)]
    try:
        for index, connection in enumerate(slow):
            connection.send(post("A")[:30 + index % 100])
        began = time.monotonic()
        still_sells(server)
        assert time.monotonic() - began < 18
    finally:
        for connection in slow:
            connection.close()


def test_client_that_never_reads_is_cut(impatient):
    """Somebody who asks and asks and never reads fills the memory of the server, or is kept for ever."""
    sku = Shop(impatient).sale(stock=10)
    request = wire.build("GET", f"{SALES}?sku={sku}") * 500
    before = impatient.rss_bytes()
    peak, is_cut, sent = before, False, 0
    began = time.monotonic()
    with wire.Connection(impatient.port, receive_buffer=4096) as connection:
        connection.socket.settimeout(0.2)
        while time.monotonic() - began < 40 and not is_cut:
            try:
                sent += connection.socket.send(request)
            except socket.timeout:
                pass
            except (BrokenPipeError, ConnectionResetError):
                is_cut = True
            peak = max(peak, impatient.rss_bytes())
    assert is_cut, "still connected after 40 s without reading"
    assert peak - before < 16 << 20, f"{(peak - before) >> 20} MiB for one deaf client that sent {sent} bytes"
    still_sells(impatient)


def test_deaf_clients_together_hold_little_memory(impatient):
    """A hundred deaf clients hold more than a few hundred KiB each."""
    sku = Shop(impatient).sale(stock=10)
    request = wire.build("GET", f"{SALES}?sku={sku}") * 300
    before, connections = impatient.rss_bytes(), []
    try:
        for _ in range(100):
            connection = wire.Connection(impatient.port, receive_buffer=4096)
            connection.socket.setblocking(False)
            connections.append(connection)
            try:
                connection.socket.send(request)
            except OSError:
                pass
        peak = impatient.rss_bytes()
        assert peak - before < 64 << 20, f"{(peak - before) >> 20} MiB"
        still_sells(impatient)
    finally:
        for connection in connections:
            connection.close()


def test_big_bodies_do_not_stay_in_memory(start_server, shop_of):
    """Bodies of 1 MiB are kept after their requests, or multiplied."""
    server = start_server("--body-timeout", "20s", environment=frugal_environment())
    body = b'{"sku":"A"' + b" " * 1_000_000 + b"}"
    still_sells(server)

    def round_of_bodies():
        for _ in range(30):
            replies, _ = replies_to(server.port, post("A", b"Connection: close\r\n", body))
            assert replies[0].status == 200

    round_of_bodies()
    before = server.rss_bytes()
    for _ in range(3):
        round_of_bodies()
    assert server.rss_bytes() - before < 48 << 20


def test_connections_beyond_the_bound_are_refused(start_server, shop_of):
    """Connections beyond --connections-max make those that are there suffer."""
    server = start_server("--connections-max", "50")
    shop = shop_of(server)
    sku = shop.sale()  # has a connection from now on
    others = []
    try:
        for _ in range(100):
            others.append(wire.Connection(server.port))
        for _ in range(5):
            shop.buy_well(sku)
        refused = 0
        for connection in others:
            connection.socket.settimeout(30)
            try:
                connection.send(wire.build("GET", "/livez"))
                reply = connection.read_reply()
                assert reply.status in (200, 503)
                refused += reply.status == 503
            except (wire.Closed, BrokenPipeError, ConnectionResetError):
                refused += 1
        assert 40 <= refused <= 60, refused
    finally:
        for connection in others:
            connection.close()
    wire.wait_for(server.is_ready, "room again")
    still_sells(server)


# --- mutations ---

def seed():
    return int(os.environ.get("DOORBUSTER_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


TOKENS = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"%", b"%00", b"%zz", b"\xff", b"\xc3\x28", b'"',
    b"\\", b"{", b"}", b"[", b"]", b"-", b"0", b"9" * 30, b"1e999", b"HTTP/1.1", b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"\r\n\r\n",
    b"Host: x\r\n",
    b"X" * 300, b"A" * 5000, b"?", b"&", b"=", b"/", b"/..", b"#", b"__proto__", b"null", b"\xed\xa0\x80",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n", b"Idempotency-Key: \"k\"\r\n", b"Last-Event-ID: 7\r\n", b"Upgrade: h2c\r\n"]


def mutate(dice, data):
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        at = dice.randrange(len(data) + 1)
        kind = dice.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = dice.randrange(256)
        elif kind == 2:
            data[at:at] = dice.choice(TOKENS)
        elif kind == 3:
            del data[at:at + dice.randrange(1, 20)]
        elif kind == 4:
            data[at:at] = data[at:at + dice.randrange(1, 60)]
        elif kind == 5:
            end = at + dice.randrange(1, 12)
            data[at:end] = dice.choice(TOKENS)
        elif kind == 6 and dice.random() < 0.3:
            del data[at:]
        if not data:
            data += b"\n"
    return bytes(data)


def corpus(sku, dice):
    user = f"fuzz-{dice.randrange(40)}"
    admin = {"X-Admin-Key": "dev-admin-key-12345678"}
    product = {"sku": "FUZZ-OTHER", "productName": "x", "initialStock": 5, "startTime": "2026-01-01",
        "endTime": "2099-01-01"}
    return dice.choice([
        lambda: post(sku, user=user),
        lambda: post(sku, user=user),
        lambda: post(sku, CHUNKED, wire.chunked(json.dumps({"sku": sku}).encode()), length=False, user=user),
        lambda: post(sku, user=user) + post(sku, user=user + "x"),
        lambda: wire.build("POST", PURCHASES, {"X-User-Id": user, "Content-Type": "application/x-www-form-urlencoded",
            "Idempotency-Key": '"abc"'}, f"sku={sku}"),
        lambda: wire.build("GET", f"{SALES}?sku={sku}"),
        lambda: wire.build("HEAD", f"{SALES}?sku={sku}") + wire.build("GET", "/health"),
        lambda: wire.build("GET", f"{PURCHASES}?sku={sku}", {"X-User-Id": user}),
        lambda: wire.build("GET", f"{SALES}/events?sku=bad_{sku}"),
        lambda: wire.build("POST", PRODUCTS, admin, product),
        lambda: wire.build("PUT", PRODUCTS + "/FUZZ-OTHER", admin, {"productName": "y", "initialStock": 3}),
        lambda: wire.build("PATCH", PRODUCTS + "/FUZZ-OTHER", admin, {"price": 3}),
        lambda: wire.build("DELETE", PRODUCTS + "/FUZZ-OTHER", admin),
        lambda: wire.build("GET", "/metrics") + wire.build("OPTIONS", "/readyz?verbose"),
    ])()


def test_mutated_requests_do_no_harm(start_server, shop_of):
    """Among thousands of mutated requests one kills the server, hangs, gets a 5xx or a malformed reply, or sells
    wrongly. Repeat with DOORBUSTER_SEED=<the printed number>."""
    number = seed()
    print(f"DOORBUSTER_SEED={number}")
    dice = random.Random(number)
    server = start_server("--purchase-interval", "0", "--head-timeout", "3s", "--body-timeout", "3s")
    shop = shop_of(server)
    sku = shop.sale(stock=10_000)
    began = time.monotonic()
    for count in range(8000):
        data = mutate(dice, corpus(sku, dice))
        with wire.Connection(server.port) as connection:
            try:
                connection.send(data)
                connection.send_end()
                text = connection.read_to_end()
            except (BrokenPipeError, ConnectionResetError, OSError) as problem:
                assert not isinstance(problem, socket.timeout), f"hangs on request {count}: {data!r}"
                continue
        check_stream(text, data)
        if time.monotonic() - began > 25:
            break
    print(f"{count + 1} mutated requests in {time.monotonic() - began:.1f} s")
    assert count >= 500, "too slow to mean anything"
    data = shop.product(sku).data
    rows = server.store.purchases(sku)
    assert data["currentStock"] + data["totalPurchases"] == 10_000
    assert data["totalPurchases"] == len(rows) == len({user for _, user, _ in rows})
    assert len({no for no, _, _ in rows}) == len(rows) > 20, "no mutated request ever bought: this reached nothing"
    still_sells(server)
    server.stop()


def check_stream(text, sent):
    """What came back is a row of whole, well-formed replies, none of them a 5xx of ours."""
    connection = wire.Connection.__new__(wire.Connection)
    connection.buffer = bytearray(text)
    connection.fill = lambda: False
    is_head = b"HEAD" in sent  # then a reply may have no body: only its head can be read
    while connection.buffer:
        try:
            reply = wire.parse_head(bytes(connection.buffer).split(b"\r\n\r\n")[0])
            if is_head or reply.header("content-type") == "text/event-stream":
                break  # a stream that is cut has no end
            reply = connection.read_reply()
        except wire.Closed as closed:
            raise AssertionError(f"half a reply {closed.partial!r} to {sent!r}") from None
        assert reply.status < 500 or reply.status in (501, 505), (reply, sent)
        envelope_is_right_or_good(reply, sent)


def envelope_is_right_or_good(reply, sent):
    if reply.body and (reply.header("content-type") or "").startswith("application/json"):
        try:
            json.loads(reply.body.decode("utf-8"))
        except ValueError:
            raise AssertionError(f"no JSON in {reply} to {sent!r}") from None
