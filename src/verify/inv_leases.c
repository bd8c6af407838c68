/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number is taken in the transaction that gives the machine to somebody, so none is ever missing: a gap is
 * a lease that was lost. Times of one machine are never told as earlier than what was told of it before,
 * whatever a clock says. Ended leases and present ones are asked apart: the one table is large and in order
 * of number, the other small.
 */
#include "verify/invariant.h"

#define FAULT                                                                                                \
    "CASE "                                                                                                  \
    "WHEN typeof(l.id) <> 'integer' OR l.id < 1 OR typeof(l.machine_id) <> 'integer' OR l.machine_id < 1 "   \
    "OR typeof(l.ticket_id) NOT IN ('integer', 'null') OR typeof(l.started_at) <> 'integer' "                \
    "OR typeof(l.chosen_at) NOT IN ('integer', 'null') OR typeof(l.product_id) NOT IN ('integer', 'null') "  \
    "OR typeof(l.units) NOT IN ('integer', 'null') OR l.units < 1 "                                          \
    "OR typeof(l.purchase_id) NOT IN ('integer', 'null') OR typeof(l.ended_at) <> 'integer' "                \
    "THEN ' has a value that cannot be' "                                                                    \
    "WHEN ifnull(l.outcome, '') NOT IN ('completed', 'reset', 'timed_out', 'deleted', 'given_up') "          \
    "THEN ' has no such outcome: ' || ifnull(l.outcome, 'none') "                                            \
    "WHEN (l.chosen_at IS NULL) <> (l.product_id IS NULL) OR (l.chosen_at IS NULL) <> (l.units IS NULL) "    \
    "OR (l.chosen_at IS NULL) <> (l.purchase_id IS NULL) THEN ' has half a choice' "                         \
    "WHEN l.outcome = 'completed' AND l.chosen_at IS NULL THEN ' is completed, but nothing was chosen' "     \
    "WHEN l.outcome = 'timed_out' AND l.chosen_at IS NOT NULL THEN ' timed out after a product was chosen' " \
    "WHEN l.outcome = 'deleted' AND l.machine_id IN (SELECT id FROM temp.audit_machines) "                   \
    "THEN ' ended with machine ' || l.machine_id || ', which is still there' "                               \
    "WHEN l.chosen_at < l.started_at THEN ' chose before it started' "                                       \
    "WHEN l.ended_at < ifnull(l.chosen_at, l.started_at) THEN ' ended before it ' || CASE "                  \
    "WHEN l.chosen_at IS NULL THEN 'started' ELSE 'chose' END "                                              \
    "WHEN l.id > 1 AND NOT EXISTS (SELECT 1 FROM temp.audit_leases AS b WHERE b.id = l.id - 1) "             \
    "AND NOT EXISTS (SELECT 1 FROM temp.audit_holders AS h WHERE h.id = l.id - 1) "                          \
    "THEN ' comes after a gap: there is no ' || (l.id - 1) END"

#define FAULTS                                                                                          \
    "SELECT id, 'lease ' || ifnull(id, 'without number') || fault AS fault "                            \
    "FROM (SELECT l.id, " FAULT " AS fault FROM temp.audit_leases AS l) "                               \
    "WHERE fault IS NOT NULL "                                                                          \
    "UNION ALL "                                                                                        \
    "SELECT h.id, 'lease ' || h.id || ' comes after a gap: there is no ' || (h.id - 1) "                \
    "FROM temp.audit_holders AS h "                                                                     \
    "WHERE h.id > 1 AND NOT EXISTS (SELECT 1 FROM temp.audit_leases AS b WHERE b.id = h.id - 1) "       \
    "AND NOT EXISTS (SELECT 1 FROM temp.audit_holders AS b WHERE b.id = h.id - 1) "                     \
    "UNION ALL "                                                                                        \
    "SELECT id, 'lease ' || id || ' has ended ' || count(*) || ' times' "                               \
    "FROM temp.audit_leases "                                                                           \
    "GROUP BY id HAVING count(*) > 1 "                                                                  \
    "UNION ALL "                                                                                        \
    "SELECT h.id, 'lease ' || h.id || ' of machine ' || h.machine_id || ' goes on, but has ended' "     \
    "FROM temp.audit_holders AS h CROSS JOIN temp.audit_leases AS l ON l.id = h.id "                    \
    "UNION ALL "                                                                                        \
    "SELECT id, 'lease ' || id || ' is had by ' || count(*) || ' machines at once' "                    \
    "FROM temp.audit_holders "                                                                          \
    "GROUP BY id HAVING count(*) > 1 "                                                                  \
    "UNION ALL "                                                                                        \
    "SELECT id_last, 'the next lease is ' || p.next_lease_id || ', but the last is ' || id_last "       \
    "FROM (SELECT max(ifnull((SELECT max(id) FROM temp.audit_leases), 0), "                             \
    "ifnull((SELECT max(id) FROM temp.audit_holders), 0)) AS id_last) CROSS JOIN temp.audit_pool AS p " \
    "WHERE p.next_lease_id > id_last + 1"

const struct invariant inv_leases = {
    .name = "leases",
    .statement =
        "The leases are numbered from 1 without a gap, each once; one that has ended says how, and a "
        "completed one what was chosen.",
    .source = "vending contract (Leases are fenced)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, audit_count(leases, 'lease that has ended', 'leases that have ended') || ', "
             "' || completed || ' of them completed, ' "
             "|| holders || ' that go on; ' || audit_count(faults, 'fault', 'faults') "
             "FROM (SELECT count(*) AS leases, ifnull(sum(outcome IS 'completed'), 0) AS completed "
             "FROM temp.audit_leases) "
             "CROSS JOIN (SELECT count(*) AS holders FROM temp.audit_holders) "
             "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
