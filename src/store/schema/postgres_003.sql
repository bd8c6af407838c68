-- PostgreSQL store, schema version 3: machines, and the line of users who wait for one; what products are listed under.
-- Table and column names are the ones of the embedded store; times are timestamptz of whole milliseconds.

ALTER TABLE products ADD COLUMN category varchar(64) NOT NULL DEFAULT '';          -- empty: none
ALTER TABLE products ADD COLUMN is_featured boolean NOT NULL DEFAULT false;
CREATE INDEX products_name ON products (product_name); -- some names are given out once

-- A machine and the lease that it has. A lease is one assignment to one user; its number is given out once, in order.
CREATE TABLE machines (
    id          bigint       PRIMARY KEY,            -- counts up from 1, never re-used: see pool
    name        varchar(255) NOT NULL,
    status      varchar(20)  NOT NULL CHECK (status IN ('idle', 'choose_product', 'processing')),
    is_draining boolean      NOT NULL,               -- takes no more users
    usage_count bigint       NOT NULL CHECK (usage_count >= 0), -- completed leases
    lease_id    bigint,
    ticket_id   bigint,                              -- NULL: its user did not have to wait
    started_at  timestamptz,
    chosen_at   timestamptz,                         -- this and the next three: once a product is chosen
    product_id  bigint,
    units       bigint,
    purchase_id bigint,                              -- of the first unit; the others follow it
    due_at      timestamptz,                         -- when the choice times out, or the processing is done
    created_at  timestamptz  NOT NULL,
    updated_at  timestamptz  NOT NULL,
    version     bigint       NOT NULL DEFAULT 0,     -- pool.version in which it last changed
    era         bigint       GENERATED ALWAYS AS (version / 16) STORED, -- see below
    CHECK ((status = 'idle') = (lease_id IS NULL) AND (status = 'idle') = (started_at IS NULL)
           AND (status = 'idle') = (due_at IS NULL)),
    CHECK ((status = 'processing') = (chosen_at IS NOT NULL) AND (status = 'processing') = (product_id IS NOT NULL)
           AND (status = 'processing') = (units IS NOT NULL) AND (status = 'processing') = (purchase_id IS NOT NULL))
) WITH (fillfactor = 50);
-- What has changed since a version is looked for in its era and those after it. A hot machine is rewritten with every
-- batch, and as long as nothing indexed changes the new row stays on its page (HOT): so the version has no index.
CREATE INDEX machines_era ON machines (era);

-- Leases that have ended. Appended and never changed; machines and products may be gone by now.
CREATE TABLE leases (
    id          bigint      PRIMARY KEY,
    machine_id  bigint      NOT NULL,
    ticket_id   bigint,
    started_at  timestamptz NOT NULL,
    chosen_at   timestamptz,
    product_id  bigint,
    units       bigint      CHECK (units >= 1),
    purchase_id bigint,
    outcome     varchar(20) NOT NULL CHECK (outcome IN ('completed', 'reset', 'timed_out', 'deleted', 'given_up')),
    ended_at    timestamptz NOT NULL,
    CHECK ((chosen_at IS NULL) = (product_id IS NULL) AND (chosen_at IS NULL) = (units IS NULL)
           AND (chosen_at IS NULL) = (purchase_id IS NULL)),
    CHECK (outcome <> 'completed' OR chosen_at IS NOT NULL)
);

-- Places in the waiting line. Leases numbered first_lease_id and up to, but without, end_lease_id were given out while
-- it waited; when it was served, end_lease_id is its own.
CREATE TABLE tickets (
    id             bigint      PRIMARY KEY,          -- counts up from 1: who has the lower one comes first
    is_attached    boolean     NOT NULL,             -- it stands and falls with a connection
    state          varchar(20) NOT NULL CHECK (state IN ('waiting', 'served', 'left', 'expired')),
    expires_at     timestamptz NOT NULL,
    first_lease_id bigint      NOT NULL,
    end_lease_id   bigint,
    machine_id     bigint,                           -- served: of its lease
    created_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    version        bigint      NOT NULL DEFAULT 0,   -- pool.version in which it last changed
    CHECK ((state = 'waiting') = (end_lease_id IS NULL) AND (state = 'waiting') = (ended_at IS NULL)
           AND (state = 'served') = (machine_id IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX tickets_version ON tickets (version);
CREATE INDEX tickets_waiting ON tickets (id) WHERE state = 'waiting';

-- One row, which stands for the whole pool: who changes a machine or a ticket has it locked until the commit. Nodes
-- keep a copy of the pool; what has a later version than theirs they still have to read, and from a copy older than
-- whole_version something may have to be taken out.
CREATE TABLE pool (
    id              bigint PRIMARY KEY CHECK (id = 1),
    next_machine_id bigint NOT NULL CHECK (next_machine_id >= 1),
    next_lease_id   bigint NOT NULL CHECK (next_lease_id >= 1),
    next_ticket_id  bigint NOT NULL CHECK (next_ticket_id >= 1),
    version         bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    whole_version   bigint NOT NULL DEFAULT 0 CHECK (whole_version >= 0 AND whole_version <= version)
) WITH (fillfactor = 10);
INSERT INTO pool (id, next_machine_id, next_lease_id, next_ticket_id) VALUES (1, 1, 1, 1);
