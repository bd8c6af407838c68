/* SPDX-License-Identifier: Apache-2.0 */
/* The ways of spoiling a store that test_verify_corrupt.c goes through. */
#ifndef DOORBUSTER_TEST_VERIFY_CORRUPTIONS_H
#define DOORBUSTER_TEST_VERIFY_CORRUPTIONS_H

#include "test_verify_support.h"

#define SELL(id, product, user, nth)                                        \
    "INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)" \
    " VALUES (" #id ", " #product ", '" user "', " #nth ", 1795218499000);"

#define ACKNOWLEDGED(sku, user, number)                                                                      \
    "{\"sku\":\"" sku "\",\"user\":\"" user "\",\"outcome\":\"acknowledged\",\"purchaseNo\":\"" number "\"}" \
    "\n"

extern const struct corruption sale_corruptions[];
extern const size_t sale_corruption_count;
extern const struct corruption order_corruptions[];
extern const size_t order_corruption_count;
extern const struct corruption machine_corruptions[];
extern const size_t machine_corruption_count;
/* Of the store with wallets. */
extern const struct corruption wallet_corruptions[];
extern const size_t wallet_corruption_count;

#endif
