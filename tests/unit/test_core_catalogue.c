/* SPDX-License-Identifier: Apache-2.0 */
/* How products are made, changed and removed: flash-sale contract, sections 2.5 to 2.8 and 17. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "world_kit.h"

enum { START = 1000, END = 2000 };

static struct world world;
static const struct rules rules = {.idempotency_ttl_ms = 86400000, .idempotency_count_max = SIZE_MAX};

static int make_world(void **state)
{
    (void)state;
    world_init(&world, &world_kit_hash_key);
    world_begin(&world);
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

static struct outcome decide(struct command command, int64_t now_ms)
{
    assert_true(rules_decide(&rules, &world, &command, now_ms));
    return command.outcome;
}

static const struct product *product_of(const char *sku)
{
    return world_product(&world, slice_cstr(sku));
}

static void assert_name(const char *sku, const char *name)
{
    assert_true(slice_eq(product_of(sku)->values.name, slice_cstr(name)));
}

/* A product with two units, one of which is sold to anna; the sale is ACTIVE. */
static void make_active(const char *sku)
{
    assert_int_equal(decide(make_create(sku, 2, START, END), 10).result, RESULT_OK);
    assert_true(rules_tick(&rules, &world, START));
    assert_int_equal(decide(make_purchase(sku, "anna"), START).result, RESULT_OK);
    next_batch();
}

static void make_sold_out(const char *sku)
{
    make_active(sku);
    assert_int_equal(decide(make_purchase(sku, "bert"), START).result, RESULT_OK);
    next_batch();
}

/* --- create (2.5) --- */

static void a_new_product_is_upcoming_and_full(void **state)
{
    (void)state;
    struct outcome outcome = decide(make_create("W-1", 3, START, END), 77);
    assert_int_equal(outcome.result, RESULT_OK);
    assert_int_equal(outcome.time_ms, 77);
    const struct product *product = product_of("W-1");
    const struct product_values *values = &product->values;
    assert_int_equal(product->id, 1);
    assert_name("W-1", "Widget");
    assert_true(values->stock == 3 && values->initial_stock == 3);
    assert_true(values->start_ms == START && values->end_ms == END);
    assert_true(values->state == SALE_UPCOMING && values->end_reason == END_NONE);
    assert_true(values->per_user_limit == 1 && values->price_minor == 0);
    assert_true(values->created_ms == 77 && values->updated_ms == 77);
    assert_true(product->purchase_id_first == 0 && product->purchase_id_last == 0);
}

static void an_end_that_is_not_after_the_start_is_refused(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("W-1", 3, START, START), 10).result, RESULT_INVALID_TIME_RANGE);
    assert_int_equal(decide(make_create("W-1", 3, START, START - 1), 10).result, RESULT_INVALID_TIME_RANGE);
    assert_null(product_of("W-1"));
    assert_int_equal(decide(make_create("W-1", 3, START, START + 1), 10).result, RESULT_OK);
    next_batch();
    /* An existing product stays as it is. */
    assert_int_equal(decide(make_create("W-1", 9, START, START), 20).result, RESULT_INVALID_TIME_RANGE);
    assert_int_equal(world.change_count, 0);
    assert_int_equal(product_of("W-1")->values.stock, 3);
}

static void creating_again_starts_afresh_but_keeps_the_birthday(void **state)
{
    (void)state;
    make_sold_out("W-1");
    assert_int_equal(decide(make_patch_limit("W-1", 4), END).result, RESULT_OK);
    assert_int_equal(decide(make_patch_price("W-1", 999), END).result, RESULT_OK);
    next_batch();
    struct command again = make_create("W-1", 7, 5000, 6000);
    again.product.name = SLICE("Gadget");
    struct outcome outcome = decide(again, 4000);
    assert_int_equal(outcome.result, RESULT_OK);
    assert_int_equal(outcome.time_ms, 10);
    const struct product *product = product_of("W-1");
    const struct product_values *values = &product->values;
    assert_int_equal(product->id, 1);
    assert_name("W-1", "Gadget");
    assert_true(values->stock == 7 && values->initial_stock == 7);
    assert_true(values->start_ms == 5000 && values->end_ms == 6000);
    assert_true(values->state == SALE_UPCOMING && values->end_reason == END_NONE);
    assert_true(values->per_user_limit == 1 && values->price_minor == 0);
    assert_true(values->created_ms == 10 && values->updated_ms == 4000);
    assert_null(world_buyer(&world, product, SLICE("anna")));
    assert_int_equal(product->purchase_id_last, 0);
    next_batch();
    /* Who bought before may buy again, and gets a new number. */
    assert_true(rules_tick(&rules, &world, 5000));
    outcome = decide(make_purchase("W-1", "anna"), 5000);
    assert_int_equal(outcome.result, RESULT_OK);
    assert_int_equal(outcome.number, 3);
}

/* --- update (2.7) --- */

static void an_update_changes_what_is_named_and_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("W-1", 3, START, END), 10).result, RESULT_OK);
    assert_int_equal(decide(make_patch_limit("W-1", 2), 11).result, RESULT_OK);
    assert_int_equal(decide(make_patch_price("W-1", 50), 11).result, RESULT_OK);
    next_batch();
    struct command update = make_update("W-1");
    update.product.present = FIELD_INITIAL_STOCK;
    update.product.initial_stock = 8;
    struct outcome outcome = decide(update, 20);
    assert_int_equal(outcome.result, RESULT_OK);
    assert_int_equal(outcome.time_ms, 10);
    const struct product_values *values = &product_of("W-1")->values;
    assert_true(values->stock == 8 && values->initial_stock == 8);
    assert_true(values->per_user_limit == 2 && values->price_minor == 50);
    assert_true(values->created_ms == 10 && values->updated_ms == 20);
    assert_name("W-1", "Widget");

    update = make_update("W-1");
    update.product.present = FIELD_NAME | FIELD_END;
    update.product.name = SLICE("Gadget");
    update.product.end_ms = END + 7;
    assert_int_equal(decide(update, 21).result, RESULT_OK);
    values = &product_of("W-1")->values;
    assert_name("W-1", "Gadget");
    assert_true(values->start_ms == START && values->end_ms == END + 7 && values->stock == 8);

    update = make_update("W-1");
    update.product.present = FIELD_START;
    update.product.start_ms = 30;
    assert_int_equal(decide(update, 22).result, RESULT_OK);
    assert_int_equal(product_of("W-1")->values.state, SALE_UPCOMING);
    assert_true(rules_tick(&rules, &world, 30));
    assert_int_equal(product_of("W-1")->values.state, SALE_ACTIVE);
}

static void an_update_that_names_nothing_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("W-1", 3, START, END), 10).result, RESULT_OK);
    next_batch();
    struct outcome outcome = decide(make_update("W-1"), 20);
    assert_int_equal(outcome.result, RESULT_OK);
    assert_int_equal(outcome.time_ms, 10);
    assert_int_equal(world.change_count, 0);
    assert_int_equal(product_of("W-1")->values.updated_ms, 10);
}

static void an_update_is_refused_once_the_sale_has_begun(void **state)
{
    (void)state;
    make_active("W-1");
    struct command update = make_update("W-1");
    update.product.present = FIELD_INITIAL_STOCK;
    update.product.initial_stock = 100;
    assert_int_equal(decide(update, START).result, RESULT_SALE_IS_ACTIVE);
    assert_int_equal(decide(make_update("W-1"), START).result, RESULT_SALE_IS_ACTIVE);
    make_sold_out("W-2");
    update.sku = SLICE("W-2");
    assert_int_equal(decide(update, START).result, RESULT_SALE_HAS_ENDED);
    /* The state comes before the times. */
    update.product.present = FIELD_END;
    update.product.end_ms = 0;
    assert_int_equal(decide(update, START).result, RESULT_SALE_HAS_ENDED);
    assert_int_equal(world.change_count, 0);
    assert_int_equal(product_of("W-1")->values.stock, 1);
}

static void an_update_may_not_turn_the_times_round(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("W-1", 3, START, END), 10).result, RESULT_OK);
    next_batch();
    struct command update = make_update("W-1");
    update.product.present = FIELD_END | FIELD_NAME;
    update.product.name = SLICE("Gadget");
    update.product.end_ms = START;
    assert_int_equal(decide(update, 20).result, RESULT_INVALID_TIME_RANGE);
    update.product.present = FIELD_START;
    update.product.start_ms = END;
    assert_int_equal(decide(update, 20).result, RESULT_INVALID_TIME_RANGE);
    assert_int_equal(world.change_count, 0);
    assert_name("W-1", "Widget");
}

static void an_update_of_an_unknown_product_needs_every_field(void **state)
{
    (void)state;
    struct command update = make_create("W-1", 3, START, END);
    update.kind = COMMAND_PRODUCT_UPDATE;
    static const unsigned required[] = {FIELD_NAME, FIELD_INITIAL_STOCK, FIELD_START, FIELD_END};
    for (int i = 0; i < 4; i++) {
        update.product.present = FIELDS_ALL_REQUIRED & ~required[i];
        assert_int_equal(decide(update, 10).result, RESULT_PRODUCT_NOT_FOUND);
    }
    assert_int_equal(decide(make_update("W-1"), 10).result, RESULT_PRODUCT_NOT_FOUND);
    assert_null(product_of("W-1"));
    update.product.present = FIELDS_ALL_REQUIRED;
    update.product.end_ms = START;
    assert_int_equal(decide(update, 10).result, RESULT_INVALID_TIME_RANGE);
    update.product.end_ms = END;
    assert_int_equal(decide(update, 10).result, RESULT_OK);
    assert_int_equal(product_of("W-1")->values.stock, 3);
}

/* --- patch (17) --- */

static void price_and_limit_change_in_every_state(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("A", 3, START + 50, END), 10).result, RESULT_OK);
    make_active("B");
    make_sold_out("C");
    static const char *const skus[] = {"A", "B", "C"};
    for (int i = 0; i < 3; i++) {
        struct product_values before = product_of(skus[i])->values;
        assert_int_equal(decide(make_patch_price(skus[i], 1250), 33).result, RESULT_OK);
        struct outcome outcome = decide(make_patch_limit(skus[i], 5), 34);
        assert_int_equal(outcome.result, RESULT_OK);
        assert_int_equal(outcome.time_ms, 10);
        const struct product_values *values = &product_of(skus[i])->values;
        assert_true(values->price_minor == 1250 && values->per_user_limit == 5 && values->updated_ms == 34);
        assert_true(values->stock == before.stock && values->state == before.state &&
                    values->end_reason == before.end_reason && values->created_ms == 10);
    }
    const struct buyer *buyer = world_buyer(&world, product_of("B"), SLICE("anna"));
    assert_int_equal(buyer->count, 1);
}

static void the_limit_is_not_lowered_once_units_are_sold(void **state)
{
    (void)state;
    assert_int_equal(decide(make_create("W-1", 9, START, END), 10).result, RESULT_OK);
    assert_int_equal(decide(make_patch_limit("W-1", 5), 10).result, RESULT_OK);
    assert_int_equal(decide(make_patch_limit("W-1", 3), 10).result, RESULT_OK);
    assert_true(rules_tick(&rules, &world, START));
    assert_int_equal(decide(make_purchase("W-1", "anna"), START).result, RESULT_OK);
    next_batch();
    assert_int_equal(decide(make_patch_limit("W-1", 2), START).result, RESULT_LIMIT_BELOW_SOLD);
    assert_int_equal(decide(make_patch_limit("W-1", 1), START).result, RESULT_LIMIT_BELOW_SOLD);
    /* One refused field refuses the whole patch. */
    struct command both = make_patch_limit("W-1", 2);
    both.product.present |= FIELD_PRICE;
    both.product.price_minor = 5;
    assert_int_equal(decide(both, START).result, RESULT_LIMIT_BELOW_SOLD);
    assert_int_equal(world.change_count, 0);
    assert_int_equal(decide(make_patch_limit("W-1", 3), START).result, RESULT_OK);
    assert_int_equal(decide(make_patch_price("W-1", 5), START).result, RESULT_OK);
    assert_int_equal(decide(make_patch_limit("W-1", 4), START).result, RESULT_OK);
}

static void a_patch_of_nothing_or_of_nobody(void **state)
{
    (void)state;
    assert_int_equal(decide(make_patch_price("W-1", 5), 10).result, RESULT_PRODUCT_NOT_FOUND);
    make_active("W-1");
    struct command nothing = make_patch_price("W-1", 5);
    nothing.product.present = 0;
    assert_int_equal(decide(nothing, START).result, RESULT_OK);
    assert_int_equal(world.change_count, 0);
}

/* --- delete (2.8) --- */

static void deleting_removes_the_product_and_its_purchases(void **state)
{
    (void)state;
    make_active("W-1");
    assert_int_equal(decide(make_delete("W-1"), START).result, RESULT_OK);
    assert_null(product_of("W-1"));
    assert_int_equal(world.change_count, 2);
    assert_int_equal(world.changes[0].kind, CHANGE_PURCHASES_CLEARED);
    assert_int_equal(world.changes[0].cleared.id_first, 1);
    assert_int_equal(world.changes[0].cleared.id_last, 1);
    assert_int_equal(world.changes[1].kind, CHANGE_PRODUCT_REMOVED);
    assert_int_equal(decide(make_purchase("W-1", "bert"), START).result, RESULT_SALE_NOT_ACTIVE);
    assert_int_equal(decide(make_delete("W-1"), START).result, RESULT_OK);
    next_batch();
    /* Ids are never given out again. */
    assert_int_equal(decide(make_create("W-1", 1, START, END), START).result, RESULT_OK);
    assert_int_equal(product_of("W-1")->id, 2);
    assert_int_equal(product_of("W-1")->values.created_ms, START);
}

static void deleting_what_is_not_there_is_well_too(void **state)
{
    (void)state;
    assert_int_equal(decide(make_delete("NONE"), 10).result, RESULT_OK);
    assert_int_equal(world.change_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_product_is_upcoming_and_full, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            an_end_that_is_not_after_the_start_is_refused, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            creating_again_starts_afresh_but_keeps_the_birthday, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            an_update_changes_what_is_named_and_nothing_else, make_world, drop_world),
        cmocka_unit_test_setup_teardown(an_update_that_names_nothing_changes_nothing, make_world, drop_world),
        cmocka_unit_test_setup_teardown(an_update_is_refused_once_the_sale_has_begun, make_world, drop_world),
        cmocka_unit_test_setup_teardown(an_update_may_not_turn_the_times_round, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            an_update_of_an_unknown_product_needs_every_field, make_world, drop_world),
        cmocka_unit_test_setup_teardown(price_and_limit_change_in_every_state, make_world, drop_world),
        cmocka_unit_test_setup_teardown(the_limit_is_not_lowered_once_units_are_sold, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_patch_of_nothing_or_of_nobody, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            deleting_removes_the_product_and_its_purchases, make_world, drop_world),
        cmocka_unit_test_setup_teardown(deleting_what_is_not_there_is_well_too, make_world, drop_world),
    };
    return cmocka_run_group_tests_name("core catalogue", tests, NULL, NULL);
}
