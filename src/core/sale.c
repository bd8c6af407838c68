/* SPDX-License-Identifier: Apache-2.0 */
#include "core/sale.h"

static bool set_state(struct world *world, struct product *product, enum sale_state state,
    enum end_reason reason, int64_t now_ms)
{
    struct product_values values = product->values;
    values.state = state;
    values.end_reason = reason;
    values.updated_ms = now_ms;
    return world_set_product(world, product, &values);
}

/* The time at which the clock alone moves this sale on. */
static int64_t edge_of(const struct product_values *values)
{
    switch (values->state) {
    case SALE_UPCOMING:
        return values->start_ms;
    case SALE_ACTIVE:
        return values->end_ms;
    case SALE_ENDED:
        break;
    }
    return INT64_MAX;
}

bool sale_tick(struct world *world, int64_t now_ms)
{
    if (now_ms < world->next_edge_ms)
        return true;
    world->next_edge_ms = INT64_MAX;
    LIST_FOR_EACH (node, &world->products) {
        struct product *product = CONTAINER_OF(node, struct product, node);
        if (edge_of(&product->values) <= now_ms && world_is_certain(world, product)) {
            bool is_start = product->values.state == SALE_UPCOMING;
            if (!set_state(world, product, is_start ? SALE_ACTIVE : SALE_ENDED,
                    is_start ? END_NONE : END_TIME_EXPIRED, now_ms)) {
                world->next_edge_ms = now_ms;
                return false;
            }
        }
        int64_t edge = edge_of(&product->values);
        if (edge < world->next_edge_ms)
            world->next_edge_ms = edge;
    }
    return true;
}

static enum result refusal_when_over(const struct product *product, bool says_sold_out)
{
    bool was_sold_out = product != NULL && product->values.end_reason == END_SOLD_OUT;
    return says_sold_out && was_sold_out ? RESULT_SOLD_OUT : RESULT_SALE_NOT_ACTIVE;
}

bool sale_purchase(struct world *world, bool says_sold_out, struct command *command, int64_t now_ms)
{
    struct outcome *outcome = &command->outcome;
    struct product *product = world_product(world, command->sku);
    if (product == NULL || product->values.state != SALE_ACTIVE) {
        outcome->result = refusal_when_over(product, says_sold_out);
        return true;
    }
    if (now_ms < product->values.start_ms) { /* the clock was set back */
        outcome->result = RESULT_SALE_NOT_ACTIVE;
        return true;
    }
    if (now_ms >= product->values.end_ms) {
        outcome->result = RESULT_SALE_NOT_ACTIVE;
        return set_state(world, product, SALE_ENDED, END_TIME_EXPIRED, now_ms);
    }
    const struct buyer *buyer = world_buyer(world, product, command->user);
    if (buyer != NULL && buyer->count >= product->values.per_user_limit) {
        outcome->result = RESULT_ALREADY_PURCHASED;
        return true;
    }
    if (product->values.stock <= 0) {
        outcome->result = RESULT_SOLD_OUT;
        return true;
    }
    if (!world_add_purchase(world, product, command->user, now_ms, &outcome->number))
        return false;
    outcome->result = RESULT_OK;
    outcome->time_ms = now_ms;
    if (product->values.stock > 0)
        return true;
    return set_state(world, product, SALE_ENDED, END_SOLD_OUT, now_ms);
}
