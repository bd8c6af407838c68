/* SPDX-License-Identifier: Apache-2.0 */
/* Requests over real sockets: whole, split, pipelined, malformed, answered at once and late. */
#include "http_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/ensure.h"

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static int set_up(void **state)
{
    struct kit *kit = malloc(sizeof *kit);
    kit_init(kit);
    kit_start(kit);
    *state = kit;
    return 0;
}

static int tear_down(void **state)
{
    kit_stop(*state);
    free(*state);
    return 0;
}

static void one_connection_serves_many_requests(void **state)
{
    struct kit *kit = *state;
    int fd = client_connect(kit);
    for (int i = 0; i < 100; i++) {
        client_send(fd, GET("/hello"));
        client_expect(fd, 200, "hello");
        client_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
        client_expect(fd, 201, "abc");
    }
    (void)close(fd);
    kit_wait_open(kit, 0);
    assert_int_equal(kit_stats(kit).connections_accepted, 1);
    assert_int_equal(kit->answered_count, 200);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct kit *kit = *state;
    int fd = client_connect(kit);
    client_send(fd,
        GET("/item/1") "POST /echo HTTP/1.1\r\n" HOST
                       "Content-Length: 1\r\n\r\n2" GET("/late") "\r\n\r\n" GET(
                           "/batch") "POST /echo HTTP/1.1\r\n" HOST
                                     "Transfer-Encoding: chunked\r\n\r\n1\r\n4\r\n0\r\n\r\n" GET("/item/5"));
    client_expect(fd, 200, "1");
    client_expect(fd, 201, "2");
    kit_wait_pending(kit, 1);
    kit_answer(kit);
    client_expect(fd, 200, "late");
    client_expect(fd, 200, "batch");
    client_expect(fd, 201, "4");
    client_expect(fd, 200, "5");
    (void)close(fd);
}

/* More than fits the buffer, while the first request waits: the rest must wait in the kernel and not be lost.
 */
static void pipelining_is_bounded_and_complete(void **state)
{
    enum { COUNT = 2000 };
    struct kit *kit = *state;
    int fd = client_connect(kit);
    client_send(fd, GET("/late"));
    for (int i = 0; i < COUNT; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "GET /item/%d HTTP/1.1\r\n" HOST "\r\n", i);
        client_send(fd, text);
    }
    kit_wait_pending(kit, 1);
    kit_turn(kit);
    kit_answer(kit);
    client_expect(fd, 200, "late");
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", i);
        client_expect(fd, 200, text);
    }
    (void)close(fd);
}

enum { FLOOD_FD, OTHER_FD, FD_COUNT, FLOOD_COUNT = 1000 };
static int flood_fds[FD_COUNT];

static void send_at_once(int fd, const char *text, size_t len)
{
    assert_true(send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len);
}

/* On the server's thread, which so finds both in one turn, the flood first and in one piece. */
static void flood(struct kit *kit)
{
    static const char request[] = GET("/hello");
    static const char last[] = GET("/late?flood");
    static const char other[] = GET("/late?other");
    static char text[FLOOD_COUNT * (sizeof request - 1) + sizeof last];
    for (size_t i = 0; i < FLOOD_COUNT; i++)
        memcpy(text + i * (sizeof request - 1), request, sizeof request);
    memcpy(text + sizeof text - sizeof last, last, sizeof last);
    send_at_once(flood_fds[FLOOD_FD], text, sizeof text - 1);
    send_at_once(flood_fds[OTHER_FD], other, sizeof other - 1);
}

static void look_who_was_first(struct kit *kit)
{
    kit->argument = slice_eq(kit->pending[0]->query, SLICE("other")) ? OTHER_FD : FLOOD_FD;
}

/* A client that sends without waiting for answers has the loop to itself, and all others wait. */
static void who_floods_a_connection_does_not_keep_others_waiting(void **state)
{
    struct kit *kit = *state;
    for (int i = 0; i < FD_COUNT; i++)
        flood_fds[i] = client_connect(kit);
    kit_wait_open(kit, FD_COUNT);
    kit_run(kit, flood);
    kit_wait_pending(kit, 2);
    kit_run(kit, look_who_was_first);
    assert_int_equal(kit->argument, OTHER_FD);
    kit_answer(kit);
    for (int i = 0; i < FLOOD_COUNT; i++)
        client_expect(flood_fds[FLOOD_FD], 200, "hello");
    for (int i = 0; i < FD_COUNT; i++) {
        client_expect(flood_fds[i], 200, "late");
        (void)close(flood_fds[i]);
    }
}

static void requests_may_be_split_anywhere(void **state)
{
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n03\r\nllo\r\n0\r\nT: t\r\n\r\n",
        "\r\n\r\nPOST /echo?a HTTP/1.1\r\n" HOST "Content-Length: 5\r\nX:\ty\r\n\r\nhello",
    };
    struct kit *kit = *state;
    int fd = client_connect(kit);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct slice text = slice_cstr(requests[i]);
        for (size_t split = 1; split < text.len; split++) {
            client_send_bytes(fd, slice_make(text.base, split));
            kit_turn(kit);
            client_send_bytes(fd, slice_make(text.base + split, text.len - split));
            client_expect(fd, 201, "hello");
        }
        for (size_t at = 0; at < text.len; at++) {
            client_send_bytes(fd, slice_make(text.base + at, 1));
            kit_turn(kit);
        }
        client_expect(fd, 201, "hello");
    }
    (void)close(fd);
}

/* Bodies larger than the first buffer make it grow, whichever way they come. */
static void large_bodies_arrive_whole(void **state)
{
    enum { LEN = 1024 * 1024 };
    struct kit *kit = *state;
    int fd = client_connect(kit);
    char *body = malloc(LEN);
    for (size_t i = 0; i < LEN; i++)
        body[i] = (char)('a' + i % 23);
    for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
        struct client_reply *reply = malloc(sizeof *reply);
        char text[128];
        if (is_chunked) {
            client_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
            for (size_t at = 0; at < LEN; at += LEN / 64) {
                (void)snprintf(text, sizeof text, "%x\r\n", LEN / 64);
                client_send(fd, text);
                client_send_bytes(fd, slice_make(body + at, LEN / 64));
                client_send(fd, "\r\n");
            }
            client_send(fd, "0\r\n\r\n");
        } else {
            (void)snprintf(
                text, sizeof text, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", LEN);
            client_send(fd, text);
            client_send_bytes(fd, slice_make(body, LEN));
        }
        client_read(fd, false, reply);
        assert_int_equal(reply->status, 201);
        assert_int_equal(reply->body_len, LEN);
        assert_memory_equal(reply->body, body, LEN);
        free(reply->body);
        free(reply);
    }
    free(body);
    (void)close(fd);
}

static void head_requests_get_the_head_alone(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int fd = client_connect(kit);
    client_send(fd, "HEAD /hello HTTP/1.1\r\n" HOST "\r\n");
    client_read(fd, true, reply);
    assert_int_equal(reply->status, 200);
    assert_non_null(strstr(reply->head, "Content-Length: 5\r\n"));
    assert_non_null(strstr(reply->head, "Content-Type: text/plain\r\n"));
    assert_non_null(strstr(reply->head, "\r\nDate: "));
    free(reply->body);
    client_send(fd, "HEAD /nowhere HTTP/1.1\r\n" HOST "\r\n");
    client_read(fd, true, reply);
    assert_int_equal(reply->status, 404);
    free(reply->body);
    client_send(fd, "DELETE /none HTTP/1.1\r\n" HOST "\r\n");
    client_read(fd, false, reply);
    assert_int_equal(reply->status, 204);
    assert_false(reply->has_length);
    free(reply->body);
    client_send(fd, GET("/hello"));
    client_expect(fd, 200, "hello");
    free(reply);
    (void)close(fd);
}

static void what_is_not_there_is_not_found(void **state)
{
    static const char *const texts[] = {GET("/"), GET("/hello/"), GET("/Hello"),
        "POST /hello HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
        "OPTIONS /hello HTTP/1.1\r\n" HOST "\r\n", "BREW /hello HTTP/1.1\r\n" HOST "\r\n",
        "get /hello HTTP/1.1\r\n" HOST "\r\n"};
    struct kit *kit = *state;
    int fd = client_connect(kit);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        client_send(fd, texts[i]);
        client_expect(fd, 404, NULL);
    }
    client_send(fd, GET("http://else.where/hello"));
    client_expect(fd, 200, "hello");
    client_send(fd, GET("/item/a%2Fb"));
    client_expect(fd, 200, "a/b");
    client_send(fd, GET("/item/%zz"));
    client_expect(fd, 400, "{\"status\":400,\"message\":\"Bad Request Exception\",\"isRead\":true}");
    client_send(fd, GET("/item/%ff"));
    client_expect(fd, 400, NULL);
    client_send(fd, GET("/hello"));
    client_expect(fd, 200, "hello");
    (void)close(fd);
}

static void http_1_0_closes_unless_asked_not_to(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int fd = client_connect(kit);
    client_send(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_read(fd, false, reply);
    assert_non_null(strstr(reply->head, "Connection: keep-alive\r\n"));
    free(reply->body);
    free(reply);
    client_send(fd, "GET /hello HTTP/1.0\r\n\r\n");
    client_expect(fd, 200, "hello");
    client_expect_end(fd);
    (void)close(fd);
    client_expect_refusal(kit, SLICE("GET /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), 200);
    client_expect_refusal(kit, SLICE(GET("/close") GET("/hello")), 200);
}

static void correlation_ids_are_echoed_or_made(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    char first[256];
    int fd = client_connect(kit);
    client_send(fd, "GET /hello HTTP/1.1\r\n" HOST "X-CORRELATION-ID:  my own \r\n\r\n");
    client_read(fd, false, reply);
    assert_string_equal(reply->id, "my own");
    free(reply->body);
    client_send(fd, "GET /nowhere HTTP/1.1\r\n" HOST "x-correlation-id: mine\r\n\r\n");
    client_read(fd, false, reply);
    assert_string_equal(reply->id, "mine");
    free(reply->body);
    for (int i = 0; i < 2; i++) {
        client_send(fd, "GET /hello HTTP/1.1\r\n" HOST "X-Correlation-Id:\r\n\r\n");
        client_read(fd, false, reply);
        assert_int_equal(strlen(reply->id), 36);
        assert_true(reply->id[14] == '4' && strchr("89ab", reply->id[19]) != NULL);
        if (i == 1)
            assert_string_not_equal(reply->id, first);
        memcpy(first, reply->id, sizeof first);
        free(reply->body);
    }
    client_send(
        fd, "POST /echo HTTP/1.1\r\n" HOST "x-correlation-id: mine\r\nContent-Length: 99999999\r\n\r\n");
    client_read(fd, false, reply);
    assert_int_equal(reply->status, 413);
    assert_string_equal(reply->id, "mine");
    free(reply->body);
    free(reply);
    (void)close(fd);
}

static const struct slice malformed[] = {
    SLICE_INIT("GET /hello HTTP/1.1\nHost: a\n\n"),
    SLICE_INIT("GET /hello HTTP/1.1\r\nHost : a\r\n\r\n"),
    SLICE_INIT("GET /hello HTTP/1.1\r\n\r\n"),
    SLICE_INIT("GET /hello HTTP/1.1\r\n" HOST HOST "\r\n"),
    SLICE_INIT("GET /hello HTTP/1.1\r\n" HOST "X: \0\r\n\r\n"),
    SLICE_INIT("GET /hello HTTP/1.1\r\n" HOST "X: a\r\n folded\r\n\r\n"),
    SLICE_INIT("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    SLICE_INIT("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"),
    SLICE_INIT("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    SLICE_INIT("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
    SLICE_INIT("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"),
    SLICE_INIT("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
    SLICE_INIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    SLICE_INIT("GET /hello\r\n" HOST "\r\n"),
    SLICE_INIT("CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n"),
    SLICE_INIT("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    SLICE_INIT("\0\0\0\0"),
    SLICE_INIT("{\"sku\":1}"),
};

static void malformed_requests_are_refused_and_the_connection_closed(void **state)
{
    struct kit *kit = *state;
    const size_t count = sizeof malformed / sizeof malformed[0];
    for (size_t i = 0; i < count; i++)
        client_expect_refusal(kit, malformed[i], 400);
    kit_wait_open(kit, 0);
    assert_int_equal(kit_stats(kit).requests_malformed, count);
}

static void garbage_behind_a_request_does_not_touch_its_answer(void **state)
{
    struct kit *kit = *state;
    int fd = client_connect(kit);
    client_send(fd, GET("/hello") GET("/late") "\x01garbage");
    client_expect(fd, 200, "hello");
    kit_wait_pending(kit, 1);
    kit_answer(kit);
    client_expect(fd, 200, "late");
    client_expect(fd, 400, NULL);
    client_expect_end(fd);
    (void)close(fd);
}

static void late_answers_reach_all_who_wait(void **state)
{
    enum { COUNT = 500 };
    struct kit *kit = *state;
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(kit);
        client_send(fds[i], "POST /late HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}");
    }
    kit_wait_pending(kit, COUNT);
    kit_answer(kit);
    for (int i = 0; i < COUNT; i++) {
        client_expect(fds[i], 200, "late");
        (void)close(fds[i]);
    }
    kit_wait_open(kit, 0);
}

static void check_pending(struct kit *kit)
{
    /* The client has gone, but the request is as it was. */
    for (size_t i = 0; i < kit->pending_count; i++) {
        struct slice value;
        ENSURE(slice_eq(kit->pending[i]->body, SLICE("{\"a\":1}")));
        ENSURE(http_header(kit->pending[i], SLICE("x-user-id"), &value));
        ENSURE(slice_eq(value, SLICE("anna")));
    }
}

static void answers_to_clients_that_have_gone_are_dropped(void **state)
{
    struct kit *kit = *state;
    for (int i = 0; i < 3; i++) {
        const struct linger reset = {.l_onoff = 1, .l_linger = 0};
        int fd = client_connect(kit);
        client_send(
            fd, "POST /late HTTP/1.1\r\n" HOST "X-User-Id: anna\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
        kit_wait_pending(kit, i + 1);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        (void)close(fd);
    }
    kit_wait_open(kit, 0);
    kit_run(kit, check_pending);
    kit_answer(kit);
    kit_turn(kit);
    assert_int_equal(kit->answered_count, 3);
    int fd = client_connect(kit);
    client_send(fd, GET("/hello"));
    client_expect(fd, 200, "hello");
    (void)close(fd);
}

static void a_client_that_has_closed_its_half_gets_its_answers(void **state)
{
    struct kit *kit = *state;
    int fd = client_connect(kit);
    client_send(fd, GET("/hello") GET("/late") GET("/item/x"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    client_expect(fd, 200, "hello");
    kit_wait_pending(kit, 1);
    kit_turn(kit);
    kit_answer(kit);
    client_expect(fd, 200, "late");
    client_expect(fd, 200, "x");
    client_expect_end(fd);
    (void)close(fd);
    kit_wait_open(kit, 0);
}

static bool has_told_of_one(struct kit *kit)
{
    return kit->gone_count == 1;
}

static void check_gone(struct kit *kit)
{
    ENSURE(kit->pending_count == 1 && kit->gone == kit->pending[0]);
    ENSURE(slice_eq(kit->gone->target, SLICE("/kept")));
    kit->gone_count = 0;
}

static void ask_for_kept(struct kit *kit, int fd)
{
    client_send(fd, GET("/kept"));
    kit_wait_pending(kit, 1);
}

/* With a reset, and without one, which no byte on the wire tells from a half that is closed. */
static void who_keeps_a_request_is_told_that_its_client_has_gone(void **state)
{
    struct kit *kit = *state;
    for (int has_reset = 0; has_reset < 2; has_reset++) {
        const struct linger reset = {.l_onoff = has_reset, .l_linger = 0};
        int fd = client_connect(kit);
        ask_for_kept(kit, fd);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        (void)close(fd);
        kit_wait(kit, has_told_of_one, "for the handler to be told");
        kit_run(kit, check_gone);
        kit_answer(kit);
        kit_wait_open(kit, 0);
        assert_int_equal(kit->gone_count, 0);
    }
}

/* An interim answer asks whether it is there; what it has pipelined is answered as ever. */
static void a_client_that_has_closed_its_half_has_not_gone(void **state)
{
    struct kit *kit = *state;
    int fd = client_connect(kit);
    client_send(fd, GET("/kept") GET("/item/x") GET("/kept"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    client_expect(fd, 102, "");
    kit_wait_pending(kit, 1);
    kit_answer(kit);
    client_expect(fd, 200, "late");
    client_expect(fd, 200, "x");
    client_expect(fd, 102, "");
    kit_wait_pending(kit, 1);
    kit_answer(kit);
    client_expect(fd, 200, "late");
    client_expect_end(fd);
    (void)close(fd);
    kit_wait_open(kit, 0);
    assert_int_equal(kit->gone_count, 0);
}

/* HTTP/1.0 knows no interim answers: it gets none, and its answer. */
static void an_old_client_that_has_closed_its_half_gets_its_answer(void **state)
{
    struct kit *kit = *state;
    int fd = client_connect(kit);
    client_send(fd, "GET /kept HTTP/1.0\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    kit_wait_pending(kit, 1);
    kit_turn(kit);
    kit_answer(kit);
    client_expect(fd, 200, "late");
    (void)close(fd);
    kit_wait_open(kit, 0);
    assert_int_equal(kit->gone_count, 0);
}

static void nobody_is_told_of_a_client_that_had_its_answer(void **state)
{
    struct kit *kit = *state;
    int fd = client_connect(kit);
    ask_for_kept(kit, fd);
    kit_answer(kit);
    client_expect(fd, 200, "late");
    (void)close(fd);
    kit_wait_open(kit, 0);
    assert_int_equal(kit->gone_count, 0);
}

/* The server is destroyed while the request is kept: its owner must not hear of it any more. */
static void nobody_is_told_when_the_server_ends(void **state)
{
    set_up(state);
    struct kit *kit = *state;
    int fd = client_connect(kit);
    ask_for_kept(kit, fd);
    kit_stop(kit);
    assert_int_equal(kit->gone_count, 0);
    free(kit);
    client_expect_gone(fd);
    (void)close(fd);
}

static void a_request_cut_off_is_refused(void **state)
{
    static const char *const texts[] = {"GET /hel", "GET /hello HTTP/1.1\r\n" HOST,
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"};
    struct kit *kit = *state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int fd = client_connect(kit);
        client_send(fd, texts[i]);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        client_expect(fd, 400, NULL);
        client_expect_end(fd);
        (void)close(fd);
    }
    int fd = client_connect(kit);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    client_expect_end(fd);
    (void)close(fd);
}

static void expectations_are_met_or_refused(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int fd = client_connect(kit);
    client_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    client_read(fd, false, reply);
    assert_int_equal(reply->status, 100);
    free(reply->body);
    client_send(fd, "hello");
    client_expect(fd, 201, "hello");
    /* The body is here already: nobody waits for leave. */
    client_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
    client_expect(fd, 201, "hello");
    client_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n");
    client_expect(fd, 413, NULL);
    client_expect_end(fd);
    (void)close(fd);
    free(reply);
    client_expect_refusal(
        kit, SLICE("POST /echo HTTP/1.1\r\n" HOST "Expect: wonders\r\nContent-Length: 5\r\n\r\n"), 417);
}

static void batches_are_closed_at_the_end_of_each_turn(void **state)
{
    enum { COUNT = 50 };
    struct kit *kit = *state;
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(kit);
        client_send(fds[i], GET("/batch") GET("/late") GET("/batch"));
    }
    for (int i = 0; i < COUNT; i++)
        client_expect(fds[i], 200, "batch");
    /* The second /batch is served from within the answer to /late, outside of any reading. */
    kit_wait_pending(kit, COUNT);
    kit_answer(kit);
    for (int i = 0; i < COUNT; i++) {
        client_expect(fds[i], 200, "late");
        client_expect(fds[i], 200, "batch");
        (void)close(fds[i]);
    }
}

static void large_replies_arrive_whole(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int fd = client_connect(kit);
    client_send(fd, GET("/big") GET("/hello"));
    kit_turn(kit);
    client_read(fd, false, reply);
    assert_int_equal(reply->body_len, KIT_BIG_BYTES);
    for (size_t i = 0; i < KIT_BIG_BYTES; i++)
        assert_true(reply->body[i] == 'b');
    free(reply->body);
    free(reply);
    client_expect(fd, 200, "hello");
    (void)close(fd);
}

/* --- Draining --- */

static void on_drained(void *context)
{
    struct kit *kit = context;
    kit->drained_count++;
}

static void start_draining(struct kit *kit)
{
    http_server_drain(kit->server, on_drained, kit);
}

static bool is_drained(struct kit *kit)
{
    return kit->drained_count == 1;
}

static void draining_finishes_what_was_begun_and_no_more(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int idle = client_connect(kit);
    int late = client_connect(kit);
    int begun = client_connect(kit);
    int silent = client_connect(kit);
    client_send(idle, GET("/hello"));
    client_expect(idle, 200, "hello");
    client_send(late, GET("/late"));
    client_send(begun, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel");
    kit_wait_pending(kit, 1);
    kit_wait_open(kit, 4);
    kit_turn(kit);
    kit_run(kit, start_draining);
    client_expect_end(idle);
    client_expect_end(silent);
    int refused = client_connect(kit);
    client_expect(refused, 503, NULL);
    client_expect_end(refused);
    client_send(begun, "lo");
    client_read(begun, false, reply);
    assert_true(reply->status == 201 && reply->is_close);
    free(reply->body);
    client_expect_end(begun);
    assert_int_equal(kit->drained_count, 0);
    kit_answer(kit);
    client_read(late, false, reply);
    assert_true(reply->status == 200 && reply->is_close);
    free(reply->body);
    free(reply);
    client_expect_end(late);
    const int fds[] = {idle, late, begun, silent, refused};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        (void)close(fds[i]);
    kit_wait(kit, is_drained, "for the server to be drained");
}

/* The clients of draining_answers_...; the commands below speak for them while the loop is held up. */
struct late_guests {
    int idle;   /* has had an answer */
    int sent;   /* new, and its request is in the kernel when draining begins */
    int begun;  /* the same with half a request */
    int after;  /* new, and sends when draining has just begun */
    int silent; /* never sends */
};

static struct late_guests late_guests;

static void drain_with_requests_in_the_kernel(struct kit *kit)
{
    client_send(late_guests.idle, GET("/hello"));
    client_send(late_guests.sent, GET("/hello"));
    client_send(late_guests.begun, "GET /hello HTTP/1.1\r\n");
    start_draining(kit);
    client_send(late_guests.after, GET("/hello"));
}

static void expect_last_hello(int fd)
{
    struct client_reply *reply = malloc(sizeof *reply);
    client_read(fd, false, reply);
    assert_int_equal(reply->status, 200);
    assert_string_equal(reply->body, "hello");
    assert_true(reply->is_close);
    free(reply->body);
    free(reply);
    client_expect_end(fd);
    (void)close(fd);
}

static void draining_answers_what_the_kernel_holds(void **state)
{
    struct kit *kit = *state;
    late_guests = (struct late_guests){client_connect(kit), client_connect(kit), client_connect(kit),
        client_connect(kit), client_connect(kit)};
    client_send(late_guests.idle, GET("/hello"));
    client_expect(late_guests.idle, 200, "hello");
    kit_wait_open(kit, 5);
    kit_turn(kit);
    kit_run(kit, drain_with_requests_in_the_kernel);
    expect_last_hello(late_guests.idle);
    expect_last_hello(late_guests.sent);
    expect_last_hello(late_guests.after);
    client_send(late_guests.begun, HOST "\r\n");
    expect_last_hello(late_guests.begun);
    client_expect_end(late_guests.silent);
    (void)close(late_guests.silent);
    kit_wait(kit, is_drained, "for the server to be drained");
}

/* Holds the loop up until the time of grace is over, so that the timer comes before the socket. */
static void drain_and_oversleep(struct kit *kit)
{
    const int64_t until_ns = clock_mono_ns() + 500000000;
    start_draining(kit);
    client_send(late_guests.after, GET("/hello"));
    while (clock_mono_ns() < until_ns)
        continue;
}

static void a_loop_that_was_held_up_looks_before_it_cuts(void **state)
{
    struct kit *kit = *state;
    late_guests = (struct late_guests){.after = client_connect(kit), .silent = client_connect(kit)};
    kit_wait_open(kit, 2);
    kit_turn(kit);
    kit_run(kit, drain_and_oversleep);
    expect_last_hello(late_guests.after);
    client_expect_end(late_guests.silent);
    (void)close(late_guests.silent);
    kit_wait(kit, is_drained, "for the server to be drained");
}

static void draining_an_empty_server_ends_at_once(void **state)
{
    struct kit *kit = *state;
    kit_run(kit, start_draining);
    assert_int_equal(kit->drained_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_connection_serves_many_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_may_be_split_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_bodies_arrive_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_replies_arrive_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pipelined_requests_are_answered_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pipelining_is_bounded_and_complete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            who_floods_a_connection_does_not_keep_others_waiting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_requests_get_the_head_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(http_1_0_closes_unless_asked_not_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(correlation_ids_are_echoed_or_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            malformed_requests_are_refused_and_the_connection_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            garbage_behind_a_request_does_not_touch_its_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(late_answers_reach_all_who_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_to_clients_that_have_gone_are_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_client_that_has_closed_its_half_gets_its_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            who_keeps_a_request_is_told_that_its_client_has_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_has_closed_its_half_has_not_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            an_old_client_that_has_closed_its_half_gets_its_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_is_told_of_a_client_that_had_its_answer, set_up, tear_down),
        cmocka_unit_test(nobody_is_told_when_the_server_ends),
        cmocka_unit_test_setup_teardown(a_request_cut_off_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(expectations_are_met_or_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(batches_are_closed_at_the_end_of_each_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(draining_finishes_what_was_begun_and_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(draining_answers_what_the_kernel_holds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_loop_that_was_held_up_looks_before_it_cuts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(draining_an_empty_server_ends_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("http_server", tests, NULL, NULL);
}
