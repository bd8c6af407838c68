/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jansson behind a door. It allocates a dozen small pieces for the smallest object, so each thread gives them
 * out of a piece of memory of its own, from front to back, and starts again at the front when no value is
 * left. What does not fit comes from the heap.
 */
#include "net/json.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>

enum { DEPTH_MAX = 64, BUMP_BYTES = 16 * 1024 };

/* A double names each integer up to here, and no two integers look alike. */
static const double EXACT_MAX = 9007199254740992.0; /* 2^53 */

struct bump {
    alignas(max_align_t) char bytes[BUMP_BYTES];
    size_t used;
    size_t value_count; /* values of this thread not yet freed */
};

static _Thread_local struct bump bump;

static void *bump_alloc(size_t size)
{
    const size_t align = alignof(max_align_t);
    if (bump.value_count == 0 || size > BUMP_BYTES - bump.used)
        return malloc(size);
    void *piece = bump.bytes + bump.used;
    bump.used += (size + align - 1) / align * align;
    return piece;
}

static void bump_free(void *piece)
{
    uintptr_t at = (uintptr_t)piece;
    uintptr_t start = (uintptr_t)bump.bytes;
    if (at < start || at >= start + BUMP_BYTES)
        free(piece);
}

static void install_allocator(void)
{
    json_set_alloc_funcs(bump_alloc, bump_free);
}

static void leave(void)
{
    if (--bump.value_count == 0)
        bump.used = 0;
}

/* Brackets open at a time, those in strings not counted. */
static bool is_too_deep(struct slice text)
{
    int depth = 0;
    bool is_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.base[i];
        if (is_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                is_string = false;
        } else if (c == '"') {
            is_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > DEPTH_MAX)
                return true;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return false;
}

static enum json_status parse(struct slice text, size_t more, struct json **value, size_t *position)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL | more;
    json_error_t error;
    *value = NULL;
    *position = 0;
    /* jansson takes a NUL after the value for the end of the text. */
    if (text.len == 0 || memchr(text.base, '\0', text.len) != NULL || is_too_deep(text))
        return JSON_MALFORMED;
    (void)pthread_once(&once, install_allocator);
    bump.value_count++;
    json_t *parsed = json_loadb(text.base, text.len, flags, &error);
    /* An integer beyond int64 is a number all the same when a double can hold it. */
    if (parsed == NULL && json_error_code(&error) == json_error_numeric_overflow)
        parsed = json_loadb(text.base, text.len, flags | JSON_DECODE_INT_AS_REAL, &error);
    if (parsed == NULL) {
        leave();
        *position = error.position < 0 ? 0 : (size_t)error.position;
        return json_error_code(&error) == json_error_numeric_overflow ? JSON_OUT_OF_RANGE : JSON_MALFORMED;
    }
    *value = (struct json *)parsed;
    return JSON_OK;
}

enum json_status json_parse_at(struct slice text, struct json **value, size_t *position)
{
    return parse(text, 0, value, position);
}

enum json_status json_parse(struct slice text, struct json **value)
{
    size_t position;
    return parse(text, 0, value, &position);
}

enum json_status json_parse_unique(struct slice text, struct json **value)
{
    size_t position;
    return parse(text, JSON_REJECT_DUPLICATES, value, &position);
}

void json_free(struct json *value)
{
    if (value == NULL)
        return;
    json_decref((json_t *)value);
    leave();
}

static const json_t *inside(const struct json *value)
{
    return (const json_t *)value;
}

enum json_kind json_kind(const struct json *value)
{
    if (value == NULL)
        return JSON_KIND_NULL;
    switch (json_typeof(inside(value))) {
    case JSON_OBJECT:
        return JSON_KIND_OBJECT;
    case JSON_ARRAY:
        return JSON_KIND_ARRAY;
    case JSON_STRING:
        return JSON_KIND_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return JSON_KIND_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_KIND_BOOL;
    case JSON_NULL:
        break;
    }
    return JSON_KIND_NULL;
}

const struct json *json_member(const struct json *object, const char *name)
{
    return (const struct json *)json_object_get(inside(object), name);
}

size_t json_member_count(const struct json *object)
{
    return json_object_size(inside(object));
}

bool json_next_member(const struct json *object, void **cursor, struct slice *name, const struct json **value)
{
    json_t *members = (json_t *)inside(object); /* walking changes nothing */
    *cursor = *cursor == NULL ? json_object_iter(members) : json_object_iter_next(members, *cursor);
    if (*cursor == NULL)
        return false;
    *name = slice_make(json_object_iter_key(*cursor), json_object_iter_key_len(*cursor));
    *value = (const struct json *)json_object_iter_value(*cursor);
    return true;
}

size_t json_item_count(const struct json *array)
{
    return json_array_size(inside(array));
}

const struct json *json_item(const struct json *array, size_t index)
{
    return (const struct json *)json_array_get(inside(array), index);
}

bool json_bool(const struct json *value, bool *is_true)
{
    *is_true = json_is_true(inside(value));
    return json_is_boolean(inside(value));
}

bool json_text(const struct json *value, struct slice *text)
{
    if (!json_is_string(inside(value)))
        return false;
    *text = slice_make(json_string_value(inside(value)), json_string_length(inside(value)));
    return true;
}

bool json_int64(const struct json *value, int64_t *number)
{
    if (json_is_integer(inside(value))) {
        *number = json_integer_value(inside(value));
        return true;
    }
    if (!json_is_real(inside(value)))
        return false;
    double real = json_real_value(inside(value));
    if (real != trunc(real) || fabs(real) > EXACT_MAX)
        return false;
    *number = (int64_t)real;
    return true;
}

bool json_plain_int64(const struct json *value, int64_t *number)
{
    *number = json_integer_value(inside(value));
    return json_is_integer(inside(value));
}

bool json_double(const struct json *value, double *number)
{
    *number = json_number_value(inside(value));
    return json_is_number(inside(value));
}
