/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor: whether a store, of a server that runs or one that stopped, holds what the rules promise. It
 * reads the rows itself and judges them by the invariants of invariants.def; it uses nothing of the rules or
 * of the store's code, so that an error of theirs cannot hide itself. It never changes the store.
 */
#ifndef DOORBUSTER_VERIFY_VERIFY_H
#define DOORBUSTER_VERIFY_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct verify_options {
    const char *store_path;      /* or the URL of a PostgreSQL store */
    struct pg_conn *connection;  /* libpq's, with a transaction whose rows nobody else sees yet, to read in
                                    instead  of a connection of our own to store_path; NULL: none */
    const char *sku;             /* NULL: all products */
    const char *const *journals; /* journals of `doorbuster rush` */
    size_t journal_count;
    bool is_journal_complete; /* the journals hold every purchase attempt there ever was */
    int64_t expect_users;     /* how many users came, for each product audited; < 0: unknown */
    bool is_quiet;            /* print only what failed */
    const char *report_path;  /* also written there, as its ending says: .json or .md; NULL: nowhere */
};

struct verify_summary {
    int64_t products;
    int64_t purchases;      /* of these products */
    int64_t orders;         /* with slow payment, in the whole store */
    int64_t trading_orders; /* in the whole store */
    int64_t leases;         /* of machines, ended or not, in the whole store */
    int64_t transfers;      /* of wallets' coins, openings and credits too, in the whole store */
    int64_t checks;         /* invariants times subjects */
    int64_t violated;
    int64_t unchecked; /* could not be looked at */
    int64_t duration_ns;
    struct error error; /* filled when verify_run does not return ERR_NONE */
};

/*
 * Audits once and prints the report to `out`. ERR_NONE: every check was made, see violated. Any other code:
 * something could not be looked at, and so nothing is proven: ERR_USAGE: the options make no sense; ERR_IO,
 * ERR_CORRUPT, ERR_NEWER, ERR_LOCKED, ERR_FULL, ERR_MEMORY: the store or a journal cannot be read, or the
 * report not written; ERR_REFUSED: there is nothing to audit (an empty store, no such SKU), or a journal
 * that cannot be used. When some checks were made and others could not be, a violation among them comes
 * first: ERR_NONE. Blocks, 3 s for a million purchases; any thread.
 */
MUST_CHECK enum err verify_run(
    const struct verify_options *options, FILE *out, struct verify_summary *summary);

#endif
