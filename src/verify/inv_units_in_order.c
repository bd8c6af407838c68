/* SPDX-License-Identifier: Apache-2.0 */
/* nth is what the server restarts its count of a buyer from. */
#include "verify/invariant.h"

const struct invariant inv_units_in_order = {
    .name = "units-in-order",
    .statement = "A user's units of a product are numbered 1, 2, 3, ... without gap or repetition.",
    .source = "schema version 1 (nth)",
    .scope = INVARIANT_OF_PRODUCT,
    .claim =
        "SELECT (SELECT count(*) FROM temp.audit_repeats AS r WHERE r.product_id = :product AND "
        "(r.nth_min IS NOT 1 OR r.nth_max <> r.purchases OR r.nth_distinct <> r.purchases)) = 0, (SELECT "
        "count(*) FROM temp.audit_repeats AS r WHERE r.product_id = :product AND (r.nth_min IS NOT 1 OR "
        "r.nth_max <> r.purchases OR r.nth_distinct <> r.purchases)) || ' of ' || a.buyers || "
        "' buyers whose units are not numbered from 1 on' "
        "FROM temp.audit AS a "
        "WHERE a.product_id = :product",
    .witness =
        "WITH numbered AS (SELECT p.*, row_number() OVER (PARTITION BY p.user_id ORDER BY p.nth, "
        "p.purchased_at, p.id) AS "
        "place FROM temp.audit_shared AS s JOIN main.purchases AS p ON p.id = s.id WHERE p.product_id = "
        ":product) "
        "SELECT p.id, " AUDIT_PURCHASE " || ' is called unit ' || p.nth || ' of this user and should be ' "
        "|| p.place "
        "FROM numbered AS p "
        "WHERE p.nth <> p.place "
        "ORDER BY p.id",
};
