/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens that were found good lately, so that a client who sends the same one with each request is not
 * reckoned with anew each time: a signature takes as long as all the rest of a request. A token that stands
 * here is good until it expires, which is looked at each time; so it says nothing that the signature would
 * not say.
 *
 * Who guesses learns nothing from the time that a look takes: a text is compared only with one of the same
 * hash under a secret of 128 bits, and nobody without that secret can find two of them. One thread.
 */
#ifndef DOORBUSTER_API_KNOWN_TOKENS_H
#define DOORBUSTER_API_KNOWN_TOKENS_H

#include "api/tokens.h"
#include "base/map.h"

enum { KNOWN_TOKENS_MAX = 1024, KNOWN_TOKEN_LEN_MAX = 224 /* bytes; longer ones are not kept */ };

struct known_token {
    uint64_t hash;
    size_t len; /* 0: free */
    int64_t account_id;
    int64_t expires_s;
    char text[KNOWN_TOKEN_LEN_MAX];
};

/* Each has two places where it may stand; when both are taken it gets one of them. */
struct known_tokens {
    struct map_key hash_key;
    struct known_token tokens[KNOWN_TOKENS_MAX];
};

/* Draws a secret for its hashes. */
void known_tokens_init(struct known_tokens *known);

/* As tokens_check for an access token; *account_id is written when it is OK. */
enum token_status known_tokens_check(struct known_tokens *known, const struct token_key *key,
    struct slice text, int64_t now_ms, int64_t *account_id);

#endif
