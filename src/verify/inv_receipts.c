/* SPDX-License-Identifier: Apache-2.0 */
/* A receipt proves a purchase to anybody who has the store's public key (GET /api/keys); see receipts.h. */
#include "verify/invariant.h"

#define FAULTS                                                                                               \
    "SELECT min(j.id) AS id, 'journal ' || j.file || ': its receipts are signed with ' || j.receipt_key || " \
    "', and those of this store with ' || s.key AS fault "                                                   \
    "FROM temp.audit_receipt_key AS s CROSS JOIN temp.audit_market_journal AS j "                            \
    "WHERE j.receipt_key <> s.key GROUP BY j.file "                                                          \
    "UNION ALL "                                                                                             \
    "SELECT j.id, 'journal ' || j.file || ', line ' || j.line || ': the receipt of ' || j.request || ' \"' " \
    "|| "                                                                                                    \
    "j.nonce || '\" of ' || j.key || CASE f.what "                                                           \
    "WHEN 'shape' THEN ' has no signature, or what no receipt has' "                                         \
    "ELSE ' is not signed by ' || j.receipt_key END "                                                        \
    "FROM temp.audit_receipt_faults AS f CROSS JOIN temp.audit_market_journal AS j ON j.id = f.id"

const struct invariant inv_receipts = {
    .name = "receipts",
    .statement = "Every receipt is signed with the key of this store.",
    .source = "marketplace contract (receipt; GET /api/keys)",
    .scope = INVARIANT_OF_MARKET,
    .claim =
        "SELECT faults = 0, audit_count((SELECT count(receipt) FROM temp.audit_market_journal), 'receipt', "
        "'receipts') || ', ' || audit_count(faults, 'fault', 'faults') "
        "FROM (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
