/* SPDX-License-Identifier: Apache-2.0 */
#include "sale_model.h"

#include "base/ensure.h"

#include <limits.h>

enum {
    SAID_OK = 0,
    SAID_KEY_MISMATCH = 10,
    SAID_KEY_IN_FLIGHT = 11,
    SAID_INVALID_TIME_RANGE = 20,
    SAID_NOT_FOUND = 21,
    SAID_IS_ACTIVE = 22,
    SAID_HAS_ENDED = 23,
    SAID_LIMIT_BELOW_SOLD = 24,
    SAID_NOT_ACTIVE = 30,
    SAID_ALREADY_PURCHASED = 31,
    SAID_SOLD_OUT = 32,
};

void model_tick(struct sale_model *model, int64_t now_ms)
{
    for (int i = 0; i < MODEL_SKUS; i++) {
        struct model_sale *sale = &model->sales[i];
        if (sale->exists && sale->state == MODEL_UPCOMING && now_ms >= sale->start_ms)
            sale->state = MODEL_ACTIVE;
        else if (sale->exists && sale->state == MODEL_ACTIVE && now_ms >= sale->end_ms)
            sale->state = MODEL_ENDED;
    }
    for (int user = 0; user < MODEL_USERS; user++) {
        for (int key = 0; key < MODEL_KEYS; key++) {
            struct model_key *record = &model->keys[user][key];
            if (record->is_used && record->created_ms + model->key_ttl_ms <= now_ms)
                record->is_used = false;
        }
    }
}

static struct model_answer purchase(
    const struct sale_model *model, struct model_sale *sale, unsigned user, int64_t now_ms)
{
    struct model_answer answer = {.result = SAID_NOT_ACTIVE};
    if (!sale->exists || sale->state == MODEL_UPCOMING)
        return answer;
    if (sale->state == MODEL_ENDED) {
        if (sale->was_sold_out && model->says_sold_out)
            answer.result = SAID_SOLD_OUT;
        return answer;
    }
    if (now_ms >= sale->end_ms) {
        sale->state = MODEL_ENDED;
        return answer;
    }
    if (sale->bought[user] >= sale->limit) {
        answer.result = SAID_ALREADY_PURCHASED;
        return answer;
    }
    if (sale->sold == sale->initial_stock) {
        answer.result = SAID_SOLD_OUT;
        return answer;
    }
    sale->sold++;
    sale->bought[user]++;
    if (sale->sold == sale->initial_stock) {
        sale->state = MODEL_ENDED;
        sale->was_sold_out = true;
    }
    return (struct model_answer){.result = SAID_OK, .has_number = true, .time_ms = now_ms};
}

static void set_fields(struct model_sale *sale, const struct product_fields *fields)
{
    if (fields->present & FIELD_NAME) {
        memset(sale->name, 0, sizeof sale->name);
        memcpy(sale->name, fields->name.base, fields->name.len);
    }
    if (fields->present & FIELD_INITIAL_STOCK)
        sale->initial_stock = fields->initial_stock;
    if (fields->present & FIELD_START)
        sale->start_ms = fields->start_ms;
    if (fields->present & FIELD_END)
        sale->end_ms = fields->end_ms;
    if (fields->present & FIELD_PRICE)
        sale->price = fields->price_minor;
    if (fields->present & FIELD_PER_USER_LIMIT)
        sale->limit = fields->per_user_limit;
}

static void restart(struct model_sale *sale)
{
    sale->state = MODEL_UPCOMING;
    sale->was_sold_out = false;
    sale->sold = 0;
    memset(sale->bought, 0, sizeof sale->bought);
}

static struct model_answer create(
    struct model_sale *sale, const struct product_fields *fields, int64_t now_ms)
{
    if (fields->end_ms <= fields->start_ms)
        return (struct model_answer){.result = SAID_INVALID_TIME_RANGE};
    struct model_sale fresh = {
        .exists = true, .limit = 1, .created_ms = sale->exists ? sale->created_ms : now_ms};
    set_fields(&fresh, fields);
    *sale = fresh;
    return (struct model_answer){.result = SAID_OK, .time_ms = fresh.created_ms};
}

static struct model_answer update(
    struct model_sale *sale, const struct product_fields *fields, int64_t now_ms)
{
    bool names_all = (fields->present & FIELDS_ALL_REQUIRED) == FIELDS_ALL_REQUIRED;
    if (!sale->exists)
        return names_all ? create(sale, fields, now_ms) : (struct model_answer){.result = SAID_NOT_FOUND};
    if (sale->state != MODEL_UPCOMING)
        return (struct model_answer){.result = sale->state == MODEL_ACTIVE ? SAID_IS_ACTIVE : SAID_HAS_ENDED};
    struct model_sale changed = *sale;
    set_fields(&changed, fields);
    if (changed.end_ms <= changed.start_ms)
        return (struct model_answer){.result = SAID_INVALID_TIME_RANGE};
    if (fields->present != 0)
        restart(&changed);
    *sale = changed;
    return (struct model_answer){.result = SAID_OK, .time_ms = sale->created_ms};
}

static struct model_answer patch(struct model_sale *sale, const struct product_fields *fields)
{
    if (!sale->exists)
        return (struct model_answer){.result = SAID_NOT_FOUND};
    if ((fields->present & FIELD_PER_USER_LIMIT) && sale->sold > 0 && fields->per_user_limit < sale->limit)
        return (struct model_answer){.result = SAID_LIMIT_BELOW_SOLD};
    set_fields(sale, fields);
    return (struct model_answer){.result = SAID_OK, .time_ms = sale->created_ms};
}

static struct model_answer decide(struct sale_model *model, const struct random_command *lot, int64_t now_ms)
{
    struct model_sale *sale = &model->sales[lot->sku];
    const struct product_fields *fields = &lot->command.product;
    switch (lot->command.kind) {
    case COMMAND_PURCHASE:
        return purchase(model, sale, lot->user, now_ms);
    case COMMAND_PRODUCT_CREATE:
        return create(sale, fields, now_ms);
    case COMMAND_PRODUCT_UPDATE:
        return update(sale, fields, now_ms);
    case COMMAND_PRODUCT_PATCH:
        return patch(sale, fields);
    case COMMAND_PRODUCT_DELETE:
        break;
    default: { /* the crowd sends no others */
        bool is_about_products = false;
        ENSURE(is_about_products);
    }
    }
    *sale = (struct model_sale){0};
    return (struct model_answer){.result = SAID_OK};
}

struct model_answer model_decide(struct sale_model *model, const struct random_command *lot, int64_t now_ms)
{
    if (lot->key == UINT_MAX)
        return decide(model, lot, now_ms);
    struct model_key *record = &model->keys[lot->user][lot->key];
    int body = lot->command.idempotency.fingerprint[0];
    if (record->is_used && record->body != body)
        return (struct model_answer){.result = SAID_KEY_MISMATCH};
    if (record->is_used && record->batch == model->batch)
        return (struct model_answer){.result = SAID_KEY_IN_FLIGHT};
    if (record->is_used)
        return (struct model_answer){.result = record->result,
            .is_replay = true,
            .number = record->number,
            .time_ms = record->time_ms};
    struct model_answer answer = decide(model, lot, now_ms);
    *record = (struct model_key){.is_used = true,
        .batch = model->batch,
        .created_ms = now_ms,
        .body = body,
        .result = answer.result,
        .time_ms = answer.time_ms};
    return answer;
}

void model_note_number(struct sale_model *model, const struct random_command *lot, int64_t number)
{
    if (lot->key != UINT_MAX)
        model->keys[lot->user][lot->key].number = number;
}
