/* SPDX-License-Identifier: Apache-2.0 */
#include "api/challenge.h"

#include <sodium.h>

#include "base/ensure.h"
#include "base/hex.h"

_Static_assert(CHALLENGE_MAC_BYTES == crypto_auth_hmacsha256_BYTES, "a MAC is one of HMAC-SHA256");
_Static_assert(CHALLENGE_KEY_BYTES == crypto_auth_hmacsha256_KEYBYTES, "and its key too");

void challenge_key_init(struct challenge_key *key, const unsigned char *secret)
{
    static const struct slice use = SLICE_INIT("doorbuster challenges");
    crypto_auth_hmacsha256(key->bytes, (const unsigned char *)use.base, use.len, secret);
}

void challenge_make(char text[CHALLENGE_LEN])
{
    unsigned char bytes[CHALLENGE_BYTES];
    struct strbuf out;
    randombytes_buf(bytes, sizeof bytes);
    strbuf_init(&out, text, CHALLENGE_LEN);
    hex_put(&out, bytes, sizeof bytes);
    ENSURE(!out.has_overflowed);
}

void challenge_mac(const struct challenge_key *key, struct slice text,
    const unsigned char public_key[WALLET_KEY_BYTES], int64_t timestamp_s,
    unsigned char mac[CHALLENGE_MAC_BYTES])
{
    char memory[2 * WALLET_KEY_BYTES + 24];
    struct strbuf rest;
    crypto_auth_hmacsha256_state state;
    strbuf_init(&rest, memory, sizeof memory);
    hex_put(&rest, public_key, WALLET_KEY_BYTES);
    strbuf_put_i64(&rest, timestamp_s);
    ENSURE(!rest.has_overflowed);
    crypto_auth_hmacsha256_init(&state, key->bytes, sizeof key->bytes);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)text.base, text.len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)rest.base, rest.len);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof state);
}

enum challenge_status challenge_check(const struct challenge_key *key, struct slice text,
    const unsigned char public_key[WALLET_KEY_BYTES], int64_t timestamp_s,
    const unsigned char mac[CHALLENGE_MAC_BYTES], int64_t now_s)
{
    unsigned char expected[CHALLENGE_MAC_BYTES];
    if (text.len != CHALLENGE_LEN)
        return CHALLENGE_BAD_MAC;
    challenge_mac(key, text, public_key, timestamp_s, expected);
    if (sodium_memcmp(expected, mac, sizeof expected) != 0)
        return CHALLENGE_BAD_MAC;
    return now_s - timestamp_s >= CHALLENGE_LIFETIME_S ? CHALLENGE_EXPIRED : CHALLENGE_OK;
}

bool challenge_is_signed(
    struct slice text, const unsigned char public_key[WALLET_KEY_BYTES], const unsigned char *signature)
{
    unsigned char bytes[CHALLENGE_BYTES];
    return crypto_sign_verify_detached(signature, (const unsigned char *)text.base, text.len, public_key) ==
               0 ||
           (hex_read(text, bytes, sizeof bytes) &&
               crypto_sign_verify_detached(signature, bytes, sizeof bytes, public_key) == 0);
}
