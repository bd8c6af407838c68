/* SPDX-License-Identifier: Apache-2.0 */
/* A head is read as RFC 9110 and RFC 9112 say, and nothing that two readers could take differently gets
 * through. */
#include "net/http_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Scans all at once and parses. A head that the scan refuses or does not find counts as HTTP_FAULT_COUNT. */
static enum http_fault parse(struct slice text, struct http_request *request, struct http_head *head)
{
    struct http_scan scan = {0};
    if (http_scan(&scan, text) != HTTP_SCAN_DONE)
        return HTTP_FAULT_COUNT;
    return http_head_parse(slice_make(text.base, scan.at), request, head);
}

struct bad_head {
    const char *what;
    struct slice text;
    enum http_fault fault; /* HTTP_FAULT_COUNT: the scan itself must refuse it */
};

/* clang-format off */
#define BAD(what, text, fault) {what, SLICE_INIT(text), HTTP_FAULT_##fault}
/* clang-format on */
#define LINE1 "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"

static const struct bad_head bad_heads[] = {
    BAD("bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", COUNT),
    BAD("bare LF after a header", LINE1 "Host: a\n\r\n", COUNT),
    BAD("bare LF as the blank line", LINE1 HOST "\n", COUNT),
    BAD("CR without LF", LINE1 "Host: a\rb\r\n\r\n", COUNT),
    BAD("CR CR LF", LINE1 "Host: a\r\r\n\r\n", COUNT),
    BAD("NUL in a value", LINE1 "Host: a\0b\r\n\r\n", COUNT),
    BAD("NUL in a target", "GET /\0 HTTP/1.1\r\n" HOST "\r\n", COUNT),
    BAD("DEL in a value", LINE1 "Host: a\x7F\r\n\r\n", COUNT),
    BAD("escape in a value", LINE1 HOST "X: \x1B[2J\r\n\r\n", COUNT),
    BAD("folded line", LINE1 "Host: a\r\n b\r\n\r\n", COUNT),
    BAD("folded line with a tab", LINE1 "Host: a\r\n\tb\r\n\r\n", COUNT),
    BAD("blank before the first header", LINE1 " Host: a\r\n\r\n", COUNT),
    BAD("TLS hello", "\x16\x03\x01\x02\r\n\r\n", COUNT),
    BAD("blank before the method", " GET / HTTP/1.1\r\n" HOST "\r\n", COUNT),
    BAD("blank before the colon", LINE1 "Host : a\r\n\r\n", HEADER),
    BAD("tab before the colon", LINE1 "Host\t: a\r\n\r\n", HEADER),
    BAD("blank in a name", LINE1 HOST "Content Length: 3\r\n\r\n", HEADER),
    BAD("empty name", LINE1 HOST ": a\r\n\r\n", HEADER),
    BAD("no colon", LINE1 HOST "nonsense\r\n\r\n", HEADER),
    BAD("name of high bytes", LINE1 HOST "\xC3\xA4: 1\r\n\r\n", HEADER),
    BAD("quote in a name", LINE1 HOST "\"x\": 1\r\n\r\n", HEADER),
    BAD("no target", "GET\r\n" HOST "\r\n", LINE),
    BAD("HTTP/0.9", "GET /\r\n" HOST "\r\n", LINE),
    BAD("empty target", "GET  HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("two blanks before the version", "GET /  HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("blank after the version", "GET / HTTP/1.1 \r\n" HOST "\r\n", LINE),
    BAD("tab as separator", "GET\t/\tHTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("blank in the target", "GET /a b HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("relative target", "GET a HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("raw high bytes in the target", "GET /\xC3\xA4 HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("fragment in the target", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("asterisk with GET", "GET * HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("CONNECT", "CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("absolute target without a host", "GET http:///a HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("method with a colon", "GET: / HTTP/1.1\r\n" HOST "\r\n", LINE),
    BAD("lower-case protocol", "GET / http/1.1\r\n" HOST "\r\n", LINE),
    BAD("other protocol", "GET / HTPP/1.1\r\n" HOST "\r\n", LINE),
    BAD("long version", "GET / HTTP/1.10\r\n" HOST "\r\n", LINE),
    BAD("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION),
    BAD("HTTP/2.0", "GET / HTTP/2.0\r\n" HOST "\r\n", VERSION),
    BAD("HTTP/0.9 with a version", "GET / HTTP/0.9\r\n" HOST "\r\n", VERSION),
    BAD("no Host", LINE1 "\r\n", HOST),
    BAD("two Hosts", LINE1 HOST HOST "\r\n", HOST),
    BAD("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\n" HOST HOST "\r\n", HOST),
    BAD("path in Host", LINE1 "Host: a/b\r\n\r\n", HOST),
    BAD("blank in Host", LINE1 "Host: a b\r\n\r\n", HOST),
    BAD("length and encoding", LINE1 HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", LENGTH),
    BAD("encoding and length", LINE1 HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", LENGTH),
    BAD("two lengths that differ", LINE1 HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", LENGTH),
    BAD("two equal lengths", LINE1 HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", LENGTH),
    BAD("list of lengths", LINE1 HOST "Content-Length: 3, 3\r\n\r\n", LENGTH),
    BAD("signed length", LINE1 HOST "Content-Length: +3\r\n\r\n", LENGTH),
    BAD("negative length", LINE1 HOST "Content-Length: -3\r\n\r\n", LENGTH),
    BAD("hexadecimal length", LINE1 HOST "Content-Length: 0x3\r\n\r\n", LENGTH),
    BAD("empty length", LINE1 HOST "Content-Length:\r\n\r\n", LENGTH),
    BAD("length beyond 64 bits", LINE1 HOST "Content-Length: 18446744073709551616\r\n\r\n", LENGTH),
    BAD("unknown encoding", LINE1 HOST "Transfer-Encoding: gzip\r\n\r\n", LENGTH),
    BAD("chunked not last", LINE1 HOST "Transfer-Encoding: chunked, gzip\r\n\r\n", LENGTH),
    BAD("chunked twice", LINE1 HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", LENGTH),
    BAD("two encodings", LINE1 HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        LENGTH),
    BAD("disguised encoding", LINE1 HOST "Transfer-Encoding: \vchunked\r\n\r\n", COUNT),
    BAD("quoted encoding", LINE1 HOST "Transfer-Encoding: \"chunked\"\r\n\r\n", LENGTH),
    BAD("chunked in HTTP/1.0", "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", LENGTH),
    BAD("unknown expectation", LINE1 HOST "Expect: the moon\r\n\r\n", EXPECTATION),
};

static void malformed_heads_are_refused(void **state)
{
    struct http_request *request = malloc(sizeof *request);
    struct http_head head;
    for (size_t i = 0; i < sizeof bad_heads / sizeof bad_heads[0]; i++) {
        enum http_fault fault = parse(bad_heads[i].text, request, &head);
        if (fault != bad_heads[i].fault)
            fail_msg("%s: fault %d instead of %d", bad_heads[i].what, fault, bad_heads[i].fault);
    }
    free(request);
}

/* A head that ends nowhere must not be taken for one either. */
static void unfinished_heads_wait(void **state)
{
    static const char text[] = "GET /a?b HTTP/1.1\r\nHost: a\r\nX: \t y\r\n\r\n";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        struct http_scan scan = {0};
        assert_int_equal(http_scan(&scan, slice_make(text, len)), HTTP_SCAN_MORE);
    }
}

static void heads_in_pieces_are_scanned_like_whole_ones(void **state)
{
    for (size_t i = 0; i < sizeof bad_heads / sizeof bad_heads[0]; i++) {
        struct slice text = bad_heads[i].text;
        struct http_scan whole = {0};
        struct http_scan pieces = {0};
        enum http_scan_status expected = http_scan(&whole, text);
        enum http_scan_status status = HTTP_SCAN_MORE;
        for (size_t len = 1; len <= text.len && status == HTTP_SCAN_MORE; len++)
            status = http_scan(&pieces, slice_make(text.base, len));
        if (status != expected || (status == HTTP_SCAN_DONE && pieces.at != whole.at))
            fail_msg("%s: read byte by byte it is something else", bad_heads[i].what);
    }
}

/* Each byte value at each position of the words that are compared eight bytes at a time. */
static void control_characters_are_found_at_every_position(void **state)
{
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 24; at++) {
            char text[64];
            size_t len = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nX:%024d\r\n\r\n", 0);
            text[18 + at] = (char)c;
            struct http_scan scan = {0};
            bool is_fine = (c >= 0x20 && c != 0x7F) || c == '\t';
            enum http_scan_status status = http_scan(&scan, slice_make(text, len));
            if ((status == HTTP_SCAN_DONE) != is_fine)
                fail_msg("byte 0x%02x at %zu: status %d", c, at, status);
        }
    }
}

static void assert_slice(struct slice text, const char *expected)
{
    if (!slice_eq(text, slice_cstr(expected)))
        fail_msg("\"%.*s\" instead of \"%s\"", SLICE_ARGS(text), expected);
}

static void a_request_is_cut_into_its_parts(void **state)
{
    struct http_request *request = malloc(sizeof *request);
    struct http_head head;
    static const char text[] = "POST /api/v1/purchases?sku=a%20b&x=?y HTTP/1.1\r\nHost: localhost:3000\r\n"
                               "X-User-Id:  \t anna \xC3\xA4 \t\r\ncontent-LENGTH: 12\r\nEmpty:\r\n"
                               "x-correlation-ID: me\r\n\r\n";
    assert_int_equal(parse(SLICE(text), request, &head), HTTP_FAULT_NONE);
    assert_int_equal(request->method, METHOD_POST);
    assert_false(request->is_head);
    assert_slice(request->method_name, "POST");
    assert_slice(request->target, "/api/v1/purchases?sku=a%20b&x=?y");
    assert_slice(request->path, "/api/v1/purchases");
    assert_slice(request->query, "sku=a%20b&x=?y");
    assert_int_equal(request->header_count, 5);
    assert_slice(request->headers[1].name, "X-User-Id");
    assert_slice(request->headers[1].value, "anna \xC3\xA4");
    assert_slice(request->headers[3].value, "");
    assert_true(request->has_body);
    assert_int_equal(head.content_length, 12);
    assert_slice(head.correlation_id, "me");
    assert_true(head.is_keepalive);
    assert_false(head.is_chunked);
    struct slice value;
    assert_true(http_header(request, SLICE("x-user-ID"), &value));
    assert_slice(value, "anna \xC3\xA4");
    assert_false(http_header(request, SLICE("x-user"), &value));
    assert_int_equal(http_header_count(request, SLICE("HOST")), 1);
    free(request);
}

struct good_head {
    const char *text;
    enum method method;
    const char *path;
    const char *query;
    bool is_keepalive;
};

static const struct good_head good_heads[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", METHOD_GET, "/", "", true},
    {"GET /? HTTP/1.1\r\nHost:\r\n\r\n", METHOD_GET, "/", "", true},
    {"HEAD /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", METHOD_GET, "/x", "", true},
    {"PUT /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", METHOD_PUT, "/x", "", false},
    {"DELETE /x HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", METHOD_DELETE, "/x", "", false},
    {"PATCH /x HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", METHOD_PATCH, "/x", "",
        false},
    {"get / HTTP/1.1\r\nHost: a\r\n\r\n", METHOD_OTHER, "/", "", true},
    {"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", METHOD_OTHER, "/pot", "", true},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", METHOD_OTHER, "*", "", true},
    {"GET http://a.b:80/c?d HTTP/1.1\r\nHost: a\r\n\r\n", METHOD_GET, "/c", "d", true},
    {"GET HTTPS://a HTTP/1.1\r\nHost: a\r\n\r\n", METHOD_GET, "/", "", true},
    {"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", METHOD_GET, "/", "q", true},
    {"GET / HTTP/1.0\r\n\r\n", METHOD_GET, "/", "", false},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", METHOD_GET, "/", "", true},
    {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", METHOD_GET, "/", "", false},
    {"GET / HTTP/1.0\r\nExpect: the moon\r\n\r\n", METHOD_GET, "/", "", false},
    {"GET / HTTP/1.7\r\nHost: a\r\n\r\n", METHOD_GET, "/", "", true},
    {"GET /|^{}\" HTTP/1.1\r\nHost: a\r\n\r\n", METHOD_GET, "/|^{}\"", "", true},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", METHOD_GET,
        "/", "", true},
};

static void good_heads_are_read(void **state)
{
    struct http_request *request = malloc(sizeof *request);
    struct http_head head;
    for (size_t i = 0; i < sizeof good_heads / sizeof good_heads[0]; i++) {
        const struct good_head *good = &good_heads[i];
        enum http_fault fault = parse(slice_cstr(good->text), request, &head);
        if (fault != HTTP_FAULT_NONE)
            fail_msg("fault %d for %s", fault, good->text);
        assert_int_equal(request->method, good->method);
        assert_slice(request->path, good->path);
        assert_slice(request->query, good->query);
        assert_int_equal(head.is_keepalive, good->is_keepalive);
        assert_false(request->has_body);
    }
    free(request);
}

static void bodies_are_announced_in_two_ways(void **state)
{
    struct http_request *request = malloc(sizeof *request);
    struct http_head head;
    assert_int_equal(
        parse(SLICE(LINE1 HOST "Transfer-Encoding: Chunked\r\n\r\n"), request, &head), HTTP_FAULT_NONE);
    assert_true(head.is_chunked && request->has_body);
    assert_int_equal(
        parse(SLICE(LINE1 HOST "Content-Length: 0\r\nExpect: 100-Continue\r\n\r\n"), request, &head),
        HTTP_FAULT_NONE);
    assert_true(request->has_body && head.is_continue_expected && head.content_length == 0);
    assert_int_equal(parse(SLICE(LINE1 HOST "Content-Length: 18446744073709551615\r\n\r\n"), request, &head),
        HTTP_FAULT_NONE);
    assert_true(head.content_length == UINT64_MAX);
    free(request);
}

static void more_headers_than_there_is_room_for_are_refused(void **state)
{
    struct http_request *request = malloc(sizeof *request);
    struct http_head head;
    for (int count = HTTP_HEADERS_MAX; count <= HTTP_HEADERS_MAX + 1; count++) {
        char text[2048];
        size_t len = (size_t)snprintf(text, sizeof text, LINE1 HOST);
        for (int i = 1; i < count; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, "x-%d: %d\r\n", i, i);
        len += (size_t)snprintf(text + len, sizeof text - len, "\r\n");
        assert_int_equal(parse(slice_make(text, len), request, &head),
            count <= HTTP_HEADERS_MAX ? HTTP_FAULT_NONE : HTTP_FAULT_HEADER_COUNT);
    }
    free(request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_cut_into_its_parts),
        cmocka_unit_test(good_heads_are_read),
        cmocka_unit_test(bodies_are_announced_in_two_ways),
        cmocka_unit_test(malformed_heads_are_refused),
        cmocka_unit_test(unfinished_heads_wait),
        cmocka_unit_test(heads_in_pieces_are_scanned_like_whole_ones),
        cmocka_unit_test(control_characters_are_found_at_every_position),
        cmocka_unit_test(more_headers_than_there_is_room_for_are_refused),
    };
    return cmocka_run_group_tests_name("http_parse", tests, NULL, NULL);
}
