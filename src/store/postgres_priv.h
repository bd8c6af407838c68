/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the PostgreSQL store share. Not for other modules; tests may look. */
#ifndef DOORBUSTER_STORE_POSTGRES_PRIV_H
#define DOORBUSTER_STORE_POSTGRES_PRIV_H

#include <libpq-fe.h>

#include "store/postgres.h"

/* --- postgres_error.c: connecting, and what a failure means --- */

/*
 * Connects, within POSTGRES_CONNECT_MS for all hosts of the URL together. ERR_USAGE, ERR_UNAVAILABLE and
 * others of postgres_failure; *conn is NULL after an error, else the caller's to PQfinish. The connection
 * speaks UTF-8, says nothing on standard error, and its messages carry their codes.
 */
enum { POSTGRES_CONNECT_MS = 5000 };
MUST_CHECK enum err postgres_connect(const char *url, PGconn **conn, struct error *error);

/*
 * Fills *error from a result that is no success, or, when `result` is NULL or says nothing, from the
 * connection: "cannot DOING NAME: what happened (what the server says, its code); what to do". Returns the
 * code, never ERR_NONE. The message shows no password.
 */
enum err postgres_failure(PGconn *conn, const PGresult *result, const char *doing, struct error *error);

/* The five characters of the failure, empty when the server gave none. Borrowed from the result. */
struct slice postgres_sqlstate(const PGresult *result);

/* Runs statements without parameters for their effect; all of them in one implicit transaction unless they
 * say BEGIN. */
MUST_CHECK enum err postgres_run(PGconn *conn, const char *sql, const char *doing, struct error *error);

/* Runs one query; *result is the caller's to PQclear, NULL after an error. Values come as text. */
MUST_CHECK enum err postgres_query(
    PGconn *conn, const char *sql, const char *doing, PGresult **result, struct error *error);

/* --- postgres_schema.c: what the tables look like --- */

/* schema/postgres_001.sql and so on. */
extern const char postgres_001_sql[];

/*
 * Are the tables there, and of this version? ERR_OLDER: no, or older ones: the message names doorbuster
 * migrate. ERR_NEWER: a newer doorbuster made them. ERR_CORRUPT: they are somebody else's, or half of them
 * are gone.
 */
MUST_CHECK enum err postgres_schema_check(PGconn *conn, struct error *error);

/* The same as postgres_migrate, inside a transaction of the caller's: it takes the lock that keeps a second
 * migration waiting until the caller's transaction ends. */
MUST_CHECK enum err postgres_schema_bring_up(PGconn *conn, int *version_before, struct error *error);

#endif
