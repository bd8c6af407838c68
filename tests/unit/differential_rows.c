/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of both stores of the differential test. */
#include <sqlite3.h>

#include "base/strbuf.h"
#include "differential.h"

enum { TEXT_MAX = 64 * 1024 * 1024 };

struct table {
    const char *sqlite;
    const char *postgres;
};

#define MS(column) "(extract(epoch FROM " column ") * 1000)::bigint"

/* Ids of products differ; one that is gone has no sku. */
#define SKU_OF_ROW "coalesce((SELECT sku FROM products WHERE products.id = product_id), '')"

/* The last column is the number of a purchase, or empty. */
static const struct table tables[] =
    {
        {"SELECT sku, product_name, initial_stock, stock, price_minor, per_user_limit, state,"
         " coalesce(end_reason, ''), start_time, end_time, created_at, updated_at, category, is_featured, '' "
         "FROM products "
         "ORDER BY sku",
            "SELECT sku, product_name, initial_stock, stock, price_minor, per_user_limit, state,"
            " coalesce(end_reason, ''), " MS("start_time") ", " MS("end_time") ", " MS("created_at") ", " MS(
                "updated_at") ", category, is_featured::int, '' FROM products ORDER BY sku COLLATE \"C\""},
        {"SELECT sku, user_id, nth, purchased_at, purchases.id FROM purchases"
         " JOIN products ON products.id = product_id ORDER BY sku, user_id, nth",
            "SELECT sku, user_id, nth, " MS(
                "purchased_at") ", purchases.id FROM purchases"
                                " JOIN products ON products.id = product_id ORDER BY "
                                "sku COLLATE \"C\", user_id COLLATE \"C\", nth"},
        {"SELECT scope, key, lower(hex(fingerprint)), result, time, created_at, number FROM "
         "idempotency_keys"
         " ORDER BY scope, key",
            "SELECT scope, key, encode(fingerprint, 'hex'), result, time, " MS(
                "created_at") ", number FROM idempotency_keys ORDER BY scope COLLATE \"C\", key COLLATE "
                              "\"C\""},
        {"SELECT kind, subject, due_at, token, created_at, '' FROM work ORDER BY kind, subject, "
         "created_at, "
         "due_at, token",
            "SELECT kind, subject, " MS("due_at") ", token, " MS(
                "created_at") ", '' FROM work"
                              " ORDER BY kind COLLATE \"C\", subject COLLATE \"C\", created_at, due_at, "
                              "token"},
        {"SELECT order_id, customer_id, customer_email, items, amount_minor, priority, is_sync, "
         "coalesce(deadline, ''),"
         " lower(hex(fingerprint)), status, attempts, created_at, updated_at, coalesce(paid_at, ''), '' "
         "FROM orders"
         " ORDER BY order_id",
            "SELECT order_id, customer_id, customer_email, items, amount_minor, priority, "
            "is_sync::int, " MS("deadline") ", encode(fingerprint, 'hex'), status, attempts, " MS(
                "created_at") ", " MS("updated_at") ", " MS("paid_at") ", '' FROM orders ORDER BY "
                                                                       "order_id COLLATE \"C\""},
        {"SELECT order_id, payments.amount_minor, outcome, payments.attempts, payments.created_at, '' "
         "FROM payments"
         " JOIN orders ON orders.id = payments.id ORDER BY order_id",
            "SELECT order_id, payments.amount_minor, outcome, payments.attempts, " MS(
                "payments.created_at") ", ''"
                                       " FROM payments JOIN orders ON orders.id = payments.id ORDER BY "
                                       "order_id COLLATE \"C\""},
        {"SELECT orders.order_id, channel, event, notifications.created_at, coalesce(delivered_at, ''), "
         "''"
         " FROM notifications JOIN orders ON orders.id = notifications.order_id ORDER BY "
         "orders.order_id, channel",
            "SELECT orders.order_id, channel, event, " MS("notifications.created_at") ", " MS(
                "delivered_at") ", ''"
                                " FROM notifications JOIN orders ON orders.id = notifications.order_id"
                                " ORDER BY orders.order_id COLLATE \"C\", channel COLLATE \"C\""},
        {"SELECT username, username_key, email, email_key, full_name, password_hash, created_at, '' FROM "
         "accounts"
         " ORDER BY username_key",
            "SELECT username, username_key, email, email_key, full_name, password_hash, " MS(
                "created_at") ", ''"
                              " FROM accounts ORDER BY username_key COLLATE \"C\""},
        {"SELECT username, lower(hex(public_key)), balance_minor, last_transfer_id IS NULL, updated_at, ''"
         " FROM wallets JOIN accounts ON accounts.id = account_id ORDER BY username",
            "SELECT username, encode(public_key, 'hex'), balance_minor, (last_transfer_id IS NULL)::int,"
            " " MS("updated_at") ", '' FROM wallets JOIN accounts ON accounts.id = account_id"
                                 " ORDER BY username COLLATE \"C\""},
        {"SELECT coalesce(f.username, ''), coalesce(nonce, ''), coalesce(t.username, ''), kind, amount_minor,"
         " coalesce(from_balance_minor, ''), coalesce(to_balance_minor, ''), from_previous_id IS NULL,"
         " to_previous_id IS NULL, coalesce(lower(hex(fingerprint)), ''), transfers.created_at, " SKU_OF_ROW
         ", purchase_id FROM transfers LEFT JOIN accounts AS f ON f.id = from_account"
         " LEFT JOIN accounts AS t ON t.id = to_account ORDER BY 1, 2, 3",
            "SELECT coalesce(f.username, '') COLLATE \"C\", coalesce(nonce, '') COLLATE \"C\","
            " coalesce(t.username, '') COLLATE \"C\", kind, amount_minor, from_balance_minor,"
            " to_balance_minor, (from_previous_id IS NULL)::int, (to_previous_id IS NULL)::int,"
            " encode(fingerprint, 'hex'), " MS(
                "transfers.created_at") ", " SKU_OF_ROW ", purchase_id FROM transfers LEFT JOIN accounts AS "
                                        "f ON f.id = from_account"
                                        " LEFT JOIN accounts AS t ON t.id = to_account ORDER BY 1, 2, 3"},
        {"SELECT id, account_id, symbol, side, order_type, quantity, coalesce(price, ''), "
         "coalesce(stop_price, ''),"
         " coalesce(trailing_stop_pct, ''), coalesce(iceberg_qty, ''), time_in_force, created_at,"
         " coalesce(cancelled_at, ''), '' FROM intake_orders ORDER BY id",
            "SELECT id, account_id, symbol, side, order_type, quantity, price, stop_price, "
            "trailing_stop_pct,"
            " iceberg_qty, time_in_force, " MS("created_at") ", " MS("cancelled_at") ", '' FROM intake_orders"
                                                                                     " ORDER BY id"},
        {"SELECT first_id, last_id, executed_at, '' FROM intake_deliveries ORDER BY last_id",
            "SELECT first_id, last_id, " MS("executed_at") ", '' FROM intake_deliveries ORDER BY last_id"},
        {"SELECT sent_id, executed_id, '' FROM intake_state",
            "SELECT sent_id, executed_id, '' FROM intake_state"},
        {"SELECT id, name, status, is_draining, usage_count, coalesce(lease_id, ''), coalesce(ticket_id, ''),"
         " coalesce(started_at, ''), coalesce(chosen_at, ''), coalesce(units, ''), coalesce(due_at, ''),"
         " created_at, updated_at, " SKU_OF_ROW ", purchase_id FROM machines ORDER BY id",
            "SELECT id, name, status, is_draining::int, usage_count, lease_id, ticket_id, " MS("started_at") ", " MS(
                "chosen_at") ", units, " MS("due_at") ", " MS("created_at") ", " MS("updated_at") ","
                                                                                                  " " SKU_OF_ROW
                                                                                                  ", "
                                                                                                  "purchase_"
                                                                                                  "id FROM "
                                                                                                  "machines "
                                                                                                  "ORDER BY "
                                                                                                  "id"},
        {"SELECT id, machine_id, coalesce(ticket_id, ''), started_at, coalesce(chosen_at, ''),"
         " coalesce(units, ''), outcome, ended_at, " SKU_OF_ROW ", purchase_id FROM leases ORDER BY id",
            "SELECT id, machine_id, ticket_id, " MS("started_at") ", " MS(
                "chosen_at") ", units, outcome, " MS("ended_at") ", " SKU_OF_ROW
                                                                 ", purchase_id FROM leases ORDER BY id"},
        {"SELECT id, is_attached, state, expires_at, first_lease_id, coalesce(end_lease_id, ''),"
         " coalesce(machine_id, ''), created_at, coalesce(ended_at, ''), '' FROM tickets ORDER BY id",
            "SELECT id, is_attached::int, state, " MS(
                "expires_at") ", first_lease_id, end_lease_id, machine_id,"
                              " " MS("created_at") ", " MS("ended_at") ", '' FROM tickets ORDER BY id"},
        {"SELECT next_machine_id, next_lease_id, next_ticket_id, '' FROM pool",
            "SELECT next_machine_id, next_lease_id, next_ticket_id, '' FROM pool"},
};

/* The rows of the embedded store, with the numbers that PostgreSQL gave the same purchases. */
static void put_embedded(struct run *run, struct strbuf *text, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *rows;
    assert_int_equal(
        sqlite3_open_v2(place_path(run->place, "store.db"), &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &rows, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    while (sqlite3_step(rows) == SQLITE_ROW) {
        int last = sqlite3_column_count(rows) - 1;
        int64_t number = sqlite3_column_int64(rows, last);
        for (int i = 0; i < last; i++)
            strbuf_printf(text, "%s|", (const char *)sqlite3_column_text(rows, i));
        if (sqlite3_column_type(rows, last) == SQLITE_INTEGER)
            strbuf_printf(text, "%" PRId64, number == 0 ? 0 : run->numbers[number]);
        strbuf_put_char(text, '\n');
    }
    assert_int_equal(sqlite3_finalize(rows), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void put_shared(struct run *run, struct strbuf *text, const char *sql)
{
    PGresult *rows = PQexec(run->database.conn, sql);
    if (PQresultStatus(rows) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(run->database.conn));
    for (int row = 0; row < PQntuples(rows); row++) {
        for (int i = 0; i < PQnfields(rows); i++)
            strbuf_printf(text, i == 0 ? "%s" : "|%s", PQgetvalue(rows, row, i));
        strbuf_put_char(text, '\n');
    }
    PQclear(rows);
}

void check_rows(struct run *run)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        struct strbuf ours;
        struct strbuf theirs;
        strbuf_init_heap(&ours, TEXT_MAX);
        strbuf_init_heap(&theirs, TEXT_MAX);
        put_embedded(run, &ours, tables[i].sqlite);
        put_shared(run, &theirs, tables[i].postgres);
        CHECK(run, slice_eq(strbuf_slice(&ours), strbuf_slice(&theirs)),
            "%s\nembedded:\n%.*s\nPostgreSQL:\n%.*s", tables[i].sqlite, SLICE_ARGS(strbuf_slice(&ours)),
            SLICE_ARGS(strbuf_slice(&theirs)));
        strbuf_fini(&ours);
        strbuf_fini(&theirs);
    }
}
