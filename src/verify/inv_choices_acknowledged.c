/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of the contract names the machine and not its lease: a user who comes late may choose for the
 * next one. So acknowledged choices and leases are held against one another by machine, product and units:
 * there must be as many leases as were told. That each of these has its purchases is machine-sales.
 */
#include "verify/invariant.h"

#define TOLD                                                                            \
    "SELECT machine, product, units, count(*) AS told FROM temp.audit_vending_journal " \
    "WHERE request = 'choose-product' AND outcome = 'acknowledged' GROUP BY machine, product, units"

#define SOLD                                                                          \
    "SELECT machine_id, product_id, units, count(*) AS sold FROM temp.audit_choices " \
    "GROUP BY machine_id, product_id, units"

#define BOTH                                                           \
    "FROM (" TOLD ") AS t LEFT JOIN (" SOLD                            \
    ") AS s ON s.machine_id = t.machine AND s.product_id = t.product " \
    "AND s.units = t.units"

const struct invariant inv_choices_acknowledged = {
    .name = "choices-acknowledged",
    .statement = "Every acknowledged choice was sold by its machine, once.",
    .source = "vending contract (choose-product); flash-sale contract 17 (durable before the reply)",
    .scope = INVARIANT_OF_VENDING,
    .claim =
        "SELECT told = good, told || ' acknowledged, ' || good || ' of them in the store' "
        "FROM (SELECT ifnull(sum(told), 0) AS told, ifnull(sum(min(told, ifnull(sold, 0))), 0) AS good " BOTH
        ")",
    .witness =
        "SELECT j.id, 'journal ' || j.file || ', line ' || j.line || ': machine ' || j.machine || "
        "' sold ' || j.units || ' of product ' || j.product || ', with ' || b.told || "
        "' acknowledged, and has ' || b.sold || ' such leases' "
        "FROM (SELECT t.machine, t.product, t.units, told, ifnull(sold, 0) AS sold " BOTH " "
        "WHERE told > ifnull(sold, 0)) AS b "
        "CROSS JOIN temp.audit_vending_journal AS j ON j.machine = b.machine AND j.product = b.product "
        "AND j.units = b.units AND j.request = 'choose-product' AND j.outcome = 'acknowledged' "
        "WHERE NOT EXISTS (SELECT 1 FROM temp.audit_choices AS c WHERE c.id = j.lease "
        "AND c.machine_id = j.machine AND c.product_id = j.product AND c.units = j.units) "
        "OR EXISTS (SELECT 1 FROM temp.audit_vending_journal AS e WHERE e.lease = j.lease "
        "AND e.request = j.request AND e.outcome = j.outcome AND e.id < j.id) "
        "ORDER BY j.id",
};
