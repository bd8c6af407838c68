/* SPDX-License-Identifier: Apache-2.0 */
#include "core/order.h"

#include "base/clock_text.h"
#include "base/ensure.h"
#include "base/strbuf.h"
#include "core/rules.h"
#include "core/world_work.h"

/* Where its payment stands in the line: see the head of order.h. */
static int64_t payment_due_ms(const struct order *order)
{
    bool is_sync = order->deadline_ms != 0;
    int64_t head_start_ms =
        is_sync ? (int64_t)ORDER_SYNC_HEAD_START_MS : (int64_t)order->priority * ORDER_PRIORITY_HEAD_START_MS;
    return order->created_ms - head_start_ms;
}

static void answer_with(struct command *command, const struct order *order)
{
    command->outcome.result = RESULT_OK;
    command->outcome.number = order->id;
    command->outcome.time_ms = order->created_ms;
    command->outcome.order_status = order->values.status;
}

bool order_place(struct world *world, struct command *command, int64_t now_ms)
{
    const struct order_request *request = command->order;
    const struct order *order = world_order(world, request->order_id);
    if (order != NULL) {
        bool is_same = memcmp(order->fingerprint, request->fingerprint, FINGERPRINT_BYTES) == 0;
        answer_with(command, order);
        command->outcome.is_replay = is_same;
        if (!is_same)
            command->outcome.result = RESULT_ORDER_ID_TAKEN;
        world->repeats_answers = true;
        return true;
    }
    ENSURE(request->is_sync == (request->deadline_ms != 0));
    order = world_add_order(world, request, now_ms);
    if (order == NULL ||
        world_add_payment_work(world, order, request->payment_body, payment_due_ms(order), now_ms) == NULL)
        return false;
    answer_with(command, order);
    return true;
}

/* A wall clock may be set back: what comes later is never told as earlier. */
static int64_t not_before(const struct order *order, int64_t now_ms)
{
    return now_ms > order->values.updated_ms ? now_ms : order->values.updated_ms;
}

static bool set_status(struct world *world, struct order *order, enum order_status status, int64_t now_ms)
{
    struct order_values values = order->values;
    values.status = status;
    values.updated_ms = not_before(order, now_ms);
    if (status == ORDER_COMPLETED)
        values.paid_ms = values.updated_ms;
    return world_set_order(world, order, &values);
}

bool order_cancel(struct world *world, struct command *command, int64_t now_ms)
{
    struct order *order = world_order(world, command->order->order_id);
    if (order == NULL) {
        command->outcome.result = RESULT_ORDER_NOT_FOUND;
        return true;
    }
    answer_with(command, order);
    if (order->values.status != ORDER_PENDING) {
        command->outcome.result = RESULT_ORDER_NOT_PENDING;
        return true;
    }
    struct work *work = world_work(world, order->id);
    ENSURE(work != NULL);
    command->outcome.order_status = ORDER_CANCELLED;
    return set_status(world, order, ORDER_CANCELLED, now_ms) && world_remove_work(world, work);
}

/* --- its payment --- */

bool order_begin_payment(
    struct world *world, struct work *work, int64_t payment_ms, int64_t now_ms, bool *is_begun)
{
    struct order *order = world_order_by_id(world, work->id);
    ENSURE(order != NULL && !order_status_is_final(order->values.status));
    bool is_hopeless = order->values.status == ORDER_PENDING && order->deadline_ms != 0 &&
                       now_ms + payment_ms > order->deadline_ms;
    *is_begun = !is_hopeless;
    if (is_hopeless)
        return set_status(world, order, ORDER_CANCELLED, now_ms) && world_remove_work(world, work);
    struct order_values values = {.status = ORDER_PROCESSING,
        .attempts = order->values.attempts + 1,
        .updated_ms = not_before(order, now_ms)};
    return world_set_order(world, order, &values);
}

/* Never tried before: nothing may have been charged, so it is as if it had not been claimed. */
bool order_give_back_payment(struct world *world, const struct work *work, int64_t now_ms, int64_t *due_ms)
{
    struct order *order = world_order_by_id(world, work->id);
    ENSURE(order != NULL && order->values.status == ORDER_PROCESSING && order->values.attempts > 0);
    struct order_values values = order->values;
    values.attempts--;
    values.updated_ms = not_before(order, now_ms);
    if (values.attempts == 0)
        values.status = ORDER_PENDING;
    *due_ms = payment_due_ms(order);
    return world_set_order(world, order, &values);
}

/* What a webhook tells, and from which an e-mail is made. A failed order says whether its payment was
 * declined, or abandoned without an answer: then nobody here knows whether it was charged. */
static void put_event(
    struct strbuf *text, const struct order *order, enum payment_outcome outcome, int64_t now_ms)
{
    char time[CLOCK_ISO_LEN];
    struct slice status = order_status_name(order->values.status);
    clock_format_iso(now_ms, time);
    strbuf_printf(text, "{\"type\":\"%.*s\",\"timestamp\":\"%.*s\",\"data\":{\"order_id\":",
        SLICE_ARGS(order_event_name(order->values.status)), CLOCK_ISO_LEN, time);
    strbuf_put_json(text, order->order_id);
    strbuf_printf(text, ",\"customer_id\":%lld,\"status\":\"%.*s\",\"amount\":%lld.%02lld,\"attempts\":%lld",
        (long long)order->customer_id, SLICE_ARGS(status), (long long)(order->amount_minor / 100),
        (long long)(order->amount_minor % 100), (long long)order->values.attempts);
    if (outcome != PAYMENT_PAID)
        strbuf_printf(text, ",\"reason\":\"%.*s\"", SLICE_ARGS(payment_outcome_name(outcome)));
    strbuf_lit(text, "}}");
}

static bool notify(struct world *world, struct order *order, enum payment_outcome outcome,
    enum channel channel, int64_t now_ms)
{
    char memory[WORK_BODY_LEN_MAX];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    put_event(&text, order, outcome, now_ms);
    ENSURE(!text.has_overflowed);
    bool is_email = channel == CHANNEL_EMAIL;
    const struct work *work = world_add_work(world, is_email ? WORK_EMAIL : WORK_WEBHOOK,
        is_email ? order->email : order->order_id, strbuf_slice(&text), now_ms, now_ms);
    return work != NULL && world_add_notification(world, work->id, order, channel, now_ms);
}

static enum payment_outcome outcome_of(enum work_report report)
{
    switch (report) {
    case REPORT_PAID:
        return PAYMENT_PAID;
    case REPORT_DECLINED:
        return PAYMENT_DECLINED;
    default:
        ENSURE(report == REPORT_ABANDONED);
        return PAYMENT_ABANDONED;
    }
}

bool order_end_payment(const struct rules *rules, struct world *world, const struct work *work,
    const struct work_order *report, int64_t now_ms)
{
    struct order *order = world_order_by_id(world, work->id);
    ENSURE(order != NULL && order->values.status == ORDER_PROCESSING);
    enum payment_outcome outcome = outcome_of(report->report);
    enum order_status status = outcome == PAYMENT_PAID ? ORDER_COMPLETED : ORDER_FAILED;
    return set_status(world, order, status, now_ms) &&
           world_add_payment(world, order, outcome, order->values.updated_ms) &&
           (!rules->notifies_by_webhook || notify(world, order, outcome, CHANNEL_WEBHOOK, now_ms)) &&
           (!rules->notifies_by_email || order->email.len == 0 ||
               notify(world, order, outcome, CHANNEL_EMAIL, now_ms));
}

bool order_end_notification(struct world *world, const struct work *work, int64_t now_ms)
{
    return world_end_notification(world, work->id, now_ms);
}
