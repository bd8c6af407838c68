/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a marketplace with ever more users (market_levels.h), for people and as Markdown. */
#include "rush/levels.h"
#include "rush/market_answer.h"
#include "rush/market_levels.h"
#include "rush/report.h"

static const double NS_PER_MS = 1e6;

/* --- cells --- */

/* p50, p95, p99 and the longest; "-" where there was none. */
static void put_times(struct level_table *table, const struct rush_times *times)
{
    const uint64_t shown_ns[] = {times->percentile_ns[PERCENTILE_50], times->percentile_ns[PERCENTILE_95],
        times->percentile_ns[PERCENTILE_99], times->max_ns};
    for (size_t i = 0; i < sizeof shown_ns / sizeof shown_ns[0]; i++) {
        if (times->count == 0)
            level_table_put(table, "-");
        else
            level_table_put_ms(table, shown_ns[i]);
    }
}

/* --- tables --- */

static void put_requests(struct strbuf *out, bool is_markdown, const struct rush_market *market)
{
    static const struct level_column columns[] = {{.title = "users"}, {.title = "wall s"},
        {.title = "bought"}, {.title = "requests"}, {.title = "errors"}, {.title = "p50 ms"},
        {.title = "p95 ms"}, {.title = "p99 ms"}, {.title = "max ms"}, {.title = "asked p99"},
        {.title = NULL}};
    struct level_table table;
    level_table_begin(&table, out, is_markdown, "Every Request", columns);
    for (size_t i = 0; i < market->level_count; i++) {
        const struct rush_market_level *level = &market->levels[i];
        level_table_begin_row(&table);
        level_table_put_count(&table, level->users);
        level_table_put(&table, "%.3f", level->seconds);
        level_table_put_count(&table, level->bought_count);
        level_table_put_count(&table, level->request_count);
        level_table_put_count(&table, level->failed_count);
        put_times(&table, &level->all);
        if (level->limit_ns > 0)
            level_table_put(&table, "< %.0f ms", (double)level->limit_ns / NS_PER_MS);
        else
            level_table_put(&table, "-");
        level_table_end_row(&table);
    }
    strbuf_put_char(out, '\n');
}

static void put_users(struct strbuf *out, bool is_markdown, const struct rush_market *market)
{
    static const struct level_column columns[] = {{.title = "users"}, {.title = "users/s"},
        {.title = "p50 ms"}, {.title = "p95 ms"}, {.title = "p99 ms"}, {.title = "max ms"},
        {.title = "sign us"}, {.title = "connect ms"}, {.title = NULL}};
    struct level_table table;
    level_table_begin(&table, out, is_markdown, "The Whole Way of a User", columns);
    for (size_t i = 0; i < market->level_count; i++) {
        const struct rush_market_level *level = &market->levels[i];
        level_table_begin_row(&table);
        level_table_put_count(&table, level->users);
        level_table_put(&table, "%.0f", level->seconds > 0 ? (double)level->users / level->seconds : 0);
        put_times(&table, &level->user);
        level_table_put(&table, "%.1f", level->sign_us);
        level_table_put_ms(&table, level->connect.max_ns);
        level_table_end_row(&table);
    }
    strbuf_put(out, is_markdown ? SLICE("\n") : SLICE(""));
    strbuf_lit(out,
        "Times count from the instant in which all came. sign: the generator's CPU time of signing a "
        "challenge, which is part of the way (spends were signed before); connect: the slowest. Requests and "
        "errors are those of the way and the reading of each balance behind it.\n\n");
}

static void put_steps(struct strbuf *out, bool is_markdown, const struct rush_market *market)
{
    static const struct level_column columns[] = {{.title = "users"}, {.title = "step"}, {.title = "count"},
        {.title = "p50 ms"}, {.title = "p95 ms"}, {.title = "p99 ms"}, {.title = "max ms"}, {.title = NULL}};
    struct level_table table;
    level_table_begin(&table, out, is_markdown, "Step by Step", columns);
    for (size_t i = 0; i < market->level_count; i++)
        for (size_t step = 0; step < RUSH_MARKET_STEPS; step++) {
            const struct rush_times *times = &market->levels[i].steps[step];
            level_table_begin_row(&table);
            level_table_put_count(&table, market->levels[i].users);
            level_table_put(&table, "%s", market_endpoints[step]);
            level_table_put_count(&table, times->count);
            put_times(&table, times);
            level_table_end_row(&table);
        }
    strbuf_put_char(out, '\n');
}

static void put_errors(struct strbuf *out, bool is_markdown, const struct rush_market *market)
{
    strbuf_put(out, is_markdown
                        ? SLICE("### Errors\n\n| users | request | error | count |\n|--:|---|---|--:|\n")
                        : SLICE("Errors\n"));
    for (size_t i = 0; i < market->level_count; i++) {
        const struct rush_market_level *level = &market->levels[i];
        unsigned long long users = level->users;
        if (level->error_count == 0)
            strbuf_printf(out, is_markdown ? "| %llu | | none | 0 |\n" : "%11llu users: none\n", users);
        for (size_t j = 0; j < level->error_count; j++) {
            const struct rush_rung_error *error = &level->errors[j];
            strbuf_printf(out,
                is_markdown ? "| %llu | %s | %s (%s) | %llu |\n" : "%11llu users: %s: %s (%s): %llu\n", users,
                error->endpoint, error->kind, error->meaning, (unsigned long long)error->count);
        }
    }
    strbuf_put_char(out, '\n');
}

void report_put_market(struct strbuf *out, bool is_markdown, const struct rush_market *market)
{
    if (market->level_count == 0)
        return;
    put_requests(out, is_markdown, market);
    put_users(out, is_markdown, market);
    put_steps(out, is_markdown, market);
    put_errors(out, is_markdown, market);
    strbuf_put(out, is_markdown ? SLICE("### Breaking Point\n\n> ") : SLICE("Breaking Point\n"));
    market_put_breaking_point(out, market);
    strbuf_lit(out, "\n\n");
}
