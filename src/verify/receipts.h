/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the receipts of a journal were signed by the servers of this store. One thread. */
#ifndef DOORBUSTER_VERIFY_RECEIPTS_H
#define DOORBUSTER_VERIFY_RECEIPTS_H

#include "verify/snapshot.h"

/*
 * Makes, from the acknowledged payments of temp.audit_market_journal:
 *
 *   temp.audit_receipt_key     one row: key, in hexadecimal digits: what this store's receipts are signed
 *                              with
 *   temp.audit_receipt_faults  one row per receipt that does not prove what it says: id (of the line), what:
 *                              'shape' (it has no signature, or a member that is neither text nor an
 *                              amount), 'signature' (it is not the journal's receipt_key's)
 *
 * The secret is asked of the store itself (store_secret.h) and not kept. Takes 0.1 ms a receipt. ERR_CORRUPT:
 * the store has no secret; others as for opening the store.
 */
MUST_CHECK enum err receipts_check(
    const struct snapshot *snapshot, const char *store, struct pg_conn *within, struct error *error);

#endif
