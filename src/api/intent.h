/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intents: what the owner of a wallet has signed (marketplace contract). An intent comes as a JSON object in
 * whatever order and with whatever blanks; what was signed is its form by RFC 8785: members sorted, no
 * blanks. All its members are texts and integers, so that form is made anew from what was read, and a
 * signature that fits says that the payer meant just this. Any thread; nothing here allocates or blocks.
 */
#ifndef DOORBUSTER_API_INTENT_H
#define DOORBUSTER_API_INTENT_H

#include "base/err.h"
#include "base/strbuf.h"
#include "core/wallet.h"
#include "net/json.h"

enum {
    INTENT_NONCE_CHARS_MAX = 64,
    /* Bytes of its RFC 8785 form: each byte of the nonce may become six, the rest is bounded. */
    INTENT_TEXT_MAX = 6 * NONCE_LEN_MAX + 512,
};

enum intent_action { INTENT_SPEND, INTENT_TRANSFER };

/* Its texts are those of the JSON value that it was read from. */
struct intent {
    enum intent_action action;
    int64_t amount_minor; /* 1 to WALLET_AMOUNT_MAX */
    bool is_amount_text;  /* it was sent as a text, which is signed as it stands */
    struct slice amount_text;
    struct slice product;               /* SPEND: an id or a sku, at most SKU_LEN_MAX bytes */
    struct slice to_text;               /* TRANSFER: as it was sent */
    unsigned char to[WALLET_KEY_BYTES]; /* TRANSFER */
    int64_t timestamp_s;                /* since 1970 */
    struct slice nonce;                 /* 1 to INTENT_NONCE_CHARS_MAX characters */
};

/* NULL: it is one; else a sentence that says what was expected. */
MUST_CHECK const char *intent_read(const struct json *json, struct intent *intent);

/* Appends the bytes that are signed, at most INTENT_TEXT_MAX. */
void intent_put(struct strbuf *text, const struct intent *intent);

/* An amount as intents have it: an integer, or a text of digits with at most two behind a point, from 0.01
 * to WALLET_AMOUNT_MAX hundredths. */
MUST_CHECK bool coins_read(const struct json *json, int64_t *amount_minor);

#endif
