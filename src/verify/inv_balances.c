/* SPDX-License-Identifier: Apache-2.0 */
/* The limit above is what 15 digits hold: every client's JSON keeps them. */
#include "verify/invariant.h"

#define IS_OUT(balance) "(" balance " IS NOT NULL AND " balance " NOT BETWEEN 0 AND 999999999999999)"

#define FAULTS                                                                                              \
    "SELECT account_id AS id, 'the wallet of account ' || account_id || ' has ' || "                        \
    "audit_coins(balance_minor) AS fault "                                                                  \
    "FROM temp.audit_wallets WHERE " IS_OUT(                                                                \
        "balance_minor") " "                                                                                \
                         "UNION ALL "                                                                       \
                         "SELECT id, 'transfer ' || id || ' leaves account ' || from_account || ' with ' "  \
                         "|| "                                                                              \
                         "audit_coins(from_balance_minor) "                                                 \
                         "FROM temp.audit_transfers WHERE " IS_OUT(                                         \
                             "from_balance_minor") " "                                                      \
                                                   "UNION ALL "                                             \
                                                   "SELECT id, 'transfer ' || id || ' leaves account ' || " \
                                                   "to_account || ' with ' || "                             \
                                                   "audit_coins(to_balance_minor) "                         \
                                                   "FROM temp.audit_transfers WHERE " IS_OUT(               \
                                                       "to_balance_minor")

const struct invariant inv_balances = {
    .name = "balances",
    .statement = "No balance is, or ever was, below 0 or above 9,999,999,999,999.99.",
    .source = "marketplace contract (no balance below zero)",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT faults = 0, 'lowest balance ' || audit_coins(ifnull(lowest, 0)) || ', highest ' || "
        "audit_coins(ifnull(highest, 0)) || '; ' || faults || ' out of range' "
        "FROM (SELECT min(balance_minor) AS lowest, max(balance_minor) AS highest FROM temp.audit_wallets) "
        "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
