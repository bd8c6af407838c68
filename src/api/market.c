/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marketplace face (marketplace contract): routes, life, what its answers have in common, figures.
 *
 * A signed intent takes this way: its net thread reads it, makes the bytes that were signed anew, checks the
 * signature (the dear part, tens of microseconds, on as many cores as there are net threads), and only then
 * pushes the command; the line decides; back on the net thread the receipt is signed. Balances and lists of
 * products are read without line or store.
 */
#include "api/market_priv.h"

#include <sodium.h>
#include <stdlib.h>

#include "api/envelope.h"
#include "api/face.h"
#include "api/metrics.h"
#include "base/hex.h"
#include "core/decimal.h"
#include "net/http_query.h"

enum { NS_PER_MS = 1000000, LATER_S = 1, FEATURED_BODY_MAX = 1024 * 1024 };

const struct slice MARKET_NO_STORE = SLICE_INIT("Cache-Control: no-store\r\n");

void market_count(struct market *market, enum market_count count)
{
    atomic_fetch_add_explicit(&market->counts[count], 1, memory_order_relaxed);
}

void market_count_refusal(struct market *market, enum result result)
{
    if (result != RESULT_UNAVAILABLE && result != RESULT_OUTCOME_UNKNOWN)
        market_count(market, COUNT_INTENT_REFUSED);
}

int64_t market_now_ms(const struct market *market)
{
    return engine_now_ms(market->thread->app->engine);
}

int64_t market_deadline_ns(const struct market *market, const struct http_request *request)
{
    return request->arrived_ns + market->thread->app->config.answer_deadline_ms * NS_PER_MS;
}

/* --- answers --- */

void market_reply(struct http_request *request, int status, struct slice extra, const struct strbuf *members)
{
    char memory[2 * MARKET_BODY_MAX + 64];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "{\"success\":true,\"data\":{");
    strbuf_put(&body, strbuf_slice(members));
    strbuf_lit(&body, "},");
    strbuf_put(&body, strbuf_slice(members));
    strbuf_put_char(&body, '}');
    body.has_overflowed = body.has_overflowed || members->has_overflowed;
    reply_json(request, status, extra, &body);
}

static void reply_refusal(
    struct http_request *request, int status, const char *code, const char *sentence, struct slice extra)
{
    char memory[1024];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    envelope_error(&body, slice_cstr(code), slice_cstr(sentence));
    reply_json(request, status, extra, &body);
}

void market_reply_invalid(struct http_request *request, const char *sentence)
{
    reply_refusal(request, 400, "VALIDATION_ERROR", sentence, slice_make("", 0));
}

/* The scheme that is asked for (RFC 9110, 11.6.1). */
void market_reply_unauthorized(struct http_request *request, const char *code, const char *sentence)
{
    reply_refusal(request, 401, code, sentence, SLICE("WWW-Authenticate: Bearer\r\n"));
}

static void reply_503(
    struct http_request *request, const char *code, const char *sentence, int64_t retry_after_s)
{
    char line[64];
    struct strbuf extra;
    strbuf_init(&extra, line, sizeof line);
    strbuf_printf(
        &extra, "Retry-After: %lld\r\n", (long long)(retry_after_s < LATER_S ? LATER_S : retry_after_s));
    reply_refusal(request, 503, code, sentence, strbuf_slice(&extra));
}

void market_reply_later(struct http_request *request, const char *sentence, int64_t retry_after_s)
{
    reply_503(request, result_info(RESULT_UNAVAILABLE)->code, sentence, retry_after_s);
}

void market_reply_no_memory(struct http_request *request)
{
    market_reply_later(request, "There is no memory for the request now. Nothing was changed.", LATER_S);
}

/* What is sold out, or not on sale, is a refusal here and no answer with 200 as at the flash sale. */
void market_reply_result(struct http_request *request, const struct engine_call *call, const char *advice)
{
    enum result result = call->command.outcome.result;
    const struct result_info *info = result_info(result);
    if (result == RESULT_OUTCOME_UNKNOWN)
        reply_503(request, info->code, advice, call->retry_after_s);
    else if (result == RESULT_UNAVAILABLE)
        market_reply_later(
            request, "This could not be stored in time, and was not. Send it again.", call->retry_after_s);
    else
        reply_refusal(request, result == RESULT_SOLD_OUT ? 409 : info->http_status, info->code, info->text,
            slice_make("", 0));
}

void market_reply_not_looked_up(struct http_request *request, enum err status)
{
    if (err_is_passing(status))
        market_reply_later(request, "The store does not answer now. Ask again.", LATER_S);
    else
        reply_refusal(request, 500, "INTERNAL_ERROR", "The store cannot be read; the server's log says why.",
            slice_make("", 0));
}

void market_reply_method(struct http_request *request, struct slice allow)
{
    char line[64];
    struct strbuf extra;
    strbuf_init(&extra, line, sizeof line);
    strbuf_lit(&extra, "Allow: ");
    strbuf_put(&extra, allow);
    strbuf_lit(&extra, "\r\n");
    reply_refusal(request, 405, "METHOD_NOT_ALLOWED", "This route takes the methods that Allow names.",
        strbuf_slice(&extra));
}

static void put_name(struct strbuf *body, struct slice name)
{
    strbuf_put_char(body, '"');
    strbuf_put(body, name);
    strbuf_lit(body, "\":");
}

void put_coins_member(struct strbuf *body, struct slice name, int64_t amount_minor)
{
    put_name(body, name);
    decimal_put(body, amount_minor, DECIMAL_SCALE_CENTS);
}

void put_key_member(struct strbuf *body, struct slice name, const unsigned char key[WALLET_KEY_BYTES])
{
    put_name(body, name);
    strbuf_put_char(body, '"');
    hex_put(body, key, WALLET_KEY_BYTES);
    strbuf_put_char(body, '"');
}

/* --- requests --- */

/* A body without a type is taken as JSON. */
static bool is_json(const struct http_request *request)
{
    struct slice type;
    struct slice rest;
    return !http_header(request, SLICE("content-type"), &type) ||
           slice_eq_nocase(slice_trim(slice_split(type, ';', &rest)), SLICE("application/json"));
}

struct json *market_body(struct http_request *request)
{
    struct json *json = NULL;
    if (!is_json(request)) {
        reply_refusal(request, 415, "UNSUPPORTED_MEDIA_TYPE",
            "The body must be JSON; send Content-Type: application/json.", slice_make("", 0));
        return NULL;
    }
    if (json_parse_unique(request->body, &json) == JSON_OK && json_kind(json) == JSON_KIND_OBJECT)
        return json;
    json_free(json);
    market_reply_invalid(request, "The body must be a JSON object in which no member comes twice.");
    return NULL;
}

bool market_hex(const struct json *body, const char *name, unsigned char *bytes, size_t size)
{
    struct slice text;
    return json_text(json_member(body, name), &text) && hex_read(text, bytes, size);
}

bool market_check_bearer(struct market *market, struct http_request *request, int64_t *account_id)
{
    switch (auth_bearer(market->thread->intake, request, account_id)) {
    case BEARER_OK:
        return true;
    case BEARER_MISSING:
        market_reply_unauthorized(
            request, "UNAUTHORIZED", "This needs an access token: send Authorization: Bearer TOKEN.");
        break;
    case BEARER_EXPIRED:
        market_reply_unauthorized(
            request, "UNAUTHORIZED", "The access token has expired; get a new one with a challenge.");
        break;
    case BEARER_REFUSED:
        market_reply_unauthorized(request, "UNAUTHORIZED",
            "This is no access token of this server; get one by registering or with a challenge.");
        break;
    }
    return false;
}

static bool read_page_part(struct slice name, struct slice value, struct page *page)
{
    if (slice_eq(name, SLICE("limit")))
        return slice_to_i64(value, &page->limit) && page->limit >= 1 && page->limit <= QUESTION_ROWS_MAX;
    if (slice_eq(name, SLICE("cursor")))
        return slice_to_i64(value, &page->cursor) && page->cursor >= 1;
    return true;
}

bool market_page(struct http_request *request, int64_t limit, struct page *page)
{
    struct slice query = request->query;
    struct slice name;
    struct slice value;
    bool is_malformed = false;
    bool is_good = true;
    *page = (struct page){.limit = limit};
    while (http_query_next(&request->arena, &query, &name, &value, &is_malformed))
        is_good = read_page_part(name, value, page) && is_good;
    if (is_good && !is_malformed)
        return true;
    market_reply_invalid(
        request, "limit must be an integer from 1 to 1000, cursor a next_cursor of the page before.");
    return false;
}

/* --- the store --- */

static void on_looked_up(struct engine_lookup *engine_lookup)
{
    struct market_lookup *lookup = CONTAINER_OF(engine_lookup, struct market_lookup, lookup);
    struct question question = engine_lookup->question; /* the request's memory goes with the reply */
    if (engine_lookup->status == ERR_NONE)
        lookup->on_answer(lookup);
    else
        market_reply_not_looked_up(lookup->request, engine_lookup->status);
    question_fini(&question);
}

struct market_lookup *market_lookup_create(struct http_request *request, struct market *market,
    enum question_kind kind, void (*on_answer)(struct market_lookup *lookup))
{
    struct market_lookup *lookup = arena_alloc(&request->arena, sizeof *lookup);
    if (lookup == NULL) {
        market_reply_no_memory(request);
        return NULL;
    }
    *lookup = (struct market_lookup){
        .lookup = {.question = {.kind = kind}, .on_done = on_looked_up},
        .market = market,
        .request = request,
        .on_answer = on_answer,
    };
    return lookup;
}

void market_look_up(struct market_lookup *lookup)
{
    if (!engine_port_look_up(lookup->market->thread->port, &lookup->lookup))
        market_reply_not_looked_up(lookup->request, ERR_UNAVAILABLE);
}

/* --- life --- */

struct market *market_create(struct net_thread *thread)
{
    struct market *market = calloc(1, sizeof *market);
    if (market == NULL)
        return NULL;
    const unsigned char *secret = engine_secret(thread->app->engine);
    market->thread = thread;
    challenge_key_init(&market->challenge_key, secret);
    receipt_key_init(&market->receipt_key, secret);
    strbuf_init_heap(&market->featured, FEATURED_BODY_MAX);
    return market;
}

void market_destroy(struct market *market)
{
    strbuf_fini(&market->featured);
    sodium_memzero(&market->challenge_key, sizeof market->challenge_key);
    sodium_memzero(&market->receipt_key, sizeof market->receipt_key);
    free(market);
}

/* --- metrics --- */

static uint64_t sum_counts(const struct app *app, enum market_count count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < app->net_thread_count; i++)
        sum += atomic_load_explicit(&app->net_threads[i]->market->counts[count], memory_order_relaxed);
    return sum;
}

void market_put_metrics(const struct app *app, struct strbuf *text)
{
    static const struct {
        const char *name;
        const char *help;
    } counters[MARKET_COUNT_COUNT] = {
        [COUNT_WALLET_OPENED] = {"doorbuster_wallets_opened_total", "Accounts made with a key."},
        [COUNT_VERIFIED] = {"doorbuster_challenges_verified_total", "Logins with a signed challenge."},
        [COUNT_VERIFY_REFUSED] = {"doorbuster_challenges_refused_total",
            "Challenges that were brought back and not good: MAC, age, signature or key."},
        [COUNT_SPENT] = {"doorbuster_wallets_spent_total", "Purchases with a wallet."},
        [COUNT_TRANSFERRED] = {"doorbuster_wallets_transferred_total", "Transfers from wallet to wallet."},
        [COUNT_CREDITED] = {"doorbuster_wallets_credited_total", "Credits by the admin."},
        [COUNT_INTENT_REPEATED] = {"doorbuster_intents_repeated_total",
            "Intents and credits sent again, and answered as at first."},
        [COUNT_INTENT_REFUSED] = {"doorbuster_intents_refused_total",
            "Intents with a good signature, and credits, that the rules refused."},
        [COUNT_SIGNATURE_REFUSED] = {"doorbuster_intents_unsigned_total",
            "Intents refused for their signature, their key or their time."},
    };
    for (int i = 0; i < MARKET_COUNT_COUNT; i++)
        metrics_put_value(text, counters[i].name, "counter", counters[i].help,
            (int64_t)sum_counts(app, (enum market_count)i));
}

/* --- the table --- */

static void refuse_but_post(struct http_request *request, void *context)
{
    (void)context;
    market_reply_method(request, SLICE("POST"));
}

static void refuse_but_get(struct http_request *request, void *context)
{
    (void)context;
    market_reply_method(request, SLICE("GET, HEAD"));
}

/* POST /api/auth/register is in auth.c, which tells by the body whose it is. */
static const struct http_route routes[] = {
    {METHOD_POST, "/api/wallet/transact", transact_post, NULL, 0},
    {METHOD_ANY, "/api/wallet/transact", refuse_but_post, NULL, 0},
    {METHOD_GET, "/api/wallet/balance", balance_get, NULL, 0},
    {METHOD_ANY, "/api/wallet/balance", refuse_but_get, NULL, 0},
    {METHOD_GET, "/api/wallet/transactions", transactions_get, NULL, 0},
    {METHOD_ANY, "/api/wallet/transactions", refuse_but_get, NULL, 0},
    {METHOD_GET, "/api/products/featured", featured_get, NULL, 0},
    {METHOD_ANY, "/api/products/featured", refuse_but_get, NULL, 0},
    {METHOD_GET, "/api/products/catalogue", catalogue_get, NULL, 0},
    {METHOD_ANY, "/api/products/catalogue", refuse_but_get, NULL, 0},
    {METHOD_GET, "/api/auth/challenge", challenge_get, NULL, 0},
    {METHOD_ANY, "/api/auth/challenge", refuse_but_get, NULL, 0},
    {METHOD_POST, "/api/auth/verify", verify_post, NULL, 0},
    {METHOD_ANY, "/api/auth/verify", refuse_but_post, NULL, 0},
    {METHOD_GET, "/api/keys", keys_get, NULL, 0},
    {METHOD_ANY, "/api/keys", refuse_but_get, NULL, 0},
    {METHOD_POST, "/api/admin/credits", credits_post, NULL, 0},
    {METHOD_ANY, "/api/admin/credits", refuse_but_post, NULL, 0},
};

const struct face market_face = {
    .name = "marketplace",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};
