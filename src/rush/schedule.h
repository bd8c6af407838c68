/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is due when: a binary heap of times with a pointer each, of a size fixed at the start. One thread.
 */
#ifndef DOORBUSTER_RUSH_SCHEDULE_H
#define DOORBUSTER_RUSH_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct schedule_item {
    int64_t due_ns;
    uint64_t order; /* items due at the same time come out as they went in */
    void *what;
};

struct schedule {
    struct schedule_item *items;
    size_t count;
    size_t size;
    uint64_t next_order;
};

/* Room for `size` items. False when memory is out. */
bool schedule_init(struct schedule *schedule, size_t size);
void schedule_fini(struct schedule *schedule);

/* There must be room. */
void schedule_add(struct schedule *schedule, int64_t due_ns, void *what);

/* When the next item is due; INT64_MAX when there is none. */
int64_t schedule_next_ns(const struct schedule *schedule);

/* Takes the next item that is due by now_ns; NULL when there is none. *due_ns becomes when it was due. */
void *schedule_take(struct schedule *schedule, int64_t now_ns, int64_t *due_ns);

void schedule_clear(struct schedule *schedule);

#endif
