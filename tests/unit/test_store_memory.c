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

enum { COMMANDS = 40 };

struct wishes {
    struct command commands[COMMANDS];
    const struct command *pointers[COMMANDS];
    char texts[COMMANDS][16];
};

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
        int64_t written = err == ERR_NONE ? COMMANDS - 1 : 0;
        assert_int_equal(database_number(&database, "SELECT count(*) FROM purchases"), bought + written);
        if (err == ERR_MEMORY)
            assert_int_equal(run_batch(&node, rounds, 0), ERR_NONE); /* the same again */
        node_close(&node);
        bought += COMMANDS - 1;
        assert_int_equal(database_number(&database, "SELECT count(*) FROM purchases"), bought);
        assert_int_equal(
            database_number(&database, "SELECT stock FROM products WHERE sku = 'A'"), 100000 - bought);
        assert_int_equal(database_number(&database, "SELECT count(*) FROM products"), 1 + rounds);
        assert_int_equal(
            database_number(&database, "SELECT count(*) FROM idempotency_keys"), rounds * COMMANDS / 4);
        if (was_last)
            break;
    } while (rounds < 2000);
    assert_true(refused > 20); /* else nothing was tried */
    assert_true(rounds < 2000);
    database_drop(&database);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_without_memory_is_refused_or_there_whole),
    };
    if (!postgres_is_there())
        return postgres_skip_all("PostgreSQL store without memory");
    return cmocka_run_group_tests_name("PostgreSQL store without memory", tests, NULL, NULL);
}
