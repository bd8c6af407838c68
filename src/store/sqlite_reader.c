/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers: a read-only connection each, used by one thread. The index of purchases proposes rows, the row
 * decides. A purchase is in the index before its commit returns, and each look begins a new snapshot, so what
 * was committed before the call is found.
 */
#include "store/sqlite_priv.h"

#include <stdlib.h>

#include "base/ensure.h"

/* Readers wait for nobody, except while the log of a crashed store is recovered. */
enum { READ_BUSY_TIMEOUT_MS = 2000 };

static const char purchase_text[] =
    "SELECT purchased_at FROM purchase_log JOIN products ON products.id = product_id"
    " WHERE purchase_log.id = ?1 AND user_id = ?2 AND sku = ?3";

/* One statement, so one snapshot. The ids lead to the rows: without an index by product there is no other way
 * but to read them all. Only users who pay begin with a blank (core/machine.h, wallet.h). */
static const char sale_totals_text[] =
    "SELECT initial_stock, stock, per_user_limit, state, coalesce(end_reason, ''), units, buyers,"
    " by_payers FROM products,"
    " (SELECT count(*) AS units, count(DISTINCT user_id) FILTER (WHERE user_id NOT LIKE ' %') AS buyers,"
    " count(*) FILTER (WHERE user_id LIKE ' %') AS by_payers FROM purchase_log"
    " WHERE id BETWEEN ?2 AND ?3 AND product_id = ?1) WHERE products.id = ?1";

static int open_connection(struct sqlite_reader *reader, const char *path)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(path, &reader->db, flags, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(reader->db, READ_BUSY_TIMEOUT_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v3(
            reader->db, purchase_text, -1, SQLITE_PREPARE_PERSISTENT, &reader->purchase, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v3(
            reader->db, sale_totals_text, -1, SQLITE_PREPARE_PERSISTENT, &reader->sale_totals, NULL);
    return rc == SQLITE_OK ? sqlite_ask_init(reader) : rc;
}

enum err reader_open(struct store *base, struct store_reader **reader_out, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    struct sqlite_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a reader");
    reader->base.store = base;
    int rc = open_connection(reader, store->path);
    if (rc != SQLITE_OK) {
        enum err err = sqlite_failure(reader->db, rc, store->path, "open for reading", error);
        reader_close(&reader->base);
        return err;
    }
    *reader_out = &reader->base;
    return ERR_NONE;
}

/* SQLITE_ROW: that row is the user's; SQLITE_DONE: it is not. */
static int look_at_row(
    struct sqlite_reader *reader, int64_t id, struct slice sku, struct slice user, struct purchase_row *row)
{
    sqlite3_stmt *statement = reader->purchase;
    bind_i64(statement, 1, id);
    bind_text(statement, 2, user);
    bind_text(statement, 3, sku);
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *row = (struct purchase_row){.id = id, .purchased_ms = sqlite3_column_int64(statement, 0)};
    (void)sqlite3_reset(statement);
    return rc;
}

static enum err find(struct sqlite_reader *reader, struct purchase_lookup *lookup, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)reader->base.store;
    lookup->is_found = false;
    if (lookup->sku.len > SKU_LEN_MAX || lookup->user.len > USER_LEN_MAX)
        return ERR_NONE;
    uint64_t hash = purchase_index_hash(&store->index, lookup->sku, lookup->user);
    int64_t id = INT64_MAX;
    while (!lookup->is_found && (id = purchase_index_find(&store->index, hash, id)) != 0) {
        int rc = look_at_row(reader, id, lookup->sku, lookup->user, &lookup->row);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            return sqlite_failure(reader->db, rc, store->path, "read from", error);
        lookup->is_found = rc == SQLITE_ROW;
    }
    return ERR_NONE;
}

enum err reader_purchases(
    struct store_reader *base, struct purchase_lookup *lookups, size_t count, struct error *error)
{
    enum err err = ERR_NONE;
    for (size_t i = 0; i < count && err == ERR_NONE; i++)
        err = find((struct sqlite_reader *)base, &lookups[i], error);
    return err;
}

enum err reader_sale_totals(struct store_reader *base, struct sale_totals *totals, struct error *error)
{
    struct sqlite_reader *reader = (struct sqlite_reader *)base;
    const struct sqlite_store *store = (const struct sqlite_store *)base->store;
    sqlite3_stmt *row = reader->sale_totals;
    bind_i64(row, 1, totals->product_id);
    bind_i64(row, 2, totals->purchase_id_first);
    bind_i64(row, 3, totals->purchase_id_last);
    int rc = sqlite3_step(row);
    enum err err = ERR_NONE;
    totals->is_found = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW) {
        totals->initial_stock = sqlite3_column_int64(row, 0);
        totals->stock = sqlite3_column_int64(row, 1);
        totals->per_user_limit = sqlite3_column_int64(row, 2);
        totals->unit_count = sqlite3_column_int64(row, 5);
        totals->buyer_count = sqlite3_column_int64(row, 6);
        totals->payer_unit_count = sqlite3_column_int64(row, 7);
        if (!sale_state_from_name(row_text(row, 3), &totals->state) ||
            !end_reason_from_name(row_text(row, 4), &totals->end_reason))
            err =
                error_set(error, ERR_CORRUPT, "product %lld in %s is in a state that doorbuster never writes",
                    (long long)totals->product_id, store->path);
    } else if (rc != SQLITE_DONE) {
        err = sqlite_failure(reader->db, rc, store->path, "read from", error);
    }
    (void)sqlite3_reset(row);
    return err;
}

void reader_close(struct store_reader *base)
{
    struct sqlite_reader *reader = (struct sqlite_reader *)base;
    (void)sqlite3_finalize(reader->purchase);
    (void)sqlite3_finalize(reader->sale_totals);
    sqlite_ask_fini(reader);
    int rc = sqlite3_close(reader->db);
    ENSURE(rc == SQLITE_OK);
    free(reader);
}
