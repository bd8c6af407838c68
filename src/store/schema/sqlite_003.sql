-- Embedded store, schema version 3: orders that are paid behind, accounts, trading orders. Times are milliseconds
-- since 1970-01-01 UTC, money is in minor units. Table and column names are the ones of the PostgreSQL store.

-- SQLite makes a table of its own of an IN list of three or more each time it checks a row, which takes longer than to
-- insert the row: such checks are written with OR.

-- An order's payment is the piece of work with the same id.
CREATE TABLE orders (
    id             INTEGER PRIMARY KEY,                -- of the sequence of work, never re-used
    order_id       TEXT    NOT NULL UNIQUE,            -- as the client knows it
    customer_id    INTEGER NOT NULL,
    customer_email TEXT    NOT NULL DEFAULT '',        -- empty: none
    items          TEXT    NOT NULL,                   -- JSON array of {product_id, quantity, price}
    amount_minor   INTEGER NOT NULL CHECK (amount_minor >= 0),
    priority       INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    is_sync        INTEGER NOT NULL CHECK (is_sync IN (0, 1)), -- its customer waited for the outcome
    deadline       INTEGER,                            -- by which it has to be paid; NULL: none
    fingerprint    BLOB    NOT NULL,                   -- 16 bytes: hash of what makes it the same order
    status         TEXT    NOT NULL CHECK (status = 'pending' OR status = 'processing' OR status = 'completed'
                   OR status = 'failed' OR status = 'cancelled'),
    attempts       INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0), -- payments begun
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    paid_at        INTEGER,
    CHECK ((status = 'completed') = (paid_at IS NOT NULL))
);

-- The outcome of an order's payment: one for each order at most. Appended and never changed.
CREATE TABLE payments (
    id           INTEGER PRIMARY KEY REFERENCES orders (id), -- the order's
    amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0),
    outcome      TEXT    NOT NULL CHECK (outcome = 'paid' OR outcome = 'declined' OR outcome = 'abandoned'),
    attempts     INTEGER NOT NULL CHECK (attempts >= 1),
    created_at   INTEGER NOT NULL
);

-- What the shop or the customer is told about a final order: written with its status, delivered by the work with the
-- same id. Queued while that work is there, dead when the work is due in the year 9999.
CREATE TABLE notifications (
    id           INTEGER PRIMARY KEY,                  -- of the sequence of work
    order_id     INTEGER NOT NULL REFERENCES orders (id),
    channel      TEXT    NOT NULL CHECK (channel IN ('webhook', 'email')),
    event        TEXT    NOT NULL CHECK (event IN ('order.completed', 'order.failed')),
    created_at   INTEGER NOT NULL,
    delivered_at INTEGER                               -- NULL: not yet
);

CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY,                 -- never re-used: see sequences
    username      TEXT    NOT NULL,                    -- as shown
    username_key  TEXT    NOT NULL UNIQUE,             -- in lower case
    email         TEXT    NOT NULL,
    email_key     TEXT    NOT NULL UNIQUE,
    full_name     TEXT    NOT NULL DEFAULT '',
    password_hash TEXT    NOT NULL,                    -- argon2id, with its parameters and salt
    created_at    INTEGER NOT NULL
);

-- Trading orders, appended in order of acceptance with ids without gaps; whose they are, the server keeps in memory
-- (store/intake_index.h). What has become of one follows from
-- intake_state: executed up to executed_id, else perhaps with the sink up to sent_id, else queued.
CREATE TABLE intake_orders (
    id                INTEGER PRIMARY KEY,
    account_id        INTEGER NOT NULL REFERENCES accounts (id),
    symbol            TEXT    NOT NULL,
    side              TEXT    NOT NULL CHECK (side IN ('BUY', 'SELL')),
    order_type        TEXT    NOT NULL CHECK (order_type = 'LIMIT' OR order_type = 'MARKET' OR order_type = 'STOP'
                      OR order_type = 'TRAILING_STOP' OR order_type = 'ICEBERG'),
    quantity          INTEGER NOT NULL CHECK (quantity > 0), -- this and the next four: millionths
    price             INTEGER,
    stop_price        INTEGER,
    trailing_stop_pct INTEGER,
    iceberg_qty       INTEGER,
    time_in_force     TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    cancelled_at      INTEGER
);

-- The ranges that the sink has acknowledged. Appended and never changed.
CREATE TABLE intake_deliveries (
    last_id     INTEGER PRIMARY KEY,
    first_id    INTEGER NOT NULL CHECK (first_id <= last_id),
    executed_at INTEGER NOT NULL
);

CREATE TABLE intake_state (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    next_id     INTEGER NOT NULL CHECK (next_id >= 1), -- the next order's, as far as rows do not tell
    sent_id     INTEGER NOT NULL CHECK (sent_id >= 0),
    executed_id INTEGER NOT NULL CHECK (executed_id >= 0 AND executed_id <= sent_id)
);
INSERT INTO intake_state (id, next_id, sent_id, executed_id) VALUES (1, 1, 0, 0);

-- What the store's servers share and nobody else may know: the key that signs tokens.
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO secrets (name, value) VALUES ('tokens', randomblob(32));

INSERT INTO sequences (name, next_value) VALUES ('accounts', 1);

-- Who holds it hands trading orders to the sink; it is never done.
INSERT INTO work (id, kind, subject, body, due_at, token, created_at)
SELECT max((SELECT coalesce(max(id), 0) + 1 FROM work), next_value), 'intake-delivery', '', '', 0, 0, 0
FROM sequences WHERE name = 'work';
UPDATE sequences SET next_value = (SELECT max(id) + 1 FROM work) WHERE name = 'work';

-- The payments before one, for its place in the line; and the work of a kind that is due.
CREATE INDEX work_due ON work (kind, due_at, id);

PRAGMA user_version = 3;
