/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of work and of orders are never given out twice, so their changes need no order among one another but
 * that of the sheets: an order before what refers to it.
 */
#include "store/postgres_write.h"

#include "base/ensure.h"
#include "core/account.h"
#include "core/intake.h"
#include "core/order.h"
#include "core/world_work.h"

/* --- work --- */

static void put_new_work(struct writer *writer, const struct work *work)
{
    struct column *row = writer_row(writer, SHEET_WORK);
    column_put_i64(&row[0], work->id);
    column_put_text(&row[1], work_kind_name(work->kind));
    column_put_text(&row[2], work->subject);
    column_put_text(&row[3], work->body);
    column_put_ms(&row[4], work->values.due_ms);
    column_put_i64(&row[5], work->values.token);
    column_put_ms(&row[6], work->created_ms);
}

/* What was added and removed in the same batch is never seen by the database. */
static void put_work(struct writer *writer, const struct change *change)
{
    const struct work *work = change->work.work;
    bool is_new = work->added_batch == writer->world->batch;
    if (change->kind == CHANGE_WORK_REMOVED && !is_new) {
        column_put_i64(writer_row(writer, SHEET_OLD_WORK), work->id);
    } else if (change->kind == CHANGE_WORK_ADDED && !work->is_removed) {
        put_new_work(writer, work);
    } else if (change->kind == CHANGE_WORK_UPDATED && !work->is_removed) {
        struct column *row = writer_row(writer, SHEET_SET_WORK);
        column_put_i64(&row[0], work->id);
        column_put_ms(&row[1], work->values.due_ms);
        column_put_i64(&row[2], work->values.token);
    }
}

/* --- orders --- */

static void put_new_order(
    struct writer *writer, const struct order *order, const struct order_request *request)
{
    struct column *row = writer_row(writer, SHEET_ORDERS);
    column_put_i64(&row[0], order->id);
    column_put_text(&row[1], order->order_id);
    column_put_i64(&row[2], order->customer_id);
    column_put_text(&row[3], order->email);
    column_put_text(&row[4], request->items);
    column_put_i64(&row[5], order->amount_minor);
    column_put_i64(&row[6], order->priority);
    column_put_i64(&row[7], request->is_sync ? 1 : 0);
    column_put_ms_or_null(&row[8], order->deadline_ms);
    column_put_text(&row[9], slice_make(order->fingerprint, FINGERPRINT_BYTES));
    column_put_text(&row[10], order_status_name(order->values.status));
    column_put_i64(&row[11], order->values.attempts);
    column_put_ms(&row[12], order->created_ms);
    column_put_ms(&row[13], order->values.updated_ms);
    column_put_ms_or_null(&row[14], order->values.paid_ms);
}

static void put_order(struct writer *writer, const struct order *order)
{
    struct column *row = writer_row(writer, SHEET_SET_ORDERS);
    column_put_i64(&row[0], order->id);
    column_put_text(&row[1], order_status_name(order->values.status));
    column_put_i64(&row[2], order->values.attempts);
    column_put_ms(&row[3], order->values.updated_ms);
    column_put_ms_or_null(&row[4], order->values.paid_ms);
}

static void put_payment(struct writer *writer, const struct change *change)
{
    const struct order *order = change->payment.order;
    struct column *row = writer_row(writer, SHEET_PAYMENTS);
    column_put_i64(&row[0], order->id);
    column_put_i64(&row[1], order->amount_minor);
    column_put_text(&row[2], payment_outcome_name((enum payment_outcome)change->payment.outcome));
    column_put_i64(&row[3], order->values.attempts);
    column_put_ms(&row[4], change->payment.time_ms);
}

static void put_notification(struct writer *writer, const struct change *change)
{
    const struct order *order = change->notification.order;
    struct column *row = writer_row(writer, SHEET_NOTIFICATIONS);
    column_put_i64(&row[0], change->notification.id);
    column_put_i64(&row[1], order->id);
    column_put_text(&row[2], channel_name((enum channel)change->notification.channel));
    column_put_text(&row[3], order_event_name(order->values.status));
    column_put_ms(&row[4], change->notification.time_ms);
}

static void put_old_notification(struct writer *writer, const struct change *change)
{
    struct column *row = writer_row(writer, SHEET_OLD_NOTIFICATIONS);
    column_put_i64(&row[0], change->notification.id);
    column_put_ms(&row[1], change->notification.time_ms);
}

/* --- accounts and trading orders --- */

static void put_account(struct writer *writer, const struct change *change)
{
    const struct account_request *request = change->account.request;
    struct column *row = writer_row(writer, SHEET_ACCOUNTS);
    column_put_i64(&row[0], change->account.account->id);
    column_put_text(&row[1], request->username);
    column_put_text(&row[2], request->username_key);
    column_put_text(&row[3], request->email);
    column_put_text(&row[4], request->email_key);
    column_put_text(&row[5], request->full_name);
    column_put_text(&row[6], request->password_hash);
    column_put_ms(&row[7], change->account.time_ms);
}

static void put_decimal(struct column *column, const struct optional_decimal *decimal)
{
    if (decimal->is_set)
        column_put_i64(column, decimal->value);
    else
        column_put_null(column);
}

static void put_intake(struct writer *writer, const struct change *change)
{
    const struct intake_request *request = change->intake.request;
    struct column *row = writer_row(writer, SHEET_INTAKE);
    column_put_i64(&row[0], change->intake.id);
    column_put_i64(&row[1], request->account_id);
    column_put_text(&row[2], request->symbol);
    column_put_text(&row[3], intake_side_name(request->side));
    column_put_text(&row[4], intake_type_name(request->type));
    column_put_i64(&row[5], request->quantity);
    put_decimal(&row[6], &request->price);
    put_decimal(&row[7], &request->stop_price);
    put_decimal(&row[8], &request->trailing_stop_pct);
    put_decimal(&row[9], &request->iceberg_qty);
    column_put_text(&row[10], request->time_in_force);
    column_put_ms(&row[11], change->intake.time_ms);
}

static void put_old_intake(struct writer *writer, const struct change *change)
{
    struct column *row = writer_row(writer, SHEET_OLD_INTAKE);
    column_put_i64(&row[0], change->intake.id);
    column_put_ms(&row[1], change->intake.time_ms);
}

static void put_delivery(struct writer *writer, const struct change *change)
{
    struct column *row = writer_row(writer, SHEET_DELIVERIES);
    column_put_i64(&row[0], change->intake.first_id);
    column_put_i64(&row[1], change->intake.last_id);
    column_put_ms(&row[2], change->intake.time_ms);
}

static enum err set_intake(struct writer *writer)
{
    const struct intake_values *values = &writer->world->intake;
    const int64_t numbers[] = {values->next_id, values->sent_id, values->executed_id};
    char memory[3][8];
    for (int i = 0; i < 3; i++)
        link_param(&writer->store->link, postgres_i64(memory[i], numbers[i]));
    return writer_send(writer, STATEMENT_SET_INTAKE);
}

/* --- --- */

enum err writer_put_order_change(struct writer *writer, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_WORK_ADDED:
    case CHANGE_WORK_UPDATED:
    case CHANGE_WORK_REMOVED:
        put_work(writer, change);
        return ERR_NONE;
    case CHANGE_ORDER_ADDED:
        put_new_order(writer, change->order.order, change->order.request);
        return ERR_NONE;
    case CHANGE_ORDER_UPDATED:
        put_order(writer, change->order.order);
        return ERR_NONE;
    case CHANGE_PAYMENT_ADDED:
        put_payment(writer, change);
        return ERR_NONE;
    case CHANGE_NOTIFICATION_ADDED:
        put_notification(writer, change);
        return ERR_NONE;
    case CHANGE_NOTIFICATION_ENDED:
        put_old_notification(writer, change);
        return ERR_NONE;
    case CHANGE_ACCOUNT_ADDED:
        put_account(writer, change);
        return ERR_NONE;
    case CHANGE_INTAKE_ADDED:
        put_intake(writer, change);
        return ERR_NONE;
    case CHANGE_INTAKE_CANCELLED:
        put_old_intake(writer, change);
        return ERR_NONE;
    case CHANGE_INTAKE_EXECUTED:
        put_delivery(writer, change);
        return ERR_NONE;
    case CHANGE_INTAKE_UPDATED:
        return set_intake(writer);
    default: /* those of the other files */
        break;
    }
    bool is_known_kind = false;
    ENSURE(is_known_kind);
    return ERR_CORRUPT;
}
