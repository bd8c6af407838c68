/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/audit_report.h"

#include <inttypes.h>

#include "base/utf8.h"

enum { NS_PER_MS = 1000 * 1000 };

/* A user chooses his name; it must not move the cursor or break the line. */
static void put_plain(struct strbuf *text, struct slice value)
{
    for (size_t i = 0; i < value.len;) {
        unsigned char c = (unsigned char)value.base[i];
        size_t width = utf8_char_len(slice_make(value.base + i, value.len - i));
        bool is_c1 = c == 0xc2 && width == 2 && (unsigned char)value.base[i + 1] < 0xa0;
        bool is_control = c < 0x20 || c == 0x7f || is_c1;
        if (width == 0 || is_control) {
            strbuf_printf(text, "\\x%02x", c);
            i++;
        } else {
            strbuf_put(text, slice_make(value.base + i, width));
            i += width;
        }
    }
}

static void put_member(struct strbuf *json, const char *name, struct slice value)
{
    strbuf_printf(json, "\"%s\":", name);
    strbuf_put_json(json, value);
}

void audit_report_init(struct audit_report *report, bool is_quiet)
{
    *report = (struct audit_report){.is_quiet = is_quiet};
    strbuf_init_heap(&report->text, REPORT_BYTES_MAX);
    strbuf_init_heap(&report->json, REPORT_BYTES_MAX);
}

void audit_report_fini(struct audit_report *report)
{
    strbuf_fini(&report->text);
    strbuf_fini(&report->json);
}

static void put_journals(
    struct audit_report *report, const struct verify_options *options, const struct journal_counts *counts)
{
    struct strbuf *text = &report->text;
    struct strbuf *json = &report->json;
    strbuf_lit(json, ",\"journals\":[");
    for (size_t i = 0; i < options->journal_count; i++) {
        strbuf_printf(text, "journal  %zu: ", i + 1);
        put_plain(text, slice_cstr(options->journals[i]));
        strbuf_put_char(text, '\n');
        strbuf_put(json, i > 0 ? SLICE(",") : SLICE(""));
        strbuf_put_json(json, slice_cstr(options->journals[i]));
    }
    strbuf_printf(json,
        "],\"answers\":%" PRId64 ",\"acknowledged\":%" PRId64 ",\"refused\":%" PRId64 ",\"unknown\":%" PRId64
        ",\"tornBytes\":%" PRId64,
        counts->lines, counts->acknowledged, counts->refused, counts->unknown, counts->torn_bytes);
    if (options->journal_count == 0)
        return;
    strbuf_printf(text,
        "answers  %" PRId64 ": %" PRId64 " acknowledged, %" PRId64 " refused, %" PRId64 " unknown\n",
        counts->lines, counts->acknowledged, counts->refused, counts->unknown);
    if (counts->torn_bytes > 0)
        strbuf_printf(
            text, "         a torn last line (%" PRId64 " bytes) was left out\n", counts->torn_bytes);
}

void audit_report_sources(struct audit_report *report, const struct verify_options *options,
    const struct snapshot *snapshot, const struct journal_counts *counts)
{
    const char *reading = snapshot_reading_text(snapshot->reading);
    strbuf_lit(&report->json, "{\"verify\":1,");
    put_member(&report->json, "store", slice_cstr(snapshot->name));
    strbuf_printf(&report->json, ",\"schemaVersion\":%" PRId64 ",\"reading\":\"%s\"",
        snapshot->schema_version, reading);
    strbuf_lit(&report->text, "store    ");
    put_plain(&report->text, slice_cstr(snapshot->name));
    strbuf_printf(&report->text, " (schema version %" PRId64 "; %s)\n", snapshot->schema_version, reading);
    put_journals(report, options, counts);
    if (report->is_quiet)
        strbuf_reset(&report->text);
}

static void begin_section(struct audit_report *report)
{
    report->section_start = report->text.len;
    report->section_has_failed = false;
    report->section_has_finding = false;
}

void audit_report_store_section(struct audit_report *report)
{
    begin_section(report);
    strbuf_lit(&report->text, "\nthe whole store\n");
    strbuf_lit(&report->json, ",\"findings\":[");
}

void audit_report_product_section(struct audit_report *report, const struct product_head *head)
{
    struct strbuf *text = &report->text;
    struct strbuf *json = &report->json;
    begin_section(report);
    strbuf_lit(text, "\nproduct ");
    put_plain(text, head->sku);
    strbuf_put(json, report->is_in_products ? SLICE(",{") : SLICE(",\"products\":[{"));
    report->is_in_products = true;
    put_member(json, "sku", head->sku);
    if (head->exists) {
        strbuf_lit(text, ": ");
        put_plain(text, head->state);
        strbuf_put(text, head->end_reason.len > 0 ? SLICE(" by ") : SLICE(""));
        put_plain(text, head->end_reason);
        strbuf_printf(text,
            ", initial stock %" PRId64 ", stock %" PRId64 ", purchases %" PRId64 ", unique users %" PRId64
            "\n",
            head->initial_stock, head->stock, head->purchases, head->buyers);
        strbuf_put_char(json, ',');
        put_member(json, "state", head->state);
        strbuf_printf(json,
            ",\"initialStock\":%" PRId64 ",\"stock\":%" PRId64 ",\"purchases\":%" PRId64
            ",\"uniqueUsers\":%" PRId64,
            head->initial_stock, head->stock, head->purchases, head->buyers);
    } else {
        strbuf_lit(text, ": not in the store\n");
    }
    strbuf_lit(json, ",\"findings\":[");
}

static const char *status_word(enum finding_status status)
{
    switch (status) {
    case FINDING_HOLDS:
        return "PASS";
    case FINDING_VIOLATED:
        return "FAIL";
    case FINDING_UNCHECKED:
        return "UNCHECKED";
    }
    return "";
}

static int64_t named_count(const struct finding *finding)
{
    return finding->witness_count < WITNESS_MAX ? finding->witness_count : WITNESS_MAX;
}

static void put_finding_text(struct strbuf *text, const struct finding *finding)
{
    bool holds = finding->status == FINDING_HOLDS;
    strbuf_printf(text, "  %s  %s: ", holds ? "PASS" : "FAIL", finding->invariant->name);
    put_plain(text, strbuf_slice(&finding->numbers));
    strbuf_put_char(text, '\n');
    if (!holds)
        strbuf_printf(text, "        must hold: %s\n", finding->invariant->statement);
    for (int64_t i = 0; i < named_count(finding); i++) {
        strbuf_lit(text, "        ");
        put_plain(text, strbuf_slice(&finding->witnesses[i].text));
        strbuf_put_char(text, '\n');
    }
    if (finding->witness_count > WITNESS_MAX)
        strbuf_printf(text, "        ... and %" PRId64 " more\n", finding->witness_count - WITNESS_MAX);
    if (finding->is_count_cut)
        strbuf_lit(text, "        ... and perhaps more, which cannot be read\n");
}

static void put_finding_json(struct strbuf *json, const struct finding *finding)
{
    strbuf_put_char(json, '{');
    put_member(json, "invariant", slice_cstr(finding->invariant->name));
    strbuf_put_char(json, ',');
    put_member(json, "statement", slice_cstr(finding->invariant->statement));
    strbuf_put_char(json, ',');
    put_member(json, "source", slice_cstr(finding->invariant->source));
    strbuf_printf(json, ",\"status\":\"%s\",", status_word(finding->status));
    put_member(json, "numbers", strbuf_slice(&finding->numbers));
    strbuf_printf(json, ",\"rowCount\":%" PRId64 ",\"rows\":[", finding->witness_count);
    for (int64_t i = 0; i < named_count(finding); i++) {
        strbuf_printf(json, "%s{\"id\":%" PRId64 ",", i > 0 ? "," : "", finding->witnesses[i].id);
        put_member(json, "text", strbuf_slice(&finding->witnesses[i].text));
        strbuf_put_char(json, '}');
    }
    strbuf_lit(json, "]}");
}

void audit_report_finding(struct audit_report *report, const struct finding *finding)
{
    bool holds = finding->status == FINDING_HOLDS;
    if (!holds)
        report->section_has_failed = true;
    if (!holds || !report->is_quiet)
        put_finding_text(&report->text, finding);
    strbuf_put(&report->json, report->section_has_finding ? SLICE(",") : SLICE(""));
    put_finding_json(&report->json, finding);
    report->section_has_finding = true;
}

void audit_report_section_end(struct audit_report *report)
{
    if (report->is_quiet && !report->section_has_failed)
        report->text.len = report->section_start;
    strbuf_put(&report->json, report->is_in_products ? SLICE("]}") : SLICE("]"));
}

static void put_count(struct strbuf *text, const char *before, int64_t count, const char *noun)
{
    strbuf_printf(text, "%s%" PRId64 " %s%s", before, count, noun, count == 1 ? "" : "s");
}

static void put_scope(struct strbuf *text, const struct verify_summary *summary)
{
    put_count(text, " on ", summary->products, "product");
    put_count(text, " with ", summary->purchases, "purchase");
    if (summary->orders > 0)
        put_count(text, ", ", summary->orders, "order");
    if (summary->trading_orders > 0)
        put_count(text, ", ", summary->trading_orders, "trading order");
    if (summary->leases > 0)
        put_count(text, ", ", summary->leases, "lease");
    if (summary->transfers > 0)
        put_count(text, ", ", summary->transfers, "transfer");
}

void audit_report_verdict(struct audit_report *report, const struct verify_summary *summary)
{
    struct strbuf *json = &report->json;
    int64_t failed = summary->violated + summary->unchecked;
    double ms = (double)summary->duration_ns / NS_PER_MS;
    strbuf_put(json, report->is_in_products ? SLICE("]") : SLICE(",\"products\":[]"));
    strbuf_printf(json,
        ",\"checks\":%" PRId64 ",\"violated\":%" PRId64 ",\"unchecked\":%" PRId64 ",\"purchases\":%" PRId64
        ",\"orders\":%" PRId64 ",\"tradingOrders\":%" PRId64 ",\"leases\":%" PRId64 ",\"transfers\":%" PRId64
        ",\"durationMs\":%.3f,\"verdict\":\"%s\"}\n",
        summary->checks, summary->violated, summary->unchecked, summary->purchases, summary->orders,
        summary->trading_orders, summary->leases, summary->transfers, ms, failed == 0 ? "PASS" : "FAIL");
    if (report->is_quiet && failed == 0)
        return;
    if (failed == 0)
        strbuf_printf(&report->text, "\nALL INVARIANTS HOLD: %" PRId64 " checks", summary->checks);
    else
        strbuf_printf(&report->text, "\nINVARIANTS VIOLATED: %" PRId64 " of %" PRId64 " checks failed",
            failed, summary->checks);
    put_scope(&report->text, summary);
    strbuf_printf(&report->text, ", in %.1f ms\n", ms);
}
