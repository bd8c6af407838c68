/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's face: /livez (the process answers), /readyz (send it traffic), /health (flash-sale
 * contract 2.9, orders contract) and /metrics (2.10). No key is asked for: they tell nothing about buyers.
 */
#include "api/envelope.h"
#include "api/face.h"
#include "api/metrics.h"
#include "api/net_thread.h"
#include "base/clock.h"
#include "net/http_query.h"
#include "service/service.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

static void livez_get(struct http_request *request, void *context)
{
    (void)context;
    http_reply(request, 200, CONTENT_TYPE_JSON, slice_make("", 0), SLICE("{\"status\":\"live\"}"));
}

/* Why no traffic should come, perhaps written into *error; NULL when it should. Payments may be left out, for
 * a balancer whose nodes all ask the same provider: to send nobody would then stop sales too. */
static const char *not_ready_because(const struct app *app, bool with_payments, struct error *error)
{
    if (atomic_load(&app->is_draining))
        return "the server is shutting down";
    switch (engine_state(app->engine)) {
    case ENGINE_SERVING:
        return !with_payments || payments_is_ready(service_payments(app->service), error) ? NULL
                                                                                          : error->message;
    case ENGINE_FAILING:
        return "the store cannot be written; the server tries again by itself";
    case ENGINE_HALTED:
        return "what is in the store is not known for sure; restart the server";
    case ENGINE_STOPPING:
        break;
    }
    return "the server is stopping";
}

/* Who counts the attempts of a user: this node alone, or all together; and why not, when they should. */
static void put_limits(const struct app *app, struct strbuf *body)
{
    struct shared_limits_status status;
    if (app->shared_limits == NULL) {
        strbuf_lit(body, ",\"limits\":\"memory\"");
        return;
    }
    shared_limits_status(app->shared_limits, &status);
    if (status.is_shared) {
        strbuf_lit(body, ",\"limits\":\"shared\"");
        return;
    }
    strbuf_lit(body, ",\"limits\":\"local\",\"limitsReason\":");
    strbuf_put_json(body, slice_cstr(status.reason));
}

static void put_verbose(const struct app *app, struct strbuf *body)
{
    struct engine_stats stats;
    struct error error;
    engine_stats(app->engine, &stats);
    engine_last_error(app->engine, &error);
    strbuf_printf(body,
        ",\"engine\":\"%s\",\"store\":\"%s\",\"lineDepth\":%zu,\"expectedWaitMs\":%lld,\"lastError\":",
        engine_state_name(engine_state(app->engine)), app->store->kind, stats.line_depth,
        (long long)(stats.expected_wait_ns / NS_PER_MS));
    if (error.code == ERR_NONE)
        strbuf_lit(body, "null");
    else
        strbuf_put_json(body, slice_cstr(error.message));
    put_limits(app, body);
    if (app->store->is_shared)
        strbuf_printf(
            body, ",\"otherNodes\":\"%s\"", engine_views_are_fresh(app->engine) ? "heard" : "not heard");
}

static bool has_parameter(struct http_request *request, struct slice wanted, struct slice expected)
{
    struct slice query = request->query;
    struct slice name;
    struct slice value;
    bool is_malformed = false;
    while (http_query_next(&request->arena, &query, &name, &value, &is_malformed)) {
        if (slice_eq(name, wanted) && (expected.len == 0 || slice_eq(value, expected)))
            return true;
    }
    return false;
}

static void readyz_get(struct http_request *request, void *context)
{
    const struct net_thread *thread = context;
    struct error error;
    bool is_verbose = has_parameter(request, SLICE("verbose"), SLICE(""));
    bool with_payments = !has_parameter(request, SLICE("exclude"), SLICE("payments"));
    const char *reason = not_ready_because(thread->app, with_payments, &error);
    char memory[REPLY_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body, "{\"status\":\"%s\"", reason == NULL ? "ready" : "not ready");
    if (reason != NULL) {
        strbuf_lit(&body, ",\"reason\":");
        strbuf_put_json(&body, slice_cstr(reason));
    }
    if (is_verbose)
        put_verbose(thread->app, &body);
    strbuf_put_char(&body, '}');
    reply_json(request, reason == NULL ? 200 : 503,
        reason == NULL ? slice_make("", 0) : SLICE("Retry-After: 1\r\n"), &body);
}

/*
 * The original asked two stores. Here one answers, under the name where the contract's clients look for the
 * durable one, whatever kind it is. The latency is a commit's, on average. The other is the shared limiter;
 * without one it is not configured, which the contract counts as fine. It may also be down without making the
 * server unhealthy, since no sale waits for it.
 */
static void put_redis_check(const struct app *app, struct strbuf *body)
{
    struct shared_limits_status status;
    if (app->shared_limits == NULL) {
        strbuf_lit(body, "\"redis\":{\"status\":\"not_configured\",\"latencyMs\":0},");
        return;
    }
    shared_limits_status(app->shared_limits, &status);
    uint64_t wait_ns = status.shared_total == 0 ? 0 : status.wait_ns_total / status.shared_total;
    strbuf_printf(body, "\"redis\":{\"status\":\"%s\",\"latencyMs\":%llu},", status.is_shared ? "up" : "down",
        (unsigned long long)(wait_ns / NS_PER_MS));
}

/* One body for the clients of all contracts: each looks at its own members. Healthy says that the process
 * works; whether orders can be served in time is what /readyz tells. */
static void health_get(struct http_request *request, void *context)
{
    const struct net_thread *thread = context;
    const struct app *app = thread->app;
    enum engine_state state = engine_state(app->engine);
    bool is_up = state == ENGINE_SERVING || state == ENGINE_STOPPING;
    const char *status = is_up ? "healthy" : "degraded";
    struct engine_stats stats;
    struct payments_stats payments;
    engine_stats(app->engine, &stats);
    payments_stats(service_payments(app->service), &payments);
    uint64_t commit_ns = stats.batches_total == 0 ? 0 : stats.commit_ns_total / stats.batches_total;
    char memory[1024];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body, "{\"success\":true,\"data\":{\"status\":\"%s\",\"uptime\":%lld,\"checks\":{", status,
        (long long)((clock_mono_ns() - app->started_ns) / NS_PER_S));
    put_redis_check(app, &body);
    strbuf_printf(&body, "\"postgresql\":{\"status\":\"%s\",\"latencyMs\":%llu}}},", is_up ? "up" : "down",
        (unsigned long long)(commit_ns / NS_PER_MS));
    strbuf_printf(&body,
        "\"status\":\"%s\",\"mode\":\"async-enabled\",\"num_workers\":%zu,\"version\":\"%s\"}", status,
        payments.slots, DOORBUSTER_VERSION);
    reply_json(request, is_up ? 200 : 503, slice_make("", 0), &body);
}

static void metrics_get(struct http_request *request, void *context)
{
    const struct net_thread *thread = context;
    struct strbuf text;
    strbuf_init_heap(&text, METRICS_TEXT_MAX);
    metrics_render(thread->app, &text);
    if (text.has_overflowed)
        reply_error(request, 500, SLICE("INTERNAL_ERROR"), SLICE("An unexpected error occurred."));
    else
        http_reply(request, 200, SLICE("text/plain; version=0.0.4; charset=utf-8"),
            SLICE("Cache-Control: no-store\r\n"), strbuf_slice(&text));
    strbuf_fini(&text);
}

static const struct http_route routes[] = {
    {METHOD_GET, "/livez", livez_get, NULL, 0},
    {METHOD_GET, "/readyz", readyz_get, NULL, 0},
    {METHOD_GET, "/health", health_get, NULL, 0},
    {METHOD_GET, "/metrics", metrics_get, NULL, 0},
};

const struct face ops_face = {
    .name = "ops",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};
