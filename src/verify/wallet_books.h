/* SPDX-License-Identifier: Apache-2.0 */
/* The book of every wallet, from its transfers alone, held against what the wallet says. One thread. */
#ifndef DOORBUSTER_VERIFY_WALLET_BOOKS_H
#define DOORBUSTER_VERIFY_WALLET_BOOKS_H

#include <sqlite3.h>

#include "base/err.h"

/*
 * Makes, from temp.audit_wallets and temp.audit_transfers; amounts are hundredths:
 *
 *   temp.audit_coins     one row: issued (by openings and credits), held (the sum of all balances), spent
 *                        (in the shop), as text, since a damaged store's sums may need more than 64 bits;
 *                        adds_up
 *   temp.audit_balance_faults  one row per wallet whose balance is not what came less what went: account_id,
 *                        balance, moved (as text)
 *   temp.audit_chain_faults    one row per fault of the chains: id (of a transfer), account_id, other_id;
 *                        what:
 *                        'missing'  other_id, or for 0 the wallet, names id as the one before, and the
 *                                   account has no such transfer
 *                        'again'    other_id leads back to id
 *                        'balance'  id does not go on from the balance after other_id, or for 0 from nothing
 *                        'outside'  nothing leads to id
 *                        'homeless' the account has no wallet
 *
 * All are empty but audit_coins in a store without wallets. Memory while it runs: 24 bytes a wallet and 48 a
 * line, of which a transfer between wallets has two and any other one, and 16 a line more while glibc sorts
 * them. The arrays grow by doubling: up to twice that is reserved, and for a moment three times where the
 * allocator has to copy. ERR_CORRUPT: the rows cannot be read.
 */
MUST_CHECK enum err wallet_books_make(sqlite3 *db, struct error *error);

#endif
