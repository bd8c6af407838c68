/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rules.h"

#include "base/ensure.h"
#include "core/account.h"
#include "core/catalogue.h"
#include "core/intake.h"
#include "core/machine.h"
#include "core/order.h"
#include "core/sale.h"
#include "core/ticket.h"
#include "core/wallet.h"
#include "core/work.h"

static bool decide_by_kind(
    const struct rules *rules, struct world *world, struct command *command, int64_t now_ms)
{
    switch (command->kind) {
    case COMMAND_PURCHASE:
        return sale_purchase(world, rules->says_sold_out, command, now_ms);
    case COMMAND_MACHINE_CHOOSE:
        return machine_choose(rules, world, command, now_ms);
    case COMMAND_WALLET_SPEND:
        return wallet_spend(world, command, now_ms);
    case COMMAND_PRODUCT_CREATE:
        return catalogue_create(world, command, now_ms);
    case COMMAND_PRODUCT_UPDATE:
        return catalogue_update(world, command, now_ms);
    case COMMAND_PRODUCT_PATCH:
        return catalogue_patch(world, command, now_ms);
    case COMMAND_PRODUCT_DELETE:
        return catalogue_delete(world, command);
    case COMMAND_PRODUCT_ADD:
        return catalogue_add(world, command, now_ms);
    case COMMAND_PRODUCT_SET_STOCK:
        return catalogue_set_stock(world, command, now_ms);
    case COMMAND_WORK_CLAIM:
        return work_claim(world, command, now_ms);
    case COMMAND_WORK_FINISH:
        return work_finish(rules, world, command, now_ms);
    case COMMAND_WORK_POSTPONE:
        return work_postpone(world, command, now_ms);
    case COMMAND_WORK_REVIVE:
        return work_revive(world, command, now_ms);
    case COMMAND_ORDER_PLACE:
        return order_place(world, command, now_ms);
    case COMMAND_ORDER_CANCEL:
        return order_cancel(world, command, now_ms);
    case COMMAND_ACCOUNT_REGISTER:
        return account_register(world, command, now_ms);
    case COMMAND_INTAKE_PLACE:
        return intake_place(world, command, now_ms);
    case COMMAND_INTAKE_CANCEL:
        return intake_cancel(world, command, now_ms);
    case COMMAND_INTAKE_SEND:
        return intake_send(world, command);
    case COMMAND_INTAKE_EXECUTED:
        return intake_executed(world, command, now_ms);
    case COMMAND_MACHINE_CREATE:
        return machine_create(rules, world, command, now_ms);
    case COMMAND_MACHINE_UPDATE:
        return machine_update(rules, world, command, now_ms);
    case COMMAND_MACHINE_DELETE:
        return machine_delete(world, command, now_ms);
    case COMMAND_MACHINE_RESET:
        return machine_reset(rules, world, command, now_ms);
    case COMMAND_MACHINE_TAKE:
        return machine_take(rules, world, command, now_ms);
    case COMMAND_TICKET_TAKE:
        return ticket_take(rules, world, command, now_ms);
    case COMMAND_TICKET_KEEP:
        return ticket_keep(world, command);
    case COMMAND_TICKET_LEAVE:
        return ticket_leave(world, command, now_ms);
    case COMMAND_WALLET_TRANSFER:
        return wallet_transfer(world, command, now_ms);
    case COMMAND_WALLET_CREDIT:
        return wallet_credit(world, command, now_ms);
    }
    ensure_failed("the command is of a kind that exists", __FILE__, __LINE__, __func__);
}

static void answer_again(struct world *world, const struct key_record *record, struct command *command)
{
    struct outcome *outcome = &command->outcome;
    if (memcmp(record->fingerprint, command->idempotency.fingerprint, FINGERPRINT_BYTES) != 0) {
        outcome->result = RESULT_KEY_MISMATCH;
        return;
    }
    if (record->batch == world->batch) {
        outcome->result = RESULT_KEY_IN_FLIGHT;
        return;
    }
    outcome->result = record->result;
    outcome->number = record->number;
    outcome->time_ms = record->time_ms;
    outcome->is_replay = true;
    world->repeats_answers = true;
}

static struct key_record *oldest_key(const struct world *world)
{
    struct list *node = list_first(&world->keys);
    return node == NULL ? NULL : CONTAINER_OF(node, struct key_record, node);
}

/*
 * Strangers choose the keys, so their number has a bound. Who floods the table only makes it forget sooner;
 * an early repetition is then decided anew, and the rules still sell nobody more than one buyer may have.
 */
static bool keep_answer(
    const struct rules *rules, struct world *world, const struct command *command, int64_t now_ms)
{
    while (world->keys_by_name.count >= rules->idempotency_count_max) {
        if (!world_remove_key(world, oldest_key(world)))
            return false;
    }
    return world_add_key(world, &command->idempotency, &command->outcome, now_ms);
}

bool rules_decide(const struct rules *rules, struct world *world, struct command *command, int64_t now_ms)
{
    const struct idempotency *idempotency = &command->idempotency;
    command->outcome = (struct outcome){.result = RESULT_OK};
    if (idempotency->key.len == 0)
        return decide_by_kind(rules, world, command, now_ms);
    const struct key_record *record = world_key(world, idempotency->scope, idempotency->key);
    if (record != NULL) {
        answer_again(world, record, command);
        return true;
    }
    return decide_by_kind(rules, world, command, now_ms) && keep_answer(rules, world, command, now_ms);
}

bool rules_tick(const struct rules *rules, struct world *world, int64_t now_ms)
{
    for (int i = 0; i < RULES_KEYS_EXPIRED_PER_TICK_MAX; i++) {
        struct key_record *oldest = oldest_key(world);
        if (oldest == NULL)
            break;
        bool has_expired = now_ms - oldest->created_ms >= rules->idempotency_ttl_ms;
        if (!has_expired && world->keys_surplus == 0)
            break;
        world->keys_surplus -= !has_expired;
        if (!world_remove_key(world, oldest))
            return false;
    }
    return sale_tick(world, now_ms) && (!world_holds_pool(world) || machine_tick(rules, world, now_ms));
}

int64_t rules_next_tick_ms(const struct rules *rules, const struct world *world)
{
    const struct key_record *oldest = oldest_key(world);
    int64_t next = world->next_edge_ms;
    if (oldest != NULL && oldest->created_ms + rules->idempotency_ttl_ms < next)
        next = oldest->created_ms + rules->idempotency_ttl_ms;
    int64_t pool_ms = world_pool_due_ms(world);
    return pool_ms < next ? pool_ms : next;
}
