/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes, cut into segments once so that a request only compares. Any thread once made. */
#ifndef DOORBUSTER_NET_HTTP_ROUTE_H
#define DOORBUSTER_NET_HTTP_ROUTE_H

#include "net/http_server.h"

enum { HTTP_SEGMENTS_MAX = 16, HTTP_PARAM_BYTES_MAX = 100 };

struct http_route_row {
    const struct http_route *route;
    struct slice pattern;
    struct slice prefix; /* the pattern up to its first ':' segment */
    bool has_params;
};

struct http_router {
    struct http_route_row *rows;
    size_t count;
};

/* False when memory is out. The routes must outlive the router. A pattern with more than HTTP_SEGMENTS_MAX
 * segments or HTTP_PARAMS_MAX ':' segments is a bug. */
bool http_router_init(struct http_router *router, const struct http_route *routes, size_t count);
void http_router_fini(struct http_router *router);

/*
 * Percent-decodes request->path in place (the slice, not the bytes), finds the route and sets request->route,
 * NULL when there is none, and request->params. Segments are cut before they are decoded: %2F is no border.
 * False when the path does not decode to UTF-8.
 */
bool http_router_match(const struct http_router *router, struct http_request *request);

#endif
