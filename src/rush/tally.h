/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a crowd met: how many requests of each endpoint ended with each outcome, and how long they took. One
 * tally a thread, written by that thread alone; merged when all have ended. Memory for a histogram is taken
 * at the first request of its kind.
 */
#ifndef DOORBUSTER_RUSH_TALLY_H
#define DOORBUSTER_RUSH_TALLY_H

#include "base/hist.h"
#include "base/slice.h"

/* Outcomes every scenario shares: the request got no answer. A scenario's own outcomes are numbered from
 * OUTCOME_COMMON_COUNT on. */
enum {
    OUTCOME_TIMEOUT,
    OUTCOME_LOST,
    OUTCOME_CONNECT,
    OUTCOME_MALFORMED,
    OUTCOME_LOCAL,
    OUTCOME_CUT_SHORT,
    OUTCOME_COMMON_COUNT
};

enum { OUTCOMES_MAX = 32, ENDPOINTS_MAX = 8 };

/* Latencies are also counted exactly between these edges: a histogram knows them to 1.6 %, so it cannot tell
 * 2.99 s from 3.01 s. */
enum { BANDS_MAX = 20 };
extern const int64_t band_edges_ns[BANDS_MAX - 1]; /* band n begins at edge n - 1; the first at 0 */

/* A set of outcomes: bit n stands for outcome n. */
#define OUTCOME_BIT(outcome) (UINT32_C(1) << (outcome))
#define OUTCOMES_UNANSWERED (OUTCOME_BIT(OUTCOME_COMMON_COUNT) - 1)

struct sample {
    unsigned endpoint;
    unsigned outcome;
    bool is_failed;       /* the status was not 200 to 399, or there was no answer */
    uint64_t latency_ns;  /* from the moment the request should have started to its last byte */
    uint64_t duration_ns; /* from its first byte sent: what most tools report */
};

struct tally {
    struct hist *latency[ENDPOINTS_MAX][OUTCOMES_MAX];
    struct hist *duration[ENDPOINTS_MAX];
    struct hist connect; /* fresh connections: until they stood */
    struct hist session; /* stepwise crowds: whole sessions, from when each should have started */
    struct hist
        lag; /* how much later than intended the generator itself was, when it had a free connection */
    uint64_t failed_count;
    uint64_t starved_count;            /* open loop: sessions that waited for a connection */
    uint64_t unsent_count;             /* open loop: sessions that never began */
    uint64_t all_counts[OUTCOMES_MAX]; /* warm-up included */
    uint64_t bands[OUTCOMES_MAX][BANDS_MAX];
};

/* tally_fini gives the memory back. */
void tally_init(struct tally *tally);
void tally_fini(struct tally *tally);

/* Adds one measured request. */
void tally_add(struct tally *tally, const struct sample *sample);

/* Adds everything of `from`. */
void tally_merge(struct tally *tally, const struct tally *from);

/* Measured requests with an outcome of the set, of all endpoints. */
uint64_t tally_count(const struct tally *tally, uint32_t outcomes);

/* The same of one band of latencies. */
uint64_t tally_count_band(const struct tally *tally, uint32_t outcomes, size_t band);

/* All of the set, warm-up included. */
uint64_t tally_count_all(const struct tally *tally, uint32_t outcomes);

/* Adds the latencies of one endpoint, or of all for ENDPOINTS_MAX, to *hist. */
void tally_latency(const struct tally *tally, unsigned endpoint, struct hist *hist);

/* The same of requests with an outcome of the set, of all endpoints. */
void tally_outcome_latency(const struct tally *tally, uint32_t outcomes, struct hist *hist);
void tally_duration(const struct tally *tally, unsigned endpoint, struct hist *hist);

#endif
