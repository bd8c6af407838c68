/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run's report as text for people, as Markdown, and as JSON. One thread.
 *
 * The JSON (format 1) is one object:
 *   "report": 1, "scenario", "failedRuns", "runs": [ one object a run:
 *     "verdict": "PASSED", "FAILED", "INVALID" (the generator was the bottleneck) or "INCOMPLETE";
 *     "reasons", "notes": [texts];  "url", "sku", "plan": texts;  "began": ISO 8601
 *     "seconds", "requests", "requestsPerSecond", "setupRequests", "unsent": what was measured
 *     "generator": {"threads", "busy" (0 to 1), "cpuMicrosecondsPerRequest", "lag": TIMES, "connect": TIMES}
 *     "outcomes": [{"endpoint", "outcome", "meaning", "share" (0 to 1), "latency": TIMES}]
 *     "endpoints": [{"endpoint", "latency": TIMES, "duration": TIMES}]; the last, "all", includes set-up
 *     "thresholds": [{"threshold", "name", "limit", "measured" (null: nothing to measure), "passed"}]; counts
 * as they are, shares 0 to 1, latencies in ms
 *     "invariants": [{"invariant", "passed"}]
 *
 * and, of scenarios of orders, empty for others:
 *
 *     "figures": [{"figure", "unit", "original", "expected", "here"}]; null: no such figure
 *     "distribution": [{"fromMs", "untilMs" (null: no end), "good", "refused", "failed", "original"}]
 *     "levels": [{"clients", "orders", "errors", "ordersPerSecond", "ordersPerSecondAndClient", "stdevMs",
 *
 * "latency": TIMES, "predictedPerSecond", "originalPerSecond", "generatorBusy" (0 to 1)}]
 *
 *     "businessImpact": [texts]
 *
 * and, of the ladder, null for others:
 *
 *     "ladder": {"machines", "products", "stockSupplied", "stockExpected": counts
 *       "waitSeconds": 0 when there was no line
 *       "stockLeft": null when the server did not tell, here and in levels
 *       "breakingPoint": {"users", "cameBackAt", "text"}: users null when it does not break; cameBackAt are
 *         the users of the first later level that held, null when there is none
 *       "growth": {"isJudged", "isLinear", "text"}
 *       "levels": [{"users", "requests", "purchases", "stockExpected", "stockLeft": counts
 *         "wallSeconds", "usersPerSecond", "requestsPerSecond", "purchasesPerSecond"
 *         "startWork": {"ok", "conflict", "full"}, "chooseProduct": {"ok", "unprocessable"}
 *         "timeouts", "connectionErrors", "others"; "errors": [{"endpoint", "kind", "count"}]
 *         "latency" (of whole users), "startWorkLatency", "chooseProductLatency", "connect": TIMES
 *         "p99LimitMs" (null: none), "isLimitJudged", "originalP99Ms" (null: none), "breaks"}]}
 *
 * and, of the marketplace, null for others:
 *
 *     "marketplace": {"priceMinor" (hundredths), "stockSupplied"
 *       "breakingPoint": {"users" (null: it does not break), "text"}
 *       "levels": [{"users", "requests", "failed", "purchases", "balancesWrong", "balancesNotTold",
 *         "receiptsWrong", "stockExpected": counts; "stockLeft" (null: not told)
 *         "wallSeconds", "usersPerSecond", "signMicroseconds" (CPU time of signing a challenge)
 *         "latency" (every request), "userLatency" (the whole way), "connect": TIMES
 *         "steps": [{"endpoint", "latency": TIMES}]; "errors": [{"endpoint", "kind", "count"}]
 *         "p99LimitMs" (null: none), "breaks"}]}
 *
 * TIMES = {"count", "meanMs", "minMs", "maxMs", "percentilesMs": {"50": …, "75", "90", "95", "99", "99.9",
 * "99.99"}}
 *
 * "latency" counts from the moment a request should have started, "duration" from its first byte sent.
 */
#ifndef DOORBUSTER_RUSH_REPORT_H
#define DOORBUSTER_RUSH_REPORT_H

#include "base/strbuf.h"
#include "rush/rush.h"

enum report_format { REPORT_TEXT, REPORT_MARKDOWN, REPORT_JSON };

/* By the ending of the file's name: .md or .json. ERR_USAGE for any other. */
MUST_CHECK enum err report_format_of(const char *path, enum report_format *format, struct error *error);

void report_put_text(struct strbuf *out, const struct rush_report *report);

/* All runs of one scenario in one of the formats; text adds a table of the runs when there are several. */
void report_put(
    struct strbuf *out, enum report_format format, const struct rush_report *reports, size_t count);

/* A line a run, then the sum. */
void report_put_runs(struct strbuf *out, const struct rush_report *reports, size_t count);

/* Runs whose verdict is not PASSED. */
size_t report_failed_count(const struct rush_report *reports, size_t count);

/* Writes the file as its name says. ERR_USAGE, ERR_IO. */
MUST_CHECK enum err report_write(
    const char *path, const struct rush_report *reports, size_t count, struct error *error);

/* For the files that write one format each. */
enum { PERCENTILE_50 = 0, PERCENTILE_95 = 3, PERCENTILE_99 = 4 };
void report_put_tables(struct strbuf *out, bool is_markdown, const struct rush_report *report);
void report_put_ladder(struct strbuf *out, bool is_markdown, const struct rush_ladder *ladder);
void report_put_market(struct strbuf *out, bool is_markdown, const struct rush_market *market);
void report_put_json(struct strbuf *out, const struct rush_report *reports, size_t count);

#endif
