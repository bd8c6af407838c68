-- Embedded store, schema version 2: things to do later, each once. Times are milliseconds since 1970-01-01 UTC.
-- Table and column names are the ones of the PostgreSQL store.

-- Work is claimed by moving due_at to the end of a lease and raising token; who finishes it has to name the token.
-- Work whose process has died is due again when the lease has run out. There is no index by due time, because the
-- server keeps all of it in memory.
CREATE TABLE work (
    id         INTEGER PRIMARY KEY,                    -- never re-used: see sequences
    kind       TEXT    NOT NULL,
    subject    TEXT    NOT NULL,                       -- what it is about: a sku, an order
    body       TEXT    NOT NULL DEFAULT '',            -- what the kind needs to do it
    due_at     INTEGER NOT NULL,                       -- not before; while it is claimed: end of the lease
    token      INTEGER NOT NULL DEFAULT 0 CHECK (token >= 0), -- claims so far: the fence
    created_at INTEGER NOT NULL
);

INSERT INTO sequences (name, next_value) VALUES ('work', 1);

PRAGMA user_version = 2;
