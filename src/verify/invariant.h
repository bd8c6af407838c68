/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a store, one file inv_<name>.c each. An invariant is a claim, and the rows that break
 * it. Both are SQL over the snapshot: main.products, main.purchases, main.idempotency_keys, main.sequences,
 * and the tables and views of snapshot.h, sums.h and journal_reader.h. Nothing here is taken from the rules
 * that it judges. How numbers are told: words.h.
 *
 * What holds of both kinds of store only: ids do not ascend with time where several nodes give them out, each
 * from a block of its own; and no constraint keeps a damaged row from having NULLs or a twin.
 *
 * To add one: write inv_<name>.c with `const struct invariant inv_<name>`, put its line into invariants.def
 * and its file into meson.build, and corrupt a store for it in tests/unit/test_verify_corrupt.c.
 *
 * claim    exactly one row (holds, numbers): holds is 1 when all is well; numbers are for the report,
 *          whatever holds says. No row, or an error, counts as a failed check: an invariant that cannot see
 *          is not one that holds.
 * witness  the rows that break it, (id, text), smallest id first; asked only when the claim does not hold.
 *
 * Parameters: :product (id), :sku. An invariant of the whole store has neither.
 */
#ifndef DOORBUSTER_VERIFY_INVARIANT_H
#define DOORBUSTER_VERIFY_INVARIANT_H

#include <stddef.h>

enum invariant_scope {
    INVARIANT_OF_STORE,    /* once */
    INVARIANT_OF_PRODUCT,  /* once for each product */
    INVARIANT_OF_USERS,    /* ... of which it is known how many users came */
    INVARIANT_OF_JOURNAL,  /* ... for each SKU that a journal speaks of, even when there is no such product */
    INVARIANT_OF_COMPLETE, /* ... when the journals hold every attempt there was */
    INVARIANT_OF_ORDERS,   /* once, when a journal speaks of orders with slow payment */
    INVARIANT_OF_ORDERS_COMPLETE,  /* ... and holds every attempt there was */
    INVARIANT_OF_TRADING,          /* once, when a journal speaks of trading orders */
    INVARIANT_OF_TRADING_COMPLETE, /* ... and holds every attempt there was */
    INVARIANT_OF_VENDING,          /* once, when a journal speaks of vending machines */
    INVARIANT_OF_VENDING_COMPLETE, /* ... and holds every request there was */
    INVARIANT_OF_MARKET,           /* once, when a journal speaks of wallets */
    INVARIANT_OF_MARKET_COMPLETE,  /* ... and holds every request there was */
};

struct invariant {
    const char *name;      /* for people and scripts, never changed */
    const char *statement; /* one sentence */
    const char *source;    /* where it comes from */
    enum invariant_scope scope;
    const char *claim;
    const char *witness;
};

/* How a witness names a purchase; `p` is main.purchases. */
#define AUDIT_PURCHASE                                                                                    \
    "'purchase ' || p.id || ' ' || ifnull(p.purchase_no, '(without a number)') || ' of \"' || p.user_id " \
    "|| '\"'"

/* How a witness names an order; `o` has its id and order_id. */
#define AUDIT_ORDER "'order ' || ifnull(o.id, 'without id') || ' \"' || ifnull(o.order_id, '') || '\"'"

/* How times are written: milliseconds since 1970, UTC. */
#define AUDIT_TIME(expression)                                                                             \
    "strftime('%Y-%m-%dT%H:%M:%S', (" expression ") / 1000, 'unixepoch') || printf('.%03dZ', (" expression \
    ") % 1000)"

/* In the order of the report; NULL past the end. */
const struct invariant *invariant_at(size_t index);
size_t invariant_count(void);

#define INVARIANT(id) extern const struct invariant inv_##id;
#include "verify/invariants.def"
#undef INVARIANT

#endif
