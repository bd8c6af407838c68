/* SPDX-License-Identifier: Apache-2.0 */
/* What --limits may name: every form of the URL that is taken, and nothing else, with no secret in a message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/redis_url.h"

struct good {
    const char *url;
    const char *host;
    int port;
    int database;
    const char *user;
    const char *password;
};

static void good_urls_are_read(void **state)
{
    static const struct good rows[] = {
        {"redis://h", "h", 6379, 0, "", ""},
        {"redis://h/", "h", 6379, 0, "", ""},
        {"redis://127.0.0.1:1", "127.0.0.1", 1, 0, "", ""},
        {"redis://redis-1.shop_x.internal:65535/15", "redis-1.shop_x.internal", 65535, 15, "", ""},
        {"redis://[::1]", "::1", 6379, 0, "", ""},
        {"redis://[fe80::1%eth0]:6380/2", "fe80::1%eth0", 6380, 2, "", ""},
        {"redis://:p@h", "h", 6379, 0, "", "p"},
        {"redis://u:p@[::1]:7", "::1", 7, 0, "u", "p"},
        {"redis://:a:b@c@h", "h", 6379, 0, "", "a:b@c"},
        {"redis://%75:%2f%40%3A%20@h/1", "h", 6379, 1, "u", "/@: "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_address address;
        struct error error;
        assert_int_equal(redis_url_parse(slice_cstr(rows[i].url), &address, &error), ERR_NONE);
        assert_string_equal(address.host, rows[i].host);
        assert_int_equal(address.port, rows[i].port);
        assert_int_equal(address.database, rows[i].database);
        assert_string_equal(address.user, rows[i].user);
        assert_string_equal(address.password, rows[i].password);
    }
}

static void assert_refused(const char *url, const char *words)
{
    struct redis_address address;
    struct error error;
    assert_int_equal(redis_url_parse(slice_cstr(url), &address, &error), ERR_USAGE);
    if (strstr(error.message, words) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", url, error.message, words);
    assert_null(strstr(error.message, "geheim"));
}

static void bad_urls_are_refused_with_their_reason(void **state)
{
    static const char *const rows[][2] = {
        {"", "redis://"},
        {"redis:/h", "begin with"},
        {"REDIS://h", "begin with"},
        {"redis://", "host"},
        {"redis://:6379", "host"},
        {"redis://a b", "host"},
        {"redis://h?x=1", "host"},
        {"redis://[]", "host"},
        {"redis://[::1", "bracket"},
        {"redis://[::1]x", "bracket"},
        {"redis://::1", "brackets"},
        {"redis://h:", "port"},
        {"redis://h:0", "port"},
        {"redis://h:65536", "port"},
        {"redis://h:-1", "port"},
        {"redis://[::1]:", "port"},
        {"redis://h/a", "database"},
        {"redis://h/-1", "database"},
        {"redis://h/1/", "database"},
        {"redis://h/65536", "database"},
        {"redis://geheim@h", "colon"},
        {"redis://@h", "colon"},
        {"redis://geheim:@h", "empty"},
        {"redis://:geheim%@h", "percent"},
        {"redis://:geheim%4@h", "percent"},
        {"redis://:geheim%4x@h", "percent"},
        {"redis://:geheim%00@h", "percent"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(rows[i][0], rows[i][1]);
}

/* redis://:PASSWORD@HOST with so many letters each. */
static char *long_url(size_t password_len, size_t host_len)
{
    char *url = malloc(password_len + host_len + 16);
    assert_non_null(url);
    memcpy(url, "redis://:", 9);
    memset(url + 9, 'p', password_len);
    url[9 + password_len] = '@';
    memset(url + 10 + password_len, 'h', host_len);
    url[10 + password_len + host_len] = '\0';
    return url;
}

static void lengths_are_bounded(void **state)
{
    struct redis_address address;
    (void)state;
    char *longest = long_url(REDIS_SECRET_MAX, REDIS_HOST_MAX);
    assert_int_equal(redis_url_parse(slice_cstr(longest), &address, NULL), ERR_NONE);
    assert_int_equal(strlen(address.password), REDIS_SECRET_MAX);
    assert_int_equal(strlen(address.host), REDIS_HOST_MAX);
    char *long_password = long_url(REDIS_SECRET_MAX + 1, 1);
    assert_refused(long_password, "too long");
    char *long_host = long_url(1, REDIS_HOST_MAX + 1);
    assert_refused(long_host, "host");
    free(longest);
    free(long_password);
    free(long_host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls_are_read),
        cmocka_unit_test(bad_urls_are_refused_with_their_reason),
        cmocka_unit_test(lengths_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
