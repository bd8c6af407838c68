/* SPDX-License-Identifier: Apache-2.0 */
/* Who watches an order is told of what is newer than what it knows, and of nothing else. */
#include "api/order_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/ensure.h"

enum { TOLD_MAX = 16 };

struct listener {
    struct order_watch watch;
    enum order_status told[TOLD_MAX];
    size_t told_count;
    bool stops_when_final;
};

static uv_loop_t loop;
static struct order_watches *watches;

static int set_up(void **state)
{
    (void)state;
    ENSURE(uv_loop_init(&loop) == 0);
    watches = order_watches_create(&loop, NULL, false);
    ENSURE(watches != NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    order_watches_close(watches);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    order_watches_destroy(watches);
    ENSURE(uv_loop_close(&loop) == 0);
    return 0;
}

static void on_change(struct order_watch *watch)
{
    struct listener *listener = CONTAINER_OF(watch, struct listener, watch);
    ENSURE(listener->told_count < TOLD_MAX);
    listener->told[listener->told_count++] = watch->known.status;
    if (listener->stops_when_final && order_status_is_final(watch->known.status))
        order_watch_stop(watches, watch);
}

static void start(struct listener *listener, int64_t id, enum order_status status, int64_t updated_ms)
{
    *listener = (struct listener){.watch = {.on_change = on_change}};
    listener->watch.known = (struct order_state){.id = id, .status = status, .updated_ms = updated_ms};
    assert_true(order_watch_start(watches, &listener->watch));
}

static void show(int64_t id, enum order_status status, int64_t attempts, int64_t updated_ms)
{
    const struct order_view view = {
        .id = id, .values = {.status = status, .attempts = attempts, .updated_ms = updated_ms}};
    order_watches_on_order(watches, &view);
}

static void each_change_is_told_once(void **state)
{
    struct listener listener;
    (void)state;
    start(&listener, 1, ORDER_PENDING, 100);
    show(1, ORDER_PENDING, 0, 100);
    assert_int_equal(listener.told_count, 0);
    show(1, ORDER_PROCESSING, 1, 200);
    show(1, ORDER_PROCESSING, 1, 200);
    show(2, ORDER_FAILED, 1, 300);
    show(1, ORDER_COMPLETED, 1, 400);
    assert_int_equal(listener.told_count, 2);
    assert_int_equal(listener.told[0], ORDER_PROCESSING);
    assert_int_equal(listener.told[1], ORDER_COMPLETED);
    assert_int_equal(listener.watch.known.updated_ms, 400);
    order_watch_stop(watches, &listener.watch);
    assert_int_equal(order_watches_count(watches), 0);
}

/* A picture of this node may come after a look at the store that has seen more. */
static void what_is_older_is_not_told(void **state)
{
    struct listener listener;
    (void)state;
    start(&listener, 1, ORDER_PROCESSING, 500);
    show(1, ORDER_PENDING, 0, 400);
    show(1, ORDER_PENDING, 0, 500);
    assert_int_equal(listener.told_count, 0);
    show(1, ORDER_COMPLETED, 1, 500); /* all in one millisecond */
    assert_int_equal(listener.told_count, 1);
    show(1, ORDER_PROCESSING, 2, 900);
    show(1, ORDER_FAILED, 1, 900);
    assert_int_equal(listener.told_count, 1); /* final is final */
    order_watch_stop(watches, &listener.watch);
}

/* It is put back when its payment was not begun after all. */
static void an_order_may_become_pending_again(void **state)
{
    struct listener listener;
    (void)state;
    start(&listener, 1, ORDER_PENDING, 100);
    show(1, ORDER_PROCESSING, 1, 200);
    show(1, ORDER_PENDING, 0, 300);
    show(1, ORDER_PROCESSING, 1, 400);
    show(1, ORDER_PROCESSING, 2, 400);
    assert_int_equal(listener.told_count, 4);
    order_watch_stop(watches, &listener.watch);
}

static void many_watch_and_stop_while_they_are_told(void **state)
{
    enum { COUNT = 5 };
    struct listener listeners[COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        start(&listeners[i], 7, ORDER_PROCESSING, 100);
        listeners[i].stops_when_final = i != 2;
    }
    assert_int_equal(order_watches_count(watches), 1);
    show(7, ORDER_CANCELLED, 0, 200);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(listeners[i].told_count, 1);
    assert_int_equal(order_watches_count(watches), 1);
    order_watch_stop(watches, &listeners[2].watch);
    order_watch_stop(watches, &listeners[2].watch); /* twice does no harm */
    assert_int_equal(order_watches_count(watches), 0);
}

static void the_last_one_may_stop_while_it_is_told(void **state)
{
    struct listener listener;
    (void)state;
    start(&listener, 7, ORDER_PROCESSING, 100);
    listener.stops_when_final = true;
    show(7, ORDER_COMPLETED, 1, 200);
    assert_int_equal(listener.told_count, 1);
    assert_int_equal(order_watches_count(watches), 0);
    show(7, ORDER_COMPLETED, 1, 300);
    assert_int_equal(listener.told_count, 1);
}

/* tear_down forgets what is still watched. */
static void what_is_watched_at_the_end_is_forgotten(void **state)
{
    static struct listener listeners[100];
    (void)state;
    for (size_t i = 0; i < 100; i++)
        start(&listeners[i], (int64_t)i, ORDER_PENDING, 1);
    assert_int_equal(order_watches_count(watches), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_change_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_older_is_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_order_may_become_pending_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_watch_and_stop_while_they_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_one_may_stop_while_it_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_watched_at_the_end_is_forgotten, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("order watch", tests, NULL, NULL);
}
