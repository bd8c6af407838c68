/* SPDX-License-Identifier: Apache-2.0 */
#include "api/worker.h"

#include <stdlib.h>
#include <unistd.h>

#include "api/envelope.h"
#include "api/face.h"
#include "api/metrics.h"
#include "api/streams.h"
#include "base/ensure.h"
#include "base/log.h"

enum { ADOPTED_SIZE_FIRST = 64 };

/* --- what the loop calls ----------------------------------------------------------------------------------- */

static void on_engine_wake(void *context)
{
    struct worker *worker = context;
    uv_async_send(&worker->wake);
}

static void on_view(const struct sale_view *before, const struct sale_view *now, void *context)
{
    (void)before;
    struct worker *worker = context;
    streams_on_view(worker->streams, now);
}

static void on_turn_end(void *context)
{
    struct worker *worker = context;
    engine_port_flush(worker->port);
    metrics_set_streams(worker->metrics, streams_count(worker->streams));
}

static void on_answered(const struct http_request *request, int status, int64_t duration_ns, void *context)
{
    struct worker *worker = context;
    metrics_count_answer(worker->metrics, request, status, duration_ns);
}

static void on_drained(void *context)
{
    struct worker *worker = context;
    worker->on_drained(worker, worker->on_drained_context);
}

/* Works for a worker that was made in part only. */
static void close_all(struct worker *worker)
{
    if (worker->server != NULL)
        http_server_destroy(worker->server);
    worker->server = NULL;
    if (worker->streams != NULL)
        streams_close(worker->streams);
    uv_close((uv_handle_t *)&worker->wake, NULL);
}

/* Does what other threads have asked for. */
static void serve_requests_of_others(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    int *fds = worker->adopted_fds;
    size_t count = worker->adopted_count;
    worker->adopted_fds = NULL;
    worker->adopted_count = 0;
    worker->adopted_size = 0;
    bool is_asked_to_drain = worker->is_asked_to_drain;
    worker->is_asked_to_drain = false;
    bool is_asked_to_stop = worker->is_asked_to_stop;
    pthread_mutex_unlock(&worker->lock);

    for (size_t i = 0; i < count; i++)
        http_server_adopt(worker->server, fds[i]);
    free(fds);
    if (is_asked_to_drain)
        http_server_drain(worker->server, on_drained, worker);
    if (is_asked_to_stop)
        close_all(worker);
}

static void on_wake(uv_async_t *wake)
{
    struct worker *worker = wake->data;
    engine_port_receive(worker->port);
    serve_requests_of_others(worker);
}

/* --- life -------------------------------------------------------------------------------------------------- */

/* The routes of all faces, with this worker as context. */
static bool gather_routes(struct worker *worker)
{
    size_t count = 0;
    for (size_t f = 0; f < face_count; f++)
        count += faces[f]->route_count;
    worker->routes = calloc(count, sizeof *worker->routes);
    if (worker->routes == NULL)
        return false;
    for (size_t f = 0; f < face_count; f++) {
        for (size_t r = 0; r < faces[f]->route_count; r++) {
            struct http_route *route = &worker->routes[worker->route_count++];
            *route = faces[f]->routes[r];
            route->context = worker;
        }
    }
    return true;
}

static struct http_server *create_server(struct worker *worker)
{
    struct http_config config = worker->app->config.http;
    config.routes = worker->routes;
    config.route_count = worker->route_count;
    config.render_error = envelope_render_http_error;
    config.not_found = envelope_not_found;
    config.on_answered = on_answered;
    config.on_answered_context = worker;
    config.on_turn_end = on_turn_end;
    config.on_turn_end_context = worker;
    return http_server_create(&worker->loop, &config);
}

static enum err make_parts(struct worker *worker, struct error *error)
{
    struct app *app = worker->app;
    struct engine_port_events events = {.wake = on_engine_wake, .on_view = on_view, .context = worker};
    worker->streams = streams_create(&worker->loop, app->config.sse_heartbeat_ms);
    worker->port = engine_port_open(app->engine, events);
    if (worker->streams == NULL || worker->port == NULL || !gather_routes(worker))
        return error_set(error, ERR_MEMORY, "no memory for net thread %zu", worker->index);
    worker->metrics = metrics_create(worker->routes, worker->route_count);
    worker->server = worker->metrics == NULL ? NULL : create_server(worker);
    if (worker->server == NULL)
        return error_set(error, ERR_MEMORY, "no memory for net thread %zu", worker->index);
    return store_reader_open(app->store, &worker->reader, error);
}

enum err worker_create(struct app *app, size_t index, struct worker **out, struct error *error)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL || uv_loop_init(&worker->loop) != 0) {
        free(worker);
        return error_set(error, ERR_MEMORY, "cannot make net thread %zu; raise the limit of open files", index);
    }
    worker->app = app;
    worker->index = index;
    pthread_mutex_init(&worker->lock, NULL);
    uv_async_init(&worker->loop, &worker->wake, on_wake);
    worker->wake.data = worker;
    enum err status = make_parts(worker, error);
    if (status == ERR_NONE) {
        *out = worker;
        return ERR_NONE;
    }
    worker_stop(worker);
    worker_destroy(worker);
    return status;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    return NULL;
}

enum err worker_start(struct worker *worker, struct error *error)
{
    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
        return error_set(error, ERR_MEMORY, "cannot start net thread %zu; is the limit of processes reached?",
            worker->index);
    worker->is_started = true;
    return ERR_NONE;
}

void worker_adopt(struct worker *worker, int fd)
{
    pthread_mutex_lock(&worker->lock);
    if (worker->adopted_count == worker->adopted_size) {
        size_t size = worker->adopted_size == 0 ? ADOPTED_SIZE_FIRST : worker->adopted_size * 2;
        int *fds = realloc(worker->adopted_fds, size * sizeof *fds);
        if (fds != NULL) {
            worker->adopted_fds = fds;
            worker->adopted_size = size;
        }
    }
    bool has_room = worker->adopted_count < worker->adopted_size;
    if (has_room)
        worker->adopted_fds[worker->adopted_count++] = fd;
    pthread_mutex_unlock(&worker->lock);
    if (has_room)
        uv_async_send(&worker->wake);
    else
        close(fd);
}

void worker_drain(struct worker *worker, void (*drained)(struct worker *worker, void *context), void *context)
{
    pthread_mutex_lock(&worker->lock);
    worker->on_drained = drained;
    worker->on_drained_context = context;
    worker->is_asked_to_drain = true;
    pthread_mutex_unlock(&worker->lock);
    uv_async_send(&worker->wake);
}

void worker_stop(struct worker *worker)
{
    if (!worker->is_started) {
        close_all(worker);
        uv_run(&worker->loop, UV_RUN_DEFAULT);
        return;
    }
    pthread_mutex_lock(&worker->lock);
    worker->is_asked_to_stop = true;
    pthread_mutex_unlock(&worker->lock);
    uv_async_send(&worker->wake);
    pthread_join(worker->thread, NULL);
}

void worker_destroy(struct worker *worker)
{
    int status = uv_loop_close(&worker->loop);
    ENSURE(status == 0);
    if (worker->port != NULL)
        engine_port_close(worker->port);
    if (worker->reader != NULL)
        store_reader_close(worker->reader);
    if (worker->streams != NULL)
        streams_destroy(worker->streams);
    metrics_destroy(worker->metrics);
    pthread_mutex_destroy(&worker->lock);
    free(worker->routes);
    free(worker->adopted_fds);
    free(worker);
}
