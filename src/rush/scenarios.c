/* SPDX-License-Identifier: Apache-2.0 */
/* The list of scenarios, and what they share. A new scenario is one file and one line here. */
#include "rush/scenarios.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/ensure.h"

static const struct scenario *const all[] = {
    &scenario_purchase_load,
    &scenario_duplicate_user,
    &scenario_status_polling,
    &scenario_mixed_workload,
    &scenario_throughput,
    &scenario_sync_normal,
    &scenario_sync_flash,
    &scenario_async_flash,
    &scenario_intake,
    &scenario_ladder,
    &scenario_machines,
    &scenario_line,
    &scenario_market,
    &scenario_market_checks,
    &scenario_double_spend,
    &scenario_market_flow,
};

static const struct outcome common[OUTCOME_COMMON_COUNT] = {
    [OUTCOME_TIMEOUT] = {"timeout", "no complete answer in time"},
    [OUTCOME_LOST] = {"connection_lost", "the connection ended before the answer was complete"},
    [OUTCOME_CONNECT] = {"connect_failed", "nobody took the connection"},
    [OUTCOME_MALFORMED] = {"malformed_reply", "what came back is not HTTP"},
    [OUTCOME_LOCAL] = {"generator_failed", "the generator had no socket, port or memory left"},
    [OUTCOME_CUT_SHORT] = {"cut_short", "still unanswered when the run was ended"},
};

const struct scenario *scenario_at(size_t index)
{
    return index < sizeof all / sizeof all[0] ? all[index] : NULL;
}

const struct scenario *scenario_find(const char *name)
{
    for (size_t i = 0; scenario_at(i) != NULL; i++)
        if (name != NULL && strcmp(scenario_at(i)->name, name) == 0)
            return scenario_at(i);
    return NULL;
}

size_t scenario_outcome_count(const struct scenario *scenario)
{
    size_t count = 0;
    while (scenario->outcomes[count].name != NULL)
        count++;
    ENSURE(OUTCOME_COMMON_COUNT + count <= OUTCOMES_MAX);
    return OUTCOME_COMMON_COUNT + count;
}

const struct outcome *scenario_outcome(const struct scenario *scenario, unsigned outcome)
{
    return outcome < OUTCOME_COMMON_COUNT ? &common[outcome]
                                          : &scenario->outcomes[outcome - OUTCOME_COMMON_COUNT];
}

void rush_add_threshold(struct rush *rush, struct threshold threshold)
{
    ENSURE(rush->threshold_count < RUSH_THRESHOLDS_MAX);
    rush->thresholds[rush->threshold_count++] = threshold;
}

void rush_add_invariant(struct rush *rush, bool holds, const char *format, ...)
{
    ENSURE(rush->invariant_count < RUSH_INVARIANTS_MAX);
    struct rush_invariant *invariant = &rush->invariants[rush->invariant_count++];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(invariant->text, sizeof invariant->text, format, args);
    va_end(args);
    invariant->holds = holds;
}

struct crowd *rush_add_crowd(struct rush *rush, struct crowd crowd)
{
    ENSURE(rush->crowd_count < CROWDS_MAX);
    rush->crowds[rush->crowd_count] = crowd;
    return &rush->crowds[rush->crowd_count++];
}

void judgement_set_detail(struct judgement *judgement, struct slice detail)
{
    judgement->detail_len = detail.len < DETAIL_MAX ? detail.len : DETAIL_MAX;
    memcpy(judgement->detail, detail.base, judgement->detail_len);
}

const char *rush_scenario_name(size_t index)
{
    return scenario_at(index) == NULL ? NULL : scenario_at(index)->name;
}

const char *rush_scenario_summary(size_t index)
{
    return scenario_at(index) == NULL ? NULL : scenario_at(index)->summary;
}
