/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's thread sleeps until there is something to do: an answer of the engine, a verdict, or the time
 * of the next claim or renewal. The first claim comes at once; then one comes every quarter to half a second,
 * at random, so that nodes do not ask in step, and at once when something was finished, since more may wait.
 * While the engine is not serving nothing is claimed, and verdicts wait.
 *
 * A running job's lease is renewed when half of it is over, and again every tenth of it until that succeeds.
 * Nothing more is claimed meanwhile, nor while a verdict waits that long: the job itself may be due, and
 * would be done here twice. One call at a time: what a renewal that is under way will say is waited for
 * before the verdict is told.
 *
 * A job's phase says who may touch it: everything is the worker thread's, but for phase and verdict of a
 * running job, which worker_done sets under the lock.
 */
#include "service/worker.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"

enum {
    NS_PER_MS = 1000000,
    NS_PER_S = 1000000000,
    POLL_MS_MIN = 250,
    POLL_MS_MAX = 500,
    ANSWER_DEADLINE_MS = 5000,
    RENEWALS_PER_LEASE = 10, /* tries, when the engine cannot take them */
    RETRY_MS_FIRST = 1000,
    RETRY_MS_MAX = 5 * 60 * 1000,
};

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
    enum worker_verdict verdict;
    bool is_unsure;        /* an earlier FINISH may have been written */
    bool is_renewing;      /* the engine has the renewal */
    bool is_lost;          /* somebody else has claimed it: the verdict does not count */
    int64_t lease_half_ns; /* from then on it is not begun any more, and has to be renewed when it runs */
    int64_t renew_at_ns;   /* when to try that, or to try again */
    int64_t renewed_ns;    /* when the present renewal was sent: the lease counts from then at the earliest */
    int64_t tell_at_ns;
    struct engine_call call;
    struct work_order order;
    struct engine_call renewal;
    struct work_order renewal_order;
};

/* All of one kind. */
struct desk {
    struct worker *worker;
    struct worker_handler handler;
    struct worker_job_state *jobs; /* handler.in_flight_max */
    struct work_item *items;       /* as many: where claims are written to */
    bool is_claiming;
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
    pthread_mutex_t lock; /* guards is_woken, is_stopping, and phase and verdict of running jobs */
    pthread_cond_t woken; /* on CLOCK_MONOTONIC */
    bool is_woken;
    bool is_stopping;
    size_t desk_count;
    struct desk desks[WORK_KIND_COUNT];
};

/* --- waking --- */

static void wake(void *context)
{
    struct worker *worker = context;
    pthread_mutex_lock(&worker->lock);
    worker->is_woken = true;
    pthread_mutex_unlock(&worker->lock);
    pthread_cond_signal(&worker->woken);
}

void worker_done(struct worker_job *job, enum worker_verdict verdict)
{
    struct worker_job_state *state = job->state;
    struct worker *worker = state->desk->worker;
    pthread_mutex_lock(&worker->lock);
    ENSURE(state->phase == PHASE_RUNNING);
    state->phase = PHASE_DONE;
    state->verdict = verdict;
    worker->is_woken = true;
    pthread_cond_signal(&worker->woken); /* under the lock: after it a worker that stops may be gone */
    pthread_mutex_unlock(&worker->lock);
}

static enum phase phase_of(struct worker_job_state *state)
{
    pthread_mutex_t *lock = &state->desk->worker->lock;
    pthread_mutex_lock(lock);
    enum phase phase = state->phase;
    pthread_mutex_unlock(lock);
    return phase;
}

static void set_phase(struct worker_job_state *state, enum phase phase)
{
    pthread_mutex_t *lock = &state->desk->worker->lock;
    pthread_mutex_lock(lock);
    state->phase = phase;
    pthread_mutex_unlock(lock);
}

static bool is_stopping(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    bool answer = worker->is_stopping;
    pthread_mutex_unlock(&worker->lock);
    return answer;
}

static int64_t poll_time_ns(void)
{
    int64_t wait_ms = POLL_MS_MIN + randombytes_uniform(POLL_MS_MAX - POLL_MS_MIN);
    return clock_mono_ns() + wait_ms * NS_PER_MS;
}

static void count(atomic_uint_fast64_t *figure, size_t more)
{
    atomic_fetch_add_explicit(figure, more, memory_order_relaxed);
}

static void prepare_call(struct engine_call *call, enum command_kind kind, struct work_order *order,
    void (*on_done)(struct engine_call *call))
{
    *call = (struct engine_call){
        .command = {.kind = kind, .work = order},
        .deadline_ns = clock_mono_ns() + (int64_t)ANSWER_DEADLINE_MS * NS_PER_MS,
        .on_done = on_done,
    };
}

/* --- telling the engine what became of a job --- */

/* 1 s, 2 s, 4 s ... and up to half as much again, so that what failed together is not tried again together.
 */
static int64_t retry_delay_ms(int64_t token)
{
    int64_t delay_ms = RETRY_MS_FIRST;
    for (int64_t i = 1; i < token && delay_ms < RETRY_MS_MAX; i++)
        delay_ms *= 2;
    if (delay_ms > RETRY_MS_MAX)
        delay_ms = RETRY_MS_MAX;
    return delay_ms + randombytes_uniform((uint32_t)(delay_ms / 2));
}

/* Nothing was told. With a shutdown under way there is no time to try again: the lease will run out. */
static void tell_later(struct worker_job_state *state)
{
    bool is_last = is_stopping(state->desk->worker);
    state->tell_at_ns = poll_time_ns();
    set_phase(state, is_last ? PHASE_FREE : PHASE_DONE);
}

static void count_lost(struct worker_job_state *state)
{
    const struct work_item *item = &state->job.item;
    count(&state->desk->lost_total, 1);
    log_warn("worker", "%.*s %lld (%.*s) was claimed by somebody else before it was finished here",
        SLICE_ARGS(work_kind_name(item->kind)), (long long)item->id, (int)item->subject_len, item->subject);
}

static void count_told(struct worker_job_state *state, enum result result)
{
    struct desk *desk = state->desk;
    bool is_finish = state->call.command.kind == COMMAND_WORK_FINISH;
    if (result == RESULT_OK || (is_finish && state->is_unsure))
        count(is_finish ? &desk->finished_total : &desk->postponed_total, 1);
    else
        count_lost(state);
}

static void on_told(struct engine_call *call)
{
    struct worker_job_state *state = CONTAINER_OF(call, struct worker_job_state, call);
    enum result result = call->command.outcome.result;
    if (result != RESULT_OK && result != RESULT_WORK_NOT_YOURS) {
        state->is_unsure = state->is_unsure || result == RESULT_OUTCOME_UNKNOWN;
        tell_later(state);
        return;
    }
    count_told(state, result);
    set_phase(state, PHASE_FREE);
    if (state->verdict != WORKER_NOT_BEGUN)
        state->desk->claim_at_ns = 0; /* there may be more */
}

static void tell(struct worker_job_state *state)
{
    struct worker *worker = state->desk->worker;
    bool is_finish = state->verdict == WORKER_FINISHED;
    const struct work_item *item = &state->job.item;
    int64_t delay_ms = state->verdict == WORKER_NOT_BEGUN ? 0 : retry_delay_ms(item->token);
    state->order = (struct work_order){.kind = item->kind,
        .id = item->id,
        .token = item->token,
        .due_ms = engine_now_ms(worker->engine) + delay_ms};
    prepare_call(
        &state->call, is_finish ? COMMAND_WORK_FINISH : COMMAND_WORK_POSTPONE, &state->order, on_told);
    set_phase(state, PHASE_TELLING);
    if (!engine_port_push(worker->port, &state->call))
        tell_later(state);
}

/* --- renewing the lease of what runs --- */

static int64_t lease_half_ns(const struct desk *desk, int64_t from_ns)
{
    return from_ns + desk->handler.lease_ms * NS_PER_MS / 2;
}

static void renew_again(struct worker_job_state *state)
{
    state->renew_at_ns = clock_mono_ns() + state->desk->handler.lease_ms * NS_PER_MS / RENEWALS_PER_LEASE;
}

/* After an unknown outcome it is renewed once more, which does no harm. */
static void on_renewed(struct engine_call *call)
{
    struct worker_job_state *state = CONTAINER_OF(call, struct worker_job_state, renewal);
    enum result result = call->command.outcome.result;
    state->is_renewing = false;
    if (result == RESULT_OK) {
        state->lease_half_ns = state->renew_at_ns = lease_half_ns(state->desk, state->renewed_ns);
    } else if (result == RESULT_WORK_NOT_YOURS) {
        state->is_lost = true;
        count_lost(state);
    } else {
        renew_again(state);
    }
}

static void renew(struct worker_job_state *state)
{
    struct desk *desk = state->desk;
    const struct work_item *item = &state->job.item;
    int64_t now_ns = clock_mono_ns();
    bool is_ours = phase_of(state) == PHASE_RUNNING && !state->is_lost;
    if (!is_ours || state->is_renewing || now_ns < state->renew_at_ns)
        return;
    state->renewed_ns = now_ns;
    state->renewal_order = (struct work_order){.kind = item->kind,
        .id = item->id,
        .token = item->token,
        .due_ms = engine_now_ms(desk->worker->engine) + desk->handler.lease_ms};
    prepare_call(&state->renewal, COMMAND_WORK_POSTPONE, &state->renewal_order, on_renewed);
    state->is_renewing = engine_port_push(desk->worker->port, &state->renewal);
    if (!state->is_renewing)
        renew_again(state);
}

/* --- claiming --- */

/* Is the lease of a job that has begun, or whose verdict could not be told yet, perhaps over? */
static bool has_lease_in_doubt(struct desk *desk, int64_t now_ns)
{
    for (size_t i = 0; i < desk->handler.in_flight_max; i++) {
        struct worker_job_state *state = &desk->jobs[i];
        if (phase_of(state) != PHASE_FREE && !state->is_lost && now_ns >= state->lease_half_ns)
            return true;
    }
    return false;
}

static void take_item(struct desk *desk, const struct work_item *item)
{
    struct worker_job_state *state = desk->jobs;
    while (phase_of(state) != PHASE_FREE)
        state++;
    ENSURE(state < desk->jobs + desk->handler.in_flight_max);
    *state = (struct worker_job_state){
        .job = {.item = *item, .state = state},
        .desk = desk,
        .phase = PHASE_CLAIMED,
        .lease_half_ns = lease_half_ns(desk, desk->claimed_ns),
        .renew_at_ns = lease_half_ns(desk, desk->claimed_ns),
    };
}

/* After an unknown outcome it may be claimed or not; the lease will tell. */
static void on_claimed(struct engine_call *call)
{
    struct desk *desk = CONTAINER_OF(call, struct desk, call);
    desk->is_claiming = false;
    desk->claim_at_ns = poll_time_ns();
    if (call->command.outcome.result != RESULT_OK)
        return;
    count(&desk->claimed_total, desk->order.count);
    for (size_t i = 0; i < desk->order.count; i++)
        take_item(desk, &desk->items[i]);
}

static size_t count_free(struct desk *desk)
{
    size_t free_count = 0;
    for (size_t i = 0; i < desk->handler.in_flight_max; i++)
        free_count += phase_of(&desk->jobs[i]) == PHASE_FREE;
    return free_count;
}

static void claim(struct desk *desk)
{
    struct worker *worker = desk->worker;
    int64_t now_ns = clock_mono_ns();
    size_t free_count = count_free(desk);
    if (desk->is_claiming || free_count == 0 || now_ns < desk->claim_at_ns)
        return;
    desk->claim_at_ns = poll_time_ns();
    if (engine_state(worker->engine) != ENGINE_SERVING || has_lease_in_doubt(desk, now_ns))
        return;
    desk->claimed_ns = now_ns;
    desk->order = (struct work_order){.kind = desk->handler.kind,
        .count_max = free_count,
        .lease_ms = desk->handler.lease_ms,
        .items = desk->items};
    prepare_call(&desk->call, COMMAND_WORK_CLAIM, &desk->order, on_claimed);
    desk->is_claiming = engine_port_push(worker->port, &desk->call);
}

/* --- the thread --- */

static void begin(struct worker_job_state *state, bool is_last_turn)
{
    struct desk *desk = state->desk;
    if (is_last_turn || clock_mono_ns() >= state->lease_half_ns) {
        state->verdict = WORKER_NOT_BEGUN;
        set_phase(state, PHASE_DONE);
        return;
    }
    set_phase(state, PHASE_RUNNING);
    desk->handler.run(&state->job, desk->handler.context);
}

/* What is done, unless the engine still has its renewal. */
static void settle(struct worker_job_state *state, bool is_last_turn)
{
    if (phase_of(state) != PHASE_DONE || state->is_renewing)
        return;
    if (state->is_lost)
        set_phase(state, PHASE_FREE);
    else if (is_last_turn || clock_mono_ns() >= state->tell_at_ns)
        tell(state);
}

static void serve_desk(struct desk *desk, bool is_last_turn)
{
    for (size_t i = 0; i < desk->handler.in_flight_max; i++) {
        struct worker_job_state *state = &desk->jobs[i];
        if (phase_of(state) == PHASE_CLAIMED)
            begin(state, is_last_turn);
        renew(state);
        settle(state, is_last_turn);
    }
    if (!is_last_turn)
        claim(desk);
}

static int64_t job_wake_at_ns(struct worker_job_state *state)
{
    if (state->is_renewing)
        return INT64_MAX;
    enum phase phase = phase_of(state);
    bool waits = phase == PHASE_RUNNING && !state->is_lost;
    return waits ? state->renew_at_ns : phase == PHASE_DONE ? state->tell_at_ns : INT64_MAX;
}

/* When this desk has something to do though nothing happens. */
static int64_t desk_wake_at_ns(struct desk *desk)
{
    int64_t wake_ns = desk->is_claiming || count_free(desk) == 0 ? INT64_MAX : desk->claim_at_ns;
    for (size_t i = 0; i < desk->handler.in_flight_max; i++) {
        int64_t job_ns = job_wake_at_ns(&desk->jobs[i]);
        wake_ns = job_ns < wake_ns ? job_ns : wake_ns;
    }
    return wake_ns;
}

static void wait_for_something(struct worker *worker)
{
    int64_t wake_ns = clock_mono_ns() + NS_PER_S;
    for (size_t i = 0; i < worker->desk_count; i++) {
        int64_t desk_ns = desk_wake_at_ns(&worker->desks[i]);
        wake_ns = desk_ns < wake_ns ? desk_ns : wake_ns;
    }
    struct timespec until = {.tv_sec = wake_ns / NS_PER_S, .tv_nsec = wake_ns % NS_PER_S};
    pthread_mutex_lock(&worker->lock);
    while (!worker->is_woken && pthread_cond_timedwait(&worker->woken, &worker->lock, &until) == 0)
        ;
    worker->is_woken = false;
    pthread_mutex_unlock(&worker->lock);
}

static bool has_anything(struct worker *worker)
{
    for (size_t i = 0; i < worker->desk_count; i++) {
        struct desk *desk = &worker->desks[i];
        if (desk->is_claiming || count_free(desk) < desk->handler.in_flight_max)
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
    bool is_last_turn = false;
    while (!is_last_turn || has_anything(worker)) {
        wait_for_something(worker);
        if (!is_last_turn && is_stopping(worker)) {
            is_last_turn = true;
            stop_handlers(worker);
        }
        engine_port_receive(worker->port);
        for (size_t i = 0; i < worker->desk_count; i++)
            serve_desk(&worker->desks[i], is_last_turn);
        engine_port_flush(worker->port);
    }
    return NULL;
}

/* --- life --- */

static bool desk_init(struct desk *desk, struct worker *worker, const struct worker_handler *handler)
{
    ENSURE(handler->in_flight_max > 0 && handler->lease_ms > 0);
    desk->worker = worker;
    desk->handler = *handler;
    desk->jobs = calloc(handler->in_flight_max, sizeof *desk->jobs);
    desk->items = calloc(handler->in_flight_max, sizeof *desk->items);
    if (desk->jobs == NULL || desk->items == NULL)
        return false;
    for (size_t i = 0; i < handler->in_flight_max; i++)
        desk->jobs[i].desk = desk;
    return true;
}

static void free_memory(struct worker *worker)
{
    for (size_t i = 0; i < worker->desk_count; i++) {
        free(worker->desks[i].jobs);
        free(worker->desks[i].items);
    }
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
    enum err status = ERR_NONE;
    for (size_t i = 0; i < count_of_handlers && status == ERR_NONE; i++) {
        worker->desk_count++;
        if (!desk_init(&worker->desks[i], worker, &handlers[i]))
            status = error_set(error, ERR_MEMORY, "no memory for the worker");
    }
    struct engine_port_events events = {.wake = wake, .context = worker};
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
    worker->is_woken = true;
    pthread_mutex_unlock(&worker->lock);
    pthread_cond_signal(&worker->woken);
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
