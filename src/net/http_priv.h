/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the HTTP server share: http_server.c (connections come, go, and are cut by deadlines),
 * http_conn.c (bytes become requests), http_reply.c (answers), http_stream.c (answers that go on),
 * http_gone.c (is the client still there?).
 *
 * A connection stands on exactly one list of its server, the list of its state; conn_move is the only
 * function that changes it. All connections of a list have the same time limit, so each list is in order of
 * deadline and the timer looks at heads only.
 *
 * While nothing is under way a connection owns no buffer. It takes one when its socket has something to read,
 * and gives it back when all in it has been answered. From the end of the head to the reply there is an
 * exchange: the request, its arena and what belongs to its answer. As long as an exchange exists the bytes of
 * its request stay where they are, because the handler holds slices of them. When the client goes meanwhile,
 * the exchange keeps the buffer and lives on without its connection until it is answered.
 */
#ifndef DOORBUSTER_NET_HTTP_PRIV_H
#define DOORBUSTER_NET_HTTP_PRIV_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <uv.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/list.h"
#include "base/pool.h"
#include "net/block_pool.h"
#include "net/http_chunked.h"
#include "net/http_parse.h"
#include "net/http_route.h"
#include "net/http_server.h"

enum conn_state {
    CONN_IDLE,           /* between requests, nothing received; while draining, a new connection too */
    CONN_HEAD,           /* the head is not complete; also a new connection */
    CONN_BODY,           /* the head is complete, the body is not */
    CONN_WAITING,        /* a handler has the request */
    CONN_WRITING,        /* the client has not taken all of a reply */
    CONN_STREAMING,      /* a stream is open and all of it taken */
    CONN_STREAM_WRITING, /* a stream is open and a write is not all taken */
    CONN_LINGERING,      /* all said; what still arrives is thrown away until the client closes */
    CONN_CLOSING,        /* gone but for its handle */
    CONN_STATE_COUNT
};

enum {
    INPUT_BYTES = 4096,        /* a first input buffer */
    SCRATCH_BYTES = 64 * 1024, /* where replies are put together; and where unwanted input goes */
    LINGER_MS = 2000,
    LINGER_BYTES_MAX = 16 * 1024 * 1024,
    REFUSED_COUNT_MAX = 256 /* connections beyond the limit that may linger at a time */
};

struct output; /* bytes the kernel did not take at once */

struct input {
    char *base; /* NULL: no buffer */
    uint32_t size;
    uint32_t start; /* first byte of the request under way, or of the next one */
    uint32_t end;   /* bytes received */
};

struct connection {
    uv_tcp_t tcp; /* first: the callbacks' handle is the connection */
    struct list node;
    struct list ready_node;       /* on http_server.ready when answered from elsewhere with input left; or on
                                     http_server.paused */
    struct list half_closed_node; /* on http_server.half_closed when is_eof */
    struct http_server *server;
    int64_t deadline_ms;   /* of the loop's clock; meaningless in a state without a limit */
    int64_t read_ns;       /* when something was last received */
    uint32_t served_count; /* requests that the last conn_serve has given to their handlers */
    struct exchange *exchange;
    struct http_stream *stream;
    struct output *output;
    struct input input;
    struct http_scan scan;
    struct http_chunked chunked;
    uint32_t head_len;  /* 0 until the head is complete; bytes from input.start */
    uint32_t body_len;  /* expected, or joined so far when chunked */
    uint32_t discarded; /* bytes thrown away while lingering */
    uint8_t state;      /* enum conn_state */
    bool is_reading;
    bool is_eof;     /* the client will send no more */
    bool is_serving; /* conn_serve is on the stack */
    bool is_last;    /* close when the present reply is out */
    bool is_chunked; /* of the request whose body is awaited */
    bool is_fresh;   /* nothing was ever received */
    bool is_refused; /* beyond the limit: only here to be told so */
    bool is_from_loopback;
};

struct exchange {
    struct http_request request; /* first: request and exchange are one address */
    struct connection *conn;     /* NULL: the client has gone */
    struct http_head head;
    struct input input;   /* owned when conn is NULL */
    uint32_t request_len; /* bytes of the input that the request takes */
    int64_t probed_ms; /* uv_now when it was last asked whether the client is there, 0: never; http_gone.c */
    alignas(max_align_t) char arena_memory[];
};

struct counters {
    atomic_uint_fast64_t accepted;
    atomic_uint_fast64_t refused;
    atomic_uint_fast64_t malformed;
    atomic_uint_fast64_t timeouts;
    atomic_size_t connections;
    atomic_size_t streams;
};

struct http_server {
    uv_loop_t *loop;
    struct http_config config;
    struct http_router router;
    struct list states[CONN_STATE_COUNT];
    int64_t limits_ms[CONN_STATE_COUNT]; /* 0: none */
    struct pool conns;
    struct pool streams;
    struct block_pool inputs;
    struct block_pool exchanges;
    struct list large_inputs; /* input buffers that are larger than a first one */
    size_t input_bytes;       /* of these */
    struct id_source ids;
    uv_timer_t timer;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    size_t handle_count;      /* not yet closed */
    size_t refused_count;     /* lingering now */
    struct list gone_streams; /* on_closed is due */
    struct list ready;        /* connections to be served before the loop sleeps */
    struct list paused;       /* connections that have had their share of this turn; read again in the next */
    struct list half_closed;  /* connections whose clients send no more, and may have gone */
    void (*on_drained)(void *context);
    void *on_drained_context;
    bool has_served; /* something was received in this turn */
    int64_t turn_ns; /* when this turn's first bytes were read; 0: none yet */
    bool is_draining;
    bool is_ending;        /* http_server_destroy was called */
    int64_t trim_at_ms;    /* of the loop's clock */
    int64_t date_until_ms; /* of the loop's clock */
    char date[CLOCK_HTTP_LEN];
    struct counters counters;
    char scratch[SCRATCH_BYTES];
};

static inline struct exchange *exchange_of(struct http_request *request)
{
    return CONTAINER_OF(request, struct exchange, request);
}

/* One writer, so no locked instruction is needed. */
#define COUNTER_ADD(counter, amount) \
    atomic_store_explicit(           \
        &(counter), atomic_load_explicit(&(counter), memory_order_relaxed) + (amount), memory_order_relaxed)

/* --- http_server.c --- */

/* Puts the connection on the list of `state`; an impossible move is a bug. */
void conn_move(struct connection *conn, enum conn_state state);

/* Closes at once; what was not taken is lost. Nothing happens when it is closing already. */
void conn_close(struct connection *conn);

/* The same, but the client gets a reset: it has not taken what was written. */
void conn_reset(struct connection *conn);

/* --- http_conn.c --- */

void conn_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
void conn_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf);

/*
 * Serves what the kernel already holds of a connection that has nothing under way, in one read and without
 * waiting for the loop. Settles in any case: while the server drains that closes a connection on which
 * nothing is there, unless it is fresh.
 */
void conn_read_now(struct connection *conn);

/* Serves what has been received, as far as that goes, and settles in the state that follows. */
void conn_serve(struct connection *conn);

/* Refuses the request under way and closes afterwards. The client is told if it still listens. */
void conn_refuse(struct connection *conn, enum http_fault fault);

/* The exchange was answered: forgets it and its bytes. */
void conn_end_exchange(struct exchange *exchange);

/*
 * All of an answer was given to the kernel: closes, or goes on with what was received meanwhile. The latter
 * is put off to the end of the turn, so that no handler runs inside of a call of its own or of another
 * handler.
 */
void conn_on_answered(struct connection *conn);

/* Says that nothing more will be sent, and waits for the client to close. */
void conn_linger(struct connection *conn);

void conn_start_reading(struct connection *conn);

/* Gives the buffer back. */
void input_free(struct http_server *server, struct input *input);

/* --- http_gone.c --- */

/* The client sends no more: finds out, now and with every tick, whether it still waits. May close. */
void conn_watch_half_closed(struct connection *conn);

/* One tick. */
void half_closed_look(struct http_server *server);

/* --- http_reply.c --- */

/*
 * Gives bytes to the kernel; what it does not take is copied and waits in conn->output; when that is gone,
 * stream_on_taken or conn_on_answered follows. May close the connection.
 */
void conn_send(struct connection *conn, const uv_buf_t *bufs, unsigned count);

/* A reply, or the end of a stream, went through conn_send: waits until it is taken, or goes on. */
void conn_after_send(struct connection *conn);

/* Tells on_answered. */
void exchange_report(struct exchange *exchange, int status);

/* Writes a reply's head into the scratch buffer. */
struct reply_head {
    int status;
    struct slice content_type;
    struct slice extra;
    struct slice correlation_id; /* empty: a new one */
    size_t body_len;
    bool is_stream; /* chunked, unless to HTTP/1.0 */
    bool is_close;
    bool is_http_1_0;
};
size_t reply_head_write(struct http_server *server, const struct reply_head *head);

/* Answers for the server itself, through render_error, and closes afterwards when is_last. request may be
 * NULL. */
void conn_reply_fault(struct connection *conn, enum http_fault fault, bool is_last);

/* --- http_stream.c --- */

/* Bytes of a struct http_stream. */
size_t http_stream_size(void);

/* The kernel has taken everything of the last write. */
void stream_on_taken(struct http_stream *stream);

/* The connection is closing. */
void stream_on_gone(struct http_stream *stream);

/* Calls on_closed of all that have gone. */
void streams_sweep(struct http_server *server);

#endif
