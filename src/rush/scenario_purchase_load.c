/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purchase-load (flash-sale contract, section 11): many more buyers than units, each by another name, all at
 * once on fresh connections. Exactly the stock must be sold, and every reply must be 200.
 */
#include "rush/flash_sale.h"
#include "rush/scenarios.h"

enum { USERS = 1000, STOCK = 100, POOL = 256, NAME_DIGITS = 5 };

static enum err prepare(struct rush *rush, struct error *error)
{
    struct rush_options *options = &rush->options;
    options->users = options->users > 0 ? options->users : USERS;
    options->stock = options->stock > 0 ? options->stock : STOCK;
    options->connections = options->connections > 0 ? options->connections : POOL;
    struct flash_names names = {"stress-user-", NAME_DIGITS, (uint64_t)options->users};
    struct plan plan = plan_burst(0, (uint64_t)options->users, 1);
    if (options->rate > 0)
        plan = plan_open(0, options->rate, (uint64_t)options->connections, (uint64_t)options->users);
    rush_add_crowd(rush, flash_buyers(plan, plan.kind == PLAN_BURST));

    flash_add_latency_thresholds(rush, 500, 1000, 2000);
    flash_add_failed_threshold(rush);
    flash_add_count_threshold(rush, "purchase_success", OUTCOME_BIT(FLASH_SUCCESS), options->stock);
    flash_add_count_threshold(
        rush, "purchase_rejected_already_purchased", OUTCOME_BIT(FLASH_ALREADY_PURCHASED), 0);
    flash_add_count_threshold(rush, "purchase_error", FLASH_PURCHASE_ERRORS | FLASH_RATE_LIMITS, 0);
    flash_add_count_threshold(rush, "http_errors", FLASH_HTTP_ERRORS, 0);
    return flash_prepare(rush, names, error);
}

const struct scenario scenario_purchase_load = {
    .name = "purchase-load",
    .summary = "1,000 buyers at once for 100 units, each by another name",
    .sku = "STRESS-LOAD-TEST",
    .endpoints = flash_endpoints,
    .outcomes = flash_outcomes,
    .prepare = prepare,
    .set_up = flash_set_up,
    .tear_down = flash_tear_down,
    .release = flash_release,
};
