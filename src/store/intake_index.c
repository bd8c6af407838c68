/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link of an order is the id of the one before it of the same account, 0 for its first, or that number
 * with all bits turned when the order is cancelled. Links lie in chunks that never move, chunk id /
 * CHUNK_LINKS. A link never changes but for being cancelled, so a walk may let go of the lock between any two
 * steps; it does so now and then, since the engine waits for it.
 */
#include "store/intake_index.h"

#include <stdlib.h>

#include "base/ensure.h"

enum { CHUNK_LINKS = 65536, CHUNKS_FIRST = 16, STEPS_MAX = 1024 };

struct intake_account {
    int64_t id;
    int64_t last_id; /* 0: no order yet */
};

static void lock_to_change(struct intake_index *index)
{
    int rc = pthread_rwlock_wrlock(&index->lock);
    ENSURE(rc == 0);
}

static void lock_to_read(struct intake_index *index)
{
    int rc = pthread_rwlock_rdlock(&index->lock);
    ENSURE(rc == 0);
}

static void unlock(struct intake_index *index)
{
    int rc = pthread_rwlock_unlock(&index->lock);
    ENSURE(rc == 0);
}

void intake_index_init(struct intake_index *index)
{
    *index = (struct intake_index){0};
    map_init(&index->accounts);
    pthread_rwlockattr_t attributes;
    (void)pthread_rwlockattr_init(&attributes);
    /* Readers that walk a long list one after the other must not keep the engine waiting. */
    (void)pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int rc = pthread_rwlock_init(&index->lock, &attributes);
    ENSURE(rc == 0);
    (void)pthread_rwlockattr_destroy(&attributes);
}

void intake_index_fini(struct intake_index *index)
{
    size_t cursor = 0;
    void *account;
    while ((account = map_next(&index->accounts, &cursor)) != NULL)
        free(account);
    map_fini(&index->accounts);
    for (size_t i = 0; i < index->chunk_count; i++)
        free(index->chunks[i]);
    free(index->chunks);
    (void)pthread_rwlock_destroy(&index->lock);
}

/* --- accounts --- */

static bool has_id(const void *value, const void *key)
{
    return ((const struct intake_account *)value)->id == *(const int64_t *)key;
}

/* Ids of accounts are given in a row, by us: nobody can choose them to collide. */
static uint64_t hash_of(int64_t account_id)
{
    return (uint64_t)account_id * UINT64_C(0x9E3779B97F4A7C15) >> 16;
}

static struct intake_account *find_account(const struct intake_index *index, int64_t account_id)
{
    return map_get(&index->accounts, hash_of(account_id), has_id, &account_id);
}

static bool add_account(struct intake_index *index, int64_t account_id)
{
    struct intake_account *account = malloc(sizeof *account);
    if (account == NULL)
        return false;
    *account = (struct intake_account){.id = account_id};
    lock_to_change(index);
    bool is_in = map_put(&index->accounts, hash_of(account_id), account);
    unlock(index);
    if (!is_in)
        free(account);
    return is_in;
}

/* --- links --- */

static int64_t *link_of(const struct intake_index *index, int64_t id)
{
    return &index->chunks[id / CHUNK_LINKS][id % CHUNK_LINKS];
}

static bool has_chunk(const struct intake_index *index, size_t chunk)
{
    return chunk < index->chunk_count && index->chunks[chunk] != NULL;
}

static bool grow_directory(struct intake_index *index, size_t chunk)
{
    size_t count = index->chunk_count == 0 ? CHUNKS_FIRST : index->chunk_count;
    while (count <= chunk)
        count *= 2;
    int64_t **chunks = calloc(count, sizeof *chunks);
    if (chunks == NULL)
        return false;
    if (index->chunk_count > 0)
        memcpy(chunks, index->chunks, index->chunk_count * sizeof *chunks);
    int64_t **old = index->chunks;
    lock_to_change(index);
    index->chunks = chunks;
    index->chunk_count = count;
    unlock(index);
    free(old);
    return true;
}

static bool add_chunk(struct intake_index *index, size_t chunk)
{
    if (chunk >= index->chunk_count && !grow_directory(index, chunk))
        return false;
    int64_t *links = calloc(CHUNK_LINKS, sizeof *links);
    if (links == NULL)
        return false;
    lock_to_change(index);
    index->chunks[chunk] = links;
    unlock(index);
    return true;
}

bool intake_index_reserve(struct intake_index *index, int64_t id, int64_t account_id)
{
    ENSURE(id > 0);
    size_t chunk = (size_t)(id / CHUNK_LINKS);
    return (has_chunk(index, chunk) || add_chunk(index, chunk)) &&
           (find_account(index, account_id) != NULL || add_account(index, account_id));
}

void intake_index_add(struct intake_index *index, int64_t id, int64_t account_id)
{
    struct intake_account *account = find_account(index, account_id);
    ENSURE(account != NULL && account->last_id < id);
    lock_to_change(index);
    *link_of(index, id) = account->last_id;
    account->last_id = id;
    unlock(index);
}

void intake_index_cancel(struct intake_index *index, int64_t id)
{
    ENSURE(has_chunk(index, (size_t)(id / CHUNK_LINKS)));
    int64_t *link = link_of(index, id);
    if (*link < 0)
        return;
    lock_to_change(index);
    *link = ~*link;
    unlock(index);
}

/* --- walking --- */

static bool is_picked(enum intake_pick pick, int64_t link)
{
    return pick == INTAKE_PICK_ALL || (pick == INTAKE_PICK_CANCELLED) == (link < 0);
}

static int64_t before(int64_t link)
{
    return link < 0 ? ~link : link;
}

/* Where the walk goes on: behind an order that is known, else from the latest. */
static int64_t begin(const struct intake_index *index, const struct intake_walk *walk)
{
    const struct intake_account *account = find_account(index, walk->account_id);
    if (account == NULL)
        return 0;
    return walk->own_id > 0 ? before(*link_of(index, walk->own_id)) : account->last_id;
}

/* At most STEPS_MAX steps, under the lock. False: the walk has ended, or enough was found. */
static bool step(
    struct intake_index *index, struct intake_walk *walk, int64_t *ids, size_t *count, size_t count_max)
{
    int64_t id = begin(index, walk);
    for (int i = 0; i < STEPS_MAX && id > walk->id_above && *count < count_max; i++) {
        int64_t link = *link_of(index, id);
        if (id < walk->id_below && is_picked(walk->pick, link)) {
            ids[(*count)++] = id;
            walk->id_below = id;
        }
        walk->own_id = id;
        id = before(link);
    }
    return id > walk->id_above && *count < count_max;
}

size_t intake_index_walk(struct intake_index *index, struct intake_walk *walk, int64_t *ids, size_t count_max)
{
    size_t count = 0;
    bool goes_on = count_max > 0;
    while (goes_on) {
        lock_to_read(index);
        goes_on = step(index, walk, ids, &count, count_max);
        unlock(index);
    }
    return count;
}
