/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one HTTP/1.x reply (RFC 9112) out of a growing buffer, for clients. Incremental: bytes may arrive in
 * any pieces, and the buffer may move between two calls, because only offsets are kept. Strict where a lie
 * could be mistaken for an answer: bare LF, blanks before a colon, two lengths that differ, a length beside
 * chunked, and chunked nonsense are malformed. No memory is allocated. One thread at a time.
 */
#ifndef DOORBUSTER_NET_HTTP_RESPONSE_H
#define DOORBUSTER_NET_HTTP_RESPONSE_H

#include "base/slice.h"

enum http_response_state {
    HTTP_RESPONSE_PARTIAL, /* needs more bytes */
    HTTP_RESPONSE_DONE,
    HTTP_RESPONSE_MALFORMED /* no reply to a client that asked properly; the connection is of no more use */
};

enum http_framing { HTTP_FRAMING_NONE, HTTP_FRAMING_LENGTH, HTTP_FRAMING_CHUNKED, HTTP_FRAMING_CLOSE };

enum { HTTP_RESPONSE_HEAD_MAX = 16384 }; /* bytes; a longer head is malformed */

struct http_response {
    /* Good once the state is DONE; the slices point into the buffer. */
    int status;                /* 200 to 599; interim replies (1xx) are skipped */
    bool is_keepalive;         /* the server keeps the connection open */
    struct slice content_type; /* empty when there was none */
    struct slice retry_after;  /* the same */
    struct slice body;         /* joined when it was chunked */
    size_t consumed;           /* bytes of the buffer that belong to this reply */

    /* The parser's own. */
    enum http_framing framing;
    bool is_head_done;
    bool is_http_1_0;
    bool has_length;
    size_t start;   /* where the reply's head begins: after interim replies */
    size_t scanned; /* up to here there is no end of the head */
    size_t body_at;
    size_t length;  /* of the body, as the head says or as joined so far */
    size_t read_at; /* chunked: next byte to look at */
    size_t chunk_left;
    int chunk_step;
    size_t content_type_at;
    size_t content_type_len;
    size_t retry_after_at;
    size_t retry_after_len;
};

void http_response_init(struct http_response *response);

/*
 * Looks at all `len` bytes received so far; `base` holds what it held at the last call and more. Chunked
 * bodies are joined in place. is_eof: the server has closed, no more bytes will come; PARTIAL then means that
 * the reply was cut off. After DONE or MALFORMED the response must be initialised again.
 */
enum http_response_state http_response_feed(
    struct http_response *response, char *base, size_t len, bool is_eof);

#endif
