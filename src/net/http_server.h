/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 server on one event loop (RFC 9110, RFC 9112). A server belongs to the thread that runs its loop,
 * and every function here is called on that thread unless it says otherwise. Several servers, one a thread,
 * share one table of routes and may share one listener (net/listener.h hands them connections).
 *
 * A request is a struct whose slices point into the connection's own input buffer; they stay valid, and the
 * buffer stays untouched, until the request has been answered or let go. A handler answers at once, or keeps
 * the pointer and answers later on the same thread. Every request that reached a handler must be answered
 * exactly once by http_reply or http_stream_open, even when the client has gone meanwhile; the answer is then
 * dropped. Pipelined requests are served one after the other, in order. Handlers are called by the loop
 * alone, never from inside http_reply or a function of a stream.
 *
 * What a stranger sends never reaches a handler unless it is well formed: bare LF, blanks before a colon,
 * NUL, Transfer-Encoding beside Content-Length, two Content-Lengths, obsolete folding and chunked nonsense
 * are refused with 400 and the connection is closed. A head over head_bytes_max is refused with 431, a body
 * over body_bytes_max with 413. Slow or silent clients are cut by the deadlines below.
 */
#ifndef DOORBUSTER_NET_HTTP_SERVER_H
#define DOORBUSTER_NET_HTTP_SERVER_H

#include <uv.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/strbuf.h"

enum method {
    METHOD_GET,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OTHER,
    METHOD_ANY, /* of a route, never of a request */
};

enum { HTTP_HEADERS_MAX = 64, HTTP_PARAMS_MAX = 4, HTTP_NOT_COUNTED = -1 };

struct http_header {
    struct slice name;
    struct slice value; /* without blanks around it */
};

struct http_route;

struct http_request {
    enum method method; /* HEAD arrives as METHOD_GET with is_head; the reply's body is then left out */
    bool is_head;
    struct slice method_name; /* as sent */
    struct slice target;      /* as sent: path and query */
    struct slice path;        /* percent-decoded, without the query */
    struct slice query;       /* as sent, without '?'; see http_query.h */
    struct slice body;        /* chunked bodies arrive joined */
    bool has_body;            /* Content-Length or Transfer-Encoding was sent (even 0 bytes) */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    const struct http_route *route;
    struct slice params[HTTP_PARAMS_MAX]; /* what the ':' segments of the route matched, decoded */
    struct arena arena;                   /* request_arena_bytes, gone with the request */
    int64_t arrived_ns;                   /* clock_mono_ns of the turn of the loop that read its last byte */
    bool is_from_loopback;                /* the client's address is 127.0.0.0/8 or ::1 */
    int counted_status; /* for on_answered: 0 as answered, HTTP_NOT_COUNTED, or another; the handler sets it
                         */
    struct http_server *server;
    /*
     * For a handler that keeps the request and would rather not work for nobody: called once, by the loop,
     * when the client's connection has closed before the answer. The answer is still due, now or later, and
     * is dropped. NULL: not wanted.
     *
     * A client that has closed its sending half only counts as there. To tell it from one that has gone, a
     * kept request with on_gone may be sent `102 Processing`, after which it takes a round trip and a tenth
     * of a second. What can not be told: a machine that has vanished, a client of HTTP/1.0 that closes
     * without a reset, and one whose pipelined requests fill the buffer, since then nothing is read. Those
     * count as there until the answer.
     */
    void (*on_gone)(struct http_request *request, void *context);
    void *on_gone_context;
};

typedef void http_handler(struct http_request *request, void *context);

/* One row of the table of routes. A ':' segment matches any one non-empty segment of at most
 * param_bytes_max bytes, decoded. */
struct http_route {
    enum method method;
    const char *pattern; /* "/api/v1/products/:sku" */
    http_handler *handler;
    void *context;
    size_t param_bytes_max; /* 0: 100 */
};

struct http_config {
    const struct http_route *routes; /* the first that matches wins; must outlive the server */
    size_t route_count;
    /*
     * Writes the body of a reply that no handler made (400, 404, 408, 413, 417, 431, 503) as JSON into memory
     * of the caller; `message` is a sentence for people. `request` is NULL when it could not be read. NULL:
     * no body.
     */
    void (*render_error)(
        int status, const char *message, const struct http_request *request, struct strbuf *body);
    /* Called for a request that no route matches; NULL: 404 through render_error. Same duties as a handler.
     */
    http_handler *not_found;
    void *not_found_context;
    /* Called once for each answered request, after the reply was handed to the kernel. route may be NULL. */
    void (*on_answered)(const struct http_request *request, int status, int64_t duration_ns, void *context);
    void *on_answered_context;
    /* Called after the loop has served all sockets of one turn: the place to send what was gathered in a
     * batch. */
    void (*on_turn_end)(void *context);
    void *on_turn_end_context;

    size_t head_bytes_max;       /* 16 KiB; at most 32 KiB */
    size_t body_bytes_max;       /* 1 MiB */
    size_t input_bytes_max;      /* 64 MiB: of requests over 4 KiB not yet answered, in all; beyond: 503 */
    size_t request_arena_bytes;  /* 4 KiB */
    size_t connection_count_max; /* 65,536; beyond: 503 and close */
    int64_t
        head_timeout_ms; /* 10 s, from the first byte (or the connection's start) to the end of the head */
    int64_t body_timeout_ms;  /* 30 s, from the end of the head to the end of the body */
    int64_t idle_timeout_ms;  /* 75 s, between requests */
    int64_t write_timeout_ms; /* 10 s, until the client has taken a reply */
};

struct http_server;

/* A configuration with the defaults in the comments above and no routes. */
void http_config_init(struct http_config *config);

/*
 * Serves on `loop`, which stays the caller's; the configuration is copied. NULL when memory is out. From now
 * on the process ignores SIGPIPE.
 */
struct http_server *http_server_create(uv_loop_t *loop, const struct http_config *config);

/* Takes over a connected, non-blocking TCP socket (closes it in every case of error). */
void http_server_adopt(struct http_server *server, int fd);

/*
 * Stops being available: idle connections are closed, the others after their present reply (which carries
 * "connection: close"); streams are ended at once. A request that the kernel already holds is answered, and a
 * connection on which nothing has come yet is given a fifth of a second for its first request. on_drained is
 * called when the last connection has gone (before this returns, when there is none). Connections adopted
 * from now on are refused with 503.
 */
void http_server_drain(struct http_server *server, void (*on_drained)(void *context), void *context);

/*
 * Closes whatever is left at once and frees everything; the loop must then be run until it has no handles.
 * Streams get their on_closed before this returns. Requests not yet answered are gone too and must not be
 * answered any more.
 */
void http_server_destroy(struct http_server *server);

struct http_server_stats {
    uint64_t connections_accepted;
    uint64_t connections_refused; /* beyond connection_count_max */
    uint64_t requests_malformed;
    uint64_t timeouts;       /* connections cut by a deadline */
    size_t connection_count; /* now open */
    size_t stream_count;     /* now open */
};

/* Readable from any thread; each number is exact, the set is not one instant. */
void http_server_stats(const struct http_server *server, struct http_server_stats *stats);

/*
 * For a handler that keeps a request for long and needs none of its texts any more: method_name, target,
 * path, query, body, headers and params are empty from now on, and what they took is given back. The arena
 * stays.
 */
void http_request_let_go(struct http_request *request);

/* Has the client of a kept request said that it will send no more? It may have gone, and on_gone may follow
 * within a round trip and a tenth of a second or two. */
bool http_request_is_half_closed(const struct http_request *request);

/* The value of the first header of that name (ASCII case does not matter); false when there is none. */
bool http_header(const struct http_request *request, struct slice name, struct slice *value);

/* "OK", "Not Found", ...: RFC 9110 section 15; "Other" for a status that no server of ours sends. */
const char *http_status_text(int status);

/* How many headers of that name there are. */
size_t http_header_count(const struct http_request *request, struct slice name);

/*
 * Answers. `content_type` may be empty when there is no body. `extra` are complete header lines, each ended
 * by CRLF, or empty. Adds Date, Content-Length, x-correlation-id (the request's own or a new UUID; flash-sale
 * contract section 1) and Connection where needed. Everything is copied or sent before it returns; the
 * request is gone then.
 */
void http_reply(struct http_request *request, int status, struct slice content_type, struct slice extra,
    struct slice body);

/* Answers and closes the connection afterwards ("connection: close"). */
void http_reply_close(struct http_request *request, int status, struct slice content_type, struct slice extra,
    struct slice body);

/*
 * Answers 200 (for HEAD: the head alone) with a body that goes on: chunked, one chunk a write. The request is
 * gone when this returns. A stream holds at most one unsent write: while http_stream_is_ready is false, more
 * should wait for on_ready; http_stream_write cuts the client then, for it takes nothing. (That can be so
 * right after opening, when earlier replies lie untaken before it.) on_closed is called exactly once, when
 * the client has gone, was cut, or after http_stream_end; the stream is gone then. Returns NULL, with
 * everything done, when the client has already gone or the request was a HEAD.
 */
struct http_stream;

struct http_stream_events {
    void (*on_ready)(struct http_stream *stream, void *context);
    void (*on_closed)(struct http_stream *stream, void *context);
    void *context;
};

struct http_stream *http_stream_open(struct http_request *request, struct slice content_type,
    struct slice extra, struct http_stream_events events);
bool http_stream_is_ready(const struct http_stream *stream);
void http_stream_write(struct http_stream *stream, struct slice data);
void http_stream_end(struct http_stream *stream);

#endif
