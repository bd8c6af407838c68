/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be said of a ladder: whether the stock adds up, at which level it breaks and how, and how its
 * latency grows with the users. Pure; one thread.
 *
 * A level breaks when a request was not answered in time, a connection failed, an answer came that the
 * contract does not know, or the 99th percentile of its users is above the limit. A run fails by the same,
 * except that limits count only up to LADDER_ASKED_USERS_MAX users; and when stock left is not what was
 * supplied less what was acknowledged. A user who waits in the line (--wait) has no limit.
 */
#ifndef DOORBUSTER_RUSH_LADDER_H
#define DOORBUSTER_RUSH_LADDER_H

#include "rush/scenario.h"

enum { LADDER_ASKED_USERS_MAX = 5000, LADDER_GROWTH_USERS_MIN = 100 };

/* For the 99th percentile of so many users: 250 ms up to 1,000, 1 s up to 5,000, and above in proportion. */
int64_t ladder_limit_ns(uint64_t users);

bool ladder_breaks_at(const struct rush_rung *rung);

/* The first level that breaks; rung_count: none does. */
size_t ladder_breaking_point(const struct rush_ladder *ladder);

/* The first level behind `broken` that does not break; rung_count: none. */
size_t ladder_comeback(const struct rush_ladder *ladder, size_t broken);

/* "2500 requests timed out, p99 30482 ms is above 1000 ms"; nothing for a level that holds. */
void ladder_put_reason(struct strbuf *out, const struct rush_rung *rung);

/* Where and how it breaks, or that it does not; sentences without a line's end. */
void ladder_put_breaking_point(struct strbuf *out, const struct rush_ladder *ladder);

/*
 * Latency grows no faster than linearly when the 99th percentile of no level is above what the smallest one
 * of at least LADDER_GROWTH_USERS_MIN users has per user: 1.25 times of it, because a level is a sample, and
 * 20 ms besides, because a busy machine may withhold a core from either side for as long.
 */
struct ladder_growth {
    bool is_judged; /* false: no two such levels, or users waited in the line */
    bool is_linear;
    uint64_t users;       /* of that level */
    int64_t p99_ns;       /* its 99th percentile */
    uint64_t worst_users; /* the larger level that is nearest to what it may be, or farthest above it */
    int64_t worst_p99_ns;
    int64_t worst_limit_ns; /* what it may be */
};

struct ladder_growth ladder_growth(const struct rush_ladder *ladder);
void ladder_put_growth(struct strbuf *out, const struct rush_ladder *ladder);

/* The 99th percentile that the original's report has for so many users, in ms; NAN: none. */
double ladder_original_p99_ms(uint64_t users);

/* Adds what must hold as invariants of the run. */
void ladder_judge(const struct rush_ladder *ladder, struct rush *rush);

#endif
