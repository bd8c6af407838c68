/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tables into the world, for one batch: one pipeline, one round trip. What is sent and what is
 * received are two walks over the same plan, so that results meet their statements.
 *
 * Locks are taken in one order by all nodes, so that no two nodes wait for one another:
 *
 *     products, by id
 *     work that commands name, by id (the work of a payment for who names its order)
 *     orders that commands name, by id
 *     the names of accounts, all at once, for who adds one
 *     wallets that commands name, who pays and who gets it, by account
 *     the row that stands for all trading orders
 *     the row that stands for all machines and tickets, and for the names of products
 *
 * What is looked for because it is due (sales, stored answers, work with its orders) is not waited for: what
 * others hold is skipped. An order is changed only by who holds its work, or has seen that there is none.
 *
 * What a commit writes waits only for what another commit writes, never for a load: two that add the same
 * name, key or nonce meet in the order of the sheets, and within one of them in the order of what is unique
 * there.
 *
 * Ids to give out are reserved in blocks, in a transaction of their own before the batch's that does not wait
 * for its flush: it is durable before anything is that used the ids, since the log is written in order. What
 * has not been used by the time the connection is lost may belong to somebody else and is given up.
 */
#include "store/postgres_load.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "core/world_pool.h"

enum {
    PURCHASE_ID_BLOCK = 10000, /* at least; a node that stops loses what is left of it, which is harmless */
    PRODUCT_ID_BLOCK = 16,
    WORK_ID_BLOCK = 10000,
    ACCOUNT_ID_BLOCK = 100,
    TRANSFER_ID_BLOCK = 10000,
    DUE_SALES_MAX = 1000, /* in one tick; postgres_statements.c says the same */
    WORK_OF_FINISH = 2,   /* a payment that has an outcome is told to the shop and to the customer */
    SECOND_ATTEMPT_MS = 1000,
    NS_PER_MS = 1000000,
};

enum err loader_no_memory(struct loader *loader)
{
    return error_set(loader->error, ERR_MEMORY, "no memory for the rows of a batch");
}

/* --- ids --- */

static void loader_init(
    struct loader *loader, struct postgres_store *store, struct world *world, struct error *error)
{
    *loader = (struct loader){
        .store = store,
        .world = world,
        .ids =
            {
                [IDS_PRODUCTS] = {"products", PRODUCT_ID_BLOCK, &world->next_product_id,
                    &world->product_id_end, 0, 0},
                [IDS_PURCHASES] = {"purchases", PURCHASE_ID_BLOCK, &world->next_purchase_id,
                    &world->purchase_id_end, 0, 0},
                [IDS_WORK] = {"work", WORK_ID_BLOCK, &world->next_work_id, &world->work_id_end, 0, 0},
                [IDS_ACCOUNTS] = {"accounts", ACCOUNT_ID_BLOCK, &world->next_account_id,
                    &world->account_id_end, 0, 0},
                [IDS_TRANSFERS] = {"transfers", TRANSFER_ID_BLOCK, &world->next_transfer_id,
                    &world->transfer_id_end, 0, 0},
            },
        .error = error,
    };
}

/*
 * What was reserved on a connection that is gone is given up: a server that crashed may have forgotten a
 * reservation that nothing flushed, and would give the same ids to another node.
 */
static void plan_ids(struct loader *loader)
{
    struct postgres_store *store = loader->store;
    bool is_new_link = store->ids_link != store->link.opened_count;
    store->ids_link = store->link.opened_count;
    for (int i = 0; i < IDS_COUNT; i++) {
        struct reservation *ids = &loader->ids[i];
        if (is_new_link)
            *ids->next = *ids->end;
        bool is_enough = *ids->end - *ids->next >= ids->needed;
        int64_t wanted = ids->needed > ids->block ? ids->needed : ids->block;
        ids->wanted = is_enough ? 0 : wanted;
    }
}

static enum err send_reservation(struct loader *loader, const struct reservation *ids)
{
    char memory[8];
    enum err err = loader_send(loader, STATEMENT_BEGIN);
    if (err == ERR_NONE)
        err = loader_send(loader, STATEMENT_UNSYNCED);
    if (err != ERR_NONE)
        return err;
    link_param(&loader->store->link, slice_cstr(ids->name));
    link_param(&loader->store->link, postgres_i64(memory, ids->wanted));
    err = loader_send(loader, STATEMENT_RESERVE_IDS);
    return err == ERR_NONE ? loader_send(loader, STATEMENT_COMMIT) : err;
}

static enum err send_reservations(struct loader *loader)
{
    enum err err = ERR_NONE;
    for (int i = 0; i < IDS_COUNT && err == ERR_NONE; i++) {
        if (loader->ids[i].wanted > 0)
            err = send_reservation(loader, &loader->ids[i]);
    }
    return err;
}

static enum err receive_reservation(struct loader *loader, const struct reservation *ids)
{
    PGresult *result;
    enum err err = loader_receive(loader, STATEMENT_BEGIN, NULL);
    if (err == ERR_NONE)
        err = loader_receive(loader, STATEMENT_UNSYNCED, NULL);
    if (err == ERR_NONE)
        err = link_result(&loader->store->link, STATEMENT_RESERVE_IDS, &result, loader->error);
    if (err != ERR_NONE)
        return err;
    if (PQntuples(result) != 1) {
        PQclear(result);
        return error_set(loader->error, ERR_CORRUPT, "a row of sequences is gone; restore a backup");
    }
    int64_t first = result_i64(result, 0, 0);
    PQclear(result);
    err = loader_receive(loader, STATEMENT_COMMIT, NULL);
    if (err != ERR_NONE)
        return err; /* another node may get the same ones */
    if (first !=
        *ids->end) /* what is left of the block before is given up, unless the new one continues it */
        *ids->next = first;
    *ids->end = first + ids->wanted;
    return ERR_NONE;
}

static enum err receive_reservations(struct loader *loader)
{
    enum err err = ERR_NONE;
    for (int i = 0; i < IDS_COUNT && err == ERR_NONE; i++) {
        if (loader->ids[i].wanted > 0)
            err = receive_reservation(loader, &loader->ids[i]);
    }
    return err;
}

/* --- the plan --- */

static bool make_room(struct postgres_store *store, size_t count)
{
    if (count <= store->entries_size)
        return true;
    struct batch_entry *entries = realloc(store->entries, count * sizeof *entries);
    if (entries == NULL)
        return false;
    store->entries = entries;
    store->entries_size = count;
    return true;
}

/* The ids that the rules may use up. */
static void plan_needs(struct loader *loader)
{
    const size_t *counts = loader->kind_counts;
    int64_t entries = (int64_t)loader->entry_count;
    loader->ids[IDS_PRODUCTS].needed =
        (int64_t)(counts[COMMAND_PRODUCT_CREATE] + counts[COMMAND_PRODUCT_UPDATE] +
                  counts[COMMAND_PRODUCT_ADD]);
    loader->ids[IDS_PURCHASES].needed = loader->unit_count;
    loader->ids[IDS_WORK].needed = entries /* each may end a sale */
                                   + (int64_t)counts[COMMAND_ORDER_PLACE] +
                                   WORK_OF_FINISH * (int64_t)counts[COMMAND_WORK_FINISH];
    loader->ids[IDS_ACCOUNTS].needed = (int64_t)counts[COMMAND_ACCOUNT_REGISTER];
    loader->ids[IDS_TRANSFERS].needed = (int64_t)loader->wallet_count + loader->opening_count;
}

/* Who wants to buy what nobody has ever sold names no product. */
static bool names_product(const struct command *command)
{
    return command_names_product(command->kind) &&
           (command->kind != COMMAND_WALLET_SPEND || command->sku.len > 0);
}

static bool plan(struct loader *loader, const struct command *const *commands, size_t count)
{
    struct postgres_store *store = loader->store;
    bool is_sorted = true;
    if (!make_room(store, count))
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct command *command = commands[i];
        loader->kind_counts[command->kind]++;
        loader->holds_pool = loader->holds_pool || command_names_pool(command->kind);
        if (command->kind == COMMAND_WORK_CLAIM)
            loader->claim_counts[command->work->kind] += (int64_t)command->work->count_max;
        loader->wallet_count += command_names_wallet(command->kind);
        loader->opening_count +=
            command->kind == COMMAND_ACCOUNT_REGISTER && command->account->public_key != NULL;
        if (!names_product(command)) {
            store->entries[count - ++loader->other_count] = (struct batch_entry){.command = command};
            continue;
        }
        loader->unit_count += command->kind == COMMAND_MACHINE_CHOOSE ? command->pool->units : 1;
        size_t at = loader->entry_count++;
        store->entries[at] = (struct batch_entry){.sku = command->sku, .command = command};
        is_sorted = is_sorted && (at == 0 || slice_compare(store->entries[at - 1].sku, command->sku) <= 0);
        loader->key_count += command->idempotency.key.len > 0;
    }
    if (!is_sorted)
        loader_sort_products(loader);
    plan_needs(loader);
    return true;
}

/* --- sending and receiving --- */

enum err loader_send(struct loader *loader, enum postgres_statement statement)
{
    return link_send(&loader->store->link, statement, loader->error);
}

enum err loader_send_columns(struct loader *loader, int count, enum postgres_statement statement)
{
    for (int i = 0; i < count; i++) {
        struct slice array;
        if (!column_finish(&loader->store->columns[i], &array))
            return loader_no_memory(loader);
        link_param(&loader->store->link, array);
    }
    return loader_send(loader, statement);
}

enum err loader_receive(struct loader *loader, enum postgres_statement statement, take_rows *take)
{
    PGresult *result;
    enum err err = link_result(&loader->store->link, statement, &result, loader->error);
    if (err == ERR_NONE && take != NULL)
        err = take(loader, result);
    PQclear(result);
    return err;
}

static enum err send_load(struct loader *loader)
{
    enum err err = send_reservations(loader);
    if (err == ERR_NONE)
        err = loader_send_refresh(loader);
    if (err == ERR_NONE && loader->refreshes_pool)
        err = loader_send_pool(loader, STATEMENT_READ_POOL);
    if (err == ERR_NONE && loader->entry_count + loader->other_count > 0) {
        err = loader_send(loader, STATEMENT_BEGIN);
        loader->store->is_in_transaction = true;
        if (err == ERR_NONE)
            err = loader_send_products(loader);
        if (err == ERR_NONE && loader->other_count > 0)
            err = loader_send_others(loader);
        if (err == ERR_NONE && loader->wallet_count > 0)
            err = loader_send_wallets(loader);
        if (err == ERR_NONE)
            err = loader_send_intake(loader);
        if (err == ERR_NONE && loader->holds_pool)
            err = loader_send_pool(loader, STATEMENT_LOCK_POOL);
        if (err == ERR_NONE && loader->kind_counts[COMMAND_PRODUCT_ADD] > 0)
            err = loader_send_names(loader);
    }
    return err == ERR_NONE ? link_sync(&loader->store->link, loader->error) : err;
}

static enum err receive_load(struct loader *loader)
{
    enum err err = receive_reservations(loader);
    if (err == ERR_NONE)
        err = loader_receive_refresh(loader);
    if (err == ERR_NONE && loader->refreshes_pool)
        err = loader_receive_pool(loader, STATEMENT_READ_POOL);
    if (err != ERR_NONE || loader->entry_count + loader->other_count == 0)
        return err;
    err = loader_receive(loader, STATEMENT_BEGIN, NULL);
    if (err == ERR_NONE)
        err = loader_receive_products(loader);
    if (err == ERR_NONE && loader->other_count > 0)
        err = loader_receive_others(loader);
    if (err == ERR_NONE && loader->wallet_count > 0)
        err = loader_receive_wallets(loader);
    if (err == ERR_NONE)
        err = loader_receive_intake(loader);
    if (err == ERR_NONE && loader->holds_pool)
        err = loader_receive_pool(loader, STATEMENT_LOCK_POOL);
    if (err == ERR_NONE && loader->kind_counts[COMMAND_PRODUCT_ADD] > 0)
        err = loader_receive_names(loader);
    return err;
}

/* --- a load --- */

typedef enum err step(struct loader *loader);

/* Sends, receives, and leaves the link ready for what comes next. After an error no transaction is open. */
static enum err run(struct loader *loader, step *send_all, step *receive_all)
{
    struct link *link = &loader->store->link;
    link_begin(link, POSTGRES_LOAD_MS);
    enum err err = send_all(loader);
    if (err != ERR_NONE) {
        link_close(link); /* half a pipeline has gone out */
    } else {
        err = receive_all(loader);
        /* The first failure counts; what a broken link adds to it says nothing new. */
        if (link->conn != NULL && link_end(link, err == ERR_NONE ? loader->error : NULL) != ERR_NONE &&
            err == ERR_NONE)
            err = ERR_UNAVAILABLE;
    }
    if (err != ERR_NONE)
        postgres_abandon(&loader->store->base);
    return err;
}

static enum err open_and_run(struct loader *loader, step *send_all, step *receive_all)
{
    struct link *link = &loader->store->link;
    enum err err = link_open(link, loader->error);
    if (err != ERR_NONE)
        return err;
    atomic_store(&loader->store->writer_pid, PQbackendPID(link->conn));
    plan_ids(loader);
    return run(loader, send_all, receive_all);
}

/* A connection that was cut while nobody used it shows only now. Nothing has been decided, so it is safe to
 * begin again on a new one; but not for those who have waited for an answer in vain, since they have a
 * deadline. */
static enum err run_again_when_cut(struct loader *loader, step *send_all, step *receive_all)
{
    struct link *link = &loader->store->link;
    bool was_open = link->conn != NULL;
    int64_t late_ns = clock_mono_ns() + (int64_t)SECOND_ATTEMPT_MS * NS_PER_MS;
    enum err err = open_and_run(loader, send_all, receive_all);
    if (err != ERR_UNAVAILABLE || link->conn != NULL || !was_open || clock_mono_ns() > late_ns)
        return err;
    world_unload(loader->world);
    return open_and_run(loader, send_all, receive_all);
}

enum err postgres_load(struct store *base, struct world *world, const struct command *const *commands,
    size_t count, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    struct loader loader;
    loader_init(&loader, store, world, error);
    ENSURE(!store->is_in_transaction);
    world_unload(world);
    if (!plan(&loader, commands, count))
        return loader_no_memory(&loader);
    int64_t confirmed_ns = postgres_listener_take(store->listener, &store->stale);
    loader_spare_locked(&loader);
    loader.refreshes_pool = (store->stale.is_all || store->stale.is_pool) && !loader.holds_pool;
    bool has_work = count > 0 || store->stale.is_all || store->stale.is_pool || store->stale.count > 0;
    enum err err = has_work ? run_again_when_cut(&loader, send_load, receive_load) : ERR_NONE;
    if (err == ERR_NONE)
        base->confirmed_ns = confirmed_ns;
    else
        postgres_listener_give_back(store->listener);
    return err;
}

/* --- what is due --- */

struct due_loader {
    struct loader loader; /* first: steps get it */
    const struct due *due;
};

/* Those that are not old are too many. */
static enum err take_due_keys(struct loader *loader, const PGresult *result)
{
    const struct due *due = ((struct due_loader *)loader)->due;
    enum err err = loader_take_keys(loader, result);
    for (int row = 0; err == ERR_NONE && row < PQntuples(result); row++)
        loader->world->keys_surplus += result_ms(result, row, 6) > due->key_ms;
    return err;
}

static enum err send_due(struct loader *loader)
{
    const struct due *due = ((struct due_loader *)loader)->due;
    struct link *link = &loader->store->link;
    char time[8];
    char number[8];
    char kept[8];
    enum err err = send_reservations(loader);
    if (err != ERR_NONE)
        return err;
    err = loader_send(loader, STATEMENT_BEGIN);
    loader->store->is_in_transaction = true;
    if (err != ERR_NONE)
        return err;
    link_param(link, postgres_ms(time, due->edge_ms));
    err = loader_send(loader, STATEMENT_LOCK_DUE_PRODUCTS);
    if (err != ERR_NONE)
        return err;
    link_param(link, postgres_ms(time, due->key_ms));
    link_param(link, postgres_i64(number, (int64_t)due->key_count_max));
    int64_t kept_max = due->keys_kept_max < INT64_MAX ? (int64_t)due->keys_kept_max : INT64_MAX;
    link_param(link, postgres_i64(kept, kept_max));
    err = loader_send(loader, STATEMENT_LOCK_DUE_KEYS);
    if (err == ERR_NONE)
        err = loader_send_pool(loader, loader->holds_pool ? STATEMENT_LOCK_DUE_POOL : STATEMENT_READ_POOL);
    return err == ERR_NONE ? link_sync(link, loader->error) : err;
}

static enum err receive_due(struct loader *loader)
{
    enum err err = receive_reservations(loader);
    if (err == ERR_NONE)
        err = loader_receive(loader, STATEMENT_BEGIN, NULL);
    if (err == ERR_NONE)
        err = loader_receive(loader, STATEMENT_LOCK_DUE_PRODUCTS, loader_take_held_products);
    if (err == ERR_NONE)
        err = loader_receive(loader, STATEMENT_LOCK_DUE_KEYS, take_due_keys);
    if (err != ERR_NONE)
        return err;
    return loader_receive_pool(loader, loader->holds_pool ? STATEMENT_LOCK_DUE_POOL : STATEMENT_READ_POOL);
}

enum err postgres_load_due(
    struct store *base, struct world *world, const struct due *due, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    struct due_loader loader = {.due = due};
    loader_init(&loader.loader, store, world, error);
    ENSURE(!store->is_in_transaction);
    world_unload(world);
    loader.loader.ids[IDS_WORK].needed = DUE_SALES_MAX; /* each may end */
    /* Who finds out only now that something is due does it with the next tick. */
    loader.loader.holds_pool = world_pool_due_ms(world) <= due->edge_ms;
    return run_again_when_cut(&loader.loader, send_due, receive_due);
}

void postgres_abandon(struct store *base)
{
    struct postgres_store *store = (struct postgres_store *)base;
    if (store->is_in_transaction)
        link_send_and_forget(&store->link, STATEMENT_ROLLBACK);
    store->is_in_transaction = false;
}
