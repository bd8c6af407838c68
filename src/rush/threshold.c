/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/threshold.h"

static const double NS_PER_MS = 1e6;

static double share(uint64_t part, uint64_t whole)
{
    return (double)part / (double)whole;
}

/* False when there is nothing to measure. */
static bool measure(const struct threshold *threshold, const struct figures *figures, double *value)
{
    struct hist all;
    hist_init(&all);
    tally_latency(figures->crowd, ENDPOINTS_MAX, &all);
    hist_merge(&all, figures->admin_latency);
    switch (threshold->metric) {
    case METRIC_COUNT:
        *value = (double)tally_count(figures->crowd, threshold->outcomes);
        return tally_count(figures->crowd, UINT32_MAX) > 0;
    case METRIC_SHARE: {
        uint64_t whole = tally_count(figures->crowd, threshold->of_outcomes);
        *value = whole == 0 ? 0 : share(tally_count(figures->crowd, threshold->outcomes), whole);
        return whole > 0;
    }
    case METRIC_FAILED_SHARE:
        *value =
            all.count == 0 ? 0 : share(figures->crowd->failed_count + figures->admin_failed_count, all.count);
        return all.count > 0;
    case METRIC_LATENCY:
        *value = (double)hist_percentile_ns(&all, threshold->percent) / NS_PER_MS;
        return all.count > 0;
    case METRIC_CROWD_LATENCY:
        hist_init(&all);
        tally_outcome_latency(figures->crowd, threshold->outcomes, &all);
        *value = (double)hist_percentile_ns(&all, threshold->percent) / NS_PER_MS;
        return all.count > 0;
    }
    return false;
}

static bool is_met(enum compare compare, double measured, double limit)
{
    switch (compare) {
    case COMPARE_EQUAL:
        return measured >= limit && measured <= limit; /* counts: whole numbers that a double holds exactly */
    case COMPARE_BELOW:
        return measured < limit;
    case COMPARE_ABOVE:
        return measured > limit;
    }
    return false;
}

struct threshold_result threshold_check(const struct threshold *threshold, const struct figures *figures)
{
    struct threshold_result result = {.threshold = *threshold};
    result.has_measured = measure(threshold, figures, &result.measured);
    result.is_met = result.has_measured && is_met(threshold->compare, result.measured, threshold->limit);
    return result;
}

static void put_value(struct strbuf *out, enum metric metric, double value)
{
    switch (metric) {
    case METRIC_COUNT:
        strbuf_printf(out, "%.0f", value);
        return;
    case METRIC_SHARE:
    case METRIC_FAILED_SHARE:
        strbuf_printf(out, "%.3g %%", value * 100);
        return;
    case METRIC_LATENCY:
    case METRIC_CROWD_LATENCY:
        strbuf_printf(out, value < 100 ? "%.2f ms" : "%.0f ms", value);
        return;
    }
}

void threshold_put(struct strbuf *out, const struct threshold *threshold)
{
    static const char *const signs[] = {"==", "<", ">"};
    strbuf_put(out, slice_cstr(threshold->name));
    if (threshold->metric == METRIC_LATENCY || threshold->metric == METRIC_CROWD_LATENCY)
        strbuf_printf(out, " p(%g)", threshold->percent);
    strbuf_printf(out, " %s ", signs[threshold->compare]);
    put_value(out, threshold->metric, threshold->limit);
}

void threshold_put_measured(struct strbuf *out, const struct threshold_result *result)
{
    if (result->has_measured)
        put_value(out, result->threshold.metric, result->measured);
    else
        strbuf_lit(out, "nothing measured");
}
