/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads and chunked bodies, as pure functions: read whole and in pieces they are the same, every slice lies
 * in the input, what was accepted holds nothing that must not get through, and another parser agrees.
 */
#include "base/ensure.h"
#include "http_oracle.h"
#include "net/http_chunked.h"

#include <stdio.h>
#include <stdlib.h>

enum { BODY_MAX = 1024, INPUT_MAX = 16 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct slice whole, struct slice part)
{
    if (part.len == 0 || (part.len == 1 && part.base[0] == '/')) /* a path that was not sent */
        return;
    ENSURE(part.base >= whole.base && part.base + part.len <= whole.base + whole.len);
    ENSURE(memchr(part.base, '\r', part.len) == NULL);
    ENSURE(memchr(part.base, '\n', part.len) == NULL);
    ENSURE(memchr(part.base, '\0', part.len) == NULL);
}

static void check_request(
    struct slice bytes, const struct http_request *request, const struct http_head *head)
{
    check_inside(bytes, request->method_name);
    check_inside(bytes, request->target);
    check_inside(bytes, request->path);
    check_inside(bytes, request->query);
    check_inside(bytes, head->correlation_id);
    for (size_t i = 0; i < request->header_count; i++) {
        check_inside(bytes, request->headers[i].name);
        check_inside(bytes, request->headers[i].value);
        ENSURE(request->headers[i].name.len > 0);
    }
    ENSURE(!head->is_chunked || head->content_length == 0);
    ENSURE(http_header_count(request, SLICE("content-length")) +
               http_header_count(request, SLICE("transfer-encoding")) ==
           request->has_body);
    const char *objection = http_oracle_objection(bytes, request, head);
    if (objection != NULL)
        (void)fprintf(stderr, "%s\n", objection);
    ENSURE(objection == NULL);
}

static size_t check_head(struct slice input)
{
    static struct http_request request;
    struct http_head head;
    struct http_scan whole = {0};
    struct http_scan pieces = {0};
    enum http_scan_status status = http_scan(&whole, input);
    enum http_scan_status again = HTTP_SCAN_MORE;
    for (size_t len = 1; len <= input.len && again == HTTP_SCAN_MORE; len++)
        again = http_scan(&pieces, slice_make(input.base, len));
    ENSURE(status == again);
    ENSURE(status != HTTP_SCAN_DONE || whole.at == pieces.at);
    ENSURE(whole.at <= input.len);
    if (status != HTTP_SCAN_DONE)
        return 0;
    struct slice bytes = slice_make(input.base, whole.at);
    if (http_head_parse(bytes, &request, &head) == HTTP_FAULT_NONE)
        check_request(bytes, &request, &head);
    return whole.at;
}

static enum http_chunked_status join(
    struct slice input, size_t step, char *body, size_t *body_len, size_t *taken)
{
    struct http_chunked chunked = {0};
    enum http_chunked_status status = HTTP_CHUNKED_MORE;
    *body_len = 0;
    *taken = 0;
    while (status == HTTP_CHUNKED_MORE && *taken < input.len) {
        size_t len = input.len - *taken < step ? input.len - *taken : step;
        size_t piece;
        char *from = body + *body_len;
        memcpy(from, input.base + *taken, len);
        status = http_chunked_feed(&chunked, body, body_len, BODY_MAX, from, len, &piece);
        ENSURE(piece <= len && *body_len <= BODY_MAX);
        *taken += piece;
    }
    return status;
}

static void check_chunks(struct slice input)
{
    static char whole[BODY_MAX + INPUT_MAX];
    static char pieces[BODY_MAX + INPUT_MAX];
    size_t whole_len;
    size_t pieces_len;
    size_t whole_taken;
    size_t pieces_taken;
    enum http_chunked_status status = join(input, INPUT_MAX, whole, &whole_len, &whole_taken);
    ENSURE(status == join(input, 3, pieces, &pieces_len, &pieces_taken));
    ENSURE(whole_len == pieces_len && whole_taken == pieces_taken);
    ENSURE(memcmp(whole, pieces, whole_len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX)
        return 0;
    struct slice input = slice_make(data, size);
    size_t head_len = check_head(input);
    check_chunks(slice_make(input.base + head_len, input.len - head_len));
    return 0;
}
