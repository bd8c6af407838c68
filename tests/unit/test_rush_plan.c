/* SPDX-License-Identifier: Apache-2.0 */
/* When a crowd's requests are sent: plans by a clock that stands in the test, and the schedule that keeps
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rush/plan.h"
#include "rush/schedule.h"

#define S(seconds) ((int64_t)(1000000000.0 * (seconds)))

static void everybody_in_a_burst_starts_at_once(void **state)
{
    struct plan plan = plan_burst(S(10), 1000, 3);
    int64_t from_ns;
    int64_t until_ns;
    (void)state;
    for (uint64_t vu = 0; vu < 1000; vu += 333) {
        plan_vu_window(&plan, vu, &from_ns, &until_ns);
        assert_int_equal(from_ns, S(10));
        assert_int_equal(until_ns, INT64_MAX);
    }
    assert_int_equal(plan_session_count(&plan), 3000);
    assert_int_equal(plan_end_ns(&plan), S(10));
}

static void a_ramp_fills_and_empties_in_straight_lines(void **state)
{
    struct plan plan = plan_ramp(S(1), S(45), S(60), S(15), 1000, S(1));
    int64_t from_ns;
    int64_t until_ns;
    (void)state;
    plan_vu_window(&plan, 0, &from_ns, &until_ns);
    assert_int_equal(from_ns, S(1) + S(0.045));
    assert_int_equal(until_ns, S(1) + S(105) + S(14.985));
    plan_vu_window(&plan, 499, &from_ns, &until_ns);
    assert_int_equal(from_ns, S(1) + S(22.5));
    assert_int_equal(until_ns, S(1) + S(105) + S(7.5));
    plan_vu_window(&plan, 999, &from_ns, &until_ns);
    assert_int_equal(from_ns, S(1) + S(45));
    assert_int_equal(until_ns, S(1) + S(105));
    assert_int_equal(plan_end_ns(&plan), S(121));
    assert_int_equal(plan_session_count(&plan), 0);
}

static void a_constant_crowd_is_there_all_the_time(void **state)
{
    struct plan plan = plan_closed(S(2), S(80), 500, S(1));
    int64_t from_ns;
    int64_t until_ns;
    (void)state;
    plan_vu_window(&plan, 499, &from_ns, &until_ns);
    assert_int_equal(from_ns, S(2));
    assert_int_equal(until_ns, S(82));
    assert_int_equal(plan_end_ns(&plan), S(82));
}

static void a_user_keeps_his_turn_unless_the_answer_is_late(void **state)
{
    struct plan paced = plan_closed(0, S(10), 1, S(1));
    struct plan greedy = plan_closed(0, S(10), 1, 0);
    (void)state;
    assert_int_equal(plan_next_ns(&paced, S(3), S(3.2), 7), S(4));
    assert_int_equal(plan_next_ns(&paced, S(3), S(5.5), 7), S(5.5));
    assert_int_equal(plan_next_ns(&greedy, S(3), S(3.2), 7), S(3.2));
}

static void new_users_come_one_by_one(void **state)
{
    struct plan plan = plan_spawn(S(1), S(30), 20, 10, S(0.1), S(0.5));
    int64_t from_ns;
    int64_t until_ns;
    (void)state;
    assert_int_equal(plan.vu_count, 20);
    plan_vu_window(&plan, 0, &from_ns, &until_ns);
    assert_int_equal(from_ns, S(1));
    assert_int_equal(until_ns, S(31));
    plan_vu_window(&plan, 10, &from_ns, &until_ns);
    assert_true(llabs(from_ns - S(2)) < 1000);
    plan_vu_window(&plan, 19, &from_ns, &until_ns);
    assert_true(llabs(from_ns - S(2.9)) < 1000);
    assert_int_equal(until_ns, S(31));
    assert_int_equal(plan_end_ns(&plan), S(31));
    struct plan one = plan_spawn(0, S(30), 1, 1, 0, S(0.5));
    plan_vu_window(&one, 0, &from_ns, &until_ns);
    assert_int_equal(from_ns, 0);
    assert_int_equal(until_ns, S(30));
}

static void those_who_would_come_after_the_end_are_not_there(void **state)
{
    struct plan plan = plan_spawn(0, S(5), 60, 10, S(0.1), S(0.5));
    int64_t from_ns;
    int64_t until_ns;
    (void)state;
    assert_int_equal(plan.vu_count, 51);
    plan_vu_window(&plan, 50, &from_ns, &until_ns);
    assert_true(from_ns <= S(5));
    assert_int_equal(plan_end_ns(&plan), S(5));
}

static void a_user_thinks_for_as_long_as_the_draw_says(void **state)
{
    struct plan plan = plan_spawn(0, S(30), 5, 1, S(0.1), S(0.5));
    int64_t least_ns = INT64_MAX;
    int64_t most_ns = 0;
    (void)state;
    for (uint64_t i = 0; i < 10000; i++) {
        int64_t think_ns = plan_next_ns(&plan, S(3), S(5), plan_draw(1, i)) - S(5);
        least_ns = think_ns < least_ns ? think_ns : least_ns;
        most_ns = think_ns > most_ns ? think_ns : most_ns;
    }
    assert_in_range(least_ns, S(0.1), S(0.101));
    assert_in_range(most_ns, S(0.499), S(0.5));
    assert_int_equal(plan_next_ns(&plan, S(3), S(5), 0), S(5.1));
    assert_true(plan_draw(1, 2) == plan_draw(1, 2));
    assert_true(plan_draw(1, 2) != plan_draw(2, 1));
}

static void arrivals_keep_their_rate_without_drift(void **state)
{
    struct plan plan = plan_open(S(1), 30000, 64, 3000001);
    (void)state;
    assert_int_equal(plan_arrival_ns(&plan, 0), S(1));
    assert_int_equal(plan_arrival_ns(&plan, 3), S(1) + 100000);
    assert_int_equal(plan_arrival_ns(&plan, 3000000), S(101));
    assert_int_equal(plan_end_ns(&plan), S(101));
    assert_int_equal(plan_session_count(&plan), 3000001);
}

static void the_schedule_gives_what_is_due_in_order(void **state)
{
    enum { COUNT = 500 };
    static int things[COUNT];
    struct schedule schedule;
    int64_t due_ns = 0;
    (void)state;
    assert_true(schedule_init(&schedule, COUNT));
    assert_int_equal(schedule_next_ns(&schedule), INT64_MAX);
    for (int i = 0; i < COUNT; i++)
        schedule_add(&schedule, (i * 7919) % 50, &things[i]);
    int64_t before_ns = -1;
    const int *before = NULL;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(schedule_next_ns(&schedule), i / 10);
        assert_null(schedule_take(&schedule, i / 10 - 1, &due_ns));
        const int *thing = schedule_take(&schedule, i / 10, &due_ns);
        assert_non_null(thing);
        assert_int_equal(due_ns, i / 10);
        if (due_ns == before_ns)
            assert_true(thing > before); /* as they went in */
        before = thing;
        before_ns = due_ns;
    }
    assert_null(schedule_take(&schedule, INT64_MAX, &due_ns));
    schedule_add(&schedule, 1, &things[0]);
    schedule_clear(&schedule);
    assert_null(schedule_take(&schedule, INT64_MAX, &due_ns));
    schedule_fini(&schedule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_in_a_burst_starts_at_once),
        cmocka_unit_test(a_ramp_fills_and_empties_in_straight_lines),
        cmocka_unit_test(a_constant_crowd_is_there_all_the_time),
        cmocka_unit_test(a_user_keeps_his_turn_unless_the_answer_is_late),
        cmocka_unit_test(new_users_come_one_by_one),
        cmocka_unit_test(those_who_would_come_after_the_end_are_not_there),
        cmocka_unit_test(a_user_thinks_for_as_long_as_the_draw_says),
        cmocka_unit_test(arrivals_keep_their_rate_without_drift),
        cmocka_unit_test(the_schedule_gives_what_is_due_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
