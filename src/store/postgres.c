/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store that several nodes share, from opening to closing. PostgreSQL decides between nodes: there is no
 * leader, and no node knows the others.
 *
 * A batch takes two round trips. Load (postgres_load.c): BEGIN, lock the products that the commands name, in
 * order of id; what has happened to them by then is what the statements after the lock see, because under
 * READ COMMITTED each has a snapshot of its own. So buyers and stored answers are looked up after the lock.
 * Then the rules decide, on the same code as ever. Commit (postgres_write.c): the changes as a few statements
 * over arrays, a notification for the other nodes, COMMIT.
 *
 * Why nothing is sold twice: a purchase is decided only on a product whose row the node holds locked, from
 * what it read after it had the lock, and committed before the lock goes. Why nothing is acknowledged that is
 * not there: a reply waits for the server's answer to COMMIT. When that answer is lost, the outcome is
 * unknown, said to be so, and not guessed: the next load, of the same request with its Idempotency-Key or of
 * any other, sees what is there. It waits for our old transaction, if that is still under way, at the lock of
 * the row.
 *
 * Its other parts: postgres_link.c (pipelines), postgres_array.c (binary values), postgres_listener.c (what
 * other nodes change), postgres_reader.c and postgres_questions.c (plain reads), postgres_schema.c (tables),
 * postgres_error.c (failures).
 */
#include "store/postgres.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/postgres_priv.h"

static void close_store(struct store *base)
{
    struct postgres_store *store = (struct postgres_store *)base;
    if (store->listener != NULL)
        postgres_listener_destroy(store->listener);
    link_close(&store->link);
    for (int i = 0; i < LOAD_COLUMNS_MAX; i++)
        column_fini(&store->columns[i]);
    for (int i = 0; i < SHEET_COUNT * SHEET_COLUMNS_MAX; i++)
        column_fini(&store->sheets[i / SHEET_COLUMNS_MAX][i % SHEET_COLUMNS_MAX]);
    free(store->entries);
    free(store->url);
    free(store);
}

static const struct store_operations operations = {
    .load = postgres_load,
    .load_due = postgres_load_due,
    .abandon = postgres_abandon,
    .commit = postgres_commit,
    .probe = postgres_probe,
    .watch = postgres_watch,
    .unwatch = postgres_unwatch,
    .reader_open = postgres_reader_open,
    .reader_purchases = postgres_reader_purchases,
    .reader_sale_totals = postgres_reader_sale_totals,
    .reader_ask = postgres_reader_ask,
    .reader_close = postgres_reader_close,
    .close = close_store,
};

/* All nodes have the same one. */
static enum err read_secret(struct postgres_store *store, struct error *error)
{
    char name[POSTGRES_NAME_LEN_MAX];
    PGresult *result = NULL;
    link_begin(&store->link, POSTGRES_READ_MS);
    enum err err = link_send(&store->link, STATEMENT_READ_SECRET, error);
    if (err == ERR_NONE)
        err = link_sync(&store->link, error);
    if (err == ERR_NONE)
        err = link_result(&store->link, STATEMENT_READ_SECRET, &result, error);
    bool is_there =
        err == ERR_NONE && PQntuples(result) == 1 && PQgetlength(result, 0, 0) == STORE_SECRET_BYTES;
    if (is_there)
        memcpy(store->base.secret, PQgetvalue(result, 0, 0), STORE_SECRET_BYTES);
    PQclear(result);
    if (err == ERR_NONE)
        err = link_end(&store->link, error);
    if (err != ERR_NONE || is_there)
        return err;
    postgres_name(store->url, name);
    return error_set(error, ERR_CORRUPT,
        "secrets of %s must hold one row 'tokens' with %d bytes, and does not; restore it from a backup, or "
        "put %d random bytes there, after which everybody has to log in again",
        name, STORE_SECRET_BYTES, STORE_SECRET_BYTES);
}

enum err postgres_store_open(const char *url, struct store **store_out, struct error *error)
{
    struct postgres_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a store");
    store->base = (struct store){.operations = &operations, .kind = "postgres", .is_shared = true};
    store->url = strdup(url);
    unsigned char random[8];
    char hex[2 * sizeof random + 1];
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(hex, sizeof hex, random, sizeof random);
    (void)snprintf(store->application_name, sizeof store->application_name, "doorbuster node %s", hex);
    link_init(&store->link, store->url, store->application_name, postgres_statements, STATEMENT_COUNT);
    store->listener = postgres_listener_create(store);
    enum err err = store->url == NULL || store->listener == NULL
                       ? error_set(error, ERR_MEMORY, "no memory for a store")
                       : link_open(&store->link, error);
    if (err == ERR_NONE)
        err = read_secret(store, error);
    if (err != ERR_NONE) {
        close_store(&store->base);
        return err;
    }
    /* The listener looks again twice a second; until then nothing may happen by this machine's clock. */
    atomic_store(&store->base.clock_ahead_ms, store->link.clock_ahead_ms);
    *store_out = &store->base;
    return ERR_NONE;
}
