/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens that were checked lately: what is kept says the same as the signature would. */
#include "api/known_tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct token_key key = {"an example of a key with 32 byte"};
static const struct token_key other_key = {"an example of a key with 32 bytE"};
static const int64_t NOW_MS = 1700000000123;
static const int64_t QUARTER_HOUR_MS = 15 * 60 * 1000;

struct token {
    char text[TOKEN_LEN_MAX];
    size_t len;
};

static int set_up(void **state)
{
    struct known_tokens *known = malloc(sizeof *known);
    assert_non_null(known);
    known_tokens_init(known);
    *state = known;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static struct token issued(int64_t account_id, enum token_kind kind, int64_t now_ms)
{
    struct token token;
    token.len = tokens_issue(&key, account_id, kind, now_ms, QUARTER_HOUR_MS, token.text);
    return token;
}

static enum token_status check(struct known_tokens *known, const struct token_key *with,
    const struct token *token, int64_t now_ms, int64_t *id)
{
    return known_tokens_check(known, with, slice_make(token->text, token->len), now_ms, id);
}

/* With another key only what is known passes. */
static bool is_known(struct known_tokens *known, const struct token *token)
{
    int64_t id;
    return check(known, &other_key, token, NOW_MS, &id) == TOKEN_OK;
}

static void a_good_token_is_kept(void **state)
{
    struct token token = issued(INT64_MAX, TOKEN_ACCESS, NOW_MS);
    int64_t id = 0;
    assert_in_range(token.len, 1, KNOWN_TOKEN_LEN_MAX);
    assert_false(is_known(*state, &token));
    for (int i = 0; i < 3; i++, id = 0) {
        assert_int_equal(check(*state, &key, &token, NOW_MS, &id), TOKEN_OK);
        assert_true(id == INT64_MAX);
    }
    assert_true(is_known(*state, &token));
}

static void a_known_token_expires(void **state)
{
    struct token token = issued(42, TOKEN_ACCESS, NOW_MS);
    int64_t id;
    assert_int_equal(check(*state, &key, &token, NOW_MS, &id), TOKEN_OK);
    int64_t end_ms = NOW_MS / 1000 * 1000 + QUARTER_HOUR_MS;
    assert_int_equal(check(*state, &key, &token, end_ms - 1, &id), TOKEN_OK);
    assert_int_equal(check(*state, &key, &token, end_ms, &id), TOKEN_EXPIRED);
}

static void what_is_not_good_is_not_kept(void **state)
{
    struct token tokens[] = {issued(42, TOKEN_REFRESH, NOW_MS), issued(42, TOKEN_ACCESS, NOW_MS),
        issued(42, TOKEN_ACCESS, NOW_MS - QUARTER_HOUR_MS), {.len = 0}, {.len = TOKEN_LEN_MAX}};
    static const enum token_status expected[] = {
        TOKEN_WRONG_KIND, TOKEN_BAD_SIGNATURE, TOKEN_EXPIRED, TOKEN_MALFORMED, TOKEN_MALFORMED};
    int64_t id;
    tokens[1].text[tokens[1].len - 2] ^= 1;
    memset(tokens[4].text, 'x', TOKEN_LEN_MAX);
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        assert_int_equal(check(*state, &key, &tokens[i], NOW_MS, &id), expected[i]);
        assert_int_equal(check(*state, &key, &tokens[i], NOW_MS, &id), expected[i]);
        assert_false(is_known(*state, &tokens[i]));
    }
}

static void a_changed_token_is_not_the_known_one(void **state)
{
    struct token token = issued(42, TOKEN_ACCESS, NOW_MS);
    int64_t id;
    assert_int_equal(check(*state, &key, &token, NOW_MS, &id), TOKEN_OK);
    for (size_t i = 0; i < token.len; i++) {
        struct token changed = token;
        changed.text[i] ^= 1;
        assert_int_not_equal(check(*state, &key, &changed, NOW_MS, &id), TOKEN_OK);
    }
    token.len--;
    assert_int_not_equal(check(*state, &key, &token, NOW_MS, &id), TOKEN_OK);
}

/* More than there is room for: each is told what its signature says, known or not. */
static void many_tokens_displace_each_other(void **state)
{
    size_t known_count = 0;
    for (int round = 0; round < 2; round++) {
        for (int64_t account_id = 1; account_id <= 3 * KNOWN_TOKENS_MAX; account_id++) {
            struct token token = issued(account_id, TOKEN_ACCESS, NOW_MS);
            int64_t id = 0;
            assert_int_equal(check(*state, &key, &token, NOW_MS, &id), TOKEN_OK);
            assert_true(id == account_id);
            known_count += is_known(*state, &token);
        }
    }
    assert_int_equal(known_count, 2 * 3 * KNOWN_TOKENS_MAX); /* each right after it was checked */
}

/* A few fit in whatever their hashes are. */
static void few_tokens_do_not_displace_each_other(void **state)
{
    struct token tokens[40];
    size_t known_count = 0;
    int64_t id;
    for (int i = 0; i < 40; i++) {
        tokens[i] = issued(i + 1, TOKEN_ACCESS, NOW_MS);
        assert_int_equal(check(*state, &key, &tokens[i], NOW_MS, &id), TOKEN_OK);
    }
    for (int i = 0; i < 40; i++)
        known_count += is_known(*state, &tokens[i]);
    assert_in_range(known_count, 38, 40); /* each of two misses has less than a chance in 10^3 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_good_token_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_known_token_expires, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_good_is_not_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_token_is_not_the_known_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_tokens_displace_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(few_tokens_do_not_displace_each_other, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
