/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trading orders and accounts: ids without gaps in order of acceptance, ranges that reach the sink in that
 * order and again until they are acknowledged, cancelling only what cannot have been sent; and a name and an
 * address that belong to one account.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/account.h"
#include "core/intake.h"
#include "world_kit.h"

static const struct rules rules = {.idempotency_ttl_ms = 1000, .idempotency_count_max = SIZE_MAX};
static struct world world;

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

static struct outcome intake(enum command_kind kind, struct intake_request *request, int64_t now_ms)
{
    struct command command = {.kind = kind, .intake = request};
    assert_true(rules_decide(&rules, &world, &command, now_ms));
    return command.outcome;
}

static int64_t place(int64_t now_ms)
{
    static struct intake_request request = {
        .account_id = 1, .symbol = SLICE_INIT("AAPL"), .quantity = 1, .time_in_force = SLICE_INIT("GTC")};
    struct outcome outcome = intake(COMMAND_INTAKE_PLACE, &request, now_ms);
    assert_int_equal(outcome.result, RESULT_OK);
    assert_int_equal(outcome.time_ms, now_ms);
    return outcome.number;
}

static enum result cancel(int64_t id)
{
    struct intake_request request = {.id = id};
    return intake(COMMAND_INTAKE_CANCEL, &request, 50).result;
}

static void send(int64_t count_max, int64_t first_id, int64_t last_id)
{
    struct intake_request request = {.count_max = count_max};
    assert_int_equal(intake(COMMAND_INTAKE_SEND, &request, 60).result, RESULT_OK);
    assert_int_equal(request.first_id, first_id);
    assert_int_equal(request.last_id, last_id);
}

static enum result executed(int64_t id)
{
    struct intake_request request = {.id = id};
    return intake(COMMAND_INTAKE_EXECUTED, &request, 70).result;
}

/* An id is given twice or left out, also when a batch was taken back. */
static void ids_tell_the_order_of_acceptance(void **state)
{
    (void)state;
    assert_int_equal(place(1), 1);
    assert_int_equal(place(1), 2);
    next_batch();
    assert_int_equal(place(2), 3);
    world_rollback(&world);
    world_begin(&world);
    assert_int_equal(place(3), 3);
    assert_int_equal(world.intake.next_id, 4);
}

/* The sink gets orders out of order or not at all, or another range than the one it may have. */
static void ranges_go_to_the_sink_in_order(void **state)
{
    (void)state;
    send(10, 1, 0);
    assert_int_equal(world.change_count, 0);
    for (int i = 0; i < 5; i++)
        (void)place(1);
    send(3, 1, 3);
    next_batch();
    send(10, 1, 3); /* again: it may have been lost */
    assert_int_equal(executed(2), RESULT_WORK_NOT_YOURS);
    assert_int_equal(executed(3), RESULT_OK);
    assert_int_equal(executed(3), RESULT_WORK_NOT_YOURS);
    next_batch();
    send(10, 4, 5);
    world_rollback(&world);
    world_begin(&world);
    send(1, 4, 4);
    assert_int_equal(executed(4), RESULT_OK);
    send(10, 5, 5);
    assert_int_equal(executed(5), RESULT_OK);
    send(10, 6, 5);
}

/* An order is cancelled although the sink may have executed it. */
static void only_what_was_not_sent_is_cancelled(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        (void)place(1);
    assert_int_equal(cancel(0), RESULT_INTAKE_NOT_FOUND);
    assert_int_equal(cancel(4), RESULT_INTAKE_NOT_FOUND);
    send(2, 1, 2);
    assert_int_equal(cancel(2), RESULT_INTAKE_SENT);
    assert_int_equal(cancel(3), RESULT_OK);
    assert_int_equal(world.changes[world.change_count - 1].kind, CHANGE_INTAKE_CANCELLED);
    assert_int_equal(world.changes[world.change_count - 1].intake.id, 3);
    assert_int_equal(executed(2), RESULT_OK);
    assert_int_equal(cancel(1), RESULT_INTAKE_SENT);
}

static enum result register_account(const char *username, const char *email, int64_t *id)
{
    struct account_request request = {
        .username = slice_cstr(username),
        .username_key = slice_cstr(username),
        .email = slice_cstr(email),
        .email_key = slice_cstr(email),
        .password_hash = SLICE("$argon2id$"),
    };
    struct command command = {.kind = COMMAND_ACCOUNT_REGISTER, .account = &request};
    assert_true(rules_decide(&rules, &world, &command, 9));
    *id = command.outcome.number;
    return command.outcome.result;
}

/* Two people share a name or an address, or nobody may have one that was taken back. */
static void a_name_and_an_address_belong_to_one(void **state)
{
    (void)state;
    int64_t id;
    assert_int_equal(register_account("ann", "ann@example.com", &id), RESULT_OK);
    assert_int_equal(id, 1);
    assert_int_equal(register_account("ann", "other@example.com", &id), RESULT_USERNAME_TAKEN);
    assert_int_equal(register_account("bob", "ann@example.com", &id), RESULT_EMAIL_TAKEN);
    assert_int_equal(world.change_count, 1);
    world_rollback(&world);
    world_begin(&world);
    assert_int_equal(register_account("ann", "ann@example.com", &id), RESULT_OK);
    next_batch();
    assert_int_equal(register_account("bob", "bob@example.com", &id), RESULT_OK);
    assert_int_equal(world.accounts_by_email.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ids_tell_the_order_of_acceptance, make_world, drop_world),
        cmocka_unit_test_setup_teardown(ranges_go_to_the_sink_in_order, make_world, drop_world),
        cmocka_unit_test_setup_teardown(only_what_was_not_sent_is_cancelled, make_world, drop_world),
        cmocka_unit_test_setup_teardown(a_name_and_an_address_belong_to_one, make_world, drop_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
