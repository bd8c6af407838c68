/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that is older than a table shows the view of it empty, so that no invariant has to ask how old it
 * is. The tables of a file are read without their indexes: an index that differs from its table must not
 * answer for it.
 *
 * In a file the id that comes next is the larger of what is noted and the largest in the table + 1. In a
 * database each node takes blocks of what is noted, and nothing else counts; the same with trading orders,
 * whose counter is changed with every one of them there.
 */
#include "verify/views.h"

#include "base/strbuf.h"
#include "verify/db.h"

enum { SQL_LEN_MAX = 16384, CLOCK_DOUBT_MS = 1000 };

enum since { SINCE_FIRST, SINCE_WORK, SINCE_ORDERS, SINCE_MACHINES, SINCE_WALLETS };

static const struct {
    const char *name;
    const char *columns; /* for a store without it */
    enum since since;
} tables[] = {
    {"work", "id, kind, subject, body, due_at, token, created_at", SINCE_WORK},
    {"orders",
        "id, order_id, customer_id, customer_email, items, amount_minor, priority, is_sync, deadline, "
        "fingerprint, status, attempts, created_at, updated_at, paid_at",
        SINCE_ORDERS},
    {"payments", "id, amount_minor, outcome, attempts, created_at", SINCE_ORDERS},
    {"notifications", "id, order_id, channel, event, created_at, delivered_at", SINCE_ORDERS},
    {"accounts", "id, username, username_key, email, email_key, full_name, password_hash, created_at",
        SINCE_ORDERS},
    {"intake_orders",
        "id, account_id, symbol, side, order_type, quantity, price, stop_price, trailing_stop_pct, "
        "iceberg_qty, time_in_force, created_at, cancelled_at",
        SINCE_ORDERS},
    {"intake_deliveries", "last_id, first_id, executed_at", SINCE_ORDERS},
    {"intake_state", "id, next_id, sent_id, executed_id", SINCE_ORDERS},
    {"machines",
        "id, name, status, is_draining, usage_count, lease_id, ticket_id, started_at, chosen_at, product_id, "
        "units, purchase_id, due_at, created_at, updated_at",
        SINCE_MACHINES},
    {"leases",
        "id, machine_id, ticket_id, started_at, chosen_at, product_id, units, purchase_id, outcome, ended_at",
        SINCE_MACHINES},
    {"tickets",
        "id, is_attached, state, expires_at, first_lease_id, end_lease_id, machine_id, created_at, ended_at",
        SINCE_MACHINES},
    {"pool", "id, next_machine_id, next_lease_id, next_ticket_id", SINCE_MACHINES},
    {"wallets", "account_id, public_key, balance_minor, last_transfer_id, updated_at", SINCE_WALLETS},
    {"transfers",
        "id, kind, from_account, to_account, from_previous_id, to_previous_id, amount_minor, "
        "from_balance_minor, to_balance_minor, product_id, purchase_id, nonce, fingerprint, created_at",
        SINCE_WALLETS},
};
enum { TABLE_COUNT = sizeof tables / sizeof tables[0] };

static const struct {
    const char *name; /* and the table's */
    bool is_of_databases;
    enum since since;
} sequences[] = {
    {"products", true, SINCE_FIRST},
    {"purchases", true, SINCE_FIRST},
    {"idempotency_keys", false, SINCE_FIRST},
    {"work", true, SINCE_WORK},
    {"accounts", true, SINCE_ORDERS},
    {"transfers", true, SINCE_WALLETS},
};
enum { SEQUENCE_COUNT = sizeof sequences / sizeof sequences[0] };

static bool has(const struct views *views, enum since since)
{
    return since == SINCE_FIRST || (since == SINCE_WORK && views->has_work) ||
           (since == SINCE_ORDERS && views->has_orders) || (since == SINCE_MACHINES && views->has_machines) ||
           (since == SINCE_WALLETS && views->has_wallets);
}

/* Rows are told apart by `row`: of a table without its key an id may be there twice. */
static void put_table(struct strbuf *sql, const struct views *views, size_t i)
{
    strbuf_printf(sql, "CREATE TEMP VIEW audit_%s AS ", tables[i].name);
    if (has(views, tables[i].since)) {
        strbuf_printf(sql, "SELECT rowid AS row, * FROM main.%s%s;", tables[i].name,
            views->is_database ? "" : " NOT INDEXED");
        return;
    }
    strbuf_printf(sql, "WITH none (row, %s) AS (SELECT NULL", tables[i].columns);
    for (const char *at = tables[i].columns; *at != '\0'; at++)
        if (*at == ',')
            strbuf_lit(sql, ", NULL");
    strbuf_lit(sql, ", NULL WHERE false) SELECT * FROM none;");
}

static void put_sequences(struct strbuf *sql, const struct views *views)
{
    const char *next = views->is_database ? "s.next_value" : "max(s.next_value, n.id_last + 1)";
    const char *joint = "";
    strbuf_printf(sql,
        "CREATE TEMP VIEW audit_sequences AS SELECT n.name, s.next_value, %s AS next_id, n.id_last FROM (",
        next);
    for (size_t i = 0; i < SEQUENCE_COUNT; i++) {
        if (!has(views, sequences[i].since) || (views->is_database && !sequences[i].is_of_databases))
            continue;
        strbuf_printf(sql, "%sSELECT '%s' AS name, ifnull((SELECT max(id) FROM main.%s), 0) AS id_last",
            joint, sequences[i].name, sequences[i].name);
        joint = " UNION ALL ";
    }
    strbuf_lit(sql, ") AS n LEFT JOIN main.sequences AS s ON s.name = n.name;");
}

enum err views_make(sqlite3 *db, const struct views *views, struct error *error)
{
    char text[SQL_LEN_MAX];
    struct strbuf sql;
    strbuf_init(&sql, text, sizeof text);
    for (size_t i = 0; i < TABLE_COUNT; i++)
        put_table(&sql, views, i);
    put_sequences(&sql, views);
    strbuf_printf(&sql,
        "CREATE TEMP VIEW audit_next_trading_order AS SELECT %s AS next_id FROM temp.audit_intake_state;"
        "CREATE TEMP TABLE audit_store AS"
        " SELECT %d AS has_orders, %d AS has_machines, %d AS has_wallets, %d AS is_database,"
        "   %d AS clock_doubt_ms;",
        views->is_database ? "next_id"
                           : "max(next_id, ifnull((SELECT max(id) + 1 FROM temp.audit_intake_orders), 1))",
        views->has_orders, views->has_machines, views->has_wallets, views->is_database,
        views->is_database ? CLOCK_DOUBT_MS : 0);
    strbuf_put_char(&sql, '\0');
    if (sql.has_overflowed)
        return error_set(error, ERR_MEMORY, "the views of the audit do not fit");
    return db_exec(db, text, "set up the audit", error);
}
