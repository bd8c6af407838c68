/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/tally.h"

#include <stdlib.h>

#include "base/ensure.h"

void tally_init(struct tally *tally)
{
    memset(tally, 0, sizeof *tally);
    hist_init(&tally->connect);
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
    hist_merge(&tally->connect, &from->connect);
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

void tally_duration(const struct tally *tally, unsigned endpoint, struct hist *hist)
{
    for (unsigned i = 0; i < ENDPOINTS_MAX; i++)
        if ((endpoint == ENDPOINTS_MAX || endpoint == i) && tally->duration[i] != NULL)
            hist_merge(hist, tally->duration[i]);
}
