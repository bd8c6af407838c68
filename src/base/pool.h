/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of one size, kept for re-use: taking and putting cost a pointer move. Memory is asked for in slabs
 * and never more than `count_max` blocks in all; slabs go back to the system at pool_fini only. One thread.
 */
#ifndef DOORBUSTER_BASE_POOL_H
#define DOORBUSTER_BASE_POOL_H

#include <stddef.h>

struct pool_block;

struct pool {
    size_t block_size; /* bytes, a multiple of 16 */
    size_t count;      /* blocks that exist */
    size_t count_max;
    size_t count_taken;
    struct pool_block *free_first;
    void *slab_first;
};

/* No memory is taken yet. */
void pool_init(struct pool *pool, size_t block_size, size_t count_max);

/* Every block must have been put back. */
void pool_fini(struct pool *pool);

/* A block with undefined content, or NULL when the bound is reached or memory is out. */
void *pool_take(struct pool *pool);
void pool_put(struct pool *pool, void *block);

#endif
