/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing, at most 3/4 full. Each (product, user) has one entry, with the id of
 * the latest purchase. Two pairs with the same 64-bit hash (one chance in 10^7 among a million, and nobody
 * can aim at it without the secret) have an entry each. From then on the entries of that hash cannot be told
 * apart, so nothing under it is replaced or removed any more: purchases add entries, cleared ones stay behind
 * and lead to rows that are gone, which the reader passes over. While there is exactly one entry it belongs
 * to the pair that asks, because a pair's first unit (nth 1) always adds its own.
 */
#include "store/purchase_index.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "core/command.h"

enum { PART_SIZE_FIRST = 16 };

void purchase_index_init(struct purchase_index *index)
{
    randombytes_buf(index->hash_key.bytes, sizeof index->hash_key.bytes);
    for (size_t i = 0; i < PURCHASE_INDEX_PART_COUNT; i++) {
        index->parts[i] = (struct purchase_index_part){0};
        int rc = pthread_rwlock_init(&index->parts[i].lock, NULL);
        ENSURE(rc == 0);
    }
}

void purchase_index_fini(struct purchase_index *index)
{
    for (size_t i = 0; i < PURCHASE_INDEX_PART_COUNT; i++) {
        free(index->parts[i].entries);
        (void)pthread_rwlock_destroy(&index->parts[i].lock);
    }
}

/* No SKU contains a NUL, so the text of a pair is no other pair's. */
uint64_t purchase_index_hash(const struct purchase_index *index, struct slice sku, struct slice user)
{
    char text[SKU_LEN_MAX + 1 + USER_LEN_MAX];
    ENSURE(sku.len <= SKU_LEN_MAX && user.len <= USER_LEN_MAX);
    memcpy(text, sku.base, sku.len);
    text[sku.len] = '\0';
    memcpy(text + sku.len + 1, user.base, user.len);
    return map_hash(&index->hash_key, slice_make(text, sku.len + 1 + user.len));
}

/* The high bits choose the part, the low bits the place in it. */
static struct purchase_index_part *part_of(struct purchase_index *index, uint64_t hash)
{
    return &index->parts[hash >> (64 - PURCHASE_INDEX_PART_BITS)];
}

static void lock_to_change(struct purchase_index_part *part)
{
    int rc = pthread_rwlock_wrlock(&part->lock);
    ENSURE(rc == 0);
}

static void unlock(struct purchase_index_part *part)
{
    int rc = pthread_rwlock_unlock(&part->lock);
    ENSURE(rc == 0);
}

static void place(struct purchase_index_entry *entries, size_t size, struct purchase_index_entry entry)
{
    size_t mask = size - 1;
    size_t i = entry.hash & mask;
    while (entries[i].id != 0)
        i = (i + 1) & mask;
    entries[i] = entry;
}

/* The larger table is filled beside the old one, which the readers go on using; they wait for the exchange
 * only. */
static bool grow(struct purchase_index_part *part)
{
    size_t size = part->size == 0 ? PART_SIZE_FIRST : part->size * 2;
    struct purchase_index_entry *entries = calloc(size, sizeof *entries);
    if (entries == NULL)
        return false;
    for (size_t i = 0; i < part->size; i++) {
        if (part->entries[i].id != 0)
            place(entries, size, part->entries[i]);
    }
    struct purchase_index_entry *old = part->entries;
    lock_to_change(part);
    part->entries = entries;
    part->size = size;
    unlock(part);
    free(old);
    return true;
}

bool purchase_index_reserve(struct purchase_index *index, uint64_t hash)
{
    struct purchase_index_part *part = part_of(index, hash);
    if ((part->count + part->count_reserved + 1) * 4 > part->size * 3 && !grow(part))
        return false;
    part->count_reserved++;
    /* In a large table this is a cache miss, which the commit in between hides. */
    __builtin_prefetch(&part->entries[hash & (part->size - 1)], 1);
    return true;
}

void purchase_index_unreserve(struct purchase_index *index)
{
    for (size_t i = 0; i < PURCHASE_INDEX_PART_COUNT; i++)
        index->parts[i].count_reserved = 0;
}

/* The only entry with this hash; NULL when there is none or more than one. */
static struct purchase_index_entry *find_only(struct purchase_index_part *part, uint64_t hash)
{
    struct purchase_index_entry *found = NULL;
    if (part->size == 0)
        return NULL;
    size_t mask = part->size - 1;
    for (size_t i = hash & mask; part->entries[i].id != 0; i = (i + 1) & mask) {
        if (part->entries[i].hash != hash)
            continue;
        if (found != NULL)
            return NULL;
        found = &part->entries[i];
    }
    return found;
}

void purchase_index_add(struct purchase_index *index, uint64_t hash, int64_t id, int64_t nth)
{
    struct purchase_index_part *part = part_of(index, hash);
    ENSURE(id > 0);
    ENSURE(part->count_reserved > 0);
    part->count_reserved--;
    struct purchase_index_entry *before = nth > 1 ? find_only(part, hash) : NULL;
    lock_to_change(part);
    if (before != NULL) {
        before->id = id;
    } else {
        place(part->entries, part->size, (struct purchase_index_entry){.hash = hash, .id = id});
        part->count++;
    }
    unlock(part);
}

/* Closes the gap at `hole`: an entry further along moves in when its own place lies at or before the gap, so
 * that no probe from its own place to where it stands crosses a free entry. */
static void close_gap(struct purchase_index_part *part, size_t hole)
{
    size_t mask = part->size - 1;
    for (size_t i = (hole + 1) & mask; part->entries[i].id != 0; i = (i + 1) & mask) {
        size_t home = part->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            part->entries[hole] = part->entries[i];
            hole = i;
        }
    }
    part->entries[hole] = (struct purchase_index_entry){0};
}

void purchase_index_remove(struct purchase_index *index, uint64_t hash)
{
    struct purchase_index_part *part = part_of(index, hash);
    struct purchase_index_entry *entry = find_only(part, hash);
    if (entry == NULL)
        return;
    lock_to_change(part);
    close_gap(part, (size_t)(entry - part->entries));
    part->count--;
    unlock(part);
}

int64_t purchase_index_find(struct purchase_index *index, uint64_t hash, int64_t id_below)
{
    struct purchase_index_part *part = part_of(index, hash);
    int64_t id = 0;
    int rc = pthread_rwlock_rdlock(&part->lock);
    ENSURE(rc == 0);
    if (part->size > 0) {
        size_t mask = part->size - 1;
        for (size_t i = hash & mask; part->entries[i].id != 0; i = (i + 1) & mask) {
            if (part->entries[i].hash == hash && part->entries[i].id < id_below && part->entries[i].id > id)
                id = part->entries[i].id;
        }
    }
    unlock(part);
    return id;
}
