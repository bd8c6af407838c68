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
#include "verify_corruptions.h"

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

typedef void make_function(const struct audit_place *place);

static void check_corruption(
    const struct audit_place *place, make_function *make, const struct corruption *row)
{
    const char *journals[1] = {place->journal};
    struct verify_options options = options_for(place, row->has_journal ? journals : NULL);
    options.is_journal_complete = row->is_complete;
    if (row->expect_users > 0)
        options.expect_users = row->expect_users;
    make(place);
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
    for (size_t i = 0; i < sale_corruption_count; i++)
        check_corruption(*state, good_store_make, &sale_corruptions[i]);
    for (size_t i = 0; i < order_corruption_count; i++)
        check_corruption(*state, good_store_make, &order_corruptions[i]);
    for (size_t i = 0; i < machine_corruption_count; i++)
        check_corruption(*state, good_store_make, &machine_corruptions[i]);
    for (size_t i = 0; i < wallet_corruption_count; i++)
        check_corruption(*state, market_store_make, &wallet_corruptions[i]);
}

/* The name stands among the words of `failed`. */
static bool names(const char *failed, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = failed; *at != '\0'; at += strspn(at, " ")) {
        size_t word = strcspn(at, " ");
        if (word == len && memcmp(at, name, len) == 0)
            return true;
        at += word;
    }
    return false;
}

static bool has_corruption(const struct corruption *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (names(rows[i].failed, name))
            return true;
    return false;
}

/* Wrong if this fails: there is an invariant that no test has ever seen failing. */
static void every_invariant_has_a_corruption(void **state)
{
    (void)state;
    for (size_t i = 0; i < invariant_count(); i++) {
        const struct invariant *invariant = invariant_at(i);
        bool is_tested = invariant == &inv_store_sound ||           /* the torn files, below */
                         invariant->scope >= INVARIANT_OF_ORDERS || /* test_verify_journals.c */
                         has_corruption(sale_corruptions, sale_corruption_count, invariant->name) ||
                         has_corruption(order_corruptions, order_corruption_count, invariant->name) ||
                         has_corruption(machine_corruptions, machine_corruption_count, invariant->name) ||
                         has_corruption(wallet_corruptions, wallet_corruption_count, invariant->name);
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
    assert_int_equal(result.summary.products, 7);
    assert_int_equal(result.summary.purchases, 18);
    assert_int_equal(result.summary.orders, 7);
    assert_int_equal(result.summary.trading_orders, 5);
    assert_int_equal(result.summary.leases, 8);
    for (size_t i = 0; i < invariant_count(); i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "  PASS  %s: ", invariant_at(i)->name);
        if (invariant_at(i)->scope < INVARIANT_OF_COMPLETE && strstr(result.text, line) == NULL)
            fail_msg("not checked: %s\n%s", invariant_at(i)->name, result.text);
    }
    audit_result_put(&result);
}

/* Wrong if this fails: the auditor cries wolf over wallets, or does not tell what it has looked at. */
static void a_good_store_with_wallets_passes_all(void **state)
{
    const struct audit_place *place = *state;
    static const char *const told[] = {
        "PASS  wallets: 3 wallets, 0 not as they must be",
        "PASS  transfers: 8 transfers, 0 not as they must be",
        "PASS  nonces: 6 transfers are named, 0 names used more than once",
        "PASS  openings: 2 wallets opened with coins, 0 wrongly",
        "PASS  balances: lowest balance 0.00, highest 100.00; 0 out of range",
        "PASS  wallet-sums: 3 wallets added up, 0 with another balance",
        "PASS  coins-issued: issued (205.00) = in wallets (155.00) + spent (50.00)",
        "PASS  transfer-chains: 2 chains followed, 0 faults",
        "PASS  spends: 4 spends, 0 without what belongs to them",
        "PASS  unique-buyers: 0 unique users = 0 purchases, and 3 by who pays",
        "8 leases, 8 transfers, in ",
    };
    struct verify_options options = options_for(place, NULL);
    market_store_make(place);
    struct audit_result result = audit_run(&options);
    assert_int_equal(result.err, ERR_NONE);
    if (strcmp(result.failed, "") != 0)
        fail_msg("%s\n%s", result.failed, result.text);
    assert_int_equal(result.summary.transfers, 8);
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        if (strstr(result.text, told[i]) == NULL)
            fail_msg("not said: %s\n%s", told[i], result.text);
    audit_result_put(&result);
}

/* Wrong if this fails: "1 things to do". */
static void numbers_are_told_as_people_say_them(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place, NULL);
    market_store_make(place);
    store_run(place->store, "DELETE FROM work WHERE id <> 13; DELETE FROM transfers WHERE id > 1");
    struct audit_result result = audit_run(&options);
    assert_non_null(strstr(result.text, "work: 1 thing to do, 0 not as they must be"));
    assert_non_null(strstr(result.text, "transfers: 1 transfer, 0 not as they must be"));
    assert_non_null(strstr(result.text, "8 leases, 1 transfer, in "));
    audit_result_put(&result);
}

/* Wrong if this fails: what operators may do with stock, products and machines fails the audit. */
static void what_operators_may_do_passes(void **state)
{
    const struct audit_place *place = *state;
    static const char *const allowed[] = {
        "DELETE FROM purchase_log WHERE product_id = 5; UPDATE products SET stock = 10 WHERE id = 5", /* anew
                                                                                                       */
        "DELETE FROM purchase_log WHERE product_id = 5; DELETE FROM products WHERE id = 5",
        "DELETE FROM purchase_log WHERE product_id = 5 AND id < 17; UPDATE purchase_log SET nth = 1;"
        "UPDATE products SET stock = 9 WHERE id = 5; DELETE FROM products WHERE id = 2;"
        "DELETE FROM purchase_log WHERE product_id = 2; UPDATE purchase_log SET nth = 2 WHERE id IN (19, 26)",
        "UPDATE products SET initial_stock = 5, stock = 0, state = 'ENDED', end_reason = 'SOLD_OUT' WHERE id "
        "= 5",
        "UPDATE products SET initial_stock = 12, stock = 10, state = 'ACTIVE', end_reason = NULL WHERE id = "
        "6",
        "UPDATE products SET end_reason = 'TIME_EXPIRED', updated_at = end_time WHERE id = 1",
        "DELETE FROM machines WHERE id = 4",
        "UPDATE tickets SET state = 'expired', end_lease_id = 9, ended_at = 530 WHERE id = 5;"
        "UPDATE machines SET is_draining = 0 WHERE id = 4",
        "DELETE FROM purchase_log WHERE product_id = 8; UPDATE products SET stock = 5 WHERE id = 8",
        "DELETE FROM purchase_log WHERE product_id = 8; DELETE FROM products WHERE id = 8",
        "DELETE FROM purchase_log WHERE id IN (24, 25); UPDATE purchase_log SET nth = 1 WHERE id = 26;"
        "UPDATE products SET stock = 4 WHERE id = 8",
        "UPDATE products SET price_minor = 1 WHERE id = 8",
    };
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        struct verify_options options = options_for(place, NULL);
        market_store_make(place);
        store_run(place->store, allowed[i]);
        struct audit_result result = audit_run(&options);
        if (result.err != ERR_NONE || strcmp(result.failed, "") != 0)
            fail_msg("%s: %s %s\n%s", allowed[i], result.failed, result.summary.error.message, result.text);
        audit_result_put(&result);
    }
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
        cmocka_unit_test_setup_teardown(
            a_good_store_with_wallets_passes_all, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(
            numbers_are_told_as_people_say_them, audit_place_make, audit_place_remove),
        cmocka_unit_test(every_invariant_has_a_corruption),
        cmocka_unit_test_setup_teardown(
            each_corruption_is_caught_by_its_invariants, audit_place_make, audit_place_remove),
        cmocka_unit_test_setup_teardown(what_operators_may_do_passes, audit_place_make, audit_place_remove),
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
