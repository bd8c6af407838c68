/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times as text: what needs no clock, and is therefore for the rules too (clock.h is not). Any thread.
 */
#ifndef DOORBUSTER_BASE_CLOCK_TEXT_H
#define DOORBUSTER_BASE_CLOCK_TEXT_H

#include "base/slice.h"

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
