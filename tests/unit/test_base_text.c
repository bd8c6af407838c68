/* SPDX-License-Identifier: Apache-2.0 */
/* Slices, UTF-8, arenas and text being written: what every request is read from and answered with. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/hex.h"
#include "base/strbuf.h"
#include "base/utf8.h"

static void assert_slice(struct slice text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.base, expected, text.len);
}

/* --- slice --- */

static void integers_are_read_to_both_ends_of_64_bits(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"007", 7},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"-9223372036854775807", INT64_MIN + 1},
        {"00000000000000000000009223372036854775807", INT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t value = 42;
        assert_true(slice_to_i64(slice_cstr(good[i].text), &value));
        assert_true(value == good[i].value);
    }
}

static void what_is_no_integer_or_too_large_is_refused(void **state)
{
    static const char *const bad[] = {"", "-", "--1", "+1", " 1", "1 ", "1.0", "1e3", "0x10",
        "9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999999999",
        "12a", "\xB2"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t value = 42;
        assert_false(slice_to_i64(slice_cstr(bad[i]), &value));
        assert_int_equal(value, 42);
    }
    int64_t value;
    assert_false(slice_to_i64(slice_make("1\0", 2), &value));
}

static void slices_compare_by_bytes_and_ascii_case(void **state)
{
    (void)state;
    assert_true(slice_eq(SLICE("ab"), SLICE("ab")));
    assert_false(slice_eq(SLICE("ab"), SLICE("abc")));
    assert_false(slice_eq(SLICE("ab"), SLICE("aB")));
    assert_true(slice_eq((struct slice){0}, SLICE("")));
    assert_true(slice_eq_nocase(SLICE("Content-TYPE"), SLICE("content-type")));
    assert_false(slice_eq_nocase(SLICE("@[`{"), SLICE("`{@[")));
    assert_false(slice_eq_nocase(SLICE("\xC3\x84"), SLICE("\xC3\xA4")));
    assert_true(slice_starts_with(SLICE("abc"), SLICE("")));
    assert_true(slice_starts_with(SLICE("abc"), SLICE("abc")));
    assert_false(slice_starts_with(SLICE("ab"), SLICE("abc")));
    assert_slice(slice_cstr(NULL), "");
}

static void blanks_are_trimmed_at_both_ends_only(void **state)
{
    (void)state;
    assert_slice(slice_trim(SLICE(" \t\r\n\v\f a b \t")), "a b");
    assert_slice(slice_trim(SLICE(" \t ")), "");
    assert_slice(slice_trim(SLICE("")), "");
    assert_slice(slice_trim((struct slice){0}), "");
    assert_slice(slice_trim(SLICE("\xA0x")), "\xA0x");
}

static void splitting_gives_head_and_rest(void **state)
{
    struct slice rest;
    (void)state;
    assert_slice(slice_split(SLICE("a=b=c"), '=', &rest), "a");
    assert_slice(rest, "b=c");
    assert_slice(slice_split(SLICE("abc"), '=', &rest), "abc");
    assert_slice(rest, "");
    assert_slice(slice_split(SLICE("=x"), '=', &rest), "");
    assert_slice(rest, "x");
    assert_slice(slice_split(SLICE("x="), '=', &rest), "x");
    assert_slice(rest, "");
    assert_slice(slice_split((struct slice){0}, '=', &rest), "");
    assert_slice(rest, "");
}

/* --- UTF-8 --- */

/* What RFC 3629 says of one code point, written down the other way round: by encoding. */
static size_t encode(uint32_t code, char text[4])
{
    if (code < 0x80) {
        text[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        text[0] = (char)(0xC0 | code >> 6);
        text[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        text[0] = (char)(0xE0 | code >> 12);
        text[1] = (char)(0x80 | (code >> 6 & 0x3F));
        text[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    text[0] = (char)(0xF0 | code >> 18);
    text[1] = (char)(0x80 | (code >> 12 & 0x3F));
    text[2] = (char)(0x80 | (code >> 6 & 0x3F));
    text[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

static void every_code_point_but_surrogates_is_valid(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x120000; code++) {
        char text[4];
        size_t len = encode(code, text);
        bool is_good = code < 0x110000 && (code < 0xD800 || code > 0xDFFF);
        assert_int_equal(utf8_char_len(slice_make(text, len)), is_good ? len : 0);
        /* Cut short it is nothing. */
        if (len > 1)
            assert_int_equal(utf8_char_len(slice_make(text, len - 1)), 0);
    }
}

static void overlong_and_stray_bytes_are_invalid(void **state)
{
    static const char *const bad[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF",
        "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF5\x80\x80\x80", "\xFE", "\xFF", "\xC3(", "\xE2\x28\xA1",
        "\xE2\x82\x28", "\xF0\x28\x8C\xBC", "\xF0\x9F\x28\xBC", "\xF0\x9F\x98\x28", "ok\xED\xA0\x80"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(utf8_is_valid(slice_cstr(bad[i])));
    assert_true(utf8_is_valid(SLICE("")));
    assert_true(utf8_is_valid(SLICE("a\0b")));
    assert_int_equal(utf8_length(SLICE("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80")), 4);
}

/* --- arena --- */

static void an_arena_gives_zeroed_aligned_memory(void **state)
{
    alignas(max_align_t) char memory[256];
    struct arena arena;
    (void)state;
    memset(memory, 0xAA, sizeof memory);
    arena_init(&arena, memory, sizeof memory);
    assert_slice(arena_copy(&arena, SLICE("abc")), "abc");
    unsigned char *block = arena_alloc(&arena, 40);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % alignof(max_align_t), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(block[i], 0);
    assert_slice(arena_copy(&arena, (struct slice){0}), "");
    assert_false(arena.has_overflowed);
}

static void an_arena_overflows_once_and_for_all(void **state)
{
    alignas(max_align_t) char memory[64];
    struct arena arena;
    (void)state;
    arena_init(&arena, memory, sizeof memory);
    assert_non_null(arena_alloc(&arena, 64));
    assert_false(arena.has_overflowed);
    assert_null(arena_alloc(&arena, 1));
    assert_true(arena.has_overflowed);
    assert_null(arena_alloc(&arena, 0));
    assert_slice(arena_copy(&arena, SLICE("x")), "");
    arena_reset(&arena);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_true(arena.has_overflowed);
    arena_reset(&arena);
    assert_slice(arena_copy(&arena, slice_make(memory, 0)), "");
    assert_slice(arena_copy(&arena, SLICE("y")), "y");
    assert_int_equal(arena_copy(&arena, slice_make(memory, 64)).len, 0);
    assert_true(arena.has_overflowed);
}

/* --- strbuf --- */

static void text_in_fixed_memory_is_cut_at_its_end(void **state)
{
    char memory[9];
    struct strbuf buf;
    (void)state;
    memory[8] = '#';
    strbuf_init(&buf, memory, 8);
    strbuf_lit(&buf, "12345");
    strbuf_put_char(&buf, '6');
    strbuf_lit(&buf, "789");
    assert_true(buf.has_overflowed);
    assert_slice(strbuf_slice(&buf), "123456");
    strbuf_put_char(&buf, '7');
    assert_slice(strbuf_slice(&buf), "123456");
    assert_int_equal(memory[8], '#');
    strbuf_reset(&buf);
    strbuf_lit(&buf, "12345678");
    assert_false(buf.has_overflowed);
    strbuf_put(&buf, (struct slice){0});
    assert_false(buf.has_overflowed);
    assert_slice(strbuf_slice(&buf), "12345678");
}

static void text_on_the_heap_grows_up_to_its_bound(void **state)
{
    struct strbuf buf;
    (void)state;
    strbuf_init_heap(&buf, 5000);
    for (int i = 0; i < 5000; i++)
        strbuf_put_char(&buf, (char)('a' + i % 26));
    assert_false(buf.has_overflowed);
    assert_int_equal(buf.len, 5000);
    assert_true(buf.size <= 5000);
    strbuf_put_char(&buf, 'x');
    assert_true(buf.has_overflowed);
    assert_int_equal(buf.len, 5000);
    for (size_t i = 0; i < buf.len; i++)
        assert_int_equal(buf.base[i], 'a' + (int)(i % 26));
    strbuf_reset(&buf);
    strbuf_put(&buf, slice_make("", 0));
    assert_int_equal(buf.len, 0);
    strbuf_fini(&buf);

    strbuf_init_heap(&buf, 3);
    strbuf_lit(&buf, "abcd");
    assert_true(buf.has_overflowed);
    strbuf_reset(&buf);
    strbuf_lit(&buf, "abc");
    assert_slice(strbuf_slice(&buf), "abc");
    strbuf_fini(&buf);
}

static void numbers_are_written_as_printf_writes_them(void **state)
{
    static const int64_t values[] = {0, 1, -1, 9, 10, -10, 1234567890, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char memory[32];
        char expected[32];
        struct strbuf buf;
        strbuf_init(&buf, memory, sizeof memory);
        strbuf_put_i64(&buf, values[i]);
        (void)snprintf(expected, sizeof expected, "%lld", (long long)values[i]);
        assert_slice(strbuf_slice(&buf), expected);
    }
}

static void printf_appends_whole_or_not_at_all(void **state)
{
    char memory[8];
    struct strbuf buf;
    (void)state;
    strbuf_init(&buf, memory, sizeof memory);
    strbuf_printf(&buf, "%d-%s", 12, "ab");
    assert_slice(strbuf_slice(&buf), "12-ab");
    strbuf_printf(&buf, "%s", "cdef");
    assert_true(buf.has_overflowed);
    assert_slice(strbuf_slice(&buf), "12-ab");
    strbuf_init_heap(&buf, 4096);
    strbuf_printf(&buf, "%2000s|", "x");
    assert_int_equal(buf.len, 2001);
    assert_int_equal(buf.base[2000], '|');
    strbuf_fini(&buf);
}

static void assert_json(struct slice text, const char *expected)
{
    char memory[256];
    struct strbuf buf;
    strbuf_init(&buf, memory, sizeof memory);
    strbuf_put_json(&buf, text);
    assert_false(buf.has_overflowed);
    assert_slice(strbuf_slice(&buf), expected);
}

static void json_strings_escape_what_rfc_8259_wants(void **state)
{
    (void)state;
    assert_json(SLICE(""), "\"\"");
    assert_json((struct slice){0}, "\"\"");
    assert_json(SLICE("plain /'text'"), "\"plain /'text'\"");
    assert_json(SLICE("\"\\\b\f\n\r\t"), "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
    assert_json(SLICE("a\0b\x01\x1f"), "\"a\\u0000b\\u0001\\u001f\"");
    assert_json(SLICE("\x7f"), "\"\x7f\"");
    assert_json(SLICE("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"), "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"");
}

static void json_strings_take_bad_utf8_as_latin_1(void **state)
{
    (void)state;
    assert_json(SLICE("\xE4"), "\"\xC3\xA4\"");
    assert_json(SLICE("a\x80z"), "\"a\xC2\x80z\"");
    assert_json(SLICE("\xFF\xFE"), "\"\xC3\xBF\xC3\xBE\"");
    assert_json(SLICE("\xC3"), "\"\xC3\x83\"");
    assert_json(SLICE("\xE2\x82"), "\"\xC3\xA2\xC2\x82\"");
    assert_json(SLICE("\xED\xA0\x80"), "\"\xC3\xAD\xC2\xA0\xC2\x80\"");
    assert_json(SLICE("\xC0\xAF"), "\"\xC3\x80\xC2\xAF\"");
    assert_json(SLICE("\xC3\xA4\xE4\""), "\"\xC3\xA4\xC3\xA4\\\"\"");
}

static void any_two_bytes_become_valid_json(void **state)
{
    (void)state;
    for (unsigned pair = 0; pair < 65536; pair++) {
        char text[2] = {(char)(pair >> 8), (char)(pair & 255)};
        char memory[32];
        struct strbuf buf;
        strbuf_init(&buf, memory, sizeof memory);
        strbuf_put_json(&buf, slice_make(text, 2));
        struct slice json = strbuf_slice(&buf);
        assert_true(!buf.has_overflowed && utf8_is_valid(json));
        assert_true(json.base[0] == '"' && json.base[json.len - 1] == '"');
        for (size_t i = 1; i + 1 < json.len; i++) {
            assert_true((unsigned char)json.base[i] >= 0x20 && json.base[i] != '"');
            if (json.base[i] == '\\')
                i++;
        }
    }
}

static void json_that_does_not_fit_overflows(void **state)
{
    (void)state;
    for (size_t size = 0; size < 12; size++) {
        char memory[12];
        struct strbuf buf;
        strbuf_init(&buf, memory, size);
        strbuf_put_json(&buf, SLICE("a\xE4\"b"));
        assert_true(buf.has_overflowed == (size < 8));
        assert_true(buf.len <= size);
    }
}

/* --- digits --- */

static void digits_are_read_in_either_case_and_nothing_else(void **state)
{
    unsigned char bytes[2];
    (void)state;
    assert_true(hex_read(SLICE("aF09"), bytes, 2) && bytes[0] == 0xAF && bytes[1] == 0x09);
    assert_false(hex_read(SLICE("aF0"), bytes, 2));
    assert_false(hex_read(SLICE("aF091"), bytes, 2));
    for (int c = 0; c < 256; c++) {
        const char text[4] = {'0', (char)c, '0', '0'};
        bool is_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        assert_true(hex_read(slice_make(text, 4), bytes, 2) == is_digit);
    }
}

static void digits_are_written_in_lower_case(void **state)
{
    const unsigned char bytes[] = {0x00, 0x1f, 0xa0, 0xff};
    char memory[sizeof bytes * 2];
    struct strbuf text;
    (void)state;
    strbuf_init(&text, memory, sizeof memory);
    hex_put(&text, bytes, sizeof bytes);
    assert_false(text.has_overflowed);
    assert_slice(strbuf_slice(&text), "001fa0ff");
    hex_put(&text, bytes, 1);
    assert_true(text.has_overflowed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read_to_both_ends_of_64_bits),
        cmocka_unit_test(what_is_no_integer_or_too_large_is_refused),
        cmocka_unit_test(slices_compare_by_bytes_and_ascii_case),
        cmocka_unit_test(blanks_are_trimmed_at_both_ends_only),
        cmocka_unit_test(splitting_gives_head_and_rest),
        cmocka_unit_test(every_code_point_but_surrogates_is_valid),
        cmocka_unit_test(overlong_and_stray_bytes_are_invalid),
        cmocka_unit_test(an_arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(an_arena_overflows_once_and_for_all),
        cmocka_unit_test(text_in_fixed_memory_is_cut_at_its_end),
        cmocka_unit_test(text_on_the_heap_grows_up_to_its_bound),
        cmocka_unit_test(numbers_are_written_as_printf_writes_them),
        cmocka_unit_test(printf_appends_whole_or_not_at_all),
        cmocka_unit_test(json_strings_escape_what_rfc_8259_wants),
        cmocka_unit_test(json_strings_take_bad_utf8_as_latin_1),
        cmocka_unit_test(any_two_bytes_become_valid_json),
        cmocka_unit_test(json_that_does_not_fit_overflows),
        cmocka_unit_test(digits_are_read_in_either_case_and_nothing_else),
        cmocka_unit_test(digits_are_written_in_lower_case),
    };
    return cmocka_run_group_tests_name("base text", tests, NULL, NULL);
}
