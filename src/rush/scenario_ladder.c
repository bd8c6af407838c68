/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ladder (vending contract, "What a client relies on"): how many users at once do the machines stand? Level
 * by level more users come in one instant, ask for a machine and, who gets one, buys a unit of a random
 * product. Every request has a new connection, which the user just closes. Between the levels all machines
 * are reset at once; the stock is the same for all levels, and after each it is what was supplied less what
 * was sold.
 *
 * A level is two rounds: the resets, and the users, who come a pause later. With --wait users stay in the
 * line for a machine instead of being turned away.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "rush/ladder.h"
#include "rush/levels.h"
#include "rush/scenarios.h"
#include "rush/validity.h"
#include "rush/vending_site.h"

enum {
    MACHINES = 5,
    STOCK = 200, /* of each product */
    USERS_MAX = 1000000,
    ROUNDS_PER_LEVEL = 2,       /* resets, users */
    SERIES_PRODUCT = 0x7ffffe00 /* of plan_draw: which product, and the level's number */
};

static const struct level_rules rules = {"ladder", "10,25,50,100,250,500,1000,2500,5000", USERS_MAX};
static const int64_t PAUSE_NS = 300000000; /* the original's, between the resets and the users */

struct ladder {
    struct rush_ladder told; /* for the report */
    uint64_t levels[RUSH_RUNGS_MAX];
    size_t level_count;
    size_t level; /* the present one */
    struct vending_site site;
};

/* --- requests --- */

static void write_user(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct ladder *ladder = rush->state;
    site_write(&ladder->site, rush, SERIES_PRODUCT + ladder->level, session, request);
}

static void judge_user(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    struct ladder *ladder = rush->state;
    site_judge(&ladder->site, session, reply, judgement);
}

static void write_reset(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct ladder *ladder = rush->state;
    char path[96];
    session->endpoint = VENDING_RESET_MACHINE;
    (void)snprintf(path, sizeof path, "/api/vending-machines/%lld/reset",
        (long long)ladder->site.machines.items[session->serial].id);
    site_put_admin(rush, request, "POST", path, SLICE(""));
}

static void judge_reset(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    (void)rush;
    (void)session;
    vending_judge_reset(reply, judgement);
}

/* --- before the run --- */

static enum err prepare(struct rush *rush, struct error *error)
{
    struct ladder *ladder = calloc(1, sizeof *ladder);
    struct rush_options *options = &rush->options;
    rush->state = ladder;
    if (ladder == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    enum err err = levels_read(&rules, options, ladder->levels, &ladder->level_count, error);
    if (err != ERR_NONE)
        return err;
    options->machines = options->machines > 0 ? options->machines : MACHINES;
    options->stock = options->stock > 0 ? options->stock : STOCK;
    ladder->told.wait_s = options->wait_s;
    rush->round_count = ladder->level_count * ROUNDS_PER_LEVEL;
    rush->vu_count_most = (uint64_t)options->machines;
    for (size_t i = 0; i < ladder->level_count; i++)
        if (ladder->levels[i] > rush->vu_count_most)
            rush->vu_count_most = ladder->levels[i];
    return site_init(&ladder->site, rush, error);
}

static void release(struct rush *rush)
{
    struct ladder *ladder = rush->state;
    if (ladder == NULL)
        return;
    site_fini(&ladder->site);
    free(ladder);
    rush->state = NULL;
}

static enum err set_up(struct rush *rush, struct error *error)
{
    struct ladder *ladder = rush->state;
    enum err err = site_set_up(&ladder->site, rush, error);
    ladder->told.stock_supplied = ladder->site.supplied;
    ladder->told.machine_count = (int64_t)ladder->site.machines.count;
    ladder->told.product_count = (int64_t)ladder->site.shelf_count;
    return err;
}

/* --- the levels --- */

static void begin_round(struct rush *rush, size_t round)
{
    struct ladder *ladder = rush->state;
    ladder->level = round / ROUNDS_PER_LEVEL;
    rush->crowd_count = 0;
    if (round % ROUNDS_PER_LEVEL == 0)
        rush_add_crowd(rush, (struct crowd){.name = "resets",
                                 .plan = plan_burst(0, ladder->site.machines.count, 1),
                                 .is_stepwise = true,
                                 .write = write_reset,
                                 .judge = judge_reset});
    else
        rush_add_crowd(rush, (struct crowd){.name = "users",
                                 .plan = plan_burst(PAUSE_NS, ladder->levels[ladder->level], 1),
                                 .is_stepwise = true,
                                 .write = write_user,
                                 .judge = judge_user,
                                 .note_vending = site_note});
}

static uint64_t count_of(const struct tally *crowd, unsigned endpoint, unsigned outcome)
{
    const struct hist *hist = crowd->latency[endpoint][outcome];
    return hist != NULL ? hist->count : 0;
}

/* One kind of answer that is none of the contract. */
static void add_error(
    struct rush_rung *rung, const struct rush *rush, unsigned endpoint, unsigned outcome, uint64_t count)
{
    const struct outcome *row = scenario_outcome(rush->scenario, outcome);
    if (outcome == OUTCOME_TIMEOUT)
        rung->timeout_count += count;
    else if (outcome == OUTCOME_LOST || outcome == OUTCOME_CONNECT)
        rung->lost_count += count;
    else
        rung->other_count += count;
    if (rung->error_count < RUSH_RUNG_ERRORS_MAX)
        rung->errors[rung->error_count++] =
            (struct rush_rung_error){vending_endpoints[endpoint], row->name, row->meaning, count};
}

/* Where the answers that belong to the contract are counted; NULL for all others. */
static uint64_t *counter_of(
    struct rush_rung *rung, const struct rush *rush, unsigned endpoint, unsigned outcome)
{
    bool is_start = endpoint == VENDING_START_WORK;
    switch (outcome) {
    case VENDING_STARTED:
        return is_start ? &rung->given_count : NULL;
    case VENDING_BUSY:
        return is_start ? &rung->busy_count : NULL;
    case VENDING_LINE_FULL:
        return is_start && rush->options.wait_s > 0 ? &rung->full_count : NULL;
    case VENDING_SOLD:
        return is_start ? NULL : &rung->sold_count;
    case VENDING_REFUSED:
        return is_start ? NULL : &rung->refused_count;
    default:
        return NULL;
    }
}

static void count_answers(struct rush_rung *rung, const struct rush *rush, const struct tally *crowd)
{
    for (unsigned endpoint = VENDING_START_WORK; endpoint <= VENDING_CHOOSE_PRODUCT; endpoint++)
        for (unsigned outcome = 0; outcome < VENDING_OUTCOME_END; outcome++) {
            uint64_t count = count_of(crowd, endpoint, outcome);
            uint64_t *counter = counter_of(rung, rush, endpoint, outcome);
            rung->request_count += count;
            if (counter != NULL)
                *counter = count;
            else if (count > 0)
                add_error(rung, rush, endpoint, outcome, count);
        }
}

static struct rush_times times_of(const struct tally *crowd, unsigned endpoint)
{
    struct hist hist;
    hist_init(&hist);
    tally_latency(crowd, endpoint, &hist);
    return rush_times_of(&hist);
}

static void show_level(const struct rush *rush, const struct rush_rung *rung)
{
    if (!rush->options.has_progress)
        return;
    (void)fprintf(stderr, "%s  %llu users: %llu bought, %llu turned away, %llu errors, p99 %.0f ms, %.2f s\n",
        rush->scenario->name, (unsigned long long)rung->users, (unsigned long long)rung->sold_count,
        (unsigned long long)(rung->busy_count + rung->full_count),
        (unsigned long long)(rung->timeout_count + rung->lost_count + rung->other_count),
        (double)rung->user.percentile_ns[4] / 1e6, rung->seconds); /* nobody may be looking */
}

static void end_level(struct rush *rush, const struct round_result *result)
{
    struct ladder *ladder = rush->state;
    struct rush_rung *rung = &ladder->told.rungs[ladder->told.rung_count++];
    int64_t came_ns = result->start_ns + PAUSE_NS;
    bool has_limit = rush->options.wait_s == 0;
    *rung = (struct rush_rung){.users = ladder->levels[ladder->level],
        .user = rush_times_of(&result->crowd->session),
        .start = times_of(result->crowd, VENDING_START_WORK),
        .choose = times_of(result->crowd, VENDING_CHOOSE_PRODUCT),
        .connect = rush_times_of(&result->crowd->connect)};
    rung->seconds = result->last_answer_ns > came_ns ? (double)(result->last_answer_ns - came_ns) / 1e9 : 0;
    rung->limit_ns = has_limit ? ladder_limit_ns(rung->users) : 0;
    rung->is_limit_asked = has_limit && rung->users <= LADDER_ASKED_USERS_MAX;
    count_answers(rung, rush, result->crowd);
    rung->stock_expected = site_expected_stock(&ladder->site);
    rung->stock_left = site_ask_stock(&ladder->site, rush, &rung->product_off_count);
    show_level(rush, rung);
}

static void end_round(struct rush *rush, size_t round, const struct round_result *result)
{
    struct ladder *ladder = rush->state;
    if (round % ROUNDS_PER_LEVEL != 0) {
        end_level(rush, result);
        return;
    }
    uint32_t good = OUTCOME_BIT(VENDING_RESET) | OUTCOME_BIT(VENDING_IDLE);
    ladder->told.reset_error_count += tally_count(result->crowd, ~good);
}

/* --- after the run --- */

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    struct ladder *ladder = rush->state;
    uint64_t off_count;
    (void)crowd;
    ladder->told.stock_expected = site_expected_stock(&ladder->site);
    ladder->told.stock_left = site_ask_stock(&ladder->site, rush, &off_count);
    ladder_judge(&ladder->told, rush);
}

static void put_plan(const struct rush *rush, struct rush_report *report)
{
    const struct ladder *ladder = rush->state;
    struct strbuf plan;
    strbuf_init(&plan, report->plan, sizeof report->plan - 1);
    for (size_t i = 0; i < ladder->level_count; i++)
        strbuf_printf(&plan, "%s%llu", i > 0 ? ", " : "", (unsigned long long)ladder->levels[i]);
    strbuf_printf(&plan, " users at once on fresh connections; %lld machines, %lld products, %lld units",
        (long long)ladder->told.machine_count, (long long)ladder->told.product_count,
        (long long)ladder->told.stock_supplied);
    if (rush->options.wait_s > 0)
        strbuf_printf(&plan, "; each waits up to %lld s for a machine", (long long)rush->options.wait_s);
    report->plan[plan.len] = '\0';
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    const struct ladder *ladder = rush->state;
    double seconds = 0;
    (void)crowd;
    put_plan(rush, report);
    report->ladder = ladder->told;
    for (size_t i = 0; i < ladder->told.rung_count; i++)
        seconds += ladder->told.rungs[i].seconds;
    report->seconds = seconds; /* without the pauses */
    report->requests_per_s = seconds > 0 ? (double)report->request_count / seconds : 0;
}

const struct scenario scenario_ladder = {
    .name = "ladder",
    .summary =
        "10 to 5000 users at once want one of five vending machines, level by level (--levels, --wait)",
    .face = "vending",
    .endpoints = vending_endpoints,
    .outcomes = vending_outcomes,
    .prepare = prepare,
    .set_up = set_up,
    .begin_round = begin_round,
    .end_round = end_round,
    .tear_down = tear_down,
    .tell = tell,
    .release = release,
};
