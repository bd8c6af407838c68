/* SPDX-License-Identifier: Apache-2.0 */
/* Products, their buyers and the stored answers into the world. */
#include "store/postgres_load.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

/* False: a state or a time that doorbuster does not write. */
static bool get_product(const PGresult *result, int row, struct product_values *values)
{
    *values = (struct product_values){
        .initial_stock = result_i64(result, row, 1),
        .stock = result_i64(result, row, 2),
        .price_minor = result_i64(result, row, 3),
        .per_user_limit = result_i64(result, row, 4),
        .start_ms = result_ms(result, row, 5),
        .end_ms = result_ms(result, row, 6),
        .created_ms = result_ms(result, row, 7),
        .updated_ms = result_ms(result, row, 8),
        .name = result_text(result, row, 10),
    };
    for (int column = 5; column <= 8; column++) {
        if (!postgres_is_finite(PQgetvalue(result, row, column)))
            return false;
    }
    return sale_state_from_name(result_text(result, row, 11), &values->state) &&
           end_reason_from_name(result_text(result, row, 12), &values->end_reason);
}

/* --- which commands name which product --- */

static int compare_skus(const void *a, const void *b)
{
    return slice_compare(((const struct batch_entry *)a)->sku, ((const struct batch_entry *)b)->sku);
}

void loader_sort_products(struct loader *loader)
{
    qsort(loader->store->entries, loader->entry_count, sizeof *loader->store->entries, compare_skus);
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
        enum command_kind kind = loader->store->entries[i].command->kind;
        bool is_purchase =
            kind == COMMAND_PURCHASE || kind == COMMAND_MACHINE_CHOOSE || kind == COMMAND_WALLET_SPEND;
        group->has_buyers = group->has_buyers || is_purchase;
        group->has_managers = group->has_managers || !is_purchase;
    }
    *at = group->end;
    return true;
}

/* What the batch locks it sees anyway: a hot sale of several nodes would be read twice with each batch. */
void loader_spare_locked(struct loader *loader)
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

static enum err send_locks(struct loader *loader)
{
    struct column *skus = &loader->store->columns[0];
    struct group group;
    column_start(skus, POSTGRES_TEXT);
    for (size_t at = 0; next_group(loader, &at, &group);)
        column_put_text(skus, loader->store->entries[group.first].sku);
    return loader_send_columns(loader, 1, STATEMENT_LOCK_PRODUCTS);
}

static enum err send_group(struct loader *loader, const struct group *group)
{
    const struct batch_entry *entries = loader->store->entries;
    struct column *users = &loader->store->columns[0];
    enum err err = ERR_NONE;
    if (group->has_managers) {
        link_param(&loader->store->link, entries[group->first].sku);
        err = loader_send(loader, STATEMENT_HAS_PURCHASES);
    }
    if (err != ERR_NONE || !group->has_buyers)
        return err;
    column_start(users, POSTGRES_TEXT);
    for (size_t i = group->first; i < group->end; i++)
        column_put_text(users, entries[i].command->user);
    link_param(&loader->store->link, entries[group->first].sku);
    return loader_send_columns(loader, 1, STATEMENT_FIND_BUYERS);
}

static enum err send_keys(struct loader *loader)
{
    struct column *scopes = &loader->store->columns[0];
    struct column *keys = &loader->store->columns[1];
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
    return loader_send_columns(loader, 2, STATEMENT_FIND_KEYS);
}

enum err loader_send_products(struct loader *loader)
{
    struct group group;
    enum err err = loader->entry_count > 0 ? send_locks(loader) : ERR_NONE;
    for (size_t at = 0; err == ERR_NONE && next_group(loader, &at, &group);)
        err = send_group(loader, &group);
    return err == ERR_NONE ? send_keys(loader) : err;
}

enum err loader_send_refresh(struct loader *loader)
{
    const struct stale *stale = &loader->store->stale;
    struct column *skus = &loader->store->columns[0];
    if (stale->is_all)
        return loader_send(loader, STATEMENT_REFRESH_ALL);
    if (stale->count == 0)
        return ERR_NONE;
    column_start(skus, POSTGRES_TEXT);
    for (size_t i = 0; i < stale->count; i++)
        column_put_text(skus, slice_cstr(stale->skus[i]));
    return loader_send_columns(loader, 1, STATEMENT_REFRESH_PRODUCTS);
}

/* --- receiving --- */

/* One that has just come in gets its labels, or is not there: they would never come again. */
static enum err take_one_product(struct loader *loader, const PGresult *result, int row, bool is_held)
{
    struct world *world = loader->world;
    struct product_values values;
    struct slice sku = result_text(result, row, 9);
    const struct product_labels labels = {
        .category = result_text(result, row, 13), .is_featured = result_i64(result, row, 14) != 0};
    if (!get_product(result, row, &values))
        return error_set(loader->error, ERR_CORRUPT,
            "product %.*s is in a state that doorbuster never writes; run doorbuster verify and restore "
            "a backup",
            SLICE_ARGS(sku));
    const struct product *known = world_product(world, sku);
    struct product *product = is_held
                                  ? world_hold_product(world, result_i64(result, row, 0), sku, &values)
                                  : world_refresh_product(world, result_i64(result, row, 0), sku, &values);
    if (product == NULL)
        return loader_no_memory(loader);
    if (product == known || world_load_labels(product, &labels))
        return ERR_NONE;
    world_forget_product(world, product);
    return loader_no_memory(loader);
}

static enum err take_products(struct loader *loader, const PGresult *result, bool is_held)
{
    enum err err = ERR_NONE;
    for (int row = 0; row < PQntuples(result) && err == ERR_NONE; row++)
        err = take_one_product(loader, result, row, is_held);
    return err;
}

enum err loader_take_held_products(struct loader *loader, const PGresult *result)
{
    return take_products(loader, result, true);
}

enum err loader_take_seen_products(struct loader *loader, const PGresult *result)
{
    return take_products(loader, result, false);
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

enum err loader_take_keys(struct loader *loader, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct key_record record = {
            .scope = result_text(result, row, 0),
            .key = result_text(result, row, 1),
            .result = (enum result)result_i64(result, row, 3),
            .number = result_i64(result, row, 4),
            .time_ms = result_i64(result, row, 5),
            .created_ms = result_ms(result, row, 6),
        };
        if (world_key(loader->world, record.scope, record.key) != NULL)
            continue; /* two commands of the batch carry the same one */
        ENSURE(PQgetlength(result, row, 2) == FINGERPRINT_BYTES);
        memcpy(record.fingerprint, PQgetvalue(result, row, 2), FINGERPRINT_BYTES);
        if (!world_load_key(loader->world, &record))
            return loader_no_memory(loader);
    }
    return ERR_NONE;
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
        size_t place = group->first + (size_t)result_i64(result, row, 0) - 1;
        ENSURE(place < group->end);
        if (!world_load_buyer(
                loader->world, product, entries[place].command->user, result_i64(result, row, 1)))
            err = loader_no_memory(loader);
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
        bool has_any = result_i64(result, 0, 0) != 0;
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

enum err loader_receive_products(struct loader *loader)
{
    struct group group;
    enum err err =
        loader->entry_count > 0 ? loader_receive(loader, STATEMENT_LOCK_PRODUCTS, take_locked) : ERR_NONE;
    for (size_t at = 0; err == ERR_NONE && next_group(loader, &at, &group);)
        err = receive_group(loader, &group);
    if (err == ERR_NONE && loader->key_count > 0)
        err = loader_receive(loader, STATEMENT_FIND_KEYS, loader_take_keys);
    return err;
}

enum err loader_receive_refresh(struct loader *loader)
{
    const struct stale *stale = &loader->store->stale;
    if (!stale->is_all && stale->count == 0)
        return ERR_NONE;
    return loader_receive(
        loader, stale->is_all ? STATEMENT_REFRESH_ALL : STATEMENT_REFRESH_PRODUCTS, take_refreshed);
}
