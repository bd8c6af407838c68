/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The purchase is the order and the transfer its receipt: one decision, one transaction, one time. The buyer
 * is " key " and the payer's key, a name that no client can send.
 *
 * A product that is gone, or whose sale was made anew, has taken its purchases with it, all at once. So a
 * spend without its purchase is a fault only when an older purchase of that product is still there (by id in
 * a file; in a database, where ids do not ascend with time, by time), or when nobody has touched the product
 * since.
 */
#include "verify/invariant.h"

#define MUST_BE_THERE                                                                             \
    "(EXISTS (SELECT 1 FROM temp.audit_products AS a WHERE a.product_id = s.product_id AND CASE " \
    "is_database WHEN 0 THEN s.purchase_id > a.purchase_id_first "                                \
    "ELSE s.created_at > a.purchased_first + clock_doubt_ms END) "                                \
    "OR EXISTS (SELECT 1 FROM main.products AS o WHERE o.id = s.product_id "                      \
    "AND o.updated_at + clock_doubt_ms < s.created_at))"

#define FAULTS                                                                                              \
    "SELECT s.id, 'spend ' || s.id || ' of account ' || s.from_account || ' has no purchase: there is no "  \
    "' || s.purchase_id AS fault "                                                                          \
    "FROM temp.audit_store CROSS JOIN temp.audit_spends AS s "                                              \
    "WHERE NOT EXISTS (SELECT 1 FROM main.purchases AS p WHERE p.id = s.purchase_id) AND " MUST_BE_THERE    \
    " UNION ALL "                                                                                           \
    "SELECT s.id, 'spend ' || s.id || ' of account ' || s.from_account || ' has ' || " AUDIT_PURCHASE       \
    " || CASE WHEN p.user_id IS NOT s.payer THEN ', which is not the payer' "                               \
    "WHEN p.product_id IS NOT s.product_id THEN ' of product ' || p.product_id || ', but paid for product " \
    "' || s.product_id "                                                                                    \
    "ELSE ', which was made at another time' END "                                                          \
    "FROM temp.audit_spends AS s CROSS JOIN main.purchases AS p ON p.id = s.purchase_id "                   \
    "WHERE p.user_id IS NOT s.payer OR p.product_id IS NOT s.product_id "                                   \
    "OR p.purchased_at IS NOT s.created_at "                                                                \
    "UNION ALL "                                                                                            \
    "SELECT max(id), 'spend ' || max(id) || ' has the purchase of spend ' || min(id) || ': ' || "           \
    "purchase_id "                                                                                          \
    "FROM temp.audit_spends GROUP BY purchase_id HAVING count(*) > 1 "                                      \
    "UNION ALL "                                                                                            \
    "SELECT p.id, " AUDIT_PURCHASE " || ' was not paid for' "                                               \
    "FROM temp.audit_store CROSS JOIN main.purchases AS p "                                                 \
    "WHERE has_wallets AND p.user_id >= ' key ' AND p.user_id < ' key!' "                                   \
    "AND NOT EXISTS (SELECT 1 FROM temp.audit_spends AS s WHERE s.purchase_id = p.id)"

const struct invariant inv_spends = {
    .name = "spends",
    .statement = "Every spend has its purchase and every purchase by a wallet its spend: same payer, product "
                 "and time.",
    .source = "marketplace contract (a debit and its order exist together or not at all)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, audit_count((SELECT count(*) FROM temp.audit_spends), 'spend', 'spends') || "
             "', ' || faults || ' without what belongs to them' "
             "FROM (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
