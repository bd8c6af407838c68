/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 client on one event loop, made for very many connections to one server: a load generator shares
 * its machine with what it measures, so a request on a kept connection costs one recv, one send and no
 * allocation.
 *
 * A link is one place from which requests are sent, one at a time. It connects when it has to, stays
 * connected as long as both sides like, and connects again when the server has closed in between. A request
 * that was sent and not answered is never sent again: whether it took effect is for the caller to find out.
 *
 * Everything here belongs to the thread that runs the loop. Exactly one of on_reply and on_failure is called
 * for every http_link_send, never from inside it; from either of them the next request may be sent.
 */
#ifndef DOORBUSTER_NET_HTTP_CLIENT_H
#define DOORBUSTER_NET_HTTP_CLIENT_H

#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/strbuf.h"
#include "net/http_response.h"
#include "net/http_target.h"

enum http_failure {
    HTTP_FAILURE_TIMEOUT,   /* no complete answer in time */
    HTTP_FAILURE_LOST,      /* the connection ended before the answer was complete */
    HTTP_FAILURE_CONNECT,   /* nobody took the connection */
    HTTP_FAILURE_MALFORMED, /* what came was no HTTP reply, or too large */
    HTTP_FAILURE_LOCAL,     /* this machine had no socket, port or memory left: not the server's fault */
    HTTP_FAILURE_CANCELLED  /* http_client_cancel */
};

struct http_socket;

struct http_link {
    struct http_client *client;
    struct http_socket *socket; /* NULL: not connected */
    struct strbuf request;      /* the bytes to send; see http_link_prepare */
    size_t sent_len;
    struct http_response response;
    char *received; /* an answer that came in pieces; kept for the next one */
    size_t received_len;
    size_t received_size;
    struct list node;     /* on the list of links that wait for an answer, oldest first */
    int64_t started_ns;   /* http_link_send was called */
    int64_t connected_ns; /* the connection stood; 0 when it was kept from before */
    int64_t sent_ns;      /* the first byte was handed to the kernel; 0: none was */
    int64_t deadline_ns;
    enum http_failure doom; /* a failure noticed inside http_link_send, told later */
    bool is_waiting;
};

struct http_client_config {
    struct http_target target;
    int64_t timeout_ms;       /* from http_link_send to the last byte of the answer; told to 10 ms */
    size_t request_bytes_max; /* longest request */
    size_t reply_bytes_max;   /* longest reply, head included */
    /* IPv4 loopback: after so many connections the next source address (127.0.0.2 and up) serves, because the
     * kernel looks long for a free port when many of one address are taken; 0: only when none is left. */
    unsigned connections_per_source;
    /* The response's slices are good until the callback returns. now_ns: clock_mono_ns when its last byte was
     * read. */
    void (*on_reply)(struct http_link *link, const struct http_response *response, int64_t now_ns);
    void (*on_failure)(struct http_link *link, enum http_failure failure, int64_t now_ns);
};

struct http_client;

/* NULL when memory is out. The loop stays the caller's. */
struct http_client *http_client_create(uv_loop_t *loop, const struct http_client_config *config);

/* All links must have been finished before; the loop must then be run until it has no handles. */
void http_client_destroy(struct http_client *client);

/* Ends all requests that wait for an answer with HTTP_FAILURE_CANCELLED. */
void http_client_cancel(struct http_client *client);

/* The last reason why a link could not connect or had to give up, as errno; 0 when there was none. */
int http_client_last_errno(const struct http_client *client);

/* Not connected yet. False when memory is out. */
bool http_link_init(struct http_link *link, struct http_client *client);

/* Closes; no request may be waiting. */
void http_link_fini(struct http_link *link);

/* The buffer to write the next request into, emptied. It overflows at request_bytes_max. */
static inline struct strbuf *http_link_prepare(struct http_link *link)
{
    strbuf_reset(&link->request);
    return &link->request;
}

/* Sends what is in link->request (which must not have overflowed); connects first when needed. */
void http_link_send(struct http_link *link, int64_t now_ns);

/* Closes the connection when there is one; no request may be waiting. */
void http_link_close(struct http_link *link);

#endif
