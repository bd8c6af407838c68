/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random crowds against the rules. Every answer is compared with the model's (sale_model.h), and after every
 * batch the whole world with the whole model; some batches fail to commit, and then both forget them.
 *
 *     test_simulation [SEED [STEPS]]    see simulation_kit.h
 */
#include <limits.h>
#include <stdio.h>

#include "sale_model.h"
#include "simulation_kit.h"
#include "world_kit.h"

enum { COMMANDS_DEFAULT = 200000, RUN_COMMANDS = 5000, BATCH_MAX = 60 };

/* One run. */
struct simulation {
    struct simulation_place at; /* its steps are commands */
    struct id_source random;
    struct rules rules;
    struct crowd crowd;
    struct world world;
    struct sale_model model;
    struct sale_model committed;        /* the model as it was when the batch began */
    int64_t number_last;                /* no purchase number comes twice */
    int64_t counts[SIMULATION_RESULTS]; /* answers, by result */
};

#define CHECK(simulation, ...) SIMULATION_CHECK(&(simulation)->at, __VA_ARGS__)

static const char *kind_name(enum command_kind kind)
{
    static const char *const names[] = {"purchase", "create", "update", "patch", "delete"};
    return names[kind];
}

static struct simulation *simulation_create(int64_t seed)
{
    struct simulation *simulation = calloc(1, sizeof *simulation);
    assert_non_null(simulation);
    struct id_source *random = &simulation->random;
    simulation->at = (struct simulation_place){.seed = seed, .now_ms = 1000000, .batch_max = BATCH_MAX};
    id_source_init_seed(random, (uint64_t)seed);
    simulation->rules.says_sold_out = draw(random, 2) == 1;
    simulation->rules.idempotency_ttl_ms = 50 + draw(random, 2000);
    simulation->rules.idempotency_count_max = SIZE_MAX;
    simulation->crowd = (struct crowd){
        .sku_count = 1 + draw(random, MODEL_SKUS),
        .user_count = 1 + draw(random, MODEL_USERS),
        .key_count = MODEL_KEYS,
        .key_percent = draw(random, 50),
        .purchase_percent = 70 + draw(random, 30),
        .stock_max = 1 + draw(random, 60),
        .sale_ms_max = 10 + draw(random, 1000),
    };
    simulation->model.says_sold_out = simulation->rules.says_sold_out;
    simulation->model.key_ttl_ms = simulation->rules.idempotency_ttl_ms;
    world_init(&simulation->world, &world_kit_hash_key);
    return simulation;
}

static void simulation_destroy(struct simulation *simulation)
{
    world_fini(&simulation->world);
    free(simulation);
}

/* --- time --- */

/* Often nothing passes; now and then it is exactly the edge of a sale, or just before it. */
static void pass_time(struct simulation *simulation)
{
    struct id_source *random = &simulation->random;
    unsigned lot = draw(random, 100);
    if (lot < 40)
        return;
    if (lot < 80) {
        simulation->at.now_ms += draw(random, 20);
        return;
    }
    const struct model_sale *sale = &simulation->model.sales[draw(random, MODEL_SKUS)];
    int64_t edge_ms = (draw(random, 2) == 0 ? sale->start_ms : sale->end_ms) - draw(random, 2);
    if (sale->exists && edge_ms > simulation->at.now_ms)
        simulation->at.now_ms = edge_ms;
}

static void tick(struct simulation *simulation)
{
    bool is_due = rules_next_tick_ms(&simulation->rules, &simulation->world) <= simulation->at.now_ms;
    size_t changes = simulation->world.change_count;
    bool is_good = rules_tick(&simulation->rules, &simulation->world, simulation->at.now_ms);
    model_tick(&simulation->model, simulation->at.now_ms);
    CHECK(simulation, is_good, "a tick ran out of memory");
    CHECK(simulation, is_due || simulation->world.change_count == changes,
        "a tick that was not due changed something");
    world_check_next_edge(&simulation->world);
}

/* --- a command --- */

static void check_number(
    struct simulation *simulation, const struct random_command *lot, const struct model_answer *expected)
{
    int64_t number = lot->command.outcome.number;
    if (expected->is_replay || !expected->has_number) {
        CHECK(simulation, number == expected->number, "the number is %" PRId64 " instead of %" PRId64, number,
            expected->number);
        return;
    }
    CHECK(simulation, number > simulation->number_last, "the number %" PRId64 " comes after %" PRId64, number,
        simulation->number_last);
    simulation->number_last = number;
    model_note_number(&simulation->model, lot, number);
}

static void decide_one(struct simulation *simulation)
{
    struct random_command lot;
    draw_command(&simulation->random, &simulation->crowd, simulation->at.now_ms, &lot);
    bool is_good = rules_decide(&simulation->rules, &simulation->world, &lot.command, simulation->at.now_ms);
    struct model_answer expected = model_decide(&simulation->model, &lot, simulation->at.now_ms);
    const struct outcome *outcome = &lot.command.outcome;
    CHECK(simulation, is_good, "memory ran out");
    CHECK(simulation, (int)outcome->result == expected.result,
        "%s of %s by %s (key '%s') was answered %d instead of %d", kind_name(lot.command.kind), lot.sku_text,
        lot.user_text, lot.key_text, (int)outcome->result, expected.result);
    CHECK(simulation, outcome->is_replay == expected.is_replay, "replay: %d", outcome->is_replay);
    CHECK(simulation, expected.result != 0 || outcome->time_ms == expected.time_ms,
        "%s tells the time %" PRId64 " instead of %" PRId64, kind_name(lot.command.kind), outcome->time_ms,
        expected.time_ms);
    check_number(simulation, &lot, &expected);
    simulation->counts[expected.result]++;
    simulation->at.step++;
}

/* --- the world against the model --- */

static void check_buyers(
    struct simulation *simulation, const struct product *product, const struct model_sale *sale)
{
    int64_t sum = 0;
    size_t buyers = 0;
    for (unsigned user = 0; user < MODEL_USERS; user++) {
        char text[16];
        (void)snprintf(text, sizeof text, "user-%u", user);
        const struct buyer *buyer = world_buyer(&simulation->world, product, slice_cstr(text));
        int64_t count = buyer == NULL ? 0 : buyer->count;
        CHECK(simulation, count == sale->bought[user], "%s has bought %" PRId64 " instead of %" PRId64, text,
            count, sale->bought[user]);
        CHECK(simulation, count <= product->values.per_user_limit, "%s has bought %" PRId64, text, count);
        sum += count;
        buyers += buyer != NULL;
    }
    CHECK(simulation, buyers == product->buyers.count, "there are buyers that nobody knows");
    CHECK(simulation, sum == product->values.initial_stock - product->values.stock, "%" PRId64 " were bought",
        sum);
}

static void check_sale(
    struct simulation *simulation, const struct product *product, const struct model_sale *sale)
{
    const struct product_values *values = &product->values;
    CHECK(simulation, values->stock >= 0 && values->stock <= values->initial_stock, "stock %" PRId64,
        values->stock);
    CHECK(simulation, values->initial_stock == sale->initial_stock, "initial stock %" PRId64,
        values->initial_stock);
    CHECK(simulation, values->stock == sale->initial_stock - sale->sold, "stock %" PRId64, values->stock);
    CHECK(simulation, (int)values->state == (int)sale->state, "state %d", (int)values->state);
    CHECK(simulation, (values->end_reason == END_SOLD_OUT) == sale->was_sold_out, "reason %d",
        (int)values->end_reason);
    CHECK(simulation, (values->end_reason != END_NONE) == (sale->state == MODEL_ENDED), "reason %d",
        (int)values->end_reason);
    CHECK(simulation, values->start_ms == sale->start_ms && values->end_ms == sale->end_ms, "times differ");
    CHECK(simulation, values->price_minor == sale->price && values->per_user_limit == sale->limit,
        "terms differ");
    CHECK(simulation, values->created_ms == sale->created_ms, "created at %" PRId64, values->created_ms);
    CHECK(simulation, slice_eq(values->name, slice_cstr(sale->name)), "name %.*s", SLICE_ARGS(values->name));
    check_buyers(simulation, product, sale);
}

static void check_world(struct simulation *simulation)
{
    size_t product_count = 0;
    for (unsigned sku = 0; sku < MODEL_SKUS; sku++) {
        char text[16];
        (void)snprintf(text, sizeof text, "SKU-%u", sku);
        const struct model_sale *sale = &simulation->model.sales[sku];
        const struct product *product = world_product(&simulation->world, slice_cstr(text));
        CHECK(simulation, (product != NULL) == sale->exists, "%s is there: %d", text, product != NULL);
        product_count += product != NULL;
        if (product != NULL)
            check_sale(simulation, product, sale);
    }
    CHECK(simulation, simulation->world.products_by_sku.count == product_count,
        "there are products nobody made");
    size_t key_count = 0;
    for (int user = 0; user < MODEL_USERS; user++)
        for (int key = 0; key < MODEL_KEYS; key++)
            key_count += simulation->model.keys[user][key].is_used;
    CHECK(simulation, simulation->world.keys_by_name.count == key_count, "%zu keys instead of %zu",
        simulation->world.keys_by_name.count, key_count);
}

static void run_batch(struct simulation *simulation)
{
    simulation_note(&simulation->at);
    world_begin(&simulation->world);
    simulation->model.batch++;
    simulation->committed = simulation->model;
    pass_time(simulation);
    if (draw(&simulation->random, 4) > 0)
        tick(simulation);
    unsigned count = draw(&simulation->random, BATCH_MAX);
    for (unsigned i = 0; i < count; i++)
        decide_one(simulation);
    if (draw(&simulation->random, 5) == 0) {
        world_rollback(&simulation->world);
        simulation->model = simulation->committed;
    } else {
        world_accept(&simulation->world);
    }
    check_world(simulation);
}

static void run(int64_t seed, int64_t commands, int64_t counts[SIMULATION_RESULTS])
{
    struct simulation *simulation = simulation_create(seed);
    while (simulation->at.step < commands)
        run_batch(simulation);
    for (int i = 0; i < SIMULATION_RESULTS; i++)
        counts[i] += simulation->counts[i];
    simulation_destroy(simulation);
}

/* The others are the engine's, or of commands that this crowd does not send. */
static bool is_expected(enum result result)
{
    return result < RESULT_WORK_NOT_YOURS;
}

int main(int argc, char **argv)
{
    static const struct simulation_plan plan = {.name = "simulation",
        .step_count = COMMANDS_DEFAULT,
        .run_steps = RUN_COMMANDS,
        .run = run,
        .is_expected = is_expected};
    return simulation_main(&plan, argc, argv);
}
