/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines and the line of several nodes on one database: one pool, one line, whoever is asked. Each node has
 * a copy, so most of this is about copies that do not know yet. What one node does is asked in
 * test_store_pool.c.
 *
 * Needs a PostgreSQL server (postgres_fixture.h).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/id.h"
#include "core/machine.h"
#include "core/world_pool.h"
#include "postgres_nodes.h"
#include "world_kit.h"

enum { NS_PER_S = 1000000000, AWAIT_S = 20, DISPENSE_MS = 5000, CHOOSE_MS = 60000 };

static const int64_t start_ms = INT64_C(1767225600000); /* 2026-01-01 */

static const struct rules rules = {.idempotency_ttl_ms = INT64_C(86400000),
    .idempotency_count_max = SIZE_MAX,
    .dispense_ms = DISPENSE_MS,
    .choose_timeout_ms = CHOOSE_MS,
    .line_max = 1000};

/* --- batches --- */

static enum result decide_at(struct node *node, struct command *command, int64_t now_ms)
{
    struct error error = {.message = ""};
    if (node_decide(node, &rules, command, 1, now_ms, NULL, &error) != ERR_NONE)
        fail_msg("cannot decide: %s", error.message);
    world_check_pool(&node->world);
    return command->outcome.result;
}

static enum result ask_for(struct node *node, enum command_kind kind, struct pool_request *request)
{
    struct command command = {.kind = kind, .pool = request};
    return decide_at(node, &command, start_ms);
}

/* What time does, as the engine lets it. True: the node got the pool. */
static bool tick(struct node *node, int64_t now_ms)
{
    const struct due due = {.edge_ms = now_ms, .key_ms = 0, .key_count_max = 1, .keys_kept_max = SIZE_MAX};
    struct error error = {.message = ""};
    world_begin(&node->world);
    if (store_load_due(node->store, &node->world, &due, &error) != ERR_NONE)
        fail_msg("cannot load what is due: %s", error.message);
    bool holds_pool = world_holds_pool(&node->world);
    assert_true(rules_tick(&rules, &node->world, now_ms));
    if (node->world.change_count == 0)
        store_abandon(node->store);
    else if (store_commit(node->store, &node->world, &error) != ERR_NONE)
        fail_msg("cannot commit a tick: %s", error.message);
    world_accept(&node->world);
    world_accept_refreshed(&node->world);
    return holds_pool;
}

/* --- commands --- */

static int64_t make_machine(struct node *node, const char *name)
{
    struct pool_request request = {.name = slice_cstr(name)};
    assert_int_equal(ask_for(node, COMMAND_MACHINE_CREATE, &request), RESULT_OK);
    return request.machine.id;
}

/* The lease; 0: none is idle. */
static int64_t take_machine(struct node *node, int64_t *machine_id)
{
    struct pool_request request = {.until_ms = 0};
    enum result result = ask_for(node, COMMAND_MACHINE_TAKE, &request);
    assert_true(result == RESULT_OK || result == RESULT_NO_IDLE_MACHINE);
    *machine_id = request.machine.id;
    return request.machine.lease_id;
}

static enum result about_machine(struct node *node, enum command_kind kind, int64_t machine_id)
{
    struct pool_request request = {.machine_id = machine_id};
    return ask_for(node, kind, &request);
}

static int64_t take_ticket(struct node *node, int64_t position)
{
    struct pool_request request = {.until_ms = start_ms + 1000};
    assert_int_equal(ask_for(node, COMMAND_TICKET_TAKE, &request), RESULT_TICKET_WAITS);
    assert_int_equal(request.position, position);
    return request.ticket_id;
}

static struct command addition(struct pool_request *request, const char *sku, const char *name)
{
    return (struct command){.kind = COMMAND_PRODUCT_ADD,
        .sku = slice_cstr(sku),
        .product = {.name = slice_cstr(name), .initial_stock = 1000},
        .pool = request};
}

static enum result add_product(struct node *node, const char *sku, const char *name)
{
    struct pool_request request = {.units = 0};
    struct command command = addition(&request, sku, name);
    return decide_at(node, &command, start_ms);
}

static int64_t count_rows(const struct database *database, const char *table, const char *condition)
{
    return database_number(database, "SELECT count(*) FROM %s WHERE %s", table, condition);
}

/* --- one pool --- */

static void a_machine_is_taken_once(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    int64_t machine_id = make_machine(&s->a, "m");
    struct pool_request ours = {.until_ms = 0};
    struct pool_request theirs = {.until_ms = 0};
    struct command here = {.kind = COMMAND_MACHINE_TAKE, .pool = &ours};
    struct command there = {.kind = COMMAND_MACHINE_TAKE, .pool = &theirs};
    struct waiting w = {.node = &s->b, .rules = &rules, .now_ms = start_ms, .commands = &there, .count = 1};
    node_load(&s->a, &here, 1);
    waiting_start(&w, &s->database);
    assert_int_equal(node_finish(&s->a, &rules, &here, 1, start_ms, &error), ERR_NONE);
    waiting_end(&w);
    assert_int_equal(here.outcome.result, RESULT_OK);
    assert_int_equal(ours.machine.id, machine_id);
    assert_int_equal(there.outcome.result, RESULT_NO_IDLE_MACHINE);
    assert_int_equal(world_machine(&s->b.world, machine_id)->values.lease.id, ours.machine.lease_id);
}

/* Each knows what the other has done as soon as it decides, and numbers go on across nodes. */
static void nodes_take_turns(void **state)
{
    struct node_pair *s = *state;
    struct node *nodes[] = {&s->a, &s->b};
    int64_t machine_id;
    for (int i = 0; i < 4; i++)
        assert_int_equal(make_machine(nodes[i % 2], "m"), i + 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(take_machine(nodes[i % 2], &machine_id), i + 1);
        assert_int_equal(machine_id, i + 1);
    }
    assert_int_equal(take_machine(&s->a, &machine_id), 0);
    assert_int_equal(about_machine(&s->b, COMMAND_MACHINE_RESET, 3), RESULT_OK);
    assert_int_equal(about_machine(&s->a, COMMAND_MACHINE_RESET, 3), RESULT_MACHINE_IS_IDLE);
    assert_int_equal(take_machine(&s->a, &machine_id), 5);
    assert_int_equal(machine_id, 3);
    assert_int_equal(database_number(&s->database, "SELECT version FROM pool"), 10);
}

/* The copy of the other node has it, and has to lose it. */
static void a_machine_that_was_deleted_elsewhere_is_gone(void **state)
{
    struct node_pair *s = *state;
    int64_t machine_id;
    (void)make_machine(&s->a, "1");
    (void)make_machine(&s->a, "2");
    assert_int_equal(about_machine(&s->b, COMMAND_MACHINE_DELETE, 1), RESULT_OK);
    assert_int_equal(about_machine(&s->b, COMMAND_MACHINE_DELETE, 2), RESULT_OK);
    assert_non_null(world_machine(&s->a.world, 1));
    assert_int_equal(take_machine(&s->a, &machine_id), 0);
    assert_int_equal(s->a.world.pool.machines_by_id.count, 0);
    assert_int_equal(about_machine(&s->a, COMMAND_MACHINE_RESET, 2), RESULT_MACHINE_NOT_FOUND);
    assert_int_equal(make_machine(&s->a, "3"), 3);
    assert_int_equal(take_machine(&s->b, &machine_id), 1);
    assert_int_equal(machine_id, 3);
}

static void what_was_changed_elsewhere_is_seen(void **state)
{
    struct node_pair *s = *state;
    int64_t machine_id;
    (void)make_machine(&s->a, "first");
    (void)make_machine(&s->a, "second");
    struct pool_request request = {.machine_id = 1,
        .has_name = true,
        .name = SLICE("renamed"),
        .has_draining = true,
        .is_draining = true};
    assert_int_equal(ask_for(&s->b, COMMAND_MACHINE_UPDATE, &request), RESULT_OK);
    assert_int_equal(take_machine(&s->a, &machine_id), 1);
    assert_int_equal(machine_id, 2);
    const struct machine *machine = world_machine(&s->a.world, 1);
    assert_true(machine->values.is_draining && slice_eq(machine->name, SLICE("renamed")));
    assert_true(slice_eq(world_machine(&s->a.world, 2)->name, SLICE("second")));
}

/* --- one line --- */

static const struct ticket *first_ended(const struct node *node)
{
    struct list *at = list_first(&node->world.pool.ended_tickets);
    return at == NULL ? NULL : CONTAINER_OF(at, struct ticket, node);
}

static void who_comes_first_is_served_first_whichever_node_he_asked(void **state)
{
    struct node_pair *s = *state;
    struct node *nodes[] = {&s->a, &s->b};
    int64_t machine_id;
    (void)make_machine(&s->a, "m");
    (void)take_machine(&s->b, &machine_id);
    for (int i = 0; i < 6; i++)
        assert_int_equal(take_ticket(nodes[i % 2], i + 1), i + 1);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(take_machine(nodes[i % 2], &machine_id), 0);
        assert_int_equal(about_machine(nodes[i / 2 % 2], COMMAND_MACHINE_RESET, 1), RESULT_OK);
        assert_int_equal(database_number(&s->database, "SELECT ticket_id FROM machines"), i + 1);
    }
    assert_int_equal(count_rows(&s->database, "tickets", "state = 'served' AND end_lease_id = id + 1"), 6);
    assert_int_equal(count_rows(&s->database, "leases", "true"), 6);
}

/* For the engine, which tells the one who waits on it. */
static void a_ticket_that_another_node_has_served_is_told(void **state)
{
    struct node_pair *s = *state;
    int64_t machine_id;
    (void)make_machine(&s->a, "m");
    (void)take_machine(&s->a, &machine_id);
    int64_t served = take_ticket(&s->b, 1);
    int64_t left = take_ticket(&s->b, 2);
    struct pool_request request = {.ticket_ids = &left, .ticket_count = 1};
    assert_int_equal(about_machine(&s->a, COMMAND_MACHINE_RESET, 1), RESULT_OK);
    assert_int_equal(ask_for(&s->a, COMMAND_TICKET_LEAVE, &request), RESULT_OK);
    assert_null(first_ended(&s->a)); /* its own doing */
    assert_null(first_ended(&s->b));
    assert_int_equal(take_machine(&s->b, &machine_id), 0);
    const struct ticket *ticket = first_ended(&s->b);
    assert_non_null(ticket);
    assert_int_equal(ticket->id, served);
    assert_int_equal(ticket->values.state, TICKET_SERVED);
    assert_int_equal(ticket->values.machine_id, 1);
    assert_int_equal(ticket->values.end_lease_id, 2);
    assert_null(world_first_ticket(&s->b.world));
    world_accept_ended_tickets(&s->b.world);
    assert_int_equal(take_machine(&s->b, &machine_id), 0);
    assert_null(first_ended(&s->b));
}

static void *look_in_a_thread(void *context)
{
    (void)tick(context, start_ms); /* nothing is due: it looks without the lock */
    return NULL;
}

/* Another node serves the ticket between two reads of one look, and its user is told that he has no machine.
 */
static void a_ticket_is_never_seen_as_served_before_its_machine(void **state)
{
    struct node_pair *s = *state;
    const char *tables[] = {"tickets", "machines"};
    int64_t machine_id;
    pthread_t thread;
    (void)make_machine(&s->a, "m");
    (void)take_machine(&s->a, &machine_id);
    for (int i = 0; i < 2; i++) {
        int64_t ticket_id = take_ticket(&s->b, 1);
        int lease_id = i + 2;
        database_run(&s->database, "BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", tables[i]);
        assert_int_equal(pthread_create(&thread, NULL, look_in_a_thread, &s->b), 0);
        database_await(&s->database, 1, "SELECT count(*) FROM pg_locks WHERE NOT granted");
        database_run(&s->database,
            "UPDATE pool SET version = version + 1, next_lease_id = next_lease_id + 1;"
            "UPDATE machines SET lease_id = %d, ticket_id = %d, version = (SELECT version FROM pool);"
            "UPDATE tickets SET state = 'served', machine_id = 1, end_lease_id = %d, ended_at = created_at,"
            " version = (SELECT version FROM pool) WHERE id = %d; COMMIT",
            lease_id, (int)ticket_id, lease_id, (int)ticket_id);
        assert_int_equal(pthread_join(thread, NULL), 0);
        const struct ticket *ticket = first_ended(&s->b);
        if (ticket != NULL)
            assert_int_equal(world_machine(&s->b.world, 1)->values.lease.id, ticket->values.end_lease_id);
        (void)tick(&s->b, start_ms);
        assert_null(world_first_ticket(&s->b.world));
        world_accept_ended_tickets(&s->b.world);
    }
}

/* --- time --- */

static void what_is_due_is_done_by_one_node_and_waits_for_none(void **state)
{
    struct node_pair *s = *state;
    struct pool_request request = {.name = SLICE("another")};
    struct command command = {.kind = COMMAND_MACHINE_CREATE, .pool = &request};
    struct error error = {.message = ""};
    int64_t machine_id;
    (void)make_machine(&s->a, "m");
    (void)take_machine(&s->a, &machine_id);
    (void)take_machine(&s->b, &machine_id); /* it knows of the lease now */
    assert_false(tick(&s->a, start_ms + CHOOSE_MS - 1));
    node_load(&s->a, &command, 1);
    assert_false(tick(&s->b, start_ms + CHOOSE_MS));
    assert_int_equal(node_finish(&s->a, &rules, &command, 1, start_ms, &error), ERR_NONE);
    assert_int_equal(count_rows(&s->database, "leases", "true"), 0);
    assert_true(tick(&s->b, start_ms + CHOOSE_MS));
    assert_true(tick(&s->a, start_ms + CHOOSE_MS)); /* it finds out that there is nothing left to do */
    assert_int_equal(count_rows(&s->database, "leases", "outcome = 'timed_out'"), 1);
    assert_false(tick(&s->a, start_ms + CHOOSE_MS));
    assert_int_equal(database_number(&s->database, "SELECT count(*) FROM leases"), 1);
}

/* A node that dies does not tell what it owes to tell: who looks now and then finds out. */
static void a_tick_looks_at_what_nobody_has_told(void **state)
{
    struct node_pair *s = *state;
    int64_t machine_id;
    (void)make_machine(&s->a, "m");
    (void)take_machine(&s->a, &machine_id);
    assert_null(world_machine(&s->b.world, 1));
    assert_false(tick(&s->b, start_ms + CHOOSE_MS));
    assert_non_null(world_machine(&s->b.world, 1));
    assert_true(tick(&s->b, start_ms + CHOOSE_MS));
    assert_int_equal(count_rows(&s->database, "leases", "outcome = 'timed_out'"), 1);
}

/* --- notifications --- */

static void note_change(void *context)
{
    atomic_fetch_add((atomic_int *)context, 1);
}

/* Refreshes whenever the store says so, until the line is so long. */
static void await_line(struct node *node, size_t length)
{
    int64_t late_ns = clock_mono_ns() + (int64_t)AWAIT_S * NS_PER_S;
    while (node->world.pool.tickets_by_id.count != length) {
        if (clock_mono_ns() > late_ns)
            fail_msg("the line of a node does not become %zu long", length);
        node_refresh(node);
        (void)usleep(2000); /* pause: the notification is under way */
    }
}

static void a_node_hears_of_the_line_of_another(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    atomic_int changes = 0;
    int64_t machine_id;
    assert_int_equal(store_watch(s->a.store, note_change, &changes, &error), ERR_NONE);
    assert_int_equal(store_watch(s->b.store, note_change, &changes, &error), ERR_NONE);
    (void)make_machine(&s->a, "m");
    (void)take_machine(&s->a, &machine_id);
    int64_t ticket_id = take_ticket(&s->b, 1);
    await_line(&s->a, 1);
    assert_int_equal(about_machine(&s->a, COMMAND_MACHINE_RESET, machine_id), RESULT_OK);
    await_line(&s->b, 0);
    assert_int_equal(first_ended(&s->b)->id, ticket_id);
    assert_false(world_holds_pool(&s->b.world));
    world_accept_ended_tickets(&s->b.world);
    store_unwatch(s->a.store);
    store_unwatch(s->b.store);
}

/* --- names --- */

static void a_name_that_was_taken_elsewhere_is_taken(void **state)
{
    struct node_pair *s = *state;
    assert_int_equal(add_product(&s->a, "TEA", "Tea"), RESULT_OK);
    assert_null(node_product(&s->b, "TEA"));
    assert_int_equal(add_product(&s->b, "TEA-2", "Tea"), RESULT_PRODUCT_NAME_TAKEN);
    assert_non_null(node_product(&s->b, "TEA"));
    assert_int_equal(add_product(&s->b, "TEA", "Other"), RESULT_SKU_TAKEN);
    assert_int_equal(count_rows(&s->database, "products", "true"), 1);
}

static void two_nodes_give_a_name_at_once_to_one_product(void **state)
{
    struct node_pair *s = *state;
    struct error error = {.message = ""};
    struct pool_request requests[2] = {{.units = 0}, {.units = 0}};
    struct command here = addition(&requests[0], "TEA-1", "Tea");
    struct command there = addition(&requests[1], "TEA-2", "Tea");
    struct waiting w = {.node = &s->b, .rules = &rules, .now_ms = start_ms, .commands = &there, .count = 1};
    node_load(&s->a, &here, 1);
    waiting_start(&w, &s->database);
    assert_int_equal(node_finish(&s->a, &rules, &here, 1, start_ms, &error), ERR_NONE);
    waiting_end(&w);
    assert_int_equal(here.outcome.result, RESULT_OK);
    assert_int_equal(there.outcome.result, RESULT_PRODUCT_NAME_TAKEN);
}

/* The node that asks believes that it is still taken: by two, one that is gone and one that has another name.
 */
static void a_name_that_was_given_up_elsewhere_is_free(void **state)
{
    struct node_pair *s = *state;
    struct command wishes[] = {make_create("TEA-1", 5, start_ms + 10000, start_ms + 20000),
        make_create("TEA-2", 5, start_ms + 10000, start_ms + 20000)};
    for (int i = 0; i < 2; i++) {
        wishes[i].product.name = SLICE("Tea");
        assert_int_equal(decide_at(&s->a, &wishes[i], start_ms), RESULT_OK);
        assert_int_equal(decide_at(&s->b, &wishes[i], start_ms), RESULT_OK);
    }
    struct command removal = make_delete("TEA-1");
    assert_int_equal(decide_at(&s->a, &removal, start_ms), RESULT_OK);
    assert_int_equal(add_product(&s->b, "TEA-3", "Tea"), RESULT_PRODUCT_NAME_TAKEN);
    wishes[1].product.name = SLICE("Milk");
    assert_int_equal(decide_at(&s->a, &wishes[1], start_ms), RESULT_OK);
    assert_int_equal(add_product(&s->b, "TEA-3", "Tea"), RESULT_OK);
    node_refresh(&s->b);
    assert_null(node_product(&s->b, "TEA-1"));
    assert_non_null(node_product(&s->b, "TEA-2"));
    assert_true(slice_eq(node_product(&s->b, "TEA-2")->values.name, SLICE("Milk")));
    assert_int_equal(add_product(&s->a, "TEA-4", "Tea"), RESULT_PRODUCT_NAME_TAKEN);
}

/* --- failures --- */

/* Commits a batch of which the node never hears; its copy is as it was. */
static void lose(struct node *node, struct proxy *proxy, enum cut cut, struct command *commands, size_t count)
{
    struct error error = {.message = ""};
    node_load(node, commands, count);
    int64_t version = node->world.pool.values.version;
    proxy_cut_at(proxy, STATEMENT_COMMIT, cut);
    assert_int_equal(node_finish(node, &rules, commands, count, start_ms, &error), ERR_COMMIT_UNKNOWN);
    assert_int_equal(node->world.pool.values.version, version);
}

/* Whatever became of it, the next batch sees it, and the copy is what the tables say. */
static void lose_and_look(struct node_pair *s, enum cut cut, bool *is_there)
{
    char url[640];
    struct proxy *proxy = proxy_start(s->database.url, url, sizeof url);
    struct node node;
    int64_t machine_id;
    (void)make_machine(&s->a, "1");
    (void)make_machine(&s->a, "2");
    (void)make_machine(&s->a, "3");
    (void)take_machine(&s->a, &machine_id);
    node_open(&node, url);
    struct pool_request requests[] = {{.machine_id = 3}, {.until_ms = 0}, {.until_ms = start_ms + 1000},
        {.machine_id = 1, .has_name = true, .name = SLICE("renamed")}};
    static const enum command_kind kinds[] = {
        COMMAND_MACHINE_DELETE, COMMAND_MACHINE_TAKE, COMMAND_TICKET_TAKE, COMMAND_MACHINE_UPDATE};
    struct command commands[4];
    for (int i = 0; i < 4; i++)
        commands[i] = (struct command){.kind = kinds[i], .pool = &requests[i]};
    lose(&node, proxy, cut, commands, 4);
    assert_int_equal(node.world.pool.machines_by_id.count, 3);
    assert_true(slice_eq(world_machine(&node.world, 1)->name, SLICE("1")));
    int64_t lease_id = take_machine(&node, &machine_id);
    *is_there = count_rows(&s->database, "tickets", "true") == 1;
    assert_int_equal(count_rows(&s->database, "machines", "id = 3"), !*is_there);
    assert_int_equal(count_rows(&s->database, "machines", "name = 'renamed'"), *is_there);
    assert_int_equal(lease_id, *is_there ? 0 : 2);
    assert_int_equal(node.world.pool.machines_by_id.count, *is_there ? 2 : 3);
    assert_int_equal(node.world.pool.tickets_by_id.count, *is_there);
    assert_int_equal(slice_eq(world_machine(&node.world, 1)->name, SLICE("renamed")), *is_there);
    node_close(&node);
    proxy_stop(proxy);
}

static void a_lost_batch_that_never_arrived_has_changed_nothing(void **state)
{
    bool is_there;
    lose_and_look(*state, CUT_BEFORE, &is_there);
    assert_false(is_there);
}

static void a_lost_batch_that_was_committed_is_found(void **state)
{
    bool is_there;
    lose_and_look(*state, CUT_ANSWER, &is_there);
    assert_true(is_there);
}

static void a_lost_batch_in_flight_is_all_there_or_nothing(void **state)
{
    bool is_there;
    lose_and_look(*state, CUT_UNANSWERED, &is_there);
}

/* Without memory it breaks off at every single row: test_store_memory.c. */
static void a_copy_whose_load_broke_off_is_made_whole(void **state)
{
    static const enum postgres_statement breaks[] = {STATEMENT_READ_MACHINES, STATEMENT_READ_TICKETS};
    struct node_pair *s = *state;
    char url[640];
    struct proxy *proxy = proxy_start(s->database.url, url, sizeof url);
    struct node node;
    struct error error = {.message = ""};
    int64_t machine_id;
    node_open(&node, url);
    for (int i = 0; i < 2; i++) {
        (void)make_machine(&s->a, "m");
        (void)take_machine(&s->a, &machine_id);
        (void)take_ticket(&s->a, 1); /* the one before was served by the new machine */
        struct pool_request request = {.until_ms = 0};
        struct command command = {.kind = COMMAND_MACHINE_TAKE, .pool = &request};
        proxy_cut_at(proxy, (int)breaks[i], CUT_ANSWER);
        if (node_decide(&node, &rules, &command, 1, start_ms, NULL, &error) != ERR_NONE)
            assert_int_equal(take_machine(&node, &machine_id), 0);
        assert_true(proxy_has_cut(proxy));
        assert_int_equal(node.world.pool.machines_by_id.count, i + 1);
        assert_int_equal(node.world.pool.tickets_by_id.count, 1);
        world_check_pool(&node.world);
    }
    node_close(&node);
    proxy_stop(proxy);
}

static void rows_that_no_doorbuster_writes_are_refused(void **state)
{
    struct node_pair *s = *state;
    static const char *const damages[] = {
        "UPDATE pool SET next_machine_id = 1, version = version + 1; UPDATE machines SET version = 100",
        "UPDATE pool SET next_lease_id = 1; UPDATE machines SET version = 100",
        "UPDATE pool SET next_ticket_id = 1; UPDATE tickets SET version = 100",
        "UPDATE machines SET version = 100, updated_at = 'infinity'",
        "UPDATE tickets SET version = 100, expires_at = 'infinity'",
        "DELETE FROM pool",
    };
    int64_t machine_id;
    (void)make_machine(&s->a, "m");
    (void)take_machine(&s->a, &machine_id);
    (void)take_ticket(&s->a, 1);
    database_run(&s->database, "CREATE TABLE kept AS SELECT id, version, updated_at FROM machines;"
                               "CREATE TABLE kept_pool AS SELECT * FROM pool;"
                               "CREATE TABLE kept_tickets AS SELECT id, version, expires_at FROM tickets");
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct pool_request request = {.until_ms = 0};
        struct command command = {.kind = COMMAND_MACHINE_TAKE, .pool = &request};
        struct error error = {.message = ""};
        database_run(&s->database, "%s", damages[i]);
        enum err err = node_decide(&s->a, &rules, &command, 1, start_ms, NULL, &error);
        if (err != ERR_CORRUPT || strstr(error.message, "restore a backup") == NULL)
            fail_msg("'%s' gives %s: %s", damages[i], err_name(err), error.message);
        database_run(&s->database,
            "DELETE FROM pool; INSERT INTO pool SELECT * FROM kept_pool;"
            "UPDATE machines SET (version, updated_at) = (SELECT version, updated_at FROM kept);"
            "UPDATE tickets SET (version, expires_at) = (SELECT version, expires_at FROM kept_tickets)");
        assert_int_equal(take_machine(&s->a, &machine_id), 0);
    }
}

static void the_database_refuses_machines_that_must_never_be(void **state)
{
    struct node_pair *s = *state;
    static const struct {
        const char *sqlstate;
        const char *sql;
    } never[] = {
        {"23514", "UPDATE machines SET status = 'idle' WHERE id = 1"},
        {"23514", "UPDATE machines SET status = 'processing' WHERE id = 1"},
        {"23514", "UPDATE machines SET status = 'lost' WHERE id = 1"},
        {"23514", "UPDATE machines SET lease_id = NULL WHERE id = 1"},
        {"23514", "UPDATE machines SET due_at = now() WHERE id = 2"},
        {"23514", "UPDATE machines SET usage_count = -1"},
        {"23505", "INSERT INTO machines (id, name, status, is_draining, usage_count, created_at, updated_at)"
                  " VALUES (1, 'm', 'idle', false, 0, now(), now())"},
        {"23514", "UPDATE tickets SET state = 'served' WHERE id = 1"},
        {"23514", "UPDATE tickets SET ended_at = now() WHERE id = 1"},
        {"23505", "INSERT INTO leases VALUES (1, 1, NULL, now(), NULL, NULL, NULL, NULL, 'reset', now())"},
        {"23514",
            "INSERT INTO leases VALUES (9, 1, NULL, now(), NULL, NULL, NULL, NULL, 'completed', now())"},
        {"23514", "INSERT INTO leases VALUES (9, 1, NULL, now(), now(), 1, 0, 1, 'completed', now())"},
        {"23514", "INSERT INTO leases VALUES (9, 1, NULL, now(), now(), 1, NULL, 1, 'reset', now())"},
        {"23514", "INSERT INTO pool VALUES (2, 1, 1, 1, 0, 0)"},
        {"23514", "UPDATE pool SET whole_version = version + 1"},
        {"23514", "UPDATE pool SET next_lease_id = 0"},
    };
    int64_t machine_id;
    (void)make_machine(&s->a, "1");
    (void)make_machine(&s->a, "2");
    (void)take_machine(&s->a, &machine_id);
    assert_int_equal(about_machine(&s->a, COMMAND_MACHINE_RESET, machine_id), RESULT_OK);
    (void)take_machine(&s->a, &machine_id);
    (void)take_machine(&s->a, &machine_id);
    (void)take_ticket(&s->a, 1);
    assert_int_equal(about_machine(&s->a, COMMAND_MACHINE_DELETE, 2), RESULT_OK);
    (void)make_machine(&s->a, "3");
    database_run(&s->database, "UPDATE machines SET id = 2 WHERE id = 3");
    database_run(&s->database, "UPDATE machines SET status = 'idle', lease_id = NULL, ticket_id = NULL,"
                               " started_at = NULL, due_at = NULL WHERE id = 2");
    database_run(&s->database, "UPDATE tickets SET state = 'waiting', end_lease_id = NULL, machine_id = NULL,"
                               " ended_at = NULL");
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (!database_refuses(&s->database, never[i].sqlstate, never[i].sql))
            fail_msg("the database takes this: %s", never[i].sql);
    }
}

/* --- a crowd on two nodes --- */

enum { CROWD_ROUNDS = 120, CROWD_BATCH = 8, CROWD_MACHINES = 6, CROWD_PRODUCTS = 3 };

struct crowd {
    struct node *node;
    struct id_source random;
    int64_t product_ids[CROWD_PRODUCTS];
    int conflicts;
    int64_t units_sold;
    enum err err;
    struct error error;
};

/* What a batch is made of. */
struct wishes {
    struct pool_request requests[CROWD_BATCH];
    int64_t ticket_ids[CROWD_BATCH];
    char skus[CROWD_BATCH][8];
    char users[CROWD_BATCH][MACHINE_USER_LEN_MAX];
};

static unsigned lot(struct crowd *c, unsigned limit)
{
    return (unsigned)(id_next(&c->random) % limit);
}

static struct command random_command(struct crowd *c, struct wishes *wishes, size_t i)
{
    static const enum command_kind kinds[] = {COMMAND_MACHINE_CHOOSE, COMMAND_MACHINE_CHOOSE,
        COMMAND_MACHINE_CHOOSE, COMMAND_PURCHASE, COMMAND_MACHINE_TAKE, COMMAND_MACHINE_TAKE,
        COMMAND_TICKET_TAKE, COMMAND_TICKET_LEAVE, COMMAND_MACHINE_RESET, COMMAND_MACHINE_RESET};
    struct pool_request *request = &wishes->requests[i];
    struct command command = {.kind = kinds[lot(c, 10)], .pool = request};
    unsigned product = lot(c, CROWD_PRODUCTS);
    const struct list *first = list_first(&c->node->world.pool.waiting);
    *request = (struct pool_request){.machine_id = 1 + lot(c, CROWD_MACHINES),
        .units = 1,
        .coins = 1,
        .until_ms = start_ms + 1000,
        .ticket_ids = &wishes->ticket_ids[i],
        .ticket_count = 1};
    wishes->ticket_ids[i] = first == NULL ? 1 : CONTAINER_OF(first, struct ticket, node)->id;
    if (!command_names_product(command.kind))
        return command;
    (void)snprintf(wishes->skus[i], sizeof wishes->skus[i], "P-%u", product);
    command.sku = slice_cstr(wishes->skus[i]);
    command.product_id = c->product_ids[product];
    command.user = machine_user(request->machine_id, wishes->users[i]);
    if (command.kind == COMMAND_PURCHASE)
        command.user = slice_make(command.user.base + 1, command.user.len - 1);
    return command;
}

static void *crowd_in_a_thread(void *context)
{
    struct crowd *c = context;
    for (int round = 0; round < CROWD_ROUNDS && c->err == ERR_NONE; round++) {
        struct wishes wishes;
        struct command commands[CROWD_BATCH];
        size_t count = 1 + lot(c, CROWD_BATCH);
        for (size_t i = 0; i < count; i++)
            commands[i] = random_command(c, &wishes, i);
        c->err = node_decide(c->node, &rules, commands, count, start_ms, &c->conflicts, &c->error);
        for (size_t i = 0; i < count && c->err == ERR_NONE; i++)
            c->units_sold +=
                command_names_product(commands[i].kind) && commands[i].outcome.result == RESULT_OK;
        if (lot(c, 4) == 0)
            (void)tick(c->node, start_ms + DISPENSE_MS);
        world_accept_ended_tickets(&c->node->world);
    }
    return NULL;
}

static void crowd_init(struct crowd *c, struct node *node, uint64_t seed, const int64_t *product_ids)
{
    *c = (struct crowd){.node = node};
    id_source_init_seed(&c->random, seed);
    memcpy(c->product_ids, product_ids, sizeof c->product_ids);
}

static void check_books(const struct node_pair *s)
{
    static const char *const broken[] = {
        /* never two holders of one lease, and every lease is somewhere */
        "SELECT count(*) FROM machines JOIN leases ON leases.id = lease_id",
        "SELECT next_lease_id - 1 - (SELECT count(*) FROM leases) - (SELECT count(lease_id) FROM machines)"
        " FROM pool",
        /* a machine has been used as often as leases of it were completed */
        "SELECT count(*) FROM machines WHERE usage_count <> (SELECT count(*) FROM leases"
        " WHERE machine_id = machines.id AND outcome = 'completed')",
        /* what leases have sold is what machines have bought */
        "SELECT (SELECT count(*) FROM purchases WHERE user_id LIKE ' machine%')"
        " - (SELECT coalesce(sum(units), 0) FROM leases) - (SELECT coalesce(sum(units), 0) FROM machines)",
        "SELECT count(*) FROM products WHERE initial_stock - stock <>"
        " (SELECT count(*) FROM purchases WHERE product_id = products.id)",
        /* first come, first served: leases ascend with the tickets that they were given to */
        "SELECT count(*) FROM tickets AS a JOIN tickets AS b ON a.id < b.id AND a.state = 'served'"
        " AND b.state = 'served' AND a.end_lease_id > b.end_lease_id",
        /* and nobody who had not waited got one while somebody did */
        "SELECT count(*) FROM tickets JOIN (SELECT id, ticket_id FROM leases UNION ALL"
        " SELECT lease_id, ticket_id FROM machines WHERE lease_id IS NOT NULL) AS given"
        " ON given.id >= first_lease_id AND given.id < coalesce(end_lease_id, 1000000000)"
        " AND (given.ticket_id IS NULL OR given.ticket_id > tickets.id)",
        "SELECT count(*) FROM machines WHERE status = 'idle'"
        " AND EXISTS (SELECT FROM tickets WHERE state = 'waiting')",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        int64_t count = database_number(&s->database, "%s", broken[i]);
        if (count != 0)
            fail_msg("%lld: %s", (long long)count, broken[i]);
    }
}

/* Two nodes that took the locks of products and of the pool in different orders would wait for one another.
 */
static void nodes_in_a_crowd_keep_one_pool_and_one_line(void **state)
{
    struct node_pair *s = *state;
    struct crowd crowds[2];
    pthread_t threads[2];
    int64_t product_ids[CROWD_PRODUCTS];
    for (int i = 0; i < CROWD_PRODUCTS; i++) {
        char sku[8];
        (void)snprintf(sku, sizeof sku, "P-%d", i);
        assert_int_equal(add_product(&s->a, sku, sku), RESULT_OK);
        product_ids[i] = node_product(&s->a, sku)->id;
    }
    for (int i = 0; i < CROWD_MACHINES; i++)
        (void)make_machine(&s->a, "m");
    crowd_init(&crowds[0], &s->a, 1, product_ids);
    crowd_init(&crowds[1], &s->b, 2, product_ids);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_in_a_thread, &crowds[i]), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        if (crowds[i].err != ERR_NONE)
            fail_msg("a node cannot serve: %s", crowds[i].error.message);
        assert_int_equal(crowds[i].conflicts, 0);
    }
    assert_int_equal(
        count_rows(&s->database, "purchases", "true"), crowds[0].units_sold + crowds[1].units_sold);
    assert_true(count_rows(&s->database, "leases", "outcome = 'completed'") > 0);
    assert_true(count_rows(&s->database, "tickets", "state = 'served'") > 0);
    check_books(s);
    int64_t machine_id;
    (void)take_machine(&s->a, &machine_id);
    (void)take_machine(&s->b, &machine_id);
    world_check_pool(&s->a.world);
    world_check_pool(&s->b.world);
}

/* --- --- */

#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, node_pair_set_up, node_pair_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(a_machine_is_taken_once),
        SCENE_TEST(nodes_take_turns),
        SCENE_TEST(a_machine_that_was_deleted_elsewhere_is_gone),
        SCENE_TEST(what_was_changed_elsewhere_is_seen),
        SCENE_TEST(who_comes_first_is_served_first_whichever_node_he_asked),
        SCENE_TEST(a_ticket_that_another_node_has_served_is_told),
        SCENE_TEST(a_ticket_is_never_seen_as_served_before_its_machine),
        SCENE_TEST(what_is_due_is_done_by_one_node_and_waits_for_none),
        SCENE_TEST(a_tick_looks_at_what_nobody_has_told),
        SCENE_TEST(a_node_hears_of_the_line_of_another),
        SCENE_TEST(a_name_that_was_taken_elsewhere_is_taken),
        SCENE_TEST(two_nodes_give_a_name_at_once_to_one_product),
        SCENE_TEST(a_name_that_was_given_up_elsewhere_is_free),
        SCENE_TEST(a_lost_batch_that_never_arrived_has_changed_nothing),
        SCENE_TEST(a_lost_batch_that_was_committed_is_found),
        SCENE_TEST(a_lost_batch_in_flight_is_all_there_or_nothing),
        SCENE_TEST(a_copy_whose_load_broke_off_is_made_whole),
        SCENE_TEST(rows_that_no_doorbuster_writes_are_refused),
        SCENE_TEST(the_database_refuses_machines_that_must_never_be),
        SCENE_TEST(nodes_in_a_crowd_keep_one_pool_and_one_line),
    };
    if (!postgres_is_there())
        return postgres_skip_all("machines of several nodes");
    return cmocka_run_group_tests_name("machines of several nodes", tests, NULL, NULL);
}
