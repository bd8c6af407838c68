/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the machines (vending contract): who gets which one, what a choice needs and in which order it
 * is refused, whose word counts once a lease has ended, and what time does. Each line before a test says what
 * is wrong if it fails; the kit checks after every wish that a refusal has changed nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pool_kit.h"

static struct world world;
static struct pool_kit pool;

static int make_world(void **state)
{
    (void)state;
    world_init(&world, &world_kit_hash_key);
    world_begin(&world);
    pool_kit_init(&pool, &world);
    return 0;
}

static int drop_world(void **state)
{
    (void)state;
    world_fini(&world);
    return 0;
}

static void next_batch(void)
{
    world_accept(&world);
    world_begin(&world);
}

static void make_machines(int count)
{
    for (int i = 1; i <= count; i++)
        assert_int_equal(ask_machine(&pool, "m"), i);
}

static void assert_takes(int64_t machine_id, int64_t lease_id)
{
    assert_int_equal(ask_take(&pool), RESULT_OK);
    assert_int_equal(pool.request.machine.id, machine_id);
    assert_int_equal(pool.request.machine.lease_id, lease_id);
    assert_int_equal(pool.request.machine.status, MACHINE_CHOOSING);
}

static const struct product_values *product_now(const char *sku)
{
    const struct product *product = world_product(&world, slice_cstr(sku));
    assert_non_null(product);
    return &product->values;
}

/* How the last lease of this batch has ended. */
static const struct change *last_ended_lease(void)
{
    for (size_t i = world.change_count; i > 0; i--) {
        if (world.changes[i - 1].kind == CHANGE_LEASE_ENDED)
            return &world.changes[i - 1];
    }
    return NULL;
}

static void assert_last_lease(int64_t id, enum lease_end end)
{
    const struct change *change = last_ended_lease();
    assert_non_null(change);
    assert_int_equal(change->lease.lease.id, id);
    assert_int_equal(change->lease.end, end);
    assert_int_equal(change->lease.time_ms, pool.now_ms);
}

/* --- machines --- */

/* A machine begins in use, without its name, or under the number of another. */
static void machines_begin_idle_and_count_up(void **state)
{
    (void)state;
    assert_int_equal(ask_machine(&pool, "Caf\xc3\xa9 1"), 1);
    const struct machine_row *row = &pool.request.machine;
    assert_true(slice_eq(row->name, SLICE("Caf\xc3\xa9 1")));
    assert_int_equal(row->status, MACHINE_IDLE);
    assert_false(row->is_draining);
    assert_int_equal(row->usage_count, 0);
    assert_int_equal(row->lease_id, 0);
    assert_int_equal(row->created_ms, 1000);
    assert_int_equal(row->updated_ms, 1000);
    assert_int_equal(ask_machine(&pool, "Caf\xc3\xa9 1"), 2); /* a name need not be unique */
    assert_int_equal(ask_delete(&pool, 2), RESULT_OK);
    assert_int_equal(ask_delete(&pool, 2), RESULT_MACHINE_NOT_FOUND);
    assert_int_equal(ask_machine(&pool, "m"), 3);
}

/* The longest name is cut, or an update that names nothing changes something. */
static void updates_change_what_they_name(void **state)
{
    char longest[MACHINE_NAME_LEN_MAX + 1];
    (void)state;
    memset(longest, 'x', MACHINE_NAME_LEN_MAX);
    longest[MACHINE_NAME_LEN_MAX] = '\0';
    make_machines(1);
    pool.now_ms = 2000;
    assert_int_equal(ask_rename(&pool, 1, longest), RESULT_OK);
    assert_true(slice_eq(pool.request.machine.name, slice_cstr(longest)));
    assert_int_equal(pool.request.machine.updated_ms, 2000);
    assert_int_equal(pool.request.machine.created_ms, 1000);
    pool.now_ms = 3000;
    struct command nothing = {.kind = COMMAND_MACHINE_UPDATE, .pool = &pool.request};
    pool.request = (struct pool_request){.machine_id = 1, .name = SLICE("y"), .is_draining = true};
    size_t changes = world.change_count;
    assert_true(rules_decide(&pool.rules, &world, &nothing, 3000));
    assert_int_equal(nothing.outcome.result, RESULT_OK);
    assert_int_equal(world.change_count, changes);
    assert_int_equal(pool.request.machine.updated_ms, 2000);
    assert_false(machine_now(&pool, 1)->is_draining);
    assert_int_equal(ask_rename(&pool, 9, "y"), RESULT_MACHINE_NOT_FOUND);
    assert_int_equal(ask_reset(&pool, 9, 0), RESULT_MACHINE_NOT_FOUND);
}

/* --- who gets which --- */

/* The contract's order: the least used, of those the lowest number. */
static void the_least_used_machine_is_taken(void **state)
{
    (void)state;
    pool.rules.dispense_ms = 0;
    make_machines(3);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 100), RESULT_OK);
    static const int64_t expected[] = {1, 2, 3, 1, 2, 3};
    for (int i = 0; i < 6; i++) {
        assert_takes(expected[i], i + 1);
        assert_int_equal(ask_choose(&pool, expected[i], "T-1", 1), RESULT_OK);
    }
    assert_takes(1, 7); /* all are taken at once, whatever they have done */
    assert_takes(2, 8);
    assert_takes(3, 9);
    assert_int_equal(ask_take(&pool), RESULT_NO_IDLE_MACHINE);
    assert_int_equal(ask_choose(&pool, 2, "T-1", 1), RESULT_OK);
    assert_int_equal(ask_reset(&pool, 3, 0), RESULT_OK);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(ask_machine(&pool, "new"), 4);
    assert_takes(4, 10); /* never used; 1 and 3 twice, 2 three times */
    assert_takes(1, 11);
    assert_takes(3, 12);
    assert_takes(2, 13);
}

static void without_machines_nobody_gets_one(void **state)
{
    (void)state;
    assert_int_equal(ask_take(&pool), RESULT_NO_IDLE_MACHINE);
    assert_int_equal(pool.request.machine.id, 0);
}

/* --- a choice --- */

/* A refusal hides another one that the contract names before it, or the machine does not stay chosen. */
static void a_choice_is_refused_in_the_order_of_the_contract(void **state)
{
    (void)state;
    make_machines(2);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 3), RESULT_OK);
    assert_int_equal(ask_choose_by(&pool, 9, 7, "none", 5, 4), RESULT_CHOICE_UNKNOWN);
    assert_true(pool.request.is_machine_unknown && pool.request.is_product_unknown);
    assert_int_equal(ask_choose_by(&pool, 1, 7, "none", 5, 4), RESULT_CHOICE_UNKNOWN);
    assert_true(!pool.request.is_machine_unknown && pool.request.is_product_unknown);
    assert_int_equal(ask_choose_by(&pool, 9, 7, "T-1", 5, 4), RESULT_CHOICE_UNKNOWN);
    assert_true(pool.request.is_machine_unknown && !pool.request.is_product_unknown);
    assert_int_equal(ask_choose_by(&pool, 1, 7, "T-1", 5, 4), RESULT_COINS_NOT_COUNT);
    assert_int_equal(ask_choose_by(&pool, 1, 7, "T-1", 4, 5), RESULT_COINS_NOT_COUNT);
    assert_int_equal(ask_choose_by(&pool, 1, 0, "T-1", 5, 5), RESULT_NOT_CHOOSING); /* idle */
    assert_takes(1, 1);
    assert_int_equal(ask_choose_by(&pool, 1, 7, "T-1", 5, 5), RESULT_NOT_CHOOSING); /* another's lease */
    assert_int_equal(ask_choose_by(&pool, 2, 1, "T-1", 5, 5), RESULT_NOT_CHOOSING);
    assert_int_equal(ask_choose_by(&pool, 1, 1, "T-1", 5, 5), RESULT_STOCK_INSUFFICIENT);
    assert_int_equal(pool.outcome.number, 3);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_CHOOSING);
    assert_int_equal(ask_choose_by(&pool, 1, 1, "T-1", 3, 3), RESULT_OK);
    assert_int_equal(ask_choose_by(&pool, 1, 1, "T-1", 1, 1), RESULT_NOT_CHOOSING); /* processing */
}

/* A number that a product had once is taken for the one that has its sku now. */
static void a_choice_means_one_product(void **state)
{
    char user[MACHINE_USER_LEN_MAX];
    (void)state;
    make_machines(1);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 3), RESULT_OK);
    int64_t old_id = pool.request.product.id;
    struct command removal = make_delete("T-1");
    removal.product_id = old_id;
    assert_true(rules_decide(&pool.rules, &world, &removal, 1000));
    assert_int_equal(removal.outcome.result, RESULT_OK);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 3), RESULT_OK);
    assert_takes(1, 1);
    struct command choice = {.kind = COMMAND_MACHINE_CHOOSE,
        .sku = SLICE("T-1"),
        .product_id = old_id,
        .user = machine_user(1, user),
        .pool = &pool.request};
    pool.request = (struct pool_request){.machine_id = 1, .units = 1, .coins = 1};
    assert_true(rules_decide(&pool.rules, &world, &choice, 1000));
    assert_int_equal(choice.outcome.result, RESULT_CHOICE_UNKNOWN);
    assert_true(pool.request.is_product_unknown);
    assert_true(rules_decide(&pool.rules, &world, &removal, 1000));
    assert_int_equal(removal.outcome.result, RESULT_PRODUCT_NOT_FOUND);
}

/* The machine does not process as long as it was told, or the answer shows something else. */
static void a_choice_is_processed_for_its_time(void **state)
{
    (void)state;
    make_machines(1);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    assert_takes(1, 1);
    assert_int_equal(pool.request.machine.updated_ms, 1000);
    pool.now_ms = 2000;
    assert_int_equal(ask_choose_by(&pool, 1, 1, "T-1", 4, 4), RESULT_OK);
    assert_int_equal(pool.request.machine.status, MACHINE_PROCESSING);
    assert_int_equal(pool.request.machine.updated_ms, 2000);
    assert_int_equal(pool.request.machine.usage_count, 0);
    assert_int_equal(pool.request.product.stock, 5);
    assert_int_equal(pool.request.product.updated_ms, 2000);
    assert_true(slice_eq(pool.request.product.name, SLICE("tea")));
    assert_int_equal(rules_next_tick_ms(&pool.rules, &world), 7000);
    pool_tick(&pool, 6999);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_PROCESSING);
    pool_tick(&pool, 7000);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_IDLE);
    assert_int_equal(machine_now(&pool, 1)->usage_count, 1);
    assert_int_equal(machine_now(&pool, 1)->updated_ms, 7000);
    assert_last_lease(1, LEASE_COMPLETED);
    assert_takes(1, 2);
}

/* Units of one choice are not purchases of the machine, or others stand between them. */
static void every_unit_is_a_purchase_of_the_machine(void **state)
{
    (void)state;
    make_machines(2);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    assert_takes(1, 1);
    assert_takes(2, 2);
    assert_int_equal(ask_choose(&pool, 2, "T-1", 1), RESULT_OK);
    next_batch();
    assert_int_equal(ask_choose(&pool, 1, "T-1", 3), RESULT_OK);
    assert_int_equal(machine_now(&pool, 1)->lease.purchase_id, 2);
    assert_int_equal(machine_now(&pool, 1)->lease.units, 3);
    int64_t id = 2;
    for (size_t i = 0; i < world.change_count; i++) {
        const struct change *change = &world.changes[i];
        if (change->kind != CHANGE_PURCHASE_ADDED)
            continue;
        const struct buyer *buyer = change->purchase.buyer;
        assert_int_equal(change->purchase.id, id++);
        assert_true(slice_eq(slice_make(buyer->user, buyer->user_len), SLICE(" machine 1")));
    }
    assert_int_equal(id, 5);
    const struct product *product = world_product(&world, SLICE("T-1"));
    assert_int_equal(world_buyer(&world, product, SLICE(" machine 1"))->count, 3);
    assert_int_equal(product->values.stock, 5);
    assert_int_equal(product->values.initial_stock, 9);
}

/* The name of a machine's buyer does not fit, or two machines are one buyer. */
static void each_machine_buys_under_a_name_of_its_own(void **state)
{
    char memory[MACHINE_USER_LEN_MAX];
    (void)state;
    assert_true(slice_eq(machine_user(7, memory), SLICE(" machine 7")));
    assert_true(slice_eq(machine_user(INT64_MAX, memory), SLICE(" machine 9223372036854775807")));
}

/* With no time to dispense a machine is kept all the same, or its use is not counted. */
static void no_time_to_dispense_is_none(void **state)
{
    (void)state;
    pool.rules.dispense_ms = 0;
    make_machines(1);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    assert_takes(1, 1);
    assert_int_equal(ask_choose_by(&pool, 1, 1, "T-1", 2, 2), RESULT_OK);
    assert_int_equal(pool.request.machine.status, MACHINE_PROCESSING); /* so the client is told */
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_IDLE);
    assert_int_equal(machine_now(&pool, 1)->usage_count, 1);
    assert_last_lease(1, LEASE_COMPLETED);
    assert_int_equal(last_ended_lease()->lease.lease.units, 2);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_MACHINE_IS_IDLE);
    assert_takes(1, 2);
}

/* --- the end of a lease --- */

/* A reset from before frees the machine of its next user, or one of now does nothing. */
static void a_stale_reset_changes_nothing(void **state)
{
    (void)state;
    make_machines(1);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_MACHINE_IS_IDLE);
    assert_takes(1, 1);
    assert_int_equal(ask_reset(&pool, 1, 1), RESULT_OK);
    assert_int_equal(pool.request.machine.status, MACHINE_IDLE);
    assert_last_lease(1, LEASE_RESET);
    assert_int_equal(ask_reset(&pool, 1, 1), RESULT_MACHINE_IS_IDLE);
    assert_takes(1, 2);
    assert_int_equal(ask_reset(&pool, 1, 1), RESULT_MACHINE_IS_IDLE);
    assert_int_equal(ask_reset(&pool, 1, 3), RESULT_MACHINE_IS_IDLE);
    assert_int_equal(ask_choose_by(&pool, 1, 1, "T-1", 1, 1), RESULT_NOT_CHOOSING);
    assert_int_equal(ask_choose_by(&pool, 1, 2, "T-1", 1, 1), RESULT_OK);
    assert_int_equal(ask_reset(&pool, 1, 1), RESULT_MACHINE_IS_IDLE);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(machine_now(&pool, 1)->usage_count, 0); /* it was not completed */
    assert_int_equal(product_now("T-1")->stock, 8);          /* what was sold stays sold */
}

/* The original's fault: a completion from before a reset frees the machine for somebody else. */
static void a_completion_from_before_a_reset_never_comes(void **state)
{
    (void)state;
    make_machines(1);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    assert_takes(1, 1);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 1), RESULT_OK); /* done at 6000 */
    pool.now_ms = 5000;
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_takes(1, 2);
    pool_tick(&pool, 6000);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_CHOOSING);
    assert_int_equal(machine_now(&pool, 1)->lease.id, 2);
    assert_int_equal(machine_now(&pool, 1)->usage_count, 0);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 1), RESULT_OK); /* done at 11000 */
    pool_tick(&pool, 10999);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_PROCESSING);
    pool_tick(&pool, 11000);
    assert_int_equal(machine_now(&pool, 1)->usage_count, 1);
}

static void who_had_gone_before_he_heard_is_told_apart(void **state)
{
    (void)state;
    make_machines(1);
    assert_takes(1, 1);
    struct command command = {.kind = COMMAND_MACHINE_RESET, .pool = &pool.request};
    pool.request = (struct pool_request){.machine_id = 1, .lease_id = 1, .is_given_up = true};
    assert_true(rules_decide(&pool.rules, &world, &command, 1000));
    assert_int_equal(command.outcome.result, RESULT_OK);
    assert_last_lease(1, LEASE_GIVEN_UP);
}

/* A machine that was given up stops in the middle of what somebody has chosen and paid for meanwhile. */
static void what_was_chosen_is_dispensed_though_the_machine_is_given_up(void **state)
{
    (void)state;
    make_machines(1);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    assert_takes(1, 1);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 1), RESULT_OK); /* done at 6000 */
    struct command command = {.kind = COMMAND_MACHINE_RESET, .pool = &pool.request};
    pool.request = (struct pool_request){.machine_id = 1, .lease_id = 1, .is_given_up = true};
    assert_true(rules_decide(&pool.rules, &world, &command, 1000));
    assert_int_equal(command.outcome.result, RESULT_MACHINE_IS_IDLE);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_PROCESSING);
    pool_tick(&pool, 6000);
    assert_last_lease(1, LEASE_COMPLETED);
}

/* The auditor, or a user, reads that a lease chose or ended before it began, or a clock that was set back
 * makes a machine dispense for longer. */
static void what_is_told_of_a_machine_never_goes_back_in_time(void **state)
{
    (void)state;
    make_machines(1);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    pool.now_ms = 2000;
    assert_takes(1, 1);
    pool.now_ms = 1500; /* the clock was set back, or another node decides */
    assert_int_equal(ask_choose(&pool, 1, "T-1", 1), RESULT_OK);
    assert_int_equal(machine_now(&pool, 1)->lease.chosen_ms, 2000);
    assert_int_equal(machine_now(&pool, 1)->due_ms, 6500);
    pool.now_ms = 1200;
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(last_ended_lease()->lease.time_ms, 2000);
    assert_takes(1, 2);
    assert_int_equal(machine_now(&pool, 1)->lease.started_ms, 2000);
    assert_int_equal(machine_now(&pool, 1)->updated_ms, 2000);
    pool_tick(&pool, 61200);
    assert_int_equal(machine_now(&pool, 1)->updated_ms, 61200);
}

/* An abandoned choice keeps the machine for ever, or one in time is lost. */
static void a_choice_times_out(void **state)
{
    (void)state;
    make_machines(2);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    assert_takes(1, 1);
    pool.now_ms = 1001;
    assert_takes(2, 2);
    assert_int_equal(rules_next_tick_ms(&pool.rules, &world), 61000);
    pool_tick(&pool, 60999);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_CHOOSING);
    pool_tick(&pool, 61000);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_IDLE);
    assert_int_equal(machine_now(&pool, 1)->usage_count, 0);
    assert_last_lease(1, LEASE_TIMED_OUT);
    assert_int_equal(machine_now(&pool, 2)->status, MACHINE_CHOOSING);
    assert_int_equal(ask_choose_by(&pool, 1, 1, "T-1", 1, 1), RESULT_NOT_CHOOSING);
    assert_int_equal(ask_choose_by(&pool, 2, 2, "T-1", 1, 1), RESULT_OK);
    pool_tick(&pool, 61001); /* its time to choose has no say any more */
    assert_int_equal(machine_now(&pool, 2)->status, MACHINE_PROCESSING);
    assert_int_equal(rules_next_tick_ms(&pool.rules, &world), 66000);
}

/* A product whose sale is over is told to be sold out while there is some of it. */
static void stock_that_comes_after_the_end_is_not_sold_out(void **state)
{
    (void)state;
    assert_int_equal(ask_product(&pool, "T-1", "tea", 0), RESULT_OK);
    assert_int_equal(product_now("T-1")->end_reason, END_SOLD_OUT);
    pool.now_ms = product_now("T-1")->end_ms - 1;
    assert_int_equal(ask_stock(&pool, "T-1", 1), RESULT_OK);
    assert_int_equal(product_now("T-1")->state, SALE_ACTIVE);
    assert_int_equal(ask_stock(&pool, "T-1", 0), RESULT_OK);
    assert_int_equal(product_now("T-1")->end_reason, END_SOLD_OUT);
    pool.now_ms = product_now("T-1")->end_ms;
    assert_int_equal(ask_stock(&pool, "T-1", 5), RESULT_OK);
    assert_int_equal(product_now("T-1")->state, SALE_ENDED);
    assert_int_equal(product_now("T-1")->end_reason, END_TIME_EXPIRED);
    assert_int_equal(product_now("T-1")->stock, 5);
}

/* After a long halt what was due is not done, or done in one endless tick. */
static void all_that_is_due_is_done_in_portions(void **state)
{
    enum { COUNT = RULES_POOL_DUE_PER_TICK_MAX + 20 };
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        struct pool_request request = {.name = SLICE("m")};
        struct command create = {.kind = COMMAND_MACHINE_CREATE, .pool = &request};
        struct command take = {.kind = COMMAND_MACHINE_TAKE, .pool = &request};
        assert_true(rules_decide(&pool.rules, &world, &create, 1000));
        assert_true(rules_decide(&pool.rules, &world, &take, 1000));
    }
    assert_true(rules_tick(&pool.rules, &world, 100000));
    assert_int_equal(world.pool.idle.count, RULES_POOL_DUE_PER_TICK_MAX);
    assert_true(rules_next_tick_ms(&pool.rules, &world) <= 100000);
    assert_true(rules_tick(&pool.rules, &world, 100000));
    assert_int_equal(world.pool.idle.count, COUNT);
    assert_true(rules_next_tick_ms(&pool.rules, &world) == INT64_MAX);
    assert_int_equal(world_idle_machine(&world)->id, 1);
}

/* --- draining and deleting --- */

/* A draining machine takes one more user, or sends the present one away. */
static void a_draining_machine_finishes_and_takes_no_more(void **state)
{
    (void)state;
    make_machines(2);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    assert_takes(1, 1);
    assert_int_equal(ask_drain(&pool, 1, true), RESULT_OK);
    assert_true(pool.request.machine.is_draining);
    assert_int_equal(pool.request.machine.status, MACHINE_CHOOSING);
    assert_int_equal(ask_drain(&pool, 2, true), RESULT_OK);
    assert_int_equal(ask_choose_by(&pool, 1, 1, "T-1", 1, 1), RESULT_OK);
    pool_tick(&pool, 6000);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_IDLE);
    assert_int_equal(machine_now(&pool, 1)->usage_count, 1);
    assert_int_equal(ask_take(&pool), RESULT_NO_IDLE_MACHINE);
    assert_int_equal(ask_drain(&pool, 1, false), RESULT_OK);
    assert_int_equal(ask_drain(&pool, 1, false), RESULT_OK);
    assert_takes(1, 2);
    assert_int_equal(ask_drain(&pool, 1, true), RESULT_OK);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(ask_take(&pool), RESULT_NO_IDLE_MACHINE);
    assert_int_equal(ask_drain(&pool, 2, false), RESULT_OK);
    assert_takes(2, 3);
}

/* A machine that is gone still ends a lease, is taken, or keeps what it was doing. */
static void a_machine_is_deleted_in_any_state(void **state)
{
    (void)state;
    make_machines(4);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 9), RESULT_OK);
    assert_takes(1, 1);
    assert_takes(2, 2);
    assert_int_equal(ask_choose(&pool, 2, "T-1", 2), RESULT_OK);
    assert_int_equal(ask_drain(&pool, 4, true), RESULT_OK);
    next_batch();
    assert_int_equal(ask_delete(&pool, 3), RESULT_OK); /* idle: no lease has ended */
    assert_null(last_ended_lease());
    assert_int_equal(ask_delete(&pool, 1), RESULT_OK);
    assert_last_lease(1, LEASE_DELETED);
    assert_int_equal(ask_delete(&pool, 2), RESULT_OK);
    assert_last_lease(2, LEASE_DELETED);
    assert_int_equal(last_ended_lease()->lease.lease.units, 2);
    assert_int_equal(ask_delete(&pool, 4), RESULT_OK);
    next_batch();
    assert_int_equal(world.pool.machines_by_id.count, 0);
    assert_true(world_pool_due_ms(&world) == INT64_MAX);
    pool_tick(&pool, 100000);
    assert_int_equal(ask_take(&pool), RESULT_NO_IDLE_MACHINE);
    assert_int_equal(ask_choose_by(&pool, 1, 1, "T-1", 1, 1), RESULT_CHOICE_UNKNOWN);
    assert_int_equal(product_now("T-1")->stock, 7);
}

/* A pool without bound. */
static void there_are_only_so_many_machines(void **state)
{
    (void)state;
    struct pool_request request = {.name = SLICE("m")};
    struct command create = {.kind = COMMAND_MACHINE_CREATE, .pool = &request};
    for (int i = 0; i < MACHINES_MAX; i++) {
        assert_true(rules_decide(&pool.rules, &world, &create, 1000));
        assert_int_equal(create.outcome.result, RESULT_OK);
        if (i % 1000 == 0)
            next_batch();
    }
    size_t changes = world.change_count;
    assert_true(rules_decide(&pool.rules, &world, &create, 1000));
    assert_int_equal(create.outcome.result, RESULT_MACHINES_FULL);
    assert_int_equal(world.change_count, changes);
    struct command removal = {.kind = COMMAND_MACHINE_DELETE, .pool = &request};
    request.machine_id = 5;
    assert_true(rules_decide(&pool.rules, &world, &removal, 1000));
    assert_true(rules_decide(&pool.rules, &world, &create, 1000));
    assert_int_equal(create.outcome.result, RESULT_OK);
    assert_int_equal(request.machine.id, MACHINES_MAX + 1);
}

/* --- names on the wire and in the store --- */

static void states_and_ends_have_their_names(void **state)
{
    enum machine_status status = MACHINE_IDLE;
    enum ticket_state ticket = TICKET_WAITING;
    (void)state;
    assert_true(machine_status_from_name(SLICE("choose_product"), &status));
    assert_int_equal(status, MACHINE_CHOOSING);
    assert_true(machine_status_from_name(SLICE("processing"), &status));
    assert_int_equal(status, MACHINE_PROCESSING);
    assert_true(machine_status_from_name(machine_status_name(MACHINE_IDLE), &status));
    assert_int_equal(status, MACHINE_IDLE);
    assert_false(machine_status_from_name(SLICE("broken"), &status));
    assert_true(slice_eq(lease_end_name(LEASE_COMPLETED), SLICE("completed")));
    assert_true(slice_eq(lease_end_name(LEASE_GIVEN_UP), SLICE("given_up")));
    for (int i = TICKET_WAITING; i <= TICKET_EXPIRED; i++) {
        assert_true(ticket_state_from_name(ticket_state_name((enum ticket_state)i), &ticket));
        assert_int_equal(ticket, i);
    }
    assert_false(ticket_state_from_name(SLICE(""), &ticket));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, drop_world)
    const struct CMUnitTest tests[] = {
        TEST(machines_begin_idle_and_count_up),
        TEST(updates_change_what_they_name),
        TEST(the_least_used_machine_is_taken),
        TEST(without_machines_nobody_gets_one),
        TEST(a_choice_is_refused_in_the_order_of_the_contract),
        TEST(a_choice_means_one_product),
        TEST(a_choice_is_processed_for_its_time),
        TEST(every_unit_is_a_purchase_of_the_machine),
        TEST(each_machine_buys_under_a_name_of_its_own),
        TEST(no_time_to_dispense_is_none),
        TEST(a_stale_reset_changes_nothing),
        TEST(a_completion_from_before_a_reset_never_comes),
        TEST(who_had_gone_before_he_heard_is_told_apart),
        TEST(what_was_chosen_is_dispensed_though_the_machine_is_given_up),
        TEST(what_is_told_of_a_machine_never_goes_back_in_time),
        TEST(a_choice_times_out),
        TEST(stock_that_comes_after_the_end_is_not_sold_out),
        TEST(all_that_is_due_is_done_in_portions),
        TEST(a_draining_machine_finishes_and_takes_no_more),
        TEST(a_machine_is_deleted_in_any_state),
        TEST(there_are_only_so_many_machines),
        TEST(states_and_ends_have_their_names),
    };
    return cmocka_run_group_tests_name("core machine", tests, NULL, NULL);
}
