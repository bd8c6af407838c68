/* SPDX-License-Identifier: Apache-2.0 */
/* Intents that strangers send: what is taken for one has one text, which is read as the same intent again. */
#include "api/intent.h"
#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The length of what would be signed; 0: it is no intent. */
static size_t text_of(struct slice json, char text[INTENT_TEXT_MAX], int64_t *amount_minor)
{
    struct json *value = NULL;
    struct intent intent;
    struct strbuf out;
    strbuf_init(&out, text, INTENT_TEXT_MAX);
    if (json_parse_unique(json, &value) != JSON_OK)
        return 0;
    const char *fault = intent_read(value, &intent);
    bool is_intent = fault == NULL;
    ENSURE(is_intent || fault[0] != '\0');
    if (is_intent) {
        ENSURE(intent.amount_minor >= 1 && intent.amount_minor <= WALLET_AMOUNT_MAX);
        ENSURE(intent.nonce.len >= 1 && intent.nonce.len <= NONCE_LEN_MAX);
        *amount_minor = intent.amount_minor;
        intent_put(&out, &intent);
    }
    ENSURE(!out.has_overflowed);
    json_free(value);
    return out.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[INTENT_TEXT_MAX];
    char again[INTENT_TEXT_MAX];
    int64_t amount_minor;
    int64_t amount_again_minor = 0;
    size_t len = text_of(slice_make(data, size), text, &amount_minor);
    if (len == 0)
        return 0;
    size_t len_again = text_of(slice_make(text, len), again, &amount_again_minor);
    ENSURE(slice_eq(slice_make(text, len), slice_make(again, len_again)));
    ENSURE(amount_minor == amount_again_minor);
    return 0;
}
