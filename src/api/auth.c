/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts with passwords (intake contract): register, login, refresh, and whose token a request bears.
 *
 * What takes a password is an attempt: it is checked, looks into the store, waits for the password's hash,
 * which the threads of service/passwords.h make, and then answers or passes the line. Each step is on the net
 * thread but for the hash. An attempt has memory of its own, since its request may be gone before the hash is
 * there: with the server, at its end.
 *
 * Who logs in with an address that nobody has waits as long as with a wrong password, and hears the same. Who
 * registers learns what is taken: that can not be hidden from him, so he hears it before the hash is made.
 * What is taken is decided by the line in the end.
 *
 * An access token is checked without the store, so it is good until it ends, whatever becomes of its account;
 * for a refresh token the account has to be there.
 */
#include <sodium.h>
#include <stdlib.h>

#include "api/fields.h"
#include "api/intake_priv.h"
#include "api/market.h"
#include "base/clock.h"
#include "core/account.h"
#include "service/mail.h"
#include "service/passwords.h"
#include "service/service.h"

enum {
    ACCESS_MS = 15 * 60 * 1000,
    MS_PER_S = 1000,
    NS_PER_MS = 1000000,
    PASSWORD_CHARS_MIN = 8,
    REPLY_MAX = 4096,
};

static const int64_t REFRESH_MS = INT64_C(30) * 24 * 3600 * 1000;

_Static_assert((int)STORE_SECRET_BYTES == (int)TOKEN_KEY_BYTES, "the store's secret is the key of tokens");
_Static_assert((int)ACCOUNT_EMAIL_LEN_MAX == (int)MAIL_ADDRESS_MAX, "an account's address is one of mail");

static const struct text_field username_field = {.name = "username",
    .need = FIELD_REQUIRED,
    .is_trimmed = true,
    .chars_min = 1,
    .bytes_max = ACCOUNT_USERNAME_LEN_MAX};
static const struct text_field email_field = {.name = "email",
    .need = FIELD_REQUIRED,
    .is_trimmed = true,
    .chars_min = 1,
    .bytes_max = ACCOUNT_EMAIL_LEN_MAX};
static const struct text_field new_password_field = {.name = "password",
    .need = FIELD_REQUIRED,
    .is_secret = true,
    .may_have_nul = true,
    .chars_min = PASSWORD_CHARS_MIN,
    .bytes_max = PASSWORD_LEN_MAX};
static const struct text_field password_field = {.name = "password",
    .need = FIELD_REQUIRED,
    .is_secret = true,
    .may_have_nul = true,
    .bytes_max = PASSWORD_LEN_MAX};
static const struct text_field full_name_field = {
    .name = "full_name", .need = FIELD_OPTIONAL, .is_trimmed = true, .bytes_max = ACCOUNT_FULL_NAME_LEN_MAX};
static const struct text_field refresh_token_field = {.name = "refresh_token",
    .need = FIELD_REQUIRED,
    .is_secret = true,
    .may_have_nul = true,
    .bytes_max = 4096};

/* --- tokens --- */

/* When it expires, in seconds since 1970. */
static int64_t put_token(
    struct strbuf *body, const struct intake *intake, int64_t account_id, enum token_kind kind)
{
    char token[TOKEN_LEN_MAX];
    int64_t now_ms = engine_now_ms(intake->thread->app->engine);
    int64_t lifetime_ms = kind == TOKEN_ACCESS ? ACCESS_MS : REFRESH_MS;
    size_t len = tokens_issue(&intake->token_key, account_id, kind, now_ms, lifetime_ms, token);
    strbuf_put_char(body, '"');
    strbuf_put(body, slice_make(token, len));
    strbuf_put_char(body, '"');
    return now_ms / MS_PER_S + lifetime_ms / MS_PER_S;
}

int64_t auth_put_access_token(struct strbuf *body, const struct intake *intake, int64_t account_id)
{
    return put_token(body, intake, account_id, TOKEN_ACCESS);
}

/* Without the closing brace. */
static void put_tokens(struct strbuf *body, const struct intake *intake, int64_t account_id)
{
    strbuf_lit(body, "{\"access_token\":");
    (void)put_token(body, intake, account_id, TOKEN_ACCESS);
    strbuf_lit(body, ",\"refresh_token\":");
    (void)put_token(body, intake, account_id, TOKEN_REFRESH);
    strbuf_lit(body, ",\"token_type\":\"bearer\"");
}

static void reply_tokens(struct http_request *request, int status, const struct strbuf *body)
{
    reply_made(request, status, SLICE("Cache-Control: no-store\r\n"), body);
}

static void reply_pair(struct http_request *request, const struct intake *intake, int64_t account_id)
{
    char memory[REPLY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    put_tokens(&body, intake, account_id);
    strbuf_put_char(&body, '}');
    reply_tokens(request, 200, &body);
}

/* "Bearer TOKEN" (RFC 6750, 2.1); the scheme in any case (RFC 9110, 11.1). */
static bool read_bearer(const struct http_request *request, struct slice *token)
{
    static const struct slice scheme = SLICE_INIT("Bearer ");
    struct slice value;
    if (!http_header(request, SLICE("authorization"), &value) || value.len <= scheme.len ||
        !slice_eq_nocase(slice_make(value.base, scheme.len), scheme))
        return false;
    *token = slice_trim(slice_make(value.base + scheme.len, value.len - scheme.len));
    return true;
}

enum bearer_status auth_bearer(struct intake *intake, const struct http_request *request, int64_t *account_id)
{
    struct slice token;
    int64_t now_ms = engine_now_ms(intake->thread->app->engine);
    enum bearer_status status = BEARER_MISSING;
    if (read_bearer(request, &token)) {
        enum token_status checked =
            known_tokens_check(&intake->known_tokens, &intake->token_key, token, now_ms, account_id);
        status = checked == TOKEN_OK ? BEARER_OK : checked == TOKEN_EXPIRED ? BEARER_EXPIRED : BEARER_REFUSED;
    }
    if (status != BEARER_OK)
        intake_count(intake, COUNT_UNAUTHORIZED);
    return status;
}

bool auth_check(struct intake *intake, struct http_request *request, int64_t *account_id)
{
    enum bearer_status status = auth_bearer(intake, request, account_id);
    if (status != BEARER_OK)
        reply_detail_unauthorized(request, status == BEARER_MISSING ? SLICE("Not authenticated")
                                           : status == BEARER_EXPIRED
                                               ? SLICE("The access token has expired")
                                               : SLICE("Could not validate credentials"));
    return status == BEARER_OK;
}

/* --- attempts --- */

struct attempt {
    struct password_job job;
    struct engine_lookup lookup;
    struct engine_call call;
    struct account_request account; /* what registers; its texts are below */
    struct intake *intake;
    struct http_request *request;
    void (*on_hashed)(struct attempt *attempt); /* on the net thread */
    int64_t account_id;                         /* 0: nobody's */
    struct list node;                           /* in intake->hashed */
    char username[ACCOUNT_USERNAME_LEN_MAX];
    char username_key[ACCOUNT_USERNAME_LEN_MAX];
    char email[ACCOUNT_EMAIL_LEN_MAX];
    char email_key[ACCOUNT_EMAIL_LEN_MAX];
    char full_name[ACCOUNT_FULL_NAME_LEN_MAX];
};

struct slice auth_lower(char *memory, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.base[i];
        memory[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    return slice_make(memory, text.len);
}

static void attempt_free(struct attempt *attempt)
{
    sodium_memzero(attempt->job.password, sizeof attempt->job.password);
    free(attempt);
}

/* NULL: the request has been answered. */
static struct attempt *attempt_create(struct intake *intake, struct http_request *request)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL) {
        reply_detail_later(request, SLICE("There is no memory for this now. Send it again."), 0);
        return NULL;
    }
    attempt->intake = intake;
    attempt->request = request;
    list_init(&attempt->node);
    return attempt;
}

/* An address that is one, kept with its key. */
static void read_email(struct fields *fields, struct attempt *attempt)
{
    struct slice email;
    struct error error;
    char memory[256];
    struct strbuf msg;
    if (!fields_text(fields, &email_field, &email))
        return;
    if (mail_check_address(email, &error) == ERR_NONE) {
        attempt->account.email = slice_copy(attempt->email, email);
        attempt->account.email_key = auth_lower(attempt->email_key, email);
        return;
    }
    strbuf_init(&msg, memory, sizeof memory);
    strbuf_printf(&msg, "value is not a valid email address: %.200s", error.message);
    fields_complain(fields, SLICE("email"), "value_error", strbuf_slice(&msg));
}

static void read_password(struct fields *fields, const struct text_field *field, struct attempt *attempt)
{
    struct slice password;
    if (!fields_text(fields, field, &password))
        return;
    memcpy(attempt->job.password, password.base, password.len);
    attempt->job.password_len = password.len;
}

/* False: there is something wrong with the body, and everything is done. Otherwise the fields are, too. */
static bool attempt_end_fields(struct attempt *attempt, struct fields *fields)
{
    if (fields_reply_complaints(fields, attempt->request)) {
        attempt_free(attempt);
        return false;
    }
    fields_fini(fields);
    return true;
}

/* --- the way to the store and to the passwords --- */

static void attempt_look_up(struct attempt *attempt, void (*on_found)(struct engine_lookup *lookup))
{
    attempt->lookup = (struct engine_lookup){
        .question = {.kind = QUESTION_ACCOUNT, .name = attempt->account.email_key}, .on_done = on_found};
    if (engine_port_look_up(attempt->intake->thread->port, &attempt->lookup))
        return;
    intake_reply_not_looked_up(attempt->request, ERR_UNAVAILABLE);
    attempt_free(attempt);
}

/* On a thread of the passwords. */
static void on_job_done(struct password_job *job)
{
    struct attempt *attempt = CONTAINER_OF(job, struct attempt, job);
    struct intake *intake = attempt->intake;
    pthread_mutex_lock(&intake->lock);
    list_append(&intake->hashed, &attempt->node);
    pthread_mutex_unlock(&intake->lock);
    uv_async_send(&intake->thread->wake);
}

static void attempt_hash(struct attempt *attempt, bool is_verify, void (*on_hashed)(struct attempt *attempt))
{
    struct passwords *passwords = service_passwords(attempt->intake->thread->app->service);
    attempt->on_hashed = on_hashed;
    attempt->job.on_done = on_job_done;
    if (is_verify ? passwords_verify(passwords, &attempt->job) : passwords_hash(passwords, &attempt->job))
        return;
    reply_detail_later(attempt->request,
        SLICE("So many passwords wait to be checked that no more are taken. Send it again after the time in "
              "Retry-After."),
        passwords_wait_ns(passwords) / NS_PER_MS);
    attempt_free(attempt);
}

static void attempt_fail(struct attempt *attempt)
{
    reply_detail_later(attempt->request,
        SLICE("The password could not be checked now; the server's log says why. Send it again."), MS_PER_S);
    attempt_free(attempt);
}

void intake_receive(struct intake *intake)
{
    struct list *node;
    do {
        pthread_mutex_lock(&intake->lock);
        node = list_first(&intake->hashed);
        if (node != NULL)
            list_remove(node);
        pthread_mutex_unlock(&intake->lock);
        if (node != NULL) {
            struct attempt *attempt = CONTAINER_OF(node, struct attempt, node);
            attempt->on_hashed(attempt);
        }
    } while (node != NULL);
    engine_port_flush(intake->thread->port);
}

/* --- POST /api/auth/register --- */

static void put_user(struct strbuf *body, const struct attempt *attempt, int64_t account_id)
{
    strbuf_lit(body, ",\"user\":{\"id\":");
    intake_put_uuid(body, &attempt->intake->names.accounts, account_id);
    strbuf_lit(body, ",\"username\":");
    strbuf_put_json(body, attempt->account.username);
    strbuf_lit(body, ",\"email\":");
    strbuf_put_json(body, attempt->account.email);
    strbuf_lit(body, "}}");
}

static void reply_registered(struct attempt *attempt, int64_t account_id)
{
    char memory[REPLY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    put_tokens(&body, attempt->intake, account_id);
    put_user(&body, attempt, account_id);
    reply_tokens(attempt->request, 201, &body);
}

static void on_registered(struct engine_call *call)
{
    struct attempt *attempt = CONTAINER_OF(call, struct attempt, call);
    const struct outcome *outcome = &call->command.outcome;
    if (outcome->result == RESULT_OK) {
        intake_count(attempt->intake, COUNT_REGISTERED);
        reply_registered(attempt, outcome->number);
    } else {
        intake_reply_result(attempt->request, call, "Log in to find out.");
    }
    attempt_free(attempt);
}

static void on_new_password_hashed(struct attempt *attempt)
{
    if (attempt->job.status != PASSWORD_OK) {
        attempt_fail(attempt);
        return;
    }
    attempt->account.password_hash = slice_cstr(attempt->job.hash);
    attempt->call = (struct engine_call){
        .command = {.kind = COMMAND_ACCOUNT_REGISTER, .account = &attempt->account},
        .deadline_ns =
            clock_mono_ns() + attempt->intake->thread->app->config.answer_deadline_ms * (int64_t)NS_PER_MS,
        .on_done = on_registered,
    };
    if (!engine_port_push(attempt->intake->thread->port, &attempt->call))
        on_registered(&attempt->call);
}

static void on_address_looked_up(struct engine_lookup *lookup)
{
    struct attempt *attempt = CONTAINER_OF(lookup, struct attempt, lookup);
    bool is_taken = lookup->question.is_found;
    question_fini(&lookup->question);
    if (lookup->status != ERR_NONE) {
        intake_reply_not_looked_up(attempt->request, lookup->status);
    } else if (is_taken) {
        reply_detail(attempt->request, 409, slice_cstr(result_info(RESULT_EMAIL_TAKEN)->text), SLICE(""));
    } else {
        attempt_hash(attempt, false, on_new_password_hashed);
        return;
    }
    attempt_free(attempt);
}

/* The marketplace's accounts have a key rather than a password; both faces register here. */
static bool is_for_wallets(struct fields *fields, struct http_request *request, struct market *market)
{
    if (!market_registers(fields->json))
        return false;
    market_register(request, market, fields->json);
    fields_fini(fields);
    return true;
}

void auth_register_post(struct http_request *request, void *context)
{
    struct fields fields;
    struct slice text;
    if (!fields_open(&fields, request, true) ||
        is_for_wallets(&fields, request, ((struct net_thread *)context)->market))
        return;
    struct attempt *attempt = attempt_create(intake_of(context), request);
    if (attempt == NULL) {
        fields_fini(&fields);
        return;
    }
    if (fields_text(&fields, &username_field, &text)) {
        attempt->account.username = slice_copy(attempt->username, text);
        attempt->account.username_key = auth_lower(attempt->username_key, text);
    }
    read_email(&fields, attempt);
    read_password(&fields, &new_password_field, attempt);
    if (fields_text(&fields, &full_name_field, &text))
        attempt->account.full_name = slice_copy(attempt->full_name, text);
    if (attempt_end_fields(attempt, &fields))
        attempt_look_up(attempt, on_address_looked_up);
}

/* --- POST /api/auth/login --- */

static void on_password_checked(struct attempt *attempt)
{
    if (attempt->job.status == PASSWORD_FAILED) {
        attempt_fail(attempt);
        return;
    }
    if (attempt->job.status == PASSWORD_OK) {
        intake_count(attempt->intake, COUNT_LOGGED_IN);
        reply_pair(attempt->request, attempt->intake, attempt->account_id);
    } else {
        intake_count(attempt->intake, COUNT_LOGIN_REFUSED);
        reply_detail_unauthorized(attempt->request, SLICE("Incorrect email or password"));
    }
    attempt_free(attempt);
}

/* Nobody's hash is the empty one, which takes as long. */
static void on_account_looked_up(struct engine_lookup *lookup)
{
    struct attempt *attempt = CONTAINER_OF(lookup, struct attempt, lookup);
    const struct account_row *account = &lookup->question.account;
    bool is_found = lookup->status == ERR_NONE && lookup->question.is_found;
    bool fits = is_found && account->password_hash.len < sizeof attempt->job.hash;
    if (fits) {
        attempt->account_id = account->id;
        (void)slice_copy(attempt->job.hash, account->password_hash);
    }
    question_fini(&lookup->question);
    if (lookup->status == ERR_NONE) {
        attempt_hash(attempt, true, on_password_checked);
        return;
    }
    intake_reply_not_looked_up(attempt->request, lookup->status);
    attempt_free(attempt);
}

void auth_login_post(struct http_request *request, void *context)
{
    struct fields fields;
    if (!fields_open(&fields, request, true))
        return;
    struct attempt *attempt = attempt_create(intake_of(context), request);
    if (attempt == NULL) {
        fields_fini(&fields);
        return;
    }
    read_email(&fields, attempt);
    read_password(&fields, &password_field, attempt);
    if (attempt_end_fields(attempt, &fields))
        attempt_look_up(attempt, on_account_looked_up);
}

/* --- POST /api/auth/refresh --- */

/* A refresh token on its way to the store. Lives in the request's arena. */
struct refresh {
    struct engine_lookup lookup;
    struct intake *intake;
    struct http_request *request;
    struct token_claims claims;
};

static void refuse_refresh(struct intake *intake, struct http_request *request, enum token_status status)
{
    intake_count(intake, COUNT_UNAUTHORIZED);
    reply_detail_unauthorized(request, status == TOKEN_EXPIRED
                                           ? SLICE("The refresh token has expired; log in")
                                           : SLICE("Could not validate credentials"));
}

/*
 * After a restored backup the account may be gone, or its id be that of one that was made since. A second is
 * for the clocks of two nodes.
 */
static bool is_of_account(const struct token_claims *claims, const struct question *question)
{
    return question->is_found && question->account.created_ms / MS_PER_S <= claims->issued_s + 1;
}

static void on_owner_looked_up(struct engine_lookup *lookup)
{
    struct refresh *refresh = CONTAINER_OF(lookup, struct refresh, lookup);
    struct question question = lookup->question; /* the request's memory goes with the reply */
    if (lookup->status != ERR_NONE) {
        intake_reply_not_looked_up(refresh->request, lookup->status);
    } else if (is_of_account(&refresh->claims, &question)) {
        intake_count(refresh->intake, COUNT_REFRESHED);
        reply_pair(refresh->request, refresh->intake, refresh->claims.account_id);
    } else {
        refuse_refresh(refresh->intake, refresh->request, TOKEN_OK);
    }
    question_fini(&question);
}

static void look_up_owner(
    struct intake *intake, struct http_request *request, const struct token_claims *claims)
{
    struct refresh *refresh = arena_alloc(&request->arena, sizeof *refresh);
    if (refresh == NULL) {
        intake_reply_not_looked_up(request, ERR_MEMORY);
        return;
    }
    *refresh = (struct refresh){
        .lookup = {.question = {.kind = QUESTION_ACCOUNT, .id = claims->account_id},
            .on_done = on_owner_looked_up},
        .intake = intake,
        .request = request,
        .claims = *claims,
    };
    if (!engine_port_look_up(intake->thread->port, &refresh->lookup))
        intake_reply_not_looked_up(request, ERR_UNAVAILABLE);
}

void auth_refresh_post(struct http_request *request, void *context)
{
    struct intake *intake = intake_of(context);
    struct fields fields;
    struct slice token;
    struct token_claims claims;
    if (!fields_open(&fields, request, true))
        return;
    bool has_token = fields_text(&fields, &refresh_token_field, &token);
    if (fields_reply_complaints(&fields, request))
        return;
    int64_t now_ms = engine_now_ms(intake->thread->app->engine);
    enum token_status status =
        has_token ? tokens_check(&intake->token_key, token, TOKEN_REFRESH, now_ms, &claims) : TOKEN_MALFORMED;
    fields_fini(&fields);
    if (status == TOKEN_OK)
        look_up_owner(intake, request, &claims);
    else
        refuse_refresh(intake, request, status);
}
