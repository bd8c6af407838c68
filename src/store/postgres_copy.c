/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows go by COPY in its binary format: a count of 16 bits, then each field as its length in 32 bits and
 * its bytes, all big-endian; before the first row a head, after the last a count of -1.
 *
 * Proof that nothing was lost or changed: each row that is read from the file is hashed in a form of its own,
 * with times as milliseconds since 1970; afterwards the database sends its rows in that same form, its own
 * arithmetic turning the times back. The sums of the hashes must be equal.
 */
#include "store/postgres_copy.h"

#include <endian.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/ensure.h"
#include "base/strbuf.h"
#include "store/postgres_priv.h"
#include "store/sqlite_source.h"

enum {
    FIELDS_MAX = 18,
    CHUNK_BYTES = 256 * 1024,
    COPY_STALL_MS = 60000,
    ROW_BYTES_MAX = 64 * 1024 * 1024, /* far above any row that the wire lets in */
};

#define YEAR_2000_MS INT64_C(946684800000)

enum field_kind { FIELD_BIG, FIELD_INT, FIELD_BOOL, FIELD_TIME, FIELD_TEXT, FIELD_BYTES };

struct field {
    const char *name;
    enum field_kind kind;
};

struct table {
    const char *name;
    struct field fields[FIELDS_MAX]; /* the key first; name NULL past the end */
};

/* In the order in which foreign keys want them. */
static const struct table tables[COPY_TABLE_COUNT] = {
    {"products", {{"id", FIELD_BIG}, {"sku", FIELD_TEXT}, {"product_name", FIELD_TEXT},
                     {"initial_stock", FIELD_BIG}, {"stock", FIELD_BIG}, {"price_minor", FIELD_BIG},
                     {"per_user_limit", FIELD_BIG}, {"start_time", FIELD_TIME}, {"end_time", FIELD_TIME},
                     {"state", FIELD_TEXT}, {"end_reason", FIELD_TEXT}, {"created_at", FIELD_TIME},
                     {"created_by", FIELD_TEXT}, {"updated_at", FIELD_TIME}, {"updated_by", FIELD_TEXT},
                     {"category", FIELD_TEXT}, {"is_featured", FIELD_BOOL}}},
    {"purchase_log", {{"id", FIELD_BIG}, {"product_id", FIELD_BIG}, {"user_id", FIELD_TEXT},
                         {"nth", FIELD_BIG}, {"purchased_at", FIELD_TIME}}},
    {"idempotency_keys",
        {{"id", FIELD_BIG}, {"scope", FIELD_TEXT}, {"key", FIELD_TEXT}, {"fingerprint", FIELD_BYTES},
            {"result", FIELD_INT}, {"number", FIELD_BIG}, {"time", FIELD_BIG}, {"created_at", FIELD_TIME}}},
    {"work", {{"id", FIELD_BIG}, {"kind", FIELD_TEXT}, {"subject", FIELD_TEXT}, {"body", FIELD_TEXT},
                 {"due_at", FIELD_TIME}, {"token", FIELD_BIG}, {"created_at", FIELD_TIME}}},
    {"orders", {{"id", FIELD_BIG}, {"order_id", FIELD_TEXT}, {"customer_id", FIELD_BIG},
                   {"customer_email", FIELD_TEXT}, {"items", FIELD_TEXT}, {"amount_minor", FIELD_BIG},
                   {"priority", FIELD_BIG}, {"is_sync", FIELD_BOOL}, {"deadline", FIELD_TIME},
                   {"fingerprint", FIELD_BYTES}, {"status", FIELD_TEXT}, {"attempts", FIELD_BIG},
                   {"created_at", FIELD_TIME}, {"updated_at", FIELD_TIME}, {"paid_at", FIELD_TIME}}},
    {"payments", {{"id", FIELD_BIG}, {"amount_minor", FIELD_BIG}, {"outcome", FIELD_TEXT},
                     {"attempts", FIELD_BIG}, {"created_at", FIELD_TIME}}},
    {"notifications", {{"id", FIELD_BIG}, {"order_id", FIELD_BIG}, {"channel", FIELD_TEXT},
                          {"event", FIELD_TEXT}, {"created_at", FIELD_TIME}, {"delivered_at", FIELD_TIME}}},
    {"accounts", {{"id", FIELD_BIG}, {"username", FIELD_TEXT}, {"username_key", FIELD_TEXT},
                     {"email", FIELD_TEXT}, {"email_key", FIELD_TEXT}, {"full_name", FIELD_TEXT},
                     {"password_hash", FIELD_TEXT}, {"created_at", FIELD_TIME}}},
    {"wallets", {{"account_id", FIELD_BIG}, {"public_key", FIELD_BYTES}, {"balance_minor", FIELD_BIG},
                    {"last_transfer_id", FIELD_BIG}, {"updated_at", FIELD_TIME}}},
    {"transfers",
        {{"id", FIELD_BIG}, {"kind", FIELD_TEXT}, {"from_account", FIELD_BIG}, {"to_account", FIELD_BIG},
            {"from_previous_id", FIELD_BIG}, {"to_previous_id", FIELD_BIG}, {"amount_minor", FIELD_BIG},
            {"from_balance_minor", FIELD_BIG}, {"to_balance_minor", FIELD_BIG}, {"product_id", FIELD_BIG},
            {"purchase_id", FIELD_BIG}, {"nonce", FIELD_TEXT}, {"fingerprint", FIELD_BYTES},
            {"created_at", FIELD_TIME}}},
    {"intake_orders",
        {{"id", FIELD_BIG}, {"account_id", FIELD_BIG}, {"symbol", FIELD_TEXT}, {"side", FIELD_TEXT},
            {"order_type", FIELD_TEXT}, {"quantity", FIELD_BIG}, {"price", FIELD_BIG},
            {"stop_price", FIELD_BIG}, {"trailing_stop_pct", FIELD_BIG}, {"iceberg_qty", FIELD_BIG},
            {"time_in_force", FIELD_TEXT}, {"created_at", FIELD_TIME}, {"cancelled_at", FIELD_TIME}}},
    {"intake_deliveries", {{"last_id", FIELD_BIG}, {"first_id", FIELD_BIG}, {"executed_at", FIELD_TIME}}},
    {"intake_state",
        {{"id", FIELD_BIG}, {"next_id", FIELD_BIG}, {"sent_id", FIELD_BIG}, {"executed_id", FIELD_BIG}}},
    {"secrets", {{"name", FIELD_TEXT}, {"value", FIELD_BYTES}}},
    {"machines", {{"id", FIELD_BIG}, {"name", FIELD_TEXT}, {"status", FIELD_TEXT},
                     {"is_draining", FIELD_BOOL}, {"usage_count", FIELD_BIG}, {"lease_id", FIELD_BIG},
                     {"ticket_id", FIELD_BIG}, {"started_at", FIELD_TIME}, {"chosen_at", FIELD_TIME},
                     {"product_id", FIELD_BIG}, {"units", FIELD_BIG}, {"purchase_id", FIELD_BIG},
                     {"due_at", FIELD_TIME}, {"created_at", FIELD_TIME}, {"updated_at", FIELD_TIME}}},
    {"leases",
        {{"id", FIELD_BIG}, {"machine_id", FIELD_BIG}, {"ticket_id", FIELD_BIG}, {"started_at", FIELD_TIME},
            {"chosen_at", FIELD_TIME}, {"product_id", FIELD_BIG}, {"units", FIELD_BIG},
            {"purchase_id", FIELD_BIG}, {"outcome", FIELD_TEXT}, {"ended_at", FIELD_TIME}}},
    {"tickets", {{"id", FIELD_BIG}, {"is_attached", FIELD_BOOL}, {"state", FIELD_TEXT},
                    {"expires_at", FIELD_TIME}, {"first_lease_id", FIELD_BIG}, {"end_lease_id", FIELD_BIG},
                    {"machine_id", FIELD_BIG}, {"created_at", FIELD_TIME}, {"ended_at", FIELD_TIME}}},
    {"pool", {{"id", FIELD_BIG}, {"next_machine_id", FIELD_BIG}, {"next_lease_id", FIELD_BIG},
                 {"next_ticket_id", FIELD_BIG}}},
};

struct postgres_copy {
    struct sqlite_source source;
    PGconn *conn;
    int version_before;
};

/* --- opening --- */

static const char begin_sql[] = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
                                "SET LOCAL statement_timeout = 0;"
                                "SET LOCAL idle_in_transaction_session_timeout = 0;"
                                "SET LOCAL row_security = off";

static const char take_tables_sql[] =
    "SET LOCAL lock_timeout = '10s';"
    "LOCK TABLE products, purchase_log, idempotency_keys, sequences, work, orders, payments, notifications,"
    " accounts, intake_orders, intake_deliveries, intake_state, secrets, machines, leases, tickets, pool,"
    " wallets, transfers IN EXCLUSIVE MODE";

/* Nodes have taken blocks of ids already, even when they have sold nothing. */
static const char nodes_sql[] = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                                " AND application_name LIKE 'doorbuster node%' AND pid <> pg_backend_pid()";

static const char rows_sql[] = "SELECT (SELECT count(*) FROM products) + (SELECT count(*) FROM purchase_log)"
                               " + (SELECT count(*) FROM idempotency_keys)"
                               " + (SELECT count(*) FROM work WHERE kind <> 'intake-delivery')"
                               " + (SELECT count(*) FROM orders) + (SELECT count(*) FROM payments)"
                               " + (SELECT count(*) FROM notifications) + (SELECT count(*) FROM accounts)"
                               " + (SELECT count(*) FROM intake_orders)"
                               " + (SELECT count(*) FROM intake_deliveries)"
                               " + (SELECT count(*) FROM machines) + (SELECT count(*) FROM leases)"
                               " + (SELECT count(*) FROM tickets)"
                               " + (SELECT count(*) FROM wallets) + (SELECT count(*) FROM transfers)";

/* The one piece of work that every store has: its id may be another's in the file. */
static const char clear_work_sql[] = "DELETE FROM work WHERE kind = 'intake-delivery'";

/* A file from before there was any has none. */
static const char restore_work_sql[] =
    "WITH made AS (INSERT INTO work (id, kind, subject, body, due_at, token, created_at)"
    " SELECT next_value, 'intake-delivery', '', '', to_timestamp(0), 0, to_timestamp(0) FROM sequences"
    " WHERE name = 'work' AND NOT EXISTS (SELECT FROM work WHERE kind = 'intake-delivery') RETURNING id)"
    " UPDATE sequences SET next_value = made.id + 1 FROM made WHERE name = 'work'";

/* The embedded store goes by the rows. */
static const char next_intake_sql[] =
    "UPDATE intake_state SET next_id = greatest(next_id, (SELECT max(id) + 1 FROM intake_orders))";

static enum err ask_number(
    PGconn *conn, const char *sql, const char *doing, int64_t *number, struct error *error)
{
    PGresult *result;
    enum err err = postgres_query(conn, sql, doing, &result, error);
    if (err != ERR_NONE)
        return err;
    bool is_number = slice_to_i64(slice_cstr(PQgetvalue(result, 0, 0)), number);
    PQclear(result);
    return is_number ? ERR_NONE : error_set(error, ERR_CORRUPT, "cannot %s %s: no number", doing, PQdb(conn));
}

static enum err check_empty(PGconn *conn, struct error *error)
{
    int64_t count = 0;
    enum err err = ask_number(conn, nodes_sql, "look who serves", &count, error);
    if (err == ERR_NONE && count > 0)
        err = error_set(error, ERR_LOCKED,
            "the database %s is being served by a doorbuster; stop all nodes first", PQdb(conn));
    if (err == ERR_NONE)
        err = ask_number(conn, rows_sql, "look for rows in", &count, error);
    if (err == ERR_NONE && count > 0)
        err = error_set(error, ERR_REFUSED,
            "the database %s holds %lld rows already; a store is copied into an empty one only: give another "
            "database",
            PQdb(conn), (long long)count);
    return err;
}

/* A database that writes a checkpoint may not read for longer than a node would wait for it. */
static void be_patient(PGconn *conn)
{
    unsigned limit_ms = COPY_STALL_MS;
    (void)setsockopt(
        PQsocket(conn), IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms); /* not TCP: no matter */
}

static enum err open_database(struct postgres_copy *copy, const char *url, struct error *error)
{
    enum err err = postgres_connect(url, &copy->conn, error);
    if (err == ERR_NONE)
        be_patient(copy->conn);
    if (err == ERR_NONE)
        err = postgres_run(copy->conn, begin_sql, "begin a transaction on", error);
    if (err == ERR_NONE)
        err = postgres_schema_bring_up(copy->conn, &copy->version_before, error);
    if (err == ERR_NONE)
        err = postgres_run(copy->conn, take_tables_sql, "lock the tables of", error);
    if (err == ERR_NONE)
        err = check_empty(copy->conn, error);
    return err == ERR_NONE ? postgres_run(copy->conn, clear_work_sql, "empty the tables of", error) : err;
}

enum err postgres_copy_open(
    const char *path, const char *url, struct postgres_copy **copy_out, struct error *error)
{
    *copy_out = NULL;
    struct postgres_copy *copy = calloc(1, sizeof *copy);
    if (copy == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a copy");
    enum err err = sqlite_source_open(&copy->source, path, error);
    if (err == ERR_NONE)
        err = open_database(copy, url, error);
    if (err != ERR_NONE) {
        postgres_copy_close(copy);
        return err;
    }
    *copy_out = copy;
    return ERR_NONE;
}

struct pg_conn *postgres_copy_connection(struct postgres_copy *copy)
{
    return copy->conn;
}

void postgres_copy_close(struct postgres_copy *copy)
{
    if (copy == NULL)
        return;
    PQfinish(copy->conn);
    sqlite_source_close(&copy->source);
    free(copy);
}

/* --- rows --- */

/* FNV-1a, stirred at the end so that sums of hashes do not cancel out. */
static uint64_t hash_row(struct slice row)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < row.len; i++)
        hash = (hash ^ (unsigned char)row.base[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    return hash * UINT64_C(0x9e3779b97f4a7c15);
}

static void put_u16(struct strbuf *row, uint16_t value)
{
    uint16_t wire = htobe16(value);
    strbuf_put(row, slice_make(&wire, sizeof wire));
}

static void put_u32(struct strbuf *row, uint32_t value)
{
    uint32_t wire = htobe32(value);
    strbuf_put(row, slice_make(&wire, sizeof wire));
}

static void put_i64(struct strbuf *row, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    put_u32(row, sizeof wire);
    strbuf_put(row, slice_make(&wire, sizeof wire));
}

/* False: the column holds something that this field cannot; the auditor would have said so. */
static bool put_field(
    struct strbuf *row, sqlite3_stmt *stmt, int column, enum field_kind kind, bool is_for_hash)
{
    int type = sqlite3_column_type(stmt, column);
    int64_t number = sqlite3_column_int64(stmt, column);
    if (type == SQLITE_NULL) {
        put_u32(row, UINT32_MAX);
        return true;
    }
    switch (kind) {
    case FIELD_BIG:
        put_i64(row, number);
        return type == SQLITE_INTEGER;
    case FIELD_BOOL:
        put_u32(row, 1);
        strbuf_put_char(row, (char)number);
        return type == SQLITE_INTEGER && (number == 0 || number == 1);
    case FIELD_TIME:
        if (type != SQLITE_INTEGER || number > INT64_MAX / 2000 || number < INT64_MIN / 2000)
            return false;
        put_i64(row, is_for_hash ? number : (number - YEAR_2000_MS) * 1000);
        return true;
    case FIELD_INT:
        put_u32(row, sizeof(int32_t));
        put_u32(row, (uint32_t)number);
        return type == SQLITE_INTEGER && number >= INT32_MIN && number <= INT32_MAX;
    case FIELD_TEXT:
    case FIELD_BYTES:
        break;
    }
    const void *base = sqlite3_column_blob(stmt, column);
    struct slice bytes = slice_make(base == NULL ? "" : base, (size_t)sqlite3_column_bytes(stmt, column));
    put_u32(row, (uint32_t)bytes.len);
    strbuf_put(row, bytes);
    return type == (kind == FIELD_TEXT ? SQLITE_TEXT : SQLITE_BLOB);
}

static bool put_row(struct strbuf *row, sqlite3_stmt *stmt, const struct table *table, bool is_for_hash)
{
    int count = sqlite3_column_count(stmt);
    put_u16(row, (uint16_t)count);
    for (int i = 0; i < count; i++)
        if (!put_field(row, stmt, i, table->fields[i].kind, is_for_hash))
            return false;
    return true;
}

struct copying {
    struct postgres_copy *copy;
    const struct table *table;
    struct copied_table *copied;
    struct strbuf chunk; /* what is sent next */
    struct strbuf row;   /* what is hashed */
    struct error *error;
};

static enum err send_chunk(struct copying *copying)
{
    PGconn *conn = copying->copy->conn;
    if (copying->chunk.has_overflowed || copying->row.has_overflowed)
        return error_set(copying->error, ERR_MEMORY, "no memory for a row of %s", copying->table->name);
    if (PQputCopyData(conn, copying->chunk.base, (int)copying->chunk.len) != 1)
        return postgres_failure(conn, NULL, "send rows to", copying->error);
    strbuf_reset(&copying->chunk);
    return ERR_NONE;
}

static enum err send_row(struct copying *copying, sqlite3_stmt *stmt)
{
    strbuf_reset(&copying->row);
    if (!put_row(&copying->chunk, stmt, copying->table, false) ||
        !put_row(&copying->row, stmt, copying->table, true))
        return error_set(copying->error, ERR_CORRUPT,
            "%s has a row of %s (id %lld) with a value that the column cannot hold; run doorbuster verify on "
            "it",
            copying->copy->source.path, copying->table->name, (long long)sqlite3_column_int64(stmt, 0));
    copying->copied->rows_from++;
    copying->copied->checksum_from += hash_row(strbuf_slice(&copying->row));
    return copying->chunk.len < CHUNK_BYTES ? ERR_NONE : send_chunk(copying);
}

static enum err send_rows(struct copying *copying, sqlite3_stmt *stmt)
{
    static const char head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
    enum err err = ERR_NONE;
    int rc = SQLITE_DONE;
    strbuf_put(&copying->chunk, slice_make(head, 19));
    while (err == ERR_NONE && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        err = send_row(copying, stmt);
    if (err == ERR_NONE && rc != SQLITE_DONE)
        err = sqlite_source_fail(&copying->copy->source, rc, copying->error);
    if (err != ERR_NONE)
        return err;
    put_u16(&copying->chunk, UINT16_MAX);
    return send_chunk(copying);
}

/* Ends the COPY whatever has happened; an error of the sending side makes the server drop the rows. */
static enum err end_copy(struct copying *copying, enum err err)
{
    PGconn *conn = copying->copy->conn;
    if (PQputCopyEnd(conn, err == ERR_NONE ? NULL : "the rows cannot be read") != 1 && err == ERR_NONE)
        err = postgres_failure(conn, NULL, "send rows to", copying->error);
    PGresult *result;
    while ((result = PQgetResult(conn)) != NULL) {
        if (err == ERR_NONE && PQresultStatus(result) != PGRES_COMMAND_OK)
            err = postgres_failure(conn, result, "send rows to", copying->error);
        PQclear(result);
        if (PQstatus(conn) == CONNECTION_BAD)
            break;
    }
    return err;
}

/* "id, sku, ..." as the table has them, or with the times as numbers. */
static void put_names(struct strbuf *sql, const struct table *table, bool is_for_hash)
{
    for (size_t i = 0; i < FIELDS_MAX && table->fields[i].name != NULL; i++) {
        bool is_turned = is_for_hash && table->fields[i].kind == FIELD_TIME;
        strbuf_printf(sql, is_turned ? "%s(extract(epoch FROM %s) * 1000)::bigint" : "%s%s",
            i > 0 ? ", " : "", table->fields[i].name);
    }
}

static enum err prepare_rows(struct copying *copying, sqlite3_stmt **stmt)
{
    char text[1024];
    struct strbuf sql;
    strbuf_init(&sql, text, sizeof text);
    strbuf_lit(&sql, "SELECT ");
    put_names(&sql, copying->table, false);
    strbuf_printf(&sql, " FROM %s ORDER BY %s", copying->table->name, copying->table->fields[0].name);
    strbuf_put_char(&sql, '\0');
    ENSURE(!sql.has_overflowed);
    return sqlite_source_prepare(&copying->copy->source, text, stmt, copying->error);
}

static enum err begin_copy(struct copying *copying)
{
    char text[1024];
    struct strbuf sql;
    strbuf_init(&sql, text, sizeof text);
    strbuf_printf(&sql, "COPY %s (", copying->table->name);
    put_names(&sql, copying->table, false);
    strbuf_put(&sql, slice_make(") FROM STDIN (FORMAT binary)", sizeof ") FROM STDIN (FORMAT binary)"));
    ENSURE(!sql.has_overflowed);
    PGresult *result = PQexec(copying->copy->conn, text);
    enum err err = PQresultStatus(result) == PGRES_COPY_IN
                       ? ERR_NONE
                       : postgres_failure(copying->copy->conn, result, "send rows to", copying->error);
    PQclear(result);
    return err;
}

/* A new database has a row in it already, which gives way to the file's. */
static bool is_seeded(const struct table *table)
{
    return strcmp(table->name, "intake_state") == 0 || strcmp(table->name, "secrets") == 0 ||
           strcmp(table->name, "pool") == 0;
}

static enum err clear_seed(const struct copying *copying)
{
    char sql[128];
    if (!is_seeded(copying->table))
        return ERR_NONE;
    (void)snprintf(sql, sizeof sql, "DELETE FROM %s", copying->table->name);
    return postgres_run(copying->copy->conn, sql, "empty the tables of", copying->error);
}

static enum err send_table(struct copying *copying)
{
    sqlite3_stmt *stmt = NULL;
    enum err err = clear_seed(copying);
    if (err == ERR_NONE)
        err = prepare_rows(copying, &stmt);
    if (err == ERR_NONE) {
        err = begin_copy(copying);
        if (err == ERR_NONE)
            err = end_copy(copying, send_rows(copying, stmt));
    }
    (void)sqlite3_finalize(stmt);
    return err;
}

/* --- reading back --- */

/* The first message begins with the head, which is all there is of an empty table, and the last is the end.
 */
static void count_row(struct copied_table *copied, struct slice data, bool is_first)
{
    enum { HEAD_BYTES = 19 };
    if (is_first)
        data = slice_make(data.base + HEAD_BYTES, data.len < HEAD_BYTES ? 0 : data.len - HEAD_BYTES);
    if (data.len <= sizeof(uint16_t))
        return;
    copied->rows_to++;
    copied->checksum_to += hash_row(data);
}

static enum err read_back(struct copying *copying)
{
    char text[2048];
    struct strbuf sql;
    PGconn *conn = copying->copy->conn;
    strbuf_init(&sql, text, sizeof text);
    strbuf_lit(&sql, "COPY (SELECT ");
    put_names(&sql, copying->table, true);
    strbuf_printf(&sql, " FROM %s) TO STDOUT (FORMAT binary)", copying->table->name);
    strbuf_put_char(&sql, '\0');
    ENSURE(!sql.has_overflowed);
    PGresult *result = PQexec(conn, text);
    bool is_open = PQresultStatus(result) == PGRES_COPY_OUT;
    enum err err =
        is_open ? ERR_NONE : postgres_failure(conn, result, "read back the rows of", copying->error);
    PQclear(result);
    if (!is_open)
        return err;
    char *data;
    int len;
    for (bool is_first = true; (len = PQgetCopyData(conn, &data, 0)) > 0; is_first = false) {
        count_row(copying->copied, slice_make(data, (size_t)len), is_first);
        PQfreemem(data);
    }
    result = PQgetResult(conn);
    if (len != -1 || PQresultStatus(result) != PGRES_COMMAND_OK)
        err = postgres_failure(conn, result, "read back the rows of", copying->error);
    PQclear(result);
    while (PQstatus(conn) == CONNECTION_OK && (result = PQgetResult(conn)) != NULL)
        PQclear(result);
    return err;
}

static enum err compare(const struct copying *copying)
{
    const struct copied_table *copied = copying->copied;
    if (copied->rows_from == copied->rows_to && copied->checksum_from == copied->checksum_to)
        return ERR_NONE;
    return error_set(copying->error, ERR_CORRUPT,
        "%s arrived otherwise than it was sent: %lld rows with the checksum %016llx became %lld with "
        "%016llx; nothing "
        "was kept",
        copied->name, (long long)copied->rows_from, (unsigned long long)copied->checksum_from,
        (long long)copied->rows_to, (unsigned long long)copied->checksum_to);
}

/* --- ids --- */

static enum err set_next_id(
    struct postgres_copy *copy, const char *name, const char *table, struct error *error)
{
    char sql[256];
    int64_t next = 1;
    enum err err = sqlite_source_next_id(&copy->source, name, table, &next, error);
    if (err != ERR_NONE)
        return err;
    if (strcmp(name, "idempotency_keys") == 0)
        (void)snprintf(sql, sizeof sql,
            "SELECT setval(pg_get_serial_sequence('idempotency_keys', 'id'), %lld, false)", (long long)next);
    else
        (void)snprintf(sql, sizeof sql,
            "INSERT INTO sequences AS s (name, next_value) VALUES ('%s', %lld) ON CONFLICT (name)"
            " DO UPDATE SET next_value = greatest(s.next_value, excluded.next_value)",
            name, (long long)next);
    return postgres_run(copy->conn, sql, "set the sequences of", error);
}

static enum err set_next_ids(struct postgres_copy *copy, struct error *error)
{
    /* Orders and notifications have the ids of their work, which may be done and gone. */
    static const struct {
        const char *sequence;
        const char *table;
    } counted[] = {{"products", "products"}, {"purchases", "purchase_log"},
        {"idempotency_keys", "idempotency_keys"}, {"work", "work"}, {"work", "orders"},
        {"work", "notifications"}, {"accounts", "accounts"}, {"transfers", "transfers"}};
    enum err err = ERR_NONE;
    for (size_t i = 0; i < sizeof counted / sizeof counted[0] && err == ERR_NONE; i++) {
        if (sqlite_source_has_table(&copy->source, counted[i].table))
            err = set_next_id(copy, counted[i].sequence, counted[i].table, error);
    }
    if (err == ERR_NONE)
        err = postgres_run(copy->conn, restore_work_sql, "set the sequences of", error);
    return err == ERR_NONE ? postgres_run(copy->conn, next_intake_sql, "set the sequences of", error) : err;
}

/* --- the whole --- */

/* Those that the file has: in an older one some are missing, which have a default. */
static struct table fields_of_file(const struct postgres_copy *copy, const struct table *table)
{
    struct table present = {.name = table->name};
    size_t count = 0;
    for (size_t i = 0; i < FIELDS_MAX && table->fields[i].name != NULL; i++) {
        if (sqlite_source_has_column(&copy->source, table->name, table->fields[i].name))
            present.fields[count++] = table->fields[i];
    }
    return present;
}

static enum err copy_table(
    struct postgres_copy *copy, const struct table *table, struct copied_table *copied, struct error *error)
{
    *copied = (struct copied_table){
        .name = table->name, .is_absent = !sqlite_source_has_table(&copy->source, table->name)};
    const struct table present = copied->is_absent ? *table : fields_of_file(copy, table);
    struct copying copying = {.copy = copy, .table = &present, .copied = copied, .error = error};
    strbuf_init_heap(&copying.chunk, ROW_BYTES_MAX);
    strbuf_init_heap(&copying.row, ROW_BYTES_MAX);
    bool keeps_seed = copied->is_absent && is_seeded(table);
    enum err err = copied->is_absent ? ERR_NONE : send_table(&copying);
    if (err == ERR_NONE && !keeps_seed)
        err = read_back(&copying);
    if (err == ERR_NONE && !keeps_seed)
        err = compare(&copying);
    strbuf_fini(&copying.chunk);
    strbuf_fini(&copying.row);
    return err;
}

enum err postgres_copy_rows(struct postgres_copy *copy, struct copied *copied, struct error *error)
{
    copied->version_before = copy->version_before;
    for (size_t i = 0; i < COPY_TABLE_COUNT; i++) {
        enum err err = copy_table(copy, &tables[i], &copied->tables[i], error);
        if (err != ERR_NONE)
            return err;
    }
    return set_next_ids(copy, error);
}

enum err postgres_copy_commit(struct postgres_copy *copy, struct error *error)
{
    enum err err = postgres_run(copy->conn, "COMMIT", "commit the rows of", error);
    if (err == ERR_UNAVAILABLE)
        return error_set(error, ERR_COMMIT_UNKNOWN,
            "the connection was lost while the rows of %s were being committed: doorbuster verify on the "
            "database tells "
            "whether they are there",
            copy->source.path);
    if (err == ERR_NONE) /* the planner knows nothing of the new rows; a failure is no harm */
        PQclear(
            PQexec(copy->conn, "ANALYZE products, purchase_log, idempotency_keys, work, orders, payments,"
                               " notifications, accounts, intake_orders, intake_deliveries, machines, leases,"
                               " tickets, wallets, transfers"));
    return err;
}
