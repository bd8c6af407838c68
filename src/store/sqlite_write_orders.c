/* SPDX-License-Identifier: Apache-2.0 */
/* The changes of orders, accounts and trading orders as statements; see sqlite_write.c. */
#include <string.h>

#include "base/ensure.h"
#include "core/account.h"
#include "core/intake.h"
#include "core/order.h"
#include "store/sqlite_priv.h"

static void bind_values(sqlite3_stmt *statement, const struct order *order)
{
    bind_i64(statement, 1, order->id);
    bind_text(statement, 2, order_status_name(order->values.status));
    bind_i64(statement, 3, order->values.attempts);
    bind_i64(statement, 4, order->values.updated_ms);
    bind_i64_or_null(statement, 5, order->values.paid_ms);
}

static enum err add_order(
    struct sqlite_batch *batch, const struct order *order, const struct order_request *request)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_ORDER_ADD];
    bind_values(statement, order);
    bind_text(statement, 6, order->order_id);
    bind_i64(statement, 7, order->customer_id);
    bind_text(statement, 8, order->email);
    bind_text(statement, 9, request->items);
    bind_i64(statement, 10, order->amount_minor);
    bind_i64(statement, 11, order->priority);
    bind_i64(statement, 12, request->is_sync);
    bind_i64_or_null(statement, 13, order->deadline_ms);
    bind_blob(statement, 14, order->fingerprint, FINGERPRINT_BYTES);
    bind_i64(statement, 15, order->created_ms);
    return run_write(batch, STATEMENT_ORDER_ADD);
}

static enum err add_payment(struct sqlite_batch *batch, const struct change *change)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_PAYMENT_ADD];
    const struct order *order = change->payment.order;
    bind_i64(statement, 1, order->id);
    bind_i64(statement, 2, order->amount_minor);
    bind_text(statement, 3, payment_outcome_name((enum payment_outcome)change->payment.outcome));
    bind_i64(statement, 4, order->values.attempts);
    bind_i64(statement, 5, change->payment.time_ms);
    return run_write(batch, STATEMENT_PAYMENT_ADD);
}

static enum err add_notification(struct sqlite_batch *batch, const struct change *change)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_NOTIFICATION_ADD];
    const struct order *order = change->notification.order;
    bind_i64(statement, 1, change->notification.id);
    bind_i64(statement, 2, order->id);
    bind_text(statement, 3, channel_name((enum channel)change->notification.channel));
    bind_text(statement, 4, order_event_name(order->values.status));
    bind_i64(statement, 5, change->notification.time_ms);
    return run_write(batch, STATEMENT_NOTIFICATION_ADD);
}

static enum err end_notification(struct sqlite_batch *batch, const struct change *change)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_NOTIFICATION_END];
    bind_i64(statement, 1, change->notification.id);
    bind_i64(statement, 2, change->notification.time_ms);
    return run_write_one(batch, STATEMENT_NOTIFICATION_END);
}

static enum err add_account(struct sqlite_batch *batch, const struct change *change)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_ACCOUNT_ADD];
    const struct account_request *request = change->account.request;
    bind_i64(statement, 1, change->account.account->id);
    bind_text(statement, 2, request->username);
    bind_text(statement, 3, request->username_key);
    bind_text(statement, 4, request->email);
    bind_text(statement, 5, request->email_key);
    bind_text(statement, 6, request->full_name);
    bind_text(statement, 7, request->password_hash);
    bind_i64(statement, 8, change->account.time_ms);
    return run_write(batch, STATEMENT_ACCOUNT_ADD);
}

static void bind_decimal(sqlite3_stmt *statement, int at, struct optional_decimal decimal)
{
    if (decimal.is_set)
        bind_i64(statement, at, decimal.value);
    else
        bind_null(statement, at);
}

static enum err add_intake(struct sqlite_batch *batch, const struct change *change)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_INTAKE_ADD];
    const struct intake_request *request = change->intake.request;
    if (!intake_index_reserve(&batch->store->intake_index, change->intake.id, request->account_id))
        return error_set(batch->error, ERR_MEMORY, "no memory for the index of trading orders");
    bind_i64(statement, 1, change->intake.id);
    bind_i64(statement, 2, request->account_id);
    bind_text(statement, 3, request->symbol);
    bind_text(statement, 4, intake_side_name(request->side));
    bind_text(statement, 5, intake_type_name(request->type));
    bind_i64(statement, 6, request->quantity);
    bind_decimal(statement, 7, request->price);
    bind_decimal(statement, 8, request->stop_price);
    bind_decimal(statement, 9, request->trailing_stop_pct);
    bind_decimal(statement, 10, request->iceberg_qty);
    bind_text(statement, 11, request->time_in_force);
    bind_i64(statement, 12, change->intake.time_ms);
    return run_write(batch, STATEMENT_INTAKE_ADD);
}

static enum err cancel_intake(struct sqlite_batch *batch, const struct change *change)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_INTAKE_CANCEL];
    bind_i64(statement, 1, change->intake.id);
    bind_i64(statement, 2, change->intake.time_ms);
    return run_write(batch, STATEMENT_INTAKE_CANCEL);
}

static enum err add_delivery(struct sqlite_batch *batch, const struct change *change)
{
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_INTAKE_DELIVERY_ADD];
    bind_i64(statement, 1, change->intake.first_id);
    bind_i64(statement, 2, change->intake.last_id);
    bind_i64(statement, 3, change->intake.time_ms);
    return run_write(batch, STATEMENT_INTAKE_DELIVERY_ADD);
}

/* The next id follows from the rows, which are never deleted; a batch that only appends writes nothing more.
 */
static enum err set_intake_state(struct sqlite_batch *batch, const struct change *change)
{
    const struct intake_values *now = &batch->world->intake;
    const struct intake_values *before = &change->intake.before;
    if (now->sent_id == before->sent_id && now->executed_id == before->executed_id)
        return ERR_NONE;
    sqlite3_stmt *statement = batch->store->statements[STATEMENT_INTAKE_STATE_SET];
    bind_i64(statement, 1, now->sent_id);
    bind_i64(statement, 2, now->executed_id);
    return run_write_one(batch, STATEMENT_INTAKE_STATE_SET);
}

enum err write_order_change(struct sqlite_batch *batch, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_ORDER_ADDED:
        return add_order(batch, change->order.order, change->order.request);
    case CHANGE_ORDER_UPDATED:
        bind_values(batch->store->statements[STATEMENT_ORDER_SET], change->order.order);
        return run_write_one(batch, STATEMENT_ORDER_SET);
    case CHANGE_PAYMENT_ADDED:
        return add_payment(batch, change);
    case CHANGE_NOTIFICATION_ADDED:
        return add_notification(batch, change);
    case CHANGE_NOTIFICATION_ENDED:
        return end_notification(batch, change);
    case CHANGE_ACCOUNT_ADDED:
        return add_account(batch, change);
    case CHANGE_INTAKE_ADDED:
        return add_intake(batch, change);
    case CHANGE_INTAKE_CANCELLED:
        return cancel_intake(batch, change);
    case CHANGE_INTAKE_EXECUTED:
        return add_delivery(batch, change);
    case CHANGE_INTAKE_UPDATED:
        return set_intake_state(batch, change);
    default:
        ensure_failed("the change is of a kind that exists", __FILE__, __LINE__, __func__);
    }
}
