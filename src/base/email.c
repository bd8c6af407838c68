/* SPDX-License-Identifier: Apache-2.0 */
#include "base/email.h"

enum { LOCAL_LEN_MAX = 64, LABEL_LEN_MAX = 63 }; /* RFC 5321, 4.5.3.1.1; RFC 1034, 3.1 */

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_local(struct slice text)
{
    static const char signs[] = ".!#$%&'*+/=?^_`{|}~-";
    for (size_t i = 0; i < text.len; i++) {
        char c = text.base[i];
        if (!is_alphanumeric(c) && memchr(signs, c, sizeof signs - 1) == NULL)
            return false;
    }
    return text.len >= 1 && text.len <= LOCAL_LEN_MAX;
}

static bool is_label(struct slice text)
{
    if (text.len < 1 || text.len > LABEL_LEN_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        bool is_inside = i > 0 && i < text.len - 1;
        if (!is_alphanumeric(text.base[i]) && !(is_inside && text.base[i] == '-'))
            return false;
    }
    return true;
}

bool email_is_valid(struct slice text)
{
    struct slice domain;
    struct slice local = slice_split(text, '@', &domain);
    if (text.len > EMAIL_LEN_MAX || !is_local(local))
        return false;
    bool is_last;
    do {
        is_last = memchr(domain.base, '.', domain.len) == NULL;
        if (!is_label(slice_split(domain, '.', &domain)))
            return false;
    } while (!is_last);
    return true;
}
