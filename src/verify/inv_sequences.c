/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next id is the larger of next_value and the largest id in the table + 1. So an id that stands in the
 * table is safe by itself; one whose row was deleted (a product was removed or made anew) is safe only below
 * next_value. Such ids are known from the answers that the store keeps, and from the journals.
 */
#include "verify/invariant.h"

#define NEXT "max(s.next_value, ifnull((SELECT max(id) FROM main.purchases), 0) + 1)"

#define FAULTS                                                                                              \
    "SELECT 0 AS id, 'the sequence ' || n.name || ' is missing or below 1' AS fault "                       \
    "FROM (SELECT 'products' AS name UNION ALL SELECT 'purchases' UNION ALL SELECT 'idempotency_keys') AS " \
    "n "                                                                                                    \
    "LEFT JOIN main.sequences AS s ON s.name = n.name "                                                     \
    "WHERE s.next_value IS NULL OR typeof(s.next_value) <> 'integer' OR s.next_value < 1 "                  \
    "UNION ALL "                                                                                            \
    "SELECT k.number, 'purchase id ' || k.number || ', which idempotency key ' || k.id || "                 \
    "' was answered with, ' || 'comes again: the next one is ' || " NEXT " "                                \
    "FROM main.idempotency_keys AS k JOIN main.sequences AS s ON s.name = 'purchases' "                     \
    "WHERE k.number >= " NEXT " "                                                                           \
    "UNION ALL "                                                                                            \
    "SELECT j.purchase_id, 'purchase id ' || j.purchase_id || ', which was acknowledged (journal ' || "     \
    "j.file || ', line ' || j.line || '), comes again: the next one is ' || " NEXT " "                      \
    "FROM temp.audit_journal AS j JOIN main.sequences AS s ON s.name = 'purchases' "                        \
    "WHERE j.purchase_id >= " NEXT

const struct invariant inv_sequences = {
    .name = "sequences",
    .statement = "No id that was ever given out can be given out again.",
    .source = "flash-sale contract 17 (purchaseNo unique for ever)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, 'next purchase id ' "
             "|| ifnull((SELECT " NEXT " FROM main.sequences AS s WHERE s.name = 'purchases'), 'unknown') "
             "|| ', ' || count(*) || ' ids could be given out again' "
             "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
