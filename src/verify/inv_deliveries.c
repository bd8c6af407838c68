/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trading orders reach the sink in order of acceptance, each once: the ranges that it has acknowledged join
 * without a gap and without an overlap, and end where executed_id says. An order may have been cancelled
 * before its range was sent; it can not have been after the range was executed. What happened in between is
 * not in the store.
 */
#include "verify/invariant.h"

#define FAULTS                                                                                               \
    "SELECT 0 AS id, 'there are ' || count(*) || ' rows that say how far trading orders are executed' AS "   \
    "fault "                                                                                                 \
    "FROM temp.audit_intake_state "                                                                          \
    "HAVING count(*) <> (SELECT has_orders FROM temp.audit_store) "                                          \
    "UNION ALL "                                                                                             \
    "SELECT executed_id, 'executed up to ' || ifnull(executed_id, 'none') || ', sent up to ' || "            \
    "ifnull(sent_id, 'none') || ', the next is ' || ifnull(next_id, 'none') "                                \
    "FROM (SELECT s.executed_id, s.sent_id, n.next_id "                                                      \
    "FROM temp.audit_intake_state AS s CROSS JOIN temp.audit_next_trading_order AS n) "                      \
    "WHERE typeof(executed_id) <> 'integer' OR typeof(sent_id) <> 'integer' OR typeof(next_id) <> "          \
    "'integer' "                                                                                             \
    "OR executed_id < 0 OR sent_id < executed_id OR next_id <= sent_id "                                     \
    "UNION ALL "                                                                                             \
    "SELECT last_id, 'delivery ' || ifnull(first_id, 'none') || ' to ' || ifnull(last_id, 'none') || CASE "  \
    "WHEN typeof(first_id) <> 'integer' OR typeof(last_id) <> 'integer' OR typeof(executed_at) <> "          \
    "'integer' OR first_id > last_id THEN ' has a value that cannot be' "                                    \
    "ELSE ' should begin with ' || (before + 1) END "                                                        \
    "FROM (SELECT *, lag(last_id, 1, 0) OVER (ORDER BY last_id) AS before FROM "                             \
    "temp.audit_intake_deliveries) "                                                                         \
    "WHERE typeof(first_id) <> 'integer' OR typeof(last_id) <> 'integer' OR typeof(executed_at) <> "         \
    "'integer' OR first_id > last_id OR first_id <> before + 1 "                                             \
    "UNION ALL "                                                                                             \
    "SELECT s.executed_id, 'executed up to ' || s.executed_id || ', but the deliveries end with ' || "       \
    "ifnull(d.last_id, 'none') "                                                                             \
    "FROM temp.audit_intake_state AS s "                                                                     \
    "CROSS JOIN (SELECT max(last_id) AS last_id FROM temp.audit_intake_deliveries) AS d "                    \
    "WHERE s.executed_id <> ifnull(d.last_id, 0) "                                                           \
    "UNION ALL "                                                                                             \
    "SELECT o.id, 'trading order ' || o.id || ' was cancelled at ' || " AUDIT_TIME(                          \
        "o.cancelled_at") " || ', but executed at ' || " AUDIT_TIME("d.executed_at") " "                     \
                                                                                     "FROM "                 \
                                                                                     "temp.audit_store "     \
                                                                                     "CROSS JOIN "           \
                                                                                     "temp.audit_intake_"    \
                                                                                     "orders AS o "          \
                                                                                     "CROSS JOIN "           \
                                                                                     "temp.audit_intake_"    \
                                                                                     "deliveries AS d ON "   \
                                                                                     "d.last_id = (SELECT "  \
                                                                                     "min(last_id) "         \
                                                                                     "FROM "                 \
                                                                                     "temp.audit_intake_"    \
                                                                                     "deliveries WHERE "     \
                                                                                     "last_id >= o.id) "     \
                                                                                     "WHERE o.cancelled_at " \
                                                                                     "IS NOT NULL AND "      \
                                                                                     "o.cancelled_at > "     \
                                                                                     "d.executed_at + "      \
                                                                                     "clock_doubt_ms"

const struct invariant inv_deliveries = {
    .name = "deliveries",
    .statement =
        "The trading orders are delivered from the first on, each once, and none is cancelled after it "
        "was executed.",
    .source = "order intake contract (exactly in order of acceptance; 409 once executed)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, 'executed up to ' || ifnull((SELECT max(executed_id) "
             "FROM temp.audit_intake_state), 0) || ' in ' || audit_count((SELECT count(*) FROM "
             "temp.audit_intake_deliveries), "
             "'delivery', 'deliveries') || ', ' || audit_count(count(*), 'fault', 'faults') "
             "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
