/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store.h promises, asked of every kind of store (store_kinds.h): of products, purchases, stored answers
 * and work. For orders, accounts and trading orders see test_store_orders.c.
 *
 *     test_store_contract [embedded | postgres]    the rows of one store only
 *
 * The rows of PostgreSQL need a server (postgres_fixture.h).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/rules.h"
#include "core/world_work.h"
#include "store_kinds.h"

static void commit(struct open_store *o)
{
    batch_commit(&o->batch, o->store, &o->world);
}

/*
 * Closes, opens and loads again; the world must come back as it was. Of a shared one that is all products,
 * and the buyers and keys that the last batch has touched.
 */
static void assert_survives(struct open_store *o)
{
    char *before = test_world_text(&o->world);
    store_close_all(o);
    store_open_and_load(o);
    batch_look(&o->batch, o->store, &o->world);
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

static void end_it(struct product_values *values)
{
    values->name = SLICE("another name");
    values->state = SALE_ENDED;
    values->end_reason = END_TIME_EXPIRED;
    values->price_minor = 1999;
}

static void every_kind_of_change_survives(void **state)
{
    struct open_store *o = *state;
    batch_add(&o->batch, "KEEP", 10);
    batch_add(&o->batch, "CLEAR", 10);
    batch_add(&o->batch, "REMOVE", 10);
    commit(o);
    assert_survives(o);
    for (int i = 0; i < 3; i++) {
        batch_buy(&o->batch, "KEEP", "ann", 1000 + i, NULL);
        batch_buy(&o->batch, "CLEAR", "ben", 2000 + i, NULL);
        batch_buy(&o->batch, "REMOVE", "cat", 3000 + i, NULL);
        batch_buy(&o->batch, "KEEP", "ben", 4000 + i, NULL);
    }
    batch_add_key(&o->batch, "admin", "first", 1);
    batch_add_key(&o->batch, "purchase:ann", "second", 2);
    commit(o);
    assert_survives(o);
    batch_set(&o->batch, "KEEP", end_it);
    batch_clear(&o->batch, "CLEAR");
    batch_remove(&o->batch, "REMOVE");
    batch_remove_key(&o->batch, "admin", "first");
    commit(o);
    assert_null(product(o, "REMOVE"));
    assert_int_equal(product(o, "CLEAR")->buyers.count, 0);
    assert_survives(o);
    assert_int_equal(product(o, "KEEP")->values.price_minor, 1999);
    batch_remove_key(&o->batch, "purchase:ann", "second");
    batch_decide(&o->batch, o->store, &o->world); /* which asserts that it is there */
    batch_roll_back(&o->batch, o->store, &o->world);
}

static void changes_of_a_batch_are_written_in_their_order(void **state)
{
    struct open_store *o = *state;
    batch_add(&o->batch, "TWICE", 5);
    batch_buy(&o->batch, "TWICE", "ann", 1, NULL);
    batch_remove(&o->batch, "TWICE");
    batch_add(&o->batch, "TWICE", 7);
    batch_buy(&o->batch, "TWICE", "ben", 2, NULL);
    batch_clear(&o->batch, "TWICE");
    batch_buy(&o->batch, "TWICE", "cat", 3, NULL);
    batch_buy(&o->batch, "TWICE", "ben", 4, NULL);
    commit(o);
    assert_survives(o);
    assert_int_equal(product(o, "TWICE")->values.initial_stock, 7);
    assert_int_equal(product(o, "TWICE")->buyers.count, 2);
}

static void clearing_one_product_spares_the_others_in_between(void **state)
{
    struct open_store *o = *state;
    batch_add(&o->batch, "A", 100);
    batch_add(&o->batch, "B", 100);
    for (int i = 0; i < 40; i++)
        batch_buy(&o->batch, i % 2 == 0 ? "A" : "B", "ann", i, NULL);
    commit(o);
    batch_clear(&o->batch, "A");
    batch_buy(&o->batch, "B", "ann", 50, NULL);
    commit(o);
    assert_survives(o);
    assert_int_equal(product(o, "A")->purchase_id_last, 0);
    assert_int_equal(world_buyer(&o->world, product(o, "B"), SLICE("ann"))->count, 21);
}

static void a_big_batch_is_one_batch(void **state)
{
    struct open_store *o = *state;
    batch_add(&o->batch, "BIG", 5000);
    for (int i = 0; i < 5000; i++) {
        char user[32];
        (void)snprintf(user, sizeof user, "user-%05d", i);
        batch_buy(&o->batch, "BIG", user, i, NULL);
    }
    commit(o);
    assert_survives(o);
    assert_int_equal(product(o, "BIG")->buyers.count, 5000);
    assert_int_equal(product(o, "BIG")->values.stock, 0);
}

static void a_batch_that_was_rolled_back_leaves_nothing(void **state)
{
    struct open_store *o = *state;
    struct batch first;
    batch_init(&first);
    batch_add(&first, "A", 10);
    batch_buy(&first, "A", "ann", 1, NULL);
    batch_commit(&first, o->store, &o->world);
    char *before = test_world_text(&o->world);
    batch_buy(&o->batch, "A", "ben", 2, NULL);
    batch_remove(&o->batch, "A");
    batch_add(&o->batch, "B", 10);
    batch_decide(&o->batch, o->store, &o->world);
    batch_roll_back(&o->batch, o->store, &o->world);
    batch_look(&first, o->store, &o->world);
    char *after = test_world_text(&o->world);
    assert_string_equal(after, before);
    batch_buy(&o->batch, "A", "ben", 3, NULL);
    commit(o);
    assert_survives(o);
    assert_null(product(o, "B"));
    assert_int_equal(world_buyer(&o->world, product(o, "A"), SLICE("ben"))->count, 1);
    assert_int_equal(product(o, "A")->values.stock, 8);
    free(before);
    free(after);
    batch_fini(&first);
}

/* --- values at the edge --- */

static void give_a_name(struct product_values *values)
{
    values->name = SLICE("T\xC3\xA4nzer's \"Hut\" 100%");
}

static void any_text_comes_back_as_it_went_in(void **state)
{
    struct open_store *o = *state;
    struct store_reader *reader = store_open_reader(o);
    char longest[USER_LEN_MAX + 1];
    for (int i = 0; i < USER_LEN_MAX; i += 2)
        memcpy(longest + i, "\xC3\xBF", 2);
    longest[USER_LEN_MAX] = '\0';
    /* The last one is no UTF-8, which a shared store does not take and no face lets in. */
    const char *users[] = {"O'Hara; DROP TABLE purchases;--", "\"quoted\"", "\xE6\x97\xA5\xE6\x9C\xAC",
        " blank ", "back\\slash", "%s%n", "ANN", "ann", "{a,b}", "NULL", longest, "\xFF\xFE not UTF-8"};
    int count = (int)(sizeof users / sizeof users[0]) - o->kind->is_shared;
    batch_add(&o->batch, "EDGE", 1000);
    batch_set(&o->batch, "EDGE", give_a_name);
    for (int i = 0; i < count; i++)
        batch_buy(&o->batch, "EDGE", users[i], 100 + i, NULL);
    batch_add_key(&o->batch, users[0], longest, 1);
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

static void go_to_the_edges(struct product_values *values)
{
    values->price_minor = INT64_MAX;
    values->per_user_limit = INT64_MAX;
    values->start_ms = INT64_MIN;
    values->end_ms = INT64_MAX;
    values->created_ms = INT64_MIN;
    values->updated_ms = INT64_MAX;
}

/* The years that can be written, 0000 to 9999, as far as the columns of a shared store are times. */
#define TIME_EARLIEST_MS INT64_C(-62167219200000)
#define TIME_LATEST_MS INT64_C(253402300799999)

static void go_to_the_ends_of_time(struct product_values *values)
{
    go_to_the_edges(values);
    values->start_ms = TIME_EARLIEST_MS;
    values->end_ms = TIME_LATEST_MS;
    values->created_ms = TIME_EARLIEST_MS;
    values->updated_ms = TIME_LATEST_MS;
}

static void numbers_have_64_bits(void **state)
{
    struct open_store *o = *state;
    int64_t latest_ms = o->kind->is_shared ? TIME_LATEST_MS : INT64_MAX;
    batch_add(&o->batch, "EDGE", INT64_MAX);
    batch_set(&o->batch, "EDGE", o->kind->is_shared ? go_to_the_ends_of_time : go_to_the_edges);
    batch_buy(&o->batch, "EDGE", "ann", latest_ms, NULL);
    batch_add_key(&o->batch, "admin", "k", INT64_MIN);
    commit(o);
    assert_survives(o);
    assert_int_equal(product(o, "EDGE")->values.stock, INT64_MAX - 1);
}

/* --- ids --- */

static void ids_are_never_given_out_again(void **state)
{
    struct open_store *o = *state;
    batch_add(&o->batch, "A", 100);
    batch_add(&o->batch, "B", 100);
    batch_buy(&o->batch, "B", "ann", 1, NULL);
    int64_t purchase_id = 0;
    batch_buy(&o->batch, "A", "ann", 1, &purchase_id);
    batch_add_key(&o->batch, "admin", "k", 1);
    commit(o);
    int64_t product_id = product(o, "B")->id;
    int64_t key_id = world_key(&o->world, SLICE("admin"), SLICE("k"))->id;
    batch_remove(&o->batch, "A");
    batch_remove(&o->batch, "B");
    batch_remove_key(&o->batch, "admin", "k");
    commit(o);
    assert_survives(o);
    int64_t new_purchase_id = 0;
    batch_add(&o->batch, "A", 100);
    batch_buy(&o->batch, "A", "ann", 1, &new_purchase_id);
    batch_add_key(&o->batch, "admin", "k", 1);
    commit(o);
    assert_true(product(o, "A")->id > product_id);
    assert_true(new_purchase_id > purchase_id);
    /* In a shared world the ids of keys are the database's business. */
    assert_true(o->kind->is_shared || world_key(&o->world, SLICE("admin"), SLICE("k"))->id > key_id);
}

/* The same in one batch, and once more, and with rows that stay below the deleted ones. */
static void ids_outlive_every_order_of_deletions(void **state)
{
    struct open_store *o = *state;
    int64_t id_max = 0;
    batch_add(&o->batch, "STAYS", 100);
    commit(o);
    batch_buy(&o->batch, "STAYS", "ann", 1, NULL);
    commit(o);
    for (int round = 0; round < 4; round++) {
        batch_add(&o->batch, "GOES", 100);
        for (int i = 0; i <= round; i++)
            batch_buy(&o->batch, "GOES", "ben", 2, &id_max);
        if (round % 2 == 0)
            commit(o);
        batch_remove(&o->batch, "GOES");
        commit(o);
        assert_survives(o);
        int64_t id = 0;
        batch_buy(&o->batch, "STAYS", "cat", 3, &id);
        commit(o);
        assert_true(id > id_max);
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
        batch_add_key(&o->batch, "admin", key, i);
    }
    commit(o);
    for (int i = 0; i < 30; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%d", i);
        batch_remove_key(&o->batch, "admin", key);
    }
    commit(o);
    assert_survives(o);
    if (o->kind->is_shared) { /* those of the batch are all it knows; the clock asks for the oldest by time */
        assert_int_equal(database_number(&o->place.database, "SELECT count(*) FROM idempotency_keys"), 70);
        assert_int_equal(database_number(&o->place.database,
                             "SELECT number FROM idempotency_keys ORDER BY created_at, id LIMIT 1"),
            30);
        return;
    }
    assert_int_equal(o->world.keys_by_name.count, 70);
    assert_int_equal(CONTAINER_OF(list_first(&o->world.keys), struct key_record, node)->number, 30);
}

/* --- readers --- */

static void a_reader_sees_what_was_committed_at_once(void **state)
{
    struct open_store *o = *state;
    struct store_reader *reader = store_open_reader(o);
    struct purchase_row row;
    batch_add(&o->batch, "A", 1000);
    commit(o);
    assert_false(reads(reader, "A", "ann", &row));
    for (int i = 0; i < 100; i++) {
        char user[16];
        (void)snprintf(user, sizeof user, "u%d", i);
        int64_t id = 0;
        batch_buy(&o->batch, "A", user, 500 + i, &id);
        batch_decide(&o->batch, o->store, &o->world);
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
    reader = store_open_reader(o);
    assert_true(reads(reader, "A", "u99", &row));
    assert_int_equal(row.purchased_ms, 599);
    store_reader_close(reader);
}

static void a_reader_finds_the_latest_purchase(void **state)
{
    struct open_store *o = *state;
    struct store_reader *reader = store_open_reader(o);
    struct purchase_row row;
    batch_add(&o->batch, "A", 1000);
    batch_add(&o->batch, "B", 1000);
    int64_t latest = 0;
    for (int i = 0; i < 20; i++) {
        batch_buy(&o->batch, "B", "ann", 1, NULL);
        batch_buy(&o->batch, "A", "ann", i, &latest);
        batch_buy(&o->batch, "A", "ben", 1, NULL);
        if (i % 3 == 0)
            commit(o);
    }
    commit(o);
    assert_true(reads(reader, "A", "ann", &row));
    assert_int_equal(row.id, latest);
    store_reader_close(reader);
    assert_survives(o);
    reader = store_open_reader(o);
    assert_true(reads(reader, "A", "ann", &row));
    assert_int_equal(row.id, latest);
    store_reader_close(reader);
}

static void a_reader_finds_nothing_that_was_cleared(void **state)
{
    struct open_store *o = *state;
    struct store_reader *reader = store_open_reader(o);
    struct purchase_row row;
    batch_add(&o->batch, "A", 1000);
    batch_add(&o->batch, "B", 1000);
    batch_buy(&o->batch, "A", "ann", 1, NULL);
    batch_buy(&o->batch, "B", "ann", 1, NULL);
    commit(o);
    batch_clear(&o->batch, "A");
    commit(o);
    assert_false(reads(reader, "A", "ann", &row));
    assert_true(reads(reader, "B", "ann", &row));
    int64_t id = 0;
    batch_buy(&o->batch, "A", "ann", 2, &id);
    commit(o);
    assert_true(reads(reader, "A", "ann", &row));
    assert_int_equal(row.id, id);
    batch_remove(&o->batch, "A");
    batch_add(&o->batch, "A", 5);
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
    enum { WATCHERS = 3, PURCHASES_MAX = 3000 };
    const int purchases = o->kind->is_shared ? PURCHASES_MAX / 5 : PURCHASES_MAX; /* round trips take time */
    struct watcher watchers[WATCHERS];
    pthread_t threads[WATCHERS];
    batch_add(&o->batch, "A", purchases);
    commit(o);
    for (int i = 0; i < WATCHERS; i++) {
        watchers[i] = (struct watcher){.o = o};
        assert_int_equal(pthread_create(&threads[i], NULL, watch, &watchers[i]), 0);
    }
    for (int n = 0; n < purchases; n++) {
        char user[16];
        (void)snprintf(user, sizeof user, "u%d", n);
        batch_buy(&o->batch, "A", user, n, NULL);
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
    batch_add(&o->batch, "A", 10);
    batch_buy(&o->batch, "A", "ann", 1, NULL);
    commit(o);
    for (int i = 0; i < 10; i++)
        assert_int_equal(store_probe(o->store, &error), ERR_NONE);
    int64_t id = product(o, "A")->id;
    assert_survives(o);
    batch_add(&o->batch, "B", 10);
    commit(o);
    assert_true(product(o, "B")->id == id + 1 || (o->kind->is_shared && product(o, "B")->id > id));
}

/* --- work for later --- */

enum { WORK_LEASE_MS = 60000 };

/* One batch of work orders, as the engine does it; `subjects` are added first. */
static void do_work(
    struct open_store *o, struct command *commands, size_t count, const char *const *subjects, int64_t now_ms)
{
    static const struct rules rules = {.idempotency_ttl_ms = 1000, .idempotency_count_max = SIZE_MAX};
    const struct command *pointers[4];
    struct command buyer = {.kind = COMMAND_PURCHASE, .sku = SLICE("NONE"), .user = SLICE("ann")};
    struct error error = {.message = ""};
    assert_in_range(count, 0, 3);
    for (size_t i = 0; i < count; i++)
        pointers[i] = &commands[i];
    pointers[count] = &buyer; /* commands that may end a sale bring ids for its work */
    world_begin(&o->world);
    if (store_load(o->store, &o->world, pointers, count + (subjects != NULL), &error) != ERR_NONE)
        fail_msg("cannot load: %s", error.message);
    for (size_t i = 0; subjects != NULL && subjects[i] != NULL; i++) {
        if (i > 0 && !world_has_work_ids(&o->world))
            fail_msg("no ids for work");
        assert_non_null(world_add_work(&o->world, WORK_SALE_CLOSEOUT, slice_cstr(subjects[i]),
            SLICE("body \"'"), now_ms + (int64_t)i, now_ms));
    }
    for (size_t i = 0; i < count; i++)
        assert_true(rules_decide(&rules, &o->world, &commands[i], now_ms));
    if (o->world.change_count == 0)
        store_abandon(o->store);
    else
        test_commit(o->store, &o->world);
    world_accept_refreshed(&o->world);
    world_begin(&o->world);
}

static enum result order_work(
    struct open_store *o, enum command_kind kind, struct work_order *order, int64_t now_ms)
{
    struct command command = {.kind = kind, .work = order};
    do_work(o, &command, 1, NULL, now_ms);
    return command.outcome.result;
}

/* What the items held before is given back. */
static size_t claim_work(struct open_store *o, struct work_item *items, size_t count_max, int64_t now_ms)
{
    for (size_t i = 0; i < count_max; i++)
        work_item_fini(&items[i]);
    struct work_order order = {
        .kind = WORK_SALE_CLOSEOUT, .count_max = count_max, .lease_ms = WORK_LEASE_MS, .items = items};
    assert_int_equal(order_work(o, COMMAND_WORK_CLAIM, &order, now_ms), RESULT_OK);
    return order.count;
}

static bool is_about(const struct work_item *item, const char *subject)
{
    return slice_eq(item->subject, slice_cstr(subject)) && slice_eq(item->body, SLICE("body \"'"));
}

/* A database goes by its own clock in what it hands out: all times are near the present. */
static void work_is_claimed_in_order_and_kept(void **state)
{
    static const char *const subjects[] = {"A", "B", "C", NULL};
    static struct work_item items[4];
    struct open_store *o = *state;
    int64_t now_ms = clock_wall_ms() - 10000;
    do_work(o, NULL, 0, subjects, now_ms);
    store_reopen(o);
    assert_int_equal(claim_work(o, items, 2, now_ms + 10), 2);
    assert_true(is_about(&items[0], "A") && is_about(&items[1], "B"));
    assert_int_equal(items[0].created_ms, now_ms);
    assert_int_equal(items[1].due_ms, now_ms + 10 + WORK_LEASE_MS);
    assert_int_equal(items[1].token, 1);
    store_reopen(o);
    assert_int_equal(claim_work(o, items + 2, 2, now_ms + 20), 1);
    assert_true(is_about(&items[2], "C"));
    assert_int_equal(claim_work(o, items + 3, 1, now_ms + 20), 0);
    assert_true(items[0].id < items[1].id && items[1].id < items[2].id);
}

static void only_the_last_to_claim_finishes_work(void **state)
{
    static const char *const subjects[] = {"A", "B", NULL};
    static struct work_item items[2];
    struct open_store *o = *state;
    int64_t now_ms = clock_wall_ms() - 10000;
    do_work(o, NULL, 0, subjects, now_ms);
    assert_int_equal(claim_work(o, items, 2, now_ms + 10), 2);
    /* B comes back, is claimed again, and its first owner is too late; A is finished in the same batch. */
    struct work_order back = {.id = items[1].id, .token = 1, .due_ms = now_ms};
    assert_int_equal(order_work(o, COMMAND_WORK_POSTPONE, &back, now_ms + 20), RESULT_OK);
    store_reopen(o);
    static struct work_item again_items[2];
    work_item_fini(&again_items[0]);
    struct work_order again = {
        .kind = WORK_SALE_CLOSEOUT, .count_max = 2, .lease_ms = WORK_LEASE_MS, .items = again_items};
    struct work_order finish_a = {.id = items[0].id, .token = 1};
    struct work_order finish_b = {.id = items[1].id, .token = 1};
    struct command commands[] = {{.kind = COMMAND_WORK_CLAIM, .work = &again},
        {.kind = COMMAND_WORK_FINISH, .work = &finish_a}, {.kind = COMMAND_WORK_FINISH, .work = &finish_b}};
    do_work(o, commands, 3, NULL, now_ms + 30);
    assert_int_equal(again.count, 1);
    assert_true(is_about(&again_items[0], "B"));
    assert_int_equal(again_items[0].token, 2);
    assert_int_equal(commands[1].outcome.result, RESULT_OK);
    assert_int_equal(commands[2].outcome.result, RESULT_WORK_NOT_YOURS);
    store_reopen(o);
    finish_b.token = 2;
    assert_int_equal(order_work(o, COMMAND_WORK_FINISH, &finish_b, now_ms + 40), RESULT_OK);
    assert_int_equal(order_work(o, COMMAND_WORK_FINISH, &finish_b, now_ms + 40), RESULT_WORK_NOT_YOURS);
    store_reopen(o);
    assert_int_equal(claim_work(o, items, 2, clock_wall_ms() + 2 * WORK_LEASE_MS), 0);
}

/* Ids of work that is gone would come again after a restart: an old token would finish new work. */
static void ids_of_work_never_come_again(void **state)
{
    static const char *const subjects[] = {"A", NULL};
    static struct work_item item;
    struct open_store *o = *state;
    int64_t now_ms = clock_wall_ms() - 10000;
    int64_t last_id = 0;
    for (int i = 0; i < 3; i++) {
        do_work(o, NULL, 0, subjects, now_ms);
        assert_int_equal(claim_work(o, &item, 1, now_ms + 10), 1);
        assert_true(item.id > last_id);
        last_id = item.id;
        struct work_order order = {.id = item.id, .token = 1};
        assert_int_equal(order_work(o, COMMAND_WORK_FINISH, &order, now_ms), RESULT_OK);
        store_reopen(o);
    }
}

/* Two nodes claim at the same moment: neither waits, and no work goes to both. An embedded store has one. */
static void nodes_share_work_out(void **state)
{
    static const char *const subjects[] = {"A", "B", "C", NULL};
    static struct work_item items[4];
    static struct work_item held_items[2];
    struct open_store *o = *state;
    struct open_store other = {.kind = o->kind, .place = o->place};
    struct error error = {.message = ""};
    int64_t now_ms = clock_wall_ms() - 10000;
    if (!o->kind->is_shared)
        return;
    do_work(o, NULL, 0, subjects, now_ms);
    store_open_and_load(&other);
    struct work_order order = {
        .kind = WORK_SALE_CLOSEOUT, .count_max = 2, .lease_ms = WORK_LEASE_MS, .items = held_items};
    struct command command = {.kind = COMMAND_WORK_CLAIM, .work = &order};
    const struct command *pointer = &command;
    work_item_fini(&held_items[0]);
    work_item_fini(&held_items[1]);
    world_begin(&o->world);
    assert_int_equal(store_load(o->store, &o->world, &pointer, 1, &error), ERR_NONE); /* holds A and B */
    assert_int_equal(claim_work(&other, items, 4, now_ms + 10), 1);
    assert_true(is_about(&items[0], "C"));
    assert_true(work_claim(&o->world, &command, now_ms + 10));
    assert_int_equal(order.count, 2);
    test_commit(o->store, &o->world);
    assert_int_equal(claim_work(&other, items + 2, 2, now_ms + 10), 0);
    store_close_all(&other);
}

static void a_reader_counts_what_a_product_has_sold(void **state)
{
    struct open_store *o = *state;
    struct error error = {.message = ""};
    int64_t ids[3];
    batch_add(&o->batch, "A", 10);
    batch_add(&o->batch, "B", 10);
    batch_buy(&o->batch, "A", "ann", 1, &ids[0]);
    batch_buy(&o->batch, "B", "ann", 1, NULL);
    batch_buy(&o->batch, "A", "ann", 1, &ids[1]);
    batch_buy(&o->batch, "A", "bob", 1, &ids[2]);
    commit(o);
    struct store_reader *reader = store_open_reader(o);
    struct sale_totals totals = {
        .product_id = product(o, "A")->id, .purchase_id_first = ids[0], .purchase_id_last = ids[2]};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_read_sale_totals(reader, &totals, &error), ERR_NONE);
        assert_true(totals.is_found);
        assert_int_equal(totals.unit_count, 3);
        assert_int_equal(totals.buyer_count, 2);
        assert_int_equal(totals.stock, 7);
        assert_int_equal(totals.initial_stock, 10);
        assert_int_equal(totals.per_user_limit, 1000);
        assert_int_equal(totals.state, SALE_ACTIVE);
        assert_int_equal(totals.end_reason, END_NONE);
        totals.purchase_id_first = 1;
        totals.purchase_id_last = INT64_MAX;
    }
    totals.product_id += 1000000;
    assert_int_equal(store_read_sale_totals(reader, &totals, &error), ERR_NONE);
    assert_false(totals.is_found);
    store_reader_close(reader);
}

/* --- all tests on all kinds --- */

static const struct behaviour behaviours[] = {
    BEHAVIOUR(a_new_store_is_empty),
    BEHAVIOUR(an_empty_batch_is_no_trouble),
    BEHAVIOUR(every_kind_of_change_survives),
    BEHAVIOUR(changes_of_a_batch_are_written_in_their_order),
    BEHAVIOUR(clearing_one_product_spares_the_others_in_between),
    BEHAVIOUR(a_big_batch_is_one_batch),
    BEHAVIOUR(a_batch_that_was_rolled_back_leaves_nothing),
    BEHAVIOUR(any_text_comes_back_as_it_went_in),
    BEHAVIOUR(numbers_have_64_bits),
    BEHAVIOUR(ids_are_never_given_out_again),
    BEHAVIOUR(ids_outlive_every_order_of_deletions),
    BEHAVIOUR(keys_come_back_oldest_first),
    BEHAVIOUR(a_reader_sees_what_was_committed_at_once),
    BEHAVIOUR(a_reader_finds_the_latest_purchase),
    BEHAVIOUR(a_reader_finds_nothing_that_was_cleared),
    BEHAVIOUR(readers_beside_the_writer_miss_nothing),
    BEHAVIOUR(a_probe_changes_nothing),
    BEHAVIOUR(work_is_claimed_in_order_and_kept),
    BEHAVIOUR(only_the_last_to_claim_finishes_work),
    BEHAVIOUR(ids_of_work_never_come_again),
    BEHAVIOUR(nodes_share_work_out),
    BEHAVIOUR(a_reader_counts_what_a_product_has_sold),
};

int main(int argc, char **argv)
{
    return kinds_run(
        "store contract", argc > 1 ? argv[1] : "", behaviours, sizeof behaviours / sizeof behaviours[0]);
}
