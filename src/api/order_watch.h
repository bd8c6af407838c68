/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for something to become of an order: customers of POST /orders/sync and listeners of
 * GET /orders/{id}/events. One struct order_watches a net thread, told by the engine of every change that
 * this node makes. With a store that others write too, the orders that are watched are looked up again and
 * again as well, as long as there are any, since another node may be the one that pays.
 *
 * Pictures and looks may overtake one another; a change is told only when it is newer than what was told
 * before. Everything here is for the thread that made it.
 */
#ifndef DOORBUSTER_API_ORDER_WATCH_H
#define DOORBUSTER_API_ORDER_WATCH_H

#include <uv.h>

#include "base/list.h"
#include "engine/engine.h"

enum { ORDER_POLL_MS = 250 };

struct order_watches;

/* The owner's memory. */
struct order_watch {
    struct order_state known; /* id and what is known; the owner fills it in before the start */
    /* It has changed, and `known` with it. May stop this watch, and no other. */
    void (*on_change)(struct order_watch *watch);
    struct watched_order *order; /* the watches'; NULL: not started */
    struct list node;            /* the watches' */
};

/* NULL when memory is out. `port` must outlive it; is_shared: others write the store too. */
struct order_watches *order_watches_create(uv_loop_t *loop, struct engine_port *port, bool is_shared);

/* Stops its timer. Run the loop until it has no handles, then destroy; what is still watched is forgotten. No
 * question may be under way any more. */
void order_watches_close(struct order_watches *watches);
void order_watches_destroy(struct order_watches *watches);

/* False when memory is out. */
MUST_CHECK bool order_watch_start(struct order_watches *watches, struct order_watch *watch);

/* Harmless on one that was not started. */
void order_watch_stop(struct order_watches *watches, struct order_watch *watch);

/* The engine's on_order. */
void order_watches_on_order(struct order_watches *watches, const struct order_view *now);

/* Orders that are watched now. */
size_t order_watches_count(const struct order_watches *watches);

#endif
