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
-- it from the rows. Virtual columns are computed when read and take no room.
CREATE TABLE purchases (
    id           INTEGER PRIMARY KEY,                 -- never re-used: see sequences
    product_id   INTEGER NOT NULL REFERENCES products (id),
    user_id      TEXT    NOT NULL,
    nth          INTEGER NOT NULL CHECK (nth >= 1),   -- the buyer's first, second, ... unit of this product
    purchased_at INTEGER NOT NULL,
    purchase_no  TEXT    GENERATED ALWAYS AS
        ('PUR-' || strftime('%Y%m%d', purchased_at / 1000, 'unixepoch') || '-' || printf('%04d', id)) VIRTUAL,
    created_at   INTEGER GENERATED ALWAYS AS (purchased_at) VIRTUAL,
    created_by   TEXT    GENERATED ALWAYS AS ('system') VIRTUAL,
    updated_at   INTEGER GENERATED ALWAYS AS (purchased_at) VIRTUAL,
    updated_by   TEXT    GENERATED ALWAYS AS ('system') VIRTUAL
);

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
