/* SPDX-License-Identifier: Apache-2.0 */
/* What engine.c and port.c share. */
#ifndef DOORBUSTER_ENGINE_ENGINE_PRIV_H
#define DOORBUSTER_ENGINE_ENGINE_PRIV_H

#include "engine/balances.h"
#include "engine/engine.h"
#include "engine/line.h"

struct order_views {
    struct order_view **views;
    size_t count;
    size_t size;
};

struct ticket_views {
    struct ticket_view **views;
    size_t count;
    size_t size;
};

/* What the engine leaves for a port. */
struct mailbox {
    pthread_mutex_t lock;
    struct call_list answered;
    struct engine_lookup *looked_up; /* in order; the last is looked_up_last */
    struct engine_lookup *looked_up_last;
    struct sale_view **views; /* in order of making; the port takes over the references */
    size_t view_count;
    size_t view_size;
    atomic_bool has_views;       /* view_count > 0, readable without the lock */
    struct order_views orders;   /* in order of making; the port takes over the references */
    struct ticket_views tickets; /* as for orders */
    struct line_view *line; /* the latest, not taken yet; NULL: none. The port takes over the reference */
    atomic_bool has_line;   /* line != NULL, readable without the lock */
    unsigned work_kinds;    /* 1 << kind, or'ed: of these something was added */
};

/* A picture that has come in and whose listeners have not been told yet. */
struct view_event {
    struct sale_view *before; /* NULL: none */
    struct sale_view *now;
};

struct engine_port {
    struct engine *engine;
    struct engine_port_events events;
    struct mailbox mailbox;      /* shared with the engine thread */
    struct call_list pushed;     /* not flushed yet */
    struct store_reader *reader; /* of an embedded store; NULL with a shared one */
    struct map views_by_sku;     /* struct sale_view, one reference each */
    struct sale_list sales;      /* the same, by id */
    struct sale_list featured;   /* of these, those that are featured */
    struct line_view *line;      /* the latest; the engine posts the first one at its start */
    bool is_line_new;            /* its listener has not been told yet */
    struct view_event *untold;
    size_t untold_count;
    size_t untold_size;
    struct call_list delivery; /* engine thread: answers of the present batch for this port */
    /* Engine thread: delivered in one piece with the answers, after which they are told. */
    struct order_views delivery_orders;
    struct ticket_views delivery_tickets;
    unsigned delivery_work_kinds;
    bool is_wake_due; /* engine thread: something was left in the mailbox since the last wake-up */
    struct engine_port *next;
};

/* Written by one thread at a time or added to atomically; read by anybody. */
struct engine_figures {
    atomic_uint_fast64_t commands_total;
    atomic_uint_fast64_t batches_total;
    atomic_uint_fast64_t commits_failed_total;
    atomic_uint_fast64_t conflicts_total;
    atomic_uint_fast64_t refused_full_total;
    atomic_uint_fast64_t refused_late_total;
    atomic_uint_fast64_t refused_state_total;
    atomic_uint_fast64_t commit_seconds_bucket[ENGINE_COMMIT_BUCKET_COUNT + 1];
    atomic_uint_fast64_t commit_ns_total;
    atomic_size_t product_count;
    atomic_int_fast64_t order_counts[ORDER_STATUS_COUNT];
    atomic_int_fast64_t oldest_pending_ms;
};

struct engine {
    struct engine_config config;
    struct store *store;
    struct world world; /* engine thread */
    struct line line;
    struct engine_port *ports; /* fixed from engine_start on */
    pthread_t thread;
    bool is_started;
    const struct command **commands; /* the batch as the store wants it; line_depth_max places */
    atomic_int state;                /* enum engine_state */
    pthread_mutex_t last_error_lock;
    struct error last_error;
    int64_t probe_at_ns;            /* engine thread: while FAILING, when to try the store again */
    int64_t tick_at_ns;             /* engine thread: no tick before this */
    int64_t tidy_at_ns;             /* engine thread: with a shared store a tick at the latest by then */
    int64_t published_pool_version; /* engine thread; shared store: of the last picture of the line */
    atomic_bool is_refresh_due;     /* the store has something new */
    atomic_int_fast64_t views_fresh_until_ns;
    struct balances balances;       /* engine thread writes; not of a shared store */
    struct lookups *lookups;        /* questions to a shared store; NULL with an embedded one */
    atomic_int_fast64_t command_ns; /* moving averages behind the expected wait */
    atomic_int_fast64_t load_ns;
    atomic_int_fast64_t commit_ns;
    atomic_int_fast64_t batch_began_ns; /* 0: the engine is idle */
    atomic_size_t taken_count; /* calls that were taken from the line and are not in the present batch */
    struct engine_figures figures;
};

/* Calls that wait to be decided, in the line and taken from it. Any thread. */
size_t engine_depth(const struct engine *engine);

/* How long a command that comes now waits until it is answered, in nanoseconds. Any thread. */
int64_t engine_expected_wait_ns(const struct engine *engine, size_t commands_ahead);

/* Marks the call as refused: UNAVAILABLE, come again after the expected wait. */
void engine_refuse(const struct engine *engine, struct engine_call *call);

/* Leaves pictures and answers in the mailbox and wakes the port. Engine thread. */
void engine_port_post_view(struct engine_port *port, struct sale_view *view);
void engine_port_post_order(struct engine_port *port, struct order_view *view);
void engine_port_post_ticket(struct engine_port *port, struct ticket_view *view);
void engine_port_post_line(struct engine_port *port, struct line_view *view);
void engine_port_post_work(struct engine_port *port, unsigned kinds);
void engine_port_post_answers(struct engine_port *port);

/* Leaves an answered question in the mailbox and wakes the port. Any thread but the port's. */
void engine_port_post_lookup(struct engine_port *port, struct engine_lookup *lookup);

/* --- lookups.c: the thread that asks a shared store what the net threads want to know --- */

/* Opens a reader and starts the thread. */
MUST_CHECK enum err lookups_create(struct store *store, struct lookups **lookups, struct error *error);

/* Answers what waits and ends the thread; what is pushed from now on is refused. */
void lookups_stop(struct lookups *lookups);
void lookups_destroy(struct lookups *lookups);

/* Any thread. False: too many wait. */
MUST_CHECK bool lookups_push(struct lookups *lookups, struct engine_lookup *lookup);

#endif
