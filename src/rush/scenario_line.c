/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line (vending contract, "Waiting line instead of 409"): more users than machines, and all the time they
 * wait in the line (Prefer: wait). Who gets a machine buys at once and goes to the end of the line again. A
 * machine dispenses for --dispense-time, the same as the server's, so how many are sold in a second is known
 * beforehand; and that the line is kept, and nobody starves in it, is seen from outside:
 *
 *   in order     who asked ORDER_DOUBT_NS before another one has the lower lease
 *   none starved all users were served as often, but for two who come back in one instant and change places
 *
 * The machines do not begin together: openers come one after the other at even intervals and occupy a machine
 * each. Half an interval behind the last of them the users come, all at once; their sales are counted from
 * then on, so that each falls in the middle of its interval, and a server that is late by milliseconds each
 * time is not counted out by the edge of a second.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "rush/scenarios.h"
#include "rush/tell.h"
#include "rush/validity.h"
#include "rush/vending_site.h"

enum {
    USERS = 20,
    USERS_MAX = 100000,
    MACHINES = 5,
    SECONDS = 60,
    SECONDS_MAX = 3600,
    STOCK = 100000,
    DISPENSE_MS_MIN = 10,
    TURNS_SPARE = 1000,
    TURNS_DIFFER_MAX = 2,
    MEMORY_TURN = SITE_MEMORY_COUNT /* in session->memory: 1 + its number */
};

enum crowd_number { CROWD_OPENERS, CROWD_USERS };

static const int64_t NS_PER_S = 1000000000;
static const int64_t NS_PER_MS = 1000000;
static const int64_t MS_PER_S = 1000;
static const double NS_PER_MS_REAL = 1e6;
static const uint64_t SERIES_PRODUCT = 0x7ffffc00; /* of plan_draw: which product */
static const int64_t ORDER_DOUBT_NS = 500000000;   /* a request may be so long on its way */
static const double RATE_DOUBT = 0.05;
static const double ORIGINAL_PER_S = 0.2; /* its one worker slept five seconds a sale */

/* A machine given to a user. Times are clock_mono_ns. */
struct turn {
    int64_t asked_ns;
    int64_t given_ns;
    int64_t sold_ns; /* 0: not */
    int64_t lease;
    int64_t user; /* -1: an opener */
};

struct line {
    struct vending_site site;
    int64_t interval_ns; /* between two sales */
    int64_t come_ns;     /* when the users come, from the start of the run */
    struct turn *turns;
    size_t turn_size;
    _Atomic size_t turn_count; /* may be above turn_size: those were not kept */
    /* Found at the end. */
    uint64_t *sold_counts; /* second by second */
    uint64_t sold_count;
    uint64_t overtaken_count;
    uint64_t turns_fewest; /* of a user */
    uint64_t turns_most;
    int64_t wait_longest_ns;
};

/* --- requests --- */

static void write_request(const struct rush *rush, struct session *session, struct strbuf *request)
{
    const struct line *line = rush->state;
    site_write(&line->site, rush, SERIES_PRODUCT, session, request);
}

static void add_turn(
    struct line *line, struct session *session, int64_t user, int64_t took_ns, int64_t now_ns)
{
    size_t at = atomic_fetch_add(&line->turn_count, 1);
    if (at >= line->turn_size)
        return;
    line->turns[at] = (struct turn){.asked_ns = now_ns - took_ns,
        .given_ns = now_ns,
        .lease = (int64_t)session->memory[SITE_LEASE],
        .user = user};
    session->memory[MEMORY_TURN] = at + 1;
}

static void judge(struct line *line, struct session *session, const struct reply *reply,
    struct judgement *judgement, int64_t user)
{
    int64_t now_ns = clock_mono_ns();
    site_judge(&line->site, session, reply, judgement);
    if (judgement->outcome == VENDING_STARTED)
        add_turn(line, session, user, reply->took_ns, now_ns);
    else if (judgement->outcome == VENDING_SOLD && session->memory[MEMORY_TURN] > 0)
        line->turns[session->memory[MEMORY_TURN] - 1].sold_ns = now_ns;
}

static void judge_opener(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    judge(rush->state, session, reply, judgement, -1);
}

static void judge_user(
    const struct rush *rush, struct session *session, const struct reply *reply, struct judgement *judgement)
{
    judge(rush->state, session, reply, judgement, (int64_t)(session->serial % (uint64_t)rush->options.users));
}

/* --- before the run --- */

static enum err check_options(const struct rush_options *options, struct error *error)
{
    if (options->rate > 0)
        return error_set(error, ERR_USAGE, "line has no --rate: its users come back when they are served");
    if (options->users > USERS_MAX || options->seconds > SECONDS_MAX)
        return error_set(error, ERR_USAGE,
            "%lld users for %lld s are too many: expected up to %d users for up to %d s",
            (long long)options->users, (long long)options->seconds, USERS_MAX, SECONDS_MAX);
    if (options->dispense_ms < DISPENSE_MS_MIN)
        return error_set(error, ERR_USAGE,
            "nobody waits for machines that dispense in %lld ms: expected at least %d ms, and the same "
            "--dispense-time as the server's",
            (long long)options->dispense_ms, DISPENSE_MS_MIN);
    if (options->users <= options->machines)
        return error_set(error, ERR_USAGE,
            "%lld users do not wait for %lld machines: expected more users than machines",
            (long long)options->users, (long long)options->machines);
    return ERR_NONE;
}

static enum err check_wait(const struct rush_options *options, const struct line *line, struct error *error)
{
    int64_t last_ms = (options->users + options->machines) * line->interval_ns / NS_PER_MS;
    if (last_ms <= options->wait_s * MS_PER_S)
        return ERR_NONE;
    return error_set(error, ERR_USAGE,
        "the last of %lld users waits %lld ms for a machine: expected fewer users, or a --wait longer than "
        "%lld s",
        (long long)options->users, (long long)last_ms, (long long)options->wait_s);
}

static enum err fill_options(struct rush_options *options, struct error *error)
{
    const int64_t wait_usual_s = 60; /* what servers allow unless told otherwise */
    options->machines = options->machines > 0 ? options->machines : MACHINES;
    options->users = options->users > 0 ? options->users : USERS;
    options->seconds = options->seconds > 0 ? options->seconds : SECONDS;
    options->stock = options->stock > 0 ? options->stock : STOCK;
    if (options->wait_s == 0) {
        options->wait_s = wait_usual_s;
        options->timeout_ms += wait_usual_s * MS_PER_S;
    }
    return check_options(options, error);
}

static void add_crowds(struct rush *rush)
{
    const struct line *line = rush->state;
    const struct rush_options *options = &rush->options;
    int64_t round_ns = options->machines * line->interval_ns;
    double per_second = (double)NS_PER_S / (double)line->interval_ns;
    struct plan openers = plan_spawn(
        0, round_ns, (uint64_t)options->machines, per_second, 2 * round_ns, 2 * round_ns); /* each once */
    rush_add_crowd(rush, (struct crowd){.name = "openers",
                             .plan = openers,
                             .write = write_request,
                             .judge = judge_opener,
                             .note_vending = site_note});
    rush_add_crowd(rush,
        (struct crowd){.name = "users",
            .plan = plan_closed(line->come_ns, options->seconds * NS_PER_S, (uint64_t)options->users, 0),
            .write = write_request,
            .judge = judge_user,
            .note_vending = site_note});
}

static enum err allot(struct rush *rush, struct line *line, struct error *error)
{
    const struct rush_options *options = &rush->options;
    int64_t sales = options->seconds * NS_PER_S / line->interval_ns;
    line->turn_size = (size_t)(2 * (sales + options->users + options->machines) + TURNS_SPARE);
    line->turns = calloc(line->turn_size, sizeof *line->turns);
    line->sold_counts = calloc((size_t)options->seconds, sizeof *line->sold_counts);
    if (line->turns == NULL || line->sold_counts == NULL)
        return error_set(error, ERR_MEMORY, "no memory for %zu turns", line->turn_size);
    return ERR_NONE;
}

static enum err prepare(struct rush *rush, struct error *error)
{
    struct line *line = calloc(1, sizeof *line);
    struct rush_options *options = &rush->options;
    rush->state = line;
    if (line == NULL)
        return error_set(error, ERR_MEMORY, "no memory for the scenario");
    enum err err = fill_options(options, error);
    if (err != ERR_NONE)
        return err;
    line->interval_ns = options->dispense_ms * NS_PER_MS / options->machines;
    line->come_ns = options->machines * line->interval_ns - line->interval_ns / 2;
    err = check_wait(options, line, error);
    if (err == ERR_NONE)
        err = site_init(&line->site, rush, error);
    if (err == ERR_NONE)
        err = allot(rush, line, error);
    if (err != ERR_NONE)
        return err;
    add_crowds(rush);
    rush_add_threshold(rush, (struct threshold){.name = "errors",
                                 .metric = METRIC_COUNT,
                                 .outcomes = ~(OUTCOME_BIT(VENDING_STARTED) | OUTCOME_BIT(VENDING_SOLD)),
                                 .compare = COMPARE_EQUAL});
    return ERR_NONE;
}

static enum err set_up(struct rush *rush, struct error *error)
{
    struct line *line = rush->state;
    return site_set_up(&line->site, rush, error);
}

static void release(struct rush *rush)
{
    struct line *line = rush->state;
    if (line == NULL)
        return;
    site_fini(&line->site);
    free(line->turns);
    free(line->sold_counts);
    free(line);
    rush->state = NULL;
}

/* --- after the run --- */

static int compare_leases(const void *a, const void *b)
{
    int64_t x = ((const struct turn *)a)->lease;
    int64_t y = ((const struct turn *)b)->lease;
    return (x > y) - (x < y);
}

/* Users who asked well before another one and got the higher lease. */
static uint64_t count_overtaken(struct turn *turns, size_t count)
{
    uint64_t overtaken = 0;
    int64_t latest_ns = INT64_MIN; /* when the latest of those with a lower lease asked */
    qsort(turns, count, sizeof *turns, compare_leases);
    for (size_t i = 0; i < count; i++) {
        overtaken += latest_ns > turns[i].asked_ns + ORDER_DOUBT_NS;
        latest_ns = turns[i].asked_ns > latest_ns ? turns[i].asked_ns : latest_ns;
    }
    return overtaken;
}

static void count_turns(struct line *line, const struct rush *rush, size_t count)
{
    uint64_t users = (uint64_t)rush->options.users;
    uint64_t *turns = calloc(users, sizeof *turns);
    ENSURE(turns != NULL); /* a generator without memory for its figures has nothing to report */
    for (size_t i = 0; i < count; i++) {
        int64_t wait_ns = line->turns[i].given_ns - line->turns[i].asked_ns;
        line->wait_longest_ns = wait_ns > line->wait_longest_ns ? wait_ns : line->wait_longest_ns;
        if (line->turns[i].user >= 0)
            turns[line->turns[i].user]++;
    }
    line->turns_fewest = UINT64_MAX;
    for (uint64_t i = 0; i < users; i++) {
        line->turns_fewest = turns[i] < line->turns_fewest ? turns[i] : line->turns_fewest;
        line->turns_most = turns[i] > line->turns_most ? turns[i] : line->turns_most;
    }
    free(turns);
}

static void count_sales(struct line *line, const struct rush *rush, size_t count, int64_t came_ns)
{
    for (size_t i = 0; i < count; i++) {
        int64_t since_ns = line->turns[i].sold_ns - came_ns;
        if (line->turns[i].sold_ns == 0 || since_ns < 0 || since_ns >= rush->options.seconds * NS_PER_S)
            continue;
        line->sold_counts[since_ns / NS_PER_S]++;
        line->sold_count++;
    }
}

static void end_round(struct rush *rush, size_t round, const struct round_result *result)
{
    struct line *line = rush->state;
    size_t count = atomic_load(&line->turn_count);
    (void)round;
    count = count < line->turn_size ? count : line->turn_size;
    line->overtaken_count = count_overtaken(line->turns, count);
    count_turns(line, rush, count);
    count_sales(line, rush, count, result->start_ns + line->come_ns);
}

static double expected_sales(const struct rush *rush)
{
    const struct line *line = rush->state;
    return (double)rush->options.seconds * (double)NS_PER_S / (double)line->interval_ns;
}

static void tear_down(struct rush *rush, const struct tally *crowd)
{
    struct line *line = rush->state;
    double expected = expected_sales(rush);
    double doubt = fmax(1, RATE_DOUBT * expected);
    (void)crowd;
    site_judge_stock(&line->site, rush);
    rush_add_invariant(rush, line->overtaken_count == 0,
        "machines were given in the order of the line: %llu of %zu were overtaken by who asked %lld ms later",
        (unsigned long long)line->overtaken_count, atomic_load(&line->turn_count),
        (long long)(ORDER_DOUBT_NS / NS_PER_MS));
    rush_add_invariant(rush,
        line->turns_fewest > 0 && line->turns_most - line->turns_fewest <= TURNS_DIFFER_MAX,
        "none starved: each of %lld users was served from %llu to %llu times", (long long)rush->options.users,
        (unsigned long long)line->turns_fewest, (unsigned long long)line->turns_most);
    rush_add_invariant(rush, fabs((double)line->sold_count - expected) <= doubt,
        "%lld machines that dispense for %lld ms sell %.0f units in %lld s (within %.0f): %llu were sold",
        (long long)rush->options.machines, (long long)rush->options.dispense_ms, expected,
        (long long)rush->options.seconds, doubt, (unsigned long long)line->sold_count);
}

/* "60 x 1": so many seconds in which so many were sold, as long as there is room. */
static void tell_seconds(const struct rush *rush, struct rush_report *report)
{
    const struct line *line = rush->state;
    char memory[RUSH_TEXT_MAX];
    struct strbuf text;
    size_t seconds = (size_t)rush->options.seconds;
    strbuf_init(&text, memory, sizeof memory - sizeof " ...");
    strbuf_lit(&text, "sold second by second:");
    for (size_t i = 0, same; i < seconds && !text.has_overflowed; i += same) {
        for (same = 1; i + same < seconds && line->sold_counts[i + same] == line->sold_counts[i];)
            same++;
        strbuf_printf(
            &text, "%s %zu x %llu", i > 0 ? "," : "", same, (unsigned long long)line->sold_counts[i]);
    }
    report_add_note(report, "%.*s%s", (int)text.len, text.base, text.has_overflowed ? " ..." : "");
}

static void tell_plan(const struct rush *rush, struct rush_report *report)
{
    const struct rush_options *options = &rush->options;
    (void)snprintf(report->plan, sizeof report->plan,
        "%lld users wait in the line for %lld machines that dispense for %lld ms, buy, and come back, for "
        "%lld s",
        (long long)options->users, (long long)options->machines, (long long)options->dispense_ms,
        (long long)options->seconds);
}

static void tell(const struct rush *rush, const struct tally *crowd, struct rush_report *report)
{
    const struct line *line = rush->state;
    uint64_t fewest = UINT64_MAX;
    uint64_t most = 0;
    (void)crowd;
    for (int64_t i = 0; i < rush->options.seconds; i++) {
        fewest = line->sold_counts[i] < fewest ? line->sold_counts[i] : fewest;
        most = line->sold_counts[i] > most ? line->sold_counts[i] : most;
    }
    double seconds = (double)rush->options.seconds;
    tell_plan(rush, report);
    tell_figure(report, "sales per second", "/s", ORIGINAL_PER_S, expected_sales(rush) / seconds,
        (double)line->sold_count / seconds);
    tell_figure(report, "fewest in a second", "", NAN, NAN, (double)fewest);
    tell_figure(report, "most in a second", "", NAN, NAN, (double)most);
    tell_figure(report, "overtaken in the line", "", NAN, 0, (double)line->overtaken_count);
    tell_figure(report, "served, the one least often", "", NAN, NAN, (double)line->turns_fewest);
    tell_figure(report, "served, the one most often", "", NAN, NAN, (double)line->turns_most);
    tell_figure(report, "wait for a machine, longest", "ms", NAN,
        (double)(rush->options.users * line->interval_ns) / NS_PER_MS_REAL,
        (double)line->wait_longest_ns / NS_PER_MS_REAL);
    tell_seconds(rush, report);
}

const struct scenario scenario_line = {
    .name = "line",
    .summary = "20 users wait in the line for five machines, buy and come back (--users, --dispense-time)",
    .face = "vending",
    .endpoints = vending_endpoints,
    .outcomes = vending_outcomes,
    .prepare = prepare,
    .set_up = set_up,
    .end_round = end_round,
    .tear_down = tear_down,
    .tell = tell,
    .release = release,
};
