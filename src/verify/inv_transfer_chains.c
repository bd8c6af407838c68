/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wallet names its last transfer, and each transfer the one that its wallet had before: what the customer
 * sees as his history. Each also says what it left in the wallet, which is what the one after it began from.
 */
#include "verify/invariant.h"

#define TEXT                                                                                                 \
    "CASE what "                                                                                             \
    "WHEN 'missing' THEN CASE other_id WHEN 0 THEN 'the wallet of account ' || account_id "                  \
    "|| ' had transfer ' || id || ' last, which is not one of its own' "                                     \
    "ELSE 'transfer ' || other_id || ' of account ' || account_id || ' comes after transfer ' || id || "     \
    "', which is not one of its own' END "                                                                   \
    "WHEN 'again' THEN 'transfer ' || other_id || ' of account ' || account_id || ' leads back to '"         \
    " || 'transfer ' || id "                                                                                 \
    "WHEN 'balance' THEN 'transfer ' || id || ' of account ' || account_id || ' does not go on from what '"  \
    " || CASE other_id WHEN 0 THEN 'an empty wallet holds' ELSE 'transfer ' || other_id || ' has left' END " \
    "WHEN 'outside' THEN 'transfer ' || id || ' is not in the history of account ' || account_id "           \
    "ELSE 'transfer ' || id || ' is one of account ' || account_id || ', which has no wallet' END"

const struct invariant inv_transfer_chains = {
    .name = "transfer-chains",
    .statement =
        "The transfers of a wallet are one chain, each once, and each goes on from the balance before.",
    .source = "marketplace contract (GET /api/wallet/transactions, newest first)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count((SELECT count(last_transfer_id) FROM temp.audit_wallets), "
             "'chain', 'chains') || ' followed, ' || audit_count(count(*), 'fault', 'faults') "
             "FROM temp.audit_chain_faults",
    .witness = "SELECT id, " TEXT " FROM temp.audit_chain_faults ORDER BY id, account_id",
};
