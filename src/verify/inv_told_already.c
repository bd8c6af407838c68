/* SPDX-License-Identifier: Apache-2.0 */
/* A wrong "you have already bought" is a lost sale that nothing else here would notice. */
#include "verify/invariant.h"

#define TOLD "SELECT user_id FROM temp.audit_journal WHERE sku = :sku AND code = 'ALREADY_PURCHASED'"

/* The few who were told are looked up for each purchase, not the other way round. */
#define WITHOUT                       \
    "SELECT user_id FROM (" TOLD ") " \
    "EXCEPT "                         \
    "SELECT user_id FROM main.purchases WHERE product_id = :product AND user_id IN (" TOLD ")"

const struct invariant inv_told_already = {
    .name = "told-already",
    .statement = "Who was told to have bought already has bought.",
    .source = "flash-sale contract 2.1 (ALREADY_PURCHASED)",
    .scope = INVARIANT_OF_JOURNAL,
    .claim = "SELECT count(*) = 0, (SELECT count(DISTINCT user_id) FROM (" TOLD ")) || ' users told so, ' "
             "|| count(*) || ' of them without a purchase' "
             "FROM (" WITHOUT ")",
    .witness = "SELECT min(j.id), 'journal ' || j.file || ', line ' || j.line || ': \"' || j.user_id || '\" "
               "has no purchase' "
               "FROM temp.audit_journal AS j "
               "WHERE j.sku = :sku AND j.code = 'ALREADY_PURCHASED' AND j.user_id IN (" WITHOUT ") "
               "GROUP BY j.user_id "
               "ORDER BY 1",
};
