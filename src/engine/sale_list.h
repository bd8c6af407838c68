/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pictures of all sales by the id of their product, for lists and for whoever knows only the id. Borrows
 * the pictures; who puts them in holds the references. One thread at a time.
 */
#ifndef DOORBUSTER_ENGINE_SALE_LIST_H
#define DOORBUSTER_ENGINE_SALE_LIST_H

#include "base/err.h"
#include "engine/sale_view.h"

struct sale_list {
    struct sale_view **views; /* ascending ids */
    size_t count;
    size_t size;
    uint64_t version; /* another one after each change */
};

void sale_list_fini(struct sale_list *list);

/* In the place of the one with its id, if there is one. False when memory is out. */
MUST_CHECK bool sale_list_put(struct sale_list *list, struct sale_view *view);

/* Harmless when it is not there. */
void sale_list_remove(struct sale_list *list, const struct sale_view *view);

/* NULL when there is none. O(log count). */
struct sale_view *sale_list_get(const struct sale_list *list, int64_t id);

/* The place of the first with an id above; `count` when there is none. */
size_t sale_list_above(const struct sale_list *list, int64_t id);

#endif
