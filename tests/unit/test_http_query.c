/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets are decoded as the contract says: %-escapes in path and query, '+' in forms only, and nothing half.
 */
#include "net/http_query.h"
#include "net/http_route.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct decoding {
    struct slice text;
    bool is_form;
    const char *decoded; /* NULL: does not decode */
};

static const struct decoding decodings[] = {
    {SLICE_INIT(""), false, ""},
    {SLICE_INIT("plain"), false, "plain"},
    {SLICE_INIT("W%2D1"), false, "W-1"},
    {SLICE_INIT("%41%5a%7A"), false, "AZz"},
    {SLICE_INIT("a+b"), false, "a+b"},
    {SLICE_INIT("a+b%2B"), true, "a b+"},
    {SLICE_INIT("%C3%A4"), false, "\xC3\xA4"},
    {SLICE_INIT("%"), false, NULL},
    {SLICE_INIT("%4"), false, NULL},
    {SLICE_INIT("a%4"), true, NULL},
    {SLICE_INIT("%zz"), false, NULL},
    {SLICE_INIT("%4g"), false, NULL},
    {SLICE_INIT("%%41"), false, NULL},
    {SLICE_INIT("% 41"), false, NULL},
};

static void escapes_are_decoded(void **state)
{
    alignas(max_align_t) char memory[256];
    for (size_t i = 0; i < sizeof decodings / sizeof decodings[0]; i++) {
        const struct decoding *row = &decodings[i];
        struct arena arena;
        struct slice decoded;
        arena_init(&arena, memory, sizeof memory);
        bool is_decoded = http_percent_decode(&arena, row->text, row->is_form, &decoded);
        assert_int_equal(is_decoded, row->decoded != NULL);
        if (is_decoded && !slice_eq(decoded, slice_cstr(row->decoded)))
            fail_msg("%.*s gives %.*s", SLICE_ARGS(row->text), SLICE_ARGS(decoded));
    }
}

static void what_needs_no_decoding_is_not_copied(void **state)
{
    struct arena arena;
    struct slice decoded;
    arena_init(&arena, NULL, 0);
    assert_true(http_percent_decode(&arena, SLICE("plain"), true, &decoded));
    assert_false(arena.has_overflowed);
    assert_false(http_percent_decode(&arena, SLICE("%41"), true, &decoded));
}

static void a_query_is_walked_piece_by_piece(void **state)
{
    alignas(max_align_t) char memory[256];
    struct arena arena;
    struct slice query = SLICE("&sku=W%2D1&&flag&empty=&a%3Db=c=d&x+y=1+2&");
    static const char *const expected[][2] = {
        {"sku", "W-1"}, {"flag", ""}, {"empty", ""}, {"a=b", "c=d"}, {"x y", "1 2"}};
    struct slice name;
    struct slice value;
    bool is_malformed = false;
    size_t count = 0;
    arena_init(&arena, memory, sizeof memory);
    while (http_query_next(&arena, &query, &name, &value, &is_malformed)) {
        assert_true(count < 5);
        assert_true(slice_eq(name, slice_cstr(expected[count][0])));
        assert_true(slice_eq(value, slice_cstr(expected[count][1])));
        count++;
    }
    assert_int_equal(count, 5);
    assert_false(is_malformed);
}

static void a_query_that_does_not_decode_is_marked(void **state)
{
    static const char *const queries[] = {"a=%", "%=a", "a=1&b=%f"};
    alignas(max_align_t) char memory[256];
    for (size_t i = 0; i < 3; i++) {
        struct arena arena;
        struct slice query = slice_cstr(queries[i]);
        struct slice name;
        struct slice value;
        bool is_malformed = false;
        arena_init(&arena, memory, sizeof memory);
        while (http_query_next(&arena, &query, &name, &value, &is_malformed))
            continue;
        assert_true(is_malformed);
    }
}

/* --- Routes --- */

static void no_handler(struct http_request *request, void *context)
{
}

static const struct http_route routes[] = {
    {METHOD_GET, "/", no_handler, NULL, 0}, {METHOD_GET, "/sales", no_handler, NULL, 0},
    {METHOD_GET, "/sales/events", no_handler, NULL, 0}, {METHOD_POST, "/sales", no_handler, NULL, 0},
    {METHOD_GET, "/products/:sku", no_handler, NULL, 0}, {METHOD_PUT, "/products/:sku", no_handler, NULL, 0},
    {METHOD_GET, "/products/:sku/parts/:part", no_handler, NULL, 0},
    {METHOD_GET, "/products/special", no_handler, NULL, 0}, /* never: an earlier one matches */
    {METHOD_GET, "/orders/:id", no_handler, NULL, 255},
    {METHOD_ANY, "/orders/:id", no_handler, NULL, 255}, /* all other methods */
};

struct match {
    enum method method;
    const char *path;
    int route; /* -1: none, -2: does not decode */
    const char *params[2];
};

#define X100 \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

#define X54 "012345678901234567890123456789012345678901234567890123"
#define X55 X54 "4"

static const struct match matches[] = {
    {METHOD_GET, "/", 0, {NULL}},
    {METHOD_GET, "/sales", 1, {NULL}},
    {METHOD_POST, "/sales", 3, {NULL}},
    {METHOD_DELETE, "/sales", -1, {NULL}},
    {METHOD_GET, "/sales/", -1, {NULL}},
    {METHOD_GET, "/Sales", -1, {NULL}},
    {METHOD_GET, "//sales", -1, {NULL}},
    {METHOD_GET, "/sales/events", 2, {NULL}},
    {METHOD_GET, "/s%61les", 1, {NULL}},
    {METHOD_GET, "/sales%2Fevents", -1, {NULL}},
    {METHOD_GET, "/products/W-1", 4, {"W-1"}},
    {METHOD_PUT, "/products/W-1", 5, {"W-1"}},
    {METHOD_GET, "/products/special", 4, {"special"}},
    {METHOD_GET, "/products/", -1, {NULL}},
    {METHOD_GET, "/products/a/", -1, {NULL}},
    {METHOD_GET, "/products/a%2Fb", 4, {"a/b"}},
    {METHOD_GET, "/products/a%2fb/parts/%25", 6, {"a/b", "%"}},
    {METHOD_GET, "/products//parts/x", -1, {NULL}},
    {METHOD_GET, "/products/" X100, 4, {X100}},
    {METHOD_GET, "/products/" X100 "1", -1, {NULL}},
    {METHOD_GET, "/products/%30" X100, -1, {NULL}},
    {METHOD_GET, "/orders/" X100 X100 X55, 8, {X100 X100 X55}},
    {METHOD_GET, "/orders/" X100 X100 "%30" X54, 8, {X100 X100 "0" X54}},
    {METHOD_GET, "/orders/" X100 X100 X55 "1", -1, {NULL}},
    {METHOD_DELETE, "/orders/a", 9, {"a"}},
    {METHOD_OTHER, "/orders/%61", 9, {"a"}},
    {METHOD_GET, "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s", -1, {NULL}},
    {METHOD_GET, "/%61/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s", -1, {NULL}},
    {METHOD_GET, "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/%s", -2, {NULL}},
    {METHOD_GET, "/products/%", -2, {NULL}},
    {METHOD_GET, "/%zz", -2, {NULL}},
    {METHOD_GET, "/products/%ff", -2, {NULL}},
    {METHOD_GET, "/products/%c3%28", -2, {NULL}},
    {METHOD_OTHER, "*", -1, {NULL}},
};

static void paths_find_their_routes(void **state)
{
    alignas(max_align_t) char memory[1024];
    struct http_router router;
    struct http_request *request = malloc(sizeof *request);
    assert_true(http_router_init(&router, routes, sizeof routes / sizeof routes[0]));
    for (size_t i = 0; i < sizeof matches / sizeof matches[0]; i++) {
        const struct match *row = &matches[i];
        request->method = row->method;
        request->path = slice_cstr(row->path);
        arena_init(&request->arena, memory, sizeof memory);
        bool is_decoded = http_router_match(&router, request);
        int found = !is_decoded ? -2 : request->route == NULL ? -1 : (int)(request->route - routes);
        if (found != row->route)
            fail_msg("%s: route %d instead of %d", row->path, found, row->route);
        for (size_t j = 0; j < 2 && row->params[j] != NULL; j++)
            assert_true(slice_eq(request->params[j], slice_cstr(row->params[j])));
    }
    free(request);
    http_router_fini(&router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_are_decoded),
        cmocka_unit_test(what_needs_no_decoding_is_not_copied),
        cmocka_unit_test(a_query_is_walked_piece_by_piece),
        cmocka_unit_test(a_query_that_does_not_decode_is_marked),
        cmocka_unit_test(paths_find_their_routes),
    };
    return cmocka_run_group_tests_name("http_query", tests, NULL, NULL);
}
