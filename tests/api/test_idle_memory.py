# SPDX-License-Identifier: Apache-2.0
"""What ten thousand customers cost who hold a connection and say nothing. Measured on the release binary: a
sanitizer's shadow is not the server's memory."""
import resource
import selectors
import socket
import subprocess
import time

import pytest

import wire
from server import ROOT, release_binary
from shop import EVENTS, SALES

CONNECTIONS = 10_000
BYTES_MAX = 64 << 20

# It costs the network threads, not the store.
pytestmark = pytest.mark.embedded


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the hard limit of open files is {hard}, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_and_ask(port, count, request):
    """Connections that have each made one request and read its reply."""
    connections, selector = [], selectors.DefaultSelector()
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), 20)
        connection.sendall(request)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
        connections.append(connection)
    waiting = count
    while waiting:
        ready = selector.select(60)
        assert ready, f"{waiting} of {count} got no reply"
        for key, _ in ready:
            text = key.fileobj.recv(4096)
            assert text.startswith(b"HTTP/1.1 200"), text
            selector.unregister(key.fileobj)
            waiting -= 1
    selector.close()
    return connections


@pytest.mark.seconds(240)  # builds when needed
def test_10000_idle_connections_cost_less_than_64_mib(start_server, shop_of, many_files):
    """Idle keep-alive connections hold their buffers."""
    if not release_binary().exists():
        subprocess.run([ROOT / "script" / "build"], check=True)
    server = start_server(program=release_binary())
    shop = shop_of(server)
    sku = shop.sale(stock=5)
    before = server.rss_bytes()
    request = wire.build("GET", f"{SALES}?sku={sku}")
    connections = []
    try:
        for _ in range(CONNECTIONS // 500):
            connections += open_and_ask(server.port, 500, request)
        assert len(connections) == CONNECTIONS
        held = server.rss_bytes() - before
        print(f"{CONNECTIONS} idle connections hold {held / 1024:.0f} KiB, {held // CONNECTIONS} bytes each")
        assert held < BYTES_MAX, f"{held >> 20} MiB"
        shop.buy_well(sku)
        for connection in connections[::1000]:  # they are still served
            connection.setblocking(True)
            connection.sendall(request)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        for connection in connections:
            connection.close()
    wire.wait_for(server.is_ready, "ready")
    shop.buy_well(sku)


def sell(shop, sku, count):
    """Seconds that each of so many purchases takes, one after the other."""
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        shop.buy_well(sku)
        seconds.append(time.monotonic() - began)
    return sorted(seconds)


@pytest.mark.seconds(240)
def test_10000_listeners_do_not_slow_a_sale(start_server, shop_of, many_files):
    """Ten thousand listeners make purchases slow, or some of them do not hear the end."""
    server = start_server(program=release_binary())
    shop = shop_of(server)
    alone = sell(shop, shop.sale(stock=1000), 300)
    sku = shop.sale(stock=1000)
    request = wire.build("GET", f"{EVENTS}?sku={sku}")
    listeners = []
    try:
        for _ in range(CONNECTIONS // 500):
            listeners += open_and_ask(server.port, 500, request)
        crowded = sell(shop, sku, 1000)
        print(f"a purchase takes {alone[150] * 1000:.2f} ms alone, {crowded[500] * 1000:.2f} ms with {CONNECTIONS} "
            f"listeners; the slowest {alone[-1] * 1000:.0f} and {crowded[-1] * 1000:.0f} ms")
        assert crowded[500] < max(5 * alone[150], 0.02)
        assert crowded[990] < 2.0 and crowded[-1] < 10.0, crowded[990:]
        for listener in listeners[::100]:
            listener.setblocking(True)
            listener.settimeout(60)
            text = b""
            while b'"reason":"SOLD_OUT"' not in text:
                data = listener.recv(65536)
                assert data, "the stream ended before the sale"
                text += data
            assert b'"stock":0}' in text
    finally:
        for listener in listeners:
            listener.close()
    wire.wait_for(server.is_ready, "ready")
