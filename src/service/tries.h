/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often this node has tried to pay an order in vain, and how many of these calls count against the
 * allowed number. In memory only: after a restart an order is tried again as if for the first time, so it
 * never fails too early. What this node has not tried for a quarter of an hour is forgotten: another node has
 * finished it, or the provider is away and nothing is tried at all.
 *
 * Not thread-safe: the owner locks. Times are arguments.
 */
#ifndef DOORBUSTER_SERVICE_TRIES_H
#define DOORBUSTER_SERVICE_TRIES_H

#include "base/list.h"
#include "base/map.h"

struct tries {
    struct map by_id;
    struct list by_time; /* the one tried longest ago first */
};

struct try_count {
    int64_t id;
    int64_t in_vain; /* calls */
    int64_t counted; /* of these, those that count */
    int64_t tried_ns;
    struct list node;
};

void tries_init(struct tries *tries);
void tries_fini(struct tries *tries);

/* One more in vain. The numbers; of this one alone when there is no memory. */
struct try_count tries_add(struct tries *tries, int64_t id, bool is_counted, int64_t now_ns);

/* It is paid, or given up. */
void tries_forget(struct tries *tries, int64_t id);

/*
 * When to try again: 500 ms, 1 s, 2 s ... 60 s after so many calls in vain, and up to half as much again, by
 * `random` (any number); not before the provider wants it, which counts up to five minutes.
 */
int64_t tries_delay_ms(int64_t in_vain, int64_t retry_after_s, uint32_t random);

#endif
