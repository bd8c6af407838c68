/* SPDX-License-Identifier: Apache-2.0 */
/* The report as JSON; report.h documents the format. */
#include <math.h>

#include "base/clock.h"
#include "rush/ladder.h"
#include "rush/market_answer.h"
#include "rush/market_levels.h"
#include "rush/report.h"

static const double NS_PER_MS = 1e6;

/* ,"name": or, as the first member, "name": */
static void put_name(struct strbuf *out, const char *name)
{
    if (out->len > 0 && out->base[out->len - 1] != '{' && out->base[out->len - 1] != '[')
        strbuf_put_char(out, ',');
    strbuf_put_json(out, slice_cstr(name));
    strbuf_put_char(out, ':');
}

static void begin_item(struct strbuf *out)
{
    if (out->len > 0 && out->base[out->len - 1] != '[')
        strbuf_put_char(out, ',');
    strbuf_put_char(out, '{');
}

static void put_text(struct strbuf *out, const char *name, const char *text)
{
    put_name(out, name);
    strbuf_put_json(out, slice_cstr(text));
}

static void put_count(struct strbuf *out, const char *name, uint64_t value)
{
    put_name(out, name);
    strbuf_printf(out, "%llu", (unsigned long long)value);
}

/* NAN is null. */
static void put_number(struct strbuf *out, const char *name, double value)
{
    put_name(out, name);
    if (isnan(value))
        strbuf_lit(out, "null");
    else
        strbuf_printf(out, "%.10g", value);
}

static void put_bool(struct strbuf *out, const char *name, bool value)
{
    put_name(out, name);
    strbuf_put(out, value ? SLICE("true") : SLICE("false"));
}

static void put_times(struct strbuf *out, const char *name, const struct rush_times *times)
{
    put_name(out, name);
    strbuf_put_char(out, '{');
    put_count(out, "count", times->count);
    put_number(out, "meanMs", (double)times->mean_ns / NS_PER_MS);
    put_number(out, "minMs", (double)times->min_ns / NS_PER_MS);
    put_number(out, "maxMs", (double)times->max_ns / NS_PER_MS);
    put_name(out, "percentilesMs");
    strbuf_put_char(out, '{');
    for (size_t i = 0; i < RUSH_PERCENTILE_COUNT; i++) {
        char percent[16];
        struct strbuf text;
        strbuf_init(&text, percent, sizeof percent - 1);
        strbuf_printf(&text, "%g", rush_percents[i]);
        percent[text.len] = '\0';
        put_number(out, percent, (double)times->percentile_ns[i] / NS_PER_MS);
    }
    strbuf_lit(out, "}}");
}

static void put_texts(struct strbuf *out, const char *name, const char (*texts)[RUSH_TEXT_MAX], size_t count)
{
    put_name(out, name);
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            strbuf_put_char(out, ',');
        strbuf_put_json(out, slice_cstr(texts[i]));
    }
    strbuf_put_char(out, ']');
}

static void put_figures(struct strbuf *out, const struct rush_report *report)
{
    char began[CLOCK_ISO_LEN];
    clock_format_iso(report->began_wall_ms, began);
    put_text(out, "url", report->url);
    put_text(out, "sku", report->sku);
    put_text(out, "plan", report->plan);
    put_name(out, "began");
    strbuf_put_json(out, slice_make(began, sizeof began));
    put_number(out, "seconds", report->seconds);
    put_count(out, "requests", report->request_count);
    put_number(out, "requestsPerSecond", report->requests_per_s);
    put_count(out, "setupRequests", report->admin_request_count);
    put_count(out, "unsent", report->unsent_count);
    put_name(out, "generator");
    strbuf_put_char(out, '{');
    put_count(out, "threads", (uint64_t)report->threads);
    put_number(out, "busy", report->generator_busy);
    put_number(out, "cpuMicrosecondsPerRequest", report->generator_cpu_us);
    put_times(out, "lag", &report->lag);
    put_times(out, "connect", &report->connect);
    strbuf_put_char(out, '}');
}

static void put_rows(struct strbuf *out, const struct rush_report *report)
{
    put_name(out, "outcomes");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < report->row_count; i++) {
        const struct rush_row *row = &report->rows[i];
        begin_item(out);
        put_text(out, "endpoint", row->endpoint);
        put_text(out, "outcome", row->outcome);
        put_text(out, "meaning", row->meaning);
        put_number(out, "share", row->share);
        put_times(out, "latency", &row->latency);
        strbuf_put_char(out, '}');
    }
    strbuf_put_char(out, ']');
    put_name(out, "endpoints");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < report->endpoint_count; i++) {
        begin_item(out);
        put_text(out, "endpoint", report->endpoints[i].name);
        put_times(out, "latency", &report->endpoints[i].latency);
        put_times(out, "duration", &report->endpoints[i].duration);
        strbuf_put_char(out, '}');
    }
    strbuf_put_char(out, ']');
}

static void put_threshold(struct strbuf *out, const struct threshold_result *result)
{
    char memory[160];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory - 1);
    threshold_put(&text, &result->threshold);
    memory[text.len] = '\0';
    begin_item(out);
    put_text(out, "threshold", memory);
    put_text(out, "name", result->threshold.name);
    put_number(out, "limit", result->threshold.limit);
    if (result->has_measured) {
        put_number(out, "measured", result->measured);
    } else {
        put_name(out, "measured");
        strbuf_lit(out, "null");
    }
    put_bool(out, "passed", result->is_met);
    strbuf_put_char(out, '}');
}

static void put_checks(struct strbuf *out, const struct rush_report *report)
{
    put_name(out, "thresholds");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < report->threshold_count; i++)
        put_threshold(out, &report->thresholds[i]);
    strbuf_put_char(out, ']');
    put_name(out, "invariants");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < report->invariant_count; i++) {
        begin_item(out);
        put_text(out, "invariant", report->invariants[i].text);
        put_bool(out, "passed", report->invariants[i].holds);
        strbuf_put_char(out, '}');
    }
    strbuf_put_char(out, ']');
}

static void put_compared(struct strbuf *out, const struct rush_report *report)
{
    put_name(out, "figures");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < report->figure_count; i++) {
        const struct rush_figure *figure = &report->figures[i];
        begin_item(out);
        put_text(out, "figure", figure->name);
        put_text(out, "unit", figure->unit);
        put_number(out, "original", figure->original);
        put_number(out, "expected", figure->expected);
        put_number(out, "here", figure->ours);
        strbuf_put_char(out, '}');
    }
    strbuf_put_char(out, ']');
}

static void put_distribution(struct strbuf *out, const struct rush_report *report)
{
    put_name(out, "distribution");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < report->bar_count; i++) {
        const struct rush_bar *bar = &report->bars[i];
        begin_item(out);
        put_number(out, "fromMs", (double)bar->from_ns / NS_PER_MS);
        put_number(out, "untilMs", bar->until_ns == INT64_MAX ? NAN : (double)bar->until_ns / NS_PER_MS);
        put_count(out, "good", bar->counts[RUSH_ENDED_GOOD]);
        put_count(out, "refused", bar->counts[RUSH_ENDED_REFUSED]);
        put_count(out, "failed", bar->counts[RUSH_ENDED_FAILED]);
        put_number(out, "original", bar->original < 0 ? NAN : (double)bar->original);
        strbuf_put_char(out, '}');
    }
    strbuf_put_char(out, ']');
}

static void put_levels(struct strbuf *out, const struct rush_report *report)
{
    put_name(out, "levels");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < report->level_count; i++) {
        const struct rush_level *level = &report->levels[i];
        begin_item(out);
        put_count(out, "clients", level->clients);
        put_count(out, "orders", level->order_count);
        put_count(out, "errors", level->error_count);
        put_number(out, "ordersPerSecond", level->orders_per_s);
        put_number(out, "ordersPerSecondAndClient", level->orders_per_s / (double)level->clients);
        put_number(out, "stdevMs", level->stdev_ms);
        put_times(out, "latency", &level->latency);
        put_number(out, "predictedPerSecond", level->predicted_per_s);
        put_number(out, "originalPerSecond", level->original_per_s);
        put_number(out, "generatorBusy", level->generator_busy);
        strbuf_put_char(out, '}');
    }
    strbuf_put_char(out, ']');
}

/* --- the ladder --- */

/* Below 0: null. */
static void put_known(struct strbuf *out, const char *name, int64_t value)
{
    put_number(out, name, value < 0 ? NAN : (double)value);
}

static void put_rung_counts(struct strbuf *out, const struct rush_rung *rung)
{
    put_count(out, "requests", rung->request_count);
    put_count(out, "purchases", rung->sold_count);
    put_name(out, "startWork");
    strbuf_put_char(out, '{');
    put_count(out, "ok", rung->given_count);
    put_count(out, "conflict", rung->busy_count);
    put_count(out, "full", rung->full_count);
    strbuf_put_char(out, '}');
    put_name(out, "chooseProduct");
    strbuf_put_char(out, '{');
    put_count(out, "ok", rung->sold_count);
    put_count(out, "unprocessable", rung->refused_count);
    strbuf_put_char(out, '}');
    put_count(out, "timeouts", rung->timeout_count);
    put_count(out, "connectionErrors", rung->lost_count);
    put_count(out, "others", rung->other_count);
}

static void put_rung_errors(struct strbuf *out, const struct rush_rung_error *errors, size_t count)
{
    put_name(out, "errors");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        begin_item(out);
        put_text(out, "endpoint", errors[i].endpoint);
        put_text(out, "kind", errors[i].kind);
        put_count(out, "count", errors[i].count);
        strbuf_put_char(out, '}');
    }
    strbuf_put_char(out, ']');
}

static double rate(uint64_t count, double seconds)
{
    return seconds > 0 ? (double)count / seconds : 0;
}

static void put_rung(struct strbuf *out, const struct rush_rung *rung)
{
    begin_item(out);
    put_count(out, "users", rung->users);
    put_number(out, "wallSeconds", rung->seconds);
    put_number(out, "usersPerSecond", rate(rung->users, rung->seconds));
    put_number(out, "requestsPerSecond", rate(rung->request_count, rung->seconds));
    put_number(out, "purchasesPerSecond", rate(rung->sold_count, rung->seconds));
    put_rung_counts(out, rung);
    put_times(out, "latency", &rung->user);
    put_times(out, "startWorkLatency", &rung->start);
    put_times(out, "chooseProductLatency", &rung->choose);
    put_times(out, "connect", &rung->connect);
    put_number(out, "stockExpected", (double)rung->stock_expected);
    put_known(out, "stockLeft", rung->stock_left);
    put_number(out, "p99LimitMs", rung->limit_ns > 0 ? (double)rung->limit_ns / NS_PER_MS : NAN);
    put_bool(out, "isLimitJudged", rung->is_limit_asked);
    put_number(out, "originalP99Ms", ladder_original_p99_ms(rung->users));
    put_bool(out, "breaks", ladder_breaks_at(rung));
    put_rung_errors(out, rung->errors, rung->error_count);
    strbuf_put_char(out, '}');
}

static void put_said(struct strbuf *out, const struct rush_ladder *ladder,
    void (*say)(struct strbuf *, const struct rush_ladder *))
{
    char memory[1024];
    struct strbuf text;
    strbuf_init(&text, memory, sizeof memory);
    say(&text, ladder);
    put_name(out, "text");
    strbuf_put_json(out, strbuf_slice(&text));
}

static void put_ladder_verdict(struct strbuf *out, const struct rush_ladder *ladder)
{
    size_t broken = ladder_breaking_point(ladder);
    size_t back = ladder_comeback(ladder, broken);
    struct ladder_growth growth = ladder_growth(ladder);
    put_name(out, "breakingPoint");
    strbuf_put_char(out, '{');
    put_number(out, "users", broken < ladder->rung_count ? (double)ladder->rungs[broken].users : NAN);
    put_number(out, "cameBackAt", back < ladder->rung_count ? (double)ladder->rungs[back].users : NAN);
    put_said(out, ladder, ladder_put_breaking_point);
    strbuf_put_char(out, '}');
    put_name(out, "growth");
    strbuf_put_char(out, '{');
    put_bool(out, "isJudged", growth.is_judged);
    put_bool(out, "isLinear", growth.is_linear);
    put_said(out, ladder, ladder_put_growth);
    strbuf_put_char(out, '}');
}

static void put_ladder(struct strbuf *out, const struct rush_ladder *ladder)
{
    put_name(out, "ladder");
    if (ladder->rung_count == 0) {
        strbuf_lit(out, "null");
        return;
    }
    strbuf_put_char(out, '{');
    put_number(out, "machines", (double)ladder->machine_count);
    put_number(out, "products", (double)ladder->product_count);
    put_number(out, "waitSeconds", (double)ladder->wait_s);
    put_number(out, "stockSupplied", (double)ladder->stock_supplied);
    put_number(out, "stockExpected", (double)ladder->stock_expected);
    put_known(out, "stockLeft", ladder->stock_left);
    put_name(out, "levels");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < ladder->rung_count; i++)
        put_rung(out, &ladder->rungs[i]);
    strbuf_put_char(out, ']');
    put_ladder_verdict(out, ladder);
    strbuf_put_char(out, '}');
}

/* --- the marketplace --- */

static void put_market_steps(struct strbuf *out, const struct rush_market_level *level)
{
    put_name(out, "steps");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < RUSH_MARKET_STEPS; i++) {
        begin_item(out);
        put_text(out, "endpoint", market_endpoints[i]);
        put_times(out, "latency", &level->steps[i]);
        strbuf_put_char(out, '}');
    }
    strbuf_put_char(out, ']');
}

static void put_market_level(struct strbuf *out, const struct rush_market_level *level)
{
    begin_item(out);
    put_count(out, "users", level->users);
    put_count(out, "requests", level->request_count);
    put_count(out, "failed", level->failed_count);
    put_count(out, "purchases", level->bought_count);
    put_count(out, "wallets", level->wallet_count);
    put_count(out, "balancesWrong", level->balance_wrong_count);
    put_count(out, "balancesNotTold", level->balance_untold_count);
    put_count(out, "receiptsWrong", level->receipt_wrong_count);
    put_number(out, "stockExpected", (double)level->stock_expected);
    put_known(out, "stockLeft", level->stock_left);
    put_number(out, "wallSeconds", level->seconds);
    put_number(out, "usersPerSecond", rate(level->users, level->seconds));
    put_number(out, "signMicroseconds", level->sign_us);
    put_times(out, "latency", &level->all);
    put_times(out, "userLatency", &level->user);
    put_times(out, "connect", &level->connect);
    put_market_steps(out, level);
    put_rung_errors(out, level->errors, level->error_count);
    put_number(out, "p99LimitMs", level->limit_ns > 0 ? (double)level->limit_ns / NS_PER_MS : NAN);
    put_bool(out, "breaks", market_breaks_at(level));
    strbuf_put_char(out, '}');
}

static void put_market(struct strbuf *out, const struct rush_market *market)
{
    char memory[512];
    struct strbuf text;
    size_t broken = market_breaking_point(market);
    put_name(out, "marketplace");
    if (market->level_count == 0) {
        strbuf_lit(out, "null");
        return;
    }
    strbuf_init(&text, memory, sizeof memory);
    market_put_breaking_point(&text, market);
    strbuf_put_char(out, '{');
    put_number(out, "priceMinor", (double)market->price_minor);
    put_number(out, "stockSupplied", (double)market->stock_supplied);
    put_name(out, "breakingPoint");
    strbuf_put_char(out, '{');
    put_number(out, "users", broken < market->level_count ? (double)market->levels[broken].users : NAN);
    put_name(out, "text");
    strbuf_put_json(out, strbuf_slice(&text));
    strbuf_put_char(out, '}');
    put_name(out, "levels");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < market->level_count; i++)
        put_market_level(out, &market->levels[i]);
    strbuf_lit(out, "]}");
}

void report_put_json(struct strbuf *out, const struct rush_report *reports, size_t count)
{
    strbuf_put_char(out, '{');
    put_count(out, "report", 1);
    put_text(out, "scenario", count > 0 ? reports[0].scenario : "");
    put_count(out, "failedRuns", report_failed_count(reports, count));
    put_name(out, "runs");
    strbuf_put_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        begin_item(out);
        put_text(out, "verdict", rush_verdict_name(reports[i].verdict));
        put_texts(out, "reasons", reports[i].reasons, reports[i].reason_count);
        put_texts(out, "notes", reports[i].notes, reports[i].note_count);
        put_figures(out, &reports[i]);
        put_rows(out, &reports[i]);
        put_checks(out, &reports[i]);
        put_compared(out, &reports[i]);
        put_distribution(out, &reports[i]);
        put_levels(out, &reports[i]);
        put_ladder(out, &reports[i].ladder);
        put_market(out, &reports[i].market);
        put_texts(out, "businessImpact", reports[i].impacts, reports[i].impact_count);
        strbuf_put_char(out, '}');
    }
    strbuf_lit(out, "]}\n");
}
