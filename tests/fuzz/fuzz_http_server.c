/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole server on one end of a socket pair, a stranger on the other: the input is cut into pieces where it
 * holds a byte 0xFF, and between two pieces the loop turns. Handlers answer at once, later, or with a stream.
 * Whatever comes, every request that reached a handler is answered once, and nothing is left over.
 */
#include "base/ensure.h"
#include "net/http_server.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PENDING_MAX = 512, INPUT_MAX = 16 * 1024, TURNS_MAX = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct http_request *pending[PENDING_MAX];
static size_t pending_count;
static size_t handled_count;
static size_t answered_count;
static struct http_stream *stream;
static bool is_answering;

static const struct slice TYPE = SLICE_INIT("text/plain");
static const struct slice NOTHING = SLICE_INIT("");

static void on_echo(struct http_request *request, void *context)
{
    handled_count++;
    ENSURE(!is_answering);
    http_reply(request, 200, TYPE, NOTHING, request->body);
}

static void on_param(struct http_request *request, void *context)
{
    handled_count++;
    ENSURE(!is_answering);
    http_reply(request, 200, TYPE, NOTHING, request->params[0]);
}

static void on_late(struct http_request *request, void *context)
{
    handled_count++;
    ENSURE(!is_answering);
    ENSURE(pending_count < PENDING_MAX);
    pending[pending_count++] = request;
}

static void on_close(struct http_request *request, void *context)
{
    handled_count++;
    ENSURE(!is_answering);
    http_reply_close(request, 204, NOTHING, NOTHING, NOTHING);
}

static void on_closed(struct http_stream *closed, void *context)
{
    ENSURE(closed == stream);
    stream = NULL;
}

static void on_ready(struct http_stream *ready, void *context)
{
}

static void on_stream(struct http_request *request, void *context)
{
    const struct http_stream_events events = {.on_ready = on_ready, .on_closed = on_closed};
    handled_count++;
    ENSURE(!is_answering);
    ENSURE(stream == NULL); /* there is one connection, and its last stream was closed */
    stream = http_stream_open(request, TYPE, NOTHING, events);
}

static void on_missing(struct http_request *request, void *context)
{
    handled_count++;
    ENSURE(!is_answering);
    http_reply(request, 404, TYPE, NOTHING, request->target);
}

static void on_answered(const struct http_request *request, int status, int64_t duration_ns, void *context)
{
    answered_count++;
}

static void answer_pending(void)
{
    size_t count = pending_count;
    pending_count = 0;
    is_answering = true;
    for (size_t i = 0; i < count; i++)
        http_reply(pending[i], 200, TYPE, NOTHING, pending[i]->target);
    if (stream != NULL && http_stream_is_ready(stream))
        http_stream_write(stream, SLICE("data\n"));
    else if (stream != NULL)
        http_stream_end(stream);
    is_answering = false;
}

static void render_error(
    int status, const char *message, const struct http_request *request, struct strbuf *body)
{
    if (request != NULL)
        strbuf_put_json(body, request->target);
    else
        strbuf_printf(body, "%d %s", status, message);
}

static const struct http_route routes[] = {
    {METHOD_GET, "/", on_echo, NULL, 0},
    {METHOD_POST, "/", on_echo, NULL, 0},
    {METHOD_GET, "/l", on_late, NULL, 0},
    {METHOD_POST, "/l", on_late, NULL, 0},
    {METHOD_GET, "/s", on_stream, NULL, 0},
    {METHOD_GET, "/c", on_close, NULL, 0},
    {METHOD_GET, "/p/:x", on_param, NULL, 0},
};

static void read_away(int fd)
{
    static char bytes[65536];
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        continue;
}

static struct http_server *create(uv_loop_t *loop)
{
    struct http_config config;
    http_config_init(&config);
    config.routes = routes;
    config.route_count = sizeof routes / sizeof routes[0];
    config.render_error = render_error;
    config.not_found = on_missing;
    config.on_answered = on_answered;
    config.head_bytes_max = 1024;
    config.body_bytes_max = 8192;
    struct http_server *server = http_server_create(loop, &config);
    ENSURE(server != NULL);
    return server;
}

static void turn(uv_loop_t *loop, int fd)
{
    (void)uv_run(loop, UV_RUN_NOWAIT);
    (void)uv_run(loop, UV_RUN_NOWAIT);
    read_away(fd);
}

static void play(uv_loop_t *loop, int fd, struct slice input)
{
    while (input.len > 0) {
        struct slice piece = slice_split(input, '\xFF', &input);
        if (send(fd, piece.base, piece.len, MSG_NOSIGNAL) < 0)
            return;
        turn(loop, fd);
        if (piece.len % 2 == 0)
            answer_pending();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uv_loop_t loop;
    struct http_server_stats stats;
    int fds[2];
    if (size == 0 || size > INPUT_MAX)
        return 0;
    ENSURE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    ENSURE(uv_loop_init(&loop) == 0);
    handled_count = 0;
    answered_count = 0;
    struct http_server *server = create(&loop);
    http_server_adopt(server, fds[0]);
    play(&loop, fds[1], slice_make(data + 1, size - 1));
    if (data[0] % 2 == 0)
        (void)shutdown(fds[1], SHUT_WR);
    else
        (void)close(fds[1]);
    http_server_stats(server, &stats);
    for (int i = 0; i < TURNS_MAX && (stats.connection_count > 0 || pending_count > 0); i++) {
        answer_pending();
        if (stream !=
            NULL) /* a client that sends on behind a stream is not read, so its leaving is not seen */
            http_stream_end(stream);
        turn(&loop, data[0] % 2 == 0 ? fds[1] : -1);
        http_server_stats(server, &stats);
    }
    ENSURE(stats.connection_count == 0 && stats.stream_count == 0);
    ENSURE(pending_count == 0);
    ENSURE(answered_count >= handled_count); /* the server answers some itself */
    if (data[0] % 2 == 0)
        (void)close(fds[1]);
    http_server_destroy(server);
    ENSURE(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    ENSURE(uv_loop_close(&loop) == 0);
    ENSURE(stream == NULL);
    return 0;
}
