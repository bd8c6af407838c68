/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots that are free now are taken by the first ones ahead, which end at now + expected. So in a round each
 * slot becomes free once: those in flight in the order of their beginnings, then those. Every further round
 * is the same, later by one payment.
 */
#include "service/forecast.h"

#include "base/ensure.h"

static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) || sum > FORECAST_NEVER_NS ? FORECAST_NEVER_NS : sum;
}

static int64_t end_ns(const struct forecast *forecast, size_t index)
{
    int64_t end = add(forecast->begun_ns(forecast->context, index), forecast->expected_ns);
    return end > forecast->now_ns ? end : forecast->now_ns;
}

int64_t forecast_begin_ns(const struct forecast *forecast)
{
    ENSURE(forecast->slots >= 1);
    size_t slots = forecast->slots;
    size_t taken = forecast->in_flight < slots ? forecast->in_flight : slots;
    size_t too_many = forecast->in_flight - taken;
    if (forecast->ahead < slots - taken)
        return forecast->now_ns;
    size_t turn = forecast->ahead - (slots - taken); /* the how many-eth slot to become free */
    size_t place = turn % slots;
    int64_t first_ns =
        place < taken ? end_ns(forecast, too_many + place) : add(forecast->now_ns, forecast->expected_ns);
    int64_t rounds_ns;
    if (__builtin_mul_overflow((int64_t)(turn / slots), forecast->expected_ns, &rounds_ns))
        return FORECAST_NEVER_NS;
    return add(first_ns, rounds_ns);
}
