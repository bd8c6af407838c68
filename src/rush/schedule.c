/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/schedule.h"

#include <stdlib.h>

#include "base/ensure.h"

bool schedule_init(struct schedule *schedule, size_t size)
{
    *schedule = (struct schedule){.size = size};
    schedule->items = calloc(size > 0 ? size : 1, sizeof *schedule->items);
    return schedule->items != NULL;
}

void schedule_fini(struct schedule *schedule)
{
    free(schedule->items);
    *schedule = (struct schedule){0};
}

static bool is_before(const struct schedule_item *a, const struct schedule_item *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void swap(struct schedule_item *a, struct schedule_item *b)
{
    struct schedule_item kept = *a;
    *a = *b;
    *b = kept;
}

void schedule_add(struct schedule *schedule, int64_t due_ns, void *what)
{
    ENSURE(schedule->count < schedule->size);
    struct schedule_item *items = schedule->items;
    size_t at = schedule->count++;
    items[at] = (struct schedule_item){due_ns, schedule->next_order++, what};
    while (at > 0 && is_before(&items[at], &items[(at - 1) / 2])) {
        swap(&items[at], &items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

int64_t schedule_next_ns(const struct schedule *schedule)
{
    return schedule->count == 0 ? INT64_MAX : schedule->items[0].due_ns;
}

static void sift_down(struct schedule *schedule)
{
    struct schedule_item *items = schedule->items;
    size_t at = 0;
    for (;;) {
        size_t first = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < schedule->count; child++)
            if (is_before(&items[child], &items[first]))
                first = child;
        if (first == at)
            return;
        swap(&items[at], &items[first]);
        at = first;
    }
}

void *schedule_take(struct schedule *schedule, int64_t now_ns, int64_t *due_ns)
{
    if (schedule->count == 0 || schedule->items[0].due_ns > now_ns)
        return NULL;
    void *what = schedule->items[0].what;
    *due_ns = schedule->items[0].due_ns;
    schedule->items[0] = schedule->items[--schedule->count];
    sift_down(schedule);
    return what;
}

void schedule_clear(struct schedule *schedule)
{
    schedule->count = 0;
}
