# SPDX-License-Identifier: Apache-2.0
"""
The instruments of the other tests: a proxy that lets everything through, or a standby that is none, would make their
findings worthless. Also the one place that says what cannot be tested here because something is not installed.
"""
import hashlib
import os
import socket
import statistics
import threading
import time

import pytest

import services

LARGE_BYTES = 64 << 20


@pytest.mark.parametrize("name", list(services.CHECKS))
def test_service_can_be_had(name):
    """All tests that need this service are left out."""
    try:
        services.CHECKS[name]()
    except services.Missing as missing:
        pytest.skip(f"everything on {name} is left out: {missing}")


class Echo:
    """A server that sends back what it gets."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # the listener is closed: the test is over
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while data := connection.recv(1 << 18):
                    connection.sendall(data)
            except OSError:
                pass  # cut by the test


@pytest.fixture
def echo():
    echo = Echo()
    yield echo
    echo.listener.close()


def dial(proxy):
    connection = socket.create_connection(("127.0.0.1", proxy.port), 60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def receive(connection, size):
    """The hash of the next bytes."""
    got, seen = 0, hashlib.sha256()
    while got < size:
        data = connection.recv(min(1 << 18, size - got))
        assert data, f"closed after {got} bytes of {size}"
        got += len(data)
        seen.update(data)
    return seen.digest()


def test_delay_is_a_line_not_a_pause(echo):
    """The delay is wrong, or is paid per chunk rather than once."""
    with services.TcpProxy(echo.port, delay_ms={"to_server": 15, "to_client": 5}) as proxy, dial(proxy) as connection:
        times = []
        for _ in range(30):
            start = time.monotonic()
            connection.sendall(b"ping")
            receive(connection, 4)
            times.append(time.monotonic() - start)
        assert 0.0199 < min(times) < 0.030 and statistics.median(times) < 0.2, times
        start = time.monotonic()
        for _ in range(500):
            connection.sendall(b"x" * 100)
        receive(connection, 50_000)
        assert time.monotonic() - start < 5, "500 chunks took as if each had waited"


def test_proxy_is_fast_and_loses_nothing(echo):
    """What is measured through the proxy is the proxy."""
    rates = []
    while not rates or max(rates) <= 25:
        assert len(rates) < 5, f"{max(rates):.0f} MB/s each way"
        rates.append(rate_each_way(echo, os.urandom(LARGE_BYTES)))


def rate_each_way(echo, data):
    """MB/s."""
    with services.TcpProxy(echo.port, delay_ms=1) as proxy, dial(proxy) as connection:
        start = time.monotonic()
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        assert receive(connection, LARGE_BYTES) == hashlib.sha256(data).digest()
        rate = LARGE_BYTES / 1e6 / (time.monotonic() - start)
        services.wait_for(lambda: proxy.bytes == {"to_server": LARGE_BYTES, "to_client": LARGE_BYTES}, "all is counted")
        return rate


def test_bad_networks(echo):
    """A stalled line delivers, a black hole answers, a cut or a refused connection lives."""
    with services.TcpProxy(echo.port) as proxy:
        with dial(proxy) as connection:
            proxy.stall("to_client")
            connection.sendall(b"late")
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            proxy.heal()
            connection.settimeout(60)
            receive(connection, 4)
            proxy.blackhole()
            connection.sendall(b"lost")
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            proxy.heal()
            with pytest.raises(TimeoutError):
                connection.recv(1)
            assert proxy.cut() == 1
            connection.settimeout(60)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        proxy.heal()
        with dial(proxy) as connection:
            connection.sendall(b"back")
            receive(connection, 4)


@pytest.fixture(scope="module")
def postgres():
    with services.Postgres() as server:
        yield server


if services.can_have("postgres"):
    from psycopg2 import OperationalError

    @pytest.mark.parametrize("when,is_done", [("before", False), ("sent", True), ("answered", True)])
    @pytest.mark.parametrize("then", ["cut", "hang"])
    def test_cut_at_the_commit(postgres, when, is_done, then):
        """The line is cut elsewhere than the test says, so that it tests something else."""
        name = postgres.create_database()
        postgres.sql("CREATE TABLE t (i int)", database=name)
        with services.TcpProxy(postgres.port, is_watching=True) as proxy:
            connection = postgres.connect(name, port=proxy.port)
            connection.autocommit = False
            connection.cursor().execute("INSERT INTO t VALUES (1)")
            trap = proxy.cut_at(b"COMMIT", when, then)
            if then == "hang":
                threading.Thread(target=lambda: (trap.wait(), proxy.cut()), daemon=True).start()
            with pytest.raises(OperationalError):
                connection.commit()
            trap.wait()
            services.wait_for(lambda: postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", name)
                == [(0,)], "the server has noticed")
            assert postgres.sql("SELECT count(*) FROM t", database=name) == [(int(is_done),)]
        postgres.drop_database(name)

    def test_crash_keeps_what_was_committed(postgres):
        """kill9 leaves processes behind, or the server does not recover."""
        name = postgres.create_database()
        postgres.sql("CREATE TABLE t (i int)", database=name)
        postgres.sql("INSERT INTO t VALUES (7)", database=name)
        postgres.kill9()
        postgres.start()
        assert postgres.sql("SELECT i FROM t", database=name) == [(7,)]
        assert postgres.sql("SHOW fsync") == [("on",)]

    def test_standby_has_everything():
        """A commit is acknowledged before the standby has it."""
        with services.Postgres() as primary, services.Standby(primary) as standby:
            name = primary.create_database()
            primary.sql("CREATE TABLE t (i int)", database=name)
            for number in range(100):
                primary.sql("INSERT INTO t VALUES (%s)", number, database=name)
            primary.kill9()
            standby.promote()
            assert standby.sql("SELECT count(*) FROM t", database=name) == [(100,)]
            standby.sql("INSERT INTO t VALUES (100)", database=name)
