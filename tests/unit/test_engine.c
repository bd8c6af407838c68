/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's promises, one at a time: no answer before the commit, a batch whole or not at all, what is
 * said when the store fails, who is refused at the door, and what a stop leaves behind.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/machine.h"
#include "engine_client.h"
#include "world_kit.h"

enum { DEPTH = 8, NS_PER_MS = 1000000, HOUR_MS = 3600000 };

static struct fake_store store;
static struct engine *engine;
static struct client client;
static struct client second; /* another port, used by the same thread */
static struct ask asks[4 * DEPTH];

static int start_engine(void **state)
{
    const struct engine_config config = {.rules = {.idempotency_ttl_ms = HOUR_MS,
                                             .choose_timeout_ms = HOUR_MS,
                                             .idempotency_count_max = SIZE_MAX},
        .line_depth_max = DEPTH};
    struct error error;
    (void)state;
    log_init(LOG_ERROR + 1, LOG_JSON); /* failures are ordered here, nobody needs to read of them */
    fake_store_init(&store);
    if (engine_create(&config, &store.base, &engine, &error) != ERR_NONE)
        return -1;
    client_open(&second, engine, &store);
    client_open(&client, engine, &store);
    return engine_start(engine, &error) == ERR_NONE ? 0 : -1;
}

static int stop_engine(void **state)
{
    (void)state;
    fake_store_release(&store);
    engine_stop(engine);
    engine_port_receive(client.port);
    engine_port_receive(second.port);
    client_close(&client);
    client_close(&second);
    engine_destroy(engine);
    fake_store_fini(&store);
    return 0;
}

/* A sale that has begun long ago and ends long from now; returns when everybody can see that it is ACTIVE. */
static void open_sale(const char *sku, int64_t stock)
{
    int64_t now_ms = clock_wall_ms();
    assert_int_equal(
        client_do(&client, make_create(sku, stock, now_ms - HOUR_MS, now_ms + HOUR_MS)).result, RESULT_OK);
    while (engine_port_view(client.port, slice_cstr(sku))->values.state != SALE_ACTIVE)
        client_receive(&client);
}

/* asks[first], ...: purchases of users u<first>, ... */
static void prepare(size_t first, size_t count, const char *sku, int64_t deadline_ns)
{
    for (size_t i = first; i < first + count; i++) {
        char user[24];
        (void)snprintf(user, sizeof user, "u%zu", i);
        struct command command = make_purchase(sku, user);
        ask_init(&asks[i], &client, &command, deadline_ns);
    }
}

static void push(size_t first, size_t count, const char *sku)
{
    prepare(first, count, sku, far_deadline());
    for (size_t i = first; i < first + count; i++)
        assert_true(ask_push(&asks[i]));
    engine_port_flush(client.port);
}

static void assert_results(size_t first, size_t count, enum result result)
{
    for (size_t i = first; i < first + count; i++)
        assert_int_equal(ask_await(&asks[i]), result);
}

static int64_t stock_of(struct client *viewer, const char *sku)
{
    const struct sale_view *view = engine_port_view(viewer->port, slice_cstr(sku));
    assert_non_null(view);
    return view->values.stock;
}

static struct engine_stats stats(void)
{
    struct engine_stats figures;
    engine_stats(engine, &figures);
    return figures;
}

/* --- commit, then answer --- */

static void no_answer_and_no_picture_comes_before_the_commit(void **state)
{
    (void)state;
    open_sale("W-1", 5);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    engine_port_receive(client.port);
    assert_int_equal(asks[0].answers, 0);
    assert_int_equal(stock_of(&client, "W-1"), 5);
    assert_int_equal(store.purchase_count, 0);
    fake_store_release(&store);
    assert_results(0, 1, RESULT_OK);
    assert_int_equal(asks[0].call.command.outcome.number, 1);
    assert_int_equal(stock_of(&client, "W-1"), 4);
    assert_int_equal(stock_of(&second, "W-1"), 4);
}

static void what_waits_becomes_one_batch(void **state)
{
    (void)state;
    open_sale("W-1", 100);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    int commits = fake_store_read(&store, &store.commits_begun);
    push(1, DEPTH, "W-1");
    fake_store_release(&store);
    assert_results(0, 1 + DEPTH, RESULT_OK);
    assert_int_equal(fake_store_read(&store, &store.commits_begun), commits + 1);
    assert_int_equal(store.batch_max, DEPTH);
    /* First come, first served. */
    for (size_t i = 0; i < 1 + DEPTH; i++)
        assert_int_equal(asks[i].call.command.outcome.number, 1 + i);
}

/* Users who want a thousand units each make one batch of them all, and everybody else waits for its rows. */
static void a_batch_sells_a_bounded_number_of_units(void **state)
{
    enum { CHOICES = DEPTH, UNITS = 1000 };
    (void)state;
    struct pool_request requests[CHOICES];
    char users[CHOICES][MACHINE_USER_LEN_MAX];
    open_sale("W-1", (int64_t)CHOICES * UNITS);
    int64_t product_id = engine_port_view(client.port, SLICE("W-1"))->id;
    for (int i = 0; i < CHOICES; i++) {
        requests[i] = (struct pool_request){.name = SLICE("m"), .units = UNITS, .coins = UNITS};
        struct command make = {.kind = COMMAND_MACHINE_CREATE, .pool = &requests[i]};
        struct command take = {.kind = COMMAND_MACHINE_TAKE, .pool = &requests[i]};
        assert_int_equal(client_do(&client, make).result, RESULT_OK);
        assert_int_equal(client_do(&client, take).result, RESULT_OK);
        requests[i].machine_id = requests[i].machine.id;
    }
    fake_store_hold(&store);
    push(CHOICES, 1, "W-1"); /* a purchase by somebody else */
    fake_store_await_commit(&store);
    int commits = fake_store_read(&store, &store.commits_begun);
    for (int i = 0; i < CHOICES; i++) {
        struct command choose = {.kind = COMMAND_MACHINE_CHOOSE,
            .sku = SLICE("W-1"),
            .user = machine_user(requests[i].machine_id, users[i]),
            .product_id = product_id,
            .pool = &requests[i]};
        ask_init(&asks[i], &client, &choose, far_deadline());
        assert_true(ask_push(&asks[i]));
    }
    engine_port_flush(client.port);
    fake_store_release(&store);
    assert_results(0, CHOICES - 1, RESULT_OK);
    assert_int_equal(ask_await(&asks[CHOICES - 1]), RESULT_STOCK_INSUFFICIENT);
    assert_int_equal(fake_store_read(&store, &store.commits_begun), commits + 2); /* 5000 units, and 2000 */
    assert_int_equal(stock_of(&client, "W-1"), UNITS - 1);
}

static void what_changes_nothing_needs_no_commit(void **state)
{
    (void)state;
    open_sale("W-1", 5);
    assert_int_equal(client_do(&client, make_purchase("W-1", "anna")).result, RESULT_OK);
    int commits = fake_store_read(&store, &store.commits_begun);
    assert_int_equal(client_do(&client, make_purchase("W-1", "anna")).result, RESULT_ALREADY_PURCHASED);
    assert_int_equal(client_do(&client, make_purchase("NONE", "anna")).result, RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(client_do(&client, make_delete("NONE")).result, RESULT_OK);
    assert_int_equal(fake_store_read(&store, &store.commits_begun), commits);
}

static void the_figures_count_what_happened(void **state)
{
    (void)state;
    open_sale("W-1", 5);
    struct engine_stats before = stats();
    push(0, 3, "W-1");
    assert_results(0, 3, RESULT_OK);
    struct engine_stats after = stats();
    assert_int_equal(after.commands_total, before.commands_total + 3);
    assert_in_range(after.batches_total, before.batches_total + 1, before.batches_total + 3);
    assert_int_equal(after.product_count, 1);
    assert_int_equal(after.line_depth, 0);
    assert_true(after.commit_ns_total > before.commit_ns_total);
    uint64_t in_buckets = 0;
    for (int i = 0; i <= ENGINE_COMMIT_BUCKET_COUNT; i++)
        in_buckets += after.commit_seconds_bucket[i];
    assert_int_equal(in_buckets, after.batches_total);
}

/* --- a store that fails --- */

static void a_full_disk_refuses_the_whole_batch_until_there_is_room(void **state)
{
    struct error error;
    (void)state;
    open_sale("W-1", 3);
    fake_store_set_probe(&store, ERR_FULL);
    fake_store_fail_commits(&store, ERR_FULL, 1);
    push(0, 5, "W-1");
    assert_results(0, 5, RESULT_UNAVAILABLE);
    assert_int_equal(engine_state(engine), ENGINE_FAILING);
    engine_last_error(engine, &error);
    assert_int_equal(error.code, ERR_FULL);
    assert_string_equal(error.message, "commit fails as ordered");
    assert_int_equal(stats().commits_failed_total, 1);
    /* Nothing was changed, and reads go on. */
    assert_int_equal(stock_of(&client, "W-1"), 3);
    assert_int_equal(store.purchase_count, 0);
    /* Refused at the door. */
    assert_int_equal(client_do(&client, make_purchase("W-1", "u0")).result, RESULT_UNAVAILABLE);
    assert_int_equal(stats().refused_state_total, 1);
    fake_store_await_probes(&store, 2);
    assert_int_equal(engine_state(engine), ENGINE_FAILING);
    fake_store_set_probe(&store, ERR_NONE);
    await_state(engine, ENGINE_SERVING);
    /* As if the batch had never been: three units for the first three of the same buyers. */
    push(0, 5, "W-1");
    assert_results(0, 3, RESULT_OK);
    assert_results(3, 2, RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(stock_of(&second, "W-1"), 0);
    assert_int_equal(store.purchase_count, 3);
}

static void what_stands_behind_a_failed_batch_is_refused_too(void **state)
{
    (void)state;
    open_sale("W-1", 30);
    fake_store_set_probe(&store, ERR_IO);
    fake_store_fail_commits(&store, ERR_IO, 1);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    push(1, 4, "W-1");
    int commits = fake_store_read(&store, &store.commits_begun);
    fake_store_release(&store);
    assert_results(0, 5, RESULT_UNAVAILABLE);
    assert_int_equal(fake_store_read(&store, &store.commits_begun), commits);
    assert_int_equal(engine_state(engine), ENGINE_FAILING);
}

static void an_unknown_outcome_halts_for_good(void **state)
{
    struct error error;
    (void)state;
    open_sale("W-1", 3);
    fake_store_fail_commits(&store, ERR_COMMIT_UNKNOWN, 1);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    push(1, 2, "W-1");
    fake_store_release(&store);
    assert_results(0, 1, RESULT_OUTCOME_UNKNOWN);
    /* Who stood behind was never tried, and is told so. */
    assert_results(1, 2, RESULT_UNAVAILABLE);
    assert_int_equal(engine_state(engine), ENGINE_HALTED);
    engine_last_error(engine, &error);
    assert_int_equal(error.code, ERR_COMMIT_UNKNOWN);
    assert_int_equal(client_do(&client, make_purchase("W-1", "u0")).result, RESULT_UNAVAILABLE);
    assert_int_equal(stock_of(&client, "W-1"), 3);
    int commits = fake_store_read(&store, &store.commits_begun);
    engine_stop(engine);
    assert_int_equal(engine_state(engine), ENGINE_HALTED);
    assert_int_equal(fake_store_read(&store, &store.commits_begun), commits);
    assert_int_equal(fake_store_read(&store, &store.probes), 0);
}

static void a_damaged_store_halts_for_good(void **state)
{
    (void)state;
    open_sale("W-1", 3);
    fake_store_fail_commits(&store, ERR_CORRUPT, 1);
    push(0, 2, "W-1");
    assert_results(0, 2, RESULT_UNAVAILABLE);
    assert_int_equal(engine_state(engine), ENGINE_HALTED);
    assert_int_equal(stock_of(&client, "W-1"), 3);
}

static void a_probe_whose_outcome_is_unknown_halts_too(void **state)
{
    (void)state;
    open_sale("W-1", 3);
    fake_store_set_probe(&store, ERR_COMMIT_UNKNOWN);
    fake_store_fail_commits(&store, ERR_FULL, 1);
    push(0, 1, "W-1");
    assert_results(0, 1, RESULT_UNAVAILABLE);
    await_state(engine, ENGINE_HALTED);
    assert_int_equal(client_do(&client, make_purchase("W-1", "u0")).result, RESULT_UNAVAILABLE);
}

static void rows_that_cannot_be_loaded_refuse_the_batch(void **state)
{
    (void)state;
    open_sale("W-1", 3);
    fake_store_set_probe(&store, ERR_IO);
    fake_store_set_load(&store, ERR_IO);
    push(0, 2, "W-1");
    assert_results(0, 2, RESULT_UNAVAILABLE);
    assert_int_equal(engine_state(engine), ENGINE_FAILING);
    fake_store_set_load(&store, ERR_NONE);
    fake_store_set_probe(&store, ERR_NONE);
    await_state(engine, ENGINE_SERVING);
    push(0, 2, "W-1");
    assert_results(0, 2, RESULT_OK);
}

static void a_store_that_cannot_be_loaded_makes_no_engine(void **state)
{
    const struct engine_config config = {.line_depth_max = DEPTH};
    struct engine *none = NULL;
    struct error error;
    (void)state;
    fake_store_set_load(&store, ERR_CORRUPT);
    assert_int_equal(engine_create(&config, &store.base, &none, &error), ERR_CORRUPT);
    assert_string_equal(error.message, "load fails as ordered");
    fake_store_set_load(&store, ERR_NONE);
}

/* --- the door --- */

static void a_full_line_refuses_at_once(void **state)
{
    (void)state;
    open_sale("W-1", 100);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    push(1, DEPTH, "W-1");
    assert_int_equal(stats().line_depth, DEPTH);
    prepare(DEPTH + 1, 2, "W-1", far_deadline());
    assert_false(ask_push(&asks[DEPTH + 1]));
    assert_false(ask_push(&asks[DEPTH + 2]));
    assert_int_equal(asks[DEPTH + 1].call.command.outcome.result, RESULT_UNAVAILABLE);
    assert_true(asks[DEPTH + 1].call.retry_after_s >= 1);
    assert_int_equal(asks[DEPTH + 1].answers, 0);
    assert_int_equal(stats().refused_full_total, 2);
    fake_store_release(&store);
    assert_results(0, DEPTH + 1, RESULT_OK);
    assert_int_equal(asks[DEPTH + 1].answers, 0);
}

static void ports_that_push_at_the_same_time_do_not_overfill_the_line(void **state)
{
    (void)state;
    open_sale("W-1", 100);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    prepare(1, 2 * DEPTH, "W-1", far_deadline());
    for (size_t i = 1; i <= 2 * DEPTH; i++) {
        asks[i].client = i <= DEPTH ? &client : &second;
        assert_true(ask_push(&asks[i]));
    }
    engine_port_flush(client.port);
    engine_port_flush(second.port);
    for (size_t i = 1 + DEPTH; i <= 2 * DEPTH; i++) {
        assert_int_equal(asks[i].answers, 1);
        assert_int_equal(asks[i].call.command.outcome.result, RESULT_UNAVAILABLE);
    }
    assert_int_equal(stats().line_depth, DEPTH);
    assert_int_equal(stats().refused_full_total, DEPTH);
    fake_store_release(&store);
    assert_results(0, 1 + DEPTH, RESULT_OK);
    assert_int_equal(store.batch_max, DEPTH);
}

static void a_deadline_in_the_past_is_refused_at_the_door(void **state)
{
    (void)state;
    open_sale("W-1", 5);
    prepare(0, 1, "W-1", clock_mono_ns() - 1);
    assert_false(ask_push(&asks[0]));
    assert_int_equal(asks[0].call.command.outcome.result, RESULT_UNAVAILABLE);
    assert_int_equal(stats().refused_late_total, 1);
    assert_int_equal(stock_of(&client, "W-1"), 5);
}

/* While a commit hangs, the wait that is expected grows with the time it has hung. */
static void a_hanging_store_is_noticed_at_the_door(void **state)
{
    (void)state;
    open_sale("W-1", 100);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    int64_t hung_since_ns = clock_mono_ns();
    struct engine_stats figures;
    do {
        figures = stats();
        (void)sched_yield();
    } while (figures.expected_wait_ns < 30 * NS_PER_MS);
    assert_true(clock_mono_ns() - hung_since_ns < (int64_t)WAIT_LIMIT_MS * NS_PER_MS);
    prepare(1, 2, "W-1", clock_mono_ns() + 30 * NS_PER_MS);
    assert_false(ask_push(&asks[1]));
    assert_int_equal(stats().refused_late_total, 1);
    asks[2].call.deadline_ns = far_deadline();
    assert_true(ask_push(&asks[2]));
    engine_port_flush(client.port);
    fake_store_release(&store);
    assert_results(0, 1, RESULT_OK);
    assert_results(2, 1, RESULT_OK);
}

/* Refused as late, all of the batch; that is no reason to load or to write anything. */
static void a_deadline_that_passes_in_the_line_is_kept_too(void **state)
{
    (void)state;
    open_sale("W-1", 100);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    int loads = fake_store_read(&store, &store.loads_of_batch);
    int64_t deadline_ns = clock_mono_ns() + stats().expected_wait_ns + 100 * NS_PER_MS;
    prepare(1, 2, "W-1", deadline_ns);
    while (!ask_push(&asks[1])) {
        deadline_ns += 100 * NS_PER_MS;
        asks[1].call.deadline_ns = deadline_ns;
    }
    engine_port_flush(client.port);
    while (clock_mono_ns() <= deadline_ns)
        (void)sched_yield();
    uint64_t late = stats().refused_late_total;
    fake_store_release(&store);
    assert_results(0, 1, RESULT_OK);
    assert_results(1, 1, RESULT_UNAVAILABLE);
    assert_int_equal(stats().refused_late_total, late + 1);
    assert_int_equal(engine_state(engine), ENGINE_SERVING);
    assert_int_equal(fake_store_read(&store, &store.loads_of_all), 1);
    assert_int_equal(fake_store_read(&store, &store.loads_of_batch), loads);
    push(2, 1, "W-1");
    assert_results(2, 1, RESULT_OK);
}

/* One slow flush raises the expected wait; were that to shut the door, no flush would ever lower it again. */
static void an_idle_engine_takes_a_command_whatever_the_last_commit_took(void **state)
{
    (void)state;
    int64_t now_ms = clock_wall_ms();
    struct command create = make_create("W-1", 100, now_ms + HOUR_MS, now_ms + 2 * HOUR_MS);
    fake_store_hold(&store);
    ask_init(&asks[0], &client, &create, far_deadline());
    assert_true(ask_push(&asks[0]));
    engine_port_flush(client.port);
    fake_store_await_commit(&store);
    int64_t until_ns = clock_mono_ns() + 200 * NS_PER_MS;
    while (clock_mono_ns() < until_ns)
        (void)sched_yield();
    fake_store_release(&store);
    assert_int_equal(ask_await(&asks[0]), RESULT_OK);
    assert_true(stats().expected_wait_ns >= 400 * NS_PER_MS);
    /* Several attempts, should this machine pause for so long between looking at the clock and pushing. */
    bool is_taken = false;
    for (int attempt = 0; attempt < 20 && !is_taken; attempt++) {
        prepare(1, 2, "W-1", clock_mono_ns() + 300 * NS_PER_MS);
        is_taken = ask_push(&asks[1]);
    }
    assert_true(is_taken);
    /* Only one: who comes behind it has to wait for the flush. */
    assert_false(ask_push(&asks[2]));
    engine_port_flush(client.port);
    (void)ask_await(&asks[1]);
}

/* As long as a database far away takes. */
static void load_from_afar(void)
{
    int64_t until_ns = clock_mono_ns() + 50 * NS_PER_MS;
    while (clock_mono_ns() < until_ns)
        (void)sched_yield();
}

static void set_on_load(void (*on_load)(void))
{
    pthread_mutex_lock(&store.lock);
    store.on_load = on_load;
    pthread_mutex_unlock(&store.lock);
}

/* A load is counted once for each command, so that an engine far from its database refuses what it could
 * take. */
static void a_store_far_away_is_no_full_line(void **state)
{
    (void)state;
    open_sale("W-1", 1000);
    set_on_load(load_from_afar);
    for (size_t i = 1; i <= DEPTH; i++) {
        push(i, 1, "W-1");
        assert_results(i, 1, RESULT_OK);
    }
    /* Several attempts, should this machine be slow by itself. */
    size_t taken = 0;
    for (int attempt = 0; attempt < 20 && taken < DEPTH; attempt++) {
        prepare(DEPTH + 1, DEPTH, "W-1", clock_mono_ns() + 300 * NS_PER_MS);
        for (taken = 0; taken < DEPTH && ask_push(&asks[DEPTH + 1 + taken]);)
            taken++;
        engine_port_flush(client.port);
        for (size_t i = 0; i < taken; i++)
            (void)ask_await(&asks[DEPTH + 1 + i]);
    }
    assert_int_equal(taken, DEPTH);
    set_on_load(NULL);
}

/* --- stopping --- */

static void *run_stop(void *argument)
{
    engine_stop(argument);
    return NULL;
}

static void a_stop_answers_everything_accepted(void **state)
{
    pthread_t stopper;
    (void)state;
    open_sale("W-1", 100);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    push(1, DEPTH - 1, "W-1");
    prepare(DEPTH, 2, "W-1", far_deadline());
    assert_true(ask_push(&asks[DEPTH])); /* pushed, not flushed yet */
    assert_int_equal(pthread_create(&stopper, NULL, run_stop, engine), 0);
    await_state(engine, ENGINE_STOPPING);
    assert_false(ask_push(&asks[DEPTH + 1]));
    fake_store_release(&store);
    pthread_join(stopper, NULL);
    engine_port_receive(client.port);
    for (size_t i = 0; i < DEPTH; i++) {
        assert_int_equal(asks[i].answers, 1);
        assert_int_equal(asks[i].call.command.outcome.result, RESULT_OK);
    }
    assert_int_equal(asks[DEPTH].answers, 0);
    engine_port_flush(client.port);
    assert_int_equal(asks[DEPTH].answers, 1);
    assert_int_equal(asks[DEPTH].call.command.outcome.result, RESULT_UNAVAILABLE);
    assert_int_equal(asks[DEPTH + 1].answers, 0);
    assert_int_equal(stock_of(&client, "W-1"), 100 - DEPTH);
    assert_int_equal(store.purchase_count, DEPTH);
    engine_stop(engine); /* again: harmless */
}

static void a_stop_with_a_failing_store_still_answers(void **state)
{
    (void)state;
    open_sale("W-1", 100);
    fake_store_set_probe(&store, ERR_FULL);
    fake_store_fail_commits(&store, ERR_FULL, -1);
    fake_store_hold(&store);
    push(0, 1, "W-1");
    fake_store_await_commit(&store);
    push(1, 3, "W-1");
    fake_store_release(&store);
    engine_stop(engine);
    engine_port_receive(client.port);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(asks[i].call.command.outcome.result, RESULT_UNAVAILABLE);
    assert_int_equal(store.purchase_count, 0);
}

static void an_engine_that_never_started_is_destroyed(void **state)
{
    const struct engine_config config = {.line_depth_max = DEPTH};
    struct engine *idle;
    struct error error;
    (void)state;
    assert_int_equal(engine_create(&config, &store.base, &idle, &error), ERR_NONE);
    engine_stop(idle);
    engine_destroy(idle);
}

#define WITH_ENGINE(test) cmocka_unit_test_setup_teardown(test, start_engine, stop_engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ENGINE(no_answer_and_no_picture_comes_before_the_commit),
        WITH_ENGINE(what_waits_becomes_one_batch),
        WITH_ENGINE(a_batch_sells_a_bounded_number_of_units),
        WITH_ENGINE(what_changes_nothing_needs_no_commit),
        WITH_ENGINE(the_figures_count_what_happened),
        WITH_ENGINE(a_full_disk_refuses_the_whole_batch_until_there_is_room),
        WITH_ENGINE(what_stands_behind_a_failed_batch_is_refused_too),
        WITH_ENGINE(an_unknown_outcome_halts_for_good),
        WITH_ENGINE(a_damaged_store_halts_for_good),
        WITH_ENGINE(a_probe_whose_outcome_is_unknown_halts_too),
        WITH_ENGINE(rows_that_cannot_be_loaded_refuse_the_batch),
        WITH_ENGINE(a_store_that_cannot_be_loaded_makes_no_engine),
        WITH_ENGINE(a_full_line_refuses_at_once),
        WITH_ENGINE(ports_that_push_at_the_same_time_do_not_overfill_the_line),
        WITH_ENGINE(a_deadline_in_the_past_is_refused_at_the_door),
        WITH_ENGINE(a_hanging_store_is_noticed_at_the_door),
        WITH_ENGINE(a_deadline_that_passes_in_the_line_is_kept_too),
        WITH_ENGINE(an_idle_engine_takes_a_command_whatever_the_last_commit_took),
        WITH_ENGINE(a_store_far_away_is_no_full_line),
        WITH_ENGINE(a_stop_answers_everything_accepted),
        WITH_ENGINE(a_stop_with_a_failing_store_still_answers),
        WITH_ENGINE(an_engine_that_never_started_is_destroyed),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
