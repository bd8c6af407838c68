/* SPDX-License-Identifier: Apache-2.0 */
/* The report as JSON; report.h documents the format. */
#include "base/clock.h"
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

static void put_number(struct strbuf *out, const char *name, double value)
{
    put_name(out, name);
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
        strbuf_put_char(out, '}');
    }
    strbuf_lit(out, "]}\n");
}
