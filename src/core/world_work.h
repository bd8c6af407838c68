/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work in the world (work.h tells what it is, world.h how the world changes). With the embedded store all
 * work is there; in a shared world only what the store has loaded and locked for the batch, and what the
 * batch has added. Engine thread.
 */
#ifndef DOORBUSTER_CORE_WORLD_WORK_H
#define DOORBUSTER_CORE_WORLD_WORK_H

#include "core/world.h"

struct work {
    int64_t id;
    enum work_kind kind;
    int64_t created_ms;
    struct slice subject; /* owned by the world */
    struct slice body;
    struct work_values values;
    size_t queue_place;     /* in world.work_queues[kind] */
    uint64_t touched_batch; /* world.batch in which a pre-image was last kept */
    uint64_t added_batch;   /* world.batch in which it was added, 0 when it was loaded */
    bool is_removed;        /* waits for the end of the batch */
};

/* --- what rules read --- */

/* Borrowed; NULL when there is none. */
struct work *world_work(const struct world *world, int64_t id);

/* The one of this kind that is due first, whether its time has come or not; NULL when there is none. */
struct work *world_next_work(const struct world *world, enum work_kind kind);

/* Can a tick add work? A shared store reserves ids before a load; commands are always given enough of them.
 */
bool world_has_work_ids(const struct world *world);

/* --- what rules change: false (NULL) when memory is out, see world.h --- */

/* Subject and body are copied; they are no longer than work.h allows. Its token is 0. */
struct work *world_add_work(struct world *world, enum work_kind kind, struct slice subject, struct slice body,
    int64_t due_ms, int64_t now_ms);

/* The payment of an order that the batch has added: its id is the order's. */
struct work *world_add_payment_work(
    struct world *world, const struct order *order, struct slice body, int64_t due_ms, int64_t now_ms);

bool world_set_work(struct world *world, struct work *work, const struct work_values *values);
bool world_remove_work(struct world *world, struct work *work);

/* --- loading: no change is recorded --- */

/* As the store has it; `values`, id, kind, created_ms, subject and body are taken. False when memory is out.
 * One that is there already stays as it is. */
bool world_load_work(struct world *world, const struct work *record);

#endif
