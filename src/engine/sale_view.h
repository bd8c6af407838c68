/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A picture of one product and its sale, made by the engine after a commit and never changed afterwards. Net
 * threads answer reads, and purchases that no line could answer otherwise, from the latest picture that they
 * hold. Reference-counted, because every net thread gets the same one; the count is atomic, everything else
 * constant.
 */
#ifndef DOORBUSTER_ENGINE_SALE_VIEW_H
#define DOORBUSTER_ENGINE_SALE_VIEW_H

#include <stdatomic.h>

#include "core/world.h"

struct sale_view {
    atomic_uint reference_count;
    int64_t id;
    uint64_t sku_hash;
    struct slice sku; /* this and the name lie in the view's own memory */
    struct product_values values;
    struct product_labels labels; /* its category lies there too */
    bool is_removed;              /* the product is gone; tells whoever held an older picture */
};

/* With one reference. NULL when memory is out. */
struct sale_view *sale_view_create(const struct product *product);

struct sale_view *sale_view_get(struct sale_view *view);
void sale_view_put(struct sale_view *view);

/*
 * Can a purchase at this time be refused from the picture alone, with exactly the answer that the line would
 * give? `view` NULL means that there is no such product. An UPCOMING sale whose start has come, and an ACTIVE
 * one whose end has come, are for the line to decide.
 */
bool sale_view_refuses(const struct sale_view *view, bool says_sold_out, int64_t now_ms, enum result *result);

#endif
