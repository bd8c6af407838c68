/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/answer.h"

#include <stdio.h>

#include "base/clock.h"
#include "net/json.h"

/* --- the usual spelling, without a parser --- */

static bool take(struct slice *text, struct slice expected)
{
    if (!slice_starts_with(*text, expected))
        return false;
    *text = slice_make(text->base + expected.len, text->len - expected.len);
    return true;
}

/* The inside of a JSON string up to its closing quote, when it holds neither escapes nor anything but ASCII.
 */
static bool take_plain_text(struct slice *text, struct slice *inside)
{
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->base[i];
        if (c == '"') {
            *inside = slice_make(text->base, i);
            *text = slice_make(text->base + i + 1, text->len - i - 1);
            return true;
        }
        if (c < 0x20 || c > 0x7e || c == '\\')
            return false;
    }
    return false;
}

static bool take_number(struct slice *text, int64_t *value)
{
    size_t len = 0;
    while (len < text->len && text->base[len] >= '0' && text->base[len] <= '9')
        len++;
    bool is_number = slice_to_i64(slice_make(text->base, len), value) && (len == 1 || text->base[0] != '0');
    *text = slice_make(text->base + len, text->len - len);
    return is_number;
}

static bool read_usual_success(struct slice body, struct slice *number)
{
    struct slice when;
    return take(&body, SLICE("{\"success\":true,\"data\":{\"purchaseNo\":\"")) &&
           take_plain_text(&body, number) && take(&body, SLICE(",\"purchasedAt\":\"")) &&
           take_plain_text(&body, &when) && slice_eq(body, SLICE("}}"));
}

static bool read_usual_refusal(struct slice body, struct slice *code)
{
    struct slice message;
    return take(&body, SLICE("{\"success\":false,\"error\":{\"code\":\"")) && take_plain_text(&body, code) &&
           take(&body, SLICE(",\"message\":\"")) && take_plain_text(&body, &message) &&
           slice_eq(body, SLICE("}}"));
}

static bool read_usual_status(struct slice body, struct slice *state, struct sale_status *status)
{
    struct slice text;
    return take(&body, SLICE("{\"success\":true,\"data\":{\"sku\":\"")) && take_plain_text(&body, &text) &&
           take(&body, SLICE(",\"state\":\"")) && take_plain_text(&body, state) &&
           take(&body, SLICE(",\"stock\":")) && take_number(&body, &status->stock) &&
           take(&body, SLICE(",\"initialStock\":")) && take_number(&body, &status->initial_stock) &&
           take(&body, SLICE(",\"productName\":\"")) && take_plain_text(&body, &text) &&
           take(&body, SLICE(",\"startTime\":\"")) && take_plain_text(&body, &text) &&
           take(&body, SLICE(",\"endTime\":\"")) && take_plain_text(&body, &text) &&
           slice_eq(body, SLICE("}}"));
}

/* --- any spelling --- */

bool answer_read_code(struct slice body, char code[DETAIL_MAX], size_t *len)
{
    struct slice text;
    struct json *value = NULL;
    bool has_code = read_usual_refusal(body, &text);
    if (!has_code && json_parse(body, &value) == JSON_OK)
        has_code = json_text(json_member(json_member(value, "error"), "code"), &text);
    if (has_code) {
        *len = text.len < DETAIL_MAX ? text.len : DETAIL_MAX;
        memcpy(code, text.base, *len);
    }
    json_free(value);
    return has_code;
}

/* purchaseNo and purchasedAt must be strings. */
static bool read_success(struct slice body, struct judgement *judgement)
{
    struct slice number;
    struct slice when;
    if (read_usual_success(body, &number)) {
        judgement_set_detail(judgement, number);
        return true;
    }
    struct json *value = NULL;
    bool is_true = false;
    bool is_success = json_parse(body, &value) == JSON_OK &&
                      json_bool(json_member(value, "success"), &is_true) && is_true &&
                      json_text(json_member(json_member(value, "data"), "purchaseNo"), &number) &&
                      json_text(json_member(json_member(value, "data"), "purchasedAt"), &when);
    if (is_success)
        judgement_set_detail(judgement, number);
    json_free(value);
    return is_success;
}

/* success:false with an error.code. */
static bool read_refusal(struct slice body, struct judgement *judgement)
{
    struct slice code;
    if (read_usual_refusal(body, &code)) {
        judgement_set_detail(judgement, code);
        return true;
    }
    struct json *value = NULL;
    bool is_true = true;
    bool is_refusal = json_parse(body, &value) == JSON_OK &&
                      json_bool(json_member(value, "success"), &is_true) && !is_true &&
                      json_text(json_member(json_member(value, "error"), "code"), &code);
    if (is_refusal)
        judgement_set_detail(judgement, code);
    json_free(value);
    return is_refusal;
}

/* --- purchases --- */

static enum answer name_refusal(struct slice code)
{
    if (slice_eq(code, SLICE("SALE_NOT_ACTIVE")))
        return ANSWER_NOT_ACTIVE;
    if (slice_eq(code, SLICE("SOLD_OUT")))
        return ANSWER_SOLD_OUT;
    if (slice_eq(code, SLICE("ALREADY_PURCHASED")))
        return ANSWER_ALREADY_PURCHASED;
    return ANSWER_UNKNOWN_CODE;
}

static enum answer read_200(const struct reply *reply, struct judgement *judgement)
{
    struct slice code;
    bool is_usual_refusal = read_usual_refusal(reply->body, &code);
    judgement->truth = TRUTH_ACKNOWLEDGED;
    if (!is_usual_refusal && read_success(reply->body, judgement))
        return ANSWER_SUCCESS;
    judgement->truth = TRUTH_REFUSED;
    if (is_usual_refusal)
        judgement_set_detail(judgement, code);
    if (is_usual_refusal || read_refusal(reply->body, judgement))
        return name_refusal(slice_make(judgement->detail, judgement->detail_len));
    judgement->truth = TRUTH_UNKNOWN;
    judgement_set_detail(judgement, SLICE("NONSENSE"));
    return ANSWER_NONSENSE;
}

/* Other statuses: their error.code when they have one, else the number. */
static bool set_code(const struct reply *reply, struct judgement *judgement)
{
    char text[DETAIL_MAX];
    size_t len;
    if (answer_read_code(reply->body, text, &len)) {
        judgement_set_detail(judgement, slice_make(text, len));
        return true;
    }
    len = (size_t)snprintf(text, sizeof text, "HTTP_%d", reply->status);
    judgement_set_detail(judgement, slice_make(text, len));
    return false;
}

enum answer answer_read_purchase(const struct reply *reply, struct judgement *judgement)
{
    if (reply->status == 200)
        return read_200(reply, judgement);
    bool has_code = set_code(reply, judgement);
    struct slice code = slice_make(judgement->detail, judgement->detail_len);
    judgement->truth = TRUTH_REFUSED;
    if (reply->status == 429)
        return has_code && slice_eq(code, SLICE("RATE_LIMIT_EXCEEDED")) ? ANSWER_RATE_LIMITED
                                                                        : ANSWER_RATE_LIMITED_ODD;
    if (reply->status == 503) {
        /* A server may say that it does not know itself; a 503 of any other kind has changed nothing. */
        if (slice_eq(code, SLICE("OUTCOME_UNKNOWN")))
            judgement->truth = TRUTH_UNKNOWN;
        return ANSWER_UNAVAILABLE;
    }
    if (reply->status < 400 || reply->status >= 500)
        judgement->truth = TRUTH_UNKNOWN;
    return reply->status >= 500 ? ANSWER_SERVER_ERROR : ANSWER_OTHER_STATUS;
}

/* --- status and product --- */

static enum poll_answer judge_status(struct slice state, struct sale_status *status)
{
    bool is_upcoming = slice_eq(state, SLICE("UPCOMING"));
    status->is_active = slice_eq(state, SLICE("ACTIVE"));
    status->is_ended = slice_eq(state, SLICE("ENDED"));
    bool has_state = is_upcoming || status->is_active || status->is_ended;
    return has_state && 0 <= status->stock && status->stock <= status->initial_stock ? POLL_GOOD : POLL_ODD;
}

static enum poll_answer read_any_status(struct slice body, struct sale_status *status)
{
    struct json *value = NULL;
    struct slice state;
    bool is_true = false;
    enum poll_answer answer = POLL_NOT_SUCCESS;
    if (json_parse(body, &value) == JSON_OK && json_bool(json_member(value, "success"), &is_true) &&
        is_true) {
        const struct json *data = json_member(value, "data");
        answer = POLL_ODD;
        if (json_text(json_member(data, "state"), &state) &&
            json_int64(json_member(data, "stock"), &status->stock) &&
            json_int64(json_member(data, "initialStock"), &status->initial_stock))
            answer = judge_status(state, status);
    }
    json_free(value);
    return answer;
}

enum poll_answer answer_read_status(const struct reply *reply, struct sale_status *status)
{
    struct slice state;
    *status = (struct sale_status){0};
    if (reply->status != 200)
        return POLL_NOT_200;
    if (read_usual_status(reply->body, &state, status))
        return judge_status(state, status);
    return read_any_status(reply->body, status);
}

bool answer_read_product(int http_status, struct slice body, int64_t *current_stock, int64_t *total_purchases)
{
    struct json *value = NULL;
    bool is_true = false;
    bool is_product = http_status == 200 && json_parse(body, &value) == JSON_OK &&
                      json_bool(json_member(value, "success"), &is_true) && is_true;
    const struct json *data = is_product ? json_member(value, "data") : NULL;
    is_product = is_product && json_int64(json_member(data, "currentStock"), current_stock) &&
                 json_int64(json_member(data, "totalPurchases"), total_purchases);
    json_free(value);
    return is_product;
}
