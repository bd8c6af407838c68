/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that this node does for later: the courier that talks to the outside, the worker and its handlers, one
 * a kind of work. A new kind gets its handler here. The main thread makes and ends it, in the order worker.h
 * asks for.
 */
#ifndef DOORBUSTER_SERVICE_SERVICE_H
#define DOORBUSTER_SERVICE_SERVICE_H

#include "base/strbuf.h"
#include "engine/engine.h"
#include "service/payments.h"
#include "store/store.h"

struct service;
struct passwords;

/* The texts are borrowed and outlive the service. */
struct service_config {
    struct payments_config payments;
    const char *webhook_url;    /* NULL: orders are not told by webhook */
    const char *webhook_secret; /* "whsec_..."; signs webhooks and what goes to the sink */
    const char *smtp_url;       /* NULL: customers are not told by e-mail */
    const char *mail_from;
    const char *intake_sink_url; /* NULL: trading orders stay queued */
    bool allows_private_targets;
    size_t password_threads; /* hashing at once, >= 1 */
};

/* Before engine_start. */
MUST_CHECK enum err service_create(const struct service_config *config, struct engine *engine,
    struct store *store, struct service **service, struct error *error);

/* After engine_start. */
MUST_CHECK enum err service_start(struct service *service, struct error *error);

/* Before engine_stop: finishes what runs, gives back what has not begun. */
void service_stop(struct service *service);

/* After engine_stop. */
void service_destroy(struct service *service);

/* Parts that faces use; the service's. */
struct payments *service_payments(const struct service *service);
struct passwords *service_passwords(const struct service *service);

/* Its figures for Prometheus. Any thread. */
void service_put_metrics(const struct service *service, struct strbuf *text);

#endif
