/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lease with a choice has bought so many units, one purchase each, with ids that follow one another, by the
 * user " machine N": so what machines have sold is counted by the stock of the product as any other unit is.
 * No client can name a user that begins with a blank (flash-sale contract 2.1: the header is trimmed).
 *
 * A product that is gone, or whose sale was made anew, has taken its purchases with it, all at once. So a
 * lease without any is a fault only when an older purchase of that product is still there: by id in a file;
 * in a database, where ids do not ascend with time, by time.
 */
#include "verify/invariant.h"

#define MUST_BE_THERE                                                                     \
    "EXISTS (SELECT 1 FROM temp.audit_store CROSS JOIN temp.audit_products AS a "         \
    "WHERE a.product_id = c.product_id AND CASE is_database WHEN 0 THEN c.purchase_id > " \
    "a.purchase_id_first "                                                                \
    "ELSE c.chosen_at > a.purchased_first + clock_doubt_ms END)"

#define FAULTS                                                                                             \
    "SELECT p.id, " AUDIT_PURCHASE " || ' has no lease that it was sold by' AS fault "                     \
    "FROM temp.audit_strays AS s CROSS JOIN main.purchases AS p ON p.id = s.id "                           \
    "UNION ALL "                                                                                           \
    "SELECT c.id, 'lease ' || c.id || ' of machine ' || c.machine_id || ' has bought ' || c.units || "     \
    "', but ' || c.bought || ' of them are there' "                                                        \
    "FROM temp.audit_short AS c WHERE c.bought > 0 OR " MUST_BE_THERE " "                                  \
    "UNION ALL "                                                                                           \
    "SELECT id, 'lease ' || id || ' of machine ' || machine_id || ' has bought purchase ' || purchase_id " \
    "|| ', which lease ' || id_before || ' has bought' "                                                   \
    "FROM temp.audit_shared_units"

const struct invariant inv_machine_sales = {
    .name = "machine-sales",
    .statement = "Every unit sold by a machine belongs to one lease, and every lease has all of its units.",
    .source = "vending contract (choose-product; product stock is one stock)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, choices || ' leases have bought ' || units || ' units; ' || faults "
             "|| ' of them do not fit the purchases' "
             "FROM (SELECT count(*) AS choices, ifnull(sum(units), 0) AS units FROM temp.audit_choices) "
             "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
