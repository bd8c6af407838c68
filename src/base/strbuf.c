/* SPDX-License-Identifier: Apache-2.0 */
#include "base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

enum { HEAP_SIZE_FIRST = 1024 };

void strbuf_init(struct strbuf *buf, void *base, size_t size)
{
    *buf = (struct strbuf){.base = base, .size = size, .size_max = size};
}

void strbuf_init_heap(struct strbuf *buf, size_t size_max)
{
    *buf = (struct strbuf){.size_max = size_max, .is_heap = true};
}

void strbuf_fini(struct strbuf *buf)
{
    if (buf->is_heap)
        free(buf->base);
    *buf = (struct strbuf){0};
}

void strbuf_reset(struct strbuf *buf)
{
    buf->len = 0;
    buf->has_overflowed = false;
}

/* Makes room for `more` bytes; false, and overflowed, when the bound or the memory does not allow it. */
static bool make_room(struct strbuf *buf, size_t more)
{
    if (buf->has_overflowed)
        return false;
    if (more <= buf->size - buf->len)
        return true;
    if (!buf->is_heap || more > buf->size_max - buf->len) {
        buf->has_overflowed = true;
        return false;
    }
    size_t size = buf->size == 0 ? HEAP_SIZE_FIRST : buf->size;
    while (size < buf->len + more)
        size *= 2;
    if (size > buf->size_max)
        size = buf->size_max;
    char *base = realloc(buf->base, size);
    if (base == NULL) {
        buf->has_overflowed = true;
        return false;
    }
    buf->base = base;
    buf->size = size;
    return true;
}

void strbuf_put(struct strbuf *buf, struct slice text)
{
    if (text.len == 0 || !make_room(buf, text.len))
        return;
    memcpy(buf->base + buf->len, text.base, text.len);
    buf->len += text.len;
}

void strbuf_put_char(struct strbuf *buf, char c)
{
    strbuf_put(buf, slice_make(&c, 1));
}

void strbuf_put_i64(struct strbuf *buf, int64_t value)
{
    char digits[20]; /* "-9223372036854775808" */
    char *end = digits + sizeof digits;
    char *at = end;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *--at = '-';
    strbuf_put(buf, slice_make(at, (size_t)(end - at)));
}

void strbuf_printf(struct strbuf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    /* vsnprintf wants room for its NUL, which is not counted as written. */
    if (len >= 0 && make_room(buf, (size_t)len + 1)) {
        (void)vsnprintf(buf->base + buf->len, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

static void put_json_byte(struct strbuf *buf, unsigned char c)
{
    switch (c) {
    case '"':
        strbuf_lit(buf, "\\\"");
        break;
    case '\\':
        strbuf_lit(buf, "\\\\");
        break;
    case '\n':
        strbuf_lit(buf, "\\n");
        break;
    case '\r':
        strbuf_lit(buf, "\\r");
        break;
    case '\t':
        strbuf_lit(buf, "\\t");
        break;
    case '\b':
        strbuf_lit(buf, "\\b");
        break;
    case '\f':
        strbuf_lit(buf, "\\f");
        break;
    default:
        strbuf_printf(buf, "\\u%04x", c);
    }
}

void strbuf_put_json(struct strbuf *buf, struct slice text)
{
    if (text.len == 0) { /* it may have no base to reckon with */
        strbuf_lit(buf, "\"\"");
        return;
    }
    strbuf_put_char(buf, '"');
    size_t plain = 0; /* start of the run that needs no escape */
    size_t i = 0;
    while (i < text.len) {
        unsigned char c = (unsigned char)text.base[i];
        size_t width = c < 0x80 ? 1 : utf8_char_len(slice_make(text.base + i, text.len - i));
        bool is_plain = width > 1 || (width == 1 && c >= 0x20 && c != '"' && c != '\\');
        if (is_plain) {
            i += width;
            continue;
        }
        strbuf_put(buf, slice_make(text.base + plain, i - plain));
        if (c < 0x80) {
            put_json_byte(buf, c);
        } else {
            char latin1[2] = {(char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F))};
            strbuf_put(buf, slice_make(latin1, sizeof latin1));
        }
        plain = ++i;
    }
    strbuf_put(buf, slice_make(text.base + plain, text.len - plain));
    strbuf_put_char(buf, '"');
}
