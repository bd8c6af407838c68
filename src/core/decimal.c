/* SPDX-License-Identifier: Apache-2.0 */
#include "core/decimal.h"

#include "base/ensure.h"

enum {
    INT64_DIGITS = 19,
    EXPONENT_MAX = 1000000000, /* beyond any text there is; larger ones count as this */
};

/* What the grammar finds: sign, digits with a point somewhere in them, exponent. */
struct number {
    bool is_negative;
    struct slice whole;
    struct slice fraction;
    int64_t exponent;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take_char(struct slice *rest, char c)
{
    if (rest->len == 0 || rest->base[0] != c)
        return false;
    rest->base++;
    rest->len--;
    return true;
}

/* All digits at the front, perhaps none. */
static struct slice take_digits(struct slice *rest)
{
    size_t len = 0;
    while (len < rest->len && is_digit(rest->base[len]))
        len++;
    struct slice digits = slice_make(rest->base, len);
    rest->base += len;
    rest->len -= len;
    return digits;
}

static bool take_exponent(struct slice *rest, int64_t *exponent)
{
    *exponent = 0;
    if (!take_char(rest, 'e') && !take_char(rest, 'E'))
        return true;
    bool is_negative = take_char(rest, '-');
    if (!is_negative)
        (void)take_char(rest, '+');
    struct slice digits = take_digits(rest);
    for (size_t i = 0; i < digits.len; i++) {
        *exponent = *exponent * 10 + (digits.base[i] - '0');
        if (*exponent > EXPONENT_MAX)
            *exponent = EXPONENT_MAX;
    }
    if (is_negative)
        *exponent = -*exponent;
    return digits.len > 0;
}

static bool take_number(struct slice text, struct number *number)
{
    struct slice rest = text;
    *number = (struct number){.is_negative = take_char(&rest, '-')};
    number->whole = take_digits(&rest);
    if (number->whole.len == 0 || (number->whole.len > 1 && number->whole.base[0] == '0'))
        return false;
    if (take_char(&rest, '.')) {
        number->fraction = take_digits(&rest);
        if (number->fraction.len == 0)
            return false;
    }
    return take_exponent(&rest, &number->exponent) && rest.len == 0;
}

/* Digit `index` of whole and fraction in one row. */
static int digit_at(const struct number *number, size_t index)
{
    size_t whole_len = number->whole.len;
    return (index < whole_len ? number->whole.base[index] : number->fraction.base[index - whole_len]) - '0';
}

/* Adds one digit; below zero, since that side of int64 reaches one further. */
static bool append_digit(int64_t *negative, int digit)
{
    return !__builtin_mul_overflow(*negative, 10, negative) &&
           !__builtin_sub_overflow(*negative, digit, negative);
}

enum decimal_status decimal_parse(struct slice text, int scale, int64_t *value)
{
    struct number number;
    ENSURE(scale >= 0 && scale <= DECIMAL_SCALE_MAX);
    if (!take_number(text, &number))
        return DECIMAL_MALFORMED;
    size_t first = 0;
    size_t end = number.whole.len + number.fraction.len;
    int64_t zeros = number.exponent + scale - (int64_t)number.fraction.len; /* to append to all digits */
    while (end > 0 && digit_at(&number, end - 1) == 0) {
        end--;
        zeros++;
    }
    while (first < end && digit_at(&number, first) == 0)
        first++;
    if (first < end && zeros < 0)
        return DECIMAL_TOO_PRECISE;
    if (first < end && (zeros > INT64_DIGITS || end - first > INT64_DIGITS))
        return DECIMAL_OUT_OF_RANGE;
    int64_t negative = 0;
    for (size_t i = first; i < end; i++) {
        if (!append_digit(&negative, digit_at(&number, i)))
            return DECIMAL_OUT_OF_RANGE;
    }
    for (int64_t i = 0; first < end && i < zeros; i++) {
        if (!append_digit(&negative, 0))
            return DECIMAL_OUT_OF_RANGE;
    }
    if (!number.is_negative && negative == INT64_MIN)
        return DECIMAL_OUT_OF_RANGE;
    *value = number.is_negative ? negative : -negative;
    return DECIMAL_OK;
}

size_t decimal_format(int64_t value, int scale, char text[DECIMAL_LEN_MAX])
{
    char reversed[DECIMAL_LEN_MAX];
    size_t len = 0;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    int places = scale; /* still to write behind the point */
    ENSURE(scale >= 0 && scale <= DECIMAL_SCALE_MAX);
    while (places > 0 && rest % 10 == 0) {
        rest /= 10;
        places--;
    }
    bool has_point = places > 0;
    do {
        if (has_point && places-- == 0)
            reversed[len++] = '.';
        reversed[len++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0 || (has_point && places >= 0));
    if (value < 0)
        reversed[len++] = '-';
    for (size_t i = 0; i < len; i++)
        text[i] = reversed[len - 1 - i];
    return len;
}

void decimal_put(struct strbuf *buf, int64_t value, int scale)
{
    char text[DECIMAL_LEN_MAX];
    strbuf_put(buf, slice_make(text, decimal_format(value, scale, text)));
}

bool decimal_multiply(int64_t quantity, int64_t price, int64_t *product)
{
    int64_t result;
    if (__builtin_mul_overflow(quantity, price, &result))
        return false;
    *product = result;
    return true;
}

bool decimal_add(int64_t a, int64_t b, int64_t *sum)
{
    int64_t result;
    if (__builtin_add_overflow(a, b, &result))
        return false;
    *sum = result;
    return true;
}

static int64_t power_of_ten(int exponent)
{
    int64_t power = 1;
    for (int i = 0; i < exponent; i++)
        power *= 10;
    return power;
}

bool decimal_rescale(int64_t value, int from_scale, int to_scale, int64_t *rescaled)
{
    ENSURE(from_scale >= 0 && from_scale <= DECIMAL_SCALE_MAX);
    ENSURE(to_scale >= 0 && to_scale <= DECIMAL_SCALE_MAX);
    if (to_scale >= from_scale)
        return decimal_multiply(power_of_ten(to_scale - from_scale), value, rescaled);
    int64_t unit = power_of_ten(from_scale - to_scale);
    int64_t rest = value % unit; /* has the sign of value */
    int64_t half = unit / 2;     /* unit is even */
    int64_t away = rest >= half ? 1 : rest <= -half ? -1 : 0;
    *rescaled = value / unit + away;
    return true;
}
