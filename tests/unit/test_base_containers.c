/* SPDX-License-Identifier: Apache-2.0 */
/* Map, list, heap, pool, histogram and identifiers: each against a model that is too simple to be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/hist.h"
#include "base/id.h"
#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"

/* --- map --- */

struct thing {
    uint64_t hash;
    int name;
    bool is_in;
};

static bool thing_has_name(const void *value, const void *key)
{
    return ((const struct thing *)value)->name == *(const int *)key;
}

static void assert_like_model(const struct map *map, const struct thing *things, int count)
{
    size_t in_count = 0;
    for (int i = 0; i < count; i++) {
        const void *found = map_get(map, things[i].hash, thing_has_name, &things[i].name);
        assert_ptr_equal(found, things[i].is_in ? &things[i] : NULL);
        in_count += things[i].is_in;
    }
    assert_int_equal(map->count, in_count);
    size_t cursor = 0;
    size_t walked = 0;
    const struct thing *thing;
    while ((thing = map_next(map, &cursor)) != NULL) {
        assert_true(thing->is_in);
        walked++;
    }
    assert_int_equal(walked, in_count);
}

/* `hash_mask` decides how often hashes collide: 0 makes all equal, ~0 hardly any. */
static void run_against_model(uint64_t seed, uint64_t hash_mask, int count, int steps)
{
    struct thing *things = calloc((size_t)count, sizeof *things);
    struct id_source random;
    struct map map;
    assert_non_null(things);
    id_source_init_seed(&random, seed);
    map_init(&map);
    for (int i = 0; i < count; i++)
        things[i] = (struct thing){.hash = id_next(&random) & hash_mask, .name = i};
    assert_like_model(&map, things, count);
    for (int step = 0; step < steps; step++) {
        uint64_t draw = id_next(&random);
        struct thing *thing = &things[draw % (uint64_t)count];
        /* Times of growth and times of decline take turns. */
        bool wants_in = (draw >> 32) % 100 < (step / 1000 % 2 == 0 ? 70u : 30u);
        if (wants_in && !thing->is_in) {
            assert_true(map_put(&map, thing->hash, thing));
            thing->is_in = true;
        } else if (!wants_in) {
            assert_int_equal(map_remove(&map, thing->hash, thing), thing->is_in);
            thing->is_in = false;
        }
        if (step % 500 == 0)
            assert_like_model(&map, things, count);
    }
    assert_like_model(&map, things, count);
    map_fini(&map);
    assert_int_equal(map.count, 0);
    free(things);
}

static void a_map_does_as_its_model_does(void **state)
{
    (void)state;
    run_against_model(1, UINT64_MAX, 1000, 10000);
    run_against_model(2, UINT64_MAX << 32, 300, 10000); /* all start at the same place */
    run_against_model(3, 15, 500, 10000);               /* a few hashes, shared by many */
    run_against_model(4, 0, 100, 5000);                 /* one hash for all */
}

/* What is known by two hashes for a moment, as something is that gets another name, loses the wrong one. */
static void a_map_takes_out_what_is_known_by_that_hash(void **state)
{
    (void)state;
    struct map map;
    struct thing thing = {.hash = 7};
    map_init(&map);
    assert_true(map_put(&map, 7, &thing));
    uint64_t other = 7 + map.size; /* begins at the same place */
    assert_true(map_put(&map, other, &thing));
    assert_true(map_remove(&map, other, &thing));
    assert_false(map_remove(&map, other, &thing));
    assert_int_equal(map.entries[7 % map.size].hash, 7);
    assert_true(map_remove(&map, 7, &thing));
    assert_int_equal(map.count, 0);
    map_fini(&map);
}

static void a_map_without_memory_is_a_map(void **state)
{
    struct thing thing = {.hash = 7, .name = 1};
    struct map map;
    size_t cursor = 0;
    (void)state;
    map_init(&map);
    assert_null(map_get(&map, 7, thing_has_name, &thing.name));
    assert_false(map_remove(&map, 7, &thing));
    assert_null(map_next(&map, &cursor));
    map_fini(&map);
}

static void keyed_hashes_depend_on_key_and_text(void **state)
{
    /* SipHash-2-4 of 15 bytes 00..0e under the key 00..0f, from the appendix of its paper. */
    static const unsigned char text[15] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    struct map_key key;
    struct map_key other = {{1}};
    (void)state;
    for (int i = 0; i < MAP_KEY_BYTES; i++)
        key.bytes[i] = (unsigned char)i;
    assert_true(map_hash(&key, slice_make(text, sizeof text)) == UINT64_C(0xa129ca6149be45e5));
    assert_true(map_hash(&key, SLICE("a")) != map_hash(&key, SLICE("b")));
    assert_true(map_hash(&key, SLICE("a")) != map_hash(&other, SLICE("a")));
    assert_true(map_hash(&key, SLICE("")) == map_hash(&key, (struct slice){0}));
}

/* --- list --- */

struct link {
    int name;
    struct list node;
};

static void assert_names(const struct list *list, const char *expected)
{
    char names[16] = "";
    int count = 0;
    LIST_FOR_EACH (node, list)
        names[count++] = (char)('0' + CONTAINER_OF(node, struct link, node)->name);
    assert_string_equal(names, expected);
    for (const struct list *node = list->prev; node != list; node = node->prev)
        count--;
    assert_int_equal(count, 0);
}

static void a_list_keeps_order_and_forgives_double_removal(void **state)
{
    struct link links[4];
    struct list list;
    (void)state;
    list_init(&list);
    assert_true(list_is_empty(&list));
    assert_null(list_first(&list));
    for (int i = 0; i < 4; i++) {
        links[i].name = i;
        list_init(&links[i].node);
    }
    list_append(&list, &links[1].node);
    list_append(&list, &links[2].node);
    list_prepend(&list, &links[0].node);
    list_append(&list, &links[3].node);
    assert_names(&list, "0123");
    assert_ptr_equal(list_first(&list), &links[0].node);
    list_remove(&links[1].node);
    list_remove(&links[1].node);
    assert_names(&list, "023");
    list_remove(&links[3].node);
    list_remove(&links[0].node);
    list_remove(&links[2].node);
    assert_true(list_is_empty(&list));
    list_append(&list, &links[1].node);
    assert_names(&list, "1");
}

/* --- heap --- */

enum { ENTRIES = 300 };

struct entry {
    int name;
    int64_t key;
    bool is_in;
    size_t place;
    size_t other_place; /* in a heap of the same entries the other way round */
};

static bool is_before(const void *left, const void *right)
{
    const struct entry *a = left;
    const struct entry *b = right;
    return a->key < b->key || (a->key == b->key && a->name < b->name);
}

static bool is_after(const void *left, const void *right)
{
    return is_before(right, left);
}

static const struct heap_kind first_kind = {is_before, offsetof(struct entry, place)};
static const struct heap_kind last_kind = {is_after, offsetof(struct entry, other_place)};

static int compare_entries(const void *a, const void *b)
{
    const void *left = *(void *const *)a;
    const void *right = *(void *const *)b;
    return is_before(left, right) ? -1 : is_before(right, left);
}

/* Those that are in, sorted: the first is the first, the last is the last, and each knows whether it is in.
 */
static void assert_like_sorted(const struct heap *heap, const struct heap *reverse, struct entry *entries)
{
    struct entry *sorted[ENTRIES];
    size_t count = 0;
    for (int i = 0; i < ENTRIES; i++) {
        assert_int_equal(heap_has(heap, &entries[i]), entries[i].is_in);
        assert_int_equal(heap_has(reverse, &entries[i]), entries[i].is_in);
        if (entries[i].is_in)
            sorted[count++] = &entries[i];
    }
    assert_int_equal(heap->count, count);
    assert_int_equal(reverse->count, count);
    qsort(sorted, count, sizeof sorted[0], compare_entries);
    assert_ptr_equal(heap_first(heap), count == 0 ? NULL : sorted[0]);
    assert_ptr_equal(heap_first(reverse), count == 0 ? NULL : sorted[count - 1]);
    for (size_t i = 1; i < count; i++)
        assert_false(is_before(heap->entries[i], heap->entries[(i - 1) / 2]));
}

static void put_in(struct heap *heap, struct entry *entry)
{
    assert_true(heap_reserve(heap, heap->count + 1));
    heap_put(heap, entry);
}

/* One step by lot: a new key for one that is in, or in, or out. */
static void step_heaps(struct heap *heap, struct heap *reverse, struct entry *entry, uint64_t lot)
{
    bool moves = entry->is_in && lot % 3 == 0;
    if (moves || !entry->is_in)
        entry->key = (int64_t)(lot >> 8) % 50 - 25; /* few, so that many are equal but for their name */
    if (moves) {
        heap_move(heap, entry);
        heap_move(reverse, entry);
        return;
    }
    if (entry->is_in) {
        heap_take_out(heap, entry);
        heap_take_out(reverse, entry);
    } else {
        put_in(heap, entry);
        put_in(reverse, entry);
    }
    entry->is_in = !entry->is_in;
}

static void a_heap_does_as_a_sorted_array_does(void **state)
{
    static struct entry entries[ENTRIES];
    struct id_source random;
    struct heap heap;
    struct heap reverse;
    (void)state;
    id_source_init_seed(&random, 7);
    heap_init(&heap, &first_kind);
    heap_init(&reverse, &last_kind);
    for (int i = 0; i < ENTRIES; i++)
        entries[i].name = i;
    for (int step = 0; step < 20000; step++) {
        uint64_t lot = id_next(&random);
        /* Among few entries the heap is often empty; among all of them it is half full. */
        uint64_t among = step / 2000 % 2 == 0 ? 5 : ENTRIES;
        step_heaps(&heap, &reverse, &entries[(lot >> 32) % among], lot & UINT32_MAX);
        if (step % 20 == 0 || among < ENTRIES)
            assert_like_sorted(&heap, &reverse, entries);
    }
    heap_clear(&reverse);
    assert_null(heap_first(&reverse));
    assert_false(heap_has(&reverse, heap_first(&heap)));
    heap_fini(&heap);
    heap_fini(&reverse);
}

/* All of them, each time the first: in order, none twice. */
static void a_heap_gives_all_in_order(void **state)
{
    static struct entry entries[ENTRIES];
    struct id_source random;
    struct heap heap;
    (void)state;
    id_source_init_seed(&random, 8);
    heap_init(&heap, &first_kind);
    assert_null(heap_first(&heap));
    assert_true(heap_reserve(&heap, ENTRIES));
    assert_true(heap_reserve(&heap, 1)); /* room stays */
    for (int i = 0; i < ENTRIES; i++) {
        entries[i] = (struct entry){.name = i, .key = (int64_t)(id_next(&random) % 40)};
        assert_false(heap_has(&heap, &entries[i]));
        heap_put(&heap, &entries[i]);
    }
    const struct entry *before = NULL;
    struct entry *entry;
    size_t count = 0;
    while ((entry = heap_first(&heap)) != NULL) {
        heap_take_out(&heap, entry);
        assert_false(heap_has(&heap, entry));
        assert_true(before == NULL || is_before(before, entry));
        before = entry;
        count++;
    }
    assert_int_equal(count, ENTRIES);
    heap_fini(&heap);
    assert_null(heap_first(&heap));
}

/* --- pool --- */

enum { BLOCK_SIZE = 100, BLOCKS_MAX = 2000 };

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t) * (char *const *)a;
    uintptr_t right = (uintptr_t) * (char *const *)b;
    return left < right ? -1 : left > right;
}

static void blocks_never_overlap_and_never_exceed_the_bound(void **state)
{
    static char *blocks[BLOCKS_MAX];
    struct pool pool;
    (void)state;
    pool_init(&pool, BLOCK_SIZE, BLOCKS_MAX);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < BLOCKS_MAX; i++) {
            blocks[i] = pool_take(&pool);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % 16, 0);
            memset(blocks[i], i, BLOCK_SIZE);
        }
        assert_null(pool_take(&pool));
        assert_int_equal(pool.count_taken, BLOCKS_MAX);
        for (int i = 0; i < BLOCKS_MAX; i++)
            for (int j = 0; j < BLOCK_SIZE; j++)
                assert_true(blocks[i][j] == (char)i);
        qsort(blocks, BLOCKS_MAX, sizeof blocks[0], compare_pointers);
        for (int i = 1; i < BLOCKS_MAX; i++)
            assert_true(blocks[i] - blocks[i - 1] >= BLOCK_SIZE);
        for (int i = 0; i < BLOCKS_MAX; i++)
            pool_put(&pool, blocks[i]);
    }
    assert_int_equal(pool.count, BLOCKS_MAX);
    char *last = pool_take(&pool);
    assert_non_null(last);
    pool_put(&pool, last);
    assert_ptr_equal(pool_take(&pool), last);
    pool_put(&pool, last);
    pool_fini(&pool);
}

static void blocks_larger_than_a_slab_and_empty_pools(void **state)
{
    struct pool pool;
    (void)state;
    pool_init(&pool, 100000, 2);
    char *first = pool_take(&pool);
    char *second = pool_take(&pool);
    assert_non_null(first);
    assert_non_null(second);
    assert_null(pool_take(&pool));
    memset(first, 1, 100000);
    memset(second, 2, 100000);
    assert_int_equal(first[99999], 1);
    pool_put(&pool, first);
    pool_put(&pool, second);
    pool_fini(&pool);
    pool_init(&pool, 16, 0);
    assert_null(pool_take(&pool));
    pool_fini(&pool);
}

/* --- histogram --- */

static int compare_values(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

enum { VALUES_MAX = 20000 };
static uint64_t values[VALUES_MAX];
static struct hist hist;
static struct hist other;

/* The percentile is the value at the nearest rank or up to 1/64 more, and never above the largest. */
static void assert_percentiles(int count)
{
    static const int per_mille[] = {0, 1, 10, 250, 500, 750, 900, 950, 990, 999, 1000};
    qsort(values, (size_t)count, sizeof values[0], compare_values);
    for (size_t i = 0; i < sizeof per_mille / sizeof per_mille[0]; i++) {
        int rank = (per_mille[i] * count + 999) / 1000;
        uint64_t exact = values[rank == 0 ? 0 : rank - 1];
        uint64_t got = hist_percentile_ns(&hist, per_mille[i] / 10.0);
        assert_true(got >= exact);
        assert_true(got - exact <= exact / 64);
        assert_true(got <= values[count - 1]);
    }
}

static void percentiles_are_known_to_1_6_percent(void **state)
{
    static const int counts[] = {1, 2, 3, 10, 100, 1000, 9999, VALUES_MAX};
    struct id_source random;
    (void)state;
    id_source_init_seed(&random, 5);
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        for (unsigned shift = 0; shift < 64; shift += 7) {
            hist_init(&hist);
            for (int i = 0; i < counts[c]; i++) {
                values[i] = id_next(&random) >> shift >> (id_next(&random) % (64 - shift));
                hist_add(&hist, values[i]);
            }
            assert_percentiles(counts[c]);
            assert_true(hist.min_ns == values[0] && hist.max_ns == values[counts[c] - 1]);
        }
    }
}

static void percentiles_hit_the_exact_rank(void **state)
{
    (void)state;
    hist_init(&hist);
    for (uint64_t i = 1; i <= 1000; i++)
        hist_add(&hist, i <= 999 ? 10 : 50);
    assert_int_equal(hist_percentile_ns(&hist, 99.9), 10);
    assert_int_equal(hist_percentile_ns(&hist, 99.91), 50);
    assert_int_equal(hist_percentile_ns(&hist, 100), 50);
    assert_int_equal(hist_percentile_ns(&hist, 0), 10);
}

static void the_edges_of_a_histogram(void **state)
{
    static const uint64_t edges[] = {0, 1, 63, 64, 65, 127, 128, 129, UINT64_C(1) << 40,
        (UINT64_C(1) << 40) - 1, (uint64_t)INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX - 1, UINT64_MAX};
    (void)state;
    hist_init(&hist);
    assert_int_equal(hist_percentile_ns(&hist, 50), 0);
    assert_int_equal(hist_mean_ns(&hist), 0);
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        hist_init(&hist);
        hist_add(&hist, edges[i]);
        hist_add(&hist, UINT64_MAX);
        uint64_t half = hist_percentile_ns(&hist, 50);
        assert_true(half >= edges[i] && half - edges[i] <= edges[i] / 64);
        assert_true(hist_percentile_ns(&hist, 100) == UINT64_MAX);
    }
}

static void merging_is_adding_everything(void **state)
{
    struct id_source random;
    (void)state;
    id_source_init_seed(&random, 6);
    hist_init(&hist);
    hist_init(&other);
    for (int i = 0; i < VALUES_MAX; i++) {
        values[i] = id_next(&random) % 1000000007;
        hist_add(i % 3 == 0 ? &hist : &other, values[i]);
    }
    hist_merge(&hist, &other);
    assert_int_equal(hist.count, VALUES_MAX);
    assert_percentiles(VALUES_MAX);
    double sum = 0;
    for (int i = 0; i < VALUES_MAX; i++)
        sum += (double)values[i];
    assert_in_range(hist_mean_ns(&hist), (uint64_t)(sum / VALUES_MAX) - 1, (uint64_t)(sum / VALUES_MAX) + 1);
    struct hist before = hist;
    hist_init(&other);
    hist_merge(&hist, &other);
    assert_memory_equal(&hist, &before, sizeof hist);
}

/* --- identifiers --- */

static void a_seed_gives_the_same_numbers_again(void **state)
{
    struct id_source first;
    struct id_source second;
    struct id_source third;
    (void)state;
    id_source_init_seed(&first, 99);
    id_source_init_seed(&second, 99);
    id_source_init_seed(&third, 100);
    int equal_count = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = id_next(&first);
        assert_true(value == id_next(&second));
        equal_count += value == id_next(&third);
    }
    assert_int_equal(equal_count, 0);
}

static int compare_uuids(const void *a, const void *b)
{
    return memcmp(a, b, ID_UUID_LEN);
}

static void uuids_are_version_4_and_all_different(void **state)
{
    enum { COUNT = 10000 };
    static char uuids[COUNT][ID_UUID_LEN];
    static const char form[] = "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx";
    struct id_source source;
    struct id_source again;
    (void)state;
    id_source_init(&source);
    id_source_init(&again);
    assert_true(id_next(&source) != id_next(&again));
    for (int i = 0; i < COUNT; i++) {
        id_uuid(&source, uuids[i]);
        for (int j = 0; j < ID_UUID_LEN; j++) {
            char c = uuids[i][j];
            bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            assert_true(form[j] == 'x' ? is_hex : form[j] == 'y' ? strchr("89ab", c) != NULL : c == form[j]);
        }
    }
    qsort(uuids, COUNT, ID_UUID_LEN, compare_uuids);
    for (int i = 1; i < COUNT; i++)
        assert_memory_not_equal(uuids[i - 1], uuids[i], ID_UUID_LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_does_as_its_model_does),
        cmocka_unit_test(a_map_takes_out_what_is_known_by_that_hash),
        cmocka_unit_test(a_map_without_memory_is_a_map),
        cmocka_unit_test(keyed_hashes_depend_on_key_and_text),
        cmocka_unit_test(a_list_keeps_order_and_forgives_double_removal),
        cmocka_unit_test(a_heap_does_as_a_sorted_array_does),
        cmocka_unit_test(a_heap_gives_all_in_order),
        cmocka_unit_test(blocks_never_overlap_and_never_exceed_the_bound),
        cmocka_unit_test(blocks_larger_than_a_slab_and_empty_pools),
        cmocka_unit_test(percentiles_are_known_to_1_6_percent),
        cmocka_unit_test(percentiles_hit_the_exact_rank),
        cmocka_unit_test(the_edges_of_a_histogram),
        cmocka_unit_test(merging_is_adding_everything),
        cmocka_unit_test(a_seed_gives_the_same_numbers_again),
        cmocka_unit_test(uuids_are_version_4_and_all_different),
    };
    return cmocka_run_group_tests_name("base containers", tests, NULL, NULL);
}
