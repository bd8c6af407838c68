/* SPDX-License-Identifier: Apache-2.0 */
/*
 * duplicate-user (flash-sale contract, section 11): a few names, each used by very many requests at once.
 * Every name must get exactly one unit; 429 is a fair answer to all others.
 */
#include "rush/flash_sale.h"
#include "rush/scenarios.h"

enum { USERS = 1000, NAMES = 10, STOCK = 100, POOL = 256, NAME_DIGITS = 3 };

static enum err prepare(struct rush *rush, struct error *error)
{
    struct rush_options *options = &rush->options;
    options->users = options->users > 0 ? options->users : USERS;
    options->dedup_users = options->dedup_users > 0 ? options->dedup_users : NAMES;
    options->stock = options->stock > 0 ? options->stock : STOCK;
    options->connections = options->connections > 0 ? options->connections : POOL;
    struct flash_names names = {"dedup-user-", NAME_DIGITS, (uint64_t)options->dedup_users};
    struct plan plan = plan_burst(0, (uint64_t)options->users, 1);
    if (options->rate > 0)
        plan = plan_open(0, options->rate, (uint64_t)options->connections, (uint64_t)options->users);
    rush_add_crowd(rush, flash_buyers(plan, plan.kind == PLAN_BURST));

    flash_add_latency_thresholds(rush, 500, 1000, 2000);
    flash_add_count_threshold(rush, "purchase_success", OUTCOME_BIT(FLASH_SUCCESS), options->dedup_users);
    flash_add_count_threshold(rush, "purchase_error", FLASH_PURCHASE_ERRORS, 0);
    flash_add_count_threshold(rush, "http_errors", FLASH_HTTP_ERRORS, 0);
    return flash_prepare(rush, names, error);
}

const struct scenario scenario_duplicate_user = {
    .name = "duplicate-user",
    .summary = "1,000 requests at once under 10 names: one unit a name",
    .sku = "STRESS-DEDUP-TEST",
    .endpoints = flash_endpoints,
    .outcomes = flash_outcomes,
    .prepare = prepare,
    .set_up = flash_set_up,
    .tear_down = flash_tear_down,
    .release = flash_release,
};
