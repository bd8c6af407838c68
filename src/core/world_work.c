/* SPDX-License-Identifier: Apache-2.0 */
/* See world_work.h; the ways of world.c hold here too: all memory first, then the change. */
#include "core/world_work.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "core/world_priv.h"

static bool is_due_before(const void *left, const void *right)
{
    const struct work *a = left;
    const struct work *b = right;
    return a->values.due_ms < b->values.due_ms || (a->values.due_ms == b->values.due_ms && a->id < b->id);
}

static const struct heap_kind queue_kind = {is_due_before, offsetof(struct work, queue_place)};

void world_init_work(struct world *world)
{
    map_init(&world->work_by_id);
    for (int i = 0; i < WORK_KIND_COUNT; i++)
        heap_init(&world->work_queues[i], &queue_kind);
}

static struct heap *queue_of(struct world *world, const struct work *work)
{
    return &world->work_queues[work->kind];
}

static bool work_has_id(const void *value, const void *key)
{
    return ((const struct work *)value)->id == *(const int64_t *)key;
}

struct work *world_work(const struct world *world, int64_t id)
{
    return map_get(&world->work_by_id, map_hash_id(id), work_has_id, &id);
}

struct work *world_next_work(const struct world *world, enum work_kind kind)
{
    return heap_first(&world->work_queues[kind]);
}

bool world_has_work_ids(const struct world *world)
{
    return world->next_work_id < world->work_id_end;
}

/* One block: the record, then subject and body. */
static struct work *work_new(const struct work *record)
{
    struct slice subject = record->subject;
    struct slice body = record->body;
    ENSURE(subject.len <= WORK_SUBJECT_LEN_MAX && body.len <= WORK_BODY_LEN_MAX);
    struct work *work = malloc(sizeof *work + subject.len + body.len);
    if (work == NULL)
        return NULL;
    char *text = (char *)(work + 1);
    *work = *record;
    work->subject = slice_make(text, subject.len);
    work->body = slice_make(text + subject.len, body.len);
    /* An empty slice may have no base, which memcpy does not allow. */
    if (subject.len > 0)
        memcpy(text, subject.base, subject.len);
    if (body.len > 0)
        memcpy(text + subject.len, body.base, body.len);
    return work;
}

/* A copy of the record in the map and in its queue, or NULL. */
static struct work *work_put(struct world *world, const struct work *record)
{
    struct heap *queue = &world->work_queues[record->kind];
    if (!heap_reserve(queue, queue->count + 1))
        return NULL;
    struct work *work = work_new(record);
    if (work == NULL)
        return NULL;
    if (!map_put(&world->work_by_id, map_hash_id(work->id), work)) {
        free(work);
        return NULL;
    }
    heap_put(queue, work);
    return work;
}

static void work_take_out(struct world *world, struct work *work)
{
    bool was_in = map_remove(&world->work_by_id, map_hash_id(work->id), work);
    ENSURE(was_in);
    heap_take_out(queue_of(world, work), work);
}

/* --- changes --- */

static struct work *add_work(struct world *world, int64_t id, enum work_kind kind, struct slice subject,
    struct slice body, int64_t due_ms, int64_t now_ms)
{
    struct work record = {
        .id = id,
        .kind = kind,
        .created_ms = now_ms,
        .subject = subject,
        .body = body,
        .values = {.due_ms = due_ms},
        .touched_batch = world->batch,
        .added_batch = world->batch,
    };
    struct work *work = world_changes_make_room(world, 1) ? work_put(world, &record) : NULL;
    if (work != NULL)
        world_changes_append(world, CHANGE_WORK_ADDED, NULL)->work.work = work;
    return work;
}

struct work *world_add_work(struct world *world, enum work_kind kind, struct slice subject, struct slice body,
    int64_t due_ms, int64_t now_ms)
{
    ENSURE(world_has_work_ids(world));
    struct work *work = add_work(world, world->next_work_id, kind, subject, body, due_ms, now_ms);
    if (work != NULL)
        world->next_work_id++;
    return work;
}

struct work *world_add_payment_work(
    struct world *world, const struct order *order, struct slice body, int64_t due_ms, int64_t now_ms)
{
    return add_work(world, order->id, WORK_PAYMENT, order->order_id, body, due_ms, now_ms);
}

/* One pre-image a batch is enough: the store writes the values as they are at its end. */
bool world_set_work(struct world *world, struct work *work, const struct work_values *values)
{
    if (work->touched_batch != world->batch) {
        if (!world_changes_make_room(world, 1))
            return false;
        struct change *change = world_changes_append(world, CHANGE_WORK_UPDATED, NULL);
        change->work.work = work;
        change->work.before = work->values;
        work->touched_batch = world->batch;
    }
    work->values = *values;
    heap_move(queue_of(world, work), work);
    return true;
}

bool world_remove_work(struct world *world, struct work *work)
{
    if (!world_changes_make_room(world, 1))
        return false;
    work_take_out(world, work);
    work->is_removed = true;
    world_changes_append(world, CHANGE_WORK_REMOVED, NULL)->work.work = work;
    return true;
}

/* --- the end of a batch --- */

void world_accept_work(const struct change *change)
{
    if (change->kind == CHANGE_WORK_REMOVED)
        free(change->work.work);
}

void world_undo_work(struct world *world, const struct change *change)
{
    struct work *work = change->work.work;
    if (change->kind == CHANGE_WORK_ADDED) {
        work_take_out(world, work);
        free(work);
    } else if (change->kind == CHANGE_WORK_UPDATED) {
        work->values = change->work.before;
        work->touched_batch = 0;
        heap_move(queue_of(world, work), work);
    } else {
        /* Map and queue had it before and have not shrunk, so there is room. */
        bool is_put = map_put(&world->work_by_id, map_hash_id(work->id), work);
        ENSURE(is_put);
        heap_put(queue_of(world, work), work);
        work->is_removed = false;
    }
}

/* --- loading --- */

bool world_load_work(struct world *world, const struct work *record)
{
    struct work copy = {
        .id = record->id,
        .kind = record->kind,
        .created_ms = record->created_ms,
        .subject = record->subject,
        .body = record->body,
        .values = record->values,
    };
    return world_work(world, record->id) != NULL || work_put(world, &copy) != NULL;
}

void world_drop_work(struct world *world)
{
    size_t cursor = 0;
    void *work;
    while ((work = map_next(&world->work_by_id, &cursor)) != NULL)
        free(work);
    map_fini(&world->work_by_id);
    map_init(&world->work_by_id);
    for (int i = 0; i < WORK_KIND_COUNT; i++)
        heap_clear(&world->work_queues[i]);
}
