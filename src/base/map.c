/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/ensure.h"

enum { MAP_SIZE_FIRST = 16 };

_Static_assert(MAP_KEY_BYTES == crypto_shorthash_KEYBYTES, "the secret is a SipHash key");
_Static_assert(sizeof(uint64_t) == crypto_shorthash_BYTES, "the hash is a SipHash value");

uint64_t map_hash(const struct map_key *key, struct slice text)
{
    uint64_t hash;
    (void)crypto_shorthash((unsigned char *)&hash, (const unsigned char *)text.base, text.len, key->bytes);
    return hash;
}

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_fini(struct map *map)
{
    free(map->entries);
    map_init(map);
}

void *map_get(const struct map *map, uint64_t hash, map_match *match, const void *key)
{
    if (map->size == 0)
        return NULL;
    size_t mask = map->size - 1;
    for (size_t i = hash & mask; map->entries[i].value != NULL; i = (i + 1) & mask) {
        if (map->entries[i].hash == hash && match(map->entries[i].value, key))
            return map->entries[i].value;
    }
    return NULL;
}

static void place(struct map_entry *entries, size_t mask, struct map_entry entry)
{
    size_t i = entry.hash & mask;
    while (entries[i].value != NULL)
        i = (i + 1) & mask;
    entries[i] = entry;
}

static bool grow(struct map *map)
{
    size_t size = map->size == 0 ? MAP_SIZE_FIRST : map->size * 2;
    struct map_entry *entries = calloc(size, sizeof *entries);
    if (entries == NULL)
        return false;
    for (size_t i = 0; i < map->size; i++) {
        if (map->entries[i].value != NULL)
            place(entries, size - 1, map->entries[i]);
    }
    free(map->entries);
    map->entries = entries;
    map->size = size;
    return true;
}

bool map_put(struct map *map, uint64_t hash, void *value)
{
    ENSURE(value != NULL);
    if ((map->count + 1) * 4 > map->size * 3 && !grow(map))
        return false;
    place(map->entries, map->size - 1, (struct map_entry){.hash = hash, .value = value});
    map->count++;
    return true;
}

/* Closes the gap at `hole`: an entry further along moves in when its own place lies at or before the gap, so
 * that no probe from its own place to where it stands crosses a free entry. */
static void close_gap(struct map *map, size_t hole)
{
    size_t mask = map->size - 1;
    for (size_t i = (hole + 1) & mask; map->entries[i].value != NULL; i = (i + 1) & mask) {
        size_t home = map->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->entries[hole] = map->entries[i];
            hole = i;
        }
    }
    map->entries[hole] = (struct map_entry){0};
}

bool map_remove(struct map *map, uint64_t hash, const void *value)
{
    if (map->size == 0)
        return false;
    size_t mask = map->size - 1;
    for (size_t i = hash & mask; map->entries[i].value != NULL; i = (i + 1) & mask) {
        if (map->entries[i].value == value && map->entries[i].hash == hash) {
            close_gap(map, i);
            map->count--;
            return true;
        }
    }
    return false;
}

void *map_next(const struct map *map, size_t *cursor)
{
    while (*cursor < map->size) {
        void *value = map->entries[(*cursor)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}
