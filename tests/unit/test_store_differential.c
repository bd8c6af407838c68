/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One crowd, two stores: random commands with random times go through the rules on an embedded store and on
 * PostgreSQL side by side, batch by batch. On PostgreSQL the batches alternate by lot between two nodes, each
 * with a store and a world of its own. Every answer has to be the same; at the end the rows are. Some batches
 * are taken back on both, and both are opened again now and then.
 *
 * Some of the commands claim work for later, and finish or postpone what was claimed, in time or too late.
 * Others place orders, whose payments are such work, register accounts and hand in trading orders, take
 * machines, wait for one and choose, or open wallets, hand coins on and spend them.
 *
 * Two things differ by design: numbers of purchases, of products, of work (and so of orders), of accounts and
 * of transfers come from blocks, so they are compared through tables of pairs or by name, and work that is
 * due at the same time comes in any order, so a claim takes all there is; and only the embedded store bounds
 * the number of keys that it keeps, so the bound is out of reach.
 *
 *     test_store_differential [SEED [COMMANDS]]
 *
 * Needs a PostgreSQL server (postgres_fixture.h). A failure prints the command that repeats it.
 */
#include <stdio.h>

#include "differential.h"
#include "store/postgres.h"
#include "store/sqlite.h"

enum { COMMANDS_DEFAULT = 15000, RUN_COMMANDS = 3000 };

const char *differential_program = "test_store_differential";
static int64_t seed_asked = -1;
static int64_t command_count = COMMANDS_DEFAULT;

/* --- opening --- */

static void open_embedded(struct run *run)
{
    struct error error = {.message = ""};
    enum err err = sqlite_store_open(place_path(run->place, "store.db"), &run->embedded.store, &error);
    CHECK(run, err == ERR_NONE, "%s", error.message);
    test_world_load(run->embedded.store, &run->embedded.world);
}

static void open_shared(struct run *run, struct node *node)
{
    struct error error = {.message = ""};
    enum err err = postgres_store_open(run->database.url, &node->store, &error);
    CHECK(run, err == ERR_NONE, "%s", error.message);
    test_world_load(node->store, &node->world);
    node->number_last = 0;
}

static void close_node(struct node *node)
{
    world_fini(&node->world);
    store_close(node->store);
}

static struct run *run_create(int64_t seed, int64_t commands)
{
    struct run *run = calloc(1, sizeof *run);
    assert_non_null(run);
    struct id_source *random = &run->random;
    run->seed = seed;
    run->numbers_size = UNITS_MAX * (commands + 2 * BATCH_MAX);
    run->numbers = calloc((size_t)run->numbers_size, sizeof *run->numbers);
    run->transfers = calloc((size_t)run->numbers_size, sizeof *run->transfers);
    assert_true(run->numbers != NULL && run->transfers != NULL);
    id_source_init_seed(random, (uint64_t)seed);
    run->rules.says_sold_out = draw(random, 2) == 1;
    run->rules.idempotency_ttl_ms = 50 + draw(random, 2000);
    run->rules.idempotency_count_max = SIZE_MAX;
    run->rules.notifies_by_webhook = draw(random, 3) > 0;
    run->rules.notifies_by_email = draw(random, 2) > 0;
    run->crowd = (struct crowd){
        .sku_count = 1 + draw(random, SKUS_MAX),
        .user_count = 1 + draw(random, USERS_MAX),
        .key_count = KEYS,
        .key_percent = draw(random, 50),
        .purchase_percent = 70 + draw(random, 30),
        .stock_max = 1 + draw(random, 60),
        .sale_ms_max = 10 + draw(random, 1000),
    };
    run->rules.dispense_ms = draw(random, 4) == 0 ? 0 : draw(random, 300);
    run->rules.choose_timeout_ms = 1 + draw(random, 400);
    run->rules.line_max = 1 + draw(random, WAITING_MAX);
    draw_pool_crowd(random, &run->pool_crowd);
    draw_wallet_crowd(random, &run->wallet_crowd);
    run->now_ms = 1000000;
    place_make(run->place);
    database_make(&run->database, true);
    open_embedded(run);
    for (int i = 0; i < NODES; i++)
        open_shared(run, &run->shared[i]);
    return run;
}

static void run_destroy(struct run *run)
{
    close_node(&run->embedded);
    for (int i = 0; i < NODES; i++)
        close_node(&run->shared[i]);
    database_drop(&run->database);
    place_remove(run->place);
    forget_claims(run);
    free(run->numbers);
    free(run->transfers);
    free(run);
}
/* --- time --- */

/* Often nothing passes; now and then it is exactly the edge of a sale, or just before it. */
static void pass_time(struct run *run)
{
    struct id_source *random = &run->random;
    unsigned lot = draw(random, 100);
    char sku[16];
    (void)snprintf(sku, sizeof sku, "SKU-%u", draw(random, run->crowd.sku_count));
    const struct product *product = world_product(&run->embedded.world, slice_cstr(sku));
    if (lot >= 40 && lot < 80)
        run->now_ms += draw(random, 20);
    if (lot < 80 || product == NULL)
        return;
    int64_t edge_ms = draw(random, 2) == 0 ? product->values.start_ms : product->values.end_ms;
    edge_ms -= draw(random, 2);
    if (edge_ms > run->now_ms)
        run->now_ms = edge_ms;
}
/* --- what the engine does with a batch (engine/engine.c) --- */

/* Writes what was decided, or takes it back. Either way nothing is under way in the store afterwards. */
static void end_batch(struct run *run, struct node *node, bool is_kept)
{
    struct error error = {.message = ""};
    enum err err = ERR_NONE;
    bool is_written = is_kept && (node->world.change_count > 0 || !node->store->is_shared);
    if (is_written)
        err = store_commit(node->store, &node->world, &error);
    else
        store_abandon(node->store);
    CHECK(run, err == ERR_NONE, "a commit is answered: %s", error.message);
    if (is_kept)
        world_accept(&node->world);
    else
        world_rollback(&node->world);
    world_accept_refreshed(&node->world);
    /* What was abandoned lets go of its locks when the server comes to it; the other node must not meet them.
     */
    if (!is_written && node->store->is_shared)
        CHECK(run, store_probe(node->store, &error) == ERR_NONE, "%s", error.message);
}

/* Here no listener tells a node what the others do to the machines, and it goes by what it knows when it
 * looks for what is due. */
static void look_at_pool(struct run *run, struct node *node)
{
    static struct pool_request nothing;
    const struct command command = {.kind = COMMAND_TICKET_LEAVE, .pool = &nothing};
    const struct command *const commands[] = {&command};
    struct error error = {.message = ""};
    world_begin(&node->world);
    enum err err = store_load(node->store, &node->world, commands, 1, &error);
    CHECK(run, err == ERR_NONE, "machines cannot be looked at: %s", error.message);
    end_batch(run, node, false);
}

static void tick(struct run *run, struct node *node, bool is_kept)
{
    struct error error = {.message = ""};
    if (node->store->is_shared)
        look_at_pool(run, node);
    struct due due = {.edge_ms = run->now_ms,
        .key_ms = run->now_ms - run->rules.idempotency_ttl_ms,
        .key_count_max = RULES_KEYS_EXPIRED_PER_TICK_MAX,
        .keys_kept_max = run->rules.idempotency_count_max};
    world_begin(&node->world);
    enum err err = store_load_due(node->store, &node->world, &due, &error);
    CHECK(run, err == ERR_NONE, "what is due cannot be loaded: %s", error.message);
    CHECK(run, rules_tick(&run->rules, &node->world, run->now_ms), "memory ran out");
    end_batch(run, node, is_kept);
}

static void decide(struct run *run, struct node *node, struct random_command *lots, unsigned count)
{
    const struct command *commands[BATCH_MAX];
    struct error error = {.message = ""};
    for (unsigned i = 0; i < count; i++)
        commands[i] = &lots[i].command;
    world_begin(&node->world);
    enum err err = store_load(node->store, &node->world, commands, count, &error);
    CHECK(run, err == ERR_NONE, "a load is answered: %s", error.message);
    for (unsigned i = 0; i < count; i++)
        CHECK(run, rules_decide(&run->rules, &node->world, &lots[i].command, run->now_ms), "memory ran out");
}
static void note_pool(struct run *run, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (run->ours[i].command.pool != &run->our_pools[i].request)
            continue;
        pool_seen_note(&run->our_seen, &run->our_pools[i], &run->ours[i].command);
        pool_seen_note(&run->their_seen, &run->their_pools[i], &run->theirs[i].command);
    }
}

static void run_batch(struct run *run)
{
    struct node *node = &run->shared[draw(&run->random, NODES)];
    pass_time(run);
    if (draw(&run->random, 4) > 0) {
        struct node *ticker = &run->shared[draw(&run->random, NODES)];
        bool is_kept = draw(&run->random, 8) > 0;
        tick(run, &run->embedded, is_kept);
        tick(run, ticker, is_kept);
    }
    unsigned count = 1 + draw(&run->random, BATCH_MAX);
    draw_batches(run, count);
    decide(run, &run->embedded, run->ours, count);
    decide(run, node, run->theirs, count);
    check_answers(run, node, count);
    bool is_kept = draw(&run->random, 5) > 0;
    check_work(run, count, is_kept);
    end_batch(run, &run->embedded, is_kept);
    end_batch(run, node, is_kept);
    if (is_kept)
        note_pool(run, count);
    check_worlds(run, node, count);
}

/* Connections go with the embedded store's server, and with them who waited on one: not so with a node. */
static bool may_reopen_embedded(const struct run *run)
{
    const struct pool *pool = &run->embedded.world.pool;
    return pool->detached_count == pool->tickets_by_id.count;
}

static void open_again(struct run *run)
{
    unsigned lot = draw(&run->random, 60);
    if (lot == 0 && may_reopen_embedded(run)) {
        close_node(&run->embedded);
        open_embedded(run);
    } else if (lot >= 1 && lot <= NODES) {
        close_node(&run->shared[lot - 1]);
        open_shared(run, &run->shared[lot - 1]);
    }
}
/* --- runs --- */

static void run_one(int64_t seed, int64_t commands, int64_t counts[RESULTS_MAX], int64_t *work_count)
{
    struct run *run = run_create(seed, commands);
    for (int batch = 0; run->step < commands; batch++) {
        run_batch(run);
        open_again(run);
        if (batch % 10 == 0)
            check_rows(run);
    }
    check_rows(run);
    for (int i = 0; i < RESULTS_MAX; i++)
        counts[i] += run->counts[i];
    *work_count += run->work_count;
    run_destroy(run);
}

/* Several short runs, since each seed chooses its own shape of crowd. */
static void run_many(int64_t seed)
{
    int64_t counts[RESULTS_MAX] = {0};
    int64_t work_count = 0;
    const struct result_info *info;
    for (int64_t done = 0; done < command_count; done += RUN_COMMANDS, seed++)
        run_one(seed, RUN_COMMANDS, counts, &work_count);
    print_message("%" PRId64 " pieces of work were finished\n", work_count);
    assert_true(work_count > 0);
    /* Stores that never hear a question are not compared by it. */
    for (unsigned i = 0; (info = result_info_at(i)) != NULL; i++) {
        bool is_of_engine = info->result == RESULT_UNAVAILABLE || info->result == RESULT_OUTCOME_UNKNOWN;
        if (!is_of_engine && info->result != RESULT_MACHINES_FULL && counts[info->result] == 0)
            fail_msg("no command was ever answered %s", info->name);
    }
}

static void a_known_crowd_hears_the_same_from_both_stores(void **state)
{
    (void)state;
    run_many(1);
}

static void a_new_crowd_hears_the_same_from_both_stores(void **state)
{
    struct id_source random;
    (void)state;
    id_source_init(&random);
    int64_t counts[RESULTS_MAX] = {0};
    int64_t work_count = 0;
    run_one((int64_t)(id_next(&random) >> 16), RUN_COMMANDS, counts, &work_count);
}

static void the_crowd_asked_for_hears_the_same_from_both_stores(void **state)
{
    int64_t counts[RESULTS_MAX] = {0};
    int64_t work_count = 0;
    (void)state;
    run_one(seed_asked, command_count, counts, &work_count);
}

static bool read_number(const char *text, int64_t *value)
{
    return text == NULL || (slice_to_i64(slice_cstr(text), value) && *value >= 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest suite[] = {
        cmocka_unit_test(a_known_crowd_hears_the_same_from_both_stores),
        cmocka_unit_test(a_new_crowd_hears_the_same_from_both_stores),
    };
    const struct CMUnitTest asked[] = {
        cmocka_unit_test(the_crowd_asked_for_hears_the_same_from_both_stores),
    };
    differential_program = argv[0];
    if (!read_number(argc > 1 ? argv[1] : NULL, &seed_asked) ||
        !read_number(argc > 2 ? argv[2] : NULL, &command_count)) {
        (void)fprintf(
            stderr, "usage: %s [SEED [COMMANDS]], both whole numbers from 0\n", differential_program);
        return 2;
    }
    if (!postgres_is_there())
        return postgres_skip_all("embedded store and PostgreSQL side by side");
    return seed_asked < 0 ? cmocka_run_group_tests_name("differential", suite, NULL, NULL)
                          : cmocka_run_group_tests_name("differential", asked, NULL, NULL);
}
