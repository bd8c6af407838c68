/* SPDX-License-Identifier: Apache-2.0 */
/* The index of trading orders: which orders an account has, walked from the newest on. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "store/intake_index.h"

enum { MANY = 200000, ACCOUNTS = 7 };

static int set_up(void **state)
{
    struct intake_index *index = malloc(sizeof *index);
    assert_non_null(index);
    intake_index_init(index);
    *state = index;
    return 0;
}

static int tear_down(void **state)
{
    intake_index_fini(*state);
    free(*state);
    return 0;
}

static void add(struct intake_index *index, int64_t id, int64_t account_id)
{
    assert_true(intake_index_reserve(index, id, account_id));
    intake_index_add(index, id, account_id);
}

static struct intake_walk walk_of(int64_t account_id)
{
    return (struct intake_walk){.account_id = account_id, .id_below = INT64_MAX};
}

/* The ids that come, as digits. */
static void assert_walk(struct intake_index *index, struct intake_walk walk, const char *expected)
{
    char text[16] = "";
    int64_t ids[9];
    size_t count = intake_index_walk(index, &walk, ids, 9);
    for (size_t i = 0; i < count; i++)
        text[i] = (char)('0' + ids[i]);
    assert_string_equal(text, expected);
}

static void add_some(struct intake_index *index)
{
    static const int64_t owners[] = {5, 6, 5, 5, 6, 5, 5};
    for (int64_t i = 0; i < 7; i++)
        add(index, i + 1, owners[i]);
}

static void an_empty_index_has_no_orders(void **state)
{
    assert_walk(*state, walk_of(1), "");
    assert_true(intake_index_reserve(*state, 1, 1)); /* for a batch that came to nothing */
    assert_walk(*state, walk_of(1), "");
}

static void orders_come_newest_first_and_of_one_account(void **state)
{
    add_some(*state);
    assert_walk(*state, walk_of(5), "76431");
    assert_walk(*state, walk_of(6), "52");
    assert_walk(*state, walk_of(7), "");
}

static void a_walk_has_bounds(void **state)
{
    struct intake_walk walk = walk_of(5);
    add_some(*state);
    walk.id_below = 6;
    assert_walk(*state, walk, "431");
    walk.own_id = 6;
    assert_walk(*state, walk, "431");
    walk.own_id = 7;
    assert_walk(*state, walk, "431");
    walk.id_above = 3;
    assert_walk(*state, walk, "4");
    walk.id_below = 4;
    assert_walk(*state, walk, "");
    walk.id_below = 1;
    walk.id_above = 0;
    assert_walk(*state, walk, "");
}

static void cancelled_orders_are_picked_or_passed(void **state)
{
    struct intake_walk walk = walk_of(5);
    add_some(*state);
    for (int twice = 0; twice < 2; twice++) {
        intake_index_cancel(*state, 1);
        intake_index_cancel(*state, 6);
    }
    assert_walk(*state, walk, "76431");
    walk.pick = INTAKE_PICK_CANCELLED;
    assert_walk(*state, walk, "61");
    walk.pick = INTAKE_PICK_NOT_CANCELLED;
    assert_walk(*state, walk, "743");
}

static void a_walk_goes_on_where_it_was(void **state)
{
    struct intake_walk walk = walk_of(5);
    int64_t ids[2];
    add_some(*state);
    assert_int_equal(intake_index_walk(*state, &walk, ids, 2), 2);
    assert_true(ids[0] == 7 && ids[1] == 6);
    add(*state, 8, 5);
    assert_int_equal(intake_index_walk(*state, &walk, ids, 0), 0);
    assert_int_equal(intake_index_walk(*state, &walk, ids, 2), 2);
    assert_true(ids[0] == 4 && ids[1] == 3);
    assert_int_equal(intake_index_walk(*state, &walk, ids, 2), 1);
    assert_int_equal(ids[0], 1);
    assert_int_equal(intake_index_walk(*state, &walk, ids, 2), 0);
}

static void many_orders_of_some_accounts(void **state)
{
    for (int64_t id = 1; id <= MANY; id++)
        add(*state, id, id % ACCOUNTS);
    for (int64_t account_id = 0; account_id < ACCOUNTS; account_id++) {
        struct intake_walk walk = walk_of(account_id);
        int64_t expected = MANY - (MANY - account_id) % ACCOUNTS;
        int64_t ids[1000];
        size_t count;
        while ((count = intake_index_walk(*state, &walk, ids, 1000)) > 0) {
            for (size_t i = 0; i < count; i++, expected -= ACCOUNTS)
                assert_int_equal(ids[i], expected);
        }
        assert_in_range(expected + ACCOUNTS, 1, ACCOUNTS);
    }
}

/* --- walks beside the engine --- */

struct walker {
    struct intake_index *index;
    atomic_bool is_over;
};

static void *walk_on(void *context)
{
    struct walker *walker = context;
    int64_t latest = 0;
    while (!atomic_load(&walker->is_over)) {
        struct intake_walk walk = walk_of(3);
        int64_t ids[50];
        size_t count = intake_index_walk(walker->index, &walk, ids, 50);
        for (size_t i = 0; i < count; i++)
            ENSURE(ids[i] % ACCOUNTS == 3 && (i == 0 || ids[i] == ids[i - 1] - ACCOUNTS));
        ENSURE(count == 0 || ids[0] >= latest);
        latest = count == 0 ? 0 : ids[0];
    }
    return NULL;
}

static void others_walk_while_orders_come(void **state)
{
    struct walker walker = {.index = *state};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, walk_on, &walker), 0);
    for (int64_t id = 1; id <= MANY; id++) {
        add(*state, id, id % ACCOUNTS);
        if (id % 10 == 0)
            intake_index_cancel(*state, id / 2);
    }
    atomic_store(&walker.is_over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_index_has_no_orders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orders_come_newest_first_and_of_one_account, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_walk_has_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelled_orders_are_picked_or_passed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_walk_goes_on_where_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_orders_of_some_accounts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_walk_while_orders_come, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
