/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work in the order in which it is due, then by id: a binary heap. Timers lie far in the future and leases a
 * moment ahead, so a sorted list would be walked from end to end with every claim; here each step costs
 * log2(count) moves, 20 for a million. Taking out and moving need no memory. One thread.
 */
#ifndef DOORBUSTER_CORE_WORK_QUEUE_H
#define DOORBUSTER_CORE_WORK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct work;

struct work_queue {
    struct work **entries; /* entries[i] is not after entries[2 * i + 1] and entries[2 * i + 2] */
    size_t count;
    size_t size;
};

/* Starts empty and without memory: {0}. Gives the table back, not the work. */
void work_queue_fini(struct work_queue *queue);

/* Room for one more; false when memory is out. It stays until it is used. */
bool work_queue_make_room(struct work_queue *queue);

/* There must be room: each one taken out has left some. */
void work_queue_put(struct work_queue *queue, struct work *work);

/* It must be in. */
void work_queue_take_out(struct work_queue *queue, struct work *work);

/* Its due time has changed. */
void work_queue_move(struct work_queue *queue, struct work *work);

/* The one that is due first, or NULL. */
struct work *work_queue_first(const struct work_queue *queue);

#endif
