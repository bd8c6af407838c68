/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in an order of their own: a binary heap of pointers, each of which knows its place, so that any one
 * can be moved or taken out. A sorted list would be walked from end to end; here each step costs log2(count)
 * moves, 20 for a million. Taking out and moving need no memory. One thread at a time.
 */
#ifndef DOORBUSTER_BASE_HEAP_H
#define DOORBUSTER_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* What one kind of heap is made for. */
struct heap_kind {
    bool (*is_before)(const void *a, const void *b); /* a total order: no two are equal */
    size_t place_offset; /* of the size_t in each object that the heap keeps its place in */
};

struct heap {
    const struct heap_kind *kind;
    void **entries; /* entries[i] is not after entries[2 * i + 1] and entries[2 * i + 2] */
    size_t count;
    size_t size;
};

/* Starts empty and without memory. */
void heap_init(struct heap *heap, const struct heap_kind *kind);

/* Gives the table back, not the objects. */
void heap_fini(struct heap *heap);

/* Room for so many in all; false when memory is out. Room stays. */
bool heap_reserve(struct heap *heap, size_t count);

/* It must not be in, and there must be room. */
void heap_put(struct heap *heap, void *object);

/* It must be in. */
void heap_take_out(struct heap *heap, void *object);

/* It must be in; what it is ordered by has changed. */
void heap_move(struct heap *heap, void *object);

/* Is it in? Its place must have been set: by a heap that it was in, or to 0. */
bool heap_has(const struct heap *heap, const void *object);

/* The first of all, or NULL. */
void *heap_first(const struct heap *heap);

/* Takes all out at once; the room stays. */
void heap_clear(struct heap *heap);

#endif
