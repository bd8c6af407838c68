/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PostgreSQL store as it is at one moment: its rows, read in one transaction, in a private temporary SQLite
 * database, so that the same invariants judge both kinds of store. The database is not changed and its
 * servers are not kept waiting. One thread.
 */
#ifndef DOORBUSTER_VERIFY_POSTGRES_SNAPSHOT_H
#define DOORBUSTER_VERIFY_POSTGRES_SNAPSHOT_H

#include <sqlite3.h>

#include "verify/snapshot.h"

/*
 * Fills snapshot->db, name and schema_version. ERR_USAGE, ERR_UNAVAILABLE: the URL, the server; ERR_OLDER:
 * the tables are missing or old; ERR_NEWER; ERR_CORRUPT: a table is gone. The message shows no password.
 * `within`: read in the open transaction of this connection, which is left as it is; NULL: connect.
 */
MUST_CHECK enum err postgres_snapshot_open(
    struct snapshot *snapshot, const char *url, struct pg_conn *within, struct error *error);

#endif
