/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The close-out of a sale: when a sale has ended, one node reads from the rows what was sold and says in one
 * log line whether that and the stock agree. The rules are not asked again: rows are counted, by a reader of
 * the store, so the line and the sales that are still on do not wait for it.
 */
#ifndef DOORBUSTER_SERVICE_CLOSEOUT_H
#define DOORBUSTER_SERVICE_CLOSEOUT_H

#include "service/worker.h"
#include "store/store.h"

struct closeout;

/* Opens a reader of the store, which must outlive it, and starts its thread. */
MUST_CHECK enum err closeout_create(struct store *store, struct closeout **closeout, struct error *error);

/* After worker_stop, or when the worker was never started. */
void closeout_destroy(struct closeout *closeout);

/* Its handler for work of kind SALE_CLOSEOUT (core/sale.h). */
struct worker_handler closeout_handler(struct closeout *closeout);

/* doorbuster_sales_proven_total, for Prometheus. Any thread. */
void closeout_put_metrics(const struct closeout *closeout, struct strbuf *text);

#endif
