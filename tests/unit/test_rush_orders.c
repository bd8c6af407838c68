/* SPDX-License-Identifier: Apache-2.0 */
/* How answers about orders are read and counted: a wrong one must not pass for a right one, nor the other
 * way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rush/intake.h"
#include "rush/orders.h"
#include "rush/report.h"
#include "rush/tell.h"

static const int64_t MS = 1000000;
static const int64_t S = 1000000000;

#define ORDER "5f0f3f7e-0000-4000-8000-000000000001"
#define OTHER "5f0f3f7e-0000-4000-8000-000000000002"
#define SAYS(order, status) "{\"duration\":3.0,\"order_id\":\"" order "\",\"status\":\"" status "\"}"

/* --- orders with slow payment --- */

struct order_case {
    enum order_route route;
    int status;
    const char *retry_after;
    int64_t took_ms;
    const char *body;
    unsigned outcome;
    enum truth truth;
    const char *detail;
};

static const struct order_case order_cases[] = {
    {ORDER_SYNC, 200, "", 3000, SAYS(ORDER, "completed"), ORDER_COMPLETED, TRUTH_ACKNOWLEDGED, "completed"},
    {ORDER_SYNC, 200, "", 9500, SAYS(ORDER, "completed"), ORDER_COMPLETED, TRUTH_ACKNOWLEDGED, "completed"},
    {ORDER_SYNC, 200, "", 3000, SAYS(OTHER, "completed"), ORDER_NONSENSE, TRUTH_UNKNOWN, "HTTP_200"},
    {ORDER_SYNC, 200, "", 3000, SAYS(ORDER, "pending"), ORDER_NONSENSE, TRUTH_UNKNOWN, "HTTP_200"},
    {ORDER_SYNC, 200, "", 3000, "OK", ORDER_NONSENSE, TRUTH_UNKNOWN, "HTTP_200"},
    {ORDER_SYNC, 200, "", 3000, "", ORDER_NONSENSE, TRUTH_UNKNOWN, "HTTP_200"},
    {ORDER_SYNC, 202, "", 3, SAYS(ORDER, "pending"), ORDER_OTHER_STATUS, TRUTH_UNKNOWN, "HTTP_202"},
    {ORDER_SYNC, 402, "", 3000, SAYS(ORDER, "failed"), ORDER_DECLINED, TRUTH_ACKNOWLEDGED, "failed"},
    {ORDER_SYNC, 402, "", 3000, SAYS(OTHER, "failed"), ORDER_NONSENSE, TRUTH_UNKNOWN, "HTTP_402"},
    {ORDER_SYNC, 503, "7", 1, "{}", ORDER_REFUSED, TRUTH_REFUSED, "HTTP_503"},
    {ORDER_SYNC, 503, "0", 1, "{}", ORDER_REFUSED, TRUTH_REFUSED, "HTTP_503"},
    {ORDER_SYNC, 503, "", 1, "{}", ORDER_REFUSED_ODD, TRUTH_REFUSED, "HTTP_503"},
    {ORDER_SYNC, 503, "-1", 1, "{}", ORDER_REFUSED_ODD, TRUTH_REFUSED, "HTTP_503"},
    {ORDER_SYNC, 503, "soon", 1, "{}", ORDER_REFUSED_ODD, TRUTH_REFUSED, "HTTP_503"},
    {ORDER_SYNC, 503, "86401", 1, "{}", ORDER_REFUSED_ODD, TRUTH_REFUSED, "HTTP_503"},
    {ORDER_SYNC, 503, "7", 1, "{\"code\":\"OUTCOME_UNKNOWN\"}", ORDER_REFUSED_ODD, TRUTH_UNKNOWN, "HTTP_503"},
    {ORDER_SYNC, 503, "7", 9001, "{}", ORDER_LATE, TRUTH_UNKNOWN, "HTTP_503"},
    {ORDER_SYNC, 504, "", 2, "{}", ORDER_LATE, TRUTH_UNKNOWN, "HTTP_504"},
    {ORDER_SYNC, 400, "", 9001, "{}", ORDER_LATE, TRUTH_REFUSED, "HTTP_400"},
    {ORDER_SYNC, 400, "", 1, "Invalid request body", ORDER_OTHER_STATUS, TRUTH_REFUSED, "HTTP_400"},
    {ORDER_SYNC, 409, "", 1, SAYS(ORDER, "completed"), ORDER_OTHER_STATUS, TRUTH_REFUSED, "HTTP_409"},
    {ORDER_SYNC, 500, "", 1, "{}", ORDER_SERVER_ERROR, TRUTH_UNKNOWN, "HTTP_500"},
    {ORDER_ASYNC, 202, "", 3, SAYS(ORDER, "pending"), ORDER_ACCEPTED, TRUTH_ACKNOWLEDGED, "pending"},
    {ORDER_ASYNC, 202, "", 3, SAYS(OTHER, "pending"), ORDER_NONSENSE, TRUTH_UNKNOWN, "HTTP_202"},
    {ORDER_ASYNC, 202, "", 3, SAYS(ORDER, "completed"), ORDER_NONSENSE, TRUTH_UNKNOWN, "HTTP_202"},
    {ORDER_ASYNC, 200, "", 3, SAYS(ORDER, "completed"), ORDER_OTHER_STATUS, TRUTH_UNKNOWN, "HTTP_200"},
    {ORDER_ASYNC, 402, "", 3, SAYS(ORDER, "failed"), ORDER_OTHER_STATUS, TRUTH_REFUSED, "HTTP_402"},
    {ORDER_ASYNC, 503, "30", 3, "{}", ORDER_REFUSED, TRUTH_REFUSED, "HTTP_503"},
};

static void answers_about_orders_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof order_cases / sizeof order_cases[0]; i++) {
        const struct order_case *expected = &order_cases[i];
        struct reply reply = {.status = expected->status,
            .body = slice_cstr(expected->body),
            .retry_after = slice_cstr(expected->retry_after),
            .took_ns = expected->took_ms * MS};
        struct judgement judgement = {0};
        orders_judge(expected->route, SLICE(ORDER), &reply, &judgement);
        struct slice detail = slice_make(judgement.detail, judgement.detail_len);
        if (judgement.outcome != expected->outcome || judgement.truth != expected->truth ||
            !slice_eq(detail, slice_cstr(expected->detail)))
            fail_msg("case %zu, %d %s: outcome %u, truth %d, detail %.*s", i, expected->status,
                expected->body, judgement.outcome, (int)judgement.truth, SLICE_ARGS(detail));
    }
}

static void stats_are_read_with_and_without_cancelled_orders(void **state)
{
    struct order_stats stats;
    (void)state;
    assert_true(orders_read_stats(200,
        SLICE("{\"payments_failed\":1,\"payments_processed\":20,\"status_breakdown\":{\"completed\":20,"
              "\"failed\":1,"
              "\"pending\":300,\"processing\":4},\"throughput_limit\":\"none\",\"total_orders\":330}"),
        &stats));
    assert_int_equal(stats.total, 330);
    assert_int_equal(orders_waiting(&stats), 304);
    assert_int_equal(stats.cancelled, 5);
    assert_int_equal(orders_finished(&stats), 26);
    assert_true(orders_read_stats(200,
        SLICE("{\"status_breakdown\":{\"completed\":2,\"failed\":0,\"pending\":0,\"processing\":0,"
              "\"cancelled\":3},"
              "\"total_orders\":9}"),
        &stats));
    assert_int_equal(stats.cancelled, 3);
    assert_false(
        orders_read_stats(200, SLICE("{\"status_breakdown\":{\"completed\":2},\"total_orders\":9}"), &stats));
    assert_false(orders_read_stats(200, SLICE("{\"total_orders\":9}"), &stats));
    assert_false(orders_read_stats(200, SLICE("nothing"), &stats));
    assert_false(orders_read_stats(404,
        SLICE("{\"status_breakdown\":{\"completed\":2,\"failed\":0,\"pending\":0,\"processing\":0},"
              "\"total_orders\":2}"),
        &stats));
}

/* --- the intake --- */

static const char usual_body[] =
    "{\"id\":\"" ORDER "\",\"user_id\":\"" OTHER "\",\"symbol\":\"AAPL\",\"side\":\"BUY\","
    "\"order_type\":\"LIMIT\",\"quantity\":100.0,\"status\":\"QUEUED\",\"created_at\":\"x\"}";

struct intake_case {
    int status;
    const char *body;
    unsigned outcome;
    enum truth truth;
};

static const struct intake_case intake_cases[] = {
    {201, usual_body, INTAKE_QUEUED, TRUTH_ACKNOWLEDGED},
    {201, "{ \"status\": \"QUEUED\", \"side\": \"BUY\", \"id\": \"5F0F3F7E-0000-4000-8000-000000000001\" }",
        INTAKE_QUEUED, TRUTH_ACKNOWLEDGED},
    {201, "{\"id\":\"" ORDER "\",\"side\":\"SELL\",\"status\":\"QUEUED\"}", INTAKE_NONSENSE, TRUTH_UNKNOWN},
    {201, "{\"id\":\"" ORDER "\",\"side\":\"BUY\",\"status\":\"CANCELLED\"}", INTAKE_NONSENSE, TRUTH_UNKNOWN},
    {201, "{\"id\":\"" ORDER "\",\"status\":\"QUEUED\"}", INTAKE_NONSENSE, TRUTH_UNKNOWN},
    {201, "{\"id\":\"order-17\",\"side\":\"BUY\",\"status\":\"QUEUED\"}", INTAKE_NONSENSE, TRUTH_UNKNOWN},
    {201, "{\"id\":17,\"side\":\"BUY\",\"status\":\"QUEUED\"}", INTAKE_NONSENSE, TRUTH_UNKNOWN},
    {201,
        "{\"id\":\"" ORDER "\",\"note\":\"\\\"\",\"x\":\",\\\"side\\\":\\\"BUY\\\",\",\"status\":\"QUEUED\"}",
        INTAKE_NONSENSE, TRUTH_UNKNOWN},
    {201, "", INTAKE_NONSENSE, TRUTH_UNKNOWN},
    {200, usual_body, INTAKE_OTHER_STATUS, TRUTH_UNKNOWN},
    {401, "{\"detail\":\"no\"}", INTAKE_UNAUTHORIZED, TRUTH_REFUSED},
    {422, "{\"detail\":[]}", INTAKE_INVALID, TRUTH_REFUSED},
    {404, "", INTAKE_OTHER_STATUS, TRUTH_REFUSED},
    {503, "{}", INTAKE_UNAVAILABLE, TRUTH_REFUSED},
    {503, "{\"code\":\"OUTCOME_UNKNOWN\"}", INTAKE_UNAVAILABLE, TRUTH_UNKNOWN},
    {500, "", INTAKE_SERVER_ERROR, TRUTH_UNKNOWN},
};

static void answers_of_the_intake_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof intake_cases / sizeof intake_cases[0]; i++) {
        const struct intake_case *expected = &intake_cases[i];
        struct reply reply = {.status = expected->status, .body = slice_cstr(expected->body)};
        struct judgement judgement = {0};
        struct uuid number = {0, 0};
        intake_judge(&reply, SLICE("BUY"), &judgement, &number);
        if (judgement.outcome != expected->outcome || judgement.truth != expected->truth)
            fail_msg("case %zu, %d %s: outcome %u, truth %d", i, expected->status, expected->body,
                judgement.outcome, (int)judgement.truth);
        if (judgement.outcome == INTAKE_QUEUED)
            assert_true(
                number.high == UINT64_C(0x5f0f3f7e00004000) && number.low == UINT64_C(0x8000000000000001));
    }
}

static void a_number_is_written_as_it_was_read(void **state)
{
    char memory[64];
    struct strbuf text;
    struct uuid uuid;
    (void)state;
    static const char number[] = "01936f0e-9abc-7def-8123-456789abcdef";
    assert_true(uuid_read(slice_cstr(number), &uuid));
    strbuf_init(&text, memory, sizeof memory);
    uuid_put(&text, uuid);
    assert_true(slice_eq(strbuf_slice(&text), slice_cstr(number)));
    assert_false(uuid_read(SLICE("01936f0e-9abc-7def-8123-456789abcde"), &uuid));
    assert_false(uuid_read(SLICE("01936f0e-9abc-7def-8123-456789abcdeg"), &uuid));
    assert_false(uuid_read(SLICE("01936f0e09abc-7def-8123-456789abcdef"), &uuid));
}

static void a_token_that_would_break_a_header_is_none(void **state)
{
    char token[16];
    size_t len = 0;
    (void)state;
    assert_true(intake_read_token(
        SLICE("{\"access_token\":\"abc.def\",\"token_type\":\"bearer\"}"), token, sizeof token, &len));
    assert_true(slice_eq(slice_make(token, len), SLICE("abc.def")));
    assert_false(intake_read_token(SLICE("{\"access_token\":\"a b\"}"), token, sizeof token, &len));
    assert_false(intake_read_token(SLICE("{\"access_token\":\"a\\r\\nX: y\"}"), token, sizeof token, &len));
    assert_false(
        intake_read_token(SLICE("{\"access_token\":\"12345678901234567\"}"), token, sizeof token, &len));
    assert_false(intake_read_token(SLICE("{\"access_token\":\"\"}"), token, sizeof token, &len));
    assert_false(intake_read_token(SLICE("{\"access_token\":7}"), token, sizeof token, &len));
    assert_false(intake_read_token(SLICE("{}"), token, sizeof token, &len));
}

/* --- what is told of it --- */

struct desk {
    struct tally tally;
    struct rush_report report;
};

static int set_up(void **state)
{
    struct desk *desk = calloc(1, sizeof *desk);
    assert_non_null(desk);
    tally_init(&desk->tally);
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

static void add(struct desk *desk, unsigned outcome, int64_t latency_ns, int count)
{
    struct sample sample = {
        .outcome = outcome, .latency_ns = (uint64_t)latency_ns, .duration_ns = (uint64_t)latency_ns};
    for (int i = 0; i < count; i++)
        tally_add(&desk->tally, &sample);
}

static const struct tell_endings endings = {OUTCOME_BIT(ORDER_COMPLETED), OUTCOME_BIT(ORDER_REFUSED)};

static void the_distribution_is_exact_at_its_edges(void **state)
{
    struct desk *desk = *state;
    const struct rush_bar *bars = desk->report.bars;
    add(desk, ORDER_COMPLETED, 3 * S - 1, 2);
    add(desk, ORDER_COMPLETED, 3 * S, 5);
    add(desk, OUTCOME_TIMEOUT, 10 * S, 7);
    add(desk, ORDER_REFUSED, 1, 3);
    add(desk, ORDER_REFUSED, 999 * MS, 1);
    tell_bars(&desk->report, &desk->tally, endings, S, NULL);
    assert_int_equal(desk->report.bar_count, 11); /* 0 to 1 s, nine of a second, and more */
    assert_int_equal(bars[0].counts[RUSH_ENDED_REFUSED], 4);
    assert_int_equal(bars[0].until_ns, S);
    assert_int_equal(bars[2].counts[RUSH_ENDED_GOOD], 2);
    assert_int_equal(bars[3].counts[RUSH_ENDED_GOOD], 5);
    assert_int_equal(bars[3].from_ns, 3 * S);
    assert_int_equal(bars[10].counts[RUSH_ENDED_FAILED], 7);
    assert_int_equal(bars[10].until_ns, INT64_MAX);
}

static void empty_ends_of_the_distribution_are_left_out(void **state)
{
    struct desk *desk = *state;
    add(desk, ORDER_COMPLETED, 3 * S, 1);
    add(desk, ORDER_COMPLETED, 5 * S, 1);
    tell_bars(&desk->report, &desk->tally, endings, 0, NULL);
    assert_int_equal(desk->report.bar_count, 3);
    assert_int_equal(desk->report.bars[0].from_ns, 3 * S);
    static const int64_t original[BANDS_MAX] = {[19] = 39};
    tell_bars(&desk->report, &desk->tally, endings, 0, original);
    assert_int_equal(desk->report.bar_count, 8);
    assert_int_equal(desk->report.bars[7].original, 39);
}

static void distributions_of_threads_add_up(void **state)
{
    struct desk *desk = *state;
    struct desk other;
    tally_init(&other.tally);
    add(desk, ORDER_COMPLETED, 3 * S, 4);
    add(&other, ORDER_COMPLETED, 3 * S, 5);
    tally_merge(&desk->tally, &other.tally);
    tally_fini(&other.tally);
    tell_bars(&desk->report, &desk->tally, endings, S, NULL);
    assert_int_equal(desk->report.bars[0].counts[RUSH_ENDED_GOOD], 9);
}

static void lost_orders_cost_what_the_original_said(void **state)
{
    struct desk *desk = *state;
    desk->report.seconds = 30;
    tell_loss(
        &desk->report, &(struct tell_loss){
                           .original_lost_share = 0.867, .asked = 50, .lost = 20, .refused = 5, .value = 50});
    assert_int_equal(desk->report.impact_count, 4);
    assert_non_null(strstr(desk->report.impacts[0], "239 of 1,800 orders an hour taken, 1,561 lost"));
    assert_non_null(strstr(desk->report.impacts[0], "$78,050 an hour"));
    assert_non_null(strstr(desk->report.impacts[1], "1,080 of 1,800 orders an hour taken, 720 lost"));
    assert_non_null(strstr(desk->report.impacts[1], "$36,000 an hour"));
    assert_non_null(strstr(desk->report.impacts[2], "3,600 of 6,000 orders an hour taken, 2,400 lost"));
    assert_non_null(strstr(desk->report.impacts[3], "of the 20 lost in this run 5 were refused"));
}

static void who_comes_again_too_early_is_no_further_demand(void **state)
{
    struct desk *desk = *state;
    struct tell_loss loss = {.original_lost_share = 0.867,
        .asked = 1250,
        .lost = 1240,
        .refused = 1240,
        .pace_per_s = 10.0 / 30,
        .value = 50};
    desk->report.seconds = 30;
    tell_loss(&desk->report, &loss);
    assert_non_null(strstr(desk->report.impacts[1], "1,200 of 1,800 orders an hour taken, 600 lost"));
    assert_non_null(strstr(desk->report.impacts[2], "1,200 of 150,000 orders an hour taken, 148,800 lost"));
    desk->report.impact_count = 0;
    loss.pace_per_s = 20; /* more than that demand */
    tell_loss(&desk->report, &loss);
    assert_non_null(strstr(desk->report.impacts[1], "1,800 of 1,800 orders an hour taken, 0 lost"));
    desk->report.impact_count = 0;
    loss.lost = 1245; /* half of those let in were lost */
    tell_loss(&desk->report, &loss);
    assert_non_null(strstr(desk->report.impacts[1], "900 of 1,800 orders an hour taken, 900 lost"));
    desk->report.impact_count = 0;
    loss = (struct tell_loss){.original_lost_share = 0.867, .asked = 9, .lost = 9, .refused = 9, .value = 50};
    tell_loss(&desk->report, &loss);
    assert_non_null(strstr(desk->report.impacts[1], "0 of 1,800 orders an hour taken, 1,800 lost"));
}

static void nobody_who_asked_for_nothing_has_lost_anything(void **state)
{
    struct desk *desk = *state;
    tell_loss(&desk->report, &(struct tell_loss){.original_lost_share = NAN, .value = 50});
    assert_int_equal(desk->report.impact_count, 2);
    assert_non_null(strstr(desk->report.impacts[1], "0 of 0 orders an hour taken, 0 lost"));
}

static void what_nobody_measured_is_null_in_the_json(void **state)
{
    struct desk *desk = *state;
    struct strbuf text;
    desk->report.scenario = "sync-flash";
    tell_figure(&desk->report, "f", "ms", NAN, 2.5, 3);
    strbuf_init_heap(&text, 1 << 20);
    report_put_json(&text, &desk->report, 1);
    assert_false(text.has_overflowed);
    strbuf_put_char(&text, '\0');
    assert_non_null(strstr(text.base,
        "\"figures\":[{\"figure\":\"f\",\"unit\":\"ms\",\"original\":null,\"expected\":2.5,\"here\":3}]"));
    strbuf_fini(&text);
}

static void latencies_of_the_crowd_leave_set_up_out(void **state)
{
    struct desk *desk = *state;
    struct hist admin;
    struct threshold p99 = {.metric = METRIC_CROWD_LATENCY,
        .outcomes = OUTCOME_BIT(ORDER_ACCEPTED),
        .percent = 99,
        .compare = COMPARE_BELOW,
        .limit = 100};
    struct figures figures = {&desk->tally, &admin, 0};
    hist_init(&admin);
    hist_add(&admin, (uint64_t)(5 * S));
    assert_false(threshold_check(&p99, &figures).is_met); /* nothing to measure */
    add(desk, ORDER_ACCEPTED, 5 * MS, 99);
    add(desk, OUTCOME_TIMEOUT, 5 * S, 10); /* of another outcome */
    assert_true(threshold_check(&p99, &figures).is_met);
    add(desk, ORDER_ACCEPTED, 500 * MS, 2);
    assert_false(threshold_check(&p99, &figures).is_met);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_about_orders_are_told_apart),
        cmocka_unit_test(stats_are_read_with_and_without_cancelled_orders),
        cmocka_unit_test(answers_of_the_intake_are_told_apart),
        cmocka_unit_test(a_number_is_written_as_it_was_read),
        cmocka_unit_test(a_token_that_would_break_a_header_is_none),
        cmocka_unit_test_setup_teardown(the_distribution_is_exact_at_its_edges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(empty_ends_of_the_distribution_are_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(distributions_of_threads_add_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lost_orders_cost_what_the_original_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_comes_again_too_early_is_no_further_demand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_who_asked_for_nothing_has_lost_anything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_nobody_measured_is_null_in_the_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(latencies_of_the_crowd_leave_set_up_out, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
