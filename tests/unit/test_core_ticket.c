/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The waiting line (vending contract, what we do better, 4 and 5): first come, first served, by whatever
 * means a machine becomes free; who leaves or lets his time pass is out; nobody without a ticket is served
 * while somebody waits. Each line before a test says what is wrong if it fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/ticket.h"
#include "pool_kit.h"

enum { LATER_MS = 1000000 };

static struct world world;
static struct pool_kit pool;

static int make_world(void **state)
{
    (void)state;
    world_init(&world, &world_kit_hash_key);
    world_begin(&world);
    pool_kit_init(&pool, &world);
    assert_int_equal(ask_product(&pool, "T-1", "tea", 1000), RESULT_OK);
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

/* Machines that are all in use. */
static void make_busy(int count)
{
    for (int i = 1; i <= count; i++) {
        assert_int_equal(ask_machine(&pool, "m"), i);
        assert_int_equal(ask_take(&pool), RESULT_OK);
    }
}

/* So many join the line, at its end. */
static void wait_in_line(int count)
{
    for (int i = 0; i < count; i++) {
        size_t waiting = world.pool.tickets_by_id.count;
        assert_int_equal(ask_ticket(&pool, LATER_MS), RESULT_TICKET_WAITS);
        assert_int_equal(pool.request.position, waiting + 1);
    }
}

static void assert_holder(int64_t machine_id, int64_t ticket_id)
{
    assert_int_equal(machine_now(&pool, machine_id)->status, MACHINE_CHOOSING);
    assert_int_equal(machine_now(&pool, machine_id)->lease.ticket_id, ticket_id);
    assert_null(world_ticket(&world, ticket_id));
}

static void assert_first(int64_t ticket_id)
{
    const struct ticket *first = world_first_ticket(&world);
    assert_int_equal(first == NULL ? 0 : first->id, ticket_id);
}

/* What has become of the ticket in this batch. */
static const struct ticket_values *end_of(int64_t ticket_id)
{
    for (size_t i = 0; i < world.change_count; i++) {
        const struct change *change = &world.changes[i];
        if (change->kind == CHANGE_TICKET_ENDED && change->ticket.ticket->id == ticket_id)
            return &change->ticket.ticket->values;
    }
    return NULL;
}

/* The line is no line. */
static void first_come_first_served(void **state)
{
    (void)state;
    make_busy(3);
    wait_in_line(5);
    assert_int_equal(ask_reset(&pool, 2, 0), RESULT_OK);
    assert_int_equal(pool.request.machine.status, MACHINE_IDLE); /* as it was reset, not as it was given on */
    assert_holder(2, 1);
    assert_int_equal(machine_now(&pool, 2)->lease.id, 4);
    assert_int_equal(ask_reset(&pool, 3, 0), RESULT_OK);
    assert_holder(3, 2);
    assert_int_equal(ask_reset(&pool, 2, 0), RESULT_OK);
    assert_holder(2, 3);
    assert_first(4);
    assert_int_equal(machine_now(&pool, 2)->lease.id, 6); /* leases ascend with tickets */
}

/* Who comes without a ticket, or at the same moment, is served before one who waits. */
static void nobody_is_overtaken(void **state)
{
    (void)state;
    make_busy(1);
    assert_int_equal(ask_take(&pool), RESULT_NO_IDLE_MACHINE);
    wait_in_line(1);
    assert_int_equal(ask_take_or_wait(&pool, LATER_MS), RESULT_TICKET_WAITS);
    assert_int_equal(pool.request.ticket_id, 2);
    assert_int_equal(pool.request.position, 2);
    assert_true(world_ticket(&world, 2)->is_attached);
    assert_false(world_ticket(&world, 1)->is_attached);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(ask_take(&pool), RESULT_NO_IDLE_MACHINE);
    assert_int_equal(ask_ticket(&pool, LATER_MS), RESULT_TICKET_WAITS);
    assert_int_equal(pool.request.position, 2);
    assert_holder(1, 1);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_holder(1, 2);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_holder(1, 3);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(ask_take(&pool), RESULT_OK); /* nobody waits any more */
    assert_int_equal(machine_now(&pool, 1)->lease.ticket_id, 0);
}

/* A ticket taken while a machine is idle waits for nothing, or its machine goes to another. */
static void a_ticket_is_served_at_once_when_it_can_be(void **state)
{
    (void)state;
    assert_int_equal(ask_machine(&pool, "m"), 1);
    next_batch();
    assert_int_equal(ask_ticket(&pool, LATER_MS), RESULT_TICKET_WAITS);
    assert_int_equal(pool.request.ticket_id, 1);
    assert_int_equal(pool.request.position, 0);
    assert_holder(1, 1);
    assert_non_null(end_of(1));
    assert_int_equal(end_of(1)->state, TICKET_SERVED);
    assert_int_equal(end_of(1)->machine_id, 1);
    assert_int_equal(end_of(1)->end_lease_id, 1);
    assert_int_equal(end_of(1)->ended_ms, 1000);
    assert_int_equal(ask_ticket(&pool, LATER_MS), RESULT_TICKET_WAITS);
    assert_int_equal(pool.request.position, 1);
    /* Who would wait for a machine, and finds one, has it without a ticket. */
    assert_int_equal(ask_machine(&pool, "m"), 2);
    assert_holder(2, 2);
    assert_int_equal(ask_machine(&pool, "m"), 3);
    assert_int_equal(ask_take_or_wait(&pool, LATER_MS), RESULT_OK);
    assert_int_equal(pool.request.machine.id, 3);
    assert_int_equal(pool.request.ticket_id, 0);
    assert_int_equal(machine_now(&pool, 3)->lease.ticket_id, 0);
}

/* A line without bound, or a place that nobody has any more is not free. */
static void the_line_has_a_bound(void **state)
{
    (void)state;
    pool.rules.line_max = 3;
    make_busy(1);
    wait_in_line(3);
    assert_int_equal(ask_ticket(&pool, LATER_MS), RESULT_LINE_FULL);
    assert_int_equal(ask_take_or_wait(&pool, LATER_MS), RESULT_LINE_FULL);
    assert_int_equal(pool.request.ticket_id, 0);
    assert_int_equal(ask_take(&pool), RESULT_NO_IDLE_MACHINE);
    assert_int_equal(ask_leave(&pool, 2), RESULT_OK);
    assert_int_equal(ask_take_or_wait(&pool, LATER_MS), RESULT_TICKET_WAITS);
    assert_int_equal(pool.request.ticket_id, 4); /* a refusal takes no number */
    assert_int_equal(pool.request.position, 3);
    assert_int_equal(ask_ticket(&pool, LATER_MS), RESULT_LINE_FULL);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(ask_ticket(&pool, LATER_MS), RESULT_TICKET_WAITS);
}

/* --- time --- */

/* Who is not there any more is waited for, or who is still there is put out. */
static void a_ticket_expires_unless_it_is_kept(void **state)
{
    (void)state;
    make_busy(1);
    next_batch();
    assert_int_equal(ask_ticket(&pool, 5000), RESULT_TICKET_WAITS);
    assert_int_equal(ask_take_or_wait(&pool, 4000), RESULT_TICKET_WAITS);
    assert_int_equal(ask_ticket(&pool, 6000), RESULT_TICKET_WAITS);
    assert_int_equal(rules_next_tick_ms(&pool.rules, &world), 4000);
    assert_int_equal(ask_keep(&pool, 1, 8000), RESULT_OK);
    pool_tick(&pool, 3999);
    assert_null(end_of(2));
    pool_tick(&pool, 4000);
    assert_int_equal(end_of(2)->state, TICKET_EXPIRED);
    assert_int_equal(end_of(2)->machine_id, 0);
    assert_int_equal(end_of(2)->end_lease_id, world.pool.values.next_lease_id);
    assert_int_equal(end_of(2)->ended_ms, 4000);
    pool_tick(&pool, 7999);
    assert_int_equal(end_of(3)->state, TICKET_EXPIRED);
    assert_first(1);
    assert_int_equal(ask_keep(&pool, 1, 7999), RESULT_OK); /* never earlier than it was promised */
    assert_int_equal(world_ticket(&world, 1)->values.until_ms, 8000);
    pool_tick(&pool, 8000);
    assert_first(0);
    assert_int_equal(ask_keep(&pool, 1, 9000), RESULT_TICKET_NOT_WAITING);
    assert_int_equal(ask_keep(&pool, 77, 9000), RESULT_TICKET_NOT_WAITING);
}

/* A machine that becomes free goes to one who went at the same moment. */
static void who_expires_is_not_served_in_the_same_tick(void **state)
{
    (void)state;
    make_busy(1);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 1), RESULT_OK); /* done at 6000 */
    assert_int_equal(ask_ticket(&pool, 6000), RESULT_TICKET_WAITS);
    wait_in_line(1);
    pool_tick(&pool, 6000);
    assert_holder(1, 2);
    assert_int_equal(machine_now(&pool, 1)->usage_count, 1);
    assert_int_equal(machine_now(&pool, 1)->due_ms, 66000); /* its user has all the time to choose */
}

/* Several machines are done at once, and the line is served in another order than it stands. */
static void a_tick_serves_as_many_as_there_are_machines(void **state)
{
    (void)state;
    make_busy(3);
    assert_int_equal(ask_choose(&pool, 3, "T-1", 1), RESULT_OK);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 1), RESULT_OK);
    wait_in_line(4);
    pool_tick(&pool, 61000); /* 1 and 3 were done at 6000, 2 has timed out */
    assert_holder(1, 1);
    assert_holder(3, 2);
    assert_holder(2, 3);
    assert_first(4);
}

/* A tick that comes late turns away somebody for whom a machine came free in time, or serves who had gone. */
static void a_late_tick_does_what_was_due_in_its_order(void **state)
{
    (void)state;
    make_busy(2);
    assert_int_equal(ask_choose(&pool, 1, "T-1", 1), RESULT_OK); /* done at 6000 */
    assert_int_equal(ask_ticket(&pool, 5999), RESULT_TICKET_WAITS);
    assert_int_equal(ask_ticket(&pool, 6001), RESULT_TICKET_WAITS);
    assert_int_equal(ask_ticket(&pool, 60999), RESULT_TICKET_WAITS);
    wait_in_line(1);
    pool_tick(&pool, 62000); /* machine 2's user should have chosen by 61000 */
    assert_holder(1, 2);
    assert_holder(2, 4);
    assert_first(0);
}

/* A machine that is freed by hand goes to somebody whose time is over and whom no tick has ended yet. */
static void who_has_gone_is_passed_over(void **state)
{
    (void)state;
    make_busy(1);
    assert_int_equal(ask_ticket(&pool, 2000), RESULT_TICKET_WAITS);
    wait_in_line(1);
    pool.now_ms = 2000;
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_holder(1, 2);
}

/* Thousands who expire at once hold the engine up, or a machine goes to one of them on the way. */
static void many_expire_in_portions(void **state)
{
    enum { COUNT = RULES_POOL_DUE_PER_TICK_MAX + 20 };
    (void)state;
    pool.rules.line_max = COUNT + 1;
    make_busy(1);
    struct pool_request request = {.until_ms = 2000};
    struct command join = {.kind = COMMAND_TICKET_TAKE, .pool = &request};
    for (int i = 0; i < COUNT; i++)
        assert_true(rules_decide(&pool.rules, &world, &join, 1000));
    wait_in_line(1);
    pool_tick(&pool, 61000);
    assert_int_equal(world.pool.tickets_by_id.count, COUNT + 1 - RULES_POOL_DUE_PER_TICK_MAX);
    assert_int_equal(machine_now(&pool, 1)->lease.ticket_id, 0);
    assert_true(rules_next_tick_ms(&pool.rules, &world) <= 61000);
    pool_tick(&pool, 61000);
    assert_holder(1, COUNT + 1);
}

/* --- leaving --- */

/* Who has left is served, or loses a machine that he has. */
static void who_leaves_is_out(void **state)
{
    (void)state;
    make_busy(1);
    wait_in_line(3);
    next_batch();
    assert_int_equal(ask_leave(&pool, 2), RESULT_OK);
    assert_int_equal(end_of(2)->state, TICKET_LEFT);
    assert_int_equal(end_of(2)->machine_id, 0);
    assert_int_equal(ask_leave(&pool, 2), RESULT_TICKET_NOT_WAITING);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_holder(1, 1);
    assert_int_equal(
        ask_leave(&pool, 1), RESULT_TICKET_NOT_WAITING); /* he loses the place, not the machine */
    assert_holder(1, 1);
    assert_int_equal(ask_keep(&pool, 1, LATER_MS + 1), RESULT_TICKET_NOT_WAITING);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_holder(1, 3);
    assert_int_equal(ask_leave(&pool, 77), RESULT_TICKET_NOT_WAITING);
}

static enum result tell_of_many(enum command_kind kind, const int64_t *ids, size_t count, int64_t until_ms)
{
    pool.request = (struct pool_request){.ticket_ids = ids, .ticket_count = count, .until_ms = until_ms};
    struct command command = {.kind = kind, .pool = &pool.request};
    assert_true(rules_decide(&pool.rules, &world, &command, pool.now_ms));
    world_check_pool(&world);
    return command.outcome.result;
}

/* One of many that has ended spoils it for the others. */
static void many_are_kept_and_leave_at_once(void **state)
{
    static const int64_t ids[] = {4, 1, 99, 2, 4};
    static const int64_t gone[] = {1, 99};
    (void)state;
    make_busy(1);
    wait_in_line(4);
    assert_int_equal(ask_leave(&pool, 1), RESULT_OK);
    assert_int_equal(tell_of_many(COMMAND_TICKET_KEEP, ids, 5, LATER_MS + 5), RESULT_OK);
    assert_int_equal(world_ticket(&world, 2)->values.until_ms, LATER_MS + 5);
    assert_int_equal(world_ticket(&world, 3)->values.until_ms, LATER_MS);
    assert_int_equal(world_ticket(&world, 4)->values.until_ms, LATER_MS + 5);
    assert_int_equal(tell_of_many(COMMAND_TICKET_KEEP, gone, 2, LATER_MS + 9), RESULT_TICKET_NOT_WAITING);
    assert_int_equal(tell_of_many(COMMAND_TICKET_LEAVE, ids, 5, 0), RESULT_OK);
    assert_int_equal(tell_of_many(COMMAND_TICKET_LEAVE, ids, 5, 0), RESULT_TICKET_NOT_WAITING);
    assert_int_equal(tell_of_many(COMMAND_TICKET_LEAVE, ids, 0, 0), RESULT_TICKET_NOT_WAITING);
    assert_first(3);
    assert_int_equal(world.pool.tickets_by_id.count, 1);
}

/* --- the pool changes while people wait --- */

/* New machines stand idle beside a line. */
static void machines_added_serve_the_line_at_once(void **state)
{
    (void)state;
    wait_in_line(2); /* before there is any machine at all */
    assert_int_equal(ask_machine(&pool, "m"), 1);
    assert_int_equal(pool.request.machine.status, MACHINE_IDLE); /* as it was made */
    assert_holder(1, 1);
    assert_int_equal(ask_machine(&pool, "m"), 2);
    assert_holder(2, 2);
    assert_int_equal(ask_machine(&pool, "m"), 3);
    assert_int_equal(machine_now(&pool, 3)->status, MACHINE_IDLE);
}

/* A drained machine serves the line, or one that takes users again does not. */
static void draining_keeps_from_the_line(void **state)
{
    (void)state;
    make_busy(2);
    wait_in_line(2);
    assert_int_equal(ask_drain(&pool, 1, true), RESULT_OK);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(machine_now(&pool, 1)->status, MACHINE_IDLE);
    assert_first(1);
    assert_int_equal(ask_drain(&pool, 1, false), RESULT_OK);
    assert_int_equal(pool.request.machine.status, MACHINE_IDLE);
    assert_holder(1, 1);
    assert_int_equal(ask_drain(&pool, 1, false), RESULT_OK); /* again: it changes nothing for the line */
    assert_first(2);
}

/* Who waits is lost with a machine, or is served with one that is gone. */
static void the_line_outlives_its_machines(void **state)
{
    (void)state;
    make_busy(2);
    wait_in_line(2);
    assert_int_equal(ask_delete(&pool, 1), RESULT_OK);
    assert_int_equal(ask_delete(&pool, 2), RESULT_OK);
    assert_first(1);
    pool_tick(&pool, 61000);
    assert_int_equal(world.pool.tickets_by_id.count, 2);
    assert_int_equal(ask_machine(&pool, "m"), 3);
    assert_holder(3, 1);
}

/* A choice that needs no time to dispense does not serve the next one. */
static void a_quick_machine_serves_the_line_with_the_choice(void **state)
{
    (void)state;
    pool.rules.dispense_ms = 0;
    make_busy(1);
    wait_in_line(3);
    for (int64_t ticket = 1; ticket <= 3; ticket++) {
        assert_int_equal(ask_choose(&pool, 1, "T-1", 1), RESULT_OK);
        assert_holder(1, ticket);
        assert_int_equal(machine_now(&pool, 1)->usage_count, ticket);
    }
}

/* --- what the estimate is made of --- */

static void the_average_follows_the_leases(void **state)
{
    (void)state;
    make_busy(1);
    assert_int_equal(world.pool.lease_ms, 0);
    pool.now_ms = 1800;
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(world.pool.lease_ms, 800);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    pool.now_ms = 1800 + 1600;
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(world.pool.lease_ms, 900);
    assert_int_equal(ask_take(&pool), RESULT_OK);
    pool.now_ms = 1000; /* the clock was set back */
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK);
    assert_int_equal(world.pool.lease_ms, 900);
}

/* By these numbers an auditor tells from the rows who was overtaken. */
static void a_ticket_says_which_leases_were_given_out_beside_it(void **state)
{
    (void)state;
    make_busy(2); /* leases 1 and 2 */
    wait_in_line(1);
    assert_int_equal(world_ticket(&world, 1)->first_lease_id, 3);
    wait_in_line(1);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK); /* 3, to the first */
    wait_in_line(1);
    assert_int_equal(world_ticket(&world, 3)->first_lease_id, 4);
    next_batch();
    assert_int_equal(ask_leave(&pool, 3), RESULT_OK);
    assert_int_equal(end_of(3)->end_lease_id, 4);
    assert_int_equal(ask_reset(&pool, 1, 0), RESULT_OK); /* 4, to the second */
    assert_int_equal(end_of(2)->end_lease_id, 4);
    assert_int_equal(end_of(2)->machine_id, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, drop_world)
    const struct CMUnitTest tests[] = {
        TEST(first_come_first_served),
        TEST(nobody_is_overtaken),
        TEST(a_ticket_is_served_at_once_when_it_can_be),
        TEST(the_line_has_a_bound),
        TEST(a_ticket_expires_unless_it_is_kept),
        TEST(who_expires_is_not_served_in_the_same_tick),
        TEST(a_tick_serves_as_many_as_there_are_machines),
        TEST(many_expire_in_portions),
        TEST(a_late_tick_does_what_was_due_in_its_order),
        TEST(who_has_gone_is_passed_over),
        TEST(who_leaves_is_out),
        TEST(many_are_kept_and_leave_at_once),
        TEST(machines_added_serve_the_line_at_once),
        TEST(draining_keeps_from_the_line),
        TEST(the_line_outlives_its_machines),
        TEST(a_quick_machine_serves_the_line_with_the_choice),
        TEST(the_average_follows_the_leases),
        TEST(a_ticket_says_which_leases_were_given_out_beside_it),
    };
    return cmocka_run_group_tests_name("core ticket", tests, NULL, NULL);
}
