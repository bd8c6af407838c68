/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A circuit breaker: keeps calls away from a provider that fails, so that nobody waits for what will not come
 * and the provider can get up again (orders contract, "Behind it").
 *
 *     closed     all calls pass. When enough of the last calls have failed, or were slow:
 *     open       no call passes, for a while; then
 *     half-open  a few probes pass. When all of them have succeeded it closes; when one fails it opens again.
 *
 * A state machine and nothing else: times are arguments (ns of one clock that does not run backwards), so a
 * test needs no clock. Not thread-safe: the owner locks.
 *
 * A ticket ties the end of a call to its beginning. Each change of state begins a new round, and only calls
 * of the present round count: what began before it opened and ends later can neither close nor open it.
 */
#ifndef DOORBUSTER_SERVICE_BREAKER_H
#define DOORBUSTER_SERVICE_BREAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum { BREAKER_WINDOW_MAX = 256 };

enum breaker_state {
    BREAKER_CLOSED,
    BREAKER_OPEN,
    BREAKER_HALF_OPEN,
};

struct breaker_config {
    size_t window;           /* calls looked back at, 1 to BREAKER_WINDOW_MAX */
    size_t calls_min;        /* before so many were seen it stays closed, 1 to window */
    unsigned failed_percent; /* of the calls seen that open it, 1 to 100 */
    int64_t slow_ns;         /* a call that took longer counts as failed; 0: none does */
    int64_t open_ns;         /* from opening to half-open, at least 1 */
    size_t probe_count;      /* at least 1: so many at a time while half-open, and so many must succeed */
};

/* Half of the last 20 calls, at least 10 seen, none slow, 5 s, 3 probes. */
extern const struct breaker_config breaker_defaults;

struct breaker {
    struct breaker_config config;
    enum breaker_state state;
    uint64_t round; /* changes of state so far */
    bool has_failed[BREAKER_WINDOW_MAX];
    size_t next; /* the place of has_failed that the next call takes */
    size_t seen;
    size_t failed; /* of those seen */
    int64_t retry_ns;
    size_t probes_begun; /* this round; those without a verdict are given back */
    size_t probes_succeeded;
    uint64_t opened_total;
};

/* What breaker_ended and breaker_dropped want to have back. */
typedef uint64_t breaker_ticket;

/* Closed. The configuration is copied; one out of range is a bug. */
void breaker_init(struct breaker *breaker, const struct breaker_config *config);

/* How many calls may begin now: SIZE_MAX when closed, none when open, the probes left when half-open. */
size_t breaker_may_call(struct breaker *breaker, int64_t now_ns);

/* A call begins. One that begins although none may counts for nothing. */
breaker_ticket breaker_began(struct breaker *breaker, int64_t now_ns);

/*
 * The call has ended; once per ticket, or breaker_dropped. A success is any answer that shows the provider at
 * work, a declined payment too; time-outs, refused connections and 5xx are none.
 */
void breaker_ended(
    struct breaker *breaker, breaker_ticket ticket, int64_t now_ns, bool was_success, int64_t duration_ns);

/* The call was given up here and tells nothing about the provider: a probe may begin in its place. */
void breaker_dropped(struct breaker *breaker, breaker_ticket ticket);

/* As it is at that time: an open one is half-open from its time on, even when nobody has called since. */
enum breaker_state breaker_state(const struct breaker *breaker, int64_t now_ns);

/* When calls may begin again: the end of its time when open; 0 when they may already, or probes are under
 * way. */
int64_t breaker_retry_at_ns(const struct breaker *breaker, int64_t now_ns);

/* How often it has opened. */
uint64_t breaker_opened_total(const struct breaker *breaker);

/* "closed", "open" or "half-open": for people, answers and metrics. */
struct slice breaker_state_name(enum breaker_state state);

#endif
