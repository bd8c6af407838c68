/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only when the journals hold every attempt there was (--journal-complete). Each purchase then either was
 * acknowledged under its number, or belongs to a user with an attempt whose fate is unknown. What machines
 * have sold stands in journals of their own (vending-complete).
 */
#include "verify/invariant.h"

#define UNEXPLAINED                                                                                         \
    "p.product_id = :product AND NOT (p.user_id >= ' ' AND p.user_id < '!') AND NOT EXISTS (SELECT 1 FROM " \
    "temp.audit_journal AS j WHERE j.sku = :sku AND "                                                       \
    "j.user_id = p.user_id AND (j.outcome = 'unknown' OR j.purchase_no = p.purchase_no))"

const struct invariant inv_complete = {
    .name = "complete",
    .statement = "Nothing is in the store that nobody was told of, or may have been.",
    .source = "flash-sale contract 8 (NF-6, no partial purchase)",
    .scope = INVARIANT_OF_COMPLETE,
    .claim = "SELECT count(*) = 0, audit_count(count(*), 'purchase that the journals cannot explain', "
             "'purchases that the journals cannot explain') "
             "FROM main.purchases AS p "
             "WHERE " UNEXPLAINED,
    .witness =
        "SELECT p.id, " AUDIT_PURCHASE " || CASE "
        "WHEN EXISTS (SELECT 1 FROM temp.audit_journal AS j WHERE j.sku = :sku AND j.user_id = p.user_id) "
        "THEN ' was never acknowledged' "
        "ELSE ', who is in no journal' END "
        "FROM main.purchases AS p "
        "WHERE " UNEXPLAINED " "
        "ORDER BY p.id",
};
