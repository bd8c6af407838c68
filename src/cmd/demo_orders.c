/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doorbuster demo orders`: the story of the original's order processor and of ours, in four acts on one
 * store, and an audit. The original's figures are those of its own load test, which every report of the rush
 * carries; here they are not measured again.
 *
 * What is shortened is told: a payment took the original 3 s, and more than 9 s was a time-out; here both
 * are --payment-time and three times that. One line of the processor is all that there is in either case, so
 * the proportions stay. At --payment-time 3s --seconds 30 nothing is shortened.
 */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/crowd_report.h"
#include "cmd/demo.h"

enum {
    PATIENCE_PAYMENTS = 3,   /* a customer waits as long as so many payments take */
    WAIT_EXTRA_MAX_MS = 300, /* beside the payment itself: as 3.3 s for a payment of 3 s */
    REFUSAL_MAX_MS = 50,
    KILL_IN_FLIGHT_MIN = 3, /* payments under way that a kill must hit */
    KILL_LOOKS_S = 20,
    ORIGINAL_PAYMENT_S = 3,
    ORIGINAL_SECONDS = 30,
    ACTS_MAX = STAGE_JOURNALS_MAX,
    NUMBER_SIZE = 24,
    NAME_SIZE = 24
};

#define KEEP_ORDER "my-first"

struct act {
    const char *scenario;
    const char *users;
    char journal_path[STAGE_PATH_SIZE];
    char report_path[STAGE_PATH_SIZE];
    char output_path[STAGE_PATH_SIZE];
};

struct story {
    struct stage *stage;
    const struct params *params;
    struct error *error;
    char seconds[NUMBER_SIZE];
    char payment_time[NUMBER_SIZE]; /* this and the next one as a flag takes it */
    char patience[NUMBER_SIZE];
    struct act acts[ACTS_MAX];
    size_t act_count;
    struct crowd_report report; /* of the last act */
};

/* --- crowds --- */

/* One more act, which leaves a journal. */
static struct act *add_act(struct story *story, const char *scenario, const char *users)
{
    struct act *act = &story->acts[story->act_count++];
    char name[NAME_SIZE];
    act->scenario = scenario;
    act->users = users;
    (void)snprintf(name, sizeof name, "act-%zu.journal", story->act_count);
    stage_path(story->stage, name, act->journal_path);
    (void)snprintf(name, sizeof name, "act-%zu.json", story->act_count);
    stage_path(story->stage, name, act->report_path);
    (void)snprintf(name, sizeof name, "act-%zu.txt", story->act_count);
    stage_path(story->stage, name, act->output_path);
    return act;
}

static bool begin_crowd(struct story *story, const struct act *act, struct process *crowd)
{
    char url[64];
    (void)snprintf(url, sizeof url, "http://%s", story->stage->address);
    const char *const argv[] = {"rush", act->scenario, "--url", url, "--users", act->users, "--seconds",
        story->seconds, "--journal", act->journal_path, "--report", act->report_path, NULL};
    return stage_begin(story->stage, crowd, argv, act->output_path);
}

/* Reads what the crowd has to tell; the exit status, -1 also when it tells nothing. */
static int end_crowd(struct story *story, const struct act *act, struct process *crowd)
{
    struct error error;
    int exit_status = stage_end(story->stage, crowd, "rush");
    if (exit_status < 0)
        return -1;
    crowd_report_fini(&story->report);
    if (crowd_report_read(&story->report, act->report_path, &error) == ERR_NONE)
        return exit_status;
    stage_say("%s", error.message);
    return -1;
}

static int run_crowd(struct story *story, const struct act *act)
{
    struct process crowd;
    return begin_crowd(story, act, &crowd) ? end_crowd(story, act, &crowd) : -1;
}

static double figure(const struct story *story, const char *name)
{
    return crowd_report_here(&story->report, name);
}

/* Whether the crowd's own thresholds and invariants held; else what it said is shown. */
static void judge_crowd(struct story *story, const struct act *act, int exit_status, const char *what)
{
    if (story->stage->signal_number != 0)
        return;
    stage_judge(story->stage, exit_status == EXIT_WELL, "%s", what);
    if (exit_status != EXIT_WELL)
        stage_show(act->output_path, "what the crowd said");
}

/* --- the server --- */

/* With the payment as slow as the story has it, and `more` flags. False: the error is set, or a signal came.
 */
static bool start(struct story *story, const char *more, const char *value)
{
    const char *const flags[] = {
        "--payment-time", story->payment_time, "--sync-deadline", story->patience, more, value, NULL};
    return stage_start_server(story->stage, flags, story->error) == ERR_NONE;
}

struct counts {
    int64_t total;
    int64_t processing;
    int64_t completed;
};

/* What GET /stats says; false when nobody answers. */
static bool ask_counts(struct story *story, struct counts *counts)
{
    char reply[STAGE_REPLY_SIZE];
    struct slice body;
    struct json *value = NULL;
    bool is_good = stage_ask(story->stage, "GET", "/stats", NULL, reply, &body) == 200 &&
                   json_parse(body, &value) == JSON_OK;
    const struct json *states = is_good ? json_member(value, "status_breakdown") : NULL;
    is_good = is_good && json_int64(json_member(value, "total_orders"), &counts->total) &&
              json_int64(json_member(states, "processing"), &counts->processing) &&
              json_int64(json_member(states, "completed"), &counts->completed);
    json_free(value);
    return is_good;
}

/* --- act 1: the original's processor --- */

static void tell_refusals(struct story *story)
{
    double refused = figure(story, "refused at once, with Retry-After");
    double median_ms = crowd_report_median_ms(&story->report, "order_refused");
    if (refused > 0)
        stage_judge(story->stage, median_ms < REFUSAL_MAX_MS,
            "what could not be paid in time was refused at once: %.0f times, half of them within %.2f ms, "
            "told "
            "to come again after %.0f s at most",
            refused, median_ms, figure(story, "refused: Retry-After, longest"));
    else
        stage_judge(story->stage, false, "what could not be paid in time was refused: nothing was");
}

static bool play_serial(struct story *story)
{
    static const char *const shown[] = {"orders asked for", "completed", "failed", "failure rate",
        "refused at once, with Retry-After", "completed per second", "response time, average",
        "response time, longest", "completed: average", "completed: longest", "refused: 99 %", NULL};
    struct act *act = add_act(story, "sync-flash", "20");
    stage_say("\n-- 1. the original's processor: one payment after the other; %s customers order for %s s",
        act->users, story->seconds);
    if (!start(story, "--payment-slots-max", "1"))
        return false;
    int exit_status = run_crowd(story, act);
    if (story->stage->signal_number == 0 && story->report.run != NULL) {
        crowd_report_show(&story->report, shown);
        stage_say(
            "With one slot nobody can pay more orders. The original let everybody in, most of them in vain; "
            "here\n"
            "who is let in is paid, and who is not knows at once. Who comes again too early is counted each "
            "time.");
        tell_refusals(story);
    }
    judge_crowd(
        story, act, exit_status, "every order that was accepted was paid before its customer gave up");
    stage_stop_server(story->stage, true);
    return story->stage->signal_number == 0;
}

/* --- act 2: slots that grow --- */

static void judge_waiting(struct story *story)
{
    double lost = figure(story, "failed") + figure(story, "refused at once, with Retry-After");
    double mean_ms = figure(story, "completed: average");
    double most_ms = (double)(story->params->demo_payment_ms + WAIT_EXTRA_MAX_MS);
    stage_judge(story->stage, lost < 0.5, "no order failed or was refused (%.0f)", lost);
    stage_judge(story->stage, mean_ms <= most_ms,
        "customers waited %.0f ms on average, of which the payment itself takes %lld ms", mean_ms,
        (long long)story->params->demo_payment_ms);
}

static bool play_growing(struct story *story)
{
    static const char *const shown[] = {"orders asked for", "completed", "failed", "failure rate",
        "refused at once, with Retry-After", "completed per second", "response time, average",
        "response time, longest", NULL};
    struct act *act = add_act(story, "sync-flash", "20");
    stage_say(
        "\n-- 2. ours, whose payments are no threads: the same %s customers, slots that grow", act->users);
    if (!start(story, NULL, NULL))
        return false;
    int exit_status = run_crowd(story, act);
    if (story->stage->signal_number == 0 && story->report.run != NULL) {
        crowd_report_show(&story->report, shown);
        judge_waiting(story);
    }
    judge_crowd(story, act, exit_status, "every customer was told the truth, and in time");
    return story->stage->signal_number == 0;
}

/* --- act 3: nobody waits --- */

static bool play_async(struct story *story)
{
    static const char *const shown[] = {"orders asked for", "accepted", "success rate",
        "orders accepted per second", "response time, average", "response time, 99 %",
        "waiting when the rush was over", "backlog worked off in", "completed", "still waiting at the end",
        NULL};
    struct act *act = add_act(story, "async-flash", "60");
    stage_say(
        "\n-- 3. ours, asynchronous: %s customers get their answer before the payment, and it is on disk by "
        "then",
        act->users);
    int exit_status = run_crowd(story, act);
    if (story->stage->signal_number == 0 && story->report.run != NULL)
        crowd_report_show(&story->report, shown);
    judge_crowd(story, act, exit_status,
        "every order was accepted within milliseconds, and the backlog of payments was worked off");
    return story->stage->signal_number == 0;
}

/* --- act 4: kill -9 --- */

/* Waits until payments are under way and others done, so that a kill hits all that there is to hit. */
static bool await_payments(struct story *story, const struct counts *before, struct counts *now)
{
    int64_t end_ns = clock_mono_ns() + (int64_t)KILL_LOOKS_S * 1000000000;
    while (clock_mono_ns() < end_ns && stage_pause(story->stage))
        if (ask_counts(story, now) && now->processing >= KILL_IN_FLIGHT_MIN &&
            now->completed > before->completed)
            return true;
    return false;
}

/* False: there is nothing left to play on. */
static bool kill_and_restart(struct story *story, const struct counts *before)
{
    struct counts now = {0};
    bool is_amid = await_payments(story, before, &now);
    if (story->stage->signal_number != 0)
        return false;
    stage_judge(story->stage, is_amid, "SIGKILL hits the server with %lld payments under way",
        (long long)now.processing);
    stage_kill_server(story->stage);
    return start(story, NULL, NULL);
}

static void judge_survival(struct story *story, const struct act *act)
{
    bool holds = crowd_report_holds(&story->report);
    stage_judge(story->stage, holds,
        "all %.0f orders that were acknowledged are there, and all were finished: %.0f completed, %.0f still "
        "waiting",
        figure(story, "accepted"), figure(story, "completed"), figure(story, "still waiting at the end"));
    if (!holds)
        stage_show(act->output_path, "what the crowd said");
}

static bool play_kill(struct story *story)
{
    struct process crowd;
    struct counts before = {0};
    struct act *act = add_act(story, "async-flash", "20");
    stage_say("\n-- 4. kill -9 in the middle of payments, while %s customers go on ordering", act->users);
    if (!ask_counts(story, &before) || !begin_crowd(story, act, &crowd)) {
        stage_judge(story->stage, false, "the server answers and a crowd comes");
        return true;
    }
    bool is_up = kill_and_restart(story, &before);
    int exit_status = end_crowd(story, act, &crowd);
    if (story->stage->signal_number != 0 || !is_up)
        return false;
    if (exit_status < 0)
        stage_judge(story->stage, false, "the crowd lived to tell");
    else
        judge_survival(story, act);
    return true;
}

/* --- the books --- */

static bool audit(struct story *story, const char *when, bool is_again)
{
    struct stage_audit audit = {.when = when,
        .promise = "nothing acknowledged is missing, nothing was charged twice",
        .is_complete = !story->params->keep || !is_again,
        .is_quiet = is_again};
    for (size_t i = 0; i < story->act_count; i++)
        audit.journals[i] = story->acts[i].journal_path;
    return stage_judge_audit(story->stage, &audit, stage_run_audit(story->stage, &audit, NULL));
}

static void keep_serving(struct story *story)
{
    const char *address = story->stage->address;
    stage_say("\n-- your turn: http://%s takes orders\n\n"
              "  curl http://%s/orders/async -H 'Content-Type: application/json' "
              "-d '{\"order_id\":\"" KEEP_ORDER "\",\"customer_id\":7,"
              "\"items\":[{\"product_id\":\"P-1\",\"quantity\":2,\"price\":19.99}]}'\n"
              "  curl http://%s/orders/" KEEP_ORDER "\n"
              "  curl -N http://%s/orders/" KEEP_ORDER "/events\n\n"
              "The admin key is %s, the store %s.\nCtrl-C stops the server, audits once more and removes "
              "everything.",
        address, address, address, address, story->stage->admin_key, story->stage->store_path);
    if (!stage_await_signal(story->stage))
        stage_judge(story->stage, false, "the server kept running");
}

static void introduce(const struct story *story)
{
    double payment_s = (double)story->params->demo_payment_ms / 1000;
    bool is_shortened = payment_s < ORIGINAL_PAYMENT_S || story->params->demo_seconds < ORIGINAL_SECONDS;
    stage_say("The original took an order, had it paid by a processor that did one payment of %d s after the "
              "other, and "
              "then\nanswered. In its own load test, 20 customers for %d s, 6 orders were completed and 39 "
              "failed (87 %%), "
              "after 9.5 s\non average, and every health check stayed green. Those are its figures below.\n",
        ORIGINAL_PAYMENT_S, ORIGINAL_SECONDS);
    stage_say("Here a payment takes %g s where theirs took %d s, customers give up after %g s (there, more "
              "than %d s "
              "counted\nas a time-out), and each crowd comes for %s s.",
        payment_s, ORIGINAL_PAYMENT_S, payment_s * PATIENCE_PAYMENTS, ORIGINAL_PAYMENT_S * PATIENCE_PAYMENTS,
        story->seconds);
    if (is_shortened)
        stage_say("That is shortened, so that everything fits into a minute; at full length:\n"
                  "doorbuster demo orders --payment-time %ds --seconds %d",
            ORIGINAL_PAYMENT_S, ORIGINAL_SECONDS);
}

static bool play(struct story *story)
{
    return play_serial(story) && play_growing(story) && play_async(story) && play_kill(story) &&
           audit(story, "under a running server", false);
}

enum err demo_orders(struct stage *stage, const struct params *params, struct error *error)
{
    struct story story = {.stage = stage, .params = params, .error = error};
    long long payment_ms = (long long)params->demo_payment_ms;
    *error = (struct error){0};
    (void)snprintf(story.seconds, sizeof story.seconds, "%lld", (long long)params->demo_seconds);
    (void)snprintf(story.payment_time, sizeof story.payment_time, "%lldms", payment_ms);
    (void)snprintf(story.patience, sizeof story.patience, "%lldms", PATIENCE_PAYMENTS * payment_ms);
    introduce(&story);
    bool is_over = play(&story);
    if (is_over && params->keep)
        keep_serving(&story);
    stage_stop_server(stage, false);
    if (is_over && stage->signal_number == 0)
        (void)audit(&story, "at rest", true);
    crowd_report_fini(&story.report);
    return error->code;
}
