/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON envelope of the faces that speak it (flash-sale contract, sections 1 and 9):
 * {"success":true,"data":...} and {"success":false,"error":{"code":...,"message":...}}. Net threads.
 */
#ifndef DOORBUSTER_API_ENVELOPE_H
#define DOORBUSTER_API_ENVELOPE_H

#include "base/strbuf.h"
#include "core/result.h"
#include "net/http_server.h"

extern const struct slice CONTENT_TYPE_JSON; /* application/json; charset=utf-8 */

enum { REPLY_BODY_MAX = 8192 }; /* bytes; the longest texts are a product name and a raw path */

/* Appends {"success":false,"error":{"code":CODE,"message":MESSAGE}}. */
void envelope_error(struct strbuf *body, struct slice code, struct slice message);

/* For struct http_config: every error that the net layer makes itself, as HTTP_ERROR. */
void envelope_render_http_error(
    int status, const char *message, const struct http_request *request, struct strbuf *body);

/* For struct http_config: 404 `Cannot GET /path?query`. */
void envelope_not_found(struct http_request *request, void *context);

/* Answers with an error envelope. */
void reply_error(struct http_request *request, int status, struct slice code, struct slice message);

/* As reply_error, with fields:{NAME:TEXT} in the error. */
void reply_field_error(
    struct http_request *request, struct slice message, struct slice field, struct slice text);

/* 400 HTTP_ERROR "Bad Request Exception": the one answer to every failed validation of a body or query. */
void reply_bad_request(struct http_request *request);

/* The envelope of a result with its own status, code and text; `retry_after_s` > 0 adds Retry-After. */
void reply_result(struct http_request *request, enum result result, int retry_after_s);

/* Answers with a JSON body; 500 when the body overflowed. */
void reply_json(struct http_request *request, int status, struct slice extra, const struct strbuf *body);

/* "name":"2026-11-20T23:48:01.620Z" */
void put_iso_member(struct strbuf *body, struct slice name, int64_t wall_ms);

#endif
