# SPDX-License-Identifier: Apache-2.0
"""
Wallets, the transfers of their coins and what was bought with them that are in order, in a PostgreSQL store, and ways
of spoiling them: each a row of (statements, the invariants that must fail, what the report must say).
"""
from postgres_machine_books import START_S

C, D, E = ("cc01c0fe" * 8, "dd02d0fe" * 8, "ee03e0fe" * 8)

# Two nodes have given out ids, so that neither those of transfers nor those of purchases are an order of time. What
# account 11 bought as purchase 1600 is gone with its product.
GOOD_MARKET = f"""
INSERT INTO products (id, sku, product_name, initial_stock, stock, price_minor, per_user_limit, start_time, end_time,
                      state, end_reason, created_at, updated_at)
VALUES (8, 'W', 'w', 5, 2, 1250, 1, to_timestamp({START_S}), to_timestamp(253402300799), 'ACTIVE', NULL,
        to_timestamp({START_S}), to_timestamp({START_S} + 60));
INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)
SELECT id, 8, ' key ' || buyer, nth, to_timestamp({START_S} + at)
FROM (VALUES (124, '{C}', 1, 24), (25, '{D}', 1, 35), (26, '{C}', 2, 36)) AS s (id, buyer, nth, at);
UPDATE sequences SET next_value = 9 WHERE name = 'products';
INSERT INTO accounts (id, username, username_key, email, email_key, full_name, password_hash, created_at)
SELECT id, ' key ' || key, ' key ' || key, name || '@x.example', lower(name) || '@x.example', name, '',
       to_timestamp({START_S})
FROM (VALUES (10, '{C}', 'Cid'), (11, '{D}', 'Dot'), (12, '{E}', 'Eve')) AS a (id, key, name);
UPDATE sequences SET next_value = 1000 WHERE name = 'accounts';
INSERT INTO wallets (account_id, public_key, balance_minor, last_transfer_id, updated_at)
SELECT id, decode(key, 'hex'), balance, last, to_timestamp({START_S})
FROM (VALUES (10, '{C}', 5500, 7), (11, '{D}', 10000, 8), (12, '{E}', 0, NULL)) AS w (id, key, balance, last);
INSERT INTO transfers (id, kind, from_account, to_account, from_previous_id, to_previous_id, amount_minor,
                       from_balance_minor, to_balance_minor, product_id, purchase_id, nonce, fingerprint, created_at)
SELECT id, kind, payer, payee, payer_before, payee_before, amount, payer_after, payee_after, product, purchase, nonce,
       CASE WHEN nonce IS NOT NULL THEN decode(repeat('00', 16), 'hex') END, to_timestamp({START_S} + at)
FROM (VALUES (1001, 'opening', NULL, 10, NULL, NULL, 10000, NULL, 10000, NULL, NULL, NULL, 20),
             (2, 'opening', NULL, 11, NULL, NULL, 10000, NULL, 10000, NULL, NULL, NULL, 21),
             (3, 'credit', NULL, 11, NULL, 2, 500, NULL, 10500, NULL, NULL, 'gift', 22),
             (1004, 'spend', 10, NULL, 1001, NULL, 1250, 8750, NULL, 8, 124, 'n-1', 24),
             (5, 'transfer', 10, 11, 1004, 3, 2000, 6750, 12500, NULL, NULL, 'n-2', 30),
             (6, 'spend', 11, NULL, 5, NULL, 1250, 11250, NULL, 8, 25, 'n-1', 35),
             (7, 'spend', 10, NULL, 5, NULL, 1250, 5500, NULL, 8, 26, 'n-3', 36),
             (8, 'spend', 11, NULL, 6, NULL, 1250, 10000, NULL, 66, 1600, 'n-4', 37))
     AS t (id, kind, payer, payee, payer_before, payee_before, amount, payer_after, payee_after, product, purchase,
           nonce, at);
UPDATE sequences SET next_value = 2001 WHERE name = 'transfers';
"""

MARKET_ROWS = [
    (f"UPDATE wallets SET public_key = decode('{C}', 'hex') WHERE account_id = 12", "wallets",
        "the wallet of account 12 has the key of account 10"),
    ("INSERT INTO wallets SELECT * FROM wallets WHERE account_id = 12", "wallets", "account 12 has 2 wallets"),
    ("DELETE FROM accounts WHERE id = 12", "wallets", "the wallet of account 12 has no account"),
    ("DELETE FROM wallets WHERE account_id = 12", "wallets", "account 12 is named by a key, but has no wallet"),
    ("UPDATE wallets SET updated_at = updated_at + interval '1 microsecond' WHERE account_id = 12", "wallets",
        "the wallet of account 12 has a value that cannot be"),
    ("UPDATE transfers SET kind = 'gift' WHERE id = 3", "transfers", "transfer 3 is of no such kind: gift"),
    ("UPDATE transfers SET fingerprint = NULL WHERE id = 5", "transfers", "transfer 5 is not named as it must be"),
    ("UPDATE transfers SET nonce = 'n-1' WHERE id = 7", "nonces",
        'transfer 1004 of account 10 has the nonce "n-1" of transfer 7'),
    ("UPDATE transfers SET kind = 'opening', nonce = NULL, fingerprint = NULL WHERE id = 3", "openings",
        "transfer 3 opens the wallet of account 11, which had transfer 2 before"),
    ("UPDATE transfers SET amount_minor = 4000, to_balance_minor = 4000 WHERE id = 1001;"
        "UPDATE transfers SET from_balance_minor = from_balance_minor - 6000 WHERE from_account = 10;"
        "UPDATE wallets SET balance_minor = -500 WHERE account_id = 10", "balances",
        "the wallet of account 10 has -5.00"),
    ("UPDATE wallets SET balance_minor = balance_minor + account_id * 2 - 21 WHERE account_id < 12", "wallet-sums",
        "the wallet of account 10 has 54.99, but its transfers come to 55.00"),
    ("UPDATE wallets SET balance_minor = 100 WHERE account_id = 12", "wallet-sums coins-issued",
        "205.00 were issued, but 156.00 are in wallets and 50.00 were spent"),
    ("UPDATE transfers SET from_previous_id = 1004 WHERE id = 7", "transfer-chains",
        "transfer 5 is not in the history of account 10"),
    ("UPDATE wallets SET last_transfer_id = NULL WHERE account_id = 10", "transfer-chains",
        "transfer 1001 is not in the history of account 10"),
    ("UPDATE transfers SET to_balance_minor = 12501 WHERE id = 5", "transfer-chains",
        "transfer 6 of account 11 does not go on from what transfer 5 has left"),
    ("DELETE FROM purchase_log WHERE id = 26; UPDATE products SET stock = 3 WHERE id = 8", "spends",
        "spend 7 of account 10 has no purchase: there is no 26"),
    ("DELETE FROM purchase_log WHERE product_id = 8;"
        f"UPDATE products SET stock = 5, updated_at = to_timestamp({START_S}) WHERE id = 8", "spends",
        "spend 6 of account 11 has no purchase: there is no 25"),
    ("DELETE FROM transfers WHERE id = 7;"
        "UPDATE wallets SET balance_minor = 6750, last_transfer_id = 5 WHERE account_id = 10", "spends",
        f'purchase 26 PUR-20261120-0026 of " key {C}" was not paid for'),
    (f"UPDATE purchase_log SET user_id = ' key {E}' WHERE id = 25", "spends", ", which is not the payer"),
    ("UPDATE transfers SET created_at = created_at + interval '1 ms' WHERE id = 6", "spends",
        ", which was made at another time"),
    ("UPDATE sequences SET next_value = 1004 WHERE name = 'transfers'", "sequences",
        "id 1004 stands in transfers and comes again: the next one is 1004"),
    ("UPDATE sequences SET next_value = 1600 WHERE name = 'purchases'", "sequences",
        "purchase id 1600, which spend 8 has paid for, comes again: the next one is 1600"),
]

# What is in order too: a sale made anew has taken all its purchases with it, those that were paid for among them.
ALLOWED_MARKET = """
DELETE FROM purchase_log WHERE product_id = 8;
UPDATE products SET stock = 4 WHERE id = 8;
INSERT INTO purchase_log VALUES (1301, 8, 'w2', 1, '2026-11-20 23:50:00+00');
"""
