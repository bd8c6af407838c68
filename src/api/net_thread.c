/* SPDX-License-Identifier: Apache-2.0 */
#include "api/net_thread.h"

#include <stdlib.h>
#include <unistd.h>

#include "api/envelope.h"
#include "api/face.h"
#include "api/intake.h"
#include "api/market.h"
#include "api/metrics.h"
#include "api/orders.h"
#include "api/streams.h"
#include "api/vending.h"
#include "base/ensure.h"
#include "base/log.h"

enum { ADOPTED_SIZE_FIRST = 64 };

/* --- what the loop calls --- */

static void on_engine_wake(void *context)
{
    struct net_thread *thread = context;
    uv_async_send(&thread->wake);
}

static void on_view(const struct sale_view *before, const struct sale_view *now, void *context)
{
    (void)before;
    struct net_thread *thread = context;
    streams_on_view(thread->streams, now);
}

static void on_order(const struct order_view *now, void *context)
{
    struct net_thread *thread = context;
    orders_on_order(thread->orders, now);
}

static void on_ticket(const struct ticket_view *now, void *context)
{
    struct net_thread *thread = context;
    vending_on_ticket(thread->vending, now);
}

static void on_line(void *context)
{
    struct net_thread *thread = context;
    vending_on_line(thread->vending);
}

static void on_turn_end(void *context)
{
    struct net_thread *thread = context;
    engine_port_flush(thread->port);
    metrics_set_streams(thread->metrics, streams_count(thread->streams));
}

static void on_limits_turn_end(void *context)
{
    struct net_thread *thread = context;
    engine_port_flush(thread->port);
}

static void on_answered(const struct http_request *request, int status, int64_t duration_ns, void *context)
{
    struct net_thread *thread = context;
    metrics_count_answer(thread->metrics, request, status, duration_ns);
}

static void on_drained(void *context)
{
    struct net_thread *thread = context;
    thread->on_drained(thread, thread->on_drained_context);
}

/* Works for a thread that was made in part only. */
static void close_all(struct net_thread *thread)
{
    if (thread->limits_link != NULL)
        limits_link_close(thread->limits_link); /* what waits there can still be answered */
    if (thread->server != NULL)
        http_server_destroy(thread->server);
    thread->server = NULL;
    if (thread->streams != NULL)
        streams_close(thread->streams);
    if (thread->orders != NULL)
        orders_close(thread->orders);
    if (thread->vending != NULL)
        vending_close(thread->vending);
    uv_close((uv_handle_t *)&thread->wake, NULL);
}

/* Does what other threads have asked for. */
static void serve_requests_of_others(struct net_thread *thread)
{
    pthread_mutex_lock(&thread->lock);
    int *fds = thread->adopted_fds;
    size_t count = thread->adopted_count;
    thread->adopted_fds = NULL;
    thread->adopted_count = 0;
    thread->adopted_size = 0;
    bool is_asked_to_drain = thread->is_asked_to_drain;
    thread->is_asked_to_drain = false;
    bool is_asked_to_stop = thread->is_asked_to_stop;
    pthread_mutex_unlock(&thread->lock);

    for (size_t i = 0; i < count; i++)
        http_server_adopt(thread->server, fds[i]);
    free(fds);
    if (is_asked_to_drain)
        vending_drain(thread->vending);
    if (is_asked_to_drain)
        http_server_drain(thread->server, on_drained, thread);
    if (is_asked_to_stop)
        close_all(thread);
}

static void on_wake(uv_async_t *wake)
{
    struct net_thread *thread = wake->data;
    engine_port_receive(thread->port);
    intake_receive(thread->intake);
    serve_requests_of_others(thread);
}

/* --- life --- */

/* The routes of all faces, with this thread as context. */
static bool gather_routes(struct net_thread *thread)
{
    size_t count = 0;
    for (size_t f = 0; f < face_count; f++)
        count += faces[f]->route_count;
    thread->routes = calloc(count, sizeof *thread->routes);
    if (thread->routes == NULL)
        return false;
    for (size_t f = 0; f < face_count; f++) {
        for (size_t r = 0; r < faces[f]->route_count; r++) {
            struct http_route *route = &thread->routes[thread->route_count++];
            *route = faces[f]->routes[r];
            route->context = thread;
        }
    }
    return true;
}

static struct http_server *create_server(struct net_thread *thread)
{
    struct http_config config = thread->app->config.http;
    config.routes = thread->routes;
    config.route_count = thread->route_count;
    config.render_error = envelope_render_http_error;
    config.not_found = envelope_not_found;
    config.on_answered = on_answered;
    config.on_answered_context = thread;
    config.on_turn_end = on_turn_end;
    config.on_turn_end_context = thread;
    return http_server_create(&thread->loop, &config);
}

static enum err make_parts(struct net_thread *thread, struct error *error)
{
    struct app *app = thread->app;
    struct engine_port_events events = {.wake = on_engine_wake,
        .on_view = on_view,
        .on_order = on_order,
        .on_ticket = on_ticket,
        .on_line = on_line,
        .context = thread};
    thread->streams = streams_create(&thread->loop, app->config.sse_heartbeat_ms);
    enum err status = engine_port_open(app->engine, events, &thread->port, error);
    if (status != ERR_NONE)
        return status;
    thread->orders = orders_create(thread);
    thread->intake = intake_create(thread);
    thread->market = market_create(thread);
    thread->vending = vending_create(thread);
    if (thread->streams == NULL || thread->orders == NULL || thread->intake == NULL ||
        thread->market == NULL || thread->vending == NULL || !gather_routes(thread))
        return error_set(error, ERR_MEMORY, "no memory for net thread %zu", thread->index);
    thread->metrics = metrics_create(thread->routes, thread->route_count);
    thread->server = thread->metrics == NULL ? NULL : create_server(thread);
    if (thread->server == NULL)
        return error_set(error, ERR_MEMORY, "no memory for net thread %zu", thread->index);
    if (app->shared_limits == NULL)
        return ERR_NONE;
    thread->limits_link = limits_link_create(app->shared_limits, &thread->loop, on_limits_turn_end, thread);
    if (thread->limits_link == NULL)
        return error_set(error, ERR_MEMORY, "no memory for net thread %zu", thread->index);
    return ERR_NONE;
}

enum err net_thread_create(struct app *app, size_t index, struct net_thread **out, struct error *error)
{
    struct net_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL || uv_loop_init(&thread->loop) != 0) {
        free(thread);
        return error_set(
            error, ERR_MEMORY, "cannot make net thread %zu; raise the limit of open files", index);
    }
    thread->app = app;
    thread->index = index;
    pthread_mutex_init(&thread->lock, NULL);
    uv_async_init(&thread->loop, &thread->wake, on_wake);
    thread->wake.data = thread;
    enum err status = make_parts(thread, error);
    if (status == ERR_NONE) {
        *out = thread;
        return ERR_NONE;
    }
    net_thread_stop(thread);
    net_thread_destroy(thread);
    return status;
}

static void *net_thread_main(void *argument)
{
    struct net_thread *thread = argument;
    uv_run(&thread->loop, UV_RUN_DEFAULT);
    return NULL;
}

enum err net_thread_start(struct net_thread *thread, struct error *error)
{
    if (pthread_create(&thread->handle, NULL, net_thread_main, thread) != 0)
        return error_set(error, ERR_MEMORY, "cannot start net thread %zu; is the limit of processes reached?",
            thread->index);
    thread->is_started = true;
    return ERR_NONE;
}

void net_thread_adopt(struct net_thread *thread, int fd)
{
    pthread_mutex_lock(&thread->lock);
    if (thread->adopted_count == thread->adopted_size) {
        size_t size = thread->adopted_size == 0 ? ADOPTED_SIZE_FIRST : thread->adopted_size * 2;
        int *fds = realloc(thread->adopted_fds, size * sizeof *fds);
        if (fds != NULL) {
            thread->adopted_fds = fds;
            thread->adopted_size = size;
        }
    }
    bool has_room = thread->adopted_count < thread->adopted_size;
    if (has_room)
        thread->adopted_fds[thread->adopted_count++] = fd;
    pthread_mutex_unlock(&thread->lock);
    if (has_room)
        uv_async_send(&thread->wake);
    else
        close(fd);
}

void net_thread_drain(
    struct net_thread *thread, void (*drained)(struct net_thread *thread, void *context), void *context)
{
    pthread_mutex_lock(&thread->lock);
    thread->on_drained = drained;
    thread->on_drained_context = context;
    thread->is_asked_to_drain = true;
    pthread_mutex_unlock(&thread->lock);
    uv_async_send(&thread->wake);
}

void net_thread_stop(struct net_thread *thread)
{
    if (!thread->is_started) {
        close_all(thread);
        uv_run(&thread->loop, UV_RUN_DEFAULT);
        return;
    }
    pthread_mutex_lock(&thread->lock);
    thread->is_asked_to_stop = true;
    pthread_mutex_unlock(&thread->lock);
    uv_async_send(&thread->wake);
    pthread_join(thread->handle, NULL);
}

void net_thread_destroy(struct net_thread *thread)
{
    int status = uv_loop_close(&thread->loop);
    ENSURE(status == 0);
    if (thread->port != NULL)
        engine_port_close(thread->port);
    if (thread->streams != NULL)
        streams_destroy(thread->streams);
    if (thread->orders != NULL)
        orders_destroy(thread->orders);
    if (thread->intake != NULL)
        intake_destroy(thread->intake);
    if (thread->market != NULL)
        market_destroy(thread->market);
    if (thread->vending != NULL)
        vending_destroy(thread->vending);
    if (thread->limits_link != NULL)
        limits_link_destroy(thread->limits_link);
    metrics_destroy(thread->metrics);
    pthread_mutex_destroy(&thread->lock);
    free(thread->routes);
    free(thread->adopted_fds);
    free(thread);
}
