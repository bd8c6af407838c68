/* SPDX-License-Identifier: Apache-2.0 */
/* Work that cannot be read is never done, and work without a token could be done by two nodes. */
#include "verify/invariant.h"

#define FAULTS                                                                                              \
    "SELECT id, 'work ' || ifnull(id, 'without id') || ' has a value that cannot be' AS fault "             \
    "FROM temp.audit_work "                                                                                 \
    "WHERE typeof(id) <> 'integer' OR id < 1 OR typeof(kind) <> 'text' OR kind = '' OR typeof(subject) <> " \
    "'text' "                                                                                               \
    "OR typeof(body) <> 'text' OR typeof(due_at) <> 'integer' OR typeof(token) <> 'integer' OR token < 0 "  \
    "OR typeof(created_at) <> 'integer' "                                                                   \
    "UNION ALL "                                                                                            \
    "SELECT id, 'work ' || id || ' is there ' || count(*) || ' times' "                                     \
    "FROM temp.audit_work "                                                                                 \
    "GROUP BY id HAVING count(*) > 1"

const struct invariant inv_work = {
    .name = "work",
    .statement = "Everything that is to be done later says what, about what and when, and is there once.",
    .source = "schema of the table work",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count((SELECT count(*) FROM temp.audit_work), 'thing to do', "
             "'things to do') || ', ' || count(*) || ' not as they must be' "
             "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
