/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the orders face share: orders.c (routes, reads, figures), orders_place.c (asynchronous
 * orders, and what both kinds have in common), orders_sync.c (customers who wait), orders_events.c (event
 * streams), orders_admin.c (dead letters).
 */
#ifndef DOORBUSTER_API_ORDERS_PRIV_H
#define DOORBUSTER_API_ORDERS_PRIV_H

#include "api/order_form.h"
#include "api/order_watch.h"
#include "api/orders.h"
#include "service/service.h"

/* What is counted; the names in metrics are in orders.c. */
enum order_count {
    COUNT_PLACED_SYNC,
    COUNT_PLACED_ASYNC,
    COUNT_REPLAYED,
    COUNT_INVALID,      /* the body was refused */
    COUNT_REFUSED_FULL, /* at the door */
    COUNT_REFUSED_LATE,
    COUNT_REFUSED_BREAKER,
    COUNT_GONE,      /* the customer did not wait */
    COUNT_TIMED_OUT, /* the payment was under way when the customer's patience ended */
    ORDER_COUNT_COUNT
};

/* What /stats of a shared store last heard. */
struct stats_cache {
    struct engine_lookup lookup;
    struct order_totals totals;
    int64_t asked_ns; /* 0: never with success */
    bool is_asking;
    struct list waiting; /* requests, as struct stats_wait */
};

struct orders {
    struct net_thread *thread;
    struct order_watches *watches;
    struct id_source ids;
    struct list waits;     /* orders_sync.c */
    struct list listeners; /* orders_events.c: the one that was told something longest ago first */
    uv_timer_t heartbeat;
    struct stats_cache stats;
    atomic_uint_fast64_t counts[ORDER_COUNT_COUNT]; /* this thread writes */
    atomic_size_t waiting;                          /* customers */
    atomic_size_t listening;
};

static inline struct payments *orders_payments(const struct orders *orders)
{
    return service_payments(orders->thread->app->service);
}

static inline struct orders *orders_of(void *context)
{
    return ((struct net_thread *)context)->orders;
}

void orders_count(struct orders *orders, enum order_count count);

/* --- orders_place.c --- */

/* An order on its way through the line. */
struct placing {
    struct engine_call call;
    struct engine_lookup lookup; /* of an order that was refused at the door, and may be there already */
    struct order_form form;
    struct orders *orders;
    struct http_request *request; /* NULL: it has been answered */
    int64_t arrived_ns;
    enum admission admission;
    int64_t patience_ms; /* of a customer who waits, as the door reckoned with it */
    int64_t retry_after_ms;
};

/* Reads the body. False: the request has been answered, and the form is finished. */
MUST_CHECK bool placing_init(struct placing *placing, struct orders *orders, struct http_request *request);

/* Sends the order to the line. False: it was refused at the door of the line, and placing->call tells why. */
MUST_CHECK bool placing_push(
    struct placing *placing, int64_t deadline_ns, void (*on_done)(struct engine_call *call));

/*
 * The order is not let in. When the client has named it, it may be there already, and saying that it was not
 * taken might be a lie: it is looked up, and on_done is called, perhaps before this returns; then
 * placing_found tells. False: it can not be, or nobody can look.
 */
MUST_CHECK bool placing_look_up(struct placing *placing, void (*on_done)(struct engine_lookup *lookup));

enum found { FOUND_NOTHING, FOUND_SAME, FOUND_OTHER };
enum found placing_found(const struct placing *placing);

/* So much of the time for which a customer waits is what the door reckons with. */
int64_t placing_reckoned_ms(int64_t patience_ms);

/* Answers what the door, or the line, has refused. */
void placing_reply_refused(struct placing *placing);
void placing_reply_result(struct placing *placing);
void placing_reply_taken(struct placing *placing);

/* {"duration":SECONDS, without a closing brace. */
void put_duration(struct strbuf *body, int64_t arrived_ns);

/* Location: /orders/ID, percent-encoded (RFC 3986, 2.1). Room for LOCATION_LEN_MAX bytes suffices. */
enum { LOCATION_LEN_MAX = 32 + 3 * ORDER_ID_LEN_MAX };
void put_location(struct strbuf *extra, struct slice order_id);

void reply_text(struct http_request *request, int status, struct slice text);

http_handler orders_async_post;

/* --- orders_sync.c --- */

http_handler orders_sync_post;
void orders_sync_close(struct orders *orders);

/* --- orders_events.c --- */

http_handler order_events_get;
void orders_events_open(struct orders *orders);
void orders_events_close(struct orders *orders);

/* --- orders_admin.c --- */

http_handler dead_letters_get;
http_handler dead_letter_replay_post;

/* --- orders.c --- */

/* A question about one order, with the request that waits for the answer. Lives in the request's arena. */
struct order_lookup {
    struct engine_lookup lookup;
    struct orders *orders;
    struct http_request *request;
};

/*
 * Asks for the order that the path names. When it is found, on_found is called, perhaps before this returns;
 * it answers the request and ends the question with question_fini. In all other cases the request is
 * answered.
 */
void order_look_up(
    struct http_request *request, struct orders *orders, void (*on_found)(struct order_lookup *lookup));

/* Answers for a question that failed. */
void reply_not_looked_up(struct http_request *request, enum err status);

#endif
