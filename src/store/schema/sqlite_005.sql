-- Embedded store, schema version 5: wallets, and the transfers that moved their coins. Times are milliseconds since
-- 1970-01-01 UTC, coins are in hundredths. Table and column names are the ones of the PostgreSQL store.

-- A transfer can be followed back from a wallet's last one: each names the one that its wallets had before it. So a
-- history needs no index, which would write a page for every wallet of a batch.
CREATE TABLE wallets (
    account_id       INTEGER PRIMARY KEY REFERENCES accounts (id),
    public_key       BLOB    NOT NULL UNIQUE CHECK (length(public_key) = 32),  -- Ed25519
    balance_minor    INTEGER NOT NULL CHECK (balance_minor >= 0),
    last_transfer_id INTEGER,
    updated_at       INTEGER NOT NULL
);

-- Appended and never changed. From the issue (from_account is NULL) or a wallet, to a wallet or the shop (to_account is
-- NULL). A payer, or for a credit the admin, names each once by its nonce.
CREATE TABLE transfers (
    id                 INTEGER PRIMARY KEY,              -- never re-used: see sequences
    kind               TEXT    NOT NULL CHECK (kind = 'opening' OR kind = 'credit' OR kind = 'transfer'
                       OR kind = 'spend'),
    from_account       INTEGER,
    to_account         INTEGER,
    from_previous_id   INTEGER,
    to_previous_id     INTEGER,
    amount_minor       INTEGER NOT NULL CHECK (amount_minor > 0),
    from_balance_minor INTEGER CHECK (from_balance_minor >= 0),                -- afterwards
    to_balance_minor   INTEGER CHECK (to_balance_minor >= 0),
    product_id         INTEGER,                          -- spend: what was bought, and the order of it
    purchase_id        INTEGER,
    nonce              TEXT,
    fingerprint        BLOB,                             -- 16 bytes: hash of what makes it the same one
    created_at         INTEGER NOT NULL,
    CHECK ((from_account IS NULL) = (kind = 'opening' OR kind = 'credit')),
    CHECK ((to_account IS NULL) = (kind = 'spend')),
    CHECK ((from_account IS NULL) = (from_balance_minor IS NULL)),
    CHECK ((to_account IS NULL) = (to_balance_minor IS NULL)),
    CHECK ((kind = 'spend') = (product_id IS NOT NULL) AND (kind = 'spend') = (purchase_id IS NOT NULL)),
    CHECK ((kind = 'opening') = (nonce IS NULL) AND (nonce IS NULL) = (fingerprint IS NULL))
);

INSERT INTO sequences (name, next_value) VALUES ('transfers', 1);

PRAGMA user_version = 5;
