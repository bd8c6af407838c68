/* SPDX-License-Identifier: Apache-2.0 */
/* See world_order.h; the ways of world.c hold here too: all memory first, then the change. */
#include "core/world_order.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "core/order.h"
#include "core/world_priv.h"

static const struct slice status_names[ORDER_STATUS_COUNT] = {SLICE_INIT("pending"), SLICE_INIT("processing"),
    SLICE_INIT("completed"), SLICE_INIT("failed"), SLICE_INIT("cancelled")};
static const struct slice outcome_names[] = {
    SLICE_INIT("paid"), SLICE_INIT("declined"), SLICE_INIT("abandoned")};
static const struct slice channel_names[] = {SLICE_INIT("webhook"), SLICE_INIT("email")};

struct slice order_status_name(enum order_status status)
{
    return status_names[status];
}

bool order_status_from_name(struct slice name, enum order_status *status)
{
    for (int i = 0; i < ORDER_STATUS_COUNT; i++) {
        if (slice_eq(name, status_names[i])) {
            *status = (enum order_status)i;
            return true;
        }
    }
    return false;
}

struct slice payment_outcome_name(enum payment_outcome outcome)
{
    return outcome_names[outcome];
}

struct slice channel_name(enum channel channel)
{
    return channel_names[channel];
}

struct slice order_event_name(enum order_status status)
{
    ENSURE(status == ORDER_COMPLETED || status == ORDER_FAILED);
    return status == ORDER_COMPLETED ? SLICE("order.completed") : SLICE("order.failed");
}

/* --- look-ups --- */

static bool order_has_name(const void *value, const void *key)
{
    return slice_eq(((const struct order *)value)->order_id, *(const struct slice *)key);
}

static bool order_has_id(const void *value, const void *key)
{
    return ((const struct order *)value)->id == *(const int64_t *)key;
}

struct order *world_order(const struct world *world, struct slice order_id)
{
    return map_get(&world->orders_by_name, map_hash(&world->hash_key, order_id), order_has_name, &order_id);
}

struct order *world_order_by_id(const struct world *world, int64_t id)
{
    return map_get(&world->orders_by_id, map_hash_id(id), order_has_id, &id);
}

/* --- what is counted and listed, in a world that is complete --- */

/* Oldest first: an order that becomes pending again goes before those that came after it. */
static void list_as_pending(struct world *world, struct order *order)
{
    struct list *before = &world->pending_orders; /* the end */
    struct list *last = before->prev;
    bool is_newest = last == before || CONTAINER_OF(last, struct order, node)->id < order->id;
    if (!is_newest) {
        before = before->next;
        while (CONTAINER_OF(before, struct order, node)->id < order->id)
            before = before->next;
    }
    list_append(before, &order->node);
}

static void count_in(struct world *world, struct order *order)
{
    if (world->is_shared)
        return;
    world->order_counts[order->values.status]++;
    if (order->values.status == ORDER_PENDING)
        list_as_pending(world, order);
}

static void count_out(struct world *world, struct order *order)
{
    if (world->is_shared)
        return;
    world->order_counts[order->values.status]--;
    list_remove(&order->node);
}

/* --- memory --- */

static void copy_text(char **at, struct slice text, struct slice *copy)
{
    if (text.len > 0) /* an empty slice may have no base, which memcpy does not allow */
        memcpy(*at, text.base, text.len);
    *copy = slice_make(*at, text.len);
    *at += text.len;
}

/* One block: the record, then its texts. */
static struct order *order_new(const struct world *world, const struct order *record)
{
    struct order *order = malloc(sizeof *order + record->order_id.len + record->email.len);
    if (order == NULL)
        return NULL;
    char *text = (char *)(order + 1);
    *order = *record;
    copy_text(&text, record->order_id, &order->order_id);
    copy_text(&text, record->email, &order->email);
    order->hash = map_hash(&world->hash_key, order->order_id);
    list_init(&order->node);
    return order;
}

static struct order *order_put(struct world *world, const struct order *record)
{
    struct order *order = order_new(world, record);
    if (order == NULL)
        return NULL;
    if (!map_put(&world->orders_by_name, order->hash, order)) {
        free(order);
        return NULL;
    }
    if (!map_put(&world->orders_by_id, map_hash_id(order->id), order)) {
        (void)map_remove(&world->orders_by_name, order->hash, order);
        free(order);
        return NULL;
    }
    count_in(world, order);
    return order;
}

static void order_take_out(struct world *world, struct order *order)
{
    bool was_in = map_remove(&world->orders_by_name, order->hash, order);
    was_in = map_remove(&world->orders_by_id, map_hash_id(order->id), order) && was_in;
    ENSURE(was_in);
    count_out(world, order);
}

/* --- changes --- */

struct order *world_add_order(struct world *world, const struct order_request *request, int64_t now_ms)
{
    ENSURE(world_has_work_ids(world));
    struct order record = {
        .id = world->next_work_id,
        .order_id = request->order_id,
        .email = request->email,
        .customer_id = request->customer_id,
        .amount_minor = request->amount_minor,
        .created_ms = now_ms,
        .deadline_ms = request->deadline_ms,
        .priority = request->priority,
        .values = {.status = ORDER_PENDING, .updated_ms = now_ms},
        .touched_batch = world->batch,
        .added_batch = world->batch,
    };
    memcpy(record.fingerprint, request->fingerprint, FINGERPRINT_BYTES);
    struct order *order = world_changes_make_room(world, 1) ? order_put(world, &record) : NULL;
    if (order == NULL)
        return NULL;
    world->next_work_id++;
    struct change *change = world_changes_append(world, CHANGE_ORDER_ADDED, NULL);
    change->order.order = order;
    change->order.request = request;
    return order;
}

bool world_set_order(struct world *world, struct order *order, const struct order_values *values)
{
    if (order->touched_batch != world->batch) {
        if (!world_changes_make_room(world, 1))
            return false;
        struct change *change = world_changes_append(world, CHANGE_ORDER_UPDATED, NULL);
        change->order.order = order;
        change->order.before = order->values;
        order->touched_batch = world->batch;
    }
    count_out(world, order);
    order->values = *values;
    count_in(world, order);
    return true;
}

bool world_add_payment(struct world *world, struct order *order, enum payment_outcome outcome, int64_t now_ms)
{
    if (!world_changes_make_room(world, 1))
        return false;
    struct change *change = world_changes_append(world, CHANGE_PAYMENT_ADDED, NULL);
    change->payment.order = order;
    change->payment.outcome = outcome;
    change->payment.time_ms = now_ms;
    return true;
}

bool world_add_notification(
    struct world *world, int64_t id, struct order *order, enum channel channel, int64_t now_ms)
{
    if (!world_changes_make_room(world, 1))
        return false;
    struct change *change = world_changes_append(world, CHANGE_NOTIFICATION_ADDED, NULL);
    change->notification.id = id;
    change->notification.order = order;
    change->notification.channel = channel;
    change->notification.time_ms = now_ms;
    return true;
}

bool world_end_notification(struct world *world, int64_t id, int64_t now_ms)
{
    if (!world_changes_make_room(world, 1))
        return false;
    struct change *change = world_changes_append(world, CHANGE_NOTIFICATION_ENDED, NULL);
    change->notification.id = id;
    change->notification.time_ms = now_ms;
    return true;
}

/* --- the end of a batch --- */

void world_undo_order(struct world *world, const struct change *change)
{
    struct order *order = change->order.order;
    if (change->kind == CHANGE_ORDER_ADDED) {
        order_take_out(world, order);
        free(order);
        return;
    }
    count_out(world, order);
    order->values = change->order.before;
    order->touched_batch = 0;
    count_in(world, order);
}

/* --- loading --- */

bool world_load_order(struct world *world, const struct order *record)
{
    struct order copy = *record;
    copy.touched_batch = 0;
    copy.added_batch = 0;
    copy.published_batch = 0;
    return world_order_by_id(world, record->id) != NULL || order_put(world, &copy) != NULL;
}

void world_drop_orders(struct world *world)
{
    size_t cursor = 0;
    void *order;
    while ((order = map_next(&world->orders_by_id, &cursor)) != NULL)
        free(order);
    map_fini(&world->orders_by_id);
    map_fini(&world->orders_by_name);
    map_init(&world->orders_by_id);
    map_init(&world->orders_by_name);
    list_init(&world->pending_orders);
}
