/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the world share: world.c, world_*.c, account.c, intake.c. Not for other modules. */
#ifndef DOORBUSTER_CORE_WORLD_PRIV_H
#define DOORBUSTER_CORE_WORLD_PRIV_H

#include "core/account.h"
#include "core/intake.h"
#include "core/world_order.h"
#include "core/world_pool.h"
#include "core/world_wallet.h"
#include "core/world_work.h"

/* Room for so many more changes; false when memory is out. */
bool world_changes_make_room(struct world *world, size_t more);

/* The next change, with room made before; the caller fills it with everything else already done or sure to
 * succeed. */
struct change *world_changes_append(struct world *world, enum change_kind kind, struct product *product);

/* The CHANGE_WORK_ kinds in world_accept and world_rollback. */
void world_accept_work(const struct change *change);
void world_undo_work(struct world *world, const struct change *change);

/* The kinds of machines, leases, tickets and the pool. */
void world_accept_pool(const struct change *change);
void world_undo_pool(struct world *world, const struct change *change);

/* The kinds of wallets and transfers. */
void world_accept_wallet(const struct change *change);
void world_undo_wallet(struct world *world, const struct change *change);

/* The CHANGE_ORDER_, CHANGE_ACCOUNT_ and CHANGE_INTAKE_ kinds in world_rollback. */
void world_undo_order(struct world *world, const struct change *change);
void world_undo_account(struct world *world, const struct change *change);
void world_undo_intake(struct world *world, const struct change *change);

/* Parts of world_init. */
void world_init_work(struct world *world);
void world_init_pool(struct world *world);
void world_init_wallets(struct world *world);

/* Free all work, all orders, all accounts, all machines and tickets, all wallets and transfers. */
void world_drop_work(struct world *world);
void world_drop_orders(struct world *world);
void world_drop_accounts(struct world *world);
void world_drop_pool(struct world *world);
void world_drop_wallets(struct world *world);

#endif
