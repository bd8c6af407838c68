/* SPDX-License-Identifier: Apache-2.0 */
/* See world_pool.h; the ways of world.c hold here too: all memory first, then the change. */
#include "core/world_pool.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "core/world_priv.h"

static const struct slice status_names[] = {
    SLICE_INIT("idle"), SLICE_INIT("choose_product"), SLICE_INIT("processing")};
static const struct slice end_names[] = {SLICE_INIT("completed"), SLICE_INIT("reset"),
    SLICE_INIT("timed_out"), SLICE_INIT("deleted"), SLICE_INIT("given_up")};
static const struct slice state_names[] = {
    SLICE_INIT("waiting"), SLICE_INIT("served"), SLICE_INIT("left"), SLICE_INIT("expired")};

struct slice machine_status_name(enum machine_status status)
{
    return status_names[status];
}

bool machine_status_from_name(struct slice name, enum machine_status *status)
{
    for (int i = MACHINE_IDLE; i <= MACHINE_PROCESSING; i++) {
        if (slice_eq(name, status_names[i])) {
            *status = (enum machine_status)i;
            return true;
        }
    }
    return false;
}

struct slice lease_end_name(enum lease_end end)
{
    return end_names[end];
}

struct slice ticket_state_name(enum ticket_state state)
{
    return state_names[state];
}

bool ticket_state_from_name(struct slice name, enum ticket_state *state)
{
    for (int i = TICKET_WAITING; i <= TICKET_EXPIRED; i++) {
        if (slice_eq(name, state_names[i])) {
            *state = (enum ticket_state)i;
            return true;
        }
    }
    return false;
}

/* --- orders --- */

static bool is_taken_before(const void *left, const void *right)
{
    const struct machine *a = left;
    const struct machine *b = right;
    return a->values.usage_count < b->values.usage_count ||
           (a->values.usage_count == b->values.usage_count && a->id < b->id);
}

static bool is_machine_due_before(const void *left, const void *right)
{
    const struct machine *a = left;
    const struct machine *b = right;
    return a->values.due_ms < b->values.due_ms || (a->values.due_ms == b->values.due_ms && a->id < b->id);
}

static bool is_ticket_due_before(const void *left, const void *right)
{
    const struct ticket *a = left;
    const struct ticket *b = right;
    return a->values.until_ms < b->values.until_ms ||
           (a->values.until_ms == b->values.until_ms && a->id < b->id);
}

static const struct heap_kind idle_kind = {is_taken_before, offsetof(struct machine, idle_place)};
static const struct heap_kind machines_due_kind = {
    is_machine_due_before, offsetof(struct machine, due_place)};
static const struct heap_kind tickets_due_kind = {is_ticket_due_before, offsetof(struct ticket, due_place)};

void world_init_pool(struct world *world)
{
    struct pool *pool = &world->pool;
    *pool = (struct pool){.values = {.next_machine_id = 1, .next_lease_id = 1, .next_ticket_id = 1}};
    map_init(&pool->machines_by_id);
    map_init(&pool->tickets_by_id);
    heap_init(&pool->idle, &idle_kind);
    heap_init(&pool->machines_due, &machines_due_kind);
    heap_init(&pool->tickets_due, &tickets_due_kind);
    list_init(&pool->machines);
    list_init(&pool->waiting);
    list_init(&pool->ended_tickets);
}

/* --- look-ups --- */

static bool machine_has_id(const void *value, const void *key)
{
    return ((const struct machine *)value)->id == *(const int64_t *)key;
}

static bool ticket_has_id(const void *value, const void *key)
{
    return ((const struct ticket *)value)->id == *(const int64_t *)key;
}

struct machine *world_machine(const struct world *world, int64_t id)
{
    return map_get(&world->pool.machines_by_id, map_hash_id(id), machine_has_id, &id);
}

struct machine *world_idle_machine(const struct world *world)
{
    return heap_first(&world->pool.idle);
}

struct machine *world_due_machine(const struct world *world)
{
    return heap_first(&world->pool.machines_due);
}

struct ticket *world_ticket(const struct world *world, int64_t id)
{
    return map_get(&world->pool.tickets_by_id, map_hash_id(id), ticket_has_id, &id);
}

struct ticket *world_first_ticket(const struct world *world)
{
    struct list *node = list_first(&world->pool.waiting);
    return node == NULL ? NULL : CONTAINER_OF(node, struct ticket, node);
}

struct ticket *world_due_ticket(const struct world *world)
{
    return heap_first(&world->pool.tickets_due);
}

bool world_holds_pool(const struct world *world)
{
    return !world->is_shared || world->pool.held_batch == world->batch;
}

int64_t world_pool_due_ms(const struct world *world)
{
    const struct machine *machine = world_due_machine(world);
    const struct ticket *ticket = world_due_ticket(world);
    int64_t due_ms = machine == NULL ? INT64_MAX : machine->values.due_ms;
    return ticket != NULL && ticket->values.until_ms < due_ms ? ticket->values.until_ms : due_ms;
}

/* --- where machines stand --- */

/* In the heap exactly when it belongs there, and at its place. */
static void settle_in(struct heap *heap, struct machine *machine, bool belongs)
{
    bool is_in = heap_has(heap, machine);
    if (is_in && belongs)
        heap_move(heap, machine);
    else if (is_in)
        heap_take_out(heap, machine);
    else if (belongs)
        heap_put(heap, machine);
}

static void settle(struct world *world, struct machine *machine)
{
    const struct machine_values *values = &machine->values;
    bool is_idle = values->status == MACHINE_IDLE;
    settle_in(&world->pool.idle, machine, !machine->is_removed && is_idle && !values->is_draining);
    settle_in(&world->pool.machines_due, machine, !machine->is_removed && !is_idle);
}

static void set_values(struct world *world, struct machine *machine, const struct machine_values *values)
{
    machine->values = *values;
    settle(world, machine);
}

static bool name_dup(struct slice name, struct slice *copy)
{
    char *base = malloc(name.len + 1);
    if (base == NULL)
        return false;
    if (name.len > 0) /* an empty slice may have no base, which memcpy does not allow */
        memcpy(base, name.base, name.len);
    base[name.len] = '\0';
    *copy = slice_make(base, name.len);
    return true;
}

static void name_free(struct slice name)
{
    free((char *)(uintptr_t)name.base);
}

static void machine_free(struct machine *machine)
{
    name_free(machine->name);
    free(machine);
}

/* A copy of the record, where it belongs; NULL when memory is out. */
static struct machine *machine_put(struct world *world, const struct machine *record)
{
    struct pool *pool = &world->pool;
    size_t count = pool->machines_by_id.count + 1;
    if (!heap_reserve(&pool->idle, count) || !heap_reserve(&pool->machines_due, count))
        return NULL;
    struct machine *machine = malloc(sizeof *machine);
    if (machine == NULL)
        return NULL;
    *machine = *record;
    list_init(&machine->node);
    if (!name_dup(record->name, &machine->name)) {
        free(machine);
        return NULL;
    }
    if (!map_put(&pool->machines_by_id, map_hash_id(machine->id), machine)) {
        machine_free(machine);
        return NULL;
    }
    list_append(&pool->machines, &machine->node);
    settle(world, machine);
    return machine;
}

static void machine_take_out(struct world *world, struct machine *machine)
{
    bool was_in = map_remove(&world->pool.machines_by_id, map_hash_id(machine->id), machine);
    ENSURE(was_in);
    list_remove(&machine->node);
    machine->is_removed = true;
    settle(world, machine);
}

/* --- where tickets stand --- */

/* By id: at the end when it is new, at the front when a serving is undone. */
static void line_up(struct world *world, struct ticket *ticket)
{
    struct list *before = &world->pool.waiting; /* the end */
    struct list *first = list_first(before);
    if (first != NULL && ticket->id < CONTAINER_OF(first, struct ticket, node)->id)
        before = first;
    while (before->prev != &world->pool.waiting &&
           CONTAINER_OF(before->prev, struct ticket, node)->id > ticket->id)
        before = before->prev;
    list_append(before, &ticket->node);
}

/* Into the line; there is room. */
static void ticket_put_back(struct world *world, struct ticket *ticket)
{
    bool is_put = map_put(&world->pool.tickets_by_id, map_hash_id(ticket->id), ticket);
    ENSURE(is_put);
    heap_put(&world->pool.tickets_due, ticket);
    line_up(world, ticket);
    world->pool.detached_count += !ticket->is_attached;
}

static struct ticket *ticket_put(struct world *world, const struct ticket *record)
{
    struct pool *pool = &world->pool;
    if (!heap_reserve(&pool->tickets_due, pool->tickets_due.count + 1))
        return NULL;
    struct ticket *ticket = malloc(sizeof *ticket);
    if (ticket == NULL)
        return NULL;
    *ticket = *record;
    list_init(&ticket->node);
    if (!map_put(&pool->tickets_by_id, map_hash_id(ticket->id), ticket)) {
        free(ticket);
        return NULL;
    }
    heap_put(&pool->tickets_due, ticket);
    line_up(world, ticket);
    pool->detached_count += !ticket->is_attached;
    return ticket;
}

static void ticket_take_out(struct world *world, struct ticket *ticket)
{
    bool was_in = map_remove(&world->pool.tickets_by_id, map_hash_id(ticket->id), ticket);
    ENSURE(was_in);
    heap_take_out(&world->pool.tickets_due, ticket);
    list_remove(&ticket->node);
    world->pool.detached_count -= !ticket->is_attached;
}

/* --- changes --- */

/* Keeps the values as they are before the first change of the batch; there must be room for a change. */
static void touch_pool(struct world *world)
{
    struct pool *pool = &world->pool;
    ENSURE(world_holds_pool(world));
    if (pool->touched_batch == world->batch)
        return;
    pool->touched_batch = world->batch;
    struct change *change = world_changes_append(world, CHANGE_POOL_UPDATED, NULL);
    change->pool.before = pool->values;
    change->pool.lease_ms_before = pool->lease_ms;
    pool->values.version++;
}

static void touch_machine(struct world *world, struct machine *machine)
{
    touch_pool(world);
    if (machine->touched_batch == world->batch)
        return;
    machine->touched_batch = world->batch;
    struct change *change = world_changes_append(world, CHANGE_MACHINE_UPDATED, NULL);
    change->machine.machine = machine;
    change->machine.before = machine->values;
}

static void touch_ticket(struct world *world, struct ticket *ticket)
{
    touch_pool(world);
    if (ticket->touched_batch == world->batch)
        return;
    ticket->touched_batch = world->batch;
    struct change *change = world_changes_append(world, CHANGE_TICKET_UPDATED, NULL);
    change->ticket.ticket = ticket;
    change->ticket.before = ticket->values;
}

struct machine *world_add_machine(struct world *world, struct slice name, int64_t now_ms)
{
    struct machine record = {
        .id = world->pool.values.next_machine_id,
        .created_ms = now_ms,
        .name = name,
        .values = {.status = MACHINE_IDLE, .updated_ms = now_ms},
        .touched_batch = world->batch,
        .added_batch = world->batch,
    };
    struct machine *machine = world_changes_make_room(world, 2) ? machine_put(world, &record) : NULL;
    if (machine == NULL)
        return NULL;
    touch_pool(world);
    world->pool.values.next_machine_id++;
    world_changes_append(world, CHANGE_MACHINE_ADDED, NULL)->machine.machine = machine;
    return machine;
}

bool world_set_machine(struct world *world, struct machine *machine, const struct machine_values *values)
{
    bool is_idle = values->status == MACHINE_IDLE;
    ENSURE(is_idle == (values->lease.id == 0) && is_idle == (values->due_ms == 0));
    if (!world_changes_make_room(world, 2))
        return false;
    touch_machine(world, machine);
    set_values(world, machine, values);
    return true;
}

bool world_rename_machine(struct world *world, struct machine *machine, struct slice name)
{
    struct slice copy;
    if (!world_changes_make_room(world, 3) || !name_dup(name, &copy))
        return false;
    touch_machine(world, machine);
    struct change *change = world_changes_append(world, CHANGE_MACHINE_RENAMED, NULL);
    change->machine.machine = machine;
    change->machine.name_before = machine->name;
    machine->name = copy;
    return true;
}

bool world_remove_machine(struct world *world, struct machine *machine)
{
    ENSURE(machine->values.status == MACHINE_IDLE);
    if (!world_changes_make_room(world, 2))
        return false;
    touch_pool(world);
    world->pool.values.whole_version = world->pool.values.version;
    machine_take_out(world, machine);
    world_changes_append(world, CHANGE_MACHINE_REMOVED, NULL)->machine.machine = machine;
    return true;
}

bool world_take_lease_id(struct world *world, int64_t *id)
{
    if (!world_changes_make_room(world, 1))
        return false;
    touch_pool(world);
    *id = world->pool.values.next_lease_id++;
    return true;
}

bool world_add_ended_lease(
    struct world *world, const struct machine *machine, enum lease_end end, int64_t now_ms)
{
    ENSURE(machine->values.lease.id != 0);
    if (!world_changes_make_room(world, 2))
        return false;
    touch_pool(world);
    struct change *change = world_changes_append(world, CHANGE_LEASE_ENDED, NULL);
    change->lease.lease = machine->values.lease;
    change->lease.machine_id = machine->id;
    change->lease.end = end;
    change->lease.time_ms = now_ms;
    return true;
}

struct ticket *world_add_ticket(struct world *world, bool is_attached, int64_t until_ms, int64_t now_ms)
{
    struct ticket record = {
        .id = world->pool.values.next_ticket_id,
        .created_ms = now_ms,
        .first_lease_id = world->pool.values.next_lease_id,
        .is_attached = is_attached,
        .values = {.until_ms = until_ms, .state = TICKET_WAITING},
        .touched_batch = world->batch,
        .added_batch = world->batch,
    };
    struct ticket *ticket = world_changes_make_room(world, 2) ? ticket_put(world, &record) : NULL;
    if (ticket == NULL)
        return NULL;
    touch_pool(world);
    world->pool.values.next_ticket_id++;
    world_changes_append(world, CHANGE_TICKET_ADDED, NULL)->ticket.ticket = ticket;
    return ticket;
}

bool world_keep_ticket(struct world *world, struct ticket *ticket, int64_t until_ms)
{
    if (!world_changes_make_room(world, 2))
        return false;
    touch_ticket(world, ticket);
    ticket->values.until_ms = until_ms;
    heap_move(&world->pool.tickets_due, ticket);
    return true;
}

bool world_end_ticket(struct world *world, struct ticket *ticket, enum ticket_state state, int64_t lease_id,
    int64_t machine_id, int64_t now_ms)
{
    ENSURE(state != TICKET_WAITING && (state == TICKET_SERVED) == (lease_id != 0));
    if (!world_changes_make_room(world, 3))
        return false;
    touch_ticket(world, ticket);
    struct change *change = world_changes_append(world, CHANGE_TICKET_ENDED, NULL);
    change->ticket.ticket = ticket;
    change->ticket.before = ticket->values;
    ticket_take_out(world, ticket);
    ticket->has_ended = true;
    ticket->values.state = state;
    ticket->values.end_lease_id = lease_id != 0 ? lease_id : world->pool.values.next_lease_id;
    ticket->values.machine_id = machine_id;
    ticket->values.ended_ms = now_ms;
    return true;
}

/* --- the end of a batch --- */

void world_accept_pool(const struct change *change)
{
    if (change->kind == CHANGE_MACHINE_REMOVED)
        machine_free(change->machine.machine);
    else if (change->kind == CHANGE_MACHINE_RENAMED)
        name_free(change->machine.name_before);
    else if (change->kind == CHANGE_TICKET_ENDED)
        free(change->ticket.ticket);
}

static void undo_machine(struct world *world, const struct change *change)
{
    struct machine *machine = change->machine.machine;
    switch (change->kind) {
    case CHANGE_MACHINE_ADDED:
        machine_take_out(world, machine);
        machine_free(machine);
        break;
    case CHANGE_MACHINE_UPDATED:
        machine->touched_batch = 0;
        set_values(world, machine, &change->machine.before);
        break;
    case CHANGE_MACHINE_RENAMED:
        name_free(machine->name);
        machine->name = change->machine.name_before;
        break;
    default: {
        /* The map had this entry before and has not shrunk, so there is room. */
        bool is_put = map_put(&world->pool.machines_by_id, map_hash_id(machine->id), machine);
        ENSURE(is_put);
        list_append(&world->pool.machines, &machine->node);
        machine->is_removed = false;
        settle(world, machine);
    }
    }
}

static void undo_ticket(struct world *world, const struct change *change)
{
    struct ticket *ticket = change->ticket.ticket;
    if (change->kind == CHANGE_TICKET_ADDED) {
        ticket_take_out(world, ticket);
        free(ticket);
        return;
    }
    ticket->values = change->ticket.before;
    if (change->kind == CHANGE_TICKET_ENDED) {
        ticket->has_ended = false;
        ticket_put_back(world, ticket);
        return;
    }
    ticket->touched_batch = 0;
    heap_move(&world->pool.tickets_due, ticket);
}

void world_undo_pool(struct world *world, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_MACHINE_ADDED:
    case CHANGE_MACHINE_UPDATED:
    case CHANGE_MACHINE_RENAMED:
    case CHANGE_MACHINE_REMOVED:
        undo_machine(world, change);
        break;
    case CHANGE_TICKET_ADDED:
    case CHANGE_TICKET_UPDATED:
    case CHANGE_TICKET_ENDED:
        undo_ticket(world, change);
        break;
    case CHANGE_POOL_UPDATED:
        world->pool.values = change->pool.before;
        world->pool.lease_ms = change->pool.lease_ms_before;
        world->pool.touched_batch = 0;
        break;
    default:
        ENSURE(change->kind == CHANGE_LEASE_ENDED); /* a row without an entity */
    }
}

/* --- loading --- */

/* What of a record counts. */
static struct machine loaded_machine(const struct machine *record)
{
    return (struct machine){
        .id = record->id, .created_ms = record->created_ms, .name = record->name, .values = record->values};
}

bool world_load_machine(struct world *world, const struct machine *record)
{
    const struct machine machine = loaded_machine(record);
    ENSURE(world_machine(world, record->id) == NULL);
    return machine_put(world, &machine) != NULL;
}

bool world_load_ticket(struct world *world, const struct ticket *record)
{
    const struct ticket ticket = {.id = record->id,
        .created_ms = record->created_ms,
        .first_lease_id = record->first_lease_id,
        .is_attached = record->is_attached,
        .values = record->values};
    ENSURE(record->values.state == TICKET_WAITING);
    return ticket_put(world, &ticket) != NULL;
}

static void drop_tickets(struct list *tickets)
{
    struct list *node;
    while ((node = list_first(tickets)) != NULL) {
        list_remove(node);
        free(CONTAINER_OF(node, struct ticket, node));
    }
}

void world_drop_pool(struct world *world)
{
    struct pool *pool = &world->pool;
    struct list *node;
    while ((node = list_first(&pool->machines)) != NULL) {
        list_remove(node);
        machine_free(CONTAINER_OF(node, struct machine, node));
    }
    drop_tickets(&pool->waiting);
    drop_tickets(&pool->ended_tickets);
    map_fini(&pool->machines_by_id);
    map_fini(&pool->tickets_by_id);
    heap_fini(&pool->idle);
    heap_fini(&pool->machines_due);
    heap_fini(&pool->tickets_due);
}

/* --- what a shared store brings in --- */

bool world_refresh_pool(struct world *world, const struct pool_values *values, bool is_held)
{
    struct pool *pool = &world->pool;
    ENSURE(world->is_shared && world->change_count == 0);
    bool is_useless = pool->values.version < values->whole_version || pool->refresh_number == 0;
    pool->values = *values;
    pool->refresh_number++;
    if (is_held)
        pool->held_batch = world->batch;
    return is_useless;
}

bool world_refresh_machine(struct world *world, const struct machine *record)
{
    struct machine *machine = world_machine(world, record->id);
    if (machine == NULL) {
        if (!world_load_machine(world, record))
            return false;
        machine = world_machine(world, record->id);
    } else {
        struct slice name = machine->name;
        if (!slice_eq(record->name, name)) {
            if (!name_dup(record->name, &name))
                return false;
            name_free(machine->name);
            machine->name = name;
        }
        set_values(world, machine, &record->values);
    }
    machine->seen_refresh = world->pool.refresh_number;
    return true;
}

bool world_refresh_ticket(struct world *world, const struct ticket *record)
{
    struct ticket *ticket = world_ticket(world, record->id);
    bool is_waiting = record->values.state == TICKET_WAITING;
    if (ticket == NULL)
        return !is_waiting || world_load_ticket(world, record);
    ticket->values = record->values;
    if (is_waiting) {
        heap_move(&world->pool.tickets_due, ticket);
        return true;
    }
    ticket_take_out(world, ticket);
    ticket->has_ended = true;
    list_append(&world->pool.ended_tickets, &ticket->node);
    return true;
}

void world_refresh_pool_end(struct world *world, bool was_everything)
{
    struct pool *pool = &world->pool;
    struct list *node = pool->machines.next;
    while (was_everything && node != &pool->machines) {
        struct machine *machine = CONTAINER_OF(node, struct machine, node);
        node = node->next;
        if (machine->seen_refresh == pool->refresh_number)
            continue;
        machine_take_out(world, machine);
        machine_free(machine);
    }
}

/* A first copy is forgotten: tickets in it may end before the next one, which has only those that wait. */
void world_refresh_pool_failed(struct world *world, const struct pool_values *before)
{
    struct pool *pool = &world->pool;
    bool was_first = pool->refresh_number == 1;
    pool->values = *before;
    pool->held_batch = 0;
    if (!was_first)
        return;
    world_drop_pool(world);
    world_init_pool(world);
}

void world_accept_ended_tickets(struct world *world)
{
    drop_tickets(&world->pool.ended_tickets);
}
