/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store that several nodes share: a PostgreSQL database (13 or newer), through libpq. See store.h; how a
 * batch goes is told in postgres.c.
 */
#ifndef DOORBUSTER_STORE_POSTGRES_H
#define DOORBUSTER_STORE_POSTGRES_H

#include "store/store.h"

enum { POSTGRES_SCHEMA_VERSION = 4, POSTGRES_NAME_LEN_MAX = 256 };

/* Does `text` name a database (postgres://... or postgresql://...) rather than a file? */
bool postgres_is_url(const char *text);

/* The URL as people may see it: without the password and without parameters, cut to fit. For logs and errors.
 */
void postgres_name(const char *url, char name[POSTGRES_NAME_LEN_MAX]);

/*
 * Connects to a database whose tables postgres_migrate has made. ERR_USAGE: the URL is none. ERR_UNAVAILABLE:
 * it does not answer, lets nobody in (password, max_connections), or is a read-only standby. ERR_OLDER: the
 * tables are missing or of an older version (`doorbuster migrate` makes them). ERR_NEWER: a newer doorbuster
 * made them. Blocks for some round trips, for a few seconds at the most. Starts a thread of its own that
 * listens for what other nodes change.
 */
MUST_CHECK enum err postgres_store_open(const char *url, struct store **store, struct error *error);

/*
 * Makes the tables, or brings them up to POSTGRES_SCHEMA_VERSION, in one transaction; does nothing when they
 * are up to date. *version_before is 0 when there were none. Two at a time are safe: the second waits for the
 * first. Errors as above, and ERR_CORRUPT when tables of these names are there that doorbuster has not made.
 */
MUST_CHECK enum err postgres_migrate(const char *url, int *version_before, struct error *error);

#endif
