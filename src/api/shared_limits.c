/* SPDX-License-Identifier: Apache-2.0 */
#include "api/shared_limits.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"

/* What the log has said last. */
enum told { TOLD_NOTHING, TOLD_SHARED, TOLD_LOCAL };

struct shared_limits {
    struct redis_address address;
    int64_t interval_ms;
    atomic_uint_fast64_t shared_total;
    atomic_uint_fast64_t fallback_total;
    atomic_uint_fast64_t wait_ns_total;
    /* Under `lock`. */
    pthread_mutex_t lock;
    size_t link_count;
    size_t up_count;
    enum told told;
    char reason[REDIS_REASON_MAX];
};

enum err shared_limits_create(
    struct slice url, int64_t interval_ms, struct shared_limits **out, struct error *error)
{
    ENSURE(interval_ms >= 0);
    struct shared_limits *shared = calloc(1, sizeof *shared);
    if (shared == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the shared limiter");
    pthread_mutex_init(&shared->lock, NULL);
    shared->interval_ms = interval_ms;
    (void)snprintf(shared->reason, sizeof shared->reason, "Redis has not answered yet");
    enum err status = redis_url_parse(url, &shared->address, error);
    if (status == ERR_NONE)
        *out = shared;
    else
        shared_limits_destroy(shared);
    return status;
}

void shared_limits_destroy(struct shared_limits *shared)
{
    sodium_memzero(&shared->address, sizeof shared->address);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
}

const struct redis_address *shared_limits_address(const struct shared_limits *shared)
{
    return &shared->address;
}

int64_t shared_limits_interval_ms(const struct shared_limits *shared)
{
    return shared->interval_ms;
}

void shared_limits_status(struct shared_limits *shared, struct shared_limits_status *status)
{
    *status = (struct shared_limits_status){
        .shared_total = atomic_load_explicit(&shared->shared_total, memory_order_relaxed),
        .fallback_total = atomic_load_explicit(&shared->fallback_total, memory_order_relaxed),
        .wait_ns_total = atomic_load_explicit(&shared->wait_ns_total, memory_order_relaxed),
    };
    pthread_mutex_lock(&shared->lock);
    status->is_shared = shared->link_count > 0 && shared->up_count == shared->link_count;
    memcpy(status->reason, shared->reason, sizeof status->reason);
    pthread_mutex_unlock(&shared->lock);
}

void shared_limits_add_link(struct shared_limits *shared)
{
    pthread_mutex_lock(&shared->lock);
    shared->link_count++;
    pthread_mutex_unlock(&shared->lock);
}

void shared_limits_link_up(struct shared_limits *shared)
{
    pthread_mutex_lock(&shared->lock);
    shared->up_count++;
    bool is_news = shared->up_count == shared->link_count && shared->told != TOLD_SHARED;
    bool is_again = shared->told == TOLD_LOCAL;
    if (is_news)
        shared->told = TOLD_SHARED;
    pthread_mutex_unlock(&shared->lock);
    if (is_news)
        log_info("limits", "the limiter is%s shared with other nodes through Redis at %s:%d",
            is_again ? " again" : "", shared->address.host, shared->address.port);
}

/* Other people's words, for the log and for JSON: one line of ASCII. */
static void copy_plain(char out[REDIS_REASON_MAX], const char *text)
{
    size_t len = 0;
    for (; text[len] != '\0' && len < REDIS_REASON_MAX - 1; len++)
        out[len] = (char)(text[len] >= ' ' && text[len] <= '~' ? text[len] : ' ');
    out[len] = '\0';
}

void shared_limits_link_down(struct shared_limits *shared, bool was_up, const char *reason)
{
    char plain[REDIS_REASON_MAX];
    copy_plain(plain, reason);
    pthread_mutex_lock(&shared->lock);
    shared->up_count -= was_up;
    memcpy(shared->reason, plain, sizeof plain);
    bool is_news = shared->told != TOLD_LOCAL;
    shared->told = TOLD_LOCAL;
    pthread_mutex_unlock(&shared->lock);
    if (is_news)
        log_warn("limits",
            "the limiter is local to this node, because of Redis at %s:%d: %s; purchases go on, and Redis is "
            "tried again",
            shared->address.host, shared->address.port, plain);
}

void shared_limits_count_shared(struct shared_limits *shared, uint64_t wait_ns)
{
    atomic_fetch_add_explicit(&shared->shared_total, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&shared->wait_ns_total, wait_ns, memory_order_relaxed);
}

bool shared_limits_has_decided(const struct shared_limits *shared)
{
    return atomic_load_explicit(&shared->shared_total, memory_order_relaxed) > 0 ||
           atomic_load_explicit(&shared->fallback_total, memory_order_relaxed) > 0;
}

void shared_limits_count_fallback(struct shared_limits *shared)
{
    atomic_fetch_add_explicit(&shared->fallback_total, 1, memory_order_relaxed);
}
