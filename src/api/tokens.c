/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The payload is written by one printf and read by one row of take_ calls, in the same order; whatever
 * differs in one byte is malformed. Its greatest length: 19 digits for the account and for each time make
 * 8+19+17+13 + 6+19 + 7+19 + 8+32+2 < 160 bytes, 214 characters; with header (36), signature (43) and two
 * points that is below TOKEN_LEN_MAX.
 */
#include "api/tokens.h"

#include <sodium.h>

#include "base/ensure.h"
#include "base/strbuf.h"

enum {
    MS_PER_S = 1000,
    PAYLOAD_MAX = 160,
    SIGNATURE_LEN = 43, /* 32 bytes in base64url */
    JTI_BYTES = TOKEN_JTI_LEN / 2,
    ENCODING = sodium_base64_VARIANT_URLSAFE_NO_PADDING,
};

_Static_assert(TOKEN_KEY_BYTES == crypto_auth_hmacsha256_KEYBYTES, "the secret is an HMAC key");
_Static_assert(sodium_base64_ENCODED_LEN(crypto_auth_hmacsha256_BYTES, ENCODING) == SIGNATURE_LEN + 1,
    "a signature and its NUL");

/* {"alg":"HS256","typ":"JWT"} and the point behind it. */
static const struct slice header = SLICE_INIT("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.");

static const struct slice kind_names[] = {
    [TOKEN_ACCESS] = SLICE_INIT("access"),
    [TOKEN_REFRESH] = SLICE_INIT("refresh"),
};

static void sign(const struct token_key *key, struct slice text, unsigned char *signature)
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key->bytes, sizeof key->bytes);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)text.base, text.len);
    crypto_auth_hmacsha256_final(&state, signature);
    sodium_memzero(&state, sizeof state);
}

/* libsodium adds a NUL, which a token has no room for. */
static void put_base64(struct strbuf *buf, const void *bytes, size_t len)
{
    char text[sodium_base64_ENCODED_LEN(PAYLOAD_MAX, ENCODING)];
    ENSURE(len <= PAYLOAD_MAX);
    sodium_bin2base64(text, sizeof text, bytes, len, ENCODING);
    strbuf_put(buf, slice_cstr(text));
}

static void put_payload(struct strbuf *buf, const struct token_claims *claims)
{
    strbuf_printf(buf, "{\"sub\":\"%lld\",\"typ\":\"%.*s\",\"iat\":%lld,\"exp\":%lld",
        (long long)claims->account_id, SLICE_ARGS(kind_names[claims->kind]), (long long)claims->issued_s,
        (long long)claims->expires_s);
    if (claims->kind == TOKEN_REFRESH)
        strbuf_printf(buf, ",\"jti\":\"%.*s\"", TOKEN_JTI_LEN, claims->jti);
    strbuf_put_char(buf, '}');
}

static void make_jti(char jti[TOKEN_JTI_LEN])
{
    unsigned char bytes[JTI_BYTES];
    char text[TOKEN_JTI_LEN + 1];
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(text, sizeof text, bytes, sizeof bytes);
    memcpy(jti, text, TOKEN_JTI_LEN);
}

size_t tokens_issue(const struct token_key *key, int64_t account_id, enum token_kind kind, int64_t now_ms,
    int64_t lifetime_ms, char text[TOKEN_LEN_MAX])
{
    char payload[PAYLOAD_MAX];
    unsigned char signature[crypto_auth_hmacsha256_BYTES];
    struct strbuf inside;
    struct strbuf buf;
    ENSURE(account_id > 0 && now_ms >= 0 && lifetime_ms >= MS_PER_S);
    struct token_claims claims = {.kind = kind, .account_id = account_id, .issued_s = now_ms / MS_PER_S};
    claims.expires_s = claims.issued_s + lifetime_ms / MS_PER_S;
    if (kind == TOKEN_REFRESH)
        make_jti(claims.jti);
    strbuf_init(&inside, payload, sizeof payload);
    put_payload(&inside, &claims);
    strbuf_init(&buf, text, TOKEN_LEN_MAX);
    strbuf_put(&buf, header);
    put_base64(&buf, inside.base, inside.len);
    sign(key, strbuf_slice(&buf), signature);
    strbuf_put_char(&buf, '.');
    put_base64(&buf, signature, sizeof signature);
    ENSURE(!inside.has_overflowed && !buf.has_overflowed);
    return buf.len;
}

/* --- reading --- */

static bool take(struct slice *rest, struct slice expected)
{
    if (!slice_starts_with(*rest, expected))
        return false;
    rest->base += expected.len;
    rest->len -= expected.len;
    return true;
}

/* As printf writes one that is not negative: no sign, no leading zero. */
static bool take_number(struct slice *rest, int64_t *number)
{
    size_t len = 0;
    while (len < rest->len && rest->base[len] >= '0' && rest->base[len] <= '9')
        len++;
    struct slice digits = slice_make(rest->base, len);
    if (len == 0 || (len > 1 && digits.base[0] == '0') || !slice_to_i64(digits, number))
        return false;
    return take(rest, digits);
}

static bool take_kind(struct slice *rest, enum token_kind *kind)
{
    *kind = take(rest, kind_names[TOKEN_ACCESS]) ? TOKEN_ACCESS : TOKEN_REFRESH;
    return *kind == TOKEN_ACCESS || take(rest, kind_names[TOKEN_REFRESH]);
}

static bool take_jti(struct slice *rest, char jti[TOKEN_JTI_LEN])
{
    if (rest->len < TOKEN_JTI_LEN)
        return false;
    for (size_t i = 0; i < TOKEN_JTI_LEN; i++) {
        char c = rest->base[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
            return false;
        jti[i] = c;
    }
    return take(rest, slice_make(rest->base, TOKEN_JTI_LEN));
}

static bool read_payload(struct slice payload, struct token_claims *claims)
{
    struct slice rest = payload;
    *claims = (struct token_claims){0};
    if (!take(&rest, SLICE("{\"sub\":\"")) || !take_number(&rest, &claims->account_id) ||
        !take(&rest, SLICE("\",\"typ\":\"")) || !take_kind(&rest, &claims->kind) ||
        !take(&rest, SLICE("\",\"iat\":")) || !take_number(&rest, &claims->issued_s) ||
        !take(&rest, SLICE(",\"exp\":")) || !take_number(&rest, &claims->expires_s))
        return false;
    if (claims->kind == TOKEN_REFRESH &&
        (!take(&rest, SLICE(",\"jti\":\"")) || !take_jti(&rest, claims->jti) || !take(&rest, SLICE("\""))))
        return false;
    return slice_eq(rest, SLICE("}")) && claims->account_id > 0;
}

/* The text, not the bytes: libsodium 1.0.18 reads the byte 0xDF as '_', so texts are more than signatures. */
static bool is_signature(const struct token_key *key, struct slice is_signed, const char *given)
{
    unsigned char signature[crypto_auth_hmacsha256_BYTES];
    char expected[SIGNATURE_LEN + 1];
    sign(key, is_signed, signature);
    sodium_bin2base64(expected, sizeof expected, signature, sizeof signature, ENCODING);
    return sodium_memcmp(expected, given, SIGNATURE_LEN) == 0;
}

static enum token_status check_signature(
    const struct token_key *key, struct slice text, struct slice *payload)
{
    if (text.len > TOKEN_LEN_MAX || text.len < header.len + 1 + SIGNATURE_LEN ||
        !slice_starts_with(text, header))
        return TOKEN_MALFORMED;
    struct slice is_signed = slice_make(text.base, text.len - SIGNATURE_LEN - 1);
    if (text.base[is_signed.len] != '.')
        return TOKEN_MALFORMED;
    if (!is_signature(key, is_signed, text.base + is_signed.len + 1))
        return TOKEN_BAD_SIGNATURE;
    *payload = slice_make(is_signed.base + header.len, is_signed.len - header.len);
    return TOKEN_OK;
}

static bool decode(struct slice encoded, char *bytes, size_t size, size_t *len)
{
    const char *end;
    return sodium_base642bin(
               (unsigned char *)bytes, size, encoded.base, encoded.len, NULL, len, &end, ENCODING) == 0 &&
           end == encoded.base + encoded.len;
}

enum token_status tokens_check(const struct token_key *key, struct slice text, enum token_kind kind,
    int64_t now_ms, struct token_claims *claims)
{
    char payload[PAYLOAD_MAX];
    struct slice encoded;
    struct token_claims found;
    size_t len;
    enum token_status status = check_signature(key, text, &encoded);
    if (status != TOKEN_OK)
        return status;
    if (!decode(encoded, payload, sizeof payload, &len) || !read_payload(slice_make(payload, len), &found))
        return TOKEN_MALFORMED;
    if (found.kind != kind)
        return TOKEN_WRONG_KIND;
    *claims = found;
    return now_ms / MS_PER_S < found.expires_s ? TOKEN_OK : TOKEN_EXPIRED;
}
