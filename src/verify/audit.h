/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the invariants to a snapshot, one at a time, and keeps what was found. One thread. */
#ifndef DOORBUSTER_VERIFY_AUDIT_H
#define DOORBUSTER_VERIFY_AUDIT_H

#include <sqlite3.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "verify/invariant.h"

enum {
    WITNESS_MAX = 5,             /* rows that are named; more are counted */
    FINDING_TEXT_MAX = 64 * 1024 /* bytes; a user is far shorter */
};

enum finding_status {
    FINDING_HOLDS,
    FINDING_VIOLATED,
    FINDING_UNCHECKED /* could not be looked at, which counts as a failure */
};

struct witness {
    int64_t id; /* of the row: a purchase, a product, a line of a journal */
    struct strbuf text;
};

struct finding {
    const struct invariant *invariant;
    enum finding_status status;
    struct strbuf numbers; /* UNCHECKED: why */
    struct witness witnesses[WITNESS_MAX];
    int64_t witness_count; /* all rows, also those that are not named */
    bool is_count_cut;     /* there may be more rows: reading them failed */
};

/* What an invariant is asked about. */
struct subject {
    bool is_store;            /* the whole store, and no product */
    bool has_order_journal;   /* is_store: a journal speaks of orders with slow payment */
    bool has_trading_journal; /* is_store: a journal speaks of trading orders */
    bool has_vending_journal; /* is_store: a journal speaks of vending machines */
    bool has_market_journal;  /* is_store: a journal speaks of wallets */
    int64_t product_id;       /* 0: there is no such product, only a journal that speaks of it */
    struct slice sku;
    bool has_users; /* it is known how many users came */
    bool has_journal;
    bool is_complete; /* has_journal, has_..._journal: and it holds every attempt */
};

struct audit {
    sqlite3 *db;
    sqlite3_stmt **claims; /* by index of the invariant, made when first needed */
    struct finding finding;
};

/* Call audit_fini after an error too. All journals are in: their CHECKs, like all others, no longer hold. */
MUST_CHECK enum err audit_init(struct audit *audit, sqlite3 *db, struct error *error);
void audit_fini(struct audit *audit);

/* Whether the invariant has something to say about a subject. */
bool audit_applies(const struct invariant *invariant, const struct subject *subject);

/* The finding is good until the next call. */
const struct finding *audit_check(struct audit *audit, size_t index, const struct subject *subject);

#endif
