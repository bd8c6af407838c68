/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doubly linked list of nodes that live inside the objects they link. A struct list is a ring with a head
 * that is no element. A node stands on at most one list; a node that stands on none points at itself, so
 * taking it off twice is harmless. One thread at a time.
 */
#ifndef DOORBUSTER_BASE_LIST_H
#define DOORBUSTER_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

/* The object that `node` is the member `member` of. */
/* clang-format off */
#define CONTAINER_OF(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))
/* clang-format on */

/* Walks from first to last; the body must not take `node` off the list. */
#define LIST_FOR_EACH(node, head) for (struct list *node = (head)->next; node != (head); node = node->next)

static inline void list_init(struct list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_append(struct list *list, struct list *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

static inline void list_prepend(struct list *list, struct list *node)
{
    list_append(list->next, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The first node, or NULL. */
static inline struct list *list_first(const struct list *list)
{
    return list_is_empty(list) ? NULL : list->next;
}

#endif
