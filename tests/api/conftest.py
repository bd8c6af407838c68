# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of the tests that run against the real binary.

    DOORBUSTER_BIN          the binary under test, by default build/doorbuster; best one built with sanitizers
    DOORBUSTER_RELEASE_BIN  the one whose memory is measured, by default build/doorbuster
    DOORBUSTER_TEST_POSTGRES  the address of a PostgreSQL server for all tests; by default one of our own is started

Tests that need a store run on each kind of it (stores.py), but for those marked `embedded`. What cannot be had here is
left out in silence: tests/services/test_services.py says so, once.

`server` is one server for all tests that do not hurt it; `start_server` starts servers of a test's own.
"""
import contextlib
import faulthandler
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import services
import stores
from ordering import Orders, Provider
from server import Server, binary
from shop import Shop

TEST_SECONDS_MAX = 120


def share_of(text):
    """(K, N) of "K/N"."""
    part, count = map(int, text.split("/"))
    if not 1 <= part <= count:
        raise ValueError(text)
    return part, count


def pytest_addoption(parser):
    parser.addoption("--on", choices=["postgres", "others"], help="only the tests on PostgreSQL, or all others: two"
        " parts that may run at once")
    parser.addoption("--share", type=share_of, metavar="K/N", help="only the K-th of N shares of the test files, which"
        " may run at once")


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): this test may take n seconds rather than 120")
    config.addinivalue_line("markers", "embedded: about the file, or about nothing that the kind of store could change;"
        " runs on the embedded store only")
    config.addinivalue_line("markers", "needs(name, ...): left out where one of these services cannot be had")


def kinds():
    """The kinds of store that can be had here."""
    return [kind for kind, service in stores.KINDS.items() if service is None or services.can_have(service)]


def pytest_generate_tests(metafunc):
    if "store_kind" in metafunc.fixturenames:
        is_embedded = metafunc.definition.get_closest_marker("embedded") is not None
        metafunc.parametrize("store_kind", ["sqlite"] if is_embedded else kinds(), indirect=True, scope="session")


def pytest_collection_modifyitems(config, items):
    """The most basic tests first, those that kill servers last; all on one kind of store before the next."""
    leave_out(config, items)
    order = ["contracts_doc", "flash_sale", "orders", "ops", "sse", "http_hostile", "shutdown", "disk", "idle", "crash"]

    def rank(item):
        name = Path(str(item.fspath)).stem
        kind = item.callspec.params.get("store_kind", "") if hasattr(item, "callspec") else ""
        return (list(stores.KINDS).index(kind) if kind else 0,
            next((index for index, word in enumerate(order) if word in name), len(order)))

    items.sort(key=rank)


def leave_out(config, items):
    """Removes what needs a service that is not there, and what --on and --share do not ask for."""
    wanted = config.getoption("--on")
    part, count = config.getoption("--share") or (1, 1)
    files = sorted({str(item.fspath) for item in items})

    def is_out(item):
        if files.index(str(item.fspath)) % count != part - 1:
            return True
        needed = {name for mark in item.iter_markers("needs") for name in mark.args}
        kind = item.callspec.params.get("store_kind") if hasattr(item, "callspec") else None
        is_on_postgres = kind == "postgres" or "postgres" in needed
        return not all(map(services.can_have, needed)) or (wanted is not None and
            is_on_postgres != (wanted == "postgres"))

    out = [item for item in items if is_out(item)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if not is_out(item)]


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


@pytest.fixture(scope="session")
def shared_postgres():
    """A PostgreSQL server that nobody hurts (services.Database)."""
    with contextlib.ExitStack() as stack:
        yield stores.shared_postgres(stack)


@pytest.fixture
def start_postgres():
    """start_postgres(**settings): one more server, for a test that hurts it; gone at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(services.Postgres(**settings))


@pytest.fixture(scope="session")
def store_kind(request, tmp_path_factory):
    """Makes stores of one kind; every test that needs a store runs on each kind."""
    if request.param == "sqlite":
        return lambda: stores.SqliteStore(tmp_path_factory.mktemp("store"))
    server = request.getfixturevalue("shared_postgres")
    return lambda: stores.PostgresStore(tmp_path_factory.mktemp("store"), server)


@pytest.fixture
def store(store_kind):
    """store() is a new, empty one, discarded after the test."""
    made = []

    def make():
        made.append(store_kind())
        return made[-1]

    yield make
    for each in made:
        each.discard()


class SharedServer:
    """Starts again when a test has killed it, so that one failure stays one failure."""

    def __init__(self, make_store, *arguments):
        self.make_store = make_store
        self.arguments = arguments
        self.server = None

    def get(self):
        if self.server is None or not self.server.is_running():
            # Several net threads also on a small machine, which would get only one by itself.
            self.server = Server(self.make_store(), ["--net-threads", "3", *self.arguments]).start()
        return self.server


@pytest.fixture(scope="session")
def shared_server(store_kind):
    shared = SharedServer(store_kind)
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


@pytest.fixture(scope="session")
def shared_order_server(store_kind):
    shared = SharedServer(store_kind, "--payment-time", "20ms")
    yield shared
    if shared.server is not None and shared.server.is_running():
        shared.server.stop()


@pytest.fixture
def orders(shared_order_server):
    """A client of a shared server whose payments are quick, alive and silent after the test."""
    server = shared_order_server.get()
    client = Orders(server)
    yield client
    client.close()
    server.check_silence()
    assert server.is_running(), f"the server died in this test: {server.process.returncode}\n{server.err.text()}"


@pytest.fixture
def orders_of():
    """orders_of(server): a client of that server's orders, closed at the end."""
    clients = []

    def open_client(server):
        clients.append(Orders(server))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture
def start_provider():
    """start_provider(answer) starts a payment provider, gone at the end."""
    providers = []

    def start(*arguments):
        providers.append(Provider(*arguments))
        return providers[-1]

    yield start
    for provider in providers:
        provider.close()


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
