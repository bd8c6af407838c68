/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting a million user names to find the few that repeat is nearly all the work of an audit. So the rows
 * are sorted by a 64-bit hash of (product, user) first, and only those that share a hash are grouped by
 * SQLite, which compares the texts themselves. The hash can only propose too much, never too little: equal
 * names have equal hashes, so a row that is alone with its hash is alone with its name. A crafted collision
 * costs time.
 *
 * The hash and the sort are deliberately other ones than those that the server decides uniqueness with
 * (base/map.h): an error there must not hide itself here.
 */
#include "verify/sums.h"

#include <stdlib.h>

#include "verify/db.h"

struct mark {
    uint64_t hash; /* of product and user */
    int64_t id;    /* of the purchase */
    bool is_first; /* nth is 1 */
};

struct tally {
    struct mark *marks;
    size_t count;
    size_t size; /* marks available */
};

enum { MARKS_FIRST = 1024 };

static const char tables_sql[] =
    "CREATE TEMP TABLE audit_shared (id INTEGER PRIMARY KEY);"
    "CREATE TEMP TABLE audit_repeats (product_id, user_id, purchases, nth_min, nth_max, nth_distinct);"
    "CREATE INDEX temp.audit_repeats_product ON audit_repeats (product_id);"
    "CREATE TEMP TABLE audit_products"
    " (product_id PRIMARY KEY, purchases, buyers, purchased_first, purchased_last);"
    "CREATE TEMP TABLE audit_expected (sku TEXT PRIMARY KEY, users INTEGER);"
    "CREATE TEMP VIEW audit AS"
    " SELECT p.id AS product_id, p.sku, p.initial_stock, p.stock, p.per_user_limit, p.start_time, p.end_time,"
    "   p.state, p.end_reason, ifnull(a.purchases, 0) AS purchases, ifnull(a.buyers, 0) AS buyers,"
    "   a.purchased_first, a.purchased_last, e.users AS expected_users"
    " FROM main.products AS p"
    " LEFT JOIN temp.audit_products AS a ON a.product_id = p.id"
    " LEFT JOIN temp.audit_expected AS e ON e.sku = p.sku";

/* A purchase outside audit_shared is its buyer's only one: buyers are those + the rows of audit_repeats. */
static const char sums_sql[] =
    "INSERT INTO temp.audit_repeats"
    " SELECT p.product_id, p.user_id, count(*), min(p.nth), max(p.nth), count(DISTINCT p.nth)"
    " FROM temp.audit_shared AS s JOIN main.purchases AS p ON p.id = s.id"
    " GROUP BY p.product_id, p.user_id;"
    "INSERT INTO temp.audit_products"
    " WITH total AS (SELECT product_id, count(*) AS purchases,"
    "     min(purchased_at) AS first, max(purchased_at) AS last FROM main.purchases GROUP BY product_id),"
    "   repeated AS (SELECT product_id, count(*) AS buyers, sum(purchases) AS purchases"
    "     FROM temp.audit_repeats GROUP BY product_id)"
    " SELECT t.product_id, t.purchases, t.purchases - ifnull(r.purchases, 0) + ifnull(r.buyers, 0),"
    "   t.first, t.last"
    " FROM total AS t LEFT JOIN repeated AS r ON r.product_id = t.product_id";

/* FNV-1a. */
static uint64_t hash_of(int64_t product_id, struct slice user)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)product_id;
    for (size_t i = 0; i < user.len; i++)
        hash = (hash ^ (unsigned char)user.base[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static bool add_mark(struct tally *tally, const struct mark *mark)
{
    if (tally->count == tally->size) {
        size_t size = tally->size == 0 ? MARKS_FIRST : tally->size * 2;
        struct mark *marks = reallocarray(tally->marks, size, sizeof *marks);
        if (marks == NULL)
            return false;
        tally->marks = marks;
        tally->size = size;
    }
    tally->marks[tally->count++] = *mark;
    return true;
}

static enum err read_purchases(struct tally *tally, sqlite3 *db, struct error *error)
{
    static const char doing[] = "read the purchases";
    sqlite3_stmt *stmt;
    enum err err =
        db_prepare(db, "SELECT id, product_id, user_id, nth FROM main.purchases", doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct mark mark = {
            .hash = hash_of(sqlite3_column_int64(stmt, 1), db_text(stmt, 2)),
            .id = sqlite3_column_int64(stmt, 0),
            .is_first = sqlite3_column_int64(stmt, 3) == 1,
        };
        if (!add_mark(tally, &mark)) {
            err = error_set(error, ERR_MEMORY, "no memory for %zu purchases", tally->count);
            break;
        }
    }
    if (err == ERR_NONE && rc != SQLITE_DONE)
        err = db_fail(db, doing, error);
    sqlite3_finalize(stmt);
    return err;
}

static int compare_marks(const void *left, const void *right)
{
    const struct mark *a = left;
    const struct mark *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static bool is_alone(const struct tally *tally, size_t i)
{
    const struct mark *marks = tally->marks;
    bool has_left = i > 0 && marks[i - 1].hash == marks[i].hash;
    bool has_right = i + 1 < tally->count && marks[i + 1].hash == marks[i].hash;
    return !has_left && !has_right;
}

/* Expects the marks in order. A damaged table may show an id twice. */
static enum err keep_shared(const struct tally *tally, sqlite3 *db, struct error *error)
{
    static const char doing[] = "keep the repeated buyers";
    sqlite3_stmt *stmt;
    enum err err =
        db_prepare(db, "INSERT OR IGNORE INTO temp.audit_shared (id) VALUES (:id)", doing, &stmt, error);
    for (size_t i = 0; i < tally->count && err == ERR_NONE; i++) {
        if (is_alone(tally, i) && tally->marks[i].is_first)
            continue;
        db_bind_i64(stmt, ":id", tally->marks[i].id);
        if (sqlite3_step(stmt) != SQLITE_DONE)
            err = db_fail(db, doing, error);
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    return err;
}

enum err sums_make(sqlite3 *db, struct error *error)
{
    struct tally tally = {.marks = NULL};
    enum err err = db_exec(db, tables_sql, "make the tables of the audit", error);
    if (err == ERR_NONE)
        err = read_purchases(&tally, db, error);
    if (err == ERR_NONE && tally.count > 0) {
        qsort(tally.marks, tally.count, sizeof *tally.marks, compare_marks);
        err = keep_shared(&tally, db, error);
    }
    free(tally.marks);
    if (err == ERR_NONE)
        err = db_exec(db, sums_sql, "add up the purchases", error);
    return err;
}
