/* SPDX-License-Identifier: Apache-2.0 */
#include "api/limits.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/map.h"
#include "core/limiter.h"

enum {
    STRIPE_COUNT = 64,
    ROWS_PER_STRIPE =
        1024, /* 64 * 1,024 * 8 = half a million users an interval in 8 MiB, touched as needed */
};

struct stripe {
    pthread_mutex_t lock;
    struct limiter limiter;
};

struct limits {
    int64_t interval_ms;
    struct map_key hash_key;
    struct stripe stripes[STRIPE_COUNT];
};

struct limits *limits_create(int64_t interval_ms)
{
    struct limits *limits = calloc(1, sizeof *limits);
    if (limits == NULL)
        return NULL;
    limits->interval_ms = interval_ms;
    randombytes_buf(&limits->hash_key, sizeof limits->hash_key);
    for (int i = 0; i < STRIPE_COUNT; i++) {
        if (!limiter_init(&limits->stripes[i].limiter, ROWS_PER_STRIPE, interval_ms)) {
            while (i-- > 0)
                limiter_fini(&limits->stripes[i].limiter);
            free(limits);
            return NULL;
        }
        pthread_mutex_init(&limits->stripes[i].lock, NULL);
    }
    return limits;
}

void limits_destroy(struct limits *limits)
{
    for (int i = 0; i < STRIPE_COUNT; i++) {
        limiter_fini(&limits->stripes[i].limiter);
        pthread_mutex_destroy(&limits->stripes[i].lock);
    }
    free(limits);
}

bool limits_attempt(struct limits *limits, struct slice user, int64_t now_ms)
{
    if (limits->interval_ms == 0)
        return true;
    uint64_t hash = map_hash(&limits->hash_key, user);
    /* The limiter picks its row by the low bits, the stripe is picked by the high ones. */
    struct stripe *stripe = &limits->stripes[hash >> 58];
    pthread_mutex_lock(&stripe->lock);
    bool is_allowed = limiter_attempt(&stripe->limiter, hash, now_ms);
    pthread_mutex_unlock(&stripe->lock);
    return is_allowed;
}

int64_t limits_interval_ms(const struct limits *limits)
{
    return limits->interval_ms;
}
