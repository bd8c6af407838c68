/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the stores share: places on disk, small worlds, and worlds and files as text to compare.
 * */
#ifndef DOORBUSTER_TESTS_STORE_SUPPORT_H
#define DOORBUSTER_TESTS_STORE_SUPPORT_H

#include <limits.h>

#include "core/world.h"
#include "store/store.h"

/* --- places --- */

/* A new directory; in memory where the system has such, so that a thousand flushes cost nothing. */
void place_make(char place[PATH_MAX]);
void place_remove(const char *place);

/* "place/name" in one of a few static buffers, good until several calls later. */
const char *place_path(const char *place, const char *name);

/* Bytes of the file; -1 when there is none. */
long file_size(const char *path);
void file_write(const char *path, const void *bytes, size_t len);
/* The whole file, malloc'ed. */
char *file_read(const char *path, size_t *len);
/* Nothing happens when there is no `from`. */
void file_copy(const char *from, const char *to);

/* --- worlds --- */

void test_world_init(struct world *world);

/* An active sale that ends in the far future. */
struct product *test_add_product(struct world *world, const char *sku, int64_t stock);

/* Returns the purchase's id. */
int64_t test_buy(struct world *world, const char *sku, const char *user, int64_t now_ms);

void test_add_key(struct world *world, const char *scope, const char *key, int64_t number);

/* All that a world holds, in a fixed order, malloc'ed. The next ids are not part of it. */
char *test_world_text(const struct world *world);

/* Commits and accepts; the test fails when the store refuses. */
void test_commit(struct store *store, struct world *world);

/* An empty world as this kind of store wants it, then loaded from it; the test fails when it cannot be. */
void test_world_load(struct store *store, struct world *world);

/*
 * --- batches ---
 *
 * Steps to be done to a world, written down first, so that a store that is shared can be told what they
 * touch: begin, load, do them, then commit or abandon, as the engine does it. The same steps go to every kind
 * of store. What has gone wrong but must not fails the test.
 */
struct step;

struct batch {
    struct step *steps;
    size_t count;
    size_t size;
    struct command *commands; /* what the steps touch, of the last batch that was decided */
    const struct command **pointers;
    size_t command_count;
    bool is_decided;
};

void batch_init(struct batch *batch);
void batch_fini(struct batch *batch);

/* The texts are copied. *id, which may be NULL, is set when the batch is decided. */
void batch_add(struct batch *batch, const char *sku, int64_t stock); /* as test_add_product */
void batch_buy(struct batch *batch, const char *sku, const char *user, int64_t now_ms, int64_t *id);
void batch_set(struct batch *batch, const char *sku, void (*change)(struct product_values *values));
void batch_clear(struct batch *batch, const char *sku);
void batch_remove(struct batch *batch, const char *sku);
void batch_add_key(struct batch *batch, const char *scope, const char *key, int64_t number);
void batch_remove_key(struct batch *batch, const char *scope, const char *key);

/* Begins and loads what the steps touch; what store_load says. */
enum err batch_load(struct batch *batch, struct store *store, struct world *world, struct error *error);

/* Does the steps to a world that is loaded. */
void batch_do(struct batch *batch, struct world *world);

/* Both. */
void batch_decide(struct batch *batch, struct store *store, struct world *world);

/* Decides unless that was done, and commits; the steps are forgotten, accepted or rolled back. */
enum err batch_try_commit(struct batch *batch, struct store *store, struct world *world, struct error *error);
void batch_commit(struct batch *batch, struct store *store, struct world *world);

/* Takes back what was decided. */
void batch_roll_back(struct batch *batch, struct store *store, struct world *world);

/* Loads what the batch before has touched, and changes nothing. */
void batch_look(const struct batch *batch, struct store *store, struct world *world);

/* --- files --- */

/* Every row of every table of an SQLite store, malloc'ed. The file may be live. */
char *test_rows_text(const char *path);

#endif
