/* SPDX-License-Identifier: Apache-2.0 */
/* See world.h. Every function that changes something takes all memory it needs first, then changes, so that
 * it is done whole or not at all. */
#include "core/world.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "core/world_priv.h"

enum { CHANGE_SIZE_FIRST = 64 };

static const struct slice state_names[] = {SLICE_INIT("UPCOMING"), SLICE_INIT("ACTIVE"), SLICE_INIT("ENDED")};
static const struct slice reason_names[] = {
    SLICE_INIT(""), SLICE_INIT("SOLD_OUT"), SLICE_INIT("TIME_EXPIRED")};

struct slice sale_state_name(enum sale_state state)
{
    return state_names[state];
}

struct slice end_reason_name(enum end_reason reason)
{
    return reason_names[reason];
}

bool sale_state_from_name(struct slice name, enum sale_state *state)
{
    for (int i = SALE_UPCOMING; i <= SALE_ENDED; i++) {
        if (slice_eq(name, state_names[i])) {
            *state = (enum sale_state)i;
            return true;
        }
    }
    return false;
}

bool end_reason_from_name(struct slice name, enum end_reason *reason)
{
    for (int i = END_NONE; i <= END_TIME_EXPIRED; i++) {
        if (slice_eq(name, reason_names[i])) {
            *reason = (enum end_reason)i;
            return true;
        }
    }
    return false;
}

/* --- memory of entities --- */

/* An empty slice may have no base, which memcpy does not allow. */
static void copy_text(char *to, struct slice text)
{
    if (text.len > 0)
        memcpy(to, text.base, text.len);
}

static bool slice_dup(struct slice text, struct slice *copy)
{
    char *base = malloc(text.len + 1);
    if (base == NULL)
        return false;
    copy_text(base, text);
    base[text.len] = '\0';
    *copy = slice_make(base, text.len);
    return true;
}

static void slice_free(struct slice text)
{
    free((char *)(uintptr_t)text.base);
}

static void buyers_free(struct map *buyers)
{
    size_t cursor = 0;
    void *buyer;
    while ((buyer = map_next(buyers, &cursor)) != NULL)
        free(buyer);
    map_fini(buyers);
}

static void product_free(struct product *product)
{
    list_remove(&product->held_node);
    list_remove(&product->refreshed_node);
    buyers_free(&product->buyers);
    slice_free(product->sku);
    slice_free(product->values.name);
    slice_free(product->labels.category);
    free(product);
}

static struct product *product_new(
    const struct world *world, int64_t id, struct slice sku, const struct product_values *values)
{
    struct product *product = calloc(1, sizeof *product);
    if (product == NULL)
        return NULL;
    product->id = id;
    product->values = *values;
    product->values.name = (struct slice){0};
    map_init(&product->buyers);
    list_init(&product->node);
    list_init(&product->held_node);
    list_init(&product->refreshed_node);
    list_init(&product->same_name);
    if (!slice_dup(sku, &product->sku) || !slice_dup(values->name, &product->values.name)) {
        product_free(product);
        return NULL;
    }
    product->sku_hash = map_hash(&world->hash_key, sku);
    return product;
}

/* --- look-ups --- */

static bool product_has_sku(const void *value, const void *key)
{
    return slice_eq(((const struct product *)value)->sku, *(const struct slice *)key);
}

static bool buyer_is(const void *value, const void *key)
{
    const struct buyer *buyer = value;
    return slice_eq(slice_make(buyer->user, buyer->user_len), *(const struct slice *)key);
}

struct key_name {
    struct slice scope;
    struct slice key;
};

static bool key_has_name(const void *value, const void *key)
{
    const struct key_record *record = value;
    const struct key_name *name = key;
    return slice_eq(record->key, name->key) && slice_eq(record->scope, name->scope);
}

struct product *world_product(const struct world *world, struct slice sku)
{
    return map_get(&world->products_by_sku, map_hash(&world->hash_key, sku), product_has_sku, &sku);
}

static bool product_has_name(const void *value, const void *key)
{
    return slice_eq(((const struct product *)value)->values.name, *(const struct slice *)key);
}

struct product *world_product_by_name(const struct world *world, struct slice name)
{
    return map_get(&world->products_by_name, map_hash(&world->hash_key, name), product_has_name, &name);
}

/* --- where products are found --- */

static uint64_t name_hash(const struct world *world, const struct product *product)
{
    return map_hash(&world->hash_key, product->values.name);
}

/* Of all products with one name, which are linked in a ring, one is in the table. */
static bool name_put(struct world *world, struct product *product)
{
    struct product *present = world_product_by_name(world, product->values.name);
    if (present == NULL)
        return map_put(&world->products_by_name, name_hash(world, product), product);
    list_append(&present->same_name, &product->same_name);
    return true;
}

static void name_take_out(struct world *world, struct product *product)
{
    uint64_t hash = name_hash(world, product);
    struct list *next = list_first(&product->same_name);
    bool was_in = map_remove(&world->products_by_name, hash, product);
    ENSURE(was_in || next != NULL);
    list_remove(&product->same_name);
    if (was_in && next != NULL) {
        bool is_put = map_put(&world->products_by_name, hash, CONTAINER_OF(next, struct product, same_name));
        ENSURE(is_put); /* at the place that has just become free */
    }
}

/* False when memory is out: it is in neither table then. */
static bool product_put(struct world *world, struct product *product)
{
    if (!map_put(&world->products_by_sku, product->sku_hash, product))
        return false;
    if (!name_put(world, product)) {
        (void)map_remove(&world->products_by_sku, product->sku_hash, product);
        return false;
    }
    list_append(&world->products, &product->node);
    return true;
}

static void product_take_out(struct world *world, struct product *product)
{
    bool was_in = map_remove(&world->products_by_sku, product->sku_hash, product);
    ENSURE(was_in);
    name_take_out(world, product);
    list_remove(&product->node);
}

/* The new name is in the table before the old one goes, so a rename fails whole or not at all. */
static bool product_rename(struct world *world, struct product *product, struct slice name)
{
    struct product *present = world_product_by_name(world, name);
    if (present == NULL && !map_put(&world->products_by_name, map_hash(&world->hash_key, name), product))
        return false;
    name_take_out(world, product);
    product->values.name = name;
    if (present != NULL)
        list_append(&present->same_name, &product->same_name);
    return true;
}

struct buyer *world_buyer(const struct world *world, const struct product *product, struct slice user)
{
    return map_get(&product->buyers, map_hash(&world->hash_key, user), buyer_is, &user);
}

/* The key alone is hashed: one key in two scopes is rare and told apart by the match. */
struct key_record *world_key(const struct world *world, struct slice scope, struct slice key)
{
    struct key_name name = {.scope = scope, .key = key};
    return map_get(&world->keys_by_name, map_hash(&world->hash_key, key), key_has_name, &name);
}

bool world_is_certain(const struct world *world, const struct product *product)
{
    return !world->is_shared || product->held_batch == world->batch;
}

/* --- the list of changes --- */

/* Room for one more change; the caller fills it with everything else already done or sure to succeed. */
bool world_changes_make_room(struct world *world, size_t more)
{
    if (world->change_count + more <= world->change_size)
        return true;
    size_t size = world->change_size == 0 ? CHANGE_SIZE_FIRST : world->change_size * 2;
    struct change *changes = realloc(world->changes, size * sizeof *changes);
    if (changes == NULL)
        return false;
    world->changes = changes;
    world->change_size = size;
    return true;
}

struct change *world_changes_append(struct world *world, enum change_kind kind, struct product *product)
{
    ENSURE(world->change_count < world->change_size);
    struct change *change = &world->changes[world->change_count++];
    *change = (struct change){.kind = kind, .product = product};
    return change;
}

/* Keeps the product's values as they are before the first change of the batch. */
static void touch(struct world *world, struct product *product)
{
    if (product->touched_batch == world->batch)
        return;
    product->touched_batch = world->batch;
    world_changes_append(world, CHANGE_PRODUCT_UPDATED, product)->updated.before = product->values;
}

/* The earliest time at which the clock alone changes this sale. */
static void note_edge(struct world *world, const struct product_values *values)
{
    int64_t edge = values->state == SALE_UPCOMING ? values->start_ms
                   : values->state == SALE_ACTIVE ? values->end_ms
                                                  : INT64_MAX;
    if (edge < world->next_edge_ms)
        world->next_edge_ms = edge;
}

/* --- products --- */

struct product *world_add_product(struct world *world, struct slice sku, const struct product_values *values)
{
    ENSURE(world->next_product_id < world->product_id_end);
    struct product *product =
        world_changes_make_room(world, 1) ? product_new(world, world->next_product_id, sku, values) : NULL;
    if (product == NULL)
        return NULL;
    if (!product_put(world, product)) {
        product_free(product);
        return NULL;
    }
    world->next_product_id++;
    product->touched_batch = world->batch;
    product->held_batch = world->batch;
    if (world->is_shared) /* with its buyers it goes by as the loaded ones do */
        list_append(&world->held, &product->held_node);
    world_changes_append(world, CHANGE_PRODUCT_ADDED, product);
    note_edge(world, values);
    return product;
}

bool world_set_product(struct world *world, struct product *product, const struct product_values *values)
{
    struct slice name = product->values.name;
    const struct product_values before = product->values;
    bool is_name_new = !slice_eq(values->name, name);
    if (!world_changes_make_room(world, 1) || (is_name_new && !slice_dup(values->name, &name)))
        return false;
    if (is_name_new && !product_rename(world, product, name)) {
        slice_free(name);
        return false;
    }
    struct change *change = world_changes_append(world, CHANGE_PRODUCT_UPDATED, product);
    change->updated.before = before;
    change->updated.is_name_new = is_name_new;
    product->touched_batch = world->batch;
    product->values = *values;
    product->values.name = name;
    note_edge(world, values);
    return true;
}

bool world_clear_purchases(struct world *world, struct product *product)
{
    if (product->purchase_id_last == 0)
        return true;
    if (!world_changes_make_room(world, 1))
        return false;
    struct change *change = world_changes_append(world, CHANGE_PURCHASES_CLEARED, product);
    change->cleared.buyers = product->buyers;
    change->cleared.id_first = product->purchase_id_first;
    change->cleared.id_last = product->purchase_id_last;
    map_init(&product->buyers);
    product->purchase_id_first = 0;
    product->purchase_id_last = 0;
    return true;
}

bool world_remove_product(struct world *world, struct product *product)
{
    if (!world_changes_make_room(world, 2) || !world_clear_purchases(world, product))
        return false;
    product_take_out(world, product);
    product->is_removed = true;
    world_changes_append(world, CHANGE_PRODUCT_REMOVED, product);
    return true;
}

bool world_label_product(struct world *world, struct product *product, const struct product_labels *labels)
{
    if (!world_changes_make_room(world, 1) || !world_load_labels(product, labels))
        return false;
    world_changes_append(world, CHANGE_PRODUCT_LABELLED, product);
    return true;
}

/* --- purchases --- */

/* The user's entry, made with count 0 when the user is new. NULL when memory is out. */
static struct buyer *buyer_take(const struct world *world, struct product *product, struct slice user)
{
    uint64_t hash = map_hash(&world->hash_key, user);
    struct buyer *buyer = map_get(&product->buyers, hash, buyer_is, &user);
    if (buyer != NULL)
        return buyer;
    ENSURE(user.len <= USER_LEN_MAX);
    buyer = malloc(sizeof *buyer + user.len);
    if (buyer == NULL)
        return NULL;
    buyer->hash = hash;
    buyer->count = 0;
    buyer->user_len = (uint16_t)user.len;
    copy_text(buyer->user, user);
    if (!map_put(&product->buyers, hash, buyer)) {
        free(buyer);
        return NULL;
    }
    return buyer;
}

static void purchase_ids_extend(struct product *product, int64_t id)
{
    if (product->purchase_id_first == 0)
        product->purchase_id_first = id;
    product->purchase_id_last = id;
}

bool world_add_purchase(
    struct world *world, struct product *product, struct slice user, int64_t now_ms, int64_t *purchase_id)
{
    ENSURE(product->values.stock > 0);
    ENSURE(world->next_purchase_id < world->purchase_id_end);
    struct buyer *buyer = world_changes_make_room(world, 2) ? buyer_take(world, product, user) : NULL;
    if (buyer == NULL)
        return false;
    touch(world, product);
    product->values.stock--;
    product->values.updated_ms = now_ms;
    buyer->count++;
    struct change *change = world_changes_append(world, CHANGE_PURCHASE_ADDED, product);
    change->purchase.buyer = buyer;
    change->purchase.id = world->next_purchase_id++;
    change->purchase.nth = buyer->count;
    change->purchase.purchased_ms = now_ms;
    change->purchase.id_first_before = product->purchase_id_first;
    change->purchase.id_last_before = product->purchase_id_last;
    purchase_ids_extend(product, change->purchase.id);
    *purchase_id = change->purchase.id;
    return true;
}

/* --- idempotency keys --- */

/* One block: the record, then scope and key. */
static struct key_record *key_new(const struct world *world, struct slice scope, struct slice key)
{
    struct key_record *record = calloc(1, sizeof *record + scope.len + key.len);
    if (record == NULL)
        return NULL;
    char *text = (char *)(record + 1);
    copy_text(text, scope);
    copy_text(text + scope.len, key);
    record->scope = slice_make(text, scope.len);
    record->key = slice_make(text + scope.len, key.len);
    record->hash = map_hash(&world->hash_key, key);
    list_init(&record->node);
    return record;
}

static bool key_put(struct world *world, struct key_record *record)
{
    if (!map_put(&world->keys_by_name, record->hash, record)) {
        free(record);
        return false;
    }
    list_append(&world->keys, &record->node);
    return true;
}

static void key_take_out(struct world *world, struct key_record *record)
{
    bool was_in = map_remove(&world->keys_by_name, record->hash, record);
    ENSURE(was_in);
    list_remove(&record->node);
}

bool world_add_key(
    struct world *world, const struct idempotency *idempotency, const struct outcome *outcome, int64_t now_ms)
{
    struct key_record *record =
        world_changes_make_room(world, 1) ? key_new(world, idempotency->scope, idempotency->key) : NULL;
    if (record == NULL)
        return false;
    record->id = world->next_key_id;
    record->batch = world->batch;
    record->created_ms = now_ms;
    memcpy(record->fingerprint, idempotency->fingerprint, FINGERPRINT_BYTES);
    record->result = outcome->result;
    record->number = outcome->number;
    record->time_ms = outcome->time_ms;
    if (!key_put(world, record))
        return false;
    world->next_key_id++;
    world_changes_append(world, CHANGE_KEY_ADDED, NULL)->key = record;
    return true;
}

bool world_remove_key(struct world *world, struct key_record *record)
{
    if (!world_changes_make_room(world, 1))
        return false;
    key_take_out(world, record);
    world_changes_append(world, CHANGE_KEY_REMOVED, NULL)->key = record;
    return true;
}

/* --- the end of a batch --- */

void world_begin(struct world *world)
{
    ENSURE(world->change_count == 0);
    world->batch++;
    world->repeats_answers = false;
    world->keys_surplus = 0;
}

static void accept_change(struct change *change)
{
    switch (change->kind) {
    case CHANGE_PRODUCT_UPDATED:
        if (change->updated.is_name_new)
            slice_free(change->updated.before.name);
        break;
    case CHANGE_PRODUCT_REMOVED:
        product_free(change->product);
        break;
    case CHANGE_PURCHASES_CLEARED:
        buyers_free(&change->cleared.buyers);
        break;
    case CHANGE_KEY_REMOVED:
        free(change->key);
        break;
    case CHANGE_WORK_ADDED:
    case CHANGE_WORK_UPDATED:
    case CHANGE_WORK_REMOVED:
        world_accept_work(change);
        break;
    case CHANGE_MACHINE_RENAMED:
    case CHANGE_MACHINE_REMOVED:
    case CHANGE_TICKET_ENDED:
        world_accept_pool(change);
        break;
    case CHANGE_TRANSFER_ADDED:
        world_accept_wallet(change);
        break;
    default: /* nothing was kept for them */
        break;
    }
}

void world_accept(struct world *world)
{
    for (size_t i = 0; i < world->change_count; i++)
        accept_change(&world->changes[i]);
    world->change_count = 0;
}

static void undo_purchase(struct change *change)
{
    struct product *product = change->product;
    struct buyer *buyer = change->purchase.buyer;
    product->purchase_id_first = change->purchase.id_first_before;
    product->purchase_id_last = change->purchase.id_last_before;
    if (--buyer->count > 0)
        return;
    bool was_in = map_remove(&product->buyers, buyer->hash, buyer);
    ENSURE(was_in);
    free(buyer);
}

static void undo_product_removal(struct world *world, struct product *product)
{
    /* The tables had this entry before and have not shrunk, so there is room. */
    bool is_put = product_put(world, product);
    ENSURE(is_put);
    product->is_removed = false;
    note_edge(world, &product->values);
}

/* There is room, as the old name was there before. */
static void undo_rename(struct world *world, struct product *product, struct slice name_before)
{
    struct slice name = product->values.name;
    bool is_renamed = product_rename(world, product, name_before);
    ENSURE(is_renamed);
    slice_free(name);
}

static void undo_change(struct world *world, struct change *change)
{
    struct product *product = change->product;
    switch (change->kind) {
    case CHANGE_PRODUCT_ADDED:
        product_take_out(world, product);
        product_free(product);
        break;
    case CHANGE_PRODUCT_UPDATED:
        if (change->updated.is_name_new)
            undo_rename(world, product, change->updated.before.name);
        product->values = change->updated.before;
        product->touched_batch = 0;
        note_edge(world, &product->values);
        break;
    case CHANGE_PRODUCT_REMOVED:
        undo_product_removal(world, product);
        break;
    case CHANGE_PURCHASES_CLEARED:
        buyers_free(&product->buyers);
        product->buyers = change->cleared.buyers;
        product->purchase_id_first = change->cleared.id_first;
        product->purchase_id_last = change->cleared.id_last;
        break;
    case CHANGE_PURCHASE_ADDED:
        undo_purchase(change);
        break;
    case CHANGE_KEY_ADDED:
        key_take_out(world, change->key);
        free(change->key);
        break;
    case CHANGE_KEY_REMOVED: {
        bool is_put = map_put(&world->keys_by_name, change->key->hash, change->key);
        ENSURE(is_put);                                 /* as for products */
        list_prepend(&world->keys, &change->key->node); /* only the oldest are ever removed */
        break;
    }
    case CHANGE_WORK_ADDED:
    case CHANGE_WORK_UPDATED:
    case CHANGE_WORK_REMOVED:
        world_undo_work(world, change);
        break;
    case CHANGE_ORDER_ADDED:
    case CHANGE_ORDER_UPDATED:
        world_undo_order(world, change);
        break;
    case CHANGE_ACCOUNT_ADDED:
        world_undo_account(world, change);
        break;
    case CHANGE_INTAKE_ADDED:
    case CHANGE_INTAKE_CANCELLED:
    case CHANGE_INTAKE_EXECUTED:
    case CHANGE_INTAKE_UPDATED:
        world_undo_intake(world, change);
        break;
    case CHANGE_MACHINE_ADDED:
    case CHANGE_MACHINE_UPDATED:
    case CHANGE_MACHINE_RENAMED:
    case CHANGE_MACHINE_REMOVED:
    case CHANGE_LEASE_ENDED:
    case CHANGE_TICKET_ADDED:
    case CHANGE_TICKET_UPDATED:
    case CHANGE_TICKET_ENDED:
    case CHANGE_POOL_UPDATED:
        world_undo_pool(world, change);
        break;
    case CHANGE_WALLET_ADDED:
    case CHANGE_WALLET_UPDATED:
    case CHANGE_TRANSFER_ADDED:
        world_undo_wallet(world, change);
        break;
    case CHANGE_PRODUCT_LABELLED:
    case CHANGE_PAYMENT_ADDED:
    case CHANGE_NOTIFICATION_ADDED:
    case CHANGE_NOTIFICATION_ENDED:
        break; /* rows without an entity */
    }
}

void world_rollback(struct world *world)
{
    while (world->change_count > 0)
        undo_change(world, &world->changes[--world->change_count]);
}

/* --- start and end --- */

void world_init(struct world *world, const struct map_key *hash_key)
{
    *world = (struct world){
        .hash_key = *hash_key,
        .next_edge_ms = INT64_MAX,
        .next_product_id = 1,
        .next_purchase_id = 1,
        .next_key_id = 1,
        .next_work_id = 1,
        .next_account_id = 1,
        .next_transfer_id = 1,
        .intake = {.next_id = 1},
        .product_id_end = INT64_MAX,
        .purchase_id_end = INT64_MAX,
        .work_id_end = INT64_MAX,
        .account_id_end = INT64_MAX,
        .transfer_id_end = INT64_MAX,
    };
    map_init(&world->products_by_sku);
    map_init(&world->products_by_name);
    map_init(&world->keys_by_name);
    world_init_pool(world);
    world_init_wallets(world);
    world_init_work(world);
    map_init(&world->orders_by_name);
    map_init(&world->orders_by_id);
    map_init(&world->accounts_by_username);
    map_init(&world->accounts_by_email);
    list_init(&world->pending_orders);
    list_init(&world->products);
    list_init(&world->keys);
    list_init(&world->held);
    list_init(&world->refreshed);
}

void world_fini(struct world *world)
{
    world_rollback(world);
    world_accept_refreshed(world);
    size_t cursor = 0;
    void *value;
    while ((value = map_next(&world->products_by_sku, &cursor)) != NULL)
        product_free(value);
    cursor = 0;
    while ((value = map_next(&world->keys_by_name, &cursor)) != NULL)
        free(value);
    map_fini(&world->products_by_sku);
    map_fini(&world->products_by_name);
    map_fini(&world->keys_by_name);
    world_drop_work(world);
    world_drop_orders(world);
    world_drop_accounts(world);
    world_drop_pool(world);
    world_drop_wallets(world);
    for (int i = 0; i < WORK_KIND_COUNT; i++)
        heap_fini(&world->work_queues[i]);
    free(world->changes);
}

struct product *world_load_product(
    struct world *world, int64_t id, struct slice sku, const struct product_values *values)
{
    struct product *product = product_new(world, id, sku, values);
    if (product == NULL)
        return NULL;
    if (!product_put(world, product)) {
        product_free(product);
        return NULL;
    }
    note_edge(world, values);
    return product;
}

bool world_load_labels(struct product *product, const struct product_labels *labels)
{
    ENSURE(product->labels.category.base == NULL);
    bool has_labels = labels->category.len > 0 || labels->is_featured;
    if (has_labels && !slice_dup(labels->category, &product->labels.category))
        return false;
    product->labels.is_featured = labels->is_featured;
    return true;
}

bool world_load_purchase(struct world *world, struct product *product, struct slice user, int64_t purchase_id)
{
    struct buyer *buyer = buyer_take(world, product, user);
    if (buyer == NULL)
        return false;
    buyer->count++;
    purchase_ids_extend(product, purchase_id);
    return true;
}

bool world_load_key(struct world *world, const struct key_record *record)
{
    struct key_record *copy = key_new(world, record->scope, record->key);
    if (copy == NULL)
        return false;
    copy->id = record->id;
    copy->created_ms = record->created_ms;
    memcpy(copy->fingerprint, record->fingerprint, FINGERPRINT_BYTES);
    copy->result = record->result;
    copy->number = record->number;
    copy->time_ms = record->time_ms;
    return key_put(world, copy);
}

/* --- what a shared store brings in --- */

void world_share(struct world *world)
{
    world->is_shared = true;
    world->product_id_end = world->next_product_id;
    world->purchase_id_end = world->next_purchase_id;
    world->work_id_end = world->next_work_id;
    world->account_id_end = world->next_account_id;
    world->transfer_id_end = world->next_transfer_id;
}

static void keys_unload(struct world *world)
{
    struct list *node;
    while ((node = list_first(&world->keys)) != NULL) {
        struct key_record *record = CONTAINER_OF(node, struct key_record, node);
        key_take_out(world, record);
        free(record);
    }
}

void world_unload(struct world *world)
{
    ENSURE(world->is_shared && world->change_count == 0);
    struct list *node;
    while ((node = list_first(&world->held)) != NULL) {
        struct product *product = CONTAINER_OF(node, struct product, held_node);
        list_remove(node);
        buyers_free(&product->buyers);
        map_init(&product->buyers);
    }
    keys_unload(world);
    if (world->work_by_id.count > 0)
        world_drop_work(world);
    if (world->orders_by_id.count > 0)
        world_drop_orders(world);
    if (world->accounts_by_username.count > 0)
        world_drop_accounts(world);
    if (world->wallets_by_key.count + world->transfers_by_nonce.count > 0)
        world_drop_wallets(world);
}

/* At the end of the list, once. */
static void note_refreshed(struct world *world, struct product *product)
{
    list_remove(&product->refreshed_node);
    list_append(&world->refreshed, &product->refreshed_node);
}

void world_forget_product(struct world *world, struct product *product)
{
    ENSURE(world->is_shared && world->change_count == 0);
    product_take_out(world, product);
    product->is_removed = true;
    note_refreshed(world, product);
}

static bool values_eq(const struct product_values *a, const struct product_values *b)
{
    return slice_eq(a->name, b->name) && a->initial_stock == b->initial_stock && a->stock == b->stock &&
           a->price_minor == b->price_minor && a->per_user_limit == b->per_user_limit &&
           a->start_ms == b->start_ms && a->end_ms == b->end_ms && a->state == b->state &&
           a->end_reason == b->end_reason && a->created_ms == b->created_ms && a->updated_ms == b->updated_ms;
}

/* Values that differ are put in the place of those that are known. */
static bool take_values(struct world *world, struct product *product, const struct product_values *values)
{
    struct slice name = product->values.name;
    if (!slice_eq(values->name, name)) {
        struct slice name_before = name;
        if (!slice_dup(values->name, &name))
            return false;
        if (!product_rename(world, product, name)) {
            slice_free(name);
            return false;
        }
        slice_free(name_before);
    }
    product->values = *values;
    product->values.name = name;
    note_edge(world, values);
    note_refreshed(world, product);
    return true;
}

struct product *world_refresh_product(
    struct world *world, int64_t id, struct slice sku, const struct product_values *values)
{
    ENSURE(world->is_shared && world->change_count == 0);
    struct product *product = world_product(world, sku);
    if (product != NULL && product->id != id) { /* removed, and made again under its name */
        world_forget_product(world, product);
        product = NULL;
    }
    if (product == NULL) {
        product = world_load_product(world, id, sku, values);
        if (product == NULL)
            return NULL;
        note_refreshed(world, product);
    } else if (!values_eq(&product->values, values) && !take_values(world, product, values)) {
        return NULL;
    }
    product->refresh_number = world->refresh_number;
    return product;
}

struct product *world_hold_product(
    struct world *world, int64_t id, struct slice sku, const struct product_values *values)
{
    struct product *product = world_refresh_product(world, id, sku, values);
    if (product == NULL)
        return NULL;
    product->held_batch = world->batch;
    list_remove(&product->held_node);
    list_append(&world->held, &product->held_node);
    return product;
}

void world_refresh_begin(struct world *world)
{
    world->refresh_number++;
}

void world_refresh_end(struct world *world)
{
    struct list *node = world->products.next;
    while (node != &world->products) {
        struct product *product = CONTAINER_OF(node, struct product, node);
        node = node->next;
        if (product->refresh_number != world->refresh_number)
            world_forget_product(world, product);
    }
}

bool world_load_buyer(struct world *world, struct product *product, struct slice user, int64_t count)
{
    struct buyer *buyer = buyer_take(world, product, user);
    if (buyer == NULL)
        return false;
    buyer->count = count;
    return true;
}

void world_accept_refreshed(struct world *world)
{
    struct list *node;
    while ((node = list_first(&world->refreshed)) != NULL) {
        struct product *product = CONTAINER_OF(node, struct product, refreshed_node);
        list_remove(node);
        if (product->is_removed)
            product_free(product);
    }
}
