/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store.h promises of orders, accounts and trading orders, asked of every kind of store (store_kinds.h):
 * commands go through the rules as the engine decides them, and what they leave is looked at through readers
 * and after the store was opened again. A database goes by its own clock in what it hands out, so all times
 * are near the present.
 *
 *     test_store_orders [embedded | postgres]    the rows of one store only
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/account.h"
#include "core/intake.h"
#include "core/order.h"
#include "core/rules.h"
#include "core/world_work.h"
#include "store_kinds.h"

enum { LEASE_MS = 60000, PAYMENT_MS = 3000 };

static const struct rules rules = {.idempotency_ttl_ms = 1000,
    .idempotency_count_max = SIZE_MAX,
    .notifies_by_webhook = true,
    .notifies_by_email = true};

/* Ten seconds ago: whatever is due then is due by every clock. */
static int64_t a_while_ago(void)
{
    return clock_wall_ms() - 10000;
}

static void run(struct open_store *o, struct command *commands, size_t count, int64_t now_ms)
{
    store_run(o, &rules, commands, count, now_ms);
}

static void ask(struct store_reader *reader, struct question *question)
{
    struct error error = {.message = ""};
    if (store_ask(reader, question, &error) != ERR_NONE)
        fail_msg("cannot ask: %s", error.message);
}

static bool is_text(struct slice text, const char *expected)
{
    return slice_eq(text, slice_cstr(expected));
}

/* --- orders --- */

static struct order_request request_for(const char *order_id)
{
    struct order_request request = {
        .order_id = slice_cstr(order_id),
        .customer_id = 4711,
        .email = SLICE("ann@example.org"),
        .items = SLICE("[{\"product_id\":\"it's\",\"quantity\":2,\"price\":10.5}]"),
        .amount_minor = 2100,
        .priority = ORDER_PRIORITY_DEFAULT,
        .payment_body = SLICE("{\"amount\":21.00}"),
    };
    memset(request.fingerprint, 0xA5, sizeof request.fingerprint);
    return request;
}

static struct outcome order(
    struct open_store *o, enum command_kind kind, const struct order_request *request, int64_t now_ms)
{
    struct command command = {.kind = kind, .order = request};
    run(o, &command, 1, now_ms);
    return command.outcome;
}

static int64_t place(struct open_store *o, const char *order_id, int64_t now_ms)
{
    struct order_request request = request_for(order_id);
    struct outcome outcome = order(o, COMMAND_ORDER_PLACE, &request, now_ms);
    assert_int_equal(outcome.result, RESULT_OK);
    assert_false(outcome.is_replay);
    assert_int_equal(outcome.order_status, ORDER_PENDING);
    return outcome.number;
}

static enum result cancel(struct open_store *o, const char *order_id, int64_t now_ms)
{
    struct order_request request = {.order_id = slice_cstr(order_id)};
    return order(o, COMMAND_ORDER_CANCEL, &request, now_ms).result;
}

static enum result work(
    struct open_store *o, enum command_kind kind, struct work_order *work_order, int64_t now_ms)
{
    struct command command = {.kind = kind, .work = work_order};
    run(o, &command, 1, now_ms);
    return command.outcome.result;
}

/* Room for what is claimed. */
struct claim {
    struct work_item items[4];
    size_t count;
};

static void forget(struct claim *claim)
{
    for (size_t i = 0; i < claim->count; i++)
        work_item_fini(&claim->items[i]);
    claim->count = 0;
}

static size_t claim_some(
    struct open_store *o, struct claim *claim, enum work_kind kind, size_t count_max, int64_t now_ms)
{
    forget(claim);
    struct work_order work_order = {.kind = kind,
        .count_max = count_max,
        .lease_ms = LEASE_MS,
        .payment_ms = PAYMENT_MS,
        .items = claim->items};
    assert_int_equal(work(o, COMMAND_WORK_CLAIM, &work_order, now_ms), RESULT_OK);
    claim->count = work_order.count;
    return claim->count;
}

static enum result report(struct open_store *o, enum command_kind kind, const struct work_item *item,
    enum work_report said, int64_t due_ms, int64_t now_ms)
{
    struct work_order work_order = {
        .kind = item->kind, .id = item->id, .token = item->token, .due_ms = due_ms, .report = said};
    return work(o, kind, &work_order, now_ms);
}

/* The order as a reader sees it; status and attempts must be these. */
static void assert_order(
    struct open_store *o, const char *order_id, enum order_status status, int64_t attempts)
{
    struct store_reader *reader = store_open_reader(o);
    struct question question = {.kind = QUESTION_ORDER, .name = slice_cstr(order_id)};
    ask(reader, &question);
    assert_true(question.is_found);
    assert_int_equal(question.order.status, status);
    assert_int_equal(question.order.attempts, attempts);
    assert_int_equal(question.order.paid_ms != 0, status == ORDER_COMPLETED);
    question_fini(&question);
    store_reader_close(reader);
}

static void an_order_is_placed_once(void **state)
{
    struct open_store *o = *state;
    int64_t now_ms = a_while_ago();
    int64_t id = place(o, "o-1", now_ms);
    for (int i = 0; i < 2; i++) {
        struct order_request request = request_for("o-1");
        struct outcome outcome = order(o, COMMAND_ORDER_PLACE, &request, now_ms + 5);
        assert_int_equal(outcome.result, RESULT_OK);
        assert_true(outcome.is_replay);
        assert_int_equal(outcome.number, id);
        assert_int_equal(outcome.time_ms, now_ms);
        request.fingerprint[15] = 1;
        outcome = order(o, COMMAND_ORDER_PLACE, &request, now_ms + 5);
        assert_int_equal(outcome.result, RESULT_ORDER_ID_TAKEN);
        store_reopen(o);
    }
    assert_true(place(o, "o-2", now_ms) > id);
    assert_order(o, "o-1", ORDER_PENDING, 0);
}

static void an_order_comes_back_as_it_went_in(void **state)
{
    struct open_store *o = *state;
    int64_t now_ms = a_while_ago();
    struct order_request request = request_for("\xE2\x82\xAC '\"\\ {},NULL");
    request.customer_id = INT64_MIN;
    request.amount_minor = INT64_MAX;
    request.priority = ORDER_PRIORITY_MAX;
    request.is_sync = true;
    request.deadline_ms = now_ms + 1000000;
    int64_t id = order(o, COMMAND_ORDER_PLACE, &request, now_ms).number;
    store_reopen(o);
    struct store_reader *reader = store_open_reader(o);
    struct question question = {.kind = QUESTION_ORDER, .name = request.order_id};
    ask(reader, &question);
    assert_true(question.is_found);
    const struct order_row *row = &question.order;
    assert_int_equal(row->id, id);
    assert_true(slice_eq(row->order_id, request.order_id) && slice_eq(row->items, request.items));
    assert_true(row->customer_id == INT64_MIN && row->amount_minor == INT64_MAX);
    assert_true(row->priority == ORDER_PRIORITY_MAX && row->is_sync && row->status == ORDER_PENDING);
    assert_true(row->created_ms == now_ms && row->updated_ms == now_ms && row->paid_ms == 0);
    assert_true(row->attempts == 0 && row->position == 0);
    question_fini(&question);
    question.name = SLICE("another");
    ask(reader, &question);
    assert_false(question.is_found);
    store_reader_close(reader);
}

static void a_cancelled_order_is_not_paid(void **state)
{
    struct open_store *o = *state;
    struct claim claim = {.count = 0};
    int64_t now_ms = a_while_ago();
    (void)place(o, "o-1", now_ms);
    (void)place(o, "o-2", now_ms);
    store_reopen(o);
    assert_int_equal(cancel(o, "o-1", now_ms + 5), RESULT_OK);
    assert_int_equal(cancel(o, "o-1", now_ms + 5), RESULT_ORDER_NOT_PENDING);
    assert_int_equal(cancel(o, "o-3", now_ms + 5), RESULT_ORDER_NOT_FOUND);
    store_reopen(o);
    assert_order(o, "o-1", ORDER_CANCELLED, 0);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 4, now_ms + 10), 1);
    assert_true(is_text(claim.items[0].subject, "o-2"));
    assert_int_equal(cancel(o, "o-2", now_ms + 15), RESULT_ORDER_NOT_PENDING);
    assert_order(o, "o-2", ORDER_PROCESSING, 1);
    forget(&claim);
}

/* Shop and customer are told, each once. */
static void assert_is_told(struct open_store *o, const char *type, int64_t now_ms)
{
    struct claim claim = {.count = 0};
    assert_int_equal(claim_some(o, &claim, WORK_WEBHOOK, 4, now_ms), 1);
    assert_true(is_text(claim.items[0].subject, "o-1"));
    assert_non_null(memmem(claim.items[0].body.base, claim.items[0].body.len, type, strlen(type)));
    assert_int_equal(report(o, COMMAND_WORK_FINISH, &claim.items[0], REPORT_NONE, 0, now_ms + 1), RESULT_OK);
    assert_int_equal(claim_some(o, &claim, WORK_EMAIL, 4, now_ms), 1);
    assert_true(is_text(claim.items[0].subject, "ann@example.org"));
    store_reopen(o);
    assert_int_equal(report(o, COMMAND_WORK_FINISH, &claim.items[0], REPORT_NONE, 0, now_ms + 1), RESULT_OK);
    forget(&claim);
}

/* One order through its whole life, with the store opened again at every step. */
static void pay(struct open_store *o, enum work_report said, enum order_status end, const char *type)
{
    struct claim claim = {.count = 0};
    int64_t now_ms = a_while_ago();
    int64_t id = place(o, "o-1", now_ms);
    store_reopen(o);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 4, now_ms + 10), 1);
    assert_int_equal(claim.items[0].id, id);
    assert_true(is_text(claim.items[0].subject, "o-1") && is_text(claim.items[0].body, "{\"amount\":21.00}"));
    store_reopen(o);
    assert_order(o, "o-1", ORDER_PROCESSING, 1);
    assert_int_equal(report(o, COMMAND_WORK_FINISH, &claim.items[0], said, 0, now_ms + 20), RESULT_OK);
    assert_int_equal(
        report(o, COMMAND_WORK_FINISH, &claim.items[0], said, 0, now_ms + 20), RESULT_WORK_NOT_YOURS);
    store_reopen(o);
    assert_order(o, "o-1", end, 1);
    assert_is_told(o, type, now_ms + 30);
    store_reopen(o);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 4, now_ms + 40), 0);
    assert_int_equal(claim_some(o, &claim, WORK_WEBHOOK, 4, now_ms + 40), 0);
    assert_int_equal(claim_some(o, &claim, WORK_EMAIL, 4, now_ms + 40), 0);
    assert_int_equal(cancel(o, "o-1", now_ms + 50), RESULT_ORDER_NOT_PENDING);
}

static void a_paid_order_is_completed_and_told(void **state)
{
    pay(*state, REPORT_PAID, ORDER_COMPLETED, "order.completed");
}

static void a_declined_order_is_failed_and_told(void **state)
{
    pay(*state, REPORT_DECLINED, ORDER_FAILED, "order.failed");
}

static void an_abandoned_order_is_failed_and_told(void **state)
{
    pay(*state, REPORT_ABANDONED, ORDER_FAILED, "order.failed");
}

static void a_payment_that_was_not_begun_gets_its_place_back(void **state)
{
    struct open_store *o = *state;
    struct claim claim = {.count = 0};
    int64_t now_ms = a_while_ago();
    (void)place(o, "o-1", now_ms);
    (void)place(o, "o-2", now_ms + 1);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 1, now_ms + 10), 1);
    assert_int_equal(
        report(o, COMMAND_WORK_POSTPONE, &claim.items[0], REPORT_NOT_BEGUN, 0, now_ms + 20), RESULT_OK);
    store_reopen(o);
    assert_order(o, "o-1", ORDER_PENDING, 0);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 2, now_ms + 30), 2);
    assert_true(is_text(claim.items[0].subject, "o-1"));
    assert_int_equal(claim.items[0].token, 3);
    /* One that failed is tried again and stays in payment. */
    assert_int_equal(
        report(o, COMMAND_WORK_POSTPONE, &claim.items[0], REPORT_NONE, now_ms + 35, now_ms + 35), RESULT_OK);
    store_reopen(o);
    assert_order(o, "o-1", ORDER_PROCESSING, 1);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 2, now_ms + 40), 1);
    assert_order(o, "o-1", ORDER_PROCESSING, 2);
    forget(&claim);
}

/* Nobody would hear of it in time. */
static void an_order_that_cannot_be_paid_in_time_is_cancelled(void **state)
{
    struct open_store *o = *state;
    struct claim claim = {.count = 0};
    int64_t now_ms = a_while_ago();
    struct order_request request = request_for("o-1");
    request.is_sync = true;
    request.deadline_ms = now_ms + PAYMENT_MS;
    assert_int_equal(order(o, COMMAND_ORDER_PLACE, &request, now_ms).result, RESULT_OK);
    store_reopen(o);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 4, now_ms + 1), 0);
    store_reopen(o);
    assert_order(o, "o-1", ORDER_CANCELLED, 0);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 4, now_ms + 1), 0);
}

/* All in one batch: what was added in it is written as it is at its end. */
static void a_batch_places_cancels_and_claims(void **state)
{
    struct open_store *o = *state;
    int64_t now_ms = a_while_ago();
    struct claim claim = {.count = 1};
    struct order_request paid = request_for("o-1");
    struct order_request gone = request_for("o-2");
    struct order_request later = request_for("o-3");
    later.priority = 0;
    struct work_order some = {.kind = WORK_PAYMENT,
        .count_max = 1,
        .lease_ms = LEASE_MS,
        .payment_ms = PAYMENT_MS,
        .items = claim.items};
    struct command commands[] = {{.kind = COMMAND_ORDER_PLACE, .order = &paid},
        {.kind = COMMAND_ORDER_PLACE, .order = &gone}, {.kind = COMMAND_ORDER_PLACE, .order = &later},
        {.kind = COMMAND_ORDER_PLACE, .order = &paid}, {.kind = COMMAND_ORDER_CANCEL, .order = &gone},
        {.kind = COMMAND_WORK_CLAIM, .work = &some}};
    run(o, commands, 6, now_ms);
    assert_true(commands[3].outcome.is_replay && commands[3].outcome.number == commands[0].outcome.number);
    assert_int_equal(commands[4].outcome.result, RESULT_OK);
    assert_int_equal(some.count, 1);
    store_reopen(o);
    assert_order(o, "o-1", ORDER_PROCESSING, 1);
    assert_order(o, "o-2", ORDER_CANCELLED, 0);
    assert_order(o, "o-3", ORDER_PENDING, 0);
    assert_int_equal(report(o, COMMAND_WORK_FINISH, &claim.items[0], REPORT_PAID, 0, now_ms + 20), RESULT_OK);
    assert_order(o, "o-1", ORDER_COMPLETED, 1);
    forget(&claim);
}

static void a_batch_of_orders_that_was_rolled_back_leaves_nothing(void **state)
{
    struct open_store *o = *state;
    struct claim claim = {.count = 0};
    int64_t now_ms = a_while_ago();
    (void)place(o, "kept", now_ms);
    struct order_request placed = request_for("o-1");
    struct order_request kept = request_for("kept");
    struct command commands[] = {
        {.kind = COMMAND_ORDER_PLACE, .order = &placed}, {.kind = COMMAND_ORDER_CANCEL, .order = &kept}};
    store_decide(o, &rules, commands, 2, now_ms + 5);
    assert_int_equal(commands[1].outcome.result, RESULT_OK);
    world_rollback(&o->world);
    store_abandon(o->store);
    assert_order(o, "kept", ORDER_PENDING, 0);
    struct store_reader *reader = store_open_reader(o);
    struct question question = {.kind = QUESTION_ORDER, .name = SLICE("o-1")};
    ask(reader, &question);
    assert_false(question.is_found);
    store_reader_close(reader);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 4, now_ms + 10), 1);
    assert_true(is_text(claim.items[0].subject, "kept"));
    (void)place(o, "o-1", now_ms + 20);
    forget(&claim);
}

static void who_is_paid_first_is_told_by_position(void **state)
{
    struct open_store *o = *state;
    struct claim claim = {.count = 0};
    int64_t now_ms = a_while_ago();
    static const struct {
        const char *order_id;
        int priority;
        int64_t position;
    } orders[] = {{"low", 0, 3}, {"first", 5, 1}, {"high", 9, 0}, {"second", 5, 2}};
    for (int i = 0; i < 4; i++) {
        struct order_request request = request_for(orders[i].order_id);
        request.priority = orders[i].priority;
        (void)order(o, COMMAND_ORDER_PLACE, &request, now_ms);
    }
    struct store_reader *reader = store_open_reader(o);
    for (int i = 0; i < 4; i++) {
        struct question question = {.kind = QUESTION_ORDER, .name = slice_cstr(orders[i].order_id)};
        ask(reader, &question);
        assert_int_equal(question.order.position, orders[i].position);
        question_fini(&question);
    }
    store_reader_close(reader);
    store_reopen(o);
    static const char *const line[] = {"high", "first", "second", "low"};
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 4, now_ms + 10), 4);
    for (int i = 0; i < 4; i++)
        assert_true(is_text(claim.items[i].subject, line[i]));
    forget(&claim);
}

/* An id that comes again would let an old token finish a new payment. */
static void ids_of_orders_never_come_again(void **state)
{
    struct open_store *o = *state;
    int64_t now_ms = a_while_ago();
    int64_t last_id = 0;
    for (int i = 0; i < 4; i++) {
        char order_id[16];
        (void)snprintf(order_id, sizeof order_id, "o-%d", i);
        int64_t id = place(o, order_id, now_ms);
        assert_true(id > last_id);
        last_id = id;
        assert_int_equal(cancel(o, order_id, now_ms), RESULT_OK);
        store_reopen(o);
    }
}

static void readers_count_orders_and_tell_their_states(void **state)
{
    struct open_store *o = *state;
    struct claim claim = {.count = 0};
    struct store_reader *reader = store_open_reader(o);
    int64_t now_ms = a_while_ago();
    struct question totals = {.kind = QUESTION_ORDER_TOTALS};
    ask(reader, &totals);
    assert_int_equal(totals.totals.counts[ORDER_PENDING], 0);
    assert_int_equal(totals.totals.oldest_pending_ms, 0);
    int64_t paid = place(o, "paid", now_ms);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 4, now_ms + 1), 1);
    assert_int_equal(report(o, COMMAND_WORK_FINISH, &claim.items[0], REPORT_PAID, 0, now_ms + 7), RESULT_OK);
    int64_t taken = place(o, "taken", now_ms + 2);
    assert_int_equal(claim_some(o, &claim, WORK_PAYMENT, 4, now_ms + 3), 1);
    int64_t waits = place(o, "waits", now_ms + 4);
    (void)place(o, "waits longer", now_ms + 3);
    (void)place(o, "gone", now_ms + 5);
    assert_int_equal(cancel(o, "gone", now_ms + 6), RESULT_OK);
    ask(reader, &totals);
    static const int64_t counts[ORDER_STATUS_COUNT] = {2, 1, 1, 0, 1};
    for (int i = 0; i < ORDER_STATUS_COUNT; i++)
        assert_int_equal(totals.totals.counts[i], counts[i]);
    assert_int_equal(totals.totals.oldest_pending_ms, now_ms + 3);
    struct order_state states[] = {{.id = waits}, {.id = 1000000}, {.id = paid}, {.id = taken}, {.id = paid}};
    struct question question = {.kind = QUESTION_ORDER_STATES, .states = states, .state_count = 5};
    ask(reader, &question);
    assert_true(states[0].is_found && states[0].status == ORDER_PENDING && states[0].attempts == 0);
    assert_false(states[1].is_found);
    assert_true(states[2].is_found && states[2].status == ORDER_COMPLETED && states[2].attempts == 1);
    assert_true(states[2].updated_ms == now_ms + 7 && states[2].paid_ms == now_ms + 7);
    assert_true(states[3].is_found && states[3].status == ORDER_PROCESSING);
    assert_true(states[4].is_found && states[4].status == ORDER_COMPLETED);
    question_fini(&question);
    question_fini(&totals);
    store_reader_close(reader);
    forget(&claim);
}

static size_t dead_letters(
    struct store_reader *reader, struct question *question, int64_t after, size_t limit)
{
    question_fini(question);
    *question = (struct question){.kind = QUESTION_DEAD_LETTERS, .id = after, .limit = limit};
    ask(reader, question);
    return question->count;
}

static void dead_letters_wait_until_they_are_revived(void **state)
{
    struct open_store *o = *state;
    struct claim payment = {.count = 0};
    struct claim webhook = {.count = 0};
    struct claim email = {.count = 0};
    int64_t now_ms = a_while_ago();
    (void)place(o, "o-1", now_ms);
    (void)claim_some(o, &payment, WORK_PAYMENT, 1, now_ms + 1);
    (void)report(o, COMMAND_WORK_FINISH, &payment.items[0], REPORT_PAID, 0, now_ms + 2);
    assert_int_equal(claim_some(o, &webhook, WORK_WEBHOOK, 4, now_ms + 3), 1);
    assert_int_equal(claim_some(o, &email, WORK_EMAIL, 4, now_ms + 3), 1);
    struct store_reader *reader = store_open_reader(o);
    struct question question = {.kind = QUESTION_DEAD_LETTERS};
    assert_int_equal(dead_letters(reader, &question, 0, 10), 0);
    (void)report(o, COMMAND_WORK_POSTPONE, &webhook.items[0], REPORT_DEAD, 0, now_ms + 4);
    (void)report(o, COMMAND_WORK_POSTPONE, &email.items[0], REPORT_DEAD, 0, now_ms + 4);
    assert_int_equal(dead_letters(reader, &question, 0, 10), 2);
    const struct dead_letter *letters = question.dead_letters;
    assert_int_equal(letters[0].id, webhook.items[0].id);
    assert_true(letters[0].channel == CHANNEL_WEBHOOK && is_text(letters[0].order_id, "o-1"));
    assert_true(
        letters[0].target.len == 0 && letters[0].attempts == 1 && letters[0].created_ms == now_ms + 2);
    assert_true(letters[1].channel == CHANNEL_EMAIL && is_text(letters[1].target, "ann@example.org"));
    assert_int_equal(dead_letters(reader, &question, webhook.items[0].id, 10), 1);
    assert_int_equal(dead_letters(reader, &question, 0, 1), 1);
    store_reader_close(reader);
    question_fini(&question);
    store_reopen(o);
    assert_int_equal(claim_some(o, &webhook, WORK_WEBHOOK, 4, clock_wall_ms() + LEASE_MS), 0);
    struct work_order revive = {.kind = WORK_EMAIL, .id = email.items[0].id};
    assert_int_equal(work(o, COMMAND_WORK_REVIVE, &revive, now_ms + 5), RESULT_OK);
    assert_int_equal(work(o, COMMAND_WORK_REVIVE, &revive, now_ms + 5), RESULT_WORK_NOT_DEAD);
    store_reopen(o);
    assert_int_equal(claim_some(o, &email, WORK_EMAIL, 4, now_ms + 6), 1);
    assert_int_equal(email.items[0].token, 2);
    forget(&payment);
    forget(&webhook);
    forget(&email);
}

/* --- accounts --- */

static struct account_request account_of(const char *username, const char *email)
{
    return (struct account_request){
        .username = slice_cstr(username),
        .email = slice_cstr(email),
        .username_key = slice_cstr(username),
        .email_key = slice_cstr(email),
        .full_name = SLICE("Ann O'Hara \xE2\x82\xAC"),
        .password_hash = SLICE("$argon2id$v=19$m=65536,t=2,p=1$c2FsdA$aGFzaA"),
    };
}

static struct outcome enroll(struct open_store *o, const char *username, const char *email, int64_t now_ms)
{
    struct account_request request = account_of(username, email);
    struct command command = {.kind = COMMAND_ACCOUNT_REGISTER, .account = &request};
    run(o, &command, 1, now_ms);
    return command.outcome;
}

static void names_and_addresses_belong_to_one_account(void **state)
{
    struct open_store *o = *state;
    int64_t now_ms = a_while_ago();
    struct outcome ann = enroll(o, "ann", "ann@example.org", now_ms);
    assert_int_equal(ann.result, RESULT_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(enroll(o, "ann", "other@example.org", now_ms).result, RESULT_USERNAME_TAKEN);
        assert_int_equal(enroll(o, "other", "ann@example.org", now_ms).result, RESULT_EMAIL_TAKEN);
        store_reopen(o);
    }
    struct account_request requests[] = {account_of("ben", "ben@example.org"),
        account_of("ben", "ben2@example.org"), account_of("cat", "cat@example.org"),
        account_of("ann", "cat@example.org")};
    struct command commands[4];
    for (int i = 0; i < 4; i++)
        commands[i] = (struct command){.kind = COMMAND_ACCOUNT_REGISTER, .account = &requests[i]};
    run(o, commands, 4, now_ms);
    assert_int_equal(commands[0].outcome.result, RESULT_OK);
    assert_int_equal(commands[1].outcome.result, RESULT_USERNAME_TAKEN);
    assert_int_equal(commands[2].outcome.result, RESULT_OK);
    assert_int_equal(commands[3].outcome.result, RESULT_USERNAME_TAKEN);
    assert_true(
        ann.number < commands[0].outcome.number && commands[0].outcome.number < commands[2].outcome.number);
}

static void a_reader_finds_accounts(void **state)
{
    struct open_store *o = *state;
    int64_t now_ms = a_while_ago();
    int64_t id = enroll(o, "ann", "ann@example.org", now_ms).number;
    (void)enroll(o, "ben", "ben@example.org", now_ms);
    store_reopen(o);
    struct store_reader *reader = store_open_reader(o);
    for (int i = 0; i < 2; i++) {
        struct question question = {
            .kind = QUESTION_ACCOUNT, .name = i == 0 ? SLICE("ann@example.org") : SLICE(""), .id = id};
        ask(reader, &question);
        const struct account_row *row = &question.account;
        assert_true(question.is_found);
        assert_true(row->id == id && row->created_ms == now_ms);
        assert_true(is_text(row->username, "ann") && is_text(row->email, "ann@example.org"));
        assert_true(is_text(row->full_name, "Ann O'Hara \xE2\x82\xAC"));
        assert_true(is_text(row->password_hash, "$argon2id$v=19$m=65536,t=2,p=1$c2FsdA$aGFzaA"));
        question_fini(&question);
    }
    struct question nobody = {.kind = QUESTION_ACCOUNT, .name = SLICE("ann")};
    ask(reader, &nobody);
    assert_false(nobody.is_found);
    store_reader_close(reader);
}

/* Tokens signed before a restart are good after it, and with another node. */
static void the_secret_stays(void **state)
{
    struct open_store *o = *state;
    static const unsigned char zeros[STORE_SECRET_BYTES];
    unsigned char secret[STORE_SECRET_BYTES];
    memcpy(secret, o->store->secret, sizeof secret);
    assert_memory_not_equal(secret, zeros, sizeof secret);
    store_reopen(o);
    assert_memory_equal(o->store->secret, secret, sizeof secret);
}

/* --- trading orders --- */

static struct intake_request limit_order(int64_t account_id)
{
    return (struct intake_request){
        .account_id = account_id,
        .symbol = SLICE("AAPL"),
        .side = SIDE_SELL,
        .type = TYPE_LIMIT,
        .quantity = 100 * INTAKE_SCALE,
        .price = {.is_set = true, .value = 150 * INTAKE_SCALE},
        .time_in_force = SLICE("GTC"),
    };
}

static enum result intake(
    struct open_store *o, enum command_kind kind, struct intake_request *request, int64_t now_ms)
{
    struct command command = {.kind = kind, .intake = request};
    run(o, &command, 1, now_ms);
    return command.outcome.result;
}

static int64_t trade(struct open_store *o, int64_t account_id, int64_t now_ms)
{
    struct intake_request request = limit_order(account_id);
    struct command command = {.kind = COMMAND_INTAKE_PLACE, .intake = &request};
    run(o, &command, 1, now_ms);
    assert_int_equal(command.outcome.result, RESULT_OK);
    return command.outcome.number;
}

static enum result cancel_trade(struct open_store *o, int64_t id, int64_t now_ms)
{
    struct intake_request request = {.id = id};
    return intake(o, COMMAND_INTAKE_CANCEL, &request, now_ms);
}

static void assert_sends(struct open_store *o, int64_t count_max, int64_t first_id, int64_t last_id)
{
    struct intake_request request = {.count_max = count_max};
    assert_int_equal(intake(o, COMMAND_INTAKE_SEND, &request, a_while_ago()), RESULT_OK);
    assert_int_equal(request.first_id, first_id);
    assert_int_equal(request.last_id, last_id);
}

static enum result executed(struct open_store *o, int64_t id, int64_t now_ms)
{
    struct intake_request request = {.id = id};
    return intake(o, COMMAND_INTAKE_EXECUTED, &request, now_ms);
}

static int64_t with_account(struct open_store *o)
{
    return enroll(o, "ann", "ann@example.org", a_while_ago()).number;
}

static void trading_orders_have_ids_without_gaps(void **state)
{
    struct open_store *o = *state;
    int64_t account_id = with_account(o);
    for (int64_t i = 1; i <= 6; i++) {
        assert_int_equal(trade(o, account_id, a_while_ago()), i);
        struct intake_request lost = limit_order(account_id);
        struct command command = {.kind = COMMAND_INTAKE_PLACE, .intake = &lost};
        store_decide(o, &rules, &command, 1, a_while_ago());
        assert_int_equal(command.outcome.number, i + 1);
        world_rollback(&o->world);
        store_abandon(o->store);
        if (i % 2 == 0)
            store_reopen(o);
    }
}

static void trading_orders_are_sent_once_and_in_order(void **state)
{
    struct open_store *o = *state;
    int64_t account_id = with_account(o);
    int64_t now_ms = a_while_ago();
    assert_sends(o, 10, 1, 0);
    for (int i = 0; i < 5; i++)
        (void)trade(o, account_id, now_ms);
    assert_int_equal(cancel_trade(o, 2, now_ms + 1), RESULT_OK);
    assert_int_equal(cancel_trade(o, 6, now_ms + 1), RESULT_INTAKE_NOT_FOUND);
    assert_sends(o, 3, 1, 3);
    store_reopen(o);
    assert_sends(o, 10, 1, 3); /* the same one until it is acknowledged */
    assert_int_equal(cancel_trade(o, 3, now_ms + 2), RESULT_INTAKE_SENT);
    assert_int_equal(cancel_trade(o, 4, now_ms + 2), RESULT_OK);
    assert_int_equal(cancel_trade(o, 4, now_ms + 3), RESULT_OK);
    assert_int_equal(executed(o, 2, now_ms + 4), RESULT_WORK_NOT_YOURS);
    assert_int_equal(executed(o, 3, now_ms + 4), RESULT_OK);
    assert_int_equal(executed(o, 3, now_ms + 5), RESULT_WORK_NOT_YOURS);
    store_reopen(o);
    assert_sends(o, 10, 4, 5);
    (void)trade(o, account_id, now_ms);
    assert_int_equal(executed(o, 5, now_ms + 6), RESULT_OK);
    assert_sends(o, 10, 6, 6);
}

static void a_batch_takes_sends_and_ends_trading_orders(void **state)
{
    struct open_store *o = *state;
    int64_t now_ms = a_while_ago();
    struct intake_request orders[] = {
        limit_order(with_account(o)), limit_order(o->world.next_account_id - 1)};
    orders[1].account_id = orders[0].account_id;
    struct intake_request gone = {.id = 2};
    struct intake_request sent = {.count_max = 10};
    struct intake_request done = {.id = 2};
    struct command commands[] = {{.kind = COMMAND_INTAKE_PLACE, .intake = &orders[0]},
        {.kind = COMMAND_INTAKE_PLACE, .intake = &orders[1]},
        {.kind = COMMAND_INTAKE_CANCEL, .intake = &gone}, {.kind = COMMAND_INTAKE_SEND, .intake = &sent},
        {.kind = COMMAND_INTAKE_EXECUTED, .intake = &done},
        {.kind = COMMAND_INTAKE_PLACE, .intake = &orders[0]}};
    run(o, commands, 6, now_ms);
    for (int i = 0; i < 6; i++)
        assert_int_equal(commands[i].outcome.result, RESULT_OK);
    store_reopen(o);
    struct store_reader *reader = store_open_reader(o);
    static const enum intake_status expected[] = {INTAKE_EXECUTED, INTAKE_CANCELLED, INTAKE_QUEUED};
    for (int i = 0; i < 3; i++) {
        struct question question = {.kind = QUESTION_INTAKE_ORDER, .id = i + 1};
        ask(reader, &question);
        assert_true(question.is_found);
        assert_int_equal(question.intake.status, expected[i]);
        question_fini(&question);
    }
    store_reader_close(reader);
}

static bool decimals_eq(struct optional_decimal a, struct optional_decimal b)
{
    return a.is_set == b.is_set && (!a.is_set || a.value == b.value);
}

static void a_trading_order_comes_back_as_it_went_in(void **state)
{
    struct open_store *o = *state;
    int64_t account_id = with_account(o);
    int64_t now_ms = a_while_ago();
    for (int i = 0; i < 16; i++) {
        struct intake_request request = {
            .account_id = account_id,
            .symbol = SLICE("\xE2\x82\xAC'\"\\"),
            .side = (enum intake_side)(i % 2),
            .type = (enum intake_type)(i % 5),
            .quantity = INT64_MAX - i,
            .price = {.is_set = (i & 1) != 0, .value = INT64_MIN},
            .stop_price = {.is_set = (i & 2) != 0, .value = INT64_MAX},
            .trailing_stop_pct = {.is_set = (i & 4) != 0, .value = 0},
            .iceberg_qty = {.is_set = (i & 8) != 0, .value = -1},
            .time_in_force = SLICE("GTC"),
        };
        assert_int_equal(intake(o, COMMAND_INTAKE_PLACE, &request, now_ms + i), RESULT_OK);
        struct store_reader *reader = store_open_reader(o);
        struct question question = {.kind = QUESTION_INTAKE_ORDER, .id = i + 1};
        ask(reader, &question);
        const struct intake_row *row = &question.intake;
        assert_true(question.is_found && row->id == i + 1 && row->account_id == account_id);
        assert_true(slice_eq(row->symbol, request.symbol) && is_text(row->time_in_force, "GTC"));
        assert_true(row->side == request.side && row->type == request.type);
        assert_int_equal(row->quantity, request.quantity);
        assert_true(
            decimals_eq(row->price, request.price) && decimals_eq(row->stop_price, request.stop_price));
        assert_true(decimals_eq(row->trailing_stop_pct, request.trailing_stop_pct));
        assert_true(decimals_eq(row->iceberg_qty, request.iceberg_qty));
        assert_true(row->status == INTAKE_QUEUED && row->created_ms == now_ms + i);
        assert_int_equal(row->updated_ms, now_ms + i);
        question_fini(&question);
        store_reader_close(reader);
    }
}

/* The ids of the rows that come, newest first, as decimal digits: they are below 10. */
static void assert_lists(
    struct store_reader *reader, const struct question *asked, const char *expected, int64_t updated_ms)
{
    char ids[16] = "";
    struct question question = *asked;
    ask(reader, &question);
    assert_in_range(question.count, 0, 9);
    for (size_t i = 0; i < question.count; i++) {
        ids[i] = (char)('0' + question.intake_rows[i].id);
        assert_true(question.kind == QUESTION_INTAKE_RANGE || question.intake_rows[i].account_id == 1 ||
                    question.intake_rows[i].account_id == asked->account_id);
        assert_true(updated_ms == 0 || question.intake_rows[i].updated_ms == updated_ms);
    }
    assert_string_equal(ids, expected);
    question_fini(&question);
}

static void readers_list_trading_orders(void **state)
{
    struct open_store *o = *state;
    int64_t ann = with_account(o);
    int64_t ben = enroll(o, "ben", "ben@example.org", a_while_ago()).number;
    int64_t now_ms = a_while_ago();
    for (int i = 1; i <= 9; i++)
        assert_int_equal(trade(o, i == 4 ? ben : ann, now_ms), i); /* 4 is another's */
    assert_int_equal(cancel_trade(o, 2, now_ms + 10), RESULT_OK);
    assert_int_equal(cancel_trade(o, 8, now_ms + 10), RESULT_OK);
    assert_sends(o, 3, 1, 3);
    assert_int_equal(executed(o, 3, now_ms + 20), RESULT_OK);
    assert_sends(o, 3, 4, 6); /* under way */
    struct store_reader *reader = store_open_reader(o);
    struct question all = {
        .kind = QUESTION_INTAKE_ORDERS, .account_id = ann, .id_before = INT64_MAX, .limit = 100};
    struct question some = all;
    assert_lists(reader, &all, "98765321", 0);
    some.limit = 3;
    assert_lists(reader, &some, "987", 0);
    some.id_before = 7;
    assert_lists(reader, &some, "653", 0);
    some.id_before = 1;
    assert_lists(reader, &some, "", 0);
    struct question by_status = all;
    by_status.has_status = true;
    by_status.status = INTAKE_QUEUED;
    assert_lists(reader, &by_status, "9765", now_ms);
    by_status.status = INTAKE_EXECUTED;
    assert_lists(reader, &by_status, "31", now_ms + 20);
    by_status.id_before = 3;
    assert_lists(reader, &by_status, "1", now_ms + 20);
    by_status.status = INTAKE_CANCELLED;
    assert_lists(reader, &by_status, "2", now_ms + 10);
    struct question range = {.kind = QUESTION_INTAKE_RANGE, .id = 3, .id_last = 6, .limit = 100};
    assert_lists(reader, &range, "456", now_ms);
    range = (struct question){.kind = QUESTION_INTAKE_RANGE, .id = 0, .id_last = 9, .limit = 4};
    assert_lists(reader, &range, "1345", 0);
    range.id = 5;
    assert_lists(reader, &range, "679", 0);
    all.account_id = ann + 1000000;
    assert_lists(reader, &all, "", 0);
    store_reader_close(reader);
}

/* --- all tests on all kinds --- */

static const struct behaviour behaviours[] = {
    BEHAVIOUR(an_order_is_placed_once),
    BEHAVIOUR(an_order_comes_back_as_it_went_in),
    BEHAVIOUR(a_cancelled_order_is_not_paid),
    BEHAVIOUR(a_paid_order_is_completed_and_told),
    BEHAVIOUR(a_declined_order_is_failed_and_told),
    BEHAVIOUR(an_abandoned_order_is_failed_and_told),
    BEHAVIOUR(a_payment_that_was_not_begun_gets_its_place_back),
    BEHAVIOUR(an_order_that_cannot_be_paid_in_time_is_cancelled),
    BEHAVIOUR(a_batch_places_cancels_and_claims),
    BEHAVIOUR(a_batch_of_orders_that_was_rolled_back_leaves_nothing),
    BEHAVIOUR(who_is_paid_first_is_told_by_position),
    BEHAVIOUR(ids_of_orders_never_come_again),
    BEHAVIOUR(readers_count_orders_and_tell_their_states),
    BEHAVIOUR(dead_letters_wait_until_they_are_revived),
    BEHAVIOUR(names_and_addresses_belong_to_one_account),
    BEHAVIOUR(a_reader_finds_accounts),
    BEHAVIOUR(the_secret_stays),
    BEHAVIOUR(trading_orders_have_ids_without_gaps),
    BEHAVIOUR(trading_orders_are_sent_once_and_in_order),
    BEHAVIOUR(a_batch_takes_sends_and_ends_trading_orders),
    BEHAVIOUR(a_trading_order_comes_back_as_it_went_in),
    BEHAVIOUR(readers_list_trading_orders),
};

int main(int argc, char **argv)
{
    return kinds_run(
        "store of orders", argc > 1 ? argv[1] : "", behaviours, sizeof behaviours / sizeof behaviours[0]);
}
