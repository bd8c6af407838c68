/* SPDX-License-Identifier: Apache-2.0 */
#include "api/problem.h"

enum { BODY_MAX = 4096, MS_PER_S = 1000 };

static const struct slice type_problem = SLICE_INIT("application/problem+json");

void reply_problem(struct http_request *request, int status, struct slice detail, struct slice extra)
{
    char memory[BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body,
        "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", http_status_text(status),
        status);
    strbuf_put_json(&body, detail);
    strbuf_put_char(&body, '}');
    if (body.has_overflowed)
        http_reply(request, status, slice_make("", 0), extra, slice_make("", 0));
    else
        http_reply(request, status, type_problem, extra, strbuf_slice(&body));
}

void reply_problem_later(struct http_request *request, struct slice detail, int64_t retry_after_ms)
{
    int64_t retry_after_s = retry_after_ms <= MS_PER_S ? 1 : (retry_after_ms + MS_PER_S - 1) / MS_PER_S;
    char line[64];
    struct strbuf extra;
    strbuf_init(&extra, line, sizeof line);
    strbuf_printf(&extra, "Retry-After: %lld\r\n", (long long)retry_after_s);
    reply_problem(request, 503, detail, strbuf_slice(&extra));
}

void reply_problem_method(struct http_request *request, struct slice allow)
{
    char line[64];
    char memory[256];
    struct strbuf extra;
    struct strbuf detail;
    strbuf_init(&extra, line, sizeof line);
    strbuf_printf(&extra, "Allow: %.*s\r\n", SLICE_ARGS(allow));
    strbuf_init(&detail, memory, sizeof memory);
    strbuf_lit(&detail, "This path is asked with ");
    strbuf_put(&detail, allow);
    strbuf_lit(&detail, " only.");
    reply_problem(request, 405, strbuf_slice(&detail), strbuf_slice(&extra));
}
