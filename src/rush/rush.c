/* SPDX-License-Identifier: Apache-2.0 */
/* One run from beginning to end: options, set-up, squads, tear-down, figures, verdict. */
#include "rush/rush.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/database_url.h"
#include "base/ensure.h"
#include "rush/journal.h"
#include "rush/progress.h"
#include "rush/scenario.h"
#include "rush/validity.h"
#include "rush/squad.h"

enum {
    TIMEOUT_DEFAULT_MS = 30000,
    THREADS_MAX = 64,
    WATCH_INTERVAL_MS = 20,   /* how often the main thread looks whether the run is over */
    START_DELAY_NS = 5000000, /* until the plans' zero: all threads are there by then */
    FILES_SPARE = 64          /* descriptors that are not connections */
};

static const char ADMIN_KEY_DEFAULT[] = "dev-admin-key-12345678";

const double rush_percents[RUSH_PERCENTILE_COUNT] = {50, 75, 90, 95, 99, 99.9, 99.99};

const char *rush_verdict_name(enum rush_verdict verdict)
{
    static const char *const names[] = {
        [RUSH_PASSED] = "PASSED",
        [RUSH_FAILED] = "FAILED",
        [RUSH_INVALID] = "INVALID",
        [RUSH_INCOMPLETE] = "INCOMPLETE",
    };
    return names[verdict];
}

/* --- before the run --- */

static enum err no_such_scenario(const char *name, struct error *error)
{
    char known[512];
    size_t len = 0;
    known[0] = '\0';
    for (size_t i = 0; scenario_at(i) != NULL && len < sizeof known - 1; i++)
        len += (size_t)snprintf(
            known + len, sizeof known - len, "%s%s", i > 0 ? ", " : "", scenario_at(i)->name);
    return error_set(error, ERR_USAGE, "no scenario is called '%.60s'; there are %s",
        name == NULL ? "" : database_shown(name), known);
}

static enum err fill_options(struct rush *rush, const struct rush_options *options, struct error *error)
{
    rush->options = *options;
    rush->scenario = scenario_find(options->scenario);
    if (rush->scenario == NULL)
        return no_such_scenario(options->scenario, error);
    if (rush->options.sku == NULL)
        rush->options.sku = rush->scenario->sku;
    if (rush->options.admin_key == NULL)
        rush->options.admin_key = ADMIN_KEY_DEFAULT;
    if (rush->options.timeout_ms == 0)
        rush->options.timeout_ms =
            (rush->scenario->timeout_ms > 0 ? rush->scenario->timeout_ms : TIMEOUT_DEFAULT_MS) +
            rush->options.wait_s * 1000;
    rush->endpoints = rush->scenario->endpoints;
    if (rush->options.threads == 0)
        rush->options.threads = 1;
    if (rush->options.threads > THREADS_MAX)
        return error_set(error, ERR_USAGE, "%lld threads are too many: expected 1 to %d",
            (long long)rush->options.threads, THREADS_MAX);
    return http_target_init(&rush->target, rush->options.url, error);
}

/* Every virtual user may have a connection: raises the limit of open files as far as the kernel allows. */
static enum err allow_files(const struct rush *rush, struct error *error)
{
    struct rlimit limit;
    rlim_t needed = FILES_SPARE + (rlim_t)rush->vu_count_most;
    for (size_t i = 0; i < rush->crowd_count && rush->vu_count_most == 0; i++)
        needed += (rlim_t)rush->crowds[i].plan.vu_count;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return ERR_NONE;
    if (limit.rlim_max < needed)
        return error_set(error, ERR_USAGE,
            "%llu open files are needed and %llu allowed; raise the limit (ulimit -n) "
            "or let fewer come",
            (unsigned long long)needed, (unsigned long long)limit.rlim_max);
    limit.rlim_cur = needed;
    (void)setrlimit(
        RLIMIT_NOFILE, &limit); /* if it fails, connections will, and are counted as the generator's */
    return ERR_NONE;
}

/* --- the run --- */

static bool is_stopped(const struct rush *rush)
{
    return rush->options.stop != NULL && atomic_load(rush->options.stop);
}

/* Looks after the squads until they are through; true when the run was cut short. */
static bool watch(const struct rush *rush, struct squad *const *squads, size_t count)
{
    const struct timespec pause = {.tv_nsec = WATCH_INTERVAL_MS * 1000000L};
    struct progress progress;
    bool was_stopped = false;
    progress_init(&progress, rush);
    for (;;) {
        struct squad_progress sum = {.is_over = true};
        for (size_t i = 0; i < count; i++) {
            struct squad_progress one;
            squad_progress(squads[i], &one);
            sum.answered += one.answered;
            sum.failed += one.failed;
            sum.is_over = sum.is_over && one.is_over;
        }
        if (sum.is_over)
            break;
        progress_show(&progress, &sum);
        if (is_stopped(rush) && !was_stopped) {
            was_stopped = true;
            for (size_t i = 0; i < count; i++)
                squad_stop(squads[i]);
        }
        (void)nanosleep(&pause, NULL); /* woken by a signal: looks early */
    }
    progress_end(&progress);
    return was_stopped;
}

/* What all squads measured together. */
struct measured {
    struct tally tally;
    struct validity_lag lag; /* of the worst round */
    double busy;             /* the busiest thread */
    int64_t cpu_ns;
    int64_t measured_ns;
    int64_t last_answer_ns;
    int64_t last_purchase_ns;
    uint64_t request_count;
    int journal_errno;
    int last_errno;
    bool was_stopped;
};

static void add_result(struct measured *measured, const struct squad_result *result)
{
    double busy = result->measured_ns <= 0
                      ? 0
                      : (double)(result->cpu_ns + result->runnable_ns) / (double)result->measured_ns;
    tally_merge(&measured->tally, &result->tally);
    measured->busy = busy > measured->busy ? busy : measured->busy;
    measured->cpu_ns += result->cpu_ns;
    measured->request_count += result->request_count;
    if (result->last_answer_ns > measured->last_answer_ns)
        measured->last_answer_ns = result->last_answer_ns;
    if (result->last_purchase_ns > measured->last_purchase_ns)
        measured->last_purchase_ns = result->last_purchase_ns;
    if (measured->journal_errno == 0)
        measured->journal_errno = result->journal_errno;
    if (result->last_errno != 0)
        measured->last_errno = result->last_errno;
}

struct round {
    struct measured measured;
    int64_t start_ns;
};

/* One round; adds what it met to the two. */
static enum err run_squads(const struct rush *rush, const struct journal *journal, struct round *round,
    struct measured *all, struct error *error)
{
    struct squad *squads[THREADS_MAX] = {NULL};
    size_t count = (size_t)rush->options.threads;
    size_t started = 0;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < count; i++) {
        squads[i] = squad_create(rush, journal, (unsigned)i, (unsigned)count);
        if (squads[i] == NULL) {
            err = error_set(error, ERR_MEMORY, "no memory for so many virtual users");
            goto out;
        }
    }
    round->start_ns = clock_mono_ns() + START_DELAY_NS;
    for (; started < count && err == ERR_NONE; started += err == ERR_NONE)
        err = squad_start(squads[started], round->start_ns, error);
    for (size_t i = 0; i < started && err != ERR_NONE; i++)
        squad_stop(squads[i]);
    all->was_stopped = watch(rush, squads, started);
out:
    for (size_t i = 0; i < count; i++) {
        struct squad_result result;
        if (i < started) {
            squad_join(squads[i], &result);
            add_result(&round->measured, &result);
            add_result(all, &result);
            tally_fini(&result.tally);
        }
        squad_destroy(squads[i]);
    }
    return err;
}

/* --- the report --- */

struct rush_times rush_times_of(const struct hist *hist)
{
    struct rush_times times = {.count = hist->count, .mean_ns = hist_mean_ns(hist), .max_ns = hist->max_ns};
    times.min_ns = hist->count > 0 ? hist->min_ns : 0;
    for (size_t i = 0; i < RUSH_PERCENTILE_COUNT; i++)
        times.percentile_ns[i] = hist_percentile_ns(hist, rush_percents[i]);
    return times;
}

static void add_endpoint(
    struct rush_report *report, const char *name, const struct hist *latency, const struct hist *duration)
{
    ENSURE(report->endpoint_count < RUSH_ENDPOINT_ROWS_MAX);
    report->endpoints[report->endpoint_count++] =
        (struct rush_endpoint){name, rush_times_of(latency), rush_times_of(duration)};
}

static void add_rows(struct rush_report *report, const struct rush *rush, const struct tally *tally)
{
    for (unsigned i = 0; rush->endpoints[i] != NULL; i++) {
        const char *name = rush->endpoints[i];
        struct hist latency;
        struct hist duration;
        hist_init(&latency);
        hist_init(&duration);
        tally_latency(tally, i, &latency);
        tally_duration(tally, i, &duration);
        if (latency.count == 0)
            continue;
        add_endpoint(report, name, &latency, &duration);
        for (unsigned j = 0; j < scenario_outcome_count(rush->scenario); j++) {
            const struct hist *hist = tally->latency[i][j];
            if (hist == NULL || report->row_count == RUSH_ROWS_MAX)
                continue;
            const struct outcome *outcome = scenario_outcome(rush->scenario, j);
            report->rows[report->row_count++] = (struct rush_row){name, outcome->name, outcome->meaning,
                (double)hist->count / (double)latency.count, rush_times_of(hist)};
        }
    }
}

/* Set-up, tear-down, and everything together: what the thresholds look at. */
static void add_sums(struct rush_report *report, const struct rush *rush, const struct tally *tally)
{
    const struct hist *admin = exchange_latency(rush->exchange);
    struct hist latency;
    struct hist duration;
    hist_init(&latency);
    hist_init(&duration);
    tally_latency(tally, ENDPOINTS_MAX, &latency);
    tally_duration(tally, ENDPOINTS_MAX, &duration);
    report->request_count = latency.count;
    report->admin_request_count = admin->count;
    hist_merge(&latency, admin);
    hist_merge(&duration, admin);
    if (admin->count > 0)
        add_endpoint(report, "set-up", admin, admin);
    add_endpoint(report, "all", &latency, &duration);
}

static void put_plan(struct strbuf *out, const struct crowd *crowd)
{
    const struct plan *plan = &crowd->plan;
    double begin_s = (double)plan->begin_ns / 1e9;
    double seconds = (double)(plan_end_ns(plan) - plan->begin_ns) / 1e9;
    unsigned long long users = plan->vu_count;
    if (plan->kind == PLAN_BURST)
        strbuf_printf(out, "%llu %s at once on fresh connections", users, crowd->name);
    else if (plan->kind == PLAN_OPEN)
        strbuf_printf(out, "%llu %s at %g a second over %llu connections",
            (unsigned long long)plan->session_count, crowd->name, plan->rate, users);
    else if (plan->think_max_ns > 0)
        strbuf_printf(out, "up to %llu %s, each again %g to %g s after its answer, for %g s", users,
            crowd->name, (double)plan->think_min_ns / 1e9, (double)plan->think_max_ns / 1e9, seconds);
    else if (plan->interval_ns > 0)
        strbuf_printf(out, "%s%llu %s, each every %g s, for %g s", plan->users_first == 0 ? "up to " : "",
            users, crowd->name, (double)plan->interval_ns / 1e9, seconds);
    else
        strbuf_printf(out, "%llu %s, each again as soon as answered, for %g s", users, crowd->name, seconds);
    if (plan->begin_ns > 0)
        strbuf_printf(out, " (from %g s on)", begin_s);
}

static void describe(struct rush_report *report, const struct rush *rush)
{
    struct strbuf text;
    report->scenario = rush->scenario->name;
    report->summary = rush->scenario->summary;
    report->threads = rush->options.threads;
    (void)snprintf(report->url, sizeof report->url, "http://%s", rush->target.authority);
    if (rush->scenario->face == NULL)
        (void)snprintf(report->sku, sizeof report->sku, "%s", rush->options.sku);
    strbuf_init(&text, report->plan, sizeof report->plan - 1);
    for (size_t i = 0; i < rush->crowd_count; i++) {
        if (i > 0)
            strbuf_lit(&text, "; ");
        put_plan(&text, &rush->crowds[i]);
    }
    report->plan[text.len] = '\0';
}

/* The measured time: as planned when it was, else until the last answer. */
static double measured_seconds(const struct rush *rush, const struct measured *measured, int64_t start_ns)
{
    int64_t from_ns = start_ns + rush->measure_from_ns;
    int64_t until_ns = measured->last_answer_ns;
    bool is_planned = rush->measure_until_ns != INT64_MAX && rush->crowds[0].plan.kind == PLAN_CLOSED;
    if (is_planned && !measured->was_stopped)
        until_ns = start_ns + rush->measure_until_ns;
    return until_ns > from_ns ? (double)(until_ns - from_ns) / 1e9 : 0;
}

static bool check_thresholds(struct rush_report *report, const struct rush *rush, const struct tally *tally)
{
    struct figures figures = {tally, exchange_latency(rush->exchange), exchange_failed_count(rush->exchange)};
    bool are_met = true;
    for (size_t i = 0; i < rush->threshold_count; i++) {
        report->thresholds[i] = threshold_check(&rush->thresholds[i], &figures);
        are_met = are_met && report->thresholds[i].is_met;
    }
    report->threshold_count = rush->threshold_count;
    for (size_t i = 0; i < rush->invariant_count; i++) {
        report->invariants[i] = rush->invariants[i];
        are_met = are_met && rush->invariants[i].holds;
    }
    report->invariant_count = rush->invariant_count;
    return are_met;
}

static void judge(struct rush_report *report, const struct rush *rush, const struct measured *measured)
{
    struct validity_input input = {&measured->tally, measured->busy, measured->last_errno, measured->lag};
    bool are_met = check_thresholds(report, rush, &measured->tally);
    if (measured->was_stopped)
        report_add_reason(report, "ended early on request");
    if (measured->tally.unsent_count > 0)
        report_add_reason(
            report, "%llu requests were never sent", (unsigned long long)measured->tally.unsent_count);
    bool is_complete = report->reason_count == 0;
    bool is_valid = validity_judge(rush, &input, report);
    if (rush->hint != NULL)
        report_add_note(report, "%s", rush->hint);
    report->verdict = !is_complete ? RUSH_INCOMPLETE
                      : !is_valid  ? RUSH_INVALID
                      : are_met    ? RUSH_PASSED
                                   : RUSH_FAILED;
}

static void fill_report(
    struct rush_report *report, const struct rush *rush, const struct measured *measured, int64_t start_ns)
{
    const struct tally *tally = &measured->tally;
    describe(report, rush);
    add_rows(report, rush, tally);
    add_sums(report, rush, tally);
    report->seconds = measured_seconds(rush, measured, start_ns);
    report->requests_per_s = report->seconds > 0 ? (double)report->request_count / report->seconds : 0;
    report->unsent_count = tally->unsent_count;
    report->generator_busy = measured->busy;
    report->generator_cpu_us =
        measured->request_count > 0 ? (double)measured->cpu_ns / 1e3 / (double)measured->request_count : 0;
    report->connect = rush_times_of(&tally->connect);
    report->lag = rush_times_of(&tally->lag);
    if (rush->scenario->tell != NULL)
        rush->scenario->tell(rush, tally, report);
    judge(report, rush, measured);
}

/* Everything that needs no server. */
static enum err prepare(
    struct rush *rush, const struct rush_options *options, struct journal *journal, struct error *error)
{
    rush->measure_until_ns = INT64_MAX;
    enum err err = fill_options(rush, options, error);
    if (err == ERR_NONE)
        err = rush->scenario->prepare(rush, error);
    if (err == ERR_NONE)
        err = allow_files(rush, error);
    if (err == ERR_NONE)
        err = journal_open(journal, rush->options.journal_path, rush, error);
    rush->journal = journal;
    if (err != ERR_NONE)
        return err;
    rush->exchange = exchange_create(&rush->target, rush->options.timeout_ms);
    return rush->exchange != NULL ? ERR_NONE
                                  : error_set(error, ERR_MEMORY, "no memory or descriptors for a run");
}

static enum err run_round(struct rush *rush, const struct journal *journal, size_t number,
    struct round *round, struct measured *all, struct error *error)
{
    const struct scenario *scenario = rush->scenario;
    memset(round, 0, sizeof *round);
    tally_init(&round->measured.tally);
    if (scenario->begin_round != NULL)
        scenario->begin_round(rush, number);
    enum err err = run_squads(rush, journal, round, all, error);
    if (err == ERR_NONE) {
        const struct tally *crowd = &round->measured.tally;
        all->lag = validity_lag_worse(all->lag, validity_lag_of(rush, crowd));
        if (scenario->end_round != NULL)
            scenario->end_round(
                rush, number, &(struct round_result){crowd, round->start_ns, round->measured.last_answer_ns});
    }
    tally_fini(&round->measured.tally);
    return err;
}

/* *start_ns becomes the zero of the first round's plans. */
static enum err run_rounds(struct rush *rush, const struct journal *journal, int64_t *start_ns,
    struct measured *all, struct error *error)
{
    struct round *round = malloc(sizeof *round);
    size_t count = rush->round_count > 0 ? rush->round_count : 1;
    enum err err = ERR_NONE;
    if (round == NULL)
        return error_set(error, ERR_MEMORY, "no memory for a run");
    tally_init(&all->tally);
    for (size_t i = 0; i < count && err == ERR_NONE && !all->was_stopped; i++) {
        err = run_round(rush, journal, i, round, all, error);
        if (i == 0)
            *start_ns = round->start_ns;
    }
    free(round);
    return err;
}

static enum err run(struct rush *rush, const struct journal *journal, struct measured *measured,
    struct rush_report *report, struct error *error)
{
    int64_t start_ns = 0;
    report->began_wall_ms = clock_wall_ms();
    enum err err = rush->scenario->set_up(rush, error);
    if (err == ERR_NONE)
        err = run_rounds(rush, journal, &start_ns, measured, error);
    if (err != ERR_NONE)
        return err;
    report->last_purchase_ns = measured->last_purchase_ns;
    rush->scenario->tear_down(rush, &measured->tally);
    if (measured->journal_errno != 0)
        return error_set(error, measured->journal_errno == ENOSPC ? ERR_FULL : ERR_IO,
            "the journal %s could not be written: %s", rush->options.journal_path,
            strerror(measured->journal_errno));
    fill_report(report, rush, measured, start_ns);
    return ERR_NONE;
}

enum err rush_run(const struct rush_options *options, struct rush_report *report, struct error *error)
{
    struct rush *rush = calloc(1, sizeof *rush);
    struct measured *measured = calloc(1, sizeof *measured);
    struct journal journal = {.fd = -1};
    enum err err = ERR_NONE;
    memset(report, 0, sizeof *report);
    if (rush == NULL || measured == NULL) {
        err = error_set(error, ERR_MEMORY, "no memory for a run");
        goto out;
    }
    err = prepare(rush, options, &journal, error);
    if (err == ERR_NONE)
        err = run(rush, &journal, measured, report, error);
    journal_close(&journal);
    tally_fini(&measured->tally);
    exchange_destroy(rush->exchange);
    if (rush->scenario != NULL)
        rush->scenario->release(rush);
out:
    free(measured);
    free(rush);
    return err;
}
