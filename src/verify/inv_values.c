/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite takes text into a column of numbers, and a user stored as a blob is another user than the same
 * bytes stored as text: either would hide a duplicate from the invariants that count.
 */
#include "verify/invariant.h"

#define FAULTS                                                                                             \
    "SELECT id, 'product ' || id || ' ' || sku || ': initial stock, price or limit is out of range' AS "   \
    "fault "                                                                                               \
    "FROM main.products "                                                                                  \
    "WHERE typeof(initial_stock) <> 'integer' OR typeof(stock) <> 'integer' OR typeof(per_user_limit) <> " \
    "'integer' OR typeof(price_minor) <> 'integer' OR initial_stock < 0 OR per_user_limit < 1 OR "         \
    "price_minor < 0 "                                                                                     \
    "UNION ALL "                                                                                           \
    "SELECT p.id, " AUDIT_PURCHASE " || ' has a value of the wrong type' "                                 \
    "FROM main.purchases AS p "                                                                            \
    "WHERE typeof(p.product_id) <> 'integer' OR typeof(p.user_id) <> 'text' OR p.user_id = '' OR "         \
    "typeof(p.nth) <> 'integer' OR typeof(p.purchased_at) <> 'integer'"

const struct invariant inv_values = {
    .name = "values",
    .statement = "Every product and purchase holds values that the schema allows.",
    .source = "schema version 1",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, count(*) || ' rows with a value that cannot be' FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
