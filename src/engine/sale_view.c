/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sale_view.h"

#include <stdlib.h>

struct sale_view *sale_view_create(const struct product *product)
{
    struct slice name = product->values.name;
    struct slice category = product->labels.category;
    struct sale_view *view = malloc(sizeof *view + product->sku.len + name.len + category.len);
    if (view == NULL)
        return NULL;
    char *text = (char *)(view + 1);
    memcpy(text, product->sku.base, product->sku.len);
    memcpy(text + product->sku.len, name.base, name.len);
    char *category_text = text + product->sku.len + name.len;
    if (category.len > 0) /* else it has no base, which memcpy does not allow */
        memcpy(category_text, category.base, category.len);
    atomic_init(&view->reference_count, 1);
    view->id = product->id;
    view->sku_hash = product->sku_hash;
    view->sku = slice_make(text, product->sku.len);
    view->values = product->values;
    view->values.name = slice_make(text + product->sku.len, name.len);
    view->labels = (struct product_labels){
        .category = slice_make(category_text, category.len), .is_featured = product->labels.is_featured};
    view->is_removed = product->is_removed;
    return view;
}

struct sale_view *sale_view_get(struct sale_view *view)
{
    atomic_fetch_add_explicit(&view->reference_count, 1, memory_order_relaxed);
    return view;
}

void sale_view_put(struct sale_view *view)
{
    if (atomic_fetch_sub_explicit(&view->reference_count, 1, memory_order_acq_rel) == 1)
        free(view);
}

bool sale_view_refuses(const struct sale_view *view, bool says_sold_out, int64_t now_ms, enum result *result)
{
    *result = RESULT_SALE_NOT_ACTIVE;
    if (view == NULL)
        return true;
    switch (view->values.state) {
    case SALE_UPCOMING:
        return now_ms < view->values.start_ms;
    case SALE_ENDED:
        if (says_sold_out && view->values.end_reason == END_SOLD_OUT)
            *result = RESULT_SOLD_OUT;
        return true;
    case SALE_ACTIVE:
        break;
    }
    return false;
}
