/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that lives exactly as long as one request: a bump allocator over a block of fixed size. When the
 * block is full, the arena overflows; that is sticky, allocations then return NULL, and the owner checks
 * `has_overflowed` once at the end instead of every caller checking each piece. One thread at a time.
 */
#ifndef DOORBUSTER_BASE_ARENA_H
#define DOORBUSTER_BASE_ARENA_H

#include "base/slice.h"

struct arena {
    char *base;
    size_t used; /* bytes */
    size_t size; /* bytes */
    bool has_overflowed;
};

/* The memory stays the caller's; it must be aligned for any type. */
void arena_init(struct arena *arena, void *base, size_t size);

/* Forgets everything at once. */
void arena_reset(struct arena *arena);

/* Zeroed, aligned for any type; NULL once the arena has overflowed. */
void *arena_alloc(struct arena *arena, size_t size);

/* A copy of `text` in the arena; the empty slice once the arena has overflowed. */
struct slice arena_copy(struct arena *arena, struct slice text);

#endif
