/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flash-sale face, the admin's half: products (flash-sale contract, sections 2.5 to 2.8, 3 and 17). Order
 * of checks: body syntax, key, body content, path, decision.
 */
#include "api/admin.h"
#include "api/envelope.h"
#include "api/flash_sale_priv.h"
#include "base/clock.h"
#include "base/utf8.h"

/* JavaScript's largest exact integer: beyond it a client could not read back what it sent. */
static const int64_t INTEGER_MAX = 9007199254740991;

/* Domain and not-found errors count as 500, whatever the wire says: contract, section 2.10. */
static void count_as_error(struct http_request *request)
{
    request->counted_status = 500;
}

/* --- which product --- */

/* The path's SKU. False: the request has been answered with 200 INVALID_SKU. */
static bool read_path_sku(struct http_request *request, struct slice *sku)
{
    *sku = request->params[0];
    if (is_sku(*sku))
        return true;
    char memory[256];
    struct strbuf message;
    strbuf_init(&message, memory, sizeof memory);
    strbuf_lit(&message, "Invalid SKU: \"");
    strbuf_put(&message, *sku);
    strbuf_lit(&message, "\". Must be 1-64 alphanumeric characters or hyphens.");
    count_as_error(request);
    reply_error(request, 200, SLICE("INVALID_SKU"), strbuf_slice(&message));
    return false;
}

/* --- what is asked --- */

static bool read_name(const struct json *value, struct product_fields *fields)
{
    fields->present |= FIELD_NAME;
    if (!json_text(value, &fields->name) || memchr(fields->name.base, '\0', fields->name.len) != NULL)
        return false;
    size_t length = utf8_length(fields->name);
    return length >= 1 && length <= PRODUCT_NAME_CHARS_MAX;
}

static bool read_count(const struct json *value, int64_t min, int64_t *count)
{
    return json_int64(value, count) && *count >= min && *count <= INTEGER_MAX;
}

static bool read_time(const struct json *value, int64_t *wall_ms)
{
    struct slice text;
    return json_text(value, &text) && clock_parse_iso(text, wall_ms);
}

/* One member of POST or PUT; false when its name is unknown or its value is not as it should be. */
static bool read_member(struct slice name, const struct json *value, struct product_fields *fields)
{
    if (slice_eq(name, SLICE("productName")))
        return read_name(value, fields);
    if (slice_eq(name, SLICE("initialStock"))) {
        fields->present |= FIELD_INITIAL_STOCK;
        return read_count(value, 0, &fields->initial_stock);
    }
    if (slice_eq(name, SLICE("startTime"))) {
        fields->present |= FIELD_START;
        return read_time(value, &fields->start_ms);
    }
    if (slice_eq(name, SLICE("endTime"))) {
        fields->present |= FIELD_END;
        return read_time(value, &fields->end_ms);
    }
    return false;
}

static bool read_patch_member(struct slice name, const struct json *value, struct product_fields *fields)
{
    if (slice_eq(name, SLICE("perUserLimit"))) {
        fields->present |= FIELD_PER_USER_LIMIT;
        return read_count(value, 1, &fields->per_user_limit);
    }
    if (slice_eq(name, SLICE("price"))) {
        fields->present |= FIELD_PRICE;
        return read_count(value, 0, &fields->price_minor);
    }
    return false;
}

/* {"sku":...} and all four fields. */
static bool read_create(const struct request_body *body, struct command *command)
{
    void *cursor = NULL;
    struct slice name;
    const struct json *value;
    if (body->kind != BODY_JSON || json_kind(body->json) != JSON_KIND_OBJECT)
        return false;
    while (json_next_member(body->json, &cursor, &name, &value)) {
        bool is_good = slice_eq(name, SLICE("sku")) ? json_text(value, &command->sku) && is_sku(command->sku)
                                                    : read_member(name, value, &command->product);
        if (!is_good)
            return false;
    }
    return command->sku.len > 0 && command->product.present == FIELDS_ALL_REQUIRED;
}

/* Any subset of the fields that `read` knows; null counts as absent. */
static bool read_some(const struct request_body *body, struct product_fields *fields,
    bool (*read)(struct slice, const struct json *, struct product_fields *))
{
    void *cursor = NULL;
    struct slice name;
    const struct json *value;
    if (body->kind == BODY_NONE)
        return true;
    if (body->kind != BODY_JSON || json_kind(body->json) != JSON_KIND_OBJECT)
        return false;
    while (json_next_member(body->json, &cursor, &name, &value)) {
        struct product_fields ignored = {0};
        bool is_null = json_kind(value) == JSON_KIND_NULL;
        if (is_null) {
            (void)read(name, value, &ignored);
            if (ignored.present == 0)
                return false; /* an unknown name is refused even with null */
        } else if (!read(name, value, fields)) {
            return false;
        }
    }
    return true;
}

/* --- what is answered --- */

/* "sku":...,"productName":...,"initialStock":... */
static void put_product_head(struct strbuf *body, const struct sale_view *view)
{
    strbuf_lit(body, "{\"success\":true,\"data\":{\"sku\":\"");
    strbuf_put(body, view->sku);
    strbuf_lit(body, "\",\"productName\":");
    strbuf_put_json(body, view->values.name);
    strbuf_lit(body, ",\"initialStock\":");
    strbuf_put_i64(body, view->values.initial_stock);
    strbuf_put_char(body, ',');
    put_iso_member(body, SLICE("startTime"), view->values.start_ms);
    strbuf_put_char(body, ',');
    put_iso_member(body, SLICE("endTime"), view->values.end_ms);
    strbuf_lit(body, ",\"state\":\"");
    strbuf_put(body, sale_state_name(view->values.state));
    strbuf_lit(body, "\",");
    put_iso_member(body, SLICE("createdAt"), view->values.created_ms);
}

static void put_stock_members(struct strbuf *body, const struct sale_view *view)
{
    strbuf_lit(body, ",\"currentStock\":");
    strbuf_put_i64(body, view->values.stock);
    strbuf_lit(body, ",\"totalPurchases\":");
    strbuf_put_i64(body, view->values.initial_stock - view->values.stock);
}

static void reply_unknown_product(struct http_request *request, struct slice sku)
{
    char memory[256];
    struct strbuf message;
    strbuf_init(&message, memory, sizeof memory);
    strbuf_lit(&message, "Product with SKU '");
    strbuf_put(&message, sku);
    strbuf_lit(&message, "' not found");
    count_as_error(request);
    reply_error(request, 404, SLICE("NOT_FOUND"), strbuf_slice(&message));
}

/* What a view of the changed product answers to PUT (2.7) and PATCH (17). */
static void reply_changed(struct http_request *request, const struct sale_view *view, bool is_patch)
{
    char memory[REPLY_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    put_product_head(&body, view);
    if (is_patch) {
        put_stock_members(&body, view);
        strbuf_lit(&body, ",\"perUserLimit\":");
        strbuf_put_i64(&body, view->values.per_user_limit);
        strbuf_lit(&body, ",\"price\":");
        strbuf_put_i64(&body, view->values.price_minor);
    }
    strbuf_lit(&body, "}}");
    reply_json(request, 200, slice_make("", 0), &body);
}

static void reply_not_modifiable(struct http_request *request, struct slice sku, enum sale_state state)
{
    char memory[256];
    struct strbuf message;
    strbuf_init(&message, memory, sizeof memory);
    strbuf_printf(&message, "Sale %.*s cannot be modified in %.*s state", SLICE_ARGS(sku),
        SLICE_ARGS(sale_state_name(state)));
    char more[256];
    struct strbuf text;
    strbuf_init(&text, more, sizeof more);
    strbuf_printf(
        &text, "Sale must be in UPCOMING state, currently %.*s", SLICE_ARGS(sale_state_name(state)));
    count_as_error(request);
    reply_field_error(request, strbuf_slice(&message), SLICE("state"), strbuf_slice(&text));
}

/* POST /api/v1/products echoes the times as they were sent. */
static void reply_created(struct http_request *request, const struct face_call *face_call)
{
    const struct command *command = &face_call->call.command;
    struct slice start = {0};
    struct slice end = {0};
    (void)json_text(json_member(face_call->body.json, "startTime"), &start);
    (void)json_text(json_member(face_call->body.json, "endTime"), &end);
    char memory[REPLY_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "{\"success\":true,\"data\":{\"sku\":\"");
    strbuf_put(&body, command->sku);
    strbuf_lit(&body, "\",\"productName\":");
    strbuf_put_json(&body, command->product.name);
    strbuf_lit(&body, ",\"initialStock\":");
    strbuf_put_i64(&body, command->product.initial_stock);
    strbuf_lit(&body, ",\"startTime\":");
    strbuf_put_json(&body, start);
    strbuf_lit(&body, ",\"endTime\":");
    strbuf_put_json(&body, end);
    strbuf_lit(&body, ",\"state\":\"UPCOMING\",");
    put_iso_member(&body, SLICE("createdAt"), command->outcome.time_ms);
    strbuf_lit(&body, "}}");
    reply_json(request, 201, slice_make("", 0), &body);
}

static void reply_deleted(struct http_request *request, struct slice sku)
{
    char memory[256];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "{\"success\":true,\"data\":{\"message\":\"Product ");
    strbuf_put(&body, sku);
    strbuf_lit(&body, " and all associated sale data have been reset.\"}}");
    reply_json(request, 200, slice_make("", 0), &body);
}

static void reply_ok(struct face_call *face_call)
{
    struct http_request *request = face_call->request;
    const struct command *command = &face_call->call.command;
    const struct sale_view *view;
    switch (command->kind) {
    case COMMAND_PRODUCT_CREATE:
        reply_created(request, face_call);
        return;
    case COMMAND_PRODUCT_DELETE:
        reply_deleted(request, command->sku);
        return;
    default:
        view = engine_port_view(face_call->thread->port, command->sku);
        if (view == NULL) /* somebody removed it between the commit and now */
            reply_unknown_product(request, command->sku);
        else
            reply_changed(request, view, command->kind == COMMAND_PRODUCT_PATCH);
    }
}

static void on_product_done(struct engine_call *call)
{
    struct face_call *face_call = CONTAINER_OF(call, struct face_call, call);
    struct http_request *request = face_call->request;
    const struct command *command = &call->command;
    struct request_body body =
        face_call->body; /* the request's memory goes with the reply, the body's does not */
    switch (command->outcome.result) {
    case RESULT_OK:
        reply_ok(face_call);
        break;
    case RESULT_PRODUCT_NOT_FOUND:
        reply_unknown_product(request, command->sku);
        break;
    case RESULT_SALE_IS_ACTIVE:
        reply_not_modifiable(request, command->sku, SALE_ACTIVE);
        break;
    case RESULT_SALE_HAS_ENDED:
        reply_not_modifiable(request, command->sku, SALE_ENDED);
        break;
    default:
        count_as_error(request);
        reply_result(request, command->outcome.result, call->retry_after_s);
    }
    request_body_fini(&body);
}

/* --- routes --- */

/* The steps that all changing routes share, up to the body's content. NULL: the request has been answered. */
static struct face_call *begin(
    struct http_request *request, struct net_thread *thread, enum command_kind kind, bool is_body_optional)
{
    struct request_body body;
    if (!request_body_read(request, is_body_optional, &body))
        return NULL;
    struct face_call *face_call =
        check_admin(request, thread) ? face_call_create(request, thread, kind, on_product_done) : NULL;
    if (face_call == NULL)
        request_body_fini(&body);
    else
        face_call->body = body;
    return face_call;
}

static void refuse_body(struct face_call *face_call)
{
    struct http_request *request = face_call->request;
    face_call_fini(face_call);
    reply_bad_request(request);
}

/* Path, then key, then the line. */
static void send_for_path(struct face_call *face_call)
{
    struct request_body body = face_call->body;
    if (!read_path_sku(face_call->request, &face_call->call.command.sku)) {
        request_body_fini(&body);
        return;
    }
    if (face_call_read_key(face_call, SLICE("admin"), slice_make("", 0)))
        face_call_push(face_call);
}

void products_post(struct http_request *request, void *context)
{
    struct face_call *face_call = begin(request, context, COMMAND_PRODUCT_CREATE, false);
    if (face_call == NULL)
        return;
    if (!read_create(&face_call->body, &face_call->call.command))
        refuse_body(face_call);
    else if (face_call_read_key(face_call, SLICE("admin"), slice_make("", 0)))
        face_call_push(face_call);
}

static void change(struct http_request *request, struct net_thread *thread, enum command_kind kind,
    bool (*read)(struct slice, const struct json *, struct product_fields *))
{
    struct face_call *face_call = begin(request, thread, kind, false);
    if (face_call == NULL)
        return;
    if (!read_some(&face_call->body, &face_call->call.command.product, read))
        refuse_body(face_call);
    else
        send_for_path(face_call);
}

void products_put(struct http_request *request, void *context)
{
    change(request, context, COMMAND_PRODUCT_UPDATE, read_member);
}

void products_patch(struct http_request *request, void *context)
{
    change(request, context, COMMAND_PRODUCT_PATCH, read_patch_member);
}

void products_delete(struct http_request *request, void *context)
{
    struct face_call *face_call = begin(request, context, COMMAND_PRODUCT_DELETE, true);
    if (face_call != NULL)
        send_for_path(face_call);
}

void products_get(struct http_request *request, void *context)
{
    struct net_thread *thread = context;
    struct slice sku;
    if (!check_admin(request, thread) || !read_path_sku(request, &sku))
        return;
    const struct sale_view *view = engine_port_view(thread->port, sku);
    if (view == NULL) {
        reply_unknown_product(request, sku);
        return;
    }
    char memory[REPLY_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    put_product_head(&body, view);
    put_stock_members(&body, view);
    strbuf_lit(&body, "}}");
    reply_json(request, 200, slice_make("", 0), &body);
}
