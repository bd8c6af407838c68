/* SPDX-License-Identifier: Apache-2.0 */
/* The same promise as no-duplicate-buyer, from the totals rather than from buyers one by one. */
#include "verify/invariant.h"

const struct invariant inv_unique_buyers = {
    .name = "unique-buyers",
    .statement = "There are as many different buyers as purchases, or enough where one may have several.",
    .source = "stress-testing guide 3.4, 3",
    .scope = INVARIANT_OF_PRODUCT,
    .claim = "SELECT users <= user_purchases AND user_purchases <= users * per_user_limit, "
             "CASE per_user_limit "
             "WHEN 1 THEN users || ' unique users = ' || user_purchases || ' purchases' "
             "ELSE users || ' unique users, at most ' || per_user_limit || ' each: ' || user_purchases || "
             "' purchases' END || CASE WHEN user_purchases = purchases THEN '' "
             "ELSE ', and ' || (purchases - user_purchases) || ' by who pays' END "
             "FROM temp.audit "
             "WHERE product_id = :product",
    .witness =
        "SELECT p.id, " AUDIT_PURCHASE " || ' has a buyer who had bought ' || r.purchases || ' times' "
        "FROM temp.audit_repeats AS r JOIN temp.audit_shared AS s JOIN main.purchases AS p ON p.id = s.id "
        "AND p.product_id = r.product_id AND p.user_id = r.user_id "
        "WHERE r.product_id = :product AND r.purchases > 1 AND NOT r.is_payer "
        "ORDER BY p.id",
};
