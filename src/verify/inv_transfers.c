/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coins come out of the issue (opening, credit) or a wallet (transfer, spend) and go to a wallet or the shop
 * (spend). An amount has 15 digits at the most, so that any client's double holds it.
 */
#include "verify/invariant.h"

#define FAULT                                                                                                \
    "CASE "                                                                                                  \
    "WHEN typeof(id) <> 'integer' OR id < 1 OR typeof(kind) <> 'text' OR typeof(amount_minor) <> 'integer' " \
    "OR typeof(from_account) NOT IN ('integer', 'null') OR typeof(to_account) NOT IN ('integer', 'null') "   \
    "OR typeof(from_previous_id) NOT IN ('integer', 'null') "                                                \
    "OR typeof(to_previous_id) NOT IN ('integer', 'null') OR typeof(created_at) <> 'integer' "               \
    "THEN ' has a value that cannot be' "                                                                    \
    "WHEN kind NOT IN ('opening', 'credit', 'transfer', 'spend') THEN ' is of no such kind: ' || kind "      \
    "WHEN amount_minor NOT BETWEEN 1 AND 999999999999999 THEN ' moves ' || audit_coins(amount_minor) "       \
    "WHEN (from_account IS NULL) <> (kind IN ('opening', 'credit')) OR (to_account IS NULL) <> (kind = "     \
    "'spend') THEN ' is a ' || kind || ' between the wrong ones' "                                           \
    "WHEN from_account = to_account THEN ' goes from account ' || from_account || ' to itself' "             \
    "WHEN typeof(from_balance_minor) <> CASE WHEN from_account IS NULL THEN 'null' ELSE 'integer' END "      \
    "OR typeof(to_balance_minor) <> CASE WHEN to_account IS NULL THEN 'null' ELSE 'integer' END "            \
    "OR (from_account IS NULL AND from_previous_id IS NOT NULL) "                                            \
    "OR (to_account IS NULL AND to_previous_id IS NOT NULL) "                                                \
    "THEN ' does not say what each of its wallets had' "                                                     \
    "WHEN typeof(product_id) <> CASE kind WHEN 'spend' THEN 'integer' ELSE 'null' END "                      \
    "OR typeof(purchase_id) <> CASE kind WHEN 'spend' THEN 'integer' ELSE 'null' END "                       \
    "THEN ' is a ' || kind || ' that does not say what was bought, or should not' "                          \
    "WHEN kind = 'opening' AND (nonce IS NOT NULL OR fingerprint IS NOT NULL) THEN ' is an opening, but "    \
    "was named' "                                                                                            \
    "WHEN kind <> 'opening' AND (typeof(nonce) <> 'text' OR length(nonce) NOT BETWEEN 1 AND 64 "             \
    "OR typeof(fingerprint) <> 'blob' OR length(fingerprint) <> 16) THEN ' is not named as it must be' END"

#define FAULTS                                                                                \
    "SELECT id, 'transfer ' || ifnull(id, 'without id') || fault AS fault "                   \
    "FROM (SELECT id, " FAULT " AS fault FROM temp.audit_transfers) WHERE fault IS NOT NULL " \
    "UNION ALL "                                                                              \
    "SELECT id, 'transfer ' || id || ' is there ' || count(*) || ' times' "                   \
    "FROM temp.audit_transfers GROUP BY id HAVING count(*) > 1"

const struct invariant inv_transfers = {
    .name = "transfers",
    .statement = "Every transfer is an opening, a credit, a transfer or a spend of 0.01 or more, with what "
                 "belongs to it.",
    .source = "marketplace contract (intent; amounts are hundredths)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, audit_count((SELECT count(*) FROM temp.audit_transfers), 'transfer', "
             "'transfers') || ', ' || faults || ' not as they must be' "
             "FROM (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
