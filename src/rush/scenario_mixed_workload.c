/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mixed-workload (flash-sale contract, section 11): 500 people look at the sale once a second for 80 s; at 10
 * s 1,000 buyers come at once.
 */
#include "rush/flash_sale.h"
#include "rush/scenarios.h"

enum { USERS = 1000, POLLERS = 500, SECONDS = 80, STOCK = 100, POOL = 256 };

static const int64_t NS_PER_S = 1000000000;

static enum err prepare(struct rush *rush, struct error *error)
{
    struct rush_options *options = &rush->options;
    options->users = options->users > 0 ? options->users : USERS;
    options->pollers = options->pollers > 0 ? options->pollers : POLLERS;
    options->seconds = options->seconds > 0 ? options->seconds : SECONDS;
    options->stock = options->stock > 0 ? options->stock : STOCK;
    options->connections = options->connections > 0 ? options->connections : POOL;
    int64_t whole_ns = options->seconds * NS_PER_S;
    int64_t begin_ns = whole_ns / 8;
    struct plan plan = plan_burst(begin_ns, (uint64_t)options->users, 1);
    if (options->rate > 0)
        plan = plan_open(begin_ns, options->rate, (uint64_t)options->connections, (uint64_t)options->users);
    rush_add_crowd(rush, flash_pollers(plan_closed(0, whole_ns, (uint64_t)options->pollers, NS_PER_S)));
    rush_add_crowd(rush, flash_buyers(plan, plan.kind == PLAN_BURST));

    flash_add_latency_thresholds(rush, 500, 1000, 0);
    flash_add_failed_threshold(rush);
    flash_add_count_threshold(rush, "purchase_success", OUTCOME_BIT(FLASH_SUCCESS), options->stock);
    flash_add_share_threshold(rush, "purchase_error_rate", FLASH_PURCHASE_ERRORS | FLASH_RATE_LIMITS,
        FLASH_PURCHASES, COMPARE_BELOW, 0.001);
    flash_add_count_threshold(rush, "http_errors", FLASH_HTTP_ERRORS, 0);
    return flash_prepare(rush, (struct flash_names){"mixed-user-", 0, (uint64_t)options->users}, error);
}

const struct scenario scenario_mixed_workload = {
    .name = "mixed-workload",
    .summary = "500 people look at a sale while 1,000 buyers come at once for 100 units",
    .sku = "STRESS-MIXED-TEST",
    .endpoints = flash_endpoints,
    .outcomes = flash_outcomes,
    .prepare = prepare,
    .set_up = flash_set_up,
    .tear_down = flash_tear_down,
    .release = flash_release,
};
