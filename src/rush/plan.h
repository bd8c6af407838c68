/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a crowd's requests are sent. A plan is pure arithmetic over times counted from the start of the run;
 * who follows it reads the clock. A *session* is what a virtual user does in one go (for most scenarios one
 * request).
 *
 *   burst   every user starts at the same moment and does its sessions one after the other
 *   closed  so many users at a time, each starts its next session when the earlier one is over, or at its
 * next turn when there is an interval, or when it has thought for a while; their number may rise and fall in
 * straight lines (stages) open
 * sessions begin at a fixed rate whatever the server does, over a pool of connections; the latency of each
 * counts from the moment it should have begun, so a server that stalls is not spared the crowd that would
 * have come meanwhile
 *
 * Any thread; nothing here has state.
 */
#ifndef DOORBUSTER_RUSH_PLAN_H
#define DOORBUSTER_RUSH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum plan_kind { PLAN_BURST, PLAN_CLOSED, PLAN_OPEN };

enum { PLAN_STAGES_MAX = 4 };

struct plan_stage {
    int64_t duration_ns;
    uint64_t users; /* how many there are at its end; they change in a straight line */
};

struct plan {
    enum plan_kind kind;
    int64_t begin_ns;
    uint64_t vu_count;        /* burst: users; closed: most users at a time; open: connections in the pool */
    uint64_t sessions_per_vu; /* burst */
    uint64_t users_first;     /* closed: users when the first stage begins */
    struct plan_stage stages[PLAN_STAGES_MAX];
    size_t stage_count;
    int64_t interval_ns;  /* closed: a session a user in this time; 0: at once */
    int64_t think_min_ns; /* closed: between an answer and the next session passes a time drawn evenly from */
    int64_t think_max_ns; /* these; 0: none */
    double rate;          /* open: sessions a second */
    uint64_t session_count; /* open: how many in all */
};

struct plan plan_burst(int64_t begin_ns, uint64_t users, uint64_t sessions_per_user);

/* The same number of users all the time. */
struct plan plan_closed(int64_t begin_ns, int64_t duration_ns, uint64_t users, int64_t interval_ns);

/* From no user to `users` in up_ns, as many for hold_ns, and back to none in down_ns. */
struct plan plan_ramp(
    int64_t begin_ns, int64_t up_ns, int64_t hold_ns, int64_t down_ns, uint64_t users, int64_t interval_ns);

/* One user at once, then so many new ones a second until there are `users` or the time is over; each thinks
 * between its sessions. per_second > 0, users > 0. */
struct plan plan_spawn(int64_t begin_ns, int64_t duration_ns, uint64_t users, double per_second,
    int64_t think_min_ns, int64_t think_max_ns);

/* rate > 0. */
struct plan plan_open(int64_t begin_ns, double rate, uint64_t connections, uint64_t session_count);

/* When virtual user `vu` (from 0) is there. Burst users stay until they are through: until_ns is INT64_MAX.
 */
void plan_vu_window(const struct plan *plan, uint64_t vu, int64_t *from_ns, int64_t *until_ns);

/* Closed: when a user begins its next session, given when the last one was due and when it was over; `draw`
 * is the random number that says how long it thinks. */
int64_t plan_next_ns(const struct plan *plan, int64_t due_ns, int64_t over_ns, uint64_t draw);

/* A number that looks random and is the same in every run: the index-th of its series. */
uint64_t plan_draw(uint64_t series, uint64_t index);

/* Open: when session `index` (from 0) is to begin. */
int64_t plan_arrival_ns(const struct plan *plan, uint64_t index);

/* When the last session is to begin (open), the last user leaves (closed), or everybody starts (burst). */
int64_t plan_end_ns(const struct plan *plan);

/* How many sessions there will be; 0 when that depends on the server. */
uint64_t plan_session_count(const struct plan *plan);

#endif
