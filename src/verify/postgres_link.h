/* SPDX-License-Identifier: Apache-2.0 */
/* The few words of PostgreSQL that the auditor needs: it connects, asks, and says what went wrong. One
 * thread. */
#ifndef DOORBUSTER_VERIFY_POSTGRES_LINK_H
#define DOORBUSTER_VERIFY_POSTGRES_LINK_H

#include <libpq-fe.h>

#include "base/database_url.h"
#include "base/err.h"

struct postgres_link {
    PGconn *conn;
    char name[DATABASE_NAME_LEN_MAX]; /* without the password */
};

/* Waits for 3.5 s at the most for each host of the URL. ERR_USAGE: no URL; ERR_UNAVAILABLE and others of
 * base/sqlstate.h: the message says which, and shows no password. Nothing is to be closed after an error. */
MUST_CHECK enum err postgres_link_open(struct postgres_link *link, const char *url, struct error *error);
void postgres_link_close(struct postgres_link *link);

/* "cannot DOING NAME: ...", from the result, or from the connection when that says nothing. Returns its code.
 */
enum err postgres_link_fail(
    const struct postgres_link *link, const PGresult *result, const char *doing, struct error *error);

/* Runs statements for their effect. */
MUST_CHECK enum err postgres_link_run(
    const struct postgres_link *link, const char *sql, const char *doing, struct error *error);

/* Asks; the values come as text. *result is the caller's to PQclear, NULL after an error. */
MUST_CHECK enum err postgres_link_ask(const struct postgres_link *link, const char *sql, const char *doing,
    PGresult **result, struct error *error);

#endif
