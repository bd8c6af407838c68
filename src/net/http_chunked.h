/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins a chunked body (RFC 9112 section 7.1), strictly: sizes are plain hex digits followed by CRLF or by a
 * chunk extension, every line ends in CRLF, control characters are refused, and extensions and trailers,
 * which are read past, are bounded. Incremental, in place, no memory, any thread.
 */
#ifndef DOORBUSTER_NET_HTTP_CHUNKED_H
#define DOORBUSTER_NET_HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

enum http_chunked_status {
    HTTP_CHUNKED_MORE, /* all bytes were taken, and more are needed */
    HTTP_CHUNKED_DONE, /* the body is complete; what follows belongs to the next request */
    HTTP_CHUNKED_MALFORMED,
    HTTP_CHUNKED_TOO_LARGE /* the body would exceed its bound */
};

enum { HTTP_CHUNKED_EXTRA_MAX = 8192 }; /* bytes of extensions and trailers in one body */

/* Starts as zero for each body. */
struct http_chunked {
    uint64_t chunk_left; /* bytes of this chunk still to come */
    uint32_t extra;      /* bytes of extensions and trailers so far */
    uint8_t digit_count;
    uint8_t step;
};

/*
 * Reads up to `len` bytes at `from` and appends the body's bytes at `to`, which lies at or before `from` in
 * the same buffer and already holds *body_len bytes of the body. *taken becomes the number of bytes read.
 */
enum http_chunked_status http_chunked_feed(struct http_chunked *chunked, char *to, size_t *body_len,
    size_t body_len_max, const char *from, size_t len, size_t *taken);

#endif
