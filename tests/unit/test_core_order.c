/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders and their payments: the same order twice is one; who waits is paid first and nobody starves; what
 * cannot be paid in time is never begun; what may have been charged is never cancelled; a final order is told
 * once by each channel; and ten thousand steps drawn by lot, some of them taken back, agree with a model.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/order.h"
#include "core/world_work.h"
#include "random_command.h"
#include "world_kit.h"

enum { ITEMS_MAX = 8, LEASE_MS = 1000, PAYMENT_MS = 300 };

static const struct rules quiet = {.idempotency_ttl_ms = 1000, .idempotency_count_max = SIZE_MAX};
static const struct rules telling = {.idempotency_ttl_ms = 1000,
    .idempotency_count_max = SIZE_MAX,
    .notifies_by_webhook = true,
    .notifies_by_email = true};

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

static struct order_request make_request(const char *order_id)
{
    return (struct order_request){
        .order_id = slice_cstr(order_id),
        .customer_id = 7,
        .items = SLICE("[]"),
        .amount_minor = 1999,
        .priority = ORDER_PRIORITY_DEFAULT,
        .payment_body = SLICE("{}"),
    };
}

static struct outcome place(const struct order_request *request, int64_t now_ms)
{
    struct command command = {.kind = COMMAND_ORDER_PLACE, .order = request};
    assert_true(rules_decide(&quiet, &world, &command, now_ms));
    return command.outcome;
}

static struct outcome place_plain(const char *order_id, int64_t now_ms)
{
    struct order_request request = make_request(order_id);
    return place(&request, now_ms);
}

static struct outcome cancel(const char *order_id, int64_t now_ms)
{
    struct order_request request = make_request(order_id);
    struct command command = {.kind = COMMAND_ORDER_CANCEL, .order = &request};
    assert_true(rules_decide(&quiet, &world, &command, now_ms));
    return command.outcome;
}

static size_t claim(enum work_kind kind, size_t count_max, int64_t now_ms)
{
    drop_items();
    struct work_order work = {
        .kind = kind, .count_max = count_max, .lease_ms = LEASE_MS, .payment_ms = PAYMENT_MS, .items = items};
    struct command command = {.kind = COMMAND_WORK_CLAIM, .work = &work};
    assert_true(rules_decide(&quiet, &world, &command, now_ms));
    return work.count;
}

static enum result tell(const struct rules *rules, enum command_kind kind, const struct work_item *item,
    enum work_report report, int64_t now_ms)
{
    struct work_order work = {
        .kind = item->kind, .id = item->id, .token = item->token, .due_ms = now_ms + 50, .report = report};
    struct command command = {.kind = kind, .work = &work};
    assert_true(rules_decide(rules, &world, &command, now_ms));
    return command.outcome.result;
}

static enum order_status status_of(const char *order_id)
{
    const struct order *order = world_order(&world, slice_cstr(order_id));
    assert_non_null(order);
    return order->values.status;
}

static size_t count_changes(enum change_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < world.change_count; i++)
        count += world.changes[i].kind == kind;
    return count;
}

/* A client that repeats is charged twice, or another order hides behind a known id. */
static void the_same_order_twice_is_one(void **state)
{
    (void)state;
    struct outcome first = place_plain("A", 100);
    assert_int_equal(first.result, RESULT_OK);
    assert_false(first.is_replay);
    assert_int_equal(first.order_status, ORDER_PENDING);
    struct outcome again = place_plain("A", 200);
    assert_int_equal(again.result, RESULT_OK);
    assert_true(again.is_replay);
    assert_int_equal(again.number, first.number);
    assert_int_equal(again.time_ms, 100);
    struct order_request other = make_request("A");
    other.fingerprint[0] = 1;
    assert_int_equal(place(&other, 200).result, RESULT_ORDER_ID_TAKEN);
    assert_int_equal(world.orders_by_id.count, 1);
    assert_int_equal(world.work_by_id.count, 1);
}

/* Claims in this order, as the last letters of the order ids. */
static void assert_order_of_payment(const char *expected, int64_t now_ms)
{
    for (const char *letter = expected; *letter != '\0'; letter++) {
        assert_int_equal(claim(WORK_PAYMENT, 1, now_ms), 1);
        assert_int_equal(items[0].subject.base[0], *letter);
    }
    assert_int_equal(claim(WORK_PAYMENT, 1, now_ms), 0);
}

/* A high priority waits behind a low one, arrival does not count among equals, or the low ones never come. */
static void priority_is_a_head_start_that_wears_off(void **state)
{
    (void)state;
    const int64_t step = ORDER_PRIORITY_HEAD_START_MS;
    struct order_request low = make_request("l");
    struct order_request high = make_request("h");
    struct order_request late = make_request("t");
    struct order_request sync = make_request("s");
    low.priority = 0;
    high.priority = 9;
    late.priority = 9;
    sync.is_sync = true;
    sync.deadline_ms = 20 * step;
    place(&low, 10 * step);
    place_plain("a", 10 * step + 1);
    place_plain("b", 10 * step + 1);
    place(&high, 10 * step + 2);
    place(&sync, 10 * step + 3);
    place(&late, 19 * step + 1); /* nine steps after the low one: too late to overtake it */
    assert_order_of_payment("shablt", 19 * step + 2);
}

/* A customer pays for an answer that can no longer reach him, or one that could be in time is turned away. */
static void what_cannot_be_paid_in_time_is_not_begun(void **state)
{
    (void)state;
    struct order_request request = make_request("A");
    request.is_sync = true;
    request.deadline_ms = 100 + PAYMENT_MS;
    place(&request, 0);
    request.order_id = SLICE("B");
    place(&request, 0);
    assert_int_equal(claim(WORK_PAYMENT, 1, 100), 1);
    assert_int_equal(claim(WORK_PAYMENT, 1, 101), 0);
    assert_int_equal(status_of("A"), ORDER_PROCESSING);
    assert_int_equal(status_of("B"), ORDER_CANCELLED);
    assert_int_equal(world.work_by_id.count, 1);
    next_batch();
    /* Its time is over, but it may have been charged: it is tried again all the same. */
    assert_int_equal(claim(WORK_PAYMENT, 1, 100 + LEASE_MS), 1);
    assert_int_equal(world_order(&world, SLICE("A"))->values.attempts, 2);
}

/* An order is cancelled although it may have been charged, or its payment stays behind. */
static void only_pending_orders_are_cancelled(void **state)
{
    (void)state;
    place_plain("A", 0);
    place_plain("B", 0);
    assert_int_equal(cancel("C", 1).result, RESULT_ORDER_NOT_FOUND);
    assert_int_equal(cancel("B", 1).result, RESULT_OK);
    assert_int_equal(cancel("B", 2).result, RESULT_ORDER_NOT_PENDING);
    assert_int_equal(claim(WORK_PAYMENT, ITEMS_MAX, 5), 1);
    assert_int_equal(cancel("A", 6).result, RESULT_ORDER_NOT_PENDING);
    assert_int_equal(tell(&quiet, COMMAND_WORK_POSTPONE, &items[0], REPORT_NOT_BEGUN, 7), RESULT_OK);
    assert_int_equal(status_of("A"), ORDER_PENDING);
    assert_int_equal(world_order(&world, SLICE("A"))->values.attempts, 0);
    assert_int_equal(cancel("A", 8).result, RESULT_OK);
    assert_int_equal(world.work_by_id.count, 0);
}

/* A given-back payment loses its place in the line, or forgets that it was tried before. */
static void what_was_not_begun_keeps_its_place(void **state)
{
    (void)state;
    place_plain("a", 10);
    place_plain("b", 20);
    assert_int_equal(claim(WORK_PAYMENT, 1, 30), 1);
    assert_int_equal(
        tell(&quiet, COMMAND_WORK_POSTPONE, &items[0], REPORT_NONE, 30), RESULT_OK); /* a retry */
    assert_int_equal(status_of("a"), ORDER_PROCESSING);
    assert_int_equal(claim(WORK_PAYMENT, 1, 30), 1);
    assert_int_equal(items[0].subject.base[0], 'b');
    assert_int_equal(tell(&quiet, COMMAND_WORK_POSTPONE, &items[0], REPORT_NOT_BEGUN, 30), RESULT_OK);
    assert_int_equal(claim(WORK_PAYMENT, 1, 80), 1);
    assert_int_equal(items[0].subject.base[0], 'b');
    assert_int_equal(claim(WORK_PAYMENT, 1, 80), 1);
    assert_int_equal(items[0].subject.base[0], 'a');
    assert_int_equal(tell(&quiet, COMMAND_WORK_POSTPONE, &items[0], REPORT_NOT_BEGUN, 81), RESULT_OK);
    assert_int_equal(status_of("a"), ORDER_PROCESSING); /* its first try may have charged */
    assert_int_equal(world_order(&world, SLICE("a"))->values.attempts, 1);
}

static void assert_end(enum work_report report, enum order_status status, enum payment_outcome outcome)
{
    char name[8];
    (void)snprintf(name, sizeof name, "O-%d", (int)report);
    place_plain(name, 0);
    assert_int_equal(claim(WORK_PAYMENT, 1, 10), 1);
    next_batch();
    assert_int_equal(tell(&quiet, COMMAND_WORK_FINISH, &items[0], report, 20), RESULT_OK);
    assert_int_equal(status_of(name), status);
    assert_int_equal(
        world_order(&world, slice_cstr(name))->values.paid_ms, status == ORDER_COMPLETED ? 20 : 0);
    assert_int_equal(count_changes(CHANGE_PAYMENT_ADDED), 1);
    for (size_t i = 0; i < world.change_count; i++) {
        if (world.changes[i].kind == CHANGE_PAYMENT_ADDED)
            assert_int_equal(world.changes[i].payment.outcome, outcome);
    }
    assert_int_equal(tell(&quiet, COMMAND_WORK_FINISH, &items[0], report, 21), RESULT_WORK_NOT_YOURS);
    next_batch();
}

/* A paid order fails, a declined one is shipped, or an outcome is recorded twice. */
static void a_payment_ends_an_order_once(void **state)
{
    (void)state;
    assert_end(REPORT_PAID, ORDER_COMPLETED, PAYMENT_PAID);
    assert_end(REPORT_DECLINED, ORDER_FAILED, PAYMENT_DECLINED);
    assert_end(REPORT_ABANDONED, ORDER_FAILED, PAYMENT_ABANDONED);
    assert_int_equal(world.work_by_id.count, 0);
}

/* A customer is not told, told of the wrong thing, or for ever. */
static void a_final_order_is_told_once_by_each_channel(void **state)
{
    (void)state;
    struct order_request request = make_request("quote\"d");
    request.email = SLICE("ann@example.com");
    place(&request, 0);
    place_plain("B", 0);
    assert_int_equal(claim(WORK_PAYMENT, 2, 10), 2);
    assert_int_equal(tell(&telling, COMMAND_WORK_FINISH, &items[0], REPORT_PAID, 1700000000123), RESULT_OK);
    assert_int_equal(tell(&telling, COMMAND_WORK_FINISH, &items[1], REPORT_DECLINED, 30), RESULT_OK);
    assert_int_equal(count_changes(CHANGE_NOTIFICATION_ADDED), 3); /* the second has no address */
    assert_int_equal(claim(WORK_EMAIL, ITEMS_MAX, 1700000000123), 1);
    assert_true(slice_eq(items[0].subject, SLICE("ann@example.com")));
    assert_int_equal(claim(WORK_WEBHOOK, ITEMS_MAX, 1700000000123), 2);
    assert_true(slice_eq(items[1].body,
        SLICE(
            "{\"type\":\"order.completed\",\"timestamp\":\"2023-11-14T22:13:20.123Z\",\"data\":{\"order_id\":"
            "\"quote\\\"d\",\"customer_id\":7,\"status\":\"completed\",\"amount\":19.99,\"attempts\":1}}")));
    assert_non_null(memmem(items[0].body.base, items[0].body.len, ",\"reason\":\"declined\"}}", 22));
    next_batch();
    assert_int_equal(tell(&telling, COMMAND_WORK_FINISH, &items[1], REPORT_NONE, 40), RESULT_OK);
    assert_int_equal(count_changes(CHANGE_NOTIFICATION_ENDED), 1);
    assert_int_equal(world.changes[0].notification.id, items[1].id);
    /* The other one is given up, waits for a person, and is tried again then. */
    assert_int_equal(tell(&telling, COMMAND_WORK_POSTPONE, &items[0], REPORT_DEAD, 40), RESULT_OK);
    int64_t dead = items[0].id;
    assert_int_equal(claim(WORK_WEBHOOK, ITEMS_MAX, WORK_DEAD_MS - 1), 0);
    struct work_order revive = {.kind = WORK_WEBHOOK, .id = dead};
    struct command command = {.kind = COMMAND_WORK_REVIVE, .work = &revive};
    assert_true(rules_decide(&telling, &world, &command, 50));
    assert_int_equal(command.outcome.result, RESULT_OK);
    assert_true(rules_decide(&telling, &world, &command, 51));
    assert_int_equal(command.outcome.result, RESULT_WORK_NOT_DEAD);
    assert_int_equal(claim(WORK_WEBHOOK, ITEMS_MAX, 50), 1);
    assert_int_equal(items[0].id, dead);
}

/* --- steps by lot --- */

enum { STEPS = 10000, ORDERS_MAX = 60, PLACED_PERCENT = 40 };

struct model_order {
    bool is_there;
    enum order_status status;
    int64_t attempts;
    struct work_item claimed; /* by a worker of the test; id 0: by none */
};

static struct model_order model[ORDERS_MAX];
static struct model_order model_before[ORDERS_MAX];
static char names[ORDERS_MAX][16];

static void step_place(unsigned which, int64_t now_ms)
{
    struct model_order *order = &model[which];
    struct outcome outcome = place_plain(names[which], now_ms);
    assert_int_equal(outcome.is_replay, order->is_there);
    if (!order->is_there)
        *order = (struct model_order){.is_there = true, .status = ORDER_PENDING};
    assert_int_equal(outcome.order_status, order->status);
}

static void step_cancel(unsigned which, int64_t now_ms)
{
    struct model_order *order = &model[which];
    enum result expected = !order->is_there                 ? RESULT_ORDER_NOT_FOUND
                           : order->status != ORDER_PENDING ? RESULT_ORDER_NOT_PENDING
                                                            : RESULT_OK;
    assert_int_equal(cancel(names[which], now_ms).result, expected);
    if (expected == RESULT_OK)
        order->status = ORDER_CANCELLED;
}

static unsigned number_of(const struct work_item *item)
{
    int64_t number;
    assert_true(slice_to_i64(slice_make(item->subject.base + 1, item->subject.len - 1), &number));
    return (unsigned)number;
}

static void step_claim(struct id_source *random, int64_t now_ms)
{
    size_t count = claim(WORK_PAYMENT, 1 + draw(random, 3), now_ms);
    for (size_t i = 0; i < count; i++) {
        struct model_order *order = &model[number_of(&items[i])];
        assert_true(order->status == ORDER_PENDING || order->status == ORDER_PROCESSING);
        order->status = ORDER_PROCESSING;
        order->attempts++;
        order->claimed = items[i];
        order->claimed.text = NULL;
    }
}

/* Somebody who has claimed it says something, perhaps too late: only the last claim counts. */
static void step_tell(struct id_source *random, unsigned which, int64_t now_ms)
{
    struct model_order *order = &model[which];
    struct work_item item = order->claimed;
    if (item.id == 0)
        return;
    bool is_late = draw(random, 4) == 0;
    item.token -= is_late;
    static const enum work_report reports[] = {
        REPORT_PAID, REPORT_DECLINED, REPORT_ABANDONED, REPORT_NONE, REPORT_NOT_BEGUN};
    enum work_report report = reports[draw(random, 5)];
    bool is_end = report <= REPORT_ABANDONED && report != REPORT_NONE;
    enum result result =
        tell(&quiet, is_end ? COMMAND_WORK_FINISH : COMMAND_WORK_POSTPONE, &item, report, now_ms);
    assert_int_equal(result, is_late ? RESULT_WORK_NOT_YOURS : RESULT_OK);
    if (is_late)
        return;
    if (is_end)
        order->status = report == REPORT_PAID ? ORDER_COMPLETED : ORDER_FAILED;
    if (report == REPORT_NOT_BEGUN && --order->attempts == 0)
        order->status = ORDER_PENDING;
    order->claimed.id = 0;
}

static void check_model(void)
{
    for (unsigned i = 0; i < ORDERS_MAX; i++) {
        const struct order *order = world_order(&world, slice_cstr(names[i]));
        assert_int_equal(order != NULL, model[i].is_there);
        if (order == NULL)
            continue;
        assert_int_equal(order->values.status, model[i].status);
        assert_int_equal(order->values.attempts, model[i].attempts);
        assert_int_equal(world_work(&world, order->id) != NULL, !order_status_is_final(model[i].status));
    }
}

/* A claim whose lease has run out belongs to whoever claims it next; the model's worker then has a stale
 * token, which is what step_tell tries as well. */
static void steps_by_lot_agree_with_a_model(void **state)
{
    (void)state;
    struct id_source random;
    struct strbuf before;
    struct strbuf after;
    int64_t now_ms = 1000;
    id_source_init_seed(&random, 42);
    strbuf_init_heap(&before, 1 << 20);
    strbuf_init_heap(&after, 1 << 20);
    for (unsigned i = 0; i < ORDERS_MAX; i++)
        (void)snprintf(names[i], sizeof names[i], "o%u", i);
    memset(model, 0, sizeof model);
    for (int step = 0; step < STEPS; step++) {
        bool is_taken_back = draw(&random, 10) == 0;
        world_dump(&world, &before);
        memcpy(model_before, model, sizeof model);
        for (unsigned i = 1 + draw(&random, 5); i > 0; i--) {
            unsigned which = draw(&random, ORDERS_MAX);
            unsigned lot = draw(&random, 100);
            if (lot < PLACED_PERCENT)
                step_place(which, now_ms);
            else if (lot < PLACED_PERCENT + 10)
                step_cancel(which, now_ms);
            else if (lot < PLACED_PERCENT + 30)
                step_claim(&random, now_ms);
            else
                step_tell(&random, which, now_ms);
        }
        check_model();
        if (is_taken_back) {
            world_rollback(&world);
            memcpy(model, model_before, sizeof model);
            world_dump(&world, &after);
            assert_true(slice_eq(strbuf_slice(&before), strbuf_slice(&after)));
        }
        next_batch();
        now_ms += draw(&random, 60);
        if (step % 500 == 499) { /* a new day: the names are free again */
            world_fini(&world);
            world_init(&world, &world_kit_hash_key);
            world_begin(&world);
            memset(model, 0, sizeof model);
        }
    }
    strbuf_fini(&before);
    strbuf_fini(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_order_twice_is_one, make_world, drop_world),
        cmocka_unit_test_setup_teardown(priority_is_a_head_start_that_wears_off, make_world, drop_world),
        cmocka_unit_test_setup_teardown(what_cannot_be_paid_in_time_is_not_begun, make_world, drop_world),
        cmocka_unit_test_setup_teardown(only_pending_orders_are_cancelled, make_world, drop_world),
        cmocka_unit_test_setup_teardown(what_was_not_begun_keeps_its_place, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_payment_ends_an_order_once, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_final_order_is_told_once_by_each_channel, make_world, drop_world),
        cmocka_unit_test_setup_teardown(steps_by_lot_agree_with_a_model, make_world, drop_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
