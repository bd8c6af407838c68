/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text being written: appends into memory of fixed size, or into heap memory that grows up to a stated bound.
 * Overflow is sticky and checked once at the end (`has_overflowed`); after it the content is cut, never wild.
 * One thread at a time.
 */
#ifndef DOORBUSTER_BASE_STRBUF_H
#define DOORBUSTER_BASE_STRBUF_H

#include "base/slice.h"

struct strbuf {
    char *base;
    size_t len;      /* bytes written */
    size_t size;     /* bytes available at base */
    size_t size_max; /* heap: may grow to this; fixed: equal to size */
    bool is_heap;
    bool has_overflowed;
};

/* Writes into the caller's memory. */
void strbuf_init(struct strbuf *buf, void *base, size_t size);

/* Grows on the heap as needed up to size_max bytes; strbuf_fini gives the memory back. */
void strbuf_init_heap(struct strbuf *buf, size_t size_max);
void strbuf_fini(struct strbuf *buf);

void strbuf_reset(struct strbuf *buf);

void strbuf_put(struct strbuf *buf, struct slice text);
void strbuf_put_char(struct strbuf *buf, char c);
void strbuf_put_i64(struct strbuf *buf, int64_t value);
void strbuf_printf(struct strbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The text as a JSON string with its quotes (RFC 8259 section 7). Bytes that are not valid UTF-8 are taken as
 * ISO 8859-1, so that the result is always valid JSON. */
void strbuf_put_json(struct strbuf *buf, struct slice text);

static inline struct slice strbuf_slice(const struct strbuf *buf)
{
    return slice_make(buf->base, buf->len);
}

/* Appends a string literal. */
#define strbuf_lit(buf, literal) strbuf_put((buf), SLICE(literal))

#endif
