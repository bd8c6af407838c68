/* SPDX-License-Identifier: Apache-2.0 */
/* What payments tell about themselves: to faces, to Prometheus, and to who asks whether this node is ready.
 */
#include "service/payments.h"

#include "base/clock.h"
#include "service/payments_priv.h"

enum { NS_PER_MS = 1000000, WAIT_MS_MAX = 60 * 1000 };

const double payments_bounds_s[PAYMENT_BUCKET_COUNT] = {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};

void payments_stats(struct payments *payments, struct payments_stats *stats)
{
    pthread_mutex_lock(&payments->lock);
    int64_t now_ns = clock_mono_ns();
    int64_t retry_ns = breaker_retry_at_ns(&payments->breaker, now_ns);
    const struct payment_figures *figures = &payments->figures;
    *stats = (struct payments_stats){
        .slots = slots_limit(&payments->slots),
        .in_flight = payments->in_flight_count,
        .expected_ms = slots_expected_ns(&payments->slots) / NS_PER_MS,
        .breaker = breaker_state_name(breaker_state(&payments->breaker, now_ns)).base,
        .retry_after_ms = retry_ns > now_ns ? (retry_ns - now_ns) / NS_PER_MS + 1 : 0,
        .paid_total = figures->paid_total,
        .declined_total = figures->declined_total,
        .abandoned_total = figures->abandoned_total,
        .retried_total = figures->retried_total,
        .is_simulated = payments->config.provider_url == NULL,
    };
    pthread_mutex_unlock(&payments->lock);
}

/* --- for Prometheus --- */

static void put_head(struct strbuf *text, const char *name, const char *type, const char *help)
{
    strbuf_printf(
        text, "# HELP doorbuster_payment_%s %s\n# TYPE doorbuster_payment_%s %s\n", name, help, name, type);
}

static void put_one(
    struct strbuf *text, const char *name, const char *type, const char *help, unsigned long long value)
{
    put_head(text, name, type, help);
    strbuf_printf(text, "doorbuster_payment_%s %llu\n", name, value);
}

static void put_outcomes(struct strbuf *text, const struct payment_figures *figures)
{
    put_head(text, "outcomes_total", "counter", "Payments with an outcome, by this node.");
    strbuf_printf(text,
        "doorbuster_payment_outcomes_total{outcome=\"paid\"} %llu\n"
        "doorbuster_payment_outcomes_total{outcome=\"declined\"} %llu\n"
        "doorbuster_payment_outcomes_total{outcome=\"abandoned\"} %llu\n",
        (unsigned long long)figures->paid_total, (unsigned long long)figures->declined_total,
        (unsigned long long)figures->abandoned_total);
}

static void put_refusals(struct strbuf *text, const struct payment_figures *figures)
{
    put_head(text, "refused_orders_total", "counter", "Orders that were not let in, by the reason.");
    strbuf_printf(text,
        "doorbuster_payment_refused_orders_total{reason=\"full\"} %llu\n"
        "doorbuster_payment_refused_orders_total{reason=\"late\"} %llu\n"
        "doorbuster_payment_refused_orders_total{reason=\"breaker\"} %llu\n",
        (unsigned long long)figures->refused_total[ADMISSION_FULL],
        (unsigned long long)figures->refused_total[ADMISSION_LATE],
        (unsigned long long)figures->refused_total[ADMISSION_BREAKER]);
}

static void put_breaker(struct strbuf *text, enum breaker_state state)
{
    put_head(text, "breaker_state", "gauge", "1 for the state that the breaker around the provider is in.");
    for (int i = BREAKER_CLOSED; i <= BREAKER_HALF_OPEN; i++)
        strbuf_printf(text, "doorbuster_payment_breaker_state{state=\"%.*s\"} %d\n",
            SLICE_ARGS(breaker_state_name((enum breaker_state)i)), state == (enum breaker_state)i);
}

static void put_seconds(struct strbuf *text, const struct payment_figures *figures)
{
    uint64_t count = 0;
    put_head(text, "seconds", "histogram", "How long calls of the provider took that reached it.");
    for (int i = 0; i < PAYMENT_BUCKET_COUNT; i++) {
        count += figures->seconds_bucket[i];
        strbuf_printf(text, "doorbuster_payment_seconds_bucket{le=\"%g\"} %llu\n", payments_bounds_s[i],
            (unsigned long long)count);
    }
    count += figures->seconds_bucket[PAYMENT_BUCKET_COUNT];
    strbuf_printf(text,
        "doorbuster_payment_seconds_bucket{le=\"+Inf\"} %llu\n"
        "doorbuster_payment_seconds_sum %.6f\n"
        "doorbuster_payment_seconds_count %llu\n",
        (unsigned long long)count, figures->seconds_sum, (unsigned long long)count);
}

void payments_put_metrics(struct payments *payments, struct strbuf *text)
{
    struct payments_stats stats;
    payments_stats(payments, &stats);
    pthread_mutex_lock(&payments->lock);
    struct payment_figures figures = payments->figures;
    enum breaker_state state = breaker_state(&payments->breaker, clock_mono_ns());
    uint64_t opened_total = breaker_opened_total(&payments->breaker);
    uint64_t cut_total = slots_cut_total(&payments->slots);
    pthread_mutex_unlock(&payments->lock);
    put_one(text, "slots", "gauge", "Payments that may be in flight at once now.", stats.slots);
    put_one(text, "in_flight", "gauge", "Payments in flight now, of this node.", stats.in_flight);
    put_one(text, "slots_cut_total", "counter",
        "How often the number of slots was cut because the provider became slow or failed.", cut_total);
    put_outcomes(text, &figures);
    put_one(text, "retried_total", "counter", "Calls of the provider in vain that are tried again.",
        stats.retried_total);
    put_refusals(text, &figures);
    put_breaker(text, state);
    put_one(text, "breaker_opened_total", "counter", "How often the breaker has opened.", opened_total);
    put_seconds(text, &figures);
}

/* --- readiness --- */

/* Both now and a while ago the last in the line waits too long, and the line is not shorter. */
static bool is_stuck(struct payments *payments, size_t waiting)
{
    pthread_mutex_lock(&payments->lock);
    size_t before = payments->samples[0].count;
    pthread_mutex_unlock(&payments->lock);
    return waiting >= before && payments_expected_wait_ms(payments, (int64_t)before) > WAIT_MS_MAX &&
           payments_expected_wait_ms(payments, (int64_t)waiting) > WAIT_MS_MAX;
}

/* Open, or half-open with all probes out. While one may go out the node is ready: a balancer that looks at
 * readiness has to let the order come whose payment closes the breaker. */
static bool is_away(struct payments *payments, struct error *error)
{
    pthread_mutex_lock(&payments->lock);
    int64_t now_ns = clock_mono_ns();
    bool is_shut = breaker_may_call(&payments->breaker, now_ns) == 0;
    int64_t retry_ns = breaker_retry_at_ns(&payments->breaker, now_ns);
    pthread_mutex_unlock(&payments->lock);
    if (is_shut && retry_ns > 0)
        (void)error_set(error, ERR_UNAVAILABLE,
            "the payment provider fails; it is asked again in %lld ms, and orders wait meanwhile",
            (long long)((retry_ns - now_ns) / NS_PER_MS + 1));
    else if (is_shut)
        (void)error_set(error, ERR_UNAVAILABLE,
            "the payment provider has failed; it is being asked again, and orders wait until it answers");
    return is_shut;
}

bool payments_is_ready(struct payments *payments, struct error *error)
{
    if (is_away(payments, error))
        return false;
    size_t waiting = backlog_count(&payments->backlog);
    if (is_stuck(payments, waiting)) {
        (void)error_set(error, ERR_UNAVAILABLE,
            "%zu orders wait for their payment, the last of them for about %lld s, and they are not getting "
            "fewer",
            waiting, (long long)(payments_expected_wait_ms(payments, (int64_t)waiting) / 1000));
        return false;
    }
    return true;
}
