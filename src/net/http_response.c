/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_response.h"

enum chunk_step { CHUNK_SIZE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER };

enum { CHUNK_LINE_MAX = 1024 }; /* bytes of a chunk's size line or of a trailer line */

void http_response_init(struct http_response *response)
{
    memset(response, 0, sizeof *response);
}

/* A character of a header name (RFC 9110 section 5.6.2). */
static bool is_token_char(unsigned char c)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != 0 && strchr(others, c) != NULL);
}

static struct slice trim_blanks(struct slice text)
{
    while (text.len > 0 && (text.base[0] == ' ' || text.base[0] == '\t')) {
        text.base++;
        text.len--;
    }
    while (text.len > 0 && (text.base[text.len - 1] == ' ' || text.base[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* "HTTP/1.x NNN[ reason]" */
static bool read_status_line(struct http_response *response, struct slice line)
{
    if (line.len < 12 || memcmp(line.base, "HTTP/1.", 7) != 0 || line.base[8] != ' ')
        return false;
    if (line.base[7] != '0' && line.base[7] != '1')
        return false;
    if (line.len > 12 && line.base[12] != ' ')
        return false;
    int status = 0;
    for (int i = 9; i < 12; i++) {
        if (line.base[i] < '0' || line.base[i] > '9')
            return false;
        status = status * 10 + (line.base[i] - '0');
    }
    response->status = status;
    response->is_http_1_0 = line.base[7] == '0';
    response->is_keepalive = !response->is_http_1_0;
    return status >= 100 && status <= 599;
}

static bool read_content_length(struct http_response *response, struct slice value)
{
    int64_t length;
    if (value.len == 0 || value.base[0] == '-' || !slice_to_i64(value, &length))
        return false;
    if (response->has_length && response->length != (size_t)length)
        return false;
    response->has_length = true;
    response->length = (size_t)length;
    return true;
}

static void read_connection(struct http_response *response, struct slice value)
{
    while (value.len > 0) {
        struct slice option = trim_blanks(slice_split(value, ',', &value));
        if (slice_eq_nocase(option, SLICE("close")))
            response->is_keepalive = false;
        else if (slice_eq_nocase(option, SLICE("keep-alive")) && response->is_http_1_0)
            response->is_keepalive = true;
    }
}

/* The few headers that matter are told apart by the length of their names first. */
static bool read_header(
    struct http_response *response, const char *base, struct slice name, struct slice value)
{
    switch (name.len) {
    case 10:
        if (slice_eq_nocase(name, SLICE("connection")))
            read_connection(response, value);
        return true;
    case 11:
        if (slice_eq_nocase(name, SLICE("retry-after"))) {
            response->retry_after_at = (size_t)(value.base - base);
            response->retry_after_len = value.len;
        }
        return true;
    case 12:
        if (slice_eq_nocase(name, SLICE("content-type"))) {
            response->content_type_at = (size_t)(value.base - base);
            response->content_type_len = value.len;
        }
        return true;
    case 14:
        return !slice_eq_nocase(name, SLICE("content-length")) || read_content_length(response, value);
    case 17:
        if (!slice_eq_nocase(name, SLICE("transfer-encoding")))
            return true;
        if (response->framing == HTTP_FRAMING_CHUNKED || !slice_eq_nocase(value, SLICE("chunked")))
            return false;
        response->framing = HTTP_FRAMING_CHUNKED;
        return true;
    default:
        return true;
    }
}

/* Takes the line up to CRLF off the front; false when a CR or LF stands alone or a NUL is in it. */
static bool take_line(struct slice *text, struct slice *line)
{
    const char *end = memchr(text->base, '\r', text->len);
    if (end == NULL || end + 1 == text->base + text->len || end[1] != '\n')
        return false;
    line->base = text->base;
    line->len = (size_t)(end - text->base);
    text->base = end + 2;
    text->len -= line->len + 2;
    return memchr(line->base, '\n', line->len) == NULL && memchr(line->base, '\0', line->len) == NULL;
}

static bool read_header_line(struct http_response *response, const char *base, struct slice line)
{
    const char *colon = memchr(line.base, ':', line.len);
    if (colon == NULL || colon == line.base)
        return false;
    struct slice name = slice_make(line.base, (size_t)(colon - line.base));
    for (size_t i = 0; i < name.len; i++)
        if (!is_token_char((unsigned char)name.base[i]))
            return false;
    struct slice value = slice_make(colon + 1, line.len - name.len - 1);
    return read_header(response, base, name, trim_blanks(value));
}

static bool choose_framing(struct http_response *response)
{
    if (response->framing == HTTP_FRAMING_CHUNKED)
        return !response->has_length && !response->is_http_1_0;
    if (response->status < 200 || response->status == 204 || response->status == 304) {
        response->framing = HTTP_FRAMING_NONE;
        response->length = 0;
    } else if (response->has_length) {
        response->framing = HTTP_FRAMING_LENGTH;
    } else {
        response->framing = HTTP_FRAMING_CLOSE;
        response->is_keepalive = false;
    }
    return true;
}

/* `head` reaches up to and with the empty line. */
static bool read_head(struct http_response *response, const char *base, struct slice head)
{
    struct slice line;
    if (!take_line(&head, &line) || !read_status_line(response, line))
        return false;
    for (;;) {
        if (!take_line(&head, &line))
            return false;
        if (line.len == 0)
            return choose_framing(response);
        if (!read_header_line(response, base, line))
            return false;
    }
}

/* Finds the end of the head and reads it; interim replies are stepped over. */
static enum http_response_state feed_head(struct http_response *response, const char *base, size_t len)
{
    while (!response->is_head_done) {
        size_t from = response->scanned > response->start + 3 ? response->scanned - 3 : response->start;
        const char *end = memmem(base + from, len - from, "\r\n\r\n", 4);
        response->scanned = len;
        if (end == NULL)
            return len - response->start > HTTP_RESPONSE_HEAD_MAX ? HTTP_RESPONSE_MALFORMED
                                                                  : HTTP_RESPONSE_PARTIAL;
        size_t head_end = (size_t)(end - base) + 4;
        if (head_end - response->start > HTTP_RESPONSE_HEAD_MAX ||
            !read_head(response, base, slice_make(base + response->start, head_end - response->start)))
            return HTTP_RESPONSE_MALFORMED;
        if (response->status == 101)
            return HTTP_RESPONSE_MALFORMED; /* nobody asked for another protocol */
        if (response->status < 200) {
            http_response_init(response);
            response->start = head_end;
            response->scanned = head_end;
            continue;
        }
        response->is_head_done = true;
        response->body_at = head_end;
        response->read_at = head_end;
    }
    return HTTP_RESPONSE_DONE;
}

/* The value of a hex digit, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* "1a2b[;extension]"; at least one hex digit, and no more than a size_t holds comfortably. */
static bool read_chunk_size(struct slice line, size_t *size)
{
    size_t value = 0;
    size_t i = 0;
    for (; i < line.len; i++) {
        int digit = hex_value(line.base[i]);
        if (digit < 0)
            break;
        if (i >= 8)
            return false;
        value = value * 16 + (size_t)digit;
    }
    *size = value;
    return i > 0 && (i == line.len || line.base[i] == ';' || line.base[i] == ' ' || line.base[i] == '\t');
}

/* Takes a line of the chunked coding; PARTIAL when its end has not come yet. */
static enum http_response_state next_chunk_line(
    struct http_response *response, const char *base, size_t len, struct slice *line)
{
    struct slice rest = slice_make(base + response->read_at, len - response->read_at);
    const char *end = memchr(rest.base, '\n', rest.len);
    if (end == NULL)
        return rest.len > CHUNK_LINE_MAX ? HTTP_RESPONSE_MALFORMED : HTTP_RESPONSE_PARTIAL;
    if (!take_line(&rest, line) || line->len > CHUNK_LINE_MAX)
        return HTTP_RESPONSE_MALFORMED;
    response->read_at = (size_t)(rest.base - base);
    return HTTP_RESPONSE_DONE;
}

/* Moves what has come of the present chunk to the end of the joined body. */
static void join_chunk_data(struct http_response *response, char *base, size_t len)
{
    size_t take = len - response->read_at;
    if (take > response->chunk_left)
        take = response->chunk_left;
    memmove(base + response->body_at + response->length, base + response->read_at, take);
    response->length += take;
    response->read_at += take;
    response->chunk_left -= take;
    if (response->chunk_left == 0)
        response->chunk_step = CHUNK_DATA_END;
}

static enum http_response_state feed_chunks(struct http_response *response, char *base, size_t len)
{
    for (;;) {
        struct slice line;
        if (response->chunk_step == CHUNK_DATA) {
            join_chunk_data(response, base, len);
            if (response->chunk_step == CHUNK_DATA)
                return HTTP_RESPONSE_PARTIAL;
        }
        enum http_response_state state = next_chunk_line(response, base, len, &line);
        if (state != HTTP_RESPONSE_DONE)
            return state;
        if (response->chunk_step == CHUNK_DATA_END) {
            if (line.len != 0)
                return HTTP_RESPONSE_MALFORMED;
            response->chunk_step = CHUNK_SIZE;
        } else if (response->chunk_step == CHUNK_SIZE) {
            if (!read_chunk_size(line, &response->chunk_left))
                return HTTP_RESPONSE_MALFORMED;
            response->chunk_step = response->chunk_left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        } else if (line.len == 0) {
            response->consumed = response->read_at;
            return HTTP_RESPONSE_DONE;
        }
    }
}

static enum http_response_state feed_body(struct http_response *response, char *base, size_t len, bool is_eof)
{
    switch (response->framing) {
    case HTTP_FRAMING_CHUNKED:
        return feed_chunks(response, base, len);
    case HTTP_FRAMING_CLOSE:
        response->length = len - response->body_at;
        response->consumed = len;
        return is_eof ? HTTP_RESPONSE_DONE : HTTP_RESPONSE_PARTIAL;
    case HTTP_FRAMING_NONE:
    case HTTP_FRAMING_LENGTH:
        if (len - response->body_at < response->length)
            return HTTP_RESPONSE_PARTIAL;
        response->consumed = response->body_at + response->length;
        return HTTP_RESPONSE_DONE;
    }
    return HTTP_RESPONSE_MALFORMED;
}

enum http_response_state http_response_feed(
    struct http_response *response, char *base, size_t len, bool is_eof)
{
    enum http_response_state state = feed_head(response, base, len);
    if (state == HTTP_RESPONSE_DONE)
        state = feed_body(response, base, len, is_eof);
    if (state == HTTP_RESPONSE_DONE) {
        response->content_type = slice_make(base + response->content_type_at, response->content_type_len);
        response->retry_after = slice_make(base + response->retry_after_at, response->retry_after_len);
        response->body = slice_make(base + response->body_at, response->length);
    }
    return state;
}
