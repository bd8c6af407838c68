/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a value is found where the JSON reader finds the value, and it is the text that was sent. */
#include "net/json_raw.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/id.h"
#include "base/strbuf.h"
#include "net/json.h"

enum { TEXT_MAX = 1 << 16, DEPTH_MAX = 5 };

#define assert_raw(object, name, expected)                                   \
    do {                                                                     \
        struct slice raw_text = {0};                                         \
        assert_true(json_raw_member(SLICE(object), SLICE(name), &raw_text)); \
        assert_true(slice_eq(raw_text, SLICE(expected)));                    \
    } while (0)

static void members_are_found_as_they_were_written(void **state)
{
    struct slice raw = SLICE("untouched");
    assert_raw("{\"price\":150.0}", "price", "150.0");
    assert_raw(" { \"a\" : [1,{\"price\":9}] , \"price\" :\t0.10\n}\n", "price", "0.10");
    assert_raw("{\"price\":1e400,\"x\":\"}\"}", "x", "\"}\"");
    assert_raw("{\"s\":\"a\\\"price\\\":3,\",\"price\":-0}", "price", "-0");
    assert_raw("{\"s\":\"\\\\\",\"price\":4}", "price", "4");
    assert_raw("{\"a\":{\"b\":[{}]},\"b\":{ \"c\": [ ] }}", "b", "{ \"c\": [ ] }");
    assert_raw("{\"\":null}", "", "null");
    assert_raw("{\"t\":true ,\"f\":false}", "t", "true");
    assert_false(json_raw_member(SLICE("{}"), SLICE("price"), &raw));
    assert_false(json_raw_member(SLICE("{\"Price\":1,\"pric\":2,\"prices\":3}"), SLICE("price"), &raw));
    assert_false(json_raw_member(SLICE("{\"a\":{\"price\":1}}"), SLICE("price"), &raw));
    assert_false(json_raw_member(SLICE("[\"price\",1]"), SLICE("price"), &raw));
    assert_false(json_raw_member(SLICE("\"price\""), SLICE("price"), &raw));
    assert_false(json_raw_member(SLICE("7"), SLICE("price"), &raw));
    assert_false(json_raw_member(SLICE(""), SLICE("price"), &raw));
    assert_true(slice_eq(raw, SLICE("untouched")));
}

static void the_last_of_equal_names_counts(void **state)
{
    assert_raw("{\"price\":1,\"price\":2,\"x\":5,\"price\":3,\"y\":6}", "price", "3");
    assert_raw("{\"pr\\u0069ce\":1,\"price\":2}", "price", "2");
    assert_raw("{\"price\":1,\"pr\\u0069ce\":2}", "price", "2");
}

static void names_may_be_written_with_escapes(void **state)
{
    assert_raw("{\"\\u0070\\u0072\\u0069\\u0063\\u0065\":1}", "price", "1");
    assert_raw("{\"a\\/b\":1}", "a/b", "1");
    assert_raw("{\"\\\"\\\\\\b\\f\\n\\r\\t\":1}", "\"\\\b\f\n\r\t", "1");
    assert_raw("{\"\\u00E4\\u20ac\\uD83D\\uDE00x\":1}", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80x", "1");
    struct slice raw;
    assert_false(json_raw_member(SLICE("{\"\\u0070\":1}"), SLICE("pr"), &raw));
    assert_false(json_raw_member(SLICE("{\"\\u0070r\":1}"), SLICE("p"), &raw));
}

static void items_are_walked_in_order(void **state)
{
    static const struct slice expected[] = {SLICE_INIT("1.50"), SLICE_INIT("[2, 3]"),
        SLICE_INIT("{\"a\":[]}"), SLICE_INIT("\"],\""), SLICE_INIT("null")};
    size_t cursor = 0;
    size_t count = 0;
    struct slice raw;
    while (json_raw_next_item(SLICE(" [1.50 ,[2, 3],\n{\"a\":[]},\"],\", null ] "), &cursor, &raw))
        assert_true(slice_eq(raw, expected[count++]));
    assert_int_equal(count, 5);
    cursor = 0;
    assert_false(json_raw_next_item(SLICE("[]"), &cursor, &raw));
    assert_false(json_raw_next_item(SLICE(" [ ] "), &cursor, &raw));
    assert_false(json_raw_next_item(SLICE("{\"a\":1}"), &cursor, &raw));
    assert_false(json_raw_next_item(SLICE("1"), &cursor, &raw));
    assert_false(json_raw_next_item(SLICE(""), &cursor, &raw));
}

static void numbers_are_told_from_the_rest(void **state)
{
    assert_true(json_raw_is_number(SLICE("0")) && json_raw_is_number(SLICE("-1.5e3")));
    assert_false(json_raw_is_number(SLICE("")) || json_raw_is_number(SLICE("\"1\"")));
    assert_false(json_raw_is_number(SLICE("null")) || json_raw_is_number(SLICE("[1]")));
}

/* --- against the JSON reader, on texts made at random --- */

struct writer {
    struct id_source random;
    struct strbuf text;
};

static size_t below(struct writer *writer, size_t bound)
{
    return id_next(&writer->random) % bound;
}

static void write_blanks(struct writer *writer)
{
    while (below(writer, 4) == 0)
        strbuf_put_char(&writer->text, " \t\n\r"[below(writer, 4)]);
}

static void write_string(struct writer *writer)
{
    static const char *const pieces[] = {"a", "b", "\\\"", "\\\\", "\\/", "\\n", "\\u0061", "\\u00e4",
        "\xC3\xA4", "\\ud83d\\ude00", "\xF0\x9F\x98\x80", "{", "}", "[", "]", ",", ":", " "};
    strbuf_put_char(&writer->text, '"');
    for (size_t i = below(writer, 4); i > 0; i--)
        strbuf_put(&writer->text, slice_cstr(pieces[below(writer, sizeof pieces / sizeof pieces[0])]));
    strbuf_put_char(&writer->text, '"');
}

static void write_plain(struct writer *writer)
{
    static const char *const plain[] = {
        "null", "true", "false", "0", "-0", "150.0", "1e2", "-1.5E-3", "0.10"};
    if (below(writer, 3) == 0)
        write_string(writer);
    else
        strbuf_put(&writer->text, slice_cstr(plain[below(writer, sizeof plain / sizeof plain[0])]));
}

static void write_value(struct writer *writer, int depth)
{
    size_t choice = depth == 0 ? 0 : below(writer, 3);
    write_blanks(writer);
    if (choice == 0) {
        write_plain(writer);
    } else {
        strbuf_put_char(&writer->text, choice == 1 ? '[' : '{');
        for (size_t count = below(writer, 6), i = 0; i < count; i++) {
            if (i > 0)
                strbuf_put_char(&writer->text, ',');
            write_blanks(writer);
            if (choice == 2) {
                write_string(writer);
                write_blanks(writer);
                strbuf_put_char(&writer->text, ':');
            }
            write_value(writer, depth - 1);
        }
        write_blanks(writer);
        strbuf_put_char(&writer->text, choice == 1 ? ']' : '}');
    }
    write_blanks(writer);
}

/* Each part of `value` has its text in `raw`, and that text alone is the same part. */
static size_t compare(const struct json *value, struct slice raw)
{
    struct json *alone;
    struct slice name;
    struct slice part;
    const struct json *member;
    void *step = NULL;
    size_t cursor = 0;
    size_t compared = 1;
    assert_int_equal(json_parse(raw, &alone), JSON_OK);
    assert_true(json_equal((const json_t *)alone, (const json_t *)value));
    json_free(alone);
    assert_int_equal(json_raw_is_number(raw), json_kind(value) == JSON_KIND_NUMBER);
    while (json_kind(value) == JSON_KIND_OBJECT && json_next_member(value, &step, &name, &member)) {
        assert_true(json_raw_member(raw, name, &part));
        compared += compare(member, part);
    }
    for (size_t i = 0; i < json_item_count(value); i++) {
        assert_true(json_raw_next_item(raw, &cursor, &part));
        compared += compare(json_item(value, i), part);
    }
    assert_false(json_raw_next_item(raw, &cursor, &part));
    return compared;
}

static void random_texts_are_walked_as_the_reader_reads_them(void **state)
{
    static char memory[TEXT_MAX];
    struct writer writer;
    size_t compared = 0;
    id_source_init_seed(&writer.random, 3);
    for (int i = 0; i < 3000; i++) {
        struct json *value;
        strbuf_init(&writer.text, memory, sizeof memory);
        write_value(&writer, DEPTH_MAX);
        assert_false(writer.text.has_overflowed);
        struct slice text = strbuf_slice(&writer.text);
        assert_int_equal(json_parse(text, &value), JSON_OK);
        compared += compare(value, slice_trim(text));
        json_free(value);
    }
    assert_true(compared > 10000);
}

/* What was not checked is walked to nobody knows where, but not beyond its end: the copy ends where its
 * memory does. */
static void damaged_texts_are_not_read_beyond_their_end(void **state)
{
    static char memory[TEXT_MAX];
    struct writer writer;
    id_source_init_seed(&writer.random, 4);
    for (int i = 0; i < 20000; i++) {
        strbuf_init(&writer.text, memory, sizeof memory);
        write_value(&writer, 3);
        size_t len = below(&writer, writer.text.len + 1);
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        char *text = copy + 1;
        memcpy(text, memory, len);
        for (size_t damages = below(&writer, 3); damages > 0 && len > 0; damages--)
            text[below(&writer, len)] = (char)below(&writer, 256);
        struct slice raw;
        size_t cursor = 0;
        if (json_raw_member(slice_make(text, len), SLICE("a"), &raw))
            assert_true(raw.base > text && raw.base + raw.len <= text + len);
        while (json_raw_next_item(slice_make(text, len), &cursor, &raw))
            assert_true(raw.base > text && raw.base + raw.len <= text + len);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found_as_they_were_written),
        cmocka_unit_test(the_last_of_equal_names_counts),
        cmocka_unit_test(names_may_be_written_with_escapes),
        cmocka_unit_test(items_are_walked_in_order),
        cmocka_unit_test(numbers_are_told_from_the_rest),
        cmocka_unit_test(random_texts_are_walked_as_the_reader_reads_them),
        cmocka_unit_test(damaged_texts_are_not_read_beyond_their_end),
    };
    return cmocka_run_group_tests_name("json raw", tests, NULL, NULL);
}
