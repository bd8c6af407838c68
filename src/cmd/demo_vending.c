/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doorbuster demo vending`: the story of the original's vending machines and of ours, on one store: the
 * stampede that the original did not answer, a line that is served in order while machines come and go, a
 * kill -9 in the middle of a line (demo_vending_kill.c), and an audit of it all. The original's figures are
 * those of its own load test, which the report of the rush carries; here they are not measured again.
 *
 * How long a machine dispenses is shortened, and told; everything that takes its time counts in that.
 */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "cmd/cmd.h"
#include "cmd/crowd_report.h"
#include "cmd/demo.h"
#include "cmd/demo_vending_priv.h"

enum {
    LADDER_USERS = 5000,
    LADDER_LEVELS_SIZE = 128,
    ORIGINAL_GIVES_UP_MS = 30000, /* its client's time-out */
    ORIGINAL_DISPENSE_S = 5,
    LINE_ROUNDS = 20, /* so often each machine dispenses while people come */
    LINE_USERS = 30,
    LINE_SECONDS_MIN = 3,
    MACHINES = 5,
    DRAINED_MACHINE = 2,
    IDLE_LIMIT_S = 60,
    AUDIT_LINE_MAX = 1024,
    NUMBER_SIZE = 24
};

static const double RATE_MIN_PART = 0.8; /* of what the machines can do; there is a crowd beside them */

/* --- the server --- */

bool vending_start(struct vending_story *story, int64_t dispense_ms)
{
    char dispense_time[VENDING_FLAG_SIZE];
    (void)snprintf(dispense_time, sizeof dispense_time, "%lldms", (long long)dispense_ms);
    const char *const flags[] = {"--dispense-time", dispense_time, NULL};
    if (stage_start_server(story->stage, flags, story->error) != ERR_NONE)
        return false;
    (void)snprintf(story->url, sizeof story->url, "http://%s", story->stage->address);
    return true;
}

/* Waits until no machine is in use; false: a signal came, or it took too long, which is judged. */
static bool await_idle(struct vending_story *story)
{
    struct board *board = &story->board;
    int64_t end_ns = clock_mono_ns() + (int64_t)IDLE_LIMIT_S * 1000000000;
    bool is_idle = false;
    while (!is_idle && clock_mono_ns() < end_ns && stage_pause(story->stage)) {
        board_look(board);
        is_idle = board->looked_ns != 0 && board_count(board, BOARD_IDLE) == board->count;
    }
    if (!is_idle && story->stage->signal_number == 0)
        stage_judge(story->stage, false, "all machines came to an end within %d s", IDLE_LIMIT_S);
    return is_idle;
}

/* What the act before has left comes to its end. */
static bool await_quiet(struct vending_story *story)
{
    board_open(&story->board, story->stage, story->params->demo_dispense_ms, NULL);
    story->board.is_hidden = true;
    bool is_idle = await_idle(story);
    board_close(&story->board);
    return is_idle;
}

/* Whether an operator's request is answered with this status. */
static bool operate(
    struct vending_story *story, const char *method, const char *path, const char *body, int status)
{
    char reply[STAGE_REPLY_SIZE];
    struct slice said;
    return stage_ask(story->stage, method, path, body, reply, &said) == status;
}

/* --- crowds --- */

static void name_crowd(const struct vending_story *story, const char *name, struct vending_crowd *crowd)
{
    char file[NUMBER_SIZE];
    (void)snprintf(file, sizeof file, "%s.journal", name);
    stage_path(story->stage, file, crowd->journal_path);
    (void)snprintf(file, sizeof file, "%s.json", name);
    stage_path(story->stage, file, crowd->report_path);
    (void)snprintf(file, sizeof file, "%s.txt", name);
    stage_path(story->stage, file, crowd->output_path);
}

/* False, with a line that says why: the crowd has left no report. */
static bool read_report(
    struct vending_story *story, const struct vending_crowd *crowd, struct crowd_report *report)
{
    struct error error;
    if (crowd_report_read(report, crowd->report_path, &error) == ERR_NONE)
        return true;
    stage_judge(story->stage, false, "%s", error.message);
    stage_show(crowd->output_path, "what the crowd said");
    return false;
}

/* A crowd has thresholds of its own, which are made for a machine that does nothing else. What they found is
 * told; whether the demo holds is not asked of them. */
static void tell_crowd(struct vending_story *story, const struct vending_crowd *crowd, int exit_status)
{
    if (exit_status != EXIT_WELL)
        stage_show(crowd->output_path, "not all that the crowd asks for was held; it said");
}

/* --- act 1: the stampede --- */

static double number_of(const struct json *object, const char *name)
{
    double number;
    return json_double(json_member(object, name), &number) ? number : NAN;
}

/* Users who got no answer, or one that is none. */
static double lost_of(const struct json *level)
{
    return number_of(level, "timeouts") + number_of(level, "connectionErrors") + number_of(level, "others");
}

static double p99_of(const struct json *level)
{
    return number_of(json_member(json_member(level, "latency"), "percentilesMs"), "99");
}

static void show_level(const struct json *level)
{
    double original_ms = number_of(level, "originalP99Ms");
    char original[NUMBER_SIZE] = "-";
    if (original_ms > ORIGINAL_GIVES_UP_MS)
        (void)snprintf(original, sizeof original, "nobody answered");
    else if (!isnan(original_ms))
        (void)snprintf(original, sizeof original, "%.0f ms", original_ms);
    stage_say("%14.0f%10.0f%14.0f%10.0f%14.1f ms%18s", number_of(level, "users"),
        number_of(level, "purchases"), number_of(json_member(level, "startWork"), "conflict"), lost_of(level),
        p99_of(level), original);
}

/* How often the original's time goes into ours; NAN: it knows no such level. */
static double gain_of(const struct json *level)
{
    return number_of(level, "originalP99Ms") / p99_of(level);
}

static void show_ladder(const struct json *levels)
{
    stage_say("%14s%10s%14s%10s%17s%18s\n%14s%10s%14s%10s%17s%18s", "users at once", "bought", "all in use",
        "lost", "99 % within", "the original:", "", "", "", "", "", "99 % within");
    for (size_t i = 0; i < json_item_count(levels); i++)
        show_level(json_item(levels, i));
}

static void judge_ladder(struct vending_story *story, const struct json *ladder)
{
    const struct json *levels = json_member(ladder, "levels");
    double lost = 0, users = 0, least_gain = INFINITY;
    double left = number_of(ladder, "stockLeft"), expected = number_of(ladder, "stockExpected");
    for (size_t i = 0; i < json_item_count(levels); i++) {
        const struct json *level = json_item(levels, i);
        lost += lost_of(level);
        users = fmax(users, number_of(level, "users"));
        least_gain = fmin(least_gain, gain_of(level));
    }
    stage_judge(story->stage, users > 0 && lost < 0.5,
        "up to %.0f users at once, everyone was answered: none timed out, no connection failed", users);
    stage_judge(
        story->stage, left == expected, "what is left is what was supplied less what was sold: %.0f", left);
    if (isfinite(least_gain)) /* else it knows none of these levels */
        stage_judge(story->stage, least_gain > 1,
            "99 %% were answered sooner than by the original, %.0f times at the least", floor(least_gain));
}

/* The contract's levels as far as there are so many users, and these. */
static void put_levels(int64_t users, char levels[LADDER_LEVELS_SIZE])
{
    static const int64_t usual[] = {10, 25, 50, 100, 250, 500, 1000, 2500, 5000};
    struct strbuf text;
    strbuf_init(&text, levels, LADDER_LEVELS_SIZE - 1);
    for (size_t i = 0; i < sizeof usual / sizeof usual[0] && usual[i] < users; i++)
        strbuf_printf(&text, "%lld,", (long long)usual[i]);
    strbuf_put_i64(&text, users);
    ENSURE(!text.has_overflowed);
    levels[text.len] = '\0';
}

static bool play_ladder(struct vending_story *story)
{
    char levels[LADDER_LEVELS_SIZE];
    struct crowd_report report;
    const struct params *params = story->params;
    struct vending_crowd *crowd = &story->ladder;
    stage_say(
        "\n-- 1. the stampede: more and more users want one of %d machines in the same instant, each on "
        "a new connection",
        MACHINES);
    if (!vending_start(story, params->demo_dispense_ms))
        return false;
    name_crowd(story, "ladder", crowd);
    put_levels(params->is_typed[PARAM_demo_users] ? params->demo_users : LADDER_USERS, levels);
    const char *const argv[] = {"rush", "ladder", "--url", story->url, "--levels", levels, "--journal",
        crowd->journal_path, "--report", crowd->report_path, NULL};
    int exit_status = stage_run(story->stage, argv, crowd->output_path);
    if (story->stage->signal_number != 0 || !read_report(story, crowd, &report))
        return false;
    const struct json *ladder = json_member(report.run, "ladder");
    show_ladder(json_member(ladder, "levels"));
    judge_ladder(story, ladder);
    tell_crowd(story, crowd, exit_status);
    crowd_report_fini(&report);
    return true;
}

/* --- act 2: the line --- */

struct line {
    struct vending_story *story;
    int64_t seconds;
    int64_t added_id;      /* 0: not yet, -1: in vain */
    int64_t added_waiting; /* how many were in the line then */
    int64_t drained_usage; /* of DRAINED_MACHINE when it was drained; -1: not yet, or in vain */
    bool is_drained;
};

static int64_t line_seconds(const struct vending_story *story)
{
    int64_t seconds = (LINE_ROUNDS * story->params->demo_dispense_ms + 999) / 1000;
    return seconds > LINE_SECONDS_MIN ? seconds : LINE_SECONDS_MIN;
}

static void add_machine(struct line *line)
{
    char reply[STAGE_REPLY_SIZE];
    struct slice body;
    struct json *machine = NULL;
    struct board *board = &line->story->board;
    line->added_id = -1;
    if (stage_ask(line->story->stage, "POST", "/api/vending-machines", "{\"name\":\"One more\"}", reply,
            &body) == 201 &&
        json_parse(body, &machine) == JSON_OK && json_int64(json_member(machine, "id"), &line->added_id) &&
        board_note(board, machine)) {
        line->added_waiting = board->waiting;
        board_tell(
            board, "an operator adds machine %lld, which serves the line at once", (long long)line->added_id);
    }
    json_free(machine);
}

static void drain_machine(struct line *line)
{
    char path[VENDING_PATH_MAX];
    struct board *board = &line->story->board;
    (void)snprintf(path, sizeof path, "/api/vending-machines/%d", DRAINED_MACHINE);
    line->is_drained = true;
    if (!operate(line->story, "PATCH", path, "{\"draining\":true}", 200) || !board_ask(board))
        return;
    const struct board_machine *machine = board_find(board, DRAINED_MACHINE);
    line->drained_usage = machine == NULL ? -1 : machine->usage_count;
    board_tell(board, "an operator drains machine %d: its present user is its last", DRAINED_MACHINE);
}

/* A third of the time the line has five machines, then six, and from the middle on five again. */
static void operate_line(struct line *line)
{
    int64_t ran_ms = (clock_mono_ns() - line->story->board.began_ns) / 1000000;
    if (line->added_id == 0 && ran_ms > line->seconds * 1000 / 3)
        add_machine(line);
    else if (!line->is_drained && ran_ms > line->seconds * 1000 / 2)
        drain_machine(line);
}

/* Requests of the crowd that got neither a machine nor what they chose. */
static double turned_away(const struct crowd_report *report)
{
    const struct json *rows = json_member(report->run, "outcomes");
    double count = json_item_count(rows) > 0 ? 0 : NAN;
    for (size_t i = 0; i < json_item_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        struct slice name = SLICE("");
        (void)json_text(json_member(row, "outcome"), &name);
        if (!slice_eq(name, SLICE("machine_given")) && !slice_eq(name, SLICE("sold")))
            count += number_of(row, "count");
    }
    return count;
}

static void judge_crowd(struct vending_story *story, const struct crowd_report *report)
{
    double overtaken = crowd_report_here(report, "overtaken in the line");
    double least = crowd_report_here(report, "served, the one least often");
    double most = crowd_report_here(report, "served, the one most often");
    double rate = crowd_report_here(report, "sales per second");
    double full_rate = MACHINES * 1e3 / (double)story->params->demo_dispense_ms;
    double away = turned_away(report);
    stage_judge(story->stage, overtaken < 0.5 && away < 0.5,
        "%d users were served in the order of the line: %.0f overtaken, %.0f turned away", LINE_USERS,
        overtaken, away);
    stage_judge(
        story->stage, least > 0, "none starved: each was served from %.0f to %.0f times", least, most);
    stage_judge(story->stage, rate >= RATE_MIN_PART * full_rate,
        "no machine stood still: %.2f sales a second, and %d machines can do %.2f; the original's worker did "
        "%.1f",
        rate, MACHINES, full_rate, 1.0 / ORIGINAL_DISPENSE_S);
}

static void judge_pool(struct line *line)
{
    struct stage *stage = line->story->stage;
    const struct board_machine *added = board_find(&line->story->board, line->added_id);
    const struct board_machine *drained = board_find(&line->story->board, DRAINED_MACHINE);
    long long before = (long long)line->drained_usage;
    long long after = drained == NULL ? 0 : (long long)drained->usage_count - before;
    stage_judge(stage, added != NULL && added->usage_count > 0,
        "the machine that was added while %lld waited served them at once: %lld sold",
        (long long)line->added_waiting, (long long)(added == NULL ? 0 : added->usage_count));
    stage_judge(stage, drained != NULL && before >= 0 && after <= 1,
        "the machine that was drained finished its user and took no more: %lld sold afterwards", after);
}

/* The crowd comes, the board shows it, the operator does what he has to. */
static int watch_line(struct line *line)
{
    char seconds[NUMBER_SIZE], users[NUMBER_SIZE], dispense_time[VENDING_FLAG_SIZE];
    struct vending_story *story = line->story;
    struct vending_crowd *crowd = &story->line;
    struct process process;
    int exit_status = -1;
    (void)snprintf(seconds, sizeof seconds, "%lld", (long long)line->seconds);
    (void)snprintf(users, sizeof users, "%d", LINE_USERS);
    (void)snprintf(dispense_time, sizeof dispense_time, "%lldms", (long long)story->params->demo_dispense_ms);
    const char *const argv[] = {"rush", "line", "--url", story->url, "--keep-sale", "--users", users,
        "--seconds", seconds, "--dispense-time", dispense_time, "--journal", crowd->journal_path, "--report",
        crowd->report_path, NULL};
    if (!stage_begin(story->stage, &process, argv, crowd->output_path))
        return -1;
    while (!stage_await(story->stage, &process, BOARD_FRAME_MS / 2, &exit_status)) {
        board_look(&story->board);
        operate_line(line);
    }
    return exit_status;
}

static bool play_line(struct vending_story *story)
{
    struct crowd_report report;
    struct line line = {.story = story, .seconds = line_seconds(story), .drained_usage = -1};
    double dispense_s = (double)story->params->demo_dispense_ms / 1e3;
    name_crowd(story, "line", &story->line);
    stage_say("\n-- 2. the line: %d users and %d machines that dispense for %g s; who finds none idle waits "
              "(Prefer: wait),\n      is served in turn, and comes back, for %lld s; meanwhile a machine is "
              "added and another one drained\n",
        LINE_USERS, MACHINES, dispense_s, (long long)line.seconds);
    if (!await_quiet(story))
        return false;
    board_open(&story->board, story->stage, story->params->demo_dispense_ms, story->line.journal_path);
    int exit_status = watch_line(&line);
    bool is_over = story->stage->signal_number == 0 && await_idle(story);
    board_close(&story->board);
    if (!is_over || !read_report(story, &story->line, &report))
        return false;
    judge_crowd(story, &report);
    judge_pool(&line);
    tell_crowd(story, &story->line, exit_status);
    crowd_report_fini(&report);
    stage_stop_server(story->stage, true);
    return true;
}

/* --- the books --- */

/* What was found in the whole store, and the verdict; each of the products has a chapter like the others. */
static void show_audit(const char *path)
{
    char line[AUDIT_LINE_MAX];
    size_t chapter_count = 0;
    bool is_of_product = false;
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "product ", 8) == 0)
            chapter_count++;
        if (line[0] != ' ' && line[0] != '\n')
            is_of_product = strncmp(line, "product ", 8) == 0;
        if (!is_of_product)
            (void)fputs(line, stdout);
    }
    if (file != NULL)
        (void)fclose(file);
    stage_say("(%zu chapters about products are left out here)", chapter_count);
}

static bool audit(struct vending_story *story, const char *when, bool is_again)
{
    struct stage_audit audit = {.journals = {story->ladder.journal_path, story->line.journal_path},
        .when = when,
        .promise = "no machine had two users, nobody was overtaken, no unit is missing",
        .is_complete = !story->params->keep || !is_again,
        .is_quiet = is_again};
    char path[STAGE_PATH_SIZE];
    if (story->has_kill_journal)
        audit.journals[2] = story->kill_journal_path;
    stage_path(story->stage, "audit.txt", path);
    int exit_status = stage_run_audit(story->stage, &audit, path);
    if (exit_status != EXIT_WELL)
        stage_show(path, "what the audit said");
    else if (!is_again)
        show_audit(path);
    return stage_judge_audit(story->stage, &audit, exit_status);
}

/* --- your turn --- */

/* The machine and the product that are made next have these ids, because ids are never used twice. */
struct next_ids {
    int64_t machine;
    int64_t product;
};

static int64_t highest_id(struct vending_story *story, const char *path)
{
    char reply[STAGE_REPLY_SIZE];
    struct slice body;
    struct json *list = NULL;
    int64_t highest = -1, id;
    if (stage_ask(story->stage, "GET", path, NULL, reply, &body) == 200 && json_parse(body, &list) == JSON_OK)
        for (size_t i = 0; i < json_item_count(list); i++)
            if (json_int64(json_member(json_item(list, i), "id"), &id) && id > highest)
                highest = id;
    json_free(list);
    return highest;
}

/* The machines go, so that a visitor has one of his own; the products stay. */
static bool clear_away(struct vending_story *story, struct next_ids *next)
{
    struct board *board = &story->board;
    board_open(board, story->stage, story->params->demo_dispense_ms, NULL);
    next->machine = highest_id(story, "/api/vending-machines") + 1;
    next->product = highest_id(story, "/api/products") + 1;
    bool is_clear = next->machine > 0 && next->product > 0 && board_ask(board);
    for (size_t i = 0; is_clear && i < board->count; i++) {
        char path[VENDING_PATH_MAX];
        (void)snprintf(path, sizeof path, "/api/vending-machines/%lld", (long long)board->machines[i].id);
        is_clear = operate(story, "DELETE", path, NULL, 204);
    }
    board_close(board);
    return is_clear;
}

static void keep_serving(struct vending_story *story)
{
    struct next_ids next;
    const char *address = story->stage->address;
    const char *key = story->stage->admin_key;
    if (!clear_away(story, &next)) {
        stage_judge(story->stage, false, "the machines were cleared away for a visitor's own");
        return;
    }
    stage_say("\n-- your turn: set up a machine on http://%s, fill it, and buy\n\n"
              "  curl http://%s/api/vending-machines -H 'X-Admin-Key: %s' -d name=Lobby\n"
              "  curl http://%s/api/products -H 'X-Admin-Key: %s' -d name=Espresso -d stock=10\n"
              "  curl -X POST http://%s/api/orchestrator/start-work -H 'Prefer: wait=30' --next "
              "http://%s/api/orchestrator/choose-product -d machine_id=%lld -d product_id=%lld -d count=1 -d "
              "coins=1\n",
        address, address, key, address, key, address, address, (long long)next.machine,
        (long long)next.product);
    stage_say("The third line again at once stands in line until the machine has dispensed. The store is "
              "%s.\nCtrl-C stops the server, audits once more and removes everything.",
        story->stage->store_path);
    if (!stage_await_signal(story->stage))
        stage_judge(story->stage, false, "the server kept running");
}

static void introduce(const struct vending_story *story)
{
    double dispense_s = (double)story->params->demo_dispense_ms / 1e3;
    stage_say(
        "The original gave %d vending machines to whoever came first. In its own load test it answered "
        "1,000 users at once\nafter 4.6 s, and of 2,500 and of 5,000 nobody at all; who found no machine "
        "idle had to ask again, and its one worker\nfinished one machine every %d s, however many there "
        "were. Those are its figures below.",
        MACHINES, ORIGINAL_DISPENSE_S);
    if (dispense_s < ORIGINAL_DISPENSE_S)
        stage_say(
            "\nHere a machine dispenses for %g s where theirs took %d s, so that everything fits into a "
            "minute; at full length:\ndoorbuster demo vending --dispense-time %ds",
            dispense_s, ORIGINAL_DISPENSE_S, ORIGINAL_DISPENSE_S);
}

static bool play(struct vending_story *story)
{
    return play_ladder(story) && play_line(story) && vending_play_kill(story) &&
           audit(story, "under a running server", false);
}

enum err demo_vending(struct stage *stage, const struct params *params, struct error *error)
{
    struct vending_story story = {.stage = stage, .params = params, .error = error};
    *error = (struct error){0};
    introduce(&story);
    bool is_over = play(&story);
    if (is_over && params->keep)
        keep_serving(&story);
    stage_stop_server(stage, false);
    if (is_over && stage->signal_number == 0)
        (void)audit(&story, "at rest", true);
    return error->code;
}
