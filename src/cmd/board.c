/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/board.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/clock_text.h"

enum { BAR_WIDTH = 24, FRAME_SIZE = 4096, CELL_SIZE = 24 };

static const int64_t NS_PER_MS = 1000000;
static const double NS_PER_S = 1e9;

void board_open(struct board *board, struct stage *stage, int64_t dispense_ms, const char *journal_path)
{
    *board = (struct board){.stage = stage,
        .dispense_ms = dispense_ms,
        .began_ns = clock_mono_ns(),
        .journal_path = journal_path,
        .journal_fd = -1};
    screen_open(&board->screen);
}

void board_close(struct board *board)
{
    screen_leave(&board->screen);
    if (board->journal_fd >= 0)
        (void)close(board->journal_fd);
    board->journal_fd = -1;
    board->journal_path = NULL;
}

/* --- figures --- */

struct board_machine *board_find(struct board *board, int64_t machine_id)
{
    for (size_t i = 0; i < board->count; i++)
        if (board->machines[i].id == machine_id)
            return &board->machines[i];
    return NULL;
}

size_t board_count(const struct board *board, enum board_status status)
{
    size_t count = 0;
    for (size_t i = 0; i < board->count; i++)
        count += board->machines[i].status == status;
    return count;
}

static int64_t sold_by(const struct board_machine *machine)
{
    return machine->usage_count - machine->usage_before;
}

int64_t board_sold(const struct board *board)
{
    int64_t sold = board->gone;
    for (size_t i = 0; i < board->count; i++)
        sold += sold_by(&board->machines[i]);
    return sold;
}

static void take_sample(struct board *board)
{
    board->samples[board->sample_count++ % BOARD_SAMPLES] =
        (struct board_sample){clock_mono_ns(), board_sold(board)};
}

static double sales_per_s(const struct board *board)
{
    if (board->sample_count < 2)
        return 0;
    size_t kept = board->sample_count < BOARD_SAMPLES ? board->sample_count : BOARD_SAMPLES;
    const struct board_sample *oldest = &board->samples[(board->sample_count - kept) % BOARD_SAMPLES];
    const struct board_sample *latest = &board->samples[(board->sample_count - 1) % BOARD_SAMPLES];
    return (double)(latest->sold - oldest->sold) * NS_PER_S / (double)(latest->at_ns - oldest->at_ns);
}

static double elapsed_s(const struct board *board)
{
    return (double)(clock_mono_ns() - board->began_ns) / NS_PER_S;
}

/* Whether `lease` is that of the present user: leases are heard of later than sales, by up to 100 ms. */
static bool is_lease_present(const struct board_machine *machine)
{
    return machine->status != BOARD_IDLE && machine->lease_count > sold_by(machine);
}

/* How long it still dispenses. */
static int64_t left_ms(const struct board *board, const struct board_machine *machine)
{
    int64_t left = machine->since_ms + board->dispense_ms - clock_wall_ms();
    left = left > board->dispense_ms ? board->dispense_ms : left;
    return machine->status == BOARD_DISPENSING && left > 0 ? left : 0;
}

/* --- lines, where there is no terminal --- */

static void print_line(const struct board *board, const char *text)
{
    stage_say("%7.1f s  %s", elapsed_s(board), text);
}

void board_tell(struct board *board, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(board->news, sizeof board->news, format, args);
    va_end(args);
    if (!board->screen.is_live)
        print_line(board, board->news);
}

static void print_sale(const struct board *board, struct board_machine *machine)
{
    char text[160];
    char next[48] = "";
    if (is_lease_present(machine))
        (void)snprintf(next, sizeof next, ", lease %lld has it now", (long long)machine->lease);
    else if (machine->is_draining)
        (void)snprintf(next, sizeof next, " and takes no more");
    (void)snprintf(text, sizeof text, "machine %lld has sold %lld%s; %lld in line, %.1f sales a second",
        (long long)machine->id, (long long)sold_by(machine), next, (long long)board->waiting,
        sales_per_s(board));
    print_line(board, text);
    machine->is_sale_untold = false;
}

static void print_sales(struct board *board)
{
    for (size_t i = 0; i < board->count; i++) {
        struct board_machine *machine = &board->machines[i];
        if (machine->is_sale_untold && (machine->status == BOARD_IDLE || is_lease_present(machine)))
            print_sale(board, machine);
    }
}

/* --- what the server says --- */

static bool read_status(const struct json *machine, enum board_status *status)
{
    static const char *const names[] = {
        [BOARD_IDLE] = "idle", [BOARD_CHOOSING] = "choose_product", [BOARD_DISPENSING] = "processing"};
    struct slice name;
    if (!json_text(json_member(machine, "status"), &name))
        return false;
    for (int i = BOARD_IDLE; i <= BOARD_DISPENSING; i++)
        if (slice_eq(name, slice_cstr(names[i]))) {
            *status = (enum board_status)i;
            return true;
        }
    return false;
}

static bool read_machine(const struct json *object, struct board_machine *machine)
{
    struct slice updated;
    *machine = (struct board_machine){.is_listed = true};
    (void)json_bool(json_member(object, "draining"), &machine->is_draining); /* only told when it is */
    return json_int64(json_member(object, "id"), &machine->id) &&
           json_int64(json_member(object, "usage_count"), &machine->usage_count) &&
           json_text(json_member(object, "updated_at"), &updated) &&
           clock_parse_iso(updated, &machine->since_ms) && read_status(object, &machine->status);
}

/* Ids only grow, so a new one comes last. */
static void add_machine(struct board *board, struct board_machine machine)
{
    if (board->count == BOARD_MACHINES_MAX)
        return;
    machine.usage_before = machine.usage_count;
    board->machines[board->count++] = machine;
}

bool board_note(struct board *board, const struct json *object)
{
    struct board_machine now;
    if (!read_machine(object, &now))
        return false;
    struct board_machine *known = board_find(board, now.id);
    if (known == NULL) {
        add_machine(board, now);
        return true;
    }
    bool has_sold = now.usage_count > known->usage_count;
    if (now.status == known->status && !has_sold)
        now.since_ms = known->since_ms; /* a machine is "updated" by being drained, too */
    if (has_sold && known->is_sale_untold)
        print_sale(board, known); /* nobody has told of a lease in all that time */
    known->status = now.status;
    known->is_draining = now.is_draining;
    known->is_listed = true;
    known->usage_count = now.usage_count;
    known->since_ms = now.since_ms;
    known->is_sale_untold =
        !board->is_hidden && !board->screen.is_live && (has_sold || known->is_sale_untold);
    return true;
}

void board_note_lease(struct board *board, int64_t machine_id, int64_t lease)
{
    struct board_machine *machine = board_find(board, machine_id);
    if (machine == NULL || lease <= machine->lease)
        return;
    machine->lease = lease;
    machine->lease_count++;
}

static void forget_deleted(struct board *board)
{
    size_t kept = 0;
    for (size_t i = 0; i < board->count; i++) {
        if (board->machines[i].is_listed)
            board->machines[kept++] = board->machines[i];
        else
            board->gone += sold_by(&board->machines[i]);
    }
    board->count = kept;
}

static bool ask_machines(struct board *board)
{
    char reply[STAGE_REPLY_SIZE];
    struct slice body;
    struct json *list = NULL;
    if (stage_ask(board->stage, "GET", "/api/vending-machines", NULL, reply, &body) != 200 ||
        json_parse(body, &list) != JSON_OK)
        return false;
    for (size_t i = 0; i < board->count; i++)
        board->machines[i].is_listed = false;
    for (size_t i = 0; i < json_item_count(list); i++)
        (void)board_note(board, json_item(list, i));
    json_free(list);
    forget_deleted(board);
    return true;
}

static void ask_line(struct board *board)
{
    static const char gauge[] = "\ndoorbuster_tickets_waiting ";
    char reply[STAGE_REPLY_SIZE];
    struct slice body;
    if (stage_ask(board->stage, "GET", "/metrics", NULL, reply, &body) != 200)
        return;
    const char *found = strstr(body.base, gauge); /* the reply ends with NUL */
    if (found != NULL)
        board->waiting = strtoll(found + sizeof gauge - 1, NULL, 10);
}

bool board_ask(struct board *board)
{
    board->looked_ns = clock_mono_ns();
    ask_line(board);
    if (!ask_machines(board))
        return false;
    take_sample(board);
    return true;
}

/* --- what the crowd says --- */

static void take_journal_line(struct board *board, struct slice line)
{
    struct json *value = NULL;
    struct slice request;
    int64_t machine_id;
    int64_t lease;
    if (json_parse(line, &value) != JSON_OK)
        return;
    if (json_text(json_member(value, "request"), &request) && slice_eq(request, SLICE("start-work")) &&
        json_int64(json_member(value, "machine"), &machine_id) &&
        json_int64(json_member(value, "lease"), &lease))
        board_note_lease(board, machine_id, lease);
    json_free(value);
}

static void take_journal_lines(struct board *board)
{
    struct slice text = slice_make(board->tail, board->tail_len);
    char *end;
    while ((end = memchr(text.base, '\n', text.len)) != NULL) {
        struct slice rest;
        take_journal_line(board, slice_split(text, '\n', &rest));
        text = rest;
    }
    memmove(board->tail, text.base, text.len);
    board->tail_len = text.len;
}

static void follow_journal(struct board *board)
{
    ssize_t got;
    if (board->journal_fd < 0 && board->journal_path != NULL)
        board->journal_fd = open(board->journal_path, O_RDONLY | O_CLOEXEC);
    while (board->journal_fd >= 0 && board->tail_len < sizeof board->tail &&
           (got = read(board->journal_fd, board->tail + board->tail_len,
                sizeof board->tail - board->tail_len)) > 0) {
        board->tail_len += (size_t)got;
        take_journal_lines(board);
    }
}

/* --- the picture --- */

static const char *status_name(const struct board_machine *machine)
{
    static const char *const names[] = {
        [BOARD_IDLE] = "idle", [BOARD_CHOOSING] = "choosing", [BOARD_DISPENSING] = "dispensing"};
    if (machine->is_draining)
        return machine->status == BOARD_IDLE ? "drained" : "draining";
    return names[machine->status];
}

static enum screen_style status_style(const struct board_machine *machine)
{
    if (machine->is_draining)
        return SCREEN_YELLOW;
    return machine->status == BOARD_IDLE ? SCREEN_FAINT : SCREEN_GREEN;
}

static void put_bar(char bar[BAR_WIDTH + 1], int64_t left, int64_t whole)
{
    int64_t filled = whole > 0 ? (left * BAR_WIDTH + whole - 1) / whole : 0;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
}

static void put_row(const struct board *board, const struct board_machine *machine, struct strbuf *frame)
{
    const struct screen *screen = &board->screen;
    const char *plain = screen_style(screen, SCREEN_PLAIN);
    const char *style = screen_style(screen, status_style(machine));
    char bar[BAR_WIDTH + 1], lease[CELL_SIZE] = "-", left[CELL_SIZE] = "";
    int64_t time_ms = left_ms(board, machine);
    put_bar(bar, time_ms, board->dispense_ms);
    if (is_lease_present(machine))
        (void)snprintf(lease, sizeof lease, "%lld", (long long)machine->lease);
    if (machine->status == BOARD_DISPENSING)
        (void)snprintf(left, sizeof left, "%.1f s", (double)time_ms / 1e3);
    strbuf_printf(frame, "  %7lld  %s%-10s%s  %8s  %s%s%s %8s  %6lld\n", (long long)machine->id, style,
        status_name(machine), plain, lease, style, bar, plain, left, (long long)sold_by(machine));
}

static void draw(struct board *board)
{
    char memory[FRAME_SIZE];
    struct strbuf frame;
    const char *plain = screen_style(&board->screen, SCREEN_PLAIN);
    const char *faint = screen_style(&board->screen, SCREEN_FAINT);
    const char *bold = screen_style(&board->screen, SCREEN_BOLD);
    strbuf_init(&frame, memory, sizeof memory);
    strbuf_printf(&frame, "  %s%7s  %-10s  %8s  %-33s  %6s%s\n", faint, "machine", "is", "lease",
        "dispenses for another", "sold", plain);
    for (size_t i = 0; i < board->count; i++)
        put_row(board, &board->machines[i], &frame);
    strbuf_printf(&frame, "  %sin line: %lld   sold: %lld   %.1f a second   %.0f s%s\n", bold,
        (long long)board->waiting, (long long)board_sold(board), sales_per_s(board), elapsed_s(board), plain);
    strbuf_printf(&frame, "  %s\n", board->news);
    screen_show(&board->screen, strbuf_slice(&frame));
    board->drawn_ns = clock_mono_ns();
}

void board_look(struct board *board)
{
    int64_t now_ns = clock_mono_ns();
    if (board->looked_ns == 0 || now_ns - board->looked_ns >= BOARD_LOOK_MS * NS_PER_MS)
        (void)board_ask(board); /* who does not answer now is asked again */
    follow_journal(board);
    print_sales(board);
    if (!board->is_hidden && now_ns - board->drawn_ns >= BOARD_FRAME_MS * NS_PER_MS)
        draw(board);
}
