/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two lines with one order_id are one order asked for twice. An order acknowledged as pending may have come
 * to anything since. The rows are gone through once and looked up among the lines, which have an index; a row
 * whose order_id another one has too counts for none, so a line has one row at most.
 */
#include "verify/invariant.h"

#define IS_AS_TOLD                                                \
    "CASE j.status WHEN 'completed' THEN o.status = 'completed' " \
    "WHEN 'failed' THEN o.status = 'failed' ELSE 1 END"

#define ROWS_OF_LINES                                                                  \
    "FROM temp.audit_orders AS o CROSS JOIN temp.audit_order_journal AS j "            \
    "ON j.face = 'orders' AND j.order_id = o.order_id AND j.outcome = 'acknowledged' " \
    "WHERE o.order_id NOT IN (SELECT order_id FROM temp.audit_order_repeats WHERE order_id IS NOT NULL)"

const struct invariant inv_orders_acknowledged = {
    .name = "orders-acknowledged",
    .statement = "Every acknowledged order is in the store, once, and came to what was told.",
    .source = "orders contract (durable before the 202)",
    .scope = INVARIANT_OF_ORDERS,
    .claim = "SELECT told = good, told || ' acknowledged, ' || good || ' of them in the store as told' "
             "FROM (SELECT count(*) AS told FROM temp.audit_order_journal "
             "WHERE face = 'orders' AND outcome = 'acknowledged') "
             "CROSS JOIN (SELECT ifnull(sum(" IS_AS_TOLD "), 0) AS good " ROWS_OF_LINES ")",
    .witness =
        "SELECT j.id, 'journal ' || j.file || ', line ' || j.line || ': order \"' || j.order_id || '\" ' "
        "|| CASE WHEN r.orders IS NOT NULL THEN 'is in the store ' || r.orders || ' times' "
        "WHEN f.id IS NULL THEN 'is not in the store' "
        "ELSE 'was told to be ' || j.status || ' and is ' || f.status END "
        "FROM temp.audit_order_journal AS j "
        "LEFT JOIN (SELECT j.id, o.status, " IS_AS_TOLD " AS is_as_told " ROWS_OF_LINES
        ") AS f ON f.id = j.id "
        "LEFT JOIN temp.audit_order_repeats AS r ON r.order_id = j.order_id "
        "WHERE j.face = 'orders' AND j.outcome = 'acknowledged' AND (f.id IS NULL OR NOT f.is_as_told) "
        "ORDER BY j.id",
};
