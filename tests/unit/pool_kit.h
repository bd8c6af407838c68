/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of machines and of the line share: each wish in one line, decided at the kit's time. After each
 * of them the pool is checked (world_check_pool), and a refusal must have changed nothing. The answer stays
 * in the kit until the next one.
 */
#ifndef DOORBUSTER_TESTS_UNIT_POOL_KIT_H
#define DOORBUSTER_TESTS_UNIT_POOL_KIT_H

#include "core/machine.h"
#include "world_kit.h"

struct pool_kit {
    struct world *world;
    struct rules rules;
    int64_t now_ms;
    struct pool_request request; /* of the last wish, with its answer */
    struct outcome outcome;
};

/* 5 s to dispense, 60 s to choose, a line of 100; the time is 1,000. */
void pool_kit_init(struct pool_kit *kit, struct world *world);

/* The id of the new machine. */
int64_t ask_machine(struct pool_kit *kit, const char *name);

enum result ask_rename(struct pool_kit *kit, int64_t machine_id, const char *name);
enum result ask_drain(struct pool_kit *kit, int64_t machine_id, bool is_draining);
enum result ask_delete(struct pool_kit *kit, int64_t machine_id);

/* lease_id 0: whichever. */
enum result ask_reset(struct pool_kit *kit, int64_t machine_id, int64_t lease_id);
enum result ask_take(struct pool_kit *kit);
enum result ask_take_or_wait(struct pool_kit *kit, int64_t until_ms);

/* As many coins as units, by whichever lease. A product that does not exist is named as the face would. */
enum result ask_choose(struct pool_kit *kit, int64_t machine_id, const char *sku, int64_t units);
enum result ask_choose_by(struct pool_kit *kit, int64_t machine_id, int64_t lease_id, const char *sku,
    int64_t units, int64_t coins);

/* The number of the ticket is in the request. */
enum result ask_ticket(struct pool_kit *kit, int64_t until_ms);
enum result ask_keep(struct pool_kit *kit, int64_t ticket_id, int64_t until_ms);
enum result ask_leave(struct pool_kit *kit, int64_t ticket_id);

enum result ask_product(struct pool_kit *kit, const char *sku, const char *name, int64_t stock);
enum result ask_stock(struct pool_kit *kit, const char *sku, int64_t stock);

/* Time goes on to then, and a tick happens. */
void pool_tick(struct pool_kit *kit, int64_t now_ms);

/* The machine as it is; it must exist. */
const struct machine_values *machine_now(const struct pool_kit *kit, int64_t machine_id);

#endif
