/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sale_list.h"

#include <stdlib.h>

enum { SIZE_FIRST = 64 };

void sale_list_fini(struct sale_list *list)
{
    free(list->views);
    *list = (struct sale_list){0};
}

size_t sale_list_above(const struct sale_list *list, int64_t id)
{
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->views[middle]->id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sale_view *sale_list_get(const struct sale_list *list, int64_t id)
{
    size_t above = sale_list_above(list, id);
    return above > 0 && list->views[above - 1]->id == id ? list->views[above - 1] : NULL;
}

static bool make_room(struct sale_list *list)
{
    if (list->count < list->size)
        return true;
    size_t size = list->size == 0 ? SIZE_FIRST : list->size * 2;
    struct sale_view **views = realloc(list->views, size * sizeof(struct sale_view *));
    if (views == NULL)
        return false;
    list->views = views;
    list->size = size;
    return true;
}

/* New products have the highest ids, so that hardly anything is ever moved. */
bool sale_list_put(struct sale_list *list, struct sale_view *view)
{
    size_t at = sale_list_above(list, view->id);
    bool is_replaced = at > 0 && list->views[at - 1]->id == view->id;
    if (!is_replaced && !make_room(list))
        return false;
    list->version++;
    if (is_replaced) {
        list->views[at - 1] = view;
        return true;
    }
    memmove(list->views + at + 1, list->views + at, (list->count - at) * sizeof(struct sale_view *));
    list->views[at] = view;
    list->count++;
    return true;
}

void sale_list_remove(struct sale_list *list, const struct sale_view *view)
{
    size_t above = sale_list_above(list, view->id);
    if (above == 0 || list->views[above - 1] != view)
        return;
    memmove(list->views + above - 1, list->views + above, (list->count - above) * sizeof(struct sale_view *));
    list->count--;
    list->version++;
}
