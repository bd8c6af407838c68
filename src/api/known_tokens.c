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
    return token->hash == hash && slice_eq(slice_make(token->text, token->len), text);
}

static struct known_token *first_place(struct known_tokens *known, uint64_t hash)
{
    return &known->tokens[hash % KNOWN_TOKENS_MAX];
}

static struct known_token *second_place(struct known_tokens *known, uint64_t hash)
{
    return &known->tokens[(hash >> 32) % KNOWN_TOKENS_MAX];
}

static const struct known_token *find(struct known_tokens *known, uint64_t hash, struct slice text)
{
    const struct known_token *first = first_place(known, hash);
    const struct known_token *second = second_place(known, hash);
    return is_known(first, hash, text) ? first : is_known(second, hash, text) ? second : NULL;
}

/* What is free or has expired goes first; else the hash decides by a bit that chose neither. */
static struct known_token *choose_place(struct known_tokens *known, uint64_t hash, int64_t now_s)
{
    struct known_token *first = first_place(known, hash);
    struct known_token *second = second_place(known, hash);
    if (first->len == 0 || first->expires_s <= now_s)
        return first;
    if (second->len == 0 || second->expires_s <= now_s)
        return second;
    return hash >> 63 != 0 ? first : second;
}

static void keep(struct known_tokens *known, uint64_t hash, struct slice text,
    const struct token_claims *claims, int64_t now_s)
{
    struct known_token *token = choose_place(known, hash, now_s);
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
    uint64_t hash = 0;
    bool can_be_kept = text.len > 0 && text.len <= KNOWN_TOKEN_LEN_MAX;
    if (can_be_kept) {
        hash = map_hash(&known->hash_key, text);
        const struct known_token *token = find(known, hash, text);
        if (token != NULL) {
            *account_id = token->account_id;
            return now_ms / MS_PER_S < token->expires_s ? TOKEN_OK : TOKEN_EXPIRED;
        }
    }
    enum token_status status = tokens_check(key, text, TOKEN_ACCESS, now_ms, &claims);
    if (status == TOKEN_OK) {
        *account_id = claims.account_id;
        if (can_be_kept)
            keep(known, hash, text, &claims, now_ms / MS_PER_S);
    }
    return status;
}
