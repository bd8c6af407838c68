/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts by an Ed25519 key (marketplace contract): registering, and logging in with a signed challenge.
 *
 * A key that is not one, or with which a signature could be made for everybody (small order, a second text
 * of the same point), is refused when it registers, so that no wallet has one. Whether a key is taken the
 * line decides; of many that register it at once one has it.
 */
#include <sodium.h>
#include <stdlib.h>

#include "api/envelope.h"
#include "api/market_priv.h"
#include "base/hex.h"
#include "base/utf8.h"
#include "core/account.h"
#include "net/http_query.h"
#include "service/mail.h"

enum { MS_PER_S = 1000, NAME_CHARS_MAX = 100 };

_Static_assert(4 * NAME_CHARS_MAX <= ACCOUNT_FULL_NAME_LEN_MAX, "a name has a place in an account");

/* --- register --- */

/* A registration on its way, with its texts. On the heap: they are more than a request's arena is for. */
struct registration {
    struct engine_call call;
    struct account_request account;
    struct market *market;
    struct http_request *request;
    unsigned char key[WALLET_KEY_BYTES];
    char username[WALLET_USER_LEN_MAX];
    char email[ACCOUNT_EMAIL_LEN_MAX];
    char email_key[ACCOUNT_EMAIL_LEN_MAX];
    char name[ACCOUNT_FULL_NAME_LEN_MAX];
};

static void reply_registered(const struct registration *registration, int64_t account_id)
{
    struct intake *intake = registration->market->thread->intake;
    char memory[MARKET_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "\"user_id\":");
    intake_put_uuid(&body, &intake->names.accounts, account_id);
    strbuf_lit(&body, ",\"email\":");
    strbuf_put_json(&body, registration->account.email);
    strbuf_lit(&body, ",\"name\":");
    strbuf_put_json(&body, registration->account.full_name);
    strbuf_put_char(&body, ',');
    put_key_member(&body, SLICE("public_key"), registration->key);
    strbuf_put_char(&body, ',');
    put_coins_member(&body, SLICE("balance"), registration->account.opening_minor);
    strbuf_lit(&body, ",\"currency\":\"MC\",\"token\":");
    int64_t expires_s = auth_put_access_token(&body, intake, account_id);
    strbuf_lit(&body, ",\"expires_at\":");
    strbuf_put_i64(&body, expires_s);
    market_reply(registration->request, 201, MARKET_NO_STORE, &body);
}

static void on_registered(struct engine_call *call)
{
    struct registration *registration = CONTAINER_OF(call, struct registration, call);
    if (call->command.outcome.result == RESULT_OK) {
        market_count(registration->market, COUNT_WALLET_OPENED);
        reply_registered(registration, call->command.outcome.number);
    } else {
        market_reply_result(registration->request, call,
            "It is not known whether this account was made. Log in with a challenge to find out.");
    }
    free(registration);
}

static bool read_email(const struct json *body, struct registration *registration)
{
    struct slice email;
    struct error error;
    if (!json_text(json_member(body, "email"), &email))
        return false;
    email = slice_trim(email);
    if (mail_check_address(email, &error) != ERR_NONE)
        return false;
    registration->account.email = slice_copy(registration->email, email);
    registration->account.email_key = auth_lower(registration->email_key, email);
    return true;
}

static bool read_name(const struct json *body, struct registration *registration)
{
    struct slice name;
    if (!json_text(json_member(body, "name"), &name))
        return false;
    name = slice_trim(name);
    if (name.len == 0 || utf8_length(name) > NAME_CHARS_MAX || memchr(name.base, '\0', name.len) != NULL)
        return false;
    registration->account.full_name = slice_copy(registration->name, name);
    return true;
}

/* NULL: all is well; else what is wrong. */
static const char *read_registration(const struct json *body, struct registration *registration)
{
    if (!read_email(body, registration))
        return "email must be an e-mail address.";
    if (!read_name(body, registration))
        return "name must be a text of 1 to 100 characters.";
    if (!market_hex(body, "public_key", registration->key, sizeof registration->key))
        return "public_key must be 64 hexadecimal digits: an Ed25519 public key.";
    if (crypto_core_ed25519_is_valid_point(registration->key) != 1)
        return "public_key is no Ed25519 public key that can be used: it is not on the curve, of small "
               "order, or not in canonical form. Make a new key pair.";
    return NULL;
}

bool market_registers(const struct json *body)
{
    return json_member(body, "password") == NULL &&
           (json_member(body, "public_key") != NULL ||
               (json_member(body, "username") == NULL && json_member(body, "name") != NULL));
}

void market_register(struct http_request *request, struct market *market, const struct json *body)
{
    const struct app_config *config = &market->thread->app->config;
    struct registration *registration = calloc(1, sizeof *registration);
    if (registration == NULL) {
        market_reply_no_memory(request);
        return;
    }
    const char *fault = read_registration(body, registration);
    if (fault != NULL) {
        free(registration);
        market_reply_invalid(request, fault);
        return;
    }
    registration->market = market;
    registration->request = request;
    registration->account.username = wallet_user(registration->key, registration->username);
    registration->account.username_key = registration->account.username;
    registration->account.password_hash = slice_make("", 0);
    registration->account.public_key = registration->key;
    registration->account.opening_minor = config->opening_balance_minor;
    registration->call = (struct engine_call){
        .command = {.kind = COMMAND_ACCOUNT_REGISTER, .account = &registration->account},
        .deadline_ns = market_deadline_ns(market, request),
        .on_done = on_registered,
    };
    if (!engine_port_push(market->thread->port, &registration->call))
        on_registered(&registration->call);
}

/* --- challenge --- */

/* The one that counts is the last, as everywhere. */
static bool read_key(struct http_request *request, unsigned char key[WALLET_KEY_BYTES])
{
    struct slice query = request->query;
    struct slice name;
    struct slice value;
    bool is_malformed = false;
    bool has_key = false;
    while (http_query_next(&request->arena, &query, &name, &value, &is_malformed)) {
        if (slice_eq(name, SLICE("public_key")))
            has_key = hex_read(value, key, WALLET_KEY_BYTES);
    }
    return has_key && !is_malformed;
}

void challenge_get(struct http_request *request, void *context)
{
    struct market *market = market_of(context);
    unsigned char key[WALLET_KEY_BYTES];
    unsigned char mac[CHALLENGE_MAC_BYTES];
    char text[CHALLENGE_LEN];
    char memory[512];
    struct strbuf body;
    if (!read_key(request, key)) {
        market_reply_invalid(request, "public_key must be 64 hexadecimal digits: an Ed25519 public key.");
        return;
    }
    int64_t now_s = market_now_ms(market) / MS_PER_S;
    challenge_make(text);
    challenge_mac(&market->challenge_key, slice_make(text, sizeof text), key, now_s, mac);
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "\"challenge\":\"");
    strbuf_put(&body, slice_make(text, sizeof text));
    strbuf_lit(&body, "\",\"timestamp\":");
    strbuf_put_i64(&body, now_s);
    strbuf_lit(&body, ",\"expires_at\":");
    strbuf_put_i64(&body, now_s + CHALLENGE_LIFETIME_S);
    strbuf_lit(&body, ",\"mac\":\"");
    hex_put(&body, mac, sizeof mac);
    strbuf_put_char(&body, '"');
    market_reply(request, 200, MARKET_NO_STORE, &body);
}

/* --- verify --- */

/* What is brought back; its text is the body's. */
struct proof {
    unsigned char key[WALLET_KEY_BYTES];
    struct slice challenge;
    int64_t timestamp_s;
    unsigned char mac[CHALLENGE_MAC_BYTES];
    unsigned char signature[crypto_sign_BYTES];
};

static const char *read_proof(const struct json *body, struct proof *proof)
{
    if (!market_hex(body, "public_key", proof->key, sizeof proof->key))
        return "public_key must be 64 hexadecimal digits: an Ed25519 public key.";
    unsigned char spelled[CHALLENGE_BYTES];
    if (!json_text(json_member(body, "challenge"), &proof->challenge) ||
        !hex_read(proof->challenge, spelled, sizeof spelled))
        return "challenge must be the text that GET /api/auth/challenge has told.";
    if (!json_int64(json_member(body, "timestamp"), &proof->timestamp_s) || proof->timestamp_s < 0)
        return "timestamp must be the integer that GET /api/auth/challenge has told.";
    if (!market_hex(body, "mac", proof->mac, sizeof proof->mac))
        return "mac must be the 64 hexadecimal digits that GET /api/auth/challenge has told.";
    if (!market_hex(body, "signature", proof->signature, sizeof proof->signature))
        return "signature must be 128 hexadecimal digits: Ed25519 over the bytes of the challenge.";
    return NULL;
}

static void put_user(struct strbuf *body, struct intake *intake, const struct wallet_row *wallet)
{
    strbuf_lit(body, ",\"user\":{\"user_id\":");
    intake_put_uuid(body, &intake->names.accounts, wallet->account_id);
    strbuf_lit(body, ",\"email\":");
    strbuf_put_json(body, wallet->email);
    strbuf_lit(body, ",\"name\":");
    strbuf_put_json(body, wallet->name);
    strbuf_put_char(body, ',');
    put_key_member(body, SLICE("public_key"), wallet->key);
    strbuf_put_char(body, ',');
    put_coins_member(body, SLICE("balance"), wallet->balance_minor);
    strbuf_put_char(body, '}');
}

static void on_owner_found(struct market_lookup *lookup)
{
    const struct wallet_row *wallet = &lookup->lookup.question.wallet;
    struct intake *intake = lookup->market->thread->intake;
    char memory[MARKET_BODY_MAX];
    struct strbuf body;
    if (!lookup->lookup.question.is_found) {
        market_count(lookup->market, COUNT_VERIFY_REFUSED);
        reply_error(
            lookup->request, 404, SLICE("NOT_FOUND"), slice_cstr(result_info(RESULT_WALLET_NOT_FOUND)->text));
        return;
    }
    market_count(lookup->market, COUNT_VERIFIED);
    strbuf_init(&body, memory, sizeof memory);
    strbuf_lit(&body, "\"token\":");
    int64_t expires_s = auth_put_access_token(&body, intake, wallet->account_id);
    strbuf_lit(&body, ",\"expires_at\":");
    strbuf_put_i64(&body, expires_s);
    put_user(&body, intake, wallet);
    market_reply(lookup->request, 200, MARKET_NO_STORE, &body);
}

/* False: the request has been answered. */
static bool check_proof(struct market *market, struct http_request *request, const struct proof *proof)
{
    int64_t now_s = market_now_ms(market) / MS_PER_S;
    enum challenge_status status = challenge_check(
        &market->challenge_key, proof->challenge, proof->key, proof->timestamp_s, proof->mac, now_s);
    if (status == CHALLENGE_OK && challenge_is_signed(proof->challenge, proof->key, proof->signature))
        return true;
    market_count(market, COUNT_VERIFY_REFUSED);
    if (status == CHALLENGE_BAD_MAC)
        market_reply_unauthorized(request, "INVALID_MAC",
            "This challenge was not given for this key and time; send all that GET /api/auth/challenge has "
            "told as it was.");
    else if (status == CHALLENGE_EXPIRED)
        market_reply_unauthorized(
            request, "CHALLENGE_EXPIRED", "The challenge is older than 5 minutes; ask for a new one.");
    else
        market_reply_unauthorized(request, "INVALID_SIGNATURE",
            "The signature does not fit the challenge and the key; sign the bytes of the challenge's text "
            "with Ed25519.");
    return false;
}

void verify_post(struct http_request *request, void *context)
{
    struct market *market = market_of(context);
    struct proof proof;
    struct json *body = market_body(request);
    if (body == NULL)
        return;
    const char *fault = read_proof(body, &proof);
    if (fault != NULL)
        market_reply_invalid(request, fault);
    bool is_good = fault == NULL && check_proof(market, request, &proof);
    json_free(body);
    if (!is_good)
        return;
    struct market_lookup *lookup = market_lookup_create(request, market, QUESTION_WALLET, on_owner_found);
    if (lookup == NULL)
        return;
    memcpy(lookup->key, proof.key, sizeof lookup->key);
    lookup->lookup.question.key = lookup->key;
    market_look_up(lookup);
}

/* --- the server's own key --- */

void keys_get(struct http_request *request, void *context)
{
    struct market *market = market_of(context);
    char memory[256];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    put_key_member(&body, SLICE("public_key"), market->receipt_key.public_key);
    strbuf_lit(&body, ",\"algorithm\":\"Ed25519\",\"use\":\"receipts\"");
    market_reply(request, 200, slice_make("", 0), &body);
}
