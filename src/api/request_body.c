/* SPDX-License-Identifier: Apache-2.0 */
#include "api/request_body.h"

#include "api/envelope.h"

/* The media type without its parameters. */
static struct slice media_type(struct slice content_type)
{
    struct slice rest;
    return slice_trim(slice_split(content_type, ';', &rest));
}

static void refuse_json(struct http_request *request, struct slice message)
{
    char memory[512];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    envelope_error(&text, SLICE("HTTP_ERROR"), message);
    http_reply_close(request, 400, CONTENT_TYPE_JSON, slice_make("", 0), strbuf_slice(&text));
}

static void refuse_type(struct http_request *request, struct slice content_type)
{
    char memory[512];
    struct strbuf message;
    strbuf_init(&message, memory, sizeof memory);
    strbuf_lit(&message, "Unsupported Media Type: ");
    strbuf_put(&message, slice_make(content_type.base, content_type.len < 256 ? content_type.len : 256));
    reply_error(request, 415, SLICE("HTTP_ERROR"), strbuf_slice(&message));
}

static bool read_json(struct http_request *request, struct request_body *body)
{
    static const struct slice not_json =
        SLICE_INIT("Body is not valid JSON but content-type is set to 'application/json'");
    static const struct slice empty =
        SLICE_INIT("Body cannot be empty when content-type is set to 'application/json'");
    if (request->body.len == 0) {
        refuse_json(request, empty);
        return false;
    }
    enum json_status status = json_parse(request->body, &body->json);
    body->kind = status == JSON_OK ? BODY_JSON : BODY_OUT_OF_RANGE;
    if (status == JSON_MALFORMED || (status == JSON_OK && json_member(body->json, "__proto__") != NULL)) {
        request_body_fini(body);
        refuse_json(request, not_json);
        return false;
    }
    return true;
}

bool request_body_read(struct http_request *request, bool is_body_optional, struct request_body *body)
{
    struct slice content_type;
    bool has_type = http_header(request, SLICE("content-type"), &content_type) && content_type.len > 0;
    *body = (struct request_body){.kind = BODY_NONE};
    if (!request->has_body && (is_body_optional || !has_type))
        return true;
    if (!has_type) {
        if (request->body.len == 0)
            return true;
        refuse_type(request, SLICE("undefined"));
        return false;
    }
    struct slice type = media_type(content_type);
    if (slice_eq_nocase(type, SLICE("application/json")))
        return read_json(request, body);
    if (slice_eq_nocase(type, SLICE("application/x-www-form-urlencoded"))) {
        *body = (struct request_body){.kind = BODY_FORM, .form = request->body};
        return true;
    }
    if (slice_eq_nocase(type, SLICE("text/plain"))) {
        body->kind = BODY_TEXT;
        return true;
    }
    refuse_type(request, content_type);
    return false;
}

void request_body_fini(struct request_body *body)
{
    if (body->json != NULL)
        json_free(body->json);
    body->json = NULL;
}
