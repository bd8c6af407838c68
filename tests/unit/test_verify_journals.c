/* SPDX-License-Identifier: Apache-2.0 */
/* Journals of orders: what customers were told of their orders is what became of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "base/uuid.h"
#include "test_verify_support.h"

#define HEADER "{\"journal\":1,\"scenario\":\"async-flash\",\"face\":\"orders\"}\n"
#define TOLD(order, status) \
    "{\"order\":\"" order "\",\"outcome\":\"acknowledged\",\"status\":\"" status "\"}\n"
#define REFUSED(order) "{\"order\":\"" order "\",\"outcome\":\"refused\",\"code\":\"HTTP_503\"}\n"
#define UNKNOWN(order) "{\"order\":\"" order "\",\"outcome\":\"unknown\",\"code\":\"timeout\"}\n"

/* All orders of the good store. */
#define ALL_BUT_PAID                                                                               \
    HEADER TOLD("o-pending", "pending") TOLD("o-declined", "failed") TOLD("o-abandoned", "failed") \
        UNKNOWN("o-processing") REFUSED("o-cancelled") UNKNOWN("o-given-back")
#define ALL ALL_BUT_PAID TOLD("o-paid", "completed")

static struct audit_result audit(const struct audit_place *place, const char *journal, bool is_complete)
{
    const char *journals[1] = {place->journal};
    struct verify_options options = {.store_path = place->store,
        .journals = journals,
        .journal_count = 1,
        .is_journal_complete = is_complete,
        .expect_users = -1};
    text_write(place->journal, journal);
    return audit_run(&options);
}

static void expect(const struct audit_place *place, const char *journal, bool is_complete, const char *failed,
    const char *named)
{
    struct audit_result result = audit(place, journal, is_complete);
    bool is_seen = strcmp(result.failed, failed) == 0 && strstr(result.text, named) != NULL;
    if (result.err != ERR_NONE || !is_seen)
        fail_msg("expected \"%s\" to fail and \"%s\" to be said, got \"%s\", %s\n%s\n%s", failed, named,
            result.failed, result.err == ERR_NONE ? "no error" : result.summary.error.message, journal,
            result.text);
    audit_result_put(&result);
}

/* Wrong if this fails: a journal of orders is not understood, or the auditor cries wolf. */
static void what_was_told_is_in_the_store(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    expect(place, ALL, true, "", "PASS  orders-acknowledged: 4 acknowledged, 4 of them in the store as told");
    expect(place, ALL, true, "", "PASS  orders-complete: 0 orders that the journals cannot explain");
    expect(place, ALL TOLD("o-paid", "completed"), true, "", "5 acknowledged, 5 of them");
    expect(place, HEADER TOLD("o-paid", "pending") TOLD("o-declined", "pending"), false, "",
        "PASS  orders-refused: 0 orders always refused, 0 of them in the store");
    expect(place, HEADER REFUSED("o-paid") TOLD("o-paid", "completed"), false, "", "0 orders always refused");
    expect(place, HEADER REFUSED("o-paid") UNKNOWN("o-paid"), false, "", "0 orders always refused");
    expect(place, HEADER REFUSED("o-nowhere"), false, "", "1 order always refused");
}

/* Wrong if this fails: an order that a customer was told of may be lost, and nobody notices. */
static void what_was_told_and_is_not_so_is_named(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    expect(place, ALL TOLD("o-lost", "pending"), true, "orders-acknowledged",
        "journal 1, line 9: order \"o-lost\" is not in the store");
    expect(place, HEADER TOLD("o-declined", "completed"), false, "orders-acknowledged",
        "journal 1, line 2: order \"o-declined\" was told to be completed and is failed");
    expect(place, HEADER TOLD("o-paid", "failed"), false, "orders-acknowledged",
        "was told to be failed and is completed");
    expect(place, HEADER TOLD("o-pending", "completed"), false, "orders-acknowledged",
        "was told to be completed and is pending");
    expect(place, HEADER REFUSED("o-paid"), false, "orders-refused",
        "order 4 \"o-paid\" is completed, but was always refused (journal 1, line 2)");
    expect(place, ALL_BUT_PAID, true, "orders-complete", "order 4 \"o-paid\" was never acknowledged");
    expect(place, ALL_BUT_PAID REFUSED("o-paid"), true, "orders-refused orders-complete", "o-paid");
    store_run(place->store, LOOSE("orders") "UPDATE orders SET order_id = 'o-paid' WHERE id = 9");
    expect(place, HEADER TOLD("o-paid", "pending"), false, "orders orders-acknowledged",
        "journal 1, line 2: order \"o-paid\" is in the store 2 times");
}

#define TRADING "{\"journal\":1,\"scenario\":\"intake\",\"face\":\"intake\"}\n"
#define LOST "{\"outcome\":\"unknown\",\"code\":\"timeout\"}\n"

/* The journal of a crowd that was told of trading orders first to last, and then the rest. */
static const char *trading_journal(int64_t first, int64_t last, const char *rest)
{
    static const unsigned char secret[UUID_SECRET_BYTES] = "not known to anybody else at all";
    static char text[4096];
    struct uuid_key key;
    struct strbuf journal;
    char name[ID_UUID_LEN];
    uuid_key_init(&key, secret, SLICE("intake order"));
    strbuf_init(&journal, text, sizeof text);
    strbuf_lit(&journal, TRADING);
    for (int64_t number = first; number <= last; number++) {
        uuid_from_number(&key, number, name);
        strbuf_printf(&journal, "{\"order\":\"%.*s\",\"outcome\":\"acknowledged\",\"status\":\"QUEUED\"}\n",
            ID_UUID_LEN, name);
    }
    strbuf_put(&journal, slice_cstr(rest));
    strbuf_put_char(&journal, '\0');
    assert_false(journal.has_overflowed);
    return text;
}

/* Wrong if this fails: a trading order that a client was told of may be lost, and nobody notices. */
static void trading_orders_are_looked_up_by_their_names(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    store_run(place->store, "UPDATE secrets SET value = CAST('not known to anybody else at all' AS BLOB)");
    expect(place, trading_journal(1, 5, ""), true, "",
        "PASS  trading-orders-acknowledged: 5 acknowledged, 5 different ones of them in the store");
    expect(place, trading_journal(1, 5, LOST), true, "",
        "PASS  trading-orders-complete: 0 trading orders that nobody was told of, 1 answer unknown");
    expect(place, trading_journal(2, 5, LOST), true, "", "1 trading order that nobody was told of");
    expect(place, trading_journal(2, 5, ""), false, "", "4 acknowledged, 4 different ones");
    expect(place, trading_journal(2, 5, ""), true, "trading-orders-complete",
        "trading order 1 was never acknowledged");
    expect(
        place, trading_journal(1, 6, ""), true, "trading-orders-acknowledged", "\" (6) is not in the store");
    expect(place, trading_journal(1, 5, TOLD("00000000-0000-4000-8000-000000000001", "QUEUED")), true,
        "trading-orders-acknowledged",
        "journal 1, line 7: trading order \"00000000-0000-4000-8000-000000000001\" has no name that this "
        "store");
    char again[256];
    const char *line = strchr(trading_journal(5, 5, ""), '\n') + 1;
    (void)snprintf(again, sizeof again, "%s", line);
    expect(place, trading_journal(1, 5, again), true, "trading-orders-acknowledged",
        "(5) is acknowledged 2 times");
}

#define VENDING "{\"journal\":1,\"scenario\":\"ladder\",\"face\":\"vending\"}\n"
#define GIVEN(machine, lease)                                                                             \
    "{\"request\":\"start-work\",\"outcome\":\"acknowledged\",\"machine\":" #machine ",\"lease\":" #lease \
    "}\n"
#define NOT_GIVEN(outcome) "{\"request\":\"start-work\",\"outcome\":\"" outcome "\",\"code\":\"timeout\"}\n"
#define CHOICE(machine, product, count, lease, outcome)                                 \
    "{\"request\":\"choose-product\",\"outcome\":\"" outcome "\",\"machine\":" #machine \
    ",\"product\":" #product ",\"count\":" #count ",\"lease\":" #lease ",\"code\":\"x\"}\n"
#define CHOSE(machine, product, count, lease) CHOICE(machine, product, count, lease, "acknowledged")

/* What the users of the good store were told, but for lease 4. */
#define ALL_GIVEN_BUT_4                                                                         \
    VENDING GIVEN(1, 1) GIVEN(2, 2) GIVEN(3, 3) GIVEN(2, 5) GIVEN(2, 6) GIVEN(1, 7) GIVEN(2, 8) \
        CHOSE(1, 5, 2, 1) CHOSE(3, 66, 2, 3) CHOSE(1, 6, 2, 7)
#define ALL_GIVEN ALL_GIVEN_BUT_4 GIVEN(1, 4) CHOSE(1, 5, 1, 4)

/* Wrong if this fails: a journal of vending machines is not understood, or the auditor cries wolf. */
static void what_users_of_machines_were_told_is_in_the_store(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    expect(place, ALL_GIVEN CHOSE(2, 5, 1, 6), true, "",
        "PASS  leases-acknowledged: 8 acknowledged, 8 of them in the store");
    expect(place, ALL_GIVEN CHOSE(2, 5, 1, 6), true, "",
        "PASS  choices-acknowledged: 5 acknowledged, 5 of them in the store");
    expect(place, ALL_GIVEN CHOSE(2, 5, 1, 6) NOT_GIVEN("refused") CHOICE(2, 5, 1, 8, "refused"), true, "",
        "PASS  vending-complete: 0 leases that nobody was told of, 0 answers unknown; 0 choices");
    expect(place, ALL_GIVEN CHOICE(2, 5, 1, 6, "unknown") NOT_GIVEN("unknown"), true, "",
        "0 leases that nobody was told of, 1 answer unknown");
    expect(place, ALL_GIVEN_BUT_4 CHOSE(2, 5, 1, 6) NOT_GIVEN("unknown") CHOSE(1, 5, 1, 2), true, "",
        "1 lease that nobody was told of, 1 answer unknown");
    expect(place, VENDING GIVEN(1, 7), false, "", "1 acknowledged, 1 of them in the store");
}

/* Wrong if this fails: a machine or a unit that a user was told to have may be lost, and nobody notices. */
static void what_users_of_machines_were_told_and_is_not_so_is_named(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    expect(place, VENDING GIVEN(3, 4), false, "leases-acknowledged",
        "journal 1, line 2: lease 4 of machine 3 is one of machine 1");
    expect(
        place, VENDING GIVEN(1, 8), false, "leases-acknowledged", "lease 8 of machine 1 is one of machine 2");
    expect(place, VENDING GIVEN(1, 4) GIVEN(1, 4), false, "leases-acknowledged",
        "journal 1, line 3: lease 4 of machine 1 is acknowledged 2 times");
    expect(place, VENDING GIVEN(1, 9), false, "sequences leases-acknowledged",
        "lease 9, which was acknowledged (journal 1, line 2), comes again: the next one is 9");
    expect(place, VENDING GIVEN(1, 9), false, "sequences leases-acknowledged",
        "lease 9 of machine 1 is not in the store");
    expect(place, VENDING CHOSE(1, 5, 1, 4) CHOSE(1, 5, 1, 4), false, "choices-acknowledged",
        "journal 1, line 3: machine 1 sold 1 of product 5, with 2 acknowledged, and has 1 such leases");
    expect(place, VENDING CHOSE(2, 5, 2, 6), false, "choices-acknowledged",
        "journal 1, line 2: machine 2 sold 2 of product 5, with 1 acknowledged, and has 0 such leases");
    expect(place, ALL_GIVEN_BUT_4 CHOSE(2, 5, 1, 6) CHOSE(1, 5, 1, 4), true, "vending-complete",
        "lease 4 of machine 1 was never acknowledged");
    expect(place, ALL_GIVEN CHOICE(2, 5, 1, 6, "refused"), true, "vending-complete",
        "machine 2 has sold 1 of product 5 in 1 leases, but the journals know of 0");
}

/* Wrong if this fails: names that nobody can read any more pass for orders that are there. */
static void without_the_secret_nothing_is_said(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    store_run(place->store, "DELETE FROM secrets");
    struct audit_result result = audit(place, trading_journal(1, 5, ""), false);
    assert_int_equal(result.err, ERR_CORRUPT);
    assert_non_null(strstr(result.summary.error.message, "has lost the secret"));
    audit_result_put(&result);
}

/* Wrong if this fails: a journal of purchases brings in checks of orders, or the other way round. */
static void each_journal_is_held_against_its_own(void **state)
{
    const struct audit_place *place = *state;
    good_store_make(place);
    struct audit_result result = audit(place, ALL, true);
    assert_null(strstr(result.text, "  acknowledged: "));
    assert_null(strstr(result.text, "trading-orders-acknowledged"));
    audit_result_put(&result);
    good_journal_make(place);
    const char *journals[1] = {place->journal};
    struct verify_options options = {
        .store_path = place->store, .journals = journals, .journal_count = 1, .expect_users = -1};
    result = audit_run(&options);
    assert_string_equal(result.failed, "");
    assert_null(strstr(result.text, "orders-acknowledged"));
    audit_result_put(&result);
}

/* Wrong if this fails: a line that nobody understands is left out of an audit that passes. */
static void unusable_journals_are_refused(void **state)
{
    const struct audit_place *place = *state;
    static const struct {
        const char *text;
        const char *message;
    } rows[] = {
        {HEADER, "says nothing: it holds no answer"},
        {"{\"journal\":1,\"face\":\"market\"}\n", "line 1 is a header with a \"face\" other than"},
        {"{\"journal\":1,\"face\":7}\n", "line 1 is a header with a \"face\" other than"},
        {VENDING "{\"request\":\"reset\",\"outcome\":\"acknowledged\"}\n",
            "line 2 has no request of start-work"},
        {VENDING "{\"request\":\"start-work\",\"outcome\":\"lost\"}\n", "line 2 has no outcome of"},
        {VENDING "{\"request\":\"start-work\",\"outcome\":\"acknowledged\",\"machine\":1}\n",
            "line 2 acknowledges a machine without its number and its lease's"},
        {VENDING GIVEN(0, 1), "line 2 acknowledges a machine without its number and its lease's"},
        {VENDING "{\"request\":\"start-work\",\"outcome\":\"unknown\",\"lease\":\"1\"}\n",
            "line 2 has a lease that is no number"},
        {VENDING "{\"request\":\"choose-product\",\"outcome\":\"refused\",\"machine\":1,\"product\":5}\n",
            "line 2 speaks of a choice without a machine, a product and a count"},
        {HEADER "{\"outcome\":\"unknown\"}\n", "line 2 names no order"},
        {TRADING "{\"outcome\":\"acknowledged\",\"status\":\"QUEUED\"}\n", "line 2 names no order"},
        {HEADER "{\"order\":7,\"outcome\":\"unknown\"}\n", "line 2 has an order that is no text"},
        {HEADER "{\"order\":\"o\"}\n", "line 2 has no outcome of acknowledged, refused or unknown"},
        {HEADER "{\"order\":\"o\",\"outcome\":\"acknowledged\"}\n",
            "line 2 acknowledges an order without a status"},
        {HEADER "{\"order\":\"o\"\n" UNKNOWN("o"), "line 2 is no JSON"},
    };
    good_store_make(place);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct audit_result result = audit(place, rows[i].text, false);
        if (result.err != ERR_REFUSED || strstr(result.summary.error.message, rows[i].message) == NULL)
            fail_msg("expected \"%s\", got \"%s\"", rows[i].message, result.summary.error.message);
        assert_string_equal(result.text, "");
        audit_result_put(&result);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, audit_place_make, audit_place_remove)
    const struct CMUnitTest tests[] = {
        TEST(what_was_told_is_in_the_store),
        TEST(what_was_told_and_is_not_so_is_named),
        TEST(trading_orders_are_looked_up_by_their_names),
        TEST(what_users_of_machines_were_told_is_in_the_store),
        TEST(what_users_of_machines_were_told_and_is_not_so_is_named),
        TEST(without_the_secret_nothing_is_said),
        TEST(each_journal_is_held_against_its_own),
        TEST(unusable_journals_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
