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

#include "core/account.h"
#include "core/machine.h"
#include "core/wallet.h"
#include "core/world_pool.h"
#include "failing_memory.h"
#include "postgres_nodes.h"

/* --- a batch of everything --- */

enum {
    COMMANDS = 40,
    AT_MACHINES = 7,
    WITH_WALLETS = 5,
    PURCHASES = COMMANDS - AT_MACHINES - WITH_WALLETS - 1,
    KEYS = COMMANDS / 4 - 3,
    PRICE = 5,
    OPENING = 100000,
};

struct wishes {
    struct command commands[COMMANDS];
    struct pool_request requests[COMMANDS];
    struct account_request accounts[COMMANDS];
    struct wallet_request wallets[COMMANDS];
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

/* Nobody else has this number. */
static void make_registration(struct wishes *wishes, int i, struct slice text, int number)
{
    unsigned char *key = wishes->wallets[i].key;
    memset(key, 0, WALLET_KEY_BYTES);
    memcpy(key, &number, sizeof number);
    wishes->accounts[i] = (struct account_request){.username = text,
        .email = text,
        .username_key = text,
        .email_key = text,
        .public_key = key,
        .opening_minor = number == 0 ? OPENING : 1};
    wishes->commands[i] = (struct command){.kind = COMMAND_ACCOUNT_REGISTER, .account = &wishes->accounts[i]};
}

/* A new wallet; and the one that all rounds share, of number 0, gets coins by a reference that it knows and
 * by a new one, hands one on and buys something. */
static void make_wish_with_wallets(struct wishes *wishes, int i, struct slice text, int round)
{
    static const enum command_kind kinds[WITH_WALLETS] = {COMMAND_ACCOUNT_REGISTER, COMMAND_WALLET_CREDIT,
        COMMAND_WALLET_CREDIT, COMMAND_WALLET_TRANSFER, COMMAND_WALLET_SPEND};
    static const int64_t amounts[WITH_WALLETS] = {0, 7, 2, 1, PRICE};
    int at = i - 29;
    if (at < 0 || at >= WITH_WALLETS)
        return;
    if (at == 0) {
        make_registration(wishes, i, text, round);
        return;
    }
    struct wallet_request *request = &wishes->wallets[i];
    *request =
        (struct wallet_request){.amount_minor = amounts[at], .nonce = at == 1 ? SLICE("the same") : text};
    memcpy(request->to, &round, sizeof round);
    wishes->commands[i] = (struct command){.kind = kinds[at],
        .sku = kinds[at] == COMMAND_WALLET_SPEND ? SLICE("T") : SLICE(""),
        .user = text,
        .wallet = request};
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
        make_wish_with_wallets(wishes, i, text, round);
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

/* *has_failed: memory was asked for so often. */
static enum err run_batch(struct node *node, int round, int failing_call, bool *has_failed)
{
    struct wishes *wishes = malloc(sizeof *wishes);
    struct error error = {.message = ""};
    assert_non_null(wishes);
    make_wishes(wishes, round);
    world_begin(&node->world);
    fail_call(failing_call);
    enum err err = decide(node, wishes, &error);
    *has_failed = stop_failing();
    if (err == ERR_NONE)
        world_accept(&node->world);
    else
        world_rollback(&node->world);
    world_accept_refreshed(&node->world);
    free(wishes);
    return err;
}

#define COUNT_BOUGHT \
    "SELECT count(*) FROM purchases JOIN products ON products.id = product_id WHERE sku = 'A'"

static void check_wallets(const struct database *database, int rounds)
{
    assert_int_equal(database_number(database, "SELECT count(*) FROM wallets"), 1 + rounds);
    assert_int_equal(database_number(database, "SELECT count(*) FROM transfers"), 2 + 4 * rounds);
    assert_int_equal(database_number(database, "SELECT max(balance_minor) FROM wallets"),
        OPENING + 7 + (2 - 1 - PRICE) * rounds);
    assert_int_equal(
        database_number(database, "SELECT initial_stock - stock FROM products WHERE sku = 'T'"), rounds);
    assert_int_equal(
        database_number(database, "SELECT count(*) FROM wallets WHERE balance_minor = 2"), rounds);
}

/* What all rounds share. */
static void open_shop(struct node *node)
{
    struct wishes *wishes = malloc(sizeof *wishes);
    struct pool_request request = {.units = 0};
    struct error error = {.message = ""};
    assert_non_null(wishes);
    make_registration(wishes, 0, SLICE("number 0"), 0);
    wishes->commands[1] = (struct command){.kind = COMMAND_PRODUCT_ADD,
        .sku = SLICE("T"),
        .product = {.name = SLICE("T"), .initial_stock = 100000, .price_minor = PRICE},
        .labels = {.category = SLICE("c"), .is_featured = true},
        .pool = &request};
    if (node_decide(node, &test_rules, wishes->commands, 2, 5000, NULL, &error) != ERR_NONE)
        fail_msg("cannot open: %s", error.message);
    batch_add(&node->batch, "A", 100000);
    node_commit(node);
    free(wishes);
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
    open_shop(&node);
    node_close(&node);
    do {
        bool has_failed;
        rounds++;
        node_open(&node, database.url);
        enum err err = run_batch(&node, rounds, rounds, &has_failed);
        bool was_last = !has_failed;
        refused += err == ERR_MEMORY;
        if (err != ERR_MEMORY && err != ERR_NONE) /* it may do without what it did not get */
            fail_msg("without allocation %d it is answered %s", rounds, err_name(err));
        int64_t written = err == ERR_NONE ? PURCHASES : 0;
        assert_int_equal(database_number(&database, COUNT_BOUGHT), bought + written);
        if (err == ERR_MEMORY)
            assert_int_equal(run_batch(&node, rounds, 0, &has_failed), ERR_NONE); /* the same again */
        node_close(&node);
        bought += PURCHASES;
        assert_int_equal(database_number(&database, COUNT_BOUGHT), bought);
        assert_int_equal(
            database_number(&database, "SELECT stock FROM products WHERE sku = 'A'"), 100000 - bought);
        assert_int_equal(database_number(&database, "SELECT count(*) FROM products"), 2 + 2 * rounds);
        assert_int_equal(database_number(&database, "SELECT count(*) FROM idempotency_keys"), rounds * KEYS);
        assert_int_equal(database_number(&database, "SELECT count(*) FROM machines"), rounds - (rounds > 1));
        assert_int_equal(database_number(&database, "SELECT count(*) FROM tickets"), 2 * rounds);
        check_wallets(&database, rounds);
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

static enum err look_at_machines(struct node *node, int failing_call, bool *has_failed)
{
    struct pool_request nothing = {.ticket_count = 0};
    const struct command command = {.kind = COMMAND_TICKET_LEAVE, .pool = &nothing};
    const struct command *const commands[] = {&command};
    struct error error = {.message = ""};
    world_begin(&node->world);
    fail_call(failing_call);
    enum err err = store_load(node->store, &node->world, commands, 1, &error);
    *has_failed = stop_failing();
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
        bool has_failed;
        round++;
        if (is_first)
            open_blank(&node, database->url);
        else
            node_open(&node, database->url);
        make_changes(other, 2 * round - 1);
        enum err err = look_at_machines(&node, round, &has_failed);
        was_last = !has_failed;
        assert_true(err == ERR_MEMORY || err == ERR_NONE);
        make_changes(other, 2 * round);
        assert_int_equal(look_at_machines(&node, 0, &has_failed), ERR_NONE);
        assert_same_pool(&node, other);
        assert_true(node_product(&node, "T")->labels.is_featured); /* they come with the product or never */
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
        open_shop(&other);
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
