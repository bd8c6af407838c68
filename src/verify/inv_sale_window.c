/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without tolerance: the start and the end change only while the sale has not begun, which clears its
 * purchases, and the time of a purchase is the time that the window was judged by.
 */
#include "verify/invariant.h"

const struct invariant inv_sale_window = {
    .name = "sale-window",
    .statement = "Every purchase was made while the sale was on: from its start, and before its end.",
    .source = "flash-sale contract 4 ([startTime, endTime), by the server clock)",
    .scope = INVARIANT_OF_PRODUCT,
    .claim = "SELECT purchases = 0 OR (purchased_first >= start_time AND purchased_last < end_time), CASE "
             "purchases "
             "WHEN 0 THEN 'no purchases' "
             "ELSE " AUDIT_TIME("purchased_first") " || ' to ' || " AUDIT_TIME(
                 "purchased_last") " END || "
                                   "' in [' || " AUDIT_TIME("start_time") " || ', ' || " AUDIT_TIME(
                                       "end_time") " || ')' "
                                                   "FROM temp.audit "
                                                   "WHERE product_id = :product",
    .witness = "SELECT p.id, " AUDIT_PURCHASE " || ' was made at ' || ifnull(" AUDIT_TIME(
        "p.purchased_at") ", "
                          "p.purchased_at) "
                          "FROM main.purchases AS p JOIN main.products AS o ON o.id = p.product_id "
                          "WHERE p.product_id = :product AND NOT (p.purchased_at >= o.start_time AND "
                          "p.purchased_at < "
                          "o.end_time) "
                          "ORDER BY p.id",
};
