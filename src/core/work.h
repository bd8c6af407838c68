/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work for later: something to do once, outside the line, because it takes time or another machine: prove a
 * sale, ask for a payment, send a message, wake a machine. A rule adds it within its own decision
 * (world_work.h), so the work is on disk exactly when its reason is. A worker of any node claims what is due,
 * does it, and finishes it; both go through the line like every other change.
 *
 * The fence: a claim moves due_ms to the end of a lease and raises the token; who finishes or postpones has
 * to name the token. So nobody does the work while the lease runs; the work of a dead node is due again by
 * itself; and a node that comes back too late changes nothing. Who needs longer postpones the work to the end
 * of another lease, and keeps its token. What a worker does between claim and finish
 * can therefore happen twice, when its node dies in between: its effect outside must be able to bear that (an
 * idempotency key, a read).
 *
 * Engine thread; time comes in as an argument.
 */
#ifndef DOORBUSTER_CORE_WORK_H
#define DOORBUSTER_CORE_WORK_H

#include "base/slice.h"

struct command;
struct world;

enum work_kind {
#define WORK_KIND(name, text) WORK_##name,
#include "core/work_kind.def"
#undef WORK_KIND
    WORK_KIND_COUNT
};

enum { WORK_SUBJECT_LEN_MAX = 255, WORK_BODY_LEN_MAX = 4000 }; /* bytes of UTF-8 */

/* "sale-closeout", ...: in the store, in metrics and logs. */
struct slice work_kind_name(enum work_kind kind);
bool work_kind_from_name(struct slice name, enum work_kind *kind);

/* One thing to do, as a worker gets it. */
struct work_item {
    int64_t id;
    enum work_kind kind;
    int64_t token;      /* claims so far, this one too */
    int64_t due_ms;     /* end of the lease */
    int64_t created_ms; /* when the rule added it */
    size_t subject_len;
    size_t body_len;
    char subject[WORK_SUBJECT_LEN_MAX];
    char body[WORK_BODY_LEN_MAX];
};

/* What a command about work asks for; the caller's memory, which lives until the answer. */
struct work_order {
    enum work_kind kind;     /* CLAIM */
    size_t count_max;        /* CLAIM: room in items, at least 1 */
    int64_t lease_ms;        /* CLAIM: above 0 */
    int64_t id;              /* FINISH, POSTPONE */
    int64_t token;           /* FINISH, POSTPONE: as it was claimed */
    int64_t due_ms;          /* POSTPONE: the time to come */
    struct work_item *items; /* CLAIM: written, the one that has been due longest first */
    size_t count;            /* CLAIM: written; 0: nothing is due */
};

/*
 * The rules. CLAIM: OK, however many there are. FINISH takes the work out, POSTPONE makes it due at another
 * time; both answer WORK_NOT_YOURS when it has been claimed again since, or is done. False when memory is
 * out: the batch must be rolled back.
 */
bool work_claim(struct world *world, struct command *command, int64_t now_ms);
bool work_finish(struct world *world, struct command *command);
bool work_postpone(struct world *world, struct command *command);

#endif
