/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a user's latest purchase of a product is, without an index in the database: a resident table from a
 * keyed 64-bit hash of SKU and user to the purchase's id, 16 bytes an entry. It only proposes ids; the row
 * decides whether it is that user's, so entries that collide or are out of date cost a look, not a wrong
 * answer.
 *
 * The table is cut into parts, each with a lock of its own, so that a part that grows delays nobody for long.
 * One thread changes (the engine's); any thread looks up. The order for a batch: purchase_index_reserve for
 * every purchase to come, then the commit, then purchase_index_add for each, which cannot fail.
 */
#ifndef DOORBUSTER_STORE_PURCHASE_INDEX_H
#define DOORBUSTER_STORE_PURCHASE_INDEX_H

#include <pthread.h>

#include "base/map.h"
#include "base/slice.h"

enum { PURCHASE_INDEX_PART_BITS = 8, PURCHASE_INDEX_PART_COUNT = 1 << PURCHASE_INDEX_PART_BITS };

struct purchase_index_entry {
    uint64_t hash;
    int64_t id; /* 0: free */
};

struct purchase_index_part {
    pthread_rwlock_t lock; /* guards entries and size against the readers */
    struct purchase_index_entry *entries;
    size_t size;           /* entries available, 0 or a power of two */
    size_t count;          /* entries in use */
    size_t count_reserved; /* entries promised to purchase_index_add */
};

struct purchase_index {
    struct map_key hash_key;
    struct purchase_index_part parts[PURCHASE_INDEX_PART_COUNT];
};

/* Draws a secret for its hashes. */
void purchase_index_init(struct purchase_index *index);
void purchase_index_fini(struct purchase_index *index);

/* Any thread. */
uint64_t purchase_index_hash(const struct purchase_index *index, struct slice sku, struct slice user);

/* Promises room for one more entry; false when memory is out. */
bool purchase_index_reserve(struct purchase_index *index, uint64_t hash);

/* Takes all promises back, when the batch comes to nothing. */
void purchase_index_unreserve(struct purchase_index *index);

/* Uses one promise. `nth` is the buyer's how-many-eth unit of the product, from 1: a later one takes the
 * place of the one before. */
void purchase_index_add(struct purchase_index *index, uint64_t hash, int64_t id, int64_t nth);

/* The user's purchases of the product are gone. */
void purchase_index_remove(struct purchase_index *index, uint64_t hash);

/* The largest id below `id_below` that is filed under this hash, or 0. Any thread. */
int64_t purchase_index_find(struct purchase_index *index, uint64_t hash, int64_t id_below);

#endif
