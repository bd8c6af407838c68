/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has the client of a kept request gone? A reset tells at once. An end of its stream does not: it may have
 * closed its half only and wait for the answer, and TCP shows no difference until something is sent. So an
 * interim answer is sent, which every HTTP/1.1 client passes over (RFC 9110 section 15.2; 102: RFC 2518): a
 * client that has closed both halves answers it with a reset, which the socket's state then shows. That is
 * looked at with every tick of the server's timer, for what can be a round trip later. A proxy that passes on
 * bytes learns of the reset and closes, but shows it to us only when we send again: so once a second it is.
 */
#include "base/ensure.h"
#include "net/http_priv.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { PROBE_EACH_MS = 1000 };

/* The reset has come, or the socket is broken otherwise. */
static bool is_reset(const struct connection *conn)
{
    uv_os_fd_t fd;
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    if (uv_fileno((const uv_handle_t *)&conn->tcp, &fd) != 0)
        return true;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_CLOSE;
}

/* False when the client has gone, or takes nothing. */
static bool probe(struct connection *conn, int64_t now_ms)
{
    static char text[] = "HTTP/1.1 102 Processing\r\n\r\n";
    const uv_buf_t buf = uv_buf_init(text, sizeof text - 1);
    ENSURE(conn->output == NULL); /* a handler has the request: all before it was taken */
    int sent = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    bool is_sent = sent == (int)buf.len;
    if (is_sent)
        conn->exchange->probed_ms = now_ms;
    return is_sent || sent == UV_EAGAIN;
}

/* HTTP/1.0 knows no interim answers, so its clients count as there. */
static void look_at(struct connection *conn)
{
    const struct exchange *exchange = conn->exchange;
    if (exchange == NULL || exchange->request.on_gone == NULL || exchange->head.is_http_1_0)
        return;
    int64_t now_ms = (int64_t)uv_now(conn->server->loop);
    bool is_due = exchange->probed_ms == 0 || now_ms - exchange->probed_ms >= PROBE_EACH_MS;
    if (is_reset(conn) || (is_due && !probe(conn, now_ms)))
        conn_reset(conn);
}

void conn_watch_half_closed(struct connection *conn)
{
    list_remove(&conn->half_closed_node);
    list_append(&conn->server->half_closed, &conn->half_closed_node);
    look_at(conn);
}

void half_closed_look(struct http_server *server)
{
    /* Who is told that a client has gone may close other connections: each is taken before it is looked at.
     */
    struct list looked_at;
    struct list *node;
    list_init(&looked_at);
    while ((node = list_first(&server->half_closed)) != NULL) {
        list_remove(node);
        list_append(&looked_at, node);
        look_at(CONTAINER_OF(node, struct connection, half_closed_node)); /* takes it off when it closes */
    }
    while ((node = list_first(&looked_at)) != NULL) {
        list_remove(node);
        list_append(&server->half_closed, node);
    }
}

bool http_request_is_half_closed(const struct http_request *request)
{
    const struct exchange *exchange = CONTAINER_OF(request, const struct exchange, request);
    return exchange->conn != NULL && exchange->conn->is_eof;
}
