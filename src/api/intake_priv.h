/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the intake face share: intake.c (routes, placing, figures), intake_reads.c (looking up,
 * listing, cancelling), auth.c (accounts, passwords, tokens).
 */
#ifndef DOORBUSTER_API_INTAKE_PRIV_H
#define DOORBUSTER_API_INTAKE_PRIV_H

#include "api/detail.h"
#include "api/intake.h"
#include "api/known_tokens.h"
#include "api/tokens.h"
#include "base/list.h"
#include "service/intake_text.h"

/* What is counted; the names in metrics are in intake.c. */
enum intake_count {
    COUNT_REGISTERED,
    COUNT_LOGGED_IN,
    COUNT_LOGIN_REFUSED, /* the password, or nobody has that address */
    COUNT_REFRESHED,
    COUNT_UNAUTHORIZED, /* no token, or none that is good */
    COUNT_PLACED,
    COUNT_INVALID, /* an order with something wrong in it */
    COUNT_CANCELLED,
    INTAKE_COUNT_COUNT
};

struct intake {
    struct net_thread *thread;
    struct token_key token_key;
    struct known_tokens known_tokens;
    struct intake_names names;
    pthread_mutex_t lock; /* guards `hashed` */
    struct list hashed;   /* struct attempt (auth.c): left by the passwords' threads */
    atomic_uint_fast64_t counts[INTAKE_COUNT_COUNT]; /* this thread writes */
};

static inline struct intake *intake_of(void *context)
{
    return ((struct net_thread *)context)->intake;
}

void intake_count(struct intake *intake, enum intake_count count);

/* When a command that came with this request has to be answered. */
int64_t intake_deadline_ns(const struct intake *intake, const struct http_request *request);

/* Answers what the line has refused, or did not know. `what` tells the client how to find out, then. */
void intake_reply_result(struct http_request *request, const struct engine_call *call, const char *unknown);

/* Answers for a question to the store that failed. */
void intake_reply_not_looked_up(struct http_request *request, enum err status);

/* --- auth.c --- */

enum bearer_status {
    BEARER_OK,
    BEARER_MISSING, /* the request has no Authorization of that scheme */
    BEARER_EXPIRED,
    BEARER_REFUSED /* no access token of ours */
};

/* Whose access token the request bears, for faces with answers of their own. */
MUST_CHECK enum bearer_status auth_bearer(
    struct intake *intake, const struct http_request *request, int64_t *account_id);

/* Appends a new access token in quotes; when it expires, in seconds since 1970. */
int64_t auth_put_access_token(struct strbuf *body, const struct intake *intake, int64_t account_id);

/* Copies with ASCII letters in lower case; others are told apart (account.h). */
struct slice auth_lower(char *memory, struct slice text);

/* Whose access token the request bears. False: none that is good, and the request has been answered. */
MUST_CHECK bool auth_check(struct intake *intake, struct http_request *request, int64_t *account_id);

http_handler auth_register_post;
http_handler auth_login_post;
http_handler auth_refresh_post;

/* --- intake_reads.c --- */

http_handler intake_list_get;
http_handler intake_order_get;
http_handler intake_order_delete;

#endif
