/* SPDX-License-Identifier: Apache-2.0 */
#include "pool_audit.h"

#include <stdlib.h>

#include "base/ensure.h"

void pool_audit_fini(struct pool_audit *audit)
{
    free(audit->leases);
    free(audit->tickets);
    *audit = (struct pool_audit){0};
}

static void *grown(void *table, size_t *size, size_t count, size_t entry_size)
{
    if (count < *size)
        return table;
    *size = *size == 0 ? 256 : *size * 2;
    void *larger = realloc(table, *size * entry_size);
    ENSURE(larger != NULL);
    return larger;
}

static void add_lease(struct pool_audit *audit, const struct audit_lease *lease)
{
    audit->leases = grown(audit->leases, &audit->lease_size, audit->lease_count, sizeof *audit->leases);
    audit->leases[audit->lease_count++] = *lease;
}

static void add_ticket(struct pool_audit *audit, const struct ticket *ticket, int64_t end_lease_id)
{
    audit->tickets = grown(audit->tickets, &audit->ticket_size, audit->ticket_count, sizeof *audit->tickets);
    audit->tickets[audit->ticket_count++] = (struct audit_ticket){
        .id = ticket->id, .first_lease_id = ticket->first_lease_id, .end_lease_id = end_lease_id};
}

/* --- what a batch has done --- */

static const char *note_lease(struct pool_audit *audit, const struct change *change)
{
    const struct lease *lease = &change->lease.lease;
    bool is_completed = change->lease.end == LEASE_COMPLETED;
    add_lease(audit, &(struct audit_lease){.lease = *lease,
                         .machine_id = change->lease.machine_id,
                         .ended_ms = change->lease.time_ms,
                         .is_completed = is_completed});
    if (is_completed && lease->purchase_id == 0)
        return "a lease was completed without a choice";
    if (change->lease.end == LEASE_TIMED_OUT && lease->purchase_id != 0)
        return "a lease timed out after its choice";
    return NULL;
}

static const char *note_ticket(
    struct pool_audit *audit, const struct world *world, const struct ticket *ticket)
{
    const struct ticket_values *values = &ticket->values;
    const struct machine *machine = world_machine(world, values->machine_id);
    bool is_served = values->state == TICKET_SERVED;
    add_ticket(audit, ticket, values->end_lease_id);
    if (is_served != (values->machine_id != 0))
        return "a ticket was served without a machine, or has one that it was not served with";
    /* What has become of the lease since, in this batch, stands among the others. */
    if (is_served && machine != NULL && machine->values.lease.id == values->end_lease_id &&
        machine->values.lease.ticket_id != ticket->id)
        return "a ticket was told of the lease of another";
    return NULL;
}

static const char *note_purchase(struct pool_audit *audit, const struct change *change)
{
    bool is_next = change->purchase.id > audit->purchase_last;
    audit->purchase_last = change->purchase.id;
    return is_next ? NULL : "a purchase has a number that was given out before";
}

const char *pool_audit_note(struct pool_audit *audit, const struct world *world)
{
    const char *wrong = NULL;
    for (size_t i = 0; i < world->change_count && wrong == NULL; i++) {
        const struct change *change = &world->changes[i];
        if (change->kind == CHANGE_LEASE_ENDED)
            wrong = note_lease(audit, change);
        else if (change->kind == CHANGE_TICKET_ENDED)
            wrong = note_ticket(audit, world, change->ticket.ticket);
        else if (change->kind == CHANGE_PURCHASE_ADDED)
            wrong = note_purchase(audit, change);
    }
    return wrong;
}

/* --- what must hold of all --- */

static int compare_leases(const void *a, const void *b)
{
    int64_t left = ((const struct audit_lease *)a)->lease.id;
    int64_t right = ((const struct audit_lease *)b)->lease.id;
    return left < right ? -1 : left > right;
}

/* The first with this number or a later one. */
static size_t lease_from(const struct pool_audit *audit, int64_t id)
{
    size_t low = 0;
    size_t high = audit->lease_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (audit->leases[middle].lease.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Every lease that was given out while somebody waited went to one who came before him. */
static const char *check_line(const struct pool_audit *audit)
{
    for (size_t i = 0; i < audit->ticket_count; i++) {
        const struct audit_ticket *ticket = &audit->tickets[i];
        for (size_t j = lease_from(audit, ticket->first_lease_id);
             j < audit->lease_count && audit->leases[j].lease.id < ticket->end_lease_id; j++) {
            int64_t holder = audit->leases[j].lease.ticket_id;
            if (holder == 0 || holder >= ticket->id)
                return "somebody in the line was overtaken";
        }
    }
    return NULL;
}

static const char *check_holders(const struct pool_audit *audit)
{
    for (size_t i = 0; i < audit->lease_count; i++) {
        const struct audit_lease *lease = &audit->leases[i];
        if (i > 0 && lease->lease.id == audit->leases[i - 1].lease.id)
            return "a lease number was given out twice";
        for (size_t j = i + 1; j < audit->lease_count; j++) {
            if (audit->leases[j].machine_id != lease->machine_id)
                continue;
            if (audit->leases[j].lease.started_ms < lease->ended_ms)
                return "a machine had two holders";
            break;
        }
    }
    return NULL;
}

static const char *check_usage(const struct pool_audit *audit, const struct world *world)
{
    LIST_FOR_EACH (node, &world->pool.machines) {
        const struct machine *machine = CONTAINER_OF(node, struct machine, node);
        int64_t completed = 0;
        for (size_t i = 0; i < audit->lease_count; i++)
            completed += audit->leases[i].machine_id == machine->id && audit->leases[i].is_completed;
        if (completed != machine->values.usage_count)
            return "a machine was used more or less often than leases of it were completed";
    }
    return NULL;
}

/* Users of machines begin with a blank. */
static int64_t units_of_machines(const struct product *product)
{
    size_t cursor = 0;
    int64_t units = 0;
    const struct buyer *buyer;
    while ((buyer = map_next(&product->buyers, &cursor)) != NULL)
        units += buyer->user[0] == ' ' ? buyer->count : 0;
    return units;
}

static const char *check_units(const struct pool_audit *audit, const struct world *world)
{
    LIST_FOR_EACH (node, &world->products) {
        const struct product *product = CONTAINER_OF(node, struct product, node);
        int64_t units = 0;
        for (size_t i = 0; i < audit->lease_count; i++)
            units += audit->leases[i].lease.product_id == product->id ? audit->leases[i].lease.units : 0;
        if (units != units_of_machines(product))
            return "leases have sold more or less than machines have bought";
    }
    return NULL;
}

const char *pool_audit_check(struct pool_audit *audit, const struct world *world)
{
    size_t ticket_count = audit->ticket_count;
    size_t lease_count = audit->lease_count;
    LIST_FOR_EACH (node, &world->pool.machines) {
        const struct machine *machine = CONTAINER_OF(node, struct machine, node);
        if (machine->values.lease.id != 0)
            add_lease(
                audit, &(struct audit_lease){
                           .lease = machine->values.lease, .machine_id = machine->id, .ended_ms = INT64_MAX});
    }
    LIST_FOR_EACH (node, &world->pool.waiting)
        add_ticket(audit, CONTAINER_OF(node, struct ticket, node), world->pool.values.next_lease_id);
    struct audit_lease *ended = malloc((lease_count + 1) * sizeof *ended);
    ENSURE(ended != NULL);
    if (lease_count > 0)
        memcpy(ended, audit->leases, lease_count * sizeof *ended);
    if (audit->lease_count > 0)
        qsort(audit->leases, audit->lease_count, sizeof *audit->leases, compare_leases);
    const char *wrong = check_line(audit);
    wrong = wrong != NULL ? wrong : check_holders(audit);
    wrong = wrong != NULL ? wrong : check_usage(audit, world);
    wrong = wrong != NULL ? wrong : check_units(audit, world);
    if (lease_count > 0)
        memcpy(audit->leases, ended, lease_count * sizeof *ended);
    free(ended);
    audit->lease_count = lease_count;
    audit->ticket_count = ticket_count;
    return wrong;
}
