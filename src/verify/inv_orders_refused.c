/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who was told no must not pay. An order whose customer could not be answered in time is refused after it was
 * taken; it is cancelled then, and stays in the store as that.
 */
#include "verify/invariant.h"

#define REFUSED                                              \
    "SELECT order_id, min(file) AS file, min(line) AS line " \
    "FROM temp.audit_order_journal "                         \
    "WHERE face = 'orders' "                                 \
    "GROUP BY order_id HAVING sum(outcome <> 'refused') = 0"

const struct invariant inv_orders_refused = {
    .name = "orders-refused",
    .statement = "No order that was always refused is in the store, unless it was cancelled.",
    .source = "orders contract (POST /orders/sync, 503)",
    .scope = INVARIANT_OF_ORDERS,
    .claim = "SELECT found = 0, audit_count(refused, 'order always refused', 'orders always refused') || ', "
             "' || found || ' of them in the store' "
             "FROM (SELECT count(*) AS refused FROM (" REFUSED ")) "
             "CROSS JOIN (SELECT count(*) AS found FROM temp.audit_orders WHERE status IS NOT 'cancelled' "
             "AND order_id IN (SELECT order_id FROM (" REFUSED ")))",
    .witness =
        "SELECT o.id, " AUDIT_ORDER " || ' is ' || o.status || ', but was always refused (journal ' || "
        "r.file || ', line ' || r.line || ')' "
        "FROM (" REFUSED ") AS r JOIN temp.audit_orders AS o ON o.order_id = r.order_id "
        "WHERE o.status IS NOT 'cancelled' "
        "ORDER BY o.id",
};
