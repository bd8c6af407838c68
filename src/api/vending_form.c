/* SPDX-License-Identifier: Apache-2.0 */
#include "api/vending_form.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/vending_priv.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "core/decimal.h"
#include "net/http_query.h"
#include "net/json_raw.h"

enum {
    ATTRIBUTE_MAX = 64,
    COMPLAINTS_BODY_MAX = 2 * VENDING_COMPLAINTS_MAX * (VENDING_COMPLAINT_TEXT_MAX + ATTRIBUTE_MAX)
};

/* --- complaints --- */

/* "machine id" for machine_id. */
static const char *attribute(const char *field, char text[ATTRIBUTE_MAX])
{
    size_t len = strlen(field);
    ENSURE(len < ATTRIBUTE_MAX);
    for (size_t i = 0; i <= len; i++)
        text[i] = field[i] == '_' ? ' ' : field[i];
    return text;
}

/* The memory for one more text, or NULL. */
static char *add(struct vending_complaints *complaints, const char *field)
{
    if (complaints->count == VENDING_COMPLAINTS_MAX)
        return NULL;
    struct vending_complaint *complaint = &complaints->items[complaints->count++];
    complaint->field = field;
    return complaint->text;
}

void vending_complain(struct vending_complaints *complaints, const char *field, const char *format, ...)
{
    char name[ATTRIBUTE_MAX];
    char *text = add(complaints, field);
    if (text == NULL)
        return;
    int head_len = snprintf(text, VENDING_COMPLAINT_TEXT_MAX, "The %s field ", attribute(field, name));
    ENSURE(head_len > 0 && head_len < VENDING_COMPLAINT_TEXT_MAX);
    size_t room = VENDING_COMPLAINT_TEXT_MAX - (size_t)head_len;
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text + head_len, room, format, arguments);
    va_end(arguments);
    ENSURE(len > 0 && (size_t)len < room);
}

void vending_complain_unknown(struct vending_complaints *complaints, const char *field)
{
    char name[ATTRIBUTE_MAX];
    char *text = add(complaints, field);
    if (text != NULL)
        (void)snprintf(
            text, VENDING_COMPLAINT_TEXT_MAX, "The selected %s is invalid.", attribute(field, name));
}

void vending_complain_text(struct vending_complaints *complaints, const char *field, const char *text)
{
    char *memory = add(complaints, field);
    if (memory != NULL)
        (void)snprintf(memory, VENDING_COMPLAINT_TEXT_MAX, "%s", text);
}

static void put_message(struct strbuf *body, const struct vending_complaints *complaints)
{
    char memory[VENDING_COMPLAINT_TEXT_MAX + 32];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    strbuf_put(&text, slice_cstr(complaints->items[0].text));
    size_t more_count = complaints->count - 1;
    if (more_count > 0)
        strbuf_printf(&text, " (and %zu more error%s)", more_count, more_count == 1 ? "" : "s");
    strbuf_put_json(body, strbuf_slice(&text));
}

static bool is_same_field(const struct vending_complaint *a, const struct vending_complaint *b)
{
    return strcmp(a->field, b->field) == 0;
}

/* "field":[texts] of the field of `first`, unless an earlier complaint has told of it. */
static void put_field(struct strbuf *body, const struct vending_complaints *complaints, size_t first)
{
    const struct vending_complaint *items = complaints->items;
    for (size_t i = 0; i < first; i++)
        if (is_same_field(&items[i], &items[first]))
            return;
    strbuf_printf(body, "%s\"%s\":[", first == 0 ? "" : ",", items[first].field);
    for (size_t i = first; i < complaints->count; i++) {
        if (!is_same_field(&items[i], &items[first]))
            continue;
        if (i > first)
            strbuf_put_char(body, ',');
        strbuf_put_json(body, slice_cstr(items[i].text));
    }
    strbuf_put_char(body, ']');
}

void vending_put_complaints(struct strbuf *body, const struct vending_complaints *complaints)
{
    ENSURE(complaints->count > 0);
    strbuf_lit(body, "{\"message\":");
    put_message(body, complaints);
    strbuf_lit(body, ",\"errors\":{");
    for (size_t i = 0; i < complaints->count; i++)
        put_field(body, complaints, i);
    strbuf_lit(body, "}}");
}

void vending_reply_complaints(
    struct http_request *request, int status, const struct vending_complaints *complaints)
{
    char memory[COMPLAINTS_BODY_MAX];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    vending_put_complaints(&body, complaints);
    vending_reply(request, status, slice_make("", 0), &body);
}

/* --- bodies --- */

static bool is_form_type(struct slice type)
{
    return slice_eq_nocase(type, SLICE("application/x-www-form-urlencoded"));
}

/* application/json, application/problem+json, text/json; none is taken for JSON, too. */
static bool is_json_type(struct slice type)
{
    struct slice tail = type.len < 4 ? type : slice_make(type.base + type.len - 4, 4);
    bool is_named_so = slice_eq_nocase(tail, SLICE("json")) && type.len > 5;
    char before = is_named_so ? type.base[type.len - 5] : ' ';
    return type.len == 0 || before == '/' || before == '+';
}

static enum vending_form_status read_json(struct vending_form *form, size_t *position)
{
    struct json *json;
    if (json_parse_at(form->body, &json, position) != JSON_OK)
        return VENDING_FORM_NO_JSON;
    enum json_kind kind = json_kind(json);
    bool is_empty_array = kind == JSON_KIND_ARRAY && json_item_count(json) == 0;
    if (kind == JSON_KIND_OBJECT) {
        form->json = json;
        return VENDING_FORM_OK;
    }
    json_free(json);
    return is_empty_array || kind == JSON_KIND_NULL ? VENDING_FORM_OK : VENDING_FORM_NO_OBJECT;
}

static bool take_pairs(struct vending_form *form, struct arena *arena)
{
    struct slice rest = form->body;
    struct vending_pair pair;
    bool is_malformed = false;
    while (http_query_next(arena, &rest, &pair.name, &pair.value, &is_malformed)) {
        bool is_good = !is_malformed && utf8_is_valid(pair.name) && utf8_is_valid(pair.value);
        if (!is_good || form->pair_count == VENDING_PAIRS_MAX)
            return false;
        form->pairs[form->pair_count++] = pair;
    }
    return true;
}

static enum vending_form_status read_pairs(struct vending_form *form)
{
    /* Nothing becomes longer, and each piece is aligned. */
    size_t size = form->body.len + 2 * (VENDING_PAIRS_MAX + 1) * alignof(max_align_t);
    struct arena arena;
    form->memory = malloc(size);
    if (form->memory == NULL)
        return VENDING_FORM_NO_MEMORY;
    arena_init(&arena, form->memory, size);
    if (take_pairs(form, &arena))
        return VENDING_FORM_OK;
    vending_form_fini(form);
    return VENDING_FORM_NO_PAIRS;
}

enum vending_form_status vending_form_read(
    struct vending_form *form, struct slice body, struct slice content_type, size_t *position)
{
    struct slice parameters;
    struct slice type = slice_trim(slice_split(content_type, ';', &parameters));
    form->body = slice_trim(body);
    form->json = NULL;
    form->pair_count = 0;
    form->memory = NULL;
    form->complaints.count = 0;
    if (form->body.len == 0)
        return VENDING_FORM_OK;
    if (is_form_type(type))
        return read_pairs(form);
    return is_json_type(type) ? read_json(form, position) : VENDING_FORM_NO_TYPE;
}

void vending_form_fini(struct vending_form *form)
{
    if (form->json != NULL)
        json_free(form->json);
    free(form->memory);
    form->json = NULL;
    form->memory = NULL;
    form->pair_count = 0;
}

static void refuse(struct http_request *request, enum vending_form_status status, size_t position)
{
    static const struct slice nothing = SLICE_INIT("");
    char text[160];
    (void)snprintf(text, sizeof text,
        "The body is not valid JSON: it cannot be read beyond byte %zu. Send a JSON object.", position);
    switch (status) {
    case VENDING_FORM_NO_OBJECT:
        vending_reply_message(
            request, 400, SLICE("The body is JSON, but no object. Send a JSON object."), nothing);
        return;
    case VENDING_FORM_NO_PAIRS:
        vending_reply_message(request, 400,
            SLICE("The body is no form of percent-encoded UTF-8 with at most 32 fields. Send a JSON object."),
            nothing);
        return;
    case VENDING_FORM_NO_TYPE:
        vending_reply_message(request, 415,
            SLICE("The body is of a type that is not known here. Send a JSON object as application/json."),
            nothing);
        return;
    case VENDING_FORM_NO_MEMORY:
        vending_reply_no_memory(request);
        return;
    case VENDING_FORM_NO_JSON:
    case VENDING_FORM_OK:
        break;
    }
    vending_reply_message(request, 400, slice_cstr(text), nothing);
}

bool vending_form_open(struct vending_form *form, struct http_request *request)
{
    struct slice type = SLICE("");
    size_t position = 0;
    (void)http_header(request, SLICE("content-type"), &type);
    enum vending_form_status status = vending_form_read(form, request->body, type, &position);
    if (status != VENDING_FORM_OK)
        refuse(request, status, position);
    return status == VENDING_FORM_OK;
}

bool vending_form_reply_complaints(struct vending_form *form, struct http_request *request)
{
    if (form->complaints.count == 0)
        return false;
    struct vending_complaints complaints = form->complaints;
    vending_form_fini(form);
    vending_reply_complaints(request, 422, &complaints);
    return true;
}

/* --- members --- */

/* A member as it was sent. */
struct value {
    bool is_sent;
    bool is_missing; /* or empty */
    enum json_kind kind;
    const struct json *json; /* NULL: of a form */
    struct slice text;       /* of a string, trimmed */
};

static void find_pair(const struct vending_form *form, const char *field, struct value *value)
{
    for (size_t i = form->pair_count; i-- > 0 && !value->is_sent;) {
        if (!slice_eq(form->pairs[i].name, slice_cstr(field)))
            continue;
        value->is_sent = true;
        value->text = form->pairs[i].value;
    }
}

static bool is_nothing(const struct value *value)
{
    switch (value->kind) {
    case JSON_KIND_NULL:
        return true;
    case JSON_KIND_STRING:
        return value->text.len == 0;
    case JSON_KIND_ARRAY:
        return json_item_count(value->json) == 0;
    case JSON_KIND_OBJECT:
        return json_member_count(value->json) == 0;
    case JSON_KIND_BOOL:
    case JSON_KIND_NUMBER:
        break;
    }
    return false;
}

/* True: there is something to look at. Else there is a complaint, if there has to be something. */
static bool find(struct vending_form *form, const char *field, enum vending_need need, struct value *value)
{
    *value = (struct value){.kind = JSON_KIND_STRING, .text = SLICE("")};
    if (form->json != NULL) {
        value->json = json_member(form->json, field);
        value->is_sent = value->json != NULL;
        value->kind = value->is_sent ? json_kind(value->json) : JSON_KIND_NULL;
        (void)(value->is_sent && json_text(value->json, &value->text));
    } else {
        find_pair(form, field, value);
    }
    value->text = slice_trim(value->text);
    value->is_missing = !value->is_sent || is_nothing(value);
    bool is_needed = need == VENDING_REQUIRED || (need == VENDING_IF_SENT && value->is_sent);
    if (value->is_missing && is_needed)
        vending_complain(&form->complaints, field, "is required.");
    return !value->is_missing;
}

bool vending_form_text(struct vending_form *form, const char *field, enum vending_need need, size_t chars_max,
    struct slice *text)
{
    struct value value;
    if (!find(form, field, need, &value))
        return false;
    size_t count_before = form->complaints.count;
    if (value.kind != JSON_KIND_STRING)
        vending_complain(&form->complaints, field, "must be a string.");
    else if (utf8_length(value.text) > chars_max)
        vending_complain(&form->complaints, field, "must not be greater than %zu characters.", chars_max);
    else if (memchr(value.text.base, '\0', value.text.len) != NULL)
        vending_complain(&form->complaints, field, "format is invalid.");
    *text = value.text;
    return form->complaints.count == count_before;
}

/* A sign and digits; no zero before another digit. */
static bool text_to_integer(struct slice text, int64_t *number)
{
    if (text.len > 1 && text.base[0] == '+' && text.base[1] != '-')
        text = slice_make(text.base + 1, text.len - 1);
    size_t first = text.len > 0 && text.base[0] == '-';
    bool has_zero_before = text.len > first + 1 && text.base[first] == '0';
    return !has_zero_before && slice_to_i64(text, number);
}

static bool to_integer(const struct value *value, int64_t *number)
{
    if (value->kind == JSON_KIND_STRING)
        return text_to_integer(value->text, number);
    return value->kind == JSON_KIND_NUMBER && json_int64(value->json, number);
}

bool vending_form_integer(struct vending_form *form, const char *field, enum vending_need need, int64_t min,
    int64_t max, int64_t *value)
{
    struct value found;
    if (!find(form, field, need, &found))
        return false;
    size_t count_before = form->complaints.count;
    if (!to_integer(&found, value))
        vending_complain(&form->complaints, field, "must be an integer.");
    else if (*value < min)
        vending_complain(&form->complaints, field, "must be at least %lld.", (long long)min);
    else if (*value > max)
        vending_complain(&form->complaints, field, "must not be greater than %lld.", (long long)max);
    return form->complaints.count == count_before;
}

bool vending_form_flag(struct vending_form *form, const char *field, bool *is_set)
{
    struct value value;
    int64_t number;
    if (!find(form, field, VENDING_OPTIONAL, &value))
        return false;
    if (value.kind == JSON_KIND_BOOL && json_bool(value.json, is_set))
        return true;
    if (to_integer(&value, &number) && (number == 0 || number == 1)) {
        *is_set = number == 1;
        return true;
    }
    vending_complain(&form->complaints, field, "must be true or false.");
    return false;
}

bool vending_form_amount(struct vending_form *form, const char *field, int64_t max_minor, int64_t *minor)
{
    struct value value;
    char max[DECIMAL_LEN_MAX];
    if (!find(form, field, VENDING_OPTIONAL, &value))
        return false;
    struct slice text = value.text;
    if (value.kind == JSON_KIND_NUMBER && !json_raw_member(form->body, slice_cstr(field), &text))
        text = SLICE("");
    enum decimal_status status = decimal_parse(text, DECIMAL_SCALE_CENTS, minor);
    bool is_negative = text.len > 0 && text.base[0] == '-';
    bool is_good = status == DECIMAL_OK && *minor >= 0 && *minor <= max_minor;
    if (status == DECIMAL_MALFORMED)
        vending_complain(&form->complaints, field, "must be a number.");
    else if (status == DECIMAL_TOO_PRECISE)
        vending_complain(&form->complaints, field, "must have 0-2 decimal places.");
    else if (!is_good && is_negative)
        vending_complain(&form->complaints, field, "must be at least 0.");
    else if (!is_good)
        vending_complain(&form->complaints, field, "must not be greater than %.*s.",
            (int)decimal_format(max_minor, DECIMAL_SCALE_CENTS, max), max);
    return is_good;
}
