/* SPDX-License-Identifier: Apache-2.0 */
#include "pool_model.h"

#include "base/ensure.h"

enum {
    SAID_OK = 0,
    SAID_PRODUCT_NOT_FOUND = 21,
    SAID_SALE_NOT_ACTIVE = 30,
    SAID_ALREADY_PURCHASED = 31,
    SAID_SOLD_OUT = 32,
    SAID_MACHINE_NOT_FOUND = 75,
    SAID_MACHINE_IS_IDLE = 77,
    SAID_NO_IDLE_MACHINE = 78,
    SAID_TICKET_WAITS = 79,
    SAID_LINE_FULL = 80,
    SAID_TICKET_NOT_WAITING = 81,
    SAID_CHOICE_UNKNOWN = 82,
    SAID_COINS_NOT_COUNT = 83,
    SAID_NOT_CHOOSING = 84,
    SAID_STOCK_INSUFFICIENT = 85,
    SAID_PRODUCT_NAME_TAKEN = 86,
    SAID_SKU_TAKEN = 87,
    SAID_STOCK_TOO_LARGE = 88,
};

static struct pool_expected say(int result)
{
    return (struct pool_expected){.result = result};
}

static struct pool_expected say_machine(const struct model_machine *machine)
{
    return (struct pool_expected){.result = SAID_OK, .has_machine = true, .machine = *machine};
}

static void copy_text(char to[16], struct slice text)
{
    ENSURE(text.len < 16);
    memset(to, 0, 16);
    memcpy(to, text.base, text.len);
}

/* --- who has which machine --- */

static struct model_machine *find_machine(struct pool_model *model, int64_t id)
{
    for (int i = 0; i < POOL_MACHINES_MAX; i++) {
        if (id != 0 && model->machines[i].id == id)
            return &model->machines[i];
    }
    return NULL;
}

static struct model_ticket *find_ticket(struct pool_model *model, int64_t id)
{
    for (int i = 0; i < MODEL_TICKETS; i++) {
        if (id != 0 && model->tickets[i].id == id)
            return &model->tickets[i];
    }
    return NULL;
}

static int64_t count_waiting(const struct pool_model *model)
{
    int64_t count = 0;
    for (int i = 0; i < MODEL_TICKETS; i++)
        count += model->tickets[i].id != 0;
    return count;
}

static struct model_machine *next_machine(struct pool_model *model)
{
    struct model_machine *best = NULL;
    for (int i = 0; i < POOL_MACHINES_MAX; i++) {
        struct model_machine *machine = &model->machines[i];
        if (machine->id == 0 || machine->status != MODEL_IDLE || machine->is_draining)
            continue;
        if (best == NULL || machine->used < best->used ||
            (machine->used == best->used && machine->id < best->id))
            best = machine;
    }
    return best;
}

static struct model_ticket *next_ticket(struct pool_model *model)
{
    struct model_ticket *first = NULL;
    for (int i = 0; i < MODEL_TICKETS; i++) {
        struct model_ticket *ticket = &model->tickets[i];
        if (ticket->id != 0 && (first == NULL || ticket->id < first->id))
            first = ticket;
    }
    return first;
}

static void hand_over(struct pool_model *model, struct model_machine *machine, int64_t ticket, int64_t now_ms)
{
    machine->status = MODEL_CHOOSING;
    machine->lease = ++model->leases_made;
    machine->ticket = ticket;
    machine->started_ms = now_ms;
    machine->due_ms = now_ms + model->choose_timeout_ms;
    machine->updated_ms = now_ms;
}

/* Who had gone by `since_ms` is not served any more. */
static void serve_line(struct pool_model *model, int64_t since_ms, int64_t now_ms)
{
    while (next_ticket(model) != NULL && next_machine(model) != NULL) {
        struct model_ticket *ticket = next_ticket(model);
        if (ticket->until_ms > since_ms)
            hand_over(model, next_machine(model), ticket->id, now_ms);
        ticket->id = 0;
    }
}

static void set_idle(struct model_machine *machine, bool is_completed, int64_t now_ms)
{
    machine->used += is_completed;
    machine->status = MODEL_IDLE;
    machine->lease = machine->ticket = machine->started_ms = machine->due_ms = 0;
    machine->units = machine->product_id = 0;
    machine->updated_ms = now_ms;
}

/* --- time --- */

static struct model_ticket *due_ticket(struct pool_model *model)
{
    struct model_ticket *first = NULL;
    for (int i = 0; i < MODEL_TICKETS; i++) {
        struct model_ticket *ticket = &model->tickets[i];
        if (ticket->id != 0 && (first == NULL || ticket->until_ms < first->until_ms))
            first = ticket;
    }
    return first;
}

static struct model_machine *due_machine(struct pool_model *model)
{
    struct model_machine *first = NULL;
    for (int i = 0; i < POOL_MACHINES_MAX; i++) {
        struct model_machine *machine = &model->machines[i];
        if (machine->id == 0 || machine->status == MODEL_IDLE)
            continue;
        if (first == NULL || machine->due_ms < first->due_ms ||
            (machine->due_ms == first->due_ms && machine->id < first->id))
            first = machine;
    }
    return first;
}

/* One after the other, as if each had been done in time. */
void model_tick(struct pool_model *model, int64_t now_ms)
{
    while (model_due_ms(model) <= now_ms) {
        struct model_ticket *ticket = due_ticket(model);
        struct model_machine *machine = due_machine(model);
        int64_t due_ms = machine == NULL ? INT64_MAX : machine->due_ms;
        if (ticket != NULL && ticket->until_ms <= due_ms) {
            ticket->id = 0;
            continue;
        }
        set_idle(machine, machine->status == MODEL_PROCESSING, now_ms);
        serve_line(model, due_ms, now_ms);
    }
}

int64_t model_due_ms(const struct pool_model *model)
{
    int64_t due_ms = INT64_MAX;
    for (int i = 0; i < MODEL_TICKETS; i++) {
        if (model->tickets[i].id != 0 && model->tickets[i].until_ms < due_ms)
            due_ms = model->tickets[i].until_ms;
    }
    for (int i = 0; i < POOL_MACHINES_MAX; i++) {
        const struct model_machine *machine = &model->machines[i];
        if (machine->id != 0 && machine->status != MODEL_IDLE && machine->due_ms < due_ms)
            due_ms = machine->due_ms;
    }
    return due_ms;
}

/* --- machines --- */

static struct pool_expected create(struct pool_model *model, const struct random_pool *lot, int64_t now_ms)
{
    struct model_machine *place = model->machines;
    while (place->id != 0) {
        place++;
        ENSURE(place < model->machines + POOL_MACHINES_MAX);
    }
    *place = (struct model_machine){.id = ++model->machines_made, .created_ms = now_ms, .updated_ms = now_ms};
    copy_text(place->name, lot->request.name);
    struct pool_expected expected = say_machine(place);
    serve_line(model, now_ms, now_ms);
    return expected;
}

static struct pool_expected update(struct pool_model *model, const struct random_pool *lot, int64_t now_ms)
{
    struct model_machine *machine = find_machine(model, lot->request.machine_id);
    if (machine == NULL)
        return say(SAID_MACHINE_NOT_FOUND);
    if (lot->request.has_name)
        copy_text(machine->name, lot->request.name);
    if (lot->request.has_draining)
        machine->is_draining = lot->request.is_draining;
    if (lot->request.has_name || lot->request.has_draining)
        machine->updated_ms = now_ms;
    struct pool_expected expected = say_machine(machine);
    serve_line(model, now_ms, now_ms);
    return expected;
}

static struct pool_expected delete_machine(struct pool_model *model, const struct random_pool *lot)
{
    struct model_machine *machine = find_machine(model, lot->request.machine_id);
    if (machine == NULL)
        return say(SAID_MACHINE_NOT_FOUND);
    machine->id = 0;
    return say(SAID_OK);
}

static struct pool_expected reset(struct pool_model *model, const struct random_pool *lot, int64_t now_ms)
{
    struct model_machine *machine = find_machine(model, lot->request.machine_id);
    if (machine == NULL)
        return say(SAID_MACHINE_NOT_FOUND);
    bool is_stale = lot->request.lease_id != 0 && lot->request.lease_id != machine->lease;
    bool is_used = machine->status == MODEL_PROCESSING && lot->request.is_given_up;
    if (machine->status == MODEL_IDLE || is_stale || is_used)
        return say(SAID_MACHINE_IS_IDLE);
    set_idle(machine, false, now_ms);
    struct pool_expected expected = say_machine(machine);
    serve_line(model, now_ms, now_ms);
    return expected;
}

/* --- the line --- */

static struct pool_expected join(
    struct pool_model *model, const struct random_pool *lot, bool is_attached, int64_t now_ms)
{
    if (next_machine(model) == NULL && count_waiting(model) >= model->line_max)
        return say(SAID_LINE_FULL);
    struct model_ticket *place = model->tickets;
    while (place->id != 0)
        place++;
    *place = (struct model_ticket){.id = ++model->tickets_made,
        .until_ms = lot->request.until_ms,
        .first_lease = model->leases_made + 1,
        .is_attached = is_attached};
    struct pool_expected expected = say(SAID_TICKET_WAITS);
    expected.ticket = place->id;
    expected.position = count_waiting(model);
    serve_line(model, now_ms, now_ms);
    if (find_ticket(model, expected.ticket) == NULL)
        expected.position = 0;
    return expected;
}

static struct pool_expected take(struct pool_model *model, const struct random_pool *lot, int64_t now_ms)
{
    struct model_machine *machine = next_machine(model);
    if (machine == NULL && lot->request.until_ms == 0)
        return say(SAID_NO_IDLE_MACHINE);
    if (machine == NULL)
        return join(model, lot, true, now_ms);
    hand_over(model, machine, 0, now_ms);
    return say_machine(machine);
}

static struct pool_expected keep_or_leave(struct pool_model *model, const struct random_pool *lot, bool keeps)
{
    int result = SAID_TICKET_NOT_WAITING;
    for (size_t i = 0; i < lot->request.ticket_count; i++) {
        struct model_ticket *ticket = find_ticket(model, lot->request.ticket_ids[i]);
        if (ticket == NULL)
            continue;
        result = SAID_OK;
        if (!keeps)
            ticket->id = 0;
        else if (lot->request.until_ms > ticket->until_ms)
            ticket->until_ms = lot->request.until_ms;
    }
    return say(result);
}

/* --- products --- */

static struct model_product *find_product(
    struct pool_model *model, const struct random_pool *lot, const struct command *command)
{
    struct model_product *product = &model->products[lot->sku];
    bool is_named = command->sku.len > 0 && product->exists;
    bool is_meant = command->product_id == 0 || command->product_id == product->id;
    return is_named && is_meant ? product : NULL;
}

static void sell(struct model_product *product, int64_t units, int64_t now_ms)
{
    ENSURE(product->left >= units);
    product->left -= units;
    product->updated_ms = now_ms;
}

static struct pool_expected choose(
    struct pool_model *model, const struct random_pool *lot, const struct command *command, int64_t now_ms)
{
    struct model_machine *machine = find_machine(model, lot->request.machine_id);
    struct model_product *product = command->product_id == 0 ? NULL : find_product(model, lot, command);
    if (machine == NULL || product == NULL) {
        struct pool_expected unknown = say(SAID_CHOICE_UNKNOWN);
        unknown.is_machine_unknown = machine == NULL;
        unknown.is_product_unknown = product == NULL;
        return unknown;
    }
    if (lot->request.coins != lot->request.units)
        return say(SAID_COINS_NOT_COUNT);
    bool is_stale = lot->request.lease_id != 0 && lot->request.lease_id != machine->lease;
    if (machine->status != MODEL_CHOOSING || is_stale)
        return say(SAID_NOT_CHOOSING);
    if (lot->request.units > product->left) {
        struct pool_expected too_few = say(SAID_STOCK_INSUFFICIENT);
        too_few.number = product->left;
        return too_few;
    }
    sell(product, lot->request.units, now_ms);
    product->by_machines += lot->request.units;
    machine->status = MODEL_PROCESSING;
    machine->units = lot->request.units;
    machine->product_id = product->id;
    machine->due_ms = now_ms + model->dispense_ms;
    machine->updated_ms = now_ms;
    struct pool_expected expected = say_machine(machine);
    expected.product = product;
    if (model->dispense_ms == 0) {
        set_idle(machine, true, now_ms);
        serve_line(model, now_ms, now_ms);
    }
    return expected;
}

static struct pool_expected add_product(
    struct pool_model *model, const struct random_pool *lot, const struct command *command, int64_t now_ms)
{
    struct model_product *product = &model->products[lot->sku];
    for (int i = 0; i < POOL_SKUS; i++) {
        if (model->products[i].exists && slice_eq(slice_cstr(model->products[i].name), command->product.name))
            return say(SAID_PRODUCT_NAME_TAKEN);
    }
    if (product->exists)
        return say(SAID_SKU_TAKEN);
    *product = (struct model_product){.exists = true,
        .supplied = command->product.initial_stock,
        .left = command->product.initial_stock,
        .price = command->product.price_minor,
        .created_ms = now_ms,
        .updated_ms = now_ms};
    copy_text(product->name, command->product.name);
    struct pool_expected expected = say(SAID_OK);
    expected.product = product;
    return expected;
}

void model_note_product(struct pool_model *model, const struct random_pool *lot, int64_t id)
{
    model->products[lot->sku].id = id;
}

static struct pool_expected set_stock(
    struct pool_model *model, const struct random_pool *lot, const struct command *command, int64_t now_ms)
{
    struct model_product *product = find_product(model, lot, command);
    if (product == NULL)
        return say(SAID_PRODUCT_NOT_FOUND);
    int64_t sold = product->supplied - product->left;
    if (command->product.initial_stock > INT64_MAX - sold)
        return say(SAID_STOCK_TOO_LARGE);
    product->left = command->product.initial_stock;
    product->supplied = sold + product->left;
    product->updated_ms = now_ms;
    struct pool_expected expected = say(SAID_OK);
    expected.number = product->id;
    expected.product = product;
    return expected;
}

static struct pool_expected delete_product(
    struct pool_model *model, const struct random_pool *lot, const struct command *command)
{
    struct model_product *product = find_product(model, lot, command);
    if (product == NULL)
        return say(command->product_id == 0 ? SAID_OK : SAID_PRODUCT_NOT_FOUND);
    product->exists = false;
    return say(SAID_OK);
}

/* By the rules of the flash sale: one to each user. */
static struct pool_expected purchase(struct pool_model *model, const struct random_pool *lot, int64_t now_ms)
{
    struct model_product *product = &model->products[lot->sku];
    if (!product->exists)
        return say(SAID_SALE_NOT_ACTIVE);
    if (product->left == 0) /* it ended when the last one went */
        return say(model->says_sold_out ? SAID_SOLD_OUT : SAID_SALE_NOT_ACTIVE);
    if (product->bought[lot->user])
        return say(SAID_ALREADY_PURCHASED);
    sell(product, 1, now_ms);
    product->bought[lot->user] = true;
    return say(SAID_OK);
}

struct pool_expected model_decide(
    struct pool_model *model, const struct random_pool *lot, const struct command *command, int64_t now_ms)
{
    switch (command->kind) {
    case COMMAND_MACHINE_CREATE:
        return create(model, lot, now_ms);
    case COMMAND_MACHINE_UPDATE:
        return update(model, lot, now_ms);
    case COMMAND_MACHINE_DELETE:
        return delete_machine(model, lot);
    case COMMAND_MACHINE_RESET:
        return reset(model, lot, now_ms);
    case COMMAND_MACHINE_TAKE:
        return take(model, lot, now_ms);
    case COMMAND_MACHINE_CHOOSE:
        return choose(model, lot, command, now_ms);
    case COMMAND_TICKET_TAKE:
        return join(model, lot, false, now_ms);
    case COMMAND_TICKET_KEEP:
        return keep_or_leave(model, lot, true);
    case COMMAND_TICKET_LEAVE:
        return keep_or_leave(model, lot, false);
    case COMMAND_PRODUCT_ADD:
        return add_product(model, lot, command, now_ms);
    case COMMAND_PRODUCT_SET_STOCK:
        return set_stock(model, lot, command, now_ms);
    case COMMAND_PRODUCT_DELETE:
        return delete_product(model, lot, command);
    default:
        ENSURE(command->kind == COMMAND_PURCHASE); /* the crowd sends no others */
        return purchase(model, lot, now_ms);
    }
}
