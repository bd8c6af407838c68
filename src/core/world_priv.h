/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the world share: world.c and world_work.c. Not for other modules. */
#ifndef DOORBUSTER_CORE_WORLD_PRIV_H
#define DOORBUSTER_CORE_WORLD_PRIV_H

#include "core/world_work.h"

/* Room for so many more changes; false when memory is out. */
bool world_changes_make_room(struct world *world, size_t more);

/* The next change, with room made before; the caller fills it with everything else already done or sure to
 * succeed. */
struct change *world_changes_append(struct world *world, enum change_kind kind, struct product *product);

/* The CHANGE_WORK_ kinds in world_accept and world_rollback. */
void world_accept_work(const struct change *change);
void world_undo_work(struct world *world, const struct change *change);

/* Frees all work. */
void world_drop_work(struct world *world);

#endif
