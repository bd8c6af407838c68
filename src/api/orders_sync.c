/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /orders/sync: the customer waits until the order is final, or until its patience ends.
 *
 * The door lets an order in only when it can be paid in time, and keeps its turn; the turn is given back as
 * soon as the payment begins, or the order turns out not to wait for one. It reckons with a little less than
 * the whole patience: payments that take a little longer than expected, one after the other, would make those
 * at the end of the line wait in vain, and the customer's own clock began before ours. From then on one of
 * these ends the wait, whichever comes first:
 *
 * - the order is final: 200, 402, or 503 when it was cancelled because its payment could not begin in time;
 * - patience ends: an order that is still pending is cancelled (503); one whose payment is under way can not
 * be and is told so (504);
 * - the client goes away: the same without an answer.
 *
 * Who has sent an order that was there already waits for the outcome of the first and has no turn; it never
 * cancels, since somebody else may wait too.
 *
 * A wait lives on the heap and outlives its request: what it has in the line or at the store must come back
 * first. Once nothing is under way and nobody waits any more, it goes.
 */
#include <stdlib.h>

#include "api/orders_priv.h"
#include "api/prefer.h"
#include "api/problem.h"
#include "base/clock.h"
#include "base/ensure.h"

enum {
    NS_PER_MS = 1000000,
    MS_PER_S = 1000,
    RETRY_MS = 250,
    BODY_MAX = 4096,
};

struct order_wait {
    uv_timer_t timer; /* the end of patience; afterwards, the next attempt to cancel */
    struct order_watch watch;
    struct placing placing;
    struct list node; /* on orders.waits */
    int64_t deadline_ns;
    bool has_turn;
    bool is_replay;
    bool is_under_way; /* a call or a question is with the engine */
    bool is_over;      /* patience has ended, or the client has gone */
    bool is_ended;
};

/* --- the end --- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct order_wait *wait = CONTAINER_OF(handle, struct order_wait, timer);
    order_form_fini(&wait->placing.form);
    free(wait);
}

static void leave_turn(struct order_wait *wait)
{
    if (wait->has_turn)
        payments_leave(orders_payments(wait->placing.orders));
    wait->has_turn = false;
}

/* The request must have been answered, or must not be any more; nothing is under way. */
static void end(struct order_wait *wait)
{
    struct orders *orders = wait->placing.orders;
    ENSURE(!wait->is_ended);
    wait->is_ended = true;
    leave_turn(wait);
    order_watch_stop(orders->watches, &wait->watch);
    list_remove(&wait->node);
    size_t waiting = atomic_load_explicit(&orders->waiting, memory_order_relaxed);
    atomic_store_explicit(&orders->waiting, waiting - 1, memory_order_relaxed);
    uv_close((uv_handle_t *)&wait->timer, on_timer_closed);
}

/* --- answers --- */

static struct slice order_id_of(const struct order_wait *wait)
{
    return wait->placing.form.request.order_id;
}

/* The original's two answers; members in its order. */
static void reply_outcome(struct order_wait *wait, bool is_paid)
{
    char memory[BODY_MAX];
    struct strbuf body;
    struct slice order_id = order_id_of(wait);
    strbuf_init(&body, memory, sizeof memory);
    put_duration(&body, wait->placing.arrived_ns);
    if (is_paid) {
        strbuf_lit(&body, ",\"message\":\"Order processed successfully\"");
    } else {
        char text[ORDER_ID_LEN_MAX + 64];
        struct strbuf error;
        strbuf_init(&error, text, sizeof text);
        strbuf_lit(&error, "payment declined for order ");
        strbuf_put(&error, order_id);
        strbuf_lit(&body, ",\"error\":");
        strbuf_put_json(&body, strbuf_slice(&error));
    }
    strbuf_lit(&body, ",\"order_id\":");
    strbuf_put_json(&body, order_id);
    strbuf_lit(&body, ",\"status\":\"");
    strbuf_put(&body, order_status_name(is_paid ? ORDER_COMPLETED : ORDER_FAILED));
    strbuf_lit(&body, "\"}");
    http_reply(wait->placing.request, is_paid ? 200 : 402, SLICE("application/json"), slice_make("", 0),
        strbuf_slice(&body));
}

/* When the next one may be tried: as soon as the provider is asked again, else after one payment's time. */
static int64_t retry_after_ms(const struct order_wait *wait)
{
    struct payments_stats stats;
    payments_stats(orders_payments(wait->placing.orders), &stats);
    return stats.retry_after_ms > 0 ? stats.retry_after_ms : stats.expected_ms;
}

static void reply_cancelled(struct order_wait *wait)
{
    bool has_own_id = wait->placing.form.has_own_id;
    reply_problem_later(wait->placing.request,
        has_own_id
            ? SLICE("The order could not be paid in time and was cancelled; nothing was charged. Send it "
                    "again with a new order_id after the time in Retry-After.")
            : SLICE("The order could not be paid in time and was cancelled; nothing was charged. Send it "
                    "again after the time in Retry-After."),
        retry_after_ms(wait));
}

/* Patience has ended, and the order may still be paid. */
static void reply_under_way(struct order_wait *wait)
{
    char line[LOCATION_LEN_MAX];
    struct strbuf extra;
    strbuf_init(&extra, line, sizeof line);
    put_location(&extra, order_id_of(wait));
    orders_count(wait->placing.orders, COUNT_TIMED_OUT);
    reply_problem(wait->placing.request, 504,
        wait->watch.known.status == ORDER_PENDING
            ? SLICE("The order still waits for its payment and has not been cancelled. Location tells what "
                    "becomes of it; it need not be sent again.")
            : SLICE("The payment of the order is still under way. Location tells what becomes of it; it need "
                    "not "
                    "be sent again."),
        strbuf_slice(&extra));
}

/* Answers by what is known, if somebody still waits, and ends. */
static void finish(struct order_wait *wait)
{
    if (wait->placing.request != NULL) {
        switch (wait->watch.known.status) {
        case ORDER_COMPLETED:
            reply_outcome(wait, true);
            break;
        case ORDER_FAILED:
            reply_outcome(wait, false);
            break;
        case ORDER_CANCELLED:
            reply_cancelled(wait);
            break;
        default:
            reply_under_way(wait);
        }
    }
    end(wait);
}

/* --- what happens meanwhile --- */

static void cancel(struct order_wait *wait);

/* Nothing is under way: goes on with what is known. */
static void go_on(struct order_wait *wait)
{
    enum order_status status = wait->watch.known.status;
    if (status != ORDER_PENDING)
        leave_turn(wait);
    if (order_status_is_final(status))
        finish(wait);
    else if (wait->is_over && status == ORDER_PENDING && !wait->is_replay)
        cancel(wait);
    else if (wait->is_over)
        finish(wait);
}

static void on_change(struct order_watch *watch)
{
    struct order_wait *wait = CONTAINER_OF(watch, struct order_wait, watch);
    if (watch->known.status != ORDER_PENDING)
        leave_turn(wait);
    if (!wait->is_under_way)
        go_on(wait);
}

static void on_timer(uv_timer_t *timer)
{
    struct order_wait *wait = CONTAINER_OF(timer, struct order_wait, timer);
    wait->is_over = true;
    if (!wait->is_under_way)
        go_on(wait);
}

static void on_gone(struct http_request *request, void *context)
{
    struct order_wait *wait = context;
    orders_count(wait->placing.orders, COUNT_GONE);
    wait->placing.request = NULL;
    wait->is_over = true;
    request->counted_status = HTTP_NOT_COUNTED;
    http_reply(request, 504, slice_make("", 0), slice_make("", 0), slice_make("", 0)); /* nobody hears it */
    if (!wait->is_under_way)
        go_on(wait);
}

/* --- cancelling --- */

/* The engine takes no command now. The order has a deadline of its own, after which no payment begins: so one
 * whose client has gone is tried again only until then, and a client that still waits is told at once. */
static void on_not_cancelled(struct order_wait *wait)
{
    if (wait->placing.request != NULL || clock_mono_ns() >= wait->deadline_ns)
        finish(wait);
    else
        uv_timer_start(&wait->timer, on_timer, RETRY_MS, 0);
}

static void on_cancelled(struct engine_call *call)
{
    struct order_wait *wait = CONTAINER_OF(call, struct order_wait, placing.call);
    const struct outcome *outcome = &call->command.outcome;
    wait->is_under_way = false;
    if (outcome->result != RESULT_OK && outcome->result != RESULT_ORDER_NOT_PENDING) {
        on_not_cancelled(wait);
        return;
    }
    if (!order_status_is_final(wait->watch.known.status))
        wait->watch.known.status = outcome->order_status;
    leave_turn(wait);
    finish(wait);
}

static void cancel(struct order_wait *wait)
{
    struct orders *orders = wait->placing.orders;
    wait->placing.call = (struct engine_call){
        .command = {.kind = COMMAND_ORDER_CANCEL, .order = &wait->placing.form.request},
        .deadline_ns = clock_mono_ns() + orders->thread->app->config.answer_deadline_ms * NS_PER_MS,
        .on_done = on_cancelled,
    };
    wait->is_under_way = engine_port_push(orders->thread->port, &wait->placing.call);
    if (wait->is_under_way)
        engine_port_flush(
            orders->thread->port); /* a timer's turn may end without one; it may answer at once */
    else
        on_not_cancelled(wait);
}

/* --- the beginning --- */

/* The order is there: waits for what becomes of it. */
static void watch_order(struct order_wait *wait, const struct order_state *state)
{
    wait->watch.known = *state;
    if (wait->is_replay)
        leave_turn(wait);
    if (!order_status_is_final(state->status) &&
        !order_watch_start(wait->placing.orders->watches, &wait->watch))
        wait->is_over = true;
    go_on(wait);
}

static void on_placed(struct engine_call *call)
{
    struct order_wait *wait = CONTAINER_OF(call, struct order_wait, placing.call);
    const struct outcome *outcome = &call->command.outcome;
    wait->is_under_way = false;
    if (outcome->result != RESULT_OK) {
        if (wait->placing.request != NULL)
            placing_reply_result(&wait->placing);
        end(wait);
        return;
    }
    wait->is_replay = outcome->is_replay;
    orders_count(wait->placing.orders, outcome->is_replay ? COUNT_REPLAYED : COUNT_PLACED_SYNC);
    const struct order_state state = {
        .id = outcome->number, .status = outcome->order_status, .updated_ms = outcome->time_ms};
    watch_order(wait, &state);
}

static void on_refused_looked_up(struct engine_lookup *lookup)
{
    struct order_wait *wait = CONTAINER_OF(lookup, struct order_wait, placing.lookup);
    const struct order_row *row = &lookup->question.order;
    const struct order_state state = {.id = row->id,
        .status = row->status,
        .attempts = row->attempts,
        .updated_ms = row->updated_ms,
        .paid_ms = row->paid_ms};
    enum found found = placing_found(&wait->placing);
    question_fini(&lookup->question);
    wait->is_under_way = false;
    if (found == FOUND_SAME) {
        wait->is_replay = true;
        orders_count(wait->placing.orders, COUNT_REPLAYED);
        watch_order(wait, &state);
        return;
    }
    if (wait->placing.request != NULL && found == FOUND_OTHER)
        placing_reply_taken(&wait->placing);
    else if (wait->placing.request != NULL)
        placing_reply_refused(&wait->placing);
    end(wait);
}

/* What the client would rather wait, but never longer than `max_ms`. */
static int64_t preferred_ms(const struct http_request *request, int64_t max_ms)
{
    int64_t seconds = prefer_wait_s(request, INT64_MAX);
    return seconds > max_ms / MS_PER_S ? max_ms : seconds * MS_PER_S;
}

static struct order_wait *create(struct orders *orders, struct http_request *request)
{
    struct order_wait *wait = calloc(1, sizeof *wait);
    if (wait == NULL) {
        reply_problem_later(request, SLICE("There is no memory for the order now. It was not taken."), 0);
        return NULL;
    }
    if (!placing_init(&wait->placing, orders, request)) {
        free(wait);
        return NULL;
    }
    uv_timer_init(&orders->thread->loop, &wait->timer);
    list_init(&wait->node);
    list_append(&orders->waits, &wait->node);
    wait->watch.on_change = on_change;
    atomic_store_explicit(&orders->waiting, atomic_load_explicit(&orders->waiting, memory_order_relaxed) + 1,
        memory_order_relaxed);
    request->on_gone = on_gone;
    request->on_gone_context = wait;
    return wait;
}

/* Until its patience ends: on the loop's clock, which may lag behind, the rest of it. */
static int64_t set_deadline(struct order_wait *wait, int64_t patience_ms)
{
    struct orders *orders = wait->placing.orders;
    wait->deadline_ns = wait->placing.arrived_ns + patience_ms * NS_PER_MS;
    int64_t left_ms = (wait->deadline_ns - clock_mono_ns()) / NS_PER_MS;
    left_ms = left_ms < 0 ? 0 : left_ms;
    uv_update_time(&orders->thread->loop);
    uv_timer_start(&wait->timer, on_timer, (uint64_t)left_ms, 0);
    wait->placing.form.request.is_sync = true;
    wait->placing.form.request.deadline_ms = engine_now_ms(orders->thread->app->engine) + left_ms;
    return left_ms;
}

void orders_sync_post(struct http_request *request, void *context)
{
    struct orders *orders = orders_of(context);
    struct order_wait *wait = create(orders, request);
    if (wait == NULL)
        return;
    struct placing *placing = &wait->placing;
    int64_t left_ms = set_deadline(wait, preferred_ms(request, orders->thread->app->config.sync_deadline_ms));
    placing->patience_ms = placing_reckoned_ms(left_ms);
    placing->admission =
        payments_admit_sync(orders_payments(orders), placing->patience_ms, &placing->retry_after_ms);
    wait->has_turn = placing->admission == ADMISSION_OK;
    wait->is_under_way = true; /* a look-up may be done before it returns */
    if (!wait->has_turn) {
        if (placing_look_up(placing, on_refused_looked_up))
            return;
        placing_reply_refused(placing);
    } else {
        int64_t answer_ns = placing->arrived_ns + orders->thread->app->config.answer_deadline_ms * NS_PER_MS;
        if (placing_push(placing, answer_ns < wait->deadline_ns ? answer_ns : wait->deadline_ns, on_placed))
            return;
        placing_reply_result(placing);
    }
    end(wait);
}

void orders_sync_close(struct orders *orders)
{
    struct list *node;
    while ((node = list_first(&orders->waits)) != NULL)
        end(CONTAINER_OF(node, struct order_wait, node));
}
