/* SPDX-License-Identifier: Apache-2.0 */
#include "core/work.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "core/order.h"
#include "core/world_work.h"

static const struct slice kind_names[WORK_KIND_COUNT] = {
#define WORK_KIND(name, text) [WORK_##name] = SLICE_INIT(text),
#include "core/work_kind.def"
#undef WORK_KIND
};

struct slice work_kind_name(enum work_kind kind)
{
    return kind_names[kind];
}

bool work_kind_from_name(struct slice name, enum work_kind *kind)
{
    for (int i = 0; i < WORK_KIND_COUNT; i++) {
        if (slice_eq(name, kind_names[i])) {
            *kind = (enum work_kind)i;
            return true;
        }
    }
    return false;
}

void work_item_fini(struct work_item *item)
{
    free(item->text);
    *item = (struct work_item){0};
}

static bool copy_out(const struct work *work, struct work_item *item)
{
    char *text = malloc(work->subject.len + work->body.len + 1);
    if (text == NULL)
        return false;
    memcpy(text, work->subject.base, work->subject.len);
    memcpy(text + work->subject.len, work->body.base, work->body.len);
    *item = (struct work_item){
        .id = work->id,
        .kind = work->kind,
        .token = work->values.token,
        .due_ms = work->values.due_ms,
        .created_ms = work->created_ms,
        .subject = slice_make(text, work->subject.len),
        .body = slice_make(text + work->subject.len, work->body.len),
        .text = text,
    };
    return true;
}

/* A batch may be decided more than once. */
static void forget_items(struct work_order *order)
{
    for (size_t i = 0; i < order->count; i++)
        work_item_fini(&order->items[i]);
    order->count = 0;
}

/* *is_begun: it is the caller's now. */
static bool begin(
    struct world *world, struct work_order *order, struct work *work, int64_t now_ms, bool *is_begun)
{
    *is_begun = true;
    if (work->kind == WORK_PAYMENT && !order_begin_payment(world, work, order->payment_ms, now_ms, is_begun))
        return false;
    if (!*is_begun)
        return true;
    struct work_values values = {.due_ms = now_ms + order->lease_ms, .token = work->values.token + 1};
    return world_set_work(world, work, &values);
}

/* Each claim moves the first of the queue behind what is due now, or out, so this ends. */
bool work_claim(struct world *world, struct command *command, int64_t now_ms)
{
    struct work_order *order = command->work;
    ENSURE(order->count_max > 0 && order->lease_ms > 0);
    command->outcome.result = RESULT_OK;
    forget_items(order);
    order->dropped_count = 0;
    while (order->count < order->count_max) {
        bool is_begun;
        struct work *work = world_next_work(world, order->kind);
        if (work == NULL || work->values.due_ms > now_ms)
            break;
        if (!begin(world, order, work, now_ms, &is_begun))
            return false;
        if (is_begun && !copy_out(work, &order->items[order->count]))
            return false;
        order->count += is_begun;
        order->dropped_count += !is_begun;
    }
    return true;
}

/* The work that the command names, if it is the caller's; else NULL, and the answer says so. */
static struct work *claimed(const struct world *world, struct command *command)
{
    struct work *work = world_work(world, command->work->id);
    bool is_theirs = work != NULL && work->values.token == command->work->token;
    command->outcome.result = is_theirs ? RESULT_OK : RESULT_WORK_NOT_YOURS;
    return is_theirs ? work : NULL;
}

bool work_finish(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms)
{
    struct work *work = claimed(world, command);
    bool is_decided = true;
    if (work == NULL)
        return true;
    if (work->kind == WORK_PAYMENT)
        is_decided = order_end_payment(rules, world, work, command->work, now_ms);
    else if (work->kind == WORK_WEBHOOK || work->kind == WORK_EMAIL)
        is_decided = order_end_notification(world, work, now_ms);
    return is_decided && world_remove_work(world, work);
}

bool work_postpone(struct world *world, struct command *command, int64_t now_ms)
{
    const struct work_order *order = command->work;
    struct work *work = claimed(world, command);
    if (work == NULL)
        return true;
    struct work_values values = {.due_ms = order->due_ms, .token = work->values.token};
    if (order->report == REPORT_DEAD)
        values.due_ms = WORK_DEAD_MS;
    bool is_given_back = order->report == REPORT_NOT_BEGUN && work->kind == WORK_PAYMENT;
    if (is_given_back && !order_give_back_payment(world, work, now_ms, &values.due_ms))
        return false;
    values.token += is_given_back; /* who has given it back has no say in it any more */
    return world_set_work(world, work, &values);
}

bool work_revive(struct world *world, struct command *command, int64_t now_ms)
{
    struct work *work = world_work(world, command->work->id);
    bool is_dead = work != NULL && work->values.due_ms == WORK_DEAD_MS;
    command->outcome.result = is_dead ? RESULT_OK : RESULT_WORK_NOT_DEAD;
    if (!is_dead)
        return true;
    struct work_values values = {.due_ms = now_ms, .token = work->values.token};
    return world_set_work(world, work, &values);
}
