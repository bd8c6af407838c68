/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of orders, accounts and trading orders, and the secret; see sqlite_load.c. */
#include <string.h>

#include "core/account.h"
#include "core/intake.h"
#include "core/order.h"
#include "store/sqlite_priv.h"

/* Ids of orders are of the sequence of work, whose largest they may be. */
static const char orders_text[] =
    "SELECT id, customer_id, amount_minor, priority, attempts, created_at, updated_at, paid_at, deadline,"
    " status, order_id, customer_email, fingerprint FROM orders ORDER BY id";

static void note_id(struct sqlite_loader *loader, enum sequence sequence, int64_t id)
{
    if (id > loader->id_last[sequence])
        loader->id_last[sequence] = id;
}

static enum err load_order(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    struct order order = {
        .id = sqlite3_column_int64(row, 0),
        .customer_id = sqlite3_column_int64(row, 1),
        .amount_minor = sqlite3_column_int64(row, 2),
        .priority = sqlite3_column_int(row, 3),
        .created_ms = sqlite3_column_int64(row, 5),
        .deadline_ms = sqlite3_column_int64(row, 8),
        .order_id = row_text(row, 10),
        .email = row_text(row, 11),
        .values = {.attempts = sqlite3_column_int64(row, 4),
            .updated_ms = sqlite3_column_int64(row, 6),
            .paid_ms = sqlite3_column_int64(row, 7)},
    };
    bool is_sound = row_has_types(row, "iiiiiiinntttb") && order.id > 0 && order.order_id.len > 0 &&
                    order.order_id.len <= ORDER_ID_LEN_MAX && order.email.len <= ORDER_EMAIL_LEN_MAX &&
                    order_status_from_name(row_text(row, 9), &order.values.status) &&
                    sqlite3_column_bytes(row, 12) == FINGERPRINT_BYTES &&
                    world_order(loader->world, order.order_id) == NULL;
    if (!is_sound)
        return load_damaged(loader, "orders", order.id);
    memcpy(order.fingerprint, sqlite3_column_blob(row, 12), FINGERPRINT_BYTES);
    note_id(loader, SEQUENCE_WORK, order.id);
    return world_load_order(loader->world, &order) ? ERR_NONE : load_no_memory(loader);
}

/* An open order without the work of its payment would wait for ever, and work without its order cannot be
 * done: the rules rely on both. */
static const char pairs_text[] =
    "SELECT id, status IN ('pending', 'processing') FROM orders"
    " WHERE (status IN ('pending', 'processing')) <> EXISTS"
    " (SELECT 1 FROM work WHERE work.id = orders.id AND kind = 'payment')"
    " UNION ALL SELECT id, 2 FROM work WHERE kind = 'payment' AND id NOT IN (SELECT id FROM orders)";

static enum err load_lone(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    return load_damaged(loader, "orders or work", sqlite3_column_int64(row, 0));
}

static const char notification_ids_text[] = "SELECT coalesce(max(id), 0) FROM notifications";

static enum err load_notification_id(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    note_id(loader, SEQUENCE_WORK, sqlite3_column_int64(row, 0));
    return ERR_NONE;
}

static const char accounts_text[] = "SELECT id, username_key, email_key FROM accounts ORDER BY id";

static enum err load_account(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    int64_t id = sqlite3_column_int64(row, 0);
    struct slice username_key = row_text(row, 1);
    struct slice email_key = row_text(row, 2);
    bool is_sound = row_has_types(row, "itt") && id > loader->id_last[SEQUENCE_ACCOUNTS] &&
                    username_key.len > 0 && username_key.len <= ACCOUNT_USERNAME_LEN_MAX &&
                    email_key.len > 0 && email_key.len <= ACCOUNT_EMAIL_LEN_MAX &&
                    world_account_by_username(loader->world, username_key) == NULL &&
                    world_account_by_email(loader->world, email_key) == NULL;
    if (!is_sound)
        return load_damaged(loader, "accounts", id);
    note_id(loader, SEQUENCE_ACCOUNTS, id);
    return world_load_account(loader->world, id, username_key, email_key) ? ERR_NONE : load_no_memory(loader);
}

static const char intake_orders_text[] =
    "SELECT id, account_id, cancelled_at IS NOT NULL FROM intake_orders ORDER BY id";

/* Which account has which orders; what they are, only readers look at. */
static enum err load_intake_order(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    struct intake_index *index = &loader->store->intake_index;
    int64_t id = sqlite3_column_int64(row, 0);
    int64_t account_id = sqlite3_column_int64(row, 1);
    if (!row_has_types(row, "iii") || id < 1)
        return load_damaged(loader, "intake_orders", id);
    if (!intake_index_reserve(index, id, account_id))
        return load_no_memory(loader);
    intake_index_add(index, id, account_id);
    if (sqlite3_column_int64(row, 2) != 0)
        intake_index_cancel(index, id);
    return ERR_NONE;
}

static const char intake_text[] = "SELECT coalesce((SELECT max(id) + 1 FROM intake_orders), 1), next_id, "
                                  "sent_id, executed_id FROM intake_state";

static enum err load_intake(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    struct intake_values *intake = &loader->world->intake;
    int64_t next_id = sqlite3_column_int64(row, 1);
    intake->next_id = sqlite3_column_int64(row, 0);
    intake->sent_id = sqlite3_column_int64(row, 2);
    intake->executed_id = sqlite3_column_int64(row, 3);
    bool is_sound = row_has_types(row, "iiii") && next_id <= intake->next_id && intake->executed_id >= 0 &&
                    intake->executed_id <= intake->sent_id && intake->sent_id < intake->next_id;
    return is_sound ? ERR_NONE : load_damaged(loader, "intake_state", 1);
}

static const char secret_text[] = "SELECT value FROM secrets WHERE name = 'tokens'";

static enum err load_secret(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    if (!row_has_types(row, "b") || sqlite3_column_bytes(row, 0) != STORE_SECRET_BYTES)
        return load_damaged(loader, "secrets", 1);
    memcpy(loader->store->base.secret, sqlite3_column_blob(row, 0), STORE_SECRET_BYTES);
    return ERR_NONE;
}

/* The rows that are always there. */
static const char missing_text[] =
    "SELECT 'intake_state' WHERE NOT EXISTS (SELECT 1 FROM intake_state)"
    " UNION ALL SELECT 'secrets' WHERE NOT EXISTS (SELECT 1 FROM secrets WHERE name = 'tokens')";

static enum err load_missing(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    return error_set(loader->error, ERR_CORRUPT,
        "%s is damaged: the row of %.*s is gone; keep a copy and restore a backup", loader->store->path,
        SLICE_ARGS(row_text(row, 0)));
}

enum err load_orders(struct sqlite_loader *loader)
{
    static const struct {
        const char *text;
        load_row *load_one;
    } tables[] = {
        {orders_text, load_order},
        {pairs_text, load_lone},
        {notification_ids_text, load_notification_id},
        {accounts_text, load_account},
        {missing_text, load_missing},
        {intake_orders_text, load_intake_order},
        {intake_text, load_intake},
        {secret_text, load_secret},
    };
    enum err err = ERR_NONE;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && err == ERR_NONE; i++)
        err = load_table(loader, tables[i].text, tables[i].load_one);
    return err;
}
