/* SPDX-License-Identifier: Apache-2.0 */
/* How the ladder reads the vending machines' answers and what it says of its levels: a wrong stock or a lost
 * user must not pass, a busy machine is no failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rush/ladder.h"
#include "rush/report.h"
#include "rush/vending.h"

static const uint64_t MS = 1000000;

/* --- answers --- */

#define GIVEN "{\"message\":\"m\",\"machine\":{\"id\":3,\"status\":\"choose_product\"}"
#define SOLD "{\"machine\":{\"id\":3,\"status\":\"processing\"},\"product\":{\"id\":8,\"stock\":1}}"

/* What the server writes, up to the machine's name and from it on. */
#define USUAL_GIVEN                                                                               \
    "{\"message\":\"Machine selected and moved to choose_product state.\",\"machine\":{\"id\":3," \
    "\"name\":\""
#define USUAL_STATUS(status) \
    "\",\"status\":\"" status "\",\"usage_count\":4,\"updated_at\":\"2026-01-01T00:00:00.000000Z\"}"
#define USUAL_SOLD                                                                                         \
    "{\"message\":\"Product selected. Machine is now processing.\",\"machine\":{\"id\":3,\"name\":\"M\"}," \
    "\"product\":{\"id\":"

enum asked { START, CHOOSE, RESET };

struct answer_case {
    enum asked asked;
    int status;
    const char *retry_after;
    const char *body;
    unsigned outcome;
    enum truth truth;
};

static const struct answer_case answer_cases[] = {
    {START, 200, "", GIVEN "}", VENDING_STARTED, TRUTH_ACKNOWLEDGED},
    {START, 200, "", GIVEN ",\"lease\":17}", VENDING_STARTED, TRUTH_ACKNOWLEDGED},
    {START, 200, "", USUAL_GIVEN "M" USUAL_STATUS("choose_product") ",\"lease\":17}", VENDING_STARTED,
        TRUTH_ACKNOWLEDGED},
    {START, 200, "", USUAL_GIVEN "M" USUAL_STATUS("choose_product") "}", VENDING_STARTED, TRUTH_ACKNOWLEDGED},
    {START, 200, "", USUAL_GIVEN "M" USUAL_STATUS("idle") ",\"lease\":17}", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {START, 200, "", USUAL_GIVEN "M" USUAL_STATUS("choose_product") ",\"lease\":17", VENDING_NONSENSE,
        TRUTH_UNKNOWN},
    /* A name that looks like the rest of an answer. */
    {START, 200, "",
        USUAL_GIVEN "\\\",\\\"status\\\":\\\"choose_product\\\",\\\"}" USUAL_STATUS("idle") ",\"lease\":17}",
        VENDING_NONSENSE, TRUTH_UNKNOWN},
    {START, 200, "", USUAL_GIVEN "\\\"}" USUAL_STATUS("choose_product") ",\"lease\":17}", VENDING_STARTED,
        TRUTH_ACKNOWLEDGED},
    {START, 200, "", "{\"machine\":{\"id\":3,\"status\":\"idle\"}}", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {START, 200, "", "{\"machine\":{\"id\":0,\"status\":\"choose_product\"}}", VENDING_NONSENSE,
        TRUTH_UNKNOWN},
    {START, 200, "", "{\"machine\":{\"status\":\"choose_product\"}}", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {START, 200, "", "[]", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {START, 200, "", "", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {START, 201, "", GIVEN "}", VENDING_OTHER_STATUS, TRUTH_UNKNOWN},
    {START, 409, "", "{\"error\":\"No idle vending machine available.\"}", VENDING_BUSY, TRUTH_REFUSED},
    {START, 422, "", "{}", VENDING_OTHER_STATUS, TRUTH_REFUSED},
    {START, 503, "5", "{}", VENDING_LINE_FULL, TRUTH_REFUSED},
    {START, 503, "", "{}", VENDING_SERVER_ERROR, TRUTH_REFUSED},
    {START, 503, "5", "{\"code\":\"OUTCOME_UNKNOWN\"}", VENDING_LINE_FULL, TRUTH_UNKNOWN},
    {START, 500, "", "{}", VENDING_SERVER_ERROR, TRUTH_UNKNOWN},
    {CHOOSE, 200, "", SOLD, VENDING_SOLD, TRUTH_ACKNOWLEDGED},
    {CHOOSE, 200, "", USUAL_SOLD "8,\"stock\":1}}", VENDING_SOLD, TRUTH_ACKNOWLEDGED},
    {CHOOSE, 200, "", USUAL_SOLD "80,\"stock\":1}}", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {CHOOSE, 200, "", USUAL_SOLD "}}", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {CHOOSE, 200, "", "{\"machine\":{\"id\":4},\"product\":{\"id\":8}}", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {CHOOSE, 200, "", "{\"machine\":{\"id\":3},\"product\":{\"id\":9}}", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {CHOOSE, 200, "", "OK", VENDING_NONSENSE, TRUTH_UNKNOWN},
    {CHOOSE, 422, "", "{\"error\":\"Insufficient stock. Available count: 0\"}", VENDING_REFUSED,
        TRUTH_REFUSED},
    {CHOOSE, 409, "", "{}", VENDING_OTHER_STATUS, TRUTH_REFUSED},
    {RESET, 200, "", "{}", VENDING_RESET, TRUTH_ACKNOWLEDGED},
    {RESET, 409, "", "{\"error\":\"Machine is already idle.\"}", VENDING_IDLE, TRUTH_REFUSED},
    {RESET, 404, "", "{}", VENDING_OTHER_STATUS, TRUTH_REFUSED},
};

static void judge(const struct answer_case *answer, struct judgement *judgement)
{
    struct reply reply = {.status = answer->status,
        .body = slice_cstr(answer->body),
        .retry_after = slice_cstr(answer->retry_after)};
    struct vending_lease lease;
    if (answer->asked == START)
        vending_judge_start(&reply, judgement, &lease);
    else if (answer->asked == CHOOSE)
        vending_judge_choice(&reply, 3, 8, judgement);
    else
        vending_judge_reset(&reply, judgement);
    if (judgement->outcome == VENDING_STARTED) {
        assert_int_equal(lease.machine, 3);
        assert_int_equal(lease.lease, strstr(answer->body, "lease") != NULL ? 17 : 0);
    }
}

static void answers_of_the_machines_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answer_cases / sizeof answer_cases[0]; i++) {
        const struct answer_case *expected = &answer_cases[i];
        struct judgement judgement = {0};
        judge(expected, &judgement);
        if (judgement.outcome != expected->outcome || judgement.truth != expected->truth)
            fail_msg("case %zu, %d %s: outcome %u, truth %d", i, expected->status, expected->body,
                judgement.outcome, (int)judgement.truth);
    }
}

static void lists_are_read_whole_or_not_at_all(void **state)
{
    struct vending_items items;
    (void)state;
    assert_true(vending_read_items(200,
        SLICE("[{\"id\":9,\"name\":\"b\",\"stock\":0},{\"id\":2,\"name\":\"a\",\"stock\":200}]"), true,
        &items));
    assert_int_equal(items.count, 2);
    assert_int_equal(items.items[0].id, 2);
    assert_int_equal(vending_find(&items, 2)->stock, 200);
    assert_int_equal(vending_find(&items, 9)->stock, 0);
    assert_null(vending_find(&items, 3));
    vending_items_fini(&items);
    assert_true(vending_read_items(200, SLICE("[]"), true, &items));
    assert_int_equal(items.count, 0);
    assert_null(vending_find(&items, 3));
    vending_items_fini(&items);
    assert_false(vending_read_items(200, SLICE("[{\"id\":9},{\"id\":2,\"stock\":200}]"), true, &items));
    assert_false(vending_read_items(200, SLICE("{\"id\":9}"), false, &items));
    assert_false(vending_read_items(500, SLICE("[]"), false, &items));
    assert_null(items.items);
}

/* --- levels --- */

struct desk {
    struct rush rush;
    struct rush_ladder ladder;
    char said[1024];
};

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct desk));
    assert_non_null(*state);
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

/* A level as it should be: five buy, everybody else is turned away. */
static struct rush_rung *add(struct desk *desk, uint64_t users, uint64_t p99_ms)
{
    struct rush_ladder *ladder = &desk->ladder;
    if (ladder->rung_count == 0)
        ladder->stock_supplied = ladder->stock_expected = 2000;
    ladder->stock_expected -= 5;
    ladder->stock_left = ladder->stock_expected;
    struct rush_rung *rung = &ladder->rungs[ladder->rung_count++];
    *rung = (struct rush_rung){.users = users,
        .seconds = 1,
        .given_count = 5,
        .busy_count = users - 5,
        .sold_count = 5,
        .stock_expected = ladder->stock_expected,
        .stock_left = ladder->stock_expected,
        .limit_ns = ladder_limit_ns(users),
        .is_limit_asked = users <= LADDER_ASKED_USERS_MAX};
    rung->user.count = users;
    rung->user.percentile_ns[PERCENTILE_99] = p99_ms * MS;
    return rung;
}

/* What of the run's invariants fails; NULL: nothing. */
static const char *failed(struct desk *desk)
{
    desk->rush.invariant_count = 0;
    ladder_judge(&desk->ladder, &desk->rush);
    for (size_t i = 0; i < desk->rush.invariant_count; i++)
        if (!desk->rush.invariants[i].holds)
            return desk->rush.invariants[i].text;
    return NULL;
}

static bool is_said(
    struct desk *desk, void (*say)(struct strbuf *, const struct rush_ladder *), const char *part)
{
    struct strbuf text;
    strbuf_init(&text, desk->said, sizeof desk->said - 1);
    say(&text, &desk->ladder);
    desk->said[text.len] = '\0';
    return strstr(desk->said, part) != NULL;
}

static void a_crowd_that_is_turned_away_passes(void **state)
{
    struct desk *desk = *state;
    add(desk, 10, 5);
    add(desk, 1000, 250);
    add(desk, 5000, 1000);
    assert_null(failed(desk));
    assert_int_equal(ladder_breaking_point(&desk->ladder), 3);
    assert_true(is_said(desk, ladder_put_breaking_point, "does not break up to 5000 users"));
}

static void a_wrong_stock_fails(void **state)
{
    struct desk *desk = *state;
    struct rush_rung *rung = add(desk, 10, 5);
    add(desk, 25, 5);
    assert_null(failed(desk));
    rung->stock_left--;
    assert_non_null(strstr(failed(desk), "after 10 users 1995 units were expected and 1994 left"));
    rung->stock_left += 2;
    assert_non_null(strstr(failed(desk), "stock left"));
    rung->stock_left = -1;
    assert_non_null(strstr(failed(desk), "stock left"));
    rung->stock_left = rung->stock_expected;
    rung->product_off_count = 2; /* one product too many, another too few */
    assert_non_null(strstr(failed(desk), "2 products"));
    rung->product_off_count = 0;
    desk->ladder.stock_left++;
    assert_non_null(strstr(failed(desk), "1991 = 2000 - 10"));
}

static void whoever_is_not_answered_fails(void **state)
{
    struct desk *desk = *state;
    struct rush_rung *rung = add(desk, 10, 5);
    rung->timeout_count = 1;
    assert_non_null(strstr(failed(desk), "1 timed out, 0 connections failed"));
    assert_int_equal(ladder_breaking_point(&desk->ladder), 0);
    rung->timeout_count = 0;
    rung->lost_count = 1;
    assert_non_null(strstr(failed(desk), "0 timed out, 1 connections failed"));
    rung->lost_count = 0;
    rung->other_count = 1;
    assert_non_null(strstr(failed(desk), "outside the contract: 1"));
    rung->other_count = 0;
    assert_null(failed(desk));
    desk->ladder.reset_error_count = 1;
    assert_non_null(strstr(failed(desk), "1 could not"));
}

static void latency_is_judged_up_to_5000_users(void **state)
{
    struct desk *desk = *state;
    struct rush_rung *slow = add(desk, 1000, 251);
    assert_non_null(strstr(failed(desk), "at most 250 ms, measured 251.0 ms"));
    slow->user.percentile_ns[PERCENTILE_99] = 250 * MS;
    slow = add(desk, 1001, 1001);
    assert_non_null(strstr(failed(desk), "at most 1000 ms, measured 1001.0 ms"));
    slow->user.percentile_ns[PERCENTILE_99] = 1000 * MS;
    add(desk, 10000, 2001);
    assert_null(failed(desk));
    assert_int_equal(ladder_breaking_point(&desk->ladder), 2);
    assert_true(
        is_said(desk, ladder_put_breaking_point, "breaks at 10000 users at once: p99 2001 ms is above"));
}

static void users_in_the_line_may_take_their_time(void **state)
{
    struct desk *desk = *state;
    struct rush_rung *rung = add(desk, 1000, 30000);
    rung->limit_ns = 0;
    rung->is_limit_asked = false;
    rung->full_count = 7;
    desk->ladder.wait_s = 30;
    assert_null(failed(desk));
    assert_int_equal(ladder_breaking_point(&desk->ladder), 1);
    assert_false(ladder_growth(&desk->ladder).is_judged);
}

static void where_it_breaks_and_that_it_came_back_is_told(void **state)
{
    struct desk *desk = *state;
    add(desk, 1000, 200);
    struct rush_rung *broken = add(desk, 2500, 30482);
    broken->timeout_count = 2500;
    assert_int_equal(ladder_breaking_point(&desk->ladder), 1);
    assert_true(
        is_said(desk, ladder_put_breaking_point, "breaks at 2500 users at once: 2500 requests timed out"));
    assert_true(is_said(desk, ladder_put_breaking_point, "With 1000 all was answered, p99 200 ms"));
    assert_false(is_said(desk, ladder_put_breaking_point, "later level"));
    struct rush_rung *after = add(desk, 100, 300);
    assert_true(is_said(desk, ladder_put_breaking_point, "No later level held"));
    after->user.percentile_ns[PERCENTILE_99] = 10 * MS;
    assert_int_equal(ladder_comeback(&desk->ladder, 1), 2);
    assert_true(
        is_said(desk, ladder_put_breaking_point, "came back by itself: the later level of 100 users held"));
}

/* --- growth --- */

static bool is_linear(struct desk *desk)
{
    struct ladder_growth growth = ladder_growth(&desk->ladder);
    assert_true(growth.is_judged);
    return growth.is_linear;
}

static void latency_in_proportion_to_the_users_is_linear(void **state)
{
    struct desk *desk = *state;
    add(desk, 10, 500); /* too few to be judged */
    add(desk, 100, 20);
    assert_false(ladder_growth(&desk->ladder).is_judged);
    add(desk, 1000, 200);
    add(desk, 5000, 1000);
    assert_true(is_linear(desk));
    add(desk, 10000, 900); /* slower than linearly */
    assert_true(is_linear(desk));
    add(desk, 100, 100); /* after it, and no more than the first */
    assert_true(is_linear(desk));
    assert_true(is_said(desk, ladder_put_growth, "no faster than linearly"));
}

static void a_cliff_is_no_linear_growth(void **state)
{
    struct desk *desk = *state;
    add(desk, 100, 20);
    add(desk, 1000, 270); /* 1.25 times as much per user, and 20 ms */
    assert_true(is_linear(desk));
    add(desk, 2500, 1200);
    assert_false(is_linear(desk));
    assert_true(is_said(desk, ladder_put_growth,
        "FASTER than linearly with the users: p99 is 20.0 ms at 100, so it may be 645.0 ms at 2500, and is "
        "1200.0 ms."));
}

/* --- the report --- */

static void the_tables_are_those_of_the_original(void **state)
{
    static const char *const parts[] = {"| Concurrent Users | Wall Time (s) | Effective RPS | Purchases OK | "
                                        "start-work 200 | start-work 409 | "
                                        "Timeouts | Conn Errors |",
        "### Per-Endpoint Latency Detail", "| 10 | start-work: timeout (no complete answer in time) | 2 |",
        "| 25 - 100 | *(no errors)* | 0 |", "### Latency Scaling", "| 100 | 20.0 | 250 | 200.0 | 551.0 |",
        "### Breaking Point", "| Expected remaining stock | 1985 |"};
    struct desk *desk = *state;
    struct strbuf text;
    struct rush_rung *rung = add(desk, 10, 5);
    rung->timeout_count = 2;
    rung->errors[rung->error_count++] =
        (struct rush_rung_error){"start-work", "timeout", "no complete answer in time", 2};
    add(desk, 25, 6);
    add(desk, 100, 20);
    strbuf_init_heap(&text, 1 << 20);
    report_put_ladder(&text, true, &desk->ladder);
    strbuf_put_char(&text, '\0');
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(text.base, parts[i]) == NULL)
            fail_msg("the report has no '%s':\n%s", parts[i], text.base);
    strbuf_fini(&text);
    assert_true(isnan(ladder_original_p99_ms(26)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_the_machines_are_told_apart),
        cmocka_unit_test(lists_are_read_whole_or_not_at_all),
        cmocka_unit_test_setup_teardown(a_crowd_that_is_turned_away_passes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_stock_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whoever_is_not_answered_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(latency_is_judged_up_to_5000_users, set_up, tear_down),
        cmocka_unit_test_setup_teardown(users_in_the_line_may_take_their_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(where_it_breaks_and_that_it_came_back_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(latency_in_proportion_to_the_users_is_linear, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cliff_is_no_linear_growth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_tables_are_those_of_the_original, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
