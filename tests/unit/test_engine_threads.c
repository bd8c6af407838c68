/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crowd on several ports and threads at once. Afterwards the books are compared: every call was answered
 * exactly once, what was answered OK is in the store and nothing else is, nobody has more than allowed, no
 * unit was sold twice. Meant to run under ThreadSanitizer as well.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/id.h"
#include "base/log.h"
#include "engine_client.h"
#include "world_kit.h"

enum {
    HOUR_MS = 3600000,
    THREADS = 4,
    CALLS_EACH = 3000,
    OUTSTANDING_MAX = 32,
    SALES = 4,
    STOCK = 1500,
    USERS = 3000,
    STOP_ROUNDS = 150,
    STOP_THREADS = 2,
    STOP_CALLS_MAX = 2000,
};

static const char *const skus[SALES] = {"S-0", "S-1", "S-2", "S-3"};

static struct fake_store store;
static struct engine *engine;
static struct client admin;

struct buyer_thread {
    pthread_t thread;
    struct client client;
    struct ask *asks;
    size_t pushed; /* asks that were accepted, from the first on */
    uint64_t seed;
    bool edits; /* makes and deletes a product between its purchases */
};

static struct buyer_thread buyers[THREADS];

static void create_engine(size_t thread_count, size_t depth)
{
    const struct engine_config config = {
        .rules = {.idempotency_ttl_ms = HOUR_MS, .idempotency_count_max = SIZE_MAX}, .line_depth_max = depth};
    struct error error;
    log_init(LOG_ERROR + 1, LOG_JSON);
    fake_store_init(&store);
    assert_int_equal(engine_create(&config, &store.base, &engine, &error), ERR_NONE);
    client_open(&admin, engine, &store);
    for (size_t i = 0; i < thread_count; i++)
        client_open(&buyers[i].client, engine, &store);
    assert_int_equal(engine_start(engine, &error), ERR_NONE);
}

/* The threads have ended. Every accepted call must have been answered by now. */
static void destroy_engine(size_t thread_count)
{
    engine_port_receive(admin.port);
    client_close(&admin);
    for (size_t i = 0; i < thread_count; i++) {
        engine_port_receive(buyers[i].client.port);
        for (size_t a = 0; a < buyers[i].pushed; a++)
            assert_int_equal(buyers[i].asks[a].answers, 1);
        assert_int_equal(buyers[i].client.answer_count, buyers[i].pushed);
        client_close(&buyers[i].client);
    }
    engine_destroy(engine);
    fake_store_fini(&store);
}

static void open_sales(void)
{
    int64_t now_ms = clock_wall_ms();
    for (int i = 0; i < SALES; i++) {
        struct command create = make_create(skus[i], STOCK, now_ms - HOUR_MS, now_ms + HOUR_MS);
        assert_int_equal(client_do(&admin, create).result, RESULT_OK);
        while (engine_port_view(admin.port, slice_cstr(skus[i]))->values.state != SALE_ACTIVE)
            client_receive(&admin);
    }
}

/* --- a crowd --- */

static struct command draw_purchase(struct id_source *random, bool edits, char user[24])
{
    uint64_t lot = id_next(random);
    int64_t now_ms = clock_wall_ms();
    if (edits && lot % 50 == 0)
        return lot & 64 ? make_create("EDITED", 3, now_ms - HOUR_MS, now_ms + HOUR_MS)
                        : make_delete("EDITED");
    if (lot % 20 == 1)
        return make_patch_price(skus[lot >> 32 & 3], (int64_t)(lot >> 40 & 255));
    (void)snprintf(user, 24, "user-%llu", (unsigned long long)(lot >> 40) % USERS);
    return make_purchase(lot % 20 == 2 ? "EDITED" : skus[lot >> 32 & 3], user);
}

/* A picture is whole, whatever happens to the product meanwhile. */
static void look_around(struct client *client)
{
    for (int i = 0; i <= SALES; i++) {
        const struct sale_view *view =
            engine_port_view(client->port, slice_cstr(i < SALES ? skus[i] : "EDITED"));
        ENSURE(view == NULL || slice_eq(view->values.name, SLICE("Widget")));
        ENSURE(view == NULL || (view->values.stock >= 0 && view->values.stock <= view->values.initial_stock));
    }
}

static void *buy_all(void *argument)
{
    struct buyer_thread *self = argument;
    struct client *client = &self->client;
    struct id_source random;
    char user[24];
    id_source_init_seed(&random, self->seed);
    while (client->answer_count < CALLS_EACH) {
        while (self->pushed < CALLS_EACH && self->pushed - client->answer_count < OUTSTANDING_MAX) {
            struct command command = draw_purchase(&random, self->edits, user);
            ask_init(&self->asks[self->pushed], client, &command, far_deadline());
            if (!ask_push(&self->asks[self->pushed]))
                break;
            self->pushed++;
        }
        engine_port_flush(client->port);
        look_around(client);
        if (self->pushed > client->answer_count)
            client_receive(client);
        else
            (void)sched_yield(); /* refused at the door: the store fails, or the line is full */
    }
    return NULL;
}

struct totals {
    int64_t ok[SALES];
    size_t purchases;
    size_t unavailable;
};

/* Adds up what the buyers were told; every number they were told must be in the store. */
static struct totals add_up(void)
{
    struct totals totals = {0};
    for (int t = 0; t < THREADS; t++) {
        for (size_t a = 0; a < buyers[t].pushed; a++) {
            const struct command *command = &buyers[t].asks[a].call.command;
            totals.unavailable += command->outcome.result == RESULT_UNAVAILABLE;
            if (command->kind != COMMAND_PURCHASE || command->outcome.result != RESULT_OK)
                continue;
            totals.purchases++;
            for (int i = 0; i < SALES; i++)
                totals.ok[i] += slice_eq(command->sku, slice_cstr(skus[i]));
            assert_true(fake_store_has_purchase(&store, command->outcome.number));
        }
    }
    return totals;
}

static int compare_purchases(const void *a, const void *b)
{
    const struct fake_purchase *left = a;
    const struct fake_purchase *right = b;
    int order = strcmp(left->user, right->user);
    return order != 0 ? order
                      : (left->product_id > right->product_id) - (left->product_id < right->product_id);
}

static void check_books(void)
{
    struct totals totals = add_up();
    for (int i = 0; i < SALES; i++) {
        const struct sale_view *view = engine_port_view(admin.port, slice_cstr(skus[i]));
        assert_int_equal(view->values.initial_stock - view->values.stock, totals.ok[i]);
        assert_true(totals.ok[i] > STOCK / 2 && totals.ok[i] <= STOCK);
    }
    /* As many rows as answers, and each answer has its row: nothing unacknowledged is in the store. */
    assert_int_equal(store.purchase_count, totals.purchases);
    qsort(store.purchases, store.purchase_count, sizeof *store.purchases, compare_purchases);
    for (size_t i = 1; i < store.purchase_count; i++) {
        bool is_same = compare_purchases(&store.purchases[i - 1], &store.purchases[i]) == 0;
        assert_false(
            is_same && store.purchases[i].product_id <= SALES); /* the edited one begins again and again */
    }
}

static void run_crowd(bool is_failing)
{
    create_engine(THREADS, THREADS * OUTSTANDING_MAX - 8); /* a little too small, so that the door is used */
    open_sales();
    store.commit_ns = 300000;
    if (is_failing)
        fake_store_fail_commits_after(&store, 10, ERR_FULL, 2);
    int commits = fake_store_read(&store, &store.commits_begun);
    for (int t = 0; t < THREADS; t++) {
        buyers[t].asks = calloc(CALLS_EACH, sizeof(struct ask));
        assert_non_null(buyers[t].asks);
        buyers[t].pushed = 0;
        buyers[t].seed = (uint64_t)(100 + t);
        buyers[t].edits = t == 0;
        assert_int_equal(pthread_create(&buyers[t].thread, NULL, buy_all, &buyers[t]), 0);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(buyers[t].thread, NULL);
    engine_stop(engine);
    commits = fake_store_read(&store, &store.commits_begun) - commits;
    check_books();
    assert_true((fake_store_read(&store, &store.commits_failed) > 0) == is_failing);
    assert_in_range(commits, 1, THREADS * CALLS_EACH / 8); /* batches do form */
    destroy_engine(THREADS);
    for (int t = 0; t < THREADS; t++)
        free(buyers[t].asks);
}

static void a_crowd_is_answered_once_each_and_the_books_agree(void **state)
{
    (void)state;
    run_crowd(false);
}

static void a_crowd_at_a_failing_store_is_told_the_truth(void **state)
{
    (void)state;
    run_crowd(true);
}

/* --- stopping under fire --- */

static void *push_until_refused(void *argument)
{
    struct buyer_thread *self = argument;
    const struct command command = make_purchase("S-0", "somebody");
    while (self->pushed < STOP_CALLS_MAX) {
        struct ask *ask = &self->asks[self->pushed];
        ask_init(ask, &self->client, &command, far_deadline());
        if (ask_push(ask))
            self->pushed++;
        else if (engine_state(engine) != ENGINE_SERVING)
            break;
        else
            (void)sched_yield();
        if (self->pushed % 3 == 0)
            engine_port_flush(self->client.port);
        if (self->pushed % 16 == 0)
            engine_port_receive(self->client.port);
    }
    engine_port_flush(self->client.port);
    return NULL;
}

static void a_stop_at_any_moment_leaves_nobody_without_an_answer(void **state)
{
    static struct ask asks[STOP_THREADS][STOP_CALLS_MAX];
    struct id_source random;
    (void)state;
    id_source_init_seed(&random, 3);
    for (int round = 0; round < STOP_ROUNDS; round++) {
        create_engine(STOP_THREADS, 64);
        for (int t = 0; t < STOP_THREADS; t++) {
            buyers[t].asks = asks[t];
            buyers[t].pushed = 0;
            assert_int_equal(pthread_create(&buyers[t].thread, NULL, push_until_refused, &buyers[t]), 0);
        }
        for (uint64_t i = id_next(&random) % 30; i > 0; i--)
            (void)sched_yield();
        engine_stop(engine);
        for (int t = 0; t < STOP_THREADS; t++)
            pthread_join(buyers[t].thread, NULL);
        destroy_engine(STOP_THREADS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowd_is_answered_once_each_and_the_books_agree),
        cmocka_unit_test(a_crowd_at_a_failing_store_is_told_the_truth),
        cmocka_unit_test(a_stop_at_any_moment_leaves_nobody_without_an_answer),
    };
    return cmocka_run_group_tests_name("engine threads", tests, NULL, NULL);
}
