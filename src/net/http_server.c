/* SPDX-License-Identifier: Apache-2.0 */
/* Connections come, go, and are cut by deadlines. */
#include "net/http_server.h"

#include "base/ensure.h"
#include "net/http_priv.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TICK_MS_MIN = 5,
    TICK_MS_MAX = 100,
    TRIM_MS = 1000,
    DRAIN_GRACE_MS = 200, /* for the first request of a connection that is new when draining begins */
    KEEP_BLOCKS = 256,    /* unused buffers that keep their memory: about 3 MiB */
    CONFIG_HEAD_BYTES_MAX = 32 * 1024 /* a head's correlation id must fit the scratch buffer */
};

void http_config_init(struct http_config *config)
{
    *config = (struct http_config){
        .head_bytes_max = 16 * 1024,
        .body_bytes_max = 1024 * 1024,
        .input_bytes_max = 64 * 1024 * 1024,
        .request_arena_bytes = 4 * 1024,
        .connection_count_max = 65536,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 30000,
        .idle_timeout_ms = 75000,
        .write_timeout_ms = 10000,
    };
}

/* --- States --- */

#define BIT(state) (1u << (state))
#define BETWEEN (BIT(CONN_IDLE) | BIT(CONN_HEAD) | BIT(CONN_BODY) | BIT(CONN_WAITING))
#define ENDING (BIT(CONN_WRITING) | BIT(CONN_LINGERING) | BIT(CONN_CLOSING))

static const unsigned allowed_moves[CONN_STATE_COUNT] = {
    [CONN_IDLE] = BETWEEN | ENDING,
    [CONN_HEAD] = BETWEEN | ENDING,
    [CONN_BODY] = BETWEEN | ENDING,
    [CONN_WAITING] = BETWEEN | ENDING | BIT(CONN_STREAMING) | BIT(CONN_STREAM_WRITING),
    [CONN_WRITING] = BETWEEN | ENDING,
    [CONN_STREAMING] = BETWEEN | ENDING | BIT(CONN_STREAM_WRITING),
    [CONN_STREAM_WRITING] = BETWEEN | ENDING | BIT(CONN_STREAMING),
    [CONN_LINGERING] = BIT(CONN_CLOSING),
    [CONN_CLOSING] = 0,
};

void conn_move(struct connection *conn, enum conn_state state)
{
    struct http_server *server = conn->server;
    ENSURE(allowed_moves[conn->state] & BIT(state) && conn->state != state);
    list_remove(&conn->node);
    list_append(&server->states[state], &conn->node);
    conn->state = (uint8_t)state;
    conn->deadline_ms = (int64_t)uv_now(server->loop) + server->limits_ms[state];
}

/* --- Going --- */

static void release(struct http_server *server)
{
    if (--server->handle_count > 0)
        return;
    while (!list_is_empty(&server->large_inputs)) {
        struct list *large = list_first(&server->large_inputs); /* of requests that were never answered */
        list_remove(large);
        free(large);
    }
    http_router_fini(&server->router);
    pool_fini(&server->conns);
    pool_fini(&server->streams);
    block_pool_fini(&server->inputs);
    block_pool_fini(&server->exchanges);
    free(server);
}

static size_t open_count(const struct http_server *server)
{
    return atomic_load_explicit(&server->counters.connections, memory_order_relaxed);
}

static void on_conn_closed(uv_handle_t *handle)
{
    struct connection *conn = (struct connection *)(void *)handle;
    struct http_server *server = conn->server;
    streams_sweep(server);
    list_remove(&conn->node);
    server->refused_count -= conn->is_refused;
    pool_put(&server->conns, conn);
    COUNTER_ADD(server->counters.connections, -1);
    if (open_count(server) == 0)
        uv_unref((uv_handle_t *)&server->before_poll);
    if (open_count(server) == 0 && server->on_drained != NULL) {
        void (*on_drained)(void *context) = server->on_drained;
        server->on_drained = NULL;
        on_drained(server->on_drained_context);
    }
    release(server);
}

/* Parts from the request, which lives on if a handler has it, and from the stream. */
static void detach(struct connection *conn)
{
    struct http_server *server = conn->server;
    struct exchange *exchange = conn->exchange;
    if (exchange != NULL) {
        exchange->conn = NULL;
        exchange->input = conn->input;
        conn->exchange = NULL;
        conn->input = (struct input){0};
    }
    input_free(server, &conn->input);
    if (conn->stream != NULL)
        stream_on_gone(conn->stream);
    list_remove(&conn->ready_node);
    list_remove(&conn->half_closed_node);
    conn_move(conn, CONN_CLOSING);
    if (exchange != NULL && exchange->request.on_gone != NULL && !server->is_ending)
        exchange->request.on_gone(&exchange->request, exchange->request.on_gone_context);
}

void conn_close(struct connection *conn)
{
    if (conn->state == CONN_CLOSING)
        return;
    detach(conn);
    uv_close((uv_handle_t *)&conn->tcp, on_conn_closed);
}

void conn_reset(struct connection *conn)
{
    if (conn->state == CONN_CLOSING)
        return;
    detach(conn);
    if (uv_tcp_close_reset(&conn->tcp, on_conn_closed) != 0)
        uv_close((uv_handle_t *)&conn->tcp, on_conn_closed);
}

/* --- Deadlines --- */

static void on_deadline(struct connection *conn)
{
    if (conn->state != CONN_LINGERING)
        COUNTER_ADD(conn->server->counters.timeouts, 1);
    switch ((enum conn_state)conn->state) {
    case CONN_HEAD:
    case CONN_BODY:
        if (conn->input.start == conn->input.end)
            conn_close(conn);
        else
            conn_refuse(conn, HTTP_FAULT_TIMEOUT);
        break;
    case CONN_WRITING:
    case CONN_STREAM_WRITING:
        conn_reset(conn);
        break;
    case CONN_IDLE:
        if (conn->server->is_draining) /* a loop that was held up has not yet heard of what came meanwhile */
            conn_read_now(conn);
        if (conn->state == CONN_IDLE)
            conn_close(conn);
        break;
    case CONN_LINGERING:
        conn_close(conn);
        break;
    default:
        ENSURE(conn->server->limits_ms[conn->state] > 0); /* a state without a limit has no deadline */
    }
}

static void cut_late_ones(struct http_server *server, enum conn_state state, int64_t now_ms)
{
    struct list *node;
    while ((node = list_first(&server->states[state])) != NULL) {
        struct connection *conn = CONTAINER_OF(node, struct connection, node);
        if (conn->deadline_ms > now_ms)
            return;
        on_deadline(conn);
        ENSURE(conn->state != state);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    int64_t now_ms = (int64_t)uv_now(server->loop);
    for (int state = 0; state < CONN_STATE_COUNT; state++) {
        if (server->limits_ms[state] > 0)
            cut_late_ones(server, (enum conn_state)state, now_ms);
    }
    half_closed_look(server);
    if (now_ms < server->trim_at_ms)
        return;
    server->trim_at_ms = now_ms + TRIM_MS;
    block_pool_trim(&server->inputs);
    block_pool_trim(&server->exchanges);
    if (open_count(server) == 0)
        (void)uv_timer_stop(timer);
}

static uint64_t tick_ms(const struct http_config *config)
{
    int64_t limits[] = {
        config->head_timeout_ms, config->body_timeout_ms, config->idle_timeout_ms, config->write_timeout_ms};
    int64_t tick = TICK_MS_MAX;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        ENSURE(limits[i] > 0);
        if (limits[i] / 4 < tick)
            tick = limits[i] / 4;
    }
    return (uint64_t)(tick < TICK_MS_MIN ? TICK_MS_MIN : tick);
}

/* --- Turns of the loop --- */

/*
 * Runs before the loop waits and after it has served its sockets. The second is the usual place; the first
 * catches what a timer or another thread's message set off, so that nothing gathered lies around while the
 * loop sleeps.
 */
static void serve_ready(struct http_server *server)
{
    struct list *node;
    while ((node = list_first(&server->ready)) != NULL)
        conn_serve(CONTAINER_OF(node, struct connection, ready_node)); /* takes it off */
}

static void end_turn(struct http_server *server)
{
    server->turn_ns = 0;
    do {
        streams_sweep(server);
        serve_ready(server);
        bool has_served = server->has_served;
        server->has_served = false;
        if (has_served && server->config.on_turn_end != NULL)
            server->config.on_turn_end(server->config.on_turn_end_context);
    } while (!list_is_empty(&server->ready) || !list_is_empty(&server->gone_streams));
    /* It ends: nothing is read meanwhile. */
}

static void read_paused(struct http_server *server)
{
    struct list *node;
    while ((node = list_first(&server->paused)) != NULL) {
        list_remove(node);
        conn_start_reading(CONTAINER_OF(node, struct connection, ready_node));
    }
}

static void on_before_poll(uv_prepare_t *prepare)
{
    end_turn(prepare->data);
    read_paused(prepare->data);
}

static void on_after_poll(uv_check_t *check)
{
    end_turn(check->data);
}

/* --- Making one --- */

static void init_handles(struct http_server *server)
{
    /* None of these can fail, says libuv's manual. */
    (void)uv_timer_init(server->loop, &server->timer);
    (void)uv_prepare_init(server->loop, &server->before_poll);
    (void)uv_check_init(server->loop, &server->after_poll);
    (void)uv_prepare_start(&server->before_poll, on_before_poll);
    (void)uv_check_start(&server->after_poll, on_after_poll);
    uv_handle_t *handles[] = {(uv_handle_t *)&server->timer, (uv_handle_t *)&server->before_poll,
        (uv_handle_t *)&server->after_poll};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        handles[i]->data = server;
        uv_unref(handles[i]); /* connections keep the loop running, nothing else does */
        server->handle_count++;
    }
}

static void init_limits(struct http_server *server)
{
    const struct http_config *config = &server->config;
    server->limits_ms[CONN_IDLE] = config->idle_timeout_ms;
    server->limits_ms[CONN_HEAD] = config->head_timeout_ms;
    server->limits_ms[CONN_BODY] = config->body_timeout_ms;
    server->limits_ms[CONN_WRITING] = config->write_timeout_ms;
    server->limits_ms[CONN_STREAM_WRITING] = config->write_timeout_ms;
    server->limits_ms[CONN_LINGERING] = LINGER_MS;
}

struct http_server *http_server_create(uv_loop_t *loop, const struct http_config *config)
{
    ENSURE(config->head_bytes_max <= CONFIG_HEAD_BYTES_MAX);
    ENSURE(config->body_bytes_max <= UINT32_MAX / 4);
    struct http_server *server = calloc(1, sizeof *server);
    if (server == NULL || !http_router_init(&server->router, config->routes, config->route_count)) {
        free(server);
        return NULL;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* libuv writes with write(2) */
    server->loop = loop;
    server->config = *config;
    for (int state = 0; state < CONN_STATE_COUNT; state++)
        list_init(&server->states[state]);
    list_init(&server->gone_streams);
    list_init(&server->ready);
    list_init(&server->paused);
    list_init(&server->half_closed);
    list_init(&server->large_inputs);
    init_limits(server);
    size_t conn_max = config->connection_count_max + REFUSED_COUNT_MAX;
    pool_init(&server->conns, sizeof(struct connection), conn_max);
    pool_init(&server->streams, http_stream_size(), conn_max);
    block_pool_init(&server->inputs, INPUT_BYTES, KEEP_BLOCKS);
    block_pool_init(&server->exchanges, sizeof(struct exchange) + config->request_arena_bytes, KEEP_BLOCKS);
    id_source_init(&server->ids);
    init_handles(server);
    return server;
}

/* --- Coming --- */

static bool is_loopback(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0)
        return false;
    if (address.ss_family == AF_INET)
        return (ntohl(((struct sockaddr_in *)&address)->sin_addr.s_addr) >> 24) == 127;
    if (address.ss_family != AF_INET6)
        return false;
    const struct in6_addr *ip = &((struct sockaddr_in6 *)&address)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
}

static struct connection *conn_create(struct http_server *server, int fd)
{
    struct connection *conn = pool_take(&server->conns);
    if (conn == NULL)
        return NULL;
    *conn = (struct connection){.server = server, .state = CONN_HEAD, .is_fresh = true};
    conn->is_from_loopback = is_loopback(fd);
    (void)uv_tcp_init(server->loop, &conn->tcp); /* cannot fail without a socket */
    list_init(&conn->node);
    list_init(&conn->ready_node);
    list_init(&conn->half_closed_node);
    list_append(&server->states[CONN_HEAD], &conn->node);
    conn->deadline_ms = (int64_t)uv_now(server->loop) + server->limits_ms[CONN_HEAD];
    server->handle_count++;
    /* A connection that is half closed and waits for its answer would not keep the loop running by itself. */
    if (open_count(server) == 0)
        uv_ref((uv_handle_t *)&server->before_poll);
    COUNTER_ADD(server->counters.connections, 1);
    return conn;
}

void http_server_adopt(struct http_server *server, int fd)
{
    bool is_refused = server->is_draining ||
                      open_count(server) - server->refused_count >= server->config.connection_count_max;
    COUNTER_ADD(server->counters.accepted, 1);
    if (is_refused)
        COUNTER_ADD(server->counters.refused, 1);
    struct connection *conn =
        is_refused && server->refused_count == REFUSED_COUNT_MAX ? NULL : conn_create(server, fd);
    if (conn == NULL) {
        (void)close(fd);
        return;
    }
    conn->is_refused = is_refused;
    server->refused_count += is_refused;
    if (!uv_is_active((uv_handle_t *)&server->timer))
        (void)uv_timer_start(&server->timer, on_tick, tick_ms(&server->config), tick_ms(&server->config));
    if (uv_tcp_open(&conn->tcp, fd) != 0) {
        (void)close(fd);
        conn_close(conn);
    } else if (is_refused) {
        conn_reply_fault(conn, HTTP_FAULT_BUSY, true);
    } else {
        conn_start_reading(conn);
    }
}

/* --- Ending --- */

static void drain_list(
    struct http_server *server, enum conn_state state, void (*drain)(struct connection *conn))
{
    struct list *list = &server->states[state];
    struct list *next;
    for (struct list *node = list->next; node != list; node = next) {
        next = node->next;
        drain(CONTAINER_OF(node, struct connection, node));
    }
}

static void drain_waiting(struct connection *conn)
{
    conn->is_last = true;
}

/* Nothing was received yet, so a request is on its way or already in the kernel: it is given time to come. */
static void drain_fresh(struct connection *conn)
{
    if (conn->input.start != conn->input.end)
        return;
    conn_read_now(conn);
    if (conn->state == CONN_HEAD && conn->is_fresh)
        conn_move(conn, CONN_IDLE); /* for its limit */
}

static void drain_stream(struct connection *conn)
{
    conn->is_last = true;
    http_stream_end(conn->stream);
}

void http_server_drain(struct http_server *server, void (*on_drained)(void *context), void *context)
{
    ENSURE(!server->is_draining);
    server->is_draining = true;
    drain_list(server, CONN_IDLE, conn_read_now);
    if (server->limits_ms[CONN_IDLE] > DRAIN_GRACE_MS)
        server->limits_ms[CONN_IDLE] = DRAIN_GRACE_MS; /* of that list, which is empty now */
    drain_list(server, CONN_HEAD, drain_fresh);
    drain_list(server, CONN_WAITING, drain_waiting);
    drain_list(server, CONN_WRITING, drain_waiting);
    drain_list(server, CONN_STREAMING, drain_stream);
    drain_list(server, CONN_STREAM_WRITING, drain_stream);
    if (open_count(server) == 0) {
        on_drained(context);
        return;
    }
    server->on_drained = on_drained;
    server->on_drained_context = context;
}

static void on_handle_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void http_server_destroy(struct http_server *server)
{
    server->on_drained = NULL;
    server->is_ending = true;
    for (int state = 0; state < CONN_CLOSING; state++)
        drain_list(server, (enum conn_state)state, conn_close);
    streams_sweep(server);
    uv_close((uv_handle_t *)&server->timer, on_handle_closed);
    uv_close((uv_handle_t *)&server->before_poll, on_handle_closed);
    uv_close((uv_handle_t *)&server->after_poll, on_handle_closed);
}

void http_server_stats(const struct http_server *server, struct http_server_stats *stats)
{
    const struct counters *counters = &server->counters;
    *stats = (struct http_server_stats){
        .connections_accepted = atomic_load_explicit(&counters->accepted, memory_order_relaxed),
        .connections_refused = atomic_load_explicit(&counters->refused, memory_order_relaxed),
        .requests_malformed = atomic_load_explicit(&counters->malformed, memory_order_relaxed),
        .timeouts = atomic_load_explicit(&counters->timeouts, memory_order_relaxed),
        .connection_count = open_count(server),
        .stream_count = atomic_load_explicit(&counters->streams, memory_order_relaxed),
    };
}
