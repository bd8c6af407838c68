/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/order_view.h"

#include <stdlib.h>

struct order_view *order_view_create(const struct order *order)
{
    struct order_view *view = malloc(sizeof *view + order->order_id.len);
    if (view == NULL)
        return NULL;
    char *text = (char *)(view + 1);
    memcpy(text, order->order_id.base, order->order_id.len);
    *view = (struct order_view){
        .reference_count = 1,
        .id = order->id,
        .order_id = slice_make(text, order->order_id.len),
        .created_ms = order->created_ms,
        .deadline_ms = order->deadline_ms,
        .values = order->values,
    };
    return view;
}

struct order_view *order_view_get(struct order_view *view)
{
    atomic_fetch_add_explicit(&view->reference_count, 1, memory_order_relaxed);
    return view;
}

void order_view_put(struct order_view *view)
{
    if (atomic_fetch_sub_explicit(&view->reference_count, 1, memory_order_acq_rel) == 1)
        free(view);
}
