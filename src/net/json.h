/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in (RFC 8259), strict: valid UTF-8, no half surrogate pairs, no NUL in a name, nothing after the
 * value, at most 64 levels. Behind it stands jansson. A value read lives until json_free and needs the text
 * no longer; borrowed parts live as long as the whole. Where a value is asked for a part, NULL is taken as a
 * value without parts. One thread at a time; json_free on the thread that parsed.
 */
#ifndef DOORBUSTER_NET_JSON_H
#define DOORBUSTER_NET_JSON_H

#include "base/slice.h"

struct json; /* jansson's json_t */

enum json_status {
    JSON_OK,
    JSON_MALFORMED,   /* not JSON (or more than there is memory for) */
    JSON_OUT_OF_RANGE /* JSON as far as a number that no int64 and no double can hold; the rest was not read
                       */
};

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_BOOL,
    JSON_KIND_NUMBER,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT
};

/* Any JSON value is accepted at the top. Of members with the same name the last one counts (ECMAScript). */
enum json_status json_parse(struct slice text, struct json **value);

/* The same; when it is not JSON_OK, *position is the byte at which reading ended. */
enum json_status json_parse_at(struct slice text, struct json **value, size_t *position);

/* json_parse, but a text in which a member's name comes twice is JSON_MALFORMED: for what was signed. */
enum json_status json_parse_unique(struct slice text, struct json **value);
void json_free(struct json *value);

/* NULL is taken as null. */
enum json_kind json_kind(const struct json *value);

/* The member, borrowed, or NULL when `object` is no object or has none of that name. */
const struct json *json_member(const struct json *object, const char *name);

size_t json_member_count(const struct json *object);

/* Walks over an object's members: start with *cursor = NULL; false at the end. */
bool json_next_member(
    const struct json *object, void **cursor, struct slice *name, const struct json **value);

size_t json_item_count(const struct json *array);
const struct json *json_item(const struct json *array, size_t index);

/* False when it is neither true nor false (NULL included). */
bool json_bool(const struct json *value, bool *is_true);

/* False when it is no string. May contain NUL. */
bool json_text(const struct json *value, struct slice *text);

/*
 * True for a number with an integral value that an int64 holds exactly: 3, 3.0 and 3e0 are, 3.5 and 1e30 are
 * not. Written with a point or an exponent it must not exceed 2^53, up to where a double tells integers
 * apart.
 */
bool json_int64(const struct json *value, int64_t *number);

/* True for a number of an int64 that is written without point and exponent. */
bool json_plain_int64(const struct json *value, int64_t *number);

/* The number as a double, as near as one comes; false when it is no number. Not for amounts. */
bool json_double(const struct json *value, double *number);

#endif
