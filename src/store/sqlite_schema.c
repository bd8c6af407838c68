/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file: whether it is ours, which version its tables have, whether it is sound, and how it is set up.
 *
 * Nothing is written before it is certain that the file is a doorbuster store of a version that this program
 * knows. The header is read without SQLite first, because SQLite would finish another program's interrupted
 * transaction. A new file gets its tables in one transaction in rollback-journal mode and is switched to the
 * log (WAL) after that; so page 1 with the application id is in the file itself before there is any log, and
 * a crash in between leaves an empty file or a store that is switched when it is opened again.
 */
#include "store/sqlite_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUSY_TIMEOUT_MS = 5000, /* for a person with the sqlite3 shell; nobody else writes */
    FILE_HEADER_BYTES = 100,
    FILE_APPLICATION_ID_AT = 68,
};

static const struct schema_step steps[] = {
    {1, sqlite_001_sql},
    {2, sqlite_002_sql},
    {3, sqlite_003_sql},
    {4, sqlite_004_sql},
    {5, sqlite_005_sql},
};
_Static_assert(sizeof steps / sizeof steps[0] == SCHEMA_VERSION, "one step a version");

/* --- errors --- */

/* Quota and a limit on the size of files are a full disk to us: the same remedy, the same recovery. */
static enum err failed_io(int rc, int system_errno)
{
    switch (rc) {
    case SQLITE_IOERR_NOMEM:
        return ERR_MEMORY;
    case SQLITE_IOERR_CORRUPTFS:
    case SQLITE_IOERR_DATA:
        return ERR_CORRUPT;
    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_TRUNCATE:
    case SQLITE_IOERR_SHMSIZE:
        return system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG ? ERR_FULL : ERR_IO;
    default:
        return ERR_IO;
    }
}

static enum err failure_code(int rc, int system_errno)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_IOERR:
        return failed_io(rc, system_errno);
    case SQLITE_NOMEM:
        return ERR_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_LOCKED;
    case SQLITE_CANTOPEN:
        return system_errno == ENOSPC || system_errno == EDQUOT ? ERR_FULL : ERR_IO;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_NOLFS:
        return ERR_IO;
    default: /* damaged, or rows and tables are not what they must be */
        return ERR_CORRUPT;
    }
}

static const char *remedy(enum err code, int rc)
{
    if ((rc & 0xff) == SQLITE_CONSTRAINT)
        return "another program has changed it; restart doorbuster and run its verify";
    switch (code) {
    case ERR_FULL:
        return "make room on the disk";
    case ERR_LOCKED:
        return "another program writes to it; end that one";
    case ERR_CORRUPT:
        return "it is damaged; keep a copy and restore a backup";
    case ERR_MEMORY:
        return "give the process more memory";
    default:
        return "look at the disk, the directory and their permissions";
    }
}

enum err sqlite_failure(sqlite3 *db, int rc, const char *path, const char *what, struct error *error)
{
    return sqlite_failure_errno(db, rc, db == NULL ? 0 : sqlite3_system_errno(db), path, what, error);
}

enum err sqlite_failure_errno(
    sqlite3 *db, int rc, int system_errno, const char *path, const char *what, struct error *error)
{
    enum err code = failure_code(rc, system_errno);
    bool has_cause = ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN) && system_errno != 0;
    return error_set(error, code, "cannot %s %s: %s%s%s (sqlite %d); %s", what, path,
        db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(db), has_cause ? ", " : "",
        has_cause ? strerror(system_errno) : "", rc, remedy(code, rc));
}

/* --- looking before touching --- */

/* Path and ending; false when it does not fit. */
static bool beside(char beside_path[PATH_MAX], const char *path, const char *ending)
{
    int len = snprintf(beside_path, PATH_MAX, "%s%s", path, ending);
    return len >= 0 && len < PATH_MAX;
}

static bool has_log(const char *path)
{
    char log_path[PATH_MAX];
    struct stat status;
    return beside(log_path, path, "-wal") && stat(log_path, &status) == 0 && status.st_size > 0;
}

/* Not there or empty is a new store, unless a log is left of an old one: SQLite would throw it away. */
static enum err look_at_nothing(
    const char *path, enum schema_file found, enum schema_file *file, struct error *error)
{
    *file = found;
    if (!has_log(path))
        return ERR_NONE;
    return error_set(error, ERR_CORRUPT,
        "%s is missing or empty, but its log %s-wal is not; restore the file, or remove the log to begin "
        "anew",
        path, path);
}

static enum err look_at_header(const char *path, int fd, struct error *error)
{
    unsigned char header[FILE_HEADER_BYTES];
    ssize_t len = pread(fd, header, sizeof header, 0);
    if (len < 0)
        return error_set(error, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (len < FILE_HEADER_BYTES || memcmp(header, "SQLite format 3", 16) != 0)
        return error_set(error, ERR_CORRUPT,
            "%s is no doorbuster store: no SQLite file, or damaged at its beginning; give another --store",
            path);
    const unsigned char *id = header + FILE_APPLICATION_ID_AT;
    if ((id[0] << 24 | id[1] << 16 | id[2] << 8 | id[3]) != SCHEMA_APPLICATION_ID)
        return error_set(error, ERR_CORRUPT,
            "%s is no doorbuster store: it is an SQLite file of another program; give another --store", path);
    return ERR_NONE;
}

static enum err look_at_file(const char *path, int fd, enum schema_file *file, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return error_set(error, ERR_IO, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERR_IO, "%s is not a regular file; give the path of a file as --store", path);
    if (status.st_size == 0)
        return look_at_nothing(path, SCHEMA_FILE_EMPTY, file, error);
    *file = SCHEMA_FILE_STORE;
    return look_at_header(path, fd, error);
}

enum err schema_look(const char *path, enum schema_file *file, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return look_at_nothing(path, SCHEMA_FILE_ABSENT, file, error);
    if (fd < 0)
        return error_set(error, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    enum err err = look_at_file(path, fd, file, error);
    (void)close(fd);
    return err;
}

/* --- small statements --- */

/* The first column of the first row as a number. */
static int query_i64(sqlite3 *db, const char *sql, int64_t *value)
{
    sqlite3_stmt *statement;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *value = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

/* Whether the first column of the first row is this text; else what it is. */
static int query_is(sqlite3 *db, const char *sql, const char *expected, char *found, int found_size)
{
    sqlite3_stmt *statement;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        (void)snprintf(found, (size_t)found_size, "%s", (const char *)sqlite3_column_text(statement, 0));
    (void)sqlite3_finalize(statement);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
    return strcmp(found, expected) == 0 ? SQLITE_OK : SQLITE_MISMATCH;
}

/* --- versions --- */

static enum err run_step(sqlite3 *db, const char *path, const struct schema_step *step, struct error *error)
{
    int64_t version = 0;
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, step->sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = query_i64(db, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK && version != step->version)
        rc = SQLITE_SCHEMA;
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return ERR_NONE;
    enum err err = sqlite_failure(db, rc, path, "bring up to date the tables of", error);
    if (sqlite3_get_autocommit(db) == 0)
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

enum err schema_bring_up(
    sqlite3 *db, const char *path, const struct schema_step *rows, size_t count, struct error *error)
{
    int64_t version = 0;
    int rc = query_i64(db, "PRAGMA user_version", &version);
    if (rc != SQLITE_OK)
        return sqlite_failure(db, rc, path, "read the version of", error);
    int known = rows[count - 1].version;
    if (version > known)
        return error_set(error, ERR_NEWER,
            "%s was written by a newer doorbuster (its tables have version %lld, this one knows %d); use "
            "that one",
            path, (long long)version, known);
    for (size_t i = 0; i < count; i++) {
        enum err err = rows[i].version > version ? run_step(db, path, &rows[i], error) : ERR_NONE;
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

/* --- opening --- */

/* No foreign keys: without an index on product_id, which purchases do not have on purpose, each removed
 * product would be looked for in every purchase; the rules keep them, the auditor proves it. No secure
 * delete: cleared purchases need not be overwritten page by page through the log. */
static const char settings_sql[] =
    "PRAGMA synchronous = FULL;"
    "PRAGMA foreign_keys = OFF;"
    "PRAGMA secure_delete = OFF;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA cache_size = -16384;"            /* KiB */
    "PRAGMA journal_size_limit = 16777216;"; /* bytes; four times what a checkpoint waits for */

static enum err set_up(sqlite3 *db, const char *path, struct error *error)
{
    (void)sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    if (sqlite3_db_readonly(db, "main") == 1)
        return error_set(error, ERR_IO, "cannot write to %s; give it to the user that runs doorbuster", path);
    int rc = sqlite3_exec(db, settings_sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_NONE : sqlite_failure(db, rc, path, "open", error);
}

static enum err switch_to_log(sqlite3 *db, const char *path, struct error *error)
{
    char mode[32] = "";
    int rc = query_is(db, "PRAGMA journal_mode = WAL", "wal", mode, sizeof mode);
    if (rc == SQLITE_MISMATCH)
        return error_set(error, ERR_IO,
            "cannot keep a log for %s (journal mode stays %s); use a local file system", path, mode);
    return rc == SQLITE_OK ? ERR_NONE : sqlite_failure(db, rc, path, "open the log of", error);
}

/* Reads the whole file once, which adds a quarter to the time of loading it (0.15 s for a million purchases),
 * and finds damage before anybody is served: pages out of place, rows out of order or against a check. */
static enum err check(sqlite3 *db, const char *path, struct error *error)
{
    char answer[200] = "";
    int rc = query_is(db, "PRAGMA quick_check(1)", "ok", answer, sizeof answer);
    for (char *at = answer; *at != '\0'; at++) {
        if (*at == '\n')
            *at = ' ';
    }
    if (rc == SQLITE_MISMATCH)
        return error_set(
            error, ERR_CORRUPT, "%s is damaged: %s; keep a copy and restore a backup", path, answer);
    return rc == SQLITE_OK ? ERR_NONE : sqlite_failure(db, rc, path, "check", error);
}

/* A name in a directory is on disk once the directory is flushed. */
static enum err flush_directory(const char *path, struct error *error)
{
    char directory[PATH_MAX];
    (void)snprintf(directory, sizeof directory, "%.*s", (int)(strrchr(path, '/') - path + 1), path);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    enum err err = ERR_NONE;
    if (rc != 0)
        err = error_set(error, ERR_IO, "cannot flush the directory %s: %s", directory, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return err;
}

static enum err open_checked(sqlite3 *db, const char *path, enum schema_file file, struct error *error)
{
    enum err err = set_up(db, path, error);
    if (err == ERR_NONE)
        err = schema_bring_up(db, path, steps, SCHEMA_VERSION, error);
    if (err == ERR_NONE)
        err = switch_to_log(db, path, error);
    if (err == ERR_NONE && file == SCHEMA_FILE_STORE)
        err = check(db, path, error);
    if (err == ERR_NONE && file != SCHEMA_FILE_STORE)
        err = flush_directory(path, error);
    return err;
}

/* Leaves no trace of a store that could not be made. */
static void remove_new(const char *path, enum schema_file file)
{
    static const char *const endings[] = {"-journal", "-wal", "-shm"};
    char beside_path[PATH_MAX];
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (beside(beside_path, path, endings[i]))
            (void)unlink(beside_path);
    }
    if (file == SCHEMA_FILE_ABSENT)
        (void)unlink(path);
    else if (truncate(path, 0) != 0)
        (void)unlink(path);
}

enum err schema_open(const char *path, enum schema_file file, sqlite3 **db, struct error *error)
{
    bool had_log = has_log(path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(path, db, flags, NULL);
    enum err err =
        rc == SQLITE_OK ? open_checked(*db, path, file, error) : sqlite_failure(*db, rc, path, "open", error);
    if (err == ERR_NONE)
        return ERR_NONE;
    /* Closing must not bring a log that we found into a file that we refuse. */
    if (had_log && *db != NULL)
        (void)sqlite3_db_config(*db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_close(*db);
    *db = NULL;
    if (file != SCHEMA_FILE_STORE)
        remove_new(path, file);
    return err;
}
