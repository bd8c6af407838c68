/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite takes text into a column of numbers, and a user stored as a blob is another user than the same
 * bytes stored as text: either would hide a duplicate from the invariants that count. A time of PostgreSQL
 * that is no whole millisecond, or infinite, arrives as something else than an integer (postgres_snapshot.c).
 */
#include "verify/invariant.h"

#define FAULTS                                                                                              \
    "SELECT id, 'product ' || ifnull(id, 'without id') || ' ' || ifnull(sku, 'without sku') || "            \
    "': initial stock, price or limit is out of range' AS fault "                                           \
    "FROM main.products "                                                                                   \
    "WHERE typeof(initial_stock) <> 'integer' OR typeof(stock) <> 'integer' OR typeof(per_user_limit) <> "  \
    "'integer' OR typeof(price_minor) <> 'integer' OR initial_stock < 0 OR per_user_limit < 1 OR "          \
    "price_minor < 0 "                                                                                      \
    "UNION ALL "                                                                                            \
    "SELECT id, 'product ' || ifnull(id, 'without id') || ' ' || ifnull(sku, 'without sku') || ' has a '"   \
    " || 'name, time or state of the wrong type' "                                                          \
    "FROM main.products "                                                                                   \
    "WHERE typeof(id) <> 'integer' OR typeof(sku) <> 'text' OR sku = '' OR typeof(product_name) <> 'text' " \
    "OR typeof(start_time) <> 'integer' OR typeof(end_time) <> 'integer' OR typeof(state) <> 'text' "       \
    "OR typeof(end_reason) NOT IN ('text', 'null') OR typeof(created_at) <> 'integer' "                     \
    "OR typeof(updated_at) <> 'integer' OR typeof(created_by) <> 'text' OR typeof(updated_by) <> 'text' "   \
    "UNION ALL "                                                                                            \
    "SELECT max(id), 'product ' || max(id) || ' ' || sku || ' has the sku of product ' || min(id) "         \
    "FROM main.products "                                                                                   \
    "GROUP BY sku HAVING count(*) > 1 AND max(id) <> min(id) "                                              \
    "UNION ALL "                                                                                            \
    "SELECT id, 'product ' || id || ' is there ' || count(*) || ' times' "                                  \
    "FROM main.products "                                                                                   \
    "GROUP BY id HAVING count(*) > 1 "                                                                      \
    "UNION ALL "                                                                                            \
    "SELECT p.id, ifnull(" AUDIT_PURCHASE ", 'a purchase') || ' has a value of the wrong type' "            \
    "FROM main.purchases AS p "                                                                             \
    "WHERE typeof(p.id) <> 'integer' OR typeof(p.product_id) <> 'integer' OR typeof(p.user_id) <> 'text' "  \
    "OR "                                                                                                   \
    "p.user_id = '' OR typeof(p.nth) <> 'integer' OR typeof(p.purchased_at) <> 'integer'"

const struct invariant inv_values = {
    .name = "values",
    .statement = "Every product and purchase holds values that the schema allows.",
    .source = "schema version 1",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count(count(*), 'row with a value that cannot be', 'rows with a "
             "value that cannot be') FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
