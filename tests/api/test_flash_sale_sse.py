# SPDX-License-Identifier: Apache-2.0
"""Flash-sale contract, sections 7 and 17: the event stream of a sale."""
import json
import re
import threading
import time

import pytest

import wire
from shop import EVENTS, MINUTE_MS, Shop, in_time, new_sku, new_user, now_ms
from test_flash_sale_status import rush


class Events:
    """A listener. Reads the stream chunk by chunk, strictly as the contract writes it."""

    def __init__(self, server, query, headers=None):
        self.connection = wire.Connection(server.port)
        self.connection.send(wire.build("GET", EVENTS + query, headers))
        self.head = self.connection.read_head()
        self.text = ""
        self.has_begun = False
        length = self.head.header("content-length")  # how one message and an end may come too
        self.whole = None if length is None else self.connection.take(int(length))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.connection.close()

    def more(self):
        if self.whole is None:
            data = self.connection.read_chunk()
        else:
            data, self.whole = self.whole, b""
        self.text += data.decode("utf-8")
        return data != b""

    def first_byte(self):
        while not self.text and self.more():
            pass
        return self.text[0]

    def block(self):
        """The next message as its lines, without the comments before it; None at the end of the stream."""
        if not self.has_begun:
            assert self.first_byte() == "\n"
            self.text, self.has_begun = self.text[1:], True
        while True:
            while "\n\n" not in self.text:
                if not self.more():
                    assert self.text == ""
                    return None
            block, self.text = self.text.split("\n\n", 1)
            lines = [line for line in block.split("\n") if not line.startswith(":")]
            if lines and lines != [""]:
                return lines

    def message(self):
        """The next message: (id, data). Must be exactly an id line and a data line."""
        lines = self.block()
        assert lines is not None and len(lines) == 2, lines
        number = re.fullmatch(r"id: ([0-9]+)", lines[0])
        data = re.fullmatch(r"data: (\{.*\})", lines[1])
        assert number and data, lines
        return int(number[1]), json.loads(data[1]), data[1]

    def event(self):
        return self.message()[1]


def test_stream_head(server):
    """A listener, or a proxy before it, does not recognise the event stream, or keeps it back."""
    with Events(server, "?sku=A") as events:
        head = events.head
        assert head.status == 200
        assert head.header("content-type") == "text/event-stream"
        assert head.header("connection").lower() == "keep-alive"
        assert head.header("cache-control") == \
            "private, no-cache, no-store, must-revalidate, max-age=0, no-transform"
        assert head.header("pragma") == "no-cache"
        assert head.header("expire") == "0"
        assert head.header("x-accel-buffering") == "no"
        assert head.header("transfer-encoding") == "chunked"
        assert head.header("content-length") is None
        assert head.header("x-correlation-id")


def test_stream_begins_with_a_newline_and_the_state(server, shop):
    """The first message is not the present state with the members of the public status, after a lone newline."""
    sku = shop.sale(stock=3)
    status = shop.status(sku)
    with Events(server, f"?sku={sku}") as events:
        assert events.first_byte() == "\n"
        number, _, text = events.message()
        assert number == 1
        assert text == '{"type":"initial","data":%s}' % status.text[len('{"success":true,"data":'):-1]


def test_stream_of_an_unknown_sku_stays_open(server, shop):
    """An unknown SKU gets an error, or a stream that ends, instead of the empty sale."""
    sku = new_sku()
    with Events(server, f"?sku={sku}") as events:
        assert events.event() == {"type": "initial", "data": {"sku": sku, "state": "UPCOMING", "stock": 0,
            "initialStock": 0, "productName": "", "startTime": "", "endTime": ""}}
        assert shop.create(shop.body(sku, stock=2)).status == 201
        assert events.event() == {"type": "state-change", "data": {"sku": sku, "state": "ACTIVE"}}


@pytest.mark.parametrize("query, shown", [("", "undefined"), ("?", "undefined"), ("?sku=a_b", "a_b"), ("?sku=", ""),
    ("?sku=a%20b", "a b"), ("?sku=" + "A" * 65, "A" * 65)])
def test_stream_of_an_ill_formed_sku_is_one_error(server, query, shown):
    """A missing or ill-formed SKU is not answered with one error message and the end of the stream."""
    with Events(server, query) as events:
        assert events.head.status == 200
        assert events.head.header("content-type") == "text/event-stream"
        assert events.block() == ["event: error", "id: 1",
            f'data: Invalid SKU: "{shown}". Must be 1-64 alphanumeric characters or hyphens.']
        assert events.block() is None


def test_error_stream_has_the_head_of_a_stream(server):
    """The reply to an ill-formed SKU has another head than every event stream, or one that contradicts itself."""
    with Events(server, "?sku=a_b") as bad, Events(server, "?sku=A") as good:
        for name in ("content-type", "connection", "cache-control", "pragma", "expire", "x-accel-buffering",
                "transfer-encoding", "content-length"):
            assert bad.head.all(name) == good.head.all(name), name


@pytest.mark.parametrize("query", ["?sku=a%0Ab", "?sku=%0D%0Adata:%20x", "?sku=a%0A%0Aid:%209"])
def test_error_message_cannot_be_forged(server, query):
    """Line breaks in the SKU put lines of a stranger into the stream."""
    with Events(server, query) as events:
        lines = events.block()
        assert lines[:2] == ["event: error", "id: 1"]
        assert all(line.startswith("data: ") for line in lines[2:])
        assert "\r" not in "".join(lines)
        assert events.block() is None


def test_each_purchase_is_told(server, shop):
    """A purchase does not come with the new stock, or with another form or number."""
    sku = shop.sale(stock=5)
    with Events(server, f"?sku={sku}") as events:
        assert events.event()["data"]["stock"] == 5
        for count in (1, 2):
            shop.buy_well(sku)
            number, _, text = events.message()
            assert (number, text) == (1 + count, '{"type":"stock-update","data":{"sku":"%s","stock":%d}}'
                % (sku, 5 - count))


def test_last_purchase_tells_stock_and_end(server, shop):
    """The last purchase is not told as stock 0 and then the end for SOLD_OUT."""
    sku = shop.sale(stock=2)
    with Events(server, f"?sku={sku}") as events:
        events.event()
        shop.buy_well(sku)
        shop.buy_well(sku)
        seen = [events.message() for _ in range(2)]
        if seen[0][1]["data"]["stock"] == 1:
            seen = [seen[1], events.message()]
        assert seen[0][1] == {"type": "stock-update", "data": {"sku": sku, "stock": 0}}
        assert seen[1][1] == {"type": "state-change", "data": {"sku": sku, "state": "ENDED", "reason": "SOLD_OUT"}}
        assert seen[1][0] == seen[0][0] + 1


@in_time(0.4)
def test_start_and_end_are_told(server, shop):
    """The start or the end of a sale by its time is not told."""
    sku = new_sku()
    shop.create(shop.body(sku, start=400, end=1200))
    with Events(server, f"?sku={sku}") as events:
        assert events.event()["data"]["state"] == "UPCOMING"
        number, event, text = events.message()
        assert (number, text) == (2, '{"type":"state-change","data":{"sku":"%s","state":"ACTIVE"}}' % sku)
        assert events.message()[:2] == (3, {"type": "state-change",
            "data": {"sku": sku, "state": "ENDED", "reason": "TIME_EXPIRED"}})


def test_sale_in_the_past_starts_and_ends(server, shop):
    """A sale that was over before it was made is not told as started and ended."""
    sku = new_sku()
    with Events(server, f"?sku={sku}") as events:
        events.event()
        shop.create(shop.body(sku, start=-2 * MINUTE_MS, end=-MINUTE_MS))
        assert events.event()["data"] == {"sku": sku, "state": "ACTIVE"}
        assert events.event()["data"] == {"sku": sku, "state": "ENDED", "reason": "TIME_EXPIRED"}


def test_only_the_asked_sku_is_told(server, shop):
    """A listener hears of another sale."""
    mine, other = shop.sale(), shop.sale()
    with Events(server, f"?sku={mine}") as events:
        events.event()
        shop.buy_well(other)
        shop.buy_well(mine)
        shop.buy_well(other)
        assert events.event() == {"type": "stock-update", "data": {"sku": mine, "stock": 9}}


def test_refusals_and_admin_changes_are_not_told(server, shop):
    """Refused purchases, or POST, PUT and DELETE of a product, make messages."""
    sku, user = shop.upcoming(), new_user()
    with Events(server, f"?sku={sku}") as events:
        events.event()
        shop.buy(sku, user)
        shop.put(sku, {"initialStock": 8})
        shop.create(shop.body(sku, stock=9, start=MINUTE_MS))
        shop.delete(sku)
        shop.create(shop.body(sku, stock=6))
        assert events.message()[:2] == (2, {"type": "state-change", "data": {"sku": sku, "state": "ACTIVE"}})
        shop.buy(sku, user)  # limited
        shop.buy_well(sku)
        assert events.event() == {"type": "stock-update", "data": {"sku": sku, "stock": 5}}


def test_every_listener_counts_for_itself(server, shop):
    """Listeners share their numbers, or one of them misses what another hears."""
    sku = shop.sale()
    with Events(server, f"?sku={sku}") as first:
        first.event()
        shop.buy_well(sku)
        assert first.message()[:2] == (2, {"type": "stock-update", "data": {"sku": sku, "stock": 9}})
        with Events(server, f"?sku={sku}") as second:
            number, event, _ = second.message()
            assert (number, event["data"]["stock"]) == (1, 9)
            shop.buy_well(sku)
            assert [events.message()[:2] for events in (first, second)] == [
                (n, {"type": "stock-update", "data": {"sku": sku, "stock": 8}}) for n in (3, 2)]


def test_product_names_do_not_break_the_stream(server, shop):
    """A line break in the product's name breaks the message."""
    sku = shop.sale(name='a\n\nb\r\nid: 7 "é')
    with Events(server, f"?sku={sku}") as events:
        assert events.event()["data"]["productName"] == 'a\n\nb\r\nid: 7 "é'


# --- ours on top (section 17) ---

def test_resume_goes_on_counting(server, shop):
    """After Last-Event-ID the ids start again, or the present state is not sent first."""
    sku = shop.sale(stock=4)
    shop.buy_well(sku)
    with Events(server, f"?sku={sku}", {"Last-Event-ID": "41"}) as events:
        assert events.first_byte() == "\n"
        number, event, _ = events.message()
        assert (number, event["type"], event["data"]["stock"]) == (42, "initial", 3)
        shop.buy_well(sku)
        assert events.message()[0] == 43


def test_resume_tells_what_was_missed(server, shop):
    """Somebody whose connection broke during the sale does not learn the state when he comes back."""
    sku = shop.sale(stock=2)
    with Events(server, f"?sku={sku}") as events:
        last = events.message()[0]
    shop.buy_well(sku)
    shop.buy_well(sku)
    with Events(server, f"?sku={sku}", {"Last-Event-ID": str(last)}) as events:
        number, event, _ = events.message()
        assert (number, event["data"]["state"], event["data"]["stock"]) == (last + 1, "ENDED", 0)


@pytest.mark.parametrize("value", ["", "x", "-5", "1.5", "99999999999999999999999", "0x10", "1 2",
    "9223372036854775807"])
def test_strange_last_event_id_is_harmless(server, value):
    """An id that the server never gave makes an overflow, an error or no stream."""
    with Events(server, "?sku=A", {"Last-Event-ID": value}) as events:
        number, event, _ = events.message()
        assert event["type"] == "initial" and 1 <= number < 2**63


def test_heartbeat_is_a_comment(start_server, shop_of):
    """A quiet stream gets no comment, or one that a browser takes for a message."""
    server = start_server("--sse-heartbeat", "100ms")
    sku = shop_of(server).sale()
    with Events(server, f"?sku={sku}") as events:
        events.event()
        raw = b""
        while raw.count(b":") < 3:
            raw += events.connection.read_chunk()
        for line in raw.decode().split("\n"):
            assert line == "" or line.startswith(":"), raw
        shop_of(server).buy_well(sku)
        assert events.message()[:2] == (2, {"type": "stock-update", "data": {"sku": sku, "stock": 9}})


def test_stock_updates_are_coalesced(server, shop):
    """A rush sends a listener more than ten updates a second, goes up in stock, or never tells the last state."""
    sku = shop.sale(stock=150)
    with Events(server, f"?sku={sku}") as events:
        events.event()
        begin = time.monotonic()
        for _ in range(3):
            rush(server, sku, [new_user() for _ in range(60)])
        stocks, numbers = [], []
        while True:
            number, event, _ = events.message()
            numbers.append(number)
            if event["type"] == "state-change":
                break
            stocks.append(event["data"]["stock"])
        seconds = time.monotonic() - begin
    assert event["data"] == {"sku": sku, "state": "ENDED", "reason": "SOLD_OUT"}
    assert stocks[-1] == 0 and stocks == sorted(set(stocks), reverse=True)
    assert numbers == list(range(2, 2 + len(numbers)))
    assert len(stocks) <= 10 * seconds + 2, f"{len(stocks)} updates in {seconds:.2f} s"


def test_last_state_comes_without_further_purchases(server, shop):
    """After a burst that does not sell out the last stock is kept back until somebody buys again."""
    sku = shop.sale(stock=100)
    with Events(server, f"?sku={sku}") as events:
        events.event()
        rush(server, sku, [new_user() for _ in range(30)])
        stock = 100
        while stock != 70:
            stock = events.event()["data"]["stock"]


def test_many_listeners_hear_all_of_it(server, shop):
    """With hundreds of listeners some hear nothing, or the sale gets stuck."""
    sku = shop.sale(stock=20)
    listeners = [Events(server, f"?sku={sku}") for _ in range(300)]
    try:
        for events in listeners:
            assert events.event()["data"]["stock"] == 20
        rush(server, sku, [new_user() for _ in range(40)])
        for events in listeners:
            event = events.event()
            while event["type"] != "state-change":
                event = events.event()
            assert event["data"]["reason"] == "SOLD_OUT"
    finally:
        for events in listeners:
            events.connection.close()


def test_listener_that_never_reads_does_not_slow_the_sale(start_server, shop_of):
    """A listener that stops reading holds memory or blocks buyers."""
    server = start_server("--sse-heartbeat", "20ms", "--write-timeout", "500ms", "--purchase-interval", "0")
    shop = shop_of(server)
    sku = shop.sale(stock=500)
    deaf = []
    try:
        for _ in range(20):
            connection = wire.Connection(server.port, receive_buffer=1024)
            connection.send(wire.build("GET", f"{EVENTS}?sku={sku}"))
            deaf.append(connection)
        with Events(server, f"?sku={sku}") as events:
            events.event()
            begin = now_ms()
            for _ in range(50):
                shop.buy_well(sku)
            assert now_ms() - begin < 25_000
            while events.event()["data"]["stock"] != 450:
                pass
    finally:
        for connection in deaf:
            connection.close()


def test_gone_listeners_are_noticed(start_server, shop_of):
    """Listeners that have left are kept for ever."""
    server = start_server("--sse-heartbeat", "50ms")
    shop = shop_of(server)

    def active():
        found = re.search(r"^sse_connections_active(?:\{\})? ([0-9.e+]+)$", shop.ask("GET", "/metrics").text, re.M)
        return float(found[1])

    listeners = [Events(server, "?sku=A") for _ in range(10)]
    wire.wait_for(lambda: active() == 10, "ten listeners are counted")
    for events in listeners:
        events.connection.close()
    wire.wait_for(lambda: active() == 0, "no listener is counted any more")


def test_listeners_during_concurrent_sales(server):
    """With several sales at once events get lost or mixed up."""
    shops = [Shop(server) for _ in range(4)]
    skus = [shop.sale(stock=6) for shop in shops]
    listeners = [Events(server, f"?sku={sku}") for sku in skus]
    for events in listeners:
        events.event()

    def sell(shop, sku):
        for _ in range(6):
            shop.buy_well(sku)

    threads = [threading.Thread(target=sell, args=pair) for pair in zip(shops, skus)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sku, events in zip(skus, listeners):
        stock = 6
        while True:
            event = events.event()
            assert event["data"]["sku"] == sku
            if event["type"] == "state-change":
                break
            assert event["data"]["stock"] < stock
            stock = event["data"]["stock"]
        assert stock == 0
        events.connection.close()
    for shop in shops:
        shop.close()
