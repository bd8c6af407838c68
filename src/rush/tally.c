/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/tally.h"

#include <stdlib.h>

#include "base/ensure.h"

#define MS INT64_C(1000000)
#define S INT64_C(1000000000)

const int64_t band_edges_ns[BANDS_MAX - 1] = {1 * MS, 2 * MS, 5 * MS, 10 * MS, 20 * MS, 50 * MS, 100 * MS,
    200 * MS, 500 * MS, 1 * S, 2 * S, 3 * S, 4 * S, 5 * S, 6 * S, 7 * S, 8 * S, 9 * S, 10 * S};

void tally_init(struct tally *tally)
{
    memset(tally, 0, sizeof *tally);
    hist_init(&tally->connect);
    hist_init(&tally->session);
    hist_init(&tally->lag);
}

void tally_fini(struct tally *tally)
{
    for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
        for (size_t j = 0; j < OUTCOMES_MAX; j++)
            free(tally->latency[i][j]);
        free(tally->duration[i]);
    }
    memset(tally, 0, sizeof *tally);
}

static size_t band_of(uint64_t latency_ns)
{
    size_t band = 0;
    while (band < BANDS_MAX - 1 && latency_ns >= (uint64_t)band_edges_ns[band])
        band++;
    return band;
}

/* A generator without memory for its figures has nothing to report, so it stops. */
static struct hist *get_hist(struct hist **hist)
{
    if (*hist == NULL) {
        *hist = malloc(sizeof **hist);
        ENSURE(*hist != NULL);
        hist_init(*hist);
    }
    return *hist;
}

void tally_add(struct tally *tally, const struct sample *sample)
{
    ENSURE(sample->endpoint < ENDPOINTS_MAX && sample->outcome < OUTCOMES_MAX);
    hist_add(get_hist(&tally->latency[sample->endpoint][sample->outcome]), sample->latency_ns);
    hist_add(get_hist(&tally->duration[sample->endpoint]), sample->duration_ns);
    tally->bands[sample->outcome][band_of(sample->latency_ns)]++;
    tally->failed_count += sample->is_failed;
}

static void merge_hist(struct hist **hist, const struct hist *from)
{
    if (from != NULL)
        hist_merge(get_hist(hist), from);
}

void tally_merge(struct tally *tally, const struct tally *from)
{
    for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
        for (size_t j = 0; j < OUTCOMES_MAX; j++)
            merge_hist(&tally->latency[i][j], from->latency[i][j]);
        merge_hist(&tally->duration[i], from->duration[i]);
    }
    for (size_t j = 0; j < OUTCOMES_MAX; j++)
        tally->all_counts[j] += from->all_counts[j];
    for (size_t j = 0; j < OUTCOMES_MAX; j++)
        for (size_t k = 0; k < BANDS_MAX; k++)
            tally->bands[j][k] += from->bands[j][k];
    hist_merge(&tally->connect, &from->connect);
    hist_merge(&tally->session, &from->session);
    hist_merge(&tally->lag, &from->lag);
    tally->failed_count += from->failed_count;
    tally->starved_count += from->starved_count;
    tally->unsent_count += from->unsent_count;
}

uint64_t tally_count(const struct tally *tally, uint32_t outcomes)
{
    uint64_t count = 0;
    for (size_t i = 0; i < ENDPOINTS_MAX; i++)
        for (size_t j = 0; j < OUTCOMES_MAX; j++)
            if ((outcomes & OUTCOME_BIT(j)) != 0 && tally->latency[i][j] != NULL)
                count += tally->latency[i][j]->count;
    return count;
}

uint64_t tally_count_band(const struct tally *tally, uint32_t outcomes, size_t band)
{
    uint64_t count = 0;
    for (size_t j = 0; j < OUTCOMES_MAX; j++)
        if ((outcomes & OUTCOME_BIT(j)) != 0)
            count += tally->bands[j][band];
    return count;
}

uint64_t tally_count_all(const struct tally *tally, uint32_t outcomes)
{
    uint64_t count = 0;
    for (size_t j = 0; j < OUTCOMES_MAX; j++)
        if ((outcomes & OUTCOME_BIT(j)) != 0)
            count += tally->all_counts[j];
    return count;
}

void tally_latency(const struct tally *tally, unsigned endpoint, struct hist *hist)
{
    for (unsigned i = 0; i < ENDPOINTS_MAX; i++)
        for (size_t j = 0; j < OUTCOMES_MAX; j++)
            if ((endpoint == ENDPOINTS_MAX || endpoint == i) && tally->latency[i][j] != NULL)
                hist_merge(hist, tally->latency[i][j]);
}

void tally_outcome_latency(const struct tally *tally, uint32_t outcomes, struct hist *hist)
{
    for (unsigned i = 0; i < ENDPOINTS_MAX; i++)
        for (size_t j = 0; j < OUTCOMES_MAX; j++)
            if ((outcomes & OUTCOME_BIT(j)) != 0 && tally->latency[i][j] != NULL)
                hist_merge(hist, tally->latency[i][j]);
}

void tally_duration(const struct tally *tally, unsigned endpoint, struct hist *hist)
{
    for (unsigned i = 0; i < ENDPOINTS_MAX; i++)
        if ((endpoint == ENDPOINTS_MAX || endpoint == i) && tally->duration[i] != NULL)
            hist_merge(hist, tally->duration[i]);
}
