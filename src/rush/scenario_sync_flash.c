/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync-flash (orders contract, "Clients"): a flash sale. 20 customers, 10 new ones a second, for 30 s; each
 * waits for the payment of its order, at most 10 s. 87 % of them waited in vain in the original.
 */
#include "rush/orders_sync.h"
#include "rush/scenarios.h"

static const int64_t bars[BANDS_MAX] = {[12] = 6, [19] = 39}; /* 3 to 4 s, and 10 s or more */

static const struct sync_story story = {
    .crowd = {.route = ORDER_SYNC, .users = 20, .users_per_s = 10, .seconds = SYNC_SECONDS},
    .asked = 45,
    .completed = 6,
    .failed = 39,
    .completed_percent = 13.3,
    .failed_percent = 86.7,
    .asked_per_s = 1.52,
    .completed_per_s = 0.20,
    .failed_per_s = 1.32,
    .slot_percent = 60,
    .failed_share = 0.867,
    .expected_percent = 50,
    .expected_mean_ms = 5000,
    .expected_per_s = 10,
    .times = {9521, 3094, {10000, 10000, 10000, 10000, 10000, 10000, 10000, 10089}},
    .bars = bars,
};

static enum err prepare(struct rush *rush, struct error *error)
{
    return sync_prepare(rush, &story, error);
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    sync_tell(rush, crowd, report, &story);
}

const struct scenario scenario_sync_flash = {
    .name = "sync-flash",
    .summary = "20 customers order and wait for the payment: a flash sale",
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
