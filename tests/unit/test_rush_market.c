/* SPDX-License-Identifier: Apache-2.0 */
/* What the generator signs, how it reads the marketplace's answers, and what it says of its levels: a wrong
 * receipt must not pass for a right one, nor a refusal for an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hex.h"
#include "rush/market_answer.h"
#include "rush/market_levels.h"
#include "rush/report.h"

static const uint64_t MS = 1000000;

#define NUMBER "0123456789abcdef"
#define PAYER NUMBER NUMBER NUMBER NUMBER
#define PAYEE "ff" NUMBER NUMBER NUMBER "0123456789abcd"

static const struct market_intent spend = {
    .amount_minor = 1250, .target = "17", .timestamp_s = 1700000000, .nonce = "n-1"};
static const struct market_intent transfer = {
    .is_transfer = true, .amount_minor = 700, .target = PAYEE, .timestamp_s = 1700000000, .nonce = "n-1"};

/* --- keys and texts --- */

/* RFC 8032, section 7.1, test 1. */
static void keys_and_signatures_are_those_of_the_rfc(void **state)
{
    struct market_key key;
    unsigned char seed[MARKET_KEY_BYTES];
    unsigned char signature[MARKET_SIGNATURE_BYTES];
    char memory[MARKET_SIGNATURE_HEX];
    struct strbuf hex;
    (void)state;
    assert_true(hex_read(
        SLICE("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"), seed, sizeof seed));
    market_key_make_seed(&key, seed);
    assert_string_equal(key.hex, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    market_sign(&key, SLICE(""), signature);
    strbuf_init(&hex, memory, sizeof memory);
    hex_put(&hex, signature, sizeof signature);
    assert_true(slice_eq(strbuf_slice(&hex),
        SLICE("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b4"
              "6bd25bf5f0595bbe24655141438e7a100b")));
}

static void intents_are_written_as_they_are_signed(void **state)
{
    char memory[MARKET_INTENT_MAX];
    struct strbuf text;
    (void)state;
    strbuf_init(&text, memory, sizeof memory);
    market_put_intent(&text, &spend);
    assert_true(slice_eq(strbuf_slice(&text),
        SLICE(
            "{\"action\":\"spend\",\"amount\":\"12.5\",\"nonce\":\"n-1\",\"product_id\":\"17\",\"timestamp\":"
            "1700000000}")));
    strbuf_reset(&text);
    market_put_intent(&text, &transfer);
    assert_true(slice_eq(strbuf_slice(&text),
        SLICE(
            "{\"action\":\"transfer\",\"amount\":7,\"nonce\":\"n-1\",\"timestamp\":1700000000,\"to\":\"" PAYEE
            "\"}")));
}

static void amounts_are_written_and_read_to_the_hundredth(void **state)
{
    static const struct {
        int64_t minor;
        const char *text;
    } cases[] = {{1, "0.01"}, {10, "0.1"}, {99, "0.99"}, {100, "1"}, {1250, "12.5"},
        {999999999999999, "9999999999999.99"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char memory[32];
        struct strbuf text;
        int64_t minor = -1;
        strbuf_init(&text, memory, sizeof memory);
        market_put_amount(&text, cases[i].minor);
        assert_true(slice_eq(strbuf_slice(&text), slice_cstr(cases[i].text)));
        assert_true(market_read_amount(strtod(cases[i].text, NULL), &minor) && minor == cases[i].minor);
    }
    int64_t minor;
    assert_false(market_read_amount(-0.01, &minor));
    assert_false(market_read_amount(12.345, &minor));
    assert_false(market_read_amount(1e30, &minor));
}

/* --- receipts --- */

static const char unsigned_receipt[] =
    "{\"action\":\"spend\",\"amount\":12.5,\"id\":\"9\",\"nonce\":\"n-1\",\"order_id\":\"PUR-20261121-0001\","
    "\"product_id\":\"17\",\"public_key\":\"" PAYER "\",\"timestamp\":1700000000}";

/* Signs the text and writes it with its signature in front, and blanks, which change nothing. */
static void put_signed(struct strbuf *out, const struct market_key *key)
{
    unsigned char signature[MARKET_SIGNATURE_BYTES];
    market_sign(key, slice_cstr(unsigned_receipt), signature);
    strbuf_lit(out, "{ \"signature\": \"");
    hex_put(out, signature, sizeof signature);
    strbuf_lit(out, "\",\n");
    strbuf_put(out, slice_cstr(unsigned_receipt + 1));
}

static void a_signature_covers_every_member_whatever_their_order(void **state)
{
    struct market_key key;
    unsigned char seed[MARKET_KEY_BYTES] = {1};
    unsigned char public_key[MARKET_KEY_BYTES];
    char memory[1024];
    struct strbuf receipt;
    (void)state;
    market_key_make_seed(&key, seed);
    assert_true(hex_read(slice_make(key.hex, MARKET_KEY_HEX), public_key, sizeof public_key));
    strbuf_init(&receipt, memory, sizeof memory);
    put_signed(&receipt, &key);
    assert_true(market_receipt_is_signed(strbuf_slice(&receipt), public_key));
    char *amount = memmem(receipt.base, receipt.len, "12.5", 4);
    assert_non_null(amount);
    amount[3] = '6';
    assert_false(market_receipt_is_signed(strbuf_slice(&receipt), public_key));
    amount[3] = '5';
    public_key[0] ^= 1;
    assert_false(market_receipt_is_signed(strbuf_slice(&receipt), public_key));
    assert_false(market_receipt_is_signed(SLICE("{\"action\":\"spend\"}"), public_key));
    assert_false(market_receipt_is_signed(SLICE("nothing"), public_key));
}

#define RECEIPT(action, amount, nonce, key, target)                                                 \
    "{\"action\":\"" action "\",\"amount\":" amount ",\"id\":\"9\",\"nonce\":\"" nonce "\"," target \
    "\"public_key\":\"" key "\",\"timestamp\":1700000001,\"signature\":\"00\"}"
#define SPEND_RECEIPT(amount, nonce, key, product) \
    RECEIPT("spend", amount, nonce, key, "\"order_id\":\"PUR-20261121-0001\",\"product_id\":\"" product "\",")

static void a_receipt_fits_its_intent_and_no_other(void **state)
{
    static const struct {
        const struct market_intent *intent;
        const char *receipt;
        bool fits;
    } cases[] = {
        {&spend, SPEND_RECEIPT("12.5", "n-1", PAYER, "17"), true},
        {&spend, SPEND_RECEIPT("12.50", "n-1", PAYER, "17"), true},
        {&spend, SPEND_RECEIPT("12.51", "n-1", PAYER, "17"), false},
        {&spend, SPEND_RECEIPT("112.5", "n-1", PAYER, "17"), false},
        {&spend, SPEND_RECEIPT("12.5", "n-2", PAYER, "17"), false},
        {&spend, SPEND_RECEIPT("12.5", "n-1", PAYEE, "17"), false},
        {&spend, SPEND_RECEIPT("12.5", "n-1", PAYER, "117"), false},
        {&spend, RECEIPT("transfer", "12.5", "n-1", PAYER, "\"product_id\":\"17\","), false},
        {&spend,
            " { \"amount\" : 12.5 , "
            "\"id\":\"9\",\"nonce\":\"n\\u002d1\",\"product_id\":\"17\",\"action\":\"spend\","
            "\"public_key\":\"" PAYER "\"}",
            true},
        {&transfer, RECEIPT("transfer", "7", "n-1", PAYER, "\"to\":\"" PAYEE "\","), true},
        {&transfer, RECEIPT("transfer", "70", "n-1", PAYER, "\"to\":\"" PAYEE "\","), false},
        {&transfer, RECEIPT("transfer", "7", "n-1", PAYER, "\"to\":\"" PAYER "\","), false},
        {&transfer, "{\"action\":\"transfer\"}", false},
        {&transfer, "[]", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (market_receipt_fits(slice_cstr(cases[i].receipt), PAYER, cases[i].intent) != cases[i].fits)
            fail_msg("case %zu: %s", i, cases[i].receipt);
}

/* --- answers to transact --- */

#define GOOD                                                  \
    "{\"success\":true,\"data\":{\"receipt\":" SPEND_RECEIPT( \
        "12.5", "n-1", PAYER, "17") ",\"new_balance\":87.5}}"
#define NO(code) "{\"success\":false,\"error\":{\"code\":\"" code "\",\"message\":\"no\"}}"

static void answers_to_an_intent_are_told_apart(void **state)
{
    static const struct {
        int status;
        const char *body;
        unsigned outcome;
        enum truth truth;
        const char *detail;
    } cases[] = {
        {200, GOOD, MARKET_SPENT, TRUTH_ACKNOWLEDGED, ""},
        {200, "{}", MARKET_NONSENSE, TRUTH_UNKNOWN, "HTTP_200"},
        {200, "{\"receipt\":" SPEND_RECEIPT("1", "n-1", PAYER, "17") "}", MARKET_NONSENSE, TRUTH_UNKNOWN,
            "HTTP_200"},
        {200, "{\"receipt\":{\"action\":\"spend\"", MARKET_NONSENSE, TRUTH_UNKNOWN, "HTTP_200"},
        {201, GOOD, MARKET_OTHER_STATUS, TRUTH_UNKNOWN, "HTTP_201"},
        {400, NO("VALIDATION_ERROR"), MARKET_REFUSED, TRUTH_REFUSED, "VALIDATION_ERROR"},
        {401, NO("INVALID_SIGNATURE"), MARKET_REFUSED, TRUTH_REFUSED, "INVALID_SIGNATURE"},
        {402, NO("INSUFFICIENT_FUNDS"), MARKET_TOO_POOR, TRUTH_REFUSED, "INSUFFICIENT_FUNDS"},
        {402, "pay", MARKET_REFUSED, TRUTH_REFUSED, "HTTP_402"},
        {409, NO("SOLD_OUT"), MARKET_SOLD_OUT, TRUTH_REFUSED, "SOLD_OUT"},
        {409, NO("NONCE_REUSED"), MARKET_NONCE_REUSED, TRUTH_REFUSED, "NONCE_REUSED"},
        {409, NO("EMAIL_TAKEN"), MARKET_TAKEN, TRUTH_REFUSED, "EMAIL_TAKEN"},
        {409, NO("ELSE"), MARKET_REFUSED, TRUTH_REFUSED, "ELSE"},
        {503, NO("SERVICE_UNAVAILABLE"), MARKET_UNAVAILABLE, TRUTH_REFUSED, "SERVICE_UNAVAILABLE"},
        {503, NO("OUTCOME_UNKNOWN"), MARKET_UNSURE, TRUTH_UNKNOWN, "OUTCOME_UNKNOWN"},
        {500, NO("INTERNAL_ERROR"), MARKET_SERVER_ERROR, TRUTH_UNKNOWN, "INTERNAL_ERROR"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply reply = {.status = cases[i].status, .body = slice_cstr(cases[i].body)};
        struct judgement judgement = {0};
        struct market_receipt receipt = {.len = 0};
        market_judge_transact(&reply, PAYER, &spend, &judgement, &receipt);
        struct slice detail = slice_make(judgement.detail, judgement.detail_len);
        if (judgement.outcome != cases[i].outcome || judgement.truth != cases[i].truth ||
            !slice_eq(detail, slice_cstr(cases[i].detail)) ||
            (receipt.len > 0) != (cases[i].truth == TRUTH_ACKNOWLEDGED))
            fail_msg("case %zu: outcome %u, %.*s", i, judgement.outcome, SLICE_ARGS(detail));
    }
}

/* --- balances and lists --- */

static void balances_are_read_in_every_spelling(void **state)
{
    static const struct {
        const char *body;
        int64_t minor; /* -1: none */
    } cases[] = {
        {"{\"success\":true,\"data\":{\"balance\":100,\"currency\":\"MC\"}}", 10000},
        {"{\"success\":true,\"data\":{\"balance\":99.5,\"currency\":\"MC\"}}", 9950},
        {"{\"success\":true,\"data\":{\"balance\":0.07,\"currency\":\"MC\"}}", 7},
        {"{\"success\":true,\"data\":{\"balance\":0,\"currency\":\"MC\"}}", 0},
        {"{\"success\":true,\"data\":{\"balance\":9999999999999.99,\"currency\":\"MC\"}}", 999999999999999},
        {"{\"balance\": 1e2}", 10000},
        {"{\"data\":{\"currency\":\"MC\",\"balance\":12.30}}", 1230},
        {"{\"success\":true,\"data\":{\"balance\":-1,\"currency\":\"MC\"}}", -1},
        {"{\"success\":true,\"data\":{\"balance\":1.234,\"currency\":\"MC\"}}", -1},
        {"{\"success\":true,\"data\":{\"balance\":,\"currency\":\"MC\"}}", -1},
        {"{\"success\":true,\"data\":{\"balance\":1.,\"currency\":\"MC\"}}", -1},
        {"{\"success\":true,\"data\":{\"balance\":\"100\",\"currency\":\"MC\"}}", -1},
        {"100", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply reply = {.status = 200, .body = slice_cstr(cases[i].body)};
        struct judgement judgement = {0};
        int64_t minor = -1;
        market_judge_balance(&reply, &judgement, &minor);
        bool is_told = judgement.outcome == MARKET_BALANCE_TOLD;
        if (is_told != (cases[i].minor >= 0) || (is_told && minor != cases[i].minor))
            fail_msg("case %zu: %s: %lld", i, cases[i].body, (long long)minor);
    }
}

static void a_list_without_the_product_is_noticed(void **state)
{
    static const struct {
        const char *body;
        bool is_listed;
        int64_t stock;
    } cases[] = {
        {"{\"success\":true,\"data\":[{\"id\":\"17\",\"stock\":5}]}", true, 5},
        {"{ \"data\" : [ { \"stock\" : 4, \"id\" : \"17\" } ] }", true, 4},
        {"{\"success\":true,\"data\":[{\"id\":\"117\",\"stock\":5}]}", false, -1},
        {"{\"success\":true,\"data\":[{\"id\":\"1\",\"name\":\"{\\\"id\\\":\\\"17\\\",\"}]}", false, -1},
        {"{\"success\":true,\"data\":[]}", false, -1},
        {"{\"success\":true,\"data\":{\"id\":\"17\"}}", false, -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply reply = {.status = 200, .body = slice_cstr(cases[i].body)};
        struct judgement judgement = {0};
        market_judge_featured(&reply, "17", &judgement);
        if ((judgement.outcome == MARKET_LISTED) != cases[i].is_listed ||
            market_read_stock(200, reply.body, "17") != cases[i].stock)
            fail_msg("case %zu: %s", i, cases[i].body);
    }
}

/* --- levels --- */

static struct rush_market_level level_of(uint64_t users, uint64_t p99_ms, uint64_t failed)
{
    struct rush_market_level level = {.users = users,
        .request_count = 6 * users,
        .failed_count = failed,
        .wallet_count = users,
        .limit_ns = market_limit_ns(users)};
    level.all.count = 5 * users;
    level.all.percentile_ns[PERCENTILE_99] = p99_ms * MS;
    return level;
}

static void limits_are_those_that_were_asked(void **state)
{
    (void)state;
    assert_int_equal(market_limit_ns(1), 50 * MS);
    assert_int_equal(market_limit_ns(10), 50 * MS);
    assert_int_equal(market_limit_ns(11), 200 * MS);
    assert_int_equal(market_limit_ns(100), 200 * MS);
    assert_int_equal(market_limit_ns(1000), 2000 * MS);
    assert_int_equal(market_limit_ns(1001), 0);
}

static void the_first_level_that_breaks_is_named(void **state)
{
    static struct rush_market market;
    char memory[512];
    struct strbuf text;
    (void)state;
    market = (struct rush_market){.levels = {level_of(10, 3, 0), level_of(1000, 2000, 0),
                                      level_of(5000, 2100, 0), level_of(9000, 3, 7)},
        .level_count = 4};
    strbuf_init(&text, memory, sizeof memory);
    assert_int_equal(market_breaking_point(&market), 2);
    market_put_breaking_point(&text, &market);
    assert_true(slice_eq(
        strbuf_slice(&text), SLICE("It breaks at 5000 users at once: p99 2100 ms is above 2000 ms.")));
    market.levels[2] = level_of(5000, 2100, 4);
    strbuf_reset(&text);
    market_put_breaking_point(&text, &market);
    assert_true(slice_eq(strbuf_slice(&text),
        SLICE("It breaks at 5000 users at once: 4 of 30000 requests failed, p99 2100 ms is above 2000 ms.")));
    market.level_count = 2;
    strbuf_reset(&text);
    market_put_breaking_point(&text, &market);
    assert_true(slice_eq(strbuf_slice(&text),
        SLICE("It does not break: no errors, and p99 at most 2000 ms, up to 1000 users at once.")));
}

static size_t count_failed(const struct rush_market *market)
{
    struct rush *rush = calloc(1, sizeof *rush);
    size_t failed = 0;
    assert_non_null(rush);
    market_levels_judge(market, rush);
    for (size_t i = 0; i < rush->invariant_count; i++)
        failed += !rush->invariants[i].holds;
    free(rush);
    return failed;
}

static void each_wrong_figure_fails_the_run_alone(void **state)
{
    static struct rush_market market;
    (void)state;
    market = (struct rush_market){
        .levels = {level_of(10, 49, 0), level_of(100, 199, 0), level_of(5000, 9000, 3)}, .level_count = 3};
    assert_int_equal(count_failed(&market), 0); /* above 1,000 users it may break */
    market.levels[0] = level_of(10, 50, 0);
    assert_int_equal(count_failed(&market), 1);
    market.levels[0] = level_of(10, 49, 1);
    assert_int_equal(count_failed(&market), 1);
    market.levels[0] = level_of(10, 49, 0);
    market.levels[2].balance_wrong_count = 1;
    assert_int_equal(count_failed(&market), 1);
    market.levels[2].balance_wrong_count = 0;
    market.levels[2].balance_untold_count = 1;
    assert_int_equal(count_failed(&market), 1);
    market.levels[2].balance_untold_count = 0;
    market.levels[1].receipt_wrong_count = 1;
    assert_int_equal(count_failed(&market), 1);
    market.levels[1].receipt_wrong_count = 0;
    market.levels[1].stock_left = -1;
    assert_int_equal(count_failed(&market), 1);
}

static void what_was_not_looked_at_does_not_pass(void **state)
{
    static struct rush_market market;
    struct rush *rush = calloc(1, sizeof *rush);
    (void)state;
    assert_non_null(rush);
    market = (struct rush_market){.levels = {level_of(5000, 9000, 3)}, .level_count = 1};
    market_levels_judge(&market, rush);
    assert_int_equal(rush->invariant_count, 3); /* coins, receipts and stock; no errors nor speed */
    free(rush);
    market.levels[0].wallet_count = 0;
    assert_int_equal(count_failed(&market), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_signatures_are_those_of_the_rfc),
        cmocka_unit_test(intents_are_written_as_they_are_signed),
        cmocka_unit_test(amounts_are_written_and_read_to_the_hundredth),
        cmocka_unit_test(a_signature_covers_every_member_whatever_their_order),
        cmocka_unit_test(a_receipt_fits_its_intent_and_no_other),
        cmocka_unit_test(answers_to_an_intent_are_told_apart),
        cmocka_unit_test(balances_are_read_in_every_spelling),
        cmocka_unit_test(a_list_without_the_product_is_noticed),
        cmocka_unit_test(limits_are_those_that_were_asked),
        cmocka_unit_test(the_first_level_that_breaks_is_named),
        cmocka_unit_test(each_wrong_figure_fails_the_run_alone),
        cmocka_unit_test(what_was_not_looked_at_does_not_pass),
    };
    return cmocka_run_group_tests_name("rush_market", tests, NULL, NULL);
}
