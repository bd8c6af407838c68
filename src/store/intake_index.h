/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which trading orders an account has, without an index in the database: that would write a page for each
 * account that places an order, where the orders of all accounts together fill one. For each account its
 * latest order is known, and for each order the one that its account placed before; 8 bytes an order, since
 * ids have no gaps. It only proposes ids; the row decides.
 *
 * One thread changes (the engine's); any thread walks. The order for a batch: intake_index_reserve for every
 * order to come, then the commit, then intake_index_add for each, which cannot fail. What was reserved for a
 * batch that comes to nothing is used by a later one.
 */
#ifndef DOORBUSTER_STORE_INTAKE_INDEX_H
#define DOORBUSTER_STORE_INTAKE_INDEX_H

#include <pthread.h>

#include "base/map.h"

struct intake_index {
    pthread_rwlock_t lock; /* guards all below against those who walk */
    struct map accounts;   /* struct intake_account */
    int64_t **chunks;      /* the order before each, by id; see intake_index.c */
    size_t chunk_count;
};

/* Which orders a walk passes. */
enum intake_pick { INTAKE_PICK_ALL, INTAKE_PICK_NOT_CANCELLED, INTAKE_PICK_CANCELLED };

struct intake_walk {
    int64_t account_id;
    enum intake_pick pick;
    int64_t id_above; /* only ids above it */
    int64_t id_below; /* only ids below it; moves down with each id that was found */
    int64_t own_id;   /* an order of this account at or above id_below, to begin behind; 0: none is known */
};

void intake_index_init(struct intake_index *index);
void intake_index_fini(struct intake_index *index);

/* Promises room for an order of an account; false when memory is out. The id is above 0. */
bool intake_index_reserve(struct intake_index *index, int64_t id, int64_t account_id);

/* An order that was reserved; its id is above all of its account that were added before. */
void intake_index_add(struct intake_index *index, int64_t id, int64_t account_id);

/* An order that was added. */
void intake_index_cancel(struct intake_index *index, int64_t id);

/* The next ids of the walk, newest first, at most `count_max`; fewer at its end. Any thread. */
size_t intake_index_walk(
    struct intake_index *index, struct intake_walk *walk, int64_t *ids, size_t count_max);

#endif
