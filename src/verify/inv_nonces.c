/* SPDX-License-Identifier: Apache-2.0 */
/* What a payer, or for credits the admin, has named is decided once: sent again, it is answered again. */
#include "verify/invariant.h"

const struct invariant inv_nonces = {
    .name = "nonces",
    .statement = "No payer has two transfers under one nonce, and no reference has two credits.",
    .source =
        "marketplace contract (same key and nonce: the first answer again; credits idempotent by reference)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count((SELECT count(nonce) FROM temp.audit_transfers), "
             "'transfer is', 'transfers are') || ' named, ' || audit_count(count(*), 'name', 'names') || "
             "' used more than once' "
             "FROM temp.audit_nonce_repeats",
    .witness = "SELECT id_last, 'transfer ' || id_last || CASE WHEN from_account IS NULL THEN ' has the "
               "reference \"' || nonce || '\" of credit ' ELSE ' of account ' || from_account || ' has the "
               "nonce \"' || nonce || '\" of transfer ' END || id_first "
               "FROM temp.audit_nonce_repeats ORDER BY id_last",
};
