/* SPDX-License-Identifier: Apache-2.0 */
/* What decides which machine is next, against the leases that it is made of. */
#include "verify/invariant.h"

#define FAULTS                                                                                   \
    "SELECT m.id, 'machine ' || m.id || ' says ' || m.usage_count || ', but has completed ' || " \
    "ifnull(l.completed, 0) || ' leases' AS fault "                                              \
    "FROM temp.audit_machines AS m "                                                             \
    "LEFT JOIN temp.audit_turns AS l ON l.machine_id = m.id "                                    \
    "WHERE m.usage_count <> ifnull(l.completed, 0)"

const struct invariant inv_usage_count = {
    .name = "usage-count",
    .statement = "A machine's usage count is the number of its completed leases.",
    .source = "vending contract (Selection and life of a machine)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, audit_count(used, 'use of', 'uses of') || ' ' || audit_count(machines, "
             "'machine', 'machines') || '; ' || faults || ' miscounted' "
             "FROM (SELECT count(*) AS machines, ifnull(sum(usage_count), 0) AS used "
             "FROM temp.audit_machines) "
             "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
