/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user of the marketplace as the generator has it (marketplace contract): an Ed25519 key pair of its own,
 * with which it signs challenges and intents, and the texts of its requests. What is signed of an intent is
 * its RFC 8785 form; it is written in that form at once. And receipts: whether the server's key has signed
 * one.
 *
 * Amounts are hundredths of a coin. Any thread; nothing here is shared.
 */
#ifndef DOORBUSTER_RUSH_MARKET_H
#define DOORBUSTER_RUSH_MARKET_H

#include "base/err.h"
#include "base/strbuf.h"

enum {
    MARKET_KEY_BYTES = 32,
    MARKET_SECRET_BYTES = 64,
    MARKET_SIGNATURE_BYTES = 64,
    MARKET_KEY_HEX = 2 * MARKET_KEY_BYTES,
    MARKET_SIGNATURE_HEX = 2 * MARKET_SIGNATURE_BYTES,
    MARKET_NONCE_SIZE = 65, /* with NUL */
    MARKET_TEXT_MAX = 64,   /* of a challenge, and of its MAC */
    MARKET_INTENT_MAX = 384
};

struct market_key {
    unsigned char secret[MARKET_SECRET_BYTES];
    char hex[MARKET_KEY_HEX + 1]; /* the public key, lower case */
};

/* A new key pair. */
void market_key_make(struct market_key *key);

/* A key pair that is always the same for a seed, for tests. */
void market_key_make_seed(struct market_key *key, const unsigned char seed[MARKET_KEY_BYTES]);

void market_sign(
    const struct market_key *key, struct slice text, unsigned char signature[MARKET_SIGNATURE_BYTES]);

/* What a user wants done with its coins. */
struct market_intent {
    bool is_transfer;
    int64_t amount_minor;
    const char *target; /* spend: the product's id; transfer: the public key of who gets it */
    int64_t timestamp_s;
    const char *nonce; /* ASCII without quotation marks and backslashes */
};

/* The bytes that are signed, at most MARKET_INTENT_MAX. */
void market_put_intent(struct strbuf *out, const struct market_intent *intent);

void market_sign_intent(const struct market_key *key, const struct market_intent *intent,
    unsigned char signature[MARKET_SIGNATURE_BYTES]);

/* Bodies of requests. */
void market_put_transact(struct strbuf *out, const struct market_key *key, const struct market_intent *intent,
    const unsigned char signature[MARKET_SIGNATURE_BYTES]);
void market_put_registration(
    struct strbuf *out, const struct market_key *key, const char *email, const char *name);

/* What the server handed out to be signed. */
struct market_challenge {
    char text[MARKET_TEXT_MAX];
    size_t text_len;
    char mac[MARKET_TEXT_MAX];
    size_t mac_len;
    int64_t timestamp_s;
    unsigned char signature[MARKET_SIGNATURE_BYTES];
};

void market_put_verification(
    struct strbuf *out, const struct market_key *key, const struct market_challenge *challenge);

/* An amount as replies have it: 7, 12.5, 0.01. */
void market_put_amount(struct strbuf *out, int64_t minor);

/* Does `receipt`, a flat JSON object, carry a signature by this key of its RFC 8785 form without it? */
MUST_CHECK bool market_receipt_is_signed(
    struct slice receipt, const unsigned char public_key[MARKET_KEY_BYTES]);

#endif
