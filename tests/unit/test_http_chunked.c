/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked bodies are joined whatever way their bytes arrive, and nonsense in them is refused. */
#include "net/http_chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/slice.h"

enum { BODY_MAX = 64 };

/*
 * Feeds the text in pieces of at most `step` bytes, laid out as a connection does it: each behind the body.
 */
static enum http_chunked_status feed(
    struct slice text, size_t step, char *body, size_t *body_len, size_t *taken)
{
    struct http_chunked chunked = {0};
    enum http_chunked_status status = HTTP_CHUNKED_MORE;
    *body_len = 0;
    *taken = 0;
    while (status == HTTP_CHUNKED_MORE && *taken < text.len) {
        size_t len = text.len - *taken < step ? text.len - *taken : step;
        size_t piece;
        char *from = body + *body_len;
        memcpy(from, text.base + *taken, len);
        status = http_chunked_feed(&chunked, body, body_len, BODY_MAX, from, len, &piece);
        *taken += piece;
        if (status == HTTP_CHUNKED_MORE)
            assert_int_equal(piece, len);
    }
    return status;
}

struct row {
    const char *what;
    struct slice text;
    enum http_chunked_status status;
    const char *body;
    size_t rest; /* bytes that belong to what follows */
};

/* clang-format off */
#define ROW(what, text, status, body, rest) {what, SLICE_INIT(text), HTTP_CHUNKED_##status, body, rest}
/* clang-format on */

static const struct row rows[] = {
    ROW("empty body", "0\r\n\r\n", DONE, "", 0),
    ROW("one chunk", "5\r\nhello\r\n0\r\n\r\n", DONE, "hello", 0),
    ROW("two chunks and the next request", "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\nGET", DONE,
        "abc0123456789", 3),
    ROW("body of line ends", "4\r\n\r\n\r\n\r\n0\r\n\r\n", DONE, "\r\n\r\n", 0),
    ROW("extensions", "1;a=b;c=\"d e\"\r\nx\r\n0;last\r\n\r\n", DONE, "x", 0),
    ROW("trailers", "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\nrest", DONE, "x", 4),
    ROW("exactly the bound",
        "40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n0\r\n\r\n", DONE,
        "0123456789012345678901234567890123456789012345678901234567890123", 0),
    ROW("one byte over the bound", "41\r\n", TOO_LARGE, "", 0),
    ROW("over the bound in sum",
        "3f\r\n012345678901234567890123456789012345678901234567890123456789012\r\n2\r\n", TOO_LARGE, NULL, 0),
    ROW("huge size", "FFFFFFFFFFFFFFFF\r\n", TOO_LARGE, "", 0),
    ROW("size beyond 64 bits", "10000000000000000\r\n", MALFORMED, "", 0),
    ROW("endless zeros", "00000000000000001\r\n", MALFORMED, "", 0),
    ROW("no size", "\r\n\r\n", MALFORMED, "", 0),
    ROW("no size but an extension", ";a\r\n", MALFORMED, "", 0),
    ROW("sign", "+5\r\nhello\r\n", MALFORMED, "", 0),
    ROW("minus", "-1\r\n", MALFORMED, "", 0),
    ROW("0x", "0x5\r\nhello\r\n", MALFORMED, "", 0),
    ROW("blank before", " 5\r\nhello\r\n", MALFORMED, "", 0),
    ROW("blank after", "5 \r\nhello\r\n", MALFORMED, "", 0),
    ROW("bare LF after the size", "5\nhello\r\n0\r\n\r\n", MALFORMED, "", 0),
    ROW("CR without LF after the size", "5\rXhello\r\n", MALFORMED, "", 0),
    ROW("bare LF in an extension", "5;a\nhello\r\n", MALFORMED, "", 0),
    ROW("NUL in an extension", "5;a\0b\r\nhello\r\n", MALFORMED, "", 0),
    ROW("chunk longer than it says", "4\r\nhello\r\n0\r\n\r\n", MALFORMED, NULL, 0),
    ROW("bare LF after the data", "5\r\nhello\n0\r\n\r\n", MALFORMED, NULL, 0),
    ROW("CR without LF after the data", "5\r\nhello\rX0\r\n\r\n", MALFORMED, NULL, 0),
    ROW("bare LF at the end", "0\r\n\n", MALFORMED, "", 0),
    ROW("CR without LF at the end", "0\r\n\rX", MALFORMED, "", 0),
    ROW("trailer without a name", "0\r\n: a\r\n\r\n", MALFORMED, "", 0),
    ROW("trailer without a colon", "0\r\nabc\r\n\r\n", MALFORMED, "", 0),
    ROW("folded trailer", "0\r\na: b\r\n c\r\n\r\n", MALFORMED, "", 0),
    ROW("bare LF in a trailer", "0\r\na: b\n\r\n", MALFORMED, "", 0),
    ROW("cut in the size", "5", MORE, "", 0),
    ROW("cut in the data", "5\r\nhel", MORE, "hel", 0),
    ROW("cut before the end", "5\r\nhello\r\n0\r\n", MORE, "hello", 0),
};

static void chunks_are_joined_or_refused_in_any_pieces(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        for (size_t step = 1; step <= row->text.len; step++) {
            char body[512];
            size_t body_len;
            size_t taken;
            enum http_chunked_status status = feed(row->text, step, body, &body_len, &taken);
            if (status != row->status)
                fail_msg(
                    "%s, %zu bytes at a time: status %d instead of %d", row->what, step, status, row->status);
            if (row->body != NULL && !slice_eq(slice_make(body, body_len), slice_cstr(row->body)))
                fail_msg("%s: body \"%.*s\"", row->what, (int)body_len, body);
            if (status == HTTP_CHUNKED_DONE)
                assert_int_equal(row->text.len - taken, row->rest);
        }
    }
}

/* What is only read past must not cost a client nothing for ever. */
static void extensions_and_trailers_are_bounded(void **state)
{
    static const char *const starts[] = {"1;", "0\r\nx: "};
    for (size_t i = 0; i < 2; i++) {
        struct http_chunked chunked = {0};
        char body[16];
        size_t body_len = 0;
        size_t taken;
        size_t fed = 0;
        memcpy(body, starts[i], strlen(starts[i]));
        enum http_chunked_status status =
            http_chunked_feed(&chunked, body, &body_len, BODY_MAX, body, strlen(starts[i]), &taken);
        while (status == HTTP_CHUNKED_MORE) {
            body[0] = 'x';
            status = http_chunked_feed(&chunked, body, &body_len, BODY_MAX, body, 1, &taken);
            assert_true(++fed <= HTTP_CHUNKED_EXTRA_MAX + 1);
        }
        assert_int_equal(status, HTTP_CHUNKED_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_joined_or_refused_in_any_pieces),
        cmocka_unit_test(extensions_and_trailers_are_bounded),
    };
    return cmocka_run_group_tests_name("http_chunked", tests, NULL, NULL);
}
