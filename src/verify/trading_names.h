/* SPDX-License-Identifier: Apache-2.0 */
/* Which trading order a journal means: clients know it by a UUID that only the store's secret can read. One
 * thread. */
#ifndef DOORBUSTER_VERIFY_TRADING_NAMES_H
#define DOORBUSTER_VERIFY_TRADING_NAMES_H

#include "verify/snapshot.h"

/*
 * Fills number of temp.audit_order_journal for trading orders: the id, NULL for a name that this store has
 * not given out. The secret is asked of the store itself, for a database on a connection of its own or,
 * unless it is NULL, on `within`; it is not kept. ERR_CORRUPT: there is none; others as for opening the
 * store.
 */
MUST_CHECK enum err trading_names_resolve(
    const struct snapshot *snapshot, const char *store, struct pg_conn *within, struct error *error);

#endif
