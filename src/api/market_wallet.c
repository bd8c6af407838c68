/* SPDX-License-Identifier: Apache-2.0 */
/* What a wallet holds and what moved its coins, for its owner; and the admin's credits (marketplace
 * contract). */
#include <sodium.h>

#include "api/admin.h"
#include "api/envelope.h"
#include "api/flash_sale_priv.h"
#include "api/market_priv.h"
#include "core/decimal.h"
#include "base/hex.h"
#include "base/utf8.h"

enum {
    MS_PER_S = 1000,
    TRANSACTIONS_DEFAULT = 50,
    TRANSACTION_TEXT_MAX = 6 * NONCE_LEN_MAX + 768, /* bytes of a transaction in a list */
};

/* --- balance --- */

static void reply_balance(struct http_request *request, int64_t balance_minor)
{
    char memory[128];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    put_coins_member(&body, SLICE("balance"), balance_minor);
    strbuf_lit(&body, ",\"currency\":\"MC\"");
    market_reply(request, 200, MARKET_NO_STORE, &body);
}

static void reply_no_wallet(struct http_request *request)
{
    reply_error(request, 404, SLICE("NOT_FOUND"),
        SLICE("This account has no wallet: it was registered with a password. Register with a key."));
}

static void on_wallet_found(struct market_lookup *lookup)
{
    const struct question *question = &lookup->lookup.question;
    if (question->is_found)
        reply_balance(lookup->request, question->wallet.balance_minor);
    else
        reply_no_wallet(lookup->request);
}

void balance_get(struct http_request *request, void *context)
{
    struct market *market = market_of(context);
    int64_t account_id;
    int64_t balance_minor;
    if (!market_check_bearer(market, request, &account_id))
        return;
    if (engine_balance(market->thread->app->engine, account_id, &balance_minor)) {
        reply_balance(request, balance_minor);
        return;
    }
    struct market_lookup *lookup = market_lookup_create(request, market, QUESTION_WALLET, on_wallet_found);
    if (lookup == NULL)
        return;
    lookup->lookup.question.account_id = account_id;
    market_look_up(lookup);
}

/* --- transactions --- */

/* What it was for, and under which name. The payer's own name for it is shown to him alone. */
static void put_reason(struct strbuf *body, const struct transfer_line *line)
{
    const struct transfer_row *row = &line->row;
    if (row->kind == TRANSFER_SPEND) {
        strbuf_lit(body, ",\"product_id\":\"");
        strbuf_put_i64(body, row->product_id);
        strbuf_lit(body, "\",\"order_id\":\"");
        put_purchase_no(body, row->purchase_id, row->created_ms);
        strbuf_put_char(body, '"');
    }
    if (line->has_other) {
        strbuf_put_char(body, ',');
        put_key_member(body, SLICE("public_key"), line->other_key);
    }
    if (row->kind == TRANSFER_CREDIT || line->is_debit) {
        strbuf_put(body, row->kind == TRANSFER_CREDIT ? SLICE(",\"reference\":") : SLICE(",\"nonce\":"));
        strbuf_put_json(body, row->nonce);
    }
}

static void put_line(struct strbuf *body, const struct transfer_line *line)
{
    const struct transfer_row *row = &line->row;
    strbuf_lit(body, "{\"id\":\"");
    strbuf_put_i64(body, row->id);
    strbuf_lit(body, "\",\"type\":\"");
    strbuf_put(body, transfer_kind_name(row->kind));
    strbuf_put(
        body, line->is_debit ? SLICE("\",\"direction\":\"debit\",") : SLICE("\",\"direction\":\"credit\","));
    put_coins_member(body, SLICE("amount"), row->amount_minor);
    strbuf_put_char(body, ',');
    put_coins_member(
        body, SLICE("balance"), line->is_debit ? row->from_balance_minor : row->to_balance_minor);
    strbuf_lit(body, ",\"currency\":\"MC\",\"timestamp\":");
    strbuf_put_i64(body, row->created_ms / MS_PER_S);
    put_reason(body, line);
    strbuf_put_char(body, '}');
}

/* A list that is full may go on. */
static void on_transfers_found(struct market_lookup *lookup)
{
    const struct question *question = &lookup->lookup.question;
    struct strbuf body;
    strbuf_init_heap(&body, 64 + question->count * TRANSACTION_TEXT_MAX);
    strbuf_lit(&body, "{\"success\":true,\"data\":[");
    for (size_t i = 0; i < question->count; i++) {
        if (i > 0)
            strbuf_put_char(&body, ',');
        put_line(&body, &question->transfers[i]);
    }
    strbuf_lit(&body, "],\"next_cursor\":");
    if (question->count == question->limit)
        strbuf_printf(&body, "\"%lld\"}", (long long)question->transfers[question->count - 1].row.id);
    else
        strbuf_lit(&body, "null}");
    reply_json(lookup->request, 200, MARKET_NO_STORE, &body);
    strbuf_fini(&body);
}

void transactions_get(struct http_request *request, void *context)
{
    struct market *market = market_of(context);
    struct page page;
    int64_t account_id;
    if (!market_check_bearer(market, request, &account_id) ||
        !market_page(request, TRANSACTIONS_DEFAULT, &page))
        return;
    struct market_lookup *lookup =
        market_lookup_create(request, market, QUESTION_TRANSFERS, on_transfers_found);
    if (lookup == NULL)
        return;
    lookup->lookup.question.account_id = account_id;
    lookup->lookup.question.id_before = page.cursor == 0 ? INT64_MAX : page.cursor;
    lookup->lookup.question.limit = (size_t)page.limit;
    market_look_up(lookup);
}

/* --- credits --- */

/* A credit on its way. In the request's arena. */
struct credit {
    struct engine_call call;
    struct wallet_request wallet;
    struct market *market;
    struct http_request *request;
};

static void reply_credited(const struct credit *credit)
{
    const struct wallet_request *wallet = &credit->wallet;
    char memory[6 * NONCE_LEN_MAX + 512];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "\"id\":\"");
    strbuf_put_i64(&body, wallet->transfer.id);
    strbuf_lit(&body, "\",");
    put_key_member(&body, SLICE("public_key"), wallet->key);
    strbuf_put_char(&body, ',');
    put_coins_member(&body, SLICE("amount"), wallet->transfer.amount_minor);
    strbuf_lit(&body, ",\"reference\":");
    strbuf_put_json(&body, wallet->nonce);
    strbuf_put_char(&body, ',');
    put_coins_member(&body, SLICE("new_balance"), wallet->balance_minor);
    market_reply(credit->request, 200, MARKET_NO_STORE, &body);
}

static void on_credited(struct engine_call *call)
{
    struct credit *credit = CONTAINER_OF(call, struct credit, call);
    const struct outcome *outcome = &call->command.outcome;
    if (outcome->result == RESULT_OK) {
        market_count(credit->market, outcome->is_replay ? COUNT_INTENT_REPEATED : COUNT_CREDITED);
        reply_credited(credit);
        return;
    }
    market_count_refusal(credit->market, outcome->result);
    if (outcome->result == RESULT_NONCE_REUSED)
        reply_error(credit->request, 409, SLICE("REFERENCE_REUSED"),
            SLICE("This reference was used for another credit. Use a new reference for a new credit."));
    else
        market_reply_result(credit->request, call,
            "It is not known whether this was credited. Send it again with the same reference.");
}

/* What makes it the same credit: to whom, and how much. */
static void make_fingerprint(struct wallet_request *wallet)
{
    char memory[2 * WALLET_KEY_BYTES + 32];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    strbuf_lit(&text, "credit ");
    hex_put(&text, wallet->key, sizeof wallet->key);
    strbuf_put_char(&text, ' ');
    strbuf_put_i64(&text, wallet->amount_minor);
    crypto_generichash(
        wallet->fingerprint, sizeof wallet->fingerprint, (const unsigned char *)text.base, text.len, NULL, 0);
}

static const char *read_credit(const struct json *body, struct arena *arena, struct wallet_request *wallet)
{
    struct slice reference;
    if (!market_hex(body, "public_key", wallet->key, sizeof wallet->key))
        return "public_key must be 64 hexadecimal digits: the wallet's Ed25519 public key.";
    if (!coins_read(json_member(body, "amount"), &wallet->amount_minor))
        return "amount must be an integer or a text like \"12.50\", above 0 and at most 9999999999999.99.";
    if (!json_text(json_member(body, "reference"), &reference) || reference.len == 0 ||
        memchr(reference.base, '\0', reference.len) != NULL ||
        utf8_length(reference) > INTENT_NONCE_CHARS_MAX)
        return "reference must be a text of 1 to 64 characters, another one for each credit.";
    wallet->nonce = arena_copy(arena, reference);
    make_fingerprint(wallet);
    return NULL;
}

void credits_post(struct http_request *request, void *context)
{
    struct market *market = market_of(context);
    if (!check_admin(request, market->thread))
        return;
    struct json *body = market_body(request);
    if (body == NULL)
        return;
    struct credit *credit = arena_alloc(&request->arena, sizeof *credit);
    const char *fault = credit == NULL ? NULL : read_credit(body, &request->arena, &credit->wallet);
    json_free(body);
    if (fault != NULL) {
        market_reply_invalid(request, fault);
        return;
    }
    if (request->arena.has_overflowed) {
        market_reply_no_memory(request);
        return;
    }
    credit->market = market;
    credit->request = request;
    credit->call.command = (struct command){.kind = COMMAND_WALLET_CREDIT, .wallet = &credit->wallet};
    credit->call.deadline_ns = market_deadline_ns(market, request);
    credit->call.on_done = on_credited;
    if (!engine_port_push(market->thread->port, &credit->call))
        on_credited(&credit->call);
}
