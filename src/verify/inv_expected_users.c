/* SPDX-License-Identifier: Apache-2.0 */
/* Invariant 7 of the guide, for sales of which it is known how many users came. */
#include "verify/invariant.h"

const struct invariant inv_expected_users = {
    .name = "expected-users",
    .statement = "No more units are sold than the users who came may have.",
    .source = "stress-testing guide 3.4, 7 (duplicate-user)",
    .scope = INVARIANT_OF_USERS,
    .claim = "SELECT user_purchases <= expected_users * per_user_limit, 'purchases (' || user_purchases || "
             "') <= users (' || expected_users || ')' || CASE per_user_limit "
             "WHEN 1 THEN '' "
             "ELSE ' x ' || per_user_limit END "
             "FROM temp.audit "
             "WHERE product_id = :product",
    .witness = "SELECT p.id, " AUDIT_PURCHASE " || ' is one more than the users who came may have' "
               "FROM main.purchases AS p "
               "WHERE p.product_id = :product AND NOT (p.user_id >= ' ' AND p.user_id < '!') "
               "ORDER BY p.purchased_at, p.id "
               "LIMIT -1 OFFSET (SELECT expected_users * per_user_limit FROM temp.audit WHERE product_id = "
               ":product)",
};
