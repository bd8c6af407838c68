/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store.h promises, asked of every kind of store: the same tests run on each row of `kinds`. A kind says
 * how to open a store at a place; opening the same place again opens the same store.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/fault.h"
#include "store/sqlite.h"
#include "store_support.h"

struct kind {
    const char *name;
    enum err (*open)(const char *place, struct store **store, struct error *error);
};

static enum err open_sqlite(const char *place, struct store **store, struct error *error)
{
    return sqlite_store_open(place_path(place, "store.db"), store, error);
}

static enum err open_sqlite_behind_fault(const char *place, struct store **store, struct error *error)
{
    struct store *inner;
    enum err err = open_sqlite(place, &inner, error);
    return err == ERR_NONE ? fault_store_wrap(inner, "", store, error) : err;
}

static struct kind kinds[] = {
    {"sqlite", open_sqlite},
    {"sqlite behind fault", open_sqlite_behind_fault},
};

enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

/* --- a store that is open, and the world in front of it --- */

struct open_store {
    const struct kind *kind;
    char place[PATH_MAX];
    struct store *store;
    struct world world;
};

static void open_and_load(struct open_store *o)
{
    struct error error = {.message = ""};
    if (o->kind->open(o->place, &o->store, &error) != ERR_NONE)
        fail_msg("cannot open the store: %s", error.message);
    test_world_init(&o->world);
    if (store_load(o->store, &o->world, NULL, 0, &error) != ERR_NONE)
        fail_msg("cannot load the world: %s", error.message);
    world_begin(&o->world);
}

static void close_all(struct open_store *o)
{
    world_fini(&o->world);
    store_close(o->store);
}

static int set_up(void **state)
{
    struct open_store *o = calloc(1, sizeof *o);
    assert_non_null(o);
    o->kind = *state;
    place_make(o->place);
    open_and_load(o);
    *state = o;
    return 0;
}

static int tear_down(void **state)
{
    struct open_store *o = *state;
    close_all(o);
    place_remove(o->place);
    free(o);
    return 0;
}

static void commit(struct open_store *o)
{
    test_commit(o->store, &o->world);
    world_begin(&o->world);
}

/* Closes, opens and loads again; the world must come back as it was. */
static void assert_survives(struct open_store *o)
{
    char *before = test_world_text(&o->world);
    close_all(o);
    open_and_load(o);
    char *after = test_world_text(&o->world);
    assert_string_equal(after, before);
    free(before);
    free(after);
}

static struct product *product(struct open_store *o, const char *sku)
{
    return world_product(&o->world, slice_cstr(sku));
}

static bool reads(struct store_reader *reader, const char *sku, const char *user, struct purchase_row *row)
{
    struct error error = {.message = ""};
    bool is_found = false;
    if (store_read_purchase(reader, slice_cstr(sku), slice_cstr(user), row, &is_found, &error) != ERR_NONE)
        fail_msg("cannot read: %s", error.message);
    return is_found;
}

static struct store_reader *open_reader(struct open_store *o)
{
    struct error error = {.message = ""};
    struct store_reader *reader;
    if (store_reader_open(o->store, &reader, &error) != ERR_NONE)
        fail_msg("cannot open a reader: %s", error.message);
    return reader;
}

/* --- what a batch leaves --- */

static void a_new_store_is_empty(void **state)
{
    struct open_store *o = *state;
    char *text = test_world_text(&o->world);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(o->world.next_product_id, 1);
    assert_int_equal(o->world.next_purchase_id, 1);
    assert_int_equal(o->world.next_key_id, 1);
}

static void an_empty_batch_is_no_trouble(void **state)
{
    struct open_store *o = *state;
    commit(o);
    assert_survives(o);
}

static void every_kind_of_change_survives(void **state)
{
    struct open_store *o = *state;
    test_add_product(&o->world, "KEEP", 10);
    test_add_product(&o->world, "CLEAR", 10);
    test_add_product(&o->world, "REMOVE", 10);
    commit(o);
    assert_survives(o);
    for (int i = 0; i < 3; i++) {
        test_buy(&o->world, "KEEP", "ann", 1000 + i);
        test_buy(&o->world, "CLEAR", "ben", 2000 + i);
        test_buy(&o->world, "REMOVE", "cat", 3000 + i);
        test_buy(&o->world, "KEEP", "ben", 4000 + i);
    }
    test_add_key(&o->world, "admin", "first", 1);
    test_add_key(&o->world, "purchase:ann", "second", 2);
    commit(o);
    assert_survives(o);
    struct product_values values = product(o, "KEEP")->values;
    values.name = SLICE("another name");
    values.state = SALE_ENDED;
    values.end_reason = END_TIME_EXPIRED;
    values.price_minor = 1999;
    assert_true(world_set_product(&o->world, product(o, "KEEP"), &values));
    assert_true(world_clear_purchases(&o->world, product(o, "CLEAR")));
    assert_true(world_remove_product(&o->world, product(o, "REMOVE")));
    assert_true(world_remove_key(&o->world, world_key(&o->world, SLICE("admin"), SLICE("first"))));
    commit(o);
    assert_null(product(o, "REMOVE"));
    assert_int_equal(product(o, "CLEAR")->buyers.count, 0);
    assert_survives(o);
    assert_int_equal(product(o, "KEEP")->values.price_minor, 1999);
    assert_non_null(world_key(&o->world, SLICE("purchase:ann"), SLICE("second")));
}

static void changes_of_a_batch_are_written_in_their_order(void **state)
{
    struct open_store *o = *state;
    test_add_product(&o->world, "TWICE", 5);
    test_buy(&o->world, "TWICE", "ann", 1);
    assert_true(world_remove_product(&o->world, product(o, "TWICE")));
    test_add_product(&o->world, "TWICE", 7);
    test_buy(&o->world, "TWICE", "ben", 2);
    assert_true(world_clear_purchases(&o->world, product(o, "TWICE")));
    test_buy(&o->world, "TWICE", "cat", 3);
    test_buy(&o->world, "TWICE", "ben", 4);
    commit(o);
    assert_survives(o);
    assert_int_equal(product(o, "TWICE")->values.initial_stock, 7);
    assert_int_equal(product(o, "TWICE")->buyers.count, 2);
}

static void clearing_one_product_spares_the_others_in_between(void **state)
{
    struct open_store *o = *state;
    test_add_product(&o->world, "A", 100);
    test_add_product(&o->world, "B", 100);
    for (int i = 0; i < 40; i++)
        test_buy(&o->world, i % 2 == 0 ? "A" : "B", "ann", i);
    commit(o);
    assert_true(world_clear_purchases(&o->world, product(o, "A")));
    commit(o);
    assert_survives(o);
    assert_int_equal(product(o, "A")->purchase_id_last, 0);
    assert_int_equal(world_buyer(&o->world, product(o, "B"), SLICE("ann"))->count, 20);
}

static void a_big_batch_is_one_batch(void **state)
{
    struct open_store *o = *state;
    test_add_product(&o->world, "BIG", 5000);
    for (int i = 0; i < 5000; i++) {
        char user[32];
        (void)snprintf(user, sizeof user, "user-%05d", i);
        test_buy(&o->world, "BIG", user, i);
    }
    commit(o);
    assert_survives(o);
    assert_int_equal(product(o, "BIG")->buyers.count, 5000);
    assert_int_equal(product(o, "BIG")->values.stock, 0);
}

static void a_batch_that_was_rolled_back_leaves_nothing(void **state)
{
    struct open_store *o = *state;
    test_add_product(&o->world, "A", 10);
    test_buy(&o->world, "A", "ann", 1);
    commit(o);
    char *before = test_world_text(&o->world);
    test_buy(&o->world, "A", "ben", 2);
    assert_true(world_remove_product(&o->world, product(o, "A")));
    test_add_product(&o->world, "B", 10);
    world_rollback(&o->world);
    world_begin(&o->world);
    test_buy(&o->world, "A", "cat", 3);
    commit(o);
    assert_survives(o);
    assert_null(product(o, "B"));
    assert_null(world_buyer(&o->world, product(o, "A"), SLICE("ben")));
    assert_non_null(world_buyer(&o->world, product(o, "A"), SLICE("cat")));
    free(before);
}

/* --- values at the edge --- */

static void any_text_comes_back_as_it_went_in(void **state)
{
    struct open_store *o = *state;
    struct store_reader *reader = open_reader(o);
    char longest[USER_LEN_MAX + 1];
    for (int i = 0; i < USER_LEN_MAX; i += 2)
        memcpy(longest + i, "\xC3\xBF", 2);
    longest[USER_LEN_MAX] = '\0';
    const char *users[] = {"O'Hara; DROP TABLE purchases;--", "\"quoted\"", "\xE6\x97\xA5\xE6\x9C\xAC",
        "\xFF\xFE not UTF-8", " blank ", "back\\slash", "%s%n", "ANN", "ann", longest};
    int count = sizeof users / sizeof users[0];
    struct product *edge = test_add_product(&o->world, "EDGE", 1000);
    struct product_values values = edge->values;
    values.name = SLICE("T\xC3\xA4nzer's \"Hut\" 100%");
    assert_true(world_set_product(&o->world, edge, &values));
    for (int i = 0; i < count; i++)
        test_buy(&o->world, "EDGE", users[i], 100 + i);
    test_add_key(&o->world, users[0], longest, 1);
    commit(o);
    for (int i = 0; i < count; i++) {
        struct purchase_row row;
        assert_true(reads(reader, "EDGE", users[i], &row));
        assert_int_equal(row.purchased_ms, 100 + i);
    }
    store_reader_close(reader);
    assert_survives(o);
    assert_int_equal(product(o, "EDGE")->buyers.count, count);
}

static void numbers_have_64_bits(void **state)
{
    struct open_store *o = *state;
    struct product *edge = test_add_product(&o->world, "EDGE", INT64_MAX);
    struct product_values values = edge->values;
    values.price_minor = INT64_MAX;
    values.per_user_limit = INT64_MAX;
    values.start_ms = INT64_MIN;
    values.end_ms = INT64_MAX;
    values.created_ms = INT64_MIN;
    values.updated_ms = INT64_MAX;
    assert_true(world_set_product(&o->world, edge, &values));
    test_buy(&o->world, "EDGE", "ann", INT64_MAX);
    test_add_key(&o->world, "admin", "k", INT64_MIN);
    commit(o);
    assert_survives(o);
    assert_int_equal(product(o, "EDGE")->values.stock, INT64_MAX - 1);
}

/* --- ids --- */

static void ids_are_never_given_out_again(void **state)
{
    struct open_store *o = *state;
    test_add_product(&o->world, "A", 100);
    test_add_product(&o->world, "B", 100);
    test_buy(&o->world, "B", "ann", 1);
    int64_t purchase_id = test_buy(&o->world, "A", "ann", 1);
    test_add_key(&o->world, "admin", "k", 1);
    commit(o);
    int64_t product_id = product(o, "B")->id;
    int64_t key_id = world_key(&o->world, SLICE("admin"), SLICE("k"))->id;
    assert_true(world_remove_product(&o->world, product(o, "A")));
    assert_true(world_remove_product(&o->world, product(o, "B")));
    assert_true(world_remove_key(&o->world, world_key(&o->world, SLICE("admin"), SLICE("k"))));
    commit(o);
    assert_survives(o);
    assert_true(o->world.next_product_id > product_id);
    assert_true(o->world.next_purchase_id > purchase_id);
    assert_true(o->world.next_key_id > key_id);
}

/* The same in one batch, and once more, and with rows that stay below the deleted ones. */
static void ids_outlive_every_order_of_deletions(void **state)
{
    struct open_store *o = *state;
    int64_t id_max = 0;
    test_add_product(&o->world, "STAYS", 100);
    test_buy(&o->world, "STAYS", "ann", 1);
    commit(o);
    for (int round = 0; round < 4; round++) {
        test_add_product(&o->world, "GOES", 100);
        for (int i = 0; i <= round; i++)
            id_max = test_buy(&o->world, "GOES", "ben", 2);
        if (round % 2 == 0)
            commit(o);
        assert_true(world_remove_product(&o->world, product(o, "GOES")));
        commit(o);
        assert_survives(o);
        assert_true(o->world.next_purchase_id > id_max);
        assert_true(test_buy(&o->world, "STAYS", "cat", 3) > id_max);
        commit(o);
        assert_survives(o);
    }
}

/* --- keys --- */

static void keys_come_back_oldest_first(void **state)
{
    struct open_store *o = *state;
    for (int i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%d", i);
        test_add_key(&o->world, "admin", key, i);
    }
    commit(o);
    for (int i = 0; i < 30; i++)
        assert_true(
            world_remove_key(&o->world, CONTAINER_OF(list_first(&o->world.keys), struct key_record, node)));
    commit(o);
    assert_survives(o);
    assert_int_equal(o->world.keys_by_name.count, 70);
    assert_int_equal(CONTAINER_OF(list_first(&o->world.keys), struct key_record, node)->number, 30);
}

/* --- readers --- */

static void a_reader_sees_what_was_committed_at_once(void **state)
{
    struct open_store *o = *state;
    struct store_reader *reader = open_reader(o);
    struct purchase_row row;
    test_add_product(&o->world, "A", 1000);
    commit(o);
    assert_false(reads(reader, "A", "ann", &row));
    for (int i = 0; i < 100; i++) {
        char user[16];
        (void)snprintf(user, sizeof user, "u%d", i);
        int64_t id = test_buy(&o->world, "A", user, 500 + i);
        assert_false(reads(reader, "A", user, &row)); /* decided, not committed */
        commit(o);
        assert_true(reads(reader, "A", user, &row));
        assert_int_equal(row.id, id);
        assert_int_equal(row.purchased_ms, 500 + i);
    }
    assert_false(reads(reader, "B", "u1", &row));
    assert_false(reads(reader, "A", "", &row));
    store_reader_close(reader);
    assert_survives(o);
    reader = open_reader(o);
    assert_true(reads(reader, "A", "u99", &row));
    assert_int_equal(row.purchased_ms, 599);
    store_reader_close(reader);
}

static void a_reader_finds_the_latest_purchase(void **state)
{
    struct open_store *o = *state;
    struct store_reader *reader = open_reader(o);
    struct purchase_row row;
    test_add_product(&o->world, "A", 1000);
    test_add_product(&o->world, "B", 1000);
    int64_t latest = 0;
    for (int i = 0; i < 20; i++) {
        test_buy(&o->world, "B", "ann", 1);
        latest = test_buy(&o->world, "A", "ann", i);
        test_buy(&o->world, "A", "ben", 1);
        if (i % 3 == 0)
            commit(o);
    }
    commit(o);
    assert_true(reads(reader, "A", "ann", &row));
    assert_int_equal(row.id, latest);
    store_reader_close(reader);
    assert_survives(o);
    reader = open_reader(o);
    assert_true(reads(reader, "A", "ann", &row));
    assert_int_equal(row.id, latest);
    store_reader_close(reader);
}

static void a_reader_finds_nothing_that_was_cleared(void **state)
{
    struct open_store *o = *state;
    struct store_reader *reader = open_reader(o);
    struct purchase_row row;
    test_add_product(&o->world, "A", 1000);
    test_add_product(&o->world, "B", 1000);
    test_buy(&o->world, "A", "ann", 1);
    test_buy(&o->world, "B", "ann", 1);
    commit(o);
    assert_true(world_clear_purchases(&o->world, product(o, "A")));
    commit(o);
    assert_false(reads(reader, "A", "ann", &row));
    assert_true(reads(reader, "B", "ann", &row));
    int64_t id = test_buy(&o->world, "A", "ann", 2);
    commit(o);
    assert_true(reads(reader, "A", "ann", &row));
    assert_int_equal(row.id, id);
    assert_true(world_remove_product(&o->world, product(o, "A")));
    test_add_product(&o->world, "A", 5);
    commit(o);
    assert_false(reads(reader, "A", "ann", &row));
    store_reader_close(reader);
}

struct watcher {
    struct open_store *o;
    atomic_int committed; /* users u0..committed-1 are on disk */
    atomic_bool is_over;
    int failures;
    int missed;
    int looks;
};

static void *watch(void *context)
{
    struct watcher *watcher = context;
    struct store_reader *reader;
    if (store_reader_open(watcher->o->store, &reader, NULL) != ERR_NONE) {
        watcher->failures++;
        return NULL;
    }
    while (!atomic_load(&watcher->is_over)) {
        int committed = atomic_load(&watcher->committed);
        char user[16];
        struct purchase_row row;
        bool is_found;
        (void)snprintf(user, sizeof user, "u%d", committed - 1);
        watcher->looks++;
        if (store_read_purchase(reader, SLICE("A"), slice_cstr(user), &row, &is_found, NULL) != ERR_NONE)
            watcher->failures++;
        else if (committed > 0 && !is_found)
            watcher->missed++;
    }
    store_reader_close(reader);
    return NULL;
}

static void readers_beside_the_writer_miss_nothing(void **state)
{
    struct open_store *o = *state;
    enum { WATCHERS = 3, PURCHASES = 3000 };
    struct watcher watchers[WATCHERS];
    pthread_t threads[WATCHERS];
    test_add_product(&o->world, "A", PURCHASES);
    commit(o);
    for (int i = 0; i < WATCHERS; i++) {
        watchers[i] = (struct watcher){.o = o};
        assert_int_equal(pthread_create(&threads[i], NULL, watch, &watchers[i]), 0);
    }
    for (int n = 0; n < PURCHASES; n++) {
        char user[16];
        (void)snprintf(user, sizeof user, "u%d", n);
        test_buy(&o->world, "A", user, n);
        commit(o);
        for (int i = 0; i < WATCHERS; i++)
            atomic_store(&watchers[i].committed, n + 1);
    }
    for (int i = 0; i < WATCHERS; i++) {
        atomic_store(&watchers[i].is_over, true);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(watchers[i].failures, 0);
        assert_int_equal(watchers[i].missed, 0);
        assert_true(watchers[i].looks > 0);
    }
}

/* --- the probe --- */

static void a_probe_changes_nothing(void **state)
{
    struct open_store *o = *state;
    struct error error = {.message = ""};
    test_add_product(&o->world, "A", 10);
    test_buy(&o->world, "A", "ann", 1);
    commit(o);
    for (int i = 0; i < 10; i++)
        assert_int_equal(store_probe(o->store, &error), ERR_NONE);
    int64_t next_product_id = o->world.next_product_id;
    assert_survives(o);
    assert_int_equal(o->world.next_product_id, next_product_id);
}

/* --- all tests on all kinds --- */

#define EACH(test)  \
    {               \
#test, test \
    }

static const struct {
    const char *name;
    CMUnitTestFunction run;
} behaviours[] = {
    EACH(a_new_store_is_empty),
    EACH(an_empty_batch_is_no_trouble),
    EACH(every_kind_of_change_survives),
    EACH(changes_of_a_batch_are_written_in_their_order),
    EACH(clearing_one_product_spares_the_others_in_between),
    EACH(a_big_batch_is_one_batch),
    EACH(a_batch_that_was_rolled_back_leaves_nothing),
    EACH(any_text_comes_back_as_it_went_in),
    EACH(numbers_have_64_bits),
    EACH(ids_are_never_given_out_again),
    EACH(ids_outlive_every_order_of_deletions),
    EACH(keys_come_back_oldest_first),
    EACH(a_reader_sees_what_was_committed_at_once),
    EACH(a_reader_finds_the_latest_purchase),
    EACH(a_reader_finds_nothing_that_was_cleared),
    EACH(readers_beside_the_writer_miss_nothing),
    EACH(a_probe_changes_nothing),
};

enum { BEHAVIOUR_COUNT = sizeof behaviours / sizeof behaviours[0] };

int main(void)
{
    static struct CMUnitTest tests[KIND_COUNT * BEHAVIOUR_COUNT];
    static char names[KIND_COUNT * BEHAVIOUR_COUNT][96];
    for (size_t i = 0; i < KIND_COUNT * BEHAVIOUR_COUNT; i++) {
        struct kind *kind = &kinds[i / BEHAVIOUR_COUNT];
        (void)snprintf(names[i], sizeof names[i], "%s: %s", kind->name, behaviours[i % BEHAVIOUR_COUNT].name);
        tests[i] =
            (struct CMUnitTest){names[i], behaviours[i % BEHAVIOUR_COUNT].run, set_up, tear_down, kind};
    }
    return _cmocka_run_group_tests("store contract", tests, KIND_COUNT * BEHAVIOUR_COUNT, NULL, NULL);
}
