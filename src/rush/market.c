/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/market.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/hex.h"
#include "net/json.h"

enum { MINOR_PER_COIN = 100, RECEIPT_MEMBERS_MAX = 24, RECEIPT_TEXT_MAX = 2048, DIGITS_MAX = 17 };

_Static_assert(MARKET_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "keys are of Ed25519");
_Static_assert(MARKET_KEY_BYTES == crypto_sign_SEEDBYTES, "a seed is as long as a key");
_Static_assert(MARKET_SECRET_BYTES == crypto_sign_SECRETKEYBYTES, "keys are of Ed25519");
_Static_assert(MARKET_SIGNATURE_BYTES == crypto_sign_BYTES, "signatures are of Ed25519");

/* --- keys --- */

void market_key_make_seed(struct market_key *key, const unsigned char seed[MARKET_KEY_BYTES])
{
    unsigned char public_key[MARKET_KEY_BYTES];
    struct strbuf hex;
    ENSURE(sodium_init() >= 0);
    ENSURE(crypto_sign_seed_keypair(public_key, key->secret, seed) == 0);
    strbuf_init(&hex, key->hex, MARKET_KEY_HEX);
    hex_put(&hex, public_key, sizeof public_key);
    key->hex[MARKET_KEY_HEX] = '\0';
}

void market_key_make(struct market_key *key)
{
    unsigned char seed[MARKET_KEY_BYTES];
    ENSURE(sodium_init() >= 0);
    randombytes_buf(seed, sizeof seed);
    market_key_make_seed(key, seed);
}

void market_sign(
    const struct market_key *key, struct slice text, unsigned char signature[MARKET_SIGNATURE_BYTES])
{
    ENSURE(
        crypto_sign_detached(signature, NULL, (const unsigned char *)text.base, text.len, key->secret) == 0);
}

/* --- texts --- */

void market_put_amount(struct strbuf *out, int64_t minor)
{
    int64_t rest = minor % MINOR_PER_COIN;
    strbuf_put_i64(out, minor / MINOR_PER_COIN);
    if (rest == 0)
        return;
    strbuf_put_char(out, '.');
    strbuf_put_char(out, (char)('0' + rest / 10));
    if (rest % 10 != 0)
        strbuf_put_char(out, (char)('0' + rest % 10));
}

/* Whole coins as an integer, others as a decimal text. */
static void put_intent_amount(struct strbuf *out, int64_t minor)
{
    bool is_whole = minor % MINOR_PER_COIN == 0;
    strbuf_put(out, is_whole ? SLICE("") : SLICE("\""));
    market_put_amount(out, minor);
    strbuf_put(out, is_whole ? SLICE("") : SLICE("\""));
}

void market_put_intent(struct strbuf *out, const struct market_intent *intent)
{
    strbuf_put(out, intent->is_transfer ? SLICE("{\"action\":\"transfer\",\"amount\":")
                                        : SLICE("{\"action\":\"spend\",\"amount\":"));
    put_intent_amount(out, intent->amount_minor);
    strbuf_lit(out, ",\"nonce\":\"");
    strbuf_put(out, slice_cstr(intent->nonce));
    if (!intent->is_transfer) {
        strbuf_lit(out, "\",\"product_id\":\"");
        strbuf_put(out, slice_cstr(intent->target));
    }
    strbuf_lit(out, "\",\"timestamp\":");
    strbuf_put_i64(out, intent->timestamp_s);
    if (intent->is_transfer) {
        strbuf_lit(out, ",\"to\":\"");
        strbuf_put(out, slice_cstr(intent->target));
        strbuf_put_char(out, '"');
    }
    strbuf_put_char(out, '}');
}

void market_sign_intent(const struct market_key *key, const struct market_intent *intent,
    unsigned char signature[MARKET_SIGNATURE_BYTES])
{
    char memory[MARKET_INTENT_MAX];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    market_put_intent(&text, intent);
    ENSURE(!text.has_overflowed);
    market_sign(key, strbuf_slice(&text), signature);
}

void market_put_transact(struct strbuf *out, const struct market_key *key, const struct market_intent *intent,
    const unsigned char signature[MARKET_SIGNATURE_BYTES])
{
    strbuf_lit(out, "{\"intent\":");
    market_put_intent(out, intent);
    strbuf_lit(out, ",\"public_key\":\"");
    strbuf_put(out, slice_make(key->hex, MARKET_KEY_HEX));
    strbuf_lit(out, "\",\"signature\":\"");
    hex_put(out, signature, MARKET_SIGNATURE_BYTES);
    strbuf_lit(out, "\"}");
}

void market_put_registration(
    struct strbuf *out, const struct market_key *key, const char *email, const char *name)
{
    strbuf_lit(out, "{\"email\":");
    strbuf_put_json(out, slice_cstr(email));
    strbuf_lit(out, ",\"name\":");
    strbuf_put_json(out, slice_cstr(name));
    strbuf_printf(out, ",\"public_key\":\"%s\"}", key->hex);
}

void market_put_verification(
    struct strbuf *out, const struct market_key *key, const struct market_challenge *challenge)
{
    strbuf_printf(out, "{\"public_key\":\"%s\",\"challenge\":", key->hex);
    strbuf_put_json(out, slice_make(challenge->text, challenge->text_len));
    strbuf_printf(out, ",\"timestamp\":%lld,\"mac\":", (long long)challenge->timestamp_s);
    strbuf_put_json(out, slice_make(challenge->mac, challenge->mac_len));
    strbuf_lit(out, ",\"signature\":\"");
    hex_put(out, challenge->signature, MARKET_SIGNATURE_BYTES);
    strbuf_lit(out, "\"}");
}

/* --- receipts --- */

struct member {
    struct slice name;
    const struct json *value;
};

static int compare_members(const void *a, const void *b)
{
    return slice_compare(((const struct member *)a)->name, ((const struct member *)b)->name);
}

/* The shortest digits that are this number again (RFC 8785 section 3.2.2.3); amounts need no exponent. */
static void put_number(struct strbuf *out, double number)
{
    char text[40] = "";
    for (int digits = 1; digits <= DIGITS_MAX; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number && strchr(text, 'e') == NULL)
            break;
    }
    strbuf_put(out, slice_cstr(text));
}

/* False for what no receipt has: objects, lists, and the like. */
static bool put_value(struct strbuf *out, const struct json *value)
{
    struct slice text;
    int64_t whole;
    double number;
    if (json_text(value, &text)) {
        strbuf_put_json(out, text);
        return true;
    }
    if (json_int64(value, &whole)) {
        strbuf_put_i64(out, whole);
        return true;
    }
    if (!json_double(value, &number))
        return false;
    put_number(out, number);
    return true;
}

/* Writes the object without its signature, members sorted. */
static bool put_canonical(struct strbuf *out, const struct json *object)
{
    struct member members[RECEIPT_MEMBERS_MAX];
    size_t count = 0;
    void *cursor = NULL;
    struct slice name;
    const struct json *value;
    while (json_next_member(object, &cursor, &name, &value)) {
        if (slice_eq(name, SLICE("signature")))
            continue;
        if (count == RECEIPT_MEMBERS_MAX)
            return false;
        members[count++] = (struct member){name, value};
    }
    qsort(members, count, sizeof members[0], compare_members);
    strbuf_put_char(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            strbuf_put_char(out, ',');
        strbuf_put_json(out, members[i].name);
        strbuf_put_char(out, ':');
        if (!put_value(out, members[i].value))
            return false;
    }
    strbuf_put_char(out, '}');
    return !out->has_overflowed;
}

bool market_receipt_is_signed(struct slice receipt, const unsigned char public_key[MARKET_KEY_BYTES])
{
    char memory[RECEIPT_TEXT_MAX];
    unsigned char signature[MARKET_SIGNATURE_BYTES];
    struct strbuf text;
    struct json *value = NULL;
    struct slice told;
    strbuf_init(&text, memory, sizeof memory);
    bool is_signed =
        json_parse(receipt, &value) == JSON_OK && json_text(json_member(value, "signature"), &told) &&
        hex_read(told, signature, sizeof signature) && put_canonical(&text, value) &&
        crypto_sign_verify_detached(signature, (const unsigned char *)text.base, text.len, public_key) == 0;
    json_free(value);
    return is_signed;
}
