/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tens of thousands of answers a second are read, so the usual spelling (no blanks, no escapes) is recognised
 * byte by byte; every other one is read by the JSON parser, with the same result.
 */
#include "rush/market_answer.h"

#include <math.h>
#include <stdio.h>

#include "net/json.h"

static const double MINOR_PER_COIN = 100;
static const double COINS_MAX = 9999999999999.99;

const char *const market_endpoints[] = {
    "register", "challenge", "verify", "featured", "transact", "balance", "transactions", NULL};

const struct outcome market_outcomes[] = {
    {"registered", "201: a wallet with a token"},
    {"taken", "409: the key or the address has a wallet"},
    {"challenged", "200: a text to sign"},
    {"verified", "200: the signature was right, with a token"},
    {"listed", "200: a list with the product"},
    {"balance_told", "200: what is in the wallet"},
    {"history_told", "200: a list of transfers"},
    {"spent", "200: bought, with a receipt"},
    {"transferred", "200: handed on, with a receipt"},
    {"too_poor", "402: not so much in the wallet"},
    {"sold_out", "409 SOLD_OUT"},
    {"nonce_reused", "409 NONCE_REUSED: another intent has this nonce"},
    {"unavailable", "503: nothing was changed"},
    {"unsure", "503 OUTCOME_UNKNOWN: the same intent again tells"},
    {"nonsense", "a right status with a body that does not belong to it"},
    {"refused", "another status from 400 to 499"},
    {"other_status", "a status that does not belong here"},
    {"server_error", "500 or above but 503"},
    {NULL, NULL},
};

_Static_assert(
    sizeof market_outcomes / sizeof market_outcomes[0] == MARKET_OUTCOME_END - OUTCOME_COMMON_COUNT + 1,
    "one row per outcome");

/* --- small things --- */

bool market_read_amount(double coins, int64_t *minor)
{
    double hundredths = coins * MINOR_PER_COIN;
    if (!(coins >= 0 && coins <= COINS_MAX) || fabs(hundredths - round(hundredths)) > 0.01)
        return false;
    *minor = (int64_t)llround(hundredths);
    return true;
}

static bool read_amount(const struct json *value, int64_t *minor)
{
    double coins;
    return json_double(value, &coins) && market_read_amount(coins, minor);
}

/* What the members are taken from: the root has those of "data" again. */
static const struct json *data_of(const struct json *value)
{
    const struct json *data = json_member(value, "data");
    return data != NULL ? data : value;
}

static bool is_text(const struct json *value, const char *expected)
{
    struct slice text;
    return json_text(value, &text) && slice_eq(text, slice_cstr(expected));
}

static bool copy_text(const struct json *value, char *memory, size_t size, size_t *len)
{
    struct slice text;
    if (!json_text(value, &text) || text.len == 0 || text.len > size)
        return false;
    memcpy(memory, text.base, text.len);
    *len = text.len;
    return true;
}

static bool copy_token(const struct json *value, struct market_token *token)
{
    if (!copy_text(value, token->text, sizeof token->text, &token->len))
        return false;
    for (size_t i = 0; i < token->len; i++)
        if (token->text[i] <= ' ' || token->text[i] > '~')
            return false;
    return true;
}

/* --- what was not hoped for --- */

static void set_code(struct judgement *judgement, const struct reply *reply)
{
    struct json *value = NULL;
    struct slice code;
    char status[DETAIL_MAX];
    if (json_parse(reply->body, &value) == JSON_OK &&
        json_text(json_member(json_member(value, "error"), "code"), &code) && code.len > 0) {
        judgement_set_detail(judgement, code);
    } else {
        int len = snprintf(status, sizeof status, "HTTP_%d", reply->status);
        judgement_set_detail(judgement, slice_make(status, (size_t)len));
    }
    json_free(value);
}

static unsigned name_conflict(struct slice code)
{
    if (slice_eq(code, SLICE("SOLD_OUT")))
        return MARKET_SOLD_OUT;
    if (slice_eq(code, SLICE("NONCE_REUSED")))
        return MARKET_NONCE_REUSED;
    bool is_taken = slice_eq(code, SLICE("EMAIL_TAKEN")) || slice_eq(code, SLICE("PUBLIC_KEY_TAKEN"));
    return is_taken ? MARKET_TAKEN : MARKET_REFUSED;
}

static void judge_others(const struct reply *reply, int expected, struct judgement *judgement)
{
    int status = reply->status;
    set_code(judgement, reply);
    struct slice code = slice_make(judgement->detail, judgement->detail_len);
    bool is_unsure = slice_eq(code, SLICE("OUTCOME_UNKNOWN"));
    bool is_poor = status == 402 && slice_eq(code, SLICE("INSUFFICIENT_FUNDS"));
    bool is_refusal = (status >= 400 && status < 500) || (status == 503 && !is_unsure);
    judgement->outcome = status == expected               ? MARKET_NONSENSE
                         : is_poor                        ? MARKET_TOO_POOR
                         : status == 409                  ? name_conflict(code)
                         : status == 503                  ? (is_unsure ? MARKET_UNSURE : MARKET_UNAVAILABLE)
                         : status >= 500                  ? MARKET_SERVER_ERROR
                         : status >= 400 && status <= 499 ? MARKET_REFUSED
                                                          : MARKET_OTHER_STATUS;
    judgement->truth = is_refusal ? TRUTH_REFUSED : TRUTH_UNKNOWN;
}

static void acknowledge(struct judgement *judgement, unsigned outcome)
{
    judgement->outcome = outcome;
    judgement->truth = TRUTH_ACKNOWLEDGED;
}

/* --- accounts --- */

void market_judge_register(const struct reply *reply, const char *key, struct judgement *judgement,
    struct market_token *token, int64_t *balance_minor)
{
    struct json *value = NULL;
    if (reply->status == 201 && json_parse(reply->body, &value) == JSON_OK) {
        const struct json *data = data_of(value);
        if (is_text(json_member(data, "public_key"), key) && copy_token(json_member(data, "token"), token) &&
            read_amount(json_member(data, "balance"), balance_minor))
            acknowledge(judgement, MARKET_REGISTERED);
    }
    json_free(value);
    if (judgement->outcome != MARKET_REGISTERED)
        judge_others(reply, 201, judgement);
}

void market_judge_challenge(
    const struct reply *reply, struct judgement *judgement, struct market_challenge *challenge)
{
    struct json *value = NULL;
    if (reply->status == 200 && json_parse(reply->body, &value) == JSON_OK) {
        const struct json *data = data_of(value);
        if (copy_text(json_member(data, "challenge"), challenge->text, sizeof challenge->text,
                &challenge->text_len) &&
            copy_text(json_member(data, "mac"), challenge->mac, sizeof challenge->mac, &challenge->mac_len) &&
            json_int64(json_member(data, "timestamp"), &challenge->timestamp_s))
            acknowledge(judgement, MARKET_CHALLENGED);
    }
    json_free(value);
    if (judgement->outcome != MARKET_CHALLENGED)
        judge_others(reply, 200, judgement);
}

void market_judge_verify(
    const struct reply *reply, const char *key, struct judgement *judgement, struct market_token *token)
{
    struct json *value = NULL;
    if (reply->status == 200 && json_parse(reply->body, &value) == JSON_OK) {
        const struct json *data = data_of(value);
        if (copy_token(json_member(data, "token"), token) &&
            is_text(json_member(json_member(data, "user"), "public_key"), key))
            acknowledge(judgement, MARKET_VERIFIED);
    }
    json_free(value);
    if (judgement->outcome != MARKET_VERIFIED)
        judge_others(reply, 200, judgement);
}

/* --- lists --- */

/* Without a backslash what looks like a member is one: no quotation mark can stand in a text. */
static bool is_plain(struct slice text)
{
    return text.len > 0 && memchr(text.base, '\\', text.len) == NULL;
}

static const char *find(struct slice text, struct slice part)
{
    return memmem(text.base, text.len, part.base, part.len);
}

static bool is_usual_list(struct slice body)
{
    return slice_starts_with(body, SLICE("{\"success\":true,\"data\":[")) && is_plain(body) &&
           body.base[body.len - 1] == '}';
}

/* The product with this id in a list, borrowed; NULL: there is none. */
static const struct json *find_item(const struct json *list, const char *product)
{
    size_t count = json_item_count(list);
    for (size_t i = 0; i < count; i++)
        if (is_text(json_member(json_item(list, i), "id"), product))
            return json_item(list, i);
    return NULL;
}

static bool has_product(struct slice body, const char *product)
{
    struct json *value = NULL;
    char memory[48];
    struct strbuf member;
    strbuf_init(&member, memory, sizeof memory);
    strbuf_printf(&member, "{\"id\":\"%s\",", product);
    if (is_usual_list(body) && find(body, strbuf_slice(&member)) != NULL)
        return true;
    bool has_it = json_parse(body, &value) == JSON_OK && find_item(data_of(value), product) != NULL;
    json_free(value);
    return has_it;
}

void market_judge_featured(const struct reply *reply, const char *product, struct judgement *judgement)
{
    if (reply->status == 200 && has_product(reply->body, product))
        acknowledge(judgement, MARKET_LISTED);
    else
        judge_others(reply, 200, judgement);
}

static bool is_list(struct slice body)
{
    struct json *value = NULL;
    if (is_usual_list(body))
        return true;
    bool is_good = json_parse(body, &value) == JSON_OK && json_kind(data_of(value)) == JSON_KIND_ARRAY;
    json_free(value);
    return is_good;
}

void market_judge_transactions(const struct reply *reply, struct judgement *judgement)
{
    if (reply->status == 200 && is_list(reply->body))
        acknowledge(judgement, MARKET_HISTORY_TOLD);
    else
        judge_others(reply, 200, judgement);
}

int64_t market_read_stock(int status, struct slice body, const char *product)
{
    struct json *value = NULL;
    int64_t stock = -1;
    if (status == 200 && json_parse(body, &value) == JSON_OK &&
        !json_int64(json_member(find_item(data_of(value), product), "stock"), &stock))
        stock = -1;
    json_free(value);
    return stock;
}

/* --- coins --- */

/* {"success":true,"data":{"balance":99.5,... */
static bool is_usual_balance(struct slice body, int64_t *minor)
{
    static const struct slice head = SLICE_INIT("{\"success\":true,\"data\":{\"balance\":");
    int64_t number = 0;
    int decimals = -1; /* -1: before the point */
    if (!slice_starts_with(body, head))
        return false;
    for (size_t i = head.len; i < body.len && i < head.len + 20; i++) {
        char c = body.base[i];
        if (c == ',' && i > head.len && decimals != 0) {
            *minor = number * (decimals < 0 ? 100 : decimals == 1 ? 10 : 1);
            return *minor <= INT64_C(999999999999999);
        }
        if (c == '.' && decimals < 0 && i > head.len)
            decimals = 0;
        else if (c >= '0' && c <= '9' && decimals < 2 && number < INT64_C(10000000000000000))
            number = number * 10 + (c - '0'), decimals += decimals >= 0;
        else
            return false;
    }
    return false;
}

void market_judge_balance(const struct reply *reply, struct judgement *judgement, int64_t *balance_minor)
{
    struct json *value = NULL;
    bool is_told = reply->status == 200 && is_usual_balance(reply->body, balance_minor);
    if (!is_told && reply->status == 200)
        is_told = json_parse(reply->body, &value) == JSON_OK &&
                  read_amount(json_member(data_of(value), "balance"), balance_minor);
    json_free(value);
    if (is_told)
        acknowledge(judgement, MARKET_BALANCE_TOLD);
    else
        judge_others(reply, 200, judgement);
}

/* --- receipts --- */

static bool has_member(struct slice text, const char *name, struct slice value, bool is_quoted)
{
    char memory[160];
    struct strbuf member;
    strbuf_init(&member, memory, sizeof memory);
    strbuf_put_char(&member, '"');
    strbuf_put(&member, slice_cstr(name));
    strbuf_put(&member, is_quoted ? SLICE("\":\"") : SLICE("\":"));
    strbuf_put(&member, value);
    strbuf_put(&member, is_quoted ? SLICE("\"") : SLICE(","));
    return !member.has_overflowed && find(text, strbuf_slice(&member)) != NULL;
}

/* Of the server's own spelling; an amount is never its last member. */
static bool is_usual_fit(struct slice receipt, const char *key, const struct market_intent *intent)
{
    char memory[32];
    struct strbuf amount;
    strbuf_init(&amount, memory, sizeof memory);
    market_put_amount(&amount, intent->amount_minor);
    return slice_starts_with(receipt, SLICE("{\"action\":\"")) && is_plain(receipt) &&
           has_member(receipt, "action", intent->is_transfer ? SLICE("transfer") : SLICE("spend"), true) &&
           has_member(receipt, "amount", strbuf_slice(&amount), false) &&
           has_member(receipt, "nonce", slice_cstr(intent->nonce), true) &&
           has_member(receipt, "public_key", slice_cstr(key), true) &&
           has_member(receipt, intent->is_transfer ? "to" : "product_id", slice_cstr(intent->target), true);
}

bool market_receipt_fits(struct slice receipt, const char *key, const struct market_intent *intent)
{
    struct json *value = NULL;
    int64_t minor;
    struct slice id;
    if (is_usual_fit(receipt, key, intent))
        return true;
    bool fits = json_parse(receipt, &value) == JSON_OK &&
                is_text(json_member(value, "action"), intent->is_transfer ? "transfer" : "spend") &&
                read_amount(json_member(value, "amount"), &minor) && minor == intent->amount_minor &&
                is_text(json_member(value, "nonce"), intent->nonce) &&
                is_text(json_member(value, "public_key"), key) && json_text(json_member(value, "id"), &id) &&
                is_text(json_member(value, intent->is_transfer ? "to" : "product_id"), intent->target);
    json_free(value);
    return fits;
}

/* The object behind "receipt": in the body, as it was sent: from its brace to the next closing one, which is
 * its own where no text has a brace. What is cut short is no JSON and fits nothing. */
static bool find_receipt(struct slice body, struct slice *receipt)
{
    static const struct slice name = SLICE_INIT("\"receipt\":");
    const char *found = find(body, name);
    const char *end = body.base + body.len;
    if (found == NULL)
        return false;
    const char *begin = found + name.len;
    while (begin < end && (*begin == ' ' || *begin == '\n' || *begin == '\r' || *begin == '\t'))
        begin++;
    const char *brace = begin < end ? memchr(begin, '}', (size_t)(end - begin)) : NULL;
    if (brace == NULL || *begin != '{')
        return false;
    *receipt = slice_make(begin, (size_t)(brace - begin) + 1);
    return true;
}

/* In one line: a line's end in JSON stands between members only. */
static void keep_receipt(struct market_receipt *receipt, struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        receipt->text[i] = (unsigned char)text.base[i] < ' ' ? ' ' : text.base[i];
    receipt->len = text.len;
}

void market_judge_transact(const struct reply *reply, const char *key, const struct market_intent *intent,
    struct judgement *judgement, struct market_receipt *receipt)
{
    struct slice found;
    if (reply->status == 200 && find_receipt(reply->body, &found) && found.len <= sizeof receipt->text &&
        market_receipt_fits(found, key, intent)) {
        keep_receipt(receipt, found);
        acknowledge(judgement, intent->is_transfer ? MARKET_TRANSFERRED : MARKET_SPENT);
        return;
    }
    judge_others(reply, 200, judgement);
}

bool market_receipt_member(const struct market_receipt *receipt, const char *name, char *text, size_t size)
{
    struct json *value = NULL;
    size_t len = 0;
    bool has_it = json_parse(slice_make(receipt->text, receipt->len), &value) == JSON_OK &&
                  copy_text(json_member(value, name), text, size - 1, &len);
    json_free(value);
    text[len] = '\0';
    return has_it;
}
