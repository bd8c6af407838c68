/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history of a pool as its changes tell it, batch by batch, and what must hold of it whatever was asked:
 * no machine has two holders at a time, a machine has been used as often as leases of it were completed,
 * nobody was overtaken in the line, what leases have sold is what machines have bought.
 */
#ifndef DOORBUSTER_TESTS_UNIT_POOL_AUDIT_H
#define DOORBUSTER_TESTS_UNIT_POOL_AUDIT_H

#include "core/world_pool.h"

struct audit_lease {
    struct lease lease;
    int64_t machine_id;
    int64_t ended_ms; /* INT64_MAX: not yet */
    bool is_completed;
};

struct audit_ticket {
    int64_t id;
    int64_t first_lease_id;
    int64_t end_lease_id;
};

struct pool_audit {
    struct audit_lease *leases; /* those that have ended, in that order; then, while it checks, the others */
    size_t lease_count;
    size_t lease_size;
    struct audit_ticket *tickets; /* the same */
    size_t ticket_count;
    size_t ticket_size;
    int64_t purchase_last;
};

/* All 0 at first. */
void pool_audit_fini(struct pool_audit *audit);

/* Of a batch that is about to be accepted: NULL, or what is wrong with it. */
const char *pool_audit_note(struct pool_audit *audit, const struct world *world);

/* Of the history so far, and the world as it is now: NULL, or what is wrong. */
const char *pool_audit_check(struct pool_audit *audit, const struct world *world);

#endif
