/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One crowd, two stores: random commands with random times go through the rules on an embedded store and on
 * PostgreSQL side by side, batch by batch. On PostgreSQL the batches alternate by lot between two nodes, each
 * with a store and a world of its own. Every answer has to be the same; at the end the rows are. Some batches
 * are taken back on both, and both are opened again now and then.
 *
 * Some of the commands claim work for later, and finish or postpone what was claimed, in time or too late.
 * Others place orders, whose payments are such work, register accounts and hand in trading orders, or take
 * machines, wait for one and choose.
 *
 * Two things differ by design: numbers of purchases, of products, of work (and so of orders) and of accounts
 * come from blocks, so they are compared through tables of pairs or by name, and work that is due at the same
 * time comes in any order, so a claim takes all there is; and only the embedded store bounds the number of
 * keys that it keeps, so the bound is out of reach.
 *
 *     test_store_differential [SEED [COMMANDS]]
 *
 * Needs a PostgreSQL server (postgres_fixture.h). A failure prints the command that repeats it.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "core/rules.h"
#include "postgres_fixture.h"
#include "random_command.h"
#include "random_order.h"
#include "random_pool.h"
#include "store/postgres.h"
#include "store/sqlite.h"
#include "store_support.h"

enum {
    COMMANDS_DEFAULT = 12000,
    RUN_COMMANDS = 3000,
    BATCH_MAX = 60,
    NODES = 2,
    SKUS_MAX = 6,
    USERS_MAX = 12,
    KEYS = 5,
    WORK_PERCENT = 16,
    ORDER_PERCENT = 20,
    POOL_PERCENT = 30,
    WAITING_MAX = 12,
    UNITS_MAX = 6, /* more than a command of the crowds takes */
    PAYMENT_MS = 30,
    CLAIMS_KEPT = 16,
    WORK_DUE_MAX = 500, /* more than a run leaves undone, or the claim is told apart */
    LEASE_MS_MAX = 300,
    TEXT_MAX = 64 * 1024 * 1024,
};

static const char *program = "test_store_differential";
static int64_t seed_asked = -1;
static int64_t command_count = COMMANDS_DEFAULT;

/* A store and the world in front of it. */
struct node {
    struct store *store;
    struct world world;
    int64_t number_last;
};

/* A piece of work as it was claimed in both. */
struct claimed {
    enum work_kind kind;
    int64_t our_id;
    int64_t their_id;
    int64_t token;
};

/* One run. */
struct run {
    int64_t seed;
    int64_t step; /* commands so far */
    struct id_source random;
    struct rules rules;
    struct crowd crowd;
    int64_t now_ms;
    char place[PATH_MAX];
    struct database database;
    struct node embedded;
    struct node shared[NODES];
    int64_t *numbers; /* of PostgreSQL, by the embedded store's */
    int64_t numbers_size;
    struct random_command ours[BATCH_MAX];
    struct random_command theirs[BATCH_MAX];
    struct random_order our_lots[BATCH_MAX];
    struct random_order their_lots[BATCH_MAX];
    struct work_order our_orders[BATCH_MAX];
    struct work_order their_orders[BATCH_MAX];
    struct work_item our_items[WORK_DUE_MAX]; /* of the one claim of a batch */
    struct work_item their_items[WORK_DUE_MAX];
    struct claimed claimed[CLAIMS_KEPT]; /* at random among what batches that were kept have claimed */
    struct pool_crowd pool_crowd;
    struct pool_seen our_seen; /* the ids of products differ */
    struct pool_seen their_seen;
    struct random_pool our_pools[BATCH_MAX];
    struct random_pool their_pools[BATCH_MAX];
    int64_t work_count;  /* finished so far */
    int64_t counts[100]; /* answers, by result */
};

/* Ends the test. */
#define CHECK(run, condition, ...)                                                                      \
    do {                                                                                                \
        if (!(condition)) {                                                                             \
            print_error(__VA_ARGS__);                                                                   \
            fail_msg("\n'%s' does not hold at command %" PRId64 ", time %" PRId64                       \
                     "; repeat it with: tests/with_services.py --postgres %s %" PRId64 " %" PRId64,     \
                #condition, (run)->step, (run)->now_ms, program, (run)->seed, (run)->step + BATCH_MAX); \
        }                                                                                               \
    } while (0)

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

static void forget_items(struct work_item items[WORK_DUE_MAX])
{
    for (size_t i = 0; i < WORK_DUE_MAX; i++)
        work_item_fini(&items[i]);
}

static struct run *run_create(int64_t seed, int64_t commands)
{
    struct run *run = calloc(1, sizeof *run);
    assert_non_null(run);
    struct id_source *random = &run->random;
    run->seed = seed;
    run->numbers_size = UNITS_MAX * (commands + 2 * BATCH_MAX);
    run->numbers = calloc((size_t)run->numbers_size, sizeof *run->numbers);
    assert_non_null(run->numbers);
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
    forget_items(run->our_items);
    forget_items(run->their_items);
    free(run->numbers);
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

/* --- the answers --- */

/* A number that is given out for the first time is noted beside its twin; every other one is looked up. */
static void check_number(
    struct run *run, struct node *node, const struct outcome *ours, const struct outcome *theirs)
{
    CHECK(run, ours->number >= 0 && ours->number < run->numbers_size, "number %" PRId64, ours->number);
    bool is_new = ours->number > 0 && !ours->is_replay;
    if (!is_new) {
        int64_t expected = ours->number == 0 ? 0 : run->numbers[ours->number];
        CHECK(run, theirs->number == expected, "number %" PRId64 " instead of %" PRId64, theirs->number,
            expected);
        return;
    }
    CHECK(run, theirs->number > node->number_last, "number %" PRId64 " comes after %" PRId64, theirs->number,
        node->number_last);
    for (int64_t i = ours->number; i-- > 0;) /* the other node's may be larger, but none comes twice */
        CHECK(run, run->numbers[i] != theirs->number, "number %" PRId64 " comes twice", theirs->number);
    node->number_last = theirs->number;
    run->numbers[ours->number] = theirs->number;
}

static const char *kind_name(enum command_kind kind)
{
    static const char *const names[COMMAND_KIND_COUNT] = {"purchase", "choice", "create", "update", "patch",
        "delete", "addition", "stock", "claim", "finish", "postpone", "revival", "order", "cancelled order",
        "account", "trading order", "cancelled trading order", "range", "executed range", "new machine",
        "changed machine", "removed machine", "reset", "start", "ticket", "kept ticket", "left ticket"};
    return names[kind];
}

/* Trading orders have the same numbers everywhere, since they tell the order of acceptance. */
static void check_intake(struct run *run, unsigned i)
{
    const struct command *ours = &run->ours[i].command;
    const struct command *theirs = &run->theirs[i].command;
    CHECK(run, ours->outcome.number == theirs->outcome.number, "%s %" PRId64 " and %" PRId64,
        kind_name(ours->kind), ours->outcome.number, theirs->outcome.number);
    CHECK(run,
        ours->intake->first_id == theirs->intake->first_id &&
            ours->intake->last_id == theirs->intake->last_id,
        "%s %" PRId64 "..%" PRId64 " and %" PRId64 "..%" PRId64, kind_name(ours->kind),
        ours->intake->first_id, ours->intake->last_id, theirs->intake->first_id, theirs->intake->last_id);
}

/* Units that were bought together have one answer, or none: the changes tell their numbers. */
static void note_purchases(struct run *run, const struct node *node)
{
    const struct world *ours = &run->embedded.world;
    const struct world *theirs = &node->world;
    size_t at = 0;
    for (size_t i = 0; i < ours->change_count; i++) {
        if (ours->changes[i].kind != CHANGE_PURCHASE_ADDED)
            continue;
        while (at < theirs->change_count && theirs->changes[at].kind != CHANGE_PURCHASE_ADDED)
            at++;
        CHECK(run, at < theirs->change_count, "PostgreSQL sells less");
        int64_t number = ours->changes[i].purchase.id;
        CHECK(run, number < run->numbers_size, "number %" PRId64, number);
        run->numbers[number] = theirs->changes[at++].purchase.id;
    }
}

static bool machine_rows_are_equal(const struct machine_row *a, const struct machine_row *b)
{
    return a->id == b->id && slice_eq(a->name, b->name) && a->status == b->status &&
           a->is_draining == b->is_draining && a->usage_count == b->usage_count &&
           a->lease_id == b->lease_id && a->created_ms == b->created_ms && a->updated_ms == b->updated_ms;
}

static bool is_about_pool(const struct run *run, unsigned i)
{
    return run->ours[i].command.pool == &run->our_pools[i].request;
}

/* Machines, leases and tickets have the same numbers everywhere: they tell whose turn it is. */
static void check_pool_answer(struct run *run, unsigned i)
{
    const struct command *ours = &run->ours[i].command;
    const struct pool_request *our = &run->our_pools[i].request;
    const struct pool_request *their = &run->their_pools[i].request;
    bool has_left = ours->outcome.result == RESULT_STOCK_INSUFFICIENT;
    CHECK(run, machine_rows_are_equal(&our->machine, &their->machine),
        "%s tells of machine %" PRId64 " (lease %" PRId64 ") and %" PRId64 " (lease %" PRId64 ")",
        kind_name(ours->kind), our->machine.id, our->machine.lease_id, their->machine.id,
        their->machine.lease_id);
    CHECK(run, our->ticket_id == their->ticket_id && our->position == their->position,
        "%s tells of ticket %" PRId64 ", place %" PRId64 ", and %" PRId64 ", place %" PRId64,
        kind_name(ours->kind), our->ticket_id, our->position, their->ticket_id, their->position);
    CHECK(run,
        slice_eq(our->product.name, their->product.name) && our->product.stock == their->product.stock &&
            our->product.updated_ms == their->product.updated_ms &&
            our->is_product_unknown == their->is_product_unknown &&
            our->is_machine_unknown == their->is_machine_unknown,
        "%s of %s tells of different products", kind_name(ours->kind), run->our_pools[i].sku_text);
    CHECK(run, !has_left || ours->outcome.number == run->theirs[i].command.outcome.number,
        "a choice is told that %" PRId64 " are left, and %" PRId64, ours->outcome.number,
        run->theirs[i].command.outcome.number);
}

static void check_answer(struct run *run, struct node *node, unsigned i)
{
    const struct command *command = &run->ours[i].command;
    const struct outcome *ours = &command->outcome;
    const struct outcome *theirs = &run->theirs[i].command.outcome;
    CHECK(run, ours->result == theirs->result,
        "%s of %s by %s (key '%s') is answered %d by the embedded store and %d by PostgreSQL",
        kind_name(command->kind), run->ours[i].sku_text, run->ours[i].user_text, run->ours[i].key_text,
        (int)ours->result, (int)theirs->result);
    CHECK(run, ours->is_replay == theirs->is_replay, "%s of %s: replay %d and %d", kind_name(command->kind),
        run->ours[i].sku_text, ours->is_replay, theirs->is_replay);
    CHECK(run, ours->time_ms == theirs->time_ms, "%s of %s tells the time %" PRId64 " and %" PRId64,
        kind_name(command->kind), run->ours[i].sku_text, ours->time_ms, theirs->time_ms);
    CHECK(run, ours->order_status == theirs->order_status, "%s: status %d and %d", kind_name(command->kind),
        (int)ours->order_status, (int)theirs->order_status);
    if (is_about_pool(run, i) && command->kind != COMMAND_PURCHASE)
        check_pool_answer(run, i);
    else if (command_names_product(command->kind))
        check_number(run, node, ours, theirs);
    else if (command_names_intake(command->kind))
        check_intake(run, i);
    run->counts[ours->result]++;
    run->step++;
}

/* What the node believes of the products that it has just held. */
static void check_products(struct run *run, struct node *node, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct slice sku = run->ours[i].command.sku;
        if (!command_names_product(run->ours[i].command.kind))
            continue;
        const struct product *ours = world_product(&run->embedded.world, sku);
        const struct product *theirs = world_product(&node->world, sku);
        CHECK(run, (ours == NULL) == (theirs == NULL), "%s is there: %d and %d", run->ours[i].sku_text,
            ours != NULL, theirs != NULL);
        if (ours == NULL || theirs == NULL)
            continue;
        CHECK(run,
            ours->values.stock == theirs->values.stock && ours->values.state == theirs->values.state &&
                ours->values.updated_ms == theirs->values.updated_ms,
            "%s has %" PRId64 " and %" PRId64 " left, state %d and %d", run->ours[i].sku_text,
            ours->values.stock, theirs->values.stock, (int)ours->values.state, (int)theirs->values.state);
    }
}

/* --- machines and the line --- */

static void check_machine(struct run *run, const struct node *node, const struct machine *ours)
{
    const struct machine *theirs = world_machine(&node->world, ours->id);
    CHECK(run, theirs != NULL, "PostgreSQL has no machine %" PRId64, ours->id);
    const struct machine_values *our = &ours->values;
    const struct machine_values *their = &theirs->values;
    CHECK(run,
        slice_eq(ours->name, theirs->name) && our->status == their->status &&
            our->is_draining == their->is_draining && our->usage_count == their->usage_count &&
            our->lease.id == their->lease.id && our->lease.ticket_id == their->lease.ticket_id &&
            our->lease.units == their->lease.units && our->due_ms == their->due_ms,
        "machine %" PRId64 " has lease %" PRId64 " due %" PRId64 ", and %" PRId64 " due %" PRId64, ours->id,
        our->lease.id, our->due_ms, their->lease.id, their->due_ms);
}

/* What the node believes of all machines and tickets, whose lock it had. */
static void check_pool(struct run *run, const struct node *node)
{
    const struct pool *ours = &run->embedded.world.pool;
    const struct pool *theirs = &node->world.pool;
    CHECK(run, ours->machines_by_id.count == theirs->machines_by_id.count, "%zu machines and %zu",
        ours->machines_by_id.count, theirs->machines_by_id.count);
    LIST_FOR_EACH (node_of, &ours->machines)
        check_machine(run, node, CONTAINER_OF(node_of, struct machine, node));
    const struct list *at = theirs->waiting.next;
    LIST_FOR_EACH (node_of, &ours->waiting) {
        const struct ticket *ticket = CONTAINER_OF(node_of, struct ticket, node);
        CHECK(run, at != &theirs->waiting, "ticket %" PRId64 " does not wait in PostgreSQL", ticket->id);
        const struct ticket *their = CONTAINER_OF(at, struct ticket, node);
        CHECK(run, ticket->id == their->id && ticket->values.until_ms == their->values.until_ms,
            "ticket %" PRId64 " waits instead of %" PRId64, their->id, ticket->id);
        at = at->next;
    }
    CHECK(run, at == &theirs->waiting, "PostgreSQL lets more people wait");
}

static void note_pool(struct run *run, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!is_about_pool(run, i))
            continue;
        pool_seen_note(&run->our_seen, &run->our_pools[i], &run->ours[i].command);
        pool_seen_note(&run->their_seen, &run->their_pools[i], &run->theirs[i].command);
    }
}

static bool names_pool(const struct run *run, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (command_names_pool(run->ours[i].command.kind))
            return true;
    }
    return false;
}

/* --- work for later --- */

static int compare_items(const void *a, const void *b)
{
    const struct work_item *first = a;
    const struct work_item *second = b;
    int by_subject = slice_compare(first->subject, second->subject);
    if (by_subject != 0)
        return by_subject;
    if (first->created_ms != second->created_ms)
        return first->created_ms < second->created_ms ? -1 : 1;
    return first->token == second->token ? 0 : first->token < second->token ? -1 : 1;
}

static void check_claim(struct run *run, const struct work_order *ours, const struct work_order *theirs)
{
    CHECK(run, ours->count == theirs->count, "%zu pieces of work are claimed, and %zu", ours->count,
        theirs->count);
    CHECK(run, ours->count < WORK_DUE_MAX, "there is more work than a claim can take");
    qsort(ours->items, ours->count, sizeof *ours->items, compare_items);
    qsort(theirs->items, theirs->count, sizeof *theirs->items, compare_items);
    for (size_t i = 0; i < ours->count; i++) {
        const struct work_item *our = &ours->items[i];
        const struct work_item *their = &theirs->items[i];
        CHECK(run, compare_items(our, their) == 0 && our->kind == their->kind && our->due_ms == their->due_ms,
            "work of %.*s has token %" PRId64 " and %" PRId64 ", due %" PRId64 " and %" PRId64,
            SLICE_ARGS(our->subject), our->token, their->token, our->due_ms, their->due_ms);
    }
}

static void keep_claim(struct run *run, const struct work_order *ours, const struct work_order *theirs)
{
    for (size_t i = 0; i < ours->count; i++) {
        run->claimed[draw(&run->random, CLAIMS_KEPT)] = (struct claimed){.kind = ours->items[i].kind,
            .our_id = ours->items[i].id,
            .their_id = theirs->items[i].id,
            .token = ours->items[i].token};
    }
}

static void check_work(struct run *run, unsigned count, bool is_kept)
{
    for (unsigned i = 0; i < count; i++) {
        const struct command *command = &run->ours[i].command;
        run->work_count += command->kind == COMMAND_WORK_FINISH && command->outcome.result == RESULT_OK;
        if (command->kind != COMMAND_WORK_CLAIM)
            continue;
        check_claim(run, &run->our_orders[i], &run->their_orders[i]);
        if (is_kept)
            keep_claim(run, &run->our_orders[i], &run->their_orders[i]);
    }
}

/* What a worker may say of such work. */
static enum work_report draw_report(struct id_source *random, enum work_kind kind, enum command_kind command)
{
    static const enum work_report outcomes[] = {REPORT_PAID, REPORT_DECLINED, REPORT_ABANDONED};
    unsigned lot = draw(random, 3);
    if (kind == WORK_PAYMENT)
        return command == COMMAND_WORK_FINISH ? outcomes[lot] : lot == 0 ? REPORT_NOT_BEGUN : REPORT_NONE;
    bool is_dead = command == COMMAND_WORK_POSTPONE && kind != WORK_SALE_CLOSEOUT && lot > 0;
    return is_dead ? REPORT_DEAD : REPORT_NONE;
}

static enum command_kind draw_work_kind(struct id_source *random, bool *has_claim)
{
    unsigned lot = draw(random, 100);
    if (lot < 30 && !*has_claim) {
        *has_claim = true;
        return COMMAND_WORK_CLAIM;
    }
    return lot < 60 ? COMMAND_WORK_FINISH : lot < 90 ? COMMAND_WORK_POSTPONE : COMMAND_WORK_REVIVE;
}

/* Turns a command into one about work; both stores are asked for the same. */
static void draw_work(struct run *run, bool is_ours, unsigned i, bool *has_claim)
{
    static const enum work_kind kinds[] = {
        WORK_SALE_CLOSEOUT, WORK_PAYMENT, WORK_PAYMENT, WORK_WEBHOOK, WORK_EMAIL};
    struct id_source *random = &run->random;
    const struct claimed *claimed = &run->claimed[draw(random, CLAIMS_KEPT)];
    struct work_order *order = is_ours ? &run->our_orders[i] : &run->their_orders[i];
    enum command_kind kind = draw_work_kind(random, has_claim);
    enum work_kind claim_kind = kinds[draw(random, 5)];
    *order = (struct work_order){.kind = kind == COMMAND_WORK_CLAIM ? claim_kind : claimed->kind,
        .count_max = WORK_DUE_MAX,
        .lease_ms = 1 + draw(random, LEASE_MS_MAX),
        .payment_ms = PAYMENT_MS,
        .id = is_ours ? claimed->our_id : claimed->their_id,
        .token = claimed->token,
        .due_ms = run->now_ms + draw(random, LEASE_MS_MAX),
        .report = draw_report(random, claimed->kind, kind),
        .items = is_ours ? run->our_items : run->their_items};
    struct command *command = is_ours ? &run->ours[i].command : &run->theirs[i].command;
    *command = (struct command){.kind = kind, .work = order};
}

static void draw_batch(struct run *run, bool is_ours, unsigned count)
{
    struct random_command *lots = is_ours ? run->ours : run->theirs;
    bool has_claim = false;
    forget_items(is_ours ? run->our_items : run->their_items);
    for (unsigned i = 0; i < count; i++) {
        draw_command(&run->random, &run->crowd, run->now_ms, &lots[i]);
        unsigned lot = draw(&run->random, 100);
        if (lot < WORK_PERCENT)
            draw_work(run, is_ours, i, &has_claim);
        else if (lot < WORK_PERCENT + ORDER_PERCENT)
            draw_order_command(&run->random, run->now_ms, &run->embedded.world.intake,
                is_ours ? &run->our_lots[i] : &run->their_lots[i], &lots[i].command);
        else if (lot < WORK_PERCENT + ORDER_PERCENT + POOL_PERCENT)
            draw_pool_command(&run->random, &run->pool_crowd, is_ours ? &run->our_seen : &run->their_seen,
                run->now_ms, is_ours ? &run->our_pools[i] : &run->their_pools[i], &lots[i].command);
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
    struct id_source before = run->random;
    draw_batch(run, true, count);
    run->random = before;
    draw_batch(run, false, count);
    decide(run, &run->embedded, run->ours, count);
    decide(run, node, run->theirs, count);
    note_purchases(run, node);
    for (unsigned i = 0; i < count; i++)
        check_answer(run, node, i);
    bool is_kept = draw(&run->random, 5) > 0;
    check_work(run, count, is_kept);
    end_batch(run, &run->embedded, is_kept);
    end_batch(run, node, is_kept);
    if (is_kept)
        note_pool(run, count);
    check_products(run, node, count);
    if (names_pool(run, count))
        check_pool(run, node);
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

/* --- the rows --- */

struct table {
    const char *sqlite;
    const char *postgres;
};

#define MS(column) "(extract(epoch FROM " column ") * 1000)::bigint"

/* Ids of products differ; one that is gone has no sku. */
#define SKU_OF_ROW "coalesce((SELECT sku FROM products WHERE products.id = product_id), '')"

/* The last column is the number of a purchase, or empty. */
static const struct table tables[] =
    {
        {"SELECT sku, product_name, initial_stock, stock, price_minor, per_user_limit, state,"
         " coalesce(end_reason, ''), start_time, end_time, created_at, updated_at, category, is_featured, '' "
         "FROM products "
         "ORDER BY sku",
            "SELECT sku, product_name, initial_stock, stock, price_minor, per_user_limit, state,"
            " coalesce(end_reason, ''), " MS("start_time") ", " MS("end_time") ", " MS("created_at") ", " MS(
                "updated_at") ", category, is_featured::int, '' FROM products ORDER BY sku COLLATE \"C\""},
        {"SELECT sku, user_id, nth, purchased_at, purchases.id FROM purchases"
         " JOIN products ON products.id = product_id ORDER BY sku, user_id, nth",
            "SELECT sku, user_id, nth, " MS(
                "purchased_at") ", purchases.id FROM purchases"
                                " JOIN products ON products.id = product_id ORDER BY "
                                "sku COLLATE \"C\", user_id COLLATE \"C\", nth"},
        {"SELECT scope, key, lower(hex(fingerprint)), result, time, created_at, number FROM "
         "idempotency_keys"
         " ORDER BY scope, key",
            "SELECT scope, key, encode(fingerprint, 'hex'), result, time, " MS(
                "created_at") ", number FROM idempotency_keys ORDER BY scope COLLATE \"C\", key COLLATE "
                              "\"C\""},
        {"SELECT kind, subject, due_at, token, created_at, '' FROM work ORDER BY kind, subject, "
         "created_at, "
         "due_at, token",
            "SELECT kind, subject, " MS("due_at") ", token, " MS(
                "created_at") ", '' FROM work"
                              " ORDER BY kind COLLATE \"C\", subject COLLATE \"C\", created_at, due_at, "
                              "token"},
        {"SELECT order_id, customer_id, customer_email, items, amount_minor, priority, is_sync, "
         "coalesce(deadline, ''),"
         " lower(hex(fingerprint)), status, attempts, created_at, updated_at, coalesce(paid_at, ''), '' "
         "FROM orders"
         " ORDER BY order_id",
            "SELECT order_id, customer_id, customer_email, items, amount_minor, priority, "
            "is_sync::int, " MS("deadline") ", encode(fingerprint, 'hex'), status, attempts, " MS(
                "created_at") ", " MS("updated_at") ", " MS("paid_at") ", '' FROM orders ORDER BY "
                                                                       "order_id COLLATE \"C\""},
        {"SELECT order_id, payments.amount_minor, outcome, payments.attempts, payments.created_at, '' "
         "FROM payments"
         " JOIN orders ON orders.id = payments.id ORDER BY order_id",
            "SELECT order_id, payments.amount_minor, outcome, payments.attempts, " MS(
                "payments.created_at") ", ''"
                                       " FROM payments JOIN orders ON orders.id = payments.id ORDER BY "
                                       "order_id COLLATE \"C\""},
        {"SELECT orders.order_id, channel, event, notifications.created_at, coalesce(delivered_at, ''), "
         "''"
         " FROM notifications JOIN orders ON orders.id = notifications.order_id ORDER BY "
         "orders.order_id, channel",
            "SELECT orders.order_id, channel, event, " MS("notifications.created_at") ", " MS(
                "delivered_at") ", ''"
                                " FROM notifications JOIN orders ON orders.id = notifications.order_id"
                                " ORDER BY orders.order_id COLLATE \"C\", channel COLLATE \"C\""},
        {"SELECT username, username_key, email, email_key, full_name, password_hash, created_at, '' FROM "
         "accounts"
         " ORDER BY username_key",
            "SELECT username, username_key, email, email_key, full_name, password_hash, " MS(
                "created_at") ", ''"
                              " FROM accounts ORDER BY username_key COLLATE \"C\""},
        {"SELECT id, account_id, symbol, side, order_type, quantity, coalesce(price, ''), "
         "coalesce(stop_price, ''),"
         " coalesce(trailing_stop_pct, ''), coalesce(iceberg_qty, ''), time_in_force, created_at,"
         " coalesce(cancelled_at, ''), '' FROM intake_orders ORDER BY id",
            "SELECT id, account_id, symbol, side, order_type, quantity, price, stop_price, "
            "trailing_stop_pct,"
            " iceberg_qty, time_in_force, " MS("created_at") ", " MS("cancelled_at") ", '' FROM intake_orders"
                                                                                     " ORDER BY id"},
        {"SELECT first_id, last_id, executed_at, '' FROM intake_deliveries ORDER BY last_id",
            "SELECT first_id, last_id, " MS("executed_at") ", '' FROM intake_deliveries ORDER BY last_id"},
        {"SELECT sent_id, executed_id, '' FROM intake_state",
            "SELECT sent_id, executed_id, '' FROM intake_state"},
        {"SELECT id, name, status, is_draining, usage_count, coalesce(lease_id, ''), coalesce(ticket_id, ''),"
         " coalesce(started_at, ''), coalesce(chosen_at, ''), coalesce(units, ''), coalesce(due_at, ''),"
         " created_at, updated_at, " SKU_OF_ROW ", purchase_id FROM machines ORDER BY id",
            "SELECT id, name, status, is_draining::int, usage_count, lease_id, ticket_id, " MS("started_at") ", " MS(
                "chosen_at") ", units, " MS("due_at") ", " MS("created_at") ", " MS("updated_at") ","
                                                                                                  " " SKU_OF_ROW
                                                                                                  ", "
                                                                                                  "purchase_"
                                                                                                  "id FROM "
                                                                                                  "machines "
                                                                                                  "ORDER BY "
                                                                                                  "id"},
        {"SELECT id, machine_id, coalesce(ticket_id, ''), started_at, coalesce(chosen_at, ''),"
         " coalesce(units, ''), outcome, ended_at, " SKU_OF_ROW ", purchase_id FROM leases ORDER BY id",
            "SELECT id, machine_id, ticket_id, " MS("started_at") ", " MS(
                "chosen_at") ", units, outcome, " MS("ended_at") ", " SKU_OF_ROW
                                                                 ", purchase_id FROM leases ORDER BY id"},
        {"SELECT id, is_attached, state, expires_at, first_lease_id, coalesce(end_lease_id, ''),"
         " coalesce(machine_id, ''), created_at, coalesce(ended_at, ''), '' FROM tickets ORDER BY id",
            "SELECT id, is_attached::int, state, " MS(
                "expires_at") ", first_lease_id, end_lease_id, machine_id,"
                              " " MS("created_at") ", " MS("ended_at") ", '' FROM tickets ORDER BY id"},
        {"SELECT next_machine_id, next_lease_id, next_ticket_id, '' FROM pool",
            "SELECT next_machine_id, next_lease_id, next_ticket_id, '' FROM pool"},
};

/* The rows of the embedded store, with the numbers that PostgreSQL gave the same purchases. */
static void put_embedded(struct run *run, struct strbuf *text, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *rows;
    assert_int_equal(
        sqlite3_open_v2(place_path(run->place, "store.db"), &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &rows, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    while (sqlite3_step(rows) == SQLITE_ROW) {
        int last = sqlite3_column_count(rows) - 1;
        int64_t number = sqlite3_column_int64(rows, last);
        for (int i = 0; i < last; i++)
            strbuf_printf(text, "%s|", (const char *)sqlite3_column_text(rows, i));
        if (sqlite3_column_type(rows, last) == SQLITE_INTEGER)
            strbuf_printf(text, "%" PRId64, number == 0 ? 0 : run->numbers[number]);
        strbuf_put_char(text, '\n');
    }
    assert_int_equal(sqlite3_finalize(rows), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void put_shared(struct run *run, struct strbuf *text, const char *sql)
{
    PGresult *rows = PQexec(run->database.conn, sql);
    if (PQresultStatus(rows) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(run->database.conn));
    for (int row = 0; row < PQntuples(rows); row++) {
        for (int i = 0; i < PQnfields(rows); i++)
            strbuf_printf(text, i == 0 ? "%s" : "|%s", PQgetvalue(rows, row, i));
        strbuf_put_char(text, '\n');
    }
    PQclear(rows);
}

static void check_rows(struct run *run)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        struct strbuf ours;
        struct strbuf theirs;
        strbuf_init_heap(&ours, TEXT_MAX);
        strbuf_init_heap(&theirs, TEXT_MAX);
        put_embedded(run, &ours, tables[i].sqlite);
        put_shared(run, &theirs, tables[i].postgres);
        CHECK(run, slice_eq(strbuf_slice(&ours), strbuf_slice(&theirs)),
            "%s\nembedded:\n%.*s\nPostgreSQL:\n%.*s", tables[i].sqlite, SLICE_ARGS(strbuf_slice(&ours)),
            SLICE_ARGS(strbuf_slice(&theirs)));
        strbuf_fini(&ours);
        strbuf_fini(&theirs);
    }
}

/* --- runs --- */

static void run_one(int64_t seed, int64_t commands, int64_t counts[100], int64_t *work_count)
{
    struct run *run = run_create(seed, commands);
    for (int batch = 0; run->step < commands; batch++) {
        run_batch(run);
        open_again(run);
        if (batch % 10 == 0)
            check_rows(run);
    }
    check_rows(run);
    for (int i = 0; i < 100; i++)
        counts[i] += run->counts[i];
    *work_count += run->work_count;
    run_destroy(run);
}

/* Several short runs, since each seed chooses its own shape of crowd. */
static void run_many(int64_t seed)
{
    int64_t counts[100] = {0};
    int64_t work_count = 0;
    const struct result_info *info;
    for (int64_t done = 0; done < command_count; done += RUN_COMMANDS, seed++)
        run_one(seed, RUN_COMMANDS, counts, &work_count);
    print_message("%" PRId64 " pieces of work were finished\n", work_count);
    assert_true(work_count > 0);
    /* Stores that never hear a question are not compared by it. */
    for (unsigned i = 0; (info = result_info_at(i)) != NULL; i++) {
        if (info->result < RESULT_UNAVAILABLE && /* the others are the engine's */
            info->result != RESULT_MACHINES_FULL && counts[info->result] == 0)
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
    int64_t counts[100] = {0};
    int64_t work_count = 0;
    run_one((int64_t)(id_next(&random) >> 16), RUN_COMMANDS, counts, &work_count);
}

static void the_crowd_asked_for_hears_the_same_from_both_stores(void **state)
{
    int64_t counts[100] = {0};
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
    program = argv[0];
    if (!read_number(argc > 1 ? argv[1] : NULL, &seed_asked) ||
        !read_number(argc > 2 ? argv[2] : NULL, &command_count)) {
        (void)fprintf(stderr, "usage: %s [SEED [COMMANDS]], both whole numbers from 0\n", program);
        return 2;
    }
    if (!postgres_is_there())
        return postgres_skip_all("embedded store and PostgreSQL side by side");
    return seed_asked < 0 ? cmocka_run_group_tests_name("differential", suite, NULL, NULL)
                          : cmocka_run_group_tests_name("differential", asked, NULL, NULL);
}
