/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the world share: world.c, world_*.c, account.c, intake.c. Not for other modules. */
#ifndef DOORBUSTER_CORE_WORLD_PRIV_H
#define DOORBUSTER_CORE_WORLD_PRIV_H

#include "core/account.h"
#include "core/intake.h"
#include "core/world_order.h"
#include "core/world_work.h"

/* Room for so many more changes; false when memory is out. */
bool world_changes_make_room(struct world *world, size_t more);

/* The next change, with room made before; the caller fills it with everything else already done or sure to
 * succeed. */
struct change *world_changes_append(struct world *world, enum change_kind kind, struct product *product);

/* The CHANGE_WORK_ kinds in world_accept and world_rollback. */
void world_accept_work(const struct change *change);
void world_undo_work(struct world *world, const struct change *change);

/* The CHANGE_ORDER_, CHANGE_ACCOUNT_ and CHANGE_INTAKE_ kinds in world_rollback. */
void world_undo_order(struct world *world, const struct change *change);
void world_undo_account(struct world *world, const struct change *change);
void world_undo_intake(struct world *world, const struct change *change);

/* Parts of world_init. */
void world_init_work(struct world *world);

/* Free all work, all orders, all accounts. */
void world_drop_work(struct world *world);
void world_drop_orders(struct world *world);
void world_drop_accounts(struct world *world);

/* Ids are ours and count up, but a table wants its entries spread (splitmix64). */
static inline uint64_t world_hash_id(int64_t id)
{
    uint64_t hash = (uint64_t)id * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

#endif
