/* SPDX-License-Identifier: Apache-2.0 */
/* From the tickets to their leases, and from the leases to their tickets: so each has one and no other. */
#include "verify/invariant.h"

#define OF_LEASES(table)                                                               \
    "SELECT l.id, 'lease ' || l.id || ' was given to ticket ' || l.ticket_id || CASE " \
    "WHEN t.id IS NULL THEN ', which does not exist' "                                 \
    "WHEN t.state IS NOT 'served' THEN ', which is ' || ifnull(t.state, 'nothing') "   \
    "ELSE ', which was served with lease ' || ifnull(t.end_lease_id, 'none') END "     \
    "FROM " table " AS l LEFT JOIN temp.audit_tickets AS t ON t.id = l.ticket_id "     \
    "WHERE l.ticket_id IS NOT NULL AND NOT (t.state IS 'served' AND t.end_lease_id IS l.id)"

#define FAULTS                                                                                     \
    "SELECT t.id, 'ticket ' || t.id || ' was served with lease ' || t.end_lease_id || CASE "       \
    "WHEN l.id IS NULL AND h.id IS NULL THEN ', which does not exist' "                            \
    "WHEN ifnull(l.ticket_id, h.ticket_id) IS NOT t.id THEN ', which was given to ' || "           \
    "ifnull('ticket ' || ifnull(l.ticket_id, h.ticket_id), 'nobody who waited') "                  \
    "ELSE ' of machine ' || t.machine_id || ', which is one of machine ' || "                      \
    "ifnull(l.machine_id, h.machine_id) END AS fault "                                             \
    "FROM temp.audit_tickets AS t LEFT JOIN temp.audit_leases AS l ON l.id = t.end_lease_id "      \
    "LEFT JOIN temp.audit_holders AS h ON h.id = t.end_lease_id "                                  \
    "WHERE t.state = 'served' AND t.end_lease_id IS NOT NULL AND t.machine_id IS NOT NULL "        \
    "AND NOT (ifnull(l.ticket_id, h.ticket_id) IS t.id AND ifnull(l.machine_id, h.machine_id) IS " \
    "t.machine_id) "                                                                               \
    "UNION ALL " OF_LEASES("temp.audit_leases") " UNION ALL " OF_LEASES("temp.audit_holders")

const struct invariant inv_served_tickets = {
    .name = "served-tickets",
    .statement = "Every ticket that was served has one lease, and no other ticket has any.",
    .source = "vending contract (Waiting line)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, audit_count(served, 'ticket served', 'tickets served') || '; ' || "
             "audit_count(faults, 'fault', 'faults') "
             "FROM (SELECT count(*) AS served FROM temp.audit_tickets WHERE state = 'served') "
             "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
