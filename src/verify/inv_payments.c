/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise to the customer: charged at most once, and only for what was done. A payment row is the outcome
 * that the provider's answers came to; what the provider itself holds is not in the store.
 */
#include "verify/invariant.h"

#define FAULT                                                                                               \
    "CASE "                                                                                                 \
    "WHEN typeof(p.id) <> 'integer' OR typeof(p.amount_minor) <> 'integer' OR p.amount_minor < 0 "          \
    "OR typeof(p.attempts) <> 'integer' OR p.attempts < 1 OR typeof(p.created_at) <> 'integer' "            \
    "OR ifnull(p.outcome, '') NOT IN ('paid', 'declined', 'abandoned') THEN ' has a value that cannot be' " \
    "WHEN o.id IS NULL THEN ' has no order' "                                                               \
    "WHEN o.status NOT IN ('completed', 'failed') THEN ' is ' || p.outcome || ', but ' || " AUDIT_ORDER     \
    " || ' is ' || o.status "                                                                               \
    "WHEN (o.status = 'completed') <> (p.outcome = 'paid') THEN ' is ' || p.outcome || ', but ' "           \
    "|| " AUDIT_ORDER " || ' is ' || o.status "                                                             \
    "WHEN p.amount_minor <> o.amount_minor THEN ' is of ' || p.amount_minor || ', but ' || " AUDIT_ORDER    \
    " || ' comes to ' || o.amount_minor "                                                                   \
    "WHEN p.attempts <> o.attempts THEN ' took ' || p.attempts || ' attempts, but ' || " AUDIT_ORDER        \
    " || ' has ' || o.attempts END"

#define FAULTS                                                                                    \
    "SELECT id, 'payment ' || ifnull(id, 'without id') || fault AS fault "                        \
    "FROM (SELECT p.id, " FAULT " AS fault "                                                      \
    "FROM temp.audit_payments AS p LEFT JOIN temp.audit_orders AS o ON o.id = p.id) "             \
    "WHERE fault IS NOT NULL "                                                                    \
    "UNION ALL "                                                                                  \
    "SELECT id, 'payment ' || id || ' is there ' || count(*) || ' times' "                        \
    "FROM temp.audit_payments "                                                                   \
    "GROUP BY id HAVING count(*) > 1 "                                                            \
    "UNION ALL "                                                                                  \
    "SELECT o.id, " AUDIT_ORDER " || ' is ' || o.status || ' without an outcome of its payment' " \
    "FROM temp.audit_orders AS o LEFT JOIN temp.audit_payments AS p ON p.id = o.id "              \
    "WHERE o.status IN ('completed', 'failed') AND p.id IS NULL"

const struct invariant inv_payments = {
    .name = "payments",
    .statement =
        "An order is completed exactly when it was paid, once and in full, and failed exactly when its "
        "payment was declined or abandoned; no other order has an outcome.",
    .source = "orders contract (Payment: at most once)",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT faults = 0, paid || ' paid, ' || declined || ' declined, ' || abandoned || ' abandoned; ' "
        "|| faults || ' that do not fit their order' "
        "FROM (SELECT ifnull(sum(outcome = 'paid'), 0) AS paid, "
        "ifnull(sum(outcome = 'declined'), 0) AS declined, "
        "ifnull(sum(outcome = 'abandoned'), 0) AS abandoned FROM temp.audit_payments) "
        "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
