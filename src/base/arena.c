/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>

#include "base/ensure.h"

void arena_init(struct arena *arena, void *base, size_t size)
{
    ENSURE((uintptr_t)base % alignof(max_align_t) == 0);
    *arena = (struct arena){.base = base, .size = size};
}

void arena_reset(struct arena *arena)
{
    arena->used = 0;
    arena->has_overflowed = false;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    size_t start = (arena->used + align - 1) / align * align;
    if (arena->has_overflowed || start > arena->size || size > arena->size - start) {
        arena->has_overflowed = true;
        return NULL;
    }
    arena->used = start + size;
    return memset(arena->base + start, 0, size);
}

struct slice arena_copy(struct arena *arena, struct slice text)
{
    if (arena->has_overflowed || text.len > arena->size - arena->used) {
        arena->has_overflowed = true;
        return slice_make("", 0);
    }
    char *copy = arena->base + arena->used;
    if (text.len > 0)
        memcpy(copy, text.base, text.len);
    arena->used += text.len;
    return slice_make(copy, text.len);
}
