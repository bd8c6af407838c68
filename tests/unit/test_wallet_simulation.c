/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crowds with wallets, drawn by lot, on an embedded store: people register, are credited, hand their coins
 * on, spend them and send the same intents again, while products come, go and are restocked; some commits
 * fail, some without a word about what is on disk, and the store is closed and opened again. Every answer is
 * compared with the model's (wallet_model.h), after each step all wallets with the model's, and after each
 * batch the history is audited (wallet_audit.h).
 *
 *     test_wallet_simulation [SEED [STEPS]]    see simulation_kit.h
 */
#include <stdio.h>

#include "core/machine.h"
#include "core/rules.h"
#include "simulation_kit.h"
#include "store/fault.h"
#include "store/sqlite.h"
#include "store_support.h"
#include "wallet_audit.h"
#include "wallet_model.h"

enum { STEPS_DEFAULT = 40000, RUN_STEPS = 4000, BATCH_MAX = 40, SALE_MS_MAX = 400, STOCK_MAX = 60 };

/* What the next failing commit of the store comes to. */
enum fate { FATE_FULL, FATE_LOST, FATE_KEPT };

/* One run. */
struct simulation {
    struct simulation_place at;
    struct id_source random;
    struct rules rules;
    struct wallet_crowd crowd;
    char place[PATH_MAX];
    struct store *store;
    enum fate fate;
    struct world world;
    struct random_wallet lots[BATCH_MAX]; /* a change borrows its request until the commit */
    struct wallet_model model;
    struct wallet_model model_before;
    struct wallet_audit audit;
    int64_t counts[SIMULATION_RESULTS]; /* answers, by result */
};

#define CHECK(simulation, ...) SIMULATION_CHECK(&(simulation)->at, __VA_ARGS__)

static void check_equal(struct simulation *simulation, const char *name, int64_t actual, int64_t expected)
{
    CHECK(simulation, actual == expected, "%s is %" PRId64 " instead of %" PRId64, name, actual, expected);
}

/* --- the store --- */

/* One of its commits fails. */
static void open_store(struct simulation *simulation)
{
    static const char *const faults[] = {
        [FATE_FULL] = "full", [FATE_LOST] = "unknown-lost", [FATE_KEPT] = "unknown-kept"};
    struct error error = {.message = ""};
    struct store *inner;
    char spec[64];
    simulation->fate = (enum fate)draw(&simulation->random, 3);
    (void)snprintf(
        spec, sizeof spec, "commit:%u:%s", 1 + draw(&simulation->random, 20), faults[simulation->fate]);
    enum err err = sqlite_store_open(place_path(simulation->place, "store.db"), &inner, &error);
    CHECK(simulation, err == ERR_NONE, "%s", error.message);
    err = fault_store_wrap(inner, spec, &simulation->store, &error);
    CHECK(simulation, err == ERR_NONE, "%s", error.message);
    test_world_load(simulation->store, &simulation->world);
}

static void close_store(struct simulation *simulation)
{
    world_fini(&simulation->world);
    store_close(simulation->store);
}

static struct simulation *simulation_create(int64_t seed, int64_t steps)
{
    struct simulation *simulation = calloc(1, sizeof *simulation);
    assert_non_null(simulation);
    simulation->at = (struct simulation_place){.seed = seed, .now_ms = 1000000, .batch_max = BATCH_MAX};
    simulation->rules = (struct rules){.idempotency_ttl_ms = 1000, .idempotency_count_max = SIZE_MAX};
    id_source_init_seed(&simulation->random, (uint64_t)seed);
    draw_wallet_crowd(&simulation->random, &simulation->crowd);
    simulation->model.deeds = calloc((size_t)steps + BATCH_MAX, sizeof *simulation->model.deeds);
    assert_non_null(simulation->model.deeds);
    place_make(simulation->place);
    open_store(simulation);
    return simulation;
}

static void simulation_destroy(struct simulation *simulation)
{
    close_store(simulation);
    place_remove(simulation->place);
    wallet_audit_fini(&simulation->audit);
    free(simulation->model.deeds);
    free(simulation);
}

/* --- the world against the model --- */

static void check_wallet(struct simulation *simulation, unsigned person)
{
    const struct model_wallet *expected = &simulation->model.wallets[person];
    unsigned char key[WALLET_KEY_BYTES];
    wallet_person_key(person, key);
    const struct wallet *wallet = world_wallet(&simulation->world, key);
    check_equal(simulation, "a wallet is there", wallet != NULL, expected->exists);
    if (wallet == NULL)
        return;
    check_equal(simulation, "account", wallet->account_id, expected->account_id);
    check_equal(simulation, "balance", wallet->values.balance_minor, expected->balance);
    check_equal(simulation, "last transfer", wallet->values.last_transfer_id, expected->last_id);
    CHECK(simulation, wallet->values.balance_minor >= 0 && wallet->values.balance_minor <= WALLET_AMOUNT_MAX,
        "a balance of %" PRId64, wallet->values.balance_minor);
}

static void check_good(struct simulation *simulation, unsigned sku)
{
    const struct model_good *expected = &simulation->model.goods[sku];
    char text[16];
    wallet_sku(sku, text);
    const struct product *product = world_product(&simulation->world, slice_cstr(text));
    check_equal(simulation, text, product != NULL, expected->exists);
    if (product == NULL)
        return;
    check_equal(simulation, "stock", product->values.stock, expected->stock);
    check_equal(simulation, "price", product->values.price_minor, expected->price);
}

/* What was issued is what is there and what was spent, after each step. */
static void check_world(struct simulation *simulation)
{
    const struct world *world = &simulation->world;
    const struct wallet_model *model = &simulation->model;
    int64_t held = 0;
    size_t count = 0;
    for (unsigned person = 0; person < WALLET_PEOPLE; person++) {
        check_wallet(simulation, person);
        held += model->wallets[person].balance;
        count += model->wallets[person].exists;
    }
    for (unsigned sku = 0; sku < WALLET_SKUS; sku++)
        check_good(simulation, sku);
    check_equal(simulation, "number of wallets", (int64_t)world->wallets_by_key.count, (int64_t)count);
    check_equal(
        simulation, "number of names", (int64_t)world->transfers_by_nonce.count, (int64_t)model->deed_count);
    check_equal(simulation, "what was issued", model->issued, held + model->spent);
}

static void check_audit(struct simulation *simulation, const char *wrong)
{
    CHECK(simulation, wrong == NULL, "%s", wrong);
}

/* --- a step --- */

static void tick(struct simulation *simulation)
{
    CHECK(simulation, rules_tick(&simulation->rules, &simulation->world, simulation->at.now_ms),
        "a tick ran out of memory");
}

static void decide(struct simulation *simulation, struct command *command)
{
    bool is_good = rules_decide(&simulation->rules, &simulation->world, command, simulation->at.now_ms);
    CHECK(simulation, is_good, "memory ran out");
}

/* A product is there anew, at once on sale and for a while; its price may be another one. */
static void make_good(struct simulation *simulation, unsigned sku, const char *text)
{
    struct id_source *random = &simulation->random;
    struct model_good *good = &simulation->model.goods[sku];
    good->exists = true;
    good->stock = draw(random, STOCK_MAX);
    good->price = wallet_price(sku) + (draw(random, 6) == 0);
    good->end_ms = simulation->at.now_ms + 1 + draw(random, SALE_MS_MAX);
    struct command command = {.kind = COMMAND_PRODUCT_CREATE,
        .sku = slice_cstr(text),
        .product = {.present = FIELDS_ALL_REQUIRED | FIELD_PRICE,
            .name = slice_cstr(text),
            .initial_stock = good->stock,
            .start_ms = simulation->at.now_ms,
            .end_ms = good->end_ms,
            .price_minor = good->price}};
    decide(simulation, &command);
    check_equal(simulation, "a new product", command.outcome.result, RESULT_OK);
    tick(simulation);
    good->id = world_product(&simulation->world, slice_cstr(text))->id;
}

static void change_good(struct simulation *simulation)
{
    struct id_source *random = &simulation->random;
    unsigned sku = draw(random, WALLET_SKUS);
    struct model_good *good = &simulation->model.goods[sku];
    struct pool_request request = {.units = 0};
    char text[16];
    wallet_sku(sku, text);
    unsigned lot = draw(random, 10);
    if (!good->exists || lot < 5) {
        make_good(simulation, sku, text);
        return;
    }
    struct command command = {.kind = COMMAND_PRODUCT_DELETE, .sku = slice_cstr(text)};
    if (lot < 8) {
        command.kind = COMMAND_PRODUCT_SET_STOCK;
        command.product_id = good->id;
        command.product.initial_stock = draw(random, STOCK_MAX);
        command.pool = &request;
    }
    decide(simulation, &command);
    check_equal(simulation, "a product's change", command.outcome.result, RESULT_OK);
    good->stock = command.product.initial_stock;
    good->exists = command.kind == COMMAND_PRODUCT_SET_STOCK;
}

static void check_answer(struct simulation *simulation, const struct random_wallet *lot,
    const struct command *command, const struct wallet_expected *expected)
{
    const struct outcome *outcome = &command->outcome;
    CHECK(simulation, (int)outcome->result == expected->result,
        "command %d of person %u (payee %u, product %u, nonce %u, amount %" PRId64
        ") was answered %d instead of %d",
        (int)command->kind, lot->person, lot->payee, lot->sku, lot->nonce, lot->request.amount_minor,
        (int)outcome->result, expected->result);
    check_equal(simulation, "a repetition", outcome->is_replay, expected->is_replay);
    if (outcome->result != RESULT_OK)
        return;
    check_equal(simulation, "time", outcome->time_ms, expected->time_ms);
    if (command->kind == COMMAND_ACCOUNT_REGISTER)
        return;
    const struct transfer_row *row = &lot->request.transfer;
    check_equal(simulation, "new balance", lot->request.balance_minor, expected->balance);
    check_equal(simulation, "amount", row->amount_minor, lot->request.amount_minor);
    check_equal(simulation, "number", row->id, expected->is_replay ? expected->id : outcome->number);
    check_equal(simulation, "its time", row->created_ms, expected->time_ms);
}

/* The opening is a transfer that has no answer of its own. */
static void note_opening(struct simulation *simulation, const struct random_wallet *lot)
{
    if (lot->account.opening_minor > 0)
        simulation->model.wallets[lot->person].last_id = simulation->world.next_transfer_id - 1;
}

static void decide_one(struct simulation *simulation, struct random_wallet *lot)
{
    struct command command;
    size_t changes = simulation->world.change_count;
    draw_wallet_command(&simulation->random, &simulation->crowd, lot, &command);
    decide(simulation, &command);
    struct wallet_expected expected = model_decide(&simulation->model, lot, &command, simulation->at.now_ms);
    check_answer(simulation, lot, &command, &expected);
    bool is_done = expected.result == RESULT_OK && !expected.is_replay;
    CHECK(simulation, is_done == (simulation->world.change_count > changes),
        "a refusal or a repetition (%d) changed something", expected.result);
    if (is_done)
        model_note_number(&simulation->model, lot, &command);
    if (is_done && command.kind == COMMAND_ACCOUNT_REGISTER)
        note_opening(simulation, lot);
    simulation->counts[expected.result]++;
}

/* --- the end of a batch --- */

static void reopen(struct simulation *simulation)
{
    close_store(simulation);
    open_store(simulation);
    check_world(simulation);
    check_audit(simulation, wallet_audit_check(&simulation->audit, &simulation->world));
}

static void take_back(struct simulation *simulation)
{
    world_rollback(&simulation->world);
    simulation->model = simulation->model_before;
}

/* "Nobody knows": the store stops, and opening it again tells. */
static void find_out(struct simulation *simulation)
{
    if (simulation->fate == FATE_KEPT) {
        check_audit(simulation, wallet_audit_note(&simulation->audit, &simulation->world));
        world_rollback(&simulation->world);
    } else {
        take_back(simulation);
    }
    CHECK(simulation, store_probe(simulation->store, NULL) != ERR_NONE, "the store goes on");
    reopen(simulation);
}

static void commit(struct simulation *simulation)
{
    struct error error = {.message = ""};
    enum err err = store_commit(simulation->store, &simulation->world, &error);
    if (err == ERR_COMMIT_UNKNOWN) {
        find_out(simulation);
    } else if (err == ERR_FULL) {
        take_back(simulation);
    } else {
        CHECK(simulation, err == ERR_NONE, "%s", error.message);
        check_audit(simulation, wallet_audit_note(&simulation->audit, &simulation->world));
        world_accept(&simulation->world);
    }
}

static void run_batch(struct simulation *simulation)
{
    struct id_source *random = &simulation->random;
    simulation_note(&simulation->at);
    world_begin(&simulation->world);
    simulation->model_before = simulation->model;
    simulation->at.now_ms += draw(random, 3) == 0 ? draw(random, 100) : 0;
    tick(simulation);
    for (unsigned i = draw(random, BATCH_MAX); i > 0; i--) {
        if (draw(random, 40) == 0)
            change_good(simulation);
        else
            decide_one(simulation, &simulation->lots[i]);
        simulation->at.step++;
        check_world(simulation);
    }
    if (draw(random, 10) == 0)
        take_back(simulation);
    else
        commit(simulation);
    check_world(simulation);
    check_audit(simulation, wallet_audit_check(&simulation->audit, &simulation->world));
    if (draw(random, 25) == 0)
        reopen(simulation);
}

static void run(int64_t seed, int64_t steps, int64_t counts[SIMULATION_RESULTS])
{
    struct simulation *simulation = simulation_create(seed, steps);
    while (simulation->at.step < steps)
        run_batch(simulation);
    reopen(simulation);
    for (int i = 0; i < SIMULATION_RESULTS; i++)
        counts[i] += simulation->counts[i];
    simulation_destroy(simulation);
}

static bool is_expected(enum result result)
{
    return result == RESULT_OK || result == RESULT_PRODUCT_NOT_FOUND || result == RESULT_SOLD_OUT ||
           result == RESULT_EMAIL_TAKEN || result >= RESULT_WALLET_NOT_FOUND;
}

int main(int argc, char **argv)
{
    static const struct simulation_plan plan = {.name = "wallet simulation",
        .step_count = STEPS_DEFAULT,
        .run_steps = RUN_STEPS,
        .run = run,
        .is_expected = is_expected};
    return simulation_main(&plan, argc, argv);
}
