/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the few rows of a large table that may share a key, without sorting the keys. One thread. */
#ifndef DOORBUSTER_VERIFY_TWINS_H
#define DOORBUSTER_VERIFY_TWINS_H

#include <sqlite3.h>

#include "base/err.h"

/*
 * `rows_sql` gives (row, number, text, keep); the key is number and text together. The rows whose key another
 * row may have too, and those with keep, go through `keep_sql`, which has the parameter :id and takes each
 * row once at least. `what` says what the rows are, for messages. Memory: 24 bytes a row while it runs.
 * ERR_CORRUPT: the rows cannot be read.
 */
MUST_CHECK enum err twins_find(
    sqlite3 *db, const char *rows_sql, const char *keep_sql, const char *what, struct error *error);

#endif
