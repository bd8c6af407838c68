/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a file the next id is the larger of next_value and the largest id in the table + 1. So an id that stands
 * in the table is safe by itself; one whose row was deleted (a product was removed or made anew) is safe only
 * below next_value; so are those of orders and notifications, which share the sequence of work and stay when
 * their work is gone. In a database each node takes blocks of ids from next_value, so every id has to be
 * below it. Ids without a row are known from the answers that the store keeps, from leases, from
 * spends, and from the journals.
 * Machines, leases and tickets have numbers of their own, in the one row of pool, of both kinds of store.
 */
#include "verify/invariant.h"

#define FAULTS                                                                                              \
    "SELECT 0 AS id, 'the sequence ' || name || ' is missing or below 1' AS fault "                         \
    "FROM temp.audit_sequences "                                                                            \
    "WHERE next_value IS NULL OR typeof(next_value) <> 'integer' OR next_value < 1 "                        \
    "UNION ALL "                                                                                            \
    "SELECT id_last, 'id ' || id_last || ' stands in ' || name || ' and comes again: the next one is ' || " \
    "next_id "                                                                                              \
    "FROM temp.audit_sequences "                                                                            \
    "WHERE id_last >= next_id "                                                                             \
    "UNION ALL "                                                                                            \
    "SELECT o.id, " AUDIT_ORDER " || ' has an id that comes again: the next one is ' || s.next_id "         \
    "FROM temp.audit_sequences AS s CROSS JOIN temp.audit_orders AS o "                                     \
    "WHERE s.name = 'work' AND o.id >= s.next_id "                                                          \
    "UNION ALL "                                                                                            \
    "SELECT n.id, 'notification ' || n.id || ' has an id that comes again: the next one is ' || s.next_id " \
    "FROM temp.audit_sequences AS s CROSS JOIN temp.audit_notifications AS n "                              \
    "WHERE s.name = 'work' AND n.id >= s.next_id "                                                          \
    "UNION ALL "                                                                                            \
    "SELECT k.number, 'purchase id ' || k.number || ', which idempotency key ' || k.id || "                 \
    "' was answered with, ' || 'comes again: the next one is ' || s.next_id "                               \
    "FROM main.idempotency_keys AS k JOIN temp.audit_sequences AS s ON s.name = 'purchases' "               \
    "WHERE k.number >= s.next_id "                                                                          \
    "UNION ALL "                                                                                            \
    "SELECT j.purchase_id, 'purchase id ' || j.purchase_id || ', which was acknowledged (journal ' || "     \
    "j.file || ', line ' || j.line || '), comes again: the next one is ' || s.next_id "                     \
    "FROM temp.audit_journal AS j JOIN temp.audit_sequences AS s ON s.name = 'purchases' "                  \
    "WHERE j.purchase_id >= s.next_id "                                                                     \
    "UNION ALL "                                                                                            \
    "SELECT c.purchase_id, 'purchase id ' || (c.purchase_id + c.units - 1) || ', which lease ' || c.id || " \
    "' has bought, comes again: the next one is ' || s.next_id "                                            \
    "FROM temp.audit_sequences AS s CROSS JOIN temp.audit_choices AS c "                                    \
    "WHERE s.name = 'purchases' AND c.purchase_id + c.units > s.next_id "                                   \
    "UNION ALL "                                                                                            \
    "SELECT j.transfer_id, 'transfer id ' || j.transfer_id || ', which was acknowledged (journal ' || "     \
    "j.file || ', line ' || j.line || '), comes again: the next one is ' || s.next_id "                     \
    "FROM temp.audit_market_journal AS j JOIN temp.audit_sequences AS s ON s.name = 'transfers' "           \
    "WHERE j.transfer_id >= s.next_id "                                                                     \
    "UNION ALL "                                                                                            \
    "SELECT s.purchase_id, 'purchase id ' || s.purchase_id || ', which spend ' || s.id || ' has paid for, " \
    "comes again: the next one is ' || n.next_id "                                                          \
    "FROM temp.audit_sequences AS n CROSS JOIN temp.audit_spends AS s "                                     \
    "WHERE n.name = 'purchases' AND s.purchase_id >= n.next_id "                                            \
    "UNION ALL "                                                                                            \
    "SELECT 0, 'there are ' || count(*) || ' rows that say which machine, lease and ticket come next' "     \
    "FROM temp.audit_pool "                                                                                 \
    "HAVING count(*) <> (SELECT has_machines FROM temp.audit_store) "                                       \
    "UNION ALL "                                                                                            \
    "SELECT 0, 'the next machine, lease or ticket is no number above 0' "                                   \
    "FROM temp.audit_pool "                                                                                 \
    "WHERE typeof(next_machine_id) <> 'integer' OR next_machine_id < 1 OR typeof(next_lease_id) <> "        \
    "'integer' OR next_lease_id < 1 OR typeof(next_ticket_id) <> 'integer' OR next_ticket_id < 1 "          \
    "UNION ALL "                                                                                            \
    "SELECT m.id, 'machine ' || m.id || ' has an id that comes again: the next one is ' || "                \
    "p.next_machine_id "                                                                                    \
    "FROM temp.audit_pool AS p CROSS JOIN temp.audit_machines AS m WHERE m.id >= p.next_machine_id "        \
    "UNION ALL "                                                                                            \
    "SELECT l.machine_id, 'machine ' || l.machine_id || ', which had lease ' || l.id || ', comes again: "   \
    "the next one is ' || p.next_machine_id "                                                               \
    "FROM temp.audit_pool AS p CROSS JOIN temp.audit_leases AS l "                                          \
    "WHERE l.machine_id >= p.next_machine_id "                                                              \
    "UNION ALL "                                                                                            \
    "SELECT l.id, 'lease ' || l.id || ' comes again: the next one is ' || p.next_lease_id "                 \
    "FROM temp.audit_pool AS p CROSS JOIN temp.audit_leases AS l WHERE l.id >= p.next_lease_id "            \
    "UNION ALL "                                                                                            \
    "SELECT h.id, 'lease ' || h.id || ' comes again: the next one is ' || p.next_lease_id "                 \
    "FROM temp.audit_pool AS p CROSS JOIN temp.audit_holders AS h WHERE h.id >= p.next_lease_id "           \
    "UNION ALL "                                                                                            \
    "SELECT t.id, 'ticket ' || t.id || ' comes again: the next one is ' || p.next_ticket_id "               \
    "FROM temp.audit_pool AS p CROSS JOIN temp.audit_tickets AS t WHERE t.id >= p.next_ticket_id "          \
    "UNION ALL "                                                                                            \
    "SELECT j.lease, 'lease ' || j.lease || ', which was acknowledged (journal ' || j.file || ', line ' "   \
    "|| j.line || '), comes again: the next one is ' || p.next_lease_id "                                   \
    "FROM temp.audit_pool AS p CROSS JOIN temp.audit_vending_journal AS j "                                 \
    "WHERE j.lease >= p.next_lease_id"

const struct invariant inv_sequences = {
    .name = "sequences",
    .statement = "No id that was ever given out can be given out again.",
    .source = "flash-sale contract 17 (purchaseNo unique for ever)",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT count(*) = 0, 'next purchase id ' "
        "|| ifnull((SELECT next_id FROM temp.audit_sequences WHERE name = 'purchases'), 'unknown') "
        "|| ', ' || audit_count(count(*), 'id could be given out again', 'ids could be given out again') "
        "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
