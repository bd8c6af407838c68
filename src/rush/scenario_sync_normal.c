/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync-normal (orders contract, "Clients"): an ordinary day. 5 customers, 1 new one a second, for 30 s; each
 * waits for the payment of its order, at most 10 s. A third of them waited in vain in the original.
 */
#include <math.h>

#include "rush/orders_sync.h"
#include "rush/scenarios.h"

static const struct sync_story story = {
    .crowd = {.route = ORDER_SYNC, .users = 5, .users_per_s = 1, .seconds = SYNC_SECONDS},
    .asked = 18,
    .completed = 12,
    .failed = 6,
    .completed_percent = 66.7,
    .failed_percent = 33.3,
    .asked_per_s = 0.65,
    .completed_per_s = 0.43,
    .failed_per_s = 0.22,
    .slot_percent = NAN,
    .failed_share = 0.333,
    .expected_percent = 95,
    .expected_mean_ms = 3000,
    .expected_per_s = 5,
    .times = {6123, 3089, {4100, NAN, NAN, NAN, NAN, NAN, NAN, 10047}},
};

static enum err prepare(struct rush *rush, struct error *error)
{
    return sync_prepare(rush, &story, error);
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    sync_tell(rush, crowd, report, &story);
}

const struct scenario scenario_sync_normal = {
    .name = "sync-normal",
    .summary = "5 customers order and wait for the payment: an ordinary day",
    .face = "orders",
    .timeout_ms = SYNC_TIMEOUT_MS,
    .endpoints = order_endpoints,
    .outcomes = order_outcomes,
    .prepare = prepare,
    .set_up = sync_set_up,
    .tear_down = sync_tear_down,
    .tell = tell,
    .release = orders_release,
};
