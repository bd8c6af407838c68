/* SPDX-License-Identifier: Apache-2.0 */
/*
 * async-flash (orders contract, "Clients"): a flash sale whose orders are accepted at once and paid later. 60
 * customers, 10 new ones a second, for 60 s; afterwards it waits until the server has worked off its backlog.
 *
 * The sums of GET /stats are the server's, not the crowd's: others must not order meanwhile.
 */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "rush/orders.h"
#include "rush/scenarios.h"
#include "rush/tell.h"
#include "rush/validity.h"

enum { USERS = 60, SECONDS = 60, LOOK_MS = 100, TOLD_EVERY_S = 5 };

static const double USERS_PER_S = 10;
static const double ACCEPTED_SHARE_MIN = 0.99;
static const double LATENCY_MAX_MS = 100;
static const double NS_PER_S = 1e9;

#define ACCEPTED OUTCOME_BIT(ORDER_ACCEPTED)

static enum err prepare(struct rush *rush, struct error *error)
{
    rush_add_threshold(rush, (struct threshold){.name = "order_accepted",
                                 .metric = METRIC_SHARE,
                                 .outcomes = ACCEPTED,
                                 .of_outcomes = UINT32_MAX,
                                 .compare = COMPARE_ABOVE,
                                 .limit = ACCEPTED_SHARE_MIN});
    rush_add_threshold(rush, (struct threshold){.name = "order_duration",
                                 .metric = METRIC_CROWD_LATENCY,
                                 .outcomes = UINT32_MAX,
                                 .percent = 99,
                                 .compare = COMPARE_BELOW,
                                 .limit = LATENCY_MAX_MS});
    return orders_prepare(rush, (struct order_crowd){ORDER_ASYNC, USERS, USERS_PER_S, SECONDS}, error);
}

static enum err set_up(struct rush *rush, struct error *error)
{
    return orders_ask_stats(rush, &orders_drain(rush)->before, error);
}

/* --- the backlog --- */

static bool is_stopped(const struct rush *rush)
{
    return rush->options.stop != NULL && atomic_load(rush->options.stop);
}

static void pause_between_looks(void)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    (void)nanosleep(&pause, NULL); /* woken early: looks early */
}

static void show(const struct rush *rush, const struct order_stats *now, int64_t *shown_ns)
{
    int64_t now_ns = clock_mono_ns();
    if (!rush->options.has_progress || (double)(now_ns - *shown_ns) < TOLD_EVERY_S * NS_PER_S)
        return;
    *shown_ns = now_ns;
    (void)fprintf(stderr, "%s  draining: %lld pending, %lld processing, %lld completed\n",
        rush->scenario->name, (long long)now->pending, (long long)now->processing,
        (long long)now->completed); /* nobody may be looking */
}

/* Looks until nothing waits, time is up or somebody wants to stop. */
static enum err wait_for_drain(struct rush *rush, struct error *error)
{
    struct order_drain *drain = orders_drain(rush);
    int64_t began_ns = clock_mono_ns();
    int64_t shown_ns = 0;
    enum err err = ERR_NONE;
    drain->after = drain->backlog;
    for (;;) {
        int64_t passed_ns = clock_mono_ns() - began_ns;
        drain->seconds = (double)passed_ns / NS_PER_S;
        drain->has_drained = orders_waiting(&drain->after) == 0;
        if (err != ERR_NONE || drain->has_drained || is_stopped(rush) ||
            passed_ns > rush->options.drain_max_ms * 1000000)
            return err;
        pause_between_looks();
        err = orders_ask_stats(rush, &drain->after, error);
        if (err == ERR_NONE)
            show(rush, &drain->after, &shown_ns);
    }
}

static void check_drain(struct rush *rush)
{
    const struct order_drain *drain = orders_drain(rush);
    if (rush->options.drain_max_ms > 0)
        rush_add_invariant(rush, drain->has_drained,
            "the backlog drained within %g s: %lld of %lld orders left",
            (double)rush->options.drain_max_ms / 1000, (long long)orders_waiting(&drain->after),
            (long long)orders_waiting(&drain->backlog));
}

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    struct error error;
    struct order_drain *drain = orders_drain(rush);
    enum err err = orders_ask_settled(rush, crowd, &drain->backlog, &error);
    if (err == ERR_NONE)
        err = wait_for_drain(rush, &error);
    if (err == ERR_NONE) {
        orders_check_stored(rush, crowd, &drain->after);
        check_drain(rush);
    } else {
        rush_add_invariant(rush, false, "the orders can be counted afterwards: %.200s", error.message);
    }
}

/* --- the report --- */

static void tell_drain(struct rush_report *report, const struct order_drain *drain)
{
    double finished = (double)(orders_finished(&drain->after) - orders_finished(&drain->backlog));
    tell_figure(
        report, "waiting when the rush was over", "", NAN, NAN, (double)orders_waiting(&drain->backlog));
    tell_figure(report, "still waiting at the end", "", NAN, NAN, (double)orders_waiting(&drain->after));
    tell_figure(report, "backlog worked off in", "s", NAN, NAN, drain->seconds);
    tell_figure(report, "orders worked off per second", "/s", 1.0 / 3, NAN,
        drain->seconds > 0 ? finished / drain->seconds : 0);
    tell_figure(report, "completed", "", 6, NAN, (double)(drain->after.completed - drain->before.completed));
    tell_figure(report, "failed", "", 39, NAN, (double)(drain->after.failed - drain->before.failed));
    tell_figure(
        report, "cancelled", "", NAN, NAN, (double)(drain->after.cancelled - drain->before.cancelled));
}

/* The original's figures are those of its flash sale, what was expected those of its second phase. */
static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    static const struct tell_times original = {
        9521, 3094, {10000, 10000, 10000, 10000, 10000, 10000, 10000, 10089}};
    uint64_t asked = tally_count(crowd, UINT32_MAX);
    uint64_t accepted = tally_count(crowd, ACCEPTED);
    struct hist latency;
    hist_init(&latency);
    tally_latency(crowd, ENDPOINTS_MAX, &latency);
    tell_figure(report, "orders asked for", "", 45, NAN, (double)asked);
    tell_figure(report, "accepted", "", 6, NAN, (double)accepted);
    tell_figure(
        report, "success rate", "%", 13.3, 99, asked > 0 ? 100.0 * (double)accepted / (double)asked : 0);
    tell_figure(report, "orders accepted per second", "/s", 0.20, 100,
        report->seconds > 0 ? (double)accepted / report->seconds : 0);
    tell_times(report, &latency, &original, 100);
    tell_drain(report, orders_drain(rush));
    tell_bars(report, crowd, (struct tell_endings){ACCEPTED, OUTCOME_BIT(ORDER_REFUSED)}, 0, NULL);
    tell_loss(report, &(struct tell_loss){.original_lost_share = 0.867,
                          .asked = asked,
                          .lost = asked - accepted,
                          .refused = tally_count(crowd, OUTCOME_BIT(ORDER_REFUSED)),
                          .value = rush->options.order_value});
}

const struct scenario scenario_async_flash = {
    .name = "async-flash",
    .summary = "60 customers order as fast as they can think; every order is accepted at once and paid later",
    .face = "orders",
    .endpoints = order_endpoints,
    .outcomes = order_outcomes,
    .prepare = prepare,
    .set_up = set_up,
    .tear_down = tear_down,
    .tell = tell,
    .release = orders_release,
};
