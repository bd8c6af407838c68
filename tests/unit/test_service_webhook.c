/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures of webhooks against figures of another implementation, and secrets that are none. Where the
 * figures come from, in Python:
 *     b64encode(hmac.new(b64decode(secret), f"{id}.{timestamp}.".encode() + body, sha256).digest())
 * The first is also the example in the tests of the specification's own libraries.
 */
#include "service/webhook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct vector {
    const char *secret;
    const char *id;
    int64_t timestamp_s;
    struct slice body;
    const char *signature;
};

static const struct vector vectors[] = {
    {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
        SLICE_INIT("{\"test\": 2432232314}"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
    {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "a", 0, SLICE_INIT(""),
        "v1,nyI8u9KtZmFaY8k/GcBnoJXYP7WgQ2vPynpd+JPwAqQ="},
    {"whsec_v8DBwsPExcbHyMnKy8zNzs/Q0dLT1NXW19jZ2tvc3d7f4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/g==",
        "A-b_9A-b_9A-b_9A-b_9A-b_9A-b_9A-b_9A-b_9A-b_9A-b_9A-b_9A-b_9zzzz", INT64_MAX,
        SLICE_INIT("\xc3\xbc\0\r\n{}"), "v1,aRwn9cvjXQsoRRVF+XVd/vaFJpTe4i0VsAMD5neix20="},
};

static void signatures_agree_with_another_implementation(void **state)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *vector = &vectors[i];
        struct webhook_secret secret;
        struct webhook_headers headers;
        struct error error;
        char expected[128];
        assert_int_equal(webhook_secret_parse(slice_cstr(vector->secret), &secret, &error), ERR_NONE);
        webhook_sign(&secret, slice_cstr(vector->id), vector->timestamp_s, vector->body, &headers);
        (void)snprintf(expected, sizeof expected, "webhook-id: %s", vector->id);
        assert_string_equal(headers.lines[0], expected);
        (void)snprintf(expected, sizeof expected, "webhook-timestamp: %lld", (long long)vector->timestamp_s);
        assert_string_equal(headers.lines[1], expected);
        (void)snprintf(expected, sizeof expected, "webhook-signature: %s", vector->signature);
        assert_string_equal(headers.lines[2], expected);
    }
}

static void what_is_no_secret_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *text;
        const char *reason;
    } bad[] = {
        {"", "does not begin with whsec_"},
        {"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_"},
        {"WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_"},
        {"whsec_", "too short"},
        {"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "too short"}, /* 23 bytes */
        {"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "too long"}, /* 65 bytes */
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ", "not base64"},
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "not base64"},
        {"whsec_MfKQ9r8GKYqrTwjU-D8ILPZIo2La_aSw", "not base64"}, /* the alphabet of URLs */
        {"whsec_this is a password that somebody chose", "not base64"},
    };
    char endless[4096] = "whsec_";
    struct webhook_secret secret = {.key_len = 7};
    struct error error;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(webhook_secret_parse(slice_cstr(bad[i].text), &secret, &error), ERR_USAGE);
        if (strstr(error.message, bad[i].reason) == NULL)
            fail_msg("\"%s\" was refused with: %s", bad[i].text, error.message);
        assert_int_equal(secret.key_len, 7);
    }
    memset(endless + 6, 'A', sizeof endless - 6);
    assert_int_equal(webhook_secret_parse(slice_make(endless, sizeof endless), &secret, &error), ERR_USAGE);
    assert_non_null(strstr(error.message, "too long"));
}

static void a_secret_is_never_repeated(void **state)
{
    struct webhook_secret secret;
    struct error error;
    assert_int_equal(webhook_secret_parse(SLICE("whsec_hunter2"), &secret, &error), ERR_USAGE);
    assert_null(strstr(error.message, "hunter2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_agree_with_another_implementation),
        cmocka_unit_test(what_is_no_secret_is_refused_with_a_reason),
        cmocka_unit_test(a_secret_is_never_repeated),
    };
    return cmocka_run_group_tests_name("webhook", tests, NULL, NULL);
}
