/* SPDX-License-Identifier: Apache-2.0 */
#include "api/receipt.h"

#include <sodium.h>

#include "api/flash_sale_priv.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "core/decimal.h"

enum { MS_PER_S = 1000 };

_Static_assert(RECEIPT_PUBLIC_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "keys are of Ed25519");
_Static_assert(RECEIPT_SECRET_KEY_BYTES == crypto_sign_SECRETKEYBYTES, "keys are of Ed25519");
_Static_assert((int)crypto_auth_hmacsha256_BYTES == (int)crypto_sign_SEEDBYTES, "a MAC is a seed");

void receipt_key_init(struct receipt_key *key, const unsigned char *secret)
{
    static const struct slice use = SLICE_INIT("doorbuster receipts");
    unsigned char seed[crypto_sign_SEEDBYTES];
    crypto_auth_hmacsha256(seed, (const unsigned char *)use.base, use.len, secret);
    crypto_sign_seed_keypair(key->public_key, key->secret_key, seed);
    sodium_memzero(seed, sizeof seed);
}

static void put_spend(struct strbuf *text, const struct transfer_row *transfer)
{
    strbuf_lit(text, ",\"order_id\":\"");
    put_purchase_no(text, transfer->purchase_id, transfer->created_ms);
    strbuf_lit(text, "\",\"product_id\":\"");
    strbuf_put_i64(text, transfer->product_id);
    strbuf_put_char(text, '"');
}

/* Without the closing brace; the members are in order. */
static void put_members(struct strbuf *text, const struct receipt *receipt)
{
    const struct transfer_row *transfer = receipt->transfer;
    bool is_spend = transfer->kind == TRANSFER_SPEND;
    strbuf_lit(text, "{\"action\":\"");
    strbuf_put(text, transfer_kind_name(transfer->kind));
    strbuf_lit(text, "\",\"amount\":");
    decimal_put(text, transfer->amount_minor, DECIMAL_SCALE_CENTS);
    strbuf_lit(text, ",\"id\":\"");
    strbuf_put_i64(text, transfer->id);
    strbuf_lit(text, "\",\"nonce\":");
    strbuf_put_json(text, receipt->nonce);
    if (is_spend)
        put_spend(text, transfer);
    strbuf_lit(text, ",\"public_key\":\"");
    hex_put(text, receipt->public_key, WALLET_KEY_BYTES);
    strbuf_lit(text, "\",\"timestamp\":");
    strbuf_put_i64(text, transfer->created_ms / MS_PER_S);
    if (!is_spend) {
        strbuf_lit(text, ",\"to\":\"");
        hex_put(text, receipt->to, WALLET_KEY_BYTES);
        strbuf_put_char(text, '"');
    }
}

void receipt_put(struct strbuf *text, const struct receipt_key *key, const struct receipt *receipt)
{
    char memory[RECEIPT_TEXT_MAX];
    unsigned char signature[crypto_sign_BYTES];
    struct strbuf is_signed;
    strbuf_init(&is_signed, memory, sizeof memory);
    put_members(&is_signed, receipt);
    strbuf_put(text, strbuf_slice(&is_signed));
    strbuf_put_char(&is_signed, '}');
    ENSURE(!is_signed.has_overflowed);
    crypto_sign_detached(
        signature, NULL, (const unsigned char *)is_signed.base, is_signed.len, key->secret_key);
    strbuf_lit(text, ",\"signature\":\"");
    hex_put(text, signature, sizeof signature);
    strbuf_lit(text, "\"}");
}
