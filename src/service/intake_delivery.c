/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See intake_delivery.h. Three threads meet here: the worker's, which begins the job and asks it to stop; the
 * courier's, which says what the sink has answered; and the delivery's own, which does everything else. What
 * they share is guarded by the lock; the own thread waits on the condition.
 */
#include "service/intake_delivery.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/intake.h"
#include "service/intake_text.h"
#include "service/webhook.h"

enum {
    RANGE_MAX = 500,      /* orders in one webhook; at most QUESTION_ROWS_MAX */
    ORDER_LEN_MAX = 2048, /* bytes of one in JSON */
    IDLE_MS = 100,        /* between looks when nothing waits */
    RETRY_MS_FIRST = 500,
    RETRY_MS_MAX = 60000,
    LEASE_MS = 10000,
    CONNECT_TIMEOUT_MS = 5000,
    TIMEOUT_MS = 15000,
    ANSWER_DEADLINE_MS = 5000,
    NS_PER_MS = 1000000,
    MS_PER_S = 1000,
};

struct intake_delivery {
    struct intake_delivery_config config;
    struct webhook_secret secret;
    struct intake_names names;
    struct engine *engine;
    struct engine_port *port;
    struct store_reader *reader;
    struct courier *courier;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;   /* guards the five below */
    pthread_cond_t changed; /* on CLOCK_MONOTONIC */
    struct worker_job *job; /* NULL: somebody else holds the work */
    bool is_stopping;       /* the job has to be given back */
    bool is_ended;          /* the thread has to end */
    bool is_woken;          /* the engine left something */
    bool is_posted;         /* the sink has answered, or has not */
    struct courier_request request;
    struct strbuf body;
    int64_t retry_ms;                     /* own thread: after the next failure */
    atomic_uint_fast64_t delivered_total; /* orders */
    atomic_uint_fast64_t failed_total;    /* tries */
};

/* --- waking and waiting --- */

static void wake(void *context)
{
    struct intake_delivery *delivery = context;
    pthread_mutex_lock(&delivery->lock);
    delivery->is_woken = true;
    pthread_cond_signal(&delivery->changed);
    pthread_mutex_unlock(&delivery->lock);
}

static struct timespec in_ms(int64_t ms)
{
    int64_t until_ns = clock_mono_ns() + ms * NS_PER_MS;
    return (struct timespec){.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
}

/* Waits so long, or until the job has to be given back. True: go on. */
static bool pause_ms(struct intake_delivery *delivery, int64_t ms)
{
    struct timespec until = in_ms(ms);
    pthread_mutex_lock(&delivery->lock);
    while (!delivery->is_stopping && pthread_cond_timedwait(&delivery->changed, &delivery->lock, &until) == 0)
        ;
    bool goes_on = !delivery->is_stopping;
    pthread_mutex_unlock(&delivery->lock);
    return goes_on;
}

/* --- the engine --- */

struct asked {
    struct engine_call call;
    bool is_answered;
};

static void on_answered(struct engine_call *call)
{
    CONTAINER_OF(call, struct asked, call)->is_answered = true;
}

static void wait_for_engine(struct intake_delivery *delivery)
{
    pthread_mutex_lock(&delivery->lock);
    while (!delivery->is_woken)
        pthread_cond_wait(&delivery->changed, &delivery->lock);
    delivery->is_woken = false;
    pthread_mutex_unlock(&delivery->lock);
    engine_port_receive(delivery->port);
}

/* What the engine says to a command about trading orders. */
static enum result ask(
    struct intake_delivery *delivery, enum command_kind kind, struct intake_request *request)
{
    struct asked asked = {
        .call = {.command = {.kind = kind, .intake = request},
            .deadline_ns = clock_mono_ns() + (int64_t)ANSWER_DEADLINE_MS * NS_PER_MS,
            .on_done = on_answered},
    };
    if (!engine_port_push(delivery->port, &asked.call))
        return asked.call.command.outcome.result;
    engine_port_flush(delivery->port);
    while (!asked.is_answered)
        wait_for_engine(delivery);
    return asked.call.command.outcome.result;
}

/* --- the sink --- */

static void on_posted(struct courier_request *request)
{
    struct intake_delivery *delivery = CONTAINER_OF(request, struct intake_delivery, request);
    pthread_mutex_lock(&delivery->lock);
    delivery->is_posted = true;
    pthread_cond_signal(&delivery->changed);
    pthread_mutex_unlock(&delivery->lock);
}

static void put_body(struct intake_delivery *delivery, const struct question *range)
{
    struct strbuf *body = &delivery->body;
    char time[CLOCK_ISO_LEN];
    clock_format_iso(clock_wall_ms(), time);
    strbuf_reset(body);
    strbuf_printf(body, "{\"type\":\"orders.accepted\",\"timestamp\":\"%.*s\",\"data\":{\"orders\":[",
        CLOCK_ISO_LEN, time);
    for (size_t i = 0; i < range->count; i++) {
        if (i > 0)
            strbuf_put_char(body, ',');
        intake_put_order(body, &delivery->names, &range->intake_rows[i]);
    }
    strbuf_lit(body, "]}}");
}

/* Blocks until the sink has answered. True: 2xx. */
static bool post(struct intake_delivery *delivery, const struct intake_request *range)
{
    char id[WEBHOOK_ID_MAX];
    struct webhook_headers signature;
    const char *headers[WEBHOOK_HEADER_COUNT + 1];
    int len =
        snprintf(id, sizeof id, "intake_%lld_%lld", (long long)range->first_id, (long long)range->last_id);
    webhook_sign(&delivery->secret, slice_make(id, (size_t)len), clock_wall_ms() / MS_PER_S,
        strbuf_slice(&delivery->body), &signature);
    for (int i = 0; i < WEBHOOK_HEADER_COUNT; i++)
        headers[i] = signature.lines[i];
    headers[WEBHOOK_HEADER_COUNT] = "Content-Type: application/json";
    delivery->request = (struct courier_request){
        .url = delivery->config.sink_url,
        .headers = headers,
        .header_count = WEBHOOK_HEADER_COUNT + 1,
        .body = strbuf_slice(&delivery->body),
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = TIMEOUT_MS,
        .may_be_private = delivery->config.allows_private_targets,
        .on_done = on_posted,
    };
    delivery->is_posted = false;
    courier_post(delivery->courier, &delivery->request);
    pthread_mutex_lock(&delivery->lock);
    while (!delivery->is_posted)
        pthread_cond_wait(&delivery->changed, &delivery->lock);
    pthread_mutex_unlock(&delivery->lock);
    const struct courier_result *result = &delivery->request.result;
    bool is_taken = result->status == COURIER_ANSWERED && result->code >= 200 && result->code < 300;
    if (!is_taken)
        log_warn("intake",
            "the sink has not taken orders %lld to %lld, which are sent again in %lld ms: %s %d",
            (long long)range->first_id, (long long)range->last_id, (long long)delivery->retry_ms,
            result->text, result->code);
    return is_taken;
}

/* --- the dialogue --- */

enum step { STEP_DONE, STEP_NOTHING, STEP_FAILED };

static bool read_range(
    struct intake_delivery *delivery, const struct intake_request *range, struct question *question)
{
    struct error error;
    *question = (struct question){.kind = QUESTION_INTAKE_RANGE,
        .id = range->first_id - 1,
        .id_last = range->last_id,
        .limit = RANGE_MAX};
    enum err err = store_ask(delivery->reader, question, &error);
    if (err != ERR_NONE)
        log_error("intake", "orders %lld to %lld could not be read for the sink: %s",
            (long long)range->first_id, (long long)range->last_id, error.message);
    return err == ERR_NONE;
}

/* A range that holds only cancelled orders is nothing to tell. */
static bool tell_sink(struct intake_delivery *delivery, const struct intake_request *range)
{
    struct question question;
    bool is_told = read_range(delivery, range, &question);
    if (is_told && question.count > 0) {
        put_body(delivery, &question);
        is_told = !delivery->body.has_overflowed && post(delivery, range);
    }
    if (is_told)
        atomic_fetch_add_explicit(&delivery->delivered_total, question.count, memory_order_relaxed);
    question_fini(&question);
    return is_told;
}

static enum step deliver_range(struct intake_delivery *delivery)
{
    struct intake_request range = {.count_max = RANGE_MAX};
    if (ask(delivery, COMMAND_INTAKE_SEND, &range) != RESULT_OK)
        return STEP_FAILED;
    if (range.first_id > range.last_id)
        return STEP_NOTHING;
    if (!tell_sink(delivery, &range)) {
        atomic_fetch_add_explicit(&delivery->failed_total, 1, memory_order_relaxed);
        return STEP_FAILED;
    }
    struct intake_request executed = {.id = range.last_id};
    enum result result = ask(delivery, COMMAND_INTAKE_EXECUTED, &executed);
    /* NOT_YOURS: another node was quicker with the same range. */
    return result == RESULT_OK || result == RESULT_WORK_NOT_YOURS ? STEP_DONE : STEP_FAILED;
}

/* One that has lost the work to another node leaves the sink to that one. */
static void deliver_until_stopped(struct intake_delivery *delivery, const struct worker_job *job)
{
    bool goes_on = true;
    delivery->retry_ms = RETRY_MS_FIRST;
    while (goes_on) {
        enum step step = deliver_range(delivery);
        int64_t pause = step == STEP_DONE ? 0 : step == STEP_NOTHING ? IDLE_MS : delivery->retry_ms;
        if (step != STEP_FAILED)
            delivery->retry_ms = RETRY_MS_FIRST;
        else if (delivery->retry_ms < RETRY_MS_MAX)
            delivery->retry_ms *= 2;
        goes_on = pause_ms(delivery, pause) && !worker_job_is_lost(job);
    }
}

static struct worker_job *wait_for_job(struct intake_delivery *delivery)
{
    pthread_mutex_lock(&delivery->lock);
    while (delivery->job == NULL && !delivery->is_ended)
        pthread_cond_wait(&delivery->changed, &delivery->lock);
    struct worker_job *job = delivery->job;
    pthread_mutex_unlock(&delivery->lock);
    return job;
}

static void *delivery_main(void *argument)
{
    struct intake_delivery *delivery = argument;
    struct worker_job *job;
    while ((job = wait_for_job(delivery)) != NULL) {
        deliver_until_stopped(delivery, job);
        pthread_mutex_lock(&delivery->lock);
        delivery->job = NULL;
        pthread_mutex_unlock(&delivery->lock);
        worker_done(job, (struct worker_report){.verdict = WORKER_NOT_BEGUN});
    }
    return NULL;
}

/* --- the worker's side --- */

static void run(struct worker_job *job, void *context)
{
    struct intake_delivery *delivery = context;
    pthread_mutex_lock(&delivery->lock);
    delivery->job = job;
    pthread_cond_signal(&delivery->changed);
    pthread_mutex_unlock(&delivery->lock);
}

static void stop(void *context)
{
    struct intake_delivery *delivery = context;
    pthread_mutex_lock(&delivery->lock);
    delivery->is_stopping = true;
    pthread_cond_signal(&delivery->changed);
    pthread_mutex_unlock(&delivery->lock);
}

struct worker_handler intake_delivery_handler(struct intake_delivery *delivery)
{
    return (struct worker_handler){.kind = WORK_INTAKE_DELIVERY,
        .lease_ms = LEASE_MS,
        .in_flight_max = 1,
        .run = run,
        .stop = stop,
        .context = delivery};
}

/* --- life --- */

static enum err open_parts(struct intake_delivery *delivery, struct store *store, struct error *error)
{
    struct engine_port_events events = {.wake = wake, .context = delivery};
    enum err err = courier_check_url(delivery->config.sink_url, error);
    if (err == ERR_NONE && delivery->config.secret == NULL)
        err = error_set(error, ERR_USAGE,
            "what goes to the sink is signed, and there is no key: give --webhook-secret (whsec_ and 24 to "
            "64 "
            "bytes in base64)");
    if (err == ERR_NONE)
        err = webhook_secret_parse(slice_cstr(delivery->config.secret), &delivery->secret, error);
    if (err == ERR_NONE)
        err = store_reader_open(store, &delivery->reader, error);
    if (err == ERR_NONE)
        err = engine_port_open(delivery->engine, events, &delivery->port, error);
    if (err != ERR_NONE)
        return err;
    delivery->has_thread = pthread_create(&delivery->thread, NULL, delivery_main, delivery) == 0;
    return delivery->has_thread
               ? ERR_NONE
               : error_set(error, ERR_MEMORY, "cannot start a thread; is the limit of processes reached?");
}

static void init_lock(struct intake_delivery *delivery)
{
    pthread_condattr_t attributes;
    pthread_mutex_init(&delivery->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&delivery->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum err intake_delivery_create(const struct intake_delivery_config *config, struct engine *engine,
    struct store *store, struct courier *courier, struct intake_delivery **out, struct error *error)
{
    struct intake_delivery *delivery = calloc(1, sizeof *delivery);
    if (delivery == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the delivery of trading orders");
    delivery->config = *config;
    delivery->engine = engine;
    delivery->courier = courier;
    init_lock(delivery);
    strbuf_init_heap(&delivery->body, (size_t)RANGE_MAX * ORDER_LEN_MAX);
    intake_names_init(&delivery->names, engine_secret(engine));
    enum err err = open_parts(delivery, store, error);
    if (err != ERR_NONE) {
        intake_delivery_destroy(delivery);
        return err;
    }
    *out = delivery;
    return ERR_NONE;
}

void intake_delivery_destroy(struct intake_delivery *delivery)
{
    pthread_mutex_lock(&delivery->lock);
    delivery->is_ended = true;
    pthread_cond_signal(&delivery->changed);
    pthread_mutex_unlock(&delivery->lock);
    if (delivery->has_thread)
        pthread_join(delivery->thread, NULL);
    if (delivery->port != NULL)
        engine_port_close(delivery->port);
    if (delivery->reader != NULL)
        store_reader_close(delivery->reader);
    strbuf_fini(&delivery->body);
    pthread_cond_destroy(&delivery->changed);
    pthread_mutex_destroy(&delivery->lock);
    free(delivery);
}

void intake_delivery_put_metrics(const struct intake_delivery *delivery, struct strbuf *text)
{
    strbuf_printf(text,
        "# HELP doorbuster_intake_executed_total Trading orders that the sink has taken from this node.\n"
        "# TYPE doorbuster_intake_executed_total counter\ndoorbuster_intake_executed_total %llu\n"
        "# HELP doorbuster_intake_sink_failures_total Ranges that the sink has not taken, and gets again.\n"
        "# TYPE doorbuster_intake_sink_failures_total counter\ndoorbuster_intake_sink_failures_total %llu\n",
        (unsigned long long)atomic_load_explicit(&delivery->delivered_total, memory_order_relaxed),
        (unsigned long long)atomic_load_explicit(&delivery->failed_total, memory_order_relaxed));
}
