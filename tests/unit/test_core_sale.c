/* SPDX-License-Identifier: Apache-2.0 */
/* Who may buy, and when a sale begins and ends: flash-sale contract, sections 2.1, 4 and 17. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/sale.h"
#include "world_kit.h"

enum { START = 1000, END = 2000 };

static struct world world;
static struct rules rules;

static int make_world(void **state)
{
    (void)state;
    world_init(&world, &world_kit_hash_key);
    rules = (struct rules){.idempotency_ttl_ms = 86400000, .idempotency_count_max = SIZE_MAX};
    world_begin(&world);
    return 0;
}

static int drop_world(void **state)
{
    (void)state;
    world_fini(&world);
    return 0;
}

/* The present batch is on disk, a new one begins. */
static void next_batch(void)
{
    world_accept(&world);
    world_begin(&world);
}

static struct outcome decide(struct command command, int64_t now_ms)
{
    assert_true(rules_decide(&rules, &world, &command, now_ms));
    return command.outcome;
}

static enum result buy(const char *sku, const char *user, int64_t now_ms)
{
    return decide(make_purchase(sku, user), now_ms).result;
}

static const struct product_values *values_of(const char *sku)
{
    const struct product *product = world_product(&world, slice_cstr(sku));
    assert_non_null(product);
    return &product->values;
}

static void assert_state(const char *sku, enum sale_state sale_state, enum end_reason reason)
{
    assert_int_equal(values_of(sku)->state, sale_state);
    assert_int_equal(values_of(sku)->end_reason, reason);
}

/* A sale of `stock` units from START to END that has begun. */
static void open_sale(const char *sku, int64_t stock)
{
    assert_int_equal(decide(make_create(sku, stock, START, END), 500).result, RESULT_OK);
    assert_true(rules_tick(&rules, &world, START));
    assert_state(sku, SALE_ACTIVE, END_NONE);
    next_batch();
}

/* --- the decision order (2.1) --- */

static void an_unknown_product_is_a_sale_that_is_not_active(void **state)
{
    (void)state;
    assert_int_equal(buy("NONE", "anna", START), RESULT_SALE_NOT_ACTIVE);
    rules.says_sold_out = true;
    assert_int_equal(buy("NONE", "anna", START), RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(world.change_count, 0);
}

static void nobody_buys_before_the_sale_is_active(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("W-1", 3, START, END), 500).result, RESULT_OK);
    next_batch();
    assert_int_equal(buy("W-1", "anna", START - 1), RESULT_SALE_NOT_ACTIVE);
    /* Only the tick starts a sale; until it has come by, the sale is not active. */
    assert_int_equal(buy("W-1", "anna", START + 5), RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(world.change_count, 0);
    assert_state("W-1", SALE_UPCOMING, END_NONE);
}

static void a_purchase_takes_one_unit_and_has_a_number_and_a_time(void **state)
{
    (void)state;
    open_sale("W-1", 3);
    struct outcome first = decide(make_purchase("W-1", "anna"), START + 1);
    struct outcome second = decide(make_purchase("W-1", "bert"), START + 2);
    assert_int_equal(first.result, RESULT_OK);
    assert_int_equal(first.number, 1);
    assert_int_equal(first.time_ms, START + 1);
    assert_false(first.is_replay);
    assert_int_equal(second.number, 2);
    assert_int_equal(second.time_ms, START + 2);
    assert_int_equal(values_of("W-1")->stock, 1);
    assert_int_equal(values_of("W-1")->initial_stock, 3);
    const struct product *product = world_product(&world, SLICE("W-1"));
    assert_int_equal(world_buyer(&world, product, SLICE("anna"))->count, 1);
    assert_null(world_buyer(&world, product, SLICE("ann")));
    assert_null(world_buyer(&world, product, SLICE("annaa")));
}

static void the_last_unit_ends_the_sale_in_the_same_step(void **state)
{
    (void)state;
    open_sale("W-1", 2);
    assert_int_equal(buy("W-1", "anna", START), RESULT_OK);
    assert_state("W-1", SALE_ACTIVE, END_NONE);
    assert_int_equal(buy("W-1", "bert", START), RESULT_OK);
    assert_state("W-1", SALE_ENDED, END_SOLD_OUT);
    assert_int_equal(values_of("W-1")->stock, 0);
    /* Earlier buyers hear the same as everybody. */
    assert_int_equal(buy("W-1", "anna", START), RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(buy("W-1", "carl", START), RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(values_of("W-1")->stock, 0);
}

static void after_a_sell_out_it_can_say_sold_out_instead(void **state)
{
    (void)state;
    open_sale("W-1", 1);
    open_sale("W-2", 1);
    rules.says_sold_out = true;
    assert_int_equal(buy("W-1", "anna", START), RESULT_OK);
    assert_int_equal(buy("W-1", "anna", START), RESULT_SOLD_OUT);
    assert_int_equal(buy("W-1", "bert", END + 5), RESULT_SOLD_OUT);
    /* A sale whose time is over was not sold out. */
    assert_int_equal(buy("W-2", "bert", END), RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(buy("W-2", "bert", END), RESULT_SALE_NOT_ACTIVE);
}

static void nobody_buys_twice(void **state)
{
    (void)state;
    open_sale("W-1", 5);
    assert_int_equal(buy("W-1", "anna", START), RESULT_OK);
    assert_int_equal(buy("W-1", "anna", START), RESULT_ALREADY_PURCHASED);
    next_batch();
    assert_int_equal(buy("W-1", "anna", START + 1), RESULT_ALREADY_PURCHASED);
    assert_int_equal(world.change_count, 0);
    assert_int_equal(values_of("W-1")->stock, 4);
}

static void a_limit_above_one_is_kept_exactly(void **state)
{
    (void)state;
    open_sale("W-1", 10);
    assert_int_equal(decide(make_patch_limit("W-1", 3), START).result, RESULT_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(buy("W-1", "anna", START), RESULT_OK);
    assert_int_equal(buy("W-1", "anna", START), RESULT_ALREADY_PURCHASED);
    assert_int_equal(buy("W-1", "bert", START), RESULT_OK);
    assert_int_equal(values_of("W-1")->stock, 6);
    assert_int_equal(world.changes[world.change_count - 1].purchase.nth, 1);
    assert_int_equal(decide(make_patch_limit("W-1", 4), START).result, RESULT_OK);
    assert_int_equal(buy("W-1", "anna", START), RESULT_OK);
    assert_int_equal(buy("W-1", "anna", START), RESULT_ALREADY_PURCHASED);
}

static void a_sale_without_stock_is_sold_out_while_active(void **state)
{
    (void)state;
    open_sale("W-1", 0);
    assert_int_equal(buy("W-1", "anna", START), RESULT_SOLD_OUT);
    assert_state("W-1", SALE_ACTIVE, END_NONE);
    assert_int_equal(buy("W-1", "anna", END), RESULT_SALE_NOT_ACTIVE);
    assert_state("W-1", SALE_ENDED, END_TIME_EXPIRED);
}

static void the_end_is_exclusive_to_the_millisecond(void **state)
{
    (void)state;
    open_sale("W-1", 5);
    assert_int_equal(buy("W-1", "anna", END - 1), RESULT_OK);
    /* The end is looked at before the buyer is. */
    assert_int_equal(buy("W-1", "anna", END), RESULT_SALE_NOT_ACTIVE);
    assert_state("W-1", SALE_ENDED, END_TIME_EXPIRED);
    assert_int_equal(buy("W-1", "bert", END - 1), RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(values_of("W-1")->stock, 4);
}

/* The window is judged by the clock, even by one that was set back while the sale was on. */
static void nobody_buys_before_the_start_though_the_sale_is_active(void **state)
{
    (void)state;
    open_sale("W-1", 5);
    assert_int_equal(buy("W-1", "anna", START - 1), RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(world.change_count, 0);
    assert_int_equal(buy("W-1", "anna", START), RESULT_OK);
}

static void one_user_may_buy_of_every_product(void **state)
{
    (void)state;
    open_sale("W-1", 1);
    open_sale("w-1", 1);
    assert_int_equal(buy("W-1", "anna", START), RESULT_OK);
    assert_int_equal(buy("w-1", "anna", START), RESULT_OK);
}

static void any_bytes_make_a_user(void **state)
{
    char long_user[USER_LEN_MAX + 1];
    (void)state;
    open_sale("W-1", 10);
    memset(long_user, 'x', USER_LEN_MAX);
    long_user[USER_LEN_MAX] = '\0';
    assert_int_equal(buy("W-1", long_user, START), RESULT_OK);
    assert_int_equal(buy("W-1", long_user, START), RESULT_ALREADY_PURCHASED);
    struct command command = make_purchase("W-1", "");
    command.user = slice_make("a\0b", 3);
    assert_int_equal(decide(command, START).result, RESULT_OK);
    command.user = slice_make("a\0c", 3);
    assert_int_equal(decide(command, START).result, RESULT_OK);
    command.user = (struct slice){0};
    assert_int_equal(decide(command, START).result, RESULT_OK);
    assert_int_equal(decide(command, START).result, RESULT_ALREADY_PURCHASED);
}

/* --- the clock (4) --- */

static void tick(int64_t now_ms)
{
    assert_true(rules_tick(&rules, &world, now_ms));
    world_check_next_edge(&world);
}

static void a_sale_begins_and_ends_at_its_exact_times(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("W-1", 5, START, END), 500).result, RESULT_OK);
    assert_int_equal(world.next_edge_ms, START);
    tick(START - 1);
    assert_state("W-1", SALE_UPCOMING, END_NONE);
    tick(START);
    assert_state("W-1", SALE_ACTIVE, END_NONE);
    assert_int_equal(values_of("W-1")->updated_ms, START);
    assert_int_equal(world.next_edge_ms, END);
    tick(END - 1);
    assert_state("W-1", SALE_ACTIVE, END_NONE);
    tick(END);
    assert_state("W-1", SALE_ENDED, END_TIME_EXPIRED);
    assert_int_equal(values_of("W-1")->stock, 5);
    assert_true(world.next_edge_ms == INT64_MAX);
    tick(INT64_MAX - 1);
    assert_state("W-1", SALE_ENDED, END_TIME_EXPIRED);
}

static void a_sale_in_the_past_takes_two_ticks(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("W-1", 5, START, END), END + 100).result, RESULT_OK);
    assert_state("W-1", SALE_UPCOMING, END_NONE);
    assert_true(rules_next_tick_ms(&rules, &world) <= END + 100);
    tick(END + 100);
    assert_state("W-1", SALE_ACTIVE, END_NONE);
    assert_true(rules_next_tick_ms(&rules, &world) <= END + 100);
    assert_int_equal(buy("W-1", "anna", END + 100), RESULT_SALE_NOT_ACTIVE);
    assert_state("W-1", SALE_ENDED, END_TIME_EXPIRED);
    assert_int_equal(decide(make_create("W-2", 5, START, END), END + 100).result, RESULT_OK);
    tick(END + 100);
    tick(END + 100);
    assert_state("W-2", SALE_ENDED, END_TIME_EXPIRED);
    tick(END + 100);
    assert_state("W-2", SALE_ENDED, END_TIME_EXPIRED);
}

static void the_next_tick_is_the_earliest_edge_of_all_sales(void **state)
{
    (void)state;
    assert_true(rules_next_tick_ms(&rules, &world) == INT64_MAX);
    assert_int_equal(decide(make_create("A", 1, 300, 9000), 1).result, RESULT_OK);
    assert_int_equal(decide(make_create("B", 1, 200, 400), 1).result, RESULT_OK);
    assert_int_equal(decide(make_create("C", 1, 500, 600), 1).result, RESULT_OK);
    assert_int_equal(rules_next_tick_ms(&rules, &world), 200);
    tick(200);
    assert_int_equal(world.next_edge_ms, 300);
    tick(350);
    assert_state("A", SALE_ACTIVE, END_NONE);
    assert_state("B", SALE_ACTIVE, END_NONE);
    assert_int_equal(world.next_edge_ms, 400);
    /* A tick that is not due does nothing. */
    size_t changes = world.change_count;
    tick(399);
    assert_int_equal(world.change_count, changes);
    tick(1000);
    assert_state("B", SALE_ENDED, END_TIME_EXPIRED);
    assert_state("C", SALE_ACTIVE, END_NONE);
    tick(1000);
    assert_state("C", SALE_ENDED, END_TIME_EXPIRED);
    assert_int_equal(world.next_edge_ms, 9000);
}

static void a_rolled_back_tick_is_due_again(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("W-1", 5, START, END), 500).result, RESULT_OK);
    next_batch();
    tick(START);
    world_rollback(&world);
    world_check_next_edge(&world);
    assert_state("W-1", SALE_UPCOMING, END_NONE);
    world_begin(&world);
    tick(START);
    assert_state("W-1", SALE_ACTIVE, END_NONE);
    next_batch();
    tick(END);
    assert_true(world.next_edge_ms == INT64_MAX);
    world_rollback(&world);
    assert_state("W-1", SALE_ACTIVE, END_NONE);
    assert_true(world.next_edge_ms <= END);
    world_begin(&world);
    /* Taking back a deletion brings its edges back too. */
    assert_int_equal(decide(make_delete("W-1"), START).result, RESULT_OK);
    tick(END);
    world_rollback(&world);
    world_check_next_edge(&world);
    assert_state("W-1", SALE_ACTIVE, END_NONE);
}

static void names_of_states_go_both_ways(void **state)
{
    (void)state;
    enum sale_state sale_state;
    enum end_reason reason;
    for (int i = SALE_UPCOMING; i <= SALE_ENDED; i++) {
        assert_true(sale_state_from_name(sale_state_name((enum sale_state)i), &sale_state));
        assert_int_equal(sale_state, i);
    }
    for (int i = END_NONE; i <= END_TIME_EXPIRED; i++) {
        assert_true(end_reason_from_name(end_reason_name((enum end_reason)i), &reason));
        assert_int_equal(reason, i);
    }
    assert_false(sale_state_from_name(SLICE("active"), &sale_state));
    assert_false(sale_state_from_name(SLICE(""), &sale_state));
    assert_false(end_reason_from_name(SLICE("SOLD"), &reason));
}

/* Numbers are kept in stores and told to clients: they may be added to, never changed. */
static void results_keep_their_numbers(void **state)
{
    static const struct {
        int number;
        const char *name;
        int http_status;
        const char *code;
    } known[] = {
        {0, "OK", 200, "OK"},
        {10, "KEY_MISMATCH", 422, "IDEMPOTENCY_KEY_MISMATCH"},
        {11, "KEY_IN_FLIGHT", 409, "IDEMPOTENCY_KEY_IN_FLIGHT"},
        {20, "INVALID_TIME_RANGE", 200, "INVALID_TIME_RANGE"},
        {21, "PRODUCT_NOT_FOUND", 404, "NOT_FOUND"},
        {22, "SALE_IS_ACTIVE", 400, "VALIDATION_ERROR"},
        {23, "SALE_HAS_ENDED", 400, "VALIDATION_ERROR"},
        {24, "LIMIT_BELOW_SOLD", 400, "VALIDATION_ERROR"},
        {30, "SALE_NOT_ACTIVE", 200, "SALE_NOT_ACTIVE"},
        {31, "ALREADY_PURCHASED", 200, "ALREADY_PURCHASED"},
        {32, "SOLD_OUT", 200, "SOLD_OUT"},
        {90, "UNAVAILABLE", 503, "SERVICE_UNAVAILABLE"},
        {91, "OUTCOME_UNKNOWN", 503, "OUTCOME_UNKNOWN"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const struct result_info *info = result_info((enum result)known[i].number);
        assert_non_null(info);
        assert_string_equal(info->name, known[i].name);
        assert_int_equal(info->http_status, known[i].http_status);
        assert_string_equal(info->code, known[i].code);
    }
    assert_string_equal(result_info(RESULT_SALE_NOT_ACTIVE)->text, "Sale is not currently active.");
    assert_string_equal(result_info(RESULT_SOLD_OUT)->text, "Sorry, all items have been sold.");
    assert_string_equal(result_info(RESULT_ALREADY_PURCHASED)->text, "You have already purchased this item.");
    assert_string_equal(result_info(RESULT_INVALID_TIME_RANGE)->text, "End time must be after start time");
    assert_null(result_info((enum result)1));
    unsigned count = 0;
    for (const struct result_info *row; (row = result_info_at(count)) != NULL; count++)
        assert_true(count == 0 || row->result > result_info_at(count - 1)->result);
    assert_true(count >= sizeof known / sizeof known[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            an_unknown_product_is_a_sale_that_is_not_active, make_world, drop_world),
        cmocka_unit_test_setup_teardown(nobody_buys_before_the_sale_is_active, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            a_purchase_takes_one_unit_and_has_a_number_and_a_time, make_world, drop_world),
        cmocka_unit_test_setup_teardown(the_last_unit_ends_the_sale_in_the_same_step, make_world, drop_world),
        cmocka_unit_test_setup_teardown(after_a_sell_out_it_can_say_sold_out_instead, make_world, drop_world),
        cmocka_unit_test_setup_teardown(nobody_buys_twice, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_limit_above_one_is_kept_exactly, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            a_sale_without_stock_is_sold_out_while_active, make_world, drop_world),
        cmocka_unit_test_setup_teardown(the_end_is_exclusive_to_the_millisecond, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            nobody_buys_before_the_start_though_the_sale_is_active, make_world, drop_world),
        cmocka_unit_test_setup_teardown(one_user_may_buy_of_every_product, make_world, drop_world),
        cmocka_unit_test_setup_teardown(any_bytes_make_a_user, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_sale_begins_and_ends_at_its_exact_times, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_sale_in_the_past_takes_two_ticks, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            the_next_tick_is_the_earliest_edge_of_all_sales, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_rolled_back_tick_is_due_again, make_world, drop_world),
        cmocka_unit_test(names_of_states_go_both_ways),
        cmocka_unit_test(results_keep_their_numbers),
    };
    return cmocka_run_group_tests_name("core sale", tests, NULL, NULL);
}
