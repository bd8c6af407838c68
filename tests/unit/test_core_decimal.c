/* SPDX-License-Identifier: Apache-2.0 */
/* Amounts are read, calculated and written exactly, or refused. */
#include "core/decimal.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct row {
    const char *text;
    int scale;
    enum decimal_status status;
    int64_t value;
};

static const struct row rows[] = {
    {"0", 6, DECIMAL_OK, 0},
    {"-0", 6, DECIMAL_OK, 0},
    {"0.0", 6, DECIMAL_OK, 0},
    {"0e99999999999999999999999", 6, DECIMAL_OK, 0},
    {"0.000e-99999999999999999999999", 6, DECIMAL_OK, 0},
    {"0.00000000000000000000000000000000000", 0, DECIMAL_OK, 0},
    {"1", 6, DECIMAL_OK, 1000000},
    {"150.0", 6, DECIMAL_OK, 150000000},
    {"150.00000000000000000000000000000", 6, DECIMAL_OK, 150000000},
    {"1e2", 6, DECIMAL_OK, 100000000},
    {"1E2", 0, DECIMAL_OK, 100},
    {"1e+2", 0, DECIMAL_OK, 100},
    {"1e02", 0, DECIMAL_OK, 100},
    {"1e-00000000000000000000000002", 2, DECIMAL_OK, 1},
    {"100e-2", 0, DECIMAL_OK, 1},
    {"1000000e-6", 6, DECIMAL_OK, 1000000},
    {"0.1", 6, DECIMAL_OK, 100000},
    {"-0.1", 6, DECIMAL_OK, -100000},
    {"0.000001", 6, DECIMAL_OK, 1},
    {"1e-6", 6, DECIMAL_OK, 1},
    {"0.00000000000000000001e14", 6, DECIMAL_OK, 1},
    {"123.456789", 6, DECIMAL_OK, 123456789},
    {"99.99", 2, DECIMAL_OK, 9999},
    {"0.123456789", 9, DECIMAL_OK, 123456789},
    {"9223372036854775807", 0, DECIMAL_OK, INT64_MAX},
    {"-9223372036854775808", 0, DECIMAL_OK, INT64_MIN},
    {"9223372036854.775807", 6, DECIMAL_OK, INT64_MAX},
    {"-9223372036854.775808", 6, DECIMAL_OK, INT64_MIN},
    {"9223372036.854775807", 9, DECIMAL_OK, INT64_MAX},
    {"9223372036854775807.00", 0, DECIMAL_OK, INT64_MAX},
    {"922337203685477580.7e1", 0, DECIMAL_OK, INT64_MAX},
    {"9.223372036854775807e18", 0, DECIMAL_OK, INT64_MAX},
    {"1e18", 0, DECIMAL_OK, 1000000000000000000},
    {"0.0000001", 6, DECIMAL_TOO_PRECISE, 0},
    {"1.0000001", 6, DECIMAL_TOO_PRECISE, 0},
    {"1e-7", 6, DECIMAL_TOO_PRECISE, 0},
    {"1e-99999999999999999999999", 9, DECIMAL_TOO_PRECISE, 0},
    {"0.5", 0, DECIMAL_TOO_PRECISE, 0},
    {"99.999", 2, DECIMAL_TOO_PRECISE, 0},
    {"9223372036854775807.5", 0, DECIMAL_TOO_PRECISE, 0},
    {"9223372036854775808", 0, DECIMAL_OUT_OF_RANGE, 0},
    {"-9223372036854775809", 0, DECIMAL_OUT_OF_RANGE, 0},
    {"9223372036854.775808", 6, DECIMAL_OUT_OF_RANGE, 0},
    {"-9223372036854.775809", 6, DECIMAL_OUT_OF_RANGE, 0},
    {"1e19", 0, DECIMAL_OUT_OF_RANGE, 0},
    {"1e13", 6, DECIMAL_OUT_OF_RANGE, 0},
    {"-1e13", 6, DECIMAL_OUT_OF_RANGE, 0},
    {"1e99999999999999999999999", 0, DECIMAL_OUT_OF_RANGE, 0},
    {"12345678901234567890", 0, DECIMAL_OUT_OF_RANGE, 0},
    {"100000000000000000000000000000000000000", 0, DECIMAL_OUT_OF_RANGE, 0},
    {"", 6, DECIMAL_MALFORMED, 0},
    {"-", 6, DECIMAL_MALFORMED, 0},
    {"+1", 6, DECIMAL_MALFORMED, 0},
    {"--1", 6, DECIMAL_MALFORMED, 0},
    {"01", 6, DECIMAL_MALFORMED, 0},
    {"-01", 6, DECIMAL_MALFORMED, 0},
    {"00", 6, DECIMAL_MALFORMED, 0},
    {".5", 6, DECIMAL_MALFORMED, 0},
    {"5.", 6, DECIMAL_MALFORMED, 0},
    {"5.e1", 6, DECIMAL_MALFORMED, 0},
    {"1e", 6, DECIMAL_MALFORMED, 0},
    {"1e+", 6, DECIMAL_MALFORMED, 0},
    {"1e1.5", 6, DECIMAL_MALFORMED, 0},
    {"1e+-1", 6, DECIMAL_MALFORMED, 0},
    {"1.2.3", 6, DECIMAL_MALFORMED, 0},
    {"1,5", 6, DECIMAL_MALFORMED, 0},
    {" 1", 6, DECIMAL_MALFORMED, 0},
    {"1 ", 6, DECIMAL_MALFORMED, 0},
    {"0x10", 6, DECIMAL_MALFORMED, 0},
    {"1_000", 6, DECIMAL_MALFORMED, 0},
    {"NaN", 6, DECIMAL_MALFORMED, 0},
    {"Infinity", 6, DECIMAL_MALFORMED, 0},
    {"null", 6, DECIMAL_MALFORMED, 0},
    {"\"1\"", 6, DECIMAL_MALFORMED, 0},
};

static void numbers_are_read_exactly_or_refused(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = 4711;
        enum decimal_status status = decimal_parse(slice_cstr(rows[i].text), rows[i].scale, &value);
        int64_t expected = rows[i].status == DECIMAL_OK ? rows[i].value : 4711;
        if (status != rows[i].status || value != expected)
            fail_msg("%s at scale %d: status %d instead of %d, value %" PRId64, rows[i].text, rows[i].scale,
                status, rows[i].status, value);
    }
}

static void a_cut_text_is_read_no_further_than_its_end(void **state)
{
    static const char text[] = "-12.5e1";
    static const enum decimal_status statuses[] = {DECIMAL_MALFORMED, DECIMAL_MALFORMED, DECIMAL_OK,
        DECIMAL_OK, DECIMAL_MALFORMED, DECIMAL_OK, DECIMAL_MALFORMED, DECIMAL_OK};
    for (size_t len = 0; len < sizeof text; len++) {
        int64_t value;
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        char *end = copy + 1; /* ends where the memory ends */
        memcpy(end, text, len);
        assert_int_equal(decimal_parse(slice_make(end, len), 6, &value), statuses[len]);
        free(copy);
    }
}

static const char *written(int64_t value, int scale)
{
    static char text[DECIMAL_LEN_MAX + 1];
    text[decimal_format(value, scale, text)] = '\0';
    return text;
}

static void numbers_are_written_as_short_as_can_be(void **state)
{
    assert_string_equal(written(0, 0), "0");
    assert_string_equal(written(0, 6), "0");
    assert_string_equal(written(150000000, 6), "150");
    assert_string_equal(written(150, 0), "150");
    assert_string_equal(written(100000, 6), "0.1");
    assert_string_equal(written(-100000, 6), "-0.1");
    assert_string_equal(written(1, 6), "0.000001");
    assert_string_equal(written(1, 9), "0.000000001");
    assert_string_equal(written(-1, 2), "-0.01");
    assert_string_equal(written(1000001, 6), "1.000001");
    assert_string_equal(written(10, 1), "1");
    assert_string_equal(written(9999, 2), "99.99");
    assert_string_equal(written(INT64_MAX, 0), "9223372036854775807");
    assert_string_equal(written(INT64_MIN, 0), "-9223372036854775808");
    assert_string_equal(written(INT64_MAX, 6), "9223372036854.775807");
    assert_string_equal(written(INT64_MIN, 6), "-9223372036854.775808");
    assert_string_equal(written(INT64_MIN, 9), "-9223372036.854775808");
    char memory[32];
    struct strbuf buf;
    strbuf_init(&buf, memory, sizeof memory);
    decimal_put(&buf, 2500000, 6);
    assert_true(slice_eq(strbuf_slice(&buf), SLICE("2.5")));
}

static void what_is_written_is_read_back(void **state)
{
    uint64_t number = 1;
    for (int i = 0; i < 200000; i++) {
        number = number * 6364136223846793005u + 1442695040888963407u;
        int64_t value = (int64_t)number >> (i % 64);
        int scale = i % (DECIMAL_SCALE_MAX + 1);
        char text[DECIMAL_LEN_MAX];
        size_t len = decimal_format(value, scale, text);
        int64_t back;
        assert_true(len <= DECIMAL_LEN_MAX);
        assert_int_equal(decimal_parse(slice_make(text, len), scale, &back), DECIMAL_OK);
        assert_true(back == value);
    }
}

static void products_and_sums_are_checked(void **state)
{
    int64_t result = 4711;
    assert_true(decimal_multiply(3, 19990000, &result));
    assert_true(result == 59970000);
    assert_true(decimal_multiply(1, INT64_MIN, &result));
    assert_true(result == INT64_MIN);
    assert_true(decimal_multiply(0, INT64_MAX, &result));
    assert_true(result == 0);
    result = 4711;
    assert_false(decimal_multiply(2, INT64_MAX / 2 + 1, &result));
    assert_false(decimal_multiply(-1, INT64_MIN, &result));
    assert_false(decimal_multiply(INT64_MAX, INT64_MAX, &result));
    assert_false(decimal_add(INT64_MAX, 1, &result));
    assert_false(decimal_add(INT64_MIN, -1, &result));
    assert_true(result == 4711);
    assert_true(decimal_add(INT64_MAX, INT64_MIN, &result));
    assert_true(result == -1);
}

static void cents_are_rounded_half_away_from_zero(void **state)
{
    static const int64_t pairs[][2] = {{0, 0}, {4999, 0}, {5000, 1}, {5001, 1}, {14999, 1}, {15000, 2},
        {10000, 1}, {19990000, 1999}, {-4999, 0}, {-5000, -1}, {-15000, -2}, {999995000, 100000},
        {INT64_MAX, 922337203685478}, {INT64_MIN, -922337203685478}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        int64_t cents;
        assert_true(decimal_rescale(pairs[i][0], DECIMAL_SCALE_MICRO, DECIMAL_SCALE_CENTS, &cents));
        assert_true(cents == pairs[i][1]);
    }
}

static void a_finer_scale_is_checked(void **state)
{
    int64_t result = 4711;
    assert_true(decimal_rescale(150, 2, 6, &result));
    assert_true(result == 1500000);
    assert_true(decimal_rescale(-7, 3, 3, &result));
    assert_true(result == -7);
    assert_true(decimal_rescale(922337203685477, 2, 6, &result));
    result = 4711;
    assert_false(decimal_rescale(922337203685478, 2, 6, &result));
    assert_false(decimal_rescale(INT64_MIN, 0, 9, &result));
    assert_true(result == 4711);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_exactly_or_refused),
        cmocka_unit_test(a_cut_text_is_read_no_further_than_its_end),
        cmocka_unit_test(numbers_are_written_as_short_as_can_be),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(products_and_sums_are_checked),
        cmocka_unit_test(cents_are_rounded_half_away_from_zero),
        cmocka_unit_test(a_finer_scale_is_checked),
    };
    return cmocka_run_group_tests_name("decimal", tests, NULL, NULL);
}
