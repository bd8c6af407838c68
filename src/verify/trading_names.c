/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/trading_names.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/uuid.h"
#include "verify/db.h"
#include "verify/postgres_link.h"

static const char doing[] = "read the names of trading orders in";
static const char resolve_sql[] = "UPDATE temp.audit_order_journal SET number = audit_trading_id(order_id)"
                                  " WHERE face = 'intake' AND order_id IS NOT NULL";

/* Keeps what names are read with, and nothing that tokens could be signed with. */
static bool make_key(struct uuid_key *key, const void *secret, int len)
{
    if (secret == NULL || len != UUID_SECRET_BYTES)
        return false;
    uuid_key_init(key, secret, SLICE("intake order"));
    return true;
}

static enum err ask_file(sqlite3 *db, struct uuid_key *key, bool *is_made, struct error *error)
{
    sqlite3_stmt *stmt;
    enum err err =
        db_prepare(db, "SELECT value FROM main.secrets WHERE name = 'tokens'", doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *is_made = make_key(key, sqlite3_column_blob(stmt, 0), sqlite3_column_bytes(stmt, 0));
    sqlite3_finalize(stmt);
    return ERR_NONE;
}

static enum err ask_link(
    const struct postgres_link *link, struct uuid_key *key, bool *is_made, struct error *error)
{
    PGresult *result;
    unsigned char secret[UUID_SECRET_BYTES];
    size_t len = 0;
    enum err err = postgres_link_ask(
        link, "SELECT encode(value, 'hex') FROM secrets WHERE name = 'tokens'", doing, &result, error);
    if (err != ERR_NONE)
        return err;
    if (PQntuples(result) == 1 && sodium_hex2bin(secret, sizeof secret, PQgetvalue(result, 0, 0),
                                      (size_t)PQgetlength(result, 0, 0), NULL, &len, NULL) == 0)
        *is_made = make_key(key, secret, (int)len);
    sodium_memzero(secret, sizeof secret);
    PQclear(result);
    return ERR_NONE;
}

static enum err ask_database(
    const char *url, struct pg_conn *within, struct uuid_key *key, bool *is_made, struct error *error)
{
    struct postgres_link link = {.conn = within};
    database_url_name(url, link.name);
    enum err err = within == NULL ? postgres_link_open(&link, url, error) : ERR_NONE;
    if (err != ERR_NONE)
        return err;
    err = ask_link(&link, key, is_made, error);
    if (within == NULL)
        postgres_link_close(&link);
    return err;
}

static void audit_trading_id(sqlite3_context *context, int count, sqlite3_value **values)
{
    int64_t number;
    (void)count;
    const unsigned char *text = sqlite3_value_text(values[0]);
    struct slice name = text == NULL ? SLICE("") : slice_make(text, (size_t)sqlite3_value_bytes(values[0]));
    if (uuid_to_number(sqlite3_user_data(context), name, &number))
        sqlite3_result_int64(context, number);
    else
        sqlite3_result_null(context);
}

static enum err resolve(sqlite3 *db, struct uuid_key *key, struct error *error)
{
    static const char name[] = "audit_trading_id";
    int rc = sqlite3_create_function_v2(db, name, 1, SQLITE_UTF8, key, audit_trading_id, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return db_fail(db, doing, error);
    enum err err = db_exec(db, resolve_sql, doing, error);
    (void)sqlite3_create_function_v2(db, name, 1, SQLITE_UTF8, NULL, NULL, NULL, NULL, NULL);
    return err;
}

enum err trading_names_resolve(
    const struct snapshot *snapshot, const char *store, struct pg_conn *within, struct error *error)
{
    struct uuid_key key;
    bool is_made = false;
    enum err err = snapshot->reading == SNAPSHOT_DATABASE ? ask_database(store, within, &key, &is_made, error)
                                                          : ask_file(snapshot->db, &key, &is_made, error);
    if (err == ERR_NONE && !is_made)
        err = error_set(error, ERR_CORRUPT,
            "the store %s has lost the secret that its trading orders are named by; restore a backup",
            snapshot->name);
    if (err == ERR_NONE)
        err = resolve(snapshot->db, &key, error);
    sodium_memzero(&key, sizeof key);
    return err;
}
