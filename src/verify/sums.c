/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most buyers have one purchase: only those who may have more are grouped (twins.h). The same with the
 * orders.
 */
#include "verify/sums.h"

#include "verify/db.h"
#include "verify/machine_sales.h"
#include "verify/turns.h"
#include "verify/twins.h"
#include "verify/wallet_books.h"

static const char tables_sql[] =
    "CREATE TEMP TABLE audit_shared (id INTEGER PRIMARY KEY);"
    "CREATE TEMP TABLE audit_order_twins (row INTEGER PRIMARY KEY);"
    "CREATE TEMP TABLE audit_order_repeats (order_id PRIMARY KEY, orders, id_first, id_last);"
    "CREATE TEMP TABLE audit_notification_twins (row INTEGER PRIMARY KEY);"
    "CREATE TEMP TABLE audit_notification_repeats (order_id, channel, notifications, id_last);"
    "CREATE TEMP TABLE audit_repeats"
    " (product_id, user_id, purchases, nth_min, nth_max, nth_distinct, is_payer);"
    "CREATE INDEX temp.audit_repeats_product ON audit_repeats (product_id);"
    "CREATE TEMP TABLE audit_products"
    " (product_id PRIMARY KEY, purchases, buyers, purchased_first, purchased_last, purchase_id_first,"
    "   paid_purchases, payers);"
    "CREATE TEMP TABLE audit_expected (sku TEXT PRIMARY KEY, users INTEGER);"
    "CREATE TEMP VIEW audit AS"
    " SELECT p.id AS product_id, p.sku, p.initial_stock, p.stock, p.per_user_limit, p.start_time, p.end_time,"
    "   p.state, p.end_reason, p.updated_at, ifnull(a.purchases, 0) AS purchases,"
    "   ifnull(a.buyers, 0) AS buyers, ifnull(a.purchases - a.paid_purchases, 0) AS user_purchases,"
    "   ifnull(a.buyers - a.payers, 0) AS users,"
    "   a.purchased_first, a.purchased_last, e.users AS expected_users"
    " FROM main.products AS p"
    " LEFT JOIN temp.audit_products AS a ON a.product_id = p.id"
    " LEFT JOIN temp.audit_expected AS e ON e.sku = p.sku";

/* Who pays for each unit may have as many as there are: a machine, for whoever puts coins in, " machine 7",
 * and a wallet, " key " with 64 hexadecimal digits. No client can send a name that begins with a blank. */
#define IS_PAYER                                                                           \
    "((has_machines AND p.user_id >= ' machine 1' AND p.user_id < ' machine :'"            \
    " AND p.user_id GLOB ' machine [1-9]*' AND substr(p.user_id, 10) NOT GLOB '*[^0-9]*')" \
    " OR (has_wallets AND p.user_id >= ' key 0' AND p.user_id < ' key g'"                  \
    " AND length(p.user_id) = 69 AND substr(p.user_id, 6) NOT GLOB '*[^0-9a-f]*'))"

/* A purchase outside audit_shared is its buyer's only one: buyers are those + the rows of audit_repeats. */
static const char sums_sql[] =
    "INSERT INTO temp.audit_repeats"
    " SELECT p.product_id, p.user_id, count(*), min(p.nth), max(p.nth), count(DISTINCT p.nth), " IS_PAYER
    " FROM temp.audit_store CROSS JOIN temp.audit_shared AS s JOIN main.purchases AS p ON p.id = s.id"
    " GROUP BY p.product_id, p.user_id;"
    "INSERT INTO temp.audit_products"
    " WITH total AS (SELECT product_id, count(*) AS purchases,"
    "     min(purchased_at) AS first, max(purchased_at) AS last, min(id) AS id_first,"
    "     sum(" IS_PAYER ") AS paid"
    "     FROM temp.audit_store CROSS JOIN main.purchases AS p GROUP BY product_id),"
    "   repeated AS (SELECT product_id, count(*) AS buyers, sum(purchases) AS purchases,"
    "     sum(is_payer) AS payers, sum(is_payer * purchases) AS paid"
    "     FROM temp.audit_repeats GROUP BY product_id)"
    " SELECT t.product_id, t.purchases, t.purchases - ifnull(r.purchases, 0) + ifnull(r.buyers, 0),"
    "   t.first, t.last, t.id_first, t.paid,"
    "   t.paid - ifnull(r.paid, 0) + ifnull(r.payers, 0)"
    " FROM total AS t LEFT JOIN repeated AS r ON r.product_id = t.product_id";

/* A damaged table may show an id twice. */
static enum err find_shared(sqlite3 *db, struct error *error)
{
    return twins_find(db, "SELECT id, product_id, user_id, nth IS NOT 1 FROM main.purchases",
        "INSERT OR IGNORE INTO temp.audit_shared (id) VALUES (:id)", "purchases", error);
}

static const char order_sums_sql[] =
    "INSERT INTO temp.audit_order_repeats"
    " SELECT o.order_id, count(*), min(o.id), max(o.id)"
    " FROM temp.audit_order_twins AS t CROSS JOIN temp.audit_orders AS o ON o.row = t.row"
    " GROUP BY o.order_id HAVING count(*) > 1;"
    "INSERT INTO temp.audit_notification_repeats"
    " SELECT n.order_id, n.channel, count(*), max(n.id)"
    " FROM temp.audit_notification_twins AS t CROSS JOIN temp.audit_notifications AS n ON n.row = t.row"
    " GROUP BY n.order_id, n.channel HAVING count(*) > 1";

static enum err add_up_orders(sqlite3 *db, struct error *error)
{
    enum err err = twins_find(db, "SELECT row, 0, order_id, 0 FROM temp.audit_orders",
        "INSERT INTO temp.audit_order_twins (row) VALUES (:id)", "orders", error);
    if (err == ERR_NONE)
        err = twins_find(db, "SELECT row, order_id, channel, 0 FROM temp.audit_notifications",
            "INSERT INTO temp.audit_notification_twins (row) VALUES (:id)", "notifications", error);
    return err == ERR_NONE ? db_exec(db, order_sums_sql, "add up the orders", error) : err;
}

/* What is not a number stays out of the choices: it is a fault of its machine or lease. */
static const char lease_sums_sql[] =
    "CREATE TEMP TABLE audit_holders AS SELECT lease_id AS id, id AS machine_id, ticket_id, started_at,"
    "   chosen_at, product_id, units, purchase_id"
    " FROM temp.audit_machines WHERE lease_id IS NOT NULL;"
    "CREATE INDEX temp.audit_holders_id ON audit_holders (id);"
    "CREATE TEMP VIEW audit_all_leases AS"
    " SELECT id, machine_id, ticket_id, started_at, chosen_at, product_id, units, purchase_id, outcome,"
    "   ended_at FROM temp.audit_leases UNION ALL"
    " SELECT id, machine_id, ticket_id, started_at, chosen_at, product_id, units, purchase_id, NULL, NULL"
    " FROM temp.audit_holders;"
    "CREATE TEMP VIEW audit_choices AS SELECT id, machine_id, chosen_at, product_id, units, purchase_id"
    " FROM temp.audit_all_leases WHERE typeof(purchase_id) = 'integer' AND typeof(units) = 'integer'"
    "   AND typeof(product_id) = 'integer' AND units >= 1;"
    "CREATE TEMP TABLE audit_line AS SELECT id, state, first_lease_id, end_lease_id, until_before,"
    "   max(ifnull(until_before, 0), waited_until) AS until"
    " FROM (SELECT id, state, first_lease_id, end_lease_id, waited_until,"
    "     max(waited_until + (state IS 'served'))"
    "       OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS until_before"
    "   FROM (SELECT t.id, t.state, t.first_lease_id, t.end_lease_id,"
    "       ifnull(t.end_lease_id, p.next_lease_id) AS waited_until"
    "     FROM (SELECT max(next_lease_id) AS next_lease_id FROM temp.audit_pool) AS p"
    "     CROSS JOIN temp.audit_tickets AS t))";

/* What was bought with a wallet, and who must stand as its buyer; and nonces that may be there twice. */
static const char wallet_sums_sql[] =
    "CREATE TEMP TABLE audit_spends AS"
    " SELECT t.id, t.purchase_id, t.product_id, t.created_at, t.from_account,"
    "   ' key ' || nullif(lower(hex(w.public_key)), '') AS payer"
    " FROM temp.audit_transfers AS t LEFT JOIN temp.audit_wallets AS w ON w.account_id = t.from_account"
    " WHERE t.kind = 'spend';"
    "CREATE INDEX temp.audit_spends_purchase ON audit_spends (purchase_id);"
    "CREATE TEMP TABLE audit_nonce_twins (row INTEGER PRIMARY KEY);"
    "CREATE TEMP TABLE audit_nonce_repeats (from_account, nonce, transfers, id_first, id_last)";
static const char nonce_sums_sql[] =
    "INSERT INTO temp.audit_nonce_repeats"
    " SELECT t.from_account, t.nonce, count(*), min(t.id), max(t.id)"
    " FROM temp.audit_nonce_twins AS n CROSS JOIN temp.audit_transfers AS t ON t.row = n.row"
    " GROUP BY t.from_account, t.nonce HAVING count(*) > 1";

static enum err add_up_wallets(sqlite3 *db, struct error *error)
{
    enum err err = db_exec(db, wallet_sums_sql, "gather what was paid", error);
    if (err == ERR_NONE)
        err = twins_find(db,
            "SELECT row, from_account, nonce, 0 FROM temp.audit_transfers WHERE nonce IS NOT NULL",
            "INSERT INTO temp.audit_nonce_twins (row) VALUES (:id)", "transfers", error);
    if (err == ERR_NONE)
        err = db_exec(db, nonce_sums_sql, "look for nonces that repeat", error);
    return err == ERR_NONE ? wallet_books_make(db, error) : err;
}

enum err sums_make(sqlite3 *db, struct error *error)
{
    enum err err = db_exec(db, tables_sql, "make the tables of the audit", error);
    if (err == ERR_NONE)
        err = find_shared(db, error);
    if (err == ERR_NONE)
        err = db_exec(db, sums_sql, "add up the purchases", error);
    if (err == ERR_NONE)
        err = add_up_orders(db, error);
    if (err == ERR_NONE)
        err = db_exec(db, lease_sums_sql, "gather the leases", error);
    if (err == ERR_NONE)
        err = turns_make(db, error);
    if (err == ERR_NONE)
        err = machine_sales_make(db, error);
    if (err == ERR_NONE)
        err = add_up_wallets(db, error);
    return err;
}
