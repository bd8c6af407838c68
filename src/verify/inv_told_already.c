/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/invariant.h"

#define WITHOUT                                                                                              \
    "SELECT min(id) AS id, file, line, user_id "                                                             \
    "FROM temp.audit_journal "                                                                               \
    "WHERE sku = :sku AND code = 'ALREADY_PURCHASED' AND user_id NOT IN (SELECT user_id FROM "               \
    "main.purchases WHERE product_id = :product) "                                                           \
    "GROUP BY user_id"

const struct invariant inv_told_already = {
    .name = "told-already",
    .statement = "Who was told to have bought already has bought.",
    .source = "flash-sale contract 2.1 (ALREADY_PURCHASED)",
    .scope = INVARIANT_OF_JOURNAL,
    .claim =
        "SELECT (SELECT count(*) FROM (" WITHOUT ")) = 0, (SELECT count(DISTINCT user_id) FROM "
        "temp.audit_journal WHERE sku = :sku AND code = 'ALREADY_PURCHASED') || ' users told so, ' || "
        "(SELECT count(*) FROM (" WITHOUT ")) || ' of them without a purchase'",
    .witness =
        "SELECT id, 'journal ' || file || ', line ' || line || ': \"' || user_id || '\" has no purchase' "
        "FROM (" WITHOUT ") "
        "ORDER BY id",
};
