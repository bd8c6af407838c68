/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers. A reply is put together in the server's scratch buffer and offered to the kernel at once, which
 * nearly always takes it whole: one system call and no copy kept. Only what it does not take is copied to the
 * heap.
 */
#include "base/ensure.h"
#include "net/http_priv.h"

#include <stdlib.h>

enum {
    HEAD_FIXED_MAX = 512,       /* everything in a head but the three texts of others */
    FAULT_BODY_MAX = 128 * 1024 /* a message may quote a whole target, escaped */
};

struct output {
    uv_write_t write;
    struct connection *conn;
    char bytes[];
};

/* --- The head of a reply --- */

struct reason {
    int status;
    const char *text;
};

/* RFC 9110 section 15; the commoner ones first. */
static const struct reason reasons[] = {
    {200, "OK"},
    {429, "Too Many Requests"},
    {400, "Bad Request"},
    {404, "Not Found"},
    {201, "Created"},
    {503, "Service Unavailable"},
    {202, "Accepted"},
    {204, "No Content"},
    {303, "See Other"},
    {304, "Not Modified"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {502, "Bad Gateway"},
    {504, "Gateway Timeout"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status)
            return reasons[i].text;
    }
    return "Other";
}

/* The writers below trust that reply_head_write has checked the room once for all. */
static inline char *put(char *at, struct slice text)
{
    memcpy(at, text.base, text.len);
    return at + text.len;
}

static char *put_number(char *at, size_t value)
{
    char digits[20];
    char *first = digits + sizeof digits;
    do {
        *--first = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return put(at, slice_make(first, (size_t)(digits + sizeof digits - first)));
}

static char *put_status(char *at, int status)
{
    if (status == 200)
        return put(at, SLICE("HTTP/1.1 200 OK\r\n"));
    at = put(at, SLICE("HTTP/1.1 "));
    at = put_number(at, (size_t)status);
    at = put(at, SLICE(" "));
    at = put(at, slice_cstr(http_status_text(status)));
    return put(at, SLICE("\r\n"));
}

/* The clock is read, and the text made, once a second. */
static char *put_date(char *at, struct http_server *server)
{
    int64_t now_ms = (int64_t)uv_now(server->loop);
    if (now_ms >= server->date_until_ms) {
        int64_t wall_ms = clock_wall_ms();
        clock_format_http(wall_ms, server->date);
        server->date_until_ms = now_ms + 1000 - wall_ms % 1000;
    }
    at = put(at, SLICE("Date: "));
    at = put(at, slice_make(server->date, CLOCK_HTTP_LEN));
    return put(at, SLICE("\r\n"));
}

static char *put_correlation(char *at, struct http_server *server, struct slice id)
{
    at = put(at, SLICE("x-correlation-id: "));
    if (id.len > 0) {
        at = put(at, id);
    } else {
        id_uuid(&server->ids, at);
        at += ID_UUID_LEN;
    }
    return put(at, SLICE("\r\n"));
}

static char *put_framing(char *at, const struct reply_head *head)
{
    if (head->is_stream) {
        if (!head->is_http_1_0)
            at = put(at, SLICE("Transfer-Encoding: chunked\r\n"));
    } else if (head->status >= 200 && head->status != 204 && head->status != 304) {
        at = put(at, SLICE("Content-Length: "));
        at = put_number(at, head->body_len);
        at = put(at, SLICE("\r\n"));
    }
    if (head->is_close)
        return put(at, SLICE("Connection: close\r\n"));
    return head->is_http_1_0 ? put(at, SLICE("Connection: keep-alive\r\n")) : at;
}

size_t reply_head_write(struct http_server *server, const struct reply_head *head)
{
    ENSURE(head->content_type.len + head->extra.len + head->correlation_id.len + HEAD_FIXED_MAX <=
           SCRATCH_BYTES);
    ENSURE(head->status >= 200 && head->status <= 599);
    char *at = put_status(server->scratch, head->status);
    at = put_correlation(at, server, head->correlation_id);
    if (head->content_type.len > 0) {
        at = put(at, SLICE("Content-Type: "));
        at = put(at, head->content_type);
        at = put(at, SLICE("\r\n"));
    }
    at = put(at, head->extra);
    at = put_framing(at, head);
    at = put_date(at, server);
    at = put(at, SLICE("\r\n"));
    return (size_t)(at - server->scratch);
}

/* --- Giving bytes to the kernel --- */

static void on_written(uv_write_t *write, int status)
{
    struct output *output = CONTAINER_OF(write, struct output, write);
    struct connection *conn = output->conn;
    free(output);
    conn->output = NULL;
    if (conn->state == CONN_CLOSING)
        return;
    if (status < 0)
        conn_close(conn);
    else if (conn->stream != NULL)
        stream_on_taken(conn->stream);
    else
        conn_on_answered(conn);
}

/* Keeps a copy of what is left of the buffers and lets the loop send it. */
static void send_later(
    struct connection *conn, const uv_buf_t *bufs, unsigned count, size_t sent, size_t total)
{
    struct output *output = malloc(sizeof *output + total - sent);
    if (output == NULL) {
        conn_reset(conn);
        return;
    }
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t skip = sent < bufs[i].len ? sent : bufs[i].len;
        memcpy(output->bytes + len, bufs[i].base + skip, bufs[i].len - skip);
        len += bufs[i].len - skip;
        sent -= skip;
    }
    uv_buf_t rest = uv_buf_init(output->bytes, (unsigned)len);
    output->conn = conn;
    conn->output = output;
    if (uv_write(&output->write, (uv_stream_t *)&conn->tcp, &rest, 1, on_written) != 0) {
        free(output);
        conn->output = NULL;
        conn_close(conn);
    }
}

void conn_send(struct connection *conn, const uv_buf_t *bufs, unsigned count)
{
    ENSURE(conn->output == NULL);
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += bufs[i].len;
    int sent = uv_try_write((uv_stream_t *)&conn->tcp, bufs, count);
    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent < 0)
        conn_close(conn);
    else if ((size_t)sent < total)
        send_later(conn, bufs, count, (size_t)sent, total);
}

/* The head lies in the scratch buffer; a body that fits follows it there, so that both are one piece. */
static void send_reply(struct connection *conn, size_t head_len, struct slice body)
{
    char *scratch = conn->server->scratch;
    if (body.len <= SCRATCH_BYTES - head_len) {
        memcpy(scratch + head_len, body.base, body.len);
        const uv_buf_t buf = uv_buf_init(scratch, (unsigned)(head_len + body.len));
        conn_send(conn, &buf, 1);
    } else {
        const uv_buf_t bufs[] = {
            uv_buf_init(scratch, (unsigned)head_len), uv_buf_init((char *)body.base, (unsigned)body.len)};
        conn_send(conn, bufs, 2);
    }
}

void conn_after_send(struct connection *conn)
{
    if (conn->state == CONN_CLOSING)
        return;
    if (conn->output != NULL)
        conn_move(conn, CONN_WRITING);
    else
        conn_on_answered(conn);
}

void exchange_report(struct exchange *exchange, int status)
{
    const struct http_config *config = &exchange->request.server->config;
    if (config->on_answered != NULL)
        config->on_answered(&exchange->request, status, clock_mono_ns() - exchange->request.arrived_ns,
            config->on_answered_context);
}

void http_reply(struct http_request *request, int status, struct slice content_type, struct slice extra,
    struct slice body)
{
    struct exchange *exchange = exchange_of(request);
    struct connection *conn = exchange->conn;
    request->on_gone = NULL; /* who answers need not be told that the answer was not taken */
    if (conn != NULL) {
        ENSURE(conn->exchange == exchange);
        conn->is_last = conn->is_last || conn->server->is_draining;
        const struct reply_head head = {
            .status = status,
            .content_type = content_type,
            .extra = extra,
            .correlation_id = exchange->head.correlation_id,
            .body_len = body.len,
            .is_close = conn->is_last,
            .is_http_1_0 = exchange->head.is_http_1_0,
        };
        bool is_bodiless = request->is_head || status == 204 || status == 304;
        send_reply(conn, reply_head_write(conn->server, &head), is_bodiless ? slice_make("", 0) : body);
        conn = exchange->conn; /* NULL when it broke */
    }
    exchange_report(exchange, status);
    conn_end_exchange(exchange);
    if (conn != NULL)
        conn_after_send(conn);
}

void http_reply_close(struct http_request *request, int status, struct slice content_type, struct slice extra,
    struct slice body)
{
    struct connection *conn = exchange_of(request)->conn;
    if (conn != NULL)
        conn->is_last = true;
    http_reply(request, status, content_type, extra, body);
}

/* --- The server's own replies --- */

static void reply_unread(
    struct connection *conn, int status, struct slice content_type, struct slice extra, struct slice body)
{
    const struct reply_head head = {.status = status,
        .content_type = content_type,
        .extra = extra,
        .body_len = body.len,
        .is_close = true};
    send_reply(conn, reply_head_write(conn->server, &head), body);
    conn_after_send(conn);
}

void conn_reply_fault(struct connection *conn, enum http_fault fault, bool is_last)
{
    const struct http_fault_info *info = http_fault_info(fault);
    struct http_request *request = conn->exchange == NULL ? NULL : &conn->exchange->request;
    struct http_server *server = conn->server;
    struct slice type = slice_make("", 0);
    struct strbuf body;
    strbuf_init_heap(&body, FAULT_BODY_MAX);
    if (server->config.render_error != NULL) {
        server->config.render_error(info->status, info->text, request, &body);
        type = SLICE("application/json; charset=utf-8");
    }
    struct slice extra = fault == HTTP_FAULT_BUSY ? SLICE("Retry-After: 1\r\n") : slice_make("", 0);
    struct slice text = body.has_overflowed || body.len == 0 ? slice_make("", 0) : strbuf_slice(&body);
    conn->is_last = conn->is_last || is_last;
    if (request == NULL)
        reply_unread(conn, info->status, type, extra, text);
    else
        http_reply(request, info->status, type, extra, text);
    strbuf_fini(&body);
}
