/* SPDX-License-Identifier: Apache-2.0 */
#include "api/order_watch.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/map.h"

/* An order that is watched. Lives while it has watches. */
struct watched_order {
    int64_t id;
    struct list watches;
    struct list node; /* on order_watches.orders */
};

struct order_watches {
    struct engine_port *port;
    bool is_shared;
    struct map orders_by_id;
    struct list orders; /* the one that was looked up longest ago first */
    uv_timer_t timer;   /* runs while there are orders, on a shared store */
    struct engine_lookup lookup;
    bool is_asking;
    size_t unasked_count; /* of this round */
    struct order_state *states;
};

/* --- orders --- */

static bool has_id(const void *value, const void *key)
{
    return ((const struct watched_order *)value)->id == *(const int64_t *)key;
}

static struct watched_order *order_get(const struct order_watches *watches, int64_t id)
{
    return map_get(&watches->orders_by_id, map_hash_id(id), has_id, &id);
}

static struct watched_order *order_take(struct order_watches *watches, int64_t id)
{
    struct watched_order *order = order_get(watches, id);
    if (order != NULL)
        return order;
    order = calloc(1, sizeof *order);
    if (order == NULL || !map_put(&watches->orders_by_id, map_hash_id(id), order)) {
        free(order);
        return NULL;
    }
    order->id = id;
    list_init(&order->watches);
    list_init(&order->node);
    list_append(&watches->orders, &order->node);
    return order;
}

static void order_put(struct order_watches *watches, struct watched_order *order)
{
    if (!list_is_empty(&order->watches))
        return;
    (void)map_remove(&watches->orders_by_id, map_hash_id(order->id), order);
    list_remove(&order->node);
    free(order);
}

/* --- telling --- */

/* Of the same millisecond, the later status is the later state. */
static bool is_newer(const struct order_state *now, const struct order_state *known)
{
    if (order_status_is_final(known->status))
        return false;
    if (now->updated_ms != known->updated_ms)
        return now->updated_ms > known->updated_ms;
    return now->status > known->status || (now->status == known->status && now->attempts > known->attempts);
}

static void tell(struct order_watches *watches, const struct order_state *now)
{
    struct watched_order *order = order_get(watches, now->id);
    if (order == NULL)
        return;
    struct list *next;
    bool is_last = false;
    for (struct list *node = order->watches.next; !is_last; node = next) {
        struct order_watch *watch = CONTAINER_OF(node, struct order_watch, node);
        next = node->next;
        is_last = next == &order->watches; /* the last one to stop takes the order along */
        if (is_newer(now, &watch->known)) {
            watch->known = *now;
            watch->on_change(watch);
        }
    }
}

void order_watches_on_order(struct order_watches *watches, const struct order_view *now)
{
    const struct order_state state = {.id = now->id,
        .is_found = true,
        .status = now->values.status,
        .attempts = now->values.attempts,
        .updated_ms = now->values.updated_ms,
        .paid_ms = now->values.paid_ms};
    tell(watches, &state);
}

/* --- looking up what other nodes have done --- */

static void ask(struct order_watches *watches);

static void on_looked_up(struct engine_lookup *lookup)
{
    struct order_watches *watches = CONTAINER_OF(lookup, struct order_watches, lookup);
    watches->is_asking = false;
    for (size_t i = 0; lookup->status == ERR_NONE && i < lookup->question.state_count; i++) {
        if (lookup->question.states[i].is_found)
            tell(watches, &lookup->question.states[i]);
    }
    question_fini(&lookup->question);
    if (lookup->status == ERR_NONE && watches->unasked_count > 0)
        ask(watches);
}

/* The next piece of the round. When the store does not answer, the next round tries again. */
static void ask(struct order_watches *watches)
{
    size_t count = 0;
    size_t order_count = watches->orders_by_id.count;
    size_t wanted = watches->unasked_count < order_count ? watches->unasked_count : order_count;
    while (count < wanted && count < QUESTION_ROWS_MAX) {
        struct list *node = list_first(&watches->orders);
        list_remove(node);
        list_append(&watches->orders, node);
        watches->states[count++] =
            (struct order_state){.id = CONTAINER_OF(node, struct watched_order, node)->id};
    }
    watches->unasked_count = wanted - count;
    if (count == 0)
        return;
    watches->lookup = (struct engine_lookup){
        .question = {.kind = QUESTION_ORDER_STATES, .states = watches->states, .state_count = count},
        .on_done = on_looked_up};
    watches->is_asking = true;
    if (!engine_port_look_up(watches->port, &watches->lookup))
        watches->is_asking = false;
}

static void on_timer(uv_timer_t *timer)
{
    struct order_watches *watches = timer->data;
    if (watches->is_asking)
        return;
    watches->unasked_count = watches->orders_by_id.count;
    ask(watches);
}

/* --- watches --- */

bool order_watch_start(struct order_watches *watches, struct order_watch *watch)
{
    ENSURE(watch->order == NULL);
    struct watched_order *order = order_take(watches, watch->known.id);
    if (order == NULL)
        return false;
    watch->order = order;
    list_init(&watch->node);
    list_append(&order->watches, &watch->node);
    if (watches->is_shared && !uv_is_active((uv_handle_t *)&watches->timer))
        uv_timer_start(&watches->timer, on_timer, ORDER_POLL_MS, ORDER_POLL_MS);
    return true;
}

void order_watch_stop(struct order_watches *watches, struct order_watch *watch)
{
    if (watch->order == NULL)
        return;
    list_remove(&watch->node);
    order_put(watches, watch->order);
    watch->order = NULL;
    if (watches->orders_by_id.count == 0)
        uv_timer_stop(&watches->timer);
}

/* --- life --- */

struct order_watches *order_watches_create(uv_loop_t *loop, struct engine_port *port, bool is_shared)
{
    struct order_watches *watches = calloc(1, sizeof *watches);
    if (watches == NULL)
        return NULL;
    watches->states = calloc(is_shared ? QUESTION_ROWS_MAX : 1, sizeof *watches->states);
    if (watches->states == NULL) {
        free(watches);
        return NULL;
    }
    watches->port = port;
    watches->is_shared = is_shared;
    map_init(&watches->orders_by_id);
    list_init(&watches->orders);
    uv_timer_init(loop, &watches->timer);
    watches->timer.data = watches;
    return watches;
}

void order_watches_close(struct order_watches *watches)
{
    uv_close((uv_handle_t *)&watches->timer, NULL);
}

void order_watches_destroy(struct order_watches *watches)
{
    struct list *node;
    while ((node = list_first(&watches->orders)) != NULL) {
        list_remove(node);
        free(CONTAINER_OF(node, struct watched_order, node));
    }
    map_fini(&watches->orders_by_id);
    question_fini(&watches->lookup.question);
    free(watches->states);
    free(watches);
}

size_t order_watches_count(const struct order_watches *watches)
{
    return watches->orders_by_id.count;
}
