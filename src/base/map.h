/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash table from a 64-bit hash to a pointer: open addressing with linear probing, at most 3/4 full, grows by
 * doubling. The key stays inside the object; the caller says with a function whether an object has that key.
 * Hashes of bytes that a stranger chose must be keyed (map_hash), so that nobody can make them collide.
 * One thread at a time; map_put is the only function that allocates.
 */
#ifndef DOORBUSTER_BASE_MAP_H
#define DOORBUSTER_BASE_MAP_H

#include "base/slice.h"

struct map_entry {
    uint64_t hash;
    void *value; /* NULL: free */
};

struct map {
    struct map_entry *entries;
    size_t size;  /* entries available, 0 or a power of two */
    size_t count; /* entries in use */
};

enum { MAP_KEY_BYTES = 16 };

/* The secret of a keyed hash. */
struct map_key {
    unsigned char bytes[MAP_KEY_BYTES];
};

typedef bool map_match(const void *value, const void *key);

/* SipHash-2-4 of the text under the secret. */
uint64_t map_hash(const struct map_key *key, struct slice text);

/* For keys that are numbers of ours, which nobody chooses: they count up, but a table wants its entries
 * spread. */
static inline uint64_t map_hash_id(int64_t id)
{
    uint64_t hash = (uint64_t)id * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / golden ratio */
    return hash ^ hash >> 32;
}

/* Starts empty and without memory. */
void map_init(struct map *map);

/* Gives the table back, not the values. */
void map_fini(struct map *map);

/* The value with this hash for which match(value, key) holds, or NULL. */
void *map_get(const struct map *map, uint64_t hash, map_match *match, const void *key);

/* Adds a value that is known not to be in with this hash. False when there is no memory; nothing has changed
 * then. */
bool map_put(struct map *map, uint64_t hash, void *value);

/* Takes out exactly this value with this hash; false when it is not in. */
bool map_remove(struct map *map, uint64_t hash, const void *value);

/* Walks over all values in no order: start with *cursor = 0; NULL at the end. Nothing may be put or removed
 * meanwhile. */
void *map_next(const struct map *map, size_t *cursor);

#endif
