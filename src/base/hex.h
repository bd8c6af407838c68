/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as hexadecimal digits: written in lower case, read in both. Any thread; nothing here allocates or
 * blocks.
 */
#ifndef DOORBUSTER_BASE_HEX_H
#define DOORBUSTER_BASE_HEX_H

#include "base/err.h"
#include "base/slice.h"
#include "base/strbuf.h"

/* 0 to 15; -1 when it is no digit. */
static inline int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The digit of the lowest four bits. */
static inline char hex_digit(uint64_t value)
{
    return "0123456789abcdef"[value & 15];
}

/* 2 * `size` digits; false when it is anything else, and `bytes` may be changed then. */
MUST_CHECK bool hex_read(struct slice text, unsigned char *bytes, size_t size);

/* Appends 2 * `size` digits. */
void hex_put(struct strbuf *text, const unsigned char *bytes, size_t size);

#endif
