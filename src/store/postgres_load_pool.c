/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines and tickets into the world, which keeps a copy of all of them between batches: only what has
 * changed since its version comes. Rows may be newer than the version that was read before them, when they
 * are read without the lock; they come again the next time, which does no harm. Tickets are read before
 * machines and taken after them: else one would be told as served whose machine is not known to be, and its
 * user as one who has none.
 *
 * A copy that was brought in halfway keeps its old version. A transaction of ours whose outcome is not known
 * has either raised the version, so that what it wrote comes as if another node had written it, or has not.
 *
 * A name that a product is given once is looked for under the lock of the pool: whoever gives one holds it.
 */
#include "store/postgres_load.h"

#include "base/ensure.h"
#include "core/world_pool.h"

/* --- sending --- */

static enum err send_since(struct loader *loader, enum postgres_statement statement)
{
    char memory[8];
    link_param(&loader->store->link, postgres_i64(memory, loader->pool_known));
    return loader_send(loader, statement);
}

enum err loader_send_pool(struct loader *loader, enum postgres_statement look)
{
    const struct pool *pool = &loader->world->pool;
    loader->pool_known = pool->refresh_number == 0 ? -1 : pool->values.version;
    enum err err = loader_send(loader, look);
    if (err == ERR_NONE)
        err = loader->pool_known < 0 ? loader_send(loader, STATEMENT_READ_LINE)
                                     : send_since(loader, STATEMENT_READ_TICKETS);
    return err == ERR_NONE ? send_since(loader, STATEMENT_READ_MACHINES) : err;
}

/* Those that the world believes to have the names come too: one of them may have been renamed or removed. */
enum err loader_send_names(struct loader *loader)
{
    struct column *names = &loader->store->columns[0];
    struct column *skus = &loader->store->columns[1];
    column_start(names, POSTGRES_TEXT);
    column_start(skus, POSTGRES_TEXT);
    for (size_t i = 0; i < loader->entry_count; i++) {
        const struct command *command = loader->store->entries[i].command;
        if (command->kind != COMMAND_PRODUCT_ADD)
            continue;
        const struct product *product = world_product_by_name(loader->world, command->product.name);
        column_put_text(names, command->product.name);
        if (product != NULL)
            column_put_text(skus, product->sku);
    }
    return loader_send_columns(loader, 2, STATEMENT_FIND_NAMES);
}

/* --- receiving --- */

static enum err not_ours(struct loader *loader, const char *what, int64_t id)
{
    return error_set(loader->error, ERR_CORRUPT,
        "%s %lld holds what doorbuster never writes; run doorbuster verify and restore a backup", what,
        (long long)id);
}

/* While others hold it, it does not come to who looks for what is due. */
static enum err take_pool(struct loader *loader, const PGresult *result)
{
    loader->has_pool = PQntuples(result) == 1;
    if (!loader->has_pool)
        return ERR_NONE;
    const struct pool_values values = {
        .next_machine_id = result_i64(result, 0, 0),
        .next_lease_id = result_i64(result, 0, 1),
        .next_ticket_id = result_i64(result, 0, 2),
        .version = result_i64(result, 0, 3),
        .whole_version = result_i64(result, 0, 4),
    };
    loader->was_all_of_pool = world_refresh_pool(loader->world, &values, loader->holds_pool);
    return ERR_NONE;
}

static bool times_are_finite(const PGresult *result, int row, const int *columns, int count)
{
    for (int i = 0; i < count; i++) {
        bool is_null = PQgetisnull(result, row, columns[i]) == 1;
        if (!is_null && !postgres_is_finite(PQgetvalue(result, row, columns[i])))
            return false;
    }
    return true;
}

/* What is locked has no ids that are still to be given out. */
static bool id_is_sound(const struct loader *loader, int64_t id, int64_t next_id)
{
    return id >= 1 && (id < next_id || !loader->holds_pool);
}

static bool get_machine(const struct loader *loader, const PGresult *result, int row, struct machine *machine)
{
    static const int times[] = {3, 4, 7, 8, 12};
    const struct pool_values *pool = &loader->world->pool.values;
    struct machine_values *values = &machine->values;
    *machine = (struct machine){
        .id = result_i64(result, row, 0),
        .created_ms = result_ms(result, row, 3),
        .name = result_text(result, row, 13),
        .values = {.is_draining = result_i64(result, row, 1) != 0,
            .usage_count = result_i64(result, row, 2),
            .updated_ms = result_ms(result, row, 4),
            .lease = {.id = result_i64(result, row, 5),
                .ticket_id = result_i64(result, row, 6),
                .started_ms = result_ms(result, row, 7),
                .chosen_ms = result_ms(result, row, 8),
                .product_id = result_i64(result, row, 9),
                .units = result_i64(result, row, 10),
                .purchase_id = result_i64(result, row, 11)},
            .due_ms = result_ms(result, row, 12)},
    };
    return machine_status_from_name(result_text(result, row, 14), &values->status) &&
           times_are_finite(result, row, times, 5) && machine->name.len <= MACHINE_NAME_LEN_MAX &&
           id_is_sound(loader, machine->id, pool->next_machine_id) &&
           (values->status == MACHINE_IDLE || id_is_sound(loader, values->lease.id, pool->next_lease_id));
}

static enum err take_machines(struct loader *loader, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result) && loader->has_pool; row++) {
        struct machine machine;
        if (!get_machine(loader, result, row, &machine))
            return not_ours(loader, "machine", machine.id);
        if (!world_refresh_machine(loader->world, &machine))
            return loader_no_memory(loader);
    }
    return ERR_NONE;
}

static bool get_ticket(const struct loader *loader, const PGresult *result, int row, struct ticket *ticket)
{
    static const int times[] = {2, 6, 7};
    enum ticket_state state = TICKET_WAITING;
    bool is_known = ticket_state_from_name(result_text(result, row, 8), &state);
    *ticket = (struct ticket){
        .id = result_i64(result, row, 0),
        .is_attached = result_i64(result, row, 1) != 0,
        .first_lease_id = result_i64(result, row, 3),
        .created_ms = result_ms(result, row, 6),
        .values = {.until_ms = result_ms(result, row, 2),
            .state = (int)state,
            .end_lease_id = result_i64(result, row, 4),
            .machine_id = result_i64(result, row, 5),
            .ended_ms = result_ms(result, row, 7)},
    };
    return is_known && times_are_finite(result, row, times, 3) &&
           id_is_sound(loader, ticket->id, loader->world->pool.values.next_ticket_id);
}

static enum err take_tickets(struct loader *loader, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result) && loader->has_pool; row++) {
        struct ticket ticket;
        if (!get_ticket(loader, result, row, &ticket))
            return not_ours(loader, "ticket", ticket.id);
        if (!world_refresh_ticket(loader->world, &ticket))
            return loader_no_memory(loader);
    }
    return ERR_NONE;
}

static enum err receive_rows(struct loader *loader)
{
    PGresult *tickets;
    enum postgres_statement statement = loader->pool_known < 0 ? STATEMENT_READ_LINE : STATEMENT_READ_TICKETS;
    enum err err = link_result(&loader->store->link, statement, &tickets, loader->error);
    if (err == ERR_NONE)
        err = loader_receive(loader, STATEMENT_READ_MACHINES, take_machines);
    if (err == ERR_NONE)
        err = take_tickets(loader, tickets);
    PQclear(tickets);
    return err;
}

enum err loader_receive_pool(struct loader *loader, enum postgres_statement look)
{
    const struct pool_values before = loader->world->pool.values;
    loader->has_pool = false;
    enum err err = loader_receive(loader, look, take_pool);
    if (err != ERR_NONE)
        return err;
    if (!loader->has_pool && look != STATEMENT_LOCK_DUE_POOL)
        return error_set(loader->error, ERR_CORRUPT, "the row of pool is gone; restore a backup");
    err = receive_rows(loader);
    if (!loader->has_pool)
        return err;
    if (err == ERR_NONE)
        world_refresh_pool_end(loader->world, loader->was_all_of_pool);
    else
        world_refresh_pool_failed(loader->world, &before);
    return err;
}

/* What has a name that was asked for, and has not come, has it no more; the next load tells what became of
 * it. */
static void forget_name(struct loader *loader, struct slice name)
{
    struct world *world = loader->world;
    struct product *product;
    while ((product = world_product_by_name(world, name)) != NULL && !world_is_certain(world, product) &&
           product->refresh_number != world->refresh_number) {
        postgres_listener_note(loader->store->listener, product->sku);
        world_forget_product(world, product);
    }
}

static enum err take_names(struct loader *loader, const PGresult *result)
{
    world_refresh_begin(loader->world);
    enum err err = loader_take_seen_products(loader, result);
    for (size_t i = 0; i < loader->entry_count && err == ERR_NONE; i++) {
        const struct command *command = loader->store->entries[i].command;
        if (command->kind == COMMAND_PRODUCT_ADD)
            forget_name(loader, command->product.name);
    }
    return err;
}

enum err loader_receive_names(struct loader *loader)
{
    return loader_receive(loader, STATEMENT_FIND_NAMES, take_names);
}
