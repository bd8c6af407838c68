/* SPDX-License-Identifier: Apache-2.0 */
/* What both kinds of snapshot show beside the tables of the store; see snapshot.h. One thread. */
#ifndef DOORBUSTER_VERIFY_VIEWS_H
#define DOORBUSTER_VERIFY_VIEWS_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/err.h"

struct views {
    bool is_database;  /* the tables are copies of a database's, indexed by what rows are looked up by */
    bool has_work;     /* the store has the table work */
    bool has_orders;   /* ... and those of orders, accounts and trading orders */
    bool has_machines; /* ... and those of machines, leases and tickets */
    bool has_wallets;  /* ... and those of wallets and their transfers */
};

/* Makes all but temp.audit_damage. */
MUST_CHECK enum err views_make(sqlite3 *db, const struct views *views, struct error *error);

#endif
