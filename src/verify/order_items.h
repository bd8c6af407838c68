/* SPDX-License-Identifier: Apache-2.0 */
/* What an order's items come to, reckoned from the digits that stand in the store. Any thread. */
#ifndef DOORBUSTER_VERIFY_ORDER_ITEMS_H
#define DOORBUSTER_VERIFY_ORDER_ITEMS_H

#include <sqlite3.h>

#include "base/err.h"
#include "base/slice.h"
#include "base/strbuf.h"

/*
 * True when `items` is a JSON array of one {product_id: text, quantity: whole number > 0, price: number >= 0}
 * or more, each member once and no other, and the sum of quantity x price, exact and rounded half up to
 * hundredths once, is amount_minor. False: what is wrong is put into `fault`, to follow on the order's name.
 */
bool order_items_fit(struct slice items, int64_t amount_minor, struct strbuf *fault);

/* SQL gets audit_items_fault(items, amount_minor): NULL when they fit, else what is wrong. */
MUST_CHECK enum err order_items_register(sqlite3 *db, struct error *error);

#endif
