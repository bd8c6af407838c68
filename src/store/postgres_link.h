/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that is spoken to in pipelines: several statements go out at once, then a sync, and their
 * results come back in order, so that however much is asked costs one round trip. Every wait has an end; a
 * link that was waited for in vain, or that broke, is closed, which on the server undoes what was not
 * committed, and is opened again by link_open. One thread a link.
 */
#ifndef DOORBUSTER_STORE_POSTGRES_LINK_H
#define DOORBUSTER_STORE_POSTGRES_LINK_H

#include <libpq-fe.h>

#include "base/err.h"
#include "base/slice.h"

enum { LINK_PARAMS_MAX = 16 };

/* A statement, prepared once a connection. Its number is its place in the array given to link_init. */
struct link_statement {
    const char *sql;
    const char *doing; /* completes "cannot ... postgres://...": "lock products in" */
};

struct link {
    PGconn *conn; /* NULL: closed */
    const char *url;
    const char
        *application_name; /* what pg_stat_activity shows, and by which our old connections are found */
    const struct link_statement *statements;
    size_t statement_count;
    int64_t deadline_ns;    /* of the pipeline under way */
    int64_t clock_ahead_ms; /* of the database, against clock_steady_ms, when it was opened */
    uint64_t opened_count;  /* connections made so far */
    int64_t plans_made_ns;  /* when plans were last thrown away */
    size_t ignored_syncs;   /* pipelines whose results nobody wants */
    size_t params_count;
    const char *values[LINK_PARAMS_MAX];
    int lengths[LINK_PARAMS_MAX];
    int formats[LINK_PARAMS_MAX];
};

/*
 * How far the database's clock, which said `database_ms` at some time from asked_ns to answered_ns (by
 * clock_mono_ns), is ahead of clock_steady_ms. When it cannot be told from the wall clock it is taken for the
 * same: then this is what the wall clock was set by, mostly 0. Any thread.
 */
int64_t link_clock_ahead_ms(int64_t database_ms, int64_t asked_ns, int64_t answered_ns);

/* Closed. All texts must outlive the link. */
void link_init(struct link *link, const char *url, const char *application_name,
    const struct link_statement *statements, size_t statement_count);

/* A closed link stays closed. */
void link_close(struct link *link);

/*
 * Connects, looks whether the tables are there and may be written, ends older connections of this name, sets
 * what a session of ours needs and prepares all statements. ERR_NONE at once when it is open. Errors:
 * postgres.h.
 */
MUST_CHECK enum err link_open(struct link *link, struct error *error);

/* --- one pipeline: begin, some (param* send), sync, as many results as sends, end --- */

/* Everything up to link_end has to come within so many ms. */
void link_begin(struct link *link, int64_t time_limit_ms);

/* The next parameter of the next statement, in binary format; borrowed until link_send returns. */
void link_param(struct link *link, struct slice value);

/* The functions below return ERR_UNAVAILABLE when the connection broke or was too slow; it is closed then. */

MUST_CHECK enum err link_send(struct link *link, size_t statement, struct error *error);
MUST_CHECK enum err link_sync(struct link *link, struct error *error);

/*
 * The result of the next statement sent, the caller's to PQclear. When it failed: its error; those after it
 * in the pipeline are not run then, and only link_end may follow.
 */
MUST_CHECK enum err link_result(struct link *link, size_t statement, PGresult **result, struct error *error);

/* Skips what is left of the results. */
MUST_CHECK enum err link_end(struct link *link, struct error *error);

/* Sends the statement alone and does not wait: its result is skipped when something else is asked. */
void link_send_and_forget(struct link *link, size_t statement);

/* --- the values of a result, in binary format; the column must be of that type --- */

/* Borrowed from the result; empty for NULL. */
struct slice result_text(const PGresult *result, int row, int column);

/* 0 for NULL. */
int64_t result_i64(const PGresult *result, int row, int column);
int64_t result_ms(const PGresult *result, int row, int column);

#endif
