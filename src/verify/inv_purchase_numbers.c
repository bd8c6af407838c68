/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number is PUR-YYYYMMDD- and the id of the row. Ids are unique, because they are the place of a row in
 * the table (a table in disorder fails store-sound); so numbers that end in their own ids are unique too, at
 * a tenth of the price of sorting them.
 */
#include "verify/invariant.h"

const struct invariant inv_purchase_numbers = {
    .name = "purchase-numbers",
    .statement = "No two purchases have the same number.",
    .source = "flash-sale contract 17 (purchaseNo unique for ever)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, count(*) || ' purchases whose number does not end in their own id' "
             "FROM main.purchases "
             "WHERE substr(purchase_no, 14) IS NOT printf('%04d', id)",
    .witness = "SELECT p.id, " AUDIT_PURCHASE " || ': the number does not end in ' || printf('%04d', p.id) "
               "FROM main.purchases AS p "
               "WHERE substr(p.purchase_no, 14) IS NOT printf('%04d', p.id) "
               "ORDER BY p.id",
};
