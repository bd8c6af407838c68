/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules by which products are made, changed and removed (flash-sale contract, sections 2.5 to 2.8 and
 * 17). The fields were checked for form by the face; what needs the world is decided here. Engine thread. All
 * return false when memory is out: the batch must be rolled back.
 */
#ifndef DOORBUSTER_CORE_CATALOGUE_H
#define DOORBUSTER_CORE_CATALOGUE_H

#include "core/world.h"

/* Makes a product, or starts an existing one afresh: UPCOMING, full stock, no purchases, first creation time.
 */
bool catalogue_create(struct world *world, struct command *command, int64_t now_ms);

/*
 * Changes what is named and starts afresh, only while UPCOMING (else SALE_IS_ACTIVE or SALE_HAS_ENDED).
 * Nothing named: nothing changes. An unknown product is made when all required fields are there, else
 * PRODUCT_NOT_FOUND.
 */
bool catalogue_update(struct world *world, struct command *command, int64_t now_ms);

/*
 * Changes price or per-user limit at any time, and nothing else: no other field may be named. The limit is
 * not lowered once units have been sold (LIMIT_BELOW_SOLD), so that no past purchase ever stands above it.
 */
bool catalogue_patch(struct world *world, struct command *command, int64_t now_ms);

/*
 * A new product under a name that no other has, on sale from now on (vending contract). SKU_TAKEN,
 * PRODUCT_NAME_TAKEN. Its sale never ends but by selling out, and one user of the flash sale may buy one
 * unit.
 */
bool catalogue_add(struct world *world, struct command *command, int64_t now_ms);

/* So many units are left from now on; what was supplied moves by the same number. PRODUCT_NOT_FOUND,
 * STOCK_TOO_LARGE. */
bool catalogue_set_stock(struct world *world, struct command *command, int64_t now_ms);

/* Removes the product and its purchases; OK too when there is none, unless the command names its id:
 * PRODUCT_NOT_FOUND then. */
bool catalogue_delete(struct world *world, struct command *command);

#endif
