/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a request's body by its content type, with the answers that the flash-sale contract gives (section
 * 9). Net threads.
 */
#ifndef DOORBUSTER_API_REQUEST_BODY_H
#define DOORBUSTER_API_REQUEST_BODY_H

#include "net/http_server.h"
#include "net/json.h"

enum body_kind {
    BODY_NONE, /* nothing was sent */
    BODY_JSON,
    BODY_FORM,         /* application/x-www-form-urlencoded */
    BODY_TEXT,         /* text/plain, which no route can use */
    BODY_OUT_OF_RANGE, /* JSON with a number too large for anything */
};

struct request_body {
    enum body_kind kind;
    struct json *json; /* BODY_JSON: request_body_fini frees it */
    struct slice form; /* BODY_FORM: borrowed from the request */
};

/*
 * False: the request has been answered (400 not JSON, 400 empty JSON, 415) and is gone. `is_body_optional` is
 * for DELETE, where a content type without a body length means no body.
 */
MUST_CHECK bool request_body_read(
    struct http_request *request, bool is_body_optional, struct request_body *body);

void request_body_fini(struct request_body *body);

#endif
