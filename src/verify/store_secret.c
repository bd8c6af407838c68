/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/store_secret.h"

#include <sodium.h>

#include "verify/db.h"
#include "verify/postgres_link.h"

static const char doing[] = "read the secret of";

static enum err ask_file(sqlite3 *db, unsigned char *secret, bool *is_there, struct error *error)
{
    sqlite3_stmt *stmt;
    enum err err =
        db_prepare(db, "SELECT value FROM main.secrets WHERE name = 'tokens'", doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    *is_there = sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_bytes(stmt, 0) == STORE_SECRET_BYTES;
    if (*is_there)
        memcpy(secret, sqlite3_column_blob(stmt, 0), STORE_SECRET_BYTES);
    sqlite3_finalize(stmt);
    return ERR_NONE;
}

static enum err ask_link(
    const struct postgres_link *link, unsigned char *secret, bool *is_there, struct error *error)
{
    PGresult *result;
    size_t len = 0;
    enum err err = postgres_link_ask(
        link, "SELECT encode(value, 'hex') FROM secrets WHERE name = 'tokens'", doing, &result, error);
    if (err != ERR_NONE)
        return err;
    *is_there = PQntuples(result) == 1 &&
                sodium_hex2bin(secret, STORE_SECRET_BYTES, PQgetvalue(result, 0, 0),
                    (size_t)PQgetlength(result, 0, 0), NULL, &len, NULL) == 0 &&
                len == STORE_SECRET_BYTES;
    PQclear(result);
    return ERR_NONE;
}

static enum err ask_database(
    const char *url, struct pg_conn *within, unsigned char *secret, bool *is_there, struct error *error)
{
    struct postgres_link link = {.conn = within};
    database_url_name(url, link.name);
    enum err err = within == NULL ? postgres_link_open(&link, url, error) : ERR_NONE;
    if (err != ERR_NONE)
        return err;
    err = ask_link(&link, secret, is_there, error);
    if (within == NULL)
        postgres_link_close(&link);
    return err;
}

enum err store_secret_read(const struct snapshot *snapshot, const char *store, struct pg_conn *within,
    const char *purpose, unsigned char secret[STORE_SECRET_BYTES], struct error *error)
{
    bool is_there = false;
    enum err err = snapshot->reading == SNAPSHOT_DATABASE
                       ? ask_database(store, within, secret, &is_there, error)
                       : ask_file(snapshot->db, secret, &is_there, error);
    if (err == ERR_NONE && !is_there)
        err = error_set(error, ERR_CORRUPT,
            "the store %s has lost the secret that its %s by; restore a backup", snapshot->name, purpose);
    return err;
}
