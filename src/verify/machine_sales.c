/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both in order of purchase id, side by side: a purchase can only be one of the last choice that begins at or
 * before it. Where two choices share ids, the later one has them and the earlier one is short; that they
 * share is noted besides.
 */
#include "verify/machine_sales.h"

#include <stdlib.h>

#include "verify/db.h"

struct choice {
    int64_t purchase_id; /* of the first unit */
    int64_t end;         /* past the last one */
    int64_t id;          /* of the lease */
    int64_t machine_id;
    int64_t product_id;
    int64_t units;
    int64_t chosen_ms;
    int64_t bought; /* purchases of it that are there */
};

struct sales {
    struct choice *choices;
    size_t count;
    size_t size;  /* choices available */
    size_t begun; /* choices that begin at or before the purchase that is looked at */
};

enum { CHOICES_FIRST = 1024 };
enum { COLUMN_PURCHASE, COLUMN_ID, COLUMN_MACHINE, COLUMN_PRODUCT, COLUMN_UNITS, COLUMN_CHOSEN };
enum { SOLD_ID, SOLD_PRODUCT, SOLD_USER };

static const char tables_sql[] =
    "CREATE TEMP TABLE audit_strays (id);"
    "CREATE TEMP TABLE audit_short (id, machine_id, product_id, units, purchase_id, chosen_at, bought);"
    "CREATE TEMP TABLE audit_shared_units (id, machine_id, purchase_id, id_before)";
static const char choices_sql[] = "SELECT purchase_id, id, machine_id, product_id, units, chosen_at"
                                  " FROM temp.audit_choices";
static const char sold_sql[] =
    "SELECT id, product_id, user_id FROM main.purchases WHERE (SELECT has_machines FROM temp.audit_store)"
    " AND user_id >= ' ' AND user_id < '!'"
    " AND NOT ((SELECT has_wallets FROM temp.audit_store) AND user_id >= ' key ' AND user_id < ' key!')"
    " ORDER BY id";

static bool add_choice(struct sales *sales, sqlite3_stmt *row)
{
    if (sales->count == sales->size) {
        size_t size = sales->size == 0 ? CHOICES_FIRST : sales->size * 2;
        struct choice *choices = reallocarray(sales->choices, size, sizeof *choices);
        if (choices == NULL)
            return false;
        sales->choices = choices;
        sales->size = size;
    }
    struct choice choice = {
        .purchase_id = sqlite3_column_int64(row, COLUMN_PURCHASE),
        .id = sqlite3_column_int64(row, COLUMN_ID),
        .machine_id = sqlite3_column_int64(row, COLUMN_MACHINE),
        .product_id = sqlite3_column_int64(row, COLUMN_PRODUCT),
        .units = sqlite3_column_int64(row, COLUMN_UNITS),
        .chosen_ms = sqlite3_column_int64(row, COLUMN_CHOSEN),
    };
    if (__builtin_add_overflow(choice.purchase_id, choice.units, &choice.end))
        choice.end = INT64_MAX;
    sales->choices[sales->count++] = choice;
    return true;
}

static int compare_choices(const void *left, const void *right)
{
    const struct choice *a = left;
    const struct choice *b = right;
    if (a->purchase_id != b->purchase_id)
        return a->purchase_id < b->purchase_id ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static enum err read_choices(struct sales *sales, sqlite3 *db, struct error *error)
{
    static const char doing[] = "read the leases";
    sqlite3_stmt *stmt;
    enum err err = db_prepare(db, choices_sql, doing, &stmt, error);
    if (err != ERR_NONE)
        return err;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && err == ERR_NONE) {
        if (!add_choice(sales, stmt))
            err = error_set(error, ERR_MEMORY, "no memory for %zu leases", sales->count);
    }
    if (err == ERR_NONE && rc != SQLITE_DONE)
        err = db_fail(db, doing, error);
    sqlite3_finalize(stmt);
    if (err == ERR_NONE && sales->count > 0)
        qsort(sales->choices, sales->count, sizeof *sales->choices, compare_choices);
    return err;
}

/* The machine that a user stands for: " machine 7"; 0: it is none. */
static int64_t machine_of(struct slice user)
{
    static const struct slice prefix = SLICE_INIT(" machine ");
    int64_t id;
    if (user.len <= prefix.len || memcmp(user.base, prefix.base, prefix.len) != 0)
        return 0;
    struct slice digits = slice_make(user.base + prefix.len, user.len - prefix.len);
    bool is_number = digits.base[0] >= '1' && digits.base[0] <= '9' && slice_to_i64(digits, &id);
    return is_number ? id : 0;
}

/* The choice that the purchase is one of, or NULL. They come in order of id. */
static struct choice *choice_of(struct sales *sales, sqlite3_stmt *row)
{
    int64_t id = sqlite3_column_int64(row, SOLD_ID);
    while (sales->begun < sales->count && sales->choices[sales->begun].purchase_id <= id)
        sales->begun++;
    if (sales->begun == 0)
        return NULL;
    struct choice *choice = &sales->choices[sales->begun - 1];
    bool is_it = id < choice->end && sqlite3_column_int64(row, SOLD_PRODUCT) == choice->product_id &&
                 machine_of(db_text(row, SOLD_USER)) == choice->machine_id;
    return is_it ? choice : NULL;
}

static enum err run(sqlite3 *db, sqlite3_stmt *stmt, struct error *error)
{
    enum err err = sqlite3_step(stmt) == SQLITE_DONE ? ERR_NONE : db_fail(db, "note the sales", error);
    sqlite3_reset(stmt);
    return err;
}

static enum err read_sold(struct sales *sales, sqlite3 *db, struct error *error)
{
    static const char doing[] = "read what machines have sold";
    sqlite3_stmt *row = NULL;
    sqlite3_stmt *stray = NULL;
    enum err err = db_prepare(db, sold_sql, doing, &row, error);
    if (err == ERR_NONE)
        err = db_prepare(db, "INSERT INTO temp.audit_strays VALUES (:id)", doing, &stray, error);
    int rc = SQLITE_DONE;
    while (err == ERR_NONE && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        struct choice *choice = choice_of(sales, row);
        if (choice != NULL) {
            choice->bought++;
            continue;
        }
        db_bind_i64(stray, ":id", sqlite3_column_int64(row, SOLD_ID));
        err = run(db, stray, error);
    }
    if (err == ERR_NONE && rc != SQLITE_DONE)
        err = db_fail(db, doing, error);
    sqlite3_finalize(row);
    sqlite3_finalize(stray);
    return err;
}

static enum err note_short(const struct sales *sales, sqlite3 *db, struct error *error)
{
    sqlite3_stmt *stmt;
    enum err err = db_prepare(db,
        "INSERT INTO temp.audit_short VALUES"
        " (:id, :machine, :product, :units, :purchase, :chosen, :bought)",
        "note the sales", &stmt, error);
    for (size_t i = 0; i < sales->count && err == ERR_NONE; i++) {
        const struct choice *choice = &sales->choices[i];
        if (choice->bought == choice->units)
            continue;
        db_bind_i64(stmt, ":id", choice->id);
        db_bind_i64(stmt, ":machine", choice->machine_id);
        db_bind_i64(stmt, ":product", choice->product_id);
        db_bind_i64(stmt, ":units", choice->units);
        db_bind_i64(stmt, ":purchase", choice->purchase_id);
        db_bind_i64(stmt, ":chosen", choice->chosen_ms);
        db_bind_i64(stmt, ":bought", choice->bought);
        err = run(db, stmt, error);
    }
    sqlite3_finalize(stmt);
    return err;
}

static enum err note_shared(const struct sales *sales, sqlite3 *db, struct error *error)
{
    sqlite3_stmt *stmt;
    const struct choice *last = sales->choices; /* of those so far the one that ends last */
    enum err err =
        db_prepare(db, "INSERT INTO temp.audit_shared_units VALUES (:id, :machine, :purchase, :before)",
            "note the sales", &stmt, error);
    for (size_t i = 1; i < sales->count && err == ERR_NONE; i++) {
        const struct choice *choice = &sales->choices[i];
        if (choice->purchase_id < last->end) {
            db_bind_i64(stmt, ":id", choice->id);
            db_bind_i64(stmt, ":machine", choice->machine_id);
            db_bind_i64(stmt, ":purchase", choice->purchase_id);
            db_bind_i64(stmt, ":before", last->id);
            err = run(db, stmt, error);
        }
        if (choice->end > last->end)
            last = choice;
    }
    sqlite3_finalize(stmt);
    return err;
}

enum err machine_sales_make(sqlite3 *db, struct error *error)
{
    struct sales sales = {.choices = NULL};
    enum err err = db_exec(db, tables_sql, "make the tables of the audit", error);
    if (err == ERR_NONE)
        err = read_choices(&sales, db, error);
    if (err == ERR_NONE)
        err = read_sold(&sales, db, error);
    if (err == ERR_NONE)
        err = note_short(&sales, db, error);
    if (err == ERR_NONE)
        err = note_shared(&sales, db, error);
    free(sales.choices);
    return err;
}
