-- Embedded store, schema version 4: machines, and the line of users who wait for one; what products are listed under.
-- Times are milliseconds since 1970-01-01 UTC. Table and column names are the ones of the PostgreSQL store.

ALTER TABLE products ADD COLUMN category TEXT NOT NULL DEFAULT '';                 -- empty: none
ALTER TABLE products ADD COLUMN is_featured INTEGER NOT NULL DEFAULT 0 CHECK (is_featured = 0 OR is_featured = 1);

-- A machine and the lease that it has. A lease is one assignment to one user; its number is given out once, in order.
CREATE TABLE machines (
    id          INTEGER PRIMARY KEY,                 -- counts up from 1, never re-used: see pool
    name        TEXT    NOT NULL,
    status      TEXT    NOT NULL CHECK (status = 'idle' OR status = 'choose_product' OR status = 'processing'),
    is_draining INTEGER NOT NULL CHECK (is_draining = 0 OR is_draining = 1), -- takes no more users
    usage_count INTEGER NOT NULL CHECK (usage_count >= 0),                   -- completed leases
    lease_id    INTEGER,
    ticket_id   INTEGER,                             -- NULL: its user did not have to wait
    started_at  INTEGER,
    chosen_at   INTEGER,                             -- this and the next three: once a product is chosen
    product_id  INTEGER,
    units       INTEGER,
    purchase_id INTEGER,                             -- of the first unit; the others follow it
    due_at      INTEGER,                             -- when the choice times out, or the processing is done
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    CHECK ((status = 'idle') = (lease_id IS NULL) AND (status = 'idle') = (started_at IS NULL)
           AND (status = 'idle') = (due_at IS NULL)),
    CHECK ((status = 'processing') = (chosen_at IS NOT NULL) AND (status = 'processing') = (product_id IS NOT NULL)
           AND (status = 'processing') = (units IS NOT NULL) AND (status = 'processing') = (purchase_id IS NOT NULL))
);

-- Leases that have ended. Appended and never changed; machines and products may be gone by now.
CREATE TABLE leases (
    id          INTEGER PRIMARY KEY,
    machine_id  INTEGER NOT NULL,
    ticket_id   INTEGER,
    started_at  INTEGER NOT NULL,
    chosen_at   INTEGER,
    product_id  INTEGER,
    units       INTEGER CHECK (units >= 1),
    purchase_id INTEGER,
    outcome     TEXT    NOT NULL CHECK (outcome = 'completed' OR outcome = 'reset' OR outcome = 'timed_out'
                OR outcome = 'deleted' OR outcome = 'given_up'),
    ended_at    INTEGER NOT NULL,
    CHECK ((chosen_at IS NULL) = (product_id IS NULL) AND (chosen_at IS NULL) = (units IS NULL)
           AND (chosen_at IS NULL) = (purchase_id IS NULL)),
    CHECK (outcome <> 'completed' OR chosen_at IS NOT NULL)
);

-- Places in the waiting line. Leases numbered first_lease_id and up to, but without, end_lease_id were given out while
-- it waited; when it was served, end_lease_id is its own.
CREATE TABLE tickets (
    id             INTEGER PRIMARY KEY,              -- counts up from 1: who has the lower one comes first
    is_attached    INTEGER NOT NULL CHECK (is_attached = 0 OR is_attached = 1), -- it stands and falls with a connection
    state          TEXT    NOT NULL CHECK (state = 'waiting' OR state = 'served' OR state = 'left'
                   OR state = 'expired'),
    expires_at     INTEGER NOT NULL,
    first_lease_id INTEGER NOT NULL,
    end_lease_id   INTEGER,
    machine_id     INTEGER,                          -- served: of its lease
    created_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    CHECK ((state = 'waiting') = (end_lease_id IS NULL) AND (state = 'waiting') = (ended_at IS NULL)
           AND (state = 'served') = (machine_id IS NOT NULL))
);

-- One row: the next numbers to give out.
CREATE TABLE pool (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    next_machine_id INTEGER NOT NULL CHECK (next_machine_id >= 1),
    next_lease_id   INTEGER NOT NULL CHECK (next_lease_id >= 1),
    next_ticket_id  INTEGER NOT NULL CHECK (next_ticket_id >= 1)
);
INSERT INTO pool (id, next_machine_id, next_lease_id, next_ticket_id) VALUES (1, 1, 1, 1);

PRAGMA user_version = 4;
