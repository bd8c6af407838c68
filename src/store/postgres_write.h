/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a commit share: postgres_write.c (the transaction; products and stored answers),
 * postgres_write_orders.c (work, orders, accounts, trading orders), postgres_write_pool.c (machines, leases,
 * tickets), postgres_write_wallets.c (wallets, transfers). Engine thread.
 */
#ifndef DOORBUSTER_STORE_POSTGRES_WRITE_H
#define DOORBUSTER_STORE_POSTGRES_WRITE_H

#include "store/postgres_priv.h"

struct writer {
    struct postgres_store *store;
    const struct world *world;
    bool is_started[SHEET_COUNT];
    bool is_commit_sent;
    bool is_commit_refused; /* the server's answer to COMMIT itself is an error */
    size_t sent_count;      /* statements whose results are to come */
    struct error *error;
};

/* The columns of a sheet, for another row. */
struct column *writer_row(struct writer *writer, enum sheet_name sheet);

MUST_CHECK enum err writer_send(struct writer *writer, enum postgres_statement statement);

/* The changes of work, orders, accounts and trading orders. */
MUST_CHECK enum err writer_put_order_change(struct writer *writer, const struct change *change);

/* The changes of machines, leases, tickets and labels; false: it is none of them. */
MUST_CHECK bool writer_put_pool_change(struct writer *writer, const struct change *change, enum err *err);

/* The changes of wallets and transfers; false: it is none of them. */
MUST_CHECK bool writer_put_wallet_change(struct writer *writer, const struct change *change);

/* What other nodes have to hear of the pool. */
enum pool_news { POOL_AS_IT_WAS, POOL_CHANGED, POOL_LINE_MOVED };
enum pool_news writer_pool_news(const struct writer *writer);

#endif
