/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crowds at the machines, drawn by lot: machines are made, drained, reset and deleted while people take them,
 * wait, choose, leave and time out, and products come and go; some batches fail to commit. Every answer is
 * compared with the model's (pool_model.h), after each step the whole pool with the whole model, and at the
 * end the history is audited (pool_audit.h).
 *
 *     test_pool_simulation [SEED [STEPS]]    see simulation_kit.h
 */
#include <stdio.h>

#include "pool_audit.h"
#include "pool_model.h"
#include "simulation_kit.h"
#include "world_kit.h"

enum { STEPS_DEFAULT = 80000, RUN_STEPS = 4000, BATCH_MAX = 40 };

/* One run. */
struct simulation {
    struct simulation_place at; /* its steps are commands and ticks */
    struct id_source random;
    struct rules rules;
    struct pool_crowd crowd;
    struct pool_seen seen;
    struct pool_seen seen_before; /* as it was when the batch began */
    struct world world;
    struct pool_model model;
    struct pool_model model_before;
    struct pool_audit audit;
    int64_t counts[SIMULATION_RESULTS]; /* answers, by result */
};

#define CHECK(simulation, ...) SIMULATION_CHECK(&(simulation)->at, __VA_ARGS__)

static void check_equal(struct simulation *simulation, const char *name, int64_t actual, int64_t expected)
{
    CHECK(simulation, actual == expected, "%s is %" PRId64 " instead of %" PRId64, name, actual, expected);
}

static struct simulation *simulation_create(int64_t seed)
{
    struct simulation *simulation = calloc(1, sizeof *simulation);
    assert_non_null(simulation);
    struct id_source *random = &simulation->random;
    simulation->at = (struct simulation_place){.seed = seed, .now_ms = 1000000, .batch_max = BATCH_MAX};
    id_source_init_seed(random, (uint64_t)seed);
    draw_pool_crowd(random, &simulation->crowd);
    simulation->rules = (struct rules){
        .says_sold_out = draw(random, 2) == 1,
        .idempotency_ttl_ms = 1000,
        .idempotency_count_max = SIZE_MAX,
        .dispense_ms = draw(random, 4) == 0 ? 0 : draw(random, 300),
        .choose_timeout_ms = 1 + draw(random, 400),
        .line_max = 1 + draw(random, MODEL_TICKETS - 1),
    };
    simulation->model = (struct pool_model){
        .dispense_ms = simulation->rules.dispense_ms,
        .choose_timeout_ms = simulation->rules.choose_timeout_ms,
        .line_max = (int64_t)simulation->rules.line_max,
        .says_sold_out = simulation->rules.says_sold_out,
    };
    world_init(&simulation->world, &world_kit_hash_key);
    return simulation;
}

static void simulation_destroy(struct simulation *simulation)
{
    world_fini(&simulation->world);
    pool_audit_fini(&simulation->audit);
    free(simulation);
}

/* --- the world against the model --- */

static void check_machine(struct simulation *simulation, const struct model_machine *expected)
{
    const struct machine *machine = world_machine(&simulation->world, expected->id);
    CHECK(simulation, machine != NULL, "machine %" PRId64 " is gone", expected->id);
    const struct machine_values *values = &machine->values;
    check_equal(simulation, "status", values->status, expected->status);
    check_equal(simulation, "draining", values->is_draining, expected->is_draining);
    check_equal(simulation, "usage", values->usage_count, expected->used);
    check_equal(simulation, "lease", values->lease.id, expected->lease);
    check_equal(simulation, "ticket", values->lease.ticket_id, expected->ticket);
    check_equal(simulation, "start", values->lease.started_ms, expected->started_ms);
    check_equal(simulation, "units", values->lease.units, expected->units);
    check_equal(simulation, "product", values->lease.product_id, expected->product_id);
    check_equal(simulation, "due", values->due_ms, expected->due_ms);
    check_equal(simulation, "created", machine->created_ms, expected->created_ms);
    check_equal(simulation, "updated", values->updated_ms, expected->updated_ms);
    CHECK(simulation, slice_eq(machine->name, slice_cstr(expected->name)), "name %.*s",
        SLICE_ARGS(machine->name));
}

static void check_ticket(struct simulation *simulation, const struct model_ticket *expected)
{
    const struct ticket *ticket = world_ticket(&simulation->world, expected->id);
    CHECK(simulation, ticket != NULL, "ticket %" PRId64 " is gone", expected->id);
    check_equal(simulation, "until", ticket->values.until_ms, expected->until_ms);
    check_equal(simulation, "first lease", ticket->first_lease_id, expected->first_lease);
    check_equal(simulation, "attached", ticket->is_attached, expected->is_attached);
}

static void check_buyers(
    struct simulation *simulation, const struct product *product, const struct model_product *expected)
{
    size_t cursor = 0;
    int64_t by_machines = 0;
    int64_t by_users = 0;
    const struct buyer *buyer;
    while ((buyer = map_next(&product->buyers, &cursor)) != NULL)
        *(buyer->user[0] == ' ' ? &by_machines : &by_users) += buyer->count;
    for (unsigned user = 0; user < POOL_USERS; user++) {
        char text[16];
        (void)snprintf(text, sizeof text, "user-%u", user);
        bool has_bought = world_buyer(&simulation->world, product, slice_cstr(text)) != NULL;
        check_equal(simulation, text, has_bought, expected->bought[user]);
        by_users -= has_bought;
    }
    check_equal(simulation, "what users have bought beside", by_users, 0);
    check_equal(simulation, "what machines have bought", by_machines, expected->by_machines);
}

static void check_product(struct simulation *simulation, unsigned sku)
{
    char text[16];
    (void)snprintf(text, sizeof text, "DRINK-%u", sku);
    const struct model_product *expected = &simulation->model.products[sku];
    const struct product *product = world_product(&simulation->world, slice_cstr(text));
    check_equal(simulation, text, product != NULL, expected->exists);
    if (product == NULL)
        return;
    const struct product_values *values = &product->values;
    bool is_over = expected->left == 0;
    check_equal(simulation, "id", product->id, expected->id);
    check_equal(simulation, "stock", values->stock, expected->left);
    check_equal(simulation, "supply", values->initial_stock, expected->supplied);
    check_equal(simulation, "price", values->price_minor, expected->price);
    check_equal(simulation, "created", values->created_ms, expected->created_ms);
    check_equal(simulation, "updated", values->updated_ms, expected->updated_ms);
    check_equal(simulation, "state", values->state, is_over ? SALE_ENDED : SALE_ACTIVE);
    check_equal(simulation, "reason", values->end_reason, is_over ? END_SOLD_OUT : END_NONE);
    CHECK(simulation, slice_eq(values->name, slice_cstr(expected->name)), "name %.*s",
        SLICE_ARGS(values->name));
    check_buyers(simulation, product, expected);
}

static void check_world(struct simulation *simulation)
{
    const struct pool *pool = &simulation->world.pool;
    const struct pool_model *model = &simulation->model;
    size_t machine_count = 0;
    size_t ticket_count = 0;
    world_check_pool(&simulation->world);
    for (int i = 0; i < POOL_MACHINES_MAX; i++) {
        if (model->machines[i].id != 0)
            check_machine(simulation, &model->machines[i]);
        machine_count += model->machines[i].id != 0;
    }
    for (int i = 0; i < MODEL_TICKETS; i++) {
        if (model->tickets[i].id != 0)
            check_ticket(simulation, &model->tickets[i]);
        ticket_count += model->tickets[i].id != 0;
    }
    for (unsigned sku = 0; sku < POOL_SKUS; sku++)
        check_product(simulation, sku);
    check_equal(simulation, "number of machines", pool->machines_by_id.count, machine_count);
    check_equal(simulation, "number of tickets", pool->tickets_by_id.count, ticket_count);
    check_equal(simulation, "next machine", pool->values.next_machine_id, model->machines_made + 1);
    check_equal(simulation, "next lease", pool->values.next_lease_id, model->leases_made + 1);
    check_equal(simulation, "next ticket", pool->values.next_ticket_id, model->tickets_made + 1);
}

/* --- a step --- */

/* Often nothing passes; now and then it is exactly when something is due, or just before it. */
static void pass_time(struct simulation *simulation)
{
    struct id_source *random = &simulation->random;
    unsigned lot = draw(random, 100);
    int64_t due_ms = model_due_ms(&simulation->model) - draw(random, 2);
    if (lot >= 30 && lot < 70)
        simulation->at.now_ms += draw(random, 40);
    else if (lot >= 70 && due_ms > simulation->at.now_ms && due_ms < INT64_MAX - 1)
        simulation->at.now_ms = due_ms;
    else if (lot >= 98) /* the server was down for a while */
        simulation->at.now_ms += 2000;
}

static void tick(struct simulation *simulation)
{
    int64_t due_ms = model_due_ms(&simulation->model);
    int64_t next_ms = rules_next_tick_ms(&simulation->rules, &simulation->world);
    size_t changes = simulation->world.change_count;
    CHECK(simulation, next_ms <= due_ms, "the next tick is at %" PRId64 ", something is due at %" PRId64,
        next_ms, due_ms);
    bool is_good = rules_tick(&simulation->rules, &simulation->world, simulation->at.now_ms);
    CHECK(simulation, is_good, "a tick ran out of memory");
    model_tick(&simulation->model, simulation->at.now_ms);
    CHECK(simulation, due_ms <= simulation->at.now_ms || simulation->world.change_count == changes,
        "a tick changed something that was not due");
    simulation->at.step++;
    check_world(simulation);
}

static void check_shown_machine(
    struct simulation *simulation, const struct machine_row *row, const struct model_machine *expected)
{
    check_equal(simulation, "shown id", row->id, expected->id);
    check_equal(simulation, "shown status", row->status, expected->status);
    check_equal(simulation, "shown draining", row->is_draining, expected->is_draining);
    check_equal(simulation, "shown usage", row->usage_count, expected->used);
    check_equal(simulation, "shown lease", row->lease_id, expected->lease);
    check_equal(simulation, "shown creation", row->created_ms, expected->created_ms);
    check_equal(simulation, "shown change", row->updated_ms, expected->updated_ms);
    CHECK(simulation, slice_eq(row->name, slice_cstr(expected->name)), "shown name");
}

static void check_shown_product(
    struct simulation *simulation, const struct product_row *row, const struct model_product *expected)
{
    check_equal(simulation, "shown product", row->id, expected->id);
    check_equal(simulation, "shown stock", row->stock, expected->left);
    check_equal(simulation, "shown creation", row->created_ms, expected->created_ms);
    check_equal(simulation, "shown change", row->updated_ms, expected->updated_ms);
    CHECK(simulation, slice_eq(row->name, slice_cstr(expected->name)), "shown name");
}

static void check_answer(struct simulation *simulation, const struct random_pool *lot,
    const struct command *command, const struct pool_expected *expected)
{
    const struct pool_request *request = &lot->request;
    enum result result = command->outcome.result;
    bool is_sold = command->kind == COMMAND_PURCHASE;
    CHECK(simulation, (int)result == expected->result,
        "command %d about machine %" PRId64 ", %s was answered %d instead of %d", (int)command->kind,
        request->machine_id, lot->sku_text, (int)result, expected->result);
    if (command->kind == COMMAND_PRODUCT_ADD && result == RESULT_OK) {
        model_note_product(&simulation->model, lot, request->product.id);
        check_equal(simulation, "number", command->outcome.number, request->product.id);
    } else if (!is_sold) {
        check_equal(simulation, "number", command->outcome.number, expected->number);
    }
    check_equal(simulation, "unknown machine", request->is_machine_unknown, expected->is_machine_unknown);
    check_equal(simulation, "unknown product", request->is_product_unknown, expected->is_product_unknown);
    check_equal(simulation, "ticket", request->ticket_id, expected->ticket);
    check_equal(simulation, "position", request->position, expected->position);
    check_equal(simulation, "a machine is shown", request->machine.id != 0, expected->has_machine);
    check_equal(simulation, "a product is shown", request->product.id != 0, expected->product != NULL);
    if (expected->has_machine)
        check_shown_machine(simulation, &request->machine, &expected->machine);
    if (expected->product != NULL)
        check_shown_product(simulation, &request->product, expected->product);
}

static bool is_refusal(enum result result)
{
    return result != RESULT_OK && result != RESULT_TICKET_WAITS;
}

static void decide_one(struct simulation *simulation)
{
    struct random_pool lot;
    struct command command;
    size_t changes = simulation->world.change_count;
    draw_pool_command(
        &simulation->random, &simulation->crowd, &simulation->seen, simulation->at.now_ms, &lot, &command);
    bool is_good = rules_decide(&simulation->rules, &simulation->world, &command, simulation->at.now_ms);
    CHECK(simulation, is_good, "memory ran out");
    struct pool_expected expected = model_decide(&simulation->model, &lot, &command, simulation->at.now_ms);
    check_answer(simulation, &lot, &command, &expected);
    CHECK(simulation, !is_refusal(command.outcome.result) || simulation->world.change_count == changes,
        "a refusal (%d) changed something", (int)command.outcome.result);
    pool_seen_note(&simulation->seen, &lot, &command);
    simulation->counts[command.outcome.result]++;
    simulation->at.step++;
    check_world(simulation);
}

static void audit(struct simulation *simulation)
{
    const char *wrong = pool_audit_check(&simulation->audit, &simulation->world);
    CHECK(simulation, wrong == NULL, "%s", wrong);
}

static void run_batch(struct simulation *simulation)
{
    struct world *world = &simulation->world;
    simulation_note(&simulation->at);
    world_begin(world);
    simulation->model_before = simulation->model;
    simulation->seen_before = simulation->seen;
    pass_time(simulation);
    if (draw(&simulation->random, 4) > 0)
        tick(simulation);
    for (unsigned i = draw(&simulation->random, BATCH_MAX); i > 0; i--)
        decide_one(simulation);
    if (draw(&simulation->random, 5) == 0) {
        world_rollback(world);
        simulation->model = simulation->model_before;
        simulation->seen = simulation->seen_before;
    } else {
        const char *wrong = pool_audit_note(&simulation->audit, world);
        CHECK(simulation, wrong == NULL, "%s", wrong);
        world_accept(world);
    }
    check_world(simulation);
}

static void run(int64_t seed, int64_t steps, int64_t counts[SIMULATION_RESULTS])
{
    struct simulation *simulation = simulation_create(seed);
    while (simulation->at.step < steps)
        run_batch(simulation);
    audit(simulation);
    for (int i = 0; i < SIMULATION_RESULTS; i++)
        counts[i] += simulation->counts[i];
    simulation_destroy(simulation);
}

static bool is_expected(enum result result)
{
    static const enum result expected[] = {RESULT_OK, RESULT_PRODUCT_NOT_FOUND, RESULT_SALE_NOT_ACTIVE,
        RESULT_ALREADY_PURCHASED, RESULT_SOLD_OUT, RESULT_MACHINE_NOT_FOUND, RESULT_MACHINE_IS_IDLE,
        RESULT_NO_IDLE_MACHINE, RESULT_TICKET_WAITS, RESULT_LINE_FULL, RESULT_TICKET_NOT_WAITING,
        RESULT_CHOICE_UNKNOWN, RESULT_COINS_NOT_COUNT, RESULT_NOT_CHOOSING, RESULT_STOCK_INSUFFICIENT,
        RESULT_PRODUCT_NAME_TAKEN, RESULT_SKU_TAKEN, RESULT_STOCK_TOO_LARGE};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        if (expected[i] == result)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct simulation_plan plan = {.name = "pool simulation",
        .step_count = STEPS_DEFAULT,
        .run_steps = RUN_STEPS,
        .run = run,
        .is_expected = is_expected};
    return simulation_main(&plan, argc, argv);
}
