/* SPDX-License-Identifier: Apache-2.0 */
/* What readers find without asking the engine: balances by account, and the pictures of all sales by id. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/balances.h"
#include "engine/sale_list.h"

/* --- balances --- */

static const int64_t beyond_id = (int64_t)BALANCES_CHUNK_SIZE * BALANCES_CHUNKS_MAX;

static void assert_balance(const struct balances *balances, int64_t account_id, int64_t expected)
{
    int64_t balance = -7;
    assert_true(balances_get(balances, account_id, &balance));
    assert_int_equal(balance, expected);
}

static void assert_unknown(const struct balances *balances, int64_t account_id)
{
    int64_t balance;
    assert_false(balances_get(balances, account_id, &balance));
}

/* No coins are not no wallet. */
static void a_balance_is_found_by_its_account(void **state)
{
    static const int64_t ids[] = {1, 2, BALANCES_CHUNK_SIZE - 1, BALANCES_CHUNK_SIZE, 1000000};
    struct balances balances;
    (void)state;
    assert_true(balances_init(&balances));
    for (int i = 0; i < 5; i++)
        assert_unknown(&balances, ids[i]);
    for (int i = 0; i < 5; i++)
        assert_true(balances_set(&balances, ids[i], i * INT64_C(249999999999999)));
    for (int i = 0; i < 5; i++)
        assert_balance(&balances, ids[i], i * INT64_C(249999999999999));
    assert_true(balances_set(&balances, 2, 5));
    assert_balance(&balances, 2, 5);
    assert_true(balances_set(&balances, 2, 0));
    assert_balance(&balances, 2, 0);
    assert_unknown(&balances, 3);
    assert_unknown(&balances, 999999);
    balances_fini(&balances);
}

/* Such accounts are asked for in the store. */
static void an_account_beyond_all_is_not_known_here(void **state)
{
    static const int64_t ids[] = {INT64_MIN, -1, 0, INT64_MAX};
    struct balances balances;
    (void)state;
    assert_true(balances_init(&balances));
    for (int i = 0; i < 4; i++) {
        assert_true(balances_set(&balances, ids[i], 1));
        assert_unknown(&balances, ids[i]);
    }
    assert_true(balances_set(&balances, beyond_id - 1, 3));
    assert_balance(&balances, beyond_id - 1, 3);
    assert_true(balances_set(&balances, beyond_id, 3));
    assert_unknown(&balances, beyond_id);
    balances_fini(&balances);
}

enum { WATCHED = 3 * BALANCES_CHUNK_SIZE, ROUNDS = 200 };

static void *set_all(void *argument)
{
    bool is_good = true;
    for (int64_t round = 1; round <= ROUNDS; round++) {
        for (int64_t id = 1; id <= WATCHED; id += 61)
            is_good = balances_set(argument, id, round) && is_good;
    }
    return is_good ? argument : NULL;
}

/* While the engine sets, what others read has been set once, and never goes back. */
static void a_reader_never_sees_what_was_not_set(void **state)
{
    struct balances balances;
    pthread_t engine;
    void *is_good;
    (void)state;
    assert_true(balances_init(&balances));
    assert_int_equal(pthread_create(&engine, NULL, set_all, &balances), 0);
    int64_t seen = 0;
    while (seen < ROUNDS) {
        int64_t balance = 0;
        bool is_known = balances_get(&balances, WATCHED - (WATCHED - 1) % 61, &balance);
        assert_true(!is_known || (balance >= seen && balance <= ROUNDS));
        seen = is_known ? balance : seen;
    }
    assert_int_equal(pthread_join(engine, &is_good), 0);
    assert_non_null(is_good);
    balances_fini(&balances);
}

/* --- pictures --- */

enum { VIEWS = 200 };

static void assert_ascending(const struct sale_list *list, size_t count)
{
    assert_int_equal(list->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_true(i == 0 || list->views[i]->id > list->views[i - 1]->id);
        assert_ptr_equal(sale_list_get(list, list->views[i]->id), list->views[i]);
    }
}

/* In whatever order they come and go. */
static void pictures_stand_in_the_order_of_their_ids(void **state)
{
    static struct sale_view views[VIEWS];
    struct sale_list list = {0};
    (void)state;
    for (int i = 0; i < VIEWS; i++) {
        int at = i * 77 % VIEWS; /* each once */
        views[at].id = 10 + 3 * at;
        assert_true(sale_list_put(&list, &views[at]));
        assert_ascending(&list, (size_t)i + 1);
    }
    for (int i = 0; i < VIEWS; i++) {
        sale_list_remove(&list, &views[i * 77 % VIEWS]);
        sale_list_remove(&list, &views[i * 77 % VIEWS]);
        assert_ascending(&list, (size_t)(VIEWS - 1 - i));
    }
    sale_list_fini(&list);
    assert_int_equal(list.count, 0);
}

static void pages_begin_above_an_id(void **state)
{
    struct sale_view views[] = {{.id = 5}, {.id = 7}, {.id = 9}};
    static const size_t expected[] = {0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3};
    struct sale_list list = {0};
    (void)state;
    assert_int_equal(sale_list_above(&list, 0), 0);
    assert_null(sale_list_get(&list, 5));
    for (int i = 3; i-- > 0;)
        assert_true(sale_list_put(&list, &views[i]));
    for (int64_t id = 0; id < 11; id++) {
        assert_int_equal(sale_list_above(&list, id), expected[id]);
        assert_true((sale_list_get(&list, id) != NULL) == (id == 5 || id == 7 || id == 9));
    }
    assert_int_equal(sale_list_above(&list, INT64_MIN), 0);
    assert_int_equal(sale_list_above(&list, INT64_MAX), 3);
    sale_list_fini(&list);
}

/* Whoever holds a list that was made of it learns that it is old. */
static void each_change_has_another_version(void **state)
{
    struct sale_view views[] = {{.id = 5}, {.id = 7}, {.id = 5}};
    struct sale_list list = {0};
    (void)state;
    uint64_t version = list.version;
    assert_true(sale_list_put(&list, &views[0]));
    assert_true(list.version != version);
    version = list.version;
    assert_true(sale_list_put(&list, &views[2])); /* a newer picture of the same */
    assert_true(list.version != version && list.count == 1);
    assert_ptr_equal(sale_list_get(&list, 5), &views[2]);
    version = list.version;
    sale_list_remove(&list, &views[0]); /* not the one that is there */
    sale_list_remove(&list, &views[1]);
    assert_true(list.version == version && list.count == 1);
    sale_list_remove(&list, &views[2]);
    assert_true(list.version != version && list.count == 0);
    sale_list_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_balance_is_found_by_its_account),
        cmocka_unit_test(an_account_beyond_all_is_not_known_here),
        cmocka_unit_test(a_reader_never_sees_what_was_not_set),
        cmocka_unit_test(pictures_stand_in_the_order_of_their_ids),
        cmocka_unit_test(pages_begin_above_an_id),
        cmocka_unit_test(each_change_has_another_version),
    };
    return cmocka_run_group_tests_name("engine lists", tests, NULL, NULL);
}
