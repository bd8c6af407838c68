/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/market_site.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/id.h"
#include "net/json.h"

enum {
    REQUEST_SIZE = 2048,
    BODY_SIZE = 1024,
    PATH_SIZE = 512,
    PAGES_MAX = 1000,
    PAUSE_MS = 50,
    SETTLE_MS = 1000, /* a node's picture is right by then */
    MS_PER_S = 1000
};

static const int64_t NS_PER_MS = 1000000;

/* --- life --- */

void market_site_init(struct market_site *site)
{
    struct id_source source;
    id_source_init(&source);
    *site = (struct market_site){.product_count = 0};
    (void)snprintf(site->tag, sizeof site->tag, "%012llx", (unsigned long long)(id_next(&source) >> 16));
}

void market_site_fini(struct market_site *site)
{
    journal_writer_fini(&site->journal);
}

/* --- the operator's requests --- */

static void put_head(struct strbuf *request, const struct rush *rush, const char *method, const char *path)
{
    strbuf_printf(request, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, rush->target.authority);
}

static void put_body(struct strbuf *request, struct slice body)
{
    if (body.len > 0)
        strbuf_printf(request, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    strbuf_lit(request, "\r\n");
    strbuf_put(request, body);
    ENSURE(!request->has_overflowed);
}

static enum err ask(struct rush *rush, const char *method, const char *path, struct slice body,
    struct exchange_reply *reply, struct error *error)
{
    char memory[REQUEST_SIZE];
    struct strbuf request;
    strbuf_init(&request, memory, sizeof memory);
    put_head(&request, rush, method, path);
    strbuf_printf(&request, "X-Admin-Key: %s\r\n", rush->options.admin_key);
    put_body(&request, body);
    return exchange_do(rush->exchange, strbuf_slice(&request), reply, error);
}

static enum err not_expected(
    const char *what, const char *expected, const struct exchange_reply *reply, struct error *error)
{
    int shown = reply->body.len < 200 ? (int)reply->body.len : 200;
    bool is_denied = reply->status == 401 || reply->status == 403;
    return error_set(error, ERR_REFUSED, "%s: expected %s, got %d %.*s; %s", what, expected, reply->status,
        shown, reply->body.base,
        is_denied ? "give the server's --admin-key, or serve with --trust-loopback"
                  : "does the server have the marketplace?");
}

static bool read_key(struct slice body, unsigned char key[MARKET_KEY_BYTES])
{
    struct json *value = NULL;
    struct slice text;
    bool is_read = json_parse(body, &value) == JSON_OK &&
                   json_text(json_member(value, "public_key"), &text) &&
                   hex_read(text, key, MARKET_KEY_BYTES);
    json_free(value);
    return is_read;
}

enum err market_site_set_up(struct market_site *site, struct rush *rush, struct error *error)
{
    char memory[MARKET_KEY_HEX];
    struct strbuf hex;
    struct exchange_reply reply;
    enum err err = ask(rush, "GET", "/api/keys", SLICE(""), &reply, error);
    if (err != ERR_NONE)
        return err;
    if (reply.status != 200 || !read_key(reply.body, site->receipt_key))
        return not_expected("GET /api/keys", "200 and a public_key", &reply, error);
    if (!journal_writer_init(&site->journal, rush->journal))
        return error_set(error, ERR_MEMORY, "no memory for the journal");
    strbuf_init(&hex, memory, sizeof memory);
    hex_put(&hex, site->receipt_key, MARKET_KEY_BYTES);
    return journal_begin_receipts(rush->journal, rush, strbuf_slice(&hex), error);
}

/* A product's number, which this face shows as a text and the one that makes products as a number. */
static bool read_id(struct slice body, char id[MARKET_ID_SIZE])
{
    struct json *value = NULL;
    int64_t number = 0;
    bool is_read = json_parse(body, &value) == JSON_OK && json_int64(json_member(value, "id"), &number);
    json_free(value);
    (void)snprintf(id, MARKET_ID_SIZE, "%lld", (long long)number);
    return is_read && number > 0;
}

enum err market_site_add_product(
    struct market_site *site, struct rush *rush, struct market_product *product, struct error *error)
{
    char memory[BODY_SIZE];
    struct strbuf body;
    struct exchange_reply reply;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body, "{\"name\":\"Rush %s-%u\",\"stock\":%lld,\"price\":\"", site->tag,
        ++site->product_count, (long long)product->supplied);
    market_put_amount(&body, product->price_minor);
    strbuf_lit(&body, "\",\"category\":\"rush\",\"featured\":true}");
    ENSURE(!body.has_overflowed);
    enum err err = ask(rush, "POST", "/api/products", strbuf_slice(&body), &reply, error);
    if (err == ERR_NONE && (reply.status != 201 || !read_id(reply.body, product->id)))
        err = not_expected("POST /api/products", "201 and an id", &reply, error);
    return err;
}

enum err market_site_credit(struct market_site *site, struct rush *rush, struct market_wallet *wallet,
    int64_t amount_minor, struct error *error)
{
    char memory[BODY_SIZE];
    struct strbuf body;
    struct exchange_reply reply;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body, "{\"public_key\":\"%s\",\"amount\":\"", wallet->key.hex);
    market_put_amount(&body, amount_minor);
    strbuf_printf(&body, "\",\"reference\":\"rush-%s-%.16s\"}", site->tag, wallet->key.hex);
    ENSURE(!body.has_overflowed);
    enum err err = ask(rush, "POST", "/api/admin/credits", strbuf_slice(&body), &reply, error);
    if (err == ERR_NONE && reply.status != 200)
        err = not_expected("POST /api/admin/credits", "200", &reply, error);
    if (err == ERR_NONE)
        wallet->balance_minor += amount_minor;
    return err;
}

/* --- the stock --- */

static void put_escaped(struct strbuf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.base[i];
        if (c < 0x80 && isalnum(c))
            strbuf_put_char(out, (char)c);
        else
            strbuf_printf(out, "%%%02X", c);
    }
}

/* Writes the path of the page behind this one; false: it is the last. */
static bool next_page(struct slice body, char path[PATH_SIZE])
{
    struct json *value = NULL;
    struct slice cursor;
    struct strbuf out;
    bool has_next =
        json_parse(body, &value) == JSON_OK && json_text(json_member(value, "next_cursor"), &cursor);
    strbuf_init(&out, path, PATH_SIZE - 1);
    if (has_next) {
        strbuf_lit(&out, "/api/products/catalogue?limit=1000&cursor=");
        put_escaped(&out, cursor);
    }
    path[out.len] = '\0';
    json_free(value);
    return has_next && !out.has_overflowed;
}

/* A server that is coming back is not hammered. */
static void pause_briefly(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * NS_PER_MS};
    (void)nanosleep(&pause, NULL); /* woken by a signal: asks early */
}

static int64_t ask_stock(struct rush *rush, const char *product)
{
    char path[PATH_SIZE] = "/api/products/catalogue?limit=1000";
    for (int page = 0; page < PAGES_MAX; page++) {
        struct exchange_reply reply;
        struct error error;
        if (ask(rush, "GET", path, SLICE(""), &reply, &error) != ERR_NONE || reply.status != 200)
            return -1;
        int64_t stock = market_read_stock(reply.status, reply.body, product);
        if (stock >= 0 || !next_page(reply.body, path))
            return stock;
    }
    return -1;
}

int64_t market_site_ask_stock(
    struct rush *rush, const struct market_product *product, int64_t least, int64_t most, int64_t patience_ms)
{
    int64_t told_until_ns = clock_mono_ns() + patience_ms * NS_PER_MS;
    int64_t right_until_ns = INT64_MAX; /* from when it was told first */
    int64_t stock;
    while ((stock = ask_stock(rush, product->id)) < least || stock > most) {
        int64_t now_ns = clock_mono_ns();
        if (stock >= 0 && right_until_ns == INT64_MAX)
            right_until_ns = now_ns + SETTLE_MS * NS_PER_MS;
        if (now_ns >= (stock < 0 ? told_until_ns : right_until_ns))
            break;
        pause_briefly();
    }
    return stock;
}

/* --- wallets --- */

void market_wallet_make(struct market_wallet *wallet, const struct market_site *site, uint64_t number)
{
    *wallet = (struct market_wallet){.opening_minor = -1, .told_minor = -1};
    market_key_make(&wallet->key);
    (void)snprintf(wallet->email, sizeof wallet->email, "rush-%s-%llu@example.com", site->tag,
        (unsigned long long)number);
}

static void put_registration(struct strbuf *body, const struct market_wallet *wallet)
{
    market_put_registration(body, &wallet->key, wallet->email, "Rush User");
    ENSURE(!body->has_overflowed);
}

enum err market_site_register(
    struct market_site *site, struct rush *rush, struct market_wallet *wallet, struct error *error)
{
    char memory[BODY_SIZE];
    struct strbuf body;
    struct exchange_reply answer;
    struct judgement judgement = {0};
    struct journal_market line = {.truth = TRUTH_ACKNOWLEDGED};
    if (rush->options.stop != NULL && atomic_load(rush->options.stop))
        return error_set(error, ERR_TIMEOUT, "stopped while the wallets were being registered");
    strbuf_init(&body, memory, sizeof memory);
    put_registration(&body, wallet);
    enum err err = ask(rush, "POST", "/api/auth/register", strbuf_slice(&body), &answer, error);
    if (err != ERR_NONE)
        return err;
    const struct reply reply = {.status = answer.status, .body = answer.body};
    market_judge_register(&reply, wallet->key.hex, &judgement, &wallet->token, &wallet->opening_minor);
    if (judgement.outcome != MARKET_REGISTERED)
        return not_expected(
            "POST /api/auth/register", "201 with public_key, token and balance", &answer, error);
    wallet->balance_minor = wallet->opening_minor;
    market_wallet_note(wallet, &line);
    journal_add_market(&site->journal, &line);
    journal_flush(&site->journal);
    return ERR_NONE;
}

/* --- requests --- */

void market_write_registration(
    const struct rush *rush, const struct market_wallet *wallet, struct strbuf *request)
{
    char memory[BODY_SIZE];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    put_registration(&body, wallet);
    put_head(request, rush, "POST", "/api/auth/register");
    put_body(request, strbuf_slice(&body));
}

void market_write_challenge(
    const struct rush *rush, const struct market_wallet *wallet, struct strbuf *request)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "/api/auth/challenge?public_key=%s", wallet->key.hex);
    put_head(request, rush, "GET", path);
    put_body(request, SLICE(""));
}

void market_write_verification(const struct rush *rush, const struct market_wallet *wallet,
    const struct market_challenge *challenge, struct strbuf *request)
{
    char memory[BODY_SIZE];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    market_put_verification(&body, &wallet->key, challenge);
    ENSURE(!body.has_overflowed);
    put_head(request, rush, "POST", "/api/auth/verify");
    put_body(request, strbuf_slice(&body));
}

void market_write_featured(const struct rush *rush, struct strbuf *request)
{
    put_head(request, rush, "GET", "/api/products/featured");
    put_body(request, SLICE(""));
}

static void write_authorised(
    const struct rush *rush, const struct market_wallet *wallet, const char *path, struct strbuf *request)
{
    put_head(request, rush, "GET", path);
    strbuf_lit(request, "Authorization: Bearer ");
    strbuf_put(request, slice_make(wallet->token.text, wallet->token.len));
    strbuf_lit(request, "\r\n");
    put_body(request, SLICE(""));
}

void market_write_balance(const struct rush *rush, const struct market_wallet *wallet, struct strbuf *request)
{
    write_authorised(rush, wallet, "/api/wallet/balance", request);
}

void market_write_transactions(
    const struct rush *rush, const struct market_wallet *wallet, struct strbuf *request)
{
    write_authorised(rush, wallet, "/api/wallet/transactions", request);
}

void market_write_transact(const struct rush *rush, const struct market_slot *slot, struct strbuf *request)
{
    char memory[BODY_SIZE];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    market_put_transact(&body, &slot->wallet->key, &slot->intent, slot->signature);
    ENSURE(!body.has_overflowed);
    put_head(request, rush, "POST", "/api/wallet/transact");
    put_body(request, strbuf_slice(&body));
}

static bool read_balance(struct rush *rush, struct market_wallet *wallet)
{
    char memory[REQUEST_SIZE];
    struct strbuf request;
    struct exchange_reply answer;
    struct error error;
    struct judgement judgement = {0};
    strbuf_init(&request, memory, sizeof memory);
    market_write_balance(rush, wallet, &request);
    if (exchange_do(rush->exchange, strbuf_slice(&request), &answer, &error) != ERR_NONE)
        return false;
    const struct reply reply = {.status = answer.status, .body = answer.body};
    market_judge_balance(&reply, &judgement, &wallet->told_minor);
    return judgement.outcome == MARKET_BALANCE_TOLD;
}

void market_site_read_balance(struct rush *rush, struct market_wallet *wallet, int64_t patience_ms)
{
    int64_t until_ns = clock_mono_ns() + patience_ms * NS_PER_MS;
    wallet->told_minor = -1;
    while (!read_balance(rush, wallet) && clock_mono_ns() < until_ns)
        pause_briefly();
}

/* --- slots --- */

int64_t market_now_s(void)
{
    return clock_wall_ms() / MS_PER_S;
}

void market_slot_name(
    struct market_slot *slot, const struct market_site *site, uint64_t number, int64_t timestamp_s)
{
    struct strbuf nonce;
    strbuf_init(&nonce, slot->nonce, sizeof slot->nonce - 1);
    strbuf_put(&nonce, slice_cstr(site->tag));
    strbuf_put_char(&nonce, '-');
    strbuf_put_i64(&nonce, (int64_t)number);
    slot->nonce[nonce.len] = '\0';
    slot->intent.nonce = slot->nonce;
    slot->intent.timestamp_s = timestamp_s;
    slot->receipt.len = 0;
    slot->is_answered = false;
    slot->outcome = OUTCOME_TIMEOUT;
}

void market_slot_sign(struct market_slot *slot, const struct market_site *site, uint64_t number)
{
    market_slot_name(slot, site, number, market_now_s());
    market_sign_intent(&slot->wallet->key, &slot->intent, slot->signature);
}

bool market_is_passing(unsigned outcome)
{
    return outcome == MARKET_UNAVAILABLE || outcome == MARKET_UNSURE;
}

bool market_slot_judge(struct market_slot *slot, const struct reply *reply, struct judgement *judgement)
{
    bool is_first = slot->receipt.len == 0;
    market_judge_transact(reply, slot->wallet->key.hex, &slot->intent, judgement, &slot->receipt);
    slot->outcome = judgement->outcome;
    slot->is_answered = judgement->truth != TRUTH_UNKNOWN && !market_is_passing(judgement->outcome);
    return is_first && judgement->truth == TRUTH_ACKNOWLEDGED;
}

void market_slot_settle(struct market_slot *slot, struct market_wallet *payee)
{
    atomic_fetch_sub(&slot->wallet->balance_minor, slot->intent.amount_minor);
    if (payee != NULL)
        atomic_fetch_add(&payee->balance_minor, slot->intent.amount_minor);
}

void market_slot_note(const struct market_slot *slot, struct journal_market *line)
{
    line->request = slot->intent.is_transfer ? "transfer" : "spend";
    line->key = slice_make(slot->wallet->key.hex, MARKET_KEY_HEX);
    line->nonce = slice_cstr(slot->nonce);
    if (line->truth == TRUTH_ACKNOWLEDGED)
        line->receipt = slice_make(slot->receipt.text, slot->receipt.len);
}

void market_wallet_note(const struct market_wallet *wallet, struct journal_market *line)
{
    line->request = "register";
    line->key = slice_make(wallet->key.hex, MARKET_KEY_HEX);
    line->email = slice_cstr(wallet->email);
}

/* --- receipts --- */

/* What two receipts may not share. */
struct entry {
    char id[MARKET_ID_SIZE];
    char order[MARKET_NONCE_SIZE];
};

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

static int compare_orders(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->order, ((const struct entry *)b)->order);
}

static uint64_t count_repeated(struct entry *entries, size_t count)
{
    uint64_t repeated = 0;
    qsort(entries, count, sizeof *entries, compare_ids);
    for (size_t i = 1; i < count; i++)
        repeated += compare_ids(&entries[i - 1], &entries[i]) == 0;
    qsort(entries, count, sizeof *entries, compare_orders);
    for (size_t i = 1; i < count; i++)
        repeated += entries[i].order[0] != '\0' && compare_orders(&entries[i - 1], &entries[i]) == 0;
    return repeated;
}

struct market_books market_books_of(
    const struct market_site *site, const struct market_slot *slots, size_t count)
{
    struct market_books books = {0};
    struct entry *entries = calloc(count > 0 ? count : 1, sizeof *entries);
    ENSURE(entries != NULL); /* a generator without memory for its figures has nothing to report */
    for (size_t i = 0; i < count; i++) {
        const struct market_receipt *receipt = &slots[i].receipt;
        if (receipt->len == 0)
            continue;
        struct entry *entry = &entries[books.receipt_count++];
        bool is_whole = market_receipt_member(receipt, "id", entry->id, sizeof entry->id) &&
                        (slots[i].intent.is_transfer ||
                            market_receipt_member(receipt, "order_id", entry->order, sizeof entry->order));
        books.unsigned_count += !is_whole || !market_receipt_is_signed(
                                                 slice_make(receipt->text, receipt->len), site->receipt_key);
    }
    books.repeated_count = count_repeated(entries, books.receipt_count);
    free(entries);
    return books;
}
