-- PostgreSQL store, schema version 2: orders that are paid behind, accounts, trading orders. Table and column names
-- are the ones of the embedded store; times are timestamptz of whole milliseconds, money is in minor units.

-- An order's payment is the piece of work with the same id.
CREATE TABLE orders (
    id             bigint       PRIMARY KEY,              -- of the sequence of work, never re-used
    order_id       varchar(255) NOT NULL UNIQUE,          -- as the client knows it
    customer_id    bigint       NOT NULL,
    customer_email varchar(254) NOT NULL DEFAULT '',      -- empty: none
    items          text         NOT NULL,                 -- JSON array of {product_id, quantity, price}
    amount_minor   bigint       NOT NULL CHECK (amount_minor >= 0),
    priority       bigint       NOT NULL CHECK (priority BETWEEN 0 AND 9),
    is_sync        boolean      NOT NULL,                 -- its customer waited for the outcome
    deadline       timestamptz,                           -- by which it has to be paid; NULL: none
    fingerprint    bytea        NOT NULL CHECK (octet_length(fingerprint) = 16), -- of what makes it the same order
    status         varchar(20)  NOT NULL
        CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    attempts       bigint       NOT NULL DEFAULT 0 CHECK (attempts >= 0), -- payments begun
    created_at     timestamptz  NOT NULL,
    updated_at     timestamptz  NOT NULL,
    paid_at        timestamptz,
    CHECK ((status = 'completed') = (paid_at IS NOT NULL))
) WITH (fillfactor = 70); -- its status changes twice; this keeps it on its page
CREATE INDEX orders_open ON orders (status, created_at) WHERE status IN ('pending', 'processing');

-- The outcome of an order's payment: one for each order at most, which the primary key stands for. Appended and
-- never changed.
CREATE TABLE payments (
    id           bigint      PRIMARY KEY REFERENCES orders (id), -- the order's
    amount_minor bigint      NOT NULL CHECK (amount_minor >= 0),
    outcome      varchar(20) NOT NULL CHECK (outcome IN ('paid', 'declined', 'abandoned')),
    attempts     bigint      NOT NULL CHECK (attempts >= 1),
    created_at   timestamptz NOT NULL
);

-- What the shop or the customer is told about a final order: written with its status, delivered by the work with the
-- same id. Queued while that work is there, dead when the work is due in the year 9999.
CREATE TABLE notifications (
    id           bigint      PRIMARY KEY,                 -- of the sequence of work
    order_id     bigint      NOT NULL REFERENCES orders (id),
    channel      varchar(20) NOT NULL CHECK (channel IN ('webhook', 'email')),
    event        varchar(40) NOT NULL CHECK (event IN ('order.completed', 'order.failed')),
    created_at   timestamptz NOT NULL,
    delivered_at timestamptz                              -- NULL: not yet
);

CREATE TABLE accounts (
    id            bigint       PRIMARY KEY,               -- never re-used: see sequences
    username      varchar(128) NOT NULL,                  -- as shown
    username_key  varchar(128) NOT NULL UNIQUE,           -- in lower case
    email         varchar(254) NOT NULL,
    email_key     varchar(254) NOT NULL UNIQUE,
    full_name     varchar(400) NOT NULL DEFAULT '',
    password_hash varchar(128) NOT NULL,                  -- argon2id, with its parameters and salt
    created_at    timestamptz  NOT NULL
);

-- Trading orders, appended in order of acceptance with ids without gaps. What has become of one follows from
-- intake_state: executed up to executed_id, else perhaps with the sink up to sent_id, else queued.
CREATE TABLE intake_orders (
    id                bigint      PRIMARY KEY,
    account_id        bigint      NOT NULL, -- of accounts; no foreign key, which would take half as long again
    symbol            varchar(64) NOT NULL,
    side              varchar(4)  NOT NULL CHECK (side IN ('BUY', 'SELL')),
    order_type        varchar(20) NOT NULL
        CHECK (order_type IN ('MARKET', 'LIMIT', 'STOP', 'TRAILING_STOP', 'ICEBERG')),
    quantity          bigint      NOT NULL CHECK (quantity > 0), -- this and the next four: millionths
    price             bigint,
    stop_price        bigint,
    trailing_stop_pct bigint,
    iceberg_qty       bigint,
    time_in_force     varchar(16) NOT NULL,
    created_at        timestamptz NOT NULL,
    cancelled_at      timestamptz
);
CREATE INDEX intake_orders_account ON intake_orders (account_id, id);
CREATE INDEX intake_orders_cancelled ON intake_orders (account_id, id) WHERE cancelled_at IS NOT NULL;

-- The ranges that the sink has acknowledged. Appended and never changed.
CREATE TABLE intake_deliveries (
    last_id     bigint      PRIMARY KEY,
    first_id    bigint      NOT NULL CHECK (first_id <= last_id),
    executed_at timestamptz NOT NULL
);

-- One row. Who takes trading orders has it locked until the commit, so that ids have no gaps and tell the order in
-- which the orders of all nodes were accepted.
CREATE TABLE intake_state (
    id          bigint PRIMARY KEY CHECK (id = 1),
    next_id     bigint NOT NULL CHECK (next_id >= 1),     -- the next order's
    sent_id     bigint NOT NULL CHECK (sent_id >= 0),
    executed_id bigint NOT NULL CHECK (executed_id >= 0 AND executed_id <= sent_id)
) WITH (fillfactor = 10);
INSERT INTO intake_state (id, next_id, sent_id, executed_id) VALUES (1, 1, 0, 0);

-- What all nodes share and nobody else may know: the key that signs tokens. gen_random_uuid is strong randomness.
CREATE TABLE secrets (
    name  text  PRIMARY KEY,
    value bytea NOT NULL
);
INSERT INTO secrets (name, value)
VALUES ('tokens', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

INSERT INTO sequences (name, next_value) VALUES ('accounts', 1);

-- Who holds it hands trading orders to the sink; it is never done.
INSERT INTO work (id, kind, subject, body, due_at, token, created_at)
SELECT next_value, 'intake-delivery', '', '', to_timestamp(0), 0, to_timestamp(0) FROM sequences WHERE name = 'work';
UPDATE sequences SET next_value = next_value + 1 WHERE name = 'work';
