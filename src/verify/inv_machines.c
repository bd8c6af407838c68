/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine is idle, or somebody chooses, or it processes: which of them follows from its lease too, and both
 * must say the same. Who holds a machine that is never due holds it for ever.
 */
#include "verify/invariant.h"

#define FAULT                                                                                               \
    "CASE "                                                                                                 \
    "WHEN typeof(id) <> 'integer' OR id < 1 OR typeof(name) <> 'text' OR length(name) NOT BETWEEN 1 AND "   \
    "255 "                                                                                                  \
    "OR typeof(is_draining) <> 'integer' OR is_draining NOT IN (0, 1) "                                     \
    "OR typeof(usage_count) <> 'integer' OR usage_count < 0 "                                               \
    "OR typeof(lease_id) NOT IN ('integer', 'null') OR typeof(ticket_id) NOT IN ('integer', 'null') "       \
    "OR typeof(started_at) NOT IN ('integer', 'null') OR typeof(chosen_at) NOT IN ('integer', 'null') "     \
    "OR typeof(product_id) NOT IN ('integer', 'null') OR typeof(units) NOT IN ('integer', 'null') "         \
    "OR typeof(purchase_id) NOT IN ('integer', 'null') OR typeof(due_at) NOT IN ('integer', 'null') "       \
    "OR typeof(created_at) <> 'integer' OR typeof(updated_at) <> 'integer' "                                \
    "THEN ' has a value that cannot be' "                                                                   \
    "WHEN ifnull(status, '') NOT IN ('idle', 'choose_product', 'processing') THEN ' has no such status: ' " \
    "|| ifnull(status, 'none') "                                                                            \
    "WHEN status = 'idle' AND lease_id IS NOT NULL THEN ' is idle, but has lease ' || lease_id "            \
    "WHEN status = 'idle' AND coalesce(ticket_id, started_at, chosen_at, product_id, units, purchase_id, "  \
    "due_at) IS NOT NULL THEN ' is idle, but something of a lease is left' "                                \
    "WHEN status = 'idle' THEN NULL "                                                                       \
    "WHEN lease_id IS NULL THEN ' is in ' || status || ' without a lease' "                                 \
    "WHEN started_at IS NULL THEN ' has lease ' || lease_id || ', which never started' "                    \
    "WHEN due_at IS NULL THEN ' has lease ' || lease_id || ', which is never due' "                         \
    "WHEN status = 'choose_product' AND coalesce(chosen_at, product_id, units, purchase_id) IS NOT NULL "   \
    "THEN ' waits for a choice, but has one' "                                                              \
    "WHEN status = 'processing' AND NOT (chosen_at IS NOT NULL AND product_id IS NOT NULL "                 \
    "AND purchase_id IS NOT NULL AND ifnull(units, 0) >= 1) THEN ' is processing, but nothing was chosen' " \
    "WHEN chosen_at < started_at THEN ' has lease ' || lease_id || ', which chose before it started' END"

#define FAULTS                                                             \
    "SELECT id, 'machine ' || ifnull(id, 'without id') || fault AS fault " \
    "FROM (SELECT id, " FAULT " AS fault FROM temp.audit_machines) "       \
    "WHERE fault IS NOT NULL "                                             \
    "UNION ALL "                                                           \
    "SELECT id, 'machine ' || id || ' is there ' || count(*) || ' times' " \
    "FROM temp.audit_machines "                                            \
    "GROUP BY id HAVING count(*) > 1"

const struct invariant inv_machines = {
    .name = "machines",
    .statement = "Every machine is idle, or waits for a choice, or processes one, and nothing else; it has a "
                 "lease that ends some time exactly when it is not idle.",
    .source = "vending contract (Objects; Selection and life of a machine)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, audit_count(machines, 'machine', 'machines') || ', ' || idle || ' of them "
             "idle; ' || faults "
             "|| ' not as they must be' "
             "FROM (SELECT count(*) AS machines, ifnull(sum(status IS 'idle'), 0) AS idle "
             "FROM temp.audit_machines) "
             "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
