/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the PostgreSQL store share. Not for other modules; tests may look. */
#ifndef DOORBUSTER_STORE_POSTGRES_PRIV_H
#define DOORBUSTER_STORE_POSTGRES_PRIV_H

#include <libpq-fe.h>

#include "store/postgres.h"
#include "store/postgres_array.h"
#include "store/postgres_link.h"

/* --- postgres_error.c: connecting, and what a failure means --- */

/*
 * Connects, within POSTGRES_CONNECT_MS for each host of the URL. ERR_USAGE, ERR_UNAVAILABLE and
 * others of postgres_failure; *conn is NULL after an error, else the caller's to PQfinish. The connection
 * speaks UTF-8, says nothing on standard error, and its messages carry their codes.
 */
enum { POSTGRES_CONNECT_MS = 3500 };
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

/*
 * The same for a server that has to be quick: one short statement, within POSTGRES_CONNECT_MS, whatever the
 * network does; its one parameter is text, or NULL when it has none. After ERR_UNAVAILABLE the connection is
 * good for PQfinish only.
 */
MUST_CHECK enum err postgres_ask(PGconn *conn, const char *sql, const char *value, const char *doing,
    PGresult **result, struct error *error);

/* --- postgres_schema.c: what the tables look like --- */

/* schema/postgres_001.sql and so on. */
extern const char postgres_001_sql[];
extern const char postgres_002_sql[];
extern const char postgres_003_sql[];
extern const char postgres_004_sql[];

/*
 * Are the tables there, and of this version? ERR_OLDER: no, or older ones: the message names doorbuster
 * migrate. ERR_NEWER: a newer doorbuster made them. ERR_CORRUPT: they are somebody else's, or half of them
 * are gone.
 */
MUST_CHECK enum err postgres_schema_check(PGconn *conn, struct error *error);

/* The same as postgres_migrate, inside a transaction of the caller's: it takes the lock that keeps a second
 * migration waiting until the caller's transaction ends. */
MUST_CHECK enum err postgres_schema_bring_up(PGconn *conn, int *version_before, struct error *error);

/* --- postgres.c: the store --- */

/* Time limits of a node's waits. Longer than the server's own (postgres_link.c), so that it can tell why. */
enum {
    POSTGRES_LOAD_MS = 3500,
    POSTGRES_COMMIT_MS = 4000,
    POSTGRES_LONG_COMMIT_MS = 65000, /* one that removes purchases, perhaps a million */
    POSTGRES_READ_MS = 3500,
    POSTGRES_COUNT_MS = 30000, /* of the purchases of one product, perhaps a million */
};

enum postgres_statement {
    STATEMENT_READ_SECRET,
    /* load */
    STATEMENT_BEGIN,
    STATEMENT_UNSYNCED,
    STATEMENT_RESERVE_IDS,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_LOCK_PRODUCTS,
    STATEMENT_LOCK_DUE_PRODUCTS,
    STATEMENT_LOCK_DUE_KEYS,
    STATEMENT_FIND_BUYERS,
    STATEMENT_HAS_PURCHASES,
    STATEMENT_FIND_KEYS,
    STATEMENT_LOCK_WORK,
    STATEMENT_LOCK_ORDERS,
    STATEMENT_LOCK_DUE_WORK,
    STATEMENT_LOCK_DUE_PAYMENTS,
    STATEMENT_FIND_ORDERS,
    STATEMENT_LOCK_ACCOUNTS,
    STATEMENT_FIND_ACCOUNTS,
    STATEMENT_LOCK_INTAKE,
    STATEMENT_LOCK_POOL,
    STATEMENT_LOCK_DUE_POOL,
    STATEMENT_READ_POOL,
    STATEMENT_READ_MACHINES,
    STATEMENT_READ_LINE,
    STATEMENT_READ_TICKETS,
    STATEMENT_FIND_NAMES,
    STATEMENT_LOCK_WALLETS,
    STATEMENT_FIND_TRANSFERS,
    STATEMENT_REFRESH_PRODUCTS,
    STATEMENT_REFRESH_ALL,
    /* commit */
    STATEMENT_PROBE,
    STATEMENT_ALLOW_LONG,
    STATEMENT_ADD_PRODUCT,
    STATEMENT_SET_PRODUCTS,
    STATEMENT_REMOVE_PRODUCT,
    STATEMENT_CLEAR_PURCHASES,
    STATEMENT_ADD_PURCHASES,
    STATEMENT_ADD_KEYS,
    STATEMENT_REMOVE_KEYS,
    STATEMENT_ADD_WORK,
    STATEMENT_SET_WORK,
    STATEMENT_REMOVE_WORK,
    STATEMENT_ADD_ORDERS,
    STATEMENT_SET_ORDERS,
    STATEMENT_ADD_PAYMENTS,
    STATEMENT_ADD_NOTIFICATIONS,
    STATEMENT_END_NOTIFICATIONS,
    STATEMENT_ADD_ACCOUNTS,
    STATEMENT_ADD_INTAKE,
    STATEMENT_CANCEL_INTAKE,
    STATEMENT_ADD_DELIVERIES,
    STATEMENT_SET_INTAKE,
    STATEMENT_LABEL_PRODUCT,
    STATEMENT_ADD_MACHINES,
    STATEMENT_SET_MACHINES,
    STATEMENT_REMOVE_MACHINES,
    STATEMENT_ADD_LEASES,
    STATEMENT_ADD_TICKETS,
    STATEMENT_SET_TICKETS,
    STATEMENT_SET_POOL,
    STATEMENT_ADD_WALLETS,
    STATEMENT_SET_WALLETS,
    STATEMENT_ADD_TRANSFERS,
    STATEMENT_NOTIFY,
    STATEMENT_COUNT
};

extern const struct link_statement postgres_statements[STATEMENT_COUNT];

/* One command of a batch, in the order of skus. */
struct batch_entry {
    struct slice sku;
    const struct command *command;
};

enum { STALE_SKUS_MAX = 256 };

/* What other nodes have changed and we have not loaded yet. */
struct stale {
    char skus[STALE_SKUS_MAX][SKU_LEN_MAX + 1];
    size_t count;
    bool is_pool; /* machines and tickets */
    bool is_all;  /* too many, or we were not listening for a while; the pool too */
};

/* How nodes call it among one another; no product's name. */
extern const struct slice postgres_pool_notice;

struct postgres_listener;

/* Rows of a batch that gather in columns until one statement takes them all; written in this order. */
enum sheet_name {
    SHEET_PURCHASES,
    SHEET_KEYS,
    SHEET_OLD_KEYS,
    SHEET_ORDERS,
    SHEET_SET_ORDERS,
    SHEET_PAYMENTS,
    SHEET_NOTIFICATIONS,
    SHEET_OLD_NOTIFICATIONS,
    SHEET_WORK,
    SHEET_SET_WORK,
    SHEET_OLD_WORK,
    SHEET_ACCOUNTS,
    SHEET_WALLETS,
    SHEET_SET_WALLETS,
    SHEET_TRANSFERS,
    SHEET_INTAKE,
    SHEET_OLD_INTAKE,
    SHEET_DELIVERIES,
    SHEET_MACHINES,
    SHEET_SET_MACHINES,
    SHEET_OLD_MACHINES,
    SHEET_LEASES,
    SHEET_TICKETS,
    SHEET_SET_TICKETS,
    SHEET_SET_PRODUCTS,
    SHEET_NOTIFY,
    SHEET_COUNT
};

enum { LOAD_COLUMNS_MAX = 2, SHEET_COLUMNS_MAX = 16 };

struct postgres_store {
    struct store base;
    char *url;
    char application_name[48];               /* "doorbuster node <random>" */
    struct link link;                        /* engine thread */
    uint64_t ids_link;                       /* link.opened_count when ids were last reserved */
    atomic_int writer_pid;                   /* of the link's server process: its notifications are our own */
    bool is_in_transaction;                  /* a load has begun one */
    struct column columns[LOAD_COLUMNS_MAX]; /* of the statement of a load that is being made */
    struct column sheets[SHEET_COUNT][SHEET_COLUMNS_MAX];
    struct batch_entry *entries;
    size_t entries_size;
    struct stale stale; /* engine thread: being loaded */
    struct postgres_listener *listener;
    atomic_uint readers_opened; /* any thread: each has a name of its own, by which its old connections end */
};

/* --- postgres_load*.c --- */

MUST_CHECK enum err postgres_load(struct store *base, struct world *world,
    const struct command *const *commands, size_t count, struct error *error);
MUST_CHECK enum err postgres_load_due(
    struct store *base, struct world *world, const struct due *due, struct error *error);
void postgres_abandon(struct store *base);

/* --- postgres_write*.c --- */

MUST_CHECK enum err postgres_commit(struct store *base, const struct world *world, struct error *error);
MUST_CHECK enum err postgres_probe(struct store *base, struct error *error);

/* --- postgres_reader.c, postgres_questions.c --- */

MUST_CHECK enum err postgres_reader_open(
    struct store *base, struct store_reader **reader, struct error *error);
MUST_CHECK enum err postgres_reader_purchases(
    struct store_reader *base, struct purchase_lookup *lookups, size_t count, struct error *error);
MUST_CHECK enum err postgres_reader_sale_totals(
    struct store_reader *base, struct sale_totals *totals, struct error *error);
MUST_CHECK enum err postgres_reader_ask(
    struct store_reader *base, struct question *question, struct error *error);
void postgres_reader_close(struct store_reader *base);

/* --- postgres_listener.c: a thread that listens for what other nodes change --- */

/* Not listening yet: everything counts as stale. NULL when memory is out. */
struct postgres_listener *postgres_listener_create(struct postgres_store *store);

/* Ends the thread, if there is one. */
void postgres_listener_destroy(struct postgres_listener *listener);

/* store_watch. */
MUST_CHECK enum err postgres_watch(
    struct store *base, void (*on_change)(void *context), void *context, struct error *error);

/* store_unwatch. */
void postgres_unwatch(struct store *base);

/* Takes over what has become stale and returns up to when that is known to be all. Engine thread. */
int64_t postgres_listener_take(struct postgres_listener *listener, struct stale *stale);

/* The others are to hear soon that this product, or the pool (postgres_pool_notice), has changed. Engine
 * thread. */
void postgres_listener_owe(struct postgres_listener *listener, struct slice sku);

/* The next load shall look at this product. Engine thread. */
void postgres_listener_note(struct postgres_listener *listener, struct slice sku);

/* Gives it back when it could not be loaded. Engine thread. */
void postgres_listener_give_back(struct postgres_listener *listener);

#endif
