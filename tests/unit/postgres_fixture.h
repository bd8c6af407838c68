/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases for tests of the PostgreSQL store, made on the server that DOORBUSTER_TEST_POSTGRES names (a
 * postgres:// URL of a role that may create databases; tests/with_services.py --postgres starts such a
 * server), and a connection beside the store's, as an operator with psql has it. What cannot be done fails
 * the test.
 */
#ifndef DOORBUSTER_TESTS_POSTGRES_FIXTURE_H
#define DOORBUSTER_TESTS_POSTGRES_FIXTURE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

struct database {
    char name[64];
    char url[512];
    PGconn *conn; /* the test's own, idle between calls */
};

bool postgres_is_there(void);

/* For main: says in TAP that all of the program was left out and why; returns the exit status. */
int postgres_skip_all(const char *program);

/* A database of its own, empty or with the tables of the store. */
void database_make(struct database *database, bool has_tables);

/* Whoever is still connected is thrown out. */
void database_drop(struct database *database);

/* Runs statements, which have to succeed. */
void database_run(const struct database *database, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Runs statements that the database has to refuse; true: it did so with this SQLSTATE. */
bool database_refuses(const struct database *database, const char *sqlstate, const char *sql);

/* The first value of the first row. */
int64_t database_number(const struct database *database, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Returns once the number is the one expected; the test fails after some seconds. */
void database_await(const struct database *database, int64_t expected, const char *sql);

/* Ends the server processes whose application_name is LIKE this; returns how many. */
int64_t database_cut(const struct database *database, const char *application_name);

#endif
