/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When memory runs out on the engine's thread, the batch is refused, nothing has happened, and the next one
 * is served. The store's hooks, which run on that thread before the rules decide and after, order the failure
 * (failing_memory.h) and end it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine_client.h"
#include "failing_memory.h"
#include "world_kit.h"

enum { HOUR_MS = 3600000 };

/* --- the engine --- */

static struct fake_store store;
static struct engine *engine;
static struct client client;
static int nth_failing; /* set before a push, read by the engine's thread after it has taken the call */

static void order_failure(void)
{
    fail_call(nth_failing);
}

static void end_failure(void)
{
    (void)stop_failing();
}

static int start_engine(void **state)
{
    const struct engine_config config = {
        .rules = {.idempotency_ttl_ms = HOUR_MS, .idempotency_count_max = SIZE_MAX}, .line_depth_max = 10};
    struct error error;
    (void)state;
    nth_failing = 0;
    log_init(LOG_ERROR + 1, LOG_JSON);
    fake_store_init(&store);
    store.on_load = order_failure;
    store.on_commit = end_failure;
    if (engine_create(&config, &store.base, &engine, &error) != ERR_NONE)
        return -1;
    client_open(&client, engine, &store);
    return engine_start(engine, &error) == ERR_NONE ? 0 : -1;
}

static int stop_engine(void **state)
{
    (void)state;
    engine_stop(engine);
    engine_port_receive(client.port);
    client_close(&client);
    engine_destroy(engine);
    fake_store_fini(&store);
    return 0;
}

static enum result do_failing(int nth, struct command command)
{
    nth_failing = nth;
    return client_do(&client, command).result;
}

static const struct sale_view *view(void)
{
    return engine_port_view(client.port, SLICE("W-1"));
}

static void a_batch_without_memory_never_happened(void **state)
{
    int64_t now_ms = clock_wall_ms();
    int failures = 0;
    (void)state;
    struct command create = make_create("W-1", 5, now_ms - HOUR_MS, now_ms + HOUR_MS);
    while (do_failing(failures + 1, create) == RESULT_UNAVAILABLE) {
        assert_int_equal(engine_state(engine), ENGINE_SERVING);
        assert_null(view());
        failures++;
    }
    assert_true(failures >= 4); /* list of changes, product, two texts, the index */
    while (view()->values.state != SALE_ACTIVE)
        client_receive(&client);
    int first = failures;
    struct command purchase = with_key(make_purchase("W-1", "anna"), "anna", "k", 1);
    while (do_failing(failures - first + 1, purchase) == RESULT_UNAVAILABLE) {
        assert_int_equal(view()->values.stock, 5);
        assert_int_equal(store.purchase_count, 0);
        failures++;
    }
    assert_true(failures - first >= 3); /* buyer, index, stored answer */
    assert_int_equal(view()->values.stock, 4);
    assert_int_equal(store.purchase_count, 1);
    assert_int_equal(fake_store_read(&store, &store.commits_failed), 0);
}

static void an_engine_is_made_whole_or_not_at_all(void **state)
{
    const struct engine_config config = {.line_depth_max = 10};
    (void)state;
    struct engine *made = NULL;
    for (int nth = 1; made == NULL; nth++) {
        struct error error;
        fail_call(nth);
        enum err status = engine_create(&config, &store.base, &made, &error);
        (void)stop_failing();
        assert_true((status == ERR_NONE) == (made != NULL));
        assert_true(status == ERR_NONE || status == ERR_MEMORY);
    }
    fail_call(1);
    struct engine_port *port;
    enum err status = engine_port_open(made, (struct engine_port_events){0}, &port, NULL);
    (void)stop_failing();
    assert_int_equal(status, ERR_MEMORY);
    engine_destroy(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_without_memory_never_happened, start_engine, stop_engine),
        cmocka_unit_test_setup_teardown(an_engine_is_made_whole_or_not_at_all, start_engine, stop_engine),
    };
    return cmocka_run_group_tests_name("engine memory", tests, NULL, NULL);
}
