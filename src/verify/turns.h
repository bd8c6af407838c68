/* SPDX-License-Identifier: Apache-2.0 */
/* Who had which machine when: the leases of each machine, one after the other. One thread. */
#ifndef DOORBUSTER_VERIFY_TURNS_H
#define DOORBUSTER_VERIFY_TURNS_H

#include <sqlite3.h>

#include "base/err.h"

/*
 * Makes, from temp.audit_all_leases:
 *
 *   temp.audit_turns     one row per machine that ever had a lease: machine_id, completed (leases)
 *   temp.audit_overlaps  one row per lease that was given out while its machine had another: id, machine_id,
 *                        started_at, id_before, ended_before (NULL: it goes on)
 *
 * Memory: 40 bytes a lease while it runs. ERR_CORRUPT: the rows cannot be read.
 */
MUST_CHECK enum err turns_make(sqlite3 *db, struct error *error);

#endif
