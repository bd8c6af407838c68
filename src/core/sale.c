/* SPDX-License-Identifier: Apache-2.0 */
#include "core/sale.h"

#include "base/ensure.h"
#include "base/strbuf.h"
#include "core/world_work.h"

static bool set_state(struct world *world, struct product *product, enum sale_state state,
    enum end_reason reason, int64_t now_ms)
{
    struct product_values values = product->values;
    values.state = state;
    values.end_reason = reason;
    values.updated_ms = now_ms;
    return world_set_product(world, product, &values);
}

/* "PRODUCT_ID PURCHASE_ID_FIRST PURCHASE_ID_LAST". In a shared world nobody knows the last two, which only
 * the embedded store needs. */
static bool add_closeout(struct world *world, const struct product *product, int64_t now_ms)
{
    char memory[64];
    struct strbuf body;
    strbuf_init(&body, memory, sizeof memory);
    strbuf_put_i64(&body, product->id);
    strbuf_put_char(&body, ' ');
    strbuf_put_i64(&body, world->is_shared ? 0 : product->purchase_id_first);
    strbuf_put_char(&body, ' ');
    strbuf_put_i64(&body, world->is_shared ? 0 : product->purchase_id_last);
    ENSURE(!body.has_overflowed);
    return world_add_work(world, WORK_SALE_CLOSEOUT, product->sku, strbuf_slice(&body), now_ms, now_ms) !=
           NULL;
}

bool sale_closeout_read(struct slice body, struct sale_closeout *closeout)
{
    struct slice rest;
    struct slice product_id = slice_split(body, ' ', &rest);
    struct slice first = slice_split(rest, ' ', &rest);
    return slice_to_i64(product_id, &closeout->product_id) &&
           slice_to_i64(first, &closeout->purchase_id_first) &&
           slice_to_i64(rest, &closeout->purchase_id_last);
}

static bool end_sale(struct world *world, struct product *product, enum end_reason reason, int64_t now_ms)
{
    return set_state(world, product, SALE_ENDED, reason, now_ms) && add_closeout(world, product, now_ms);
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

static bool can_move(const struct world *world, const struct product *product)
{
    return world_is_certain(world, product) &&
           (product->values.state == SALE_UPCOMING || world_has_work_ids(world));
}

static bool move_on(struct world *world, struct product *product, int64_t now_ms)
{
    return product->values.state == SALE_UPCOMING ? set_state(world, product, SALE_ACTIVE, END_NONE, now_ms)
                                                  : end_sale(world, product, END_TIME_EXPIRED, now_ms);
}

bool sale_tick(struct world *world, int64_t now_ms)
{
    if (now_ms < world->next_edge_ms)
        return true;
    int64_t edge_before_ms = world->next_edge_ms;
    world->next_edge_ms = INT64_MAX;
    LIST_FOR_EACH (node, &world->products) {
        struct product *product = CONTAINER_OF(node, struct product, node);
        if (edge_of(&product->values) <= now_ms && can_move(world, product) &&
            !move_on(world, product, now_ms)) {
            world->next_edge_ms = edge_before_ms;
            return false;
        }
        int64_t edge = edge_of(&product->values);
        if (edge < world->next_edge_ms)
            world->next_edge_ms = edge;
    }
    return true;
}

/* --- taking stock --- */

int64_t sale_available(const struct product *product, int64_t now_ms)
{
    const struct product_values *values = &product->values;
    bool is_open = values->state == SALE_ACTIVE && now_ms >= values->start_ms && now_ms < values->end_ms;
    return is_open ? values->stock : 0;
}

bool sale_take_units(struct world *world, struct product *product, struct slice user, int64_t units,
    int64_t now_ms, int64_t *purchase_id)
{
    ENSURE(units >= 1 && units <= sale_available(product, now_ms));
    if (!world_add_purchase(world, product, user, now_ms, purchase_id))
        return false;
    for (int64_t i = 1; i < units; i++) {
        int64_t id;
        if (!world_add_purchase(world, product, user, now_ms, &id))
            return false;
        ENSURE(id == *purchase_id + i);
    }
    return product->values.stock > 0 || end_sale(world, product, END_SOLD_OUT, now_ms);
}

bool sale_follow_stock(struct world *world, struct product *product, int64_t now_ms)
{
    const struct product_values *values = &product->values;
    if (values->state == SALE_ACTIVE && values->stock == 0)
        return end_sale(world, product, END_SOLD_OUT, now_ms);
    if (values->end_reason != END_SOLD_OUT || values->stock == 0)
        return true;
    return now_ms < values->end_ms ? set_state(world, product, SALE_ACTIVE, END_NONE, now_ms)
                                   : set_state(world, product, SALE_ENDED, END_TIME_EXPIRED, now_ms);
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
        return end_sale(world, product, END_TIME_EXPIRED, now_ms);
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
    outcome->result = RESULT_OK;
    outcome->time_ms = now_ms;
    return sale_take_units(world, product, command->user, 1, now_ms, &outcome->number);
}
