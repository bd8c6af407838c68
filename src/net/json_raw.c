/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `at` is always at most text.len, and each step either moves it on or ends the walk. Values are skipped by
 * counting brackets outside strings, so depth costs nothing.
 */
#include "net/json_raw.h"

struct walk {
    struct slice text;
    size_t at;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next byte that is no blank, or NUL at the end: no JSON text that was checked has a NUL in it. */
static char peek(struct walk *walk)
{
    while (walk->at < walk->text.len && is_blank(walk->text.base[walk->at]))
        walk->at++;
    return walk->at < walk->text.len ? walk->text.base[walk->at] : '\0';
}

static bool take(struct walk *walk, char c)
{
    if (c == '\0' || peek(walk) != c)
        return false;
    walk->at++;
    return true;
}

/* Behind the string that begins here. */
static void skip_string(struct walk *walk)
{
    const char *base = walk->text.base;
    size_t at = walk->at + 1;
    while (at < walk->text.len && base[at] != '"')
        at += base[at] == '\\' ? 2 : 1;
    walk->at = at < walk->text.len ? at + 1 : walk->text.len;
}

/* Behind the number or the word that begins here. */
static void skip_word(struct walk *walk)
{
    const char *base = walk->text.base;
    while (walk->at < walk->text.len && !is_blank(base[walk->at]) && base[walk->at] != ',' &&
           base[walk->at] != ']' && base[walk->at] != '}')
        walk->at++;
}

static void skip_brackets(struct walk *walk)
{
    size_t depth = 0;
    do {
        char c = peek(walk);
        if (c == '"') {
            skip_string(walk);
            continue;
        }
        if (c == '[' || c == '{')
            depth++;
        else if (c == ']' || c == '}')
            depth--;
        if (walk->at < walk->text.len)
            walk->at++;
    } while (depth > 0 && walk->at < walk->text.len);
}

/* False at the end of the text, and where no value can begin. */
static bool take_value(struct walk *walk, struct slice *raw)
{
    char c = peek(walk);
    size_t start = walk->at;
    if (c == '"')
        skip_string(walk);
    else if (c == '[' || c == '{')
        skip_brackets(walk);
    else
        skip_word(walk);
    *raw = slice_make(walk->text.base + start, walk->at - start);
    return raw->len > 0;
}

/* --- names --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

/* The four digits of \uXXXX. */
static uint32_t hex_unit(const char *digits)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++)
        unit = unit << 4 | (uint32_t)hex_value(digits[i]);
    return unit;
}

/* Writes the code point in UTF-8, returns its length. */
static size_t put_utf8(uint32_t point, char bytes[4])
{
    if (point < 0x80) {
        bytes[0] = (char)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len; i-- > 1; point >>= 6)
        bytes[i] = (char)(0x80 | (point & 0x3F));
    bytes[0] = (char)(marks[len] | point);
    return len;
}

/* The byte that \c stands for. */
static char plain_escape(char c)
{
    static const char names[] = "bfnrt";
    static const char bytes[] = "\b\f\n\r\t";
    const char *found = memchr(names, c, sizeof names - 1);
    return found == NULL ? c : bytes[found - names];
}

/* Reads one character of a string's inside and writes its bytes; *at moves behind it. Returns how many bytes;
 * 0 when the escape is cut. */
static size_t take_character(struct slice inside, size_t *at, char bytes[4])
{
    const char *from = inside.base + *at;
    size_t left = inside.len - *at;
    bytes[0] = from[0];
    if (from[0] != '\\') {
        *at += 1;
        return 1;
    }
    if (left < 2 || (from[1] == 'u' && left < 6))
        return 0;
    if (from[1] != 'u') {
        bytes[0] = plain_escape(from[1]);
        *at += 2;
        return 1;
    }
    uint32_t point = hex_unit(from + 2);
    *at += 6;
    if (point >= 0xD800 && point < 0xDC00 && left >= 12) {
        point = 0x10000 + ((point - 0xD800) << 10) + (hex_unit(from + 8) & 0x3FF);
        *at += 6;
    }
    return put_utf8(point, bytes);
}

/* `raw`: a string with its quotes. */
static bool is_name(struct slice raw, struct slice name)
{
    if (raw.len < 2)
        return false;
    struct slice inside = slice_make(raw.base + 1, raw.len - 2);
    if (memchr(inside.base, '\\', inside.len) == NULL)
        return slice_eq(inside, name);
    size_t matched = 0;
    for (size_t at = 0; at < inside.len;) {
        char bytes[4];
        size_t len = take_character(inside, &at, bytes);
        if (len == 0 || len > name.len - matched || memcmp(bytes, name.base + matched, len) != 0)
            return false;
        matched += len;
    }
    return matched == name.len;
}

/* --- objects and arrays --- */

bool json_raw_member(struct slice object, struct slice name, struct slice *raw)
{
    struct walk walk = {.text = object};
    bool is_found = false;
    if (!take(&walk, '{'))
        return false;
    do {
        struct slice key;
        struct slice value;
        if (peek(&walk) != '"' || !take_value(&walk, &key) || !take(&walk, ':') || !take_value(&walk, &value))
            break;
        if (is_name(key, name)) {
            *raw = value;
            is_found = true;
        }
    } while (take(&walk, ','));
    return is_found;
}

bool json_raw_next_item(struct slice array, size_t *cursor, struct slice *raw)
{
    struct walk walk = {.text = array, .at = *cursor};
    if (!take(&walk, *cursor == 0 ? '[' : ',') || !take_value(&walk, raw))
        return false;
    *cursor = walk.at;
    return true;
}

bool json_raw_is_number(struct slice raw)
{
    return raw.len > 0 && (raw.base[0] == '-' || (raw.base[0] >= '0' && raw.base[0] <= '9'));
}
