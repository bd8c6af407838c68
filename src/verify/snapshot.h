/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as it is at one moment, opened so that not a byte of it changes and no file appears beside it,
 * whether a server has it open or not, also where nothing may be written. One read transaction from open to
 * close: everything the auditor reads belongs together. A PostgreSQL store is read into a private database
 * (postgres_snapshot.h). One thread.
 *
 * Beside the tables of the store (products, purchases, idempotency_keys, sequences) there are, for both
 * kinds:
 *
 *   temp.audit_damage     fault: what is wrong with the store apart from its rows
 *   temp.audit_store      one row: has_orders: it has the tables of orders, accounts and trading orders;
 *                         has_machines: those of machines, leases and tickets;
 *                         has_wallets: those of wallets and transfers; is_database;
 *                         clock_doubt_ms: by how much two times in it may differ from the order in which they
 *                         were taken, because the clocks of nodes do
 *   temp.audit_sequences  one row per sequence that the kind has: name, next_value as stored (NULL: it is
 *                         missing), next_id: the id that is given out next, id_last: the largest in the
 *                         table, 0 without any
 *   temp.audit_next_trading_order  next_id: what the next trading order's is; one row per row of intake_state
 *   temp.audit_work, audit_orders, audit_payments, audit_notifications, audit_accounts, audit_intake_orders,
 *   audit_intake_deliveries, audit_intake_state, audit_machines, audit_leases, audit_tickets, audit_pool,
 *   audit_wallets, audit_transfers
 *                         the tables; empty where the store has none yet. `row` tells rows apart whatever
 *                         their ids are
 */
#ifndef DOORBUSTER_VERIFY_SNAPSHOT_H
#define DOORBUSTER_VERIFY_SNAPSHOT_H

#include <limits.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>

#include "base/err.h"
#include "base/slice.h"

struct pg_conn; /* libpq's PGconn */

enum snapshot_reading {
    SNAPSHOT_SEALED,   /* stopped cleanly: the file alone, as it lies */
    SNAPSHOT_SHARED,   /* with its log, beside a server that may be at work, or after one that was killed */
    SNAPSHOT_PRIVATE,  /* file and log without the index that a running server keeps: a copy, a backup */
    SNAPSHOT_DATABASE, /* the rows of a PostgreSQL store */
};

/* What is seen of a file without opening it. */
struct snapshot_file {
    bool exists;
    dev_t device;
    ino_t inode;
    off_t size; /* bytes */
    struct timespec modified;
};

struct snapshot {
    sqlite3 *db;
    enum snapshot_reading reading;
    char name[PATH_MAX]; /* of the store, for people: the path as it was given; a URL without its password */
    char path[PATH_MAX]; /* absolute, without symbolic links: the log stands beside the real file */
    struct snapshot_file store;
    struct snapshot_file wal;
    int64_t schema_version;
};

/*
 * `store` is a path or the URL of a database. Temporary tables can be made in `db`; they live in memory.
 * ERR_IO: there is no such file, or it cannot be read; ERR_CORRUPT: it is no store, or damaged so that
 * nothing can be read; ERR_NEWER. For a database see postgres_snapshot.h. The message says which. Nothing is
 * to be closed after an error.
 */
MUST_CHECK enum err snapshot_open(struct snapshot *snapshot, const char *store, struct error *error);

/* The same of a PostgreSQL store as an open transaction sees it, which stays open; `url` gives the name only.
 */
MUST_CHECK enum err snapshot_open_within(
    struct snapshot *snapshot, const char *url, struct pg_conn *connection, struct error *error);

void snapshot_close(struct snapshot *snapshot);

/*
 * Whether what was read is one moment of the store. A shared snapshot and a database always are; the two
 * other kinds take no lock, and are void when the files changed after the open. Call it before the close.
 */
bool snapshot_is_intact(const struct snapshot *snapshot);

/* "stopped", ... for people. */
const char *snapshot_reading_text(enum snapshot_reading reading);

#endif
