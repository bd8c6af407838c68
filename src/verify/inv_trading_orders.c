/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trading orders are numbered 1, 2, 3, ... in order of acceptance; nothing is ever taken out. So a gap is an
 * order that was lost, and the next number says whether one was lost at the end.
 */
#include "verify/invariant.h"

#define FAULT                                                                                                \
    "CASE "                                                                                                  \
    "WHEN typeof(o.id) <> 'integer' OR o.id < 1 OR typeof(o.account_id) <> 'integer' "                       \
    "OR typeof(o.symbol) <> 'text' OR o.symbol = '' OR typeof(o.time_in_force) <> 'text' "                   \
    "OR typeof(o.price) NOT IN ('integer', 'null') OR typeof(o.stop_price) NOT IN ('integer', 'null') "      \
    "OR typeof(o.trailing_stop_pct) NOT IN ('integer', 'null') "                                             \
    "OR typeof(o.iceberg_qty) NOT IN ('integer', 'null') OR typeof(o.created_at) <> 'integer' "              \
    "OR typeof(o.cancelled_at) NOT IN ('integer', 'null') THEN ' has a value that cannot be' "               \
    "WHEN ifnull(o.side, '') NOT IN ('BUY', 'SELL') THEN ' has no such side: ' || ifnull(o.side, 'none') "   \
    "WHEN ifnull(o.order_type, '') NOT IN ('MARKET', 'LIMIT', 'STOP', 'TRAILING_STOP', 'ICEBERG') THEN "     \
    "' has no such type: ' || ifnull(o.order_type, 'none') "                                                 \
    "WHEN typeof(o.quantity) <> 'integer' OR o.quantity < 1 THEN ' has the quantity ' || "                   \
    "ifnull(o.quantity, 'none') "                                                                            \
    "WHEN o.cancelled_at < o.created_at - clock_doubt_ms THEN ' was cancelled before it was made' "          \
    "WHEN o.account_id NOT IN (SELECT id FROM temp.audit_accounts WHERE id IS NOT NULL) THEN "               \
    "' belongs to account ' || o.account_id || ', which does not exist' "                                    \
    "WHEN o.id > 1 AND NOT EXISTS (SELECT 1 FROM temp.audit_intake_orders AS b WHERE b.id = o.id - 1) THEN " \
    "' comes after a gap: there is no ' || (o.id - 1) END"

#define FAULTS                                                                                    \
    "SELECT id, 'trading order ' || ifnull(id, 'without id') || fault AS fault "                  \
    "FROM (SELECT o.id, " FAULT " AS fault "                                                      \
    "FROM temp.audit_store CROSS JOIN temp.audit_intake_orders AS o) "                            \
    "WHERE fault IS NOT NULL "                                                                    \
    "UNION ALL "                                                                                  \
    "SELECT id, 'trading order ' || id || ' is there ' || count(*) || ' times' "                  \
    "FROM temp.audit_intake_orders "                                                              \
    "GROUP BY id HAVING count(*) > 1 "                                                            \
    "UNION ALL "                                                                                  \
    "SELECT id_last, 'the next trading order is ' || next_id || ', but the last is ' || id_last " \
    "FROM (SELECT ifnull(max(id), 0) AS id_last FROM temp.audit_intake_orders) "                  \
    "CROSS JOIN temp.audit_next_trading_order "                                                   \
    "WHERE next_id IS NOT id_last + 1"

const struct invariant inv_trading_orders = {
    .name = "trading-orders",
    .statement = "The trading orders are numbered from 1 without a gap, each once, each of an account.",
    .source = "order intake contract (each acknowledged order exactly once)",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT faults = 0, audit_count(orders, 'trading order', 'trading orders') || ', ' || cancelled || ' "
        "of them cancelled; ' || faults "
        "|| ' not as they must be' "
        "FROM (SELECT count(*) AS orders, count(cancelled_at) AS cancelled FROM temp.audit_intake_orders) "
        "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
