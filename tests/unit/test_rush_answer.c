/* SPDX-License-Identifier: Apache-2.0 */
/* How answers of the flash-sale face are read: every spelling of the same JSON alike, and nothing else taken
 * for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "rush/answer.h"

struct purchase_case {
    int status;
    const char *body;
    enum answer answer;
    enum truth truth;
    const char *detail;
};

#define SUCCESS                                                                                            \
    "{\"success\":true,\"data\":{\"purchaseNo\":\"PUR-20261120-0001\",\"purchasedAt\":\"2026-11-20T23:48:" \
    "01.620Z\"}}"
#define REFUSAL(code) "{\"success\":false,\"error\":{\"code\":\"" code "\",\"message\":\"m\"}}"

static const struct purchase_case purchase_cases[] = {
    {200, SUCCESS, ANSWER_SUCCESS, TRUTH_ACKNOWLEDGED, "PUR-20261120-0001"},
    {200, "{ \"data\": {\"purchasedAt\":\"x\", \"purchaseNo\":\"P\\u0031\"}, \"success\": true }",
        ANSWER_SUCCESS, TRUTH_ACKNOWLEDGED, "P1"},
    {200, REFUSAL("SALE_NOT_ACTIVE"), ANSWER_NOT_ACTIVE, TRUTH_REFUSED, "SALE_NOT_ACTIVE"},
    {200, REFUSAL("SOLD_OUT"), ANSWER_SOLD_OUT, TRUTH_REFUSED, "SOLD_OUT"},
    {200, REFUSAL("ALREADY_PURCHASED"), ANSWER_ALREADY_PURCHASED, TRUTH_REFUSED, "ALREADY_PURCHASED"},
    {200, "{\"error\":{\"code\":\"SOLD_OUT\"},\"success\":false}", ANSWER_SOLD_OUT, TRUTH_REFUSED,
        "SOLD_OUT"},
    {200, REFUSAL("sold_out"), ANSWER_UNKNOWN_CODE, TRUTH_REFUSED, "sold_out"},
    {200, "", ANSWER_NONSENSE, TRUTH_UNKNOWN, "NONSENSE"},
    {200, "null", ANSWER_NONSENSE, TRUTH_UNKNOWN, "NONSENSE"},
    {200, "[]", ANSWER_NONSENSE, TRUTH_UNKNOWN, "NONSENSE"},
    {200, "{}", ANSWER_NONSENSE, TRUTH_UNKNOWN, "NONSENSE"},
    {200, SUCCESS "x", ANSWER_NONSENSE, TRUTH_UNKNOWN, "NONSENSE"},
    {200, "{\"success\":\"true\",\"data\":{\"purchaseNo\":\"P\",\"purchasedAt\":\"t\"}}", ANSWER_NONSENSE,
        TRUTH_UNKNOWN, "NONSENSE"},
    {200, "{\"success\":true,\"data\":{\"purchaseNo\":1,\"purchasedAt\":\"t\"}}", ANSWER_NONSENSE,
        TRUTH_UNKNOWN, "NONSENSE"},
    {200, "{\"success\":true,\"data\":{\"purchaseNo\":\"P\"}}", ANSWER_NONSENSE, TRUTH_UNKNOWN, "NONSENSE"},
    {200, "{\"success\":false}", ANSWER_NONSENSE, TRUTH_UNKNOWN, "NONSENSE"},
    {429, REFUSAL("RATE_LIMIT_EXCEEDED"), ANSWER_RATE_LIMITED, TRUTH_REFUSED, "RATE_LIMIT_EXCEEDED"},
    {429,
        "{\"success\":false,\"error\":{\"code\":\"RATE_LIMIT_EXCEEDED\",\"message\":\"m\",\"retryAfter\":1}}",
        ANSWER_RATE_LIMITED, TRUTH_REFUSED, "RATE_LIMIT_EXCEEDED"},
    {429, "<html>", ANSWER_RATE_LIMITED_ODD, TRUTH_REFUSED, "HTTP_429"},
    {429, REFUSAL("RATE_LIMITED"), ANSWER_RATE_LIMITED_ODD, TRUTH_REFUSED, "RATE_LIMITED"},
    {503, REFUSAL("SERVICE_UNAVAILABLE"), ANSWER_UNAVAILABLE, TRUTH_REFUSED, "SERVICE_UNAVAILABLE"},
    {503, "", ANSWER_UNAVAILABLE, TRUTH_REFUSED, "HTTP_503"},
    {503, REFUSAL("OUTCOME_UNKNOWN"), ANSWER_UNAVAILABLE, TRUTH_UNKNOWN, "OUTCOME_UNKNOWN"},
    {500, REFUSAL("INTERNAL_ERROR"), ANSWER_SERVER_ERROR, TRUTH_UNKNOWN, "INTERNAL_ERROR"},
    {502, "<html>", ANSWER_SERVER_ERROR, TRUTH_UNKNOWN, "HTTP_502"},
    {400, REFUSAL("HTTP_ERROR"), ANSWER_OTHER_STATUS, TRUTH_REFUSED, "HTTP_ERROR"},
    {404, "", ANSWER_OTHER_STATUS, TRUTH_REFUSED, "HTTP_404"},
    {201, SUCCESS, ANSWER_OTHER_STATUS, TRUTH_UNKNOWN, "HTTP_201"},
    {302, "", ANSWER_OTHER_STATUS, TRUTH_UNKNOWN, "HTTP_302"},
};

static void purchase_answers_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof purchase_cases / sizeof purchase_cases[0]; i++) {
        const struct purchase_case *expected = &purchase_cases[i];
        struct reply reply = {.status = expected->status, .body = slice_cstr(expected->body)};
        struct judgement judgement = {0};
        enum answer answer = answer_read_purchase(&reply, &judgement);
        struct slice detail = slice_make(judgement.detail, judgement.detail_len);
        if (answer != expected->answer || judgement.truth != expected->truth ||
            !slice_eq(detail, slice_cstr(expected->detail)))
            fail_msg("%d %s: answer %d, truth %d, detail %.*s", expected->status, expected->body, (int)answer,
                (int)judgement.truth, SLICE_ARGS(detail));
    }
}

struct status_case {
    int status;
    const char *body;
    enum poll_answer answer;
};

#define SALE(state, stock, initial)                                                        \
    "{\"success\":true,\"data\":{\"sku\":\"W-1\",\"state\":\"" state "\",\"stock\":" stock \
    ",\"initialStock\":" initial ",\"productName\":\"Widget\",\"startTime\":\"1\",\"endTime\":\"2\"}}"

static const struct status_case status_cases[] = {
    {200, SALE("ACTIVE", "3", "3"), POLL_GOOD},
    {200, SALE("ENDED", "0", "3"), POLL_GOOD},
    {200, SALE("UPCOMING", "0", "0"), POLL_GOOD},
    {200, "{\"data\": {\"stock\": 1.0, \"initialStock\": 2, \"state\": \"ACTIVE\"}, \"success\": true}",
        POLL_GOOD},
    {200, SALE("active", "3", "3"), POLL_ODD},
    {200, SALE("ACTIVE", "4", "3"), POLL_ODD},
    {200, SALE("ACTIVE", "-1", "3"), POLL_ODD},
    {200, SALE("ACTIVE", "\"1\"", "3"), POLL_ODD},
    {200, SALE("ACTIVE", "1.5", "3"), POLL_ODD},
    {200, SALE("ACTIVE", "00", "3"), POLL_NOT_SUCCESS},
    {200, SALE("ACTIVE", "1", "3") "}", POLL_NOT_SUCCESS},
    {200, "{\"success\":true}", POLL_ODD},
    {200, "{\"success\":false,\"error\":{\"code\":\"X\",\"message\":\"m\"}}", POLL_NOT_SUCCESS},
    {200, "", POLL_NOT_SUCCESS},
    {500, SALE("ACTIVE", "3", "3"), POLL_NOT_200},
};

static void status_answers_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof status_cases / sizeof status_cases[0]; i++) {
        struct reply reply = {.status = status_cases[i].status, .body = slice_cstr(status_cases[i].body)};
        struct sale_status status;
        enum poll_answer answer = answer_read_status(&reply, &status);
        if (answer != status_cases[i].answer)
            fail_msg("%s: %d", status_cases[i].body, (int)answer);
    }
}

static void the_state_of_the_sale_is_told(void **state)
{
    struct reply active = {.status = 200, .body = SLICE(SALE("ACTIVE", "3", "5"))};
    struct reply ended = {.status = 200, .body = SLICE(SALE("ENDED", "0", "5"))};
    struct sale_status status;
    (void)state;
    assert_int_equal(answer_read_status(&active, &status), POLL_GOOD);
    assert_true(status.is_active && !status.is_ended && status.stock == 3 && status.initial_stock == 5);
    assert_int_equal(answer_read_status(&ended, &status), POLL_GOOD);
    assert_true(!status.is_active && status.is_ended);
}

static void a_product_needs_both_numbers(void **state)
{
    int64_t current;
    int64_t total;
    (void)state;
    assert_true(answer_read_product(200,
        SLICE("{\"success\":true,\"data\":{\"currentStock\":1,\"totalPurchases\":2}}"), &current, &total));
    assert_int_equal(current, 1);
    assert_int_equal(total, 2);
    assert_false(answer_read_product(404,
        SLICE("{\"success\":true,\"data\":{\"currentStock\":1,\"totalPurchases\":2}}"), &current, &total));
    assert_false(answer_read_product(
        200, SLICE("{\"success\":true,\"data\":{\"currentStock\":1}}"), &current, &total));
    assert_false(answer_read_product(200,
        SLICE("{\"success\":true,\"data\":{\"currentStock\":\"1\",\"totalPurchases\":2}}"), &current,
        &total));
    assert_false(answer_read_product(200, SLICE("nonsense"), &current, &total));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(purchase_answers_are_told_apart),
        cmocka_unit_test(status_answers_are_told_apart),
        cmocka_unit_test(the_state_of_the_sale_is_told),
        cmocka_unit_test(a_product_needs_both_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
