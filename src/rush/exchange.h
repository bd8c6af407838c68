/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request, one answer, waiting in between: for set-up and tear-down. Has a loop of its own; belongs to
 * one thread and blocks it.
 */
#ifndef DOORBUSTER_RUSH_EXCHANGE_H
#define DOORBUSTER_RUSH_EXCHANGE_H

#include "base/err.h"
#include "base/hist.h"
#include "base/strbuf.h"
#include "net/http_target.h"

struct exchange;

struct exchange_reply {
    int status;
    struct slice content_type; /* both good until the next request */
    struct slice body;
};

/* NULL when memory or descriptors are out. */
struct exchange *exchange_create(const struct http_target *target, int64_t timeout_ms);
void exchange_destroy(struct exchange *exchange);

/* ERR_ADDRESS: cannot connect; ERR_TIMEOUT; ERR_IO: the connection ended, or the answer is not HTTP. */
MUST_CHECK enum err exchange_do(
    struct exchange *exchange, struct slice request, struct exchange_reply *reply, struct error *error);

/* All requests so far: how long they took, and how many had no status from 200 to 399. */
const struct hist *exchange_latency(const struct exchange *exchange);
uint64_t exchange_failed_count(const struct exchange *exchange);

#endif
