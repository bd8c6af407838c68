/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The orders face (orders contract): its routes, GET /orders/{id}, /stats, and what it keeps on each net
 * thread. Orders are taken in orders_place.c and orders_sync.c, told live in orders_events.c, and the admin's
 * routes are in orders_admin.c.
 *
 * A known path with another method is answered 405, unlike the flash sale's, where it is unknown.
 */
#include "api/orders.h"

#include <stdlib.h>

#include "api/envelope.h"
#include "api/face.h"
#include "api/metrics.h"
#include "api/orders_priv.h"
#include "api/problem.h"
#include "base/clock.h"
#include "base/ensure.h"

enum {
    NS_PER_MS = 1000000,
    MS_PER_S = 1000,
    ORDER_BODY_MAX = 4 * 1024 * 1024, /* items take up to 2 MiB (order_form.c) */
    STATS_AGE_MS_MAX = 250,           /* of a shared store */
};

void orders_count(struct orders *orders, enum order_count count)
{
    uint64_t now = atomic_load_explicit(&orders->counts[count], memory_order_relaxed);
    atomic_store_explicit(&orders->counts[count], now + 1, memory_order_relaxed);
}

/* --- looking one up --- */

void reply_not_looked_up(struct http_request *request, enum err status)
{
    if (err_is_passing(status))
        reply_problem_later(request, SLICE("The store does not answer now. Ask again."), 0);
    else
        reply_problem(
            request, 500, SLICE("The store cannot be read; the server's log says why."), slice_make("", 0));
}

/* Of this one question: who listens for on_found keeps it. */
struct order_search {
    struct order_lookup lookup;
    void (*on_found)(struct order_lookup *lookup);
};

static void on_order_looked_up(struct engine_lookup *lookup)
{
    struct order_search *search = CONTAINER_OF(lookup, struct order_search, lookup.lookup);
    struct question question = lookup->question;
    if (lookup->status == ERR_NONE && question.is_found) {
        search->on_found(&search->lookup);
        return;
    }
    if (lookup->status == ERR_NONE)
        reply_text(search->lookup.request, 404, SLICE("Order not found"));
    else
        reply_not_looked_up(search->lookup.request, lookup->status);
    question_fini(&question);
}

void order_look_up(
    struct http_request *request, struct orders *orders, void (*on_found)(struct order_lookup *lookup))
{
    struct slice order_id = request->params[0];
    /* No order has such an id, and a database may not take the text. */
    if (order_id.len > ORDER_ID_LEN_MAX || memchr(order_id.base, '\0', order_id.len) != NULL) {
        reply_text(request, 404, SLICE("Order not found"));
        return;
    }
    struct order_search *search = arena_alloc(&request->arena, sizeof *search);
    if (search == NULL) {
        reply_not_looked_up(request, ERR_MEMORY);
        return;
    }
    search->on_found = on_found;
    search->lookup.orders = orders;
    search->lookup.request = request;
    search->lookup.lookup.question.kind = QUESTION_ORDER;
    search->lookup.lookup.question.name = order_id;
    search->lookup.lookup.on_done = on_order_looked_up;
    if (!engine_port_look_up(orders->thread->port, &search->lookup.lookup))
        reply_not_looked_up(request, ERR_UNAVAILABLE);
}

/* --- GET /orders/{id} --- */

static void put_order(struct strbuf *body, struct payments *payments, const struct order_row *order)
{
    strbuf_lit(body, "{\"order_id\":");
    strbuf_put_json(body, order->order_id);
    strbuf_printf(body, ",\"customer_id\":%lld,\"status\":\"%.*s\",\"items\":", (long long)order->customer_id,
        SLICE_ARGS(order_status_name(order->status)));
    strbuf_put(body, order->items);
    strbuf_put_char(body, ',');
    put_iso_member(body, SLICE("created_at"), order->created_ms);
    strbuf_printf(body, ",\"priority\":%d", order->priority);
    if (order->status == ORDER_PENDING) {
        int64_t wait_ms = payments_expected_wait_ms(payments, order->position);
        strbuf_printf(body, ",\"position\":%lld,\"estimated_wait_seconds\":%.3f",
            (long long)order->position + 1, (double)wait_ms / MS_PER_S);
    }
    strbuf_put_char(body, ',');
    if (order->status == ORDER_COMPLETED)
        put_iso_member(body, SLICE("paid_at"), order->paid_ms);
    else
        strbuf_lit(body, "\"paid_at\":null");
    strbuf_printf(body, ",\"attempts\":%lld}", (long long)order->attempts);
}

static void on_order_found(struct order_lookup *lookup)
{
    struct question question = lookup->lookup.question; /* the request's memory goes with the reply */
    struct strbuf body;
    strbuf_init_heap(&body, ORDER_BODY_MAX);
    put_order(&body, orders_payments(lookup->orders), &question.order);
    if (body.has_overflowed)
        reply_not_looked_up(lookup->request, ERR_MEMORY);
    else
        http_reply(lookup->request, 200, SLICE("application/json"), SLICE("Cache-Control: no-store\r\n"),
            strbuf_slice(&body));
    strbuf_fini(&body);
    question_fini(&question);
}

static void order_get(struct http_request *request, void *context)
{
    order_look_up(request, orders_of(context), on_order_found);
}

/* --- GET /stats --- */

struct stats_wait {
    struct http_request *request;
    struct list node;
};

/* What the payments can do at most, in words, as the original said it. */
static void put_throughput(struct strbuf *body, const struct payments_stats *stats)
{
    double expected_s = (double)stats->expected_ms / MS_PER_S;
    strbuf_lit(body, ",\"throughput_limit\":\"");
    if (stats->expected_ms == 0)
        strbuf_printf(body, "%zu payments at a time, each done at once", stats->slots);
    else
        strbuf_printf(body, "%.2f orders/second (%zu payments at a time, %.3f s each)",
            (double)stats->slots / expected_s, stats->slots, expected_s);
    strbuf_lit(body, "\",\"total_orders\":");
}

/* The original's members first, in its order; then ours. */
static void reply_stats(
    struct orders *orders, struct http_request *request, const struct order_totals *totals)
{
    char memory[2048];
    struct strbuf body;
    struct payments_stats stats;
    int64_t total = 0;
    int64_t now_ms = engine_now_ms(orders->thread->app->engine);
    int64_t oldest_ms = totals->oldest_pending_ms == 0 ? 0 : now_ms - totals->oldest_pending_ms;
    payments_stats(orders_payments(orders), &stats);
    for (int i = 0; i < ORDER_STATUS_COUNT; i++)
        total += totals->counts[i];
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body,
        "{\"payments_failed\":%lld,\"payments_processed\":%lld,\"status_breakdown\":{\"completed\":%lld,"
        "\"failed\":%lld,\"pending\":%lld,\"processing\":%lld}",
        (long long)totals->counts[ORDER_FAILED], (long long)totals->counts[ORDER_COMPLETED],
        (long long)totals->counts[ORDER_COMPLETED], (long long)totals->counts[ORDER_FAILED],
        (long long)totals->counts[ORDER_PENDING], (long long)totals->counts[ORDER_PROCESSING]);
    put_throughput(&body, &stats);
    strbuf_printf(&body,
        "%lld,\"orders_cancelled\":%lld,\"queue_depth\":%lld,\"oldest_pending_seconds\":%.3f,"
        "\"workers\":%zu,\"payments_in_flight\":%zu,\"payment_seconds\":%.3f,\"breaker\":\"%s\"}",
        (long long)total, (long long)totals->counts[ORDER_CANCELLED],
        (long long)totals->counts[ORDER_PENDING], (double)(oldest_ms < 0 ? 0 : oldest_ms) / MS_PER_S,
        stats.slots, stats.in_flight, (double)stats.expected_ms / MS_PER_S, stats.breaker);
    http_reply(
        request, 200, SLICE("application/json"), SLICE("Cache-Control: no-store\r\n"), strbuf_slice(&body));
}

static void on_totals(struct engine_lookup *lookup)
{
    struct stats_cache *cache = CONTAINER_OF(lookup, struct stats_cache, lookup);
    struct orders *orders = CONTAINER_OF(cache, struct orders, stats);
    struct list *node;
    enum err status = lookup->status;
    cache->is_asking = false;
    cache->totals = lookup->question.totals;
    if (status != ERR_NONE)
        cache->asked_ns = 0;
    question_fini(&lookup->question);
    while ((node = list_first(&cache->waiting)) != NULL) {
        struct http_request *request = CONTAINER_OF(node, struct stats_wait, node)->request;
        list_remove(node);
        if (status == ERR_NONE)
            reply_stats(orders, request, &cache->totals);
        else
            reply_not_looked_up(request, status);
    }
}

/* Asks once for all who want to know at the same time. */
static void ask_for_totals(struct orders *orders, struct http_request *request)
{
    struct stats_cache *cache = &orders->stats;
    struct stats_wait *wait = arena_alloc(&request->arena, sizeof *wait);
    if (wait == NULL) {
        reply_not_looked_up(request, ERR_MEMORY);
        return;
    }
    wait->request = request;
    list_init(&wait->node);
    list_append(&cache->waiting, &wait->node);
    if (cache->is_asking)
        return;
    cache->lookup = (struct engine_lookup){.question = {.kind = QUESTION_ORDER_TOTALS}, .on_done = on_totals};
    cache->asked_ns = clock_mono_ns();
    cache->is_asking = engine_port_look_up(orders->thread->port, &cache->lookup);
    if (cache->is_asking)
        return;
    list_remove(&wait->node);
    cache->asked_ns = 0;
    reply_not_looked_up(request, ERR_UNAVAILABLE);
}

static void stats_get(struct http_request *request, void *context)
{
    struct orders *orders = orders_of(context);
    struct order_totals totals;
    if (engine_order_totals(orders->thread->app->engine, &totals)) {
        reply_stats(orders, request, &totals);
        return;
    }
    const struct stats_cache *cache = &orders->stats;
    int64_t age_ns = clock_mono_ns() - cache->asked_ns;
    if (!cache->is_asking && cache->asked_ns != 0 && age_ns < STATS_AGE_MS_MAX * NS_PER_MS)
        reply_stats(orders, request, &cache->totals);
    else
        ask_for_totals(orders, request);
}

/* --- life --- */

struct orders *orders_create(struct net_thread *thread)
{
    struct orders *orders = calloc(1, sizeof *orders);
    if (orders == NULL)
        return NULL;
    orders->watches = order_watches_create(&thread->loop, thread->port, thread->app->store->is_shared);
    if (orders->watches == NULL) {
        free(orders);
        return NULL;
    }
    orders->thread = thread;
    id_source_init(&orders->ids);
    list_init(&orders->waits);
    list_init(&orders->listeners);
    list_init(&orders->stats.waiting);
    orders_events_open(orders);
    return orders;
}

void orders_close(struct orders *orders)
{
    orders_sync_close(orders);
    orders_events_close(orders);
    order_watches_close(orders->watches);
}

void orders_destroy(struct orders *orders)
{
    ENSURE(list_is_empty(&orders->waits) && list_is_empty(&orders->listeners));
    order_watches_destroy(orders->watches);
    question_fini(&orders->stats.lookup.question);
    free(orders);
}

void orders_on_order(struct orders *orders, const struct order_view *now)
{
    order_watches_on_order(orders->watches, now);
}

/* --- metrics --- */

static uint64_t sum_counts(const struct app *app, enum order_count count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < app->net_thread_count; i++)
        sum += atomic_load_explicit(&app->net_threads[i]->orders->counts[count], memory_order_relaxed);
    return sum;
}

static void put_series(struct strbuf *text, const struct app *app, const char *name, const char *help,
    const char *label, const char *const *values, const enum order_count *counts, size_t count)
{
    strbuf_printf(text, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);
    for (size_t i = 0; i < count; i++)
        strbuf_printf(text, "%s{%s=\"%s\"} %llu\n", name, label, values[i],
            (unsigned long long)sum_counts(app, counts[i]));
}

static void put_counter(
    struct strbuf *text, const struct app *app, const char *name, const char *help, enum order_count count)
{
    strbuf_printf(text, "# HELP %s %s\n# TYPE %s counter\n%s %llu\n", name, help, name, name,
        (unsigned long long)sum_counts(app, count));
}

static void put_gauge(struct strbuf *text, const char *name, const char *help, size_t value)
{
    strbuf_printf(text, "# HELP %s %s\n# TYPE %s gauge\n%s %zu\n", name, help, name, name, value);
}

/* Of an embedded store only: a scrape asks no database. */
static void put_totals(struct strbuf *text, const struct app *app)
{
    struct order_totals totals;
    if (!engine_order_totals(app->engine, &totals))
        return;
    strbuf_lit(
        text, "# HELP doorbuster_orders Orders in the store, by status.\n# TYPE doorbuster_orders gauge\n");
    for (int i = 0; i < ORDER_STATUS_COUNT; i++)
        strbuf_printf(text, "doorbuster_orders{status=\"%.*s\"} %lld\n",
            SLICE_ARGS(order_status_name((enum order_status)i)), (long long)totals.counts[i]);
}

void orders_put_metrics(const struct app *app, struct strbuf *text)
{
    static const char *const modes[] = {"sync", "async"};
    static const enum order_count placed[] = {COUNT_PLACED_SYNC, COUNT_PLACED_ASYNC};
    static const char *const reasons[] = {"invalid", "full", "late", "breaker"};
    static const enum order_count refused[] = {
        COUNT_INVALID, COUNT_REFUSED_FULL, COUNT_REFUSED_LATE, COUNT_REFUSED_BREAKER};
    size_t waiting = 0;
    size_t listening = 0;
    for (size_t i = 0; i < app->net_thread_count; i++) {
        waiting += atomic_load_explicit(&app->net_threads[i]->orders->waiting, memory_order_relaxed);
        listening += atomic_load_explicit(&app->net_threads[i]->orders->listening, memory_order_relaxed);
    }
    put_series(text, app, "doorbuster_orders_placed_total", "Orders taken by this node.", "mode", modes,
        placed, sizeof placed / sizeof placed[0]);
    put_series(text, app, "doorbuster_orders_refused_total", "Orders not taken, and why.", "reason", reasons,
        refused, sizeof refused / sizeof refused[0]);
    put_counter(text, app, "doorbuster_orders_replayed_total", "Orders sent again that were there already.",
        COUNT_REPLAYED);
    put_counter(text, app, "doorbuster_orders_gone_total", "Customers that went away before their answer.",
        COUNT_GONE);
    put_counter(text, app, "doorbuster_orders_timed_out_total",
        "Customers told that their payment was still under way.", COUNT_TIMED_OUT);
    put_gauge(text, "doorbuster_orders_waiting", "Customers waiting for their order's outcome.", waiting);
    put_gauge(text, "doorbuster_orders_listening", "Event streams of orders.", listening);
    put_totals(text, app);
}

/* --- routes --- */

static void refuse_but_post(struct http_request *request, void *context)
{
    (void)context;
    reply_problem_method(request, SLICE("POST"));
}

static void refuse_but_get(struct http_request *request, void *context)
{
    (void)context;
    reply_problem_method(request, SLICE("GET, HEAD"));
}

/* An id that is too long for an order is not found, rather than no route; percent-encoded it may take three
 * times as many bytes, but those that count are decoded. */
enum { ID_MAX = 4096 };

static const struct http_route routes[] = {
    {METHOD_POST, "/orders/sync", orders_sync_post, NULL, 0},
    {METHOD_ANY, "/orders/sync", refuse_but_post, NULL, 0},
    {METHOD_POST, "/orders/async", orders_async_post, NULL, 0},
    {METHOD_ANY, "/orders/async", refuse_but_post, NULL, 0},
    {METHOD_GET, "/orders/:id", order_get, NULL, ID_MAX},
    {METHOD_ANY, "/orders/:id", refuse_but_get, NULL, ID_MAX},
    {METHOD_GET, "/orders/:id/events", order_events_get, NULL, ID_MAX},
    {METHOD_ANY, "/orders/:id/events", refuse_but_get, NULL, ID_MAX},
    {METHOD_GET, "/stats", stats_get, NULL, 0},
    {METHOD_ANY, "/stats", refuse_but_get, NULL, 0},
    {METHOD_GET, "/admin/dead-letters", dead_letters_get, NULL, 0},
    {METHOD_ANY, "/admin/dead-letters", refuse_but_get, NULL, 0},
    {METHOD_POST, "/admin/dead-letters/:id/replay", dead_letter_replay_post, NULL, 0},
    {METHOD_ANY, "/admin/dead-letters/:id/replay", refuse_but_post, NULL, 0},
};

const struct face orders_face = {
    .name = "orders",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};
