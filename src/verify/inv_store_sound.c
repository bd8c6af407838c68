/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structure only (PRAGMA integrity_check, also for large stores: without indexes on the purchases it
 * costs as much as quick_check, 1 s for a million). The CHECKs of the schema are switched off here
 * (audit.c); what they demand is demanded by the other invariants, which name the row.
 */
#include "verify/invariant.h"

const struct invariant inv_store_sound = {
    .name = "store-sound",
    .statement = "The file is whole: every page, row and index is where it belongs.",
    .source = "flash-sale contract 17 (durable)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 1 AND min(integrity_check) = 'ok', 'integrity check ' || CASE "
             "WHEN min(integrity_check) = 'ok' THEN 'ok' "
             "ELSE count(*) || ' or more faults' END "
             "FROM pragma_integrity_check(100, 'main')",
    .witness = "SELECT 0, integrity_check FROM pragma_integrity_check(100, 'main')",
};
