/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker does work for later (core/work.h): one thread a process, with a port of its own to the engine.
 * For each kind it has a handler; it claims what is due when the handler has room, hands it over, and
 * finishes it, or makes it due again when the handler has failed. Every node runs one; which of them gets a
 * piece of work is decided by the line of whoever claims it first. What this node's own commands add is
 * claimed at once, what others add within half a second.
 *
 * Leases are short, and a handler may take as long as it needs: while a job runs, the worker renews its lease
 * each time half of it is over. So a lease bounds how long work waits when its node has died, hangs as a
 * whole or has lost its store; then it is due again, here or elsewhere. A renewal that finds the work
 * claimed by somebody else marks the job as lost: its verdict will not count. A handler that never comes back
 * keeps its work for ever, so whatever it waits for has to have a time-out.
 *
 * The worker's thread renews, so it must not be blocked: a handler that has to wait does it elsewhere.
 */
#ifndef DOORBUSTER_SERVICE_WORKER_H
#define DOORBUSTER_SERVICE_WORKER_H

#include "base/strbuf.h"
#include "core/work.h"
#include "engine/engine.h"

struct worker;

/* One piece of claimed work in a handler's hands. */
struct worker_job {
    struct work_item item; /* to read; the rest is the worker's */
    struct worker_job_state *state;
};

enum worker_verdict {
    WORKER_FINISHED,  /* done, or there was nothing to do: it goes away */
    WORKER_NOT_BEGUN, /* nothing was done outside: given back, due again at once, a payment in its old place
                       */
    WORKER_FAILED,    /* to be tried again later */
    WORKER_DEAD,      /* not to be tried again until somebody says so */
};

struct worker_report {
    enum worker_verdict verdict;
    enum work_report report; /* FINISHED: what came of it, if its kind has something to say */
    /* FAILED: above 0, when to try again; 0: after 1 s, 2 s, 4 s ... 5 minutes by the number of claims, and
     * up to half as much again. */
    int64_t delay_ms;
    bool is_next; /* FAILED: due at once, before all that waits, in the order of such reports; no delay */
};

struct worker_handler {
    enum work_kind kind;
    int64_t lease_ms;     /* what a dead node has claimed is due again after that */
    size_t in_flight_max; /* at least 1: so many jobs at a time */
    /*
     * On the worker's thread, before a claim: how many more jobs may begin now. When there is room again
     * somebody calls worker_wake. More than that may still come, if room has gone while the claim was under
     * way. NULL: in_flight_max is all that bounds them.
     */
    size_t (*room)(void *context);
    /* On the worker's thread, before a claim: work_order.payment_ms. NULL: 0. */
    int64_t (*payment_ms)(void *context);
    /*
     * On the worker's thread: begins the job, and sees to it that worker_done is called once, now or later.
     * Must not block.
     */
    void (*run)(struct worker_job *job, void *context);
    /*
     * On the worker's thread, once, when the worker stops: run is not called any more. Sees to it that what
     * has not begun is given back, and does not wait for what has. NULL: nothing ever waits to begin.
     */
    void (*stop)(void *context);
    void *context;
};

/* The job's verdict, once. Any thread, within run too; not after worker_stop has returned, which waits for
 * it. */
void worker_done(struct worker_job *job, struct worker_report report);

/* Has somebody else claimed it, since its lease could not be renewed in time? Then its verdict will not
 * count, and a handler that goes on for long should end. Any thread, until worker_done. */
bool worker_job_is_lost(const struct worker_job *job);

/* A handler has room again. Any thread, until worker_destroy. */
void worker_wake(struct worker *worker);

/* Before engine_start. The handlers are copied; at most one a kind. */
MUST_CHECK enum err worker_create(struct engine *engine, const struct worker_handler *handlers, size_t count,
    struct worker **worker, struct error *error);

/* After engine_start. */
MUST_CHECK enum err worker_start(struct worker *worker, struct error *error);

/*
 * Before engine_stop: claims nothing more, waits for the jobs that run, finishes what is done, gives back
 * what has not begun, and ends the thread. When the engine takes nothing more, leases do the rest.
 */
void worker_stop(struct worker *worker);

/* Stopped or never started, and the engine too. */
void worker_destroy(struct worker *worker);

/* doorbuster_work_..._total, for Prometheus. Any thread. */
void worker_put_metrics(const struct worker *worker, struct strbuf *text);

#endif
