/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PostgreSQL store that runs out of memory: a load, a decision and a commit are tried with each of their
 * allocations failing once. The batch is then refused, or there as a whole, and the next one goes through. It
 * is linked so that its own calls of malloc can fail; those of libpq do not. Needs a PostgreSQL server
 * (postgres_fixture.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/machine.h"
#include "core/world_pool.h"
#include "postgres_nodes.h"

/* --- memory that fails on request --- */

static int calls_left = -1; /* -1: no failure is asked for */
static bool has_failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static bool fails_now(void)
{
    if (calls_left < 0 || calls_left-- > 0)
        return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails_now() ? NULL : __real_realloc(block, size);
}

/* --- a batch of everything --- */

enum { COMMANDS = 40, AT_MACHINES = 7, PURCHASES = COMMANDS - AT_MACHINES - 1, KEYS = COMMANDS / 4 - 2 };

struct wishes {
    struct command commands[COMMANDS];
    struct pool_request requests[COMMANDS];
    const struct command *pointers[COMMANDS];
    char texts[COMMANDS][16];
};

/* A new machine and a place in the line that it ends; another that comes and goes; and a product. */
static void make_wish_at_machines(struct wishes *wishes, int i, struct slice text)
{
    static const enum command_kind kinds[AT_MACHINES] = {COMMAND_TICKET_TAKE, COMMAND_TICKET_TAKE,
        COMMAND_MACHINE_CREATE, COMMAND_MACHINE_UPDATE, COMMAND_PRODUCT_ADD, COMMAND_MACHINE_RESET,
        COMMAND_MACHINE_DELETE};
    int at = i - 20;
    if (at < 0 || at >= AT_MACHINES)
        return;
    wishes->requests[i] = (struct pool_request){
        .name = text, .has_name = true, .machine_id = at == 3 ? 1 : 2, .until_ms = 100000};
    wishes->commands[i] = (struct command){.kind = kinds[at],
        .sku = at == 4 ? text : SLICE(""),
        .product = {.name = text, .initial_stock = 1},
        .labels = {.category = SLICE("c")},
        .pool = &wishes->requests[i]};
}

static void make_wishes(struct wishes *wishes, int round)
{
    for (int i = 0; i < COMMANDS; i++) {
        struct command *command = &wishes->commands[i];
        (void)snprintf(wishes->texts[i], sizeof wishes->texts[i], "r%d-%d", round, i);
        struct slice text = slice_cstr(wishes->texts[i]);
        *command = (struct command){.kind = COMMAND_PURCHASE, .sku = SLICE("A"), .user = text};
        if (i % 4 == 0)
            command->idempotency = (struct idempotency){.key = text, .scope = text};
        if (i == 10) {
            command->kind = COMMAND_PRODUCT_CREATE;
            command->sku = text;
            command->product = (struct product_fields){
                .present = FIELDS_ALL_REQUIRED, .name = text, .initial_stock = 5, .start_ms = 1, .end_ms = 2};
        }
        make_wish_at_machines(wishes, i, text);
        wishes->pointers[i] = command;
    }
}

/* What the engine does with a batch; ERR_MEMORY from wherever it came. */
static enum err decide(struct node *node, struct wishes *wishes, struct error *error)
{
    enum err err = store_load(node->store, &node->world, wishes->pointers, COMMANDS, error);
    if (err != ERR_NONE)
        return err;
    for (int i = 0; i < COMMANDS && err == ERR_NONE; i++) {
        if (!rules_decide(&test_rules, &node->world, &wishes->commands[i], 5000))
            err = ERR_MEMORY;
    }
    if (err != ERR_NONE)
        store_abandon(node->store);
    else
        err = store_commit(node->store, &node->world, error);
    return err;
}

static enum err run_batch(struct node *node, int round, int failing_call)
{
    struct wishes *wishes = malloc(sizeof *wishes);
    struct error error = {.message = ""};
    assert_non_null(wishes);
    make_wishes(wishes, round);
    world_begin(&node->world);
    has_failed = false;
    calls_left = failing_call - 1;
    enum err err = decide(node, wishes, &error);
    calls_left = -1;
    if (err == ERR_NONE)
        world_accept(&node->world);
    else
        world_rollback(&node->world);
    world_accept_refreshed(&node->world);
    free(wishes);
    return err;
}

/* Each time with a new store, which has taken nothing yet that it could use again. */
static void a_batch_without_memory_is_refused_or_there_whole(void **state)
{
    struct database database;
    struct node node;
    int rounds = 0;
    int refused = 0;
    int64_t bought = 0;
    (void)state;
    database_make(&database, true);
    node_open(&node, database.url);
    batch_add(&node.batch, "A", 100000);
    node_commit(&node);
    node_close(&node);
    do {
        rounds++;
        node_open(&node, database.url);
        enum err err = run_batch(&node, rounds, rounds);
        bool was_last = !has_failed;
        refused += err == ERR_MEMORY;
        if (err != ERR_MEMORY && err != ERR_NONE) /* it may do without what it did not get */
            fail_msg("without allocation %d it is answered %s", rounds, err_name(err));
        int64_t written = err == ERR_NONE ? PURCHASES : 0;
        assert_int_equal(database_number(&database, "SELECT count(*) FROM purchases"), bought + written);
        if (err == ERR_MEMORY)
            assert_int_equal(run_batch(&node, rounds, 0), ERR_NONE); /* the same again */
        node_close(&node);
        bought += PURCHASES;
        assert_int_equal(database_number(&database, "SELECT count(*) FROM purchases"), bought);
        assert_int_equal(
            database_number(&database, "SELECT stock FROM products WHERE sku = 'A'"), 100000 - bought);
        assert_int_equal(database_number(&database, "SELECT count(*) FROM products"), 1 + 2 * rounds);
        assert_int_equal(database_number(&database, "SELECT count(*) FROM idempotency_keys"), rounds * KEYS);
        assert_int_equal(database_number(&database, "SELECT count(*) FROM machines"), rounds - (rounds > 1));
        assert_int_equal(database_number(&database, "SELECT count(*) FROM tickets"), 2 * rounds);
        if (was_last)
            break;
    } while (rounds < 2000);
    assert_true(refused > 20); /* else nothing was tried */
    assert_true(rounds < 2000);
    database_drop(&database);
}

/* --- a copy of the machines --- */

/* Two machines and three tickets come, as many go: the pool stays as large as it is. */
static void make_changes(struct node *node, int round)
{
    char name[32];
    int64_t machine_id = node->world.pool.values.next_machine_id;
    int64_t ticket_id = node->world.pool.values.next_ticket_id - 1;
    (void)snprintf(name, sizeof name, "machine of round %d", round);
    struct pool_request requests[] = {{.name = slice_cstr(name)}, {.name = slice_cstr(name)},
        {.machine_id = machine_id - 1, .has_name = true, .name = slice_cstr(name)},
        {.machine_id = machine_id - 2}, {.machine_id = machine_id - 3}, {.until_ms = 100000},
        {.until_ms = 100000}, {.until_ms = 100000}, {.ticket_ids = &ticket_id, .ticket_count = 1}};
    static const enum command_kind kinds[] = {COMMAND_MACHINE_CREATE, COMMAND_MACHINE_CREATE,
        COMMAND_MACHINE_UPDATE, COMMAND_MACHINE_DELETE, COMMAND_MACHINE_DELETE, COMMAND_TICKET_TAKE,
        COMMAND_TICKET_TAKE, COMMAND_TICKET_TAKE, COMMAND_TICKET_LEAVE};
    struct command commands[9];
    struct error error = {.message = ""};
    for (int i = 0; i < 9; i++)
        commands[i] = (struct command){.kind = kinds[i], .pool = &requests[i]};
    if (node_decide(node, &test_rules, commands, 9, 5000, NULL, &error) != ERR_NONE)
        fail_msg("cannot change machines: %s", error.message);
}

static enum err look_at_machines(struct node *node, int failing_call)
{
    struct pool_request nothing = {.ticket_count = 0};
    const struct command command = {.kind = COMMAND_TICKET_LEAVE, .pool = &nothing};
    const struct command *const commands[] = {&command};
    struct error error = {.message = ""};
    world_begin(&node->world);
    has_failed = false;
    calls_left = failing_call - 1;
    enum err err = store_load(node->store, &node->world, commands, 1, &error);
    calls_left = -1;
    if (err != ERR_NONE && err != ERR_MEMORY)
        fail_msg("without allocation %d a load is answered %s", failing_call, error.message);
    store_abandon(node->store);
    world_accept_refreshed(&node->world);
    return err;
}

static void assert_same_pool(const struct node *node, const struct node *expected)
{
    const struct pool *ours = &node->world.pool;
    const struct pool *theirs = &expected->world.pool;
    assert_memory_equal(&ours->values, &theirs->values, sizeof ours->values);
    assert_int_equal(ours->machines_by_id.count, theirs->machines_by_id.count);
    LIST_FOR_EACH (at, &theirs->machines) {
        const struct machine *their = CONTAINER_OF(at, struct machine, node);
        const struct machine *our = world_machine(&node->world, their->id);
        assert_non_null(our);
        assert_true(slice_eq(our->name, their->name));
        assert_int_equal(our->values.lease.id, their->values.lease.id);
    }
    const struct list *mine = ours->waiting.next;
    LIST_FOR_EACH (at, &theirs->waiting) {
        assert_ptr_not_equal(mine, &ours->waiting);
        assert_int_equal(
            CONTAINER_OF(mine, struct ticket, node)->id, CONTAINER_OF(at, struct ticket, node)->id);
        mine = mine->next;
    }
    assert_ptr_equal(mine, &ours->waiting);
}

/* A store that has loaded nothing yet. */
static void open_blank(struct node *node, const char *url)
{
    struct error error = {.message = ""};
    if (postgres_store_open(url, &node->store, &error) != ERR_NONE)
        fail_msg("cannot open the store: %s", error.message);
    test_world_init(&node->world);
    world_share(&node->world);
    batch_init(&node->batch);
}

/* The first copy, or what has changed since; it breaks off, others go on, and then it is made whole. */
static int break_off(const struct database *database, struct node *other, bool is_first)
{
    int round = 0;
    bool was_last;
    do {
        struct node node;
        round++;
        if (is_first)
            open_blank(&node, database->url);
        else
            node_open(&node, database->url);
        make_changes(other, 2 * round - 1);
        enum err err = look_at_machines(&node, round);
        was_last = !has_failed;
        assert_true(err == ERR_MEMORY || err == ERR_NONE);
        make_changes(other, 2 * round);
        assert_int_equal(look_at_machines(&node, 0), ERR_NONE);
        assert_same_pool(&node, other);
        world_accept_ended_tickets(&node.world);
        node_close(&node);
    } while (!was_last && round < 2000);
    return round;
}

static void a_copy_of_machines_that_broke_off_is_made_whole(void **state)
{
    struct database database;
    struct node other;
    (void)state;
    for (int is_first = 0; is_first < 2; is_first++) {
        database_make(&database, true);
        node_open(&other, database.url);
        int rounds = break_off(&database, &other, is_first != 0);
        assert_in_range(rounds, 5, 1999); /* else nothing was tried, or it never ends */
        node_close(&other);
        database_drop(&database);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_without_memory_is_refused_or_there_whole),
        cmocka_unit_test(a_copy_of_machines_that_broke_off_is_made_whole),
    };
    if (!postgres_is_there())
        return postgres_skip_all("PostgreSQL store without memory");
    return cmocka_run_group_tests_name("PostgreSQL store without memory", tests, NULL, NULL);
}
