/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decimals kept exactly: an int64 of 10^-scale, such as 1500000 for 1.5 at scale 6. Read from and written as
 * the text of a JSON number (RFC 8259, section 6), so that no amount ever passes through floating point
 * (intake contract, "Numbers are decimals"). Arithmetic is checked. Any thread.
 */
#ifndef DOORBUSTER_CORE_DECIMAL_H
#define DOORBUSTER_CORE_DECIMAL_H

#include "base/strbuf.h"

enum {
    DECIMAL_SCALE_MAX = 9,
    DECIMAL_SCALE_CENTS = 2,
    DECIMAL_SCALE_MICRO = 6, /* the intake's quantities and prices */
    DECIMAL_LEN_MAX = 21     /* "-9223372036854.775808" */
};

enum decimal_status {
    DECIMAL_OK,
    DECIMAL_MALFORMED,   /* no JSON number; blanks around it are not part of one */
    DECIMAL_TOO_PRECISE, /* has a digit other than 0 beyond the scale */
    DECIMAL_OUT_OF_RANGE /* no int64 of 10^-scale is that large */
};

/*
 * Reads the text of a JSON number: "150", "150.0", "1.5e2" and "0.15E+3" are the same. Zeros beyond the scale
 * do not matter, nor do exponents of any length. *value is written only when OK; the scale is 0 to
 * DECIMAL_SCALE_MAX.
 */
enum decimal_status decimal_parse(struct slice text, int scale, int64_t *value);

/* The shortest text without exponent: "150", "0.1", "-0.5", "0". Returns its length; no NUL. */
size_t decimal_format(int64_t value, int scale, char text[DECIMAL_LEN_MAX]);

/* Appends that. */
void decimal_put(struct strbuf *buf, int64_t value, int scale);

/* quantity * price, exactly and at the scale of the price. False when no int64 holds it; nothing is written.
 */
bool decimal_multiply(int64_t quantity, int64_t price, int64_t *product);

/* a + b at their common scale. False when no int64 holds it; nothing is written. */
bool decimal_add(int64_t a, int64_t b, int64_t *sum);

/*
 * The same number at another scale. Digits that have no place are rounded, half away from zero: 0.125 becomes
 * 0.13, -0.125 becomes -0.13. False when the result is too large; nothing is written then.
 */
bool decimal_rescale(int64_t value, int from_scale, int to_scale, int64_t *rescaled);

#endif
