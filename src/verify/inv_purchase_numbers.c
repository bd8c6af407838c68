/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number is PUR-YYYYMMDD- and the id of the row. So numbers that end in their own ids are unique when the
 * ids are, and ids are in order already: a tenth of the price of sorting the numbers.
 */
#include "verify/invariant.h"

#define IS_ODD "substr(purchase_no, 14) IS NOT printf('%04d', id)"

const struct invariant inv_purchase_numbers = {
    .name = "purchase-numbers",
    .statement = "No two purchases have the same number.",
    .source = "flash-sale contract 17 (purchaseNo unique for ever)",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT odd + twice = 0, odd || ' purchases whose number does not end in their own id' || CASE twice "
        "WHEN 0 THEN '' "
        "ELSE ', ' || twice || ' ids that are there more than once' END "
        "FROM (SELECT (SELECT count(*) FROM main.purchases WHERE " IS_ODD ") AS odd, "
        "(SELECT count(*) FROM (SELECT id FROM main.purchases GROUP BY id HAVING count(*) > 1)) AS twice)",
    .witness = "SELECT id, ifnull(" AUDIT_PURCHASE ", 'a purchase') || ': the number does not end in ' || "
               "printf('%04d', id) AS fault "
               "FROM main.purchases AS p "
               "WHERE " IS_ODD " "
               "UNION ALL "
               "SELECT id, 'purchase id ' || id || ' is there ' || count(*) || ' times' "
               "FROM main.purchases "
               "GROUP BY id HAVING count(*) > 1 "
               "ORDER BY 1",
};
