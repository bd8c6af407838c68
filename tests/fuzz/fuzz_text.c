/* SPDX-License-Identifier: Apache-2.0 */
/* The small readers of strangers' text: percent-encoding, queries, routes, times and numbers. */
#include "base/clock.h"
#include "base/ensure.h"
#include "base/strbuf.h"
#include "base/utf8.h"
#include "net/http_query.h"
#include "net/http_route.h"
#include "net/json.h"

#include <stdalign.h>
#include <stdlib.h>

enum { INPUT_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static alignas(max_align_t) char memory[8192];

static void check_query(struct slice text)
{
    struct arena arena;
    struct slice name;
    struct slice value;
    bool is_malformed = false;
    size_t total = 0;
    arena_init(&arena, memory, sizeof memory);
    struct slice query = text;
    while (http_query_next(&arena, &query, &name, &value, &is_malformed))
        total += name.len + value.len;
    ENSURE(total <= text.len);
    ENSURE(query.len == 0);
}

static void no_handler(struct http_request *request, void *context)
{
}

static void check_route(struct slice text)
{
    static const struct http_route routes[] = {
        {METHOD_GET, "/a", no_handler, NULL, 0},
        {METHOD_GET, "/a/:x", no_handler, NULL, 0},
        {METHOD_GET, "/a/:x/b/:y", no_handler, NULL, 0},
        {METHOD_GET, "/:x/c", no_handler, NULL, 0},
    };
    static struct http_request request;
    struct http_router router;
    if (text.len == 0)
        return;
    ENSURE(http_router_init(&router, routes, sizeof routes / sizeof routes[0]));
    request.method = METHOD_GET;
    request.path = text;
    arena_init(&request.arena, memory, sizeof memory);
    if (http_router_match(&router, &request) && request.route != NULL && request.route != &routes[0])
        ENSURE(request.params[0].len > 0 && request.params[0].len <= HTTP_PARAM_BYTES_MAX);
    http_router_fini(&router);
}

/* What is written as a JSON string is read as one, and is the same if it was valid. */
static void check_json_text(struct slice text)
{
    struct strbuf buf;
    struct json *value;
    struct slice again;
    strbuf_init_heap(&buf, INPUT_MAX * 8);
    strbuf_put_json(&buf, text);
    ENSURE(!buf.has_overflowed);
    ENSURE(json_parse(strbuf_slice(&buf), &value) == JSON_OK);
    ENSURE(json_text(value, &again));
    ENSURE(!utf8_is_valid(text) || slice_eq(text, again));
    json_free(value);
    strbuf_fini(&buf);
}

static void check_time(struct slice text)
{
    char written[CLOCK_ISO_LEN];
    int64_t wall_ms;
    int64_t again;
    if (!clock_parse_iso(text, &wall_ms))
        return;
    clock_format_iso(wall_ms, written);
    ENSURE(clock_parse_iso(slice_make(written, sizeof written), &again));
    if (wall_ms > INT64_C(-62167219200000) && wall_ms < INT64_C(253402300799999))
        ENSURE(again == wall_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t number;
    struct slice text = slice_make(data, size);
    if (size > INPUT_MAX)
        return 0;
    check_query(text);
    check_route(text);
    check_json_text(text);
    check_time(text);
    (void)slice_to_i64(text, &number);
    return 0;
}
