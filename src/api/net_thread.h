/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A net thread: one event loop with its HTTP server, its port to the engine, its event
 * streams and its counters. struct app is what all of them share. Everything a request needs on its way
 * is reached from here.
 */
#ifndef DOORBUSTER_API_NET_THREAD_H
#define DOORBUSTER_API_NET_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "api/limits.h"
#include "api/limits_link.h"
#include "engine/engine.h"
#include "net/http_server.h"
#include "store/store.h"

struct intake;
struct market;
struct metrics;
struct orders;
struct service;
struct streams;
struct vending;

struct app_config {
    struct http_config http; /* limits and deadlines; routes and callbacks are filled in by the thread */
    struct slice admin_key;
    bool trusts_loopback; /* admin routes need no key from 127.0.0.0/8 and ::1 */
    bool says_sold_out;
    int64_t answer_deadline_ms; /* a command that cannot be answered within is refused at once */
    int64_t sse_heartbeat_ms;
    int64_t sync_deadline_ms;      /* how long the customer of a synchronous order waits at the most */
    struct slice currency;         /* of orders: three letters */
    int64_t opening_balance_minor; /* of a new wallet: hundredths, 0 to WALLET_AMOUNT_MAX */
    int64_t wait_max_ms;           /* how long a request may wait for a machine at the most; 0: not at all */
    int64_t ticket_timeout_ms;     /* how long a ticket keeps its place while nobody asks for it */
};

/* Shared by all net threads; constant once they run, but for the atomics. */
struct app {
    struct app_config config;
    struct engine *engine;
    struct store *store;
    struct limits *limits;
    struct service *service;             /* what this node does for later: its figures are shown */
    struct shared_limits *shared_limits; /* NULL: the limiter is this node's alone */
    int64_t started_ns;
    atomic_bool is_draining; /* a shutdown has begun: /readyz says so first */
    struct net_thread **net_threads;
    size_t net_thread_count;
};

struct net_thread {
    struct app *app;
    size_t index;
    pthread_t handle;
    bool is_started;
    uv_loop_t loop;
    uv_async_t wake; /* the engine or another thread left something */
    struct http_server *server;
    struct http_route *routes;
    size_t route_count;
    struct engine_port *port;
    struct streams *streams;
    struct orders *orders;
    struct intake *intake;
    struct market *market;
    struct vending *vending;
    struct metrics *metrics;
    struct limits_link *limits_link; /* NULL: the limiter is this node's alone */
    /* Left by other threads, under `lock`. */
    pthread_mutex_t lock;
    int *adopted_fds;
    size_t adopted_count;
    size_t adopted_size;
    bool is_asked_to_drain;
    bool is_asked_to_stop;
    void (*on_drained)(struct net_thread *thread, void *context);
    void *on_drained_context;
};

/* Before engine_start. ERR_MEMORY, or what the store says when it cannot be read. */
MUST_CHECK enum err net_thread_create(
    struct app *app, size_t index, struct net_thread **thread, struct error *error);

/* Runs its loop on a new thread until net_thread_stop. */
MUST_CHECK enum err net_thread_start(struct net_thread *thread, struct error *error);

/* Gives it a connected socket. Any thread. */
void net_thread_adopt(struct net_thread *thread, int fd);

/* Finishes the requests under way; on_drained is called on the thread's thread when all connections have
 * gone. */
void net_thread_drain(
    struct net_thread *thread, void (*on_drained)(struct net_thread *thread, void *context), void *context);

/* Ends the loop at once, whatever is open, and waits for the thread if there is one. The engine must not run.
 */
void net_thread_stop(struct net_thread *thread);

/* Stopped. */
void net_thread_destroy(struct net_thread *thread);

#endif
