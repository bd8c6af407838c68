/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doorbuster rush`: the load generator (rush/rush.h) from the command line. Exit status 0: every run passed;
 * 1: a threshold or an invariant failed, or the result is invalid or incomplete; 2: usage; 3: the server
 * cannot be reached or the sale cannot be set up. With --runs N above 1 the exit status is the number of
 * failed runs, at most 99; a run that could not be set up is a failed one.
 *
 * Runs use the same names. Between them it waits until a limiter has forgotten these: --cooldown.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "cmd/cmd.h"
#include "rush/report.h"

enum { EXIT_RUNS_MAX = 99, REPORT_SIZE_MAX = 64 << 20, STOP_LOOK_MS = 20 };

static const int64_t NS_PER_MS = 1000000;

static atomic_bool stop;

/* The first Ctrl-C ends the run with a report, the second one the program. */
static void on_signal(int number)
{
    if (atomic_exchange(&stop, true)) {
        (void)signal(number, SIG_DFL);
        (void)raise(number);
    }
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL); /* these two cannot fail for these signals */
    (void)sigaction(SIGTERM, &action, NULL);
}

static struct rush_options options_of(const struct params *params)
{
    return (struct rush_options){
        .scenario = params->args[0],
        .url = params->url,
        .admin_key = params->admin_key,
        .sku = params->sku,
        .user_prefix = params->user_prefix,
        .op = params->op,
        .journal_path = params->journal,
        .users = params->users,
        .stock = params->stock,
        .dedup_users = params->dedup_users,
        .pollers = params->pollers,
        .connections = params->connections,
        .seconds = params->seconds,
        .threads = params->threads,
        .timeout_ms = params->is_given[PARAM_timeout_ms] ? params->timeout_ms : 0,
        .clients = params->clients,
        .levels = params->levels,
        .prepared = params->prepared,
        .machines = params->machines,
        .wait_s = params->wait_s,
        .dispense_ms = params->dispense_ms,
        .order_value = params->order_value,
        .drain_max_ms = params->drain_max_ms,
        .rate = params->rate,
        .is_sale_kept = params->keep_sale,
        .clears_all = params->clear,
        .has_progress = true,
        .stop = &stop,
    };
}

static void print(const struct rush_report *reports, size_t count, bool is_summary)
{
    struct strbuf text;
    strbuf_init_heap(&text, REPORT_SIZE_MAX);
    if (is_summary)
        report_put_runs(&text, reports, count);
    else
        report_put_text(&text, reports);
    (void)fwrite(text.base, 1, text.len, stdout); /* who closed standard output does not want the report */
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    strbuf_fini(&text);
}

/* Only a run that was made has a report; one that could not be made stands in the table as incomplete. */
static enum err run_once(const struct rush_options *options, struct rush_report *report, struct error *error)
{
    enum err err = rush_run(options, report, error);
    if (err == ERR_NONE)
        print(report, 1, false);
    else
        report->verdict = RUSH_INCOMPLETE;
    if (report->scenario == NULL)
        report->scenario = options->scenario;
    return err;
}

/* Returns when the buyers of this run may come again, or at once on Ctrl-C. */
static void cool_down(const struct rush_report *report, int64_t cooldown_ms)
{
    const struct timespec pause = {.tv_nsec = STOP_LOOK_MS * NS_PER_MS};
    if (report->last_purchase_ns == 0)
        return;
    while (!atomic_load(&stop) && clock_mono_ns() - report->last_purchase_ns < cooldown_ms * NS_PER_MS)
        (void)nanosleep(&pause, NULL); /* woken by a signal: looks early */
}

static int run_all(const struct params *params, struct rush_report *reports)
{
    struct rush_options options = options_of(params);
    struct error error;
    size_t runs = (size_t)params->runs;
    size_t made = 0;
    int status = EXIT_WELL;
    while (made < runs) {
        if (made > 0)
            cool_down(&reports[made - 1], params->cooldown_ms);
        if (atomic_load(&stop))
            break;
        if (run_once(&options, &reports[made++], &error) == ERR_NONE)
            continue;
        status = cmd_fail(VERB_RUSH, &error);
        if (status == EXIT_USAGE)
            return status;
    }
    size_t failed = report_failed_count(reports, made) + (runs - made);
    if (runs > 1)
        print(reports, made, true);
    if (params->report != NULL && report_write(params->report, reports, made, &error) != ERR_NONE)
        return cmd_fail(VERB_RUSH, &error);
    if (runs == 1)
        return status != EXIT_WELL ? status : failed > 0 ? EXIT_FAILED : EXIT_WELL;
    return failed > EXIT_RUNS_MAX ? EXIT_RUNS_MAX : (int)failed;
}

int cmd_rush(int argc, char **argv)
{
    struct params params;
    struct error error;
    struct rush_report *reports = NULL;
    enum report_format format;
    int status;
    enum err err = params_parse(&params, VERB_RUSH, argc, argv, &error);
    if (err == ERR_NONE && params.report != NULL)
        err = report_format_of(params.report, &format, &error);
    if (err == ERR_NONE) {
        reports = calloc((size_t)params.runs, sizeof *reports);
        if (reports == NULL)
            err = error_set(
                &error, ERR_MEMORY, "no memory for the reports of %lld runs", (long long)params.runs);
    }
    if (err == ERR_NONE) {
        catch_signals();
        status = run_all(&params, reports);
    } else {
        status = cmd_fail(VERB_RUSH, &error);
    }
    free(reports);
    params_fini(&params);
    return status;
}
