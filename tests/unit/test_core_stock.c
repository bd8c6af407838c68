/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The products of the machines (vending contract): made under a name of their own, on sale at once, refilled,
 * removed; one stock for machines and for the flash sale. Each line before a test says what is wrong if it
 * fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/sale.h"
#include "core/world_work.h"
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

static void make_machines(int count)
{
    for (int i = 1; i <= count; i++)
        assert_int_equal(ask_machine(&pool, "m"), i);
}

static const struct product_values *product_now(const char *sku)
{
    const struct product *product = world_product(&world, slice_cstr(sku));
    assert_non_null(product);
    return &product->values;
}

static enum result delete_product(const char *sku, int64_t product_id)
{
    struct command command = make_delete(sku);
    size_t changes = world.change_count;
    command.product_id = product_id;
    assert_true(rules_decide(&pool.rules, &world, &command, pool.now_ms));
    if (command.outcome.result != RESULT_OK)
        assert_int_equal(world.change_count, changes);
    return command.outcome.result;
}

static enum result buy(const char *sku, const char *user)
{
    struct command command = make_purchase(sku, user);
    assert_true(rules_decide(&pool.rules, &world, &command, pool.now_ms));
    return command.outcome.result;
}

static size_t count_closeouts(void)
{
    return world.work_queues[WORK_SALE_CLOSEOUT].count;
}

/* --- made --- */

/* A product is not on sale, or ends by itself one day. */
static void a_new_product_is_on_sale_for_good(void **state)
{
    (void)state;
    assert_int_equal(ask_product(&pool, "T-1", "Th\xc3\xa9 vert", 7), RESULT_OK);
    const struct product_row *row = &pool.request.product;
    assert_int_equal(row->id, 1);
    assert_int_equal(pool.outcome.number, 1);
    assert_int_equal(pool.outcome.time_ms, 1000);
    assert_true(slice_eq(row->name, SLICE("Th\xc3\xa9 vert")));
    assert_int_equal(row->stock, 7);
    assert_int_equal(row->created_ms, 1000);
    assert_int_equal(row->updated_ms, 1000);
    const struct product_values *values = product_now("T-1");
    assert_int_equal(values->state, SALE_ACTIVE);
    assert_int_equal(values->initial_stock, 7);
    assert_int_equal(values->per_user_limit, 1);
    assert_int_equal(values->start_ms, 1000);
    assert_true(values->end_ms == INT64_C(253402300799000)); /* 9999-12-31T23:59:59Z */
    size_t changes = world.change_count;
    pool_tick(&pool, INT64_C(253402300798999));
    assert_int_equal(world.change_count, changes);
    assert_int_equal(ask_product(&pool, "T-2", "coffee", 0), RESULT_OK);
    assert_int_equal(pool.request.product.id, 2);
}

/* Two products under one name, or a name that is free is refused. */
static void a_name_belongs_to_one_product(void **state)
{
    (void)state;
    assert_int_equal(ask_product(&pool, "T-1", "tea", 7), RESULT_OK);
    assert_int_equal(ask_product(&pool, "T-2", "tea", 7), RESULT_PRODUCT_NAME_TAKEN);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 7), RESULT_PRODUCT_NAME_TAKEN); /* before the sku */
    assert_int_equal(ask_product(&pool, "T-1", "green tea", 7), RESULT_SKU_TAKEN);
    assert_int_equal(ask_product(&pool, "T-2", "Tea", 7), RESULT_OK); /* letters count */
    assert_int_equal(delete_product("T-1", 1), RESULT_OK);
    assert_int_equal(ask_product(&pool, "T-3", "tea", 7), RESULT_OK);
    assert_int_equal(pool.request.product.id, 3); /* a refusal takes no number */
}

static void make_sale(const char *sku, const char *name)
{
    struct command command = make_create(sku, 5, 5000, 9000);
    command.product.name = slice_cstr(name);
    assert_true(rules_decide(&pool.rules, &world, &command, pool.now_ms));
    assert_int_equal(command.outcome.result, RESULT_OK);
}

/* Names of the flash sale are not looked at, or a rename leaves the old one taken. */
static void names_of_the_flash_sale_count_too(void **state)
{
    (void)state;
    make_sale("W-1", "tea");
    make_sale("W-2", "tea"); /* there they need not be unique */
    assert_int_equal(ask_product(&pool, "T-1", "tea", 7), RESULT_PRODUCT_NAME_TAKEN);
    make_sale("W-1", "milk");
    assert_int_equal(ask_product(&pool, "T-1", "tea", 7), RESULT_PRODUCT_NAME_TAKEN);
    assert_int_equal(ask_product(&pool, "T-1", "milk", 7), RESULT_PRODUCT_NAME_TAKEN);
    assert_int_equal(delete_product("W-2", 0), RESULT_OK);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 7), RESULT_OK);
    const struct product *product = world_product(&world, SLICE("T-1"));
    assert_ptr_equal(world_product_by_name(&world, SLICE("tea")), product);
    assert_null(world_product_by_name(&world, SLICE("te")));
    /* And back again, when the batch is taken back. */
    world_rollback(&world);
    assert_null(world_product_by_name(&world, SLICE("tea")));
    assert_null(world_product_by_name(&world, SLICE("milk")));
    assert_int_equal(ask_product(&pool, "T-1", "milk", 7), RESULT_OK);
}

/* A category is lost, or a row is written for none. */
static void labels_are_kept_when_there_are_any(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        static const char *const names[] = {"none", "a category", "featured"};
        static const char *const skus[] = {"T-1", "T-2", "T-3"};
        struct command command = {.kind = COMMAND_PRODUCT_ADD,
            .sku = slice_cstr(skus[kind]),
            .product = {.name = slice_cstr(names[kind]), .initial_stock = 1, .price_minor = 250},
            .labels = {.category = kind == 1 ? SLICE("hot") : SLICE(""), .is_featured = kind == 2},
            .pool = &pool.request};
        size_t before = world.change_count;
        assert_true(rules_decide(&pool.rules, &world, &command, 1000));
        assert_int_equal(command.outcome.result, RESULT_OK);
        assert_int_equal(product_now(skus[kind])->price_minor, 250);
        const struct change *last = &world.changes[world.change_count - 1];
        assert_int_equal(world.change_count - before, kind == 0 ? 1 : 2);
        assert_int_equal(last->kind, kind == 0 ? CHANGE_PRODUCT_ADDED : CHANGE_PRODUCT_LABELLED);
    }
}

/* Nothing to sell, and yet open; or its end is never proved. */
static void a_product_without_stock_is_sold_out(void **state)
{
    (void)state;
    assert_int_equal(ask_product(&pool, "T-1", "tea", 0), RESULT_OK);
    assert_int_equal(pool.request.product.stock, 0);
    assert_int_equal(product_now("T-1")->state, SALE_ENDED);
    assert_int_equal(product_now("T-1")->end_reason, END_SOLD_OUT);
    assert_int_equal(count_closeouts(), 1);
    pool.now_ms = 2000;
    assert_int_equal(ask_stock(&pool, "T-1", 3), RESULT_OK);
    assert_int_equal(product_now("T-1")->state, SALE_ACTIVE);
    assert_int_equal(product_now("T-1")->initial_stock, 3);
    assert_int_equal(buy("T-1", "anna"), RESULT_OK);
}

/* --- refilled --- */

/* Units come from nowhere: supplied is no longer left and sold together. */
static void what_was_supplied_moves_with_what_is_left(void **state)
{
    (void)state;
    make_machines(1);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 10), RESULT_OK);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 4), RESULT_OK);
    pool.now_ms = 2000;
    assert_int_equal(ask_stock(&pool, "T-1", 100), RESULT_OK);
    assert_int_equal(pool.outcome.number, 1);
    assert_int_equal(pool.outcome.time_ms, 1000); /* of its creation, as for any product (command.h) */
    assert_int_equal(pool.request.product.stock, 100);
    assert_int_equal(pool.request.product.created_ms, 1000);
    assert_int_equal(pool.request.product.updated_ms, 2000);
    assert_int_equal(product_now("T-1")->initial_stock, 104);
    assert_int_equal(ask_stock(&pool, "T-1", 1), RESULT_OK);
    assert_int_equal(product_now("T-1")->initial_stock, 5);
    assert_int_equal(product_now("T-1")->state, SALE_ACTIVE);
    assert_int_equal(count_closeouts(), 0);
    assert_int_equal(ask_stock(&pool, "T-1", 0), RESULT_OK);
    assert_int_equal(product_now("T-1")->initial_stock, 4);
    assert_int_equal(product_now("T-1")->end_reason, END_SOLD_OUT);
    assert_int_equal(count_closeouts(), 1);
    assert_int_equal(ask_stock(&pool, "T-1", 0), RESULT_OK); /* it ends once */
    assert_int_equal(count_closeouts(), 1);
    assert_int_equal(ask_stock(&pool, "T-9", 5), RESULT_PRODUCT_NOT_FOUND);
}

/* A stock that cannot be counted wraps around. */
static void there_is_a_largest_stock(void **state)
{
    (void)state;
    assert_int_equal(ask_product(&pool, "T-1", "tea", INT64_MAX), RESULT_OK);
    assert_int_equal(ask_stock(&pool, "T-1", INT64_MAX), RESULT_OK);
    assert_int_equal(buy("T-1", "anna"), RESULT_OK);
    assert_int_equal(buy("T-1", "bert"), RESULT_OK);
    assert_int_equal(ask_stock(&pool, "T-1", INT64_MAX), RESULT_STOCK_TOO_LARGE);
    assert_int_equal(ask_stock(&pool, "T-1", INT64_MAX - 1), RESULT_STOCK_TOO_LARGE);
    assert_int_equal(ask_stock(&pool, "T-1", INT64_MAX - 2), RESULT_OK);
    assert_true(product_now("T-1")->initial_stock == INT64_MAX);
}

/* --- removed --- */

/* The number of a product that is gone removes, or refills, the one that has its sku now. */
static void a_number_means_one_product(void **state)
{
    (void)state;
    assert_int_equal(ask_product(&pool, "T-1", "tea", 3), RESULT_OK);
    assert_int_equal(delete_product("T-1", 2), RESULT_PRODUCT_NOT_FOUND);
    assert_int_equal(delete_product("T-1", 1), RESULT_OK);
    assert_int_equal(delete_product("T-1", 1), RESULT_PRODUCT_NOT_FOUND);
    assert_int_equal(delete_product("T-1", 0), RESULT_OK); /* the flash sale asks for whichever */
    assert_int_equal(ask_product(&pool, "T-1", "tea", 3), RESULT_OK);
    assert_int_equal(delete_product("T-1", 1), RESULT_PRODUCT_NOT_FOUND);
    struct command stock = {.kind = COMMAND_PRODUCT_SET_STOCK,
        .sku = SLICE("T-1"),
        .product_id = 1,
        .product = {.initial_stock = 9},
        .pool = &pool.request};
    assert_true(rules_decide(&pool.rules, &world, &stock, 1000));
    assert_int_equal(stock.outcome.result, RESULT_PRODUCT_NOT_FOUND);
    stock.product_id = 2;
    assert_true(rules_decide(&pool.rules, &world, &stock, 1000));
    assert_int_equal(stock.outcome.result, RESULT_OK);
}

/* A machine that processes a product stops when the product goes. */
static void a_product_goes_while_a_machine_dispenses_it(void **state)
{
    (void)state;
    make_machines(1);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 3), RESULT_OK);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 2), RESULT_OK);
    assert_int_equal(delete_product("T-1", 1), RESULT_OK);
    world_accept(&world);
    world_begin(&world);
    pool_tick(&pool, 6000);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_IDLE);
    assert_int_equal(machine_now(&pool, 1)->usage_count, 1);
}

/* --- one stock --- */

/* The last unit is left over or sold twice; the sale does not end, or nobody proves it. */
static void the_last_unit_ends_the_sale(void **state)
{
    (void)state;
    make_machines(2);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 2), RESULT_OK);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 3), RESULT_STOCK_INSUFFICIENT);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 2), RESULT_OK);
    assert_int_equal(pool.request.product.stock, 0);
    assert_int_equal(product_now("T-1")->state, SALE_ENDED);
    assert_int_equal(product_now("T-1")->end_reason, END_SOLD_OUT);
    const struct work *work = world_next_work(&world, WORK_SALE_CLOSEOUT);
    struct sale_closeout closeout;
    assert_non_null(work);
    assert_true(slice_eq(work->subject, SLICE("T-1")));
    assert_true(sale_closeout_read(work->body, &closeout));
    assert_int_equal(closeout.purchase_id_first, 1);
    assert_int_equal(closeout.purchase_id_last, 2);
    assert_int_equal(ask_choose(&pool, 2, "T-1", 1), RESULT_STOCK_INSUFFICIENT);
    assert_int_equal(pool.outcome.number, 0);
    /* The shop supplies more: the same machine may choose now. */
    assert_int_equal(ask_stock(&pool, "T-1", 1), RESULT_OK);
    assert_int_equal(ask_choose(&pool, 2, "T-1", 1), RESULT_OK);
    assert_int_equal(product_now("T-1")->initial_stock, 3);
}

static void assert_none_available(const char *sku, int64_t now_ms)
{
    pool.now_ms = now_ms;
    assert_int_equal(sale_available(world_product(&world, slice_cstr(sku)), now_ms), 0);
    assert_int_equal(ask_choose(&pool, 1, sku, 1), RESULT_STOCK_INSUFFICIENT);
    assert_int_equal(pool.outcome.number, 0);
}

/* A machine sells before a sale begins, or after its end. */
static void only_an_open_sale_has_units(void **state)
{
    (void)state;
    make_machines(1);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    struct command sale = make_create("W-1", 5, 2000, 3000);
    assert_true(rules_decide(&pool.rules, &world, &sale, 1000));
    assert_none_available("W-1", 1500);
    assert_none_available("W-1", 2500); /* no tick has opened it */
    pool_tick(&pool, 2500);
    assert_int_equal(sale_available(world_product(&world, SLICE("W-1")), 2500), 5);
    assert_none_available("W-1", 1999); /* the clock was set back */
    assert_none_available("W-1", 3000);
    assert_int_equal(product_now("W-1")->state, SALE_ACTIVE); /* a refusal changes nothing */
    pool_tick(&pool, 3000);
    assert_none_available("W-1", 3001);
    pool.now_ms = 2500;
    assert_int_equal(ask_stock(&pool, "W-1", 8), RESULT_OK); /* its end has come for good */
    assert_none_available("W-1", 2500);
    assert_int_equal(product_now("W-1")->end_reason, END_TIME_EXPIRED);
}

/* The one stock is two: what a machine sells can be bought once more in the flash sale. */
static void machines_and_buyers_share_one_stock(void **state)
{
    (void)state;
    make_machines(1);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 2), RESULT_OK);
    assert_int_equal(buy("T-1", "anna"), RESULT_OK);
    assert_int_equal(buy("T-1", "anna"), RESULT_ALREADY_PURCHASED);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 2), RESULT_STOCK_INSUFFICIENT);
    assert_int_equal(pool.outcome.number, 1);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 1), RESULT_OK);
    assert_int_equal(buy("T-1", "bert"), RESULT_SALE_NOT_ACTIVE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, drop_world)
    const struct CMUnitTest tests[] = {
        TEST(a_new_product_is_on_sale_for_good),
        TEST(a_name_belongs_to_one_product),
        TEST(names_of_the_flash_sale_count_too),
        TEST(labels_are_kept_when_there_are_any),
        TEST(a_product_without_stock_is_sold_out),
        TEST(what_was_supplied_moves_with_what_is_left),
        TEST(there_is_a_largest_stock),
        TEST(a_number_means_one_product),
        TEST(a_product_goes_while_a_machine_dispenses_it),
        TEST(the_last_unit_ends_the_sale),
        TEST(only_an_open_sale_has_units),
        TEST(machines_and_buyers_share_one_stock),
    };
    return cmocka_run_group_tests_name("core stock", tests, NULL, NULL);
}
