/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/report.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"

enum { REPORT_SIZE_MAX = 64 << 20, NAME_WIDTH = 38 };

static const double NS_PER_MS = 1e6;

enum err report_format_of(const char *path, enum report_format *format, struct error *error)
{
    const char *ending = strrchr(path, '.');
    if (ending != NULL && strcmp(ending, ".md") == 0)
        *format = REPORT_MARKDOWN;
    else if (ending != NULL && strcmp(ending, ".json") == 0)
        *format = REPORT_JSON;
    else
        return error_set(error, ERR_USAGE,
            "'%.200s' does not say what report it is to be: expected a name that ends "
            "in .md or .json",
            path);
    return ERR_NONE;
}

size_t report_failed_count(const struct rush_report *reports, size_t count)
{
    size_t failed = 0;
    for (size_t i = 0; i < count; i++)
        failed += reports[i].verdict != RUSH_PASSED;
    return failed;
}

/* --- tables: the same rows for people and for Markdown --- */

static void put_ms(struct strbuf *out, bool is_markdown, uint64_t ns)
{
    double ms = (double)ns / NS_PER_MS;
    const char *plain = ms < 10 ? "%9.2f" : ms < 100 ? "%9.1f" : "%9.0f";
    const char *markdown = ms < 10 ? " %.2f |" : ms < 100 ? " %.1f |" : " %.0f |";
    strbuf_printf(out, is_markdown ? markdown : plain, ms);
}

static void put_times(struct strbuf *out, bool is_markdown, const struct rush_times *times)
{
    put_ms(out, is_markdown, times->percentile_ns[PERCENTILE_50]);
    put_ms(out, is_markdown, times->percentile_ns[PERCENTILE_95]);
    put_ms(out, is_markdown, times->percentile_ns[PERCENTILE_99]);
    put_ms(out, is_markdown, times->max_ns);
    put_ms(out, is_markdown, times->mean_ns);
    strbuf_put_char(out, '\n');
}

static void put_head(struct strbuf *out, bool is_markdown, const char *first)
{
    if (is_markdown)
        strbuf_printf(out,
            "| %s | count | share | p50 ms | p95 ms | p99 ms | max ms | mean ms |\n"
            "|---|--:|--:|--:|--:|--:|--:|--:|\n",
            first);
    else
        strbuf_printf(out, "%-*s%9s%9s%9s%9s%9s%9s%9s\n", NAME_WIDTH, first, "count", "share", "p50 ms",
            "p95 ms", "p99 ms", "max ms", "mean ms");
}

/* share < 0: none. */
static void put_line(
    struct strbuf *out, bool is_markdown, const char *name, double share, const struct rush_times *times)
{
    char percent[16] = "";
    if (share >= 0)
        (void)snprintf(percent, sizeof percent, "%.1f %%", share * 100);
    if (is_markdown)
        strbuf_printf(out, "| %s | %llu | %s |", name, (unsigned long long)times->count, percent);
    else
        strbuf_printf(out, "%-*s%9llu%9s", NAME_WIDTH, name, (unsigned long long)times->count, percent);
    put_times(out, is_markdown, times);
}

/* Where the same outcome stands once a level, the level is named. */
static void put_row(
    struct strbuf *out, bool is_markdown, const struct rush_report *report, const struct rush_row *row)
{
    char name[NAME_WIDTH + 1];
    (void)snprintf(name, sizeof name, "%s%s%s", report->level_count > 0 ? row->endpoint : "",
        report->level_count > 0 ? ": " : "", row->outcome);
    put_line(out, is_markdown, name, row->share, &row->latency);
}

static void put_outcomes(struct strbuf *out, bool is_markdown, const struct rush_report *report)
{
    put_head(out, is_markdown, "outcome");
    for (size_t i = 0; i < report->row_count; i++)
        put_row(out, is_markdown, report, &report->rows[i]);
    strbuf_put_char(out, '\n');
    put_head(out, is_markdown, "requests, from when each should start");
    for (size_t i = 0; i < report->endpoint_count; i++)
        put_line(out, is_markdown, report->endpoints[i].name, -1, &report->endpoints[i].latency);
    strbuf_put_char(out, '\n');
    put_head(out, is_markdown, "uncorrected, from the first byte sent");
    for (size_t i = 0; i < report->endpoint_count; i++)
        put_line(out, is_markdown, report->endpoints[i].name, -1, &report->endpoints[i].duration);
    if (report->connect.count > 0)
        put_line(out, is_markdown, "connecting", -1, &report->connect);
    if (report->lag.count > 0)
        put_line(out, is_markdown, "generator's own delay", -1, &report->lag);
    strbuf_put_char(out, '\n');
}

/* --- text --- */

static const char *mark(bool is_good)
{
    return is_good ? "PASS" : "FAIL";
}

static void put_figures(struct strbuf *out, const char *bullet, const struct rush_report *report)
{
    strbuf_printf(out,
        "%s%llu requests in %.2f s: %.0f requests/s; generator busy %.0f %%, %.2f us CPU a request, "
        "%lld thread%s\n",
        bullet, (unsigned long long)report->request_count, report->seconds, report->requests_per_s,
        report->generator_busy * 100, report->generator_cpu_us, (long long)report->threads,
        report->threads == 1 ? "" : "s");
    for (size_t i = 0; i < report->note_count; i++)
        strbuf_printf(out, "%snote: %s\n", bullet, report->notes[i]);
}

static void put_checks(struct strbuf *out, const char *bullet, const struct rush_report *report)
{
    for (size_t i = 0; i < report->threshold_count; i++) {
        const struct threshold_result *result = &report->thresholds[i];
        strbuf_printf(out, "%s%s  ", bullet, mark(result->is_met));
        threshold_put(out, &result->threshold);
        strbuf_lit(out, "  (");
        threshold_put_measured(out, result);
        strbuf_lit(out, ")\n");
    }
    for (size_t i = 0; i < report->invariant_count; i++)
        strbuf_printf(
            out, "%s%s  %s\n", bullet, mark(report->invariants[i].holds), report->invariants[i].text);
}

static void put_verdict(struct strbuf *out, const char *bullet, const struct rush_report *report)
{
    for (size_t i = 0; i < report->reason_count; i++)
        strbuf_printf(out, "%s%s: %s\n", bullet, rush_verdict_name(report->verdict), report->reasons[i]);
}

static void put_began(struct strbuf *out, const struct rush_report *report)
{
    char began[CLOCK_ISO_LEN];
    clock_format_iso(report->began_wall_ms, began);
    strbuf_put(out, slice_make(began, sizeof began));
}

void report_put_text(struct strbuf *out, const struct rush_report *report)
{
    strbuf_printf(out, "rush %s: %s\n%s, ", report->scenario, report->plan, report->url);
    if (report->sku[0] != '\0')
        strbuf_printf(out, "sku %s, ", report->sku);
    put_began(out, report);
    strbuf_lit(out, "\n\n");
    put_outcomes(out, false, report);
    report_put_tables(out, false, report);
    put_figures(out, "", report);
    strbuf_put_char(out, '\n');
    put_checks(out, "", report);
    put_verdict(out, "", report);
    strbuf_printf(out, "rush %s: %s\n", report->scenario, rush_verdict_name(report->verdict));
}

/* --- Markdown --- */

static void put_markdown(struct strbuf *out, const struct rush_report *report)
{
    strbuf_printf(out, "## rush %s: %s\n\n%s, %s, ", report->scenario, rush_verdict_name(report->verdict),
        report->plan, report->url);
    if (report->sku[0] != '\0')
        strbuf_printf(out, "SKU `%s`, ", report->sku);
    put_began(out, report);
    strbuf_lit(out, "\n\n");
    put_outcomes(out, true, report);
    report_put_tables(out, true, report);
    put_figures(out, "- ", report);
    put_checks(out, "- ", report);
    put_verdict(out, "- ", report);
    strbuf_put_char(out, '\n');
}

/* --- several runs --- */

void report_put_runs(struct strbuf *out, const struct rush_report *reports, size_t count)
{
    strbuf_printf(out, "%5s  %-10s%10s%12s%9s%9s%9s%9s\n", "run", "verdict", "requests", "requests/s",
        "p50 ms", "p95 ms", "p99 ms", "max ms");
    for (size_t i = 0; i < count; i++) {
        const struct rush_report *report = &reports[i];
        strbuf_printf(out, "%5zu  %-10s%10llu%12.0f", i + 1, rush_verdict_name(report->verdict),
            (unsigned long long)report->request_count, report->requests_per_s);
        static const struct rush_times none = {0};
        const struct rush_times *all =
            report->endpoint_count > 0 ? &report->endpoints[report->endpoint_count - 1].latency : &none;
        put_ms(out, false, all->percentile_ns[PERCENTILE_50]);
        put_ms(out, false, all->percentile_ns[PERCENTILE_95]);
        put_ms(out, false, all->percentile_ns[PERCENTILE_99]);
        put_ms(out, false, all->max_ns);
        strbuf_put_char(out, '\n');
    }
    strbuf_printf(out, "%zu runs, %zu failed\n", count, report_failed_count(reports, count));
}

void report_put(
    struct strbuf *out, enum report_format format, const struct rush_report *reports, size_t count)
{
    if (format == REPORT_JSON) {
        report_put_json(out, reports, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (format == REPORT_MARKDOWN)
            put_markdown(out, &reports[i]);
        else
            report_put_text(out, &reports[i]);
    }
    if (count < 2)
        return;
    strbuf_put(out, format == REPORT_MARKDOWN ? SLICE("```\n") : SLICE("\n"));
    report_put_runs(out, reports, count);
    strbuf_put(out, format == REPORT_MARKDOWN ? SLICE("```\n") : SLICE(""));
}

static enum err write_file(const char *path, struct slice text, struct error *error)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return error_set(error, ERR_IO, "the report %s cannot be made: %s", path, strerror(errno));
    size_t written = fwrite(text.base, 1, text.len, file);
    int code = errno;
    if (fclose(file) != 0 || written != text.len)
        return error_set(error, ERR_IO, "the report %s cannot be written: %s", path, strerror(code));
    return ERR_NONE;
}

enum err report_write(const char *path, const struct rush_report *reports, size_t count, struct error *error)
{
    struct strbuf text;
    enum report_format format;
    enum err err = report_format_of(path, &format, error);
    if (err != ERR_NONE)
        return err;
    strbuf_init_heap(&text, REPORT_SIZE_MAX);
    report_put(&text, format, reports, count);
    err = text.has_overflowed ? error_set(error, ERR_MEMORY, "no memory for the report")
                              : write_file(path, strbuf_slice(&text), error);
    strbuf_fini(&text);
    return err;
}
