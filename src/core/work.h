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
struct rules;
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
    int64_t token;        /* claims so far, this one too */
    int64_t due_ms;       /* end of the lease */
    int64_t created_ms;   /* when the rule added it */
    struct slice subject; /* these two lie in `text` */
    struct slice body;
    char *text; /* the claimer's to free: work_item_fini */
};

/* Harmless on one of zeros. */
void work_item_fini(struct work_item *item);

/* What the worker says about a payment or a notification, with FINISH or POSTPONE. */
enum work_report {
    REPORT_NONE,      /* a renewal, a retry, or a kind that has nothing to say */
    REPORT_PAID,      /* FINISH of a payment */
    REPORT_DECLINED,  /* FINISH of a payment */
    REPORT_ABANDONED, /* FINISH of a payment: tried as often as allowed */
    REPORT_NOT_BEGUN, /* POSTPONE: nothing was done outside; it gets its old place */
    REPORT_DEAD,      /* POSTPONE: it is not tried any more until somebody says so */
};

/* Due then is never due: dead work, which waits for a person. 9999-12-31T23:59:59Z, wall clock. */
#define WORK_DEAD_MS INT64_C(253402300799000)

/* What a command about work asks for; the caller's memory, which lives until the answer. */
struct work_order {
    enum work_kind kind; /* CLAIM; FINISH, POSTPONE, REVIVE: of the work that is named */
    size_t count_max;    /* CLAIM: room in items, at least 1 */
    int64_t lease_ms;    /* CLAIM: above 0 */
    int64_t payment_ms;  /* CLAIM of payments: how long one takes, as far as is known */
    int64_t id;          /* FINISH, POSTPONE, REVIVE */
    int64_t token;       /* FINISH, POSTPONE: as it was claimed */
    int64_t due_ms; /* POSTPONE: when; if past, it is the next of all; not with REPORT_NOT_BEGUN of a payment,
                       _DEAD */
    enum work_report report; /* FINISH, POSTPONE */
    struct work_item *items; /* CLAIM: written, the one that has been due longest first */
    size_t dropped_count;    /* CLAIM: written; payments that were due and not begun, because too late */
    size_t count; /* CLAIM: begins as 0, written; these items are freed by the caller, whatever the answer */
};

/*
 * The rules. CLAIM: OK, however many there are. FINISH takes the work out, POSTPONE makes it due at another
 * time; both answer WORK_NOT_YOURS when it has been claimed again since, or is done. REVIVE makes dead work
 * due at once, or answers WORK_NOT_DEAD. False when memory is out: the batch must be rolled back.
 */
bool work_claim(struct world *world, struct command *command, int64_t now_ms);
bool work_finish(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms);
bool work_postpone(struct world *world, struct command *command, int64_t now_ms);
bool work_revive(struct world *world, struct command *command, int64_t now_ms);

#endif
