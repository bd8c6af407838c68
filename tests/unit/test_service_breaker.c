/* SPDX-License-Identifier: Apache-2.0 */
/* The breaker keeps calls away from a provider that fails, and no longer than that. */
#include "service/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/id.h"

static const int64_t S = 1000000000;

static struct breaker made(void)
{
    struct breaker breaker;
    breaker_init(&breaker, &breaker_defaults);
    return breaker;
}

/* One call that takes no time. */
static void call(struct breaker *breaker, int64_t now_ns, bool was_success)
{
    breaker_ended(breaker, breaker_began(breaker, now_ns), now_ns, was_success, 0);
}

static void call_often(struct breaker *breaker, int64_t now_ns, bool was_success, int count)
{
    for (int i = 0; i < count; i++)
        call(breaker, now_ns, was_success);
}

static void closed_lets_everything_pass(void **state)
{
    struct breaker breaker = made();
    assert_int_equal(breaker_state(&breaker, 0), BREAKER_CLOSED);
    assert_true(breaker_may_call(&breaker, 0) == SIZE_MAX);
    assert_int_equal(breaker_retry_at_ns(&breaker, 0), 0);
    call_often(&breaker, S, true, 1000);
    assert_true(breaker_may_call(&breaker, S) == SIZE_MAX);
    assert_int_equal(breaker_opened_total(&breaker), 0);
}

static void nine_failures_are_too_few_ten_open_it(void **state)
{
    struct breaker breaker = made();
    call_often(&breaker, S, false, 9);
    assert_int_equal(breaker_state(&breaker, S), BREAKER_CLOSED);
    call(&breaker, S, false);
    assert_int_equal(breaker_state(&breaker, S), BREAKER_OPEN);
    assert_int_equal(breaker_may_call(&breaker, S), 0);
    assert_true(breaker_retry_at_ns(&breaker, S) == 6 * S);
    assert_int_equal(breaker_opened_total(&breaker), 1);
}

static void nine_failures_and_a_success_open_it_too(void **state)
{
    struct breaker breaker = made();
    call_often(&breaker, S, false, 9);
    call(&breaker, S, true);
    assert_int_equal(breaker_state(&breaker, S), BREAKER_OPEN);
}

static void only_the_last_20_calls_count(void **state)
{
    struct breaker breaker = made();
    call_often(&breaker, S, true, 1000);
    call_often(&breaker, S, false, 9);
    assert_int_equal(breaker_state(&breaker, S), BREAKER_CLOSED);
    call_often(&breaker, S, true, 11);
    /* The nine are still seen: with one more that makes ten of 20, but a success pushes one of them out
     * first. */
    call(&breaker, S, true);
    call(&breaker, S, false);
    assert_int_equal(breaker_state(&breaker, S), BREAKER_CLOSED);
    call_often(&breaker, S, true, 20);
    call_often(&breaker, S, false, 9);
    assert_int_equal(breaker_state(&breaker, S), BREAKER_CLOSED);
    call(&breaker, S, false);
    assert_int_equal(breaker_state(&breaker, S), BREAKER_OPEN);
}

/* The window against a plain recount of the last calls. */
static void the_window_counts_like_a_recount(void **state)
{
    struct breaker_config config = breaker_defaults;
    config.window = 7;
    config.calls_min = 4;
    config.failed_percent = 60;
    struct id_source random;
    id_source_init_seed(&random, 7);
    for (int round = 0; round < 300; round++) {
        struct breaker breaker;
        bool has_failed[100];
        breaker_init(&breaker, &config);
        for (int n = 0; n < 100; n++) {
            has_failed[n] = id_next(&random) % 3 == 0;
            call(&breaker, S, !has_failed[n]);
            int seen = n + 1 < 7 ? n + 1 : 7;
            int failed = 0;
            for (int i = 0; i < seen; i++)
                failed += has_failed[n - i];
            bool must_be_open = seen >= 4 && failed * 100 >= seen * 60;
            assert_int_equal(breaker_state(&breaker, S), must_be_open ? BREAKER_OPEN : BREAKER_CLOSED);
            if (must_be_open)
                break;
        }
    }
}

static void slow_calls_count_as_failed_when_asked_for(void **state)
{
    struct breaker_config config = breaker_defaults;
    struct breaker breaker;
    for (int64_t slow_s = 0; slow_s <= 2; slow_s += 2) {
        config.slow_ns = slow_s * S;
        breaker_init(&breaker, &config);
        for (int i = 0; i < 10; i++)
            breaker_ended(&breaker, breaker_began(&breaker, 0), 0, true, 2 * S);
        assert_int_equal(breaker_state(&breaker, 0), BREAKER_CLOSED);
        for (int i = 0; i < 10; i++)
            breaker_ended(&breaker, breaker_began(&breaker, 0), 0, true, 2 * S + 1);
        assert_int_equal(breaker_state(&breaker, 0), slow_s == 0 ? BREAKER_CLOSED : BREAKER_OPEN);
    }
}

static struct breaker opened_at(int64_t now_ns)
{
    struct breaker breaker = made();
    call_often(&breaker, now_ns, false, 10);
    assert_int_equal(breaker_state(&breaker, now_ns), BREAKER_OPEN);
    return breaker;
}

static void after_five_seconds_three_probes_may_pass(void **state)
{
    struct breaker breaker = opened_at(S);
    assert_int_equal(breaker_may_call(&breaker, 6 * S - 1), 0);
    assert_int_equal(breaker_state(&breaker, 6 * S), BREAKER_HALF_OPEN);
    assert_int_equal(breaker_retry_at_ns(&breaker, 6 * S), 0);
    assert_int_equal(breaker_may_call(&breaker, 6 * S), 3);
    for (size_t left = 3; left > 0; left--) {
        assert_int_equal(breaker_may_call(&breaker, 6 * S), left);
        (void)breaker_began(&breaker, 6 * S);
    }
    assert_int_equal(breaker_may_call(&breaker, 100 * S), 0);
    assert_int_equal(breaker_state(&breaker, 100 * S), BREAKER_HALF_OPEN);
}

static void it_closes_when_all_probes_have_succeeded(void **state)
{
    struct breaker breaker = opened_at(S);
    call_often(&breaker, 7 * S, true, 2);
    assert_int_equal(breaker_state(&breaker, 7 * S), BREAKER_HALF_OPEN);
    assert_int_equal(breaker_may_call(&breaker, 7 * S), 1);
    call(&breaker, 7 * S, true);
    assert_int_equal(breaker_state(&breaker, 7 * S), BREAKER_CLOSED);
    /* The old failures are forgotten. */
    call_often(&breaker, 7 * S, false, 9);
    assert_int_equal(breaker_state(&breaker, 7 * S), BREAKER_CLOSED);
    call(&breaker, 7 * S, false);
    assert_int_equal(breaker_state(&breaker, 7 * S), BREAKER_OPEN);
    assert_int_equal(breaker_opened_total(&breaker), 2);
}

static void a_full_window_is_forgotten_too(void **state)
{
    struct breaker breaker = made();
    call_often(&breaker, S, true, 10);
    call_often(&breaker, S, false, 10);
    assert_int_equal(breaker_state(&breaker, S), BREAKER_OPEN);
    call_often(&breaker, 6 * S, true, 3);
    call(&breaker, 6 * S, true);
    call_often(&breaker, 6 * S, false, 8);
    assert_int_equal(breaker_state(&breaker, 6 * S), BREAKER_CLOSED);
    call(&breaker, 6 * S, false);
    assert_int_equal(breaker_state(&breaker, 6 * S), BREAKER_OPEN);
}

static void one_failed_probe_opens_it_for_another_five_seconds(void **state)
{
    struct breaker breaker = opened_at(S);
    breaker_ticket probes[3];
    for (int i = 0; i < 3; i++)
        probes[i] = breaker_began(&breaker, 6 * S);
    breaker_ended(&breaker, probes[0], 7 * S, true, S);
    breaker_ended(&breaker, probes[1], 8 * S, false, 2 * S);
    assert_int_equal(breaker_state(&breaker, 8 * S), BREAKER_OPEN);
    assert_true(breaker_retry_at_ns(&breaker, 8 * S) == 13 * S);
    /* The third comes late and decides nothing, now or in the next round. */
    breaker_ended(&breaker, probes[2], 9 * S, false, 3 * S);
    assert_true(breaker_retry_at_ns(&breaker, 9 * S) == 13 * S);
    assert_int_equal(breaker_may_call(&breaker, 13 * S), 3);
}

static void calls_from_before_it_opened_decide_nothing(void **state)
{
    struct breaker breaker = made();
    breaker_ticket old[40];
    for (int i = 0; i < 40; i++)
        old[i] = breaker_began(&breaker, S);
    for (int i = 0; i < 10; i++)
        breaker_ended(&breaker, old[i], S, false, 0);
    assert_int_equal(breaker_state(&breaker, S), BREAKER_OPEN);
    for (int i = 10; i < 20; i++)
        breaker_ended(&breaker, old[i], 2 * S, i % 2 == 0, S);
    assert_true(breaker_retry_at_ns(&breaker, 2 * S) == 6 * S);
    /* Half-open: they are no probes. */
    assert_int_equal(breaker_may_call(&breaker, 6 * S), 3);
    for (int i = 20; i < 30; i++)
        breaker_ended(&breaker, old[i], 6 * S, true, 5 * S);
    breaker_ended(&breaker, old[30], 6 * S, false, 5 * S);
    breaker_dropped(&breaker, old[31]);
    assert_int_equal(breaker_state(&breaker, 6 * S), BREAKER_HALF_OPEN);
    assert_int_equal(breaker_may_call(&breaker, 6 * S), 3);
    /* Closed again: their time-outs do not open it. */
    call_often(&breaker, 6 * S, true, 3);
    for (int i = 32; i < 40; i++)
        breaker_ended(&breaker, old[i], 7 * S, false, 6 * S);
    call_often(&breaker, 7 * S, false, 9);
    assert_int_equal(breaker_state(&breaker, 7 * S), BREAKER_CLOSED);
}

static void a_dropped_probe_makes_room_for_another(void **state)
{
    struct breaker breaker = opened_at(S);
    breaker_ticket probe = breaker_began(&breaker, 6 * S);
    assert_int_equal(breaker_may_call(&breaker, 6 * S), 2);
    breaker_dropped(&breaker, probe);
    assert_int_equal(breaker_may_call(&breaker, 6 * S), 3);
    assert_int_equal(breaker_state(&breaker, 6 * S), BREAKER_HALF_OPEN);
}

static void calls_without_leave_count_for_nothing(void **state)
{
    struct breaker breaker = opened_at(S);
    breaker_ticket ticket = breaker_began(&breaker, 2 * S);
    breaker_ended(&breaker, ticket, 7 * S, false, 5 * S);
    assert_int_equal(breaker_may_call(&breaker, 7 * S), 3);
    for (int i = 0; i < 3; i++)
        (void)breaker_began(&breaker, 7 * S);
    ticket = breaker_began(&breaker, 7 * S);
    breaker_dropped(&breaker, ticket);
    assert_int_equal(breaker_may_call(&breaker, 7 * S), 0);
    breaker_ended(&breaker, ticket, 7 * S, false, 0);
    assert_int_equal(breaker_state(&breaker, 7 * S), BREAKER_HALF_OPEN);
}

static void a_probe_that_is_slow_is_a_failed_one(void **state)
{
    struct breaker_config config = breaker_defaults;
    struct breaker breaker;
    config.slow_ns = S;
    breaker_init(&breaker, &config);
    call_often(&breaker, S, false, 10);
    breaker_ended(&breaker, breaker_began(&breaker, 6 * S), 8 * S, true, 2 * S);
    assert_int_equal(breaker_state(&breaker, 8 * S), BREAKER_OPEN);
}

static void states_have_names(void **state)
{
    assert_true(slice_eq(breaker_state_name(BREAKER_CLOSED), SLICE("closed")));
    assert_true(slice_eq(breaker_state_name(BREAKER_OPEN), SLICE("open")));
    assert_true(slice_eq(breaker_state_name(BREAKER_HALF_OPEN), SLICE("half-open")));
}

/* Whatever happens in whatever order: never more probes than allowed, and an idle breaker can always be
 * called. */
static void no_order_of_events_gets_it_stuck(void **state)
{
    struct id_source random;
    struct breaker breaker = made();
    struct {
        breaker_ticket ticket;
        bool is_under_way;
    } calls[16] = {0};
    int64_t now_ns = 0;
    id_source_init_seed(&random, 11);
    for (int i = 0; i < 200000; i++) {
        size_t n = id_next(&random) % 16;
        uint64_t choice = id_next(&random);
        now_ns += (int64_t)(choice >> 40) * 20;
        size_t may = breaker_may_call(&breaker, now_ns);
        assert_true(may == SIZE_MAX || may <= 3);
        if (!calls[n].is_under_way && may > 0)
            calls[n].ticket = breaker_began(&breaker, now_ns);
        else if (calls[n].is_under_way && choice % 8 == 0)
            breaker_dropped(&breaker, calls[n].ticket);
        else if (calls[n].is_under_way)
            breaker_ended(&breaker, calls[n].ticket, now_ns, choice % 5 != 0, 0);
        else
            continue;
        calls[n].is_under_way = !calls[n].is_under_way;
    }
    for (size_t n = 0; n < 16; n++) {
        if (calls[n].is_under_way)
            breaker_ended(&breaker, calls[n].ticket, now_ns, true, 0);
    }
    assert_true(breaker_may_call(&breaker, now_ns + 5 * S) > 0);
    assert_true(breaker_opened_total(&breaker) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_lets_everything_pass),
        cmocka_unit_test(nine_failures_are_too_few_ten_open_it),
        cmocka_unit_test(nine_failures_and_a_success_open_it_too),
        cmocka_unit_test(only_the_last_20_calls_count),
        cmocka_unit_test(the_window_counts_like_a_recount),
        cmocka_unit_test(slow_calls_count_as_failed_when_asked_for),
        cmocka_unit_test(after_five_seconds_three_probes_may_pass),
        cmocka_unit_test(it_closes_when_all_probes_have_succeeded),
        cmocka_unit_test(a_full_window_is_forgotten_too),
        cmocka_unit_test(one_failed_probe_opens_it_for_another_five_seconds),
        cmocka_unit_test(calls_from_before_it_opened_decide_nothing),
        cmocka_unit_test(a_dropped_probe_makes_room_for_another),
        cmocka_unit_test(calls_without_leave_count_for_nothing),
        cmocka_unit_test(a_probe_that_is_slow_is_a_failed_one),
        cmocka_unit_test(states_have_names),
        cmocka_unit_test(no_order_of_events_gets_it_stuck),
    };
    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
