/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to requests. A connection serves its requests one after the other; conn_serve is the one loop
 * that does so, entered when something was received and when an answer has gone out, and conn_serve's last
 * step, settle, is the only place that decides which state follows.
 */
#include "base/ensure.h"
#include "net/http_priv.h"

#include <stdlib.h>
#include <sys/socket.h>

/* --- The input buffer --- */

/* A buffer larger than a first one comes from the heap, and is counted. */
struct large_input {
    struct list node;
    char bytes[];
};

static struct large_input *large_of(char *base)
{
    return CONTAINER_OF(base, struct large_input, bytes);
}

void input_free(struct http_server *server, struct input *input)
{
    if (input->base == NULL)
        return;
    if (input->size > INPUT_BYTES) {
        struct large_input *large = large_of(input->base);
        list_remove(&large->node);
        server->input_bytes -= input->size;
        free(large);
    } else {
        block_pool_put(&server->inputs, input->base);
    }
    *input = (struct input){0};
}

/*
 * Moves to a buffer of `size` bytes. False, and nothing changed, when that is too much for all or for memory.
 */
static bool input_grow(struct http_server *server, struct input *input, size_t size)
{
    size_t old_size = input->size > INPUT_BYTES ? input->size : 0;
    if (server->input_bytes - old_size + size > server->config.input_bytes_max)
        return false;
    struct large_input *large = malloc(sizeof *large + size);
    if (large == NULL)
        return false;
    uint32_t len = input->end - input->start;
    memcpy(large->bytes, input->base + input->start, len);
    input_free(server, input);
    list_append(&server->large_inputs, &large->node);
    server->input_bytes += size;
    *input = (struct input){.base = large->bytes, .size = (uint32_t)size, .end = len};
    return true;
}

/* The most that one request can take, with the overhead of chunks that arrive in one read. */
static size_t input_size_max(const struct http_server *server)
{
    return server->config.head_bytes_max + server->config.body_bytes_max + INPUT_BYTES;
}

/* Makes room for at least one byte after the input's end, without moving a request that is being answered. */
static bool input_make_room(struct connection *conn)
{
    struct http_server *server = conn->server;
    struct input *input = &conn->input;
    if (input->base == NULL) {
        *input = (struct input){.base = block_pool_take(&server->inputs), .size = INPUT_BYTES};
        if (input->base == NULL)
            input->size = 0;
        return input->base != NULL;
    }
    if (input->end < input->size)
        return true;
    ENSURE(conn->exchange == NULL);
    if (input->start > 0) {
        memmove(input->base, input->base + input->start, input->end - input->start);
        input->end -= input->start;
        input->start = 0;
        return true;
    }
    size_t size = (size_t)input->size * 2;
    if (size > input_size_max(server))
        size = input_size_max(server);
    return size > input->size && input_grow(server, input, size);
}

static struct slice input_rest(const struct connection *conn)
{
    return slice_make(conn->input.base + conn->input.start, conn->input.end - conn->input.start);
}

/* --- The exchange --- */

/* Takes an exchange for the complete head. HTTP_FAULT_NONE or _EXPECTATION: conn->exchange is filled. */
static enum http_fault begin_exchange(struct connection *conn)
{
    struct http_server *server = conn->server;
    struct exchange *exchange = block_pool_take(&server->exchanges);
    if (exchange == NULL)
        return HTTP_FAULT_BUSY;
    struct http_request *request = &exchange->request;
    struct slice head = slice_make(conn->input.base + conn->input.start, conn->head_len);
    enum http_fault fault = http_head_parse(head, request, &exchange->head);
    if (fault != HTTP_FAULT_NONE && fault != HTTP_FAULT_EXPECTATION) {
        block_pool_put(&server->exchanges, exchange);
        return fault;
    }
    exchange->conn = conn;
    exchange->input = (struct input){0};
    exchange->request_len = conn->head_len;
    exchange->probed_ms = 0;
    request->route = NULL;
    request->body = slice_make("", 0);
    request->arrived_ns = conn->read_ns;
    request->is_from_loopback = conn->is_from_loopback;
    request->counted_status = 0;
    request->on_gone = NULL;
    request->server = server;
    arena_init(&request->arena, exchange->arena_memory, server->config.request_arena_bytes);
    conn->exchange = exchange;
    return fault;
}

/* Without an answer: the body is not complete, and buffers that grow move. */
static void forget_exchange(struct connection *conn)
{
    block_pool_put(&conn->server->exchanges, conn->exchange);
    conn->exchange = NULL;
}

static void reset_request(struct connection *conn)
{
    conn->scan = (struct http_scan){0};
    conn->chunked = (struct http_chunked){0};
    conn->head_len = 0;
    conn->body_len = 0;
}

void conn_end_exchange(struct exchange *exchange)
{
    struct connection *conn = exchange->conn;
    struct http_server *server = exchange->request.server;
    if (conn == NULL) {
        input_free(server, &exchange->input);
    } else {
        conn->exchange = NULL;
        conn->input.start += exchange->request_len;
        reset_request(conn);
    }
    block_pool_put(&server->exchanges, exchange);
}

void http_request_let_go(struct http_request *request)
{
    struct exchange *exchange = exchange_of(request);
    struct connection *conn = exchange->conn;
    struct input *input = conn == NULL ? &exchange->input : &conn->input;
    const struct slice none = slice_make("", 0);
    struct slice id = exchange->head.correlation_id;
    exchange->head.correlation_id = id.len == 0 ? id : arena_copy(&request->arena, id);
    request->method_name = request->target = request->path = request->query = request->body = none;
    request->header_count = 0;
    for (size_t i = 0; i < HTTP_PARAMS_MAX; i++)
        request->params[i] = none;
    input->start += exchange->request_len; /* what has come behind it stays */
    exchange->request_len = 0;
    if (conn == NULL || input->start == input->end)
        input_free(request->server, input);
}

/* --- The steps of a request --- */

/* No request, reply or stream is under way, and the connection is open. */
static bool is_free(const struct connection *conn)
{
    return conn->exchange == NULL && conn->output == NULL && conn->stream == NULL &&
           conn->state < CONN_LINGERING;
}

/* Empty lines before a request are passed over (RFC 9112 section 2.2). */
static void skip_empty_lines(struct connection *conn)
{
    struct input *input = &conn->input;
    while (input->end - input->start >= 2 && input->base[input->start] == '\r' &&
           input->base[input->start + 1] == '\n')
        input->start += 2;
}

/* True when the head is complete; then conn->head_len is set. */
static bool find_head(struct connection *conn)
{
    if (conn->scan.at == 0)
        skip_empty_lines(conn);
    enum http_scan_status status = http_scan(&conn->scan, input_rest(conn));
    if (status == HTTP_SCAN_MALFORMED) {
        conn_refuse(conn, conn->scan.line == 0 ? HTTP_FAULT_LINE : HTTP_FAULT_HEADER);
    } else if (conn->scan.at > conn->server->config.head_bytes_max) {
        conn_refuse(conn, HTTP_FAULT_HEAD_SIZE);
    } else if (status == HTTP_SCAN_DONE) {
        conn->head_len = conn->scan.at;
        return true;
    }
    return false;
}

/* Takes what the head says about the body. */
static enum http_fault begin_body(struct connection *conn)
{
    const struct http_head *head = &conn->exchange->head;
    conn->is_chunked = head->is_chunked;
    conn->body_len = 0;
    if (head->content_length > conn->server->config.body_bytes_max)
        return HTTP_FAULT_BODY_SIZE;
    conn->body_len = (uint32_t)head->content_length;
    return HTTP_FAULT_NONE;
}

/*
 * Joins what has arrived of a chunked body right behind the head. The decoder takes all bytes unless the body
 * ends, so the input ends where the joined body does until then.
 */
static enum http_chunked_status join_chunks(struct connection *conn, uint32_t *request_len)
{
    struct input *input = &conn->input;
    char *body = input->base + input->start + conn->head_len;
    char *from = body + conn->body_len;
    size_t len = (size_t)(input->base + input->end - from);
    size_t body_len = conn->body_len;
    size_t taken;
    enum http_chunked_status status = http_chunked_feed(
        &conn->chunked, body, &body_len, conn->server->config.body_bytes_max, from, len, &taken);
    *request_len = conn->head_len + conn->body_len + (uint32_t)taken;
    conn->body_len = (uint32_t)body_len;
    if (status == HTTP_CHUNKED_MORE)
        input->end = (uint32_t)(body + body_len - input->base);
    return status;
}

/*
 * True when the body is complete, and then how many bytes the request takes; a fault is already dealt with.
 */
static bool read_body(struct connection *conn, uint32_t *request_len)
{
    if (!conn->is_chunked) {
        *request_len = conn->head_len + conn->body_len;
        return conn->input.end - conn->input.start >= *request_len;
    }
    switch (join_chunks(conn, request_len)) {
    case HTTP_CHUNKED_DONE:
        return true;
    case HTTP_CHUNKED_MALFORMED:
        conn_refuse(conn, HTTP_FAULT_CHUNK);
        return false;
    case HTTP_CHUNKED_TOO_LARGE:
        conn_refuse(conn, HTTP_FAULT_BODY_SIZE);
        return false;
    case HTTP_CHUNKED_MORE:
        break;
    }
    return false;
}

/* The client waits for leave to send its body (RFC 9110 section 10.1.1). */
static void send_continue(struct connection *conn)
{
    static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const uv_buf_t buf = uv_buf_init(text, sizeof text - 1);
    int sent = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    if (sent != UV_EAGAIN && sent != (int)buf.len) /* unsent, the client goes on after a while by itself */
        conn_reset(conn);
}

/* The body has not all come: lets go of the request, since the buffer may have to move. */
static void await_body(struct connection *conn)
{
    if (conn->exchange == NULL)
        return;
    bool is_continue_expected =
        conn->exchange->head.is_continue_expected && conn->input.end - conn->input.start == conn->head_len;
    forget_exchange(conn);
    if (is_continue_expected)
        send_continue(conn);
}

static void reply_not_found(struct http_request *request)
{
    struct http_server *server = request->server;
    if (server->config.not_found != NULL)
        server->config.not_found(request, server->config.not_found_context);
    else
        conn_reply_fault(exchange_of(request)->conn, HTTP_FAULT_NOT_FOUND, false);
}

/* Gives the complete request to its handler. */
static void dispatch(struct connection *conn, uint32_t request_len)
{
    struct http_server *server = conn->server;
    struct exchange *exchange = conn->exchange;
    struct http_request *request = &exchange->request;
    exchange->request_len = request_len;
    if (request->has_body)
        request->body = slice_make(conn->input.base + conn->input.start + conn->head_len, conn->body_len);
    conn->is_last = !exchange->head.is_keepalive || server->is_draining;
    server->has_served = true;
    if (conn->state != CONN_WAITING)
        conn_move(conn, CONN_WAITING);
    if (!http_router_match(&server->router, request))
        conn_reply_fault(conn, HTTP_FAULT_PATH, false);
    else if (request->route == NULL)
        reply_not_found(request);
    else
        request->route->handler(request, request->route->context);
}

/* Serves one request. False when there is none complete. */
static bool serve_one(struct connection *conn)
{
    uint32_t request_len;
    if (conn->head_len == 0) {
        if (!find_head(conn))
            return false;
        enum http_fault fault = begin_exchange(conn);
        if (fault == HTTP_FAULT_NONE)
            fault = begin_body(conn);
        if (fault != HTTP_FAULT_NONE) {
            conn_refuse(conn, fault);
            return false;
        }
    }
    if (!read_body(conn, &request_len)) {
        await_body(conn);
        return false;
    }
    if (conn->exchange == NULL && begin_exchange(conn) != HTTP_FAULT_NONE) {
        conn_refuse(conn, HTTP_FAULT_BUSY);
        return false;
    }
    dispatch(conn, request_len);
    return true;
}

/* --- Between requests --- */

static void settle_unfinished(struct connection *conn)
{
    enum conn_state next = conn->head_len == 0 ? CONN_HEAD : CONN_BODY;
    if (conn->is_eof) {
        conn_refuse(conn, HTTP_FAULT_CUT);
        return;
    }
    if (conn->state != next)
        conn_move(conn, next);
    conn_start_reading(conn);
}

static void settle_empty(struct connection *conn)
{
    if (conn->is_eof || (conn->server->is_draining && !conn->is_fresh)) {
        conn_close(conn);
        return;
    }
    if (conn->state != CONN_IDLE && conn->state != CONN_HEAD)
        conn_move(conn, CONN_IDLE);
    conn_start_reading(conn);
}

/* Chooses the state that fits what has been received, and whether to read on. */
static void settle(struct connection *conn)
{
    struct input *input = &conn->input;
    if (conn->state >= CONN_LINGERING)
        return;
    bool is_empty = conn->exchange == NULL && input->start == input->end;
    if (is_empty)
        input_free(conn->server, input);
    if (is_free(conn)) {
        if (is_empty)
            settle_empty(conn);
        else
            settle_unfinished(conn);
    } else if (input->base != NULL && input->end == input->size && conn->is_reading) {
        /* What came while an answer is under way fills the buffer: let the rest wait in the kernel. */
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
        conn->is_reading = false;
    }
}

void conn_serve(struct connection *conn)
{
    list_remove(&conn->ready_node);
    conn->is_serving = true;
    conn->served_count = 0;
    while (is_free(conn) && conn->input.start < conn->input.end && serve_one(conn))
        conn->served_count++;
    conn->is_serving = false;
    settle(conn);
}

/*
 * A client that sends requests without waiting for their answers could keep the loop busy for as long as it
 * likes, since libuv reads on while there is something to read. So one buffer full of requests is a
 * connection's share of a turn; the others have theirs before the next.
 */
static void pause_reading(struct connection *conn)
{
    (void)uv_read_stop((uv_stream_t *)&conn->tcp);
    conn->is_reading = false;
    list_remove(&conn->ready_node);
    list_append(&conn->server->paused, &conn->ready_node);
}

void conn_on_answered(struct connection *conn)
{
    if (conn->state == CONN_CLOSING)
        return;
    if (conn->is_last)
        conn_linger(conn);
    else if (conn->is_serving)
        return;
    else if (conn->input.start == conn->input.end)
        settle(conn);
    else {
        list_remove(&conn->ready_node);
        list_append(&conn->server->ready, &conn->ready_node);
    }
}

void conn_refuse(struct connection *conn, enum http_fault fault)
{
    if (fault != HTTP_FAULT_TIMEOUT && fault != HTTP_FAULT_BUSY)
        COUNTER_ADD(conn->server->counters.malformed, 1);
    /* Who sent a good head gets its own correlation id back. */
    if (conn->exchange == NULL && conn->state == CONN_BODY && fault != HTTP_FAULT_BUSY)
        (void)begin_exchange(conn);
    conn_reply_fault(conn, fault, true);
}

/* --- Reading --- */

void conn_start_reading(struct connection *conn)
{
    if (conn->is_reading || conn->is_eof)
        return;
    conn->is_reading = uv_read_start((uv_stream_t *)&conn->tcp, conn_on_alloc, conn_on_read) == 0;
    if (!conn->is_reading)
        conn_close(conn);
}

void conn_linger(struct connection *conn)
{
    uv_os_fd_t fd;
    input_free(conn->server, &conn->input);
    if (conn->is_eof || uv_fileno((uv_handle_t *)&conn->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0) {
        conn_close(conn);
        return;
    }
    conn_move(conn, CONN_LINGERING);
    conn_start_reading(conn);
}

void conn_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *conn = (struct connection *)(void *)handle;
    if (conn->state >= CONN_LINGERING) {
        *buf = uv_buf_init(conn->server->scratch, SCRATCH_BYTES);
        return;
    }
    *buf = uv_buf_init(NULL, 0);
    if (input_make_room(conn))
        *buf = uv_buf_init(conn->input.base + conn->input.end, conn->input.size - conn->input.end);
}

/*
 * The time as of this turn's first read. What is read in one turn was all there when the turn began, so this
 * is nearer to the truth than a clock read for each, and cheaper.
 */
static int64_t turn_ns(struct http_server *server)
{
    if (server->turn_ns == 0)
        server->turn_ns = clock_mono_ns();
    return server->turn_ns;
}

static void on_discard(struct connection *conn, ssize_t len)
{
    if (len > 0)
        conn->discarded += (uint32_t)len;
    if (len < 0 || conn->discarded > LINGER_BYTES_MAX)
        conn_close(conn);
}

/* The client sends no more, or the connection broke, or there is no room for more input. */
static void on_read_end(struct connection *conn, int status)
{
    if (status == UV_ENOBUFS && is_free(conn)) {
        conn_refuse(conn, HTTP_FAULT_BUSY);
    } else if (status == UV_EOF && conn->stream == NULL) {
        conn->is_eof = true; /* it may only have closed its half: what it asked is still answered */
        conn->is_reading = false;
        conn_serve(conn);
        if (conn->state < CONN_LINGERING)
            conn_watch_half_closed(conn);
    } else {
        conn_close(conn);
    }
}

void conn_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct connection *conn = (struct connection *)(void *)stream;
    if (conn->state == CONN_LINGERING) {
        on_discard(conn, len);
    } else if (len < 0) {
        on_read_end(conn, (int)len);
    } else if (len == 0) {
        settle(conn); /* the kernel had nothing after all: a buffer taken for it goes back */
    } else {
        conn->input.end += (uint32_t)len;
        conn->read_ns = turn_ns(conn->server);
        conn->is_fresh = false;
        conn_serve(conn);
        if ((size_t)len == buf->len && conn->served_count > 1 && conn->is_reading)
            pause_reading(conn);
    }
}

void conn_read_now(struct connection *conn)
{
    uv_os_fd_t fd;
    uv_buf_t buf;
    conn_on_alloc((uv_handle_t *)&conn->tcp, 0, &buf);
    if (buf.base == NULL || uv_fileno((uv_handle_t *)&conn->tcp, &fd) != 0) {
        conn_close(conn);
        return;
    }
    ssize_t len = recv(fd, buf.base, buf.len, MSG_DONTWAIT);
    conn_on_read((uv_stream_t *)&conn->tcp, len > 0 ? len : 0, &buf); /* the loop finds ends and errors */
}
