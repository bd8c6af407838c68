/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The purchase of the last unit ends the sale in the same transaction, so stock 0 and ENDED by SOLD_OUT are
 * one thing. The exception is a sale that never had a unit: it goes from ACTIVE to ENDED by its clock alone.
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
    "WHEN end_reason = 'SOLD_OUT' AND initial_stock = 0 THEN 'is sold out, but never had a unit' "          \
    "WHEN stock <= 0 AND initial_stock > 0 AND end_reason IS NOT 'SOLD_OUT' THEN "                          \
    "'has nothing left, but is ' || state || ifnull(' by ' || end_reason, '') "                             \
    "WHEN state = 'UPCOMING' AND purchases > 0 THEN 'has not begun, but has purchases' END"

const struct invariant inv_sale_state = {
    .name = "sale-state",
    .statement = "The state of the sale fits its stock, its purchases and how it ended.",
    .source = "flash-sale contract 4; FL-1 to FL-5",
    .scope = INVARIANT_OF_PRODUCT,
    .claim = "SELECT " FAULT " IS NULL, state || ifnull(' by ' || end_reason, '') || ' with stock ' || stock "
             "|| ' of ' || initial_stock "
             "FROM temp.audit "
             "WHERE product_id = :product",
    .witness = "SELECT product_id, 'product ' || product_id || ' ' || sku || ' ' || " FAULT " "
               "FROM temp.audit "
               "WHERE product_id = :product",
};
