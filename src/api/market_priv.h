/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the marketplace face share: market.c (routes, life, answers, figures), market_auth.c
 * (accounts by key), market_wallet.c (balance, history, credits), market_transact.c (signed intents),
 * market_products.c (lists). Beside them, on their own: challenge.h, intent.h, receipt.h.
 */
#ifndef DOORBUSTER_API_MARKET_PRIV_H
#define DOORBUSTER_API_MARKET_PRIV_H

#include "api/challenge.h"
#include "api/intake_priv.h"
#include "api/intent.h"
#include "api/market.h"
#include "api/receipt.h"

/* What is counted; the names in metrics are in market.c. */
enum market_count {
    COUNT_WALLET_OPENED,
    COUNT_VERIFIED, /* logins by key */
    COUNT_VERIFY_REFUSED,
    COUNT_SPENT,
    COUNT_TRANSFERRED,
    COUNT_CREDITED,
    COUNT_INTENT_REPEATED, /* answered again */
    COUNT_INTENT_REFUSED,  /* by the rules: no funds, sold out, ... */
    COUNT_SIGNATURE_REFUSED,
    MARKET_COUNT_COUNT
};

struct market {
    struct net_thread *thread;
    struct challenge_key challenge_key;
    struct receipt_key receipt_key;
    struct strbuf featured;              /* the whole answer */
    const struct sale_list *featured_of; /* of these pictures, when they had this version */
    uint64_t featured_version;
    bool has_featured;
    atomic_uint_fast64_t counts[MARKET_COUNT_COUNT]; /* this thread writes */
};

static inline struct market *market_of(void *context)
{
    return ((struct net_thread *)context)->market;
}

void market_count(struct market *market, enum market_count count);

/* An intent or a credit that the rules have refused; what could not be decided is none. */
void market_count_refusal(struct market *market, enum result result);

int64_t market_now_ms(const struct market *market);

/* When a command that came with this request has to be answered. */
int64_t market_deadline_ns(const struct market *market, const struct http_request *request);

/* --- answers --- */

enum { MARKET_BODY_MAX = 8192 };

extern const struct slice MARKET_NO_STORE; /* the header line that keeps an answer out of caches */

/* {"success":true,"data":{MEMBERS},MEMBERS}; 500 when the members have overflowed. */
void market_reply(struct http_request *request, int status, struct slice extra, const struct strbuf *members);

/* 400 VALIDATION_ERROR. */
void market_reply_invalid(struct http_request *request, const char *sentence);

/* 401 UNAUTHORIZED, INVALID_SIGNATURE, ... */
void market_reply_unauthorized(struct http_request *request, const char *code, const char *sentence);

/* 503 SERVICE_UNAVAILABLE with Retry-After: whole seconds, at least one. */
void market_reply_later(struct http_request *request, const char *sentence, int64_t retry_after_s);
void market_reply_no_memory(struct http_request *request);

/* What the line has refused, with its own status, code and text; OUTCOME_UNKNOWN says `advice`. */
void market_reply_result(struct http_request *request, const struct engine_call *call, const char *advice);

/* Answers for a question to the store that failed. */
void market_reply_not_looked_up(struct http_request *request, enum err status);

void market_reply_method(struct http_request *request, struct slice allow);

/* "balance":99.5 */
void put_coins_member(struct strbuf *body, struct slice name, int64_t amount_minor);

/* "public_key":"..." */
void put_key_member(struct strbuf *body, struct slice name, const unsigned char key[WALLET_KEY_BYTES]);

/* --- requests --- */

/* The body as a JSON object; json_free ends it. NULL: the request has been answered. */
struct json *market_body(struct http_request *request);

/* A member that has to be 2 * size hexadecimal digits. */
MUST_CHECK bool market_hex(const struct json *body, const char *name, unsigned char *bytes, size_t size);

/* Whose access token the request bears. False: none that is good, and the request has been answered. */
MUST_CHECK bool market_check_bearer(struct market *market, struct http_request *request, int64_t *account_id);

/* What a list is asked for; `cursor` as the last page has told it. */
struct page {
    int64_t limit;
    int64_t cursor; /* 0: the first page */
};

/* False: the query is none, and the request has been answered. */
MUST_CHECK bool market_page(struct http_request *request, int64_t limit, struct page *page);

/* --- a way to the store and back --- */

/* In the request's arena. */
struct market_lookup {
    struct engine_lookup lookup;
    struct market *market;
    struct http_request *request;
    unsigned char key[WALLET_KEY_BYTES];
    void (*on_answer)(struct market_lookup *lookup); /* answers the request; the question is ended after it */
    void *context;
};

/* NULL: there is no room for it, and the request has been answered. */
struct market_lookup *market_lookup_create(struct http_request *request, struct market *market,
    enum question_kind kind, void (*on_answer)(struct market_lookup *lookup));

/* Asks; unless there is an answer, the request is answered with 503 or 500. */
void market_look_up(struct market_lookup *lookup);

/* --- market_auth.c --- */

http_handler challenge_get;
http_handler verify_post;
http_handler keys_get;

/* --- market_wallet.c --- */

http_handler balance_get;
http_handler transactions_get;
http_handler credits_post;

/* --- market_transact.c --- */

http_handler transact_post;

/* --- market_products.c --- */

http_handler featured_get;
http_handler catalogue_get;

#endif
