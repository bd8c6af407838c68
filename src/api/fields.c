/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fields.h"

#include "base/utf8.h"
#include "core/decimal.h"
#include "net/json_raw.h"

static const struct slice nothing = SLICE_INIT("");

/* --- the body --- */

static bool ends_with(struct slice text, struct slice tail)
{
    return text.len >= tail.len &&
           slice_eq_nocase(slice_make(text.base + text.len - tail.len, tail.len), tail);
}

/* application/json, application/problem+json, ...; what has no type is taken for it. */
static bool is_json(const struct http_request *request)
{
    struct slice type;
    struct slice rest;
    if (!http_header(request, SLICE("content-type"), &type) || type.len == 0)
        return true;
    type = slice_trim(slice_split(type, ';', &rest));
    return slice_eq_nocase(type, SLICE("application/json")) ||
           (slice_starts_with(type, SLICE("application/")) && ends_with(type, SLICE("+json")));
}

/* Of the body as a whole, or of a place in it. */
static void refuse_body(struct http_request *request, const char *type, struct slice msg, struct slice input)
{
    struct complaints complaints;
    complaints_init(&complaints);
    complaints_add(&complaints, "body", nothing, type, msg, input);
    reply_complaints(request, &complaints);
}

static void refuse_json(struct http_request *request, enum json_status status, size_t position)
{
    char memory[256];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_printf(&body,
        "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",%zu],\"msg\":\"JSON decode error%s\","
        "\"input\":{}}]}",
        position, status == JSON_OUT_OF_RANGE ? ": a number is beyond any range" : "");
    http_reply(request, 422, DETAIL_TYPE, nothing, strbuf_slice(&body));
}

bool fields_open(struct fields *fields, struct http_request *request, bool has_secrets)
{
    static const struct slice no_object =
        SLICE_INIT("Input should be a valid dictionary or object to extract fields from");
    struct slice body = slice_trim(request->body);
    size_t position = 0;
    *fields = (struct fields){.body = body, .has_secrets = has_secrets};
    if (body.len == 0) {
        refuse_body(request, "missing", SLICE("Field required"), nothing);
        return false;
    }
    if (!is_json(request)) {
        refuse_body(request, "model_attributes_type", no_object, nothing);
        return false;
    }
    enum json_status status = json_parse_at(body, &fields->json, &position);
    if (status != JSON_OK) {
        refuse_json(request, status, position);
        return false;
    }
    if (json_kind(fields->json) != JSON_KIND_OBJECT) {
        json_free(fields->json);
        refuse_body(request, "model_attributes_type", no_object, has_secrets ? nothing : body);
        return false;
    }
    complaints_init(&fields->complaints);
    return true;
}

void fields_fini(struct fields *fields)
{
    json_free(fields->json);
    complaints_fini(&fields->complaints);
}

bool fields_reply_complaints(struct fields *fields, struct http_request *request)
{
    if (fields->complaints.count == 0)
        return false;
    json_free(fields->json);
    reply_complaints(request, &fields->complaints);
    return true;
}

/* --- complaints --- */

static void complain(
    struct fields *fields, const char *name, const char *type, struct slice msg, struct slice input)
{
    complaints_add(&fields->complaints, "body", slice_cstr(name), type, msg, input);
}

void fields_complain(struct fields *fields, struct slice name, const char *type, struct slice msg)
{
    struct slice raw = nothing;
    (void)json_raw_member(fields->body, name, &raw);
    complaints_add(&fields->complaints, "body", name, type, msg, raw);
}

/*
 * The member and its text. False: there is none, with a complaint if there has to be one; a required null is
 * a value like any other.
 */
static bool find(struct fields *fields, const char *name, enum field_need need, const struct json **value,
    struct slice *raw)
{
    *value = json_member(fields->json, name);
    bool is_there = *value != NULL && json_raw_member(fields->body, slice_cstr(name), raw);
    if (is_there)
        return need == FIELD_REQUIRED || json_kind(*value) != JSON_KIND_NULL;
    if (need == FIELD_REQUIRED)
        complain(
            fields, name, "missing", SLICE("Field required"), fields->has_secrets ? nothing : fields->body);
    return false;
}

/* --- texts --- */

static void complain_of_length(
    struct fields *fields, const struct text_field *field, struct slice input, bool is_too_short)
{
    char memory[96];
    struct strbuf msg;
    size_t limit = is_too_short ? field->chars_min : field->bytes_max;
    strbuf_init(&msg, memory, sizeof memory);
    strbuf_printf(&msg, "String should have at %s %zu %s%s", is_too_short ? "least" : "most", limit,
        is_too_short ? "character" : "bytes of UTF-8", is_too_short && limit > 1 ? "s" : "");
    complain(fields, field->name, is_too_short ? "string_too_short" : "string_too_long", strbuf_slice(&msg),
        input);
}

bool fields_text(struct fields *fields, const struct text_field *field, struct slice *text)
{
    const struct json *value;
    struct slice raw;
    if (!find(fields, field->name, field->need, &value, &raw))
        return false;
    struct slice input = field->is_secret ? SLICE("\"**********\"") : raw;
    if (!json_text(value, text)) {
        complain(fields, field->name, "string_type", SLICE("Input should be a valid string"), input);
        return false;
    }
    if (field->is_trimmed)
        *text = slice_trim(*text);
    bool is_too_short = utf8_length(*text) < field->chars_min;
    if (is_too_short || text->len > field->bytes_max) {
        complain_of_length(fields, field, input, is_too_short);
        return false;
    }
    if (!field->may_have_nul && memchr(text->base, '\0', text->len) != NULL) {
        complain(fields, field->name, "value_error", SLICE("Value error, a NUL is no part of a text"), input);
        return false;
    }
    return true;
}

/* 'BUY' or 'SELL'; 'MARKET', 'LIMIT' or 'STOP'. */
static void put_names(struct strbuf *text, const struct slice *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *before = i == 0 ? "" : i + 1 == count ? " or " : ", ";
        strbuf_printf(text, "%s'%.*s'", before, SLICE_ARGS(names[i]));
    }
}

bool fields_choice(
    struct fields *fields, const char *name, const struct slice *names, size_t count, size_t *index)
{
    const struct json *value;
    struct slice raw;
    struct slice text;
    char memory[160];
    struct strbuf msg;
    if (!find(fields, name, FIELD_REQUIRED, &value, &raw))
        return false;
    for (*index = 0; json_text(value, &text) && *index < count; ++*index)
        if (slice_eq(text, names[*index]))
            return true;
    strbuf_init(&msg, memory, sizeof memory);
    strbuf_lit(&msg, "Input should be ");
    put_names(&msg, names, count);
    complain(fields, name, "enum", strbuf_slice(&msg), raw);
    return false;
}

/* --- numbers --- */

struct refusal {
    const char *type;
    struct slice msg;
};

static struct refusal refusal_of(enum decimal_status status, bool is_negative)
{
    static const struct refusal malformed = {
        "decimal_parsing", SLICE_INIT("Input should be a valid decimal")};
    static const struct refusal too_precise = {
        "decimal_max_places", SLICE_INIT("Decimal input should have no more than 6 decimal places")};
    static const struct refusal too_small = {"greater_than", SLICE_INIT("Input should be greater than 0")};
    static const struct refusal too_large = {
        "less_than_equal", SLICE_INIT("Input should be less than or equal to 9223372036854.775807")};
    switch (status) {
    case DECIMAL_MALFORMED:
        return malformed;
    case DECIMAL_TOO_PRECISE:
        return too_precise;
    case DECIMAL_OUT_OF_RANGE:
        return is_negative ? too_small : too_large;
    case DECIMAL_OK:
        break;
    }
    return too_small;
}

bool fields_decimal(struct fields *fields, const char *name, enum field_need need, int64_t *value)
{
    const struct json *member;
    struct slice raw;
    struct slice text;
    if (!find(fields, name, need, &member, &raw))
        return false;
    if (json_text(member, &text)) {
        text = slice_trim(text);
    } else if (json_kind(member) == JSON_KIND_NUMBER) {
        text = raw;
    } else {
        complain(fields, name, "decimal_type",
            SLICE("Decimal input should be an integer, float, string or Decimal object"), raw);
        return false;
    }
    enum decimal_status status = decimal_parse(text, DECIMAL_SCALE_MICRO, value);
    if (status == DECIMAL_OK && *value > 0)
        return true;
    struct refusal refusal = refusal_of(status, text.len > 0 && text.base[0] == '-');
    complain(fields, name, refusal.type, refusal.msg, raw);
    return false;
}
