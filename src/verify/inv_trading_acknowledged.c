/* SPDX-License-Identifier: Apache-2.0 */
/* Each answer to a client was about a new order: so no two lines have one number (trading_names.h). */
#include "verify/invariant.h"

#define TOLD "j.face = 'intake' AND j.outcome = 'acknowledged'"

const struct invariant inv_trading_acknowledged = {
    .name = "trading-orders-acknowledged",
    .statement = "Every acknowledged trading order is in the store, and is acknowledged once.",
    .source = "order intake contract (each acknowledged order exactly once in the store)",
    .scope = INVARIANT_OF_TRADING,
    .claim =
        "SELECT told = found, told || ' acknowledged, ' || found || ' different ones of them in the store' "
        "FROM (SELECT count(*) AS told FROM temp.audit_order_journal AS j WHERE " TOLD ") "
        "CROSS JOIN (SELECT count(DISTINCT j.number) AS found FROM temp.audit_order_journal AS j "
        "CROSS JOIN temp.audit_intake_orders AS o ON o.id = j.number WHERE " TOLD ")",
    .witness =
        "SELECT j.id, 'journal ' || j.file || ', line ' || j.line || ': trading order \"' || j.order_id || "
        "'\" ' || CASE WHEN j.number IS NULL THEN 'has no name that this store gives' "
        "WHEN o.id IS NULL THEN '(' || j.number || ') is not in the store' "
        "ELSE '(' || j.number || ') is acknowledged ' || d.lines || ' times' END "
        "FROM temp.audit_order_journal AS j LEFT JOIN temp.audit_intake_orders AS o ON o.id = j.number "
        "LEFT JOIN (SELECT number, count(*) AS lines FROM temp.audit_order_journal AS j WHERE " TOLD " "
        "GROUP BY number HAVING count(*) > 1) AS d ON d.number = j.number "
        "WHERE " TOLD " AND (o.id IS NULL OR d.lines > 1) "
        "ORDER BY j.id",
};
