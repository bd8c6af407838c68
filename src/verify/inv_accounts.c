/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower() of SQLite changes ASCII letters alone, which is what the keys are made by. A password is kept as
 * the string that its hash function makes ($argon2id$v=..$m=..,t=..,p=..$salt$hash) and in no other way; an
 * account that is named by a key has none (wallets).
 */
#include "verify/invariant.h"

#define FAULT                                                                                           \
    "CASE "                                                                                             \
    "WHEN typeof(id) <> 'integer' OR id < 1 OR typeof(username) <> 'text' OR username = '' "            \
    "OR typeof(username_key) <> 'text' OR typeof(email) <> 'text' OR email = '' "                       \
    "OR typeof(email_key) <> 'text' OR typeof(full_name) <> 'text' OR typeof(password_hash) <> 'text' " \
    "OR typeof(created_at) <> 'integer' THEN ' has a value that cannot be' "                            \
    "WHEN username_key <> lower(username) THEN ' is \"' || username || '\", but is known as \"' || "    \
    "username_key || '\"' "                                                                             \
    "WHEN email_key <> lower(email) THEN ' has an address other than the one it is known by' "          \
    "WHEN NOT (has_wallets AND password_hash = '' AND username >= ' key ' AND username < ' key!') "     \
    "AND password_hash NOT GLOB '$argon2id$v=[0-9]*$m=[0-9]*,t=[0-9]*,p=[0-9]*$?*$?*' THEN "            \
    "' has a password that is not kept as argon2id' END"

#define FAULTS                                                                                   \
    "SELECT id, 'account ' || ifnull(id, 'without id') || fault AS fault "                       \
    "FROM (SELECT id, " FAULT " AS fault FROM temp.audit_store CROSS JOIN temp.audit_accounts) " \
    "WHERE fault IS NOT NULL "                                                                   \
    "UNION ALL "                                                                                 \
    "SELECT id, 'account ' || id || ' is there ' || count(*) || ' times' "                       \
    "FROM temp.audit_accounts "                                                                  \
    "GROUP BY id HAVING count(*) > 1 "                                                           \
    "UNION ALL "                                                                                 \
    "SELECT max(id), 'account ' || max(id) || ' has the name of account ' || min(id) "           \
    "FROM temp.audit_accounts "                                                                  \
    "GROUP BY username_key HAVING count(*) > 1 "                                                 \
    "UNION ALL "                                                                                 \
    "SELECT max(id), 'account ' || max(id) || ' has the address of account ' || min(id) "        \
    "FROM temp.audit_accounts "                                                                  \
    "GROUP BY email_key HAVING count(*) > 1"

const struct invariant inv_accounts = {
    .name = "accounts",
    .statement =
        "Every account has a name and an address of its own, and a password that is only kept hashed.",
    .source = "order intake contract (POST /api/auth/register, 409; argon2id)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count((SELECT count(*) FROM temp.audit_accounts), 'account', "
             "'accounts') || ', ' || count(*) || "
             "' of them not as they must be' "
             "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
