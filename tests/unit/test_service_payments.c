/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payments on a real engine and a real embedded store: ten thousand in flight cost a handful of threads; each
 * order is paid once, whatever is stopped or crashes; a provider that is away makes orders wait and none
 * fail; and the door lets in whom it can serve in time, and says truthfully when to come again.
 */
#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "core/order.h"
#include "engine_client.h"
#include "fake_provider.h"
#include "service/forecast.h"
#include "service/payments.h"
#include "service/tries.h"
#include "store/sqlite.h"
#include "store_support.h"

enum { HOUR_MS = 3600 * 1000, ORDERS_MAX = 10000, ID_SIZE = 32, THREADS_MAX = 12 };

/* A node: all that serves payments, without faces. */
static struct node {
    char place[PATH_MAX];
    struct store *store;
    struct engine *engine;
    struct client client;
    struct courier *courier;
    struct payments *payments;
    struct worker *worker;
} node;

static const struct payments_config simulated = {.payment_ms = 1,
    .slots_min = 16,
    .slots_max = 1000,
    .attempts_max = 8,
    .timeout_ms = 10000,
    .queue_max = 100000};

/* Spins, giving way; the program ends when it waits in vain. */
#define AWAIT(condition)                                                                        \
    for (int64_t end_ns = clock_mono_ns() + 2 * WAIT_LIMIT_MS * (int64_t)1000000; !(condition); \
         sched_yield()) {                                                                       \
        if (clock_mono_ns() > end_ns)                                                           \
            wait_failed(#condition);                                                            \
    }

/* --- the node --- */

static void make_worker(void)
{
    struct error error;
    struct worker_handler handler = payments_handler(node.payments);
    assert_int_equal(worker_create(node.engine, &handler, 1, &node.worker, &error), ERR_NONE);
    payments_set_worker(node.payments, node.worker);
}

static void open_node(const struct payments_config *config)
{
    const struct engine_config engine_config = {
        .rules = {.idempotency_ttl_ms = HOUR_MS, .idempotency_count_max = SIZE_MAX}, .line_depth_max = 20000};
    const struct courier_config courier_config = {.connections_max = PROVIDER_CONNECTIONS_MAX};
    struct error error;
    if (sqlite_store_open(place_path(node.place, "store.db"), &node.store, &error) != ERR_NONE)
        fail_msg("%s", error.message);
    assert_int_equal(engine_create(&engine_config, node.store, &node.engine, &error), ERR_NONE);
    client_open(&node.client, node.engine, NULL);
    assert_int_equal(courier_create(&courier_config, &node.courier, &error), ERR_NONE);
    if (payments_create(config, node.engine, node.courier, &node.payments, &error) != ERR_NONE)
        fail_msg("%s", error.message);
    make_worker();
    assert_int_equal(engine_start(node.engine, &error), ERR_NONE);
}

static void start_worker(void)
{
    struct error error;
    assert_int_equal(worker_start(node.worker, &error), ERR_NONE);
}

static void make_node(const struct payments_config *config)
{
    node = (struct node){0};
    place_make(node.place);
    open_node(config);
}

/* As at SIGTERM; or, with the engine gone first, as in a crash: nothing more is told to it. */
static void close_node(bool is_crash)
{
    if (is_crash)
        engine_stop(node.engine);
    worker_stop(node.worker);
    courier_stop(node.courier, 100);
    if (!is_crash)
        engine_stop(node.engine);
    client_drain(&node.client);
    client_close(&node.client);
    worker_destroy(node.worker);
    payments_destroy(node.payments);
    courier_destroy(node.courier);
    engine_destroy(node.engine);
    store_close(node.store);
}

static void remove_node(void)
{
    close_node(false);
    place_remove(node.place);
}

/* --- orders --- */

static int64_t orders_in(enum order_status status)
{
    struct order_totals totals;
    ENSURE(engine_order_totals(node.engine, &totals));
    return totals.counts[status];
}

static struct payments_stats stats(void)
{
    struct payments_stats stats;
    payments_stats(node.payments, &stats);
    return stats;
}

static struct order_request request_of(const char *order_id)
{
    return (struct order_request){.order_id = slice_cstr(order_id),
        .customer_id = 7,
        .items = SLICE("[]"),
        .amount_minor = 1999,
        .priority = ORDER_PRIORITY_DEFAULT,
        .payment_body = SLICE("{\"amount\":\"19.99\"}")};
}

static void place(const char *order_id)
{
    struct order_request request = request_of(order_id);
    struct command command = {.kind = COMMAND_ORDER_PLACE, .order = &request};
    assert_int_equal(client_do(&node.client, command).result, RESULT_OK);
}

/* "o-0", "o-1" ...: all at once. */
static void place_many(int count)
{
    static struct ask asks[ORDERS_MAX];
    static struct order_request requests[ORDERS_MAX];
    static char ids[ORDERS_MAX][ID_SIZE];
    for (int i = 0; i < count; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "o-%d", i);
        requests[i] = request_of(ids[i]);
        struct command command = {.kind = COMMAND_ORDER_PLACE, .order = &requests[i]};
        ask_init(&asks[i], &node.client, &command, far_deadline());
        assert_true(ask_push(&asks[i]));
    }
    engine_port_flush(node.client.port);
    for (int i = 0; i < count; i++)
        assert_int_equal(ask_await(&asks[i]), RESULT_OK);
}

static int count_threads(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/task");
    ENSURE(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

/* --- simulated payments --- */

/* In-flight payments are threads, are lost at a stop, or are paid twice after it. */
static void ten_thousand_are_in_flight_at_once(void **state)
{
    struct payments_config config = simulated;
    (void)state;
    config.payment_ms = HOUR_MS;
    config.slots_min = config.slots_max = ORDERS_MAX;
    make_node(&config);
    start_worker();
    place_many(ORDERS_MAX);
    AWAIT(stats().in_flight == ORDERS_MAX);
    assert_true(count_threads() <= THREADS_MAX);
    assert_int_equal(orders_in(ORDER_PROCESSING), ORDERS_MAX);
    close_node(false); /* nothing was charged yet: they are given back */
    config.payment_ms = 200;
    open_node(&config);
    assert_int_equal(orders_in(ORDER_PENDING), ORDERS_MAX);
    start_worker();
    AWAIT(orders_in(ORDER_COMPLETED) == ORDERS_MAX);
    assert_int_equal(stats().paid_total, ORDERS_MAX);
    assert_int_equal(stats().in_flight, 0);
    remove_node();
}

/* A crash loses orders, or pays them and does not say so. */
static void what_a_crash_cut_off_is_found_again(void **state)
{
    enum { COUNT = 300 };
    struct payments_config config = simulated;
    (void)state;
    config.payment_ms = 500;
    config.slots_min = config.slots_max = COUNT;
    make_node(&config);
    start_worker();
    place_many(COUNT);
    AWAIT(orders_in(ORDER_PROCESSING) + orders_in(ORDER_COMPLETED) > 0);
    close_node(true);
    open_node(&config);
    start_worker();
    AWAIT(orders_in(ORDER_COMPLETED) == COUNT);
    remove_node();
}

/* An order that the seed declines once is paid another time, or the share is another than asked for. */
static void the_seed_declines_the_same_orders_each_time(void **state)
{
    enum { COUNT = 1000, DECLINED_MIN = 200, DECLINED_MAX = 400 };
    struct payments_config config = simulated;
    int64_t declined[2];
    (void)state;
    config.payment_ms = 0;
    config.decline_rate = 0.3;
    config.seed = 42;
    for (int i = 0; i < 2; i++) {
        make_node(&config);
        start_worker();
        place_many(COUNT);
        AWAIT(orders_in(ORDER_COMPLETED) + orders_in(ORDER_FAILED) == COUNT);
        declined[i] = orders_in(ORDER_FAILED);
        assert_int_equal(stats().declined_total, declined[i]);
        remove_node();
    }
    assert_int_equal(declined[0], declined[1]);
    assert_in_range(declined[0], DECLINED_MIN, DECLINED_MAX);
}

/* With one slot two payments are in flight, or the slots do not grow with the line. */
static void slots_bound_what_is_in_flight_and_grow(void **state)
{
    enum { COUNT = 200 };
    struct payments_config config = simulated;
    (void)state;
    config.slots_min = config.slots_max = 1;
    make_node(&config);
    start_worker();
    place_many(COUNT);
    while (orders_in(ORDER_COMPLETED) < COUNT) {
        assert_true(stats().in_flight <= 1);
        sched_yield();
    }
    remove_node();
    config.payment_ms = HOUR_MS;
    config.slots_max = COUNT;
    make_node(&config);
    start_worker();
    place_many(COUNT);
    AWAIT(stats().in_flight == COUNT);
    remove_node();
}

/* A payment that has begun is cut off though it had time to end. */
static void a_stop_lets_payments_end(void **state)
{
    struct payments_config config = simulated;
    (void)state;
    config.payment_ms = 700;
    config.drain_ms = HOUR_MS;
    make_node(&config);
    start_worker();
    place("a");
    AWAIT(stats().in_flight == 1 || orders_in(ORDER_COMPLETED) == 1);
    close_node(false);
    open_node(&config);
    assert_int_equal(orders_in(ORDER_COMPLETED), 1);
    remove_node();
}

/* --- a provider --- */

static struct provider provider;
static char provider_url[64];

static int pays(const char *key, int calls)
{
    (void)key;
    (void)calls;
    return 200;
}

static struct payments_config start_provider(int (*answer)(const char *key, int calls), bool is_away)
{
    struct payments_config config = simulated;
    provider = (struct provider){.answer = answer, .is_away = is_away};
    provider_start(&provider);
    (void)snprintf(provider_url, sizeof provider_url, "http://127.0.0.1:%d/pay", provider.port);
    config.provider_url = provider_url;
    config.allows_private_targets = true;
    return config;
}

static int declines_some(const char *key, int calls)
{
    (void)calls;
    return strncmp(key, "poor", 4) == 0 ? 402 : 201;
}

/* The provider gets something else than the order, or its answer is misunderstood. */
static void the_provider_is_asked_once_and_understood(void **state)
{
    (void)state;
    struct payments_config config = start_provider(declines_some, false);
    make_node(&config);
    start_worker();
    place("rich");
    place("poor");
    place("m\xc3\xbc ll\"er%");
    AWAIT(orders_in(ORDER_COMPLETED) == 2 && orders_in(ORDER_FAILED) == 1);
    assert_int_equal(provider_key(&provider, "rich").calls, 1);
    assert_string_equal(provider_key(&provider, "rich").body, "{\"amount\":\"19.99\"}");
    assert_int_equal(provider_key(&provider, "poor").calls, 1);
    assert_int_equal(provider_key(&provider, "m%C3%BC%20ll%22er%25").paid, 1);
    assert_int_equal(stats().declined_total, 1);
    remove_node();
    provider_stop(&provider);
}

/* Orders fail because the provider was away, the door is open meanwhile, or nobody notices its return. */
static void a_provider_that_is_away_makes_orders_wait(void **state)
{
    enum { COUNT = 40, PATIENCE_MS = 10000 };
    int64_t retry_after_ms = 0;
    struct error error;
    (void)state;
    struct payments_config config = start_provider(pays, true);
    config.attempts_max = 1;
    make_node(&config);
    start_worker();
    place_many(COUNT);
    AWAIT(strcmp(stats().breaker, "open") == 0);
    if (payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms) != ADMISSION_BREAKER)
        assert_string_not_equal(stats().breaker, "open"); /* its time is over meanwhile */
    else
        assert_true(retry_after_ms > 0);
    assert_int_equal(payments_admit_async(node.payments, &retry_after_ms), ADMISSION_OK);
    if (payments_is_ready(node.payments, &error))
        assert_string_not_equal(stats().breaker, "open");
    provider_return(&provider);
    AWAIT(orders_in(ORDER_COMPLETED) == COUNT);
    assert_int_equal(orders_in(ORDER_FAILED), 0);
    assert_int_equal(stats().abandoned_total, 0);
    assert_true(payments_is_ready(node.payments, &error));
    remove_node();
    provider_stop(&provider);
}

static int fails_then_hangs(const char *key, int calls)
{
    (void)calls;
    return strncmp(key, "o-", 2) == 0 ? 500 : PROVIDER_SILENT;
}

/* A node is ready while a provider holds all its probes and says nothing, or never while one may go out. */
static void a_provider_that_hangs_makes_the_node_not_ready(void **state)
{
    enum { OPENING = 10, PROBES = 3 };
    struct error error;
    char order_id[ID_SIZE];
    (void)state;
    struct payments_config config = start_provider(fails_then_hangs, false);
    config.attempts_max = 1;
    config.timeout_ms = HOUR_MS;
    make_node(&config);
    start_worker();
    place_many(OPENING);
    AWAIT(orders_in(ORDER_FAILED) == OPENING);
    AWAIT(strcmp(stats().breaker, "half-open") == 0);
    assert_true(payments_is_ready(node.payments, &error));
    for (int i = 0; i < PROBES; i++) {
        (void)snprintf(order_id, sizeof order_id, "probe-%d", i);
        place(order_id);
    }
    AWAIT(stats().in_flight == PROBES);
    assert_string_equal(stats().breaker, "half-open");
    assert_false(payments_is_ready(node.payments, &error));
    assert_non_null(strstr(error.message, "being asked again"));
    remove_node();
    provider_stop(&provider);
}

static int answers_the_second_time(const char *key, int calls)
{
    (void)key;
    return calls == 1 ? PROVIDER_SILENT : 200;
}

/* A call that timed out is repeated under another key, or its order is paid twice. */
static void a_call_that_timed_out_is_repeated_with_the_same_key(void **state)
{
    (void)state;
    struct payments_config config = start_provider(answers_the_second_time, false);
    config.timeout_ms = 1000;
    make_node(&config);
    start_worker();
    place("slow");
    AWAIT(orders_in(ORDER_COMPLETED) == 1);
    assert_int_equal(provider_key_count(&provider), 1);
    assert_true(provider_key(&provider, "slow").calls >= 2);
    assert_int_equal(stats().paid_total, 1);
    assert_true(stats().retried_total >= 1);
    remove_node();
    provider_stop(&provider);
}

static int fails_some(const char *key, int calls)
{
    (void)calls;
    return strcmp(key, "bad") == 0 ? 500 : 200;
}

/* An order whose payment always fails is tried for ever, or takes others with it. */
static void an_order_is_given_up_after_the_allowed_attempts(void **state)
{
    (void)state;
    struct payments_config config = start_provider(fails_some, false);
    config.attempts_max = 2;
    make_node(&config);
    start_worker();
    place("bad");
    place("good");
    AWAIT(orders_in(ORDER_FAILED) == 1 && orders_in(ORDER_COMPLETED) == 1);
    assert_int_equal(provider_key(&provider, "bad").calls, 2);
    assert_int_equal(stats().abandoned_total, 1);
    remove_node();
    provider_stop(&provider);
}

static struct {
    atomic_bool may_go;
    atomic_int others;        /* calls for other orders so far */
    atomic_int others_before; /* the second call for "first" */
} overtaking;

/* "first" fails once; who comes next keeps the slot until the test says so. */
static int fails_first_once(const char *key, int calls)
{
    if (strcmp(key, "first") == 0) {
        if (calls == 2)
            atomic_store(&overtaking.others_before, atomic_load(&overtaking.others));
        return calls == 1 ? 500 : 200;
    }
    atomic_fetch_add(&overtaking.others, 1);
    AWAIT(atomic_load(&overtaking.may_go));
    return 200;
}

static bool is_postponed(int count)
{
    char memory[16384];
    char line[128];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    worker_put_metrics(node.worker, &text);
    strbuf_put_char(&text, '\0');
    ENSURE(!text.has_overflowed);
    (void)snprintf(line, sizeof line, "doorbuster_work_postponed_total{kind=\"payment\"} %d\n", count);
    return strstr(memory, line) != NULL;
}

/* All that came after an order is paid before it, because the provider failed it once. */
static void an_order_that_is_tried_again_is_the_next(void **state)
{
    enum { LATER = 20 };
    (void)state;
    struct payments_config config = start_provider(fails_first_once, false);
    config.slots_min = config.slots_max = 1;
    config.timeout_ms = HOUR_MS;
    atomic_store(&overtaking.may_go, false);
    atomic_store(&overtaking.others, 0);
    make_node(&config);
    start_worker();
    place("first");
    AWAIT(stats().retried_total == 1);
    place_many(LATER);
    AWAIT(atomic_load(&overtaking.others) > 0);
    AWAIT(is_postponed(1));
    int before = atomic_load(&overtaking.others);
    atomic_store(&overtaking.may_go, true);
    AWAIT(orders_in(ORDER_COMPLETED) == LATER + 1);
    assert_true(atomic_load(&overtaking.others_before) <= before); /* less when placing them took long */
    assert_int_equal(provider_key(&provider, "first").calls, 2);
    remove_node();
    provider_stop(&provider);
}

/* A stop loses what rests between two calls, or hangs because of it. */
static void a_stop_gives_back_what_rests(void **state)
{
    (void)state;
    struct payments_config config = start_provider(fails_first_once, false);
    make_node(&config);
    start_worker();
    place("first");
    AWAIT(stats().retried_total == 1);
    close_node(false);
    open_node(&config);
    start_worker();
    AWAIT(orders_in(ORDER_COMPLETED) == 1);
    assert_int_equal(provider_key(&provider, "first").calls, 2);
    remove_node();
    provider_stop(&provider);
}

/* A stop waits for a provider that never answers; or what it cut off is not tried again, with the same key.
 */
static void what_a_stop_cut_off_is_asked_again(void **state)
{
    (void)state;
    struct payments_config config = start_provider(answers_the_second_time, false);
    config.timeout_ms = HOUR_MS;
    make_node(&config);
    start_worker();
    place("a");
    AWAIT(atomic_load(&provider.calls) == 1);
    close_node(false);
    open_node(&config);
    assert_int_equal(orders_in(ORDER_PROCESSING), 1); /* it may have been charged */
    start_worker();
    AWAIT(orders_in(ORDER_COMPLETED) == 1);
    assert_int_equal(provider_key(&provider, "a").calls, 2);
    remove_node();
    provider_stop(&provider);
}

/* --- the door --- */

static int64_t begun_at(const void *context, size_t index)
{
    return ((const int64_t *)context)[index];
}

/* A customer is let in who cannot be served in time, or sent away who could. */
static void the_forecast_is_right(void **state)
{
    static const int64_t at[] = {-2, -1, 0};
    static const struct {
        size_t slots, in_flight, ahead;
        int64_t begin;
    } cases[] = {
        {1, 0, 0, 0}, /* free */
        {1, 0, 1, 3}, /* one before it, from now */
        {1, 0, 2, 6}, /* and another */
        {1, 1, 0, 1}, /* begun 2 ago, takes 3 */
        {1, 1, 1, 4}, /* and one before it */
        {2, 1, 0, 0}, /* the other slot */
        {2, 1, 1, 1}, /* which the one before it takes */
        {2, 1, 2, 3}, /* that one's end */
        {2, 1, 3, 4}, /* the second round */
        {3, 3, 0, 1}, /* the oldest ends first */
        {3, 3, 2, 3}, /* the youngest last */
        {3, 3, 3, 4}, /* the second round */
        {2, 3, 0, 2}, /* one too many: its end frees nothing */
        {1, 3, 0, 3}, /* two too many */
        {1, 3, 1, 6}, /* and one before it */
        {1000, 3, 996, 0},
        {1000, 3, 997, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct forecast forecast = {.expected_ns = 3,
            .slots = cases[i].slots,
            .in_flight = cases[i].in_flight,
            .ahead = cases[i].ahead,
            .begun_ns = begun_at,
            .context = at};
        if (forecast_begin_ns(&forecast) != cases[i].begin)
            fail_msg("%zu slots, %zu in flight, %zu ahead: begins at %lld, not %lld", cases[i].slots,
                cases[i].in_flight, cases[i].ahead, (long long)forecast_begin_ns(&forecast),
                (long long)cases[i].begin);
    }
    const int64_t long_ago = -100;
    struct forecast overdue = {
        .expected_ns = 3, .slots = 1, .in_flight = 1, .begun_ns = begun_at, .context = &long_ago};
    assert_int_equal(forecast_begin_ns(&overdue), 0);
    struct forecast endless = {.expected_ns = INT64_MAX / 2, .slots = 1, .ahead = 100, .begun_ns = begun_at};
    assert_int_equal(forecast_begin_ns(&endless), FORECAST_NEVER_NS);
}

/* The serial processor of 3 s and a patience of 10 s: three are served in time, and the fourth is not. */
static void the_door_lets_in_who_can_be_paid_in_time(void **state)
{
    enum { PATIENCE_MS = 10000, LATE_MS = 2050 };
    struct payments_config config = simulated;
    int64_t retry_after_ms = 0;
    (void)state;
    config.payment_ms = 3000;
    config.slots_min = config.slots_max = 1;
    make_node(&config);
    for (int i = 0; i < 3; i++)
        assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_OK);
    assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_LATE);
    assert_in_range(retry_after_ms, LATE_MS, LATE_MS + 1);
    assert_int_equal(payments_expected_wait_ms(node.payments, 3), 12000);
    payments_leave(node.payments);
    assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_OK);
    assert_int_equal(payments_admit_sync(node.payments, 2000, &retry_after_ms), ADMISSION_LATE);
    remove_node();
}

/* Customers are sent away from slots that would have come because of them, or let in to slots that never
 * come.
 */
static void the_door_counts_on_slots_that_will_come(void **state)
{
    enum { PATIENCE_MS = 119 * 1000, SLOTS = 16, CROWD = 200 };
    struct payments_config config = simulated;
    int64_t retry_after_ms = 0;
    (void)state;
    config.payment_ms = 60 * 1000;
    config.slots_min = SLOTS;
    make_node(&config);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_OK);
    remove_node();
    config.slots_max = SLOTS;
    make_node(&config);
    for (int i = 0; i < SLOTS; i++)
        assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_OK);
    assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_LATE);
    remove_node();
}

static void place_sync(const char *order_id, int64_t patience_ms)
{
    struct order_request request = request_of(order_id);
    request.is_sync = true;
    request.deadline_ms = engine_now_ms(node.engine) + patience_ms;
    struct command command = {.kind = COMMAND_ORDER_PLACE, .order = &request};
    assert_int_equal(client_do(&node.client, command).result, RESULT_OK);
}

/* A provider that was slow once, or is thought to be, is never asked again on behalf of a customer. */
static void the_door_lets_one_in_to_measure_the_provider(void **state)
{
    enum { PATIENCE_MS = HOUR_MS / 6 };
    int64_t retry_after_ms = 0;
    (void)state;
    struct payments_config config = start_provider(pays, false);
    config.payment_ms = HOUR_MS;
    make_node(&config);
    assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_OK);
    assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_LATE);
    place_sync("first", PATIENCE_MS);
    start_worker();
    AWAIT(orders_in(ORDER_COMPLETED) + orders_in(ORDER_CANCELLED) == 1);
    assert_int_equal(orders_in(ORDER_COMPLETED), 1);
    assert_true(stats().expected_ms < PATIENCE_MS);
    for (int i = 0; i < 2; i++)
        assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_OK);
    remove_node();
    provider_stop(&provider);
    config.provider_url = NULL; /* simulated: there is nothing to measure */
    make_node(&config);
    assert_int_equal(payments_admit_sync(node.payments, PATIENCE_MS, &retry_after_ms), ADMISSION_LATE);
    remove_node();
}

/* The line grows beyond its bound, or its end is not noticed. */
static void a_full_line_lets_nobody_in(void **state)
{
    enum { ROOM = 3 };
    struct payments_config config = simulated;
    int64_t retry_after_ms = 0;
    (void)state;
    config.queue_max = ROOM;
    make_node(&config);
    assert_int_equal(payments_admit_async(node.payments, &retry_after_ms), ADMISSION_OK);
    place_many(ROOM);
    assert_int_equal(payments_admit_async(node.payments, &retry_after_ms), ADMISSION_FULL);
    assert_true(retry_after_ms > 0);
    assert_int_equal(payments_admit_sync(node.payments, HOUR_MS, &retry_after_ms), ADMISSION_FULL);
    start_worker();
    AWAIT(orders_in(ORDER_COMPLETED) == ROOM);
    assert_int_equal(payments_admit_async(node.payments, &retry_after_ms), ADMISSION_OK);
    assert_int_equal(payments_admit_sync(node.payments, HOUR_MS, &retry_after_ms), ADMISSION_OK);
    remove_node();
}

/* A provider in trouble is asked too often, or an order waits for hours. */
static void tries_come_more_and_more_slowly(void **state)
{
    (void)state;
    assert_int_equal(tries_delay_ms(1, 0, 0), 500);
    assert_int_equal(tries_delay_ms(2, 0, 0), 1000);
    assert_int_equal(tries_delay_ms(7, 0, 0), 32000);
    assert_int_equal(tries_delay_ms(8, 0, 0), 60000);
    assert_int_equal(tries_delay_ms(1000, 0, 0), 60000);
    assert_int_equal(tries_delay_ms(1, 20, 0), 20000);
    assert_int_equal(tries_delay_ms(1, 86400, 0), 300000);
    for (uint32_t random = 0; random < 10000; random += 7)
        assert_in_range(tries_delay_ms(1, 0, random), 500, 749);
}

/* What counts is forgotten while it matters, or remembered for ever. */
static void tries_are_counted_by_order(void **state)
{
    const int64_t hour_ns = INT64_C(3600) * 1000000000;
    struct tries tries;
    (void)state;
    tries_init(&tries);
    assert_int_equal(tries_add(&tries, 1, true, 0).counted, 1);
    assert_int_equal(tries_add(&tries, 2, false, 0).counted, 0);
    assert_int_equal(tries_add(&tries, 1, false, 1).counted, 1);
    assert_int_equal(tries_add(&tries, 1, true, 2).in_vain, 3);
    tries_forget(&tries, 1);
    tries_forget(&tries, 3);
    assert_int_equal(tries_add(&tries, 1, true, 3).in_vain, 1);
    assert_int_equal(tries_add(&tries, 2, true, hour_ns).in_vain, 1);
    assert_int_equal(tries.by_id.count, 1);
    tries_fini(&tries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_forecast_is_right),
        cmocka_unit_test(tries_come_more_and_more_slowly),
        cmocka_unit_test(tries_are_counted_by_order),
        cmocka_unit_test(the_door_lets_in_who_can_be_paid_in_time),
        cmocka_unit_test(the_door_counts_on_slots_that_will_come),
        cmocka_unit_test(the_door_lets_one_in_to_measure_the_provider),
        cmocka_unit_test(a_full_line_lets_nobody_in),
        cmocka_unit_test(slots_bound_what_is_in_flight_and_grow),
        cmocka_unit_test(the_seed_declines_the_same_orders_each_time),
        cmocka_unit_test(a_stop_lets_payments_end),
        cmocka_unit_test(what_a_crash_cut_off_is_found_again),
        cmocka_unit_test(ten_thousand_are_in_flight_at_once),
        cmocka_unit_test(the_provider_is_asked_once_and_understood),
        cmocka_unit_test(a_provider_that_is_away_makes_orders_wait),
        cmocka_unit_test(a_provider_that_hangs_makes_the_node_not_ready),
        cmocka_unit_test(a_call_that_timed_out_is_repeated_with_the_same_key),
        cmocka_unit_test(an_order_is_given_up_after_the_allowed_attempts),
        cmocka_unit_test(an_order_that_is_tried_again_is_the_next),
        cmocka_unit_test(a_stop_gives_back_what_rests),
        cmocka_unit_test(what_a_stop_cut_off_is_asked_again),
    };
    log_init(LOG_ERROR + 1, LOG_JSON);
    return cmocka_run_group_tests_name("service payments", tests, NULL, NULL);
}
