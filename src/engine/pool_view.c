/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/pool_view.h"

#include <stdlib.h>

#include "base/ensure.h"

/* --- tickets --- */

/* The machine that the ticket was served with, if it still is its user's. */
static const struct machine *own_machine(const struct world *world, const struct ticket *ticket)
{
    const struct machine *machine =
        ticket->values.state == TICKET_SERVED ? world_machine(world, ticket->values.machine_id) : NULL;
    return machine != NULL && machine->values.lease.id == ticket->values.end_lease_id ? machine : NULL;
}

struct ticket_view *ticket_view_create(const struct world *world, const struct ticket *ticket)
{
    const struct machine *machine = own_machine(world, ticket);
    struct slice name = machine == NULL ? slice_make("", 0) : machine->name;
    struct ticket_view *view = malloc(sizeof *view + name.len);
    if (view == NULL)
        return NULL;
    char *text = (char *)(view + 1);
    memcpy(text, name.base, name.len);
    ENSURE(ticket->values.state != TICKET_WAITING);
    *view = (struct ticket_view){
        .reference_count = 1,
        .id = ticket->id,
        .state = (enum ticket_state)ticket->values.state,
        .lease_id = ticket->values.state == TICKET_SERVED ? ticket->values.end_lease_id : 0,
        .has_machine = machine != NULL,
    };
    if (machine != NULL)
        view->machine = (struct machine_row){
            .id = machine->id,
            .name = slice_make(text, name.len),
            .status = machine->values.status,
            .is_draining = machine->values.is_draining,
            .usage_count = machine->values.usage_count,
            .lease_id = machine->values.lease.id,
            .created_ms = machine->created_ms,
            .updated_ms = machine->values.updated_ms,
        };
    return view;
}

struct ticket_view *ticket_view_get(struct ticket_view *view)
{
    atomic_fetch_add_explicit(&view->reference_count, 1, memory_order_relaxed);
    return view;
}

void ticket_view_put(struct ticket_view *view)
{
    if (atomic_fetch_sub_explicit(&view->reference_count, 1, memory_order_acq_rel) == 1)
        free(view);
}

/* --- the line --- */

struct line_view *line_view_create(const struct world *world, int64_t lease_ms)
{
    const struct pool *pool = &world->pool;
    size_t id_count = pool->detached_count == 0 ? 0 : pool->tickets_by_id.count;
    struct line_view *view = malloc(sizeof *view + id_count * sizeof view->ids[0]);
    if (view == NULL)
        return NULL;
    *view = (struct line_view){
        .reference_count = 1,
        .count = (int64_t)pool->tickets_by_id.count,
        .machine_count = (int64_t)(pool->idle.count + pool->machines_due.count),
        .lease_ms = pool->lease_ms > 0 ? pool->lease_ms : lease_ms,
    };
    if (id_count == 0)
        return view;
    LIST_FOR_EACH (node, &pool->waiting)
        view->ids[view->id_count++] = CONTAINER_OF(node, struct ticket, node)->id;
    ENSURE(view->id_count == id_count);
    return view;
}

struct line_view *line_view_get(struct line_view *view)
{
    atomic_fetch_add_explicit(&view->reference_count, 1, memory_order_relaxed);
    return view;
}

void line_view_put(struct line_view *view)
{
    if (atomic_fetch_sub_explicit(&view->reference_count, 1, memory_order_acq_rel) == 1)
        free(view);
}

int64_t line_view_position(const struct line_view *view, int64_t ticket_id)
{
    size_t low = 0;
    size_t high = view->id_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (view->ids[middle] < ticket_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < view->id_count && view->ids[low] == ticket_id ? (int64_t)low + 1 : 0;
}

int64_t line_view_wait_ms(const struct line_view *view, int64_t position)
{
    int64_t rounds =
        view->machine_count == 0 ? 0 : (position + view->machine_count - 1) / view->machine_count;
    int64_t wait_ms;
    if (view->machine_count == 0 || __builtin_mul_overflow(rounds, view->lease_ms, &wait_ms))
        return INT64_MAX;
    return wait_ms;
}
