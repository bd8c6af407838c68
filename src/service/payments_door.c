/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door. Orders whose customers wait go before all others (the head start of core/order.h), so only those
 * that were let in and have not begun are ahead of one that comes now; orders that nobody waits for matter as
 * far as they are in flight. The forecast is this node's: with a shared store other nodes may pay sooner what
 * it has let in, never later because of it. An order that was let in and comes too late all the same, because
 * payments have become slower meanwhile, is cancelled when its turn comes (order_begin_payment).
 */
#include "service/payments.h"

#include "base/clock.h"
#include "base/ensure.h"
#include "service/forecast.h"
#include "service/payments_priv.h"

enum {
    NS_PER_MS = 1000000,
    MARGIN_MS = 50,      /* for the line, twice, and the way back */
    LOOKED_AT_MAX = 256, /* further from both ends than that beginnings are taken as evenly spread */
    GROWTH_LAG_MS = 400, /* until somebody has seen that the slots do not suffice (the heart of payments.c) */
    RETRY_MS_MIN = 1,
};

static const double NS_PER_S = 1e9;

static int64_t begun_ns(const struct list *node)
{
    return CONTAINER_OF(node, const struct payment, node)->begun_ns;
}

/* For forecast.h; `context` is the payments. */
static int64_t begun_at_ns(const void *context, size_t index)
{
    const struct payments *payments = context;
    const struct list *node = payments->in_flight.next;
    size_t last = payments->in_flight_count - 1;
    ENSURE(index <= last);
    if (index <= LOOKED_AT_MAX) {
        for (size_t i = 0; i < index; i++)
            node = node->next;
        return begun_ns(node);
    }
    const struct list *end = payments->in_flight.prev;
    if (last - index <= LOOKED_AT_MAX) {
        for (size_t i = last; i > index; i--)
            end = end->prev;
        return begun_ns(end);
    }
    double share = (double)index / (double)last;
    return begun_ns(node) + (int64_t)((double)(begun_ns(end) - begun_ns(node)) * share);
}

/* Under the lock. When a payment begins that has so many before it, if there are so many slots now. */
static int64_t begin_with_slots_ns(
    const struct payments *payments, size_t slots, size_t ahead, int64_t now_ns)
{
    const struct forecast forecast = {.now_ns = now_ns,
        .expected_ns = slots_expected_ns(&payments->slots),
        .slots = slots,
        .in_flight = payments->in_flight_count,
        .ahead = ahead,
        .begun_ns = begun_at_ns,
        .context = payments};
    return forecast_begin_ns(&forecast);
}

/*
 * Under the lock. How many slots there will be when it has grown for those that wait, at most for as long as
 * a payment takes: later the provider will have shown what it can bear.
 */
static size_t slots_soon(const struct payments *payments, size_t ahead, double pace)
{
    size_t limit = slots_limit(&payments->slots);
    size_t max = payments->config.slots_max;
    double growth = pace * (double)slots_expected_ns(&payments->slots) / NS_PER_S;
    size_t needed = payments->in_flight_count + ahead + 1;
    if (needed <= limit)
        return limit;
    size_t wanted = needed < max ? needed : max;
    return growth < (double)(wanted - limit) ? limit + (size_t)growth : wanted;
}

/* Under the lock. By the slots that there are, or by those that will come because it waits. */
static int64_t expected_begin_ns(const struct payments *payments, size_t ahead, int64_t now_ns)
{
    size_t limit = slots_limit(&payments->slots);
    double pace = slots_pace(&payments->slots, now_ns);
    size_t soon = pace > 0 ? slots_soon(payments, ahead, pace) : limit;
    int64_t as_is_ns = begin_with_slots_ns(payments, limit, ahead, now_ns);
    if (soon == limit)
        return as_is_ns;
    int64_t growth_ns =
        (int64_t)((double)(soon - limit) / pace * NS_PER_S) + (int64_t)GROWTH_LAG_MS * NS_PER_MS;
    int64_t grown_ns = begin_with_slots_ns(payments, soon, ahead, now_ns);
    return grown_ns < as_is_ns - growth_ns ? grown_ns + growth_ns : as_is_ns;
}

static int64_t ms_until(int64_t then_ns, int64_t now_ns)
{
    int64_t wait_ms = then_ns <= now_ns ? 0 : (then_ns - now_ns) / NS_PER_MS + 1;
    return wait_ms < RETRY_MS_MIN ? RETRY_MS_MIN : wait_ms;
}

/* Under the lock. When the next payment in flight ends, and makes room in the line. */
static int64_t next_end_ms(const struct payments *payments, int64_t now_ns)
{
    int64_t expected_ns = slots_expected_ns(&payments->slots);
    bool is_idle = payments->in_flight_count == 0;
    return ms_until((is_idle ? now_ns : begun_at_ns(payments, 0)) + expected_ns, now_ns);
}

/* Under the lock. Is the provider away for an order that has so many before it? */
static bool is_away(struct payments *payments, size_t ahead, int64_t now_ns, int64_t *retry_after_ms)
{
    if (breaker_may_call(&payments->breaker, now_ns) > ahead || payments->breaker.state == BREAKER_CLOSED)
        return false;
    int64_t retry_ns = breaker_retry_at_ns(&payments->breaker, now_ns);
    *retry_after_ms =
        ms_until(retry_ns > 0 ? retry_ns : now_ns + slots_expected_ns(&payments->slots), now_ns);
    return true;
}

/*
 * Under the lock. Would it be the only one on its way to a provider whose pace is only known from calls? Then
 * it is let in whatever is expected: with nobody let in nothing would be measured, and the door stay closed.
 */
static bool would_measure(const struct payments *payments, size_t ahead)
{
    return ahead == 0 && payments_must_measure(payments);
}

/* Under the lock. */
static enum admission check_sync(
    struct payments *payments, int64_t patience_ms, int64_t now_ns, int64_t *retry_after_ms)
{
    size_t ahead = payments->sync_ahead;
    if (is_away(payments, ahead, now_ns, retry_after_ms))
        return ADMISSION_BREAKER;
    int64_t begin_ns = expected_begin_ns(payments, ahead, now_ns);
    int64_t needed_ns = slots_expected_ns(&payments->slots) + (int64_t)MARGIN_MS * NS_PER_MS;
    int64_t too_late_ns = begin_ns - (now_ns + patience_ms * NS_PER_MS - needed_ns);
    if (too_late_ns <= 0 || would_measure(payments, ahead))
        return ADMISSION_OK;
    *retry_after_ms = ms_until(now_ns + too_late_ns, now_ns);
    return ADMISSION_LATE;
}

static bool is_full(const struct payments *payments)
{
    return backlog_count(&payments->backlog) >= payments->config.queue_max;
}

enum admission payments_admit_sync(struct payments *payments, int64_t patience_ms, int64_t *retry_after_ms)
{
    bool was_full = is_full(payments);
    pthread_mutex_lock(&payments->lock);
    int64_t now_ns = clock_mono_ns();
    enum admission answer = ADMISSION_FULL;
    if (was_full)
        *retry_after_ms = next_end_ms(payments, now_ns);
    else
        answer = check_sync(payments, patience_ms, now_ns, retry_after_ms);
    payments->sync_ahead += answer == ADMISSION_OK;
    payments->figures.refused_total[answer] += answer != ADMISSION_OK;
    pthread_mutex_unlock(&payments->lock);
    if (answer == ADMISSION_OK)
        backlog_note_let_in(&payments->backlog);
    return answer;
}

void payments_leave(struct payments *payments)
{
    pthread_mutex_lock(&payments->lock);
    ENSURE(payments->sync_ahead > 0);
    payments->sync_ahead--;
    pthread_mutex_unlock(&payments->lock);
}

enum admission payments_admit_async(struct payments *payments, int64_t *retry_after_ms)
{
    if (!is_full(payments)) {
        backlog_note_let_in(&payments->backlog);
        return ADMISSION_OK;
    }
    pthread_mutex_lock(&payments->lock);
    *retry_after_ms = next_end_ms(payments, clock_mono_ns());
    payments->figures.refused_total[ADMISSION_FULL]++;
    pthread_mutex_unlock(&payments->lock);
    return ADMISSION_FULL;
}

int64_t payments_expected_wait_ms(struct payments *payments, int64_t ahead)
{
    pthread_mutex_lock(&payments->lock);
    int64_t now_ns = clock_mono_ns();
    int64_t begin_ns = expected_begin_ns(payments, ahead < 0 ? 0 : (size_t)ahead, now_ns);
    int64_t wait_ms = (begin_ns - now_ns + slots_expected_ns(&payments->slots)) / NS_PER_MS;
    int64_t retry_ns = breaker_retry_at_ns(&payments->breaker, now_ns);
    pthread_mutex_unlock(&payments->lock);
    return wait_ms + (retry_ns > now_ns ? (retry_ns - now_ns) / NS_PER_MS : 0);
}
