/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tables into the world, for one batch: one pipeline, one round trip. What is sent and what is
 * received are two walks over the same plan, so that results meet their statements.
 *
 * Locks are taken in one order by all nodes: products by id, then work that is named by id, so that no two
 * nodes wait for one another; work that is looked for because it is due comes last and skips what others
 * hold. Ids to give out are reserved in blocks, in a transaction of their own before the batch's that does
 * not wait for its flush: it is durable before anything is that used the ids, since the log is written in
 * order. What has not been used by the time the connection is lost may belong to somebody else and is given
 * up.
 */
#include "store/postgres_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "core/world_work.h"

enum {
    PURCHASE_ID_BLOCK = 10000, /* at least; a node that stops loses what is left of it, which is harmless */
    PRODUCT_ID_BLOCK = 16,
    DUE_SALES_MAX = 1000, /* in one tick; postgres_statements.c says the same */
    WORK_ID_BLOCK = 2 * DUE_SALES_MAX,
    SECOND_ATTEMPT_MS = 1000,
    NS_PER_MS = 1000000,
};

struct loader {
    struct postgres_store *store;
    struct world *world;
    size_t entry_count; /* commands that name a product, in store->entries, by sku */
    size_t key_count;
    int64_t purchase_ids_needed; /* at most */
    int64_t product_ids_needed;
    int64_t work_ids_needed;
    int64_t product_ids_wanted; /* 0: no block is reserved */
    int64_t purchase_ids_wanted;
    int64_t work_ids_wanted;
    size_t order_count;                    /* commands about work, in store->entries after those */
    size_t named_count;                    /* of these: that name a piece of work by its id */
    int64_t claim_counts[WORK_KIND_COUNT]; /* what the rest may claim */
    struct error *error;
};

static enum err no_memory(struct loader *loader)
{
    return error_set(loader->error, ERR_MEMORY, "no memory for the rows of a batch");
}

/* --- values --- */

static int64_t get_i64(const PGresult *result, int row, int column)
{
    ENSURE(PQgetlength(result, row, column) == 8);
    return postgres_get_i64(PQgetvalue(result, row, column));
}

static int64_t get_ms(const PGresult *result, int row, int column)
{
    ENSURE(PQgetlength(result, row, column) == 8);
    return postgres_get_ms(PQgetvalue(result, row, column));
}

static struct slice get_text(const PGresult *result, int row, int column)
{
    return slice_make(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

/* False: a state or a time that doorbuster does not write. */
static bool get_product(const PGresult *result, int row, struct product_values *values)
{
    *values = (struct product_values){
        .initial_stock = get_i64(result, row, 1),
        .stock = get_i64(result, row, 2),
        .price_minor = get_i64(result, row, 3),
        .per_user_limit = get_i64(result, row, 4),
        .start_ms = get_ms(result, row, 5),
        .end_ms = get_ms(result, row, 6),
        .created_ms = get_ms(result, row, 7),
        .updated_ms = get_ms(result, row, 8),
        .name = get_text(result, row, 10),
    };
    for (int column = 5; column <= 8; column++) {
        if (!postgres_is_finite(PQgetvalue(result, row, column)))
            return false;
    }
    return sale_state_from_name(get_text(result, row, 11), &values->state) &&
           end_reason_from_name(get_text(result, row, 12), &values->end_reason);
}

/* --- the plan: which commands name which product --- */

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

static int compare_skus(const void *a, const void *b)
{
    return slice_compare(((const struct batch_entry *)a)->sku, ((const struct batch_entry *)b)->sku);
}

static void plan_order(struct loader *loader, const struct command *command)
{
    if (command->kind == COMMAND_WORK_CLAIM)
        loader->claim_counts[command->work->kind] += (int64_t)command->work->count_max;
    else
        loader->named_count++;
    loader->order_count++;
}

static int64_t block(int64_t left, int64_t needed, int64_t block_count)
{
    if (left >= needed)
        return 0;
    return needed > block_count ? needed : block_count;
}

/*
 * What was reserved on a connection that is gone is given up: a server that crashed may have forgotten a
 * reservation that nothing flushed, and would give the same ids to another node.
 */
static void plan_ids(struct loader *loader)
{
    struct world *world = loader->world;
    struct postgres_store *store = loader->store;
    if (store->ids_link != store->link.opened_count) {
        store->ids_link = store->link.opened_count;
        world->next_purchase_id = world->purchase_id_end;
        world->next_product_id = world->product_id_end;
        world->next_work_id = world->work_id_end;
    }
    loader->purchase_ids_wanted = block(
        world->purchase_id_end - world->next_purchase_id, loader->purchase_ids_needed, PURCHASE_ID_BLOCK);
    loader->product_ids_wanted =
        block(world->product_id_end - world->next_product_id, loader->product_ids_needed, PRODUCT_ID_BLOCK);
    loader->work_ids_wanted =
        block(world->work_id_end - world->next_work_id, loader->work_ids_needed, WORK_ID_BLOCK);
}

static bool plan(struct loader *loader, const struct command *const *commands, size_t count)
{
    struct postgres_store *store = loader->store;
    bool is_sorted = true;
    if (!make_room(store, count))
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct command *command = commands[i];
        if (!command_names_product(command->kind)) {
            plan_order(loader, command);
            store->entries[count - loader->order_count] = (struct batch_entry){.command = command};
            continue;
        }
        size_t at = loader->entry_count++;
        store->entries[at] = (struct batch_entry){.sku = command->sku, .command = command};
        is_sorted = is_sorted && (at == 0 || compare_skus(&store->entries[at - 1], &store->entries[at]) <= 0);
        bool may_create = command->kind == COMMAND_PRODUCT_CREATE || command->kind == COMMAND_PRODUCT_UPDATE;
        loader->product_ids_needed += may_create;
        loader->key_count += command->idempotency.key.len > 0;
    }
    if (!is_sorted)
        qsort(store->entries, loader->entry_count, sizeof *store->entries, compare_skus);
    loader->purchase_ids_needed = (int64_t)loader->entry_count;
    loader->work_ids_needed = (int64_t)loader->entry_count; /* each purchase may end a sale */
    return true;
}

/* The end of the entries, from `at`, that name the same product. */
static size_t group_end(const struct loader *loader, size_t at)
{
    const struct batch_entry *entries = loader->store->entries;
    size_t end = at + 1;
    while (end < loader->entry_count && slice_eq(entries[end].sku, entries[at].sku))
        end++;
    return end;
}

struct group {
    size_t first;
    size_t end;
    bool has_buyers;   /* at least one purchase */
    bool has_managers; /* at least one other command */
};

/* The next group of entries, starting at *at = 0; false at the end. */
static bool next_group(const struct loader *loader, size_t *at, struct group *group)
{
    if (*at >= loader->entry_count)
        return false;
    *group = (struct group){.first = *at, .end = group_end(loader, *at)};
    for (size_t i = group->first; i < group->end; i++) {
        bool is_purchase = loader->store->entries[i].command->kind == COMMAND_PURCHASE;
        group->has_buyers = group->has_buyers || is_purchase;
        group->has_managers = group->has_managers || !is_purchase;
    }
    *at = group->end;
    return true;
}

/* What the batch locks it sees anyway: a hot sale of several nodes would be read twice with each batch. */
static void spare_locked(struct loader *loader)
{
    const struct postgres_store *store = loader->store;
    struct stale *stale = &loader->store->stale;
    size_t kept = 0;
    for (size_t i = 0; i < stale->count && loader->entry_count > 0; i++) {
        struct batch_entry wanted = {.sku = slice_cstr(stale->skus[i])};
        if (bsearch(&wanted, store->entries, loader->entry_count, sizeof wanted, compare_skus) != NULL)
            continue;
        if (kept != i)
            memcpy(stale->skus[kept], stale->skus[i], sizeof stale->skus[i]);
        kept++;
    }
    if (loader->entry_count > 0)
        stale->count = kept;
}

/* --- sending --- */

static enum err send(struct loader *loader, enum postgres_statement statement)
{
    return link_send(&loader->store->link, statement, loader->error);
}

static enum err send_column(struct loader *loader, int column, enum postgres_statement statement)
{
    struct slice array;
    if (!column_finish(&loader->store->columns[column], &array))
        return no_memory(loader);
    link_param(&loader->store->link, array);
    return send(loader, statement);
}

static enum err send_reservation(struct loader *loader, const char *name, int64_t count)
{
    char memory[8];
    if (count == 0)
        return ERR_NONE;
    enum err err = send(loader, STATEMENT_BEGIN);
    if (err == ERR_NONE)
        err = send(loader, STATEMENT_UNSYNCED);
    if (err != ERR_NONE)
        return err;
    link_param(&loader->store->link, slice_cstr(name));
    link_param(&loader->store->link, postgres_i64(memory, count));
    err = send(loader, STATEMENT_RESERVE_IDS);
    return err == ERR_NONE ? send(loader, STATEMENT_COMMIT) : err;
}

static enum err send_locks(struct loader *loader)
{
    struct column *skus = &loader->store->columns[0];
    struct group group;
    column_start(skus, POSTGRES_TEXT);
    for (size_t at = 0; next_group(loader, &at, &group);)
        column_put_text(skus, loader->store->entries[group.first].sku);
    return send_column(loader, 0, STATEMENT_LOCK_PRODUCTS);
}

static enum err send_group(struct loader *loader, const struct group *group)
{
    const struct batch_entry *entries = loader->store->entries;
    struct column *users = &loader->store->columns[0];
    enum err err = ERR_NONE;
    if (group->has_managers) {
        link_param(&loader->store->link, entries[group->first].sku);
        err = send(loader, STATEMENT_HAS_PURCHASES);
    }
    if (err != ERR_NONE || !group->has_buyers)
        return err;
    column_start(users, POSTGRES_TEXT);
    for (size_t i = group->first; i < group->end; i++)
        column_put_text(users, entries[i].command->user);
    link_param(&loader->store->link, entries[group->first].sku);
    return send_column(loader, 0, STATEMENT_FIND_BUYERS);
}

static enum err send_keys(struct loader *loader)
{
    struct column *scopes = &loader->store->columns[0];
    struct column *keys = &loader->store->columns[1];
    struct slice array;
    if (loader->key_count == 0)
        return ERR_NONE;
    column_start(scopes, POSTGRES_TEXT);
    column_start(keys, POSTGRES_TEXT);
    for (size_t i = 0; i < loader->entry_count; i++) {
        const struct idempotency *idempotency = &loader->store->entries[i].command->idempotency;
        if (idempotency->key.len == 0)
            continue;
        column_put_text(scopes, idempotency->scope);
        column_put_text(keys, idempotency->key);
    }
    if (!column_finish(scopes, &array))
        return no_memory(loader);
    link_param(&loader->store->link, array);
    return send_column(loader, 1, STATEMENT_FIND_KEYS);
}

static enum err send_named_work(struct loader *loader)
{
    const struct batch_entry *orders = loader->store->entries + loader->entry_count;
    struct column *ids = &loader->store->columns[0];
    if (loader->named_count == 0)
        return ERR_NONE;
    column_start(ids, POSTGRES_INT8);
    for (size_t i = 0; i < loader->order_count; i++) {
        if (orders[i].command->kind != COMMAND_WORK_CLAIM)
            column_put_i64(ids, orders[i].command->work->id);
    }
    return send_column(loader, 0, STATEMENT_LOCK_WORK);
}

static enum err send_work(struct loader *loader)
{
    char number[8];
    enum err err = send_named_work(loader);
    for (int kind = 0; kind < WORK_KIND_COUNT && err == ERR_NONE; kind++) {
        if (loader->claim_counts[kind] == 0)
            continue;
        link_param(&loader->store->link, work_kind_name((enum work_kind)kind));
        link_param(&loader->store->link, postgres_i64(number, loader->claim_counts[kind]));
        err = send(loader, STATEMENT_LOCK_DUE_WORK);
    }
    return err;
}

static enum err send_refresh(struct loader *loader)
{
    const struct stale *stale = &loader->store->stale;
    struct column *skus = &loader->store->columns[0];
    if (stale->is_all)
        return send(loader, STATEMENT_REFRESH_ALL);
    if (stale->count == 0)
        return ERR_NONE;
    column_start(skus, POSTGRES_TEXT);
    for (size_t i = 0; i < stale->count; i++)
        column_put_text(skus, slice_cstr(stale->skus[i]));
    return send_column(loader, 0, STATEMENT_REFRESH_PRODUCTS);
}

/* The refresh stands before BEGIN: it needs no lock. */
static enum err send_load(struct loader *loader)
{
    struct group group;
    enum err err = send_reservation(loader, "products", loader->product_ids_wanted);
    if (err == ERR_NONE)
        err = send_reservation(loader, "purchases", loader->purchase_ids_wanted);
    if (err == ERR_NONE)
        err = send_reservation(loader, "work", loader->work_ids_wanted);
    if (err == ERR_NONE)
        err = send_refresh(loader);
    if (err == ERR_NONE && loader->entry_count + loader->order_count > 0) {
        err = send(loader, STATEMENT_BEGIN);
        loader->store->is_in_transaction = true;
        if (err == ERR_NONE && loader->entry_count > 0)
            err = send_locks(loader);
        for (size_t at = 0; err == ERR_NONE && next_group(loader, &at, &group);)
            err = send_group(loader, &group);
        if (err == ERR_NONE)
            err = send_keys(loader);
        if (err == ERR_NONE)
            err = send_work(loader);
    }
    return err == ERR_NONE ? link_sync(&loader->store->link, loader->error) : err;
}

/* --- receiving --- */

typedef enum err take_rows(struct loader *loader, const PGresult *result);

/* The next result goes through `take`, which may be NULL. */
static enum err receive(struct loader *loader, enum postgres_statement statement, take_rows *take)
{
    PGresult *result;
    enum err err = link_result(&loader->store->link, statement, &result, loader->error);
    if (err == ERR_NONE && take != NULL)
        err = take(loader, result);
    PQclear(result);
    return err;
}

static enum err receive_reservation(struct loader *loader, int64_t count, int64_t *next, int64_t *end)
{
    PGresult *result;
    if (count == 0)
        return ERR_NONE;
    enum err err = receive(loader, STATEMENT_BEGIN, NULL);
    if (err == ERR_NONE)
        err = receive(loader, STATEMENT_UNSYNCED, NULL);
    if (err == ERR_NONE)
        err = link_result(&loader->store->link, STATEMENT_RESERVE_IDS, &result, loader->error);
    if (err != ERR_NONE)
        return err;
    if (PQntuples(result) != 1) {
        PQclear(result);
        return error_set(loader->error, ERR_CORRUPT, "a row of sequences is gone; restore a backup");
    }
    int64_t first = get_i64(result, 0, 0);
    PQclear(result);
    err = receive(loader, STATEMENT_COMMIT, NULL);
    if (err != ERR_NONE)
        return err;    /* another node may get the same ones */
    if (first != *end) /* what is left of the block before is given up, unless the new one continues it */
        *next = first;
    *end = first + count;
    return ERR_NONE;
}

static enum err take_products(struct loader *loader, const PGresult *result, bool is_held)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct product_values values;
        struct slice sku = get_text(result, row, 9);
        if (!get_product(result, row, &values))
            return error_set(loader->error, ERR_CORRUPT,
                "product %.*s is in a state that doorbuster never writes; run doorbuster verify and restore "
                "a backup",
                SLICE_ARGS(sku));
        const struct product *product =
            is_held ? world_hold_product(loader->world, get_i64(result, row, 0), sku, &values)
                    : world_refresh_product(loader->world, get_i64(result, row, 0), sku, &values);
        if (product == NULL)
            return no_memory(loader);
    }
    return ERR_NONE;
}

static enum err take_held_products(struct loader *loader, const PGresult *result)
{
    return take_products(loader, result, true);
}

/* Those that were asked for and did not come are gone. */
static enum err take_locked(struct loader *loader, const PGresult *result)
{
    struct group group;
    enum err err = take_products(loader, result, true);
    for (size_t at = 0; err == ERR_NONE && next_group(loader, &at, &group);) {
        struct product *product = world_product(loader->world, loader->store->entries[group.first].sku);
        if (product != NULL && !world_is_certain(loader->world, product))
            world_forget_product(loader->world, product);
    }
    return err;
}

static enum err take_refreshed(struct loader *loader, const PGresult *result)
{
    const struct stale *stale = &loader->store->stale;
    world_refresh_begin(loader->world);
    enum err err = take_products(loader, result, false);
    if (err == ERR_NONE && stale->is_all)
        world_refresh_end(loader->world);
    for (size_t i = 0; i < stale->count && err == ERR_NONE && !stale->is_all; i++) {
        struct product *product = world_product(loader->world, slice_cstr(stale->skus[i]));
        if (product != NULL && product->refresh_number != loader->world->refresh_number)
            world_forget_product(loader->world, product);
    }
    return err;
}

static enum err take_keys(struct loader *loader, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct key_record record = {
            .scope = get_text(result, row, 0),
            .key = get_text(result, row, 1),
            .result = (enum result)get_i64(result, row, 3),
            .number = get_i64(result, row, 4),
            .time_ms = get_i64(result, row, 5),
            .created_ms = get_ms(result, row, 6),
        };
        if (world_key(loader->world, record.scope, record.key) != NULL)
            continue; /* two commands of the batch carry the same one */
        ENSURE(PQgetlength(result, row, 2) == FINGERPRINT_BYTES);
        memcpy(record.fingerprint, PQgetvalue(result, row, 2), FINGERPRINT_BYTES);
        if (!world_load_key(loader->world, &record))
            return no_memory(loader);
    }
    return ERR_NONE;
}

static enum err take_work(struct loader *loader, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct work work = {
            .id = get_i64(result, row, 0),
            .values = {.due_ms = get_ms(result, row, 1), .token = get_i64(result, row, 2)},
            .created_ms = get_ms(result, row, 3),
            .subject = get_text(result, row, 5),
            .body = get_text(result, row, 6),
        };
        if (!work_kind_from_name(get_text(result, row, 4), &work.kind) ||
            work.subject.len > WORK_SUBJECT_LEN_MAX || work.body.len > WORK_BODY_LEN_MAX)
            return error_set(loader->error, ERR_CORRUPT,
                "work %lld holds what doorbuster never writes; run doorbuster verify and restore a backup",
                (long long)work.id);
        if (!world_load_work(loader->world, &work))
            return no_memory(loader);
    }
    return ERR_NONE;
}

static enum err receive_work(struct loader *loader)
{
    enum err err = loader->named_count > 0 ? receive(loader, STATEMENT_LOCK_WORK, take_work) : ERR_NONE;
    for (int kind = 0; kind < WORK_KIND_COUNT && err == ERR_NONE; kind++) {
        if (loader->claim_counts[kind] > 0)
            err = receive(loader, STATEMENT_LOCK_DUE_WORK, take_work);
    }
    return err;
}

/* All purchases of a product are removed together, so the largest nth is the number of them. */
static enum err receive_buyers(struct loader *loader, const struct group *group)
{
    const struct batch_entry *entries = loader->store->entries;
    struct product *product = world_product(loader->world, entries[group->first].sku);
    PGresult *result;
    enum err err = link_result(&loader->store->link, STATEMENT_FIND_BUYERS, &result, loader->error);
    int count = err == ERR_NONE ? PQntuples(result) : 0;
    for (int row = 0; row < count && product != NULL && err == ERR_NONE; row++) {
        size_t place = group->first + (size_t)get_i64(result, row, 0) - 1;
        ENSURE(place < group->end);
        if (!world_load_buyer(loader->world, product, entries[place].command->user, get_i64(result, row, 1)))
            err = no_memory(loader);
    }
    PQclear(result);
    return err;
}

/* Only whether there are any matters to the rules; their ids are spread over all nodes' blocks. */
static enum err receive_has_purchases(struct loader *loader, const struct group *group)
{
    struct product *product = world_product(loader->world, loader->store->entries[group->first].sku);
    PGresult *result;
    enum err err = link_result(&loader->store->link, STATEMENT_HAS_PURCHASES, &result, loader->error);
    if (err == ERR_NONE && product != NULL) {
        bool has_any = get_i64(result, 0, 0) != 0;
        product->purchase_id_first = has_any ? 1 : 0;
        product->purchase_id_last = has_any ? loader->world->purchase_id_end : 0;
    }
    PQclear(result);
    return err;
}

static enum err receive_group(struct loader *loader, const struct group *group)
{
    enum err err = group->has_managers ? receive_has_purchases(loader, group) : ERR_NONE;
    return err == ERR_NONE && group->has_buyers ? receive_buyers(loader, group) : err;
}

static enum err receive_load(struct loader *loader)
{
    struct world *world = loader->world;
    const struct stale *stale = &loader->store->stale;
    struct group group;
    enum err err = receive_reservation(
        loader, loader->product_ids_wanted, &world->next_product_id, &world->product_id_end);
    if (err == ERR_NONE)
        err = receive_reservation(
            loader, loader->purchase_ids_wanted, &world->next_purchase_id, &world->purchase_id_end);
    if (err == ERR_NONE)
        err = receive_reservation(loader, loader->work_ids_wanted, &world->next_work_id, &world->work_id_end);
    if (err == ERR_NONE && (stale->is_all || stale->count > 0))
        err = receive(
            loader, stale->is_all ? STATEMENT_REFRESH_ALL : STATEMENT_REFRESH_PRODUCTS, take_refreshed);
    if (err != ERR_NONE || loader->entry_count + loader->order_count == 0)
        return err;
    err = receive(loader, STATEMENT_BEGIN, NULL);
    if (err == ERR_NONE && loader->entry_count > 0)
        err = receive(loader, STATEMENT_LOCK_PRODUCTS, take_locked);
    for (size_t at = 0; err == ERR_NONE && next_group(loader, &at, &group);)
        err = receive_group(loader, &group);
    if (err == ERR_NONE && loader->key_count > 0)
        err = receive(loader, STATEMENT_FIND_KEYS, take_keys);
    return err == ERR_NONE ? receive_work(loader) : err;
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
    struct loader loader = {.store = store, .world = world, .error = error};
    ENSURE(!store->is_in_transaction);
    world_unload(world);
    if (!plan(&loader, commands, count))
        return no_memory(&loader);
    int64_t confirmed_ns = postgres_listener_take(store->listener, &store->stale);
    spare_locked(&loader);
    bool has_work = count > 0 || store->stale.is_all || store->stale.count > 0;
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
    enum err err = take_keys(loader, result);
    for (int row = 0; err == ERR_NONE && row < PQntuples(result); row++)
        loader->world->keys_surplus += get_ms(result, row, 6) > due->key_ms;
    return err;
}

static enum err send_due(struct loader *loader)
{
    const struct due *due = ((struct due_loader *)loader)->due;
    struct link *link = &loader->store->link;
    char time[8];
    char number[8];
    char kept[8];
    enum err err = send_reservation(loader, "work", loader->work_ids_wanted);
    if (err != ERR_NONE)
        return err;
    err = send(loader, STATEMENT_BEGIN);
    loader->store->is_in_transaction = true;
    if (err != ERR_NONE)
        return err;
    link_param(link, postgres_ms(time, due->edge_ms));
    err = send(loader, STATEMENT_LOCK_DUE_PRODUCTS);
    if (err != ERR_NONE)
        return err;
    link_param(link, postgres_ms(time, due->key_ms));
    link_param(link, postgres_i64(number, (int64_t)due->key_count_max));
    int64_t kept_max = due->keys_kept_max < INT64_MAX ? (int64_t)due->keys_kept_max : INT64_MAX;
    link_param(link, postgres_i64(kept, kept_max));
    err = send(loader, STATEMENT_LOCK_DUE_KEYS);
    return err == ERR_NONE ? link_sync(link, loader->error) : err;
}

static enum err receive_due(struct loader *loader)
{
    struct world *world = loader->world;
    enum err err =
        receive_reservation(loader, loader->work_ids_wanted, &world->next_work_id, &world->work_id_end);
    if (err == ERR_NONE)
        err = receive(loader, STATEMENT_BEGIN, NULL);
    if (err == ERR_NONE)
        err = receive(loader, STATEMENT_LOCK_DUE_PRODUCTS, take_held_products);
    return err == ERR_NONE ? receive(loader, STATEMENT_LOCK_DUE_KEYS, take_due_keys) : err;
}

enum err postgres_load_due(
    struct store *base, struct world *world, const struct due *due, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    struct due_loader loader = {.loader = {.store = store, .world = world, .error = error}, .due = due};
    ENSURE(!store->is_in_transaction);
    world_unload(world);
    loader.loader.work_ids_needed = DUE_SALES_MAX; /* each may end */
    return run_again_when_cut(&loader.loader, send_due, receive_due);
}

void postgres_abandon(struct store *base)
{
    struct postgres_store *store = (struct postgres_store *)base;
    if (store->is_in_transaction)
        link_send_and_forget(&store->link, STATEMENT_ROLLBACK);
    store->is_in_transaction = false;
}
