/* SPDX-License-Identifier: Apache-2.0 */
/* The scenarios, one file scenario_<name>.c each. */
#ifndef DOORBUSTER_RUSH_SCENARIOS_H
#define DOORBUSTER_RUSH_SCENARIOS_H

#include "rush/scenario.h"

extern const struct scenario scenario_purchase_load;
extern const struct scenario scenario_duplicate_user;
extern const struct scenario scenario_status_polling;
extern const struct scenario scenario_mixed_workload;
extern const struct scenario scenario_throughput;
extern const struct scenario scenario_sync_normal;
extern const struct scenario scenario_sync_flash;
extern const struct scenario scenario_async_flash;
extern const struct scenario scenario_intake;
extern const struct scenario scenario_machines;
extern const struct scenario scenario_line;
extern const struct scenario scenario_ladder;
extern const struct scenario scenario_market;
extern const struct scenario scenario_market_checks;
extern const struct scenario scenario_double_spend;
extern const struct scenario scenario_market_flow;

#endif
