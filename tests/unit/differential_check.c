/* SPDX-License-Identifier: Apache-2.0 */
/* What both stores of the differential test have answered, and what their worlds believe. */
#include "differential.h"

/* --- the answers --- */

/* A number that is given out for the first time is noted beside its twin; every other one is looked up. */
static void check_number(
    struct run *run, struct node *node, const struct outcome *ours, const struct outcome *theirs)
{
    CHECK(run, ours->number >= 0 && ours->number < run->numbers_size, "number %" PRId64, ours->number);
    bool is_new = ours->number > 0 && !ours->is_replay;
    if (!is_new) {
        int64_t expected = ours->number == 0 ? 0 : run->numbers[ours->number];
        CHECK(run, theirs->number == expected, "number %" PRId64 " instead of %" PRId64, theirs->number,
            expected);
        return;
    }
    CHECK(run, theirs->number > node->number_last, "number %" PRId64 " comes after %" PRId64, theirs->number,
        node->number_last);
    for (int64_t i = ours->number; i-- > 0;) /* the other node's may be larger, but none comes twice */
        CHECK(run, run->numbers[i] != theirs->number, "number %" PRId64 " comes twice", theirs->number);
    node->number_last = theirs->number;
    run->numbers[ours->number] = theirs->number;
}

static const char *kind_name(enum command_kind kind)
{
    static const char *const names[COMMAND_KIND_COUNT] = {"purchase", "choice", "spend", "create", "update",
        "patch", "delete", "addition", "stock", "claim", "finish", "postpone", "revival", "order",
        "cancelled order", "account", "trading order", "cancelled trading order", "range", "executed range",
        "new machine", "changed machine", "removed machine", "reset", "start", "ticket", "kept ticket",
        "left ticket", "transfer", "credit"};
    return names[kind];
}

/* Trading orders have the same numbers everywhere, since they tell the order of acceptance. */
static void check_intake(struct run *run, unsigned i)
{
    const struct command *ours = &run->ours[i].command;
    const struct command *theirs = &run->theirs[i].command;
    CHECK(run, ours->outcome.number == theirs->outcome.number, "%s %" PRId64 " and %" PRId64,
        kind_name(ours->kind), ours->outcome.number, theirs->outcome.number);
    CHECK(run,
        ours->intake->first_id == theirs->intake->first_id &&
            ours->intake->last_id == theirs->intake->last_id,
        "%s %" PRId64 "..%" PRId64 " and %" PRId64 "..%" PRId64, kind_name(ours->kind),
        ours->intake->first_id, ours->intake->last_id, theirs->intake->first_id, theirs->intake->last_id);
}

/* Units that were bought together have one answer, or none: the changes tell their numbers. */
static void note_purchases(struct run *run, const struct node *node)
{
    const struct world *ours = &run->embedded.world;
    const struct world *theirs = &node->world;
    size_t at = 0;
    for (size_t i = 0; i < ours->change_count; i++) {
        if (ours->changes[i].kind != CHANGE_PURCHASE_ADDED)
            continue;
        while (at < theirs->change_count && theirs->changes[at].kind != CHANGE_PURCHASE_ADDED)
            at++;
        CHECK(run, at < theirs->change_count, "PostgreSQL sells less");
        int64_t number = ours->changes[i].purchase.id;
        CHECK(run, number < run->numbers_size, "number %" PRId64, number);
        run->numbers[number] = theirs->changes[at++].purchase.id;
    }
}

static bool machine_rows_are_equal(const struct machine_row *a, const struct machine_row *b)
{
    return a->id == b->id && slice_eq(a->name, b->name) && a->status == b->status &&
           a->is_draining == b->is_draining && a->usage_count == b->usage_count &&
           a->lease_id == b->lease_id && a->created_ms == b->created_ms && a->updated_ms == b->updated_ms;
}

static bool is_about_pool(const struct run *run, unsigned i)
{
    return run->ours[i].command.pool == &run->our_pools[i].request;
}

/* Machines, leases and tickets have the same numbers everywhere: they tell whose turn it is. */
static void check_pool_answer(struct run *run, unsigned i)
{
    const struct command *ours = &run->ours[i].command;
    const struct pool_request *our = &run->our_pools[i].request;
    const struct pool_request *their = &run->their_pools[i].request;
    bool has_left = ours->outcome.result == RESULT_STOCK_INSUFFICIENT;
    CHECK(run, machine_rows_are_equal(&our->machine, &their->machine),
        "%s tells of machine %" PRId64 " (lease %" PRId64 ") and %" PRId64 " (lease %" PRId64 ")",
        kind_name(ours->kind), our->machine.id, our->machine.lease_id, their->machine.id,
        their->machine.lease_id);
    CHECK(run, our->ticket_id == their->ticket_id && our->position == their->position,
        "%s tells of ticket %" PRId64 ", place %" PRId64 ", and %" PRId64 ", place %" PRId64,
        kind_name(ours->kind), our->ticket_id, our->position, their->ticket_id, their->position);
    CHECK(run,
        slice_eq(our->product.name, their->product.name) && our->product.stock == their->product.stock &&
            our->product.updated_ms == their->product.updated_ms &&
            our->is_product_unknown == their->is_product_unknown &&
            our->is_machine_unknown == their->is_machine_unknown,
        "%s of %s tells of different products", kind_name(ours->kind), run->our_pools[i].sku_text);
    CHECK(run, !has_left || ours->outcome.number == run->theirs[i].command.outcome.number,
        "a choice is told that %" PRId64 " are left, and %" PRId64, ours->outcome.number,
        run->theirs[i].command.outcome.number);
}

/* A transfer that is told for the first time is noted beside its twin; every other one is looked up. */
static void check_transfer(struct run *run, unsigned i)
{
    const struct outcome *outcome = &run->ours[i].command.outcome;
    const struct wallet_request *our = &run->our_wallets[i].request;
    const struct wallet_request *their = &run->their_wallets[i].request;
    if (outcome->result != RESULT_OK)
        return;
    const struct transfer_row *ours = &our->transfer;
    const struct transfer_row *theirs = &their->transfer;
    CHECK(run, ours->id > 0 && ours->id < run->numbers_size, "transfer %" PRId64, ours->id);
    if (!outcome->is_replay)
        run->transfers[ours->id] = theirs->id;
    CHECK(run, run->transfers[ours->id] == theirs->id, "transfer %" PRId64 " is %" PRId64, ours->id,
        theirs->id);
    CHECK(run,
        our->balance_minor == their->balance_minor && ours->kind == theirs->kind &&
            ours->amount_minor == theirs->amount_minor && ours->created_ms == theirs->created_ms,
        "transfer %" PRId64 " leaves %" PRId64 " and %" PRId64, ours->id, our->balance_minor,
        their->balance_minor);
    CHECK(run, ours->purchase_id == 0 || run->numbers[ours->purchase_id] == theirs->purchase_id,
        "purchase %" PRId64 " is %" PRId64, ours->purchase_id, theirs->purchase_id);
    CHECK(run,
        (ours->purchase_id == 0) == (theirs->purchase_id == 0) &&
            (ours->from_previous_id == 0) == (theirs->from_previous_id == 0) &&
            (ours->to_previous_id == 0) == (theirs->to_previous_id == 0),
        "transfer %" PRId64 " follows others", ours->id);
}

static void check_answer(struct run *run, struct node *node, unsigned i)
{
    const struct command *command = &run->ours[i].command;
    const struct outcome *ours = &command->outcome;
    const struct outcome *theirs = &run->theirs[i].command.outcome;
    CHECK(run, ours->result == theirs->result,
        "%s of %s by %s (key '%s') is answered %d by the embedded store and %d by PostgreSQL",
        kind_name(command->kind), run->ours[i].sku_text, run->ours[i].user_text, run->ours[i].key_text,
        (int)ours->result, (int)theirs->result);
    CHECK(run, ours->is_replay == theirs->is_replay, "%s of %s: replay %d and %d", kind_name(command->kind),
        run->ours[i].sku_text, ours->is_replay, theirs->is_replay);
    CHECK(run, ours->time_ms == theirs->time_ms, "%s of %s tells the time %" PRId64 " and %" PRId64,
        kind_name(command->kind), run->ours[i].sku_text, ours->time_ms, theirs->time_ms);
    CHECK(run, ours->order_status == theirs->order_status, "%s: status %d and %d", kind_name(command->kind),
        (int)ours->order_status, (int)theirs->order_status);
    if (is_about_pool(run, i) && command->kind != COMMAND_PURCHASE)
        check_pool_answer(run, i);
    else if (command_names_wallet(command->kind))
        check_transfer(run, i);
    else if (command_names_product(command->kind))
        check_number(run, node, ours, theirs);
    else if (command_names_intake(command->kind))
        check_intake(run, i);
    run->counts[ours->result]++;
    run->step++;
}

void check_answers(struct run *run, struct node *node, unsigned count)
{
    note_purchases(run, node);
    for (unsigned i = 0; i < count; i++)
        check_answer(run, node, i);
}

/* What the node believes of the products that it has just held. */
static void check_products(struct run *run, const struct node *node, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct slice sku = run->ours[i].command.sku;
        if (!command_names_product(run->ours[i].command.kind))
            continue;
        const struct product *ours = world_product(&run->embedded.world, sku);
        const struct product *theirs = world_product(&node->world, sku);
        CHECK(run, (ours == NULL) == (theirs == NULL), "%s is there: %d and %d", run->ours[i].sku_text,
            ours != NULL, theirs != NULL);
        if (ours == NULL || theirs == NULL)
            continue;
        CHECK(run,
            ours->values.stock == theirs->values.stock && ours->values.state == theirs->values.state &&
                ours->values.updated_ms == theirs->values.updated_ms,
            "%s has %" PRId64 " and %" PRId64 " left, state %d and %d", run->ours[i].sku_text,
            ours->values.stock, theirs->values.stock, (int)ours->values.state, (int)theirs->values.state);
    }
}

/* --- machines and the line --- */

static void check_machine(struct run *run, const struct node *node, const struct machine *ours)
{
    const struct machine *theirs = world_machine(&node->world, ours->id);
    CHECK(run, theirs != NULL, "PostgreSQL has no machine %" PRId64, ours->id);
    const struct machine_values *our = &ours->values;
    const struct machine_values *their = &theirs->values;
    CHECK(run,
        slice_eq(ours->name, theirs->name) && our->status == their->status &&
            our->is_draining == their->is_draining && our->usage_count == their->usage_count &&
            our->lease.id == their->lease.id && our->lease.ticket_id == their->lease.ticket_id &&
            our->lease.units == their->lease.units && our->due_ms == their->due_ms,
        "machine %" PRId64 " has lease %" PRId64 " due %" PRId64 ", and %" PRId64 " due %" PRId64, ours->id,
        our->lease.id, our->due_ms, their->lease.id, their->due_ms);
}

/* What the node believes of all machines and tickets, whose lock it had. */
static void check_pool(struct run *run, const struct node *node)
{
    const struct pool *ours = &run->embedded.world.pool;
    const struct pool *theirs = &node->world.pool;
    CHECK(run, ours->machines_by_id.count == theirs->machines_by_id.count, "%zu machines and %zu",
        ours->machines_by_id.count, theirs->machines_by_id.count);
    LIST_FOR_EACH (node_of, &ours->machines)
        check_machine(run, node, CONTAINER_OF(node_of, struct machine, node));
    const struct list *at = theirs->waiting.next;
    LIST_FOR_EACH (node_of, &ours->waiting) {
        const struct ticket *ticket = CONTAINER_OF(node_of, struct ticket, node);
        CHECK(run, at != &theirs->waiting, "ticket %" PRId64 " does not wait in PostgreSQL", ticket->id);
        const struct ticket *their = CONTAINER_OF(at, struct ticket, node);
        CHECK(run, ticket->id == their->id && ticket->values.until_ms == their->values.until_ms,
            "ticket %" PRId64 " waits instead of %" PRId64, their->id, ticket->id);
        at = at->next;
    }
    CHECK(run, at == &theirs->waiting, "PostgreSQL lets more people wait");
}

/* --- wallets --- */

static void check_wallet(struct run *run, const struct node *node, const struct wallet_request *request)
{
    const struct wallet *ours = world_wallet(&run->embedded.world, request->key);
    const struct wallet *theirs = world_wallet(&node->world, request->key);
    CHECK(run, (ours == NULL) == (theirs == NULL), "a wallet is there: %d and %d", ours != NULL,
        theirs != NULL);
    CHECK(run, ours == NULL || ours->values.balance_minor == theirs->values.balance_minor,
        "a wallet holds %" PRId64 " and %" PRId64, ours->values.balance_minor, theirs->values.balance_minor);
}

/* --- all that the commands name --- */

static bool names_pool(const struct run *run, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (command_names_pool(run->ours[i].command.kind))
            return true;
    }
    return false;
}

void check_worlds(struct run *run, const struct node *node, unsigned count)
{
    check_products(run, node, count);
    if (names_pool(run, count))
        check_pool(run, node);
    for (unsigned i = 0; i < count; i++) {
        if (command_names_wallet(run->ours[i].command.kind))
            check_wallet(run, node, run->ours[i].command.wallet);
    }
}

/* --- work for later --- */

static int compare_items(const void *a, const void *b)
{
    const struct work_item *first = a;
    const struct work_item *second = b;
    int by_subject = slice_compare(first->subject, second->subject);
    if (by_subject != 0)
        return by_subject;
    if (first->created_ms != second->created_ms)
        return first->created_ms < second->created_ms ? -1 : 1;
    return first->token == second->token ? 0 : first->token < second->token ? -1 : 1;
}

static void check_claim(struct run *run, const struct work_order *ours, const struct work_order *theirs)
{
    CHECK(run, ours->count == theirs->count, "%zu pieces of work are claimed, and %zu", ours->count,
        theirs->count);
    CHECK(run, ours->count < WORK_DUE_MAX, "there is more work than a claim can take");
    qsort(ours->items, ours->count, sizeof *ours->items, compare_items);
    qsort(theirs->items, theirs->count, sizeof *theirs->items, compare_items);
    for (size_t i = 0; i < ours->count; i++) {
        const struct work_item *our = &ours->items[i];
        const struct work_item *their = &theirs->items[i];
        CHECK(run, compare_items(our, their) == 0 && our->kind == their->kind && our->due_ms == their->due_ms,
            "work of %.*s has token %" PRId64 " and %" PRId64 ", due %" PRId64 " and %" PRId64,
            SLICE_ARGS(our->subject), our->token, their->token, our->due_ms, their->due_ms);
    }
}

static void keep_claim(struct run *run, const struct work_order *ours, const struct work_order *theirs)
{
    for (size_t i = 0; i < ours->count; i++) {
        run->claimed[draw(&run->random, CLAIMS_KEPT)] = (struct claimed){.kind = ours->items[i].kind,
            .our_id = ours->items[i].id,
            .their_id = theirs->items[i].id,
            .token = ours->items[i].token};
    }
}

void check_work(struct run *run, unsigned count, bool is_kept)
{
    for (unsigned i = 0; i < count; i++) {
        const struct command *command = &run->ours[i].command;
        run->work_count += command->kind == COMMAND_WORK_FINISH && command->outcome.result == RESULT_OK;
        if (command->kind != COMMAND_WORK_CLAIM)
            continue;
        check_claim(run, &run->our_orders[i], &run->their_orders[i]);
        if (is_kept)
            keep_claim(run, &run->our_orders[i], &run->their_orders[i]);
    }
}
