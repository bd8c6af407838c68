/* SPDX-License-Identifier: Apache-2.0 */
#include "http_oracle.h"

#ifdef DOORBUSTER_HAVE_LLHTTP
#include <llhttp.h>
#define PARSER llhttp_t
#define PARSER_SETTINGS llhttp_settings_t
#else
#include <http_parser.h>
#define PARSER http_parser
#define PARSER_SETTINGS http_parser_settings
#endif

struct reading {
    struct slice target;
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    bool is_in_name;
    bool is_complete;
};

/* A piece that follows the one before, or the first one. */
static void extend(struct slice *text, const char *at, size_t len)
{
    if (text->len == 0)
        *text = slice_make(at, len);
    else
        text->len = (size_t)(at + len - text->base);
}

static int on_url(PARSER *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    extend(&reading->target, at, len);
    return 0;
}

static int on_header_field(PARSER *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    if (!reading->is_in_name) {
        if (reading->header_count == HTTP_HEADERS_MAX)
            return -1;
        reading->headers[reading->header_count++] = (struct http_header){{at, 0}, {at, 0}};
        reading->is_in_name = true;
    }
    extend(&reading->headers[reading->header_count - 1].name, at, len);
    return 0;
}

static int on_header_value(PARSER *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    reading->is_in_name = false;
    extend(&reading->headers[reading->header_count - 1].value, at, len);
    return 0;
}

static int on_headers_complete(PARSER *parser)
{
    struct reading *reading = parser->data;
    reading->is_complete = true;
    return 1; /* the body is of no interest */
}

static const PARSER_SETTINGS settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

#ifdef DOORBUSTER_HAVE_LLHTTP
static void start(PARSER *parser, struct reading *reading)
{
    llhttp_init(parser, HTTP_REQUEST, &settings);
    parser->data = reading;
}

static void feed(PARSER *parser, struct slice bytes)
{
    (void)llhttp_execute(parser, bytes.base, bytes.len);
}
#else
static void start(PARSER *parser, struct reading *reading)
{
    http_parser_init(parser, HTTP_REQUEST);
    parser->data = reading;
}

static void feed(PARSER *parser, struct slice bytes)
{
    (void)http_parser_execute(parser, &settings, bytes.base, bytes.len);
}
#endif

/* The library knows only registered methods, some with rules of their own: all are shown to it as GET. */
static void read_as_get(struct slice bytes, size_t method_len, struct reading *reading)
{
    PARSER parser;
    start(&parser, reading);
    feed(&parser, SLICE("GET"));
    feed(&parser, slice_make(bytes.base + method_len, bytes.len - method_len));
}

/* Takes a longer name for the one it begins with. */
static bool has_misread_name(const struct http_request *request)
{
    const struct slice name = SLICE("transfer-encoding");
    for (size_t i = 0; i < request->header_count; i++) {
        struct slice sent = request->headers[i].name;
        if (sent.len > name.len && slice_eq_nocase(slice_make(sent.base, name.len), name))
            return true;
    }
    return false;
}

const char *http_oracle_objection(
    struct slice bytes, const struct http_request *request, const struct http_head *head)
{
    struct reading reading = {.header_count = 0};
    if (request->target.base[0] != '/' || head->content_length > UINT64_MAX / 10 - 10)
        return NULL;
    if (request->has_body &&
        memchr(bytes.base, '\t', bytes.len) != NULL) /* behind a length it knows no tab */
        return NULL;
    const char *line_end = memchr(bytes.base, '\r', bytes.len);
    if (line_end[-1] > '1' || has_misread_name(request))
        return NULL;
    read_as_get(bytes, request->method_name.len, &reading);
    if (!reading.is_complete)
        return "the library refuses the head";
    if (!slice_eq(reading.target, request->target))
        return "the library reads another target";
    if (reading.header_count != request->header_count)
        return "the library counts other headers";
    for (size_t i = 0; i < reading.header_count; i++) {
        if (!slice_eq(reading.headers[i].name, request->headers[i].name))
            return "the library reads another header name";
        if (!slice_eq(slice_trim(reading.headers[i].value), request->headers[i].value))
            return "the library reads another header value";
    }
    return NULL;
}
