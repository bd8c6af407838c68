/* SPDX-License-Identifier: Apache-2.0 */
#include "api/known_tokens.h"

#include <sodium.h>

enum { MS_PER_S = 1000 };

void known_tokens_init(struct known_tokens *known)
{
    memset(known, 0, sizeof *known);
    randombytes_buf(known->hash_key.bytes, sizeof known->hash_key.bytes);
}

static bool is_known(const struct known_token *token, uint64_t hash, struct slice text)
{
    return token->hash == hash && token->len == text.len &&
           sodium_memcmp(token->text, text.base, text.len) == 0;
}

static void keep(
    struct known_token *token, uint64_t hash, struct slice text, const struct token_claims *claims)
{
    token->hash = hash;
    token->len = text.len;
    token->account_id = claims->account_id;
    token->expires_s = claims->expires_s;
    memcpy(token->text, text.base, text.len);
}

enum token_status known_tokens_check(struct known_tokens *known, const struct token_key *key,
    struct slice text, int64_t now_ms, int64_t *account_id)
{
    struct token_claims claims;
    struct known_token *place = NULL;
    uint64_t hash = 0;
    if (text.len > 0 && text.len <= KNOWN_TOKEN_LEN_MAX) {
        hash = map_hash(&known->hash_key, text);
        place = &known->tokens[hash % KNOWN_TOKENS_MAX];
        if (is_known(place, hash, text)) {
            *account_id = place->account_id;
            return now_ms / MS_PER_S < place->expires_s ? TOKEN_OK : TOKEN_EXPIRED;
        }
    }
    enum token_status status = tokens_check(key, text, TOKEN_ACCESS, now_ms, &claims);
    if (status == TOKEN_OK) {
        *account_id = claims.account_id;
        if (place != NULL)
            keep(place, hash, text, &claims);
    }
    return status;
}
