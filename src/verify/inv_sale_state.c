/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The purchase of the last unit ends the sale in the same transaction, so stock 0 and ENDED by SOLD_OUT are
 * one thing. There are exceptions. A sale that never had a unit goes from ACTIVE to ENDED by its clock alone.
 * And the operator of machines may set the stock (PATCH /api/products/{id}/stock): 0 ends a sale that goes on
 * as sold out, though nobody may have bought; a sale that has ended by its clock stays so. Either is told by
 * the time of the last change: while the sale was on, or after its end.
 */
#include "verify/invariant.h"

#define FAULT                                                                                               \
    "CASE "                                                                                                 \
    "WHEN state NOT IN ('UPCOMING', 'ACTIVE', 'ENDED') THEN 'has no such state: ' || state "                \
    "WHEN end_reason NOT IN ('SOLD_OUT', 'TIME_EXPIRED') THEN 'has no such end: ' || end_reason "           \
    "WHEN state = 'ENDED' AND end_reason IS NULL THEN 'has ended for no reason' "                           \
    "WHEN state <> 'ENDED' AND end_reason IS NOT NULL THEN 'has a reason to have ended, but is ' || state " \
    "WHEN end_time <= start_time THEN 'ends before it starts' "                                             \
    "WHEN end_reason = 'SOLD_OUT' AND stock > 0 THEN 'is sold out, but has stock ' || stock "               \
    "WHEN end_reason = 'SOLD_OUT' AND initial_stock = 0 AND NOT (has_machines AND updated_at >= "           \
    "start_time - clock_doubt_ms) THEN 'is sold out, but never had a unit' "                                \
    "WHEN stock <= 0 AND initial_stock > 0 AND end_reason IS NOT 'SOLD_OUT' AND NOT (has_machines "         \
    "AND end_reason IS 'TIME_EXPIRED' AND updated_at >= end_time - clock_doubt_ms) THEN "                   \
    "'has nothing left, but is ' || state || ifnull(' by ' || end_reason, '') "                             \
    "WHEN state = 'UPCOMING' AND purchases > 0 THEN 'has not begun, but has purchases' END"

const struct invariant inv_sale_state = {
    .name = "sale-state",
    .statement = "The state of the sale fits its stock, its purchases and how it ended.",
    .source = "flash-sale contract 4; FL-1 to FL-5",
    .scope = INVARIANT_OF_PRODUCT,
    .claim = "SELECT " FAULT " IS NULL, state || ifnull(' by ' || end_reason, '') || ' with stock ' || stock "
             "|| ' of ' || initial_stock "
             "FROM temp.audit_store CROSS JOIN temp.audit "
             "WHERE product_id = :product",
    .witness = "SELECT product_id, 'product ' || product_id || ' ' || sku || ' ' || " FAULT " "
               "FROM temp.audit_store CROSS JOIN temp.audit "
               "WHERE product_id = :product",
};
