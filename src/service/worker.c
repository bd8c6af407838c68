/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's thread sleeps until there is something to do: an answer of the engine, a verdict, work that
 * this node has added, room in a handler, or the time of the next claim or renewal. A turn costs what has
 * happened, not what is in flight: ten thousand jobs that wait for a provider cost nothing.
 */
#include "service/worker_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"

enum {
    NS_PER_MS = 1000000,
    NS_PER_S = 1000000000,
    STOP_TELL_MS = 5000, /* at a stop: so long verdicts are told again that the engine is too busy for */
};

/* --- waking --- */

/* Under the lock. */
static void wake_thread(struct worker *worker)
{
    if (worker->is_woken)
        return;
    worker->is_woken = true;
    pthread_cond_signal(&worker->woken);
}

bool worker_job_is_lost(const struct worker_job *job)
{
    return atomic_load(&job->state->is_lost);
}

/* Signals under the lock: after it a worker that stops may be gone. */
void worker_wake(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    wake_thread(worker);
    pthread_mutex_unlock(&worker->lock);
}

static void wake(void *context)
{
    worker_wake(context);
}

/* On the worker's thread: this node has added some. */
static void on_work(unsigned kinds, void *context)
{
    struct worker *worker = context;
    for (size_t i = 0; i < worker->desk_count; i++) {
        struct desk *desk = &worker->desks[i];
        if ((kinds & (1U << desk->handler.kind)) != 0)
            desk->may_have_more = true;
    }
}

void worker_done(struct worker_job *job, struct worker_report report)
{
    struct worker_job_state *state = job->state;
    struct worker *worker = state->desk->worker;
    bool was_done = atomic_exchange(&state->is_done, true);
    ENSURE(!was_done);
    state->report = report;
    pthread_mutex_lock(&worker->lock);
    list_append(&worker->done, &state->done);
    wake_thread(worker);
    pthread_mutex_unlock(&worker->lock);
}

/* --- the thread --- */

static int64_t wake_at_ns(const struct worker *worker)
{
    int64_t wake_ns = clock_mono_ns() + NS_PER_S;
    for (size_t i = 0; i < worker->desk_count; i++) {
        int64_t desk_ns = desk_wake_at_ns(&worker->desks[i]);
        wake_ns = desk_ns < wake_ns ? desk_ns : wake_ns;
    }
    return wake_ns;
}

/* What the lock guards, taken once a turn. */
struct news {
    struct list done;
    bool is_stopping;
};

static void move_all(struct list *to, struct list *from)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

static void wait_for_something(struct worker *worker, struct news *news)
{
    int64_t wake_ns = wake_at_ns(worker);
    struct timespec until = {.tv_sec = wake_ns / NS_PER_S, .tv_nsec = wake_ns % NS_PER_S};
    pthread_mutex_lock(&worker->lock);
    while (!worker->is_woken && pthread_cond_timedwait(&worker->woken, &worker->lock, &until) == 0)
        ;
    worker->is_woken = false;
    news->is_stopping = worker->is_stopping;
    move_all(&news->done, &worker->done);
    pthread_mutex_unlock(&worker->lock);
}

static void give_time(struct worker *worker)
{
    worker->give_up_ns = clock_mono_ns() + (int64_t)STOP_TELL_MS * NS_PER_MS;
}

static void take_verdicts(struct worker *worker, struct list *done)
{
    struct list *node;
    if (!list_is_empty(done))
        give_time(worker);
    while ((node = list_first(done)) != NULL) {
        list_remove(node);
        desk_take_verdict(CONTAINER_OF(node, struct worker_job_state, done));
    }
}

static bool has_anything(const struct worker *worker)
{
    for (size_t i = 0; i < worker->desk_count; i++) {
        if (desk_has_anything(&worker->desks[i]))
            return true;
    }
    return false;
}

static void stop_handlers(struct worker *worker)
{
    for (size_t i = 0; i < worker->desk_count; i++) {
        const struct worker_handler *handler = &worker->desks[i].handler;
        if (handler->stop != NULL)
            handler->stop(handler->context);
    }
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    while (!worker->is_last_turn || has_anything(worker)) {
        struct news news;
        wait_for_something(worker, &news);
        if (news.is_stopping && !worker->is_last_turn) {
            worker->is_last_turn = true;
            give_time(worker);
            stop_handlers(worker);
        }
        take_verdicts(worker, &news.done);
        engine_port_receive(worker->port);
        for (size_t i = 0; i < worker->desk_count; i++)
            desk_serve(&worker->desks[i]);
        engine_port_flush(worker->port);
    }
    return NULL;
}

/* --- life --- */

static void free_memory(struct worker *worker)
{
    for (size_t i = 0; i < worker->desk_count; i++)
        desk_fini(&worker->desks[i]);
    free(worker);
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum err worker_create(struct engine *engine, const struct worker_handler *handlers, size_t count_of_handlers,
    struct worker **worker_out, struct error *error)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the worker");
    ENSURE(count_of_handlers <= WORK_KIND_COUNT);
    worker->engine = engine;
    list_init(&worker->done);
    enum err status = ERR_NONE;
    for (size_t i = 0; i < count_of_handlers && status == ERR_NONE; i++) {
        worker->desk_count++;
        if (!desk_init(&worker->desks[i], worker, &handlers[i]))
            status = error_set(error, ERR_MEMORY, "no memory for the worker");
    }
    struct engine_port_events events = {.wake = wake, .on_work = on_work, .context = worker};
    if (status == ERR_NONE)
        status = engine_port_open(engine, events, &worker->port, error);
    if (status != ERR_NONE) {
        free_memory(worker);
        return status;
    }
    pthread_mutex_init(&worker->lock, NULL);
    cond_init(&worker->woken);
    *worker_out = worker;
    return ERR_NONE;
}

enum err worker_start(struct worker *worker, struct error *error)
{
    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
        return error_set(
            error, ERR_MEMORY, "cannot start the worker's thread; is the limit of processes reached?");
    worker->is_started = true;
    return ERR_NONE;
}

void worker_stop(struct worker *worker)
{
    if (!worker->is_started)
        return;
    pthread_mutex_lock(&worker->lock);
    worker->is_stopping = true;
    wake_thread(worker);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    worker->is_started = false;
}

void worker_destroy(struct worker *worker)
{
    ENSURE(!worker->is_started);
    engine_port_close(worker->port);
    pthread_cond_destroy(&worker->woken);
    pthread_mutex_destroy(&worker->lock);
    free_memory(worker);
}

/* --- figures --- */

static void put_figure(
    const struct worker *worker, struct strbuf *text, const char *name, const char *help, size_t offset)
{
    strbuf_printf(text, "# HELP doorbuster_work_%s_total %s\n# TYPE doorbuster_work_%s_total counter\n", name,
        help, name);
    for (size_t i = 0; i < worker->desk_count; i++) {
        const struct desk *desk = &worker->desks[i];
        const atomic_uint_fast64_t *figure = (const void *)((const char *)desk + offset);
        strbuf_printf(text, "doorbuster_work_%s_total{kind=\"%.*s\"} %llu\n", name,
            SLICE_ARGS(work_kind_name(desk->handler.kind)),
            (unsigned long long)atomic_load_explicit(figure, memory_order_relaxed));
    }
}

void worker_put_metrics(const struct worker *worker, struct strbuf *text)
{
    put_figure(worker, text, "claimed", "Work for later that this node has claimed.",
        offsetof(struct desk, claimed_total));
    put_figure(worker, text, "finished", "Work for later that this node has finished.",
        offsetof(struct desk, finished_total));
    put_figure(worker, text, "postponed", "Work that this node has given back or made due again.",
        offsetof(struct desk, postponed_total));
    put_figure(worker, text, "lost", "Work that somebody else had claimed before this node finished it.",
        offsetof(struct desk, lost_total));
}
