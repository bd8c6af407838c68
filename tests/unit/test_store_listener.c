/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How nodes on one PostgreSQL hear of one another: what another node changes comes with the next load, what a
 * node does itself is not news to it, and whatever could not be heard counts as stale. Needs a PostgreSQL
 * server (postgres_fixture.h).
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "postgres_nodes.h"
#include "store/postgres_link.h"

enum { AWAIT_MS = 20000, NS_PER_MS = 1000000 };

/* A node that hears, and one that changes things. */
struct scene {
    struct database database;
    struct node listener;
    struct node other;
    atomic_int changes; /* calls of on_change */
};

static void on_change(void *context)
{
    atomic_fetch_add((atomic_int *)context, 1);
}

static struct postgres_store *store_of(struct node *node)
{
    return (struct postgres_store *)node->store;
}

static bool is_before(int64_t limit_ns)
{
    (void)sched_yield();
    return clock_mono_ns() < limit_ns;
}

static int64_t limit_ns(void)
{
    return clock_mono_ns() + (int64_t)AWAIT_MS * NS_PER_MS;
}

/* Loads what is news until the server has been heard: what is said from now on is heard. */
static void await_listening(struct scene *s)
{
    int64_t began_ns = clock_mono_ns();
    int64_t limit = limit_ns();
    while (s->listener.store->confirmed_ns < began_ns && is_before(limit))
        node_refresh(&s->listener);
    assert_true(s->listener.store->confirmed_ns >= began_ns);
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    struct error error;
    assert_non_null(s);
    database_make(&s->database, true);
    node_open(&s->listener, s->database.url);
    node_open(&s->other, s->database.url);
    assert_int_equal(store_watch(s->listener.store, on_change, &s->changes, &error), ERR_NONE);
    await_listening(s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    node_close(&s->listener);
    node_close(&s->other);
    database_drop(&s->database);
    free(s);
    return 0;
}

/* Loads what is news until the product is there with so much left; -1: until it is gone. */
static void await_stock(struct scene *s, const char *sku, int64_t stock)
{
    const struct product *product;
    int64_t now = -2;
    for (int64_t limit = limit_ns(); now != stock && is_before(limit);) {
        int before = atomic_load(&s->changes);
        product = node_product(&s->listener, sku);
        now = product == NULL ? -1 : product->values.stock;
        while (now != stock && atomic_load(&s->changes) == before && is_before(limit))
            continue;
        node_refresh(&s->listener);
    }
    assert_int_equal(now, stock);
}

static void a_node_hears_of_what_another_has_changed(void **state)
{
    struct scene *s = *state;
    struct error error;
    atomic_int ignored = 0;
    /* Units gone are told by a thread of the node that has sold them. */
    assert_int_equal(store_watch(s->other.store, on_change, &ignored, &error), ERR_NONE);
    batch_add(&s->other.batch, "A", 10);
    batch_add(&s->other.batch, "B", 10);
    node_commit(&s->other);
    await_stock(s, "A", 10);
    await_stock(s, "B", 10);
    batch_buy(&s->other.batch, "A", "ann", 1, NULL);
    node_commit(&s->other);
    await_stock(s, "A", 9);
    batch_buy(&s->other.batch, "A", "ann", 1, NULL);
    batch_buy(&s->other.batch, "B", "ann", 1, NULL);
    node_commit(&s->other);
    await_stock(s, "A", 8);
    await_stock(s, "B", 9);
    batch_remove(&s->other.batch, "A");
    node_commit(&s->other);
    await_stock(s, "A", -1);
    store_unwatch(s->other.store);
}

/* What has changed lands on a list, once, for the engine to publish. */
static void what_is_news_is_on_the_list_of_what_was_refreshed(void **state)
{
    struct scene *s = *state;
    struct error error;
    struct list *node = NULL;
    batch_add(&s->other.batch, "A", 10);
    node_commit(&s->other);
    for (int64_t limit = limit_ns(); node == NULL && is_before(limit);) {
        world_begin(&s->listener.world);
        assert_int_equal(store_load(s->listener.store, &s->listener.world, NULL, 0, &error), ERR_NONE);
        node = list_first(&s->listener.world.refreshed);
    }
    assert_non_null(node);
    assert_true(CONTAINER_OF(node, struct product, refreshed_node) == node_product(&s->listener, "A"));
    world_accept_refreshed(&s->listener.world);
    assert_null(list_first(&s->listener.world.refreshed));
    await_listening(s);
    assert_null(list_first(&s->listener.world.refreshed));
}

static void a_node_is_not_told_what_it_has_done_itself(void **state)
{
    struct scene *s = *state;
    bool has_heard_of_b = false;
    batch_add(&s->listener.batch, "A", 10);
    node_commit(&s->listener);
    batch_add(&s->other.batch, "B", 10);
    node_commit(&s->other);
    /* Notifications come in the order of commits: with the other's, our own would have come. */
    for (int64_t limit = limit_ns(); !has_heard_of_b && is_before(limit);) {
        node_refresh(&s->listener);
        const struct stale *stale = &store_of(&s->listener)->stale;
        assert_false(stale->is_all);
        for (size_t i = 0; i < stale->count; i++) {
            assert_string_equal(stale->skus[i], "B");
            has_heard_of_b = true;
        }
    }
    assert_true(has_heard_of_b);
}

static void after_a_silence_everything_is_stale_and_comes_back(void **state)
{
    struct scene *s = *state;
    bool was_all = false;
    assert_int_equal(database_cut(&s->database, "doorbuster"), 1);
    batch_add(&s->other.batch, "A", 10); /* perhaps nobody hears it */
    node_commit(&s->other);
    for (int64_t limit = limit_ns(); !was_all && is_before(limit);) {
        node_refresh(&s->listener);
        was_all = store_of(&s->listener)->stale.is_all;
    }
    assert_true(was_all);
    assert_int_equal(node_product(&s->listener, "A")->values.stock, 10);
    await_listening(s);
    batch_add(&s->other.batch, "B", 5);
    node_commit(&s->other);
    await_stock(s, "B", 5);
}

/* The node has rolled its world back, and its own notifications it does not hear. */
static void what_an_unknown_commit_has_left_is_found(void **state)
{
    struct scene *s = *state;
    struct error error;
    char url[640];
    struct proxy *proxy = proxy_start(s->database.url, url, sizeof url);
    struct node node;
    node_open(&node, url);
    batch_add(&node.batch, "FIRST", 1);
    node_commit(&node);
    batch_add(&node.batch, "A", 10);
    batch_decide(&node.batch, node.store, &node.world);
    proxy_cut_at(proxy, STATEMENT_COMMIT, CUT_ANSWER);
    assert_int_equal(batch_try_commit(&node.batch, node.store, &node.world, &error), ERR_COMMIT_UNKNOWN);
    assert_null(node_product(&node, "A"));
    node_refresh(&node);
    assert_non_null(node_product(&node, "A"));
    await_stock(s, "A", 10);
    node_close(&node);
    proxy_stop(proxy);
}

static void nobody_is_called_after_unwatch(void **state)
{
    struct scene *s = *state;
    struct error error;
    atomic_int others = 0;
    store_unwatch(s->listener.store);
    int before = atomic_load(&s->changes);
    assert_int_equal(store_watch(s->other.store, on_change, &others, &error), ERR_NONE);
    for (int64_t limit = limit_ns(); atomic_load(&others) < 3 && is_before(limit);)
        continue; /* one more is called with each heartbeat */
    assert_true(atomic_load(&others) >= 3);
    assert_int_equal(atomic_load(&s->changes), before);
    store_unwatch(s->other.store);
    store_unwatch(s->other.store);
    assert_int_equal(store_watch(s->listener.store, on_change, &s->changes, &error), ERR_NONE);
    batch_add(&s->other.batch, "A", 10);
    node_commit(&s->other);
    await_stock(s, "A", 10);
}

/* A node's time is the wall clock's to the millisecond unless the database's clock is known to differ. */
static void clock_of_the_database_that_may_be_ours_is_ours(void **state)
{
    (void)state;
    const int64_t trips_ms[] = {0, 1, 2, 3, 250};
    for (size_t i = 0; i < sizeof trips_ms / sizeof trips_ms[0]; i++) {
        for (int64_t part_ns = 0; part_ns < NS_PER_MS; part_ns += 99999) {
            int64_t asked_ns = clock_mono_ns() / NS_PER_MS * NS_PER_MS + part_ns;
            int64_t answered_ns = asked_ns + trips_ms[i] * NS_PER_MS + NS_PER_MS - 1;
            int64_t asked_ms = clock_steady_ns(asked_ns) / NS_PER_MS;
            int64_t answered_ms = clock_steady_ns(answered_ns) / NS_PER_MS;
            for (int64_t ms = asked_ms; ms <= answered_ms + 1; ms++) /* which rounds up */
                assert_int_equal(link_clock_ahead_ms(ms, asked_ns, answered_ns), 0);
        }
    }
}

static void clock_of_the_database_that_differs_is_gone_by(void **state)
{
    (void)state;
    const int64_t trip_ms = 40;
    int64_t asked_ns = clock_mono_ns();
    int64_t answered_ns = asked_ns + trip_ms * NS_PER_MS;
    int64_t middle_ms = clock_steady_ns(asked_ns + trip_ms * NS_PER_MS / 2) / NS_PER_MS;
    const int64_t ahead_ms[] = {-3600000, -1000, -24, 24, 1000, 3600000};
    for (size_t i = 0; i < sizeof ahead_ms / sizeof ahead_ms[0]; i++)
        assert_int_equal(link_clock_ahead_ms(middle_ms + ahead_ms[i], asked_ns, answered_ns), ahead_ms[i]);
}

#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(a_node_hears_of_what_another_has_changed),
        SCENE_TEST(what_is_news_is_on_the_list_of_what_was_refreshed),
        SCENE_TEST(a_node_is_not_told_what_it_has_done_itself),
        SCENE_TEST(after_a_silence_everything_is_stale_and_comes_back),
        SCENE_TEST(what_an_unknown_commit_has_left_is_found),
        SCENE_TEST(nobody_is_called_after_unwatch),
        cmocka_unit_test(clock_of_the_database_that_may_be_ours_is_ours),
        cmocka_unit_test(clock_of_the_database_that_differs_is_gone_by),
    };
    if (!postgres_is_there())
        return postgres_skip_all("what nodes on PostgreSQL hear of one another");
    return cmocka_run_group_tests_name("PostgreSQL listener", tests, NULL, NULL);
}
