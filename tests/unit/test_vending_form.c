/* SPDX-License-Identifier: Apache-2.0 */
/* What a client of the vending face sends is taken as the original takes it, and what is wrong is told so. */
#include "api/vending_form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/strbuf.h"

enum { TEXT_MAX = 1 << 14 };

static const struct slice json_type = SLICE_INIT("application/json");
static const struct slice form_type = SLICE_INIT("application/x-www-form-urlencoded; charset=UTF-8");

static enum vending_form_status status_of(struct slice body, struct slice type)
{
    struct vending_form form;
    size_t position = 0;
    enum vending_form_status status = vending_form_read(&form, body, type, &position);
    if (status == VENDING_FORM_OK)
        vending_form_fini(&form);
    return status;
}

static void open_form(struct vending_form *form, struct slice body, struct slice type)
{
    size_t position = 0;
    assert_int_equal(vending_form_read(form, body, type, &position), VENDING_FORM_OK);
}

static void assert_told(const struct vending_complaints *complaints, const char *expected)
{
    char memory[TEXT_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    vending_put_complaints(&body, complaints);
    strbuf_put_char(&body, '\0');
    assert_false(body.has_overflowed);
    assert_string_equal(memory, expected);
}

/* The only complaint, "" when there is none. */
static void assert_complaint(const struct vending_form *form, const char *expected)
{
    assert_int_equal(form->complaints.count, expected[0] != '\0');
    if (expected[0] != '\0')
        assert_string_equal(form->complaints.items[0].text, expected);
}

/* --- bodies --- */

static void nothing_is_an_object_without_members(void **state)
{
    static const struct slice bodies[] = {
        SLICE_INIT(""), SLICE_INIT(" \r\n"), SLICE_INIT("{}"), SLICE_INIT("[]"), SLICE_INIT("null")};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct vending_form form;
        struct slice text;
        open_form(&form, bodies[i], json_type);
        assert_false(vending_form_text(&form, "name", VENDING_REQUIRED, 9, &text));
        assert_complaint(&form, "The name field is required.");
        vending_form_fini(&form);
    }
    assert_int_equal(status_of(SLICE(""), SLICE("application/octet-stream")), VENDING_FORM_OK);
    assert_int_equal(status_of(SLICE(""), SLICE("text/html")), VENDING_FORM_OK);
    assert_int_equal(status_of(SLICE(""), form_type), VENDING_FORM_OK);
}

static void other_bodies_are_told_apart(void **state)
{
    struct vending_form form;
    size_t position = 0;
    (void)state;
    assert_int_equal(status_of(SLICE("[1]"), json_type), VENDING_FORM_NO_OBJECT);
    assert_int_equal(status_of(SLICE("\"name\""), json_type), VENDING_FORM_NO_OBJECT);
    assert_int_equal(status_of(SLICE("true"), json_type), VENDING_FORM_NO_OBJECT);
    assert_int_equal(status_of(SLICE("{\"a\":\"\xff\"}"), json_type), VENDING_FORM_NO_JSON);
    assert_int_equal(status_of(SLICE("{\"a\":1e999}"), json_type), VENDING_FORM_NO_JSON);
    assert_int_equal(status_of(SLICE("a=%zz"), form_type), VENDING_FORM_NO_PAIRS);
    assert_int_equal(status_of(SLICE("a=%ff"), form_type), VENDING_FORM_NO_PAIRS);
    assert_int_equal(status_of(SLICE("\xff=a"), form_type), VENDING_FORM_NO_PAIRS);
    assert_int_equal(status_of(SLICE("{}"), SLICE("text/plain")), VENDING_FORM_NO_TYPE);
    assert_int_equal(status_of(SLICE("{}"), SLICE("json")), VENDING_FORM_NO_TYPE);
    assert_int_equal(status_of(SLICE("{}"), SLICE("application/ld+JSON ; x=y")), VENDING_FORM_OK);
    assert_int_equal(status_of(SLICE("{}"), SLICE("")), VENDING_FORM_OK);
    assert_int_equal(
        vending_form_read(&form, SLICE("{\"name\": nul}"), json_type, &position), VENDING_FORM_NO_JSON);
    assert_in_range(position, 1, sizeof "{\"name\": nul}");
}

static void form_has_a_bounded_number_of_pairs(void **state)
{
    char memory[TEXT_MAX];
    struct strbuf body;
    (void)state;
    strbuf_init(&body, memory, sizeof memory);
    for (int i = 0; i < VENDING_PAIRS_MAX; i++)
        strbuf_lit(&body, "+%41=+%42&");
    assert_int_equal(status_of(strbuf_slice(&body), form_type), VENDING_FORM_OK);
    strbuf_lit(&body, "a=b");
    assert_int_equal(status_of(strbuf_slice(&body), form_type), VENDING_FORM_NO_PAIRS);
}

static void pairs_are_decoded_and_the_last_counts(void **state)
{
    struct vending_form form;
    struct slice text;
    int64_t number;
    bool is_set;
    (void)state;
    open_form(&form, SLICE("name=old&na%6de=+Caf%C3%A9+au+lait%20&count=+7&draining=1&x"), form_type);
    assert_true(vending_form_text(&form, "name", VENDING_REQUIRED, 12, &text));
    assert_true(slice_eq(text, SLICE("Caf\xC3\xA9 au lait")));
    assert_true(vending_form_integer(&form, "count", VENDING_REQUIRED, 1, 9, &number));
    assert_int_equal(number, 7);
    assert_true(vending_form_flag(&form, "draining", &is_set) && is_set);
    assert_false(vending_form_text(&form, "x", VENDING_OPTIONAL, 9, &text));
    assert_complaint(&form, "");
    vending_form_fini(&form);
}

/* --- texts --- */

static void check_name(struct slice body, enum vending_need need, const char *expected, const char *complaint)
{
    struct vending_form form;
    struct slice text;
    open_form(&form, body, json_type);
    bool is_good = vending_form_text(&form, "name", need, 4, &text);
    assert_int_equal(is_good, expected != NULL);
    if (is_good)
        assert_true(slice_eq(text, slice_cstr(expected)));
    assert_complaint(&form, complaint);
    vending_form_fini(&form);
}

static void texts_are_trimmed_and_counted_in_characters(void **state)
{
    static const char required[] = "The name field is required.";
    static const char no_string[] = "The name field must be a string.";
    static const char too_long[] = "The name field must not be greater than 4 characters.";
    (void)state;
    check_name(SLICE("{\"name\":\" \\t a b \\n\"}"), VENDING_REQUIRED, "a b", "");
    check_name(SLICE("{\"name\":\"\\ud83d\\ude00\xC3\xA4\xE6\xA0\xAAx\"}"), VENDING_REQUIRED,
        "\xF0\x9F\x98\x80\xC3\xA4\xE6\xA0\xAAx", "");
    check_name(
        SLICE("{\"name\":\"\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\"}"), VENDING_REQUIRED, NULL, too_long);
    check_name(SLICE("{\"name\":\"  abcd  \"}"), VENDING_REQUIRED, "abcd", "");
    check_name(SLICE("{\"name\":\"abcde\"}"), VENDING_OPTIONAL, NULL, too_long);
    check_name(SLICE("{\"name\":\"a\\u0000\"}"), VENDING_REQUIRED, NULL, "The name field format is invalid.");
    check_name(SLICE("{\"name\":5}"), VENDING_REQUIRED, NULL, no_string);
    check_name(SLICE("{\"name\":false}"), VENDING_OPTIONAL, NULL, no_string);
    check_name(SLICE("{\"name\":[\"a\"]}"), VENDING_REQUIRED, NULL, no_string);
    check_name(SLICE("{\"name\":{\"a\":1}}"), VENDING_REQUIRED, NULL, no_string);
    check_name(SLICE("{\"Name\":\"a\"}"), VENDING_REQUIRED, NULL, required);
    check_name(SLICE("{\"name\":\"a\",\"name\":\"b\"}"), VENDING_REQUIRED, "b", "");
}

static void what_is_empty_is_missing(void **state)
{
    static const char required[] = "The name field is required.";
    static const struct slice empty[] = {SLICE_INIT("{\"name\":\"\"}"), SLICE_INIT("{\"name\":\" \\r\\n \"}"),
        SLICE_INIT("{\"name\":null}"), SLICE_INIT("{\"name\":[]}"), SLICE_INIT("{\"name\":{}}")};
    (void)state;
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        check_name(empty[i], VENDING_REQUIRED, NULL, required);
        check_name(empty[i], VENDING_IF_SENT, NULL, required);
        check_name(empty[i], VENDING_OPTIONAL, NULL, "");
    }
    check_name(SLICE("{}"), VENDING_IF_SENT, NULL, "");
    check_name(SLICE("{}"), VENDING_OPTIONAL, NULL, "");
}

/* --- numbers --- */

static void check_count(const char *text, int64_t expected, const char *complaint)
{
    char memory[256];
    struct strbuf body;
    struct vending_form form;
    int64_t number;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body, "{\"unit_count\":%s}", text);
    open_form(&form, strbuf_slice(&body), json_type);
    bool is_good = vending_form_integer(&form, "unit_count", VENDING_REQUIRED, -1, 1000, &number);
    assert_complaint(&form, complaint);
    assert_int_equal(is_good, complaint[0] == '\0');
    if (is_good)
        assert_int_equal(number, expected);
    vending_form_fini(&form);
}

static void integers_are_numbers_and_texts_of_digits(void **state)
{
    static const struct {
        const char *text;
        int64_t number;
    } good[] = {{"5", 5}, {"\"5\"", 5}, {"\" 5 \"", 5}, {"\"+5\"", 5}, {"0", 0}, {"\"0\"", 0}, {"\"-0\"", 0},
        {"-1", -1}, {"\"-1\"", -1}, {"1000", 1000}, {"5.0", 5}, {"1e3", 1000}};
    static const char *const bad[] = {"5.5", "\"5.0\"", "\"05\"", "\"-01\"", "\"5x\"", "\"0x5\"", "\"1e3\"",
        "\"+-5\"", "\"--5\"", "\"+\"", "\"-\"", "\"5 5\"", "\"\xD9\xA5\"", "true", "false", "[5]",
        "{\"a\":5}", "9223372036854775808", "\"9223372036854775808\"", "1e300", "\"NaN\""};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        check_count(good[i].text, good[i].number, "");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_count(bad[i], 0, "The unit count field must be an integer.");
}

static void integers_have_bounds(void **state)
{
    (void)state;
    check_count("-2", 0, "The unit count field must be at least -1.");
    check_count("-9223372036854775808", 0, "The unit count field must be at least -1.");
    check_count("1001", 0, "The unit count field must not be greater than 1000.");
    check_count("\"9223372036854775807\"", 0, "The unit count field must not be greater than 1000.");
    check_count("null", 0, "The unit count field is required.");
    check_count("\" \"", 0, "The unit count field is required.");
}

static void flags_are_true_or_false_or_1_or_0(void **state)
{
    static const struct {
        struct slice body;
        bool is_good;
        bool is_set;
    } cases[] = {{SLICE_INIT("{\"draining\":true}"), true, true},
        {SLICE_INIT("{\"draining\":false}"), true, false}, {SLICE_INIT("{\"draining\":1}"), true, true},
        {SLICE_INIT("{\"draining\":\"0\"}"), true, false},
        {SLICE_INIT("{\"draining\":\"true\"}"), false, false}, {SLICE_INIT("{\"draining\":2}"), false, false},
        {SLICE_INIT("{\"draining\":\"yes\"}"), false, false},
        {SLICE_INIT("{\"draining\":[1]}"), false, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vending_form form;
        bool is_set = false;
        open_form(&form, cases[i].body, json_type);
        assert_int_equal(vending_form_flag(&form, "draining", &is_set), cases[i].is_good);
        assert_int_equal(is_set, cases[i].is_set);
        assert_complaint(&form, cases[i].is_good ? "" : "The draining field must be true or false.");
        vending_form_fini(&form);
    }
}

static void amounts_are_kept_to_the_hundredth(void **state)
{
    static const struct {
        const char *text;
        int64_t minor;
        const char *complaint;
    } cases[] = {{"100", 10000, ""}, {"99.5", 9950, ""}, {"\"12.50\"", 1250, ""}, {"\" 0.07 \"", 7, ""},
        {"0.29", 29, ""}, {"1.100", 110, ""}, {"0", 0, ""}, {"-0", 0, ""},
        {"\"90071992547409.91\"", 9007199254740991, ""},
        {"0.001", 0, "The price field must have 0-2 decimal places."},
        {"-0.01", 0, "The price field must be at least 0."},
        {"\"-5\"", 0, "The price field must be at least 0."},
        {"90071992547409.92", 0, "The price field must not be greater than 90071992547409.91."},
        {"1e300", 0, "The price field must not be greater than 90071992547409.91."},
        {"\"a\"", 0, "The price field must be a number."}, {"true", 0, "The price field must be a number."},
        {"[1]", 0, "The price field must be a number."}, {"\"1,5\"", 0, "The price field must be a number."}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char memory[256];
        struct strbuf body;
        struct vending_form form;
        int64_t minor = 0;
        strbuf_init(&body, memory, sizeof memory);
        strbuf_printf(&body, "{\"price\":1,\"price\":%s}", cases[i].text);
        open_form(&form, strbuf_slice(&body), json_type);
        bool is_good = vending_form_amount(&form, "price", 9007199254740991, &minor);
        assert_complaint(&form, cases[i].complaint);
        assert_int_equal(is_good, cases[i].complaint[0] == '\0');
        if (is_good)
            assert_int_equal(minor, cases[i].minor);
        vending_form_fini(&form);
    }
}

/* --- complaints --- */

static void complaints_are_told_with_the_first_and_how_many_more(void **state)
{
    struct vending_complaints complaints = {0};
    (void)state;
    vending_complain_unknown(&complaints, "machine_id");
    assert_told(&complaints, "{\"message\":\"The selected machine id is invalid.\","
                             "\"errors\":{\"machine_id\":[\"The selected machine id is invalid.\"]}}");
    vending_complain(&complaints, "count", "must be at least %d.", 1);
    assert_told(&complaints, "{\"message\":\"The selected machine id is invalid. (and 1 more error)\","
                             "\"errors\":{\"machine_id\":[\"The selected machine id is invalid.\"],"
                             "\"count\":[\"The count field must be at least 1.\"]}}");
    vending_complain_text(&complaints, "machine_id", "Say \"which\".");
    assert_told(&complaints,
        "{\"message\":\"The selected machine id is invalid. (and 2 more errors)\","
        "\"errors\":{\"machine_id\":[\"The selected machine id is invalid.\",\"Say \\\"which\\\".\"],"
        "\"count\":[\"The count field must be at least 1.\"]}}");
}

static void complaints_have_a_bound(void **state)
{
    struct vending_complaints complaints = {0};
    (void)state;
    for (int i = 0; i < 2 * VENDING_COMPLAINTS_MAX; i++) {
        vending_complain(&complaints, "count", "is required.");
        vending_complain_unknown(&complaints, "count");
        vending_complain_text(&complaints, "count", "x");
    }
    assert_int_equal(complaints.count, VENDING_COMPLAINTS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_an_object_without_members),
        cmocka_unit_test(other_bodies_are_told_apart),
        cmocka_unit_test(form_has_a_bounded_number_of_pairs),
        cmocka_unit_test(pairs_are_decoded_and_the_last_counts),
        cmocka_unit_test(texts_are_trimmed_and_counted_in_characters),
        cmocka_unit_test(what_is_empty_is_missing),
        cmocka_unit_test(integers_are_numbers_and_texts_of_digits),
        cmocka_unit_test(integers_have_bounds),
        cmocka_unit_test(flags_are_true_or_false_or_1_or_0),
        cmocka_unit_test(amounts_are_kept_to_the_hundredth),
        cmocka_unit_test(complaints_are_told_with_the_first_and_how_many_more),
        cmocka_unit_test(complaints_have_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
