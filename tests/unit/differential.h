/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the differential test share: one run, with an embedded store and two nodes on PostgreSQL,
 * and the two lots of commands that they are given, which differ by the ids that each store has told.
 */
#ifndef DOORBUSTER_TESTS_UNIT_DIFFERENTIAL_H
#define DOORBUSTER_TESTS_UNIT_DIFFERENTIAL_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/rules.h"
#include "postgres_fixture.h"
#include "random_command.h"
#include "random_order.h"
#include "random_pool.h"
#include "random_wallet.h"
#include "store_support.h"

enum {
    BATCH_MAX = 60,
    NODES = 2,
    SKUS_MAX = 6,
    USERS_MAX = 12,
    KEYS = 5,
    WORK_PERCENT = 13,
    ORDER_PERCENT = 15,
    POOL_PERCENT = 25,
    WALLET_PERCENT = 22,
    WAITING_MAX = 12,
    UNITS_MAX = 6, /* more than a command of the crowds takes */
    PAYMENT_MS = 30,
    CLAIMS_KEPT = 16,
    WORK_DUE_MAX = 500, /* more than a run leaves undone, or the claim is told apart */
    LEASE_MS_MAX = 300,
    RESULTS_MAX = 128, /* above every number of result.def */
};

extern const char *differential_program;

/* A store and the world in front of it. */
struct node {
    struct store *store;
    struct world world;
    int64_t number_last;
};

/* A piece of work as it was claimed in both. */
struct claimed {
    enum work_kind kind;
    int64_t our_id;
    int64_t their_id;
    int64_t token;
};

/* One run. */
struct run {
    int64_t seed;
    int64_t step; /* commands so far */
    struct id_source random;
    struct rules rules;
    struct crowd crowd;
    int64_t now_ms;
    char place[PATH_MAX];
    struct database database;
    struct node embedded;
    struct node shared[NODES];
    int64_t *numbers; /* of purchases in PostgreSQL, by the embedded store's */
    int64_t numbers_size;
    int64_t *transfers; /* the same of transfers; as many */
    struct random_command ours[BATCH_MAX];
    struct random_command theirs[BATCH_MAX];
    struct random_order our_lots[BATCH_MAX];
    struct random_order their_lots[BATCH_MAX];
    struct work_order our_orders[BATCH_MAX];
    struct work_order their_orders[BATCH_MAX];
    struct work_item our_items[WORK_DUE_MAX]; /* of the one claim of a batch */
    struct work_item their_items[WORK_DUE_MAX];
    struct claimed claimed[CLAIMS_KEPT]; /* at random among what batches that were kept have claimed */
    struct pool_crowd pool_crowd;
    struct pool_seen our_seen; /* the ids of products differ */
    struct pool_seen their_seen;
    struct random_pool our_pools[BATCH_MAX];
    struct random_pool their_pools[BATCH_MAX];
    struct wallet_crowd wallet_crowd;
    struct random_wallet our_wallets[BATCH_MAX];
    struct random_wallet their_wallets[BATCH_MAX];
    int64_t work_count;          /* finished so far */
    int64_t counts[RESULTS_MAX]; /* answers, by result */
};

/* Ends the test. */
#define CHECK(run, condition, ...)                                                                  \
    do {                                                                                            \
        if (!(condition)) {                                                                         \
            print_error(__VA_ARGS__);                                                               \
            fail_msg("\n'%s' does not hold at command %" PRId64 ", time %" PRId64                   \
                     "; repeat it with: tests/with_services.py --postgres %s %" PRId64 " %" PRId64, \
                #condition, (run)->step, (run)->now_ms, differential_program, (run)->seed,          \
                (run)->step + BATCH_MAX);                                                           \
        }                                                                                           \
    } while (0)
/* --- differential_draw.c --- */

/* Both lots of so many commands, the same for both stores. */
void draw_batches(struct run *run, unsigned count);

/* Gives back what the claims of both have taken. */
void forget_claims(struct run *run);

/* --- differential_check.c --- */

/* The answers to the first so many commands of both; both worlds still have their changes. */
void check_answers(struct run *run, struct node *node, unsigned count);

/* What was claimed; what a batch that is kept has claimed may be drawn from then on. */
void check_work(struct run *run, unsigned count, bool is_kept);

/* After the batch: what the node believes of all that the commands name. */
void check_worlds(struct run *run, const struct node *node, unsigned count);

/* --- differential_rows.c --- */

/* Every row of the one store has its twin in the other. */
void check_rows(struct run *run);

#endif
