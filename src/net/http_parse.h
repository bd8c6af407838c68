/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the bytes of a request's head to its parts (RFC 9110, RFC 9112): pure functions, no memory, no clock.
 *
 * Two passes. http_scan looks at each byte once as it arrives, finds where the head ends and refuses what no
 * parser should be asked about: bare CR or LF, control characters, folded lines. http_head_parse then cuts
 * the complete head, so that every slice is one piece of the buffer, and decides how long the body is,
 * whether the connection stays, and which targets and methods there are. A parser library was measured in its
 * place: 0.55 us for a usual head against 0.13, half of all that a request may cost here; the tests hold this
 * parser against that library. Any thread.
 */
#ifndef DOORBUSTER_NET_HTTP_PARSE_H
#define DOORBUSTER_NET_HTTP_PARSE_H

#include "net/http_server.h"

/* What can be wrong with a request before a handler sees it; HTTP_FAULT_NONE: nothing. */
enum http_fault {
#define HTTP_FAULT(name, status, text) HTTP_FAULT_##name,
#include "net/http_fault.def"
#undef HTTP_FAULT
    HTTP_FAULT_COUNT
};

struct http_fault_info {
    int status;       /* of the reply */
    const char *text; /* a sentence for people */
};

/* Never NULL. */
const struct http_fault_info *http_fault_info(enum http_fault fault);

/* How far a head has been looked at; starts as zero for each request. Offsets count from the head's first
 * byte. */
struct http_scan {
    uint32_t at;   /* bytes before this one are in order */
    uint32_t line; /* start of the line that `at` is in */
};

enum http_scan_status {
    HTTP_SCAN_MORE,     /* no end of the head yet */
    HTTP_SCAN_DONE,     /* scan->at is the length of the head, its blank line included */
    HTTP_SCAN_MALFORMED /* will never be a head */
};

/*
 * `input` begins with the head's first byte and holds what it held at the last call, and more. Below 4 GiB.
 */
enum http_scan_status http_scan(struct http_scan *scan, struct slice input);

/* What a head says about the message around it. */
struct http_head {
    bool is_http_1_0;
    bool is_keepalive; /* the client can use the connection again */
    bool is_chunked;
    bool is_continue_expected;   /* "Expect: 100-continue" */
    uint64_t content_length;     /* 0 when chunked or not sent */
    struct slice correlation_id; /* X-Correlation-Id, empty when not sent */
};

/*
 * Parses a head that http_scan found. Fills of the request: method, is_head, method_name, target, query, path
 * (not yet percent-decoded), headers, header_count, has_body; all slices point into `bytes`. After any fault
 * but HTTP_FAULT_EXPECTATION the request is not to be used.
 */
enum http_fault http_head_parse(struct slice bytes, struct http_request *request, struct http_head *head);

#endif
