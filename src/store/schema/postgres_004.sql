-- PostgreSQL store, schema version 4: wallets, and the transfers that moved their coins. Table and column names are the
-- ones of the embedded store; times are timestamptz of whole milliseconds, coins are in hundredths.

-- A transfer can be followed back from a wallet's last one: each names the one that its wallets had before it.
CREATE TABLE wallets (
    account_id       bigint      PRIMARY KEY REFERENCES accounts (id),
    public_key       bytea       NOT NULL UNIQUE CHECK (octet_length(public_key) = 32), -- Ed25519
    balance_minor    bigint      NOT NULL CHECK (balance_minor >= 0),
    last_transfer_id bigint,
    updated_at       timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Appended and never changed. From the issue (from_account is NULL) or a wallet, to a wallet or the shop (to_account is
-- NULL). A payer, or for a credit the admin, names each once by its nonce, which the index stands for.
CREATE TABLE transfers (
    id                 bigint       PRIMARY KEY,           -- never re-used: see sequences
    kind               varchar(20)  NOT NULL CHECK (kind IN ('opening', 'credit', 'transfer', 'spend')),
    from_account       bigint,
    to_account         bigint,
    from_previous_id   bigint,
    to_previous_id     bigint,
    amount_minor       bigint       NOT NULL CHECK (amount_minor > 0),
    from_balance_minor bigint       CHECK (from_balance_minor >= 0), -- afterwards
    to_balance_minor   bigint       CHECK (to_balance_minor >= 0),
    product_id         bigint,                             -- spend: what was bought, and the order of it
    purchase_id        bigint,
    nonce              varchar(256),
    fingerprint        bytea        CHECK (octet_length(fingerprint) = 16), -- hash of what makes it the same one
    created_at         timestamptz  NOT NULL,
    CHECK ((from_account IS NULL) = (kind IN ('opening', 'credit'))),
    CHECK ((to_account IS NULL) = (kind = 'spend')),
    CHECK ((from_account IS NULL) = (from_balance_minor IS NULL)),
    CHECK ((to_account IS NULL) = (to_balance_minor IS NULL)),
    CHECK ((kind = 'spend') = (product_id IS NOT NULL) AND (kind = 'spend') = (purchase_id IS NOT NULL)),
    CHECK ((kind = 'opening') = (nonce IS NULL) AND (nonce IS NULL) = (fingerprint IS NULL))
);
CREATE UNIQUE INDEX transfers_nonce ON transfers (coalesce(from_account, 0), nonce) WHERE nonce IS NOT NULL;

INSERT INTO sequences (name, next_value) VALUES ('transfers', 1);
