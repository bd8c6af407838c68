/* SPDX-License-Identifier: Apache-2.0 */
#include "core/catalogue.h"

#include "base/ensure.h"
#include "core/machine.h"
#include "core/sale.h"

#define NEVER_MS INT64_C(253402300799000) /* 9999-12-31T23:59:59Z */

/* The values with what the command names put in. */
static struct product_values merge(struct product_values values, const struct product_fields *fields)
{
    if (fields->present & FIELD_NAME)
        values.name = fields->name;
    if (fields->present & FIELD_INITIAL_STOCK)
        values.initial_stock = fields->initial_stock;
    if (fields->present & FIELD_START)
        values.start_ms = fields->start_ms;
    if (fields->present & FIELD_END)
        values.end_ms = fields->end_ms;
    if (fields->present & FIELD_PRICE)
        values.price_minor = fields->price_minor;
    if (fields->present & FIELD_PER_USER_LIMIT)
        values.per_user_limit = fields->per_user_limit;
    return values;
}

/* A sale that has not begun: full stock, nobody has bought. */
static bool start_afresh(
    struct world *world, struct product *product, struct product_values values, int64_t now_ms)
{
    values.stock = values.initial_stock;
    values.state = SALE_UPCOMING;
    values.end_reason = END_NONE;
    values.updated_ms = now_ms;
    return world_clear_purchases(world, product) && world_set_product(world, product, &values);
}

static bool add_product(struct world *world, struct command *command, int64_t now_ms)
{
    struct product_values values = merge((struct product_values){.per_user_limit = 1}, &command->product);
    values.stock = values.initial_stock;
    values.created_ms = now_ms;
    values.updated_ms = now_ms;
    command->outcome.time_ms = now_ms;
    return world_add_product(world, command->sku, &values) != NULL;
}

bool catalogue_create(struct world *world, struct command *command, int64_t now_ms)
{
    if (command->product.end_ms <= command->product.start_ms) {
        command->outcome.result = RESULT_INVALID_TIME_RANGE;
        return true;
    }
    command->outcome.result = RESULT_OK;
    struct product *product = world_product(world, command->sku);
    if (product == NULL)
        return add_product(world, command, now_ms);
    struct product_values fresh = {.per_user_limit = 1, .created_ms = product->values.created_ms};
    command->outcome.time_ms = fresh.created_ms;
    return start_afresh(world, product, merge(fresh, &command->product), now_ms);
}

bool catalogue_update(struct world *world, struct command *command, int64_t now_ms)
{
    struct outcome *outcome = &command->outcome;
    const struct product_fields *fields = &command->product;
    struct product *product = world_product(world, command->sku);
    if (product == NULL) {
        bool is_whole = (fields->present & FIELDS_ALL_REQUIRED) == FIELDS_ALL_REQUIRED;
        if (is_whole)
            return catalogue_create(world, command, now_ms);
        outcome->result = RESULT_PRODUCT_NOT_FOUND;
        return true;
    }
    outcome->time_ms = product->values.created_ms;
    if (product->values.state != SALE_UPCOMING) {
        outcome->result =
            product->values.state == SALE_ACTIVE ? RESULT_SALE_IS_ACTIVE : RESULT_SALE_HAS_ENDED;
        return true;
    }
    struct product_values values = merge(product->values, fields);
    if (values.end_ms <= values.start_ms) {
        outcome->result = RESULT_INVALID_TIME_RANGE;
        return true;
    }
    outcome->result = RESULT_OK;
    return fields->present == 0 || start_afresh(world, product, values, now_ms);
}

bool catalogue_patch(struct world *world, struct command *command, int64_t now_ms)
{
    struct outcome *outcome = &command->outcome;
    ENSURE((command->product.present & ~(unsigned)(FIELD_PRICE | FIELD_PER_USER_LIMIT)) == 0);
    struct product *product = world_product(world, command->sku);
    if (product == NULL) {
        outcome->result = RESULT_PRODUCT_NOT_FOUND;
        return true;
    }
    struct product_values values = merge(product->values, &command->product);
    if (values.per_user_limit < product->values.per_user_limit && product->purchase_id_last != 0) {
        outcome->result = RESULT_LIMIT_BELOW_SOLD;
        return true;
    }
    outcome->result = RESULT_OK;
    outcome->time_ms = values.created_ms;
    values.updated_ms = now_ms;
    return command->product.present == 0 || world_set_product(world, product, &values);
}

/* The one that the command names, which may have to be a certain one of that sku; or NULL. */
static struct product *named_product(const struct world *world, const struct command *command)
{
    struct product *product = world_product(world, command->sku);
    bool is_another = product != NULL && command->product_id != 0 && product->id != command->product_id;
    return is_another ? NULL : product;
}

bool catalogue_add(struct world *world, struct command *command, int64_t now_ms)
{
    const struct product_fields *fields = &command->product;
    bool is_name = world_product_by_name(world, fields->name) != NULL;
    if (is_name || world_product(world, command->sku) != NULL) {
        command->outcome.result = is_name ? RESULT_PRODUCT_NAME_TAKEN : RESULT_SKU_TAKEN;
        return true;
    }
    struct product_values values = {.name = fields->name,
        .initial_stock = fields->initial_stock,
        .stock = fields->initial_stock,
        .price_minor = fields->price_minor,
        .per_user_limit = 1,
        .start_ms = now_ms,
        .end_ms = NEVER_MS,
        .state = SALE_ACTIVE,
        .created_ms = now_ms,
        .updated_ms = now_ms};
    struct product *product = world_add_product(world, command->sku, &values);
    bool has_labels = command->labels.category.len > 0 || command->labels.is_featured;
    if (product == NULL || (has_labels && !world_label_product(world, product, &command->labels)))
        return false;
    product_show(product, command->pool);
    command->outcome = (struct outcome){.result = RESULT_OK, .number = product->id, .time_ms = now_ms};
    return sale_follow_stock(world, product, now_ms);
}

bool catalogue_set_stock(struct world *world, struct command *command, int64_t now_ms)
{
    struct product *product = named_product(world, command);
    if (product == NULL) {
        command->outcome.result = RESULT_PRODUCT_NOT_FOUND;
        return true;
    }
    struct product_values values = product->values;
    int64_t stock = command->product.initial_stock;
    int64_t sold = values.initial_stock - values.stock;
    if (__builtin_add_overflow(sold, stock, &values.initial_stock)) {
        command->outcome.result = RESULT_STOCK_TOO_LARGE;
        return true;
    }
    values.stock = stock;
    values.updated_ms = now_ms;
    if (!world_set_product(world, product, &values) || !sale_follow_stock(world, product, now_ms))
        return false;
    product_show(product, command->pool);
    command->outcome =
        (struct outcome){.result = RESULT_OK, .number = product->id, .time_ms = values.created_ms};
    return true;
}

bool catalogue_delete(struct world *world, struct command *command)
{
    struct product *product = named_product(world, command);
    bool is_missed = product == NULL && command->product_id != 0;
    command->outcome.result = is_missed ? RESULT_PRODUCT_NOT_FOUND : RESULT_OK;
    return product == NULL || world_remove_product(world, product);
}
