/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/tell.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/ensure.h"

static const double NS_PER_MS = 1e6;
static const double S_PER_HOUR = 3600;
static const double ORIGINAL_ORDERS_PER_HOUR = 1800; /* "expected orders" of the original's report */

static const double percents[TELL_PERCENTILE_COUNT] = {50, 66, 75, 80, 90, 95, 99, 100};
static const char *const percent_names[TELL_PERCENTILE_COUNT] = {"response time, 50 %", "response time, 66 %",
    "response time, 75 %", "response time, 80 %", "response time, 90 %", "response time, 95 %",
    "response time, 99 %", "response time, longest"};

void tell_figure(struct rush_report *report, const char *name, const char *unit, double original,
    double expected, double ours)
{
    ENSURE(report->figure_count < RUSH_FIGURES_MAX);
    report->figures[report->figure_count++] = (struct rush_figure){name, unit, original, expected, ours};
}

void tell_times(struct rush_report *report, const struct hist *latency, const struct tell_times *original,
    double expected_mean_ms)
{
    double min_ms = latency->count > 0 ? (double)latency->min_ns / NS_PER_MS : 0;
    tell_figure(report, "response time, average", "ms", original != NULL ? original->mean_ms : NAN,
        expected_mean_ms, (double)hist_mean_ns(latency) / NS_PER_MS);
    tell_figure(
        report, "response time, shortest", "ms", original != NULL ? original->min_ms : NAN, NAN, min_ms);
    for (size_t i = 0; i < TELL_PERCENTILE_COUNT; i++)
        tell_figure(report, percent_names[i], "ms", original != NULL ? original->percentile_ms[i] : NAN, NAN,
            (double)hist_percentile_ns(latency, percents[i]) / NS_PER_MS);
}

/* --- the distribution --- */

static int64_t band_from_ns(size_t band)
{
    return band == 0 ? 0 : band_edges_ns[band - 1];
}

static int64_t band_until_ns(size_t band)
{
    return band == BANDS_MAX - 1 ? INT64_MAX : band_edges_ns[band];
}

static struct rush_bar bar_of(const struct tally *crowd, struct tell_endings endings, size_t band)
{
    struct rush_bar bar = {.from_ns = band_from_ns(band), .until_ns = band_until_ns(band), .original = -1};
    bar.counts[RUSH_ENDED_GOOD] = tally_count_band(crowd, endings.good, band);
    bar.counts[RUSH_ENDED_REFUSED] = tally_count_band(crowd, endings.refused, band);
    bar.counts[RUSH_ENDED_FAILED] = tally_count_band(crowd, ~(endings.good | endings.refused), band);
    return bar;
}

static void merge_bar(struct rush_bar *bar, const struct rush_bar *from)
{
    bar->until_ns = from->until_ns;
    for (size_t i = 0; i < RUSH_ENDING_COUNT; i++)
        bar->counts[i] += from->counts[i];
}

static bool is_empty(const struct rush_bar *bar)
{
    return bar->counts[RUSH_ENDED_GOOD] + bar->counts[RUSH_ENDED_REFUSED] + bar->counts[RUSH_ENDED_FAILED] ==
               0 &&
           bar->original <= 0;
}

static void drop_empty_ends(struct rush_report *report)
{
    size_t first = 0;
    while (report->bar_count > 0 && is_empty(&report->bars[report->bar_count - 1]))
        report->bar_count--;
    while (first < report->bar_count && is_empty(&report->bars[first]))
        first++;
    report->bar_count -= first;
    memmove(report->bars, report->bars + first, report->bar_count * sizeof *report->bars);
}

void tell_bars(struct rush_report *report, const struct tally *crowd, struct tell_endings endings,
    int64_t from_ns, const int64_t *original)
{
    report->bar_count = 0;
    for (size_t i = 0; i < BANDS_MAX; i++) {
        struct rush_bar bar = bar_of(crowd, endings, i);
        if (original != NULL)
            bar.original = original[i];
        if (report->bar_count > 0 && bar.until_ns <= from_ns)
            merge_bar(&report->bars[report->bar_count - 1], &bar);
        else
            report->bars[report->bar_count++] = bar;
    }
    drop_empty_ends(report);
}

/* --- the business --- */

__attribute__((format(printf, 2, 3))) static void add_impact(
    struct rush_report *report, const char *format, ...)
{
    va_list args;
    ENSURE(report->impact_count < RUSH_IMPACTS_MAX);
    va_start(args, format);
    (void)vsnprintf(report->impacts[report->impact_count++], RUSH_TEXT_MAX, format, args);
    va_end(args);
}

/* 1234567 as "1,234,567". */
struct grouped {
    char text[32];
};

static struct grouped group(double value)
{
    char digits[24];
    struct grouped grouped;
    int count = snprintf(digits, sizeof digits, "%.0f", value);
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            grouped.text[len++] = ',';
        grouped.text[len++] = digits[i];
    }
    grouped.text[len] = '\0';
    return grouped;
}

static void add_hour(struct rush_report *report, const char *whose, double orders, double lost, int64_t value)
{
    add_impact(report, "%s: %s of %s orders an hour taken, %s lost; at $%lld each that is $%s an hour", whose,
        group(orders - lost).text, group(orders).text, group(lost).text, (long long)value,
        group(lost * (double)value).text);
}

static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

/* Those that were let in fail as they did; beyond that, no more are taken than at the pace of this run. */
static void add_hour_at_pace(struct rush_report *report, const struct tell_loss *loss)
{
    double failed_share = share(loss->lost - loss->refused, loss->asked - loss->refused);
    double taken = fmin(ORIGINAL_ORDERS_PER_HOUR * (1 - failed_share), loss->pace_per_s * S_PER_HOUR);
    add_hour(report, "this server, at the same demand and the pace of this run", ORIGINAL_ORDERS_PER_HOUR,
        ORIGINAL_ORDERS_PER_HOUR - round(taken), loss->value);
}

void tell_loss(struct rush_report *report, const struct tell_loss *loss)
{
    double lost_share = share(loss->lost, loss->asked);
    double asked_per_hour = report->seconds > 0 ? (double)loss->asked / report->seconds * S_PER_HOUR : 0;
    if (!isnan(loss->original_lost_share))
        add_hour(report, "the original, at its 1,800 orders an hour", ORIGINAL_ORDERS_PER_HOUR,
            round(ORIGINAL_ORDERS_PER_HOUR * loss->original_lost_share), loss->value);
    if (loss->refused > 0 && loss->pace_per_s > 0)
        add_hour_at_pace(report, loss);
    else
        add_hour(report, "this server, at the same demand", ORIGINAL_ORDERS_PER_HOUR,
            round(ORIGINAL_ORDERS_PER_HOUR * lost_share), loss->value);
    add_hour(report, "this server, at the demand of this run", asked_per_hour,
        round(asked_per_hour * lost_share), loss->value);
    if (loss->refused > 0)
        add_impact(report,
            "of the %s lost in this run %s were refused at once with Retry-After: nobody was kept waiting, "
            "nothing "
            "was charged; who came again too early is counted each time",
            group((double)loss->lost).text, group((double)loss->refused).text);
}
