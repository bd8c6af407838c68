/* SPDX-License-Identifier: Apache-2.0 */
/* Heads damaged at random are read as another parser reads them, or refused. Longer: test_http_oracle SEED
 * ROUNDS */
#include "http_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/id.h"

static uint64_t seed = 20261120;
static uint64_t round_count = 300000;

static const char *const heads[] = {
    "GET /api/v1/sales?sku=W-1 HTTP/1.1\r\nHost: localhost:3000\r\nAccept: */*\r\n\r\n",
    "POST /api/v1/purchases HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-User-Id: u1\r\n"
    "Content-Length: 26\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "PUT /x HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\nCookie: a=b; c=\"d "
    "e\"\r\n\r\n",
};

/* Changes, drops or doubles up to three bytes, often to ones that mean something. */
static size_t damage(struct id_source *random, char *text, size_t len)
{
    static const char bytes[] = "\r\n\t :;,/?#%*\"0123456789abcXZ\x7F\x80\xFF\x01HTTP";
    for (uint64_t count = id_next(random) % 4; count > 0; count--) {
        size_t at = id_next(random) % len;
        switch (id_next(random) % 3) {
        case 0:
            text[at] = bytes[id_next(random) % (sizeof bytes - 1)];
            break;
        case 1:
            memmove(text + at, text + at + 1, len - at - 1);
            len--;
            break;
        default:
            memmove(text + at + 1, text + at, len - at);
            len++;
        }
    }
    return len;
}

static void another_parser_agrees(void **state)
{
    struct http_request *request = malloc(sizeof *request);
    struct http_head head;
    struct id_source random;
    uint64_t accepted = 0;
    id_source_init_seed(&random, seed);
    for (uint64_t round = 0; round < round_count; round++) {
        char text[512];
        struct http_scan scan = {0};
        struct slice whole = slice_cstr(heads[id_next(&random) % (sizeof heads / sizeof heads[0])]);
        memcpy(text, whole.base, whole.len);
        size_t len = damage(&random, text, whole.len);
        if (http_scan(&scan, slice_make(text, len)) != HTTP_SCAN_DONE)
            continue;
        struct slice bytes = slice_make(text, scan.at);
        if (http_head_parse(bytes, request, &head) != HTTP_FAULT_NONE)
            continue;
        accepted++;
        const char *objection = http_oracle_objection(bytes, request, &head);
        if (objection != NULL)
            fail_msg("test_http_oracle %llu %llu: %s: %.*s", (unsigned long long)seed,
                (unsigned long long)round + 1, objection, SLICE_ARGS(bytes));
    }
    assert_true(accepted > round_count / 10); /* else the damage is so great that nothing is compared */
    free(request);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(another_parser_agrees)};
    if (argc == 3) {
        seed = strtoull(argv[1], NULL, 10);
        round_count = strtoull(argv[2], NULL, 10);
    }
    return cmocka_run_group_tests_name("http_oracle", tests, NULL, NULL);
}
