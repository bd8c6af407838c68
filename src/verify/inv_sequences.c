/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a file the next id is the larger of next_value and the largest id in the table + 1. So an id that stands
 * in the table is safe by itself; one whose row was deleted (a product was removed or made anew) is safe only
 * below next_value; so are those of orders and notifications, which share the sequence of work and stay when
 * their work is gone. In a database each node takes blocks of ids from next_value, so every id has to be
 * below it. Ids without a row are known from the answers that the store keeps, and from the journals.
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
    "WHERE j.purchase_id >= s.next_id"

const struct invariant inv_sequences = {
    .name = "sequences",
    .statement = "No id that was ever given out can be given out again.",
    .source = "flash-sale contract 17 (purchaseNo unique for ever)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, 'next purchase id ' "
             "|| ifnull((SELECT next_id FROM temp.audit_sequences WHERE name = 'purchases'), 'unknown') "
             "|| ', ' || count(*) || ' ids could be given out again' "
             "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
