/* SPDX-License-Identifier: Apache-2.0 */
/* A client that lost its answer asks again with its key, and takes what is kept for the truth. */
#include "verify/invariant.h"

#define FAULTS                                                                                             \
    "SELECT id, 'idempotency key ' || ifnull(id, 'without id') || ' has a value that cannot be' AS fault " \
    "FROM main.idempotency_keys "                                                                          \
    "WHERE typeof(id) <> 'integer' OR typeof(scope) <> 'text' OR scope = '' OR typeof(key) <> 'text' OR "  \
    "key = '' "                                                                                            \
    "OR typeof(fingerprint) <> 'blob' OR length(fingerprint) <> 16 OR typeof(result) <> 'integer' OR "     \
    "result < 0 "                                                                                          \
    "OR typeof(number) <> 'integer' OR number < 0 OR typeof(time) <> 'integer' OR typeof(created_at) <> "  \
    "'integer' "                                                                                           \
    "UNION ALL "                                                                                           \
    "SELECT max(id), 'idempotency key ' || max(id) || ' is the same as key ' || min(id) "                  \
    "FROM main.idempotency_keys "                                                                          \
    "GROUP BY scope, key HAVING count(*) > 1"

const struct invariant inv_kept_answers = {
    .name = "kept-answers",
    .statement = "Every answer that is kept for its Idempotency-Key is whole, and there is one for each key.",
    .source = "schema version 1 (idempotency_keys)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT count(*) = 0, audit_count((SELECT count(*) FROM main.idempotency_keys), 'answer kept', "
             "'answers kept') || ', ' || "
             "count(*) || "
             "' of them not as they must be' "
             "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
