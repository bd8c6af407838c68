/* SPDX-License-Identifier: Apache-2.0 */
/* The secret of a store: what its servers name trading orders by and sign receipts with. One thread. */
#ifndef DOORBUSTER_VERIFY_STORE_SECRET_H
#define DOORBUSTER_VERIFY_STORE_SECRET_H

#include "verify/snapshot.h"

enum { STORE_SECRET_BYTES = 32 };

/*
 * Asked of the store itself: for a database on a connection of its own or, unless it is NULL, on `within`.
 * The caller wipes it when he has made his keys of it. ERR_CORRUPT: there is none; `purpose` says in the
 * message what it is for, as in "the secret that its trading orders are named by"; others as for opening the
 * store.
 */
MUST_CHECK enum err store_secret_read(const struct snapshot *snapshot, const char *store,
    struct pg_conn *within, const char *purpose, unsigned char secret[STORE_SECRET_BYTES],
    struct error *error);

#endif
