# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of the tests that run against the real binary.

    DOORBUSTER_BIN          the binary under test, by default build/doorbuster; best one built with sanitizers
    DOORBUSTER_RELEASE_BIN  the one whose memory is measured, by default build/doorbuster

`server` is one server for all tests that do not hurt it; `start_server` starts servers of a test's own.
"""
import faulthandler
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import stores
from server import Server, binary
from shop import Shop

TEST_SECONDS_MAX = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): this test may take n seconds rather than 60")


def pytest_collection_modifyitems(items):
    """The most basic tests first, those that kill servers last."""
    order = ["contracts_doc", "flash_sale", "ops", "sse", "http_hostile", "shutdown", "disk", "idle", "crash"]

    def rank(item):
        name = Path(str(item.fspath)).stem
        return next((index for index, word in enumerate(order) if word in name), len(order))

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def time_limit(request):
    """No test hangs: after its time it fails, with the stack that it hung in."""
    mark = request.node.get_closest_marker("seconds")
    seconds = mark.args[0] if mark else TEST_SECONDS_MAX

    def expired(number, frame):
        faulthandler.dump_traceback()
        raise AssertionError(f"{request.node.name} took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session", params=["sqlite"])
def store(request, tmp_path_factory):
    """Makes stores of one kind: store() is a new, empty one. Every test that needs a store runs on each kind."""
    kind = stores.KINDS[request.param]
    return lambda: kind(tmp_path_factory.mktemp("store"))


class SharedServer:
    """Starts again when a test has killed it, so that one failure stays one failure."""

    def __init__(self, make_store):
        self.make_store = make_store
        self.server = None

    def get(self):
        if self.server is None or not self.server.is_running():
            # Several net threads also on a small machine, which would get only one by itself.
            self.server = Server(self.make_store(), ["--net-threads", "3"]).start()
        return self.server


@pytest.fixture(scope="session")
def shared_server(store):
    shared = SharedServer(store)
    yield shared
    if shared.server is not None and shared.server.is_running():
        shared.server.stop()


@pytest.fixture
def server(shared_server):
    """The shared server, alive and silent after the test."""
    server = shared_server.get()
    yield server
    server.check_silence()
    assert server.is_running(), f"the server died in this test: {server.process.returncode}\n{server.err.text()}"


@pytest.fixture
def shop(server):
    shop = Shop(server)
    yield shop
    shop.close()


@pytest.fixture
def start_server(store):
    """start_server(*arguments, store=, environment=, ...) starts one more server, ready to serve; all are stopped
    at the end, and checked, as far as the test has not done it."""
    servers = []

    def start(*arguments, on=None, **how):
        server = Server(on or store(), arguments, **how)
        servers.append(server)
        return server.start()

    start.launch = lambda *arguments, on=None, **how: servers.append(
        Server(on or store(), arguments, **how)) or servers[-1].launch()
    start.new_store = store
    yield start
    problems = []
    for server in servers:
        try:
            if server.is_running():
                server.stop()
            else:
                server.check_silence()
        except AssertionError as problem:
            problems.append(str(problem))
        finally:
            server.discard()
    assert not problems, "\n".join(problems)


@pytest.fixture
def shop_of():
    """shop_of(server): a client of that server, closed at the end."""
    shops = []

    def open_shop(server, **how):
        shops.append(Shop(server, **how))
        return shops[-1]

    yield open_shop
    for shop in shops:
        shop.close()


def pytest_report_header(config):
    started = time.strftime("%H:%M:%S")
    return f"doorbuster: {binary()} ({'there' if binary().exists() else 'MISSING'}), {started}"
