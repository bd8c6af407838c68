/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever holds it hands trading orders over: without it nobody does, with two of it two would at once. */
#include "verify/invariant.h"

#define DEAD_MS "253402300799000" /* 9999-12-31T23:59:59Z: due then is never due */

#define FAULTS                                                                                              \
    "SELECT 0 AS id, 'the work of handing trading orders over is there ' || count(*) || ' times' AS fault " \
    "FROM temp.audit_work WHERE kind = 'intake-delivery' "                                                  \
    "HAVING count(*) <> (SELECT has_orders FROM temp.audit_store) "                                         \
    "UNION ALL "                                                                                            \
    "SELECT id, 'work ' || id || ', which hands trading orders over, is dead' "                             \
    "FROM temp.audit_work "                                                                                 \
    "WHERE kind = 'intake-delivery' AND due_at >= " DEAD_MS

const struct invariant inv_delivery_work = {
    .name = "delivery-work",
    .statement = "Handing trading orders over is one piece of work that is always to be done.",
    .source = "schema of the table work",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count((SELECT count(*) FROM temp.audit_work WHERE kind = "
             "'intake-delivery'), "
             "'piece of work of this kind', 'pieces of work of this kind') "
             "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
