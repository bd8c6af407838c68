/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An order has one row under one id and one order_id, and its row says one of five things. Which of them came
 * before is not kept, so only what each of them demands is looked at. That an order_id is there once is told
 * from the rows (sums.h), not from an index.
 */
#include "verify/invariant.h"

#define HAS_ODD_VALUE                                                                                     \
    "typeof(id) <> 'integer' OR id < 1 OR typeof(order_id) <> 'text' OR order_id = '' "                   \
    "OR typeof(customer_id) <> 'integer' OR typeof(customer_email) <> 'text' OR typeof(items) <> 'text' " \
    "OR typeof(amount_minor) <> 'integer' OR amount_minor < 0 OR typeof(priority) <> 'integer' "          \
    "OR priority NOT BETWEEN 0 AND 9 OR typeof(is_sync) <> 'integer' OR is_sync NOT IN (0, 1) "           \
    "OR typeof(deadline) NOT IN ('integer', 'null') OR typeof(fingerprint) <> 'blob' "                    \
    "OR length(fingerprint) <> 16 OR typeof(attempts) <> 'integer' OR attempts < 0 "                      \
    "OR typeof(created_at) <> 'integer' OR typeof(updated_at) <> 'integer' "                              \
    "OR typeof(paid_at) NOT IN ('integer', 'null')"

#define FAULT                                                                                              \
    "CASE "                                                                                                \
    "WHEN " HAS_ODD_VALUE " THEN 'has a value that cannot be' "                                            \
    "WHEN ifnull(status, '') NOT IN ('pending', 'processing', 'completed', 'failed', 'cancelled') THEN "   \
    "'has no such status: ' || ifnull(status, 'none') "                                                    \
    "WHEN is_sync = 1 AND deadline IS NULL THEN 'has a customer who waits, and no deadline' "              \
    "WHEN is_sync = 0 AND deadline IS NOT NULL THEN 'has a deadline, and nobody who waits' "               \
    "WHEN status = 'completed' AND paid_at IS NULL THEN 'is completed, but was never paid' "               \
    "WHEN status <> 'completed' AND paid_at IS NOT NULL THEN 'was paid, but is ' || status "               \
    "WHEN updated_at < created_at - clock_doubt_ms THEN 'was changed before it was made' "                 \
    "WHEN paid_at < created_at - clock_doubt_ms THEN 'was paid before it was made' "                       \
    "WHEN status IN ('pending', 'cancelled') AND attempts > 0 THEN 'is ' || status || ', but its payment " \
    "was begun (' || attempts || ')' "                                                                     \
    "WHEN status IN ('processing', 'completed', 'failed') AND attempts = 0 THEN 'is ' || status || "       \
    "', but its payment was never begun' END"

#define FAULTS                                                                                              \
    "SELECT id, " AUDIT_ORDER " || ' ' || fault AS fault FROM (SELECT id, order_id, " FAULT " AS fault "    \
    "FROM temp.audit_orders CROSS JOIN temp.audit_store) AS o "                                             \
    "WHERE fault IS NOT NULL "                                                                              \
    "UNION ALL "                                                                                            \
    "SELECT id, 'order id ' || ifnull(id, 'none') || ' is there ' || count(*) || ' times' "                 \
    "FROM temp.audit_orders "                                                                               \
    "GROUP BY id HAVING count(*) > 1 "                                                                      \
    "UNION ALL "                                                                                            \
    "SELECT id_last, 'order \"' || order_id || '\" is there ' || orders || ' times, as ' || id_first || ' " \
    "and ' || id_last "                                                                                     \
    "FROM temp.audit_order_repeats"

const struct invariant inv_orders = {
    .name = "orders",
    .statement =
        "Every order is there once, under one id and one order_id, and is pending, processing, or in "
        "one final state.",
    .source = "orders contract (POST /orders/sync, GET /orders/{id})",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT faults = 0, audit_count(orders, 'order', 'orders') || ': ' || pending || ' pending, ' || "
        "processing || "
        "' processing, ' || completed || ' completed, ' || failed || ' failed, ' || cancelled || "
        "' cancelled; ' || faults || ' not as they must be' "
        "FROM (SELECT count(*) AS orders, ifnull(sum(status = 'pending'), 0) AS pending, "
        "ifnull(sum(status = 'processing'), 0) AS processing, "
        "ifnull(sum(status = 'completed'), 0) AS completed, ifnull(sum(status = 'failed'), 0) AS failed, "
        "ifnull(sum(status = 'cancelled'), 0) AS cancelled FROM temp.audit_orders) "
        "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
