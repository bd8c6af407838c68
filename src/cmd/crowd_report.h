/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `doorbuster rush --report FILE.json` wrote of one run (format 1, rush/report.h), for a demo that tells
 * some of it. Main thread.
 */
#ifndef DOORBUSTER_CMD_CROWD_REPORT_H
#define DOORBUSTER_CMD_CROWD_REPORT_H

#include "base/err.h"
#include "net/json.h"

struct crowd_report {
    struct json *whole;     /* NULL: nothing was read; all questions are answered with NAN or false */
    const struct json *run; /* the first one */
};

/* ERR_IO: it is not there, or no such report. crowd_report_fini after a failure too. */
MUST_CHECK enum err crowd_report_read(struct crowd_report *report, const char *path, struct error *error);
void crowd_report_fini(struct crowd_report *report);

/* A figure of this run by its name in the report; NAN: there is none. */
double crowd_report_here(const struct crowd_report *report, const char *figure);

/* The median of the answers with this outcome, in ms; NAN: there were none. */
double crowd_report_median_ms(const struct crowd_report *report, const char *outcome);

/* Every invariant held, and there was one. */
bool crowd_report_holds(const struct crowd_report *report);

/* Prints a table of some figures, the original's beside this run's. Names end with NULL. */
void crowd_report_show(const struct crowd_report *report, const char *const *figures);

#endif
