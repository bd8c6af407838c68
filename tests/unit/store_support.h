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

/* --- files --- */

/* Every row of every table of an SQLite store, malloc'ed. The file may be live. */
char *test_rows_text(const char *path);

#endif
