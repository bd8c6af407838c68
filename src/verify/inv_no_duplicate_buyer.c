/* SPDX-License-Identifier: Apache-2.0 */
/* The promise to the crowd: nobody twice. Who pays for each unit is not bound by it: a machine, which sells
 * to anybody who comes (machine-sales), and a wallet (spends). */
#include "verify/invariant.h"

const struct invariant inv_no_duplicate_buyer = {
    .name = "no-duplicate-buyer",
    .statement = "No user has more units of a product than one user may have.",
    .source = "stress-testing guide 3.4, 2; NF-8",
    .scope = INVARIANT_OF_PRODUCT,
    .claim = "SELECT (SELECT count(*) FROM temp.audit_repeats AS r WHERE r.product_id = :product AND "
             "r.purchases > a.per_user_limit AND NOT r.is_payer) = 0, (SELECT count(*) FROM "
             "temp.audit_repeats AS r WHERE "
             "r.product_id = :product AND r.purchases > a.per_user_limit AND NOT r.is_payer) || ' users "
             "with more than ' || "
             "a.per_user_limit || CASE a.per_user_limit "
             "WHEN 1 THEN ' purchase' "
             "ELSE ' purchases' END "
             "FROM temp.audit AS a "
             "WHERE a.product_id = :product",
    .witness =
        "WITH numbered AS (SELECT p.*, row_number() OVER (PARTITION BY p.user_id ORDER BY p.purchased_at, "
        "p.id) AS place "
        "FROM temp.audit_repeats AS r JOIN temp.audit_shared AS s JOIN main.purchases AS p ON p.id = s.id "
        "AND p.product_id = r.product_id AND p.user_id = r.user_id "
        "WHERE r.product_id = :product AND NOT r.is_payer) "
        "SELECT p.id, " AUDIT_PURCHASE " || ' is purchase ' || p.place || ' of this user, who may have ' "
        "|| a.per_user_limit "
        "FROM numbered AS p JOIN temp.audit AS a ON a.product_id = :product "
        "WHERE p.place > a.per_user_limit "
        "ORDER BY p.id",
};
