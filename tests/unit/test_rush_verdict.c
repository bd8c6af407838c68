/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a run pass, fail or count for nothing: tallies, thresholds, and the generator as the bottleneck.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rush/flash_sale.h"
#include "rush/report.h"
#include "rush/scenarios.h"
#include "rush/validity.h"

static const uint64_t MS = 1000000;

struct desk {
    struct tally tally;
    struct hist admin;
    struct rush rush;
    struct rush_report report;
};

static int set_up(void **state)
{
    struct desk *desk = calloc(1, sizeof *desk);
    assert_non_null(desk);
    tally_init(&desk->tally);
    hist_init(&desk->admin);
    desk->rush.scenario = &scenario_purchase_load;
    *state = desk;
    return 0;
}

static int tear_down(void **state)
{
    struct desk *desk = *state;
    tally_fini(&desk->tally);
    free(desk);
    return 0;
}

static void add(struct desk *desk, unsigned endpoint, unsigned outcome, uint64_t latency_ms, size_t count)
{
    struct sample sample = {.endpoint = endpoint,
        .outcome = outcome,
        .is_failed = outcome < OUTCOME_COMMON_COUNT || outcome == FLASH_SERVER_ERROR,
        .latency_ns = latency_ms * MS,
        .duration_ns = latency_ms * MS / 2};
    for (size_t i = 0; i < count; i++)
        tally_add(&desk->tally, &sample);
    desk->tally.all_counts[outcome] += count;
}

static struct threshold_result check(
    const struct desk *desk, struct threshold threshold, uint64_t admin_failed)
{
    struct figures figures = {&desk->tally, &desk->admin, admin_failed};
    return threshold_check(&threshold, &figures);
}

static struct threshold exactly(uint32_t outcomes, double count)
{
    return (struct threshold){
        .name = "n", .metric = METRIC_COUNT, .outcomes = outcomes, .compare = COMPARE_EQUAL, .limit = count};
}

static void one_sale_too_many_or_too_few_fails(void **state)
{
    struct desk *desk = *state;
    add(desk, FLASH_PURCHASE, FLASH_SUCCESS, 5, 100);
    add(desk, FLASH_PURCHASE, FLASH_NOT_ACTIVE, 5, 900);
    assert_true(check(desk, exactly(OUTCOME_BIT(FLASH_SUCCESS), 100), 0).is_met);
    assert_false(check(desk, exactly(OUTCOME_BIT(FLASH_SUCCESS), 99), 0).is_met);
    assert_false(check(desk, exactly(OUTCOME_BIT(FLASH_SUCCESS), 101), 0).is_met);
    assert_true(check(desk, exactly(FLASH_HTTP_ERRORS, 0), 0).is_met);
    add(desk, FLASH_PURCHASE, OUTCOME_TIMEOUT, 5, 1);
    assert_false(check(desk, exactly(FLASH_HTTP_ERRORS, 0), 0).is_met);
}

static void percentiles_include_set_up_and_failures(void **state)
{
    struct desk *desk = *state;
    struct threshold p95 = {.name = "http_req_duration",
        .metric = METRIC_LATENCY,
        .percent = 95,
        .compare = COMPARE_BELOW,
        .limit = 1000};
    add(desk, FLASH_PURCHASE, FLASH_SUCCESS, 10, 96);
    for (int i = 0; i < 4; i++)
        hist_add(&desk->admin, 5000 * MS);
    assert_true(check(desk, p95, 0).is_met);
    add(desk, FLASH_PURCHASE, OUTCOME_TIMEOUT, 30000, 2);
    assert_false(check(desk, p95, 0).is_met);
}

static void a_failed_set_up_request_counts(void **state)
{
    struct desk *desk = *state;
    struct threshold failed = {
        .name = "http_req_failed", .metric = METRIC_FAILED_SHARE, .compare = COMPARE_BELOW, .limit = 0.001};
    add(desk, FLASH_PURCHASE, FLASH_SUCCESS, 10, 1000);
    for (int i = 0; i < 4; i++)
        hist_add(&desk->admin, 1 * MS);
    assert_true(check(desk, failed, 0).is_met);
    assert_true(
        check(desk, failed, 1).is_met); /* one in 1,004 just passes (flash-sale contract, section 11) */
    assert_false(check(desk, failed, 2).is_met);
    add(desk, FLASH_PURCHASE, FLASH_SERVER_ERROR, 10, 1);
    assert_false(check(desk, failed, 1).is_met);
}

static void shares_are_of_their_own_kind_of_request(void **state)
{
    struct desk *desk = *state;
    struct threshold errors = {.name = "purchase_error_rate",
        .metric = METRIC_SHARE,
        .outcomes = FLASH_PURCHASE_ERRORS,
        .of_outcomes = FLASH_PURCHASES,
        .compare = COMPARE_BELOW,
        .limit = 0.001};
    add(desk, FLASH_STATUS, FLASH_POLL_GOOD, 1, 100000);
    add(desk, FLASH_PURCHASE, FLASH_SUCCESS, 1, 999);
    add(desk, FLASH_PURCHASE, FLASH_NONSENSE, 1, 1);
    struct threshold_result result = check(desk, errors, 0);
    assert_true(result.measured > 0.00099 && result.measured < 0.00101);
    assert_false(result.is_met);
}

static void what_was_not_measured_fails(void **state)
{
    const struct desk *desk = *state;
    struct threshold none_wrong = exactly(FLASH_HTTP_ERRORS, 0);
    struct threshold fast = {
        .name = "d", .metric = METRIC_LATENCY, .percent = 99, .compare = COMPARE_BELOW, .limit = 1000};
    struct threshold share = {.name = "s",
        .metric = METRIC_SHARE,
        .outcomes = 1,
        .of_outcomes = FLASH_POLLS,
        .compare = COMPARE_BELOW,
        .limit = 1};
    assert_false(check(desk, none_wrong, 0).is_met);
    assert_false(check(desk, fast, 0).is_met);
    assert_false(check(desk, share, 0).is_met);
}

static void tallies_of_threads_add_up(void **state)
{
    struct desk *desk = *state;
    struct desk other = {0};
    struct hist all;
    tally_init(&other.tally);
    add(desk, FLASH_PURCHASE, FLASH_SUCCESS, 10, 3);
    add(&other, FLASH_PURCHASE, FLASH_SUCCESS, 30, 1);
    add(&other, FLASH_STATUS, FLASH_POLL_GOOD, 20, 2);
    hist_add(&other.tally.lag, 5);
    other.tally.unsent_count = 7;
    tally_merge(&desk->tally, &other.tally);
    assert_int_equal(tally_count(&desk->tally, OUTCOME_BIT(FLASH_SUCCESS)), 4);
    assert_int_equal(tally_count_all(&desk->tally, OUTCOME_BIT(FLASH_POLL_GOOD)), 2);
    assert_int_equal(desk->tally.lag.count, 1);
    assert_int_equal(desk->tally.unsent_count, 7);
    hist_init(&all);
    tally_latency(&desk->tally, ENDPOINTS_MAX, &all);
    assert_int_equal(all.count, 6);
    hist_init(&all);
    tally_duration(&desk->tally, FLASH_STATUS, &all);
    assert_int_equal(all.count, 2);
    tally_fini(&other.tally);
}

static bool is_valid(struct desk *desk, struct plan plan, double busy)
{
    desk->rush.crowds[0].plan = plan;
    desk->rush.crowd_count = 1;
    struct validity_input input = {&desk->tally, busy, 0, validity_lag_of(&desk->rush, &desk->tally)};
    desk->report.reason_count = 0;
    desk->report.note_count = 0;
    return validity_judge(&desk->rush, &input, &desk->report);
}

static void lag(struct desk *desk, uint64_t ms, int count)
{
    for (int i = 0; i < count; i++)
        hist_add(&desk->tally.lag, ms * MS);
}

static void an_open_loop_that_sends_late_is_invalid(void **state)
{
    struct desk *desk = *state;
    struct plan plan = plan_open(0, 1000, 64, 1000);
    lag(desk, 1, 990);
    lag(desk, 50, 10);
    assert_true(is_valid(desk, plan, 0.5));
    lag(desk, 50, 10);
    assert_false(is_valid(desk, plan, 0.5));
    assert_non_null(strstr(desk->report.reasons[0], "late"));
}

static void a_burst_that_was_none_is_invalid(void **state)
{
    struct desk *desk = *state;
    lag(desk, 200, 1);
    assert_true(is_valid(desk, plan_burst(0, 1000, 1), 1.0));
    lag(desk, 300, 1);
    assert_false(is_valid(desk, plan_burst(0, 1000, 1), 1.0));
    assert_true(is_valid(desk, plan_burst(0, 5000, 1), 1.0));
}

static void the_round_that_was_late_counts(void **state)
{
    struct validity_lag in_time = {200, 250, 100};
    struct validity_lag late = {300, 250, 100};
    struct validity_lag later_but_larger = {900, 1000, 100};
    struct validity_lag free_to_be_late = {9000, 0, 99};
    (void)state;
    assert_int_equal(validity_lag_worse(in_time, late).lag_ns, 300);
    assert_int_equal(validity_lag_worse(late, later_but_larger).lag_ns, 300);
    assert_int_equal(validity_lag_worse(free_to_be_late, in_time).lag_ns, 200);
}

static void a_busy_generator_is_invalid_unless_that_is_the_purpose(void **state)
{
    struct desk *desk = *state;
    struct plan plan = plan_closed(0, 1000000000, 64, 0);
    assert_true(is_valid(desk, plan, 0.9));
    assert_false(is_valid(desk, plan, 0.97));
    desk->rush.scenario = &scenario_throughput;
    assert_true(is_valid(desk, plan, 0.97));
    assert_int_equal(desk->report.note_count, 1);
    assert_non_null(strstr(desk->report.notes[0], "97 %"));
    assert_false(is_valid(desk, plan_open(0, 1000, 64, 1000), 0.97));
}

static void a_generator_without_sockets_is_invalid(void **state)
{
    struct desk *desk = *state;
    desk->tally.all_counts[OUTCOME_LOCAL] = 1;
    assert_false(is_valid(desk, plan_burst(0, 1000, 1), 0.1));
}

static void a_report_is_named_by_its_ending(void **state)
{
    enum report_format format;
    struct error error;
    (void)state;
    assert_int_equal(report_format_of("a/b.md", &format, &error), ERR_NONE);
    assert_int_equal(format, REPORT_MARKDOWN);
    assert_int_equal(report_format_of("x.json", &format, &error), ERR_NONE);
    assert_int_equal(format, REPORT_JSON);
    assert_int_equal(report_format_of("x.html", &format, &error), ERR_USAGE);
    assert_int_equal(report_format_of("x", &format, &error), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_sale_too_many_or_too_few_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(percentiles_include_set_up_and_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_set_up_request_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shares_are_of_their_own_kind_of_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_measured_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tallies_of_threads_add_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_open_loop_that_sends_late_is_invalid, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_burst_that_was_none_is_invalid, set_up, tear_down),
        cmocka_unit_test(the_round_that_was_late_counts),
        cmocka_unit_test_setup_teardown(
            a_busy_generator_is_invalid_unless_that_is_the_purpose, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_generator_without_sockets_is_invalid, set_up, tear_down),
        cmocka_unit_test(a_report_is_named_by_its_ending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
