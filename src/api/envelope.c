/* SPDX-License-Identifier: Apache-2.0 */
#include "api/envelope.h"

#include "base/clock.h"
#include "base/ensure.h"

const struct slice CONTENT_TYPE_JSON = SLICE_INIT("application/json; charset=utf-8");

static void open_error(struct strbuf *body, struct slice code, struct slice message)
{
    strbuf_lit(body, "{\"success\":false,\"error\":{\"code\":");
    strbuf_put_json(body, code);
    strbuf_lit(body, ",\"message\":");
    strbuf_put_json(body, message);
}

void envelope_error(struct strbuf *body, struct slice code, struct slice message)
{
    open_error(body, code, message);
    strbuf_lit(body, "}}");
}

void envelope_render_http_error(
    int status, const char *message, const struct http_request *request, struct strbuf *body)
{
    (void)request;
    struct slice code = status == 503 ? SLICE("SERVICE_UNAVAILABLE") : SLICE("HTTP_ERROR");
    envelope_error(body, code, slice_cstr(message));
}

void reply_json(struct http_request *request, int status, struct slice extra, const struct strbuf *body)
{
    if (body->has_overflowed) {
        static const struct slice too_long =
            SLICE_INIT("{\"success\":false,\"error\":{\"code\":\"INTERNAL_ERROR\",\"message\":\"An "
                       "unexpected error occurred.\"}}");
        http_reply(request, 500, CONTENT_TYPE_JSON, slice_make("", 0), too_long);
        return;
    }
    http_reply(request, status, CONTENT_TYPE_JSON, extra, strbuf_slice(body));
}

void reply_error(struct http_request *request, int status, struct slice code, struct slice message)
{
    char memory[REPLY_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    envelope_error(&body, code, message);
    reply_json(request, status, slice_make("", 0), &body);
}

void reply_field_error(
    struct http_request *request, struct slice message, struct slice field, struct slice text)
{
    char memory[REPLY_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    open_error(&body, SLICE("VALIDATION_ERROR"), message);
    strbuf_lit(&body, ",\"fields\":{");
    strbuf_put_json(&body, field);
    strbuf_put_char(&body, ':');
    strbuf_put_json(&body, text);
    strbuf_lit(&body, "}}}");
    reply_json(request, 400, slice_make("", 0), &body);
}

void reply_bad_request(struct http_request *request)
{
    reply_error(request, 400, SLICE("HTTP_ERROR"), SLICE("Bad Request Exception"));
}

void reply_result(struct http_request *request, enum result result, int retry_after_s)
{
    const struct result_info *info = result_info(result);
    ENSURE(info != NULL);
    char memory[512];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    envelope_error(&body, slice_cstr(info->code), slice_cstr(info->text));
    char line[64];
    struct strbuf extra;
    strbuf_init(&extra, line, sizeof line);
    if (retry_after_s > 0)
        strbuf_printf(&extra, "Retry-After: %d\r\n", retry_after_s);
    reply_json(request, info->http_status, strbuf_slice(&extra), &body);
}

void envelope_not_found(struct http_request *request, void *context)
{
    (void)context;
    char text[REPLY_BODY_MAX];
    struct strbuf message;
    strbuf_init(&message, text, sizeof text);
    strbuf_lit(&message, "Cannot ");
    strbuf_put(&message, request->method_name);
    strbuf_put_char(&message, ' ');
    strbuf_put(
        &message, slice_make(request->target.base, request->target.len < 1024 ? request->target.len : 1024));
    reply_error(request, 404, SLICE("HTTP_ERROR"), strbuf_slice(&message));
}

void put_iso_member(struct strbuf *body, struct slice name, int64_t wall_ms)
{
    char time[CLOCK_ISO_LEN];
    clock_format_iso(wall_ms, time);
    strbuf_put_char(body, '"');
    strbuf_put(body, name);
    strbuf_lit(body, "\":\"");
    strbuf_put(body, slice_make(time, CLOCK_ISO_LEN));
    strbuf_put_char(body, '"');
}
