/* SPDX-License-Identifier: Apache-2.0 */
#include "api/prefer.h"

/* The length of the text up to the next separator that does not stand within quotes. */
static size_t piece_len(struct slice text, char separator)
{
    bool is_quoted = false;
    size_t i = 0;
    for (; i < text.len; i++) {
        if (text.base[i] == '"')
            is_quoted = !is_quoted;
        else if (is_quoted && text.base[i] == '\\')
            i++;
        else if (!is_quoted && text.base[i] == separator)
            break;
    }
    return i < text.len ? i : text.len;
}

/* "4" or, as a quoted string, "\"4\"". */
static int64_t seconds_of(struct slice text, int64_t otherwise_s)
{
    int64_t seconds = 0;
    if (text.len >= 2 && text.base[0] == '"' && text.base[text.len - 1] == '"')
        text = slice_make(text.base + 1, text.len - 2);
    if (text.len == 0)
        return otherwise_s;
    for (size_t i = 0; i < text.len; i++) {
        if (text.base[i] < '0' || text.base[i] > '9')
            return otherwise_s;
        if (__builtin_mul_overflow(seconds, 10, &seconds) ||
            __builtin_add_overflow(seconds, text.base[i] - '0', &seconds))
            seconds = INT64_MAX;
    }
    return seconds;
}

/* True when there is a wait in this header, the first of which counts. */
static bool find_wait(struct slice list, int64_t otherwise_s, int64_t *seconds)
{
    while (list.len > 0) {
        size_t len = piece_len(list, ',');
        struct slice preference = slice_make(list.base, len);
        list = len < list.len ? slice_make(list.base + len + 1, list.len - len - 1) : slice_make("", 0);
        struct slice pair = slice_make(preference.base, piece_len(preference, ';'));
        struct slice value = slice_make("", 0);
        struct slice name = slice_trim(slice_split(pair, '=', &value));
        if (!slice_eq_nocase(name, SLICE("wait")))
            continue;
        *seconds = seconds_of(slice_trim(value), otherwise_s);
        return true;
    }
    return false;
}

int64_t prefer_wait_s(const struct http_request *request, int64_t otherwise_s)
{
    int64_t seconds = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (slice_eq_nocase(header->name, SLICE("prefer")) && find_wait(header->value, otherwise_s, &seconds))
            return seconds;
    }
    return otherwise_s;
}
