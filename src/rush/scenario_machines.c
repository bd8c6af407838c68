/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machines (vending contract): how many requests a second does the whole way to a product make? Each user
 * keeps one connection and does the same over and over: start-work, then choose-product with the machine
 * that it got. The first second is not measured. With as many machines as users, which is usual, and a server
 * that dispenses at once (--dispense-time 0) nobody is turned away. Stock is bounded, so it has to last.
 */
#include <math.h>
#include <stdlib.h>

#include "rush/report.h"
#include "rush/scenarios.h"
#include "rush/tell.h"
#include "rush/vending_site.h"

enum { USERS = 1000, USERS_MAX = 1000000, SECONDS = 10, STOCK = 100000000 /* more than a run can sell */ };

static const int64_t NS_PER_S = 1000000000;
static const uint64_t SERIES_PRODUCT = 0x7ffffd00; /* of plan_draw: which product */

static void write_user(const struct rush *rush, struct session *session, struct strbuf *request)
{
    site_write(rush->state, rush, SERIES_PRODUCT, session, request);
}

static void judge_user(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    site_judge(rush->state, session, reply, judgement);
}

/* --- before the run --- */

static uint32_t expected_outcomes(const struct rush_options *options)
{
    uint32_t full = options->wait_s > 0 ? OUTCOME_BIT(VENDING_LINE_FULL) : 0;
    return full | OUTCOME_BIT(VENDING_STARTED) | OUTCOME_BIT(VENDING_BUSY) | OUTCOME_BIT(VENDING_SOLD);
}

static enum err fill_options(struct rush_options *options, struct error *error)
{
    if (options->rate > 0)
        return error_set(error, ERR_USAGE, "machines has no --rate: each user asks when it is answered");
    if (options->users > USERS_MAX)
        return error_set(error, ERR_USAGE, "%lld users are too many: expected 1 to %d",
            (long long)options->users, USERS_MAX);
    options->users = options->users > 0 ? options->users : USERS;
    options->machines = options->machines > 0                ? options->machines
                        : options->users < SITE_MACHINES_MAX ? options->users
                                                             : SITE_MACHINES_MAX;
    options->seconds = options->seconds > 0 ? options->seconds : SECONDS;
    options->stock = options->stock > 0 ? options->stock : STOCK;
    return ERR_NONE;
}

static enum err prepare(struct rush *rush, struct error *error)
{
    struct vending_site *site = calloc(1, sizeof *site);
    struct rush_options *options = &rush->options;
    rush->state = site;
    if (site == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    enum err err = fill_options(options, error);
    if (err == ERR_NONE)
        err = site_init(site, rush, error);
    if (err != ERR_NONE)
        return err;
    rush->measure_from_ns = NS_PER_S;
    rush->measure_until_ns = (1 + options->seconds) * NS_PER_S;
    rush_add_crowd(rush, (struct crowd){.name = "users",
                             .plan = plan_closed(0, rush->measure_until_ns, (uint64_t)options->users, 0),
                             .write = write_user,
                             .judge = judge_user,
                             .note_vending = site_note});
    rush_add_threshold(rush, (struct threshold){.name = "sold",
                                 .metric = METRIC_COUNT,
                                 .outcomes = OUTCOME_BIT(VENDING_SOLD),
                                 .compare = COMPARE_ABOVE});
    rush_add_threshold(rush, (struct threshold){.name = "errors",
                                 .metric = METRIC_COUNT,
                                 .outcomes = ~expected_outcomes(options),
                                 .compare = COMPARE_EQUAL});
    return ERR_NONE;
}

static enum err set_up(struct rush *rush, struct error *error)
{
    return site_set_up(rush->state, rush, error);
}

static void release(struct rush *rush)
{
    struct vending_site *site = rush->state;
    if (site == NULL)
        return;
    site_fini(site);
    free(site);
    rush->state = NULL;
}

/* --- after the run --- */

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    (void)crowd;
    site_judge_stock(rush->state, rush);
}

static double percentile_ms(const struct tally *crowd, unsigned endpoint, size_t percentile)
{
    struct hist latency;
    hist_init(&latency);
    tally_latency(crowd, endpoint, &latency);
    return (double)rush_times_of(&latency).percentile_ns[percentile] / 1e6;
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    const struct vending_site *site = rush->state;
    double seconds = (double)rush->options.seconds;
    double sold = (double)tally_count(crowd, OUTCOME_BIT(VENDING_SOLD));
    tell_figure(report, "machines", "", NAN, NAN, (double)site->machines.count);
    tell_figure(report, "requests per second", "/s", NAN, NAN, report->requests_per_s);
    tell_figure(report, "sales per second", "/s", NAN, NAN, sold / seconds);
    tell_figure(report, "no machine", "", NAN, NAN, (double)tally_count(crowd, OUTCOME_BIT(VENDING_BUSY)));
    tell_figure(
        report, "start-work: 50 %", "ms", NAN, NAN, percentile_ms(crowd, VENDING_START_WORK, PERCENTILE_50));
    tell_figure(
        report, "start-work: 99 %", "ms", NAN, NAN, percentile_ms(crowd, VENDING_START_WORK, PERCENTILE_99));
    tell_figure(report, "choose-product: 50 %", "ms", NAN, NAN,
        percentile_ms(crowd, VENDING_CHOOSE_PRODUCT, PERCENTILE_50));
    tell_figure(report, "choose-product: 99 %", "ms", NAN, NAN,
        percentile_ms(crowd, VENDING_CHOOSE_PRODUCT, PERCENTILE_99));
}

const struct scenario scenario_machines = {
    .name = "machines",
    .summary = "users ask for a vending machine and buy from it as fast as answers come (--machines, --wait)",
    .face = "vending",
    .endpoints = vending_endpoints,
    .outcomes = vending_outcomes,
    .is_saturating = true,
    .prepare = prepare,
    .set_up = set_up,
    .tear_down = tear_down,
    .tell = tell,
    .release = release,
};
