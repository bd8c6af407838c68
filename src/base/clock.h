/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two clocks, and how a time is written. Only the edges of the program read a clock; the rules in core/
 * get the time as an argument. Any thread; nothing blocks.
 */
#ifndef DOORBUSTER_BASE_CLOCK_H
#define DOORBUSTER_BASE_CLOCK_H

#include "base/clock_text.h"

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

#endif
