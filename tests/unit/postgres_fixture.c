/* SPDX-License-Identifier: Apache-2.0 */
#include "postgres_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/postgres.h"

enum { SQL_MAX = 4096, AWAIT_MS = 20000, NS_PER_MS = 1000000 };

static const char *server_url(void)
{
    return getenv("DOORBUSTER_TEST_POSTGRES");
}

bool postgres_is_there(void)
{
    return server_url() != NULL && server_url()[0] != '\0';
}

int postgres_skip_all(const char *program)
{
    printf("TAP version 13\n1..1\nok 1 - %s # SKIP needs a PostgreSQL server: script/bootstrap --all "
           "installs it, "
           "tests/with_services.py --postgres COMMAND runs the test with one\n",
        program);
    return 0;
}

static PGconn *connect_to(const char *url)
{
    PGconn *conn = PQconnectdb(url);
    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("cannot connect: %s", PQerrorMessage(conn));
    PQclear(PQexec(conn, "SET client_min_messages = error; SET application_name = 'test'"));
    return conn;
}

static PGresult *run(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("the database refuses '%s': %s", sql, PQerrorMessage(conn));
    return result;
}

/* Outside any database of a test. */
static void run_on_server(const char *sql)
{
    PGconn *conn = connect_to(server_url());
    PQclear(run(conn, sql));
    PQfinish(conn);
}

void database_make(struct database *database, bool has_tables)
{
    static unsigned count;
    char sql[SQL_MAX];
    const char *server = server_url();
    const char *path = strrchr(server, '/');
    const char *parameters = strchr(server, '?');
    struct error error;
    int version;
    assert_non_null(path);
    (void)snprintf(database->name, sizeof database->name, "doorbuster_test_%ld_%u", (long)getpid(), count++);
    (void)snprintf(database->url, sizeof database->url, "%.*s/%s%s", (int)(path - server), server,
        database->name, parameters == NULL ? "" : parameters);
    (void)snprintf(sql, sizeof sql, "CREATE DATABASE %s", database->name);
    run_on_server(sql);
    if (has_tables && postgres_migrate(database->url, &version, &error) != ERR_NONE)
        fail_msg("cannot make the tables: %s", error.message);
    database->conn = connect_to(database->url);
}

/* False: the server refuses. */
static bool try_on_server(const char *sql)
{
    PGconn *conn = connect_to(server_url());
    PGresult *result = PQexec(conn, sql);
    bool is_done = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    PQfinish(conn);
    return is_done;
}

/* FORCE ends connections that are left, but may not end an autovacuum worker; without it the server ends that
 * one itself. */
void database_drop(struct database *database)
{
    char sql[SQL_MAX];
    PQfinish(database->conn);
    database->conn = NULL;
    (void)snprintf(sql, sizeof sql, "DROP DATABASE %s WITH (FORCE)", database->name);
    if (try_on_server(sql))
        return;
    (void)snprintf(sql, sizeof sql, "DROP DATABASE %s", database->name);
    run_on_server(sql);
}

void database_run(const struct database *database, const char *format, ...)
{
    char sql[SQL_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sql, sizeof sql, format, arguments);
    va_end(arguments);
    PQclear(run(database->conn, sql));
}

bool database_refuses(const struct database *database, const char *sqlstate, const char *sql)
{
    PGresult *result = PQexec(database->conn, sql);
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool is_refused = code != NULL && strcmp(code, sqlstate) == 0;
    if (!is_refused)
        print_message(
            "# '%s' is answered %s %s\n", sql, code == NULL ? "well" : code, PQresultErrorMessage(result));
    PQclear(result);
    return is_refused;
}

static int64_t number(const struct database *database, const char *sql)
{
    PGresult *result = run(database->conn, sql);
    assert_int_equal(PQntuples(result), 1);
    int64_t value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return value;
}

int64_t database_number(const struct database *database, const char *format, ...)
{
    char sql[SQL_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sql, sizeof sql, format, arguments);
    va_end(arguments);
    return number(database, sql);
}

void database_await(const struct database *database, int64_t expected, const char *sql)
{
    int64_t limit_ns = clock_mono_ns() + (int64_t)AWAIT_MS * NS_PER_MS;
    int64_t value;
    while ((value = number(database, sql)) != expected) {
        if (clock_mono_ns() > limit_ns)
            fail_msg("'%s' is still %lld and not %lld", sql, (long long)value, (long long)expected);
    }
}

int64_t database_cut(const struct database *database, const char *application_name)
{
    return database_number(database,
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = "
        "current_database()"
        " AND application_name LIKE '%s' AND pid <> pg_backend_pid()",
        application_name);
}
