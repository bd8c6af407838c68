/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wallets and their transfers in a batch that is taken back: as in test_core_rollback.c, the world is exactly
 * what it was, whatever was decided and whichever allocation has failed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "random_wallet.h"
#include "rollback_kit.h"
#include "wallet_kit.h"

enum { ANN, BEN, CAT };

static struct rollback_kit kit;
static struct wallet_kit wallets;
static struct world *const world = &kit.world;

static int make_world(void **state)
{
    (void)state;
    rollback_kit_make(&kit);
    wallet_kit_init(&wallets, world);
    return 0;
}

static int drop_world(void **state)
{
    (void)state;
    rollback_kit_drop(&kit);
    return 0;
}

/* Ann and Ben have 100.00 each, and there are two cups of tea. */
static void put_wallets(void)
{
    world_begin(world);
    assert_int_equal(ask_register(&wallets, ANN, ANN, 10000), RESULT_OK);
    assert_int_equal(ask_register(&wallets, BEN, BEN, 10000), RESULT_OK);
    put_sale(&wallets, "TEA", 2, 250);
    assert_int_equal(ask_transfer(&wallets, ANN, BEN, 1, "kept"), RESULT_OK);
    world_accept(world);
}

/* Everything that can happen to wallets, some of it to those that the batch itself has made. */
static void do_all_of_it(void)
{
    assert_int_equal(ask_register(&wallets, CAT, CAT, 10000), RESULT_OK);
    assert_int_equal(ask_transfer(&wallets, CAT, ANN, 10000, "n"), RESULT_OK);
    assert_int_equal(ask_transfer(&wallets, ANN, CAT, 1, "n"), RESULT_OK);
    assert_int_equal(ask_transfer(&wallets, ANN, BEN, 1, "kept"), RESULT_OK);
    assert_true(wallets.outcome.is_replay);
    assert_int_equal(ask_credit(&wallets, BEN, 77, "n"), RESULT_OK);
    assert_int_equal(ask_spend(&wallets, BEN, "TEA", 250, "n"), RESULT_OK);
    assert_int_equal(ask_spend(&wallets, BEN, "TEA", 250, "n"), RESULT_OK);
    assert_int_equal(ask_spend(&wallets, ANN, "TEA", 250, "m"), RESULT_OK); /* ends the sale */
    assert_int_equal(ask_spend(&wallets, ANN, "TEA", 250, "o"), RESULT_SOLD_OUT);
    delete_sale(&wallets, "TEA");
    assert_int_equal(balance_of(&wallets, CAT), 1);
}

static void all_that_can_happen_to_wallets_is_taken_back(void **state)
{
    (void)state;
    put_wallets();
    for (int i = 0; i < 3; i++) {
        rollback_begin(&kit);
        do_all_of_it();
        if (i == 2)
            rollback_accept(&kit);
        else
            rollback_undo(&kit);
    }
}

/* A transfer that was taken back was never named: its nonce is free, for another intent too. */
static void nonces_of_what_was_taken_back_are_free(void **state)
{
    (void)state;
    put_wallets();
    rollback_begin(&kit);
    assert_int_equal(ask_transfer(&wallets, ANN, BEN, 5, "n"), RESULT_OK);
    rollback_undo(&kit);
    rollback_begin(&kit);
    assert_int_equal(ask_transfer(&wallets, ANN, BEN, 6, "n"), RESULT_OK);
    assert_false(wallets.outcome.is_replay);
    assert_int_equal(wallets.request.transfer.from_previous_id, 3); /* "kept", which is there */
    rollback_accept(&kit);
    rollback_begin(&kit);
    assert_int_equal(ask_transfer(&wallets, ANN, BEN, 5, "n"), RESULT_NONCE_REUSED);
    rollback_undo(&kit);
}

static enum result one_of_many(int kind)
{
    switch (kind) {
    case 0:
        return ask_register(&wallets, CAT, CAT, 10000);
    case 1:
        return ask_credit(&wallets, ANN, 1, "n");
    case 2:
        return ask_transfer(&wallets, ANN, BEN, 1, "n");
    default:
        return ask_spend(&wallets, BEN, "TEA", 250, "n");
    }
}

/* One decision makes several changes; wherever the list has to grow, there is room for all of them. */
static void the_list_of_changes_grows_at_any_length(void **state)
{
    enum { LENGTH_MAX = 66 /* it begins with 64 */, KINDS = 4 };
    (void)state;
    for (int i = 0; i < LENGTH_MAX * KINDS; i++) {
        (void)drop_world(NULL);
        (void)make_world(NULL);
        put_wallets();
        rollback_begin(&kit);
        for (int length = i / KINDS; length > 0; length--) {
            char sku[16];
            (void)snprintf(sku, sizeof sku, "P-%d", length);
            struct command create = make_create(sku, 1, 2000, 3000);
            assert_true(rules_decide(&wallets.rules, world, &create, 1000));
        }
        assert_int_equal(world->change_count, i / KINDS);
        assert_int_equal(one_of_many(i % KINDS), RESULT_OK);
        rollback_undo(&kit);
    }
}

/* --- by lot --- */

struct lots {
    struct id_source random;
    struct wallet_crowd crowd;
    struct rules rules;
    int64_t now_ms;
};

static void lots_init(struct lots *lots, uint64_t seed)
{
    *lots = (struct lots){
        .now_ms = 1000, .rules = {.idempotency_ttl_ms = 300, .idempotency_count_max = SIZE_MAX}};
    id_source_init_seed(&lots->random, seed);
    draw_wallet_crowd(&lots->random, &lots->crowd);
}

/* Now and then a product comes, or goes, or is there anew. */
static bool decide_sale(struct lots *lots)
{
    char text[16];
    unsigned sku = draw(&lots->random, WALLET_SKUS);
    wallet_sku(sku, text);
    struct command command = make_create(text, draw(&lots->random, 9), lots->now_ms, lots->now_ms + 500);
    command.product.present |= FIELD_PRICE;
    command.product.price_minor = wallet_price(sku);
    if (draw(&lots->random, 5) == 0)
        command = make_delete(text);
    return rules_decide(&lots->rules, world, &command, lots->now_ms) &&
           rules_tick(&lots->rules, world, lots->now_ms);
}

/* A tick and up to `count` commands; false when memory ran out. */
static bool decide_by_lot(struct lots *lots, unsigned count)
{
    bool is_good = rules_tick(&lots->rules, world, lots->now_ms);
    for (unsigned i = 0; i < count && is_good; i++) {
        struct random_wallet lot;
        struct command command;
        draw_wallet_command(&lots->random, &lots->crowd, &lot, &command);
        is_good = draw(&lots->random, 12) == 0 ? decide_sale(lots)
                                               : rules_decide(&lots->rules, world, &command, lots->now_ms);
    }
    return is_good;
}

static void any_batch_can_be_taken_back(void **state)
{
    enum { CROWDS = 10, BATCHES = 150 };
    (void)state;
    for (int i = 0; i < CROWDS * BATCHES; i++) {
        static struct lots lots;
        if (i % BATCHES == 0) {
            (void)drop_world(NULL);
            (void)make_world(NULL);
            lots_init(&lots, (uint64_t)i);
        }
        rollback_begin(&kit);
        lots.now_ms += draw(&lots.random, 60);
        assert_true(decide_by_lot(&lots, 1 + draw(&lots.random, 40)));
        if (draw(&lots.random, 2) == 0)
            rollback_undo(&kit);
        else
            rollback_accept(&kit);
    }
}

static void any_allocation_may_fail(void **state)
{
    enum { BATCHES = 120 };
    struct lots lots;
    int failures = 0;
    (void)state;
    lots_init(&lots, 4711);
    for (int i = 0; i < BATCHES; i++) {
        unsigned count = 1 + draw(&lots.random, 30);
        bool is_decided = false;
        struct lots same = lots;
        for (int n = 1; !is_decided; n++) {
            same = lots;
            same.now_ms += draw(&same.random, 60);
            rollback_begin(&kit);
            fail_call(n);
            is_decided = decide_by_lot(&same, count);
            assert_true(stop_failing() == !is_decided);
            if (!is_decided)
                rollback_undo(&kit);
            failures += !is_decided;
        }
        rollback_accept(&kit);
        lots = same;
    }
    assert_true(failures > BATCHES);
}

/* --- loading --- */

/* Two wallets and two transfers, each of them twice; false when memory is out. */
static bool load_twice(struct world *loaded)
{
    struct wallet wallet = {.account_id = 1, .values = {.balance_minor = 5, .last_transfer_id = 2}};
    struct transfer_row row = {.id = 2, .kind = TRANSFER_CREDIT, .to_account = 1, .amount_minor = 5};
    bool is_good = true;
    for (int i = 0; i < 4 && is_good; i++) {
        wallet_kit_key(i % 2, wallet.key);
        wallet.account_id = 1 + i % 2;
        row.nonce = i % 2 == 0 ? SLICE("one") : SLICE("two");
        is_good = world_load_wallet(loaded, &wallet) && world_load_transfer(loaded, &row);
        wallet.values.balance_minor++; /* what is there already stays */
    }
    return is_good;
}

static void loading_says_when_memory_is_out(void **state)
{
    unsigned char key[WALLET_KEY_BYTES];
    bool is_done = false;
    (void)state;
    wallet_kit_key(0, key);
    for (int n = 1; !is_done; n++) {
        struct world loaded;
        world_init(&loaded, &world_kit_hash_key);
        world_begin(&loaded);
        fail_call(n);
        is_done = load_twice(&loaded);
        assert_true(stop_failing() == !is_done);
        assert_true(!is_done || loaded.wallets_by_key.count == 2);
        assert_true(!is_done || loaded.transfers_by_nonce.count == 2);
        const struct wallet *wallet = world_wallet(&loaded, key);
        assert_true(wallet == NULL ? !is_done : wallet->values.balance_minor == 5);
        assert_int_equal(loaded.change_count, 0);
        world_fini(&loaded);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, drop_world)
    const struct CMUnitTest tests[] = {
        TEST(all_that_can_happen_to_wallets_is_taken_back),
        TEST(nonces_of_what_was_taken_back_are_free),
        TEST(the_list_of_changes_grows_at_any_length),
        TEST(any_batch_can_be_taken_back),
        TEST(any_allocation_may_fail),
        TEST(loading_says_when_memory_is_out),
    };
    return cmocka_run_group_tests_name("core rollback of wallets", tests, NULL, NULL);
}
