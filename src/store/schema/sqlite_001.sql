-- Embedded store, schema version 1. Times are milliseconds since 1970-01-01 UTC, money is in minor units.
-- Table and column names are the ones of the PostgreSQL store and of the flash-sale contract (section 6).

CREATE TABLE products (
    id             INTEGER PRIMARY KEY,               -- never re-used: see sequences
    sku            TEXT    NOT NULL UNIQUE,
    product_name   TEXT    NOT NULL,
    initial_stock  INTEGER NOT NULL CHECK (initial_stock >= 0),
    stock          INTEGER NOT NULL CHECK (stock >= 0 AND stock <= initial_stock),
    price_minor    INTEGER NOT NULL CHECK (price_minor >= 0),
    per_user_limit INTEGER NOT NULL CHECK (per_user_limit >= 1),
    start_time     INTEGER NOT NULL,
    end_time       INTEGER NOT NULL CHECK (end_time > start_time),
    state          TEXT    NOT NULL CHECK (state IN ('UPCOMING', 'ACTIVE', 'ENDED')),
    end_reason     TEXT    CHECK (end_reason IN ('SOLD_OUT', 'TIME_EXPIRED')),
    created_at     INTEGER NOT NULL,
    created_by     TEXT    NOT NULL DEFAULT 'admin',
    updated_at     INTEGER NOT NULL,
    updated_by     TEXT    NOT NULL DEFAULT 'admin',
    CHECK ((state = 'ENDED') = (end_reason IS NOT NULL))
);

-- Appended in order of id and never changed. One purchase is one unit. There is no unique index on purpose:
-- one in random order would make an insert six times as dear; the line decides uniqueness, the auditor proves
-- it from the rows.
CREATE TABLE purchase_log (
    id           INTEGER PRIMARY KEY,                 -- never re-used: see sequences
    product_id   INTEGER NOT NULL REFERENCES products (id),
    user_id      TEXT    NOT NULL,
    nth          INTEGER NOT NULL CHECK (nth >= 1),   -- the buyer's first, second, ... unit of this product
    purchased_at INTEGER NOT NULL
);

-- What everybody reads. The columns that follow from others are computed here and not by the table, because
-- generated columns are computed with every insert even when they are not stored, which would double its price.
CREATE VIEW purchases AS
SELECT
    id,
    product_id,
    user_id,
    nth,
    purchased_at,
    'PUR-' || strftime('%Y%m%d', purchased_at / 1000, 'unixepoch') || '-' || printf('%04d', id) AS purchase_no,
    purchased_at AS created_at,
    'system'     AS created_by,
    purchased_at AS updated_at,
    'system'     AS updated_by
FROM purchase_log;

-- The answer that was given to a request with an Idempotency-Key, in the same transaction as its effect.
-- Kept for 24 hours, in order of id, which is also the order of expiry.
CREATE TABLE idempotency_keys (
    id           INTEGER PRIMARY KEY,
    scope        TEXT    NOT NULL,                    -- who used the key: "purchase:<user>", "admin"
    key          TEXT    NOT NULL,
    fingerprint  BLOB    NOT NULL,                    -- 16 bytes: hash of method, path and body
    result       INTEGER NOT NULL,                    -- a number of core/result.def
    number       INTEGER NOT NULL,                    -- purchase id, 0 when there is none
    time         INTEGER NOT NULL,                    -- the time that the answer tells
    created_at   INTEGER NOT NULL
);

-- Keeps ids from being given out twice, so that a purchase number stays unique for ever: every id that was ever
-- used is below next_value or stands in the table. It is raised in the transaction that deletes rows at or above
-- it, and only then; the next id to give out is the larger of next_value and the table's largest id + 1.
CREATE TABLE sequences (
    name       TEXT PRIMARY KEY,
    next_value INTEGER NOT NULL CHECK (next_value >= 1)
) WITHOUT ROWID;

INSERT INTO sequences (name, next_value) VALUES ('products', 1), ('purchases', 1), ('idempotency_keys', 1);

PRAGMA application_id = 1145197396; -- "DBST"
PRAGMA user_version = 1;
