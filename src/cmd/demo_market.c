/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doorbuster demo marketplace`: the story of the original's marketplace and of ours, on one store: a crowd
 * of new customers with keys of their own, the original's checks, the same coins spent by many connections at
 * once, and the same once more while the server is killed again and again. Then an audit of all that was
 * acknowledged. The original's figures are those of its own load test, which the report of the rush carries;
 * here they are not measured again.
 *
 * All customers are those of `doorbuster rush`, which sign for themselves, and send an intent that got no
 * answer again until it gets one.
 */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/strbuf.h"
#include "cmd/cmd.h"
#include "cmd/crowd_report.h"
#include "cmd/demo.h"

enum {
    ACTS_MAX = STAGE_JOURNALS_MAX,
    WORDS_MAX = 4, /* that a crowd's command line has of its own */
    NUMBER_SIZE = 24,
    LEVELS_SIZE = 64,
    PATH_SUFFIX_SIZE = 24,
    FEW_USERS = 10, /* the contract asks for a time at these two levels */
    FEW_P99_MAX_MS = 500,
    MANY_USERS = 100,
    MANY_P99_MAX_MS = 2000,
    CHECK_USERS = 10, /* with how many the original was asked for its reads */
    CHECK_SECONDS = 2,
    SPEND_USERS = 100,
    KILLED_USERS = 1000, /* connections */
    KILLS = 3,
    KILL_AFTER_MIN = 250, /* transfers done by a server before it is killed: more than its pairs make */
    KILL_LIMIT_S = 60,
    LOOK_MS = 5,
    JOURNAL_LINE_MAX = 4096
};

static const char TRANSFERRED[] = "doorbuster_wallets_transferred_total";
static const char REPEATED[] = "doorbuster_intents_repeated_total";

struct act {
    char journal_path[STAGE_PATH_SIZE];
    char report_path[STAGE_PATH_SIZE];
    char output_path[STAGE_PATH_SIZE];
};

struct story {
    struct stage *stage;
    const struct params *params;
    struct error *error;
    char url[64];
    struct act acts[ACTS_MAX];
    size_t act_count;
    struct crowd_report report; /* of the last act */
};

/* --- crowds --- */

/* One more act, which leaves a journal. */
static struct act *add_act(struct story *story)
{
    char name[PATH_SUFFIX_SIZE];
    ENSURE(story->act_count < ACTS_MAX);
    struct act *act = &story->acts[story->act_count++];
    (void)snprintf(name, sizeof name, "act-%zu.journal", story->act_count);
    stage_path(story->stage, name, act->journal_path);
    (void)snprintf(name, sizeof name, "act-%zu.json", story->act_count);
    stage_path(story->stage, name, act->report_path);
    (void)snprintf(name, sizeof name, "act-%zu.txt", story->act_count);
    stage_path(story->stage, name, act->output_path);
    return act;
}

/* `words` are flags of the scenario's own, ended by NULL. */
static bool begin_crowd(struct story *story, const struct act *act, const char *scenario,
    const char *const *words, struct process *crowd)
{
    const char *argv[9 + WORDS_MAX] = {
        "rush", scenario, "--url", story->url, "--journal", act->journal_path, "--report", act->report_path};
    for (size_t i = 0; words[i] != NULL; i++) {
        ENSURE(i < WORDS_MAX);
        argv[8 + i] = words[i];
    }
    return stage_begin(story->stage, crowd, argv, act->output_path);
}

/* False, with a line that says why unless a signal came: the crowd has left no report. */
static bool read_report(struct story *story, const struct act *act)
{
    struct error error;
    if (story->stage->signal_number != 0)
        return false;
    crowd_report_fini(&story->report);
    if (crowd_report_read(&story->report, act->report_path, &error) == ERR_NONE)
        return true;
    stage_judge(story->stage, false, "%s", error.message);
    stage_show(act->output_path, "what the crowd said");
    return false;
}

/* Whether there is a report; what the crowd found is in it. */
static bool run_crowd(
    struct story *story, const struct act *act, const char *scenario, const char *const *words)
{
    struct process crowd;
    if (!begin_crowd(story, act, scenario, words, &crowd))
        return false;
    (void)stage_end(story->stage, &crowd, "rush");
    return read_report(story, act);
}

static double number_of(const struct json *object, const char *name)
{
    double number;
    return json_double(json_member(object, name), &number) ? number : NAN;
}

/* A line for each invariant that the crowd has looked at; without one nothing was shown. */
static void judge_invariants(struct story *story)
{
    const struct json *invariants = json_member(story->report.run, "invariants");
    for (size_t i = 0; i < json_item_count(invariants); i++) {
        const struct json *item = json_item(invariants, i);
        struct slice text = SLICE("an invariant without a text");
        bool is_passed = false;
        bool is_told = json_text(json_member(item, "invariant"), &text) &&
                       json_bool(json_member(item, "passed"), &is_passed);
        stage_judge(story->stage, is_told && is_passed, "%.*s", SLICE_ARGS(text));
    }
    if (json_item_count(invariants) == 0)
        stage_judge(story->stage, false, "the crowd looked at what must hold");
}

/* --- the server --- */

static bool start(struct story *story)
{
    static const char *const flags[] = {NULL};
    if (stage_start_server(story->stage, flags, story->error) != ERR_NONE)
        return false;
    (void)snprintf(story->url, sizeof story->url, "http://%s", story->stage->address);
    return true;
}

/* A figure of GET /metrics that has no labels; -1: nobody answers, or there is none. */
static int64_t ask_metric(struct story *story, const char *name)
{
    char reply[STAGE_REPLY_SIZE];
    char start_of_line[64];
    struct slice body;
    int64_t value = -1;
    (void)snprintf(start_of_line, sizeof start_of_line, "\n%s ", name);
    if (stage_ask(story->stage, "GET", "/metrics", NULL, reply, &body) != 200)
        return -1;
    const char *line = strstr(body.base, start_of_line); /* a reply ends with a NUL */
    if (line == NULL)
        return -1;
    const char *number = line + strlen(start_of_line);
    return slice_to_i64(slice_make(number, strcspn(number, "\r\n")), &value) ? value : -1;
}

/* --- act 1: new customers --- */

static double p99_of(const struct json *level, const char *latency)
{
    return number_of(json_member(json_member(level, latency), "percentilesMs"), "99");
}

static void show_levels(const struct json *levels)
{
    stage_say("%14s%10s%10s%10s%17s%19s\n%14s%10s%10s%10s%17s%19s", "users at once", "bought", "requests",
        "failed", "99 % of requests", "99 % of users", "", "", "", "", "within", "all five within");
    for (size_t i = 0; i < json_item_count(levels); i++) {
        const struct json *level = json_item(levels, i);
        stage_say("%14.0f%10.0f%10.0f%10.0f%14.1f ms%16.1f ms", number_of(level, "users"),
            number_of(level, "purchases"), number_of(level, "requests"), number_of(level, "failed"),
            p99_of(level, "latency"), p99_of(level, "userLatency"));
    }
}

static void judge_speed(struct story *story, const struct json *level)
{
    double users = number_of(level, "users");
    double limit_ms = users <= FEW_USERS ? FEW_P99_MAX_MS : MANY_P99_MAX_MS;
    if (users <= MANY_USERS)
        stage_judge(story->stage, p99_of(level, "latency") < limit_ms,
            "99 %% of the requests of %.0f users were answered within %.1f ms; asked is %.0f ms", users,
            p99_of(level, "latency"), limit_ms);
}

static void judge_levels(struct story *story, const struct json *levels)
{
    double users = 0, most = 0, requests = 0, failed = 0, bought = 0, off = 0, receipts_off = 0;
    double left = NAN, expected = NAN;
    for (size_t i = 0; i < json_item_count(levels); i++) {
        const struct json *level = json_item(levels, i);
        users += number_of(level, "users");
        most = fmax(most, number_of(level, "users"));
        requests += number_of(level, "requests");
        failed += number_of(level, "failed");
        bought += number_of(level, "purchases");
        off += number_of(level, "balancesWrong") + number_of(level, "balancesNotTold");
        receipts_off += number_of(level, "receiptsWrong");
        left = number_of(level, "stockLeft");
        expected = number_of(level, "stockExpected");
        judge_speed(story, level);
    }
    stage_judge(story->stage, users > 0 && failed < 0.5 && bought == users,
        "up to %.0f users at once, everyone bought: %.0f of %.0f requests failed", most, failed, requests);
    stage_judge(story->stage, off < 0.5,
        "%.0f wallets hold what they were opened with less what was acknowledged, %.0f do not", users - off,
        off);
    stage_judge(story->stage, receipts_off < 0.5,
        "%.0f receipts are signed by the server's key, each with a number of its own, %.0f are not",
        bought - receipts_off, receipts_off);
    stage_judge(
        story->stage, left == expected, "what is left is what was supplied less what was sold: %.0f", left);
}

/* The contract's levels as far as there are so many users, and these. */
static void put_levels(int64_t users, char levels[LEVELS_SIZE])
{
    static const int64_t usual[] = {10, 100, 1000};
    struct strbuf text;
    strbuf_init(&text, levels, LEVELS_SIZE - 1);
    for (size_t i = 0; i < sizeof usual / sizeof usual[0] && usual[i] < users; i++)
        strbuf_printf(&text, "%lld,", (long long)usual[i]);
    strbuf_put_i64(&text, users);
    ENSURE(!text.has_overflowed);
    levels[text.len] = '\0';
}

static bool play_customers(struct story *story)
{
    char levels[LEVELS_SIZE];
    struct act *act = add_act(story);
    const char *const words[] = {"--levels", levels, NULL};
    put_levels(story->params->demo_users, levels);
    stage_say(
        "\n-- 1. new customers, all in the same instant: each registers a key, signs a challenge to log in, "
        "looks at what\n      is featured, buys by a signed intent, and checks the receipt");
    if (!start(story) || !run_crowd(story, act, "marketplace", words))
        return false;
    const struct json *told = json_member(json_member(story->report.run, "marketplace"), "levels");
    show_levels(told);
    judge_levels(story, told);
    return true;
}

/* --- act 2: the original's checks --- */

static bool play_checks(struct story *story)
{
    static const char *const shown[] = {"product listings, average", "sustained reads", NULL};
    char users[NUMBER_SIZE], seconds[NUMBER_SIZE];
    const char *const words[] = {"--users", users, "--seconds", seconds, NULL};
    struct act *act = add_act(story);
    (void)snprintf(users, sizeof users, "%d", CHECK_USERS);
    (void)snprintf(seconds, sizeof seconds, "%d", CHECK_SECONDS);
    stage_say("\n-- 2. the original's own seven checks, with %d users", CHECK_USERS);
    if (!run_crowd(story, act, "marketplace-checks", words))
        return false;
    crowd_report_show(&story->report, shown);
    judge_invariants(story);
    return true;
}

/* --- act 3: the same coins at once --- */

static bool play_double_spend(struct story *story)
{
    char users[NUMBER_SIZE];
    const char *const words[] = {"--users", users, NULL};
    struct act *act = add_act(story);
    (void)snprintf(users, sizeof users, "%d", SPEND_USERS);
    stage_say(
        "\n-- 3. the same coins at once: %d connections spend from one wallet, repeat one intent, and pay "
        "each other",
        SPEND_USERS);
    if (!run_crowd(story, act, "double-spend", words))
        return false;
    judge_invariants(story);
    return true;
}

/* --- act 4: kill -9 --- */

struct killing {
    struct story *story;
    struct process crowd;
    bool is_over; /* the crowd has gone */
    int kill_count;
    int64_t transfer_count; /* that the present server had done before the crowd came */
    int64_t repeated_count; /* intents that were answered once more as they had been before a kill */
};

/* How many transfers the present server has done, which is what it counts from; false: it does not tell. */
static bool note_transfers(struct killing *killing)
{
    int64_t end_ns = clock_mono_ns() + (int64_t)KILL_LIMIT_S * 1000000000;
    struct stage *stage = killing->story->stage;
    do
        killing->transfer_count = ask_metric(killing->story, TRANSFERRED);
    while (killing->transfer_count < 0 && clock_mono_ns() < end_ns && stage_pause(stage));
    if (killing->transfer_count < 0 && stage->signal_number == 0)
        stage_judge(stage, false, "the server told how many transfers it had done");
    return killing->transfer_count >= 0;
}

/* Waits until the server is in the middle of transfers; false: the crowd has gone, or a signal came. */
static bool await_transfers(struct killing *killing)
{
    int64_t end_ns = clock_mono_ns() + (int64_t)KILL_LIMIT_S * 1000000000;
    struct story *story = killing->story;
    int exit_status;
    while (!killing->is_over && clock_mono_ns() < end_ns) {
        if (ask_metric(story, TRANSFERRED) >= killing->transfer_count + KILL_AFTER_MIN)
            return true;
        killing->is_over = stage_await(story->stage, &killing->crowd, LOOK_MS, &exit_status);
    }
    return false;
}

/* The present server's; the first one's are those that the crowd asked for. */
static void count_repeated(struct killing *killing)
{
    int64_t repeated = ask_metric(killing->story, REPEATED);
    if (killing->kill_count > 0 && repeated > 0)
        killing->repeated_count += repeated;
}

/*
 * A server does the work of a crowd in waves: all requests are read, decided, answered. What told that it is
 * in the middle of it was answered between two of them, so each kill waits a while longer than the one
 * before. False: the crowd has gone meanwhile, or a signal came.
 */
static bool await_moment(struct killing *killing)
{
    static const int pauses_ms[KILLS] = {0, 15, 40};
    int exit_status;
    if (!await_transfers(killing))
        return false;
    count_repeated(killing);
    killing->is_over =
        stage_await(killing->story->stage, &killing->crowd, pauses_ms[killing->kill_count], &exit_status);
    return !killing->is_over;
}

/* False: there is no server. */
static bool kill_often(struct killing *killing)
{
    while (killing->kill_count < KILLS && await_moment(killing)) {
        stage_kill_server(killing->story->stage);
        killing->kill_count++;
        killing->transfer_count = 0;
        if (!start(killing->story))
            return false;
    }
    return true;
}

/* Requests of the journal that were sent and got no answer. */
static int64_t count_unanswered(const struct act *act)
{
    char line[JOURNAL_LINE_MAX];
    int64_t count = 0;
    FILE *file = fopen(act->journal_path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        count += strstr(line, "\"outcome\":\"unknown\"") != NULL;
    if (file != NULL)
        (void)fclose(file);
    return count;
}

static void judge_kills(struct killing *killing, const struct act *act)
{
    int64_t unanswered = count_unanswered(act);
    stage_judge(killing->story->stage, killing->kill_count > 0 && unanswered > 0,
        "SIGKILL hits the server %d times; %lld intents had been sent and were not answered",
        killing->kill_count, (long long)unanswered);
    count_repeated(killing);
    stage_say(
        "      of those that were sent again at least %lld had been done already, and were answered with "
        "the receipt of then",
        (long long)killing->repeated_count);
    judge_invariants(killing->story);
}

static bool play_kill(struct story *story)
{
    char users[NUMBER_SIZE];
    const char *const words[] = {"--users", users, NULL};
    struct act *act = add_act(story);
    struct killing killing = {.story = story};
    (void)snprintf(users, sizeof users, "%d", KILLED_USERS);
    stage_say(
        "\n-- 4. kill -9 in the middle of it, with %d connections: who got no answer sends the same signed "
        "intent again",
        KILLED_USERS);
    if (!note_transfers(&killing) || !begin_crowd(story, act, "double-spend", words, &killing.crowd))
        return false;
    bool is_up = kill_often(&killing);
    if (!killing.is_over && is_up)
        (void)stage_end(story->stage, &killing.crowd, "rush");
    else if (!killing.is_over)
        (void)process_kill(&killing.crowd); /* there is nobody to answer it */
    if (!is_up || !read_report(story, act))
        return false;
    judge_kills(&killing, act);
    return true;
}

/* --- the books --- */

static bool audit(struct story *story, const char *when, bool is_again)
{
    struct stage_audit audit = {.when = when,
        .promise = "no coin was spent twice, none came from nowhere, every receipt is booked",
        .is_complete = !story->params->keep || !is_again,
        .is_quiet = is_again};
    for (size_t i = 0; i < story->act_count; i++)
        audit.journals[i] = story->acts[i].journal_path;
    return stage_judge_audit(story->stage, &audit, stage_run_audit(story->stage, &audit, NULL));
}

static void keep_serving(struct story *story)
{
    const char *url = story->url;
    stage_say("\n-- your turn: a customer with curl and openssl buys what is featured on %s\n\n"
              "  curl %s/api/products -H 'X-Admin-Key: %s' -d name=Espresso -d stock=10 -d price=2.50 -d "
              "featured=1\n"
              "  curl %s/api/products/featured\n"
              "  examples/buy.sh %s\n",
        url, url, story->stage->admin_key, url, url);
    stage_say("The store is %s.\nCtrl-C stops the server, audits once more and removes everything.",
        story->stage->store_path);
    if (!stage_await_signal(story->stage))
        stage_judge(story->stage, false, "the server kept running");
}

static void introduce(void)
{
    stage_say(
        "The original gave every customer a key and a wallet of coins, and kept each in a file of its own "
        "under a file\nlock. In its own load test %s of the requests of 100 users at once failed, and 10 "
        "users read %d times a second.\nThose are its figures below.",
        "0.7 %", 36);
}

static bool play(struct story *story)
{
    return play_customers(story) && play_checks(story) && play_double_spend(story) && play_kill(story) &&
           audit(story, "under a running server", false);
}

enum err demo_market(struct stage *stage, const struct params *params, struct error *error)
{
    struct story story = {.stage = stage, .params = params, .error = error};
    *error = (struct error){0};
    introduce();
    bool is_over = play(&story);
    if (is_over && params->keep)
        keep_serving(&story);
    stage_stop_server(stage, false);
    if (is_over && stage->signal_number == 0)
        (void)audit(&story, "at rest", true);
    crowd_report_fini(&story.report);
    return error->code;
}
