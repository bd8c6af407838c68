/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/db.h"

static enum err code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_NOMEM:
        return ERR_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_LOCKED;
    default:
        return ERR_IO;
    }
}

enum err db_fail(sqlite3 *db, const char *doing, struct error *error)
{
    return error_set(error, code_of(sqlite3_errcode(db)), "cannot %s: %s", doing, sqlite3_errmsg(db));
}

enum err db_exec(sqlite3 *db, const char *sql, const char *doing, struct error *error)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? ERR_NONE : db_fail(db, doing, error);
}

enum err db_prepare(sqlite3 *db, const char *sql, const char *doing, sqlite3_stmt **stmt, struct error *error)
{
    return sqlite3_prepare_v2(db, sql, -1, stmt, NULL) == SQLITE_OK ? ERR_NONE : db_fail(db, doing, error);
}

enum err db_number(sqlite3 *db, const char *sql, const char *doing, int64_t *number, struct error *error)
{
    sqlite3_stmt *stmt;
    enum err err = db_prepare(db, sql, doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *number = sqlite3_column_int64(stmt, 0);
    else if (rc == SQLITE_DONE)
        err = error_set(error, ERR_CORRUPT, "cannot %s: there is no such row", doing);
    else
        err = db_fail(db, doing, error);
    sqlite3_finalize(stmt);
    return err;
}

void db_bind_text(sqlite3_stmt *stmt, const char *name, struct slice text)
{
    int index = sqlite3_bind_parameter_index(stmt, name);
    if (index > 0)
        (void)sqlite3_bind_text64(stmt, index, text.base, text.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

void db_bind_i64(sqlite3_stmt *stmt, const char *name, int64_t value)
{
    int index = sqlite3_bind_parameter_index(stmt, name);
    if (index > 0)
        (void)sqlite3_bind_int64(stmt, index, value);
}

struct slice db_text(sqlite3_stmt *stmt, int column)
{
    const unsigned char *text = sqlite3_column_text(stmt, column);
    if (text == NULL)
        return SLICE("");
    return slice_make(text, (size_t)sqlite3_column_bytes(stmt, column));
}
