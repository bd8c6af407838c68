/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting, and what a failure means. The server tells why it refuses a connection only in a text, in its
 * own language; so the connection is made step by step, and made verbose before the first byte arrives: then
 * the text carries the code of SQL, which is the same in all languages.
 */
#include "store/postgres_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/database_url.h"
#include "base/sqlstate.h"

enum { NS_PER_MS = 1000 * 1000 };

static void ignore_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

/* Fills in what the URL leaves open; what the URL says wins. The time limit of TCP holds for each host that
 * is tried, so that one that has vanished does not keep us from the next. */
static PGconn *start(const char *url)
{
    const char *const names[] = {"fallback_application_name", "tcp_user_timeout", "keepalives_idle", "dbname",
        "client_encoding", NULL};
    const char *const values[] = {"doorbuster", "3000", "5", url, "UTF8", NULL};
    PGconn *conn = PQconnectStartParams(names, values, 1);
    if (conn == NULL)
        return NULL;
    (void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    (void)PQsetNoticeProcessor(conn, ignore_notice, NULL);
    return conn;
}

/* Waits until the socket is ready for the next step; false when the time is over. */
static bool wait_for(PGconn *conn, PostgresPollingStatusType status, int64_t deadline_ns)
{
    for (;;) {
        int64_t left_ms = (deadline_ns - clock_mono_ns()) / NS_PER_MS;
        struct pollfd fd = {
            .fd = PQsocket(conn), .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (left_ms <= 0)
            return false;
        int count = poll(&fd, 1, (int)left_ms);
        if (count > 0)
            return true;
        if (count < 0 && errno != EINTR)
            return false;
    }
}

/* How many hosts the URL names, which are tried one after the other. */
static int host_count(PGconn *conn)
{
    int count = 1;
    PQconninfoOption *options = PQconninfo(conn);
    for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        bool is_list = strcmp(option->keyword, "host") == 0 && option->val != NULL;
        for (const char *at = is_list ? option->val : ""; *at != '\0'; at++)
            count += *at == ',';
    }
    PQconninfoFree(options);
    return count;
}

/* PQconnectPoll until it stands or fails; true: it was in time. */
static bool connect_in_time(PGconn *conn)
{
    int64_t deadline_ns = clock_mono_ns() + host_count(conn) * (int64_t)POSTGRES_CONNECT_MS * NS_PER_MS;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    if (PQstatus(conn) == CONNECTION_BAD)
        return true;
    do {
        if (!wait_for(conn, status, deadline_ns))
            return false;
        status = PQconnectPoll(conn);
    } while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING);
    return true;
}

/* libpq quotes what it does not understand, and that may be the password: it says whether, we say what. */
static enum err check_url(const char *url, const char *name, struct error *error)
{
    enum err err = database_url_check(url, error);
    if (err != ERR_NONE)
        return err;
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    if (options == NULL)
        return error_set(error, ERR_USAGE,
            "the URL of the store, %s, is not understood: it is postgres://USER:PASSWORD@HOST:PORT/DATABASE, "
            "with "
            "special characters as %%XX, and ?NAME=VALUE&... as libpq knows them",
            name);
    PQconninfoFree(options);
    return ERR_NONE;
}

enum err postgres_connect(const char *url, PGconn **conn, struct error *error)
{
    char name[POSTGRES_NAME_LEN_MAX];
    *conn = NULL;
    postgres_name(url, name);
    enum err err = check_url(url, name, error);
    if (err != ERR_NONE)
        return err;
    PGconn *made = start(url);
    if (made == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a connection");
    if (!connect_in_time(made))
        err = error_set(error, ERR_UNAVAILABLE,
            "cannot connect to %s: no answer in time; look at host, port and firewall", name);
    else if (PQstatus(made) != CONNECTION_OK)
        err = postgres_failure(made, NULL, "connect to", error);
    if (err != ERR_NONE) {
        PQfinish(made);
        return err;
    }
    *conn = made;
    return ERR_NONE;
}

/* --- what a failure means --- */

/* The name of the database of a connection, however it was given. */
static void conn_name(const PGconn *conn, char name[POSTGRES_NAME_LEN_MAX])
{
    const char *host = PQhost(conn);
    struct strbuf buf;
    strbuf_init(&buf, name, POSTGRES_NAME_LEN_MAX - 1);
    strbuf_printf(&buf, "postgres://%s@", PQuser(conn) == NULL ? "" : PQuser(conn));
    if (host != NULL && host[0] != '/')
        strbuf_printf(&buf, "%s:%s", host, PQport(conn) == NULL ? "" : PQport(conn));
    strbuf_printf(&buf, "/%s", PQdb(conn) == NULL ? "" : PQdb(conn));
    name[buf.len] = '\0';
}

struct slice postgres_sqlstate(const PGresult *result)
{
    return slice_cstr(result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE));
}

/* libpq's own words: no server answered, or its answer broke off. */
static enum err without_code(PGconn *conn, const char *doing, const char *name, struct error *error)
{
    char text[ERROR_MESSAGE_MAX / 2];
    struct strbuf line;
    strbuf_init(&line, text, sizeof text);
    sqlstate_put_line(&line, slice_cstr(PQerrorMessage(conn)));
    bool is_lost = PQstatus(conn) == CONNECTION_BAD;
    return error_set(error, is_lost ? ERR_UNAVAILABLE : ERR_REFUSED, "cannot %s %s: %.*s; %s", doing, name,
        SLICE_ARGS(strbuf_slice(&line)),
        is_lost ? sqlstate_advice_without(PQerrorMessage(conn)) : "look at the log of the database server");
}

enum err postgres_failure(PGconn *conn, const PGresult *result, const char *doing, struct error *error)
{
    char name[POSTGRES_NAME_LEN_MAX];
    conn_name(conn, name);
    struct slice code = postgres_sqlstate(result);
    struct slice said =
        slice_cstr(result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    if (code.len == 0 && !sqlstate_in(slice_cstr(PQerrorMessage(conn)), &code, &said))
        return without_code(conn, doing, name, error);
    const struct sqlstate *state = sqlstate_find(code);
    return error_set(error, state->err, "cannot %s %s: %s (%.*s, %.*s); %s", doing, name, state->what,
        SLICE_ARGS(said), SLICE_ARGS(code), state->advice);
}

/* --- statements --- */

enum err postgres_run(PGconn *conn, const char *sql, const char *doing, struct error *error)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    bool is_well = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    enum err err = is_well ? ERR_NONE : postgres_failure(conn, result, doing, error);
    PQclear(result);
    return err;
}

enum err postgres_query(
    PGconn *conn, const char *sql, const char *doing, PGresult **result, struct error *error)
{
    *result = PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
    if (PQresultStatus(*result) == PGRES_TUPLES_OK)
        return ERR_NONE;
    enum err err = postgres_failure(conn, *result, doing, error);
    PQclear(*result);
    *result = NULL;
    return err;
}

/* Until what comes next is whole, or the connection breaks; false: the time is over. */
static bool can_take_result(PGconn *conn, int64_t deadline_ns)
{
    while (PQisBusy(conn) == 1) {
        if (!wait_for(conn, PGRES_POLLING_READING, deadline_ns))
            return false;
        if (PQconsumeInput(conn) != 1)
            return true;
    }
    return true;
}

static enum err no_answer(PGconn *conn, const char *doing, struct error *error)
{
    char name[POSTGRES_NAME_LEN_MAX];
    conn_name(conn, name);
    return error_set(error, ERR_UNAVAILABLE,
        "cannot %s %s: no answer in time; look at its load, its locks and the network", doing, name);
}

enum err postgres_ask(PGconn *conn, const char *sql, const char *value, const char *doing, PGresult **result,
    struct error *error)
{
    const char *values[1] = {value};
    int64_t deadline_ns = clock_mono_ns() + (int64_t)POSTGRES_CONNECT_MS * NS_PER_MS;
    *result = NULL;
    if (PQsendQueryParams(conn, sql, value == NULL ? 0 : 1, NULL, values, NULL, NULL, 0) != 1)
        return postgres_failure(conn, NULL, doing, error);
    for (bool has_more = true; has_more;) {
        if (!can_take_result(conn, deadline_ns)) {
            PQclear(*result);
            *result = NULL;
            return no_answer(conn, doing, error);
        }
        PGresult *next = PQgetResult(conn);
        has_more = next != NULL;
        if (has_more) {
            PQclear(*result);
            *result = next;
        }
    }
    ExecStatusType status = PQresultStatus(*result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return ERR_NONE;
    enum err err = postgres_failure(conn, *result, doing, error);
    PQclear(*result);
    *result = NULL;
    return err;
}
