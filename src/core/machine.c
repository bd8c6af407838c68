/* SPDX-License-Identifier: Apache-2.0 */
#include "core/machine.h"

#include "base/ensure.h"
#include "base/strbuf.h"
#include "core/rules.h"
#include "core/sale.h"
#include "core/ticket.h"

enum { AVERAGE_WEIGHT = 8 /* a new measurement counts one eighth */ };

/* --- answers --- */

struct slice machine_user(int64_t machine_id, char memory[MACHINE_USER_LEN_MAX])
{
    struct strbuf text;
    strbuf_init(&text, memory, MACHINE_USER_LEN_MAX);
    strbuf_lit(&text, " machine ");
    strbuf_put_i64(&text, machine_id);
    ENSURE(!text.has_overflowed);
    return strbuf_slice(&text);
}

static struct slice copy_name(struct slice name, char *memory, size_t size)
{
    ENSURE(name.len <= size);
    if (name.len > 0) /* an empty slice may have no base, which memcpy does not allow */
        memcpy(memory, name.base, name.len);
    return slice_make(memory, name.len);
}

static void machine_show(const struct machine *machine, struct command *command)
{
    struct pool_request *request = command->pool;
    command->outcome.result = RESULT_OK;
    request->machine = (struct machine_row){
        .id = machine->id,
        .name = copy_name(machine->name, request->machine_name, sizeof request->machine_name),
        .status = machine->values.status,
        .is_draining = machine->values.is_draining,
        .usage_count = machine->values.usage_count,
        .lease_id = machine->values.lease.id,
        .created_ms = machine->created_ms,
        .updated_ms = machine->values.updated_ms,
    };
}

void product_show(const struct product *product, struct pool_request *request)
{
    request->product = (struct product_row){
        .id = product->id,
        .name = copy_name(product->values.name, request->product_name, sizeof request->product_name),
        .stock = product->values.stock,
        .created_ms = product->values.created_ms,
        .updated_ms = product->values.updated_ms,
    };
}

static struct machine *named_machine(const struct world *world, struct command *command)
{
    struct machine *machine = world_machine(world, command->pool->machine_id);
    if (machine == NULL)
        command->outcome.result = RESULT_MACHINE_NOT_FOUND;
    return machine;
}

/* --- the life of a lease --- */

/* Now, but not before what was told of the machine last: a clock may be set back, and those of two nodes
 * differ. Only what is due goes by the clock alone. */
static int64_t told_ms(const struct machine *machine, int64_t now_ms)
{
    return now_ms > machine->values.updated_ms ? now_ms : machine->values.updated_ms;
}

bool machine_assign(const struct rules *rules, struct world *world, struct machine *machine,
    int64_t ticket_id, int64_t now_ms)
{
    struct machine_values values = machine->values;
    ENSURE(values.status == MACHINE_IDLE && !values.is_draining);
    if (!world_take_lease_id(world, &values.lease.id))
        return false;
    values.status = MACHINE_CHOOSING;
    values.lease.ticket_id = ticket_id;
    values.updated_ms = told_ms(machine, now_ms);
    values.lease.started_ms = values.updated_ms;
    values.due_ms = now_ms + rules->choose_timeout_ms;
    return world_set_machine(world, machine, &values);
}

static void note_duration(struct pool *pool, int64_t lease_ms)
{
    if (lease_ms < 0) /* the clock was set back */
        return;
    pool->lease_ms =
        pool->lease_ms == 0 ? lease_ms : pool->lease_ms + (lease_ms - pool->lease_ms) / AVERAGE_WEIGHT;
}

/* The machine is idle afterwards; who waits has not been served yet. */
static bool end_lease(struct world *world, struct machine *machine, enum lease_end end, int64_t now_ms)
{
    struct machine_values values = machine->values;
    values.updated_ms = told_ms(machine, now_ms);
    if (!world_add_ended_lease(world, machine, end, values.updated_ms))
        return false;
    note_duration(&world->pool, now_ms - values.lease.started_ms);
    values.status = MACHINE_IDLE;
    values.usage_count += end == LEASE_COMPLETED;
    values.lease = (struct lease){0};
    values.due_ms = 0;
    return world_set_machine(world, machine, &values);
}

/* --- machines --- */

bool machine_create(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms)
{
    if (world->pool.machines_by_id.count >= MACHINES_MAX) {
        command->outcome.result = RESULT_MACHINES_FULL;
        return true;
    }
    const struct machine *machine = world_add_machine(world, command->pool->name, now_ms);
    if (machine == NULL)
        return false;
    machine_show(machine, command); /* as it was made, though it may serve somebody at once */
    return ticket_serve(rules, world, now_ms, now_ms);
}

bool machine_update(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms)
{
    const struct pool_request *request = command->pool;
    struct machine *machine = named_machine(world, command);
    if (machine == NULL)
        return true;
    struct machine_values values = machine->values;
    if (request->has_draining)
        values.is_draining = request->is_draining;
    if (request->has_name || request->has_draining) {
        values.updated_ms = told_ms(machine, now_ms);
        if (!world_set_machine(world, machine, &values))
            return false;
    }
    if (request->has_name && !world_rename_machine(world, machine, request->name))
        return false;
    machine_show(machine, command);
    return ticket_serve(rules, world, now_ms, now_ms);
}

bool machine_delete(struct world *world, struct command *command, int64_t now_ms)
{
    struct machine *machine = named_machine(world, command);
    if (machine == NULL)
        return true;
    command->outcome.result = RESULT_OK;
    bool is_idle = machine->values.status == MACHINE_IDLE;
    return (is_idle || end_lease(world, machine, LEASE_DELETED, now_ms)) &&
           world_remove_machine(world, machine);
}

bool machine_reset(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms)
{
    const struct pool_request *request = command->pool;
    struct machine *machine = named_machine(world, command);
    if (machine == NULL)
        return true;
    bool is_another = request->lease_id != 0 && request->lease_id != machine->values.lease.id;
    bool is_in_use = request->is_given_up && machine->values.status == MACHINE_PROCESSING;
    if (machine->values.status == MACHINE_IDLE || is_another || is_in_use) {
        command->outcome.result = RESULT_MACHINE_IS_IDLE;
        return true;
    }
    if (!end_lease(world, machine, request->is_given_up ? LEASE_GIVEN_UP : LEASE_RESET, now_ms))
        return false;
    machine_show(machine, command); /* idle, though it may serve the next one at once */
    return ticket_serve(rules, world, now_ms, now_ms);
}

/* --- users --- */

bool machine_take(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms)
{
    if (!ticket_serve(rules, world, now_ms, now_ms)) /* nothing to do: see the head of machine.h */
        return false;
    struct machine *machine = world_idle_machine(world);
    if (machine == NULL && command->pool->until_ms != 0)
        return ticket_join(rules, world, command, true, now_ms);
    if (machine == NULL) {
        command->outcome.result = RESULT_NO_IDLE_MACHINE;
        return true;
    }
    if (!machine_assign(rules, world, machine, 0, now_ms))
        return false;
    machine_show(machine, command);
    return true;
}

static bool dispense(const struct rules *rules, struct world *world, struct machine *machine,
    const struct product *product, struct command *command, int64_t purchase_id, int64_t now_ms)
{
    struct machine_values values = machine->values;
    values.status = MACHINE_PROCESSING;
    values.updated_ms = told_ms(machine, now_ms);
    values.lease.chosen_ms = values.updated_ms;
    values.lease.product_id = product->id;
    values.lease.units = command->pool->units;
    values.lease.purchase_id = purchase_id;
    values.due_ms = now_ms + rules->dispense_ms;
    if (!world_set_machine(world, machine, &values))
        return false;
    machine_show(machine, command);
    if (rules->dispense_ms > 0)
        return true;
    return end_lease(world, machine, LEASE_COMPLETED, now_ms) && ticket_serve(rules, world, now_ms, now_ms);
}

bool machine_choose(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms)
{
    struct pool_request *request = command->pool;
    struct outcome *outcome = &command->outcome;
    struct machine *machine = world_machine(world, request->machine_id);
    struct product *product = command->sku.len == 0 ? NULL : world_product(world, command->sku);
    request->is_machine_unknown = machine == NULL;
    request->is_product_unknown = product == NULL || product->id != command->product_id;
    ENSURE(request->units >= 1 && request->units <= MACHINE_UNITS_MAX);
    if (request->is_machine_unknown || request->is_product_unknown) {
        outcome->result = RESULT_CHOICE_UNKNOWN;
        return true;
    }
    bool is_another = request->lease_id != 0 && request->lease_id != machine->values.lease.id;
    if (request->coins != request->units) {
        outcome->result = RESULT_COINS_NOT_COUNT;
        return true;
    }
    if (machine->values.status != MACHINE_CHOOSING || is_another) {
        outcome->result = RESULT_NOT_CHOOSING;
        return true;
    }
    int64_t available = sale_available(product, now_ms);
    if (request->units > available) {
        *outcome = (struct outcome){.result = RESULT_STOCK_INSUFFICIENT, .number = available};
        return true;
    }
    int64_t purchase_id;
    if (!sale_take_units(world, product, command->user, request->units, now_ms, &purchase_id))
        return false;
    product_show(product, request);
    return dispense(rules, world, machine, product, command, purchase_id, now_ms);
}

/* --- time --- */

/* What is due of machines, and who is served then. */
static bool end_due_lease(
    const struct rules *rules, struct world *world, struct machine *machine, int64_t now_ms)
{
    bool is_done = machine->values.status == MACHINE_PROCESSING;
    int64_t due_ms = machine->values.due_ms;
    return end_lease(world, machine, is_done ? LEASE_COMPLETED : LEASE_TIMED_OUT, now_ms) &&
           ticket_serve(rules, world, due_ms, now_ms);
}

/* In the order in which it was due, so that a tick that comes late does the same as several in time. */
bool machine_tick(const struct rules *rules, struct world *world, int64_t now_ms)
{
    for (int i = 0; i < RULES_POOL_DUE_PER_TICK_MAX && world_pool_due_ms(world) <= now_ms; i++) {
        struct machine *machine = world_due_machine(world);
        struct ticket *ticket = world_due_ticket(world);
        bool is_ticket =
            machine == NULL || (ticket != NULL && ticket->values.until_ms <= machine->values.due_ms);
        bool is_done = is_ticket ? world_end_ticket(world, ticket, TICKET_EXPIRED, 0, 0, now_ms)
                                 : end_due_lease(rules, world, machine, now_ms);
        if (!is_done)
            return false;
    }
    return true;
}
