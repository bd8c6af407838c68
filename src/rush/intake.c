/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tens of thousands of answers a second are read, so the usual spelling (no blanks, id first) is recognised
 * byte by byte; every other one is read by the JSON parser, with the same result.
 */
#include "rush/intake.h"

#include <stdio.h>

#include "base/id.h"
#include "net/json.h"

const struct outcome intake_outcomes[] = {
    {"order_queued", "201: accepted under a number of its own"},
    {"order_nonsense", "201 with a body that does not belong to it"},
    {"order_unauthorized", "401"},
    {"order_invalid", "422"},
    {"order_unavailable", "503"},
    {"order_other_status", "a status that does not belong here"},
    {"order_server_error", "500 or above but 503"},
    {NULL, NULL},
};

_Static_assert(
    sizeof intake_outcomes / sizeof intake_outcomes[0] == INTAKE_OUTCOME_END - OUTCOME_COMMON_COUNT + 1,
    "one row per outcome");

/* --- UUIDs --- */

bool uuid_read(struct slice text, struct uuid *uuid)
{
    return id_read_uuid(text, &uuid->high, &uuid->low);
}

void uuid_put(struct strbuf *out, struct uuid uuid)
{
    char text[ID_UUID_LEN];
    id_write_uuid(uuid.high, uuid.low, text);
    strbuf_put(out, slice_make(text, sizeof text));
}

/* --- orders --- */

static bool holds(struct slice text, struct slice part)
{
    return memmem(text.base, text.len, part.base, part.len) != NULL;
}

/* {"id":"<uuid>", ... "side":"BUY" ... "status":"QUEUED" ... } without a backslash, so that what looks like a
 * member is one. */
static bool is_usual(struct slice body, struct slice side, struct uuid *number)
{
    static const struct slice begin = SLICE_INIT("{\"id\":\"");
    char memory[32];
    struct strbuf member;
    if (body.len < begin.len + ID_UUID_LEN + 2 || !slice_starts_with(body, begin) ||
        body.base[body.len - 1] != '}' || memchr(body.base, '\\', body.len) != NULL)
        return false;
    strbuf_init(&member, memory, sizeof memory);
    strbuf_lit(&member, ",\"side\":\"");
    strbuf_put(&member, side);
    strbuf_lit(&member, "\",");
    return uuid_read(slice_make(body.base + begin.len, ID_UUID_LEN), number) &&
           body.base[begin.len + ID_UUID_LEN] == '"' && holds(body, strbuf_slice(&member)) &&
           holds(body, SLICE(",\"status\":\"QUEUED\""));
}

static bool is_queued(struct slice body, struct slice side, struct uuid *number)
{
    struct json *value = NULL;
    struct slice told_number;
    struct slice told_side;
    struct slice told_status;
    if (is_usual(body, side, number))
        return true;
    bool is_good = json_parse(body, &value) == JSON_OK && json_text(json_member(value, "id"), &told_number) &&
                   uuid_read(told_number, number) && json_text(json_member(value, "side"), &told_side) &&
                   slice_eq(told_side, side) && json_text(json_member(value, "status"), &told_status) &&
                   slice_eq(told_status, SLICE("QUEUED"));
    json_free(value);
    return is_good;
}

static unsigned name_wrong(int status)
{
    switch (status) {
    case 201:
        return INTAKE_NONSENSE;
    case 401:
        return INTAKE_UNAUTHORIZED;
    case 422:
        return INTAKE_INVALID;
    case 503:
        return INTAKE_UNAVAILABLE;
    default:
        return status >= 500 ? INTAKE_SERVER_ERROR : INTAKE_OTHER_STATUS;
    }
}

void intake_judge(
    const struct reply *reply, struct slice side, struct judgement *judgement, struct uuid *number)
{
    if (reply->status == 201 && is_queued(reply->body, side, number)) {
        judgement->outcome = INTAKE_QUEUED;
        judgement->truth = TRUTH_ACKNOWLEDGED;
        judgement_set_detail(judgement, SLICE("QUEUED"));
        return;
    }
    char code[DETAIL_MAX];
    int len = snprintf(code, sizeof code, "HTTP_%d", reply->status);
    bool is_unsure = holds(reply->body, SLICE("OUTCOME_UNKNOWN")); /* a server may not know itself */
    bool is_refusal = (reply->status >= 400 && reply->status < 500) || (reply->status == 503 && !is_unsure);
    judgement->outcome = name_wrong(reply->status);
    judgement->truth = is_refusal ? TRUTH_REFUSED : TRUTH_UNKNOWN;
    judgement_set_detail(judgement, slice_make(code, (size_t)len));
}

/* --- tokens --- */

bool intake_read_token(struct slice body, char *token, size_t size, size_t *len)
{
    struct json *value = NULL;
    struct slice text = SLICE_INIT("");
    bool is_good = json_parse(body, &value) == JSON_OK &&
                   json_text(json_member(value, "access_token"), &text) && text.len > 0 && text.len <= size;
    for (size_t i = 0; is_good && i < text.len; i++)
        is_good = text.base[i] > ' ' && text.base[i] <= '~';
    if (is_good) {
        memcpy(token, text.base, text.len);
        *len = text.len;
    }
    json_free(value);
    return is_good;
}
