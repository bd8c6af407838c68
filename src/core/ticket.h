/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the waiting line: first come, first served. A ticket that waits is served with the next
 * machine that may be taken once all before it have gone, and expires when its time is over and nobody has
 * kept it. An attached ticket stands for a client whose connection is open; who looks after the connection
 * keeps it, or takes it out of the line. Engine thread. False: memory is out, the batch must be rolled back.
 */
#ifndef DOORBUSTER_CORE_TICKET_H
#define DOORBUSTER_CORE_TICKET_H

#include "core/machine.h"

/* TICKET_WAITS (its position is 0 when it was served at once), LINE_FULL. */
bool ticket_take(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms);

/* Joins the line; for machine_take too. */
bool ticket_join(const struct rules *rules, struct world *world, struct command *command, bool is_attached,
    int64_t now_ms);

/* OK; TICKET_NOT_WAITING when none of them waits any more. Those that wait expire at the time named. */
bool ticket_keep(struct world *world, struct command *command);

/* OK; TICKET_NOT_WAITING when none of them waits any more. */
bool ticket_leave(struct world *world, struct command *command, int64_t now_ms);

/*
 * Hands machines that may be taken to those that wait. Whoever had gone by `since_ms`, when the machines came
 * free (not after now), expires instead.
 */
bool ticket_serve(const struct rules *rules, struct world *world, int64_t since_ms, int64_t now_ms);

#endif
