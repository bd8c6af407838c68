/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that this node does for later: the worker and its handlers, one a kind of work. A new kind gets its
 * handler here. The main thread makes and ends it, in the order worker.h asks for.
 */
#ifndef DOORBUSTER_SERVICE_SERVICE_H
#define DOORBUSTER_SERVICE_SERVICE_H

#include "base/strbuf.h"
#include "engine/engine.h"
#include "store/store.h"

struct service;

/* Before engine_start. */
MUST_CHECK enum err service_create(
    struct engine *engine, struct store *store, struct service **service, struct error *error);

/* After engine_start. */
MUST_CHECK enum err service_start(struct service *service, struct error *error);

/* Before engine_stop: finishes what runs, gives back what has not begun. */
void service_stop(struct service *service);

/* After engine_stop. */
void service_destroy(struct service *service);

/* Its figures for Prometheus. Any thread. */
void service_put_metrics(const struct service *service, struct strbuf *text);

#endif
