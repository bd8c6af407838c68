/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An account that is known by a key has the name " key <64 hexadecimal digits>", which no client can send (it
 * begins with a blank), and nobody can log in to it with a password. So a key has one account as a name has.
 */
#include "verify/invariant.h"

#define FAULT                                                                                             \
    "CASE "                                                                                               \
    "WHEN typeof(w.account_id) <> 'integer' OR typeof(w.public_key) <> 'blob' OR length(w.public_key) "   \
    "<> 32 OR typeof(w.balance_minor) <> 'integer' OR typeof(w.last_transfer_id) NOT IN ('integer', "     \
    "'null') OR typeof(w.updated_at) <> 'integer' THEN ' has a value that cannot be' "                    \
    "WHEN a.id IS NULL THEN ' has no account' "                                                           \
    "WHEN a.username IS NOT ' key ' || lower(hex(w.public_key)) THEN ' has an account with the name \"' " \
    "|| a.username || '\", which is not its key' "                                                        \
    "WHEN a.password_hash IS NOT '' THEN ' has an account with a password' END"

#define FAULTS                                                                                           \
    "SELECT account_id AS id, 'the wallet of account ' || ifnull(account_id, 'without id') || fault AS " \
    "fault "                                                                                             \
    "FROM (SELECT w.account_id, " FAULT " AS fault FROM temp.audit_wallets AS w "                        \
    "LEFT JOIN temp.audit_accounts AS a ON a.id = w.account_id) "                                        \
    "WHERE fault IS NOT NULL "                                                                           \
    "UNION ALL "                                                                                         \
    "SELECT account_id, 'account ' || account_id || ' has ' || count(*) || ' wallets' "                  \
    "FROM temp.audit_wallets GROUP BY account_id HAVING count(*) > 1 "                                   \
    "UNION ALL "                                                                                         \
    "SELECT max(account_id), 'the wallet of account ' || max(account_id) || ' has the key of account ' " \
    "|| min(account_id) "                                                                                \
    "FROM temp.audit_wallets GROUP BY public_key HAVING count(*) > 1 AND max(account_id) <> "            \
    "min(account_id) "                                                                                   \
    "UNION ALL "                                                                                         \
    "SELECT a.id, 'account ' || a.id || ' is named by a key, but has no wallet' "                        \
    "FROM temp.audit_store CROSS JOIN temp.audit_accounts AS a "                                         \
    "WHERE has_wallets AND a.username >= ' key ' AND a.username < ' key!' "                              \
    "AND a.id NOT IN (SELECT account_id FROM temp.audit_wallets WHERE account_id IS NOT NULL)"

const struct invariant inv_wallets = {
    .name = "wallets",
    .statement =
        "Every wallet has one account and every key one wallet, and the account is named by the key.",
    .source = "marketplace contract (POST /api/auth/register, 409)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, audit_count((SELECT count(*) FROM temp.audit_wallets), 'wallet', 'wallets') "
             "|| ', ' || faults || ' not as they must be' "
             "FROM (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
