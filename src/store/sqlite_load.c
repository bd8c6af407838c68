/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the file into the world, once, at start. Every row of every table passes here, so damage that shows in
 * a row is found here: a type, a number or a name that no writer of ours would have written refuses the
 * store.
 */
#include "store/sqlite_priv.h"

#include <stdlib.h>

#include "core/world_work.h"

enum err load_no_memory(struct sqlite_loader *loader)
{
    return error_set(loader->error, ERR_MEMORY, "no memory for the rows of %s", loader->store->path);
}

enum err load_damaged(struct sqlite_loader *loader, const char *table, int64_t id)
{
    return error_set(loader->error, ERR_CORRUPT,
        "%s is damaged: row %lld of %s holds what doorbuster never writes; keep a copy and restore a backup",
        loader->store->path, (long long)id, table);
}

bool row_has_types(sqlite3_stmt *row, const char *types)
{
    for (int i = 0; types[i] != '\0'; i++) {
        int type = sqlite3_column_type(row, i);
        bool is_right = types[i] == 'i'   ? type == SQLITE_INTEGER
                        : types[i] == 't' ? type == SQLITE_TEXT
                        : types[i] == 'b' ? type == SQLITE_BLOB
                        : types[i] == 'n' ? type == SQLITE_INTEGER || type == SQLITE_NULL
                                          : type == SQLITE_TEXT || type == SQLITE_NULL;
        if (!is_right)
            return false;
    }
    return true;
}

struct slice row_text(sqlite3_stmt *row, int at)
{
    const unsigned char *text = sqlite3_column_text(row, at);
    return text == NULL ? (struct slice){"", 0} : slice_make(text, (size_t)sqlite3_column_bytes(row, at));
}

/* Ids come in ascending order and from 1; anything else means a damaged tree. */
static bool take_id(struct sqlite_loader *loader, enum sequence sequence, int64_t id)
{
    bool is_next = id > loader->id_last[sequence];
    loader->id_last[sequence] = id;
    return is_next;
}

/* --- products --- */

static const char products_text[] =
    "SELECT id, initial_stock, stock, price_minor, per_user_limit, "
    "start_time, end_time, created_at, updated_at,"
    " sku, product_name, state, end_reason, category, is_featured FROM products "
    "ORDER BY id";

static bool values_are_sound(const struct product_values *values)
{
    return values->stock >= 0 && values->stock <= values->initial_stock && values->price_minor >= 0 &&
           values->per_user_limit >= 1 && values->end_ms > values->start_ms &&
           (values->state == SALE_ENDED) == (values->end_reason != END_NONE);
}

static bool remember_product(struct sqlite_loader *loader, struct product *product)
{
    if (loader->product_count == loader->products_size) {
        size_t size = loader->products_size == 0 ? 64 : loader->products_size * 2;
        struct product **products = realloc(loader->products, size * sizeof *products);
        if (products == NULL)
            return false;
        loader->products = products;
        loader->products_size = size;
    }
    loader->products[loader->product_count++] = product;
    return true;
}

static enum err load_product(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    int64_t id = sqlite3_column_int64(row, 0);
    bool is_sound = row_has_types(row, "iiiiiiiiittt?ti") && take_id(loader, SEQUENCE_PRODUCTS, id);
    struct slice sku = row_text(row, 9);
    struct product_values values = {
        .name = row_text(row, 10),
        .initial_stock = sqlite3_column_int64(row, 1),
        .stock = sqlite3_column_int64(row, 2),
        .price_minor = sqlite3_column_int64(row, 3),
        .per_user_limit = sqlite3_column_int64(row, 4),
        .start_ms = sqlite3_column_int64(row, 5),
        .end_ms = sqlite3_column_int64(row, 6),
        .created_ms = sqlite3_column_int64(row, 7),
        .updated_ms = sqlite3_column_int64(row, 8),
    };
    is_sound = is_sound && sku.len > 0 && sku.len <= SKU_LEN_MAX &&
               sale_state_from_name(row_text(row, 11), &values.state) &&
               end_reason_from_name(row_text(row, 12), &values.end_reason) && values_are_sound(&values) &&
               world_product(loader->world, sku) == NULL;
    if (!is_sound)
        return load_damaged(loader, "products", id);
    const struct product_labels labels = {
        .category = row_text(row, 13), .is_featured = sqlite3_column_int(row, 14) != 0};
    struct product *product = world_load_product(loader->world, id, sku, &values);
    return product != NULL && world_load_labels(product, &labels) && remember_product(loader, product)
               ? ERR_NONE
               : load_no_memory(loader);
}

static int compare_id(const void *key, const void *element)
{
    int64_t id = *(const int64_t *)key;
    int64_t other = (*(struct product *const *)element)->id;
    return id < other ? -1 : id > other;
}

static struct product *find_product(const struct sqlite_loader *loader, int64_t id)
{
    struct product **found =
        loader->product_count == 0
            ? NULL
            : bsearch(&id, loader->products, loader->product_count, sizeof *loader->products, compare_id);
    return found == NULL ? NULL : *found;
}

/* --- purchases and keys --- */

static const char purchases_text[] = "SELECT id, product_id, nth, user_id FROM purchase_log ORDER BY id";

static enum err load_purchase(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    struct purchase_index *index = &loader->store->index;
    int64_t id = sqlite3_column_int64(row, 0);
    int64_t nth = sqlite3_column_int64(row, 2);
    bool is_sound = row_has_types(row, "iiit") && take_id(loader, SEQUENCE_PURCHASES, id) && nth >= 1;
    struct slice user = row_text(row, 3);
    struct product *product = find_product(loader, sqlite3_column_int64(row, 1));
    if (!is_sound || product == NULL || user.len == 0 || user.len > USER_LEN_MAX)
        return load_damaged(loader, "purchase_log", id);
    uint64_t hash = purchase_index_hash(index, product->sku, user);
    if (!world_load_purchase(loader->world, product, user, id) || !purchase_index_reserve(index, hash))
        return load_no_memory(loader);
    purchase_index_add(index, hash, id, nth);
    return ERR_NONE;
}

static const char keys_text[] =
    "SELECT id, result, number, time, created_at, scope, key, fingerprint FROM idempotency_keys ORDER BY id";

static enum err load_key(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    struct key_record record = {
        .id = sqlite3_column_int64(row, 0),
        .result = (enum result)sqlite3_column_int(row, 1),
        .number = sqlite3_column_int64(row, 2),
        .time_ms = sqlite3_column_int64(row, 3),
        .created_ms = sqlite3_column_int64(row, 4),
        .scope = row_text(row, 5),
        .key = row_text(row, 6),
    };
    if (!row_has_types(row, "iiiiittb") || !take_id(loader, SEQUENCE_KEYS, record.id) ||
        sqlite3_column_bytes(row, 7) != FINGERPRINT_BYTES)
        return load_damaged(loader, "idempotency_keys", record.id);
    memcpy(record.fingerprint, sqlite3_column_blob(row, 7), FINGERPRINT_BYTES);
    return world_load_key(loader->world, &record) ? ERR_NONE : load_no_memory(loader);
}

/* --- work --- */

static const char work_text[] =
    "SELECT id, due_at, token, created_at, kind, subject, body FROM work ORDER BY id";

static enum err load_work(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    struct work work = {
        .id = sqlite3_column_int64(row, 0),
        .values = {.due_ms = sqlite3_column_int64(row, 1), .token = sqlite3_column_int64(row, 2)},
        .created_ms = sqlite3_column_int64(row, 3),
        .subject = row_text(row, 5),
        .body = row_text(row, 6),
    };
    if (!row_has_types(row, "iiiittt") || !take_id(loader, SEQUENCE_WORK, work.id) || work.values.token < 0 ||
        !work_kind_from_name(row_text(row, 4), &work.kind) || work.subject.len > WORK_SUBJECT_LEN_MAX ||
        work.body.len > WORK_BODY_LEN_MAX)
        return load_damaged(loader, "work", work.id);
    return world_load_work(loader->world, &work) ? ERR_NONE : load_no_memory(loader);
}

/* --- sequences --- */

static const char sequences_text[] = "SELECT next_value, name FROM sequences";

static enum err load_sequence(struct sqlite_loader *loader, sqlite3_stmt *row)
{
    int64_t next = sqlite3_column_int64(row, 0);
    struct slice name = row_text(row, 1);
    if (!row_has_types(row, "it") || next < 1)
        return load_damaged(loader, "sequences", next);
    for (int i = 0; i < SEQUENCE_COUNT; i++) {
        if (slice_eq(name, sequence_names[i]))
            loader->store->next_stored[i] = next;
    }
    return ERR_NONE;
}

/* The invariant that makes this right: sqlite_write.c. */
static enum err set_next_ids(struct sqlite_loader *loader)
{
    int64_t next[SEQUENCE_COUNT];
    for (int i = 0; i < SEQUENCE_COUNT; i++) {
        if (loader->store->next_stored[i] == 0)
            return error_set(loader->error, ERR_CORRUPT,
                "%s is damaged: the sequence %s is gone; restore a backup", loader->store->path,
                sequence_names[i].base);
        if (__builtin_add_overflow(loader->id_last[i], 1, &next[i]))
            return load_damaged(loader, sequence_names[i].base, loader->id_last[i]);
        if (next[i] < loader->store->next_stored[i])
            next[i] = loader->store->next_stored[i];
    }
    loader->world->next_product_id = next[SEQUENCE_PRODUCTS];
    loader->world->next_purchase_id = next[SEQUENCE_PURCHASES];
    loader->world->next_key_id = next[SEQUENCE_KEYS];
    loader->world->next_work_id = next[SEQUENCE_WORK];
    loader->world->next_account_id = next[SEQUENCE_ACCOUNTS];
    loader->world->next_transfer_id = next[SEQUENCE_TRANSFERS];
    return ERR_NONE;
}

/* --- all of it --- */

enum err load_table(struct sqlite_loader *loader, const char *text, load_row *load_one)
{
    struct sqlite_store *store = loader->store;
    sqlite3_stmt *statement;
    enum err err = ERR_NONE;
    int rc = sqlite3_prepare_v2(store->db, text, -1, &statement, NULL);
    if (rc != SQLITE_OK)
        return sqlite_failure(store->db, rc, store->path, "read", loader->error);
    while (err == ERR_NONE && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        err = load_one(loader, statement);
    if (err == ERR_NONE && rc != SQLITE_DONE)
        err = sqlite_failure(store->db, rc, store->path, "read", loader->error);
    (void)sqlite3_finalize(statement);
    return err;
}

enum err load_world(struct store *base, struct world *world, const struct command *const *commands,
    size_t count, struct error *error)
{
    if (count > 0)
        return ERR_NONE; /* the world is complete */
    struct sqlite_loader loader = {.store = (struct sqlite_store *)base, .world = world, .error = error};
    enum err err = load_table(&loader, products_text, load_product);
    if (err == ERR_NONE)
        err = load_table(&loader, purchases_text, load_purchase);
    if (err == ERR_NONE)
        err = load_table(&loader, keys_text, load_key);
    if (err == ERR_NONE)
        err = load_table(&loader, work_text, load_work);
    if (err == ERR_NONE)
        err = load_orders(&loader);
    if (err == ERR_NONE)
        err = load_pool(&loader);
    if (err == ERR_NONE)
        err = load_wallets(&loader);
    if (err == ERR_NONE)
        err = load_table(&loader, sequences_text, load_sequence);
    if (err == ERR_NONE)
        err = set_next_ids(&loader);
    free(loader.products);
    return err;
}
