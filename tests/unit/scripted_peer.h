/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that misbehaves by script: it takes one connection after the other on a thread of its own and
 * gives each to a function of the test, which reads and writes with the helpers below. For what a
 * well-behaved server never does: half an answer, silence, a close at the wrong moment, another protocol.
 */
#ifndef DOORBUSTER_TESTS_SCRIPTED_PEER_H
#define DOORBUSTER_TESTS_SCRIPTED_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { PEER_HEARD_MAX = 64 * 1024 };

struct peer {
    /* On the peer's thread; nth counts from 0. The connection is closed when it returns. */
    void (*serve)(struct peer *peer, int fd, int nth);
    int port;
    atomic_int connection_count;
    /* What the last peer_read_request has read, with a NUL: for the test to look at after its answer has
     * come. */
    char head[PEER_HEARD_MAX];
    pthread_t thread;
    int listening;
    atomic_bool is_stopping;
    atomic_int fd; /* the connection served, or -1 */
};

void peer_start(struct peer *peer, void (*serve)(struct peer *peer, int fd, int nth));

/* No connection more is taken from now on, and one that is tried is refused. By the test or by `serve`. */
void peer_refuse(struct peer *peer);

/* Cuts what is being served. */
void peer_stop(struct peer *peer);

/* Reads up to and with the text `end`; what follows it must not have been sent yet. False: the connection
 * ended. */
bool peer_read_until(int fd, const char *end, char *text, size_t size);

/* A request's head into peer->head; then the body, as Content-Length says, behind it. */
bool peer_read_request(struct peer *peer, int fd);

void peer_send(int fd, const char *text);

/* Returns when the other side has closed, or the peer is stopped. */
void peer_wait_end(int fd);

#endif
