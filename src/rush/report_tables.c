/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that only some scenarios have (tell.h), for people and as Markdown. */
#include "rush/report.h"

#include <math.h>
#include <stdio.h>

enum { NAME_WIDTH = 38, VALUE_WIDTH = 12, BAR_WIDTH = 40, CELL_SIZE = 32 };

static const int64_t NS_PER_S = 1000000000;
static const double NS_PER_MS = 1e6;

/* --- figures beside the original's --- */

/* A count as it is, other figures with as many digits as say something; "-" when there is none. */
static void put_value(char text[CELL_SIZE], const char *unit, double value)
{
    if (isnan(value))
        (void)snprintf(text, CELL_SIZE, "-");
    else if (*unit == '\0')
        (void)snprintf(text, CELL_SIZE, "%.0f", value);
    else
        (void)snprintf(text, CELL_SIZE, "%.*f%s%s",
            value < 10     ? 2
            : value < 1000 ? 1
                           : 0,
            value, *unit == '/' ? "" : " ", unit);
}

static void put_figure_row(struct strbuf *out, bool is_markdown, const char *name, const char *original,
    const char *expected, const char *ours)
{
    if (is_markdown)
        strbuf_printf(out, "| %s | %s | %s | %s |\n", name, original, expected, ours);
    else
        strbuf_printf(out, "%-*s%*s%*s%*s\n", NAME_WIDTH, name, VALUE_WIDTH, original, VALUE_WIDTH, expected,
            VALUE_WIDTH, ours);
}

static void put_figures(struct strbuf *out, bool is_markdown, const struct rush_report *report)
{
    if (report->figure_count == 0)
        return;
    put_figure_row(out, is_markdown, "beside the original's report", "original", "expected", "here");
    if (is_markdown)
        strbuf_lit(out, "|---|--:|--:|--:|\n");
    for (size_t i = 0; i < report->figure_count; i++) {
        const struct rush_figure *figure = &report->figures[i];
        char original[CELL_SIZE];
        char expected[CELL_SIZE];
        char ours[CELL_SIZE];
        put_value(original, figure->unit, figure->original);
        put_value(expected, figure->unit, figure->expected);
        put_value(ours, figure->unit, figure->ours);
        put_figure_row(out, is_markdown, figure->name, original, expected, ours);
    }
    strbuf_put_char(out, '\n');
}

/* --- the distribution --- */

static void put_edge(char text[CELL_SIZE], int64_t ns)
{
    if (ns < NS_PER_S)
        (void)snprintf(text, CELL_SIZE, "%lld ms", (long long)(ns / 1000000));
    else
        (void)snprintf(text, CELL_SIZE, "%lld s", (long long)(ns / NS_PER_S));
}

static uint64_t bar_sum(const struct rush_bar *bar)
{
    return bar->counts[RUSH_ENDED_GOOD] + bar->counts[RUSH_ENDED_REFUSED] + bar->counts[RUSH_ENDED_FAILED];
}

static uint64_t highest_bar(const struct rush_report *report)
{
    uint64_t highest = 1;
    for (size_t i = 0; i < report->bar_count; i++)
        highest = bar_sum(&report->bars[i]) > highest ? bar_sum(&report->bars[i]) : highest;
    return highest;
}

/* A full block for every so many requests; at least one when there is any. */
static void put_blocks(struct strbuf *out, uint64_t count, uint64_t highest)
{
    uint64_t blocks = (count * BAR_WIDTH + highest - 1) / highest;
    for (uint64_t i = 0; i < blocks; i++)
        strbuf_lit(out, "\xe2\x96\x88");
}

static void put_bar(struct strbuf *out, const struct rush_bar *bar, uint64_t highest)
{
    static const char *const names[RUSH_ENDING_COUNT] = {"good", "refused", "failed"};
    const char *before = "";
    char from[CELL_SIZE];
    char until[CELL_SIZE] = "more";
    put_edge(from, bar->from_ns);
    if (bar->until_ns != INT64_MAX)
        put_edge(until, bar->until_ns);
    strbuf_printf(out, "%7s - %-7s ", from, until);
    put_blocks(out, bar_sum(bar), highest);
    strbuf_printf(out, "%s(", bar_sum(bar) > 0 ? " " : "");
    for (size_t i = 0; i < RUSH_ENDING_COUNT; i++) {
        if (bar->counts[i] == 0)
            continue;
        strbuf_printf(out, "%s%llu %s", before, (unsigned long long)bar->counts[i], names[i]);
        before = ", ";
    }
    strbuf_put(out, bar_sum(bar) == 0 ? SLICE("0)") : SLICE(")"));
    if (bar->original >= 0)
        strbuf_printf(out, "; original: %lld", (long long)bar->original);
    strbuf_put_char(out, '\n');
}

static void put_bars(struct strbuf *out, bool is_markdown, const struct rush_report *report)
{
    uint64_t highest = highest_bar(report);
    if (report->bar_count == 0)
        return;
    strbuf_lit(out, "how long the answers took\n");
    strbuf_put(out, is_markdown ? SLICE("\n```\n") : SLICE(""));
    for (size_t i = 0; i < report->bar_count; i++)
        put_bar(out, &report->bars[i], highest);
    strbuf_put(out, is_markdown ? SLICE("```\n\n") : SLICE("\n"));
}

/* --- levels --- */

static void put_level_head(struct strbuf *out, bool is_markdown)
{
    if (is_markdown)
        strbuf_lit(out,
            "| clients | orders/s | each | mean ms | stdev ms | p50 ms | p95 ms | p99 ms | max ms | "
            "errors | predicted | original | generator |\n"
            "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    else
        strbuf_printf(out, "%7s%10s%9s%9s%9s%9s%9s%9s%9s%8s%11s%10s%11s\n", "clients", "orders/s", "each",
            "mean ms", "stdev ms", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors", "predicted", "original",
            "generator");
}

/* "-" for NAN. */
static void put_rate(struct strbuf *out, bool is_markdown, int width, double value)
{
    char text[CELL_SIZE] = "-";
    if (!isnan(value))
        (void)snprintf(text, sizeof text, "%.0f", value);
    if (is_markdown)
        strbuf_printf(out, " %s |", text);
    else
        strbuf_printf(out, "%*s", width, text);
}

static void put_level(struct strbuf *out, bool is_markdown, const struct rush_level *level)
{
    const uint64_t times_ns[] = {level->latency.percentile_ns[PERCENTILE_50],
        level->latency.percentile_ns[PERCENTILE_95], level->latency.percentile_ns[PERCENTILE_99],
        level->latency.max_ns};
    strbuf_printf(out, is_markdown ? "| %llu |" : "%7llu", (unsigned long long)level->clients);
    put_rate(out, is_markdown, 10, level->orders_per_s);
    put_rate(out, is_markdown, 9, level->orders_per_s / (double)level->clients);
    strbuf_printf(out, is_markdown ? " %.2f | %.2f |" : "%9.2f%9.2f", level->mean_ms, level->stdev_ms);
    for (size_t i = 0; i < sizeof times_ns / sizeof times_ns[0]; i++)
        strbuf_printf(out, is_markdown ? " %.2f |" : "%9.2f", (double)times_ns[i] / NS_PER_MS);
    strbuf_printf(out, is_markdown ? " %llu |" : "%8llu", (unsigned long long)level->error_count);
    put_rate(out, is_markdown, 11, level->predicted_per_s);
    put_rate(out, is_markdown, 10, level->original_per_s);
    if (isnan(level->generator_busy))
        put_rate(out, is_markdown, 11, NAN);
    else
        strbuf_printf(out, is_markdown ? " %.0f %% |" : "%9.0f %%", level->generator_busy * 100);
    strbuf_put_char(out, '\n');
}

/* What so many clients would predict, beside what there was. */
static void put_predictions(struct strbuf *out, const char *bullet, const struct rush_report *report)
{
    for (size_t i = 1; i < report->level_count; i++) {
        const struct rush_level *before = &report->levels[i - 1];
        const struct rush_level *level = &report->levels[i];
        if (isnan(level->predicted_per_s) || level->predicted_per_s <= 0)
            continue;
        strbuf_printf(out, "%s%llu client%s %.0f orders/s for %llu; measured %.0f, %.0f %% of it", bullet,
            (unsigned long long)before->clients, before->clients == 1 ? " predicts" : "s predict",
            level->predicted_per_s, (unsigned long long)level->clients, level->orders_per_s,
            100 * level->orders_per_s / level->predicted_per_s);
        if (!isnan(level->original_per_s) && !isnan(before->original_per_s)) {
            double predicted = before->original_per_s * (double)level->clients / (double)before->clients;
            strbuf_printf(out, " (original: %.0f predicted, %.0f measured, %.0f %%)", predicted,
                level->original_per_s, 100 * level->original_per_s / predicted);
        }
        strbuf_put_char(out, '\n');
    }
}

static void put_levels(struct strbuf *out, bool is_markdown, const struct rush_report *report)
{
    if (report->level_count == 0)
        return;
    put_level_head(out, is_markdown);
    for (size_t i = 0; i < report->level_count; i++)
        put_level(out, is_markdown, &report->levels[i]);
    strbuf_put_char(out, '\n');
    put_predictions(out, is_markdown ? "- " : "", report);
    strbuf_put(out, report->level_count > 1 ? SLICE("\n") : SLICE(""));
}

/* --- the business --- */

static void put_impacts(struct strbuf *out, const char *bullet, const struct rush_report *report)
{
    if (report->impact_count == 0)
        return;
    strbuf_lit(out, "what it means for the business\n");
    strbuf_put(out, *bullet == '\0' ? SLICE("") : SLICE("\n"));
    for (size_t i = 0; i < report->impact_count; i++)
        strbuf_printf(out, "%s%s\n", bullet, report->impacts[i]);
    strbuf_put_char(out, '\n');
}

void report_put_tables(struct strbuf *out, bool is_markdown, const struct rush_report *report)
{
    report_put_ladder(out, is_markdown, &report->ladder);
    report_put_market(out, is_markdown, &report->market);
    put_levels(out, is_markdown, report);
    put_figures(out, is_markdown, report);
    put_bars(out, is_markdown, report);
    put_impacts(out, is_markdown ? "- " : "", report);
}
