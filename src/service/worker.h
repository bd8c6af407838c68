/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker does work for later (core/work.h): one thread a process, with a port of its own to the engine.
 * For each kind it has a handler; it claims what is due when the handler has room, hands it over, and
 * finishes it, or makes it due again when the handler has failed. Every node runs one; which of them gets a
 * piece of work is decided by the line of whoever claims it first.
 *
 * Nothing extends a lease: a handler has to be done, with all its time-outs, well within it. What could not
 * be finished because this process died, or lost its store, is due again when the lease has run out, here or
 * elsewhere.
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
    WORKER_FINISHED, /* done, or there was nothing to do: it goes away */
    WORKER_FAILED, /* to be tried again later: after 1 s, 2 s, 4 s ... 5 minutes, and up to half as much again
                    */
};

struct worker_handler {
    enum work_kind kind;
    int64_t lease_ms;
    size_t in_flight_max; /* at least 1: so many jobs at a time */
    /*
     * On the worker's thread: begins the job, and sees to it that worker_done is called once, now or later.
     * What blocks here delays other kinds, so it must not take more than a second or two.
     */
    void (*run)(struct worker_job *job, void *context);
    void *context;
};

/* The job's verdict. Any thread; not after worker_stop has returned, which waits for it. */
void worker_done(struct worker_job *job, enum worker_verdict verdict);

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
