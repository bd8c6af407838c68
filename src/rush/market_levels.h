/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be said of a marketplace with ever more users: what each level must keep, at which one it
 * breaks, and why. Pure; one thread.
 *
 * A level breaks when a request was not answered as hoped for, or when the 99th percentile of its requests is
 * above MARKET_BREAK_MS.
 */
#ifndef DOORBUSTER_RUSH_MARKET_LEVELS_H
#define DOORBUSTER_RUSH_MARKET_LEVELS_H

#include "rush/scenario.h"

enum { MARKET_BREAK_MS = 2000 };

/* For the 99th percentile of all requests of so many users: 50 ms up to 10, 200 ms up to 100, 2 s up to
 * 1,000; 0 above: nothing is asked. */
int64_t market_limit_ns(uint64_t users);

bool market_breaks_at(const struct rush_market_level *level);

/* The first level that breaks; level_count: none does. */
size_t market_breaking_point(const struct rush_market *market);

/* Where and why it breaks, or that it does not; a sentence without a line's end. */
void market_put_breaking_point(struct strbuf *out, const struct rush_market *market);

/* The wallets of a level with more or less in them than was acknowledged, or that do not tell. */
uint64_t market_level_off_count(const struct rush_market_level *level);

/* Adds what must hold as invariants of the run. */
void market_levels_judge(const struct rush_market *market, struct rush *rush);

#endif
