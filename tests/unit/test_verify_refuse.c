/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor never passes because it saw nothing: whatever it cannot reach, read or understand is an error
 * that says so, and no verdict.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_verify_support.h"

#define HEADER "{\"journal\":1,\"scenario\":\"purchase-load\",\"sku\":\"A\",\"users\":8}\n"
#define ANSWER "{\"user\":\"a1\",\"outcome\":\"acknowledged\",\"purchaseNo\":\"PUR-20261120-0001\"}\n"

static struct verify_options options_for(const struct audit_place *place)
{
    return (struct verify_options){.store_path = place->store, .expect_users = -1};
}

/* The audit must end with this error, and print nothing that could be taken for a verdict. */
static void expect_refusal(const struct verify_options *options, enum err err, const char *message)
{
    struct audit_result result = audit_run(options);
    if (result.err != err || strstr(result.summary.error.message, message) == NULL || result.text[0] != '\0')
        fail_msg("expected %s \"%s\", got %s \"%s\"\n%s", err_name(err), message, err_name(result.err),
            result.summary.error.message, result.text);
    assert_int_equal(result.summary.error.code, err);
    audit_result_put(&result);
}

/* --- stores --- */

static void a_missing_store_is_refused(void **state)
{
    struct verify_options options = options_for(*state);
    expect_refusal(&options, ERR_IO, "No such file or directory");
}

static void a_directory_is_no_store(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    options.store_path = place->directory;
    expect_refusal(&options, ERR_CORRUPT, "is not a store: it is no regular file");
}

static void an_empty_file_is_no_store(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    text_write(place->store, "");
    expect_refusal(&options, ERR_CORRUPT, "is not a doorbuster store");
}

static void a_text_file_is_no_store(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    text_write(place->store,
        "this is not the file that you are looking for, and it is long enough to be read as "
        "the first page of a database, if anybody should try to do so\n");
    expect_refusal(&options, ERR_CORRUPT, "file is not a database");
}

static void another_database_is_no_store(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    store_run(place->store, "CREATE TABLE products (id INTEGER PRIMARY KEY); PRAGMA user_version = 1");
    expect_refusal(&options, ERR_CORRUPT, "is not a doorbuster store (application id 0, schema version 1)");
}

static void a_newer_store_is_refused(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    good_store_make(place);
    store_run(place->store, "PRAGMA user_version = 1000");
    expect_refusal(&options, ERR_NEWER, "has schema version 1000, this auditor knows versions up to 5");
}

static void a_store_without_its_tables_is_refused(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    good_store_make(place);
    store_run(place->store, "DROP VIEW purchases");
    expect_refusal(&options, ERR_IO, "no such table: main.purchases");
}

/* A check that cannot be made does not count as passed, even when all others do. */
static void a_check_that_cannot_be_made_fails(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    good_store_make(place);
    store_run(place->store, "DROP TABLE idempotency_keys");
    struct audit_result result = audit_run(&options);
    assert_int_equal(result.err, ERR_IO);
    assert_string_equal(result.failed, "sequences kept-answers");
    assert_int_equal(result.summary.unchecked, 2);
    assert_int_equal(result.summary.violated, 0);
    assert_non_null(strstr(result.summary.error.message, "sequences could not be checked: no such table"));
    audit_result_put(&result);
}

static void a_store_in_the_middle_of_being_made_is_refused(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    char path[sizeof place->store + 16];
    good_store_make(place);
    (void)snprintf(path, sizeof path, "%s-journal", place->store);
    text_write(path, "anything");
    expect_refusal(&options, ERR_IO, "start doorbuster serve on it once");
}

static void an_empty_store_is_nothing_to_audit(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    good_store_make(place);
    store_run(place->store, "DELETE FROM purchase_log; DELETE FROM products; DELETE FROM orders; DELETE FROM "
                            "accounts; DELETE FROM intake_orders; DELETE FROM machines; DELETE FROM leases");
    expect_refusal(
        &options, ERR_REFUSED, "holds no product, no order and no machine: there is nothing to audit");
}

static void an_unknown_sku_is_refused(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    good_store_make(place);
    options.sku = "a";
    expect_refusal(&options, ERR_REFUSED, "has no product a");
}

/* --- journals --- */

static void expect_journal_refusal(
    const struct audit_place *place, const char *text, enum err err, const char *message)
{
    const char *journals[1] = {place->journal};
    struct verify_options options = options_for(place);
    options.journals = journals;
    options.journal_count = 1;
    text_write(place->journal, text);
    expect_refusal(&options, err, message);
}

static void an_unusable_journal_is_refused(void **state)
{
    const struct audit_place *place = *state;
    static const struct {
        const char *text;
        const char *message;
    } rows[] = {
        {"", "says nothing: it holds no answer"},
        {HEADER, "says nothing: it holds no answer"},
        {"{\"journal\":1,\"sk", "says nothing: it holds no answer"},
        {HEADER "{\"user\":\"a1\",\"outc", "says nothing: it holds no answer"},
        {ANSWER, "line 1 is not the header of a journal"},
        {"hello\n" ANSWER, "line 1 is no JSON"},
        {"\n" HEADER ANSWER, "line 1 is no JSON"},
        {"[1]\n" ANSWER, "line 1 is not the header of a journal"},
        {"{\"journal\":\"1\",\"sku\":\"A\"}\n" ANSWER, "line 1 is not the header of a journal"},
        {"{\"journal\":1}\n" ANSWER, "line 1 is a header without a usable \"sku\""},
        {"{\"journal\":1,\"sku\":5}\n" ANSWER, "line 1 is a header without a usable \"sku\""},
        {HEADER ANSWER "\n" ANSWER, "line 3 is no JSON"},
        {HEADER "{\"user\":\"a1\",\"outc\n" ANSWER, "line 2 is no JSON"},
        {HEADER ANSWER "{\"user\":\"a1\"} x\n", "line 3 is no JSON"},
        {HEADER ANSWER "{\"outcome\":\"refused\"}\n", "line 3 names no user"},
        {HEADER ANSWER "{\"user\":7,\"outcome\":\"refused\"}\n", "line 3 names no user"},
        {HEADER ANSWER "{\"user\":null,\"outcome\":\"refused\"}", "line 3 names no user"},
        {HEADER ANSWER "[\"user\"]\n", "line 3 names no user"},
        {HEADER ANSWER HEADER, "line 3 names no user"},
        {HEADER ANSWER "{\"sku\":1,\"user\":\"a1\",\"outcome\":\"refused\"}\n",
            "line 3 has a sku that is no text"},
        {HEADER ANSWER "{\"user\":\"a1\"}\n", "line 3 has no outcome of acknowledged, refused or unknown"},
        {HEADER ANSWER "{\"user\":\"a1\",\"outcome\":\"perhaps\"}\n", "line 3 has no outcome of"},
        {HEADER ANSWER "{\"user\":\"a1\",\"outcome\":\"acknowledged\"}\n",
            "line 3 acknowledges a purchase without a purchaseNo"},
        {HEADER "{\"sku\":\"Z\",\"user\":\"a1\",\"outcome\":\"refused\"}\n",
            "the journals say nothing about any product of this store"},
    };
    good_store_make(place);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_journal_refusal(place, rows[i].text, ERR_REFUSED, rows[i].message);
    expect_journal_refusal(place, "{\"journal\":2,\"sku\":\"A\"}\n", ERR_NEWER, "has format version 2");
}

static void a_line_without_end_is_refused(void **state)
{
    const struct audit_place *place = *state;
    static char text[200000];
    good_store_make(place);
    memset(text, 'x', sizeof text - 1);
    memcpy(text, HEADER, sizeof HEADER - 1);
    expect_journal_refusal(place, text, ERR_REFUSED, "line 2 is longer than 64 KiB");
}

static void a_missing_journal_is_refused(void **state)
{
    const struct audit_place *place = *state;
    const char *journals[2] = {place->journal, "/nowhere/at.all"};
    struct verify_options options = options_for(place);
    good_store_make(place);
    good_journal_make(place);
    options.journals = journals;
    options.journal_count = 2;
    expect_refusal(&options, ERR_IO, "cannot read the journal /nowhere/at.all: No such file or directory");
    journals[1] = place->directory;
    expect_refusal(&options, ERR_IO, "Is a directory");
}

static void a_journal_about_another_sku_is_refused(void **state)
{
    const struct audit_place *place = *state;
    const char *journals[1] = {place->journal};
    struct verify_options options = options_for(place);
    good_store_make(place);
    good_journal_make(place);
    options.journals = journals;
    options.journal_count = 1;
    options.sku = "C";
    expect_refusal(&options, ERR_REFUSED, "the journals say nothing about C");
}

/* The writer was killed: its last line may be torn, which is said; but such a journal is not complete. */
static void a_torn_last_line_is_left_out_and_said(void **state)
{
    const struct audit_place *place = *state;
    const char *journals[1] = {place->journal};
    struct verify_options options = options_for(place);
    options.journals = journals;
    options.journal_count = 1;
    good_store_make(place);
    text_write(place->journal, HEADER ANSWER "{\"user\":\"a2\",\"outcome\":\"acknow");
    struct audit_result result = audit_run(&options);
    assert_int_equal(result.err, ERR_NONE);
    assert_string_equal(result.failed, "");
    assert_non_null(strstr(result.text, "answers  1: 1 acknowledged, 0 refused, 0 unknown\n"));
    assert_non_null(strstr(result.text, "a torn last line (30 bytes) was left out"));
    audit_result_put(&result);
    options.is_journal_complete = true;
    expect_refusal(&options, ERR_REFUSED, "a journal ends in a torn line, so it is not complete");
    text_write(place->journal,
        HEADER "{\"user\":\"a1\",\"outcome\":\"acknowledged\",\"purchaseNo\":\"PUR-20261120-0001\"}");
    options.is_journal_complete = false;
    result = audit_run(&options);
    assert_int_equal(result.err, ERR_NONE);
    assert_null(strstr(result.text, "torn"));
    audit_result_put(&result);
}

/* --- options and reports --- */

static void options_that_make_no_sense_are_refused(void **state)
{
    struct verify_options options = options_for(*state);
    options.is_journal_complete = true;
    expect_refusal(&options, ERR_USAGE, "--journal-complete needs at least one --journal");
    options.is_journal_complete = false;
    options.report_path = "report.pdf";
    expect_refusal(&options, ERR_USAGE, "must end in .json or .md");
}

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    (void)fclose(file);
    return text;
}

static void reports_are_written(void **state)
{
    struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    options.report_path = place->report;
    good_store_make(place);
    store_run(place->store, "UPDATE products SET stock = 5 WHERE id = 2");
    struct audit_result result = audit_run(&options);
    char *json = read_text(place->report);
    assert_non_null(
        strstr(json, "\"invariant\":\"stock-adds-up\",\"statement\":\"What is left is what there was less "
                     "what is sold.\",\"source\":\"stress-testing guide 3.4, 5; IM-2\",\"status\":\"FAIL\","
                     "\"numbers\":\"stock (5) = initial stock (10) - purchases (6)\",\"rowCount\":1,"
                     "\"rows\":[{\"id\":2,\"text\":\"product 2 B has stock 5 and should have 4\"}]"));
    assert_non_null(strstr(json, "\"violated\":1,\"unchecked\":0,"));
    assert_non_null(strstr(json, "\"verdict\":\"FAIL\"}\n"));
    free(json);
    (void)unlink(place->report);
    (void)snprintf(place->report, sizeof place->report, "%s/report.md", place->directory);
    audit_result_put(&result);
    result = audit_run(&options);
    char *text = read_text(place->report);
    assert_non_null(strstr(text, "  FAIL  stock-adds-up: stock (5)"));
    free(text);
    audit_result_put(&result);
    options.report_path = "/nowhere/report.md";
    result = audit_run(&options);
    assert_int_equal(result.err, ERR_IO);
    audit_result_put(&result);
}

static void quiet_prints_only_what_failed(void **state)
{
    const struct audit_place *place = *state;
    struct verify_options options = options_for(place);
    options.is_quiet = true;
    good_store_make(place);
    struct audit_result result = audit_run(&options);
    assert_string_equal(result.text, "");
    assert_int_equal(result.err, ERR_NONE);
    audit_result_put(&result);
    store_run(place->store, "UPDATE products SET stock = 5 WHERE id = 2");
    result = audit_run(&options);
    assert_string_equal(result.failed, "stock-adds-up");
    assert_null(strstr(result.text, "PASS"));
    assert_null(strstr(result.text, "product A"));
    assert_non_null(strstr(result.text, "\nproduct B: "));
    assert_non_null(strstr(result.text, "INVARIANTS VIOLATED: 1 of "));
    audit_result_put(&result);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, audit_place_make, audit_place_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_missing_store_is_refused),
        TEST(a_directory_is_no_store),
        TEST(an_empty_file_is_no_store),
        TEST(a_text_file_is_no_store),
        TEST(another_database_is_no_store),
        TEST(a_newer_store_is_refused),
        TEST(a_store_without_its_tables_is_refused),
        TEST(a_check_that_cannot_be_made_fails),
        TEST(a_store_in_the_middle_of_being_made_is_refused),
        TEST(an_empty_store_is_nothing_to_audit),
        TEST(an_unknown_sku_is_refused),
        TEST(an_unusable_journal_is_refused),
        TEST(a_line_without_end_is_refused),
        TEST(a_missing_journal_is_refused),
        TEST(a_journal_about_another_sku_is_refused),
        TEST(a_torn_last_line_is_left_out_and_said),
        TEST(options_that_make_no_sense_are_refused),
        TEST(reports_are_written),
        TEST(quiet_prints_only_what_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
