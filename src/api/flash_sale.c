/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flash-sale face, the buyers' half: purchases, the state of a sale, its event stream (flash-sale
 * contract, sections 2.1 to 2.4). The admin's half is flash_sale_admin.c.
 *
 * A purchase is checked in the contract's order: body syntax, limiter, X-User-Id, body content, decision.
 * The limiter of this node answers at once; when nodes share one, the request waits for their answer.
 * When the latest picture of the sale already says no, the answer comes from the picture and the line is
 * spared; a request with an Idempotency-Key always goes through the line, because its answer may have been
 * given before.
 */
#include "api/envelope.h"
#include "api/face.h"
#include "api/flash_sale_priv.h"
#include "api/metrics.h"
#include "api/streams.h"
#include "base/clock.h"
#include "net/http_query.h"

enum { NS_PER_MS = 1000000 };

void put_purchase_no(struct strbuf *body, int64_t purchase_id, int64_t purchased_ms)
{
    char date[CLOCK_DATE_LEN];
    clock_format_date(purchased_ms, date);
    strbuf_lit(body, "PUR-");
    strbuf_put(body, slice_make(date, CLOCK_DATE_LEN));
    strbuf_put_char(body, '-');
    for (int64_t limit = 1000; purchase_id < limit && limit > 1; limit /= 10)
        strbuf_put_char(body, '0');
    strbuf_put_i64(body, purchase_id);
}

static void reply_purchase(struct http_request *request, int64_t purchase_id, int64_t purchased_ms)
{
    char memory[256];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "{\"success\":true,\"data\":{\"purchaseNo\":\"");
    put_purchase_no(&body, purchase_id, purchased_ms);
    strbuf_lit(&body, "\",");
    put_iso_member(&body, SLICE("purchasedAt"), purchased_ms);
    strbuf_lit(&body, "}}");
    reply_json(request, 200, slice_make("", 0), &body);
}

/* --- who buys --- */

/* The header's value; the empty slice when there is none, or two, of which nobody knows who is meant. */
static struct slice user_header(const struct http_request *request)
{
    struct slice value;
    if (http_header_count(request, SLICE("x-user-id")) != 1)
        return slice_make("", 0);
    return http_header(request, SLICE("x-user-id"), &value) ? slice_trim(value) : slice_make("", 0);
}

/* False: the request has been answered with 400. */
static bool read_user(struct http_request *request, struct slice *user)
{
    struct slice text = user_header(request);
    bool is_there = text.len > 0;
    if (is_there && text.len <= HEADER_TEXT_LEN_MAX) {
        *user = header_to_utf8(&request->arena, text);
        return true;
    }
    reply_field_error(request,
        is_there ? SLICE("X-User-Id must not exceed 255 characters.")
                 : SLICE("X-User-Id header is required and must be a non-empty string."),
        SLICE("X-User-Id"), SLICE("Must be a non-empty string (max 255 characters)"));
    return false;
}

/* --- POST /api/v1/purchases (2.1) --- */

static void reply_too_early(struct http_request *request, struct net_thread *thread)
{
    int64_t interval_ms = limits_interval_ms(thread->app->limits);
    int64_t retry_after_s = (interval_ms + 999) / 1000;
    char text[256];
    struct strbuf extra;
    strbuf_init(&extra, text, sizeof text);
    strbuf_printf(&extra,
        "Retry-After: %lld\r\nRateLimit-Policy: \"purchase\";q=1;w=%lld\r\nRateLimit: "
        "\"purchase\";r=0;t=%lld\r\n",
        (long long)retry_after_s, (long long)retry_after_s, (long long)retry_after_s);
    char memory[256];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body,
        "{\"success\":false,\"error\":{\"code\":\"RATE_LIMIT_EXCEEDED\","
        "\"message\":\"Too many requests. Please try again later.\",\"retryAfter\":%lld}}",
        (long long)retry_after_s);
    metrics_count_rate_limited(thread->metrics);
    request->counted_status = HTTP_NOT_COUNTED;
    reply_json(request, 429, strbuf_slice(&extra), &body);
}

/* {"sku": SKU} as JSON or as a form, with no other member. */
static bool read_sku(struct http_request *request, const struct request_body *body, struct slice *sku)
{
    if (body->kind == BODY_JSON) {
        return json_member_count(body->json) == 1 && json_text(json_member(body->json, "sku"), sku) &&
               is_sku(*sku);
    }
    if (body->kind != BODY_FORM)
        return false;
    struct slice form = body->form;
    struct slice name;
    bool is_malformed = false;
    bool has_one =
        http_query_next(&request->arena, &form, &name, sku, &is_malformed) && slice_eq(name, SLICE("sku"));
    struct slice other;
    bool has_more = http_query_next(&request->arena, &form, &name, &other, &is_malformed);
    return has_one && !has_more && !is_malformed && is_sku(*sku);
}

/* The usual spelling, {"sku":"..."} as application/json, which takes no parser. */
static bool read_usual_sku(const struct http_request *request, struct slice *sku)
{
    const struct slice head = SLICE("{\"sku\":\"");
    const struct slice tail = SLICE("\"}");
    struct slice type;
    struct slice text = request->body;
    if (text.len <= head.len + tail.len || !slice_starts_with(text, head) ||
        !slice_eq(slice_make(text.base + text.len - tail.len, tail.len), tail))
        return false;
    *sku = slice_make(text.base + head.len, text.len - head.len - tail.len);
    return is_sku(*sku) && http_header(request, SLICE("content-type"), &type) &&
           slice_eq_nocase(type, SLICE("application/json"));
}

static void on_purchase_done(struct engine_call *call)
{
    struct face_call *face_call = CONTAINER_OF(call, struct face_call, call);
    struct http_request *request = face_call->request;
    const struct outcome *outcome = &call->command.outcome;
    metrics_count_result(face_call->thread->metrics, outcome->result);
    face_call_fini(face_call);
    if (outcome->result == RESULT_OK)
        reply_purchase(request, outcome->number, outcome->time_ms);
    else
        reply_result(request, outcome->result, call->retry_after_s);
}

/* The decision: from the picture when it says no, else by the line. Takes over the body. */
static void decide_purchase(struct http_request *request, struct net_thread *thread, struct slice user,
    struct slice sku, struct request_body *body)
{
    const struct sale_view *view = engine_port_view(thread->port, sku);
    struct slice key;
    enum result refusal;
    if (!http_header(request, SLICE("idempotency-key"), &key) &&
        engine_views_are_fresh(thread->app->engine) &&
        sale_view_refuses(
            view, thread->app->config.says_sold_out, engine_now_ms(thread->app->engine), &refusal)) {
        request_body_fini(body);
        metrics_count_result(thread->metrics, refusal);
        reply_result(request, refusal, 0);
        return;
    }
    /* Parsed bodies that waited in the line would fill their thread's memory for JSON; the next ones would
     * then come from the heap. */
    sku = arena_copy(&request->arena, sku);
    request_body_fini(body);
    struct face_call *face_call = face_call_create(request, thread, COMMAND_PURCHASE, on_purchase_done);
    if (face_call == NULL)
        return;
    face_call->call.command.user = user;
    face_call->call.command.sku = sku;
    if (face_call_read_key(face_call, SLICE("purchase:"), user))
        face_call_push(face_call);
}

/* What follows the limiter. `sku` is NULL when the body holds none. Takes over the body. */
static void go_on_purchase(struct http_request *request, struct net_thread *thread, bool is_allowed,
    const struct slice *sku, struct request_body *body)
{
    struct slice user;
    if (!is_allowed) {
        request_body_fini(body);
        reply_too_early(request, thread);
    } else if (!read_user(request, &user)) {
        request_body_fini(body);
    } else if (sku == NULL) {
        request_body_fini(body);
        reply_bad_request(request);
    } else {
        decide_purchase(request, thread, user, *sku, body);
    }
}

/* A purchase that waits for the limiter of all nodes. Lives in the request's arena. */
struct limited_purchase {
    struct limits_attempt attempt;
    struct http_request *request;
    struct net_thread *thread;
    struct slice sku; /* empty: the body holds none */
};

static void on_limits_decided(struct limits_attempt *attempt)
{
    struct limited_purchase *purchase = CONTAINER_OF(attempt, struct limited_purchase, attempt);
    struct request_body body = {.kind = BODY_NONE};
    go_on_purchase(purchase->request, purchase->thread, attempt->is_allowed,
        purchase->sku.len > 0 ? &purchase->sku : NULL, &body);
}

/* False: there is nobody to ask. Otherwise the request waits, without its parsed body, which was read for the
 * same reason as in decide_purchase. */
static bool ask_all_nodes(struct http_request *request, struct net_thread *thread, struct slice user,
    bool is_allowed, const struct slice *sku, struct request_body *body)
{
    struct limited_purchase *purchase = arena_alloc(&request->arena, sizeof *purchase);
    if (purchase == NULL)
        return false;
    *purchase = (struct limited_purchase){
        .attempt = {.is_allowed = is_allowed, .on_decided = on_limits_decided},
        .request = request,
        .thread = thread,
        .sku = sku == NULL ? slice_make("", 0) : arena_copy(&request->arena, *sku),
    };
    if (!limits_link_ask(thread->limits_link, user, &purchase->attempt))
        return false;
    request_body_fini(body);
    return true;
}

static void purchases_post(struct http_request *request, void *context)
{
    struct net_thread *thread = context;
    struct request_body body = {.kind = BODY_NONE};
    struct slice sku;
    bool is_usual = read_usual_sku(request, &sku);
    if (!is_usual && !request_body_read(request, false, &body))
        return;
    const struct slice *sku_or_null = is_usual || read_sku(request, &body, &sku) ? &sku : NULL;
    struct slice user = user_header(request);
    bool is_allowed =
        user.len == 0 || limits_attempt(thread->app->limits, user, request->arrived_ns / NS_PER_MS);
    if (thread->limits_link == NULL || user.len == 0 ||
        !ask_all_nodes(request, thread, user, is_allowed, sku_or_null, &body))
        go_on_purchase(request, thread, is_allowed, sku_or_null, &body);
}

/* --- reads --- */

/* ?sku=SKU, once, and nothing else. *sku is what was sent even when it is no SKU. */
static bool read_query_sku(struct http_request *request, struct slice *sku)
{
    struct slice query = request->query;
    struct slice name;
    struct slice value;
    bool is_malformed = false;
    int count = 0;
    *sku = slice_make("undefined", 9);
    while (http_query_next(&request->arena, &query, &name, &value, &is_malformed)) {
        if (!slice_eq(name, SLICE("sku")))
            return false;
        *sku = value;
        count++;
    }
    return count == 1 && !is_malformed && is_sku(*sku);
}

/* GET /api/v1/sales?sku=SKU (2.2) */
static void sales_get(struct http_request *request, void *context)
{
    struct net_thread *thread = context;
    struct slice sku;
    if (!read_query_sku(request, &sku)) {
        reply_bad_request(request);
        return;
    }
    char memory[REPLY_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "{\"success\":true,\"data\":");
    put_sale(&body, sku, engine_port_view(thread->port, sku));
    strbuf_put_char(&body, '}');
    reply_json(request, 200, SLICE("Cache-Control: public, max-age=1\r\n"), &body);
}

/* A GET of a purchase on its way to the store and back. */
struct face_lookup {
    struct engine_lookup lookup;
    struct http_request *request;
};

static void on_looked_up(struct engine_lookup *lookup)
{
    struct http_request *request = CONTAINER_OF(lookup, struct face_lookup, lookup)->request;
    const struct purchase_lookup *purchase = &lookup->question.purchase;
    bool is_passing = lookup->status == ERR_UNAVAILABLE || lookup->status == ERR_TIMEOUT ||
                      lookup->status == ERR_CONFLICT || lookup->status == ERR_LOCKED;
    if (is_passing) {
        reply_result(request, RESULT_UNAVAILABLE, 1);
    } else if (lookup->status != ERR_NONE) {
        reply_error(request, 500, SLICE("INTERNAL_ERROR"), SLICE("An unexpected error occurred."));
    } else if (purchase->is_found) {
        reply_purchase(request, purchase->row.id, purchase->row.purchased_ms);
    } else {
        request->counted_status = 500; /* as the original counts it: contract, section 2.10 */
        reply_error(request, 404, SLICE("NOT_FOUND"), SLICE("No purchase found for this user."));
    }
}

/* GET /api/v1/purchases?sku=SKU (2.3) */
static void purchases_get(struct http_request *request, void *context)
{
    struct net_thread *thread = context;
    struct slice user;
    struct slice sku;
    if (!read_user(request, &user))
        return;
    if (!read_query_sku(request, &sku)) {
        reply_bad_request(request);
        return;
    }
    struct face_lookup *face_lookup = arena_alloc(&request->arena, sizeof *face_lookup);
    if (face_lookup == NULL) {
        reply_error(request, 500, SLICE("INTERNAL_ERROR"), SLICE("An unexpected error occurred."));
        return;
    }
    *face_lookup = (struct face_lookup){
        .lookup = {.question = {.kind = QUESTION_PURCHASE, .purchase = {.sku = sku, .user = user}},
            .on_done = on_looked_up},
        .request = request};
    if (!engine_port_look_up(thread->port, &face_lookup->lookup))
        reply_result(request, RESULT_UNAVAILABLE, 1);
}

/* The one message of a stream for something that is no SKU. */
static void reply_stream_error(struct http_request *request, struct slice sku)
{
    char memory[REPLY_BODY_MAX];
    struct strbuf message;
    strbuf_init(&message, memory, sizeof memory);
    strbuf_lit(&message, "\nevent: error\nid: 1\ndata: Invalid SKU: \"");
    for (size_t i = 0; i < sku.len && i < 1024; i++) {
        if (sku.base[i] != '\n' && sku.base[i] != '\r')
            strbuf_put_char(&message, sku.base[i]);
    }
    strbuf_lit(&message, "\". Must be 1-64 alphanumeric characters or hyphens.\n\n");
    streams_say(request, strbuf_slice(&message));
}

/* GET /api/v1/sales/events?sku=SKU (2.4, 7) */
static void events_get(struct http_request *request, void *context)
{
    struct net_thread *thread = context;
    struct slice sku;
    if (!read_query_sku(request, &sku)) {
        reply_stream_error(request, sku);
        return;
    }
    struct slice header;
    int64_t last_id = 0;
    if (!http_header(request, SLICE("last-event-id"), &header) || !slice_to_i64(header, &last_id) ||
        last_id < 0 || last_id > INT64_MAX / 2)
        last_id = 0;
    streams_open(thread->streams, request, sku, engine_port_view(thread->port, sku), last_id);
}

static const struct http_route routes[] = {
    {METHOD_POST, "/api/v1/purchases", purchases_post, NULL, 0},
    {METHOD_GET, "/api/v1/sales", sales_get, NULL, 0},
    {METHOD_GET, "/api/v1/purchases", purchases_get, NULL, 0},
    {METHOD_GET, "/api/v1/sales/events", events_get, NULL, 0},
    {METHOD_POST, "/api/v1/products", products_post, NULL, 0},
    {METHOD_GET, "/api/v1/products/:sku", products_get, NULL, 0},
    {METHOD_PUT, "/api/v1/products/:sku", products_put, NULL, 0},
    {METHOD_PATCH, "/api/v1/products/:sku", products_patch, NULL, 0},
    {METHOD_DELETE, "/api/v1/products/:sku", products_delete, NULL, 0},
};

const struct face flash_sale_face = {
    .name = "flash-sale",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};
