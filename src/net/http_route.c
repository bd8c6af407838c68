/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_route.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/utf8.h"
#include "net/http_query.h"

/* A path cut at its slashes, decoded. */
struct segments {
    struct slice items[HTTP_SEGMENTS_MAX];
    size_t count; /* HTTP_SEGMENTS_MAX + 1 when there are more */
};

static bool is_param(struct slice segment)
{
    return segment.len > 1 && segment.base[0] == ':';
}

/* Takes the next segment off the front of a path that begins with '/'. */
static struct slice take_segment(struct slice *path)
{
    size_t end = 1;
    while (end < path->len && path->base[end] != '/')
        end++;
    struct slice segment = slice_make(path->base + 1, end - 1);
    *path = slice_make(path->base + end, path->len - end);
    return segment;
}

static void init_row(struct http_route_row *row, const struct http_route *route)
{
    struct slice rest = slice_cstr(route->pattern);
    *row = (struct http_route_row){.route = route, .pattern = rest, .prefix = rest};
    ENSURE(rest.len > 0 && rest.base[0] == '/');
    size_t segment_count = 0;
    size_t param_count = 0;
    while (rest.len > 0) {
        size_t start = (size_t)(rest.base - row->pattern.base);
        segment_count++;
        if (!is_param(take_segment(&rest)))
            continue;
        if (param_count++ == 0)
            row->prefix.len = start + 1;
    }
    row->has_params = param_count > 0;
    ENSURE(segment_count <= HTTP_SEGMENTS_MAX);
    ENSURE(param_count <= HTTP_PARAMS_MAX);
}

bool http_router_init(struct http_router *router, const struct http_route *routes, size_t count)
{
    *router = (struct http_router){.count = count};
    router->rows = calloc(count == 0 ? 1 : count, sizeof *router->rows);
    if (router->rows == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        init_row(&router->rows[i], &routes[i]);
    return true;
}

void http_router_fini(struct http_router *router)
{
    free(router->rows);
    *router = (struct http_router){0};
}

static bool matches_segments(
    const struct http_route_row *row, const struct segments *path, struct http_request *request)
{
    struct slice pattern = row->pattern;
    size_t param_max = row->route->param_bytes_max == 0 ? HTTP_PARAM_BYTES_MAX : row->route->param_bytes_max;
    size_t param = 0;
    size_t i = 0;
    for (; pattern.len > 0 && i < path->count && i < HTTP_SEGMENTS_MAX; i++) {
        struct slice wanted = take_segment(&pattern);
        struct slice segment = path->items[i];
        if (!is_param(wanted)) {
            if (!slice_eq(wanted, segment))
                return false;
        } else if (segment.len == 0 || segment.len > param_max) {
            return false;
        } else {
            request->params[param++] = segment;
        }
    }
    return pattern.len == 0 && i == path->count;
}

/* False when a segment does not decode; only the first HTTP_SEGMENTS_MAX are of interest. */
static bool cut_path(struct arena *arena, struct slice path, struct segments *segments)
{
    segments->count = 0;
    while (path.len > 0) {
        if (segments->count == HTTP_SEGMENTS_MAX) {
            segments->count++;
            return true;
        }
        if (!http_percent_decode(arena, take_segment(&path), false, &segments->items[segments->count++]))
            return false;
    }
    return true;
}

static bool takes_method(const struct http_route_row *row, enum method method)
{
    return row->route->method == method || row->route->method == METHOD_ANY;
}

/*
 * The usual path has nothing to decode, and most routes have no parameters: no more than a comparison then.
 */
static const struct http_route *find_plain(const struct http_router *router, struct http_request *request)
{
    struct slice path = request->path;
    struct segments segments = {.count = 0};
    for (size_t i = 0; i < router->count; i++) {
        const struct http_route_row *row = &router->rows[i];
        if (!takes_method(row, request->method))
            continue;
        if (!row->has_params) {
            if (slice_eq(row->pattern, path))
                return row->route;
            continue;
        }
        if (!slice_starts_with(path, row->prefix))
            continue;
        if (segments.count == 0)
            (void)cut_path(&request->arena, path, &segments); /* decodes nothing, so it cannot fail */
        if (matches_segments(row, &segments, request))
            return row->route;
    }
    return NULL;
}

static const struct http_route *find_cut(
    const struct http_router *router, struct http_request *request, const struct segments *segments)
{
    for (size_t i = 0; i < router->count; i++) {
        const struct http_route_row *row = &router->rows[i];
        if (takes_method(row, request->method) && matches_segments(row, segments, request))
            return row->route;
    }
    return NULL;
}

bool http_router_match(const struct http_router *router, struct http_request *request)
{
    struct slice path = request->path;
    request->route = NULL;
    if (path.base[0] != '/') /* "OPTIONS *" */
        return true;
    if (memchr(path.base, '%', path.len) == NULL) {
        request->route = find_plain(router, request);
        return true;
    }
    struct segments segments;
    if (!cut_path(&request->arena, path, &segments) ||
        !http_percent_decode(&request->arena, path, false, &request->path) || !utf8_is_valid(request->path))
        return false;
    request->route = find_cut(router, request, &segments);
    return true;
}
