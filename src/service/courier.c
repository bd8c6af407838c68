/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The courier's thread runs a libuv loop. What is handed over is put on a list under a lock and the loop is
 * woken; everything else happens on the loop: timers are libuv's, requests and mails are libcurl's, which
 * tells lane.c what sockets and what time-out it waits for.
 *
 * An item is on `posted` (under the lock), then under way, then completed; `under_way` and `posted` together
 * say when the courier is drained. At a stop timers are closed at once and transfers get the grace time; what
 * comes later is completed when it is taken from `posted`. The thread itself lives until courier_destroy, so
 * whoever still hands something over gets it back in the same way as always.
 */
#include "service/courier_priv.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"

enum { NS_PER_MS = 1000000, KEEP_IDLE_MS = 60000 };

/* --- completing --- */

static void count_done(struct courier *courier, const struct courier_item *item, enum courier_status status)
{
    struct courier_tally *tally = &courier->done[item->kind];
    atomic_fetch_add_explicit(&tally->by_status[status], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&courier->in_flight[item->kind], 1, memory_order_relaxed);
}

void courier_complete(struct courier *courier, struct courier_item *item)
{
    int64_t duration_ns = clock_mono_ns() - item->posted_ns;
    courier->under_way--;
    if (item->kind == COURIER_KIND_REQUEST) {
        struct courier_request *request = CONTAINER_OF(item, struct courier_request, item);
        request->result.duration_ns = duration_ns;
        count_done(courier, item, request->result.status);
        request->on_done(request);
    } else if (item->kind == COURIER_KIND_MAIL) {
        struct courier_mail *mail = CONTAINER_OF(item, struct courier_mail, item);
        mail->result.duration_ns = duration_ns;
        count_done(courier, item, mail->result.status);
        mail->on_done(mail);
    } else {
        struct courier_timer *timer = CONTAINER_OF(item, struct courier_timer, item);
        count_done(courier, item, COURIER_ANSWERED);
        timer->on_done(timer, timer->is_cancelled);
    }
}

/* --- timers --- */

static struct courier_timer *timer_of(struct courier_item *item)
{
    return CONTAINER_OF(item, struct courier_timer, item);
}

/* libuv has let go of the memory: it may be used again. */
static void on_timer_closed(uv_handle_t *handle)
{
    struct courier_timer *timer = handle->data;
    courier_complete(timer->item.courier, &timer->item);
}

static void end_timer(struct courier_timer *timer, bool is_cancelled)
{
    timer->is_cancelled = is_cancelled;
    list_remove(&timer->item.link);
    uv_close((uv_handle_t *)&timer->uv, on_timer_closed);
}

static void arm_timer(struct courier_timer *timer);

/* libuv counts whole milliseconds from the beginning of one, and so may call a little early. */
static void on_timer(uv_timer_t *handle)
{
    struct courier_timer *timer = handle->data;
    if (clock_mono_ns() < timer->due_ns)
        arm_timer(timer);
    else
        end_timer(timer, false);
}

static void arm_timer(struct courier_timer *timer)
{
    int64_t left_ns = timer->due_ns - clock_mono_ns();
    uint64_t left_ms = left_ns > 0 ? (uint64_t)((left_ns + NS_PER_MS - 1) / NS_PER_MS) : 0;
    uv_update_time(timer->uv.loop);
    ENSURE(uv_timer_start(&timer->uv, on_timer, left_ms, 0) == 0);
}

static void start_timer(struct courier *courier, struct courier_timer *timer)
{
    ENSURE(uv_timer_init(&courier->loop, &timer->uv) == 0);
    timer->uv.data = timer;
    list_append(&courier->timers, &timer->item.link);
    if (courier->is_refusing)
        end_timer(timer, true);
    else
        arm_timer(timer);
}

/* --- the thread --- */

static void start_item(struct courier *courier, struct courier_item *item)
{
    courier->under_way++;
    if (item->kind == COURIER_KIND_TIMER)
        start_timer(courier, timer_of(item));
    else if (courier->is_refusing)
        transfer_refuse(courier, item, "not sent: the server is shutting down");
    else
        transfer_start(courier, item);
}

/* Takes everything at once: what on_done hands over comes with the next turn of the loop. */
static void start_posted(struct courier *courier)
{
    struct list posted;
    list_init(&posted);
    pthread_mutex_lock(&courier->lock);
    while (!list_is_empty(&courier->posted)) {
        struct list *node = list_first(&courier->posted);
        list_remove(node);
        list_append(&posted, node);
    }
    pthread_mutex_unlock(&courier->lock);
    while (!list_is_empty(&posted)) {
        struct list *node = list_first(&posted);
        list_remove(node);
        start_item(courier, CONTAINER_OF(node, struct courier_item, link));
    }
}

static void on_grace_over(uv_timer_t *handle)
{
    struct courier *courier = handle->data;
    while (!list_is_empty(&courier->running))
        transfer_abort(CONTAINER_OF(list_first(&courier->running), struct courier_transfer, link));
}

static void begin_stop(struct courier *courier, int64_t grace_ms)
{
    courier->is_refusing = true;
    while (!list_is_empty(&courier->timers)) {
        struct list *node = list_first(&courier->timers);
        end_timer(timer_of(CONTAINER_OF(node, struct courier_item, link)), true);
    }
    uv_update_time(&courier->loop);
    ENSURE(uv_timer_start(&courier->grace, on_grace_over, (uint64_t)grace_ms, 0) == 0);
}

static void on_sweep(uv_timer_t *handle)
{
    lanes_sweep(handle->data, false);
}

static void on_wake(uv_async_t *wake)
{
    struct courier *courier = wake->data;
    pthread_mutex_lock(&courier->lock);
    bool is_stopping = courier->is_stopping;
    bool is_ending = courier->is_ending;
    int64_t grace_ms = courier->grace_ms;
    pthread_mutex_unlock(&courier->lock);
    if (is_stopping && !courier->is_refusing)
        begin_stop(courier, grace_ms);
    start_posted(courier);
    if (is_ending)
        uv_stop(&courier->loop);
}

/* Once a turn of the loop, before it sleeps. */
static void on_turn(uv_prepare_t *turn)
{
    struct courier *courier = turn->data;
    if (!courier->is_refusing || courier->under_way != 0)
        return;
    pthread_mutex_lock(&courier->lock);
    if (list_is_empty(&courier->posted) && !courier->is_drained) {
        courier->is_drained = true;
        pthread_cond_signal(&courier->drained);
    }
    pthread_mutex_unlock(&courier->lock);
}

static void *courier_main(void *context)
{
    struct courier *courier = context;
    (void)pthread_setname_np(pthread_self(), "courier");
    (void)uv_run(&courier->loop, UV_RUN_DEFAULT);
    ENSURE(courier->under_way == 0);
    return NULL;
}

/* --- making and ending --- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode curl_state;

static void init_curl(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes with write(2) */
    curl_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Closes what is open and gives the memory back. The thread is not running. */
static void free_courier(struct courier *courier)
{
    if (courier->lanes[0] != NULL)
        lanes_sweep(courier, true);
    uv_close((uv_handle_t *)&courier->sweep, NULL);
    uv_close((uv_handle_t *)&courier->grace, NULL);
    uv_close((uv_handle_t *)&courier->turn, NULL);
    uv_close((uv_handle_t *)&courier->wake, NULL);
    (void)uv_run(&courier->loop, UV_RUN_DEFAULT);
    ENSURE(uv_loop_close(&courier->loop) == 0);
    while (!list_is_empty(&courier->idle))
        transfer_destroy(CONTAINER_OF(list_first(&courier->idle), struct courier_transfer, link));
    (void)curl_share_cleanup(courier->names);
    free(courier->lanes[0]);
    pthread_cond_destroy(&courier->drained);
    pthread_mutex_destroy(&courier->lock);
    free(courier->ca_file);
    free(courier);
}

static enum err init_loop(struct courier *courier, struct error *error)
{
    if (uv_loop_init(&courier->loop) != 0)
        return error_set(error, ERR_MEMORY, "no memory, or no file left, for the courier's loop");
    if (uv_async_init(&courier->loop, &courier->wake, on_wake) != 0) {
        ENSURE(uv_loop_close(&courier->loop) == 0);
        return error_set(
            error, ERR_MEMORY, "no file left for the courier's loop; is the limit of files reached?");
    }
    courier->wake.data = courier;
    ENSURE(uv_timer_init(&courier->loop, &courier->grace) == 0);
    courier->grace.data = courier;
    ENSURE(uv_timer_init(&courier->loop, &courier->sweep) == 0);
    courier->sweep.data = courier;
    ENSURE(uv_prepare_init(&courier->loop, &courier->turn) == 0);
    courier->turn.data = courier;
    ENSURE(uv_prepare_start(&courier->turn, on_turn) == 0);
    return ERR_NONE;
}

/* All groups have their places in one array. */
static bool init_lanes(struct courier *courier, const struct courier_config *config)
{
    courier->connections_max = config->connections_max;
    courier->lane_max = (config->connections_max + LANE_WIDTH - 1) / LANE_WIDTH;
    struct lane **places = calloc(LANE_GROUP_COUNT * courier->lane_max, sizeof *places);
    if (places == NULL)
        return false;
    for (size_t i = 0; i < LANE_GROUP_COUNT; i++)
        courier->lanes[i] = places + i * courier->lane_max;
    courier->keep_idle_ms = config->keep_idle_ms > 0 ? config->keep_idle_ms : KEEP_IDLE_MS;
    uint64_t sweep_ms = (uint64_t)courier->keep_idle_ms;
    ENSURE(uv_timer_start(&courier->sweep, on_sweep, sweep_ms, sweep_ms) == 0);
    if (config->ca_file != NULL && (courier->ca_file = strdup(config->ca_file)) == NULL)
        return false;
    courier->names = curl_share_init();
    return courier->names != NULL &&
           curl_share_setopt(courier->names, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) == CURLSHE_OK;
}

static enum err init_courier(
    struct courier *courier, const struct courier_config *config, struct error *error)
{
    list_init(&courier->posted);
    list_init(&courier->running);
    list_init(&courier->idle);
    list_init(&courier->timers);
    pthread_mutex_init(&courier->lock, NULL);
    pthread_cond_init(&courier->drained, NULL);
    if (!init_lanes(courier, config))
        return error_set(error, ERR_MEMORY, "no memory for the courier");
    if (pthread_create(&courier->thread, NULL, courier_main, courier) != 0)
        return error_set(
            error, ERR_MEMORY, "cannot start the courier's thread; is the limit of processes reached?");
    return ERR_NONE;
}

enum err courier_create(
    const struct courier_config *config, struct courier **courier_out, struct error *error)
{
    ENSURE(config->connections_max >= 1);
    if (config->ca_file != NULL && access(config->ca_file, R_OK) != 0)
        return error_set(error, ERR_USAGE,
            "the file of certificate authorities %s cannot be read; name a PEM file that this user may read",
            config->ca_file);
    pthread_once(&once, init_curl);
    if (curl_state != CURLE_OK)
        return error_set(error, ERR_MEMORY, "libcurl cannot start: %s", curl_easy_strerror(curl_state));
    struct courier *courier = calloc(1, sizeof *courier);
    if (courier == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the courier");
    enum err status = init_loop(courier, error);
    if (status != ERR_NONE) {
        free(courier);
        return status;
    }
    status = init_courier(courier, config, error);
    if (status != ERR_NONE)
        free_courier(courier);
    else
        *courier_out = courier;
    return status;
}

void courier_stop(struct courier *courier, int64_t grace_ms)
{
    ENSURE(grace_ms >= 0);
    pthread_mutex_lock(&courier->lock);
    courier->is_stopping = true;
    courier->grace_ms = grace_ms;
    (void)uv_async_send(&courier->wake);
    while (!courier->is_drained)
        pthread_cond_wait(&courier->drained, &courier->lock);
    pthread_mutex_unlock(&courier->lock);
}

void courier_destroy(struct courier *courier)
{
    pthread_mutex_lock(&courier->lock);
    ENSURE(courier->is_drained);
    courier->is_ending = true;
    (void)uv_async_send(&courier->wake);
    pthread_mutex_unlock(&courier->lock);
    pthread_join(courier->thread, NULL);
    free_courier(courier);
}

/* --- handing over --- */

/* The wake-up is sent under the lock, so that nobody can be told that the courier is drained before it. */
static void hand_over(struct courier *courier, struct courier_item *item, enum courier_kind kind)
{
    item->kind = kind;
    item->courier = courier;
    item->transfer = NULL;
    item->posted_ns = clock_mono_ns();
    atomic_fetch_add_explicit(&courier->in_flight[kind], 1, memory_order_relaxed);
    pthread_mutex_lock(&courier->lock);
    ENSURE(!courier->is_ending);
    list_append(&courier->posted, &item->link);
    (void)uv_async_send(&courier->wake);
    pthread_mutex_unlock(&courier->lock);
}

void courier_post(struct courier *courier, struct courier_request *request)
{
    ENSURE(request->on_done != NULL);
    ENSURE(request->connect_timeout_ms >= 1);
    ENSURE(request->timeout_ms >= 1);
    request->result = (struct courier_result){.status = COURIER_NOT_REACHED};
    hand_over(courier, &request->item, COURIER_KIND_REQUEST);
}

void courier_mail(struct courier *courier, struct courier_mail *mail)
{
    ENSURE(mail->on_done != NULL);
    ENSURE(mail->connect_timeout_ms >= 1);
    ENSURE(mail->timeout_ms >= 1);
    mail->result = (struct courier_result){.status = COURIER_NOT_REACHED};
    hand_over(courier, &mail->item, COURIER_KIND_MAIL);
}

void courier_after(struct courier *courier, struct courier_timer *timer, int64_t delay_ms)
{
    ENSURE(timer->on_done != NULL);
    ENSURE(delay_ms >= 0 && delay_ms < INT64_MAX / NS_PER_MS / 2);
    timer->due_ns = clock_mono_ns() + delay_ms * NS_PER_MS;
    hand_over(courier, &timer->item, COURIER_KIND_TIMER);
}

/* --- figures --- */

static const char *const kind_names[] = {"request", "mail", "timer"};
static const char *const status_names[] = {"answered", "not_reached", "timed_out", "broken"};

void courier_put_metrics(const struct courier *courier, struct strbuf *text)
{
    strbuf_lit(text, "# HELP doorbuster_courier_done_total What was sent outside, by what became of it.\n"
                     "# TYPE doorbuster_courier_done_total counter\n");
    for (size_t kind = 0; kind < COURIER_KIND_TIMER; kind++)
        for (size_t status = 0; status < COURIER_STATUS_COUNT; status++)
            strbuf_printf(text, "doorbuster_courier_done_total{kind=\"%s\",status=\"%s\"} %llu\n",
                kind_names[kind], status_names[status],
                (unsigned long long)atomic_load_explicit(
                    &courier->done[kind].by_status[status], memory_order_relaxed));
    strbuf_lit(text,
        "# HELP doorbuster_courier_in_flight What is under way to the outside, and timers that run.\n"
        "# TYPE doorbuster_courier_in_flight gauge\n");
    for (size_t kind = 0; kind < COURIER_KIND_COUNT; kind++)
        strbuf_printf(text, "doorbuster_courier_in_flight{kind=\"%s\"} %lld\n", kind_names[kind],
            (long long)atomic_load_explicit(&courier->in_flight[kind], memory_order_relaxed));
}
