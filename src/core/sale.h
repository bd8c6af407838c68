/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of a flash sale (flash-sale contract, sections 2.1 and 4): UPCOMING -> ACTIVE -> ENDED by the
 * clock, ENDED too by the purchase of the last unit, and who may buy. Engine thread; time comes in as an
 * argument.
 */
#ifndef DOORBUSTER_CORE_SALE_H
#define DOORBUSTER_CORE_SALE_H

#include "core/world.h"

/*
 * Moves every sale whose time has come by one state, so that a sale that lies wholly in the past becomes
 * ACTIVE with one call and ENDED with the next. In a shared world only those that are certain move, and none
 * ends when there are no ids for its close-out: the next call ends it. Calls
 * whose time has not come cost nothing (world->next_edge_ms). False when memory is out: the batch must be
 * rolled back.
 */
bool sale_tick(struct world *world, int64_t now_ms);

/*
 * One buyer asks for one unit. In this order: the sale is not ACTIVE, its start has not come (by a clock that
 * was set back) or its end has come (which ends it): SALE_NOT_ACTIVE; the user has bought as many as one user
 * may: ALREADY_PURCHASED; nothing left: SOLD_OUT; else the unit is the buyer's. With says_sold_out a sale
 * that ended because it was sold out answers SOLD_OUT instead of SALE_NOT_ACTIVE. False when memory is out:
 * the batch must be rolled back.
 */
bool sale_purchase(struct world *world, bool says_sold_out, struct command *command, int64_t now_ms);

/* How many units anybody can buy now: 0 unless the sale is ACTIVE and its window is open. */
int64_t sale_available(const struct product *product, int64_t now_ms);

/*
 * The one way to take stock: so many units, at least 1 and not more than sale_available says, to one user;
 * each is a purchase, and *purchase_id is the id of the first, after which the others follow without a gap.
 * Taking the last one ends the sale. False when memory is out: the batch must be rolled back.
 */
bool sale_take_units(struct world *world, struct product *product, struct slice user, int64_t units,
    int64_t now_ms, int64_t *purchase_id);

/*
 * After the stock was set: none left ends an ACTIVE sale; some left opens one again that was sold out, or,
 * when its end has come meanwhile, makes it one that has ended by its clock. False when memory is out.
 */
bool sale_follow_stock(struct world *world, struct product *product, int64_t now_ms);

/*
 * Whatever ends a sale adds, in the same decision, work of kind SALE_CLOSEOUT, due at once: somebody shall
 * prove from the rows that it sold what it should (service/closeout.h). Its subject is the sku, its body
 * this.
 */
struct sale_closeout {
    int64_t product_id;
    /* A hint for a store that has no index by product: the ids of all its purchases lie between them; 0 and
     * 0: there are none, or it is not known. */
    int64_t purchase_id_first;
    int64_t purchase_id_last;
};

/* False: the body is none that sale.c writes. */
bool sale_closeout_read(struct slice body, struct sale_closeout *closeout);

#endif
