/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor has a connection of its own making, like everything it judges by. Why a server lets nobody in
 * stands only in the text of its message, in its own language; a connection that is verbose from the start
 * gets the code of SQL with it.
 */
#include "verify/postgres_link.h"

#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "base/sqlstate.h"

/* For each host of the URL. TCP gives up a little earlier, so that one that has vanished takes no time from
 * the next. */
#define TCP_TIMEOUT_MS "3000"
enum { CONNECT_MS = 3500, NS_PER_MS = 1000 * 1000 };

static void ignore_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

static bool wait_for(PGconn *conn, short events, int64_t deadline_ns)
{
    int count;
    do {
        struct pollfd fd = {.fd = PQsocket(conn), .events = events};
        int64_t left_ms = (deadline_ns - clock_mono_ns()) / NS_PER_MS;
        count = left_ms <= 0 ? 0 : poll(&fd, 1, (int)left_ms);
    } while (count < 0 && errno == EINTR);
    return count > 0;
}

/* How many hosts there are to try: host or hostaddr is a list with commas. */
static int count_hosts(PGconn *conn)
{
    int most = 1;
    PQconninfoOption *options = PQconninfo(conn);
    for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        struct slice keyword = slice_cstr(option->keyword);
        if (!slice_eq(keyword, SLICE("host")) && !slice_eq(keyword, SLICE("hostaddr")))
            continue;
        int count = 1;
        for (const char *at = option->val; at != NULL && *at != '\0'; at++)
            count += *at == ',';
        most = count > most ? count : most;
    }
    PQconninfoFree(options);
    return most;
}

/* False: there was no answer in time. True: see PQstatus. */
static bool connect_in_time(PGconn *conn, int64_t limit_ms)
{
    int64_t deadline_ns = clock_mono_ns() + limit_ms * NS_PER_MS;
    if (PQstatus(conn) == CONNECTION_BAD)
        return true;
    for (PostgresPollingStatusType status = PGRES_POLLING_WRITING;;) {
        if (!wait_for(conn, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ns))
            return false;
        status = PQconnectPoll(conn);
        if (status == PGRES_POLLING_OK || status == PGRES_POLLING_FAILED)
            return true;
    }
}

/* What libpq does not understand it quotes, the password too: so it is only asked whether. */
static enum err check_url(const char *url, const char *name, struct error *error)
{
    enum err err = database_url_check(url, error);
    if (err != ERR_NONE)
        return err;
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    PQconninfoFree(options);
    return options != NULL ? ERR_NONE
                           : error_set(error, ERR_USAGE,
                                 "the store %s is not understood: write "
                                 "postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special "
                                 "characters as %%XX",
                                 name);
}

enum err postgres_link_open(struct postgres_link *link, const char *url, struct error *error)
{
    static const char *const names[] = {
        "fallback_application_name", "tcp_user_timeout", "dbname", "client_encoding", NULL};
    const char *const values[] = {"doorbuster verify", TCP_TIMEOUT_MS, url, "UTF8", NULL};
    link->conn = NULL;
    database_url_name(url, link->name);
    enum err err = check_url(url, link->name, error);
    if (err != ERR_NONE)
        return err;
    link->conn = PQconnectStartParams(names, values, 1);
    if (link->conn == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a connection");
    (void)PQsetErrorVerbosity(link->conn, PQERRORS_VERBOSE);
    (void)PQsetNoticeProcessor(link->conn, ignore_notice, NULL);
    int64_t limit_ms = count_hosts(link->conn) * (int64_t)CONNECT_MS;
    if (!connect_in_time(link->conn, limit_ms))
        err = error_set(error, ERR_UNAVAILABLE,
            "cannot connect to %s: no answer within %.1f s; look at host, port and firewall", link->name,
            (double)limit_ms / 1000);
    else if (PQstatus(link->conn) != CONNECTION_OK)
        err = postgres_link_fail(link, NULL, "connect to", error);
    if (err != ERR_NONE)
        postgres_link_close(link);
    return err;
}

void postgres_link_close(struct postgres_link *link)
{
    PQfinish(link->conn);
    link->conn = NULL;
}

enum err postgres_link_fail(
    const struct postgres_link *link, const PGresult *result, const char *doing, struct error *error)
{
    struct slice message = slice_cstr(PQerrorMessage(link->conn));
    struct slice code = slice_cstr(PQresultErrorField(result, PG_DIAG_SQLSTATE));
    struct slice said = slice_cstr(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    char text[ERROR_MESSAGE_MAX / 2];
    struct strbuf line;
    if (code.len > 0 || sqlstate_in(message, &code, &said)) {
        const struct sqlstate *state = sqlstate_find(code);
        return error_set(error, state->err, "cannot %s %s: %s (%.*s, %.*s); %s", doing, link->name,
            state->what, SLICE_ARGS(said), SLICE_ARGS(code), state->advice);
    }
    strbuf_init(&line, text, sizeof text);
    sqlstate_put_line(&line, message);
    return error_set(error, ERR_UNAVAILABLE, "cannot %s %s: %.*s; %s", doing, link->name,
        SLICE_ARGS(strbuf_slice(&line)), sqlstate_advice_without(PQerrorMessage(link->conn)));
}

enum err postgres_link_run(
    const struct postgres_link *link, const char *sql, const char *doing, struct error *error)
{
    PGresult *result = PQexec(link->conn, sql);
    ExecStatusType status = PQresultStatus(result);
    bool is_well = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    enum err err = is_well ? ERR_NONE : postgres_link_fail(link, result, doing, error);
    PQclear(result);
    return err;
}

enum err postgres_link_ask(const struct postgres_link *link, const char *sql, const char *doing,
    PGresult **result, struct error *error)
{
    *result = PQexec(link->conn, sql);
    if (PQresultStatus(*result) == PGRES_TUPLES_OK)
        return ERR_NONE;
    enum err err = postgres_link_fail(link, *result, doing, error);
    PQclear(*result);
    *result = NULL;
    return err;
}
