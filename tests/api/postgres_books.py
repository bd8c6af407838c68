# SPDX-License-Identifier: Apache-2.0
"""
PostgreSQL stores for the tests of the auditor and of migrate: one private server, tables made by `doorbuster
migrate`, and books that are in order, from which each test gets a copy of its own to spoil.
"""
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from services import Missing, Postgres  # noqa: E402
from services.postgres import PASSWORD  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BINARY = (ROOT / os.environ.get("DOORBUSTER_BIN", "build/doorbuster")).resolve()
HOLDS, VIOLATED, USAGE, WORLD = 0, 1, 2, 3
START_MS = 1795218421000  # 2026-11-20T23:47:01Z
END_MS = START_MS + 3600 * 1000

# Sold out; going on, three a user; not begun; never had a unit. Ids are no order of time: two nodes gave them out.
GOOD = f"""
INSERT INTO products (id, sku, product_name, initial_stock, stock, price_minor, per_user_limit, start_time, end_time,
                      state, end_reason, created_at, updated_at)
SELECT id, sku, lower(sku), initial, stock, 100, most, to_timestamp({START_MS // 1000}),
       to_timestamp({END_MS // 1000}), state, reason, to_timestamp(1), to_timestamp(1)
FROM (VALUES (1, 'A', 5, 0, 1, 'ENDED', 'SOLD_OUT'), (2, 'B', 10, 4, 3, 'ACTIVE', NULL),
             (3, 'C', 7, 7, 1, 'UPCOMING', NULL), (4, 'D', 0, 0, 1, 'ACTIVE', NULL))
     AS p (id, sku, initial, stock, most, state, reason);
INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)
SELECT id, product, buyer, nth, to_timestamp({START_MS // 1000}) + at * interval '1 second'
FROM (VALUES (1, 1, 'a1', 1, 5), (2, 1, 'a2', 1, 6), (3, 1, 'a3', 1, 7), (1004, 1, 'a4', 1, 1), (1005, 1, 'a5', 1, 2),
             (6, 2, 'b1', 1, 20), (1007, 2, 'b1', 2, 30), (1008, 2, 'b2', 1, 1), (9, 2, 'b2', 2, 40),
             (1010, 2, 'b2', 3, 50), (11, 2, 'b3', 1, 60)) AS s (id, product, buyer, nth, at);
UPDATE sequences SET next_value = 5 WHERE name = 'products';
UPDATE sequences SET next_value = 2001 WHERE name = 'purchases';
UPDATE sequences SET next_value = 10 WHERE name = 'work';
INSERT INTO idempotency_keys (scope, key, fingerprint, result, number, time, created_at)
VALUES ('purchase:z', 'k', decode(repeat('00', 16), 'hex'), 0, 1500, 1, to_timestamp(1));
INSERT INTO work (id, kind, subject, due_at, created_at)
VALUES (7, 'sale-closeout', 'B', to_timestamp(1), to_timestamp(1));
"""


def environment(**extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOORBUSTER_", "PG"))}
    return {**kept, **extra}


def run(*arguments, **extra):
    """The program to its end; whatever it says, it never tells the password."""
    done = subprocess.run([str(BINARY), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env=environment(**extra), timeout=120)
    assert PASSWORD not in done.stdout + done.stderr, "the password is in the output"
    return done


def start_postgres():
    """A private server, or a skip that says what is missing."""
    try:
        return Postgres().start()
    except Missing as missing:
        return pytest.skip(str(missing))


def one_line(done, *words):
    """The refusal: a single line on standard error with these words, nothing else."""
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def make_shop(path, count, versions=None):
    """A stopped embedded store in order with `count` purchases; of an older version when there is one."""
    database = sqlite3.connect(path)
    for script in sorted((ROOT / "src/store/schema").glob("sqlite_*.sql"))[:versions]:
        database.executescript(script.read_text())
    database.execute("PRAGMA journal_mode = WAL")
    columns = ", ".join(row[1] for row in database.execute("PRAGMA table_info(products)").fetchall()[:15])
    database.execute(f"INSERT INTO products ({columns}) VALUES (3, 'S', 'Grün \"und\" \\ blau\t1', ?, 5, 100, 2, ?, ?,"
        " 'ACTIVE', NULL, 1, 'admin', 1795218421007, 'admin')", (count + 5, START_MS, START_MS + 86400000))
    database.executemany("INSERT INTO purchase_log VALUES (?, 3, ?, ?, ?)",
        ((i, f"user {i // 2 * 7919 % 1000003} ü", 1 + i % 2, START_MS + i) for i in range(2, count + 2)))
    database.execute("INSERT INTO idempotency_keys VALUES (4, 'purchase:ü', 'k', ?, 0, 2, 1795218421008,"
        " 1795218421009)", (bytes(range(16)),))
    database.execute("UPDATE sequences SET next_value = ? WHERE name = 'purchases'", (count + 100,))
    database.commit()
    database.close()
