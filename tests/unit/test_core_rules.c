/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are kept for their Idempotency-Key (flash-sale contract, section 17), and the limiter (section
 * 5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/limiter.h"
#include "world_kit.h"

enum { START = 1000, END = 100000, TTL = 5000 };

static struct world world;
static struct rules rules;

static int make_world(void **state)
{
    (void)state;
    world_init(&world, &world_kit_hash_key);
    rules = (struct rules){.idempotency_ttl_ms = TTL, .idempotency_count_max = SIZE_MAX};
    world_begin(&world);
    struct command create = make_create("W-1", 5, START, END);
    assert_true(rules_decide(&rules, &world, &create, 10));
    assert_true(rules_tick(&rules, &world, START));
    world_accept(&world);
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

static int64_t stock(void)
{
    return world_product(&world, SLICE("W-1"))->values.stock;
}

static void the_same_key_gives_the_stored_answer_again(void **state)
{
    (void)state;
    struct command command = with_key(make_purchase("W-1", "anna"), "anna", "k1", 1);
    struct outcome first = decide(command, START + 1);
    assert_int_equal(first.result, RESULT_OK);
    assert_false(first.is_replay);
    next_batch();
    struct outcome again = decide(command, START + 500);
    assert_int_equal(again.result, RESULT_OK);
    assert_true(again.is_replay);
    assert_int_equal(again.number, first.number);
    assert_int_equal(again.time_ms, START + 1);
    assert_int_equal(stock(), 4);
    assert_int_equal(world.change_count, 0);
}

static void the_answers_kept_are_bounded_and_the_oldest_go_first(void **state)
{
    (void)state;
    rules.idempotency_count_max = 2;
    const char *const keys[] = {"k1", "k2", "k3"};
    for (int i = 0; i < 3; i++) { /* within one batch: what is forgotten was never stored */
        assert_int_equal(
            decide(with_key(make_purchase("W-1", keys[i]), keys[i], keys[i], 1), START).result, RESULT_OK);
        assert_true(world.keys_by_name.count <= 2);
    }
    next_batch();
    assert_true(decide(with_key(make_purchase("W-1", "k3"), "k3", "k3", 1), START).is_replay);
    assert_true(decide(with_key(make_purchase("W-1", "k2"), "k2", "k2", 1), START).is_replay);
    struct outcome forgotten = decide(with_key(make_purchase("W-1", "k1"), "k1", "k1", 1), START);
    assert_int_equal(forgotten.result, RESULT_ALREADY_PURCHASED); /* decided anew, and nobody is sold twice */
    assert_false(forgotten.is_replay);
    assert_int_equal(world.keys_by_name.count, 2);
    assert_int_equal(stock(), 2);
    world_rollback(&world);
    world_begin(&world);
    assert_true(decide(with_key(make_purchase("W-1", "k2"), "k2", "k2", 1), START).is_replay);
}

static void a_refusal_is_an_answer_that_is_kept_too(void **state)
{
    (void)state;
    assert_int_equal(decide(make_purchase("W-1", "anna"), START).result, RESULT_OK);
    struct command command = with_key(make_purchase("W-1", "anna"), "anna", "k1", 1);
    assert_int_equal(decide(command, START).result, RESULT_ALREADY_PURCHASED);
    next_batch();
    assert_int_equal(decide(make_delete("W-1"), START).result, RESULT_OK);
    struct outcome again = decide(command, START);
    assert_int_equal(again.result, RESULT_ALREADY_PURCHASED);
    assert_true(again.is_replay);
}

static void a_refused_change_says_the_same_again_though_the_state_has_moved_on(void **state)
{
    (void)state;
    struct command update = with_key(make_update("W-1"), "admin", "k1", 1);
    assert_int_equal(decide(update, START).result, RESULT_SALE_IS_ACTIVE);
    next_batch();
    rules.idempotency_ttl_ms = 10 * END;
    assert_true(rules_tick(&rules, &world, END));
    assert_int_equal(world_product(&world, SLICE("W-1"))->values.state, SALE_ENDED);
    assert_int_equal(decide(make_update("W-1"), END).result, RESULT_SALE_HAS_ENDED);
    struct outcome again = decide(update, END);
    assert_int_equal(again.result, RESULT_SALE_IS_ACTIVE);
    assert_true(again.is_replay);
}

static void the_same_key_with_another_body_is_refused(void **state)
{
    (void)state;
    assert_int_equal(
        decide(with_key(make_purchase("W-1", "anna"), "anna", "k1", 1), START).result, RESULT_OK);
    struct command other = with_key(make_purchase("W-1", "anna"), "anna", "k1", 2);
    /* In the same batch as well as later: what cannot be the same request is told so first. */
    assert_int_equal(decide(other, START).result, RESULT_KEY_MISMATCH);
    next_batch();
    struct outcome outcome = decide(other, START);
    assert_int_equal(outcome.result, RESULT_KEY_MISMATCH);
    assert_false(outcome.is_replay);
    assert_int_equal(stock(), 4);
}

static void a_key_whose_answer_is_not_on_disk_yet_is_in_flight(void **state)
{
    (void)state;
    struct command command = with_key(make_purchase("W-1", "anna"), "anna", "k1", 1);
    assert_int_equal(decide(command, START).result, RESULT_OK);
    struct outcome again = decide(command, START);
    assert_int_equal(again.result, RESULT_KEY_IN_FLIGHT);
    assert_false(again.is_replay);
    assert_int_equal(again.number, 0);
    assert_int_equal(stock(), 4);
    /* The batch fails: the key was never used. */
    world_rollback(&world);
    world_begin(&world);
    struct outcome anew = decide(command, START + 9);
    assert_int_equal(anew.result, RESULT_OK);
    assert_false(anew.is_replay);
    assert_int_equal(anew.time_ms, START + 9);
}

static void a_key_belongs_to_its_scope(void **state)
{
    (void)state;
    assert_int_equal(decide(with_key(make_purchase("W-1", "anna"), "anna", "k", 1), START).result, RESULT_OK);
    assert_int_equal(decide(with_key(make_purchase("W-1", "bert"), "bert", "k", 1), START).result, RESULT_OK);
    /* Scope and key are told apart where they meet. */
    assert_int_equal(decide(with_key(make_purchase("W-1", "carl"), "ann", "ak", 1), START).result, RESULT_OK);
    assert_int_equal(stock(), 2);
    next_batch();
    assert_int_equal(decide(with_key(make_purchase("W-1", "bert"), "bert", "k", 1), START).number, 2);
    assert_int_equal(decide(with_key(make_purchase("W-1", "anna"), "anna", "k", 1), START).number, 1);
    struct command bare = with_key(make_purchase("W-1", "dora"), "", "k", 1);
    bare.idempotency.scope = (struct slice){0};
    assert_int_equal(decide(bare, START).result, RESULT_OK);
}

static void answers_expire_oldest_first(void **state)
{
    (void)state;
    struct command first = with_key(make_purchase("W-1", "anna"), "anna", "k1", 1);
    struct command second = with_key(make_purchase("W-1", "bert"), "bert", "k2", 1);
    assert_int_equal(decide(first, START).result, RESULT_OK);
    assert_int_equal(decide(second, START + 10).result, RESULT_OK);
    next_batch();
    assert_int_equal(rules_next_tick_ms(&rules, &world), START + TTL);
    assert_true(rules_tick(&rules, &world, START + TTL - 1));
    assert_int_equal(world.change_count, 0);
    assert_true(rules_tick(&rules, &world, START + TTL));
    assert_int_equal(world.change_count, 1);
    assert_int_equal(world.changes[0].kind, CHANGE_KEY_REMOVED);
    assert_int_equal(rules_next_tick_ms(&rules, &world), START + 10 + TTL);
    /* The key is new again; the buyer is not. */
    assert_int_equal(decide(first, START + TTL).result, RESULT_ALREADY_PURCHASED);
    assert_true(decide(second, START + TTL).is_replay);
    world_rollback(&world);
    assert_int_equal(rules_next_tick_ms(&rules, &world), START + TTL);
    world_begin(&world);
    assert_true(decide(first, START + TTL).is_replay);
}

static void expiry_is_bounded_per_tick_and_goes_on_at_once(void **state)
{
    enum { COUNT = 2 * RULES_KEYS_EXPIRED_PER_TICK_MAX + 5 };
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(decide(with_key(make_purchase("W-2", "anna"), "anna", key, 1), START).result,
            RESULT_SALE_NOT_ACTIVE);
    }
    next_batch();
    static const size_t left[] = {COUNT - RULES_KEYS_EXPIRED_PER_TICK_MAX, 5, 0};
    for (int i = 0; i < 3; i++) {
        assert_true(rules_next_tick_ms(&rules, &world) <= START + TTL);
        assert_true(rules_tick(&rules, &world, START + TTL));
        assert_int_equal(world.keys_by_name.count, left[i]);
        next_batch();
    }
    assert_int_equal(rules_next_tick_ms(&rules, &world), END);
}

static void loaded_answers_are_replayed(void **state)
{
    (void)state;
    struct key_record record = {
        .id = 40,
        .created_ms = START,
        .scope = SLICE("anna"),
        .key = SLICE("k1"),
        .result = RESULT_SOLD_OUT,
        .number = 0,
        .time_ms = 9,
    };
    memset(record.fingerprint, 1, FINGERPRINT_BYTES);
    assert_true(world_load_key(&world, &record));
    struct outcome outcome = decide(with_key(make_purchase("W-1", "anna"), "anna", "k1", 1), START);
    assert_int_equal(outcome.result, RESULT_SOLD_OUT);
    assert_true(outcome.is_replay);
    assert_int_equal(outcome.time_ms, 9);
}

static void every_kind_of_command_may_carry_a_key(void **state)
{
    (void)state;
    struct command commands[] = {
        with_key(make_create("N", 3, START, END), "admin", "1", 1),
        with_key(make_update("N"), "admin", "2", 1),
        with_key(make_patch_limit("N", 3), "admin", "3", 1),
        with_key(make_delete("N"), "admin", "4", 1),
    };
    for (int i = 0; i < 4; i++) {
        struct outcome outcome = decide(commands[i], 20 + i);
        assert_int_equal(outcome.result, RESULT_OK);
    }
    next_batch();
    for (int i = 0; i < 4; i++) {
        struct outcome outcome = decide(commands[i], 50);
        assert_int_equal(outcome.result, RESULT_OK);
        assert_true(outcome.is_replay);
        assert_int_equal(outcome.time_ms, i < 3 ? 20 : 0);
    }
    assert_null(world_product(&world, SLICE("N")));
}

/* --- limiter (5) --- */

static void hammering_keeps_a_user_out(void **state)
{
    static const struct {
        int64_t at_ms;
        bool is_allowed;
    } attempts[] = {{0, true}, {300, false}, {600, false}, {1250, false}, {2300, true}};
    struct limiter limiter;
    (void)state;
    assert_true(limiter_init(&limiter, 16, 1000));
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        assert_int_equal(limiter_attempt(&limiter, 7, 1000 + attempts[i].at_ms), attempts[i].is_allowed);
    for (int64_t i = 0; i < 20; i++)
        assert_true(limiter_attempt(&limiter, 8, 5000 + i * 1020));
    limiter_fini(&limiter);
}

static void the_interval_is_exact(void **state)
{
    struct limiter limiter;
    (void)state;
    assert_true(limiter_init(&limiter, 1, 1000));
    assert_true(limiter_attempt(&limiter, 7, 1));
    assert_false(limiter_attempt(&limiter, 7, 1000));
    assert_false(limiter_attempt(&limiter, 7, 1999));
    assert_true(limiter_attempt(&limiter, 7, 2999)); /* what is exactly 1,000 ms old has left the window */
    assert_false(limiter_attempt(&limiter, 7, 2999));
    assert_true(limiter_attempt(&limiter, 0, 2999)); /* hash 0 is a user like any other */
    assert_false(limiter_attempt(&limiter, 0, 2999));
    limiter_fini(&limiter);
}

static void a_full_row_forgets_its_oldest_and_locks_nobody_out(void **state)
{
    enum { ROWS = 4 };
    struct limiter limiter;
    (void)state;
    assert_true(limiter_init(&limiter, ROWS, 1000));
    /* All in row 1: one user more than there are places. */
    for (uint64_t i = 0; i <= LIMITER_PLACES; i++)
        assert_true(limiter_attempt(&limiter, 1 + ROWS * i, 5000 + (int64_t)i));
    for (uint64_t i = 1; i <= LIMITER_PLACES; i++)
        assert_false(limiter_attempt(&limiter, 1 + ROWS * i, 5100));
    /* The first was forgotten and gets in early; another row knows nothing of all this. */
    assert_true(limiter_attempt(&limiter, 1, 5100));
    assert_true(limiter_attempt(&limiter, 2, 5100));
    limiter_fini(&limiter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_key_gives_the_stored_answer_again, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            the_answers_kept_are_bounded_and_the_oldest_go_first, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_refusal_is_an_answer_that_is_kept_too, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            a_refused_change_says_the_same_again_though_the_state_has_moved_on, make_world, drop_world),
        cmocka_unit_test_setup_teardown(the_same_key_with_another_body_is_refused, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            a_key_whose_answer_is_not_on_disk_yet_is_in_flight, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_key_belongs_to_its_scope, make_world, drop_world),
        cmocka_unit_test_setup_teardown(answers_expire_oldest_first, make_world, drop_world),
        cmocka_unit_test_setup_teardown(
            expiry_is_bounded_per_tick_and_goes_on_at_once, make_world, drop_world),
        cmocka_unit_test_setup_teardown(loaded_answers_are_replayed, make_world, drop_world),
        cmocka_unit_test_setup_teardown(every_kind_of_command_may_carry_a_key, make_world, drop_world),
        cmocka_unit_test(hammering_keeps_a_user_out),
        cmocka_unit_test(the_interval_is_exact),
        cmocka_unit_test(a_full_row_forgets_its_oldest_and_locks_nobody_out),
    };
    return cmocka_run_group_tests_name("core rules", tests, NULL, NULL);
}
