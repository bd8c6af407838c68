/* SPDX-License-Identifier: Apache-2.0 */
/* What is signed is what is meant: one text for an intent, one for a receipt, and challenges that nobody can
 * make but this store's servers. */
#include "api/challenge.h"
#include "api/intent.h"
#include "api/receipt.h"
#include "base/hex.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEY_A "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"

static const unsigned char secret[32] = "an example of a secret of a shop";
static const unsigned char payer[WALLET_KEY_BYTES] = {0xa0, 0x01};
static const unsigned char payee[WALLET_KEY_BYTES] = {0xb0, 0x02};

/* --- intents --- */

struct reading {
    bool is_good;
    char text[INTENT_TEXT_MAX];
    size_t len;
    int64_t amount_minor;
};

static struct reading read_intent(const char *json)
{
    struct reading reading = {0};
    struct json *value = NULL;
    struct intent intent;
    struct strbuf text;
    assert_int_equal(json_parse(slice_cstr(json), &value), JSON_OK);
    const char *fault = intent_read(value, &intent);
    reading.is_good = fault == NULL;
    assert_true(fault == NULL || fault[0] != '\0');
    strbuf_init(&text, reading.text, sizeof reading.text);
    if (reading.is_good) {
        intent_put(&text, &intent);
        assert_false(text.has_overflowed);
        reading.len = text.len;
        reading.amount_minor = intent.amount_minor;
    }
    json_free(value);
    return reading;
}

static void assert_signs(const char *json, const char *expected)
{
    struct reading reading = read_intent(json);
    if (!reading.is_good || !slice_eq(slice_make(reading.text, reading.len), slice_cstr(expected)))
        fail_msg("%s is signed as %.*s, expected %s", json, (int)reading.len, reading.text, expected);
}

static void an_intent_has_one_text_however_it_is_sent(void **state)
{
    static const char spend[] =
        "{\"action\":\"spend\",\"amount\":12,\"nonce\":\"n\",\"product_id\":\"7\",\"timestamp\":1700000000}";
    assert_signs(spend, spend);
    assert_signs(" {\"timestamp\" : 1700000000, \"product_id\":\"\\u0037\",\n \"nonce\":\"n\",\"amount\":12,"
                 "\"action\":\"spend\" } ",
        spend);
    static const char transfer[] =
        "{\"action\":\"transfer\",\"amount\":\"0.50\",\"nonce\":\"n\",\"timestamp\":-1,\"to\":\"" KEY_A "\"}";
    assert_signs(transfer, transfer);
    assert_signs("{\"to\":\"" KEY_A "\",\"timestamp\":-1,\"nonce\":\"n\",\"amount\":\"0.50\",\"action\":"
                 "\"transfer\"}",
        transfer);
}

/* RFC 8785, 3.2.2.2: what is escaped, and how. */
static void a_nonce_is_escaped_as_the_rfc_has_it(void **state)
{
    assert_signs(
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"\\u0022\\u005C\\/\\b\\f\\n\\r\\t\\u000F\\u007f"
        "\\u20AC\\ud83d\\uDE00\",\"product_id\":\"7\",\"timestamp\":0}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"\\\"\\\\/"
        "\\b\\f\\n\\r\\t\\u000f\x7f\xE2\x82\xAC\xF0\x9F\x98\x80"
        "\",\"product_id\":\"7\",\"timestamp\":0}");
}

static void the_longest_intent_has_room(void **state)
{
    char json[1024];
    char nonce[64 * 6 + 1];
    for (int i = 0; i < 64; i++)
        memcpy(nonce + 6 * i, "\\u0001", 6);
    nonce[sizeof nonce - 1] = '\0';
    (void)snprintf(json, sizeof json,
        "{\"action\":\"transfer\",\"amount\":\"9999999999999.99\",\"nonce\":\"%s\",\"timestamp\":"
        "-9223372036854775808,\"to\":\"" KEY_A "\"}",
        nonce);
    assert_true(read_intent(json).is_good);
}

static void assert_amount(const char *amount, int64_t minor)
{
    char json[256];
    (void)snprintf(json, sizeof json,
        "{\"action\":\"spend\",\"amount\":%s,\"nonce\":\"n\",\"product_id\":\"7\",\"timestamp\":0}", amount);
    struct reading reading = read_intent(json);
    int64_t found = reading.is_good ? reading.amount_minor : 0;
    if (found != minor)
        fail_msg("amount %s is read as %lld, expected %lld", amount, (long long)found, (long long)minor);
}

static void amounts_are_integers_or_plain_decimals(void **state)
{
    static const struct {
        const char *amount;
        int64_t minor; /* 0: refused */
    } cases[] = {{"1", 100}, {"100", 10000}, {"1.0", 0}, {"1e2", 0}, {"\"1\"", 100}, {"\"1.5\"", 150},
        {"\"0.01\"", 1}, {"\"12.50\"", 1250}, {"9999999999999", 999999999999900},
        {"\"9999999999999.99\"", 999999999999999}, {"\"10000000000000\"", 0}, {"10000000000000", 0}, {"0", 0},
        {"-1", 0}, {"-0", 0}, {"0.5", 0}, {"1.5", 0}, {"\"0\"", 0}, {"\"0.00\"", 0}, {"\"-1\"", 0},
        {"\"+1\"", 0}, {"\"1e2\"", 0}, {"\"0.001\"", 0}, {"\"1.\"", 0}, {"\".5\"", 0}, {"\"01\"", 0},
        {"\"1.2.3\"", 0}, {"\" 1\"", 0}, {"\"1 \"", 0}, {"\"\"", 0}, {"\"1,5\"", 0}, {"\"1\\u0000\"", 0},
        {"9223372036854775807", 0}, {"9223372036854775808", 0}, {"\"9223372036854775808\"", 0},
        {"18446744073709551616", 0}, {"1e300", 0}, {"true", 0}, {"null", 0}, {"[1]", 0}, {"{}", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_amount(cases[i].amount, cases[i].minor);
}

static void what_is_no_intent_is_refused(void **state)
{
    static const char *const cases[] = {
        "null",
        "[]",
        "\"spend\"",
        "{}",
        "{\"action\":\"buy\",\"amount\":1,\"nonce\":\"n\",\"product_id\":\"7\",\"timestamp\":0}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"n\",\"product_id\":7,\"timestamp\":0}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"n\",\"product_id\":\"\",\"timestamp\":0}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"n\",\"timestamp\":0}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"n\",\"to\":\"" KEY_A "\",\"timestamp\":0}",
        "{\"action\":\"transfer\",\"amount\":1,\"nonce\":\"n\",\"product_id\":\"7\",\"timestamp\":0}",
        "{\"action\":\"transfer\",\"amount\":1,\"nonce\":\"n\",\"to\":\"ab\",\"timestamp\":0}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"\",\"product_id\":\"7\",\"timestamp\":0}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":1,\"product_id\":\"7\",\"timestamp\":0}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"a\\u0000\",\"product_id\":\"7\",\"timestamp\":0}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"n\",\"product_id\":\"7\",\"timestamp\":\"0\"}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"n\",\"product_id\":\"7\",\"timestamp\":0.5}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"n\",\"product_id\":\"7\",\"timestamp\":0,\"memo\":"
        "\"\"}",
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":\"n\",\"product_id\":\"7\",\"to\":\"" KEY_A
        "\",\"timestamp\":0}",
        /* 65 characters */
        "{\"action\":\"spend\",\"amount\":1,\"nonce\":"
        "\"12345678901234567890123456789012345678901234567890123456789012345\",\"product_id\":\"7\","
        "\"timestamp\":0}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (read_intent(cases[i]).is_good)
            fail_msg("%s is taken for an intent", cases[i]);
}

/* --- challenges --- */

static void a_challenge_is_ours_for_five_minutes(void **state)
{
    struct challenge_key key;
    unsigned char mac[CHALLENGE_MAC_BYTES];
    char text[CHALLENGE_LEN];
    const int64_t made_s = 1700000000;
    challenge_key_init(&key, secret);
    challenge_make(text);
    struct slice challenge = slice_make(text, sizeof text);
    challenge_mac(&key, challenge, payer, made_s, mac);
    assert_int_equal(challenge_check(&key, challenge, payer, made_s, mac, made_s), CHALLENGE_OK);
    assert_int_equal(challenge_check(&key, challenge, payer, made_s, mac, made_s - 9), CHALLENGE_OK);
    assert_int_equal(challenge_check(&key, challenge, payer, made_s, mac, made_s + 299), CHALLENGE_OK);
    assert_int_equal(challenge_check(&key, challenge, payer, made_s, mac, made_s + 300), CHALLENGE_EXPIRED);
}

static void whatever_is_changed_makes_another_challenge(void **state)
{
    struct challenge_key key;
    struct challenge_key other;
    unsigned char mac[CHALLENGE_MAC_BYTES];
    char text[CHALLENGE_LEN];
    challenge_key_init(&key, secret);
    challenge_key_init(&other, (const unsigned char *)"an example of a secret of a shoq");
    challenge_make(text);
    struct slice challenge = slice_make(text, sizeof text);
    challenge_mac(&key, challenge, payer, 5, mac);
    for (int bit = 0; bit < 8 * CHALLENGE_MAC_BYTES; bit++) {
        unsigned char flipped[CHALLENGE_MAC_BYTES];
        memcpy(flipped, mac, sizeof flipped);
        flipped[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_int_equal(challenge_check(&key, challenge, payer, 5, flipped, 5), CHALLENGE_BAD_MAC);
    }
    for (size_t i = 0; i < CHALLENGE_LEN; i++) {
        text[i] = (char)(text[i] ^ 1);
        assert_int_equal(challenge_check(&key, challenge, payer, 5, mac, 5), CHALLENGE_BAD_MAC);
        text[i] = (char)(text[i] ^ 1);
    }
    assert_int_equal(challenge_check(&key, challenge, payee, 5, mac, 5), CHALLENGE_BAD_MAC);
    assert_int_equal(challenge_check(&key, challenge, payer, 6, mac, 5), CHALLENGE_BAD_MAC);
    assert_int_equal(challenge_check(&key, challenge, payer, 50, mac, 5), CHALLENGE_BAD_MAC);
    assert_int_equal(challenge_check(&other, challenge, payer, 5, mac, 5), CHALLENGE_BAD_MAC);
    assert_int_equal(
        challenge_check(&key, slice_make(text, CHALLENGE_LEN - 1), payer, 5, mac, 5), CHALLENGE_BAD_MAC);
}

static void a_challenge_is_signed_by_its_text_or_what_it_spells(void **state)
{
    unsigned char public_key[crypto_sign_PUBLICKEYBYTES];
    unsigned char secret_key[crypto_sign_SECRETKEYBYTES];
    unsigned char signature[crypto_sign_BYTES];
    unsigned char bytes[CHALLENGE_BYTES];
    char text[CHALLENGE_LEN];
    challenge_make(text);
    struct slice challenge = slice_make(text, sizeof text);
    crypto_sign_keypair(public_key, secret_key);
    crypto_sign_detached(signature, NULL, (const unsigned char *)text, sizeof text, secret_key);
    assert_true(challenge_is_signed(challenge, public_key, signature));
    signature[63] ^= 1;
    assert_false(challenge_is_signed(challenge, public_key, signature));
    assert_true(hex_read(challenge, bytes, sizeof bytes));
    crypto_sign_detached(signature, NULL, bytes, sizeof bytes, secret_key);
    assert_true(challenge_is_signed(challenge, public_key, signature));
    assert_false(challenge_is_signed(challenge, payer, signature));
}

/* --- receipts --- */

static void assert_receipt(const struct transfer_row *transfer, const char *expected)
{
    struct receipt_key key;
    struct receipt_key again;
    char memory[RECEIPT_TEXT_MAX];
    unsigned char signature[crypto_sign_BYTES];
    struct strbuf text;
    receipt_key_init(&key, secret);
    receipt_key_init(&again, secret);
    assert_memory_equal(&key, &again, sizeof key);
    const struct receipt receipt = {
        .transfer = transfer, .public_key = payer, .to = payee, .nonce = SLICE("\"n\"")};
    strbuf_init(&text, memory, sizeof memory);
    receipt_put(&text, &key, &receipt);
    size_t len = strlen(expected);
    assert_true(text.len == len + strlen(",\"signature\":\"") + 128 - 1 + strlen("\"}"));
    assert_memory_equal(text.base, expected, len - 1); /* but for the brace */
    const char *digits = text.base + len - 1 + strlen(",\"signature\":\"");
    assert_true(hex_read(slice_make(digits, 128), signature, sizeof signature));
    assert_int_equal(
        crypto_sign_verify_detached(signature, (const unsigned char *)expected, len, key.public_key), 0);
}

#define PAYER_TEXT "a001000000000000000000000000000000000000000000000000000000000000"
#define PAYEE_TEXT "b002000000000000000000000000000000000000000000000000000000000000"

static void a_receipt_is_signed_without_its_signature(void **state)
{
    const struct transfer_row spend = {.id = 9,
        .kind = TRANSFER_SPEND,
        .amount_minor = 1250,
        .product_id = 17,
        .purchase_id = 42,
        .created_ms = 1700000000999};
    assert_receipt(&spend,
        "{\"action\":\"spend\",\"amount\":12.5,\"id\":\"9\",\"nonce\":\"\\\"n\\\"\",\"order_id\":"
        "\"PUR-20231114-0042\",\"product_id\":\"17\",\"public_key\":\"" PAYER_TEXT
        "\",\"timestamp\":1700000000}");
    const struct transfer_row transfer = {.id = INT64_MAX,
        .kind = TRANSFER_TRANSFER,
        .amount_minor = WALLET_AMOUNT_MAX,
        .created_ms = 1700000000000};
    assert_receipt(&transfer,
        "{\"action\":\"transfer\",\"amount\":9999999999999.99,\"id\":\"9223372036854775807\",\"nonce\":"
        "\"\\\"n\\\"\",\"public_key\":\"" PAYER_TEXT "\",\"timestamp\":1700000000,\"to\":\"" PAYEE_TEXT
        "\"}");
}

static void the_longest_receipt_has_room(void **state)
{
    struct receipt_key key;
    char nonce[NONCE_LEN_MAX];
    char memory[RECEIPT_TEXT_MAX];
    struct strbuf text;
    const struct transfer_row spend = {.id = INT64_MAX,
        .kind = TRANSFER_SPEND,
        .amount_minor = WALLET_AMOUNT_MAX,
        .product_id = INT64_MAX,
        .purchase_id = INT64_MAX,
        .created_ms = 253402300799999};
    const struct receipt receipt = {
        .transfer = &spend, .public_key = payer, .to = payee, .nonce = {nonce, sizeof nonce}};
    memset(nonce, 1, sizeof nonce);
    receipt_key_init(&key, secret);
    strbuf_init(&text, memory, sizeof memory);
    receipt_put(&text, &key, &receipt);
    assert_false(text.has_overflowed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_intent_has_one_text_however_it_is_sent),
        cmocka_unit_test(a_nonce_is_escaped_as_the_rfc_has_it),
        cmocka_unit_test(the_longest_intent_has_room),
        cmocka_unit_test(amounts_are_integers_or_plain_decimals),
        cmocka_unit_test(what_is_no_intent_is_refused),
        cmocka_unit_test(a_challenge_is_ours_for_five_minutes),
        cmocka_unit_test(whatever_is_changed_makes_another_challenge),
        cmocka_unit_test(a_challenge_is_signed_by_its_text_or_what_it_spells),
        cmocka_unit_test(a_receipt_is_signed_without_its_signature),
        cmocka_unit_test(the_longest_receipt_has_room),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("the texts that are signed", tests, NULL, NULL);
}
