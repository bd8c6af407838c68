/* SPDX-License-Identifier: Apache-2.0 */
/* The changes of machines, leases, tickets and the pool; see sqlite_write.c. */
#include "base/ensure.h"
#include "core/world_pool.h"
#include "store/sqlite_priv.h"

static void bind_machine(sqlite3_stmt *statement, const struct machine *machine)
{
    const struct machine_values *values = &machine->values;
    const struct lease *lease = &values->lease;
    const int64_t optional[] = {lease->id, lease->ticket_id, lease->started_ms, lease->chosen_ms,
        lease->product_id, lease->units, lease->purchase_id, values->due_ms};
    bind_i64(statement, 1, machine->id);
    bind_text(statement, 2, machine->name);
    bind_text(statement, 3, machine_status_name(values->status));
    bind_i64(statement, 4, values->is_draining);
    bind_i64(statement, 5, values->usage_count);
    for (int i = 0; i < 8; i++)
        bind_i64_or_null(statement, 6 + i, optional[i]);
    bind_i64(statement, 14, values->updated_ms);
}

static enum err write_machine(struct sqlite_batch *batch, const struct machine *machine, bool is_new)
{
    enum statement which = is_new ? STATEMENT_MACHINE_ADD : STATEMENT_MACHINE_SET;
    sqlite3_stmt *statement = batch->store->statements[which];
    bind_machine(statement, machine);
    if (!is_new)
        return run_write_one(batch, which);
    bind_i64(statement, 15, machine->created_ms);
    return run_write(batch, which);
}

static enum err remove_machine(struct sqlite_batch *batch, const struct machine *machine)
{
    bind_i64(batch->store->statements[STATEMENT_MACHINE_REMOVE], 1, machine->id);
    return run_write_one(batch, STATEMENT_MACHINE_REMOVE);
}

static enum err add_lease(struct sqlite_batch *batch, const struct change *change)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_LEASE_ADD];
    const struct lease *lease = &change->lease.lease;
    bind_i64(statement, 1, lease->id);
    bind_i64(statement, 2, change->lease.machine_id);
    bind_i64_or_null(statement, 3, lease->ticket_id);
    bind_i64(statement, 4, lease->started_ms);
    bind_i64_or_null(statement, 5, lease->chosen_ms);
    bind_i64_or_null(statement, 6, lease->product_id);
    bind_i64_or_null(statement, 7, lease->units);
    bind_i64_or_null(statement, 8, lease->purchase_id);
    bind_text(statement, 9, lease_end_name((enum lease_end)change->lease.end));
    bind_i64(statement, 10, change->lease.time_ms);
    return run_write(batch, STATEMENT_LEASE_ADD);
}

static enum err write_ticket(struct sqlite_batch *batch, const struct ticket *ticket, bool is_new)
{
    enum statement which = is_new ? STATEMENT_TICKET_ADD : STATEMENT_TICKET_SET;
    sqlite3_stmt *statement = batch->store->statements[which];
    const struct ticket_values *values = &ticket->values;
    bind_i64(statement, 1, ticket->id);
    bind_i64(statement, 2, values->until_ms);
    bind_text(statement, 3, ticket_state_name((enum ticket_state)values->state));
    bind_i64_or_null(statement, 4, values->end_lease_id);
    bind_i64_or_null(statement, 5, values->machine_id);
    bind_i64_or_null(statement, 6, values->ended_ms);
    if (!is_new)
        return run_write_one(batch, which);
    bind_i64(statement, 7, ticket->is_attached);
    bind_i64(statement, 8, ticket->first_lease_id);
    bind_i64(statement, 9, ticket->created_ms);
    return run_write(batch, which);
}

static enum err write_values(struct sqlite_batch *batch)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_POOL_SET];
    const struct pool_values *values = &batch->world->pool.values;
    bind_i64(statement, 1, values->next_machine_id);
    bind_i64(statement, 2, values->next_lease_id);
    bind_i64(statement, 3, values->next_ticket_id);
    return run_write_one(batch, STATEMENT_POOL_SET);
}

static enum err label_product(struct sqlite_batch *batch, const struct change *change)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_PRODUCT_LABEL];
    bind_i64(statement, 1, change->product->id);
    bind_text(statement, 2, change->product->labels.category);
    bind_i64(statement, 3, change->product->labels.is_featured);
    return run_write_one(batch, STATEMENT_PRODUCT_LABEL);
}

enum err write_pool_change(struct sqlite_batch *batch, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_PRODUCT_LABELLED:
        return label_product(batch, change);
    case CHANGE_MACHINE_ADDED:
    case CHANGE_MACHINE_UPDATED:
        return write_machine(batch, change->machine.machine, change->kind == CHANGE_MACHINE_ADDED);
    case CHANGE_MACHINE_REMOVED:
        return remove_machine(batch, change->machine.machine);
    case CHANGE_LEASE_ENDED:
        return add_lease(batch, change);
    case CHANGE_TICKET_ADDED:
    case CHANGE_TICKET_UPDATED:
        return write_ticket(batch, change->ticket.ticket, change->kind == CHANGE_TICKET_ADDED);
    case CHANGE_POOL_UPDATED:
        return write_values(batch);
    default: /* these two come with one of the above, which writes their values */
        ENSURE(change->kind == CHANGE_MACHINE_RENAMED || change->kind == CHANGE_TICKET_ENDED);
        return ERR_NONE;
    }
}
