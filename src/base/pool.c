/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/ensure.h"

enum { SLAB_BYTES = 64 * 1024 };

struct pool_block {
    struct pool_block *next;
};

struct slab {
    alignas(max_align_t) struct slab *next;
};

void pool_init(struct pool *pool, size_t block_size, size_t count_max)
{
    const size_t align = alignof(max_align_t);
    ENSURE(block_size >= sizeof(struct pool_block));
    *pool = (struct pool){.block_size = (block_size + align - 1) / align * align, .count_max = count_max};
}

void pool_fini(struct pool *pool)
{
    ENSURE(pool->count_taken == 0);
    struct slab *slab = pool->slab_first;
    while (slab != NULL) {
        struct slab *next = slab->next;
        free(slab);
        slab = next;
    }
    pool->slab_first = NULL;
    pool->free_first = NULL;
    pool->count = 0;
}

static void add_slab(struct pool *pool)
{
    size_t count = SLAB_BYTES / pool->block_size;
    if (count == 0)
        count = 1;
    if (count > pool->count_max - pool->count)
        count = pool->count_max - pool->count;
    struct slab *slab = count == 0 ? NULL : malloc(sizeof *slab + count * pool->block_size);
    if (slab == NULL)
        return;
    slab->next = pool->slab_first;
    pool->slab_first = slab;
    pool->count += count;
    char *at = (char *)(slab + 1);
    for (size_t i = 0; i < count; i++) {
        struct pool_block *block = (struct pool_block *)(void *)(at + i * pool->block_size);
        block->next = pool->free_first;
        pool->free_first = block;
    }
}

void *pool_take(struct pool *pool)
{
    if (pool->free_first == NULL)
        add_slab(pool);
    struct pool_block *block = pool->free_first;
    if (block == NULL)
        return NULL;
    pool->free_first = block->next;
    pool->count_taken++;
    return block;
}

void pool_put(struct pool *pool, void *block)
{
    ENSURE(pool->count_taken > 0);
    struct pool_block *free_block = block;
    free_block->next = pool->free_first;
    pool->free_first = free_block;
    pool->count_taken--;
}
