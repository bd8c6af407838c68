/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /api/wallet/transact: signed intents (marketplace contract). The contract's order of checks: shape,
 * unknown key, signature, time, and then what the line decides. A signature that fits is looked at first and
 * the key left to the line, which knows it; only when the signature or the time is wrong the store is asked
 * whether there is such a key at all, since that is the earlier fault.
 *
 * An intent names its product by id or by sku. A shared store's product may be newer than this node's
 * pictures: then the store is asked for it, once.
 */
#include <sodium.h>

#include "api/envelope.h"
#include "api/flash_sale_priv.h"
#include "api/market_priv.h"
#include "base/clock.h"

enum {
    MS_PER_S = 1000,
    INTENT_AGE_MAX_S = 300, /* and as much ahead */
};

/* An intent on its way. In the request's arena. */
struct transact {
    struct engine_call call;
    struct wallet_request wallet;
    struct market *market;
    struct http_request *request;
    char user[WALLET_USER_LEN_MAX];
    char nonce[NONCE_LEN_MAX];
    char product[SKU_LEN_MAX];
};

/* What the body says. Its texts are the body's. */
struct signed_intent {
    struct intent intent;
    unsigned char key[WALLET_KEY_BYTES];
    unsigned char signature[crypto_sign_BYTES];
};

/* --- the answer --- */

static void reply_receipt(const struct transact *transact)
{
    const struct wallet_request *wallet = &transact->wallet;
    bool is_spend = wallet->transfer.kind == TRANSFER_SPEND;
    const struct receipt receipt = {
        .transfer = &wallet->transfer,
        .public_key = wallet->key,
        .to = wallet->to,
        .nonce = wallet->nonce,
    };
    char memory[MARKET_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "\"receipt\":");
    receipt_put(&body, &transact->market->receipt_key, &receipt);
    strbuf_put_char(&body, ',');
    put_coins_member(&body, SLICE("new_balance"), wallet->balance_minor);
    strbuf_put(&body, is_spend ? SLICE(",\"order_id\":\"") : SLICE(",\"order_id\":null"));
    if (is_spend) {
        put_purchase_no(&body, wallet->transfer.purchase_id, wallet->transfer.created_ms);
        strbuf_put_char(&body, '"');
    }
    market_reply(transact->request, 200, MARKET_NO_STORE, &body);
}

/* What was done. */
static enum market_count count_of(const struct outcome *outcome, enum command_kind kind)
{
    return outcome->is_replay             ? COUNT_INTENT_REPEATED
           : kind == COMMAND_WALLET_SPEND ? COUNT_SPENT
                                          : COUNT_TRANSFERRED;
}

static void on_decided(struct engine_call *call)
{
    struct transact *transact = CONTAINER_OF(call, struct transact, call);
    if (call->command.outcome.result == RESULT_OK) {
        market_count(transact->market, count_of(&call->command.outcome, call->command.kind));
        reply_receipt(transact);
        return;
    }
    market_count_refusal(transact->market, call->command.outcome.result);
    market_reply_result(transact->request, call,
        "It is not known whether this was done. Send the same intent again within 5 minutes of its "
        "timestamp: it is not done twice. After that GET /api/wallet/transactions tells, by its nonce.");
}

static void push(struct transact *transact)
{
    if (!engine_port_push(transact->market->thread->port, &transact->call))
        on_decided(&transact->call);
}

/* --- the product --- */

static void on_product_found(struct market_lookup *lookup)
{
    struct transact *transact = lookup->context;
    const struct question *question = &lookup->lookup.question;
    if (question->is_found) {
        transact->call.command.product_id = question->product.id;
        transact->call.command.sku = arena_copy(&transact->request->arena, question->product.sku);
    }
    if (transact->request->arena.has_overflowed)
        market_reply_no_memory(transact->request);
    else
        push(transact);
}

static void ask_for_product(struct transact *transact, int64_t id)
{
    struct market_lookup *lookup =
        market_lookup_create(transact->request, transact->market, QUESTION_PRODUCT, on_product_found);
    if (lookup == NULL)
        return;
    lookup->context = transact;
    lookup->lookup.question.id = id;
    market_look_up(lookup);
}

/* An id first; what is none of a product may be a sku of digits. What is neither is not asked of a store. */
static void push_spend(struct transact *transact)
{
    struct engine_port *port = transact->market->thread->port;
    struct command *command = &transact->call.command;
    int64_t id;
    if (!is_sku(command->sku))
        command->sku = slice_make("", 0);
    bool is_number =
        slice_to_i64(command->sku, &id) && id >= 1 && command->sku.base[0] != '0'; /* one text an id */
    const struct sale_view *sale = is_number ? engine_port_view_by_id(port, id) : NULL;
    if (sale != NULL) {
        command->product_id = id;
        memcpy(transact->product, sale->sku.base, sale->sku.len);
        command->sku = slice_make(transact->product, sale->sku.len);
    } else if (is_number && transact->market->thread->app->store->is_shared &&
               engine_port_view(port, command->sku) == NULL) {
        ask_for_product(transact, id);
        return;
    }
    push(transact);
}

/* --- the command --- */

static void decide(struct http_request *request, struct market *market, const struct signed_intent *is_signed,
    const unsigned char fingerprint[FINGERPRINT_BYTES])
{
    const struct intent *intent = &is_signed->intent;
    struct transact *transact = arena_alloc(&request->arena, sizeof *transact);
    if (transact == NULL) {
        market_reply_no_memory(request);
        return;
    }
    struct wallet_request *wallet = &transact->wallet;
    bool is_spend = intent->action == INTENT_SPEND;
    transact->market = market;
    transact->request = request;
    memcpy(wallet->key, is_signed->key, sizeof wallet->key);
    memcpy(wallet->to, intent->to, sizeof wallet->to);
    memcpy(wallet->fingerprint, fingerprint, sizeof wallet->fingerprint);
    wallet->amount_minor = intent->amount_minor;
    wallet->nonce = slice_copy(transact->nonce, intent->nonce);
    transact->call = (struct engine_call){
        .command = {.kind = is_spend ? COMMAND_WALLET_SPEND : COMMAND_WALLET_TRANSFER, .wallet = wallet},
        .deadline_ns = market_deadline_ns(market, request),
        .on_done = on_decided,
    };
    if (!is_spend) {
        push(transact);
        return;
    }
    transact->call.command.user = wallet_user(wallet->key, transact->user);
    transact->call.command.sku = slice_copy(transact->product, intent->product);
    push_spend(transact);
}

/* --- what is not for the line --- */

/* An unknown key is the earlier fault. */
static void reply_refusal(struct market_lookup *lookup, const char *code, const char *sentence)
{
    if (lookup->lookup.question.is_found)
        market_reply_unauthorized(lookup->request, code, sentence);
    else
        reply_error(
            lookup->request, 404, SLICE("NOT_FOUND"), slice_cstr(result_info(RESULT_WALLET_NOT_FOUND)->text));
}

static void on_payer_of_bad_signature(struct market_lookup *lookup)
{
    reply_refusal(lookup, "INVALID_SIGNATURE",
        "The signature does not fit the intent and the key. Sign the intent as RFC 8785 writes it: members "
        "sorted, no blanks.");
}

static void on_payer_out_of_time(struct market_lookup *lookup)
{
    reply_refusal(lookup, "TIMESTAMP_OUT_OF_RANGE",
        "intent.timestamp is more than 5 minutes from the server's time. If this intent was sent before, GET "
        "/api/wallet/transactions tells by its nonce whether it was done. Else sign a new one with the right "
        "time.");
}

static void refuse(struct http_request *request, struct market *market, const unsigned char *key,
    void (*on_payer)(struct market_lookup *lookup))
{
    market_count(market, COUNT_SIGNATURE_REFUSED);
    struct market_lookup *lookup = market_lookup_create(request, market, QUESTION_WALLET, on_payer);
    if (lookup == NULL)
        return;
    memcpy(lookup->key, key, sizeof lookup->key);
    lookup->lookup.question.key = lookup->key;
    market_look_up(lookup);
}

static bool is_in_time(const struct market *market, int64_t timestamp_s)
{
    int64_t now_s = market_now_ms(market) / MS_PER_S;
    return timestamp_s >= now_s - INTENT_AGE_MAX_S && timestamp_s <= now_s + INTENT_AGE_MAX_S;
}

/* Its signature, its time, and on to the line. A thread that has so many to check that this one comes too
 * late for the line does not check it first. */
static void check(struct http_request *request, struct market *market, const struct signed_intent *is_signed)
{
    char memory[INTENT_TEXT_MAX];
    unsigned char fingerprint[FINGERPRINT_BYTES];
    struct strbuf text;
    if (clock_mono_ns() > market_deadline_ns(market, request)) {
        market_reply_later(request,
            "So many signatures wait to be checked that this one came too late. Nothing was "
            "changed. Send it again.",
            1);
        return;
    }
    strbuf_init(&text, memory, sizeof memory);
    intent_put(&text, &is_signed->intent);
    const unsigned char *bytes = (const unsigned char *)text.base;
    if (text.has_overflowed ||
        crypto_sign_verify_detached(is_signed->signature, bytes, text.len, is_signed->key) != 0) {
        refuse(request, market, is_signed->key, on_payer_of_bad_signature);
        return;
    }
    if (!is_in_time(market, is_signed->intent.timestamp_s)) {
        refuse(request, market, is_signed->key, on_payer_out_of_time);
        return;
    }
    crypto_generichash(fingerprint, sizeof fingerprint, bytes, text.len, NULL, 0);
    decide(request, market, is_signed, fingerprint);
}

/* --- the shape --- */

/* NULL: all is well; else what is wrong. */
static const char *read_signed_intent(const struct json *body, struct signed_intent *is_signed)
{
    const struct intent *intent = &is_signed->intent;
    const char *fault = intent_read(json_member(body, "intent"), &is_signed->intent);
    if (fault != NULL)
        return fault;
    if (!market_hex(body, "public_key", is_signed->key, sizeof is_signed->key))
        return "public_key must be 64 hexadecimal digits: the payer's Ed25519 public key.";
    if (!market_hex(body, "signature", is_signed->signature, sizeof is_signed->signature))
        return "signature must be 128 hexadecimal digits: Ed25519 over the intent.";
    if (intent->action == INTENT_TRANSFER && memcmp(intent->to, is_signed->key, sizeof is_signed->key) == 0)
        return "intent.to must be the key of another wallet than the payer's.";
    return NULL;
}

void transact_post(struct http_request *request, void *context)
{
    struct market *market = market_of(context);
    struct signed_intent is_signed = {0};
    struct json *body = market_body(request);
    if (body == NULL)
        return;
    const char *fault = read_signed_intent(body, &is_signed);
    if (fault == NULL)
        check(request, market, &is_signed);
    else
        market_reply_invalid(request, fault);
    json_free(body);
}
