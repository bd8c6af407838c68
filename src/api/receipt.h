/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipts: a transfer as its payer takes it home, signed with the server's own key, so that he can prove
 * what he has bought (marketplace contract). The key follows from the store's secret, and the signature
 * (Ed25519, RFC 8032) from the key and the text: the receipt of a transfer is the same whenever and at
 * whichever server it is asked for. Any thread; nothing allocates or blocks.
 *
 *     {"action":"spend","amount":12.5,"id":"9","nonce":"n-1","order_id":"PUR-20261121-0001",
 *      "product_id":"17","public_key":"<payer>","timestamp":1700000000,"signature":"..."}
 *     {"action":"transfer","amount":12.5,"id":"9","nonce":"n-1","public_key":"<payer>",
 *      "timestamp":1700000000,"to":"<payee>","signature":"..."}
 *
 * Signed is the form by RFC 8785 of the object without its signature, which is what stands before it here.
 */
#ifndef DOORBUSTER_API_RECEIPT_H
#define DOORBUSTER_API_RECEIPT_H

#include "base/strbuf.h"
#include "core/wallet.h"

enum {
    RECEIPT_PUBLIC_KEY_BYTES = 32,
    RECEIPT_SECRET_KEY_BYTES = 64,
    RECEIPT_TEXT_MAX = 6 * NONCE_LEN_MAX + 768, /* bytes of any receipt */
};

struct receipt_key {
    unsigned char public_key[RECEIPT_PUBLIC_KEY_BYTES];
    unsigned char secret_key[RECEIPT_SECRET_KEY_BYTES];
};

/* From the store's secret of STORE_SECRET_BYTES. */
void receipt_key_init(struct receipt_key *key, const unsigned char *secret);

/* What a receipt tells: the transfer, the wallets by their keys, and the payer's own name for it. */
struct receipt {
    const struct transfer_row *transfer; /* SPEND or TRANSFER */
    const unsigned char *public_key;     /* the payer's */
    const unsigned char *to;             /* TRANSFER: the payee's */
    struct slice nonce;
};

/* Appends it. */
void receipt_put(struct strbuf *text, const struct receipt_key *key, const struct receipt *receipt);

#endif
