/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The original's clients did not obey Retry-After (there was none): they think for a moment and come again.
 * These do the same, which is the harder test, and are counted: an honest refusal is neither a failure of the
 * server nor an order.
 */
#include "rush/orders_sync.h"

#include <math.h>

static const double NS_PER_MS = 1e6;
static const double PAYMENT_S = 3; /* of the original's payment processor, which did one at a time */
static const double REFUSAL_MAX_MS = 50;

#define COMPLETED OUTCOME_BIT(ORDER_COMPLETED)
#define DECLINED OUTCOME_BIT(ORDER_DECLINED)
#define REFUSED OUTCOME_BIT(ORDER_REFUSED)

static void add_count(struct rush *rush, const char *name, uint32_t outcomes, enum compare compare)
{
    rush_add_threshold(rush,
        (struct threshold){.name = name, .metric = METRIC_COUNT, .outcomes = outcomes, .compare = compare});
}

enum err sync_prepare(struct rush *rush, const struct sync_story *story, struct error *error)
{
    add_count(rush, "order_completed", COMPLETED, COMPARE_ABOVE);
    add_count(rush, "order_timeouts", ORDER_TIMEOUTS, COMPARE_EQUAL);
    add_count(rush, "order_unexpected", ~(ORDER_EXPECTED | ORDER_TIMEOUTS), COMPARE_EQUAL);
    return orders_prepare(rush, story->crowd, error);
}

enum err sync_set_up(struct rush *rush, struct error *error)
{
    return orders_ask_stats(rush, &orders_drain(rush)->before, error);
}

void sync_tear_down(struct rush *rush, const struct tally *crowd)
{
    struct order_drain *drain = orders_drain(rush);
    struct error error;
    if (orders_ask_settled(rush, crowd, &drain->after, &error) == ERR_NONE)
        orders_check_stored(rush, crowd, &drain->after);
    else
        rush_add_invariant(rush, false, "the orders can be counted afterwards: %.200s", error.message);
}

/* --- the report --- */

static double percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static double rate(uint64_t count, const struct rush_report *report)
{
    return report->seconds > 0 ? (double)count / report->seconds : 0;
}

static void tell_counts(struct rush_report *report, const struct tally *crowd, const struct sync_story *story)
{
    uint64_t asked = tally_count(crowd, UINT32_MAX);
    uint64_t completed = tally_count(crowd, COMPLETED);
    uint64_t failed = tally_count(crowd, ~ORDER_EXPECTED);
    tell_figure(report, "orders asked for", "", story->asked, NAN, (double)asked);
    tell_figure(report, "completed", "", story->completed, NAN, (double)completed);
    tell_figure(report, "payment declined", "", NAN, NAN, (double)tally_count(crowd, DECLINED));
    tell_figure(
        report, "refused at once, with Retry-After", "", NAN, NAN, (double)tally_count(crowd, REFUSED));
    tell_figure(report, "failed", "", story->failed, NAN, (double)failed);
    tell_figure(report, "success rate", "%", story->completed_percent, story->expected_percent,
        percent(completed, asked));
    tell_figure(report, "failure rate", "%", story->failed_percent, NAN, percent(failed, asked));
    tell_figure(report, "refused at once, share", "%", NAN, NAN, percent(tally_count(crowd, REFUSED), asked));
    tell_figure(report, "requests per second", "/s", story->asked_per_s, NAN, rate(asked, report));
    tell_figure(report, "completed per second", "/s", story->completed_per_s, story->expected_per_s,
        rate(completed, report));
    tell_figure(report, "failed per second", "/s", story->failed_per_s, NAN, rate(failed, report));
    tell_figure(report, "of what one 3 s payment at a time allows", "%", story->slot_percent, NAN,
        100 * rate(completed, report) * PAYMENT_S);
}

/* Refusals make the average shorter than what a customer who got something waited: these are told apart. */
static void tell_parts(struct rush_report *report, const struct tally *crowd)
{
    struct hist completed;
    struct hist refused;
    hist_init(&completed);
    hist_init(&refused);
    tally_outcome_latency(crowd, COMPLETED, &completed);
    tally_outcome_latency(crowd, REFUSED, &refused);
    tell_figure(report, "completed: average", "ms", NAN, NAN, (double)hist_mean_ns(&completed) / NS_PER_MS);
    tell_figure(report, "completed: longest", "ms", NAN, NAN, (double)completed.max_ns / NS_PER_MS);
    tell_figure(report, "refused: 99 %", "ms", NAN, REFUSAL_MAX_MS,
        refused.count > 0 ? (double)hist_percentile_ns(&refused, 99) / NS_PER_MS : NAN);
}

static void tell_patience(struct rush_report *report, const struct order_patience *patience)
{
    double count = (double)patience->refused_count;
    tell_figure(report, "refused: Retry-After, average", "s", NAN, NAN,
        count > 0 ? (double)patience->retry_after_sum_s / count : NAN);
    tell_figure(report, "refused: Retry-After, longest", "s", NAN, NAN,
        count > 0 ? (double)patience->retry_after_max_s : NAN);
    tell_figure(report, "came again before it was over", "", NAN, NAN, (double)patience->early_count);
}

void sync_tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report,
    const struct sync_story *story)
{
    struct order_patience patience = orders_patience(rush);
    struct hist latency;
    hist_init(&latency);
    tally_latency(crowd, ENDPOINTS_MAX, &latency);
    tell_counts(report, crowd, story);
    tell_times(report, &latency, &story->times, story->expected_mean_ms);
    tell_parts(report, crowd);
    tell_patience(report, &patience);
    tell_bars(report, crowd, (struct tell_endings){COMPLETED, REFUSED | DECLINED}, 1000000000, story->bars);
    tell_loss(report, &(struct tell_loss){.original_lost_share = story->failed_share,
                          .asked = tally_count(crowd, UINT32_MAX),
                          .lost = tally_count(crowd, ~(COMPLETED | DECLINED)),
                          .refused = tally_count(crowd, REFUSED),
                          .pace_per_s = rate(tally_count(crowd, COMPLETED | DECLINED), report),
                          .value = rush->options.order_value});
}
