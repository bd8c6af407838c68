/* SPDX-License-Identifier: Apache-2.0 */
#include "net/block_pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/ensure.h"

enum { REGION_BYTES = 1024 * 1024 };

/* Kept apart from the memory it names, so that an untouched region costs nothing. */
struct block_region {
    struct block_region *next;
    void *base;
    size_t size; /* bytes */
};

void block_pool_init(struct block_pool *pool, size_t block_size, size_t keep_count)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    ENSURE(block_size > 0);
    *pool =
        (struct block_pool){.block_size = (block_size + page - 1) / page * page, .keep_count = keep_count};
}

void block_pool_fini(struct block_pool *pool)
{
    while (pool->region_first != NULL) {
        struct block_region *region = pool->region_first;
        pool->region_first = region->next;
        (void)munmap(region->base, region->size);
        free(region);
    }
    free(pool->free_blocks);
    pool->free_blocks = NULL;
    pool->free_count = 0;
    pool->count = 0;
}

/* Room for `count` blocks in the stack; NULL, and nothing changed, when memory is out. */
static void **make_stack(struct block_pool *pool, size_t count)
{
    void **blocks = realloc(pool->free_blocks, count * sizeof *blocks);
    if (blocks != NULL)
        pool->free_blocks = blocks;
    return blocks;
}

static void add_region(struct block_pool *pool)
{
    size_t added = REGION_BYTES / pool->block_size;
    if (added == 0)
        added = 1;
    struct block_region *region = malloc(sizeof *region);
    if (region == NULL)
        return;
    region->size = added * pool->block_size;
    region->base = make_stack(pool, pool->count + added) == NULL
                       ? MAP_FAILED
                       : mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (region->base == MAP_FAILED) {
        free(region);
        return;
    }
    region->next = pool->region_first;
    pool->region_first = region;
    pool->count += added;
    for (size_t i = added; i > 0; i--)
        pool->free_blocks[pool->free_count++] = (char *)region->base + (i - 1) * pool->block_size;
}

void *block_pool_take(struct block_pool *pool)
{
    if (pool->free_count == 0)
        add_region(pool);
    if (pool->free_count == 0)
        return NULL;
    void *block = pool->free_blocks[--pool->free_count];
    if (pool->free_count < pool->free_low)
        pool->free_low = pool->free_count;
    if (pool->free_count < pool->trimmed_count)
        pool->trimmed_count = pool->free_count;
    return block;
}

void block_pool_put(struct block_pool *pool, void *block)
{
    ENSURE(pool->free_count < pool->count);
    pool->free_blocks[pool->free_count++] = block;
}

void block_pool_trim(struct block_pool *pool)
{
    size_t end = pool->free_low > pool->keep_count ? pool->free_low - pool->keep_count : 0;
    for (size_t i = pool->trimmed_count; i < end; i++)
        (void)madvise(pool->free_blocks[i], pool->block_size, MADV_DONTNEED); /* at worst the pages stay */
    if (end > pool->trimmed_count)
        pool->trimmed_count = end;
    pool->free_low = pool->free_count;
}
