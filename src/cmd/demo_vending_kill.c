/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The third act of `doorbuster demo vending`: five machines dispense and people with tickets stand in line
 * when the server is killed. Afterwards the machines must go on with the time that was left, neither anew nor
 * too early, the tickets must stand in the line as before, and be served in that order.
 *
 * The demo knows all that from the answers that any user gets. Times are the server's; two servers one after
 * the other read one wall clock, which may be adjusted meanwhile (CLOCK_DOUBT_MS).
 */
#include <stdio.h>

#include "base/clock.h"
#include "cmd/demo_vending_priv.h"

enum {
    MACHINES = 5,
    TICKETS = 8,
    SLOWER = 3,        /* times as long as in the line, so that there is time to be killed in */
    STAGGER_PART = 10, /* the machines begin a tenth of their time after one another */
    TICKET_SIZE = 64,
    CLOCK_DOUBT_MS = 250,
    SERVE_LIMIT_S = 60,
    NOT_YET = -1
};

struct ticket {
    char name[TICKET_SIZE];
    int64_t position; /* when it was taken */
    int64_t lease;    /* 0: not served yet */
};

/* A machine that dispensed when the server was killed. */
struct witness {
    int64_t machine;
    int64_t usage_count;
    int64_t since_ms;
    int64_t ended_ms; /* NOT_YET: it goes on */
};

struct act {
    struct vending_story *story;
    int64_t dispense_ms;
    int64_t product;
    struct ticket tickets[TICKETS];
    size_t ticket_count;
    size_t served_count;
    struct witness witnesses[MACHINES];
    size_t witness_count;
    int64_t ready_ms; /* when the new server was ready */
    FILE *journal;
};

/* --- the journal (rush/journal.h) --- */

static bool open_journal(struct act *act)
{
    struct vending_story *story = act->story;
    stage_path(story->stage, "kill.journal", story->kill_journal_path);
    act->journal = fopen(story->kill_journal_path, "we");
    if (act->journal == NULL)
        return false;
    story->has_kill_journal = true;
    return fputs("{\"journal\":1,\"scenario\":\"demo\",\"face\":\"vending\"}\n", act->journal) >= 0;
}

static void note_lease(struct act *act, int64_t machine, int64_t lease)
{
    (void)fprintf(act->journal,
        "{\"request\":\"start-work\",\"outcome\":\"acknowledged\",\"machine\":%lld,\"lease\":%lld}\n",
        (long long)machine, (long long)lease); /* what is missing is found by the audit */
    board_note_lease(&act->story->board, machine, lease);
}

static void note_choice(struct act *act, int64_t machine, int64_t lease, bool is_sold)
{
    (void)fprintf(act->journal,
        "{\"request\":\"choose-product\",\"outcome\":\"%s\"%s,\"machine\":%lld,\"product\":%lld,\"count\":1,"
        "\"lease\":%lld}\n",
        is_sold ? "acknowledged" : "unknown", is_sold ? "" : ",\"code\":\"not-200\"", (long long)machine,
        (long long)act->product, (long long)lease);
}

/* --- users --- */

/* The answer, to be freed; NULL when it has another status or is no JSON. */
static struct json *ask(struct act *act, const char *method, const char *path, const char *body, int status)
{
    char reply[STAGE_REPLY_SIZE];
    struct slice said;
    struct json *value = NULL;
    if (stage_ask(act->story->stage, method, path, body, reply, &said) != status ||
        json_parse(said, &value) != JSON_OK)
        return NULL;
    return value;
}

/* The one of which there is most. */
static bool pick_product(struct act *act)
{
    struct json *list = ask(act, "GET", "/api/products", NULL, 200);
    int64_t most = 0, stock;
    for (size_t i = 0; i < json_item_count(list); i++) {
        const struct json *item = json_item(list, i);
        if (json_int64(json_member(item, "stock"), &stock) && stock > most &&
            json_int64(json_member(item, "id"), &act->product))
            most = stock;
    }
    json_free(list);
    return most > 0;
}

/* Who has been given a machine buys one unit. */
static bool choose(struct act *act, int64_t machine, int64_t lease)
{
    char body[VENDING_BODY_MAX];
    (void)snprintf(body, sizeof body,
        "{\"machine_id\":%lld,\"product_id\":%lld,\"count\":1,\"coins\":1,\"lease\":%lld}",
        (long long)machine, (long long)act->product, (long long)lease);
    struct json *sold = ask(act, "POST", "/api/orchestrator/choose-product", body, 200);
    bool is_sold = sold != NULL && board_note(&act->story->board, json_member(sold, "machine"));
    note_choice(act, machine, lease, is_sold);
    json_free(sold);
    return is_sold;
}

/* The machine and the lease of an answer; 0: none. */
static int64_t read_lease(struct act *act, const struct json *answer, int64_t *lease)
{
    int64_t machine = 0;
    const struct json *object = json_member(answer, "machine");
    if (!json_int64(json_member(object, "id"), &machine) || !json_int64(json_member(answer, "lease"), lease))
        return 0;
    (void)board_note(&act->story->board, object);
    note_lease(act, machine, *lease);
    return machine;
}

static bool occupy(struct act *act)
{
    int64_t lease;
    struct json *given = ask(act, "POST", "/api/orchestrator/start-work", NULL, 200);
    int64_t machine = read_lease(act, given, &lease);
    json_free(given);
    return machine != 0 && choose(act, machine, lease);
}

static bool take_ticket(struct act *act)
{
    struct ticket *ticket = &act->tickets[act->ticket_count];
    struct slice name;
    struct json *place = ask(act, "POST", "/api/orchestrator/queue", NULL, 202);
    bool is_given = json_text(json_member(place, "ticket"), &name) && name.len < sizeof ticket->name &&
                    json_int64(json_member(place, "position"), &ticket->position);
    if (is_given) {
        (void)snprintf(ticket->name, sizeof ticket->name, "%.*s", SLICE_ARGS(name));
        act->ticket_count++;
    }
    json_free(place);
    return is_given;
}

static struct json *ask_ticket(struct act *act, const struct ticket *ticket)
{
    char path[VENDING_PATH_MAX];
    (void)snprintf(path, sizeof path, "/api/orchestrator/queue/%s", ticket->name);
    return ask(act, "GET", path, NULL, 200);
}

/* --- before --- */

/* Shows the board for so long; false: a signal came. */
static bool watch_for(struct act *act, int64_t time_ms)
{
    int64_t end_ns = clock_mono_ns() + time_ms * 1000000;
    do
        board_look(&act->story->board);
    while (stage_pause(act->story->stage) && clock_mono_ns() < end_ns);
    return act->story->stage->signal_number == 0;
}

static bool remove_drained(struct act *act)
{
    struct board *board = &act->story->board;
    bool is_well = board_ask(board);
    for (size_t i = 0; is_well && i < board->count; i++) {
        char path[VENDING_PATH_MAX], reply[STAGE_REPLY_SIZE];
        struct slice said;
        (void)snprintf(path, sizeof path, "/api/vending-machines/%lld", (long long)board->machines[i].id);
        if (board->machines[i].is_draining)
            is_well = stage_ask(act->story->stage, "DELETE", path, NULL, reply, &said) == 204;
    }
    return is_well && board_ask(board);
}

/* Machines that dispense, a line that waits, and half of the first one's time is over. */
static bool fill(struct act *act)
{
    int64_t pause_ms = act->dispense_ms / STAGGER_PART;
    struct board *board = &act->story->board;
    bool is_well = remove_drained(act) && pick_product(act);
    int64_t half_ns = clock_mono_ns() + act->dispense_ms * 1000000 / 2;
    for (int i = 0; is_well && i < MACHINES; i++)
        is_well = occupy(act) && (i + 1 == MACHINES || watch_for(act, pause_ms));
    while (is_well && act->ticket_count < TICKETS)
        is_well = take_ticket(act);
    if (is_well)
        board_tell(board, "%zu people have taken a ticket", act->ticket_count);
    return is_well && watch_for(act, (half_ns - clock_mono_ns()) / 1000000) && board_ask(board);
}

static void note_witnesses(struct act *act)
{
    const struct board *board = &act->story->board;
    for (size_t i = 0; i < board->count && act->witness_count < MACHINES; i++) {
        const struct board_machine *machine = &board->machines[i];
        if (machine->status == BOARD_DISPENSING)
            act->witnesses[act->witness_count++] = (struct witness){.machine = machine->id,
                .usage_count = machine->usage_count,
                .since_ms = machine->since_ms,
                .ended_ms = NOT_YET};
    }
}

/* --- after --- */

static void note_ends(struct act *act)
{
    for (size_t i = 0; i < act->witness_count; i++) {
        struct witness *witness = &act->witnesses[i];
        const struct board_machine *machine = board_find(&act->story->board, witness->machine);
        if (witness->ended_ms == NOT_YET && machine != NULL && machine->usage_count > witness->usage_count)
            witness->ended_ms = machine->since_ms;
    }
}

/* Each dispenses since the same instant, or came to its end while there was no server. */
static void judge_machines(struct act *act)
{
    size_t going_count = 0, ended_count = 0;
    note_ends(act);
    for (size_t i = 0; i < act->witness_count; i++) {
        const struct witness *witness = &act->witnesses[i];
        const struct board_machine *machine = board_find(&act->story->board, witness->machine);
        bool is_going = machine != NULL && machine->status == BOARD_DISPENSING &&
                        machine->usage_count == witness->usage_count &&
                        machine->since_ms == witness->since_ms;
        going_count += is_going;
        ended_count += !is_going && witness->ended_ms != NOT_YET;
    }
    stage_judge(act->story->stage, going_count + ended_count == act->witness_count,
        "%zu of %zu machines go on with the time that was left, %zu have come to their end meanwhile",
        going_count, act->witness_count, ended_count);
}

/* Those who have been served meanwhile were the first, and all others stand behind one another as before. */
static void judge_tickets(struct act *act)
{
    size_t served_count = 0, kept_count = 0;
    for (size_t i = 0; i < act->ticket_count; i++) {
        int64_t position = -1;
        struct slice status;
        struct json *place = ask_ticket(act, &act->tickets[i]);
        bool is_told = json_int64(json_member(place, "position"), &position) &&
                       json_text(json_member(place, "status"), &status);
        if (is_told && slice_eq(status, SLICE("waiting")))
            kept_count += position == (int64_t)(kept_count + 1);
        else if (is_told && kept_count == 0)
            served_count++;
        json_free(place);
    }
    stage_judge(act->story->stage, kept_count + served_count == act->ticket_count,
        "all %zu tickets are there, in the order in which they were taken (%zu served by now)",
        act->ticket_count, served_count);
}

/* The first one who has not been served yet: is it his turn? Then he buys. */
static bool serve_next(struct act *act)
{
    if (act->served_count == act->ticket_count)
        return false;
    struct ticket *ticket = &act->tickets[act->served_count];
    struct json *place = ask_ticket(act, ticket);
    int64_t lease = 0;
    int64_t machine = place == NULL ? 0 : read_lease(act, place, &lease);
    json_free(place);
    if (machine == 0)
        return false;
    note_ends(act);
    ticket->lease = lease;
    act->served_count++;
    if (!choose(act, machine, lease))
        return false;
    board_tell(&act->story->board, "ticket %zu of %zu is served: machine %lld, lease %lld", act->served_count,
        act->ticket_count, (long long)machine, (long long)lease);
    return true;
}

static bool is_served(struct act *act)
{
    struct board *board = &act->story->board;
    return act->served_count == act->ticket_count && board_count(board, BOARD_IDLE) == board->count;
}

static void serve_line(struct act *act)
{
    int64_t end_ns = clock_mono_ns() + (int64_t)SERVE_LIMIT_S * 1000000000;
    int64_t looked_ns = 0;
    while (!is_served(act) && clock_mono_ns() < end_ns && stage_pause(act->story->stage)) {
        board_look(&act->story->board);
        note_ends(act);
        if (act->story->board.looked_ns == looked_ns)
            continue;
        looked_ns = act->story->board.looked_ns;
        while (serve_next(act))
            continue;
    }
}

static void judge_order(struct act *act)
{
    int64_t lowest = act->tickets[0].lease, latest = 0;
    bool is_ascending = act->served_count == act->ticket_count;
    for (size_t i = 0; i < act->served_count; i++) {
        is_ascending = is_ascending && act->tickets[i].lease > latest;
        latest = act->tickets[i].lease;
    }
    stage_judge(act->story->stage, is_ascending,
        "%zu of %zu tickets were served, in their order: leases %lld to %lld", act->served_count,
        act->ticket_count, (long long)lowest, (long long)latest);
}

/* A third of its time is what a machine that had begun anew would be late by, and more. */
static void judge_ends(struct act *act)
{
    int64_t earliest_ms = INT64_MAX, latest_ms = INT64_MIN;
    bool is_over = act->witness_count > 0;
    for (size_t i = 0; i < act->witness_count; i++) {
        const struct witness *witness = &act->witnesses[i];
        int64_t due_ms = witness->since_ms + act->dispense_ms;
        int64_t early_ms = witness->ended_ms - due_ms;
        int64_t late_ms = witness->ended_ms - (due_ms > act->ready_ms ? due_ms : act->ready_ms);
        is_over = is_over && witness->ended_ms != NOT_YET;
        earliest_ms = early_ms < earliest_ms ? early_ms : earliest_ms;
        latest_ms = late_ms > latest_ms ? late_ms : latest_ms;
    }
    if (!is_over)
        stage_judge(act->story->stage, false, "every machine that was killed finished: some did not");
    else
        stage_judge(act->story->stage, earliest_ms >= -CLOCK_DOUBT_MS && latest_ms <= act->dispense_ms / 3,
            "every machine finished after %g s in all, as if nothing had been: from %lld to %lld ms late",
            (double)act->dispense_ms / 1e3, (long long)earliest_ms, (long long)latest_ms);
}

/* --- the act --- */

/* False: there is no server. */
static bool kill_and_restart(struct act *act)
{
    struct vending_story *story = act->story;
    note_witnesses(act);
    board_close(&story->board);
    stage_kill_server(story->stage);
    stage_say("%s", "");
    stage_judge(story->stage, act->witness_count == MACHINES && story->board.waiting > 0,
        "SIGKILL hits the server with %zu machines dispensing and %lld people in line", act->witness_count,
        (long long)story->board.waiting);
    if (!vending_start(story, act->dispense_ms))
        return false;
    act->ready_ms = clock_wall_ms();
    board_open(&story->board, story->stage, act->dispense_ms, NULL);
    return true;
}

/* The new board counts what was sold from the old one's beginning, and knows the leases; all else it was told
 * by the new server. */
static void take_over(struct board *board, const struct board *before)
{
    for (size_t i = 0; i < before->count; i++) {
        struct board_machine *machine = board_find(board, before->machines[i].id);
        if (machine == NULL)
            continue;
        machine->usage_before = before->machines[i].usage_before;
        machine->lease = before->machines[i].lease;
        machine->lease_count = before->machines[i].lease_count;
    }
}

static bool play(struct act *act)
{
    struct vending_story *story = act->story;
    struct stage *stage = story->stage;
    bool is_full = open_journal(act) && fill(act);
    if (stage->signal_number != 0)
        return false;
    if (!is_full) {
        stage_judge(stage, false, "five machines dispense and a line of tickets waits");
        return true;
    }
    struct board before = story->board;
    if (!kill_and_restart(act))
        return false;
    if (!board_ask(&story->board)) {
        stage_judge(stage, false, "the server answers again");
        return true;
    }
    take_over(&story->board, &before);
    judge_machines(act);
    judge_tickets(act);
    stage_say("%s", "");
    serve_line(act);
    board_close(&story->board);
    if (stage->signal_number != 0)
        return false;
    stage_say("%s", "");
    judge_ends(act);
    judge_order(act);
    return true;
}

bool vending_play_kill(struct vending_story *story)
{
    struct act act = {.story = story, .dispense_ms = SLOWER * story->params->demo_dispense_ms};
    stage_say("\n-- 3. kill -9 while %d machines dispense, now for %g s, and %d people with tickets stand in "
              "line\n",
        MACHINES, (double)act.dispense_ms / 1e3, TICKETS);
    if (!vending_start(story, act.dispense_ms))
        return false;
    stage_say("%s", "");
    board_open(&story->board, story->stage, act.dispense_ms, NULL);
    bool goes_on = play(&act);
    board_close(&story->board);
    if (act.journal != NULL)
        (void)fclose(act.journal);
    return goes_on;
}
