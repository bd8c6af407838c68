/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two engines on one PostgreSQL database, as two nodes have them: they sell each unit once between them, know
 * of each other soon, and say so when they do not. Needs a PostgreSQL server (postgres_fixture.h).
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine_client.h"
#include "postgres_nodes.h"

enum {
    ENGINES = 2,
    THREADS = 3, /* an engine's */
    STOCK = 60,
    USERS = 150,
    STALENESS_MAX_MS = 1500,
    AWAIT_MS = 25000,
    LATE_MS = 8000, /* a few hundredths of a second when the machine is idle */
    NS_PER_MS = 1000000,
};

struct node_engine {
    struct proxy *proxy; /* between it and the database */
    struct store *store;
    struct engine *engine;
    struct client main; /* the test's own thread's */
    struct client clients[THREADS];
};

struct scene {
    struct database database;
    struct node_engine nodes[ENGINES];
};

static void open_node(struct scene *s, struct node_engine *node)
{
    struct error error = {.message = ""};
    char url[640];
    struct engine_config config = {
        .rules = test_rules, .line_depth_max = 1000, .staleness_max_ms = STALENESS_MAX_MS};
    node->proxy = proxy_start(s->database.url, url, sizeof url);
    if (postgres_store_open(url, &node->store, &error) != ERR_NONE ||
        engine_create(&config, node->store, &node->engine, &error) != ERR_NONE)
        fail_msg("no engine: %s", error.message);
    client_open(&node->main, node->engine, NULL);
    for (int i = 0; i < THREADS; i++)
        client_open(&node->clients[i], node->engine, NULL);
    assert_int_equal(engine_start(node->engine, &error), ERR_NONE);
}

static void close_node(struct node_engine *node)
{
    engine_stop(node->engine);
    client_drain(&node->main);
    client_close(&node->main);
    for (int i = 0; i < THREADS; i++) {
        client_drain(&node->clients[i]);
        client_close(&node->clients[i]);
    }
    engine_destroy(node->engine);
    store_close(node->store);
    proxy_stop(node->proxy);
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    assert_non_null(s);
    database_make(&s->database, true);
    for (int i = 0; i < ENGINES; i++)
        open_node(s, &s->nodes[i]);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    for (int i = 0; i < ENGINES; i++)
        close_node(&s->nodes[i]);
    database_drop(&s->database);
    free(s);
    return 0;
}

/* --- waiting --- */

static bool is_before(int64_t limit_ns)
{
    (void)sched_yield();
    return clock_mono_ns() < limit_ns;
}

static int64_t in_ms(int64_t ms)
{
    return clock_mono_ns() + ms * NS_PER_MS;
}

/* The picture that this node has got by now; NULL when there is none. */
static const struct sale_view *view_of(struct node_engine *node, const char *sku)
{
    client_drain(&node->main);
    return engine_port_view(node->main.port, slice_cstr(sku));
}

static void await_stock(
    struct node_engine *node, const char *sku, enum sale_state state, int64_t stock, int64_t ms)
{
    const struct sale_view *view = NULL;
    for (int64_t limit_ns = in_ms(ms); is_before(limit_ns);) {
        view = view_of(node, sku);
        if (view != NULL && view->values.state == state && view->values.stock == stock)
            return;
    }
    fail_msg("after %lld ms the picture of %s still says %lld", (long long)ms, sku,
        view == NULL ? -1LL : (long long)view->values.stock);
}

static void await_fresh(const struct node_engine *node, bool is_fresh, int64_t ms)
{
    for (int64_t limit_ns = in_ms(ms); is_before(limit_ns);) {
        if (engine_views_are_fresh(node->engine) == is_fresh)
            return;
    }
    fail_msg("after %lld ms the pictures are still %s", (long long)ms, is_fresh ? "stale" : "fresh");
}

/* --- commands --- */

static void start_sale(struct scene *s, const char *sku, int64_t stock)
{
    int64_t now_ms = clock_wall_ms();
    struct command command = {.kind = COMMAND_PRODUCT_CREATE,
        .sku = slice_cstr(sku),
        .product = {.present = FIELDS_ALL_REQUIRED,
            .name = SLICE("Hot"),
            .initial_stock = stock,
            .start_ms = now_ms - 60000,
            .end_ms = now_ms + 3600000}};
    assert_int_equal(client_do(&s->nodes[0].main, command).result, RESULT_OK);
    for (int i = 0; i < ENGINES; i++)
        await_stock(&s->nodes[i], sku, SALE_ACTIVE, stock, AWAIT_MS);
}

static struct outcome buy(struct client *client, const char *sku, const char *user, const char *key)
{
    struct command command = {.kind = COMMAND_PURCHASE, .sku = slice_cstr(sku), .user = slice_cstr(user)};
    if (key != NULL) {
        command.idempotency.key = slice_cstr(key);
        command.idempotency.scope = slice_cstr(user);
    }
    return client_do(client, command);
}

/* --- a crowd --- */

/* What a user heard from each engine. */
struct story {
    char user[16];
    bool has_key;
    struct outcome outcomes[ENGINES];
};

struct crowd_thread {
    struct client *client;
    int engine;
    int first; /* of the users: every THREADS-th */
    struct story *stories;
};

/* Comes again when told so, as clients do. */
static void *buy_for_all(void *context)
{
    const struct crowd_thread *thread = context;
    for (int i = thread->first; i < USERS; i += THREADS) {
        int at = thread->engine == 0 ? i : USERS - 1 - i; /* they meet in the middle */
        struct story *story = &thread->stories[at];
        struct outcome outcome;
        do
            outcome = buy(thread->client, "HOT", story->user, story->has_key ? "key" : NULL);
        while (outcome.result == RESULT_UNAVAILABLE || outcome.result == RESULT_KEY_IN_FLIGHT);
        story->outcomes[thread->engine] = outcome;
    }
    return NULL;
}

static int units_of(const struct story *story)
{
    const struct outcome *a = &story->outcomes[0];
    const struct outcome *b = &story->outcomes[1];
    assert_true(a->result == RESULT_OK || a->result == RESULT_SALE_NOT_ACTIVE ||
                a->result == RESULT_ALREADY_PURCHASED);
    if (story->has_key) { /* one answer, whoever gives it */
        assert_int_equal(a->result, b->result);
        assert_int_equal(a->number, b->number);
        assert_int_equal(a->time_ms, b->time_ms);
        assert_true(a->is_replay != b->is_replay);
        return a->result == RESULT_OK;
    }
    assert_false(a->result == RESULT_OK && b->result == RESULT_OK);
    return (a->result == RESULT_OK) + (b->result == RESULT_OK);
}

static void a_crowd_at_two_engines_gets_what_there_is(void **state)
{
    struct scene *s = *state;
    struct story *stories = calloc(USERS, sizeof *stories);
    struct crowd_thread crowd[ENGINES * THREADS];
    pthread_t threads[ENGINES * THREADS];
    int sold = 0;
    assert_non_null(stories);
    start_sale(s, "HOT", STOCK);
    for (int i = 0; i < USERS; i++) {
        (void)snprintf(stories[i].user, sizeof stories[i].user, "user-%d", i);
        stories[i].has_key = i % 2 == 0;
    }
    for (int i = 0; i < ENGINES * THREADS; i++) {
        crowd[i] = (struct crowd_thread){.client = &s->nodes[i / THREADS].clients[i % THREADS],
            .engine = i / THREADS,
            .first = i % THREADS,
            .stories = stories};
        assert_int_equal(pthread_create(&threads[i], NULL, buy_for_all, &crowd[i]), 0);
    }
    for (int i = 0; i < ENGINES * THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < USERS; i++)
        sold += units_of(&stories[i]);
    assert_int_equal(sold, STOCK);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), STOCK);
    assert_int_equal(database_number(&s->database, "SELECT count(DISTINCT user_id) FROM purchases"), STOCK);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM idempotency_keys"), (USERS + 1) / 2);
    for (int i = 0; i < ENGINES; i++)
        await_stock(&s->nodes[i], "HOT", SALE_ENDED, 0, AWAIT_MS);
    free(stories);
}

/* --- pictures --- */

static void the_pictures_of_one_engine_follow_the_other(void **state)
{
    struct scene *s = *state;
    start_sale(s, "A", 5);
    for (int i = 4; i >= 0; i--) {
        char user[16];
        (void)snprintf(user, sizeof user, "user-%d", i);
        struct node_engine *seller = &s->nodes[i % ENGINES];
        struct node_engine *other = &s->nodes[(i + 1) % ENGINES];
        assert_int_equal(buy(&seller->main, "A", user, NULL).result, RESULT_OK);
        await_stock(other, "A", i == 0 ? SALE_ENDED : SALE_ACTIVE, i, LATE_MS);
    }
    struct command delete = {.kind = COMMAND_PRODUCT_DELETE, .sku = SLICE("A")};
    assert_int_equal(client_do(&s->nodes[0].main, delete).result, RESULT_OK);
    int64_t limit_ns = in_ms(LATE_MS);
    while (view_of(&s->nodes[1], "A") != NULL && is_before(limit_ns))
        continue;
    assert_null(view_of(&s->nodes[1], "A"));
}

static void pictures_are_not_fresh_while_the_database_says_nothing(void **state)
{
    struct scene *s = *state;
    struct node_engine *node = &s->nodes[1];
    start_sale(s, "A", 5);
    await_fresh(node, true, AWAIT_MS);
    proxy_hang(node->proxy, true);
    await_fresh(node, false, STALENESS_MAX_MS + LATE_MS);
    await_fresh(&s->nodes[0], true, AWAIT_MS); /* the other one is well */
    proxy_hang(node->proxy, false);
    await_fresh(node, true, AWAIT_MS);
    await_state(node->engine, ENGINE_SERVING);
    assert_int_equal(buy(&s->nodes[0].main, "A", "ann", NULL).result, RESULT_OK);
    await_stock(node, "A", SALE_ACTIVE, 4, AWAIT_MS);
}

/* What was sold meanwhile is in the pictures once they are fresh again. */
static void what_was_missed_is_known_when_pictures_are_fresh_again(void **state)
{
    struct scene *s = *state;
    struct node_engine *node = &s->nodes[1];
    start_sale(s, "A", 1);
    proxy_refuse(node->proxy, true);
    await_fresh(node, false, AWAIT_MS);
    assert_int_equal(buy(&s->nodes[0].main, "A", "ann", NULL).result, RESULT_OK);
    proxy_refuse(node->proxy, false);
    await_fresh(node, true, AWAIT_MS);
    const struct sale_view *view = view_of(node, "A");
    assert_non_null(view);
    assert_int_equal(view->values.stock, 0);
    await_state(node->engine, ENGINE_SERVING);
    assert_int_equal(buy(&node->main, "A", "ben", NULL).result, RESULT_SALE_NOT_ACTIVE);
}

/* --- questions --- */

struct asked {
    struct engine_lookup lookup;
    int answers;
};

static void on_answer(struct engine_lookup *lookup)
{
    CONTAINER_OF(lookup, struct asked, lookup)->answers++;
}

static void a_purchase_is_found_through_every_engine(void **state)
{
    struct scene *s = *state;
    start_sale(s, "A", 5);
    struct outcome bought = buy(&s->nodes[0].main, "A", "ann", NULL);
    assert_int_equal(bought.result, RESULT_OK);
    for (int i = 0; i < ENGINES; i++) {
        static const char *const users[] = {"ann", "ben"};
        struct client *client = &s->nodes[i].main;
        struct asked questions[2];
        for (int q = 0; q < 2; q++) {
            questions[q] =
                (struct asked){.lookup = {.question = {.kind = QUESTION_PURCHASE,
                                              .purchase = {.sku = SLICE("A"), .user = slice_cstr(users[q])}},
                                   .on_done = on_answer}};
            assert_true(engine_port_look_up(client->port, &questions[q].lookup));
        }
        while (questions[0].answers == 0 || questions[1].answers == 0)
            client_receive(client);
        assert_int_equal(questions[0].lookup.status, ERR_NONE);
        assert_true(questions[0].lookup.question.purchase.is_found);
        assert_int_equal(questions[0].lookup.question.purchase.row.id, bought.number);
        assert_int_equal(questions[0].lookup.question.purchase.row.purchased_ms, bought.time_ms);
        assert_int_equal(questions[1].lookup.status, ERR_NONE);
        assert_false(questions[1].lookup.question.purchase.is_found);
    }
}

/* --- the end --- */

static void an_engine_stops_while_the_database_is_gone(void **state)
{
    struct scene *s = *state;
    struct node_engine *node = &s->nodes[1];
    start_sale(s, "A", 5);
    proxy_refuse(node->proxy, true);
    enum result result = buy(&node->main, "A", "ann", NULL).result;
    assert_true(result == RESULT_UNAVAILABLE || result == RESULT_OUTCOME_UNKNOWN);
    int64_t began_ns = clock_mono_ns();
    close_node(node);
    assert_true(clock_mono_ns() - began_ns < INT64_C(25000) * NS_PER_MS);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 0);
    open_node(s, node);
    await_stock(node, "A", SALE_ACTIVE, 5, AWAIT_MS);
}

#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(a_crowd_at_two_engines_gets_what_there_is),
        SCENE_TEST(the_pictures_of_one_engine_follow_the_other),
        SCENE_TEST(pictures_are_not_fresh_while_the_database_says_nothing),
        SCENE_TEST(what_was_missed_is_known_when_pictures_are_fresh_again),
        SCENE_TEST(a_purchase_is_found_through_every_engine),
        SCENE_TEST(an_engine_stops_while_the_database_is_gone),
    };
    if (!postgres_is_there())
        return postgres_skip_all("two engines on PostgreSQL");
    return cmocka_run_group_tests_name("two engines", tests, NULL, NULL);
}
