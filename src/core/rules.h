/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules as the engine calls them: one command, one decision. Nothing here does I/O or reads a clock, so
 * the same commands with the same times give the same world. Engine thread.
 */
#ifndef DOORBUSTER_CORE_RULES_H
#define DOORBUSTER_CORE_RULES_H

#include "core/world.h"

struct rules {
    bool says_sold_out;           /* answer SOLD_OUT instead of SALE_NOT_ACTIVE after a sell-out */
    int64_t idempotency_ttl_ms;   /* how long an answer is kept for its Idempotency-Key */
    size_t idempotency_count_max; /* answers kept at a time, at least 1: beyond it the oldest are forgotten */
    bool notifies_by_webhook;     /* an order that is final is told to the shop's webhook */
    bool notifies_by_email;       /* and to its customer, when the order has an address */
    int64_t dispense_ms;          /* how long a machine processes a choice; 0: not at all */
    int64_t choose_timeout_ms;    /* how long a user may choose, above 0 */
    size_t line_max;              /* users who wait for a machine */
};

enum { RULES_KEYS_EXPIRED_PER_TICK_MAX = 1000, RULES_POOL_DUE_PER_TICK_MAX = 1000 };

/*
 * Decides the command against the world and writes command->outcome. A command with an Idempotency-Key that
 * was used before gets the stored outcome (is_replay), or KEY_MISMATCH when its fingerprint differs, or
 * KEY_IN_FLIGHT when the first use stands in this same batch and is not on disk yet; else its own outcome is
 * stored with the key. False when memory is out: the batch must be rolled back.
 */
bool rules_decide(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms);

/*
 * What time alone does: sales start and end, stored answers expire, machines become idle and tickets expire
 * (so many at a time, to stay quick). False when memory is out: the batch must be rolled back.
 */
bool rules_tick(const struct rules *rules, struct world *world, int64_t now_ms);

/* The earliest time at which rules_tick has something to do; INT64_MAX: never. */
int64_t rules_next_tick_ms(const struct rules *rules, const struct world *world);

#endif
