/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the flash-sale face share: flash_sale.c (buyers) and flash_sale_admin.c (products).
 */
#ifndef DOORBUSTER_API_FLASH_SALE_PRIV_H
#define DOORBUSTER_API_FLASH_SALE_PRIV_H

#include "api/request_body.h"
#include "api/net_thread.h"

/* A command on its way, with the request that waits for it. Lives in the request's arena. */
struct face_call {
    struct engine_call call;
    struct http_request *request;
    struct net_thread *thread;
    struct request_body body; /* holds the texts of the command; freed after the answer */
};

/* ^[A-Za-z0-9-]{1,64}$ */
bool is_sku(struct slice text);

enum { HEADER_TEXT_LEN_MAX = 255 }; /* bytes on the wire of a user or a key */

/*
 * The text of a header, at most HEADER_TEXT_LEN_MAX long, as UTF-8: bytes that are none are ISO 8859-1, as
 * the original read them. A copy of those is in the arena, which overflows when it is full.
 */
struct slice header_to_utf8(struct arena *arena, struct slice text);

/* In the request's arena; NULL when that is full, and then the request has been answered with 500. */
struct face_call *face_call_create(struct http_request *request, struct net_thread *thread,
    enum command_kind kind, void (*on_done)(struct engine_call *call));

/* Sends the command to the line; when it is refused at the door the request is answered at once. */
void face_call_push(struct face_call *face_call);

/* Frees the body. */
void face_call_fini(struct face_call *face_call);

/*
 * Fills command.idempotency from the request's Idempotency-Key, if it has one; its scope is `kind` and
 * `owner` joined. False: the request has been answered and is gone; the call is finished.
 */
MUST_CHECK bool face_call_read_key(struct face_call *face_call, struct slice kind, struct slice owner);

/* "PUR-YYYYMMDD-NNNN", at least four digits. */
void put_purchase_no(struct strbuf *body, int64_t purchase_id, int64_t purchased_ms);

http_handler products_post;
http_handler products_get;
http_handler products_put;
http_handler products_patch;
http_handler products_delete;

#endif
