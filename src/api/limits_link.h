/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks Redis, on behalf of one net thread, whether an attempt is the user's first within the interval on any
 * node. Every attempt comes with what the limiter of this node says of it (api/limits.h), which counts when
 * Redis cannot be asked or does not answer in time: so nobody waits longer than LIMITS_WAIT_MS, nobody is
 * refused because Redis is gone, and who was limited by this node stays limited.
 *
 * All functions are called on the thread of the loop; nothing blocks.
 */
#ifndef DOORBUSTER_API_LIMITS_LINK_H
#define DOORBUSTER_API_LIMITS_LINK_H

#include "api/shared_limits.h"
#include "base/list.h"

enum {
    LIMITS_WAIT_MS = 50,
    /* Redis takes some 5 us for each, so of more than this the last could not be answered in time anyway. */
    LIMITS_WAITING_MAX = 4096,
    LIMITS_KEY_LEN = 50, /* "doorbuster:limits:" and 32 hex digits */
};

struct limits_link;

/* An attempt that waits for its answer; the asker's memory until on_decided, which is called exactly once,
 * and never from within limits_link_ask. */
struct limits_attempt {
    bool is_allowed; /* in: what this node says; out: what counts */
    void (*on_decided)(struct limits_attempt *attempt);
    /* The link's. */
    struct limits_link *link;
    struct redis_call call;
    struct list node;
    int64_t asked_ns;
    bool is_overdue; /* the loop has been given one more turn to read the answer */
    char key[LIMITS_KEY_LEN];
};

/*
 * Connects when the loop runs. on_turn_end: attempts have been decided outside the turns of the HTTP server.
 * `shared` must outlive it. NULL when memory is out.
 */
struct limits_link *limits_link_create(
    struct shared_limits *shared, uv_loop_t *loop, void (*on_turn_end)(void *context), void *context);

/* Decides what waits and closes for good; the loop must then be run until it has no handles. */
void limits_link_close(struct limits_link *link);
void limits_link_destroy(struct limits_link *link);

/* False: there is nobody to ask, and what this node says counts; `attempt` is forgotten. */
MUST_CHECK bool limits_link_ask(struct limits_link *link, struct slice user, struct limits_attempt *attempt);

#endif
