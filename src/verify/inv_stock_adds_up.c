/* SPDX-License-Identifier: Apache-2.0 */
/* The number that is kept against the rows that are counted. */
#include "verify/invariant.h"

const struct invariant inv_stock_adds_up = {
    .name = "stock-adds-up",
    .statement = "What is left is what there was less what is sold.",
    .source = "stress-testing guide 3.4, 5; IM-2",
    .scope = INVARIANT_OF_PRODUCT,
    .claim = "SELECT stock = initial_stock - purchases, 'stock (' || stock || ') = initial stock (' || "
             "initial_stock || ') - purchases (' || purchases || ')' "
             "FROM temp.audit "
             "WHERE product_id = :product",
    .witness = "SELECT product_id, 'product ' || product_id || ' ' || sku || ' has stock ' || stock || "
               "' and should have ' || (initial_stock - purchases) "
               "FROM temp.audit "
               "WHERE product_id = :product",
};
