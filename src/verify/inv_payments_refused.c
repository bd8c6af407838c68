/* SPDX-License-Identifier: Apache-2.0 */
/* A refusal speaks of one request: another one with the same key and nonce may have been accepted. */
#include "verify/invariant.h"

#define REFUSED                                                                           \
    "SELECT key, nonce, min(id) AS id, count(*) AS lines FROM temp.audit_market_journal " \
    "WHERE request IN ('spend', 'transfer') "                                             \
    "GROUP BY key, nonce HAVING sum(outcome <> 'refused') = 0"

#define FOUND                                                                   \
    "FROM (" REFUSED ") AS r CROSS JOIN temp.audit_keys AS k ON k.key = r.key " \
    "CROSS JOIN temp.audit_named AS n ON n.from_account = k.account_id AND n.nonce = r.nonce"

const struct invariant inv_payments_refused = {
    .name = "payments-refused",
    .statement = "Nothing that was always refused is in the store.",
    .source = "marketplace contract (POST /api/wallet/transact, errors)",
    .scope = INVARIANT_OF_MARKET,
    .claim =
        "SELECT found = 0, audit_count(refused, 'payment', 'payments') || ' always refused, ' || found || "
        "' of them in the store' "
        "FROM (SELECT count(*) AS refused FROM (" REFUSED ")) "
        "CROSS JOIN (SELECT count(*) AS found " FOUND ")",
    .witness = "SELECT n.id, 'transfer ' || n.id || ' is the payment \"' || r.nonce || '\" of ' || r.key || "
               "', which was always refused (journal ' || j.file || ', line ' || j.line || ')' " FOUND
               " CROSS JOIN temp.audit_market_journal AS j ON j.id = r.id ORDER BY n.id",
};
