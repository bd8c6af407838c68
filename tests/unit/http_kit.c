/* SPDX-License-Identifier: Apache-2.0 */
#include "http_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/ensure.h"

enum { WAIT_S = 30 };

static const struct slice TEXT_TYPE = SLICE_INIT("text/plain");
static const struct slice NOTHING = SLICE_INIT("");

/* --- Routes --- */

/* A handler must not run inside of somebody's call of http_reply. */
static void enter(struct kit *kit)
{
    ENSURE(!kit->is_answering);
}

static void on_hello(struct http_request *request, void *context)
{
    enter(context);
    http_reply(request, 200, TEXT_TYPE, NOTHING, SLICE("hello"));
}

static void on_echo(struct http_request *request, void *context)
{
    http_reply(request, request->has_body ? 201 : 200, TEXT_TYPE, SLICE("X-Echo: yes\r\n"), request->body);
}

static void on_late(struct http_request *request, void *context)
{
    struct kit *kit = context;
    enter(kit);
    ENSURE(kit->pending_count < KIT_PENDING_MAX);
    kit->pending[kit->pending_count++] = request;
}

static void on_gone(struct http_request *request, void *context)
{
    struct kit *kit = context;
    enter(kit);
    kit->gone_count++;
    kit->gone = request;
}

static void on_kept(struct http_request *request, void *context)
{
    on_late(request, context);
    request->on_gone = on_gone;
    request->on_gone_context = context;
}

static void on_batch(struct http_request *request, void *context)
{
    struct kit *kit = context;
    enter(kit);
    ENSURE(kit->batch_count < KIT_PENDING_MAX);
    kit->batch[kit->batch_count++] = request;
}

static void on_item(struct http_request *request, void *context)
{
    http_reply(request, 200, TEXT_TYPE, NOTHING, request->params[0]);
}

static void on_none(struct http_request *request, void *context)
{
    http_reply(request, 204, NOTHING, NOTHING, NOTHING);
}

static void on_close(struct http_request *request, void *context)
{
    http_reply_close(request, 200, TEXT_TYPE, NOTHING, SLICE("bye"));
}

static void on_big(struct http_request *request, void *context)
{
    char *body = malloc(KIT_BIG_BYTES);
    ENSURE(body != NULL);
    memset(body, 'b', KIT_BIG_BYTES);
    http_reply(request, 200, TEXT_TYPE, NOTHING, slice_make(body, KIT_BIG_BYTES));
    free(body);
}

static void on_stream_ready(struct http_stream *stream, void *context)
{
    struct kit *kit = context;
    kit->stream_ready_count++;
}

static void on_stream_closed(struct http_stream *stream, void *context)
{
    struct kit *kit = context;
    kit->stream_closed_count++;
    if (kit->stream == stream)
        kit->stream = NULL;
}

static void on_stream(struct http_request *request, void *context)
{
    struct kit *kit = context;
    const struct http_stream_events events = {on_stream_ready, on_stream_closed, kit};
    kit->stream = http_stream_open(request, SLICE("text/event-stream"), NOTHING, events);
    kit->stream_opened_count++;
}

static void on_turn_end(void *context)
{
    struct kit *kit = context;
    kit->is_answering = true;
    for (size_t i = 0; i < kit->batch_count; i++)
        http_reply(kit->batch[i], 200, TEXT_TYPE, NOTHING, SLICE("batch"));
    kit->batch_count = 0;
    kit->is_answering = false;
}

static void on_answered(const struct http_request *request, int status, int64_t duration_ns, void *context)
{
    struct kit *kit = context;
    ENSURE(request->server == kit->server);
    ENSURE(duration_ns >= 0);
    kit->answered_count++;
    kit->answered_status = status;
}

static void render_error(
    int status, const char *message, const struct http_request *request, struct strbuf *body)
{
    strbuf_printf(body, "{\"status\":%d,\"message\":\"%s\",\"isRead\":%s}", status, message,
        request == NULL ? "false" : "true");
}

/* --- The server's thread --- */

void kit_init(struct kit *kit)
{
    const struct http_route routes[] = {
        {METHOD_GET, "/hello", on_hello, kit, 0},
        {METHOD_POST, "/echo", on_echo, kit, 0},
        {METHOD_GET, "/late", on_late, kit, 0},
        {METHOD_POST, "/late", on_late, kit, 0},
        {METHOD_GET, "/batch", on_batch, kit, 0},
        {METHOD_GET, "/kept", on_kept, kit, 0},
        {METHOD_GET, "/item/:id", on_item, kit, 0},
        {METHOD_DELETE, "/none", on_none, kit, 0},
        {METHOD_GET, "/close", on_close, kit, 0},
        {METHOD_GET, "/big", on_big, kit, 0},
        {METHOD_GET, "/stream", on_stream, kit, 0},
    };
    struct http_route *copy = malloc(sizeof routes);
    ENSURE(copy != NULL);
    memcpy(copy, routes, sizeof routes);
    memset(kit, 0, sizeof *kit);
    http_config_init(&kit->config);
    kit->config.routes = copy;
    kit->config.route_count = sizeof routes / sizeof routes[0];
    kit->config.render_error = render_error;
    kit->config.on_answered = on_answered;
    kit->config.on_answered_context = kit;
    kit->config.on_turn_end = on_turn_end;
    kit->config.on_turn_end_context = kit;
}

static void on_connection(int fd, void *context)
{
    struct kit *kit = context;
    http_server_adopt(kit->server, fd);
}

static void on_wake(uv_async_t *wake)
{
    struct kit *kit = wake->data;
    (void)pthread_mutex_lock(&kit->lock);
    if (kit->has_command) {
        kit->command(kit);
        kit->has_command = false;
        (void)pthread_cond_signal(&kit->is_done);
    }
    (void)pthread_mutex_unlock(&kit->lock);
}

static void *run_loop(void *context)
{
    struct kit *kit = context;
    ENSURE(uv_run(&kit->loop, UV_RUN_DEFAULT) == 0);
    return NULL;
}

void kit_start(struct kit *kit)
{
    struct error error;
    ENSURE(uv_loop_init(&kit->loop) == 0);
    kit->server = http_server_create(&kit->loop, &kit->config);
    ENSURE(kit->server != NULL);
    if (listener_open(&kit->loop, SLICE("127.0.0.1:0"), on_connection, kit, &kit->listener, &error) !=
        ERR_NONE)
        fail_msg("%s", error.message);
    kit->port = listener_port(kit->listener);
    ENSURE(uv_async_init(&kit->loop, &kit->wake, on_wake) == 0);
    kit->wake.data = kit;
    ENSURE(pthread_mutex_init(&kit->lock, NULL) == 0);
    ENSURE(pthread_cond_init(&kit->is_done, NULL) == 0);
    ENSURE(pthread_create(&kit->thread, NULL, run_loop, kit) == 0);
}

void kit_run(struct kit *kit, void (*command)(struct kit *kit))
{
    (void)pthread_mutex_lock(&kit->lock);
    kit->command = command;
    kit->has_command = true;
    (void)uv_async_send(&kit->wake);
    while (kit->has_command)
        (void)pthread_cond_wait(&kit->is_done, &kit->lock);
    (void)pthread_mutex_unlock(&kit->lock);
}

static void do_nothing(struct kit *kit)
{
}

/* The first command may be served in a turn that began before; the second is served in one that began after.
 */
void kit_turn(struct kit *kit)
{
    kit_run(kit, do_nothing);
    kit_run(kit, do_nothing);
    kit_run(kit, do_nothing);
}

static void end_all(struct kit *kit)
{
    listener_close(kit->listener);
    http_server_destroy(kit->server);
    uv_close((uv_handle_t *)&kit->wake, NULL);
}

void kit_stop(struct kit *kit)
{
    kit_run(kit, end_all);
    ENSURE(pthread_join(kit->thread, NULL) == 0);
    ENSURE(uv_loop_close(&kit->loop) == 0);
    (void)pthread_mutex_destroy(&kit->lock);
    (void)pthread_cond_destroy(&kit->is_done);
    free((void *)kit->config.routes);
}

struct question {
    bool (*predicate)(struct kit *kit);
    bool is_true;
};

static struct question question; /* one test at a time */

static void ask(struct kit *kit)
{
    question.is_true = question.predicate(kit);
}

void kit_wait(struct kit *kit, bool (*predicate)(struct kit *kit), const char *what)
{
    const int64_t limit_ns = clock_mono_ns() + (int64_t)WAIT_S * 1000000000;
    question = (struct question){predicate, false};
    for (;;) {
        kit_run(kit, ask);
        if (question.is_true)
            return;
        if (clock_mono_ns() > limit_ns)
            fail_msg("waited %d seconds in vain: %s", WAIT_S, what);
    }
}

static bool has_pending(struct kit *kit)
{
    return kit->pending_count == (size_t)kit->argument;
}

void kit_wait_pending(struct kit *kit, int count)
{
    kit->argument = count;
    kit_wait(kit, has_pending, "for requests to be pending");
}

static bool has_open(struct kit *kit)
{
    struct http_server_stats stats;
    http_server_stats(kit->server, &stats);
    return stats.connection_count == (size_t)kit->argument;
}

void kit_wait_open(struct kit *kit, int count)
{
    kit->argument = count;
    kit_wait(kit, has_open, "for connections to come or go");
}

static void answer_all(struct kit *kit)
{
    size_t count = kit->pending_count;
    kit->pending_count = 0;
    kit->is_answering = true;
    for (size_t i = 0; i < count; i++)
        http_reply(kit->pending[i], 200, TEXT_TYPE, NOTHING, SLICE("late"));
    kit->is_answering = false;
}

void kit_answer(struct kit *kit)
{
    kit_run(kit, answer_all);
}

struct http_server_stats kit_stats(struct kit *kit)
{
    struct http_server_stats stats;
    http_server_stats(kit->server, &stats);
    return stats;
}

/* --- Clients --- */

int client_connect(struct kit *kit)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)kit->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = WAIT_S};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void client_send_bytes(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.base, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        assert_true(sent > 0);
        bytes = slice_make(bytes.base + sent, bytes.len - (size_t)sent);
    }
}

void client_send(int fd, const char *text)
{
    client_send_bytes(fd, slice_cstr(text));
}

/* A wait with a limit is broken off when the process is stopped and goes on. */
static ssize_t receive(int fd, void *bytes, size_t size)
{
    ssize_t len;
    do {
        len = recv(fd, bytes, size, 0);
    } while (len < 0 && errno == EINTR);
    return len;
}

static char read_byte(int fd)
{
    char c;
    ssize_t len = receive(fd, &c, 1);
    if (len != 1)
        fail_msg("no byte more: %s", len == 0 ? "the server has closed" : "reset or too late");
    return c;
}

/* The value of a header as a C string, empty when it is not there. */
static void find_header(const char *head, const char *name, char *value, size_t size)
{
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "\r\n%s: ", name);
    const char *at = strcasestr(head, wanted);
    value[0] = '\0';
    if (at == NULL)
        return;
    at += strlen(wanted);
    size_t len = strcspn(at, "\r");
    assert_true(len < size);
    memcpy(value, at, len);
    value[len] = '\0';
}

static void read_head(int fd, struct client_reply *reply)
{
    char value[256];
    size_t len = 0;
    while (len < 4 || memcmp(reply->head + len - 4, "\r\n\r\n", 4) != 0) {
        assert_true(len + 1 < sizeof reply->head);
        reply->head[len++] = read_byte(fd);
        reply->head[len] = '\0';
    }
    assert_int_equal(sscanf(reply->head, "HTTP/1.1 %d ", &reply->status), 1);
    find_header(reply->head, "Connection", value, sizeof value);
    reply->is_close = strcmp(value, "close") == 0;
    find_header(reply->head, "Transfer-Encoding", value, sizeof value);
    reply->is_chunked = strcmp(value, "chunked") == 0;
    find_header(reply->head, "Content-Length", value, sizeof value);
    reply->has_length = value[0] != '\0';
    reply->body_len = reply->has_length ? strtoul(value, NULL, 10) : 0;
    find_header(reply->head, "x-correlation-id", reply->id, sizeof reply->id);
    if (reply->status >= 200)
        assert_true(reply->id[0] != '\0');
}

static void read_exactly(int fd, char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t got = receive(fd, bytes + at, len - at);
        if (got <= 0)
            fail_msg("%zu of %zu bytes, then %s", at, len, got == 0 ? "the end" : "an error");
        at += (size_t)got;
    }
}

static void read_chunks(int fd, struct client_reply *reply)
{
    for (;;) {
        char line[32];
        size_t len = 0;
        do {
            assert_true(len + 1 < sizeof line);
            line[len++] = read_byte(fd);
        } while (line[len - 1] != '\n');
        line[len] = '\0';
        size_t size = strtoul(line, NULL, 16);
        reply->body = realloc(reply->body, reply->body_len + size + 3);
        assert_non_null(reply->body);
        read_exactly(fd, reply->body + reply->body_len, size + 2);
        reply->body_len += size;
        reply->body[reply->body_len] = '\0';
        if (size == 0)
            return;
    }
}

void client_read(int fd, bool is_head, struct client_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    read_head(fd, reply);
    if (reply->is_chunked && !is_head) {
        reply->body_len = 0;
        read_chunks(fd, reply);
        return;
    }
    if (is_head)
        reply->body_len = 0;
    assert_true(reply->body_len <= KIT_BODY_MAX);
    reply->body = malloc(reply->body_len + 1);
    assert_non_null(reply->body);
    read_exactly(fd, reply->body, reply->body_len);
    reply->body[reply->body_len] = '\0';
}

void client_expect(int fd, int status, const char *body)
{
    struct client_reply *reply = malloc(sizeof *reply);
    client_read(fd, false, reply);
    assert_int_equal(reply->status, status);
    if (body != NULL)
        assert_string_equal(reply->body, body);
    free(reply->body);
    free(reply);
}

void client_expect_end(int fd)
{
    char byte;
    ssize_t len = receive(fd, &byte, 1);
    if (len != 0)
        fail_msg("the server has %s", len > 0 ? "more to say" : "not closed, or has reset");
}

void client_expect_gone(int fd)
{
    static char bytes[65536];
    ssize_t len;
    do {
        len = receive(fd, bytes, sizeof bytes);
    } while (len > 0);
    assert_true(len == 0 || errno == ECONNRESET);
}

void client_expect_refusal(struct kit *kit, struct slice text, int status)
{
    int fd = client_connect(kit);
    struct client_reply *reply = malloc(sizeof *reply);
    client_send_bytes(fd, text);
    client_read(fd, false, reply);
    assert_int_equal(reply->status, status);
    assert_true(reply->is_close);
    free(reply->body);
    free(reply);
    client_expect_end(fd);
    (void)close(fd);
}
