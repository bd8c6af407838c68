/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store.h promises of machines, leases, tickets and the products that machines sell, asked of every kind
 * of store (store_kinds.h): commands go through the rules as the engine decides them, and what they leave is
 * looked at through readers, in the rows, and after the store was opened again.
 *
 *     test_store_pool [embedded | postgres]    the rows of one store only
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/machine.h"
#include "core/rules.h"
#include "core/world_pool.h"
#include "store_kinds.h"
#include "world_kit.h"

enum { DISPENSE_MS = 5000, CHOOSE_MS = 60000, WAITING_MAX = 5, TEXT_MAX = 1 << 24 };

static const int64_t start_ms = INT64_C(1767225600000);    /* 2026-01-01 */
static const int64_t latest_ms = INT64_C(253402300799999); /* the last millisecond of the year 9999 */

static const struct rules rules = {.idempotency_ttl_ms = 1000,
    .idempotency_count_max = SIZE_MAX,
    .dispense_ms = DISPENSE_MS,
    .choose_timeout_ms = CHOOSE_MS,
    .line_max = WAITING_MAX};

/* --- batches --- */

static void run(struct open_store *o, struct command *commands, size_t count, int64_t now_ms)
{
    store_run(o, &rules, commands, count, now_ms);
}

static enum result ask_for(
    struct open_store *o, enum command_kind kind, struct pool_request *request, int64_t now_ms)
{
    struct command command = {.kind = kind, .pool = request};
    run(o, &command, 1, now_ms);
    return command.outcome.result;
}

static void tick(struct open_store *o, int64_t now_ms)
{
    const struct due due = {.edge_ms = now_ms,
        .key_ms = now_ms - rules.idempotency_ttl_ms,
        .key_count_max = RULES_KEYS_EXPIRED_PER_TICK_MAX,
        .keys_kept_max = SIZE_MAX};
    struct error error = {.message = ""};
    world_begin(&o->world);
    if (store_load_due(o->store, &o->world, &due, &error) != ERR_NONE)
        fail_msg("cannot load what is due: %s", error.message);
    assert_true(rules_tick(&rules, &o->world, now_ms));
    store_finish(o);
}

/* --- commands --- */

static int64_t make_machine(struct open_store *o, const char *name, int64_t now_ms)
{
    struct pool_request request = {.name = slice_cstr(name)};
    assert_int_equal(ask_for(o, COMMAND_MACHINE_CREATE, &request, now_ms), RESULT_OK);
    assert_true(slice_eq(request.machine.name, slice_cstr(name)));
    return request.machine.id;
}

/* The lease. */
static int64_t take_machine(struct open_store *o, int64_t machine_id, int64_t now_ms)
{
    struct pool_request request = {.until_ms = 0};
    assert_int_equal(ask_for(o, COMMAND_MACHINE_TAKE, &request, now_ms), RESULT_OK);
    assert_int_equal(request.machine.id, machine_id);
    assert_int_equal(request.machine.status, MACHINE_CHOOSING);
    return request.machine.lease_id;
}

static enum result reset(struct open_store *o, int64_t machine_id, bool is_given_up, int64_t now_ms)
{
    struct pool_request request = {.machine_id = machine_id, .is_given_up = is_given_up};
    return ask_for(o, COMMAND_MACHINE_RESET, &request, now_ms);
}

static enum result delete_machine(struct open_store *o, int64_t machine_id, int64_t now_ms)
{
    struct pool_request request = {.machine_id = machine_id};
    return ask_for(o, COMMAND_MACHINE_DELETE, &request, now_ms);
}

/* A place in the line, its own. */
static int64_t take_ticket(struct open_store *o, int64_t until_ms, int64_t position, int64_t now_ms)
{
    struct pool_request request = {.until_ms = until_ms};
    assert_int_equal(ask_for(o, COMMAND_TICKET_TAKE, &request, now_ms), RESULT_TICKET_WAITS);
    assert_int_equal(request.position, position);
    return request.ticket_id;
}

static enum result tickets(
    struct open_store *o, enum command_kind kind, int64_t ticket_id, int64_t until_ms, int64_t now_ms)
{
    struct pool_request request = {.ticket_ids = &ticket_id, .ticket_count = 1, .until_ms = until_ms};
    return ask_for(o, kind, &request, now_ms);
}

static struct command addition(struct pool_request *request, const char *sku, const char *name, int64_t stock)
{
    return (struct command){.kind = COMMAND_PRODUCT_ADD,
        .sku = slice_cstr(sku),
        .product = {.name = slice_cstr(name), .initial_stock = stock},
        .pool = request};
}

/* Its id. */
static int64_t add_product(
    struct open_store *o, const char *sku, const char *name, int64_t stock, int64_t now_ms)
{
    struct pool_request request = {.units = 0};
    struct command command = addition(&request, sku, name, stock);
    run(o, &command, 1, now_ms);
    assert_int_equal(command.outcome.result, RESULT_OK);
    assert_int_equal(request.product.stock, stock);
    return request.product.id;
}

/* A choice, and what its command points to. */
struct choice {
    struct pool_request request;
    char user[MACHINE_USER_LEN_MAX];
    struct command command;
};

static void make_choice(
    struct choice *choice, int64_t machine_id, const char *sku, int64_t product_id, int64_t units)
{
    choice->request = (struct pool_request){.machine_id = machine_id, .units = units, .coins = units};
    choice->command = (struct command){.kind = COMMAND_MACHINE_CHOOSE,
        .sku = slice_cstr(sku),
        .product_id = product_id,
        .user = machine_user(machine_id, choice->user),
        .pool = &choice->request};
}

static struct outcome choose(struct open_store *o, int64_t machine_id, const char *sku, int64_t product_id,
    int64_t units, int64_t now_ms)
{
    struct choice choice;
    make_choice(&choice, machine_id, sku, product_id, units);
    run(o, &choice.command, 1, now_ms);
    return choice.command.outcome;
}

/* --- looking --- */

/* All machines and the line, malloc'ed. */
static char *pool_text(const struct world *world)
{
    struct strbuf all;
    struct strbuf pool;
    strbuf_init_heap(&all, TEXT_MAX);
    strbuf_init_heap(&pool, TEXT_MAX);
    world_dump(world, &all);
    struct slice rest = strbuf_slice(&all);
    while (rest.len > 0) {
        struct slice line = slice_split(rest, '\n', &rest);
        if (slice_starts_with(line, SLICE("machine ")) || slice_starts_with(line, SLICE("ticket ")))
            strbuf_printf(&pool, "%.*s\n", SLICE_ARGS(line));
    }
    strbuf_put_char(&pool, '\0');
    char *text = strdup(strbuf_slice(&pool).base);
    assert_non_null(text);
    strbuf_fini(&all);
    strbuf_fini(&pool);
    return text;
}

/* The same world comes back, and counts on from where it was. */
static void reopen_unchanged(struct open_store *o)
{
    const struct pool_values values = o->world.pool.values;
    char *before = pool_text(&o->world);
    store_reopen(o);
    char *after = pool_text(&o->world);
    assert_string_equal(after, before);
    free(before);
    free(after);
    const struct pool_values *now = &o->world.pool.values;
    assert_int_equal(now->next_machine_id, values.next_machine_id);
    assert_int_equal(now->next_lease_id, values.next_lease_id);
    assert_int_equal(now->next_ticket_id, values.next_ticket_id);
}

static void assert_machine(
    struct open_store *o, int64_t id, enum machine_status status, int64_t lease_id, int64_t usage_count)
{
    struct question question = {.kind = QUESTION_MACHINE, .id = id};
    store_ask_once(o, &question);
    assert_true(question.is_found);
    assert_int_equal(question.machine.id, id);
    assert_int_equal(question.machine.status, status);
    assert_int_equal(question.machine.lease_id, lease_id);
    assert_int_equal(question.machine.usage_count, usage_count);
    question_fini(&question);
}

/* Of a ticket that waits no more: 0 and 0 unless it was served. */
static void assert_ticket(
    struct open_store *o, int64_t id, enum ticket_state state, int64_t machine_id, int64_t lease_id)
{
    struct question question = {.kind = QUESTION_TICKET, .id = id};
    store_ask_once(o, &question);
    assert_true(question.is_found);
    assert_int_equal(question.ticket.id, id);
    assert_int_equal(question.ticket.state, state);
    assert_int_equal(question.ticket.machine_id, machine_id);
    assert_int_equal(question.ticket.lease_id, lease_id);
    assert_int_equal(question.ticket.ended_ms == 0, state == TICKET_WAITING);
    question_fini(&question);
}

/* --- machines and leases --- */

/* 255 characters of four bytes each are the longest name. */
static void a_machine_comes_back_as_it_went_in(void **state)
{
    struct open_store *o = *state;
    char longest[MACHINE_NAME_LEN_MAX + 1];
    for (int i = 0; i < MACHINE_NAME_CHARS_MAX; i++)
        memcpy(longest + 4 * i, "\xF0\x9F\xA5\xA4", 4);
    longest[MACHINE_NAME_LEN_MAX] = '\0';
    const char *const names[] = {"it's \"the\" \\ {one},NULL", longest, "1"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(make_machine(o, names[i], start_ms + i), i + 1);
    reopen_unchanged(o);
    for (int i = 0; i < 3; i++) {
        struct question question = {.kind = QUESTION_MACHINE, .id = i + 1};
        store_ask_once(o, &question);
        assert_true(question.is_found && slice_eq(question.machine.name, slice_cstr(names[i])));
        assert_true(question.machine.status == MACHINE_IDLE && !question.machine.is_draining);
        assert_int_equal(question.machine.created_ms, start_ms + i);
        assert_int_equal(question.machine.updated_ms, start_ms + i);
        question_fini(&question);
    }
}

static void a_lease_is_followed_all_the_way(void **state)
{
    struct open_store *o = *state;
    int64_t product_id = add_product(o, "TEA", "Tea", 10, start_ms);
    int64_t machine_id = make_machine(o, "m", start_ms);
    assert_int_equal(take_machine(o, machine_id, start_ms + 1), 1);
    reopen_unchanged(o);
    assert_machine(o, machine_id, MACHINE_CHOOSING, 1, 0);
    assert_int_equal(choose(o, machine_id, "TEA", product_id, 3, start_ms + 2).result, RESULT_OK);
    reopen_unchanged(o);
    assert_machine(o, machine_id, MACHINE_PROCESSING, 1, 0);
    assert_int_equal(store_number(o, "SELECT count(*) FROM leases"), 0);
    tick(o, start_ms + 2 + DISPENSE_MS - 1);
    assert_machine(o, machine_id, MACHINE_PROCESSING, 1, 0);
    tick(o, start_ms + 2 + DISPENSE_MS);
    reopen_unchanged(o);
    assert_machine(o, machine_id, MACHINE_IDLE, 0, 1);
    assert_int_equal(store_number(o, "SELECT stock FROM products"), 7);
    assert_int_equal(
        store_number(o, "SELECT count(*) FROM purchases WHERE user_id = ' machine 1' AND nth <= 3"), 3);
    assert_int_equal(
        store_number(o, "SELECT count(*) FROM leases JOIN purchases ON purchases.id = purchase_id"
                        " AND purchases.product_id = leases.product_id WHERE outcome = 'completed'"
                        " AND units = 3 AND leases.id = 1 AND machine_id = 1 AND nth = 1"
                        " AND ticket_id IS NULL"),
        1);
    assert_int_equal(take_machine(o, machine_id, start_ms + 90000), 2);
}

static void every_way_in_which_a_lease_ends_is_written(void **state)
{
    struct open_store *o = *state;
    int64_t product_id = add_product(o, "TEA", "Tea", 10, start_ms);
    int64_t machine_id = make_machine(o, "m", start_ms);
    (void)take_machine(o, machine_id, start_ms);
    assert_int_equal(reset(o, machine_id, false, start_ms + 1), RESULT_OK);
    (void)take_machine(o, machine_id, start_ms + 2);
    assert_int_equal(reset(o, machine_id, true, start_ms + 3), RESULT_OK);
    assert_int_equal(reset(o, machine_id, true, start_ms + 3), RESULT_MACHINE_IS_IDLE);
    (void)take_machine(o, machine_id, start_ms + 4);
    tick(o, start_ms + 4 + CHOOSE_MS);
    (void)take_machine(o, machine_id, start_ms + 70000);
    assert_int_equal(choose(o, machine_id, "TEA", product_id, 1, start_ms + 70001).result, RESULT_OK);
    reopen_unchanged(o);
    tick(o, start_ms + 80000);
    (void)take_machine(o, machine_id, start_ms + 80001);
    assert_int_equal(choose(o, machine_id, "TEA", product_id, 1, start_ms + 80002).result, RESULT_OK);
    assert_int_equal(delete_machine(o, machine_id, start_ms + 80003), RESULT_OK);
    assert_int_equal(delete_machine(o, machine_id, start_ms + 80003), RESULT_MACHINE_NOT_FOUND);
    reopen_unchanged(o);
    static const char *const ends[] = {"reset", "given_up", "timed_out", "completed", "deleted"};
    for (int i = 0; i < 5; i++) {
        char sql[128];
        (void)snprintf(
            sql, sizeof sql, "SELECT count(*) FROM leases WHERE id = %d AND outcome = '%s'", i + 1, ends[i]);
        assert_int_equal(store_number(o, sql), 1);
    }
    assert_int_equal(store_number(o, "SELECT count(*) FROM leases"), 5);
    assert_int_equal(store_number(o, "SELECT count(*) FROM machines"), 0);
    assert_int_equal(make_machine(o, "another", start_ms + 90000), machine_id + 1);
    assert_int_equal(take_machine(o, machine_id + 1, start_ms + 90000), 6);
}

static void update(struct open_store *o, struct pool_request *request, int64_t now_ms)
{
    assert_int_equal(ask_for(o, COMMAND_MACHINE_UPDATE, request, now_ms), RESULT_OK);
    reopen_unchanged(o);
}

static void a_machine_is_renamed_and_drained(void **state)
{
    struct open_store *o = *state;
    int64_t id = make_machine(o, "first", start_ms);
    struct pool_request renamed = {.machine_id = id, .has_name = true, .name = SLICE("second")};
    update(o, &renamed, start_ms + 1);
    struct pool_request drained = {.machine_id = id, .has_draining = true, .is_draining = true};
    update(o, &drained, start_ms + 2);
    struct question question = {.kind = QUESTION_MACHINE, .id = id};
    store_ask_once(o, &question);
    assert_true(question.machine.is_draining && slice_eq(question.machine.name, SLICE("second")));
    assert_int_equal(question.machine.updated_ms, start_ms + 2);
    question_fini(&question);
    struct pool_request wanted = {.until_ms = 0};
    assert_int_equal(ask_for(o, COMMAND_MACHINE_TAKE, &wanted, start_ms + 3), RESULT_NO_IDLE_MACHINE);
    struct pool_request both = {.machine_id = id,
        .has_name = true,
        .name = SLICE("third"),
        .has_draining = true,
        .is_draining = false};
    update(o, &both, start_ms + 4);
    (void)take_machine(o, id, start_ms + 5);
}

/* Through the world itself, since no rule lets them come about. */
static void values_at_the_edges_are_kept(void **state)
{
    struct open_store *o = *state;
    struct pool_request request = {.name = SLICE("m")};
    struct command command = {.kind = COMMAND_MACHINE_CREATE, .pool = &request};
    store_decide(o, &rules, &command, 1, start_ms);
    struct machine *machine = world_machine(&o->world, request.machine.id);
    struct machine_values values = {.status = MACHINE_PROCESSING,
        .is_draining = true,
        .usage_count = INT64_MAX,
        .updated_ms = latest_ms,
        .lease = {.ticket_id = INT64_MAX,
            .started_ms = 1,
            .chosen_ms = latest_ms,
            .product_id = INT64_MAX,
            .units = INT64_MAX,
            .purchase_id = INT64_MAX},
        .due_ms = latest_ms};
    assert_true(world_take_lease_id(&o->world, &values.lease.id));
    assert_true(world_set_machine(&o->world, machine, &values));
    assert_non_null(world_add_ticket(&o->world, false, latest_ms, 1));
    store_finish(o);
    reopen_unchanged(o);
    const struct machine_values *now = &world_machine(&o->world, request.machine.id)->values;
    assert_memory_equal(&now->lease, &values.lease, sizeof values.lease);
    assert_true(now->due_ms == latest_ms && now->usage_count == INT64_MAX && now->is_draining);
    assert_int_equal(world_first_ticket(&o->world)->values.until_ms, latest_ms);
}

/* --- the line --- */

static void who_waits_comes_back_in_order(void **state)
{
    struct open_store *o = *state;
    int64_t machine_id = make_machine(o, "m", start_ms);
    (void)take_machine(o, machine_id, start_ms);
    int64_t first = take_ticket(o, start_ms + 1000, 1, start_ms + 1);
    int64_t second = take_ticket(o, start_ms + 500, 2, start_ms + 2);
    int64_t third = take_ticket(o, start_ms + 300, 3, start_ms + 3);
    int64_t fourth = take_ticket(o, start_ms + 100000, 4, start_ms + 3);
    reopen_unchanged(o);
    assert_ticket(o, third, TICKET_WAITING, 0, 0);
    assert_int_equal(tickets(o, COMMAND_TICKET_KEEP, third, start_ms + 400, start_ms + 4), RESULT_OK);
    assert_int_equal(tickets(o, COMMAND_TICKET_LEAVE, first, 0, start_ms + 5), RESULT_OK);
    reopen_unchanged(o);
    tick(o, start_ms + 399);
    assert_ticket(o, third, TICKET_WAITING, 0, 0);
    tick(o, start_ms + 400);
    reopen_unchanged(o);
    assert_ticket(o, first, TICKET_LEFT, 0, 0);
    assert_ticket(o, third, TICKET_EXPIRED, 0, 0);
    assert_int_equal(reset(o, machine_id, false, start_ms + 450), RESULT_OK);
    assert_ticket(o, second, TICKET_SERVED, machine_id, 2);
    assert_ticket(o, fourth, TICKET_WAITING, 0, 0);
    reopen_unchanged(o);
    assert_machine(o, machine_id, MACHINE_CHOOSING, 2, 0);
    assert_int_equal(
        tickets(o, COMMAND_TICKET_KEEP, third, start_ms + 999, start_ms + 451), RESULT_TICKET_NOT_WAITING);
    assert_int_equal(store_number(o, "SELECT count(*) FROM tickets WHERE first_lease_id = 2 AND id <= 4"), 4);
    assert_int_equal(store_number(o, "SELECT sum(end_lease_id) FROM tickets"), 2 + 2 + 2);
}

/* Its connection is gone with the server that had it; another node's is not. */
static void an_attached_ticket_stands_with_its_connection(void **state)
{
    struct open_store *o = *state;
    int64_t machine_id = make_machine(o, "m", start_ms);
    (void)take_machine(o, machine_id, start_ms);
    struct pool_request request = {.until_ms = start_ms + 1000};
    assert_int_equal(ask_for(o, COMMAND_MACHINE_TAKE, &request, start_ms + 1), RESULT_TICKET_WAITS);
    assert_int_equal(request.position, 1);
    store_reopen(o);
    const struct ticket *ticket = world_ticket(&o->world, request.ticket_id);
    assert_non_null(ticket);
    assert_true(ticket->is_attached);
    assert_int_equal(ticket->values.until_ms, o->kind->is_shared ? start_ms + 1000 : 0);
    tick(o, start_ms + 2);
    assert_ticket(o, request.ticket_id, o->kind->is_shared ? TICKET_WAITING : TICKET_EXPIRED, 0, 0);
    tick(o, start_ms + 1000);
    assert_ticket(o, request.ticket_id, TICKET_EXPIRED, 0, 0);
}

static void a_new_machine_serves_who_waits(void **state)
{
    struct open_store *o = *state;
    int64_t first = take_ticket(o, start_ms + 1000, 1, start_ms);
    int64_t second = take_ticket(o, start_ms + 1000, 2, start_ms);
    store_reopen(o);
    int64_t machine_id = make_machine(o, "m", start_ms + 1);
    reopen_unchanged(o);
    assert_ticket(o, first, TICKET_SERVED, machine_id, 1);
    struct question question = {.kind = QUESTION_TICKET, .id = first};
    store_ask_once(o, &question);
    assert_true(question.has_machine && question.machine.id == machine_id);
    assert_true(slice_eq(question.machine.name, SLICE("m")) && question.machine.lease_id == 1);
    question_fini(&question);
    assert_int_equal(reset(o, machine_id, true, start_ms + 2), RESULT_OK);
    store_ask_once(o, &question); /* the lease that it was served with has ended */
    assert_true(question.is_found && !question.has_machine && question.ticket.lease_id == 1);
    question_fini(&question);
    assert_ticket(o, second, TICKET_SERVED, machine_id, 2);
    assert_int_equal(store_number(o, "SELECT ticket_id FROM leases"), first);
    assert_int_equal(store_number(o, "SELECT ticket_id FROM machines"), second);
    assert_int_equal(delete_machine(o, machine_id, start_ms + 3), RESULT_OK);
    assert_ticket(o, second, TICKET_SERVED, machine_id, 2);
}

/* --- whole batches --- */

static void what_comes_and_goes_in_a_batch_is_written_as_it_ends(void **state)
{
    struct open_store *o = *state;
    int64_t ticket_id = 2;
    struct pool_request requests[8] = {{.until_ms = start_ms + 5}, {.until_ms = start_ms + 5},
        {.ticket_ids = &ticket_id, .ticket_count = 1}, {.name = SLICE("kept")}, {.name = SLICE("gone")},
        {.machine_id = 2}, {.machine_id = 1, .has_name = true, .name = SLICE("renamed")}, {.machine_id = 1}};
    static const enum command_kind kinds[8] = {COMMAND_TICKET_TAKE, COMMAND_TICKET_TAKE, COMMAND_TICKET_LEAVE,
        COMMAND_MACHINE_CREATE, COMMAND_MACHINE_CREATE, COMMAND_MACHINE_DELETE, COMMAND_MACHINE_UPDATE,
        COMMAND_MACHINE_RESET};
    struct command commands[8];
    for (int i = 0; i < 8; i++)
        commands[i] = (struct command){.kind = kinds[i], .pool = &requests[i]};
    run(o, commands, 8, start_ms);
    for (int i = 2; i < 8; i++)
        assert_int_equal(commands[i].outcome.result, RESULT_OK);
    reopen_unchanged(o);
    assert_ticket(o, 1, TICKET_SERVED, 1, 1);
    assert_ticket(o, 2, TICKET_LEFT, 0, 0);
    assert_int_equal(store_number(o, "SELECT count(*) FROM machines WHERE name = 'renamed' AND id = 1"), 1);
    assert_int_equal(store_number(o, "SELECT count(*) FROM machines"), 1);
    assert_int_equal(store_number(o, "SELECT count(*) FROM leases WHERE id = 1 AND outcome = 'reset'"), 1);
    assert_int_equal(make_machine(o, "next", start_ms + 1), 3);
    assert_int_equal(take_ticket(o, start_ms + 9, 0, start_ms + 2), 3); /* served at once */
}

static void a_batch_at_the_machines_that_was_rolled_back_leaves_nothing(void **state)
{
    struct open_store *o = *state;
    int64_t product_id = add_product(o, "TEA", "Tea", 10, start_ms);
    int64_t busy = make_machine(o, "busy", start_ms);
    int64_t idle = make_machine(o, "idle", start_ms);
    int64_t lease_id = take_machine(o, busy, start_ms + 1);
    char *before = pool_text(&o->world);
    struct choice choice;
    make_choice(&choice, busy, "TEA", product_id, 2);
    struct pool_request requests[] = {{.machine_id = idle}, {.name = SLICE("new")}, {.until_ms = 0},
        {.until_ms = start_ms + 9}, {.machine_id = busy, .has_name = true, .name = SLICE("other")}};
    struct command commands[] = {choice.command, {.kind = COMMAND_MACHINE_DELETE, .pool = &requests[0]},
        {.kind = COMMAND_MACHINE_CREATE, .pool = &requests[1]},
        {.kind = COMMAND_MACHINE_TAKE, .pool = &requests[2]},
        {.kind = COMMAND_TICKET_TAKE, .pool = &requests[3]},
        {.kind = COMMAND_MACHINE_UPDATE, .pool = &requests[4]}};
    store_decide(o, &rules, commands, 6, start_ms + 2);
    assert_int_equal(commands[2].outcome.result, RESULT_OK);
    assert_int_equal(commands[4].outcome.result, RESULT_TICKET_WAITS);
    world_rollback(&o->world);
    store_abandon(o->store);
    char *after = pool_text(&o->world);
    assert_string_equal(after, before);
    free(before);
    free(after);
    reopen_unchanged(o);
    assert_machine(o, busy, MACHINE_CHOOSING, lease_id, 0);
    assert_int_equal(store_number(o, "SELECT count(*) FROM purchases"), 0);
    assert_int_equal(store_number(o, "SELECT count(*) FROM tickets"), 0);
    assert_int_equal(take_machine(o, idle, start_ms + 3), lease_id + 1);
    assert_int_equal(make_machine(o, "new", start_ms + 3), idle + 1);
}

/* --- products --- */

static void a_new_product_is_on_sale_at_once(void **state)
{
    struct open_store *o = *state;
    struct pool_request request = {.units = 0};
    struct command command = addition(&request, "TEA", "It's \xE2\x82\xAC tea", 5);
    command.product.price_minor = 250;
    command.labels = (struct product_labels){.category = SLICE("it's hot"), .is_featured = true};
    run(o, &command, 1, start_ms);
    assert_int_equal(command.outcome.result, RESULT_OK);
    store_reopen(o);
    assert_int_equal(
        store_number(o, "SELECT count(*) FROM products WHERE category = 'it''s hot' AND is_featured"
                        " AND state = 'ACTIVE' AND stock = 5 AND initial_stock = 5"
                        " AND price_minor = 250 AND per_user_limit = 1"),
        1);
    struct question question = {.kind = QUESTION_PRODUCT, .id = request.product.id};
    store_ask_once(o, &question);
    assert_true(question.is_found && slice_eq(question.product.sku, SLICE("TEA")));
    assert_true(slice_eq(question.product.name, SLICE("It's \xE2\x82\xAC tea")));
    assert_true(question.product.stock == 5 && question.product.created_ms == start_ms);
    question_fini(&question);
    (void)add_product(o, "MILK", "Milk", 5, start_ms);
    assert_int_equal(
        store_number(
            o, "SELECT count(*) FROM products WHERE sku = 'MILK' AND category = '' AND NOT is_featured"),
        1);
}

static void a_name_is_given_once(void **state)
{
    struct open_store *o = *state;
    struct pool_request requests[4];
    struct command commands[] = {addition(&requests[0], "TEA", "Tea", 5),
        addition(&requests[1], "TEA-2", "Tea", 5), addition(&requests[2], "TEA", "Other", 5),
        addition(&requests[3], "MILK", "Milk", 0)};
    run(o, commands, 4, start_ms);
    static const enum result expected[] = {RESULT_OK, RESULT_PRODUCT_NAME_TAKEN, RESULT_SKU_TAKEN, RESULT_OK};
    for (int i = 0; i < 4; i++)
        assert_int_equal(commands[i].outcome.result, expected[i]);
    store_reopen(o);
    run(o, &commands[1], 1, start_ms);
    assert_int_equal(commands[1].outcome.result, RESULT_PRODUCT_NAME_TAKEN);
    struct command other = {.kind = COMMAND_PRODUCT_DELETE, .sku = SLICE("TEA"), .product_id = 1000000};
    run(o, &other, 1, start_ms);
    assert_int_equal(other.outcome.result, RESULT_PRODUCT_NOT_FOUND);
    other.product_id = requests[0].product.id;
    run(o, &other, 1, start_ms);
    assert_int_equal(other.outcome.result, RESULT_OK);
    run(o, &commands[1], 1, start_ms);
    assert_int_equal(commands[1].outcome.result, RESULT_OK);
    assert_int_equal(store_number(o, "SELECT count(*) FROM products WHERE product_name = 'Tea'"), 1);
    assert_int_equal(store_number(o, "SELECT count(*) FROM products WHERE end_reason = 'SOLD_OUT'"), 1);
}

static void set_stock(struct open_store *o, const char *sku, int64_t product_id, int64_t stock)
{
    struct pool_request request = {.units = 0};
    struct command command = {.kind = COMMAND_PRODUCT_SET_STOCK,
        .sku = slice_cstr(sku),
        .product_id = product_id,
        .product.initial_stock = stock,
        .pool = &request};
    run(o, &command, 1, start_ms + 10);
    assert_int_equal(command.outcome.result, RESULT_OK);
    assert_int_equal(request.product.stock, stock);
    store_reopen(o);
}

/* A thousand units are one choice; when the last is gone the sale is over, and new stock opens it again. */
static void a_choice_of_many_units_is_whole(void **state)
{
    struct open_store *o = *state;
    int64_t product_id = add_product(o, "TEA", "Tea", MACHINE_UNITS_MAX + 1, start_ms);
    int64_t first = make_machine(o, "1", start_ms);
    int64_t second = make_machine(o, "2", start_ms);
    (void)take_machine(o, first, start_ms);
    (void)take_machine(o, second, start_ms);
    assert_int_equal(choose(o, first, "TEA", product_id, MACHINE_UNITS_MAX, start_ms + 1).result, RESULT_OK);
    struct outcome refused = choose(o, second, "TEA", product_id, 2, start_ms + 1);
    assert_int_equal(refused.result, RESULT_STOCK_INSUFFICIENT);
    assert_int_equal(refused.number, 1);
    assert_machine(o, second, MACHINE_CHOOSING, 2, 0);
    assert_int_equal(choose(o, second, "TEA", product_id, 1, start_ms + 2).result, RESULT_OK);
    assert_int_equal(store_number(o, "SELECT max(nth) FROM purchases WHERE user_id = ' machine 1'"), 1000);
    assert_int_equal(store_number(o, "SELECT max(purchases.id) - purchase_id FROM purchases JOIN machines"
                                     " ON machines.id = 1 WHERE user_id = ' machine 1' GROUP BY purchase_id"),
        999);
    assert_int_equal(store_number(o, "SELECT count(*) FROM products WHERE end_reason = 'SOLD_OUT'"), 1);
    set_stock(o, "TEA", product_id, 5);
    assert_int_equal(store_number(o, "SELECT initial_stock FROM products WHERE state = 'ACTIVE'"), 1006);
    assert_int_equal(reset(o, first, false, start_ms + 20), RESULT_OK);
    (void)take_machine(o, first, start_ms + 21);
    assert_int_equal(choose(o, first, "TEA", product_id, 5, start_ms + 22).result, RESULT_OK);
    assert_int_equal(store_number(o, "SELECT max(nth) FROM purchases WHERE user_id = ' machine 1'"), 1005);
    assert_int_equal(store_number(o, "SELECT stock FROM products"), 0);
}

static void a_choice_of_what_nobody_knows_is_told_so(void **state)
{
    struct open_store *o = *state;
    int64_t product_id = add_product(o, "TEA", "Tea", 5, start_ms);
    int64_t machine_id = make_machine(o, "m", start_ms);
    struct choice choices[4];
    struct command commands[4];
    make_choice(&choices[0], machine_id, "", 0, 1);
    make_choice(&choices[1], 77, "TEA", product_id, 1);
    make_choice(&choices[2], 77, "NONE", product_id + 1, 1);
    make_choice(&choices[3], machine_id, "TEA", product_id, 1);
    for (int i = 0; i < 4; i++)
        commands[i] = choices[i].command;
    run(o, commands, 4, start_ms);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(commands[i].outcome.result, RESULT_CHOICE_UNKNOWN);
        assert_int_equal(choices[i].request.is_machine_unknown, i > 0);
        assert_int_equal(choices[i].request.is_product_unknown, i != 1);
    }
    assert_int_equal(commands[3].outcome.result, RESULT_NOT_CHOOSING);
}

/* Whatever else is in the batch: a purchase by somebody, a machine's, and stock for both. */
static void machines_and_people_buy_of_one_stock(void **state)
{
    struct open_store *o = *state;
    int64_t product_id = add_product(o, "TEA", "Tea", 2, start_ms);
    int64_t machine_id = make_machine(o, "m", start_ms);
    (void)take_machine(o, machine_id, start_ms);
    struct choice choice;
    make_choice(&choice, machine_id, "TEA", product_id, 1);
    struct command commands[] = {{.kind = COMMAND_PURCHASE, .sku = SLICE("TEA"), .user = SLICE("ann")},
        choice.command, {.kind = COMMAND_PURCHASE, .sku = SLICE("TEA"), .user = SLICE("ben")},
        {.kind = COMMAND_PURCHASE, .sku = SLICE("TEA"), .user = SLICE("ann")}};
    run(o, commands, 4, start_ms + 1);
    assert_int_equal(commands[0].outcome.result, RESULT_OK);
    assert_int_equal(commands[1].outcome.result, RESULT_OK);
    assert_int_equal(commands[2].outcome.result, RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(store_number(o, "SELECT stock FROM products"), 0);
    assert_int_equal(store_number(o, "SELECT count(*) FROM purchases"), 2);
    reopen_unchanged(o);
    assert_int_equal(store_number(o, "SELECT count(*) FROM work WHERE kind = 'sale-closeout'"), 1);
}

/* --- questions --- */

static void lists_come_in_pages_by_id(void **state)
{
    struct open_store *o = *state;
    for (int i = 1; i <= 5; i++) {
        char name[16];
        char sku[16];
        (void)snprintf(name, sizeof name, "m-%d", i);
        (void)snprintf(sku, sizeof sku, "P-%d", 6 - i);
        assert_int_equal(make_machine(o, name, start_ms), i);
        (void)add_product(o, sku, name, i, start_ms);
    }
    assert_int_equal(delete_machine(o, 3, start_ms), RESULT_OK);
    static const int64_t expected[][3] = {{1, 2, 0}, {4, 5, 0}, {0, 0, 0}};
    struct question machines = {.kind = QUESTION_MACHINES, .limit = 2};
    for (int page = 0; page < 3; page++) {
        store_ask_once(o, &machines);
        assert_int_equal(machines.count, page < 2 ? 2 : 0);
        for (size_t i = 0; i < machines.count; i++) {
            assert_int_equal(machines.machines[i].id, expected[page][i]);
            assert_int_equal(machines.machines[i].name.base[2] - '0', expected[page][i]);
            machines.id = machines.machines[i].id;
        }
        question_fini(&machines);
    }
    struct question products = {.kind = QUESTION_PRODUCTS, .limit = QUESTION_ROWS_MAX};
    store_ask_once(o, &products);
    assert_int_equal(products.count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(products.products[i].stock, i + 1);
        assert_int_equal(products.products[i].sku.base[2] - '0', 5 - i);
        assert_true(i == 0 || products.products[i].id > products.products[i - 1].id);
    }
    question_fini(&products);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct open_store *o = *state;
    static const enum question_kind kinds[] = {QUESTION_MACHINE, QUESTION_PRODUCT, QUESTION_TICKET};
    static const int64_t ids[] = {INT64_MIN, -1, 0, 2, INT64_MAX};
    (void)make_machine(o, "m", start_ms);
    (void)add_product(o, "TEA", "Tea", 1, start_ms);
    (void)take_ticket(o, start_ms + 1, 0, start_ms);
    for (int kind = 0; kind < 3; kind++) {
        for (int i = 0; i < 5; i++) {
            struct question question = {.kind = kinds[kind], .id = ids[i], .is_found = true};
            store_ask_once(o, &question);
            assert_false(question.is_found);
            question_fini(&question);
        }
    }
    struct pool_request request = {.machine_id = 2, .lease_id = 7};
    assert_int_equal(ask_for(o, COMMAND_MACHINE_RESET, &request, start_ms), RESULT_MACHINE_NOT_FOUND);
}

/* --- --- */

int main(int argc, char **argv)
{
    static const struct behaviour behaviours[] = {
        BEHAVIOUR(a_machine_comes_back_as_it_went_in),
        BEHAVIOUR(a_lease_is_followed_all_the_way),
        BEHAVIOUR(every_way_in_which_a_lease_ends_is_written),
        BEHAVIOUR(a_machine_is_renamed_and_drained),
        BEHAVIOUR(values_at_the_edges_are_kept),
        BEHAVIOUR(who_waits_comes_back_in_order),
        BEHAVIOUR(an_attached_ticket_stands_with_its_connection),
        BEHAVIOUR(a_new_machine_serves_who_waits),
        BEHAVIOUR(what_comes_and_goes_in_a_batch_is_written_as_it_ends),
        BEHAVIOUR(a_batch_at_the_machines_that_was_rolled_back_leaves_nothing),
        BEHAVIOUR(a_new_product_is_on_sale_at_once),
        BEHAVIOUR(a_name_is_given_once),
        BEHAVIOUR(a_choice_of_many_units_is_whole),
        BEHAVIOUR(a_choice_of_what_nobody_knows_is_told_so),
        BEHAVIOUR(machines_and_people_buy_of_one_stock),
        BEHAVIOUR(lists_come_in_pages_by_id),
        BEHAVIOUR(what_is_not_there_is_not_found),
    };
    return kinds_run(
        "machines in stores", argc > 1 ? argv[1] : "", behaviours, sizeof behaviours / sizeof behaviours[0]);
}
