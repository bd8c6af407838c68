/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a net thread counts, and how it is shown to Prometheus (text format 0.0.4; flash-sale contract,
 * section 2.10, and our own doorbuster_ series). Each struct metrics is written by one thread and read by
 * any.
 */
#ifndef DOORBUSTER_API_METRICS_H
#define DOORBUSTER_API_METRICS_H

#include "api/net_thread.h"
#include "base/strbuf.h"
#include "core/result.h"

struct metrics;

enum { METRICS_TEXT_MAX = 4 * 1024 * 1024 }; /* bytes: 64 routes with 20 statuses each take about 2 MiB */

/* `routes` must outlive it. NULL when memory is out. */
struct metrics *metrics_create(const struct http_route *routes, size_t route_count);
void metrics_destroy(struct metrics *metrics);

/* For struct http_config.on_answered. */
void metrics_count_answer(
    struct metrics *metrics, const struct http_request *request, int status, int64_t duration_ns);

/* What a purchase came to. */
void metrics_count_result(struct metrics *metrics, enum result result);
void metrics_count_rate_limited(struct metrics *metrics);

/* Event streams that this thread has open. */
void metrics_set_streams(struct metrics *metrics, size_t count);

/* One series of one number, for the faces' own figures. `type` is "counter" or "gauge". Any thread. */
void metrics_put_value(
    struct strbuf *text, const char *name, const char *type, const char *help, int64_t value);

/* Everything of all net threads, as text. Any net thread. */
void metrics_render(const struct app *app, struct strbuf *text);

#endif
