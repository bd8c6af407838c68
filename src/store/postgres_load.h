/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a load share: postgres_load.c (the plan and the way), postgres_load_products.c,
 * postgres_load_orders.c, postgres_load_wallets.c, postgres_load_pool.c. Each of the latter has what it sends
 * and what it receives, in the same order. Engine thread.
 */
#ifndef DOORBUSTER_STORE_POSTGRES_LOAD_H
#define DOORBUSTER_STORE_POSTGRES_LOAD_H

#include "store/postgres_priv.h"

/* Ids to give out, of one sequence. */
struct reservation {
    const char *name; /* of the sequence */
    int64_t block;    /* so many at least are taken at a time */
    int64_t *next;    /* the world's */
    int64_t *end;
    int64_t needed; /* at most, by this load */
    int64_t wanted; /* 0: what is left of the last block is enough */
};

enum reserved_ids { IDS_PRODUCTS, IDS_PURCHASES, IDS_WORK, IDS_ACCOUNTS, IDS_TRANSFERS, IDS_COUNT };

struct loader {
    struct postgres_store *store;
    struct world *world;
    size_t entry_count; /* commands that name a product, in store->entries, by sku */
    size_t other_count; /* the others, in store->entries after those, in any order */
    size_t kind_counts[COMMAND_KIND_COUNT];
    size_t key_count;
    size_t wallet_count;                   /* commands that name a wallet, among all of them */
    int64_t opening_count;                 /* accounts that come with one, at most */
    int64_t claim_counts[WORK_KIND_COUNT]; /* how much work of a kind may be claimed */
    struct reservation ids[IDS_COUNT];
    int64_t unit_count;  /* that the commands may buy, at most */
    bool holds_pool;     /* a command needs the pool */
    bool refreshes_pool; /* others have changed it, and no command needs it */
    int64_t pool_known;  /* version of the copy of the pool, -1: there is none yet */
    bool has_pool;       /* its row has come */
    bool was_all_of_pool;
    struct error *error;
};

/* The i-th command of the batch, whatever it names. */
static inline const struct command *loader_command(const struct loader *loader, size_t i)
{
    return loader->store->entries[i].command;
}

/* The i-th command that does not name a product. */
static inline const struct command *loader_other(const struct loader *loader, size_t i)
{
    return loader->store->entries[loader->entry_count + i].command;
}

/* --- postgres_load.c --- */

enum err loader_no_memory(struct loader *loader);

MUST_CHECK enum err loader_send(struct loader *loader, enum postgres_statement statement);

/* The columns 0..count - 1 are the parameters of the next statement. */
MUST_CHECK enum err loader_send_columns(struct loader *loader, int count, enum postgres_statement statement);

typedef enum err take_rows(struct loader *loader, const PGresult *result);

/* The next result goes through `take`, which may be NULL. */
MUST_CHECK enum err loader_receive(struct loader *loader, enum postgres_statement statement, take_rows *take);

/* --- postgres_load_products.c --- */

/* Sorts the entries, which are not in the order of skus. */
void loader_sort_products(struct loader *loader);

/* What the batch locks it sees anyway, so it need not be refreshed. */
void loader_spare_locked(struct loader *loader);

/* What other nodes have changed; before BEGIN, since it needs no lock. */
MUST_CHECK enum err loader_send_refresh(struct loader *loader);
MUST_CHECK enum err loader_receive_refresh(struct loader *loader);

/* Locks the products; their buyers, the stored answers. */
MUST_CHECK enum err loader_send_products(struct loader *loader);
MUST_CHECK enum err loader_receive_products(struct loader *loader);

take_rows loader_take_held_products;
take_rows loader_take_seen_products;
take_rows loader_take_keys;

/* --- postgres_load_orders.c: work, orders, accounts; the row of the trading orders --- */

MUST_CHECK enum err loader_send_others(struct loader *loader);
MUST_CHECK enum err loader_receive_others(struct loader *loader);

MUST_CHECK enum err loader_send_intake(struct loader *loader);
MUST_CHECK enum err loader_receive_intake(struct loader *loader);

/* --- postgres_load_wallets.c: wallets that commands name, and what they have decided before --- */

MUST_CHECK enum err loader_send_wallets(struct loader *loader);
MUST_CHECK enum err loader_receive_wallets(struct loader *loader);

/* --- postgres_load_pool.c: machines, tickets, and names of products, which are given out under the same lock
 * --- */

/* `look` says how the row of the pool is read: READ, LOCK, or LOCK_DUE, which may find it taken. */
MUST_CHECK enum err loader_send_pool(struct loader *loader, enum postgres_statement look);
MUST_CHECK enum err loader_receive_pool(struct loader *loader, enum postgres_statement look);

/* After the pool: are there products of the names that commands want to give? */
MUST_CHECK enum err loader_send_names(struct loader *loader);
MUST_CHECK enum err loader_receive_names(struct loader *loader);

#endif
