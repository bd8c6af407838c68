/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only a shared store has: several nodes on one database, ids in blocks, conflicts, locks, and a network
 * in between that breaks. What it has in common with the embedded one is asked in test_store_contract.c; how
 * nodes hear of one another, in test_store_listener.c.
 *
 * Needs a PostgreSQL server (postgres_fixture.h).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/strbuf.h"
#include "postgres_nodes.h"
#include "store/fault.h"

enum { NS_PER_MS = 1000000 };

/* --- ids --- */

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void assert_all_different(int64_t *ids, size_t count)
{
    qsort(ids, count, sizeof *ids, compare_numbers);
    for (size_t i = 1; i < count; i++)
        assert_true(ids[i - 1] < ids[i]);
}

/* Also those that a node had given out when it died, or took back: somebody may have seen them in a log. */
static void ids_are_given_out_once_by_all_nodes_together(void **state)
{
    struct node_pair *s = *state;
    enum { ROUNDS = 60, BUYS = 3 };
    int64_t purchases[ROUNDS * BUYS];
    int64_t products[ROUNDS];
    batch_add(&s->a.batch, "A", 100000);
    node_commit(&s->a);
    for (int round = 0; round < ROUNDS; round++) {
        struct node *node = round % 2 == 0 ? &s->a : &s->b;
        char sku[16];
        (void)snprintf(sku, sizeof sku, "P-%d", round);
        batch_add(&node->batch, sku, 10);
        for (int i = 0; i < BUYS; i++)
            batch_buy(&node->batch, "A", "ann", 1, &purchases[round * BUYS + i]);
        batch_decide(&node->batch, node->store, &node->world);
        products[round] = node_product(node, sku)->id;
        if (round % 5 == 4) {
            node_crash(node);
            node_open(node, s->database.url);
        } else if (round % 5 == 3) {
            batch_roll_back(&node->batch, node->store, &node->world);
        } else {
            node_commit(node);
        }
    }
    assert_all_different(purchases, ROUNDS * BUYS);
    assert_all_different(products, ROUNDS);
    assert_true(database_number(&s->database, "SELECT next_value FROM sequences WHERE name = 'purchases'") >
                purchases[ROUNDS * BUYS - 1]);
}

/* The database says no to the reservation only at its very end. */
static void ids_whose_reservation_failed_are_not_given_out(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    int64_t id = 0;
    batch_add(&s->a.batch, "A", 100);
    node_commit(&s->a);
    node_refresh(&s->b);
    database_run(&s->database,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE 'no' USING ERRCODE = '53100'; END$$;"
        " CREATE CONSTRAINT TRIGGER no_ids AFTER UPDATE ON sequences DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()");
    batch_buy(&s->b.batch, "A", "ben", 1, &id);
    assert_int_equal(batch_load(&s->b.batch, s->b.store, &s->b.world, &error), ERR_FULL);
    assert_int_equal(s->b.world.purchase_id_end, s->b.world.next_purchase_id);
    database_run(&s->database, "DROP TRIGGER no_ids ON sequences");
    node_commit(&s->b);
    assert_true(
        id < database_number(&s->database, "SELECT next_value FROM sequences WHERE name = 'purchases'"));
}

/* --- conflicts --- */

static enum err try_commit(struct node *node, struct error *error)
{
    return batch_try_commit(&node->batch, node->store, &node->world, error);
}

static void one_key_is_used_once_by_all_nodes_together(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    batch_add(&s->a.batch, "A", 10);
    batch_add(&s->a.batch, "B", 10);
    node_commit(&s->a);
    batch_buy(&s->a.batch, "A", "ann", 1, NULL);
    batch_add_key(&s->a.batch, "ann", "k", 7);
    batch_buy(&s->b.batch, "B", "ann", 1, NULL); /* another product: no row in common makes it wait */
    batch_add_key(&s->b.batch, "ann", "k", 8);
    batch_decide(&s->a.batch, s->a.store, &s->a.world);
    batch_decide(&s->b.batch, s->b.store, &s->b.world);
    assert_int_equal(try_commit(&s->a, &error), ERR_NONE);
    assert_int_equal(try_commit(&s->b, &error), ERR_CONFLICT);
    batch_look(&s->b.batch, s->b.store, &s->b.world);
    const struct key_record *key = world_key(&s->b.world, SLICE("ann"), SLICE("k"));
    assert_non_null(key);
    assert_int_equal(key->number, 7);
    assert_int_equal(node_product(&s->b, "B")->values.stock, 10);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 1);
}

static void one_sku_is_made_once_by_all_nodes_together(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    batch_add(&s->a.batch, "A", 10);
    batch_add(&s->b.batch, "A", 20);
    batch_buy(&s->b.batch, "A", "ben", 1, NULL);
    batch_decide(&s->a.batch, s->a.store, &s->a.world);
    batch_decide(&s->b.batch, s->b.store, &s->b.world);
    assert_int_equal(try_commit(&s->a, &error), ERR_NONE);
    assert_int_equal(try_commit(&s->b, &error), ERR_CONFLICT);
    assert_null(node_product(&s->b, "A"));
    batch_look(&s->b.batch, s->b.store, &s->b.world);
    assert_int_equal(node_product(&s->b, "A")->values.stock, 10);
    assert_int_equal(node_product(&s->b, "A")->id, node_product(&s->a, "A")->id);
}

/* The other node removes it and makes it anew: the same name, another product. */
static void a_product_that_was_replaced_is_the_new_one(void **state)
{
    struct node_pair *s = *state;
    int64_t id = 0;
    batch_add(&s->a.batch, "A", 10);
    batch_buy(&s->a.batch, "A", "ann", 1, NULL);
    node_commit(&s->a);
    batch_buy(&s->b.batch, "A", "ben", 1, NULL);
    node_commit(&s->b);
    batch_remove(&s->a.batch, "A");
    batch_add(&s->a.batch, "A", 3);
    node_commit(&s->a);
    batch_buy(&s->b.batch, "A", "ben", 2, &id);
    node_commit(&s->b);
    assert_int_equal(node_product(&s->b, "A")->values.stock, 2);
    assert_int_equal(world_buyer(&s->b.world, node_product(&s->b, "A"), SLICE("ben"))->count, 1);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 1);
    batch_remove(&s->a.batch, "A");
    node_commit(&s->a);
    batch_look(&s->b.batch, s->b.store, &s->b.world);
    assert_null(node_product(&s->b, "A"));
}

/* --- locks --- */

enum { SALES = 3, STOCK = 150, USERS = 400, BATCH_MAX = 20 };

/* A node that buys until everything is gone. */
struct crowd_node {
    struct node node;
    struct id_source random;
    int64_t bought;
    int conflicts;
    enum err err;
    struct error error;
};

static bool is_sold_out(const struct node *node)
{
    for (int i = 0; i < SALES; i++) {
        char sku[16];
        (void)snprintf(sku, sizeof sku, "SALE-%d", i);
        if (node_product(node, sku)->values.state == SALE_ACTIVE)
            return false;
    }
    return true;
}

static void *buy_until_sold_out(void *context)
{
    struct crowd_node *c = context;
    char skus[BATCH_MAX][16];
    char users[BATCH_MAX][16];
    while (c->err == ERR_NONE && !is_sold_out(&c->node)) {
        struct command commands[BATCH_MAX] = {0};
        size_t count = 1 + id_next(&c->random) % BATCH_MAX;
        for (size_t i = 0; i < count; i++) {
            (void)snprintf(skus[i], sizeof skus[i], "SALE-%u", (unsigned)(id_next(&c->random) % SALES));
            (void)snprintf(users[i], sizeof users[i], "user-%u", (unsigned)(id_next(&c->random) % USERS));
            commands[i] = (struct command){
                .kind = COMMAND_PURCHASE, .sku = slice_cstr(skus[i]), .user = slice_cstr(users[i])};
        }
        c->err = node_decide(&c->node, &test_rules, commands, count, 5000, &c->conflicts, &c->error);
        for (size_t i = 0; i < count && c->err == ERR_NONE; i++)
            c->bought += commands[i].outcome.result == RESULT_OK;
    }
    return NULL;
}

static void limit_to_one(struct product_values *values)
{
    values->per_user_limit = 1;
}

static void nodes_that_want_the_same_products_sell_each_unit_once(void **state)
{
    struct node_pair *s = *state;
    struct crowd_node nodes[2] = {0};
    pthread_t threads[2];
    for (int i = 0; i < SALES; i++) {
        char sku[16];
        (void)snprintf(sku, sizeof sku, "SALE-%d", i);
        batch_add(&s->a.batch, sku, STOCK);
        batch_set(&s->a.batch, sku, limit_to_one);
    }
    node_commit(&s->a);
    int64_t began_ns = clock_mono_ns();
    for (int i = 0; i < 2; i++) {
        node_open(&nodes[i].node, s->database.url);
        id_source_init_seed(&nodes[i].random, (uint64_t)i + 1);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, buy_until_sold_out, &nodes[i]), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        if (nodes[i].err != ERR_NONE)
            fail_msg("node %d: %s", i, nodes[i].error.message);
        assert_int_equal(
            nodes[i].conflicts, 0); /* locks are taken in one order: they wait, and never clash */
        assert_true(nodes[i].bought > 0);
        node_close(&nodes[i].node);
    }
    assert_true(clock_mono_ns() - began_ns < INT64_C(60000) * NS_PER_MS);
    assert_int_equal(nodes[0].bought + nodes[1].bought, SALES * STOCK);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), SALES * STOCK);
    assert_int_equal(database_number(&s->database,
                         "SELECT count(*) FROM (SELECT DISTINCT product_id, user_id FROM purchases) d"),
        SALES * STOCK);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM products WHERE stock > 0"), 0);
}

static void a_row_that_somebody_holds_is_not_waited_for_long(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    batch_add(&s->a.batch, "A", 10);
    node_commit(&s->a);
    database_run(&s->database, "BEGIN; SELECT * FROM products FOR UPDATE");
    int64_t began_ns = clock_mono_ns();
    batch_buy(&s->a.batch, "A", "ann", 1, NULL);
    assert_int_equal(batch_load(&s->a.batch, s->a.store, &s->a.world, &error), ERR_UNAVAILABLE);
    assert_true(clock_mono_ns() - began_ns < INT64_C(10000) * NS_PER_MS);
    assert_non_null(strstr(error.message, "another transaction holds the rows"));
    assert_non_null(strstr(error.message, "55P03"));
    database_run(&s->database, "ROLLBACK");
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 0);
    node_commit(&s->a);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 1);
}

static void what_is_due_is_not_waited_for_at_all(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    struct due due = {.edge_ms = 3000000, .key_ms = 7000, .key_count_max = 10, .keys_kept_max = 1000};
    batch_add(&s->a.batch, "HELD", 10);
    batch_add(&s->a.batch, "FREE", 10);
    batch_add_key(&s->a.batch, "ann", "old", 1);
    node_commit(&s->a);
    database_run(&s->database, "BEGIN; SELECT * FROM products WHERE sku = 'HELD' FOR UPDATE");
    world_begin(&s->b.world);
    assert_int_equal(store_load_due(s->b.store, &s->b.world, &due, &error), ERR_NONE);
    assert_true(world_is_certain(&s->b.world, node_product(&s->b, "FREE")));
    assert_true(
        node_product(&s->b, "HELD") == NULL || !world_is_certain(&s->b.world, node_product(&s->b, "HELD")));
    assert_non_null(world_key(&s->b.world, SLICE("ann"), SLICE("old")));
    struct rules rules = {.idempotency_ttl_ms = 1000, .idempotency_count_max = SIZE_MAX};
    assert_true(rules_tick(&rules, &s->b.world, due.edge_ms));
    assert_int_equal(store_commit(s->b.store, &s->b.world, &error), ERR_NONE);
    world_accept(&s->b.world);
    world_accept_refreshed(&s->b.world);
    database_run(&s->database, "COMMIT");
    assert_int_equal(
        database_number(&s->database, "SELECT count(*) FROM products WHERE state = 'ENDED' AND sku = 'FREE'"),
        1);
    assert_int_equal(
        database_number(&s->database, "SELECT count(*) FROM products WHERE state = 'ACTIVE'"), 1);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM idempotency_keys"), 0);
}

/* --- a connection that breaks --- */

static void a_connection_that_was_cut_while_idle_is_not_noticed(void **state)
{
    struct node_pair *s = *state;
    batch_add(&s->a.batch, "A", 10);
    node_commit(&s->a);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(database_cut(&s->database, "doorbuster node%"), 2);
        batch_buy(&s->a.batch, "A", "ann", i, NULL);
        node_commit(&s->a);
        batch_buy(&s->b.batch, "A", "ben", i, NULL);
        node_commit(&s->b);
    }
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 6);
    assert_int_equal(database_number(&s->database, "SELECT stock FROM products"), 4);
}

/* Nothing that was sent can have been committed, and the store may say so or that it does not know. */
static void a_connection_that_was_cut_after_the_load_loses_the_batch(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    batch_add(&s->a.batch, "A", 10);
    node_commit(&s->a);
    batch_buy(&s->a.batch, "A", "ann", 1, NULL);
    batch_decide(&s->a.batch, s->a.store, &s->a.world);
    assert_true(database_cut(&s->database, "doorbuster node%") >= 1);
    enum err err = try_commit(&s->a, &error);
    assert_true(err == ERR_UNAVAILABLE || err == ERR_COMMIT_UNKNOWN);
    assert_int_equal(node_product(&s->a, "A")->values.stock, 10);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 0);
    batch_buy(&s->a.batch, "A", "ann", 1, NULL);
    node_commit(&s->a);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 1);
}

static void write_a_batch(struct batch *batch)
{
    for (int i = 0; i < 3; i++) {
        char user[16];
        (void)snprintf(user, sizeof user, "user-%d", i);
        batch_buy(batch, "A", user, 1, NULL);
    }
    batch_add_key(batch, "ann", "k", 1);
    batch_add(batch, "NEW", 5);
}

/* Whatever the store says, the rows of a batch are there together or not at all. True: they are there. */
static bool assert_all_or_nothing(const struct database *database)
{
    int64_t purchases = database_number(database, "SELECT count(*) FROM purchases");
    assert_true(purchases == 0 || purchases == 3);
    assert_int_equal(database_number(database, "SELECT stock FROM products WHERE sku = 'A'"), 10 - purchases);
    assert_int_equal(database_number(database, "SELECT count(*) FROM idempotency_keys"), purchases / 3);
    assert_int_equal(
        database_number(database, "SELECT count(*) FROM products WHERE sku = 'NEW'"), purchases / 3);
    return purchases > 0;
}

/* A node behind a proxy that cuts at COMMIT; the other node is there to see. */
static void cut_at_commit(struct node_pair *s, enum cut cut, bool *is_there)
{
    struct error error = {.message = ""};
    char url[640];
    struct proxy *proxy = proxy_start(s->database.url, url, sizeof url);
    struct node node;
    node_open(&node, url);
    batch_add(&node.batch, "A", 10);
    batch_add_key(&node.batch, "first", "takes ids", 1); /* reserving them has a COMMIT too */
    batch_buy(&node.batch, "A", "ben", 1, NULL);
    batch_clear(&node.batch, "A");
    batch_remove_key(&node.batch, "first", "takes ids");
    batch_set(&node.batch, "A", limit_to_one);
    node_commit(&node);
    database_run(&s->database, "UPDATE products SET stock = initial_stock");
    write_a_batch(&node.batch);
    batch_decide(&node.batch, node.store, &node.world);
    proxy_cut_at(proxy, STATEMENT_COMMIT, cut);
    assert_int_equal(try_commit(&node, &error), ERR_COMMIT_UNKNOWN);
    assert_true(proxy_has_cut(proxy));
    assert_non_null(strstr(error.message, "whether the last batch was committed is not known"));
    assert_null(node_product(&node, "NEW"));
    /* The same batch again finds out; it waits for the old transaction, if that is still under way. */
    batch_look(&node.batch, node.store, &node.world);
    *is_there = assert_all_or_nothing(&s->database);
    assert_int_equal(world_key(&node.world, SLICE("ann"), SLICE("k")) != NULL, *is_there);
    assert_int_equal(node_product(&node, "NEW") != NULL, *is_there);
    assert_int_equal(node_product(&node, "A")->values.stock, *is_there ? 7 : 10);
    node_close(&node);
    proxy_stop(proxy);
}

static void a_commit_that_never_arrived_is_unknown_and_not_there(void **state)
{
    bool is_there;
    cut_at_commit(*state, CUT_BEFORE, &is_there);
    assert_false(is_there);
}

static void a_commit_whose_answer_was_lost_is_unknown_and_there(void **state)
{
    bool is_there;
    cut_at_commit(*state, CUT_ANSWER, &is_there);
    assert_true(is_there);
}

static void a_commit_in_flight_is_unknown_and_all_or_nothing(void **state)
{
    bool is_there;
    cut_at_commit(*state, CUT_UNANSWERED, &is_there);
}

static void a_server_that_does_not_answer_is_given_up_in_time(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    char url[640];
    struct proxy *proxy = proxy_start(s->database.url, url, sizeof url);
    struct node node;
    node_open(&node, url);
    batch_add(&node.batch, "A", 10);
    node_commit(&node);
    batch_buy(&node.batch, "A", "ann", 1, NULL);
    proxy_hang(proxy, true);
    int64_t began_ns = clock_mono_ns();
    assert_int_equal(batch_load(&node.batch, node.store, &node.world, &error), ERR_UNAVAILABLE);
    int64_t limit_ms = POSTGRES_LOAD_MS + POSTGRES_CONNECT_MS + 8000; /* it tries a new connection as well */
    assert_true(clock_mono_ns() - began_ns < limit_ms * NS_PER_MS);
    assert_true(error.message[0] != '\0');
    proxy_hang(proxy, false);
    node_commit(&node);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 1);
    node_close(&node);
    proxy_stop(proxy);
}

/* --- faults on request --- */

static void faults_on_request_are_those_of_the_store(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    struct store *inner;
    struct node node;
    assert_int_equal(postgres_store_open(s->database.url, &inner, &error), ERR_NONE);
    assert_int_equal(
        fault_store_wrap(inner, "commit:2:full,commit:3:unknown-kept,commit:4:unknown-lost,load:7:io",
            &node.store, &error),
        ERR_NONE);
    test_world_load(node.store, &node.world);
    batch_init(&node.batch);
    batch_add(&node.batch, "A", 10);
    node_commit(&node);
    static const struct {
        enum err err;
        int64_t rows;
    } expected[] = {{ERR_FULL, 0}, {ERR_COMMIT_UNKNOWN, 1}, {ERR_COMMIT_UNKNOWN, 1}, {ERR_NONE, 2}};
    for (int i = 0; i < 4; i++) {
        batch_buy(&node.batch, "A", "ann", i, NULL);
        assert_int_equal(try_commit(&node, &error), expected[i].err);
        assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), expected[i].rows);
        assert_int_equal(database_number(&s->database, "SELECT stock FROM products"), 10 - expected[i].rows);
    }
    batch_buy(&node.batch, "A", "ann", 5, NULL);
    assert_int_equal(batch_load(&node.batch, node.store, &node.world, &error), ERR_IO);
    node_commit(&node);
    assert_int_equal(database_number(&s->database, "SELECT max(nth) FROM purchases"), 3);
    node_close(&node);
}

/* --- the last wall --- */

/* Somebody writes with psql and no rule stands before the tables. */
static void the_database_refuses_what_must_never_be(void **state)
{
    struct node_pair *s = *state;
    static const struct {
        const char *code;
        const char *sql;
    } refused[] = {
        {"23514", "UPDATE products SET stock = -1"},
        {"23514", "UPDATE products SET stock = initial_stock + 1"},
        {"23514", "UPDATE products SET initial_stock = -1, stock = 0"},
        {"23514", "UPDATE products SET price_minor = -1"},
        {"23514", "UPDATE products SET per_user_limit = 0"},
        {"23514", "UPDATE products SET end_time = start_time"},
        {"23514", "UPDATE products SET state = 'CLOSED'"},
        {"23514", "UPDATE products SET state = 'ENDED'"},
        {"23514", "UPDATE products SET end_reason = 'SOLD_OUT'"},
        {"23514", "UPDATE products SET state = 'ENDED', end_reason = 'TIRED'"},
        {"23505", "UPDATE products SET sku = 'A'"},
        {"22001", "UPDATE products SET sku = repeat('a', 65) WHERE sku = 'A'"},
        {"22001", "UPDATE products SET product_name = repeat('a', 256)"},
        {"23502", "UPDATE products SET start_time = NULL"},
        {"23503", "DELETE FROM products WHERE sku = 'A'"},
        {"23505",
            "INSERT INTO purchase_log SELECT id + 1, product_id, user_id, nth, now() FROM purchase_log"},
        {"23505",
            "INSERT INTO purchase_log SELECT id, product_id, user_id, nth + 1, now() FROM purchase_log"},
        {"23503", "INSERT INTO purchase_log VALUES (99, 99, 'ann', 1, now())"},
        {"23514", "UPDATE purchase_log SET nth = 0"},
        {"22001", "UPDATE purchase_log SET user_id = repeat('\xC3\xBC', 256)"},
        {"23514", "UPDATE idempotency_keys SET fingerprint = 'short'"},
        {"23505", "INSERT INTO idempotency_keys (scope, key, fingerprint, result, number, time, created_at)"
                  " SELECT scope, key, fingerprint, 0, 0, 0, now() FROM idempotency_keys"},
        {"23514", "UPDATE sequences SET next_value = 0"},
    };
    batch_add(&s->a.batch, "A", 10);
    batch_add(&s->a.batch, "B", 10);
    batch_buy(&s->a.batch, "A", "ann", 1, NULL);
    batch_add_key(&s->a.batch, "ann", "k", 1);
    node_commit(&s->a);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_true(database_refuses(&s->database, refused[i].code, refused[i].sql));
}

static void sell_what_is_not_there(struct product_values *values)
{
    values->stock = -1;
}

static void take_too_long_a_name(struct product_values *values)
{
    static char name[257];
    memset(name, 'n', sizeof name - 1);
    values->name = slice_cstr(name);
}

/* A bug in the rules must end at the wall, with a word to the operator, and harm nobody. */
static void a_batch_that_runs_into_the_wall_changes_nothing(void **state)
{
    struct node_pair *s = *state;
    static const struct {
        void (*change)(struct product_values *values);
        const char *code;
    } bugs[] = {{sell_what_is_not_there, "23514"}, {take_too_long_a_name, "22001"}};
    batch_add(&s->a.batch, "A", 10);
    node_commit(&s->a);
    for (size_t i = 0; i < sizeof bugs / sizeof bugs[0]; i++) {
        struct error error = {.message = ""};
        batch_buy(&s->a.batch, "A", "ann", 1, NULL);
        batch_set(&s->a.batch, "A", bugs[i].change);
        assert_int_equal(try_commit(&s->a, &error), ERR_CORRUPT);
        assert_non_null(strstr(error.message, bugs[i].code));
        assert_non_null(strstr(error.message, "doorbuster verify"));
        assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 0);
        assert_int_equal(database_number(&s->database, "SELECT stock FROM products"), 10);
    }
    batch_buy(&s->a.batch, "A", "ann", 1, NULL);
    node_commit(&s->a);
}

/* Between load and commit a purchase appears that no lock kept out. */
static void a_unit_that_somebody_wrote_in_is_a_conflict(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    batch_add(&s->a.batch, "A", 10);
    node_commit(&s->a);
    batch_buy(&s->a.batch, "A", "ann", 1, NULL);
    batch_decide(&s->a.batch, s->a.store, &s->a.world);
    database_run(&s->database, "INSERT INTO purchase_log SELECT 999999, id, 'ann', 1, now() FROM products");
    assert_int_equal(try_commit(&s->a, &error), ERR_CONFLICT);
    batch_look(&s->a.batch, s->a.store, &s->a.world);
    assert_int_equal(world_buyer(&s->a.world, node_product(&s->a, "A"), SLICE("ann"))->count, 1);
}

static void a_state_that_doorbuster_never_writes_is_an_error(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    batch_add(&s->a.batch, "A", 10);
    node_commit(&s->a);
    database_run(&s->database,
        "DO $$ DECLARE c text; BEGIN FOR c IN SELECT conname FROM pg_constraint"
        " WHERE conrelid = 'products'::regclass AND contype = 'c'"
        " LOOP EXECUTE format('ALTER TABLE products DROP CONSTRAINT %%I', c); END LOOP; END $$;"
        " UPDATE products SET state = 'CLOSED'");
    batch_buy(&s->a.batch, "A", "ann", 1, NULL);
    assert_int_equal(batch_load(&s->a.batch, s->a.store, &s->a.world, &error), ERR_CORRUPT);
    assert_non_null(strstr(error.message, "product A"));
    database_run(&s->database, "UPDATE products SET state = 'ACTIVE'");
    node_commit(&s->a);
}

/* --- sizes, texts, orders --- */

static void a_batch_of_20000_purchases_is_one_batch(void **state)
{
    struct node_pair *s = *state;
    enum { PURCHASES = 20000 };
    batch_add(&s->a.batch, "BIG", PURCHASES);
    node_commit(&s->a);
    for (int i = 0; i < PURCHASES; i++) {
        char user[300];
        (void)snprintf(user, sizeof user, "user-%05d %0200d", i, i);
        batch_buy(&s->a.batch, "BIG", user, i, NULL);
    }
    node_commit(&s->a);
    assert_int_equal(
        database_number(&s->database, "SELECT count(DISTINCT user_id) FROM purchases"), PURCHASES);
    assert_int_equal(database_number(&s->database, "SELECT count(DISTINCT xmin::text) FROM purchase_log"), 1);
    char *before = test_world_text(&s->a.world);
    batch_look(&s->a.batch, s->b.store, &s->b.world);
    char *after = test_world_text(&s->b.world);
    assert_string_equal(after, before);
    free(before);
    free(after);
    batch_remove(&s->b.batch, "BIG");
    node_commit(&s->b);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM purchases"), 0);
}

static void have_the_longest_name(struct product_values *values)
{
    static char name[3 * 255 + 1];
    for (int i = 0; i < 255; i++)
        memcpy(name + 3 * (ptrdiff_t)i, "\xE6\x97\xA5", 3);
    values->name = slice_cstr(name);
}

static void texts_of_255_characters_fit(void **state)
{
    struct node_pair *s = *state;
    char user[4 * 127 + 1];
    char sku[SKU_LEN_MAX + 1];
    for (int i = 0; i < 127; i++)
        memcpy(user + 4 * (ptrdiff_t)i, "\xF0\x9F\x98\x80", 4);
    user[4 * 127] = '\0';
    memset(sku, 'Z', SKU_LEN_MAX);
    sku[SKU_LEN_MAX] = '\0';
    batch_add(&s->a.batch, sku, 10);
    batch_set(&s->a.batch, sku, have_the_longest_name);
    batch_buy(&s->a.batch, sku, user, 1, NULL);
    batch_add_key(&s->a.batch, user, user, 1);
    node_commit(&s->a);
    char *before = test_world_text(&s->a.world);
    batch_look(&s->a.batch, s->b.store, &s->b.world);
    char *after = test_world_text(&s->b.world);
    assert_string_equal(after, before);
    free(before);
    free(after);
}

/* One step that is possible as things stand. */
static void draw_step(struct id_source *random, struct batch *batch, int64_t stock[2], bool keys[2])
{
    static const char *const skus[] = {"A", "B"};
    static const char *const users[] = {"ann", "ben", "O'Hara"};
    static const char *const names[] = {"k1", "k2"};
    unsigned which = (unsigned)(id_next(random) % 2);
    unsigned lot = (unsigned)(id_next(random) % 100);
    if (lot < 15) {
        if (keys[which])
            batch_remove_key(batch, "scope", names[which]);
        else
            batch_add_key(batch, "scope", names[which], lot);
        keys[which] = !keys[which];
    } else if (stock[which] < 0) {
        stock[which] = 50;
        batch_add(batch, skus[which], 50);
    } else if (lot < 25) {
        stock[which] = -1;
        batch_remove(batch, skus[which]);
    } else if (lot < 35) {
        batch_clear(batch, skus[which]);
    } else if (lot < 45) {
        batch_set(batch, skus[which], limit_to_one);
    } else if (stock[which] > 0) {
        stock[which]--;
        batch_buy(batch, skus[which], users[lot % 3], lot, NULL);
    }
}

/* Of a product that both have just loaded. */
static void assert_same_product(const struct node *ours, const struct node *theirs, const char *sku)
{
    const struct product *a = node_product(ours, sku);
    const struct product *b = node_product(theirs, sku);
    size_t cursor = 0;
    const struct buyer *buyer;
    assert_int_equal(a != NULL, b != NULL);
    if (a == NULL || b == NULL)
        return;
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->values.stock, b->values.stock);
    assert_int_equal(a->values.per_user_limit, b->values.per_user_limit);
    assert_int_equal(a->buyers.count, b->buyers.count);
    while ((buyer = map_next(&a->buyers, &cursor)) != NULL) {
        const struct buyer *twin = world_buyer(&theirs->world, b, slice_make(buyer->user, buyer->user_len));
        assert_non_null(twin);
        assert_int_equal(buyer->count, twin->count);
    }
}

static void assert_same_key(const struct node *ours, const struct node *theirs, struct slice key)
{
    const struct key_record *a = world_key(&ours->world, SLICE("scope"), key);
    const struct key_record *b = world_key(&theirs->world, SLICE("scope"), key);
    assert_int_equal(a != NULL, b != NULL);
    assert_true(a == NULL || a->number == b->number);
}

/* What a node has in mind after a batch is what another one finds. */
static void assert_other_finds(const struct node *node, struct node *other)
{
    batch_look(&node->batch, other->store, &other->world);
    for (size_t i = 0; i < node->batch.command_count; i++) {
        const struct command *command = &node->batch.commands[i];
        if (command->idempotency.key.len > 0)
            assert_same_key(node, other, command->idempotency.key);
        else
            assert_same_product(node, other, command->sku.base);
    }
}

static void changes_of_a_batch_may_come_in_any_order(void **state)
{
    struct node_pair *s = *state;
    struct id_source random;
    int64_t stock[2] = {-1, -1};
    bool keys[2] = {false, false};
    id_source_init_seed(&random, 20261121);
    for (int round = 0; round < 300; round++) {
        bool is_a = id_next(&random) % 2 == 0;
        struct node *node = is_a ? &s->a : &s->b;
        unsigned count = 1 + (unsigned)(id_next(&random) % 30);
        for (unsigned i = 0; i < count; i++)
            draw_step(&random, &node->batch, stock, keys);
        node_commit(node);
        assert_other_finds(node, is_a ? &s->b : &s->a);
        for (int i = 0; i < 2; i++)
            assert_int_equal(database_number(&s->database,
                                 "SELECT coalesce(max(stock), -1) FROM products WHERE sku = '%c'", "AB"[i]),
                stock[i]);
        assert_int_equal(
            database_number(&s->database, "SELECT count(*) FROM idempotency_keys"), keys[0] + keys[1]);
    }
}

/* --- --- */

#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, node_pair_set_up, node_pair_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(ids_are_given_out_once_by_all_nodes_together),
        SCENE_TEST(ids_whose_reservation_failed_are_not_given_out),
        SCENE_TEST(one_key_is_used_once_by_all_nodes_together),
        SCENE_TEST(one_sku_is_made_once_by_all_nodes_together),
        SCENE_TEST(a_product_that_was_replaced_is_the_new_one),
        SCENE_TEST(nodes_that_want_the_same_products_sell_each_unit_once),
        SCENE_TEST(a_row_that_somebody_holds_is_not_waited_for_long),
        SCENE_TEST(what_is_due_is_not_waited_for_at_all),
        SCENE_TEST(a_connection_that_was_cut_while_idle_is_not_noticed),
        SCENE_TEST(a_connection_that_was_cut_after_the_load_loses_the_batch),
        SCENE_TEST(a_commit_that_never_arrived_is_unknown_and_not_there),
        SCENE_TEST(a_commit_whose_answer_was_lost_is_unknown_and_there),
        SCENE_TEST(a_commit_in_flight_is_unknown_and_all_or_nothing),
        SCENE_TEST(a_server_that_does_not_answer_is_given_up_in_time),
        SCENE_TEST(faults_on_request_are_those_of_the_store),
        SCENE_TEST(the_database_refuses_what_must_never_be),
        SCENE_TEST(a_batch_that_runs_into_the_wall_changes_nothing),
        SCENE_TEST(a_unit_that_somebody_wrote_in_is_a_conflict),
        SCENE_TEST(a_state_that_doorbuster_never_writes_is_an_error),
        SCENE_TEST(a_batch_of_20000_purchases_is_one_batch),
        SCENE_TEST(texts_of_255_characters_fit),
        SCENE_TEST(changes_of_a_batch_may_come_in_any_order),
    };
    if (!postgres_is_there())
        return postgres_skip_all("PostgreSQL store");
    return cmocka_run_group_tests_name("PostgreSQL store", tests, NULL, NULL);
}
