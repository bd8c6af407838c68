/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals as the intake's clients know them (intake contract): {"detail":"..."}, and for what is wrong with
 * what was sent, 422 with all of it at once:
 * {"detail":[{"type":...,"loc":["body","price"],"msg":...,"input":...}]}. Net threads.
 */
#ifndef DOORBUSTER_API_DETAIL_H
#define DOORBUSTER_API_DETAIL_H

#include "base/strbuf.h"
#include "net/http_server.h"

extern const struct slice DETAIL_TYPE; /* application/json */

/* {"detail":TEXT}. `extra` are header lines as in http_reply. */
void reply_detail(struct http_request *request, int status, struct slice text, struct slice extra);

/* 401 with the scheme that is asked for. */
void reply_detail_unauthorized(struct http_request *request, struct slice text);

/* 503 with Retry-After: whole seconds, at least one. */
void reply_detail_later(struct http_request *request, struct slice text, int64_t retry_after_ms);

/* 405; `allow` names the methods as the header lists them. */
void reply_detail_method(struct http_request *request, struct slice allow);

/* A body that was made on the heap; 503 when it has overflowed. */
void reply_made(struct http_request *request, int status, struct slice extra, const struct strbuf *body);

/* What is wrong with a request, gathered. */
struct complaints {
    struct strbuf text;
    size_t count;
};

void complaints_init(struct complaints *complaints);
void complaints_fini(struct complaints *complaints);

/*
 * One more: `type` and `msg` as pydantic 2 has them; the place is `where` ("body", "query"), and in it
 * `field` when that is not empty. `input` is the JSON text of what was sent: longer ones than INPUT_LEN_MAX,
 * and the empty one, are told as null.
 */
enum { INPUT_LEN_MAX = 1024 /* bytes */ };
void complaints_add(struct complaints *complaints, const char *where, struct slice field, const char *type,
    struct slice msg, struct slice input);

/* 422 with all of them. Finishes them. */
void reply_complaints(struct http_request *request, struct complaints *complaints);

#endif
