/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of a machine's leases are the order in which it was given out. So no two of them overlap when
 * each has ended by the time at which the next one started. Without tolerance, also for several nodes: what
 * is told of a machine is never told as earlier than what was told of it before.
 */
#include "verify/invariant.h"

const struct invariant inv_one_holder = {
    .name = "one-holder",
    .statement = "At no time did two users hold one machine.",
    .source = "vending contract (Leases are fenced)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count((SELECT count(*) FROM temp.audit_all_leases), 'lease', "
             "'leases') || ', ' || count(*) || "
             "' of them given out while the machine had another' "
             "FROM temp.audit_overlaps",
    .witness = "SELECT id, 'lease ' || id || ' of machine ' || machine_id || ' started at ' || " AUDIT_TIME(
        "started_at") " || ', but lease ' || id_before || CASE "
                      "WHEN ended_before IS NULL THEN ' goes on' "
                      "ELSE ' ended at ' || " AUDIT_TIME("ended_before") " END "
                                                                         "FROM temp.audit_overlaps "
                                                                         "ORDER BY id",
};
