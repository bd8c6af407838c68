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

static void put_product(struct strbuf *text, const struct product *product)
{
    const struct product_values *v = &product->values;
    strbuf_printf(text, "product %lld '%.*s' name ", (long long)product->id, SLICE_ARGS(product->sku));
    strbuf_put_json(text, v->name);
    const int64_t numbers[] = {v->initial_stock, v->stock, v->price_minor, v->per_user_limit, v->start_ms,
        v->end_ms, v->state, v->end_reason, v->created_ms, v->updated_ms, product->purchase_id_first,
        product->purchase_id_last};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        strbuf_printf(text, " %lld", (long long)numbers[i]);
    strbuf_put_char(text, '\n');
    struct buyer **buyers = (struct buyer **)sorted_values(&product->buyers, compare_buyers);
    for (size_t i = 0; i < product->buyers.count; i++) {
        strbuf_lit(text, "  ");
        strbuf_put(text, slice_make(buyers[i]->user, buyers[i]->user_len));
        strbuf_printf(text, " %lld\n", (long long)buyers[i]->count);
    }
    free(buyers);
}

static void put_key(struct strbuf *text, const struct key_record *key)
{
    strbuf_printf(text, "key %lld '%.*s' '%.*s' result %d number %lld time %lld created %lld ",
        (long long)key->id, SLICE_ARGS(key->scope), SLICE_ARGS(key->key), (int)key->result,
        (long long)key->number, (long long)key->time_ms, (long long)key->created_ms);
    for (int i = 0; i < FINGERPRINT_BYTES; i++)
        strbuf_printf(text, "%02x", key->fingerprint[i]);
    strbuf_put_char(text, '\n');
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
        put_product(&text, products[i]);
    free(products);
    LIST_FOR_EACH (node, &world->keys)
        put_key(&text, CONTAINER_OF(node, struct key_record, node));
    return take_text(&text);
}

void test_commit(struct store *store, struct world *world)
{
    struct error error = {.message = ""};
    if (store_commit(store, world, &error) != ERR_NONE)
        fail_msg("the store refuses a commit: %s", error.message);
    world_accept(world);
}

/* --- files --- */

static void put_rows(struct strbuf *text, sqlite3 *db, const char *sql)
{
    sqlite3_stmt *rows;
    int rc = sqlite3_prepare_v2(db, sql, -1, &rows, NULL);
    if (rc != SQLITE_OK)
        fail_msg("cannot read rows: %s", sqlite3_errmsg(db));
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(rows); i++)
            strbuf_printf(text, "%s|", (const char *)sqlite3_column_text(rows, i));
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
