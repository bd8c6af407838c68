/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor can fail: a good store passes, and each way of spoiling it is caught by the invariants that
 * must catch it and by no other, with the row named. Where the books cannot be wrong in one place only (a
 * unit too many is also a stock that does not add up), all that must speak are listed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_verify_support.h"
#include "verify/invariant.h"

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

#define SELL(id, product, user, nth)                                        \
    "INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)" \
    " VALUES (" #id ", " #product ", '" user "', " #nth ", 1795218499000);"

/* A store of version 2 as it could be without its constraints; good by itself. */
#define WORK                                                                                             \
    "DROP TABLE IF EXISTS work; CREATE TABLE work (id, kind, subject, body, due_at, token, created_at);" \
    "INSERT INTO work VALUES (7, 'sale-closeout', 'A', '', 1, 0, 1);"                                    \
    "INSERT OR REPLACE INTO sequences VALUES ('work', 8); PRAGMA user_version = 2;"

#define ACKNOWLEDGED(sku, user, number)                                                                      \
    "{\"sku\":\"" sku "\",\"user\":\"" user "\",\"outcome\":\"acknowledged\",\"purchaseNo\":\"" number "\"}" \
    "\n"

static const struct corruption corruptions[] = {
    /* --- the sums --- */
    {"one unit too many is sold, and the stock says 0", SELL(12, 1, "a8", 1),
        .failed = "no-oversell stock-adds-up",
        .named = "purchase 12 PUR-20261120-0012 of \"a8\" came after the last unit was sold"},
    {"one unit too many is sold, and the stock says -1",
        SELL(12, 1, "a8", 1) "UPDATE products SET stock = -1 WHERE id = 1",
        .failed = "no-oversell stock-not-negative", .named = "product 1 A has stock -1"},
    {"stock has one unit more", "UPDATE products SET stock = 5 WHERE id = 2", .failed = "stock-adds-up",
        .named = "product 2 B has stock 5 and should have 4"},
    {"stock has one unit less", "UPDATE products SET stock = 6 WHERE id = 3", .failed = "stock-adds-up",
        .named = "product 3 C has stock 6 and should have 7"},
    {"a purchase is lost", "DELETE FROM purchase_log WHERE id = 11", .failed = "stock-adds-up",
        .named = "product 2 B has stock 4 and should have 5"},
    {"more units sold than the users may have", NULL, .expect_users = 1,
        .failed = "expected-users expected-users",
        .named = "purchase 2 PUR-20261120-0002 of \"a2\" is one more than the users who came may have"},

    /* --- the buyers --- */
    {"a user has bought twice where once is allowed",
        "UPDATE purchase_log SET user_id = 'a1', nth = 2 WHERE id = 4",
        .failed = "no-duplicate-buyer unique-buyers",
        .named = "purchase 4 PUR-20261120-0004 of \"a1\" is purchase 2 of this user, who may have 1"},
    {"a user has bought twice and is counted once", "UPDATE purchase_log SET user_id = 'a1' WHERE id = 4",
        .failed = "no-duplicate-buyer units-in-order unique-buyers",
        .named = "purchase 4 PUR-20261120-0004 of \"a1\" is called unit 1 of this user and should be 2"},
    {"a user has four units where three are allowed",
        "UPDATE purchase_log SET user_id = 'b2', nth = 4 WHERE id = 11", .failed = "no-duplicate-buyer",
        .named = "purchase 11 PUR-20261120-0011 of \"b2\" is purchase 4 of this user, who may have 3"},
    {"the limit is lower than what was sold", "UPDATE products SET per_user_limit = 1 WHERE id = 2",
        .failed = "no-duplicate-buyer unique-buyers",
        .named = "purchase 7 PUR-20261120-0007 of \"b1\" is purchase 2 of this user, who may have 1"},
    {"an only unit is called the second", "UPDATE purchase_log SET nth = 2 WHERE id = 3",
        .failed = "units-in-order",
        .named = "purchase 3 PUR-20261120-0003 of \"a3\" is called unit 2 of this user and should be 1"},
    {"the units of a user have a gap", "UPDATE purchase_log SET nth = 3 WHERE id = 7",
        .failed = "units-in-order",
        .named = "purchase 7 PUR-20261120-0007 of \"b1\" is called unit 3 of this user and should be 2"},
    {"a unit of a user is numbered twice, within first and last",
        "UPDATE purchase_log SET nth = 1 WHERE id = 9", .failed = "units-in-order",
        .named = "purchase 9 PUR-20261120-0009 of \"b2\" is called unit 1 of this user and should be 2"},

    /* --- references, numbers, values --- */
    {"a purchase belongs to no product", SELL(12, 99, "x", 1), .failed = "references",
        .named = "purchase 12 PUR-20261120-0012 of \"x\" belongs to product 99, which does not exist"},
    {"a product is gone and its purchases are not", "DELETE FROM products WHERE id = 2",
        .failed = "references", .named = "... and 1 more"},
    {"a sequence falls below an id that was given out",
        "UPDATE sequences SET next_value = 1 WHERE name = 'purchases'", .failed = "sequences",
        .named =
            "purchase id 20, which idempotency key 1 was answered with, comes again: the next one is 12"},
    {"a sequence is gone", "DELETE FROM sequences WHERE name = 'products'", .failed = "sequences",
        .named = "the sequence products is missing or below 1"},
    {"a sequence is 0", "UPDATE sequences SET next_value = 0 WHERE name = 'idempotency_keys'",
        .failed = "sequences", .named = "the sequence idempotency_keys is missing or below 1"},
    {"all purchases have the same number",
        "UPDATE sqlite_schema SET sql = replace(sql, 'printf(''%04d'', id)', '''0001''') WHERE name = "
        "'purchases'",
        .failed = "purchase-numbers",
        .named = "purchase 2 PUR-20261120-0001 of \"a2\": the number does not end in 0002"},
    {"a purchase has no number, because its time is beyond all years",
        "UPDATE purchase_log SET purchased_at = 999999999999999999 WHERE id = 6",
        .failed = "purchase-numbers sale-window", .named = "purchase 6 (without a number) of \"b1\""},
    {"a purchase was made soon", "UPDATE purchase_log SET purchased_at = 'soon' WHERE id = 6",
        .failed = "values sale-window",
        .named = "purchase 6 PUR-19700101-0006 of \"b1\" has a value of the wrong type"},
    {"a user is a blob, and so another user than the same text",
        "UPDATE purchase_log SET user_id = CAST('a1' AS BLOB) WHERE id = 2", .failed = "values",
        .named = "purchase 2 PUR-20261120-0002 of \"a1\" has a value of the wrong type"},
    {"a price is negative", "UPDATE products SET price_minor = -1 WHERE id = 2", .failed = "values",
        .named = "product 2 B: initial stock, price or limit is out of range"},
    {"a product has a name that is no text", "UPDATE products SET product_name = x'00' WHERE id = 2",
        .failed = "values", .named = "product 2 B has a name, time or state of the wrong type"},
    {"a kept answer has lost half its fingerprint", "UPDATE idempotency_keys SET fingerprint = zeroblob(8)",
        .failed = "kept-answers", .named = "idempotency key 1 has a value that cannot be"},
    {"a key was answered twice",
        "INSERT INTO idempotency_keys SELECT 2, scope, key, fingerprint, 0, 0, 1, 1 FROM idempotency_keys",
        .failed = "kept-answers", .named = "idempotency key 2 is the same as key 1"},
    {"the sequence of work is gone", WORK "DELETE FROM sequences WHERE name = 'work'", .failed = "sequences",
        .named = "the sequence work is missing or below 1"},
    {"work has no time", WORK "INSERT INTO work VALUES (1, 'sale-closeout', 'B', '', 'soon', 0, 1)",
        .failed = "work", .named = "work 1 has a value that cannot be"},
    {"work is there twice",
        WORK "INSERT INTO work VALUES (1, 'sale-closeout', 'B', '', 1, 0, 1), (1, 'sale-closeout', 'C', '', "
             "1, 0, 1)",
        .failed = "work", .named = "work 1 is there 2 times"},
    {"two products have one sku, since nothing keeps them apart",
        "CREATE TABLE twins AS SELECT * FROM products; DROP TABLE products; ALTER TABLE twins RENAME TO "
        "products;"
        "UPDATE products SET sku = 'B' WHERE id = 3",
        .failed = "values", .named = "product 3 B has the sku of product 2"},

    /* --- the sale --- */
    {"a sold-out sale goes on", "UPDATE products SET state = 'ACTIVE', end_reason = NULL WHERE id = 1",
        .failed = "sale-state", .named = "product 1 A has nothing left, but is ACTIVE"},
    {"a sold-out sale ended by its clock", "UPDATE products SET end_reason = 'TIME_EXPIRED' WHERE id = 1",
        .failed = "sale-state", .named = "product 1 A has nothing left, but is ENDED by TIME_EXPIRED"},
    {"a sale is sold out with stock left",
        "UPDATE products SET state = 'ENDED', end_reason = 'SOLD_OUT' WHERE id = 2", .failed = "sale-state",
        .named = "product 2 B is sold out, but has stock 4"},
    {"a sale without a unit is sold out",
        "UPDATE products SET state = 'ENDED', end_reason = 'SOLD_OUT' WHERE id = 4", .failed = "sale-state",
        .named = "product 4 D is sold out, but never had a unit"},
    {"a sale ended for no reason", "UPDATE products SET state = 'ENDED' WHERE id = 2", .failed = "sale-state",
        .named = "product 2 B has ended for no reason"},
    {"a sale that goes on has a reason to have ended",
        "UPDATE products SET end_reason = 'TIME_EXPIRED' WHERE id = 2", .failed = "sale-state",
        .named = "product 2 B has a reason to have ended, but is ACTIVE"},
    {"a sale has a state of its own", "UPDATE products SET state = 'PAUSED' WHERE id = 2",
        .failed = "sale-state", .named = "product 2 B has no such state: PAUSED"},
    {"a sale that has not begun has sold", SELL(12, 3, "c1", 1) "UPDATE products SET stock = 6 WHERE id = 3",
        .failed = "sale-state", .named = "product 3 C has not begun, but has purchases"},
    {"a purchase was made at the end, which is exclusive",
        "UPDATE purchase_log SET purchased_at = 1795222021000 WHERE id = 5", .failed = "sale-window",
        .named = "purchase 5 PUR-20261121-0005 of \"a5\" was made at 2026-11-21T00:47:01.000Z"},
    {"a purchase was made 1 ms before the start",
        "UPDATE purchase_log SET purchased_at = 1795218420999 WHERE id = 8", .failed = "sale-window",
        .named = "purchase 8 PUR-20261120-0008 of \"b2\" was made at 2026-11-20T23:47:00.999Z"},

    /* --- the journal --- */
    {"an acknowledged purchase is lost and the books are cooked",
        "DELETE FROM purchase_log WHERE id = 11; UPDATE products SET stock = 5 WHERE id = 2",
        .has_journal = true, .failed = "acknowledged",
        .named = "journal 1, line 12: PUR-20261120-0011 of \"b3\" is not in the store"},
    {"an acknowledged purchase belongs to another user",
        "UPDATE purchase_log SET user_id = 'a9' WHERE id = 2", .has_journal = true, .failed = "acknowledged",
        .named = "journal 1, line 3: PUR-20261120-0002 of \"a2\" is \"a9\"'s in the store"},
    {"one number is acknowledged to two users", NULL, .has_journal = true,
        .journal_line = ACKNOWLEDGED("A", "a8", "PUR-20261120-0005"), .failed = "acknowledged",
        .named = "journal 1, line 18: PUR-20261120-0005 of \"a8\" is \"a5\"'s in the store"},
    {"a number is acknowledged for another product", NULL, .has_journal = true,
        .journal_line = ACKNOWLEDGED("B", "a5", "PUR-20261120-0005"), .failed = "acknowledged",
        .named = "PUR-20261120-0005 of \"a5\" is a purchase of product 1"},
    {"a number is acknowledged with another day", NULL, .has_journal = true,
        .journal_line = ACKNOWLEDGED("A", "a5", "PUR-20261121-0005"), .failed = "acknowledged",
        .named = "PUR-20261121-0005 of \"a5\" is not in the store"},
    {"a purchase number of another make is acknowledged", NULL, .has_journal = true,
        .journal_line = ACKNOWLEDGED("A", "a5", "RECON-1-a5"), .failed = "acknowledged",
        .named = "RECON-1-a5 of \"a5\" is not in the store"},
    {"a purchase of a product that is gone is acknowledged", NULL, .has_journal = true,
        .journal_line = ACKNOWLEDGED("GONE", "g", "PUR-20261120-0020"), .failed = "acknowledged",
        .named = "product GONE: not in the store"},
    {"an acknowledged number will be given out again", NULL, .has_journal = true,
        .journal_line = ACKNOWLEDGED("A", "a8", "PUR-20261120-0030"), .failed = "sequences acknowledged",
        .named =
            "purchase id 30, which was acknowledged (journal 1, line 18), comes again: the next one is 21"},
    {"a user who was always refused has bought",
        SELL(12, 2, "b4", 1) "UPDATE products SET stock = 3 WHERE id = 2", .has_journal = true,
        .failed = "refused",
        .named = "purchase 12 PUR-20261120-0012 of \"b4\", who was always refused (journal 1, line 17)"},
    {"a user was told to have bought and has not", NULL, .has_journal = true,
        .journal_line = "{\"user\":\"a7\",\"outcome\":\"refused\",\"code\":\"ALREADY_PURCHASED\"}\n",
        .failed = "told-already", .named = "journal 1, line 18: \"a7\" has no purchase"},
    {"a stranger has bought", SELL(12, 2, "b9", 1) "UPDATE products SET stock = 3 WHERE id = 2",
        .has_journal = true, .is_complete = true, .failed = "complete",
        .named = "purchase 12 PUR-20261120-0012 of \"b9\", who is in no journal"},
    {"a buyer has one unit more than was acknowledged",
        SELL(12, 2, "b3", 2) "UPDATE products SET stock = 3 WHERE id = 2", .has_journal = true,
        .is_complete = true, .failed = "complete",
        .named = "purchase 12 PUR-20261120-0012 of \"b3\" was never acknowledged"},
};

static struct verify_options options_for(const struct audit_place *place, const char *const journals[1])
{
    return (struct verify_options){.store_path = place->store,
        .journals = journals,
        .journal_count = journals == NULL ? 0 : 1,
        .expect_users = -1};
}

static void add_line(const struct audit_place *place, const char *line)
{
    FILE *file = fopen(place->journal, "a");
    assert_non_null(file);
    assert_true(fputs(line, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void check_corruption(const struct audit_place *place, const struct corruption *row)
{
    const char *journals[1] = {place->journal};
    struct verify_options options = options_for(place, row->has_journal ? journals : NULL);
    options.is_journal_complete = row->is_complete;
    if (row->expect_users > 0)
        options.expect_users = row->expect_users;
    good_store_make(place);
    good_journal_make(place);
    if (row->sql != NULL)
        store_run(place->store, row->sql);
    if (row->journal_line != NULL)
        add_line(place, row->journal_line);
    struct audit_result result = audit_run(&options);
    bool is_caught = strcmp(result.failed, row->failed) == 0 && strstr(result.text, row->named) != NULL;
    if (result.err != ERR_NONE || !is_caught)
        fail_msg("%s: expected %s to fail and \"%s\" to be named, got %s, %s\n%s", row->what, row->failed,
            row->named, result.failed, result.err == ERR_NONE ? "no error" : result.summary.error.message,
            result.text);
    assert_true(result.summary.violated > 0);
    assert_int_equal(result.summary.unchecked, 0);
    audit_result_put(&result);
}

/* Wrong if this fails: an invariant has gone blind, or sees what is not there. */
static void each_corruption_is_caught_by_its_invariants(void **state)
{
    for (size_t i = 0; i < sizeof corruptions / sizeof corruptions[0]; i++)
        check_corruption(*state, &corruptions[i]);
}

/* Wrong if this fails: there is an invariant that no test has ever seen failing. */
static void every_invariant_has_a_corruption(void **state)
{
    (void)state;
    for (size_t i = 0; i < invariant_count(); i++) {
        const struct invariant *invariant = invariant_at(i);
        bool is_tested = invariant == &inv_store_sound; /* the torn files, below */
        for (size_t j = 0; j < sizeof corruptions / sizeof corruptions[0]; j++)
            is_tested = is_tested || strstr(corruptions[j].failed, invariant->name) != NULL;
        if (!is_tested)
            fail_msg("no corruption for %s", invariant->name);
    }
}

/* Wrong if this fails: the auditor cries wolf, and everything below is worth nothing. */
static void a_good_store_passes_all(void **state)
{
    const struct audit_place *place = *state;
    const char *journals[1] = {place->journal};
    struct verify_options options = options_for(place, journals);
    good_store_make(place);
    good_journal_make(place);
    options.expect_users = 5;
    struct audit_result result = audit_run(&options);
    assert_string_equal(result.failed, "");
    assert_int_equal(result.err, ERR_NONE);
    assert_int_equal(result.summary.violated, 0);
    assert_int_equal(result.summary.products, 4);
    assert_int_equal(result.summary.purchases, 11);
    for (size_t i = 0; i < invariant_count(); i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "  PASS  %s: ", invariant_at(i)->name);
        if (invariant_at(i)->scope != INVARIANT_OF_COMPLETE && strstr(result.text, line) == NULL)
            fail_msg("not checked: %s\n%s", invariant_at(i)->name, result.text);
    }
    audit_result_put(&result);
}

/* Wrong if this fails: a report about one product speaks of another. */
static void one_product_is_audited_alone(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place, NULL);
    good_store_make(place);
    store_run(place->store, "UPDATE products SET stock = 9 WHERE id = 2");
    options.sku = "A";
    struct audit_result result = audit_run(&options);
    assert_string_equal(result.failed, "");
    assert_int_equal(result.summary.products, 1);
    audit_result_put(&result);
    options.sku = "B";
    result = audit_run(&options);
    assert_string_equal(result.failed, "stock-adds-up");
    audit_result_put(&result);
}

/* Wrong if this fails: an attempt whose fate is unknown counts as a refusal, or must have come to something.
 */
static void an_unknown_outcome_may_be_either(void **state)
{
    const struct audit_place *place = *state;
    const char *journals[1] = {place->journal};
    struct verify_options options = options_for(place, journals);
    options.is_journal_complete = true;
    good_store_make(place);
    good_journal_make(place);
    add_line(place, "{\"sku\":\"B\",\"user\":\"b5\",\"outcome\":\"refused\",\"code\":\"HTTP_503\"}\n"
                    "{\"sku\":\"B\",\"user\":\"b5\",\"outcome\":\"unknown\",\"code\":\"connection_lost\"}\n");
    struct audit_result result = audit_run(&options);
    assert_string_equal(result.failed, "");
    audit_result_put(&result);
    store_run(place->store, SELL(12, 2, "b5", 1) "UPDATE products SET stock = 3 WHERE id = 2");
    result = audit_run(&options);
    assert_string_equal(result.failed, "");
    audit_result_put(&result);
}

/* Wrong if this fails: the header of duplicate-user no longer says how many users there are. */
static void a_duplicate_user_journal_tells_how_many_users_came(void **state)
{
    const struct audit_place *place = *state;
    const char *journals[1] = {place->journal};
    struct verify_options options = options_for(place, journals);
    good_store_make(place);
    text_write(place->journal,
        "{\"journal\":1,\"scenario\":\"duplicate-user\",\"sku\":\"A\",\"users\":4}\n" ACKNOWLEDGED(
            "A", "a1", "PUR-20261120-0001"));
    struct audit_result result = audit_run(&options);
    assert_string_equal(result.failed, "expected-users");
    assert_non_null(strstr(result.text, "expected-users: purchases (5) <= users (4)"));
    assert_non_null(strstr(result.text, "purchase 5 PUR-20261120-0005 of \"a5\""));
    audit_result_put(&result);
}

/* Wrong if this fails: a report of a million wrong rows is a million lines long, or hides how many there are.
 */
static void the_smallest_rows_are_named_and_the_others_counted(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place, NULL);
    good_store_make(place);
    store_run(place->store, "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 299)"
                            "INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)"
                            " SELECT i, 77, 'u' || i, 1, 1795218499000 FROM n ORDER BY i DESC");
    struct audit_result result = audit_run(&options);
    assert_string_equal(result.failed, "references");
    assert_non_null(strstr(result.text, "references: 200 purchases without a product"));
    assert_non_null(strstr(result.text, "        purchase 100 "));
    assert_non_null(strstr(result.text, "        purchase 104 "));
    assert_null(strstr(result.text, "        purchase 105 "));
    assert_non_null(strstr(result.text, "        ... and 195 more\n"));
    audit_result_put(&result);
}

/* Wrong if this fails: a buyer's name can forge lines of the report or move the cursor. */
static void names_cannot_forge_the_report(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place, NULL);
    good_store_make(place);
    store_run(place->store, "UPDATE purchase_log SET product_id = 77, user_id = char(10) || '  PASS  x: ' || "
                            "char(27) || '[2J' || char(233)"
                            " || char(0x9b) || CAST(x'ff' AS TEXT) WHERE id = 11;"
                            "UPDATE products SET stock = 5 WHERE id = 2");
    options.report_path = place->report;
    struct audit_result result = audit_run(&options);
    assert_string_equal(result.failed, "references");
    assert_non_null(strstr(result.text, "of \"\\x0a  PASS  x: \\x1b[2J\xc3\xa9\\xc2\\x9b\\xff\" belongs"));
    audit_result_put(&result);
}

static long file_len(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long len = ftell(file);
    (void)fclose(file);
    return len;
}

static void overwrite(const char *path, long offset, int byte, size_t len)
{
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fclose(file), 0);
}

enum { PAGE_BYTES = 4096 };

static void make_long_store(const struct audit_place *place)
{
    good_store_make(place);
    store_run(place->store, "WITH RECURSIVE n(i) AS (SELECT 21 UNION ALL SELECT i + 1 FROM n WHERE i < 5020)"
                            "INSERT INTO purchase_log (id, product_id, user_id, nth, purchased_at)"
                            " SELECT i, 3, 'u' || i, 1, 1795218499000 FROM n;"
                            "UPDATE products SET initial_stock = 5007, state = 'ACTIVE' WHERE id = 3");
}

/* Wrong if this fails: damage on the disk passes for a good store. */
static void a_torn_page_is_found(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place, NULL);
    for (int byte = 0; byte <= 0xff; byte += 0xff) {
        make_long_store(place);
        struct audit_result result = audit_run(&options);
        assert_string_equal(result.failed, "");
        audit_result_put(&result);
        overwrite(place->store, (file_len(place->store) / PAGE_BYTES - 3) * PAGE_BYTES, byte, PAGE_BYTES / 2);
        result = audit_run(&options);
        if (result.err != ERR_NONE || strcmp(result.failed, "store-sound") != 0)
            fail_msg("byte %d: %s %s\n%s", byte, result.failed, result.summary.error.message, result.text);
        audit_result_put(&result);
    }
}

/* Wrong if this fails: an index that lost an entry passes. */
static void a_row_missing_in_an_index_is_found(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place, NULL);
    good_store_make(place);
    store_run(place->store, "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema"
                            " WHERE name = 'sequences') WHERE name = 'sqlite_autoindex_products_1'");
    struct audit_result result = audit_run(&options);
    assert_int_equal(result.err, ERR_NONE);
    assert_non_null(strstr(result.failed, "store-sound"));
    audit_result_put(&result);
}

/* Wrong if this fails: a store that lost its tail passes. */
static void a_cut_store_is_found(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place, NULL);
    make_long_store(place);
    assert_int_equal(truncate(place->store, file_len(place->store) - 5 * PAGE_BYTES), 0);
    struct audit_result result = audit_run(&options);
    assert_true(result.err == ERR_CORRUPT || strstr(result.failed, "store-sound") != NULL);
    audit_result_put(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_good_store_passes_all, audit_place_make, audit_place_remove),
        cmocka_unit_test(every_invariant_has_a_corruption),
        cmocka_unit_test_setup_teardown(
            each_corruption_is_caught_by_its_invariants, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(one_product_is_audited_alone, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(
            an_unknown_outcome_may_be_either, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(
            a_duplicate_user_journal_tells_how_many_users_came, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(
            the_smallest_rows_are_named_and_the_others_counted, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(names_cannot_forge_the_report, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(a_torn_page_is_found, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(
            a_row_missing_in_an_index_is_found, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(a_cut_store_is_found, audit_place_make, audit_place_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
