/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_chunked.h"

#include <stdbool.h>
#include <string.h>

enum step {
    STEP_SIZE,      /* hex digits */
    STEP_EXTENSION, /* after ';' */
    STEP_SIZE_LF,
    STEP_DATA,
    STEP_DATA_CR,
    STEP_DATA_LF,
    STEP_TRAILER_START, /* a name or the last CRLF */
    STEP_TRAILER_NAME,
    STEP_TRAILER_VALUE,
    STEP_TRAILER_LF,
    STEP_LAST_LF,
    STEP_DONE
};

enum { DIGITS_MAX = 16 }; /* of a size, leading zeros included; more would not fit 64 bits */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool is_text(char c)
{
    return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7F);
}

/* A visible character that can stand in a trailer's name; the ones that cannot are only refused roughly,
 * since nobody reads the name. */
static bool is_name(char c)
{
    return c > ' ' && c < 0x7F && c != ':' && c != '"' && c != '(' && c != ')' && c != ',';
}

static bool expect(struct http_chunked *chunked, bool is_as_expected, enum step next)
{
    chunked->step = (uint8_t)next;
    return is_as_expected;
}

static bool take_size(struct http_chunked *chunked, char c)
{
    int digit = hex_value(c);
    if (digit >= 0) {
        chunked->chunk_left = chunked->chunk_left << 4 | (unsigned)digit;
        return ++chunked->digit_count <= DIGITS_MAX;
    }
    if (chunked->digit_count == 0)
        return false;
    return expect(chunked, c == '\r' || c == ';', c == ';' ? STEP_EXTENSION : STEP_SIZE_LF);
}

/* One byte that is not of the body. False when it must not stand here. */
static bool take_byte(struct http_chunked *chunked, char c)
{
    switch ((enum step)chunked->step) {
    case STEP_SIZE:
        return take_size(chunked, c);
    case STEP_EXTENSION:
        chunked->extra++;
        return c == '\r' ? expect(chunked, true, STEP_SIZE_LF) : is_text(c);
    case STEP_SIZE_LF:
        return expect(chunked, c == '\n', chunked->chunk_left == 0 ? STEP_TRAILER_START : STEP_DATA);
    case STEP_DATA_CR:
        return expect(chunked, c == '\r', STEP_DATA_LF);
    case STEP_DATA_LF:
        chunked->digit_count = 0;
        return expect(chunked, c == '\n', STEP_SIZE);
    case STEP_TRAILER_START:
        chunked->extra++;
        return c == '\r' ? expect(chunked, true, STEP_LAST_LF)
                         : expect(chunked, is_name(c), STEP_TRAILER_NAME);
    case STEP_TRAILER_NAME:
        chunked->extra++;
        return c == ':' ? expect(chunked, true, STEP_TRAILER_VALUE) : is_name(c);
    case STEP_TRAILER_VALUE:
        chunked->extra++;
        return c == '\r' ? expect(chunked, true, STEP_TRAILER_LF) : is_text(c);
    case STEP_TRAILER_LF:
        return expect(chunked, c == '\n', STEP_TRAILER_START);
    case STEP_LAST_LF:
        return expect(chunked, c == '\n', STEP_DONE);
    case STEP_DATA:
    case STEP_DONE:
        break;
    }
    return false;
}

enum http_chunked_status http_chunked_feed(struct http_chunked *chunked, char *to, size_t *body_len,
    size_t body_len_max, const char *from, size_t len, size_t *taken)
{
    size_t at = 0;
    enum http_chunked_status status = HTTP_CHUNKED_MORE;
    while (at < len && status == HTTP_CHUNKED_MORE) {
        if (chunked->step == STEP_DATA) {
            size_t piece = len - at < chunked->chunk_left ? len - at : (size_t)chunked->chunk_left;
            memmove(to + *body_len, from + at, piece);
            *body_len += piece;
            at += piece;
            chunked->chunk_left -= piece;
            if (chunked->chunk_left == 0)
                chunked->step = STEP_DATA_CR;
            continue;
        }
        if (!take_byte(chunked, from[at++]) || chunked->extra > HTTP_CHUNKED_EXTRA_MAX)
            status = HTTP_CHUNKED_MALFORMED;
        else if (chunked->step == STEP_DONE)
            status = HTTP_CHUNKED_DONE;
        else if (chunked->step == STEP_DATA && chunked->chunk_left > body_len_max - *body_len)
            status = HTTP_CHUNKED_TOO_LARGE;
    }
    *taken = at;
    return status;
}
