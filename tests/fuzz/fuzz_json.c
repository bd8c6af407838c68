/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as JSON: no crash, and what is accepted holds to the bounds and can be walked. */
#include "base/ensure.h"
#include "base/utf8.h"
#include "net/json.h"

#include <string.h>

enum { DEPTH_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct json *value, int depth)
{
    bool is_container = json_kind(value) == JSON_KIND_OBJECT || json_kind(value) == JSON_KIND_ARRAY;
    ENSURE(depth <= DEPTH_MAX || (depth == DEPTH_MAX + 1 && !is_container));
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
        walk(member, depth + 1);
        count++;
    }
    ENSURE(count == json_member_count(value));
    for (size_t i = 0; i < json_item_count(value); i++)
        walk(json_item(value, i), depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *value;
    struct json *again;
    struct slice text = slice_make(data, size);
    enum json_status status = json_parse(text, &value);
    ENSURE((value != NULL) == (status == JSON_OK));
    ENSURE(json_parse(text, &again) == status); /* beside a first document in this thread's memory */
    if (value != NULL) {
        ENSURE(memchr(text.base, '\0', text.len) == NULL);
        walk(value, 1);
        json_free(value);
        walk(again, 1);
    }
    json_free(again);
    return 0;
}
