/* SPDX-License-Identifier: Apache-2.0 */
/* The index of purchases: what it proposes, also when hashes collide, which no test can bring about from
 * outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/purchase_index.h"

static int set_up(void **state)
{
    struct purchase_index *index = malloc(sizeof *index);
    assert_non_null(index);
    purchase_index_init(index);
    *state = index;
    return 0;
}

static int tear_down(void **state)
{
    purchase_index_fini(*state);
    free(*state);
    return 0;
}

static void add(struct purchase_index *index, uint64_t hash, int64_t id, int64_t nth)
{
    assert_true(purchase_index_reserve(index, hash));
    purchase_index_add(index, hash, id, nth);
}

static int64_t latest(struct purchase_index *index, uint64_t hash)
{
    return purchase_index_find(index, hash, INT64_MAX);
}

static void an_empty_index_knows_nothing(void **state)
{
    assert_int_equal(latest(*state, 42), 0);
    purchase_index_remove(*state, 42);
    assert_int_equal(latest(*state, 42), 0);
}

static void a_later_unit_takes_the_place_of_the_one_before(void **state)
{
    struct purchase_index *index = *state;
    for (int64_t nth = 1; nth <= 1000; nth++)
        add(index, 42, 10 * nth, nth);
    assert_int_equal(latest(index, 42), 10000);
    assert_int_equal(index->parts[0].count, 1);
    purchase_index_remove(index, 42);
    assert_int_equal(latest(index, 42), 0);
    assert_int_equal(index->parts[0].count, 0);
}

static void two_buyers_with_one_hash_are_both_found(void **state)
{
    struct purchase_index *index = *state;
    add(index, 42, 5, 1);
    add(index, 42, 9, 1);
    assert_int_equal(latest(index, 42), 9);
    assert_int_equal(purchase_index_find(index, 42, 9), 5);
    assert_int_equal(purchase_index_find(index, 42, 5), 0);
    add(index, 42, 12, 2); /* whose, the index cannot know */
    assert_int_equal(latest(index, 42), 12);
    assert_int_equal(purchase_index_find(index, 42, 12), 9);
    assert_int_equal(purchase_index_find(index, 42, 9), 5);
}

static void a_removal_spares_the_other_buyer_with_that_hash(void **state)
{
    struct purchase_index *index = *state;
    add(index, 42, 5, 1);
    add(index, 42, 9, 1);
    purchase_index_remove(index, 42);
    assert_int_equal(latest(index, 42), 9);
    assert_int_equal(purchase_index_find(index, 42, 9), 5);
}

static void promises_that_were_taken_back_take_no_room(void **state)
{
    struct purchase_index *index = *state;
    for (int round = 0; round < 1000; round++) {
        for (uint64_t hash = 1; hash <= 10; hash++)
            assert_true(purchase_index_reserve(index, hash));
        purchase_index_unreserve(index);
    }
    assert_int_equal(index->parts[0].count_reserved, 0);
    assert_int_equal(index->parts[0].size, 16);
}

/* Hashes of a few low values in one part, so that probes are long and wrap around. */
static void a_full_table_stays_right_through_many_removals(void **state)
{
    enum { HASHES = 600, ROUNDS = 20000 };
    struct purchase_index *index = *state;
    int64_t expected[HASHES] = {0};
    uint64_t random = 88172645463325252U;
    for (int round = 1; round <= ROUNDS; round++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t slot = random % HASHES;
        uint64_t hash = slot << 40 | (slot % 7 + (slot % 2 == 0 ? 0 : UINT64_C(0xFFFFFFF0)));
        if (expected[slot] != 0 && random >> 63 == 0) {
            purchase_index_remove(index, hash);
            expected[slot] = 0;
        } else {
            add(index, hash, round, expected[slot] == 0 ? 1 : 2);
            expected[slot] = round;
        }
        assert_int_equal(latest(index, hash), expected[slot]);
    }
    for (uint64_t slot = 0; slot < HASHES; slot++) {
        uint64_t hash = slot << 40 | (slot % 7 + (slot % 2 == 0 ? 0 : UINT64_C(0xFFFFFFF0)));
        assert_int_equal(latest(index, hash), expected[slot]);
    }
}

static void sku_and_user_do_not_run_into_each_other(void **state)
{
    struct purchase_index *index = *state;
    uint64_t hash = purchase_index_hash(index, SLICE("AB"), SLICE("C"));
    assert_true(hash != purchase_index_hash(index, SLICE("A"), SLICE("BC")));
    assert_true(hash == purchase_index_hash(index, SLICE("AB"), SLICE("C")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_index_knows_nothing),
        TEST(a_later_unit_takes_the_place_of_the_one_before),
        TEST(two_buyers_with_one_hash_are_both_found),
        TEST(a_removal_spares_the_other_buyer_with_that_hash),
        TEST(promises_that_were_taken_back_take_no_room),
        TEST(a_full_table_stays_right_through_many_removals),
        TEST(sku_and_user_do_not_run_into_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
