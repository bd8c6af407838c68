/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes an order end is its payment, the piece of work with its id. Without it an order waits for ever;
 * beside a final order it would charge the customer again. Each time a payment is begun its work is claimed,
 * so there are at least as many claims as attempts.
 */
#include "verify/invariant.h"

#define FAULTS                                                                                               \
    "SELECT o.id, " AUDIT_ORDER " || ' is ' || o.status || ', but its payment is not among the work to do' " \
    "AS fault "                                                                                              \
    "FROM temp.audit_orders AS o LEFT JOIN temp.audit_work AS w ON w.id = o.id AND w.kind = 'payment' "      \
    "WHERE o.status IN ('pending', 'processing') AND w.id IS NULL "                                          \
    "UNION ALL "                                                                                             \
    "SELECT w.id, 'work ' || w.id || ' of kind ' || w.kind || CASE "                                         \
    "WHEN o.id IS NULL THEN ' has no order' "                                                                \
    "WHEN w.kind <> 'payment' THEN ' has the id of ' || " AUDIT_ORDER " "                                    \
    "WHEN o.status NOT IN ('pending', 'processing') THEN ' is for ' || " AUDIT_ORDER " || ', which is ' || " \
    "o.status "                                                                                              \
    "WHEN w.subject IS NOT o.order_id THEN ' is about \"' || w.subject || '\", but has the id of ' "         \
    "|| " AUDIT_ORDER " "                                                                                    \
    "ELSE ' was claimed ' || w.token || ' times for ' || o.attempts || ' attempts to pay ' || " AUDIT_ORDER  \
    " END "                                                                                                  \
    "FROM temp.audit_work AS w LEFT JOIN temp.audit_orders AS o ON o.id = w.id "                             \
    "WHERE CASE w.kind "                                                                                     \
    "WHEN 'payment' THEN o.id IS NULL OR o.status NOT IN ('pending', 'processing') OR w.subject IS NOT "     \
    "o.order_id OR w.token < o.attempts "                                                                    \
    "ELSE o.id IS NOT NULL END"

const struct invariant inv_order_work = {
    .name = "order-work",
    .statement =
        "Every order that is not final has its payment among the work to do, and no other order has.",
    .source = "orders contract (After a crash)",
    .scope = INVARIANT_OF_STORE,
    .claim =
        "SELECT count(*) = 0, audit_count((SELECT count(*) FROM temp.audit_work WHERE kind = 'payment'), "
        "'payment to do', 'payments to do') || ', ' || count(*) || ' that are missing or should not be' "
        "FROM (" FAULTS ")",
    .witness = "SELECT id, fault FROM (" FAULTS ") ORDER BY id",
};
