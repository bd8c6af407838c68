/* SPDX-License-Identifier: Apache-2.0 */
/* An embedded store that nobody serves, opened to be copied elsewhere: its rows are read, none is written. */
#ifndef DOORBUSTER_STORE_SQLITE_SOURCE_H
#define DOORBUSTER_STORE_SQLITE_SOURCE_H

#include <limits.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/file_lock.h"

struct sqlite_source {
    char path[PATH_MAX];   /* absolute, links resolved */
    struct file_lock lock; /* the one that a server takes */
    sqlite3 *db;           /* in a read transaction */
};

/* ERR_LOCKED: it is served; ERR_IO: there is none, or it cannot be read; ERR_CORRUPT, ERR_NEWER. Call
 * sqlite_source_close after an error too. */
MUST_CHECK enum err sqlite_source_open(struct sqlite_source *source, const char *path, struct error *error);
void sqlite_source_close(struct sqlite_source *source);

bool sqlite_source_has_table(const struct sqlite_source *source, const char *name);
bool sqlite_source_has_column(const struct sqlite_source *source, const char *table, const char *name);

/* The statement is the caller's to finalize; NULL after an error. */
MUST_CHECK enum err sqlite_source_prepare(
    const struct sqlite_source *source, const char *sql, sqlite3_stmt **stmt, struct error *error);

/* What went wrong with a step of such a statement. */
enum err sqlite_source_fail(const struct sqlite_source *source, int rc, struct error *error);

/* The id that the store would give out next: the larger of what it has noted and what stands in the table
 * + 1. */
MUST_CHECK enum err sqlite_source_next_id(const struct sqlite_source *source, const char *sequence,
    const char *table, int64_t *next, struct error *error);

#endif
