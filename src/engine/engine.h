/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: one thread that takes everything waiting in the line (the batch), lets the rules decide each
 * command in order of arrival, has the store write all of it in one transaction, and only then lets the
 * answers go.
 *
 * A net thread talks to it through a port of its own: it pushes calls, flushes them once a loop turn, and
 * after a wake-up receives the answered calls and the pictures of sales that have changed. Pictures reach
 * every port before any answer of the same batch leaves, and are looked at freshly for each request: who has
 * seen an answer finds its effect on every thread.
 *
 * When a commit fails nothing is acknowledged and the world is rolled back. If nothing was written (disk
 * full) the whole batch is answered UNAVAILABLE, and the engine refuses at the door and tries the store until
 * it works again. If the outcome is unknown (a flush failed) the batch is answered OUTCOME_UNKNOWN, and the
 * engine halts for good: only a restart can tell what is on disk. Reads go on in both cases.
 *
 * With a store that several nodes share, every batch begins by loading and locking what it touches, so an
 * unknown outcome needs no halt: the next load tells. A commit that met another node's is decided again.
 * Pictures follow what other nodes do, and are good for refusals only as long as engine_views_are_fresh.
 */
#ifndef DOORBUSTER_ENGINE_ENGINE_H
#define DOORBUSTER_ENGINE_ENGINE_H

#include "core/command.h"
#include "core/rules.h"
#include "engine/order_view.h"
#include "engine/pool_view.h"
#include "engine/sale_list.h"
#include "engine/sale_view.h"
#include "store/store.h"

struct engine;
struct engine_port;

struct engine_config {
    struct rules rules;
    size_t line_depth_max;    /* commands waiting; also the largest batch */
    int64_t staleness_max_ms; /* shared store: age up to which a picture may refuse */
};

enum engine_state {
    ENGINE_SERVING,
    ENGINE_FAILING,  /* the store cannot be written now; comes back by itself */
    ENGINE_HALTED,   /* a commit's outcome is unknown for good, or the store is damaged; needs a restart */
    ENGINE_STOPPING, /* finishes what it has accepted */
};

/* "serving", ...: for people and metrics. */
const char *engine_state_name(enum engine_state state);

/* A command on its way through the line and back. The caller's memory; the engine's from push to on_done. */
struct engine_call {
    struct command command;
    int64_t deadline_ns;                       /* clock_mono_ns: refused when it cannot be decided before */
    void (*on_done)(struct engine_call *call); /* on the port's thread, from engine_port_receive or _flush */
    int retry_after_s;                         /* with UNAVAILABLE: when to come again */
    struct engine_call *next;                  /* the engine's */
    struct engine_port *port;                  /* the engine's */
};

/*
 * Loads the world from the store, which must outlive the engine and is used by its thread alone from
 * engine_start on.
 */
MUST_CHECK enum err engine_create(
    const struct engine_config *config, struct store *store, struct engine **engine, struct error *error);

/* All ports must be open. */
MUST_CHECK enum err engine_start(struct engine *engine, struct error *error);

/*
 * Decides and writes what is in the line, delivers the answers and ends the thread. Ports can still receive;
 * what is pushed from now on is refused.
 */
void engine_stop(struct engine *engine);

/* Stopped or never started; all ports must be closed. */
void engine_destroy(struct engine *engine);

/* Any thread. */
enum engine_state engine_state(const struct engine *engine);

/* The time that rules go by: the same on all nodes of a shared store, up to a round trip. Any thread. */
int64_t engine_now_ms(const struct engine *engine);

/* May a picture refuse? Always, unless the store is shared and has not been heard of for too long. Any
 * thread. */
bool engine_views_are_fresh(const struct engine *engine);

/* What went wrong last, while FAILING or HALTED: copies a sentence. Any thread. */
void engine_last_error(struct engine *engine, struct error *error);

/* --- a net thread's side --- */

struct engine_port_events {
    void (*wake)(void *context); /* on the engine's thread: something is there to receive; must not block */
    /*
     * On the port's thread: a picture has replaced another. `before` is NULL for a new product;
     * `now->is_removed` when it is gone. Both are borrowed for the call. NULL: this port looks at no
     * pictures, gets none and is not woken for them.
     */
    void (*on_view)(const struct sale_view *before, const struct sale_view *now, void *context);
    /*
     * On the port's thread: this order has come or changed, by a command of this node. Borrowed for the call.
     * What other nodes do is not told. NULL: not wanted.
     */
    void (*on_order)(const struct order_view *now, void *context);
    /*
     * On the port's thread: work of these kinds (1 << enum work_kind, or'ed) has been added by this node or
     * has become due at once. NULL: not wanted.
     */
    void (*on_work)(unsigned kinds, void *context);
    /*
     * On the port's thread: this ticket has ended, on whichever node. Borrowed for the call. NULL: not
     * wanted.
     */
    void (*on_ticket)(const struct ticket_view *now, void *context);
    /* On the port's thread: the line, or the machines, may have changed. NULL: not wanted. */
    void (*on_line)(void *context);
    void *context;
};

/*
 * Before engine_start. ERR_MEMORY, or what the store says when it cannot be read. Everything below is for the
 * one thread that uses the port.
 */
MUST_CHECK enum err engine_port_open(
    struct engine *engine, struct engine_port_events events, struct engine_port **port, struct error *error);

/* Nothing may be under way, and the engine's thread must not run. */
void engine_port_close(struct engine_port *port);

/*
 * Hands the call to the engine with the next flush. False: refused at once, because the line is full, the
 * deadline cannot be kept, or the engine is not serving; the outcome is UNAVAILABLE, retry_after_s says when
 * to come again, and on_done will not be called.
 */
MUST_CHECK bool engine_port_push(struct engine_port *port, struct engine_call *call);

/* Sends what was pushed: once a loop turn, so that a crowd costs one lock. */
void engine_port_flush(struct engine_port *port);

/* After a wake-up: calls on_view for each new picture, then on_done for each answered call. */
void engine_port_receive(struct engine_port *port);

/* The latest picture of that product, or NULL; borrowed until control goes back to the loop. */
const struct sale_view *engine_port_view(struct engine_port *port, struct slice sku);

/* The same by the product's id. NULL on a shared store may mean that it is too new; QUESTION_PRODUCT tells.
 */
const struct sale_view *engine_port_view_by_id(struct engine_port *port, int64_t product_id);

/* The latest pictures of all products; borrowed until control goes back to the loop. */
const struct sale_list *engine_port_sales(struct engine_port *port);

/* Of these, those that are featured. */
const struct sale_list *engine_port_featured(struct engine_port *port);

/* The latest picture of the waiting line; borrowed until control goes back to the loop. For ports that want
 * on_line, once the engine has started. */
const struct line_view *engine_port_line(struct engine_port *port);

/*
 * A question for the store rather than the world. The caller's memory; the engine's from engine_port_look_up
 * to on_done; afterwards the caller ends it with question_fini.
 */
struct engine_lookup {
    struct question question;
    enum err status; /* ERR_NONE: the answer is in `question` */
    void (*on_done)(struct engine_lookup *lookup);
    struct engine_lookup *next; /* the engine's */
    struct engine_port *port;   /* the engine's */
};

/*
 * Asks the store; on_done is called on the port's thread, before this returns when the store is embedded,
 * else from engine_port_receive. False: too many questions wait, and on_done will not be called.
 */
MUST_CHECK bool engine_port_look_up(struct engine_port *port, struct engine_lookup *lookup);

/* --- figures --- */

enum { ENGINE_COMMIT_BUCKET_COUNT = 10 };

/* Upper bounds in seconds of the commit-time histogram; the last bucket of the figures is +Inf. */
extern const double engine_commit_bounds_s[ENGINE_COMMIT_BUCKET_COUNT];

struct engine_stats {
    uint64_t commands_total; /* decided */
    uint64_t batches_total;  /* committed */
    uint64_t commits_failed_total;
    uint64_t conflicts_total;     /* batches decided again, because another node was quicker */
    uint64_t refused_full_total;  /* at the door: the line was full */
    uint64_t refused_late_total;  /* the deadline could not be kept */
    uint64_t refused_state_total; /* the engine was not serving */
    uint64_t commit_seconds_bucket[ENGINE_COMMIT_BUCKET_COUNT + 1]; /* not cumulative */
    uint64_t commit_ns_total;
    size_t line_depth;        /* now */
    size_t product_count;     /* now */
    int64_t expected_wait_ns; /* of a command that comes now */
};

/*
 * How many orders are in which state, as of the last commit; false when the store is shared, which has to be
 * asked (QUESTION_ORDER_TOTALS). Any thread; each number is exact, the set is not one instant.
 */
MUST_CHECK bool engine_order_totals(const struct engine *engine, struct order_totals *totals);

/*
 * The balance of an account's wallet in hundredths, as of the last commit; false: it has none, or the store
 * is shared, which has to be asked (QUESTION_WALLET). Any thread; nothing is waited for.
 */
MUST_CHECK bool engine_balance(const struct engine *engine, int64_t account_id, int64_t *balance_minor);

/* The store's own secret (store.h), STORE_SECRET_BYTES of it. Any thread. */
const unsigned char *engine_secret(const struct engine *engine);

/* Any thread; each number is exact, the set is not one instant. */
void engine_stats(const struct engine *engine, struct engine_stats *stats);

#endif
