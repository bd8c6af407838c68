/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only when the journals hold every request there was (--journal-complete). Each spend and transfer then
 * either was acknowledged, or is one whose fate is unknown. Openings and credits are nobody's payments.
 */
#include "verify/invariant.h"

#define UNEXPLAINED                                                                                     \
    "FROM temp.audit_named AS n LEFT JOIN temp.audit_keys AS k ON k.account_id = n.from_account "       \
    "WHERE NOT EXISTS (SELECT 1 FROM temp.audit_market_journal AS j WHERE j.key = k.key AND j.nonce = " \
    "n.nonce "                                                                                          \
    "AND (j.outcome = 'unknown' OR (j.outcome = 'acknowledged' AND j.transfer_id = n.id)))"

const struct invariant inv_payments_complete = {
    .name = "payments-complete",
    .statement = "Nothing was paid that nobody was told of, or may have been.",
    .source = "marketplace contract (POST /api/wallet/transact)",
    .scope = INVARIANT_OF_MARKET_COMPLETE,
    .claim = "SELECT count(*) = 0, audit_count(count(*), 'payment', 'payments') || "
             "' that the journals cannot explain' " UNEXPLAINED,
    .witness = "SELECT n.id, 'transfer ' || n.id || ' of account ' || n.from_account || ' was never "
               "acknowledged' " UNEXPLAINED " ORDER BY n.id",
};
