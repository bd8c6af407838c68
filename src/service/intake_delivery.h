/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands trading orders to the sink, in order of acceptance: the handler of WORK_INTAKE_DELIVERY, one piece of
 * work that is never done. Whoever holds it takes the next range (core/intake.h), reads its rows, posts them
 * as one signed webhook, and says that they are executed when the sink has answered 2xx. A range that was not
 * acknowledged is posted again, the same one under the same webhook-id, before anything that came after it.
 *
 * It runs on a thread of its own with a port of its own to the engine, because a range is a dialogue.
 */
#ifndef DOORBUSTER_SERVICE_INTAKE_DELIVERY_H
#define DOORBUSTER_SERVICE_INTAKE_DELIVERY_H

#include "service/courier.h"
#include "service/worker.h"

struct intake_delivery;

/* The texts are borrowed and outlive it. */
struct intake_delivery_config {
    const char *sink_url;
    const char *secret; /* "whsec_..." */
    bool allows_private_targets;
};

/* Before engine_start. The engine, the store and the courier outlive it. ERR_USAGE: the URL or the secret is
 * of no use; the text says why. */
MUST_CHECK enum err intake_delivery_create(const struct intake_delivery_config *config, struct engine *engine,
    struct store *store, struct courier *courier, struct intake_delivery **delivery, struct error *error);

/* After worker_stop and the engine's end. */
void intake_delivery_destroy(struct intake_delivery *delivery);

/* For worker_create. */
struct worker_handler intake_delivery_handler(struct intake_delivery *delivery);

/* doorbuster_intake_..., for Prometheus. Any thread. */
void intake_delivery_put_metrics(const struct intake_delivery *delivery, struct strbuf *text);

#endif
