/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of src/net on a thread of its own and blocking clients on real loopback sockets, for the tests of
 * the HTTP server. The tests wait for conditions, never for time: kit_turn lets the server's loop go round
 * once.
 */
#ifndef DOORBUSTER_TESTS_HTTP_KIT_H
#define DOORBUSTER_TESTS_HTTP_KIT_H

#include <pthread.h>
#include <stdatomic.h>

#include "net/http_server.h"
#include "net/listener.h"

enum { KIT_PENDING_MAX = 4096, KIT_BODY_MAX = 32 * 1024 * 1024 };

/*
 * The routes: GET /hello; POST /echo; GET and POST /late and GET /batch, kept in pending[] until answered
 * (/batch: by on_turn_end); GET /kept, as /late, and counts in gone_count when its client has gone; GET
 * /item/:id, which answers with what the segment matched; DELETE /none, 204;
 * GET /close, which closes; GET /big, KIT_BIG_BYTES; GET /stream, whose stream is kept in `stream`.
 */
enum { KIT_BIG_BYTES = 16 * 1024 * 1024 };

struct kit {
    struct http_config config; /* may be changed between kit_init and kit_start */
    uv_loop_t loop;
    pthread_t thread;
    struct http_server *server;
    struct listener *listener;
    int port;
    uv_async_t wake;
    pthread_mutex_t lock;
    pthread_cond_t is_done;
    void (*command)(struct kit *kit);
    int argument;
    bool has_command;
    /* Of the server's thread; read them in a command. */
    struct http_request *pending[KIT_PENDING_MAX];
    size_t pending_count;
    struct http_request *batch[KIT_PENDING_MAX];
    size_t batch_count;
    bool is_answering; /* inside of http_reply, called from no handler */
    struct http_stream *stream;
    struct http_request *gone; /* the last one whose client has gone */
    /* Counted by the server's thread; to be read by any. */
    atomic_size_t stream_opened_count;
    atomic_size_t stream_ready_count;
    atomic_size_t stream_closed_count;
    atomic_size_t answered_count;
    atomic_int answered_status;
    atomic_size_t drained_count;
    atomic_size_t gone_count;
};

/* A configuration with the routes above and the usual limits. */
void kit_init(struct kit *kit);
void kit_start(struct kit *kit);
void kit_stop(struct kit *kit);

/* Runs `command` on the server's thread and returns when it is done. */
void kit_run(struct kit *kit, void (*command)(struct kit *kit));

/* Returns when the server has seen everything that was sent before. */
void kit_turn(struct kit *kit);

/* Waits, up to ten seconds, until the predicate, asked on the server's thread, is true. */
void kit_wait(struct kit *kit, bool (*predicate)(struct kit *kit), const char *what);

/* As kit_wait: so many requests are pending, or connections open. */
void kit_wait_pending(struct kit *kit, int count);
void kit_wait_open(struct kit *kit, int count);

/* Answers all that are pending with "late". */
void kit_answer(struct kit *kit);

struct http_server_stats kit_stats(struct kit *kit);

/* --- Clients --- */

/* A blocking socket whose reads give up after ten seconds. */
int client_connect(struct kit *kit);
void client_send(int fd, const char *text);
void client_send_bytes(int fd, struct slice bytes);

struct client_reply {
    int status;
    bool is_close; /* carries "Connection: close" */
    bool is_chunked;
    bool has_length;
    char head[32 * 1024]; /* as received, with a NUL */
    char id[256];         /* x-correlation-id */
    char *body;           /* body_len bytes and a NUL; from the heap */
    size_t body_len;
};

/* Reads one reply; is_head: it has no body. The test fails when there is none, or it is malformed. */
void client_read(int fd, bool is_head, struct client_reply *reply);

/* The same, checked and thrown away. */
void client_expect(int fd, int status, const char *body);

/* The server closes, without a reset and without another byte. */
void client_expect_end(int fd);

/* The server closes, no matter how and what comes before. */
void client_expect_gone(int fd);

/* Sends the text on a new connection, expects this status, and that the server then closes. */
void client_expect_refusal(struct kit *kit, struct slice text, int status);

#endif
