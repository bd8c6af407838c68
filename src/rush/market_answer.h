/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the answers of the marketplace (marketplace contract). Pure; any thread. */
#ifndef DOORBUSTER_RUSH_MARKET_ANSWER_H
#define DOORBUSTER_RUSH_MARKET_ANSWER_H

#include "rush/market.h"
#include "rush/scenario.h"

enum market_endpoint {
    MARKET_REGISTER,
    MARKET_CHALLENGE,
    MARKET_VERIFY,
    MARKET_FEATURED,
    MARKET_TRANSACT,
    MARKET_BALANCE,
    MARKET_TRANSACTIONS,
    MARKET_ENDPOINT_END
};

/* Ended by NULL. */
extern const char *const market_endpoints[];

enum market_outcome {
    MARKET_REGISTERED = OUTCOME_COMMON_COUNT,
    MARKET_TAKEN,
    MARKET_CHALLENGED,
    MARKET_VERIFIED,
    MARKET_LISTED,
    MARKET_BALANCE_TOLD,
    MARKET_HISTORY_TOLD,
    MARKET_SPENT,
    MARKET_TRANSFERRED,
    MARKET_TOO_POOR,
    MARKET_SOLD_OUT,
    MARKET_NONCE_REUSED,
    MARKET_UNAVAILABLE,
    MARKET_UNSURE,
    MARKET_NONSENSE,
    MARKET_REFUSED,
    MARKET_OTHER_STATUS,
    MARKET_SERVER_ERROR,
    MARKET_OUTCOME_END
};

extern const struct outcome market_outcomes[];

enum { MARKET_TOKEN_MAX = 512, MARKET_RECEIPT_MAX = 768 };

/* A token, as far as headers can have it. */
struct market_token {
    char text[MARKET_TOKEN_MAX];
    size_t len;
};

/* All fill *judgement, which comes zeroed, and the rest only when it is the answer that was hoped for. */

/* MARKET_REGISTERED: of this key, with a token and a balance. MARKET_TAKEN: 409. */
void market_judge_register(const struct reply *reply, const char *key, struct judgement *judgement,
    struct market_token *token, int64_t *balance_minor);

/* MARKET_CHALLENGED. Its signature is left as it is. */
void market_judge_challenge(
    const struct reply *reply, struct judgement *judgement, struct market_challenge *challenge);

/* MARKET_VERIFIED: of this key, with a token. */
void market_judge_verify(
    const struct reply *reply, const char *key, struct judgement *judgement, struct market_token *token);

/* MARKET_LISTED: a list with the product of this id. */
void market_judge_featured(const struct reply *reply, const char *product, struct judgement *judgement);

/* MARKET_BALANCE_TOLD. */
void market_judge_balance(const struct reply *reply, struct judgement *judgement, int64_t *balance_minor);

/* MARKET_HISTORY_TOLD: a list. */
void market_judge_transactions(const struct reply *reply, struct judgement *judgement);

/* A receipt as it came, kept for later. */
struct market_receipt {
    char text[MARKET_RECEIPT_MAX];
    size_t len; /* 0: none */
};

/*
 * MARKET_SPENT or MARKET_TRANSFERRED: with a receipt of this key for this intent, whose signature is not
 * looked at here. A receipt that does not fit makes it MARKET_NONSENSE.
 */
void market_judge_transact(const struct reply *reply, const char *key, const struct market_intent *intent,
    struct judgement *judgement, struct market_receipt *receipt);

/* Does the receipt, a flat JSON object, say that this key did this? */
bool market_receipt_fits(struct slice receipt, const char *key, const struct market_intent *intent);

/* The text of a member of a receipt, copied; false when it has none, or one that does not fit. */
bool market_receipt_member(const struct market_receipt *receipt, const char *name, char *text, size_t size);

/* An amount of coins as hundredths; false when it is none of at most two decimals. */
bool market_read_amount(double coins, int64_t *minor);

/* The number a list tells of the product with this id; -1: it has none, or it is no list. */
int64_t market_read_stock(int status, struct slice body, const char *product);

#endif
