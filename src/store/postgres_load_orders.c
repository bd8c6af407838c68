/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work, orders, accounts and what stands for all trading orders into the world. The order of the statements
 * matters:
 *
 * - Work is locked before its order. So who holds a pending order's row holds its payment as well.
 * - What is due comes after what is named: it skips what others hold, so it makes nobody wait.
 * - Orders that somebody wants to place are looked up, without a lock, after all that are locked: an order
 *   that the batch holds is in the world by then, as it is.
 * - The row of the trading orders comes after whatever one may have to wait for, because all nodes wait for
 *   it.
 */
#include "store/postgres_load.h"

#include <string.h>

#include "base/ensure.h"
#include "core/account.h"
#include "core/intake.h"
#include "core/order.h"
#include "core/world_work.h"

enum { WORK_COLUMN_COUNT = 7 }; /* of a row of work; those of its order follow */

static size_t count_of(const struct loader *loader, enum command_kind kind)
{
    return loader->kind_counts[kind];
}

static bool names_payment(const struct command *command)
{
    return command_names_work(command->kind) && command->kind != COMMAND_WORK_CLAIM &&
           command->work->kind == WORK_PAYMENT;
}

static bool has_named_work(const struct loader *loader)
{
    return count_of(loader, COMMAND_WORK_FINISH) + count_of(loader, COMMAND_WORK_POSTPONE) +
               count_of(loader, COMMAND_WORK_REVIVE) + count_of(loader, COMMAND_ORDER_CANCEL) >
           0;
}

static bool has_named_orders(const struct loader *loader)
{
    if (count_of(loader, COMMAND_ORDER_CANCEL) > 0)
        return true;
    for (size_t i = 0; i < loader->other_count && has_named_work(loader); i++) {
        if (names_payment(loader_other(loader, i)))
            return true;
    }
    return false;
}

static bool has_intake(const struct loader *loader)
{
    return count_of(loader, COMMAND_INTAKE_PLACE) + count_of(loader, COMMAND_INTAKE_CANCEL) +
               count_of(loader, COMMAND_INTAKE_SEND) + count_of(loader, COMMAND_INTAKE_EXECUTED) >
           0;
}

/* --- sending --- */

/* What commands name by the id of its work, and what they cancel by the order's name. */
static enum err send_named(struct loader *loader, enum postgres_statement statement, bool wants_payments_only)
{
    struct column *ids = &loader->store->columns[0];
    struct column *order_ids = &loader->store->columns[1];
    column_start(ids, POSTGRES_INT8);
    column_start(order_ids, POSTGRES_TEXT);
    for (size_t i = 0; i < loader->other_count; i++) {
        const struct command *command = loader_other(loader, i);
        if (command->kind == COMMAND_ORDER_CANCEL)
            column_put_text(order_ids, command->order->order_id);
        else if (wants_payments_only
                     ? names_payment(command)
                     : command_names_work(command->kind) && command->kind != COMMAND_WORK_CLAIM)
            column_put_i64(ids, command->work->id);
    }
    return loader_send_columns(loader, 2, statement);
}

static enum err send_claims(struct loader *loader)
{
    char number[8];
    enum err err = ERR_NONE;
    for (int kind = 0; kind < WORK_KIND_COUNT && err == ERR_NONE; kind++) {
        bool is_payment = kind == WORK_PAYMENT;
        if (loader->claim_counts[kind] == 0)
            continue;
        link_param(&loader->store->link, work_kind_name((enum work_kind)kind));
        link_param(&loader->store->link, postgres_i64(number, loader->claim_counts[kind]));
        err = loader_send(loader, is_payment ? STATEMENT_LOCK_DUE_PAYMENTS : STATEMENT_LOCK_DUE_WORK);
    }
    return err;
}

static enum err send_places(struct loader *loader)
{
    struct column *order_ids = &loader->store->columns[0];
    column_start(order_ids, POSTGRES_TEXT);
    for (size_t i = 0; i < loader->other_count; i++) {
        const struct command *command = loader_other(loader, i);
        if (command->kind == COMMAND_ORDER_PLACE)
            column_put_text(order_ids, command->order->order_id);
    }
    return loader_send_columns(loader, 1, STATEMENT_FIND_ORDERS);
}

static enum err send_accounts(struct loader *loader)
{
    struct column *usernames = &loader->store->columns[0];
    struct column *emails = &loader->store->columns[1];
    column_start(usernames, POSTGRES_TEXT);
    column_start(emails, POSTGRES_TEXT);
    for (size_t i = 0; i < loader->other_count; i++) {
        const struct command *command = loader_other(loader, i);
        if (command->kind != COMMAND_ACCOUNT_REGISTER)
            continue;
        column_put_text(usernames, command->account->username_key);
        column_put_text(emails, command->account->email_key);
    }
    enum err err = loader_send(loader, STATEMENT_LOCK_ACCOUNTS);
    return err == ERR_NONE ? loader_send_columns(loader, 2, STATEMENT_FIND_ACCOUNTS) : err;
}

enum err loader_send_others(struct loader *loader)
{
    enum err err = has_named_work(loader) ? send_named(loader, STATEMENT_LOCK_WORK, false) : ERR_NONE;
    if (err == ERR_NONE && has_named_orders(loader))
        err = send_named(loader, STATEMENT_LOCK_ORDERS, true);
    if (err == ERR_NONE)
        err = send_claims(loader);
    if (err == ERR_NONE && count_of(loader, COMMAND_ORDER_PLACE) > 0)
        err = send_places(loader);
    if (err == ERR_NONE && count_of(loader, COMMAND_ACCOUNT_REGISTER) > 0)
        err = send_accounts(loader);
    return err;
}

enum err loader_send_intake(struct loader *loader)
{
    return has_intake(loader) ? loader_send(loader, STATEMENT_LOCK_INTAKE) : ERR_NONE;
}

/* --- receiving --- */

static enum err not_ours(struct loader *loader, const char *what, int64_t id)
{
    return error_set(loader->error, ERR_CORRUPT,
        "%s %lld holds what doorbuster never writes; run doorbuster verify and restore a backup", what,
        (long long)id);
}

static enum err take_one_work(struct loader *loader, const PGresult *result, int row)
{
    struct work work = {
        .id = result_i64(result, row, 0),
        .values = {.due_ms = result_ms(result, row, 1), .token = result_i64(result, row, 2)},
        .created_ms = result_ms(result, row, 3),
        .subject = result_text(result, row, 5),
        .body = result_text(result, row, 6),
    };
    if (!work_kind_from_name(result_text(result, row, 4), &work.kind) ||
        work.subject.len > WORK_SUBJECT_LEN_MAX || work.body.len > WORK_BODY_LEN_MAX)
        return not_ours(loader, "work", work.id);
    return world_load_work(loader->world, &work) ? ERR_NONE : loader_no_memory(loader);
}

static enum err take_work(struct loader *loader, const PGresult *result)
{
    enum err err = ERR_NONE;
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++)
        err = take_one_work(loader, result, row);
    return err;
}

static bool is_to_be_cancelled(const struct loader *loader, struct slice order_id)
{
    for (size_t i = 0; i < loader->other_count; i++) {
        const struct command *command = loader_other(loader, i);
        if (command->kind == COMMAND_ORDER_CANCEL && slice_eq(command->order->order_id, order_id))
            return true;
    }
    return false;
}

/*
 * Somebody has placed it after our look for its work, so we do not hold that and must not cancel it: for this
 * batch it is not there yet. Who places it in the same batch runs into the other's row, and decides again.
 */
static bool is_too_new(const struct loader *loader, const struct order *order)
{
    return order->values.status == ORDER_PENDING && count_of(loader, COMMAND_ORDER_CANCEL) > 0 &&
           world_work(loader->world, order->id) == NULL && is_to_be_cancelled(loader, order->order_id);
}

/* The columns of an order begin at `at`. */
static enum err take_one_order(struct loader *loader, const PGresult *result, int row, int at)
{
    struct order order = {
        .id = result_i64(result, row, at),
        .order_id = result_text(result, row, at + 1),
        .email = result_text(result, row, at + 2),
        .customer_id = result_i64(result, row, at + 3),
        .amount_minor = result_i64(result, row, at + 4),
        .priority = (int)result_i64(result, row, at + 5),
        .created_ms = result_ms(result, row, at + 6),
        .deadline_ms = result_ms(result, row, at + 7),
        .values = {.attempts = result_i64(result, row, at + 10),
            .updated_ms = result_ms(result, row, at + 11),
            .paid_ms = result_ms(result, row, at + 12)},
    };
    if (!order_status_from_name(result_text(result, row, at + 9), &order.values.status) ||
        order.order_id.len > ORDER_ID_LEN_MAX || order.email.len > ORDER_EMAIL_LEN_MAX ||
        PQgetlength(result, row, at + 8) != FINGERPRINT_BYTES)
        return not_ours(loader, "order", order.id);
    memcpy(order.fingerprint, PQgetvalue(result, row, at + 8), FINGERPRINT_BYTES);
    return is_too_new(loader, &order) || world_load_order(loader->world, &order) ? ERR_NONE
                                                                                 : loader_no_memory(loader);
}

static enum err take_orders(struct loader *loader, const PGresult *result)
{
    enum err err = ERR_NONE;
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++)
        err = take_one_order(loader, result, row, 0);
    return err;
}

static enum err take_payments(struct loader *loader, const PGresult *result)
{
    enum err err = ERR_NONE;
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++) {
        err = take_one_work(loader, result, row);
        if (err == ERR_NONE)
            err = take_one_order(loader, result, row, WORK_COLUMN_COUNT);
    }
    return err;
}

static enum err take_accounts(struct loader *loader, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        if (!world_load_account(loader->world, result_i64(result, row, 0), result_text(result, row, 1),
                result_text(result, row, 2)))
            return loader_no_memory(loader);
    }
    return ERR_NONE;
}

static enum err take_intake(struct loader *loader, const PGresult *result)
{
    if (PQntuples(result) != 1)
        return error_set(loader->error, ERR_CORRUPT, "the row of intake_state is gone; restore a backup");
    const struct intake_values values = {.next_id = result_i64(result, 0, 0),
        .sent_id = result_i64(result, 0, 1),
        .executed_id = result_i64(result, 0, 2)};
    world_hold_intake(loader->world, &values);
    return ERR_NONE;
}

static enum err receive_claims(struct loader *loader)
{
    enum err err = ERR_NONE;
    for (int kind = 0; kind < WORK_KIND_COUNT && err == ERR_NONE; kind++) {
        if (loader->claim_counts[kind] == 0)
            continue;
        err = kind == WORK_PAYMENT ? loader_receive(loader, STATEMENT_LOCK_DUE_PAYMENTS, take_payments)
                                   : loader_receive(loader, STATEMENT_LOCK_DUE_WORK, take_work);
    }
    return err;
}

enum err loader_receive_others(struct loader *loader)
{
    enum err err = has_named_work(loader) ? loader_receive(loader, STATEMENT_LOCK_WORK, take_work) : ERR_NONE;
    if (err == ERR_NONE && has_named_orders(loader))
        err = loader_receive(loader, STATEMENT_LOCK_ORDERS, take_orders);
    if (err == ERR_NONE)
        err = receive_claims(loader);
    if (err == ERR_NONE && count_of(loader, COMMAND_ORDER_PLACE) > 0)
        err = loader_receive(loader, STATEMENT_FIND_ORDERS, take_orders);
    if (err == ERR_NONE && count_of(loader, COMMAND_ACCOUNT_REGISTER) > 0) {
        err = loader_receive(loader, STATEMENT_LOCK_ACCOUNTS, NULL);
        if (err == ERR_NONE)
            err = loader_receive(loader, STATEMENT_FIND_ACCOUNTS, take_accounts);
    }
    return err;
}

enum err loader_receive_intake(struct loader *loader)
{
    return has_intake(loader) ? loader_receive(loader, STATEMENT_LOCK_INTAKE, take_intake) : ERR_NONE;
}
