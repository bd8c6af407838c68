/* SPDX-License-Identifier: Apache-2.0 */
/* What is charged is what was ordered: order_items.h reckons it anew. A value of the wrong type is for
 * inv_orders. */
#include "verify/invariant.h"

#define FAULTS                                                                                           \
    "SELECT id, " AUDIT_ORDER " || ' ' || fault AS fault "                                               \
    "FROM (SELECT id, order_id, audit_items_fault(items, amount_minor) AS fault FROM temp.audit_orders " \
    "WHERE typeof(items) = 'text' AND typeof(amount_minor) = 'integer') AS o "                           \
    "WHERE fault IS NOT NULL"

const struct invariant inv_order_items = {
    .name = "order-items",
    .statement = "Every order's items are quantities and prices that can be, and come to its amount.",
    .source = "orders contract (POST /orders/sync, 422)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count(count(*), 'order', 'orders') || ' whose items do not come to "
             "their amount' "
             "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
