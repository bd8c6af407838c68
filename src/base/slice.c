/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slice.h"

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

int slice_compare(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.base, b.base, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower(a.base[i]) != ascii_lower(b.base[i]))
            return false;
    }
    return true;
}

bool slice_starts_with(struct slice text, struct slice prefix)
{
    return text.len >= prefix.len && slice_eq(slice_make(text.base, prefix.len), prefix);
}

struct slice slice_trim(struct slice text)
{
    while (text.len > 0 && is_blank(text.base[0])) {
        text.base++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.base[text.len - 1]))
        text.len--;
    return text;
}

struct slice slice_split(struct slice text, char separator, struct slice *rest)
{
    if (text.len == 0) { /* it may have no base to reckon with */
        *rest = text;
        return text;
    }
    const char *at = memchr(text.base, separator, text.len);
    if (at == NULL) {
        *rest = slice_make(text.base + text.len, 0);
        return text;
    }
    size_t head = (size_t)(at - text.base);
    *rest = slice_make(at + 1, text.len - head - 1);
    return slice_make(text.base, head);
}

bool slice_to_i64(struct slice text, int64_t *value)
{
    bool is_negative = text.len > 0 && text.base[0] == '-';
    size_t i = is_negative ? 1 : 0;
    int64_t sum = 0;
    if (i == text.len)
        return false;
    for (; i < text.len; i++) {
        int digit = text.base[i] - '0';
        if (digit < 0 || digit > 9)
            return false;
        /* Counted downwards, because INT64_MIN has no positive twin. */
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_sub_overflow(sum, digit, &sum))
            return false;
    }
    if (!is_negative && sum == INT64_MIN)
        return false;
    *value = is_negative ? sum : -sum;
    return true;
}
