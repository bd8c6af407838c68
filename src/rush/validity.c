/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/validity.h"

#include <stdarg.h>
#include <stdio.h>

static const double BUSY_MAX = 0.95;
static const double LAG_PERCENT = 99;
static const int64_t OPEN_LAG_MAX_NS = 10000000;
static const int64_t BURST_LAG_MAX_NS = 250000000;
static const int64_t BURST_LAG_PER_USER_NS = 100000;
static const double NS_PER_MS = 1e6;

void report_add_reason(struct rush_report *report, const char *format, ...)
{
    va_list args;
    if (report->reason_count == RUSH_NOTES_MAX)
        return;
    va_start(args, format);
    (void)vsnprintf(report->reasons[report->reason_count++], RUSH_TEXT_MAX, format, args);
    va_end(args);
}

void report_add_note(struct rush_report *report, const char *format, ...)
{
    va_list args;
    if (report->note_count == RUSH_NOTES_MAX)
        return;
    va_start(args, format);
    (void)vsnprintf(report->notes[report->note_count++], RUSH_TEXT_MAX, format, args);
    va_end(args);
}

/* Several crowds share one histogram: the laxest limit counts, and a burst's users must all have started. */
struct validity_lag validity_lag_of(const struct rush *rush, const struct tally *crowd)
{
    struct validity_lag lag = {.percent = LAG_PERCENT};
    for (size_t i = 0; i < rush->crowd_count; i++) {
        const struct plan *plan = &rush->crowds[i].plan;
        int64_t max_ns = 0;
        if (plan->kind == PLAN_OPEN)
            max_ns = OPEN_LAG_MAX_NS;
        if (plan->kind == PLAN_CLOSED)
            max_ns = (plan->think_max_ns > 0 ? plan->think_max_ns : plan->interval_ns) / 10;
        if (plan->kind == PLAN_BURST) {
            lag.percent = 100;
            max_ns = (int64_t)plan->vu_count * BURST_LAG_PER_USER_NS;
            max_ns = max_ns > BURST_LAG_MAX_NS ? max_ns : BURST_LAG_MAX_NS;
        }
        lag.max_ns = max_ns > lag.max_ns ? max_ns : lag.max_ns;
    }
    lag.lag_ns = (int64_t)hist_percentile_ns(&crowd->lag, lag.percent);
    return lag;
}

static double excess(struct validity_lag lag)
{
    return lag.max_ns == 0 ? 0 : (double)lag.lag_ns / (double)lag.max_ns;
}

struct validity_lag validity_lag_worse(struct validity_lag a, struct validity_lag b)
{
    return excess(b) > excess(a) ? b : a;
}

static void judge_lag(struct validity_lag lag, struct rush_report *report)
{
    if (lag.max_ns == 0 || lag.lag_ns <= lag.max_ns)
        return;
    report_add_reason(report,
        "the generator was late: p%g of its starts came %.1f ms after their time, at most %.1f ms are "
        "allowed; give "
        "it a core of its own, another machine, more --threads, or ask for less",
        lag.percent, (double)lag.lag_ns / NS_PER_MS, (double)lag.max_ns / NS_PER_MS);
}

static bool has_burst(const struct rush *rush)
{
    for (size_t i = 0; i < rush->crowd_count; i++)
        if (rush->crowds[i].plan.kind == PLAN_BURST)
            return true;
    return false;
}

static void judge_busy(const struct rush *rush, double busy, struct rush_report *report)
{
    if (busy <= BUSY_MAX || has_burst(rush))
        return;
    bool is_open = rush->crowds[0].plan.kind == PLAN_OPEN;
    if (rush->scenario->is_saturating && !is_open)
        report_add_note(report,
            "generator busy %.0f %%: it never waited for the server, so the figure is a lower bound of what "
            "the "
            "server can do",
            busy * 100);
    else
        report_add_reason(report,
            "the generator was busy %.0f %% of the time, so it may have set the pace; give it a core of its "
            "own, "
            "another machine, more --threads, or ask for less",
            busy * 100);
}

bool validity_judge(const struct rush *rush, const struct validity_input *input, struct rush_report *report)
{
    size_t reason_count = report->reason_count;
    uint64_t local = tally_count_all(input->crowd, OUTCOME_BIT(OUTCOME_LOCAL));
    if (local > 0)
        report_add_reason(report,
            "%llu requests failed inside the generator (%s); raise the limit of open files (ulimit -n) or "
            "ask for less",
            (unsigned long long)local, strerror(input->last_errno));
    judge_lag(input->lag, report);
    judge_busy(rush, input->busy, report);
    if (input->crowd->starved_count > 0)
        report_add_note(report,
            "%llu sessions waited for a free connection (all %llu were busy); their latency includes the "
            "waiting",
            (unsigned long long)input->crowd->starved_count, (unsigned long long)rush->options.connections);
    return report->reason_count == reason_count;
}
