/* SPDX-License-Identifier: Apache-2.0 */
/* To the line and back, to the store and back, and the answers of the vending face (vending contract). */
#include "api/admin.h"
#include "api/vending_priv.h"
#include "base/clock_text.h"
#include "base/utf8.h"

enum { NS_PER_MS = 1000000, MS_PER_S = 1000, SHOWN_ID_MAX = 64 };

/* --- answers --- */

/* 2026-01-01T00:00:00.000000Z: the original's times have six digits behind the point. */
static void put_time(struct strbuf *body, struct slice name, int64_t time_ms)
{
    char text[CLOCK_ISO_LEN];
    clock_format_iso(time_ms, text);
    strbuf_lit(body, ",\"");
    strbuf_put(body, name);
    strbuf_lit(body, "\":\"");
    strbuf_put(body, slice_make(text, CLOCK_ISO_LEN - 1)); /* without Z */
    strbuf_lit(body, "000Z\"");
}

void put_machine(struct strbuf *body, const struct machine_row *machine)
{
    strbuf_lit(body, "{\"id\":");
    strbuf_put_i64(body, machine->id);
    strbuf_lit(body, ",\"name\":");
    strbuf_put_json(body, machine->name);
    strbuf_lit(body, ",\"status\":\"");
    strbuf_put(body, machine_status_name(machine->status));
    strbuf_lit(body, "\",\"usage_count\":");
    strbuf_put_i64(body, machine->usage_count);
    put_time(body, SLICE("created_at"), machine->created_ms);
    put_time(body, SLICE("updated_at"), machine->updated_ms);
    if (machine->is_draining)
        strbuf_lit(body, ",\"draining\":true");
    strbuf_put_char(body, '}');
}

void put_product(struct strbuf *body, const struct product_row *product)
{
    strbuf_lit(body, "{\"id\":");
    strbuf_put_i64(body, product->id);
    strbuf_lit(body, ",\"name\":");
    strbuf_put_json(body, product->name);
    strbuf_lit(body, ",\"stock\":");
    strbuf_put_i64(body, product->stock);
    put_time(body, SLICE("created_at"), product->created_ms);
    put_time(body, SLICE("updated_at"), product->updated_ms);
    strbuf_put_char(body, '}');
}

void vending_reply(struct http_request *request, int status, struct slice extra, const struct strbuf *body)
{
    if (body->has_overflowed)
        vending_reply_later(request, SLICE("There is no memory for the answer now."), 0);
    else
        http_reply(request, status, SLICE("application/json"), extra, strbuf_slice(body));
}

static void reply_text(
    struct http_request *request, int status, const char *member, struct slice text, struct slice extra)
{
    char memory[1024];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body, "{\"%s\":", member);
    strbuf_put_json(&body, text);
    strbuf_put_char(&body, '}');
    http_reply(request, status, SLICE("application/json"), extra, strbuf_slice(&body));
}

void vending_reply_error(struct http_request *request, int status, struct slice text, struct slice extra)
{
    reply_text(request, status, "error", text, extra);
}

void vending_reply_message(struct http_request *request, int status, struct slice text, struct slice extra)
{
    reply_text(request, status, "message", text, extra);
}

/* As much of it as an answer repeats, in whole characters. */
static struct slice shorten(struct slice text)
{
    struct slice rest = text;
    while (rest.len > 0 && text.len - rest.len < SHOWN_ID_MAX) {
        size_t width = utf8_char_len(rest);
        width = width == 0 ? 1 : width;
        rest = slice_make(rest.base + width, rest.len - width);
    }
    return slice_make(text.base, text.len - rest.len);
}

void vending_reply_no_model(struct http_request *request, struct slice model, struct slice id)
{
    char memory[256];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    strbuf_lit(&text, "No query results for model [App\\Models\\");
    strbuf_put(&text, model);
    strbuf_lit(&text, "] ");
    strbuf_put(&text, shorten(id));
    vending_reply_message(request, 404, strbuf_slice(&text), slice_make("", 0));
}

void vending_reply_method(struct http_request *request, const char *allow)
{
    char message[256];
    char header[64];
    struct strbuf text;
    struct strbuf extra;
    strbuf_init(&text, message, sizeof message);
    strbuf_init(&extra, header, sizeof header);
    strbuf_lit(&text, "The ");
    strbuf_put(&text, shorten(request->method_name));
    strbuf_lit(&text, " method is not supported for route ");
    strbuf_put(&text, slice_cstr(request->route->pattern + 1));
    strbuf_printf(&text, ". Supported methods: %s.", allow);
    strbuf_printf(&extra, "Allow: %s\r\n", allow);
    vending_reply_message(request, 405, strbuf_slice(&text), strbuf_slice(&extra));
}

bool vending_check_admin(struct http_request *request, const struct vending *vending)
{
    if (is_admin(request, vending->thread))
        return true;
    request->counted_status = HTTP_NOT_COUNTED;
    vending_reply_message(request, 401,
        SLICE("Missing or invalid X-Admin-Key header. Send the key that the server was started with."),
        slice_make("", 0));
    return false;
}

void vending_reply_later(struct http_request *request, struct slice text, int64_t retry_after_ms)
{
    char line[64];
    struct strbuf extra;
    int64_t seconds = (retry_after_ms + MS_PER_S - 1) / MS_PER_S;
    strbuf_init(&extra, line, sizeof line);
    strbuf_printf(&extra, "Retry-After: %lld\r\n", (long long)(seconds < 1 ? 1 : seconds));
    vending_reply_error(request, 503, text, strbuf_slice(&extra));
}

void vending_reply_undecided(struct vending_call *call, const char *advice)
{
    enum result result = call->call.command.outcome.result;
    char memory[256];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    if (result == RESULT_OUTCOME_UNKNOWN)
        strbuf_printf(&text, "It is not known whether this was stored. %s", advice);
    else
        strbuf_put(&text, slice_cstr(result_info(RESULT_UNAVAILABLE)->text));
    vending_reply_later(call->request, strbuf_slice(&text), (int64_t)call->call.retry_after_s * MS_PER_S);
}

bool vending_path_id(const struct http_request *request, int64_t *id)
{
    return slice_to_i64(request->params[0], id) && *id >= 1;
}

/* --- the line --- */

void vending_reply_no_memory(struct http_request *request)
{
    vending_reply_later(request, SLICE("There is no memory for the request now. Nothing was changed."), 0);
}

struct vending_call *vending_call_create(struct http_request *request, struct vending *vending,
    enum command_kind kind, void (*on_done)(struct engine_call *call))
{
    struct vending_call *call = arena_alloc(&request->arena, sizeof *call);
    if (call == NULL) {
        vending_reply_no_memory(request);
        return NULL;
    }
    call->request = request;
    call->vending = vending;
    call->call.command.kind = kind;
    call->call.command.pool = &call->pool;
    call->call.on_done = on_done;
    call->call.deadline_ns =
        request->arrived_ns + vending->thread->app->config.answer_deadline_ms * NS_PER_MS;
    return call;
}

void vending_call_push(struct vending_call *call)
{
    if (!engine_port_push(call->vending->thread->port, &call->call))
        vending_reply_undecided(call, "");
}

/* --- the store --- */

static void on_looked_up(struct engine_lookup *engine_lookup)
{
    struct vending_lookup *lookup = CONTAINER_OF(engine_lookup, struct vending_lookup, lookup);
    if (engine_lookup->status == ERR_NONE) {
        lookup->on_answer(lookup);
        return;
    }
    question_fini(&engine_lookup->question);
    vending_reply_later(lookup->request, SLICE("The store does not answer now. Try again."), 0);
}

struct vending_lookup *vending_lookup_create(struct http_request *request, struct vending *vending,
    enum question_kind kind, void (*on_answer)(struct vending_lookup *lookup))
{
    struct vending_lookup *lookup = arena_alloc(&request->arena, sizeof *lookup);
    if (lookup == NULL) {
        vending_reply_no_memory(request);
        return NULL;
    }
    *lookup = (struct vending_lookup){
        .lookup = {.question = {.kind = kind}, .on_done = on_looked_up},
        .vending = vending,
        .request = request,
        .on_answer = on_answer,
    };
    return lookup;
}

void vending_look_up(struct vending_lookup *lookup)
{
    if (!engine_port_look_up(lookup->vending->thread->port, &lookup->lookup)) {
        question_fini(&lookup->lookup.question);
        vending_reply_later(lookup->request, SLICE("Too many wait for the store now. Try again."), 0);
    }
}
