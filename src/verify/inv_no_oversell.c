/* SPDX-License-Identifier: Apache-2.0 */
/* The promise to the seller: every unit once. */
#include "verify/invariant.h"

const struct invariant inv_no_oversell = {
    .name = "no-oversell",
    .statement = "No more units are sold than there were.",
    .source = "stress-testing guide 3.4, 1; IM-4, NF-7",
    .scope = INVARIANT_OF_PRODUCT,
    .claim = "SELECT purchases <= initial_stock, 'purchases (' || purchases || ') <= initial stock (' || "
             "initial_stock || ')' "
             "FROM temp.audit "
             "WHERE product_id = :product",
    .witness = "SELECT p.id, " AUDIT_PURCHASE " || ' came after the last unit was sold' "
               "FROM main.purchases AS p "
               "WHERE p.product_id = :product "
               "ORDER BY p.purchased_at, p.id "
               "LIMIT -1 OFFSET (SELECT max(initial_stock, 0) FROM temp.audit WHERE product_id = :product)",
};
