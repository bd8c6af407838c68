/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rows stand on. Of a file, the structure only (PRAGMA integrity_check, also for large stores:
 * without indexes on the purchases it costs as much as quick_check, 1 s for a million; with the index of
 * order_ids, which it holds against the rows, 2 s for a million orders); the CHECKs of the
 * schema are switched off here (audit.c). Of a database, that the tables and constraints are there and in
 * force (postgres_sound.c). What CHECKs demand is demanded by the other invariants too, which name the row.
 */
#include "verify/invariant.h"

const struct invariant inv_store_sound = {
    .name = "store-sound",
    .statement =
        "The store is whole: in a file every page, row and index is where it belongs; in a database every "
        "table, constraint and index that stands behind the rules is there and in force.",
    .source = "flash-sale contract 17 (durable)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, 'integrity check ' || CASE count(*) "
             "WHEN 0 THEN 'ok' "
             "ELSE count(*) || ' or more faults' END "
             "FROM temp.audit_damage",
    .witness = "SELECT 0, fault FROM temp.audit_damage",
};
