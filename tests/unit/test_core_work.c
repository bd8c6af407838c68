/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work for later: what is due first is claimed first; a claim holds for its lease and no longer; only who has
 * claimed last may finish; a batch that is taken back leaves nothing; and whatever ends a sale leaves its
 * close-out.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "base/id.h"
#include "core/sale.h"
#include "core/world_work.h"
#include "world_kit.h"

enum { ITEMS_MAX = 8, LEASE_MS = 100 };

static const struct rules rules = {.idempotency_ttl_ms = 1000, .idempotency_count_max = SIZE_MAX};
static struct world world;
static struct work_item items[ITEMS_MAX];

static int make_world(void **state)
{
    (void)state;
    world_init(&world, &world_kit_hash_key);
    world_begin(&world);
    return 0;
}

static void drop_items(void)
{
    for (size_t i = 0; i < ITEMS_MAX; i++)
        work_item_fini(&items[i]);
}

static int drop_world(void **state)
{
    (void)state;
    drop_items();
    world_fini(&world);
    return 0;
}

static void next_batch(void)
{
    world_accept(&world);
    world_begin(&world);
}

static int64_t add(const char *subject, int64_t due_ms)
{
    struct work *work =
        world_add_work(&world, WORK_SALE_CLOSEOUT, slice_cstr(subject), SLICE("body"), due_ms, 7);
    assert_non_null(work);
    return work->id;
}

static enum result order(enum command_kind kind, struct work_order *work, int64_t now_ms)
{
    struct command command = {.kind = kind, .work = work};
    assert_true(rules_decide(&rules, &world, &command, now_ms));
    return command.outcome.result;
}

static size_t claim(size_t count_max, int64_t now_ms)
{
    drop_items();
    struct work_order work = {
        .kind = WORK_SALE_CLOSEOUT, .count_max = count_max, .lease_ms = LEASE_MS, .items = items};
    assert_int_equal(order(COMMAND_WORK_CLAIM, &work, now_ms), RESULT_OK);
    return work.count;
}

static enum result finish(int64_t id, int64_t token)
{
    struct work_order work = {.id = id, .token = token};
    return order(COMMAND_WORK_FINISH, &work, 0);
}

static enum result postpone(int64_t id, int64_t token, int64_t due_ms)
{
    struct work_order work = {.id = id, .token = token, .due_ms = due_ms};
    return order(COMMAND_WORK_POSTPONE, &work, 0);
}

/* Work is done out of order, twice at a time, or before it is due. */
static void what_is_due_first_is_claimed_first(void **state)
{
    (void)state;
    int64_t late = add("late", 30);
    int64_t early = add("early", 10);
    int64_t early_too = add("early too", 10);
    int64_t future = add("future", 31);
    assert_int_equal(claim(ITEMS_MAX, 9), 0);
    assert_int_equal(claim(2, 30), 2);
    assert_int_equal(items[0].id, early);
    assert_int_equal(items[1].id, early_too);
    assert_int_equal(claim(ITEMS_MAX, 30), 1);
    assert_int_equal(items[0].id, late);
    assert_int_equal(items[0].token, 1);
    assert_int_equal(items[0].due_ms, 30 + LEASE_MS);
    assert_int_equal(items[0].created_ms, 7);
    assert_true(slice_eq(items[0].subject, SLICE("late")));
    assert_true(slice_eq(items[0].body, SLICE("body")));
    assert_int_equal(claim(ITEMS_MAX, 30), 0);
    assert_int_equal(claim(ITEMS_MAX, 31), 1);
    assert_int_equal(items[0].id, future);
}

/* The work of a dead node is never done, or two that think it theirs both finish it. */
static void a_lease_that_ran_out_passes_the_work_on(void **state)
{
    (void)state;
    int64_t id = add("A", 0);
    assert_int_equal(claim(1, 0), 1);
    next_batch();
    assert_int_equal(claim(1, LEASE_MS - 1), 0);
    assert_int_equal(claim(1, LEASE_MS), 1);
    assert_int_equal(items[0].token, 2);
    next_batch();
    assert_int_equal(finish(id, 1), RESULT_WORK_NOT_YOURS);
    assert_int_equal(postpone(id, 1, 5), RESULT_WORK_NOT_YOURS);
    assert_int_equal(world.change_count, 0);
    assert_int_equal(finish(id, 2), RESULT_OK);
    assert_int_equal(finish(id, 2), RESULT_WORK_NOT_YOURS);
    next_batch();
    assert_int_equal(finish(id, 2), RESULT_WORK_NOT_YOURS);
    assert_int_equal(claim(1, INT64_MAX - LEASE_MS), 0);
    assert_int_equal(world.work_by_id.count, 0);
}

/* A lease that ran out, but that nobody else has taken, is still good for finishing. */
static void who_is_late_may_finish_when_nobody_came(void **state)
{
    (void)state;
    int64_t id = add("A", 0);
    assert_int_equal(claim(1, 0), 1);
    assert_int_equal(finish(id, 1), RESULT_OK);
}

static void what_is_postponed_comes_again(void **state)
{
    (void)state;
    int64_t id = add("A", 0);
    assert_int_equal(claim(1, 0), 1);
    assert_int_equal(postpone(id, 1, 500), RESULT_OK);
    next_batch();
    assert_int_equal(claim(1, 499), 0);
    assert_int_equal(claim(1, 500), 1);
    assert_int_equal(items[0].token, 2);
}

/* --- the ends of sales --- */

static void decide(struct command command, enum result expected, int64_t now_ms)
{
    assert_true(rules_decide(&rules, &world, &command, now_ms));
    assert_int_equal(command.outcome.result, expected);
}

static void assert_closeout(const char *sku, int64_t id_first, int64_t id_last, int64_t now_ms)
{
    struct sale_closeout closeout;
    assert_int_equal(claim(ITEMS_MAX, now_ms), 1);
    assert_true(slice_eq(items[0].subject, slice_cstr(sku)));
    assert_true(sale_closeout_read(items[0].body, &closeout));
    assert_int_equal(closeout.product_id, world_product(&world, slice_cstr(sku))->id);
    assert_int_equal(closeout.purchase_id_first, id_first);
    assert_int_equal(closeout.purchase_id_last, id_last);
}

/* A sale ends one way or another and nobody is told to prove it, or twice. */
static void whatever_ends_a_sale_adds_its_closeout(void **state)
{
    (void)state;
    decide(make_create("SOLD", 2, 10, 100), RESULT_OK, 1);
    decide(make_create("TIME", 2, 10, 100), RESULT_OK, 1);
    decide(make_create("LATE", 2, 10, 100), RESULT_OK, 1);
    assert_true(rules_tick(&rules, &world, 10));
    decide(make_purchase("TIME", "ann"), RESULT_OK, 11);
    decide(make_purchase("SOLD", "ann"), RESULT_OK, 11);
    assert_int_equal(world.work_by_id.count, 0);
    decide(make_purchase("SOLD", "bob"), RESULT_OK, 12);
    assert_closeout("SOLD", 2, 3, 12);
    decide(make_purchase("LATE", "ann"), RESULT_SALE_NOT_ACTIVE, 100);
    assert_closeout("LATE", 0, 0, 100);
    assert_true(rules_tick(&rules, &world, 100));
    assert_closeout("TIME", 1, 1, 100);
    assert_true(rules_tick(&rules, &world, 101));
    assert_int_equal(world.work_by_id.count, 3);
}

/* In a shared world the ids that the store has reserved are not enough for all that ends: it waits, none is
 * lost. */
static void a_sale_waits_with_its_end_for_an_id(void **state)
{
    (void)state;
    decide(make_create("A", 2, 10, 100), RESULT_OK, 1);
    decide(make_create("B", 2, 10, 100), RESULT_OK, 1);
    assert_true(rules_tick(&rules, &world, 10));
    world.work_id_end = world.next_work_id + 1;
    assert_true(rules_tick(&rules, &world, 100));
    assert_int_equal(world.work_by_id.count, 1);
    assert_true(world.next_edge_ms <= 100);
    world.work_id_end++;
    assert_true(rules_tick(&rules, &world, 100));
    assert_int_equal(world.work_by_id.count, 2);
    assert_int_equal(world.next_edge_ms, INT64_MAX);
}

static void a_body_of_another_shape_is_refused(void **state)
{
    struct sale_closeout closeout;
    (void)state;
    assert_true(sale_closeout_read(SLICE("1 2 3"), &closeout));
    static const char *const bodies[] = {"", "1", "1 2", "1 2 x", "1  2 3", "1 2 3 4", " 1 2 3"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        assert_false(sale_closeout_read(slice_cstr(bodies[i]), &closeout));
}

/* --- by lot, beside a model that is a plain table --- */

enum { ROWS = 40, STEPS = 20000 };

struct row {
    bool is_there;
    int64_t due_ms;
    int64_t token;
};

static struct row rows[STEPS + 1]; /* by id */
static struct row rows_before[STEPS + 1];

static unsigned draw(struct id_source *random, uint64_t limit)
{
    return (unsigned)(id_next(random) % limit);
}

static int64_t first_due(void)
{
    int64_t best = 0;
    for (int64_t id = 1; id < world.next_work_id; id++) {
        if (rows[id].is_there && (best == 0 || rows[id].due_ms < rows[best].due_ms))
            best = id;
    }
    return best;
}

static void claim_by_lot(struct id_source *random, int64_t now_ms)
{
    size_t count_max = 1 + draw(random, 3);
    size_t count = claim(count_max, now_ms);
    for (size_t i = 0; i < count_max; i++) {
        int64_t id = first_due();
        bool is_due = id != 0 && rows[id].due_ms <= now_ms;
        assert_true(is_due == (i < count));
        if (!is_due)
            return;
        rows[id].due_ms = now_ms + LEASE_MS;
        assert_int_equal(items[i].id, id);
        assert_int_equal(items[i].token, ++rows[id].token);
    }
}

static void end_by_lot(struct id_source *random, int64_t now_ms)
{
    int64_t id = world.next_work_id - 1 - draw(random, ROWS);
    int64_t token = draw(random, 4);
    bool is_ours = id > 0 && rows[id].is_there && rows[id].token == token;
    bool is_finish = draw(random, 2) == 0;
    int64_t due_ms = now_ms + draw(random, 300);
    enum result result = is_finish ? finish(id, token) : postpone(id, token, due_ms);
    assert_int_equal(result, is_ours ? RESULT_OK : RESULT_WORK_NOT_YOURS);
    if (is_ours && is_finish)
        rows[id].is_there = false;
    else if (is_ours)
        rows[id].due_ms = due_ms;
}

static void step_by_lot(struct id_source *random, int64_t now_ms)
{
    unsigned lot = draw(random, 10);
    if (lot < 3) {
        int64_t due_ms = now_ms + draw(random, 500);
        rows[add("S", due_ms)] = (struct row){.is_there = true, .due_ms = due_ms};
    } else if (lot < 6) {
        claim_by_lot(random, now_ms);
    } else {
        end_by_lot(random, now_ms);
    }
}

/* Batches of random orders, every third taken back: the world is what a plain table says. */
static void any_orders_do_what_a_plain_table_says(void **state)
{
    struct id_source random;
    struct strbuf before;
    struct strbuf after;
    (void)state;
    id_source_init_seed(&random, 20261121);
    strbuf_init_heap(&before, 1 << 22);
    strbuf_init_heap(&after, 1 << 22);
    memset(rows, 0, sizeof rows);
    int64_t now_ms = 1000;
    for (int batch = 0; batch < 1500; batch++) {
        next_batch();
        memcpy(rows_before, rows, sizeof rows);
        world_dump(&world, &before);
        for (unsigned i = draw(&random, 12); i > 0; i--)
            step_by_lot(&random, now_ms);
        now_ms += draw(&random, 60);
        if (batch % 3 != 0)
            continue;
        world_rollback(&world);
        memcpy(rows, rows_before, sizeof rows);
        world_dump(&world, &after);
        assert_true(slice_eq(strbuf_slice(&before), strbuf_slice(&after)));
    }
    strbuf_fini(&before);
    strbuf_fini(&after);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, drop_world)
    const struct CMUnitTest tests[] = {
        TEST(what_is_due_first_is_claimed_first),
        TEST(a_lease_that_ran_out_passes_the_work_on),
        TEST(who_is_late_may_finish_when_nobody_came),
        TEST(what_is_postponed_comes_again),
        TEST(whatever_ends_a_sale_adds_its_closeout),
        TEST(a_sale_waits_with_its_end_for_an_id),
        TEST(a_body_of_another_shape_is_refused),
        TEST(any_orders_do_what_a_plain_table_says),
    };
    return cmocka_run_group_tests_name("core work", tests, NULL, NULL);
}
