/* SPDX-License-Identifier: Apache-2.0 */
/* Only when the journals hold every attempt there was (--journal-complete). */
#include "verify/invariant.h"

#define UNEXPLAINED                                                                    \
    "NOT EXISTS (SELECT 1 FROM temp.audit_order_journal AS j WHERE j.face = 'orders' " \
    "AND j.order_id = o.order_id AND (j.outcome <> 'refused' OR o.status = 'cancelled'))"

const struct invariant inv_orders_complete = {
    .name = "orders-complete",
    .statement = "No order is in the store that nobody was told of, or may have been.",
    .source = "orders contract (an order that cannot be paid in time is not accepted)",
    .scope = INVARIANT_OF_ORDERS_COMPLETE,
    .claim = "SELECT count(*) = 0, audit_count(count(*), 'order that the journals cannot explain', 'orders "
             "that the journals cannot explain') "
             "FROM temp.audit_orders AS o "
             "WHERE " UNEXPLAINED,
    .witness = "SELECT o.id, " AUDIT_ORDER " || ' was never acknowledged' "
               "FROM temp.audit_orders AS o "
               "WHERE " UNEXPLAINED " "
               "ORDER BY o.id",
};
