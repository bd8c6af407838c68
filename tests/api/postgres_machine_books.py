# SPDX-License-Identifier: Apache-2.0
"""
Machines, leases, tickets and what machines have sold that are in order, in a PostgreSQL store, and ways of spoiling
them: each a row of (statements, the invariants that must fail, what the report must say). Times are seconds since 1970.
"""
from datetime import datetime, timezone

START_S = int(datetime(2026, 11, 20, 23, 47, 1, tzinfo=timezone.utc).timestamp())

# Machine 3 was deleted with lease 3, and what that one had bought is gone with its product. What machine 2 sold was
# sold through another node, whose block of ids is a later one.
GOOD_MACHINES = f"""
INSERT INTO products (id, sku, product_name, initial_stock, stock, price_minor, per_user_limit, start_time, end_time,
                      state, end_reason, created_at, updated_at)
SELECT id, sku, lower(sku), initial, stock, 0, 1, to_timestamp({START_S}), to_timestamp(253402300799), state, reason,
       to_timestamp({START_S}), to_timestamp({START_S} + 100)
FROM (VALUES (5, 'E', 10, 5, 'ACTIVE', NULL), (6, 'F', 2, 0, 'ENDED', 'SOLD_OUT'),
             (7, 'G', 0, 0, 'ENDED', 'SOLD_OUT'))
     AS p (id, sku, initial, stock, state, reason);
INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)
SELECT id, product, buyer, nth, to_timestamp({START_S} + at)
FROM (VALUES (113, 5, ' machine 1', 1, 10), (114, 5, ' machine 1', 2, 10), (15, 5, 'e1', 1, 15),
             (116, 5, ' machine 1', 3, 21), (17, 5, ' machine 2', 1, 35), (18, 6, ' machine 1', 1, 50),
             (19, 6, ' machine 1', 2, 50)) AS s (id, product, buyer, nth, at);
UPDATE sequences SET next_value = 8 WHERE name = 'products';
INSERT INTO machines (id, name, status, is_draining, usage_count, lease_id, started_at, chosen_at, product_id, units,
                      purchase_id, due_at, created_at, updated_at)
SELECT id, 'm', status, status = 'idle', used, lease, to_timestamp({START_S} + started),
       to_timestamp({START_S} + chosen), product, units, purchase, to_timestamp({START_S} + due),
       to_timestamp({START_S}), to_timestamp({START_S})
FROM (VALUES (1, 'processing', 1, 7, 49, 50, 6, 2, 18, 900),
             (2, 'choose_product', 1, 8, 51, NULL, NULL, NULL, NULL, 900),
             (4, 'idle', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL))
     AS m (id, status, used, lease, started, chosen, product, units, purchase, due);
INSERT INTO leases (id, machine_id, ticket_id, started_at, chosen_at, product_id, units, purchase_id, outcome, ended_at)
SELECT id, machine, ticket, to_timestamp({START_S} + started), to_timestamp({START_S} + chosen), product, units,
       purchase, outcome, to_timestamp({START_S} + ended)
FROM (VALUES (1, 1, NULL, 9, 10, 5, 2, 113, 'completed', 20), (2, 2, NULL, 12, NULL, NULL, NULL, NULL, 'timed_out', 30),
             (3, 3, NULL, 13, 14, 66, 2, 1501, 'deleted', 40), (4, 1, 1, 20, 21, 5, 1, 116, 'reset', 35),
             (5, 2, 3, 30, NULL, NULL, NULL, NULL, 'given_up', 31), (6, 2, NULL, 33, 35, 5, 1, 17, 'completed', 50))
     AS l (id, machine, ticket, started, chosen, product, units, purchase, outcome, ended);
INSERT INTO tickets (id, is_attached, state, expires_at, first_lease_id, end_lease_id, machine_id, created_at, ended_at)
SELECT id, id % 2 = 0, state, to_timestamp({START_S} + 900), first, ended, machine, to_timestamp({START_S} + 15 + id),
       CASE WHEN ended IS NOT NULL THEN to_timestamp({START_S} + 30 + id) END
FROM (VALUES (1, 'served', 4, 4, 1), (2, 'left', 4, 5, NULL), (3, 'served', 5, 5, 2), (4, 'expired', 6, 6, NULL),
             (5, 'waiting', 9, NULL, NULL)) AS t (id, state, first, ended, machine);
UPDATE pool SET next_machine_id = 5, next_lease_id = 9, next_ticket_id = 6;
"""

MACHINE_ROWS = [
    ("UPDATE machines SET status = 'broken' WHERE id = 4", "machines", "machine 4 has no such status: broken"),
    ("UPDATE machines SET due_at = NULL WHERE id = 1", "machines", "machine 1 has lease 7, which is never due"),
    ("UPDATE machines SET is_draining = NULL WHERE id = 4", "machines", "machine 4 has a value that cannot be"),
    ("INSERT INTO machines (id, name, status, is_draining, usage_count, created_at, updated_at, version)"
        " SELECT id, name, status, is_draining, usage_count, created_at, updated_at, version FROM machines"
        " WHERE id = 4", "machines", "machine 4 is there 2 times"),
    ("UPDATE leases SET outcome = 'deleted' WHERE id = 4", "leases",
        "lease 4 ended with machine 1, which is still there"),
    ("UPDATE leases SET ended_at = ended_at + interval '1 microsecond' WHERE id = 6", "leases",
        "lease 6 has a value that cannot be"),
    ("DELETE FROM leases WHERE id = 2", "leases", "lease 3 comes after a gap: there is no 2"),
    ("INSERT INTO leases SELECT * FROM leases WHERE id = 3", "leases one-holder machine-sales",
        "lease 3 has ended 2 times"),
    ("UPDATE leases SET ended_at = started_at + interval '3001 ms' WHERE id = 5", "one-holder",
        "lease 6 of machine 2 started at 2026-11-20T23:47:34.000Z, but lease 5 ended at 2026-11-20T23:47:34.001Z"),
    ("UPDATE machines SET usage_count = 2 WHERE id = 4", "usage-count",
        "machine 4 says 2, but has completed 0 leases"),
    ("INSERT INTO purchase_log SELECT 1200, 5, ' machine 1', 4, purchased_at FROM purchase_log WHERE id = 15;"
        "UPDATE products SET stock = 4 WHERE id = 5", "machine-sales",
        'purchase 1200 PUR-20261120-1200 of " machine 1" has no lease that it was sold by'),
    ("DELETE FROM purchase_log WHERE id = 17; UPDATE products SET stock = 6 WHERE id = 5", "machine-sales",
        "lease 6 of machine 2 has bought 1, but 0 of them are there"),
    ("DELETE FROM tickets WHERE id = 4", "tickets", "ticket 5 comes after a gap: there is no 4"),
    ("UPDATE tickets SET ended_at = NULL WHERE id = 2", "tickets", "ticket 2 is left, but has not ended"),
    ("UPDATE leases SET ticket_id = 2 WHERE id = 6", "served-tickets",
        "lease 6 was given to ticket 2, which is left"),
    ("UPDATE tickets SET first_lease_id = 8 WHERE id = 5", "nobody-overtaken",
        "lease 8 of machine 2 was given to nobody who waited, while ticket 5 waited"),
    ("UPDATE leases SET ticket_id = 2 WHERE id = 4;"
        "UPDATE tickets SET state = 'left', machine_id = NULL, end_lease_id = 5 WHERE id = 1;"
        "UPDATE tickets SET state = 'served', machine_id = 1, end_lease_id = 4 WHERE id = 2",
        "nobody-overtaken", "ticket 2 was served with lease 4, but one before it waited until lease 4"),
    ("UPDATE machines SET is_draining = false WHERE id = 4", "line-moves", "machine 4 is idle, while ticket 5 waits"),
    ("UPDATE pool SET next_machine_id = 4", "sequences", "machine 4 has an id that comes again: the next one is 4"),
    ("UPDATE pool SET next_ticket_id = 5", "sequences", "ticket 5 comes again: the next one is 5"),
    ("DELETE FROM pool", "sequences", "there are 0 rows that say which machine, lease and ticket come next"),
    ("UPDATE sequences SET next_value = 1501 WHERE name = 'purchases'", "sequences",
        "purchase id 1502, which lease 3 has bought, comes again: the next one is 1501"),
]

# What is in order too: a sale made anew has taken all its purchases with it, those of machines among them.
ALLOWED_MACHINES = """
DELETE FROM purchase_log WHERE product_id = 5;
UPDATE products SET stock = 9 WHERE id = 5;
INSERT INTO purchase_log VALUES (1300, 5, 'e2', 1, '2026-11-20 23:50:00+00');
UPDATE products SET stock = 1, initial_stock = 3, state = 'ACTIVE', end_reason = NULL WHERE id = 6;
"""
