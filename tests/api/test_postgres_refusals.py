# SPDX-License-Identifier: Apache-2.0
"""
A PostgreSQL that does not let a node in, is not what it needs, or is in trouble: at the start one clear line and
status 3, while serving 503 with Retry-After; nothing half-done, no password shown, and back by itself.
"""
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import services
import wire
from nodes import (ANSWER_SECONDS, NodeDatabase, RECOVERY_SECONDS, UNLIMITED, buy, check_acknowledged, expect_away,
    is_ready, new_sale, number_in, postgres, start_nodes, start_proxy, start_standby, verb)  # noqa: F401 (fixtures)
from server import Server, log_entry
from services.postgres import PASSWORD, SUPERUSER, SUPERUSER_PASSWORD
from shop import new_user

pytestmark = pytest.mark.needs("postgres")

EXIT_UNAVAILABLE = 3
START_SECONDS = 60
SCHEMA = Path(__file__).resolve().parents[2] / "src/store/schema/postgres_001.sql"
POOR_PASSWORD = "dev-password-3"


@pytest.fixture
def database(postgres, tmp_path):
    return NodeDatabase(postgres, tmp_path)


def expect_no_start(place, *words, seconds=START_SECONDS):
    """serve refuses: status 3, one line of error that has all those words, no password; the line."""
    server = Server(place, UNLIMITED).launch()
    began = time.monotonic()
    try:
        status = server.wait_exit(seconds)
    finally:
        server.discard()
    server.check_silence()
    text = server.err.text()
    assert status == EXIT_UNAVAILABLE, (status, text)
    lines = [line for line in text.splitlines() if line]
    assert len(lines) == 1, text
    entry = log_entry(lines[0])
    said = entry["message"] if entry else lines[0]
    for word in words:
        assert word in said, f"it should say {word!r}: {said}"
    for secret in (PASSWORD, SUPERUSER_PASSWORD, POOR_PASSWORD):
        assert secret not in text, text
    assert "wrong-password" not in text, text
    print(f"{time.monotonic() - began:.2f} s: {said}")
    return said


def trouble(node):
    """What a node that is not ready says is wrong, without any password."""
    reply = wire.ask(node.port, "GET", "/readyz?verbose")
    assert reply.status == 503 and int(reply.header("retry-after")) >= 1, reply
    assert PASSWORD not in reply.text + node.err.text()
    return reply.json()["lastError"]


# --- at the start ---

def test_start_with_a_wrong_password(database, postgres):
    """The reason is hidden, or the password is in the log."""
    place = database.by(postgres.url(database.name, password="wrong-password"))
    expect_no_start(place, "password", database.name)


def test_start_without_a_server(database, postgres):
    """Nobody listens there, or there is no such host: it hangs, or says something else."""
    expect_no_start(database.by(postgres.url(database.name, port=services.free_port())), "is PostgreSQL running")
    url = postgres.url(database.name).replace("127.0.0.1", "no-such-host.invalid")
    expect_no_start(database.by(url), "no-such-host.invalid", seconds=90)


def test_start_where_nobody_answers(database, start_proxy):
    """A firewall that swallows everything keeps a start waiting for ever."""
    proxy = start_proxy(database.postgres.port)
    proxy.blackhole()
    expect_no_start(database.through(proxy), "no answer in time")


def test_start_without_a_database_or_tables(postgres, tmp_path):
    """A database that is not there, or empty, is not told apart, or a server makes the tables by itself."""
    empty = NodeDatabase(postgres, tmp_path, is_migrated=False)
    expect_no_start(empty.by(postgres.url("no_such_database")), "no such database", "createdb")
    expect_no_start(empty, "doorbuster migrate --store")
    assert empty.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    status, _, said = verb("migrate", "--store", empty.argument)
    assert status == 0, said


def test_start_with_another_schema(database, start_nodes):
    """A server works on tables of another version, or changes them."""
    (version,), = database.rows("SELECT version FROM doorbuster_schema")
    database.rows("UPDATE doorbuster_schema SET version = version + 1")
    expect_no_start(database, f"have version {version + 1}", "use the newer one")
    assert database.rows("SELECT version FROM doorbuster_schema") == [(version + 1,)]
    if version > 1:
        database.rows("UPDATE doorbuster_schema SET version = 1")
        expect_no_start(database, "have version 1", "doorbuster migrate")
    database.rows("UPDATE doorbuster_schema SET version = %s", version)
    node, = start_nodes(database)
    assert is_ready(node)


def test_start_with_older_tables(database):
    """Tables that are older than the program are used as they are."""
    database.rows("UPDATE doorbuster_schema SET version = 0")
    said = expect_no_start(database, "doorbuster_schema")
    assert "version" in said


def test_start_with_the_tables_of_somebody_else(postgres, tmp_path):
    """A table that doorbuster has not made is taken for one of its own."""
    strange = NodeDatabase(postgres, tmp_path, is_migrated=False)
    strange.rows("CREATE TABLE products (id int)")
    expect_no_start(strange, "doorbuster has not made them")
    status, _, said = verb("migrate", "--store", strange.argument)
    assert status != 0 and "doorbuster has not made them" in said
    assert strange.rows("SELECT count(*) FROM products") == [(0,)]


def test_start_where_not_every_name_fits(postgres, tmp_path):
    """A node sells until the first buyer whose name has no place in the database, then to nobody."""
    postgres.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    for script in ("CREATE TABLE doorbuster_schema (version integer)", "INSERT INTO doorbuster_schema VALUES (1)",
            SCHEMA.read_text()):
        postgres.sql(script, database="latin")
    place = NodeDatabase(postgres, tmp_path, is_migrated=False).by(postgres.url("latin"))
    expect_no_start(place, "latin has the encoding LATIN1, expected UTF8", "ENCODING 'UTF8'")
    postgres.drop_database("latin")


def test_start_without_rights(database, postgres):
    """A role that may connect and no more is let on until its first purchase."""
    role = f"poor_{database.name}"
    postgres.super_sql(f"CREATE ROLE {role} LOGIN PASSWORD '{POOR_PASSWORD}'")
    try:
        place = database.by(postgres.url(database.name, user=role, password=POOR_PASSWORD))
        expect_no_start(place, "no right")
    finally:
        postgres.super_sql(f"DROP ROLE {role}")


def test_start_on_a_standby(start_postgres, start_standby, start_nodes, tmp_path):
    """A node serves from a standby, whose first purchase must fail."""
    primary = start_postgres()
    database = NodeDatabase(primary, tmp_path)
    standby = start_standby(primary)
    expect_no_start(database.by(standby.url(database.name)), "read-only", "target_session_attrs=read-write")
    database.rows(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    expect_no_start(database, "read-only")
    database.postgres.super_sql(f"ALTER DATABASE {database.name} RESET default_transaction_read_only")
    node, = start_nodes(database)
    assert is_ready(node)


# --- no connection is left ---

class Hog:
    """Takes every connection that the server has for ordinary users."""

    def __init__(self, database):
        self.connections = []
        refused = services.postgres.driver().OperationalError
        while True:
            try:
                self.connections.append(database.postgres.connect(database.name))
            except refused as refusal:
                assert "connection slots" in str(refusal) or "too many clients" in str(refusal), refusal
                return

    def release(self):
        while self.connections:
            self.connections.pop().close()


def test_all_connections_are_taken(start_postgres, start_nodes, start_proxy, tmp_path):
    """max_connections is reached, at the start or later: a node hangs, dies, or does not come back by itself."""
    postgres = start_postgres(max_connections=20)
    database, proxy = NodeDatabase(postgres, tmp_path), start_proxy(postgres.port)
    hog = Hog(database)
    expect_no_start(database, "all connections that it allows are taken", "max_connections")
    hog.release()
    node, = start_nodes(database.through(proxy))
    sku = new_sale(node, 100)
    hog = Hog(database)
    assert number_in(buy(node, sku, "has-its-own")[0])  # a node keeps what it has
    proxy.refuse()
    hog_more = Hog(database)
    proxy.heal()
    # Its places are taken by others, as when an administrator has ended all connections.
    wire.wait_for(lambda: buy(node, sku, "no-place", "no-place")[0].status == 503, "sent away")
    said = wire.wait_for(lambda: not is_ready(node) and "connections" in (said := trouble(node)) and said, "says why")
    print(said)
    reply, seconds = buy(node, sku, "no-place", "no-place")
    expect_away(reply)
    assert seconds < ANSWER_SECONDS
    hog.release(), hog_more.release()
    since = time.monotonic()
    wire.wait_for(lambda: number_in(buy(node, sku, "no-place", "no-place")[0]), "back", RECOVERY_SECONDS)
    print(f"back after {time.monotonic() - since:.2f} s")
    assert len(database.purchases(sku)) == 2


def test_connections_are_ended_by_an_administrator(database, postgres, start_nodes):
    """pg_terminate_backend on all connections, while nothing is under way, costs a purchase."""
    node, = start_nodes(database)
    sku = new_sale(node, 100)
    for turn in range(10):
        assert postgres.super_sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s",
            database.name)[0][0] > 0
        reply, _ = buy(node, sku, f"cut-{turn}", f"cut-{turn}")
        if number_in(reply) is None:
            expect_away(reply)
            wire.wait_for(lambda: number_in(buy(node, sku, f"cut-{turn}", f"cut-{turn}")[0]), "back", RECOVERY_SECONDS)
        wire.wait_for(lambda: is_ready(node), "ready", RECOVERY_SECONDS)
    assert len(database.purchases(sku)) == 10


# --- while serving ---

def test_row_that_somebody_holds(database, postgres, start_nodes):
    """A transaction that holds a product's row makes its buyers hang, or keeps other products from being sold."""
    a, b = start_nodes(database, 2)
    held, free = new_sale(a, 10, "HELD", [b]), new_sale(a, 1000, "FREE", [b])
    holder = postgres.connect(database.name)
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("SELECT 1 FROM products WHERE sku = %s FOR UPDATE", (held,))
        reply, seconds = buy(a, held, "waits", "waits")
        expect_away(reply, ("SERVICE_UNAVAILABLE",))
        assert 1.0 < seconds < ANSWER_SECONDS, seconds
        a.wait_log(lambda entry: "another transaction holds the rows for too long" in entry["message"], "why")
        assert number_in(buy(b, free, "other-node")[0]), "a node that nobody keeps waiting sells"
        user, since = new_user("same-node"), time.monotonic()
        wire.wait_for(lambda: number_in(buy(a, free, user, user)[0]), "the same node sells other things")
        print(f"sent away after {seconds:.2f} s; other products sold {time.monotonic() - since:.2f} s later")
    holder.rollback()
    holder.close()
    wire.wait_for(lambda: number_in(buy(a, held, "waits", "waits")[0]), "sold when it is free", RECOVERY_SECONDS)
    assert [user for _, user, _ in database.purchases(held)] == ["waits"]
    database.verify()


def test_tables_that_vanish_while_serving(database, start_nodes):
    """A node whose tables are gone, or are another version's, dies or confirms purchases."""
    node, = start_nodes(database)
    sku = new_sale(node, 10)
    assert number_in(buy(node, sku, "first")[0])
    database.rows("ALTER TABLE purchase_log RENAME TO purchase_log_away")
    reply = wire.wait_for(lambda: (reply := buy(node, sku, "second", "second")[0]).status == 503 and reply, "sent away")
    expect_away(reply)
    database.rows("ALTER TABLE purchase_log_away RENAME TO purchase_log")
    wire.wait_for(lambda: number_in(buy(node, sku, "second", "second")[0]), "back", RECOVERY_SECONDS)
    assert database.stock(sku) == (10, 8) and len(database.purchases(sku)) == 2


def test_database_that_becomes_read_only(start_postgres, start_nodes, tmp_path):
    """The server turns read-only under a node: it confirms, dies, or stays away for good."""
    postgres = start_postgres()
    database = NodeDatabase(postgres, tmp_path)
    node, = start_nodes(database)
    sku = new_sale(node, 10)
    postgres.set(default_transaction_read_only="on")
    reply = wire.wait_for(lambda: (reply := buy(node, sku, "only", "only")[0]).status == 503 and reply, "sent away")
    expect_away(reply, ("SERVICE_UNAVAILABLE",))
    print(wire.wait_for(lambda: not is_ready(node) and trouble(node), "says why"))
    assert database.purchases(sku) == []
    writer = postgres.connect(user=SUPERUSER, password=SUPERUSER_PASSWORD)
    with writer.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute("ALTER SYSTEM RESET default_transaction_read_only")
        cursor.execute("SELECT pg_reload_conf()")
    writer.close()
    wire.wait_for(lambda: number_in(buy(node, sku, "only", "only")[0]), "back", RECOVERY_SECONDS)
    assert len(database.purchases(sku)) == 1


# --- its disk is full ---

@pytest.fixture
def small_disk(tmp_path_factory):
    """A file system of 160 MB for a PostgreSQL and nothing else."""
    place = tmp_path_factory.mktemp("small")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=755", "doorbuster-test", str(place)],
        capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here (needs root): {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path):
    """Writes until there is no room."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                pass


def test_full_disk_of_the_database(small_disk, start_postgres, start_nodes, tmp_path, monkeypatch):
    """PostgreSQL's disk is full: a purchase is confirmed that is not there, the node hangs or dies, or it takes a
    restart when there is room again."""
    for parent in (small_disk, *small_disk.parents):
        parent.chmod(parent.stat().st_mode | 0o011)
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    postgres = start_postgres(max_wal_size="64MB", min_wal_size="32MB", shared_buffers="16MB")
    monkeypatch.undo()
    database = NodeDatabase(postgres, tmp_path)
    node, = start_nodes(database)
    sku, told, unsure = new_sale(node, 100_000), {}, []
    fill(small_disk / "ballast")
    began, index = time.monotonic(), 0

    def until_trouble():
        nonlocal index
        while time.monotonic() - began < 40:
            index += 1
            user = f"disk-{index}-" + "x" * 200
            reply, seconds = buy(node, sku, user, user)
            assert seconds < ANSWER_SECONDS
            if number_in(reply) is None:
                unsure.append(user)
                return reply
            told[user] = number_in(reply)
        raise AssertionError(f"no trouble after {index} purchases on a full disk")

    expect_away(until_trouble())
    said = wire.wait_for(lambda: not is_ready(node) and trouble(node), "says why")
    print(f"{index} purchases until the disk was full: {said}")
    expect_away(buy(node, sku, "later", "later")[0])
    (small_disk / "ballast").unlink()
    if not postgres.is_running():
        postgres.start()  # without room for its log the server ends; somebody starts it again
    since = time.monotonic()
    for user in [*unsure, "later"]:
        told[user] = wire.wait_for(lambda: number_in(buy(node, sku, user, user)[0]), "back", 30)
    print(f"back after {time.monotonic() - since:.2f} s")
    check_acknowledged(database, sku, told)
    assert len(database.purchases(sku)) == len(told)
    database.verify()
