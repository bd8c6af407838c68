/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store keeps the world. This is the one place where the kinds of store meet: the embedded one
 * (sqlite.c), PostgreSQL (postgres.c), and the wrapper that fails on request (fault.c). A store is used by
 * the engine thread alone, but for the readers, each of which belongs to one thread.
 *
 * What a store promises: when commit returns ERR_NONE, everything in the list of changes is on disk and was
 * flushed, as one unit; when it returns ERR_COMMIT_UNKNOWN, it is there as one unit or not at all, and only
 * opening the store again (the embedded one) or the next load (a shared one) tells which; with any other
 * error nothing was changed.
 *
 * A shared store is written by other nodes too. What a load brings in stays locked until commit or abandon,
 * one of which ends every load; commit may answer ERR_CONFLICT, after which the same batch, loaded and
 * decided again, will see what the other node did.
 */
#ifndef DOORBUSTER_STORE_STORE_H
#define DOORBUSTER_STORE_STORE_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/slice.h"
#include "core/command.h"
#include "core/world.h"
#include "store/question.h"

struct store;
struct store_reader;

/* What do the rows say that a product has sold? And the answer. */
struct sale_totals {
    int64_t product_id;
    /* Asked: only purchases with these ids are counted. A store with an index by product counts all of them.
     */
    int64_t purchase_id_first;
    int64_t purchase_id_last;
    bool is_found; /* there is such a product; only then the rest is filled in, all as of one moment */
    enum sale_state state;
    enum end_reason end_reason;
    int64_t initial_stock;
    int64_t stock;
    int64_t per_user_limit;
    int64_t unit_count;       /* rows of purchases */
    int64_t payer_unit_count; /* those of machines and wallets: who pays may have as many as he likes */
    int64_t buyer_count;      /* different users of the others */
};

/* Up to when things are due, for store_load_due. */
struct due {
    int64_t edge_ms; /* sales that start or end at or before it */
    int64_t key_ms;  /* stored answers made at or before it */
    size_t key_count_max;
    size_t keys_kept_max; /* beyond so many the oldest are due whatever their age */
};

struct store_operations {
    enum err (*load)(struct store *store, struct world *world, const struct command *const *commands,
        size_t count, struct error *error);
    enum err (*load_due)(
        struct store *store, struct world *world, const struct due *due, struct error *error);
    void (*abandon)(struct store *store);
    enum err (*commit)(struct store *store, const struct world *world, struct error *error);
    enum err (*probe)(struct store *store, struct error *error);
    enum err (*watch)(
        struct store *store, void (*on_change)(void *context), void *context, struct error *error);
    void (*unwatch)(struct store *store);
    enum err (*reader_open)(struct store *store, struct store_reader **reader, struct error *error);
    enum err (*reader_purchases)(
        struct store_reader *reader, struct purchase_lookup *lookups, size_t count, struct error *error);
    enum err (*reader_sale_totals)(
        struct store_reader *reader, struct sale_totals *totals, struct error *error);
    enum err (*reader_ask)(struct store_reader *reader, struct question *question, struct error *error);
    void (*reader_close)(struct store_reader *reader);
    void (*close)(struct store *store);
};

enum { STORE_SECRET_BYTES = 32 };

/* First member of every kind of store. */
struct store {
    const struct store_operations *operations;
    const char *kind; /* "sqlite", "postgres": for /health and logs */
    bool is_shared;   /* other nodes write it too, over a network: readers block for a round trip */
    /* Shared: all that others had committed by then (clock_mono_ns) is in the world. Engine thread. */
    int64_t confirmed_ns;
    /* Shared: how far the database's clock is ahead of ours; all nodes go by it. Any thread. */
    atomic_int_fast64_t clock_ahead_ms;
    /* The store's own secret, the same for all servers of it: signs what they hand out. Constant once the
     * world has been loaded for the first time. */
    unsigned char secret[STORE_SECRET_BYTES];
};

/* First member of every kind of reader. */
struct store_reader {
    struct store *store;
};

/*
 * Brings the rows that these commands touch into the world, and with them what other nodes have changed since
 * the last load. With count 0, once before anything else: everything that the world keeps between batches (an
 * embedded store: all there is); later, on a shared store: only what others have changed, and nothing is left
 * to commit. ERR_UNAVAILABLE, ERR_IO: nothing was loaded that a batch could be decided on.
 */
MUST_CHECK static inline enum err store_load(struct store *store, struct world *world,
    const struct command *const *commands, size_t count, struct error *error)
{
    return store->operations->load(store, world, commands, count, error);
}

/*
 * Shared stores, before a tick: brings in and locks the sales and the stored answers that are due and that no
 * other node is busy with. An embedded world has them already.
 */
MUST_CHECK static inline enum err store_load_due(
    struct store *store, struct world *world, const struct due *due, struct error *error)
{
    return store->is_shared ? store->operations->load_due(store, world, due, error) : ERR_NONE;
}

/* Ends a load that will not be committed: the locks go. */
static inline void store_abandon(struct store *store)
{
    if (store->is_shared)
        store->operations->abandon(store);
}

/* Ends what store_watch has begun: on_change is not being called when this returns, and not any more.
 * Harmless when nobody watches. */
static inline void store_unwatch(struct store *store)
{
    if (store->is_shared)
        store->operations->unwatch(store);
}

/*
 * From now on on_change is called, on a thread of the store's, when other nodes have changed something or
 * time has passed without: the next load will bring it in. It must not block. An embedded store never calls.
 */
MUST_CHECK static inline enum err store_watch(
    struct store *store, void (*on_change)(void *context), void *context, struct error *error)
{
    return store->is_shared ? store->operations->watch(store, on_change, context, error) : ERR_NONE;
}

/* Writes world->changes in one transaction and flushes it. Blocks for the flush. Does not change the world.
 * On a shared store without changes: makes sure that all that the load has seen is durable. */
MUST_CHECK static inline enum err store_commit(
    struct store *store, const struct world *world, struct error *error)
{
    return store->operations->commit(store, world, error);
}

/* Can the store be written right now? Engine thread; quick; changes nothing that anybody can see. */
MUST_CHECK static inline enum err store_probe(struct store *store, struct error *error)
{
    return store->operations->probe(store, error);
}

/* A reader sees everything that was committed before its call began. One thread a reader; close it before the
 * store. */
MUST_CHECK static inline enum err store_reader_open(
    struct store *store, struct store_reader **reader, struct error *error)
{
    return store->operations->reader_open(store, reader, error);
}

/* The latest purchase of each product by each user asked for. */
MUST_CHECK static inline enum err store_read_purchases(
    struct store_reader *reader, struct purchase_lookup *lookups, size_t count, struct error *error)
{
    return reader->store->operations->reader_purchases(reader, lookups, count, error);
}

/* The same for one. */
MUST_CHECK static inline enum err store_read_purchase(struct store_reader *reader, struct slice sku,
    struct slice user, struct purchase_row *row, bool *is_found, struct error *error)
{
    struct purchase_lookup lookup = {.sku = sku, .user = user};
    enum err err = store_read_purchases(reader, &lookup, 1, error);
    *is_found = lookup.is_found;
    *row = lookup.row;
    return err;
}

/* Counts the purchases of one product: blocks for as long as that takes, some seconds for a million. */
MUST_CHECK static inline enum err store_read_sale_totals(
    struct store_reader *reader, struct sale_totals *totals, struct error *error)
{
    return reader->store->operations->reader_sale_totals(reader, totals, error);
}

/*
 * Any question but QUESTION_PURCHASE, which store_read_purchases answers many of at once. The caller ends it
 * with question_fini, whatever came of it.
 */
MUST_CHECK static inline enum err store_ask(
    struct store_reader *reader, struct question *question, struct error *error)
{
    return reader->store->operations->reader_ask(reader, question, error);
}

static inline void store_reader_close(struct store_reader *reader)
{
    reader->store->operations->reader_close(reader);
}

/* Gives everything back; what was committed stays. */
static inline void store_close(struct store *store)
{
    store->operations->close(store);
}

#endif
