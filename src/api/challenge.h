/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Challenges, stateless: who wants to log in with a key is given a random text, and a MAC over it, the key
 * and the time, with which he brings it back signed (marketplace contract). Nothing is kept, so any server of
 * the store can check what another one has handed out. Any thread; nothing allocates or blocks.
 */
#ifndef DOORBUSTER_API_CHALLENGE_H
#define DOORBUSTER_API_CHALLENGE_H

#include "base/err.h"
#include "base/slice.h"
#include "core/world_wallet.h"

enum {
    CHALLENGE_BYTES = 32,
    CHALLENGE_LEN = 2 * CHALLENGE_BYTES, /* hexadecimal digits, lower case */
    CHALLENGE_MAC_BYTES = 32,
    CHALLENGE_KEY_BYTES = 32,
    CHALLENGE_LIFETIME_S = 300,
};

struct challenge_key {
    unsigned char bytes[CHALLENGE_KEY_BYTES];
};

/* A key of its own for this use, from the store's secret of as many bytes. */
void challenge_key_init(struct challenge_key *key, const unsigned char *secret);

/* A new random text, no NUL. */
void challenge_make(char text[CHALLENGE_LEN]);

/* HMAC-SHA256(key, text | public key in lower-case hexadecimal | timestamp in decimal). `text` has any length
 * that the caller likes; those that are checked have CHALLENGE_LEN, so no two triples are one. */
void challenge_mac(const struct challenge_key *key, struct slice text,
    const unsigned char public_key[WALLET_KEY_BYTES], int64_t timestamp_s,
    unsigned char mac[CHALLENGE_MAC_BYTES]);

enum challenge_status {
    CHALLENGE_OK,
    CHALLENGE_BAD_MAC, /* we did not hand this out, for this key, at this time */
    CHALLENGE_EXPIRED, /* CHALLENGE_LIFETIME_S ago or more */
};

/* In this order. The time it takes does not depend on how much of the MAC is right. */
enum challenge_status challenge_check(const struct challenge_key *key, struct slice text,
    const unsigned char public_key[WALLET_KEY_BYTES], int64_t timestamp_s,
    const unsigned char mac[CHALLENGE_MAC_BYTES], int64_t now_s);

/* Is it a signature with this key over the text's bytes, or over the bytes that its digits spell? Keys of
 * small order sign nothing. */
MUST_CHECK bool challenge_is_signed(
    struct slice text, const unsigned char public_key[WALLET_KEY_BYTES], const unsigned char *signature);

#endif
