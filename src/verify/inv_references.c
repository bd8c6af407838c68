/* SPDX-License-Identifier: Apache-2.0 */
/* A purchase without its product belongs to no sale, and no sum of a sale would see it. */
#include "verify/invariant.h"

const struct invariant inv_references = {
    .name = "references",
    .statement = "Every purchase belongs to a product.",
    .source = "flash-sale contract 6 (product_id references products)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT ifnull(sum(purchases), 0) = 0, ifnull(sum(purchases), 0) || "
             "' purchases without a product' "
             "FROM temp.audit_products "
             "WHERE product_id NOT IN (SELECT id FROM main.products WHERE id IS NOT NULL)",
    .witness = "SELECT p.id, " AUDIT_PURCHASE " || ' belongs to product ' || p.product_id || "
               "', which does not exist' "
               "FROM main.purchases AS p "
               "WHERE p.product_id NOT IN (SELECT id FROM main.products WHERE id IS NOT NULL) "
               "ORDER BY p.id",
};
