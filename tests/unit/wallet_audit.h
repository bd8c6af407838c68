/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history of all wallets as their changes tell it, batch by batch, and what must hold of it whatever was
 * asked: what was issued is what wallets hold and what was spent, each wallet's chain of transfers adds up to
 * what it holds, and every spend has a purchase of its own.
 */
#ifndef DOORBUSTER_TESTS_UNIT_WALLET_AUDIT_H
#define DOORBUSTER_TESTS_UNIT_WALLET_AUDIT_H

#include "core/world_wallet.h"

struct wallet_audit {
    struct transfer_row *rows; /* ascending ids; their nonces are left out */
    size_t count;
    size_t size;
    int64_t issued;
    int64_t spent;
    int64_t purchase_last;
};

/* All 0 at first. */
void wallet_audit_fini(struct wallet_audit *audit);

/* Of a batch that is about to be accepted: NULL, or what is wrong with it. */
const char *wallet_audit_note(struct wallet_audit *audit, const struct world *world);

/* NULL, or what is wrong with the world. */
const char *wallet_audit_check(const struct wallet_audit *audit, const struct world *world);

#endif
