/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the embedded store share. Not for other modules; tests may look. */
#ifndef DOORBUSTER_STORE_SQLITE_PRIV_H
#define DOORBUSTER_STORE_SQLITE_PRIV_H

#include <sqlite3.h>

#include "store/file_lock.h"
#include "store/intake_index.h"
#include "store/purchase_index.h"
#include "store/sqlite.h"

/* --- sqlite_schema.c: the file, and what its tables look like --- */

enum { SCHEMA_VERSION = 5, SCHEMA_APPLICATION_ID = 0x44425354 /* "DBST" */ };

/* Brings the tables from `version` - 1 to `version`; its last statement sets user_version. */
struct schema_step {
    int version;
    const char *sql;
};

/* schema/sqlite_001.sql and so on. */
extern const char sqlite_001_sql[];
extern const char sqlite_002_sql[];
extern const char sqlite_003_sql[];
extern const char sqlite_004_sql[];
extern const char sqlite_005_sql[];

enum schema_file { SCHEMA_FILE_ABSENT, SCHEMA_FILE_EMPTY, SCHEMA_FILE_STORE };

/* Says what is at `path` without changing anything. ERR_CORRUPT: something that is no doorbuster store. No
 * connection of this process may be open on the file: looking would drop its locks. */
MUST_CHECK enum err schema_look(const char *path, enum schema_file *file, struct error *error);

/* Runs those steps that the file does not have yet, one transaction each. A step that fails leaves the
 * version before it. ERR_NEWER: the file is beyond the last step. */
MUST_CHECK enum err schema_bring_up(
    sqlite3 *db, const char *path, const struct schema_step *steps, size_t count, struct error *error);

/* Opens the writer's connection to a file that schema_look has seen, with all settings, tables up to date and
 * looked over for damage. NULL and the file as it was in case of error. */
MUST_CHECK enum err schema_open(const char *path, enum schema_file file, sqlite3 **db, struct error *error);

/* Fills *error from what SQLite says. `what` completes "cannot ...". Returns the code, never ERR_NONE. */
enum err sqlite_failure(sqlite3 *db, int rc, const char *path, const char *what, struct error *error);

/* The same where SQLite has not kept the system's error number: a failed COMMIT. 0: none is known. */
enum err sqlite_failure_errno(
    sqlite3 *db, int rc, int system_errno, const char *path, const char *what, struct error *error);

/* --- sqlite_wal.c: how far the log is committed, and its return to the file --- */

enum { WAL_SALT_BYTES = 8 };

struct wal {
    sqlite3 *db; /* the writer's connection */
    const char *path;
    int64_t frames;                     /* frames up to and with the last commit */
    unsigned char salt[WAL_SALT_BYTES]; /* of the log's present round; zeros while there is no log */
    bool is_known;                      /* frames and salt are right */
    int64_t checkpoint_frames;          /* length that a round should have; tests make it shorter */
    int64_t checkpoint_at;              /* frames from which the next checkpoint is tried */
};

/* Takes stock of the log and brings what is in it into the file. A checkpoint that fails is logged. */
void wal_init(struct wal *wal, sqlite3 *db, const char *path);

/* After each successful commit. */
void wal_committed(struct wal *wal);

/* The system's error number of the last read, write or flush of the log that failed; 0 when none is known. */
int wal_last_errno(const struct wal *wal);

/* After a COMMIT that failed and its rollback: is it certain that the failed transaction cannot come back? */
MUST_CHECK bool wal_is_as_committed(struct wal *wal);

/* --- sqlite_write.c: one transaction --- */

enum statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_PRODUCT_ADD,
    STATEMENT_PRODUCT_SET,
    STATEMENT_PRODUCT_REMOVE,
    STATEMENT_PURCHASE_ADD,
    STATEMENT_PURCHASES_CLEAR,
    STATEMENT_KEY_ADD,
    STATEMENT_KEY_REMOVE,
    STATEMENT_WORK_ADD,
    STATEMENT_WORK_SET,
    STATEMENT_WORK_REMOVE,
    STATEMENT_ORDER_ADD,
    STATEMENT_ORDER_SET,
    STATEMENT_PAYMENT_ADD,
    STATEMENT_NOTIFICATION_ADD,
    STATEMENT_NOTIFICATION_END,
    STATEMENT_ACCOUNT_ADD,
    STATEMENT_INTAKE_ADD,
    STATEMENT_INTAKE_CANCEL,
    STATEMENT_INTAKE_DELIVERY_ADD,
    STATEMENT_INTAKE_STATE_SET,
    STATEMENT_PRODUCT_LABEL,
    STATEMENT_MACHINE_ADD,
    STATEMENT_MACHINE_SET,
    STATEMENT_MACHINE_REMOVE,
    STATEMENT_LEASE_ADD,
    STATEMENT_TICKET_ADD,
    STATEMENT_TICKET_SET,
    STATEMENT_POOL_SET,
    STATEMENT_WALLET_ADD,
    STATEMENT_WALLET_SET,
    STATEMENT_TRANSFER_ADD,
    STATEMENT_SEQUENCE_SET,
    STATEMENT_SEQUENCE_MOVE,
    STATEMENT_COUNT
};

enum sequence {
    SEQUENCE_PRODUCTS,
    SEQUENCE_PURCHASES,
    SEQUENCE_KEYS,
    SEQUENCE_WORK,
    SEQUENCE_ACCOUNTS,
    SEQUENCE_TRANSFERS,
    SEQUENCE_COUNT
};

extern const struct slice sequence_names[SEQUENCE_COUNT];

struct sqlite_store {
    struct store base;
    char *path; /* absolute, links resolved */
    struct file_lock lock;
    sqlite3 *db; /* the writer's connection: engine thread only */
    sqlite3_stmt *statements[STATEMENT_COUNT];
    struct wal wal;
    struct purchase_index index;
    struct intake_index intake_index;
    int64_t next_stored[SEQUENCE_COUNT]; /* sequences.next_value as committed */
    uint64_t *hashes;                    /* of the batch's purchases, in order */
    size_t hashes_size;
    bool is_broken; /* a commit's outcome is unknown: nothing is written any more */
};

/* A batch on its way. */
struct sqlite_batch {
    struct sqlite_store *store;
    const struct world *world;
    int64_t next_stored[SEQUENCE_COUNT]; /* as they will be once committed */
    size_t hash_count;                   /* purchases so far */
    struct error *error;
};

/* Runs a statement that changes something; what is bound to it is of no use any more. */
MUST_CHECK enum err run_write(struct sqlite_batch *batch, enum statement which);

/* The same for one row that has to be there. */
MUST_CHECK enum err run_write_one(struct sqlite_batch *batch, enum statement which);

/* Prepares all statements. */
MUST_CHECK enum err write_init(struct sqlite_store *store, struct error *error);
void write_fini(struct sqlite_store *store);

/* store_commit and store_probe. */
MUST_CHECK enum err write_commit(struct store *base, const struct world *world, struct error *error);
MUST_CHECK enum err write_probe(struct store *base, struct error *error);

/* --- sqlite_write_orders.c: the changes of orders, accounts and trading orders --- */

MUST_CHECK enum err write_order_change(struct sqlite_batch *batch, const struct change *change);

/* --- sqlite_write_pool.c: the changes of machines, leases, tickets and the pool --- */

MUST_CHECK enum err write_pool_change(struct sqlite_batch *batch, const struct change *change);

/* --- sqlite_write_wallets.c: the changes of wallets and transfers --- */

MUST_CHECK enum err write_wallet_change(struct sqlite_batch *batch, const struct change *change);

/* --- sqlite_load.c --- */

struct sqlite_loader {
    struct sqlite_store *store;
    struct world *world;
    struct product **products; /* in order of id */
    size_t product_count;
    size_t products_size;
    int64_t id_last[SEQUENCE_COUNT]; /* largest id in each table, 0 when empty */
    struct error *error;
};

/* Takes in one row. */
typedef enum err load_row(struct sqlite_loader *loader, sqlite3_stmt *row);

/* Reads a table through load_one. */
MUST_CHECK enum err load_table(struct sqlite_loader *loader, const char *text, load_row *load_one);

enum err load_no_memory(struct sqlite_loader *loader);
enum err load_damaged(struct sqlite_loader *loader, const char *table, int64_t id);

/* Of each type wanted: 'i' integer, 't' text, 'b' blob, '?' text or null, 'n' integer or null. */
bool row_has_types(sqlite3_stmt *row, const char *types);

/* Borrowed until the next step; empty for NULL. */
struct slice row_text(sqlite3_stmt *row, int at);

/* --- sqlite_load_orders.c: the tables of orders, accounts and trading orders, and the secret --- */

MUST_CHECK enum err load_orders(struct sqlite_loader *loader);

/* --- sqlite_load_pool.c: machines, tickets, and the numbers of the pool --- */

MUST_CHECK enum err load_pool(struct sqlite_loader *loader);

/* --- sqlite_load_wallets.c: wallets and transfers --- */

MUST_CHECK enum err load_wallets(struct sqlite_loader *loader);

/* store_load. After an error the world holds part of the store and is of no use. */
MUST_CHECK enum err load_world(struct store *base, struct world *world, const struct command *const *commands,
    size_t count, struct error *error);

/* --- sqlite_reader.c --- */

MUST_CHECK enum err reader_open(struct store *base, struct store_reader **reader, struct error *error);
MUST_CHECK enum err reader_purchases(
    struct store_reader *base, struct purchase_lookup *lookups, size_t count, struct error *error);
MUST_CHECK enum err reader_sale_totals(
    struct store_reader *base, struct sale_totals *totals, struct error *error);
void reader_close(struct store_reader *base);

/* --- sqlite_ask.c: questions --- */

enum ask_statement {
    ASK_ORDER,
    ASK_POSITION,
    ASK_ORDER_STATE,
    ASK_ORDER_TOTALS,
    ASK_OLDEST_PENDING,
    ASK_DEAD_LETTERS,
    ASK_ACCOUNT_BY_EMAIL,
    ASK_ACCOUNT_BY_ID,
    ASK_INTAKE_ORDER,
    ASK_INTAKE_EXECUTED_ID,
    ASK_INTAKE_RANGE,
    ASK_MACHINE,
    ASK_MACHINES,
    ASK_PRODUCT,
    ASK_PRODUCTS,
    ASK_TICKET,
    ASK_WALLET_BY_KEY,
    ASK_WALLET_BY_ACCOUNT,
    ASK_TRANSFERS,
    ASK_COUNT
};

struct sqlite_reader {
    struct store_reader base;
    sqlite3 *db;
    sqlite3_stmt *purchase;
    sqlite3_stmt *sale_totals;
    sqlite3_stmt *asks[ASK_COUNT];
};

/* One question on its way. */
struct ask {
    struct sqlite_reader *reader;
    struct question *question;
    struct error *error;
    int64_t executed_id; /* up to which trading orders are executed */
};

/* Takes in one row. */
typedef enum err take_row(struct ask *ask, sqlite3_stmt *row);

/* Runs the statement, whose parameters are bound. */
MUST_CHECK enum err ask_run(struct ask *ask, enum ask_statement which, take_row *take);

/* A text of the row into the answer's memory; false when there is none. */
MUST_CHECK bool ask_copy(struct ask *ask, sqlite3_stmt *row, int at, struct slice *text);

/* Room for the rows that may come, or NULL; empties the list. */
void *ask_make_list(struct ask *ask, size_t row_size);

enum err ask_no_memory(const struct ask *ask);
enum err ask_damaged(const struct ask *ask, const char *table, int64_t id);

/* sqlite_ask_pool.c: questions about machines, tickets and the list of products. */
MUST_CHECK enum err ask_pool(struct ask *ask);

/* sqlite_ask_wallets.c: questions about wallets and their transfers. */
MUST_CHECK enum err ask_wallets(struct ask *ask);

/* What SQLite says; SQLITE_OK. */
MUST_CHECK int sqlite_ask_init(struct sqlite_reader *reader);
void sqlite_ask_fini(struct sqlite_reader *reader);
MUST_CHECK enum err reader_ask(struct store_reader *base, struct question *question, struct error *error);

/* Text for a statement that is reset before `text` goes away. */
void bind_text(sqlite3_stmt *statement, int at, struct slice text);
void bind_blob(sqlite3_stmt *statement, int at, const void *bytes, size_t size); /* as for text */
void bind_i64(sqlite3_stmt *statement, int at, int64_t value);
void bind_null(sqlite3_stmt *statement, int at);

/* 0 is none. */
void bind_i64_or_null(sqlite3_stmt *statement, int at, int64_t value);

#endif
