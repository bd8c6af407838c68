/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines, the tickets that wait, and the numbers of the pool; see sqlite_load.c. Leases and tickets that
 * have ended are looked at for their numbers only.
 */
#include "core/world_pool.h"
#include "store/sqlite_priv.h"

static const char pool_text[] =
    "SELECT next_machine_id, next_lease_id, next_ticket_id,"
    " max((SELECT coalesce(max(id), 0) FROM machines), (SELECT coalesce(max(machine_id), 0) FROM leases)),"
    " max((SELECT coalesce(max(lease_id), 0) FROM machines), (SELECT coalesce(max(id), 0) FROM leases)),"
    " (SELECT coalesce(max(id), 0) FROM tickets) FROM pool";

static enum err load_values(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    struct pool_values *values = &loader->world->pool.values;
    values->next_machine_id = sqlite3_column_int64(row, 0);
    values->next_lease_id = sqlite3_column_int64(row, 1);
    values->next_ticket_id = sqlite3_column_int64(row, 2);
    bool is_sound = row_has_types(row, "iiiiii") && values->next_machine_id > sqlite3_column_int64(row, 3) &&
                    values->next_lease_id > sqlite3_column_int64(row, 4) &&
                    values->next_ticket_id > sqlite3_column_int64(row, 5);
    return is_sound ? ERR_NONE : load_damaged(loader, "pool", 1);
}

static const char machines_text[] =
    "SELECT id, is_draining, usage_count, created_at, updated_at, lease_id, ticket_id, started_at, chosen_at,"
    " product_id, units, purchase_id, due_at, name, status FROM machines ORDER BY id";

static bool machine_is_sound(const struct machine *machine)
{
    const struct machine_values *values = &machine->values;
    const struct lease *lease = &values->lease;
    bool is_idle = values->status == MACHINE_IDLE;
    bool has_chosen = values->status == MACHINE_PROCESSING;
    return machine->id > 0 && machine->name.len > 0 && machine->name.len <= MACHINE_NAME_LEN_MAX &&
           values->usage_count >= 0 && is_idle == (lease->id == 0) && is_idle == (values->due_ms == 0) &&
           is_idle == (lease->started_ms == 0) && has_chosen == (lease->chosen_ms != 0) &&
           has_chosen == (lease->units > 0) && has_chosen == (lease->purchase_id != 0);
}

static enum err load_machine(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    bool has_types = row_has_types(row, "iiiiinnnnnnnntt"); /* before texts are asked for, which converts */
    struct machine machine = {
        .id = sqlite3_column_int64(row, 0),
        .created_ms = sqlite3_column_int64(row, 3),
        .name = row_text(row, 13),
        .values = {.is_draining = sqlite3_column_int(row, 1) != 0,
            .usage_count = sqlite3_column_int64(row, 2),
            .updated_ms = sqlite3_column_int64(row, 4),
            .lease = {.id = sqlite3_column_int64(row, 5),
                .ticket_id = sqlite3_column_int64(row, 6),
                .started_ms = sqlite3_column_int64(row, 7),
                .chosen_ms = sqlite3_column_int64(row, 8),
                .product_id = sqlite3_column_int64(row, 9),
                .units = sqlite3_column_int64(row, 10),
                .purchase_id = sqlite3_column_int64(row, 11)},
            .due_ms = sqlite3_column_int64(row, 12)},
    };
    bool is_sound = has_types && machine_status_from_name(row_text(row, 14), &machine.values.status) &&
                    machine_is_sound(&machine) && world_machine(loader->world, machine.id) == NULL;
    if (!is_sound)
        return load_damaged(loader, "machines", machine.id);
    return world_load_machine(loader->world, &machine) ? ERR_NONE : load_no_memory(loader);
}

static const char tickets_text[] =
    "SELECT id, is_attached, expires_at, first_lease_id, created_at FROM tickets"
    " WHERE state = 'waiting' ORDER BY id";

static enum err load_ticket(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    struct ticket ticket = {
        .id = sqlite3_column_int64(row, 0),
        .is_attached = sqlite3_column_int(row, 1) != 0,
        .values = {.until_ms = sqlite3_column_int64(row, 2), .state = TICKET_WAITING},
        .first_lease_id = sqlite3_column_int64(row, 3),
        .created_ms = sqlite3_column_int64(row, 4),
    };
    if (ticket.is_attached)
        ticket.values.until_ms = 0; /* its connection went with the server: it expires with the first tick */
    if (!row_has_types(row, "iiiii") || ticket.id < 1)
        return load_damaged(loader, "tickets", ticket.id);
    return world_load_ticket(loader->world, &ticket) ? ERR_NONE : load_no_memory(loader);
}

static const char missing_text[] = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pool)";

static enum err load_missing(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    (void)row;
    return error_set(loader->error, ERR_CORRUPT,
        "%s is damaged: the row of pool is gone; keep a copy and restore a backup", loader->store->path);
}

enum err load_pool(struct sqlite_loader *loader)
{
    enum err err = load_table(loader, missing_text, load_missing);
    if (err == ERR_NONE)
        err = load_table(loader, pool_text, load_values);
    if (err == ERR_NONE)
        err = load_table(loader, machines_text, load_machine);
    return err == ERR_NONE ? load_table(loader, tickets_text, load_ticket) : err;
}
