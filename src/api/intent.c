/* SPDX-License-Identifier: Apache-2.0 */
#include "api/intent.h"

#include "base/hex.h"
#include "base/utf8.h"
#include "core/decimal.h"

enum { MINOR_PER_COIN = 100 };

/* --- amounts --- */

/* A number without sign or exponent: one way only to write an amount, but for zeros at its end. */
static bool is_plain_decimal(struct slice text)
{
    size_t points = 0;
    for (size_t i = 0; i < text.len; i++) {
        points += text.base[i] == '.';
        if (text.base[i] != '.' && (text.base[i] < '0' || text.base[i] > '9'))
            return false;
    }
    size_t point = 0;
    while (point < text.len && text.base[point] != '.')
        point++;
    return points <= 1 && text.len - point <= 1 + DECIMAL_SCALE_CENTS;
}

bool coins_read(const struct json *json, int64_t *amount_minor)
{
    struct slice text;
    int64_t coins;
    if (json_text(json, &text)) {
        if (!is_plain_decimal(text) ||
            decimal_parse(text, DECIMAL_SCALE_CENTS, amount_minor) != DECIMAL_OK) /* as JSON has numbers */
            return false;
    } else if (!json_plain_int64(json, &coins) ||
               __builtin_mul_overflow(coins, MINOR_PER_COIN, amount_minor)) {
        return false;
    }
    return *amount_minor > 0 && *amount_minor <= WALLET_AMOUNT_MAX;
}

/* --- reading --- */

static bool read_action(const struct json *json, struct intent *intent)
{
    struct slice action;
    if (!json_text(json_member(json, "action"), &action))
        return false;
    intent->action = slice_eq(action, SLICE("spend")) ? INTENT_SPEND : INTENT_TRANSFER;
    return intent->action == INTENT_SPEND || slice_eq(action, SLICE("transfer"));
}

static bool read_amount(const struct json *json, struct intent *intent)
{
    const struct json *amount = json_member(json, "amount");
    intent->is_amount_text = json_text(amount, &intent->amount_text);
    return coins_read(amount, &intent->amount_minor);
}

static bool read_target(const struct json *json, struct intent *intent)
{
    if (intent->action == INTENT_SPEND)
        return json_text(json_member(json, "product_id"), &intent->product) && intent->product.len > 0 &&
               intent->product.len <= SKU_LEN_MAX;
    return json_text(json_member(json, "to"), &intent->to_text) &&
           hex_read(intent->to_text, intent->to, sizeof intent->to);
}

static bool read_nonce(const struct json *json, struct intent *intent)
{
    if (!json_text(json_member(json, "nonce"), &intent->nonce) || intent->nonce.len == 0 ||
        intent->nonce.len > NONCE_LEN_MAX)
        return false;
    bool has_nul = memchr(intent->nonce.base, '\0', intent->nonce.len) != NULL;
    return !has_nul && utf8_length(intent->nonce) <= INTENT_NONCE_CHARS_MAX;
}

/* Each of the five is there, so a sixth is one that nobody signed for this contract. */
const char *intent_read(const struct json *json, struct intent *intent)
{
    enum { MEMBER_COUNT = 5 };
    if (json_kind(json) != JSON_KIND_OBJECT)
        return "intent must be a JSON object with the members action, amount, product_id or to, "
               "timestamp and nonce.";
    if (!read_action(json, intent))
        return "intent.action must be \"spend\" or \"transfer\".";
    if (!read_amount(json, intent))
        return "intent.amount must be an integer or a text like \"12.50\", above 0 and at most "
               "9999999999999.99.";
    if (!read_target(json, intent))
        return intent->action == INTENT_SPEND
                   ? "intent.product_id must be a text: the product's id or its sku."
                   : "intent.to must be a public key of 64 hexadecimal digits.";
    if (!json_plain_int64(json_member(json, "timestamp"), &intent->timestamp_s))
        return "intent.timestamp must be an integer: seconds since 1970.";
    if (!read_nonce(json, intent))
        return "intent.nonce must be a text of 1 to 64 characters, without U+0000.";
    if (json_member_count(json) != MEMBER_COUNT)
        return "intent must have no members but action, amount, product_id (spend) or to "
               "(transfer), timestamp and nonce.";
    return NULL;
}

/* --- writing --- */

static void put_amount(struct strbuf *text, const struct intent *intent)
{
    if (intent->is_amount_text)
        strbuf_put_json(text, intent->amount_text);
    else
        strbuf_put_i64(text, intent->amount_minor / MINOR_PER_COIN);
}

void intent_put(struct strbuf *text, const struct intent *intent)
{
    bool is_spend = intent->action == INTENT_SPEND;
    strbuf_put(text, is_spend ? SLICE("{\"action\":\"spend\",\"amount\":")
                              : SLICE("{\"action\":\"transfer\",\"amount\":"));
    put_amount(text, intent);
    strbuf_lit(text, ",\"nonce\":");
    strbuf_put_json(text, intent->nonce);
    if (is_spend) {
        strbuf_lit(text, ",\"product_id\":");
        strbuf_put_json(text, intent->product);
    }
    strbuf_lit(text, ",\"timestamp\":");
    strbuf_put_i64(text, intent->timestamp_s);
    if (!is_spend) {
        strbuf_lit(text, ",\"to\":");
        strbuf_put_json(text, intent->to_text);
    }
    strbuf_put_char(text, '}');
}
