/* SPDX-License-Identifier: Apache-2.0 */
#include "rush/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { TERMINAL_INTERVAL_S = 1, PLAIN_INTERVAL_S = 5 };

static const double NS_PER_S = 1e9;

void progress_init(struct progress *progress, const struct rush *rush)
{
    *progress = (struct progress){.is_on = rush->options.has_progress,
        .is_terminal = isatty(STDERR_FILENO) == 1,
        .began_ns = clock_mono_ns(),
        .scenario = rush->scenario->name};
    progress->shown_ns = progress->began_ns;
    for (size_t i = 0; i < rush->crowd_count; i++) {
        double end_s = (double)plan_end_ns(&rush->crowds[i].plan) / NS_PER_S;
        progress->planned_s = end_s > progress->planned_s ? end_s : progress->planned_s;
    }
}

void progress_show(struct progress *progress, const struct squad_progress *now)
{
    int64_t now_ns = clock_mono_ns();
    double since_s = (double)(now_ns - progress->shown_ns) / NS_PER_S;
    if (!progress->is_on || since_s < (progress->is_terminal ? TERMINAL_INTERVAL_S : PLAIN_INTERVAL_S))
        return;
    double rate = (double)(now->answered - progress->answered_before) / since_s;
    char text[160];
    int len = snprintf(text, sizeof text, "%s  %.0f s", progress->scenario,
        (double)(now_ns - progress->began_ns) / NS_PER_S);
    if (progress->planned_s >= 1)
        len += snprintf(text + len, sizeof text - (size_t)len, " of %.0f s", progress->planned_s);
    (void)snprintf(text + len, sizeof text - (size_t)len, "  %llu answered  %.0f/s  %llu failed",
        (unsigned long long)now->answered, rate, (unsigned long long)now->failed);
    (void)fprintf(stderr, progress->is_terminal ? "\r\033[K%s" : "%s\n", text); /* nobody may be looking */
    progress->has_line = progress->is_terminal;
    progress->shown_ns = now_ns;
    progress->answered_before = now->answered;
}

void progress_end(struct progress *progress)
{
    if (progress->has_line)
        (void)fputs("\r\033[K", stderr);
    progress->has_line = false;
}
