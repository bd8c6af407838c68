/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board of a demo of vending machines: who holds which machine, how long it still dispenses, what it has
 * sold, and how long the line is. It knows what anybody can know: GET /api/vending-machines and the gauge of
 * the line in /metrics, asked for a few times a second; leases, which only their users are told, come from
 * the journal that the crowd writes, or from the demo when it is a user itself.
 *
 * On a terminal the board is redrawn in place; elsewhere each sale is a line. Main thread.
 */
#ifndef DOORBUSTER_CMD_BOARD_H
#define DOORBUSTER_CMD_BOARD_H

#include "cmd/screen.h"
#include "cmd/stage.h"
#include "net/json.h"

enum {
    BOARD_MACHINES_MAX = 8,
    BOARD_SAMPLES = 25, /* looks that the sales per second are taken from: five seconds */
    BOARD_LOOK_MS = 200,
    BOARD_FRAME_MS = 100,
    BOARD_TAIL_SIZE = 8192,
    BOARD_NEWS_SIZE = 80
};

enum board_status { BOARD_IDLE, BOARD_CHOOSING, BOARD_DISPENSING };

struct board_machine {
    int64_t id;
    enum board_status status;
    bool is_draining;
    bool is_listed; /* in the last answer */
    int64_t usage_count;
    int64_t usage_before; /* when the board saw it first */
    int64_t since_ms;     /* since when it is so, by the server's clock */
    int64_t lease;        /* the last one that is known of; 0: none */
    int64_t lease_count;  /* that the board has heard of */
    bool is_sale_untold;  /* to be printed when it is known who has it now */
};

struct board_sample {
    int64_t at_ns;
    int64_t sold;
};

struct board {
    struct stage *stage;
    struct screen screen;
    bool is_hidden; /* nothing is shown or printed */
    int64_t dispense_ms;
    struct board_machine machines[BOARD_MACHINES_MAX]; /* in the order of their ids */
    size_t count;
    int64_t waiting; /* in the line */
    int64_t gone;    /* sold by machines that are no more */
    int64_t began_ns;
    int64_t looked_ns; /* 0: never */
    int64_t drawn_ns;
    struct board_sample samples[BOARD_SAMPLES];
    size_t sample_count; /* in all; the last ones are kept */
    char news[BOARD_NEWS_SIZE];
    const char *journal_path; /* NULL: nothing to follow */
    int journal_fd;           /* -1: not there yet */
    size_t tail_len;
    char tail[BOARD_TAIL_SIZE]; /* read, without a line's end so far */
};

/* A board without machines. journal_path, which it keeps, may name a file that is not there yet. */
void board_open(struct board *board, struct stage *stage, int64_t dispense_ms, const char *journal_path);

/* What is shown stays. Then board_open again, or nothing. */
void board_close(struct board *board);

/* Asks the server and the journal if it is time for that, and shows what is new. For a loop. */
void board_look(struct board *board);

/* Asks at once. False: the server does not answer, and nothing has changed. */
bool board_ask(struct board *board);

/* What an answer says of one machine. False: it is none. */
bool board_note(struct board *board, const struct json *machine);
void board_note_lease(struct board *board, int64_t machine_id, int64_t lease);

/* NULL: not known. */
struct board_machine *board_find(struct board *board, int64_t machine_id);

/* How many machines are in this state. */
size_t board_count(const struct board *board, enum board_status status);
int64_t board_sold(const struct board *board);

/* One line of news: at the board's foot, or printed. */
__attribute__((format(printf, 2, 3))) void board_tell(struct board *board, const char *format, ...);

#endif
