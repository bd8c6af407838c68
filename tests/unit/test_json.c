/* SPDX-License-Identifier: Apache-2.0 */
/* JSON is read as RFC 8259 says and as the contract's clients mean it; what is not JSON is told from it. */
#include "net/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/strbuf.h"

struct row {
    struct slice text;
    enum json_status status;
};

/* clang-format off */
#define ROW(text, status) {SLICE_INIT(text), JSON_##status}
/* clang-format on */
#define TEN(x) x x x x x x x x x x

static const struct row rows[] = {
    ROW("null", OK),
    ROW("true", OK),
    ROW("false", OK),
    ROW("0", OK),
    ROW("-0", OK),
    ROW("\"\"", OK),
    ROW("[]", OK),
    ROW("{}", OK),
    ROW(" \t\r\n{ } \n", OK),
    ROW("[1,2 , 3]", OK),
    ROW("{\"a\":{\"b\":[null]}}", OK),
    ROW("1.5e+3", OK),
    ROW("1E-9", OK),
    ROW("0.0", OK),
    ROW("1e-999", OK),
    ROW("9223372036854775807", OK),
    ROW("-9223372036854775808", OK),
    ROW("9223372036854775808", OK),
    ROW("\"\\u0000\"", OK),
    ROW("\"\\ud83d\\ude00\"", OK),
    ROW("\"\xC3\xA4\"", OK),
    ROW("\"\x7F\"", OK),
    ROW("{\"\\u0000\":1}", MALFORMED),
    ROW("{\"a\":1,\"a\":2}", OK),
    ROW("", MALFORMED),
    ROW(" ", MALFORMED),
    ROW("nul", MALFORMED),
    ROW("nulll", MALFORMED),
    ROW("True", MALFORMED),
    ROW("[", MALFORMED),
    ROW("[1", MALFORMED),
    ROW("[1,", MALFORMED),
    ROW("[1,]", MALFORMED),
    ROW("[,1]", MALFORMED),
    ROW("[1 2]", MALFORMED),
    ROW("[1}", MALFORMED),
    ROW("]", MALFORMED),
    ROW("{", MALFORMED),
    ROW("{\"a\"", MALFORMED),
    ROW("{\"a\":", MALFORMED),
    ROW("{\"a\":1", MALFORMED),
    ROW("{\"a\":1,}", MALFORMED),
    ROW("{a:1}", MALFORMED),
    ROW("{'a':1}", MALFORMED),
    ROW("{1:1}", MALFORMED),
    ROW("{\"a\" 1}", MALFORMED),
    ROW("{}{}", MALFORMED),
    ROW("{} x", MALFORMED),
    ROW("1 2", MALFORMED),
    ROW("+1", MALFORMED),
    ROW("01", MALFORMED),
    ROW("-", MALFORMED),
    ROW("-a", MALFORMED),
    ROW("1.", MALFORMED),
    ROW(".5", MALFORMED),
    ROW("1e", MALFORMED),
    ROW("1e+", MALFORMED),
    ROW("0x10", MALFORMED),
    ROW("1_000", MALFORMED),
    ROW("NaN", MALFORMED),
    ROW("Infinity", MALFORMED),
    ROW("-Infinity", MALFORMED),
    ROW("\"", MALFORMED),
    ROW("\"a", MALFORMED),
    ROW("\"\\", MALFORMED),
    ROW("\"\\\"", MALFORMED),
    ROW("\"\\x\"", MALFORMED),
    ROW("\"\\u12\"", MALFORMED),
    ROW("\"\\u123g\"", MALFORMED),
    ROW("\"\\ud83d\"", MALFORMED),
    ROW("\"\\ude00\"", MALFORMED),
    ROW("\"\\ud83d\\u0041\"", MALFORMED),
    ROW("\"\\ud83d\\", MALFORMED),
    ROW("\"a\nb\"", MALFORMED),
    ROW("\"a\tb\"", MALFORMED),
    ROW("\"\0\"", MALFORMED),
    ROW("\"\\\0\"", MALFORMED),
    ROW("\"\xFF\"", MALFORMED),
    ROW("\"\xC3\"", MALFORMED),
    ROW("\"\xC0\x80\"", MALFORMED),
    ROW("\"\xED\xA0\x80\"", MALFORMED),
    ROW("\"\xF4\x90\x80\x80\"", MALFORMED),
    ROW("\xEF\xBB\xBF{}", MALFORMED),
    ROW("null\0", MALFORMED),
    ROW("\f1", MALFORMED),
    ROW("//\n1", MALFORMED),
    ROW("[1]\0", MALFORMED),
    ROW("1e999", OUT_OF_RANGE),
    ROW("-1e999", OUT_OF_RANGE),
    ROW("{\"a\":[1e400]}", OUT_OF_RANGE),
    ROW("1" TEN(TEN("0")) TEN(TEN("0")) TEN(TEN("0")) TEN(TEN("0")), OUT_OF_RANGE),
    ROW("[1e999", OUT_OF_RANGE),
};

static void texts_are_told_apart(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json *value;
        enum json_status status = json_parse(rows[i].text, &value);
        if (status != rows[i].status)
            fail_msg("%.*s: status %d instead of %d", SLICE_ARGS(rows[i].text), status, rows[i].status);
        assert_int_equal(value != NULL, status == JSON_OK);
        json_free(value);
    }
}

static void nesting_ends_at_64_levels(void **state)
{
    for (size_t depth = 63; depth <= 66; depth++) {
        char text[200];
        struct json *value;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(
            json_parse(slice_make(text, 2 * depth), &value), depth <= 64 ? JSON_OK : JSON_MALFORMED);
        json_free(value);
    }
    char *text = malloc(1 << 20);
    struct json *value;
    memset(text, '[', 1 << 20);
    assert_int_equal(json_parse(slice_make(text, 1 << 20), &value), JSON_MALFORMED);
    free(text);
}

static struct json *parsed(const char *text)
{
    struct json *value;
    assert_int_equal(json_parse(slice_cstr(text), &value), JSON_OK);
    return value;
}

static void members_and_items_are_found(void **state)
{
    struct json *value = parsed("{\"sku\":\"W-1\",\"list\":[10,\"x\",true],\"none\":null,\"\":0}");
    assert_int_equal(json_kind(value), JSON_KIND_OBJECT);
    assert_int_equal(json_member_count(value), 4);
    struct slice text;
    assert_true(json_text(json_member(value, "sku"), &text));
    assert_true(slice_eq(text, SLICE("W-1")));
    assert_null(json_member(value, "SKU"));
    assert_int_equal(json_kind(json_member(value, "SKU")), JSON_KIND_NULL);
    assert_non_null(json_member(value, ""));
    const struct json *list = json_member(value, "list");
    int64_t number;
    bool is_true = false;
    assert_int_equal(json_item_count(list), 3);
    assert_true(json_int64(json_item(list, 0), &number));
    assert_int_equal(number, 10);
    assert_true(json_bool(json_item(list, 2), &is_true) && is_true);
    assert_null(json_item(list, 3));
    assert_int_equal(json_kind(json_member(value, "none")), JSON_KIND_NULL);
    /* What has no parts, or is not there at all, has none. */
    assert_null(json_member(list, "a"));
    assert_null(json_item(value, 0));
    assert_null(json_member(NULL, "a"));
    assert_int_equal(json_item_count(NULL), 0);
    assert_false(json_text(NULL, &text));
    assert_false(json_text(list, &text));
    assert_false(json_bool(NULL, &is_true));
    assert_false(json_bool(list, &is_true));
    json_free(value);
}

static void members_are_walked_in_order(void **state)
{
    static const char *const names[] = {"b", "a", "c"};
    struct json *value = parsed("{\"b\":1,\"a\":2,\"b\":3,\"c\":4,\"a\":5,\"b\":6}");
    static const int64_t numbers[] = {6, 5, 4};
    void *cursor = NULL;
    struct slice name;
    const struct json *member;
    size_t count = 0;
    while (json_next_member(value, &cursor, &name, &member)) {
        int64_t number;
        assert_true(slice_eq(name, slice_cstr(names[count])));
        assert_true(json_int64(member, &number));
        assert_int_equal(number, numbers[count]);
        count++;
    }
    assert_int_equal(count, 3);
    assert_int_equal(json_member_count(value), 3);
    json_free(value);
}

static void the_last_of_equal_members_counts_in_large_objects_too(void **state)
{
    enum { NAMES = 50, ROUNDS = 40 };
    struct strbuf text;
    strbuf_init_heap(&text, 1 << 20);
    strbuf_lit(&text, "{");
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < NAMES; i++)
            strbuf_printf(&text, "%s\"name%d\":%d", text.len > 1 ? "," : "", i, round * 1000 + i);
    }
    strbuf_lit(&text, "}");
    struct json *value;
    assert_int_equal(json_parse(strbuf_slice(&text), &value), JSON_OK);
    assert_int_equal(json_member_count(value), NAMES);
    for (int i = 0; i < NAMES; i++) {
        char name[16];
        int64_t number;
        (void)snprintf(name, sizeof name, "name%d", i);
        assert_true(json_int64(json_member(value, name), &number));
        assert_int_equal(number, (ROUNDS - 1) * 1000 + i);
    }
    json_free(value);
    strbuf_fini(&text);
}

struct number_row {
    const char *text;
    bool is_int64;
    int64_t number;
};

static const struct number_row number_rows[] = {
    {"3", true, 3},
    {"3.0", true, 3},
    {"3e0", true, 3},
    {"30e-1", true, 3},
    {"-0", true, 0},
    {"-0.0", true, 0},
    {"3.5", false, 0},
    {"1e30", false, 0},
    {"9223372036854775807", true, INT64_MAX},
    {"-9223372036854775808", true, INT64_MIN},
    {"9223372036854775808", false, 0},
    {"9007199254740993", true, 9007199254740993},
    {"9007199254740992.0", true, 9007199254740992},
    {"9007199254740993.0", true, 9007199254740992},
    {"1e17", false, 0},
    {"\"3\"", false, 0},
    {"true", false, 0},
    {"null", false, 0},
    {"[3]", false, 0},
};

static void integers_are_exact_or_none(void **state)
{
    for (size_t i = 0; i < sizeof number_rows / sizeof number_rows[0]; i++) {
        struct json *value = parsed(number_rows[i].text);
        int64_t number = 0;
        if (json_int64(value, &number) != number_rows[i].is_int64 || number != number_rows[i].number)
            fail_msg("%s: %lld", number_rows[i].text, (long long)number);
        json_free(value);
    }
}

static void numbers_of_any_kind_become_doubles(void **state)
{
    static const double doubles[] = {3, -2.5, 9521, 1e30};
    struct json *value = parsed("[3, -2.5, 9521.0, 1e30, null, \"3\"]");
    double number;
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++) {
        assert_true(json_double(json_item(value, i), &number));
        assert_true(number >= doubles[i] && number <= doubles[i]);
    }
    assert_false(json_double(json_item(value, 4), &number));
    assert_false(json_double(json_item(value, 5), &number));
    assert_false(json_double(NULL, &number));
    json_free(value);
}

static void what_is_written_as_an_integer_is_told_apart(void **state)
{
    static const char *const others[] = {"1.0", "1e2", "1E0", "\"1\"", "null", "true", "[]", "1e400"};
    struct json *value = parsed("{\"a\":12,\"b\":-9223372036854775808}");
    int64_t number;
    assert_true(json_plain_int64(json_member(value, "a"), &number) && number == 12);
    assert_true(json_plain_int64(json_member(value, "b"), &number) && number == INT64_MIN);
    assert_false(json_plain_int64(json_member(value, "c"), &number));
    json_free(value);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        bool is_json = json_parse(slice_cstr(others[i]), &value) == JSON_OK;
        assert_false(is_json && json_plain_int64(value, &number));
        json_free(value);
    }
}

static void names_that_come_twice_are_found_however_they_are_spelled(void **state)
{
    static const char *const twice[] = {
        "{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":2}", "[{\"x\":{\"a\":1,\"b\":2,\"a\":3}}]"};
    struct json *value;
    for (size_t i = 0; i < sizeof twice / sizeof twice[0]; i++) {
        assert_int_equal(json_parse_unique(slice_cstr(twice[i]), &value), JSON_MALFORMED);
        assert_null(value);
    }
    assert_int_equal(
        json_parse_unique(SLICE("{\"a\":{\"a\":1},\"A\":[{\"a\":1},{\"a\":1}]}"), &value), JSON_OK);
    json_free(value);
}

static void strings_are_decoded(void **state)
{
    struct json *value =
        parsed("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\", \"a\\u0041\\u00e4\\u20ac\\ud83d\\ude00z\", \"a\\u0000b\"]");
    struct slice text;
    assert_true(json_text(json_item(value, 0), &text));
    assert_true(slice_eq(text, SLICE("\"\\/\b\f\n\r\t")));
    assert_true(json_text(json_item(value, 1), &text));
    assert_true(slice_eq(text, SLICE("aA\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z")));
    assert_true(json_text(json_item(value, 2), &text));
    assert_true(slice_eq(text, SLICE("a\0b")));
    json_free(value);
}

/* The thread's ready memory serves one document at a time; others must not disturb it. */
static void documents_live_side_by_side(void **state)
{
    struct json *values[8];
    for (int i = 0; i < 8; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "{\"number\":%d}", i);
        values[i] = parsed(text);
        memset(text, 'x', sizeof text); /* the text is needed no longer */
    }
    for (int i = 0; i < 8; i++) {
        int64_t number;
        assert_true(json_int64(json_member(values[i], "number"), &number));
        assert_int_equal(number, i);
        json_free(values[i]);
    }
}

static void a_large_array_is_read(void **state)
{
    enum { COUNT = 300000 };
    struct strbuf text;
    struct json *value;
    strbuf_init_heap(&text, 1 << 20);
    strbuf_lit(&text, "[0");
    for (int i = 1; i < COUNT; i++)
        strbuf_lit(&text, ",7");
    strbuf_lit(&text, "]");
    assert_int_equal(json_parse(strbuf_slice(&text), &value), JSON_OK);
    assert_int_equal(json_item_count(value), COUNT);
    json_free(value);
    strbuf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_told_apart),
        cmocka_unit_test(nesting_ends_at_64_levels),
        cmocka_unit_test(members_and_items_are_found),
        cmocka_unit_test(members_are_walked_in_order),
        cmocka_unit_test(the_last_of_equal_members_counts_in_large_objects_too),
        cmocka_unit_test(integers_are_exact_or_none),
        cmocka_unit_test(numbers_of_any_kind_become_doubles),
        cmocka_unit_test(what_is_written_as_an_integer_is_told_apart),
        cmocka_unit_test(names_that_come_twice_are_found_however_they_are_spelled),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(documents_live_side_by_side),
        cmocka_unit_test(a_large_array_is_read),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
