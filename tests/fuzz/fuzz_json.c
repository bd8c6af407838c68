/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as JSON: no crash, all parts inside, and another reader agrees on what is JSON. */
#include "base/ensure.h"
#include "base/utf8.h"
#include "net/json.h"

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct json *value)
{
    struct slice text;
    int64_t number;
    bool is_true;
    void *cursor = NULL;
    struct slice name;
    const struct json *member;
    size_t count = 0;
    if (json_text(value, &text))
        ENSURE(utf8_is_valid(text));
    (void)json_int64(value, &number);
    (void)json_bool(value, &is_true);
    while (json_next_member(value, &cursor, &name, &member)) {
        ENSURE(utf8_is_valid(name));
        walk(member);
        count++;
    }
    ENSURE(count == json_member_count(value));
    for (size_t i = 0; i < json_item_count(value); i++)
        walk(json_item(value, i));
}

static int depth_of(struct slice text)
{
    int depth = 0;
    for (size_t i = 0; i < text.len; i++)
        depth += text.base[i] == '[' || text.base[i] == '{';
    return depth;
}

/* The other reader allows deeper nesting, no integers beyond 64 bits, no NUL in names, and NUL as an end. */
static bool is_comparable(struct slice text, const json_t *theirs, const json_error_t *error)
{
    if (memchr(text.base, '\0', text.len) != NULL || depth_of(text) > 64)
        return false;
    if (theirs != NULL)
        return true;
    enum json_error_code code = json_error_code(error);
    return code != json_error_numeric_overflow && code != json_error_null_byte_in_key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *ours;
    json_error_t error;
    struct slice text = slice_make(data, size);
    enum json_status status = json_parse(text, &ours);
    ENSURE((ours != NULL) == (status == JSON_OK));
    if (ours != NULL)
        walk(ours);
    if (size > 0) {
        json_t *theirs = json_loadb(text.base, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        if (is_comparable(text, theirs, &error))
            ENSURE((theirs != NULL) == (status == JSON_OK));
        json_decref(theirs);
    }
    json_free(ours);
    return 0;
}
