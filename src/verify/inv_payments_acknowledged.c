/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a customer was told stands in his receipt. A nonce that is there twice is a fault of the store
 * (nonces); here it is one of the answer, which then speaks of neither. A purchase may be gone with its
 * product (spends): its number then still ends in its id.
 */
#include "verify/invariant.h"

#define PAYMENTS                                                                              \
    "FROM temp.audit_market_journal AS j LEFT JOIN temp.audit_keys AS k ON k.key = j.key "    \
    "LEFT JOIN temp.audit_named AS n ON n.from_account = k.account_id AND n.nonce = j.nonce " \
    "LEFT JOIN temp.audit_transfers AS t ON t.id = n.id AND t.from_account = n.from_account " \
    "LEFT JOIN temp.audit_wallets AS w ON w.account_id = t.to_account "                       \
    "LEFT JOIN main.purchases AS p ON p.id = t.purchase_id "                                  \
    "WHERE j.outcome = 'acknowledged' AND j.request IN ('spend', 'transfer')"

#define FAULT                                                                                                \
    "CASE "                                                                                                  \
    "WHEN n.id IS NULL THEN ' is not in the store' "                                                         \
    "WHEN (SELECT count(*) FROM temp.audit_named AS o WHERE o.from_account = n.from_account AND o.nonce = "  \
    "n.nonce) > 1 THEN ' is in the store more than once' "                                                   \
    "WHEN j.transfer_id IS NOT t.id THEN ' is transfer ' || t.id || ' in the store' "                        \
    "WHEN j.request IS NOT t.kind OR j.action IS NOT t.kind THEN ' is a ' || t.kind || ' in the store' "     \
    "WHEN j.payer IS NOT j.key OR j.receipt_nonce IS NOT j.nonce THEN ' has a receipt of another payment' "  \
    "WHEN j.amount_minor IS NOT t.amount_minor THEN ' has moved ' || audit_coins(t.amount_minor) || "        \
    "' in the store' "                                                                                       \
    "WHEN j.second IS NOT t.created_at / 1000 THEN ' was made at ' || " AUDIT_TIME(                          \
        "t.created_at") " || ' in the store' "                                                               \
                        "WHEN j.payee IS NOT nullif(lower(hex(w.public_key)), '') THEN ' has another payee " \
                        "in the "                                                                            \
                        "store' "                                                                            \
                        "WHEN j.product_id IS NOT CAST(t.product_id AS TEXT) THEN ' has bought product ' "   \
                        "|| t.product_id || "                                                                \
                        "' in the store' "                                                                   \
                        "WHEN j.purchase_id IS NOT t.purchase_id OR (p.id IS NOT NULL AND j.order_id IS "    \
                        "NOT p.purchase_no) "                                                                \
                        "THEN ' has order ' || ifnull(p.purchase_no, t.purchase_id) || ' in the store' END"

#define FAULTS                                                                                              \
    "SELECT id, line || fault AS fault FROM (SELECT j.id, 'journal ' || j.file || ', line ' || j.line || "  \
    "': ' || j.request || ' \"' || j.nonce || '\" of ' || j.key AS line, " FAULT " AS fault " PAYMENTS ") " \
    "WHERE fault IS NOT NULL GROUP BY id"

const struct invariant inv_payments_acknowledged = {
    .name = "payments-acknowledged",
    .statement = "Every acknowledged spend and transfer is in the store, once, as its receipt says.",
    .source = "marketplace contract (POST /api/wallet/transact, receipt)",
    .scope = INVARIANT_OF_MARKET,
    .claim =
        "SELECT faults = 0, told || ' acknowledged, ' || (told - faults) || ' of them in the store as told' "
        "FROM (SELECT count(*) AS told FROM temp.audit_market_journal "
        "WHERE request IN ('spend', 'transfer') AND outcome = 'acknowledged') "
        "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
