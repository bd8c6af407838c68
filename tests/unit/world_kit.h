/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of the rules share: commands in one line, and the whole world as text, so that two worlds can be
 * compared. The slices of a command borrow the C strings they were made from.
 */
#ifndef DOORBUSTER_TESTS_UNIT_WORLD_KIT_H
#define DOORBUSTER_TESTS_UNIT_WORLD_KIT_H

#include "base/strbuf.h"
#include "core/rules.h"

extern const struct map_key world_kit_hash_key;

struct command make_purchase(const char *sku, const char *user);

/* With all required fields; name "Widget". */
struct command make_create(const char *sku, int64_t stock, int64_t start_ms, int64_t end_ms);

/* Names nothing yet; the fields are filled in by the caller. */
struct command make_update(const char *sku);
struct command make_patch_limit(const char *sku, int64_t per_user_limit);
struct command make_patch_price(const char *sku, int64_t price_minor);
struct command make_delete(const char *sku);

/* The same command with an Idempotency-Key; `body` stands for what the fingerprint is made of. */
struct command with_key(struct command command, const char *scope, const char *key, unsigned char body);

/*
 * Everything that a rollback has to bring back, in a fixed order: products with all values, their purchases
 * and buyers, stored answers in order of age, accounts, wallets, machines, the waiting line in its order.
 * Aborts when the world's indexes contradict each other. Ids to be given out (but for the pool's), batch
 * numbers and the time of the next tick are not in it.
 */
void world_dump(const struct world *world, struct strbuf *text);

/*
 * Aborts unless every machine and every ticket stands exactly where it belongs: idle, choosing or processing
 * and nothing else, in the right heaps, the line in order of id, no lease twice or from the future, and
 * nobody waiting while a machine may be taken.
 */
void world_check_pool(const struct world *world);

/* Aborts unless no sale has an edge in time before world->next_edge_ms. */
void world_check_next_edge(const struct world *world);

#endif
