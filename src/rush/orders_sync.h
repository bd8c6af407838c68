/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sync-normal and sync-flash share (orders contract, "Clients"): customers who wait for the payment, and
 * a report beside the original's, which failed under both.
 */
#ifndef DOORBUSTER_RUSH_ORDERS_SYNC_H
#define DOORBUSTER_RUSH_ORDERS_SYNC_H

#include "rush/orders.h"
#include "rush/tell.h"

/* What the original's report measured and expected of one such crowd. */
struct sync_story {
    struct order_crowd crowd;
    double asked;
    double completed;
    double failed;
    double completed_percent;
    double failed_percent;
    double asked_per_s;
    double completed_per_s;
    double failed_per_s;
    double slot_percent; /* completed, of what one payment at a time allows; NAN: the report does not say */
    double failed_share; /* 0 to 1 */
    double expected_percent;
    double expected_mean_ms;
    double expected_per_s;
    struct tell_times times;
    const int64_t *bars; /* a count a band; NULL: the report does not say */
};

enum { SYNC_SECONDS = 30, SYNC_TIMEOUT_MS = 10000 };

/* The hooks of struct scenario; prepare and tell take the story. */
MUST_CHECK enum err sync_prepare(struct rush *rush, const struct sync_story *story, struct error *error);
MUST_CHECK enum err sync_set_up(struct rush *rush, struct error *error);
void sync_tear_down(struct rush *rush, const struct tally *crowd);
void sync_tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report,
    const struct sync_story *story);

#endif
