/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of payments share: payments.c pays, payments_door.c lets orders in, payments_figures.c
 * tells. */
#ifndef DOORBUSTER_SERVICE_PAYMENTS_PRIV_H
#define DOORBUSTER_SERVICE_PAYMENTS_PRIV_H

#include <pthread.h>

#include "service/backlog.h"
#include "service/breaker.h"
#include "service/payments.h"
#include "service/slots.h"
#include "service/tries.h"

enum { PAYMENT_BUCKET_COUNT = 11 };

/* Upper bounds in seconds of the histogram; the last bucket is +Inf. */
extern const double payments_bounds_s[PAYMENT_BUCKET_COUNT];

/* Why an order was not let in; counts in figures.refused_total by enum admission. */
enum { ADMISSION_COUNT = ADMISSION_BREAKER + 1 };

struct payment_figures {
    uint64_t paid_total;
    uint64_t declined_total;
    uint64_t abandoned_total;
    uint64_t retried_total;
    uint64_t refused_total[ADMISSION_COUNT];
    uint64_t seconds_bucket[PAYMENT_BUCKET_COUNT + 1]; /* not cumulative; calls that reached the provider */
    double seconds_sum;
};

/* The backlog as it was some time ago, to see whether it gets shorter. */
struct backlog_sample {
    int64_t taken_ns;
    size_t count;
};

struct payments {
    struct payments_config config; /* provider_url is ours */
    struct engine *engine;
    struct courier *courier;
    struct worker *worker; /* before worker_start */
    struct map_key decline_key;
    struct backlog backlog;
    struct courier_timer heart; /* the courier's thread */
    struct courier_timer cut;   /* ends what is in flight when a stop takes too long */
    pthread_mutex_t lock;       /* guards what follows; taken before the worker's */
    bool has_heart;             /* heart was started */
    bool is_stopping;
    struct breaker breaker;
    struct slots slots;
    struct tries tries;
    struct list in_flight; /* struct payment, in order of their beginnings */
    size_t in_flight_count;
    struct list resting; /* struct payment: calls in vain that are soon tried again; nothing is in flight */
    size_t resting_count;
    size_t sync_ahead;                /* orders let in whose customers wait, and that have not begun */
    struct backlog_sample samples[2]; /* the older one first */
    struct payment_figures figures;
};

/* One that has begun. From malloc; freed when both the courier and the worker are done with it. */
struct payment {
    struct payments *payments;
    struct worker_job *job; /* NULL: the worker has it back */
    struct list node;
    int64_t begun_ns;
    breaker_ticket ticket;
    bool is_probe;
    struct courier_timer timer;     /* simulated; or it rests */
    struct courier_request request; /* not simulated */
    const char *headers[2];
    char text[]; /* of the request: the key's header with its NUL, the body */
};

/* Under the lock. Nothing is in flight here, and how long a call of the provider takes is only known from
 * calls: the next one is worth more than what the last ones let expect. Not when it is simulated. */
static inline bool payments_must_measure(const struct payments *payments)
{
    return payments->config.provider_url != NULL && payments->in_flight_count == 0;
}

#endif
