/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the orders face keeps on each net thread (orders contract): who waits for an order's outcome, the
 * listeners of orders' events, what /stats last heard, and its counters. The net thread makes and ends it.
 */
#ifndef DOORBUSTER_API_ORDERS_H
#define DOORBUSTER_API_ORDERS_H

#include "api/net_thread.h"

struct orders;

/* The thread has its loop and its port. NULL when memory is out. */
struct orders *orders_create(struct net_thread *thread);

/*
 * Forgets who waits and stops its timers; the HTTP server is gone, and with it the requests. Run the loop
 * until it has no handles, then destroy.
 */
void orders_close(struct orders *orders);
void orders_destroy(struct orders *orders);

/* The engine's on_order. */
void orders_on_order(struct orders *orders, const struct order_view *now);

/* doorbuster_orders_..., of all net threads, for Prometheus. Any thread. */
void orders_put_metrics(const struct app *app, struct strbuf *text);

#endif
