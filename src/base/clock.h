/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two clocks, and how a time is written. Only the edges of the program read a clock; the rules in core/
 * get the time as an argument. Any thread; nothing blocks.
 */
#ifndef DOORBUSTER_BASE_CLOCK_H
#define DOORBUSTER_BASE_CLOCK_H

#include "base/slice.h"

/* Nanoseconds of CLOCK_MONOTONIC: for durations and deadlines. */
int64_t clock_mono_ns(void);

/* Milliseconds since 1970-01-01 UTC: for times that people see. */
int64_t clock_wall_ms(void);

/*
 * The wall clock as it was at the first call, carried on by the monotonic one: nobody can set it. Until the
 * wall clock is set the two are the same. Milliseconds since 1970-01-01 UTC.
 */
int64_t clock_steady_ms(void);

/* The same, in nanoseconds, at an instant of clock_mono_ns. */
int64_t clock_steady_ns(int64_t mono_ns);

/* By how much the wall clock was set since the first call of the two above; 0 when by less than 1 ms. */
int64_t clock_wall_set_ms(void);

/* CPU time used by the calling thread, in nanoseconds. */
int64_t clock_thread_cpu_ns(void);

enum {
    CLOCK_ISO_LEN = 24,  /* 2026-11-20T23:48:01.620Z */
    CLOCK_HTTP_LEN = 29, /* Fri, 20 Nov 2026 23:48:01 GMT */
    CLOCK_DATE_LEN = 8   /* 20261120 */
};

/* Years 0000 to 9999 can be written; other times are clamped to that range. All write exactly the LEN above,
 * no NUL. */
void clock_format_iso(int64_t wall_ms, char text[CLOCK_ISO_LEN]);
void clock_format_http(int64_t wall_ms, char text[CLOCK_HTTP_LEN]);
void clock_format_date(int64_t wall_ms, char text[CLOCK_DATE_LEN]);

/*
 * Reads an ISO 8601 date or date-time in extended format: YYYY-MM-DD, optionally followed by 'T', 't' or a
 * blank and HH:MM[:SS[.fraction]] and optionally Z or an offset +HH:MM, +HHMM or +HH. Without an offset a
 * date-time is local time; a date alone is UTC (ECMAScript). False when it is none, or no such day or time
 * exists. (flash-sale contract, section 2.5)
 */
bool clock_parse_iso(struct slice text, int64_t *wall_ms);

#endif
