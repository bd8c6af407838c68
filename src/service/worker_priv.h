/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The desks of the worker: worker.c has the thread and wakes it, desk.c claims, renews and tells. Everything
 * is the worker thread's, but for the list `done` and the flags beside it, which are under the lock.
 */
#ifndef DOORBUSTER_SERVICE_WORKER_PRIV_H
#define DOORBUSTER_SERVICE_WORKER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "service/worker.h"

enum { BLOCK_JOBS = 64 }; /* job states allocated at a time */

enum phase {
    PHASE_FREE,
    PHASE_CLAIMED, /* not begun */
    PHASE_RUNNING, /* the handler's */
    PHASE_DONE,    /* the verdict has to be told to the engine */
    PHASE_TELLING, /* the engine has it */
};

struct desk;

/* What is behind a job. */
struct worker_job_state {
    struct worker_job job;
    struct desk *desk;
    enum phase phase;
    struct list node;  /* desk.free, desk.claimed; then desk.untold */
    struct list lease; /* desk.leased or desk.renewals */
    struct list done;  /* worker.done; under the lock */
    atomic_bool is_done;
    struct worker_report report; /* written before it stands in `done` */
    bool is_unsure;              /* an earlier telling may have been written */
    bool is_renewing;            /* the engine has the renewal */
    atomic_bool is_lost;         /* somebody else has claimed it: the verdict does not count */
    bool is_in_doubt;            /* half of its lease is over; counted in desk.doubt_count */
    int64_t lease_half_ns;
    int64_t renew_at_ns; /* on desk.renewals: when to try again */
    int64_t renewed_ns;  /* when the present renewal was sent: the lease counts from then at the earliest */
    struct engine_call call; /* a renewal or a verdict */
    struct work_order order;
};

/* Job states come in blocks and go with the desk. */
struct job_block {
    struct job_block *next;
    struct worker_job_state jobs[BLOCK_JOBS];
};

/* All of one kind. */
struct desk {
    struct worker *worker;
    struct worker_handler handler;
    struct job_block *blocks;
    size_t made_count; /* job states that there are */
    size_t held_count; /* not free */
    size_t doubt_count;
    struct list free;
    struct list claimed;  /* not begun */
    struct list leased;   /* by lease_half_ns */
    struct list renewals; /* by renew_at_ns */
    struct list untold;   /* verdicts that could not be told: all are tried again at tell_at_ns */
    int64_t tell_at_ns;
    struct work_item *items; /* where claims are written to */
    size_t items_size;
    bool is_claiming;
    bool may_have_more; /* a claim at once may find something */
    int64_t claim_at_ns;
    int64_t claimed_ns; /* when the present claim was sent: leases count from then at the earliest */
    struct engine_call call;
    struct work_order order;
    atomic_uint_fast64_t claimed_total;
    atomic_uint_fast64_t finished_total;
    atomic_uint_fast64_t postponed_total;
    atomic_uint_fast64_t lost_total;
};

struct worker {
    struct engine *engine;
    struct engine_port *port;
    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock; /* guards the three below */
    struct list done;     /* jobs whose handler has given its verdict */
    bool is_woken;
    bool is_stopping;
    pthread_cond_t woken; /* on CLOCK_MONOTONIC */
    bool is_last_turn;    /* the thread's: the handlers have been stopped */
    int64_t give_up_ns;   /* then: until when an engine is asked again that could not take a verdict */
    size_t desk_count;
    struct desk desks[WORK_KIND_COUNT];
};

/* False when memory is out; desk_fini is due all the same. */
bool desk_init(struct desk *desk, struct worker *worker, const struct worker_handler *handler);

/* Frees what it holds; nothing is in flight. */
void desk_fini(struct desk *desk);

/* A handler has given its verdict (report). */
void desk_take_verdict(struct worker_job_state *state);

/* Once a turn: begins what was claimed, renews, tells and claims what is due. */
void desk_serve(struct desk *desk);

/* When it has something to do though nothing happens; clock_mono_ns. */
int64_t desk_wake_at_ns(const struct desk *desk);

/* Does it wait for an answer of the engine or of its handler? */
static inline bool desk_has_anything(const struct desk *desk)
{
    return desk->is_claiming || desk->held_count > 0;
}

#endif
