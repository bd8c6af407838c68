/* SPDX-License-Identifier: Apache-2.0 */
/* What machines have sold, held against the leases that they have sold it in. One thread. */
#ifndef DOORBUSTER_VERIFY_MACHINE_SALES_H
#define DOORBUSTER_VERIFY_MACHINE_SALES_H

#include <sqlite3.h>

#include "base/err.h"

/*
 * Makes, from temp.audit_choices and main.purchases:
 *
 *   temp.audit_strays    id of each purchase of a user who begins with a blank that is in no lease of its
 *                        machine and product; none in a store without machines. In a store with wallets,
 *                        names that begin as a key's do are left out: see spends
 *   temp.audit_short     one row per lease whose purchases are not all there: id, machine_id, product_id,
 *                        units, purchase_id, chosen_at, bought (those that are)
 *   temp.audit_shared_units  one row per lease that has bought what another has: id, machine_id,
 *                        purchase_id, id_before
 *
 * Memory: 64 bytes a lease with a choice while it runs. ERR_CORRUPT: the rows cannot be read.
 */
MUST_CHECK enum err machine_sales_make(sqlite3 *db, struct error *error);

#endif
