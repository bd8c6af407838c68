/* SPDX-License-Identifier: Apache-2.0 */
#include "store_support.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/strbuf.h"

enum { TEXT_MAX = 256 * 1024 * 1024 };

void place_make(char place[PATH_MAX])
{
    const char *parent = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(place, PATH_MAX, "%s/doorbuster-test-XXXXXX", parent);
    assert_non_null(mkdtemp(place));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    return remove(path);
}

void place_remove(const char *place)
{
    assert_int_equal(nftw(place, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

const char *place_path(const char *place, const char *name)
{
    static char paths[8][PATH_MAX + 64];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", place, name);
    return path;
}

long file_size(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (long)status.st_size : -1;
}

void file_write(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(close(fd), 0);
}

char *file_read(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    *len = (size_t)status.st_size;
    char *bytes = malloc(*len + 1);
    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, *len), (ssize_t)*len);
    assert_int_equal(close(fd), 0);
    return bytes;
}

void file_copy(const char *from, const char *to)
{
    if (file_size(from) < 0)
        return;
    size_t len;
    char *bytes = file_read(from, &len);
    file_write(to, bytes, len);
    free(bytes);
}

/* --- worlds --- */

void test_world_init(struct world *world)
{
    static const struct map_key hash_key = {.bytes = "any fixed value"};
    world_init(world, &hash_key);
}

struct product *test_add_product(struct world *world, const char *sku, int64_t stock)
{
    struct product_values values = {
        .name = slice_cstr(sku),
        .initial_stock = stock,
        .stock = stock,
        .per_user_limit = 1000,
        .start_ms = 1000,
        .end_ms = 2000000,
        .state = SALE_ACTIVE,
        .end_reason = END_NONE,
        .created_ms = 900,
        .updated_ms = 901,
    };
    struct product *product = world_add_product(world, slice_cstr(sku), &values);
    assert_non_null(product);
    return product;
}

int64_t test_buy(struct world *world, const char *sku, const char *user, int64_t now_ms)
{
    struct product *product = world_product(world, slice_cstr(sku));
    int64_t id = 0;
    assert_non_null(product);
    assert_true(world_add_purchase(world, product, slice_cstr(user), now_ms, &id));
    return id;
}

void test_add_key(struct world *world, const char *scope, const char *key, int64_t number)
{
    struct idempotency idempotency = {.key = slice_cstr(key), .scope = slice_cstr(scope)};
    struct outcome outcome = {.result = RESULT_OK, .number = number, .time_ms = 5000};
    memset(idempotency.fingerprint, 0xA5, FINGERPRINT_BYTES);
    assert_true(world_add_key(world, &idempotency, &outcome, 6000));
}

static int compare_products(const void *a, const void *b)
{
    int64_t x = (*(struct product *const *)a)->id;
    int64_t y = (*(struct product *const *)b)->id;
    return x < y ? -1 : x > y;
}

static int compare_buyers(const void *a, const void *b)
{
    const struct buyer *x = *(struct buyer *const *)a;
    const struct buyer *y = *(struct buyer *const *)b;
    size_t len = x->user_len < y->user_len ? x->user_len : y->user_len;
    int order = memcmp(x->user, y->user, len);
    return order != 0 ? order : (int)x->user_len - (int)y->user_len;
}

/* The values of a map in order, malloc'ed. */
static void **sorted_values(const struct map *map, int (*compare)(const void *, const void *))
{
    void **values = malloc((map->count + 1) * sizeof *values);
    size_t count = 0;
    size_t cursor = 0;
    assert_non_null(values);
    while ((values[count] = map_next(map, &cursor)) != NULL)
        count++;
    assert_int_equal(count, map->count);
    qsort(values, count, sizeof *values, compare);
    return values;
}

static void put_product(struct strbuf *text, const struct product *product, bool is_shared)
{
    const struct product_values *v = &product->values;
    strbuf_printf(text, "product %lld '%.*s' name ", (long long)product->id, SLICE_ARGS(product->sku));
    strbuf_put_json(text, v->name);
    const int64_t numbers[] = {v->initial_stock, v->stock, v->price_minor, v->per_user_limit, v->start_ms,
        v->end_ms, v->state, v->end_reason, v->created_ms, v->updated_ms};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        strbuf_printf(text, " %lld", (long long)numbers[i]);
    if (!is_shared)
        strbuf_printf(
            text, " %lld %lld", (long long)product->purchase_id_first, (long long)product->purchase_id_last);
    strbuf_put_char(text, '\n');
    struct buyer **buyers = (struct buyer **)sorted_values(&product->buyers, compare_buyers);
    for (size_t i = 0; i < product->buyers.count; i++) {
        strbuf_lit(text, "  ");
        strbuf_put(text, slice_make(buyers[i]->user, buyers[i]->user_len));
        strbuf_printf(text, " %lld\n", (long long)buyers[i]->count);
    }
    free(buyers);
}

static int compare_keys(const void *a, const void *b)
{
    const struct key_record *x = *(struct key_record *const *)a;
    const struct key_record *y = *(struct key_record *const *)b;
    int order = slice_compare(x->scope, y->scope);
    return order != 0 ? order : slice_compare(x->key, y->key);
}

static void put_key(struct strbuf *text, const struct key_record *key, bool is_shared)
{
    strbuf_printf(text, "key %lld '%.*s' '%.*s' result %d number %lld time %lld created %lld ",
        is_shared ? 0 : (long long)key->id, SLICE_ARGS(key->scope), SLICE_ARGS(key->key), (int)key->result,
        (long long)key->number, (long long)key->time_ms, (long long)key->created_ms);
    for (int i = 0; i < FINGERPRINT_BYTES; i++)
        strbuf_printf(text, "%02x", key->fingerprint[i]);
    strbuf_put_char(text, '\n');
}

/* Oldest first; in a shared world, which knows only those of the batch, by name. */
static void put_keys(struct strbuf *text, const struct world *world)
{
    if (!world->is_shared) {
        LIST_FOR_EACH (node, &world->keys)
            put_key(text, CONTAINER_OF(node, struct key_record, node), false);
        return;
    }
    struct key_record **keys = (struct key_record **)sorted_values(&world->keys_by_name, compare_keys);
    for (size_t i = 0; i < world->keys_by_name.count; i++)
        put_key(text, keys[i], true);
    free(keys);
}

static char *take_text(struct strbuf *text)
{
    strbuf_put_char(text, '\0');
    assert_false(text->has_overflowed);
    return text->base;
}

char *test_world_text(const struct world *world)
{
    struct strbuf text;
    strbuf_init_heap(&text, TEXT_MAX);
    struct product **products = (struct product **)sorted_values(&world->products_by_sku, compare_products);
    for (size_t i = 0; i < world->products_by_sku.count; i++)
        put_product(&text, products[i], world->is_shared);
    free(products);
    put_keys(&text, world);
    return take_text(&text);
}

void test_commit(struct store *store, struct world *world)
{
    struct error error = {.message = ""};
    if (store_commit(store, world, &error) != ERR_NONE)
        fail_msg("the store refuses a commit: %s", error.message);
    world_accept(world);
}

void test_world_load(struct store *store, struct world *world)
{
    struct error error = {.message = ""};
    test_world_init(world);
    if (store->is_shared)
        world_share(world);
    if (store_load(store, world, NULL, 0, &error) != ERR_NONE)
        fail_msg("cannot load the world: %s", error.message);
    world_accept_refreshed(world);
}

/* --- batches --- */

enum step_kind { STEP_ADD, STEP_BUY, STEP_SET, STEP_CLEAR, STEP_REMOVE, STEP_ADD_KEY, STEP_REMOVE_KEY };

struct step {
    enum step_kind kind;
    char *name;   /* sku or scope */
    char *second; /* user or key; may be NULL */
    int64_t number;
    int64_t *id;
    void (*change)(struct product_values *values);
};

void batch_init(struct batch *batch)
{
    *batch = (struct batch){0};
}

static void forget_commands(struct batch *batch)
{
    for (size_t i = 0; i < batch->command_count; i++) {
        free((char *)(uintptr_t)batch->commands[i].sku.base);
        free((char *)(uintptr_t)batch->commands[i].user.base);
        free((char *)(uintptr_t)batch->commands[i].idempotency.scope.base);
        free((char *)(uintptr_t)batch->commands[i].idempotency.key.base);
    }
    free(batch->commands);
    free(batch->pointers);
    batch->command_count = 0;
    batch->commands = NULL;
    batch->pointers = NULL;
}

static void forget_steps(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        free(batch->steps[i].name);
        free(batch->steps[i].second);
    }
    batch->count = 0;
    batch->is_decided = false;
}

void batch_fini(struct batch *batch)
{
    forget_steps(batch);
    forget_commands(batch);
    free(batch->steps);
}

static struct step *note(struct batch *batch, enum step_kind kind, const char *name, const char *second)
{
    assert_false(batch->is_decided);
    if (batch->count == batch->size) {
        batch->size = batch->size == 0 ? 64 : batch->size * 2;
        batch->steps = realloc(batch->steps, batch->size * sizeof *batch->steps);
        assert_non_null(batch->steps);
    }
    struct step *step = &batch->steps[batch->count++];
    *step =
        (struct step){.kind = kind, .name = strdup(name), .second = second == NULL ? NULL : strdup(second)};
    return step;
}

void batch_add(struct batch *batch, const char *sku, int64_t stock)
{
    note(batch, STEP_ADD, sku, NULL)->number = stock;
}

void batch_buy(struct batch *batch, const char *sku, const char *user, int64_t now_ms, int64_t *id)
{
    struct step *step = note(batch, STEP_BUY, sku, user);
    step->number = now_ms;
    step->id = id;
}

void batch_set(struct batch *batch, const char *sku, void (*change)(struct product_values *values))
{
    note(batch, STEP_SET, sku, NULL)->change = change;
}

void batch_clear(struct batch *batch, const char *sku)
{
    (void)note(batch, STEP_CLEAR, sku, NULL);
}

void batch_remove(struct batch *batch, const char *sku)
{
    (void)note(batch, STEP_REMOVE, sku, NULL);
}

void batch_add_key(struct batch *batch, const char *scope, const char *key, int64_t number)
{
    note(batch, STEP_ADD_KEY, scope, key)->number = number;
}

void batch_remove_key(struct batch *batch, const char *scope, const char *key)
{
    (void)note(batch, STEP_REMOVE_KEY, scope, key);
}

static struct slice copy_of(const char *text)
{
    char *copy = strdup(text);
    assert_non_null(copy);
    return slice_cstr(copy);
}

static struct command command_of(const struct step *step)
{
    struct command command = {.kind = COMMAND_PURCHASE};
    switch (step->kind) {
    case STEP_BUY:
        command.sku = copy_of(step->name);
        command.user = copy_of(step->second);
        break;
    case STEP_ADD_KEY:
    case STEP_REMOVE_KEY:
        command.idempotency.scope = copy_of(step->name);
        command.idempotency.key = copy_of(step->second);
        break;
    case STEP_ADD:
    case STEP_SET:
    case STEP_CLEAR:
    case STEP_REMOVE:
        command.kind = COMMAND_PRODUCT_CREATE;
        command.sku = copy_of(step->name);
        break;
    }
    return command;
}

static void make_commands(struct batch *batch)
{
    forget_commands(batch);
    batch->commands = calloc(batch->count + 1, sizeof *batch->commands);
    batch->pointers = calloc(batch->count + 1, sizeof *batch->pointers);
    assert_true(batch->commands != NULL && batch->pointers != NULL);
    for (size_t i = 0; i < batch->count; i++) {
        batch->commands[i] = command_of(&batch->steps[i]);
        batch->pointers[i] = &batch->commands[i];
    }
    batch->command_count = batch->count;
}

enum err batch_load(struct batch *batch, struct store *store, struct world *world, struct error *error)
{
    make_commands(batch);
    world_begin(world);
    return store_load(store, world, batch->pointers, batch->command_count, error);
}

static void set_product(struct world *world, const struct step *step)
{
    struct product *product = world_product(world, slice_cstr(step->name));
    assert_non_null(product);
    struct product_values values = product->values;
    step->change(&values);
    assert_true(world_set_product(world, product, &values));
}

static void do_step(struct world *world, const struct step *step)
{
    struct slice name = slice_cstr(step->name);
    struct product *product = step->kind <= STEP_REMOVE ? world_product(world, name) : NULL;
    int64_t id = 0;
    assert_true(product != NULL || step->kind == STEP_ADD || step->kind > STEP_REMOVE);
    switch (step->kind) {
    case STEP_ADD:
        (void)test_add_product(world, step->name, step->number);
        break;
    case STEP_BUY:
        id = test_buy(world, step->name, step->second, step->number);
        break;
    case STEP_SET:
        set_product(world, step);
        break;
    case STEP_CLEAR:
        assert_true(world_clear_purchases(world, product));
        break;
    case STEP_REMOVE:
        assert_true(world_remove_product(world, product));
        break;
    case STEP_ADD_KEY:
        test_add_key(world, step->name, step->second, step->number);
        break;
    case STEP_REMOVE_KEY:
        assert_true(world_remove_key(world, world_key(world, name, slice_cstr(step->second))));
        break;
    }
    if (step->id != NULL)
        *step->id = id;
}

void batch_do(struct batch *batch, struct world *world)
{
    for (size_t i = 0; i < batch->count; i++)
        do_step(world, &batch->steps[i]);
    batch->is_decided = true;
}

void batch_decide(struct batch *batch, struct store *store, struct world *world)
{
    struct error error = {.message = ""};
    if (batch_load(batch, store, world, &error) != ERR_NONE)
        fail_msg("the store refuses a load: %s", error.message);
    batch_do(batch, world);
}

enum err batch_try_commit(struct batch *batch, struct store *store, struct world *world, struct error *error)
{
    if (!batch->is_decided)
        batch_decide(batch, store, world);
    enum err err = ERR_NONE;
    if (store->is_shared && world->change_count == 0)
        store_abandon(store); /* as the engine does it: there is nothing to write */
    else
        err = store_commit(store, world, error);
    if (err == ERR_NONE)
        world_accept(world);
    else
        world_rollback(world);
    world_accept_refreshed(world);
    forget_steps(batch);
    return err;
}

void batch_commit(struct batch *batch, struct store *store, struct world *world)
{
    struct error error = {.message = ""};
    if (batch_try_commit(batch, store, world, &error) != ERR_NONE)
        fail_msg("the store refuses a commit: %s", error.message);
}

void batch_roll_back(struct batch *batch, struct store *store, struct world *world)
{
    assert_true(batch->is_decided);
    world_rollback(world);
    store_abandon(store);
    world_accept_refreshed(world);
    forget_steps(batch);
}

void batch_look(const struct batch *batch, struct store *store, struct world *world)
{
    struct error error = {.message = ""};
    world_begin(world);
    if (store_load(store, world, batch->pointers, batch->command_count, &error) != ERR_NONE)
        fail_msg("the store refuses a load: %s", error.message);
    store_abandon(store);
    world_accept_refreshed(world);
}

/* --- files --- */

static void put_rows(struct strbuf *text, sqlite3 *db, const char *sql)
{
    sqlite3_stmt *rows;
    int rc = sqlite3_prepare_v2(db, sql, -1, &rows, NULL);
    if (rc != SQLITE_OK)
        fail_msg("cannot read rows: %s", sqlite3_errmsg(db));
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(rows); i++) {
            const char *value = (const char *)sqlite3_column_text(rows, i);
            strbuf_printf(text, "%s|", value == NULL ? "NULL" : value);
        }
        strbuf_put_char(text, '\n');
    }
    assert_int_equal(rc, SQLITE_DONE);
    assert_int_equal(sqlite3_finalize(rows), SQLITE_OK);
}

char *test_rows_text(const char *path)
{
    static const char *const queries[] = {
        "SELECT * FROM products ORDER BY id",
        "SELECT * FROM purchases ORDER BY id",
        ("SELECT id, scope, key, hex(fingerprint), result, number, time, created_at FROM idempotency_keys"
         " ORDER BY id"),
        "SELECT * FROM work ORDER BY id",
        "SELECT * FROM accounts ORDER BY id",
        "SELECT account_id, hex(public_key), balance_minor, last_transfer_id, updated_at FROM wallets",
        ("SELECT id, kind, from_account, to_account, from_previous_id, to_previous_id, amount_minor,"
         " from_balance_minor, to_balance_minor, product_id, purchase_id, nonce, hex(fingerprint), created_at"
         " FROM transfers ORDER BY id"),
        "SELECT * FROM machines ORDER BY id",
        "SELECT * FROM leases ORDER BY id",
        "SELECT * FROM tickets ORDER BY id",
        "SELECT * FROM pool",
        "SELECT * FROM sequences ORDER BY name",
        "PRAGMA quick_check",
    };
    struct strbuf text;
    sqlite3 *db;
    strbuf_init_heap(&text, TEXT_MAX);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++)
        put_rows(&text, db, queries[i]);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return take_text(&text);
}
