/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals in the format of RFC 9457 (application/problem+json), for faces whose contract has no envelope:
 * {"type":"about:blank","title":"Unprocessable Content","status":422,"detail":...}. Net threads.
 */
#ifndef DOORBUSTER_API_PROBLEM_H
#define DOORBUSTER_API_PROBLEM_H

#include "net/http_server.h"

/* `detail` is a sentence for people: what is wrong, what was expected, what to do. `extra` are header lines
 * as in http_reply. */
void reply_problem(struct http_request *request, int status, struct slice detail, struct slice extra);

/* 503 with Retry-After: whole seconds, at least one. */
void reply_problem_later(struct http_request *request, struct slice detail, int64_t retry_after_ms);

/* 405 with Allow; `allow` names the methods as that header lists them. */
void reply_problem_method(struct http_request *request, struct slice allow);

#endif
