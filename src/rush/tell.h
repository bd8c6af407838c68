/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What scenarios add to a report beyond outcomes and thresholds: figures beside those of the original's
 * reports, the distribution of the times that requests took, and what a run means for the business. Pure; one
 * thread.
 */
#ifndef DOORBUSTER_RUSH_TELL_H
#define DOORBUSTER_RUSH_TELL_H

#include "rush/scenario.h"

/* Adds a figure; `original` and `expected` are NAN where the original's reports say nothing. There must be
 * room. */
void tell_figure(struct rush_report *report, const char *name, const char *unit, double original,
    double expected, double ours);

/* Percentiles (50 to 100) and mean, least and most of `latency`, in ms, beside the original's; NULL: it has
 * none. */
enum { TELL_PERCENTILE_COUNT = 8 };

struct tell_times {
    double mean_ms;
    double min_ms;
    double percentile_ms[TELL_PERCENTILE_COUNT]; /* 50, 66, 75, 80, 90, 95, 99, 100 */
};

void tell_times(struct rush_report *report, const struct hist *latency, const struct tell_times *original,
    double expected_mean_ms);

/* Which outcomes are good and which are honest refusals; all others are failures. */
struct tell_endings {
    uint32_t good;
    uint32_t refused;
};

/*
 * Adds the distribution: one bar a band of latencies, empty ones at both ends left out. Bands below from_ns
 * are one bar. `original` has a count a band, -1 where there is none to say; NULL: nothing to say at all.
 */
void tell_bars(struct rush_report *report, const struct tally *crowd, struct tell_endings endings,
    int64_t from_ns, const int64_t *original);

/*
 * Adds what the lost orders cost: in the original at its own 1,800 orders an hour, and in this run at the
 * same and at its own rate. lost_share is 0 to 1; original_lost_share NAN: not compared.
 *
 * Who is refused comes again at once and is counted each time, so the share that is lost then says nothing
 * about 1,800 orders an hour; what the server did per second does.
 */
struct tell_loss {
    double original_lost_share;
    uint64_t asked;    /* orders asked for */
    uint64_t lost;     /* of those, neither completed nor accepted nor declined */
    uint64_t refused;  /* of the lost, refused honestly */
    double pace_per_s; /* of those not lost; 0: not known to last, so that the share counts */
    int64_t value;     /* of an order, whole dollars */
};

void tell_loss(struct rush_report *report, const struct tell_loss *loss);

#endif
