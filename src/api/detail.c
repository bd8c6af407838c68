/* SPDX-License-Identifier: Apache-2.0 */
#include "api/detail.h"

enum { BODY_MAX = 1024, COMPLAINTS_MAX = 64 * 1024, MS_PER_S = 1000 };

const struct slice DETAIL_TYPE = SLICE_INIT("application/json");

void reply_detail(struct http_request *request, int status, struct slice text, struct slice extra)
{
    char memory[BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "{\"detail\":");
    strbuf_put_json(&body, text);
    strbuf_put_char(&body, '}');
    if (body.has_overflowed)
        http_reply(request, status, slice_make("", 0), extra, slice_make("", 0));
    else
        http_reply(request, status, DETAIL_TYPE, extra, strbuf_slice(&body));
}

void reply_detail_unauthorized(struct http_request *request, struct slice text)
{
    reply_detail(request, 401, text, SLICE("WWW-Authenticate: Bearer\r\n"));
}

void reply_detail_later(struct http_request *request, struct slice text, int64_t retry_after_ms)
{
    int64_t retry_after_s = retry_after_ms <= MS_PER_S ? 1 : (retry_after_ms + MS_PER_S - 1) / MS_PER_S;
    char line[64];
    struct strbuf extra;
    strbuf_init(&extra, line, sizeof line);
    strbuf_printf(&extra, "Retry-After: %lld\r\n", (long long)retry_after_s);
    reply_detail(request, 503, text, strbuf_slice(&extra));
}

void reply_detail_method(struct http_request *request, struct slice allow)
{
    char line[64];
    struct strbuf extra;
    strbuf_init(&extra, line, sizeof line);
    strbuf_printf(&extra, "Allow: %.*s\r\n", SLICE_ARGS(allow));
    reply_detail(request, 405, SLICE("Method Not Allowed"), strbuf_slice(&extra));
}

void reply_made(struct http_request *request, int status, struct slice extra, const struct strbuf *body)
{
    if (body->has_overflowed)
        reply_detail_later(request, SLICE("There is no memory for the answer now. Ask again."), 0);
    else
        http_reply(request, status, DETAIL_TYPE, extra, strbuf_slice(body));
}

/* --- what is wrong with a request --- */

void complaints_init(struct complaints *complaints)
{
    strbuf_init_heap(&complaints->text, COMPLAINTS_MAX);
    complaints->count = 0;
}

void complaints_fini(struct complaints *complaints)
{
    strbuf_fini(&complaints->text);
}

void complaints_add(struct complaints *complaints, const char *where, struct slice field, const char *type,
    struct slice msg, struct slice input)
{
    struct strbuf *text = &complaints->text;
    strbuf_printf(text, "%s{\"type\":\"%s\",\"loc\":[\"%s\"", complaints->count == 0 ? "{\"detail\":[" : ",",
        type, where);
    if (field.len > 0) {
        strbuf_put_char(text, ',');
        strbuf_put_json(text, field);
    }
    strbuf_lit(text, "],\"msg\":");
    strbuf_put_json(text, msg);
    strbuf_lit(text, ",\"input\":");
    strbuf_put(text, input.len == 0 || input.len > INPUT_LEN_MAX ? SLICE("null") : input);
    strbuf_put_char(text, '}');
    complaints->count++;
}

void reply_complaints(struct http_request *request, struct complaints *complaints)
{
    strbuf_lit(&complaints->text, "]}");
    reply_made(request, 422, slice_make("", 0), &complaints->text);
    complaints_fini(complaints);
}
