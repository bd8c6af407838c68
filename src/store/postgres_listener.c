/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other nodes change. Every commit names the products that it has changed (NOTIFY), PostgreSQL tells all
 * who listen, in order of commit. A thread with a connection of its own gathers the names; the engine loads
 * them with its next batch, or at once when it is idle.
 *
 * How old a picture can be: the thread asks the server for the time every HEARTBEAT_MS. An answer shows that
 * the connection stands, so that everything committed before the question has been told; that moment is what
 * load reports as confirmed. Without answers the confirmation ages, until pictures may not refuse any more
 * (engine_views_are_fresh). After a connection was lost everything counts as stale.
 *
 * The answer also tells how far the database's clock is ahead of ours. All nodes go by the database's, so
 * that a sale starts and ends, and a lease runs out, at the same time for all.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/postgres_priv.h"

enum {
    NS_PER_MS = 1000000,
    HEARTBEAT_MS = 500,
    OWED_INTERVAL_MS = 50, /* listeners of event streams get ten updates a second at most */
    FOLLOW_UP_MS = 1000,
    ANSWER_MS = 2000,   /* a heartbeat unanswered for so long: the connection is dead */
    RECONNECT_MS = 250, /* between attempts */
    WAKE_INTERVAL_MS =
        10, /* the engine is woken no more often; a hot sale of another node changes with each batch */
    CLOCK_ROUND_TRIP_MAX_MS = 250,
    CLOCK_AHEAD_MAX_MS = 1000, /* more than that is worth a warning */
};

struct postgres_listener {
    struct postgres_store *store;
    void (*on_change)(void *context);
    void *context;
    pthread_t thread;
    bool is_started;
    atomic_bool is_ending;
    int signal_fd; /* readable: look at is_ending and owed */
    pthread_mutex_t lock;
    struct stale stale;   /* under lock */
    struct stale owed;    /* under lock: what the others are still to be told */
    int64_t confirmed_ns; /* under lock */
    /* the thread's */
    PGconn *conn;
    int64_t asked_ns; /* the heartbeat under way, 0: none */
    bool is_answered; /* its row is there, its end not yet */
    int64_t last_asked_ns;
    int64_t wake_at_ns; /* 0: nothing to tell */
    int64_t woken_ns;
    struct stale heard;      /* what has been heard of since the last follow-up */
    int64_t follow_up_at_ns; /* 0: nothing was heard */
    struct column skus;
    int64_t best_round_trip_ms; /* lately */
    bool was_warned;
};

struct postgres_listener *postgres_listener_create(struct postgres_store *store)
{
    struct postgres_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return NULL;
    listener->store = store;
    listener->stale.is_all = true;
    listener->best_round_trip_ms = CLOCK_ROUND_TRIP_MAX_MS;
    listener->signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&listener->lock, NULL);
    return listener;
}

/* Something is owed, or the end has come. */
static void signal_thread(struct postgres_listener *listener)
{
    uint64_t one = 1;
    ssize_t written = write(listener->signal_fd, &one, sizeof one);
    (void)written; /* the counter cannot be full */
}

/* The thread, if there is one. What it would have heard from now on counts as stale. */
static void end_thread(struct postgres_listener *listener)
{
    if (!listener->is_started)
        return;
    atomic_store(&listener->is_ending, true);
    signal_thread(listener);
    pthread_join(listener->thread, NULL);
    listener->is_started = false;
    atomic_store(&listener->is_ending, false);
    postgres_listener_give_back(listener);
}

void postgres_listener_destroy(struct postgres_listener *listener)
{
    end_thread(listener);
    if (listener->signal_fd >= 0)
        (void)close(listener->signal_fd);
    column_fini(&listener->skus);
    pthread_mutex_destroy(&listener->lock);
    free(listener);
}

/* --- sets of names --- */

const struct slice postgres_pool_notice = SLICE_INIT("@pool");

/* Told when there is too much to name; no product's name. */
static const char everything[] = "*";

static void set_clear(struct stale *set)
{
    set->count = 0;
    set->is_pool = false;
    set->is_all = false;
}

static bool set_is_empty(const struct stale *set)
{
    return set->count == 0 && !set->is_pool && !set->is_all;
}

/* Once; a set that is full counts as everything. */
static void set_put(struct stale *set, const char *name)
{
    size_t i = 0;
    size_t len = strlen(name);
    if (slice_eq(slice_cstr(name), postgres_pool_notice)) {
        set->is_pool = true;
        return;
    }
    while (i < set->count && strcmp(set->skus[i], name) != 0)
        i++;
    if (i == STALE_SKUS_MAX || len > SKU_LEN_MAX || strcmp(name, everything) == 0) {
        set->is_all = true;
    } else if (i == set->count) {
        memcpy(set->skus[i], name, len + 1);
        set->count++;
    }
}

static void set_put_slice(struct stale *set, struct slice name)
{
    char text[SKU_LEN_MAX + 1];
    if (name.len > SKU_LEN_MAX)
        return;
    memcpy(text, name.base, name.len);
    text[name.len] = '\0';
    set_put(set, text);
}

/* --- the engine's side --- */

int64_t postgres_listener_take(struct postgres_listener *listener, struct stale *stale)
{
    pthread_mutex_lock(&listener->lock);
    *stale = listener->stale;
    set_clear(&listener->stale);
    int64_t confirmed_ns = listener->confirmed_ns;
    pthread_mutex_unlock(&listener->lock);
    return confirmed_ns;
}

void postgres_listener_give_back(struct postgres_listener *listener)
{
    pthread_mutex_lock(&listener->lock);
    listener->stale.is_all = true;
    pthread_mutex_unlock(&listener->lock);
}

void postgres_listener_owe(struct postgres_listener *listener, struct slice sku)
{
    pthread_mutex_lock(&listener->lock);
    bool was_empty = set_is_empty(&listener->owed);
    set_put_slice(&listener->owed, sku);
    pthread_mutex_unlock(&listener->lock);
    if (was_empty)
        signal_thread(listener);
}

void postgres_listener_note(struct postgres_listener *listener, struct slice sku)
{
    pthread_mutex_lock(&listener->lock);
    set_put_slice(&listener->stale, sku);
    pthread_mutex_unlock(&listener->lock);
}

/* --- the thread --- */

static void add_stale(struct postgres_listener *listener, const char *sku)
{
    pthread_mutex_lock(&listener->lock);
    set_put(&listener->stale, sku);
    pthread_mutex_unlock(&listener->lock);
}

static void wake_soon(struct postgres_listener *listener)
{
    int64_t soonest_ns = listener->woken_ns + (int64_t)WAKE_INTERVAL_MS * NS_PER_MS;
    if (listener->wake_at_ns == 0)
        listener->wake_at_ns = soonest_ns;
}

static void wake_when_due(struct postgres_listener *listener, int64_t now_ns)
{
    if (listener->wake_at_ns == 0 || now_ns < listener->wake_at_ns)
        return;
    listener->wake_at_ns = 0;
    listener->woken_ns = now_ns;
    listener->on_change(listener->context);
}

/* What a node's own batches change is in its world already. */
static void take_notifications(struct postgres_listener *listener)
{
    PGnotify *notification;
    while ((notification = PQnotifies(listener->conn)) != NULL) {
        bool is_own = notification->be_pid == atomic_load(&listener->store->writer_pid) ||
                      notification->be_pid == PQbackendPID(listener->conn);
        if (!is_own) {
            add_stale(listener, notification->extra);
            set_put(&listener->heard, notification->extra);
            listener->follow_up_at_ns = clock_mono_ns() + (int64_t)FOLLOW_UP_MS * NS_PER_MS;
            wake_soon(listener);
        }
        PQfreemem(notification);
    }
}

/* An answer that was long under way tells less than what is known: clocks drift slowly. */
static void take_time(struct postgres_listener *listener, int64_t database_ms, int64_t now_ns)
{
    int64_t round_trip_ms = (now_ns - listener->asked_ns) / NS_PER_MS;
    int64_t best_ms = listener->best_round_trip_ms + listener->best_round_trip_ms / 8 + 1;
    listener->best_round_trip_ms = round_trip_ms < best_ms ? round_trip_ms : best_ms;
    if (round_trip_ms > CLOCK_ROUND_TRIP_MAX_MS || round_trip_ms > 2 * listener->best_round_trip_ms + 1)
        return;
    int64_t ahead_ms = link_clock_ahead_ms(database_ms, listener->asked_ns, now_ns);
    atomic_store(&listener->store->base.clock_ahead_ms, ahead_ms);
    ahead_ms -= clock_wall_set_ms();
    bool is_far = ahead_ms > CLOCK_AHEAD_MAX_MS || ahead_ms < -CLOCK_AHEAD_MAX_MS;
    if (is_far && !listener->was_warned)
        log_warn("store",
            "the database's clock is %lld ms ahead of this machine's; sales go by the database's",
            (long long)ahead_ms);
    listener->was_warned = is_far;
}

static void take_answer(struct postgres_listener *listener, const PGresult *result)
{
    int64_t database_ms;
    int64_t now_ns = clock_mono_ns();
    if (PQresultStatus(result) != PGRES_TUPLES_OK || listener->asked_ns == 0 ||
        !slice_to_i64(slice_cstr(PQgetvalue(result, 0, 0)), &database_ms))
        return;
    take_time(listener, database_ms, now_ns);
    listener->is_answered = true;
}

/* The answer is complete, and with it all notifications that came before it. */
static void confirm(struct postgres_listener *listener)
{
    take_notifications(listener);
    pthread_mutex_lock(&listener->lock);
    listener->confirmed_ns = listener->asked_ns;
    pthread_mutex_unlock(&listener->lock);
    listener->asked_ns = 0;
    listener->is_answered = false;
    wake_soon(listener);
}

/* What has been heard of and is quiet now is looked at once more. */
static void follow_up_when_due(struct postgres_listener *listener, int64_t now_ns)
{
    if (listener->follow_up_at_ns == 0 || now_ns < listener->follow_up_at_ns)
        return;
    listener->follow_up_at_ns = 0;
    pthread_mutex_lock(&listener->lock);
    for (size_t i = 0; i < listener->heard.count; i++)
        set_put(&listener->stale, listener->heard.skus[i]);
    listener->stale.is_pool = listener->stale.is_pool || listener->heard.is_pool;
    listener->stale.is_all = listener->stale.is_all || listener->heard.is_all;
    pthread_mutex_unlock(&listener->lock);
    set_clear(&listener->heard);
    wake_soon(listener);
}

/* Owed names into the column. */
static void take_owed(struct postgres_listener *listener)
{
    column_start(&listener->skus, POSTGRES_TEXT);
    pthread_mutex_lock(&listener->lock);
    for (size_t i = 0; i < listener->owed.count; i++)
        column_put_text(&listener->skus, slice_cstr(listener->owed.skus[i]));
    if (listener->owed.is_pool)
        column_put_text(&listener->skus, postgres_pool_notice);
    if (listener->owed.is_all)
        column_put_text(&listener->skus, slice_cstr(everything));
    set_clear(&listener->owed);
    pthread_mutex_unlock(&listener->lock);
}

/* One query for both: what time is it, and the others should know that these have changed. */
static bool ask(struct postgres_listener *listener, int64_t now_ns)
{
    static const char sql[] = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,"
                              " (SELECT count(pg_notify('doorbuster', sku)) FROM unnest($1::text[]) AS sku)";
    struct slice owed;
    take_owed(listener);
    if (!column_finish(&listener->skus, &owed))
        return false; /* no memory: as if the connection were gone, a little later */
    const char *values[1] = {owed.base};
    int lengths[1] = {(int)owed.len};
    int formats[1] = {1};
    listener->asked_ns = now_ns;
    listener->last_asked_ns = now_ns;
    return PQsendQueryParams(listener->conn, sql, 1, NULL, values, lengths, formats, 0) == 1;
}

/* When to ask again: often while something is owed. */
static int64_t ask_at_ns(struct postgres_listener *listener)
{
    pthread_mutex_lock(&listener->lock);
    bool owes = !set_is_empty(&listener->owed);
    pthread_mutex_unlock(&listener->lock);
    return listener->last_asked_ns + (int64_t)(owes ? OWED_INTERVAL_MS : HEARTBEAT_MS) * NS_PER_MS;
}

/* Reads what has come. False: the connection is gone. */
static bool receive(struct postgres_listener *listener)
{
    if (PQconsumeInput(listener->conn) != 1)
        return false;
    take_notifications(listener); /* before the answer that says that these are all */
    while (PQisBusy(listener->conn) == 0) {
        PGresult *result = PQgetResult(listener->conn);
        if (result == NULL) {
            if (listener->is_answered)
                confirm(listener);
            break;
        }
        take_answer(listener, result);
        PQclear(result);
    }
    return PQstatus(listener->conn) == CONNECTION_OK;
}

/* Waits for the server, for something owed, or the time; false: the end has come. */
static bool wait(struct postgres_listener *listener, int fd, int64_t until_ns)
{
    int64_t left_ns = until_ns - clock_mono_ns();
    struct pollfd fds[2] = {{.fd = listener->signal_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    int timeout_ms = left_ns <= 0 ? 0 : (int)(left_ns / NS_PER_MS) + 1;
    (void)poll(fds, 2, timeout_ms); /* when it is interrupted the loop comes again */
    uint64_t count;
    ssize_t got = fds[0].revents == 0 ? 0 : read(listener->signal_fd, &count, sizeof count);
    (void)got;
    return !atomic_load(&listener->is_ending);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When there is something to do though nothing comes. */
static int64_t next_turn_ns(struct postgres_listener *listener)
{
    int64_t next_ns =
        listener->asked_ns == 0 ? ask_at_ns(listener) : listener->asked_ns + (int64_t)ANSWER_MS * NS_PER_MS;
    if (listener->wake_at_ns != 0)
        next_ns = least(next_ns, listener->wake_at_ns);
    if (listener->follow_up_at_ns != 0)
        next_ns = least(next_ns, listener->follow_up_at_ns);
    return next_ns;
}

/* Listens until the connection breaks; false: the end has come. */
static bool listen_on(struct postgres_listener *listener)
{
    listener->asked_ns = 0;
    listener->is_answered = false;
    listener->last_asked_ns = 0;
    postgres_listener_give_back(listener);
    for (;;) {
        int64_t now_ns = clock_mono_ns();
        follow_up_when_due(listener, now_ns);
        wake_when_due(listener, now_ns);
        if (listener->asked_ns != 0 && now_ns - listener->asked_ns > (int64_t)ANSWER_MS * NS_PER_MS)
            return true;
        if (listener->asked_ns == 0 && now_ns >= ask_at_ns(listener) && !ask(listener, now_ns))
            return true;
        if (!wait(listener, PQsocket(listener->conn), next_turn_ns(listener)))
            return false;
        if (!receive(listener))
            return true;
    }
}

static bool connect_and_listen(struct postgres_listener *listener, struct error *error)
{
    PGresult *result = NULL;
    enum err err = postgres_connect(listener->store->url, &listener->conn, error);
    if (err == ERR_NONE)
        err = postgres_ask(listener->conn, "LISTEN doorbuster", NULL, "listen at", &result, error);
    PQclear(result);
    return err == ERR_NONE;
}

/* What was being told when the connection broke may not have been heard. */
static void owe_everything(struct postgres_listener *listener)
{
    pthread_mutex_lock(&listener->lock);
    listener->owed.is_all = true;
    pthread_mutex_unlock(&listener->lock);
}

static void *listener_main(void *argument)
{
    struct postgres_listener *listener = argument;
    struct error error;
    bool was_lost = false;
    bool goes_on = true;
    while (goes_on) {
        bool is_connected = connect_and_listen(listener, &error);
        if (is_connected) {
            if (was_lost) {
                log_info("store", "changes of other nodes are heard again");
                owe_everything(listener);
            }
            was_lost = false;
            goes_on = listen_on(listener);
        }
        PQfinish(listener->conn);
        listener->conn = NULL;
        if (goes_on) {
            if (!was_lost)
                log_warn("store", "changes of other nodes are not heard at present (%s); trying again",
                    is_connected ? "the connection was lost" : error.message);
            was_lost = true;
            goes_on = wait(listener, -1, clock_mono_ns() + (int64_t)RECONNECT_MS * NS_PER_MS);
        }
    }
    return NULL;
}

enum err postgres_watch(
    struct store *base, void (*on_change)(void *context), void *context, struct error *error)
{
    struct postgres_listener *listener = ((struct postgres_store *)base)->listener;
    if (listener->signal_fd < 0)
        return error_set(error, ERR_IO, "too many open files; raise the limit (ulimit -n)");
    listener->on_change = on_change;
    listener->context = context;
    if (pthread_create(&listener->thread, NULL, listener_main, listener) != 0)
        return error_set(error, ERR_MEMORY, "cannot start a thread; is the limit of processes reached?");
    listener->is_started = true;
    return ERR_NONE;
}

void postgres_unwatch(struct store *base)
{
    end_thread(((struct postgres_store *)base)->listener);
}
