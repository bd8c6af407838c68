/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a run's figures for it to pass. A threshold that finds nothing to measure fails. Pure.
 */
#ifndef DOORBUSTER_RUSH_THRESHOLD_H
#define DOORBUSTER_RUSH_THRESHOLD_H

#include "base/strbuf.h"
#include "rush/tally.h"

enum metric {
    METRIC_COUNT,        /* requests with an outcome of the set */
    METRIC_SHARE,        /* the same as a share (0 to 1) of those with an outcome of `of_outcomes` */
    METRIC_FAILED_SHARE, /* requests without a status from 200 to 399 as a share of all; set-up included */
    METRIC_LATENCY,      /* a percentile of all latencies in ms; set-up included */
    METRIC_CROWD_LATENCY /* the same of the crowd's requests with an outcome of the set, without set-up */
};

enum compare { COMPARE_EQUAL, COMPARE_BELOW, COMPARE_ABOVE };

struct threshold {
    const char *name; /* the counter's name, for instance "purchase_success" */
    enum metric metric;
    uint32_t outcomes;
    uint32_t of_outcomes;
    double percent; /* METRIC_LATENCY, METRIC_CROWD_LATENCY */
    enum compare compare;
    double limit;
};

struct threshold_result {
    struct threshold threshold;
    double measured;
    bool has_measured; /* false: there was nothing to measure */
    bool is_met;
};

/* Figures of one run: those of the crowd and those of set-up and tear-down. */
struct figures {
    const struct tally *crowd;
    const struct hist *admin_latency;
    uint64_t admin_failed_count;
};

struct threshold_result threshold_check(const struct threshold *threshold, const struct figures *figures);

/* "http_req_duration p(95) < 1000 ms", and the measured value "105.0 ms", as people read them. */
void threshold_put(struct strbuf *out, const struct threshold *threshold);
void threshold_put_measured(struct strbuf *out, const struct threshold_result *result);

#endif
