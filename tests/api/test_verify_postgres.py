# SPDX-License-Identifier: Apache-2.0
"""
The auditor on a PostgreSQL store: books in order pass, and each way of spoiling them, the rows or what stands behind
them, is caught by the invariants that must catch it and by no other. Beside a server at work, and where it may not in.
"""
import contextlib
import json
import socket

import pytest

from buyers import buying
from postgres_books import GOOD, HOLDS, PASSWORD, ROOT, USAGE, VIOLATED, WORLD, one_line, run, start_postgres
from postgres_machine_books import ALLOWED_MACHINES, GOOD_MACHINES, MACHINE_ROWS
from postgres_market_books import ALLOWED_MARKET, GOOD_MARKET, MARKET_ROWS
from postgres_order_books import GOOD_ORDERS, ORDER_ROWS, TOLERATED
from server import Server
from shop import Shop

pytestmark = pytest.mark.needs("postgres")

# The tables that the auditor looks at; nobody may lose the secrets.
TABLES = "(SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'" \
    " AND relname NOT IN ('doorbuster_schema', 'secrets'))"

# Takes away what would refuse the rows below. store-sound then speaks too.
UNBOUND = f"""
DO $$ DECLARE c record; BEGIN
  FOR c IN SELECT conrelid::regclass AS name, conname FROM pg_constraint WHERE conrelid IN {TABLES}
      ORDER BY contype = 'f' DESC LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.name, c.conname);
  END LOOP;
  FOR c IN SELECT attrelid::regclass AS name, attname FROM pg_attribute WHERE attnotnull AND attnum > 0
      AND attidentity = '' AND attrelid IN {TABLES} LOOP
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', c.name, c.attname);
  END LOOP;
END $$;
DROP INDEX transfers_nonce;
"""


def sell(number, product, user, nth=1, at="2026-11-20 23:48:19+00"):
    return f"INSERT INTO purchase_log VALUES ({number}, {product}, {user}, {nth}, {at!r});"


# (statements, the invariants that must fail, what the report must say); the constraints are gone.
ROWS = [
    (sell(12, 1, "'a8'"), "no-oversell stock-adds-up",
        'purchase 12 PUR-20261120-0012 of "a8" came after the last unit was sold'),
    (sell(12, 1, "'a8'") + "UPDATE products SET stock = -1 WHERE id = 1", "no-oversell stock-not-negative",
        "product 1 A has stock -1"),
    ("UPDATE products SET stock = 5 WHERE id = 2", "stock-adds-up", "product 2 B has stock 5 and should have 4"),
    ("DELETE FROM purchase_log WHERE id = 11", "stock-adds-up", "product 2 B has stock 4 and should have 5"),
    ("UPDATE purchase_log SET user_id = 'a1', nth = 2 WHERE id = 1004", "no-duplicate-buyer unique-buyers",
        'purchase 1 PUR-20261120-0001 of "a1" is purchase 2 of this user, who may have 1'),
    ("UPDATE purchase_log SET user_id = 'a1' WHERE id = 1004", "no-duplicate-buyer units-in-order unique-buyers",
        'purchase 1 PUR-20261120-0001 of "a1" is called unit 1 of this user and should be 2'),
    ("UPDATE purchase_log SET nth = 3 WHERE id = 1007", "units-in-order",
        'purchase 1007 PUR-20261120-1007 of "b1" is called unit 3 of this user and should be 2'),
    ("UPDATE purchase_log SET nth = NULL WHERE id = 1", "values units-in-order", "has a value of the wrong type"),
    (sell(12, 99, "'x'"), "references", 'purchase 12 PUR-20261120-0012 of "x" belongs to product 99'),
    ("DELETE FROM products WHERE id = 2", "references", "... and 1 more"),
    ("UPDATE purchase_log SET product_id = NULL WHERE id = 11", "values stock-adds-up",
        "has a value of the wrong type"),
    ("UPDATE purchase_log SET id = NULL WHERE id = 11", "values purchase-numbers", "has a value of the wrong type"),
    ("UPDATE purchase_log SET id = 9 WHERE id = 11", "purchase-numbers", "purchase id 9 is there 2 times"),
    ("UPDATE purchase_log SET user_id = '' WHERE id = 11", "values", "has a value of the wrong type"),
    ("UPDATE purchase_log SET purchased_at = purchased_at + interval '1 microsecond' WHERE id = 11", "values",
        'purchase 11 PUR-20261120-0011 of "b3" has a value of the wrong type'),
    ("UPDATE purchase_log SET purchased_at = 'infinity' WHERE id = 11", "values purchase-numbers sale-window",
        "has a value of the wrong type"),
    ("UPDATE purchase_log SET purchased_at = '2026-11-21 00:47:01+00' WHERE id = 11", "sale-window",
        'purchase 11 PUR-20261121-0011 of "b3" was made at 2026-11-21T00:47:01.000Z'),
    ("UPDATE purchase_log SET purchased_at = '2026-11-20 23:47:00.999+00' WHERE id = 11", "sale-window",
        "was made at 2026-11-20T23:47:00.999Z"),
    ("UPDATE sequences SET next_value = 1010 WHERE name = 'purchases'", "sequences",
        "id 1010 stands in purchases and comes again: the next one is 1010"),
    ("UPDATE sequences SET next_value = 1500 WHERE name = 'purchases'", "sequences",
        "purchase id 1500, which idempotency key 1 was answered with, comes again"),
    ("UPDATE sequences SET next_value = 4 WHERE name = 'products'", "sequences", "id 8 stands in products"),
    ("UPDATE sequences SET next_value = 28 WHERE name = 'work'", "sequences", "id 28 stands in work"),
    ("DELETE FROM sequences WHERE name = 'work'", "sequences", "the sequence work is missing or below 1"),
    ("UPDATE sequences SET next_value = NULL WHERE name = 'products'", "sequences", "the sequence products is missing"),
    ("UPDATE products SET price_minor = -1 WHERE id = 2", "values", "product 2 B: initial stock, price or limit"),
    ("UPDATE products SET product_name = NULL WHERE id = 2", "values", "product 2 B has a name, time or state"),
    ("UPDATE products SET updated_at = updated_at + interval '1 microsecond' WHERE id = 2", "values",
        "product 2 B has a name, time or state of the wrong type"),
    ("UPDATE products SET sku = 'B' WHERE id = 3", "values", "product 3 B has the sku of product 2"),
    ("UPDATE products SET state = 'ACTIVE', end_reason = NULL WHERE id = 1", "sale-state",
        "product 1 A has nothing left, but is ACTIVE"),
    ("UPDATE products SET state = 'ENDED', end_reason = 'SOLD_OUT' WHERE id = 2", "sale-state",
        "product 2 B is sold out, but has stock 4"),
    ("UPDATE products SET end_reason = 'TIME_EXPIRED' WHERE id = 2", "sale-state",
        "product 2 B has a reason to have ended, but is ACTIVE"),
    ("UPDATE products SET state = 'PAUSED' WHERE id = 2", "sale-state", "product 2 B has no such state: PAUSED"),
    ("UPDATE products SET end_time = start_time WHERE id = 3", "sale-state", "product 3 C ends before it starts"),
    (sell(12, 3, "'c1'") + "UPDATE products SET stock = 6 WHERE id = 3", "sale-state",
        "product 3 C has not begun, but has purchases"),
    ("UPDATE idempotency_keys SET fingerprint = '\\x00'", "kept-answers",
        "idempotency key 1 has a value that cannot be"),
    ("INSERT INTO idempotency_keys (scope, key, fingerprint, result, number, time, created_at)"
        " SELECT scope, key, fingerprint, 0, 0, 1, created_at FROM idempotency_keys", "kept-answers",
        "idempotency key 2 is the same as key 1"),
    ("UPDATE work SET token = -1 WHERE id = 7", "work", "work 7 has a value that cannot be"),
    ("UPDATE work SET due_at = due_at + interval '1 microsecond' WHERE id = 7", "work",
        "work 7 has a value that cannot be"),
    ("INSERT INTO work SELECT * FROM work WHERE id = 7", "work", "work 7 is there 2 times"),
]

# (statements, the invariants that must fail, what the report must say); the rows are in order.
WALLS = [
    ("ALTER TABLE purchase_log DROP CONSTRAINT purchase_log_product_id_fkey; ALTER TABLE purchase_log ADD FOREIGN KEY"
        " (product_id) REFERENCES products (id) NOT VALID", "store-sound",
        "purchase_log_product_id_fkey of purchase_log is not validated"),
    ("ALTER TABLE purchase_log DROP CONSTRAINT uq_product_user; ALTER TABLE purchase_log ADD CONSTRAINT uq_product_user"
        " UNIQUE (product_id, user_id, nth) DEFERRABLE", "store-sound",
        "the constraint of purchase_log on (nth,product_id,user_id), unique, is missing"),
    ("ALTER TABLE products ALTER COLUMN stock DROP NOT NULL", "store-sound",
        "the column stock of products may be NULL"),
    ("ALTER TABLE products ALTER COLUMN price_minor TYPE integer", "store-sound",
        "the column price_minor of products is integer and should be bigint"),
    ("ALTER TABLE work DROP COLUMN body", "store-sound work", "the column body of work is missing"),
    ("ALTER TABLE idempotency_keys ALTER COLUMN number TYPE text", "store-sound sequences kept-answers",
        "the column number of idempotency_keys is text and should be bigint"),
    ("ALTER TABLE work SET UNLOGGED", "store-sound", "the table work does not outlast a crash"),
    ("ALTER TABLE products DROP COLUMN is_featured", "store-sound", "the column is_featured of products is missing"),
    ("DROP INDEX transfers_nonce", "store-sound", "the index of transfers on payer and nonce, unique, is missing"),
    ("ALTER TABLE leases DROP COLUMN ticket_id", "store-sound served-tickets nobody-overtaken",
        "the column ticket_id of leases is missing"),
    ("CREATE OR REPLACE VIEW purchases AS SELECT id, product_id, user_id, nth, purchased_at,"
        " 'PUR-20261120-' || lpad(id::text, 4, '0') AS purchase_no, purchased_at AS created_at, 'system' AS created_by,"
        " purchased_at AS updated_at, 'system' AS updated_by FROM purchase_log WHERE id < 1010",
        "store-sound stock-adds-up", "the view purchases shows 20 rows, but purchase_log has 21"),
    ("CREATE OR REPLACE VIEW purchases AS SELECT id, product_id, user_id, nth, purchased_at, 'PUR-20261120-0001'"
        " AS purchase_no, purchased_at AS created_at, 'system' AS created_by, purchased_at AS updated_at, 'system' AS"
        " updated_by FROM purchase_log", "purchase-numbers",
        'purchase 2 PUR-20261120-0001 of "a2": the number does not end in 0002'),
]

# What only a superuser can do.
HIDDEN_WALLS = [
    ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq_product_user'::regclass", "store-sound",
        "the index uq_product_user of purchase_log is not valid"),
    ("ALTER TABLE purchase_log DISABLE TRIGGER ALL", "store-sound", "which keeps a foreign key, is switched off"),
]


@pytest.fixture(scope="module")
def postgres():
    server = start_postgres()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def good(postgres):
    """The name of a database whose books are in order: a template, nobody may be connected to it."""
    name = postgres.create_database("good")
    assert run("migrate", "--store", postgres.url(name)).returncode == HOLDS
    postgres.sql(GOOD + GOOD_ORDERS + GOOD_MACHINES + GOOD_MARKET, database=name)
    return name


@pytest.fixture(scope="module")
def loose(postgres, good):
    """The same without anything behind the rows."""
    name = copy(postgres, good)
    postgres.sql(UNBOUND, database=name)
    return name


def copy(postgres, template):
    name = postgres.create_database("spoilt")
    postgres.drop_database(name)
    postgres.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return name


@pytest.fixture
def copy_of(postgres):
    names = []

    def make(template):
        names.append(copy(postgres, template))
        return names[-1]

    yield make
    for name in names:
        postgres.drop_database(name)


def verify(postgres, name, *arguments, expect=HOLDS):
    done = run("verify", "--store", postgres.url(name), *arguments)
    assert done.returncode == expect, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def failed(done):
    return " ".join(line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("  FAIL  "))


def expect_caught(postgres, name, invariants, words):
    done = verify(postgres, name, expect=VIOLATED)
    assert failed(done) == invariants and words in done.stdout, done.stdout


def test_books_in_order_pass(postgres, good, tmp_path):
    """The auditor cries wolf, and everything below is worth nothing; or it takes ids for an order of time."""
    done = verify(postgres, good, "--report", tmp_path / "report.json")
    assert "a database, as of one moment" in done.stdout and "ALL INVARIANTS HOLD" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert PASSWORD not in json.dumps(report) and report["store"].startswith("postgres://doorbuster@127.0.0.1:")
    assert [p["purchases"] for p in report["products"]] == [5, 6, 0, 0, 5, 2, 0, 3]
    assert report["leases"] == 8 and report["transfers"] == 8
    verify(postgres, good, "--sku", "B", "--expect-users", 2)
    verify(postgres, good, "--sku", "A", "--expect-users", 4, expect=VIOLATED)


def test_clocks_of_nodes_may_differ_a_little(postgres, good, copy_of):
    """The auditor takes two times that were taken by two nodes for an order of events."""
    name = copy_of(good)
    postgres.sql(TOLERATED, database=name)
    verify(postgres, name)


def test_a_sale_with_machines_made_anew_passes(postgres, good, copy_of):
    """Leases whose purchases went with the sale that they were of fail the audit, or stock that was set does."""
    name = copy_of(good)
    postgres.sql(ALLOWED_MACHINES, database=name)
    verify(postgres, name)


def test_a_sale_that_was_paid_for_made_anew_passes(postgres, good, copy_of):
    """Spends whose purchases went with the sale that they were of fail the audit."""
    name = copy_of(good)
    postgres.sql(ALLOWED_MARKET, database=name)
    verify(postgres, name)


def test_a_database_of_the_third_version_can_be_audited(postgres):
    """A database without wallets cannot be audited, or tables are missed that it cannot have yet."""
    name = postgres.create_database()
    for version in (1, 2, 3):
        postgres.sql((ROOT / f"src/store/schema/postgres_{version:03}.sql").read_text(), database=name)
    postgres.sql("CREATE TABLE doorbuster_schema (version bigint NOT NULL); INSERT INTO doorbuster_schema VALUES (3);"
        + GOOD + GOOD_ORDERS + GOOD_MACHINES, database=name)
    assert "(schema version 3; " in verify(postgres, name).stdout
    postgres.drop_database(name)


def test_a_database_of_the_second_version_can_be_audited(postgres):
    """A database without machines cannot be audited, or columns are missed that it cannot have yet."""
    name = postgres.create_database()
    for version in (1, 2):
        postgres.sql((ROOT / f"src/store/schema/postgres_{version:03}.sql").read_text(), database=name)
    postgres.sql("CREATE TABLE doorbuster_schema (version bigint NOT NULL); INSERT INTO doorbuster_schema VALUES (2);"
        + GOOD + GOOD_ORDERS, database=name)
    assert "(schema version 2; " in verify(postgres, name).stdout
    postgres.drop_database(name)


def test_a_database_of_the_first_version_can_be_audited(postgres):
    """A database that nobody has migrated yet cannot be audited."""
    name = postgres.create_database()
    postgres.sql((ROOT / "src/store/schema/postgres_001.sql").read_text(), database=name)
    postgres.sql("CREATE TABLE doorbuster_schema (version bigint NOT NULL); INSERT INTO doorbuster_schema VALUES (1);"
        + GOOD, database=name)
    assert "(schema version 1; " in verify(postgres, name).stdout
    postgres.sql("ALTER TABLE work DROP CONSTRAINT work_pkey", database=name)
    assert failed(verify(postgres, name, expect=VIOLATED)) == "store-sound"
    postgres.drop_database(name)


def test_secrets_are_read_for_names_only(postgres, good, copy_of, tmp_path):
    """The auditor needs a right that nobody but a server should have; or it passes names that it cannot read."""
    journal = tmp_path / "rush.journal"
    journal.write_text('{"journal":1,"scenario":"intake","face":"intake"}\n'
        '{"order":"00000000-0000-8000-8000-000000000001","outcome":"acknowledged","status":"QUEUED"}\n')
    done = verify(postgres, good, "--journal", journal, expect=VIOLATED)
    assert failed(done) == "trading-orders-acknowledged" and "has no name that this store gives" in done.stdout
    name = copy_of(good)
    postgres.super_sql("ALTER TABLE secrets OWNER TO postgres; REVOKE ALL ON secrets FROM PUBLIC, doorbuster",
        database=name)
    verify(postgres, name)
    assert "42501" in verify(postgres, name, "--journal", journal, expect=WORLD).stderr


def test_a_host_that_has_vanished_does_not_keep_from_the_next(postgres, good):
    """All the time there is to connect goes to the first host of the URL, which does not answer."""
    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # its queue is full then: it answers nobody, as one that is gone
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(deaf.getsockname())
        url = postgres.url(good)
        assert url.count("@127.0.0.1:") == 1
        done = run("verify", "--store", url.replace("@", f"@127.0.0.1:{deaf.getsockname()[1]},"))
        assert done.returncode == HOLDS, done.stdout + done.stderr


def test_journals_of_orders_are_held_against_a_database(postgres, good, tmp_path):
    """What customers were told of their orders is not looked up in a database."""
    journal = tmp_path / "rush.journal"
    header = '{"journal":1,"scenario":"async-flash","face":"orders"}\n'
    line = '{"order":"%s","outcome":"acknowledged","status":"%s"}\n'
    journal.write_text(header + line % ("o-paid", "completed") + line % ("o-pending", "pending"))
    verify(postgres, good, "--journal", journal)
    assert failed(verify(postgres, good, "--journal", journal, "--journal-complete", expect=VIOLATED)) == \
        "orders-complete"
    journal.write_text(header + line % ("o-paid", "completed") + line % ("o-lost", "pending"))
    done = verify(postgres, good, "--journal", journal, expect=VIOLATED)
    assert failed(done) == "orders-acknowledged" and 'order "o-lost" is not in the store' in done.stdout


def test_the_last_by_time_is_the_one_too_many(postgres, loose, copy_of):
    """The witness is chosen by id, so that the wrong buyer is named."""
    name = copy_of(loose)
    postgres.sql(sell(1500, 1, "'early'", at="2026-11-20 23:47:01+00"), database=name)
    done = verify(postgres, name, expect=VIOLATED)
    assert 'purchase 3 PUR-20261120-0003 of "a3" came after the last unit was sold' in done.stdout, done.stdout


@pytest.mark.parametrize("statements, invariants, words", ROWS + ORDER_ROWS + MACHINE_ROWS + MARKET_ROWS)
def test_each_damaged_row_is_caught(postgres, loose, copy_of, statements, invariants, words):
    """An invariant has gone blind on PostgreSQL, or sees what is not there."""
    name = copy_of(loose)
    postgres.sql(statements, database=name)
    expect_caught(postgres, name, "store-sound " + invariants, words)


@pytest.mark.parametrize("statements, invariants, words", WALLS)
def test_each_weakened_wall_is_caught(postgres, good, copy_of, statements, invariants, words):
    """What stands behind the rules can be taken away unseen."""
    name = copy_of(good)
    postgres.sql(statements, database=name)
    expect_caught(postgres, name, invariants, words)


@pytest.mark.parametrize("statements, invariants, words", HIDDEN_WALLS)
def test_each_hidden_weakness_is_caught(postgres, good, copy_of, statements, invariants, words):
    """A constraint is there by name and not in force."""
    name = copy_of(good)
    postgres.super_sql(statements, database=name)
    expect_caught(postgres, name, invariants, words)


def test_each_constraint_is_missed(postgres, good, copy_of, tmp_path):
    """A constraint can be dropped unseen."""
    name = copy_of(good)
    constraints = postgres.sql("SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE"
        f" (conrelid IN {TABLES} OR conrelid = 'secrets'::regclass) AND contype IN ('p', 'u', 'f', 'c')"
        " AND conname <> 'idempotency_keys_id_key' ORDER BY contype = 'f' DESC, 1, 2", database=name)
    assert len(constraints) == 89
    for table, constraint in constraints:
        postgres.sql(f'ALTER TABLE {table} DROP CONSTRAINT "{constraint}"', database=name)
    done = verify(postgres, name, "--report", tmp_path / "report.json", expect=VIOLATED)
    assert failed(done) == "store-sound", done.stdout
    sound = json.loads((tmp_path / "report.json").read_text())["findings"][0]
    assert sound["rowCount"] == len(constraints), done.stdout
    for row in sound["rows"]:
        assert row["text"].startswith("the constraint of ") and row["text"].endswith(", is missing"), row


def test_journals_are_held_against_a_database(postgres, good, tmp_path):
    """What the crowd was told is not looked up in a database, or ids that were acknowledged may come again."""
    journal = tmp_path / "rush.journal"
    header = '{"journal":1,"scenario":"purchase-load","sku":"A","users":8}\n'
    line = '{"user":"%s","outcome":"acknowledged","purchaseNo":"PUR-20261120-%04d"}\n'
    journal.write_text(header + line % ("a1", 1) + line % ("a4", 1004))
    verify(postgres, good, "--journal", journal)
    assert failed(verify(postgres, good, "--journal", journal, "--journal-complete", expect=VIOLATED)) == "complete"
    journal.write_text(header + line % ("a1", 1) + line % ("a8", 3000))
    assert failed(verify(postgres, good, "--journal", journal, expect=VIOLATED)) == "sequences acknowledged"


def test_what_cannot_be_audited_is_said_in_one_line(postgres, good, copy_of):
    """A wrong password, a missing or a newer schema is no clear line, or ends with another status than 3."""
    def refused(url, *words, status=WORLD):
        done = run("verify", "--store", url)
        assert done.returncode == status, done.stdout + done.stderr
        one_line(done, *words)

    empty = postgres.create_database()
    refused(postgres.url(good, password="wrong-secret"), "the password is wrong or missing", "28P01")
    refused(postgres.url("nowhere"), "there is no such database", "3D000")
    refused(postgres.url(good, port=1), "Connection refused")
    refused(postgres.url(empty), "doorbuster migrate")
    refused("postgres://u:se/cret@127.0.0.1/x", "URL", status=USAGE)
    refused("postgres://u:se%zzcret@127.0.0.1/x", "not understood", status=USAGE)
    newer = copy_of(good)
    postgres.sql("UPDATE doorbuster_schema SET version = 1000", database=newer)
    refused(postgres.url(newer), "has schema version 1000, this auditor knows versions up to 4")
    older = copy_of(good)
    postgres.sql("DELETE FROM doorbuster_schema", database=older)
    refused(postgres.url(older), "does not hold one row with a version")
    torn = copy_of(good)
    postgres.sql("DROP TABLE work", database=torn)
    refused(postgres.url(torn), "has lost its table work")
    bare = copy_of(good)
    postgres.sql("TRUNCATE products, purchase_log, orders, payments, notifications, accounts, intake_orders,"
        " machines, leases, tickets, wallets, transfers",
        database=bare)
    refused(postgres.url(bare), "holds no product, no order and no machine: there is nothing to audit")
    secret = run("verify", "--store", "postgres://doorbuster:hush-hush@127.0.0.1:1/x")
    assert "hush" not in secret.stdout + secret.stderr
    postgres.drop_database(empty)


class Place:
    """What a Server needs to know of its store."""

    def __init__(self, argument, directory):
        self.argument, self.directory = argument, directory


def test_audits_while_nodes_sell_see_one_moment(postgres, tmp_path):
    """The audit of a database in use mixes two moments, or it disturbs the server."""
    name = postgres.create_database()
    assert run("migrate", "--store", postgres.url(name)).returncode == HOLDS
    server = Server(Place(postgres.url(name), tmp_path), ["--purchase-interval", "0s"]).start()
    try:
        shop = Shop(server)
        sku = shop.sale(1_000_000)
        shop.close()
        with buying(server, sku) as sold:
            for _ in range(10):
                verify(postgres, name)
        assert sold[0] > 10
        server.stop()
        verify(postgres, name)
    finally:
        server.discard()
