/* SPDX-License-Identifier: Apache-2.0 */
#include "service/tries.h"

#include <stdlib.h>

#include "base/ensure.h"

static const int64_t KEPT_NS = INT64_C(15) * 60 * 1000 * 1000 * 1000;

enum { DELAY_MS_FIRST = 500, DELAY_MS_MAX = 60 * 1000, RETRY_AFTER_S_MAX = 5 * 60, MS_PER_S = 1000 };

void tries_init(struct tries *tries)
{
    map_init(&tries->by_id);
    list_init(&tries->by_time);
}

static bool has_id(const void *value, const void *key)
{
    return ((const struct try_count *)value)->id == *(const int64_t *)key;
}

static void drop(struct tries *tries, struct try_count *entry)
{
    bool was_in = map_remove(&tries->by_id, map_hash_id(entry->id), entry);
    ENSURE(was_in);
    list_remove(&entry->node);
    free(entry);
}

static struct try_count *oldest(const struct tries *tries)
{
    struct list *first = list_first(&tries->by_time);
    return first == NULL ? NULL : CONTAINER_OF(first, struct try_count, node);
}

void tries_fini(struct tries *tries)
{
    struct try_count *entry;
    while ((entry = oldest(tries)) != NULL)
        drop(tries, entry);
    map_fini(&tries->by_id);
}

static struct try_count *add_entry(struct tries *tries, int64_t id)
{
    struct try_count *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->id = id;
    list_init(&entry->node);
    if (map_put(&tries->by_id, map_hash_id(id), entry))
        return entry;
    free(entry);
    return NULL;
}

struct try_count tries_add(struct tries *tries, int64_t id, bool is_counted, int64_t now_ns)
{
    struct try_count *entry;
    while ((entry = oldest(tries)) != NULL && now_ns - entry->tried_ns > KEPT_NS)
        drop(tries, entry);
    entry = map_get(&tries->by_id, map_hash_id(id), has_id, &id);
    if (entry == NULL)
        entry = add_entry(tries, id);
    if (entry == NULL)
        return (struct try_count){.id = id, .in_vain = 1, .counted = is_counted};
    entry->in_vain++;
    entry->counted += is_counted;
    entry->tried_ns = now_ns;
    list_remove(&entry->node);
    list_append(&tries->by_time, &entry->node);
    return *entry;
}

void tries_forget(struct tries *tries, int64_t id)
{
    struct try_count *entry = map_get(&tries->by_id, map_hash_id(id), has_id, &id);
    if (entry != NULL)
        drop(tries, entry);
}

int64_t tries_delay_ms(int64_t in_vain, int64_t retry_after_s, uint32_t random)
{
    int64_t delay_ms = DELAY_MS_FIRST;
    for (int64_t i = 1; i < in_vain && delay_ms < DELAY_MS_MAX; i++)
        delay_ms *= 2;
    if (delay_ms > DELAY_MS_MAX)
        delay_ms = DELAY_MS_MAX;
    int64_t wanted_s = retry_after_s < RETRY_AFTER_S_MAX ? retry_after_s : RETRY_AFTER_S_MAX;
    int64_t jitter_ms = random % (delay_ms / 2);
    return (delay_ms > wanted_s * MS_PER_S ? delay_ms : wanted_s * MS_PER_S) + jitter_ms;
}
