/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scenarios of orders with slow payment share (orders contract): the requests of customers, how
 * their answers are read, and what the server tells of itself in GET /stats.
 */
#ifndef DOORBUSTER_RUSH_ORDERS_H
#define DOORBUSTER_RUSH_ORDERS_H

#include "rush/scenario.h"

enum order_outcome {
    ORDER_COMPLETED = OUTCOME_COMMON_COUNT,
    ORDER_ACCEPTED,
    ORDER_DECLINED,
    ORDER_REFUSED,
    ORDER_LATE,
    ORDER_REFUSED_ODD,
    ORDER_NONSENSE,
    ORDER_OTHER_STATUS,
    ORDER_SERVER_ERROR,
    ORDER_OUTCOME_END
};

extern const struct outcome order_outcomes[];
extern const char *const order_endpoints[];

#define ORDER_TIMEOUTS (OUTCOME_BIT(OUTCOME_TIMEOUT) | OUTCOME_BIT(ORDER_LATE))
#define ORDER_EXPECTED                                                                          \
    (OUTCOME_BIT(ORDER_COMPLETED) | OUTCOME_BIT(ORDER_ACCEPTED) | OUTCOME_BIT(ORDER_DECLINED) | \
        OUTCOME_BIT(ORDER_REFUSED))

enum order_route { ORDER_SYNC, ORDER_ASYNC };

/* So many customers, so many new ones a second. */
struct order_crowd {
    enum order_route route;
    int64_t users;
    double users_per_s;
    int64_t seconds;
};

/* To be called by prepare: makes rush->state and the crowd; options win over `usual`. */
MUST_CHECK enum err orders_prepare(struct rush *rush, struct order_crowd usual, struct error *error);
void orders_release(struct rush *rush);

/* Reads one answer. *judgement comes zeroed; `order` is the number that the request gave. */
void orders_judge(
    enum order_route route, struct slice order, const struct reply *reply, struct judgement *judgement);

/* Seconds of a Retry-After; false when it is none (RFC 9110 section 10.2.3; the form of a date is none here).
 */
bool orders_read_retry_after(struct slice value, int64_t *seconds);

/* What GET /stats says. */
struct order_stats {
    int64_t total;
    int64_t pending;
    int64_t processing;
    int64_t completed;
    int64_t failed;
    int64_t cancelled; /* as told, or else what is in none of the other states */
};

/* False when it is not the answer of that route. */
bool orders_read_stats(int status, struct slice body, struct order_stats *stats);

/* ERR_REFUSED: the server answered something else; others as exchange_do. */
MUST_CHECK enum err orders_ask_stats(struct rush *rush, struct order_stats *stats, struct error *error);

/*
 * The same when the crowd is through. Behind a balancer another server may answer than those that took the
 * orders, and hears of their last ones a moment later: it is asked again, for a limited time, while it tells
 * fewer.
 */
MUST_CHECK enum err orders_ask_settled(
    struct rush *rush, const struct tally *crowd, struct order_stats *stats, struct error *error);

/* Adds the invariant that every acknowledged order is stored, once, and nothing that was refused: by the
 * difference to what was there before the run (orders_drain). */
void orders_check_stored(struct rush *rush, const struct tally *crowd, const struct order_stats *now);

/* Orders that are in a final state. */
static inline int64_t orders_finished(const struct order_stats *stats)
{
    return stats->completed + stats->failed + stats->cancelled;
}

static inline int64_t orders_waiting(const struct order_stats *stats)
{
    return stats->pending + stats->processing;
}

/* What became of the refused: how long they were told to wait, and how many came again before. */
struct order_patience {
    uint64_t refused_count;
    int64_t retry_after_sum_s;
    int64_t retry_after_max_s;
    uint64_t early_count;
};

struct order_patience orders_patience(const struct rush *rush);

/* What set_up and tear_down found; the scenario fills it. */
struct order_drain {
    struct order_stats before;  /* set_up */
    struct order_stats backlog; /* when the crowd was through */
    struct order_stats after;   /* when nothing waited any more, or time was up */
    double seconds;             /* from backlog to after */
    bool has_drained;
};

struct order_drain *orders_drain(const struct rush *rush);

#endif
