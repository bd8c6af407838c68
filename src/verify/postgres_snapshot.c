/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REPEATABLE READ gives every statement the same moment, whoever sells meanwhile. The rows come by COPY in
 * its binary format, as fast as the server can send them and without a text to be read again, into tables
 * without constraints, without types and without a key: damaged rows must arrive as they are, twice if they
 * are there twice. What is not what the column should hold stays what it is, and the invariants find it:
 *
 *   timestamptz   whole milliseconds since 1970 as an integer; with a fraction as a real; infinity as text
 *   a column of another type than it should have: its text, unless it is a number too
 *   a column that is missing: NULL
 *
 * The temporary database is a file without a name that SQLite removes at once and writes to only when the
 * rows do not fit its cache.
 */
#include "verify/postgres_snapshot.h"

#include <endian.h>

#include "base/strbuf.h"
#include "verify/db.h"
#include "verify/postgres_link.h"
#include "verify/postgres_sound.h"
#include "verify/views.h"

enum {
    SCHEMA_VERSION_MAX = 4,
    SCHEMA_VERSION_ORDERS = 2,
    SCHEMA_VERSION_MACHINES = 3,
    SCHEMA_VERSION_WALLETS = 4,
    COLUMNS_MAX = 16,
    SQL_LEN_MAX = 2048
};

/* Above this size temporary tables go to a file too. */
#define MEMORY_STORE_BYTES_MAX (INT64_C(1) << 30)

enum kind { KIND_NONE, KIND_INTEGER, KIND_TIME, KIND_TEXT, KIND_BYTES };

struct table {
    const char *name;
    int64_t since;                    /* schema version; earlier stores have none */
    const char *columns[COLUMNS_MAX]; /* NULL past the end */
};

/* In order of `since`. The secrets stay where they are. purchases is the view that everybody reads; that it
 * shows all of purchase_log is checked apart. */
static const struct table tables[] = {
    {"products", 1,
        {"id", "sku", "product_name", "initial_stock", "stock", "price_minor", "per_user_limit", "start_time",
            "end_time", "state", "end_reason", "created_at", "created_by", "updated_at", "updated_by"}},
    {"purchases", 1, {"id", "product_id", "user_id", "nth", "purchased_at", "purchase_no"}},
    {"idempotency_keys", 1, {"id", "scope", "key", "fingerprint", "result", "number", "time", "created_at"}},
    {"sequences", 1, {"name", "next_value"}},
    {"work", 1, {"id", "kind", "subject", "body", "due_at", "token", "created_at"}},
    {"orders", SCHEMA_VERSION_ORDERS,
        {"id", "order_id", "customer_id", "customer_email", "items", "amount_minor", "priority", "is_sync",
            "deadline", "fingerprint", "status", "attempts", "created_at", "updated_at", "paid_at"}},
    {"payments", SCHEMA_VERSION_ORDERS, {"id", "amount_minor", "outcome", "attempts", "created_at"}},
    {"notifications", SCHEMA_VERSION_ORDERS,
        {"id", "order_id", "channel", "event", "created_at", "delivered_at"}},
    {"accounts", SCHEMA_VERSION_ORDERS,
        {"id", "username", "username_key", "email", "email_key", "full_name", "password_hash", "created_at"}},
    {"intake_orders", SCHEMA_VERSION_ORDERS,
        {"id", "account_id", "symbol", "side", "order_type", "quantity", "price", "stop_price",
            "trailing_stop_pct", "iceberg_qty", "time_in_force", "created_at", "cancelled_at"}},
    {"intake_deliveries", SCHEMA_VERSION_ORDERS, {"last_id", "first_id", "executed_at"}},
    {"intake_state", SCHEMA_VERSION_ORDERS, {"id", "next_id", "sent_id", "executed_id"}},
    {"machines", SCHEMA_VERSION_MACHINES,
        {"id", "name", "status", "is_draining", "usage_count", "lease_id", "ticket_id", "started_at",
            "chosen_at", "product_id", "units", "purchase_id", "due_at", "created_at", "updated_at"}},
    {"leases", SCHEMA_VERSION_MACHINES,
        {"id", "machine_id", "ticket_id", "started_at", "chosen_at", "product_id", "units", "purchase_id",
            "outcome", "ended_at"}},
    {"tickets", SCHEMA_VERSION_MACHINES,
        {"id", "is_attached", "state", "expires_at", "first_lease_id", "end_lease_id", "machine_id",
            "created_at", "ended_at"}},
    {"pool", SCHEMA_VERSION_MACHINES, {"id", "next_machine_id", "next_lease_id", "next_ticket_id"}},
    {"wallets", SCHEMA_VERSION_WALLETS,
        {"account_id", "public_key", "balance_minor", "last_transfer_id", "updated_at"}},
    {"transfers", SCHEMA_VERSION_WALLETS,
        {"id", "kind", "from_account", "to_account", "from_previous_id", "to_previous_id", "amount_minor",
            "from_balance_minor", "to_balance_minor", "product_id", "purchase_id", "nonce", "fingerprint",
            "created_at"}},
};
enum { TABLE_COUNT = sizeof tables / sizeof tables[0] };

struct loader {
    struct postgres_link link;
    sqlite3 *db;
    struct error *error;
    int64_t version;                           /* of the schema */
    enum kind kinds[TABLE_COUNT][COLUMNS_MAX]; /* KIND_NONE: the column is missing */
};

/* Nothing of the session's settings may hide a row or cut the transaction short. */
static const char begin_sql[] = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
                                "SET LOCAL row_security = off;"
                                "SET LOCAL statement_timeout = 0;"
                                "SET LOCAL idle_in_transaction_session_timeout = 0;"
                                "SET LOCAL lock_timeout = '30s'";

/* --- is it a store of ours? --- */

/* The number in the first column of the only row; without a row, or without a number in it, `fallback`. */
static enum err ask_number(
    const struct loader *loader, const char *sql, const char *doing, int64_t fallback, int64_t *number)
{
    PGresult *result;
    enum err err = postgres_link_ask(&loader->link, sql, doing, &result, loader->error);
    if (err != ERR_NONE)
        return err;
    if (PQntuples(result) != 1 || !slice_to_i64(slice_cstr(PQgetvalue(result, 0, 0)), number))
        *number = fallback;
    PQclear(result);
    return ERR_NONE;
}

static const char looking[] = "look for the tables of";

/* Has it our table, and an encoding that holds every name? */
static enum err check_database(const struct loader *loader)
{
    PGresult *result;
    enum err err = postgres_link_ask(&loader->link,
        "SELECT to_regclass('doorbuster_schema') IS NOT NULL, current_setting('server_encoding')", looking,
        &result, loader->error);
    if (err != ERR_NONE)
        return err;
    bool has_table = PQgetvalue(result, 0, 0)[0] == 't';
    const char *encoding = PQgetvalue(result, 0, 1);
    if (strcmp(encoding, "UTF8") != 0)
        err = error_set(loader->error, ERR_CORRUPT,
            "%s has the encoding %s, expected UTF8: not every buyer's name fits in; make another database "
            "with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
            loader->link.name, encoding);
    else if (!has_table)
        err = error_set(loader->error, ERR_OLDER,
            "%s holds no store: it has no table doorbuster_schema; make its tables with doorbuster migrate "
            "--store URL",
            loader->link.name);
    PQclear(result);
    return err;
}

static enum err check_version(struct loader *loader)
{
    int64_t *version = &loader->version;
    const char *name = loader->link.name;
    *version = 0;
    enum err err = check_database(loader);
    if (err == ERR_NONE)
        err = ask_number(loader, "SELECT version FROM doorbuster_schema", looking, 0, version);
    if (err != ERR_NONE)
        return err;
    if (*version < 1)
        return error_set(
            loader->error, ERR_CORRUPT, "doorbuster_schema of %s does not hold one row with a version", name);
    if (*version > SCHEMA_VERSION_MAX)
        return error_set(loader->error, ERR_NEWER,
            "the store %s has schema version %lld, this auditor knows versions up to %d; use the doorbuster "
            "that made "
            "it",
            name, (long long)*version, SCHEMA_VERSION_MAX);
    return ERR_NONE;
}

static enum kind kind_of(struct slice type)
{
    static const struct {
        struct slice type;
        enum kind kind;
    } rows[] = {
        {SLICE_INIT("bigint"), KIND_INTEGER},
        {SLICE_INIT("integer"), KIND_INTEGER},
        {SLICE_INIT("smallint"), KIND_INTEGER},
        {SLICE_INIT("boolean"), KIND_INTEGER}, /* 0 or 1, as in a file */
        {SLICE_INIT("timestamp with time zone"), KIND_TIME},
        {SLICE_INIT("bytea"), KIND_BYTES},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (slice_eq(type, rows[i].type))
            return rows[i].kind;
    return KIND_TEXT;
}

static void note_column(struct loader *loader, struct slice table, struct slice column, struct slice type)
{
    for (size_t t = 0; t < TABLE_COUNT; t++)
        for (size_t c = 0; c < COLUMNS_MAX && tables[t].columns[c] != NULL; c++)
            if (slice_eq(table, slice_cstr(tables[t].name)) &&
                slice_eq(column, slice_cstr(tables[t].columns[c])))
                loader->kinds[t][c] = kind_of(type);
}

static void put_regclasses(struct strbuf *sql)
{
    for (size_t t = 0; t < TABLE_COUNT; t++)
        strbuf_printf(sql, "%sto_regclass('%s')", t > 0 ? ", " : "", tables[t].name);
}

static enum err ask_columns(const struct loader *loader, PGresult **result)
{
    char text[SQL_LEN_MAX];
    struct strbuf sql;
    strbuf_init(&sql, text, sizeof text);
    strbuf_lit(&sql, "SELECT c.relname, a.attname, a.atttypid::regtype FROM pg_attribute AS a"
                     " JOIN pg_class AS c ON c.oid = a.attrelid"
                     " WHERE a.attnum > 0 AND NOT a.attisdropped AND c.oid IN (");
    put_regclasses(&sql);
    strbuf_lit(&sql, ")");
    strbuf_put_char(&sql, '\0');
    return postgres_link_ask(&loader->link, text, "look at the tables of", result, loader->error);
}

static enum err look_at_columns(struct loader *loader)
{
    PGresult *result;
    enum err err = ask_columns(loader, &result);
    if (err != ERR_NONE)
        return err;
    for (int i = 0; i < PQntuples(result); i++)
        note_column(loader, slice_cstr(PQgetvalue(result, i, 0)), slice_cstr(PQgetvalue(result, i, 1)),
            slice_cstr(PQgetvalue(result, i, 2)));
    PQclear(result);
    for (size_t t = 0; t < TABLE_COUNT && tables[t].since <= loader->version; t++) {
        bool has_column = false;
        for (size_t c = 0; c < COLUMNS_MAX; c++)
            has_column = has_column || loader->kinds[t][c] != KIND_NONE;
        if (!has_column)
            return error_set(loader->error, ERR_CORRUPT, "the store %s has lost its %s %s; restore a backup",
                loader->link.name,
                slice_eq(slice_cstr(tables[t].name), SLICE("purchases")) ? "view" : "table", tables[t].name);
    }
    return ERR_NONE;
}

/* --- rows --- */

struct field {
    const unsigned char *base;
    int32_t len; /* -1: NULL */
};

static uint32_t get_u32(const unsigned char *base)
{
    uint32_t value;
    memcpy(&value, base, sizeof value);
    return be32toh(value);
}

static int64_t get_integer(const struct field *field)
{
    if (field->len == (int32_t)sizeof(int64_t)) {
        uint64_t value;
        memcpy(&value, field->base, sizeof value);
        return (int64_t)be64toh(value);
    }
    if (field->len == (int32_t)sizeof(int32_t))
        return (int32_t)get_u32(field->base);
    if (field->len == 1)
        return field->base[0];
    return (int16_t)((field->base[0] << 8) | field->base[1]);
}

/* Microseconds since 2000 as milliseconds since 1970. */
static int bind_time(sqlite3_stmt *stmt, int at, int64_t time_us)
{
    static const int64_t year_2000_ms = INT64_C(946684800000);
    if (time_us == INT64_MAX || time_us == INT64_MIN)
        return sqlite3_bind_text(stmt, at, time_us > 0 ? "infinity" : "-infinity", -1, SQLITE_STATIC);
    if (time_us % 1000 != 0)
        return sqlite3_bind_double(stmt, at, (double)time_us / 1000 + (double)year_2000_ms);
    return sqlite3_bind_int64(stmt, at, time_us / 1000 + year_2000_ms);
}

static int bind_field(sqlite3_stmt *stmt, int at, enum kind kind, const struct field *field)
{
    if (field->len < 0)
        return sqlite3_bind_null(stmt, at);
    const char *text = (const char *)field->base;
    switch (kind) {
    case KIND_INTEGER:
        return sqlite3_bind_int64(stmt, at, get_integer(field));
    case KIND_TIME:
        return bind_time(stmt, at, get_integer(field));
    case KIND_BYTES:
        return sqlite3_bind_blob64(stmt, at, text, (sqlite3_uint64)field->len, SQLITE_STATIC);
    case KIND_NONE:
    case KIND_TEXT:
        break;
    }
    return sqlite3_bind_text64(stmt, at, text, (sqlite3_uint64)field->len, SQLITE_STATIC, SQLITE_UTF8);
}

/* The fields of a row: a count of 16 bits, then each as its length in 32 bits and its bytes. False: it is
 * cut. */
static bool bind_row(sqlite3_stmt *stmt, const enum kind *kinds, int count, struct slice row)
{
    const unsigned char *at = (const unsigned char *)row.base;
    const unsigned char *end = at + row.len;
    if (end - at < 2 || ((at[0] << 8) | at[1]) != count)
        return false;
    at += 2;
    for (int i = 0; i < count; i++) {
        if (end - at < 4)
            return false;
        struct field field = {.base = at + 4, .len = (int32_t)get_u32(at)};
        if (field.len > end - field.base)
            return false;
        if (bind_field(stmt, i + 1, kinds[i], &field) != SQLITE_OK)
            return false;
        at = field.base + (field.len > 0 ? field.len : 0);
    }
    return true;
}

/* What stands before the first row: eleven bytes, flags, and an extension with its length. */
static struct slice without_head(struct slice data)
{
    static const char signature[] = "PGCOPY\n\377\r\n";
    enum { HEAD = 11 + 4 + 4 };
    if (data.len < HEAD || memcmp(data.base, signature, 11) != 0)
        return data;
    size_t skip = HEAD + get_u32((const unsigned char *)data.base + 15);
    return skip > data.len ? slice_make(data.base, 0) : slice_make(data.base + skip, data.len - skip);
}

/* A row, the end (a count of -1), or what is left of the head of a table without rows. */
static enum err keep_row(struct loader *loader, sqlite3_stmt *stmt, const struct table *table,
    const enum kind *kinds, struct slice row)
{
    bool is_end = row.len == 2 && memcmp(row.base, "\377\377", 2) == 0;
    int count = sqlite3_bind_parameter_count(stmt);
    if (is_end || row.len == 0)
        return ERR_NONE;
    if (!bind_row(stmt, kinds, count, row))
        return error_set(loader->error, ERR_REFUSED, "%s sent a row of %s that cannot be read",
            loader->link.name, table->name);
    enum err err =
        sqlite3_step(stmt) == SQLITE_DONE ? ERR_NONE : db_fail(loader->db, "keep a row", loader->error);
    sqlite3_reset(stmt);
    return err;
}

static enum err receive_rows(
    struct loader *loader, sqlite3_stmt *stmt, const struct table *table, const enum kind *kinds)
{
    PGconn *conn = loader->link.conn;
    char *data;
    int len;
    enum err err = ERR_NONE;
    bool is_first = true;
    while (err == ERR_NONE && (len = PQgetCopyData(conn, &data, 0)) > 0) {
        struct slice row = slice_make(data, (size_t)len);
        err = keep_row(loader, stmt, table, kinds, is_first ? without_head(row) : row);
        is_first = false;
        PQfreemem(data);
    }
    if (err != ERR_NONE)
        return err; /* the connection is closed in the middle of the rows */
    PGresult *result = PQgetResult(conn);
    if (len != -1 || PQresultStatus(result) != PGRES_COMMAND_OK)
        err = postgres_link_fail(&loader->link, result, "read the rows of", loader->error);
    PQclear(result);
    while ((result = PQgetResult(conn)) != NULL)
        PQclear(result);
    return err;
}

/* The texts are made of the names above only. */
static void put_statements(const struct table *table, const enum kind *kinds, struct strbuf *copy,
    struct strbuf *create, struct strbuf *insert)
{
    strbuf_lit(copy, "COPY (SELECT ");
    strbuf_printf(create, "CREATE TABLE main.%s (", table->name);
    strbuf_printf(insert, "INSERT INTO main.%s VALUES (", table->name);
    for (size_t i = 0; i < COLUMNS_MAX && table->columns[i] != NULL; i++) {
        const char *comma = i > 0 ? ", " : "";
        if (kinds[i] == KIND_NONE)
            strbuf_printf(copy, "%sNULL", comma);
        else
            strbuf_printf(copy, "%s%s%s", comma, table->columns[i], kinds[i] == KIND_TEXT ? "::text" : "");
        strbuf_printf(create, "%s%s", comma, table->columns[i]);
        strbuf_printf(insert, "%s?", comma);
    }
    strbuf_printf(copy, " FROM %s) TO STDOUT (FORMAT binary)", table->name);
    strbuf_lit(create, ")");
    strbuf_lit(insert, ")");
    strbuf_put_char(copy, '\0');
    strbuf_put_char(create, '\0');
    strbuf_put_char(insert, '\0');
}

static enum err load_table(struct loader *loader, const struct table *table, const enum kind *kinds)
{
    char texts[3][SQL_LEN_MAX];
    struct strbuf copy;
    struct strbuf create;
    struct strbuf insert;
    strbuf_init(&copy, texts[0], SQL_LEN_MAX);
    strbuf_init(&create, texts[1], SQL_LEN_MAX);
    strbuf_init(&insert, texts[2], SQL_LEN_MAX);
    put_statements(table, kinds, &copy, &create, &insert);
    sqlite3_stmt *stmt = NULL;
    enum err err = db_exec(loader->db, texts[1], "make a table of the audit", loader->error);
    if (err == ERR_NONE)
        err = db_prepare(loader->db, texts[2], "keep the rows", &stmt, loader->error);
    if (err != ERR_NONE)
        return err;
    PGresult *result = PQexec(loader->link.conn, texts[0]);
    if (PQresultStatus(result) == PGRES_COPY_OUT)
        err = receive_rows(loader, stmt, table, kinds);
    else
        err = postgres_link_fail(&loader->link, result, "read the rows of", loader->error);
    PQclear(result);
    sqlite3_finalize(stmt);
    return err;
}

/* --- the whole --- */

/* What invariants look rows up by. */
static const char index_sql[] = "CREATE INDEX main.products_id ON products (id);"
                                "CREATE INDEX main.purchases_id ON purchases (id);"
                                "CREATE INDEX main.work_id ON work (id)";
static const char index_orders_sql[] =
    "CREATE INDEX main.orders_id ON orders (id);"
    "CREATE INDEX main.payments_id ON payments (id);"
    "CREATE INDEX main.notifications_id ON notifications (id);"
    "CREATE INDEX main.intake_orders_id ON intake_orders (id);"
    "CREATE INDEX main.intake_deliveries_id ON intake_deliveries (last_id)";
static const char index_machines_sql[] = "CREATE INDEX main.machines_id ON machines (id);"
                                         "CREATE INDEX main.leases_id ON leases (id);"
                                         "CREATE INDEX main.tickets_id ON tickets (id)";
static const char index_wallets_sql[] = "CREATE INDEX main.accounts_id ON accounts (id);"
                                        "CREATE INDEX main.wallets_id ON wallets (account_id);"
                                        "CREATE INDEX main.transfers_id ON transfers (id)";

static enum err order_rows(const struct loader *loader)
{
    static const char doing[] = "order the rows";
    struct views views = {
        .is_database = true,
        .has_work = true,
        .has_orders = loader->version >= SCHEMA_VERSION_ORDERS,
        .has_machines = loader->version >= SCHEMA_VERSION_MACHINES,
        .has_wallets = loader->version >= SCHEMA_VERSION_WALLETS,
    };
    enum err err = db_exec(loader->db, index_sql, doing, loader->error);
    if (err == ERR_NONE && views.has_orders)
        err = db_exec(loader->db, index_orders_sql, doing, loader->error);
    if (err == ERR_NONE && views.has_machines)
        err = db_exec(loader->db, index_machines_sql, doing, loader->error);
    if (err == ERR_NONE && views.has_wallets)
        err = db_exec(loader->db, index_wallets_sql, doing, loader->error);
    if (err == ERR_NONE)
        err = views_make(loader->db, &views, loader->error);
    if (err == ERR_NONE)
        err = db_exec(loader->db, "CREATE TEMP TABLE audit_damage (fault)", doing, loader->error);
    return err;
}

static enum err open_copy(struct loader *loader)
{
    static const char doing[] = "make a place for the rows";
    /* What is missing is NULL, which a sum leaves out. */
    static const char size_sql[] =
        "SELECT sum(pg_table_size(to_regclass(name))) FROM unnest(ARRAY['products', 'purchase_log',"
        " 'idempotency_keys', 'work', 'orders', 'payments', 'notifications', 'accounts', 'intake_orders',"
        " 'intake_deliveries', 'machines', 'leases', 'tickets', 'wallets', 'transfers']) AS name";
    int64_t size_bytes = 0;
    enum err err = ask_number(loader, size_sql, "measure the tables of", 0, &size_bytes);
    if (err != ERR_NONE)
        return err;
    if (sqlite3_open_v2("", &loader->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        return db_fail(loader->db, doing, loader->error);
    sqlite3_extended_result_codes(loader->db, 1);
    return db_exec(loader->db,
        size_bytes <= MEMORY_STORE_BYTES_MAX
            ? "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -524288; PRAGMA journal_mode = OFF; BEGIN"
            : "PRAGMA temp_store = FILE; PRAGMA cache_size = -524288; PRAGMA journal_mode = OFF; BEGIN",
        doing, loader->error);
}

static enum err load(struct loader *loader)
{
    enum err err = check_version(loader);
    if (err == ERR_NONE)
        err = look_at_columns(loader);
    if (err == ERR_NONE)
        err = open_copy(loader);
    for (size_t t = 0; t < TABLE_COUNT && tables[t].since <= loader->version && err == ERR_NONE; t++)
        err = load_table(loader, &tables[t], loader->kinds[t]);
    if (err == ERR_NONE)
        err = order_rows(loader);
    if (err == ERR_NONE)
        err = postgres_sound_check(&loader->link, loader->db, loader->error);
    if (err == ERR_NONE)
        err = db_exec(loader->db, "COMMIT; BEGIN", "order the rows", loader->error);
    return err;
}

static enum err open_link(struct postgres_link *link, const char *url, struct error *error)
{
    enum err err = postgres_link_open(link, url, error);
    if (err != ERR_NONE)
        return err;
    err = postgres_link_run(link, begin_sql, "begin to read", error);
    if (err != ERR_NONE)
        postgres_link_close(link);
    return err;
}

enum err postgres_snapshot_open(
    struct snapshot *snapshot, const char *url, struct pg_conn *within, struct error *error)
{
    struct loader loader = {.link.conn = within, .error = error};
    *snapshot = (struct snapshot){.reading = SNAPSHOT_DATABASE};
    database_url_name(url, loader.link.name);
    (void)snprintf(snapshot->name, sizeof snapshot->name, "%s", loader.link.name);
    enum err err = within == NULL ? open_link(&loader.link, url, error) : ERR_NONE;
    if (err != ERR_NONE)
        return err;
    err = load(&loader);
    snapshot->schema_version = loader.version;
    if (within == NULL)
        postgres_link_close(&loader.link);
    snapshot->db = loader.db;
    if (err != ERR_NONE)
        snapshot_close(snapshot);
    return err;
}
