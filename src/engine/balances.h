/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balances of all wallets as of the last commit, for who only wants to read one: a number an account, by
 * its id, 8 bytes each. Ids have hardly any gaps, so there is nothing to search. One thread sets (the
 * engine's); any thread reads, without a lock. Not for a shared store, whose balances other nodes change.
 */
#ifndef DOORBUSTER_ENGINE_BALANCES_H
#define DOORBUSTER_ENGINE_BALANCES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { BALANCES_CHUNK_SIZE = 4096, BALANCES_CHUNKS_MAX = 65536 };

struct balances {
    atomic_uintptr_t *chunks; /* of atomic_int_fast64_t[BALANCES_CHUNK_SIZE]; 0: there is no account in it */
};

/* False when memory is out. */
MUST_CHECK bool balances_init(struct balances *balances);
void balances_fini(struct balances *balances);

/* The id is above 0; the balance in hundredths, not negative. False when memory is out. Beyond 268 million
 * accounts nothing is kept: readers find that it is not known here, and ask the store. */
MUST_CHECK bool balances_set(struct balances *balances, int64_t account_id, int64_t balance_minor);

/* False: not known here. */
MUST_CHECK bool balances_get(const struct balances *balances, int64_t account_id, int64_t *balance_minor);

#endif
