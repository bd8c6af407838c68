/* SPDX-License-Identifier: Apache-2.0 */
/* A number comes back from its UUID, and from no other. */
#include "base/uuid.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const unsigned char secret[UUID_SECRET_BYTES] = "thirty-two bytes of some secret";

static struct uuid_key made(struct slice purpose)
{
    struct uuid_key key;
    uuid_key_init(&key, secret, purpose);
    return key;
}

static void numbers_come_back(void **state)
{
    static const int64_t numbers[] = {
        0, 1, 2, 1000000, INT64_C(1) << 61, UUID_NUMBER_MAX - 1, UUID_NUMBER_MAX};
    struct uuid_key key = made(SLICE("order"));
    struct id_source random;
    id_source_init_seed(&random, 1);
    for (size_t i = 0; i < 100000; i++) {
        int64_t number = i < 7 ? numbers[i] : (int64_t)(id_next(&random) >> (2 + i % 60));
        int64_t back;
        char text[ID_UUID_LEN];
        uuid_from_number(&key, number, text);
        assert_true(text[14] == '8' && memchr("89ab", text[19], 4) != NULL);
        assert_true(uuid_to_number(&key, slice_make(text, sizeof text), &back));
        assert_true(back == number);
        for (size_t at = 0; at < sizeof text; at++)
            text[at] = (char)toupper((unsigned char)text[at]);
        assert_true(uuid_to_number(&key, slice_make(text, sizeof text), &back));
    }
}

/* A UUID that was given out must be known after every upgrade. */
static void the_form_never_changes(void **state)
{
    struct uuid_key key = made(SLICE("order"));
    char text[ID_UUID_LEN + 1] = {0};
    uuid_from_number(&key, 1, text);
    assert_string_equal(text, "3feddfef-9f6e-8006-beeb-2c339a6e657f");
    uuid_from_number(&key, 2, text);
    assert_string_equal(text, "3fd81eae-f724-8220-82aa-f01457ca6caf");
}

static void every_changed_bit_is_refused(void **state)
{
    struct uuid_key key = made(SLICE("order"));
    int64_t number = 4711;
    for (int64_t i = 0; i < 50; i++) {
        char text[ID_UUID_LEN];
        uuid_from_number(&key, i * 12345, text);
        for (size_t bit = 0; bit < sizeof text * 8; bit++) {
            char changed[ID_UUID_LEN];
            memcpy(changed, text, sizeof text);
            changed[bit / 8] = (char)(changed[bit / 8] ^ 1 << bit % 8);
            bool is_other_case = isalpha((unsigned char)text[bit / 8]) && bit % 8 == 5;
            assert_true(uuid_to_number(&key, slice_make(changed, sizeof changed), &number) == is_other_case);
        }
    }
}

static void other_purposes_and_secrets_do_not_know_it(void **state)
{
    struct uuid_key order = made(SLICE("order"));
    struct uuid_key account = made(SLICE("account"));
    struct uuid_key other;
    unsigned char other_secret[UUID_SECRET_BYTES];
    char text[ID_UUID_LEN];
    int64_t number;
    memcpy(other_secret, secret, sizeof secret);
    other_secret[31] ^= 1;
    uuid_key_init(&other, other_secret, SLICE("order"));
    uuid_from_number(&order, 42, text);
    assert_true(uuid_to_number(&order, slice_make(text, sizeof text), &number));
    assert_false(uuid_to_number(&account, slice_make(text, sizeof text), &number));
    assert_false(uuid_to_number(&other, slice_make(text, sizeof text), &number));
}

static void foreign_uuids_and_other_texts_are_refused(void **state)
{
    static const struct slice texts[] = {SLICE_INIT(""), SLICE_INIT("1"),
        SLICE_INIT("00000000-0000-0000-0000-000000000000"),
        SLICE_INIT("ffffffff-ffff-ffff-ffff-ffffffffffff"),
        SLICE_INIT("00000000-0000-8000-8000-000000000000"),
        SLICE_INIT("2489e9ad-2ee2-8e00-8ec9-32d5f69181c0"),
        SLICE_INIT("{00000000-0000-8000-8000-00000000000}"), SLICE_INIT("00000000000080008000000000000000"),
        SLICE_INIT("0000000000008000800000000000000000000"),
        SLICE_INIT("00000000_0000_8000_8000_000000000000"),
        SLICE_INIT("00000000-0000-8000-8000-00000000000g")};
    struct uuid_key key = made(SLICE("order"));
    struct id_source random;
    int64_t number = 4711;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(uuid_to_number(&key, texts[i], &number));
    id_source_init_seed(&random, 2);
    for (int i = 0; i < 100000; i++) {
        char text[ID_UUID_LEN];
        id_uuid(&random, text);
        text[14] = '8';
        assert_false(uuid_to_number(&key, slice_make(text, sizeof text), &number));
    }
    assert_true(number == 4711);
}

static void a_cut_text_is_read_no_further_than_its_end(void **state)
{
    struct uuid_key key = made(SLICE("order"));
    char text[ID_UUID_LEN];
    int64_t number;
    uuid_from_number(&key, 42, text);
    for (size_t len = 0; len < sizeof text; len++) {
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy + 1, text, len);
        assert_false(uuid_to_number(&key, slice_make(copy + 1, len), &number));
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(the_form_never_changes),
        cmocka_unit_test(every_changed_bit_is_refused),
        cmocka_unit_test(other_purposes_and_secrets_do_not_know_it),
        cmocka_unit_test(foreign_uuids_and_other_texts_are_refused),
        cmocka_unit_test(a_cut_text_is_read_no_further_than_its_end),
    };
    return cmocka_run_group_tests_name("base uuid", tests, NULL, NULL);
}
