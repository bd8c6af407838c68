/* SPDX-License-Identifier: Apache-2.0 */
/* A token is good when it is ours, of the right kind and in time; one bit changed makes it nothing. */
#include "api/tokens.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/id.h"

static const struct token_key key = {"an example of a key with 32 byte"};
static const struct token_key other_key = {"an example of a key with 32 bytE"};
static const int64_t NOW_MS = 1700000000123;
static const int64_t QUARTER_HOUR_MS = 15 * 60 * 1000;

struct token {
    char text[TOKEN_LEN_MAX];
    size_t len;
};

static struct token issued(int64_t account_id, enum token_kind kind)
{
    struct token token;
    token.len = tokens_issue(&key, account_id, kind, NOW_MS, QUARTER_HOUR_MS, token.text);
    return token;
}

static enum token_status check(struct token token, enum token_kind kind, int64_t now_ms)
{
    struct token_claims claims;
    return tokens_check(&key, slice_make(token.text, token.len), kind, now_ms, &claims);
}

static void what_is_issued_is_accepted(void **state)
{
    static const int64_t ids[] = {1, 42, 1000000, INT64_MAX};
    for (size_t i = 0; i < 2 * sizeof ids / sizeof ids[0]; i++) {
        enum token_kind kind = i % 2 == 0 ? TOKEN_ACCESS : TOKEN_REFRESH;
        struct token token = issued(ids[i / 2], kind);
        struct token_claims claims;
        assert_int_equal(
            tokens_check(&key, slice_make(token.text, token.len), kind, NOW_MS, &claims), TOKEN_OK);
        assert_true(claims.account_id == ids[i / 2]);
        assert_int_equal(claims.kind, kind);
        assert_true(claims.issued_s == 1700000000 && claims.expires_s == 1700000900);
    }
}

/* HMAC of this text with this key, made by another program. */
static void a_token_is_a_json_web_token(void **state)
{
    static const char expected[] =
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJzdWIiOiI0MiIsInR5cCI6ImFjY2VzcyIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAwOTAwfQ."
        "HDkgX_XoeymLCXnLyGYKp7qOkdGLhIwJHtoVthDamz0";
    struct token token = issued(42, TOKEN_ACCESS);
    assert_int_equal(token.len, sizeof expected - 1);
    assert_memory_equal(token.text, expected, token.len);
}

static void a_token_is_good_until_its_time_is_over(void **state)
{
    struct token token = issued(42, TOKEN_ACCESS);
    assert_int_equal(check(token, TOKEN_ACCESS, 1700000899999), TOKEN_OK);
    assert_int_equal(check(token, TOKEN_ACCESS, 1700000900000), TOKEN_EXPIRED);
    assert_int_equal(check(token, TOKEN_ACCESS, INT64_MAX), TOKEN_EXPIRED);
    struct token_claims claims = {0};
    (void)tokens_check(&key, slice_make(token.text, token.len), TOKEN_ACCESS, INT64_MAX, &claims);
    assert_true(claims.account_id == 42);
}

static void a_token_of_the_other_kind_is_refused(void **state)
{
    assert_int_equal(check(issued(42, TOKEN_REFRESH), TOKEN_ACCESS, NOW_MS), TOKEN_WRONG_KIND);
    assert_int_equal(check(issued(42, TOKEN_ACCESS), TOKEN_REFRESH, NOW_MS), TOKEN_WRONG_KIND);
}

static void a_token_of_another_key_is_refused(void **state)
{
    struct token token = issued(42, TOKEN_ACCESS);
    struct token_claims claims;
    assert_int_equal(
        tokens_check(&other_key, slice_make(token.text, token.len), TOKEN_ACCESS, NOW_MS, &claims),
        TOKEN_BAD_SIGNATURE);
}

static void refresh_tokens_differ_and_say_in_what(void **state)
{
    struct token a = issued(42, TOKEN_REFRESH);
    struct token b = issued(42, TOKEN_REFRESH);
    struct token_claims claims_a;
    struct token_claims claims_b;
    assert_int_equal(a.len, b.len);
    assert_memory_not_equal(a.text, b.text, a.len);
    (void)tokens_check(&key, slice_make(a.text, a.len), TOKEN_REFRESH, NOW_MS, &claims_a);
    (void)tokens_check(&key, slice_make(b.text, b.len), TOKEN_REFRESH, NOW_MS, &claims_b);
    assert_memory_not_equal(claims_a.jti, claims_b.jti, TOKEN_JTI_LEN);
}

static bool is_refused(const char *text, size_t len)
{
    struct token_claims claims;
    enum token_status status = tokens_check(&key, slice_make(text, len), TOKEN_REFRESH, NOW_MS, &claims);
    return status == TOKEN_MALFORMED || status == TOKEN_BAD_SIGNATURE;
}

static void every_changed_bit_is_refused(void **state)
{
    for (int64_t id = 1; id <= 50; id++) { /* so that each letter comes by */
        struct token token = issued(id, TOKEN_REFRESH);
        assert_false(is_refused(token.text, token.len));
        for (size_t bit = 0; bit < token.len * 8; bit++) {
            struct token changed = token;
            changed.text[bit / 8] = (char)(changed.text[bit / 8] ^ 1 << bit % 8);
            assert_true(is_refused(changed.text, changed.len));
        }
    }
}

static void every_part_of_a_token_is_refused(void **state)
{
    struct token token = issued(42, TOKEN_REFRESH);
    for (size_t start = 0; start < token.len; start++) {
        for (size_t len = 0; start + len <= token.len; len++) {
            if (len == token.len)
                continue;
            char *part = malloc(len + 1); /* ends where its memory ends */
            assert_non_null(part);
            memcpy(part + 1, token.text + start, len);
            assert_true(is_refused(part + 1, len));
            free(part);
        }
    }
}

static void more_than_a_token_is_refused(void **state)
{
    struct token token = issued(42, TOKEN_REFRESH);
    static const char more[] = {'=', '.', 'A', ' ', '\n', '\0'};
    for (size_t i = 0; i < sizeof more; i++) {
        char text[TOKEN_LEN_MAX + 1];
        memcpy(text, token.text, token.len);
        text[token.len] = more[i];
        assert_true(is_refused(text, token.len + 1));
        text[0] = more[i];
        memcpy(text + 1, token.text, token.len);
        assert_true(is_refused(text, token.len + 1));
    }
    static char long_text[100000];
    memset(long_text, 'e', sizeof long_text);
    assert_true(is_refused(long_text, sizeof long_text));
}

/* Signs any payload with our key, as a second program with the key could. */
static size_t signed_text(const char *header, const char *payload, char *text, size_t size)
{
    const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
    unsigned char signature[crypto_auth_hmacsha256_BYTES];
    char encoded[3][512];
    sodium_bin2base64(encoded[0], sizeof encoded[0], (const void *)header, strlen(header), variant);
    sodium_bin2base64(encoded[1], sizeof encoded[1], (const void *)payload, strlen(payload), variant);
    int len = snprintf(text, size, "%s.%s", encoded[0], encoded[1]);
    crypto_auth_hmacsha256(signature, (const void *)text, (size_t)len, key.bytes);
    sodium_bin2base64(encoded[2], sizeof encoded[2], signature, sizeof signature, variant);
    return (size_t)snprintf(text, size, "%s.%s.%s", encoded[0], encoded[1], encoded[2]);
}

static void only_the_layout_we_write_is_read_even_when_signed(void **state)
{
    static const char ours[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    static const struct {
        const char *header;
        const char *payload;
        enum token_status status;
    } rows[] = {
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001}", TOKEN_OK},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000000}", TOKEN_EXPIRED},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":0,\"exp\":0}", TOKEN_EXPIRED},
        {ours, "{\"sub\":\"7\",\"typ\":\"refresh\",\"iat\":1,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001,\"jti\":\"0\"}",
            TOKEN_MALFORMED},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001} ", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":9999999999999999999}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001.0}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":01,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":-1,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"0\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"-7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"07\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{\"sub\":7,\"typ\":\"access\",\"iat\":1,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{\"sub\":\"9223372036854775808\",\"typ\":\"access\",\"iat\":1,\"exp\":2}", TOKEN_MALFORMED},
        {ours, "{\"typ\":\"access\",\"sub\":\"7\",\"iat\":1,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{ \"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001}", TOKEN_MALFORMED},
        {ours, "{}", TOKEN_MALFORMED},
        {ours, "", TOKEN_MALFORMED},
        {"{\"alg\":\"none\"}", "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001}",
            TOKEN_MALFORMED},
        {"{\"typ\":\"JWT\",\"alg\":\"HS256\"}",
            "{\"sub\":\"7\",\"typ\":\"access\",\"iat\":1,\"exp\":1700000001}", TOKEN_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        struct token_claims claims;
        size_t len = signed_text(rows[i].header, rows[i].payload, text, sizeof text);
        enum token_status status = tokens_check(&key, slice_make(text, len), TOKEN_ACCESS, NOW_MS, &claims);
        if (status != rows[i].status)
            fail_msg("%s: status %d instead of %d", rows[i].payload, status, rows[i].status);
    }
}

static void random_bytes_are_no_token(void **state)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    struct id_source random;
    id_source_init_seed(&random, 9);
    for (int i = 0; i < 20000; i++) {
        struct token token = issued(42, TOKEN_REFRESH);
        size_t from = id_next(&random) % token.len;
        size_t count = 1 + id_next(&random) % (token.len - from);
        bool is_changed = false;
        for (size_t at = from; at < from + count; at++) {
            char c = i % 2 == 0 ? alphabet[id_next(&random) % (sizeof alphabet - 1)] : (char)id_next(&random);
            is_changed = is_changed || c != token.text[at];
            token.text[at] = c;
        }
        assert_true(is_refused(token.text, token.len) == is_changed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_issued_is_accepted),
        cmocka_unit_test(a_token_is_a_json_web_token),
        cmocka_unit_test(a_token_is_good_until_its_time_is_over),
        cmocka_unit_test(a_token_of_the_other_kind_is_refused),
        cmocka_unit_test(a_token_of_another_key_is_refused),
        cmocka_unit_test(refresh_tokens_differ_and_say_in_what),
        cmocka_unit_test(every_changed_bit_is_refused),
        cmocka_unit_test(every_part_of_a_token_is_refused),
        cmocka_unit_test(more_than_a_token_is_refused),
        cmocka_unit_test(only_the_layout_we_write_is_read_even_when_signed),
        cmocka_unit_test(random_bytes_are_no_token),
    };
    return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
