/* SPDX-License-Identifier: Apache-2.0 */
/* Journals of wallets: what customers were told is what is in the store, and their receipts prove it. */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "test_verify_support.h"

#define SECRET "not known to anybody else at all"

/* A receipt as it is signed, its parts before and after the place of "signature", and the line about it. */
struct receipt {
    const char *head;
    const char *tail; /* begins with the member after "signature" */
};

/* clang-format off */
#define RECEIPT_4                                                                              \
    {"{\"action\":\"spend\",\"amount\":12.5,\"id\":\"4\",\"nonce\":\"n-1\","                   \
     "\"order_id\":\"PUR-20261120-0024\",\"product_id\":\"8\",\"public_key\":\"" KEY_C "\"",   \
        ",\"timestamp\":1795218445}"}
#define RECEIPT_5                                                                              \
    {"{\"action\":\"transfer\",\"amount\":20,\"id\":\"5\",\"nonce\":\"n-2\","                  \
     "\"public_key\":\"" KEY_C "\"",                                                           \
        ",\"timestamp\":1795218441,\"to\":\"" KEY_D "\"}"}
#define RECEIPT_8                                                                              \
    {"{\"action\":\"spend\",\"amount\":12.5,\"id\":\"8\",\"nonce\":\"n-4\","                   \
     "\"order_id\":\"PUR-20261120-0023\",\"product_id\":\"66\",\"public_key\":\"" KEY_D "\"",  \
        ",\"timestamp\":1795218444}"}
/* clang-format on */

struct signer {
    unsigned char secret[crypto_sign_SECRETKEYBYTES];
    char key[crypto_sign_PUBLICKEYBYTES * 2 + 1];
};

static void signer_make(struct signer *signer, const char *secret)
{
    unsigned char seed[crypto_auth_hmacsha256_BYTES];
    unsigned char key[crypto_sign_PUBLICKEYBYTES];
    static const char purpose[] = "doorbuster receipts";
    assert_int_equal(strlen(secret), crypto_auth_hmacsha256_KEYBYTES);
    assert_int_equal(crypto_auth_hmacsha256(seed, (const unsigned char *)purpose, strlen(purpose),
                         (const unsigned char *)secret),
        0);
    assert_int_equal(crypto_sign_seed_keypair(key, signer->secret, seed), 0);
    (void)sodium_bin2hex(signer->key, sizeof signer->key, key, sizeof key);
}

static void put_header(struct strbuf *journal, const struct signer *signer)
{
    strbuf_printf(journal,
        "{\"journal\":1,\"scenario\":\"double-spend\",\"face\":\"marketplace\",\"receipt_key\":\"%s\"}\n",
        signer->key);
}

static void put_acknowledged(struct strbuf *journal, const struct signer *signer, const char *request,
    const char *key, const char *nonce, const struct receipt *receipt)
{
    char canonical[1024];
    char digits[crypto_sign_BYTES * 2 + 1];
    unsigned char signature[crypto_sign_BYTES];
    (void)snprintf(canonical, sizeof canonical, "%s%s", receipt->head, receipt->tail);
    assert_int_equal(crypto_sign_detached(signature, NULL, (const unsigned char *)canonical,
                         strlen(canonical), signer->secret),
        0);
    (void)sodium_bin2hex(digits, sizeof digits, signature, sizeof signature);
    strbuf_printf(journal,
        "{\"request\":\"%s\",\"outcome\":\"acknowledged\",\"key\":\"%s\",\"nonce\":\"%s\",\"receipt\":"
        "%s, \"signature\" : \"%s\"%s}\n",
        request, key, nonce, receipt->head, digits, receipt->tail);
}

/* A place whose store signs with SECRET. */
static void store_make(const struct audit_place *place)
{
    market_store_make(place);
    store_run(place->store, "UPDATE secrets SET value = CAST('" SECRET "' AS BLOB)");
}

static void expect_text(const struct audit_place *place, const char *journal, bool is_complete,
    const char *failed, const char *named)
{
    const char *journals[1] = {place->journal};
    struct verify_options options = {.store_path = place->store,
        .journals = journals,
        .journal_count = 1,
        .is_journal_complete = is_complete,
        .expect_users = -1};
    text_write(place->journal, journal);
    struct audit_result result = audit_run(&options);
    bool is_seen = strcmp(result.failed, failed) == 0 && strstr(result.text, named) != NULL;
    if (result.err != ERR_NONE || !is_seen)
        fail_msg("expected \"%s\" to fail and \"%s\" to be said, got \"%s\", %s\n%s\n%s", failed, named,
            result.failed, result.err == ERR_NONE ? "no error" : result.summary.error.message, journal,
            result.text);
    audit_result_put(&result);
}

static void expect(const struct audit_place *place, struct strbuf *journal, bool is_complete,
    const char *failed, const char *named)
{
    strbuf_put_char(journal, '\0');
    assert_false(journal->has_overflowed);
    expect_text(place, journal->base, is_complete, failed, named);
}

#define REGISTERED(key, email) \
    "{\"request\":\"register\",\"outcome\":\"acknowledged\",\"key\":\"" key "\",\"email\":\"" email "\"}\n"
#define NO_REGISTRATION(key) \
    "{\"request\":\"register\",\"outcome\":\"refused\",\"code\":\"PUBLIC_KEY_TAKEN\",\"key\":\"" key "\"}\n"
#define REFUSED(request, key, nonce)                                                                      \
    "{\"request\":\"" request "\",\"outcome\":\"refused\",\"code\":\"INSUFFICIENT_FUNDS\",\"key\":\"" key \
    "\",\"nonce\":\"" nonce "\"}\n"
#define UNKNOWN(request, key, nonce)                                                           \
    "{\"request\":\"" request "\",\"outcome\":\"unknown\",\"code\":\"timeout\",\"key\":\"" key \
    "\",\"nonce\":\"" nonce "\"}\n"

static const struct receipt receipt_4 = RECEIPT_4;
static const struct receipt receipt_5 = RECEIPT_5;
static const struct receipt receipt_8 = RECEIPT_8;

/* What makes the whole of the store: three acknowledged, two unknown. */
static void put_all(struct strbuf *journal, const struct signer *signer)
{
    put_header(journal, signer);
    strbuf_lit(journal,
        REGISTERED(KEY_C, "CID@x.example") NO_REGISTRATION(KEY_C) REGISTERED(KEY_E, "eve@x.example"));
    put_acknowledged(journal, signer, "spend", KEY_C, "n-1", &receipt_4);
    put_acknowledged(journal, signer, "transfer", KEY_C, "n-2", &receipt_5);
    put_acknowledged(journal, signer, "spend", KEY_D, "n-4", &receipt_8);
    strbuf_lit(journal, UNKNOWN("spend", KEY_D, "n-1") UNKNOWN("spend", KEY_C, "n-3")
                            UNKNOWN("spend", KEY_C, "n-7") REFUSED("spend", KEY_C, "n-9"));
}

/* Wrong if this fails: a journal of wallets is not understood, or the auditor cries wolf. */
static void what_was_told_is_in_the_store(void **state)
{
    const struct audit_place *place = *state;
    static const char *const told[] = {"answers  10: 5 acknowledged, 2 refused, 3 unknown",
        "PASS  registrations-acknowledged: 2 acknowledged, 0 not as told",
        "PASS  payments-acknowledged: 3 acknowledged, 3 of them in the store as told",
        "PASS  receipts: 3 receipts, 0 faults",
        "PASS  payments-refused: 1 payment always refused, 0 of them in the store",
        "PASS  payments-complete: 0 payments that the journals cannot explain"};
    struct signer signer;
    char memory[16384];
    struct strbuf journal;
    store_make(place);
    signer_make(&signer, SECRET);
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        strbuf_init(&journal, memory, sizeof memory);
        put_all(&journal, &signer);
        expect(place, &journal, true, "", told[i]);
    }
    strbuf_init(&journal, memory, sizeof memory);
    put_all(&journal, &signer); /* the same answer again, and a request that was refused before it */
    put_acknowledged(&journal, &signer, "spend", KEY_C, "n-1", &receipt_4);
    strbuf_lit(&journal, REFUSED("spend", KEY_C, "n-1") REFUSED("spend", KEY_C, "n-3"));
    expect(place, &journal, true, "", "4 acknowledged, 4 of them in the store as told");
}

/* What was told of one payment, and what the auditor must say of it. */
static void expect_of_receipt(const struct audit_place *place, const char *request, const char *key,
    const char *nonce, struct receipt receipt, const char *failed, const char *named)
{
    struct signer signer;
    char memory[16384];
    struct strbuf journal;
    signer_make(&signer, SECRET);
    strbuf_init(&journal, memory, sizeof memory);
    put_header(&journal, &signer);
    put_acknowledged(&journal, &signer, request, key, nonce, &receipt);
    expect(place, &journal, false, failed, named);
}

#define SPEND_OF(amount, id, nonce, order, product, key)                               \
    "{\"action\":\"spend\",\"amount\":" amount ",\"id\":\"" id "\",\"nonce\":\"" nonce \
    "\",\"order_id\":\"" order "\",\"product_id\":\"" product "\",\"public_key\":\"" key "\""
#define AT(second) ",\"timestamp\":" second "}"

/* Wrong if this fails: a customer holds a receipt of what never was, and nobody notices. */
static void a_receipt_of_something_else_is_named(void **state)
{
    static const char order[] = "payments-acknowledged";
    const struct audit_place *place = *state;
    store_make(place);
    expect_of_receipt(place, "spend", KEY_C, "n-8",
        (struct receipt){SPEND_OF("12.5", "4", "n-8", "PUR-20261120-0024", "8", KEY_C), AT("1795218445")},
        order, "journal 1, line 2: spend \"n-8\" of " KEY_C " is not in the store");
    expect_of_receipt(place, "spend", KEY_C, "n-1",
        (struct receipt){SPEND_OF("12.5", "7", "n-1", "PUR-20261120-0024", "8", KEY_C), AT("1795218445")},
        order, "is transfer 4 in the store");
    expect_of_receipt(place, "spend", KEY_C, "n-1",
        (struct receipt){SPEND_OF("12.51", "4", "n-1", "PUR-20261120-0024", "8", KEY_C), AT("1795218445")},
        order, "has moved 12.50 in the store");
    expect_of_receipt(place, "spend", KEY_C, "n-1",
        (struct receipt){SPEND_OF("12.5", "4", "n-1", "PUR-20261120-0025", "8", KEY_C), AT("1795218445")},
        order, "has order PUR-20261120-0024 in the store");
    expect_of_receipt(place, "spend", KEY_C, "n-1",
        (struct receipt){SPEND_OF("12.5", "4", "n-1", "PUR-20261121-0024", "8", KEY_C), AT("1795218445")},
        order, "has order PUR-20261120-0024 in the store");
    expect_of_receipt(place, "spend", KEY_C, "n-1",
        (struct receipt){SPEND_OF("12.5", "4", "n-1", "PUR-20261120-0024", "2", KEY_C), AT("1795218445")},
        order, "has bought product 8 in the store");
    expect_of_receipt(place, "spend", KEY_C, "n-1",
        (struct receipt){SPEND_OF("12.5", "4", "n-1", "PUR-20261120-0024", "8", KEY_C), AT("1795218446")},
        order, "was made at 2026-11-20T23:47:25.000Z in the store");
    expect_of_receipt(place, "spend", KEY_C, "n-1",
        (struct receipt){SPEND_OF("12.5", "4", "n-1", "PUR-20261120-0024", "8", KEY_D), AT("1795218445")},
        order, "has a receipt of another payment");
    expect_of_receipt(place, "transfer", KEY_C, "n-1", receipt_4, order, "is a spend in the store");
    expect_of_receipt(place, "transfer", KEY_C, "n-2",
        (struct receipt){receipt_5.head, ",\"timestamp\":1795218441,\"to\":\"" KEY_E "\"}"}, order,
        "has another payee in the store");
    store_run(place->store, "UPDATE transfers SET nonce = 'n-1' WHERE id = 7");
    expect_of_receipt(place, "spend", KEY_C, "n-1", receipt_4, "nonces payments-acknowledged",
        "is in the store more than once");
}

/* Wrong if this fails: a receipt that proves nothing passes for one. */
static void a_receipt_that_is_not_signed_is_named(void **state)
{
    const struct audit_place *place = *state;
    struct signer signer;
    struct signer other;
    char memory[16384];
    struct strbuf journal;
    store_make(place);
    signer_make(&signer, SECRET);
    signer_make(&other, "known to all, and never this one");
    strbuf_init(&journal, memory, sizeof memory);
    put_header(&journal, &signer);
    put_acknowledged(&journal, &other, "spend", KEY_C, "n-1", &receipt_4);
    expect(place, &journal, false, "receipts",
        "journal 1, line 2: the receipt of spend \"n-1\" of " KEY_C " is not signed by ");
    strbuf_init(&journal, memory, sizeof memory);
    put_header(&journal, &other);
    put_acknowledged(&journal, &other, "spend", KEY_C, "n-1", &receipt_4);
    expect(place, &journal, false, "receipts", "journal 1: its receipts are signed with ");
    strbuf_init(&journal, memory, sizeof memory);
    put_header(&journal, &signer);
    strbuf_printf(&journal,
        "{\"request\":\"spend\",\"outcome\":\"acknowledged\",\"key\":\"" KEY_C "\",\"nonce\":\"n-1\","
        "\"receipt\":%s%s}\n",
        receipt_4.head, receipt_4.tail);
    expect(place, &journal, false, "receipts", "has no signature, or what no receipt has");
}

/* Wrong if this fails: the auditor writes a receipt in another form than RFC 8785 has it, and good ones fail.
 */
static void receipts_are_read_in_their_canonical_form(void **state)
{
    const struct audit_place *place = *state;
    static const struct {
        const char *amount;
        int64_t minor;
        const char *nonce;  /* as JSON must have it */
        const char *stored; /* in SQL */
    } rows[] = {
        {"0.01", 1, "n", "'n'"},
        {"0.1", 10, "\\\"\\\\/", "'\"\\/'"},
        {"1", 100, "\\n\\t\\b\\f\\r", "char(10, 9, 8, 12, 13)"},
        {"9999999999999.99", INT64_C(999999999999999), "\\u0001\\u001f\x7f", "char(1, 31, 127)"},
        {"1234567890123.4", INT64_C(123456789012340), "\xc3\xbc\xe2\x82\xac\xf0\x9f\x9a\xaa",
            "char(252, 8364, 128682)"},
        {"99", 9900, " ", "' '"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char sql[512];
        char head[512];
        store_make(place);
        (void)snprintf(sql, sizeof sql, "UPDATE transfers SET amount_minor = %lld, nonce = %s WHERE id = 5",
            (long long)rows[i].minor, rows[i].stored);
        store_run(place->store, sql);
        (void)snprintf(head, sizeof head,
            "{\"action\":\"transfer\",\"amount\":%s,\"id\":\"5\",\"nonce\":\"%s\",\"public_key\":\"%s\"",
            rows[i].amount, rows[i].nonce, KEY_C);
        expect_of_receipt(place, "transfer", KEY_C, rows[i].nonce, (struct receipt){head, receipt_5.tail},
            "wallet-sums transfer-chains", "PASS  receipts: 1 receipt, 0 faults");
        expect_of_receipt(place, "transfer", KEY_C, rows[i].nonce, (struct receipt){head, receipt_5.tail},
            "wallet-sums transfer-chains",
            "payments-acknowledged: 1 acknowledged, 1 of them in the store as told");
    }
}

/* Wrong if this fails: what was refused was done all the same, or a customer without an account was told of
 * one. */
static void what_was_told_and_is_not_so_is_named(void **state)
{
    const struct audit_place *place = *state;
    static const struct {
        const char *lines;
        bool is_complete;
        const char *failed;
        const char *named;
    } rows[] = {
        {REFUSED("transfer", KEY_C, "n-2"), false, "payments-refused",
            "transfer 5 is the payment \"n-2\" of " KEY_C ", which was always refused (journal 1, line 2)"},
        {REFUSED("transfer", KEY_C, "n-2") UNKNOWN("transfer", KEY_C, "n-2"), false, "",
            "PASS  payments-refused: 0 payments always refused"},
        {REFUSED("spend", KEY_E, "n-1"), false, "", "PASS  payments-refused: 1 payment always refused"},
        {UNKNOWN("spend", KEY_C, "n-1"), true, "payments-complete",
            "transfer 5 of account 3 was never acknowledged"},
        {REGISTERED(EIGHT("00000000"), "x@y.example"), false, "registrations-acknowledged",
            "the key " EIGHT("00000000") " has no account in the store"},
        {REGISTERED(KEY_C, "other@x.example"), false, "registrations-acknowledged",
            " has the address \"Cid@x.example\" in the store and not \"other@x.example\""},
        {REGISTERED(KEY_C, "cid@x.example") REGISTERED(KEY_C, "cid@x.example"), false,
            "registrations-acknowledged", "journal 1, line 3: the key " KEY_C " was registered 2 times"},
    };
    struct signer signer;
    char memory[4096];
    struct strbuf journal;
    store_make(place);
    signer_make(&signer, SECRET);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        strbuf_init(&journal, memory, sizeof memory);
        put_header(&journal, &signer);
        strbuf_put(&journal, slice_cstr(rows[i].lines));
        expect(place, &journal, rows[i].is_complete, rows[i].failed, rows[i].named);
    }
}

/* Wrong if this fails: the id of a transfer that a customer has a receipt of is given out again. */
static void an_acknowledged_id_may_not_come_again(void **state)
{
    const struct audit_place *place = *state;
    store_make(place);
    expect_of_receipt(place, "spend", KEY_C, "n-1",
        (struct receipt){SPEND_OF("12.5", "9", "n-1", "PUR-20261120-0024", "8", KEY_C), AT("1795218445")},
        "sequences payments-acknowledged",
        "transfer id 9, which was acknowledged (journal 1, line 2), comes again: the next one is 9");
}

/* Wrong if this fails: a journal that nobody can have meant is judged, or the reason is not told. */
static void a_line_that_says_nothing_is_refused(void **state)
{
    const struct audit_place *place = *state;
    static const struct {
        const char *line;
        const char *named;
    } rows[] = {
        {"{\"request\":\"refund\",\"outcome\":\"refused\",\"key\":\"" KEY_C "\",\"nonce\":\"n\"}\n",
            "line 2 has no request of register, spend or transfer"},
        {"{\"request\":\"spend\",\"outcome\":\"lost\",\"key\":\"" KEY_C "\",\"nonce\":\"n\"}\n",
            "line 2 has no outcome of acknowledged, refused or unknown"},
        {"{\"request\":\"spend\",\"outcome\":\"refused\",\"key\":\"c0fe\",\"nonce\":\"n\"}\n",
            "line 2 has no key of 64 hexadecimal digits"},
        {"{\"request\":\"spend\",\"outcome\":\"refused\",\"key\":\"" KEY_C "\"}\n", "line 2 names no nonce"},
        {"{\"request\":\"spend\",\"outcome\":\"acknowledged\",\"key\":\"" KEY_C
         "\",\"nonce\":\"n\",\"receipt\":7}\n",
            "line 2 acknowledges a payment without a receipt"},
        {"{\"request\":\"register\",\"outcome\":\"acknowledged\",\"key\":\"" KEY_C "\"}\n",
            "line 2 acknowledges a registration without an address"},
    };
    const char *journals[1] = {place->journal};
    struct verify_options options = {
        .store_path = place->store, .journals = journals, .journal_count = 1, .expect_users = -1};
    struct signer signer;
    store_make(place);
    signer_make(&signer, SECRET);
    for (size_t i = 0; i <= sizeof rows / sizeof rows[0]; i++) {
        bool is_headless = i == sizeof rows / sizeof rows[0];
        char text[2048];
        (void)snprintf(text, sizeof text,
            "{\"journal\":1,\"scenario\":\"s\",\"face\":\"marketplace\"%s%s%s}\n%s",
            is_headless ? "" : ",\"receipt_key\":\"", is_headless ? "" : signer.key, is_headless ? "" : "\"",
            is_headless ? "" : rows[i].line);
        text_write(place->journal, text);
        struct audit_result result = audit_run(&options);
        const char *named = is_headless ? "line 1 is a header without a \"receipt_key\"" : rows[i].named;
        assert_int_equal(result.err, ERR_REFUSED);
        if (strstr(result.summary.error.message, named) == NULL)
            fail_msg("expected \"%s\", got %s", named, result.summary.error.message);
        audit_result_put(&result);
    }
}

/* Wrong if this fails: receipts of a store that has lost its secret cannot be told from forged ones. */
static void a_store_without_its_secret_is_said_so(void **state)
{
    const struct audit_place *place = *state;
    const char *journals[1] = {place->journal};
    struct verify_options options = {
        .store_path = place->store, .journals = journals, .journal_count = 1, .expect_users = -1};
    struct signer signer;
    char memory[1024];
    struct strbuf journal;
    store_make(place);
    store_run(place->store, "DELETE FROM secrets");
    signer_make(&signer, SECRET);
    strbuf_init(&journal, memory, sizeof memory);
    put_header(&journal, &signer);
    strbuf_lit(&journal, NO_REGISTRATION(KEY_C));
    strbuf_put_char(&journal, '\0');
    text_write(place->journal, journal.base);
    struct audit_result result = audit_run(&options);
    assert_int_equal(result.err, ERR_CORRUPT);
    assert_non_null(
        strstr(result.summary.error.message, "has lost the secret that its receipts are signed by"));
    audit_result_put(&result);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, audit_place_make, audit_place_remove)
    const struct CMUnitTest tests[] = {
        TEST(what_was_told_is_in_the_store),
        TEST(a_receipt_of_something_else_is_named),
        TEST(a_receipt_that_is_not_signed_is_named),
        TEST(receipts_are_read_in_their_canonical_form),
        TEST(what_was_told_and_is_not_so_is_named),
        TEST(an_acknowledged_id_may_not_come_again),
        TEST(a_line_that_says_nothing_is_refused),
        TEST(a_store_without_its_secret_is_said_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
