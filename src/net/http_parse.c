/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_parse.h"

#include <endian.h>

#ifdef DOORBUSTER_HAVE_LLHTTP
#include <llhttp.h>
#else
#include <http_parser.h>
#endif

#include "base/ensure.h"

static const struct http_fault_info fault_infos[] = {
#define HTTP_FAULT(name, status, text) [HTTP_FAULT_##name] = {(status), (text)},
#include "net/http_fault.def"
#undef HTTP_FAULT
};

const struct http_fault_info *http_fault_info(enum http_fault fault)
{
    ENSURE(fault >= 0 && fault < HTTP_FAULT_COUNT);
    return &fault_infos[fault];
}

/* ---- First pass: where the head ends, and bytes that no head may hold ---- */

/* RFC 9110 section 5.6.2 */
static bool is_token_char(char c)
{
    static const bool marks[128] = {['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1,
        ['+'] = 1, ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1};
    unsigned char u = (unsigned char)c;
    return (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || (u >= '0' && u <= '9') || (u < 128 && marks[u]);
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_token_char(text.base[i]))
            return false;
    }
    return text.len > 0;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7F;
}

/*
 * The next control character at or after `at`, or `len`. Eight bytes at a time: a byte below 0x20 borrows into
 * its top bit when 0x20 is taken off, and so does a zero (a DEL made zero) when 1 is taken off. A borrow can make
 * a higher byte look like a hit too, but never a lower one, and only the lowest is asked for.
 */
static size_t find_control(const char *base, size_t at, size_t len)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = ones << 7;
    while (len - at >= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, base + at, sizeof word);
        word = le64toh(word);
        uint64_t del = word ^ ones * 0x7F;
        uint64_t hits = (((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops;
        if (hits != 0)
            return at + (size_t)__builtin_ctzll(hits) / 8;
        at += sizeof word;
    }
    while (at < len && !is_control(base[at]))
        at++;
    return at;
}

static bool is_folded(const struct http_scan *scan, struct slice input)
{
    return scan->line > 0 && scan->line < input.len && (input.base[scan->line] == ' ' || input.base[scan->line] == '\t');
}

enum http_scan_status http_scan(struct http_scan *scan, struct slice input)
{
    size_t at = scan->at;
    if (is_folded(scan, input) || (at == 0 && input.len > 0 && input.base[0] != '\r' && !is_token_char(input.base[0])))
        return HTTP_SCAN_MALFORMED;
    for (;;) {
        at = find_control(input.base, at, input.len);
        scan->at = (uint32_t)at;
        if (at == input.len)
            return HTTP_SCAN_MORE;
        if (input.base[at] == '\t') {
            at++;
            continue;
        }
        if (input.base[at] != '\r')
            return HTTP_SCAN_MALFORMED;
        if (at + 1 == input.len)
            return HTTP_SCAN_MORE;
        if (input.base[at + 1] != '\n')
            return HTTP_SCAN_MALFORMED;
        bool is_blank_line = at == scan->line;
        at += 2;
        scan->at = (uint32_t)at;
        scan->line = (uint32_t)at;
        if (is_blank_line)
            return HTTP_SCAN_DONE;
        if (is_folded(scan, input))
            return HTTP_SCAN_MALFORMED;
    }
}

/* ---- Second pass: the library ---- */

#ifdef DOORBUSTER_HAVE_LLHTTP
#define PARSER llhttp_t
#define PARSER_SETTINGS llhttp_settings_t
#else
#define PARSER http_parser
#define PARSER_SETTINGS http_parser_settings
#endif

/* What the callbacks fill. */
struct parse {
    struct http_request *request;
    bool is_in_name;   /* the last piece was of a header's name */
    bool is_too_many;
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
    struct parse *parse = parser->data;
    extend(&parse->request->target, at, len);
    return 0;
}

static int on_header_field(PARSER *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;
    struct http_request *request = parse->request;
    if (!parse->is_in_name) {
        if (request->header_count == HTTP_HEADERS_MAX) {
            parse->is_too_many = true;
            return -1;
        }
        request->headers[request->header_count++] = (struct http_header){{at, 0}, {at, 0}};
        parse->is_in_name = true;
    }
    extend(&request->headers[request->header_count - 1].name, at, len);
    return 0;
}

static int on_header_value(PARSER *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;
    struct http_request *request = parse->request;
    parse->is_in_name = false;
    if (request->header_count == 0)
        return -1;
    extend(&request->headers[request->header_count - 1].value, at, len);
    return 0;
}

static int on_headers_complete(PARSER *parser)
{
    struct parse *parse = parser->data;
    parse->is_complete = true;
    return 1; /* the body is not the library's business */
}

static const PARSER_SETTINGS settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

#ifdef DOORBUSTER_HAVE_LLHTTP
static void library_init(PARSER *parser)
{
    llhttp_init(parser, HTTP_REQUEST, &settings);
}

static bool library_feed(PARSER *parser, struct slice bytes)
{
    llhttp_errno_t status = llhttp_execute(parser, bytes.base, bytes.len);
    return status == HPE_OK || status == HPE_PAUSED_UPGRADE;
}
#else
static void library_init(PARSER *parser)
{
    http_parser_init(parser, HTTP_REQUEST);
}

static bool library_feed(PARSER *parser, struct slice bytes)
{
    return http_parser_execute(parser, &settings, bytes.base, bytes.len) == bytes.len &&
        HTTP_PARSER_ERRNO(parser) == HPE_OK;
}
#endif

struct method_row {
    struct slice name;
    enum method method;
};

static const struct method_row methods[] = {
    {SLICE_INIT("GET"), METHOD_GET},
    {SLICE_INIT("POST"), METHOD_POST},
    {SLICE_INIT("HEAD"), METHOD_GET},
    {SLICE_INIT("PUT"), METHOD_PUT},
    {SLICE_INIT("PATCH"), METHOD_PATCH},
    {SLICE_INIT("DELETE"), METHOD_DELETE},
};

/* False when the line does not begin with a method and a blank. Methods are case-sensitive. */
static bool take_method(struct slice bytes, struct http_request *request)
{
    const char *blank = memchr(bytes.base, ' ', bytes.len);
    if (blank == NULL)
        return false;
    request->method_name = slice_make(bytes.base, (size_t)(blank - bytes.base));
    request->method = METHOD_OTHER;
    request->is_head = false;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (slice_eq(methods[i].name, request->method_name)) {
            request->method = methods[i].method;
            request->is_head = bytes.base[0] == 'H';
            return true;
        }
    }
    return is_token(request->method_name);
}

/*
 * The library knows only registered methods, and treats some of them in ways of their own; so a method of no
 * interest to us is parsed under the name GET.
 */
static bool run_library(struct slice bytes, struct http_request *request, PARSER *parser)
{
    library_init(parser);
    if (request->method == METHOD_OTHER) {
        if (!library_feed(parser, SLICE("GET")))
            return false;
        bytes.base += request->method_name.len;
        bytes.len -= request->method_name.len;
    }
    return library_feed(parser, bytes);
}

/* ---- What the library leaves open ---- */

/* Visible ASCII without '#': a fragment never travels (RFC 9112 section 3.2). */
static bool is_target(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.base[i] <= ' ' || text.base[i] > '~' || text.base[i] == '#')
            return false;
    }
    return text.len > 0;
}

/* "http://host/path" is what a proxy is sent; the host in it is of no interest to us (RFC 9112 section 3.2.2). */
static bool strip_origin(struct slice *target)
{
    size_t len = 0;
    if (target->len > 7 && slice_eq_nocase(slice_make(target->base, 7), SLICE("http://")))
        len = 7;
    else if (target->len > 8 && slice_eq_nocase(slice_make(target->base, 8), SLICE("https://")))
        len = 8;
    if (len == 0)
        return false;
    size_t host = len;
    while (len < target->len && target->base[len] != '/' && target->base[len] != '?')
        len++;
    *target = slice_make(target->base + len, target->len - len);
    return len > host;
}

static enum http_fault split_target(struct http_request *request)
{
    struct slice rest = request->target;
    if (!is_target(rest))
        return HTTP_FAULT_LINE;
    bool is_asterisk = slice_eq(rest, SLICE("*")) && slice_eq(request->method_name, SLICE("OPTIONS"));
    if (rest.base[0] != '/' && !is_asterisk && !strip_origin(&rest))
        return HTTP_FAULT_LINE;
    request->path = slice_split(rest, '?', &request->query);
    if (request->path.len == 0)
        request->path = SLICE("/");
    return HTTP_FAULT_NONE;
}

/* The characters of RFC 3986's host and port; empty is allowed (RFC 9110 section 7.2). */
static bool is_host(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.base[i];
        if (!is_token_char(c) && memchr(":[]();,=", c, 8) == NULL)
            return false;
        if (c == '#' || c == '^' || c == '`' || c == '|')
            return false;
    }
    return true;
}

static bool take_length(struct slice text, uint64_t *length)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.base[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(c - '0'), &sum))
            return false;
    }
    *length = sum;
    return text.len > 0;
}

static void take_connection(struct slice list, bool *is_close, bool *is_keepalive)
{
    while (list.len > 0) {
        struct slice option = slice_trim(slice_split(list, ',', &list));
        if (slice_eq_nocase(option, SLICE("close")))
            *is_close = true;
        else if (slice_eq_nocase(option, SLICE("keep-alive")))
            *is_keepalive = true;
    }
}

/* How often the headers that frame a message were sent, and what they said. */
struct framing {
    unsigned host_count;
    unsigned length_count;
    unsigned encoding_count;
    bool is_close;
    bool is_keepalive;
    bool is_expectation_unknown;
    enum http_fault fault; /* the first */
};

static void look_at_header(struct http_header *header, struct framing *framing, struct http_head *head)
{
    switch (header->name.len) {
    case 4:
        if (slice_eq_nocase(header->name, SLICE("host"))) {
            framing->host_count++;
            if (!is_host(header->value))
                framing->fault = HTTP_FAULT_HOST;
        }
        break;
    case 6:
        if (slice_eq_nocase(header->name, SLICE("expect"))) {
            head->is_continue_expected = slice_eq_nocase(header->value, SLICE("100-continue"));
            framing->is_expectation_unknown |= !head->is_continue_expected;
        }
        break;
    case 10:
        if (slice_eq_nocase(header->name, SLICE("connection")))
            take_connection(header->value, &framing->is_close, &framing->is_keepalive);
        break;
    case 14:
        if (slice_eq_nocase(header->name, SLICE("content-length"))) {
            framing->length_count++;
            if (!take_length(header->value, &head->content_length))
                framing->fault = HTTP_FAULT_LENGTH;
        }
        break;
    case 16:
        if (head->correlation_id.len == 0 && slice_eq_nocase(header->name, SLICE("x-correlation-id")))
            head->correlation_id = header->value;
        break;
    case 17:
        if (slice_eq_nocase(header->name, SLICE("transfer-encoding"))) {
            framing->encoding_count++;
            head->is_chunked = slice_eq_nocase(header->value, SLICE("chunked"));
            if (!head->is_chunked)
                framing->fault = HTTP_FAULT_LENGTH;
        }
        break;
    default:
        break;
    }
}

static enum http_fault look_at_headers(struct http_request *request, struct http_head *head)
{
    struct framing framing = {.fault = HTTP_FAULT_NONE};
    for (size_t i = 0; i < request->header_count; i++) {
        struct http_header *header = &request->headers[i];
        if (!is_token(header->name))
            return HTTP_FAULT_HEADER;
        header->value = slice_trim(header->value);
        look_at_header(header, &framing, head);
    }
    if (framing.fault != HTTP_FAULT_NONE)
        return framing.fault;
    if (framing.host_count > 1 || (framing.host_count == 0 && !head->is_http_1_0))
        return HTTP_FAULT_HOST;
    if (framing.length_count + framing.encoding_count > 1)
        return HTTP_FAULT_LENGTH;
    if (head->is_chunked && head->is_http_1_0)
        return HTTP_FAULT_LENGTH;
    request->has_body = framing.length_count + framing.encoding_count > 0;
    head->is_keepalive = !framing.is_close && (!head->is_http_1_0 || framing.is_keepalive);
    head->is_continue_expected = head->is_continue_expected && !head->is_http_1_0;
    return framing.is_expectation_unknown && !head->is_http_1_0 ? HTTP_FAULT_EXPECTATION : HTTP_FAULT_NONE;
}

enum http_fault http_head_parse(struct slice bytes, struct http_request *request, struct http_head *head)
{
    struct parse parse = {.request = request};
    PARSER parser;
    *head = (struct http_head){0};
    request->target = slice_make("", 0);
    request->header_count = 0;
    if (!take_method(bytes, request))
        return HTTP_FAULT_LINE;
    parser.data = &parse;
    bool is_read = run_library(bytes, request, &parser);
    if (parse.is_too_many)
        return HTTP_FAULT_HEADER_COUNT;
    if (!is_read || !parse.is_complete)
        return request->header_count == 0 ? HTTP_FAULT_LINE : HTTP_FAULT_HEADER;
    if (parser.http_major != 1)
        return HTTP_FAULT_VERSION;
    head->is_http_1_0 = parser.http_minor == 0;
    enum http_fault fault = split_target(request);
    return fault != HTTP_FAULT_NONE ? fault : look_at_headers(request, head);
}
