/* SPDX-License-Identifier: Apache-2.0 */
#include "store/postgres_link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "store/postgres_priv.h"

enum {
    NS_PER_MS = 1000000,
    PLANS_AGE_MS_MAX = 2000,
    CLOCK_DOUBT_MS = 2 /* times are cut to whole milliseconds on both sides */
};

/*
 * What a session of ours needs, whatever the defaults of server, database and role are.
 *
 * - A commit is durable, and on the synchronous standby where there is one, before we hear of it.
 * - Nobody waits long for a row that another node holds: its batch takes a round trip and a flush, so who
 * holds it longer is in trouble, and the crowd is better refused than kept waiting.
 * - A node that hangs, or whose network does, loses its locks.
 * - The server notices a peer that is gone within seconds.
 * - Every statement looks rows up one by one by an index. What is switched off counts as very dear, which
 * must not bring in the compiler of plans.
 */
static const char session_sql[] =
    "SELECT set_config('synchronous_commit',"
    " CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, false),"
    " set_config('lock_timeout', '1500', false),"
    " set_config('statement_timeout', '3000', false),"
    " set_config('idle_in_transaction_session_timeout', '3000', false),"
    " set_config('tcp_keepalives_idle', '2', false),"
    " set_config('tcp_keepalives_interval', '1', false),"
    " set_config('tcp_keepalives_count', '3', false),"
    " set_config('tcp_user_timeout', '5000', false),"
    " set_config('plan_cache_mode', 'force_generic_plan', false),"
    " set_config('enable_seqscan', 'off', false),"
    " set_config('enable_hashjoin', 'off', false),"
    " set_config('enable_mergejoin', 'off', false),"
    " set_config('enable_bitmapscan', 'off', false),"
    " set_config('jit', 'off', false),"
    " set_config('timezone', 'UTC', false),"
    " set_config('default_transaction_isolation', 'read committed', false),"
    " set_config('application_name', $1, false)";

/*
 * A connection that was cut may live on in the server and hold locks: our own older ones end first. Not one
 * that is committed here and waits for the standby: ending the wait would show to others what a promoted
 * standby may not have, and an answer that rests on it would be an acknowledgement of what can still be lost.
 */
static const char succeed_sql[] = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                  " WHERE application_name = $1 AND pid <> pg_backend_pid()"
                                  " AND usename = current_user AND wait_event IS DISTINCT FROM 'SyncRep'";

void link_init(struct link *link, const char *url, const char *application_name,
    const struct link_statement *statements, size_t statement_count)
{
    *link = (struct link){.url = url,
        .application_name = application_name,
        .statements = statements,
        .statement_count = statement_count};
}

void link_close(struct link *link)
{
    PQfinish(link->conn);
    link->conn = NULL;
    link->ignored_syncs = 0;
    link->params_count = 0;
}

/* --- waiting --- */

static enum err lost(struct link *link, struct error *error)
{
    enum err err = postgres_failure(link->conn, NULL, "talk to", error);
    link_close(link);
    if (err != ERR_UNAVAILABLE && error != NULL)
        error->code = ERR_UNAVAILABLE;
    return ERR_UNAVAILABLE;
}

static enum err too_slow(struct link *link, struct error *error)
{
    char name[POSTGRES_NAME_LEN_MAX];
    postgres_name(link->url, name);
    link_close(link);
    return error_set(error, ERR_UNAVAILABLE,
        "%s has not answered in time; look at its load, its disk and the network (and at the synchronous "
        "standby, "
        "if there is one)",
        name);
}

/* Until the socket can be read, or written when there is something to send. ERR_TIMEOUT: the time is over. */
static enum err wait_for_socket(const struct link *link, bool wants_write)
{
    int64_t left_ns = link->deadline_ns - clock_mono_ns();
    struct pollfd fd = {.fd = PQsocket(link->conn), .events = (short)(POLLIN | (wants_write ? POLLOUT : 0))};
    if (left_ns <= 0)
        return ERR_TIMEOUT;
    int count = poll(&fd, 1, (int)(left_ns / NS_PER_MS) + 1);
    return count < 0 && errno != EINTR ? ERR_IO : ERR_NONE;
}

/* Sends what is to be sent and reads what is there, once. */
static enum err turn(struct link *link, struct error *error)
{
    int flushed = PQflush(link->conn);
    if (flushed < 0)
        return lost(link, error);
    enum err err = wait_for_socket(link, flushed == 1);
    if (err == ERR_TIMEOUT)
        return too_slow(link, error);
    return err == ERR_NONE && PQconsumeInput(link->conn) == 1 ? ERR_NONE : lost(link, error);
}

/* What comes next; NULL stands between the results of two statements. */
static enum err next_result(struct link *link, PGresult **result, struct error *error)
{
    while (PQisBusy(link->conn) == 1) {
        enum err err = turn(link, error);
        if (err != ERR_NONE)
            return err;
    }
    *result = PQgetResult(link->conn);
    return PQstatus(link->conn) == CONNECTION_BAD ? (PQclear(*result), lost(link, error)) : ERR_NONE;
}

static enum err skip_to_sync(struct link *link, struct error *error)
{
    for (;;) {
        PGresult *result;
        enum err err = next_result(link, &result, error);
        if (err != ERR_NONE)
            return err;
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC)
            return ERR_NONE;
    }
}

/* --- a pipeline --- */

/* A plan that was made while a table was all but empty may take any index, and scan all of it when it has
 * grown. This goes before whatever is sent next and is not waited for; its failure shows in what is sent
 * next. */
static void forget_old_plans(struct link *link, int64_t now_ns)
{
    if (now_ns - link->plans_made_ns < (int64_t)PLANS_AGE_MS_MAX * NS_PER_MS)
        return;
    link->plans_made_ns = now_ns;
    if (PQsendQueryParams(link->conn, "DISCARD PLANS", 0, NULL, NULL, NULL, NULL, 1) == 1 &&
        PQpipelineSync(link->conn) == 1)
        link->ignored_syncs++;
}

void link_begin(struct link *link, int64_t time_limit_ms)
{
    int64_t now_ns = clock_mono_ns();
    link->deadline_ns = now_ns + time_limit_ms * NS_PER_MS;
    if (link->conn != NULL)
        forget_old_plans(link, now_ns);
}

void link_param(struct link *link, struct slice value)
{
    ENSURE(link->params_count < LINK_PARAMS_MAX);
    link->values[link->params_count] = value.len == 0 ? "" : value.base;
    link->lengths[link->params_count] = (int)value.len;
    link->formats[link->params_count] = 1;
    link->params_count++;
}

enum err link_send(struct link *link, size_t statement, struct error *error)
{
    char name[24];
    int params_count = (int)link->params_count;
    link->params_count = 0;
    ENSURE(link->conn != NULL && statement < link->statement_count);
    (void)snprintf(name, sizeof name, "s%zu", statement);
    int is_sent =
        PQsendQueryPrepared(link->conn, name, params_count, link->values, link->lengths, link->formats, 1);
    return is_sent == 1 ? ERR_NONE : lost(link, error);
}

enum err link_sync(struct link *link, struct error *error)
{
    return PQpipelineSync(link->conn) == 1 ? ERR_NONE : lost(link, error);
}

enum err link_result(struct link *link, size_t statement, PGresult **result, struct error *error)
{
    PGresult *end = NULL;
    enum err err = ERR_NONE;
    *result = NULL;
    while (link->ignored_syncs > 0 && err == ERR_NONE) {
        link->ignored_syncs--;
        err = skip_to_sync(link, error);
    }
    if (err == ERR_NONE)
        err = next_result(link, result, error);
    if (err != ERR_NONE)
        return err;
    ExecStatusType status = PQresultStatus(*result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        err = next_result(link, &end, error);
        ENSURE(end == NULL); /* a statement has one result */
    } else {
        err = postgres_failure(link->conn, *result, link->statements[statement].doing, error);
    }
    if (err != ERR_NONE) {
        PQclear(*result);
        *result = NULL;
    }
    return err;
}

enum err link_end(struct link *link, struct error *error)
{
    return link->conn == NULL ? ERR_UNAVAILABLE : skip_to_sync(link, error);
}

void link_send_and_forget(struct link *link, size_t statement)
{
    if (link->conn == NULL)
        return;
    if (link_send(link, statement, NULL) != ERR_NONE || link_sync(link, NULL) != ERR_NONE)
        return; /* closed, which ends everything */
    link->ignored_syncs++;
    if (PQflush(link->conn) < 0)
        link_close(link);
}

/* --- the values of a result --- */

struct slice result_text(const PGresult *result, int row, int column)
{
    return slice_make(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

int64_t result_i64(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column) == 1)
        return 0;
    ENSURE(PQgetlength(result, row, column) == 8);
    return postgres_get_i64(PQgetvalue(result, row, column));
}

int64_t result_ms(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column) == 1)
        return 0;
    ENSURE(PQgetlength(result, row, column) == 8);
    return postgres_get_ms(PQgetvalue(result, row, column));
}

/* --- opening --- */

static enum err run_with_name(struct link *link, const char *sql, const char *doing, struct error *error)
{
    PGresult *result;
    enum err err = postgres_ask(link->conn, sql, link->application_name, doing, &result, error);
    PQclear(result);
    return err;
}

int64_t link_clock_ahead_ms(int64_t database_ms, int64_t asked_ns, int64_t answered_ns)
{
    int64_t set_ms = clock_wall_set_ms();
    int64_t asked_ms = clock_steady_ns(asked_ns) / NS_PER_MS + set_ms;
    int64_t answered_ms = clock_steady_ns(answered_ns) / NS_PER_MS + set_ms;
    bool is_same = database_ms >= asked_ms - CLOCK_DOUBT_MS && database_ms <= answered_ms + CLOCK_DOUBT_MS;
    return set_ms + (is_same ? 0 : database_ms - (asked_ms + (answered_ms - asked_ms) / 2));
}

/* A standby can be read and would refuse the first purchase. */
static enum err check_is_primary(struct link *link, struct error *error)
{
    PGresult *result;
    int64_t asked_ns = clock_mono_ns();
    int64_t database_ms;
    enum err err = postgres_ask(link->conn,
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,"
        " (extract(epoch FROM clock_timestamp()) * 1000)::bigint, current_setting('fsync')",
        NULL, "look at", &result, error);
    if (err != ERR_NONE)
        return err;
    int64_t answered_ns = clock_mono_ns();
    bool is_read_only = PQgetvalue(result, 0, 0)[0] == 't';
    if (slice_to_i64(slice_cstr(PQgetvalue(result, 0, 1)), &database_ms))
        link->clock_ahead_ms = link_clock_ahead_ms(database_ms, asked_ns, answered_ns);
    bool is_safe = slice_eq(slice_cstr(PQgetvalue(result, 0, 2)), SLICE("on"));
    PQclear(result);
    char name[POSTGRES_NAME_LEN_MAX];
    postgres_name(link->url, name);
    if (!is_safe)
        log_warn("store", "%s runs with fsync = off: what is acknowledged can be lost with the power", name);
    if (!is_read_only)
        return ERR_NONE;
    return error_set(error, ERR_UNAVAILABLE,
        "%s is read-only (a standby?); name the primary, or all hosts with target_session_attrs=read-write",
        name);
}

static enum err prepare_all(struct link *link, struct error *error)
{
    enum err err = ERR_NONE;
    PGresult *result;
    for (size_t i = 0; i < link->statement_count; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "s%zu", i);
        if (PQsendPrepare(link->conn, name, link->statements[i].sql, 0, NULL) != 1)
            return lost(link, error);
    }
    err = link_sync(link, error);
    for (size_t i = 0; i < link->statement_count && err == ERR_NONE; i++) {
        err = link_result(link, i, &result, error);
        PQclear(result);
    }
    return err == ERR_NONE ? link_end(link, error) : err;
}

enum err link_open(struct link *link, struct error *error)
{
    if (link->conn != NULL && PQstatus(link->conn) == CONNECTION_OK)
        return ERR_NONE;
    link_close(link);
    enum err err = postgres_connect(link->url, &link->conn, error);
    if (err == ERR_NONE)
        err = check_is_primary(link, error);
    if (err == ERR_NONE)
        err = postgres_schema_check(link->conn, error);
    if (err == ERR_NONE)
        err = run_with_name(link, session_sql, "set up the session at", error);
    if (err == ERR_NONE)
        err = run_with_name(link, succeed_sql, "end older connections to", error);
    if (err == ERR_NONE && (PQsetnonblocking(link->conn, 1) != 0 || PQenterPipelineMode(link->conn) != 1))
        err = lost(link, error);
    link->plans_made_ns = clock_mono_ns();
    link_begin(link, POSTGRES_CONNECT_MS);
    if (err == ERR_NONE)
        err = prepare_all(link, error);
    if (err == ERR_NONE)
        link->opened_count++;
    else
        link_close(link);
    return err;
}
