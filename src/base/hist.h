/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Histogram of durations: 64 linear steps in every power of two, so a value is known to 1.6 % from 1 ns to
 * beyond an hour, in constant memory. Adding costs a few instructions and no lock; one thread writes, and
 * histograms of several threads are merged afterwards.
 */
#ifndef DOORBUSTER_BASE_HIST_H
#define DOORBUSTER_BASE_HIST_H

#include <stdint.h>

enum { HIST_STEPS_BITS = 6, HIST_BUCKET_COUNT = (65 - HIST_STEPS_BITS) << HIST_STEPS_BITS };

struct hist {
    uint64_t buckets[HIST_BUCKET_COUNT];
    uint64_t count;
    uint64_t min_ns;
    uint64_t max_ns;
    double sum_ns;
};

void hist_init(struct hist *hist);

void hist_add(struct hist *hist, uint64_t duration_ns);

/* Adds everything of `from`. */
void hist_merge(struct hist *hist, const struct hist *from);

/* The duration that `percent` (0 to 100) of the values do not exceed: an upper bound, never above the largest
 * value seen; 0 when empty. */
uint64_t hist_percentile_ns(const struct hist *hist, double percent);

/* 0 when empty. */
uint64_t hist_mean_ns(const struct hist *hist);

#endif
