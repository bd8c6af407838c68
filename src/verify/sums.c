/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most buyers have one purchase: only those who may have more are grouped (twins.h). The same with the
 * orders.
 */
#include "verify/sums.h"

#include "verify/db.h"
#include "verify/twins.h"

static const char tables_sql[] =
    "CREATE TEMP TABLE audit_shared (id INTEGER PRIMARY KEY);"
    "CREATE TEMP TABLE audit_order_twins (row INTEGER PRIMARY KEY);"
    "CREATE TEMP TABLE audit_order_repeats (order_id PRIMARY KEY, orders, id_first, id_last);"
    "CREATE TEMP TABLE audit_notification_twins (row INTEGER PRIMARY KEY);"
    "CREATE TEMP TABLE audit_notification_repeats (order_id, channel, notifications, id_last);"
    "CREATE TEMP TABLE audit_repeats (product_id, user_id, purchases, nth_min, nth_max, nth_distinct);"
    "CREATE INDEX temp.audit_repeats_product ON audit_repeats (product_id);"
    "CREATE TEMP TABLE audit_products"
    " (product_id PRIMARY KEY, purchases, buyers, purchased_first, purchased_last);"
    "CREATE TEMP TABLE audit_expected (sku TEXT PRIMARY KEY, users INTEGER);"
    "CREATE TEMP VIEW audit AS"
    " SELECT p.id AS product_id, p.sku, p.initial_stock, p.stock, p.per_user_limit, p.start_time, p.end_time,"
    "   p.state, p.end_reason, ifnull(a.purchases, 0) AS purchases, ifnull(a.buyers, 0) AS buyers,"
    "   a.purchased_first, a.purchased_last, e.users AS expected_users"
    " FROM main.products AS p"
    " LEFT JOIN temp.audit_products AS a ON a.product_id = p.id"
    " LEFT JOIN temp.audit_expected AS e ON e.sku = p.sku";

/* A purchase outside audit_shared is its buyer's only one: buyers are those + the rows of audit_repeats. */
static const char sums_sql[] =
    "INSERT INTO temp.audit_repeats"
    " SELECT p.product_id, p.user_id, count(*), min(p.nth), max(p.nth), count(DISTINCT p.nth)"
    " FROM temp.audit_shared AS s JOIN main.purchases AS p ON p.id = s.id"
    " GROUP BY p.product_id, p.user_id;"
    "INSERT INTO temp.audit_products"
    " WITH total AS (SELECT product_id, count(*) AS purchases,"
    "     min(purchased_at) AS first, max(purchased_at) AS last FROM main.purchases GROUP BY product_id),"
    "   repeated AS (SELECT product_id, count(*) AS buyers, sum(purchases) AS purchases"
    "     FROM temp.audit_repeats GROUP BY product_id)"
    " SELECT t.product_id, t.purchases, t.purchases - ifnull(r.purchases, 0) + ifnull(r.buyers, 0),"
    "   t.first, t.last"
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

enum err sums_make(sqlite3 *db, struct error *error)
{
    enum err err = db_exec(db, tables_sql, "make the tables of the audit", error);
    if (err == ERR_NONE)
        err = find_shared(db, error);
    if (err == ERR_NONE)
        err = db_exec(db, sums_sql, "add up the purchases", error);
    if (err == ERR_NONE)
        err = add_up_orders(db, error);
    return err;
}
