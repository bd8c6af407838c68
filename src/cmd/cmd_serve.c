/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doorbuster serve`: puts the house together, runs it, and takes it down in order.
 *
 * The main thread listens and waits for signals on a loop of its own; net threads serve connections, the
 * engine thread decides. A shutdown goes: /readyz says so, the listeners close, net threads answer what they
 * have, the engine writes what it has, the store closes. A second signal, or the drain time-out, skips the
 * waiting but not the order, so nothing that was acknowledged is lost either way.
 */
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "api/net_thread.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/notify.h"
#include "cmd/serve_check.h"
#include "net/listener.h"
#include "service/service.h"
#include "store/fault.h"
#include "store/postgres.h"
#include "store/sqlite.h"

enum {
    ADMIN_KEY_BYTES = 16,
    FILES_RESERVED = 32,      /* for the store, the worker's readers of it, the listeners and the main loop */
    FILES_PER_NET_THREAD = 9, /* its loop, its reader of the store and its link to Redis */
};

/* Everything that runs, in the order in which it is made. */
struct server {
    struct params params;
    char random_key[2 * ADMIN_KEY_BYTES + 1];
    size_t file_limit;
    struct store *store;
    struct app app;
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_timer_t drain_timer;
    uv_async_t drained;
    bool has_loop;
    struct listener *listeners[PARAM_LIST_MAX];
    size_t listener_count;
    size_t next_net_thread;
    size_t made_count; /* net threads that exist */
    atomic_size_t drained_count;
    int signal_count;
};

/* --- settings --- */

static void choose_admin_key(struct server *server)
{
    struct app_config *config = &server->app.config;
    if (server->params.admin_key != NULL) {
        config->admin_key = slice_cstr(server->params.admin_key);
        return;
    }
    unsigned char bytes[ADMIN_KEY_BYTES];
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(server->random_key, sizeof server->random_key, bytes, sizeof bytes);
    config->admin_key = slice_cstr(server->random_key);
}

static size_t choose_net_thread_count(const struct params *params)
{
    if (params->net_threads > 0)
        return (size_t)params->net_threads;
    unsigned cores = uv_available_parallelism();
    return cores <= 2 ? 1 : cores - 1;
}

/* Every connection is an open file; some files are needed for the server itself. */
static enum err choose_connections_max(struct server *server, size_t *connections_max, struct error *error)
{
    size_t reserved = FILES_RESERVED + FILES_PER_NET_THREAD * choose_net_thread_count(&server->params);
    if (server->file_limit <= reserved)
        return error_set(error, ERR_IO,
            "this process may open %zu files, and the server needs more than %zu beside its connections; "
            "raise "
            "the limit (ulimit -n, LimitNOFILE=) or lower --net-threads",
            server->file_limit, reserved);
    *connections_max = server->file_limit - reserved;
    if (server->params.connections_max > 0 && (size_t)server->params.connections_max < *connections_max)
        *connections_max = (size_t)server->params.connections_max;
    return ERR_NONE;
}

static void fill_config(struct server *server, size_t connections_max)
{
    const struct params *params = &server->params;
    struct app_config *config = &server->app.config;
    size_t net_thread_count = choose_net_thread_count(params);
    http_config_init(&config->http);
    config->http.connection_count_max = (connections_max + net_thread_count - 1) / net_thread_count;
    config->http.body_bytes_max = (size_t)params->body_size_max;
    config->http.head_timeout_ms = params->head_timeout_ms;
    config->http.body_timeout_ms = params->body_timeout_ms;
    config->http.idle_timeout_ms = params->idle_timeout_ms;
    config->http.write_timeout_ms = params->write_timeout_ms;
    config->trusts_loopback = params->trust_loopback;
    config->says_sold_out = params->sold_out_reply == SOLD_OUT_REPLY_SOLD_OUT;
    config->answer_deadline_ms = params->answer_deadline_ms;
    config->sse_heartbeat_ms = params->sse_heartbeat_ms;
    config->sync_deadline_ms = params->sync_deadline_ms;
    config->currency = slice_cstr(params->currency);
    config->opening_balance_minor = serve_opening_balance_minor(params);
    config->wait_max_ms = params->wait_max_ms;
    config->ticket_timeout_ms = params->ticket_timeout_ms;
    server->app.net_thread_count = net_thread_count;
    choose_admin_key(server);
}

/* --- making --- */

static enum err open_store(struct server *server, struct error *error)
{
    enum err status = postgres_is_url(server->params.store)
                          ? postgres_store_open(server->params.store, &server->store, error)
                          : sqlite_store_open(server->params.store, &server->store, error);
    if (status != ERR_NONE || server->params.fault == NULL)
        return status;
    struct store *inner = server->store;
    server->store = NULL;
    return fault_store_wrap(inner, server->params.fault, &server->store, error);
}

static enum err make_engine(struct server *server, struct error *error)
{
    struct engine_config config = {
        .rules = {.says_sold_out = server->app.config.says_sold_out,
            .idempotency_ttl_ms = server->params.idempotency_ttl_ms,
            .idempotency_count_max = (size_t)server->params.idempotency_count_max,
            .notifies_by_webhook = server->params.webhook != NULL,
            .notifies_by_email = server->params.smtp != NULL,
            .dispense_ms = server->params.dispense_ms,
            .choose_timeout_ms = server->params.choose_timeout_ms,
            .line_max = (size_t)server->params.line_max},
        .line_depth_max = (size_t)server->params.line_depth_max,
        .staleness_max_ms = server->params.staleness_max_ms,
    };
    int64_t began_ns = clock_mono_ns();
    enum err status = engine_create(&config, server->store, &server->app.engine, error);
    char name[POSTGRES_NAME_LEN_MAX];
    postgres_name(server->params.store, name); /* a password stays out of the log */
    if (status == ERR_NONE)
        log_info("serve", "store %s loaded in %lld ms",
            server->store->is_shared ? name : server->params.store,
            (long long)((clock_mono_ns() - began_ns) / 1000000));
    return status;
}

/* Says what is wrong with --limits before anything is made. */
static enum err make_shared_limits(struct server *server, struct error *error)
{
    const struct params *params = &server->params;
    struct slice limits = slice_cstr(params->limits);
    if (slice_eq(limits, SLICE("memory")))
        return ERR_NONE;
    struct error reason;
    enum err status =
        shared_limits_create(limits, params->purchase_interval_ms, &server->app.shared_limits, &reason);
    if (status == ERR_USAGE)
        return error_set(error, status, "--limits is neither memory nor a good URL: %s", reason.message);
    if (status != ERR_NONE)
        return error_set(error, status, "%s", reason.message);
    if (params->purchase_interval_ms == 0) {
        shared_limits_destroy(server->app.shared_limits);
        server->app.shared_limits = NULL;
        log_info("serve", "--limits is without effect, since --purchase-interval is 0");
    }
    return ERR_NONE;
}

static enum err make_net_threads(struct server *server, struct error *error)
{
    struct app *app = &server->app;
    app->store = server->store;
    app->limits = limits_create(server->params.purchase_interval_ms);
    app->net_threads = calloc(app->net_thread_count, sizeof(struct net_thread *));
    if (app->limits == NULL || app->net_threads == NULL)
        return error_set(
            error, ERR_MEMORY, "no memory for %zu net threads; lower --net-threads", app->net_thread_count);
    for (size_t i = 0; i < app->net_thread_count; i++) {
        enum err status = net_thread_create(app, i, &app->net_threads[i], error);
        if (status != ERR_NONE)
            return status;
        server->made_count++;
    }
    return ERR_NONE;
}

static enum err make_service(struct server *server, struct error *error)
{
    const struct params *params = &server->params;
    bool is_simulated = slice_eq(slice_cstr(params->payment), SLICE("simulated"));
    int64_t slots_min = params->payment_slots_min;
    struct service_config config = {
        .payments = {.provider_url = is_simulated ? NULL : params->payment,
            .payment_ms = params->payment_time_ms,
            .decline_rate = params->payment_decline_rate,
            .seed = (uint64_t)params->payment_seed,
            .slots_min =
                (size_t)(slots_min < params->payment_slots_max ? slots_min : params->payment_slots_max),
            .slots_max = (size_t)params->payment_slots_max,
            .attempts_max = params->payment_attempts,
            .timeout_ms = params->payment_timeout_ms,
            .queue_max = (size_t)params->queue_max,
            .drain_ms = params->drain_timeout_ms,
            .allows_private_targets = params->allow_private_targets},
        .webhook_url = params->webhook,
        .webhook_secret = params->webhook_secret,
        .smtp_url = params->smtp,
        .mail_from = params->mail_from,
        .intake_sink_url = params->intake_sink,
        .allows_private_targets = params->allow_private_targets,
        .password_threads = (size_t)params->password_threads,
    };
    return service_create(&config, server->app.engine, server->store, &server->app.service, error);
}

static enum err start_threads(struct server *server, struct error *error)
{
    enum err status = engine_start(server->app.engine, error);
    if (status == ERR_NONE)
        status = service_start(server->app.service, error);
    for (size_t i = 0; status == ERR_NONE && i < server->made_count; i++)
        status = net_thread_start(server->app.net_threads[i], error);
    return status;
}

/* --- listening --- */

static void on_connection(int fd, void *context)
{
    struct server *server = context;
    if (server->made_count < server->app.net_thread_count) { /* it goes down before it was all made */
        (void)close(fd);
        return;
    }
    struct net_thread *thread = server->app.net_threads[server->next_net_thread];
    server->next_net_thread = (server->next_net_thread + 1) % server->app.net_thread_count;
    net_thread_adopt(thread, fd);
}

/* The address as asked for, with the port that it became. */
static void log_listening(const char *address, const struct listener *listener)
{
    const char *colon = strrchr(address, ':');
    int host_len = colon == NULL ? (int)strlen(address) : (int)(colon - address);
    log_info("serve", "listening on %.*s:%d", host_len, address, listener_port(listener));
}

static enum err listen_all(struct server *server, struct error *error)
{
    const struct param_list *addresses = &server->params.listen;
    for (size_t i = 0; i < addresses->count; i++) {
        enum err status = listener_open(&server->loop, slice_cstr(addresses->items[i]), on_connection, server,
            &server->listeners[i], error);
        if (status != ERR_NONE)
            return status;
        server->listener_count++;
    }
    return ERR_NONE;
}

static void announce(struct server *server)
{
    if (server->params.admin_key == NULL) {
        (void)printf("admin key (made for this run; set --admin-key to keep one): %s\n", server->random_key);
        (void)fflush(stdout);
    }
    for (size_t i = 0; i < server->listener_count; i++)
        log_listening(server->params.listen.items[i], server->listeners[i]);
    log_info("serve",
        "net threads: %zu, connections each: up to %zu, open files: up to %zu, accept queue: %d",
        server->app.net_thread_count, server->app.config.http.connection_count_max, server->file_limit,
        listener_backlog(server->listeners[0]));
    notify_manager("READY=1");
}

/* --- shutting down --- */

/* Ends the main loop; what is still open is closed by take_down. */
static void end_loop(struct server *server)
{
    uv_stop(&server->loop);
}

static void on_net_thread_drained(struct net_thread *thread, void *context)
{
    (void)thread;
    struct server *server = context;
    if (atomic_fetch_add(&server->drained_count, 1) + 1 == server->app.net_thread_count)
        uv_async_send(&server->drained);
}

static void on_all_drained(uv_async_t *handle)
{
    end_loop(handle->data);
}

static void on_drain_timeout(uv_timer_t *timer)
{
    log_warn("serve", "some clients have not taken their replies in time; closing their connections");
    end_loop(timer->data);
}

static void close_listeners(struct server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        listener_close(server->listeners[i]);
    server->listener_count = 0;
}

static void on_drain_delay(uv_timer_t *timer)
{
    struct server *server = timer->data;
    close_listeners(server);
    for (size_t i = 0; i < server->app.net_thread_count; i++)
        net_thread_drain(server->app.net_threads[i], on_net_thread_drained, server);
    uv_timer_start(timer, on_drain_timeout, (uint64_t)server->params.drain_timeout_ms, 0);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    if (++server->signal_count > 1) {
        log_warn("serve", "second signal: stopping at once");
        end_loop(server);
        return;
    }
    atomic_store(&server->app.is_draining, true);
    log_info("serve", "%s: answering what has been accepted, then stopping",
        number == SIGTERM ? "SIGTERM" : "SIGINT");
    notify_manager("STOPPING=1");
    uv_timer_start(&server->drain_timer, on_drain_delay, (uint64_t)server->params.drain_delay_ms, 0);
}

static enum err make_loop(struct server *server, struct error *error)
{
    static const int numbers[2] = {SIGTERM, SIGINT};
    if (uv_loop_init(&server->loop) != 0)
        return error_set(
            error, ERR_IO, "cannot make an event loop; raise the limit of open files (ulimit -n)");
    server->has_loop = true;
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(&server->loop, &server->drain_timer);
    server->drain_timer.data = server;
    uv_async_init(&server->loop, &server->drained, on_all_drained);
    server->drained.data = server;
    return ERR_NONE;
}

static void close_loop(struct server *server)
{
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    uv_close((uv_handle_t *)&server->drain_timer, NULL);
    uv_close((uv_handle_t *)&server->drained, NULL);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&server->loop);
    ENSURE(status == 0);
}

/*
 * Work for later first, which needs the engine to finish or to give back what it has claimed. Then the
 * engine: it answers what it holds into the ports. Then the net threads, which pass those answers on and
 * close. Only then may the engine's memory and the store go, and the main loop, whose door net threads knock
 * at when they have drained, and which keeps further signals from ending all this halfway.
 */
static void take_down(struct server *server)
{
    struct app *app = &server->app;
    close_listeners(server);
    if (app->service != NULL)
        service_stop(app->service);
    if (app->engine != NULL)
        engine_stop(app->engine);
    for (size_t i = 0; i < server->made_count; i++)
        net_thread_stop(app->net_threads[i]);
    if (server->has_loop)
        close_loop(server);
    for (size_t i = 0; i < server->made_count; i++)
        net_thread_destroy(app->net_threads[i]);
    free(app->net_threads);
    if (app->limits != NULL)
        limits_destroy(app->limits);
    if (app->shared_limits != NULL)
        shared_limits_destroy(app->shared_limits);
    if (app->service != NULL)
        service_destroy(app->service);
    if (app->engine != NULL)
        engine_destroy(app->engine);
    if (server->store != NULL)
        store_close(server->store);
}

/* What can be wrong with the command line or the machine comes first; the store is made last. */
static enum err make(struct server *server, struct error *error)
{
    if (sodium_init() < 0)
        return error_set(error, ERR_IO, "cannot set up libsodium; is the kernel's random source there?");
    (void)umask(S_IRWXG | S_IRWXO); /* the store names buyers: for this user's eyes only */
    size_t connections_max = 0;
    server->file_limit = listener_raise_file_limit();
    server->app.started_ns = clock_mono_ns();
    enum err status = serve_check(&server->params, error);
    if (status == ERR_NONE)
        status = choose_connections_max(server, &connections_max, error);
    if (status != ERR_NONE)
        return status;
    fill_config(server, connections_max);
    status = make_shared_limits(server, error);
    if (status == ERR_NONE)
        status = make_loop(server, error);
    if (status == ERR_NONE)
        status = listen_all(server, error);
    if (status == ERR_NONE)
        status = open_store(server, error);
    if (status == ERR_NONE)
        status = make_engine(server, error);
    if (status == ERR_NONE)
        status = make_net_threads(server, error);
    if (status == ERR_NONE)
        status = make_service(server, error);
    return status == ERR_NONE ? start_threads(server, error) : status;
}

int cmd_serve(int argc, char **argv)
{
    struct server server = {0};
    struct error error;
    enum err status = params_parse(&server.params, VERB_SERVE, argc, argv, &error);
    if (status == ERR_NONE) {
        log_init((enum log_level)server.params.log_level, (enum log_format)server.params.log_format);
        (void)signal(SIGPIPE, SIG_IGN);
        status = make(&server, &error);
    }
    if (status == ERR_NONE) {
        announce(&server);
        uv_run(&server.loop, UV_RUN_DEFAULT);
    }
    take_down(&server);
    int exit_status = status == ERR_NONE ? EXIT_WELL : cmd_fail(VERB_SERVE, &error);
    if (status == ERR_NONE)
        log_info("serve", "stopped");
    params_fini(&server.params);
    return exit_status;
}
