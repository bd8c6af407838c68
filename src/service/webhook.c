/* SPDX-License-Identifier: Apache-2.0 */
#include "service/webhook.h"

#include <sodium.h>
#include <stdio.h>

#include "base/ensure.h"

static const struct slice PREFIX = SLICE_INIT("whsec_");

static enum err bad_secret(struct error *error, const char *what)
{
    return error_set(error, ERR_USAGE,
        "the webhook secret %s; expected: whsec_ and the base64 of %d to %d random bytes, as "
        "printf 'whsec_%%s\\n' \"$(openssl rand -base64 32)\" makes it",
        what, WEBHOOK_KEY_MIN, WEBHOOK_KEY_MAX);
}

enum err webhook_secret_parse(struct slice text, struct webhook_secret *secret, struct error *error)
{
    struct webhook_secret read;
    if (!slice_starts_with(text, PREFIX))
        return bad_secret(error, "does not begin with whsec_");
    const char *base64 = text.base + PREFIX.len;
    size_t len = text.len - PREFIX.len;
    unsigned char bytes[2 * WEBHOOK_KEY_MAX];
    size_t bytes_len;
    /* What does not even fit here is too long anyway. */
    if (len > (size_t)sodium_base64_ENCODED_LEN(sizeof bytes, sodium_base64_VARIANT_ORIGINAL) - 1)
        return bad_secret(error, "is too long");
    if (sodium_base642bin(
            bytes, sizeof bytes, base64, len, NULL, &bytes_len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return bad_secret(error, "is not base64 after whsec_");
    if (bytes_len < WEBHOOK_KEY_MIN)
        return bad_secret(error, "is too short");
    if (bytes_len > WEBHOOK_KEY_MAX)
        return bad_secret(error, "is too long");
    memcpy(read.key, bytes, bytes_len);
    read.key_len = bytes_len;
    *secret = read;
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(&read, sizeof read);
    return ERR_NONE;
}

static bool is_id(struct slice id)
{
    if (id.len < 1 || id.len > WEBHOOK_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.base[i];
        bool is_fine = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '-';
        if (!is_fine)
            return false;
    }
    return true;
}

static void update(crypto_auth_hmacsha256_state *state, struct slice text)
{
    crypto_auth_hmacsha256_update(state, (const unsigned char *)text.base, text.len);
}

void webhook_sign(const struct webhook_secret *secret, struct slice id, int64_t timestamp_s,
    struct slice body, struct webhook_headers *headers)
{
    char seconds[21];
    char base64[sodium_base64_ENCODED_LEN(crypto_auth_hmacsha256_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    ENSURE(is_id(id));
    ENSURE(timestamp_s >= 0);
    (void)snprintf(seconds, sizeof seconds, "%lld", (long long)timestamp_s);
    crypto_auth_hmacsha256_init(&state, secret->key, secret->key_len);
    update(&state, id);
    update(&state, SLICE("."));
    update(&state, slice_cstr(seconds));
    update(&state, SLICE("."));
    update(&state, body);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_bin2base64(base64, sizeof base64, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
    (void)snprintf(headers->id, sizeof headers->id, "webhook-id: %.*s", SLICE_ARGS(id));
    (void)snprintf(headers->timestamp, sizeof headers->timestamp, "webhook-timestamp: %s", seconds);
    (void)snprintf(headers->signature, sizeof headers->signature, "webhook-signature: v1,%s", base64);
    headers->lines[0] = headers->id;
    headers->lines[1] = headers->timestamp;
    headers->lines[2] = headers->signature;
}
