/* SPDX-License-Identifier: Apache-2.0 */
/* The few words of SQLite that the auditor says again and again. One thread at a time. */
#ifndef DOORBUSTER_VERIFY_DB_H
#define DOORBUSTER_VERIFY_DB_H

#include <sqlite3.h>

#include "base/err.h"
#include "base/slice.h"

/* Turns the connection's last error into ours: "cannot DOING: what SQLite says". Returns its code. */
enum err db_fail(sqlite3 *db, const char *doing, struct error *error);

/* Runs one or more statements for their effect. */
MUST_CHECK enum err db_exec(sqlite3 *db, const char *sql, const char *doing, struct error *error);

/* The statement is the caller's to finalize; NULL after an error. */
MUST_CHECK enum err db_prepare(
    sqlite3 *db, const char *sql, const char *doing, sqlite3_stmt **stmt, struct error *error);

/* The first column of the first row as a number; a query without a row is an error. */
MUST_CHECK enum err db_number(
    sqlite3 *db, const char *sql, const char *doing, int64_t *number, struct error *error);

/* Bind by name when the statement has such a parameter. They fail for want of memory only; the parameter
 * then stays NULL, for which no claim holds. */
void db_bind_text(sqlite3_stmt *stmt, const char *name, struct slice text);
void db_bind_i64(sqlite3_stmt *stmt, const char *name, int64_t value);

/* The text of a column of the present row, borrowed until the next step; NULL gives the empty slice. */
struct slice db_text(sqlite3_stmt *stmt, int column);

#endif
