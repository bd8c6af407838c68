/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A constraint is known by its table, its kind and its columns, not by the text of its definition: that text
 * is written differently by each version of PostgreSQL and after a dump was restored. What a weaker
 * definition lets through is found in the rows.
 */
#include "verify/postgres_sound.h"

#include "verify/db.h"

/* One row (fault) for everything that is not as migrate made it. */
static const char faults_sql[] =
    "WITH tables AS ("
    " SELECT name, to_regclass(name) AS id FROM (VALUES"
    "  ('products', 1), ('purchase_log', 1), ('idempotency_keys', 1), ('sequences', 1), ('work', 1),"
    "  ('orders', 2), ('payments', 2), ('notifications', 2), ('accounts', 2), ('intake_orders', 2),"
    "  ('intake_deliveries', 2), ('intake_state', 2), ('secrets', 2)) AS known (name, since)"
    " WHERE since <= (SELECT version FROM doorbuster_schema)),"

    "columns_expected (name, attname, type, is_required) AS (VALUES"
    " ('products', 'id', 'bigint', true), ('products', 'sku', 'character varying', true),"
    " ('products', 'product_name', 'character varying', true), ('products', 'initial_stock', 'bigint', true),"
    " ('products', 'stock', 'bigint', true), ('products', 'price_minor', 'bigint', true),"
    " ('products', 'per_user_limit', 'bigint', true),"
    " ('products', 'start_time', 'timestamp with time zone', true),"
    " ('products', 'end_time', 'timestamp with time zone', true),"
    " ('products', 'state', 'character varying', true), ('products', 'end_reason', 'character varying', "
    "false),"
    " ('products', 'created_at', 'timestamp with time zone', true),"
    " ('products', 'created_by', 'character varying', true),"
    " ('products', 'updated_at', 'timestamp with time zone', true),"
    " ('products', 'updated_by', 'character varying', true),"
    " ('purchase_log', 'id', 'bigint', true), ('purchase_log', 'product_id', 'bigint', true),"
    " ('purchase_log', 'user_id', 'character varying', true), ('purchase_log', 'nth', 'bigint', true),"
    " ('purchase_log', 'purchased_at', 'timestamp with time zone', true),"
    " ('idempotency_keys', 'id', 'bigint', true), ('idempotency_keys', 'scope', 'text', true),"
    " ('idempotency_keys', 'key', 'text', true), ('idempotency_keys', 'fingerprint', 'bytea', true),"
    " ('idempotency_keys', 'result', 'integer', true), ('idempotency_keys', 'number', 'bigint', true),"
    " ('idempotency_keys', 'time', 'bigint', true),"
    " ('idempotency_keys', 'created_at', 'timestamp with time zone', true),"
    " ('sequences', 'name', 'text', true), ('sequences', 'next_value', 'bigint', true),"
    " ('work', 'id', 'bigint', true), ('work', 'kind', 'text', true), ('work', 'subject', 'text', true),"
    " ('work', 'body', 'text', true), ('work', 'due_at', 'timestamp with time zone', true),"
    " ('work', 'token', 'bigint', true), ('work', 'created_at', 'timestamp with time zone', true),"
    " ('orders', 'id', 'bigint', true), ('orders', 'order_id', 'character varying', true),"
    " ('orders', 'customer_id', 'bigint', true), ('orders', 'customer_email', 'character varying', true),"
    " ('orders', 'items', 'text', true), ('orders', 'amount_minor', 'bigint', true),"
    " ('orders', 'priority', 'bigint', true), ('orders', 'is_sync', 'boolean', true),"
    " ('orders', 'deadline', 'timestamp with time zone', false), ('orders', 'fingerprint', 'bytea', true),"
    " ('orders', 'status', 'character varying', true), ('orders', 'attempts', 'bigint', true),"
    " ('orders', 'created_at', 'timestamp with time zone', true),"
    " ('orders', 'updated_at', 'timestamp with time zone', true),"
    " ('orders', 'paid_at', 'timestamp with time zone', false),"
    " ('payments', 'id', 'bigint', true), ('payments', 'amount_minor', 'bigint', true),"
    " ('payments', 'outcome', 'character varying', true), ('payments', 'attempts', 'bigint', true),"
    " ('payments', 'created_at', 'timestamp with time zone', true),"
    " ('notifications', 'id', 'bigint', true), ('notifications', 'order_id', 'bigint', true),"
    " ('notifications', 'channel', 'character varying', true),"
    " ('notifications', 'event', 'character varying', true),"
    " ('notifications', 'created_at', 'timestamp with time zone', true),"
    " ('notifications', 'delivered_at', 'timestamp with time zone', false),"
    " ('accounts', 'id', 'bigint', true), ('accounts', 'username', 'character varying', true),"
    " ('accounts', 'username_key', 'character varying', true),"
    " ('accounts', 'email', 'character varying', true), ('accounts', 'email_key', 'character varying', true),"
    " ('accounts', 'full_name', 'character varying', true),"
    " ('accounts', 'password_hash', 'character varying', true),"
    " ('accounts', 'created_at', 'timestamp with time zone', true),"
    " ('intake_orders', 'id', 'bigint', true), ('intake_orders', 'account_id', 'bigint', true),"
    " ('intake_orders', 'symbol', 'character varying', true),"
    " ('intake_orders', 'side', 'character varying', true),"
    " ('intake_orders', 'order_type', 'character varying', true),"
    " ('intake_orders', 'quantity', 'bigint', true), ('intake_orders', 'price', 'bigint', false),"
    " ('intake_orders', 'stop_price', 'bigint', false),"
    " ('intake_orders', 'trailing_stop_pct', 'bigint', false),"
    " ('intake_orders', 'iceberg_qty', 'bigint', false),"
    " ('intake_orders', 'time_in_force', 'character varying', true),"
    " ('intake_orders', 'created_at', 'timestamp with time zone', true),"
    " ('intake_orders', 'cancelled_at', 'timestamp with time zone', false),"
    " ('intake_deliveries', 'last_id', 'bigint', true), ('intake_deliveries', 'first_id', 'bigint', true),"
    " ('intake_deliveries', 'executed_at', 'timestamp with time zone', true),"
    " ('intake_state', 'id', 'bigint', true), ('intake_state', 'next_id', 'bigint', true),"
    " ('intake_state', 'sent_id', 'bigint', true), ('intake_state', 'executed_id', 'bigint', true),"
    " ('secrets', 'name', 'text', true), ('secrets', 'value', 'bytea', true)),"

    "columns AS ("
    " SELECT e.*, a.atttypid::regtype::text AS found, a.attnotnull"
    " FROM columns_expected AS e JOIN tables AS t USING (name)"
    " LEFT JOIN pg_attribute AS a ON a.attrelid = t.id AND a.attname = e.attname AND NOT a.attisdropped),"

    "constraints_expected (name, contype, attnames) AS (VALUES"
    " ('products', 'p', 'id'), ('products', 'u', 'sku'), ('products', 'c', 'initial_stock'),"
    " ('products', 'c', 'initial_stock,stock'), ('products', 'c', 'price_minor'),"
    " ('products', 'c', 'per_user_limit'), ('products', 'c', 'end_time,start_time'), ('products', 'c', "
    "'state'),"
    " ('products', 'c', 'end_reason'), ('products', 'c', 'end_reason,state'),"
    " ('purchase_log', 'p', 'id'), ('purchase_log', 'f', 'product_id'), ('purchase_log', 'c', 'nth'),"
    " ('purchase_log', 'u', 'nth,product_id,user_id'),"
    " ('idempotency_keys', 'p', 'key,scope'), ('idempotency_keys', 'c', 'fingerprint'),"
    " ('sequences', 'p', 'name'), ('sequences', 'c', 'next_value'), ('work', 'p', 'id'), ('work', 'c', "
    "'token'),"
    " ('orders', 'p', 'id'), ('orders', 'u', 'order_id'), ('orders', 'c', 'amount_minor'),"
    " ('orders', 'c', 'priority'), ('orders', 'c', 'fingerprint'), ('orders', 'c', 'status'),"
    " ('orders', 'c', 'attempts'), ('orders', 'c', 'paid_at,status'),"
    " ('payments', 'p', 'id'), ('payments', 'f', 'id'), ('payments', 'c', 'amount_minor'),"
    " ('payments', 'c', 'outcome'), ('payments', 'c', 'attempts'),"
    " ('notifications', 'p', 'id'), ('notifications', 'f', 'order_id'), ('notifications', 'c', 'channel'),"
    " ('notifications', 'c', 'event'),"
    " ('accounts', 'p', 'id'), ('accounts', 'u', 'username_key'), ('accounts', 'u', 'email_key'),"
    " ('intake_orders', 'p', 'id'), ('intake_orders', 'c', 'side'),"
    " ('intake_orders', 'c', 'order_type'), ('intake_orders', 'c', 'quantity'),"
    " ('intake_deliveries', 'p', 'last_id'), ('intake_deliveries', 'c', 'first_id,last_id'),"
    " ('intake_state', 'p', 'id'), ('intake_state', 'c', 'id'), ('intake_state', 'c', 'next_id'),"
    " ('intake_state', 'c', 'sent_id'), ('intake_state', 'c', 'executed_id,sent_id'),"
    " ('secrets', 'p', 'name')),"

    "constraints AS ("
    " SELECT e.*, c.conname, c.convalidated, CASE e.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN "
    "'unique'"
    " WHEN 'f' THEN 'foreign key' ELSE 'check' END AS kind"
    " FROM constraints_expected AS e JOIN tables AS t USING (name)"
    " LEFT JOIN pg_constraint AS c ON c.conrelid = t.id AND c.contype::text = e.contype AND NOT "
    "c.condeferrable AND"
    "   e.attnames = (SELECT string_agg(a.attname, ',' ORDER BY a.attname COLLATE \"C\") FROM pg_attribute "
    "AS a"
    "     WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)))"

    "SELECT format('the column %s of %s is missing', attname, name) FROM columns WHERE found IS NULL "
    "UNION ALL SELECT format('the column %s of %s is %s and should be %s', attname, name, found, type)"
    " FROM columns WHERE found <> type "
    "UNION ALL SELECT format('the column %s of %s may be NULL', attname, name)"
    " FROM columns WHERE is_required AND NOT attnotnull "
    "UNION ALL SELECT format('the constraint of %s on (%s), %s, is missing', name, attnames, kind)"
    " FROM constraints WHERE conname IS NULL "
    "UNION ALL SELECT format('the constraint %s of %s is not validated: it holds for new rows only', "
    "conname, name)"
    " FROM constraints WHERE NOT convalidated "
    "UNION ALL SELECT format('the index %s of %s is not valid', i.indexrelid::regclass, t.name)"
    " FROM pg_index AS i JOIN tables AS t ON t.id = i.indrelid"
    " WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) "
    "UNION ALL SELECT format('the trigger %s of %s, which keeps a foreign key, is switched off', g.tgname, "
    "t.name)"
    " FROM pg_trigger AS g JOIN tables AS t ON t.id = g.tgrelid WHERE g.tgisinternal AND g.tgenabled <> 'O' "
    "UNION ALL SELECT format('the table %s does not outlast a crash of the database (unlogged)', t.name)"
    " FROM pg_class AS c JOIN tables AS t ON t.id = c.oid WHERE c.relpersistence <> 'p' "
    "UNION ALL SELECT format('the view purchases shows %s rows, but purchase_log has %s', seen, kept)"
    " FROM (SELECT (SELECT count(*) FROM purchases) AS seen, (SELECT count(*) FROM purchase_log) AS kept) AS "
    "counts"
    " WHERE seen <> kept";

enum err postgres_sound_check(const struct postgres_link *link, sqlite3 *db, struct error *error)
{
    static const char doing[] = "note the faults of the database";
    PGresult *result;
    sqlite3_stmt *stmt;
    enum err err = postgres_link_ask(link, faults_sql, "look over the tables of", &result, error);
    if (err != ERR_NONE)
        return err;
    err = db_prepare(db, "INSERT INTO temp.audit_damage (fault) VALUES (:fault)", doing, &stmt, error);
    for (int i = 0; i < PQntuples(result) && err == ERR_NONE; i++) {
        db_bind_text(stmt, ":fault", slice_cstr(PQgetvalue(result, i, 0)));
        if (sqlite3_step(stmt) != SQLITE_DONE)
            err = db_fail(db, doing, error);
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    PQclear(result);
    return err;
}
