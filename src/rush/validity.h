/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a run says something about the server, or only about the generator. A result is invalid when
 *
 *   - the generator ran out of sockets, ports or memory (outcome generator_failed);
 *   - an open loop's generator began sessions late though a connection was free: 99 % of them must begin at
 * most 10 ms late (waiting for a free connection is the server's doing and part of the latency, not of this);
 *   - closed-loop users with an interval, or who think, came late: 99 % of them by at most a tenth of the
 * interval, or of the longest time they think;
 *   - a burst was none: the last user started later than 250 ms, or 100 us a user if that is more, after the
 * first was to;
 *   - outside bursts, the generator's busiest thread ran or waited for a core for more than 95 % of the
 * measured time: then it was the generator, or the machine that it shares, that set the pace. A scenario that
 * is made to saturate gets a note instead: its figure is a lower bound of what the server can do.
 *
 * Pure; any thread.
 */
#ifndef DOORBUSTER_RUSH_VALIDITY_H
#define DOORBUSTER_RUSH_VALIDITY_H

#include "rush/scenario.h"

/* How late the generator was at the percentile that counts, beside what is allowed. */
struct validity_lag {
    int64_t lag_ns;
    int64_t max_ns; /* 0: as late as it likes */
    double percent;
};

/* Of one round: its crowds are rush->crowds, what they met is `crowd`. */
struct validity_lag validity_lag_of(const struct rush *rush, const struct tally *crowd);

/* The one of two that speaks more against the run. */
struct validity_lag validity_lag_worse(struct validity_lag a, struct validity_lag b);

struct validity_input {
    const struct tally *crowd;
    double busy; /* of the busiest thread, 0 to 1 */
    int last_errno;
    struct validity_lag lag; /* of the worst round */
};

/* Adds reasons and notes to the report; true when the result is valid. */
bool validity_judge(const struct rush *rush, const struct validity_input *input, struct rush_report *report);

/* Adds a printf-like reason or note; dropped when there are RUSH_NOTES_MAX already. */
void report_add_reason(struct rush_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void report_add_note(struct rush_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
