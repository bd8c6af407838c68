/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store: one SQLite file in WAL mode, synchronous=FULL, one writer. See store.h. */
#ifndef DOORBUSTER_STORE_SQLITE_H
#define DOORBUSTER_STORE_SQLITE_H

#include "store/store.h"

/*
 * Opens or creates the file and brings its schema up to date. Takes a lock that lasts until store_close: a
 * second server on the same file gets ERR_LOCKED. ERR_NEWER: a newer doorbuster wrote it; ERR_CORRUPT: it is
 * damaged or no doorbuster store (application_id); ERR_IO, ERR_FULL: the file system. The message says what
 * to do. In every case of error the file is left as it was.
 */
MUST_CHECK enum err sqlite_store_open(const char *path, struct store **store, struct error *error);

#endif
