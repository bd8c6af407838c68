/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person sees while a run goes on: on a terminal one line on standard error that changes once a
 * second, elsewhere a line every five seconds. One thread.
 */
#ifndef DOORBUSTER_RUSH_PROGRESS_H
#define DOORBUSTER_RUSH_PROGRESS_H

#include "rush/squad.h"

struct progress {
    bool is_on;
    bool is_terminal;
    bool has_line; /* there is a line to be wiped */
    int64_t began_ns;
    int64_t shown_ns;
    uint64_t answered_before;
    double planned_s; /* 0: it depends on the server */
    const char *scenario;
};

void progress_init(struct progress *progress, const struct rush *rush);

/* Shows when it is time to. */
void progress_show(struct progress *progress, const struct squad_progress *now);

/* Wipes the line. */
void progress_end(struct progress *progress);

#endif
