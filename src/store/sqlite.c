/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store from opening to closing. Its parts: sqlite_schema.c (the file and its tables),
 * sqlite_write.c (a batch), sqlite_wal.c (what a failed commit means), sqlite_load.c (into the world),
 * sqlite_reader.c and purchase_index.c, intake_index.c (plain reads).
 *
 * A second server on the same file is kept out by a lock on a file beside it, PATH.lock. It cannot be one on
 * the file itself: SQLite's own locks there are POSIX locks, and closing any other descriptor of that file
 * would drop them. Readers of other processes (the auditor) are welcome, which SQLite's exclusive mode would
 * not allow.
 */
#include "store/sqlite.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "store/sqlite_priv.h"

static void close_store(struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    write_fini(store);
    purchase_index_fini(&store->index);
    intake_index_fini(&store->intake_index);
    int rc = sqlite3_close(store->db);
    ENSURE(rc == SQLITE_OK); /* else a reader or a statement is still open */
    file_lock_release(&store->lock);
    free(store->path);
    free(store);
}

static const struct store_operations operations = {
    .load = load_world,
    .commit = write_commit,
    .probe = write_probe,
    .reader_open = reader_open,
    .reader_purchases = reader_purchases,
    .reader_sale_totals = reader_sale_totals,
    .reader_ask = reader_ask,
    .reader_close = reader_close,
    .close = close_store,
};

/* The name that SQLite itself will use, so that one file has one lock whatever link leads to it. */
static enum err resolve(const char *path, char resolved[PATH_MAX], struct error *error)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    if (path[0] == '\0')
        return error_set(error, ERR_USAGE, "the store has an empty path; give the path of a file as --store");
    ENSURE(vfs != NULL && vfs->mxPathname < PATH_MAX);
    int rc = vfs->xFullPathname(vfs, path, PATH_MAX, resolved);
    if ((rc & 0xff) != SQLITE_OK)
        return error_set(error, ERR_IO,
            "the path of the store is too long (at most %d bytes) or leads nowhere: %s", vfs->mxPathname,
            path);
    return ERR_NONE;
}

static enum err take_lock(struct sqlite_store *store, struct error *error)
{
    char lock_path[PATH_MAX];
    long pid;
    int len = snprintf(lock_path, sizeof lock_path, "%s.lock", store->path);
    if (len < 0 || len >= PATH_MAX)
        return error_set(error, ERR_IO, "the path %s is too long", store->path);
    enum err err = file_lock_take(&store->lock, lock_path, &pid, error);
    if (err != ERR_LOCKED)
        return err;
    char owner[64] = "another doorbuster";
    if (pid > 0)
        (void)snprintf(owner, sizeof owner, "another doorbuster (process %ld)", pid);
    return error_set(error, ERR_LOCKED, "%s is served by %s; stop that one, or give this one another --store",
        store->path, owner);
}

static enum err open_file(struct sqlite_store *store, struct error *error)
{
    enum schema_file file;
    enum err err = schema_look(store->path, &file, error);
    if (err == ERR_NONE)
        err = schema_open(store->path, file, &store->db, error);
    if (err == ERR_NONE)
        err = write_init(store, error);
    if (err == ERR_NONE)
        wal_init(&store->wal, store->db, store->path);
    return err;
}

enum err sqlite_store_open(const char *path, struct store **store_out, struct error *error)
{
    char resolved[PATH_MAX];
    /* Counting its memory would have SQLite take one lock of the whole process for every piece of it: a tenth
     * of an insert. It has no effect, and does no harm, when SQLite is in use already. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    enum err err = resolve(path, resolved, error);
    if (err != ERR_NONE)
        return err;
    struct sqlite_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a store");
    store->base = (struct store){.operations = &operations, .kind = "sqlite"};
    store->lock.fd = -1;
    store->path = strdup(resolved);
    purchase_index_init(&store->index);
    intake_index_init(&store->intake_index);
    err =
        store->path != NULL ? take_lock(store, error) : error_set(error, ERR_MEMORY, "no memory for a store");
    if (err == ERR_NONE)
        err = open_file(store, error);
    if (err != ERR_NONE) {
        close_store(&store->base);
        return err;
    }
    *store_out = &store->base;
    return ERR_NONE;
}
