/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a ladder (ladder.h), those of the original's report, for people and as Markdown. */
#include <math.h>
#include <stdio.h>

#include "rush/ladder.h"
#include "rush/levels.h"
#include "rush/report.h"

enum { CELL_SIZE = 64 };

static const double NS_PER_MS = 1e6;
static const double NS_PER_US = 1e3;

/* "-" where nobody came so far. */
static void put_percentile(struct level_table *table, const struct rush_times *times, size_t percentile)
{
    if (times->count == 0)
        level_table_put(table, "-");
    else
        level_table_put_ms(table, times->percentile_ns[percentile]);
}

/* --- what became of the users --- */

static void put_summary_row(struct level_table *table, const struct rush_rung *rung)
{
    level_table_begin_row(table);
    level_table_put_count(table, rung->users);
    level_table_put(table, "%.3f", rung->seconds);
    level_table_put(table, "%.1f", rung->seconds > 0 ? (double)rung->users / rung->seconds : 0);
    level_table_put_count(table, rung->sold_count);
    level_table_put_count(table, rung->given_count);
    level_table_put_count(table, rung->busy_count);
    level_table_put_count(table, rung->timeout_count);
    level_table_put_count(table, rung->lost_count);
    level_table_put_count(table, rung->other_count + rung->full_count);
    level_table_put_ms(table, rung->user.percentile_ns[PERCENTILE_50]);
    level_table_put_ms(table, rung->user.percentile_ns[PERCENTILE_95]);
    level_table_put_ms(table, rung->user.percentile_ns[PERCENTILE_99]);
    level_table_put_ms(table, rung->user.max_ns);
    if (rung->stock_left < 0)
        level_table_put(table, "not told");
    else
        level_table_put(table, "%lld", (long long)rung->stock_left);
    level_table_put(table, "%lld", (long long)rung->stock_expected);
    level_table_end_row(table);
}

static void put_summary(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    static const struct level_column columns[] = {{"Concurrent Users", "users", 7},
        {"Wall Time (s)", "wall s", 9}, {"Effective RPS", "users/s", 9}, {"Purchases OK", "bought", 8},
        {"start-work 200", "200", 7}, {"start-work 409", "409", 7}, {"Timeouts", "timeouts", 9},
        {"Conn Errors", "conn err", 9}, {"Other", "other", 7}, {"p50 (ms)", "p50 ms", 9},
        {"p95 (ms)", "p95 ms", 9}, {"p99 (ms)", "p99 ms", 9}, {"Max (ms)", "max ms", 9},
        {"Stock Left", "stock left", 12}, {"Stock Expected", "expected", 10}, {NULL, NULL, 0}};
    struct level_table table;
    level_table_begin(&table, out, is_markdown, "Results Summary", columns);
    for (size_t i = 0; i < ladder->rung_count; i++)
        put_summary_row(&table, &ladder->rungs[i]);
    strbuf_put(out, is_markdown ? SLICE("\n") : SLICE(""));
    strbuf_lit(out,
        "Times are of whole users, both requests, from the instant in which all came; effective RPS "
        "counts users, as the original does.\n\n");
}

static void put_endpoints(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    static const struct level_column columns[] = {{"Concurrent Users", "users", 7},
        {"start-work p50 (ms)", "start p50 ms", 15}, {"start-work p95 (ms)", "start p95 ms", 15},
        {"start-work p99 (ms)", "start p99 ms", 15}, {"start-work max (ms)", "start max ms", 15},
        {"choose-product p50 (ms)", "choose p50 ms", 16}, {"choose-product p95 (ms)", "choose p95 ms", 16},
        {"choose-product p99 (ms)", "choose p99 ms", 16}, {"choose-product max (ms)", "choose max ms", 16},
        {NULL, NULL, 0}};
    static const size_t shown[] = {PERCENTILE_50, PERCENTILE_95, PERCENTILE_99};
    struct level_table table;
    level_table_begin(&table, out, is_markdown, "Per-Endpoint Latency Detail", columns);
    for (size_t i = 0; i < ladder->rung_count; i++) {
        const struct rush_rung *rung = &ladder->rungs[i];
        level_table_begin_row(&table);
        level_table_put_count(&table, rung->users);
        for (size_t j = 0; j < sizeof shown / sizeof shown[0]; j++)
            put_percentile(&table, &rung->start, shown[j]);
        level_table_put_ms(&table, rung->start.max_ns);
        for (size_t j = 0; j < sizeof shown / sizeof shown[0]; j++)
            put_percentile(&table, &rung->choose, shown[j]);
        if (rung->choose.count > 0)
            level_table_put_ms(&table, rung->choose.max_ns);
        else
            level_table_put(&table, "-");
        level_table_end_row(&table);
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

static void put_growth_row(struct level_table *table, const struct rush_rung *rung)
{
    double p99_ns = (double)rung->user.percentile_ns[PERCENTILE_99];
    double original_ms = ladder_original_p99_ms(rung->users);
    level_table_begin_row(table);
    level_table_put_count(table, rung->users);
    level_table_put(table, "%.1f", p99_ns / NS_PER_MS);
    if (rung->limit_ns > 0)
        level_table_put(
            table, "%.0f%s", (double)rung->limit_ns / NS_PER_MS, rung->is_limit_asked ? "" : " (not judged)");
    else
        level_table_put(table, "-");
    level_table_put(table, "%.1f", p99_ns / NS_PER_US / (double)rung->users);
    if (isnan(original_ms))
        level_table_put(table, "-");
    else
        level_table_put(table, "%.1f", original_ms);
    level_table_put_ms(table, rung->connect.max_ns);
    level_table_end_row(table);
}

static void put_growth(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder)
{
    static const struct level_column columns[] = {{"Users", "users", 7}, {"p99 Latency (ms)", "p99 ms", 12},
        {"Asked: at most (ms)", "asked ms", 20}, {"p99 per User (us)", "p99 us/user", 16},
        {"Original p99 (ms)", "original p99 ms", 16}, {"Slowest Connect (ms)", "slowest connect", 16},
        {NULL, NULL, 0}};
    struct level_table table;
    level_table_begin(&table, out, is_markdown, "Latency Scaling", columns);
    for (size_t i = 0; i < ladder->rung_count; i++)
        put_growth_row(&table, &ladder->rungs[i]);
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
    static const struct level_column columns[] = {{"Users in Line", "users", 7}, {"Served", "served", 9},
        {"Time Was Up (409)", "time up", 9}, {"Line Full (503)", "full", 9}, {"Sales/s", "sales/s", 9},
        {"Longest Wait Served or Not (ms)", "longest ms", 12}, {NULL, NULL, 0}};
    struct level_table table;
    if (ladder->wait_s == 0)
        return;
    level_table_begin(&table, out, is_markdown, "Waiting Line", columns);
    for (size_t i = 0; i < ladder->rung_count; i++) {
        const struct rush_rung *rung = &ladder->rungs[i];
        level_table_begin_row(&table);
        level_table_put_count(&table, rung->users);
        level_table_put_count(&table, rung->given_count);
        level_table_put_count(&table, rung->busy_count);
        level_table_put_count(&table, rung->full_count);
        level_table_put(&table, "%.2f", rung->seconds > 0 ? (double)rung->sold_count / rung->seconds : 0);
        level_table_put_ms(&table, rung->start.max_ns);
        level_table_end_row(&table);
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
        char value[CELL_SIZE] = "not told";
        if (values[i] >= 0)
            (void)snprintf(value, sizeof value, "%lld", (long long)values[i]);
        strbuf_printf(out, is_markdown ? "| %s | %s |\n" : "%-42s%10s\n", names[i], value);
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
