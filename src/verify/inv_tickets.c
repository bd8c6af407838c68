/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets stay when they have ended, and their numbers are taken as those of leases are: a gap is a place in
 * the line that was lost. The lease that was next when a ticket was made never goes down from one to the
 * next.
 */
#include "verify/invariant.h"

#define FAULT                                                                                               \
    "CASE "                                                                                                 \
    "WHEN typeof(t.id) <> 'integer' OR t.id < 1 OR typeof(t.is_attached) <> 'integer' "                     \
    "OR t.is_attached NOT IN (0, 1) OR typeof(t.expires_at) <> 'integer' "                                  \
    "OR typeof(t.first_lease_id) <> 'integer' OR t.first_lease_id < 1 "                                     \
    "OR typeof(t.end_lease_id) NOT IN ('integer', 'null') "                                                 \
    "OR typeof(t.machine_id) NOT IN ('integer', 'null') OR typeof(t.created_at) <> 'integer' "              \
    "OR typeof(t.ended_at) NOT IN ('integer', 'null') THEN ' has a value that cannot be' "                  \
    "WHEN ifnull(t.state, '') NOT IN ('waiting', 'served', 'left', 'expired') THEN ' has no such state: ' " \
    "|| ifnull(t.state, 'none') "                                                                           \
    "WHEN t.state = 'waiting' AND coalesce(t.end_lease_id, t.ended_at) IS NOT NULL "                        \
    "THEN ' waits, but has ended' "                                                                         \
    "WHEN t.state <> 'waiting' AND (t.end_lease_id IS NULL OR t.ended_at IS NULL) "                         \
    "THEN ' is ' || t.state || ', but has not ended' "                                                      \
    "WHEN (t.state = 'served') <> (t.machine_id IS NOT NULL) THEN ' is ' || t.state || ', but has ' || "    \
    "ifnull('machine ' || t.machine_id, 'no machine') "                                                     \
    "WHEN t.end_lease_id < t.first_lease_id THEN ' ended before it was made: at lease ' || t.end_lease_id " \
    "|| ', from lease ' || t.first_lease_id "                                                               \
    "WHEN max(t.first_lease_id, ifnull(t.end_lease_id, 0)) > (SELECT max(next_lease_id) "                   \
    "FROM temp.audit_pool) THEN ' speaks of a lease that there is not yet' "                                \
    "WHEN (SELECT b.first_lease_id FROM temp.audit_tickets AS b WHERE b.id = t.id - 1) > t.first_lease_id " \
    "THEN ' was made at lease ' || t.first_lease_id || ', but the one before later' "                       \
    "WHEN t.id > 1 AND NOT EXISTS (SELECT 1 FROM temp.audit_tickets AS b WHERE b.id = t.id - 1) "           \
    "THEN ' comes after a gap: there is no ' || (t.id - 1) END"

#define FAULTS                                                                                             \
    "SELECT id, 'ticket ' || ifnull(id, 'without id') || fault AS fault "                                  \
    "FROM (SELECT t.id, " FAULT " AS fault FROM temp.audit_tickets AS t) "                                 \
    "WHERE fault IS NOT NULL "                                                                             \
    "UNION ALL "                                                                                           \
    "SELECT id, 'ticket ' || id || ' is there ' || count(*) || ' times' "                                  \
    "FROM temp.audit_tickets "                                                                             \
    "GROUP BY id HAVING count(*) > 1 "                                                                     \
    "UNION ALL "                                                                                           \
    "SELECT id_last, 'the next ticket is ' || p.next_ticket_id || ', but the last is ' || id_last "        \
    "FROM (SELECT ifnull(max(id), 0) AS id_last FROM temp.audit_tickets) CROSS JOIN temp.audit_pool AS p " \
    "WHERE p.next_ticket_id > id_last + 1"

const struct invariant inv_tickets = {
    .name = "tickets",
    .statement =
        "The tickets are numbered from 1 without a gap, each once, and each waits or has ended in one way.",
    .source = "vending contract (Waiting line)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT faults = 0, audit_count(tickets, 'ticket', 'tickets') || ': ' || waiting || ' wait, ' "
             "|| served || ' were served; ' "
             "|| faults || ' not as they must be' "
             "FROM (SELECT count(*) AS tickets, ifnull(sum(state IS 'waiting'), 0) AS waiting, "
             "ifnull(sum(state IS 'served'), 0) AS served FROM temp.audit_tickets) "
             "CROSS JOIN (SELECT count(*) AS faults FROM (" FAULTS "))",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
