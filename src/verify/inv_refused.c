/* SPDX-License-Identifier: Apache-2.0 */
/* Who was told no must not pay. */
#include "verify/invariant.h"

/* ALREADY_PURCHASED is a refusal that says that there is a purchase (told-already). */
#define REFUSED                \
    "SELECT user_id "          \
    "FROM temp.audit_journal " \
    "WHERE sku = :sku "        \
    "GROUP BY user_id HAVING sum(outcome <> 'refused' OR code = 'ALREADY_PURCHASED') = 0"

const struct invariant inv_refused = {
    .name = "refused",
    .statement = "Nobody who was always refused has bought.",
    .source = "flash-sale contract 8 (NF-6, no partial purchase)",
    .scope = INVARIANT_OF_JOURNAL,
    .claim = "SELECT count(p.id) = 0, (SELECT count(*) FROM (" REFUSED ")) || ' users always refused, ' || "
             "audit_count(count(p.id), 'purchase by them', 'purchases by them') "
             "FROM main.purchases AS p "
             "WHERE p.product_id = :product AND p.user_id IN (SELECT user_id FROM (" REFUSED "))",
    .witness =
        "SELECT p.id, " AUDIT_PURCHASE " || ', who was always refused (journal ' || j.file || ', line ' "
        "|| min(j.line) || ')' "
        "FROM main.purchases AS p JOIN temp.audit_journal AS j ON j.sku = :sku AND j.user_id = p.user_id "
        "WHERE p.product_id = :product AND p.user_id IN (SELECT user_id FROM (" REFUSED ")) "
        "GROUP BY p.id "
        "ORDER BY p.id",
};
