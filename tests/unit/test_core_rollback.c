/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch happens whole or not at all. Whatever was decided, world_rollback gives back exactly the world
 * before; whichever allocation fails (rollback_kit.h), the decision says so and the rollback holds.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/limiter.h"
#include "random_command.h"
#include "rollback_kit.h"

static struct rollback_kit kit;
static struct world *const world = &kit.world;
static const struct rules rules = {.idempotency_ttl_ms = 300, .idempotency_count_max = SIZE_MAX};

static int make_world(void **state)
{
    (void)state;
    rollback_kit_make(&kit);
    return 0;
}

static int drop_world(void **state)
{
    (void)state;
    rollback_kit_drop(&kit);
    return 0;
}

static enum result decide(struct command command, int64_t now_ms)
{
    assert_true(rules_decide(&rules, world, &command, now_ms));
    return command.outcome.result;
}

/* An ACTIVE sale of 5, of which anna and bert have bought. */
static void put_sale(const char *sku)
{
    world_begin(world);
    assert_int_equal(decide(make_create(sku, 5, 100, 9000), 50), RESULT_OK);
    assert_true(rules_tick(&rules, world, 100));
    assert_int_equal(decide(make_purchase(sku, "anna"), 100), RESULT_OK);
    assert_int_equal(decide(make_purchase(sku, "bert"), 100), RESULT_OK);
    world_accept(world);
}

static void rename_to(const char *sku, const char *name, int64_t start_ms)
{
    struct command command = make_create(sku, 5, start_ms, 9000);
    command.product.name = slice_cstr(name);
    assert_int_equal(decide(command, 120), RESULT_OK);
}

/* --- by hand --- */

static void delete_create_delete_create(int64_t now_ms)
{
    assert_int_equal(decide(make_delete("W-1"), now_ms), RESULT_OK);
    assert_int_equal(decide(make_create("W-1", 3, 1, 9000), now_ms), RESULT_OK);
    assert_true(rules_tick(&rules, world, now_ms));
    assert_int_equal(decide(make_purchase("W-1", "anna"), now_ms), RESULT_OK);
    assert_int_equal(decide(make_delete("W-1"), now_ms), RESULT_OK);
    assert_int_equal(decide(make_create("W-1", 4, 1, 9000), now_ms), RESULT_OK);
    rename_to("W-1", "Gadget", 2);
}

static void one_sku_deleted_and_made_again_in_a_batch(void **state)
{
    (void)state;
    put_sale("W-1");
    rollback_begin(&kit);
    delete_create_delete_create(200);
    rollback_undo(&kit);
    rollback_begin(&kit);
    delete_create_delete_create(200);
    rollback_accept(&kit);
    assert_int_equal(world_product(world, SLICE("W-1"))->id, 3 + 2);
    rollback_begin(&kit);
    rollback_undo(&kit);
}

static void a_new_product_made_and_deleted_in_a_batch(void **state)
{
    (void)state;
    for (int is_kept = 0; is_kept < 2; is_kept++) {
        rollback_begin(&kit);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(decide(make_create("W-1", 3, 1, 9000), 5), RESULT_OK);
            assert_true(rules_tick(&rules, world, 5));
            assert_int_equal(decide(make_purchase("W-1", "anna"), 5), RESULT_OK);
            assert_int_equal(decide(make_delete("W-1"), 5), RESULT_OK);
        }
        if (is_kept)
            rollback_accept(&kit);
        else
            rollback_undo(&kit);
        assert_null(world_product(world, SLICE("W-1")));
    }
}

static void names_come_and_go(void **state)
{
    (void)state;
    put_sale("W-1");
    for (int is_kept = 0; is_kept < 2; is_kept++) {
        rollback_begin(&kit);
        rename_to("W-1", "A", 200);
        rename_to("W-1", "A", 300);
        rename_to("W-1", "", 300);
        rename_to("W-1", "Widget", 400);
        rename_to("W-1", "a rather longer name than all the others have", 400);
        if (is_kept)
            rollback_accept(&kit);
        else
            rollback_undo(&kit);
    }
}

static void purchases_cleared_and_made_again_in_a_batch(void **state)
{
    (void)state;
    put_sale("W-1");
    for (int is_kept = 0; is_kept < 2; is_kept++) {
        rollback_begin(&kit);
        assert_int_equal(decide(make_purchase("W-1", "carl"), 150), RESULT_OK);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(decide(make_create("W-1", 2, 1, 9000), 150), RESULT_OK);
            assert_true(rules_tick(&rules, world, 150));
            assert_int_equal(decide(make_purchase("W-1", "anna"), 150), RESULT_OK);
            assert_int_equal(decide(make_purchase("W-1", "dora"), 150), RESULT_OK);
            assert_int_equal(world_product(world, SLICE("W-1"))->values.state, SALE_ENDED);
        }
        if (is_kept)
            rollback_accept(&kit);
        else
            rollback_undo(&kit);
    }
    rollback_begin(&kit);
    assert_int_equal(decide(make_create("W-1", 2, 1, 9000), 150), RESULT_OK);
    rollback_undo(&kit);
}

static void a_batch_after_an_accepted_one_rolls_back_to_it(void **state)
{
    (void)state;
    put_sale("W-1");
    rollback_begin(&kit);
    assert_int_equal(decide(make_patch_limit("W-1", 2), 150), RESULT_OK);
    assert_int_equal(decide(make_purchase("W-1", "anna"), 150), RESULT_OK);
    rollback_accept(&kit);
    rollback_begin(&kit);
    assert_int_equal(decide(make_purchase("W-1", "bert"), 151), RESULT_OK);
    assert_int_equal(decide(make_purchase("W-1", "carl"), 151), RESULT_OK);
    assert_int_equal(world_product(world, SLICE("W-1"))->values.state, SALE_ENDED);
    rollback_undo(&kit);
    assert_int_equal(world_product(world, SLICE("W-1"))->values.stock, 2);
    /* What a rollback took back leaves no trace in the next batch. */
    rollback_begin(&kit);
    assert_int_equal(decide(make_purchase("W-1", "bert"), 152), RESULT_OK);
    rollback_accept(&kit);
    assert_int_equal(world_product(world, SLICE("W-1"))->values.stock, 1);
    rollback_begin(&kit);
    assert_int_equal(decide(make_purchase("W-1", "dora"), 153), RESULT_OK);
    rollback_undo(&kit);
}

static void ids_are_never_given_out_twice(void **state)
{
    (void)state;
    put_sale("W-1");
    rollback_begin(&kit);
    struct command command = make_purchase("W-1", "carl");
    assert_true(rules_decide(&rules, world, &command, 150));
    assert_int_equal(command.outcome.number, 3);
    rollback_undo(&kit);
    rollback_begin(&kit);
    assert_true(rules_decide(&rules, world, &command, 150));
    assert_int_equal(command.outcome.number, 4);
    rollback_accept(&kit);
}

/* One decision may make several changes; wherever the list has to grow, there is room for all of them. */
static void the_list_of_changes_grows_at_any_length(void **state)
{
    enum { LENGTH_MAX = 140 };
    (void)state;
    for (int is_purchase = 0; is_purchase < 2; is_purchase++) {
        for (int length = 0; length < LENGTH_MAX; length++) {
            (void)drop_world(NULL);
            (void)make_world(NULL);
            put_sale("W-1");
            rollback_begin(&kit);
            for (int i = 0; i < length; i++) {
                char sku[16];
                (void)snprintf(sku, sizeof sku, "N-%d", i);
                assert_int_equal(decide(make_create(sku, 1, 5000, 9000), 150), RESULT_OK);
            }
            struct command last = is_purchase ? make_purchase("W-1", "carl") : make_delete("W-1");
            assert_int_equal(decide(last, 150), RESULT_OK);
            assert_int_equal(world->change_count, length + 2);
            rollback_undo(&kit);
        }
    }
}

/* --- by lot --- */

static const struct crowd crowd = {
    .sku_count = 4,
    .user_count = 12,
    .key_count = 10,
    .key_percent = 30,
    .purchase_percent = 65,
    .stock_max = 12,
    .sale_ms_max = 400,
};

/* Decides up to `count` commands drawn from *random; false when memory ran out, and then it must have failed.
 */
static bool decide_by_lot(struct id_source *random, unsigned count, int64_t now_ms)
{
    bool is_good = rules_tick(&rules, world, now_ms);
    for (unsigned i = 0; i < count && is_good; i++) {
        struct random_command lot;
        draw_command(random, &crowd, now_ms, &lot);
        is_good = rules_decide(&rules, world, &lot.command, now_ms);
        assert_true(!is_good || result_info(lot.command.outcome.result) != NULL);
    }
    return is_good;
}

static void any_batch_can_be_taken_back(void **state)
{
    enum { BATCHES = 4000 };
    struct id_source random;
    int64_t now_ms = 1000;
    (void)state;
    id_source_init_seed(&random, 20261120);
    for (int i = 0; i < BATCHES; i++) {
        rollback_begin(&kit);
        now_ms += draw(&random, 60);
        assert_true(decide_by_lot(&random, 1 + draw(&random, 40), now_ms));
        if (draw(&random, 2) == 0)
            rollback_undo(&kit);
        else
            rollback_accept(&kit);
    }
}

static void any_allocation_may_fail(void **state)
{
    enum { BATCHES = 150 };
    struct id_source random;
    int64_t now_ms = 1000;
    int failures = 0;
    (void)state;
    id_source_init_seed(&random, 4711);
    for (int i = 0; i < BATCHES; i++) {
        unsigned count = 1 + draw(&random, 40);
        now_ms += draw(&random, 60);
        bool is_decided = false;
        struct id_source same = random;
        for (int n = 1; !is_decided; n++) {
            rollback_begin(&kit);
            same = random;
            fail_call(n);
            is_decided = decide_by_lot(&same, count, now_ms);
            assert_true(stop_failing() == !is_decided);
            if (!is_decided)
                rollback_undo(&kit);
            failures += !is_decided;
        }
        rollback_accept(&kit);
        random = same;
    }
    assert_true(failures > BATCHES);
}

static void loading_says_when_memory_is_out(void **state)
{
    const struct product_values values = {.name = SLICE("Widget"),
        .initial_stock = 5,
        .stock = 4,
        .per_user_limit = 1,
        .start_ms = 1,
        .end_ms = 2000};
    const struct key_record record = {.id = 1, .scope = SLICE("anna"), .key = SLICE("k")};
    (void)state;
    bool is_done = false;
    for (int n = 1; !is_done; n++) {
        struct world loaded;
        world_init(&loaded, &world_kit_hash_key);
        fail_call(n);
        struct product *product = world_load_product(&loaded, 7, SLICE("W-1"), &values);
        is_done = product != NULL && world_load_purchase(&loaded, product, SLICE("anna"), 3) &&
                  world_load_key(&loaded, &record);
        assert_true(stop_failing() == !is_done);
        world_dump(&loaded, &kit.after);
        assert_true(product != NULL || kit.after.len == 0);
        if (product != NULL)
            assert_true(product->buyers.count == (product->purchase_id_last == 3));
        world_fini(&loaded);
    }
}

static void the_base_says_when_memory_is_out(void **state)
{
    struct limiter limiter;
    struct strbuf text;
    struct map map;
    int value = 1;
    (void)state;
    fail_call(1);
    assert_false(limiter_init(&limiter, 16, 1000));
    strbuf_init_heap(&text, 5000);
    strbuf_lit(&text, "abc");
    fail_call(1);
    strbuf_printf(&text, "%2000s", "x");
    assert_true(text.has_overflowed);
    assert_int_equal(text.len, 3);
    strbuf_fini(&text);
    map_init(&map);
    fail_call(1);
    assert_false(map_put(&map, 1, &value));
    assert_int_equal(map.count, 0);
    assert_true(map_put(&map, 1, &value));
    for (uint64_t i = 2; i <= 12; i++)
        assert_true(map_put(&map, i, &value));
    fail_call(1);
    assert_false(map_put(&map, 13, &value));
    assert_int_equal(map.count, 12);
    assert_true(map_remove(&map, 12, &value));
    assert_true(map_put(&map, 13, &value));
    map_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_sku_deleted_and_made_again_in_a_batch, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_new_product_made_and_deleted_in_a_batch, make_world, drop_world),
        cmocka_unit_test_setup_teardown(names_come_and_go, make_world, drop_world),
        cmocka_unit_test_setup_teardown(purchases_cleared_and_made_again_in_a_batch, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            a_batch_after_an_accepted_one_rolls_back_to_it, make_world, drop_world),
        cmocka_unit_test_setup_teardown(ids_are_never_given_out_twice, make_world, drop_world),
        cmocka_unit_test_setup_teardown(the_list_of_changes_grows_at_any_length, make_world, drop_world),
        cmocka_unit_test_setup_teardown(any_batch_can_be_taken_back, make_world, drop_world),
        cmocka_unit_test_setup_teardown(any_allocation_may_fail, make_world, drop_world),
        cmocka_unit_test_setup_teardown(loading_says_when_memory_is_out, make_world, drop_world),
        cmocka_unit_test_setup_teardown(the_base_says_when_memory_is_out, make_world, drop_world),
    };
    return cmocka_run_group_tests_name("core rollback", tests, NULL, NULL);
}
