/* SPDX-License-Identifier: Apache-2.0 */
#include "core/intake.h"

#include "base/ensure.h"
#include "core/world_priv.h"

static const struct slice side_names[] = {SLICE_INIT("BUY"), SLICE_INIT("SELL")};
static const struct slice type_names[] = {SLICE_INIT("MARKET"), SLICE_INIT("LIMIT"), SLICE_INIT("STOP"),
    SLICE_INIT("TRAILING_STOP"), SLICE_INIT("ICEBERG")};

struct slice intake_side_name(enum intake_side side)
{
    return side_names[side];
}

struct slice intake_type_name(enum intake_type type)
{
    return type_names[type];
}

bool intake_side_from_name(struct slice name, enum intake_side *side)
{
    for (int i = SIDE_BUY; i <= SIDE_SELL; i++) {
        if (slice_eq(name, side_names[i])) {
            *side = (enum intake_side)i;
            return true;
        }
    }
    return false;
}

bool intake_type_from_name(struct slice name, enum intake_type *type)
{
    for (int i = TYPE_MARKET; i <= TYPE_ICEBERG; i++) {
        if (slice_eq(name, type_names[i])) {
            *type = (enum intake_type)i;
            return true;
        }
    }
    return false;
}

/* --- the world's side --- */

/* Keeps the values as they are before the first change of the batch; there must be room for a change. */
static void touch(struct world *world)
{
    ENSURE(!world->is_shared || world->intake_held_batch == world->batch);
    if (world->intake_touched_batch == world->batch)
        return;
    world->intake_touched_batch = world->batch;
    world_changes_append(world, CHANGE_INTAKE_UPDATED, NULL)->intake.before = world->intake;
}

void world_undo_intake(struct world *world, const struct change *change)
{
    if (change->kind != CHANGE_INTAKE_UPDATED)
        return; /* rows without an entity */
    world->intake = change->intake.before;
    world->intake_touched_batch = 0;
}

void world_hold_intake(struct world *world, const struct intake_values *values)
{
    ENSURE(world->is_shared && world->change_count == 0);
    world->intake = *values;
    world->intake_held_batch = world->batch;
}

/* --- the rules --- */

bool intake_place(struct world *world, struct command *command, int64_t now_ms)
{
    if (!world_changes_make_room(world, 2))
        return false;
    touch(world);
    struct change *change = world_changes_append(world, CHANGE_INTAKE_ADDED, NULL);
    change->intake.request = command->intake;
    change->intake.id = world->intake.next_id++;
    change->intake.time_ms = now_ms;
    command->outcome = (struct outcome){.result = RESULT_OK, .number = change->intake.id, .time_ms = now_ms};
    return true;
}

/* The caller has seen the order and whose it is; only whether it is too late is decided here. */
bool intake_cancel(struct world *world, struct command *command, int64_t now_ms)
{
    int64_t id = command->intake->id;
    if (id < 1 || id >= world->intake.next_id) {
        command->outcome.result = RESULT_INTAKE_NOT_FOUND;
        return true;
    }
    if (id <= world->intake.sent_id) {
        command->outcome.result = RESULT_INTAKE_SENT;
        return true;
    }
    if (!world_changes_make_room(world, 1))
        return false;
    struct change *change = world_changes_append(world, CHANGE_INTAKE_CANCELLED, NULL);
    change->intake.id = id;
    change->intake.time_ms = now_ms;
    command->outcome = (struct outcome){.result = RESULT_OK, .number = id, .time_ms = now_ms};
    return true;
}

bool intake_send(struct world *world, struct command *command)
{
    struct intake_request *request = command->intake;
    ENSURE(request->count_max > 0);
    command->outcome.result = RESULT_OK;
    if (world->intake.sent_id == world->intake.executed_id) {
        int64_t waiting = world->intake.next_id - 1 - world->intake.sent_id;
        int64_t count = waiting < request->count_max ? waiting : request->count_max;
        if (count > 0 && !world_changes_make_room(world, 1))
            return false;
        if (count > 0)
            touch(world);
        world->intake.sent_id += count;
    }
    request->first_id = world->intake.executed_id + 1;
    request->last_id = world->intake.sent_id;
    return true;
}

bool intake_executed(struct world *world, struct command *command, int64_t now_ms)
{
    int64_t last_id = command->intake->id;
    if (last_id != world->intake.sent_id || last_id <= world->intake.executed_id) {
        command->outcome.result = RESULT_WORK_NOT_YOURS;
        return true;
    }
    if (!world_changes_make_room(world, 2))
        return false;
    touch(world);
    struct change *change = world_changes_append(world, CHANGE_INTAKE_EXECUTED, NULL);
    change->intake.first_id = world->intake.executed_id + 1;
    change->intake.last_id = last_id;
    change->intake.time_ms = now_ms;
    world->intake.executed_id = last_id;
    command->outcome.result = RESULT_OK;
    return true;
}
