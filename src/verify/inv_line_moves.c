/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever frees a machine hands it on in the same transaction. */
#include "verify/invariant.h"

#define CAN_BE_TAKEN "status = 'idle' AND is_draining = 0"

const struct invariant inv_line_moves = {
    .name = "line-moves",
    .statement = "Nobody waits while there is a machine that could be taken.",
    .source = "vending contract (Waiting line: 200 as soon as a machine is free)",
    .scope = INVARIANT_OF_STORE,
    .claim = "SELECT waiting = 0 OR machines = 0, audit_count(waiting, 'user waits', 'users wait') || ', ' "
             "|| audit_count(machines, "
             "'machine could be taken', 'machines could be taken') "
             "FROM (SELECT count(*) AS waiting FROM temp.audit_tickets WHERE state = 'waiting') "
             "CROSS JOIN (SELECT count(*) AS machines FROM temp.audit_machines WHERE " CAN_BE_TAKEN ")",
    .witness = "SELECT id, 'machine ' || id || ' is idle, while ticket ' || "
               "(SELECT min(id) FROM temp.audit_tickets WHERE state = 'waiting') || ' waits' "
               "FROM temp.audit_machines "
               "WHERE " CAN_BE_TAKEN " "
               "ORDER BY id",
};
