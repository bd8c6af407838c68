-- PostgreSQL store, schema version 1. Table and column names are the ones of the embedded store and of the
-- flash-sale contract (section 6); times are timestamptz of whole milliseconds, money is in minor units.
-- Run by `doorbuster migrate` in one transaction with the change of doorbuster_schema.

CREATE TABLE products (
    id             bigint       PRIMARY KEY,             -- never re-used: see sequences
    sku            varchar(64)  NOT NULL UNIQUE,
    product_name   varchar(255) NOT NULL,
    initial_stock  bigint       NOT NULL CHECK (initial_stock >= 0),
    stock          bigint       NOT NULL CHECK (stock >= 0 AND stock <= initial_stock),
    price_minor    bigint       NOT NULL CHECK (price_minor >= 0),
    per_user_limit bigint       NOT NULL CHECK (per_user_limit >= 1),
    start_time     timestamptz  NOT NULL,
    end_time       timestamptz  NOT NULL CHECK (end_time > start_time),
    state          varchar(20)  NOT NULL CHECK (state IN ('UPCOMING', 'ACTIVE', 'ENDED')),
    end_reason     varchar(20)  CHECK (end_reason IN ('SOLD_OUT', 'TIME_EXPIRED')),
    created_at     timestamptz  NOT NULL,
    created_by     varchar(255) NOT NULL DEFAULT 'admin',
    updated_at     timestamptz  NOT NULL,
    updated_by     varchar(255) NOT NULL DEFAULT 'admin',
    CHECK ((state = 'ENDED') = (end_reason IS NOT NULL))
) WITH (fillfactor = 50); -- a hot row is rewritten with every batch; this keeps it on its page (HOT)

-- Appended and never changed. One purchase is one unit. The rules decide who may buy; the constraints stand behind
-- them as the last wall, for the day on which somebody changes rows by hand.
CREATE TABLE purchase_log (
    id           bigint       PRIMARY KEY,               -- never re-used: see sequences
    product_id   bigint       NOT NULL REFERENCES products (id),
    user_id      varchar(255) NOT NULL,
    nth          bigint       NOT NULL CHECK (nth >= 1), -- the buyer's first, second, ... unit of this product
    purchased_at timestamptz  NOT NULL,
    CONSTRAINT uq_product_user UNIQUE (product_id, user_id, nth)
);

-- What everybody reads. The columns that follow from others are not stored.
CREATE VIEW purchases AS
SELECT
    id,
    product_id,
    user_id,
    nth,
    purchased_at,
    'PUR-' || to_char(purchased_at AT TIME ZONE 'UTC', 'YYYYMMDD') || '-'
        || lpad(id::text, greatest(4, length(id::text)), '0') AS purchase_no,
    purchased_at  AS created_at,
    'system'      AS created_by,
    purchased_at  AS updated_at,
    'system'      AS updated_by
FROM purchase_log;

-- The answer that was given to a request with an Idempotency-Key, in the same transaction as its effect. Kept for
-- 24 hours (--idempotency-ttl). The primary key lets a second node that is asked the same thing at the same moment
-- find out.
CREATE TABLE idempotency_keys (
    id           bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    scope        text        NOT NULL,                   -- who used the key: "purchase:<user>", "admin"
    key          text        NOT NULL,
    fingerprint  bytea       NOT NULL CHECK (octet_length(fingerprint) = 16), -- hash of method, path and body
    result       integer     NOT NULL,                   -- a number of core/result.def
    number       bigint      NOT NULL,                   -- purchase id, 0 when there is none
    time         bigint      NOT NULL,                   -- the time that the answer tells, ms since 1970 UTC
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

-- The next ids to reserve. A node takes a block of them in a transaction of its own and gives them out one by one;
-- what it does not use is never used. So an id is never given out twice, and gaps are harmless.
CREATE TABLE sequences (
    name       text   PRIMARY KEY,
    next_value bigint NOT NULL CHECK (next_value >= 1)
) WITH (fillfactor = 10);

INSERT INTO sequences (name, next_value) VALUES ('products', 1), ('purchases', 1), ('work', 1);

-- Things to do later, each once. A node claims what is due by moving due_at to the end of its lease and raising
-- token; who finishes has to name the token, so a node that comes back too late changes nothing. Work whose node
-- has died is due again when the lease has run out.
CREATE TABLE work (
    id            bigint      PRIMARY KEY,
    kind          text        NOT NULL,
    subject       text        NOT NULL,                  -- what it is about: a sku, an order
    body          text        NOT NULL DEFAULT '',       -- what the kind needs to do it
    due_at        timestamptz NOT NULL,                  -- not before; while it is claimed: end of the lease
    token         bigint      NOT NULL DEFAULT 0 CHECK (token >= 0),       -- claims so far: the fence
    created_at    timestamptz NOT NULL
);
CREATE INDEX work_due ON work (kind, due_at, id);
