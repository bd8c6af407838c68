/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payments: the handler of WORK_PAYMENT. A payment in flight is a timer (simulated) or a socket (HTTP), not a
 * thread. How many are in flight at once grows with the line and shrinks when the provider slows down
 * (slots.h); a circuit breaker keeps them away from a provider that fails (breaker.h). The provider is always
 * called with the same key for an order, so that a call that is repeated after a crash or a time-out charges
 * nobody twice.
 *
 * And the door for orders: an order whose customer waits is let in only when it can be paid before its
 * deadline, as far as this node's own slots tell, or when nothing else shows how fast the provider is now;
 * any order only while there is room in the line.
 */
#ifndef DOORBUSTER_SERVICE_PAYMENTS_H
#define DOORBUSTER_SERVICE_PAYMENTS_H

#include "base/strbuf.h"
#include "engine/engine.h"
#include "service/courier.h"
#include "service/worker.h"

struct payments_config {
    const char *provider_url; /* NULL: simulated */
    int64_t payment_ms;       /* simulated: how long a payment takes, >= 0; else the first guess */
    double decline_rate;      /* simulated: 0..1, by the order's id and `seed` */
    uint64_t seed;
    size_t slots_min; /* 1 <= slots_min <= slots_max */
    size_t slots_max;
    int64_t attempts_max; /* answers of the provider that are no answer, before an order is given up; >= 1 */
    int64_t timeout_ms;   /* of one call of the provider */
    size_t queue_max;     /* orders that wait for their payment */
    int64_t drain_ms;     /* at a stop: how long payments in flight may go on, >= 0 */
    bool allows_private_targets;
};

struct payments;

/* The configuration is copied. The courier and the engine outlive it. */
MUST_CHECK enum err payments_create(const struct payments_config *config, struct engine *engine,
    struct courier *courier, struct payments **payments, struct error *error);

/* After the worker and the courier have stopped. */
void payments_destroy(struct payments *payments);

/* For worker_create. */
struct worker_handler payments_handler(struct payments *payments);

/* The worker that runs the handler, to be woken when there is room again. Before worker_start. */
void payments_set_worker(struct payments *payments, struct worker *worker);

/* --- the door: any thread --- */

enum admission {
    ADMISSION_OK,
    ADMISSION_FULL,    /* queue_max orders wait */
    ADMISSION_LATE,    /* its payment would end after the customer's patience */
    ADMISSION_BREAKER, /* the provider is away */
};

/*
 * May an order be taken whose customer waits `patience_ms`? ADMISSION_OK reserves its turn: payments_leave
 * gives it back once, when the order is not pending any more, or was not taken after all. Else
 * *retry_after_ms is when to come again, truthfully: when such an order would be let in if nobody else came.
 */
MUST_CHECK enum admission payments_admit_sync(
    struct payments *payments, int64_t patience_ms, int64_t *retry_after_ms);
void payments_leave(struct payments *payments);

/* May an order be taken that nobody waits for? Full or not is all that matters. */
MUST_CHECK enum admission payments_admit_async(struct payments *payments, int64_t *retry_after_ms);

/* How long an order with so many payments before it waits until it is paid, in milliseconds. */
int64_t payments_expected_wait_ms(struct payments *payments, int64_t ahead);

/* --- figures: any thread --- */

struct payments_stats {
    size_t slots;           /* allowed in flight now */
    size_t in_flight;       /* here */
    int64_t expected_ms;    /* of one payment */
    const char *breaker;    /* "closed", "open", "half-open" */
    int64_t retry_after_ms; /* until an open breaker lets somebody try; else 0 */
    uint64_t paid_total;    /* by this node since its start */
    uint64_t declined_total;
    uint64_t abandoned_total;
    uint64_t retried_total;
    bool is_simulated;
};

void payments_stats(struct payments *payments, struct payments_stats *stats);

/* doorbuster_payment_..., for Prometheus. */
void payments_put_metrics(struct payments *payments, struct strbuf *text);

/* Can orders be served in time? False, with a sentence for people: the breaker lets no call begin (open, or
 * all its probes are out), or the line is so long that an order that comes now would wait more than a minute
 * and it is not getting shorter. */
bool payments_is_ready(struct payments *payments, struct error *error);

#endif
