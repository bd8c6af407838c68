/* SPDX-License-Identifier: Apache-2.0 */
/* The wait that a client prefers is found in every spelling of RFC 7240, and nowhere else. */
#include "api/prefer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

struct preference {
    const char *first;  /* a Prefer header */
    const char *second; /* another one, or NULL */
    int64_t wait_s;
};

static const struct preference preferences[] = {
    {"wait=10", NULL, 10},
    {"WAIT=10", NULL, 10},
    {" wait = 10 ", NULL, 10},
    {"wait=\"10\"", NULL, 10},
    {"wait=007", NULL, 7},
    {"respond-async, wait=10", NULL, 10},
    {"respond-async;x=y,wait=10;foo=\"bar;\"", NULL, 10},
    {"foo=\"a, wait=5\", wait=3", NULL, 3},
    {"foo=\"a\\\", wait=5\", wait=3", NULL, 3},
    {"foo=\"never ends, wait=5", NULL, 0},
    {"foo=\"ends with a backslash\\", NULL, 0},
    {",, ,wait=4,", NULL, 4},
    {"respond-async", "wait=6", 6},
    {"wait=6", "wait=7", 6},
    {"wait=0, wait=9", NULL, 0},
    {"wait=x, wait=9", NULL, 0},
    {"wait", NULL, 0},
    {"wait=", NULL, 0},
    {"wait=\"\"", NULL, 0},
    {"wait=\"", NULL, 0},
    {"wait=-1", NULL, 0},
    {"wait=+1", NULL, 0},
    {"wait=1.5", NULL, 0},
    {"waits=9", NULL, 0},
    {"x;wait=9", NULL, 0},
    {"", NULL, 0},
    {"wait=9223372036854775807", NULL, INT64_MAX},
    {"wait=9223372036854775808", NULL, INT64_MAX},
    {"wait=99999999999999999999999999999999999999999", NULL, INT64_MAX},
};

static void waits_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof preferences / sizeof preferences[0]; i++) {
        const struct preference *preference = &preferences[i];
        struct http_request request = {.header_count = 2};
        request.headers[0] = (struct http_header){SLICE("host"), SLICE("wait=8")};
        request.headers[1] = (struct http_header){SLICE("PREFER"), slice_cstr(preference->first)};
        if (preference->second != NULL)
            request.headers[request.header_count++] =
                (struct http_header){SLICE("prefer"), slice_cstr(preference->second)};
        int64_t wait_s = prefer_wait_s(&request, 0);
        if (wait_s != preference->wait_s)
            fail_msg("Prefer: %s: %lld s, not %lld", preference->first, (long long)wait_s,
                (long long)preference->wait_s);
    }
}

static void nothing_is_preferred_without_the_header(void **state)
{
    (void)state;
    const struct http_request request = {.header_count = 0};
    assert_int_equal(prefer_wait_s(&request, 0), 0);
    assert_int_equal(prefer_wait_s(&request, 7), 7);
}

static void a_wait_that_is_no_number_is_none(void **state)
{
    (void)state;
    static const char *const nonsense[] = {"wait", "wait=", "wait=\"\"", "wait=-1", "wait=1.5", "waits=9"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        struct http_request request = {.header_count = 1};
        request.headers[0] = (struct http_header){SLICE("prefer"), slice_cstr(nonsense[i])};
        assert_int_equal(prefer_wait_s(&request, 7), 7);
        request.headers[0].value = SLICE("wait=0");
        assert_int_equal(prefer_wait_s(&request, 7), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_are_found),
        cmocka_unit_test(nothing_is_preferred_without_the_header),
        cmocka_unit_test(a_wait_that_is_no_number_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
