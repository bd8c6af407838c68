/* SPDX-License-Identifier: Apache-2.0 */
/* A lease that is there once is that of one user: who else was told its number was told a lie. */
#include "verify/invariant.h"

#define TOLD "j.request = 'start-work' AND j.outcome = 'acknowledged'"

/* The line, and what has become of its lease; l ended, h goes on. */
#define LINES                                                                                         \
    "FROM temp.audit_vending_journal AS j LEFT JOIN temp.audit_leases AS l ON l.id = j.lease "        \
    "LEFT JOIN temp.audit_holders AS h ON h.id = j.lease "                                            \
    "LEFT JOIN (SELECT lease, count(*) AS lines FROM temp.audit_vending_journal AS j WHERE " TOLD " " \
    "GROUP BY lease HAVING count(*) > 1) AS d ON d.lease = j.lease "                                  \
    "WHERE " TOLD

#define IS_GOOD "ifnull(l.machine_id, h.machine_id) IS j.machine AND d.lease IS NULL"

const struct invariant inv_leases_acknowledged = {
    .name = "leases-acknowledged",
    .statement = "Every machine that a user was told to have was given to him, and to nobody else with him.",
    .source = "vending contract (start-work); flash-sale contract 17 (durable before the reply)",
    .scope = INVARIANT_OF_VENDING,
    .claim = "SELECT told = good, told || ' acknowledged, ' || good || ' of them in the store' "
             "FROM (SELECT count(*) AS told, ifnull(sum(" IS_GOOD "), 0) AS good " LINES ")",
    .witness = "SELECT j.id, 'journal ' || j.file || ', line ' || j.line || ': lease ' || j.lease || "
               "' of machine ' || j.machine || ' ' || CASE "
               "WHEN l.id IS NULL AND h.id IS NULL THEN 'is not in the store' "
               "WHEN ifnull(l.machine_id, h.machine_id) IS NOT j.machine THEN 'is one of machine ' || "
               "ifnull(l.machine_id, h.machine_id) "
               "ELSE 'is acknowledged ' || d.lines || ' times' END " LINES " AND NOT (" IS_GOOD ") "
               "ORDER BY j.id",
};
