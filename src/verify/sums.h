/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums that most invariants need, made once from the rows of the snapshot and kept in temporary tables:
 *
 *   temp.audit_repeats   one row per (product, user) with more than one purchase, or with one whose nth is
 *                        not 1: product_id, user_id, purchases, nth_min, nth_max, nth_distinct, is_payer (a
 *                        machine or a wallet, as " machine 7" and " key 3b...": who pays has no limit)
 *   temp.audit_shared    id of every purchase that stands behind a row of audit_repeats
 *   temp.audit_products  one row per product_id that occurs in purchases, whether the product exists or not:
 *                        product_id, purchases, buyers (different users), purchased_first, purchased_last,
 *                        purchase_id_first; paid_purchases, payers: those of who pays among them
 *   temp.audit_order_repeats         one row per order_id that is there more than once: order_id, orders,
 *                        id_first, id_last
 *   temp.audit_notification_repeats  one row per (order, channel) with more than one notification: order_id,
 *                        channel, notifications, id_last
 *   temp.audit_holders   one row per lease that goes on: id, machine_id, ticket_id, started_at, chosen_at,
 *                        product_id, units, purchase_id
 *   temp.audit_all_leases  a view: those, and the ones that have ended, with outcome and ended_at
 *   temp.audit_choices   a view, one row per lease with a choice: id, machine_id, chosen_at, product_id,
 *                        units, purchase_id
 *   temp.audit_line      one row per ticket: id, state, first_lease_id, end_lease_id; until_before: the lease
 *                        at which the last of those before it had gone (NULL: there are none); until: the
 *                        same of those up to it, itself with its own lease left out
 *   temp.audit_spends    one row per transfer to the shop: id, purchase_id, product_id, created_at,
 *                        from_account, payer: who must be its buyer (NULL: there is no such wallet)
 *   temp.audit_nonce_repeats         one row per nonce that a payer (from_account NULL: the admin) has used
 *                        more than once: from_account, nonce, transfers, id_first, id_last
 *   temp.audit           the view to ask: one row per product with its columns, its sums (0 without
 *                        purchases), users and user_purchases (who pays and theirs left out) and
 *                        expected_users (NULL: nothing is expected), from temp.audit_expected (sku, users)
 *
 * and those of turns.h, machine_sales.h and wallet_books.h.
 */
#ifndef DOORBUSTER_VERIFY_SUMS_H
#define DOORBUSTER_VERIFY_SUMS_H

#include <sqlite3.h>

#include "base/err.h"

/* Needs what snapshot.h promises. Memory: 24 bytes a purchase, an order or a notification while it runs, 64 a
 * lease. ERR_CORRUPT: the rows cannot be read. */
MUST_CHECK enum err sums_make(sqlite3 *db, struct error *error);

#endif
