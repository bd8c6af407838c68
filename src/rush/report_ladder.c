/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a ladder (ladder.h), those of the original's report, for people and as Markdown. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "rush/ladder.h"
#include "rush/report.h"

enum { CELL_SIZE = 64 };

static const double NS_PER_MS = 1e6;
static const double NS_PER_US = 1e3;

/* Right-aligned; the title of the terminal is short. */
struct column {
    const char *title;
    const char *short_title;
    int width;
};

static void put_cell(struct strbuf *out, bool is_markdown, int width, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void put_cell(struct strbuf *out, bool is_markdown, int width, const char *format, ...)
{
    char text[CELL_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (is_markdown)
        strbuf_printf(out, " %s |", text);
    else
        strbuf_printf(out, "%*s", width, text);
}

static void begin_row(struct strbuf *out, bool is_markdown)
{
    if (is_markdown)
        strbuf_put_char(out, '|');
}

static void put_head(struct strbuf *out, bool is_markdown, const char *title, const struct column *columns)
{
    strbuf_printf(out, is_markdown ? "### %s\n\n" : "%s\n", title);
    begin_row(out, is_markdown);
    for (const struct column *column = columns; column->title != NULL; column++)
        put_cell(out, is_markdown, column->width, "%s", is_markdown ? column->title : column->short_title);
    if (is_markdown) {
        strbuf_lit(out, "\n|");
        for (const struct column *column = columns; column->title != NULL; column++)
            strbuf_lit(out, "--:|");
    }
    strbuf_put_char(out, '\n');
}

static void put_count(struct strbuf *out, bool is_markdown, int width, uint64_t count)
{
    put_cell(out, is_markdown, width, "%llu", (unsigned long long)count);
}

static void put_ms(struct strbuf *out, bool is_markdown, int width, uint64_t ns)
{
    put_cell(out, is_markdown, width, "%.1f", (double)ns / NS_PER_MS);
}

/* "-" where nobody came so far. */
static void put_percentile(
    struct strbuf *out, bool is_markdown, int width, const struct rush_times *times, size_t percentile)
{
    if (times->count == 0)
        put_cell(out, is_markdown, width, "-");
    else
        put_ms(out, is_markdown, width, times->percentile_ns[percentile]);
}

/* --- what became of the users --- */

static void put_summary_row(struct strbuf *out, bool is_markdown, const struct rush_rung *rung)
{
    begin_row(out, is_markdown);
    put_count(out, is_markdown, 7, rung->users);
    put_cell(out, is_markdown, 9, "%.3f", rung->seconds);
    put_cell(out, is_markdown, 9, "%.1f", rung->seconds > 0 ? (double)rung->users / rung->seconds : 0);
    put_count(out, is_markdown, 8, rung->sold_count);
    put_count(out, is_markdown, 7, rung->given_count);
    put_count(out, is_markdown, 7, rung->busy_count);
    put_count(out, is_markdown, 9, rung->timeout_count);
    put_count(out, is_markdown, 9, rung->lost_count);
    put_count(out, is_markdown, 7, rung->other_count + rung->full_count);
    put_ms(out, is_markdown, 9, rung->user.percentile_ns[PERCENTILE_50]);
    put_ms(out, is_markdown, 9, rung->user.percentile_ns[PERCENTILE_95]);
    put_ms(out, is_markdown, 9, rung->user.percentile_ns[PERCENTILE_99]);
    put_ms(out, is_markdown, 9, rung->user.max_ns);
    if (rung->stock_left < 0)
        put_cell(out, is_markdown, 12, "not told");
    else
        put_cell(out, is_markdown, 12, "%lld", (long long)rung->stock_left);
    put_cell(out, is_markdown, 10, "%lld", (long long)rung->stock_expected);
    strbuf_put_char(out, '\n');
}

static void put_summary(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    static const struct column columns[] = {{"Concurrent Users", "users", 7}, {"Wall Time (s)", "wall s", 9},
        {"Effective RPS", "users/s", 9}, {"Purchases OK", "bought", 8}, {"start-work 200", "200", 7},
        {"start-work 409", "409", 7}, {"Timeouts", "timeouts", 9}, {"Conn Errors", "conn err", 9},
        {"Other", "other", 7}, {"p50 (ms)", "p50 ms", 9}, {"p95 (ms)", "p95 ms", 9},
        {"p99 (ms)", "p99 ms", 9}, {"Max (ms)", "max ms", 9}, {"Stock Left", "stock left", 12},
        {"Stock Expected", "expected", 10}, {NULL, NULL, 0}};
    put_head(out, is_markdown, "Results Summary", columns);
    for (size_t i = 0; i < ladder->rung_count; i++)
        put_summary_row(out, is_markdown, &ladder->rungs[i]);
    strbuf_put(out, is_markdown ? SLICE("\n") : SLICE(""));
    strbuf_lit(out,
        "Times are of whole users, both requests, from the instant in which all came; effective RPS "
        "counts users, as the original does.\n\n");
}

static void put_endpoints(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    static const struct column columns[] = {{"Concurrent Users", "users", 7},
        {"start-work p50 (ms)", "start p50 ms", 15}, {"start-work p95 (ms)", "start p95 ms", 15},
        {"start-work p99 (ms)", "start p99 ms", 15}, {"start-work max (ms)", "start max ms", 15},
        {"choose-product p50 (ms)", "choose p50 ms", 16}, {"choose-product p95 (ms)", "choose p95 ms", 16},
        {"choose-product p99 (ms)", "choose p99 ms", 16}, {"choose-product max (ms)", "choose max ms", 16},
        {NULL, NULL, 0}};
    static const size_t shown[] = {PERCENTILE_50, PERCENTILE_95, PERCENTILE_99};
    put_head(out, is_markdown, "Per-Endpoint Latency Detail", columns);
    for (size_t i = 0; i < ladder->rung_count; i++) {
        const struct rush_rung *rung = &ladder->rungs[i];
        begin_row(out, is_markdown);
        put_count(out, is_markdown, 7, rung->users);
        for (size_t j = 0; j < sizeof shown / sizeof shown[0]; j++)
            put_percentile(out, is_markdown, 15, &rung->start, shown[j]);
        put_ms(out, is_markdown, 15, rung->start.max_ns);
        for (size_t j = 0; j < sizeof shown / sizeof shown[0]; j++)
            put_percentile(out, is_markdown, 16, &rung->choose, shown[j]);
        if (rung->choose.count > 0)
            put_ms(out, is_markdown, 16, rung->choose.max_ns);
        else
            put_cell(out, is_markdown, 16, "-");
        strbuf_put_char(out, '\n');
    }
    strbuf_lit(out, "\n");
}

/* --- what went wrong --- */

static void put_error_row(
    struct strbuf *out, bool is_markdown, const char *users, const char *what, uint64_t count)
{
    if (is_markdown)
        strbuf_printf(out, "| %s | %s | %llu |\n", users, what, (unsigned long long)count);
    else
        strbuf_printf(out, "%15s  %llu %s\n", users, (unsigned long long)count, what);
}

/* The levels from `first` up to before `end` had no errors. */
static void put_clean(
    struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder, size_t first, size_t end)
{
    char users[CELL_SIZE];
    if (first == end)
        return;
    unsigned long long least = ladder->rungs[first].users;
    unsigned long long most = least;
    for (size_t i = first; i < end; i++) {
        least = ladder->rungs[i].users < least ? ladder->rungs[i].users : least;
        most = ladder->rungs[i].users > most ? ladder->rungs[i].users : most;
    }
    if (least == most)
        (void)snprintf(users, sizeof users, "%llu", least);
    else
        (void)snprintf(users, sizeof users, "%llu - %llu", least, most);
    put_error_row(out, is_markdown, users, is_markdown ? "*(no errors)*" : "errors", 0);
}

static void put_errors(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    size_t clean = 0; /* the first level of those without errors */
    strbuf_put(out,
        is_markdown ? SLICE("### Error Breakdown\n\n| Concurrency | Error Type | Count |\n|--:|---|--:|\n")
                    : SLICE("Error Breakdown\n"));
    for (size_t i = 0; i < ladder->rung_count; i++) {
        const struct rush_rung *rung = &ladder->rungs[i];
        if (rung->error_count == 0)
            continue;
        put_clean(out, is_markdown, ladder, clean, i);
        clean = i + 1;
        for (size_t j = 0; j < rung->error_count; j++) {
            char users[CELL_SIZE];
            char what[RUSH_TEXT_MAX];
            const struct rush_rung_error *error = &rung->errors[j];
            (void)snprintf(users, sizeof users, "%llu", (unsigned long long)rung->users);
            (void)snprintf(what, sizeof what, "%s: %s (%s)", error->endpoint, error->kind, error->meaning);
            put_error_row(out, is_markdown, users, what, error->count);
        }
    }
    put_clean(out, is_markdown, ladder, clean, ladder->rung_count);
    strbuf_lit(out, "\n");
}

/* --- latency and users --- */

static void put_growth_row(struct strbuf *out, bool is_markdown, const struct rush_rung *rung)
{
    double p99_ns = (double)rung->user.percentile_ns[PERCENTILE_99];
    double original_ms = ladder_original_p99_ms(rung->users);
    begin_row(out, is_markdown);
    put_count(out, is_markdown, 7, rung->users);
    put_cell(out, is_markdown, 12, "%.1f", p99_ns / NS_PER_MS);
    if (rung->limit_ns > 0)
        put_cell(out, is_markdown, 20, "%.0f%s", (double)rung->limit_ns / NS_PER_MS,
            rung->is_limit_asked ? "" : " (not judged)");
    else
        put_cell(out, is_markdown, 20, "-");
    put_cell(out, is_markdown, 16, "%.1f", p99_ns / NS_PER_US / (double)rung->users);
    if (isnan(original_ms))
        put_cell(out, is_markdown, 16, "-");
    else
        put_cell(out, is_markdown, 16, "%.1f", original_ms);
    put_ms(out, is_markdown, 16, rung->connect.max_ns);
    strbuf_put_char(out, '\n');
}

static void put_growth(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    static const struct column columns[] = {{"Users", "users", 7}, {"p99 Latency (ms)", "p99 ms", 12},
        {"Asked: at most (ms)", "asked ms", 20}, {"p99 per User (us)", "p99 us/user", 16},
        {"Original p99 (ms)", "original p99 ms", 16}, {"Slowest Connect (ms)", "slowest connect", 16},
        {NULL, NULL, 0}};
    put_head(out, is_markdown, "Latency Scaling", columns);
    for (size_t i = 0; i < ladder->rung_count; i++)
        put_growth_row(out, is_markdown, &ladder->rungs[i]);
    strbuf_put(out, is_markdown ? SLICE("\n") : SLICE(""));
    ladder_put_growth(out, ladder);
    strbuf_lit(out, "\n\n");
}

static void put_breaking_point(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    strbuf_put(out, is_markdown ? SLICE("### Breaking Point\n\n> ") : SLICE("Breaking Point\n"));
    ladder_put_breaking_point(out, ladder);
    strbuf_lit(out, "\n\n");
}

/* --- the line, and the stock --- */

static void put_line(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    static const struct column columns[] = {{"Users in Line", "users", 7}, {"Served", "served", 9},
        {"Time Was Up (409)", "time up", 9}, {"Line Full (503)", "full", 9}, {"Sales/s", "sales/s", 9},
        {"Longest Wait Served or Not (ms)", "longest ms", 12}, {NULL, NULL, 0}};
    if (ladder->wait_s == 0)
        return;
    put_head(out, is_markdown, "Waiting Line", columns);
    for (size_t i = 0; i < ladder->rung_count; i++) {
        const struct rush_rung *rung = &ladder->rungs[i];
        begin_row(out, is_markdown);
        put_count(out, is_markdown, 7, rung->users);
        put_count(out, is_markdown, 9, rung->given_count);
        put_count(out, is_markdown, 9, rung->busy_count);
        put_count(out, is_markdown, 9, rung->full_count);
        put_cell(
            out, is_markdown, 9, "%.2f", rung->seconds > 0 ? (double)rung->sold_count / rung->seconds : 0);
        put_ms(out, is_markdown, 12, rung->start.max_ns);
        strbuf_put_char(out, '\n');
    }
    strbuf_lit(out, "\n");
}

static void put_stock(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    const char *names[] = {"Total stock supplied", "Total successful purchases (all levels)",
        "Expected remaining stock", "Actual remaining stock (after the test)"};
    const int64_t values[] = {ladder->stock_supplied, ladder->stock_supplied - ladder->stock_expected,
        ladder->stock_expected, ladder->stock_left};
    strbuf_put(out, is_markdown ? SLICE("### Concurrency Control\n\n| Metric | Value |\n|---|--:|\n")
                                : SLICE("Concurrency Control\n"));
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        strbuf_printf(out, is_markdown ? "| %s |" : "%-42s", names[i]);
        if (values[i] < 0)
            put_cell(out, is_markdown, 10, "not told");
        else
            put_cell(out, is_markdown, 10, "%lld", (long long)values[i]);
        strbuf_put_char(out, '\n');
    }
    strbuf_lit(out, "\n");
}

void report_put_ladder(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    if (ladder->rung_count == 0)
        return;
    put_summary(out, is_markdown, ladder);
    put_endpoints(out, is_markdown, ladder);
    put_line(out, is_markdown, ladder);
    put_errors(out, is_markdown, ladder);
    put_growth(out, is_markdown, ladder);
    put_breaking_point(out, is_markdown, ladder);
    put_stock(out, is_markdown, ladder);
}
