/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_parse.h"

#include <endian.h>

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

/* --- Characters --- */

enum {
    IS_TOKEN = 1, /* RFC 9110 section 5.6.2 */
    IS_HOST = 2   /* what RFC 3986 allows in host and port */
};

static const uint8_t classes[256] = {
    ['0' ... '9'] = IS_TOKEN | IS_HOST,
    ['A' ... 'Z'] = IS_TOKEN | IS_HOST,
    ['a' ... 'z'] = IS_TOKEN | IS_HOST,
    ['!'] = IS_TOKEN | IS_HOST,
    ['#'] = IS_TOKEN,
    ['$'] = IS_TOKEN | IS_HOST,
    ['%'] = IS_TOKEN | IS_HOST,
    ['&'] = IS_TOKEN | IS_HOST,
    ['\''] = IS_TOKEN | IS_HOST,
    ['*'] = IS_TOKEN | IS_HOST,
    ['+'] = IS_TOKEN | IS_HOST,
    ['-'] = IS_TOKEN | IS_HOST,
    ['.'] = IS_TOKEN | IS_HOST,
    ['^'] = IS_TOKEN,
    ['_'] = IS_TOKEN | IS_HOST,
    ['`'] = IS_TOKEN,
    ['|'] = IS_TOKEN,
    ['~'] = IS_TOKEN | IS_HOST,
    [':'] = IS_HOST,
    ['['] = IS_HOST,
    [']'] = IS_HOST,
    ['('] = IS_HOST,
    [')'] = IS_HOST,
    [';'] = IS_HOST,
    [','] = IS_HOST,
    ['='] = IS_HOST,
};

static bool is_class(char c, int wanted)
{
    return classes[(unsigned char)c] & wanted;
}

/* How many characters at the front are of that class. */
static size_t class_len(struct slice text, int wanted)
{
    size_t len = 0;
    while (len < text.len && is_class(text.base[len], wanted))
        len++;
    return len;
}

/* --- First pass: where the head ends, and bytes that no head may hold --- */

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7F;
}

/*
 * The next control character at or after `at`, or `len`. Eight bytes at a time: a byte below 0x20 borrows
 * into its top bit when 0x20 is taken off, and so does a zero (a DEL made zero) when 1 is taken off. A borrow
 * can make a higher byte look like a hit too, but never a lower one, and only the lowest is asked for.
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
    return scan->line > 0 && scan->line < input.len &&
           (input.base[scan->line] == ' ' || input.base[scan->line] == '\t');
}

enum http_scan_status http_scan(struct http_scan *scan, struct slice input)
{
    size_t at = scan->at;
    if (is_folded(scan, input) ||
        (at == 0 && input.len > 0 && input.base[0] != '\r' && !is_class(input.base[0], IS_TOKEN)))
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

/* --- Second pass: the request line --- */

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

/* Takes the text up to the first `end` off the front, `end` too. False when there is none. */
static bool take_until(struct slice *rest, char end, struct slice *text)
{
    const char *at = memchr(rest->base, end, rest->len);
    if (at == NULL)
        return false;
    *text = slice_make(rest->base, (size_t)(at - rest->base));
    *rest = slice_make(at + 1, rest->len - text->len - 1);
    return true;
}

/* Takes a line and its CRLF off the front; http_scan has seen to it that a CR is always the end of a line. */
static bool take_line(struct slice *rest, struct slice *line)
{
    if (!take_until(rest, '\r', line) || rest->len == 0)
        return false;
    rest->base++;
    rest->len--;
    return true;
}

/* Methods are case-sensitive. */
static void read_method(struct http_request *request)
{
    request->method = METHOD_OTHER;
    request->is_head = false;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (slice_eq(methods[i].name, request->method_name)) {
            request->method = methods[i].method;
            request->is_head = request->method_name.base[0] == 'H';
            return;
        }
    }
}

/* HTTP/1.1, and any later 1.x, which must understand 1.1 (RFC 9110 section 2.5). */
static enum http_fault read_version(struct slice version, struct http_head *head)
{
    if (version.len != 8 || memcmp(version.base, "HTTP/", 5) != 0)
        return HTTP_FAULT_LINE;
    char major = version.base[5];
    char minor = version.base[7];
    if (major < '0' || major > '9' || version.base[6] != '.' || minor < '0' || minor > '9')
        return HTTP_FAULT_LINE;
    head->is_http_1_0 = minor == '0';
    return major == '1' ? HTTP_FAULT_NONE : HTTP_FAULT_VERSION;
}

/* Visible ASCII without '#': a fragment never travels (RFC 9112 section 3.2). */
static bool is_target(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.base[i] <= ' ' || text.base[i] > '~' || text.base[i] == '#')
            return false;
    }
    return text.len > 0;
}

/* "http://host/path" is what a proxy is sent; the host in it is of no interest to us (RFC 9112
 * section 3.2.2). */
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

static enum http_fault read_target(struct http_request *request)
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

/* --- Second pass: the headers --- */

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

static void look_at_header(const struct http_header *header, struct framing *framing, struct http_head *head)
{
    switch (header->name.len) {
    case 4:
        if (slice_eq_nocase(header->name, SLICE("host"))) {
            framing->host_count++;
            if (class_len(header->value, IS_HOST) != header->value.len) /* empty is allowed: RFC 9110, 7.2 */
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

/* Takes what all the headers together say. */
static enum http_fault judge(
    const struct framing *framing, struct http_request *request, struct http_head *head)
{
    if (framing->fault != HTTP_FAULT_NONE)
        return framing->fault;
    if (framing->host_count > 1 || (framing->host_count == 0 && !head->is_http_1_0))
        return HTTP_FAULT_HOST;
    if (framing->length_count + framing->encoding_count > 1)
        return HTTP_FAULT_LENGTH;
    if (head->is_chunked && head->is_http_1_0)
        return HTTP_FAULT_LENGTH;
    request->has_body = framing->length_count + framing->encoding_count > 0;
    head->is_keepalive = !framing->is_close && (!head->is_http_1_0 || framing->is_keepalive);
    head->is_continue_expected = head->is_continue_expected && !head->is_http_1_0;
    return framing->is_expectation_unknown && !head->is_http_1_0 ? HTTP_FAULT_EXPECTATION : HTTP_FAULT_NONE;
}

static struct slice trim_blanks(const char *start, const char *end)
{
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    while (start < end && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return slice_make(start, (size_t)(end - start));
}

/* "name: value"; the colon follows the name at once (RFC 9112 section 5.1). */
static bool read_header(struct slice line, struct http_header *header)
{
    size_t name_len = class_len(line, IS_TOKEN);
    if (name_len == 0 || name_len == line.len || line.base[name_len] != ':')
        return false;
    header->name = slice_make(line.base, name_len);
    header->value = trim_blanks(line.base + name_len + 1, line.base + line.len);
    return true;
}

static enum http_fault read_headers(struct slice rest, struct http_request *request, struct http_head *head)
{
    struct framing framing = {.fault = HTTP_FAULT_NONE};
    struct slice line;
    while (take_line(&rest, &line) && line.len > 0) {
        if (request->header_count == HTTP_HEADERS_MAX)
            return HTTP_FAULT_HEADER_COUNT;
        struct http_header *header = &request->headers[request->header_count++];
        if (!read_header(line, header))
            return HTTP_FAULT_HEADER;
        look_at_header(header, &framing, head);
    }
    return judge(&framing, request, head);
}

enum http_fault http_head_parse(struct slice bytes, struct http_request *request, struct http_head *head)
{
    struct slice rest = bytes;
    struct slice line;
    *head = (struct http_head){0};
    request->header_count = 0;
    if (!take_line(&rest, &line) || !take_until(&line, ' ', &request->method_name) ||
        !take_until(&line, ' ', &request->target))
        return HTTP_FAULT_LINE;
    if (request->method_name.len == 0 ||
        class_len(request->method_name, IS_TOKEN) != request->method_name.len)
        return HTTP_FAULT_LINE;
    read_method(request);
    enum http_fault fault = read_version(line, head);
    if (fault == HTTP_FAULT_NONE)
        fault = read_target(request);
    return fault != HTTP_FAULT_NONE ? fault : read_headers(rest, request, head);
}
