/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limiter of attempts per user, shared by all net threads of this server. It is asked before the line, so
 * that a hammering user costs nothing there. Any thread; one short lock of 64.
 */
#ifndef DOORBUSTER_API_LIMITS_H
#define DOORBUSTER_API_LIMITS_H

#include "base/slice.h"

struct limits;

/* One attempt per user and interval; interval_ms 0: no limit at all. NULL when memory is out. */
struct limits *limits_create(int64_t interval_ms);
void limits_destroy(struct limits *limits);

/* Records the attempt; false when the user is too early. */
bool limits_attempt(struct limits *limits, struct slice user, int64_t now_ms);

/* 0: no limit. */
int64_t limits_interval_ms(const struct limits *limits);

#endif
