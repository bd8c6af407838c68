/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the marketplace face keeps on each net thread (marketplace contract): the keys of challenges and
 * receipts, the list of featured products as it was last written, and its counters. The net thread makes and
 * ends it.
 */
#ifndef DOORBUSTER_API_MARKET_H
#define DOORBUSTER_API_MARKET_H

#include "api/net_thread.h"
#include "net/json.h"

struct market;

/* The thread has its port and its intake face, whose tokens are this one's too. NULL when memory is out. */
struct market *market_create(struct net_thread *thread);
void market_destroy(struct market *market);

/* Is this the body of a registration with a key rather than a password? */
bool market_registers(const struct json *body);

/* Goes on with it. The body is the caller's, and may be freed when this returns. */
void market_register(struct http_request *request, struct market *market, const struct json *body);

/* doorbuster_wallets_..., of all net threads, for Prometheus. Any thread. */
void market_put_metrics(const struct app *app, struct strbuf *text);

#endif
