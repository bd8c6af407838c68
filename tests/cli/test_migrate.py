# SPDX-License-Identifier: Apache-2.0
"""
`doorbuster migrate` as an operator meets it: tables made once whoever asks how often, a whole store moved with every
row and no id given out twice, and a database that is as it was whenever something is not in order.
"""
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))
from postgres_books import (BINARY, GOOD, HOLDS, START_MS, USAGE, VIOLATED, WORLD, environment, make_shop,  # noqa: E402
    one_line, run, start_postgres)
from services import wait_for  # noqa: E402

PURCHASES = 100_000
EVERYTHING = ("SELECT 'p', id::text, sku FROM products UNION ALL SELECT 'l', id::text, user_id FROM purchase_log"
    " UNION ALL SELECT 'k', scope, key FROM idempotency_keys UNION ALL SELECT 's', name, next_value::text FROM"
    " sequences UNION ALL SELECT 'w', id::text, kind FROM work ORDER BY 1, 2, 3")
ITEM = '[{"product_id":"it\'\'s","quantity":2,"price":10.5}]'
HASH = "$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
# One order paid and told, one in payment, one that waits, one cancelled; one trading order executed, one cancelled.
ORDERS = f"""
INSERT INTO orders VALUES
    (50, 'paid ü', 7, 'ann@example.org', '{ITEM}', 2100, 5, 1, {START_MS + 10000}, zeroblob(16), 'completed',
        2, {START_MS}, {START_MS + 3000}, {START_MS + 3000}),
    (53, 'taken', 7, '', '{ITEM}', 2100, 0, 0, NULL, zeroblob(16), 'processing', 1, {START_MS}, {START_MS + 1}, NULL),
    (54, 'waits', 8, '', '{ITEM}', 2100, 9, 0, NULL, zeroblob(16), 'pending', 0, {START_MS}, {START_MS}, NULL),
    (55, 'gone', 8, '', '{ITEM}', 2100, 9, 0, NULL, zeroblob(16), 'cancelled', 0, {START_MS}, {START_MS + 2}, NULL);
INSERT INTO payments VALUES (50, 2100, 'paid', 2, {START_MS + 3000});
INSERT INTO notifications VALUES (51, 50, 'webhook', 'order.completed', {START_MS + 3000}, {START_MS + 3100}),
    (56, 50, 'email', 'order.completed', {START_MS + 3000}, NULL);
INSERT INTO work VALUES (53, 'payment', 'taken', 'b', {START_MS + 60000}, 1, {START_MS}),
    (54, 'payment', 'waits', 'b', {START_MS - 270000}, 0, {START_MS}),
    (56, 'email', 'ann@example.org', 'b', 253402300799000, 9, {START_MS + 3000});
INSERT INTO accounts VALUES (7, 'Ann', 'ann', 'Ann@example.org', 'ann@example.org', '', '{HASH}', {START_MS});
INSERT INTO intake_orders VALUES (1, 7, 'AAPL', 'BUY', 'LIMIT', 1, 150000000, NULL, NULL, -1, 'GTC', {START_MS}, NULL),
    (2, 7, 'AAPL', 'SELL', 'MARKET', 9223372036854775807, NULL, NULL, NULL, NULL, 'GTC', {START_MS}, NULL),
    (3, 7, 'AAPL', 'SELL', 'STOP', 1, NULL, 1, 2, NULL, 'DAY', {START_MS}, {START_MS + 5});
INSERT INTO intake_deliveries VALUES (1, 1, {START_MS + 9});
UPDATE intake_state SET sent_id = 2, executed_id = 1;
"""
# One machine in use by who had waited second, one that drains; three leases so far; one who waits, one who has left and
# one whose time was over.
MACHINES = f"""
UPDATE products SET category = 'tea', is_featured = 1, stock = stock - 2;
INSERT INTO purchase_log VALUES (60, 3, ' machine 1', 1, {START_MS + 50}), (61, 3, ' machine 1', 2, {START_MS + 50});
INSERT INTO machines VALUES
    (1, 'it''s ü', 'processing', 0, 0, 3, 2, {START_MS + 40}, {START_MS + 50}, 3, 2, 60, {START_MS + 5050}, {START_MS},
        {START_MS + 50}),
    (3, 'out', 'idle', 1, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, {START_MS}, {START_MS + 2});
INSERT INTO leases VALUES (1, 2, NULL, {START_MS}, NULL, NULL, NULL, NULL, 'deleted', {START_MS + 10}),
    (2, 1, 1, {START_MS + 20}, NULL, NULL, NULL, NULL, 'given_up', {START_MS + 40});
INSERT INTO tickets VALUES (1, 1, 'served', {START_MS + 900}, 2, 2, 1, {START_MS + 15}, {START_MS + 20}),
    (2, 0, 'served', {START_MS + 900}, 2, 3, 1, {START_MS + 16}, {START_MS + 40}),
    (3, 0, 'waiting', {START_MS + 900000000}, 3, NULL, NULL, {START_MS + 30}, NULL),
    (4, 0, 'left', {START_MS + 900}, 3, 4, NULL, {START_MS + 31}, {START_MS + 60}),
    (5, 1, 'expired', {START_MS + 70}, 4, 4, NULL, {START_MS + 55}, {START_MS + 70});
UPDATE pool SET next_machine_id = 4, next_lease_id = 4, next_ticket_id = 6;
"""
# Two with coins and one without: opened with some, bought one with them, handed on, given more.
KEYS = {account: f"{account:02x}" * 32 for account in (20, 21, 22)}
WALLETS = f"""
UPDATE products SET stock = stock - 1;
INSERT INTO purchase_log VALUES (70, 3, ' key {KEYS[20]}', 1, {START_MS + 60});
INSERT INTO accounts VALUES
    (20, ' key {KEYS[20]}', ' key {KEYS[20]}', 'Payer@example.org', 'payer@example.org', 'P. ü', '', {START_MS}),
    (21, ' key {KEYS[21]}', ' key {KEYS[21]}', 'payee@example.org', 'payee@example.org', 'it''s', '', {START_MS + 1}),
    (22, ' key {KEYS[22]}', ' key {KEYS[22]}', 'poor@example.org', 'poor@example.org', 'p', '', {START_MS + 2});
INSERT INTO wallets VALUES (20, X'{KEYS[20]}', 0, 5, {START_MS + 70}),
    (21, X'{KEYS[21]}', 999999999999999, 9, {START_MS + 80}), (22, X'{KEYS[22]}', 0, NULL, {START_MS + 2});
INSERT INTO transfers VALUES
    (1, 'opening', NULL, 20, NULL, NULL, 10000, NULL, 10000, NULL, NULL, NULL, NULL, {START_MS}),
    (2, 'opening', NULL, 21, NULL, NULL, 10000, NULL, 10000, NULL, NULL, NULL, NULL, {START_MS + 1}),
    (4, 'spend', 20, NULL, 1, NULL, 100, 9900, NULL, 3, 70, 'n-1 ü', X'{bytes(range(16)).hex()}', {START_MS + 60}),
    (5, 'transfer', 20, 21, 4, 2, 9900, 0, 19900, NULL, NULL, 'n-2', zeroblob(16), {START_MS + 70}),
    (9, 'credit', NULL, 21, NULL, 5, 999999999980099, NULL, 999999999999999, NULL, NULL, 'n-2', zeroblob(16),
        {START_MS + 80});
"""
TIMES = ("deadline", "due_at", "created_at", "updated_at", "paid_at", "delivered_at", "executed_at", "cancelled_at",
    "started_at", "chosen_at", "ended_at", "expires_at", "start_time", "end_time")
FLAGS = ("is_sync", "is_draining", "is_attached", "is_featured")
BYTES = ("fingerprint", "public_key")
VERSION = 4
TABLES = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')"


@pytest.fixture(scope="module")
def postgres():
    server = start_postgres()
    yield server
    server.remove()


@pytest.fixture
def database(postgres):
    """(name, URL) of a new, empty database."""
    name = postgres.create_database()
    yield name, postgres.url(name)
    postgres.drop_database(name)


def migrate(*arguments, expect=HOLDS):
    done = run("migrate", *arguments)
    assert done.returncode == expect, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def verify(store):
    done = run("verify", "--store", store)
    assert done.returncode == HOLDS, done.stdout + done.stderr


def spoil(path, statements):
    shop = sqlite3.connect(path)
    shop.execute("PRAGMA ignore_check_constraints = 1")
    shop.executescript(statements)
    shop.close()


def as_in_a_file(column):
    """A column of the database as the embedded store has it."""
    if column in TIMES:
        return f"(extract(epoch FROM {column}) * 1000)::bigint"
    if column in FLAGS:
        return f"{column}::int"
    return f"upper(encode({column}, 'hex'))" if column in BYTES else column


def checksums(text):
    return re.findall(r"[0-9a-f]{16} on both sides", text)


# --- the tables alone ---

def test_tables_are_made_once(postgres, database):
    """A second migrate changes something or fails; or verify and migrate disagree about the version."""
    name, url = database
    done = migrate("--store", url)
    assert done.stdout.endswith(f"/{name}: made the tables, version {VERSION}\n") and done.stdout.count("\n") == 1
    before = postgres.sql(TABLES + " ORDER BY 1", database=name)
    assert postgres.sql("SELECT version FROM doorbuster_schema", database=name) == [(VERSION,)]
    assert migrate("--store", url).stdout.endswith(f"the tables are at version {VERSION} already\n")
    assert postgres.sql(TABLES + " ORDER BY 1", database=name) == before
    environment_twin = subprocess.run([str(BINARY), "migrate"], capture_output=True, text=True, timeout=60,
        env=environment(DOORBUSTER_STORE=url))
    assert environment_twin.returncode == HOLDS and "already" in environment_twin.stdout, environment_twin.stderr


def test_two_migrations_at_once_make_one(postgres, database):
    """Two migrations run into each other, or both believe to have made the tables."""
    name, url = database
    both = [subprocess.Popen([str(BINARY), "migrate", "--store", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment()) for _ in range(6)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [HOLDS] * len(both), said
    assert sum("made the tables" in out for out, _ in said) == 1, said
    assert sum("already" in out for out, _ in said) == len(both) - 1, said
    assert postgres.sql("SELECT version FROM doorbuster_schema", database=name) == [(VERSION,)]


def test_a_migration_waits_for_another(postgres, database):
    """The lock that keeps two migrations apart is not taken."""
    _, url = database
    other = postgres.connect(database[0])
    other.autocommit = False
    other.cursor().execute("SELECT pg_advisory_xact_lock(1145197396)")
    process = subprocess.Popen([str(BINARY), "migrate", "--store", url], stdout=subprocess.PIPE, text=True,
        env=environment())
    wait_for(lambda: postgres.super_sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
        "a migration that waits")
    assert process.poll() is None
    other.rollback()
    other.close()
    assert "made the tables" in process.communicate(timeout=60)[0] and process.returncode == HOLDS


def test_foreign_and_newer_tables_are_left_alone(postgres, database):
    """Somebody else's tables are used or changed, or a newer doorbuster's are taken for ours."""
    name, url = database
    postgres.sql("CREATE TABLE products (id int)", database=name)
    one_line(migrate("--store", url, expect=WORLD), "doorbuster has not made them", "a database of its own")
    assert postgres.sql(TABLES, database=name) == [("products",)]
    postgres.sql("DROP TABLE products", database=name)
    migrate("--store", url)
    postgres.sql("UPDATE doorbuster_schema SET version = 1000", database=name)
    one_line(migrate("--store", url, expect=WORLD), "have version 1000",
        f"knows versions up to {VERSION}")
    postgres.sql(f"UPDATE doorbuster_schema SET version = {VERSION}; DROP TABLE work", database=name)
    one_line(migrate("--store", url, expect=WORLD), "has lost 1 of the 20 tables")


def test_what_keeps_it_out_is_said_in_one_line(postgres, database):
    """A refusal is no clear line, shows the password, or leaves half the tables."""
    name, url = database
    wrong = postgres.url(name, password="wrong-secret")
    one_line(migrate("--store", wrong, expect=WORLD), "password is wrong", "28P01")
    one_line(migrate("--store", postgres.url("nowhere"), expect=WORLD), "there is no such database", "3D000")
    one_line(migrate("--store", postgres.url(name, port=1), expect=WORLD), "Connection refused")
    one_line(migrate("--store", "postgres://a:b@127.0.0.1:x/y", expect=WORLD))
    for arguments in (["--store", "shop.db"], ["--store", "postgres://u:se@cret@h/x"], [], ["--from", "shop.db"],
            ["--to", url], ["--store", url, "--from", "shop.db", "--to", url],
            ["--from", url, "--to", url], ["--from", "shop.db", "--to", "other.db"]):
        done = migrate(*arguments, expect=USAGE)
        one_line(done)
        assert "cret" not in done.stderr, done.stderr
    one_line(migrate("--store", url, "--from", "shop.db", "--to", url, expect=USAGE), "--store does not go with --from")
    done = run("migrate", "--from", "no-such.db", "--to", url, DOORBUSTER_STORE=url)  # the server's: not typed here
    assert done.returncode == WORLD and "--store" not in done.stderr, done.stderr
    advice = migrate("--store", postgres.url(name, password=None), expect=WORLD)
    one_line(advice, "no password supplied")
    assert "is PostgreSQL running" not in advice.stderr, advice.stderr
    postgres.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert migrate("--store", url).returncode == HOLDS  # a default is no standby: the transaction says what it wants
    rights = postgres.create_database("rights")
    postgres.super_sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC, doorbuster", database=rights)
    postgres.super_sql("ALTER SCHEMA public OWNER TO postgres", database=rights)
    one_line(migrate("--store", postgres.url(rights), expect=WORLD), "no right", "42501")
    assert postgres.sql(TABLES, database=rights) == []
    postgres.drop_database(rights)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_is_refused(postgres, tmp_path, encoding):
    """A buyer whose name has no place in the encoding stops the sale for everybody, or verify vouches for it."""
    name = f"encoding_{encoding.lower()}"
    postgres.sql(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    make_shop(tmp_path / "shop.db", 10)
    for arguments in (["--store", postgres.url(name)], ["--from", tmp_path / "shop.db", "--to", postgres.url(name)]):
        one_line(migrate(*arguments, expect=WORLD), name, f"the encoding {encoding}, expected UTF8",
            "ENCODING 'UTF8' TEMPLATE template0")
    assert postgres.sql(TABLES, database=name) == []
    done = run("verify", "--store", postgres.url(name))
    assert done.returncode == WORLD
    one_line(done, f"the encoding {encoding}, expected UTF8")
    postgres.drop_database(name)


# --- a whole store ---

def test_a_store_is_moved_whole(postgres, database, tmp_path):
    """A row, a time or a letter is lost on the way, an id can come again, or the file has been changed."""
    name, url = database
    make_shop(tmp_path / "shop.db", PURCHASES)
    before = (tmp_path / "shop.db").read_bytes()
    done = migrate("--from", tmp_path / "shop.db", "--to", url)
    assert len(checksums(done.stdout)) == 18 and "no such table" not in done.stdout, done.stdout
    assert "COPIED" in done.stdout, done.stdout
    assert re.search(rf"purchase_log +{PURCHASES} ", done.stdout), done.stdout
    assert (tmp_path / "shop.db").read_bytes() == before
    verify(url)
    verify(tmp_path / "shop.db")
    shop = sqlite3.connect(tmp_path / "shop.db")
    kept = ("SELECT id, product_id, user_id, nth, purchased_at, purchase_no FROM purchases WHERE id % 997 = 0"
        " ORDER BY id")
    moved = kept.replace("purchased_at,", "(extract(epoch FROM purchased_at) * 1000)::bigint,")
    assert shop.execute(kept).fetchall() == postgres.sql(moved, database=name)
    shop.close()
    assert postgres.sql("SELECT product_name, end_reason, extract(epoch FROM updated_at)::text FROM products",
        database=name) == [('Grün "und" \\ blau\t1', None, "1795218421.007000")]
    key = postgres.sql("SELECT id, scope, encode(fingerprint, 'hex'), number, time, (extract(epoch FROM created_at)"
        " * 1000)::bigint FROM idempotency_keys", database=name)
    assert key == [(4, "purchase:ü", bytes(range(16)).hex(), 2, START_MS + 8, START_MS + 9)]
    assert sorted(postgres.sql("SELECT * FROM sequences", database=name)) == [
        ("accounts", 1), ("products", 4), ("purchases", PURCHASES + 100), ("transfers", 1), ("work", 2)]
    postgres.sql("INSERT INTO idempotency_keys (scope, key, fingerprint, result, number, time, created_at)"
        " SELECT scope, 'another', fingerprint, 0, 0, 1, now() FROM idempotency_keys", database=name)
    assert postgres.sql("SELECT max(id) FROM idempotency_keys", database=name) == [(5,)]
    again = migrate("--from", tmp_path / "shop.db", "--to", url, expect=WORLD)
    one_line(again, "holds 100003 rows already")


def assert_moved(postgres, name, shop, table):
    """All that the file has in this table."""
    columns = [column[1] for column in shop.execute(f"PRAGMA table_info({table})")]
    here = ", ".join(f"iif({column} IS NULL, NULL, hex({column}))" if column in BYTES else column for column in columns)
    there = ", ".join(as_in_a_file(column) for column in columns)
    assert shop.execute(f"SELECT {here} FROM {table} ORDER BY 1").fetchall() == postgres.sql(
        f"SELECT {there} FROM {table} ORDER BY 1", database=name), table


def test_orders_are_moved_with_all_that_belongs_to_them(postgres, database, tmp_path):
    """An order, its payment or who is told of it is lost on the way, an id comes again, or tokens are good no more."""
    name, url = database
    make_shop(tmp_path / "shop.db", 10)
    spoil(tmp_path / "shop.db", ORDERS)
    done = migrate("--from", tmp_path / "shop.db", "--to", url)
    assert len(checksums(done.stdout)) == 18, done.stdout
    verify(url)
    shop = sqlite3.connect(tmp_path / "shop.db")
    for table in ("orders", "payments", "notifications", "accounts", "intake_orders", "intake_deliveries", "work"):
        assert_moved(postgres, name, shop, table)
    assert shop.execute("SELECT lower(hex(value)) FROM secrets").fetchall() == postgres.sql(
        "SELECT encode(value, 'hex') FROM secrets", database=name)
    shop.close()
    assert sorted(postgres.sql("SELECT * FROM sequences WHERE name IN ('work', 'accounts')", database=name)) == [
        ("accounts", 8), ("work", 57)]
    assert postgres.sql("SELECT * FROM intake_state", database=name) == [(1, 4, 2, 1)]


def test_machines_are_moved_with_who_waits_for_one(postgres, database, tmp_path):
    """A machine, a lease or a place in the line is lost on the way, or a number is given out again."""
    name, url = database
    make_shop(tmp_path / "shop.db", 10)
    spoil(tmp_path / "shop.db", MACHINES)
    migrate("--from", tmp_path / "shop.db", "--to", url)
    verify(url)
    shop = sqlite3.connect(tmp_path / "shop.db")
    for table in ("products", "machines", "leases", "tickets", "pool"):
        assert_moved(postgres, name, shop, table)
    shop.close()
    assert postgres.sql("SELECT * FROM pool", database=name) == [(1, 4, 4, 6, 0, 0)]
    one_line(migrate("--from", tmp_path / "shop.db", "--to", url, expect=WORLD), "holds 23 rows already")


def test_wallets_are_moved_with_all_that_moved_their_coins(postgres, database, tmp_path):
    """A coin is lost on the way, a nonce is good once more, or an id is given out again."""
    name, url = database
    make_shop(tmp_path / "shop.db", 10)
    spoil(tmp_path / "shop.db", WALLETS)
    migrate("--from", tmp_path / "shop.db", "--to", url)
    verify(url)
    shop = sqlite3.connect(tmp_path / "shop.db")
    for table in ("accounts", "wallets", "transfers", "products"):
        assert_moved(postgres, name, shop, table)
    shop.close()
    assert sorted(postgres.sql("SELECT * FROM sequences WHERE name IN ('accounts', 'transfers')", database=name)) == [
        ("accounts", 23), ("transfers", 10)]
    one_line(migrate("--from", tmp_path / "shop.db", "--to", url, expect=WORLD), "holds 24 rows already")


def test_a_file_from_before_there_were_wallets_is_moved(postgres, database, tmp_path):
    """What such a file does not have stands in the way."""
    name, url = database
    make_shop(tmp_path / "shop.db", 10, versions=4)
    done = migrate("--from", tmp_path / "shop.db", "--to", url)
    assert len(checksums(done.stdout)) == 16 and done.stdout.count("no such table") == 2, done.stdout
    verify(url)
    assert postgres.sql("SELECT next_value FROM sequences WHERE name = 'transfers'", database=name) == [(1,)]


def test_a_file_from_before_there_were_machines_is_moved(postgres, database, tmp_path):
    """Products of an older file, which nobody has listed under anything, stay behind."""
    name, url = database
    make_shop(tmp_path / "shop.db", 10, versions=3)
    done = migrate("--from", tmp_path / "shop.db", "--to", url)
    assert len(checksums(done.stdout)) == 12 and done.stdout.count("no such table") == 6, done.stdout
    verify(url)
    assert postgres.sql("SELECT id, category, is_featured FROM products", database=name) == [(3, "", False)]
    assert postgres.sql("SELECT * FROM pool", database=name) == [(1, 1, 1, 1, 0, 0)]


def test_an_older_file_gets_what_it_lacks(postgres, database, tmp_path):
    """Tables that a file of an older doorbuster does not have stand in the way, or nobody may hand orders out."""
    name, url = database
    make_shop(tmp_path / "shop.db", 10, versions=2)
    done = migrate("--from", tmp_path / "shop.db", "--to", url)
    assert len(checksums(done.stdout)) == 4 and done.stdout.count("no such table") == 14, done.stdout
    verify(url)
    assert postgres.sql("SELECT kind, id FROM work", database=name) == [("intake-delivery", 2)]
    assert postgres.sql("SELECT length(value) FROM secrets", database=name) == [(32,)]
    assert postgres.sql("SELECT * FROM intake_state", database=name) == [(1, 1, 0, 0)]
    assert postgres.sql("SELECT next_value FROM sequences WHERE name = 'work'", database=name) == [(3,)]


def test_work_is_moved_when_there_is_any(postgres, database, tmp_path):
    """Work that a file remembers is lost, or its id can come again."""
    name, url = database
    make_shop(tmp_path / "shop.db", 10)
    spoil(tmp_path / "shop.db",
        "INSERT INTO work VALUES (41, 'sale-closeout', 'S', 'hello', 1795218421001, 2, 1)")
    migrate("--from", tmp_path / "shop.db", "--to", url)
    assert postgres.sql("SELECT id, kind, subject, body, (extract(epoch FROM due_at) * 1000)::bigint, token FROM work"
        " WHERE kind <> 'intake-delivery'", database=name) == [(41, "sale-closeout", "S", "hello", 1795218421001, 2)]
    assert postgres.sql("SELECT next_value FROM sequences WHERE name = 'work'", database=name) == [(42,)]


@pytest.mark.parametrize("statements, invariant", [
    ("UPDATE products SET stock = stock + 1", "stock-adds-up"),
    ("UPDATE purchase_log SET nth = 7 WHERE id = 3", "units-in-order"),
    ("UPDATE purchase_log SET purchased_at = 'soon' WHERE id = 3", "values"),
    ("INSERT INTO idempotency_keys SELECT 9, scope, key, fingerprint, 0, 0, 1, 1 FROM idempotency_keys",
        "kept-answers"),
])
def test_a_damaged_store_is_not_moved(postgres, database, tmp_path, statements, invariant):
    """Damage is carried into the database, or something is left there."""
    name, url = database
    make_shop(tmp_path / "shop.db", 10)
    spoil(tmp_path / "shop.db", statements)
    done = migrate("--from", tmp_path / "shop.db", "--to", url, expect=VIOLATED)
    assert f"FAIL  {invariant}: " in done.stdout and "nothing was copied" in done.stderr, done.stdout + done.stderr
    assert postgres.sql(TABLES, database=name) == []


@pytest.mark.parametrize("statements, words", [
    # the rows change on the way
    ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.user_id := 'x' || NEW.user_id; RETURN NEW;"
        " END $$; CREATE TRIGGER t BEFORE INSERT ON purchase_log FOR EACH ROW EXECUTE FUNCTION f()",
        ["purchase_log arrived otherwise than it was sent"]),
    ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.id = 5 THEN NULL ELSE NEW"
        " END; END $$; CREATE TRIGGER t BEFORE INSERT ON purchase_log FOR EACH ROW EXECUTE FUNCTION f()",
        ["purchase_log arrived otherwise than it was sent: 10 rows", "became 9"]),
    # the database refuses them
    ("ALTER TABLE purchase_log ADD CHECK (id <> 7)", ["its constraints refuse a row", "23514"]),
    # the auditor refuses what has arrived
    ("ALTER TABLE purchase_log DROP CONSTRAINT uq_product_user", ["does not hold what the rules promise"]),
])
def test_a_failure_leaves_the_database_as_it_was(postgres, database, tmp_path, statements, words):
    """Half a store is left in the database, or a copy that nobody vouches for is kept."""
    name, url = database
    make_shop(tmp_path / "shop.db", 10)
    migrate("--store", url)
    postgres.sql(statements, database=name)
    before = postgres.sql(EVERYTHING, database=name)
    done = run("migrate", "--from", str(tmp_path / "shop.db"), "--to", url)
    assert done.returncode in (VIOLATED, WORLD) and "COPIED" not in done.stdout, done.stdout + done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert postgres.sql(EVERYTHING, database=name) == before


def test_stores_in_use_or_in_the_way_are_refused(postgres, database, tmp_path):
    """A store is copied while it sells, over another one, or beside nodes that have taken ids already."""
    name, url = database
    one_line(migrate("--from", tmp_path / "none.db", "--to", url, expect=WORLD), "No such file")
    assert not any(tmp_path.iterdir())
    (tmp_path / "text.db").write_text("no store " * 100)
    one_line(migrate("--from", tmp_path / "text.db", "--to", url, expect=WORLD))
    make_shop(tmp_path / "shop.db", 10)
    make_shop(tmp_path / "newer.db", 10)
    spoil(tmp_path / "newer.db", "PRAGMA user_version = 1000")
    one_line(migrate("--from", tmp_path / "newer.db", "--to", url, expect=WORLD), "newer doorbuster")
    server = subprocess.Popen([str(BINARY), "serve", "--store", str(tmp_path / "shop.db"), "--listen", "127.0.0.1:0",
        "--admin-key", "dev-admin-key-12345678", "--log-format", "json"], stderr=subprocess.PIPE, text=True,
        env=environment())
    try:
        while "listening on" not in (line := server.stderr.readline()):
            assert line, "the server ended"
        one_line(migrate("--from", tmp_path / "shop.db", "--to", url, expect=WORLD), "is served by another doorbuster")
    finally:
        server.kill()
        server.communicate(timeout=60)
    assert postgres.sql(TABLES, database=name) == []
    migrate("--store", url)
    node = postgres.connect(name)
    node.cursor().execute("SET application_name = 'doorbuster node test'")
    one_line(migrate("--from", tmp_path / "shop.db", "--to", url, expect=WORLD), "stop all nodes first")
    node.close()
    postgres.sql(GOOD, database=name)
    one_line(migrate("--from", tmp_path / "shop.db", "--to", url, expect=WORLD), "holds 17 rows already")


def test_a_store_whose_server_was_killed_is_moved_with_its_log(postgres, database, tmp_path):
    """What stands only in the log of the file is left behind."""
    name, url = database
    make_shop(tmp_path / "made.db", 10)
    shop = sqlite3.connect(tmp_path / "made.db")
    shop.execute("PRAGMA wal_autocheckpoint = 0")
    shop.execute("UPDATE products SET stock = 4")
    shop.execute("INSERT INTO purchase_log VALUES (12, 3, 'the last', 1, ?)", (START_MS + 500,))
    shop.commit()
    for ending in ("", "-wal"):
        (tmp_path / f"shop.db{ending}").write_bytes((tmp_path / f"made.db{ending}").read_bytes())
    shop.close()
    migrate("--from", tmp_path / "shop.db", "--to", url)
    assert postgres.sql("SELECT id FROM purchase_log WHERE user_id = 'the last'", database=name) == [(12,)]
    verify(tmp_path / "shop.db")
