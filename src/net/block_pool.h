/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of whole pages, kept for re-use, whose memory goes back to the kernel after a crowd has left. The
 * free blocks are a stack: what was given back last is taken first, so the bottom of the stack is what nobody
 * has needed for longest, and block_pool_trim returns the pages of that bottom. The block itself stays
 * reserved and costs nothing until it is taken again. One thread at a time.
 */
#ifndef DOORBUSTER_NET_BLOCK_POOL_H
#define DOORBUSTER_NET_BLOCK_POOL_H

#include <stddef.h>

struct block_region;

struct block_pool {
    size_t block_size;  /* bytes, a multiple of the page size */
    size_t keep_count;  /* unused blocks that keep their pages */
    void **free_blocks; /* a stack with room for every block */
    size_t free_count;
    size_t free_low;      /* the lowest free_count since the last trim */
    size_t trimmed_count; /* blocks at the bottom of the stack without pages */
    size_t count;         /* blocks that exist */
    struct block_region *region_first;
};

/* No memory is taken yet. block_size is rounded up to whole pages. */
void block_pool_init(struct block_pool *pool, size_t block_size, size_t keep_count);

/* Gives back everything, blocks that are still out included. */
void block_pool_fini(struct block_pool *pool);

/* A block with undefined content, aligned to a page; NULL when memory is out. */
void *block_pool_take(struct block_pool *pool);
void block_pool_put(struct block_pool *pool, void *block);

/* Gives the pages back of all but keep_count blocks that were free ever since the last call. Call now and
 * then. */
void block_pool_trim(struct block_pool *pool);

#endif
