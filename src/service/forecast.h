/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When would a payment begin that comes now? As many slots as are allowed at once, payments in them whose
 * beginnings are known, others that go before it, and all of them taking the same time: then slots become
 * free in the order in which they were taken, round after round. Arithmetic and nothing else.
 */
#ifndef DOORBUSTER_SERVICE_FORECAST_H
#define DOORBUSTER_SERVICE_FORECAST_H

#include <stddef.h>
#include <stdint.h>

struct forecast {
    int64_t now_ns;
    int64_t expected_ns; /* of one payment, >= 0 */
    size_t slots;        /* >= 1 */
    size_t in_flight;    /* may be more than slots: those that are too many free none when they end */
    size_t ahead;        /* have not begun and go first */
    /* When the one in flight began that did so as the index-th, from 0. */
    int64_t (*begun_ns)(const void *context, size_t index);
    const void *context;
};

/* Too far away; durations can still be added to it. */
#define FORECAST_NEVER_NS (INT64_MAX / 2)

/* At now_ns the earliest, at FORECAST_NEVER_NS the latest. One that takes longer than expected is expected to
 * end at any moment. */
int64_t forecast_begin_ns(const struct forecast *forecast);

#endif
