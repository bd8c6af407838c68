/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has the lower ticket comes first. A ticket waited while leases first_lease_id to end_lease_id - 1 were
 * given out, and its own lease, if it was served, comes next; one that still waits has waited for all leases
 * since. Two things must hold, and both follow from one number for each ticket, the lease at which the last
 * of those up to it had gone (audit_line):
 *
 *   among tickets   the lease of a ticket that was served comes when nobody before it waits any more;
 *   without ticket  from the lease at which a ticket was made to the one at which the next was made, only
 *                   those up to it can wait; no lease for which one of them did went to nobody who waited.
 *                   These ranges do not overlap, so every lease is looked at once.
 *
 * A lease with a ticket that is not its own is found by served-tickets.
 */
#include "verify/invariant.h"

#define FIRST_OF_NEXT \
    "ifnull((SELECT n.first_lease_id FROM temp.audit_tickets AS n WHERE n.id = t.id + 1), t.until)"

#define WITHOUT_TICKET(table)                                                                           \
    "SELECT l.id, 'lease ' || l.id || ' of machine ' || l.machine_id || ' was given to nobody who "     \
    "waited, while ticket ' || (SELECT min(w.id) FROM temp.audit_tickets AS w WHERE w.id <= t.id "      \
    "AND w.first_lease_id <= l.id AND (w.end_lease_id > l.id OR w.end_lease_id IS NULL)) || ' waited' " \
    "FROM temp.audit_line AS t CROSS JOIN " table " AS l "                                              \
    "ON l.id >= t.first_lease_id AND l.id < min(t.until, " FIRST_OF_NEXT ") "                           \
    "WHERE t.until > t.first_lease_id AND l.ticket_id IS NULL"

#define FAULTS                                                                                              \
    "SELECT id, 'ticket ' || id || ' was served with lease ' || end_lease_id || ', but one before it ' || " \
    "'waited until lease ' || (until_before - 1) AS fault "                                                 \
    "FROM temp.audit_line WHERE state = 'served' AND until_before > end_lease_id "                          \
    "UNION ALL " WITHOUT_TICKET("temp.audit_leases") " UNION ALL " WITHOUT_TICKET("temp.audit_holders")

const struct invariant inv_nobody_overtaken = {
    .name = "nobody-overtaken",
    .statement = "Nobody is given a machine while somebody waits who came before.",
    .source = "vending contract (Waiting line: first come, first served)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count((SELECT count(*) FROM temp.audit_tickets), 'ticket', "
             "'tickets') || ', ' || audit_count(count(*), "
             "'lease out of turn', 'leases out of turn') "
             "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
