/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting a million names to find the few that repeat is nearly all the work of an audit. So the rows are
 * sorted by a 64-bit hash of the key, and only those that share a hash are kept for SQLite to group, which
 * compares the texts themselves. The hash can only propose too much, never too little: equal keys have equal
 * hashes, so a row that is alone with its hash is alone with its key. A crafted collision costs time.
 *
 * The hash and the sort are deliberately other ones than those that the server decides uniqueness with
 * (base/map.h): an error there must not hide itself here.
 */
#include "verify/twins.h"

#include <stdlib.h>

#include "verify/db.h"

struct mark {
    uint64_t hash; /* of the key */
    int64_t id;    /* of the row */
    bool is_kept;  /* whatever its hash */
};

struct tally {
    struct mark *marks;
    size_t count;
    size_t size; /* marks available */
};

enum { COLUMN_ROW, COLUMN_NUMBER, COLUMN_TEXT, COLUMN_KEEP };
enum { MARKS_FIRST = 1024 };

/* FNV-1a. */
static uint64_t hash_of(int64_t number, struct slice text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)number;
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.base[i]) * UINT64_C(0x100000001b3);
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

static enum err read_rows(
    struct tally *tally, sqlite3 *db, const char *rows_sql, const char *what, struct error *error)
{
    static const char doing[] = "read the rows";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(db, rows_sql, doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct mark mark = {
            .hash = hash_of(sqlite3_column_int64(stmt, COLUMN_NUMBER), db_text(stmt, COLUMN_TEXT)),
            .id = sqlite3_column_int64(stmt, COLUMN_ROW),
            .is_kept = sqlite3_column_int(stmt, COLUMN_KEEP) != 0,
        };
        if (!add_mark(tally, &mark)) {
            err = error_set(error, ERR_MEMORY, "no memory for %zu %s", tally->count, what);
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

/* Expects the marks in order. */
static enum err keep_twins(const struct tally *tally, sqlite3 *db, const char *keep_sql, struct error *error)
{
    static const char doing[] = "keep the rows that repeat";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(db, keep_sql, doing, &stmt, error);
    for (size_t i = 0; i < tally->count && err == ERR_NONE; i++) {
        if (is_alone(tally, i) && !tally->marks[i].is_kept)
            continue;
        db_bind_i64(stmt, ":id", tally->marks[i].id);
        if (sqlite3_step(stmt) != SQLITE_DONE)
            err = db_fail(db, doing, error);
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    return err;
}

enum err twins_find(
    sqlite3 *db, const char *rows_sql, const char *keep_sql, const char *what, struct error *error)
{
    struct tally tally = {.marks = NULL};
    enum err err = read_rows(&tally, db, rows_sql, what, error);
    if (err == ERR_NONE && tally.count > 0) {
        qsort(tally.marks, tally.count, sizeof *tally.marks, compare_marks);
        err = keep_twins(&tally, db, keep_sql, error);
    }
    free(tally.marks);
    return err;
}
