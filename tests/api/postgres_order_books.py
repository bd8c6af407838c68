# SPDX-License-Identifier: Apache-2.0
"""
Orders, accounts and trading orders that are in order, in a PostgreSQL store, and ways of spoiling them: each a row of
(statements, the invariants that must fail, what the report must say). The schema's own work is piece 1; times are
seconds since 1970.
"""

ITEMS = '[{"product_id":"P","quantity":2,"price":9.99}]'
MIXED = '[{"product_id":"P","quantity":3,"price":0.335},{"product_id":"Q","quantity":1,"price":1e1}]'
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"

GOOD_ORDERS = f"""
INSERT INTO orders (id, order_id, customer_id, customer_email, items, amount_minor, priority, is_sync, deadline,
                    fingerprint, status, attempts, created_at, updated_at, paid_at)
SELECT id, order_id, 7, email, items, amount, 5, is_sync, CASE WHEN is_sync THEN to_timestamp(19) END,
       decode(repeat('00', 16), 'hex'), status, attempts, to_timestamp(9), to_timestamp(10),
       CASE WHEN status = 'completed' THEN to_timestamp(10) END
FROM (VALUES (22, 'o-pending', '', '{ITEMS}', 1998, false, 'pending', 0),
             (23, 'o-processing', '', '{ITEMS}', 1998, true, 'processing', 1),
             (24, 'o-paid', 'a@x.example', '{MIXED}', 1101, true, 'completed', 2),
             (27, 'o-declined', '', '{ITEMS}', 1998, true, 'failed', 1),
             (31, 'o-cancelled', '', '{ITEMS}', 1998, true, 'cancelled', 0))
     AS o (id, order_id, email, items, amount, is_sync, status, attempts);
INSERT INTO payments VALUES (24, 1101, 'paid', 2, to_timestamp(10)), (27, 1998, 'declined', 1, to_timestamp(10));
INSERT INTO notifications VALUES
    (25, 24, 'webhook', 'order.completed', to_timestamp(10), to_timestamp(11)),
    (26, 24, 'email', 'order.completed', to_timestamp(10), NULL),
    (28, 27, 'webhook', 'order.failed', to_timestamp(10), NULL);
INSERT INTO work (id, kind, subject, body, due_at, token, created_at) VALUES
    (22, 'payment', 'o-pending', '', to_timestamp(1), 0, to_timestamp(9)),
    (23, 'payment', 'o-processing', '', to_timestamp(1), 1, to_timestamp(9)),
    (26, 'email', 'a@x.example', '', to_timestamp(1), 3, to_timestamp(10)),
    (28, 'webhook', 'o-declined', '', to_timestamp(253402300799), 9, to_timestamp(10));
UPDATE sequences SET next_value = 1000 WHERE name = 'work';
INSERT INTO accounts VALUES
    (1, 'Ann', 'ann', 'Ann@x.example', 'ann@x.example', 'Ann A', '{HASH}', to_timestamp(1)),
    (2, 'bob', 'bob', 'bob@x.example', 'bob@x.example', '', '{HASH}', to_timestamp(1));
UPDATE sequences SET next_value = 100 WHERE name = 'accounts';
INSERT INTO intake_orders (id, account_id, symbol, side, order_type, quantity, price, time_in_force, created_at,
                           cancelled_at) VALUES
    (1, 1, 'AAPL', 'BUY', 'LIMIT', 100000000, 150000000, 'GTC', to_timestamp(1), NULL),
    (2, 2, 'AAPL', 'SELL', 'MARKET', 100000000, NULL, 'GTC', to_timestamp(1), to_timestamp(2)),
    (3, 1, 'AAPL', 'BUY', 'STOP', 1, NULL, 'GTC', to_timestamp(1), NULL),
    (4, 1, 'AAPL', 'SELL', 'ICEBERG', 1, 1, 'GTC', to_timestamp(1), to_timestamp(99));
INSERT INTO intake_deliveries VALUES (2, 1, to_timestamp(20)), (3, 3, to_timestamp(30));
UPDATE intake_state SET next_id = 5, sent_id = 3, executed_id = 3;
"""

ORDER_ROWS = [
    ("UPDATE orders SET order_id = 'o-declined' WHERE id = 31", "orders",
        'order "o-declined" is there 2 times, as 27 and 31'),
    ("INSERT INTO orders SELECT * FROM orders WHERE id = 31", "orders", "order id 31 is there 2 times"),
    ("UPDATE orders SET status = 'lost' WHERE id = 31", "orders", 'order 31 "o-cancelled" has no such status: lost'),
    ("UPDATE orders SET is_sync = NULL WHERE id = 31", "orders", 'order 31 "o-cancelled" has a value that cannot be'),
    ("UPDATE orders SET deadline = NULL WHERE id = 31", "orders",
        'order 31 "o-cancelled" has a customer who waits, and no deadline'),
    ("UPDATE orders SET updated_at = created_at - interval '1001 ms' WHERE id = 31", "orders",
        'order 31 "o-cancelled" was changed before it was made'),
    ("UPDATE orders SET updated_at = updated_at + interval '1 microsecond' WHERE id = 31", "orders",
        'order 31 "o-cancelled" has a value that cannot be'),
    ("UPDATE orders SET amount_minor = 1999 WHERE id = 31", "order-items",
        'order 31 "o-cancelled" has the amount 19.99, but its items come to 19.98'),
    ("DELETE FROM work WHERE id = 22", "order-work",
        'order 22 "o-pending" is pending, but its payment is not among the work to do'),
    ("INSERT INTO work VALUES (31, 'payment', 'o-cancelled', '', to_timestamp(1), 0, to_timestamp(1))", "order-work",
        'work 31 of kind payment is for order 31 "o-cancelled", which is cancelled'),
    ("DELETE FROM payments WHERE id = 24", "payments", 'order 24 "o-paid" is completed without an outcome'),
    ("INSERT INTO payments SELECT * FROM payments WHERE id = 24", "payments", "payment 24 is there 2 times"),
    ("INSERT INTO payments VALUES (31, 1998, 'paid', 1, to_timestamp(10))", "payments",
        'payment 31 is paid, but order 31 "o-cancelled" is cancelled'),
    ("DELETE FROM work WHERE id = 26", "notifications",
        "notification 26 (email) of order 24 is neither delivered nor to do"),
    ("UPDATE notifications SET delivered_at = to_timestamp(11) WHERE id = 28", "notifications",
        "notification 28 (webhook) of order 27 is delivered and still to do"),
    ("INSERT INTO notifications SELECT 30, order_id, channel, event, created_at, created_at FROM notifications"
        " WHERE id = 25", "notifications", "order 24 has 2 notifications by webhook"),
    ("UPDATE sequences SET next_value = 29 WHERE name = 'work'", "sequences",
        'order 31 "o-cancelled" has an id that comes again: the next one is 29'),
    ("UPDATE sequences SET next_value = 2 WHERE name = 'accounts'", "sequences", "id 12 stands in accounts"),
    ("UPDATE accounts SET username = 'ANN', username_key = 'ann' WHERE id = 2", "accounts",
        "account 2 has the name of account 1"),
    ("UPDATE accounts SET email = 'ANN@x.example', email_key = 'ann@x.example' WHERE id = 2", "accounts",
        "account 2 has the address of account 1"),
    ("UPDATE accounts SET password_hash = 'secret' WHERE id = 1", "accounts",
        "account 1 has a password that is not kept as argon2id"),
    ("DELETE FROM intake_orders WHERE id = 3", "trading-orders", "trading order 4 comes after a gap: there is no 3"),
    ("DELETE FROM intake_orders WHERE id = 4", "trading-orders", "the next trading order is 5, but the last is 3"),
    ("UPDATE intake_state SET next_id = 6", "trading-orders", "the next trading order is 6, but the last is 4"),
    ("INSERT INTO intake_orders SELECT * FROM intake_orders WHERE id = 4", "trading-orders",
        "trading order 4 is there 2 times"),
    ("UPDATE intake_orders SET account_id = 9 WHERE id = 4", "trading-orders",
        "trading order 4 belongs to account 9, which does not exist"),
    ("UPDATE intake_orders SET cancelled_at = to_timestamp(21.001) WHERE id = 1", "deliveries",
        "trading order 1 was cancelled at 1970-01-01T00:00:21.001Z, but executed at 1970-01-01T00:00:20.000Z"),
    ("UPDATE intake_deliveries SET first_id = 2 WHERE last_id = 3", "deliveries",
        "delivery 2 to 3 should begin with 3"),
    ("INSERT INTO intake_deliveries SELECT * FROM intake_deliveries WHERE last_id = 3", "deliveries",
        "delivery 3 to 3 should begin with 4"),
    ("UPDATE intake_state SET executed_id = 2", "deliveries", "executed up to 2, but the deliveries end with 3"),
    ("INSERT INTO intake_state SELECT * FROM intake_state", "deliveries", "there are 2 rows that say how far"),
    ("UPDATE work SET due_at = to_timestamp(253402300799) WHERE kind = 'intake-delivery'", "delivery-work",
        "work 1, which hands trading orders over, is dead"),
    ("DELETE FROM work WHERE kind = 'intake-delivery'", "delivery-work", "is there 0 times"),
]

# Within the doubt there is between the clocks of nodes.
TOLERATED = """
UPDATE orders SET updated_at = created_at - interval '1000 ms', paid_at = created_at - interval '1000 ms'
WHERE id = 24;
UPDATE notifications SET delivered_at = created_at - interval '1000 ms' WHERE id = 25;
UPDATE intake_orders SET cancelled_at = to_timestamp(21) WHERE id = 1;
"""
