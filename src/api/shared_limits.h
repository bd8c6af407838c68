/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limiter that several nodes share through Redis, as the whole server sees it: where Redis is, whether
 * the net threads' links to it (api/limits_link.h) work, and what they have counted. What changes for the
 * operator is logged once, not once a thread. Any thread, unless it says otherwise.
 */
#ifndef DOORBUSTER_API_SHARED_LIMITS_H
#define DOORBUSTER_API_SHARED_LIMITS_H

#include "api/redis_link.h"

struct shared_limits;

/* interval_ms is the same on all nodes; with 0, no limit, nobody is asked. ERR_USAGE when `url` is none
 * (api/redis_url.h), ERR_MEMORY. */
MUST_CHECK enum err shared_limits_create(
    struct slice url, int64_t interval_ms, struct shared_limits **shared, struct error *error);

/* No link must be left. */
void shared_limits_destroy(struct shared_limits *shared);

const struct redis_address *shared_limits_address(const struct shared_limits *shared);
int64_t shared_limits_interval_ms(const struct shared_limits *shared);

struct shared_limits_status {
    bool is_shared;                /* on every net thread */
    char reason[REDIS_REASON_MAX]; /* why not, a sentence without a full stop */
    uint64_t shared_total;         /* attempts that Redis decided */
    uint64_t fallback_total;       /* attempts that it should have decided and this node decided by itself */
    uint64_t wait_ns_total;        /* of those that Redis decided */
};

void shared_limits_status(struct shared_limits *shared, struct shared_limits_status *status);

/* --- for the links --- */

/* Before the net threads run. */
void shared_limits_add_link(struct shared_limits *shared);

/* The link decides together with the other nodes from now on. */
void shared_limits_link_up(struct shared_limits *shared);

/* It does not, or still not. */
void shared_limits_link_down(struct shared_limits *shared, bool was_up, const char *reason);

void shared_limits_count_shared(struct shared_limits *shared, uint64_t wait_ns);
void shared_limits_count_fallback(struct shared_limits *shared);

/* Somebody's attempt has been decided, with Redis or without. */
bool shared_limits_has_decided(const struct shared_limits *shared);

#endif
