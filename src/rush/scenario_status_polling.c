/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status-polling (flash-sale contract, section 11): ever more people look at the sale once a second, stay,
 * and leave: 45 s up, 60 s full, 15 s down.
 */
#include "rush/flash_sale.h"
#include "rush/scenarios.h"

enum { POLLERS = 1000, SECONDS = 120, STOCK = 100, POOL = 256 };

static const int64_t NS_PER_S = 1000000000;

static enum err prepare(struct rush *rush, struct error *error)
{
    struct rush_options *options = &rush->options;
    options->pollers = options->pollers > 0 ? options->pollers : POLLERS;
    options->seconds = options->seconds > 0 ? options->seconds : SECONDS;
    options->stock = options->stock > 0 ? options->stock : STOCK;
    options->connections = options->connections > 0 ? options->connections : POOL;
    int64_t whole_ns = options->seconds * NS_PER_S;
    struct plan plan = plan_ramp(0, whole_ns * 45 / 120, whole_ns * 60 / 120, whole_ns * 15 / 120,
        (uint64_t)options->pollers, NS_PER_S);
    if (options->rate > 0)
        plan = plan_open(0, options->rate, (uint64_t)options->connections,
            (uint64_t)(options->rate * (double)options->seconds));
    rush_add_crowd(rush, flash_pollers(plan));

    flash_add_latency_thresholds(rush, 200, 500, 1000);
    flash_add_failed_threshold(rush);
    flash_add_share_threshold(rush, "poll_error_rate", FLASH_POLL_ERRORS | OUTCOMES_UNANSWERED,
        FLASH_POLLS | OUTCOMES_UNANSWERED, COMPARE_BELOW, 0.001);
    flash_add_share_threshold(
        rush, "checks", OUTCOME_BIT(FLASH_POLL_GOOD), FLASH_POLLS | OUTCOMES_UNANSWERED, COMPARE_ABOVE, 0.99);
    return flash_prepare(rush, (struct flash_names){"poll-user-", 0, 0}, error);
}

/* The original leaves no sale behind and checks no sums: nobody bought. */
static void tear_down(struct rush *rush, const struct tally *crowd)
{
    (void)crowd;
    flash_delete(rush);
}

const struct scenario scenario_status_polling = {
    .name = "status-polling",
    .summary = "up to 1,000 people look at a sale once a second",
    .sku = "STRESS-POLL-TEST",
    .endpoints = flash_endpoints,
    .outcomes = flash_outcomes,
    .prepare = prepare,
    .set_up = flash_set_up,
    .tear_down = tear_down,
    .release = flash_release,
};
