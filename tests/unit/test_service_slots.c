/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of payments in flight before simulated providers: it grows at once with the queue, finds out what
 * a provider can take, and comes back. Time is simulated in steps of 5 ms; nothing here looks at a clock.
 */
#include "service/slots.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/id.h"

enum { FLIGHT_MAX = 4096, STEP_MS = 5, TICK_MS = 50 };

static const int64_t MS = 1000000;
static const size_t NO_END = SIZE_MAX / 2; /* a queue that never empties */

struct provider {
    double base_ms;        /* when nobody presses */
    double capacity;       /* calls at a time that it handles at that pace; more share it. 0: endless */
    double spread;         /* 0.5: a call takes half to one and a half of that */
    double failed_percent; /* answered with an error at once */
    bool is_silent;        /* never answers */
};

struct call {
    int64_t began_ns;
    int64_t end_ns;
    bool will_fail;
};

struct bench {
    struct slots slots;
    struct provider provider;
    struct id_source random;
    struct call calls[FLIGHT_MAX];
    size_t in_flight;
    size_t waiting;
    int64_t now_ns;
    size_t paid;
    size_t limit_least; /* since the last run began */
    size_t limit_most;
};

static double chance(struct bench *bench)
{
    return (double)(id_next(&bench->random) >> 11) / 9007199254740992.0;
}

static struct bench *made(size_t min, size_t max, int64_t expected_ms, struct provider provider)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    struct slots_config config = {min, max, expected_ms * MS, SLOTS_GROW_PER_S};
    bench->now_ns = 77 * MS;
    bench->provider = provider;
    id_source_init_seed(&bench->random, 5);
    slots_init(&bench->slots, &config, bench->now_ns);
    return bench;
}

static void begin_call(struct bench *bench)
{
    const struct provider *provider = &bench->provider;
    double crowd = (double)(bench->in_flight + 1) / (provider->capacity > 0 ? provider->capacity : 1e9);
    double takes_ms = provider->base_ms * fmax(1, crowd);
    takes_ms *= 1 + provider->spread * (2 * chance(bench) - 1);
    bool will_fail = chance(bench) * 100 < provider->failed_percent;
    if (will_fail)
        takes_ms = 1;
    int64_t end_ns = provider->is_silent ? INT64_MAX : bench->now_ns + (int64_t)(takes_ms * 1e6);
    bench->calls[bench->in_flight++] = (struct call){bench->now_ns, end_ns, will_fail};
    if (bench->waiting < NO_END)
        bench->waiting--;
}

static void end_calls(struct bench *bench)
{
    for (size_t i = 0; i < bench->in_flight;) {
        struct call call = bench->calls[i];
        if (call.end_ns > bench->now_ns) {
            i++;
            continue;
        }
        bench->calls[i] = bench->calls[--bench->in_flight];
        bench->paid += !call.will_fail;
        slots_note_end(&bench->slots, bench->now_ns, call.end_ns - call.began_ns, !call.will_fail,
            bench->in_flight, bench->waiting);
    }
}

static void run(struct bench *bench, int64_t ms)
{
    bench->limit_least = SIZE_MAX;
    bench->limit_most = 0;
    bench->paid = 0;
    for (int64_t at_ms = 0; at_ms < ms; at_ms += STEP_MS) {
        bench->now_ns += STEP_MS * MS;
        end_calls(bench);
        if (at_ms % TICK_MS == 0)
            slots_tick(&bench->slots, bench->now_ns, bench->in_flight, bench->waiting);
        size_t limit = slots_limit(&bench->slots);
        while (bench->in_flight < limit && bench->waiting > 0)
            begin_call(bench);
        bench->limit_least = limit < bench->limit_least ? limit : bench->limit_least;
        bench->limit_most = limit > bench->limit_most ? limit : bench->limit_most;
        assert_true(limit >= bench->slots.config.min && limit <= bench->slots.config.max);
    }
}

#define assert_between(value, least, most)                                                        \
    do {                                                                                          \
        double between_value = (double)(value);                                                   \
        if (between_value < (least) || between_value > (most))                                    \
            fail_msg("%s is %.0f, expected %.0f to %.0f", #value, between_value, (double)(least), \
                (double)(most));                                                                  \
    } while (0)

static void the_limit_follows_the_queue_at_once(void **state)
{
    struct bench *bench = made(16, 1000, 3000, (struct provider){.base_ms = 3000});
    assert_int_equal(slots_limit(&bench->slots), 16);
    bench->waiting = NO_END;
    run(bench, 600);
    assert_between(slots_limit(&bench->slots), 230, 320);
    assert_int_equal(bench->paid, 0);
    run(bench, 2000);
    assert_int_equal(slots_limit(&bench->slots), 1000);
    free(bench);
}

static void nothing_grows_without_a_queue(void **state)
{
    struct bench *bench = made(16, 1000, 100, (struct provider){.base_ms = 100});
    for (int i = 0; i < 1000; i++) {
        bench->waiting = i % 17;
        run(bench, STEP_MS);
        bench->waiting = 0;
        run(bench, 100);
    }
    assert_int_equal(slots_limit(&bench->slots), 16);
    /* A queue that something else holds back, a breaker, is no reason either. */
    for (int i = 0; i < 1000; i++) {
        bench->now_ns += TICK_MS * MS;
        slots_tick(&bench->slots, bench->now_ns, 3, 1000);
    }
    assert_int_equal(slots_limit(&bench->slots), 16);
    free(bench);
}

static void a_steady_provider_is_never_spared(void **state)
{
    static const struct provider providers[] = {{.base_ms = 3000}, {.base_ms = 50}, {.base_ms = 5},
        {.base_ms = 200, .spread = 0.5}, {.base_ms = 100, .failed_percent = 1}};
    for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++) {
        struct bench *bench = made(16, 1000, 3000, providers[i]);
        bench->waiting = NO_END;
        run(bench, 5000);
        assert_int_equal(slots_limit(&bench->slots), 1000);
        run(bench, 60000);
        assert_int_equal(bench->limit_least, 1000);
        assert_int_equal(slots_cut_total(&bench->slots), 0);
        free(bench);
    }
}

static void equal_bounds_are_a_constant(void **state)
{
    static const struct provider providers[] = {{.base_ms = 3000}, {.base_ms = 10, .capacity = 0.1},
        {.base_ms = 10, .failed_percent = 100}, {.is_silent = true}};
    for (size_t i = 0; i < 2 * sizeof providers / sizeof providers[0]; i++) {
        size_t bound = i % 2 == 0 ? 1 : 8;
        struct bench *bench = made(bound, bound, 3000, providers[i / 2]);
        bench->waiting = NO_END;
        run(bench, 30000);
        bench->provider.base_ms *= 10;
        run(bench, 30000);
        assert_int_equal(bench->limit_least, bound);
        assert_int_equal(bench->limit_most, bound);
        assert_int_equal(slots_cut_total(&bench->slots), 0);
        free(bench);
    }
}

/* It shares 100 calls' worth of power: more at a time only wait for one another. */
static void a_provider_that_slows_down_with_the_crowd_gets_a_smaller_one(void **state)
{
    for (int spread = 0; spread <= 1; spread++) {
        struct provider provider = {.base_ms = 100, .capacity = 100, .spread = spread * 0.5};
        struct bench *bench = made(16, 1000, 3000, provider);
        bench->waiting = NO_END;
        run(bench, 5000);
        run(bench, 60000);
        assert_between(bench->limit_least, 80, 250);
        assert_between(bench->limit_most, 150, 450);
        assert_between(bench->paid, 57000, 61000); /* 1,000 a second is all it can do */
        free(bench);
    }
}

static void a_crowd_that_came_before_the_first_answer_is_taken_back(void **state)
{
    struct bench *bench = made(16, 1000, 3000, (struct provider){.base_ms = 1000, .capacity = 100});
    bench->waiting = NO_END;
    run(bench, 3000);
    assert_int_equal(slots_limit(&bench->slots), 1000);
    run(bench, 40000);
    assert_between(slots_limit(&bench->slots), 90, 400);
    free(bench);
}

static void it_stops_growing_as_soon_as_calls_become_slow(void **state)
{
    struct bench *bench = made(16, 1000, 3000, (struct provider){.base_ms = 300, .capacity = 30});
    bench->waiting = NO_END;
    run(bench, 6000);
    assert_between(bench->limit_most, 100, 550);
    run(bench, 30000);
    assert_between(slots_limit(&bench->slots), 30, 120);
    free(bench);
}

static void a_provider_that_recovers_gets_everything_again(void **state)
{
    struct bench *bench = made(16, 1000, 3000, (struct provider){.base_ms = 100});
    bench->waiting = NO_END;
    run(bench, 5000);
    assert_int_equal(slots_limit(&bench->slots), 1000);
    bench->provider.capacity = 50;
    run(bench, 30000);
    assert_between(slots_limit(&bench->slots), 40, 250);
    bench->provider.capacity = 0;
    run(bench, 8000);
    assert_int_equal(slots_limit(&bench->slots), 1000);
    free(bench);
}

static void a_provider_that_is_slower_for_good_is_taken_as_it_is(void **state)
{
    struct bench *bench = made(16, 1000, 3000, (struct provider){.base_ms = 100});
    bench->waiting = NO_END;
    run(bench, 5000);
    bench->provider.base_ms = 500;
    run(bench, 30000);
    assert_between(bench->limit_least, 16, 100);
    run(bench, 30000);
    assert_int_equal(slots_limit(&bench->slots), 1000);
    free(bench);
}

static void failures_shrink_it_once_a_round_down_to_min(void **state)
{
    struct bench *bench = made(16, 1000, 3000, (struct provider){.base_ms = 100});
    bench->waiting = NO_END;
    run(bench, 5000);
    bench->provider.failed_percent = 100;
    bench->provider.base_ms = 1;
    run(bench, 1000);
    assert_between(slots_cut_total(&bench->slots), 3, 11);
    run(bench, 20000);
    assert_int_equal(slots_limit(&bench->slots), 16);
    assert_int_equal(bench->paid, 0);
    bench->provider.failed_percent = 0;
    bench->provider.base_ms = 100;
    run(bench, 8000);
    assert_int_equal(slots_limit(&bench->slots), 1000);
    free(bench);
}

static void no_more_is_sent_to_a_provider_that_is_silent(void **state)
{
    struct bench *bench = made(16, 1000, 200, (struct provider){.is_silent = true});
    bench->waiting = NO_END;
    run(bench, 1000);
    size_t limit = slots_limit(&bench->slots);
    assert_between(limit, 100, 300);
    run(bench, 60000);
    assert_int_equal(slots_limit(&bench->slots), limit);
    free(bench);
}

static void without_orders_it_sinks_slowly(void **state)
{
    struct bench *bench = made(16, 1000, 3000, (struct provider){.base_ms = 100});
    bench->waiting = NO_END;
    run(bench, 5000);
    bench->waiting = 0;
    run(bench, 1000);
    assert_between(slots_limit(&bench->slots), 850, 999);
    run(bench, 100000);
    assert_int_equal(slots_limit(&bench->slots), 16);
    assert_int_equal(slots_cut_total(&bench->slots), 0);
    free(bench);
}

static void the_expected_time_is_first_a_guess_then_a_measure(void **state)
{
    struct bench *bench = made(4, 8, 3000, (struct provider){.base_ms = 500});
    assert_true(slots_expected_ns(&bench->slots) == 3000 * MS);
    bench->waiting = 4;
    run(bench, 400);
    assert_true(slots_expected_ns(&bench->slots) == 3000 * MS);
    run(bench, 400);
    assert_true(slots_expected_ns(&bench->slots) == 500 * MS);
    bench->provider.base_ms = 2000;
    bench->waiting = 100;
    run(bench, 60000);
    assert_between(slots_expected_ns(&bench->slots) / MS, 1900, 2000);
    free(bench);
}

/* run() asserts the bounds at each step. */
static void whatever_the_provider_does_the_bounds_hold(void **state)
{
    struct bench *bench = made(3, 777, 50, (struct provider){.base_ms = 50});
    for (int i = 0; i < 400; i++) {
        bench->provider = (struct provider){.base_ms = 1 + 400 * chance(bench),
            .capacity = (double)(id_next(&bench->random) % 3 * 40),
            .spread = chance(bench),
            .failed_percent = chance(bench) < 0.3 ? 100 * chance(bench) : 0};
        bench->waiting = id_next(&bench->random) % 4 == 0 ? 0 : id_next(&bench->random) % 20000;
        run(bench, (int64_t)(id_next(&bench->random) % 3000));
    }
    bench->provider = (struct provider){.base_ms = 50};
    bench->waiting = NO_END;
    run(bench, 30000);
    assert_int_equal(slots_limit(&bench->slots), 777);
    free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_follows_the_queue_at_once),
        cmocka_unit_test(nothing_grows_without_a_queue),
        cmocka_unit_test(a_steady_provider_is_never_spared),
        cmocka_unit_test(equal_bounds_are_a_constant),
        cmocka_unit_test(a_provider_that_slows_down_with_the_crowd_gets_a_smaller_one),
        cmocka_unit_test(a_crowd_that_came_before_the_first_answer_is_taken_back),
        cmocka_unit_test(it_stops_growing_as_soon_as_calls_become_slow),
        cmocka_unit_test(a_provider_that_recovers_gets_everything_again),
        cmocka_unit_test(a_provider_that_is_slower_for_good_is_taken_as_it_is),
        cmocka_unit_test(failures_shrink_it_once_a_round_down_to_min),
        cmocka_unit_test(no_more_is_sent_to_a_provider_that_is_silent),
        cmocka_unit_test(without_orders_it_sinks_slowly),
        cmocka_unit_test(the_expected_time_is_first_a_guess_then_a_measure),
        cmocka_unit_test(whatever_the_provider_does_the_bounds_hold),
    };
    return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
