/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store keeps the world. This is the one place where the kinds of store meet: the embedded one
 * (sqlite.c), later PostgreSQL, and the wrapper that fails on request (fault.c). A store is used by the
 * engine thread alone, but for the readers, of which each net thread opens one of its own.
 *
 * What a store promises: when commit returns ERR_NONE, everything in the list of changes is on disk and was
 * flushed, as one unit; when it returns ERR_COMMIT_UNKNOWN, it is there as one unit or not at all, and only
 * opening the store again tells which; with any other error nothing was changed.
 */
#ifndef DOORBUSTER_STORE_STORE_H
#define DOORBUSTER_STORE_STORE_H

#include "base/err.h"
#include "base/slice.h"
#include "core/command.h"
#include "core/world.h"

struct store;
struct store_reader;

/* A purchase as GET /api/v1/purchases tells it. */
struct purchase_row {
    int64_t id;
    int64_t purchased_ms;
};

struct store_operations {
    enum err (*load)(struct store *store, struct world *world, const struct command *const *commands,
        size_t count, struct error *error);
    enum err (*commit)(struct store *store, const struct world *world, struct error *error);
    enum err (*probe)(struct store *store, struct error *error);
    enum err (*reader_open)(struct store *store, struct store_reader **reader, struct error *error);
    enum err (*reader_purchase)(struct store_reader *reader, struct slice sku, struct slice user,
        struct purchase_row *row, bool *is_found, struct error *error);
    void (*reader_close)(struct store_reader *reader);
    void (*close)(struct store *store);
};

/* First member of every kind of store. */
struct store {
    const struct store_operations *operations;
    const char *kind; /* "sqlite": for /health and logs */
};

/* First member of every kind of reader. */
struct store_reader {
    struct store *store;
};

/*
 * Brings the rows that these commands touch into the world. Called with count 0 once before anything else: an
 * embedded store then loads everything, with all sequences.
 */
MUST_CHECK static inline enum err store_load(struct store *store, struct world *world,
    const struct command *const *commands, size_t count, struct error *error)
{
    return store->operations->load(store, world, commands, count, error);
}

/* Writes world->changes in one transaction and flushes it. Blocks for the flush. Does not change the world.
 */
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

/* The latest purchase of that product by that user. */
MUST_CHECK static inline enum err store_read_purchase(struct store_reader *reader, struct slice sku,
    struct slice user, struct purchase_row *row, bool *is_found, struct error *error)
{
    return reader->store->operations->reader_purchase(reader, sku, user, row, is_found, error);
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
