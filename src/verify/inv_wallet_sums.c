/* SPDX-License-Identifier: Apache-2.0 */
/* From the amounts alone, whatever the transfers say of the balances that they left (transfer-chains). */
#include "verify/invariant.h"

const struct invariant inv_wallet_sums = {
    .name = "wallet-sums",
    .statement =
        "What is in a wallet is what came (opening, credits, received) less what went (spent, sent).",
    .source = "marketplace contract (for each account opening + credits - debits = balance)",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT count(*) = 0, audit_count((SELECT count(*) FROM temp.audit_wallets), 'wallet', 'wallets') "
        "|| ' added up, ' || count(*) || ' with another balance' "
        "FROM temp.audit_balance_faults",
    .witness =
        "SELECT account_id, 'the wallet of account ' || account_id || ' has ' || audit_coins(balance) || "
        "', but its transfers come to ' || audit_coins(moved) "
        "FROM temp.audit_balance_faults ORDER BY account_id",
};
