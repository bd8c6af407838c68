/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number ends in the id of its row, and the row says what its number is: so a number that is there is
 * there once. Two lines with the same number for the same buyer are the same answer given twice
 * (Idempotency-Key); for two buyers, one of them is not the buyer in the store.
 *
 * The + keeps SQLite from taking the lines in order of user: in order of the journal the rows of the
 * purchases are read nearly one after the other, several times as fast.
 */
#include "verify/invariant.h"

const struct invariant inv_acknowledged = {
    .name = "acknowledged",
    .statement = "Every acknowledged purchase is in the store, once, for that buyer and that product.",
    .source = "flash-sale contract 17 (durable before the reply)",
    .scope = INVARIANT_OF_JOURNAL,
    .claim = "SELECT count(*) = count(p.id), count(*) || ' acknowledged, ' || count(p.id) || "
             "' of them in the store' "
             "FROM temp.audit_journal AS j "
             "LEFT JOIN main.purchases AS p ON p.id = j.purchase_id AND p.purchase_no = j.purchase_no AND "
             "p.product_id = :product AND p.user_id = j.user_id "
             "WHERE +j.sku = :sku AND j.outcome = 'acknowledged'",
    .witness =
        "SELECT j.id, 'journal ' || j.file || ', line ' || j.line || ': ' || j.purchase_no || ' of \"' || "
        "j.user_id || '\" ' || CASE "
        "WHEN p.id IS NULL THEN 'is not in the store' "
        "WHEN p.product_id <> :product THEN 'is a purchase of product ' || p.product_id "
        "ELSE 'is \"' || p.user_id || '\"''s in the store' END "
        "FROM temp.audit_journal AS j "
        "LEFT JOIN main.purchases AS p ON p.id = j.purchase_id AND p.purchase_no = j.purchase_no "
        "WHERE j.sku = :sku AND j.outcome = 'acknowledged' AND (p.id IS NULL OR p.product_id IS NOT "
        ":product OR p.user_id <> j.user_id) "
        "ORDER BY j.id",
};
