/* SPDX-License-Identifier: Apache-2.0 */
/* The client's reply parser: the same answer however the bytes are cut, and no answer out of nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/http_response.h"

struct good {
    const char *bytes;
    int status;
    const char *body;
    const char *content_type;
    bool is_keepalive;
    bool is_ended_by_close; /* the server closes to end the body */
};

static const struct good goods[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\nhi", 200, "hi",
        "application/json", true, false},
    {"HTTP/1.1 404 \r\ncontent-length:0\r\n\r\n", 404, "", "", true, false},
    {"HTTP/1.1 429\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 429, "x", "", true, false},
    {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", "", true, false},
    {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, "", "", true, false},
    {"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 1\r\n\r\nx", 200, "x", "", false, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", "", false, false},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", 200, "x", "", true, false},
    {"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end", "", false, true},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: "
     "t\r\n\r\n",
        200, "abc0123456789", "", true, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding:  Chunked \r\n\r\n0\r\n\r\n", 200, "", "", true, false},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
     "2\r\n\r\nok",
        200, "ok", "", true, false},
};

static void assert_good(const struct good *good, const struct http_response *response, size_t len)
{
    assert_int_equal(response->status, good->status);
    assert_true(slice_eq(response->body, slice_cstr(good->body)));
    assert_true(slice_eq(response->content_type, slice_cstr(good->content_type)));
    assert_int_equal(response->is_keepalive, good->is_keepalive);
    assert_int_equal(response->consumed, len);
}

/* Feeds the bytes up to `cut` first and the others `step` at a time, in a buffer that moves every time. */
static void feed_cut(const struct good *good, size_t cut, size_t step)
{
    size_t len = strlen(good->bytes);
    struct http_response response;
    enum http_response_state state = HTTP_RESPONSE_PARTIAL;
    char *buffer = NULL;
    http_response_init(&response);
    for (size_t have = cut, before = 0; state == HTTP_RESPONSE_PARTIAL; have += step) {
        have = have < len ? have : len;
        char *moved = malloc(have > 0 ? have : 1);
        assert_non_null(moved);
        if (before > 0)
            memcpy(moved, buffer, before);
        memcpy(moved + before, good->bytes + before, have - before);
        free(buffer);
        buffer = moved;
        before = have;
        bool is_last = have == len;
        state = http_response_feed(&response, buffer, have, is_last && good->is_ended_by_close);
        assert_true(state != HTTP_RESPONSE_MALFORMED);
        assert_true(state == HTTP_RESPONSE_DONE || !is_last);
    }
    assert_good(good, &response, len);
    free(buffer);
}

static void a_reply_reads_the_same_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goods / sizeof goods[0]; i++) {
        size_t len = strlen(goods[i].bytes);
        for (size_t cut = 0; cut <= len; cut++)
            for (size_t step = 1; step <= len; step += step < 8 ? 1 : len)
                feed_cut(&goods[i], cut, step);
    }
}

static void nonsense_is_malformed(void **state)
{
    static const char *const bad[] = {
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n123456789\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct http_response response;
        char buffer[256];
        size_t len = strlen(bad[i]);
        memcpy(buffer, bad[i], len);
        http_response_init(&response);
        if (http_response_feed(&response, buffer, len, false) != HTTP_RESPONSE_MALFORMED)
            fail_msg("taken for a reply: %s", bad[i]);
    }
}

static void a_nul_in_the_head_is_malformed(void **state)
{
    (void)state;
    char bytes[] = "HTTP/1.1 200 OK\r\nA: b_c\r\n\r\n";
    struct http_response response;
    *strchr(bytes, '_') = '\0';
    http_response_init(&response);
    assert_int_equal(http_response_feed(&response, bytes, sizeof bytes - 1, false), HTTP_RESPONSE_MALFORMED);
}

static void an_endless_head_is_malformed(void **state)
{
    (void)state;
    size_t size = 2 * HTTP_RESPONSE_HEAD_MAX;
    char *bytes = malloc(size);
    struct http_response response;
    assert_non_null(bytes);
    memset(bytes, 'a', size);
    http_response_init(&response);
    assert_int_equal(http_response_feed(&response, bytes, 100, false), HTTP_RESPONSE_PARTIAL);
    assert_int_equal(http_response_feed(&response, bytes, size, false), HTTP_RESPONSE_MALFORMED);
    free(bytes);
}

static void a_reply_cut_off_by_the_end_is_partial(void **state)
{
    (void)state;
    char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab";
    struct http_response response;
    http_response_init(&response);
    assert_int_equal(http_response_feed(&response, head, sizeof head - 1, true), HTTP_RESPONSE_PARTIAL);
    http_response_init(&response);
    assert_int_equal(http_response_feed(&response, head, 0, true), HTTP_RESPONSE_PARTIAL);
}

static void bytes_after_a_reply_are_not_part_of_it(void **state)
{
    (void)state;
    char two[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 500 Boo\r\n\r\n";
    struct http_response response;
    http_response_init(&response);
    assert_int_equal(http_response_feed(&response, two, sizeof two - 1, false), HTTP_RESPONSE_DONE);
    assert_int_equal(response.status, 200);
    assert_true(response.consumed < sizeof two - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_reads_the_same_however_it_is_cut),
        cmocka_unit_test(nonsense_is_malformed),
        cmocka_unit_test(a_nul_in_the_head_is_malformed),
        cmocka_unit_test(an_endless_head_is_malformed),
        cmocka_unit_test(a_reply_cut_off_by_the_end_is_partial),
        cmocka_unit_test(bytes_after_a_reply_are_not_part_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
