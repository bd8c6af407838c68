/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves an embedded store into an empty PostgreSQL store, all in one transaction of the database: until
 * postgres_copy_commit nobody else sees a row of it, and without it everything is as it was. In between, the
 * caller looks at what has arrived, through postgres_copy_connection. The embedded store is only read. One
 * thread.
 */
#ifndef DOORBUSTER_STORE_POSTGRES_COPY_H
#define DOORBUSTER_STORE_POSTGRES_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct postgres_copy;
struct pg_conn; /* libpq's PGconn */

enum { COPY_TABLE_COUNT = 18 };

/* One table on both sides; the checksum does not depend on the order of rows. */
struct copied_table {
    const char *name;
    bool is_absent; /* the embedded store has no such table: nothing to copy */
    int64_t rows_from;
    int64_t rows_to;
    uint64_t checksum_from;
    uint64_t checksum_to;
};

struct copied {
    int version_before; /* of the tables of the database; 0: they were made just now */
    struct copied_table tables[COPY_TABLE_COUNT];
};

/*
 * Takes the lock of the embedded store, so that no server can open it meanwhile, and begins a transaction on
 * the database: tables brought up to date, locked against others, and empty. ERR_LOCKED: the store is served,
 * or nodes serve the database; ERR_REFUSED: the database holds rows already; ERR_IO, ERR_CORRUPT, ERR_NEWER:
 * the store; otherwise as postgres_migrate.
 */
MUST_CHECK enum err postgres_copy_open(
    const char *path, const char *url, struct postgres_copy **copy, struct error *error);

/*
 * Copies all rows, sets the sequences so that no id is ever given out again, and reads everything back as the
 * database has it. ERR_CORRUPT: it has something else than was sent.
 */
MUST_CHECK enum err postgres_copy_rows(
    struct postgres_copy *copy, struct copied *copied, struct error *error);

/* The connection with the open transaction, borrowed; for reading only. */
struct pg_conn *postgres_copy_connection(struct postgres_copy *copy);

MUST_CHECK enum err postgres_copy_commit(struct postgres_copy *copy, struct error *error);

/* Rolls back what was not committed. NULL is nothing. */
void postgres_copy_close(struct postgres_copy *copy);

#endif
