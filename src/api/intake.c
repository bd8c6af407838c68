/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The intake face (intake contract): its routes, POST /api/orders, and what it keeps on each net thread.
 *
 * An order is checked, passes the line and is answered when it is on disk. Nothing is read from the store on
 * that way: the token says whose it is, and its id follows from its place.
 */
#include "api/intake.h"

#include <stdlib.h>

#include "api/face.h"
#include "api/intake_form.h"
#include "api/intake_priv.h"
#include "api/metrics.h"
#include "base/ensure.h"

enum { NS_PER_MS = 1000000, MS_PER_S = 1000, REPLY_MAX = 2048 };

void intake_count(struct intake *intake, enum intake_count count)
{
    uint64_t now = atomic_load_explicit(&intake->counts[count], memory_order_relaxed);
    atomic_store_explicit(&intake->counts[count], now + 1, memory_order_relaxed);
}

int64_t intake_deadline_ns(const struct intake *intake, const struct http_request *request)
{
    return request->arrived_ns + intake->thread->app->config.answer_deadline_ms * NS_PER_MS;
}

/* The code stands in the text, since a client that repeats everything on 503 has to tell the two apart. */
static void reply_unknown(struct http_request *request, const char *how, int64_t retry_after_ms)
{
    char memory[256];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    strbuf_printf(&text, "OUTCOME_UNKNOWN: it is not known whether this was stored. %s", how);
    reply_detail_later(request, strbuf_slice(&text), retry_after_ms);
}

void intake_reply_result(struct http_request *request, const struct engine_call *call, const char *unknown)
{
    enum result result = call->command.outcome.result;
    int64_t retry_after_ms = (int64_t)call->retry_after_s * MS_PER_S;
    const struct result_info *info = result_info(result);
    if (result == RESULT_OUTCOME_UNKNOWN)
        reply_unknown(request, unknown, retry_after_ms);
    else if (result == RESULT_UNAVAILABLE)
        reply_detail_later(
            request, SLICE("This could not be stored in time, and was not. Send it again."), retry_after_ms);
    else
        reply_detail(request, info->http_status, slice_cstr(info->text), slice_make("", 0));
}

void intake_reply_not_looked_up(struct http_request *request, enum err status)
{
    if (err_is_passing(status))
        reply_detail_later(request, SLICE("The store does not answer now. Ask again."), 0);
    else
        reply_detail(
            request, 500, SLICE("The store cannot be read; the server's log says why."), slice_make("", 0));
}

/* --- POST /api/orders --- */

/* An order on its way through the line. Lives in the request's arena. */
struct intake_placing {
    struct engine_call call;
    struct intake_request order;
    struct intake *intake;
    struct http_request *request;
};

static void reply_placed(const struct intake_placing *placing, const struct outcome *outcome)
{
    const struct intake_request *order = &placing->order;
    const struct intake_row row = {
        .id = outcome->number,
        .account_id = order->account_id,
        .symbol = order->symbol,
        .side = order->side,
        .type = order->type,
        .quantity = order->quantity,
        .price = order->price,
        .stop_price = order->stop_price,
        .trailing_stop_pct = order->trailing_stop_pct,
        .iceberg_qty = order->iceberg_qty,
        .time_in_force = order->time_in_force,
        .status = INTAKE_QUEUED,
        .created_ms = outcome->time_ms,
        .updated_ms = outcome->time_ms,
    };
    char memory[REPLY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    intake_put_order(&body, &placing->intake->names, &row);
    reply_made(placing->request, 201, slice_make("", 0), &body);
}

static void on_placed(struct engine_call *call)
{
    struct intake_placing *placing = CONTAINER_OF(call, struct intake_placing, call);
    if (call->command.outcome.result != RESULT_OK) {
        intake_reply_result(placing->request, call, "Look at GET /api/orders before you send it again.");
        return;
    }
    intake_count(placing->intake, COUNT_PLACED);
    reply_placed(placing, &call->command.outcome);
}

static void orders_post(struct http_request *request, void *context)
{
    struct intake *intake = intake_of(context);
    int64_t account_id;
    if (!auth_check(intake, request, &account_id))
        return;
    struct intake_placing *placing = arena_alloc(&request->arena, sizeof *placing);
    if (placing == NULL) {
        reply_detail_later(request, SLICE("There is no memory for the order now. It was not taken."), 0);
        return;
    }
    if (!intake_form_read(request, &placing->order)) {
        intake_count(intake, COUNT_INVALID);
        return;
    }
    placing->intake = intake;
    placing->request = request;
    placing->order.account_id = account_id;
    placing->call.command.kind = COMMAND_INTAKE_PLACE;
    placing->call.command.intake = &placing->order;
    placing->call.deadline_ns = intake_deadline_ns(intake, request);
    placing->call.on_done = on_placed;
    if (!engine_port_push(intake->thread->port, &placing->call))
        on_placed(&placing->call);
}

/* --- life --- */

struct intake *intake_create(struct net_thread *thread)
{
    struct intake *intake = calloc(1, sizeof *intake);
    if (intake == NULL)
        return NULL;
    const unsigned char *secret = engine_secret(thread->app->engine);
    intake->thread = thread;
    memcpy(intake->token_key.bytes, secret, sizeof intake->token_key.bytes);
    known_tokens_init(&intake->known_tokens);
    intake_names_init(&intake->names, secret);
    pthread_mutex_init(&intake->lock, NULL);
    list_init(&intake->hashed);
    return intake;
}

void intake_destroy(struct intake *intake)
{
    ENSURE(list_is_empty(&intake->hashed));
    pthread_mutex_destroy(&intake->lock);
    free(intake);
}

/* --- metrics --- */

static void put_counter(
    struct strbuf *text, const struct app *app, const char *name, const char *help, enum intake_count count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < app->net_thread_count; i++)
        sum += atomic_load_explicit(&app->net_threads[i]->intake->counts[count], memory_order_relaxed);
    metrics_put_value(text, name, "counter", help, (int64_t)sum);
}

void intake_put_metrics(const struct app *app, struct strbuf *text)
{
    put_counter(
        text, app, "doorbuster_accounts_registered_total", "Accounts made by this node.", COUNT_REGISTERED);
    put_counter(text, app, "doorbuster_logins_total", "Logins with the right password.", COUNT_LOGGED_IN);
    put_counter(text, app, "doorbuster_logins_refused_total",
        "Logins with a wrong password, or an address that nobody has.", COUNT_LOGIN_REFUSED);
    put_counter(text, app, "doorbuster_tokens_refreshed_total", "Pairs of tokens given for a refresh token.",
        COUNT_REFRESHED);
    put_counter(text, app, "doorbuster_tokens_refused_total", "Requests without a token that is good.",
        COUNT_UNAUTHORIZED);
    put_counter(
        text, app, "doorbuster_intake_placed_total", "Trading orders taken by this node.", COUNT_PLACED);
    put_counter(text, app, "doorbuster_intake_invalid_total", "Trading orders with something wrong in them.",
        COUNT_INVALID);
    put_counter(text, app, "doorbuster_intake_cancelled_total", "Trading orders cancelled by their clients.",
        COUNT_CANCELLED);
}

/* --- routes --- */

static void refuse_but_post(struct http_request *request, void *context)
{
    (void)context;
    reply_detail_method(request, SLICE("POST"));
}

static void refuse_but_get_and_post(struct http_request *request, void *context)
{
    (void)context;
    reply_detail_method(request, SLICE("GET, HEAD, POST"));
}

static void refuse_but_get_and_delete(struct http_request *request, void *context)
{
    (void)context;
    reply_detail_method(request, SLICE("GET, HEAD, DELETE"));
}

/* An id that is too long for a UUID is not found, rather than no route. */
enum { ID_MAX = 4096 };

static const struct http_route routes[] = {
    {METHOD_POST, "/api/orders", orders_post, NULL, 0},
    {METHOD_GET, "/api/orders", intake_list_get, NULL, 0},
    {METHOD_ANY, "/api/orders", refuse_but_get_and_post, NULL, 0},
    {METHOD_GET, "/api/orders/:id", intake_order_get, NULL, ID_MAX},
    {METHOD_DELETE, "/api/orders/:id", intake_order_delete, NULL, ID_MAX},
    {METHOD_ANY, "/api/orders/:id", refuse_but_get_and_delete, NULL, ID_MAX},
    {METHOD_POST, "/api/auth/register", auth_register_post, NULL, 0},
    {METHOD_ANY, "/api/auth/register", refuse_but_post, NULL, 0},
    {METHOD_POST, "/api/auth/login", auth_login_post, NULL, 0},
    {METHOD_ANY, "/api/auth/login", refuse_but_post, NULL, 0},
    {METHOD_POST, "/api/auth/refresh", auth_refresh_post, NULL, 0},
    {METHOD_ANY, "/api/auth/refresh", refuse_but_post, NULL, 0},
};

const struct face intake_face = {
    .name = "intake",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};
