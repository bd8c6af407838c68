/* SPDX-License-Identifier: Apache-2.0 */
#include "core/work_queue.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "core/world_work.h"

enum { QUEUE_SIZE_FIRST = 16 };

void work_queue_fini(struct work_queue *queue)
{
    free(queue->entries);
    *queue = (struct work_queue){0};
}

bool work_queue_make_room(struct work_queue *queue)
{
    if (queue->count < queue->size)
        return true;
    size_t size = queue->size == 0 ? QUEUE_SIZE_FIRST : queue->size * 2;
    struct work **entries = realloc(queue->entries, size * sizeof(struct work *));
    if (entries == NULL)
        return false;
    queue->entries = entries;
    queue->size = size;
    return true;
}

static bool is_before(const struct work *a, const struct work *b)
{
    return a->values.due_ms < b->values.due_ms || (a->values.due_ms == b->values.due_ms && a->id < b->id);
}

static void put_at(struct work_queue *queue, size_t at, struct work *work)
{
    queue->entries[at] = work;
    work->queue_index = at;
}

/* Where `work` belongs when it may come earlier than those above `at`, which move down. */
static size_t rise(struct work_queue *queue, size_t at, const struct work *work)
{
    while (at > 0 && is_before(work, queue->entries[(at - 1) / 2])) {
        put_at(queue, at, queue->entries[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    return at;
}

/* The same when it may come later than those below, which move up. */
static size_t sink(struct work_queue *queue, size_t at, const struct work *work)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < queue->count && is_before(queue->entries[child + 1], queue->entries[child]))
            child++;
        if (child >= queue->count || !is_before(queue->entries[child], work))
            return at;
        put_at(queue, at, queue->entries[child]);
        at = child;
    }
}

static void settle(struct work_queue *queue, size_t at, struct work *work)
{
    put_at(queue, sink(queue, rise(queue, at, work), work), work);
}

void work_queue_put(struct work_queue *queue, struct work *work)
{
    ENSURE(queue->count < queue->size);
    settle(queue, queue->count++, work);
}

void work_queue_take_out(struct work_queue *queue, struct work *work)
{
    size_t at = work->queue_index;
    ENSURE(at < queue->count && queue->entries[at] == work);
    struct work *last = queue->entries[--queue->count];
    if (last != work)
        settle(queue, at, last);
}

void work_queue_move(struct work_queue *queue, struct work *work)
{
    ENSURE(work->queue_index < queue->count && queue->entries[work->queue_index] == work);
    settle(queue, work->queue_index, work);
}

struct work *work_queue_first(const struct work_queue *queue)
{
    return queue->count == 0 ? NULL : queue->entries[0];
}
