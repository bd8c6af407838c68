/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's thread begins payments (run), the courier's thread ends them; a heart that beats there lets
 * the slots grow while orders wait. All three meet under one lock, which is held for a few instructions.
 *
 * What counts against the allowed number of attempts: a call that the provider answered with an error, or did
 * not answer in time while the breaker was closed. Not what never reached it, nor a connection that broke,
 * nor a probe: while the provider is away orders wait, in the store, and none fails.
 *
 * A call in vain is tried again after a while. A short one it spends here, with its order in our hands: then
 * it is given back as the next of all, so that what came meanwhile does not overtake it. Its slot is free
 * while it rests, and the claim that begins it again counts as the attempt that it is.
 *
 * A stop. What is simulated has charged nobody and is given back as if it had not begun; a call that was sent
 * is due again at once, for another node or the next start, and asks with the same key.
 */
#include "service/payments.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "service/payments_priv.h"

enum {
    NS_PER_MS = 1000000,
    LEASE_PAYMENTS =
        2, /* a lease lasts as long as so many payments, and a little: rarely renewed, soon over */
    LEASE_EXTRA_MS = 2000,
    CONNECT_TIMEOUT_MS_MAX = 5000,
    HEARTBEAT_MS = 50, /* slots.h */
    HEARTBEAT_IDLE_MS = 250,
    SAMPLE_MS = 10 * 1000,
    HTTP_PAYMENT_REQUIRED = 402,
    KEY_LEN_MAX_ENCODED = 3 * WORK_SUBJECT_LEN_MAX,
    REST_MS_MAX = 30 * 1000, /* longer ones are postponed in the store */
};

static const double NS_PER_S = 1e9;
static const char KEY_HEADER[] = "Idempotency-Key: ";

/* What a call came to. */
enum ending {
    ENDING_PAID,
    ENDING_DECLINED,
    ENDING_ERROR,  /* answered, but with neither */
    ENDING_SILENT, /* not answered in time */
    ENDING_AWAY,   /* not reached, or the connection broke */
};

static bool is_final(enum ending ending)
{
    return ending <= ENDING_DECLINED;
}

/* --- an end: the courier's thread, or the worker's when a payment takes no time --- */

static void note_seconds(struct payment_figures *figures, int64_t duration_ns)
{
    double seconds = (double)duration_ns / NS_PER_S;
    int bucket = 0;
    while (bucket < PAYMENT_BUCKET_COUNT && seconds > payments_bounds_s[bucket])
        bucket++;
    figures->seconds_bucket[bucket]++;
    figures->seconds_sum += seconds;
}

static void take_off(struct payment *payment)
{
    list_remove(&payment->node);
    payment->payments->in_flight_count--;
}

/* Under the lock. Does this call count against the allowed number? */
static bool counts(const struct payment *payment, enum ending ending, int64_t now_ns)
{
    if (payment->is_probe)
        return false;
    bool is_closed = breaker_state(&payment->payments->breaker, now_ns) == BREAKER_CLOSED;
    return ending == ENDING_ERROR || (ending == ENDING_SILENT && is_closed);
}

/* Under the lock. */
static struct worker_report judge_failure(
    struct payment *payment, enum ending ending, int64_t retry_after_s, int64_t now_ns)
{
    struct payments *payments = payment->payments;
    int64_t id = payment->job->item.id;
    struct try_count tries = tries_add(&payments->tries, id, counts(payment, ending, now_ns), now_ns);
    if (tries.counted >= payments->config.attempts_max) {
        tries_forget(&payments->tries, id);
        payments->figures.abandoned_total++;
        return (struct worker_report){.verdict = WORKER_FINISHED, .report = REPORT_ABANDONED};
    }
    payments->figures.retried_total++;
    return (struct worker_report){.verdict = WORKER_FAILED,
        .delay_ms = tries_delay_ms(tries.in_vain, retry_after_s, randombytes_random())};
}

/* Under the lock. */
static struct worker_report judge_success(struct payment *payment, enum ending ending)
{
    struct payments *payments = payment->payments;
    bool is_paid = ending == ENDING_PAID;
    tries_forget(&payments->tries, payment->job->item.id);
    payments->figures.paid_total += is_paid;
    payments->figures.declined_total += !is_paid;
    return (struct worker_report){
        .verdict = WORKER_FINISHED, .report = is_paid ? REPORT_PAID : REPORT_DECLINED};
}

/* Without the lock: writes to a log may take time. */
static void tell_breaker(
    const struct payments *payments, enum breaker_state before, enum breaker_state now, const char *text)
{
    if (now == before)
        return;
    if (now == BREAKER_OPEN)
        log_warn("payments", "the provider fails (%s): no payment begins for %lld s; orders wait", text,
            (long long)(payments->breaker.config.open_ns / (int64_t)NS_PER_S));
    else if (now == BREAKER_CLOSED)
        log_info("payments", "the provider works again");
}

static void tell_abandoned(const struct worker_job *job, const char *text)
{
    log_warn("payments", "order %.*s has failed: its payment was tried as often as allowed; at last %s",
        SLICE_ARGS(job->item.subject), text);
}

/* --- a rest between two calls: the courier's thread --- */

static const struct worker_report report_next = {.verdict = WORKER_FAILED, .is_next = true};

/* Under the lock. Its timer frees it. */
static void wake_up(struct payment *payment)
{
    struct worker_job *job = payment->job;
    list_remove(&payment->node);
    payment->payments->resting_count--;
    payment->job = NULL;
    worker_done(job, report_next);
}

static void on_rested(struct courier_timer *timer, bool is_cancelled)
{
    struct payment *payment = CONTAINER_OF(timer, struct payment, timer);
    struct payments *payments = payment->payments;
    (void)is_cancelled;
    pthread_mutex_lock(&payments->lock);
    if (payment->job != NULL)
        wake_up(payment);
    pthread_mutex_unlock(&payments->lock);
    free(payment);
}

/*
 * Under the lock, off the flight. False: the report is to be told now. A probe that was answered with an
 * error loses its place: it may be the order that the provider cannot bear, and would be the next probe each
 * time.
 */
static bool may_rest(struct payment *payment, enum ending ending, struct worker_report *report)
{
    struct payments *payments = payment->payments;
    if (payment->is_probe && ending == ENDING_ERROR)
        return false;
    if (report->verdict != WORKER_FAILED || report->delay_ms > REST_MS_MAX)
        return false;
    if (payments->is_stopping)
        *report = report_next;
    if (payments->is_stopping || payments->resting_count >= payments->config.slots_max)
        return false;
    list_append(&payments->resting, &payment->node);
    payments->resting_count++;
    return true;
}

/* --- an end --- */

/* True: the payment rests, and is not the caller's any more. */
static bool end(struct payment *payment, enum ending ending, int64_t retry_after_s, const char *text)
{
    struct payments *payments = payment->payments;
    struct worker_job *job = payment->job;
    struct worker_report report;
    int64_t now_ns = clock_mono_ns();
    int64_t duration_ns = now_ns - payment->begun_ns;
    size_t waiting = backlog_count(&payments->backlog);
    pthread_mutex_lock(&payments->lock);
    enum breaker_state before = payments->breaker.state;
    report = is_final(ending) ? judge_success(payment, ending)
                              : judge_failure(payment, ending, retry_after_s, now_ns);
    take_off(payment);
    slots_note_end(
        &payments->slots, now_ns, duration_ns, is_final(ending), payments->in_flight_count, waiting);
    breaker_ended(&payments->breaker, payment->ticket, now_ns, is_final(ending), duration_ns);
    bool is_resting = may_rest(payment, ending, &report);
    enum breaker_state after = payments->breaker.state;
    if (ending != ENDING_AWAY)
        note_seconds(&payments->figures, duration_ns);
    pthread_mutex_unlock(&payments->lock);
    tell_breaker(payments, before, after, text);
    if (report.report == REPORT_ABANDONED)
        tell_abandoned(job, text);
    if (is_resting) {
        payment->timer.on_done = on_rested;
        courier_after(payments->courier, &payment->timer, report.delay_ms);
    } else {
        worker_done(job, report);
    }
    return is_resting;
}

/* Ended here before its time: it tells nothing about the provider. Under the lock. */
static void drop(struct payment *payment)
{
    struct payments *payments = payment->payments;
    struct worker_job *job = payment->job;
    struct worker_report report = {.verdict = WORKER_NOT_BEGUN};
    if (payments->config.provider_url != NULL)
        report = report_next;
    take_off(payment);
    breaker_dropped(&payments->breaker, payment->ticket);
    payment->job = NULL;
    worker_done(job, report);
}

/* --- a simulated payment --- */

static enum ending simulated_ending(const struct payments *payments, struct slice order_id)
{
    enum { MANTISSA_BITS = 53 };
    uint64_t hash = map_hash(&payments->decline_key, order_id) >> (64 - MANTISSA_BITS);
    double share = (double)hash / (double)(UINT64_C(1) << MANTISSA_BITS); /* 0 <= share < 1 */
    return share < payments->config.decline_rate ? ENDING_DECLINED : ENDING_PAID;
}

static void end_simulated(struct payment *payment)
{
    bool is_resting = end(payment, simulated_ending(payment->payments, payment->job->item.subject), 0, "");
    ENSURE(!is_resting);
    free(payment);
}

static void on_time(struct courier_timer *timer, bool is_cancelled)
{
    struct payment *payment = CONTAINER_OF(timer, struct payment, timer);
    if (payment->job == NULL) {
        free(payment);
    } else if (is_cancelled) {
        pthread_mutex_lock(&payment->payments->lock);
        drop(payment);
        pthread_mutex_unlock(&payment->payments->lock);
        free(payment);
    } else {
        end_simulated(payment);
    }
}

static void begin_simulated(struct payment *payment)
{
    struct payments *payments = payment->payments;
    payment->timer.on_done = on_time;
    if (payments->config.payment_ms == 0)
        end_simulated(payment);
    else
        courier_after(payments->courier, &payment->timer, payments->config.payment_ms);
}

/* --- a call of the provider --- */

static enum ending ending_of(const struct courier_result *result)
{
    switch (result->status) {
    case COURIER_ANSWERED:
        if (result->code >= 200 && result->code <= 299)
            return ENDING_PAID;
        return result->code == HTTP_PAYMENT_REQUIRED ? ENDING_DECLINED : ENDING_ERROR;
    case COURIER_TIMED_OUT:
        return ENDING_SILENT;
    default:
        return ENDING_AWAY;
    }
}

static void on_answer(struct courier_request *request)
{
    struct payment *payment = CONTAINER_OF(request, struct payment, request);
    const struct courier_result *result = &request->result;
    bool is_resting =
        payment->job != NULL && end(payment, ending_of(result), result->retry_after_s, result->text);
    if (!is_resting)
        free(payment);
}

/* What a header may carry: visible ASCII, the rest and '%' as %XX. Different ids stay different. */
static void put_key(struct strbuf *text, struct slice order_id)
{
    strbuf_put(text, slice_cstr(KEY_HEADER));
    for (size_t i = 0; i < order_id.len; i++) {
        unsigned char byte = (unsigned char)order_id.base[i];
        bool is_plain = byte > ' ' && byte < 0x7f && byte != '%' && byte != '"' && byte != '\\';
        if (is_plain)
            strbuf_put_char(text, (char)byte);
        else
            strbuf_printf(text, "%%%02X", byte);
    }
    strbuf_put_char(text, '\0');
}

static void begin_call(struct payment *payment)
{
    const struct payments_config *config = &payment->payments->config;
    const struct work_item *item = &payment->job->item;
    struct strbuf text;
    strbuf_init(&text, payment->text, sizeof KEY_HEADER + KEY_LEN_MAX_ENCODED + item->body.len);
    put_key(&text, item->subject);
    size_t body_at = text.len;
    strbuf_put(&text, item->body);
    ENSURE(!text.has_overflowed);
    payment->headers[0] = "Content-Type: application/json";
    payment->headers[1] = payment->text;
    bool is_long = config->timeout_ms > CONNECT_TIMEOUT_MS_MAX;
    payment->request = (struct courier_request){
        .url = config->provider_url,
        .headers = payment->headers,
        .header_count = sizeof payment->headers / sizeof payment->headers[0],
        .body = slice_make(payment->text + body_at, text.len - body_at),
        .connect_timeout_ms = is_long ? CONNECT_TIMEOUT_MS_MAX : (int)config->timeout_ms,
        .timeout_ms = (int)config->timeout_ms,
        .may_be_private = config->allows_private_targets,
        .on_done = on_answer,
    };
    courier_post(payment->payments->courier, &payment->request);
}

/* --- the heart: the courier's thread --- */

/* Under the lock. */
static size_t room_now(struct payments *payments, int64_t now_ns)
{
    size_t limit = slots_limit(&payments->slots);
    size_t room = limit > payments->in_flight_count ? limit - payments->in_flight_count : 0;
    size_t allowed = breaker_may_call(&payments->breaker, now_ns);
    if (payments->is_stopping)
        return 0;
    return room < allowed ? room : allowed;
}

/* Under the lock. */
static void sample_backlog(struct payments *payments, size_t waiting, int64_t now_ns)
{
    struct backlog_sample *samples = payments->samples;
    if (now_ns - samples[1].taken_ns < (int64_t)SAMPLE_MS * NS_PER_MS)
        return;
    samples[0] = samples[1];
    samples[1] = (struct backlog_sample){.taken_ns = now_ns, .count = waiting};
}

static void on_beat(struct courier_timer *timer, bool is_cancelled)
{
    struct payments *payments = CONTAINER_OF(timer, struct payments, heart);
    if (is_cancelled)
        return;
    int64_t now_ns = clock_mono_ns();
    backlog_turn(&payments->backlog, now_ns);
    size_t waiting = backlog_count(&payments->backlog);
    pthread_mutex_lock(&payments->lock);
    bool is_busy = payments->in_flight_count > 0 || waiting > 0;
    slots_tick(&payments->slots, now_ns, payments->in_flight_count, waiting);
    sample_backlog(payments, waiting, now_ns);
    bool has_room = waiting > 0 && room_now(payments, now_ns) > 0;
    pthread_mutex_unlock(&payments->lock);
    if (has_room)
        worker_wake(payments->worker);
    courier_after(payments->courier, &payments->heart, is_busy ? HEARTBEAT_MS : HEARTBEAT_IDLE_MS);
}

/* --- the handler: the worker's thread --- */

static size_t room(void *context)
{
    struct payments *payments = context;
    pthread_mutex_lock(&payments->lock);
    size_t answer = room_now(payments, clock_mono_ns());
    bool had_heart = payments->has_heart;
    payments->has_heart = true;
    pthread_mutex_unlock(&payments->lock);
    if (!had_heart)
        courier_after(payments->courier, &payments->heart, 0);
    return answer;
}

/* 0 for who was let in to measure the provider (payments_door.c): it is not to be cancelled as too late. */
static int64_t payment_ms(void *context)
{
    struct payments *payments = context;
    pthread_mutex_lock(&payments->lock);
    bool must_measure = payments_must_measure(payments);
    int64_t answer = must_measure ? 0 : slots_expected_ns(&payments->slots) / NS_PER_MS;
    pthread_mutex_unlock(&payments->lock);
    return answer;
}

static struct payment *make(struct payments *payments, struct worker_job *job)
{
    bool is_call = payments->config.provider_url != NULL;
    size_t text_len = is_call ? sizeof KEY_HEADER + KEY_LEN_MAX_ENCODED + job->item.body.len : 0;
    struct payment *payment = malloc(sizeof *payment + text_len);
    if (payment == NULL)
        return NULL;
    payment->payments = payments;
    payment->job = job;
    list_init(&payment->node);
    return payment;
}

/* False: the provider is away. */
static bool put_in_flight(struct payment *payment)
{
    struct payments *payments = payment->payments;
    pthread_mutex_lock(&payments->lock);
    payment->begun_ns = clock_mono_ns(); /* under the lock: the list is in this order */
    bool may_begin = breaker_may_call(&payments->breaker, payment->begun_ns) > 0;
    if (may_begin) {
        payment->is_probe = payments->breaker.state == BREAKER_HALF_OPEN;
        payment->ticket = breaker_began(&payments->breaker, payment->begun_ns);
        list_append(&payments->in_flight, &payment->node);
        payments->in_flight_count++;
    }
    pthread_mutex_unlock(&payments->lock);
    return may_begin;
}

static void run(struct worker_job *job, void *context)
{
    struct payments *payments = context;
    struct payment *payment = make(payments, job);
    if (payment == NULL || !put_in_flight(payment)) {
        free(payment);
        worker_done(job, (struct worker_report){.verdict = WORKER_NOT_BEGUN});
    } else if (payments->config.provider_url == NULL) {
        begin_simulated(payment);
    } else {
        begin_call(payment);
    }
}

static void on_cut(struct courier_timer *timer, bool is_cancelled)
{
    struct payments *payments = CONTAINER_OF(timer, struct payments, cut);
    struct list *node;
    (void)is_cancelled;
    pthread_mutex_lock(&payments->lock);
    while ((node = list_first(&payments->in_flight)) != NULL)
        drop(CONTAINER_OF(node, struct payment, node));
    pthread_mutex_unlock(&payments->lock);
}

static void stop(void *context)
{
    struct payments *payments = context;
    struct list *node;
    pthread_mutex_lock(&payments->lock);
    payments->is_stopping = true;
    while ((node = list_first(&payments->resting)) != NULL)
        wake_up(CONTAINER_OF(node, struct payment, node));
    pthread_mutex_unlock(&payments->lock);
    courier_after(payments->courier, &payments->cut, payments->config.drain_ms);
}

struct worker_handler payments_handler(struct payments *payments)
{
    const struct payments_config *config = &payments->config;
    int64_t longest_ms = config->provider_url == NULL ? config->payment_ms : config->timeout_ms;
    return (struct worker_handler){.kind = WORK_PAYMENT,
        .lease_ms = LEASE_PAYMENTS * longest_ms + LEASE_EXTRA_MS,
        .in_flight_max = config->provider_url == NULL ? config->slots_max : 2 * config->slots_max,
        .room = room,
        .payment_ms = payment_ms,
        .run = run,
        .stop = stop,
        .context = payments};
}

void payments_set_worker(struct payments *payments, struct worker *worker)
{
    payments->worker = worker;
}

/* --- life --- */

static void init_parts(struct payments *payments)
{
    const struct payments_config *config = &payments->config;
    int64_t expected_ns = config->payment_ms * NS_PER_MS;
    int64_t now_ns = clock_mono_ns();
    const struct slots_config slots = {.min = config->slots_min,
        .max = config->slots_max,
        .expected_ns = expected_ns > 0 ? expected_ns : 1,
        .grow_per_s = SLOTS_GROW_PER_S};
    slots_init(&payments->slots, &slots, now_ns);
    breaker_init(&payments->breaker, &breaker_defaults);
    tries_init(&payments->tries);
    list_init(&payments->in_flight);
    list_init(&payments->resting);
    memcpy(payments->decline_key.bytes, &config->seed, sizeof config->seed);
    payments->samples[0].taken_ns = payments->samples[1].taken_ns = now_ns;
    payments->heart.on_done = on_beat;
    payments->cut.on_done = on_cut;
    pthread_mutex_init(&payments->lock, NULL);
}

static enum err copy_config(
    struct payments *payments, const struct payments_config *config, struct error *error)
{
    ENSURE(config->payment_ms >= 0 && config->timeout_ms >= 1 && config->attempts_max >= 1);
    ENSURE(config->slots_min >= 1 && config->slots_min <= config->slots_max);
    payments->config = *config;
    if (config->provider_url == NULL)
        return ERR_NONE;
    enum err status = courier_check_url(config->provider_url, error);
    payments->config.provider_url = status == ERR_NONE ? strdup(config->provider_url) : NULL;
    if (status == ERR_NONE && payments->config.provider_url == NULL)
        status = error_set(error, ERR_MEMORY, "no memory for payments");
    return status;
}

enum err payments_create(const struct payments_config *config, struct engine *engine, struct courier *courier,
    struct payments **payments_out, struct error *error)
{
    struct payments *payments = calloc(1, sizeof *payments);
    if (payments == NULL)
        return error_set(error, ERR_MEMORY, "no memory for payments");
    payments->engine = engine;
    payments->courier = courier;
    enum err status = copy_config(payments, config, error);
    if (status == ERR_NONE)
        status = backlog_init(&payments->backlog, engine, error);
    if (status != ERR_NONE) {
        free((char *)payments->config.provider_url);
        free(payments);
        return status;
    }
    init_parts(payments);
    *payments_out = payments;
    return ERR_NONE;
}

void payments_destroy(struct payments *payments)
{
    ENSURE(payments->in_flight_count == 0 && payments->resting_count == 0);
    backlog_fini(&payments->backlog);
    tries_fini(&payments->tries);
    pthread_mutex_destroy(&payments->lock);
    free((char *)payments->config.provider_url);
    free(payments);
}
