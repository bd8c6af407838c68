/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/ensure.h"

enum { HEAP_SIZE_FIRST = 16 };

void heap_init(struct heap *heap, const struct heap_kind *kind)
{
    *heap = (struct heap){.kind = kind};
}

void heap_fini(struct heap *heap)
{
    free(heap->entries);
    heap_init(heap, heap->kind);
}

bool heap_reserve(struct heap *heap, size_t count)
{
    if (count <= heap->size)
        return true;
    size_t size = heap->size == 0 ? HEAP_SIZE_FIRST : heap->size * 2;
    if (size < count)
        size = count;
    void **entries = realloc(heap->entries, size * sizeof(void *));
    if (entries == NULL)
        return false;
    heap->entries = entries;
    heap->size = size;
    return true;
}

static size_t *place_of(const struct heap *heap, const void *object)
{
    return (size_t *)((uintptr_t)object + heap->kind->place_offset);
}

static void put_at(struct heap *heap, size_t at, void *object)
{
    heap->entries[at] = object;
    *place_of(heap, object) = at;
}

/* Where the object belongs when it may come earlier than those above `at`, which move down. */
static size_t rise(struct heap *heap, size_t at, const void *object)
{
    while (at > 0 && heap->kind->is_before(object, heap->entries[(at - 1) / 2])) {
        put_at(heap, at, heap->entries[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    return at;
}

/* The same when it may come later than those below, which move up. */
static size_t sink(struct heap *heap, size_t at, const void *object)
{
    bool (*is_before)(const void *a, const void *b) = heap->kind->is_before;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < heap->count && is_before(heap->entries[child + 1], heap->entries[child]))
            child++;
        if (child >= heap->count || !is_before(heap->entries[child], object))
            return at;
        put_at(heap, at, heap->entries[child]);
        at = child;
    }
}

static void settle(struct heap *heap, size_t at, void *object)
{
    put_at(heap, sink(heap, rise(heap, at, object), object), object);
}

bool heap_has(const struct heap *heap, const void *object)
{
    size_t at = *place_of(heap, object);
    return at < heap->count && heap->entries[at] == object;
}

void heap_put(struct heap *heap, void *object)
{
    ENSURE(heap->count < heap->size);
    settle(heap, heap->count++, object);
}

void heap_take_out(struct heap *heap, void *object)
{
    ENSURE(heap_has(heap, object));
    size_t at = *place_of(heap, object);
    void *last = heap->entries[--heap->count];
    if (last != object)
        settle(heap, at, last);
}

void heap_move(struct heap *heap, void *object)
{
    ENSURE(heap_has(heap, object));
    settle(heap, *place_of(heap, object), object);
}

void *heap_first(const struct heap *heap)
{
    return heap->count == 0 ? NULL : heap->entries[0];
}

void heap_clear(struct heap *heap)
{
    heap->count = 0;
}
