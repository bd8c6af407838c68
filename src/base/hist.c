/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hist.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum { STEPS = 1 << HIST_STEPS_BITS };

void hist_init(struct hist *hist)
{
    memset(hist, 0, sizeof *hist);
    hist->min_ns = UINT64_MAX;
}

/* Values below STEPS have a bucket each; above, the top HIST_STEPS_BITS + 1 bits name the bucket. */
static size_t bucket_index(uint64_t value)
{
    if (value < STEPS)
        return (size_t)value;
    unsigned top_bit = 63 - (unsigned)__builtin_clzll(value);
    unsigned shift = top_bit - HIST_STEPS_BITS;
    return ((size_t)shift << HIST_STEPS_BITS) + (size_t)(value >> shift);
}

/* The largest value that falls into the bucket; for the last one the shift overflows to 0, which is right. */
static uint64_t bucket_upper(size_t index)
{
    if (index < STEPS)
        return index;
    unsigned shift = (unsigned)(index >> HIST_STEPS_BITS) - 1;
    uint64_t step = (index & (STEPS - 1)) + STEPS;
    return ((step + 1) << shift) - 1;
}

void hist_add(struct hist *hist, uint64_t duration_ns)
{
    hist->buckets[bucket_index(duration_ns)]++;
    hist->count++;
    hist->sum_ns += (double)duration_ns;
    if (duration_ns < hist->min_ns)
        hist->min_ns = duration_ns;
    if (duration_ns > hist->max_ns)
        hist->max_ns = duration_ns;
}

void hist_merge(struct hist *hist, const struct hist *from)
{
    for (size_t i = 0; i < HIST_BUCKET_COUNT; i++)
        hist->buckets[i] += from->buckets[i];
    hist->count += from->count;
    hist->sum_ns += from->sum_ns;
    if (from->min_ns < hist->min_ns)
        hist->min_ns = from->min_ns;
    if (from->max_ns > hist->max_ns)
        hist->max_ns = from->max_ns;
}

uint64_t hist_percentile_ns(const struct hist *hist, double percent)
{
    if (hist->count == 0)
        return 0;
    /* In this order: 99.9 / 100 * 1000 is a little more than 999 in binary, and would make rank 1000. */
    uint64_t rank = (uint64_t)ceil(percent * (double)hist->count / 100.0);
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_BUCKET_COUNT; i++) {
        seen += hist->buckets[i];
        if (seen >= rank && hist->buckets[i] > 0) {
            uint64_t upper = bucket_upper(i);
            return upper < hist->max_ns ? upper : hist->max_ns;
        }
    }
    return hist->max_ns;
}

uint64_t hist_mean_ns(const struct hist *hist)
{
    return hist->count == 0 ? 0 : (uint64_t)(hist->sum_ns / (double)hist->count);
}
