/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the auditor share: a directory, a good store made from the schema alone, and a run. */
#ifndef DOORBUSTER_TEST_VERIFY_SUPPORT_H
#define DOORBUSTER_TEST_VERIFY_SUPPORT_H

#include <limits.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "verify/verify.h"

struct audit_place {
    char directory[PATH_MAX];
    char store[PATH_MAX + 32];
    char journal[PATH_MAX + 32];
    char report[PATH_MAX + 32];
};

struct audit_result {
    enum err err;
    struct verify_summary summary;
    char *text;        /* what was printed */
    char failed[1024]; /* names of the failed invariants in order of the report, separated by blanks */
};

/* Setup and teardown for cmocka; *state becomes the place, which is removed with all that is in it. */
int audit_place_make(void **state);
int audit_place_remove(void **state);

/* clang-format off */
/*
 * Writes the good store, stopped cleanly, and the journal that belongs to it:
 *   A  id 1, 5 units, sold out to a1..a5 (purchases 1..5)
 *   B  id 2, 10 units, at most 3 a user, on sale; b1 has 6, 7, b2 has 8, 9, 10, b3 has 11
 *   C  id 3, 7 units, not begun;  D  id 4, no unit, on sale
 * One idempotency key was answered with purchase 20, of a product that is gone. Orders, with notifications:
 *   2 o-pending; 3 o-processing; 4 o-paid with 5 (webhook, delivered) and 6 (e-mail, to do)
 *   7 o-declined with 8 (webhook, dead); 9 o-abandoned with 10 (webhook, delivered); 11 o-cancelled
 *   12 o-given-back: pending again after its payment was claimed
 * Accounts 1 Ann and 2 bob; trading orders 1 to 5, delivered 1 to 2 and 3 to 3, sent 4, cancelled 2 and 5.
 * Work 1 hands trading orders over, 13 is a sale's. Machines 1, which processes lease 7, 2, whose lease 8 has
 * not chosen, and 4, idle and draining; leases 1 to 6 have ended, lease 3 with machine 3; tickets 1 (served
 * with lease 4), 2 (left), 3 (served with 5), 4 (expired), 5 (waits). They sell, and their stock was set:
 *   E  id 5, 10 units: 13, 14 and 16 by machine 1, 17 by machine 2, 15 by the user e1
 *   F  id 6, 2 units, sold out to machine 1 as 18 and 19
 *   G  id 7, without a unit from the beginning
 */
void good_store_make(const struct audit_place *place);

/*
 * The good store with wallets. Product W, id 8: 5 units, 2 left, at most 1 a user, 12.50 each.
 *   account 3, KEY_C  opened (1), bought 24 (4), sent 20.00 to account 4 (5), bought 26 (7): 55.00
 *   account 4, KEY_D  opened (2), credited 5.00 as "gift" (3), received (5), bought 25 (6), bought 23 of a
 *                     product that is gone (8): 100.00
 *   account 5, KEY_E  opened with nothing: 0.00
 * The numbers in brackets are transfers, each opening is of 100.00; their nonces are n-1 to n-4.
 */
/* clang-format on */
void market_store_make(const struct audit_place *place);

#define EIGHT(digits) digits digits digits digits digits digits digits digits
#define KEY_C EIGHT("cc01c0fe")
#define KEY_D EIGHT("dd02d0fe")
#define KEY_E EIGHT("ee03e0fe")

/* The good store without orders, accounts, machines and their work, of any version of the schema. */
void sale_store_make(const struct audit_place *place, int version);

void good_journal_make(const struct audit_place *place);

/* The times of the sales, ms. */
enum { PURCHASE_STEP_MS = 1000 };
#define SALE_START_MS INT64_C(1795218421000) /* 2026-11-20T23:47:01Z */
#define SALE_END_MS (SALE_START_MS + INT64_C(3600000))

/* Runs SQL against a store with every check off. `journal_mode` DELETE leaves the file alone behind. */
void store_run(const char *path, const char *sql);
sqlite3 *store_connect(const char *path);
void db_run(sqlite3 *db, const char *sql);

/* A way of spoiling the good store. */
struct corruption {
    const char *what;
    const char *sql;          /* NULL: the store stays good */
    const char *journal_line; /* added to the good journal; NULL: none */
    bool has_journal;
    bool is_complete;
    int64_t expect_users; /* 0: unknown */
    const char *failed;   /* the invariants that must fail */
    const char *named;    /* what the report must say */
};

/* Puts a table without constraints in place of a table, with the same rows. */
#define LOOSE(table)                                                   \
    "CREATE TABLE loose AS SELECT * FROM " table "; DROP TABLE " table \
    "; ALTER TABLE loose RENAME TO " table ";"

void text_write(const char *path, const char *text);

/* The result is the caller's to put back. */
struct audit_result audit_run(const struct verify_options *options);
void audit_result_put(struct audit_result *result);

#endif
