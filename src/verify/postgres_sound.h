/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind the rules in a PostgreSQL store: the columns, constraints, indexes and triggers that the
 * rows are kept by. One thread.
 */
#ifndef DOORBUSTER_VERIFY_POSTGRES_SOUND_H
#define DOORBUSTER_VERIFY_POSTGRES_SOUND_H

#include <sqlite3.h>

#include "verify/postgres_link.h"

/* Puts what is wrong into temp.audit_damage (fault), a sentence a row. */
MUST_CHECK enum err postgres_sound_check(const struct postgres_link *link, sqlite3 *db, struct error *error);

#endif
