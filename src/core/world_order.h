/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders in the world (world.h tells how it changes). With the embedded store every order is there, without
 * what only readers show (items); in a shared world those that the batch's commands name or whose payments it
 * claims. Payments and notifications are written and never looked at again by a rule, so they are changes
 * without an entity. Engine thread.
 */
#ifndef DOORBUSTER_CORE_WORLD_ORDER_H
#define DOORBUSTER_CORE_WORLD_ORDER_H

#include "core/world.h"

struct order_request;

enum { ORDER_ID_LEN_MAX = 255, ORDER_EMAIL_LEN_MAX = 254 }; /* bytes; both fit a work's subject */

/* "pending", ...: on the wire and in the store. */
struct slice order_status_name(enum order_status status);
bool order_status_from_name(struct slice name, enum order_status *status);

static inline bool order_status_is_final(enum order_status status)
{
    return status >= ORDER_COMPLETED;
}

/* "paid", "declined", "abandoned" (tried as often as allowed, without an answer that counts): in the store.
 */
enum payment_outcome { PAYMENT_PAID, PAYMENT_DECLINED, PAYMENT_ABANDONED };
struct slice payment_outcome_name(enum payment_outcome outcome);

/* "webhook", "email": in the store. */
enum channel { CHANNEL_WEBHOOK, CHANNEL_EMAIL };
struct slice channel_name(enum channel channel);

struct order {
    int64_t id; /* its payment's work has the same one */
    uint64_t hash;
    struct slice order_id; /* owned by the world */
    struct slice email;
    int64_t customer_id;
    int64_t amount_minor;
    int64_t created_ms;
    int64_t deadline_ms; /* 0: nobody waits for it */
    int priority;
    unsigned char fingerprint[FINGERPRINT_BYTES];
    struct order_values values;
    uint64_t touched_batch;   /* world.batch in which a pre-image was last kept */
    uint64_t added_batch;     /* world.batch in which it was added, 0 when it was loaded */
    uint64_t published_batch; /* the engine: world.batch in which a picture of it was last sent out */
    struct list node;         /* on world.pending_orders while it is pending */
};

/* "order.completed", "order.failed": what is told of an order that came to this end. */
struct slice order_event_name(enum order_status status);

/* --- what rules read --- */

/* Borrowed; NULL when there is none. */
struct order *world_order(const struct world *world, struct slice order_id);
struct order *world_order_by_id(const struct world *world, int64_t id);

/* --- what rules change: false (NULL) when memory is out, see world.h --- */

/* Pending, with an id of the sequence of work, which is used up. The slices of the request but for items are
 * copied. */
struct order *world_add_order(struct world *world, const struct order_request *request, int64_t now_ms);
bool world_set_order(struct world *world, struct order *order, const struct order_values *values);

/* At most one for each order: its id is the order's. */
bool world_add_payment(
    struct world *world, struct order *order, enum payment_outcome outcome, int64_t now_ms);

/* Its id is that of the work that delivers it. */
bool world_add_notification(
    struct world *world, int64_t id, struct order *order, enum channel channel, int64_t now_ms);
bool world_end_notification(struct world *world, int64_t id, int64_t now_ms);

/* --- loading: no change is recorded. False when memory is out; one that is there already stays. --- */

bool world_load_order(struct world *world, const struct order *record);

#endif
