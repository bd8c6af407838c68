/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary read-only connection to a SQLite file in WAL mode is not innocent: it makes PATH-wal and
 * PATH-shm when they are missing, rewrites the -shm when it is first, leaves both behind, and fails where it
 * may not make them. So there are three ways in, chosen by what lies beside the file:
 *
 *  - no log, or an empty one and no index (a server that stopped cleanly takes both away): everything is in
 *    the file itself. Opened `immutable`: no lock, no second file. That is safe only while nobody writes,
 *    hence snapshot_is_intact: a server that starts meanwhile first writes to its log, which is not read
 *    here; only when it carries pages over into the file does the file change, and then the audit is made
 *    again, the other way. - log and index: a server is at work, or was killed. `readonly_shm` joins in
 *    without writing to the index; when nobody keeps that index SQLite makes its own in memory from the log.
 *    A server at work gives us a read mark of its own through the index; should there be none to share we
 *    ask for one (the index is no part of the store). - a log with content but no index: nobody has the
 *    store open, as each server makes an index. The VFS without locks together with exclusive mode keeps the
 *    index in memory. As the first way, it is checked afterwards.
 *
 * The file is never opened past SQLite: POSIX drops all locks of a process on a file when it closes any
 * descriptor of it, and the server may live in this process (doorbuster demo).
 */
#include "verify/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/database_url.h"
#include "base/strbuf.h"
#include "verify/db.h"
#include "verify/postgres_snapshot.h"
#include "verify/views.h"

enum {
    APPLICATION_ID = 0x44425354, /* "DBST" */
    SCHEMA_VERSION_MAX = 5,
    SCHEMA_VERSION_WORK = 2,     /* the first with the table work */
    SCHEMA_VERSION_ORDERS = 3,   /* the first with orders, accounts and trading orders */
    SCHEMA_VERSION_MACHINES = 4, /* the first with machines, leases and tickets */
    SCHEMA_VERSION_WALLETS = 5,  /* the first with wallets and transfers */
    BUSY_TIMEOUT_MS = 5000,
    URI_LEN_MAX = 3 * PATH_MAX + 64 /* each byte of the path may become %XX */
};

/* Above this size temporary tables go to a file, so that the auditor does not need memory without bound. */
#define MEMORY_STORE_BYTES_MAX (INT64_C(1) << 30)

static struct snapshot_file look(const char *path, const char *suffix)
{
    char name[PATH_MAX + 16];
    struct strbuf buf;
    struct stat info;
    strbuf_init(&buf, name, sizeof name);
    strbuf_printf(&buf, "%s%s", path, suffix);
    if (buf.has_overflowed || stat(name, &info) != 0)
        return (struct snapshot_file){.exists = false};
    return (struct snapshot_file){true, info.st_dev, info.st_ino, info.st_size, info.st_mtim};
}

static bool is_same(const struct snapshot_file *a, const struct snapshot_file *b)
{
    return a->exists == b->exists && a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

/* Looks at the files, and says how they are to be read. */
static enum err choose(struct snapshot *snapshot, const char *path, struct error *error)
{
    struct stat info;
    if (realpath(path, snapshot->path) == NULL || stat(snapshot->path, &info) != 0)
        return error_set(error, ERR_IO, "cannot read the store %s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return error_set(error, ERR_CORRUPT, "%s is not a store: it is no regular file", path);
    struct snapshot_file journal = look(snapshot->path, "-journal");
    if (journal.exists && journal.size > 0)
        return error_set(error, ERR_IO,
            "the store %s was left in the middle of being made (%s-journal is not empty); start doorbuster "
            "serve on it once, then verify again",
            path, path);
    bool has_index = look(snapshot->path, "-shm").exists;
    snapshot->store = look(snapshot->path, "");
    snapshot->wal = look(snapshot->path, "-wal");
    if (snapshot->wal.exists && has_index)
        snapshot->reading = SNAPSHOT_SHARED;
    else
        snapshot->reading = snapshot->wal.size > 0 ? SNAPSHOT_PRIVATE : SNAPSHOT_SEALED;
    return ERR_NONE;
}

/* RFC 3986: what is neither unreserved nor a slash is escaped, so that any path can stand in the URI. */
static void put_uri_path(struct strbuf *uri, const char *path)
{
    for (const char *at = path; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        strchr("-._~/", c) != NULL;
        if (is_plain)
            strbuf_put_char(uri, *at);
        else
            strbuf_printf(uri, "%%%02X", c);
    }
}

static enum err connect_with(struct snapshot *snapshot, const char *how, struct error *error)
{
    char uri[URI_LEN_MAX];
    struct strbuf buf;
    strbuf_init(&buf, uri, sizeof uri);
    strbuf_lit(&buf, "file://");
    put_uri_path(&buf, snapshot->path);
    strbuf_put(&buf, slice_cstr(how));
    strbuf_put_char(&buf, '\0');
    if (buf.has_overflowed)
        return error_set(error, ERR_IO, "the path of the store is too long");
    snapshot->db = NULL;
    if (sqlite3_open_v2(uri, &snapshot->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) != SQLITE_OK)
        return db_fail(snapshot->db, "open the store", error);
    sqlite3_extended_result_codes(snapshot->db, 1);
    (void)sqlite3_busy_timeout(snapshot->db, BUSY_TIMEOUT_MS);
    (void)sqlite3_db_config(snapshot->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return ERR_NONE;
}

/* The first read fixes the moment; the transaction keeps it. Pragmas read too, so the locking mode, which
 * says where the index of the log is, stands before the others. */
static enum err begin(struct snapshot *snapshot, struct error *error)
{
    static const char doing[] = "read the store";
    bool fits_memory = snapshot->store.size + snapshot->wal.size <= MEMORY_STORE_BYTES_MAX;
    const char *pragmas = fits_memory ? "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536"
                                      : "PRAGMA temp_store = FILE; PRAGMA cache_size = -262144";
    enum err err = ERR_NONE;
    if (snapshot->reading == SNAPSHOT_PRIVATE)
        err = db_exec(snapshot->db, "PRAGMA locking_mode = EXCLUSIVE", doing, error);
    if (err == ERR_NONE)
        err = db_exec(snapshot->db, pragmas, doing, error);
    if (err == ERR_NONE)
        err = db_exec(snapshot->db, "BEGIN; SELECT count(*) FROM main.sqlite_schema", doing, error);
    return err;
}

static enum err open_once(struct snapshot *snapshot, const char *how, struct error *error)
{
    enum err err = connect_with(snapshot, how, error);
    if (err == ERR_NONE)
        err = begin(snapshot, error);
    return err;
}

static enum err open_chosen(struct snapshot *snapshot, struct error *error)
{
    static const char *const hows[] = {
        [SNAPSHOT_SEALED] = "?mode=ro&immutable=1",
        [SNAPSHOT_SHARED] = "?mode=ro&readonly_shm=1",
        [SNAPSHOT_PRIVATE] = "?mode=ro&vfs=unix-none",
    };
    enum err err = open_once(snapshot, hows[snapshot->reading], error);
    if (err == ERR_NONE || snapshot->reading != SNAPSHOT_SHARED ||
        sqlite3_errcode(snapshot->db) != SQLITE_READONLY)
        return err;
    snapshot_close(snapshot);
    return open_once(snapshot, "?mode=ro", error);
}

static enum err check_kind(struct snapshot *snapshot, const char *path, struct error *error)
{
    int64_t application = 0;
    sqlite3 *db = snapshot->db;
    enum err err = db_number(db, "PRAGMA application_id", "read the store", &application, error);
    if (err == ERR_NONE)
        err = db_number(db, "PRAGMA user_version", "read the store", &snapshot->schema_version, error);
    if (err != ERR_NONE)
        return err;
    if (application != APPLICATION_ID || snapshot->schema_version < 1)
        return error_set(error, ERR_CORRUPT,
            "%s is not a doorbuster store (application id %lld, schema version %lld)", path,
            (long long)application, (long long)snapshot->schema_version);
    if (snapshot->schema_version > SCHEMA_VERSION_MAX)
        return error_set(error, ERR_NEWER,
            "the store %s has schema version %lld, this auditor knows versions up to %d; use the doorbuster "
            "that wrote it",
            path, (long long)snapshot->schema_version, SCHEMA_VERSION_MAX);
    return ERR_NONE;
}

static const char damage_sql[] = "CREATE TEMP VIEW audit_damage AS SELECT integrity_check AS fault FROM "
                                 "pragma_integrity_check(100, 'main')"
                                 " WHERE integrity_check <> 'ok'";

static enum err make_views(const struct snapshot *snapshot, struct error *error)
{
    struct views views = {
        .has_work = snapshot->schema_version >= SCHEMA_VERSION_WORK,
        .has_orders = snapshot->schema_version >= SCHEMA_VERSION_ORDERS,
        .has_machines = snapshot->schema_version >= SCHEMA_VERSION_MACHINES,
        .has_wallets = snapshot->schema_version >= SCHEMA_VERSION_WALLETS,
    };
    enum err err = db_exec(snapshot->db, damage_sql, "set up the audit", error);
    return err == ERR_NONE ? views_make(snapshot->db, &views, error) : err;
}

enum err snapshot_open(struct snapshot *snapshot, const char *store, struct error *error)
{
    if (database_url_is(store))
        return postgres_snapshot_open(snapshot, store, NULL, error);
    *snapshot = (struct snapshot){.db = NULL};
    (void)snprintf(snapshot->name, sizeof snapshot->name, "%s", store);
    enum err err = choose(snapshot, store, error);
    if (err == ERR_NONE)
        err = open_chosen(snapshot, error);
    if (err == ERR_NONE)
        err = check_kind(snapshot, store, error);
    if (err == ERR_NONE)
        err = make_views(snapshot, error);
    if (err != ERR_NONE)
        snapshot_close(snapshot);
    return err;
}

enum err snapshot_open_within(
    struct snapshot *snapshot, const char *url, struct pg_conn *connection, struct error *error)
{
    return postgres_snapshot_open(snapshot, url, connection, error);
}

void snapshot_close(struct snapshot *snapshot)
{
    (void)sqlite3_close_v2(snapshot->db);
    snapshot->db = NULL;
}

bool snapshot_is_intact(const struct snapshot *snapshot)
{
    if (snapshot->reading == SNAPSHOT_SHARED || snapshot->reading == SNAPSHOT_DATABASE)
        return true;
    struct snapshot_file store = look(snapshot->path, "");
    struct snapshot_file wal = look(snapshot->path, "-wal");
    return is_same(&store, &snapshot->store) &&
           (snapshot->reading == SNAPSHOT_SEALED || is_same(&wal, &snapshot->wal));
}

const char *snapshot_reading_text(enum snapshot_reading reading)
{
    switch (reading) {
    case SNAPSHOT_SEALED:
        return "stopped";
    case SNAPSHOT_SHARED:
        return "running, or killed: read with its log";
    case SNAPSHOT_PRIVATE:
        return "a copy with its log";
    case SNAPSHOT_DATABASE:
        return "a database, as of one moment";
    }
    return "";
}
