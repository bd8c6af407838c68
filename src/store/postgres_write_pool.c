/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The changes of machines, leases, tickets and the pool. Ids are never given out twice and each row is
 * written once a batch, as it is at its end, so they need no order among one another. Whoever changes any of
 * them holds the row of the pool.
 */
#include "store/postgres_write.h"

#include "base/ensure.h"
#include "core/world_pool.h"

/* The first columns are the same for a new machine and for one that changes. */
static struct column *put_machine(struct writer *writer, enum sheet_name sheet, const struct machine *machine)
{
    const struct machine_values *values = &machine->values;
    const struct lease *lease = &values->lease;
    struct column *row = writer_row(writer, sheet);
    column_put_i64(&row[0], machine->id);
    column_put_text(&row[1], machine->name);
    column_put_text(&row[2], machine_status_name(values->status));
    column_put_i64(&row[3], values->is_draining ? 1 : 0);
    column_put_i64(&row[4], values->usage_count);
    column_put_i64_or_null(&row[5], lease->id);
    column_put_i64_or_null(&row[6], lease->ticket_id);
    column_put_ms_or_null(&row[7], lease->started_ms);
    column_put_ms_or_null(&row[8], lease->chosen_ms);
    column_put_i64_or_null(&row[9], lease->product_id);
    column_put_i64_or_null(&row[10], lease->units);
    column_put_i64_or_null(&row[11], lease->purchase_id);
    column_put_ms_or_null(&row[12], values->due_ms);
    column_put_ms(&row[13], values->updated_ms);
    column_put_i64(&row[14], writer->world->pool.values.version);
    return row;
}

/* What was added and removed in the same batch is never seen by the database. */
static void put_machine_change(struct writer *writer, const struct change *change)
{
    const struct machine *machine = change->machine.machine;
    bool is_new = machine->added_batch == writer->world->batch;
    if (change->kind == CHANGE_MACHINE_REMOVED && !is_new) {
        column_put_i64(writer_row(writer, SHEET_OLD_MACHINES), machine->id);
    } else if (change->kind == CHANGE_MACHINE_ADDED && !machine->is_removed) {
        struct column *row = put_machine(writer, SHEET_MACHINES, machine);
        column_put_ms(&row[15], machine->created_ms);
    } else if (change->kind == CHANGE_MACHINE_UPDATED && !machine->is_removed) {
        (void)put_machine(writer, SHEET_SET_MACHINES, machine);
    }
}

static void put_lease(struct writer *writer, const struct change *change)
{
    const struct lease *lease = &change->lease.lease;
    struct column *row = writer_row(writer, SHEET_LEASES);
    column_put_i64(&row[0], lease->id);
    column_put_i64(&row[1], change->lease.machine_id);
    column_put_i64_or_null(&row[2], lease->ticket_id);
    column_put_ms(&row[3], lease->started_ms);
    column_put_ms_or_null(&row[4], lease->chosen_ms);
    column_put_i64_or_null(&row[5], lease->product_id);
    column_put_i64_or_null(&row[6], lease->units);
    column_put_i64_or_null(&row[7], lease->purchase_id);
    column_put_text(&row[8], lease_end_name((enum lease_end)change->lease.end));
    column_put_ms(&row[9], change->lease.time_ms);
}

static void put_ticket(struct writer *writer, const struct change *change)
{
    const struct ticket *ticket = change->ticket.ticket;
    const struct ticket_values *values = &ticket->values;
    bool is_new = change->kind == CHANGE_TICKET_ADDED;
    struct column *row = writer_row(writer, is_new ? SHEET_TICKETS : SHEET_SET_TICKETS);
    column_put_i64(&row[0], ticket->id);
    column_put_text(&row[1], ticket_state_name((enum ticket_state)values->state));
    column_put_ms(&row[2], values->until_ms);
    column_put_i64_or_null(&row[3], values->end_lease_id);
    column_put_i64_or_null(&row[4], values->machine_id);
    column_put_ms_or_null(&row[5], values->ended_ms);
    column_put_i64(&row[6], writer->world->pool.values.version);
    if (!is_new)
        return;
    column_put_i64(&row[7], ticket->is_attached ? 1 : 0);
    column_put_i64(&row[8], ticket->first_lease_id);
    column_put_ms(&row[9], ticket->created_ms);
}

static enum err set_pool(struct writer *writer)
{
    const struct pool_values *values = &writer->world->pool.values;
    const int64_t numbers[] = {values->next_machine_id, values->next_lease_id, values->next_ticket_id,
        values->version, values->whole_version};
    char memory[5][8];
    for (int i = 0; i < 5; i++)
        link_param(&writer->store->link, postgres_i64(memory[i], numbers[i]));
    return writer_send(writer, STATEMENT_SET_POOL);
}

static enum err label_product(struct writer *writer, const struct change *change)
{
    struct link *link = &writer->store->link;
    char memory[2][8];
    link_param(link, postgres_i64(memory[0], change->product->id));
    link_param(link, change->product->labels.category);
    link_param(link, postgres_i64(memory[1], change->product->labels.is_featured ? 1 : 0));
    return writer_send(writer, STATEMENT_LABEL_PRODUCT);
}

bool writer_put_pool_change(struct writer *writer, const struct change *change, enum err *err)
{
    *err = ERR_NONE;
    switch (change->kind) {
    case CHANGE_PRODUCT_LABELLED:
        *err = label_product(writer, change);
        return true;
    case CHANGE_MACHINE_ADDED:
    case CHANGE_MACHINE_UPDATED:
    case CHANGE_MACHINE_REMOVED:
        put_machine_change(writer, change);
        return true;
    case CHANGE_LEASE_ENDED:
        put_lease(writer, change);
        return true;
    case CHANGE_TICKET_ADDED:
    case CHANGE_TICKET_UPDATED:
        put_ticket(writer, change);
        return true;
    case CHANGE_POOL_UPDATED:
        *err = set_pool(writer);
        return true;
    case CHANGE_MACHINE_RENAMED: /* these two come with one of the above, which writes their values */
    case CHANGE_TICKET_ENDED:
        return true;
    default:
        return false;
    }
}

/*
 * Who waits hears at once that he is served, or has moved up. What else happens to machines nobody waits for:
 * whoever decides by it has read it under the lock.
 */
enum pool_news writer_pool_news(const struct writer *writer)
{
    const struct world *world = writer->world;
    if (world->change_count == 0 || world->pool.touched_batch != world->batch)
        return POOL_AS_IT_WAS;
    for (size_t i = 0; i < world->change_count; i++) {
        if (world->changes[i].kind == CHANGE_TICKET_ENDED)
            return POOL_LINE_MOVED;
    }
    return POOL_CHANGED;
}
