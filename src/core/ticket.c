/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ticket.h"

#include "base/ensure.h"
#include "core/rules.h"

static int64_t line_length(const struct world *world)
{
    return (int64_t)world->pool.tickets_by_id.count;
}

bool ticket_join(
    const struct rules *rules, struct world *world, struct command *command, bool is_attached, int64_t now_ms)
{
    struct pool_request *request = command->pool;
    bool has_to_wait = world_idle_machine(world) == NULL;
    if (has_to_wait && (size_t)line_length(world) >= rules->line_max) {
        command->outcome.result = RESULT_LINE_FULL;
        return true;
    }
    const struct ticket *ticket = world_add_ticket(world, is_attached, request->until_ms, now_ms);
    if (ticket == NULL)
        return false;
    command->outcome = (struct outcome){.result = RESULT_TICKET_WAITS, .time_ms = now_ms};
    request->ticket_id = ticket->id;
    request->position = line_length(world);
    return true;
}

bool ticket_take(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms)
{
    if (!ticket_join(rules, world, command, false, now_ms))
        return false;
    if (command->outcome.result != RESULT_TICKET_WAITS)
        return true;
    if (!ticket_serve(rules, world, now_ms, now_ms))
        return false;
    if (world_ticket(world, command->pool->ticket_id) == NULL)
        command->pool->position = 0;
    return true;
}

bool ticket_keep(struct world *world, struct command *command)
{
    const struct pool_request *request = command->pool;
    command->outcome.result = RESULT_TICKET_NOT_WAITING;
    for (size_t i = 0; i < request->ticket_count; i++) {
        struct ticket *ticket = world_ticket(world, request->ticket_ids[i]);
        if (ticket == NULL)
            continue;
        command->outcome.result = RESULT_OK;
        if (request->until_ms > ticket->values.until_ms &&
            !world_keep_ticket(world, ticket, request->until_ms))
            return false;
    }
    return true;
}

bool ticket_leave(struct world *world, struct command *command, int64_t now_ms)
{
    const struct pool_request *request = command->pool;
    command->outcome.result = RESULT_TICKET_NOT_WAITING;
    for (size_t i = 0; i < request->ticket_count; i++) {
        struct ticket *ticket = world_ticket(world, request->ticket_ids[i]);
        if (ticket == NULL)
            continue;
        command->outcome.result = RESULT_OK;
        if (!world_end_ticket(world, ticket, TICKET_LEFT, 0, 0, now_ms))
            return false;
    }
    return true;
}

bool ticket_serve(const struct rules *rules, struct world *world, int64_t since_ms, int64_t now_ms)
{
    struct ticket *ticket;
    struct machine *machine;
    while ((ticket = world_first_ticket(world)) != NULL && (machine = world_idle_machine(world)) != NULL) {
        bool had_gone = ticket->values.until_ms <= since_ms;
        if (had_gone && !world_end_ticket(world, ticket, TICKET_EXPIRED, 0, 0, now_ms))
            return false;
        if (had_gone)
            continue;
        if (!machine_assign(rules, world, machine, ticket->id, now_ms) ||
            !world_end_ticket(world, ticket, TICKET_SERVED, machine->values.lease.id, machine->id, now_ms))
            return false;
    }
    return true;
}
