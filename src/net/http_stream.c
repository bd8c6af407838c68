/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that go on. A stream belongs to its connection until either ends; then it waits on gone_streams for
 * its on_closed, which is never called from inside a call of the stream's owner, so that the owner may walk
 * over its streams while it writes to them.
 */
#include "base/ensure.h"
#include "net/http_priv.h"

#include <stdio.h>

struct http_stream {
    struct list node;
    struct connection *conn; /* NULL: gone */
    struct http_stream_events events;
    bool is_chunked;
    bool is_ended; /* http_stream_end was called */
};

enum { CHUNK_SIZE_MAX = 20 }; /* 16 hex digits and CRLF */

size_t http_stream_size(void)
{
    return sizeof(struct http_stream);
}

/* After a write: waits for the client, unless all was taken. */
static void settle_stream(struct connection *conn)
{
    if (conn->state == CONN_CLOSING)
        return;
    enum conn_state next = conn->output != NULL ? CONN_STREAM_WRITING : CONN_STREAMING;
    if (conn->state != next)
        conn_move(conn, next);
}

static struct http_stream *create_stream(struct exchange *exchange, struct http_stream_events events)
{
    struct connection *conn = exchange->conn;
    struct http_stream *stream = pool_take(&conn->server->streams);
    if (stream == NULL)
        return NULL;
    *stream = (struct http_stream){.conn = conn, .events = events, .is_chunked = !exchange->head.is_http_1_0};
    list_init(&stream->node);
    COUNTER_ADD(conn->server->counters.streams, 1);
    return stream;
}

static void send_stream_head(struct exchange *exchange, struct slice content_type, struct slice extra)
{
    struct connection *conn = exchange->conn;
    conn->is_last = conn->is_last || conn->server->is_draining || exchange->head.is_http_1_0;
    const struct reply_head head = {
        .status = 200,
        .content_type = content_type,
        .extra = extra,
        .correlation_id = exchange->head.correlation_id,
        .is_stream = true,
        .is_close = conn->is_last,
        .is_http_1_0 = exchange->head.is_http_1_0,
    };
    const uv_buf_t buf = uv_buf_init(conn->server->scratch, (unsigned)reply_head_write(conn->server, &head));
    conn_send(conn, &buf, 1);
}

struct http_stream *http_stream_open(struct http_request *request, struct slice content_type,
    struct slice extra, struct http_stream_events events)
{
    struct exchange *exchange = exchange_of(request);
    struct connection *conn = exchange->conn;
    request->on_gone = NULL;
    if (conn == NULL) {
        http_reply(request, 200, content_type, extra, slice_make("", 0)); /* nobody is there: it is dropped */
        return NULL;
    }
    struct http_stream *stream = request->is_head ? NULL : create_stream(exchange, events);
    if (stream == NULL && !request->is_head) {
        conn_reply_fault(conn, HTTP_FAULT_BUSY, true);
        return NULL;
    }
    conn->stream = stream;
    send_stream_head(exchange, content_type, extra);
    exchange_report(exchange, 200);
    conn_end_exchange(exchange);
    if (stream == NULL)
        conn_after_send(conn);
    else
        settle_stream(conn);
    return stream;
}

bool http_stream_is_ready(const struct http_stream *stream)
{
    return stream->conn != NULL && !stream->is_ended && stream->conn->output == NULL;
}

void http_stream_write(struct http_stream *stream, struct slice data)
{
    ENSURE(!stream->is_ended);
    struct connection *conn = stream->conn;
    if (conn == NULL || data.len == 0)
        return;
    if (conn->output != NULL) {
        conn_reset(conn);
        return;
    }
    char size[CHUNK_SIZE_MAX + 1];
    int size_len = stream->is_chunked ? snprintf(size, sizeof size, "%zx\r\n", data.len) : 0;
    const uv_buf_t bufs[] = {
        uv_buf_init(size, (unsigned)size_len),
        uv_buf_init((char *)data.base, (unsigned)data.len),
        uv_buf_init((char *)"\r\n", stream->is_chunked ? 2 : 0),
    };
    conn_send(conn, bufs, 3);
    settle_stream(conn);
}

/* Separates a stream and its connection; on_closed follows at the end of the turn. */
static void leave(struct http_stream *stream)
{
    struct http_server *server = stream->conn->server;
    stream->conn->stream = NULL;
    stream->conn = NULL;
    list_append(&server->gone_streams, &stream->node);
    COUNTER_ADD(server->counters.streams, -1);
}

/* Sends the last chunk and goes back to serving requests. */
static void finish(struct http_stream *stream)
{
    struct connection *conn = stream->conn;
    bool is_chunked = stream->is_chunked;
    leave(stream);
    if (is_chunked) {
        const uv_buf_t buf = uv_buf_init((char *)"0\r\n\r\n", 5);
        conn_send(conn, &buf, 1);
    }
    conn_after_send(conn);
}

void http_stream_end(struct http_stream *stream)
{
    if (stream->is_ended)
        return;
    stream->is_ended = true;
    if (stream->conn != NULL && stream->conn->output == NULL)
        finish(stream);
}

void stream_on_taken(struct http_stream *stream)
{
    if (stream->is_ended) {
        finish(stream);
        return;
    }
    settle_stream(stream->conn);
    stream->events.on_ready(stream, stream->events.context);
}

void stream_on_gone(struct http_stream *stream)
{
    leave(stream);
}

void streams_sweep(struct http_server *server)
{
    struct list *node;
    while ((node = list_first(&server->gone_streams)) != NULL) {
        struct http_stream *stream = CONTAINER_OF(node, struct http_stream, node);
        list_remove(node);
        stream->events.on_closed(stream, stream->events.context);
        pool_put(&server->streams, stream);
    }
}
