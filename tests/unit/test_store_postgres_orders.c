/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders, accounts and trading orders of several nodes on one database: who is first, who waits and who is
 * skipped. What one node does is asked in test_store_orders.c.
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
#include "core/account.h"
#include "core/intake.h"
#include "core/order.h"
#include "core/world_work.h"
#include "postgres_nodes.h"

enum { LEASE_MS = 60000, PAYMENT_MS = 3000 };

/* Ten seconds ago: whatever is due then is due by every clock. */
static int64_t a_while_ago(void)
{
    return clock_wall_ms() - 10000;
}

/* --- batches --- */

static enum err finish(struct node *node, struct command *commands, size_t count)
{
    struct error error = {.message = ""};
    return node_finish(node, &test_rules, commands, count, a_while_ago(), &error);
}

static void decide(struct node *node, struct command *commands, size_t count)
{
    struct error error = {.message = ""};
    if (node_decide(node, &test_rules, commands, count, a_while_ago(), NULL, &error) != ERR_NONE)
        fail_msg("cannot decide: %s", error.message);
}

/* A batch of theirs that another node will make wait. */
static struct waiting waiting_of(struct node *node, struct command *commands, size_t count)
{
    return (struct waiting){
        .node = node, .rules = &test_rules, .now_ms = a_while_ago(), .commands = commands, .count = count};
}

/* --- commands --- */

static struct order_request order_of(const char *order_id)
{
    return (struct order_request){.order_id = slice_cstr(order_id),
        .customer_id = 1,
        .items = SLICE("[]"),
        .priority = ORDER_PRIORITY_DEFAULT,
        .payment_body = SLICE("{}")};
}

static int64_t place(struct node *node, const char *order_id)
{
    struct order_request request = order_of(order_id);
    struct command command = {.kind = COMMAND_ORDER_PLACE, .order = &request};
    decide(node, &command, 1);
    assert_int_equal(command.outcome.result, RESULT_OK);
    return command.outcome.number;
}

/* Room for what is claimed, and the order for it. */
struct claim {
    struct work_item items[4];
    struct work_order order;
    struct command command;
};

static void claim_init(struct claim *claim, size_t count_max)
{
    *claim = (struct claim){
        .order = {
            .kind = WORK_PAYMENT, .count_max = count_max, .lease_ms = LEASE_MS, .payment_ms = PAYMENT_MS}};
    claim->order.items = claim->items;
    claim->command = (struct command){.kind = COMMAND_WORK_CLAIM, .work = &claim->order};
}

static void claim_fini(struct claim *claim)
{
    for (size_t i = 0; i < claim->order.count; i++)
        work_item_fini(&claim->items[i]);
}

static int64_t count_status(const struct database *database, const char *status)
{
    return database_number(database, "SELECT count(*) FROM orders WHERE status = '%s'", status);
}

/* --- orders --- */

static void an_order_placed_on_two_nodes_at_once_is_one(void **state)
{
    struct node_pair *s = *state;
    struct order_request request = order_of("o-1");
    struct command here = {.kind = COMMAND_ORDER_PLACE, .order = &request};
    struct command there = here;
    node_load(&s->a, &here, 1);
    node_load(&s->b, &there, 1);
    assert_int_equal(finish(&s->a, &here, 1), ERR_NONE);
    assert_int_equal(finish(&s->b, &there, 1), ERR_CONFLICT);
    decide(&s->b, &there, 1);
    assert_true(there.outcome.is_replay);
    assert_int_equal(there.outcome.number, here.outcome.number);
    request.fingerprint[0] = 1;
    decide(&s->b, &there, 1);
    assert_int_equal(there.outcome.result, RESULT_ORDER_ID_TAKEN);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM orders"), 1);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM work WHERE kind = 'payment'"), 1);
}

static void payments_are_shared_out_without_waiting(void **state)
{
    struct node_pair *s = *state;
    struct claim here;
    struct claim there;
    int64_t ids[4];
    for (int i = 0; i < 4; i++) {
        char order_id[16];
        (void)snprintf(order_id, sizeof order_id, "o-%d", i);
        ids[i] = place(i % 2 == 0 ? &s->a : &s->b, order_id);
    }
    claim_init(&here, 2);
    claim_init(&there, 4);
    node_load(&s->a, &here.command, 1); /* holds two of them */
    decide(&s->b, &there.command, 1);
    assert_int_equal(there.order.count, 2);
    assert_int_equal(finish(&s->a, &here.command, 1), ERR_NONE);
    assert_int_equal(here.order.count, 2);
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++)
            assert_int_not_equal(here.items[i].id, there.items[j].id);
    assert_true(ids[0] > 0);
    assert_int_equal(count_status(&s->database, "processing"), 4);
    assert_int_equal(database_number(&s->database, "SELECT sum(attempts) FROM orders"), 4);
    claim_fini(&here);
    claim_fini(&there);
}

/* The payment has begun while its cancellation waited: it may have been charged. */
static void a_cancellation_that_waits_for_a_claim_comes_too_late(void **state)
{
    struct node_pair *s = *state;
    struct claim claim;
    struct order_request request = {.order_id = SLICE("o-1")};
    struct command cancel = {.kind = COMMAND_ORDER_CANCEL, .order = &request};
    struct waiting w = waiting_of(&s->b, &cancel, 1);
    (void)place(&s->a, "o-1");
    claim_init(&claim, 1);
    node_load(&s->a, &claim.command, 1);
    waiting_start(&w, &s->database);
    assert_int_equal(finish(&s->a, &claim.command, 1), ERR_NONE);
    waiting_end(&w);
    assert_int_equal(claim.order.count, 1);
    assert_int_equal(cancel.outcome.result, RESULT_ORDER_NOT_PENDING);
    assert_int_equal(cancel.outcome.order_status, ORDER_PROCESSING);
    claim_fini(&claim);
}

static void a_claim_leaves_out_what_is_being_cancelled(void **state)
{
    struct node_pair *s = *state;
    struct claim claim;
    struct order_request request = {.order_id = SLICE("o-1")};
    struct command cancel = {.kind = COMMAND_ORDER_CANCEL, .order = &request};
    (void)place(&s->a, "o-1");
    node_load(&s->a, &cancel, 1);
    claim_init(&claim, 4);
    decide(&s->b, &claim.command, 1);
    assert_int_equal(claim.order.count, 0);
    assert_int_equal(finish(&s->a, &cancel, 1), ERR_NONE);
    assert_int_equal(cancel.outcome.result, RESULT_OK);
    decide(&s->b, &claim.command, 1);
    assert_int_equal(claim.order.count, 0);
    assert_int_equal(count_status(&s->database, "cancelled"), 1);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM work WHERE kind = 'payment'"), 0);
}

/* The claim waits behind nothing, the report of the payment behind its row: then it is somebody else's. */
static void a_report_that_waits_for_another_claim_is_not_theirs(void **state)
{
    struct node_pair *s = *state;
    struct claim claim;
    int64_t id = place(&s->a, "o-1");
    claim_init(&claim, 1);
    decide(&s->a, &claim.command, 1);
    struct work_order report = {.kind = WORK_PAYMENT, .id = id, .token = 1, .report = REPORT_PAID};
    struct command finish = {.kind = COMMAND_WORK_FINISH, .work = &report};
    struct waiting w = waiting_of(&s->b, &finish, 1);
    database_run(&s->database, "BEGIN; UPDATE work SET token = 2 WHERE id = %lld", (long long)id);
    waiting_start(&w, &s->database);
    database_run(&s->database, "COMMIT");
    waiting_end(&w);
    assert_int_equal(finish.outcome.result, RESULT_WORK_NOT_YOURS);
    assert_int_equal(count_status(&s->database, "processing"), 1);
    claim_fini(&claim);
}

/* Its work was looked for before it was there, and is not held: to cancel it would let it be paid. */
static void an_order_that_came_in_the_middle_of_a_load_is_not_there_yet(void **state)
{
    struct node_pair *s = *state;
    struct claim claim;
    int64_t paid = place(&s->a, "o-1");
    claim_init(&claim, 1);
    decide(&s->a, &claim.command, 1);
    struct work_order report = {.kind = WORK_PAYMENT, .id = paid, .token = 1, .report = REPORT_PAID};
    struct order_request request = {.order_id = SLICE("o-2")};
    struct command commands[] = {
        {.kind = COMMAND_WORK_FINISH, .work = &report}, {.kind = COMMAND_ORDER_CANCEL, .order = &request}};
    struct waiting w = waiting_of(&s->a, commands, 2);
    database_run(&s->database, "BEGIN; SELECT FROM work WHERE id = %lld FOR UPDATE", (long long)paid);
    waiting_start(&w, &s->database);
    (void)place(&s->b, "o-2");
    database_run(&s->database, "COMMIT");
    waiting_end(&w);
    assert_int_equal(commands[0].outcome.result, RESULT_OK);
    assert_int_equal(commands[1].outcome.result, RESULT_ORDER_NOT_FOUND);
    assert_int_equal(count_status(&s->database, "pending"), 1);
    decide(&s->a, &commands[1], 1);
    assert_int_equal(commands[1].outcome.result, RESULT_OK);
    claim_fini(&claim);
}

/* The same batch again: now it sees the other's order, and cancels that. */
static void who_places_and_cancels_what_another_has_placed_sees_it(void **state)
{
    struct node_pair *s = *state;
    struct order_request request = order_of("o-1");
    struct command commands[] = {
        {.kind = COMMAND_ORDER_PLACE, .order = &request}, {.kind = COMMAND_ORDER_CANCEL, .order = &request}};
    node_load(&s->a, commands, 2);
    int64_t id = place(&s->b, "o-1");
    assert_int_equal(finish(&s->a, commands, 2), ERR_CONFLICT);
    decide(&s->a, commands, 2);
    assert_true(commands[0].outcome.is_replay && commands[0].outcome.number == id);
    assert_int_equal(commands[1].outcome.result, RESULT_OK);
    assert_int_equal(count_status(&s->database, "cancelled"), 1);
}

/* --- accounts, trading orders --- */

static struct account_request account_of(const char *name)
{
    return (struct account_request){.username = slice_cstr(name),
        .email = slice_cstr(name),
        .username_key = slice_cstr(name),
        .email_key = slice_cstr(name),
        .password_hash = SLICE("$argon2id$")};
}

static void a_name_taken_on_two_nodes_at_once_is_ones(void **state)
{
    struct node_pair *s = *state;
    struct account_request ann = account_of("ann");
    struct account_request other = account_of("ben");
    other.email_key = ann.email_key;
    struct command here = {.kind = COMMAND_ACCOUNT_REGISTER, .account = &ann};
    struct command there = {.kind = COMMAND_ACCOUNT_REGISTER, .account = &other};
    struct waiting w = waiting_of(&s->b, &there, 1);
    node_load(&s->a, &here, 1);
    waiting_start(&w, &s->database);
    assert_int_equal(finish(&s->a, &here, 1), ERR_NONE);
    waiting_end(&w);
    assert_int_equal(w.conflicts, 0);
    assert_int_equal(there.outcome.result, RESULT_EMAIL_TAKEN);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM accounts"), 1);
}

/* Batches of random size, some of which are taken back. */
enum { TRADES_MAX = 4, ROUNDS = 60 };

struct trader {
    struct node *node;
    struct id_source random;
    int64_t taken;
    enum err err;
    struct error error;
};

static void *trade(void *context)
{
    struct trader *t = context;
    struct intake_request request = {
        .account_id = 1, .symbol = SLICE("AAPL"), .quantity = INTAKE_SCALE, .time_in_force = SLICE("GTC")};
    for (int round = 0; round < ROUNDS && t->err == ERR_NONE; round++) {
        struct command commands[TRADES_MAX];
        size_t count = 1 + id_next(&t->random) % TRADES_MAX;
        for (size_t i = 0; i < count; i++)
            commands[i] = (struct command){.kind = COMMAND_INTAKE_PLACE, .intake = &request};
        if (id_next(&t->random) % 4 == 0) {
            node_load(t->node, commands, count);
            for (size_t i = 0; i < count; i++)
                (void)rules_decide(&test_rules, &t->node->world, &commands[i], a_while_ago());
            world_rollback(&t->node->world);
            store_abandon(t->node->store);
            continue;
        }
        t->err = node_decide(t->node, &test_rules, commands, count, a_while_ago(), NULL, &t->error);
        t->taken += (int64_t)count;
        for (size_t i = 1; i < count && t->err == ERR_NONE; i++)
            assert_int_equal(commands[i].outcome.number, commands[i - 1].outcome.number + 1);
    }
    return NULL;
}

static void trading_orders_of_all_nodes_have_ids_without_gaps(void **state)
{
    struct node_pair *s = *state;
    struct trader traders[] = {{.node = &s->a}, {.node = &s->b}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        id_source_init_seed(&traders[i].random, (uint64_t)i);
        assert_int_equal(pthread_create(&threads[i], NULL, trade, &traders[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        if (traders[i].err != ERR_NONE)
            fail_msg("a node cannot take orders: %s", traders[i].error.message);
    }
    int64_t taken = traders[0].taken + traders[1].taken;
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM intake_orders"), taken);
    assert_int_equal(database_number(&s->database, "SELECT max(id) FROM intake_orders"), taken);
    assert_int_equal(database_number(&s->database, "SELECT next_id FROM intake_state"), taken + 1);
}

/* --- a crowd on everything at once --- */

enum { CROWD_ROUNDS = 150, CROWD_BATCH = 6, CROWD_ORDERS = 40, CROWD_NAMES = 12 };

struct crowd {
    struct node *node;
    struct id_source random;
    struct claim claim;
    struct work_order reports[CROWD_BATCH];
    size_t report_count;
    int conflicts;
    enum err err;
    struct error error;
};

/* What a batch is made of. */
struct requests {
    char names[CROWD_BATCH][16];
    struct order_request orders[CROWD_BATCH];
    struct account_request accounts[CROWD_BATCH];
    struct intake_request intakes[CROWD_BATCH];
};

static struct command random_command(struct crowd *c, struct requests *requests, size_t i)
{
    char *name = requests->names[i];
    unsigned dice = (unsigned)(id_next(&c->random) % 10);
    unsigned range = dice < 8 ? CROWD_ORDERS : CROWD_NAMES;
    (void)snprintf(name, sizeof requests->names[i], "n-%u", (unsigned)(id_next(&c->random) % range));
    if (dice < 7) {
        requests->orders[i] = order_of(name);
        return (struct command){
            .kind = dice < 5 ? COMMAND_ORDER_PLACE : COMMAND_ORDER_CANCEL, .order = &requests->orders[i]};
    }
    if (dice < 9) {
        requests->intakes[i] = (struct intake_request){.account_id = 1,
            .symbol = SLICE("AAPL"),
            .quantity = 1,
            .time_in_force = SLICE("GTC"),
            .count_max = 3,
            .id = 1};
        return (struct command){
            .kind = dice == 7 ? COMMAND_INTAKE_PLACE : COMMAND_INTAKE_SEND, .intake = &requests->intakes[i]};
    }
    requests->accounts[i] = account_of(name);
    return (struct command){.kind = COMMAND_ACCOUNT_REGISTER, .account = &requests->accounts[i]};
}

/* Whoever has claimed says in the next batch what came of it. */
static void report_claimed(struct crowd *c)
{
    c->report_count = 0;
    for (size_t i = 0; i < c->claim.order.count; i++) {
        const struct work_item *item = &c->claim.items[i];
        c->reports[c->report_count++] = (struct work_order){.kind = WORK_PAYMENT,
            .id = item->id,
            .token = item->token,
            .report = id_next(&c->random) % 2 == 0 ? REPORT_PAID : REPORT_DECLINED};
    }
    claim_fini(&c->claim);
    claim_init(&c->claim, 3);
}

static void *crowd_in(void *context)
{
    struct crowd *c = context;
    claim_init(&c->claim, 3);
    for (int round = 0; round < CROWD_ROUNDS && c->err == ERR_NONE; round++) {
        struct requests requests;
        struct command commands[2 * CROWD_BATCH + 1];
        size_t count = 0;
        report_claimed(c);
        for (size_t i = 0; i < CROWD_BATCH; i++)
            commands[count++] = random_command(c, &requests, i);
        for (size_t i = 0; i < c->report_count; i++)
            commands[count++] = (struct command){.kind = COMMAND_WORK_FINISH, .work = &c->reports[i]};
        commands[count++] = c->claim.command;
        commands[count - 1].work = &c->claim.order;
        do
            c->err =
                node_decide(c->node, &test_rules, commands, count, a_while_ago(), &c->conflicts, &c->error);
        while (c->err == ERR_CONFLICT);
    }
    claim_fini(&c->claim);
    return NULL;
}

static void nodes_in_a_crowd_leave_the_books_in_order(void **state)
{
    struct node_pair *s = *state;
    static const char *const broken[] = {
        "SELECT count(*) FROM orders LEFT JOIN payments USING (id)"
        " WHERE (status = 'completed') <> coalesce(outcome = 'paid', false)",
        "SELECT count(*) FROM orders LEFT JOIN payments USING (id)"
        " WHERE (status = 'failed') <> coalesce(outcome <> 'paid', false)",
        "SELECT count(*) FROM orders FULL JOIN (SELECT id FROM work WHERE kind = 'payment') AS w USING (id)"
        " WHERE (status IS NOT NULL AND status IN ('pending', 'processing')) <> (w.id IS NOT NULL)",
        "SELECT (SELECT next_id - 1 FROM intake_state) - (SELECT count(*) FROM intake_orders)",
    };
    struct crowd crowds[] = {{.node = &s->a}, {.node = &s->b}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        id_source_init_seed(&crowds[i].random, (uint64_t)i);
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_in, &crowds[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        if (crowds[i].err != ERR_NONE)
            fail_msg("a node cannot go on: %s", crowds[i].error.message);
    }
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(database_number(&s->database, "%s", broken[i]), 0);
    assert_true(count_status(&s->database, "completed") > 0 && count_status(&s->database, "failed") > 0);
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM accounts"), CROWD_NAMES);
}

/* --- the database itself --- */

static void all_nodes_have_one_secret(void **state)
{
    struct node_pair *s = *state;
    struct store *store;
    struct error error = {.message = ""};
    assert_memory_equal(s->a.store->secret, s->b.store->secret, STORE_SECRET_BYTES);
    static const char *const losses[] = {
        "UPDATE secrets SET value = 'short' WHERE name = 'tokens'", "DELETE FROM secrets"};
    for (int i = 0; i < 2; i++) {
        database_run(&s->database, "%s", losses[i]);
        assert_int_equal(postgres_store_open(s->database.url, &store, &error), ERR_CORRUPT);
        assert_non_null(strstr(error.message, "must hold one row 'tokens' with 32 bytes"));
    }
}

static void the_database_refuses_orders_that_must_never_be(void **state)
{
    struct node_pair *s = *state;
    static const struct {
        const char *sqlstate;
        const char *sql;
    } never[] = {
        {"23505", "UPDATE orders SET order_id = 'o-1'"},
        {"23514", "UPDATE orders SET status = 'completed'"},
        {"23514", "UPDATE orders SET paid_at = now()"},
        {"23514", "UPDATE orders SET status = 'lost'"},
        {"23503", "INSERT INTO payments VALUES (1000000, 1, 'paid', 1, now())"},
        {"23505", "INSERT INTO payments SELECT id, 1, 'paid', 1, now() FROM orders, generate_series(1, 2)"},
        {"23503", "INSERT INTO notifications VALUES (1, 1000000, 'webhook', 'order.failed', now())"},
        {"23514", "UPDATE intake_state SET executed_id = sent_id + 1"},
        {"23514", "INSERT INTO intake_state VALUES (2, 1, 0, 0)"},
    };
    (void)place(&s->a, "o-1");
    (void)place(&s->a, "o-2");
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (!database_refuses(&s->database, never[i].sqlstate, never[i].sql))
            fail_msg("the database takes this: %s", never[i].sql);
    }
}

/* --- --- */

#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, node_pair_set_up, node_pair_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(an_order_placed_on_two_nodes_at_once_is_one),
        SCENE_TEST(payments_are_shared_out_without_waiting),
        SCENE_TEST(a_cancellation_that_waits_for_a_claim_comes_too_late),
        SCENE_TEST(a_claim_leaves_out_what_is_being_cancelled),
        SCENE_TEST(a_report_that_waits_for_another_claim_is_not_theirs),
        SCENE_TEST(an_order_that_came_in_the_middle_of_a_load_is_not_there_yet),
        SCENE_TEST(who_places_and_cancels_what_another_has_placed_sees_it),
        SCENE_TEST(a_name_taken_on_two_nodes_at_once_is_ones),
        SCENE_TEST(trading_orders_of_all_nodes_have_ids_without_gaps),
        SCENE_TEST(nodes_in_a_crowd_leave_the_books_in_order),
        SCENE_TEST(all_nodes_have_one_secret),
        SCENE_TEST(the_database_refuses_orders_that_must_never_be),
    };
    if (!postgres_is_there())
        return postgres_skip_all("orders of several nodes");
    return cmocka_run_group_tests_name("orders of several nodes", tests, NULL, NULL);
}
