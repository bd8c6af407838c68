/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters are single-writer: a relaxed load, an addition and a relaxed store, no locked instruction on the
 * way of a request. A scrape adds up the net threads.
 */
#include "api/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/intake.h"
#include "api/market.h"
#include "api/orders.h"
#include "api/streams.h"
#include "api/vending.h"
#include "base/clock.h"
#include "service/service.h"

static const double duration_bounds_s[] = {.005, .01, .025, .05, .1, .25, .5, 1};
static const int statuses[] = {
    200, 201, 202, 204, 400, 401, 402, 404, 405, 408, 409, 413, 415, 417, 422, 429, 431, 500, 503, 504};

enum {
    BOUND_COUNT = sizeof duration_bounds_s / sizeof duration_bounds_s[0],
    STATUS_COUNT = sizeof statuses / sizeof statuses[0],
    METHOD_COUNT = METHOD_OTHER + 1,
};

/*
 * Answers of one route with one status. The http_ series count as the original did, some answers under
 * another status and some not at all (contract, section 2.10); doorbuster_answers_total counts what was sent.
 */
struct cell {
    atomic_uint_fast64_t buckets[BOUND_COUNT + 1]; /* not cumulative; the last is above all bounds */
    atomic_uint_fast64_t sum_ns;
    atomic_uint_fast64_t sent;
};

struct metrics {
    const struct http_route *routes;
    size_t route_count;
    atomic_uint_fast64_t results[RESULT_ROW_COUNT]; /* by row of result.def */
    atomic_uint_fast64_t rate_limited;
    atomic_size_t streams;
    /* route_count rows for the routes, then one a method for what no route matched; STATUS_COUNT + 1 cells
     * each, the last for a status that is not in the table. */
    struct cell cells[];
};

static void add(atomic_uint_fast64_t *counter, uint64_t amount)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + amount, memory_order_relaxed);
}

static uint64_t read_counter(const atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static size_t row_count(const struct metrics *metrics)
{
    return metrics->route_count + METHOD_COUNT;
}

struct metrics *metrics_create(const struct http_route *routes, size_t route_count)
{
    size_t cell_count = (route_count + METHOD_COUNT) * (STATUS_COUNT + 1);
    struct metrics *metrics = calloc(1, sizeof *metrics + cell_count * sizeof(struct cell));
    if (metrics == NULL)
        return NULL;
    metrics->routes = routes;
    metrics->route_count = route_count;
    return metrics;
}

void metrics_destroy(struct metrics *metrics)
{
    free(metrics);
}

static size_t status_index(int status)
{
    size_t i = 0;
    while (i < STATUS_COUNT && statuses[i] != status)
        i++;
    return i;
}

void metrics_count_answer(
    struct metrics *metrics, const struct http_request *request, int status, int64_t duration_ns)
{
    size_t row = request->route != NULL ? (size_t)(request->route - metrics->routes)
                                        : metrics->route_count + (size_t)request->method;
    struct cell *cells = &metrics->cells[row * (STATUS_COUNT + 1)];
    add(&cells[status_index(status)].sent, 1);
    if (request->counted_status == HTTP_NOT_COUNTED)
        return;
    struct cell *cell = &cells[status_index(request->counted_status == 0 ? status : request->counted_status)];
    size_t bucket = 0;
    while (bucket < BOUND_COUNT && (double)duration_ns > duration_bounds_s[bucket] * 1e9)
        bucket++;
    add(&cell->buckets[bucket], 1);
    add(&cell->sum_ns, (uint64_t)duration_ns);
}

void metrics_count_result(struct metrics *metrics, enum result result)
{
    const struct result_info *info;
    for (unsigned row = 0; row < RESULT_ROW_COUNT && (info = result_info_at(row)) != NULL; row++) {
        if (info->result == result)
            add(&metrics->results[row], 1);
    }
}

void metrics_count_rate_limited(struct metrics *metrics)
{
    add(&metrics->rate_limited, 1);
}

void metrics_set_streams(struct metrics *metrics, size_t count)
{
    atomic_store_explicit(&metrics->streams, count, memory_order_relaxed);
}

/* --- rendering --- */

static void put_head(struct strbuf *text, const char *name, const char *type, const char *help)
{
    strbuf_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_value(struct strbuf *text, const char *name, const char *type, const char *help, double value)
{
    put_head(text, name, type, help);
    strbuf_printf(text, "%s %.17g\n", name, value);
}

void metrics_put_value(
    struct strbuf *text, const char *name, const char *type, const char *help, int64_t value)
{
    put_head(text, name, type, help);
    strbuf_printf(text, "%s %lld\n", name, (long long)value);
}

/* One cell of all net threads together. */
struct total {
    uint64_t buckets[BOUND_COUNT + 1];
    uint64_t count;
    uint64_t sent;
    double sum_s;
};

static struct total add_up(const struct app *app, size_t index)
{
    struct total total = {0};
    for (size_t w = 0; w < app->net_thread_count; w++) {
        const struct cell *cell = &app->net_threads[w]->metrics->cells[index];
        for (size_t b = 0; b <= BOUND_COUNT; b++) {
            total.buckets[b] += read_counter(&cell->buckets[b]);
            total.count += read_counter(&cell->buckets[b]);
        }
        total.sum_s += (double)read_counter(&cell->sum_ns) / 1e9;
        total.sent += read_counter(&cell->sent);
    }
    return total;
}

/* method="..",route="..",status_code=".." */
static void format_labels(const struct metrics *metrics, size_t row, size_t status, char *labels, size_t size)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "OTHER", "ANY"};
    bool is_route = row < metrics->route_count;
    const char *method = methods[is_route ? metrics->routes[row].method : row - metrics->route_count];
    char code[16] = "other";
    if (status < STATUS_COUNT)
        (void)snprintf(code, sizeof code, "%d", statuses[status]);
    (void)snprintf(labels, size, "method=\"%s\",route=\"%s\",status_code=\"%s\"", method,
        is_route ? metrics->routes[row].pattern : "unmatched", code);
}

static void put_histogram(struct strbuf *text, const char *labels, const struct total *total)
{
    const char *name = "http_request_duration_seconds";
    uint64_t below = 0;
    for (size_t b = 0; b < BOUND_COUNT; b++) {
        below += total->buckets[b];
        strbuf_printf(text, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels, duration_bounds_s[b],
            (unsigned long long)below);
    }
    strbuf_printf(text, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.9f\n%s_count{%s} %llu\n", name, labels,
        (unsigned long long)total->count, name, labels, total->sum_s, name, labels,
        (unsigned long long)total->count);
}

enum http_series { SERIES_REQUESTS, SERIES_ERRORS, SERIES_DURATION, SERIES_ANSWERS };

static void put_http_cell(
    struct strbuf *text, enum http_series series, const char *labels, const struct total *total)
{
    static const char *const names[] = {
        [SERIES_REQUESTS] = "http_requests_total",
        [SERIES_ERRORS] = "http_errors_total",
        [SERIES_ANSWERS] = "doorbuster_answers_total",
    };
    uint64_t count = series == SERIES_ANSWERS ? total->sent : total->count;
    if (count == 0)
        return;
    if (series == SERIES_DURATION)
        put_histogram(text, labels, total);
    else
        strbuf_printf(text, "%s{%s} %llu\n", names[series], labels, (unsigned long long)count);
}

static void put_http_series(const struct app *app, struct strbuf *text, enum http_series series)
{
    const struct metrics *first = app->net_threads[0]->metrics;
    for (size_t row = 0; row < row_count(first); row++) {
        for (size_t status = 0; status <= STATUS_COUNT; status++) {
            bool is_error = status == STATUS_COUNT || statuses[status] >= 400;
            if (series == SERIES_ERRORS && !is_error)
                continue;
            struct total total = add_up(app, row * (STATUS_COUNT + 1) + status);
            char labels[256];
            format_labels(first, row, status, labels, sizeof labels);
            put_http_cell(text, series, labels, &total);
        }
    }
}

static void put_http(const struct app *app, struct strbuf *text)
{
    put_head(text, "http_requests_total", "counter",
        "Requests, as the original counts them: none refused with 401 or 429, domain errors as 500.");
    put_http_series(app, text, SERIES_REQUESTS);
    put_head(
        text, "http_errors_total", "counter", "Those of http_requests_total with a status of 400 or above.");
    put_http_series(app, text, SERIES_ERRORS);
    put_head(
        text, "http_request_duration_seconds", "histogram", "Time from a request's last byte to its answer.");
    put_http_series(app, text, SERIES_DURATION);
    put_head(text, "doorbuster_answers_total", "counter", "Answers by the status that was sent.");
    put_http_series(app, text, SERIES_ANSWERS);
}

static void put_purchases(const struct app *app, struct strbuf *text)
{
    put_head(text, "purchase_outcomes_total", "counter", "Answered purchase requests by outcome.");
    const struct result_info *info;
    for (unsigned row = 0; row < RESULT_ROW_COUNT && (info = result_info_at(row)) != NULL; row++) {
        uint64_t count = 0;
        for (size_t w = 0; w < app->net_thread_count; w++)
            count += read_counter(&app->net_threads[w]->metrics->results[row]);
        if (count > 0 || info->result == RESULT_OK)
            strbuf_printf(text, "purchase_outcomes_total{outcome=\"%s\"} %llu\n",
                info->result == RESULT_OK ? "SUCCESS" : info->code, (unsigned long long)count);
    }
    uint64_t limited = 0;
    size_t streams = 0;
    for (size_t w = 0; w < app->net_thread_count; w++) {
        limited += read_counter(&app->net_threads[w]->metrics->rate_limited);
        streams += atomic_load_explicit(&app->net_threads[w]->metrics->streams, memory_order_relaxed);
    }
    strbuf_printf(
        text, "purchase_outcomes_total{outcome=\"RATE_LIMIT_EXCEEDED\"} %llu\n", (unsigned long long)limited);
    put_value(text, "sse_connections_active", "gauge", "Open event streams.", (double)streams);
    put_value(text, "reconciliation_mismatches_total", "counter",
        "Purchases found in one place and not in another; there is one place, so always 0.", 0);
}

static void put_commit_times(const struct engine_stats *stats, struct strbuf *text)
{
    const char *name = "doorbuster_commit_seconds";
    put_head(text, name, "histogram", "Time of a commit with its flush.");
    uint64_t below = 0;
    for (int b = 0; b < ENGINE_COMMIT_BUCKET_COUNT; b++) {
        below += stats->commit_seconds_bucket[b];
        strbuf_printf(
            text, "%s_bucket{le=\"%g\"} %llu\n", name, engine_commit_bounds_s[b], (unsigned long long)below);
    }
    below += stats->commit_seconds_bucket[ENGINE_COMMIT_BUCKET_COUNT];
    strbuf_printf(text, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9f\n%s_count %llu\n", name,
        (unsigned long long)below, name, (double)stats->commit_ns_total / 1e9, name,
        (unsigned long long)below);
}

static void put_engine(const struct app *app, struct strbuf *text)
{
    struct engine_stats stats;
    engine_stats(app->engine, &stats);
    put_value(text, "doorbuster_commands_total", "counter", "Commands decided by the engine.",
        (double)stats.commands_total);
    put_value(text, "doorbuster_batches_total", "counter", "Batches committed to the store.",
        (double)stats.batches_total);
    put_value(text, "doorbuster_commits_failed_total", "counter", "Commits that failed and were rolled back.",
        (double)stats.commits_failed_total);
    put_value(text, "doorbuster_conflicts_total", "counter",
        "Batches decided again, because another node had changed the same at the same time.",
        (double)stats.conflicts_total);
    put_value(text, "doorbuster_views_are_fresh", "gauge",
        "1 while a picture of a sale may refuse a purchase; 0 while other nodes have not been heard of for "
        "too long.",
        engine_views_are_fresh(app->engine) ? 1 : 0);
    put_head(text, "doorbuster_refused_total", "counter", "Commands refused at the door with 503.");
    strbuf_printf(text,
        "doorbuster_refused_total{reason=\"line_full\"} %llu\ndoorbuster_refused_total{reason=\"deadline\"} "
        "%llu\n"
        "doorbuster_refused_total{reason=\"not_serving\"} %llu\n",
        (unsigned long long)stats.refused_full_total, (unsigned long long)stats.refused_late_total,
        (unsigned long long)stats.refused_state_total);
    put_commit_times(&stats, text);
    put_value(
        text, "doorbuster_line_commands", "gauge", "Commands waiting in the line.", (double)stats.line_depth);
    put_value(text, "doorbuster_expected_wait_seconds", "gauge",
        "How long a command that comes now will wait.", (double)stats.expected_wait_ns / 1e9);
    put_value(text, "doorbuster_products", "gauge", "Products in the store.", (double)stats.product_count);
    put_head(text, "doorbuster_engine_state", "gauge", "1 for the state that the engine is in.");
    for (int state = ENGINE_SERVING; state <= ENGINE_STOPPING; state++)
        strbuf_printf(text, "doorbuster_engine_state{state=\"%s\"} %d\n",
            engine_state_name((enum engine_state)state),
            engine_state(app->engine) == (enum engine_state)state);
}

static void put_connections(const struct app *app, struct strbuf *text)
{
    struct http_server_stats sum = {0};
    for (size_t w = 0; w < app->net_thread_count; w++) {
        struct http_server_stats one;
        http_server_stats(app->net_threads[w]->server, &one);
        sum.connections_accepted += one.connections_accepted;
        sum.connections_refused += one.connections_refused;
        sum.requests_malformed += one.requests_malformed;
        sum.timeouts += one.timeouts;
        sum.connection_count += one.connection_count;
    }
    put_value(
        text, "doorbuster_connections", "gauge", "Open client connections.", (double)sum.connection_count);
    put_value(text, "doorbuster_connections_accepted_total", "counter", "Accepted connections.",
        (double)sum.connections_accepted);
    put_value(text, "doorbuster_connections_refused_total", "counter", "Connections beyond the limit.",
        (double)sum.connections_refused);
    put_value(text, "doorbuster_requests_malformed_total", "counter", "Requests that were no HTTP.",
        (double)sum.requests_malformed);
    put_value(text, "doorbuster_connection_timeouts_total", "counter", "Connections cut by a deadline.",
        (double)sum.timeouts);
}

/* Resident memory in bytes; 0 when the system does not tell. */
static double resident_bytes(void)
{
    long pages_all = 0;
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    int found = fscanf(file, "%ld %ld", &pages_all, &pages);
    (void)fclose(file);
    return found == 2 ? (double)pages * (double)sysconf(_SC_PAGESIZE) : 0;
}

static void put_process(const struct app *app, struct strbuf *text)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    double cpu_s = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    double up_s = (double)(clock_mono_ns() - app->started_ns) / 1e9;
    put_value(text, "flashsale_process_cpu_seconds_total", "counter", "CPU time used.", cpu_s);
    put_value(text, "flashsale_process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    put_value(text, "flashsale_process_start_time_seconds", "gauge", "Start of the process since the epoch.",
        (double)clock_wall_ms() / 1e3 - up_s);
    put_head(text, "doorbuster_build_info", "gauge", "Always 1; the labels tell the build.");
    strbuf_printf(
        text, "doorbuster_build_info{version=\"%s\",store=\"%s\"} 1\n", DOORBUSTER_VERSION, app->store->kind);
}

static void put_limits(const struct app *app, struct strbuf *text)
{
    struct shared_limits_status status = {.is_shared = false};
    if (app->shared_limits != NULL)
        shared_limits_status(app->shared_limits, &status);
    put_value(text, "doorbuster_limits_is_shared", "gauge",
        "1 while the limiter counts attempts together with other nodes, on every net thread.",
        status.is_shared);
    put_value(text, "doorbuster_limits_shared_total", "counter",
        "Attempts decided together with other nodes.", (double)status.shared_total);
    put_value(text, "doorbuster_limits_fallback_total", "counter",
        "Attempts that should have been, and were decided by this node alone.",
        (double)status.fallback_total);
    put_value(text, "doorbuster_limits_wait_seconds_total", "counter",
        "Time that the attempts decided together have waited for it.", (double)status.wait_ns_total / 1e9);
}

void metrics_render(const struct app *app, struct strbuf *text)
{
    put_http(app, text);
    put_purchases(app, text);
    orders_put_metrics(app, text);
    intake_put_metrics(app, text);
    vending_put_metrics(app, text);
    market_put_metrics(app, text);
    put_limits(app, text);
    put_engine(app, text);
    if (app->service != NULL)
        service_put_metrics(app->service, text);
    put_connections(app, text);
    put_process(app, text);
}
