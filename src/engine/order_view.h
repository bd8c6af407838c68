/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A picture of an order, made by the engine after a commit and never changed afterwards: for who waits for
 * its outcome or listens to its events. Reference-counted like a sale_view; the count is atomic, everything
 * else constant.
 */
#ifndef DOORBUSTER_ENGINE_ORDER_VIEW_H
#define DOORBUSTER_ENGINE_ORDER_VIEW_H

#include <stdatomic.h>

#include "core/world_order.h"

struct order_view {
    atomic_uint reference_count;
    int64_t id;
    struct slice order_id; /* lies in the view's own memory */
    int64_t created_ms;
    int64_t deadline_ms; /* 0: nobody waits for it */
    struct order_values values;
};

/* With one reference. NULL when memory is out. */
struct order_view *order_view_create(const struct order *order);

struct order_view *order_view_get(struct order_view *view);
void order_view_put(struct order_view *view);

#endif
