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
from waiting import STILL, Line

TEST_SECONDS_MAX = 120


def pytest_addoption(parser):
    parser.addoption("--on", choices=["postgres", "others"], help="only the tests on PostgreSQL, or all others: two"
        " parts that may run at once")
    parser.addoption("--among", type=Path, metavar="DIRECTORY", help="one of several runs that share the tests out:"
        " each takes the next file that none of them has, and notes it in this directory, empty at first")


def pytest_configure(config):
    if config.getoption("--among"):
        config.pluginmanager.register(Taker(config.getoption("--among")))
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


def kind_of(item):
    """The kind of store that a test runs on, None when it needs none of a certain kind."""
    return item.callspec.params.get("store_kind") if hasattr(item, "callspec") else None


def round_of(item):
    """The tests run in rounds, one for each kind of store; what needs none is in the first."""
    return list(stores.KINDS).index(kind_of(item) or "sqlite")


# Words of the names of test files in the order in which they run: the most basic ones; those that take longest, so
# that of several runs that share the files out none ends long after the others; those that kill servers last.
ORDER = ["contracts_doc", "flash_sale", "nodes", "rush_orders", "provider", "rush", "intake_sink", "closeout", "outbox",
    "orders", "ops", "sse", "http_hostile", "shutdown", "disk", "idle", "crash"]


def pytest_collection_modifyitems(config, items):
    """In ORDER, in rounds."""
    leave_out(config, items)

    def rank(item):
        name = Path(str(item.fspath)).stem
        return round_of(item), next((index for index, word in enumerate(ORDER) if word in name), len(ORDER))

    items.sort(key=rank)


def leave_out(config, items):
    """Removes what needs a service that is not there, and what --on does not ask for."""
    wanted = config.getoption("--on")

    def is_out(item):
        needed = {name for mark in item.iter_markers("needs") for name in mark.args}
        is_on_postgres = kind_of(item) == "postgres" or "postgres" in needed
        return not all(map(services.can_have, needed)) or (wanted is not None and
            is_on_postgres != (wanted == "postgres"))

    out = [item for item in items if is_out(item)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if not is_out(item)]


class Taker:
    """Takes tests among several runs (--among): what a file has in a round, in the order in which all stand. Tests that
    share a module are never split, so that whatever test comes next in line, ours or not, a module is torn down."""

    def __init__(self, directory):
        self.directory = directory
        self.is_ours = {}  # note: whether we were the first to make it

    def take(self, item):
        note = f"{Path(str(item.fspath)).name}-{round_of(item)}"
        if note not in self.is_ours:
            try:
                (self.directory / note).touch(exist_ok=False)
                self.is_ours[note] = True
            except FileExistsError:
                self.is_ours[note] = False
        return self.is_ours[note]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        """True, which is "done", for what another run has taken."""
        return None if self.take(item) else True


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


@pytest.fixture(scope="session")
def shared_line_server(store_kind):
    shared = SharedServer(store_kind, *STILL)
    yield shared
    if shared.server is not None and shared.server.is_running():
        shared.server.stop()


@pytest.fixture
def line(shared_line_server):
    """A client of a shared server whose machines and tickets do nothing by themselves: there are none, and nobody is in
    the line, before the test and after it. Alive and silent after the test."""
    server = shared_line_server.get()
    line = Line(server)
    yield line
    server.check_silence()
    assert server.is_running(), f"the server died in this test: {server.process.returncode}\n{server.err.text()}"
    line.clear()
    line.close()


@pytest.fixture
def line_of(start_server):
    """line_of(*arguments): a client of a server of the test's own with these, or with STILL."""
    lines = []

    def start(*arguments, on=None):
        lines.append(Line(start_server("--net-threads", "2", *(arguments or STILL), on=on)))
        return lines[-1]

    yield start
    for line in lines:
        line.close()


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
