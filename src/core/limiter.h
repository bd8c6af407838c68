/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt per user and interval: a sliding window that records refused attempts too, so who hammers stays
 * out until the interval has passed in silence (flash-sale contract, section 5). With a limit of one the
 * whole window is the time of the last attempt.
 *
 * Users are known by a 64-bit keyed hash. The table never grows: 8 places a row, and a full row forgets its
 * oldest attempt, which can only let somebody through early, never lock somebody out. One thread at a time,
 * or under the caller's lock.
 */
#ifndef DOORBUSTER_CORE_LIMITER_H
#define DOORBUSTER_CORE_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LIMITER_PLACES = 8 };

struct limiter_place {
    uint64_t user_hash;
    int64_t attempted_ms; /* 0: free */
};

struct limiter_row {
    struct limiter_place places[LIMITER_PLACES];
};

struct limiter {
    struct limiter_row *rows;
    size_t row_count; /* a power of two */
    int64_t interval_ms;
};

/* Room for row_count * 8 users an interval, 128 bytes a row, which the system gives as they are first used;
 * row_count is a power of two. False: no memory. */
bool limiter_init(struct limiter *limiter, size_t row_count, int64_t interval_ms);
void limiter_fini(struct limiter *limiter);

/* Records the attempt; true when the user made none within the interval before. Times are above 0 and do not
 * run backwards. */
bool limiter_attempt(struct limiter *limiter, uint64_t user_hash, int64_t now_ms);

#endif
