/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that go on: in chunks, held back for slow readers, and ended by either side exactly once. */
#include "http_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/ensure.h"

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static int start(void **state, int64_t write_timeout_ms)
{
    struct kit *kit = malloc(sizeof *kit);
    kit_init(kit);
    kit->config.write_timeout_ms = write_timeout_ms;
    kit_start(kit);
    *state = kit;
    return 0;
}

static int set_up(void **state)
{
    return start(state, 10000);
}

static int set_up_impatient(void **state)
{
    return start(state, 50);
}

static int tear_down(void **state)
{
    kit_stop(*state);
    free(*state);
    return 0;
}

static bool is_open(struct kit *kit)
{
    return kit->stream_opened_count > 0;
}

static bool is_closed(struct kit *kit)
{
    return kit->stream_closed_count == 1 && kit->stream == NULL;
}

static void write_hello(struct kit *kit)
{
    ENSURE(kit->stream != NULL); /* on the server's thread cmocka's own checks cannot be used */
    ENSURE(http_stream_is_ready(kit->stream));
    http_stream_write(kit->stream, SLICE("hello\n"));
    http_stream_write(kit->stream, SLICE(""));
}

static void end_stream(struct kit *kit)
{
    http_stream_end(kit->stream);
}

static int open_stream(struct kit *kit, const char *text)
{
    int fd = client_connect(kit);
    client_send(fd, text);
    kit_wait(kit, is_open, "for the stream to be opened");
    return fd;
}

static void a_stream_is_sent_in_chunks_and_ends(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int fd = open_stream(kit, GET("/stream"));
    assert_int_equal(kit_stats(kit).stream_count, 1);
    for (int i = 0; i < 3; i++)
        kit_run(kit, write_hello);
    kit_run(kit, end_stream);
    client_read(fd, false, reply);
    assert_int_equal(reply->status, 200);
    assert_true(reply->is_chunked);
    assert_string_equal(reply->body, "hello\nhello\nhello\n");
    kit_wait(kit, is_closed, "for on_closed");
    assert_int_equal(kit_stats(kit).stream_count, 0);
    /* The connection serves on. */
    client_send(fd, GET("/hello"));
    client_expect(fd, 200, "hello");
    free(reply->body);
    free(reply);
    (void)close(fd);
}

static void requests_behind_a_stream_wait_for_its_end(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int fd = open_stream(kit, GET("/stream") GET("/hello"));
    kit_run(kit, write_hello);
    kit_run(kit, end_stream);
    client_read(fd, false, reply);
    assert_string_equal(reply->body, "hello\n");
    client_expect(fd, 200, "hello");
    free(reply->body);
    free(reply);
    (void)close(fd);
}

static void http_1_0_gets_a_stream_without_chunks(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    char text[7] = "";
    int fd = open_stream(kit, "GET /stream HTTP/1.0\r\n\r\n");
    kit_run(kit, write_hello);
    kit_run(kit, end_stream);
    client_read(fd, false, reply);
    assert_true(!reply->is_chunked && !reply->has_length && reply->is_close);
    assert_int_equal(recv(fd, text, 6, MSG_WAITALL), 6);
    assert_string_equal(text, "hello\n");
    client_expect_end(fd);
    free(reply->body);
    free(reply);
    (void)close(fd);
}

static void head_opens_no_stream(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int fd = open_stream(kit, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n");
    client_read(fd, true, reply);
    assert_true(reply->status == 200 && reply->is_chunked);
    assert_null(kit->stream);
    client_send(fd, GET("/hello"));
    client_expect(fd, 200, "hello");
    assert_int_equal(kit->stream_closed_count, 0);
    free(reply->body);
    free(reply);
    (void)close(fd);
}

static void a_listener_that_leaves_is_noticed(void **state)
{
    struct kit *kit = *state;
    int fd = open_stream(kit, GET("/stream"));
    (void)close(fd);
    kit_wait(kit, is_closed, "for on_closed");
    kit_wait_open(kit, 0);
}

/* Writes until the kernel takes no more. */
static bool fill(struct kit *kit)
{
    static char text[65536];
    memset(text, 'x', sizeof text);
    if (http_stream_is_ready(kit->stream))
        http_stream_write(kit->stream, slice_make(text, sizeof text));
    return !http_stream_is_ready(kit->stream);
}

static void a_slow_reader_holds_one_write_and_is_told_when_there_is_room(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int fd = open_stream(kit, GET("/stream"));
    kit_wait(kit, fill, "for the socket to be full");
    assert_int_equal(kit->stream_ready_count, 0);
    kit_run(kit, end_stream); /* must wait for what is unsent */
    client_read(fd, false, reply);
    assert_true(reply->body_len % 65536 == 0);
    kit_wait(kit, is_closed, "for on_closed");
    free(reply->body);
    free(reply);
    (void)close(fd);
}

static void write_anyway(struct kit *kit)
{
    http_stream_write(kit->stream, SLICE("more"));
    ENSURE(!http_stream_is_ready(kit->stream));
    http_stream_write(kit->stream, SLICE("still more")); /* gone, and nothing happens */
}

static void writing_to_one_who_takes_nothing_cuts_it(void **state)
{
    struct kit *kit = *state;
    int fd = open_stream(kit, GET("/stream"));
    kit_wait(kit, fill, "for the socket to be full");
    kit_run(kit, write_anyway);
    kit_wait(kit, is_closed, "for on_closed");
    client_expect_gone(fd);
    (void)close(fd);
}

static bool is_ready_again(struct kit *kit)
{
    return kit->stream_ready_count == 1 && http_stream_is_ready(kit->stream);
}

static void a_reader_that_catches_up_gets_more(void **state)
{
    struct kit *kit = *state;
    int fd = open_stream(kit, GET("/stream"));
    kit_wait(kit, fill, "for the socket to be full");
    char *bytes = malloc(65536);
    for (;;) {
        kit_turn(kit);
        if (kit->stream_ready_count > 0)
            break;
        assert_true(recv(fd, bytes, 65536, 0) > 0);
    }
    kit_wait(kit, is_ready_again, "for room");
    free(bytes);
    (void)close(fd);
    kit_wait(kit, is_closed, "for on_closed");
}

static void a_reader_that_never_reads_is_cut(void **state)
{
    struct kit *kit = *state;
    int fd = open_stream(kit, GET("/stream"));
    kit_wait(kit, fill, "for the socket to be full");
    kit_wait(kit, is_closed, "for the deadline");
    kit_wait_open(kit, 0);
    assert_int_equal(kit_stats(kit).timeouts, 1);
    client_expect_gone(fd);
    (void)close(fd);
}

static bool has_timed_out(struct kit *kit)
{
    return kit_stats(kit).timeouts == 1;
}

/* A stream with nothing to say is no slow reader; one beside it, cut for being one, shows that time has
 * passed. */
static void a_quiet_stream_is_not_cut(void **state)
{
    struct kit *kit = *state;
    int fd = open_stream(kit, GET("/stream"));
    int slow = client_connect(kit);
    client_send(slow, GET("/big"));
    kit_wait(kit, has_timed_out, "for the slow reader to be cut");
    (void)close(slow);
    kit_run(kit, write_hello);
    (void)close(fd);
    kit_wait(kit, is_closed, "for on_closed");
}

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

static void draining_ends_streams(void **state)
{
    struct kit *kit = *state;
    struct client_reply *reply = malloc(sizeof *reply);
    int fd = open_stream(kit, GET("/stream"));
    kit_run(kit, write_hello);
    kit_run(kit, start_draining);
    client_read(fd, false, reply);
    assert_string_equal(reply->body, "hello\n");
    client_expect_end(fd);
    (void)close(fd);
    kit_wait(kit, is_closed, "for on_closed");
    kit_wait(kit, is_drained, "for the server to be drained");
    free(reply->body);
    free(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_stream_is_sent_in_chunks_and_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_behind_a_stream_wait_for_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(http_1_0_gets_a_stream_without_chunks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_opens_no_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_listener_that_leaves_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_slow_reader_holds_one_write_and_is_told_when_there_is_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writing_to_one_who_takes_nothing_cuts_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_that_catches_up_gets_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_that_never_reads_is_cut, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(a_quiet_stream_is_not_cut, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(draining_ends_streams, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("http_stream", tests, NULL, NULL);
}
