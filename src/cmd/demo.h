/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plays of `doorbuster demo`, one file demo_<play>.c each. A play gets a stage without a server and
 * leaves it without one, unless the server ended by itself; what did not hold is counted by the stage. It
 * ends early when a signal has come (stage->signal_number). An error means that the server could not be
 * started. Main thread.
 */
#ifndef DOORBUSTER_CMD_DEMO_H
#define DOORBUSTER_CMD_DEMO_H

#include "cmd/params.h"
#include "cmd/stage.h"

/* A crowd buys a small stock, all at once. */
MUST_CHECK enum err demo_flash_sale(struct stage *stage, const struct params *params, struct error *error);

/* The original's order processor and ours, side by side. */
MUST_CHECK enum err demo_orders(struct stage *stage, const struct params *params, struct error *error);

/* A stampede for vending machines, the line before them shown live, a kill in the middle of it. */
MUST_CHECK enum err demo_vending(struct stage *stage, const struct params *params, struct error *error);

/* New customers, the same coins spent at once, kills in the middle of spends. */
MUST_CHECK enum err demo_market(struct stage *stage, const struct params *params, struct error *error);

#endif
