/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines, the line and their products in a batch that is taken back: as in test_core_rollback.c, the world
 * is exactly what it was, whatever was decided and whichever allocation has failed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pool_kit.h"
#include "random_pool.h"
#include "rollback_kit.h"

static struct rollback_kit kit;
static struct pool_kit pool;
static struct world *const world = &kit.world;

static int make_world(void **state)
{
    (void)state;
    rollback_kit_make(&kit);
    pool_kit_init(&pool, world);
    return 0;
}

static int drop_world(void **state)
{
    (void)state;
    rollback_kit_drop(&kit);
    return 0;
}

/* Machine 1 is idle after a use, 2 in use, 3 drains in use, 4 drains idle; two wait; T-1 has 5 of 8 left. */
static void put_pool(void)
{
    world_begin(world);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 8), RESULT_OK);
    for (int i = 0; i < 4; i++)
        (void)ask_machine(&pool, "m");
    assert_int_equal(ask_take(&pool), RESULT_OK);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 3), RESULT_OK);
    pool_tick(&pool, 7000);
    assert_int_equal(ask_drain(&pool, 4, true), RESULT_OK);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    assert_int_equal(pool.request.machine.id, 3);
    assert_int_equal(ask_drain(&pool, 3, true), RESULT_OK);
    assert_int_equal(ask_drain(&pool, 1, true), RESULT_OK);
    assert_int_equal(ask_ticket(&pool, 100000), RESULT_TICKET_WAITS);
    assert_int_equal(ask_take_or_wait(&pool, 90000), RESULT_TICKET_WAITS);
    world_accept(world);
}

/* Everything that can happen to the pool above, some of it to what the batch itself has made. */
static void do_all_of_it(void)
{
    assert_int_equal(ask_keep(&pool, 1, 200000), RESULT_OK);
    assert_int_equal(ask_keep(&pool, 1, 300000), RESULT_OK);
    int64_t made = ask_machine(&pool, "new"); /* serves the first one at once */
    assert_int_equal(machine_now(&pool, made)->lease.ticket_id, 1);
    assert_int_equal(ask_rename(&pool, made, "newer"), RESULT_OK);
    assert_int_equal(ask_rename(&pool, made, ""), RESULT_OK);
    assert_int_equal(ask_choose(&pool, made, "T-1", 2), RESULT_OK);
    assert_int_equal(ask_reset(&pool, made, 0), RESULT_OK);
    assert_int_equal(machine_now(&pool, made)->lease.ticket_id, 2);
    assert_int_equal(ask_delete(&pool, made), RESULT_OK);
    assert_int_equal(ask_rename(&pool, 2, "two"), RESULT_OK);
    assert_int_equal(ask_delete(&pool, 2), RESULT_OK);
    assert_int_equal(ask_ticket(&pool, 80000), RESULT_TICKET_WAITS);
    assert_int_equal(ask_leave(&pool, pool.request.ticket_id), RESULT_OK);
    assert_int_equal(ask_ticket(&pool, 80000), RESULT_TICKET_WAITS);
    assert_int_equal(ask_drain(&pool, 4, false), RESULT_OK);
    assert_int_equal(machine_now(&pool, 4)->status, MACHINE_CHOOSING);
    assert_int_equal(ask_choose(&pool, 4, "T-1", 3), RESULT_OK); /* the last ones */
    assert_int_equal(ask_stock(&pool, "T-1", 9), RESULT_OK);
    assert_int_equal(ask_product(&pool, "T-2", "coffee", 0), RESULT_OK);
    assert_int_equal(ask_ticket(&pool, 70000), RESULT_TICKET_WAITS);
    pool_tick(&pool, 75000); /* the choice on 3 has timed out, 4 is done, the ticket has expired */
    assert_int_equal(machine_now(&pool, 3)->status, MACHINE_IDLE);
    assert_int_equal(machine_now(&pool, 4)->usage_count, 1);
    assert_null(world_first_ticket(world));
}

static void all_that_can_happen_to_a_pool_is_taken_back(void **state)
{
    (void)state;
    put_pool();
    for (int i = 0; i < 3; i++) {
        pool.now_ms = 8000;
        rollback_begin(&kit);
        do_all_of_it();
        if (i == 2)
            rollback_accept(&kit);
        else
            rollback_undo(&kit);
    }
    rollback_begin(&kit);
    assert_int_equal(ask_delete(&pool, 1), RESULT_OK);
    assert_int_equal(ask_delete(&pool, 3), RESULT_OK);
    assert_int_equal(ask_delete(&pool, 4), RESULT_OK);
    rollback_undo(&kit);
}

/* Nobody has heard of the numbers of a batch that was taken back, so they are given out again without a gap.
 */
static void numbers_of_the_pool_are_taken_back(void **state)
{
    (void)state;
    put_pool();
    for (int i = 0; i < 2; i++) {
        rollback_begin(&kit);
        assert_int_equal(ask_machine(&pool, "five"), 5);
        assert_int_equal(machine_now(&pool, 5)->lease.id, 4);
        assert_int_equal(ask_ticket(&pool, 70000), RESULT_TICKET_WAITS);
        assert_int_equal(pool.request.ticket_id, 3);
        rollback_undo(&kit);
    }
}

static enum result one_of_many(int kind)
{
    switch (kind) {
    case 0:
        pool.rules.dispense_ms = 0; /* sells out, and serves the line at once */
        return ask_choose(&pool, 2, "T-1", 5);
    case 1:
        return ask_delete(&pool, 3);
    case 2:
        return ask_rename(&pool, 2, "two");
    case 3:
        return ask_reset(&pool, 2, 0);
    case 4:
        return ask_drain(&pool, 1, false);
    case 5:
        return ask_leave(&pool, 2);
    case 6:
        return ask_keep(&pool, 1, 200000);
    default:
        return ask_ticket(&pool, 50000) == RESULT_TICKET_WAITS ? RESULT_OK : RESULT_LINE_FULL;
    }
}

/* One decision may make several changes; wherever the list has to grow, there is room for all of them. */
static void the_list_of_changes_grows_at_any_length(void **state)
{
    enum { LENGTH_MAX = 66 /* it begins with 64 */, KINDS = 8 };
    (void)state;
    for (int i = 0; i < LENGTH_MAX * KINDS; i++) {
        (void)drop_world(NULL);
        (void)make_world(NULL);
        put_pool();
        rollback_begin(&kit);
        for (int length = i / KINDS; length > 0; length--) /* changes that leave the pool alone */
            assert_int_equal(ask_stock(&pool, "T-1", 5), RESULT_OK);
        assert_int_equal(world->change_count, i / KINDS);
        assert_int_equal(one_of_many(i % KINDS), RESULT_OK);
        rollback_undo(&kit);
    }
}

/* --- by lot --- */

struct lots {
    struct id_source random;
    struct pool_crowd crowd;
    struct pool_seen seen;
    struct rules rules;
    int64_t now_ms;
};

static void lots_init(struct lots *lots, uint64_t seed)
{
    *lots = (struct lots){.now_ms = 1000};
    id_source_init_seed(&lots->random, seed);
    draw_pool_crowd(&lots->random, &lots->crowd);
    lots->rules = (struct rules){.idempotency_ttl_ms = 300,
        .idempotency_count_max = SIZE_MAX,
        .dispense_ms = draw(&lots->random, 2) * 100,
        .choose_timeout_ms = 150,
        .line_max = 1 + draw(&lots->random, 10)};
}

/* A tick and up to `count` commands; false when memory ran out. */
static bool decide_by_lot(struct lots *lots, unsigned count)
{
    bool is_good = rules_tick(&lots->rules, world, lots->now_ms);
    for (unsigned i = 0; i < count && is_good; i++) {
        struct random_pool lot;
        struct command command;
        draw_pool_command(&lots->random, &lots->crowd, &lots->seen, lots->now_ms, &lot, &command);
        is_good = rules_decide(&lots->rules, world, &command, lots->now_ms);
        if (is_good)
            pool_seen_note(&lots->seen, &lot, &command);
    }
    return is_good;
}

static void any_batch_can_be_taken_back(void **state)
{
    enum { CROWDS = 10, BATCHES = 200 };
    (void)state;
    for (int i = 0; i < CROWDS * BATCHES; i++) {
        static struct lots lots;
        if (i % BATCHES == 0) {
            (void)drop_world(NULL);
            (void)make_world(NULL);
            lots_init(&lots, (uint64_t)i);
        }
        struct pool_seen seen_before = lots.seen;
        rollback_begin(&kit);
        lots.now_ms += draw(&lots.random, 60);
        assert_true(decide_by_lot(&lots, 1 + draw(&lots.random, 40)));
        if (draw(&lots.random, 2) == 0) {
            rollback_undo(&kit);
            lots.seen = seen_before;
        } else {
            rollback_accept(&kit);
        }
    }
}

static void any_allocation_may_fail(void **state)
{
    enum { BATCHES = 150 };
    struct lots lots;
    int failures = 0;
    (void)state;
    lots_init(&lots, 4712);
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

/* Two machines, one of them by another name, and a ticket that has ended since; false when memory is out. */
static bool refresh(struct world *shared, const struct machine *machine, const struct ticket *ticket)
{
    struct machine renamed = *machine;
    struct machine other = *machine;
    struct ticket ended = *ticket;
    renamed.name = SLICE("another name");
    other.id = machine->id + 1;
    ended.values.state = TICKET_LEFT;
    return world_refresh_machine(shared, &renamed) && world_refresh_machine(shared, &other) &&
           world_refresh_ticket(shared, ticket) && world_refresh_ticket(shared, &ended);
}

static void loading_says_when_memory_is_out(void **state)
{
    const struct machine machine = {.id = 3, .name = SLICE("m"), .values = {.is_draining = true}};
    const struct ticket ticket = {.id = 4, .is_attached = true, .values = {.until_ms = 9}};
    const struct pool_values values = {.next_machine_id = 9, .next_lease_id = 9, .next_ticket_id = 9};
    (void)state;
    bool is_done = false;
    for (int n = 1; !is_done; n++) {
        struct world loaded;
        world_init(&loaded, &world_kit_hash_key);
        world_share(&loaded);
        world_begin(&loaded);
        assert_true(world_refresh_pool(&loaded, &values, true));
        fail_call(n);
        is_done = world_load_machine(&loaded, &machine) && world_load_ticket(&loaded, &ticket) &&
                  refresh(&loaded, &machine, &ticket);
        assert_true(stop_failing() == !is_done);
        world_check_pool(&loaded);
        assert_true(!is_done || loaded.pool.machines_by_id.count == 2);
        assert_int_equal(list_is_empty(&loaded.pool.ended_tickets), !is_done);
        world_fini(&loaded);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_that_can_happen_to_a_pool_is_taken_back, make_world, drop_world),
        cmocka_unit_test_setup_teardown(numbers_of_the_pool_are_taken_back, make_world, drop_world),
        cmocka_unit_test_setup_teardown(the_list_of_changes_grows_at_any_length, make_world, drop_world),
        cmocka_unit_test_setup_teardown(any_batch_can_be_taken_back, make_world, drop_world),
        cmocka_unit_test_setup_teardown(any_allocation_may_fail, make_world, drop_world),
        cmocka_unit_test_setup_teardown(loading_says_when_memory_is_out, make_world, drop_world),
    };
    return cmocka_run_group_tests_name("core rollback of the pool", tests, NULL, NULL);
}
