/* SPDX-License-Identifier: Apache-2.0 */
#include "pool_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { UNKNOWN_ID = 987654321 };

void pool_kit_init(struct pool_kit *kit, struct world *world)
{
    *kit = (struct pool_kit){
        .world = world,
        .now_ms = 1000,
        .rules = {.idempotency_ttl_ms = 1000,
            .idempotency_count_max = SIZE_MAX,
            .dispense_ms = 5000,
            .choose_timeout_ms = 60000,
            .line_max = 100},
    };
}

static enum result decide(struct pool_kit *kit, struct command *command)
{
    size_t changes = kit->world->change_count;
    command->pool = &kit->request;
    assert_true(rules_decide(&kit->rules, kit->world, command, kit->now_ms));
    kit->outcome = command->outcome;
    enum result result = kit->outcome.result;
    if (result != RESULT_OK && result != RESULT_TICKET_WAITS)
        assert_int_equal(kit->world->change_count, changes);
    world_check_pool(kit->world);
    world_check_next_edge(kit->world);
    return result;
}

static enum result ask(struct pool_kit *kit, enum command_kind kind, struct pool_request request)
{
    struct command command = {.kind = kind};
    kit->request = request;
    return decide(kit, &command);
}

int64_t ask_machine(struct pool_kit *kit, const char *name)
{
    struct pool_request request = {.name = slice_cstr(name)};
    assert_int_equal(ask(kit, COMMAND_MACHINE_CREATE, request), RESULT_OK);
    return kit->request.machine.id;
}

enum result ask_rename(struct pool_kit *kit, int64_t machine_id, const char *name)
{
    struct pool_request request = {.machine_id = machine_id, .has_name = true, .name = slice_cstr(name)};
    return ask(kit, COMMAND_MACHINE_UPDATE, request);
}

enum result ask_drain(struct pool_kit *kit, int64_t machine_id, bool is_draining)
{
    struct pool_request request = {
        .machine_id = machine_id, .has_draining = true, .is_draining = is_draining};
    return ask(kit, COMMAND_MACHINE_UPDATE, request);
}

enum result ask_delete(struct pool_kit *kit, int64_t machine_id)
{
    return ask(kit, COMMAND_MACHINE_DELETE, (struct pool_request){.machine_id = machine_id});
}

enum result ask_reset(struct pool_kit *kit, int64_t machine_id, int64_t lease_id)
{
    struct pool_request request = {.machine_id = machine_id, .lease_id = lease_id};
    return ask(kit, COMMAND_MACHINE_RESET, request);
}

enum result ask_take(struct pool_kit *kit)
{
    return ask(kit, COMMAND_MACHINE_TAKE, (struct pool_request){0});
}

enum result ask_take_or_wait(struct pool_kit *kit, int64_t until_ms)
{
    return ask(kit, COMMAND_MACHINE_TAKE, (struct pool_request){.until_ms = until_ms});
}

enum result ask_choose(struct pool_kit *kit, int64_t machine_id, const char *sku, int64_t units)
{
    return ask_choose_by(kit, machine_id, 0, sku, units, units);
}

enum result ask_choose_by(
    struct pool_kit *kit, int64_t machine_id, int64_t lease_id, const char *sku, int64_t units, int64_t coins)
{
    char user[MACHINE_USER_LEN_MAX];
    const struct product *product = world_product(kit->world, slice_cstr(sku));
    struct command command = {
        .kind = COMMAND_MACHINE_CHOOSE,
        .sku = product == NULL ? SLICE("") : slice_cstr(sku),
        .product_id = product == NULL ? UNKNOWN_ID : product->id,
        .user = machine_user(machine_id, user),
    };
    kit->request =
        (struct pool_request){.machine_id = machine_id, .lease_id = lease_id, .units = units, .coins = coins};
    return decide(kit, &command);
}

enum result ask_ticket(struct pool_kit *kit, int64_t until_ms)
{
    return ask(kit, COMMAND_TICKET_TAKE, (struct pool_request){.until_ms = until_ms});
}

enum result ask_keep(struct pool_kit *kit, int64_t ticket_id, int64_t until_ms)
{
    struct pool_request request = {.ticket_ids = &ticket_id, .ticket_count = 1, .until_ms = until_ms};
    enum result result = ask(kit, COMMAND_TICKET_KEEP, request);
    kit->request.ticket_ids = NULL;
    return result;
}

enum result ask_leave(struct pool_kit *kit, int64_t ticket_id)
{
    struct pool_request request = {.ticket_ids = &ticket_id, .ticket_count = 1};
    enum result result = ask(kit, COMMAND_TICKET_LEAVE, request);
    kit->request.ticket_ids = NULL;
    return result;
}

enum result ask_product(struct pool_kit *kit, const char *sku, const char *name, int64_t stock)
{
    struct command command = {.kind = COMMAND_PRODUCT_ADD,
        .sku = slice_cstr(sku),
        .product = {.name = slice_cstr(name), .initial_stock = stock}};
    kit->request = (struct pool_request){0};
    return decide(kit, &command);
}

enum result ask_stock(struct pool_kit *kit, const char *sku, int64_t stock)
{
    struct command command = {
        .kind = COMMAND_PRODUCT_SET_STOCK, .sku = slice_cstr(sku), .product = {.initial_stock = stock}};
    kit->request = (struct pool_request){0};
    return decide(kit, &command);
}

void pool_tick(struct pool_kit *kit, int64_t now_ms)
{
    bool is_due = rules_next_tick_ms(&kit->rules, kit->world) <= now_ms;
    size_t changes = kit->world->change_count;
    kit->now_ms = now_ms;
    assert_true(rules_tick(&kit->rules, kit->world, now_ms));
    assert_true(is_due || kit->world->change_count == changes);
    world_check_pool(kit->world);
}

const struct machine_values *machine_now(const struct pool_kit *kit, int64_t machine_id)
{
    const struct machine *machine = world_machine(kit->world, machine_id);
    assert_non_null(machine);
    return &machine->values;
}
