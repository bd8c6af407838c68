/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_query.h"

/* The value of a hex digit, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool needs_decoding(struct slice text, bool is_form)
{
    if (text.len == 0)
        return false;
    return memchr(text.base, '%', text.len) != NULL || (is_form && memchr(text.base, '+', text.len) != NULL);
}

bool http_percent_decode(struct arena *arena, struct slice text, bool is_form, struct slice *decoded)
{
    *decoded = text;
    if (!needs_decoding(text, is_form))
        return true;
    *decoded = arena_copy(arena, text);
    if (arena->has_overflowed)
        return false;
    char *out = (char *)decoded->base; /* our own copy; decoding only ever makes it shorter */
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.base[i];
        if (c == '%') {
            int high = text.len - i > 2 ? hex_value(text.base[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_value(text.base[i + 2]);
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && is_form) {
            c = ' ';
        }
        out[len++] = c;
    }
    decoded->len = len;
    return true;
}

bool http_query_next(
    struct arena *arena, struct slice *query, struct slice *name, struct slice *value, bool *is_malformed)
{
    while (query->len > 0) {
        struct slice piece = slice_split(*query, '&', query);
        if (piece.len == 0)
            continue;
        struct slice raw_name = slice_split(piece, '=', value);
        struct slice raw_value = *value;
        if (!http_percent_decode(arena, raw_name, true, name))
            *is_malformed = true;
        if (!http_percent_decode(arena, raw_value, true, value))
            *is_malformed = true;
        return true;
    }
    return false;
}
