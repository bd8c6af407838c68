/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "store/sqlite_priv.h"

static enum err take_lock(struct sqlite_source *source, struct error *error)
{
    char path[PATH_MAX + 8];
    long pid = 0;
    (void)snprintf(path, sizeof path, "%s.lock", source->path);
    enum err err = file_lock_take(&source->lock, path, &pid, error);
    if (err != ERR_LOCKED)
        return err;
    return error_set(error, ERR_LOCKED,
        "%s is served by another doorbuster (process %ld); stop it first, so that it sells nothing that is "
        "not copied",
        source->path, pid);
}

static enum err check_version(const struct sqlite_source *source, struct error *error)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_source_prepare(source, "PRAGMA user_version", &stmt, error);
    if (err != ERR_NONE)
        return err;
    int rc = sqlite3_step(stmt);
    int version = rc == SQLITE_ROW ? sqlite3_column_int(stmt, 0) : 0;
    (void)sqlite3_finalize(stmt);
    if (rc != SQLITE_ROW)
        return sqlite_source_fail(source, rc, error);
    if (version > SCHEMA_VERSION)
        return error_set(error, ERR_NEWER,
            "%s was written by a newer doorbuster (its tables have version %d, this one knows %d); use that "
            "one",
            source->path, version, SCHEMA_VERSION);
    return ERR_NONE;
}

/* Where a server was killed, its log is read too, and brought into the file as the next server would do. */
static enum err open_file(struct sqlite_source *source, struct error *error)
{
    enum schema_file file;
    enum err err = schema_look(source->path, &file, error);
    if (err != ERR_NONE)
        return err;
    if (file != SCHEMA_FILE_STORE)
        return error_set(error, ERR_IO, "there is no store %s to copy", source->path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(source->path, &source->db, flags, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(source->db, "PRAGMA query_only = ON; BEGIN; SELECT count(*) FROM sqlite_schema",
            NULL, NULL, NULL);
    return rc == SQLITE_OK ? check_version(source, error) : sqlite_source_fail(source, rc, error);
}

enum err sqlite_source_open(struct sqlite_source *source, const char *path, struct error *error)
{
    *source = (struct sqlite_source){.lock.fd = -1};
    if (realpath(path, source->path) == NULL)
        return error_set(error, ERR_IO, "cannot read the store %s: %s", path, strerror(errno));
    enum err err = take_lock(source, error);
    return err == ERR_NONE ? open_file(source, error) : err;
}

void sqlite_source_close(struct sqlite_source *source)
{
    int rc = sqlite3_close(source->db);
    ENSURE(rc == SQLITE_OK); /* else a statement is still open */
    source->db = NULL;
    if (source->lock.fd >= 0)
        file_lock_release(&source->lock);
}

bool sqlite_source_has_table(const struct sqlite_source *source, const char *name)
{
    return sqlite_source_has_column(source, name, NULL);
}

bool sqlite_source_has_column(const struct sqlite_source *source, const char *table, const char *name)
{
    return sqlite3_table_column_metadata(source->db, "main", table, name, NULL, NULL, NULL, NULL, NULL) ==
           SQLITE_OK;
}

enum err sqlite_source_prepare(
    const struct sqlite_source *source, const char *sql, sqlite3_stmt **stmt, struct error *error)
{
    int rc = sqlite3_prepare_v2(source->db, sql, -1, stmt, NULL);
    return rc == SQLITE_OK ? ERR_NONE : sqlite_source_fail(source, rc, error);
}

enum err sqlite_source_fail(const struct sqlite_source *source, int rc, struct error *error)
{
    return sqlite_failure(source->db, rc, source->path, "read", error);
}

enum err sqlite_source_next_id(const struct sqlite_source *source, const char *sequence, const char *table,
    int64_t *next, struct error *error)
{
    char sql[256];
    sqlite3_stmt *stmt;
    (void)snprintf(sql, sizeof sql,
        "SELECT max(ifnull((SELECT next_value FROM sequences WHERE name = '%s'), 1),"
        " ifnull((SELECT max(id) FROM %s), 0) + 1)",
        sequence, table);
    enum err err = sqlite_source_prepare(source, sql, &stmt, error);
    if (err != ERR_NONE)
        return err;
    int rc = sqlite3_step(stmt);
    *next = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    (void)sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? ERR_NONE : sqlite_source_fail(source, rc, error);
}
