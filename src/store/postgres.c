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
 * other nodes change), postgres_reader.c (plain reads), postgres_schema.c (tables), postgres_error.c
 * (failures).
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
    for (int i = 0; i < COLUMNS_MAX; i++)
        column_fini(&store->columns[i]);
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
    .reader_close = postgres_reader_close,
    .close = close_store,
};

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
    if (err != ERR_NONE) {
        close_store(&store->base);
        return err;
    }
    /* The listener looks again twice a second; until then nothing may happen by this machine's clock. */
    atomic_store(&store->base.clock_ahead_ms, store->link.clock_ahead_ms);
    *store_out = &store->base;
    return ERR_NONE;
}
