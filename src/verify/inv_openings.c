/* SPDX-License-Identifier: Apache-2.0 */
/* A wallet that is opened with nothing has no opening. */
#include "verify/invariant.h"

#define FAULTS                                                                                        \
    "SELECT id, 'transfer ' || id || ' opens the wallet of account ' || to_account || ', which had '" \
    " || 'transfer ' || to_previous_id || ' before' AS fault "                                        \
    "FROM temp.audit_transfers WHERE kind = 'opening' AND to_previous_id IS NOT NULL "                \
    "UNION ALL "                                                                                      \
    "SELECT max(id), 'transfer ' || max(id) || ' opens the wallet of account ' || to_account || "     \
    "', which transfer ' || min(id) || ' opens' "                                                     \
    "FROM temp.audit_transfers WHERE kind = 'opening' AND to_previous_id IS NULL "                    \
    "GROUP BY to_account HAVING count(*) > 1"

const struct invariant inv_openings = {
    .name = "openings",
    .statement = "A wallet is opened once at the most, before anything else happens to it.",
    .source = "marketplace contract (opening balance)",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT faults = 0, audit_count((SELECT count(*) FROM temp.audit_transfers WHERE kind = 'opening'), "
        "'wallet', 'wallets') || ' opened with coins, ' || faults || ' wrongly' "
        "FROM (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
