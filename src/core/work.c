/* SPDX-License-Identifier: Apache-2.0 */
#include "core/work.h"

#include "base/ensure.h"
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

static void copy_out(const struct work *work, struct work_item *item)
{
    item->id = work->id;
    item->kind = work->kind;
    item->token = work->values.token;
    item->due_ms = work->values.due_ms;
    item->created_ms = work->created_ms;
    item->subject_len = work->subject.len;
    item->body_len = work->body.len;
    memcpy(item->subject, work->subject.base, work->subject.len);
    memcpy(item->body, work->body.base, work->body.len);
}

/* Each claim moves the first of the queue behind what is due now, so this ends. */
bool work_claim(struct world *world, struct command *command, int64_t now_ms)
{
    struct work_order *order = command->work;
    ENSURE(order->count_max > 0 && order->lease_ms > 0);
    command->outcome.result = RESULT_OK;
    order->count = 0; /* a batch may be decided more than once */
    while (order->count < order->count_max) {
        struct work *work = world_next_work(world, order->kind);
        if (work == NULL || work->values.due_ms > now_ms)
            break;
        struct work_values values = {.due_ms = now_ms + order->lease_ms, .token = work->values.token + 1};
        if (!world_set_work(world, work, &values))
            return false;
        copy_out(work, &order->items[order->count++]);
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

bool work_finish(struct world *world, struct command *command)
{
    struct work *work = claimed(world, command);
    return work == NULL || world_remove_work(world, work);
}

bool work_postpone(struct world *world, struct command *command)
{
    struct work *work = claimed(world, command);
    if (work == NULL)
        return true;
    struct work_values values = {.due_ms = command->work->due_ms, .token = work->values.token};
    return world_set_work(world, work, &values);
}
